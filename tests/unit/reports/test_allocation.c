/*
 * Allocation, statement and journal over random ledgers, pools and weights: each pool is
 * shared out whole, by every method, and teams' bills are the ledger and the pools.
 */
#include "reports/books.h"
#include "reports/sheet.h"
#include "tests/unit/reports/any.h"

enum { LEDGERS = 4, RECORDS = 120, TEXT_MAX = 8192 };

static struct fixture f;

static const char *const teams[] = {"search", "billing", "labs", "=1+1", ""};
static const char *const pools[] = {"by-cost", "by-tokens", "by-requests", "by-weight", "equal"};
enum { TEAMS = sizeof(teams) / sizeof(teams[0]), POOLS = sizeof(pools) / sizeof(pools[0]) };
static money_int pool_costs[POOLS], metered;

static void make_ledger(void)
{
    fixture_open(&f);
    f.sources.state_dir = f.dir;
    metered = 0;
    for (size_t i = 0; i < RECORDS; i++) {
        struct record r = fixture_record(at("2026-10-01T00:00:00Z") +
                                         (int64_t)(any() % (uint64_t)(31 * US_PER_DAY)));

        r.subject.dim[DIM_TEAM] = strv_z(teams[any() % TEAMS]);
        r.subject.dim[DIM_FEATURE] = any() % 4 ? STRV("answer") : STRV("guardrail");
        usage_set(&r.usage, USAGE_INPUT, any() % 100000);
        usage_set(&r.usage, USAGE_OUTPUT, any() % 1000);
        fixture_set_cost(&r, (money_int)(any() >> 4) * (money_int)(any() % 7));
        metered += r.cost.atto;
        fixture_add(&f, &r);
    }
    fixture_flush(&f);
}

static void must_import(enum books_kind kind, const char *text)
{
    struct books_taken taken;
    struct problems problems;
    struct fail fail;

    problems_init(&problems);
    assert_int_equal(
        books_import(f.dir, kind, "b.csv", strv_z(text), false, &problems, &taken, &fail),
        RC_OK);
    problems_release(&problems);
}

/* Amounts of 18 decimals, credits among them; weights that change in the month. */
static void make_books(void)
{
    char text[TEXT_MAX];
    size_t n;

    must_import(BOOKS_POOLS, "pool,method,driver,where\nby-cost,direct,cost,\n"
                             "by-tokens,direct,tokens,feature=guardrail\n"
                             "by-requests,direct,requests,\nby-weight,proportional,,\n"
                             "equal,fixed,,\n");
    n = (size_t)snprintf(text, sizeof(text), "date,pool,item,amount_usd\n");
    for (size_t p = 0; p < POOLS; p++) {
        pool_costs[p] = 0;
        for (unsigned i = 0; i < 3; i++) {
            struct money m = {(money_int)(any() >> 2) * (money_int)(any() % 1000)};
            char digits[MONEY_TEXT];

            if (i == 2)
                m.atto = -(money_int)(any() % 1000000007);
            money_format(m, digits);
            pool_costs[p] += m.atto;
            n += (size_t)snprintf(text + n, sizeof(text) - n, "2026-10,%s,i%u,%s\n", pools[p], i,
                                  digits);
        }
    }
    must_import(BOOKS_COSTS, text);
    n = (size_t)snprintf(text, sizeof(text), "pool,team,from,to,weight\n");
    for (size_t t = 0; t < TEAMS - 1; t++) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, "by-weight,%s,2026-01-01,,%u\n",
                              teams[t], 1 + (unsigned)(any() % 97));
        n += (size_t)snprintf(text + n, sizeof(text) - n, "by-weight,%s,2026-10-%02u,,%u\n",
                              teams[t], 2 + (unsigned)(any() % 28), (unsigned)(any() % 97));
    }
    must_import(BOOKS_WEIGHTS, text);
    must_import(BOOKS_ACCOUNTS, "team,cost_centre,gl_account\n*,CC0,6000\nsearch,CC1,6100\n");
}

static void check_allocation(void)
{
    money_int imported = 0, by_pool[POOLS] = {0};
    cJSON *json = fixture_json(&f, "allocation", "month=2026-10");
    const cJSON *row;

    cJSON_ArrayForEach(row, rows_of(json))
    {
        for (size_t p = 0; p < POOLS; p++) {
            if (strcmp(member(row, "pool")->valuestring, pools[p]) == 0)
                by_pool[p] += amount(row, "imported_usd");
        }
    }
    for (size_t p = 0; p < POOLS; p++) {
        assert_true(by_pool[p] == pool_costs[p]);
        imported += pool_costs[p];
    }
    assert_true(amount(member(json, "total"), "imported_usd") == imported);
    assert_true(amount(member(json, "total"), "cost_usd") == metered);
    cJSON_Delete(json);
}

/* Whole cents, half to even. */
static money_int cents_of(money_int atto)
{
    const money_int cent = (money_int)10000000000000000;

    return divide_even(atto, cent);
}

static void check_bills(void)
{
    money_int imported = 0, one_by_one = 0;
    cJSON *json = fixture_json(&f, "statement", "month=2026-10");

    for (size_t p = 0; p < POOLS; p++)
        imported += pool_costs[p];
    assert_true(amount(member(json, "total"), "cost_usd") == metered);
    assert_true(amount(member(json, "total"), "imported_usd") == imported);
    assert_true(amount(member(json, "total"), "amount_usd") == metered + imported);
    cJSON_Delete(json);
    for (size_t t = 0; t < TEAMS; t++) {
        char query[128];

        (void)snprintf(query, sizeof(query), "month=2026-10&where=team%%3D%s",
                       strcmp(teams[t], "=1+1") == 0 ? "%3D1%2B1"
                       : teams[t][0]                 ? teams[t]
                                                     : "(untagged)");
        json = fixture_json(&f, "statement", query);
        one_by_one += amount(member(json, "total"), "amount_usd");
        cJSON_Delete(json);
    }
    assert_true(one_by_one == metered + imported);
    json = fixture_json(&f, "journal", "month=2026-10");
    assert_true(amount(member(json, "total"), "debit_minor") ==
                amount(member(json, "total"), "credit_minor"));
    assert_true(amount(member(json, "total"), "debit_minor") == cents_of(metered + imported));
    cJSON_Delete(json);
}

static void test_nothing_is_lost_by_any_method(void **state)
{
    (void)state;
    for (uint64_t l = 0; l < LEDGERS; l++) {
        any_start(77003 * (l + 1));
        make_ledger();
        make_books();
        check_allocation();
        check_bills();
        fixture_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing_is_lost_by_any_method)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
