/* Loading: what is refused and with which words, what later files do, the hash, the lint. */
#include "pricing/price.h"

#include "pricing/book_int.h"
#include "tests/unit/pricing/prices.h"

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

#define UNITS                                                                                  \
    "\"units\":{\"in\":{\"per\":1000000,\"of\":\"token\"},"                                    \
    "\"out\":{\"per\":1000000,\"of\":\"token\"},\"request\":{\"per\":1000,\"of\":\"call\"},"   \
    "\"audio_sec\":{\"per\":3600,\"of\":\"second\"}},"
#define BOOK(providers)                                                                        \
    "{\"schema\":\"tollgate-prices/1\",\n" UNITS "\n\"providers\":{" providers "}}"
#define ACME(models)  BOOK("\"acme\":{\"models\":[\n" models "\n]}")
#define MODEL(prices) ACME("{\"id\":\"m\",\"prices\":[" prices "]}")
#define RATES(rates)  MODEL("{\"rates\":{" rates "}}")
#define VARIANT(v)    MODEL("{\"rates\":{\"in\":\"1\"},\"variants\":[" v "]}")
#define WINDOW(w)     VARIANT("{\"when\":{\"window\":" w "},\"rates\":{\"in\":\"1\"}}")

static struct book *parse(const char *text, const struct price_rule *rules, size_t n_rules,
                          struct problems *problems)
{
    const struct book_text file = {.name = "book.json", .text = strv_z(text)};

    problems_init(problems);
    return book_parse(&file, 1, rules, n_rules, problems);
}

static bool print_rate(const struct book_model *model, void *arg)
{
    char *out = arg;

    if (model->n_periods > 0 && model->periods[0].cards[0].n_rates > 0)
        money_format(model->periods[0].cards[0].rates[0].rate, out);
    return true;
}

static void what_is_said_twice_stands_once(void **state)
{
    struct problems problems;
    struct book *book = parse(ACME("{\"id\":\"m\",\"kind\":\"chat\",\"prices\":[{\"rates\":{\"in\":\"1\",\"out\":\"2\"}}]},\n"
                                   "{\"id\":\"n\",\"kind\":\"chat\",\"prices\":[{\"rates\":{\"in\":\"1\",\"out\":\"2\"}}]},\n"
                                   "{\"id\":\"o\",\"prices\":[{\"rates\":{\"in\":\"2\",\"out\":\"1\"}}]}"),
                              NULL, 0, &problems);

    (void)state;
    assert_non_null(book);
    assert_ptr_equal(book->models[0].kind.p, book->models[1].kind.p);
    assert_ptr_not_equal(book->models[0].id.p, book->models[1].id.p);
    assert_int_equal(book->n_sets, 3);
    assert_int_equal(book->sets[0].at, book->sets[1].at);
    assert_int_not_equal(book->sets[0].at, book->sets[2].at);
    assert_int_equal(book->n_pool, 4);
    book_free(book);
    problems_release(&problems);
}

struct refusal {
    const char *text;
    int line;
    const char *says;
};

static const struct refusal refusals[] = {
    {"", 1, "is not JSON"},
    {"{", 1, "is not JSON"},
    {"[]", 0, "must be an object"},
    {"{\"schema\":\"tollgate-prices/1\"}x", 1, "follows the end"},
    {"{\n\"providers\":{}\n}", 1, "has no \"schema\""},
    {"{\"schema\":\"tollgate-prices/2\"}", 1, "schema must be"},
    {"{\"schema\":\"tollgate-prices/1\",\n\"provider\":{}}", 2,
     "unknown member \"provider\" of a price book; did you mean \"providers\"?"},
    {"{\"schema\":\"tollgate-prices/1\",\"currency\":\"EUR\"}", 1, "currency must be"},
    {BOOK("\"acme\":[]"), 3, "must be an object"},
    {BOOK("\"acme\":{\"hosts\":7}"), 3, "must be a list of strings"},
    {BOOK("\"acme\":{\"modles\":[]}"), 3, "did you mean \"models\"?"},
    {BOOK("\"acme\":{\"tier_multipliers\":{\"batch\":0.5}}"), 3, "not a number"},
    {BOOK("\"acme\":{\"tier_multipliers\":{\"batch\":\"half\"}}"), 3, "must be a decimal"},
    {BOOK("\"acme\":{\"modifiers\":[{\"id\":\"x\",\"multiply\":\"1.1\"}]}"), 3,
     "names no region"},
    {BOOK("\"acme\":{\"calendars\":{\"c\":[\"2026-02-30\"]}}"), 3, "of a calendar"},
    {ACME("{\"prices\":[]}"), 3, "has no id"},
    {ACME("{\"id\":\"m\"}"), 4, "has no prices"},
    {ACME("{\"id\":\"m\",\"prices\":[]}"), 4, "a list of 1 to"},
    {ACME("{\"id\":\"m\",\"prices\":[{}]}"), 4, "has no rates"},
    {ACME("{\"id\":\"m\",\"prices\":[{\"rates\":{\"in\":\"1\"}}]},\n"
          "{\"id\":\"n\",\"ids\":[\"n\",\"m\"],\"prices\":[{\"rates\":{\"in\":\"1\"}}]}"),
     5, "belongs to \"m\" and \"n\""},
    {ACME("{\"id\":\"m\",\"prices\":[{\"rates\":{\"in\":\"1\"}}]},\n"
          "{\"id\":\"M\",\"prices\":[{\"rates\":{\"in\":\"1\"}}]}"),
     4, "belongs to \"m\" and \"m\""},
    {RATES("\"in\":1.5"), 4, "not a number"},
    {RATES("\"in\":null"), 4, "must be a decimal string"},
    {RATES("\"in\":\"1.5 \""), 4, "must be a decimal"},
    {RATES("\"in\":\"-1\""), 4, "not negative"},
    {RATES("\"inn\":\"1\""), 4, "unknown meter \"inn\"; did you mean \"in\"?"},
    {RATES("\"in\":\"1\",\"in\":\"2\""), 4, "stands twice"},
    {RATES("\"image\":\"1\""), 4, "has no unit"},
    {RATES("\"in\":\"0.0000000000001\""), 4, "not a whole number of 10^-18"},
    {RATES("\"request\":\"0.0000000000000001\""), 4, "not a whole number of 10^-18"},
    {RATES("\"in\":\"10000000001\""), 4, "over 10,000 dollars"},
    {RATES("\"audio_sec\":\"10001\""), 4, "over 10,000 dollars"},
    {MODEL("{\"rates\":{\"in\":\"1\"},\"to\":\"tomorrow\"}"), 4, "must be a date"},
    {MODEL("{\"rates\":{\"in\":\"1\"},\"from\":\"2026-01-02\",\"to\":\"2026-01-02\"}"), 4,
     "ends before it begins"},
    {MODEL("{\"rates\":{\"in\":\"1\"},\"to\":\"2026-01-03\"},"
           "{\"rates\":{\"in\":\"1\"},\"from\":\"2026-01-02\"}"),
     4, "two prices hold at the same time"},
    {MODEL("{\"rates\":{\"in\":\"1\"},\"rates\":{\"in\":\"1\"}}"), 4, "stands twice"},
    {MODEL("{\"variants\":[],\"rates\":{\"in\":\"1\"},\"variants\":[1,2]}"), 4, "stands twice"},
    {MODEL("{\"rates\":{\"in\":\"1\"},\"variants\":{}}"), 4, "must be a list"},
    {VARIANT("{\"when\":{},\"rates\":{\"in\":\"1\"}}"), 4, "names no condition"},
    {VARIANT("{\"when\":{\"teir\":\"x\"},\"rates\":{\"in\":\"1\"}}"), 4,
     "did you mean \"tier\"?"},
    {VARIANT("{\"when\":{\"ctx_min\":\"1\"},\"rates\":{\"in\":\"1\"}}"), 4, "a whole number"},
    {VARIANT("{\"when\":{\"ctx_min\":-1},\"rates\":{\"in\":\"1\"}}"), 4, "a whole number"},
    {VARIANT("{\"when\":{\"ctx_min\":1.5},\"rates\":{\"in\":\"1\"}}"), 4, "a whole number"},
    {VARIANT("{\"when\":{\"region\":[]},\"rates\":{\"in\":\"1\"}}"), 4, "at least one region"},
    {WINDOW("{\"hours\":[[\"1:00\",\"02:00\"]]}"), 4, "hours must hold pairs"},
    {WINDOW("{\"hours\":[[\"01:00\",\"25:00\"]]}"), 4, "hours must hold pairs"},
    {WINDOW("{\"hours\":[[\"01:00\",\"01:00\"]]}"), 4, "hours must hold pairs"},
    {WINDOW("{\"days\":[\"monday\"]}"), 4, "is no day"},
    {WINDOW("{\"tz\":\"Mars/Olympus\"}"), 4, "no time zone"},
    {WINDOW("{\"not_on\":\"never\"}"), 4, "no calendar"},
    {BOOK("\"acme\":{\"tier_multipliers\":{\"batch\":\"0.123456789\"},\"models\":[\n"
          "{\"id\":\"m\",\"prices\":[{\"rates\":{\"in\":\"0.00000001\"}}]}]}"),
     4, "times its tier"},
    {"{\"schema\":\"tollgate-prices/1\",\"units\":{\"in\":{\"of\":\"token\"}}}", 1,
     "has no per"},
    {"{\"schema\":\"tollgate-prices/1\",\"units\":{\"in\":{\"per\":1,\"falls_to\":\"out\"},"
     "\"out\":{\"per\":1,\"falls_to\":\"in\"}}}",
     1, "falls to itself"},
};

static void faults_are_refused_with_their_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(refusals); i++) {
        const struct refusal *row = &refusals[i];
        struct problems problems;
        bool said = false;

        if (parse(row->text, NULL, 0, &problems))
            fail_msg("%s: was loaded", row->text);
        for (size_t k = 0; k < problems.n; k++)
            said |= strstr(problems.at[k].text, row->says) && problems.at[k].line == row->line;
        if (!said) {
            problems_print(&problems);
            fail_msg("%s: line %d, \"%s\" was not said", row->text, row->line, row->says);
        }
        problems_release(&problems);
    }
}

static void all_faults_are_told_at_once(void **state)
{
    struct problems problems;

    (void)state;
    assert_null(parse(ACME("{\"id\":\"a\",\"prices\":[{\"rates\":{\"in\":1}}]},\n"
                           "{\"id\":\"b\",\"prices\":[{\"rates\":{\"out\":\"x\"}}]}"),
                      NULL, 0, &problems));
    assert_int_equal(problems.total, 2);
    assert_int_equal(problems.at[0].line, 4);
    assert_int_equal(problems.at[1].line, 5);
    assert_string_equal(problems.at[0].file, "book.json");
    problems_release(&problems);
}

static void an_empty_list_of_variants_is_none(void **state)
{
    struct problems problems;
    enum price_match match;
    char rate[MONEY_TEXT] = "";
    struct book *book =
        parse(MODEL("{\"variants\":[],\"rates\":{\"in\":\"3\"}}"), NULL, 0, &problems);

    (void)state;
    assert_non_null(book);
    assert_true(book_find_model(book, STRV("acme"), STRV("m"), &match, print_rate, rate));
    assert_string_equal(rate, "3");
    book_free(book);
    problems_release(&problems);
}

static void rules_are_checked(void **state)
{
    static const char *const meters[] = {"in", "inn"}, *const values[] = {"1", "2"};
    static const char *const fine[] = {"0.0000000000001"};
    static const struct {
        struct price_rule rule;
        const char *says;
    } rows[] = {
        {{.model = "m"}, "either a multiplier or rates"},
        {{.multiplier = "1", .rate_meters = meters, .rate_values = values, .n_rates = 1},
         "either a multiplier or rates"},
        {{.multiplier = "-1"}, "multiplier must be"},
        {{.multiplier = "1001"}, "multiplier must be"},
        {{.multiplier = "1", .provider = "nobody"}, "no provider"},
        {{.multiplier = "1", .from = "soon"}, "must be a date"},
        {{.multiplier = "1", .from = "2026-02-01", .to = "2026-01-01"}, "ends before"},
        {{.rate_meters = meters, .rate_values = values, .n_rates = 2}, "did you mean in?"},
        {{.rate_meters = meters, .rate_values = fine, .n_rates = 1}, "not a whole number"},
        {{.multiplier = "0.0000001"}, "times its tier"},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct price_rule rule = rows[i].rule;
        struct problems problems;
        bool said = false;

        rule.file = "tollgate.json";
        rule.line = 12;
        assert_null(parse(RATES("\"in\":\"0.000001\""), &rule, 1, &problems));
        for (size_t k = 0; k < problems.n; k++)
            said |= strstr(problems.at[k].text, rows[i].says) != NULL;
        if (!said) {
            problems_print(&problems);
            fail_msg("%zu: \"%s\" was not said", i, rows[i].says);
        }
        problems_release(&problems);
    }
}

static void too_many_rules_are_refused(void **state)
{
    struct price_rule *rules = calloc(BOOK_RULES_MAX + 1, sizeof(rules[0]));
    struct problems problems;
    struct book *book;

    (void)state;
    assert_non_null(rules);
    for (int i = 0; i <= BOOK_RULES_MAX; i++)
        rules[i] = (struct price_rule){.model = "m", .multiplier = "0.5"};
    book = parse(RATES("\"in\":\"1\""), rules, BOOK_RULES_MAX, &problems);
    assert_non_null(book);
    book_free(book);
    assert_null(parse(RATES("\"in\":\"1\""), rules, BOOK_RULES_MAX + 1, &problems));
    problems_release(&problems);
    free(rules);
}

static void later_files_win(void **state)
{
    const struct book_text texts[] = {
        {"a.json", STRV(ACME("{\"id\":\"m\",\"ids\":[\"m\",\"m2\"],\"prices\":[{\"rates\":{"
                             "\"in\":\"1\"}}]},\n{\"id\":\"n\",\"prices\":[{\"rates\":{\"in\":"
                             "\"5\"}}]}"))},
        {"b.json",
         STRV("{\"schema\":\"tollgate-prices/1\",\"providers\":{\"acme\":{\"models\":["
              "{\"id\":\"m\",\"prices\":[{\"rates\":{\"in\":\"2\"}}]}]}}}")},
    };
    struct problems problems;
    enum price_match match;
    char rate[MONEY_TEXT] = "";
    struct book *book;

    (void)state;
    problems_init(&problems);
    book = book_parse(texts, 2, NULL, 0, &problems);
    problems_print(&problems);
    assert_non_null(book);
    assert_int_equal(book_model_count(book), 2);
    assert_true(book_find_model(book, STRV("acme"), STRV("m"), &match, print_rate, rate));
    assert_string_equal(rate, "2");
    assert_false(book_find_model(book, STRV("acme"), STRV("m2"), &match, print_rate, rate));
    assert_true(book_find_model(book, STRV("acme"), STRV("n"), &match, print_rate, rate));
    assert_string_equal(rate, "5");
    book_free(book);
    problems_release(&problems);
}

static void a_unit_keeps_its_meaning(void **state)
{
    const struct book_text texts[] = {
        {"a.json", STRV(RATES("\"in\":\"1\""))},
        {"b.json", STRV("{\"schema\":\"tollgate-prices/1\",\n\"units\":{\"in\":{\"per\":1000,"
                        "\"of\":\"token\"}}}")},
    };
    struct problems problems;

    (void)state;
    problems_init(&problems);
    assert_null(book_parse(texts, 2, NULL, 0, &problems));
    assert_int_equal(problems.total, 1);
    assert_string_equal(problems.at[0].file, "b.json");
    assert_int_equal(problems.at[0].line, 2);
    problems_release(&problems);
}

static void the_hash_tells_books_apart(void **state)
{
    static const struct price_rule rules[] = {
        {.model = "m", .multiplier = "0.5"},
        {.model = "m", .provider = "acme", .multiplier = "0.5"}};
    const struct {
        const char *text;
        size_t rule, n_rules;
    } rows[] = {
        {RATES("\"in\":\"1\""), 0, 0},
        {RATES("\"in\":\"2\""), 0, 0},
        {RATES("\"in\":\"1\""), 0, 1},
        {RATES("\"in\":\"1\""), 1, 1},
    };
    char hash[ROWS(rows)][SHA256_HEX];

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        for (int again = 0; again < 2; again++) {
            struct problems problems;
            struct book *book =
                parse(rows[i].text, &rules[rows[i].rule], rows[i].n_rules, &problems);

            assert_non_null(book);
            assert_int_equal(strlen(book_hash(book)), SHA256_HEX - 1);
            if (again)
                assert_string_equal(hash[i], book_hash(book));
            memcpy(hash[i], book_hash(book), SHA256_HEX);
            book_free(book);
            problems_release(&problems);
        }
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(hash[i], hash[k]);
    }
}

static void paths_that_are_not_there_are_named(void **state)
{
    const char *paths[] = {"tests/vectors/prices/none.json", "tests/vectors/prices/book.json",
                           "/dev/null"};
    struct problems problems;

    (void)state;
    problems_init(&problems);
    assert_null(book_load(paths, ROWS(paths), NULL, 0, &problems));
    assert_int_equal(problems.total, 2);
    assert_string_equal(problems.at[0].file, paths[0]);
    assert_string_equal(problems.at[1].file, paths[2]);
    problems_release(&problems);
    problems_init(&problems);
    assert_null(book_load(NULL, 0, NULL, 0, &problems));
    assert_int_equal(problems.total, 1);
    problems_release(&problems);
}

static void lint_has_doubts(void **state)
{
    static const struct {
        const char *prices, *says;
    } rows[] = {
        {"{\"rates\":{\"in\":\"3200\"}}", "over 1000"},
        {"{\"rates\":{\"in\":\"0.0001\"}}", "under 0.0005"},
        {"{\"rates\":{\"in\":\"2\",\"out\":\"1\"}}", "more than a token out"},
        {"{\"rates\":{\"in\":\"1\"},\"variants\":[{\"when\":{\"tier\":\"batch\"},\"rates\":{"
         "\"in\":\"2\"}}]}",
         "more in tier batch"},
        {"{\"rates\":{\"in\":\"1\"},\"to\":\"2026-01-01\"},{\"rates\":{\"in\":\"1\"},\"from\":"
         "\"2026-02-01\"}",
         "no price between"},
        {"{\"rates\":{\"in\":\"1\"},\"variants\":[{\"when\":{\"tier\":\"flex\"},\"rates\":{"
         "\"in\":\"1\"}},{\"when\":{\"region\":\"eu\"},\"rates\":{\"in\":\"2\"}}]}",
         "equally well"},
        {"{\"rates\":{\"in\":\"1\"}}", "no source"},
        {"{\"rates\":{\"in\":\"1\"}}", "confidence is none of"},
    };
    static const struct price_rule idle = {.model = "nothing", .multiplier = "0.5"};

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct problems problems, warnings;
        bool said = false, rule_said = false;
        char text[1024];
        struct book *book;

        snprintf(text, sizeof(text), "%s%s%s",
                 "{\"schema\":\"tollgate-prices/1\",\n" UNITS "\"providers\":{\"acme\":{"
                 "\"models\":[\n{\"id\":\"m\",\"kind\":\"chat\",\"prices\":[",
                 rows[i].prices, "]}]}}}");
        book = parse(text, &idle, 1, &problems);
        problems_print(&problems);
        assert_non_null(book);
        problems_init(&warnings);
        book_lint(book, &warnings);
        for (size_t k = 0; k < warnings.n; k++) {
            said |= strstr(warnings.at[k].text, rows[i].says) != NULL;
            rule_said |= strstr(warnings.at[k].text, "fits no model") != NULL;
        }
        if (!said || !rule_said) {
            problems_print(&warnings);
            fail_msg("\"%s\" was not said", rows[i].says);
        }
        problems_release(&warnings);
        problems_release(&problems);
        book_free(book);
    }
}

static void lint_has_few_doubts_about_the_test_book(void **state)
{
    struct book *book = book_must_load("tests/vectors/prices/book.json", NULL, 0);
    struct problems warnings;

    (void)state;
    problems_init(&warnings);
    book_lint(book, &warnings);
    for (size_t i = 0; i < warnings.n; i++)
        assert_true(warnings.at[i].line > 0);
    assert_true(warnings.n < 10);
    problems_release(&warnings);
    book_free(book);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_are_refused_with_their_place),
        cmocka_unit_test(all_faults_are_told_at_once),
        cmocka_unit_test(an_empty_list_of_variants_is_none),
        cmocka_unit_test(rules_are_checked),
        cmocka_unit_test(too_many_rules_are_refused),
        cmocka_unit_test(later_files_win),
        cmocka_unit_test(a_unit_keeps_its_meaning),
        cmocka_unit_test(the_hash_tells_books_apart),
        cmocka_unit_test(what_is_said_twice_stands_once),
        cmocka_unit_test(paths_that_are_not_there_are_named),
        cmocka_unit_test(lint_has_doubts),
        cmocka_unit_test(lint_has_few_doubts_about_the_test_book),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
