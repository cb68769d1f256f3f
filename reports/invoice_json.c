/*
 * invoice_json.c - OpenAI's and Anthropic's usage and cost pages; see invoice.h.
 *
 * OpenAI: GET /v1/organization/usage/completions and /costs, buckets of unix seconds.
 * Anthropic: GET /v1/organizations/usage_report/messages and /cost_report, buckets of
 * RFC 3339 times, amounts in cents.
 */
#include <string.h>

#include "base/datetime.h"
#include "reports/import_json.h"
#include "reports/invoice.h"

enum { CENTS = -2 };

typedef const struct import_value value;

struct bucket {
    struct invoice *v;
    int64_t from_us, to_us;
};

static bool is_given(value *item)
{
    return item && item->type != IMPORT_NULL;
}

static struct strv text_of(value *object, const char *name)
{
    value *item = import_member(object, name);

    return item && item->type == IMPORT_STRING ? item->text : STRV_NONE;
}

static enum rc fault_at(struct invoice *v, value *item, value *object, const char *name,
                        const char *why)
{
    return invoice_fault(v, item ? item->at : object->at, strv_z(name), why);
}

static struct invoice_line line_of(const struct bucket *b)
{
    return (struct invoice_line){.from_us = b->from_us, .to_us = b->to_us};
}

/* A count of tokens as a line of its class; none where it is absent or zero. */
static enum rc add_tokens(const struct bucket *b, value *result, value *item, const char *name,
                          enum invoice_class class, uint64_t less, uint64_t *count)
{
    struct invoice_line line = line_of(b);
    uint64_t n = 0;

    if (is_given(item) && (item->type != IMPORT_NUMBER || !invoice_quantity(item->text, 0, &n)))
        return fault_at(b->v, item, result, name, "is no count");
    if (n < less)
        return fault_at(b->v, item, result, name, "is less than its cached part");
    if (count)
        *count = n;
    n -= less;
    if (n == 0)
        return RC_OK;
    line.class = class;
    line.has_quantity = true;
    line.quantity = n;
    line.model = text_of(result, "model");
    line.tier = text_of(result, "service_tier");
    line.account = text_of(result, "project_id");
    if (line.account.n == 0)
        line.account = text_of(result, "workspace_id");
    if (is_given(import_member(result, "batch")) &&
        import_member(result, "batch")->type == IMPORT_TRUE)
        line.tier = STRV("batch");
    return invoice_add(b->v, &line);
}

/* ---- OpenAI ----------------------------------------------------------------------------- */

static enum rc openai_usage(const struct bucket *b, value *r)
{
    value *input = import_member(r, "input_tokens");
    uint64_t cached = 0;
    enum rc rc = add_tokens(b, r, import_member(r, "input_cached_tokens"),
                            "input_cached_tokens", INVOICE_CACHE_READ, 0, &cached);

    if (rc == RC_OK)
        rc = add_tokens(b, r, input, "input_tokens", INVOICE_INPUT, cached, NULL);
    if (rc == RC_OK)
        rc = add_tokens(b, r, import_member(r, "output_tokens"), "output_tokens",
                        INVOICE_OUTPUT, 0, NULL);
    return rc;
}

/* "gpt-4o-2024-08-06, cached input" */
static void openai_item(struct strv item, struct invoice_line *line)
{
    size_t comma = item.n;

    for (size_t i = 0; i + 1 < item.n; i++) {
        if (item.p[i] == ',' && item.p[i + 1] == ' ')
            comma = i;
    }
    line->class = invoice_class_of(strv_skip(item, comma < item.n ? comma : 0));
    if (comma < item.n && line->class != INVOICE_ALL) {
        line->model = strv_head(item, comma);
        return;
    }
    line->what = item;
    if (item.n) {
        line->kind = INVOICE_UNMETERED;
        line->class = INVOICE_OTHER;
    }
}

static enum rc openai_cost(const struct bucket *b, value *r)
{
    value *amount = import_member(r, "amount"), *item = import_member(amount, "value");
    value *quantity = import_member(r, "quantity");
    struct invoice_line line = line_of(b);

    if (!is_given(item) || (item->type != IMPORT_NUMBER && item->type != IMPORT_STRING) ||
        !invoice_money(b->v, item->text, 0, &line.cost))
        return fault_at(b->v, item, r, "amount.value", "is no amount");
    if (!strv_eq_nocase(text_of(amount, "currency"), STRV("usd")))
        return fault_at(b->v, amount, r, "amount.currency", "is not USD");
    line.has_cost = true;
    line.account = text_of(r, "project_id");
    openai_item(text_of(r, "line_item"), &line);
    if (is_given(quantity) && quantity->type == IMPORT_NUMBER)
        line.has_quantity = invoice_quantity(quantity->text, 0, &line.quantity);
    if (line.cost.atto < 0)
        line.kind = INVOICE_CREDIT_TAX;
    return line.cost.atto == 0 && !line.has_quantity ? RC_OK : invoice_add(b->v, &line);
}

/* ---- Anthropic -------------------------------------------------------------------------- */

static enum rc anthropic_usage(const struct bucket *b, value *r)
{
    static const struct {
        const char *object, *name;
        enum invoice_class class;
    } counts[] = {
        {NULL, "uncached_input_tokens", INVOICE_INPUT},
        {NULL, "cache_read_input_tokens", INVOICE_CACHE_READ},
        {"cache_creation", "ephemeral_5m_input_tokens", INVOICE_CACHE_WRITE},
        {"cache_creation", "ephemeral_1h_input_tokens", INVOICE_CACHE_WRITE_1H},
        {NULL, "output_tokens", INVOICE_OUTPUT},
    };
    enum rc rc = RC_OK;

    for (size_t i = 0; rc == RC_OK && i < sizeof(counts) / sizeof(counts[0]); i++) {
        value *from = counts[i].object ? import_member(r, counts[i].object) : r;
        rc = add_tokens(b, r, import_member(from, counts[i].name), counts[i].name,
                        counts[i].class, 0, NULL);
    }
    return rc;
}

static enum rc anthropic_cost(const struct bucket *b, value *r)
{
    value *item = import_member(r, "amount");
    struct strv type = text_of(r, "cost_type"), token = text_of(r, "token_type");
    struct strv currency = text_of(r, "currency");
    struct invoice_line line = line_of(b);

    if (!is_given(item) || item->type != IMPORT_STRING ||
        !invoice_money(b->v, item->text, CENTS, &line.cost))
        return fault_at(b->v, item, r, "amount", "is no amount in cents, as a string");
    if (currency.n && !strv_eq_nocase(currency, STRV("usd")))
        return fault_at(b->v, import_member(r, "currency"), r, "currency", "is not USD");
    line.has_cost = true;
    line.account = text_of(r, "workspace_id");
    line.model = text_of(r, "model");
    line.tier = text_of(r, "service_tier");
    line.what = text_of(r, "description");
    line.class = invoice_class_of(token.n ? token : line.what);
    if (type.n && !strv_eq(type, STRV("tokens"))) {
        line.kind = INVOICE_UNMETERED;
        line.class = INVOICE_OTHER;
    }
    if (line.cost.atto < 0)
        line.kind = INVOICE_CREDIT_TAX;
    return line.cost.atto == 0 ? RC_OK : invoice_add(b->v, &line);
}

/* ---- pages ------------------------------------------------------------------------------ */

static bool unix_time(value *item, int64_t *us)
{
    uint64_t s;

    if (!item || item->type != IMPORT_NUMBER ||
        !strv_parse_u64(item->text, UINT64_C(253402300800), &s))
        return false;
    *us = (int64_t)s * US_PER_SECOND;
    return true;
}

static bool text_time(value *item, int64_t *us)
{
    return item && item->type == IMPORT_STRING && datetime_parse(item->text, us);
}

static enum rc set_provider(struct invoice *v, value *at, struct strv provider)
{
    if (v->provider.n && !strv_eq(v->provider, provider))
        return invoice_fault(v, at->at, provider,
                             "is another provider's than the files before");
    v->provider = provider;
    return RC_OK;
}

static enum rc result_of(const struct bucket *b, value *r, bool openai)
{
    struct strv object = text_of(r, "object");

    if (r->type != IMPORT_OBJECT)
        return invoice_fault(b->v, r->at, STRV("results"), "holds what is no object");
    if (openai && strv_eq(object, STRV("organization.costs.result")))
        return openai_cost(b, r);
    if (openai && strv_starts(object, STRV("organization.usage.")))
        return openai_usage(b, r);
    if (!openai && import_member(r, "amount"))
        return anthropic_cost(b, r);
    if (!openai && import_member(r, "uncached_input_tokens"))
        return anthropic_usage(b, r);
    return invoice_fault(b->v, r->at, object.n ? object : STRV("result"),
                         "is none of usage or costs of OpenAI or Anthropic");
}

static enum rc bucket_of(struct invoice *v, value *item)
{
    bool openai = import_member(item, "start_time") != NULL;
    value *results = import_member(item, "results");
    struct bucket b = {.v = v};
    bool good = openai ? unix_time(import_member(item, "start_time"), &b.from_us) &&
                             unix_time(import_member(item, "end_time"), &b.to_us)
                       : text_time(import_member(item, "starting_at"), &b.from_us) &&
                             text_time(import_member(item, "ending_at"), &b.to_us);
    enum rc rc;

    if (!good || b.to_us <= b.from_us)
        return invoice_fault(v, item->at, STRV("data"),
                             "holds a bucket without start_time and end_time, or starting_at "
                             "and ending_at");
    if (!results || results->type != IMPORT_ARRAY)
        return invoice_fault(v, item->at, STRV("results"), "is missing");
    rc = set_provider(v, item, openai ? STRV("openai") : STRV("anthropic"));
    for (value *r = results->child; rc == RC_OK && r; r = r->next)
        rc = result_of(&b, r, openai);
    return rc;
}

static enum rc page_of(struct invoice *v, value *page)
{
    value *data = import_member(page, "data");
    enum rc rc = RC_OK;

    if (page->type == IMPORT_ARRAY) {
        for (value *p = page->child; rc == RC_OK && p; p = p->next)
            rc = p->type == IMPORT_ARRAY
                     ? invoice_fault(v, p->at, STRV("["), "is an array within an array")
                     : page_of(v, p);
        return rc;
    }
    if (!data || data->type != IMPORT_ARRAY)
        return invoice_fault(v, page->at, STRV("data"),
                             "is missing: a page of OpenAI's or Anthropic's usage or costs is "
                             "wanted");
    for (value *item = data->child; rc == RC_OK && item; item = item->next)
        rc = bucket_of(v, item);
    return rc;
}

enum rc invoice_json(struct invoice *v)
{
    size_t at = strv_starts(v->text, STRV("\xef\xbb\xbf")) ? 3 : 0;
    enum rc rc = RC_OK;

    while (rc == RC_OK) {
        struct import_value *page;
        const char *why;
        if (!import_json(v->text, &at, &v->arena, &page, &why))
            return invoice_fault(v, at, strv_head(strv_skip(v->text, at), 12), why);
        if (!page)
            return RC_OK;
        rc = page_of(v, page);
    }
    return rc;
}
