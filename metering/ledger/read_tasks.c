/*
 * read_tasks.c - tasks with what was spent on them, and what of it was retries.
 *
 * A task's row holds the sums over all its lines; where those are asked for and
 * nobody retried, the lines are not read.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "metering/ledger/read_task.h"


/* ---- one task --------------------------------------------------------------------- */

static enum rc start_task(struct task_reading *g, int64_t id, struct fail *fail)
{
    struct ledger_reader *r = g->reader;
    int64_t words[3]; /* team, task_type, closed_by */
    struct strv texts[3], name;
    enum rc rc = RC_OK;
    int code;

    g->id = id;
    g->n_attempts = g->n_by_id = 0;
    dict_clear(&g->open);
    dict_clear(&g->by_id);
    arena_reset(&g->arena);
    memset(&g->task, 0, sizeof(g->task));
    for (size_t i = 0; i < LEDGER_GROUP_MAX; i++)
        g->values[i] = STRV("");
    g->task.value = g->values;
    sqlite3_bind_int64(g->row, 1, id);
    code = sqlite3_step(g->row);
    if (code != SQLITE_ROW) {
        rc = code == SQLITE_DONE ? read_damaged(fail) : read_failed(r, fail);
        sqlite3_reset(g->row);
        return rc;
    }
    words[0] = sqlite3_column_int64(g->row, 0);
    words[1] = sqlite3_column_int64(g->row, 2);
    words[2] = sqlite3_column_int64(g->row, 5);
    name = arena_strv(&g->arena, db_column(g->row, 1));
    if (sqlite3_column_int64(g->row, 3) >= TASK_OPEN &&
        sqlite3_column_int64(g->row, 3) <= TASK_ABANDONED)
        g->task.outcome = (enum task_outcome)sqlite3_column_int(g->row, 3);
    g->task.closed_us = sqlite3_column_int64(g->row, 4);
    g->row_first_us = sqlite3_column_type(g->row, 6) == SQLITE_NULL
                          ? INT64_MAX
                          : sqlite3_column_int64(g->row, 6);
    sqlite3_reset(g->row);
    for (int i = 0; i < 3 && rc == RC_OK; i++)
        rc = texts_get(r, &r->words, words[i], &texts[i], fail);
    if (rc != RC_OK)
        return rc;
    if (!name.p)
        return read_damaged(fail);
    g->task.task = name;
    g->task.team = texts[0];
    g->task.task_type = texts[1];
    g->task.closed_by = texts[2];
    return RC_OK;
}

/* Attempt k supersedes the latest attempt k - 1 that is still standing. */
void task_pair(struct task_reading *g, struct ledger_attempt *a)
{
    uint32_t place = (uint32_t)g->n_attempts, before = a->number - 1;
    int64_t *at = dict_get(&g->open, strv_make((const char *)&before, sizeof(before)));

    if (at && *at > 0) {
        struct ledger_attempt *old = &g->attempts[*at - 1];

        old->is_superseded = true;
        *at = old->below;
    }
    at = dict_get(&g->open, strv_make((const char *)&a->number, sizeof(a->number)));
    a->below = at ? (uint32_t)*at : 0;
    dict_put(&g->open, strv_make((const char *)&a->number, sizeof(a->number)), place + 1);
}

enum rc task_room(struct task_reading *g, struct fail *fail)
{
    if (g->n_attempts == TASK_LINES_MAX) {
        *fail = (struct fail){.rc = RC_LIMIT, .doing = "add up a task of that many requests"};
        return RC_LIMIT;
    }
    if (g->n_attempts == g->cap_attempts) {
        g->cap_attempts = g->cap_attempts ? g->cap_attempts * 2 : 16;
        g->attempts = xrealloc(g->attempts, g->cap_attempts * sizeof(*g->attempts));
    }
    return RC_OK;
}

static enum rc add_attempt(struct task_reading *g, const struct record *r, struct fail *fail)
{
    struct ledger_attempt a = {.id = r->id,
                               .number = r->attempt ? r->attempt : 1,
                               .outcome = r->outcome,
                               .is_priced = r->price_status != PRICE_NONE,
                               .is_repeat = r->is_repeat};
    enum rc rc = task_room(g, fail);

    if (rc != RC_OK)
        return rc;
    if (a.is_priced)
        a.cost = r->cost;
    task_pair(g, &a);
    g->attempts[g->n_attempts++] = a;
    return RC_OK;
}

/* What a correction adds belongs to the attempt that it corrects. */
static void add_to_attempt(struct task_reading *g, const struct record *r)
{
    const int64_t *at;

    for (; g->n_by_id < g->n_attempts; g->n_by_id++)
        dict_put(&g->by_id,
                 strv_make((const char *)g->attempts[g->n_by_id].id.b, UUID_BYTES),
                 (int64_t)g->n_by_id);
    at = dict_get(&g->by_id, strv_make((const char *)r->corrects.b, UUID_BYTES));
    if (!at)
        return;
    g->attempts[*at].cost = ledger_money_add(g->attempts[*at].cost, r->cost);
    g->attempts[*at].is_priced |= r->price_status != PRICE_NONE;
}

static enum rc take_values(struct task_reading *g, const struct line *line,
                           const struct combo *combo, struct fail *fail)
{
    for (size_t i = 0; i < g->n_by; i++) {
        enum rc rc = line_value(g->reader, line, combo, &g->by[i], &g->values[i], fail);

        if (rc != RC_OK)
            return rc;
        g->values[i] = arena_strv(&g->arena, g->values[i]);
        if (!g->values[i].p)
            return read_damaged(fail);
    }
    return RC_OK;
}

/* Lines come in order of start. */
static enum rc add_task_line(struct task_reading *g, const struct line *line,
                             const struct combo *combo, struct fail *fail)
{
    struct ledger_task *t = &g->task;
    struct ledger_sums sums;
    struct record r;
    enum rc rc = read_body(g->reader, line->seq, &r, fail);

    if (rc == RC_OK && r.is_correction) {
        ledger_sums_of(&r, &sums);
        ledger_sums_add(&t->sums, &sums);
        add_to_attempt(g, &r);
        return RC_OK;
    }
    if (rc == RC_OK && t->sums.requests == 0)
        rc = take_values(g, line, combo, fail);
    if (rc == RC_OK)
        rc = add_attempt(g, &r, fail);
    if (rc != RC_OK)
        return rc;
    if (t->sums.requests == 0 || r.start_us < t->first_us)
        t->first_us = r.start_us;
    if (t->sums.requests == 0 || r.end_us > t->last_us)
        t->last_us = r.end_us;
    ledger_sums_of(&r, &sums);
    ledger_sums_add(&t->sums, &sums);
    if (t->closed_us != 0 && r.end_us > t->closed_us) {
        t->late++;
        t->late_cost = ledger_money_add(t->late_cost, sums.cost);
    }
    return RC_OK;
}

static bool is_of_task(const struct ledger_field *field)
{
    return field->id == FIELD_TEAM || field->id == FIELD_TASK;
}

/* No condition but on what the task's row has. */
bool task_has_line_conditions(const struct ledger_filter *f)
{
    for (size_t i = 0; i < f->n_where; i++) {
        if (!is_of_task(&f->where[i].field) && f->where[i].field.id != FIELD_TASK_TYPE)
            return true;
    }
    return false;
}

static bool task_matches(const struct task_reading *g)
{
    for (size_t i = 0; i < g->filter->n_where; i++) {
        const struct ledger_condition *c = &g->filter->where[i];

        if (is_of_task(&c->field) &&
            !condition_holds(c, c->field.id == FIELD_TEAM ? g->task.team : g->task.task))
            return false;
    }
    return true;
}

enum ledger_part ledger_attempt_part(const struct ledger_attempt *a)
{
    bool is_error = outcome_is_error(a->outcome);

    if (a->is_superseded)
        return is_error ? PART_SUPERSEDED_ERROR : PART_SUPERSEDED;
    if (is_error)
        return PART_ERROR;
    switch (a->outcome) {
    case OUTCOME_CLIENT_ABORT:
    case OUTCOME_CUT:
        return PART_CUT;
    case OUTCOME_TRUNCATED:
        return PART_TRUNCATED;
    case OUTCOME_REFUSED:
        return PART_REFUSED;
    case OUTCOME_OK:
    case OUTCOME_PROVIDER_ERROR:
    case OUTCOME_UPSTREAM_ABORT:
    case OUTCOME_TIMEOUT:
    case OUTCOME_INTERRUPTED:
    case OUTCOME_COUNT:
        break;
    }
    return a->is_repeat ? PART_REPEAT : PART_OK;
}

void task_add_up(struct task_reading *g)
{
    struct ledger_task *t = &g->task;

    for (size_t i = 0; i < g->n_attempts; i++) {
        const struct ledger_attempt *a = &g->attempts[i];
        struct ledger_part_sum *part = &t->part[ledger_attempt_part(a)];

        t->superseded += a->is_superseded;
        part->requests++;
        part->priced += a->is_priced;
        part->cost = ledger_money_add(part->cost, a->cost);
        if (a->is_superseded || outcome_is_error(a->outcome))
            t->retry_cost = ledger_money_add(t->retry_cost, a->cost);
    }
}

void task_give(struct task_reading *g)
{
    struct ledger_task *t = &g->task;

    task_add_up(g);
    if (!(g->want & LEDGER_TASK_COSTS)) {
        t->attempt = g->attempts;
        t->n_attempts = g->n_attempts;
    }
    if (!g->fn(t, g->arg))
        g->is_ended = true;
}

/* A closed task without any line of its own. */
static bool is_worth_telling(const struct task_reading *g)
{
    if (g->task.sums.requests > 0)
        return true;
    if (g->cohort != COHORT_CLOSED || (g->with_open && g->task.outcome == TASK_OPEN) ||
        task_has_line_conditions(g->filter))
        return false;
    for (size_t i = 0; i < g->filter->n_where; i++) {
        const struct ledger_condition *c = &g->filter->where[i];

        if (c->field.id == FIELD_TASK_TYPE && !condition_holds(c, g->task.task_type))
            return false;
    }
    return true;
}

/* ---- from the task's row, or from its lines ------------------------------------------ */

/* The row has it all where all lines are meant, none is late and nobody retried. */
static enum rc from_row(struct task_reading *g, bool *done, struct fail *fail)
{
    struct ledger_task *t = &g->task;
    struct rollup sums = {0};
    int64_t max_attempt;
    enum rc rc = RC_OK;

    *done = false;
    for (size_t i = 0; i < g->filter->n_where; i++) {
        if (!is_of_task(&g->filter->where[i].field))
            return RC_OK;
    }
    for (size_t i = 0; i < g->n_by; i++) {
        if (!is_of_task(&g->by[i]))
            return RC_OK;
    }
    sqlite3_bind_int64(g->row, 1, g->id);
    if (sqlite3_step(g->row) != SQLITE_ROW) {
        sqlite3_reset(g->row);
        return read_damaged(fail);
    }
    t->first_us = sqlite3_column_int64(g->row, 6);
    t->last_us = sqlite3_column_int64(g->row, 7);
    max_attempt = sqlite3_column_int64(g->row, 8);
    if (max_attempt <= 1 && (t->closed_us == 0 || t->last_us <= t->closed_us)) {
        if (rollup_add_encoded(&sums, db_column(g->row, 9)) != RC_OK)
            rc = read_damaged(fail);
        t->sums = sums.sums;
        t->retry_cost = sums.sums.error_cost;
        *done = true;
    }
    sqlite3_reset(g->row);
    for (size_t i = 0; i < g->n_by && t->sums.requests > 0; i++)
        g->values[i] = g->by[i].id == FIELD_TEAM ? t->team : t->task;
    return rc;
}

/* The row's first start is that of all lines, also of those that are deleted. */
static enum rc from_lines(struct task_reading *g, struct fail *fail)
{
    enum rc rc = RC_OK;
    int code = SQLITE_DONE;

    if (g->row_first_us < g->reader->kept_from_us)
        return read_gone(fail);
    sqlite3_bind_int64(g->of_task, 1, g->id);
    while (rc == RC_OK && (code = sqlite3_step(g->of_task)) == SQLITE_ROW) {
        const struct combo *c;
        struct line line;
        bool holds;

        read_line_columns(g->of_task, &line);
        c = read_combo(g->reader, line.combo);
        if (!c) {
            rc = read_damaged(fail);
            break;
        }
        if (!combo_matches(g->filter, c))
            continue;
        rc = line_matches(g->reader, g->filter, &line, c, &holds, fail);
        if (rc == RC_OK && holds)
            rc = add_task_line(g, &line, c, fail);
    }
    if (rc == RC_OK && code != SQLITE_DONE)
        rc = read_failed(g->reader, fail);
    sqlite3_reset(g->of_task);
    return rc;
}

enum rc task_whole(struct task_reading *g, int64_t id, struct fail *fail)
{
    bool done;
    enum rc rc = start_task(g, id, fail);

    if (rc != RC_OK || !task_matches(g))
        return rc;
    rc = from_row(g, &done, fail);
    if (rc == RC_OK && !done) {
        g->task.first_us = g->task.last_us = 0;
        rc = from_lines(g, fail);
    }
    if (rc == RC_OK && is_worth_telling(g))
        task_give(g);
    return rc;
}

/* Tasks that a statement names, each with all its lines. */
static enum rc whole_tasks(struct task_reading *g, const char *sql, struct fail *fail)
{
    sqlite3_stmt *stmt = db_prepare(g->reader->db, sql, fail);
    enum rc rc = stmt ? RC_OK : fail->rc;
    int code = SQLITE_DONE;

    if (!stmt)
        return rc;
    /* Rows are deleted too: of tasks that were closed, and of lines that ended, by then. */
    rc = read_kept(g->reader, g->filter,
                   g->cohort == COHORT_CLOSED && g->filter->from_us < g->reader->kept_from_us
                       ? INT64_MIN
                       : g->filter->from_us,
                   g->filter->to_us, fail);
    sqlite3_bind_int64(stmt, 1, g->filter->from_us);
    sqlite3_bind_int64(stmt, 2, g->filter->to_us);
    while (rc == RC_OK && !g->is_ended && (code = sqlite3_step(stmt)) == SQLITE_ROW)
        rc = task_whole(g, sqlite3_column_int64(stmt, 0), fail);
    if (rc == RC_OK && !g->is_ended && code != SQLITE_DONE)
        rc = read_failed(g->reader, fail);
    sqlite3_finalize(stmt);
    return rc;
}

/* Lines of the period, task by task. */
static enum rc spend_line(const struct line *line, const struct combo *combo, void *arg,
                          struct fail *fail)
{
    struct task_reading *g = arg;

    if (line->task != g->id) {
        enum rc rc;

        if (g->id)
            task_give(g);
        if (g->is_ended)
            return RC_EOF;
        rc = start_task(g, line->task, fail);
        if (rc != RC_OK)
            return rc;
    }
    /* A task name may be that of several teams: the line's own team decides. */
    return add_task_line(g, line, combo, fail);
}

static enum rc spend_tasks(struct task_reading *g, struct fail *fail)
{
    int64_t from_us, to_us;
    enum rc rc;

    filter_end_bounds(g->filter, &from_us, &to_us);
    rc = scan_lines(g->reader, g->filter, from_us, to_us, LINES_BY_TASK, spend_line, g, fail);
    if (rc == RC_OK && g->id && !g->is_ended)
        task_give(g);
    return rc;
}

static enum rc prepare(struct task_reading *g, struct fail *fail)
{
    sqlite3 *db = g->reader->db;

    g->row = db_prepare(db,
                        "SELECT team, name, task_type, outcome, closed_us, closed_by, first_us, "
                        "last_us, max_attempt, body FROM task WHERE id=?1",
                        fail);
    if (!g->row)
        return fail->rc;
    g->of_task = db_prepare(db,
                            "SELECT " LINE_COLUMNS " FROM line l WHERE l.task=?1 AND l.task<>0 "
                            "ORDER BY l.start_us, l.end_us, l.seq",
                            fail);
    return g->of_task ? RC_OK : fail->rc;
}

static enum rc from_tables(struct task_reading *g, struct fail *fail)
{
    switch (g->cohort) {
    case COHORT_CLOSED:
        return whole_tasks(
            g, "SELECT id FROM task WHERE closed_us>=?1 AND closed_us<?2 ORDER BY id", fail);
    case COHORT_SPEND:
        return spend_tasks(g, fail);
    case COHORT_OPEN:
        return whole_tasks(g,
                           "SELECT DISTINCT l.task FROM line l CROSS JOIN task t ON t.id=l.task "
                           "WHERE l.end_us>=?1 AND l.end_us<?2 AND l.task<>0 AND "
                           "t.closed_us IS NULL ORDER BY l.task",
                           fail);
    }
    return RC_OK;
}

enum rc tasks_read(struct task_reading *g, struct fail *fail)
{
    bool by_column = false;
    enum rc rc;

    ASSERT(g->reader->in_view && g->n_by <= LEDGER_GROUP_MAX);
    *fail = (struct fail){0};
    dict_init(&g->open);
    dict_init(&g->by_id);
    arena_init(&g->arena, TASK_VALUE_BYTES);
    rc = prepare(g, fail);
    if (rc == RC_OK && g->want & LEDGER_TASK_COSTS)
        rc = tasks_can_use_facts(g, &by_column, fail);
    if (rc == RC_OK)
        rc = by_column ? tasks_from_facts(g, fail) : from_tables(g, fail);
    sqlite3_finalize(g->row);
    sqlite3_finalize(g->of_task);
    free(g->attempts);
    dict_release(&g->open);
    dict_release(&g->by_id);
    arena_release(&g->arena);
    return rc;
}

enum rc ledger_read_tasks(struct ledger_reader *r, const struct ledger_filter *filter,
                          enum ledger_cohort cohort, const struct ledger_field *by, size_t n_by,
                          unsigned want, ledger_task_fn *fn, void *arg, struct fail *fail)
{
    struct task_reading g = {.reader = r,
                             .filter = filter,
                             .cohort = cohort,
                             .by = by,
                             .n_by = n_by,
                             .want = want,
                             .fn = fn,
                             .arg = arg};

    return tasks_read(&g, fail);
}

/* ---- refusals -------------------------------------------------------------------------- */

static const enum ledger_field_id denied_fields[] = {FIELD_KEY, FIELD_TEAM, FIELD_FEATURE,
                                                     FIELD_ENVIRONMENT};

static bool denied_matches(const struct ledger_filter *f, const struct strv *texts)
{
    for (size_t i = 0; i < f->n_where; i++) {
        for (size_t j = 0; j < sizeof(denied_fields) / sizeof(*denied_fields); j++) {
            if (f->where[i].field.id == denied_fields[j] &&
                !condition_holds(&f->where[i], texts[1 + j])) /* texts[0] is the code */
                return false;
        }
    }
    return true;
}

static bool denied_can_match(const struct ledger_filter *f)
{
    for (size_t i = 0; i < f->n_where; i++) {
        bool known = false;

        for (size_t j = 0; j < sizeof(denied_fields) / sizeof(*denied_fields); j++)
            known |= f->where[i].field.id == denied_fields[j];
        if (!known)
            return false;
    }
    return true;
}

enum rc ledger_read_denied(struct ledger_reader *r, const struct ledger_filter *filter,
                           ledger_denied_fn *fn, void *arg, struct fail *fail)
{
    int64_t width = rollup_width_us(LEVEL_QUARTER);
    sqlite3_stmt *stmt;
    enum rc rc = RC_OK;
    int code = SQLITE_DONE;

    ASSERT(r->in_view);
    *fail = (struct fail){0};
    if (!denied_can_match(filter)) {
        *fail = (struct fail){.rc = RC_BAD, .doing = "filter refusals by that field"};
        return RC_BAD;
    }
    stmt = db_prepare(r->db,
                      "SELECT bucket, code, key, team, feature, environment, limit_name, count "
                      "FROM denied WHERE bucket>=?1 AND bucket<?2 ORDER BY bucket",
                      fail);
    if (!stmt)
        return fail->rc;
    /* Buckets that begin in [from, to): both bounds rounded up. */
    sqlite3_bind_int64(stmt, 1, filter->from_us / width + (filter->from_us % width > 0));
    sqlite3_bind_int64(stmt, 2, filter->to_us / width + (filter->to_us % width > 0));
    while (rc == RC_OK && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct strv texts[6];

        for (int i = 0; i < 6 && rc == RC_OK; i++)
            rc = texts_get(r, &r->words, sqlite3_column_int64(stmt, 1 + i), &texts[i], fail);
        if (rc == RC_OK && denied_matches(filter, texts)) {
            struct ledger_denied d = {.start_us = sqlite3_column_int64(stmt, 0) * width,
                                      .code = texts[0],
                                      .key = texts[1],
                                      .team = texts[2],
                                      .feature = texts[3],
                                      .environment = texts[4],
                                      .limit = texts[5],
                                      .count = (uint64_t)sqlite3_column_int64(stmt, 7)};

            if (!fn(&d, arg))
                break;
        }
    }
    if (rc == RC_OK && code != SQLITE_DONE && code != SQLITE_ROW)
        rc = read_failed(r, fail);
    sqlite3_finalize(stmt);
    return rc;
}
