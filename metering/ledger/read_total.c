/*
 * read_total.c - percentiles and times of all rows, where some of them are left out.
 *
 * They are those of the same question with one row.  Days in order or rollups tell that, mostly, and
 * need nothing of the rows: so another thread (read_crew.h) asks it while these are added up.
 */
#include <string.h>

#include "metering/ledger/read_crew.h"
#include "metering/ledger/read_rank.h"

struct total {
    struct answer *a;
    answer_fn *make;
    void *arg;
    enum rc rc; /* of make */
    struct fail *fail;
    struct ledger_question q;
    struct ledger_rows rows; /* of q */
    bool is_found;
};

static struct ledger_question question_of(const struct answer *a)
{
    struct ledger_question q = *a->q;

    q.n_by = 0;
    q.grain = PERIOD_TOTAL;
    q.top = 0;
    q.want = (q.want & (LEDGER_WANT_PERCENTILES | LEDGER_WANT_LATENCY)) | LEDGER_SPARE |
             LEDGER_SPARE_CEILING;
    return q;
}

/* Whether there is another thread for it, and days in order say it: columns are read by all. */
static enum rc can_ask_beside(struct total *t, bool *can, struct fail *fail)
{
    struct answer one = *t->a;
    int64_t from_us, to_us;
    enum rc rc;

    one.q = &t->q;
    filter_end_bounds(&t->q.filter, &from_us, &to_us);
    rc = ranks_can(&one, can, fail);
    *can = rc == RC_OK && *can && ranks_any(t->a, CUBE_COSTS, from_us, to_us) &&
           crew_size(one.reader, facts_stored(one.reader)) > 1;
    return rc;
}

/* What fails is asked again by the asker. */
static void ask_beside(struct total *t, struct ledger_reader *r)
{
    struct fail ignored;

    ledger_read_hold(r, t->a->reader->held_max);
    ledger_read_count(r, t->a->reader->counted_max);
    ledger_read_crew(r, 1, 0);
    facts_borrow_tail(r, t->a->reader);
    t->is_found = ledger_read_sums(r, &t->q, &t->rows, &ignored) == RC_OK;
    facts_return_tail(r);
}

static void work_as(struct ledger_reader *r, size_t member, void *arg)
{
    struct total *t = arg;

    if (member == 0)
        t->rc = t->make(t->a, t->arg, t->fail);
    else
        ask_beside(t, r);
}

/* The other's view may be later: rollups of requests that are not in the rows. */
static bool is_of_rows(const struct total *t)
{
    const struct ledger_sums *all = &t->a->total.sums, *is = &t->rows.total.sums;

    return t->is_found && is->requests == all->requests && is->priced == all->priced &&
           is->corrections == all->corrections;
}

static void give(const struct total *t)
{
    struct answer *a = t->a;

    memcpy(a->total.percentile, t->rows.total.percentile, sizeof(a->total.percentile));
    a->total.has_latency = t->rows.total.has_latency;
    a->total.p95_latency_ms = t->rows.total.p95_latency_ms;
    a->rollup_rows += t->rows.rollup_rows;
    a->cube_rows += t->rows.cube_rows;
    a->fact_rows += t->rows.fact_rows;
}

static enum rc take_total(struct total *t, struct fail *fail)
{
    enum rc rc = RC_OK;

    if (!is_of_rows(t)) {
        if (t->is_found)
            ledger_rows_release(&t->rows);
        rc = ledger_read_sums(t->a->reader, &t->q, &t->rows, fail);
        t->is_found = rc == RC_OK;
    }
    if (rc == RC_OK && t->rows.total.sums.priced != t->a->total.sums.priced)
        rc = read_damaged(fail);
    if (rc == RC_OK)
        give(t);
    return rc;
}

enum rc answer_and_total(struct answer *a, answer_fn *make, void *arg, struct fail *fail)
{
    struct total t = {.a = a, .make = make, .arg = arg, .fail = fail, .q = question_of(a)};
    bool beside = false;

    if (!a->ranks_later || a->top == 0)
        return make(a, arg, fail);
    t.rc = can_ask_beside(&t, &beside, fail);
    if (t.rc == RC_OK)
        crew_run(a->reader, beside ? 2 : 1, work_as, &t);
    if (t.rc == RC_OK && a->n_rest > 0)
        t.rc = take_total(&t, fail);
    if (t.is_found)
        ledger_rows_release(&t.rows);
    return t.rc;
}
