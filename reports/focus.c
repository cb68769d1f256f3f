/*
 * focus.c - see focus.h: records become charges, charges of a kind in a period one row.
 */
#include "reports/focus.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/datetime.h"
#include "base/jsonw.h"
#include "base/xalloc.h"
#include "reports/focus_int.h"
#include "reports/sheet.h"

enum {
    KEY_MAX_BYTES = 32 << 10,
    OUT_MAX_BYTES = 1 << 20,
    MERGE_AT = 1 << 16, /* charges held before those of a kind are put together */
    DIGITS_MAX = 24,
};

/* A charge that waits for its period's end. Its key's parts are joined. */
struct held {
    char *key;
    size_t n;
    uint64_t quantity, requests;
    struct money amount;
};

struct focus {
    struct focus_options options;
    struct focus_counts counts;
    struct buf key, tags, out;
    int64_t from_us, to_us; /* of what is held */
    struct held *at;
    size_t n, merged, cap;
};

const char *focus_version_name(enum focus_version version)
{
    static const char *const names[FOCUS_VERSIONS] = {"1.2", "1.4"};

    return names[version];
}

struct focus *focus_new(const struct focus_options *options)
{
    struct focus *f = xcalloc(1, sizeof(*f));

    f->options = *options;
    buf_init(&f->key, KEY_MAX_BYTES);
    buf_init(&f->tags, KEY_MAX_BYTES);
    buf_init(&f->out, OUT_MAX_BYTES);
    return f;
}

static void drop_held(struct focus *f)
{
    for (size_t i = 0; i < f->n; i++)
        free(f->at[i].key);
    f->n = f->merged = 0;
}

void focus_free(struct focus *f)
{
    if (!f)
        return;
    drop_held(f);
    free(f->at);
    buf_release(&f->key);
    buf_release(&f->tags);
    buf_release(&f->out);
    free(f);
}

const struct focus_counts *focus_counts(const struct focus *f)
{
    return &f->counts;
}

/* ---- writing ---------------------------------------------------------------------------- */

static enum rc send(struct focus *f, size_t least)
{
    bool good;

    if (buf_len(&f->out) < least || buf_len(&f->out) == 0)
        return RC_OK;
    good = f->options.write(buf_view(&f->out), f->options.arg);
    buf_clear(&f->out);
    return good ? RC_OK : RC_IO;
}

enum rc focus_header(struct focus *f)
{
    const struct focus_column *column;
    enum rc rc = RC_OK;
    bool first = true;

    for (size_t i = 0; rc == RC_OK && (column = focus_column_at(i)); i++) {
        if (!focus_column_is_of(column, f->options.version, f->options.n_commitments > 0))
            continue;
        rc = buf_printf(&f->out, "%s%s", first ? "" : ",", column->name);
        first = false;
    }
    if (rc == RC_OK)
        rc = buf_append(&f->out, "\r\n", 2);
    return rc == RC_OK ? send(f, 1) : rc;
}

static struct money number(struct strv digits)
{
    money_int n = 0;

    for (size_t i = digits.n && digits.p[0] == '-'; i < digits.n; i++)
        n = n * 10 + (digits.p[i] - '0');
    return (struct money){digits.n && digits.p[0] == '-' ? -n : n};
}

static struct charge charge_of(const struct focus *f, const struct held *h)
{
    struct charge c = {.from_us = f->from_us,
                       .to_us = f->to_us,
                       .quantity = h->quantity,
                       .requests = h->requests,
                       .amount = h->amount};
    struct strv rest = strv_make(h->key, h->n);

    for (size_t i = 0; i < FOCUS_KEYS; i++)
        (void)strv_split(&rest, '\x1f', &c.key[i]);
    (void)meter_parse(c.key[FOCUS_METER], &c.meter);
    c.rate = number(c.key[FOCUS_RATE]);
    c.list_rate = number(c.key[FOCUS_LIST_RATE]);
    for (size_t i = 0; c.key[FOCUS_COMMITMENT].n && i < f->options.n_commitments; i++) {
        if (strv_eq(f->options.commitments[i].id, c.key[FOCUS_COMMITMENT]))
            c.commitment = &f->options.commitments[i];
    }
    return c;
}

/* A product as an amount, for the counts: rounded at 10^-18. */
static struct money as_money(money_int digits, unsigned decimals)
{
    money_int by = 1;

    for (; decimals > 18; decimals--)
        by *= 10;
    return (struct money){divide_even(digits, by)};
}

static enum rc write_charge(struct focus *f, const struct held *h)
{
    struct charge c = charge_of(f, h);
    struct focus_account account = {.billing_id = STRV_NONE};
    money_int digits;
    unsigned decimals;
    enum rc rc;

    if (f->options.account)
        f->options.account(c.key[FOCUS_UPSTREAM], &account, f->options.arg);
    /* What corrects a month is on another invoice than the month was. */
    if (f->options.invoice && c.key[FOCUS_CLASS].n == 0)
        c.invoice_id = f->options.invoice(
            account.billing_id.n ? account.billing_id : c.key[FOCUS_UPSTREAM],
            focus_month(c.from_us, 0), f->options.arg);
    rc = focus_row(f->options.version, f->options.n_commitments > 0, &c, &account, &f->out);
    if (rc == RC_OK && c.key[FOCUS_CLASS].n) { /* what is added, not a rate times a quantity */
        f->counts.list = money_add(f->counts.list, c.amount);
        f->counts.contracted = money_add(f->counts.contracted, c.amount);
        goto out;
    }
    if (rc == RC_OK)
        rc = focus_product(c.list_rate, c.quantity, c.meter, &digits, &decimals);
    if (rc != RC_OK)
        return rc;
    f->counts.list = money_add(f->counts.list, as_money(digits, decimals));
    rc = focus_product(c.rate, c.quantity, c.meter, &digits, &decimals);
    if (rc != RC_OK)
        return rc;
    f->counts.contracted = money_add(f->counts.contracted, as_money(digits, decimals));
out:
    if (rc != RC_OK)
        return rc;
    if (!c.commitment)
        f->counts.billed = money_add(f->counts.billed, c.amount);
    f->counts.effective = money_add(f->counts.effective, c.amount);
    f->counts.rows++;
    return send(f, OUT_MAX_BYTES - FOCUS_ROW_MAX_BYTES);
}

/* ---- holding ---------------------------------------------------------------------------- */

static int by_key(const void *a, const void *b)
{
    const struct held *x = a, *y = b;

    return strv_cmp(strv_make(x->key, x->n), strv_make(y->key, y->n));
}

static enum rc merge(struct focus *f)
{
    size_t n = 0;

    if (f->n == 0)
        return RC_OK;
    qsort(f->at, f->n, sizeof(*f->at), by_key);
    for (size_t i = 1; i < f->n; i++) {
        struct held *to = &f->at[n], *more = &f->at[i];
        if (by_key(to, more) != 0) {
            f->at[++n] = *more;
            continue;
        }
        to->amount = money_add(to->amount, more->amount);
        to->requests += more->requests;
        if (__builtin_add_overflow(to->quantity, more->quantity, &to->quantity))
            return RC_LIMIT;
        free(more->key);
    }
    f->n = f->merged = n + 1;
    return f->n > FOCUS_PERIOD_ROWS_MAX ? RC_LIMIT : RC_OK;
}

static enum rc flush(struct focus *f)
{
    enum rc rc = merge(f);

    for (size_t i = 0; rc == RC_OK && i < f->n; i++)
        rc = write_charge(f, &f->at[i]);
    drop_held(f);
    return rc;
}

static enum rc hold(struct focus *f, uint64_t quantity, struct money amount)
{
    struct strv key = buf_view(&f->key);

    if (f->n == f->cap) {
        f->cap = f->cap ? f->cap * 2 : 1024;
        f->at = xrealloc(f->at, f->cap * sizeof(*f->at));
    }
    f->at[f->n++] = (struct held){xmemdupz(key.p, key.n), key.n, quantity, 1, amount};
    /* Twice what was left after the last time: each charge is sorted a few times at most. */
    return f->n >= MERGE_AT && f->n >= 2 * f->merged ? merge(f) : RC_OK;
}

/* ---- records ---------------------------------------------------------------------------- */

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
        .input_total = r->usage.n[USAGE_INPUT]};
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

static enum rc make_key(struct focus *f, const struct record *r, size_t line, struct money list,
                        bool list_known, struct strv commitment)
{
    char rate[MONEY_TEXT], list_rate[MONEY_TEXT], id[UUID_TEXT] = "", context[DIGITS_MAX] = "";
    const struct price_query query = query_of(r);
    struct price_variant variant = {.ctx_min = 0};
    bool estimated = r->usage_source != USAGE_PROVIDER;
    const struct strv *dim = r->subject.dim;
    struct strv part[FOCUS_KEYS] = {
        [FOCUS_UPSTREAM] = dim[DIM_UPSTREAM],
        [FOCUS_PROVIDER] = strv_head(r->price_id, strv_find(r->price_id, '/')),
        [FOCUS_MODEL] = model_of(r),
        [FOCUS_METER] = strv_z(meter_name(r->lines[line].meter)),
        [FOCUS_TIER] = usage_priced_tier(r->service_tier),
        [FOCUS_LIST_SOURCE] = list_known ? STRV("book") : STRV("contracted"),
        [FOCUS_COST_SOURCE] = estimated ? STRV("estimated") : STRV("metered"),
        [FOCUS_TEAM] = dim[DIM_TEAM],
        [FOCUS_FEATURE] = dim[DIM_FEATURE],
        [FOCUS_ENVIRONMENT] = dim[DIM_ENVIRONMENT],
        [FOCUS_CREDENTIAL] = dim[DIM_KEY],
        [FOCUS_SERVED_MODEL] = r->model.n ? r->model : r->model_requested,
        [FOCUS_PRICE_ID] = r->price_id,
        [FOCUS_TAGS] = buf_view(&f->tags),
        [FOCUS_CLASS] = r->is_correction ? STRV("Correction") : STRV(""),
        [FOCUS_REGION] = r->region,
        [FOCUS_COMMITMENT] = commitment,
    };
    enum rc rc = RC_OK;

    rate_text(r->lines[line].rate, rate);
    rate_text(list, list_rate);
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

static enum rc enter_period(struct focus *f, const struct record *r)
{
    int64_t length = f->options.grain == FOCUS_HOUR ? 3600 * US_PER_SECOND : US_PER_DAY;
    int64_t within = (r->end_us % length + length) % length;
    enum rc rc;

    if (f->options.grain != FOCUS_REQUEST && f->to_us != 0 && r->end_us >= f->from_us &&
        r->end_us < f->to_us)
        return RC_OK;
    rc = flush(f);
    f->from_us = r->end_us - within;
    f->to_us = f->from_us + length;
    if (f->options.grain == FOCUS_REQUEST) {
        /* To the second, which is as fine as FOCUS says times. */
        f->from_us = r->end_us - (r->end_us % US_PER_SECOND + US_PER_SECOND) % US_PER_SECOND;
        f->to_us = f->from_us + US_PER_SECOND;
    }
    return rc;
}

/* ---- commitments ------------------------------------------------------------------------ */

static struct strv account_of(const struct focus *f, struct strv upstream)
{
    struct focus_account account = {.billing_id = STRV_NONE};

    if (f->options.account)
        f->options.account(upstream, &account, f->options.arg);
    return account.billing_id.n ? account.billing_id : upstream;
}

/* The commitment that covers the record, which has then used it; empty: none. */
static struct strv cover(struct focus *f, const struct record *r)
{
    struct money cost = MONEY_ZERO;
    struct strv account;

    if (f->options.n_commitments == 0 || r->is_correction || r->price_status == PRICE_NONE)
        return STRV_NONE;
    account = account_of(f, r->subject.dim[DIM_UPSTREAM]);
    for (size_t i = 0; i < r->n_lines; i++)
        cost = money_add(cost, r->lines[i].amount);
    for (size_t i = 0; i < f->options.n_commitments; i++) {
        struct focus_commitment *c = &f->options.commitments[i];
        struct money used = money_add(c->used, cost);

        if (c->is_used_up || r->end_us < c->from_us || r->end_us >= c->to_us ||
            !strv_eq(c->account, account))
            continue;
        if (money_cmp(used, c->amount) <= 0) {
            c->used = used;
            return c->id;
        }
        c->is_used_up = true;
    }
    return STRV_NONE;
}

void focus_pass(struct focus *f, const struct record *r)
{
    (void)cover(f, r);
}

/* A row about the commitment itself, on one day of its term. */
static enum rc write_commitment(struct focus *f, const struct focus_commitment *commitment,
                                enum focus_kind kind, int64_t day_us, struct money amount)
{
    struct focus_account account = {.billing_id = commitment->account};
    struct charge c = {.from_us = day_us,
                       .to_us = day_us + US_PER_DAY,
                       .amount = amount,
                       .kind = kind,
                       .commitment = commitment};
    enum rc rc;

    c.key[FOCUS_PROVIDER] = commitment->provider.n ? commitment->provider : commitment->account;
    c.key[FOCUS_COST_SOURCE] = STRV("invoiced");
    c.key[FOCUS_TAGS] = STRV("{}");
    if (f->options.invoice && kind == FOCUS_PURCHASE)
        c.invoice_id = f->options.invoice(commitment->account, focus_month(day_us, 0),
                                          f->options.arg);
    rc = focus_row(f->options.version, true, &c, &account, &f->out);
    if (rc != RC_OK)
        return rc;
    if (kind == FOCUS_PURCHASE)
        f->counts.billed = money_add(f->counts.billed, amount);
    else
        f->counts.effective = money_add(f->counts.effective, amount);
    f->counts.list = money_add(f->counts.list, amount);
    f->counts.contracted = money_add(f->counts.contracted, amount);
    f->counts.rows++;
    return send(f, OUT_MAX_BYTES - FOCUS_ROW_MAX_BYTES);
}

enum rc focus_purchases(struct focus *f, int64_t from_us, int64_t to_us)
{
    enum rc rc = RC_OK;

    for (size_t i = 0; rc == RC_OK && i < f->options.n_commitments; i++) {
        const struct focus_commitment *c = &f->options.commitments[i];

        if (c->from_us >= from_us && c->from_us < to_us)
            rc = write_commitment(f, c, FOCUS_PURCHASE, c->from_us, c->amount);
    }
    return rc;
}

enum rc focus_add(struct focus *f, const struct record *r)
{
    struct money list[METER_COUNT];
    struct strv commitment = cover(f, r);
    bool known;
    enum rc rc;

    f->counts.requests += !r->is_correction;
    if (r->was_unpriced && f->counts.unpriced > 0)
        f->counts.unpriced--;
    if (r->price_status == PRICE_NONE) {
        f->counts.unpriced++;
        return RC_OK;
    }
    f->counts.partly += r->price_status == PRICE_PARTIAL;
    if (r->n_lines == 0)
        return RC_OK;
    known = list_rates(f, r, list);
    f->counts.list_unknown += known ? 0 : r->n_lines;
    rc = enter_period(f, r);
    if (rc == RC_OK)
        rc = make_tags(f, r);
    for (size_t i = 0; rc == RC_OK && i < r->n_lines; i++) {
        rc = make_key(f, r, i, list[i], known, commitment);
        if (rc == RC_OK)
            rc = hold(f, r->lines[i].quantity, r->lines[i].amount);
    }
    return rc;
}

enum rc focus_finish(struct focus *f, int64_t from_us, int64_t to_us)
{
    enum rc rc = flush(f);

    for (size_t i = 0; rc == RC_OK && i < f->options.n_commitments; i++) {
        const struct focus_commitment *c = &f->options.commitments[i];
        struct money left = money_sub(c->amount, c->used);

        if (c->to_us > from_us && c->to_us <= to_us && left.atto > 0)
            rc = write_commitment(f, c, FOCUS_UNUSED, c->to_us - US_PER_DAY, left);
    }

    return rc == RC_OK ? send(f, 1) : rc;
}

/* ---- metadata --------------------------------------------------------------------------- */

static void put_column(struct jsonw *w, const struct focus_column *column)
{
    static const char *const types[] = {"String", "Decimal", "DateTime", "JSON"};

    jsonw_object(w);
    jsonw_key(w, STRV("ColumnName"));
    jsonw_string(w, strv_z(column->name));
    jsonw_key(w, STRV("DataType"));
    jsonw_string(w, strv_z(types[column->type]));
    if (column->type == FOCUS_DECIMAL) {
        jsonw_key(w, STRV("NumericPrecision"));
        jsonw_uint(w, 38);
        jsonw_key(w, STRV("NumberScale"));
        jsonw_uint(w, 27);
    }
    jsonw_end(w);
}

static void put_count(struct jsonw *w, const char *name, uint64_t n)
{
    jsonw_key(w, strv_z(name));
    jsonw_uint(w, n);
}

static void put_money(struct jsonw *w, const char *name, struct money m)
{
    char text[MONEY_TEXT];

    money_format(m, text);
    jsonw_key(w, strv_z(name));
    jsonw_string(w, strv_z(text));
}

enum rc focus_metadata(const struct focus *f, int64_t now_us, const char *version,
                       struct buf *out)
{
    const char *focus = focus_version_name(f->options.version);
    const struct focus_column *column;
    char text[DATETIME_TEXT];
    struct jsonw w;
    enum rc rc;

    datetime_format_s(now_us, text);
    jsonw_start(&w, out);
    jsonw_object(&w);
    jsonw_key(&w, STRV("DataGenerator"));
    jsonw_string(&w, STRV("tollgate"));
    jsonw_key(&w, STRV("DataGeneratorVersion"));
    jsonw_string(&w, strv_z(version));
    jsonw_key(&w, STRV("SchemaId"));
    jsonw_string(&w, f->options.version == FOCUS_1_2 ? STRV("tollgate-focus-1.2-1")
                                                     : STRV("tollgate-focus-1.4-1"));
    jsonw_key(&w, STRV("FocusVersion"));
    jsonw_string(&w, strv_z(focus));
    jsonw_key(&w, STRV("CreationDate"));
    jsonw_string(&w, strv_z(text));
    put_count(&w, "x_Rows", f->counts.rows);
    put_count(&w, "x_Requests", f->counts.requests);
    put_count(&w, "x_UnpricedRequests", f->counts.unpriced);
    put_count(&w, "x_PartlyPricedRequests", f->counts.partly);
    put_count(&w, "x_ChargesWithoutListPrice", f->counts.list_unknown);
    put_money(&w, "x_TotalBilledCost", f->counts.billed);
    put_money(&w, "x_TotalEffectiveCost", f->counts.effective);
    put_money(&w, "x_TotalContractedCost", f->counts.contracted);
    put_money(&w, "x_TotalListCost", f->counts.list);
    jsonw_key(&w, STRV("ColumnDefinition"));
    jsonw_array(&w);
    for (size_t i = 0; (column = focus_column_at(i)); i++) {
        if (focus_column_is_of(column, f->options.version, f->options.n_commitments > 0))
            put_column(&w, column);
    }
    jsonw_end(&w);
    jsonw_end(&w);
    rc = jsonw_finish(&w);
    return rc == RC_OK ? buf_append(out, "\n", 1) : rc;
}
