/*
 * report_changes.c - who changed what of what bills and budgets are made of (trail.h).
 *
 * A row is a line of the trail, oldest first.  The chain of lines is checked from its beginning,
 * whatever the period.
 */
#include "reports/report_int.h"
#include "reports/trail.h"

enum changes_column {
    CHANGES_TIME = 0,
    CHANGES_ACTOR,
    CHANGES_ACTION,
    CHANGES_OBJECT,
    CHANGES_DETAIL,
    CHANGES_BEFORE,
    CHANGES_AFTER,
    CHANGES_STATUS,
};

static const char *const status_names[] = {
    [TRAIL_GOOD] = "good", [TRAIL_ALTERED] = "altered", [TRAIL_GAP] = "gap"};

static void changes_columns(struct sheet *t)
{
    t->has_total = false;
    sheet_column(t, "time", "time", COLUMN_TIME, COLUMN_KEY);
    sheet_column(t, "actor", "actor", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "action", "action", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "object", "object", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "detail", "detail", COLUMN_TEXT, COLUMN_KEY | COLUMN_SPARSE);
    sheet_column(t, "before_sha256", "before", COLUMN_TEXT, COLUMN_KEY | COLUMN_MACHINE);
    sheet_column(t, "after_sha256", "after", COLUMN_TEXT, COLUMN_KEY | COLUMN_MACHINE);
    sheet_column(t, "status", "status", COLUMN_TEXT, COLUMN_KEY);
}

static enum rc put(struct sheet *t, const char *text, struct cell *out)
{
    return text ? sheet_text(t, strv_z(text), out) : RC_OK;
}

/* A line that cannot be read has no time: it is in every period. */
static enum rc put_change(const struct trail_change *c, enum trail_status status, void *arg)
{
    struct run *run = arg;
    const struct report_params *p = run->params;
    struct cell *cells;
    enum rc rc;

    if (c->object && (c->at_us < p->from_us || c->at_us >= p->to_us))
        return RC_OK;
    rc = sheet_row(&run->sheet, &cells);
    if (rc != RC_OK)
        return rc;
    if (c->object)
        cells[CHANGES_TIME] = cell_time(c->at_us);
    rc = put(&run->sheet, c->actor, &cells[CHANGES_ACTOR]);
    if (rc == RC_OK)
        rc = put(&run->sheet, c->action, &cells[CHANGES_ACTION]);
    if (rc == RC_OK)
        rc = put(&run->sheet, c->object, &cells[CHANGES_OBJECT]);
    if (rc == RC_OK)
        rc = put(&run->sheet, c->detail, &cells[CHANGES_DETAIL]);
    if (rc == RC_OK)
        rc = put(&run->sheet, c->before, &cells[CHANGES_BEFORE]);
    if (rc == RC_OK)
        rc = put(&run->sheet, c->after, &cells[CHANGES_AFTER]);
    return rc == RC_OK ? put(&run->sheet, status_names[status], &cells[CHANGES_STATUS]) : rc;
}

static enum rc check_words(struct run *run)
{
    const struct report_params *p = run->params;

    if (p->n_by)
        return run_refuses(run, "by", "it has a row for each change");
    if (p->grain != PERIOD_TOTAL)
        return run_refuses(run, "grain", "it has a row for each change");
    if (p->top)
        return run_refuses(run, "top", "it has all changes of the period");
    if (p->n_where)
        return run_refuses(run, "where", "it is of changes, not of requests");
    if (p->has_cohort)
        return run_refuses(run, "cohort", "it is a word of tasks");
    return RC_OK;
}

enum rc report_changes(struct run *run)
{
    enum rc rc = check_words(run);

    if (rc != RC_OK)
        return rc;
    changes_columns(&run->sheet);
    run->note = "Changes of configuration, prices, keys, books, limits and the ledger. altered: "
                "the line does not follow the one before; gap: the object had been changed since "
                "the last line about it.";
    if (!run->sources->state_dir)
        return RC_OK;
    return trail_read(run->sources->state_dir, put_change, run, NULL, &run->fail);
}
