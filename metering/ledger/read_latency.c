/*
 * read_latency.c - how long 19 of 20 requests of a row took at most, by nearest rank.
 *
 * How many requests a row has is known before.  Of few rows the requests of each millisecond are
 * counted in the pass that collects costs.  Of many, each row's part of one array takes their
 * milliseconds, which are counted row by row in the end.  Among the few requests that take longer
 * than there are counts a rank is found by counting digits.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/ledger/read_latency.h"

enum {
    DIGIT_BITS = 11,
    DIGITS = 1 << DIGIT_BITS,
    FEW = 256,            /* requests of which a rank is found by moving them */
    COUNTED_MS = 1 << 16, /* milliseconds that have a count of their own */
};

/* Of a row whose requests are counted. */
struct counted {
    uint32_t *of; /* by millisecond */
    uint32_t *longer; /* milliseconds of those that have no count */
    size_t n_longer, cap_longer;
};

struct latencies {
    size_t n_rows;
    bool has_corrections; /* some line of the answer is one: it has no time */
    size_t *first; /* by row: its part of ms; first[n_rows] is the end */
    size_t *next;
    uint32_t *ms;
    uint32_t most;
    struct counted *counted; /* by row, the total last; NULL: ms is filled */
};

static void count_rows(struct latencies *l)
{
    l->counted = xcalloc_wide(l->n_rows + 1, sizeof(*l->counted));
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
    l->has_corrections = a->total.sums.corrections > 0;
    l->first = xcalloc_wide(a->n_rows + 1, sizeof(*l->first));
    l->next = xcalloc_wide(a->n_rows + 1, sizeof(*l->next));
    for (size_t i = 0; i < a->n_rows; i++) {
        l->first[i] = l->next[i] = n;
        n += (size_t)a->rows[i].sums.requests;
    }
    l->first[a->n_rows] = n;
    if (a->n_rows <= LATENCY_ROWS_COUNTED) {
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

static inline void add_counted(struct counted *c, uint32_t ms)
{
    if (ms < COUNTED_MS)
        c->of[ms]++;
    else
        add_longer(c, &ms, 1);
}

static inline bool add(struct latencies *l, size_t row, int64_t us)
{
    uint32_t ms = latency_ms(us);

    if (l->counted) {
        add_counted(&l->counted[row], ms);
        return true;
    }
    if (l->next[row] == l->first[row + 1])
        return false;
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
    const int64_t *attempt =
        l->has_corrections ? facts_number(&p->facts, FACT_ATTEMPT) : NULL;
    const int64_t *us = facts_number(&p->facts, FACT_LATENCY);
    size_t n = p->facts.n;

    if (p->facts.rc != RC_OK)
        return RC_OK;
    for (size_t i = 0; l->counted && i < n; i++) {
        if (p->row[i] != PICK_NONE && !(attempt && attempt[i] < 0))
            add_counted(&l->counted[p->row[i]], latency_ms(us ? us[i] : 0));
    }
    for (size_t i = 0; !l->counted && i < n; i++) {
        if (p->row[i] == PICK_NONE || (attempt && attempt[i] < 0))
            continue;
        if (!add(l, (size_t)p->row[i], us ? us[i] : 0))
            return read_damaged(fail);
    }
    return RC_OK;
}

void latencies_take(struct latencies *l, const struct latencies *from)
{
    for (size_t i = 0; i < l->n_rows; i++) {
        const struct counted *c = &from->counted[i];

        for (size_t ms = 0; ms < COUNTED_MS; ms++)
            l->counted[i].of[ms] += c->of[ms];
        if (c->n_longer)
            add_longer(&l->counted[i], c->longer, c->n_longer);
    }
}

/* What would stand at place k (from 0; k < n) in order. */
static uint32_t nth(const uint32_t *ms, size_t n, uint64_t k)
{
    unsigned shift = 0;
    uint32_t found = 0, most = 0; /* found: its digits above the one at hand */

    for (size_t i = 0; i < n; i++)
        most = ms[i] > most ? ms[i] : most;
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
    return nth(c->longer, c->n_longer, k);
}

static uint64_t counted_n(const struct counted *c)
{
    uint64_t n = c->n_longer;

    for (size_t ms = 0; ms < COUNTED_MS; ms++)
        n += c->of[ms];
    return n;
}

static void set_counted(const struct counted *c, uint64_t n, struct ledger_row *row)
{
    row->has_latency = n > 0;
    if (n > 0)
        row->p95_latency_ms = nth_counted(c, (n * 95 + 99) / 100 - 1);
}

/* The total is that of all rows. */
static void count_total(struct latencies *l)
{
    struct counted *total = &l->counted[l->n_rows];

    for (size_t i = 0; i < l->n_rows; i++) {
        const struct counted *c = &l->counted[i];

        for (size_t ms = 0; ms < COUNTED_MS; ms++)
            total->of[ms] += c->of[ms];
        if (c->n_longer)
            add_longer(total, c->longer, c->n_longer);
    }
}

/* As nth of few, which are moved about. */
static uint32_t nth_of_few(uint32_t *ms, size_t n, size_t k)
{
    size_t low = 0, high = n - 1;

    while (low < high) {
        uint32_t middle = ms[low + (high - low) / 2];
        size_t i = low, j = high;

        for (;;) {
            uint32_t was;

            while (ms[i] < middle)
                i++;
            while (ms[j] > middle)
                j--;
            if (i >= j)
                break;
            was = ms[i];
            ms[i++] = ms[j];
            ms[j--] = was;
        }
        if (k <= j)
            high = j;
        else
            low = j + 1;
    }
    return ms[k];
}

uint32_t latency_nth(uint32_t *ms, size_t n, uint64_t k)
{
    return n <= FEW ? nth_of_few(ms, n, (size_t)k) : nth(ms, n, k);
}

/* A row of fewer requests than it takes to go through counts. */
static void set_few(const struct latencies *l, size_t i, struct ledger_row *row,
                    struct counted *total)
{
    uint32_t *ms = l->ms + l->first[i];
    size_t n = l->first[i + 1] - l->first[i], k = (n * 95 + 99) / 100 - 1;

    row->has_latency = n > 0;
    if (n == 0)
        return;
    for (size_t at = 0; at < n; at++)
        add_counted(total, ms[at]);
    row->p95_latency_ms = latency_nth(ms, n, k);
}

/*
 * Of rows whose milliseconds are held: each row's are counted in one array, which is added to
 * the total's and cleared for the next.
 */
static void set_held(const struct latencies *l, struct answer *a)
{
    size_t n_counts = (size_t)l->most + 1;
    struct counted row = {.of = xcalloc(COUNTED_MS, sizeof(*row.of))};
    struct counted total = {.of = xcalloc(COUNTED_MS, sizeof(*total.of))};

    n_counts = n_counts < COUNTED_MS ? n_counts : COUNTED_MS;
    for (size_t i = 0; i < l->n_rows; i++) {
        if ((l->first[i + 1] - l->first[i]) * 8 < n_counts) {
            set_few(l, i, &a->rows[i], &total);
            continue;
        }
        for (size_t k = l->first[i]; k < l->first[i + 1]; k++)
            add_counted(&row, l->ms[k]);
        set_counted(&row, l->first[i + 1] - l->first[i], &a->rows[i]);
        for (size_t ms = 0; ms < n_counts; ms++)
            total.of[ms] += row.of[ms];
        if (row.n_longer)
            add_longer(&total, row.longer, row.n_longer);
        memset(row.of, 0, n_counts * sizeof(*row.of));
        row.n_longer = 0;
    }
    set_counted(&total, l->first[l->n_rows], &a->total);
    free(row.of);
    free(row.longer);
    free(total.of);
    free(total.longer);
}

enum rc latencies_finish(struct latencies *l, struct answer *a, struct fail *fail)
{
    for (size_t i = 0; i < l->n_rows; i++) {
        size_t n = l->first[i + 1] - l->first[i];

        if (l->counted ? counted_n(&l->counted[i]) != n : l->next[i] != l->first[i + 1])
            return read_damaged(fail);
    }
    if (!l->counted) {
        set_held(l, a);
        return RC_OK;
    }
    for (size_t i = 0; i < l->n_rows; i++)
        set_counted(&l->counted[i], l->first[i + 1] - l->first[i], &a->rows[i]);
    count_total(l);
    set_counted(&l->counted[l->n_rows], l->first[l->n_rows], &a->total);
    return RC_OK;
}
