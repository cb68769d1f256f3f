/* How a name finds its model: every way, in every order that two ways can meet. */
#include "pricing/price.h"

#include "tests/unit/pricing/prices.h"

/*
 * Rates tell which entry was found.  Names are made so that more than one way would hit:
 * the table says which must win.
 */
#define MODEL(id, ids, dated, rate)                                                            \
    "{\"id\":\"" id "\",\"kind\":\"chat\",\"ids\":[" ids "],\"dated\":[" dated "],"            \
    "\"prices\":[{\"from\":null,\"to\":null,\"rates\":{\"in\":\"" rate "\"}}],"                \
    "\"prov\":{\"src\":\"made\",\"confidence\":\"confirmed\"}}"

static const char book_json[] =
    "{\"schema\":\"tollgate-prices/1\",\"currency\":\"USD\","
    "\"sources\":{\"made\":{\"what\":\"made\",\"published\":\"2026\",\"retrieved\":\"2026\"}},"
    "\"units\":{\"in\":{\"per\":1000000,\"of\":\"token\",\"dir\":\"in\"}},"
    "\"providers\":{\"p\":{\"strip\":[\"models/\",\"arn:*:x/"
    "\"],\"suffixes\":[\":fast\",\"-x\"],"
    "\"geo_prefixes\":[\"eu.\",\"us-gov.\",\"us.\"],"
    "\"modifiers\":[{\"id\":\"eu\",\"when\":{\"region\":[\"eu\"]},\"multiply\":\"2\","
    "\"meters\":\"token\",\"only\":[\"base\"]}],\"models\":[" MODEL("base", "\"base\",\"alias\"", "\"base\",\"alias\"", "1") "," MODEL(
        "base-20260101", "\"base-20260101\"", "",
        "2") "," MODEL("ft:base", "\"ft:base\"", "\"ft:base\"",
                       "3") "," MODEL("undated", "\"undated\"", "",
                                      "4") "," MODEL("models/odd", "\"models/odd\"", "",
                                                     "5") "," MODEL("odd", "\"odd\"", "\"odd\"",
                                                                    "6") "," MODEL("eu.base-9",
                                                                                   "\"eu.base-"
                                                                                   "9\"",
                                                                                   "\"eu.base-"
                                                                                   "9\"",
                                                                                   "7") "," MODEL("base-9",
                                                                                                  "\"base-9\"",
                                                                                                  "\"base-9\"",
                                                                                                  "8") "," MODEL("long-x",
                                                                                                                 "\"long-x\"",
                                                                                                                 "",
                                                                                                                 "9") "," MODEL("long",
                                                                                                                                "\"long\"",
                                                                                                                                "",
                                                                                                                                "10") "]},"
                                                                                                                                      "\"q\":{\"models\":[" MODEL(
                                                                                                                                          "base",
                                                                                                                                          "\"base\"",
                                                                                                                                          "\"base\"",
                                                                                                                                          "11") "]}}}";

struct row {
    const char *provider, *model, *requested;
    const char *rate; /* per million of what was found; NULL: nothing is */
    enum price_match match;
    const char *status;
};

static const struct row rows[] = {
    /* exact: the id and every other id, in any case, before all else */
    {"p", "base", "", "1", MATCH_EXACT, "ok"},
    {"p", "alias", "", "1", MATCH_EXACT, "ok"},
    {"p", "BASE", "", "1", MATCH_EXACT, "ok"},
    {"p", "base-20260101", "", "2", MATCH_EXACT, "ok"}, /* not base with a date */
    {"p", "models/odd", "", "5", MATCH_EXACT, "ok"},    /* not odd without a prefix */
    {"p", "eu.base-9", "", "7", MATCH_EXACT, "ok"},     /* not base-9 of a region */
    {"p", "long-x", "", "9", MATCH_EXACT, "ok"},        /* not long without a suffix */
    {"q", "base", "", "11", MATCH_EXACT, "ok"},         /* the provider decides */
    /* fine-tunes by their base's own entry, with a date or without, never by the base */
    {"p", "ft:base:org::id", "", "3", MATCH_FINE_TUNE, "ok"},
    {"p", "ft:base-2026-04-23:org::id", "", "3", MATCH_FINE_TUNE, "ok"},
    {"p", "ft:base:", "", "3", MATCH_FINE_TUNE, "ok"},
    {"p", "ft:base", "", "3", MATCH_EXACT, "ok"},
    {"p", "ft:undated:org::id", "", NULL, MATCH_NONE, "unpriced"},
    {"p", "ft:", "", NULL, MATCH_NONE, "unpriced"},
    {"q", "ft:base:org::id", "", NULL, MATCH_NONE, "unpriced"},
    /* dates, of those that may carry one */
    {"p", "base-20260423", "", "1", MATCH_DATED, "ok"},
    {"p", "base-2026-04-23", "", "1", MATCH_DATED, "ok"},
    {"p", "base@20260423", "", "1", MATCH_DATED, "ok"},
    {"p", "base@default", "", "1", MATCH_DATED, "ok"},
    {"p", "alias-20260423", "", "1", MATCH_DATED, "ok"},
    {"p", "eu.base-9-20260423", "", "7", MATCH_DATED, "ok"},
    {"p", "undated-20260423", "", NULL, MATCH_NONE, "unpriced"},
    {"p", "base-2026042", "", NULL, MATCH_NONE, "unpriced"},
    {"p", "base-202604233", "", NULL, MATCH_NONE, "unpriced"},
    {"p", "base-2026-4-23", "", NULL, MATCH_NONE, "unpriced"},
    {"p", "base:20260423", "", NULL, MATCH_NONE, "unpriced"},
    {"p", "-20260423", "", NULL, MATCH_NONE, "unpriced"},
    {"p", "base-20260423-20260423", "", NULL, MATCH_NONE, "unpriced"},
    /* beginnings and ends */
    {"p", "models/base", "", "1", MATCH_STRIPPED, "ok"},
    {"p", "arn:a1:x/base", "", "1", MATCH_STRIPPED, "ok"},
    {"p", "arn:a/1:x/base", "", NULL, MATCH_NONE, "unpriced"},
    {"p", "base:fast", "", "1", MATCH_STRIPPED, "ok"},
    {"p", "models/base:fast", "", "1", MATCH_STRIPPED, "ok"},
    {"p", "models/base-20260423", "", "1", MATCH_DATED, "ok"},
    {"p", "models/ft:base:o::1", "", "3", MATCH_FINE_TUNE, "ok"},
    {"p", "models/models/base", "", NULL, MATCH_NONE, "unpriced"},
    {"p", "models/", "", NULL, MATCH_NONE, "unpriced"},
    {"p", ":fast", "", NULL, MATCH_NONE, "unpriced"},
    {"p", "base:fast:fast", "", NULL, MATCH_NONE, "unpriced"},
    /* regions last: their price is the model's only where something says so */
    {"p", "eu.base", "", "2", MATCH_REGIONAL, "ok"},
    {"p", "us.base", "", "1", MATCH_REGIONAL, "partial"},
    {"p", "us-gov.base", "", "1", MATCH_REGIONAL, "partial"},
    {"p", "EU.Base-20260423", "", "2", MATCH_REGIONAL, "ok"},
    {"p", "arn:a1:x/us.base", "", "1", MATCH_REGIONAL, "partial"},
    {"p", "us.eu.base", "", NULL, MATCH_NONE, "unpriced"},
    {"p", "jp.base", "", NULL, MATCH_NONE, "unpriced"},
    {"p", "eu.", "", NULL, MATCH_NONE, "unpriced"},
    {"q", "eu.base", "", NULL, MATCH_NONE, "unpriced"},
    /* what was asked for, where what was served is not known */
    {"p", "never-heard", "base", "1", MATCH_REQUESTED, "ok"},
    {"p", "", "base", "1", MATCH_REQUESTED, "ok"},
    {"p", "never-heard", "base-20260423", "1", MATCH_REQUESTED, "ok"},
    {"p", "odd", "base", "6", MATCH_EXACT, "ok"},
    {"p", "never-heard", "us.base", "1", MATCH_REGIONAL, "partial"},
    {"p", "never-heard", "", NULL, MATCH_NONE, "unpriced"},
    /* never by a part of a name */
    {"p", "bas", "", NULL, MATCH_NONE, "unpriced"},
    {"p", "base-new", "", NULL, MATCH_NONE, "unpriced"},
    {"p", "my-base", "", NULL, MATCH_NONE, "unpriced"},
    {"none", "base", "", NULL, MATCH_NONE, "unpriced"},
};

static struct book *make_book(void)
{
    const struct book_text text = {.name = "book.json", .text = strv_z(book_json)};
    struct problems problems;
    struct book *book;

    problems_init(&problems);
    book = book_parse(&text, 1, NULL, 0, &problems);
    problems_print(&problems);
    assert_non_null(book);
    problems_release(&problems);
    return book;
}

static void names_find_their_models(void **state)
{
    struct book *book = make_book();

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        struct price_query query = {
            .provider = book_provider(book, strv_z(row->provider), STRV_NONE),
            .model = strv_z(row->model),
            .model_requested = strv_z(row->requested),
        };
        struct cost cost;

        query.quantities.n[METER_IN] = 1000000;
        price_usage(book, &query, &cost);
        if (cost.match != row->match)
            fail_msg("%s: found by %s", row->model, price_match_name(cost.match));
        if (strcmp(price_status_name(cost.status), row->status) != 0)
            fail_msg("%s: is %s", row->model, price_status_name(cost.status));
        if (row->rate && money_cmp(cost.contracted, usd(row->rate)) != 0)
            fail_msg("%s: another entry", row->model);
    }
    book_free(book);
}

/* A name of any length and any bytes finds nothing or its model, and reads nowhere else. */
static void odd_names_are_harmless(void **state)
{
    enum { LONGEST = 300 };
    struct book *book = make_book();
    char name[LONGEST];

    (void)state;
    memset(name, '-', sizeof(name));
    for (size_t n = 0; n <= LONGEST; n++) {
        struct price_query query = {
            .provider = book_provider(book, STRV("p"), STRV_NONE),
            .model = strv_make(name, n),
        };
        struct cost cost;

        query.quantities.n[METER_IN] = 1;
        price_usage(book, &query, &cost);
        assert_int_equal(cost.match, MATCH_NONE);
        if (n < LONGEST)
            name[n] = (char)(n * 7 % 256);
    }
    book_free(book);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_find_their_models),
        cmocka_unit_test(odd_names_are_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
