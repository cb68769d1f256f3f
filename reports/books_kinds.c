/*
 * books_kinds.c - the kinds of books.h: their columns, and what each may hold.
 */
#include <stdio.h>

#include "base/datetime.h"
#include "base/tag.h"
#include "reports/books.h"
#include "reports/currency.h"
#include "reports/savings.h"

/* ---- what a field may hold ---------------------------------------------------------------- */

static const char *check_when(struct strv v)
{
    int year, month, day;
    char date[sizeof("2026-11-01")];

    if (v.n == sizeof("2026-11") - 1) {
        (void)snprintf(date, sizeof(date), STRV_FMT "-01", STRV_ARG(v));
        v = strv_z(date);
    }
    return date_parse(v, &year, &month, &day) ? NULL
                                              : "is neither a month (2026-11) nor a date "
                                                "(2026-11-21)";
}

static const char *check_month(struct strv v)
{
    return v.n == sizeof("2026-11") - 1 && !check_when(v) ? NULL : "is no month (2026-11)";
}

static const char *check_date(struct strv v)
{
    int year, month, day;

    return date_parse(v, &year, &month, &day) ? NULL : "is no date (2026-11-21)";
}

static const char *check_name(struct strv v)
{
    return tag_name_is_valid(v) ? NULL : "is no name ([a-z0-9_.-], at most 64 characters)";
}

static const char *check_value(struct strv v)
{
    return tag_value_is_valid(v) ? NULL : "is no text of 1 to 256 printable bytes";
}

static const char *check_count(struct strv v)
{
    uint64_t n;

    return strv_parse_u64(v, INT64_MAX, &n) ? NULL : "is no whole number";
}

static const char *check_amount(struct strv v)
{
    struct money m;

    return money_parse(v, &m) == RC_OK
               ? NULL
               : "is no amount (1234.56: a point, no thousands, at most 18 decimals)";
}

static const char *check_currency(struct strv v)
{
    unsigned exponent;

    if (strv_eq(v, STRV("USD")))
        return "is the ledger's own currency";
    return currency_exponent(v, &exponent) ? NULL : "is no currency of ISO 4217 (EUR)";
}

static const char *check_rate(struct strv v)
{
    struct currency_rate rate;

    return currency_rate_parse(v, &rate)
               ? NULL
               : "is no rate (0.9214: above 0, at most 18 digits, 9 of them decimals)";
}

static const char *check_method(struct strv v)
{
    return strv_eq(v, STRV("direct")) || strv_eq(v, STRV("proportional")) ||
                   strv_eq(v, STRV("fixed"))
               ? NULL
               : "is none of direct, proportional, fixed";
}

static const char *check_driver(struct strv v)
{
    return strv_eq(v, STRV("cost")) || strv_eq(v, STRV("requests")) || strv_eq(v, STRV("tokens"))
               ? NULL
               : "is none of cost, requests, tokens";
}

static const char *check_where(struct strv v)
{
    size_t equals = strv_find(v, '=');

    if (equals == v.n || equals == 0 || !tag_value_is_valid(strv_skip(v, equals + 1)))
        return "is no condition (feature=guardrail)";
    return tag_name_is_valid(strv_head(v, equals)) ||
                   strv_starts(v, STRV("tag:"))
               ? NULL
               : "is no condition (feature=guardrail)";
}

static const char *check_rule(struct strv v)
{
    return savings_rule(v) ? NULL : "is no rule of the report savings";
}

static const char *check_scope(struct strv v)
{
    return savings_scope_is_valid(v) ? NULL : "is no scope (feature=chat,customer=acme)";
}

static const char *check_state(struct strv v)
{
    return strv_eq(v, STRV("open")) || strv_eq(v, STRV("accepted")) ||
                   strv_eq(v, STRV("done")) || strv_eq(v, STRV("dismissed"))
               ? NULL
               : "is none of open, accepted, done, dismissed";
}

/* ---- the kinds ----------------------------------------------------------------------------- */

#define KEY      true, true
#define WANTED   true, false
#define OPTIONAL false, false
#define SCOPE    false, true

static const struct books_column counts[] = {
    {"date", "day or month that the count is of", KEY, check_when},
    {"unit", "what was counted: order, case, page", KEY, check_name},
    {"team", "whose it is; empty: everybody's", SCOPE, check_value},
    {"feature", "", SCOPE, check_value},
    {"environment", "", SCOPE, check_value},
    {"count", "how many", WANTED, check_count},
    {NULL, NULL, false, false, NULL},
};
static const struct books_column costs[] = {
    {"date", "day or month of the cost", KEY, check_when},
    {"pool", "what it belongs to: vector-db, support", KEY, check_name},
    {"item", "tells several amounts of a pool and date apart", SCOPE, check_value},
    {"amount_usd", "dollars; below zero for a credit", WANTED, check_amount},
    {NULL, NULL, false, false, NULL},
};
static const struct books_column pools[] = {
    {"pool", "its name, as in costs", KEY, check_name},
    {"method", "direct (by use), proportional (by weights), fixed (equal parts)", WANTED,
     check_method},
    {"driver", "direct: by cost (default), requests or tokens", OPTIONAL, check_driver},
    {"where", "metered spend that is shared out too: feature=guardrail", OPTIONAL, check_where},
    {NULL, NULL, false, false, NULL},
};
static const struct books_column weights[] = {
    {"pool", "of a proportional pool", KEY, check_name},
    {"team", "who bears it", KEY, check_value},
    {"from", "first day that the weight holds", KEY, check_date},
    {"to", "first day that it no longer does; empty: until another from", OPTIONAL, check_date},
    {"weight", "whole number: heads, revenue", WANTED, check_count},
    {NULL, NULL, false, false, NULL},
};
static const struct books_column plan[] = {
    {"month", "the month planned", KEY, check_month},
    {"team", "whose plan; empty: spend without a team", SCOPE, check_value},
    {"amount_usd", "planned dollars", WANTED, check_amount},
    {NULL, NULL, false, false, NULL},
};
static const struct books_column accounts[] = {
    {"team", "the team; * for all that have no line", KEY, check_value},
    {"cost_centre", "", WANTED, check_value},
    {"gl_account", "account that is debited", WANTED, check_value},
    {NULL, NULL, false, false, NULL},
};

static const struct books_column decisions[] = {
    {"rule", "of the report savings: model, batch, cache, ...", KEY, check_rule},
    {"upstream", "as the report has it", SCOPE, check_value},
    {"model", "as the report has it", SCOPE, check_value},
    {"alternative", "as the report has it", SCOPE, check_value},
    {"environment", "as the report has it", SCOPE, check_value},
    {"team", "of the report by team", SCOPE, check_value},
    {"scope", "of a report by other fields: feature=chat,customer=acme", SCOPE, check_scope},
    {"state", "open, accepted, done, dismissed", WANTED, check_state},
    {"owner", "who sees to it", OPTIONAL, check_value},
    {"since", "day from which the state holds", WANTED, check_date},
    {"note", "why", OPTIONAL, check_value},
    {NULL, NULL, false, false, NULL},
};
static const struct books_column adjustments[] = {
    {"name", "launch, price-cut, evaluation", KEY, check_name},
    {"team", "whose spend it changes; empty: nobody's in particular", SCOPE, check_value},
    {"from", "first day that it changes", KEY, check_date},
    {"to", "first day that it no longer does; empty: the one day", OPTIONAL, check_date},
    {"amount_usd", "dollars more over all those days; below zero for less", WANTED,
     check_amount},
    {NULL, NULL, false, false, NULL},
};

static const struct books_column invoices[] = {
    {"month", "the month invoiced", KEY, check_month},
    {"account", "billing account, as in BillingAccountId of the FOCUS export", KEY, check_value},
    {"invoice_id", "its number", WANTED, check_value},
    {NULL, NULL, false, false, NULL},
};

static const struct books_column rates[] = {
    {"currency", "its code: EUR", KEY, check_currency},
    {"date", "day that the rate is of", KEY, check_date},
    {"rate", "how much of it a dollar is: 0.9214", WANTED, check_rate},
    {"source", "who says so", WANTED, check_value},
    {NULL, NULL, false, false, NULL},
};

static const struct books_column commitments[] = {
    {"id", "the contract's or credit's number", KEY, check_value},
    {"account", "billing account, as in BillingAccountId of the FOCUS export", WANTED, check_value},
    {"provider", "who sold it, as the price book names them: openai", OPTIONAL, check_name},
    {"name", "what it is called", OPTIONAL, check_value},
    {"from", "first day of its term", WANTED, check_date},
    {"to", "first day after its term", WANTED, check_date},
    {"amount_usd", "dollars committed and paid", WANTED, check_amount},
    {NULL, NULL, false, false, NULL},
};

static const struct {
    const char *name;
    const struct books_column *columns;
} kinds[BOOKS_KINDS] = {
    [BOOKS_COUNTS] = {"counts", counts},   [BOOKS_COSTS] = {"costs", costs},
    [BOOKS_POOLS] = {"pools", pools},      [BOOKS_WEIGHTS] = {"weights", weights},
    [BOOKS_PLAN] = {"plan", plan},         [BOOKS_ACCOUNTS] = {"accounts", accounts},
    [BOOKS_DECISIONS] = {"decisions", decisions},
    [BOOKS_ADJUSTMENTS] = {"adjustments", adjustments},
    [BOOKS_INVOICES] = {"invoices", invoices},
    [BOOKS_RATES] = {"rates", rates},
    [BOOKS_COMMITMENTS] = {"commitments", commitments},
};

const char *books_kind_name(enum books_kind kind)
{
    return kinds[kind].name;
}

bool books_kind_parse(struct strv name, enum books_kind *out)
{
    for (unsigned i = 0; i < BOOKS_KINDS; i++) {
        if (strv_eq(name, strv_z(kinds[i].name))) {
            *out = (enum books_kind)i;
            return true;
        }
    }
    return false;
}

const struct books_column *books_column_at(enum books_kind kind, size_t i)
{
    return kinds[kind].columns[i].name ? &kinds[kind].columns[i] : NULL;
}
