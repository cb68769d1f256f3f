/*
 * read_fact_pick.h - which rows of an answer the requests of a block belong to.
 */
#ifndef METERING_LEDGER_READ_FACT_PICK_H
#define METERING_LEDGER_READ_FACT_PICK_H

#include "metering/ledger/read_fact.h"
#include "metering/ledger/read_row_sums.h"

enum {
    PICK_NUMBERS_MAX = 1 << 21, /* of pairs: there may be no more rows */
    PICK_NONE = -1,   /* the request is in no row */
    PICK_NEW = -2,    /* not asked yet */
    PICK_DIRECT = 64, /* first numbers of pairs that are looked up without a hash */
    PICK_DIRECT_MAX = 1 << 18, /* and second ones */
    PICK_RECENT_MAX = 1 << 20, /* second ones that remember the first they had last */
};

/* A field that is none of the combination: its column, and what is known of values there. */
struct pick_field {
    struct ledger_field field;
    const struct ledger_condition *condition; /* NULL: grouped by */
    bool is_any, any_holds; /* the condition asks whether there is any task, or whether none is */
    bool knows_words; /* whether it holds for its own texts is known; for no other it is as for any */
    unsigned column;
    int32_t
        *known; /* by the column's value: number of the text, or whether it holds; -1: new */
    size_t cap;
    struct dict texts; /* grouped by: number */
    int64_t *raw_of;   /* by that: the first value that has the text */
};

struct pick_pair {
    uint32_t a, b;
};

/* From two numbers to one that is dense. */
struct pick_pairs {
    uint64_t *keys; /* plus one; 0: free */
    uint32_t *values;
    size_t cap, n;
    uint32_t *direct[PICK_DIRECT]; /* of a small first one, by the second; plus one; 0: new */
    size_t cap_direct[PICK_DIRECT];
    struct pick_pair *made; /* by number: of what */
    struct pick_pair *recent; /* by the second: the first it had last, plus one; the number */
    size_t cap_recent;
};

struct fact_pick {
    struct answer *answer;
    struct facts facts;
    /*
     * Rows are numbers of pick_numbers, not places in the answer's rows: nobody looks at the answer,
     * but for its question and its periods.
     */
    bool by_number;
    bool *is_met; /* ... by number: of a request that was picked */
    size_t cap_met;
    /*
     * ... and numbers are of all fields but the last n_kept, which are grouped by: what these come to
     * stands in `last`.  Nothing is met, and there is one period.
     */
    size_t n_kept;
    const struct ledger_tuples *only; /* of the question, by its fields; or NULL */
    unsigned char *is_only; /* by number of the group: what pick_only knows of it */
    size_t cap_only;
    bool is_beside; /* what is said of combinations, and days left out, are another's */
    bool make; /* rows that are not there yet */
    bool spares_combo; /* nobody looks at combo_of of the requests that are picked */
    bool is_one_class; /* every combination is of the same class */

    struct pick_field *fields; /* conditions, then those grouped by */
    size_t n_where, n_fields;
    size_t narrow; /* the first condition that asks for customers or users; n_where: none does */
    int32_t *class_of; /* by id of the combination: which of the fields' values; PICK_NONE */
    const struct combo **combo_of;
    const struct combo **combo_of_class; /* the first */
    size_t n_combos, n_classes;
    struct pick_pairs pairs[LEDGER_GROUP_MAX + 1]; /* the last: with the period */
    int32_t *row_of; /* by the last number; PICK_NEW: not asked */
    size_t cap_rows;
    int32_t *row_of_word; /* by the only field's value, where nothing else matters; or PICK_NEW */
    size_t cap_words;
    struct answer_period period; /* found last, with its place */
    int64_t period_at;

    struct cube_place *left_out; /* days whose requests, up to a block, are not picked */
    size_t n_left_out;

    struct pick_marks *marks; /* of read_fact_sums.c; NULL: not needed yet */
    uint32_t id[FACT_BLOCK]; /* of the column at hand */
    int32_t last[FACT_BLOCK];
    int32_t row[FACT_BLOCK];  /* of the block at hand: place in the answer's rows; or by_number */
    size_t n_picked;         /* requests that have one */
};

/* Whether facts know a field. */
bool pick_knows(const struct ledger_field *field);
/* [from, to): ends. The filter's own times hold too. */
struct fact_pick *pick_open(struct answer *a, int64_t from_us, int64_t to_us, bool make,
                            struct fail *fail);
/*
 * For another thread: the same question, asked by number of another reader. Conditions and
 * combinations stay those of `of`, which must not change meanwhile.
 */
struct fact_pick *pick_beside(const struct fact_pick *of, struct ledger_reader *r);
/* Rows that sums of the picked ones must have room for. */
static inline size_t pick_cap(const struct fact_pick *p)
{
    return p->by_number ? p->cap_met : p->answer->cap_rows;
}
/* By number: one more than the greatest that may have been given. */
size_t pick_numbers(const struct fact_pick *p);
size_t pick_groups(const struct fact_pick *p);
/* By number: the group that it stands for, numbered too, and its period. */
void pick_group(const struct fact_pick *p, uint32_t number, uint32_t *group, int64_t *period);
/* The values of a group, valid through the view. */
enum rc pick_group_values(struct fact_pick *p, uint32_t group, struct strv *values,
                          struct fail *fail) RC_MUST;
/* The same with the number that the last n_kept fields have. */
enum rc pick_values(struct fact_pick *p, uint32_t group, uint32_t last, struct strv *values,
                    struct fail *fail) RC_MUST;
/*
 * Of the rows of the block at hand, which are numbers of groups: none which p->only
 * does not have.  False: none is left.
 */
bool pick_only(struct fact_pick *p);
/* The numbers that those of `from`, another's of the same question, have here: as many as it has. */
enum rc pick_translate(struct fact_pick *p, const struct fact_pick *from, uint32_t **out,
                       struct fail *fail) RC_MUST;
/* The same of the last n_kept fields, and how many numbers these have. */
enum rc pick_translate_last(struct fact_pick *p, const struct fact_pick *from, uint32_t **out,
                            struct fail *fail) RC_MUST;
size_t pick_lasts(const struct fact_pick *p);
/* n numbers that `from` has met are met here too, by the numbers that they have here. */
void pick_meet(struct fact_pick *p, const struct fact_pick *from, const uint32_t *to, size_t n);
void pick_close(struct fact_pick *p);
/* The same; rc, or where that is RC_OK how the walk ended. */
enum rc pick_finish(struct fact_pick *p, enum rc rc, struct fail *fail) RC_MUST;
/* The next block with any request of the answer; false at the end, and after a failure
 * (p->facts.rc). */
bool pick_next(struct fact_pick *p);
/* Picks of the block at hand, whichever it is; false where no request of it is in a row. */
bool pick_here(struct fact_pick *p);
/*
 * Whether the block at hand, whose combinations are asked for, has its rows by row_of_word alone.
 */
bool pick_is_by_word(struct fact_pick *p);

/* ---- read_fact_when.c ---- */

/* From now on requests of the day that are in blocks up to its `through` are none. Days ascend. */
void pick_leave_out(struct fact_pick *p, const struct cube_place *day);
/* Every request of the block at hand is of a day left out. */
bool pick_is_left_out(const struct fact_pick *p);
/* All of the block at hand is in one period, which is p->period_at then, and every end is asked for. */
bool pick_is_of_one_period(struct fact_pick *p);
/* Of the rows of the block at hand: none where its time is not asked for, else with its period. */
void pick_by_time(struct fact_pick *p);
/* The same where pick_is_of_one_period. */
void pick_fold_period(struct fact_pick *p);

/* ---- read_fact_sums.c and others ---- */

/*
 * read_fact_sums.c: adds the requests that are picked, as the answer wants: their sums to those
 * of their rows, histograms and bands to the rows.
 */
void answer_add_block(struct fact_pick *p, struct row_sums *sums);
/*
 * read_fact_walk.c: gives the answer its requests that ended in [from, to), from cubes and from
 * columns: rows, of all groups or of the dearest, and their sums; no histograms nor bands. What
 * fails is in p->facts or returned.
 */
enum rc answer_walk(struct fact_pick *p, int64_t from_us, int64_t to_us, struct fail *fail) RC_MUST;
/*
 * read_top.c: gives what p, by number, has met to rows of the answer, with these sums; meters NULL:
 * not wanted.
 */
struct meter_sums;
enum rc answer_give(struct fact_pick *p, const struct row_sums *sums,
                    const struct meter_sums *meters, struct fail *fail) RC_MUST;

/*
 * The text of a field that is none of the combination, from its column's value; valid
 * through the view.
 */
enum rc pick_value(struct ledger_reader *r, const struct ledger_field *field, int64_t raw,
                   struct strv *out, struct fail *fail) RC_MUST;
unsigned pick_column(const struct ledger_field *field);
/* Words stand once in their table: a value of such a column is its text's number. */
static inline bool pick_is_word(const struct pick_field *f)
{
    return f->column == FACT_CUSTOMER || f->column == FACT_USER;
}
/* Whether a condition asks for words alone. */
static inline bool pick_is_of_words(const struct pick_field *f)
{
    return pick_is_word(f) && f->condition && f->condition->op == LEDGER_EQ;
}
/* Whether a condition holds for the column's value; remembered. */
enum rc pick_holds(struct ledger_reader *r, struct pick_field *f, int64_t raw, bool *holds,
                   struct fail *fail) RC_MUST;
void pick_field_init(struct pick_field *f, const struct ledger_field *field,
                     const struct ledger_condition *condition);
void pick_field_release(struct pick_field *f);
/* Room in f->known for a value, which a damaged file may make anything. */
enum rc pick_room(struct pick_field *f, int64_t raw, struct fail *fail) RC_MUST;
/*
 * The number of the text of a column's value: one for each text. Words stand once in their table;
 * other texts may have several values.
 */
enum rc pick_number(struct ledger_reader *r, struct pick_field *f, int64_t raw, uint32_t *out,
                    struct fail *fail) RC_MUST;
/* The first value that got the number. */
int64_t pick_raw(const struct pick_field *f, uint32_t number);

/* The number of a pair, both below 2^31: dense, in the order in which pairs are met. */
void pick_pairs_release(struct pick_pairs *p);
uint32_t pick_fold_new(struct pick_pairs *p, uint32_t a, uint32_t b);
static inline uint32_t pick_fold(struct pick_pairs *p, uint32_t a, uint32_t b)
{
    if (a < PICK_DIRECT && b < p->cap_direct[a] && p->direct[a][b] != 0)
        return p->direct[a][b] - 1;
    if (b < p->cap_recent && p->recent[b].a == a + 1)
        return p->recent[b].b;
    return pick_fold_new(p, a, b);
}

#endif
