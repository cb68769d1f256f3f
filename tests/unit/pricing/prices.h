/*
 * prices.h - price vectors: a JSON list of queries with their exact cost.
 *
 *   {"name": .., "query": {"provider", "model", "model_requested", "upstream", "at",
 *    "input_total", "tier", "region", "usage": {meter: quantity}},
 *    "want_cost": "0.02" or "unpriced:why", "want_list": .., "price_id": ..,
 *    "status": .., "lines": [{"meter", "qty", "rate", "per", "amount"}], "flags": [..]}
 *
 * Quantities of time meters are whole seconds.  Flags are price_flag_name's, and
 * "match:" with price_match_name where that is not exact.
 */
#ifndef TESTS_UNIT_PRICING_PRICES_H
#define TESTS_UNIT_PRICING_PRICES_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/datetime.h"
#include "pricing/price.h"
#include "pricing/price_memo.h"
#include "tests/unit/unit.h"

/* Every helper is used by some test, none by all. */
#define HELPER __attribute__((unused)) static

/* A file's bytes, terminated; NULL where there is none. The caller frees. */
HELPER char *file_read(const char *path)
{
    FILE *file = fopen(path, "re");
    char *text = NULL;
    size_t room = 0, n = 0;

    if (!file)
        return NULL;
    do {
        room += 1 << 16;
        text = realloc(text, room + 1);
        assert_non_null(text);
        n += fread(text + n, 1, room - n, file);
    } while (n == room);
    fclose(file);
    text[n] = '\0';
    return text;
}

HELPER void problems_print(const struct problems *problems)
{
    for (size_t i = 0; i < problems->n; i++) {
        char *text = problem_text(&problems->at[i]);

        print_error("%s\n", text);
        free(text);
    }
}

/* The book of a file or folder; a book that does not load fails the test. */
HELPER struct book *book_must_load(const char *path, const struct price_rule *rules, size_t n)
{
    struct problems problems;
    struct book *book;

    problems_init(&problems);
    book = book_load(&path, 1, rules, n, &problems);
    problems_print(&problems);
    assert_non_null(book);
    problems_release(&problems);
    return book;
}

HELPER struct money usd(const char *text)
{
    struct money m;

    assert_int_equal(money_parse(strv_z(text), &m), RC_OK);
    return m;
}

HELPER int64_t us_of(const char *text)
{
    int64_t us;

    assert_true(datetime_parse(strv_z(text), &us));
    return us;
}

static const char *member(const cJSON *object, const char *name)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, name);

    return cJSON_IsString(value) ? value->valuestring : NULL;
}

static uint64_t count(const cJSON *object, const char *name)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, name);

    return value ? (uint64_t)value->valuedouble : 0;
}

HELPER struct price_query query_of(const struct book *book, const cJSON *json)
{
    const cJSON *meter;
    struct price_query query = {
        .provider = book_provider(book, strv_z(member(json, "provider")), STRV_NONE),
        .upstream = strv_z(member(json, "upstream")),
        .model = strv_z(member(json, "model")),
        .model_requested = strv_z(member(json, "model_requested")),
        .tier = strv_z(member(json, "tier")),
        .region = strv_z(member(json, "region")),
        .at_us = us_of(member(json, "at")),
        .input_total = count(json, "input_total"),
    };

    cJSON_ArrayForEach(meter, cJSON_GetObjectItemCaseSensitive(json, "usage"))
    {
        enum meter m;

        assert_true(meter_parse(strv_z(meter->string), &m));
        query.quantities.n[m] = (uint64_t)meter->valuedouble * (meter_is_time(m) ? 1000 : 1);
    }
    return query;
}

static void money_check(const char *what, struct money got, const char *want)
{
    char text[MONEY_TEXT];

    money_format(got, text);
    if (strcmp(text, want) != 0)
        fail_msg("%s: %s instead of %s", what, text, want);
}

static bool flag_wanted(const cJSON *flags, const char *name)
{
    const cJSON *flag;

    cJSON_ArrayForEach(flag, flags)
    {
        if (strcmp(flag->valuestring, name) == 0)
            return true;
    }
    return false;
}

static void flags_check(const char *name, const struct cost *cost, const cJSON *want)
{
    int n = 0;

    for (unsigned flag = 1; flag != 0; flag <<= 1) {
        if ((cost->flags & flag) == 0)
            continue;
        n++;
        if (!flag_wanted(want, price_flag_name(flag)))
            fail_msg("%s: unexpected flag %s", name, price_flag_name(flag));
    }
    if (cost->match != MATCH_EXACT && cost->match != MATCH_NONE) {
        char text[64];

        n++;
        snprintf(text, sizeof(text), "match:%s", price_match_name(cost->match));
        if (!flag_wanted(want, text))
            fail_msg("%s: unexpected %s", name, text);
    }
    if (cJSON_GetArraySize(want) != n)
        fail_msg("%s: a wanted flag is missing", name);
}

static void lines_check(const char *name, const struct cost *cost, const cJSON *want)
{
    const cJSON *line;
    size_t i = 0;

    assert_int_equal(cJSON_GetArraySize(want), cost->n_lines);
    cJSON_ArrayForEach(line, want)
    {
        const struct cost_line *got = NULL;
        struct money rate = usd(member(line, "rate")), left;
        uint64_t qty = count(line, "qty");

        for (i = 0; i < cost->n_lines && !got; i++) {
            if (strcmp(meter_name(cost->lines[i].meter), member(line, "meter")) == 0)
                got = &cost->lines[i];
        }
        if (!got) {
            fail_msg("%s: no line of %s", name, member(line, "meter"));
            return;
        }
        assert_int_equal(got->quantity, qty * (meter_is_time(got->meter) ? 1000 : 1));
        money_check(name, got->amount, member(line, "amount"));
        /* rate x 10^6 = got x per, but for the rounding of time. */
        assert_int_equal(money_mul(rate, 1000000, &rate), RC_OK);
        assert_int_equal(money_mul(got->rate, count(line, "per"), &left), RC_OK);
        if (!meter_is_time(got->meter) && money_cmp(rate, left) != 0)
            fail_msg("%s: rate of %s differs", name, member(line, "meter"));
    }
}

/* What was found before costs the same. */
static void memo_check(const char *name, const struct book *book, struct price_memo *memo,
                       struct price_query query, const struct cost *want)
{
    uint64_t hits = price_memo_hits(memo);
    struct cost cost;

    for (int time = 0; time < 2; time++) {
        price_memo_find(memo, &query);
        price_usage(book, &query, &cost);
        if (money_cmp(cost.contracted, want->contracted) != 0 ||
            money_cmp(cost.list, want->list) != 0 || cost.status != want->status ||
            cost.match != want->match || cost.flags != want->flags ||
            !strv_eq(cost.price_id, want->price_id))
            fail_msg("%s: costs something else where it was found before", name);
    }
    assert_true(price_memo_hits(memo) > hits || query.provider.n == 0 ||
                query.model.n > PRICE_MEMO_NAME_BYTES ||
                query.model_requested.n > PRICE_MEMO_NAME_BYTES);
}

static void vector_check(const struct book *book, struct price_memo *memo, const cJSON *vector)
{
    const char *name = member(vector, "name"), *want = member(vector, "want_cost");
    struct price_query query =
        query_of(book, cJSON_GetObjectItemCaseSensitive(vector, "query"));
    struct cost cost;

    price_usage(book, &query, &cost);
    if (strncmp(want, "unpriced", 8) == 0) {
        if (cost.status != PRICE_NONE)
            fail_msg("%s: was priced", name);
        assert_true(money_is_zero(cost.contracted));
    } else {
        money_check(name, cost.contracted, want);
    }
    if (cost.status == PRICE_NONE && strncmp(want, "unpriced", 8) != 0)
        fail_msg("%s: was not priced", name);
    if (member(vector, "want_list"))
        money_check(name, cost.list, member(vector, "want_list"));
    if (member(vector, "status"))
        assert_string_equal(member(vector, "status"), price_status_name(cost.status));
    if (member(vector, "price_id") &&
        !strv_eq(cost.price_id, strv_z(member(vector, "price_id"))))
        fail_msg("%s: price id is " STRV_FMT, name, STRV_ARG(cost.price_id));
    if (cJSON_HasObjectItem(vector, "lines"))
        lines_check(name, &cost, cJSON_GetObjectItemCaseSensitive(vector, "lines"));
    flags_check(name, &cost, cJSON_GetObjectItemCaseSensitive(vector, "flags"));
    memo_check(name, book, memo, query, &cost);
}

/* Checks every vector of the file; gives how many there are, 0 where there is no file. */
HELPER int vectors_run(const struct book *book, const char *path)
{
    char *text = file_read(path);
    struct price_memo *memo;
    cJSON *json;
    const cJSON *vector;
    int n = 0;

    if (!text)
        return 0;
    json = cJSON_Parse(text);
    assert_non_null(json);
    memo = price_memo_new(book);
    cJSON_ArrayForEach(vector, json)
    {
        vector_check(book, memo, vector);
        n++;
    }
    price_memo_free(memo);
    cJSON_Delete(json);
    free(text);
    return n;
}

#endif
