/*
 * ingest_sums.c - the sums that are kept beside the lines: rollups and tasks.
 *
 * A batch is added up in memory by quarter of an hour and combination, then merged
 * into the rows of all three levels, in the batch's own transaction.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/ledger/ingest_int.h"

void ingest_split(struct money m, int64_t *nano, int64_t *rest)
{
    const money_int far = (money_int)INT64_MAX * ATTO_PER_NANO;

    if (m.atto >= far || m.atto <= -far) {
        *nano = m.atto < 0 ? INT64_MIN : INT64_MAX;
        *rest = 0;
        return;
    }
    money_split(m, nano, rest);
}

static void wire_up(struct rollup_sum *s)
{
    s->rollup.histogram = &s->histogram;
    s->rollup.bands = s->bands;
    s->rollup.meters = s->meters;
}

void ingest_forget_sums(struct ingest *in)
{
    in->n_rollups = 0;
    in->n_task_sums = 0;
    dict_clear(&in->rollup_of);
    dict_clear(&in->task_sum_of);
}

static enum rc broken(struct fail *fail, const char *doing)
{
    *fail = (struct fail){.rc = RC_BAD, .doing = doing};
    return RC_BAD;
}

/* Adds sums, also given encoded, to one row. */
static enum rc merge_row(struct ingest *in, enum rollup_level level, int64_t bucket,
                         const struct rollup_sum *s, struct strv added, struct fail *fail)
{
    sqlite3_stmt *find = in->sql[SQL_ROLLUP_FIND], *put = in->sql[SQL_ROLLUP_PUT];
    const struct ledger_sums *sums = &s->rollup.sums;
    struct rollup_sum *work = in->work;
    struct buf merged;
    int64_t nano, rest;
    int code;
    enum rc rc;

    buf_init(&merged, JOURNAL_ENTRY_MAX_BYTES);
    sqlite3_bind_int64(find, 1, level);
    sqlite3_bind_int64(find, 2, bucket);
    sqlite3_bind_int64(find, 3, s->combo);
    code = sqlite3_step(find);
    if (code == SQLITE_ROW) {
        memset(work, 0, sizeof(*work));
        wire_up(work);
        rc = rollup_add_encoded(&work->rollup, db_column(find, 0));
        if (rc == RC_OK)
            rc = rollup_add_encoded(&work->rollup, added);
        if (rc == RC_OK)
            rc = rollup_encode(&work->rollup, &merged);
        if (rc != RC_OK)
            rc = broken(fail, "read a rollup: audit the ledger");
        sums = &work->rollup.sums;
    } else {
        rc = code == SQLITE_DONE ? RC_OK : db_failed(in->db, fail, "read a rollup");
    }
    sqlite3_reset(find);
    if (rc != RC_OK)
        goto out;
    ingest_split(sums->cost, &nano, &rest);
    sqlite3_bind_int64(put, 1, level);
    sqlite3_bind_int64(put, 2, bucket);
    sqlite3_bind_int64(put, 3, s->combo);
    sqlite3_bind_int64(put, 4, (int64_t)(sums->requests & INT64_MAX));
    sqlite3_bind_int64(put, 5, nano);
    sqlite3_bind_int64(put, 6, rest);
    db_bind_blob(put, 7, code == SQLITE_ROW ? buf_view(&merged) : added);
    rc = db_run(put, fail, "write a rollup");
out:
    buf_release(&merged);
    return rc;
}

static enum rc write_rollups(struct ingest *in, struct fail *fail)
{
    for (size_t i = 0; i < in->n_rollups; i++) {
        const struct rollup_sum *s = &in->rollups[i];
        int64_t us = s->bucket * rollup_width_us(LEVEL_QUARTER);

        buf_clear(&in->scratch);
        if (rollup_encode(&s->rollup, &in->scratch) != RC_OK)
            return broken(fail, "add up a rollup");
        for (int level = LEVEL_QUARTER; level < LEVEL_COUNT; level++) {
            enum rc rc = merge_row(in, (enum rollup_level)level,
                                   rollup_bucket((enum rollup_level)level, us), s,
                                   buf_view(&in->scratch), fail);

            if (rc != RC_OK)
                return rc;
        }
    }
    in->n_rollups = 0;
    dict_clear(&in->rollup_of);
    return RC_OK;
}

static enum rc write_task(struct ingest *in, struct task_sum *s, struct fail *fail)
{
    sqlite3_stmt *get = in->sql[SQL_TASK_GET], *put = in->sql[SQL_TASK_PUT];
    struct rollup sums = {.sums = s->sums};
    int64_t known;
    enum rc rc;

    if (in->stays) {
        sqlite3_bind_int64(in->stays, 1, s->task);
        rc = db_int(in->stays, &known, fail, "read a task");
        if (rc != RC_STATE)
            return rc;
    }
    sqlite3_bind_int64(get, 1, s->task);
    if (sqlite3_step(get) != SQLITE_ROW) {
        rc = db_failed(in->db, fail, "read a task");
        sqlite3_reset(get);
        return rc;
    }
    rc = rollup_add_encoded(&sums, db_column(get, 0));
    known = sqlite3_column_int64(get, 1);
    if (known)
        s->task_type = known;
    if (sqlite3_column_type(get, 2) != SQLITE_NULL) {
        int64_t first_us = sqlite3_column_int64(get, 2), last_us = sqlite3_column_int64(get, 3);

        s->first_us = first_us < s->first_us ? first_us : s->first_us;
        s->last_us = last_us > s->last_us ? last_us : s->last_us;
    }
    if (sqlite3_column_int64(get, 4) > s->max_attempt)
        s->max_attempt = (uint32_t)sqlite3_column_int64(get, 4);
    sqlite3_reset(get);
    buf_clear(&in->scratch);
    if (rc == RC_OK)
        rc = rollup_encode(&sums, &in->scratch);
    if (rc != RC_OK)
        return broken(fail, "add up a task: audit the ledger");
    sqlite3_bind_int64(put, 1, s->task);
    db_bind_blob(put, 2, buf_view(&in->scratch));
    sqlite3_bind_int64(put, 3, s->task_type);
    /* Without times: of corrections alone, whose lines are in another ledger. */
    if (s->first_us <= s->last_us) {
        sqlite3_bind_int64(put, 4, s->first_us);
        sqlite3_bind_int64(put, 5, s->last_us);
    } else {
        sqlite3_bind_null(put, 4);
        sqlite3_bind_null(put, 5);
    }
    sqlite3_bind_int64(put, 6, s->max_attempt);
    return db_run(put, fail, "write a task");
}

static enum rc write_tasks(struct ingest *in, struct fail *fail)
{
    for (size_t i = 0; i < in->n_task_sums; i++) {
        enum rc rc = write_task(in, &in->task_sums[i], fail);

        if (rc != RC_OK)
            return rc;
    }
    in->n_task_sums = 0;
    dict_clear(&in->task_sum_of);
    return RC_OK;
}

enum rc ingest_write_sums(struct ingest *in, struct fail *fail)
{
    enum rc rc = write_rollups(in, fail);

    return rc == RC_OK ? write_tasks(in, fail) : rc;
}

static enum rc add_rollup(struct ingest *in, const struct record *r, int64_t combo,
                          struct fail *fail)
{
    int64_t key[2] = {rollup_bucket(LEVEL_QUARTER, r->end_us), combo};
    struct strv bytes = strv_make((const char *)key, sizeof(key));
    const int64_t *at = dict_get(&in->rollup_of, bytes);
    struct rollup_sum *s;

    if (!at && in->n_rollups == INGEST_ROLLUPS_MAX) {
        enum rc rc = write_rollups(in, fail);

        if (rc != RC_OK)
            return rc;
    }
    if (at) {
        s = &in->rollups[*at];
    } else {
        s = &in->rollups[in->n_rollups];
        memset(s, 0, sizeof(*s));
        s->bucket = key[0];
        s->combo = combo;
        wire_up(s);
        dict_put(&in->rollup_of, bytes, (int64_t)in->n_rollups++);
    }
    rollup_add_record(&s->rollup, r);
    return RC_OK;
}

static enum rc add_task(struct ingest *in, const struct record *r, int64_t task,
                        struct fail *fail)
{
    struct strv bytes = strv_make((const char *)&task, sizeof(task));
    const int64_t *at = dict_get(&in->task_sum_of, bytes);
    struct task_sum *s;

    if (!at && in->n_task_sums == INGEST_TASK_SUMS_MAX) {
        enum rc rc = write_tasks(in, fail);

        if (rc != RC_OK)
            return rc;
    }
    if (at) {
        s = &in->task_sums[*at];
    } else {
        s = &in->task_sums[in->n_task_sums];
        *s = (struct task_sum){.task = task, .first_us = INT64_MAX, .last_us = INT64_MIN};
        dict_put(&in->task_sum_of, bytes, (int64_t)in->n_task_sums++);
    }
    ledger_sums_add_record(&s->sums, r);
    if (r->is_correction) /* it is no attempt, and its time is that of books */
        return RC_OK;
    if (r->start_us < s->first_us)
        s->first_us = r->start_us;
    if (r->end_us > s->last_us)
        s->last_us = r->end_us;
    if (r->attempt > s->max_attempt)
        s->max_attempt = r->attempt;
    if (s->task_type == 0 && r->subject.dim[DIM_TASK_TYPE].n > 0)
        return ingest_word(in, r->subject.dim[DIM_TASK_TYPE], &s->task_type, fail);
    return RC_OK;
}

enum rc ingest_add_sums(struct ingest *in, const struct record *r, int64_t combo, int64_t task,
                        struct fail *fail)
{
    bool is_summed = in->is_repair && r->end_us < in->sums_from_us; /* with deleted ones */
    enum rc rc = is_summed ? RC_OK : add_rollup(in, r, combo, fail);

    return rc == RC_OK && task ? add_task(in, r, task, fail) : rc;
}
