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

/* Whether the pick looks at when requests of the block at hand ended. */
static bool has_ends(const struct fact_pick *p)
{
    const struct fact_place *at = p->facts.place;
    int64_t period = answer_period_at(p->answer, at->first_us);

    return !p->facts.is_inside || period < 0 ||
           period != answer_period_at(p->answer, at->last_us);
}

/* What is looked at to know a request's row: how many columns; room for n_fields and two. */
static size_t columns_of(const struct fact_pick *p, unsigned *columns)
{
    size_t n = 0;

    if (!p->is_one_class || !p->spares_combo)
        columns[n++] = FACT_COMBO;
    if (has_ends(p))
        columns[n++] = FACT_END;
    for (size_t k = 0; k < p->n_fields; k++)
        columns[n++] = p->fields[k].column;
    return n;
}

void narrow_block(struct fact_pick *p, const uint16_t *at, size_t n, struct fact_place *place)
{
    struct facts *f = &p->facts;
    unsigned *columns = xmalloc((p->n_fields + 2) * sizeof(*columns));
    size_t n_columns = columns_of(p, columns);
    int64_t *values = xmalloc((n_columns * n + 1) * sizeof(*values));

    for (size_t k = 0; k < n_columns; k++)
        facts_pick_number(f, columns[k], at, n, values + k * n);
    /* As rows of a day are: every column that is asked for is put there. */
    *place = *f->place;
    place->is_cube = true;
    place->n = f->n = n;
    f->place = place;
    for (size_t k = 0; k < n_columns; k++)
        facts_put_number(f, columns[k], values + k * n);
    free(columns);
    free(values);
}
