/*
 * read_fact_charge.c - columns of what requests were charged for, a meter at a time.
 */
#include <stdlib.h>

#include "base/xalloc.h"
#include "metering/ledger/read_fact.h"
#include "metering/ledger/wire.h"

/* Of one block: which columns there are, and those that were asked for. */
struct fact_charges {
    int64_t block; /* 0: none yet */
    uint64_t meters, got_quantity, got_unit, zero_unit;
    int64_t *quantity[METER_COUNT];
    money_int *unit[METER_COUNT];
};

void fact_charges_free(struct fact_charges *c)
{
    if (!c)
        return;
    for (unsigned m = 0; m < METER_COUNT; m++) {
        free(c->quantity[m]);
        free(c->unit[m]);
    }
    free(c);
}

/* The stored bytes of a column; empty: there is none. Until body is reset. */
static struct strv stored(struct facts *f, unsigned column)
{
    sqlite3_stmt *body = f->reader->facts.body;
    int code;

    sqlite3_bind_int64(body, 1, fact_row(column, f->place->block));
    code = sqlite3_step(body);
    if (code == SQLITE_ROW)
        return db_column(body, 0);
    if (code != SQLITE_DONE)
        f->rc = read_failed(f->reader, &f->fail);
    return STRV("");
}

static void look(struct facts *f)
{
    struct fact_charges *c = f->charges;
    struct strv bytes;

    if (!c)
        c = f->charges = xcalloc(1, sizeof(*c));
    if (c->block == f->place->block)
        return;
    c->block = f->place->block;
    c->meters = c->got_quantity = c->got_unit = c->zero_unit = 0;
    bytes = stored(f, FACT_METERS_COLUMN);
    if (bytes.n && fact_decode_meters(bytes, &c->meters) != RC_OK)
        f->rc = read_damaged(&f->fail);
    sqlite3_reset(f->reader->facts.body);
}

uint64_t facts_meters(struct facts *f)
{
    if (f->place->block == 0)
        return fact_block_meters(f->reader->facts.tail);
    look(f);
    return f->rc == RC_OK ? f->charges->meters : 0;
}

const int64_t *facts_quantity(struct facts *f, enum meter m)
{
    struct fact_charges *c;
    struct strv bytes;

    if (f->place->block == 0)
        return f->reader->facts.tail->quantity[m];
    look(f);
    c = f->charges;
    if (f->rc != RC_OK || !(c->meters >> m & 1))
        return NULL;
    if (c->got_quantity >> m & 1)
        return c->quantity[m];
    c->got_quantity |= UINT64_C(1) << m;
    if (!c->quantity[m])
        c->quantity[m] = xcalloc(FACT_BLOCK, sizeof(int64_t));
    bytes = stored(f, FACT_QUANTITY_COLUMN + wire_meter(m));
    if (f->rc == RC_OK && fact_decode_numbers(bytes, f->n, c->quantity[m]) != RC_OK)
        f->rc = read_damaged(&f->fail);
    sqlite3_reset(f->reader->facts.body);
    return f->rc == RC_OK ? c->quantity[m] : NULL;
}

const money_int *facts_unit(struct facts *f, enum meter m)
{
    struct fact_charges *c;
    struct strv bytes;

    if (f->place->block == 0)
        return f->reader->facts.tail->unit[m];
    look(f);
    c = f->charges;
    if (f->rc != RC_OK || !(c->meters >> m & 1))
        return NULL;
    if (!(c->got_unit >> m & 1)) {
        c->got_unit |= UINT64_C(1) << m;
        if (!c->unit[m])
            c->unit[m] = xcalloc(FACT_BLOCK, sizeof(money_int));
        bytes = stored(f, FACT_UNIT_COLUMN + wire_meter(m));
        if (bytes.n == 0)
            c->zero_unit |= UINT64_C(1) << m; /* it costs nothing */
        else if (fact_decode_amounts(bytes, f->n, c->unit[m]) != RC_OK)
            f->rc = read_damaged(&f->fail);
        sqlite3_reset(f->reader->facts.body);
    }
    return f->rc != RC_OK || c->zero_unit >> m & 1 ? NULL : c->unit[m];
}
