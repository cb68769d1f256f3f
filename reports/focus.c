/*
 * focus.c - see focus.h: charges of a kind in a period become one row, or one row a bearer.
 *
 * What charges a record is made of: focus_record.c.  What a row holds: focus_row.c.
 */
#include "reports/focus.h"

#include <stdlib.h>
#include <string.h>

#include "base/datetime.h"
#include "base/xalloc.h"
#include "reports/focus_int.h"
#include "reports/sheet.h"

enum {
    KEY_MAX_BYTES = 32 << 10,
    OUT_MAX_BYTES = 1 << 20,
    MERGE_AT = 1 << 16,   /* charges held before those of a kind are put together */
    PART_DECIMALS = 6,    /* that quantities get more when a charge is split */
    PART_UNITS = 1000000, /* ten to that power */
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
        if (!focus_column_is_of(column, &f->options))
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

static uint64_t index_of(struct strv digits)
{
    uint64_t n = 0;

    (void)strv_parse_u64(digits, UINT64_MAX, &n);
    return n;
}

static enum focus_kind kind_of(struct strv name)
{
    if (strv_eq(name, STRV("delta")))
        return FOCUS_DELTA;
    return strv_eq(name, STRV("rest")) ? FOCUS_REST : FOCUS_USAGE;
}

static struct charge charge_of(const struct focus *f, const struct held *h)
{
    struct charge c = {.from_us = f->from_us,
                       .to_us = f->to_us,
                       .month_us = focus_month(f->from_us, 0),
                       .quantity = (money_int)h->quantity,
                       .requests = (money_int)h->requests,
                       .amount = h->amount,
                       .list = h->list};
    struct strv rest = strv_make(h->key, h->n);

    for (size_t i = 0; i < FOCUS_KEYS; i++)
        (void)strv_split(&rest, '\x1f', &c.key[i]);
    (void)meter_parse(c.key[FOCUS_METER], &c.meter);
    c.kind = kind_of(c.key[FOCUS_KIND]);
    c.rate = number(c.key[FOCUS_RATE]);
    c.list_rate = number(c.key[FOCUS_LIST_RATE]);
    if (c.key[FOCUS_ORIGIN].n) {
        c.from_us = (int64_t)number(c.key[FOCUS_ORIGIN]).atto;
        c.to_us = c.from_us + (f->to_us - f->from_us);
    }
    if (c.key[FOCUS_SHARE].n)
        c.set = focus_shares_set(f->options.shares, index_of(c.key[FOCUS_SHARE]));
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

static enum rc count_charge(struct focus *f, const struct charge *c)
{
    struct money list = c->list, contracted = c->amount;
    money_int digits;
    unsigned decimals;
    enum rc rc = RC_OK;

    if (c->kind == FOCUS_USAGE) {
        rc = focus_product(c, c->list_rate, &digits, &decimals);
        if (rc != RC_OK)
            return rc;
        list = as_money(digits, decimals);
        rc = focus_product(c, c->rate, &digits, &decimals);
        if (rc != RC_OK)
            return rc;
        contracted = as_money(digits, decimals);
    }
    f->counts.list = money_add(f->counts.list, list);
    f->counts.contracted = money_add(f->counts.contracted, contracted);
    if (!c->commitment)
        f->counts.billed = money_add(f->counts.billed, c->amount);
    f->counts.effective = money_add(f->counts.effective, c->amount);
    f->counts.metered = money_add(f->counts.metered, c->amount);
    return RC_OK;
}

static enum rc write_row(struct focus *f, const struct charge *c,
                         const struct focus_account *account)
{
    enum rc rc = focus_row(&f->options, c, account, &f->out);

    if (rc != RC_OK)
        return rc;
    f->counts.rows++;
    return send(f, OUT_MAX_BYTES - FOCUS_ROW_MAX_BYTES);
}

/* A row for each bearer: their parts sum to the charge in every column that adds up. */
static enum rc write_parts(struct focus *f, const struct charge *whole,
                           const struct focus_account *account)
{
    struct focus_set *set = focus_shares_set(f->options.shares,
                                             index_of(whole->key[FOCUS_SHARE]));
    money_int *parts = xcalloc(4 * set->n, sizeof(*parts));
    money_int *quantity = parts + set->n, *requests = quantity + set->n, *list = requests + set->n;
    enum rc rc = RC_OK;

    /* By what the set bore before, so that all its rows sum to what the report says of it. */
    focus_set_share(set, whole->amount, parts);
    focus_set_part(set, whole->quantity * PART_UNITS, quantity);
    focus_set_part(set, whole->requests * PART_UNITS, requests);
    focus_set_part(set, whole->list.atto, list);
    for (size_t i = 0; rc == RC_OK && i < set->n; i++) {
        struct charge part = *whole;

        if (set->at[i].weight == 0)
            continue;
        part.finer = PART_DECIMALS;
        part.bearer = &set->at[i];
        part.amount.atto = parts[i];
        part.quantity = quantity[i];
        part.requests = requests[i];
        part.list.atto = list[i];
        rc = write_row(f, &part, account);
    }
    free(parts);
    return rc;
}

static enum rc write_charge(struct focus *f, const struct held *h)
{
    struct charge c = charge_of(f, h);
    struct focus_account account = {.billing_id = STRV_NONE};
    enum rc rc;

    if (f->options.account)
        f->options.account(c.key[FOCUS_UPSTREAM], &account, f->options.arg);
    /* What corrects a month is on another invoice than the month was. */
    if (f->options.invoice && c.key[FOCUS_CLASS].n == 0)
        c.invoice_id = f->options.invoice(
            account.billing_id.n ? account.billing_id : c.key[FOCUS_UPSTREAM], c.month_us,
            f->options.arg);
    rc = count_charge(f, &c);
    if (rc != RC_OK)
        return rc;
    return c.set ? write_parts(f, &c, &account) : write_row(f, &c, &account);
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
        to->list = money_add(to->list, more->list);
        to->requests += more->requests;
        if (__builtin_add_overflow(to->quantity, more->quantity, &to->quantity))
            return RC_LIMIT;
        free(more->key);
    }
    f->n = f->merged = n + 1;
    return f->n > FOCUS_PERIOD_ROWS_MAX ? RC_LIMIT : RC_OK;
}

enum rc focus_flush(struct focus *f)
{
    enum rc rc = merge(f);

    for (size_t i = 0; rc == RC_OK && i < f->n; i++)
        rc = write_charge(f, &f->at[i]);
    drop_held(f);
    return rc;
}

enum rc focus_hold(struct focus *f, const struct held *charge)
{
    struct strv key = buf_view(&f->key);

    if (f->n == f->cap) {
        f->cap = f->cap ? f->cap * 2 : 1024;
        f->at = xrealloc(f->at, f->cap * sizeof(*f->at));
    }
    f->at[f->n] = *charge;
    f->at[f->n].key = xmemdupz(key.p, key.n);
    f->at[f->n++].n = key.n;
    /* Twice what was left after the last time: each charge is sorted a few times at most. */
    return f->n >= MERGE_AT && f->n >= 2 * f->merged ? merge(f) : RC_OK;
}

/* ---- commitments ------------------------------------------------------------------------ */

static struct strv account_of(const struct focus *f, struct strv upstream)
{
    struct focus_account account = {.billing_id = STRV_NONE};

    if (f->options.account)
        f->options.account(upstream, &account, f->options.arg);
    return account.billing_id.n ? account.billing_id : upstream;
}

struct strv focus_cover(struct focus *f, const struct record *r)
{
    const struct commitment *by;
    struct money cost;

    if (f->options.n_commitments == 0 || !commitment_may_cover(r, &cost))
        return STRV_NONE;
    by = commitments_cover(f->options.commitments, f->options.n_commitments,
                           account_of(f, r->subject.dim[DIM_UPSTREAM]), r->end_us, cost);
    return by ? by->id : STRV_NONE;
}

void focus_pass(struct focus *f, const struct record *r)
{
    (void)focus_cover(f, r);
}

/* A row about the commitment itself, on one day of its term. */
static enum rc write_commitment(struct focus *f, const struct commitment *commitment,
                                enum focus_kind kind, int64_t day_us, struct money amount)
{
    struct focus_account account = {.billing_id = commitment->account};
    struct charge c = {.from_us = day_us,
                       .to_us = day_us + US_PER_DAY,
                       .month_us = focus_month(day_us, 0),
                       .amount = amount,
                       .list = amount,
                       .kind = kind,
                       .commitment = commitment};
    enum rc rc;

    c.key[FOCUS_PROVIDER] = commitment->provider.n ? commitment->provider : commitment->account;
    c.key[FOCUS_COST_SOURCE] = STRV("invoiced");
    c.key[FOCUS_TAGS] = STRV("{}");
    if (f->options.invoice && kind == FOCUS_PURCHASE)
        c.invoice_id = f->options.invoice(commitment->account, focus_month(day_us, 0),
                                          f->options.arg);
    rc = write_row(f, &c, &account);
    if (rc != RC_OK)
        return rc;
    if (kind == FOCUS_PURCHASE)
        f->counts.billed = money_add(f->counts.billed, amount);
    else
        f->counts.effective = money_add(f->counts.effective, amount);
    f->counts.list = money_add(f->counts.list, amount);
    f->counts.contracted = money_add(f->counts.contracted, amount);
    return RC_OK;
}

enum rc focus_purchases(struct focus *f, int64_t from_us, int64_t to_us)
{
    enum rc rc = RC_OK;

    for (size_t i = 0; rc == RC_OK && i < f->options.n_commitments; i++) {
        const struct commitment *c = &f->options.commitments[i];

        if (c->from_us >= from_us && c->from_us < to_us)
            rc = write_commitment(f, c, FOCUS_PURCHASE, c->from_us, c->amount);
    }
    return rc;
}

enum rc focus_finish(struct focus *f, int64_t from_us, int64_t to_us)
{
    enum rc rc = focus_flush(f);

    for (size_t i = 0; rc == RC_OK && i < f->options.n_commitments; i++) {
        const struct commitment *c = &f->options.commitments[i];
        struct money left = money_sub(c->amount, c->used);

        if (c->to_us > from_us && c->to_us <= to_us && left.atto > 0)
            rc = write_commitment(f, c, FOCUS_UNUSED, c->to_us - US_PER_DAY, left);
    }
    return rc == RC_OK ? send(f, 1) : rc;
}
