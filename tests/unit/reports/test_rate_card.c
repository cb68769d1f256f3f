/*
 * The rate card, over requests that a book really priced: each rate with what it charged is
 * that of the requests' own cost lines, whichever way it was read.
 */
#include "pricing/price.h"
#include "tests/unit/reports/any.h"

enum { RECORDS = 400, KINDS_MAX = 64 };

static const char book_json[] =
    "{\"schema\":\"tollgate-prices/1\",\"version\":\"1\",\"currency\":\"USD\",\"sources\":{},"
    "\"units\":{\"in\":{\"per\":1000000,\"of\":\"token\"},\"out\":{\"per\":1000000,"
    "\"of\":\"token\"},\"cache_read\":{\"per\":1000000,\"of\":\"token\"}},"
    "\"providers\":{\"openai\":{\"models\":["
    "{\"id\":\"plain\",\"kind\":\"chat\",\"ids\":[\"plain\"],\"prices\":[{\"from\":null,"
    "\"to\":null,\"rates\":{\"in\":\"2\",\"out\":\"8\",\"cache_read\":\"0.5\"}}]},"
    "{\"id\":\"steps\",\"kind\":\"chat\",\"ids\":[\"steps\"],\"prices\":["
    "{\"from\":null,\"to\":\"2026-11-10T00:00:00Z\",\"rates\":{\"in\":\"3\",\"out\":\"9\"}},"
    "{\"from\":\"2026-11-10T00:00:00Z\",\"to\":null,\"rates\":{\"in\":\"1\",\"out\":\"5\"},"
    "\"variants\":[{\"when\":{\"ctx_min\":1000},\"rates\":{\"in\":\"2\",\"out\":\"7\"}},"
    "{\"when\":{\"tier\":\"batch\"},\"rates\":{\"in\":\"0.5\",\"out\":\"2.5\"}}]}]}"
    "]}}}";

static struct fixture f;
static struct book *book;

/* What the records' own lines say of each price. */
static struct kind {
    char price_id[64], tier[16], meter[32];
    money_int rate, amount;
    uint64_t requests, quantity;
} kinds[KINDS_MAX];
static size_t n_kinds;
static uint64_t unpriced;
static money_int whole;

static void note(const struct record *r)
{
    whole += r->cost.atto;
    for (size_t i = 0; i < r->n_lines; i++) {
        const struct record_line *line = &r->lines[i];
        struct kind k = {.rate = line->rate.atto};
        size_t at = 0;

        (void)snprintf(k.price_id, sizeof(k.price_id), STRV_FMT, STRV_ARG(r->price_id));
        (void)snprintf(k.tier, sizeof(k.tier), STRV_FMT, STRV_ARG(r->service_tier));
        (void)snprintf(k.meter, sizeof(k.meter), "%s", meter_name(line->meter));
        while (at < n_kinds &&
               (kinds[at].rate != k.rate || strcmp(kinds[at].price_id, k.price_id) != 0 ||
                strcmp(kinds[at].tier, k.tier) != 0 || strcmp(kinds[at].meter, k.meter) != 0))
            at++;
        assert_true(at < KINDS_MAX);
        if (at == n_kinds)
            kinds[n_kinds++] = k;
        kinds[at].amount += line->amount.atto;
        kinds[at].requests++;
        kinds[at].quantity += line->quantity;
    }
}

static void add_one(const char *model, const char *tier)
{
    int64_t end = at("2026-11-01T00:00:00Z") + (int64_t)(any() % (uint64_t)(20 * US_PER_DAY));
    struct record r = fixture_record(end);
    struct price_query query = {.provider = STRV("openai"),
                                .upstream = STRV("openai"),
                                .model = strv_z(model),
                                .model_requested = strv_z(model),
                                .tier = strv_z(tier)};
    struct cost *cost = xcalloc(1, sizeof(*cost));

    r.subject.dim[DIM_MODEL] = r.model = r.model_requested = strv_z(model);
    r.service_tier = strv_z(tier);
    query.at_us = r.start_us;
    query.quantities.n[METER_IN] = 1 + any() % 3000;
    query.quantities.n[METER_OUT] = 1 + any() % 500;
    if (strcmp(model, "plain") == 0)
        query.quantities.n[METER_CACHE_READ] = any() % 2 * 77;
    query.input_total = query.quantities.n[METER_IN] + query.quantities.n[METER_CACHE_READ];
    price_usage(book, &query, cost);
    record_set_cost(&r, cost, STRV("0123"));
    if (cost->status == PRICE_NONE)
        unpriced++;
    else
        note(&r);
    fixture_add(&f, &r);
    free(cost);
}

static void tell_provider(struct strv upstream, struct reconcile_upstream *out, void *arg)
{
    (void)arg;
    assert_true(strv_eq(upstream, STRV("openai")));
    out->provider = STRV("openai");
}

static int setup(void **state)
{
    /* A contract from the middle of the period on would be two prices: this one holds always. */
    const struct price_rule rule = {.model = "plain", .multiplier = "0.75"};
    const struct book_text text = {"book.json", strv_z(book_json)};
    struct problems problems;

    (void)state;
    problems_init(&problems);
    book = book_parse(&text, 1, &rule, 1, &problems);
    if (!book)
        print_error("%s\n", problem_text(&problems.at[0]));
    assert_non_null(book);
    problems_release(&problems);
    fixture_open(&f);
    f.sources.book = book;
    for (size_t i = 0; i < RECORDS; i++)
        add_one(i % 3 == 0 ? "plain" : "steps", i % 3 == 2 && i % 2 ? "batch" : "");
    for (size_t i = 0; i < 5; i++)
        add_one("nobody-knows", "");
    fixture_flush(&f);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&f);
    book_free(book);
    return 0;
}

static const char *text_of(const cJSON *row, const char *name)
{
    const cJSON *value = member(row, name);

    return cJSON_IsString(value) ? value->valuestring : "";
}

static const cJSON *row_of(const cJSON *json, const struct kind *k)
{
    static const struct {
        const char *name, *words;
    } words[] = {{"in", "Input Tokens"},
                 {"out", "Output Tokens"},
                 {"cache_read", "Cache Read Input Tokens"}};
    const cJSON *row;

    cJSON_ArrayForEach(row, rows_of(json))
    {
        for (size_t i = 0; i < 3; i++) {
            if (strcmp(k->meter, words[i].name) == 0 &&
                strcmp(text_of(row, "meter"), words[i].words) == 0 &&
                strcmp(text_of(row, "price_id"), k->price_id) == 0 &&
                strcmp(text_of(row, "service_tier"), k->tier) == 0 &&
                amount(row, "price_usd") == k->rate)
                return row;
        }
    }
    print_error("no row of %s %s %s\n", k->price_id, k->tier, k->meter);
    fail();
    return NULL;
}

static char *check(void)
{
    cJSON *json = fixture_json(&f, "rate-card", "month=2026-11");
    const cJSON *none = NULL, *row;
    char *text = xmemdupz(buf_view(&f.out).p, buf_len(&f.out));

    assert_int_equal(cJSON_GetArraySize(rows_of(json)), (int)n_kinds + 1);
    for (size_t i = 0; i < n_kinds; i++) {
        row = row_of(json, &kinds[i]);
        assert_true(amount(row, "cost_usd") == kinds[i].amount);
        assert_true(amount(row, "quantity") == (money_int)kinds[i].quantity);
        assert_true(amount(row, "charged_requests") == (money_int)kinds[i].requests);
        assert_string_equal(text_of(row, "unit"), "1000000 Tokens");
    }
    assert_true(amount(member(json, "total"), "cost_usd") == whole);
    none = row_with(json, "model", "(unpriced)");
    assert_true(cJSON_IsNull(member(none, "cost_usd")));
    assert_true(cJSON_IsNull(member(none, "price_usd")));
    assert_true(amount(none, "charged_requests") == (money_int)unpriced);
    cJSON_Delete(json);
    return text;
}

static void test_rates_are_those_of_the_lines(void **state)
{
    char *by_lines, *by_sums;

    (void)state;
    f.sources.upstream = NULL;
    by_lines = check();
    f.sources.upstream = tell_provider;
    by_sums = check();
    assert_string_equal(by_lines, by_sums);
    free(by_lines);
    free(by_sums);
}

static void test_beside_the_list(void **state)
{
    cJSON *json = fixture_json(&f, "rate-card", "month=2026-11&where=model=plain");
    const cJSON *row = row_with(json, "meter", "Output Tokens");

    (void)state;
    assert_string_equal(text_of(row, "list_price_usd"), "8");
    assert_string_equal(text_of(row, "price_usd"), "6");
    assert_true(member(row, "discount")->valuedouble > 0.249999 &&
                member(row, "discount")->valuedouble < 0.250001);
    assert_true(cJSON_IsNull(member(row, "valid_from")));
    assert_true(strncmp(text_of(row, "book"), book_hash(book), 12) == 0);
    cJSON_Delete(json);
    json = fixture_json(&f, "rate-card", "from=2026-11-10&to=2026-11-20&where=model=steps");
    cJSON_ArrayForEach(row, rows_of(json))
    {
        bool is_long = amount(row, "price_usd") % (7 * (money_int)1000000000000000000) == 0 ||
                       amount(row, "price_usd") == 2 * (money_int)1000000000000000000;
        assert_string_equal(text_of(row, "valid_from"), "2026-11-10T00:00:00.000000Z");
        assert_string_equal(text_of(row, "list_price_usd"), text_of(row, "price_usd"));
        assert_true(amount(row, "input_tokens_from") == (is_long ? 1000 : 0));
    }
    cJSON_Delete(json);
}

static void test_words(void **state)
{
    (void)state;
    assert_int_equal(fixture_run(&f, "rate-card", "by=team"), RC_BAD);
    assert_true(fixture_error_says(&f, "by does not go with this report"));
    assert_int_equal(fixture_run(&f, "rate-card", "grain=day"), RC_BAD);
    assert_int_equal(fixture_run(&f, "rate-card", "top=3"), RC_BAD);
    assert_int_equal(fixture_run(&f, "rate-card", "cohort=spend"), RC_BAD);
    assert_int_equal(fixture_run(&f, "rate-card", "month=2026-11&format=table"), RC_OK);
    assert_int_equal(fixture_run(&f, "rate-card", "month=2026-10&format=csv"), RC_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rates_are_those_of_the_lines),
        cmocka_unit_test(test_beside_the_list),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
