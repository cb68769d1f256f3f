/*
 * Reports over random ledgers, against sums made here from the same records.
 */
#include "reports/report.h"

#include "tests/unit/reports/fixture.h"

enum { RECORDS = 3000, QUERY_MAX = 512 };

static uint64_t seed = 42;

static uint64_t next(void)
{
    seed += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static const char *const teams[] = {"search", "billing", "=SUM(A1)", ""};
static const char *const features[] = {"chat", "summary", "a,b", ""};
static const char *const environments[] = {"prod", "dev", ""};
static const char *const models[] = {"model-1", "model-2", "model-3", "claude-x"};
static const char *const squads[] = {"red", "a,b\\", ""};

#define PICK(list) strv_z((list)[next() % (sizeof(list) / sizeof((list)[0]))])

static struct fixture f;
static struct record *records;
static char task_names[40][16];

/* October to December, with the change of the clocks and many records near midnights. */
static int64_t any_time(void)
{
    int64_t day = at("2026-10-20T00:00:00Z") + (int64_t)(next() % 60) * US_PER_DAY;

    if (next() % 4 == 0)
        return day + (int64_t)(next() % 7 - 3) * 3600 * US_PER_SECOND;
    if (next() % 4 == 0)
        return day - 1 + (int64_t)(next() % 3);
    return day + (int64_t)(next() % (uint64_t)US_PER_DAY);
}

static void any_record(struct record *r)
{
    *r = fixture_record(any_time());
    r->subject.dim[DIM_TEAM] = PICK(teams);
    r->subject.dim[DIM_FEATURE] = PICK(features);
    r->subject.dim[DIM_ENVIRONMENT] = PICK(environments);
    r->subject.dim[DIM_MODEL] = r->model = PICK(models);
    if (next() % 3) {
        r->subject.free[0] = (struct tag){STRV("squad"), PICK(squads)};
        r->subject.n_free = r->subject.free[0].value.n > 0;
    }
    if (next() % 2)
        r->subject.dim[DIM_TASK] = strv_z(task_names[next() % 40]);
    r->attempt = (uint32_t)(next() % 4);
    r->outcome = (enum outcome)(next() % OUTCOME_COUNT);
    usage_set(&r->usage, USAGE_INPUT, next() % 100000);
    usage_set(&r->usage, USAGE_OUTPUT, next() % 5000);
    if (next() % 2)
        usage_set(&r->usage, USAGE_CACHE_READ, next() % 100);
    if (next() % 12 == 0) {
        r->usage = (struct usage){.has = 0};
        r->usage_source = USAGE_NONE;
        r->price_status = PRICE_NONE;
        return;
    }
    if (next() % 10 == 0) {
        r->price_status = PRICE_NONE;
        return;
    }
    r->price_status = next() % 9 ? PRICE_OK : PRICE_PARTIAL;
    fixture_set_cost(r,
                     (money_int)(next() % 1000000000000) * (money_int)(next() % 3000000 + 1));
    if (next() % 20 == 0)
        fixture_set_cost(r, 0);
}

static int setup(void **state)
{
    (void)state;
    fixture_open(&f);
    for (int i = 0; i < 40; i++)
        (void)snprintf(task_names[i], sizeof(task_names[i]), "t%d", i);
    records = xcalloc(RECORDS, sizeof(*records));
    for (size_t i = 0; i < RECORDS; i++) {
        any_record(&records[i]);
        fixture_add(&f, &records[i]);
    }
    for (int i = 0; i < 30; i++)
        fixture_close_task(&f, teams[i % 3], task_names[next() % 40],
                           (enum task_outcome)(1 + next() % 3), any_time());
    fixture_flush(&f);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&f);
    free(records);
    return 0;
}

/* ---- the oracle: sums over the records here ------------------------------------------------
 */

struct oracle {
    money_int requests, unpriced, input, output, cost, errors;
};

typedef bool wanted_fn(const struct record *r);

static struct oracle sum_of(int64_t from, int64_t to, wanted_fn *wanted)
{
    struct oracle o = {0};

    for (size_t i = 0; i < RECORDS; i++) {
        const struct record *r = &records[i];
        if (r->end_us < from || r->end_us >= to || (wanted && !wanted(r)))
            continue;
        o.requests++;
        o.unpriced += r->price_status == PRICE_NONE;
        o.input += (money_int)r->usage.n[USAGE_INPUT];
        o.output += (money_int)r->usage.n[USAGE_OUTPUT];
        o.cost += r->price_status == PRICE_NONE ? 0 : r->cost.atto;
        o.errors += outcome_is_error(r->outcome);
    }
    return o;
}

/* Each additive member of the rows sums to the total's. */
static void check_sums(const cJSON *json)
{
    static const char *const not_additive[] = {"mean",  "min_",  "p50",     "p90",
                                               "p95",   "p99",   "max_",    "_per_",
                                               "ratio", "share", "latency", "first_byte",
                                               "lines"};
    const cJSON *total, *row;

    cJSON_ArrayForEach(total, member(json, "total"))
    {
        money_int sum = 0;
        bool additive = true;
        for (size_t i = 0; i < sizeof(not_additive) / sizeof(not_additive[0]); i++)
            additive = additive && !strstr(total->string, not_additive[i]);
        if (!additive)
            continue;
        cJSON_ArrayForEach(row, rows_of(json)) sum += amount(row, total->string);
        if (sum != amount(member(json, "total"), total->string))
            print_error("%s does not add up\n", total->string);
        assert_true(sum == amount(member(json, "total"), total->string));
    }
}

static bool not_dev(const struct record *r)
{
    return !strv_eq(r->subject.dim[DIM_ENVIRONMENT], STRV("dev"));
}

static bool search_or_billing(const struct record *r)
{
    return strv_eq(r->subject.dim[DIM_TEAM], STRV("search")) ||
           strv_eq(r->subject.dim[DIM_TEAM], STRV("billing"));
}

static bool no_team(const struct record *r)
{
    return r->subject.dim[DIM_TEAM].n == 0;
}

static bool red(const struct record *r)
{
    return r->subject.n_free > 0 && strv_eq(r->subject.free[0].value, STRV("red"));
}

static bool models_of_ours(const struct record *r)
{
    return strv_starts(r->subject.dim[DIM_MODEL], STRV("model-"));
}

static const struct {
    const char *query;
    wanted_fn *wanted;
} filters[] = {
    {"", NULL},
    {"&where=environment!%3Ddev", not_dev},
    {"&where=team=search,billing", search_or_billing},
    {"&where=team=(untagged)", no_team},
    {"&where=squad=red", red},
    {"&where=model~model-*", models_of_ours},
};
enum { FILTERS = sizeof(filters) / sizeof(filters[0]) };

static const struct {
    const char *query, *from, *to; /* of the oracle */
} periods[] = {
    {"month=2026-11", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"},
    {"month=2026-10&tz=Europe/Berlin", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"},
    {"from=2026-10-25&to=2026-10-26&tz=Europe/Berlin", "2026-10-24T22:00:00Z",
     "2026-10-25T23:00:00Z"},
    {"from=2026-11-03T07:13:05.000001Z&to=2026-12-05T23:59:59Z", "2026-11-03T07:13:05.000001Z",
     "2026-12-05T23:59:59Z"},
    {"from=2026-10-20&to=2027-01-01&tz=Asia/Kathmandu", "2026-10-19T18:15:00Z",
     "2026-12-31T18:15:00Z"},
    {"from=2031-01-01&to=2032-01-01", "2031-01-01T00:00:00Z", "2032-01-01T00:00:00Z"},
};
enum { PERIODS = sizeof(periods) / sizeof(periods[0]) };

static void check_total(const cJSON *json, const struct oracle *want)
{
    const cJSON *total = member(json, "total");

    assert_true(amount(total, "requests") == want->requests);
    assert_true(amount(total, "unpriced_requests") == want->unpriced);
    assert_true(amount(total, "input_tokens") == want->input);
    assert_true(amount(total, "output_tokens") == want->output);
    assert_true(amount(total, "cost_usd") == want->cost);
}

/* Every grouping, grain, filter and zone: rows sum to the total, and the total to the ledger.
 */
static void test_spend_and_requests_add_up(void **state)
{
    static const char *const groupings[] = {
        "",          "&by=team", "&by=team,feature,model", "&by=outcome,key",
        "&by=squad", "&by=task", "&by=team&top=1",         "&by=feature,model&top=3"};
    static const char *const grains[] = {
        "", "&grain=day", "&grain=hour", "&grain=week", "&grain=month", "&grain=total"};
    unsigned combination = 0;

    (void)state;
    for (size_t p = 0; p < PERIODS; p++) {
        for (size_t w = 0; w < FILTERS; w++) {
            struct oracle want =
                sum_of(at(periods[p].from), at(periods[p].to), filters[w].wanted);
            for (size_t g = 0; g < sizeof(groupings) / sizeof(groupings[0]);
                 g++, combination++) {
                const char *grain = grains[combination % 6];
                const char *name = combination % 5 ? "spend" : "requests";
                char query[QUERY_MAX];
                cJSON *json;
                (void)snprintf(query, sizeof(query), "%s%s%s%s", periods[p].query,
                               filters[w].query, groupings[g], grain);
                json = fixture_json(&f, name, query);
                check_sums(json);
                check_total(json, &want);
                cJSON_Delete(json);
            }
        }
    }
}

/* What each row holds, not only their sum. */
static void test_rows_are_their_groups(void **state)
{
    cJSON *json = fixture_json(&f, "spend", "from=2026-10-01&to=2027-01-01&by=team");

    (void)state;
    assert_int_equal(cJSON_GetArraySize(rows_of(json)), 4);
    for (size_t t = 0; t < 4; t++) {
        const cJSON *row = row_with(json, "team", teams[t][0] ? teams[t] : "(untagged)");
        money_int cost = 0, requests = 0;
        for (size_t i = 0; i < RECORDS; i++) {
            if (!strv_eq(records[i].subject.dim[DIM_TEAM], strv_z(teams[t])))
                continue;
            requests++;
            cost += records[i].price_status == PRICE_NONE ? 0 : records[i].cost.atto;
        }
        assert_true(amount(row, "requests") == requests);
        assert_true(amount(row, "cost_usd") == cost);
    }
    cJSON_Delete(json);
}

/* The dearest N stay as they are; what is left is one row a period, named. */
static void test_top(void **state)
{
    cJSON *all = fixture_json(&f, "spend", "from=2026-10-01&to=2027-01-01&by=feature,model");
    cJSON *top =
        fixture_json(&f, "spend", "from=2026-10-01&to=2027-01-01&by=feature,model&top=3");
    const cJSON *rows = rows_of(all), *cut = rows_of(top);
    const cJSON *other = cJSON_GetArrayItem(cut, 3);

    (void)state;
    assert_int_equal(cJSON_GetArraySize(cut), 4);
    for (int i = 0; i < 3; i++) {
        const cJSON *a = cJSON_GetArrayItem(rows, i), *b = cJSON_GetArrayItem(cut, i);
        assert_true(amount(a, "cost_usd") == amount(b, "cost_usd"));
        assert_string_equal(member(a, "model")->valuestring, member(b, "model")->valuestring);
        assert_true(amount(a, "cost_usd") >= amount(cJSON_GetArrayItem(rows, 3), "cost_usd"));
    }
    assert_string_equal(member(other, "feature")->valuestring, "(other)");
    assert_string_equal(member(other, "model")->valuestring, "(other)");
    cJSON_Delete(all);
    cJSON_Delete(top);
    /* With a grain the same groups are kept in each period. */
    top = fixture_json(&f, "spend", "from=2026-10-01&to=2027-01-01&by=model&top=1&grain=month");
    assert_int_equal(cJSON_GetArraySize(rows_of(top)), 6);
    assert_string_equal(member(cJSON_GetArrayItem(rows_of(top), 1), "model")->valuestring,
                        "(other)");
    cJSON_Delete(top);
}

/* Hours, days, weeks and months of any zone hold the same as the range. */
static void test_days_of_any_zone_sum_to_the_range(void **state)
{
    static const char *const zones[] = {"UTC",
                                        "Europe/Berlin",
                                        "America/New_York",
                                        "Asia/Kathmandu",
                                        "Pacific/Chatham",
                                        "America/St_Johns"};

    (void)state;
    for (size_t z = 0; z < sizeof(zones) / sizeof(zones[0]); z++) {
        char query[QUERY_MAX];
        cJSON *json;
        const cJSON *row;
        (void)snprintf(query, sizeof(query),
                       "from=2026-10-20T00:00:00Z&to=2026-12-20T00:00:00Z&grain=day&tz=%s",
                       zones[z]);
        json = fixture_json(&f, "spend", query);
        check_sums(json);
        assert_string_equal(member(json, "timezone")->valuestring, zones[z]);
        /* Each day holds what the day alone, asked for by its dates, holds. */
        cJSON_ArrayForEach(row, rows_of(json))
        {
            char day[QUERY_MAX];
            cJSON *alone;
            int year, month, number;
            int64_t days;
            if (next() % 10)
                continue;
            assert_true(
                date_parse(strv_z(member(row, "period")->valuestring), &year, &month, &number));
            days = date_to_days(year, month, number) + 1;
            if (days == date_to_days(2026, 10, 20) || days > date_to_days(2026, 12, 18))
                continue; /* cut by the range */
            if (days <= date_to_days(2026, 10, 21))
                continue;
            date_from_days(days, &year, &month, &number);
            (void)snprintf(day, sizeof(day), "from=%s&to=%04d-%02d-%02d&tz=%s",
                           member(row, "period")->valuestring, year, month, number, zones[z]);
            alone = fixture_json(&f, "spend", day);
            assert_true(amount(row, "cost_usd") == amount(member(alone, "total"), "cost_usd"));
            assert_true(amount(row, "requests") == amount(member(alone, "total"), "requests"));
            cJSON_Delete(alone);
        }
        cJSON_Delete(json);
    }
}

/* Sums of the CSV's column against the total of the JSON. */
static void test_csv_and_json_agree(void **state)
{
    cJSON *json = fixture_json(&f, "spend", "month=2026-11&by=model");
    money_int want = amount(member(json, "total"), "cost_usd"), sum = 0;
    struct strv text, line;
    size_t cost = 0, lines = 0;

    (void)state;
    assert_int_equal(fixture_run(&f, "spend", "month=2026-11&by=model&format=csv"), RC_OK);
    text = buf_view(&f.out);
    while (strv_split(&text, '\n', &line)) {
        struct strv value;
        size_t column = 0;
        if (line.n == 0)
            break;
        assert_true(strv_ends(line, STRV("\r")));
        line.n--;
        while (strv_split(&line, ',', &value)) {
            struct money m;
            if (lines == 0 && strv_eq(value, STRV("cost_usd")))
                cost = column;
            if (lines > 0 && column == cost && value.n) {
                assert_int_equal(money_parse(value, &m), RC_OK);
                sum += m.atto;
            }
            column++;
        }
        lines++;
    }
    assert_int_equal(lines, 1 + cJSON_GetArraySize(rows_of(json)));
    assert_true(sum == want);
    cJSON_Delete(json);
}

static void test_formulas_are_defused(void **state)
{
    (void)state;
    assert_int_equal(fixture_run(&f, "spend", "month=2026-11&by=team&format=csv"), RC_OK);
    assert_non_null(memmem(buf_view(&f.out).p, buf_len(&f.out), "\r\n'=SUM(A1),", 12));
    assert_null(memmem(buf_view(&f.out).p, buf_len(&f.out), "\r\n=SUM", 6));
    assert_int_equal(fixture_run(&f, "spend", "month=2026-11&by=team&format=html"), RC_OK);
    assert_non_null(memmem(buf_view(&f.out).p, buf_len(&f.out), "<td>'=SUM(A1)<", 14));
    assert_null(memmem(buf_view(&f.out).p, buf_len(&f.out), "<td>=SUM", 8));
}

static void test_lines(void **state)
{
    cJSON *spend = fixture_json(&f, "spend", "month=2026-11&where=team=search");
    cJSON *all = fixture_json(&f, "lines", "month=2026-11&where=team=search");
    cJSON *top =
        fixture_json(&f, "lines", "month=2026-11&where=team=search&top=7&sort=cost_usd");
    int n = cJSON_GetArraySize(rows_of(all));

    (void)state;
    check_sums(all);
    check_sums(top);
    assert_true(n == (int)amount(member(spend, "total"), "requests"));
    assert_true(amount(member(all, "total"), "cost_usd") ==
                amount(member(spend, "total"), "cost_usd"));
    assert_true(amount(member(top, "total"), "cost_usd") ==
                amount(member(spend, "total"), "cost_usd"));
    assert_int_equal(cJSON_GetArraySize(rows_of(top)), 8);
    for (int i = 1; i < 7; i++)
        assert_true(amount(cJSON_GetArrayItem(rows_of(top), i - 1), "cost_usd") >=
                    amount(cJSON_GetArrayItem(rows_of(top), i), "cost_usd"));
    assert_string_equal(member(cJSON_GetArrayItem(rows_of(top), 7), "id")->valuestring,
                        "(other)");
    for (int i = 0; i < n; i++) {
        const cJSON *row = cJSON_GetArrayItem(rows_of(all), i), *tags = member(row, "tags");

        assert_string_equal(member(row, "book")->valuestring, "0123");
        assert_true(cJSON_IsNull(tags) || strcmp(tags->valuestring, "squad=red") == 0 ||
                    strcmp(tags->valuestring, "squad=a\\,b\\\\") == 0);
        assert_int_equal(cJSON_IsNull(member(row, "cost_usd")),
                         strcmp(member(row, "price_status")->valuestring,
                                price_status_name(PRICE_NONE)) == 0);
    }
    cJSON_Delete(spend);
    cJSON_Delete(all);
    cJSON_Delete(top);
}

/* Tasks and lines of none bridge to the period's spend; the split has no remainder. */
static void test_tasks_bridge_to_spend(void **state)
{
    static const char *const groupings[] = {"", "&by=team", "&by=team,feature",
                                            "&by=model&top=2", "&by=task"};

    (void)state;
    for (size_t w = 0; w < FILTERS; w++) {
        struct oracle want =
            sum_of(at("2026-11-01T00:00:00Z"), at("2026-12-01T00:00:00Z"), filters[w].wanted);
        for (size_t g = 0; g < sizeof(groupings) / sizeof(groupings[0]); g++) {
            char query[QUERY_MAX];
            const cJSON *row, *total;
            cJSON *json;
            for (int closed = 0; closed < 2; closed++) {
                (void)snprintf(query, sizeof(query), "month=2026-11%s%s%s", filters[w].query,
                               groupings[g], closed ? "" : "&cohort=spend");
                json = fixture_json(&f, "tasks", query);
                total = member(json, "total");
                check_sums(json);
                assert_true(amount(total, "cost_usd") == want.cost);
                assert_true(amount(total, "task_cost_usd") + amount(total, "no_task_cost_usd") +
                                amount(total, "other_periods_cost_usd") ==
                            want.cost);
                if (closed == 0)
                    assert_true(amount(total, "other_periods_cost_usd") == 0);
                cJSON_Delete(json);
            }
            (void)snprintf(query, sizeof(query), "month=2026-11&cohort=spend%s%s",
                           filters[w].query, groupings[g]);
            json = fixture_json(&f, "tasks", query);
            total = member(json, "total");
            assert_true(amount(total, "cost_usd") == want.cost);
            assert_true(amount(total, "task_cost_usd") + amount(total, "no_task_cost_usd") ==
                        want.cost);
            assert_true(amount(total, "requests") + amount(total, "no_task_requests") ==
                        want.requests);
            cJSON_ArrayForEach(row, rows_of(json)) assert_true(
                amount(row, "useful_cost_usd") + amount(row, "retry_cost_usd") +
                    amount(row, "failure_cost_usd") + amount(row, "open_cost_usd") ==
                amount(row, "task_cost_usd"));
            cJSON_Delete(json);
        }
    }
}

/* The answer but for as_of, which a ledger that runs moves on. */
static struct strv but_as_of(struct strv answer, struct strv *head)
{
    static const char name[] = "\"as_of\":\"";
    const char *as_of = memmem(answer.p, answer.n, name, sizeof(name) - 1);

    assert_non_null(as_of);
    *head = strv_head(answer, (size_t)(as_of - answer.p));
    answer = strv_skip(answer, head->n + sizeof(name) - 1);
    return strv_skip(answer, strv_find(answer, '"'));
}

static void test_same_question_same_bytes(void **state)
{
    static const char query[] = "month=2026-11&by=team,model&grain=week&top=4";
    struct strv heads[2], rests[2];
    struct buf first;

    (void)state;
    assert_int_equal(fixture_run(&f, "requests", query), RC_OK);
    buf_init(&first, FIXTURE_OUT_MAX);
    assert_int_equal(buf_append_strv(&first, buf_view(&f.out)), RC_OK);
    assert_int_equal(fixture_run(&f, "requests", query), RC_OK);
    rests[0] = but_as_of(buf_view(&first), &heads[0]);
    rests[1] = but_as_of(buf_view(&f.out), &heads[1]);
    assert_true(strv_eq(heads[0], heads[1]) && strv_eq(rests[0], rests[1]));
    buf_release(&first);
}

static void test_every_format_of_every_report(void **state)
{
    static const char *const formats[] = {"table", "csv", "json", "html"};
    const struct report_info *info;

    (void)state;
    for (size_t i = 0; (info = report_at(i)); i++) {
        for (size_t k = 0; k < 4; k++) {
            char query[64];
            (void)snprintf(query, sizeof(query), "format=%s", formats[k]);
            if (strcmp(info->name, "reconcile") == 0) {
                assert_int_equal(fixture_run(&f, info->name, query), RC_BAD);
                assert_true(fixture_error_says(&f, "--import"));
                continue;
            }
            assert_int_equal(fixture_run(&f, info->name, query), RC_OK);
            assert_true(buf_len(&f.out) > 0);
        }
    }
}

static void test_errors(void **state)
{
    static const struct {
        const char *name, *query, *says;
        enum rc rc;
    } cases[] = {
        {"spned", "", "\"spend\"", RC_BAD},
        {"nothing", "", "there are spend, requests, tasks, budgets, ", RC_BAD},
        {"spend", "sort=cost", "cost_usd", RC_BAD},
        {"spend", "sort=zzz", "it is one of", RC_BAD},
        {"spend", "cohort=closed", "cohort", RC_BAD},
        {"spend", "month=2026-11&last=7d", "month", RC_BAD},
        {"tasks", "grain=day", "grain", RC_BAD},
        {"lines", "by=team", "by", RC_BAD},
        {"lines", "grain=day", "grain", RC_BAD},
        {"budgets", "month=2026-11", "period", RC_BAD},
        {"anomalies", "top=3", "top", RC_BAD},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(fixture_run(&f, cases[i].name, cases[i].query), cases[i].rc);
        if (!fixture_error_says(&f, cases[i].says))
            print_error("%s: %.*s\n", cases[i].name, STRV_ARG(buf_view(&f.error)));
        assert_true(fixture_error_says(&f, cases[i].says));
        assert_int_equal(buf_len(&f.out), 0);
    }
}

static void test_a_missing_ledger_is_told(void **state)
{
    struct report_sources before = f.sources;

    (void)state;
    f.sources.ledger_path = "/nonexistent/ledger.db";
    assert_int_equal(fixture_run(&f, "spend", ""), RC_IO);
    assert_true(fixture_error_says(&f, "/nonexistent/ledger.db"));
    f.sources = before;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spend_and_requests_add_up),
        cmocka_unit_test(test_rows_are_their_groups),
        cmocka_unit_test(test_top),
        cmocka_unit_test(test_days_of_any_zone_sum_to_the_range),
        cmocka_unit_test(test_csv_and_json_agree),
        cmocka_unit_test(test_formulas_are_defused),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_tasks_bridge_to_spend),
        cmocka_unit_test(test_same_question_same_bytes),
        cmocka_unit_test(test_every_format_of_every_report),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_a_missing_ledger_is_told),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
