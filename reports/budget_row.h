/*
 * budget_row.h - a counter of a limit as a row of the report on budgets.
 */
#ifndef REPORTS_BUDGET_ROW_H
#define REPORTS_BUDGET_ROW_H

#include "metering/limits/limit.h"
#include "reports/report_int.h"

/* One counter: a limit's window for a scope. */
struct budget {
    size_t limit;
    const struct limit_def *def;
    struct strv scope;
    int64_t start_us, end_us; /* 0 and 0: rolling */
    bool has_counter, has_ledger;
    bool has_lines; /* in the window */
    uint64_t spent, reserved, ledger;
    uint64_t amount; /* the limit now */
    int64_t now_us;
    bool has_forecast;
    money_int forecast; /* atto-USD, or the limit's unit */
    int64_t alerted_us; /* when the last of its thresholds was reached; 0: none was */
    unsigned alerted_percent;
    bool has_denied;
    uint64_t denied; /* requests that it refused in the window */
};

/* The report's columns, and that it has no total. */
void budget_columns(struct run *run);

/* Adds the row. As sheet_row and sheet_text. */
enum rc budget_put(struct run *run, const struct budget *b) RC_MUST;

/*
 * Which of two is nearer to its limit, by used_ratio: negative where that is a; 0 where both
 * are as near, or of neither is known what was spent. Those of which it is are nearer than others.
 */
int budget_nearer(const struct budget *a, const struct budget *b);

#endif
