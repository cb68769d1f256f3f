/*
 * collected.h - which answers that can be fetched again have been counted.
 *
 * A background response, a run, the output of a batch: each may be fetched any number of
 * times, by any client, and tells the same usage each time.  Here is kept, for each, how
 * much of it was counted: a number for an answer, the nth of its answers for a batch.  The
 * memory is bounded, shared by the workers without locks, and outlives the process in a
 * file of state_dir.  What other nodes counted is asked of Redis (xchg_collect.c).
 */
#ifndef PROXY_COLLECTED_H
#define PROXY_COLLECTED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/strv.h"
#include "base/uuid7.h"

struct collected;

enum {
    /* Answers remembered; beyond, one of the same bucket goes.  The results of a batch that come
     * in pages are an answer each, and some batches have 100,000. */
    COLLECTED_MAX = 1 << 18,
};

/*
 * Remembers what the file of an earlier process says; makes it where there is none.  What requests
 * had claimed that never ended is then to be taken back (collected_take_back), as far as the
 * journal tells of them.
 */
enum rc collected_open(const char *state_dir, struct collected **out, struct fail *fail) RC_MUST;
/*
 * What the request with that record had claimed, and an earlier process noted: nobody has counted
 * it, and the next who is told counts it.  By one thread, any, which may run beside the workers.
 */
void collected_take_back(struct collected *c, const struct uuid *record);
/* No more will be taken back: what is remembered stands.  No worker runs. */
void collected_stand(struct collected *c);
void collected_close(struct collected *c);

/* Stands for an answer of an upstream, by the last segment of its name; never 0. */
uint64_t collected_key(struct strv upstream, struct strv answer);

/* The same as an id that no record has (version 8), for all nodes that know the upstream by
 * this name. */
void collected_work(struct strv upstream, struct strv answer, struct uuid *work);

/* So much of a key is counted, as far as is known here. */
uint64_t collected_known(struct collected *c, uint64_t key);
/* So much of a key is counted, as others say, more or less than was thought here. */
void collected_set(struct collected *c, uint64_t key, uint64_t n);
/* The same where it is more, but for what the others know of this gateway alone and was taken back. */
void collected_learn(struct collected *c, uint64_t key, uint64_t n);

/* So much more of a key; several threads may add to one. */
void collected_add(struct collected *c, uint64_t key, uint64_t n);

/*
 * True once for each n of a key, where ns come in their order: the nth (from 1) is to be
 * counted now, by this caller.  Any thread.
 */
bool collected_claim(struct collected *c, uint64_t key, uint64_t n);

/*
 * True where so much of a key is counted as `from` says: all after it, up to `to`, is to be counted
 * now, by this caller.  Any thread.
 */
bool collected_take(struct collected *c, uint64_t key, uint64_t from, uint64_t to);

/*
 * Of a sum that only grows: it has come to n, and what was counted of it before is in *from.
 * True once for each rise, whose difference is to be counted now, by this caller.  Any thread.
 */
bool collected_rise(struct collected *c, uint64_t key, uint64_t n, uint64_t *from);

/* So far a key was counted, also by the next process.  One small write; any thread. */
void collected_keep(struct collected *c, uint64_t key);

/*
 * What was claimed of a key, all after `from` up to `to`, is told by that record, whose end is to be
 * journalled after this: also to the next process, unless that finds the record without its end.
 * One small write; any thread.
 */
void collected_note(struct collected *c, uint64_t key, uint64_t from, uint64_t to,
                    const struct uuid *record);
/* What that record noted of a key it does not tell after all.  The same. */
void collected_void(struct collected *c, uint64_t key, const struct uuid *record);

#endif
