/*
 * cube_make.c - adds up the columns of a day; see cube.h.
 */
#include "metering/ledger/cube.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "metering/ledger/cube_give.h"
#include "metering/ledger/rank_make.h"
#include "metering/ledger/read_cube.h"
#include "metering/ledger/read_meters.h"
#include "metering/ledger/wire.h"

enum { ROWS_FIRST = 1024, CLASS_KEY_BYTES = 64 << 10 };

const enum ledger_field_id cube_price_fields[CUBE_PRICE_FIELDS] = {
    FIELD_UPSTREAM, FIELD_MODEL,       FIELD_SERVICE_TIER,
    FIELD_PRICE_ID, FIELD_ENVIRONMENT, FIELD_OUTCOME};

/* What a row is told apart by; zero where the kind does not. */
struct cube_key {
    int64_t combo, subject, flags, band;
    int64_t other; /* a second subject (other_column) */
};

struct cube_make {
    enum cube_kind kind;
    int64_t day, from_us, to_us;
    int64_t through, after; /* blocks up to `after` are added up */
    int64_t rows_max;
    bool is_too_many;
    struct cube_key *keys;
    struct row_sums *sums;
    struct meter_sums *meters; /* of a kind that has them */
    size_t n, cap;
    uint32_t *slots;     /* place of a row plus one; 0: free */
    size_t n_slots;
    /* By id of a combination: the first one of the same team; or of the same price, or outcome (and team). */
    int64_t *team_combo;
    size_t n_combos;
    struct rank_make *rank; /* of a kind that is ranked; there are no rows then */
};

static int64_t rows_max(enum cube_kind kind, const struct cube_limits *limits)
{
    if (cube_is_ranked(kind))
        return limits ? limits->ranked : CUBE_RANKED_MAX;
    if (!limits)
        return cube_rows_max(kind);
    return cube_is_basic(kind) ? limits->basic_rows : limits->rows;
}

struct cube_make *cube_make_new(enum cube_kind kind, int64_t day, int64_t through,
                                const struct cube_limits *limits)
{
    struct cube_make *m = xcalloc(1, sizeof(*m));

    *m = (struct cube_make){.kind = kind,
                            .day = day,
                            .from_us = day * rollup_width_us(LEVEL_DAY),
                            .to_us = (day + 1) * rollup_width_us(LEVEL_DAY),
                            .through = through,
                            .rows_max = rows_max(kind, limits)};
    if (cube_is_ranked(kind)) {
        m->rank = rank_make_new(kind, m->rows_max);
        return m;
    }
    m->n_slots = 2 * (size_t)cube_rows_max(kind);
    m->slots = xcalloc(m->n_slots, sizeof(*m->slots));
    m->sums = row_sums_new(cube_is_basic(kind) ? CUBE_BASIC : 0);
    m->meters = cube_has_meters(kind) ? meter_sums_new() : NULL;
    return m;
}

void cube_make_free(struct cube_make *m)
{
    if (!m)
        return;
    free(m->keys);
    free(m->slots);
    free(m->team_combo);
    rank_make_free(m->rank);
    row_sums_free(m->sums);
    meter_sums_free(m->meters);
    free(m);
}

int64_t cube_make_rows(const struct cube_make *m)
{
    if (m->is_too_many)
        return CUBE_NONE;
    return m->rank ? rank_make_rows(m->rank) : (int64_t)m->n;
}
enum cube_kind cube_make_kind(const struct cube_make *m)
{
    return m->kind;
}
int64_t cube_make_day(const struct cube_make *m)
{
    return m->day;
}
int64_t cube_make_through(const struct cube_make *m)
{
    return m->through;
}

/* ---- keys ------------------------------------------------------------------------------- */

/* What combinations are classed by, as one text. */
static struct strv class_key(const struct cube_make *m, const struct combo *c, struct buf *key)
{
    enum rc rc = RC_OK;

    if (m->kind == CUBE_OUTCOME_CUSTOMER)
        return combo_value(c, FIELD_OUTCOME);
    if (!m->meters && m->kind != CUBE_OUTCOME_TAGS)
        return c->text[COMBO_TEAM];
    buf_clear(key);
    if (m->kind == CUBE_OUTCOME_TAGS) {
        rc = buf_append(key, (const char *)&c->outcome, sizeof(c->outcome));
        if (rc == RC_OK)
            rc = buf_append_strv(key, c->text[COMBO_TEAM]);
        ASSERT(rc == RC_OK); /* a text is short: RECORD_TEXT_MAX_BYTES */
        return buf_view(key);
    }
    for (size_t i = 0; i < CUBE_PRICE_FIELDS && rc == RC_OK; i++) {
        struct strv value = combo_value(c, cube_price_fields[i]);

        rc = buf_append(key, (const char *)&value.n, sizeof(value.n));
        if (rc == RC_OK)
            rc = buf_append_strv(key, value);
    }
    ASSERT(rc == RC_OK); /* texts are short: RECORD_TEXT_MAX_BYTES */
    return buf_view(key);
}

/* Combinations that are new since the last step. */
static void learn_teams(struct cube_make *m, const struct ledger_reader *r)
{
    size_t n = r->n_combos ? (size_t)r->combos[r->n_combos - 1].id + 1 : 1;
    struct dict first;
    struct buf key;

    if (n <= m->n_combos)
        return;
    m->team_combo = xrealloc(m->team_combo, n * sizeof(*m->team_combo));
    memset(m->team_combo, 0, n * sizeof(*m->team_combo));
    m->n_combos = n;
    dict_init(&first);
    buf_init(&key, CLASS_KEY_BYTES);
    for (size_t i = 0; i < r->n_combos; i++) {
        const struct combo *c = &r->combos[i];
        struct strv class = class_key(m, c, &key);
        const int64_t *at = dict_get(&first, class);

        m->team_combo[c->id] = at ? *at : c->id;
        if (!at)
            dict_put(&first, class, c->id);
    }
    buf_release(&key);
    dict_release(&first);
}

static size_t place_of(const struct cube_make *m, const struct cube_key *k)
{
    uint64_t h = (uint64_t)k->combo * UINT64_C(0x9e3779b97f4a7c15);
    size_t at;

    h = (h ^ (uint64_t)k->subject) * UINT64_C(0xd6e8feb86659fd93);
    h ^= (uint64_t)k->other << 12 ^ (uint64_t)k->flags << 8 ^ (uint64_t)k->band;
    h *= UINT64_C(0x9e3779b97f4a7c15);
    at = (size_t)(h >> 40) & (m->n_slots - 1);
    while (m->slots[at] && memcmp(&m->keys[m->slots[at] - 1], k, sizeof(*k)) != 0)
        at = (at + 1) & (m->n_slots - 1);
    return at;
}

/* PICK_NONE: one more than there may be. */
static int32_t row_of(struct cube_make *m, const struct cube_key *k)
{
    size_t at = place_of(m, k);

    if (m->slots[at])
        return (int32_t)(m->slots[at] - 1);
    if ((int64_t)m->n == m->rows_max) {
        m->is_too_many = true;
        return PICK_NONE;
    }
    if (m->n == m->cap) {
        m->cap = m->cap ? m->cap * 2 : ROWS_FIRST;
        m->keys = xrealloc(m->keys, m->cap * sizeof(*m->keys));
    }
    m->keys[m->n] = *k;
    m->slots[at] = (uint32_t)++m->n;
    return (int32_t)(m->n - 1);
}

static unsigned subject_column(enum cube_kind kind)
{
    switch (kind) {
    case CUBE_CLASS:
    case CUBE_CLASS_METERS:
        return FACT_TASK;
    case CUBE_CUSTOMER:
    case CUBE_TEAM_CUSTOMER:
    case CUBE_CUSTOMER_USER:
    case CUBE_OUTCOME_CUSTOMER:
    case CUBE_BAND_CUSTOMER:
    case CUBE_PRICE_CUSTOMER:
        return FACT_CUSTOMER;
    case CUBE_USER:
    case CUBE_TEAM_USER:
        return FACT_USER;
    case CUBE_TAGS:
    case CUBE_PRICE_TAGS:
    case CUBE_OUTCOME_TAGS:
    case CUBE_COSTS:
    case CUBE_TIMES:
    case CUBE_KINDS:
        break;
    }
    return FACT_TAGSET;
}

/* Of a second subject; 0: there is none. */
static unsigned other_column(enum cube_kind kind)
{
    if (kind == CUBE_OUTCOME_CUSTOMER || kind == CUBE_OUTCOME_TAGS)
        return FACT_TASK;
    return kind == CUBE_CUSTOMER_USER ? FACT_USER : 0;
}

static bool has_bands(enum cube_kind kind)
{
    return cube_is_of_class(kind) || kind == CUBE_BAND_CUSTOMER;
}

static bool has_combos(enum cube_kind kind)
{
    return kind != CUBE_USER && kind != CUBE_CUSTOMER && kind != CUBE_CUSTOMER_USER &&
           kind != CUBE_BAND_CUSTOMER;
}

/* Rows of the requests of the block at hand; those of other days have none. */
static void choose_rows(struct cube_make *m, struct fact_pick *p)
{
    struct facts *f = &p->facts;
    const int64_t *end = facts_number(f, FACT_END), *combo = facts_number(f, FACT_COMBO);
    const int64_t *subject = facts_number(f, subject_column(m->kind));
    bool is_class = cube_is_of_class(m->kind);
    const int64_t *flags = is_class ? facts_number(f, FACT_FLAGS) : NULL;
    const int64_t *band = has_bands(m->kind) ? facts_number(f, FACT_BAND) : NULL;
    unsigned other_at = other_column(m->kind);
    const int64_t *other = other_at ? facts_number(f, other_at) : NULL;

    for (size_t i = 0; f->rc == RC_OK && i < f->n; i++) {
        int64_t id = combo ? combo[i] : 0, us = end ? end[i] : 0;
        struct cube_key k = {.combo = 1, .subject = subject ? subject[i] : 0};

        p->row[i] = PICK_NONE;
        if (us < m->from_us || us >= m->to_us)
            continue;
        if (id <= 0 || (uint64_t)id >= m->n_combos || !m->team_combo[id]) {
            f->rc = read_damaged(&f->fail);
            return;
        }
        if (is_class) {
            k.combo = id;
            k.subject = k.subject != 0;
            k.flags = flags ? flags[i] & (FACT_IS_REPEAT | FACT_IS_CACHEABLE) : 0;
        } else {
            k.combo = m->team_combo[has_combos(m->kind) ? id : p->answer->reader->combos[0].id];
            k.other = !other ? 0 : other_at == FACT_TASK ? other[i] != 0 : other[i];
        }
        k.band = band ? band[i] : 0;
        p->row[i] = row_of(m, &k);
    }
}

/* ---- blocks --------------------------------------------------------------------------------
 */

static void take_block(struct cube_make *m, struct fact_pick *p)
{
    if (m->rank) {
        m->is_too_many = !rank_make_take(m->rank, &p->facts, m->from_us, m->to_us);
        return;
    }
    choose_rows(m, p);
    p->answer->cap_rows = m->cap;
    if (p->facts.rc == RC_OK && !m->is_too_many)
        answer_add_block(p, m->sums);
    if (m->meters && p->facts.rc == RC_OK && !m->is_too_many)
        meter_sums_add_block(m->meters, p);
}

enum rc cube_make_step(struct cube_make *m, struct ledger_reader *r, unsigned blocks,
                       bool *done, struct fail *fail)
{
    struct ledger_question q = {.grain = PERIOD_TOTAL};
    struct answer a = {.reader = r, .q = &q, .cube_kind = CUBE_KINDS};
    struct fact_pick *p;
    enum rc rc;
    bool known;

    *done = true;
    rc = facts_look(r, &known, fail);
    if (rc != RC_OK)
        return rc;
    ledger_filter_init(&q.filter, m->from_us, m->to_us);
    learn_teams(m, r);
    p = pick_open(&a, m->from_us, m->to_us, false, fail);
    if (!p)
        return fail->rc;
    while (!m->is_too_many && facts_next(&p->facts)) {
        int64_t block = p->facts.place->block;

        if (block == 0 || block > m->through)
            break;
        if (block <= m->after)
            continue;
        if (blocks-- == 0) {
            *done = false;
            break;
        }
        take_block(m, p);
        m->after = block;
    }
    rc = pick_finish(p, RC_OK, fail);
    if (rc == RC_OK && *done && m->rank && !m->is_too_many &&
        !rank_make_order(m->rank, m->team_combo, m->n_combos))
        rc = read_damaged(fail);
    return rc;
}

/* ---- columns ---------------------------------------------------------------------------- */

static int compare_keys(const void *a, const void *b, void *arg)
{
    const struct cube_make *m = arg;
    const struct cube_key *x = &m->keys[*(const uint32_t *)a],
                          *y = &m->keys[*(const uint32_t *)b];

    /* Blocks of one team, since questions of one pass the others over. */
    if ((m->kind == CUBE_TEAM_USER || m->kind == CUBE_TEAM_CUSTOMER) && x->combo != y->combo)
        return x->combo < y->combo ? -1 : 1;
    /* Subjects first: rows of an answer are met in one order day after day. */
    if (x->subject != y->subject)
        return x->subject < y->subject ? -1 : 1;
    if (x->combo != y->combo)
        return x->combo < y->combo ? -1 : 1;
    if (x->other != y->other)
        return x->other < y->other ? -1 : 1;
    if (x->flags != y->flags)
        return x->flags < y->flags ? -1 : 1;
    return (x->band > y->band) - (x->band < y->band);
}

struct giving {
    struct cube_make *m;
    const uint32_t *order; /* of the block's rows */
    struct cube_giving *to;
};

/* all: by row; NULL: zero. */
static enum rc give_counts(struct giving *g, unsigned number, const uint64_t *all,
                           struct fail *fail)
{
    for (size_t i = 0; i < g->to->n; i++)
        g->to->number[i] = all ? (int64_t)all[g->order[i]] : 0;
    return cube_give_numbers(g->to, number, fail);
}

static enum rc give_amounts(struct giving *g, unsigned number, const money_int *all,
                            struct fail *fail)
{
    for (size_t i = 0; i < g->to->n; i++)
        g->to->amount[i] = all ? all[g->order[i]] : 0;
    return cube_give_amounts(g->to, number, fail);
}

static enum rc give_keys(struct giving *g, struct fail *fail)
{
    const unsigned columns[] = {FACT_COMBO, subject_column(g->m->kind), FACT_FLAGS, FACT_BAND,
                                other_column(g->m->kind)};
    unsigned n = columns[4] ? 5 : 4;
    enum rc rc = RC_OK;

    for (unsigned k = 0; rc == RC_OK && k < n; k++) {
        for (size_t i = 0; i < g->to->n; i++) {
            const struct cube_key *key = &g->m->keys[g->order[i]];

            g->to->number[i] = k == 0   ? key->combo
                               : k == 1 ? key->subject
                               : k == 2 ? key->flags
                               : k == 3 ? key->band
                                        : key->other;
        }
        rc = cube_give_numbers(g->to, CUBE_KEY + columns[k], fail);
    }
    return rc;
}

/* Of a meter: whether any row of the block has it. */
static bool has_meter(const struct giving *g, const struct meter_sum_of *from)
{
    bool any = false;

    for (size_t i = 0; i < g->to->n && !any; i++) {
        size_t row = g->order[i];

        any = row < from->cap && (from->at[row].requests || from->at[row].quantity ||
                                  from->at[row].amount.atto);
    }
    return any;
}

static enum rc give_meter(struct giving *g, unsigned wire, const struct meter_sum_of *from,
                          struct fail *fail)
{
    enum rc rc;

    for (size_t i = 0; i < g->to->n; i++)
        g->to->number[i] =
            g->order[i] < from->cap ? (int64_t)from->at[g->order[i]].requests : 0;
    rc = cube_give_numbers(g->to, cube_meter(wire, CUBE_METER_REQUESTS), fail);
    for (size_t i = 0; i < g->to->n; i++)
        g->to->number[i] =
            g->order[i] < from->cap ? (int64_t)from->at[g->order[i]].quantity : 0;
    if (rc == RC_OK)
        rc = cube_give_numbers(g->to, cube_meter(wire, CUBE_METER_QUANTITY), fail);
    for (size_t i = 0; i < g->to->n; i++)
        g->to->amount[i] = g->order[i] < from->cap ? from->at[g->order[i]].amount.atto : 0;
    return rc == RC_OK ? cube_give_amounts(g->to, cube_meter(wire, CUBE_METER_AMOUNT), fail) : rc;
}

static enum rc give_meters(struct giving *g, struct fail *fail)
{
    char bytes[FACT_METERS_BYTES];
    uint64_t meters = 0;
    enum rc rc;

    for (unsigned m = 0; m < METER_COUNT; m++)
        meters |= (uint64_t)has_meter(g, meter_sums_of(g->m->meters, (enum meter)m)) << m;
    fact_encode_meters(meters, bytes);
    rc = g->to->fn(CUBE_METERS, g->to->at, strv_make(bytes, sizeof(bytes)), g->to->arg, fail);
    for (; rc == RC_OK && meters; meters &= meters - 1) {
        enum meter m = (enum meter)__builtin_ctzll(meters);

        rc = give_meter(g, wire_meter(m), meter_sums_of(g->m->meters, m), fail);
    }
    return rc;
}

static enum rc give_block(struct giving *g, struct fail *fail)
{
    const struct row_sums *sums = g->m->sums;
    const struct row_extremes extremes = row_sums_got_extremes(sums);
    struct sums_field field;
    enum rc rc = RC_OK;

    for (unsigned k = 0; rc == RC_OK && ledger_sums_count(k, &field); k++) {
        bool is_priced = field.offset == offsetof(struct ledger_sums, priced);

        rc = give_counts(g, field.number,
                         is_priced && extremes.priced
                             ? extremes.priced
                             : row_sums_got_count(sums, field.offset),
                         fail);
    }
    for (unsigned k = 0; rc == RC_OK && ledger_sums_amount(k, &field); k++)
        rc = give_amounts(g, field.number, row_sums_got_amount(sums, field.offset), fail);
    if (rc == RC_OK)
        rc = give_amounts(g, CUBE_COST_MIN, extremes.least, fail);
    if (rc == RC_OK)
        rc = give_amounts(g, CUBE_COST_MAX, extremes.most, fail);
    if (rc == RC_OK)
        rc = give_keys(g, fail);
    return rc == RC_OK && g->m->meters ? give_meters(g, fail) : rc;
}

enum rc cube_make_columns(struct cube_make *m, cube_column_fn *fn, void *arg, struct fail *fail)
{
    struct giving g = {.m = m};
    uint32_t *order;
    enum rc rc = RC_OK;

    if (m->is_too_many)
        return RC_OK;
    g.to = cube_giving_new(fn, arg);
    if (m->rank) {
        rc = rank_make_columns(m->rank, g.to, fail);
        cube_giving_free(g.to);
        return rc;
    }
    order = xcalloc(m->n + 1, sizeof(*order));
    for (size_t i = 0; i < m->n; i++)
        order[i] = (uint32_t)i;
    if (m->n)
        qsort_r(order, m->n, sizeof(*order), compare_keys, m);
    for (size_t from = 0; rc == RC_OK && from < m->n; from += FACT_BLOCK) {
        g.order = order + from;
        g.to->n = m->n - from < FACT_BLOCK ? m->n - from : FACT_BLOCK;
        rc = give_block(&g, fail);
        g.to->at++;
    }
    free(order);
    cube_giving_free(g.to);
    return rc;
}

/* ---- what is to be made -------------------------------------------------------------------
 */

static bool has_cube(const struct cube_index *x, enum cube_kind kind, int64_t day)
{
    return cube_find(x, kind, day) != NULL;
}

/* Blocks of which the day's requests may be. */
static size_t blocks_of_day(const struct fact_index *x, int64_t day)
{
    int64_t from_us = day * rollup_width_us(LEVEL_DAY),
            to_us = from_us + rollup_width_us(LEVEL_DAY);
    size_t n = 0;

    for (size_t i = 0; i < x->n; i++)
        n += x->blocks[i].block && x->blocks[i].last_us >= from_us &&
             x->blocks[i].first_us < to_us;
    return n;
}

enum rc cube_next(struct ledger_reader *r, const struct cube_limits *limits,
                  struct cube_make **out, struct fail *fail)
{
    const struct fact_place *last = NULL;
    struct cube_make *made;
    int64_t newest, began_us = INT64_MIN, day = INT64_MIN;
    bool known;
    enum rc rc = facts_look(r, &known, fail);

    *out = NULL;
    if (rc == RC_OK)
        rc = cubes_look(r, fail);
    for (size_t i = 0; rc == RC_OK && i < r->facts.n; i++) {
        if (!r->facts.blocks[i].block)
            continue;
        last = &r->facts.blocks[i];
        began_us = last->first_us > began_us ? last->first_us : began_us;
    }
    if (rc != RC_OK || !last || r->n_combos == 0)
        return rc;
    /* A block that began after a day's end, if not the last one: what is missing is late. */
    newest = rollup_bucket(LEVEL_DAY, began_us) - 1;
    for (size_t i = 0; i < r->facts.n; i++) {
        int64_t at = rollup_bucket(LEVEL_DAY, r->facts.blocks[i].first_us);

        if (at > newest || at <= day || at * rollup_width_us(LEVEL_DAY) < r->kept_from_us)
            continue;
        for (int k = 0; k < CUBE_KINDS; k++) {
            if (!has_cube(&r->cubes, (enum cube_kind)k, at))
                day = at;
        }
    }
    for (int k = 0; k < CUBE_KINDS && day != INT64_MIN; k++) {
        if (has_cube(&r->cubes, (enum cube_kind)k, day))
            continue;
        made = cube_make_new((enum cube_kind)k, day, last->block, limits);
        made->is_too_many = blocks_of_day(&r->facts, day) < CUBE_BLOCKS_LEAST;
        *out = made;
        break;
    }
    return RC_OK;
}
