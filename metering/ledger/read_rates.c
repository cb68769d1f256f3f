/*
 * read_rates.c - what was charged at which rate, from columns (fact.h), by several threads
 * (read_crew.h).
 *
 * Each thread has sums of its own by group, meter and price of a unit, and a list of requests that
 * columns do not tell: their records are read by the asker, one by one.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "metering/ledger/read_crew.h"
#include "metering/ledger/read_fact_pick.h"

__extension__ typedef unsigned __int128 money_bits;

enum {
    SLOTS_FIRST = 256,
    OTHERS_FIRST = 256,
    NO_METER = METER_COUNT, /* requests without a line */
    KINDS = 2 * (METER_COUNT + 1), /* a meter or none, of requests or of corrections */
};

/* Sums of one group, kind and unit. Quantities are below 2^63 each, so they do not wrap. */
struct slot {
    bool is_used;
    uint32_t group;
    unsigned kind;
    money_int unit;
    uint64_t requests;
    money_bits quantity;
};

struct part {
    struct fact_pick *p;
    struct slot *slots;
    size_t n, cap;
    uint32_t *near; /* by group and kind: slot of these that was found last, plus one */
    size_t cap_near;
    int64_t *others; /* numbers of records */
    size_t n_others;
    unsigned char has_line[FACT_BLOCK];
    /* Of each that columns tell: its group's kinds begin there, a correction's one further. */
    int64_t near_of[FACT_BLOCK]; /* PICK_NONE: it is not of the question, or in no column */
};

struct rates {
    struct answer a;
    struct ledger_question q;
    struct crew_pieces pieces;
    struct part *part[CREW_MAX];
};

/* ---- sums of a part ----------------------------------------------------------------------- */

static size_t find(const struct part *t, uint32_t group, unsigned kind, money_int unit)
{
    uint64_t h = ((uint64_t)group << 8 | kind) * UINT64_C(0x9e3779b97f4a7c15);
    size_t at;

    h = (h ^ (uint64_t)unit ^ (uint64_t)((money_bits)unit >> 64)) * UINT64_C(0xd6e8feb86659fd93);
    at = (size_t)(h >> 32) & (t->cap - 1);
    while (t->slots[at].is_used &&
           (t->slots[at].group != group || t->slots[at].kind != kind || t->slots[at].unit != unit))
        at = (at + 1) & (t->cap - 1);
    return at;
}

static void grow(struct part *t)
{
    struct slot *old = t->slots;
    size_t cap = t->cap;

    t->cap = cap ? cap * 2 : SLOTS_FIRST;
    t->slots = xcalloc_wide(t->cap, sizeof(*t->slots));
    for (size_t i = 0; i < cap; i++) {
        if (old[i].is_used)
            t->slots[find(t, old[i].group, old[i].kind, old[i].unit)] = old[i];
    }
    free(old);
    memset(t->near, 0, t->cap_near * sizeof(*t->near));
}

static struct slot *slot_at(struct part *t, uint32_t group, unsigned kind, money_int unit)
{
    struct slot *s;

    if (2 * (t->n + 1) > t->cap)
        grow(t);
    s = &t->slots[find(t, group, kind, unit)];
    if (!s->is_used) {
        *s = (struct slot){.is_used = true, .group = group, .kind = kind, .unit = unit};
        t->n++;
    }
    return s;
}

static void make_room(struct part *t)
{
    size_t n = pick_numbers(t->p) * KINDS;

    if (n > t->cap_near) {
        t->near = xrealloc(t->near, n * sizeof(*t->near));
        memset(t->near + t->cap_near, 0, (n - t->cap_near) * sizeof(*t->near));
        t->cap_near = n;
    }
    if (t->cap == 0)
        grow(t);
}

/*
 * The slot of a place in near.  A group has one rate of a meter as a rule: that of the one before
 * it.
 */
static inline struct slot *near_slot(struct part *t, size_t place, money_int unit)
{
    uint32_t near = t->near[place];
    struct slot *s = near ? &t->slots[near - 1] : NULL;

    if (s && s->unit == unit)
        return s;
    s = slot_at(t, (uint32_t)(place / KINDS), (unsigned)(place % KINDS), unit);
    t->near[place] = (uint32_t)(s - t->slots) + 1;
    return s;
}

static void add_meter(struct part *t, enum meter m)
{
    struct facts *f = &t->p->facts;
    const int64_t *quantity = facts_quantity(f, m);
    const money_int *unit = facts_unit(f, m);

    for (size_t i = 0; quantity && f->rc == RC_OK && i < f->n; i++) {
        struct slot *s;

        if (t->near_of[i] == PICK_NONE || quantity[i] == 0)
            continue;
        t->has_line[i] = 1;
        s = near_slot(t, (size_t)t->near_of[i] + 2 * m, unit ? unit[i] : 0);
        s->requests++;
        s->quantity += (uint64_t)quantity[i];
    }
}

static void add_other(struct part *t, int64_t seq)
{
    if (t->n_others >= OTHERS_FIRST ? (t->n_others & (t->n_others - 1)) == 0 : t->n_others == 0) {
        size_t cap = t->n_others ? 2 * t->n_others : OTHERS_FIRST;

        t->others = xrealloc(t->others, cap * sizeof(*t->others));
    }
    t->others[t->n_others++] = seq;
}

static void add_block(struct part *t)
{
    struct fact_pick *p = t->p;
    struct facts *f = &p->facts;
    const int64_t *charge = facts_number(f, FACT_CHARGE), *attempt = facts_number(f, FACT_ATTEMPT);
    const int64_t *seq = facts_number(f, FACT_SEQ);
    uint64_t meters = f->rc == RC_OK ? facts_meters(f) : 0;

    make_room(t);
    memset(t->has_line, 0, f->n);
    for (size_t i = 0; i < f->n; i++) {
        bool is_told = charge && charge[i] == FACT_CHARGE_TOLD;

        t->near_of[i] = p->row[i] == PICK_NONE || !is_told
                            ? PICK_NONE
                            : (int64_t)p->row[i] * KINDS + (attempt && attempt[i] < 0);
    }
    for (; meters && f->rc == RC_OK; meters &= meters - 1)
        add_meter(t, (enum meter)__builtin_ctzll(meters));
    for (size_t i = 0; i < f->n && f->rc == RC_OK; i++) {
        if (p->row[i] == PICK_NONE || t->has_line[i])
            continue;
        if (t->near_of[i] != PICK_NONE)
            near_slot(t, (size_t)t->near_of[i] + 2 * NO_METER, 0)->requests++;
        else
            add_other(t, (seq ? seq[i] : 0) + (int64_t)i);
    }
}

static void add_blocks(struct part *t)
{
    while (t->p->facts.rc == RC_OK && pick_next(t->p))
        add_block(t);
}

static void part_free(struct part *t)
{
    if (!t)
        return;
    free(t->slots);
    free(t->near);
    free(t->others);
    free(t);
}

/* ---- a walk --------------------------------------------------------------------------------- */

static void walk_as(struct ledger_reader *r, size_t member, void *arg)
{
    struct rates *w = arg;
    struct part *t = w->part[member];

    if (member > 0)
        t->p = pick_beside(w->part[0]->p, r);
    facts_take_from(&t->p->facts, &w->pieces);
    add_blocks(t);
    if (member > 0)
        return;
    facts_go_to(&t->p->facts, facts_stored(r));
    add_blocks(t);
}

static void others_release(struct rates *w)
{
    for (size_t i = 1; i < CREW_MAX; i++) {
        if (w->part[i] && w->part[i]->p)
            pick_close(w->part[i]->p);
        part_free(w->part[i]);
        w->part[i] = NULL;
    }
}

static bool is_whole(const struct rates *w, size_t members)
{
    for (size_t i = 0; i < members; i++) {
        if (w->part[i]->p && w->part[i]->p->facts.rc != RC_OK)
            return false;
    }
    return true;
}

static void walk(struct rates *w, struct fact_pick *p)
{
    struct ledger_reader *r = w->a.reader;
    size_t members = crew_size(r, facts_within(&p->facts));

    p->by_number = true;
    for (size_t i = 0; i < members; i++)
        w->part[i] = xcalloc(1, sizeof(*w->part[i]));
    w->part[0]->p = p;
    if (members > 1) {
        crew_cut(&w->pieces, facts_stored(r), members);
        crew_run(r, members, walk_as, w);
    }
    if (members > 1 && is_whole(w, members))
        return;
    others_release(w);
    part_free(w->part[0]);
    w->part[0] = xcalloc(1, sizeof(*w->part[0]));
    w->part[0]->p = p;
    p->facts.rc = RC_OK;
    facts_go_to(&p->facts, 0);
    add_blocks(w->part[0]);
}

/* ---- telling -------------------------------------------------------------------------------- */

static enum rc tell_slot(struct part *t, const struct slot *s, ledger_rate_fn *fn, void *arg,
                         bool *more, struct fail *fail)
{
    struct strv values[LEDGER_GROUP_MAX];
    unsigned meter = s->kind / 2;
    struct ledger_rate rate = {.value = values,
                               .is_correction = s->kind & 1,
                               .has_meter = meter != NO_METER,
                               .requests = s->requests,
                               .quantity = s->quantity > UINT64_MAX ? UINT64_MAX
                                                                    : (uint64_t)s->quantity};
    uint32_t group;
    int64_t period;
    enum rc rc;

    pick_group(t->p, s->group, &group, &period);
    rc = pick_group_values(t->p, group, values, fail);
    if (rc != RC_OK)
        return rc;
    if (rate.has_meter) {
        rate.meter = (enum meter)meter;
        rate.rate = fact_unit_rate(rate.meter, (struct money){s->unit});
        if (__builtin_mul_overflow(s->unit, s->quantity, &rate.amount.atto))
            return read_too_many(fail, "add up amounts that large");
    }
    *more = fn(&rate, arg);
    return RC_OK;
}

static enum rc tell_others(struct ledger_reader *r, const struct part *t, ledger_line_fn *on_line,
                           void *arg, bool *more, struct fail *fail)
{
    enum rc rc = RC_OK;

    for (size_t i = 0; rc == RC_OK && *more && i < t->n_others; i++) {
        struct record record;

        rc = read_body(r, t->others[i], &record, fail);
        if (rc == RC_OK)
            *more = on_line((uint64_t)t->others[i], &record, arg);
    }
    return rc;
}

static enum rc tell(struct rates *w, ledger_rate_fn *fn, ledger_line_fn *on_line, void *arg,
                    struct fail *fail)
{
    bool more = true;
    enum rc rc = RC_OK;

    for (size_t k = 0; k < CREW_MAX; k++) {
        struct part *t = w->part[k];

        if (!t || !t->p)
            continue;
        for (size_t i = 0; rc == RC_OK && more && i < t->cap; i++) {
            if (t->slots[i].is_used)
                rc = tell_slot(t, &t->slots[i], fn, arg, &more, fail);
        }
        if (rc == RC_OK)
            rc = tell_others(w->a.reader, t, on_line, arg, &more, fail);
    }
    return rc;
}

enum rc ledger_read_rates(struct ledger_reader *r, const struct ledger_filter *filter,
                          const struct ledger_field *by, size_t n_by, ledger_rate_fn *fn,
                          ledger_line_fn *on_line, void *arg, bool *known, struct fail *fail)
{
    struct rates *w = xcalloc(1, sizeof(*w));
    struct fact_pick *p = NULL;
    int64_t from_us, to_us;
    enum rc rc;

    ASSERT(r->in_view && n_by <= LEDGER_GROUP_MAX && !filter->by_start);
    *fail = (struct fail){0};
    w->q = (struct ledger_question){.filter = *filter, .n_by = n_by, .grain = PERIOD_TOTAL};
    memcpy(w->q.by, by, n_by * sizeof(*by));
    answer_init(&w->a, r, &w->q);
    rc = answer_make_periods(&w->a, fail);
    if (rc == RC_OK)
        rc = answer_can_use_facts(&w->a, fail);
    *known = rc == RC_OK && w->a.can_use_facts;
    filter_end_bounds(filter, &from_us, &to_us);
    if (*known)
        rc = read_kept(r, filter, from_us, to_us, fail);
    if (*known && rc == RC_OK) {
        p = pick_open(&w->a, from_us, to_us, true, fail);
        rc = p ? RC_OK : fail->rc;
    }
    if (p) {
        walk(w, p);
        rc = p->facts.rc == RC_OK ? tell(w, fn, on_line, arg, fail) : RC_OK;
        others_release(w);
        part_free(w->part[0]);
        rc = pick_finish(p, rc, fail);
    }
    answer_free(&w->a);
    free(w);
    return rc;
}
