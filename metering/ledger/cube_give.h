/*
 * cube_give.h - hands on the columns of a cube that is made, a block of rows at a time.
 */
#ifndef METERING_LEDGER_CUBE_GIVE_H
#define METERING_LEDGER_CUBE_GIVE_H

#include "metering/ledger/cube.h"
#include "metering/ledger/fact.h"

struct cube_giving {
    cube_column_fn *fn;
    void *arg;
    int64_t at; /* the block at hand, from 0 */
    size_t n;   /* its rows, 1 to FACT_BLOCK */
    int64_t number[FACT_BLOCK];
    money_int amount[FACT_BLOCK];
    struct buf bytes;
};

/* Nothing is at hand. On the heap: it is large. */
struct cube_giving *cube_giving_new(cube_column_fn *fn, void *arg);
void cube_giving_free(struct cube_giving *g);
/* What stands in number, or amount, as this column of the block; zero throughout: no bytes. */
enum rc cube_give_numbers(struct cube_giving *g, unsigned number, struct fail *fail) RC_MUST;
enum rc cube_give_amounts(struct cube_giving *g, unsigned number, struct fail *fail) RC_MUST;

#endif
