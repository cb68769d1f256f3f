/*
 * read_task_sums.c - see read_task_sums.h.
 */
#include "metering/ledger/read_task_sums.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"

enum {
    SLOTS_MAX = 1 << 20, /* combinations of values and outcome; more is RC_LIMIT */
    SLOTS_FIRST = 64,
    PLACES_FIRST = 1024,
    EACH_FIRST = 16,
    KEY_BYTES = 64 << 10,
    KEYS = 2 + PIECE_RAWS_MAX, /* class of the combination, outcome, columns */
    OUTCOMES = TASK_ABANDONED + 1,
};
#define TOTALS_BYTES ((size_t)1 << 30)

/* Numbers that a task of a tally is told apart by, and the sums that they lead to. */
struct place {
    int32_t slot; /* plus one; 0: free */
    uint32_t key[KEYS];
};

/* Tasks of a block that are added to the same sums. */
struct run {
    int32_t slot;
    uint32_t first, end; /* in in_order */
};

struct task_totals {
    struct ledger_reader *reader;
    const struct ledger_field *by;
    size_t n_by;
    unsigned want;
    struct arena arena; /* of values */
    struct dict slot_of; /* texts and outcome: place in sums */
    struct ledger_task_sums *sums;
    size_t *cap_each;
    size_t n;
    enum rc rc;
    struct fail fail;

    /* From tallies. */
    int32_t *class_of; /* by place of the combination: first one with the same values */
    unsigned column[LEDGER_GROUP_MAX]; /* of tallies, of fields that are none of it */
    bool has_columns;       /* any such field */
    int32_t *slot_of_class; /* plus one, by class and outcome, where there is none; 0: not yet */
    struct place *places;
    size_t n_places, cap_places;
    /* Of the block at hand: tasks that are told and where each is added, then run by run. */
    uint16_t chosen[TALLY_BLOCK];
    int32_t slot[TALLY_BLOCK];
    size_t n_chosen;
    struct run runs[TALLY_BLOCK];
    size_t n_runs;
    uint16_t in_order[TALLY_BLOCK];
    uint32_t *run_of; /* by place in sums: run of the block plus one */
};

/* ---- sums of values and outcome ---------------------------------------------------------- */

static int32_t no_room(struct task_totals *s)
{
    s->rc = RC_LIMIT;
    s->fail = (struct fail){.rc = RC_LIMIT, .doing = "answer with that many rows"};
    return -1;
}

static int32_t new_slot(struct task_totals *s, const struct strv *value,
                        enum task_outcome outcome)
{
    struct strv *kept = arena_alloc(&s->arena, (s->n_by + 1) * sizeof(*kept));

    for (size_t i = 0; kept && i < s->n_by; i++) {
        kept[i] = arena_strv(&s->arena, value[i]);
        if (!kept[i].p)
            kept = NULL;
    }
    if (!kept || s->n == SLOTS_MAX)
        return no_room(s);
    if (s->n == 0 || (s->n >= SLOTS_FIRST && (s->n & (s->n - 1)) == 0)) {
        size_t cap = s->n ? s->n * 2 : SLOTS_FIRST;

        s->sums = xrealloc_table(s->sums, cap * sizeof(*s->sums));
        s->cap_each = xrealloc_table(s->cap_each, cap * sizeof(*s->cap_each));
        s->run_of = xrealloc_table(s->run_of, cap * sizeof(*s->run_of));
        memset(s->run_of + s->n, 0, (cap - s->n) * sizeof(*s->run_of));
    }
    s->sums[s->n] = (struct ledger_task_sums){.value = kept, .outcome = outcome};
    s->cap_each[s->n] = 0;
    return (int32_t)s->n++;
}

/* Place in sums; negative after a failure. */
static int32_t slot_at(struct task_totals *s, const struct strv *value,
                       enum task_outcome outcome)
{
    const int64_t *known;
    int32_t slot;
    struct buf key;
    enum rc rc;

    buf_init(&key, KEY_BYTES);
    rc = buf_append(&key, (const char *)&outcome, sizeof(outcome));
    for (size_t i = 0; i < s->n_by && rc == RC_OK; i++) {
        rc = buf_append(&key, (const char *)&value[i].n, sizeof(value[i].n));
        if (rc == RC_OK)
            rc = buf_append_strv(&key, value[i]);
    }
    known = rc == RC_OK ? dict_get(&s->slot_of, buf_view(&key)) : NULL;
    slot = rc != RC_OK ? no_room(s) : known ? (int32_t)*known : new_slot(s, value, outcome);
    if (slot >= 0 && !known)
        dict_put(&s->slot_of, buf_view(&key), slot);
    buf_release(&key);
    return slot;
}

static bool is_each(const struct task_totals *s, int32_t slot)
{
    return s->want & LEDGER_TASK_EACH && s->sums[slot].outcome == TASK_COMPLETED;
}

static void room_for_each(struct task_totals *s, int32_t slot, size_t n)
{
    struct ledger_task_sums *to = &s->sums[slot];

    if (s->cap_each[slot] - to->n_each >= n)
        return;
    s->cap_each[slot] = 2 * to->n_each + n + EACH_FIRST;
    to->each = xrealloc_table(to->each, s->cap_each[slot] * sizeof(*to->each));
}

/* There is room. */
static void add_each(struct task_totals *s, int32_t slot, struct money cost)
{
    struct ledger_task_sums *to = &s->sums[slot];

    to->each[to->n_each++] = cost;
}

/* ---- a task --------------------------------------------------------------------------------- */

static void count_task(struct ledger_task_sums *to, const struct ledger_task *task)
{
    to->requests += task->sums.requests;
    to->errors += task->sums.errors;
    to->priced += task->sums.priced;
    to->unpriced += task->sums.unpriced;
    to->superseded += task->superseded;
    to->late += task->late;
    to->retry_cost = ledger_money_add(to->retry_cost, task->retry_cost);
    to->late_cost = ledger_money_add(to->late_cost, task->late_cost);
}

static bool wants_part(const struct task_totals *s, unsigned part)
{
    return s->want & LEDGER_TASK_PARTS || (s->want & LEDGER_TASK_AGAIN && part == PART_SUPERSEDED);
}

static bool on_task(const struct ledger_task *task, void *arg)
{
    struct task_totals *s = arg;
    int32_t slot = slot_at(s, task->value, task->outcome);
    struct ledger_task_sums *to;

    if (slot < 0)
        return false;
    to = &s->sums[slot];
    to->tasks++;
    to->cost = ledger_money_add(to->cost, task->sums.cost);
    if (s->want & LEDGER_TASK_COUNTS)
        count_task(to, task);
    for (unsigned k = 0; k < LEDGER_PARTS; k++) {
        if (!wants_part(s, k))
            continue;
        to->part[k].requests += task->part[k].requests;
        to->part[k].priced += task->part[k].priced;
        to->part[k].cost = ledger_money_add(to->part[k].cost, task->part[k].cost);
    }
    if (is_each(s, slot) && (task->sums.priced > 0 || task->sums.requests == 0)) {
        room_for_each(s, slot, 1);
        add_each(s, slot, task->sums.cost);
    }
    return true;
}

/* ---- tallies: which sums -------------------------------------------------------------------- */

/* Combinations whose values are the same are of one class. */
static enum rc learn_classes(struct task_totals *s)
{
    const struct ledger_reader *r = s->reader;
    struct dict first;
    struct buf key;
    enum rc rc = RC_OK;

    s->class_of = xcalloc_wide(r->n_combos + 1, sizeof(*s->class_of));
    s->slot_of_class = xcalloc_wide((r->n_combos + 1) * OUTCOMES, sizeof(*s->slot_of_class));
    dict_init(&first);
    buf_init(&key, KEY_BYTES);
    for (size_t i = 0; i < r->n_combos && rc == RC_OK; i++) {
        const int64_t *at;

        buf_clear(&key);
        for (size_t k = 0; k < s->n_by && rc == RC_OK; k++) {
            struct strv value;

            if (!field_is_of_combo(&s->by[k]))
                continue;
            value = combo_value(&r->combos[i], s->by[k].id);
            rc = buf_append(&key, (const char *)&value.n, sizeof(value.n));
            if (rc == RC_OK)
                rc = buf_append_strv(&key, value);
        }
        at = dict_get(&first, buf_view(&key));
        s->class_of[i] = at ? (int32_t)*at : (int32_t)i;
        if (!at)
            dict_put(&first, buf_view(&key), (int64_t)i);
    }
    buf_release(&key);
    dict_release(&first);
    return rc;
}

static struct place *place_at(const struct task_totals *s, const uint32_t *key)
{
    uint64_t hash = 0;
    size_t at;

    for (size_t k = 0; k < KEYS; k++)
        hash = (hash ^ key[k]) * UINT64_C(0x9e3779b97f4a7c15);
    at = (size_t)(hash >> 32) & (s->cap_places - 1);
    while (s->places[at].slot && memcmp(s->places[at].key, key, sizeof(s->places[at].key)) != 0)
        at = (at + 1) & (s->cap_places - 1);
    return &s->places[at];
}

static void grow_places(struct task_totals *s)
{
    struct place *old = s->places;
    size_t cap = s->cap_places;

    s->cap_places = cap ? cap * 2 : PLACES_FIRST;
    s->places = xcalloc_wide(s->cap_places, sizeof(*s->places));
    for (size_t i = 0; i < cap; i++) {
        if (old[i].slot)
            *place_at(s, old[i].key) = old[i];
    }
    free(old);
}

/* Of task i of the block at hand; negative after a failure. */
static int32_t slot_of_task(struct task_totals *s, struct fact_tasks *t, size_t i,
                            struct fail *fail)
{
    int64_t id = t->tally.block * TALLY_BLOCK + (int64_t)i;

    s->rc = task_tally_values(t, i, id, fail);
    return s->rc == RC_OK ? slot_at(s, t->g->values, (enum task_outcome)t->outcome[id]) : -1;
}

static int32_t slot_of_class(struct task_totals *s, struct fact_tasks *t, size_t i,
                             int32_t class_of, uint8_t outcome, struct fail *fail)
{
    int32_t *known = &s->slot_of_class[(size_t)class_of * OUTCOMES + outcome];

    if (*known == 0)
        *known = slot_of_task(s, t, i, fail) + 1;
    return *known - 1;
}

static int32_t slot_of_key(struct task_totals *s, struct fact_tasks *t, size_t i,
                           const uint32_t *key, struct fail *fail)
{
    struct place *place;

    if (2 * s->n_places >= s->cap_places)
        grow_places(s);
    place = place_at(s, key);
    if (place->slot == 0) {
        int32_t slot = slot_of_task(s, t, i, fail);

        if (slot < 0)
            return slot;
        memcpy(place->key, key, sizeof(place->key));
        place->slot = slot + 1;
        s->n_places++;
    }
    return place->slot - 1;
}

/* Columns of the block at hand that sums are told apart by. */
struct telling {
    const int64_t *raw[LEDGER_GROUP_MAX]; /* NULL: the task's own number, or zeros */
};

static void key_of(const struct task_totals *s, const struct telling *c, size_t i, int64_t id,
                   uint32_t *key)
{
    size_t n = 2;

    memset(key + n, 0, PIECE_RAWS_MAX * sizeof(*key));
    for (size_t k = 0; k < s->n_by; k++) {
        if (s->column[k] == TALLY_NUMBERS)
            key[n++] = (uint32_t)id;
        else if (s->column[k] < TALLY_NUMBERS)
            key[n++] = c->raw[k] ? (uint32_t)c->raw[k][i] : 0;
    }
}

/* Tasks of the block that are told, and their sums. */
static void choose(struct task_totals *s, struct fact_tasks *t, struct fail *fail)
{
    int64_t low = t->tally.block * TALLY_BLOCK;
    const int64_t *combo = tally_number(&t->tally, TALLY_COMBO);
    struct telling columns = {.raw = {NULL}};
    uint32_t key[KEYS], last[KEYS] = {0};
    int32_t slot = -1;

    s->n_chosen = 0;
    for (size_t k = 0; k < s->n_by; k++) {
        if (s->column[k] < TALLY_NUMBERS)
            columns.raw[k] = tally_number(&t->tally, s->column[k]);
    }
    for (size_t i = 0; i < TALLY_BLOCK && s->rc == RC_OK; i++) {
        int64_t id = low + (int64_t)i, c = combo ? combo[i] : 0;
        int32_t class_of;

        if (!task_is_of(t, id) || (t->mark[id] & MARK_TOLD) != MARK_TOLD)
            continue;
        if (c <= 0 || (uint64_t)c >= t->pieces.n_combos || t->pieces.place_of[c] < 0) {
            s->rc = read_damaged(fail);
            return;
        }
        class_of = s->class_of[t->pieces.place_of[c]];
        if (!s->has_columns) {
            slot = slot_of_class(s, t, i, class_of, t->outcome[id], fail);
        } else {
            key[0] = (uint32_t)class_of;
            key[1] = t->outcome[id];
            key_of(s, &columns, i, id, key);
            if (slot < 0 || memcmp(key, last, sizeof(key)) != 0) {
                slot = slot_of_key(s, t, i, key, fail);
                memcpy(last, key, sizeof(key));
            }
        }
        if (slot < 0)
            return;
        s->chosen[s->n_chosen] = (uint16_t)i;
        s->slot[s->n_chosen++] = slot;
    }
}

/* Brings those of the same sums together. */
static void make_runs(struct task_totals *s)
{
    uint32_t at = 0;

    s->n_runs = 0;
    for (size_t k = 0; k < s->n_chosen; k++) {
        uint32_t *run = &s->run_of[s->slot[k]];

        if (*run == 0) {
            s->runs[s->n_runs] = (struct run){.slot = s->slot[k]};
            *run = (uint32_t)++s->n_runs;
        }
        s->runs[*run - 1].end++; /* how many, until places are given below */
    }
    for (size_t i = 0; i < s->n_runs; i++) {
        uint32_t n = s->runs[i].end;

        s->runs[i].first = s->runs[i].end = at;
        at += n;
    }
    for (size_t k = 0; k < s->n_chosen; k++)
        s->in_order[s->runs[s->run_of[s->slot[k]] - 1].end++] = s->chosen[k];
    for (size_t i = 0; i < s->n_runs; i++)
        s->run_of[s->runs[i].slot] = 0;
}

/* ---- tallies: adding ------------------------------------------------------------------------ */

static void add_count(struct task_totals *s, const int64_t *v, size_t offset)
{
    for (size_t i = 0; v && i < s->n_runs; i++) {
        const struct run *run = &s->runs[i];
        char *to = (char *)&s->sums[run->slot] + offset;
        uint64_t sum = 0;

        for (uint32_t k = run->first; k < run->end; k++)
            sum += (uint64_t)v[s->in_order[k]];
        *(uint64_t *)(void *)to += sum;
    }
}

static void add_amount(struct task_totals *s, const money_int *v, size_t offset)
{
    for (size_t i = 0; v && i < s->n_runs; i++) {
        const struct run *run = &s->runs[i];
        char *to = (char *)&s->sums[run->slot] + offset;
        struct money sum = *(struct money *)(void *)to;

        for (uint32_t k = run->first; k < run->end; k++) {
            const struct money more = {v[s->in_order[k]]};
            money_int both;

            if (__builtin_add_overflow(sum.atto, more.atto, &both))
                sum = ledger_money_add(sum, more);
            else
                sum.atto = both;
        }
        *(struct money *)(void *)to = sum;
    }
}

static void add_parts(struct task_totals *s, struct tally *y)
{
    for (unsigned k = 0; k < LEDGER_PARTS; k++) {
        size_t part = offsetof(struct ledger_task_sums, part) +
                      k * sizeof(struct ledger_part_sum);

        if (!wants_part(s, k))
            continue;
        add_count(s, tally_number(y, TALLY_PART_REQUESTS + k),
                  part + offsetof(struct ledger_part_sum, requests));
        add_count(s, tally_number(y, TALLY_PART_PRICED + k),
                  part + offsetof(struct ledger_part_sum, priced));
        add_amount(s, tally_amount(y, TALLY_PART_COST + k),
                   part + offsetof(struct ledger_part_sum, cost));
    }
}

static void add_costs(struct task_totals *s, struct tally *y)
{
    const int64_t *priced = tally_number(y, TALLY_PRICED);
    const money_int *cost = tally_amount(y, TALLY_COST);

    for (size_t r = 0; priced && r < s->n_runs; r++) {
        const struct run *run = &s->runs[r];

        if (!is_each(s, run->slot))
            continue;
        room_for_each(s, run->slot, run->end - run->first);
        for (uint32_t k = run->first; k < run->end; k++) {
            size_t i = s->in_order[k];

            if (priced[i])
                add_each(s, run->slot, (struct money){cost ? cost[i] : 0});
        }
    }
}

static void add_counts(struct task_totals *s, struct tally *y)
{
    static const struct {
        unsigned column;
        size_t offset;
    } counts[] = {
        {TALLY_REQUESTS, offsetof(struct ledger_task_sums, requests)},
        {TALLY_ERRORS, offsetof(struct ledger_task_sums, errors)},
        {TALLY_PRICED, offsetof(struct ledger_task_sums, priced)},
        {TALLY_UNPRICED, offsetof(struct ledger_task_sums, unpriced)},
        {TALLY_SUPERSEDED, offsetof(struct ledger_task_sums, superseded)},
        {TALLY_LATE, offsetof(struct ledger_task_sums, late)},
    };

    for (size_t c = 0; c < sizeof(counts) / sizeof(*counts); c++)
        add_count(s, tally_number(y, counts[c].column), counts[c].offset);
    add_amount(s, tally_amount(y, TALLY_RETRY), offsetof(struct ledger_task_sums, retry_cost));
    add_amount(s, tally_amount(y, TALLY_LATE_COST),
               offsetof(struct ledger_task_sums, late_cost));
}

/* Parts are told of COHORT_SPEND alone. */
static void add_block(struct task_totals *s, struct tally *y, bool has_parts)
{
    make_runs(s);
    for (size_t i = 0; i < s->n_runs; i++)
        s->sums[s->runs[i].slot].tasks += s->runs[i].end - s->runs[i].first;
    add_amount(s, tally_amount(y, TALLY_COST), offsetof(struct ledger_task_sums, cost));
    if (s->want & LEDGER_TASK_COUNTS)
        add_counts(s, y);
    if (has_parts)
        add_parts(s, y);
    if (s->want & LEDGER_TASK_EACH)
        add_costs(s, y);
}

static bool any_told(const struct fact_tasks *t, int64_t block)
{
    int64_t low = block * TALLY_BLOCK, high = low + TALLY_BLOCK;

    for (int64_t id = low; id < high && id < (int64_t)t->n_tasks; id++) {
        if ((t->mark[id] & MARK_TOLD) == MARK_TOLD)
            return true;
    }
    return false;
}

enum rc totals_add_tallies(struct task_totals *s, struct fact_tasks *t, struct fail *fail)
{
    const struct tally_index *x = &t->g->reader->tallies;

    s->rc = learn_classes(s);
    for (size_t k = 0; k < s->n_by; k++) {
        s->column[k] = tally_column(&s->by[k]);
        s->has_columns |= s->column[k] <= TALLY_NUMBERS;
    }
    for (size_t i = 0; t->has_tallies && s->rc == RC_OK && i < x->n; i++) {
        if (!tally_find(t->g->reader, x->at[i].block) || !any_told(t, x->at[i].block))
            continue;
        tally_stand_at(&t->tally, x->at[i].block);
        choose(s, t, fail);
        if (s->rc == RC_OK)
            add_block(s, &t->tally, t->g->cohort == COHORT_SPEND);
        if (s->rc == RC_OK && t->tally.rc != RC_OK) {
            s->rc = t->tally.rc;
            *fail = t->tally.fail;
        }
    }
    t->tally.block = -1;
    if (s->rc == RC_LIMIT)
        *fail = (struct fail){.rc = RC_LIMIT, .doing = "answer with that many rows"};
    return s->rc;
}

/* ---- the question ----------------------------------------------------------------------- */

static void release(struct task_totals *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->sums[i].each);
    free(s->sums);
    free(s->cap_each);
    free(s->run_of);
    free(s->class_of);
    free(s->slot_of_class);
    free(s->places);
    dict_release(&s->slot_of);
    arena_release(&s->arena);
    free(s);
}

enum rc ledger_read_task_sums(struct ledger_reader *r, const struct ledger_filter *filter,
                              enum ledger_cohort cohort, const struct ledger_field *by,
                              size_t n_by, unsigned want, ledger_task_sums_fn *fn, void *arg,
                              struct fail *fail)
{
    struct task_totals *s = xcalloc(1, sizeof(*s));
    struct task_reading g = {.reader = r,
                             .filter = filter,
                             .cohort = cohort,
                             .by = by,
                             .n_by = n_by,
                             .want = LEDGER_TASK_COSTS,
                             .totals = s,
                             .fn = on_task,
                             .arg = s};
    struct task_reading rest; /* open tasks, where they need a reading of their own */
    enum rc rc;

    s->reader = r;
    s->by = by;
    s->n_by = n_by;
    s->want = want;
    arena_init(&s->arena, TOTALS_BYTES);
    dict_init(&s->slot_of);
    g.with_open = cohort == COHORT_CLOSED && want & LEDGER_TASK_OPEN;
    g.of_retried = cohort == COHORT_SPEND && want & LEDGER_TASK_RETRIED;
    rest = g;
    rest.cohort = COHORT_OPEN;
    rest.with_open = false;
    rc = tasks_read(&g, fail);
    if (rc == RC_OK && s->rc == RC_OK && g.with_open && !g.has_open)
        rc = tasks_read(&rest, fail);
    if (rc == RC_OK && s->rc != RC_OK) {
        rc = s->rc;
        *fail = s->fail;
    }
    for (size_t i = 0; rc == RC_OK && i < s->n; i++) {
        if (!fn(&s->sums[i], arg))
            break;
    }
    release(s);
    return rc;
}
