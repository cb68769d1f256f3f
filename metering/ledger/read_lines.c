/*
 * read_lines.c - scans over lines, and the records behind them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "metering/ledger/read_fact.h"

enum { TASK_VALUES_MAX = 16, SQL_BYTES = 1024 };

void filter_end_bounds(const struct ledger_filter *f, int64_t *from_us, int64_t *to_us)
{
    *from_us = f->from_us;
    *to_us = f->to_us;
    if (f->by_start && f->to_us < INT64_MAX - LEDGER_LONGEST_US)
        *to_us = f->to_us + LEDGER_LONGEST_US;
    else if (f->by_start)
        *to_us = INT64_MAX;
}

enum rc line_cost(struct ledger_reader *r, const struct line *line, struct money *out,
                  struct fail *fail)
{
    struct record record;
    enum rc rc;

    *out = line->cost;
    if (!line->is_far)
        return RC_OK;
    rc = read_body(r, line->seq, &record, fail);
    if (rc == RC_OK)
        *out = record.cost;
    return rc;
}

/* A condition that names tasks: its lines stand together in an index. */
static const struct ledger_condition *task_condition(const struct ledger_filter *f)
{
    for (size_t i = 0; i < f->n_where; i++) {
        const struct ledger_condition *c = &f->where[i];
        bool fits = c->field.id == FIELD_TASK && c->op == LEDGER_EQ && c->n_values > 0 &&
                    c->n_values <= TASK_VALUES_MAX;

        for (size_t j = 0; fits && j < c->n_values; j++)
            fits = c->values[j].n > 0;
        if (fits)
            return c;
    }
    return NULL;
}

static const char *order_text(enum line_order order)
{
    switch (order) {
    case LINES_BY_END:
        return "l.end_us, l.seq";
    case LINES_BY_END_DOWN:
        return "l.end_us DESC, l.seq DESC";
    case LINES_BY_COST_DOWN: /* NULL is the smallest */
        return "l.cost_nano DESC, l.cost_rest DESC, l.end_us, l.seq";
    case LINES_BY_TASK:
        return "l.task, l.start_us, l.end_us, l.seq";
    }
    return "l.end_us, l.seq";
}

static sqlite3_stmt *prepare_scan(struct ledger_reader *r, const struct ledger_filter *f,
                                  int64_t from_us, int64_t to_us, enum line_order order,
                                  struct fail *fail)
{
    const struct ledger_condition *task = task_condition(f);
    char sql[SQL_BYTES];
    sqlite3_stmt *stmt;
    int n;

    n = snprintf(sql, sizeof(sql), "SELECT " LINE_COLUMNS " FROM %s WHERE %s",
                 task ? "task t CROSS JOIN line l ON l.task=t.id" : "line l",
                 task || order == LINES_BY_TASK ? "l.task<>0 AND " : "");
    for (size_t i = 0; task && i < task->n_values; i++)
        n +=
            snprintf(sql + n, sizeof(sql) - (size_t)n, "%s?%zu%s", i == 0 ? "t.name IN (" : ",",
                     3 + i, i + 1 == task->n_values ? ") AND " : "");
    n += snprintf(sql + n, sizeof(sql) - (size_t)n, "l.end_us>=?1 AND l.end_us<?2 ORDER BY %s",
                  order_text(order));
    ASSERT(n < (int)sizeof(sql));
    stmt = db_prepare(r->db, sql, fail);
    if (!stmt)
        return NULL;
    sqlite3_bind_int64(stmt, 1, from_us);
    sqlite3_bind_int64(stmt, 2, to_us);
    for (size_t i = 0; task && i < task->n_values; i++)
        db_bind_text(stmt, 3 + (int)i, task->values[i]);
    return stmt;
}

enum rc scan_lines(struct ledger_reader *r, const struct ledger_filter *f, int64_t from_us,
                   int64_t to_us, enum line_order order, line_fn *fn, void *arg,
                   struct fail *fail)
{
    enum rc rc = read_kept(r, f, from_us, to_us, fail);

    return rc == RC_OK ? scan_kept_lines(r, f, from_us, to_us, order, fn, arg, fail) : rc;
}

enum rc scan_kept_lines(struct ledger_reader *r, const struct ledger_filter *f, int64_t from_us,
                        int64_t to_us, enum line_order order, line_fn *fn, void *arg,
                        struct fail *fail)
{
    bool *matches = xcalloc_wide(r->n_combos + 1, sizeof(*matches));
    sqlite3_stmt *stmt = prepare_scan(r, f, from_us, to_us, order, fail);
    enum rc rc = stmt ? RC_OK : fail->rc;
    int code = SQLITE_DONE;

    for (size_t i = 0; i < r->n_combos; i++)
        matches[i] = combo_matches(f, &r->combos[i]);
    while (rc == RC_OK && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        const struct combo *c;
        struct line line;
        bool holds;

        read_line_columns(stmt, &line);
        if (f->by_start && (line.start_us < f->from_us || line.start_us >= f->to_us))
            continue;
        c = read_combo(r, line.combo);
        if (!c) {
            rc = read_damaged(fail);
            break;
        }
        if (!matches[c - r->combos])
            continue;
        rc = line_matches(r, f, &line, c, &holds, fail);
        if (rc == RC_OK && holds)
            rc = fn(&line, c, arg, fail);
    }
    if (rc == RC_OK && code != SQLITE_DONE)
        rc = read_failed(r, fail);
    sqlite3_finalize(stmt);
    free(matches);
    return rc == RC_EOF ? RC_OK : rc;
}

/* ---- for the caller ------------------------------------------------------------- */

struct reading {
    struct ledger_reader *reader;
    ledger_line_fn *fn;
    void *arg;
    uint64_t skip, left; /* left 0 with is_bounded: enough */
    bool is_bounded;
};

static enum rc give_line(const struct line *line, const struct combo *combo, void *arg,
                         struct fail *fail)
{
    struct reading *g = arg;
    struct record record;
    enum rc rc;

    (void)combo;
    if (g->skip > 0) {
        g->skip--;
        return RC_OK;
    }
    if (g->is_bounded && g->left-- == 0)
        return RC_EOF;
    rc = read_body(g->reader, line->seq, &record, fail);
    if (rc != RC_OK)
        return rc;
    return g->fn((uint64_t)line->seq, &record, g->arg) ? RC_OK : RC_EOF;
}

enum rc ledger_read_lines(struct ledger_reader *r, const struct ledger_filter *filter,
                          enum ledger_order order, uint64_t limit, uint64_t offset,
                          ledger_line_fn *fn, void *arg, struct fail *fail)
{
    static const enum line_order orders[] = {
        [LEDGER_OLDEST] = LINES_BY_END,
        [LEDGER_NEWEST] = LINES_BY_END_DOWN,
        [LEDGER_DEAREST] = LINES_BY_COST_DOWN,
    };
    struct reading g = {r, fn, arg, offset, limit, limit > 0};
    int64_t from_us, to_us;
    bool has_facts;

    ASSERT(r->in_view);
    *fail = (struct fail){0};
    if (order == LEDGER_DEAREST && !task_condition(filter) &&
        read_dearest_can(filter, limit, offset)) {
        enum rc rc = facts_look(r, &has_facts, fail);

        if (rc != RC_OK || has_facts)
            return rc != RC_OK ? rc : read_dearest(r, filter, limit, offset, fn, arg, fail);
    }
    filter_end_bounds(filter, &from_us, &to_us);
    return scan_lines(r, filter, from_us, to_us, orders[order], give_line, &g, fail);
}

enum rc ledger_read_line(struct ledger_reader *r, const struct uuid *id, ledger_line_fn *fn,
                         void *arg, struct fail *fail)
{
    struct record record;
    int64_t seq;
    enum rc rc;

    ASSERT(r->in_view);
    db_bind_blob(r->line_of_id, 1, strv_make((const char *)id->b, UUID_BYTES));
    rc = db_int(r->line_of_id, &seq, fail, "read the ledger");
    if (rc == RC_OK)
        rc = read_body(r, seq, &record, fail);
    if (rc == RC_OK)
        fn((uint64_t)seq, &record, arg);
    return rc;
}

bool ledger_read_has(struct ledger_reader *r, const struct uuid *id)
{
    struct fail ignored = {0};
    int64_t seq;

    ASSERT(r->in_view);
    db_bind_blob(r->line_of_id, 1, strv_make((const char *)id->b, UUID_BYTES));
    return db_int(r->line_of_id, &seq, &ignored, "read the ledger") == RC_OK;
}
