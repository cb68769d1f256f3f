/*
 * The first findings of many groups are those that all groups have, whether the dearest tell them,
 * cheaper ones, or the cheapest; and where not all can be looked at, what was not is told.
 */
#include "reports/books.h"
#include "reports/savings_find.h"
#include "tests/unit/reports/fixture.h"

enum { USERS = SAVINGS_PAIRS_MANY + 500 };

static struct fixture f;

/* A request of each user, dearest first; from the user `first` on they end in an error. */
static void add_team(const char *team, int first)
{
    int64_t end_us = at("2026-11-10T10:00:00Z");
    char user[32];

    for (int i = 0; i < USERS; i++) {
        struct record r = fixture_record(end_us + i * 1000);

        (void)snprintf(user, sizeof(user), "user-%d", i);
        r.subject.dim[DIM_TEAM] = strv_z(team);
        r.subject.dim[DIM_USER] = strv_z(user);
        r.outcome = i < first ? OUTCOME_OK : OUTCOME_PROVIDER_ERROR;
        fixture_set_cost(&r, (money_int)(USERS - i) * 1000000);
        fixture_add(&f, &r);
    }
}

static int setup(void **state)
{
    (void)state;
    fixture_open(&f);
    f.sources.state_dir = f.dir;
    add_team("dearest", 0);
    add_team("dear", SAVINGS_PAIRS_FEW + 90);
    add_team("cheap", SAVINGS_PAIRS_MANY + 100);
    fixture_flush(&f);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static char *rows_text(const cJSON *json, int first)
{
    cJSON *some = cJSON_CreateArray();
    const cJSON *row;
    char *text;

    cJSON_ArrayForEach(row, rows_of(json))
    {
        if (first-- > 0)
            cJSON_AddItemReferenceToArray(some, (cJSON *)(uintptr_t)row);
    }
    text = cJSON_PrintUnformatted(some);
    cJSON_Delete(some);
    return text;
}

static void first_of_all(void **state)
{
    static const char *const teams[] = {"dearest", "dear", "cheap"};
    static const int tops[] = {1, 20, 300, 9000};

    (void)state;
    for (size_t t = 0; t < sizeof(teams) / sizeof(teams[0]); t++) {
        char query[128];
        cJSON *all;

        (void)snprintf(query, sizeof(query), "month=2026-11&by=user&where=team=%s", teams[t]);
        all = fixture_json(&f, "savings", query);
        assert_true(cJSON_GetArraySize(rows_of(all)) >= 100);
        for (size_t k = 0; k < sizeof(tops) / sizeof(tops[0]); k++) {
            char *want = rows_text(all, tops[k]), *got;
            cJSON *some;

            (void)snprintf(query, sizeof(query), "month=2026-11&by=user&top=%d&where=team=%s",
                           tops[k], teams[t]);
            some = fixture_json(&f, "savings", query);
            got = rows_text(some, INT32_MAX);
            assert_string_equal(got, want);
            cJSON_free(got);
            cJSON_free(want);
            cJSON_Delete(some);
        }
        cJSON_Delete(all);
    }
}

static void by_two_fields(void **state)
{
    cJSON *all = fixture_json(&f, "savings", "month=2026-11&by=user,team");
    cJSON *some = fixture_json(&f, "savings", "month=2026-11&by=user,team&top=20");
    char *want = rows_text(all, 20), *got = rows_text(some, INT32_MAX);

    (void)state;
    assert_string_equal(got, want);
    cJSON_free(got);
    cJSON_free(want);
    cJSON_Delete(some);
    cJSON_Delete(all);
}

/* Whose finding was decided on is told, however little it is. */
static void decided_groups_are_looked_at(void **state)
{
    static const char text[] =
        "rule,upstream,model,alternative,environment,scope,state,owner,since,note\n"
        "error,openai,model-1,,,user=user-8000,done,ada,2026-11-01,\n";
    struct books_taken taken;
    struct problems problems;
    struct fail fail;
    cJSON *json;
    const cJSON *row;

    (void)state;
    problems_init(&problems);
    assert_int_equal(books_import(f.dir, BOOKS_DECISIONS, "d.csv", strv_z(text), false, &problems,
                                  &taken, &fail),
                     RC_OK);
    problems_release(&problems);
    json = fixture_json(&f, "savings", "month=2026-11&by=user&top=9000&where=team=dearest");
    row = row_with(json, "user", "user-8000");
    assert_string_equal(member(row, "state")->valuestring, "done");
    assert_true(amount(row, "saving_usd") == (money_int)(USERS - 8000) * 1000000);
    cJSON_Delete(json);
}

/* The first of the team's users, with so many bytes for parts; how many are told. */
static enum rc find_within(const char *team, size_t parts_bytes, size_t *told, bool *is_part)
{
    struct ledger_field user = {.id = FIELD_USER};
    struct savings_question q = {
        .by = &user, .n_by = 1, .models = STRV(""), .parts_bytes = parts_bytes};
    struct strv name = strv_z(team);
    struct ledger_filter filter;
    struct savings found;
    struct fail fail;
    enum rc rc;

    ledger_filter_init(&filter, at("2026-11-01T00:00:00Z"), at("2026-12-01T00:00:00Z"));
    assert_int_equal(
        ledger_filter_add(&filter, (struct ledger_field){.id = FIELD_TEAM}, LEDGER_EQ, &name, 1),
        RC_OK);
    q.filter = &filter;
    q.now_us = at("2026-11-21T09:30:00Z");
    q.reader = ledger_read_open(f.path, &fail);
    assert_non_null(q.reader);
    assert_int_equal(ledger_read_begin(q.reader, &fail), RC_OK);
    rc = savings_find_first(&q, 20, &found, is_part, &fail);
    savings_sort(&found, 20);
    *told = found.found.n;
    savings_release(&found);
    ledger_read_end(q.reader);
    ledger_read_close(q.reader);
    return rc;
}

static void what_is_not_looked_at_is_told(void **state)
{
    const size_t bytes = 100 * sizeof(struct saving_part);
    bool is_part;
    size_t told;

    (void)state;
    assert_int_equal(find_within("cheap", 0, &told, &is_part), RC_OK);
    assert_true(told == 20 && !is_part);
    assert_int_equal(find_within("cheap", bytes, &told, &is_part), RC_OK);
    assert_true(told == 0 && is_part);
    /* The dearest alone are known to have the first. */
    assert_int_equal(find_within("dearest", bytes * 6, &told, &is_part), RC_OK);
    assert_true(told == 20 && !is_part);
    /* Where not even these can be looked at, nothing is said. */
    assert_int_equal(find_within("dearest", bytes, &told, &is_part), RC_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_of_all),
        cmocka_unit_test(by_two_fields),
        cmocka_unit_test(what_is_not_looked_at_is_told),
        cmocka_unit_test(decided_groups_are_looked_at),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
