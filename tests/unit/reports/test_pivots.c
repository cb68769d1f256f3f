/*
 * Every report over random ledgers: whatever it groups by, its rows sum to its total and
 * its total to the ledger, to the last digit and at every precision; and the lines that a
 * row links to are what it is made of.
 */
#include "tests/unit/reports/fixture.h"

enum { RECORDS = 700, LEDGERS = 2, QUERY_MAX = 4096 };

static struct fixture f;
static uint64_t seed;

static uint64_t next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

#define PICK(list) strv_z((list)[next() % (sizeof(list) / sizeof((list)[0]))])
static const char *const teams[] = {"search", "a,b\\c", "=1+1", "(untagged)", "", "t&x=1"};
static const char *const features[] = {"chat", "sum mary", ""};
static const char *const models[] = {"gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5"};
static const char *const tasks[] = {"t1", "t2", "t3", "t4", "t5", ""};
static const char *const customers[] = {"acme", "globex", ""};
static const char *const environments[] = {"prod", "eval", ""};

static void any_record(struct record *r)
{
    *r = fixture_record(at("2026-10-25T00:00:00Z") +
                        (int64_t)(next() % (uint64_t)(20 * US_PER_DAY)));
    r->subject.dim[DIM_TEAM] = PICK(teams);
    r->subject.dim[DIM_FEATURE] = PICK(features);
    r->subject.dim[DIM_ENVIRONMENT] = PICK(environments);
    r->subject.dim[DIM_MODEL] = r->model = PICK(models);
    r->subject.dim[DIM_TASK] = PICK(tasks);
    r->subject.dim[DIM_CUSTOMER] = PICK(customers);
    r->attempt = (uint32_t)(next() % 3);
    r->outcome = (enum outcome)(next() % OUTCOME_COUNT);
    r->is_repeat = r->outcome == OUTCOME_OK && next() % 4 == 0;
    r->is_cacheable = next() % 5 == 0;
    usage_set(&r->usage, USAGE_INPUT, next() % 5000);
    usage_set(&r->usage, USAGE_OUTPUT, next() % 400000);
    if (next() % 12 == 0) {
        r->usage = (struct usage){.has = 0};
        r->usage_source = USAGE_NONE;
        r->price_status = PRICE_NONE;
        return;
    }
    fixture_set_cost(r, (money_int)(next() >> 20) * (money_int)(next() % 1000003));
    r->n_lines = 2;
    r->lines[0] = (struct record_line){METER_IN, next() % 5000, {1}, {r->cost.atto / 3}};
    r->lines[1] = (struct record_line){
        METER_OUT, 1 + next() % 999, {1}, {r->cost.atto - r->cost.atto / 3}};
}

static void make_ledger(uint64_t start)
{
    seed = start;
    fixture_open(&f);
    f.sources.state_dir = f.dir;
    for (size_t i = 0; i < RECORDS; i++) {
        struct record r;

        any_record(&r);
        fixture_add(&f, &r);
    }
    for (int i = 0; i < 12; i++)
        fixture_close_task(&f, teams[next() % 6], tasks[next() % 5],
                           (enum task_outcome)(1 + next() % 3),
                           at("2026-11-01T00:00:00Z") + (int64_t)(next() % (uint64_t)US_PER_DAY));
    fixture_flush(&f);
}

/* Reports whose cost_usd is the ledger's, with what they may be grouped by. */
static const struct {
    const char *name, *by[4];
} reports[] = {
    {"spend", {"", "team", "team,feature,model", "customer"}},
    {"spend&against=2026-10", {"", "team", "team,feature,model", "customer"}},
    {"spend&against=2026-10&top=2", {"", "team", "team,model", "customer"}},
    {"requests", {"", "model", "task", "team,outcome"}},
    {"tasks", {"", "team", "task", "feature"}},
    {"tasks&cohort=spend", {"", "team", "team,task", "feature"}},
    {"models", {"", "team", "environment", "key"}},
    {"token-bands", {"", "team", "model", "customer"}},
    {"waste", {"", "team", "feature", "task"}},
    {"untagged", {"", "", "", ""}},
    {"rate-card", {"", "", "", ""}},
    {"variance", {"", "team", "feature,environment", "customer"}},
    {"allocation", {"", "", "", ""}},
    {"statement", {"", "", "", ""}},
    {"lines", {"", "", "", ""}},
};

static money_int ledger_cost(const char *where)
{
    char query[QUERY_MAX];
    cJSON *json;
    money_int cost;

    (void)snprintf(query, sizeof(query), "month=2026-11%s", where);
    json = fixture_json(&f, "lines", query);
    cost = amount(member(json, "total"), "cost_usd");
    cJSON_Delete(json);
    return cost;
}

static void split_name(const char *name, char *report, size_t n, const char **more)
{
    const char *and = strchr(name, '&');

    *more = and ? and : "";
    (void)snprintf(report, n, "%.*s", (int)(and ? (size_t)(and - name) : strlen(name)), name);
}

/* The lines behind a row have its cost, and its requests where it counts them. */
static void follow(const cJSON *row, const char *report)
{
    const cJSON *link = member(row, "lines"), *requests, *total;
    const char *question;
    cJSON *json;

    if (!cJSON_IsString(link))
        return;
    question = strchr(link->valuestring, '?');
    assert_non_null(question);
    json = fixture_json(&f, "lines", question + 1);
    total = member(json, "total");
    if (amount(total, "cost_usd") != amount(row, "cost_usd"))
        print_error("%s: %s\n", report, link->valuestring);
    assert_true(amount(total, "cost_usd") == amount(row, "cost_usd"));
    requests = cJSON_GetObjectItemCaseSensitive(row, "requests");
    if (requests && strcmp(report, "tasks") != 0)
        assert_true(amount(total, "requests") == amount(row, "requests"));
    cJSON_Delete(json);
}

static void check(const char *name, const char *by, const char *where, money_int want)
{
    char report[32], query[QUERY_MAX];
    const char *more;
    const cJSON *row;
    money_int sum = 0;
    size_t links = 0;
    cJSON *json;

    split_name(name, report, sizeof(report), &more);
    (void)snprintf(query, sizeof(query), "month=2026-11%s%s%s%s", more, where, *by ? "&by=" : "",
                   by);
    json = fixture_json(&f, report, query);
    if (amount(member(json, "total"), "cost_usd") != want)
        print_error("%s?%s\n", report, query);
    assert_true(amount(member(json, "total"), "cost_usd") == want);
    cJSON_ArrayForEach(row, rows_of(json))
    {
        sum += amount(row, "cost_usd");
        if (strcmp(report, "lines") != 0 && strcmp(report, "variance") != 0 && links++ < 12)
            follow(row, report);
    }
    assert_true(sum == want);
    cJSON_Delete(json);
}

/* The last line of a table is its total; the column of cost_usd must sum to it as shown. */
static void check_shown(const char *name, const char *by, unsigned precision)
{
    char report[32], query[QUERY_MAX];
    const char *more, *title;
    struct strv text, line;
    money_int sum = 0, last = 0;
    size_t end = 0, lines = 0;

    split_name(name, report, sizeof(report), &more);
    (void)snprintf(query, sizeof(query), "month=2026-11%s%s%s&format=table&precision=%u", more,
                   *by ? "&by=" : "", by, precision);
    assert_int_equal(fixture_run(&f, report, query), RC_OK);
    text = buf_view(&f.out);
    while (strv_split(&text, '\n', &line)) {
        struct strv cell;
        struct money m;
        size_t start;

        title = end ? NULL : memmem(line.p, line.n, "cost USD", 8);
        if (title) {
            end = (size_t)(title - line.p) + 8;
            continue;
        }
        if (!end || line.n < end || line.p[0] == '-')
            continue;
        start = end;
        while (start > 0 && line.p[start - 1] != ' ')
            start--;
        cell = strv_make(line.p + start, end - start);
        if (money_parse(cell, &m) != RC_OK)
            continue;
        sum += last;
        last = m.atto;
        lines++;
    }
    assert_true(lines > 0);
    if (sum != last && lines > 1)
        print_error("%s?%s\n", report, query);
    assert_true(lines == 1 || sum == last);
}

static void test_pivots(void **state)
{
    static const char *const wheres[] = {"", "&where=team=search,(untagged)"};

    (void)state;
    for (uint64_t l = 0; l < LEDGERS; l++) {
        make_ledger(1000003 * (l + 1));
        for (size_t w = 0; w < sizeof(wheres) / sizeof(*wheres); w++) {
            money_int want = ledger_cost(wheres[w]);

            assert_true(want > 0);
            for (size_t i = 0; i < sizeof(reports) / sizeof(*reports); i++) {
                for (size_t k = 0; k < 4 && (k == 0 || reports[i].by[k][0]); k++)
                    check(reports[i].name, reports[i].by[k], wheres[w], want);
            }
        }
        fixture_close(&f);
    }
}

static void test_every_precision(void **state)
{
    /* Plain ASCII values only: columns are found by their place in the line. */
    static const struct {
        const char *name, *by;
    } names[] = {{"spend", "model"},  {"requests", "model"},    {"models", "model"},
                 {"waste", "model"},  {"token-bands", "model"}, {"spend&against=2026-10", "model"},
                 {"tasks", "model"},  {"rate-card", ""},        {"untagged&where=team=search,billing", ""},
                 {"lines", ""}};

    (void)state;
    make_ledger(77);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        for (unsigned precision = 0; precision <= 12; precision++)
            check_shown(names[i].name, names[i].by, precision);
    }
    fixture_close(&f);
}

static const cJSON *same_group(const cJSON *json, const cJSON *of)
{
    const cJSON *row;

    cJSON_ArrayForEach(row, rows_of(json))
    {
        if (cJSON_Compare(member(row, "customer"), member(of, "customer"), true) &&
            cJSON_Compare(member(row, "model"), member(of, "model"), true))
            return row;
    }
    return NULL;
}

/* What stands as the period before is that period's own report, group by group. */
static void test_against(void **state)
{
    const cJSON *row;
    cJSON *both, *now, *before;

    (void)state;
    make_ledger(5);
    f.sources.now_us = at("2026-12-05T00:00:00Z"); /* of a running month its part is compared */
    both = fixture_json(&f, "spend", "month=2026-11&against=previous&by=customer,model");
    now = fixture_json(&f, "spend", "month=2026-11&by=customer,model");
    before = fixture_json(&f, "spend", "month=2026-10&by=customer,model");
    cJSON_ArrayForEach(row, rows_of(both))
    {
        const cJSON *a = same_group(now, row), *b = same_group(before, row);
        money_int cost = a ? amount(a, "cost_usd") : 0, was = b ? amount(b, "cost_usd") : 0;

        assert_true(a || b);
        assert_true(amount(row, "cost_usd") == cost);
        assert_true(amount(row, "previous_cost_usd") == was);
        assert_true(amount(row, "change_usd") == cost - was);
        assert_true(cJSON_IsNull(member(row, "change_ratio")) == (was == 0));
    }
    assert_true(cJSON_GetArraySize(rows_of(both)) >= cJSON_GetArraySize(rows_of(before)));
    assert_true(amount(member(both, "total"), "previous_cost_usd") ==
                amount(member(before, "total"), "cost_usd"));
    cJSON_Delete(both);
    cJSON_Delete(now);
    cJSON_Delete(before);
    assert_int_equal(fixture_run(&f, "spend", "month=2026-11&against=2026-10&grain=day"), RC_BAD);
    assert_int_equal(fixture_run(&f, "spend", "month=2026-11&against=plan"), RC_BAD);
    assert_int_equal(fixture_run(&f, "spend", "month=2026-11&against=soon"), RC_BAD);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pivots),
        cmocka_unit_test(test_every_precision),
        cmocka_unit_test(test_against),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
