/*
 * read_by_start.c - windows of limits, which hold a request by when it was admitted, from what
 * is added up by when requests ended.
 *
 * The two differ by requests that began before an edge of the window and ended after it.  These
 * ended within LEDGER_LONGEST_US of the edge, and are found there by two columns.  The least and
 * the most of one request cannot be mended so: who asks says that they are not looked at.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "metering/ledger/read_fact_pick.h"

bool answer_is_by_ends(const struct answer *a)
{
    const unsigned spared = LEDGER_SPARE_TRANSPORT | LEDGER_SPARE_DETAILS;

    return a->q->filter.by_start && a->can_use_facts && a->n_periods == 1 &&
           (a->want & spared) == spared && !(a->want & ~(unsigned)LEDGER_SPARE) &&
           a->periods[0].from_us >= a->reader->kept_from_us;
}

struct ledger_question *answer_by_end(const struct answer *a)
{
    struct ledger_question *q = xmalloc(sizeof(*q));

    *q = *a->q;
    q->filter.by_start = false;
    q->filter.from_us = a->periods[0].from_us;
    q->filter.to_us = a->periods[0].to_us;
    return q;
}

/* Those that ended in LEDGER_LONGEST_US from ends_us on and began in [from, to). */
static enum rc read_edge(struct answer *a, int64_t from_us, int64_t to_us, int64_t ends_us,
                         struct answer *out, struct ledger_question *q, struct fail *fail)
{
    int64_t last_us =
        ends_us < INT64_MAX - LEDGER_LONGEST_US ? ends_us + LEDGER_LONGEST_US : INT64_MAX;
    enum rc rc;

    *q = *a->q;
    q->filter.from_us = from_us;
    q->filter.to_us = to_us;
    answer_init(out, a->reader, q);
    out->can_use_facts = true;
    out->periods = xmalloc(sizeof(*out->periods));
    out->periods[0] = (struct answer_period){from_us, to_us, from_us, to_us};
    out->n_periods = 1;
    rc = answer_add_requests(out, ends_us, last_us, fail);
    a->fact_rows += out->fact_rows;
    return rc;
}

/* A row of nothing is none: all that it had began before the window. */
static void drop_empty(struct answer *a)
{
    size_t n = 0;

    for (size_t i = 0; i < a->n_rows; i++) {
        if (a->rows[i].sums.requests == 0 && a->rows[i].sums.corrections == 0)
            continue;
        if (n != i)
            a->rows[n] = a->rows[i];
        n++;
    }
    a->n_rows = n;
}

static enum rc mend(struct answer *a, const struct answer *edge, bool take, struct fail *fail)
{
    enum rc rc = RC_OK;

    for (size_t i = 0; rc == RC_OK && i < edge->n_rows; i++) {
        int64_t row;

        rc = answer_row_at(a, edge->rows[i].value, 0, !take, &row, fail);
        if (rc != RC_OK)
            break;
        if (row < 0)
            rc = read_damaged(fail); /* what is to be taken out was put in */
        else if (take)
            ledger_sums_take(&a->rows[row].sums, &edge->rows[i].sums);
        else
            ledger_sums_add(&a->rows[row].sums, &edge->rows[i].sums);
    }
    return rc;
}

enum rc answer_mend_ends(struct answer *a, struct fail *fail)
{
    const struct answer_period *window = &a->periods[0];
    struct ledger_question *q = xmalloc(sizeof(*q));
    struct answer edge;
    enum rc rc;

    ASSERT(a->n_periods == 1);
    rc = read_edge(a, INT64_MIN, window->from_us, window->from_us, &edge, q, fail);
    if (rc == RC_OK)
        rc = mend(a, &edge, true, fail);
    answer_free(&edge);
    if (rc != RC_OK)
        goto out;
    rc = read_edge(a, window->from_us, window->to_us, window->to_us, &edge, q, fail);
    if (rc == RC_OK)
        rc = mend(a, &edge, false, fail);
    answer_free(&edge);
    if (rc == RC_OK)
        drop_empty(a);
out:
    free(q);
    return rc;
}
