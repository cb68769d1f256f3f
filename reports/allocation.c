/*
 * allocation.c - see allocation.h.
 */
#include "reports/allocation.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"

enum { SEGMENTS_MAX = 4096 };

const char *allocation_method_name(enum allocation_method method)
{
    static const char *const names[] = {"own", "direct", "proportional", "fixed"};

    return names[method];
}

const char *allocation_driver_name(enum allocation_driver driver)
{
    static const char *const names[] = {"cost", "requests", "tokens", "weight", "teams"};

    return names[driver];
}

/* ---- pools ------------------------------------------------------------------------------- */

static struct strv pool_field(const struct allocation *a, size_t pool, const char *name)
{
    return books_field(&a->pools, BOOKS_POOLS, pool, name);
}

static enum allocation_method method_of(const struct allocation *a, size_t pool)
{
    struct strv name = pool_field(a, pool, "method");

    for (unsigned m = METHOD_DIRECT; m <= METHOD_FIXED; m++) {
        if (strv_eq(name, strv_z(allocation_method_name((enum allocation_method)m))))
            return (enum allocation_method)m;
    }
    return METHOD_FIXED;
}

static enum allocation_driver driver_of(const struct allocation *a, size_t pool)
{
    struct strv name = pool_field(a, pool, "driver");

    switch (method_of(a, pool)) {
    case METHOD_PROPORTIONAL:
        return DRIVER_WEIGHT;
    case METHOD_FIXED:
    case METHOD_OWN:
        return DRIVER_TEAMS;
    case METHOD_DIRECT:
        break;
    }
    for (unsigned d = DRIVER_COST; d <= DRIVER_TOKENS; d++) {
        if (strv_eq(name, strv_z(allocation_driver_name((enum allocation_driver)d))))
            return (enum allocation_driver)d;
    }
    return DRIVER_COST;
}

size_t allocation_pools(const struct allocation *a)
{
    return a->pools.csv.n_rows;
}

static enum rc add_condition(const struct allocation *a, size_t pool, enum ledger_op op,
                             struct ledger_filter *out)
{
    struct strv where = pool_field(a, pool, "where");
    size_t equals = strv_find(where, '=');
    struct ledger_field field;
    struct strv *value;

    if (where.n == 0)
        return RC_OK;
    /* The table outlives the filter; the arena keeps the view. */
    value = arena_alloc((struct arena *)(uintptr_t)&a->arena, sizeof(*value));
    if (!value || !ledger_field_parse(strv_head(where, equals), &field))
        return RC_LIMIT;
    *value = strv_skip(where, equals + 1);
    return ledger_filter_add(out, field, op, value, 1);
}

enum rc allocation_filter(const struct allocation *a, size_t nth, struct ledger_filter *out)
{
    enum rc rc = RC_OK;

    for (size_t i = 0; rc == RC_OK && i < nth && i < allocation_pools(a); i++)
        rc = add_condition(a, i, LEDGER_NE, out);
    if (rc == RC_OK && nth < allocation_pools(a))
        rc = add_condition(a, nth, LEDGER_EQ, out);
    return rc;
}

/* ---- who bears it -------------------------------------------------------------------------- */

struct bearer {
    struct strv team;
    money_int quantity;
};

/* Sums by team of lines in no pool, or in one. */
static enum rc by_team(struct run *run, const struct allocation *a, size_t pool, int64_t from_us,
                       int64_t to_us, struct ledger_rows *rows)
{
    struct ledger_question q = {.n_by = 1, .grain = PERIOD_TOTAL, .zone = run->params->zone};
    enum rc rc;

    ledger_filter_init(&q.filter, from_us, to_us);
    q.by[0] = (struct ledger_field){.id = FIELD_TEAM};
    rc = allocation_filter(a, pool, &q.filter);
    return rc == RC_OK ? ledger_read_sums(run->reader, &q, rows, &run->fail) : rc;
}

static money_int quantity_of(const struct ledger_sums *s, enum allocation_driver driver)
{
    switch (driver) {
    case DRIVER_COST:
        return s->cost.atto > 0 ? s->cost.atto : 0;
    case DRIVER_REQUESTS:
        return (money_int)s->requests;
    case DRIVER_TOKENS:
        return (money_int)s->tokens[USAGE_INPUT] + (money_int)s->tokens[USAGE_OUTPUT];
    case DRIVER_WEIGHT:
    case DRIVER_TEAMS:
        break;
    }
    return 1;
}

/* Teams with requests of their own, by the driver; their number. */
static size_t bearers_of_use(const struct ledger_rows *own, enum allocation_driver driver,
                             struct bearer *out)
{
    size_t n = 0;

    for (size_t i = 0; i < own->n; i++) {
        if (own->at[i].value[0].n)
            out[n++] = (struct bearer){own->at[i].value[0],
                                       quantity_of(&own->at[i].sums, driver)};
    }
    return n;
}

static int by_name(const void *a, const void *b)
{
    return strv_cmp(((const struct bearer *)a)->team, ((const struct bearer *)b)->team);
}

/* The weights of a pool that hold at an instant: of a team the latest begun. */
static size_t bearers_of_weight(const struct run *run, const struct allocation *a,
                                struct strv pool, int64_t at_us, struct bearer *out)
{
    const struct books_table *t = &a->weights;
    size_t n = 0;

    for (size_t r = 0; r < t->csv.n_rows; r++) {
        struct strv to = books_field(t, BOOKS_WEIGHTS, r, "to");
        struct strv team = books_field(t, BOOKS_WEIGHTS, r, "team");
        int64_t from_us, to_us, unused;
        uint64_t weight;

        if (!strv_eq(books_field(t, BOOKS_WEIGHTS, r, "pool"), pool) ||
            !books_when(run->params->zone, books_field(t, BOOKS_WEIGHTS, r, "from"), &from_us,
                        &unused) ||
            from_us > at_us ||
            (to.n && books_when(run->params->zone, to, &to_us, &unused) && to_us <= at_us) ||
            !strv_parse_u64(books_field(t, BOOKS_WEIGHTS, r, "weight"), INT64_MAX, &weight))
            continue;
        /* Rows are in order of pool, team, from: a later one of the same team replaces it. */
        if (n > 0 && strv_eq(out[n - 1].team, team))
            n--;
        out[n++] = (struct bearer){team, (money_int)weight};
    }
    if (n)
        qsort(out, n, sizeof(*out), by_name);
    return n;
}

/* ---- segments of time with the same weights ----------------------------------------------------- */

static int by_time(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* Ends of the segments, the first one's beginning before them; their number. */
static size_t segments_of(const struct run *run, const struct allocation *a, size_t pool,
                          int64_t out[SEGMENTS_MAX + 2])
{
    const struct report_params *p = run->params;
    const struct books_table *t = &a->weights;
    size_t n = 0, kept = 1;

    out[n++] = p->from_us;
    for (size_t r = 0; method_of(a, pool) == METHOD_PROPORTIONAL && r < t->csv.n_rows; r++) {
        static const char *const names[] = {"from", "to"};

        if (!strv_eq(books_field(t, BOOKS_WEIGHTS, r, "pool"), pool_field(a, pool, "pool")))
            continue;
        for (int i = 0; i < 2 && n < SEGMENTS_MAX; i++) {
            int64_t at_us, unused;
            if (books_when(p->zone, books_field(t, BOOKS_WEIGHTS, r, names[i]), &at_us,
                           &unused) &&
                at_us > p->from_us && at_us < p->to_us)
                out[n++] = at_us;
        }
    }
    out[n++] = p->to_us;
    qsort(out, n, sizeof(*out), by_time);
    for (size_t i = 1; i < n; i++) {
        if (out[i] != out[kept - 1])
            out[kept++] = out[i];
    }
    return kept - 1;
}

/* Imported costs of a pool, split over the segments by the time that each has of it. */
static enum rc imported_of(const struct run *run, struct allocation *a, struct strv pool,
                           const int64_t *ends, size_t n, money_int *out)
{
    const struct report_params *p = run->params;
    money_int *weights = xcalloc(n, sizeof(*weights)), *parts = xcalloc(n, sizeof(*parts));
    enum rc rc = RC_OK;

    memset(out, 0, n * sizeof(*out));
    for (size_t r = 0; rc == RC_OK && r < a->costs.csv.n_rows; r++) {
        int64_t from_us, to_us;
        money_int all = 0;
        struct money m;

        if (!strv_eq(books_field(&a->costs, BOOKS_COSTS, r, "pool"), pool) ||
            !books_when(p->zone, books_field(&a->costs, BOOKS_COSTS, r, "date"), &from_us,
                        &to_us))
            continue;
        if (from_us < p->from_us || to_us > p->to_us) {
            a->passed_over += from_us < p->to_us && to_us > p->from_us;
            continue;
        }
        rc = money_parse(books_field(&a->costs, BOOKS_COSTS, r, "amount_usd"), &m);
        for (size_t i = 0; i < n; i++) {
            int64_t low = from_us > ends[i] ? from_us : ends[i];
            int64_t high = to_us < ends[i + 1] ? to_us : ends[i + 1];
            weights[i] = high > low ? high - low : 0;
            all += weights[i];
        }
        share_exactly(weights, n, all, m.atto, parts, NULL);
        for (size_t i = 0; i < n; i++)
            out[i] += parts[i];
    }
    free(weights);
    free(parts);
    return rc;
}

/* ---- rows ------------------------------------------------------------------------------------------ */

static enum rc add(struct allocation *a, const struct allocated *row)
{
    struct allocated *to;

    if (a->n == ALLOCATION_ROWS_MAX)
        return RC_LIMIT;
    if (a->n == a->cap) {
        a->cap = a->cap ? a->cap * 2 : 64;
        a->at = xrealloc(a->at, a->cap * sizeof(*a->at));
    }
    to = &a->at[a->n++];
    *to = *row;
    to->team = arena_strv(&a->arena, row->team);
    a->metered = money_add(a->metered, row->metered);
    a->imported = money_add(a->imported, row->imported);
    return to->team.p ? RC_OK : RC_LIMIT;
}

/* One segment of a pool on its bearers. */
static enum rc share_out(struct allocation *a, const struct allocated *pattern,
                         const struct bearer *bearers, size_t n)
{
    money_int *weights = xcalloc(n + 1, sizeof(*weights)), all = 0;
    money_int *metered = xcalloc(n + 1, sizeof(*metered));
    money_int *imported = xcalloc(n + 1, sizeof(*imported));
    money_int *ratio = xcalloc(n + 1, sizeof(*ratio));
    bool *extra = xcalloc(n + 1, sizeof(*extra));
    enum rc rc = RC_OK;

    for (size_t i = 0; i < n; i++)
        all += weights[i] = bearers[i].quantity;
    if (all <= 0) {
        struct allocated row = *pattern;
        row.is_unallocated = true;
        rc = add(a, &row);
        goto out;
    }
    share_exactly(weights, n, all, pattern->metered.atto, metered, extra);
    share_exactly(weights, n, all, pattern->imported.atto, imported, extra);
    share_exactly(weights, n, all, INT64_C(1000000000000), ratio, NULL);
    for (size_t i = 0; rc == RC_OK && i < n; i++) {
        struct allocated row = *pattern;
        row.team = bearers[i].team;
        row.quantity = weights[i];
        row.ratio = ratio[i];
        row.metered.atto = metered[i];
        row.imported.atto = imported[i];
        row.remainder.atto = extra[i];
        rc = add(a, &row);
    }
out:
    free(weights);
    free(metered);
    free(imported);
    free(ratio);
    free(extra);
    return rc;
}

static enum rc share_segment(struct run *run, struct allocation *a, size_t pool,
                             struct allocated *pattern)
{
    struct ledger_rows own = {0}, shared = {0};
    struct bearer *bearers;
    size_t n;
    enum rc rc = by_team(run, a, allocation_pools(a), pattern->from_us, pattern->to_us, &own);

    if (rc == RC_OK && pool_field(a, pool, "where").n)
        rc = by_team(run, a, pool, pattern->from_us, pattern->to_us, &shared);
    if (rc != RC_OK)
        goto out;
    pattern->metered = shared.total.sums.cost;
    bearers = xcalloc(own.n + a->weights.csv.n_rows + 1, sizeof(*bearers));
    n = pattern->method == METHOD_PROPORTIONAL
            ? bearers_of_weight(run, a, pattern->pool, pattern->from_us, bearers)
            : bearers_of_use(&own, pattern->driver, bearers);
    if (pattern->metered.atto || pattern->imported.atto)
        rc = share_out(a, pattern, bearers, n);
    free(bearers);
out:
    ledger_rows_release(&own);
    ledger_rows_release(&shared);
    return rc;
}

static enum rc share_pool(struct run *run, struct allocation *a, size_t pool)
{
    int64_t *ends = xcalloc(SEGMENTS_MAX + 2, sizeof(*ends));
    size_t n = segments_of(run, a, pool, ends);
    money_int *imported = xcalloc(n, sizeof(*imported));
    struct strv name = pool_field(a, pool, "pool");
    enum rc rc = imported_of(run, a, name, ends, n, imported);

    for (size_t i = 0; rc == RC_OK && i < n; i++) {
        struct allocated pattern = {.pool = name,
                                    .team = STRV(""),
                                    .from_us = ends[i],
                                    .to_us = ends[i + 1],
                                    .method = method_of(a, pool),
                                    .driver = driver_of(a, pool),
                                    .imported = {imported[i]}};
        rc = share_segment(run, a, pool, &pattern);
    }
    free(imported);
    free(ends);
    return rc;
}

/* Costs of a pool that nobody described are no team's. */
static enum rc add_unknown_pools(struct run *run, struct allocation *a)
{
    const struct report_params *p = run->params;
    const struct books_table *t = &a->costs;
    int64_t ends[2] = {p->from_us, p->to_us};
    enum rc rc = RC_OK;

    for (size_t r = 0; rc == RC_OK && r < t->csv.n_rows; r++) {
        struct allocated row = {.pool = books_field(t, BOOKS_COSTS, r, "pool"),
                                .team = STRV(""),
                                .is_unallocated = true,
                                .from_us = p->from_us,
                                .to_us = p->to_us,
                                .method = METHOD_FIXED,
                                .driver = DRIVER_TEAMS};
        bool known = false;

        for (size_t i = 0; i < a->n && !known; i++)
            known = strv_eq(a->at[i].pool, row.pool);
        for (size_t i = 0; i < allocation_pools(a) && !known; i++)
            known = strv_eq(pool_field(a, i, "pool"), row.pool);
        if (known)
            continue;
        rc = imported_of(run, a, row.pool, ends, 1, &row.imported.atto);
        if (rc == RC_OK && row.imported.atto)
            rc = add(a, &row);
    }
    return rc;
}

static enum rc add_own(struct run *run, struct allocation *a)
{
    const struct report_params *p = run->params;
    struct ledger_rows own;
    enum rc rc = by_team(run, a, allocation_pools(a), p->from_us, p->to_us, &own);

    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; rc == RC_OK && i < own.n; i++) {
        const struct allocated row = {.pool = STRV(""),
                                      .team = own.at[i].value[0],
                                      .from_us = p->from_us,
                                      .to_us = p->to_us,
                                      .method = METHOD_OWN,
                                      .quantity = (money_int)own.at[i].sums.requests,
                                      .driver = DRIVER_REQUESTS,
                                      .metered = own.at[i].sums.cost};
        rc = add(a, &row);
    }
    ledger_rows_release(&own);
    return rc;
}

enum rc allocation_make(struct run *run, struct allocation *out)
{
    const char *state_dir = run->sources->state_dir;
    enum rc rc;

    *out = (struct allocation){0};
    arena_init(&out->arena, SHEET_TEXT_MAX_BYTES);
    rc = books_read(state_dir, BOOKS_POOLS, &out->pools, &run->fail);
    if (rc == RC_OK)
        rc = books_read(state_dir, BOOKS_COSTS, &out->costs, &run->fail);
    if (rc == RC_OK)
        rc = books_read(state_dir, BOOKS_WEIGHTS, &out->weights, &run->fail);
    if (rc == RC_OK && allocation_pools(out) > ALLOCATION_POOLS_MAX)
        return run_refuses(run, "pools", "there are more than 24 of them");
    if (rc == RC_OK)
        rc = add_own(run, out);
    for (size_t i = 0; rc == RC_OK && i < allocation_pools(out); i++)
        rc = share_pool(run, out, i);
    return rc == RC_OK ? add_unknown_pools(run, out) : rc;
}

void allocation_release(struct allocation *a)
{
    books_release(&a->pools);
    books_release(&a->costs);
    books_release(&a->weights);
    arena_release(&a->arena);
    free(a->at);
    a->at = NULL;
    a->n = 0;
}
