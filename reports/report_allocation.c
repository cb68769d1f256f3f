/*
 * report_allocation.c - how shared costs were split, row by row.
 */
#include <stdlib.h>
#include <string.h>

#include "reports/allocation.h"

enum allocation_column {
    ALLOC_POOL = 0,
    ALLOC_TEAM,
    ALLOC_METHOD,
    ALLOC_DRIVER,
    ALLOC_FROM,
    ALLOC_TO,
    ALLOC_QUANTITY,
    ALLOC_DRIVER_COST,
    ALLOC_RATIO,
    ALLOC_METERED,
    ALLOC_IMPORTED,
    ALLOC_AMOUNT,
    ALLOC_REMAINDER,
};

static void allocation_columns(struct sheet *t)
{
    sheet_column(t, "pool", "pool", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "team", "team", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "method", "method", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "driver", "driver", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "valid_from", "from", COLUMN_TIME, COLUMN_KEY | COLUMN_MACHINE);
    sheet_column(t, "valid_to", "to", COLUMN_TIME, COLUMN_KEY | COLUMN_MACHINE);
    sheet_column(t, "driver_quantity", "quantity", COLUMN_COUNT, 0);
    sheet_column(t, "driver_cost_usd", "quantity USD", COLUMN_MONEY, COLUMN_MACHINE);
    sheet_column(t, "ratio", "of pool", COLUMN_RATIO, COLUMN_PER_CENT | COLUMN_FINE);
    sheet_column(t, "cost_usd", "metered USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "imported_usd", "imported USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "amount_usd", "amount USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "remainder_usd", "remainder USD", COLUMN_MONEY, COLUMN_ADDS | COLUMN_MACHINE);
}

static void amount_cells(struct money metered, struct money imported, struct money remainder,
                         struct cell *c)
{
    c[ALLOC_METERED] = cell_money(metered);
    c[ALLOC_IMPORTED] = cell_money(imported);
    c[ALLOC_AMOUNT] = cell_money(money_add(metered, imported));
    c[ALLOC_REMAINDER] = cell_money(remainder);
}

static struct strv pool_name(const struct allocated *row)
{
    return row->method == METHOD_OWN ? STRV("(own)") : row->pool;
}

static struct strv team_name(const struct allocated *row)
{
    return row->is_unallocated ? STRV("(unallocated)") : row->team;
}

static enum rc put_row(struct run *run, const struct allocated *row)
{
    const money_int units = INT64_C(1000000000000);
    struct cell *c;
    enum rc rc = sheet_row(&run->sheet, &c);

    if (rc == RC_OK)
        rc = sheet_text(&run->sheet, pool_name(row), &c[ALLOC_POOL]);
    if (rc == RC_OK)
        rc = run_value(run, team_name(row), &c[ALLOC_TEAM]);
    if (rc == RC_OK)
        rc = sheet_text(&run->sheet, strv_z(allocation_method_name(row->method)),
                        &c[ALLOC_METHOD]);
    if (rc == RC_OK)
        rc = sheet_text(&run->sheet, strv_z(allocation_driver_name(row->driver)),
                        &c[ALLOC_DRIVER]);
    if (rc != RC_OK)
        return rc;
    c[ALLOC_FROM] = cell_time(row->from_us);
    c[ALLOC_TO] = cell_time(row->to_us);
    if (row->driver == DRIVER_COST)
        c[ALLOC_DRIVER_COST] = cell_money((struct money){row->quantity});
    else if (!row->is_unallocated)
        c[ALLOC_QUANTITY] = cell_count((uint64_t)row->quantity);
    if (row->method != METHOD_OWN && !row->is_unallocated)
        c[ALLOC_RATIO] = cell_ratio(row->ratio, units);
    amount_cells(row->metered, row->imported, row->remainder, c);
    return RC_OK;
}

/* What a team used itself can be shown: its lines that are in no pool. */
static enum rc put_link(struct run *run, const struct allocation *a, const struct allocated *row,
                        struct cell *c)
{
    struct ledger_filter own;
    struct drill d;
    enum rc rc;

    if (row->method != METHOD_OWN)
        return RC_OK;
    ledger_filter_init(&own, run->params->from_us, run->params->to_us);
    rc = allocation_filter(a, allocation_pools(a), &own);
    drill_start(&d, run);
    drill_add(&d, (struct ledger_field){.id = FIELD_TEAM}, LEDGER_EQ, row->team);
    for (size_t i = 0; i < own.n_where; i++)
        drill_add(&d, own.where[i].field, own.where[i].op, own.where[i].values[0]);
    return rc == RC_OK ? drill_cell(run, &d, &c[run->lines]) : rc;
}

enum rc run_team_words(struct run *run)
{
    const struct report_params *p = run->params;

    if (p->n_by)
        return run_refuses(run, "by", "it is by team");
    if (p->grain != PERIOD_TOTAL)
        return run_refuses(run, "grain", "it is about the period as a whole");
    if (p->has_cohort)
        return run_refuses(run, "cohort", "it is a word of tasks");
    if (p->top)
        return run_refuses(run, "top", "it shows every amount");
    for (size_t i = 0; i < p->n_where; i++) {
        if (p->where[i].field.id != FIELD_TEAM)
            return run_refuses(run, "where", "shared costs are known by team alone");
    }
    return RC_OK;
}

enum rc report_allocation(struct run *run)
{
    struct money metered = MONEY_ZERO, imported = MONEY_ZERO, remainder = MONEY_ZERO;
    struct allocation a = {0};
    enum rc rc = run_team_words(run);

    if (rc != RC_OK)
        return rc;
    rc = allocation_make(run, &a);
    allocation_columns(&run->sheet);
    drill_column(run);
    for (size_t i = 0; rc == RC_OK && i < a.n; i++) {
        if (!run_wants(run, FIELD_TEAM, a.at[i].team))
            continue;
        rc = put_row(run, &a.at[i]);
        if (rc == RC_OK)
            rc = put_link(run, &a, &a.at[i],
                          sheet_cells(&run->sheet, run->sheet.n_rows - 1));
        metered = money_add(metered, a.at[i].metered);
        imported = money_add(imported, a.at[i].imported);
        remainder = money_add(remainder, a.at[i].remainder);
    }
    amount_cells(metered, imported, remainder, run->sheet.total);
    if (a.passed_over)
        run->note = "Imported costs whose day or month is not wholly in the period are left out.";
    allocation_release(&a);
    return rc;
}
