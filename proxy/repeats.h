/*
 * repeats.h - what was seen a short while ago: a table of fixed size that forgets.
 *
 * Shared by all workers without a lock: a slot is one relaxed atomic word.  It never
 * takes two fingerprints for one but by chance (1 in 2^44), and misses a repetition only
 * where another fingerprint has taken its slot since.
 */
#ifndef PROXY_REPEATS_H
#define PROXY_REPEATS_H

#include <stdbool.h>
#include <stdint.h>

enum { REPEATS_SLOTS = 1 << 16 };

struct repeats;

struct repeats *repeats_new(void);
void repeats_free(struct repeats *r);
/*
 * Was this fingerprint noted within the last within_s seconds?  Notes it now (seconds
 * since 1970).  Any thread.
 */
bool repeats_seen(struct repeats *r, uint64_t fingerprint, int64_t now_s, int64_t within_s);

#endif
