/*
 * report_rate_card.c - which prices were used: what was charged a million units, beside the
 * list price, since when it holds and who says so.
 *
 * A row is one price of one meter.  What it charged sums to the ledger; requests do not,
 * as one is charged for several meters.
 */
#include <stdio.h>
#include <stdlib.h>

#include "reports/focus_int.h"
#include "reports/rate_card.h"
#include "reports/report_int.h"

enum card_column {
    CARD_UPSTREAM = 0,
    CARD_PROVIDER,
    CARD_MODEL,
    CARD_TIER,
    CARD_METER,
    CARD_UNIT,
    CARD_REGION,
    CARD_CONTEXT,
    CARD_LIST,
    CARD_CHARGED,
    CARD_DISCOUNT,
    CARD_FROM,
    CARD_TO,
    CARD_REQUESTS,
    CARD_QUANTITY,
    CARD_COST,
    CARD_CLASS,
    CARD_PRICE_ID,
    CARD_CONFIDENCE,
    CARD_PUBLISHED,
    CARD_SOURCE,
    CARD_BOOK,
};

enum { BOOK_CHARS = 12, UNIT_BYTES = 64, CHARGE_MAX_BYTES = 4096 };

static void card_columns(struct sheet *t)
{
    const unsigned rare = COLUMN_KEY | COLUMN_SPARSE, machine = COLUMN_KEY | COLUMN_MACHINE;

    sheet_column(t, "upstream", "upstream", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "provider", "provider", COLUMN_TEXT, machine);
    sheet_column(t, "model", "model", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "service_tier", "tier", COLUMN_TEXT, rare);
    sheet_column(t, "meter", "meter", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "unit", "unit", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "region", "region", COLUMN_TEXT, rare);
    sheet_column(t, "input_tokens_from", "input from", COLUMN_COUNT, rare);
    sheet_column(t, "list_price_usd", "list USD", COLUMN_MONEY, 0);
    sheet_column(t, "price_usd", "charged USD", COLUMN_MONEY, 0);
    sheet_column(t, "discount", "discount", COLUMN_RATIO, COLUMN_PER_CENT | COLUMN_SPARSE);
    sheet_column(t, "valid_from", "valid from", COLUMN_TIME, COLUMN_KEY);
    sheet_column(t, "valid_to", "to", COLUMN_TIME, rare);
    sheet_column(t, "charged_requests", "requests", COLUMN_COUNT, 0);
    sheet_column(t, "quantity", "quantity", COLUMN_COUNT, 0);
    sheet_column(t, "cost_usd", "cost USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "class", "class", COLUMN_TEXT, rare);
    sheet_column(t, "price_id", "price id", COLUMN_TEXT, machine);
    sheet_column(t, "confidence", "confidence", COLUMN_TEXT, rare);
    sheet_column(t, "published", "published", COLUMN_TEXT, machine);
    sheet_column(t, "source", "source", COLUMN_TEXT, rare);
    sheet_column(t, "book", "book", COLUMN_TEXT, machine);
}

static enum rc put_text(struct run *run, struct strv text, struct cell *out)
{
    return text.n ? sheet_text(&run->sheet, text, out) : RC_OK;
}

/* Its name as the invoice has it, and what the price is for. */
static enum rc put_meter(struct run *run, struct strv name, struct cell *c)
{
    char unit[UNIT_BYTES];
    enum meter meter;
    enum rc rc;

    if (!meter_parse(name, &meter))
        return RC_OK;
    (void)snprintf(unit, sizeof(unit), "1000000 %s", focus_unit(meter));
    rc = sheet_text(&run->sheet, strv_z(focus_meter_words(meter)), &c[CARD_METER]);
    return rc == RC_OK ? sheet_text(&run->sheet, strv_z(unit), &c[CARD_UNIT]) : rc;
}

static enum rc put_listed(struct run *run, const struct rate *rate, struct cell *c)
{
    const struct report_params *p = run->params;
    struct rate_listed listed;
    enum rc rc;

    rate_card_listed(run->sources->book, rate, p->from_us,
                     p->to_us < p->now_us ? p->to_us : p->now_us, &listed);
    if (listed.is_known) {
        c[CARD_LIST] = cell_money(listed.list);
        c[CARD_DISCOUNT] =
            cell_ratio(money_sub(listed.list, rate->rate).atto, listed.list.atto);
    }
    if (listed.ctx_min)
        c[CARD_CONTEXT] = cell_count(listed.ctx_min);
    if (listed.has_period && listed.from_us != INT64_MIN)
        c[CARD_FROM] = cell_time(listed.from_us);
    if (listed.has_period && listed.to_us != INT64_MAX)
        c[CARD_TO] = cell_time(listed.to_us);
    rc = put_text(run, listed.region, &c[CARD_REGION]);
    if (rc == RC_OK)
        rc = put_text(run, listed.confidence, &c[CARD_CONFIDENCE]);
    if (rc == RC_OK)
        rc = put_text(run, listed.published, &c[CARD_PUBLISHED]);
    if (rc == RC_OK)
        rc = put_text(run, listed.source, &c[CARD_SOURCE]);
    if (rc == RC_OK && listed.is_known)
        rc = put_text(run, strv_head(strv_z(book_hash(run->sources->book)), BOOK_CHARS),
                      &c[CARD_BOOK]);
    return rc;
}

static enum rc put_names(struct run *run, const struct rate *rate, struct cell *c)
{
    const struct strv *key = rate->valued.value;
    struct strv provider, model;
    enum rc rc = run_value(run, key[RATE_UPSTREAM], &c[CARD_UPSTREAM]);

    if (rc == RC_OK && rate_card_split(key[RATE_PRICE_ID], &provider, &model)) {
        rc = put_text(run, provider, &c[CARD_PROVIDER]);
        if (rc == RC_OK)
            rc = put_text(run, model, &c[CARD_MODEL]);
    } else if (rc == RC_OK && !key[RATE_PRICE_ID].n) {
        rc = sheet_text(&run->sheet, STRV("(unpriced)"), &c[CARD_MODEL]);
    }
    if (rc == RC_OK)
        rc = put_text(run, key[RATE_TIER], &c[CARD_TIER]);
    if (rc == RC_OK)
        rc = put_text(run, key[RATE_CLASS], &c[CARD_CLASS]);
    if (rc == RC_OK)
        rc = put_text(run, key[RATE_PRICE_ID], &c[CARD_PRICE_ID]);
    return rc == RC_OK ? put_meter(run, key[RATE_METER], c) : rc;
}

/* The lines that were charged it, each with what it was charged of it (charged_usd). */
static enum rc put_link(struct run *run, const struct rate *rate, struct cell *row)
{
    static const char *const names[] = {[RATE_TIER] = "tier",
                                        [RATE_METER] = "meter",
                                        [RATE_RATE] = "rate",
                                        [RATE_CLASS] = "class"};
    const struct strv *key = rate->valued.value;
    struct buf charge;
    struct drill d;
    enum rc rc = RC_OK;

    drill_start(&d, run);
    drill_add(&d, (struct ledger_field){.id = FIELD_UPSTREAM}, LEDGER_EQ, key[RATE_UPSTREAM]);
    if (!key[RATE_PRICE_ID].n) {
        drill_add(&d, (struct ledger_field){.id = FIELD_PRICE_STATUS}, LEDGER_EQ, STRV("none"));
        return drill_cell(run, &d, &row[run->lines]);
    }
    drill_add(&d, (struct ledger_field){.id = FIELD_PRICE_ID}, LEDGER_EQ, key[RATE_PRICE_ID]);
    buf_init(&charge, CHARGE_MAX_BYTES);
    for (unsigned k = RATE_TIER; rc == RC_OK && k < RATE_KEYS; k++) {
        if (key[k].n)
            rc = buf_printf(&charge, "%s%s=" STRV_FMT, buf_len(&charge) ? "," : "", names[k],
                            STRV_ARG(key[k]));
    }
    if (rc == RC_OK && buf_len(&charge) == 0)
        rc = buf_append_strv(&charge, STRV("meter=")); /* no meter, of the usual tier */
    d.charge = buf_view(&charge);
    if (rc == RC_OK)
        rc = drill_cell(run, &d, &row[run->lines]);
    buf_release(&charge);
    return rc;
}

static enum rc put_row(struct run *run, const struct rate *rate)
{
    const struct strv *key = rate->valued.value;
    struct cell *c;
    enum rc rc = sheet_row(&run->sheet, &c);

    if (rc == RC_OK)
        rc = put_names(run, rate, c);
    if (rc != RC_OK)
        return rc;
    c[CARD_REQUESTS] = cell_count(rate->requests);
    if (key[RATE_PRICE_ID].n)
        c[CARD_COST] = cell_money(rate->amount);
    if (key[RATE_METER].n)
        c[CARD_QUANTITY] = cell_count(rate->quantity);
    if (key[RATE_RATE].n) {
        c[CARD_CHARGED] = cell_money(rate->rate);
        rc = put_listed(run, rate, c);
    }
    return rc == RC_OK ? put_link(run, rate, c) : rc;
}

/* By upstream and price, then by what is charged first on an invoice; unpriced ones last. */
static int by_name(const void *a, const void *b)
{
    const struct strv *x = (*(struct rate *const *)a)->valued.value;
    const struct strv *y = (*(struct rate *const *)b)->valued.value;
    int c = (x[RATE_PRICE_ID].n == 0) - (y[RATE_PRICE_ID].n == 0);
    enum meter of_x = METER_COUNT, of_y = METER_COUNT;

    for (unsigned k = RATE_UPSTREAM; c == 0 && k <= RATE_TIER; k++)
        c = strv_cmp(x[k], y[k]);
    (void)meter_parse(x[RATE_METER], &of_x);
    (void)meter_parse(y[RATE_METER], &of_y);
    if (c == 0 && of_x != of_y)
        c = of_x < of_y ? -1 : 1;
    if (c == 0)
        c = money_cmp((*(struct rate *const *)a)->rate, (*(struct rate *const *)b)->rate);
    return c ? c : strv_cmp(x[RATE_CLASS], y[RATE_CLASS]);
}

enum rc report_rate_card(struct run *run)
{
    struct ledger_filter filter;
    struct rate_card_question q = {.reader = run->reader,
                                   .filter = &filter,
                                   .book = run->sources->book,
                                   .upstream = run->sources->upstream,
                                   .arg = run->sources->arg};
    struct rate_card card;
    enum rc rc;

    if (run->params->has_cohort)
        return run_refuses(run, "cohort", "it is a word of tasks");
    if (run->params->n_by)
        return run_refuses(run, "by", "it has a row for each price");
    if (run->params->grain != PERIOD_TOTAL)
        return run_refuses(run, "grain", "it is about the period as a whole");
    if (run->params->top)
        return run_refuses(run, "top", "it has all prices");
    params_filter(run->params, &filter);
    rc = rate_card_read(&q, &card, &run->fail);
    card_columns(&run->sheet);
    drill_column(run);
    if (rc == RC_OK && card.rates.n)
        qsort(card.rates.at, card.rates.n, sizeof(*card.rates.at), by_name);
    for (size_t i = 0; rc == RC_OK && i < card.rates.n; i++)
        rc = put_row(run, (const struct rate *)card.rates.at[i]);
    if (card.requests == 0 || card.requests > card.unpriced || !money_is_zero(card.cost))
        run->sheet.total[CARD_COST] = cell_money(card.cost);
    if (rc == RC_OK)
        rc = drill_total(run);
    run->note = "Prices of a million units, as charged; list prices are those of the book that "
                "still gives them.";
    rate_card_release(&card);
    return rc;
}
