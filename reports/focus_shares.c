/*
 * focus_shares.c - see focus_shares.h.
 */
#include "reports/focus_shares.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/xalloc.h"

enum { SET_BITS = 20, RATIO_ONE_LOG10 = ALLOCATION_RATIO_UNITS_LOG10 };
#define RATIO_ONE INT64_C(1000000000000)
_Static_assert(RATIO_ONE_LOG10 == 12, "a ratio has twelve decimals");
_Static_assert(FOCUS_SETS_MAX < 1 << SET_BITS, "the number of a set fits beside a line's");

struct focus_shares {
    struct allocation allocation; /* owns the names */
    struct focus_set *at;
    size_t n, cap;
    uint64_t *lines; /* seq << SET_BITS | set, in order */
    size_t n_lines, cap_lines;
};

/* ---- sets --------------------------------------------------------------------------------- */

static bool is_of_set(const struct focus_set *s, const struct allocated *row)
{
    return strv_eq(s->pool, row->pool) && s->from_us == row->from_us && s->to_us == row->to_us;
}

static void add_bearer(struct focus_set *s, const struct allocated *row)
{
    struct focus_bearer one = {.team = row->team, .weight = row->quantity, .ratio = row->ratio};

    if (row->is_unallocated)
        one = (struct focus_bearer){.team = STRV_NONE, .weight = 1, .ratio = RATIO_ONE};
    s->at = xrealloc(s->at, (s->n + 1) * sizeof(*s->at));
    s->at[s->n++] = one;
    s->total += one.weight;
}

/* Rows of a set stand together. */
static enum rc make_sets(struct focus_shares *s)
{
    const struct allocation *a = &s->allocation;

    for (size_t i = 0; i < a->n; i++) {
        const struct allocated *row = &a->at[i];

        if (row->method == METHOD_OWN)
            continue;
        if (s->n == 0 || !is_of_set(&s->at[s->n - 1], row)) {
            if (s->n == FOCUS_SETS_MAX)
                return RC_LIMIT;
            if (s->n == s->cap) {
                s->cap = s->cap ? s->cap * 2 : 64;
                s->at = xrealloc(s->at, s->cap * sizeof(*s->at));
            }
            s->at[s->n++] = (struct focus_set){.pool = row->pool,
                                               .from_us = row->from_us,
                                               .to_us = row->to_us,
                                               .method = row->method,
                                               .driver = row->driver};
        }
        add_bearer(&s->at[s->n - 1], row);
    }
    return RC_OK;
}

/* ---- lines -------------------------------------------------------------------------------- */

struct picking {
    struct focus_shares *shares;
    struct strv pool;
    bool is_too_much;
};

static size_t set_at(const struct focus_shares *s, struct strv pool, int64_t end_us)
{
    for (size_t i = 0; i < s->n; i++) {
        if (end_us >= s->at[i].from_us && end_us < s->at[i].to_us &&
            strv_eq(s->at[i].pool, pool))
            return i + 1;
    }
    return 0; /* its pool came to nothing: there is nothing to share */
}

static bool pick_line(uint64_t seq, const struct record *record, void *arg)
{
    struct picking *p = arg;
    struct focus_shares *s = p->shares;
    size_t set = set_at(s, p->pool, record->end_us);

    if (set == 0)
        return true;
    if (s->n_lines == FOCUS_SHARED_LINES_MAX || seq >> (64 - SET_BITS)) {
        p->is_too_much = true;
        return false;
    }
    if (s->n_lines == s->cap_lines) {
        s->cap_lines = s->cap_lines ? s->cap_lines * 2 : 4096;
        s->lines = xrealloc(s->lines, s->cap_lines * sizeof(*s->lines));
    }
    s->lines[s->n_lines++] = seq << SET_BITS | set;
    return true;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static enum rc pick_lines(struct focus_shares *s, struct run *run)
{
    const struct allocation *a = &s->allocation;
    enum rc rc = RC_OK;

    for (size_t i = 0; rc == RC_OK && i < allocation_pools(a); i++) {
        struct picking p = {s, books_field(&a->pools, BOOKS_POOLS, i, "pool"), false};
        struct ledger_filter filter;

        if (books_field(&a->pools, BOOKS_POOLS, i, "where").n == 0)
            continue;
        ledger_filter_init(&filter, run->params->from_us, run->params->to_us);
        rc = allocation_filter(a, i, &filter);
        if (rc == RC_OK)
            rc = ledger_read_lines(run->reader, &filter, LEDGER_OLDEST, 0, 0, pick_line, &p,
                                   &run->fail);
        if (rc == RC_OK && p.is_too_much)
            rc = RC_LIMIT;
    }
    if (s->n_lines)
        qsort(s->lines, s->n_lines, sizeof(*s->lines), by_number);
    return rc;
}

/* ---- for the export ------------------------------------------------------------------------ */

struct focus_shares *focus_shares_make(struct run *run)
{
    struct focus_shares *s = xcalloc(1, sizeof(*s));
    enum rc rc = allocation_make(run, &s->allocation);

    if (rc == RC_OK)
        rc = make_sets(s);
    if (rc == RC_OK)
        rc = pick_lines(s, run);
    if (rc == RC_OK)
        return s;
    if (run->fail.rc == RC_OK && buf_len(run->error) == 0)
        run->fail.rc = buf_printf(run->error, "more shared costs than can be shared out at once: ask "
                                              "for a shorter period");
    focus_shares_free(s);
    return NULL;
}

void focus_shares_free(struct focus_shares *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++)
        free(s->at[i].at);
    free(s->at);
    free(s->lines);
    allocation_release(&s->allocation);
    free(s);
}

size_t focus_shares_of(const struct focus_shares *s, uint64_t seq)
{
    size_t low = 0, high = s->n_lines;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        uint64_t at = s->lines[middle] >> SET_BITS;

        if (at == seq)
            return s->lines[middle] & ((1U << SET_BITS) - 1);
        if (at < seq)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

struct focus_set *focus_shares_set(struct focus_shares *s, size_t number)
{
    ASSERT(number > 0 && number <= s->n);
    return &s->at[number - 1];
}

void focus_set_part(const struct focus_set *set, money_int amount, money_int *parts)
{
    money_int *weights = xcalloc(set->n, sizeof(*weights));

    for (size_t i = 0; i < set->n; i++)
        weights[i] = set->at[i].weight;
    share_exactly(weights, set->n, set->total, amount, parts, NULL);
    free(weights);
}

void focus_set_share(struct focus_set *set, struct money amount, money_int *parts)
{
    set->taken = money_add((struct money){set->taken}, amount).atto;
    focus_set_part(set, set->taken, parts);
    for (size_t i = 0; i < set->n; i++) {
        money_int borne = parts[i];

        parts[i] -= set->at[i].borne;
        set->at[i].borne = borne;
    }
}

const char *focus_set_method(const struct focus_set *set)
{
    static const char *const direct[] = {[DRIVER_COST] = "direct-cost",
                                         [DRIVER_REQUESTS] = "direct-requests",
                                         [DRIVER_TOKENS] = "direct-tokens"};

    if (set->method == METHOD_DIRECT && set->driver <= DRIVER_TOKENS)
        return direct[set->driver];
    return allocation_method_name(set->method);
}

const char *focus_set_unit(const struct focus_set *set)
{
    static const char *const units[] = {[DRIVER_COST] = "USD",
                                        [DRIVER_REQUESTS] = "Requests",
                                        [DRIVER_TOKENS] = "Tokens",
                                        [DRIVER_WEIGHT] = "Weights",
                                        [DRIVER_TEAMS] = "Teams"};

    return units[set->driver];
}
