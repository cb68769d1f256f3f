/* `tollgate price show`: the price book as a table or as JSON. */
#include "proxy/cmd_price.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jsonw.h"
#include "proxy/cmd.h"

enum { SHOWN_MAX_BYTES = 1 << 30, TEXT_BYTES = 2048 };

struct show {
    const struct price_options *options;
    struct buf rows; /* tab-separated lines, or JSON */
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

static void rates_text(const struct book_card *card, char text[TEXT_BYTES])
{
    text[0] = '\0';
    for (size_t i = 0; i < card->n_rates; i++) {
        char amount[MONEY_TEXT];

        money_format(card->rates[i].rate, amount);
        add(text, "%s%s %s%s", i ? ", " : "", meter_name(card->rates[i].meter), amount,
            per_text(&card->rates[i]));
    }
    if (card->n_rates == 0)
        add(text, "no rate");
}

static bool is_shown(const struct show *show, const struct book_period *period)
{
    int64_t at_us = show->options->at_us;

    return show->options->all || (at_us >= period->from_us && at_us < period->to_us);
}

static bool add_row(struct show *show, const struct book_model *model,
                    const struct book_period *period, const struct book_card *card)
{
    char when[TEXT_BYTES], rates[TEXT_BYTES], from[DATETIME_TEXT], name[TEXT_BYTES] = "";
    char prov[TEXT_BYTES] = "";
    const char *column[4] = {name, from, when + 1, prov};

    time_text(period->from_us, from);
    when_text(card, when);
    rates_text(card, rates);
    add(name, STRV_FMT "/" STRV_FMT, STRV_ARG(model->provider), STRV_ARG(model->id));
    add(prov, STRV_FMT " " STRV_FMT " " STRV_FMT, STRV_ARG(model->confidence),
        STRV_ARG(model->source), STRV_ARG(model->published));
    for (size_t i = 0; i < 4; i++) {
        size_t n = strlen(column[i]);

        show->width[i] = n > show->width[i] ? n : show->width[i];
    }
    return buf_printf(&show->rows, "%s\t%s\t%s\t%s\t%s\n", name, from, when + 1, prov, rates) ==
           RC_OK;
}

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

static void json_card(struct jsonw *w, const struct book_card *card)
{
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

        if (!is_shown(show, period))
            continue;
        jsonw_object(w);
        json_time(w, STRV("from"), period->from_us);
        json_time(w, STRV("to"), period->to_us);
        json_text(w, STRV("source"), period->source);
        jsonw_key(w, STRV("cards"));
        jsonw_array(w);
        for (size_t k = 0; k < period->n_cards; k++)
            json_card(w, &period->cards[k]);
        jsonw_end(w);
        jsonw_end(w);
    }
    jsonw_end(w);
    jsonw_end(w);
}

static bool show_model(const struct book_model *model, void *arg)
{
    struct show *show = arg;
    bool any = false;

    for (size_t i = 0; i < model->n_periods; i++) {
        if (!is_shown(show, &model->periods[i]))
            continue;
        any = true;
        for (size_t k = 0; k < model->periods[i].n_cards && !show->options->json; k++) {
            if (!add_row(show, model, &model->periods[i], &model->periods[i].cards[k]))
                return false;
        }
    }
    if (!any)
        return true;
    show->n++;
    if (show->options->json)
        json_model(show, model);
    return true;
}

/* Of a walk over all models: those whose provider and one of whose ids fit. */
static bool show_fitting(const struct book_model *model, void *arg)
{
    const struct price_options *options = ((struct show *)arg)->options;
    struct strv glob = strv_z(options->model);
    bool fits = glob.n == 0;

    if (options->provider && !strv_eq_nocase(model->provider, strv_z(options->provider)))
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
    const struct price_options *options = finding->show->options;
    enum price_match match;

    if (strv_eq(model->provider, finding->last))
        return true;
    finding->last = model->provider;
    if (!options->provider || strv_eq_nocase(model->provider, strv_z(options->provider)))
        (void)book_find_model(finding->book, model->provider, strv_z(options->model), &match,
                              show_model, finding->show);
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

int price_show(const struct book *book, const struct price_options *options)
{
    struct show show = {.options = options};
    int status = EXIT_GOOD;

    buf_init(&show.rows, SHOWN_MAX_BYTES);
    if (options->json) {
        jsonw_start(&show.json, &show.rows);
        jsonw_object(&show.json);
        json_text(&show.json, STRV("book"), strv_z(book_hash(book)));
        jsonw_key(&show.json, STRV("models"));
        jsonw_array(&show.json);
    }
    if (options->model && !is_glob(options->model)) {
        struct finding finding = {.book = book, .show = &show};

        book_each_model(book, find_in_provider, &finding);
    } else {
        book_each_model(book, show_fitting, &show);
    }
    if (options->json) {
        jsonw_end(&show.json);
        jsonw_end(&show.json);
        if (jsonw_finish(&show.json) == RC_OK)
            printf(STRV_FMT "\n", STRV_ARG(buf_view(&show.rows)));
    } else if (show.n > 0) {
        print_table(&show);
    }
    if (show.n == 0) {
        fprintf(stderr, "tollgate price show: nothing in the book fits\n");
        status = EXIT_NO;
    }
    buf_release(&show.rows);
    return status;
}
