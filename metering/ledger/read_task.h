/*
 * read_task.h - of the reader: tasks one by one, from their rows and lines (read_tasks.c) or
 * from columns (read_fact_tasks.c).
 */
#ifndef METERING_LEDGER_READ_TASK_H
#define METERING_LEDGER_READ_TASK_H

#include "metering/ledger/read_int.h"

enum { TASK_LINES_MAX = 1 << 23, TASK_VALUE_BYTES = 1 << 20 };

struct task_reading {
    struct ledger_reader *reader;
    const struct ledger_filter *filter; /* as asked */
    struct ledger_filter lines;         /* for the lines of one task */
    enum ledger_cohort cohort;
    bool with_open; /* COHORT_CLOSED, from columns: the tasks of COHORT_OPEN as well */
    bool has_open;  /* ... and these were read too */
    const struct ledger_field *by;
    size_t n_by;
    bool of_retried; /* LEDGER_TASK_RETRIED, from columns: tasks without later attempts are left out */
    unsigned want; /* of enum ledger_task_want */
    struct task_totals *totals; /* read_task_sums.c: tallies are added here, and not told */
    ledger_task_fn *fn;
    void *arg;
    sqlite3_stmt *row, *of_task;
    bool is_ended; /* the caller has seen enough */

    /* The task at hand. */
    int64_t id;
    struct ledger_task task;
    int64_t row_first_us; /* INT64_MAX: it has no line */
    struct ledger_attempt *attempts;
    size_t n_attempts, cap_attempts;
    struct dict open;  /* number: place + 1 of the latest that nothing superseded */
    struct dict by_id; /* id: place; filled where there are corrections */
    size_t n_by_id;
    struct strv values[LEDGER_GROUP_MAX];
    struct arena arena; /* of values and names */
};

/* read_tasks.c.  Room for one more attempt. */
enum rc task_room(struct task_reading *g, struct fail *fail) RC_MUST;
/* What the next attempt supersedes, and where it stands for others. */
void task_pair(struct task_reading *g, struct ledger_attempt *a);
/* What follows from the attempts of the task at hand: superseded, retry_cost, part. */
void task_add_up(struct task_reading *g);
/* Tells the caller of the task at hand. */
void task_give(struct task_reading *g);
/* A task with all its lines, told where it is worth it. */
enum rc task_whole(struct task_reading *g, int64_t id, struct fail *fail) RC_MUST;
bool task_has_line_conditions(const struct ledger_filter *f);

/* All of g's question: reader, filter, cohort, by, want, fn, arg are set; all else is empty. */
enum rc tasks_read(struct task_reading *g, struct fail *fail) RC_MUST;

/* read_fact_tasks.c: the costs of tasks. */
enum rc tasks_can_use_facts(struct task_reading *g, bool *can, struct fail *fail) RC_MUST;
enum rc tasks_from_facts(struct task_reading *g, struct fail *fail) RC_MUST;

#endif
