/*
 * read_latency.c - how long 19 of 20 requests of a row took at most, by nearest rank.
 *
 * How many requests a row has is known before.  Of few rows the requests of each millisecond are
 * counted in the pass that collects costs.  Of many, each row's part of one array takes their
 * milliseconds, and a rank is found by counting digits; so it is for the few requests that take
 * longer than there are counts.
 */
#include <stdlib.h>

#include "base/xalloc.h"
#include "metering/ledger/read_latency.h"

enum {
    DIGIT_BITS = 11,
    DIGITS = 1 << DIGIT_BITS,
    COUNTED_ROWS_MAX = 64,
    COUNTED_MS = 1 << 16, /* milliseconds that have a count of their own */
};

/* Of a row whose requests are counted. */
struct counted {
    uint32_t *of; /* by millisecond */
    uint64_t n;   /* of all */
    uint32_t *longer; /* milliseconds of those that have no count */
    size_t n_longer, cap_longer;
};

struct latencies {
    size_t n_rows;
    size_t *first; /* by row: its part of ms; first[n_rows] is the end */
    size_t *next;
    uint32_t *ms;
    uint32_t most;
    struct counted *counted; /* by row, the total last; NULL: ms is filled */
};

static void count_rows(struct latencies *l)
{
    l->counted = xcalloc(l->n_rows + 1, sizeof(*l->counted));
    for (size_t i = 0; i <= l->n_rows; i++)
        l->counted[i].of = xcalloc(COUNTED_MS, sizeof(*l->counted[i].of));
}

struct latencies *latencies_new(const struct answer *a)
{
    struct latencies *l;
    size_t n = 0;

    if (a->total.sums.requests > LEDGER_LATENCIES_MAX)
        return NULL;
    l = xcalloc(1, sizeof(*l));
    l->n_rows = a->n_rows;
    l->first = xcalloc(a->n_rows + 1, sizeof(*l->first));
    l->next = xcalloc(a->n_rows + 1, sizeof(*l->next));
    for (size_t i = 0; i < a->n_rows; i++) {
        l->first[i] = l->next[i] = n;
        n += (size_t)a->rows[i].sums.requests;
    }
    l->first[a->n_rows] = n;
    if (a->n_rows <= COUNTED_ROWS_MAX) {
        count_rows(l);
        return l;
    }
    l->ms = xmalloc((n + 1) * sizeof(*l->ms));
    return l;
}

void latencies_free(struct latencies *l)
{
    if (!l)
        return;
    for (size_t i = 0; l->counted && i <= l->n_rows; i++) {
        free(l->counted[i].of);
        free(l->counted[i].longer);
    }
    free(l->counted);
    free(l->first);
    free(l->next);
    free(l->ms);
    free(l);
}

static void add_longer(struct counted *c, const uint32_t *ms, size_t n)
{
    if (c->n_longer + n > c->cap_longer) {
        c->cap_longer = 2 * (c->n_longer + n);
        c->longer = xrealloc(c->longer, c->cap_longer * sizeof(*c->longer));
    }
    for (size_t i = 0; i < n; i++)
        c->longer[c->n_longer++] = ms[i];
}

static inline bool add(struct latencies *l, size_t row, int64_t us)
{
    int64_t whole = us > 0 ? us / 1000 : 0;
    uint32_t ms = whole < UINT32_MAX ? (uint32_t)whole : UINT32_MAX;

    if (l->next[row] == l->first[row + 1])
        return false;
    if (l->counted) {
        struct counted *c = &l->counted[row];

        l->next[row]++;
        c->n++;
        if (ms < COUNTED_MS)
            c->of[ms]++;
        else
            add_longer(c, &ms, 1);
        return true;
    }
    l->ms[l->next[row]++] = ms;
    l->most = ms > l->most ? ms : l->most;
    return true;
}

enum rc latencies_add(struct latencies *l, size_t row, int64_t us, struct fail *fail)
{
    return add(l, row, us) ? RC_OK : read_damaged(fail);
}

enum rc latencies_add_block(struct latencies *l, struct fact_pick *p, struct fail *fail)
{
    const int64_t *attempt = facts_number(&p->facts, FACT_ATTEMPT);
    const int64_t *us = facts_number(&p->facts, FACT_LATENCY);

    for (size_t i = 0; p->facts.rc == RC_OK && i < p->facts.n; i++) {
        if (p->row[i] == PICK_NONE || (attempt && attempt[i] < 0))
            continue;
        if (!add(l, (size_t)p->row[i], us ? us[i] : 0))
            return read_damaged(fail);
    }
    return RC_OK;
}

/* What would stand at place k (from 0; k < n) in order; none is above `most`. */
static uint32_t nth(const uint32_t *ms, size_t n, uint64_t k, uint32_t most)
{
    unsigned shift = 0;
    uint32_t found = 0; /* its digits above the one at hand */

    while (most >> shift >= DIGITS)
        shift += DIGIT_BITS;
    for (;; shift -= DIGIT_BITS) {
        uint64_t count[DIGITS] = {0};
        uint32_t digit = 0;

        for (size_t i = 0; i < n; i++) {
            if ((uint64_t)ms[i] >> (shift + DIGIT_BITS) == found)
                count[ms[i] >> shift & (DIGITS - 1)]++;
        }
        while (k >= count[digit])
            k -= count[digit++];
        found = found << DIGIT_BITS | digit;
        if (shift == 0)
            return found;
    }
}

static uint32_t nth_counted(const struct counted *c, uint64_t k)
{
    for (uint32_t ms = 0; ms < COUNTED_MS; ms++) {
        if (k < c->of[ms])
            return ms;
        k -= c->of[ms];
    }
    return nth(c->longer, c->n_longer, k, UINT32_MAX);
}

static void set_counted(const struct counted *c, struct ledger_row *row)
{
    row->has_latency = c->n > 0;
    if (c->n > 0)
        row->p95_latency_ms = nth_counted(c, (c->n * 95 + 99) / 100 - 1);
}

/* The total is that of all rows. */
static void count_total(struct latencies *l)
{
    struct counted *total = &l->counted[l->n_rows];

    for (size_t i = 0; i < l->n_rows; i++) {
        const struct counted *c = &l->counted[i];

        for (size_t ms = 0; ms < COUNTED_MS; ms++)
            total->of[ms] += c->of[ms];
        total->n += c->n;
        if (c->n_longer)
            add_longer(total, c->longer, c->n_longer);
    }
}

static void set(const struct latencies *l, struct ledger_row *row, size_t first, size_t end)
{
    uint64_t n = end - first;

    row->has_latency = n > 0;
    if (n > 0)
        row->p95_latency_ms = nth(l->ms + first, n, (n * 95 + 99) / 100 - 1, l->most);
}

enum rc latencies_finish(struct latencies *l, struct answer *a, struct fail *fail)
{
    for (size_t i = 0; i < l->n_rows; i++) {
        if (l->next[i] != l->first[i + 1])
            return read_damaged(fail);
        if (l->counted)
            set_counted(&l->counted[i], &a->rows[i]);
        else
            set(l, &a->rows[i], l->first[i], l->first[i + 1]);
    }
    if (l->counted) {
        count_total(l);
        set_counted(&l->counted[l->n_rows], &a->total);
        return RC_OK;
    }
    set(l, &a->total, 0, l->first[l->n_rows]);
    return RC_OK;
}
