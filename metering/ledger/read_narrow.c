/*
 * read_narrow.c - see read_narrow.h.
 */
#include "metering/ledger/read_narrow.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/ledger/db.h"

/* By which of the answer's fields: users are more than customers. n_by: by none. */
static size_t field_of(const struct ledger_question *q)
{
    size_t found = q->n_by;

    for (size_t i = 0; i < q->n_by; i++) {
        if (q->by[i].id == FIELD_USER || (q->by[i].id == FIELD_CUSTOMER && found == q->n_by))
            found = i;
    }
    return found;
}

static enum rc ask_for(struct narrow *w, int64_t word, struct fail *fail)
{
    size_t n = w->n ? w->n : 1024;

    if (word < 0 || word >= READ_TEXTS_MAX)
        return read_damaged(fail);
    while (n <= (size_t)word)
        n *= 2;
    if (n > w->n) {
        w->is_asked = xrealloc(w->is_asked, n);
        memset(w->is_asked + w->n, 0, n - w->n);
        w->n = n;
    }
    w->is_asked[word] = 1;
    return RC_OK;
}

/* A text that is no word is of no request. */
static enum rc ask_for_text(struct narrow *w, struct ledger_reader *r, sqlite3_stmt *find,
                            struct strv text, struct fail *fail)
{
    enum rc rc = text.n == 0 ? ask_for(w, 0, fail) : RC_OK;
    int code;

    db_bind_text(find, 1, text);
    code = sqlite3_step(find);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        rc = read_failed(r, fail);
    else if (rc == RC_OK && code == SQLITE_ROW)
        rc = ask_for(w, sqlite3_column_int64(find, 0), fail);
    sqlite3_reset(find);
    return rc;
}

enum rc narrow_begin(struct narrow *w, const struct answer *a, struct fail *fail)
{
    size_t field = field_of(a->q);
    sqlite3_stmt *find;
    enum rc rc = RC_OK;

    *w = (struct narrow){0};
    if (field == a->q->n_by || a->n_rest == 0)
        return RC_OK;
    w->column = pick_column(&a->q->by[field]);
    find = db_prepare(a->reader->db, "SELECT id FROM word WHERE text=?1", fail);
    if (!find)
        return fail->rc;
    rc = ask_for(w, 0, fail);
    w->is_asked[0] = 0;
    for (size_t i = 0; i < a->n_rows && rc == RC_OK; i++)
        rc = ask_for_text(w, a->reader, find, a->rows[i].value[field], fail);
    sqlite3_finalize(find);
    return rc;
}

void narrow_end(struct narrow *w)
{
    free(w->is_asked);
    *w = (struct narrow){0};
}

size_t narrow_places(const struct narrow *w, struct facts *f, uint16_t *at, bool *all)
{
    uint32_t id[FACT_BLOCK];
    size_t n = 0;

    *all = !w->is_asked || f->place->block == 0;
    if (*all || !facts_ids(f, w->column, id))
        return 0;
    for (size_t i = 0; i < f->n; i++) {
        at[n] = (uint16_t)i;
        n += w->is_asked[id[i] < w->n ? id[i] : 0] & (id[i] < w->n);
    }
    return n;
}

/* What is looked at to know a request's row: its combination, its end, and the other fields. */
static unsigned column_at(const struct fact_pick *p, size_t k)
{
    return k == 0 ? FACT_COMBO : k == 1 ? FACT_END : p->fields[k - 2].column;
}

void narrow_block(struct fact_pick *p, const uint16_t *at, size_t n, struct fact_place *place)
{
    struct facts *f = &p->facts;
    size_t columns = p->n_fields + 2;
    int64_t *values = xmalloc(columns * FACT_BLOCK * sizeof(*values));

    for (size_t k = 0; k < columns; k++)
        facts_pick_number(f, column_at(p, k), at, n, values + k * FACT_BLOCK);
    /* As rows of a day are: every column that is asked for is put there. */
    *place = *f->place;
    place->is_cube = true;
    place->n = f->n = n;
    f->place = place;
    for (size_t k = 0; k < columns; k++)
        facts_put_number(f, column_at(p, k), values + k * FACT_BLOCK);
    free(values);
}
