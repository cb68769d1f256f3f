/*
 * What becomes of the findings of the report savings: owner, state, and what was realised,
 * against amounts that are added up here.
 */
#include "reports/books.h"
#include "reports/savings.h"
#include "reports/savings_find.h"
#include "tests/unit/reports/fixture.h"

#define CENT ((money_int)10000000000000000)

static struct fixture f;

/* requests of a team on a day, of which the first ones end in an error that costs. */
static void add_day(const char *day, const char *team, unsigned requests, unsigned errors,
                    money_int cents)
{
    for (unsigned i = 0; i < requests; i++) {
        struct record r = fixture_record(at(day) + (int64_t)(i + 1) * 60 * US_PER_SECOND);

        r.subject.dim[DIM_TEAM] = strv_z(team);
        r.outcome = i < errors ? OUTCOME_PROVIDER_ERROR : OUTCOME_OK;
        fixture_set_cost(&r, cents * CENT);
        r.n_lines = 1;
        r.lines[0] = (struct record_line){METER_IN, 100, {cents * CENT * 10000}, {cents * CENT}};
        fixture_add(&f, &r);
    }
}

static enum rc import(enum books_kind kind, const char *text, char *why, size_t n)
{
    struct books_taken taken;
    struct problems problems;
    struct fail fail;
    enum rc rc;

    problems_init(&problems);
    rc = books_import(f.dir, kind, "d.csv", strv_z(text), false, &problems, &taken, &fail);
    why[0] = '\0';
    if (problems.n) {
        char *said = problem_text(&problems.at[0]);
        (void)snprintf(why, n, "%s", said);
        free(said);
    }
    problems_release(&problems);
    return rc;
}

static int setup(void **state)
{
    (void)state;
    fixture_open(&f);
    f.sources.state_dir = f.dir;
    /* Until the 10th 4 of 10 fail at 5 cents, then 1 of 20. */
    add_day("2026-11-05T10:00:00Z", "search", 10, 4, 5);
    add_day("2026-11-12T10:00:00Z", "search", 20, 1, 5);
    add_day("2026-11-06T10:00:00Z", "billing", 8, 2, 3);
    add_day("2026-11-13T10:00:00Z", "billing", 4, 0, 3);
    fixture_flush(&f);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

#define HEADER "rule,upstream,model,alternative,environment,team,state,owner,since,note\n"
#define SCOPES "rule,upstream,model,alternative,environment,scope,state,owner,since,note\n"

static const char *text_of(const cJSON *row, const char *name)
{
    const cJSON *value = member(row, name);

    return cJSON_IsString(value) ? value->valuestring : "";
}

/* What the digest of the 14th says of a team. */
static void check_digest(const char *team, const char *saving, money_int a_week)
{
    cJSON *json;
    const cJSON *row;

    f.sources.now_us = at("2026-11-14T10:00:00Z");
    json = fixture_json(&f, "digest", "");
    row = row_with(json, "team", team);
    assert_string_equal(text_of(row, "top_saving"), saving);
    if (saving[0])
        assert_true(amount(row, "top_saving_usd") == (a_week * 30 + 3) / 7);
    else
        assert_true(cJSON_IsNull(member(row, "top_saving_usd")));
    cJSON_Delete(json);
    f.sources.now_us = 0;
}

static void test_nobody_has_said_anything(void **state)
{
    cJSON *json = fixture_json(&f, "savings", "month=2026-11");
    const cJSON *row = row_with(json, "rule", "error");

    (void)state;
    assert_string_equal(text_of(row, "state"), "open");
    assert_true(cJSON_IsNull(member(row, "owner")));
    assert_true(cJSON_IsNull(member(row, "realised_usd")));
    assert_true(amount(row, "saving_usd") == (4 * 5 + 1 * 5 + 2 * 3) * CENT);
    cJSON_Delete(json);
    check_digest("search", "error at openai, model model-1: 1 requests of 0.0500 USD", 5 * CENT);
    check_digest("billing", "", 0);
}

static void test_done_is_measured(void **state)
{
    char why[512];
    cJSON *json;
    const cJSON *row;

    (void)state;
    assert_int_equal(import(BOOKS_DECISIONS,
                            HEADER "error,openai,model-1,,,search,done,ada,2026-11-10,fixed\n"
                                   "error,openai,model-1,,,billing,done,bob,2026-11-10,\n"
                                   "error,openai,model-1,,,,accepted,eve,2026-11-10,\n",
                            why, sizeof(why)),
                     RC_OK);
    json = fixture_json(&f, "savings", "month=2026-11&by=team");
    row = row_with(json, "team", "search");
    assert_string_equal(text_of(row, "state"), "done");
    assert_string_equal(text_of(row, "owner"), "ada");
    assert_string_equal(text_of(row, "note"), "fixed");
    check_digest("search", "", 0); /* it is seen to */
    /* 4 errors of 10 before make 8 of 20; one is left. */
    assert_true(amount(row, "realised_usd") == (8 * 5 - 1 * 5) * CENT);
    row = row_with(json, "team", "billing");
    assert_true(amount(row, "realised_usd") == 1 * 3 * CENT);
    cJSON_Delete(json);
    json = fixture_json(&f, "savings", "month=2026-11");
    row = row_with(json, "rule", "error");
    assert_string_equal(text_of(row, "state"), "accepted");
    assert_string_equal(text_of(row, "owner"), "eve");
    assert_true(cJSON_IsNull(member(row, "realised_usd")));
    cJSON_Delete(json);
    /* Conditions on the team hold for decisions too. */
    json = fixture_json(&f, "savings", "month=2026-11&by=team&where=team=billing");
    assert_int_equal(cJSON_GetArraySize(rows_of(json)), 1);
    cJSON_Delete(json);
}

/* Any fields that the report is grouped by say which finding is meant. */
static void test_decided_of_any_scope(void **state)
{
    char why[512];
    cJSON *json;

    (void)state;
    assert_int_equal(
        import(BOOKS_DECISIONS,
               SCOPES "error,openai,model-1,,,\"key=key,team=search\",done,kim,2026-11-10,\n"
                      "error,openai,model-1,,,customer=(untagged),accepted,lee,2026-11-10,\n"
                      "error,openai,model-1,,,\"key=a\\,b\",dismissed,max,2026-11-10,\n",
               why, sizeof(why)),
        RC_OK);
    json = fixture_json(&f, "savings", "month=2026-11&by=team,key");
    assert_string_equal(text_of(row_with(json, "team", "search"), "owner"), "kim");
    assert_true(amount(row_with(json, "team", "search"), "realised_usd") ==
                (8 * 5 - 1 * 5) * CENT);
    assert_string_equal(text_of(row_with(json, "team", "billing"), "owner"), "");
    cJSON_Delete(json);
    json = fixture_json(&f, "savings", "month=2026-11&by=customer");
    assert_string_equal(text_of(row_with(json, "customer", "(untagged)"), "owner"), "lee");
    cJSON_Delete(json);
    json = fixture_json(&f, "savings", "month=2026-11&by=key");
    assert_string_equal(text_of(row_with(json, "key", "a,b"), "state"), "dismissed");
    assert_string_equal(text_of(row_with(json, "key", "key"), "state"), "open");
    cJSON_Delete(json);
}

static void test_what_is_no_longer_found_stays(void **state)
{
    char why[512];
    cJSON *json;
    const cJSON *row;

    (void)state;
    assert_int_equal(import(BOOKS_DECISIONS,
                            HEADER "truncated,openai,model-1,,,,dismissed,ada,2026-11-10,\n"
                                   "retry,,,,,,done,ada,2026-12-24,\n",
                            why, sizeof(why)),
                     RC_OK);
    json = fixture_json(&f, "savings", "month=2026-11");
    row = row_with(json, "rule", "truncated");
    assert_string_equal(text_of(row, "state"), "dismissed");
    assert_true(amount(row, "saving_usd") == 0);
    /* Nothing has come after a day that has not come. */
    assert_true(cJSON_IsNull(member(row_with(json, "rule", "retry"), "realised_usd")));
    cJSON_Delete(json);
}

static void test_faulty_files(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {HEADER "luck,,,,,,open,,2026-11-10,\n", "d.csv:2: column 1 (rule)"},
        {HEADER "retry,,,,,,maybe,,2026-11-10,\n", "d.csv:2: column 7 (state)"},
        {SCOPES "retry,,,,,chat,open,,2026-11-10,\n", "d.csv:2: column 6 (scope)"},
        {SCOPES "retry,,,,,\"team=a,team=b\",open,,2026-11-10,\n", "d.csv:2: column 6 (scope)"},
        {HEADER "retry,,,,,,open,,soon,\n", "d.csv:2: column 9 (since)"},
        {HEADER "retry,,,,,,open,,,\n", "is missing"},
        {"rule,state\nretry,open\n", "\"since\" is missing"},
    };
    char why[512];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(import(BOOKS_DECISIONS, cases[i].text, why, sizeof(why)), RC_BAD);
        if (!strstr(why, cases[i].says))
            print_error("%s\n", why);
        assert_non_null(strstr(why, cases[i].says));
    }
}

static void test_realised(void **state)
{
    struct money out;

    (void)state;
    assert_false(savings_realised((struct money){5}, 0, MONEY_ZERO, 3, &out));
    assert_true(savings_realised((struct money){10}, 4, (struct money){9}, 2, &out));
    assert_true(out.atto == 5 - 9); /* it got worse */
}

/* Findings of errors by team, which have a part each, with so many bytes for these. */
static enum rc find_within(size_t parts_bytes, size_t *parts)
{
    struct ledger_field team = {.id = FIELD_TEAM};
    struct savings_question q = {.by = &team, .n_by = 1, .models = STRV(""), .parts_bytes = parts_bytes};
    struct ledger_filter filter;
    struct savings found;
    struct fail fail;
    enum rc rc;

    ledger_filter_init(&filter, at("2026-11-01T00:00:00Z"), at("2026-12-01T00:00:00Z"));
    q.filter = &filter;
    q.now_us = at("2026-11-21T09:30:00Z");
    q.reader = ledger_read_open(f.path, &fail);
    assert_non_null(q.reader);
    assert_int_equal(ledger_read_begin(q.reader, &fail), RC_OK);
    rc = savings_find(&q, &found, &fail);
    *parts = 0;
    for (size_t i = 0; i < found.found.n; i++)
        *parts += ((const struct saving *)found.found.at[i])->n_parts;
    savings_release(&found);
    ledger_read_end(q.reader);
    ledger_read_close(q.reader);
    return rc;
}

static void test_parts_have_a_most(void **state)
{
    size_t parts, some;

    (void)state;
    assert_int_equal(find_within(0, &parts), RC_OK);
    assert_int_equal(parts, 2);
    assert_int_equal(find_within(parts * sizeof(struct saving_part), &some), RC_OK);
    assert_int_equal(some, parts);
    assert_int_equal(find_within(parts * sizeof(struct saving_part) - 1, &some), RC_LIMIT);
    assert_int_equal(some, parts - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_has_said_anything),
        cmocka_unit_test(test_done_is_measured),
        cmocka_unit_test(test_decided_of_any_scope),
        cmocka_unit_test(test_what_is_no_longer_found_stays),
        cmocka_unit_test(test_faulty_files),
        cmocka_unit_test(test_realised),
        cmocka_unit_test(test_parts_have_a_most),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
