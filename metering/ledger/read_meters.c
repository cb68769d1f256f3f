/*
 * read_meters.c - see read_meters.h.
 *
 * A meter of all rows is an array of its own while blocks are added: meters of one row are far
 * apart, as its other fields are (read_row_sums.h).
 */
#include "metering/ledger/read_meters.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/ledger/read_cube.h"
#include "metering/ledger/wire.h"

__extension__ typedef unsigned __int128 money_bits;

struct meter_sums {
    struct meter_sum_of of[METER_COUNT];
    uint64_t n_records; /* that were read */
    /* Of a block of a cube. */
    int64_t number[FACT_BLOCK];
    money_int amount[FACT_BLOCK];
    struct record record; /* read last: too large to be cleared for each */
};

struct meter_sums *meter_sums_new(void)
{
    return xcalloc(1, sizeof(struct meter_sums));
}

void meter_sums_free(struct meter_sums *s)
{
    if (!s)
        return;
    for (unsigned m = 0; m < METER_COUNT; m++) {
        free(s->of[m].at);
    }
    free(s);
}

static struct meter_sum_of *room(struct meter_sums *s, unsigned m, size_t cap)
{
    struct meter_sum_of *to = &s->of[m];

    if (cap > to->cap) {
        to->at = xrealloc(to->at, cap * sizeof(*to->at));
        memset(to->at + to->cap, 0, (cap - to->cap) * sizeof(*to->at));
        to->cap = cap;
    }
    return to;
}

/* A correction is none of the requests, unless it gives a price to one that had none. */
static inline bool is_request(const int64_t *attempt, size_t i)
{
    return !attempt || attempt[i] >= 0 || attempt[i] == ATTEMPT_LATE_PRICE;
}

static void add_meter(struct meter_sums *s, struct fact_pick *p, enum meter m)
{
    struct facts *f = &p->facts;
    const int64_t *quantity = facts_quantity(f, m), *attempt = facts_number(f, FACT_ATTEMPT);
    const money_int *unit = facts_unit(f, m);
    struct ledger_meter_sum *all;

    if (f->rc != RC_OK || !quantity)
        return;
    all = room(s, m, pick_cap(p))->at;
    for (size_t i = 0; i < f->n; i++) {
        struct ledger_meter_sum *to;

        if (p->row[i] == PICK_NONE || quantity[i] == 0)
            continue;
        to = &all[p->row[i]];
        to->requests = row_sums_plus(to->requests, is_request(attempt, i));
        to->quantity = row_sums_plus(to->quantity, (uint64_t)quantity[i]);
        if (unit)
            row_sums_add_money(&to->amount.atto,
                               (money_int)((money_bits)unit[i] * (money_bits)quantity[i]));
    }
}

/* The record of request i of the block at hand, in s; false after a failure. */
static bool read_record(struct meter_sums *s, struct fact_pick *p, size_t i)
{
    const int64_t *seq = facts_number(&p->facts, FACT_SEQ);

    s->n_records++;
    if (p->facts.rc == RC_OK)
        p->facts.rc = read_body(p->facts.reader, (seq ? seq[i] : 0) + (int64_t)i, &s->record,
                                &p->facts.fail);
    return p->facts.rc == RC_OK;
}

static void add_lines(struct meter_sums *s, size_t row, size_t cap, const struct record *r)
{
    for (size_t k = 0; k < r->n_lines; k++) {
        struct ledger_meter_sum *to = &room(s, r->lines[k].meter, cap)->at[row];
        bool first = !r->is_correction || r->was_unpriced;

        for (size_t j = 0; j < k; j++)
            first &= r->lines[j].meter != r->lines[k].meter;
        to->requests = row_sums_plus(to->requests, first);
        to->quantity = row_sums_plus(to->quantity, r->lines[k].quantity);
        row_sums_add_money(&to->amount.atto, r->lines[k].amount.atto);
    }
}

void meter_sums_add_block(struct meter_sums *s, struct fact_pick *p)
{
    struct facts *f = &p->facts;
    const int64_t *charge = facts_number(f, FACT_CHARGE);
    uint64_t meters = f->rc == RC_OK ? facts_meters(f) : 0;

    for (; meters && f->rc == RC_OK; meters &= meters - 1)
        add_meter(s, p, (enum meter)__builtin_ctzll(meters));
    for (size_t i = 0; i < f->n && f->rc == RC_OK; i++) {
        if (p->row[i] != PICK_NONE && (!charge || charge[i] != FACT_CHARGE_TOLD) &&
            read_record(s, p, i))
            add_lines(s, (size_t)p->row[i], pick_cap(p), &s->record);
    }
}

/* ---- days that are added up ---------------------------------------------------------------- */

static void add_cube_meter(struct meter_sums *s, struct fact_pick *p, enum meter m)
{
    struct ledger_meter_sum *to = room(s, m, pick_cap(p))->at;
    unsigned wire = wire_meter(m);
    const int32_t *row = p->row;

    if (cube_numbers(&p->facts, cube_meter(wire, CUBE_METER_REQUESTS), s->number)) {
        for (size_t i = 0; i < p->facts.n; i++) {
            if (row[i] != PICK_NONE)
                to[row[i]].requests = row_sums_plus(to[row[i]].requests, (uint64_t)s->number[i]);
        }
    }
    if (cube_numbers(&p->facts, cube_meter(wire, CUBE_METER_QUANTITY), s->number)) {
        for (size_t i = 0; i < p->facts.n; i++) {
            if (row[i] != PICK_NONE)
                to[row[i]].quantity = row_sums_plus(to[row[i]].quantity, (uint64_t)s->number[i]);
        }
    }
    if (!cube_amounts(&p->facts, cube_meter(wire, CUBE_METER_AMOUNT), s->amount))
        return;
    for (size_t i = 0; i < p->facts.n; i++) {
        if (row[i] != PICK_NONE)
            row_sums_add_money(&to[row[i]].amount.atto, s->amount[i]);
    }
}

void meter_sums_add_cube(struct meter_sums *s, struct fact_pick *p)
{
    struct buf bytes;
    uint64_t meters = 0;

    buf_init(&bytes, FACT_METERS_BYTES * 2);
    if (p->facts.rc == RC_OK && (!cube_bytes(&p->facts, CUBE_METERS, &bytes) ||
                                 fact_decode_meters(buf_view(&bytes), &meters) != RC_OK))
        p->facts.rc = read_damaged(&p->facts.fail);
    buf_release(&bytes);
    for (; meters && p->facts.rc == RC_OK; meters &= meters - 1)
        add_cube_meter(s, p, (enum meter)__builtin_ctzll(meters));
}

const struct meter_sum_of *meter_sums_of(const struct meter_sums *s, enum meter m)
{
    return &s->of[m];
}

/* ---- records ------------------------------------------------------------------------------- */

void meter_sums_add_records(struct meter_sums *s, struct fact_pick *p, struct row_sums *sums)
{
    row_sums_make_room(sums, pick_cap(p));
    for (size_t i = 0; i < p->facts.n && p->facts.rc == RC_OK; i++) {
        struct ledger_sums one;

        if (p->row[i] == PICK_NONE || !read_record(s, p, i))
            continue;
        ledger_sums_of(&s->record, &one);
        row_sums_add(sums, (size_t)p->row[i], &one);
        add_lines(s, (size_t)p->row[i], pick_cap(p), &s->record);
    }
}

uint64_t meter_sums_records(const struct meter_sums *s)
{
    return s->n_records;
}

/* ---- to rows ------------------------------------------------------------------------------- */

void meter_sums_move(struct meter_sums *s, const struct meter_sums *from, const uint32_t *to,
                     size_t n, size_t cap)
{
    for (unsigned m = 0; m < METER_COUNT; m++) {
        const struct meter_sum_of *is = &from->of[m];
        struct ledger_meter_sum *out = is->cap ? room(s, m, cap)->at : NULL;

        for (size_t i = 0; out && i < n && i < is->cap; i++)
            ledger_meter_add(&out[to ? to[i] : i], &is->at[i]);
    }
    s->n_records += from->n_records;
}

void meter_sums_give_each(const struct meter_sums *s, struct ledger_meter_sum *const *to, size_t n)
{
    for (unsigned m = 0; m < METER_COUNT; m++) {
        const struct meter_sum_of *from = &s->of[m];

        for (size_t i = 0; i < n && i < from->cap; i++) {
            if (to[i])
                ledger_meter_add(&to[i][m], &from->at[i]);
        }
    }
}

void meter_sums_give(const struct meter_sums *s, struct ledger_row *rows, size_t n)
{
    for (unsigned m = 0; m < METER_COUNT; m++) {
        const struct meter_sum_of *from = &s->of[m];

        for (size_t i = 0; i < n && i < from->cap; i++)
            ledger_meter_add(&rows[i].meters[m], &from->at[i]);
    }
}
