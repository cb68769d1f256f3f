/*
 * pools.h - what a worker keeps for one generation of the configuration: connections to its
 * upstreams, their tokens, and which keys and models were used of late.
 *
 * An exchange holds the pools with which it began, so that a reload takes nothing from it.
 */
#ifndef PROXY_POOLS_H
#define PROXY_POOLS_H

#include <stdint.h>

struct generation;
struct key_memo;
struct price_memo;
struct upstream_pool;
struct worker;

/* An upstream's credential that was got from elsewhere (tokens.h). */
struct upstream_token {
    char *text; /* NULL: none yet */
    int64_t expires_us; /* clock_mono_us */
};

/* The pools of one generation in one worker; counted by exchanges of that worker alone. */
struct pools {
    unsigned refs;
    struct generation *generation;
    struct upstream_pool **at; /* in the order of config->upstreams */
    struct upstream_token *tokens; /* likewise */
    struct key_memo *keys;
    struct price_memo *prices;
    struct worker *worker;
};

/* For that generation, whose reference it takes over; with one reference. */
struct pools *pools_new(struct worker *w, struct generation *generation);
/* NULL gives nothing back. The last one closes what rests in the pools. */
void pools_unref(struct pools *pools);
static inline struct pools *pools_ref(struct pools *pools)
{
    pools->refs++;
    return pools;
}

/* Wipes and frees the text. */
void upstream_token_fini(struct upstream_token *token);

#endif
