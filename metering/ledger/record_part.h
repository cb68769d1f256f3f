/*
 * record_part.h - of a cost that is a sum: what was priced apart, so that it can be priced
 * again.
 *
 * The answers of a batch, what other models took for an answer, and the shares of models
 * that answered together have prices of their own.  A record keeps them in groups: answers of one model whose counts may be added up
 * without changing what they cost, since every rate is a multiplication.  Where that is not
 * so (fees a request, charges by time with least quantities, a context step between two
 * lengths) an answer is a group of its own.  Groups beyond RECORD_PARTS_MAX are not kept,
 * and none is then: a sum of which a part is missing says nothing.
 */
#ifndef METERING_LEDGER_RECORD_PART_H
#define METERING_LEDGER_RECORD_PART_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/rc.h"
#include "base/strv.h"
#include "metering/usage/usage.h"

enum { RECORD_PARTS_MAX = 24, RECORD_PART_MODEL_MAX_BYTES = 256 };

struct record_part {
    struct strv model; /* as served; empty: not said */
    bool is_answer;    /* of a batch, at its tier */
    bool is_share;     /* of the record's usage, which such parts add up to, at its tier; neither:
                        * beside that usage */
    uint64_t answers;  /* alike ones that were added up; at least 1 */
    uint64_t input_least, input_most; /* all input tokens of the smallest and the largest one */
    struct usage usage;               /* of all of them */
};

struct record_parts {
    size_t n;
    bool is_too_much; /* more than could be kept: nothing is */
    struct record_part at[RECORD_PARTS_MAX];
};

/* One more answer (answers 1, input_least == input_most); its model is copied to the arena. */
void record_parts_add(struct record_parts *parts, const struct record_part *one,
                      struct arena *arena);
/* As a record stores them; in the arena. Empty where there are none, or too many. */
struct strv record_parts_encode(const struct record_parts *parts, struct arena *arena);
/*
 * Takes the next part off the bytes of a record (views look into them): RC_OK, RC_STATE past
 * the last, RC_BAD for bytes that record_parts_encode does not write.
 */
enum rc record_parts_next(struct strv *bytes, struct record_part *out) RC_MUST;

#endif
