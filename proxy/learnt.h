/*
 * learnt.h - how many output tokens the calls of a model take that bound their answer nowhere.
 *
 * One worker's: no lock.  Counts of late weigh more: a model's counts are halved when they
 * are many.  It bounds nothing; it says what is worth reserving.
 */
#ifndef PROXY_LEARNT_H
#define PROXY_LEARNT_H

#include <stdint.h>

#include "base/strv.h"

enum {
    LEARNT_MODELS_MAX = 1024, /* further ones take the place of others */
    LEARNT_LEAST = 20,        /* calls before anything is said of a model */
};

struct learnt;

struct learnt *learnt_new(void);
void learnt_free(struct learnt *l); /* NULL is legal */
/* A call without a bound ended in full and took so many. */
void learnt_note(struct learnt *l, struct strv model, uint64_t output_tokens);
/*
 * At least as many as 99 of 100 such calls took, within a quarter of the octave; 0: not
 * known.
 */
uint64_t learnt_output(const struct learnt *l, struct strv model);

#endif
