/*
 * cube_give.c - see cube_give.h.
 */
#include "metering/ledger/cube_give.h"

#include <stdlib.h>

#include "base/xalloc.h"

enum { COLUMN_BYTES = 128 << 10 };

struct cube_giving *cube_giving_new(cube_column_fn *fn, void *arg)
{
    struct cube_giving *g = xcalloc(1, sizeof(*g));

    g->fn = fn;
    g->arg = arg;
    buf_init(&g->bytes, COLUMN_BYTES);
    return g;
}

void cube_giving_free(struct cube_giving *g)
{
    buf_release(&g->bytes);
    free(g);
}

enum rc cube_give_numbers(struct cube_giving *g, unsigned number, struct fail *fail)
{
    bool any = false;
    enum rc rc = RC_OK;

    for (size_t i = 0; i < g->n; i++)
        any |= g->number[i] != 0;
    buf_clear(&g->bytes);
    if (any)
        rc = fact_encode_numbers(g->number, g->n, &g->bytes);
    return rc == RC_OK ? g->fn(number, g->at, buf_view(&g->bytes), g->arg, fail) : rc;
}

enum rc cube_give_amounts(struct cube_giving *g, unsigned number, struct fail *fail)
{
    bool any = false;
    enum rc rc = RC_OK;

    for (size_t i = 0; i < g->n; i++)
        any |= g->amount[i] != 0;
    buf_clear(&g->bytes);
    if (any)
        rc = fact_encode_amounts(g->amount, g->n, &g->bytes);
    return rc == RC_OK ? g->fn(number, g->at, buf_view(&g->bytes), g->arg, fail) : rc;
}
