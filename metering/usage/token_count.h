/*
 * token_count.h - how many tokens pieces of text are, many pieces at a time.
 *
 * Most pieces of a text have been met before: a memory of short ones, small enough to stay in the
 * processor's cache, tells their counts without a branch.  Others wait until there are
 * some of them, with their places in the tables asked for: these are larger than caches, and
 * waiting for one place after another took most of the time of what is new in a text.  Of
 * those that are no token the short ones are merged side by side (merge_lanes).
 *
 * Exact whatever is remembered: a slot holds the piece itself.  The memory is of a fixed size, and
 * each piece has two slots to be in: what is new comes into the second one, what is met again
 * moves to the first.  So a text of words that never come again does not push those out that do, and
 * the slot that is looked at first is nearly always the right one.
 */
#ifndef METERING_USAGE_TOKEN_COUNT_H
#define METERING_USAGE_TOKEN_COUNT_H

#include <stddef.h>
#include <stdint.h>

#include "metering/usage/token_merge.h"
#include "metering/usage/token_split.h"

enum {
    COUNT_KNOWN = 16384, /* 256 KiB */
    COUNT_KNOWN_WAYS = 2,
    COUNT_WAITING = 32,
};

/* A piece of at most 15 bytes, zeros behind it, and in the last byte its length * 16 + its tokens. */
struct count_known {
    uint64_t low, high;
};

struct count_waiting {
    const char *p;
    size_t n;
    struct count_known piece; /* without tokens; n > 15: unused */
    uint64_t hash;            /* in the tables, n <= TOKEN_MAX_BYTES */
};

/* One thread's, of one vocabulary; all zero but for merge.tables to begin with. */
struct count {
    struct merge merge;
    struct count_known known[COUNT_KNOWN];
    struct count_waiting waiting[COUNT_WAITING];
    size_t n_waiting;
    /* Of the row that is counted: the pieces, and where in `known` each would be. */
    struct count_known pieces[TOKEN_ROW_MAX];
    struct count_known *places[TOKEN_ROW_MAX];
};

/*
 * Tokens of the n pieces that follow each other from p on, the ends of which are given; but for
 * those that wait.  TOKEN_SPLIT_PAD bytes behind them may be read.  They stay where they are until
 * count_rest().
 */
uint64_t count_pieces(struct count *c, const char *p, const char *const *ends, size_t n);

/* Tokens of those that wait. */
uint64_t count_rest(struct count *c);

#endif
