/*
 * focus_row.c - columns of FOCUS and how a charge fills them; see focus.h.
 *
 * Numbers are plain decimals and always have a point: readers infer types from text.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/csvw.h"
#include "base/datetime.h"
#include "base/jsonw.h"
#include "reports/focus_int.h"

enum {
    DECIMALS_OF_RATE = 18,
    DECIMALS_OF_MILLION = 6,
    DECIMALS_OF_MS = 3,
    DIGITS = 48,
};
#define DOLLAR ((money_int)NANO_PER_USD * ATTO_PER_NANO)

#define TRY(call)                                                                              \
    do {                                                                                       \
        enum rc try_rc = (call);                                                               \
        if (try_rc != RC_OK)                                                                   \
            return try_rc;                                                                     \
    } while (0)

/* ---- cells ------------------------------------------------------------------------------ */

/* digits x 10^-decimals, without needless zeros but with a point. */
static enum rc put_decimal(money_int digits, unsigned decimals, struct buf *out)
{
    char text[DIGITS];
    size_t n = sizeof(text);
    bool minus = digits < 0;
    unsigned at = 0;

    if (minus)
        digits = -digits;
    while (decimals > 1 && digits % 10 == 0) {
        digits /= 10;
        decimals--;
    }
    if (decimals == 0) {
        text[--n] = '0';
        text[--n] = '.';
    }
    do {
        text[--n] = (char)('0' + (int)(digits % 10));
        digits /= 10;
        if (++at == decimals)
            text[--n] = '.';
    } while (digits > 0 || at <= decimals);
    if (minus)
        text[--n] = '-';
    return buf_append(out, text + n, sizeof(text) - n);
}

static enum rc put_time(int64_t us, struct buf *out)
{
    char text[DATETIME_TEXT];

    datetime_format_s(us, text);
    return buf_append_strv(out, strv_z(text));
}

static unsigned own_decimals(const struct charge *c)
{
    return c->finer + (meter_is_time(c->meter) ? (unsigned)DECIMALS_OF_MS : 0U);
}

enum rc focus_product(const struct charge *c, struct money rate, money_int *digits,
                      unsigned *decimals)
{
    *decimals = DECIMALS_OF_RATE + DECIMALS_OF_MILLION + own_decimals(c);
    return __builtin_mul_overflow(rate.atto, c->quantity, digits) ? RC_LIMIT : RC_OK;
}

static enum rc put_product(const struct charge *c, struct money rate, struct buf *out)
{
    money_int digits;
    unsigned decimals;

    TRY(focus_product(c, rate, &digits, &decimals));
    return put_decimal(digits, decimals, out);
}

/* ---- what columns hold --------------------------------------------------------------------
 */

#define CELL(name)                                                                             \
    static enum rc put_##name(const struct charge *c, const struct focus_account *a,           \
                              struct buf *out)

#define TEXT_CELL(name, text)                                                                  \
    CELL(name)                                                                                 \
    {                                                                                          \
        (void)c;                                                                               \
        (void)a;                                                                               \
        return csvw_text(out, text);                                                            \
    }

/* A row about a commitment itself: dollars at a dollar each. */
static bool is_own(const struct charge *c)
{
    return c->kind == FOCUS_PURCHASE || c->kind == FOCUS_UNUSED;
}

/* What has a quantity of its own; what a correction adds has none, nor what no line tells. */
static bool has_quantity(const struct charge *c)
{
    return c->kind == FOCUS_USAGE;
}

/* A cell that a row without a SKU leaves empty. */
static struct strv of_sku(const struct charge *c, struct strv text)
{
    return c->kind == FOCUS_REST ? STRV_NONE : text;
}

static struct strv category_of(const struct charge *c)
{
    switch (c->kind) {
    case FOCUS_USAGE:
    case FOCUS_UNUSED:
        break;
    case FOCUS_PURCHASE:
        return STRV("Purchase");
    case FOCUS_REST:
        return STRV("Adjustment");
    case FOCUS_DELTA: /* usage needs a quantity, but in corrections of what was invoiced */
        return c->key[FOCUS_CLASS].n ? STRV("Usage") : STRV("Adjustment");
    }
    return STRV("Usage");
}

TEXT_CELL(nothing, STRV_NONE)
TEXT_CELL(charge_category, category_of(c))
TEXT_CELL(frequency, c->kind == FOCUS_PURCHASE ? STRV("One-Time") : STRV("Usage-Based"))
TEXT_CELL(usd, STRV("USD"))
TEXT_CELL(pricing_category,
          of_sku(c, c->commitment ? STRV("Committed") : STRV("Standard")))
TEXT_CELL(category, STRV("AI and Machine Learning"))
TEXT_CELL(subcategory, STRV("Generative AI"))
TEXT_CELL(billing_id, a->billing_id.n ? a->billing_id : c->key[FOCUS_UPSTREAM])
TEXT_CELL(billing_name, a->billing_name)
TEXT_CELL(sub_id, a->sub_id)
/* Where there is an account, FOCUS wants a name for it. */
TEXT_CELL(sub_name, a->sub_name.n ? a->sub_name : a->sub_id)
TEXT_CELL(unit, has_quantity(c) ? strv_z(focus_unit(c->meter)) : STRV_NONE)
TEXT_CELL(meter, of_sku(c, is_own(c) ? STRV("Commitment") : strv_z(focus_meter_words(c->meter))))
TEXT_CELL(seller, focus_seller(c->key[FOCUS_PROVIDER], false))
TEXT_CELL(service, focus_seller(c->key[FOCUS_PROVIDER], true))
TEXT_CELL(cost_source, c->key[FOCUS_COST_SOURCE])
TEXT_CELL(credential, c->key[FOCUS_CREDENTIAL])
TEXT_CELL(environment, c->key[FOCUS_ENVIRONMENT])
TEXT_CELL(feature, c->key[FOCUS_FEATURE])
TEXT_CELL(team, c->key[FOCUS_TEAM])
TEXT_CELL(list_source, c->key[FOCUS_LIST_SOURCE])
TEXT_CELL(served_model, c->key[FOCUS_SERVED_MODEL])
TEXT_CELL(price_id, c->key[FOCUS_PRICE_ID])
TEXT_CELL(request_id, c->key[FOCUS_REQUEST_ID])
TEXT_CELL(upstream, c->key[FOCUS_UPSTREAM])
TEXT_CELL(class, c->key[FOCUS_CLASS])
TEXT_CELL(region, c->key[FOCUS_REGION].n ? c->key[FOCUS_REGION] : a->region)
TEXT_CELL(invoice_id, c->invoice_id)
TEXT_CELL(tags, c->key[FOCUS_TAGS])
TEXT_CELL(commitment_category, c->commitment ? STRV("Spend") : STRV_NONE)
TEXT_CELL(commitment_id, c->commitment ? c->commitment->id : STRV_NONE)
TEXT_CELL(commitment_name, !c->commitment          ? STRV_NONE
                           : c->commitment->name.n ? c->commitment->name
                                                   : c->commitment->id)
TEXT_CELL(commitment_type, c->commitment ? STRV("Prepaid Spend") : STRV_NONE)
TEXT_CELL(commitment_unit, c->commitment ? STRV("USD") : STRV_NONE)
TEXT_CELL(commitment_status, !c->commitment || c->kind == FOCUS_PURCHASE ? STRV_NONE
                             : c->kind == FOCUS_UNUSED                   ? STRV("Unused")
                                                                         : STRV("Used"))

#define MONEY_CELL(name, digits, decimals)                                                     \
    CELL(name)                                                                                 \
    {                                                                                          \
        (void)a;                                                                               \
        return put_decimal(digits, decimals, out);                                             \
    }

MONEY_CELL(amount, c->amount.atto, DECIMALS_OF_RATE)
/* What a commitment covers was billed with its purchase, whose own cost is that of its use. */
MONEY_CELL(billed, c->commitment && c->kind != FOCUS_PURCHASE ? 0 : c->amount.atto,
           DECIMALS_OF_RATE)
MONEY_CELL(effective, c->kind == FOCUS_PURCHASE ? 0 : c->amount.atto, DECIMALS_OF_RATE)
MONEY_CELL(requests, c->requests, c->finer)

static enum rc put_price(const struct charge *c, struct money rate, struct buf *out)
{
    if (c->kind == FOCUS_REST)
        return RC_OK;
    return put_decimal(is_own(c) ? DOLLAR : rate.atto, DECIMALS_OF_RATE, out);
}

CELL(rate)
{
    (void)a;
    return put_price(c, c->rate, out);
}

CELL(list_rate)
{
    (void)a;
    return put_price(c, c->list_rate, out);
}

CELL(consumed)
{
    (void)a;
    return has_quantity(c) ? put_decimal(c->quantity, own_decimals(c), out) : RC_OK;
}

CELL(priced)
{
    if (is_own(c))
        return put_amount(c, a, out);
    return has_quantity(c)
               ? put_decimal(c->quantity, DECIMALS_OF_MILLION + own_decimals(c), out)
               : RC_OK;
}

CELL(commitment_quantity)
{
    return c->commitment ? put_amount(c, a, out) : RC_OK;
}

CELL(list_cost)
{
    (void)a;
    return has_quantity(c) ? put_product(c, c->list_rate, out)
                           : put_decimal(c->list.atto, DECIMALS_OF_RATE, out);
}

CELL(contracted_cost)
{
    return has_quantity(c) ? put_product(c, c->rate, out) : put_amount(c, a, out);
}

CELL(from)
{
    (void)a;
    return put_time(c->from_us, out);
}

CELL(to)
{
    (void)a;
    return put_time(c->to_us, out);
}

/* The provider's invoice is of a calendar month, UTC. */
int64_t focus_month(int64_t us, int more)
{
    int64_t days = (us - (us % US_PER_DAY + US_PER_DAY) % US_PER_DAY) / US_PER_DAY;
    int year, month, day;

    date_from_days(days, &year, &month, &day);
    month += more;
    if (month > 12) {
        month = 1;
        year++;
    }
    return date_to_days(year, month, 1) * US_PER_DAY;
}

CELL(month)
{
    (void)a;
    return put_time(c->month_us, out);
}

CELL(next_month)
{
    (void)a;
    return put_time(focus_month(c->month_us, 1), out);
}

CELL(pricing_unit)
{
    (void)a;
    if (is_own(c))
        return csvw_text(out, STRV("USD"));
    if (!has_quantity(c))
        return RC_OK;
    return buf_printf(out, "1000000 %s", focus_unit(c->meter));
}

/* Texts that are put together are short: longer ones are refused with the row. */
static enum rc put_joined(struct buf *text, enum rc rc, struct buf *out)
{
    if (rc == RC_OK)
        rc = csvw_text(out, buf_view(text));
    buf_release(text);
    return rc;
}

CELL(description)
{
    struct strv tier = c->key[FOCUS_TIER];
    struct buf text;
    enum rc rc;

    (void)a;
    buf_init(&text, FOCUS_ROW_MAX_BYTES);
    if (is_own(c))
        return put_joined(&text,
                          buf_printf(&text, "%s commitment " STRV_FMT,
                                     c->kind == FOCUS_PURCHASE ? "Purchase of" : "Unused part of",
                                     STRV_ARG(c->commitment->id)),
                          out);
    rc = buf_printf(&text, "%s%s for " STRV_FMT, c->kind == FOCUS_DELTA ? "Correction of " : "",
                    c->kind == FOCUS_REST ? "Cost beyond its meters"
                                          : focus_meter_words(c->meter),
                    STRV_ARG(c->key[FOCUS_MODEL]));
    if (rc == RC_OK && tier.n)
        rc = buf_printf(&text, " (" STRV_FMT ")", STRV_ARG(tier));
    return put_joined(&text, rc, out);
}

static enum rc sku(const struct charge *c, bool price, struct buf *out)
{
    struct strv tier = c->key[FOCUS_TIER].n ? c->key[FOCUS_TIER] : STRV("standard");
    struct buf text;
    enum rc rc;

    buf_init(&text, FOCUS_ROW_MAX_BYTES);
    if (is_own(c))
        return put_joined(&text,
                          buf_printf(&text, STRV_FMT "/commitment/" STRV_FMT "%s",
                                     STRV_ARG(c->commitment->account),
                                     STRV_ARG(c->commitment->id), price ? "/prepaid" : ""),
                          out);
    rc = buf_printf(&text, STRV_FMT "/" STRV_FMT "/%s", STRV_ARG(c->key[FOCUS_PROVIDER]),
                    STRV_ARG(c->key[FOCUS_MODEL]), meter_name(c->meter));
    if (rc == RC_OK && price)
        rc = buf_printf(&text, "/" STRV_FMT, STRV_ARG(tier));
    if (rc == RC_OK && price && c->key[FOCUS_REGION].n)
        rc = buf_printf(&text, "/geo-" STRV_FMT, STRV_ARG(c->key[FOCUS_REGION]));
    if (rc == RC_OK && price && c->key[FOCUS_CONTEXT].n)
        rc = buf_printf(&text, "/ctx-" STRV_FMT, STRV_ARG(c->key[FOCUS_CONTEXT]));
    if (rc == RC_OK && price && c->key[FOCUS_VARIANT].n)
        rc = buf_printf(&text, "/" STRV_FMT, STRV_ARG(c->key[FOCUS_VARIANT]));
    return put_joined(&text, rc, out);
}

CELL(sku_id)
{
    (void)a;
    return c->kind == FOCUS_REST ? RC_OK : sku(c, false, out);
}

CELL(sku_price_id)
{
    (void)a;
    return c->kind == FOCUS_REST ? RC_OK : sku(c, true, out);
}

static void member(struct jsonw *w, const char *name, struct strv value)
{
    if (value.n == 0)
        return;
    jsonw_key(w, strv_z(name));
    jsonw_string(w, value);
}

CELL(details)
{
    const struct focus_meter *m = focus_meter(c->meter);
    struct jsonw w;
    struct buf text;

    (void)a;
    if (is_own(c) || c->kind == FOCUS_REST)
        return RC_OK;
    buf_init(&text, FOCUS_ROW_MAX_BYTES);
    jsonw_start(&w, &text);
    jsonw_object(&w);
    member(&w, "x_CacheTtl", strv_z(m->ttl));
    member(&w, "x_InputTokensFrom", c->key[FOCUS_CONTEXT]);
    member(&w, "x_ModelDeveloper", focus_seller(c->key[FOCUS_PROVIDER], false));
    member(&w, "x_ModelId", c->key[FOCUS_MODEL]);
    member(&w, "x_PriceVariant", c->key[FOCUS_VARIANT]);
    member(&w, "x_ServiceTier", c->key[FOCUS_TIER].n ? c->key[FOCUS_TIER] : STRV("standard"));
    member(&w, "x_TokenCacheAction", strv_z(m->cache));
    member(&w, "x_TokenDirection", strv_z(m->direction));
    jsonw_end(&w);
    return put_joined(&text, jsonw_finish(&w), out);
}

/* ---- who bears it ----------------------------------------------------------------------- */

static struct strv bearer_of(const struct charge *c)
{
    return c->bearer ? c->bearer->team : STRV_NONE;
}

TEXT_CELL(allocated_name, bearer_of(c))
TEXT_CELL(allocated_method, c->bearer ? strv_z(focus_set_method(c->set)) : STRV_NONE)

CELL(allocated_id)
{
    struct buf text;

    (void)a;
    if (bearer_of(c).n == 0)
        return RC_OK;
    buf_init(&text, FOCUS_ROW_MAX_BYTES);
    return put_joined(&text, buf_printf(&text, "team/" STRV_FMT, STRV_ARG(c->bearer->team)), out);
}

/* A tag that the charge itself has is not said twice. */
CELL(allocated_tags)
{
    struct jsonw w;
    struct buf text;

    (void)a;
    if (bearer_of(c).n == 0 || strv_eq(c->bearer->team, c->key[FOCUS_TEAM]))
        return RC_OK;
    buf_init(&text, FOCUS_ROW_MAX_BYTES);
    jsonw_start(&w, &text);
    jsonw_object(&w);
    member(&w, "team", c->bearer->team);
    jsonw_end(&w);
    return put_joined(&text, jsonw_finish(&w), out);
}

/* Digits x 10^-decimals as a JSON number. */
static enum rc put_number(struct jsonw *w, money_int digits, unsigned decimals)
{
    struct buf text;
    enum rc rc;

    buf_init(&text, DIGITS);
    rc = put_decimal(digits, decimals, &text);
    if (rc == RC_OK)
        jsonw_raw(w, buf_view(&text));
    buf_release(&text);
    return rc;
}

CELL(allocated_details)
{
    bool is_cost = c->bearer && c->set->driver == DRIVER_COST;
    char from[DATETIME_TEXT];
    struct jsonw w;
    struct buf text;
    enum rc rc, more;

    (void)a;
    if (!c->bearer)
        return RC_OK;
    buf_init(&text, FOCUS_ROW_MAX_BYTES);
    jsonw_start(&w, &text);
    jsonw_object(&w);
    jsonw_key(&w, STRV("Elements"));
    jsonw_array(&w);
    jsonw_object(&w);
    jsonw_key(&w, STRV("AllocatedRatio"));
    rc = put_number(&w, c->bearer->ratio, ALLOCATION_RATIO_UNITS_LOG10);
    if (c->bearer->team.n) {
        member(&w, "UsageUnit", strv_z(focus_set_unit(c->set)));
        jsonw_key(&w, STRV("UsageQuantity"));
        more = put_number(&w, c->bearer->weight, is_cost ? DECIMALS_OF_RATE : 0);
        rc = rc == RC_OK ? more : rc;
    }
    jsonw_end(&w);
    jsonw_end(&w);
    datetime_format_s(c->set->from_us, from);
    member(&w, "x_From", strv_z(from));
    member(&w, "x_Pool", c->set->pool);
    jsonw_end(&w);
    more = jsonw_finish(&w);
    return put_joined(&text, rc == RC_OK ? more : rc, out);
}

/* ---- columns ---------------------------------------------------------------------------- */

enum { ALL = 1 << FOCUS_1_2 | 1 << FOCUS_1_4, OLD = 1 << FOCUS_1_2, NEW = 1 << FOCUS_1_4,
       COMMITTED = ALL | FOCUS_IF_COMMITTED, SHARED = NEW | FOCUS_IF_SHARED };

static const struct focus_column columns[] = {
    {"AllocatedMethodDetails", SHARED, FOCUS_JSON, put_allocated_details},
    {"AllocatedMethodId", SHARED, FOCUS_TEXT, put_allocated_method},
    {"AllocatedResourceId", SHARED, FOCUS_TEXT, put_allocated_id},
    {"AllocatedResourceName", SHARED, FOCUS_TEXT, put_allocated_name},
    {"AllocatedTags", SHARED, FOCUS_JSON, put_allocated_tags},
    {"BilledCost", ALL, FOCUS_DECIMAL, put_billed},
    {"BillingAccountId", ALL, FOCUS_TEXT, put_billing_id},
    {"BillingAccountName", ALL, FOCUS_TEXT, put_billing_name},
    {"BillingCurrency", ALL, FOCUS_TEXT, put_usd},
    {"BillingPeriodEnd", ALL, FOCUS_TIME, put_next_month},
    {"BillingPeriodStart", ALL, FOCUS_TIME, put_month},
    {"ChargeCategory", ALL, FOCUS_TEXT, put_charge_category},
    {"ChargeClass", ALL, FOCUS_TEXT, put_class},
    {"ChargeDescription", ALL, FOCUS_TEXT, put_description},
    {"ChargeFrequency", ALL, FOCUS_TEXT, put_frequency},
    {"ChargePeriodEnd", ALL, FOCUS_TIME, put_to},
    {"ChargePeriodStart", ALL, FOCUS_TIME, put_from},
    {"CommitmentDiscountCategory", COMMITTED, FOCUS_TEXT, put_commitment_category},
    {"CommitmentDiscountId", COMMITTED, FOCUS_TEXT, put_commitment_id},
    {"CommitmentDiscountName", COMMITTED, FOCUS_TEXT, put_commitment_name},
    {"CommitmentDiscountQuantity", COMMITTED, FOCUS_DECIMAL, put_commitment_quantity},
    {"CommitmentDiscountStatus", COMMITTED, FOCUS_TEXT, put_commitment_status},
    {"CommitmentDiscountType", COMMITTED, FOCUS_TEXT, put_commitment_type},
    {"CommitmentDiscountUnit", COMMITTED, FOCUS_TEXT, put_commitment_unit},
    {"ConsumedQuantity", ALL, FOCUS_DECIMAL, put_consumed},
    {"ConsumedUnit", ALL, FOCUS_TEXT, put_unit},
    {"ContractedCost", ALL, FOCUS_DECIMAL, put_contracted_cost},
    {"ContractedUnitPrice", ALL, FOCUS_DECIMAL, put_rate},
    {"EffectiveCost", ALL, FOCUS_DECIMAL, put_effective},
    {"HostProviderName", NEW, FOCUS_TEXT, put_seller},
    {"InvoiceDetailId", NEW, FOCUS_TEXT, put_nothing},
    {"InvoiceId", ALL, FOCUS_TEXT, put_invoice_id},
    {"InvoiceIssuerName", ALL, FOCUS_TEXT, put_seller},
    {"ListCost", ALL, FOCUS_DECIMAL, put_list_cost},
    {"ListUnitPrice", ALL, FOCUS_DECIMAL, put_list_rate},
    {"PricingCategory", ALL, FOCUS_TEXT, put_pricing_category},
    {"PricingQuantity", ALL, FOCUS_DECIMAL, put_priced},
    {"PricingUnit", ALL, FOCUS_TEXT, put_pricing_unit},
    {"ProviderName", OLD, FOCUS_TEXT, put_seller},
    {"PublisherName", OLD, FOCUS_TEXT, put_seller},
    {"RegionId", ALL, FOCUS_TEXT, put_region},
    {"RegionName", ALL, FOCUS_TEXT, put_region},
    {"ServiceCategory", ALL, FOCUS_TEXT, put_category},
    {"ServiceName", ALL, FOCUS_TEXT, put_service},
    {"ServiceProviderName", NEW, FOCUS_TEXT, put_seller},
    {"ServiceSubcategory", ALL, FOCUS_TEXT, put_subcategory},
    {"SkuId", ALL, FOCUS_TEXT, put_sku_id},
    {"SkuMeter", ALL, FOCUS_TEXT, put_meter},
    {"SkuPriceDetails", ALL, FOCUS_JSON, put_details},
    {"SkuPriceId", ALL, FOCUS_TEXT, put_sku_price_id},
    {"SubAccountId", ALL, FOCUS_TEXT, put_sub_id},
    {"SubAccountName", ALL, FOCUS_TEXT, put_sub_name},
    {"Tags", ALL, FOCUS_JSON, put_tags},
    {"x_CostSource", ALL, FOCUS_TEXT, put_cost_source},
    {"x_CredentialId", ALL, FOCUS_TEXT, put_credential},
    {"x_Environment", ALL, FOCUS_TEXT, put_environment},
    {"x_Feature", ALL, FOCUS_TEXT, put_feature},
    {"x_ListPriceSource", ALL, FOCUS_TEXT, put_list_source},
    {"x_Model", ALL, FOCUS_TEXT, put_served_model},
    {"x_PriceSheetEntry", ALL, FOCUS_TEXT, put_price_id},
    {"x_RequestCount", ALL, FOCUS_DECIMAL, put_requests},
    {"x_RequestId", ALL, FOCUS_TEXT, put_request_id},
    {"x_Team", ALL, FOCUS_TEXT, put_team},
    {"x_Upstream", ALL, FOCUS_TEXT, put_upstream},
};

const struct focus_column *focus_column_at(size_t i)
{
    return i < sizeof(columns) / sizeof(columns[0]) ? &columns[i] : NULL;
}

bool focus_column_is_of(const struct focus_column *c, const struct focus_options *options)
{
    return (c->versions & 1U << options->version) &&
           (options->n_commitments > 0 || !(c->versions & FOCUS_IF_COMMITTED)) &&
           (options->shares || !(c->versions & FOCUS_IF_SHARED));
}

enum rc focus_row(const struct focus_options *options, const struct charge *c,
                  const struct focus_account *account, struct buf *out)
{
    const struct focus_column *column;
    bool first = true;

    for (size_t i = 0; (column = focus_column_at(i)); i++) {
        if (!focus_column_is_of(column, options))
            continue;
        if (!first)
            TRY(buf_append(out, ",", 1));
        first = false;
        TRY(column->put(c, account, out));
    }
    return buf_append(out, "\r\n", 2);
}
