/* `tollgate price cost`: what a usage costs by the book, to the last digit. */
#include "proxy/cmd_price.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/jsonw.h"
#include "base/xalloc.h"
#include "proxy/cmd.h"

enum { COST_MAX_BYTES = 1 << 20, LINE_MAX_BYTES = 1 << 20, ATTO_PER_MS_DIGITS = 15 };

/* "1.5" seconds to milliseconds; others are whole. */
static bool parse_quantity(enum meter m, struct strv text, uint64_t *out)
{
    money_int one_ms = 1;
    struct money seconds;

    if (!meter_is_time(m))
        return strv_parse_u64(text, UINT64_MAX, out);
    for (int i = 0; i < ATTO_PER_MS_DIGITS; i++)
        one_ms *= 10;
    if (money_parse(text, &seconds) != RC_OK || seconds.atto < 0 ||
        seconds.atto % one_ms != 0 || seconds.atto / one_ms > INT64_MAX)
        return false;
    *out = (uint64_t)(seconds.atto / one_ms);
    return true;
}

/* METER=N of the command line; false after telling what is wrong. */
static bool take_word(const char *word, struct quantities *quantities)
{
    struct strv text = strv_z(word);
    size_t equals = strv_find(text, '=');
    uint64_t n;
    enum meter m;

    if (equals == text.n) {
        fprintf(stderr, "tollgate price cost: \"%.64s\" is not METER=N\n", word);
        return false;
    }
    if (!meter_parse(strv_head(text, equals), &m)) {
        price_no_meter("cost", strv_head(text, equals));
        return false;
    }
    if (!parse_quantity(m, strv_skip(text, equals + 1), &n) ||
        __builtin_add_overflow(quantities->n[m], n, &quantities->n[m])) {
        fprintf(stderr, "tollgate price cost: \"%.64s\" is no quantity\n", word);
        return false;
    }
    return true;
}

static uint64_t input_sum(const struct quantities *q)
{
    static const enum meter inputs[] = {
        METER_IN,
        METER_CACHE_READ,
        METER_CACHE_WRITE,
        METER_CACHE_WRITE_1H,
        METER_IN_AUDIO,
        METER_IN_IMAGE,
        METER_IN_VIDEO,
        METER_CACHE_READ_AUDIO,
        METER_CACHE_READ_IMAGE,
    };
    uint64_t sum = 0;

    for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++) {
        if (__builtin_add_overflow(sum, q->n[inputs[i]], &sum))
            return UINT64_MAX;
    }
    return sum;
}

/* The query's provider, by name or by the upstream's; false where there is none. */
static bool find_provider(const struct price_source *source, struct strv provider,
                          struct price_query *query)
{
    if (query->upstream.n > 0 && source->config) {
        const struct upstream_config *up = config_upstream(source->config, query->upstream);

        if (!up)
            return false;
        provider = provider.n > 0 ? provider : up->provider;
    }
    query->provider = book_provider(source->book, provider, STRV_NONE);
    return query->provider.n > 0;
}

static bool make_query(const struct price_options *options, const struct price_source *source,
                       struct price_query *query)
{
    *query = (struct price_query){
        .upstream = strv_z(options->upstream),
        .model = strv_z(options->model),
        .tier = strv_z(options->tier),
        .region = strv_z(options->region),
        .at_us = options->at_us,
        .counted = options->counted,
    };
    memcpy(query->detail, options->detail, sizeof(query->detail));
    if (!find_provider(source, strv_z(options->provider), query) || query->model.n == 0) {
        fprintf(stderr, "tollgate price cost: give --provider (one of the book) or --upstream "
                        "(of the configuration), and --model\n");
        return false;
    }
    for (int i = 0; i < options->n_words; i++) {
        if (!take_word(options->words[i], &query->quantities))
            return false;
    }
    query->input_total = input_sum(&query->quantities);
    if (options->input_total &&
        !strv_parse_u64(strv_z(options->input_total), UINT64_MAX, &query->input_total)) {
        fprintf(stderr, "tollgate price cost: --input-total is a whole number\n");
        return false;
    }
    return true;
}

/* Milliseconds as seconds, others as they are. */
static void quantity_text(const struct cost_line *line, char out[MONEY_TEXT])
{
    money_int atto = (money_int)line->quantity * NANO_PER_USD * ATTO_PER_NANO;

    money_format((struct money){meter_is_time(line->meter) ? atto / 1000 : atto}, out);
}

static void print_cost(const struct book *book, const struct cost *cost)
{
    char text[MONEY_TEXT], rate[MONEY_TEXT], amount[MONEY_TEXT];

    printf("%-22s  %16s  %24s  %24s\n", "METER", "QUANTITY", "USD PER MILLION", "USD");
    for (size_t i = 0; i < cost->n_lines; i++) {
        quantity_text(&cost->lines[i], text);
        money_format(cost->lines[i].rate, rate);
        money_format(cost->lines[i].amount, amount);
        printf("%-22s  %16s  %24s  %24s\n", meter_name(cost->lines[i].meter), text, rate,
               amount);
    }
    money_format(cost->contracted, amount);
    printf("%-22s  %16s  %24s  %24s\n", "total", "", "",
           cost->status == PRICE_NONE ? "unknown" : amount);
    if (money_cmp(cost->contracted, cost->list) != 0) {
        money_format(cost->list, amount);
        printf("%-22s  %16s  %24s  %24s\n", "at list prices", "", "", amount);
    }
    printf("\nstatus %s, match %s, price " STRV_FMT ", confidence " STRV_FMT "\n",
           price_status_name(cost->status), price_match_name(cost->match),
           STRV_ARG(cost->price_id.n ? cost->price_id : STRV("none")),
           STRV_ARG(cost->confidence.n ? cost->confidence : STRV("unknown")));
    for (unsigned flag = 1; flag != 0; flag <<= 1) {
        if (cost->flags & flag)
            printf("flag %s\n", price_flag_name(flag));
    }
    printf("book %s\n", book_hash(book));
}

static void json_money(struct jsonw *w, struct strv key, struct money m, bool known)
{
    char text[MONEY_TEXT];
    size_t n = money_format(m, text);

    jsonw_key(w, key);
    if (known)
        jsonw_string(w, strv_make(text, n));
    else
        jsonw_null(w);
}

static void json_string(struct jsonw *w, struct strv key, struct strv text)
{
    jsonw_key(w, key);
    if (text.n > 0)
        jsonw_string(w, text);
    else
        jsonw_null(w);
}

static void print_cost_json(const struct book *book, const struct cost *cost)
{
    char quantity[MONEY_TEXT];
    struct buf out;
    struct jsonw w;

    buf_init(&out, COST_MAX_BYTES);
    jsonw_start(&w, &out);
    jsonw_object(&w);
    json_money(&w, STRV("cost_usd"), cost->contracted, cost->status != PRICE_NONE);
    json_money(&w, STRV("list_cost_usd"), cost->list, cost->status != PRICE_NONE);
    json_string(&w, STRV("status"), strv_z(price_status_name(cost->status)));
    json_string(&w, STRV("price_match"), strv_z(price_match_name(cost->match)));
    json_string(&w, STRV("price_id"), cost->price_id);
    json_string(&w, STRV("price_confidence"), cost->confidence);
    jsonw_key(&w, STRV("flags"));
    jsonw_array(&w);
    for (unsigned flag = 1; flag != 0; flag <<= 1) {
        if (cost->flags & flag)
            jsonw_string(&w, strv_z(price_flag_name(flag)));
    }
    jsonw_end(&w);
    jsonw_key(&w, STRV("cost_lines"));
    jsonw_array(&w);
    for (size_t i = 0; i < cost->n_lines; i++) {
        jsonw_object(&w);
        json_string(&w, STRV("unit"), strv_z(meter_name(cost->lines[i].meter)));
        quantity_text(&cost->lines[i], quantity);
        jsonw_key(&w, STRV("quantity"));
        jsonw_raw(&w, strv_z(quantity));
        json_money(&w, STRV("rate_usd_per_million"), cost->lines[i].rate, true);
        json_money(&w, STRV("cost_usd"), cost->lines[i].amount, true);
        jsonw_end(&w);
    }
    jsonw_end(&w);
    json_string(&w, STRV("book"), strv_z(book_hash(book)));
    jsonw_end(&w);
    if (jsonw_finish(&w) == RC_OK)
        printf(STRV_FMT "\n", STRV_ARG(buf_view(&out)));
    buf_release(&out);
}

/* ---- queries of a file ------------------------------------------------------------ */

/* A count as a JSON number (whole, to 2^53) or a string of digits, as exact as one likes. */
static bool json_quantity(enum meter m, const cJSON *value, uint64_t *out)
{
    static const double exact_max = 9007199254740992.0; /* 2^53 */

    if (cJSON_IsString(value))
        return parse_quantity(m, strv_z(value->valuestring), out);
    if (!cJSON_IsNumber(value) || !(value->valuedouble >= 0) ||
        value->valuedouble > exact_max ||
        (double)(uint64_t)value->valuedouble != value->valuedouble)
        return false;
    *out = (uint64_t)value->valuedouble;
    return !meter_is_time(m) || !__builtin_mul_overflow(*out, UINT64_C(1000), out);
}

static bool json_usage(const cJSON *usage, struct quantities *quantities)
{
    const cJSON *child;

    cJSON_ArrayForEach(child, usage)
    {
        enum meter m;

        if (!meter_parse(strv_z(child->string), &m) ||
            !json_quantity(m, child, &quantities->n[m])) {
            fprintf(stderr,
                    "tollgate price cost: \"%.64s\" is no meter, or its quantity none\n",
                    child->string);
            return false;
        }
    }
    return true;
}

static struct strv json_member(const cJSON *json, const char *name)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(json, name);

    return cJSON_IsString(value) ? strv_z(value->valuestring) : STRV_NONE;
}

/* What the line leaves out comes from the options. */
static bool json_query(const struct price_options *options, const struct price_source *source,
                       const cJSON *json, struct price_query *query)
{
    const cJSON *total = cJSON_GetObjectItemCaseSensitive(json, "input_total");
    struct strv at = json_member(json, "at"), provider = json_member(json, "provider");
    struct strv upstream = json_member(json, "upstream"), tier = json_member(json, "tier");
    struct strv region = json_member(json, "region"), model = json_member(json, "model");

    *query = (struct price_query){
        .upstream = upstream.n ? upstream : strv_z(options->upstream),
        .model = model.n ? model : strv_z(options->model),
        .model_requested = json_member(json, "model_requested"),
        .tier = tier.n ? tier : strv_z(options->tier),
        .region = region.n ? region : strv_z(options->region),
        .at_us = options->at_us,
    };
    query->counted =
        options->counted || cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "counted"));
    for (unsigned d = 0; d < DETAIL_COUNT; d++) {
        query->detail[d] = json_member(json, price_detail_name((enum price_detail)d));
        if (query->detail[d].n == 0)
            query->detail[d] = options->detail[d];
    }
    if (at.n > 0 && !price_time(at.p, &query->at_us)) {
        fprintf(stderr, "tollgate price cost: \"at\" is a date or an RFC 3339 time\n");
        return false;
    }
    if (!find_provider(source, provider.n ? provider : strv_z(options->provider), query)) {
        fprintf(stderr, "tollgate price cost: no provider of the book is named\n");
        return false;
    }
    if (!json_usage(cJSON_GetObjectItemCaseSensitive(json, "usage"), &query->quantities))
        return false;
    query->input_total = input_sum(&query->quantities);
    if (total && !json_quantity(METER_IN, total, &query->input_total)) {
        fprintf(stderr, "tollgate price cost: \"input_total\" is a whole number\n");
        return false;
    }
    return true;
}

static bool cost_of_line(const struct price_source *source, const struct price_options *options,
                         struct strv line)
{
    cJSON *json = cJSON_ParseWithLength(line.p, line.n);
    struct price_query query;
    struct cost cost;
    bool ok;

    if (!cJSON_IsObject(json)) {
        fprintf(stderr, "tollgate price cost: a query is one JSON object\n");
        cJSON_Delete(json);
        return false;
    }
    ok = json_query(options, source, json, &query);
    if (ok) {
        price_usage(source->book, &query, &cost);
        print_cost_json(source->book, &cost);
    }
    cJSON_Delete(json);
    return ok;
}

static int cost_of_file(const struct price_source *source, const struct price_options *options)
{
    bool is_stdin = strcmp(options->input, "-") == 0;
    FILE *in = is_stdin ? stdin : fopen(options->input, "re");
    char *line = xmalloc(LINE_MAX_BYTES);
    int status = EXIT_GOOD, number = 0;

    if (!in) {
        fprintf(stderr, "tollgate price cost: could not read %s: %s\n", options->input,
                strerror(errno));
        status = EXIT_USAGE;
        goto out;
    }
    while (status == EXIT_GOOD && fgets(line, LINE_MAX_BYTES, in)) {
        size_t n = strlen(line);

        number++;
        if (n == LINE_MAX_BYTES - 1 || !cost_of_line(source, options, strv_make(line, n))) {
            fprintf(stderr, "tollgate price cost: %s:%d is not a query%s\n", options->input,
                    number, n == LINE_MAX_BYTES - 1 ? ": it is over 1 MiB" : "");
            status = EXIT_USAGE;
        }
    }
out:
    if (in && !is_stdin)
        (void)fclose(in);
    free(line);
    return status;
}

int price_cost(const struct price_source *source, const struct price_options *options)
{
    struct price_query query;
    struct cost cost;

    if (options->input)
        return cost_of_file(source, options);
    if (!make_query(options, source, &query))
        return EXIT_USAGE;
    price_usage(source->book, &query, &cost);
    if (options->format == PRICE_JSON)
        print_cost_json(source->book, &cost);
    else
        print_cost(source->book, &cost);
    return cost.status == PRICE_OK ? EXIT_GOOD : EXIT_NO;
}
