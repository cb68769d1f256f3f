/*
 * read_fact_fold.c - of read_fact_pick.h: values of fields as numbers, and two numbers as one.
 */
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "base/xalloc.h"
#include "metering/ledger/db.h"
#include "metering/ledger/read_fact_pick.h"

enum { PAIRS_FIRST = 1024 };

/* ---- fields --------------------------------------------------------------------------- */

unsigned pick_column(const struct ledger_field *field)
{
    if (field->id == FIELD_CUSTOMER)
        return FACT_CUSTOMER;
    if (field->id == FIELD_USER)
        return FACT_USER;
    if (field->id == FIELD_TASK || field->id == FIELD_TASK_OUTCOME)
        return FACT_TASK;
    if (field->id == FIELD_TOKEN_BAND)
        return FACT_BAND;
    if (field->id == FIELD_REPEAT || field->id == FIELD_CACHEABLE)
        return FACT_FLAGS;
    return FACT_TAGSET;
}

bool pick_knows(const struct ledger_field *field)
{
    return field->id != FIELD_PROMPT;
}

enum rc pick_value(struct ledger_reader *r, const struct ledger_field *field, int64_t raw,
                   struct strv *out, struct fail *fail)
{
    struct line line = {.customer = raw, .user = raw, .task = raw, .tagset = raw};

    *out = STRV("");
    if (field->id == FIELD_TOKEN_BAND) {
        if (raw < 0 || raw >= LEDGER_BANDS)
            return read_damaged(fail);
        *out = strv_z(ledger_band_name((unsigned)raw));
        return RC_OK;
    }
    if (field->id == FIELD_REPEAT || field->id == FIELD_CACHEABLE) {
        int64_t flag = field->id == FIELD_REPEAT ? FACT_IS_REPEAT : FACT_IS_CACHEABLE;

        *out = raw & flag ? STRV("yes") : STRV("no");
        return RC_OK;
    }
    return line_value(r, &line, NULL, field, out, fail);
}

void pick_field_init(struct pick_field *f, const struct ledger_field *field,
                     const struct ledger_condition *condition)
{
    *f = (struct pick_field){
        .field = *field, .condition = condition, .column = pick_column(field)};
    f->is_any = condition && field->id == FIELD_TASK && condition_is_of_none(condition);
    f->any_holds = f->is_any && condition->op == LEDGER_NE;
    dict_init(&f->texts);
}

void pick_field_release(struct pick_field *f)
{
    free(f->known);
    free(f->raw_of);
    dict_release(&f->texts);
}

enum rc pick_room(struct pick_field *f, int64_t raw, struct fail *fail)
{
    size_t cap = f->cap ? f->cap : 256;

    if (raw < 0)
        return read_damaged(fail);
    if (raw >= READ_TEXTS_MAX) {
        *fail = (struct fail){.rc = RC_LIMIT, .doing = "hold that many texts of the ledger"};
        return RC_LIMIT;
    }
    if ((size_t)raw < f->cap)
        return RC_OK;
    while (cap <= (size_t)raw)
        cap *= 2;
    f->known = xrealloc_table(f->known, cap * sizeof(*f->known));
    memset(f->known + f->cap, 0xff, (cap - f->cap) * sizeof(*f->known));
    f->cap = cap;
    return RC_OK;
}

/* Of one of a condition's texts; one that is no word is of no request. */
static enum rc know_word(struct ledger_reader *r, struct pick_field *f, sqlite3_stmt *find,
                         struct strv text, struct fail *fail)
{
    int64_t id = 0;
    enum rc rc = RC_OK;
    int code = SQLITE_ROW;

    if (text.n > 0) {
        db_bind_text(find, 1, text);
        code = sqlite3_step(find);
        if (code == SQLITE_ROW)
            id = sqlite3_column_int64(find, 0);
        else if (code != SQLITE_DONE)
            rc = read_failed(r, fail);
        sqlite3_reset(find);
    }
    if (rc == RC_OK && code == SQLITE_ROW)
        rc = pick_room(f, id, fail);
    if (rc == RC_OK && code == SQLITE_ROW)
        f->known[id] = f->condition->op == LEDGER_EQ;
    return rc;
}

/* Words stand once in their table: those of the condition are found there, and the others are not
 * looked up. */
static enum rc know_words(struct ledger_reader *r, struct pick_field *f, struct fail *fail)
{
    sqlite3_stmt *find = db_prepare(r->db, "SELECT id FROM word WHERE text=?1", fail);
    enum rc rc = find ? RC_OK : fail->rc;

    for (size_t i = 0; i < f->condition->n_values && rc == RC_OK; i++)
        rc = know_word(r, f, find, f->condition->values[i], fail);
    sqlite3_finalize(find);
    f->knows_words = rc == RC_OK;
    return rc;
}

enum rc pick_holds(struct ledger_reader *r, struct pick_field *f, int64_t raw, bool *holds,
                   struct fail *fail)
{
    const bool by_word = pick_is_word(f) && f->condition->op != LEDGER_GLOB;
    enum rc rc = by_word && !f->knows_words ? know_words(r, f, fail) : RC_OK;
    struct strv text;

    if (rc == RC_OK)
        rc = pick_room(f, raw, fail);
    *holds = f->is_any && (raw != 0) == f->any_holds;
    if (rc != RC_OK || f->is_any)
        return rc;
    if (by_word && f->known[raw] < 0)
        f->known[raw] = f->condition->op == LEDGER_NE;
    if (f->known[raw] < 0) {
        rc = pick_value(r, &f->field, raw, &text, fail);
        if (rc != RC_OK)
            return rc;
        f->known[raw] = condition_holds(f->condition, text);
    }
    *holds = f->known[raw] != 0;
    return RC_OK;
}

/* The first value that has the text of number n, the next one. */
static void note_raw(struct pick_field *f, size_t n, int64_t raw)
{
    if ((n & (n - 1)) == 0)
        f->raw_of = xrealloc(f->raw_of, (n ? n * 2 : 1) * sizeof(*f->raw_of));
    f->raw_of[n] = raw;
}

int64_t pick_raw(const struct pick_field *f, uint32_t number)
{
    return pick_is_word(f) ? (int64_t)number : f->raw_of[number];
}

enum rc pick_number(struct ledger_reader *r, struct pick_field *f, int64_t raw, uint32_t *out,
                    struct fail *fail)
{
    const int64_t *at;
    struct strv text;
    enum rc rc;

    if (pick_is_word(f)) {
        *out = (uint32_t)raw;
        return raw >= 0 && raw < READ_TEXTS_MAX ? RC_OK : read_damaged(fail);
    }
    rc = pick_room(f, raw, fail);
    if (rc == RC_OK && f->known[raw] < 0) {
        rc = pick_value(r, &f->field, raw, &text, fail);
        if (rc != RC_OK)
            return rc;
        at = dict_get(&f->texts, text);
        f->known[raw] = at ? (int32_t)*at : (int32_t)f->texts.n;
        if (!at) {
            note_raw(f, f->texts.n, raw);
            dict_put(&f->texts, text, f->known[raw]);
        }
    }
    if (rc == RC_OK)
        *out = (uint32_t)f->known[raw];
    return rc;
}

/* ---- pairs -------------------------------------------------------------------------------- */

static size_t place_of(const struct pick_pairs *p, uint64_t key)
{
    /* Both halves must reach the bits that are taken: each is a small number. */
    uint64_t mixed = (key ^ key >> 32) * UINT64_C(0x9e3779b97f4a7c15);
    size_t at = (size_t)(mixed >> 32) & (p->cap - 1);

    while (p->keys[at] != 0 && p->keys[at] != key)
        at = (at + 1) & (p->cap - 1);
    return at;
}

static void grow(struct pick_pairs *p)
{
    struct pick_pairs old = *p;

    p->cap = old.cap ? old.cap * 2 : PAIRS_FIRST;
    p->keys = xcalloc_wide(p->cap, sizeof(*p->keys));
    p->values = xcalloc_wide(p->cap, sizeof(*p->values));
    for (size_t i = 0; i < old.cap; i++) {
        if (old.keys[i]) {
            size_t at = place_of(p, old.keys[i]);

            p->keys[at] = old.keys[i];
            p->values[at] = old.values[i];
        }
    }
    free(old.keys);
    free(old.values);
}

static void grow_direct(struct pick_pairs *p, uint32_t a, uint32_t b)
{
    size_t was = p->cap_direct[a], cap = was ? was : PAIRS_FIRST;

    while (cap <= b)
        cap *= 2;
    p->direct[a] = xrealloc_table(p->direct[a], cap * sizeof(*p->direct[a]));
    memset(p->direct[a] + was, 0, (cap - was) * sizeof(*p->direct[a]));
    p->cap_direct[a] = cap;
}

static uint32_t new_number(struct pick_pairs *p, uint32_t a, uint32_t b)
{
    if ((p->n & (p->n - 1)) == 0)
        p->made = xrealloc(p->made, (p->n ? p->n * 2 : 1) * sizeof(*p->made));
    p->made[p->n] = (struct pick_pair){a, b};
    return (uint32_t)p->n++;
}

void pick_pairs_release(struct pick_pairs *p)
{
    free(p->keys);
    free(p->values);
    free(p->made);
    free(p->recent);
    for (size_t k = 0; k < PICK_DIRECT; k++)
        free(p->direct[k]);
}

/* Where the second tells the first, mostly, as users tell their customer. */
static void note_recent(struct pick_pairs *p, uint32_t a, uint32_t b, uint32_t number)
{
    size_t was = p->cap_recent, cap = was ? was : PAIRS_FIRST;

    if (b >= PICK_RECENT_MAX)
        return;
    while (cap <= b)
        cap *= 2;
    if (cap > was) {
        p->recent = xrealloc(p->recent, cap * sizeof(*p->recent));
        memset(p->recent + was, 0, (cap - was) * sizeof(*p->recent));
        p->cap_recent = cap;
    }
    p->recent[b] = (struct pick_pair){a + 1, number};
}

/* Halves are below 2^31, so that one more is not zero. */
uint32_t pick_fold_new(struct pick_pairs *p, uint32_t a, uint32_t b)
{
    uint64_t key = ((uint64_t)a << 32 | b) + 1;
    size_t at;

    if (a < PICK_DIRECT && b < PICK_DIRECT_MAX) {
        if (b >= p->cap_direct[a])
            grow_direct(p, a, b);
        if (p->direct[a][b] == 0)
            p->direct[a][b] = new_number(p, a, b) + 1;
        return p->direct[a][b] - 1;
    }
    if (2 * p->n >= p->cap)
        grow(p);
    at = place_of(p, key);
    if (p->keys[at] == 0) {
        p->keys[at] = key;
        p->values[at] = new_number(p, a, b);
    }
    note_recent(p, a, b, p->values[at]);
    return p->values[at];
}
