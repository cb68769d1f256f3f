/*
 * read_piece.h - of the reader: the lines of some tasks, from columns, and a task made of them.
 */
#ifndef METERING_LEDGER_READ_PIECE_H
#define METERING_LEDGER_READ_PIECE_H

#include "metering/ledger/read_fact_pick.h"
#include "metering/ledger/read_task.h"

enum {
    PIECE_RAWS_MAX = 8, /* fields of a grouping that are none of the combination */
};

/* A line of a task. */
struct piece {
    int64_t start_us, end_us, seq, corrects;
    money_int cost;
    uint32_t task;  /* its number less the lowest of the window */
    int32_t combo;  /* place in reader->combos */
    int32_t attempt;
    uint32_t flags;
    uint32_t raw[PIECE_RAWS_MAX]; /* of the columns asked for */
};

/* Whether lines of this task are wanted; called for each line that is of the time. */
typedef bool piece_wanted_fn(int64_t task, void *arg);

/* The lines of the tasks [low, high) that match the filter. */
struct pieces {
    struct task_reading *g;
    piece_wanted_fn *wanted;
    void *arg;
    int64_t low, high;
    int32_t *place_of; /* by id of the combination: in reader->combos; -1: not of the filter */
    size_t n_combos;
    struct pick_field *where;
    size_t n_where;
    unsigned raw_column[PIECE_RAWS_MAX];
    size_t n_raws;

    struct piece *at;
    size_t n, cap;
    uint32_t *order; /* of the pieces, by task; within it by start, end, number */
    uint32_t *first; /* by task: where its pieces begin in order; one more than there are */
};

/* Conditions and columns of g's filter and grouping. */
void pieces_init(struct pieces *p, struct task_reading *g);
/* Within each view: the combinations. */
void pieces_learn(struct pieces *p);
void pieces_release(struct pieces *p);
/* Begins anew, with other tasks. */
void pieces_window(struct pieces *p, int64_t low, int64_t high);
/* Lines of the block at hand. A failure is in f. */
void pieces_take(struct pieces *p, struct facts *f);
void pieces_sort(struct pieces *p);
/* Place of the task's first piece in order, and how many it has. */
static inline size_t pieces_of(const struct pieces *p, int64_t task, const uint32_t **order)
{
    size_t k = (size_t)(task - p->low);

    *order = p->order + p->first[k];
    return p->first[k + 1] - p->first[k];
}
/*
 * g's task, whose outcome and closed_us are set and all else of it is empty, becomes what
 * these pieces make of it: values, sums, attempts, late lines.
 */
enum rc pieces_add_up(struct pieces *p, const uint32_t *order, size_t n,
                      struct fail *fail) RC_MUST;

#endif
