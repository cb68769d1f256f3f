#include "reports/rate_card.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "reports/report_int.h"

enum { MILLION = 1000000, MS_PER_SECOND = 1000 };

/* ---- names ------------------------------------------------------------------------------- */

bool rate_card_split(struct strv id, struct strv *provider, struct strv *model)
{
    size_t slash = strv_find(id, '/'), end = id.n;

    if (slash == id.n)
        return false;
    while (end > slash && id.p[end - 1] != '@')
        end--;
    if (end == slash)
        return false;
    *provider = strv_head(id, slash);
    *model = strv_make(id.p + slash + 1, end - 1 - slash - 1);
    return true;
}

/* A million units, in the unit that quantities are told in. */
static uint64_t million_of(enum meter m)
{
    return meter_is_time(m) ? (uint64_t)MILLION * MS_PER_SECOND : MILLION;
}

static enum rc add(struct rate_card *card, const struct strv key[RATE_KEYS], uint64_t requests,
                   uint64_t quantity, struct money rate, struct money amount)
{
    struct rate *to = by_value_at(&card->rates, key);

    if (!to)
        return RC_LIMIT;
    to->requests += requests;
    if (__builtin_add_overflow(to->quantity, quantity, &to->quantity))
        to->quantity = UINT64_MAX;
    to->rate = rate;
    to->amount = ledger_money_add(to->amount, amount);
    return RC_OK;
}

/* ---- from sums --------------------------------------------------------------------------- */

enum { BY_UPSTREAM = 0, BY_MODEL, MODEL_FIELDS };

/* One model at one upstream. */
struct priced_model {
    struct valued valued;
    bool is_read; /* its rates are known: its requests need no reading */
};

struct reading {
    const struct rate_card_question *q;
    struct rate_card *card;
    struct by_value models;
    enum rc rc;
};

static void price_one(const struct book *book, struct price_query *query, enum meter m,
                      struct cost *cost)
{
    memset(&query->quantities, 0, sizeof(query->quantities));
    query->quantities.n[m] = million_of(m);
    price_usage(book, query, cost);
}

/* Whether the amount is the rate times the quantity, no more and no less. */
static bool is_product(const struct ledger_meter_sum *sum, enum meter m, struct money rate)
{
    money_int a, b;

    return !__builtin_mul_overflow(sum->amount.atto, (money_int)million_of(m), &a) &&
           !__builtin_mul_overflow(rate.atto, (money_int)sum->quantity, &b) && a == b;
}

/* The rate of each meter of the row, at both ends of the period the same; false where not. */
static bool rates_of(const struct rate_card_question *q, const struct ledger_row *row,
                     struct strv provider, struct money rate[METER_COUNT],
                     struct strv *price_id)
{
    struct price_query query = {.provider = provider,
                                .upstream = row->value[BY_UPSTREAM],
                                .model = row->value[BY_MODEL],
                                .model_requested = row->value[BY_MODEL]};
    const int64_t ends[] = {q->filter->from_us, q->filter->to_us - 1};
    struct cost *cost = xcalloc(1, sizeof(*cost));
    bool good = true;

    *price_id = STRV_NONE;
    for (size_t e = 0; good && e < 2; e++) {
        query.at_us = ends[e];
        for (unsigned m = 0; good && m < METER_COUNT; m++) {
            const struct ledger_meter_sum *sum = &row->meters[m];
            if (sum->requests == 0)
                continue;
            price_one(q->book, &query, (enum meter)m, cost);
            good = cost->status == PRICE_OK && cost->n_lines == 1 &&
                   cost->lines[0].meter == (enum meter)m &&
                   (price_id->n == 0 || strv_eq(*price_id, cost->price_id)) &&
                   is_product(sum, (enum meter)m, cost->lines[0].rate);
            *price_id = cost->price_id;
            rate[m] = cost->lines[0].rate;
        }
    }
    free(cost);
    return good && price_id->n > 0;
}

/* All of the row from the book and its sums; false where single requests must tell. */
static bool add_sums(struct reading *r, const struct ledger_row *row)
{
    struct reconcile_upstream up = {.provider = STRV_NONE};
    struct money rate[METER_COUNT], sum = MONEY_ZERO;
    struct strv key[RATE_KEYS] = {[RATE_UPSTREAM] = row->value[BY_UPSTREAM]};

    for (unsigned m = 0; m < METER_COUNT; m++)
        sum = ledger_money_add(sum, row->meters[m].amount);
    if (!r->q->book || !r->q->upstream || row->sums.corrections || row->sums.unpriced ||
        row->sums.price_partial || money_cmp(sum, row->sums.cost) != 0)
        return false;
    r->q->upstream(row->value[BY_UPSTREAM], &up, r->q->arg);
    if (!up.provider.n || !rates_of(r->q, row, up.provider, rate, &key[RATE_PRICE_ID]))
        return false;
    for (unsigned m = 0; r->rc == RC_OK && m < METER_COUNT; m++) {
        char text[MONEY_TEXT];

        if (row->meters[m].requests == 0)
            continue;
        key[RATE_METER] = strv_z(meter_name((enum meter)m));
        key[RATE_RATE] = strv_make(text, money_format(rate[m], text));
        r->rc = add(r->card, key, row->meters[m].requests, row->meters[m].quantity, rate[m],
                    row->meters[m].amount);
    }
    return true;
}

/* ---- from single requests ---------------------------------------------------------------- */

static void add_record(struct reading *r, const struct record *record)
{
    struct money rest = record->cost;
    struct strv key[RATE_KEYS] = {
        [RATE_UPSTREAM] = record->subject.dim[DIM_UPSTREAM],
        [RATE_PRICE_ID] = record->price_id,
        [RATE_TIER] = usage_priced_tier(record->service_tier),
        [RATE_CLASS] = record->is_correction ? STRV("correction") : STRV_NONE,
    };
    unsigned seen = 0;

    if (record->price_status == PRICE_NONE) {
        key[RATE_PRICE_ID] = STRV_NONE;
        r->rc = add(r->card, key, 1, 0, MONEY_ZERO, MONEY_ZERO);
        return;
    }
    for (size_t i = 0; r->rc == RC_OK && i < record->n_lines; i++) {
        const struct record_line *line = &record->lines[i];
        char text[MONEY_TEXT];

        /* A correction that takes a meter's whole cost back names no rate. */
        bool is_told = !record->is_correction || !money_is_zero(line->rate);
        key[RATE_METER] = strv_z(meter_name(line->meter));
        key[RATE_RATE] =
            is_told ? strv_make(text, money_format(line->rate, text)) : STRV_NONE;
        r->rc = add(r->card, key, 1, line->quantity, line->rate, line->amount);
        rest = money_sub(rest, line->amount);
        seen++;
    }
    key[RATE_METER] = key[RATE_RATE] = STRV_NONE;
    if (r->rc == RC_OK && (!seen || !money_is_zero(rest)))
        r->rc = add(r->card, key, !seen, 0, MONEY_ZERO, rest);
}

static bool on_line(uint64_t seq, const struct record *record, void *arg)
{
    struct reading *r = arg;
    const struct strv key[MODEL_FIELDS] = {record->subject.dim[DIM_UPSTREAM],
                                          record->subject.dim[DIM_MODEL]};
    const struct priced_model *model = by_value_at(&r->models, key);

    (void)seq;
    if (!model)
        r->rc = RC_LIMIT;
    else if (!model->is_read)
        add_record(r, record);
    return r->rc == RC_OK;
}

/* ---- from columns of them ---------------------------------------------------------------- */

/* Behind the fields of a model. */
enum { BY_PRICE_ID = MODEL_FIELDS, BY_TIER, BY_STATUS, RATE_FIELDS };

static bool on_rate(const struct ledger_rate *rate, void *arg)
{
    struct reading *r = arg;
    const struct priced_model *model = by_value_at(&r->models, rate->value);
    struct strv key[RATE_KEYS] = {
        [RATE_UPSTREAM] = rate->value[BY_UPSTREAM],
        [RATE_PRICE_ID] = rate->value[BY_PRICE_ID],
        [RATE_TIER] = usage_priced_tier(rate->value[BY_TIER]),
        [RATE_CLASS] = rate->is_correction ? STRV("correction") : STRV_NONE,
    };
    char text[MONEY_TEXT];

    if (!model)
        r->rc = RC_LIMIT;
    if (!model || model->is_read)
        return r->rc == RC_OK;
    if (strv_eq(rate->value[BY_STATUS], strv_z(price_status_name(PRICE_NONE))))
        key[RATE_PRICE_ID] = STRV_NONE;
    if (rate->has_meter) {
        bool is_told = !rate->is_correction || !money_is_zero(rate->rate);

        key[RATE_METER] = strv_z(meter_name(rate->meter));
        key[RATE_RATE] = is_told ? strv_make(text, money_format(rate->rate, text)) : STRV_NONE;
    }
    r->rc = add(r->card, key, rate->requests, rate->quantity, rate->rate, rate->amount);
    return r->rc == RC_OK;
}

/* Of the models whose sums did not tell. */
static enum rc read_single(struct reading *r, size_t left, struct fail *fail)
{
    static const struct ledger_field by[RATE_FIELDS] = {[BY_UPSTREAM] = {.id = FIELD_UPSTREAM},
                                                        [BY_MODEL] = {.id = FIELD_MODEL},
                                                        [BY_PRICE_ID] = {.id = FIELD_PRICE_ID},
                                                        [BY_TIER] = {.id = FIELD_SERVICE_TIER},
                                                        [BY_STATUS] = {.id = FIELD_PRICE_STATUS}};
    struct ledger_filter filter = *r->q->filter;
    struct strv *names = xcalloc(left, sizeof(*names));
    bool known = false;
    size_t n = 0;
    enum rc rc;

    for (size_t i = 0; i < r->models.n; i++) {
        const struct priced_model *model = (const struct priced_model *)r->models.at[i];
        if (!model->is_read)
            names[n++] = model->valued.value[BY_MODEL];
    }
    rc = ledger_filter_add(&filter, by[BY_MODEL], LEDGER_EQ, names, n);
    if (rc == RC_OK)
        rc = ledger_read_rates(r->q->reader, &filter, by, RATE_FIELDS, on_rate, on_line, r, &known,
                               fail);
    if (rc == RC_OK && !known)
        rc = ledger_read_lines(r->q->reader, &filter, LEDGER_OLDEST, 0, 0, on_line, r, fail);
    free(names);
    return rc == RC_OK ? r->rc : rc;
}

enum rc rate_card_read(const struct rate_card_question *q, struct rate_card *out,
                       struct fail *fail)
{
    struct ledger_question question = {.filter = *q->filter,
                                       .by = {[BY_UPSTREAM] = {.id = FIELD_UPSTREAM},
                                              [BY_MODEL] = {.id = FIELD_MODEL}},
                                       .n_by = MODEL_FIELDS,
                                       .grain = PERIOD_TOTAL,
                                       .want = LEDGER_WANT_METERS};
    struct reading r = {.q = q, .card = out};
    struct ledger_rows rows;
    size_t left = 0;
    enum rc rc;

    *out = (struct rate_card){.requests = 0};
    by_value_init(&out->rates, RATE_KEYS, sizeof(struct rate));
    by_value_init(&r.models, MODEL_FIELDS, sizeof(struct priced_model));
    rc = ledger_read_sums(q->reader, &question, &rows, fail);
    if (rc != RC_OK)
        return rc;
    out->requests = rows.total.sums.requests;
    out->unpriced = rows.total.sums.unpriced;
    out->cost = rows.total.sums.cost;
    for (size_t i = 0; r.rc == RC_OK && i < rows.n; i++) {
        struct priced_model *model = by_value_at(&r.models, rows.at[i].value);
        if (!model) {
            r.rc = RC_LIMIT;
            break;
        }
        model->is_read = add_sums(&r, &rows.at[i]);
        left += !model->is_read;
    }
    rc = r.rc;
    if (rc == RC_OK && left)
        rc = read_single(&r, left, fail);
    ledger_rows_release(&rows);
    by_value_release(&r.models);
    return rc;
}

void rate_card_release(struct rate_card *card)
{
    by_value_release(&card->rates);
}

/* ---- beside the book --------------------------------------------------------------------- */

struct search {
    const struct book *book;
    const struct rate *rate;
    enum meter meter;
    struct price_query query;
    int64_t from_us, to_us;
    struct rate_listed *out;
};

/* Whether the book charges this rate under the query's conditions; its list price then. */
static bool try_at(struct search *s, int64_t at_us)
{
    struct cost *cost = xcalloc(1, sizeof(*cost));
    bool good;

    s->query.at_us = at_us;
    price_one(s->book, &s->query, s->meter, cost);
    good = cost->n_lines == 1 && strv_eq(cost->price_id, s->rate->valued.value[RATE_PRICE_ID]) &&
           money_cmp(cost->lines[0].rate, s->rate->rate) == 0;
    if (good) {
        s->out->is_known = true;
        s->out->list = cost->list;
    }
    free(cost);
    return good;
}

/* Contract rules have dates of their own: the period's beginning, then its end. */
static bool try_card(struct search *s, const struct book_period *period,
                     const struct book_card *card)
{
    int64_t from = period->from_us > s->from_us ? period->from_us : s->from_us;
    int64_t to = period->to_us < s->to_us ? period->to_us : s->to_us;

    s->query.input_total = card ? card->ctx_min : 0;
    s->query.region = card && card->n_regions ? card->regions[0] : STRV_NONE;
    if (!try_at(s, from) && !try_at(s, to - 1))
        return false;
    s->out->region = s->query.region;
    s->out->ctx_min = s->query.input_total;
    return true;
}

/* Whether prices of this time go by the rate's id. */
static bool is_its_period(struct search *s, const struct book_period *period)
{
    struct cost *cost = xcalloc(1, sizeof(*cost));
    bool is_it;

    s->query.at_us = period->from_us != INT64_MIN ? period->from_us : period->to_us - 1;
    price_one(s->book, &s->query, s->meter, cost);
    is_it = strv_eq(cost->price_id, s->rate->valued.value[RATE_PRICE_ID]);
    free(cost);
    return is_it;
}

static bool on_model(const struct book_model *model, void *arg)
{
    struct search *s = arg;

    for (size_t i = 0; i < model->n_periods; i++) {
        const struct book_period *period = &model->periods[i];
        bool found;

        if (!is_its_period(s, period))
            continue;
        s->out->has_period = true;
        s->out->from_us = period->from_us;
        s->out->to_us = period->to_us;
        s->out->source = period->source.n ? period->source : model->source_what;
        s->out->published = model->published;
        s->out->confidence = model->confidence;
        found = try_card(s, period, NULL);
        for (size_t k = 0; !found && k < period->n_cards; k++)
            found = try_card(s, period, &period->cards[k]);
        break;
    }
    return false;
}

void rate_card_listed(const struct book *book, const struct rate *rate, int64_t from_us,
                      int64_t to_us, struct rate_listed *out)
{
    const struct strv *key = rate->valued.value;
    struct search s = {.book = book, .rate = rate, .from_us = from_us, .to_us = to_us, .out = out};
    struct strv provider, model;
    enum price_match match;

    *out = (struct rate_listed){.is_known = false};
    if (!book || !meter_parse(key[RATE_METER], &s.meter) ||
        !rate_card_split(key[RATE_PRICE_ID], &provider, &model))
        return;
    s.query = (struct price_query){.provider = book_provider(book, provider, STRV_NONE),
                                   .upstream = key[RATE_UPSTREAM],
                                   .model = model,
                                   .model_requested = model,
                                   .tier = key[RATE_TIER]};
    (void)book_find_model(book, s.query.provider, model, &match, on_model, &s);
}
