/*
 * tokens.h - access tokens of upstreams, got and renewed by a thread of their own.
 *
 * Workers never wait for a token: each has its own copy, which comes by its mailbox, and
 * refuses (502) while it has none that is valid.  A token is renewed when a fifth of its life
 * or five minutes are left, whichever is later; what fails is tried again.  Over a reload
 * tokens stay with whoever is configured the same.
 */
#ifndef PROXY_TOKENS_H
#define PROXY_TOKENS_H

#include <stdbool.h>

struct generation;
struct server;
struct tokens;

enum {
    TOKENS_WAIT_MS = 5000,    /* the longest that start and reload wait for the first tokens */
    TOKENS_EARLY_MS = 300000, /* how long before its end a token is renewed, at the most */
    TOKENS_RETRY_MS = 1000,   /* after a failure; doubled each time */
    TOKENS_RETRY_MAX_MS = 30000,
};

/* The server's workers are there. No thread runs until a generation needs one. */
struct tokens *tokens_start(struct server *server);
/*
 * From the main thread: this generation's upstreams from now on.  Waits, bounded, until each
 * has a token or was refused one, so that workers need not begin without.  False (logged), and
 * nothing has changed, where the thread that is needed cannot be started.
 */
bool tokens_adopt(struct tokens *t, struct generation *generation);
/* From the main thread: the workers have that generation now, or will with their next letter.
 */
void tokens_publish(struct tokens *t);
/* NULL is legal. Waits for the thread; workers may be gone, their mailboxes are there. */
void tokens_stop(struct tokens *t);

#endif
