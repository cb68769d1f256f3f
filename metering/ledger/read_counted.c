/*
 * read_counted.c - of read_held.h: percentiles of few rows of many requests.
 *
 * Several threads (read_crew.h) walk over the columns twice: first they count how many costs of each
 * row each bucket of the histogram has, and times by the millisecond; then they take the costs of the
 * buckets that hold a rank.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/ledger/read_crew.h"
#include "metering/ledger/read_held.h"
#include "metering/ledger/read_latency.h"

enum {
    COSTS = HISTOGRAM_BUCKETS + 1, /* bucket plus one, as in the column; 0: without a cost */
    KEYS_MAX = LATENCY_ROWS_COUNTED * COSTS,
};
_Static_assert(KEYS_MAX <= UINT16_MAX, "a row and a bucket fit a key");

static const unsigned percents[LEDGER_PERCENTILES] = {
    [LEDGER_P50] = 50, [LEDGER_P90] = 90, [LEDGER_P95] = 95, [LEDGER_P99] = 99};

/* Costs that are taken, each with its row and bucket: row times COSTS plus bucket. */
struct taken {
    money_int *cost;
    uint16_t *key;
    size_t n, cap;
};

/* What one thread has. */
struct part {
    struct fact_pick *p;
    struct held_rows rows, by_id; /* by the only field's value, where nothing else matters */
    uint32_t id[FACT_BLOCK];
    uint32_t *costs;    /* by row, then bucket: how many */
    struct latencies *times; /* NULL: not asked for */
    struct taken taken;
    uint64_t n;
};

/* A bucket of a row, or of the total, that holds a rank. */
struct aim {
    uint32_t bucket;
    uint64_t rank; /* within it, from 1; 0: there is none */
};

struct counting {
    struct answer *a;
    struct fact_pick *p; /* the asker's */
    bool has_times, is_second;
    struct crew_pieces pieces;
    struct part *part[CREW_MAX];
    uint32_t *costs;       /* of all parts, the total behind the rows */
    struct latencies *times;
    struct aim *aims;      /* LEDGER_PERCENTILES a row, the total's last */
    unsigned char *wanted; /* by row, then bucket: its own and the total's */
};

/* ---- rows --------------------------------------------------------------------------------- */

/* Whether the rows of the block at hand are told apart by one field's value, and by nothing else. */
static bool is_by_id(const struct fact_pick *p)
{
    return p->is_one_class && p->n_where == 0 && p->n_fields == 1 && p->answer->q->n_by == 1 &&
           p->answer->n_periods == 1 && p->facts.is_inside && p->facts.place->block != 0;
}

static void learn_row(struct part *t, uint32_t id)
{
    struct fact_pick *p = t->p;
    struct strv value;
    enum rc rc = id < READ_TEXTS_MAX ? RC_OK : read_damaged(&p->facts.fail);

    if (rc == RC_OK)
        rc = pick_value(p->facts.reader, &p->fields[0].field, id, &value, &p->facts.fail);
    if (rc != RC_OK) {
        p->facts.rc = rc;
        return;
    }
    held_rows_grow(&t->by_id, (size_t)id + 1);
    t->by_id.of[id] = (int32_t)answer_find_row(p->answer, &value, 0);
}

static void pick_by_id(struct part *t)
{
    struct fact_pick *p = t->p;
    uint64_t n = 0;

    if (!facts_ids(&p->facts, p->fields[0].column, t->id))
        return;
    for (size_t i = 0; i < p->facts.n; i++) {
        uint32_t id = t->id[i];

        if (id >= t->by_id.cap || t->by_id.of[id] == PICK_NEW)
            learn_row(t, id);
        if (p->facts.rc != RC_OK)
            return;
        p->row[i] = t->by_id.of[id];
        n += p->row[i] != PICK_NONE;
    }
    t->n += n;
}

/* False at the end, and after a failure. */
static bool next_block(struct part *t)
{
    struct fact_pick *p = t->p;

    while (facts_next(&p->facts)) {
        if (is_by_id(p)) {
            pick_by_id(t);
            return p->facts.rc == RC_OK;
        }
        if (pick_here(p)) {
            t->n += held_rows_find(&t->rows, p);
            return p->facts.rc == RC_OK;
        }
    }
    return false;
}

/* ---- of a block ------------------------------------------------------------------------------- */

static void damaged(struct fact_pick *p)
{
    p->facts.rc = read_damaged(&p->facts.fail);
}

static void count_costs(struct part *t)
{
    struct fact_pick *p = t->p;
    const int64_t *bucket = facts_number(&p->facts, FACT_BUCKET);

    for (size_t i = 0; bucket && i < p->facts.n; i++) {
        if (p->row[i] == PICK_NONE)
            continue;
        if ((uint64_t)bucket[i] >= COSTS) {
            damaged(p);
            return;
        }
        t->costs[(size_t)p->row[i] * COSTS + (size_t)bucket[i]]++;
    }
}

static void keep(struct part *t, const money_int *cost, const uint16_t *key, size_t n)
{
    struct taken *v = &t->taken;

    if (n > t->p->answer->reader->counted_max - v->n) { /* more than were counted */
        damaged(t->p);
        return;
    }
    if (v->n + n > v->cap) {
        v->cap = 2 * (v->n + n);
        v->cost = xrealloc(v->cost, v->cap * sizeof(*v->cost));
        v->key = xrealloc(v->key, v->cap * sizeof(*v->key));
    }
    memcpy(v->cost + v->n, cost, n * sizeof(*cost));
    memcpy(v->key + v->n, key, n * sizeof(*key));
    v->n += n;
}

static void take_costs(const struct counting *c, struct part *t)
{
    struct fact_pick *p = t->p;
    const int64_t *bucket = facts_number(&p->facts, FACT_BUCKET);
    uint16_t at[FACT_BLOCK] = {0}, key[FACT_BLOCK];
    money_int cost[FACT_BLOCK];
    size_t n = 0;

    for (size_t i = 0; bucket && i < p->facts.n; i++) {
        bool is = p->row[i] != PICK_NONE && (uint64_t)bucket[i] < COSTS;
        size_t k = is ? (size_t)p->row[i] * COSTS + (size_t)bucket[i] : 0;

        at[n] = (uint16_t)i;
        key[n] = (uint16_t)k;
        n += c->wanted[k]; /* nobody wants what is without a cost */
    }
    if (n == 0)
        return;
    facts_pick_amount(&p->facts, FACT_COST, at, n, cost);
    if (p->facts.rc == RC_OK)
        keep(t, cost, key, n);
}

static void add_blocks(const struct counting *c, struct part *t)
{
    struct fact_pick *p = t->p;

    while (next_block(t)) {
        if (c->is_second)
            take_costs(c, t);
        else
            count_costs(t);
        if (t->times && p->facts.rc == RC_OK)
            p->facts.rc = latencies_add_block(t->times, p, &p->facts.fail);
    }
}

/* ---- a walk ----------------------------------------------------------------------------------- */

static struct part *part_new(const struct counting *c, struct fact_pick *p)
{
    struct part *t = xcalloc(1, sizeof(*t));

    t->p = p;
    if (!c->is_second)
        t->costs = xcalloc_wide((c->a->n_rows + 1) * COSTS, sizeof(*t->costs));
    if (!c->is_second && c->has_times)
        t->times = latencies_new(c->a);
    return t;
}

/* The pick is the asker's for member 0. */
static void part_free(struct part *t, bool is_askers)
{
    if (!t)
        return;
    if (!is_askers)
        pick_close(t->p);
    free(t->rows.of);
    free(t->by_id.of);
    free(t->costs);
    latencies_free(t->times);
    free(t->taken.cost);
    free(t->taken.key);
    free(t);
}

static void release(struct counting *c)
{
    for (size_t i = 0; i < CREW_MAX; i++) {
        part_free(c->part[i], i == 0);
        c->part[i] = NULL;
    }
}

static void walk_as(struct ledger_reader *r, size_t member, void *arg)
{
    struct counting *c = arg;
    struct part *t = part_new(c, member == 0 ? c->p : pick_beside(c->p, r));

    c->part[member] = t;
    facts_take_from(&t->p->facts, &c->pieces);
    add_blocks(c, t);
    if (member > 0)
        return;
    facts_go_to(&t->p->facts, facts_stored(r));
    add_blocks(c, t);
}

static bool is_whole(const struct counting *c)
{
    bool whole = true;

    for (size_t i = 0; i < CREW_MAX; i++)
        whole &= !c->part[i] || c->part[i]->p->facts.rc == RC_OK;
    return whole;
}

static enum rc walk(struct counting *c, int64_t from_us, int64_t to_us, struct fail *fail)
{
    struct ledger_reader *r = c->a->reader;
    size_t members;

    c->p = pick_open(c->a, from_us, to_us, false, fail);
    if (!c->p)
        return fail->rc;
    c->p->spares_combo = c->p->by_number = true;
    members = crew_size(r, facts_within(&c->p->facts));
    if (members > 1) {
        crew_cut(&c->pieces, facts_stored(r), members);
        crew_run(r, members, walk_as, c);
    }
    if (members == 1 || !is_whole(c)) { /* as if there had been no other */
        release(c);
        c->p->facts.rc = RC_OK;
        facts_go_to(&c->p->facts, 0);
        c->part[0] = part_new(c, c->p);
        add_blocks(c, c->part[0]);
    }
    for (size_t i = 0; i < CREW_MAX; i++)
        c->a->fact_rows += c->part[i] ? c->part[i]->n : 0;
    return pick_finish(c->p, RC_OK, fail);
}

/* ---- which bucket each rank is in ------------------------------------------------------------- */

static void add_up(struct counting *c)
{
    size_t n = c->a->n_rows;

    c->costs = xcalloc_wide((n + 1) * COSTS, sizeof(*c->costs));
    c->times = c->has_times ? latencies_new(c->a) : NULL;
    for (size_t i = 0; i < CREW_MAX; i++) {
        const struct part *t = c->part[i];

        for (size_t k = 0; t && k < n * COSTS; k++)
            c->costs[k] += t->costs[k];
        if (t && c->times)
            latencies_take(c->times, t->times);
    }
    for (size_t k = 0; k < n * COSTS; k++)
        c->costs[n * COSTS + k % COSTS] += c->costs[k];
    release(c);
}

static void aim_at(const uint32_t *count, uint64_t n, unsigned percent, struct aim *out)
{
    uint64_t rank = n / 100 * percent + (n % 100 * percent + 99) / 100;

    *out = (struct aim){.bucket = 1};
    if (rank == 0)
        return;
    while (rank > count[out->bucket])
        rank -= count[out->bucket++];
    out->rank = rank;
}

/* Of a row, or the total; RC_BAD where its sums say another number of costs. */
static enum rc aim_row(struct counting *c, size_t i, struct fail *fail)
{
    const struct ledger_sums *s = i < c->a->n_rows ? &c->a->rows[i].sums : &c->a->total.sums;
    const uint32_t *costs = c->costs + i * COSTS;
    uint64_t n = 0;

    for (size_t b = 1; b < COSTS; b++)
        n += costs[b];
    if (n != s->priced)
        return read_damaged(fail);
    for (unsigned p = 0; p < LEDGER_PERCENTILES; p++)
        aim_at(costs, n, percents[p], &c->aims[i * LEDGER_PERCENTILES + p]);
    return RC_OK;
}

/* Row `to` wants what `of` aims at. */
static void want(struct counting *c, size_t to, const struct aim *of)
{
    for (unsigned p = 0; p < LEDGER_PERCENTILES; p++) {
        if (of[p].rank)
            c->wanted[to * COSTS + of[p].bucket] = 1;
    }
}

static enum rc aim_all(struct counting *c, struct fail *fail)
{
    size_t n = c->a->n_rows, all = c->a->n_rest ? n : n + 1;
    enum rc rc = RC_OK;

    add_up(c);
    c->aims = xcalloc_wide((n + 1) * LEDGER_PERCENTILES, sizeof(*c->aims));
    c->wanted = xcalloc_wide(n + 1, COSTS);
    for (size_t i = 0; i < all && rc == RC_OK; i++)
        rc = aim_row(c, i, fail);
    for (size_t i = 0; i < n; i++) {
        want(c, i, c->aims + i * LEDGER_PERCENTILES);
        want(c, i, c->aims + n * LEDGER_PERCENTILES);
    }
    return rc;
}

/* Whether the second walk takes no more than may be held. */
static bool is_within_max(const struct counting *c)
{
    uint64_t costs = 0;

    for (size_t k = 0; k < c->a->n_rows * COSTS; k++)
        costs += c->wanted[k] ? c->costs[k] : 0;
    return costs <= c->a->reader->counted_max;
}

/* ---- the values -------------------------------------------------------------------------------- */

/* Costs of the buckets that are aimed at, each bucket's together. */
struct slots {
    size_t *first; /* by row, then bucket, the total last: plus one; 0: nobody aims at it */
    size_t *next;
    struct money *at;
};

static void make_slots(const struct counting *c, struct slots *s)
{
    size_t n = c->a->n_rows + 1, room = 0;

    s->first = xcalloc_wide(n * COSTS, sizeof(*s->first));
    s->next = xcalloc_wide(n * COSTS, sizeof(*s->next));
    for (size_t i = 0; i < n * LEDGER_PERCENTILES; i++) {
        size_t key = i / LEDGER_PERCENTILES * COSTS + c->aims[i].bucket;

        if (c->aims[i].rank == 0 || s->first[key])
            continue;
        s->first[key] = room + 1;
        s->next[key] = room;
        room += c->costs[key];
    }
    s->at = xmalloc((room + 1) * sizeof(*s->at));
}

static void slots_release(struct slots *s)
{
    free(s->first);
    free(s->next);
    free(s->at);
}

/* False where there are more than were counted. */
static inline bool put(struct slots *s, size_t key, uint32_t count, money_int cost)
{
    if (!s->first[key])
        return true;
    if (s->next[key] == s->first[key] - 1 + count)
        return false;
    s->at[s->next[key]++].atto = cost;
    return true;
}

static bool put_all(const struct counting *c, struct slots *s, const struct taken *v)
{
    size_t total = c->a->n_rows * COSTS;
    bool fits = true;

    for (size_t k = 0; k < v->n && fits; k++) {
        size_t key = v->key[k], of_all = total + key % COSTS;

        fits = put(s, key, c->costs[key], v->cost[k]) &&
               put(s, of_all, c->costs[of_all], v->cost[k]);
    }
    return fits;
}

static enum rc choose_row(const struct counting *c, struct slots *s, size_t i,
                          struct ledger_row *row, struct fail *fail)
{
    for (unsigned p = 0; p < LEDGER_PERCENTILES; p++) {
        const struct aim *aim = &c->aims[i * LEDGER_PERCENTILES + p];
        size_t key = i * COSTS + aim->bucket, first;

        if (aim->rank == 0)
            continue;
        first = s->first[key] - 1;
        if (s->next[key] != first + c->costs[key])
            return read_damaged(fail);
        row->percentile[p] =
            ledger_money_nth(s->at + first, c->costs[key], (size_t)aim->rank - 1);
    }
    return RC_OK;
}

static enum rc choose_all(const struct counting *c, struct fail *fail)
{
    struct answer *a = c->a;
    struct slots s = {0};
    enum rc rc = RC_OK;

    make_slots(c, &s);
    for (size_t i = 0; i < CREW_MAX && rc == RC_OK; i++) {
        if (c->part[i] && !put_all(c, &s, &c->part[i]->taken))
            rc = read_damaged(fail);
    }
    for (size_t i = 0; i <= a->n_rows && rc == RC_OK; i++)
        rc = choose_row(c, &s, i, i < a->n_rows ? &a->rows[i] : &a->total, fail);
    slots_release(&s);
    return rc == RC_OK && c->times ? latencies_finish(c->times, a, fail) : rc;
}

bool answer_can_count(const struct answer *a)
{
    return a->n_rows <= LATENCY_ROWS_COUNTED && a->total.sums.requests <= LEDGER_LATENCIES_MAX &&
           a->total.sums.corrections <= LEDGER_LATENCIES_MAX;
}

enum rc answer_counted_percentiles(struct answer *a, int64_t from_us, int64_t to_us, bool *done,
                                   struct fail *fail)
{
    struct counting c = {.a = a, .has_times = a->q->want & LEDGER_WANT_LATENCY};
    enum rc rc = read_kept(a->reader, &a->q->filter, from_us, to_us, fail);

    if (rc == RC_OK)
        rc = walk(&c, from_us, to_us, fail);
    if (rc == RC_OK)
        rc = aim_all(&c, fail);
    release(&c);
    c.is_second = true;
    *done = rc == RC_OK && is_within_max(&c);
    if (*done)
        rc = walk(&c, from_us, to_us, fail);
    if (*done && rc == RC_OK)
        rc = choose_all(&c, fail);
    release(&c);
    latencies_free(c.times);
    free(c.costs);
    free(c.aims);
    free(c.wanted);
    return rc;
}
