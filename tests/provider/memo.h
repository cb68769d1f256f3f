/*
 * memo.h - the last chat answer of a thread, for the same question asked again.
 *
 * A benchmark asks one thing thousands of times a second, from the core that the load has too: what
 * reading its JSON and writing the answer's takes there is taken from the proxy that is measured.
 * Asked again in the same second, the same target, body and X-Sim- headers get the same answer but
 * for the number in its ids, and a bill of its own; nothing else can tell the two apart.
 */
#ifndef PROVIDER_MEMO_H
#define PROVIDER_MEMO_H

#include <stdbool.h>

#include "tests/provider/call.h"

enum { MEMO_MAX_BYTES = 16 << 20 }; /* of a body that is kept, and of an answer */

struct memo;

/* An empty one, for one thread; memo_free takes NULL too. */
struct memo *memo_new(void);
void memo_free(struct memo *m);

/* Answers into an empty reply, with its bill, and is true; or false, and nothing was done. */
bool memo_answer(const struct memo *m, const struct request *r, struct reply *reply);
/* The call has been answered: kept instead of the last one, where it is a chat. */
void memo_keep(struct memo *m, const struct call *c);

#endif
