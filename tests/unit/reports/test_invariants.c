/*
 * Reports that are no pivot of the ledger's cost, over random ledgers: what of each must hold
 * whatever the ledger is.  What is expected comes from other reports, or from the lines.
 */
#include "base/problem.h"
#include "reports/reconcile.h"
#include "tests/unit/reports/any.h"

enum { RECORDS = 400, QUERY_MAX = 4096, DAYS = 60 };

static struct fixture f;

static money_int sum_of(const cJSON *json, const char *name)
{
    const cJSON *row;
    money_int sum = 0;

    cJSON_ArrayForEach(row, rows_of(json)) sum += amount(row, name);
    return sum;
}

static money_int total_of(const char *report, const char *query, const char *name)
{
    cJSON *json = fixture_json(&f, report, query);
    money_int total = amount(member(json, "total"), name);

    cJSON_Delete(json);
    return total;
}

/* The rows of that team: one may have the very name that stands for none. */
static money_int of_team(const cJSON *json, const char *team, const char *name)
{
    const cJSON *row;
    money_int sum = 0;

    cJSON_ArrayForEach(row, rows_of(json))
    {
        if (strcmp(member(row, "team")->valuestring, team) == 0)
            sum += amount(row, name);
    }
    return sum;
}

/* What the lines behind a row come to. */
static money_int behind(const cJSON *row, const char *name)
{
    const cJSON *link = member(row, "lines");

    assert_true(cJSON_IsString(link));
    return total_of("lines", strchr(link->valuestring, '?') + 1, name);
}

/* ---- forecast, digest ------------------------------------------------------------------- */

static void test_forecast(void **state)
{
    static const char *const bys[] = {"team", "model", "team,feature", "customer"};
    char query[QUERY_MAX];

    (void)state;
    any_ledger(&f, 11, RECORDS);
    f.sources.now_us = at("2026-11-12T13:00:00Z");
    for (size_t i = 0; i < 4; i++) {
        const cJSON *row, *total;
        cJSON *json;

        (void)snprintf(query, sizeof(query), "month=2026-11&by=%s", bys[i]);
        json = fixture_json(&f, "forecast", query);
        total = member(json, "total");
        assert_true(amount(total, "spent_usd") == total_of("spend", query, "cost_usd"));
        assert_true(sum_of(json, "spent_usd") == amount(total, "spent_usd"));
        assert_true(sum_of(json, "forecast_usd") == amount(total, "forecast_usd"));
        cJSON_ArrayForEach(row, rows_of(json))
        {
            assert_true(behind(row, "cost_usd") == amount(row, "spent_usd"));
            if (cJSON_IsNull(member(row, "forecast_usd")))
                continue;
            assert_true(amount(row, "spent_usd") <= amount(row, "low_usd"));
            assert_true(amount(row, "low_usd") <= amount(row, "forecast_usd"));
            assert_true(amount(row, "forecast_usd") <= amount(row, "high_usd"));
        }
        cJSON_Delete(json);
    }
    fixture_close(&f);
}

static void test_digest(void **state)
{
    static const char weeks[][96] = {"from=2026-11-05T13:00:00Z&to=2026-11-12T13:00:00Z",
                                     "from=2026-10-29T13:00:00Z&to=2026-11-05T13:00:00Z",
                                     "month=2026-11"};
    static const char *const columns[] = {"week_usd", "week_before_usd", "month_usd"};
    const cJSON *row;
    cJSON *json;

    (void)state;
    any_ledger(&f, 12, RECORDS);
    f.sources.now_us = at("2026-11-12T13:00:00Z");
    json = fixture_json(&f, "digest", "");
    for (size_t i = 0; i < 3; i++) {
        char query[QUERY_MAX];
        cJSON *teams;

        assert_true(sum_of(json, columns[i]) == total_of("spend", weeks[i], "cost_usd"));
        (void)snprintf(query, sizeof(query), "%s&by=team", weeks[i]);
        teams = fixture_json(&f, "spend", query);
        cJSON_ArrayForEach(row, rows_of(teams))
        {
            const char *team = member(row, "team")->valuestring;

            assert_true(of_team(teams, team, "cost_usd") == of_team(json, team, columns[i]));
        }
        cJSON_Delete(teams);
    }
    cJSON_ArrayForEach(row, rows_of(json))
        assert_true(amount(row, "change_usd") ==
                    amount(row, "week_usd") - amount(row, "week_before_usd"));
    cJSON_Delete(json);
    fixture_close(&f);
}

/* ---- unit economics --------------------------------------------------------------------- */

static bool is_unit(const cJSON *row, const char *name)
{
    return strcmp(member(row, "unit")->valuestring, name) == 0;
}

static void test_unit_economics(void **state)
{
    static const char *const bys[] = {"", "&by=team", "&by=feature,model"};
    money_int requests = 0;

    (void)state;
    any_ledger(&f, 13, RECORDS);
    for (size_t i = 0; i < 3; i++) {
        char query[QUERY_MAX];
        const cJSON *row;
        cJSON *json;
        money_int cost = 0, asked = 0;

        (void)snprintf(query, sizeof(query), "month=2026-11%s", bys[i]);
        json = fixture_json(&f, "unit-economics", query);
        cJSON_ArrayForEach(row, rows_of(json))
        {
            money_int n = amount(row, "count"), each = amount(row, "unit_cost_usd");
            money_int spent = amount(row, "cost_usd");

            assert_true(behind(row, "cost_usd") == spent);
            /* Half of the last digit for each, at most. */
            assert_true(n == 0 || (2 * (each * n - spent) <= n && 2 * (spent - each * n) <= n));
            if (is_unit(row, "request")) {
                cost += spent;
                asked += n;
                assert_true(behind(row, "requests") == n);
            }
        }
        assert_true(cost == total_of("spend", query, "cost_usd"));
        assert_true(asked == total_of("spend", query, "requests"));
        assert_true(requests == 0 || asked == requests); /* whatever it is grouped by */
        requests = asked;
        cJSON_Delete(json);
    }
    fixture_close(&f);
}

/* ---- anomalies -------------------------------------------------------------------------- */

static void spend_daily(void)
{
    for (int d = 0; d < DAYS; d++) {
        for (int k = 0; k < 4; k++) {
            struct record r = fixture_record(at("2026-09-01T00:00:00Z") + d * US_PER_DAY +
                                             (int64_t)(any() % (uint64_t)US_PER_DAY));

            r.subject.dim[DIM_TEAM] = strv_z(k % 2 ? "search" : "labs");
            r.subject.dim[DIM_MODEL] = r.model = strv_z(k < 2 ? "m1" : "m2");
            fixture_set_cost(&r, (money_int)(20 + any() % 4 + (d % 9 == 8 ? 90 : 0)) *
                                     (money_int)1000000000000000000 / 7);
            fixture_add(&f, &r);
        }
    }
    fixture_flush(&f);
}

static void test_anomalies(void **state)
{
    static const char *const bys[] = {"", "&by=team", "&by=team,model"};
    size_t found = 0;

    (void)state;
    any_start(14);
    fixture_open(&f);
    f.sources.now_us = at("2026-10-31T00:00:00Z");
    spend_daily();
    for (size_t i = 0; i < 3; i++) {
        char query[QUERY_MAX];
        const cJSON *row;
        cJSON *json;

        (void)snprintf(query, sizeof(query), "from=2026-10-01&to=2026-10-31%s", bys[i]);
        json = fixture_json(&f, "anomalies", query);
        cJSON_ArrayForEach(row, rows_of(json))
        {
            money_int actual = amount(row, "actual_usd"), was = amount(row, "expected_usd");

            assert_true(behind(row, "cost_usd") == actual);
            assert_true(amount(row, "impact_usd") == actual - was);
            assert_true((actual > was) ==
                        (strcmp(member(row, "kind")->valuestring, "spike") == 0));
            found++;
        }
        cJSON_Delete(json);
    }
    assert_true(found > 0);
    fixture_close(&f);
}

/* Customers of two teams; some of their days cost more, or less, the same day or days in a row. */
static void spend_of_customers(void)
{
    static const char *const models[] = {"m1", "m2", "m3"}, *const features[] = {"a", "b"};

    for (int d = 0; d < DAYS; d++) {
        for (int k = 0; k < 5 * 12; k++) {
            struct record r = fixture_record(at("2026-09-01T00:00:00Z") + d * US_PER_DAY +
                                             (int64_t)(any() % (uint64_t)US_PER_DAY));
            unsigned customer = (unsigned)k % 6, wild = d % 13 == 12 || (customer < 2 && d % 13 == 11);
            char name[16];

            (void)snprintf(name, sizeof(name), "c%u", customer);
            r.subject.dim[DIM_TEAM] = strv_z(k % 4 ? "search" : "labs");
            r.subject.dim[DIM_CUSTOMER] = strv_z(customer ? name : "");
            r.subject.dim[DIM_FEATURE] = strv_z(features[any() % 2]);
            r.subject.dim[DIM_MODEL] = r.model = strv_z(models[any() % 3]);
            fixture_set_cost(&r, (money_int)(20 + any() % 4 + (wild ? any() % 90 : 0)) *
                                     (money_int)1000000000000000000 / 7);
            fixture_add(&f, &r);
        }
    }
    fixture_flush(&f);
}

/* Of the row's group alone: of the same steps, the same moved most. */
static void check_causes_alone(const char *period, const cJSON *row)
{
    const char *customer = member(row, "customer")->valuestring;
    const cJSON *team = cJSON_GetObjectItem(row, "team"), *one;
    char query[QUERY_MAX];
    size_t found = 0;
    cJSON *json;

    (void)snprintf(query, sizeof(query), "%s&where=customer=%s%s%s", period,
                   strcmp(customer, "(untagged)") == 0 ? "" : customer,
                   team ? "&where=team=" : "", team ? team->valuestring : "");
    json = fixture_json(&f, "anomalies", query);
    cJSON_ArrayForEach(one, rows_of(json))
    {
        if (strcmp(member(one, "start")->valuestring, member(row, "start")->valuestring) != 0)
            continue;
        assert_string_equal(member(one, "end")->valuestring, member(row, "end")->valuestring);
        assert_string_equal(member(one, "contributors")->valuestring,
                            member(row, "contributors")->valuestring);
        found++;
    }
    assert_int_equal(found, 1);
    cJSON_Delete(json);
}

static void test_causes(void **state)
{
    static const char *const bys[] = {"customer", "customer,team"};
    static const char period[] = "from=2026-09-20&to=2026-10-31";
    size_t found = 0, told = 0;

    (void)state;
    any_start(15);
    fixture_open(&f);
    f.sources.now_us = at("2026-10-31T00:00:00Z");
    spend_of_customers();
    for (size_t i = 0; i < 2; i++) {
        char query[QUERY_MAX];
        const cJSON *row;
        cJSON *json;

        (void)snprintf(query, sizeof(query), "%s&by=%s", period, bys[i]);
        json = fixture_json(&f, "anomalies", query);
        cJSON_ArrayForEach(row, rows_of(json))
        {
            check_causes_alone(period, row);
            found++;
            told += strchr(member(row, "contributors")->valuestring, ',') != NULL;
        }
        cJSON_Delete(json);
    }
    assert_true(found > 8 && told > 8);
    fixture_close(&f);
}

/* ---- budgets ---------------------------------------------------------------------------- */

/* Nano-dollars that limits counted of a line: of corrections, which came later, none. */
static uint64_t ceil_of(const cJSON *line)
{
    if (!cJSON_IsNull(member(line, "corrects")))
        return 0;
    return (uint64_t)money_ceil_nano((struct money){amount(line, "cost_usd")});
}

/* The nano-dollars, each request rounded up, of the lines that began in the window. */
static uint64_t of_lines(const char *team, int64_t from_us, int64_t to_us)
{
    cJSON *json = fixture_json(&f, "lines", "from=2026-10-20&to=2026-11-20");
    const cJSON *row;
    uint64_t sum = 0;

    cJSON_ArrayForEach(row, rows_of(json))
    {
        const cJSON *own = member(row, "team");
        int64_t start = at(member(row, "start")->valuestring);

        if (start < from_us || start >= to_us ||
            (team && strcmp(cJSON_IsString(own) ? own->valuestring : "", team) != 0))
            continue;
        sum += ceil_of(row);
    }
    cJSON_Delete(json);
    return sum;
}

/* The same of the lines that a row leads to. */
static uint64_t ceil_behind(const cJSON *row)
{
    const cJSON *link = member(row, "lines"), *line;
    uint64_t sum = 0;
    cJSON *json;

    assert_true(cJSON_IsString(link));
    json = fixture_json(&f, "lines", strchr(link->valuestring, '?') + 1);
    cJSON_ArrayForEach(line, rows_of(json))
        sum += ceil_of(line);
    cJSON_Delete(json);
    return sum;
}

static void test_budgets(void **state)
{
    static const enum period periods[] = {PERIOD_DAY, PERIOD_WEEK, PERIOD_MONTH};
    static const char *const names[] = {"all-0", "all-1", "all-2", "team-0", "team-1", "team-2"};
    struct limit_def defs[6];
    struct limit_set *limits;
    const cJSON *row;
    cJSON *json;

    (void)state;
    any_ledger(&f, 15, RECORDS);
    f.sources.now_us = at("2026-11-12T13:00:00Z");
    for (size_t i = 0; i < 6; i++) {
        defs[i] = (struct limit_def){.name = names[i],
                                     .unit = UNIT_USD,
                                     .period = periods[i % 3],
                                     .limit = 1 + any() % 1000000000000};
        if (i >= 3)
            defs[i].per[defs[i].n_per++] = STRV("team");
    }
    f.sources.limits = limits = limit_set_new(defs, 6, f.utc);
    json = fixture_json(&f, "budgets", "");
    for (size_t i = 0; i < 3; i++) {
        money_int by_teams = 0, whole = 0;

        cJSON_ArrayForEach(row, rows_of(json))
        {
            const char *name = member(row, "budget")->valuestring;
            money_int spent = amount(row, "ledger_spent_usd"), limit = amount(row, "limit_usd");

            assert_true(amount(row, "remaining_usd") == (spent < limit ? limit - spent : 0));
            assert_true(spent == (money_int)ceil_behind(row) * ATTO_PER_NANO);
            if (name[strlen(name) - 1] != (char)('0' + (int)i))
                continue;
            *(name[0] == 'a' ? &whole : &by_teams) += spent;
            if (name[0] == 'a')
                assert_true(spent ==
                            (money_int)of_lines(NULL,
                                                at(member(row, "window_start")->valuestring),
                                                at(member(row, "window_end")->valuestring)) *
                                ATTO_PER_NANO);
        }
        assert_true(whole > 0 && whole == by_teams); /* every request is of one team, or none */
    }
    cJSON_Delete(json);
    limit_set_free(limits);
    fixture_close(&f);
}

/* ---- savings ---------------------------------------------------------------------------- */

/* Prices that the ledger's own say nothing of: findings need some, whatever they are. */
static const char book_json[] =
    "{\"schema\":\"tollgate-prices/1\",\"version\":\"1\",\"currency\":\"USD\",\"sources\":{},"
    "\"units\":{\"in\":{\"per\":1000000,\"of\":\"token\"},\"out\":{\"per\":1000000,"
    "\"of\":\"token\"},\"cache_read\":{\"per\":1000000,\"of\":\"token\"}},"
    "\"providers\":{\"openai\":{\"models\":["
    "{\"id\":\"model-1\",\"kind\":\"chat\",\"ids\":[\"model-1\"],\"prices\":[{\"from\":null,"
    "\"to\":null,\"rates\":{\"in\":\"2\",\"out\":\"8\",\"cache_read\":\"0.5\"},\"variants\":["
    "{\"when\":{\"tier\":\"batch\"},\"rates\":{\"in\":\"0.000001\",\"out\":\"0.000001\"}}]}]},"
    "{\"id\":\"model-2\",\"kind\":\"chat\",\"ids\":[\"model-2\"],\"prices\":[{\"from\":null,"
    "\"to\":null,\"rates\":{\"in\":\"0.000001\",\"out\":\"0.000001\"}}]}]}}}";

/* With `top` the first so many findings are told, and no others. */
static void check_first(const char *query, const cJSON *all, int top)
{
    char shorter[QUERY_MAX + 32];
    const cJSON *row;
    cJSON *json;
    int n = 0;

    (void)snprintf(shorter, sizeof(shorter), "%s&top=%d", query, top);
    json = fixture_json(&f, "savings", shorter);
    cJSON_ArrayForEach(row, rows_of(json))
        assert_true(cJSON_Compare(row, cJSON_GetArrayItem(rows_of(all), n++), true));
    assert_int_equal(n, cJSON_GetArraySize(rows_of(all)) < top ? cJSON_GetArraySize(rows_of(all))
                                                               : top);
    cJSON_Delete(json);
}

static void test_savings(void **state)
{
    static const char *const bys[] = {"", "&by=team", "&by=feature,customer", "&by=outcome"};
    const struct book_text text = {"book.json", {book_json, sizeof(book_json) - 1}};
    struct problems problems;
    unsigned rules[5] = {0};
    static const char *const whole[] = {"error", "truncated", "duplicate", "retry", "model"};
    struct book *book;

    (void)state;
    any_ledger(&f, 16, RECORDS);
    problems_init(&problems);
    f.sources.book = book = book_parse(&text, 1, NULL, 0, &problems);
    assert_non_null(book);
    problems_release(&problems);
    for (size_t i = 0; i < sizeof(bys) / sizeof(*bys); i++) {
        char query[QUERY_MAX];
        const cJSON *row;
        cJSON *json;

        (void)snprintf(query, sizeof(query), "month=2026-11&models=model-2%s", bys[i]);
        json = fixture_json(&f, "savings", query);
        for (int top = 1; top <= 64; top *= 4)
            check_first(query, json, top);
        cJSON_ArrayForEach(row, rows_of(json))
        {
            const char *rule = member(row, "rule")->valuestring;
            money_int cost = amount(row, "cost_usd"), saved = amount(row, "saving_usd");

            /* Its lines, however many of those of its model they are. */
            if (behind(row, "requests") != amount(row, "requests"))
                print_error("%s %s: %s\n", query, rule, member(row, "lines")->valuestring);
            assert_true(behind(row, "requests") == amount(row, "requests"));
            if (strcmp(rule, "cache") != 0) { /* a part of its lines' cost alone */
                if (behind(row, "cost_usd") != cost)
                    print_error("%s %s: %s\n", query, rule, member(row, "lines")->valuestring);
                assert_true(behind(row, "cost_usd") == cost);
            }
            assert_true(saved > 0 && saved <= cost);
            for (size_t k = 0; k < 5; k++)
                rules[k] += strcmp(rule, whole[k]) == 0;
            for (size_t k = 0; k < 4; k++)
                assert_true(strcmp(rule, whole[k]) != 0 || saved == cost);
        }
        cJSON_Delete(json);
    }
    for (size_t k = 0; k < 5; k++)
        assert_true(rules[k] > 0);
    book_free(book);
    fixture_close(&f);
}

/* ---- reconcile -------------------------------------------------------------------------- */

/* The ledger by day, model and class as a provider might tell it, some of it changed. */
static money_int make_invoice(struct buf *out)
{
    static const char *const models[] = {"gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5", "other"};
    money_int sum = 0;

    assert_int_equal(buf_printf(out, "date,model,token_class,quantity,cost_usd\n"), RC_OK);
    for (int d = 1; d <= 14; d++) {
        for (size_t m = 0; m < 4; m++) {
            char text[MONEY_TEXT];
            struct money cost = {(money_int)(any() >> 22) * (money_int)(any() % 999983)};

            if (any() % 5 == 0)
                continue;
            sum += cost.atto;
            money_format(cost, text);
            assert_int_equal(buf_printf(out, "2026-11-%02d,%s,%s,%u,%s\n", d, models[m],
                                        any() % 2 ? "input" : "output",
                                        (unsigned)(any() % 100000), text),
                             RC_OK);
        }
    }
    return sum;
}

/* Each line of the ledger is behind the rows of one day and model, which add up to it. */
static void follow_links(const cJSON *json, money_int metered)
{
    const char *seen = "";
    const cJSON *row;
    money_int sum = 0;

    cJSON_ArrayForEach(row, rows_of(json))
    {
        const cJSON *link = member(row, "lines");

        if (amount(row, "metered_cost_usd") > 0)
            assert_true(cJSON_IsString(link));
        if (!cJSON_IsString(link) || strcmp(member(row, "token_class")->valuestring, "other") == 0 ||
            strcmp(link->valuestring, seen) == 0)
            continue; /* rows of one day and model follow each other */
        seen = link->valuestring;
        sum += behind(row, "cost_usd");
    }
    assert_true(sum == metered);
}

static void test_reconcile(void **state)
{
    (void)state;
    for (uint64_t l = 0; l < 3; l++) {
        struct report_params params;
        char path[128];
        struct buf file;
        money_int invoiced, metered;
        const cJSON *row, *total;
        cJSON *json;
        FILE *to;

        any_ledger(&f, 17 + l, RECORDS);
        metered = total_of("spend", "month=2026-11", "cost_usd");
        buf_init(&file, 1 << 20);
        invoiced = make_invoice(&file);
        (void)snprintf(path, sizeof(path), "%s/invoice.csv", f.dir);
        to = fopen(path, "w");
        assert_non_null(to);
        assert_int_equal(fwrite(buf_view(&file).p, 1, buf_len(&file), to), buf_len(&file));
        assert_int_equal(fclose(to), 0);
        buf_release(&file);
        params_init(&params);
        params.format = FORMAT_JSON;
        assert_int_equal(params_set(&params, STRV("month"), STRV("2026-11"), &f.error), RC_OK);
        assert_int_equal(params_set(&params, STRV("import"), strv_z(path), &f.error), RC_OK);
        buf_clear(&f.out);
        assert_int_equal(report_run(STRV("reconcile"), &params, &f.sources, &f.out, &f.error),
                         RC_OK);
        params_release(&params);
        json = cJSON_ParseWithLength(buf_view(&f.out).p, buf_len(&f.out));
        assert_non_null(json);
        total = member(json, "total");
        assert_true(amount(total, "metered_cost_usd") == metered);
        assert_true(amount(total, "invoiced_cost_usd") == invoiced);
        assert_true(amount(total, "difference_usd") == invoiced - metered);
        assert_true(sum_of(json, "difference_usd") == invoiced - metered);
        assert_true(sum_of(json, "unexplained_usd") == amount(total, "unexplained_usd"));
        cJSON_ArrayForEach(row, rows_of(json))
        {
            assert_true(amount(row, "difference_usd") ==
                        amount(row, "invoiced_cost_usd") - amount(row, "metered_cost_usd"));
            assert_true(cJSON_IsString(member(row, "class")));
        }
        follow_links(json, metered);
        cJSON_Delete(json);
        fixture_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forecast),       cmocka_unit_test(test_digest),
        cmocka_unit_test(test_unit_economics), cmocka_unit_test(test_anomalies),
        cmocka_unit_test(test_causes),
        cmocka_unit_test(test_budgets),        cmocka_unit_test(test_savings),
        cmocka_unit_test(test_reconcile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
