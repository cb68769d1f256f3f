/*
 * invoice_csv.c - CSV exports: AWS CUR 2.0, Azure, FOCUS, and plain; see invoice.h.
 *
 * Which of them a file is its header tells.
 */
#include <string.h>

#include "base/datetime.h"
#include "reports/import_csv.h"
#include "reports/invoice.h"

enum { NO_COLUMN = IMPORT_CSV_COLUMNS_MAX, THOUSAND = 3, MILLION = 6 };

struct table {
    struct invoice *v;
    struct import_csv csv;
    enum { TABLE_PLAIN = 0, TABLE_AWS, TABLE_AZURE, TABLE_FOCUS } kind;
    size_t from, to, model, class, quantity, unit, cost, currency, account, tier, type, what;
    size_t product;
};

static enum rc cell_fault(const struct table *t, size_t column, const char *why)
{
    return invoice_fault(t->v, column < t->csv.n_columns ? t->csv.cell_at[column] : t->csv.at,
                         import_csv_cell(&t->csv, column), why);
}

/* ---- which columns --------------------------------------------------------------------------
 */

static void find_columns(struct table *t)
{
    static const char *const names[4][13] = {
        /* from, to, model, class, quantity, unit, cost, currency, account, tier, type, what,
           product */
        {"date|day|usage_date|start", "end", "model", "token_class|class|token_type",
         "quantity|tokens|usage", "unit", "cost_usd|cost|amount_usd|amount", "currency",
         "account|project|workspace|subscription", "tier|service_tier", "type|charge_type",
         "description|what", "-"},
        {"line_item_usage_start_date", "line_item_usage_end_date", "line_item_usage_type",
         "line_item_usage_type", "line_item_usage_amount", "pricing_unit",
         "line_item_unblended_cost", "line_item_currency_code", "line_item_usage_account_id",
         "-", "line_item_line_item_type", "line_item_line_item_description",
         "line_item_product_code"},
        {"date|usagedatetime|usagedate", "-", "metername", "metername",
         "quantity|usagequantity", "unitofmeasure",
         "costinusd|costinbillingcurrency|pretaxcost|cost",
         "billingcurrency|billingcurrencycode", "subscriptionid|subscriptionguid", "-",
         "chargetype", "productname|product", "metercategory"},
        {"ChargePeriodStart", "ChargePeriodEnd", "x_Model|x_UsageType|SkuMeter",
         "SkuMeter|x_UsageType", "ConsumedQuantity", "ConsumedUnit", "BilledCost|EffectiveCost",
         "BillingCurrency", "SubAccountId", "-", "ChargeCategory", "ChargeDescription",
         "ServiceName"},
    };
    size_t *const to[13] = {&t->from, &t->to,   &t->model,    &t->class,   &t->quantity,
                            &t->unit, &t->cost, &t->currency, &t->account, &t->tier,
                            &t->type, &t->what, &t->product};

    for (size_t i = 0; i < 13; i++)
        *to[i] = import_csv_column(&t->csv, names[t->kind][i]);
    if (t->kind == TABLE_FOCUS) {
        size_t usage_type = import_csv_column(&t->csv, "x_UsageType");
        /* AWS's SkuMeter says less than its usage type. */
        if (usage_type != NO_COLUMN && import_csv_column(&t->csv, "x_Model") == NO_COLUMN)
            t->class = t->model = usage_type;
    }
}

static enum rc open_table(struct table *t)
{
    if (!import_csv_open(&t->csv, t->v->text, &t->v->arena))
        return invoice_fault(t->v, t->csv.at, STRV_NONE, t->csv.why);
    if (import_csv_column(&t->csv, "ChargePeriodStart") != NO_COLUMN)
        t->kind = TABLE_FOCUS;
    else if (import_csv_column(&t->csv, "line_item_usage_start_date") != NO_COLUMN)
        t->kind = TABLE_AWS;
    else if (import_csv_column(&t->csv, "metername") != NO_COLUMN)
        t->kind = TABLE_AZURE;
    find_columns(t);
    if (t->from == NO_COLUMN)
        return invoice_fault(t->v, 0, t->csv.header[0],
                             "begins no header that is known: FOCUS, AWS CUR, Azure, or a "
                             "column date");
    if (t->cost == NO_COLUMN && t->quantity == NO_COLUMN)
        return invoice_fault(t->v, 0, t->csv.header[0],
                             "begins a header without cost and without quantity");
    return RC_OK;
}

/* ---- cells ------------------------------------------------------------------------------ */

/* "2026-11-21", "11/21/2026", "2026-11-21 00:00:00", RFC 3339; UTC where nothing is said. */
static bool read_time(struct strv text, int64_t *us, bool *is_day)
{
    int year, month, day;
    char iso[32];

    *is_day = true;
    if (text.n == 10 && text.p[2] == '/' && text.p[5] == '/') {
        const char *p = text.p;
        memcpy(iso, (char[]){p[6], p[7], p[8], p[9], '-', p[0], p[1], '-', p[3], p[4]}, 10);
        text = strv_make(iso, 10);
    }
    if (date_parse(text, &year, &month, &day)) {
        *us = date_to_days(year, month, day) * US_PER_DAY;
        return true;
    }
    *is_day = false;
    if (datetime_parse(text, us))
        return true;
    if (text.n < 19 || text.n > sizeof(iso) - 2 || (text.p[10] != ' ' && text.p[10] != 'T'))
        return false;
    memcpy(iso, text.p, text.n);
    iso[10] = 'T';
    iso[text.n] = 'Z';
    return datetime_parse(strv_make(iso, text.n + 1), us);
}

static enum rc read_period(const struct table *t, struct invoice_line *line)
{
    struct strv to = import_csv_cell(&t->csv, t->to);
    bool is_day;

    if (!read_time(import_csv_cell(&t->csv, t->from), &line->from_us, &is_day))
        return cell_fault(t, t->from, "is no date");
    line->to_us = line->from_us + (is_day || t->to == NO_COLUMN ? US_PER_DAY : 1);
    if (to.n && !read_time(to, &line->to_us, &is_day))
        return cell_fault(t, t->to, "is no date");
    return line->to_us > line->from_us ? RC_OK : cell_fault(t, t->to, "is not after the start");
}

/* Thousands or millions of the unit are one of the quantity. */
static int unit_scale(struct strv unit)
{
    if (invoice_holds(unit, "1M") || invoice_holds(unit, "1000000") ||
        invoice_holds(unit, "million"))
        return MILLION;
    return invoice_holds(unit, "1K") || invoice_holds(unit, "1000") ? THOUSAND : 0;
}

static enum rc read_numbers(const struct table *t, struct invoice_line *line)
{
    struct strv quantity = import_csv_cell(&t->csv, t->quantity);
    struct strv cost = import_csv_cell(&t->csv, t->cost);
    struct strv currency = import_csv_cell(&t->csv, t->currency);

    if (quantity.n) {
        line->has_quantity = invoice_quantity(
            quantity, unit_scale(import_csv_cell(&t->csv, t->unit)), &line->quantity);
        if (!line->has_quantity && t->kind == TABLE_PLAIN)
            return cell_fault(t, t->quantity, "is no whole number");
    }
    if (!cost.n)
        return RC_OK;
    if (!invoice_money(t->v, cost, 0, &line->cost))
        return cell_fault(t, t->cost, "is no amount");
    line->has_cost = true;
    /* Azure's column in dollars stands beside the billing currency's. */
    if (currency.n && !strv_eq_nocase(currency, STRV("usd")) &&
        !invoice_holds(t->csv.header[t->cost], "usd"))
        return cell_fault(t, t->currency, "is not USD");
    return RC_OK;
}

static void classify(const struct table *t, struct invoice_line *line)
{
    static const char *const outside[] = {"tax", "credit",     "refund",
                                          "fee", "adjustment", "discount"};
    struct strv type = import_csv_cell(&t->csv, t->type);

    line->class = invoice_class_of(import_csv_cell(&t->csv, t->class));
    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        /* AWS calls usage at a private rate DiscountedUsage. */
        if (invoice_holds(type, outside[i]) && !invoice_holds(type, "usage"))
            line->kind = INVOICE_CREDIT_TAX;
    }
    if (line->has_cost && line->cost.atto < 0)
        line->kind = INVOICE_CREDIT_TAX;
    if (line->kind == INVOICE_USAGE && line->class == INVOICE_ALL &&
        import_csv_cell(&t->csv, t->class).n) {
        line->kind = INVOICE_UNMETERED;
        line->class = INVOICE_OTHER;
        line->what = import_csv_cell(&t->csv, t->class);
    }
}

/* Other services are on the same bill: only models' lines are wanted. */
static bool is_wanted(const struct table *t)
{
    struct strv product = import_csv_cell(&t->csv, t->product);

    if (t->kind == TABLE_AWS)
        return invoice_holds(product, "bedrock");
    if (t->kind == TABLE_AZURE && product.n)
        return invoice_holds(product, "openai") || invoice_holds(product, "foundry") ||
               invoice_holds(product, "cognitive") || invoice_holds(product, "ai services");
    if (t->kind == TABLE_FOCUS) {
        size_t category = import_csv_column(&t->csv, "ServiceCategory");
        struct strv text = import_csv_cell(&t->csv, category);
        return text.n == 0 || invoice_holds(text, "AI and");
    }
    return true;
}

static enum rc add_line(struct table *t)
{
    struct invoice_line line = {.model = import_csv_cell(&t->csv, t->model),
                                .account = import_csv_cell(&t->csv, t->account),
                                .tier = import_csv_cell(&t->csv, t->tier),
                                .what = import_csv_cell(&t->csv, t->what)};
    enum rc rc = read_period(t, &line);

    if (rc == RC_OK)
        rc = read_numbers(t, &line);
    if (rc != RC_OK)
        return rc;
    classify(t, &line);
    /* What is bought besides tokens is of no model that is metered. */
    if (line.kind != INVOICE_USAGE)
        line.model = STRV_NONE;
    return invoice_add(t->v, &line);
}

enum rc invoice_csv(struct invoice *v)
{
    struct table t = {.v = v};
    enum rc rc = open_table(&t);

    while (rc == RC_OK && import_csv_next(&t.csv)) {
        if (is_wanted(&t))
            rc = add_line(&t);
    }
    if (rc == RC_OK && t.csv.why)
        rc = invoice_fault(v, t.csv.at, strv_head(strv_skip(v->text, t.csv.at), 20), t.csv.why);
    if (rc == RC_OK && t.kind == TABLE_AWS)
        v->provider = STRV("bedrock");
    if (rc == RC_OK && t.kind == TABLE_AZURE)
        v->provider = STRV("azure");
    return rc;
}
