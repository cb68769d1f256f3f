/*
 * read_verify_tally.c - makes what tasks came to anew and compares.
 *
 * It is made of the columns, which read_verify_fact.c compares with the records, and of the
 * outcomes of tasks.  Tasks that were given an outcome since are not told from their tally, so
 * they are not compared.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/ledger/read_tally.h"

struct comparing {
    struct ledger_reader *r;
    int64_t block;
    bool skips[TALLY_BLOCK];
    bool differs;
    int64_t number[2][TALLY_BLOCK];
    money_int amount[2][TALLY_BLOCK];
};

static enum rc decode(unsigned column, struct strv bytes, int64_t *number, money_int *amount)
{
    bool is_number = column < TALLY_NUMBERS;

    if (bytes.n == 0) {
        memset(number, 0, TALLY_BLOCK * sizeof(*number));
        memset(amount, 0, TALLY_BLOCK * sizeof(*amount));
        return RC_OK;
    }
    return is_number ? fact_decode_numbers(bytes, TALLY_BLOCK, number)
                     : fact_decode_amounts(bytes, TALLY_BLOCK, amount);
}

static bool is_same(const struct comparing *c, unsigned column)
{
    bool is_number = column < TALLY_NUMBERS;

    for (size_t i = 0; i < TALLY_BLOCK; i++) {
        if (!c->skips[i] && (is_number ? c->number[0][i] != c->number[1][i]
                                       : c->amount[0][i] != c->amount[1][i]))
            return false;
    }
    return true;
}

static enum rc compare_column(unsigned column, struct strv bytes, void *arg, struct fail *fail)
{
    struct comparing *c = arg;
    sqlite3_stmt *body = c->r->tallies.body;
    struct strv stored = STRV("");
    int code;

    sqlite3_bind_int64(body, 1, tally_row(column, c->block));
    code = sqlite3_step(body);
    if (code == SQLITE_ROW)
        stored = db_column(body, 0);
    if (!strv_eq(stored, bytes)) {
        c->differs |= decode(column, stored, c->number[0], c->amount[0]) != RC_OK ||
                      decode(column, bytes, c->number[1], c->amount[1]) != RC_OK ||
                      !is_same(c, column);
    }
    sqlite3_reset(body);
    return code == SQLITE_ROW || code == SQLITE_DONE ? RC_OK : read_failed(c->r, fail);
}

static enum rc skip_some(struct comparing *c, struct fail *fail)
{
    const struct tally_index *x = &c->r->tallies;
    const int64_t *lines;
    struct tally t;
    enum rc rc;

    for (size_t i = 0; i < x->n_again; i++) {
        if (tally_block_of(x->again[i]) == c->block)
            c->skips[x->again[i] & (TALLY_BLOCK - 1)] = true;
    }
    if (c->r->kept_from_us == INT64_MIN)
        return RC_OK;
    /* Rows of tasks without lines may be deleted. */
    tally_open(&t, c->r);
    tally_stand_at(&t, c->block);
    lines = tally_number(&t, TALLY_LINES);
    for (size_t i = 0; i < TALLY_BLOCK; i++)
        c->skips[i] |= !lines || lines[i] == 0;
    rc = t.rc;
    *fail = t.fail;
    tally_close(&t);
    return rc;
}

static enum rc verify_block(struct ledger_reader *r, const struct tally_place *place,
                            struct ledger_verdict *v, struct fail *fail)
{
    struct tally_make *m = tally_make_new(place->block, place->through);
    struct comparing *c = xcalloc(1, sizeof(*c));
    bool done = false;
    enum rc rc;

    c->r = r;
    c->block = place->block;
    rc = skip_some(c, fail);
    while (rc == RC_OK && !done)
        rc = tally_make_step(m, r, 1 << 20, &done, fail);
    c->differs = rc == RC_OK && tally_make_is_none(m);
    if (rc == RC_OK && !c->differs)
        rc = tally_make_columns(m, compare_column, c, fail);
    v->tallies++;
    if (c->differs || rc == RC_BAD) {
        v->bad_tallies++;
        if (!v->first[0])
            snprintf(v->first, sizeof(v->first),
                     "what tasks from %" PRId64 " on came to differs from their requests",
                     place->block << TALLY_SHIFT);
        rc = RC_OK;
    }
    tally_make_free(m);
    free(c);
    return rc;
}

enum rc verify_tallies(struct ledger_reader *r, struct ledger_verdict *v, struct fail *fail)
{
    bool known;
    enum rc rc = facts_look(r, &known, fail);

    if (rc == RC_OK)
        rc = tallies_look(r, fail);
    for (size_t i = 0; rc == RC_OK && i < r->tallies.n; i++) {
        if (tally_find(r, r->tallies.at[i].block))
            rc = verify_block(r, &r->tallies.at[i], v, fail);
    }
    return rc;
}
