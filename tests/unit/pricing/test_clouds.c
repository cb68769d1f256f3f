/*
 * Names that models have on the clouds, by the book that ships: regions before an id, ARNs,
 * publishers' paths, versions.  Each costs what its plain name does, times what its region
 * adds; no figure stands here.
 */
#include "tests/unit/pricing/prices.h"

#include "base/clock.h"

#define SONNET  "anthropic.claude-sonnet-4-5-20250929-v1:0"
#define PROFILE "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/"
#define FLASH   "gemini-2.5-flash"

enum { TOKENS = 1000 };

static struct cost price_of(const struct book *book, const char *provider, const char *model,
                            const char *region)
{
    struct price_query query = {.provider = strv_z(provider),
                                .model = strv_z(model),
                                .region = strv_z(region),
                                .at_us = clock_wall_us(),
                                .input_total = TOKENS};
    struct cost cost;

    query.quantities.n[METER_IN] = TOKENS;
    price_usage(book, &query, &cost);
    return cost;
}

static void test_names(void **state)
{
    static const struct {
        const char *provider, *name, *region, *plain;
        int tenths; /* of the plain name's price */
    } CASES[] = {
        {"bedrock", "global." SONNET, "", SONNET, 10},
        {"bedrock", "eu." SONNET, "", SONNET, 11},
        {"bedrock", "us." SONNET, "", SONNET, 11},
        {"bedrock", "us." SONNET, "eu-west-1", SONNET, 11},
        {"bedrock", PROFILE "eu." SONNET, "", SONNET, 11},
        {"bedrock", PROFILE "global." SONNET, "eu-west-1", SONNET, 10},
        {"bedrock", "arn:aws:bedrock:us-east-1::foundation-model/" SONNET, "", SONNET, 10},
        {"bedrock", "arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/" SONNET, "",
         SONNET, 10},
        {"vertex", "publishers/google/models/" FLASH, "", FLASH, 10},
        {"vertex", "projects/p/locations/l/publishers/google/models/" FLASH, "", FLASH, 10},
        {"vertex", "google/" FLASH, "us-central1", FLASH, 10},
        {"vertex", "claude-sonnet-4-5@20250929", "", "claude-sonnet-4-5", 10},
        {"vertex", "claude-sonnet-4-5@20250929", "us-east5", "claude-sonnet-4-5", 11},
        {"vertex", "publishers/anthropic/models/claude-sonnet-4-5@20250929", "global",
         "claude-sonnet-4-5", 10},
        {"azure", "GPT-4o-2024-11-20", "", "gpt-4o-2024-11-20", 10},
    };
    struct book *book = book_must_load("pricing/book", NULL, 0);

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct cost named = price_of(book, CASES[i].provider, CASES[i].name, CASES[i].region);
        struct cost plain = price_of(book, CASES[i].provider, CASES[i].plain, "");

        if (named.contracted.atto * 10 != plain.contracted.atto * CASES[i].tenths ||
            named.status != PRICE_OK)
            print_error("%s %s: %s\n", CASES[i].name, CASES[i].region,
                        price_match_name(named.match));
        assert_true(plain.contracted.atto > 0);
        assert_true(named.contracted.atto * 10 == plain.contracted.atto * CASES[i].tenths);
        assert_int_equal(named.status, PRICE_OK);
    }
    book_free(book);
}

/* What no name says is not guessed. */
static void test_strangers(void **state)
{
    static const char *const NAMES[] = {
        "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2c3",
        "arn:aws:bedrock:eu-west-1:123456789012:provisioned-model/x", "us.unheard.of-v1:0"};
    struct book *book = book_must_load("pricing/book", NULL, 0);

    (void)state;
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++)
        assert_int_equal(price_of(book, "bedrock", NAMES[i], "").status, PRICE_NONE);
    book_free(book);
}

/* Text that is told in characters and tokens is charged once, by what the model charges. */
static void test_characters(void **state)
{
    struct book *book = book_must_load("pricing/book", NULL, 0);
    struct price_query query = {.provider = STRV("vertex"), .at_us = clock_wall_us()};
    struct cost by_characters, both, by_tokens;

    (void)state;
    query.model = STRV("text-embedding-005");
    query.quantities.n[METER_IN_CHAR] = TOKENS;
    price_usage(book, &query, &by_characters);
    query.quantities.n[METER_IN] = TOKENS;
    price_usage(book, &query, &both);
    assert_true(both.contracted.atto == by_characters.contracted.atto);
    assert_true(both.contracted.atto > 0 && both.status == PRICE_OK);
    query.model = STRV("gemini-embedding-001");
    price_usage(book, &query, &both);
    query.quantities.n[METER_IN_CHAR] = 0;
    price_usage(book, &query, &by_tokens);
    assert_true(both.contracted.atto == by_tokens.contracted.atto);
    assert_true(both.contracted.atto > 0 && both.status == PRICE_OK);
    book_free(book);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
