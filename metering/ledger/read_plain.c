#include "metering/ledger/read_plain.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/ledger/read_row_sums.h"
#include "metering/ledger/wire.h"

enum {
    TOKENS = 5, /* usage fields that a row has room for */
    LINE_BYTES = 64,
    AHEAD = 12, /* requests whose rows are fetched before their turn */
    WIDEST_BITS = 32, /* of what is added: 2^31 of them do not wrap */
    COST_BITS = 90,
};

struct plain_row {
    money_int cost;
    uint64_t n, tokens[TOKENS];
};

struct plain {
    unsigned want;
    void *memory;
    struct plain_row *rows;
    size_t cap;
    unsigned char *is_plain; /* by id of the combination */
    enum usage_field field[TOKENS];
    unsigned n_fields;
};

static const uint32_t zeros[FACT_BLOCK];

/* What of a block is added. */
struct block {
    const uint32_t *cost, *tokens[TOKENS];
    money_int cost_least;
    uint64_t cost_unit, tokens_least[TOKENS];
};

bool plain_can(unsigned want)
{
    const unsigned spared = LEDGER_SPARE_TRANSPORT | LEDGER_SPARE_DETAILS | LEDGER_SPARE_CEILING;
    const unsigned more =
        LEDGER_WANT_HISTOGRAM | LEDGER_WANT_BANDS | LEDGER_WANT_METERS | LEDGER_WANT_PERCENTILES;

    return (want & spared) == spared && !(want & more);
}

struct plain *plain_new(const struct fact_pick *p, unsigned want)
{
    struct plain *g = xcalloc(1, sizeof(*g));

    g->want = want;
    g->is_plain = xcalloc_wide(p->n_combos + 1, 1);
    for (size_t i = 0; i < p->n_combos; i++) {
        const struct combo *c = p->combo_of[i];

        g->is_plain[i] =
            c && c->usage_source == USAGE_PROVIDER && c->price_status == PRICE_OK;
    }
    return g;
}

void plain_free(struct plain *g)
{
    if (!g)
        return;
    free(g->memory);
    free(g->is_plain);
    free(g);
}

void plain_make_room(struct plain *g, size_t cap)
{
    void *was = g->memory;
    size_t skip;
    char *is;

    if (cap <= g->cap)
        return;
    is = xcalloc_wide(cap + 1, sizeof(*g->rows));
    skip = LINE_BYTES - (uintptr_t)is % LINE_BYTES;
    g->memory = is;
    is += skip - skip % sizeof(money_int);
    if (g->rows)
        memcpy(is, g->rows, g->cap * sizeof(*g->rows));
    g->rows = (struct plain_row *)(void *)is;
    g->cap = cap;
    free(was);
}

/* ---- which ---------------------------------------------------------------------------------- */

/* False: no request of the block is plain, or it cannot be told here. */
static bool find_plain(const struct plain *g, struct fact_pick *p, unsigned char *is)
{
    struct facts *f = &p->facts;
    const struct facts_small *attempt = facts_small(f, FACT_ATTEMPT);
    const struct facts_small *flags = facts_small(f, FACT_FLAGS);
    const struct facts_small *less = facts_small(f, FACT_AMOUNT_COLUMN + FACT_LIST);
    size_t n = f->n;

    if (!attempt || !flags || !less || !facts_ids(f, FACT_COMBO, p->id))
        return false;
    for (size_t i = 0; i < n; i++)
        is[i] = g->is_plain[p->id[i] < p->n_combos ? p->id[i] : p->n_combos];
    for (size_t i = 0; attempt->head.least < 0 && i < n; i++)
        is[i] &= facts_small_value(attempt, i) >= 0;
    if (flags->head.is_level && !(flags->head.least & FACT_IS_PRICED))
        return false;
    for (size_t i = 0; !flags->head.is_level && i < n; i++)
        is[i] &= (((uint32_t)flags->head.least + flags->d[i]) & FACT_IS_PRICED) != 0;
    if (less->head.is_level && less->head.least == 0)
        return true;
    for (size_t i = 0; i < n; i++)
        is[i] &= facts_small_value(less, i) == 0;
    return true;
}

/* Places of the plain ones that are picked. */
static size_t choose(const struct fact_pick *p, const unsigned char *is, uint16_t *at)
{
    size_t n = 0;

    for (size_t i = 0; i < p->facts.n; i++) {
        at[n] = (uint16_t)i;
        n += is[i] & (p->row[i] != PICK_NONE);
    }
    return n;
}

/* ---- what ----------------------------------------------------------------------------------- */

/* Place of a usage field in the rows; TOKENS: there is no room. */
static unsigned place_of(struct plain *g, enum usage_field field)
{
    unsigned k = 0;

    while (k < g->n_fields && g->field[k] != field)
        k++;
    if (k == g->n_fields && k < TOKENS)
        g->field[g->n_fields++] = field;
    return k;
}

static uint64_t any_usage(struct facts *f, const struct facts_small *has)
{
    uint64_t any = 0;

    if (has->head.is_level)
        return (uint64_t)has->head.least;
    for (size_t i = 0; i < f->n; i++)
        any |= (uint64_t)has->head.least + has->d[i];
    return any;
}

/* Tokens that are not reported are zero. False: there is no room for them, or they are too many. */
static bool find_tokens(struct plain *g, struct facts *f, struct block *b)
{
    const struct facts_small *has = facts_small(f, FACT_HAS);
    uint64_t any;

    if (!has)
        return false;
    any = any_usage(f, has);
    for (unsigned u = 0; u < USAGE_COUNT; u++) {
        unsigned number = wire_usage((enum usage_field)u) & 31, place;
        const struct facts_small *s;

        if (!(any >> number & 1))
            continue;
        s = facts_small(f, FACT_USAGE + number);
        if (!s || s->head.least < 0 || s->head.least >> WIDEST_BITS != 0)
            return false;
        if (s->head.is_level && s->head.least == 0)
            continue;
        place = place_of(g, (enum usage_field)u);
        if (place == TOKENS)
            return false;
        b->tokens[place] = s->head.is_level ? zeros : s->d;
        b->tokens_least[place] = (uint64_t)s->head.least;
    }
    return true;
}

static bool find_block(struct plain *g, struct facts *f, struct block *b)
{
    const struct facts_small *cost = facts_small(f, FACT_AMOUNT_COLUMN + FACT_COST);
    const money_int most = (money_int)1 << COST_BITS;

    if (!cost || cost->head.least > most || cost->head.least < -most)
        return false;
    for (unsigned k = 0; k < TOKENS; k++)
        b->tokens[k] = zeros;
    b->cost = cost->head.is_level ? zeros : cost->d;
    b->cost_least = cost->head.least;
    b->cost_unit = cost->head.unit;
    return g->want & LEDGER_SPARE_TOKENS || find_tokens(g, f, b);
}

/* fields: a constant, so that each number of them has a loop of its own. */
static inline void add(struct plain *g, const struct block *b, const int32_t *row,
                       const uint16_t *at, size_t n, unsigned fields)
{
    struct plain_row *rows = g->rows;

    for (size_t k = 0; k < n; k++) {
        size_t i = at[k];
        struct plain_row *to = &rows[row[i]];

        if (k + AHEAD < n)
            __builtin_prefetch(&rows[row[at[k + AHEAD]]], 1);
        to->cost += b->cost_least + (money_int)((facts_bits)b->cost[i] * b->cost_unit);
        to->n++;
        for (unsigned t = 0; t < fields; t++)
            to->tokens[t] += b->tokens_least[t] + b->tokens[t][i];
    }
}

size_t plain_take(struct plain *g, struct fact_pick *p)
{
    unsigned char is[FACT_BLOCK];
    uint16_t at[FACT_BLOCK + 1];
    struct block b = {0};
    size_t n;

    if (!find_plain(g, p, is) || !find_block(g, &p->facts, &b))
        return p->n_picked;
    n = choose(p, is, at);
    switch (g->n_fields) {
    case 0:
        add(g, &b, p->row, at, n, 0);
        break;
    case 1:
        add(g, &b, p->row, at, n, 1);
        break;
    case 2:
        add(g, &b, p->row, at, n, 2);
        break;
    case 3:
        add(g, &b, p->row, at, n, 3);
        break;
    default:
        add(g, &b, p->row, at, n, TOKENS);
        break;
    }
    for (size_t k = 0; n < p->n_picked && k < n; k++)
        p->row[at[k]] = PICK_NONE;
    return p->n_picked - n;
}

/* ---- to sums -------------------------------------------------------------------------------- */

static void give_count(const struct plain *g, struct row_sums *sums, size_t offset, size_t n,
                       size_t place)
{
    uint64_t *to = row_sums_spares(sums, offset) ? NULL : row_sums_count(sums, offset);

    for (size_t i = 0; to && i < n; i++) {
        const struct plain_row *row = &g->rows[i];

        to[i] = row_sums_plus(to[i], place < TOKENS ? row->tokens[place] : row->n);
    }
}

static void give_amount(const struct plain *g, struct row_sums *sums, size_t offset, size_t n)
{
    money_int *to = row_sums_spares(sums, offset) ? NULL : row_sums_amount(sums, offset);

    for (size_t i = 0; to && i < n; i++)
        row_sums_add_money(&to[i], g->rows[i].cost);
}

void plain_give(const struct plain *g, struct row_sums *sums, size_t n)
{
    const size_t source = offsetof(struct ledger_sums, by_usage_source);

    n = n < g->cap ? n : g->cap;
    give_count(g, sums, offsetof(struct ledger_sums, requests), n, TOKENS);
    give_count(g, sums, source + USAGE_PROVIDER * sizeof(uint64_t), n, TOKENS);
    give_count(g, sums, offsetof(struct ledger_sums, priced), n, TOKENS);
    for (unsigned k = 0; k < g->n_fields; k++)
        give_count(g, sums,
                   offsetof(struct ledger_sums, tokens) + g->field[k] * sizeof(uint64_t), n, k);
    give_amount(g, sums, offsetof(struct ledger_sums, cost), n);
    give_amount(g, sums, offsetof(struct ledger_sums, list), n);
}
