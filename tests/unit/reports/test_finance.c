/*
 * Finance: imports, allocation, statement, journal, closing, corrections, variance, unit
 * economics; each against what is computed here from the same records.
 */
#include "reports/books.h"
#include "reports/closed.h"
#include "reports/variance.h"
#include "tests/unit/reports/fixture.h"

static struct fixture f;

/* Amounts are whole cents here, so that what is expected can be read. */
#define CENT ((money_int)10000000000000000)

static void spend(const char *time, const char *team, const char *feature, const char *model,
                  money_int cents)
{
    struct record r = fixture_record(at(time));

    r.subject.dim[DIM_TEAM] = strv_z(team);
    r.subject.dim[DIM_FEATURE] = strv_z(feature);
    r.subject.dim[DIM_MODEL] = r.model = strv_z(model);
    r.subject.dim[DIM_CUSTOMER] = strv_z(cents % 2 ? "acme" : "globex");
    fixture_set_cost(&r, cents * CENT);
    r.n_lines = 1;
    r.lines[0] = (struct record_line){METER_IN, 100, {cents * CENT * 10000}, {cents * CENT}};
    fixture_add(&f, &r);
}

static int setup(void **state)
{
    (void)state;
    fixture_open(&f);
    f.sources.state_dir = f.dir;
    spend("2026-10-05T10:00:00Z", "search", "answer", "m1", 1000);
    spend("2026-10-20T10:00:00Z", "billing", "bill", "m1", 2000);
    spend("2026-10-21T10:00:00Z", "labs", "try", "m2", 500);
    spend("2026-10-22T10:00:00Z", "platform", "guardrail", "m2", 900);
    spend("2026-10-22T11:00:00Z", "", "", "m2", 77);
    fixture_flush(&f);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

/* ---- imports ---------------------------------------------------------------------------- */

static enum rc import(enum books_kind kind, const char *text, char *why, size_t n,
                      struct books_taken *taken)
{
    struct problems problems;
    struct fail fail;
    enum rc rc;

    problems_init(&problems);
    rc = books_import(f.dir, kind, "f.csv", strv_z(text), false, &problems, taken, &fail);
    why[0] = '\0';
    if (problems.n) {
        char *said = problem_text(&problems.at[0]);
        (void)snprintf(why, n, "%s", said);
        free(said);
    }
    problems_release(&problems);
    return rc;
}

static void must_import(enum books_kind kind, const char *text)
{
    struct books_taken taken;
    char why[512];
    enum rc rc = import(kind, text, why, sizeof(why), &taken);

    if (rc != RC_OK)
        print_error("%s\n", why);
    assert_int_equal(rc, RC_OK);
}

static void test_bad_imports_change_nothing(void **state)
{
    static const struct {
        enum books_kind kind;
        const char *text, *says;
    } cases[] = {
        {BOOKS_COSTS, "", "f.csv:1"},
        {BOOKS_COSTS, "date,pool,amount\n", "column \"amount_usd\" is missing"},
        {BOOKS_COSTS, "date,pool,amount_usd,colour\n2026-10,db,1,red\n", "column 4 (header)"},
        {BOOKS_COSTS, "date,pool,amount_usd\n2026-10,db,1\n2026-10,ml,\"12,5\"\n",
         "f.csv:3: column 3 (amount_usd): \"12,5\" is no amount"},
        {BOOKS_COSTS, "date,pool,amount_usd\n2026-13,db,1\n", "f.csv:2: column 1 (date)"},
        {BOOKS_COSTS, "date,pool,amount_usd\n2026-10,db\n", "f.csv:2: column 3 is missing"},
        {BOOKS_COSTS, "date,pool,amount_usd\n2026-10,db,1,2\n", "f.csv:2: column 4 is one too"},
        {BOOKS_COSTS, "date,pool,amount_usd\n2026-10,d\"b,1\n", "f.csv:2: column 2 has a quote"},
        {BOOKS_COSTS, "date,pool,amount_usd\n2026-10,\"db,1\n", "f.csv:2: column 2 opens"},
        {BOOKS_COSTS, "date,pool,amount_usd\n2026-10,\"d\"b,1\n", "text behind"},
        {BOOKS_COSTS, "date,pool,amount_usd\n2026-10,d\xff"
                      "b,1\n", "column 2 is not UTF-8"},
        {BOOKS_COSTS, "date,pool,amount_usd\n2026-10,db,1\n2026-10,db,2\n",
         "f.csv:3: column 1 (date): says the same again as line 2"},
        {BOOKS_COSTS, "date,date,amount_usd\n", "stands twice"},
        {BOOKS_COUNTS, "date,unit,count\n2026-10-01,order,-3\n", "is no whole number"},
        {BOOKS_COUNTS, "date,unit,count\n2026-10-01,Order,3\n", "is no name"},
        {BOOKS_POOLS, "pool,method\ndb,fair\n", "is none of direct"},
        {BOOKS_POOLS, "pool,method,where\ndb,fixed,guardrail\n", "is no condition"},
        {BOOKS_WEIGHTS, "pool,team,from,weight\ndb,a,2026-10,1\n", "is no date"},
        {BOOKS_ACCOUNTS, "team,cost_centre,gl_account\nsearch,,1\n", "is missing"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct books_taken taken;
        struct books_table table;
        struct fail fail;
        char why[512];

        assert_int_equal(import(cases[i].kind, cases[i].text, why, sizeof(why), &taken), RC_BAD);
        if (!strstr(why, cases[i].says))
            print_error("case %zu: %s\n", i, why);
        assert_non_null(strstr(why, cases[i].says));
        assert_int_equal(books_read(f.dir, cases[i].kind, &table, &fail), RC_OK);
        assert_int_equal(table.csv.n_rows, 0);
        books_release(&table);
    }
}

static void test_imports_merge_by_key(void **state)
{
    struct books_taken taken;
    struct books_table table;
    struct fail fail;
    char why[512];

    (void)state;
    must_import(BOOKS_PLAN, "\xef\xbb\xbfmonth,team,amount_usd\r\n2026-10,search,10\r\n"
                            "2026-10,\"=cmd,\"\"x\"\"\",20\r\n\r\n");
    assert_int_equal(import(BOOKS_PLAN,
                            "amount_usd,month,team\n30,2026-10,search\n5,2026-10,billing\n",
                            why, sizeof(why), &taken),
                     RC_OK);
    assert_int_equal(taken.added, 1);
    assert_int_equal(taken.replaced, 1);
    assert_int_equal(taken.rows, 3);
    assert_int_equal(books_read(f.dir, BOOKS_PLAN, &table, &fail), RC_OK);
    assert_int_equal(table.csv.n_rows, 3);
    assert_true(strv_eq(books_field(&table, BOOKS_PLAN, 0, "team"), STRV("=cmd,\"x\"")));
    assert_true(strv_eq(books_field(&table, BOOKS_PLAN, 2, "amount_usd"), STRV("30")));
    books_release(&table);
}

/* ---- allocation --------------------------------------------------------------------------- */

static money_int pool_amount(const cJSON *json, const char *pool, const char *team)
{
    const cJSON *row;
    money_int sum = 0;

    cJSON_ArrayForEach(row, rows_of(json))
    {
        if (strcmp(member(row, "pool")->valuestring, pool) == 0 &&
            (!team || strcmp(member(row, "team")->valuestring, team) == 0))
            sum += amount(row, "amount_usd");
    }
    return sum;
}

static money_int ledger_total(const char *query)
{
    cJSON *json = fixture_json(&f, "spend", query);
    money_int total = amount(member(json, "total"), "cost_usd");

    cJSON_Delete(json);
    return total;
}

static void test_allocation(void **state)
{
    cJSON *json;

    (void)state;
    must_import(BOOKS_POOLS, "pool,method,driver,where\n"
                             "guard,direct,cost,feature=guardrail\n"
                             "db,fixed,,\n"
                             "desk,proportional,,\n");
    must_import(BOOKS_COSTS, "date,pool,amount_usd\n2026-10,db,100.00\n2026-10,desk,310\n"
                             "2026-10-03,unknown,7\n2026-11,db,50\n");
    /* From the 11th on other weights: 10 days of the old, 21 of the new. */
    must_import(BOOKS_WEIGHTS, "pool,team,from,to,weight\ndesk,search,2026-01-01,,1\n"
                               "desk,billing,2026-10-11,,1\n");
    json = fixture_json(&f, "allocation", "month=2026-10");
    assert_true(amount(member(json, "total"), "cost_usd") == ledger_total("month=2026-10"));
    assert_true(amount(member(json, "total"), "imported_usd") == 41700 * CENT);
    /* 9.00 of the guardrail by what each spent: 10, 20 and 5 of 35. */
    assert_true(pool_amount(json, "guard", NULL) == 900 * CENT);
    assert_true(pool_amount(json, "guard", "billing") > 514 * CENT &&
                pool_amount(json, "guard", "billing") < 515 * CENT);
    /* 100.00 in three equal parts: the first name gets what is left over. */
    assert_true(pool_amount(json, "db", NULL) == 10000 * CENT);
    assert_true(pool_amount(json, "db", "billing") == pool_amount(json, "db", "labs") + 1);
    assert_true(pool_amount(json, "db", "search") == pool_amount(json, "db", "labs"));
    /* 100.00 of the desk belong to the first ten days, all of them search's. */
    assert_true(pool_amount(json, "desk", "search") == (10000 + 10500) * CENT);
    assert_true(pool_amount(json, "desk", "billing") == 10500 * CENT);
    assert_true(pool_amount(json, "unknown", "(unallocated)") == 700 * CENT);
    assert_true(pool_amount(json, "(own)", "platform") == 0);
    cJSON_Delete(json);
    /* In cents by largest remainder. */
    assert_int_equal(fixture_run(&f, "allocation", "month=2026-10&format=table&precision=2"),
                     RC_OK);
    assert_non_null(memmem(buf_view(&f.out).p, buf_len(&f.out), "33.34", 5));
    assert_int_equal(fixture_run(&f, "allocation", "month=2026-10&where=model=m1"), RC_BAD);
}

/* ---- statement, journal, closing --------------------------------------------------------------- */

static char *take_out(size_t *n)
{
    char *text = xmemdupz(buf_view(&f.out).p, buf_len(&f.out));

    *n = buf_len(&f.out);
    return text;
}

static void close_month(const char *month, bool force, enum rc want, const char *says)
{
    struct buf said, error;
    struct strv text;

    buf_init(&said, 4096);
    buf_init(&error, 4096);
    assert_int_equal(closed_close(&f.sources, strv_z(month), force, &said, &error), want);
    text = want == RC_OK ? buf_view(&said) : buf_view(&error);
    if (!memmem(text.p, text.n, says, strlen(says)))
        print_error("%.*s\n", STRV_ARG(text));
    assert_non_null(memmem(text.p, text.n, says, strlen(says)));
    buf_release(&said);
    buf_release(&error);
}

static enum rc verify(void)
{
    struct buf said;
    struct fail fail;
    enum rc rc;

    buf_init(&said, 1 << 16);
    rc = closed_verify(f.dir, &said, &fail);
    buf_release(&said);
    return rc;
}

static money_int teams_sum(const char *month)
{
    static const char *const teams[] = {"search", "billing", "labs", "platform", "(untagged)"};
    money_int sum = 0;

    for (size_t i = 0; i < sizeof(teams) / sizeof(*teams); i++) {
        char query[128];
        cJSON *json;
        (void)snprintf(query, sizeof(query), "month=%s&where=team=%s", month, teams[i]);
        json = fixture_json(&f, "statement", query);
        sum += amount(member(json, "total"), "cost_usd");
        cJSON_Delete(json);
    }
    return sum;
}

static void check_journal(const char *month, money_int cents)
{
    char query[64];
    cJSON *json;
    const cJSON *row;
    money_int debit = 0, credit = 0;

    (void)snprintf(query, sizeof(query), "month=%s", month);
    json = fixture_json(&f, "journal", query);
    cJSON_ArrayForEach(row, rows_of(json))
    {
        debit += amount(row, "debit_minor");
        credit += amount(row, "credit_minor");
    }
    assert_true(debit == credit);
    assert_true(debit == cents);
    assert_true(amount(member(json, "total"), "debit_minor") == debit);
    assert_string_equal(member(row_with(json, "team", "search"), "cost_centre")->valuestring,
                        "CC1");
    assert_string_equal(member(row_with(json, "team", "labs"), "cost_centre")->valuestring, "CC0");
    cJSON_Delete(json);
}

static void test_closing(void **state)
{
    static const char *const queries[] = {"month=2026-10&format=csv", "month=2026-10"};
    money_int october = ledger_total("month=2026-10");
    char *frozen[2], command[256];
    size_t n[2];
    cJSON *json;

    (void)state;
    must_import(BOOKS_ACCOUNTS, "team,cost_centre,gl_account\n*,CC0,6000\nsearch,CC1,6001\n"
                                "(clearing),CC9,2000\n");
    assert_true(teams_sum("2026-10") == october);
    check_journal("2026-10", october / CENT + 41700);
    close_month("2026-11", false, RC_BAD, "has not ended yet");
    close_month("2026-10", false, RC_OK, "2026-10 is closed");
    close_month("2026-10", false, RC_BAD, "closed already");
    close_month("2026-09", false, RC_BAD, "later month is closed");
    assert_int_equal(verify(), RC_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fixture_run(&f, "statement", queries[i]), RC_OK);
        frozen[i] = take_out(&n[i]);
    }

    /* A line that comes late changes nothing of October, and is November's to bear. */
    spend("2026-10-30T10:00:00Z", "search", "answer", "m1", 300);
    spend("2026-11-02T10:00:00Z", "search", "answer", "m1", 100);
    must_import(BOOKS_COSTS, "date,pool,amount_usd\n2026-10,db,999\n");
    fixture_flush(&f);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fixture_run(&f, "statement", queries[i]), RC_OK);
        assert_int_equal(buf_len(&f.out), n[i]);
        assert_memory_equal(buf_view(&f.out).p, frozen[i], n[i]);
        free(frozen[i]);
    }
    json = fixture_json(&f, "statement", "month=2026-10&where=team=search");
    assert_true(amount(member(json, "total"), "cost_usd") >= 1000 * CENT);
    assert_true(amount(member(json, "total"), "cost_usd") < 1300 * CENT);
    cJSON_Delete(json);
    json = fixture_json(&f, "statement", "month=2026-11");
    assert_true(amount(member(json, "total"), "correction_usd") == 300 * CENT);
    assert_true(amount(member(json, "total"), "cost_usd") == 100 * CENT);
    assert_true(amount(row_with(json, "kind", "correction"), "correction_usd") == 300 * CENT);
    assert_string_equal(member(row_with(json, "kind", "correction"), "item")->valuestring,
                        "2026-10");
    cJSON_Delete(json);

    /* Posted once: when November is closed, December has nothing to correct any more. */
    f.sources.now_us = at("2026-12-05T00:00:00Z");
    close_month("2026-12", true, RC_BAD, "has not ended");
    close_month("2026-11", true, RC_OK, "is closed");
    json = fixture_json(&f, "statement", "month=2026-12");
    assert_true(amount(member(json, "total"), "correction_usd") == 0);
    cJSON_Delete(json);
    assert_int_equal(verify(), RC_OK);
    (void)snprintf(command, sizeof(command), "sed -i s/search/research/ %s/closed/2026-10/*.csv",
                   f.dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(verify(), RC_BAD);
}

/* ---- variance ------------------------------------------------------------------------------------ */

static void test_variance_is_exact(void **state)
{
    static struct ledger_meter_sum base[METER_COUNT], now[METER_COUNT];
    uint64_t seed = 7;

    (void)state;
    for (int round = 0; round < 2000; round++) {
        struct variance_model models[3];
        struct variance_effects e;
        money_int sum;

        for (int m = 0; m < 3; m++) {
            struct variance_side *sides[2] = {&models[m].base, &models[m].now};
            for (int s = 0; s < 2; s++) {
                seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
                *sides[s] = (struct variance_side){
                    seed >> 60 & 3, {(money_int)(seed >> 20) * 1000003}, s ? now : base};
            }
        }
        for (int k = 0; k < METER_COUNT; k++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
            base[k] = (struct ledger_meter_sum){1, seed >> 40, {(money_int)(seed >> 9) * 77777}};
            now[k] = (struct ledger_meter_sum){1, seed >> 33, {(money_int)(seed >> 11) * 33333}};
        }
        variance_of(models, 3, &e);
        sum = e.volume.atto + e.mix.atto + e.efficiency.atto + e.price.atto + e.unexplained.atto;
        assert_true(sum == e.now.atto - e.base.atto);
    }
}

/* Each effect alone, in numbers that a head can check. */
static void test_variance_effects(void **state)
{
    struct ledger_meter_sum base[METER_COUNT] = {{0}}, now[METER_COUNT] = {{0}};
    struct variance_model m = {{10, {1000}, base}, {20, {2000}, now}};
    struct variance_effects e;

    (void)state;
    base[METER_IN] = (struct ledger_meter_sum){10, 100, {1000}};
    now[METER_IN] = (struct ledger_meter_sum){20, 200, {2000}};
    variance_of(&m, 1, &e); /* twice the requests, nothing else */
    assert_true(e.volume.atto == 1000 && !e.mix.atto && !e.efficiency.atto && !e.price.atto);
    m.now.requests = 10;
    variance_of(&m, 1, &e); /* twice the tokens of each request */
    assert_true(e.efficiency.atto == 1000 && !e.volume.atto && !e.mix.atto && !e.price.atto);
    now[METER_IN].quantity = 100;
    variance_of(&m, 1, &e); /* twice the price */
    assert_true(e.price.atto == 1000 && !e.volume.atto && !e.mix.atto && !e.efficiency.atto);
}

static void test_variance_report(void **state)
{
    cJSON *json;

    (void)state;
    json = fixture_json(&f, "variance", "month=2026-11&by=team");
    assert_true(amount(member(json, "total"), "cost_usd") == ledger_total("month=2026-11"));
    assert_true(amount(member(json, "total"), "variance_usd") ==
                amount(member(json, "total"), "cost_usd") -
                    amount(member(json, "total"), "base_cost_usd"));
    cJSON_Delete(json);
    json = fixture_json(&f, "variance", "month=2026-10&against=plan&by=team");
    assert_true(amount(row_with(json, "team", "billing"), "base_cost_usd") == 500 * CENT);
    assert_true(amount(member(json, "total"), "cost_usd") == ledger_total("month=2026-10"));
    cJSON_Delete(json);
    assert_int_equal(fixture_run(&f, "variance", "against=never"), RC_BAD);
}

/* ---- unit economics -------------------------------------------------------------------------------- */

static void test_unit_economics(void **state)
{
    cJSON *json;

    (void)state;
    must_import(BOOKS_COUNTS, "date,unit,team,count\n2026-10,order,search,40\n"
                              "2026-10-07,order,search,10\n2026-11-01,order,search,1\n"
                              "2026-10,case,billing,8\n");
    json = fixture_json(&f, "unit-economics", "month=2026-10&by=team&where=team=search");
    assert_true(amount(row_with(json, "unit", "order"), "count") == 50);
    assert_true(amount(row_with(json, "unit", "order"), "unit_cost_usd") == 1300 * CENT / 50);
    assert_true(amount(row_with(json, "unit", "request"), "count") == 2);
    assert_true(amount(row_with(json, "unit", "customer"), "count") == 1);
    cJSON_Delete(json);
    json = fixture_json(&f, "unit-economics", "month=2026-10");
    assert_true(amount(row_with(json, "unit", "customer"), "count") == 2);
    assert_true(amount(row_with(json, "unit", "case"), "count") == 8);
    cJSON_Delete(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_imports_change_nothing),
        cmocka_unit_test(test_imports_merge_by_key),
        cmocka_unit_test(test_allocation),
        cmocka_unit_test(test_closing),
        cmocka_unit_test(test_variance_is_exact),
        cmocka_unit_test(test_variance_effects),
        cmocka_unit_test(test_variance_report),
        cmocka_unit_test(test_unit_economics),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
