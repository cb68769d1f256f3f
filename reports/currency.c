/*
 * currency.c - see currency.h: codes, rates, conversion.
 */
#include "reports/currency.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/datetime.h"
#include "base/xalloc.h"
#include "reports/books.h"
#include "reports/closed.h"
#include "reports/render.h"
#include "reports/statement.h"
#include "reports/words.h"

#define SAY(buf, ...)                                                                          \
    do {                                                                                       \
        enum rc say_rc = buf_printf(buf, __VA_ARGS__);                                         \
        (void)say_rc;                                                                          \
    } while (0)

enum { MONEY_DECIMALS = 18, NOTE_MAX_BYTES = 1024 };

/* ISO 4217 by decimals of the smallest coin; funds and metals are none. */
static const struct {
    unsigned exponent;
    const char *codes;
} currencies[] = {
    {2, "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD "
        "CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP "
        "GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD "
        "LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB "
        "PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC "
        "SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW "
        "ZWG"},
    {0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"},
    {3, "BHD IQD JOD KWD LYD OMR TND"},
};

bool currency_exponent(struct strv code, unsigned *out)
{
    for (size_t i = 0; i < sizeof(currencies) / sizeof(*currencies); i++) {
        struct strv rest = strv_z(currencies[i].codes), one;

        while (strv_split(&rest, ' ', &one)) {
            if (!strv_eq(one, code))
                continue;
            *out = currencies[i].exponent;
            return true;
        }
    }
    return false;
}

const char *currency_nearest(struct strv code)
{
    static const char *const common[] = {"EUR", "GBP", "JPY", "CHF", "CAD", "AUD", "CNY", "INR",
                                         "SEK", "NOK", "DKK", "PLN", "CZK", "BRL", "MXN", "SGD",
                                         "HKD", "KRW", "KWD", "USD"};

    return words_nearest(code, common, sizeof(common) / sizeof(*common));
}

bool currency_rate_parse(struct strv text, struct currency_rate *out)
{
    struct currency_rate rate = {0, 1};
    size_t point = strv_find(text, '.'), digits = 0;

    if (point == 0 || point + 1 == text.n || text.n > CURRENCY_RATE_DIGITS_MAX + 1 ||
        (point < text.n && text.n - point - 1 > CURRENCY_RATE_DECIMALS_MAX))
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (i == point)
            continue;
        if (text.p[i] < '0' || text.p[i] > '9' || ++digits > CURRENCY_RATE_DIGITS_MAX)
            return false;
        rate.num = rate.num * 10 + (uint64_t)(text.p[i] - '0');
        if (i > point)
            rate.den *= 10;
    }
    *out = rate;
    return rate.num > 0;
}

/* ---- arithmetic ------------------------------------------------------------------------- */

money_int currency_coin(const struct currency *c)
{
    money_int coin = 1;

    for (unsigned i = c->exponent; i < MONEY_DECIMALS; i++)
        coin *= 10;
    return coin;
}

money_int currency_minor(const struct currency *c, money_int atto_usd)
{
    const money_int coin = currency_coin(c);
    money_int size = atto_usd < 0 ? -atto_usd : atto_usd, rest, minor;
    uint64_t below; /* what is left under the last atto: it breaks a tie */

    size = scale_floor(size, c->rate.num, c->rate.den, &below);
    minor = size / coin;
    rest = size % coin;
    if (rest > coin - rest || (rest == coin - rest && (below > 0 || (minor & 1) != 0)))
        minor++;
    return atto_usd < 0 ? -minor : minor;
}

void currency_share(const struct currency *c, const money_int *atto_usd, size_t n,
                    money_int minor, money_int *out)
{
    money_int *amounts = xcalloc(n + 1, sizeof(*amounts));

    for (size_t i = 0; i < n; i++) {
        money_int size = atto_usd[i] < 0 ? -atto_usd[i] : atto_usd[i];
        uint64_t below;

        size = scale_floor(size, c->rate.num, c->rate.den, &below);
        amounts[i] = atto_usd[i] < 0 ? -size : size;
    }
    round_to_sum(amounts, n, currency_coin(c), minor, out);
    free(amounts);
}

/* ---- which rate ------------------------------------------------------------------------- */

/* The line of the table that a document of the run's period goes by; its number or n_rows. */
static size_t newest(const struct run *run, const struct books_table *t, struct strv code)
{
    const struct report_params *p = run->params;
    const int64_t oldest =
        p->from_us - (int64_t)CURRENCY_RATE_AGE_MAX_DAYS * 86400 * US_PER_SECOND;
    size_t best = t->csv.n_rows;
    int64_t best_us = INT64_MIN, from_us, to_us;

    for (size_t r = 0; r < t->csv.n_rows; r++) {
        if (!strv_eq(books_field(t, BOOKS_RATES, r, "currency"), code) ||
            !books_when(run->sources->zone, books_field(t, BOOKS_RATES, r, "date"), &from_us,
                        &to_us) ||
            from_us >= p->to_us || from_us < oldest || from_us <= best_us)
            continue;
        best = r;
        best_us = from_us;
    }
    return best;
}

static enum rc keep(struct run *run, struct strv text, struct strv *out)
{
    *out = arena_strv(&run->sheet.arena, text);
    return out->p ? RC_OK : RC_LIMIT;
}

static enum rc take_rate(struct run *run, struct currency *c, struct strv rate, struct strv date,
                         struct strv source)
{
    enum rc rc = keep(run, rate, &c->rate_text);

    if (rc == RC_OK)
        rc = keep(run, date, &c->date);
    if (rc == RC_OK)
        rc = keep(run, source, &c->source);
    if (rc != RC_OK)
        return rc;
    if (currency_rate_parse(c->rate_text, &c->rate))
        return RC_OK;
    run->fail = (struct fail){.rc = RC_IO, .doing = "read an exchange rate: it is damaged"};
    return RC_IO;
}

static enum rc find_open(struct run *run, struct currency *c)
{
    struct strv code = strv_z(c->code);
    struct books_table t;
    enum rc rc = books_read(run->sources->state_dir, BOOKS_RATES, &t, &run->fail);
    size_t r;

    if (rc != RC_OK)
        return rc;
    r = newest(run, &t, code);
    if (r < t.csv.n_rows) {
        rc = take_rate(run, c, books_field(&t, BOOKS_RATES, r, "rate"),
                       books_field(&t, BOOKS_RATES, r, "date"),
                       books_field(&t, BOOKS_RATES, r, "source"));
    } else {
        SAY(run->error,
            "currency: no rate of %s is recorded for this period or the %d days before it "
            "(tollgate import rates: currency, date, rate, source)",
            c->code, CURRENCY_RATE_AGE_MAX_DAYS);
        rc = RC_BAD;
    }
    books_release(&t);
    return rc;
}

enum rate_column { RATE_CURRENCY = 0, RATE_DATE, RATE_PER_DOLLAR, RATE_SOURCE };

static enum rc find_frozen(struct run *run, const char *month, struct currency *c)
{
    struct sheet t;
    enum rc rc;

    sheet_init(&t);
    rc = closed_sheet(run->sources->state_dir, month, "rates", &t, &run->fail);
    for (size_t i = 0; rc == RC_OK && i < t.n_rows && !c->rate.num; i++) {
        const struct cell *cells = sheet_cells(&t, i);

        if (t.n_columns > RATE_SOURCE && strv_eq(cells[RATE_CURRENCY].text, strv_z(c->code)))
            rc = take_rate(run, c, cells[RATE_PER_DOLLAR].text, cells[RATE_DATE].text,
                           cells[RATE_SOURCE].text);
    }
    sheet_release(&t);
    if (rc == RC_STATE || (rc == RC_OK && !c->rate.num)) {
        SAY(run->error,
            "currency: %s was closed without a rate of %s: what was frozen then stays as it is",
            month, c->code);
        rc = RC_BAD;
    }
    return rc;
}

enum rc currency_find(struct run *run, struct currency *out)
{
    struct strv code = run->params->currency;
    char month[CLOSED_MONTH_TEXT];
    enum rc rc;

    *out = (struct currency){.rate = {0, 1}};
    ASSERT(code.n == CURRENCY_CODE - 1 && currency_exponent(code, &out->exponent));
    memcpy(out->code, code.p, code.n);
    rc = run->is_frozen && statement_month(run, month) ? find_frozen(run, month, out)
                                                       : find_open(run, out);
    if (rc == RC_OK)
        run->currency =
            (struct sheet_currency){code, out->rate_text, out->date, out->source};
    return rc;
}

enum rc currency_rates_sheet(struct run *run, struct sheet *out)
{
    static const char *const names[] = {"currency", "date", "rate", "source"};
    struct books_table t;
    enum rc rc = books_read(run->sources->state_dir, BOOKS_RATES, &t, &run->fail);

    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        sheet_column(out, names[i], names[i], COLUMN_TEXT, COLUMN_KEY);
    for (size_t r = 0; rc == RC_OK && r < t.csv.n_rows; r++) {
        struct cell *c;

        /* The table is in order of currency, then date. */
        if (newest(run, &t, books_field(&t, BOOKS_RATES, r, "currency")) != r)
            continue;
        rc = sheet_row(out, &c);
        for (size_t i = 0; rc == RC_OK && i < sizeof(names) / sizeof(*names); i++)
            rc = sheet_text(out, books_field(&t, BOOKS_RATES, r, names[i]), &c[i]);
    }
    books_release(&t);
    return rc;
}

/* ---- on a document ------------------------------------------------------------------------ */

void currency_columns(struct run *run, const struct currency *c)
{
    const struct {
        const char *name, *title;
        struct strv value;
    } columns[] = {{"exchange_rate", "rate", c->rate_text},
                   {"rate_date", "rate of", c->date},
                   {"rate_source", "rate by", c->source}};
    struct sheet *t = &run->sheet;

    for (size_t i = 0; i < sizeof(columns) / sizeof(*columns); i++) {
        size_t at = sheet_append(t, columns[i].name, columns[i].title, COLUMN_TEXT,
                                 COLUMN_KEY | COLUMN_MACHINE);

        for (size_t r = 0; r < t->n_rows; r++)
            sheet_cells(t, r)[at] = (struct cell){.known = true, .text = columns[i].value};
    }
}

enum rc currency_note(struct run *run, const struct currency *c)
{
    char text[NOTE_MAX_BYTES], clean[SHOWN_TEXT];
    struct strv note;

    (void)snprintf(text, sizeof(text),
                   "%s A dollar is " STRV_FMT " %s, of " STRV_FMT " (" STRV_FMT ").",
                   run->note ? run->note : "", STRV_ARG(c->rate_text), c->code,
                   STRV_ARG(c->date), STRV_ARG(shown_clean(c->source, clean)));
    note = arena_strv(&run->sheet.arena, strv_z(text));
    run->note = note.p;
    return note.p ? RC_OK : RC_LIMIT;
}
