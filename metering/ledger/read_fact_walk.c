/*
 * read_fact_walk.c - requests added up by the number of their group, by several threads
 * (read_crew.h), and then given to rows of the answer.
 *
 * Each thread numbers groups as it meets them.  What the others have goes to the numbers of the
 * asker, in the order of the threads; then rows are made: of all groups, or of the dearest.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/ledger/read_crew.h"
#include "metering/ledger/read_cube.h"
#include "metering/ledger/read_meters.h"
#include "metering/ledger/read_plain.h"

/* What one thread adds up. */
struct part {
    struct fact_pick *p;
    struct row_sums *sums;
    struct plain *plain; /* NULL: the answer wants more */
    struct meter_sums *meters; /* NULL: not wanted */
    uint64_t n, cube_rows; /* requests; rows of days */
};

struct walk {
    struct fact_pick *p; /* the asker's */
    unsigned want;
    int64_t from_us, to_us;
    struct crew_pieces days, pieces;
    struct part part[CREW_MAX];
};

/* ---- a part --------------------------------------------------------------------------------- */

static void add_blocks(struct part *t)
{
    struct fact_pick *p = t->p;

    while (p->facts.rc == RC_OK && pick_next(p)) {
        if (t->meters && p->n_picked <= METERS_OF_FEW) {
            meter_sums_add_records(t->meters, p, t->sums);
            continue;
        }
        t->n += p->n_picked;
        if (t->meters) /* of all, before the plain ones are taken */
            meter_sums_add_block(t->meters, p);
        if (t->plain)
            plain_make_room(t->plain, pick_cap(p));
        if (!t->plain || plain_take(t->plain, p) > 0)
            answer_add_block(p, t->sums);
    }
}

static void part_release(struct part *t)
{
    plain_free(t->plain);
    row_sums_free(t->sums);
    meter_sums_free(t->meters);
    *t = (struct part){0};
}

static void part_begin(struct part *t, const struct walk *w, struct fact_pick *p)
{
    t->p = p;
    t->sums = row_sums_new(w->want);
    t->plain = plain_can(w->want & ~(unsigned)LEDGER_WANT_METERS) ? plain_new(p, w->want) : NULL;
    t->meters = w->want & LEDGER_WANT_METERS ? meter_sums_new() : NULL;
}

/* All of it is in sums. */
static void part_end(struct part *t)
{
    row_sums_make_room(t->sums, pick_cap(t->p));
    if (t->plain)
        plain_give(t->plain, t->sums, pick_cap(t->p));
    plain_free(t->plain);
    t->plain = NULL;
}

static void add_days(struct part *t, struct walk *w)
{
    t->cube_rows +=
        answer_add_cubes(t->p, t->sums, t->meters, &w->days, w->from_us, w->to_us);
}

static void walk_as(struct ledger_reader *r, size_t member, void *arg)
{
    struct walk *w = arg;
    struct part *t = &w->part[member];

    part_begin(t, w, member == 0 ? w->p : pick_beside(w->p, r));
    add_days(t, w);
    facts_take_from(&t->p->facts, &w->pieces);
    add_blocks(t);
    if (member == 0) {
        facts_go_to(&t->p->facts, facts_stored(r));
        add_blocks(t);
    }
    part_end(t);
}

/* ---- all of it -------------------------------------------------------------------------- */

static bool is_whole(const struct walk *w)
{
    for (size_t i = 0; i < CREW_MAX; i++) {
        if (w->part[i].p && w->part[i].p->facts.rc != RC_OK)
            return false;
    }
    return true;
}

/* What the part has becomes the asker's. */
static enum rc merge(struct walk *w, const struct part *from, struct fail *fail)
{
    struct part *to = &w->part[0];
    size_t n = pick_numbers(from->p);
    uint32_t *number = NULL;
    enum rc rc = pick_translate(w->p, from->p, &number, fail);

    n = n < from->p->cap_met ? n : from->p->cap_met;
    if (rc == RC_OK) {
        pick_meet(w->p, from->p, number, n);
        row_sums_make_room(to->sums, pick_cap(w->p));
        row_sums_move(to->sums, from->sums, number, n);
        if (to->meters)
            meter_sums_move(to->meters, from->meters, number, n, pick_cap(w->p));
        to->n += from->n;
        to->cube_rows += from->cube_rows;
    }
    free(number);
    return rc;
}

static void others_release(struct walk *w)
{
    for (size_t i = 1; i < CREW_MAX; i++) {
        if (w->part[i].p)
            pick_close(w->part[i].p);
        part_release(&w->part[i]);
    }
}

/* The walk by one thread, as if there had been no other. */
static void walk_alone(struct walk *w)
{
    struct part *t = &w->part[0];

    part_release(t);
    w->p->facts.rc = RC_OK;
    part_begin(t, w, w->p);
    crew_cut(&w->days, w->days.n, 1);
    add_days(t, w);
    facts_go_to(&w->p->facts, 0);
    add_blocks(t);
    part_end(t);
}

/* Part 0 has all of it then. */
static enum rc walk(struct walk *w, struct fail *fail)
{
    struct ledger_reader *r = w->p->facts.reader;
    size_t members = crew_size(r, facts_within(&w->p->facts));
    size_t days = answer_leave_cubes_out(w->p, w->p->answer->cube_kind, w->from_us, w->to_us);
    enum rc rc = RC_OK;

    crew_cut(&w->days, days, members);
    if (members > 1) {
        crew_cut(&w->pieces, facts_stored(r), members);
        crew_run(r, members, walk_as, w);
    }
    if (members == 1 || !is_whole(w)) {
        others_release(w);
        walk_alone(w);
    }
    row_sums_make_room(w->part[0].sums, pick_cap(w->p));
    for (size_t i = 1; i < CREW_MAX && rc == RC_OK && w->p->facts.rc == RC_OK; i++) {
        if (w->part[i].p)
            rc = merge(w, &w->part[i], fail);
    }
    others_release(w);
    return rc;
}

enum rc answer_walk(struct fact_pick *p, int64_t from_us, int64_t to_us, struct fail *fail)
{
    struct answer *a = p->answer;
    struct walk *w = xcalloc(1, sizeof(*w));
    struct part *all = &w->part[0];
    enum rc rc;

    w->p = p;
    w->want = a->want;
    w->from_us = from_us;
    w->to_us = to_us;
    p->by_number = true;
    rc = walk(w, fail);
    if (rc == RC_OK && p->facts.rc == RC_OK) {
        a->fact_rows += all->n;
        a->cube_rows += all->cube_rows;
        a->record_rows += all->meters ? meter_sums_records(all->meters) : 0;
        rc = answer_give(p, all->sums, all->meters, fail);
    }
    part_release(all);
    free(w);
    return rc;
}
