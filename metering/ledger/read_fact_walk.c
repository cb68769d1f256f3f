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
#include "metering/ledger/read_plain.h"

/* What one thread adds up. */
struct part {
    struct fact_pick *p;
    struct row_sums *sums;
    struct plain *plain; /* NULL: the answer wants more */
    bool *is_met; /* by number: has a request that is not plain */
    size_t cap;
    uint64_t n; /* requests */
};

struct walk {
    struct fact_pick *p; /* the asker's */
    unsigned want;
    struct crew_pieces pieces;
    struct part part[CREW_MAX];
};

/* ---- a part --------------------------------------------------------------------------------- */

static void make_room(struct part *t)
{
    size_t n = pick_numbers(t->p), cap = t->cap ? t->cap : 1024;

    if (n <= t->cap)
        return;
    while (cap < n)
        cap *= 2;
    t->is_met = xrealloc(t->is_met, cap * sizeof(*t->is_met));
    memset(t->is_met + t->cap, 0, (cap - t->cap) * sizeof(*t->is_met));
    t->cap = cap;
    row_sums_make_room(t->sums, cap);
    if (t->plain)
        plain_make_room(t->plain, cap);
}

static void add_blocks(struct part *t)
{
    struct fact_pick *p = t->p;

    while (p->facts.rc == RC_OK && pick_next(p)) {
        t->n += p->n_picked;
        make_room(t);
        if (t->plain && plain_take(t->plain, p) == 0)
            continue;
        for (size_t i = 0; i < p->facts.n; i++) {
            if (p->row[i] != PICK_NONE)
                t->is_met[p->row[i]] = true;
        }
        answer_add_block(p, t->sums);
    }
}

static void part_release(struct part *t)
{
    plain_free(t->plain);
    row_sums_free(t->sums);
    free(t->is_met);
    *t = (struct part){0};
}

static void part_begin(struct part *t, const struct walk *w, struct fact_pick *p)
{
    t->p = p;
    t->sums = row_sums_new(w->want);
    t->plain = plain_can(w->want) ? plain_new(p, w->want) : NULL;
}

/* All of it is in sums, and is_met. */
static void part_end(struct part *t)
{
    size_t n = pick_numbers(t->p);

    n = n < t->cap ? n : t->cap;
    for (size_t i = 0; t->plain && i < n; i++)
        t->is_met[i] |= plain_requests(t->plain, i) > 0;
    if (t->plain)
        plain_give(t->plain, t->sums, n);
    plain_free(t->plain);
    t->plain = NULL;
}

static void walk_as(struct ledger_reader *r, size_t member, void *arg)
{
    struct walk *w = arg;
    struct part *t = &w->part[member];

    part_begin(t, w, member == 0 ? w->p : pick_beside(w->p, r));
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

/* What part i has becomes the asker's. */
static enum rc merge(struct walk *w, size_t i, struct fail *fail)
{
    struct part *to = &w->part[0], *from = &w->part[i];
    size_t n = pick_numbers(from->p);
    uint32_t *number = NULL;
    enum rc rc = pick_translate(to->p, from->p, &number, fail);

    if (rc == RC_OK) {
        make_room(to);
        row_sums_move(to->sums, from->sums, number, n < from->cap ? n : from->cap);
        for (size_t k = 0; k < n && k < from->cap; k++)
            to->is_met[number[k]] |= from->is_met[k];
        to->n += from->n;
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
    facts_go_to(&w->p->facts, 0);
    add_blocks(t);
    part_end(t);
}

static enum rc walk(struct walk *w, struct fail *fail)
{
    struct ledger_reader *r = w->p->facts.reader;
    size_t members = crew_size(r, facts_within(&w->p->facts));
    enum rc rc = RC_OK;

    w->p->by_number = true;
    if (members > 1) {
        crew_cut(&w->pieces, facts_stored(r), members);
        crew_run(r, members, walk_as, w);
    }
    if (members == 1 || !is_whole(w)) {
        others_release(w);
        walk_alone(w);
    }
    for (size_t i = 1; i < CREW_MAX && rc == RC_OK && w->p->facts.rc == RC_OK; i++) {
        if (w->part[i].p)
            rc = merge(w, i, fail);
    }
    others_release(w);
    return rc;
}

/* ---- rows ----------------------------------------------------------------------------------- */

/* The row of each number that is met, made where it is not there; is_kept NULL: of all. */
static enum rc make_rows(struct answer *a, struct part *t, const bool *is_kept, uint32_t *row,
                         struct fail *fail)
{
    size_t n = pick_numbers(t->p);

    for (size_t i = 0; i < n && i < t->cap; i++) {
        struct strv values[LEDGER_GROUP_MAX];
        uint32_t group;
        int64_t period, at = 0;
        enum rc rc;

        row[i] = 0;
        if (!t->is_met[i])
            continue;
        pick_group(t->p, (uint32_t)i, &group, &period);
        if (is_kept && !is_kept[group])
            continue;
        rc = pick_group_values(t->p, group, values, fail);
        if (rc == RC_OK)
            rc = answer_row_at(a, values, period, true, &at, fail);
        if (rc != RC_OK)
            return rc;
        row[i] = (uint32_t)at;
    }
    return RC_OK;
}

/* Among the rows that there are already. */
static enum rc give_to_all(struct answer *a, struct part *t, struct row_sums *sums,
                           struct fail *fail)
{
    size_t n = pick_numbers(t->p);
    uint32_t *row = xcalloc(n + 1, sizeof(*row));
    enum rc rc = make_rows(a, t, NULL, row, fail);

    if (rc == RC_OK) {
        row_sums_make_room(sums, a->cap_rows);
        row_sums_move(sums, t->sums, row, n < t->cap ? n : t->cap);
    }
    free(row);
    return rc;
}

enum rc answer_walk(struct fact_pick *p, struct row_sums *sums, struct fail *fail)
{
    struct answer *a = p->answer;
    struct walk *w = xcalloc(1, sizeof(*w));
    enum rc rc;

    w->p = p;
    w->want = a->want;
    rc = walk(w, fail);
    if (rc == RC_OK && p->facts.rc == RC_OK) {
        a->fact_rows += w->part[0].n;
        rc = give_to_all(a, &w->part[0], sums, fail);
    }
    part_release(&w->part[0]);
    free(w);
    return rc;
}
