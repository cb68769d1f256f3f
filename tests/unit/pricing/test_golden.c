/* The shipped book: it loads, it is whole, and it gives the costs computed by hand. */
#include "pricing/price.h"

#include "base/clock.h"
#include "tests/unit/pricing/prices.h"

static const char book_path[] = "pricing/book";
static const char golden_path[] = "../shared/prices/golden.json";

static void the_golden_costs_are_met(void **state)
{
    struct book *book = book_must_load(book_path, NULL, 0);
    int n = vectors_run(book, golden_path);

    (void)state;
    book_free(book);
    if (n == 0) {
        print_message("%s is absent: skipped\n", golden_path);
        skip();
    }
    print_message("%d golden costs\n", n);
}

struct seen {
    size_t models, sourceless;
};

static bool see_model(const struct book_model *model, void *arg)
{
    struct seen *seen = arg;

    seen->models++;
    if (model->source_what.n == 0 || model->published.n == 0 || model->retrieved.n == 0 ||
        model->confidence.n == 0) {
        print_error(STRV_FMT "/" STRV_FMT " has no source\n", STRV_ARG(model->provider),
                    STRV_ARG(model->id));
        seen->sourceless++;
    }
    assert_true(model->n_periods > 0);
    return true;
}

static void every_entry_has_source_and_date(void **state)
{
    struct book *book = book_must_load(book_path, NULL, 0);
    struct seen seen = {0};

    (void)state;
    book_each_model(book, see_model, &seen);
    assert_int_equal(seen.models, book_model_count(book));
    assert_true(seen.models > 3000);
    assert_int_equal(seen.sourceless, 0);
    book_free(book);
}

static void hosts_name_providers(void **state)
{
    static const struct {
        const char *name, *host, *want;
    } rows[] = {
        {"openai", "", "openai"},
        {"OpenAI", "", "openai"},
        {"", "api.openai.com", "openai"},
        {"mine", "EU.api.openai.com", "openai"},
        {"mine", "acme.openai.azure.com", "azure"},
        {"", "bedrock-runtime.eu-west-1.amazonaws.com", "bedrock"},
        {"", "api.openai.com.example.org", ""},
        {"", "", ""},
    };
    struct book *book = book_must_load(book_path, NULL, 0);

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_true(strv_eq(book_provider(book, strv_z(rows[i].name), strv_z(rows[i].host)),
                            strv_z(rows[i].want)));
    book_free(book);
}

/* Not a measurement: a bound that only a blunder passes, since machines differ. */
static void loading_and_pricing_are_quick(void **state)
{
    int64_t start = clock_mono_us(), loaded, priced;
    struct book *book = book_must_load(book_path, NULL, 0);
    struct price_query query = {
        .provider = book_provider(book, STRV("openai"), STRV_NONE),
        .model = STRV("gpt-5.5-2027-02-03"),
        .tier = STRV("priority"),
        .at_us = us_of("2026-11-21T12:00:00Z"),
        .input_total = 1000,
    };
    enum { ROUNDS = 20000 };
    struct cost cost;

    (void)state;
    loaded = clock_mono_us();
    query.quantities.n[METER_IN] = 800;
    query.quantities.n[METER_CACHE_READ] = 200;
    query.quantities.n[METER_OUT] = 100;
    for (int i = 0; i < ROUNDS; i++)
        price_usage(book, &query, &cost);
    priced = clock_mono_us();
    print_message("load %lld us, price %lld ns\n", (long long)(loaded - start),
                  (long long)((priced - loaded) * 1000 / ROUNDS));
    assert_true(loaded - start < 5000000);
    assert_true(priced - loaded < 5000000);
    book_free(book);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_golden_costs_are_met),
        cmocka_unit_test(every_entry_has_source_and_date),
        cmocka_unit_test(hosts_name_providers),
        cmocka_unit_test(loading_and_pricing_are_quick),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
