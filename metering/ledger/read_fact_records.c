/*
 * read_fact_records.c - sums that no column has, amounts by meter, of requests that columns choose:
 * only the records of those are read.
 */
#include "metering/ledger/read_fact_pick.h"
#include "metering/ledger/sums.h"

static enum rc add_record(struct answer *a, size_t row, int64_t seq, struct fail *fail)
{
    struct ledger_row *to = &a->rows[row];
    struct record record;
    struct rollup sums;
    enum rc rc = read_body(a->reader, seq, &record, fail);

    if (rc != RC_OK)
        return rc;
    sums = (struct rollup){to->sums, to->histogram, to->bands, to->meters};
    rollup_add_record(&sums, &record);
    to->sums = sums.sums;
    return RC_OK;
}

enum rc answer_add_records(struct answer *a, int64_t from_us, int64_t to_us, struct fail *fail)
{
    enum rc rc = read_kept(a->reader, &a->q->filter, from_us, to_us, fail);
    struct fact_pick *p = rc == RC_OK ? pick_open(a, from_us, to_us, true, fail) : NULL;

    if (!p)
        return rc == RC_OK ? fail->rc : rc;
    while (rc == RC_OK && pick_next(p)) {
        const int64_t *seq = facts_number(&p->facts, FACT_SEQ);

        a->line_rows += p->n_picked;
        for (size_t i = 0; i < p->facts.n && rc == RC_OK && p->facts.rc == RC_OK; i++) {
            if (p->row[i] != PICK_NONE)
                rc = add_record(a, (size_t)p->row[i], (seq ? seq[i] : 0) + (int64_t)i, fail);
        }
    }
    return pick_finish(p, rc, fail);
}
