/*
 * read_fact_tasks.h - of the reader: tasks from columns: those that their tallies tell whole
 * (read_tally_tasks.c), and those that are made of their lines (read_fact_tasks.c).
 */
#ifndef METERING_LEDGER_READ_FACT_TASKS_H
#define METERING_LEDGER_READ_FACT_TASKS_H

#include "metering/ledger/read_piece.h"
#include "metering/ledger/read_tally.h"

enum task_mark {
    MARK_WANTED = 1, /* of the cohort */
    MARK_SEEN = 2,   /* has a line */
    MARK_OLD = 4,    /* some of its lines may be deleted */
    MARK_TALLY = 8,  /* its tally says all: its lines are not looked at */
    MARK_TELL = 16,  /* ... and it is told from there */
    MARK_TOLD = MARK_TALLY | MARK_TELL,
    MARK_RETRIED = 32, /* where only such are asked for: has a later attempt in the time */
};

struct fact_tasks {
    struct task_reading *g;
    size_t n_tasks; /* ids are below */
    uint8_t *mark;  /* by id */
    uint8_t *outcome;
    int64_t *closed_us; /* 0: open */
    bool has_tallies;
    struct tally tally; /* stands at the block told from */
    struct pieces pieces;
};

static inline bool task_is_of(const struct fact_tasks *t, int64_t id)
{
    return id > 0 && (uint64_t)id < t->n_tasks;
}

/*
 * read_tally_tasks.c.  tasks_mark_tallies: which tasks have a tally that says all, given the
 * question; before anything is known of them.  tasks_choose_tallies: which of these are told
 * from it, once lines that are deleted are marked; those that need their lines are no longer
 * MARK_TALLY, and their outcomes are noted.
 */
enum rc tasks_mark_tallies(struct fact_tasks *t, struct fail *fail) RC_MUST;
enum rc tasks_choose_tallies(struct fact_tasks *t, struct fail *fail) RC_MUST;
/* A task that is MARK_TOLD. */
enum rc task_tell_tally(struct fact_tasks *t, int64_t id, struct fail *fail) RC_MUST;
/*
 * The column of tallies that holds a field; TALLY_NUMBERS: the task's number; TALLY_COLUMNS:
 * none, it is one of the combination.
 */
unsigned tally_column(const struct ledger_field *field);
/* g's values, of task number i of the block that the tally stands at. */
enum rc task_tally_values(struct fact_tasks *t, size_t i, int64_t id,
                          struct fail *fail) RC_MUST;

#endif
