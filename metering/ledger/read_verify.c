/*
 * read_verify.c - recomputes from the records all that was derived from them.
 *
 * Lines come in order of time, so each level needs only its current bucket's sums in
 * memory; they are compared with the stored rows, byte by byte in their canonical
 * form, when the bucket is over.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/datetime.h"
#include "base/xalloc.h"
#include "metering/ledger/read_int.h"

struct cell {
    int64_t combo;
    struct rollup rollup;
    struct cost_histogram histogram;
    struct ledger_band bands[LEDGER_BANDS];
    struct ledger_meter_sum meters[METER_COUNT];
};

struct open_bucket {
    bool is_open;
    int64_t bucket;
    struct cell **cells;
    size_t n;
    struct dict of; /* combo: place */
};

struct verifying {
    struct ledger_reader *reader;
    struct ledger_verdict *verdict;
    struct open_bucket level[LEVEL_COUNT];
    sqlite3_stmt *count, *find;
    int64_t task; /* whose lines are being added */
    struct rollup task_sums;
    struct buf scratch;
    ledger_progress_fn *progress;
    void *progress_arg;
};

enum { PROGRESS_LINES = 1 << 14 };

/* The first disagreement is named, all are counted. */
__attribute__((format(printf, 3, 4))) static void say_bad(struct verifying *v, uint64_t *count,
                                                          const char *format, ...)
{
    va_list args;

    ++*count;
    if (v->verdict->first[0])
        return;
    va_start(args, format);
    vsnprintf(v->verdict->first, sizeof(v->verdict->first), format, args);
    va_end(args);
}

static struct cell *cell_of(struct open_bucket *b, int64_t combo)
{
    struct strv key = strv_make((const char *)&combo, sizeof(combo));
    const int64_t *at = dict_get(&b->of, key);
    struct cell *c;

    if (at)
        return b->cells[*at];
    if ((b->n & (b->n - 1)) == 0)
        b->cells = xrealloc(b->cells, (b->n ? b->n * 2 : 1) * sizeof(struct cell *));
    c = xcalloc(1, sizeof(*c));
    c->combo = combo;
    c->rollup.histogram = &c->histogram;
    c->rollup.bands = c->bands;
    c->rollup.meters = c->meters;
    dict_put(&b->of, key, (int64_t)b->n);
    b->cells[b->n++] = c;
    return c;
}

static void forget(struct open_bucket *b)
{
    for (size_t i = 0; i < b->n; i++)
        free(b->cells[i]);
    b->n = 0;
    dict_clear(&b->of);
    b->is_open = false;
}

static void say_bad_rollup(struct verifying *v, enum rollup_level level, int64_t bucket,
                           int64_t combo, const char *what)
{
    static const char *const names[LEVEL_COUNT] = {
        [LEVEL_QUARTER] = "quarter of an hour", [LEVEL_HOUR] = "hour", [LEVEL_DAY] = "day"};
    const struct combo *c = read_combo(v->reader, combo);
    char start[DATETIME_TEXT];

    datetime_format_us(bucket * rollup_width_us(level), start);
    say_bad(v, &v->verdict->bad_rollups,
            "rollup of the %s from %s, team \"%.*s\", feature \"%.*s\", model \"%.*s\", %s",
            names[level], start, c ? (int)c->text[COMBO_TEAM].n : 0,
            c ? c->text[COMBO_TEAM].p : "", c ? (int)c->text[COMBO_FEATURE].n : 0,
            c ? c->text[COMBO_FEATURE].p : "", c ? (int)c->text[COMBO_MODEL].n : 0,
            c ? c->text[COMBO_MODEL].p : "", what);
}

static enum rc compare_cell(struct verifying *v, enum rollup_level level, int64_t bucket,
                            const struct cell *c, struct fail *fail)
{
    enum rc rc;
    int code;

    buf_clear(&v->scratch);
    rc = rollup_encode(&c->rollup, &v->scratch);
    if (rc != RC_OK)
        return read_damaged(fail);
    sqlite3_bind_int64(v->find, 1, level);
    sqlite3_bind_int64(v->find, 2, bucket);
    sqlite3_bind_int64(v->find, 3, c->combo);
    code = sqlite3_step(v->find);
    if (code == SQLITE_ROW) {
        struct money stored =
            money_join(sqlite3_column_int64(v->find, 2), sqlite3_column_int64(v->find, 3));
        bool is_far = sqlite3_column_int64(v->find, 2) == INT64_MAX;

        if (!strv_eq(db_column(v->find, 0), buf_view(&v->scratch)) ||
            (uint64_t)sqlite3_column_int64(v->find, 1) != c->rollup.sums.requests ||
            (!is_far && money_cmp(stored, c->rollup.sums.cost) != 0))
            say_bad_rollup(v, level, bucket, c->combo, "differs from its lines");
    } else if (code == SQLITE_DONE) {
        say_bad_rollup(v, level, bucket, c->combo, "is missing");
    } else {
        rc = read_failed(v->reader, fail);
    }
    sqlite3_reset(v->find);
    return rc;
}

/* The bucket is over. */
static enum rc close_bucket(struct verifying *v, enum rollup_level level, struct fail *fail)
{
    struct open_bucket *b = &v->level[level];
    enum rc rc = RC_OK;

    for (size_t i = 0; i < b->n && rc == RC_OK; i++) {
        v->verdict->rollups++;
        rc = compare_cell(v, level, b->bucket, b->cells[i], fail);
    }
    forget(b);
    return rc;
}

static bool line_agrees(const struct line *line, const struct combo *c, const struct record *r)
{
    const struct strv *dim = r->subject.dim;
    const struct strv texts[COMBO_TEXTS] = {
        dim[DIM_TEAM], dim[DIM_FEATURE], dim[DIM_ENVIRONMENT], dim[DIM_TASK_TYPE],
        dim[DIM_KEY],  dim[DIM_MODEL],   dim[DIM_UPSTREAM],    r->endpoint,
        r->protocol,   r->service_tier,  r->price_id};
    bool agrees = line->end_us == r->end_us && line->start_us == r->start_us &&
                  line->is_correction == r->is_correction &&
                  line->is_late_price == (r->is_correction && r->was_unpriced) &&
                  line->attempt == (r->is_correction ? 0 : r->attempt) &&
                  c->outcome == r->outcome && c->usage_source == r->usage_source &&
                  c->price_status == r->price_status &&
                  line->is_priced == (r->price_status != PRICE_NONE);

    for (int i = 0; i < COMBO_TEXTS; i++)
        agrees &= strv_eq(texts[i], c->text[i]);
    if (line->is_priced && !line->is_far)
        agrees &= money_cmp(line->cost, r->cost) == 0;
    return agrees;
}

static enum rc verify_line(const struct line *line, const struct combo *combo, void *arg,
                           struct fail *fail)
{
    struct verifying *v = arg;
    char id[UUID_TEXT];
    struct record r;
    enum rc rc = read_body(v->reader, line->seq, &r, fail);

    v->verdict->lines++;
    if (v->progress && v->verdict->lines % PROGRESS_LINES == 0)
        v->progress(v->verdict->lines, v->progress_arg);
    if (rc == RC_BAD) {
        say_bad(v, &v->verdict->bad_lines, "line %" PRId64 ": its record cannot be read",
                line->seq);
        return RC_OK;
    }
    if (rc != RC_OK)
        return rc;
    uuid_format(&r.id, id);
    if (!line_agrees(line, combo, &r))
        say_bad(v, &v->verdict->bad_lines, "line %" PRId64 " differs from its record %s",
                line->seq, id);
    if (line->end_us < v->reader->kept_from_us) /* its rollups are of deleted lines too */
        return RC_OK;
    if (r.price_status != PRICE_NONE)
        v->verdict->lines_cost = ledger_money_add(v->verdict->lines_cost, r.cost);
    for (int i = 0; i < LEVEL_COUNT && rc == RC_OK; i++) {
        enum rollup_level level = (enum rollup_level)i;
        struct open_bucket *b = &v->level[i];
        int64_t bucket = rollup_bucket(level, line->end_us);

        if (b->is_open && b->bucket != bucket)
            rc = close_bucket(v, level, fail);
        b->is_open = true;
        b->bucket = bucket;
        rollup_add_record(&cell_of(b, line->combo)->rollup, &r);
    }
    return rc;
}

static enum rc close_task(struct verifying *v, struct fail *fail)
{
    sqlite3_stmt *stmt;
    enum rc rc = RC_OK;

    if (v->task == 0)
        return RC_OK;
    buf_clear(&v->scratch);
    if (rollup_encode(&v->task_sums, &v->scratch) != RC_OK)
        return read_damaged(fail);
    stmt = v->count;
    sqlite3_bind_int64(stmt, 1, v->task);
    switch (sqlite3_step(stmt)) {
    case SQLITE_ROW:
        if (v->reader->kept_from_us != INT64_MIN &&
            (sqlite3_column_type(stmt, 2) == SQLITE_NULL ||
             sqlite3_column_int64(stmt, 2) < v->reader->kept_from_us))
            break; /* some of its lines may be deleted */
        v->verdict->tasks++;
        if (!strv_eq(db_column(stmt, 0), buf_view(&v->scratch)))
            say_bad(v, &v->verdict->bad_tasks, "the sums of task \"%s\" differ from its lines",
                    sqlite3_column_text(stmt, 1));
        break;
    case SQLITE_DONE:
        say_bad(v, &v->verdict->bad_tasks, "task %" PRId64 " has lines and no row", v->task);
        break;
    default:
        rc = read_failed(v->reader, fail);
        break;
    }
    sqlite3_reset(stmt);
    return rc;
}

static enum rc verify_task_line(const struct line *line, const struct combo *combo, void *arg,
                                struct fail *fail)
{
    struct verifying *v = arg;
    struct record r;
    enum rc rc = RC_OK;

    (void)combo;
    if (line->task != v->task) {
        rc = close_task(v, fail);
        v->task = line->task;
        v->task_sums = (struct rollup){0};
    }
    if (rc == RC_OK)
        rc = read_body(v->reader, line->seq, &r, fail);
    if (rc == RC_OK)
        rollup_add_record(&v->task_sums, &r);
    return rc == RC_BAD ? RC_OK : rc; /* counted as a bad line */
}

/* Rollups of a level from where lines are kept. */
static enum rc count_rollups(struct verifying *v, enum rollup_level level, uint64_t *n,
                             struct fail *fail)
{
    sqlite3_stmt *stmt = db_prepare(
        v->reader->db, "SELECT count(*) FROM rollup WHERE level=?1 AND bucket>=?2", fail);
    int64_t found = 0;
    enum rc rc;

    if (!stmt)
        return fail->rc;
    sqlite3_bind_int64(stmt, 1, level);
    sqlite3_bind_int64(stmt, 2, rollup_bucket(level, v->reader->kept_from_us));
    rc = db_int(stmt, &found, fail, "read the ledger");
    sqlite3_finalize(stmt);
    *n += (uint64_t)found;
    return rc;
}

/* The cost of the widest rollups from where lines are kept. */
static enum rc add_rollups(struct verifying *v, struct fail *fail)
{
    sqlite3_stmt *stmt = db_prepare(
        v->reader->db, "SELECT body FROM rollup WHERE level=2 AND bucket>=?1", fail);
    int code = SQLITE_DONE;
    enum rc rc = RC_OK;

    if (!stmt)
        return fail->rc;
    sqlite3_bind_int64(stmt, 1, rollup_bucket(LEVEL_DAY, v->reader->kept_from_us));
    while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct rollup sums = {0};

        if (rollup_add_encoded(&sums, db_column(stmt, 0)) == RC_OK)
            v->verdict->rollups_cost =
                ledger_money_add(v->verdict->rollups_cost, sums.sums.cost);
    }
    if (code != SQLITE_DONE)
        rc = read_failed(v->reader, fail);
    sqlite3_finalize(stmt);
    return rc;
}

/* Rows without lines, records without a line, and the sum over the widest rollups. */
static enum rc verify_rest(struct verifying *v, struct fail *fail)
{
    uint64_t rollups = 0;
    int64_t records = 0;
    enum rc rc = db_query_int(v->reader->db, "SELECT count(*) FROM record", &records, fail,
                              "read the ledger");

    for (int i = 0; i < LEVEL_COUNT && rc == RC_OK; i++)
        rc = count_rollups(v, (enum rollup_level)i, &rollups, fail);
    if (rc != RC_OK)
        return rc;
    if (rollups > v->verdict->rollups) {
        say_bad(v, &v->verdict->bad_rollups, "%" PRIu64 " rollups without lines",
                rollups - v->verdict->rollups);
        v->verdict->bad_rollups += rollups - v->verdict->rollups - 1;
    }
    if ((uint64_t)records > v->verdict->lines) {
        say_bad(v, &v->verdict->bad_lines, "%" PRIu64 " records without a line",
                (uint64_t)records - v->verdict->lines);
        v->verdict->bad_lines += (uint64_t)records - v->verdict->lines - 1;
    }
    return add_rollups(v, fail);
}

enum rc ledger_read_verify(struct ledger_reader *r, ledger_progress_fn *progress, void *arg,
                           struct ledger_verdict *out, struct fail *fail)
{
    struct verifying v = {
        .reader = r, .verdict = out, .progress = progress, .progress_arg = arg};
    struct ledger_filter all;
    enum rc rc = RC_IO;

    ASSERT(r->in_view);
    *fail = (struct fail){0};
    *out = (struct ledger_verdict){0};
    ledger_filter_init(&all, INT64_MIN, INT64_MAX);
    buf_init(&v.scratch, JOURNAL_ENTRY_MAX_BYTES);
    for (int i = 0; i < LEVEL_COUNT; i++)
        dict_init(&v.level[i].of);
    v.find =
        db_prepare(r->db,
                   "SELECT body, requests, cost_nano, cost_rest FROM rollup WHERE level=?1 "
                   "AND bucket=?2 AND combo=?3",
                   fail);
    v.count = db_prepare(r->db, "SELECT body, name, first_us FROM task WHERE id=?1", fail);
    if (!v.find || !v.count)
        goto out;
    rc = scan_kept_lines(r, &all, INT64_MIN, INT64_MAX, LINES_BY_END, verify_line, &v, fail);
    for (int i = 0; i < LEVEL_COUNT && rc == RC_OK; i++)
        rc = close_bucket(&v, (enum rollup_level)i, fail);
    if (rc == RC_OK)
        rc = scan_kept_lines(r, &all, INT64_MIN, INT64_MAX, LINES_BY_TASK,
                             verify_task_line, &v, fail);
    if (rc == RC_OK)
        rc = close_task(&v, fail);
    if (rc == RC_OK)
        rc = verify_facts(r, out, fail);
    if (rc == RC_OK)
        rc = verify_cubes(r, out, fail);
    if (rc == RC_OK)
        rc = verify_tallies(r, out, fail);
    if (rc == RC_OK)
        rc = verify_crossings(r, out, fail);
    if (rc == RC_OK)
        rc = verify_rest(&v, fail);
out:
    for (int i = 0; i < LEVEL_COUNT; i++) {
        forget(&v.level[i]);
        dict_release(&v.level[i].of);
        free(v.level[i].cells);
    }
    sqlite3_finalize(v.find);
    sqlite3_finalize(v.count);
    buf_release(&v.scratch);
    return rc;
}
