#include "reports/limit_denied.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "reports/by_value.h"

enum { CLAIMS_BYTES = 1 << 20 };

static const struct {
    const char *name;
    enum dimension dim;
} known[] = {
    {"key", DIM_KEY}, {"team", DIM_TEAM}, {"feature", DIM_FEATURE}, {"environment", DIM_ENVIRONMENT}};

static bool is_known(struct strv name)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        if (strv_eq(name, strv_z(known[i].name)))
            return true;
    }
    return false;
}

bool limit_denied_knows(const struct limit_def *def)
{
    if (def->rolling || def->unit == UNIT_CONCURRENT)
        return false;
    for (size_t i = 0; i < def->n_per; i++) {
        if (!is_known(def->per[i]))
            return false;
    }
    /* Its counters are found by its own rules, which must not ask for more. */
    for (size_t i = 0; def->n_per && i < def->n_match; i++) {
        if (!is_known(def->match[i].name))
            return false;
    }
    return true;
}

/* By the limit's name and the scope. */
struct denied_sum {
    struct valued valued;
    size_t limit;
    uint64_t count;
};

struct reading {
    const struct limit_spent_question *q;
    int64_t *start_us; /* by limit: of its window now; INT64_MAX: not known */
    struct admission *admission;
    struct arena claims;
    struct by_value sums;
    enum rc rc;
};

static void add(struct reading *r, size_t limit, struct strv scope, uint64_t count)
{
    const struct strv value[] = {strv_z(limit_set_at(r->q->set, limit)->name), scope};
    struct denied_sum *sum = by_value_at(&r->sums, value);

    if (!sum) {
        r->rc = RC_LIMIT;
        return;
    }
    sum->limit = limit;
    sum->count += count;
}

static void tell(struct reading *r, size_t limit, const struct ledger_denied *d)
{
    static const struct limit_amounts nothing;
    static const struct uuid id;
    struct admission *a = r->admission;
    struct subject subject = {.n_free = 0};

    if (limit_set_at(r->q->set, limit)->n_per == 0) {
        add(r, limit, STRV(""), d->count);
        return;
    }
    subject.dim[DIM_KEY] = d->key;
    subject.dim[DIM_TEAM] = d->team;
    subject.dim[DIM_FEATURE] = d->feature;
    subject.dim[DIM_ENVIRONMENT] = d->environment;
    memset(a, 0, sizeof(*a));
    arena_reset(&r->claims);
    r->rc = admission_init(a, r->q->set, &subject, &nothing, &id, r->q->now_us, &r->claims);
    for (size_t i = 0; r->rc == RC_OK && i < a->n_claims; i++) {
        if (a->claims[i].limit == limit)
            add(r, limit, a->claims[i].scope, d->count);
    }
}

static bool on_denied(const struct ledger_denied *d, void *arg)
{
    struct reading *r = arg;

    for (size_t i = 0; d->limit.n && i < limit_set_count(r->q->set); i++) {
        if (d->start_us >= r->start_us[i] &&
            strv_eq(d->limit, strv_z(limit_set_at(r->q->set, i)->name))) {
            tell(r, i, d);
            break;
        }
    }
    return r->rc == RC_OK;
}

enum rc limit_denied(const struct limit_spent_question *q, limit_denied_fn *fn, void *arg,
                     struct fail *fail)
{
    size_t n = limit_set_count(q->set);
    struct reading r = {.q = q};
    struct ledger_filter *filter = xcalloc(1, sizeof(*filter));
    int64_t from_us = INT64_MAX;
    enum rc rc = RC_OK;

    arena_init(&r.claims, CLAIMS_BYTES);
    by_value_init(&r.sums, 2, sizeof(struct denied_sum));
    r.admission = xcalloc(1, sizeof(*r.admission));
    r.start_us = xcalloc(n + 1, sizeof(*r.start_us));
    for (size_t i = 0; i < n; i++) {
        const struct limit_def *def = limit_set_at(q->set, i);
        int64_t end_us;

        limit_window_at(def, q->zone, q->now_us, &r.start_us[i], &end_us);
        if (!limit_denied_knows(def))
            r.start_us[i] = INT64_MAX;
        from_us = r.start_us[i] < from_us ? r.start_us[i] : from_us;
    }
    ledger_filter_init(filter, from_us, INT64_MAX);
    if (from_us < INT64_MAX)
        rc = ledger_read_denied(q->reader, filter, on_denied, &r, fail);
    if (rc == RC_OK)
        rc = r.rc;
    for (size_t i = 0; rc == RC_OK && i < r.sums.n; i++) {
        const struct denied_sum *sum = (const struct denied_sum *)r.sums.at[i];

        fn(sum->limit, sum->valued.value[1], sum->count, arg);
    }
    by_value_release(&r.sums);
    arena_release(&r.claims);
    free(r.admission);
    free(r.start_us);
    free(filter);
    return rc;
}
