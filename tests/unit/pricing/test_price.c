/* Prices of a small book of its own: every way to find, choose, multiply and refuse. */
#include "pricing/price.h"

#include "tests/unit/pricing/prices.h"

static const char book_path[] = "tests/vectors/prices/book.json";

static void list_prices(void **state)
{
    struct book *book = book_must_load(book_path, NULL, 0);

    (void)state;
    assert_true(vectors_run(book, "tests/vectors/prices/vectors.json") > 0);
    book_free(book);
}

static const char *const in_meter[] = {"in"}, *const in_rate[] = {"0.3"};
static const char *const image_meter[] = {"image"}, *const image_rate[] = {"0.01"};

static const struct price_rule contract[] = {
    {.upstream = "main", .provider = "acme", .multiplier = "0.93"},
    {.upstream = "main", .model = "plain", .multiplier = "0.5"},
    {.provider = "acme",
     .model = "plain",
     .rate_meters = in_meter,
     .rate_values = in_rate,
     .n_rates = 1},
    {.upstream = "ma*", .model = "tier*", .multiplier = "0.9"},
    {.provider = "acme", .model = "a*", .multiplier = ".8"},
    {.model = "AUDI*", .multiplier = "0.7"},
    {.model = "nightly",
     .multiplier = "0.5",
     .from = "2026-06-01",
     .to = "2026-07-01T12:00:00Z"},
    {.provider = "other", .multiplier = "0.5"},
    {.model = "free", .rate_meters = image_meter, .rate_values = image_rate, .n_rates = 1},
};

enum { CONTRACT_RULES = sizeof(contract) / sizeof(contract[0]) };

static void contracted_prices(void **state)
{
    struct book *book = book_must_load(book_path, contract, CONTRACT_RULES);

    (void)state;
    assert_true(vectors_run(book, "tests/vectors/prices/contract.json") > 0);
    book_free(book);
}

static struct price_query query_for(const struct book *book, const char *model, uint64_t in)
{
    struct price_query query = {
        .provider = book_provider(book, STRV("acme"), STRV_NONE),
        .model = strv_z(model),
        .at_us = us_of("2026-11-21T12:00:00Z"),
    };

    query.quantities.n[METER_IN] = in;
    return query;
}

static void ten_million_tokens_sum_exactly(void **state)
{
    enum { REQUESTS = 10000000 };
    struct book *book = book_must_load(book_path, NULL, 0);
    struct price_query query = query_for(book, "plain", 1);
    struct money sum = MONEY_ZERO;
    struct cost cost;

    (void)state;
    /* One in a hundred is priced anew: the price of one token cannot change between them. */
    for (int i = 0; i < REQUESTS; i++) {
        if (i % 100 == 0)
            price_usage(book, &query, &cost);
        sum = money_add(sum, cost.contracted);
    }
    assert_true(money_cmp(sum, usd("4")) == 0);
    book_free(book);
}

static void absurd_quantities_are_left_out(void **state)
{
    struct book *book = book_must_load(book_path, NULL, 0);
    struct price_query query = query_for(book, "plain", 1000000);
    struct cost cost;

    (void)state;
    query.quantities.n[METER_OUT] = UINT64_MAX;
    query.quantities.n[METER_WEB_SEARCH] = UINT64_MAX;
    price_usage(book, &query, &cost);
    assert_int_equal(cost.status, PRICE_OK); /* large, but it fits */
    query = query_for(book, "asking", 1000000);
    query.quantities.n[METER_CODE_SESSION] = UINT64_MAX; /* 0.03 x 1.8e19 = 5.5e17 fits */
    price_usage(book, &query, &cost);
    assert_int_equal(cost.status, PRICE_OK);
    query = query_for(book, "hearing", 0);
    query.quantities.n[METER_AUDIO_SEC] = UINT64_MAX;
    price_usage(book, &query, &cost);
    assert_int_equal(cost.status, PRICE_OK);
    book_free(book);
}

static void too_large_a_cost_is_flagged(void **state)
{
    static const char text[] =
        "{\"schema\":\"tollgate-prices/1\",\"units\":{\"image\":{\"per\":1,\"of\":\"image\"},"
        "\"in\":{\"per\":1000000,\"of\":\"token\"}},"
        "\"providers\":{\"acme\":{\"models\":[{\"id\":\"dear\",\"prices\":[{\"rates\":"
        "{\"image\":\"10000\",\"in\":\"1\"}}]}]}}}";
    const struct book_text file = {.name = "dear.json", .text = STRV_NONE};
    struct book_text texts[] = {file};
    struct problems problems;
    struct price_query query;
    struct book *book;
    struct cost cost;

    (void)state;
    texts[0].text = strv_z(text);
    problems_init(&problems);
    book = book_parse(texts, 1, NULL, 0, &problems);
    problems_print(&problems);
    assert_non_null(book);
    query = query_for(book, "dear", 1000000);
    query.quantities.n[METER_IMAGE] = UINT64_MAX;
    price_usage(book, &query, &cost);
    assert_int_equal(cost.status, PRICE_PARTIAL);
    assert_int_equal(cost.flags, PRICE_FLAG_TOO_LARGE);
    assert_true(money_cmp(cost.contracted, usd("1")) == 0);
    book_free(book);
    problems_release(&problems);
}

static void over_long_names_are_unpriced(void **state)
{
    struct book *book = book_must_load(book_path, NULL, 0);
    char name[1000];
    struct price_query query;
    struct cost cost;

    (void)state;
    memset(name, 'a', sizeof(name));
    query = query_for(book, "plain", 1);
    for (size_t n = 250; n < sizeof(name); n++) {
        query.model = strv_make(name, n);
        price_usage(book, &query, &cost);
        assert_int_equal(cost.status, PRICE_NONE);
    }
    book_free(book);
}

static uint64_t most_output(const struct book *book, const char *provider, const char *model)
{
    struct price_query query = query_for(book, model, 0);

    query.provider = book_provider(book, strv_z(provider), STRV_NONE);
    return price_max_output(book, &query);
}

static void worst_cases(void **state)
{
    static const struct {
        const char *model, *tier, *region;
        uint64_t in, out;
        const char *want; /* NULL: no price */
    } rows[] = {
        {"plain", "", "moon", 1000000, 0, "0.4"},
        {"plain", "", "eu", 1000000, 0, "0.44"},
        {"plain", "", "", 1000000, 1000000, "2.2"},    /* may be served in the EU */
        {"plain", "flex", "moon", 1000000, 0, "0.4"},  /* may be served as standard */
        {"plain", "batch", "moon", 1000000, 0, "0.2"}, /* which nothing else serves */
        {"tiered", "", "moon", 100000, 0, "0.25"},     /* at the cache write rate */
        {"tiered", "", "moon", 200000, 0, "0.8"},
        {"tiered", "priority", "moon", 100000, 0, "0.5"},
        {"tiered", "priority", "moon", 200000, 0, "2"},
        {"tiered", "", "", 100000, 0, "0.3"},             /* the EU's card */
        {"tiered", "unheard-of", "moon", 200000, 0, "2"}, /* as the dearest */
        {"asking", "", "", 1000000, 100, "1.012"},        /* with the dearest fee */
        {"picture", "", "", 10, 10, NULL},
        {"unknown", "", "", 10, 10, NULL},
    };
    struct book *book = book_must_load(book_path, NULL, 0);

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct price_query query = query_for(book, NULL, 0);
        struct money worst = MONEY_ZERO;

        query.model_requested = strv_z(rows[i].model);
        query.tier = strv_z(rows[i].tier);
        query.region = strv_z(rows[i].region);
        if (price_worst_case(book, &query, rows[i].in, rows[i].out, &worst) !=
            (rows[i].want != NULL))
            fail_msg("row %zu", i);
        if (rows[i].want && money_cmp(worst, usd(rows[i].want)) != 0)
            money_check(rows[i].model, worst, rows[i].want);
    }
    assert_int_equal(most_output(book, "acme", "asking"), 4096);
    assert_int_equal(most_output(book, "acme", "plain"), 0);
    assert_int_equal(most_output(book, "nobody", "plain"), 0);
    book_free(book);
}

/* What was looked up once is what each question would find by itself. */
static void a_model_is_found_once(void **state)
{
    static const char *const models[] = {"asking", "plain", "nobody's"};
    struct book *book = book_must_load(book_path, NULL, 0);

    (void)state;
    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
        struct price_query query = query_for(book, "unheard-of", 1000), known;
        struct cost alone, cost;

        query.model_requested = strv_z(models[i]);
        known = query;
        price_find(book, &known);
        price_usage(book, &query, &alone);
        price_usage(book, &known, &cost);
        assert_int_equal(cost.status, alone.status);
        assert_int_equal(cost.match, alone.match);
        assert_int_equal(money_cmp(cost.contracted, alone.contracted), 0);
        assert_int_equal(price_max_output(book, &known), price_max_output(book, &query));
    }
    book_free(book);
}

/* Which part of a prompt is sound is not known before: all of it may be. */
static void a_prompt_with_media_may_cost_its_rates(void **state)
{
    struct book *book = book_must_load(book_path, NULL, 0);
    struct price_query query = query_for(book, "audio", 0);
    struct money worst = MONEY_ZERO;

    (void)state;
    assert_true(price_worst_case(book, &query, 1000000, 0, &worst));
    money_check("text", worst, "1");
    query.has_media = true;
    assert_true(price_worst_case(book, &query, 1000000, 0, &worst));
    money_check("sound", worst, "30");
    book_free(book);
}

static void the_worst_case_is_contracted(void **state)
{
    struct book *book = book_must_load(book_path, contract, CONTRACT_RULES);
    struct price_query query = query_for(book, "audio", 0);
    struct money worst = MONEY_ZERO;

    (void)state;
    assert_true(price_worst_case(book, &query, 0, 1000000, &worst));
    money_check("audio", worst, "2.8");
    book_free(book);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list_prices),
        cmocka_unit_test(contracted_prices),
        cmocka_unit_test(ten_million_tokens_sum_exactly),
        cmocka_unit_test(absurd_quantities_are_left_out),
        cmocka_unit_test(too_large_a_cost_is_flagged),
        cmocka_unit_test(over_long_names_are_unpriced),
        cmocka_unit_test(worst_cases),
        cmocka_unit_test(a_model_is_found_once),
        cmocka_unit_test(a_prompt_with_media_may_cost_its_rates),
        cmocka_unit_test(the_worst_case_is_contracted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
