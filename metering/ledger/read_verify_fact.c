/*
 * read_verify_fact.c - compares stored columns with the records and lines they are of.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/xalloc.h"
#include "metering/ledger/read_fact.h"

static void say(struct ledger_verdict *v, int64_t seq, const char *what)
{
    v->bad_facts++;
    if (!v->first[0])
        snprintf(v->first, sizeof(v->first), "the columns of line %" PRId64 " %s", seq, what);
}

static int64_t seq_of(const int64_t *seq, size_t i)
{
    return (seq ? seq[i] : 0) + (int64_t)i;
}

/* Where the block says what its requests were charged for. */
static bool same_charges(struct facts *f, size_t at, const struct fact_block *made, size_t as)
{
    const int64_t *charge = facts_number(f, FACT_CHARGE);
    bool is = true;

    if (!charge || charge[at] == FACT_CHARGE_UNKNOWN)
        return true;
    for (unsigned m = 0; m < METER_COUNT; m++) {
        const int64_t *quantity = facts_quantity(f, (enum meter)m);
        const money_int *unit = facts_unit(f, (enum meter)m);

        is &= (quantity ? quantity[at] : 0) == made->quantity[m][as] &&
              (unit ? unit[at] : 0) == made->unit[m][as];
    }
    return is;
}

/* Place `at` of the stored block and `as` of the one that was made anew. */
static bool same(struct facts *f, size_t at, const struct fact_block *made, size_t as)
{
    bool is = true;

    for (unsigned c = FACT_END; c < FACT_NUMBERS; c++) {
        const int64_t *v = c < FACT_PLAIN || c >= FACT_USAGE ? facts_number(f, c) : NULL;

        /* The record that was corrected may be deleted since; blocks of before have no charges. */
        if ((c == FACT_CORRECTS && made->number[c][as] == 0) ||
            (c == FACT_CHARGE && (v ? v[at] : 0) == FACT_CHARGE_UNKNOWN))
            continue;
        is &= (v ? v[at] : 0) == made->number[c][as];
    }
    for (unsigned c = 0; c < FACT_AMOUNTS; c++) {
        const money_int *v = facts_amount(f, (enum fact_amount)c);

        is &= (v ? v[at] : 0) == made->amount[c][as];
    }
    return is && same_charges(f, at, made, as);
}

/* Both are in order of number; what is in one alone was deleted, or is wrong. */
static void compare(struct facts *f, const struct fact_block *made, int64_t last_seq,
                    struct ledger_verdict *v)
{
    const int64_t *seq = facts_number(f, FACT_SEQ), *end = facts_number(f, FACT_END);
    size_t as = 0;

    for (size_t i = 0; i < f->n && f->rc == RC_OK; i++) {
        int64_t number = seq_of(seq, i);

        for (; as < made->n && seq_of(made->number[FACT_SEQ], as) < number; as++)
            say(v, seq_of(made->number[FACT_SEQ], as), "are missing");
        v->facts++;
        if (as < made->n && seq_of(made->number[FACT_SEQ], as) == number) {
            if (!same(f, i, made, as++))
                say(v, number, "differ from its record");
        } else if ((end ? end[i] : 0) >= f->reader->kept_from_us) {
            say(v, number, "are there and its record is not");
        }
    }
    for (; as < made->n && seq_of(made->number[FACT_SEQ], as) <= last_seq; as++)
        say(v, seq_of(made->number[FACT_SEQ], as), "are missing");
}

enum rc verify_facts(struct ledger_reader *r, struct ledger_verdict *v, struct fail *fail)
{
    struct fact_block *made = fact_block_new();
    struct facts f;
    int64_t after = 0;
    bool known;
    enum rc rc = facts_look(r, &known, fail);

    if (rc != RC_OK) {
        free(made);
        return rc;
    }
    facts_open(&f, r, INT64_MIN, INT64_MAX);
    while (rc == RC_OK && facts_next(&f) && f.place->block > 0) {
        int64_t last = seq_of(facts_number(&f, FACT_SEQ), f.n - 1);

        fact_block_clear(made);
        rc = fact_load(&r->facts.source, after, made, fail);
        if (rc == RC_OK)
            compare(&f, made, last, v);
        after = last;
    }
    if (rc == RC_OK && f.rc != RC_OK) {
        rc = f.rc;
        *fail = f.fail;
    }
    facts_close(&f);
    free(made);
    if (rc == RC_BAD) { /* bytes that do not decode: named, not the end of the audit */
        say(v, after + 1, "cannot be read");
        rc = RC_OK;
    }
    return rc;
}
