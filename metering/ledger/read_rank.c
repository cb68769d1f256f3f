/*
 * read_rank.c - see read_rank.h.
 *
 * Lists say how many requests each bucket has of what rows are told apart by, so that most requests
 * are counted by the run.  Only where customers and more of the combination than the team matter
 * are requests looked at one by one.
 */
#include "metering/ledger/read_rank.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"

_Static_assert((int)PICK_NEW == RANK_ROW_NEW && (int)PICK_NONE == RANK_ROW_NONE, "rows by word");
enum { BUCKETS = 512, CHUNK_BYTES_MAX = RANK_CHUNK_BYTES + RANK_ROW_BYTES_MAX };

/* A run of requests of one bucket and combination. */
struct run {
    uint32_t bucket, combo;
    int64_t end; /* place of the first request behind it */
};

/* The day at hand. */
struct walk {
    struct fact_pick *p;
    enum cube_kind kind;
    const struct cube_place *day;
    struct fact_place place;
    int64_t rows[RANKED_LISTS];  /* or chunks */
    int64_t first[RANKED_LISTS]; /* block */
    bool by_customer, by_combo, by_more; /* more: of the combination than the team */
    int64_t n[FACT_BLOCK];
    struct buf chunk;
    struct run *runs;
    size_t n_runs, cap_runs;
    int64_t bucket[FACT_BLOCK], combo[FACT_BLOCK];
};

static bool is_field(const struct ledger_field *f)
{
    return field_is_of_combo(f) || f->id == FIELD_CUSTOMER;
}

enum rc ranks_can(const struct answer *a, bool *can, struct fail *fail)
{
    const struct ledger_question *q = a->q;

    *can = a->can_use_facts && !q->filter.by_start;
    for (size_t i = 0; *can && i < q->n_by; i++)
        *can = is_field(&q->by[i]);
    for (size_t i = 0; *can && i < q->filter.n_where; i++)
        *can = is_field(&q->filter.where[i].field);
    return *can ? cubes_look(a->reader, fail) : RC_OK;
}

bool ranks_are_quick(const struct answer *a)
{
    const struct ledger_question *q = a->q;
    size_t n_customer = 0;

    for (size_t i = 0; i < q->n_by; i++)
        n_customer += q->by[i].id == FIELD_CUSTOMER;
    for (size_t i = 0; i < q->filter.n_where; i++)
        n_customer += q->filter.where[i].field.id == FIELD_CUSTOMER;
    return a->n_periods == 1 && (n_customer == 0 || n_customer == q->n_by + q->filter.n_where);
}

static bool is_within(const struct answer *a, const struct cube_place *c, int64_t from_us,
                      int64_t to_us)
{
    int64_t day_us = rollup_width_us(LEVEL_DAY);

    return c->day >= rollup_bucket(LEVEL_DAY, from_us) && c->day * day_us >= from_us &&
           c->day < rollup_bucket(LEVEL_DAY, to_us) && cube_is_usable(a, c);
}

bool ranks_any(const struct answer *a, enum cube_kind kind, int64_t from_us, int64_t to_us)
{
    const struct cube_index *x = &a->reader->cubes;

    for (size_t i = 0; i < x->n[kind]; i++) {
        if (is_within(a, &x->days[kind][i], from_us, to_us))
            return true;
    }
    return false;
}

/* ---- a day ------------------------------------------------------------------------------- */

static void damaged(struct walk *w)
{
    w->p->facts.rc = read_damaged(&w->p->facts.fail);
}

static void look_at(struct walk *w, const struct ledger_field *f)
{
    w->by_customer |= f->id == FIELD_CUSTOMER;
    w->by_combo |= f->id != FIELD_CUSTOMER;
    w->by_more |= f->id != FIELD_CUSTOMER && f->id != FIELD_TEAM;
}

static struct walk *walk_new(struct fact_pick *p, enum cube_kind kind)
{
    const struct ledger_question *q = p->answer->q;
    struct walk *w = xcalloc(1, sizeof(*w));

    w->p = p;
    w->kind = kind;
    buf_init(&w->chunk, CHUNK_BYTES_MAX);
    for (size_t i = 0; i < q->n_by; i++)
        look_at(w, &q->by[i]);
    for (size_t i = 0; i < q->filter.n_where; i++)
        look_at(w, &q->filter.where[i].field);
    return w;
}

static void walk_free(struct walk *w)
{
    buf_release(&w->chunk);
    free(w->runs);
    free(w);
}

/* n rows of block `at` (from 0) of a list become the block at hand. */
static void stand_at_rows(struct walk *w, enum cube_list list, int64_t at, size_t n)
{
    int64_t from_us = w->place.first_us;

    w->place = (struct fact_place){.is_cube = true,
                                   .block = w->first[list] + at,
                                   .n = n,
                                   .first_us = from_us,
                                   .last_us = from_us + rollup_width_us(LEVEL_DAY) - 1};
    facts_stand_at(&w->p->facts, &w->place);
}

/* The same of a list that has rows, and no chunks. */
static void stand_at(struct walk *w, enum cube_list list, int64_t at)
{
    int64_t left = w->rows[list] - at * FACT_BLOCK;

    stand_at_rows(w, list, at, (size_t)(left < FACT_BLOCK ? left : FACT_BLOCK));
}

static int64_t blocks_of(const struct walk *w, enum cube_list list)
{
    bool has_rows = list == RANKED_REQUESTS || list == RANKED_COMBOS;

    return has_rows ? cube_blocks(w->rows[list], FACT_BLOCK) : w->rows[list];
}

/* Where its lists are; false where it has none, and after a failure. */
static bool begin_day(struct walk *w, const struct cube_place *day)
{
    struct facts *f = &w->p->facts;
    int64_t rows[FACT_BLOCK], at = day->first;

    w->day = day;
    w->place.first_us = day->day * rollup_width_us(LEVEL_DAY);
    pick_leave_out(w->p, day);
    if (day->n == 0)
        return false;
    w->first[0] = day->first;
    stand_at_rows(w, RANKED_REQUESTS, 0, RANKED_LISTS);
    if (!cube_numbers(f, CUBE_RANKED, rows)) {
        damaged(w);
        return false;
    }
    for (int i = 0; i < RANKED_LISTS; i++) {
        if (rows[i] <= 0 || rows[i] > day->n) {
            damaged(w);
            return false;
        }
        w->rows[i] = rows[i];
        w->first[i] = at;
        at += blocks_of(w, (enum cube_list)i);
    }
    if (at - day->first != cube_blocks(day->n, FACT_BLOCK))
        damaged(w);
    return f->rc == RC_OK;
}

/* Buckets of the block at hand, a list of runs; NULL after a failure. */
static const int64_t *run_buckets(struct walk *w)
{
    struct facts *f = &w->p->facts;
    const int64_t *bucket = facts_number(f, FACT_BUCKET);

    for (size_t i = 0; bucket && i < f->n; i++) {
        if (bucket[i] <= 0 || bucket[i] >= BUCKETS)
            bucket = NULL;
    }
    if (!bucket || !cube_numbers(f, CUBE_RUN, w->n)) {
        damaged(w);
        return NULL;
    }
    return bucket;
}

/* Runs by combination of the day; false after a failure. */
static bool read_runs(struct walk *w)
{
    struct facts *f = &w->p->facts;
    int64_t end = 0;

    w->n_runs = 0;
    for (int64_t at = 0; f->rc == RC_OK && at < blocks_of(w, RANKED_COMBOS); at++) {
        const int64_t *bucket, *combo;

        stand_at(w, RANKED_COMBOS, at);
        bucket = run_buckets(w);
        combo = facts_number(f, FACT_COMBO);
        if (!bucket || !combo) {
            damaged(w);
            return false;
        }
        if (w->n_runs + f->n > w->cap_runs) {
            w->cap_runs = 2 * (w->n_runs + f->n);
            w->runs = xrealloc(w->runs, w->cap_runs * sizeof(*w->runs));
        }
        for (size_t i = 0; i < f->n; i++) {
            if (w->n[i] <= 0 || w->n[i] > w->rows[RANKED_REQUESTS] - end) {
                damaged(w);
                return false;
            }
            end += w->n[i];
            w->runs[w->n_runs++] = (struct run){(uint32_t)bucket[i], (uint32_t)combo[i], end};
        }
    }
    if (end != w->rows[RANKED_REQUESTS])
        damaged(w);
    return f->rc == RC_OK;
}

/* Whether requests of a run are asked for: of their bucket, and of their combination. */
static bool is_asked(const struct walk *w, const struct run *run, const struct rank_buckets *any)
{
    const struct fact_pick *p = w->p;

    if (any && !rank_wants(any, run->bucket))
        return false;
    /* What no class is known of is picked, and found to be damage. */
    return run->combo >= p->n_combos || p->class_of[run->combo] != PICK_NONE;
}

/* Values from place `from` on come to stand at `to`. */
static void move(struct facts *f, unsigned column, size_t to, size_t from, size_t n)
{
    if (column >= FACT_AMOUNT_COLUMN)
        memmove(f->amount[column - FACT_AMOUNT_COLUMN] + to,
                f->amount[column - FACT_AMOUNT_COLUMN] + from, n * sizeof(money_int));
    else
        memmove(f->number[column] + to, f->number[column] + from, n * sizeof(int64_t));
}

/*
 * The block of requests that begins at place `from` becomes the one at hand, without those that are
 * not asked for; *run, the first that it may have of, moves on.  False where none is left.
 */
static bool stand_at_requests(struct walk *w, int64_t from, size_t *run,
                              const struct rank_buckets *any)
{
    struct facts *f = &w->p->facts;
    const unsigned value = w->kind == CUBE_COSTS ? (unsigned)FACT_AMOUNT_COLUMN + FACT_COST
                                                 : (unsigned)FACT_LATENCY;
    bool is_read = false, has_customer = false, has_value = false;
    size_t n = 0, i = 0;

    stand_at(w, RANKED_REQUESTS, from / FACT_BLOCK);
    while (i < f->n && *run < w->n_runs) {
        const struct run *r = &w->runs[*run];
        int64_t left = r->end - from - (int64_t)i;
        size_t take = left < (int64_t)(f->n - i) ? (size_t)left : f->n - i;

        if (is_asked(w, r, any)) {
            if (!is_read) {
                has_customer = w->by_customer && facts_number(f, FACT_CUSTOMER);
                has_value = any && (w->kind == CUBE_COSTS ? facts_amount(f, FACT_COST) != NULL
                                                          : facts_number(f, FACT_LATENCY) != NULL);
                is_read = true;
            }
            if (f->rc != RC_OK)
                return false;
            if (has_customer && n != i)
                move(f, FACT_CUSTOMER, n, i, take);
            if (has_value && n != i)
                move(f, value, n, i, take);
            for (size_t k = 0; k < take; k++) {
                w->bucket[n] = r->bucket;
                w->combo[n++] = r->combo;
            }
        }
        i += take;
        *run += r->end <= from + (int64_t)i;
    }
    f->n = n;
    facts_put_number(f, FACT_BUCKET, w->bucket);
    facts_put_number(f, FACT_COMBO, w->combo);
    return n > 0;
}

/* ---- how many of each bucket -------------------------------------------------------------- */

static void count_combos(struct walk *w, const struct rank_counting *c)
{
    struct fact_pick *p = w->p;

    for (int64_t at = 0; p->facts.rc == RC_OK && at < blocks_of(w, RANKED_COMBOS); at++) {
        const int64_t *bucket;

        stand_at(w, RANKED_COMBOS, at);
        if (!pick_here(p))
            continue;
        bucket = run_buckets(w);
        p->answer->cube_rows += p->n_picked;
        if (bucket && !c->fn(p, bucket, w->n, c->arg))
            damaged(w);
    }
}

/*
 * Whether the chunk may have a team that is asked for: those of one other team are most of a day.
 * *all: every team of it is.
 */
static bool is_asked_for(struct walk *w, int64_t at, bool *all)
{
    const struct fact_pick *p = w->p;
    const int64_t *team;
    bool is_one;

    stand_at_rows(w, RANKED_TEAMS, at, 2);
    team = facts_number(&w->p->facts, FACT_COMBO);
    if (!team)
        damaged(w);
    is_one = team && team[0] == team[1] && team[0] >= 0 && (uint64_t)team[0] < p->n_combos;
    *all = is_one && p->class_of[team[0]] != PICK_NONE;
    return team && (!is_one || *all);
}

/* False where the buckets of n rows are no day's. */
static bool are_buckets(const int64_t *bucket, size_t n)
{
    uint64_t any = 0;

    for (size_t i = 0; i < n; i++)
        any |= (uint64_t)(bucket[i] - 1);
    return any < BUCKETS;
}

static void count_chunk(struct walk *w, enum cube_list list, int64_t at,
                        const struct rank_counting *c)
{
    struct fact_pick *p = w->p;
    struct facts *f = &p->facts;
    struct rank_reading r;
    size_t n;

    rank_read_begin(&r, buf_view(&w->chunk));
    while (f->rc == RC_OK) {
        /* The only conditions that are none of the combination are on customers. */
        const struct pick_field *field = p->n_where ? &p->fields[0] : NULL;
        const struct rank_asked of = {field ? field->known : NULL, field ? field->cap : 0};

        stand_at_rows(w, list, at, FACT_BLOCK);
        if (!rank_read(&r, &of, FACT_BLOCK, facts_room(f, FACT_COMBO), w->bucket,
                       facts_room(f, FACT_CUSTOMER), w->n, &n) ||
            !are_buckets(w->bucket, n)) {
            damaged(w);
            return;
        }
        if (n == 0)
            return;
        w->place.n = f->n = n;
        if (!pick_here(p))
            continue;
        p->answer->cube_rows += p->n_picked;
        if (!c->fn(p, w->bucket, w->n, c->arg))
            damaged(w);
    }
}

/* The row of a customer that is new, noted where rows stand by customer. */
static void learn_row(struct walk *w, enum cube_list list, int64_t at, int64_t customer)
{
    struct fact_pick *p = w->p;

    stand_at_rows(w, list, at, 1);
    facts_room(&p->facts, FACT_CUSTOMER)[0] = customer;
    (void)pick_here(p);
    if (p->facts.rc == RC_OK && ((uint64_t)customer >= p->cap_words ||
                                 p->row_of_word[customer] == PICK_NEW))
        damaged(w);
}

/* The same of a chunk whose rows go by customer alone. */
static void count_chunk_by_word(struct walk *w, enum cube_list list, int64_t at,
                                const struct rank_counting *c)
{
    struct fact_pick *p = w->p;
    struct rank_reading r;
    bool more = true;

    rank_read_begin(&r, buf_view(&w->chunk));
    while (more && p->facts.rc == RC_OK) {
        int64_t customer;
        uint64_t seen = 0;

        if (!rank_read_counts(&r, &c->counts, p->row_of_word, p->cap_words, &more, &customer, &seen))
            damaged(w);
        else if (more)
            learn_row(w, list, at, customer);
        p->answer->cube_rows += seen;
    }
}

static void count_customers(struct walk *w, const struct rank_counting *c)
{
    enum cube_list list = w->by_combo ? RANKED_TEAMS : RANKED_CUSTOMERS;
    struct fact_pick *p = w->p;

    for (int64_t at = 0; p->facts.rc == RC_OK && at < w->rows[list]; at++) {
        bool all = true;

        if (list == RANKED_TEAMS && !is_asked_for(w, at, &all))
            continue;
        stand_at_rows(w, list, at, FACT_BLOCK);
        if (!cube_bytes(&p->facts, CUBE_RUN, &w->chunk))
            damaged(w);
        else if (all && !p->make && c->counts.rows >= p->answer->n_rows && pick_is_by_word(p))
            count_chunk_by_word(w, list, at, c);
        else
            count_chunk(w, list, at, c);
    }
}

static void count_requests(struct walk *w, const struct rank_counting *c)
{
    struct fact_pick *p = w->p;
    size_t run = 0;

    if (!read_runs(w))
        return;
    for (size_t i = 0; i < FACT_BLOCK; i++)
        w->n[i] = 1;
    for (int64_t from = 0; p->facts.rc == RC_OK && from < w->rows[RANKED_REQUESTS];
         from += FACT_BLOCK) {
        if (!stand_at_requests(w, from, &run, NULL) || !pick_here(p))
            continue;
        p->answer->cube_rows += p->n_picked;
        if (!c->fn(p, w->bucket, w->n, c->arg))
            damaged(w);
    }
}

void ranks_count(struct fact_pick *p, enum cube_kind kind, int64_t from_us, int64_t to_us,
                 struct rank_counting *c)
{
    const struct cube_index *x = &p->answer->reader->cubes;
    struct walk *w = walk_new(p, kind);

    for (size_t i = 0; i < x->n[kind] && p->facts.rc == RC_OK; i++) {
        if (!is_within(p->answer, &x->days[kind][i], from_us, to_us) ||
            !begin_day(w, &x->days[kind][i]))
            continue;
        if (c->room)
            c->room(c, (uint64_t)w->rows[RANKED_REQUESTS]);
        if (!w->by_customer)
            count_combos(w, c);
        else if (w->by_more)
            count_requests(w, c);
        else
            count_customers(w, c);
    }
    p->facts.place = NULL;
    walk_free(w);
}

/* ---- those of some buckets ------------------------------------------------------------------ */

void ranks_each_block(struct fact_pick *p, enum cube_kind kind, const struct rank_buckets *any,
                      int64_t from_us, int64_t to_us, rank_block_fn *fn, void *arg)
{
    const struct cube_index *x = &p->answer->reader->cubes;
    struct walk *w = walk_new(p, kind);
    bool goes_on = true;

    for (size_t i = 0; goes_on && i < x->n[kind] && p->facts.rc == RC_OK; i++) {
        size_t run = 0;

        if (!is_within(p->answer, &x->days[kind][i], from_us, to_us) ||
            !begin_day(w, &x->days[kind][i]) || !read_runs(w))
            continue;
        for (int64_t from = 0;
             goes_on && p->facts.rc == RC_OK && from < w->rows[RANKED_REQUESTS];
             from += FACT_BLOCK) {
            if (!stand_at_requests(w, from, &run, any) || !pick_here(p))
                continue;
            p->answer->cube_rows += p->n_picked;
            goes_on = fn(p, arg);
        }
    }
    p->facts.place = NULL;
    walk_free(w);
}
