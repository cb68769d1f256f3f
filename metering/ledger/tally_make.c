/*
 * tally_make.c - makes the tallies of a block of tasks; see tally.h.
 */
#include "metering/ledger/tally.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/ledger/read_piece.h"
#include "metering/ledger/read_tally.h"

enum { COLUMN_BYTES = 128 << 10 };

/* Bits of TALLY_VARIES are stored: other numbers need a step of the schema that deletes them. */
_Static_assert(FIELD_TEAM == 0 && FIELD_CUSTOMER == 3 && FIELD_USER == 4 &&
                   FIELD_UPSTREAM == 9 && FIELD_ENDPOINT == 10 && FIELD_PRICE_STATUS == 16 &&
                   FIELD_ENVIRONMENT_SOURCE == 19 && FIELD_TAG == 25,
               "stored numbers of fields");

struct tally_columns {
    int64_t number[TALLY_NUMBERS][TALLY_BLOCK];
    money_int amount[TALLY_AMOUNTS][TALLY_BLOCK];
};

struct tally_make {
    int64_t block, through, after; /* blocks of facts up to `after` are read */
    int64_t first_us, last_us;
    bool is_none;
    struct ledger_filter all;
    struct task_reading g;
    struct pieces pieces;
    struct tally_columns *out;
};

static bool any_task(int64_t task, void *arg)
{
    (void)task;
    (void)arg;
    return true;
}

struct tally_make *tally_make_new(int64_t block, int64_t through)
{
    struct tally_make *m = xcalloc(1, sizeof(*m));

    m->block = block;
    m->through = through;
    m->first_us = INT64_MAX;
    m->last_us = INT64_MIN;
    ledger_filter_init(&m->all, INT64_MIN, INT64_MAX);
    m->g = (struct task_reading){.filter = &m->all};
    dict_init(&m->g.open);
    pieces_init(&m->pieces, &m->g);
    m->pieces.wanted = any_task;
    m->pieces.raw_column[0] = FACT_CUSTOMER;
    m->pieces.raw_column[1] = FACT_USER;
    m->pieces.raw_column[2] = FACT_TAGSET;
    m->pieces.n_raws = 3;
    pieces_window(&m->pieces, block << TALLY_SHIFT, (block + 1) << TALLY_SHIFT);
    return m;
}

void tally_make_free(struct tally_make *m)
{
    if (!m)
        return;
    pieces_release(&m->pieces);
    free(m->g.attempts);
    dict_release(&m->g.open);
    free(m->out);
    free(m);
}

int64_t tally_make_block(const struct tally_make *m)
{
    return m->block;
}
int64_t tally_make_through(const struct tally_make *m)
{
    return m->through;
}
int64_t tally_make_first_us(const struct tally_make *m)
{
    return m->first_us;
}
int64_t tally_make_last_us(const struct tally_make *m)
{
    return m->last_us;
}
bool tally_make_is_none(const struct tally_make *m)
{
    return m->is_none;
}

/* ---- of a task ------------------------------------------------------------------------- */

/* Fields of which two lines of a task differ. */
static int64_t differing(const struct ledger_reader *r, const struct piece *a,
                         const struct piece *b)
{
    static const enum ledger_field_id raw[] = {FIELD_CUSTOMER, FIELD_USER, FIELD_TAG};
    int64_t bits = 0;

    for (unsigned f = 0; a->combo != b->combo && f < FIELD_TAG; f++) {
        const struct ledger_field field = {.id = (enum ledger_field_id)f};

        if (field_is_of_combo(&field) && !strv_eq(combo_value(&r->combos[a->combo], field.id),
                                                  combo_value(&r->combos[b->combo], field.id)))
            bits |= INT64_C(1) << f;
    }
    for (unsigned k = 0; k < 3; k++) {
        if (a->raw[k] != b->raw[k])
            bits |= INT64_C(1) << raw[k];
    }
    return bits;
}

/* What lines have in common, and their times. */
static void fill_lines(struct tally_make *m, size_t i, const uint32_t *order, size_t n)
{
    int64_t(*to)[TALLY_BLOCK] = m->out->number;
    const struct piece *first = NULL;
    int64_t least = INT64_MAX, most = INT64_MIN;

    for (size_t k = 0; k < n; k++) {
        const struct piece *p = &m->pieces.at[order[k]];

        least = p->end_us < least ? p->end_us : least;
        most = p->end_us > most ? p->end_us : most;
        if (!first && p->attempt >= 0)
            first = p;
    }
    to[TALLY_LINES][i] = (int64_t)n;
    to[TALLY_FIRST_END][i] = least;
    to[TALLY_LAST_END][i] = most - least;
    m->first_us = least < m->first_us ? least : m->first_us;
    m->last_us = most > m->last_us ? most : m->last_us;
    if (!first)
        return;
    to[TALLY_COMBO][i] = m->g.reader->combos[first->combo].id;
    to[TALLY_CUSTOMER][i] = first->raw[0];
    to[TALLY_USER][i] = first->raw[1];
    to[TALLY_TAGSET][i] = first->raw[2];
    for (size_t k = 0; k < n; k++)
        to[TALLY_VARIES][i] |= differing(m->g.reader, first, &m->pieces.at[order[k]]);
}

static void fill_sums(struct tally_make *m, size_t i)
{
    int64_t(*to)[TALLY_BLOCK] = m->out->number;
    money_int(*amount)[TALLY_BLOCK] = m->out->amount;
    const struct ledger_task *t = &m->g.task;

    to[TALLY_REQUESTS][i] = (int64_t)t->sums.requests;
    to[TALLY_ERRORS][i] = (int64_t)t->sums.errors;
    to[TALLY_PRICED][i] = (int64_t)t->sums.priced;
    to[TALLY_UNPRICED][i] = (int64_t)t->sums.unpriced;
    to[TALLY_SUPERSEDED][i] = (int64_t)t->superseded;
    to[TALLY_LATE][i] = (int64_t)t->late;
    amount[TALLY_COST][i] = t->sums.cost.atto;
    amount[TALLY_RETRY][i] = t->retry_cost.atto;
    amount[TALLY_LATE_COST][i] = t->late_cost.atto;
    for (unsigned k = 0; k < LEDGER_PARTS; k++) {
        to[TALLY_PART_REQUESTS + k][i] = (int64_t)t->part[k].requests;
        to[TALLY_PART_PRICED + k][i] = (int64_t)t->part[k].priced;
        amount[TALLY_PART_COST + k][i] = t->part[k].cost.atto;
    }
}

static enum rc fill_task(struct tally_make *m, size_t i, struct fail *fail)
{
    const uint32_t *order;
    size_t n = pieces_of(&m->pieces, m->pieces.low + (int64_t)i, &order);
    enum rc rc;

    if (n == 0)
        return RC_OK; /* its outcome, where it has one, is all there is */
    memset(&m->g.task, 0, sizeof(m->g.task));
    if (m->out->number[TALLY_STATE][i])
        m->g.task.closed_us = m->out->number[TALLY_CLOSED][i];
    rc = pieces_add_up(&m->pieces, order, n, fail);
    if (rc != RC_OK)
        return rc;
    task_add_up(&m->g);
    fill_lines(m, i, order, n);
    fill_sums(m, i);
    if (m->out->number[TALLY_STATE][i])
        m->out->number[TALLY_CLOSED][i] -=
            m->out->number[TALLY_FIRST_END][i] + m->out->number[TALLY_LAST_END][i];
    return RC_OK;
}

/* Outcomes, and when, of the view. */
static enum rc read_outcomes(struct tally_make *m, struct fail *fail)
{
    struct ledger_reader *r = m->g.reader;
    sqlite3_stmt *stmt = tally_outcomes(r, m->pieces.low, m->pieces.high, fail);
    enum rc rc = RC_OK;
    int code;

    if (!stmt)
        return fail->rc;
    while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
        size_t i = (size_t)(sqlite3_column_int64(stmt, 0) - m->pieces.low);
        int64_t outcome = sqlite3_column_int64(stmt, 2);

        if (outcome < TASK_OPEN || outcome > TASK_ABANDONED)
            outcome = TASK_OPEN;
        m->out->number[TALLY_STATE][i] = outcome + 1;
        m->out->number[TALLY_CLOSED][i] = sqlite3_column_int64(stmt, 1);
    }
    if (code != SQLITE_DONE)
        rc = read_failed(r, fail);
    sqlite3_finalize(stmt);
    return rc;
}

static enum rc fill(struct tally_make *m, struct fail *fail)
{
    enum rc rc;

    free(m->out);
    m->out = xcalloc(1, sizeof(*m->out));
    if (m->is_none)
        return RC_OK;
    rc = read_outcomes(m, fail);
    if (rc == RC_OK)
        pieces_sort(&m->pieces);
    for (size_t i = 0; rc == RC_OK && i < TALLY_BLOCK; i++)
        rc = fill_task(m, i, fail);
    return rc;
}

/* ---- of blocks of facts -------------------------------------------------------------------- */

enum rc tally_make_step(struct tally_make *m, struct ledger_reader *r, unsigned blocks,
                        bool *done, struct fail *fail)
{
    struct facts f;
    bool known;
    enum rc rc = facts_look(r, &known, fail);

    *done = true;
    if (rc != RC_OK)
        return rc;
    m->g.reader = r;
    pieces_learn(&m->pieces);
    facts_open(&f, r, r->kept_from_us, INT64_MAX);
    f.least_task = m->pieces.low ? m->pieces.low : 1;
    f.most_task = m->pieces.high - 1;
    while (!m->is_none && facts_next(&f)) {
        int64_t block = f.place->block;

        if (block == 0 || block > m->through)
            break;
        if (block <= m->after)
            continue;
        if (blocks-- == 0) {
            *done = false;
            break;
        }
        pieces_take(&m->pieces, &f);
        m->is_none = m->pieces.n > TALLY_LINES_MAX;
        m->after = block;
    }
    rc = f.rc;
    if (rc != RC_OK)
        *fail = f.fail;
    facts_close(&f);
    return rc == RC_OK && *done ? fill(m, fail) : rc;
}

/* ---- columns --------------------------------------------------------------------------- */

static bool is_column(unsigned c)
{
    return c < TALLY_PLAIN ||
           (c >= TALLY_PART_REQUESTS && c < TALLY_PART_REQUESTS + LEDGER_PARTS) ||
           (c >= TALLY_PART_PRICED && c < TALLY_PART_PRICED + LEDGER_PARTS) ||
           (c >= TALLY_AMOUNT_COLUMN && c < TALLY_AMOUNT_COLUMN + TALLY_AMOUNTS_PLAIN) ||
           c >= TALLY_AMOUNT_COLUMN + TALLY_PART_COST;
}

static enum rc encode(const struct tally_make *m, unsigned c, struct buf *out)
{
    const int64_t *number = c < TALLY_NUMBERS ? m->out->number[c] : NULL;
    const money_int *amount = number ? NULL : m->out->amount[c - TALLY_AMOUNT_COLUMN];
    bool any = false;

    buf_clear(out);
    for (size_t i = 0; !any && i < TALLY_BLOCK; i++)
        any = number ? number[i] != 0 : amount[i] != 0;
    if (!any)
        return RC_OK;
    return number ? fact_encode_numbers(number, TALLY_BLOCK, out)
                  : fact_encode_amounts(amount, TALLY_BLOCK, out);
}

enum rc tally_make_columns(struct tally_make *m, tally_column_fn *fn, void *arg,
                           struct fail *fail)
{
    struct buf bytes;
    enum rc rc = RC_OK;

    buf_init(&bytes, COLUMN_BYTES);
    for (unsigned c = 0; rc == RC_OK && c < TALLY_COLUMNS; c++) {
        if (!is_column(c))
            continue;
        rc = encode(m, c, &bytes);
        if (rc == RC_OK)
            rc = fn(c, buf_view(&bytes), arg, fail);
    }
    buf_release(&bytes);
    return rc;
}
