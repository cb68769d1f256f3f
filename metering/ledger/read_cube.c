/*
 * read_cube.c - which days are added up already, and their rows in an answer.
 *
 * A question that a kind of cube answers takes whole days from cubes; requests of these days
 * that came after a cube was made stand in later blocks of columns, and are added one by one
 * with those of all other times.
 */
#include "metering/ledger/read_cube.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/ledger/read_meters.h"

/* ---- what there is --------------------------------------------------------------------------
 */

void cube_index_release(struct cube_index *x)
{
    sqlite3_finalize(x->body);
    for (int k = 0; k < CUBE_KINDS; k++)
        free(x->days[k]);
    *x = (struct cube_index){0};
}

static void add_day(struct cube_index *x, enum cube_kind kind, const struct cube_place *place)
{
    size_t n = x->n[kind];

    if ((n & (n - 1)) == 0)
        x->days[kind] = xrealloc(x->days[kind], (n ? n * 2 : 1) * sizeof(*place));
    x->days[kind][x->n[kind]++] = *place;
}

static enum rc read_days(struct ledger_reader *r, struct cube_index *x, struct fail *fail)
{
    sqlite3_stmt *stmt = db_prepare(
        r->db, "SELECT kind, day, through, first, n FROM cube_day ORDER BY day, kind", fail);
    enum rc rc = RC_OK;
    int code = SQLITE_DONE;

    if (!stmt)
        return fail->rc;
    memset(x->n, 0, sizeof(x->n));
    while (rc == RC_OK && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        const struct cube_place place = {.day = sqlite3_column_int64(stmt, 1),
                                         .through = sqlite3_column_int64(stmt, 2),
                                         .first = sqlite3_column_int64(stmt, 3),
                                         .n = sqlite3_column_int64(stmt, 4)};
        int64_t stored = sqlite3_column_int64(stmt, 0);
        enum cube_kind kind = cube_kind_of(stored);

        if (cube_was_stored(stored))
            continue;
        if (kind == CUBE_KINDS || place.n < CUBE_NONE || place.n > cube_rows_max(kind))
            rc = read_damaged(fail);
        else
            add_day(x, kind, &place);
    }
    if (rc == RC_OK && code != SQLITE_DONE)
        rc = read_failed(r, fail);
    sqlite3_finalize(stmt);
    return rc;
}

enum rc cubes_look(struct ledger_reader *r, struct fail *fail)
{
    struct cube_index *x = &r->cubes;
    enum rc rc;

    if (x->is_read)
        return RC_OK;
    if (!x->body)
        x->body = db_prepare(r->db, "SELECT body FROM cube WHERE id=?1", fail);
    if (!x->body)
        return fail->rc;
    rc = read_days(r, x, fail);
    x->is_read = rc == RC_OK;
    return rc;
}

static bool is_same(const struct cube_place *a, const struct cube_place *b)
{
    return a->day == b->day && a->through == b->through && a->first == b->first && a->n == b->n;
}

enum rc cubes_share(struct ledger_reader *r, const struct ledger_reader *of, struct fail *fail)
{
    const struct cube_index *x = &r->cubes, *y = &of->cubes;
    enum rc rc = y->is_read ? cubes_look(r, fail) : RC_OK;

    for (int k = 0; y->is_read && rc == RC_OK && k < CUBE_KINDS; k++) {
        rc = x->n[k] == y->n[k] ? RC_OK : RC_STATE;
        for (size_t i = 0; rc == RC_OK && i < x->n[k]; i++)
            rc = is_same(&x->days[k][i], &y->days[k][i]) ? RC_OK : RC_STATE;
    }
    return rc;
}

const struct cube_place *cube_find(const struct cube_index *x, enum cube_kind kind, int64_t day)
{
    size_t low = 0, high = x->n[kind];

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (x->days[kind][middle].day < day)
            low = middle + 1;
        else
            high = middle;
    }
    return low < x->n[kind] && x->days[kind][low].day == day ? &x->days[kind][low] : NULL;
}

/* ---- which kind answers
 * ------------------------------------------------------------------------ */

static bool is_of_price(const struct ledger_field *f)
{
    bool is = false;

    for (size_t i = 0; i < CUBE_PRICE_FIELDS; i++)
        is |= f->id == cube_price_fields[i];
    return is;
}

/* condition NULL: grouped by. */
static bool knows(enum cube_kind kind, const struct ledger_field *f,
                  const struct ledger_condition *condition)
{
    switch (kind) {
    case CUBE_CLASS:
    case CUBE_CLASS_METERS:
        return field_is_of_combo(f) || f->id == FIELD_TOKEN_BAND || f->id == FIELD_REPEAT ||
               f->id == FIELD_CACHEABLE ||
               (f->id == FIELD_TASK && condition && condition_is_of_none(condition));
    case CUBE_CUSTOMER:
        return f->id == FIELD_CUSTOMER;
    case CUBE_TEAM_CUSTOMER:
        return f->id == FIELD_TEAM || f->id == FIELD_CUSTOMER;
    case CUBE_USER:
        return f->id == FIELD_USER;
    case CUBE_TAGS:
        return f->id == FIELD_TEAM || f->id == FIELD_TAG;
    case CUBE_TEAM_USER:
        return f->id == FIELD_TEAM || f->id == FIELD_USER;
    case CUBE_CUSTOMER_USER:
        return f->id == FIELD_CUSTOMER || f->id == FIELD_USER;
    case CUBE_BAND_CUSTOMER:
        return f->id == FIELD_CUSTOMER || f->id == FIELD_TOKEN_BAND;
    case CUBE_OUTCOME_CUSTOMER:
        return f->id == FIELD_OUTCOME || f->id == FIELD_CUSTOMER ||
               (f->id == FIELD_TASK && condition && condition_is_of_none(condition));
    case CUBE_OUTCOME_TAGS:
        return f->id == FIELD_OUTCOME || f->id == FIELD_TEAM || f->id == FIELD_TAG ||
               (f->id == FIELD_TASK && condition && condition_is_of_none(condition));
    case CUBE_PRICE_CUSTOMER:
        return f->id == FIELD_CUSTOMER || is_of_price(f);
    case CUBE_PRICE_TAGS:
        return f->id == FIELD_TAG || is_of_price(f);
    case CUBE_COSTS:
    case CUBE_TIMES:
    case CUBE_KINDS:
        break;
    }
    return false;
}

/* Whether the kind has all of what the answer wants. */
static bool has_wanted(enum cube_kind kind, unsigned want)
{
    const unsigned any =
        LEDGER_WANT_REQUESTS | LEDGER_COST_ALONE | LEDGER_SPARE_FINE | LEDGER_SPARE_RARE |
        LEDGER_SPARE_UNSAVED | LEDGER_VALUES_ALONE;
    /* Rollups have the histograms of what they tell apart, and requests those of all else. */
    const unsigned ranks =
        LEDGER_WANT_HISTOGRAM | LEDGER_WANT_PERCENTILES | LEDGER_WANT_LATENCY;

    if (cube_is_basic(kind) && (want & CUBE_BASIC) != CUBE_BASIC)
        return false;
    if (cube_has_meters(kind))
        return !(want & ~(any | LEDGER_WANT_METERS));
    return !(want & ~(any | (kind == CUBE_CLASS ? LEDGER_WANT_BANDS : ranks)));
}

enum rc answer_cube_kind(const struct answer *a, enum cube_kind *out, struct fail *fail)
{
    const struct ledger_question *q = a->q;
    int kind;

    *out = CUBE_KINDS;
    if (!a->can_use_facts || q->filter.by_start)
        return RC_OK;
    for (kind = 0; kind < CUBE_KINDS; kind++) {
        bool is = !cube_is_ranked((enum cube_kind)kind) &&
                  has_wanted((enum cube_kind)kind, a->want);

        for (size_t i = 0; is && i < q->n_by; i++)
            is = knows((enum cube_kind)kind, &q->by[i], NULL);
        for (size_t i = 0; is && i < q->filter.n_where; i++)
            is = knows((enum cube_kind)kind, &q->filter.where[i].field, &q->filter.where[i]);
        if (is)
            break;
    }
    *out = (enum cube_kind)kind;
    return kind < CUBE_KINDS ? cubes_look(a->reader, fail) : RC_OK;
}

bool cube_is_usable(const struct answer *a, const struct cube_place *c)
{
    int64_t from_us = c->day * rollup_width_us(LEVEL_DAY);
    int64_t period = answer_period_at(a, from_us);

    return c->n != CUBE_NONE && period >= 0 && from_us >= a->reader->kept_from_us &&
           from_us + rollup_width_us(LEVEL_DAY) <= a->periods[period].to_us;
}

bool answer_has_cube(const struct answer *a, int64_t day)
{
    const struct cube_place *c =
        a->cube_kind < CUBE_KINDS ? cube_find(&a->reader->cubes, a->cube_kind, day) : NULL;

    return c && cube_is_usable(a, c);
}

/* ---- adding
 * --------------------------------------------------------------------------------------- */

struct adding {
    struct fact_pick *p;
    uint64_t rows; /* of cubes */
    struct row_sums *sums;
    struct meter_sums *meters;
    int64_t number[FACT_BLOCK], priced[FACT_BLOCK];
    money_int least[FACT_BLOCK], most[FACT_BLOCK];
};

/* The stored bytes of a column; empty: zero throughout. Until the statement is reset. */
static struct strv stored(struct facts *f, unsigned number)
{
    sqlite3_stmt *body = f->reader->cubes.body;
    int code;

    sqlite3_bind_int64(body, 1, cube_row(number, f->place->block));
    code = sqlite3_step(body);
    if (code == SQLITE_ROW)
        return db_column(body, 0);
    if (code != SQLITE_DONE)
        f->rc = read_failed(f->reader, &f->fail);
    return STRV("");
}

bool cube_numbers(struct facts *f, unsigned number, int64_t *out)
{
    struct strv bytes = stored(f, number);

    if (bytes.n && fact_decode_numbers(bytes, f->n, out) != RC_OK)
        f->rc = read_damaged(&f->fail);
    sqlite3_reset(f->reader->cubes.body);
    return bytes.n && f->rc == RC_OK;
}

bool cube_amounts(struct facts *f, unsigned number, money_int *out)
{
    struct strv bytes = stored(f, number);

    if (bytes.n && fact_decode_amounts(bytes, f->n, out) != RC_OK)
        f->rc = read_damaged(&f->fail);
    sqlite3_reset(f->reader->cubes.body);
    return bytes.n && f->rc == RC_OK;
}

bool cube_bytes(struct facts *f, unsigned number, struct buf *out)
{
    struct strv bytes = stored(f, number);
    bool is = bytes.n > 0;

    buf_clear(out);
    is = is && buf_append_strv(out, bytes) == RC_OK;
    sqlite3_reset(f->reader->cubes.body);
    return is;
}

unsigned cube_number(size_t offset)
{
    struct sums_field f = {0};

    for (unsigned k = 0; ledger_sums_count(k, &f) && f.offset != offset; k++)
        ;
    return f.number;
}

static void add_count(struct adding *g, const struct sums_field *field)
{
    const struct fact_pick *p = g->p;
    uint64_t *to;

    if (row_sums_spares(g->sums, field->offset) || !cube_numbers(&g->p->facts, field->number, g->number))
        return;
    to = row_sums_count(g->sums, field->offset);
    for (size_t i = 0; i < p->facts.n; i++) {
        uint64_t n = (uint64_t)g->number[i], *at;

        if (p->row[i] == PICK_NONE)
            continue;
        at = &to[p->row[i]];
        *at = field->is_most ? (n > *at ? n : *at) : row_sums_plus(*at, n);
    }
}

static void add_amount(struct adding *g, const struct sums_field *field)
{
    const struct fact_pick *p = g->p;
    money_int *to;

    if (row_sums_spares(g->sums, field->offset) || !cube_amounts(&g->p->facts, field->number, g->least))
        return;
    to = row_sums_amount(g->sums, field->offset);
    for (size_t i = 0; i < p->facts.n; i++) {
        if (p->row[i] != PICK_NONE)
            row_sums_add_money(&to[p->row[i]], g->least[i]);
    }
}

static void add_extremes(struct adding *g, const struct sums_field *priced,
                         const struct row_extremes *to)
{
    const struct fact_pick *p = g->p;
    size_t bytes = p->facts.n * sizeof(g->least[0]);

    if (!cube_numbers(&g->p->facts, priced->number, g->priced))
        return;
    if (!cube_amounts(&g->p->facts, CUBE_COST_MIN, g->least))
        memset(g->least, 0, bytes);
    if (!cube_amounts(&g->p->facts, CUBE_COST_MAX, g->most))
        memset(g->most, 0, bytes);
    for (size_t i = 0; p->facts.rc == RC_OK && i < p->facts.n; i++) {
        int32_t row = p->row[i];

        if (row == PICK_NONE || g->priced[i] == 0)
            continue;
        if (to->priced[row] == 0 || g->least[i] < to->least[row])
            to->least[row] = g->least[i];
        if (to->priced[row] == 0 || g->most[i] > to->most[row])
            to->most[row] = g->most[i];
        to->priced[row] = row_sums_plus(to->priced[row], (uint64_t)g->priced[i]);
    }
}

/* ---- bands -------------------------------------------------------------------------------- */

/* Bands are keys of the rows: their sums are those of the rows. */
static void add_bands(struct adding *g)
{
    static const size_t offsets[4] = {
        offsetof(struct ledger_sums, requests), offsetof(struct ledger_sums, priced),
        offsetof(struct ledger_sums, tokens) + USAGE_INPUT * sizeof(uint64_t),
        offsetof(struct ledger_sums, tokens) + USAGE_OUTPUT * sizeof(uint64_t)};
    const struct fact_pick *p = g->p;
    const int64_t *band = facts_number(&g->p->facts, FACT_BAND);
    struct sums_field cost;

    for (size_t i = 0; band && i < p->facts.n; i++) {
        if (band[i] < 0 || band[i] >= LEDGER_BANDS)
            g->p->facts.rc = read_damaged(&g->p->facts.fail);
    }
    for (unsigned k = 0; k < 4 && p->facts.rc == RC_OK; k++) {
        if (!cube_numbers(&g->p->facts, cube_number(offsets[k]), g->number))
            continue;
        for (size_t i = 0; i < p->facts.n; i++) {
            struct ledger_band one = {0};
            uint64_t n = (uint64_t)g->number[i];

            if (p->row[i] == PICK_NONE)
                continue;
            *(k == 0   ? &one.requests
              : k == 1 ? &one.priced
              : k == 2 ? &one.input_tokens
                       : &one.output_tokens) = n;
            ledger_band_add(&p->answer->rows[p->row[i]].bands[band ? band[i] : 0], &one);
        }
    }
    if (!ledger_sums_amount(0, &cost) || !cube_amounts(&g->p->facts, cost.number, g->least))
        return;
    for (size_t i = 0; i < p->facts.n; i++) {
        const struct ledger_band one = {.cost = {g->least[i]}};

        if (p->row[i] != PICK_NONE)
            ledger_band_add(&p->answer->rows[p->row[i]].bands[band ? band[i] : 0], &one);
    }
}

/* Of a block of a cube. */
static void add_block(struct fact_pick *p, void *arg)
{
    struct adding *g = arg;
    struct row_extremes extremes;
    struct sums_field field;

    g->rows += p->n_picked;
    row_sums_make_room(g->sums, pick_cap(p));
    for (unsigned k = 0; p->facts.rc == RC_OK && ledger_sums_count(k, &field); k++) {
        if (field.offset == offsetof(struct ledger_sums, priced) &&
            row_sums_extremes(g->sums, &extremes))
            add_extremes(g, &field, &extremes);
        else
            add_count(g, &field);
    }
    for (unsigned k = 0; p->facts.rc == RC_OK && ledger_sums_amount(k, &field); k++)
        add_amount(g, &field);
    if (p->facts.rc == RC_OK && p->answer->want & LEDGER_WANT_BANDS)
        add_bands(g);
    if (g->meters)
        meter_sums_add_cube(g->meters, p);
}

static void each_block(struct fact_pick *p, const struct cube_place *c, cube_block_fn *fn,
                       void *arg)
{
    int64_t from_us = c->day * rollup_width_us(LEVEL_DAY);
    struct fact_place place = {.is_cube = true,
                               .first_us = from_us,
                               .last_us = from_us + rollup_width_us(LEVEL_DAY) - 1};

    for (int64_t at = 0; p->facts.rc == RC_OK && at < cube_blocks(c->n, FACT_BLOCK); at++) {
        int64_t left = c->n - at * FACT_BLOCK;

        place.block = c->first + at;
        place.n = (size_t)(left < FACT_BLOCK ? left : FACT_BLOCK);
        facts_stand_at(&p->facts, &place);
        if (pick_here(p))
            fn(p, arg);
    }
    p->facts.place = NULL;
}

static bool is_within(const struct fact_pick *p, const struct cube_place *c, int64_t from_us,
                      int64_t to_us)
{
    return c->day >= rollup_bucket(LEVEL_DAY, from_us) &&
           c->day * rollup_width_us(LEVEL_DAY) >= from_us &&
           c->day < rollup_bucket(LEVEL_DAY, to_us) && cube_is_usable(p->answer, c);
}

size_t answer_leave_cubes_out(struct fact_pick *p, enum cube_kind kind, int64_t from_us,
                              int64_t to_us)
{
    const struct cube_index *x = &p->answer->reader->cubes;
    size_t n = kind < CUBE_KINDS ? x->n[kind] : 0;

    for (size_t i = 0; i < n; i++) {
        if (is_within(p, &x->days[kind][i], from_us, to_us))
            pick_leave_out(p, &x->days[kind][i]);
    }
    return n;
}

void answer_each_cube(struct fact_pick *p, enum cube_kind kind, struct crew_pieces *days,
                      int64_t from_us, int64_t to_us, cube_block_fn *fn, void *arg)
{
    const struct cube_index *x = &p->answer->reader->cubes;
    size_t at, end;

    while (p->facts.rc == RC_OK && crew_take(days, &at, &end)) {
        for (; at < end && p->facts.rc == RC_OK; at++) {
            if (is_within(p, &x->days[kind][at], from_us, to_us))
                each_block(p, &x->days[kind][at], fn, arg);
        }
    }
}

uint64_t answer_add_cubes(struct fact_pick *p, struct row_sums *sums, struct meter_sums *meters,
                          struct crew_pieces *days, int64_t from_us, int64_t to_us)
{
    struct adding *g = xcalloc(1, sizeof(*g));
    uint64_t rows;

    g->p = p;
    g->sums = sums;
    g->meters = meters;
    answer_each_cube(p, p->answer->cube_kind, days, from_us, to_us, add_block, g);
    rows = g->rows;
    free(g);
    return rows;
}
