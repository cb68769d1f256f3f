/*
 * against.c - the period that a report compares its own with; see report_int.h.
 */
#include <string.h>

#include "reports/period.h"
#include "reports/report_int.h"

/* The calendar period before ours, where ours is a whole one. */
static bool calendar_before(const struct report_params *p, int64_t *from_us, int64_t *to_us)
{
    static const enum period periods[] = {PERIOD_HOUR, PERIOD_DAY,     PERIOD_WEEK,
                                          PERIOD_MONTH, PERIOD_QUARTER, PERIOD_YEAR};

    for (size_t i = 0; i < sizeof(periods) / sizeof(*periods); i++) {
        int64_t start, end;

        zone_period(p->zone, periods[i], p->from_us, &start, &end);
        if (start == p->from_us && end == p->to_us) {
            zone_period(p->zone, periods[i], start - 1, from_us, to_us);
            return true;
        }
    }
    return false;
}

static enum rc wrong(struct run *run, const char *why)
{
    enum rc rc = buf_printf(run->error, "against \"" STRV_FMT "\" %s",
                            STRV_ARG(strv_head(run->params->against, 80)), why);

    (void)rc; /* a full buffer only cuts the sentence */
    return RC_BAD;
}

/* "2026-10", or "2026-10-01..2026-10-15" with instants as `from` takes them. */
static enum rc given(struct run *run, int64_t *from_us, int64_t *to_us)
{
    const struct report_params *p = run->params;
    struct strv from = p->against, to = STRV_NONE;

    if (period_parse_month(p->zone, p->against, from_us, to_us))
        return RC_OK;
    for (size_t i = 0; i + 1 < p->against.n; i++) {
        if (p->against.p[i] == '.' && p->against.p[i + 1] == '.') {
            from = strv_head(p->against, i);
            to = strv_skip(p->against, i + 2);
            break;
        }
    }
    if (!period_parse_instant(p->zone, from, from_us) ||
        !period_parse_instant(p->zone, to, to_us))
        return wrong(run, "is neither \"previous\" nor a month (2026-10) nor a period "
                          "(2026-10-01..2026-10-15)");
    return *from_us < *to_us ? RC_OK : wrong(run, "ends before it begins");
}

int64_t run_known_until(const struct run *run)
{
    const struct report_params *p = run->params;
    int64_t us = run->as_of.us;

    return p->now_us < p->to_us && us > p->from_us && us < p->now_us ? us : p->now_us;
}

enum rc run_against(struct run *run)
{
    const struct report_params *p = run->params;
    int64_t known_us = run_known_until(run);
    int64_t from_us, to_us;
    enum rc rc = RC_OK;

    if (p->against.n && !strv_eq(p->against, STRV("previous"))) {
        rc = given(run, &from_us, &to_us);
        if (rc != RC_OK)
            return rc;
    } else {
        if (!calendar_before(p, &from_us, &to_us)) {
            to_us = p->from_us;
            from_us = p->from_us - (p->to_us - p->from_us);
        }
        /* A month that has just begun is not compared with a whole one. */
        if (known_us > p->from_us && known_us < p->to_us &&
            to_us - from_us > known_us - p->from_us)
            to_us = from_us + (known_us - p->from_us);
    }
    run->has_against = true;
    run->against_from_us = from_us;
    run->against_to_us = to_us;
    return RC_OK;
}

static bool holds(const struct ledger_condition *c, struct strv value)
{
    for (size_t i = 0; i < c->n_values; i++) {
        bool fits = c->op == LEDGER_GLOB ? strv_glob(c->values[i], value)
                                         : strv_eq(c->values[i], value);
        if (fits)
            return c->op != LEDGER_NE;
    }
    return c->op == LEDGER_NE;
}

bool run_wants(const struct run *run, enum ledger_field_id field, struct strv value)
{
    const struct report_params *p = run->params;

    for (size_t i = 0; i < p->n_where; i++) {
        if (p->where[i].field.id == field && !holds(&p->where[i], value))
            return false;
    }
    return true;
}
