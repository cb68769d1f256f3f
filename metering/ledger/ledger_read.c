#include "metering/ledger/ledger_read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "metering/ledger/read_int.h"
#include "metering/ledger/record_common.h"

/* ---- opening ---------------------------------------------------------------- */

static bool prepare(struct ledger_reader *r, sqlite3_stmt **stmt, const char *sql,
                    struct fail *fail)
{
    *stmt = db_prepare(r->db, sql, fail);
    return *stmt != NULL;
}

enum {
    TEXTS_ONE_BY_ONE = 64, /* then so many of them at once: */
    TEXTS_RUN = 512,
};
#define TEXTS_OF(column, table)                                                                \
    "SELECT id, " column " FROM " table " WHERE id>=?1 AND id<?2"

static void texts_release(struct texts *t)
{
    free(t->at);
    t->at = NULL;
    t->cap = t->n_loads = 0;
    arena_release(&t->arena);
    arena_init(&t->arena, READ_TEXTS_BYTES);
}

static const char *const record_of_seq = "SELECT id, body, common FROM record WHERE seq=?1";
static const char *const common_of_id = "SELECT body FROM common WHERE id=?1";

struct ledger_reader *ledger_read_open(const char *path, struct fail *fail)
{
    struct ledger_reader *r = xcalloc(1, sizeof(*r));

    db_init();
    *fail = (struct fail){0};
    r->held_max = LEDGER_HELD_MAX;
    r->counted_max = LEDGER_COUNTED_MAX;
    r->costs_bytes = LEDGER_COSTS_BYTES;
    arena_init(&r->words.arena, READ_TEXTS_BYTES);
    arena_init(&r->tagsets.arena, READ_TEXTS_BYTES);
    arena_init(&r->tasks.arena, READ_TEXTS_BYTES);
    arena_init(&r->commons.arena, READ_TEXTS_BYTES);
    if (access(path, R_OK) != 0) {
        *fail = (struct fail){.rc = RC_IO, .sys = errno, .doing = "open the ledger"};
        goto out;
    }
    if (sqlite3_open_v2(path, &r->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK) {
        db_failed(r->db, fail, "open the ledger");
        goto out;
    }
    sqlite3_busy_timeout(r->db, READ_BUSY_MS);
    if (db_exec(r->db, "PRAGMA cache_size=-4096; PRAGMA temp_store=FILE", fail,
                "open the ledger") != RC_OK ||
        schema_check(r->db, fail) != RC_OK ||
        !prepare(r, &r->body, record_of_seq, fail) ||
        !prepare(r, &r->value_body, record_of_seq, fail) ||
        !prepare(r, &r->body_common, common_of_id, fail) ||
        !prepare(r, &r->value_common, common_of_id, fail) ||
        !prepare(r, &r->commons.find, TEXTS_OF("body", "common"), fail) ||
        !prepare(r, &r->task_outcome, "SELECT outcome FROM task WHERE id=?1", fail) ||
        !prepare(r, &r->corrections,
                 "SELECT seq FROM correction WHERE record=?1 ORDER BY seq", fail) ||
        !prepare(r, &r->line_of_id, "SELECT seq FROM record WHERE id=?1", fail) ||
        !prepare(r, &r->state, "SELECT value FROM state WHERE name=?1", fail) ||
        !prepare(r, &r->words.find, TEXTS_OF("text", "word"), fail) ||
        !prepare(r, &r->tagsets.find, TEXTS_OF("body", "tagset"), fail) ||
        !prepare(r, &r->tasks.find, TEXTS_OF("name", "task"), fail))
        goto out;
    return r;
out:
    ledger_read_close(r);
    return NULL;
}

static void combos_release(struct ledger_reader *r)
{
    free(r->combos);
    r->combos = NULL;
    r->n_combos = 0;
}

void ledger_read_hold(struct ledger_reader *r, uint64_t n)
{
    r->held_max = n;
}

void ledger_read_count(struct ledger_reader *r, uint64_t n)
{
    r->counted_max = n;
}

void ledger_read_costs(struct ledger_reader *r, size_t bytes)
{
    r->costs_bytes = bytes;
}

void ledger_read_close(struct ledger_reader *r)
{
    if (!r)
        return;
    sqlite3_finalize(r->body);
    sqlite3_finalize(r->value_body);
    sqlite3_finalize(r->body_common);
    sqlite3_finalize(r->value_common);
    sqlite3_finalize(r->commons.find);
    sqlite3_finalize(r->task_outcome);
    sqlite3_finalize(r->corrections);
    sqlite3_finalize(r->line_of_id);
    sqlite3_finalize(r->state);
    sqlite3_finalize(r->words.find);
    sqlite3_finalize(r->tagsets.find);
    sqlite3_finalize(r->tasks.find);
    fact_index_release(&r->facts);
    cube_index_release(&r->cubes);
    tally_index_release(&r->tallies);
    combos_release(r);
    texts_release(&r->words);
    texts_release(&r->tagsets);
    texts_release(&r->tasks);
    texts_release(&r->commons);
    sqlite3_close(r->db);
    free(r);
}

enum rc read_failed(struct ledger_reader *r, struct fail *fail)
{
    return db_failed(r->db, fail, "read the ledger");
}

enum rc read_damaged(struct fail *fail)
{
    *fail = (struct fail){.rc = RC_BAD, .doing = "read the ledger: it is damaged, audit it"};
    return RC_BAD;
}

/* BEGIN alone takes no view: the first read does. */
enum rc ledger_read_begin(struct ledger_reader *r, struct fail *fail)
{
    int64_t ignored;
    enum rc rc;

    ASSERT(!r->in_view);
    if (r->words.arena.used + r->tagsets.arena.used + r->tasks.arena.used >
        READ_TEXTS_KEPT_BYTES) {
        combos_release(r);
        texts_release(&r->words);
        texts_release(&r->tagsets);
        texts_release(&r->tasks);
    }
    rc = db_exec(r->db, "BEGIN", fail, "read the ledger");
    if (rc != RC_OK)
        return rc;
    r->in_view = true;
    r->facts.is_read = r->cubes.is_read = r->tallies.is_read = false;
    rc = db_query_int(r->db, "SELECT count(*) FROM state", &ignored, fail, "read the ledger");
    if (rc == RC_OK)
        rc = read_combos(r, fail);
    if (rc == RC_OK)
        rc = read_kept_from(r, fail);
    if (rc != RC_OK)
        ledger_read_end(r);
    return rc;
}

void ledger_read_end(struct ledger_reader *r)
{
    if (!r->in_view)
        return;
    r->in_view = false;
    sqlite3_reset(r->body);
    sqlite3_reset(r->value_body);
    sqlite3_reset(r->body_common);
    sqlite3_reset(r->value_common);
    sqlite3_exec(r->db, "COMMIT", NULL, NULL, NULL);
}

static enum rc state_value(struct ledger_reader *r, struct strv name, int64_t *out,
                           struct fail *fail)
{
    enum rc rc;

    *out = 0;
    db_bind_text(r->state, 1, name);
    rc = db_int(r->state, out, fail, "read the ledger");
    return rc == RC_STATE ? RC_OK : rc;
}

enum rc ledger_read_identity(struct ledger_reader *r, int64_t *installation, int64_t *start,
                             struct fail *fail)
{
    enum rc rc;

    ASSERT(r->in_view);
    rc = state_value(r, STRV("installation"), installation, fail);
    return rc == RC_OK ? state_value(r, STRV("starts"), start, fail) : rc;
}

enum rc ledger_read_is_books(struct ledger_reader *r, bool *is_books, struct fail *fail)
{
    ASSERT(r->in_view);
    return schema_is_books(r->db, is_books, fail);
}

enum rc ledger_read_as_of(struct ledger_reader *r, struct ledger_as_of *out, struct fail *fail)
{
    int64_t seq = 0, torn_tails = 0, torn_bytes = 0, interrupted = 0;
    enum rc rc;

    ASSERT(r->in_view);
    *out = (struct ledger_as_of){0};
    rc = db_query_int(r->db,
                      "SELECT max(coalesce((SELECT max(seq) FROM record), 0), "
                      "coalesce((SELECT value FROM state WHERE name='last_seq'), 0))",
                      &seq, fail, "read the ledger");
    if (rc == RC_OK)
        rc = read_bounds(r, &out->first_us, &out->last_us, fail);
    if (rc == RC_OK)
        rc = state_value(r, STRV("as_of_us"), &out->us, fail);
    if (rc == RC_OK)
        rc = state_value(r, STRV("torn_tails"), &torn_tails, fail);
    if (rc == RC_OK)
        rc = state_value(r, STRV("torn_bytes"), &torn_bytes, fail);
    if (rc == RC_OK)
        rc = state_value(r, STRV("interrupted"), &interrupted, fail);
    out->seq = (uint64_t)seq;
    out->kept_from_us = r->kept_from_us == INT64_MIN ? 0 : r->kept_from_us;
    out->torn_tails = (uint64_t)torn_tails;
    out->torn_bytes = (uint64_t)torn_bytes;
    out->interrupted = (uint64_t)interrupted;
    return rc;
}

/* ---- texts and combinations ------------------------------------------------------ */

static enum rc too_many_texts(struct fail *fail)
{
    *fail = (struct fail){.rc = RC_LIMIT, .doing = "hold that many texts of the ledger"};
    return RC_LIMIT;
}

static void texts_grow(struct texts *t, size_t n)
{
    size_t cap = t->cap ? t->cap : 256;

    if (n <= t->cap)
        return;
    while (cap < n)
        cap *= 2;
    t->at = xrealloc(t->at, cap * sizeof(*t->at));
    memset(t->at + t->cap, 0, (cap - t->cap) * sizeof(*t->at));
    t->cap = cap;
}

/* Who asks for many gets those of the next numbers in one go. */
static enum rc texts_load(struct ledger_reader *r, struct texts *t, int64_t id,
                          struct fail *fail)
{
    int64_t run = t->n_loads++ < TEXTS_ONE_BY_ONE ? 1 : TEXTS_RUN, low = id - id % run;
    enum rc rc = RC_OK;
    int code = SQLITE_DONE;

    texts_grow(t, (size_t)(low + run));
    sqlite3_bind_int64(t->find, 1, low);
    sqlite3_bind_int64(t->find, 2, low + run);
    while (rc == RC_OK && (code = sqlite3_step(t->find)) == SQLITE_ROW) {
        struct strv *at = &t->at[sqlite3_column_int64(t->find, 0)];

        if (!at->p)
            *at = arena_strv(&t->arena, db_column(t->find, 1));
        if (!at->p)
            rc = too_many_texts(fail);
    }
    if (rc == RC_OK && code != SQLITE_DONE)
        rc = read_failed(r, fail);
    else if (rc == RC_OK && !t->at[id].p)
        rc = read_damaged(fail);
    sqlite3_reset(t->find);
    return rc;
}

enum rc texts_get(struct ledger_reader *r, struct texts *t, int64_t id, struct strv *out,
                  struct fail *fail)
{
    *out = STRV("");
    if (id == 0)
        return RC_OK;
    if (id < 0 || id >= READ_TEXTS_MAX)
        return too_many_texts(fail);
    texts_grow(t, (size_t)id + 1);
    if (!t->at[id].p) {
        enum rc rc = texts_load(r, t, id, fail);

        if (rc != RC_OK)
            return rc;
    }
    *out = t->at[id];
    return RC_OK;
}

/* What is stored is ours, but a damaged file must not lead beyond an array. */
static enum rc combo_of_row(struct ledger_reader *r, sqlite3_stmt *stmt, struct combo *c,
                            struct fail *fail)
{
    int64_t number[4];

    *c = (struct combo){.id = sqlite3_column_int64(stmt, 0)};
    for (int i = 0; i < COMBO_TEXTS; i++) {
        enum rc rc =
            texts_get(r, &r->words, sqlite3_column_int64(stmt, 1 + i), &c->text[i], fail);

        if (rc != RC_OK)
            return rc;
    }
    for (int i = 0; i < 4; i++)
        number[i] = sqlite3_column_int64(stmt, 1 + COMBO_TEXTS + i);
    if (number[0] < 0 || number[0] >= OUTCOME_COUNT || number[1] < 0 ||
        number[1] > USAGE_ESTIMATED || number[2] < 0 || number[2] > PRICE_NONE ||
        number[3] < 0 || number[3] >= 1 << (2 * STANDING_TAGS))
        return read_damaged(fail);
    c->outcome = (enum outcome)number[0];
    c->usage_source = (enum usage_source)number[1];
    c->price_status = (enum price_status)number[2];
    c->sources = (unsigned)number[3];
    return RC_OK;
}

/* Those that are new since the last view; none ever changes. */
enum rc read_combos(struct ledger_reader *r, struct fail *fail)
{
    sqlite3_stmt *stmt =
        db_prepare(r->db,
                   "SELECT id, team, feature, environment, task_type, key, model, upstream, "
                   "endpoint, protocol, service_tier, price_id, outcome, usage_source, "
                   "price_status, sources FROM combo WHERE id>?1 ORDER BY id",
                   fail);
    enum rc rc = RC_OK;
    int code = SQLITE_DONE;

    if (!stmt)
        return fail->rc;
    sqlite3_bind_int64(stmt, 1, r->n_combos ? r->combos[r->n_combos - 1].id : 0);
    while (rc == RC_OK && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        if ((r->n_combos & (r->n_combos - 1)) == 0)
            r->combos =
                xrealloc(r->combos, (r->n_combos ? r->n_combos * 2 : 1) * sizeof(*r->combos));
        rc = combo_of_row(r, stmt, &r->combos[r->n_combos], fail);
        if (rc == RC_OK)
            r->n_combos++;
    }
    if (rc == RC_OK && code != SQLITE_DONE)
        rc = read_failed(r, fail);
    sqlite3_finalize(stmt);
    return rc;
}

const struct combo *read_combo(const struct ledger_reader *r, int64_t id)
{
    size_t low = 0, high = r->n_combos;

    /* Numbers are without gaps but where a transaction was rolled back. */
    if (id >= 1 && (size_t)id <= r->n_combos && r->combos[id - 1].id == id)
        return &r->combos[id - 1];
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (r->combos[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < r->n_combos && r->combos[low].id == id ? &r->combos[low] : NULL;
}

/* ---- one line -------------------------------------------------------------------- */

void read_line_columns(sqlite3_stmt *stmt, struct line *out)
{
    int64_t *fields[] = {&out->end_us, &out->seq,  &out->start_us, &out->combo,  &out->customer,
                         &out->user,   &out->task, &out->tagset,   &out->attempt};
    int n = sizeof(fields) / sizeof(*fields);

    for (int i = 0; i < n; i++)
        *fields[i] = sqlite3_column_int64(stmt, i);
    out->is_correction = out->attempt < 0;
    out->is_late_price = out->attempt == ATTEMPT_LATE_PRICE;
    if (out->is_correction)
        out->attempt = 0;
    out->is_priced = sqlite3_column_type(stmt, n) != SQLITE_NULL;
    out->cost = MONEY_ZERO;
    out->is_far = false;
    if (out->is_priced) {
        int64_t nano = sqlite3_column_int64(stmt, n), rest = sqlite3_column_int64(stmt, n + 1);

        out->is_far = nano == INT64_MAX || nano == INT64_MIN;
        out->cost = money_join(nano, rest);
    }
}

/* What a record shares: the first of them are kept, the others live until the next call. */
static enum rc read_common(struct ledger_reader *r, sqlite3_stmt *stmt, int64_t id,
                           struct strv *out, struct fail *fail)
{
    int code;

    if (id > 0 && id < READ_COMMONS_KEPT && r->commons.arena.used < READ_COMMONS_KEPT_BYTES)
        return texts_get(r, &r->commons, id, out, fail);
    sqlite3_reset(stmt);
    sqlite3_bind_int64(stmt, 1, id);
    code = sqlite3_step(stmt);
    if (code != SQLITE_ROW)
        return code == SQLITE_DONE ? read_damaged(fail) : read_failed(r, fail);
    *out = db_column(stmt, 0);
    return RC_OK;
}

static enum rc read_record(struct ledger_reader *r, sqlite3_stmt *stmt, sqlite3_stmt *common,
                           int64_t seq, struct record *out, struct fail *fail)
{
    struct strv shared = STRV_NONE;
    struct stored_record s;
    enum rc rc = RC_OK;
    int code;

    sqlite3_reset(stmt);
    sqlite3_bind_int64(stmt, 1, seq);
    code = sqlite3_step(stmt);
    if (code != SQLITE_ROW)
        return code == SQLITE_DONE ? read_damaged(fail) : read_failed(r, fail);
    if (sqlite3_column_type(stmt, 2) != SQLITE_NULL)
        rc = read_common(r, common, sqlite3_column_int64(stmt, 2), &shared, fail);
    if (rc != RC_OK)
        return rc;
    s = stored_record(db_column(stmt, 0), shared, db_column(stmt, 1));
    return record_decode_stored(&s, out) == RC_OK ? RC_OK : read_damaged(fail);
}

enum rc read_body(struct ledger_reader *r, int64_t seq, struct record *out, struct fail *fail)
{
    return read_record(r, r->body, r->body_common, seq, out, fail);
}

enum rc read_value_body(struct ledger_reader *r, int64_t seq, struct record *out,
                        struct fail *fail)
{
    return read_record(r, r->value_body, r->value_common, seq, out, fail);
}
