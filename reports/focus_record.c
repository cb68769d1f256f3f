/*
 * focus_record.c - the charges that a record is made of; see focus.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/datetime.h"
#include "base/jsonw.h"
#include "base/xalloc.h"
#include "reports/focus_int.h"

enum { DIGITS_MAX = 24 };

static struct price_query query_of(const struct record *r)
{
    return (struct price_query){
        .provider = strv_head(r->price_id, strv_find(r->price_id, '/')),
        .upstream = r->subject.dim[DIM_UPSTREAM],
        .model = r->model,
        .model_requested = r->model_requested,
        .tier = usage_priced_tier(r->service_tier),
        .region = r->region,
        .at_us = r->start_us,
        .input_total = usage_context(&r->usage)};
}

/* List rates of a record's lines: its own where no contract changed them, else the book's. */
static bool list_rates(const struct focus *f, const struct record *r, struct money *out)
{
    struct price_query query = query_of(r);
    struct cost *cost;
    bool known;

    for (size_t i = 0; i < r->n_lines; i++) {
        out[i] = r->lines[i].rate;
        query.quantities.n[r->lines[i].meter] = r->lines[i].quantity;
    }
    if (money_cmp(r->cost, r->list_cost) == 0)
        return true;
    if (!f->options.list)
        return false;
    cost = xcalloc(1, sizeof(*cost));
    price_usage(f->options.list, &query, cost);
    known = money_cmp(cost->contracted, r->list_cost) == 0 && cost->n_lines == r->n_lines;
    for (size_t i = 0; known && i < cost->n_lines; i++) {
        known = cost->lines[i].meter == r->lines[i].meter &&
                cost->lines[i].quantity == r->lines[i].quantity;
        if (known)
            out[i] = cost->lines[i].rate;
    }
    for (size_t i = 0; !known && i < r->n_lines; i++)
        out[i] = r->lines[i].rate;
    free(cost);
    return known;
}

/* Tags that a finance tool groups by; a tag that is not there is absent. */
static enum rc make_tags(struct focus *f, const struct record *r)
{
    static const enum dimension standing[] = {DIM_CUSTOMER, DIM_ENVIRONMENT, DIM_FEATURE,
                                              DIM_TASK_TYPE, DIM_TEAM};
    struct jsonw w;

    buf_clear(&f->tags);
    jsonw_start(&w, &f->tags);
    jsonw_object(&w);
    for (size_t i = 0; i < sizeof(standing) / sizeof(standing[0]); i++) {
        if (r->subject.dim[standing[i]].n == 0)
            continue;
        jsonw_key(&w, strv_z(dimension_name(standing[i])));
        jsonw_string(&w, r->subject.dim[standing[i]]);
    }
    for (size_t i = 0; i < r->subject.n_free; i++) {
        jsonw_key(&w, r->subject.free[i].name);
        jsonw_string(&w, r->subject.free[i].value);
    }
    jsonw_end(&w);
    return jsonw_finish(&w);
}

static void rate_text(struct money rate, char out[MONEY_TEXT])
{
    money_int n = rate.atto < 0 ? -rate.atto : rate.atto;
    char digits[MONEY_TEXT];
    size_t at = sizeof(digits);

    digits[--at] = '\0';
    do {
        digits[--at] = (char)('0' + (int)(n % 10));
        n /= 10;
    } while (n > 0 && at > 1);
    if (rate.atto < 0)
        digits[--at] = '-';
    memcpy(out, digits + at, sizeof(digits) - at);
}

/* The book's id of the model: "provider/MODEL@period". */
static struct strv model_of(const struct record *r)
{
    struct strv id = strv_skip(r->price_id, strv_find(r->price_id, '/') + 1);

    for (size_t i = id.n; i > 0; i--) {
        if (id.p[i - 1] == '@')
            return strv_head(id, i - 1);
    }
    return id.n ? id : r->subject.dim[DIM_MODEL];
}

/* What a charge of a record is, beside the record. */
struct part {
    const struct record_line *line; /* NULL: what no line accounts for */
    struct money list_rate;
    bool list_known;
    struct strv commitment, kind, origin;
    size_t set; /* that bears it, from 1; 0: none */
};

static enum rc make_key(struct focus *f, const struct record *r, const struct part *p)
{
    char rate[MONEY_TEXT], list_rate[MONEY_TEXT], id[UUID_TEXT] = "", context[DIGITS_MAX] = "";
    char set[DIGITS_MAX] = "";
    const struct price_query query = query_of(r);
    struct price_variant variant = {.ctx_min = 0};
    bool estimated = r->usage_source != USAGE_PROVIDER;
    const struct strv *dim = r->subject.dim;
    struct strv part[FOCUS_KEYS] = {
        [FOCUS_UPSTREAM] = dim[DIM_UPSTREAM],
        [FOCUS_PROVIDER] = strv_head(r->price_id, strv_find(r->price_id, '/')),
        [FOCUS_MODEL] = model_of(r),
        [FOCUS_METER] = p->line ? strv_z(meter_name(p->line->meter)) : STRV_NONE,
        [FOCUS_TIER] = usage_priced_tier(r->service_tier),
        [FOCUS_LIST_SOURCE] = p->list_known ? STRV("book") : STRV("contracted"),
        [FOCUS_COST_SOURCE] = estimated ? STRV("estimated") : STRV("metered"),
        [FOCUS_TEAM] = dim[DIM_TEAM],
        [FOCUS_FEATURE] = dim[DIM_FEATURE],
        [FOCUS_ENVIRONMENT] = dim[DIM_ENVIRONMENT],
        [FOCUS_CREDENTIAL] = dim[DIM_KEY],
        [FOCUS_SERVED_MODEL] = r->model.n ? r->model : r->model_requested,
        [FOCUS_PRICE_ID] = r->price_id,
        [FOCUS_TAGS] = buf_view(&f->tags),
        [FOCUS_CLASS] = p->origin.n ? STRV("Correction") : STRV(""),
        [FOCUS_REGION] = r->region,
        [FOCUS_COMMITMENT] = p->commitment,
        [FOCUS_KIND] = p->kind,
        [FOCUS_ORIGIN] = p->origin,
    };
    enum rc rc = RC_OK;

    rate_text(p->line ? p->line->rate : MONEY_ZERO, rate);
    rate_text(p->list_rate, list_rate);
    if (p->set)
        (void)snprintf(set, sizeof(set), "%zu", p->set);
    part[FOCUS_SHARE] = strv_z(set);
    if (f->options.grain == FOCUS_REQUEST)
        uuid_format(&r->id, id);
    part[FOCUS_RATE] = strv_z(rate);
    part[FOCUS_LIST_RATE] = strv_z(list_rate);
    part[FOCUS_REQUEST_ID] = strv_z(id);
    if (f->options.list)
        (void)price_variant_of(f->options.list, &query, &variant);
    if (variant.ctx_min)
        (void)snprintf(context, sizeof(context), "%" PRIu64, variant.ctx_min);
    part[FOCUS_CONTEXT] = strv_z(context);
    part[FOCUS_VARIANT] = variant.window.n ? variant.window : variant.other;
    buf_clear(&f->key);
    for (size_t i = 0; rc == RC_OK && i < FOCUS_KEYS; i++) {
        /* Models come from providers: what would end a part is left out. */
        for (size_t k = 0; rc == RC_OK && k < part[i].n; k++) {
            if ((unsigned char)part[i].p[k] >= ' ')
                rc = buf_append(&f->key, &part[i].p[k], 1);
        }
        if (rc == RC_OK)
            rc = buf_append(&f->key, "\x1f", 1);
    }
    return rc;
}

/* Where the charge period begins that something of this time is in, and how long it is. */
static int64_t period_of(const struct focus *f, int64_t end_us, int64_t *length)
{
    *length = US_PER_DAY;
    if (f->options.grain == FOCUS_HOUR)
        *length = 3600 * US_PER_SECOND;
    if (f->options.grain == FOCUS_REQUEST)
        *length = US_PER_SECOND; /* which is as fine as FOCUS says times */
    return end_us - (end_us % *length + *length) % *length;
}

static enum rc enter_period(struct focus *f, const struct record *r)
{
    int64_t length;
    enum rc rc;

    if (f->options.grain != FOCUS_REQUEST && f->to_us != 0 && r->end_us >= f->from_us &&
        r->end_us < f->to_us)
        return RC_OK;
    rc = focus_flush(f);
    f->from_us = period_of(f, r->end_us, &length);
    f->to_us = f->from_us + length;
    return rc;
}

/* When the request that a correction is of ended; else when it began, which its id has. */
static int64_t origin_of(const struct focus *f, const struct record *r)
{
    int64_t ms = 0, end_us;

    if (f->options.origin && f->options.origin(&r->corrects, &end_us, f->options.arg))
        return end_us;
    for (int i = 0; i < 6; i++)
        ms = ms << 8 | r->corrects.b[i];
    return ms * 1000;
}

/* Of what corrects an earlier billing period: the begin of its charge period, as digits. */
static struct strv make_origin(const struct focus *f, const struct record *r,
                               char out[DIGITS_MAX])
{
    int64_t origin_us, length;

    if (!r->is_correction)
        return STRV_NONE;
    origin_us = origin_of(f, r);
    if (focus_month(origin_us, 0) >= focus_month(r->end_us, 0))
        return STRV_NONE;
    (void)snprintf(out, DIGITS_MAX, "%" PRId64, period_of(f, origin_us, &length));
    return strv_z(out);
}

/* What the record cost beyond its lines; of a correction the list cost's rest stands apart. */
static enum rc add_rest(struct focus *f, const struct record *r, struct part *p, bool is_delta)
{
    struct held rest = {.requests = r->n_lines == 0 && !is_delta, .amount = r->cost};
    enum rc rc;

    for (size_t i = 0; i < r->n_lines; i++)
        rest.amount = money_sub(rest.amount, r->lines[i].amount);
    rest.list = rest.amount;
    if (is_delta)
        rest.list = money_add(rest.amount, money_sub(r->list_cost, r->cost));
    else if (p->list_known && money_cmp(r->cost, r->list_cost) != 0)
        rest.list = MONEY_ZERO; /* the book's lines, which sum to the list cost */
    if (money_is_zero(rest.amount) && money_is_zero(rest.list))
        return RC_OK;
    f->counts.without_line++;
    p->line = NULL;
    p->list_rate = MONEY_ZERO;
    p->kind = STRV("rest");
    p->commitment = STRV_NONE; /* there is no SKU that one could cover */
    rc = make_key(f, r, p);
    return rc == RC_OK ? focus_hold(f, &rest) : rc;
}

enum rc focus_add(struct focus *f, uint64_t seq, const struct record *r)
{
    const bool is_delta = r->is_correction && !r->was_unpriced;
    struct money list[METER_COUNT];
    char origin[DIGITS_MAX];
    struct part p = {.commitment = focus_cover(f, r)};
    enum rc rc;

    f->counts.requests += !r->is_correction;
    if (r->was_unpriced && f->counts.unpriced > 0)
        f->counts.unpriced--;
    if (r->price_status == PRICE_NONE) {
        f->counts.unpriced++;
        return RC_OK;
    }
    f->counts.partly += r->price_status == PRICE_PARTIAL;
    p.list_known = list_rates(f, r, list);
    f->counts.list_unknown += p.list_known || is_delta ? 0 : r->n_lines;
    p.origin = make_origin(f, r, origin);
    p.kind = is_delta ? STRV("delta") : STRV_NONE;
    p.set = f->options.shares ? focus_shares_of(f->options.shares, seq) : 0;
    rc = enter_period(f, r);
    if (rc == RC_OK)
        rc = make_tags(f, r);
    for (size_t i = 0; rc == RC_OK && i < r->n_lines; i++) {
        p.line = &r->lines[i];
        p.list_rate = list[i];
        rc = make_key(f, r, &p);
        if (rc == RC_OK)
            rc = focus_hold(f, &(struct held){.quantity = is_delta ? 0 : p.line->quantity,
                                              .requests = !is_delta,
                                              .amount = p.line->amount,
                                              .list = p.line->amount});
    }
    return rc == RC_OK ? add_rest(f, r, &p, is_delta) : rc;
}
