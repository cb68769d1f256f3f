/* `tollgate price show`: the price book as a table, as JSON or as CSV (a rate a line). */
#include "proxy/cmd_price.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/csvw.h"
#include "base/jsonw.h"
#include "proxy/cmd.h"

enum { SHOWN_MAX_BYTES = 1 << 30, TEXT_BYTES = 2048 };

struct show {
    const struct price_options *options;
    struct strv provider;   /* empty: any */
    enum price_match match; /* of the model being shown; MATCH_NONE: it was not looked up */
    struct buf rows;        /* tab-separated lines, JSON or CSV */
    struct jsonw json;
    size_t n;
    size_t width[4]; /* of all columns but the last */
};

static void time_text(int64_t us, char out[DATETIME_TEXT])
{
    if (us == INT64_MIN || us == INT64_MAX)
        (void)snprintf(out, DATETIME_TEXT, "-");
    else
        datetime_format_s(us, out);
}

/* "/M", "/k", "/h" or "": for how many the rate is. */
static const char *per_text(const struct book_rate *rate)
{
    if (meter_is_time(rate->meter))
        return rate->per == 3600 ? "/h" : "/s";
    if (rate->per == 1000000000)
        return "/G";
    if (rate->per == 1000000)
        return "/M";
    return rate->per == 1000 ? "/k" : "";
}

/* Appends to a text of TEXT_BYTES; what is too long is cut. */
static void add(char *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(char *text, const char *format, ...)
{
    size_t n = strlen(text);
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text + n, TEXT_BYTES - n, format, args);
    va_end(args);
}

static void when_text(const struct book_card *card, char text[TEXT_BYTES])
{
    text[0] = '\0';
    if (card->tier.n > 0)
        add(text, " tier=" STRV_FMT, STRV_ARG(card->tier));
    for (size_t i = 0; i < card->n_regions; i++)
        add(text, "%s" STRV_FMT, i ? "," : " region=", STRV_ARG(card->regions[i]));
    if (card->ctx_min > 0)
        add(text, " ctx>=%" PRIu64, card->ctx_min);
    if (card->window.n > 0)
        add(text, " at=" STRV_FMT, STRV_ARG(card->window));
    if (card->other.n > 0)
        add(text, " " STRV_FMT, STRV_ARG(card->other));
    if (text[0] == '\0')
        add(text, " -");
}

static bool is_shown(const struct show *show, const struct book_period *period)
{
    int64_t at_us = show->options->at_us;

    return show->options->all || (at_us >= period->from_us && at_us < period->to_us);
}

static bool rate_is_shown(const struct show *show, const struct book_rate *rate)
{
    return show->options->unit == METER_COUNT || show->options->unit == rate->meter;
}

static bool card_is_shown(const struct show *show, const struct book_card *card)
{
    for (size_t i = 0; i < card->n_rates; i++) {
        if (rate_is_shown(show, &card->rates[i]))
            return true;
    }
    return show->options->unit == METER_COUNT;
}

static bool period_is_shown(const struct show *show, const struct book_period *period)
{
    bool any = show->options->unit == METER_COUNT;

    for (size_t k = 0; k < period->n_cards && !any; k++)
        any = card_is_shown(show, &period->cards[k]);
    return any && is_shown(show, period);
}

static void rates_text(const struct show *show, const struct book_card *card,
                       char text[TEXT_BYTES])
{
    text[0] = '\0';
    for (size_t i = 0; i < card->n_rates; i++) {
        char amount[MONEY_TEXT];

        if (!rate_is_shown(show, &card->rates[i]))
            continue;
        money_format(card->rates[i].rate, amount);
        add(text, "%s%s %s%s", text[0] ? ", " : "", meter_name(card->rates[i].meter), amount,
            per_text(&card->rates[i]));
    }
    if (card->n_rates == 0)
        add(text, "no rate");
}

static bool add_row(struct show *show, const struct book_model *model,
                    const struct book_period *period, const struct book_card *card)
{
    char when[TEXT_BYTES], rates[TEXT_BYTES], from[DATETIME_TEXT], name[TEXT_BYTES] = "";
    char prov[TEXT_BYTES] = "";
    const char *column[4] = {name, from, when + 1, prov};

    time_text(period->from_us, from);
    when_text(card, when);
    rates_text(show, card, rates);
    add(name, STRV_FMT "/" STRV_FMT, STRV_ARG(model->provider), STRV_ARG(model->id));
    if (show->match != MATCH_NONE && show->match != MATCH_EXACT)
        add(name, " (%s)", price_match_name(show->match));
    add(prov, STRV_FMT " " STRV_FMT " " STRV_FMT, STRV_ARG(model->confidence),
        STRV_ARG(model->source), STRV_ARG(model->published));
    for (size_t i = 0; i < 4; i++) {
        size_t n = strlen(column[i]);

        show->width[i] = n > show->width[i] ? n : show->width[i];
    }
    return buf_printf(&show->rows, "%s\t%s\t%s\t%s\t%s\n", name, from, when + 1, prov, rates) ==
           RC_OK;
}

/* ---- CSV ---------------------------------------------------------------------------- */

static bool csv_cells(struct buf *out, const struct strv *cells, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((i > 0 && buf_append(out, ",", 1) != RC_OK) || csvw_text(out, cells[i]) != RC_OK)
            return false;
    }
    return buf_append(out, "\r\n", 2) == RC_OK;
}

static bool csv_head(struct buf *out)
{
    static const struct strv names[] = {
        {"provider", 8},    {"model", 5},  {"match", 5},    {"kind", 4}, {"from", 4},
        {"to", 2},          {"when", 4},   {"unit", 4},     {"usd", 3},  {"per", 3},
        {"confidence", 10}, {"source", 6}, {"published", 9}};

    return csv_cells(out, names, sizeof(names) / sizeof(names[0]));
}

static struct strv csv_time(int64_t us, char out[DATETIME_TEXT])
{
    time_text(us, out);
    return strcmp(out, "-") == 0 ? STRV_NONE : strv_z(out);
}

/* A line a rate. */
static bool csv_card(struct show *show, const struct book_model *model,
                     const struct book_period *period, const struct book_card *card)
{
    char from[DATETIME_TEXT], to[DATETIME_TEXT], when[TEXT_BYTES];

    when_text(card, when);
    for (size_t i = 0; i < card->n_rates; i++) {
        char amount[MONEY_TEXT], per[24];

        if (!rate_is_shown(show, &card->rates[i]))
            continue;
        money_format(card->rates[i].rate, amount);
        (void)snprintf(per, sizeof(per), "%" PRIu64, card->rates[i].per);
        const struct strv cells[] = {
            model->provider,
            model->id,
            strv_z(show->match == MATCH_NONE ? "" : price_match_name(show->match)),
            model->kind,
            csv_time(period->from_us, from),
            csv_time(period->to_us, to),
            strcmp(when, " -") == 0 ? STRV_NONE : strv_z(when + 1),
            strv_z(meter_name(card->rates[i].meter)),
            strv_z(amount),
            strv_z(per),
            model->confidence,
            period->source.n ? period->source : model->source,
            model->published,
        };

        if (!csv_cells(&show->rows, cells, sizeof(cells) / sizeof(cells[0])))
            return false;
    }
    return true;
}

/* ---- JSON ----------------------------------------------------------------------------- */

static void json_text(struct jsonw *w, struct strv key, struct strv text)
{
    jsonw_key(w, key);
    if (text.n > 0)
        jsonw_string(w, text);
    else
        jsonw_null(w);
}

static void json_time(struct jsonw *w, struct strv key, int64_t us)
{
    char text[DATETIME_TEXT];

    time_text(us, text);
    json_text(w, key, strcmp(text, "-") == 0 ? STRV_NONE : strv_z(text));
}

static void json_card(struct show *show, const struct book_card *card)
{
    struct jsonw *w = &show->json;

    jsonw_object(w);
    jsonw_key(w, STRV("when"));
    jsonw_object(w);
    if (card->tier.n > 0)
        json_text(w, STRV("tier"), card->tier);
    if (card->n_regions > 0) {
        jsonw_key(w, STRV("region"));
        jsonw_array(w);
        for (size_t i = 0; i < card->n_regions; i++)
            jsonw_string(w, card->regions[i]);
        jsonw_end(w);
    }
    if (card->ctx_min > 0) {
        jsonw_key(w, STRV("ctx_min"));
        jsonw_uint(w, card->ctx_min);
    }
    if (card->window.n > 0)
        json_text(w, STRV("window"), card->window);
    if (card->other.n > 0)
        json_text(w, STRV("other"), card->other);
    jsonw_end(w);
    jsonw_key(w, STRV("rates"));
    jsonw_object(w);
    for (size_t i = 0; i < card->n_rates; i++) {
        char amount[MONEY_TEXT];
        size_t n = money_format(card->rates[i].rate, amount);

        if (!rate_is_shown(show, &card->rates[i]))
            continue;
        jsonw_key(w, strv_z(meter_name(card->rates[i].meter)));
        jsonw_object(w);
        jsonw_key(w, STRV("usd"));
        jsonw_string(w, strv_make(amount, n));
        jsonw_key(w, STRV("per"));
        jsonw_uint(w, card->rates[i].per);
        jsonw_end(w);
    }
    jsonw_end(w);
    jsonw_end(w);
}

static void json_model(struct show *show, const struct book_model *model)
{
    struct jsonw *w = &show->json;

    jsonw_object(w);
    json_text(w, STRV("provider"), model->provider);
    json_text(w, STRV("id"), model->id);
    jsonw_key(w, STRV("ids"));
    jsonw_array(w);
    for (size_t i = 0; i < model->n_ids; i++)
        jsonw_string(w, model->ids[i]);
    jsonw_end(w);
    if (show->match != MATCH_NONE)
        json_text(w, STRV("match"), strv_z(price_match_name(show->match)));
    json_text(w, STRV("kind"), model->kind);
    jsonw_key(w, STRV("deprecated"));
    jsonw_bool(w, model->is_deprecated);
    json_text(w, STRV("confidence"), model->confidence);
    json_text(w, STRV("source"), model->source);
    json_text(w, STRV("source_what"), model->source_what);
    json_text(w, STRV("published"), model->published);
    json_text(w, STRV("retrieved"), model->retrieved);
    jsonw_key(w, STRV("periods"));
    jsonw_array(w);
    for (size_t i = 0; i < model->n_periods; i++) {
        const struct book_period *period = &model->periods[i];

        if (!period_is_shown(show, period))
            continue;
        jsonw_object(w);
        json_time(w, STRV("from"), period->from_us);
        json_time(w, STRV("to"), period->to_us);
        json_text(w, STRV("source"), period->source);
        jsonw_key(w, STRV("cards"));
        jsonw_array(w);
        for (size_t k = 0; k < period->n_cards; k++)
            if (card_is_shown(show, &period->cards[k]))
                json_card(show, &period->cards[k]);
        jsonw_end(w);
        jsonw_end(w);
    }
    jsonw_end(w);
    jsonw_end(w);
}

static bool show_period(struct show *show, const struct book_model *model,
                        const struct book_period *period)
{
    for (size_t k = 0; k < period->n_cards; k++) {
        const struct book_card *card = &period->cards[k];

        if (!card_is_shown(show, card))
            continue;
        if (show->options->format == PRICE_CSV ? !csv_card(show, model, period, card)
                                               : !add_row(show, model, period, card))
            return false;
    }
    return true;
}

static bool show_model(const struct book_model *model, void *arg)
{
    struct show *show = arg;
    bool any = false;

    for (size_t i = 0; i < model->n_periods; i++) {
        if (!period_is_shown(show, &model->periods[i]))
            continue;
        any = true;
        if (show->options->format != PRICE_JSON &&
            !show_period(show, model, &model->periods[i]))
            return false;
    }
    if (!any)
        return true;
    show->n++;
    if (show->options->format == PRICE_JSON)
        json_model(show, model);
    return true;
}

/* Of a walk over all models: those whose provider and one of whose ids fit. */
static bool show_fitting(const struct book_model *model, void *arg)
{
    const struct show *show = arg;
    struct strv glob = strv_z(show->options->model);
    bool fits = glob.n == 0;

    if (show->provider.n > 0 && !strv_eq_nocase(model->provider, show->provider))
        return true;
    for (size_t i = 0; i < model->n_ids && !fits; i++)
        fits = strv_glob(glob, model->ids[i]);
    return !fits || show_model(model, arg);
}

static bool is_glob(const char *text)
{
    return strpbrk(text, "*?") != NULL;
}

struct finding {
    const struct book *book;
    struct show *show;
    struct strv last; /* provider asked before */
};

/* A name without wildcards is looked up as a request's would be, in each provider once. */
static bool find_in_provider(const struct book_model *model, void *arg)
{
    struct finding *finding = arg;
    struct show *show = finding->show;

    if (strv_eq(model->provider, finding->last))
        return true;
    finding->last = model->provider;
    if (show->provider.n == 0 || strv_eq_nocase(model->provider, show->provider))
        (void)book_find_model(finding->book, model->provider, strv_z(show->options->model),
                              &show->match, show_model, show);
    return true;
}

static void print_table(const struct show *show)
{
    static const char *const heads[] = {"MODEL", "FROM", "WHEN", "CONFIDENCE, SOURCE", "USD"};
    struct strv rest = buf_view(&show->rows), line, cell;
    int width[4];

    for (size_t i = 0; i < 4; i++) {
        size_t n = strlen(heads[i]);

        width[i] = (int)(show->width[i] > n ? show->width[i] : n);
        printf("%-*s  ", width[i], heads[i]);
    }
    printf("%s\n", heads[4]);
    while (strv_split(&rest, '\n', &line) && line.n > 0) {
        for (size_t i = 0; i < 4 && strv_split(&line, '\t', &cell); i++)
            printf("%-*.*s  ", width[i], STRV_ARG(cell));
        if (line.n > 0)
            printf(STRV_FMT "\n", STRV_ARG(line));
    }
}

static void begin(struct show *show, const struct book *book)
{
    switch (show->options->format) {
    case PRICE_JSON:
        jsonw_start(&show->json, &show->rows);
        jsonw_object(&show->json);
        json_text(&show->json, STRV("book"), strv_z(book_hash(book)));
        jsonw_key(&show->json, STRV("models"));
        jsonw_array(&show->json);
        break;
    case PRICE_CSV:
        (void)csv_head(&show->rows);
        break;
    case PRICE_TABLE:
        break;
    }
}

static void print(struct show *show)
{
    switch (show->options->format) {
    case PRICE_JSON:
        jsonw_end(&show->json);
        jsonw_end(&show->json);
        if (jsonw_finish(&show->json) == RC_OK)
            printf(STRV_FMT "\n", STRV_ARG(buf_view(&show->rows)));
        break;
    case PRICE_CSV:
        printf(STRV_FMT, STRV_ARG(buf_view(&show->rows)));
        break;
    case PRICE_TABLE:
        if (show->n > 0)
            print_table(show);
        break;
    }
}

int price_show(const struct price_source *source, const struct price_options *options)
{
    const struct book *book = source->book;
    struct show show = {.options = options, .provider = strv_z(options->provider)};
    int status = EXIT_GOOD;

    if (options->upstream) {
        const struct upstream_config *up =
            source->config ? config_upstream(source->config, strv_z(options->upstream)) : NULL;

        if (!up) {
            fprintf(stderr, "tollgate price show: --upstream is one of the configuration\n");
            return EXIT_USAGE;
        }
        show.provider = up->provider;
    }
    buf_init(&show.rows, SHOWN_MAX_BYTES);
    begin(&show, book);
    if (options->model && !is_glob(options->model)) {
        struct finding finding = {.book = book, .show = &show};

        book_each_model(book, find_in_provider, &finding);
    } else {
        book_each_model(book, show_fitting, &show);
    }
    print(&show);
    if (show.n == 0) {
        fprintf(stderr, "tollgate price show: nothing in the book fits\n");
        status = EXIT_NO;
    }
    buf_release(&show.rows);
    return status;
}
