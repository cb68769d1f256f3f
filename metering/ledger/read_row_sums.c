/*
 * read_row_sums.c - see read_row_sums.h.
 */
#include "metering/ledger/read_row_sums.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "metering/ledger/read_int.h"

enum {
    COUNTS_MAX = 128,
    AMOUNTS_MAX = 16,
    PLACES = sizeof(struct ledger_sums) / sizeof(uint64_t),
    NO_FIELD = 0xff,
};

struct row_sums {
    unsigned want;
    size_t cap; /* rows that there is room for */
    /* By number of the field; NULL: nothing yet. */
    uint64_t *count[COUNTS_MAX];
    money_int *amount[AMOUNTS_MAX];
    struct row_extremes extremes; /* all three are there, or none */
    struct sums_field count_field[COUNTS_MAX], amount_field[AMOUNTS_MAX];
    size_t n_counts, n_amounts;
    unsigned char at[PLACES]; /* number of the field at an offset */
};

struct row_sums *row_sums_new(unsigned want)
{
    struct row_sums *g = xcalloc(1, sizeof(*g));
    struct sums_field f;

    g->want = want;
    memset(g->at, NO_FIELD, sizeof(g->at));
    for (; ledger_sums_count((unsigned)g->n_counts, &f); g->n_counts++) {
        ASSERT(g->n_counts < COUNTS_MAX);
        g->count_field[g->n_counts] = f;
        g->at[f.offset / sizeof(uint64_t)] = (unsigned char)g->n_counts;
    }
    for (; ledger_sums_amount((unsigned)g->n_amounts, &f); g->n_amounts++) {
        ASSERT(g->n_amounts < AMOUNTS_MAX);
        g->amount_field[g->n_amounts] = f;
        g->at[f.offset / sizeof(uint64_t)] = (unsigned char)g->n_amounts;
    }
    return g;
}

void row_sums_free(struct row_sums *g)
{
    if (!g)
        return;
    for (size_t k = 0; k < COUNTS_MAX; k++)
        free(g->count[k]);
    for (size_t k = 0; k < AMOUNTS_MAX; k++)
        free(g->amount[k]);
    free(g->extremes.priced);
    free(g->extremes.least);
    free(g->extremes.most);
    free(g);
}

/* Zeroed where it is new, or has become longer. */
static void *longer(void *was, size_t from, size_t to, size_t bytes)
{
    char *is;

    if (!was)
        return xcalloc(to + 1, bytes);
    is = xrealloc_table(was, (to + 1) * bytes);
    memset(is + from * bytes, 0, (to - from) * bytes);
    return is;
}

void row_sums_make_room(struct row_sums *g, size_t cap)
{
    if (cap <= g->cap)
        return;
    for (size_t k = 0; k < COUNTS_MAX; k++) {
        if (g->count[k])
            g->count[k] = longer(g->count[k], g->cap, cap, sizeof(*g->count[k]));
    }
    for (size_t k = 0; k < AMOUNTS_MAX; k++) {
        if (g->amount[k])
            g->amount[k] = longer(g->amount[k], g->cap, cap, sizeof(*g->amount[k]));
    }
    if (g->extremes.priced) {
        struct row_extremes *e = &g->extremes;

        e->priced = longer(e->priced, g->cap, cap, sizeof(*e->priced));
        e->least = longer(e->least, g->cap, cap, sizeof(*e->least));
        e->most = longer(e->most, g->cap, cap, sizeof(*e->most));
    }
    g->cap = cap;
}

/* ---- what is spared ----------------------------------------------------------------------- */

static bool is_detail(size_t offset)
{
    static const size_t details[] = {
        offsetof(struct ledger_sums, errors),      offsetof(struct ledger_sums, error_cost),
        offsetof(struct ledger_sums, retries),     offsetof(struct ledger_sums, streams),
        offsetof(struct ledger_sums, repeats),     offsetof(struct ledger_sums, repeat_cost),
        offsetof(struct ledger_sums, cacheable),   offsetof(struct ledger_sums, late_priced),
        offsetof(struct ledger_sums, correction_cost)};

    for (size_t i = 0; i < sizeof(details) / sizeof(*details); i++) {
        if (offset == details[i])
            return true;
    }
    return (offset >= offsetof(struct ledger_sums, by_outcome) &&
            offset < offsetof(struct ledger_sums, errors)) ||
           (offset >= offsetof(struct ledger_sums, reported) &&
            offset < offsetof(struct ledger_sums, cost));
}

static bool is_rare(size_t offset)
{
    static const size_t rare[] = {
        offsetof(struct ledger_sums, retries),         offsetof(struct ledger_sums, streams),
        offsetof(struct ledger_sums, repeats),         offsetof(struct ledger_sums, cacheable),
        offsetof(struct ledger_sums, late_priced),     offsetof(struct ledger_sums, error_cost),
        offsetof(struct ledger_sums, repeat_cost),     offsetof(struct ledger_sums, correction_cost),
        offsetof(struct ledger_sums, provider_costs),  offsetof(struct ledger_sums, provider_cost),
        offsetof(struct ledger_sums, bytes_in),        offsetof(struct ledger_sums, bytes_out),
        offsetof(struct ledger_sums, first_byte_max_us)};

    for (size_t i = 0; i < sizeof(rare) / sizeof(*rare); i++) {
        if (offset == rare[i])
            return true;
    }
    return false;
}

static bool is_for_savings(size_t offset)
{
    static const size_t wanted[] = {
        offsetof(struct ledger_sums, requests),    offsetof(struct ledger_sums, corrections),
        offsetof(struct ledger_sums, priced),      offsetof(struct ledger_sums, unpriced),
        offsetof(struct ledger_sums, errors),      offsetof(struct ledger_sums, error_cost),
        offsetof(struct ledger_sums, repeats),     offsetof(struct ledger_sums, repeat_cost),
        offsetof(struct ledger_sums, cacheable),   offsetof(struct ledger_sums, cost),
        offsetof(struct ledger_sums, by_outcome) + OUTCOME_TRUNCATED * sizeof(uint64_t),
        offsetof(struct ledger_sums, tokens) + USAGE_INPUT * sizeof(uint64_t)};

    for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
        if (offset == wanted[i])
            return true;
    }
    return false;
}

static bool is_part_spared(unsigned want, size_t offset)
{
    bool is_tokens = offset >= offsetof(struct ledger_sums, tokens) &&
                     offset < offsetof(struct ledger_sums, cost);
    bool is_transport = offset >= offsetof(struct ledger_sums, latency_us) &&
                        offset <= offsetof(struct ledger_sums, bytes_out);

    if (want & LEDGER_SPARE_UNSAVED && !is_for_savings(offset))
        return true;
    is_transport |= offset == offsetof(struct ledger_sums, provider_costs) ||
                    offset == offsetof(struct ledger_sums, provider_cost);
    if (want & LEDGER_SPARE_FINE && (is_detail(offset) || is_transport) &&
        offset != offsetof(struct ledger_sums, errors) &&
        offset != offsetof(struct ledger_sums, retries) &&
        offset != offsetof(struct ledger_sums, latency_us))
        return true;
    return (is_tokens && want & LEDGER_SPARE_TOKENS) ||
           (want & LEDGER_SPARE_RARE && is_rare(offset)) ||
           (want & LEDGER_SPARE_DETAILS && is_detail(offset)) ||
           (want & LEDGER_SPARE_CEILING &&
            offset == offsetof(struct ledger_sums, cost_ceil_nano)) ||
           (is_transport && want & LEDGER_SPARE_TRANSPORT);
}

static bool is_spared(unsigned want, size_t offset)
{
    if (!want_is_cost_alone(want))
        return is_part_spared(want, offset);
    return offset != offsetof(struct ledger_sums, requests) &&
           offset != offsetof(struct ledger_sums, unpriced) &&
           offset != offsetof(struct ledger_sums, cost);
}

bool row_sums_spares(const struct row_sums *g, size_t offset)
{
    return is_spared(g->want, offset);
}

uint64_t *row_sums_count(struct row_sums *g, size_t offset)
{
    uint64_t **to = &g->count[g->at[offset / sizeof(uint64_t)]];

    if (is_spared(g->want, offset))
        return NULL;
    if (!*to)
        *to = longer(NULL, 0, g->cap, sizeof(**to));
    return *to;
}

money_int *row_sums_amount(struct row_sums *g, size_t offset)
{
    money_int **to = &g->amount[g->at[offset / sizeof(uint64_t)]];

    if (is_spared(g->want, offset))
        return NULL;
    if (!*to)
        *to = longer(NULL, 0, g->cap, sizeof(**to));
    return *to;
}

bool row_sums_extremes(struct row_sums *g, struct row_extremes *out)
{
    struct row_extremes *e = &g->extremes;

    if (g->want & (LEDGER_SPARE_DETAILS | LEDGER_SPARE_RARE | LEDGER_SPARE_UNSAVED))
        return false;
    if (!e->priced) {
        e->priced = longer(NULL, 0, g->cap, sizeof(*e->priced));
        e->least = longer(NULL, 0, g->cap, sizeof(*e->least));
        e->most = longer(NULL, 0, g->cap, sizeof(*e->most));
    }
    *out = *e;
    return true;
}

static void add_extremes(const struct row_extremes *e, size_t row, const struct ledger_sums *some)
{
    if (some->priced == 0)
        return;
    if (e->priced[row] == 0 || some->cost_min.atto < e->least[row])
        e->least[row] = some->cost_min.atto;
    if (e->priced[row] == 0 || some->cost_max.atto > e->most[row])
        e->most[row] = some->cost_max.atto;
    e->priced[row] = row_sums_plus(e->priced[row], some->priced);
}

void row_sums_add(struct row_sums *g, size_t row, const struct ledger_sums *some)
{
    struct row_extremes extremes;
    bool has_extremes = row_sums_extremes(g, &extremes);

    if (has_extremes)
        add_extremes(&extremes, row, some);
    for (size_t k = 0; k < g->n_counts; k++) {
        const struct sums_field *f = &g->count_field[k];
        uint64_t n = *(const uint64_t *)(const void *)((const char *)some + f->offset), *to;

        if (n == 0 || (has_extremes && f->offset == offsetof(struct ledger_sums, priced)))
            continue;
        to = row_sums_count(g, f->offset);
        if (to)
            to[row] = !f->is_most ? row_sums_plus(to[row], n) : n > to[row] ? n : to[row];
    }
    for (size_t k = 0; k < g->n_amounts; k++) {
        size_t offset = g->amount_field[k].offset;
        money_int n = ((const struct money *)(const void *)((const char *)some + offset))->atto;
        money_int *to = n ? row_sums_amount(g, offset) : NULL;

        if (to)
            row_sums_add_money(&to[row], n);
    }
}

const uint64_t *row_sums_got_count(const struct row_sums *g, size_t offset)
{
    return g->count[g->at[offset / sizeof(uint64_t)]];
}

const money_int *row_sums_got_amount(const struct row_sums *g, size_t offset)
{
    return g->amount[g->at[offset / sizeof(uint64_t)]];
}

struct row_extremes row_sums_got_extremes(const struct row_sums *g)
{
    return g->extremes;
}

/* ---- to the rows -------------------------------------------------------------------------- */

static void give_extremes(const struct row_extremes *e, size_t row, struct ledger_sums *s)
{
    if (e->priced[row] == 0)
        return;
    if (s->priced == 0 || e->least[row] < s->cost_min.atto)
        s->cost_min.atto = e->least[row];
    if (s->priced == 0 || e->most[row] > s->cost_max.atto)
        s->cost_max.atto = e->most[row];
    s->priced = row_sums_plus(s->priced, e->priced[row]);
}

/* Places in g of the arrays that are there. */
struct present {
    size_t count[COUNTS_MAX], amount[AMOUNTS_MAX], n_counts, n_amounts;
};

static void find_present(const struct row_sums *g, struct present *out)
{
    out->n_counts = out->n_amounts = 0;
    for (size_t k = 0; k < g->n_counts; k++) {
        if (g->count[k])
            out->count[out->n_counts++] = k;
    }
    for (size_t k = 0; k < g->n_amounts; k++) {
        if (g->amount[k])
            out->amount[out->n_amounts++] = k;
    }
}

static void give_row(const struct row_sums *g, const struct present *is, size_t row,
                     struct ledger_sums *s)
{
    for (size_t i = 0; i < is->n_counts; i++) {
        const struct sums_field *f = &g->count_field[is->count[i]];
        uint64_t *to = (uint64_t *)(void *)((char *)s + f->offset);
        uint64_t n = g->count[is->count[i]][row];

        *to = f->is_most ? (n > *to ? n : *to) : row_sums_plus(*to, n);
    }
    for (size_t i = 0; i < is->n_amounts; i++) {
        struct money *to =
            (struct money *)(void *)((char *)s + g->amount_field[is->amount[i]].offset);

        row_sums_add_money(&to->atto, g->amount[is->amount[i]][row]);
    }
    if (g->extremes.priced)
        give_extremes(&g->extremes, row, s);
}

void row_sums_give(const struct row_sums *g, struct ledger_row *rows, size_t n)
{
    struct present is;

    find_present(g, &is);
    for (size_t row = 0; row < n && row < g->cap; row++)
        give_row(g, &is, row, &rows[row].sums);
}

void row_sums_give_each(const struct row_sums *g, struct ledger_sums *const *to, size_t n)
{
    struct present is;

    find_present(g, &is);
    for (size_t row = 0; row < n && row < g->cap; row++)
        give_row(g, &is, row, to[row]);
}

void row_sums_give_total(const struct row_sums *g, size_t n, struct ledger_sums *total)
{
    struct present is;

    n = n < g->cap ? n : g->cap;
    find_present(g, &is);
    for (size_t i = 0; i < is.n_counts; i++) {
        const struct sums_field *f = &g->count_field[is.count[i]];
        const uint64_t *from = g->count[is.count[i]];
        uint64_t *to = (uint64_t *)(void *)((char *)total + f->offset);

        for (size_t row = 0; row < n; row++)
            *to = !f->is_most       ? row_sums_plus(*to, from[row])
                  : from[row] > *to ? from[row]
                                    : *to;
    }
    for (size_t i = 0; i < is.n_amounts; i++) {
        const struct sums_field *f = &g->amount_field[is.amount[i]];
        struct money *to = (struct money *)(void *)((char *)total + f->offset);

        for (size_t row = 0; row < n; row++)
            row_sums_add_money(&to->atto, g->amount[is.amount[i]][row]);
    }
    for (size_t row = 0; g->extremes.priced && row < n; row++)
        give_extremes(&g->extremes, row, total);
}

/* ---- to others ---------------------------------------------------------------------------- */

static void move_extremes(struct row_sums *g, const struct row_extremes *from, const uint32_t *to,
                          size_t n)
{
    struct row_extremes e;

    if (!row_sums_extremes(g, &e))
        return;
    for (size_t i = 0; i < n; i++) {
        size_t row = to ? to[i] : i;

        if (from->priced[i] == 0)
            continue;
        if (e.priced[row] == 0 || from->least[i] < e.least[row])
            e.least[row] = from->least[i];
        if (e.priced[row] == 0 || from->most[i] > e.most[row])
            e.most[row] = from->most[i];
        e.priced[row] = row_sums_plus(e.priced[row], from->priced[i]);
    }
}

void row_sums_move(struct row_sums *g, const struct row_sums *from, const uint32_t *to, size_t n)
{
    struct present is;

    n = n < from->cap ? n : from->cap;
    find_present(from, &is);
    for (size_t k = 0; k < is.n_counts; k++) {
        const struct sums_field *f = &from->count_field[is.count[k]];
        const uint64_t *v = from->count[is.count[k]];
        uint64_t *out = row_sums_count(g, f->offset);

        for (size_t i = 0; i < n; i++) {
            uint64_t *at = &out[to ? to[i] : i];

            *at = !f->is_most ? row_sums_plus(*at, v[i]) : v[i] > *at ? v[i] : *at;
        }
    }
    for (size_t k = 0; k < is.n_amounts; k++) {
        const money_int *v = from->amount[is.amount[k]];
        money_int *out = row_sums_amount(g, from->amount_field[is.amount[k]].offset);

        for (size_t i = 0; i < n; i++)
            row_sums_add_money(&out[to ? to[i] : i], v[i]);
    }
    if (from->extremes.priced)
        move_extremes(g, &from->extremes, to, n);
}
