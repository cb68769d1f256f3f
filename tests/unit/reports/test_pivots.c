/*
 * Every report over random ledgers: whatever it groups by, its rows sum to its total and
 * its total to the ledger, to the last digit, in every format and at every precision; and the
 * lines that a row links to are what it is made of.
 */
#include "reports/csv.h"
#include "tests/unit/reports/any.h"

enum { RECORDS = 300, LEDGERS = 2, QUERY_MAX = 4096 };

static struct fixture f;
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
    {"tasks&top=2", {"team", "team,feature", "customer", ""}},
    {"spend&top=3", {"team,model", "customer,feature,team", "task", ""}},
    {"spend&top=2&grain=week", {"team,model", "team", "customer,task", ""}},
    {"requests&top=2", {"team,model", "outcome,team", "customer", ""}},
    {"models", {"", "team", "environment", "key"}},
    {"token-bands", {"", "team", "model", "customer"}},
    {"spend&grain=hour", {"team", "token_band", "customer,team", ""}},
    {"requests&grain=hour", {"team", "customer,team", "", ""}},
    {"models&grain=hour", {"team", "customer", "", ""}},
    {"token-bands&grain=hour", {"team", "customer", "", ""}},
    {"tasks", {"team,task,customer,feature", "", "", ""}},
    {"waste", {"team,feature,customer,model", "", "", ""}},
    {"waste", {"", "team", "feature", "task"}},
    {"untagged", {"", "", "", ""}},
    {"rate-card", {"", "", "", ""}},
    {"variance", {"", "team", "feature,environment", "customer"}},
    {"variance&top=1", {"team", "feature,environment", "customer", "task,model"}},
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

/* The lines as they stand there add up to their total. */
static void sum_of_lines(const cJSON *json, const char *name)
{
    const cJSON *row;
    money_int sum = 0;

    cJSON_ArrayForEach(row, rows_of(json)) sum += amount(row, name);
    assert_true(sum == amount(member(json, "total"), name));
}

/* The lines behind a row have its cost, and its requests where it counts them. */
static void follow(const cJSON *row, const char *report)
{
    const cJSON *link = member(row, "lines"), *requests, *total;
    const char *question, *charged;
    cJSON *json;

    /* What had nothing in this period has no lines in it. */
    if (!cJSON_IsString(link) && strcmp(report, "spend") == 0 && amount(row, "requests") == 0)
        return;
    if (!cJSON_IsString(link)) {
        char *text = cJSON_PrintUnformatted(row);
        print_error("%s: no lines: %s\n", report, text);
        free(text);
    }
    assert_true(cJSON_IsString(link));
    question = strchr(link->valuestring, '?');
    assert_non_null(question);
    json = fixture_json(&f, "lines", question + 1);
    total = member(json, "total");
    /* Of a price, only what the lines were charged of it. */
    charged = cJSON_GetObjectItemCaseSensitive(total, "charged_usd") ? "charged_usd" : "cost_usd";
    assert_true(strcmp(report, "rate-card") != 0 || cJSON_IsNull(member(row, "cost_usd")) ||
                strcmp(charged, "charged_usd") == 0);
    if (amount(total, charged) != amount(row, "cost_usd"))
        print_error("%s: %s\n", report, link->valuestring);
    assert_true(amount(total, charged) == amount(row, "cost_usd"));
    sum_of_lines(json, charged);
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
        if (strcmp(report, "lines") != 0 && strcmp(report, "variance") != 0 &&
            links++ < (strcmp(report, "waste") == 0 ? 40 : 5))
            follow(row, report);
    }
    assert_true(sum == want);
    cJSON_Delete(json);
}

/* The same of CSV, which has no row of the total. */
static void check_csv(const char *name, const char *by, const char *where, money_int want)
{
    char report[32], query[QUERY_MAX];
    const char *more;
    struct csv_fault fault;
    struct csv csv;
    money_int sum = 0;
    size_t at;

    split_name(name, report, sizeof(report), &more);
    (void)snprintf(query, sizeof(query), "month=2026-11&format=csv%s%s%s%s", more, where,
                   *by ? "&by=" : "", by);
    assert_int_equal(fixture_run(&f, report, query), RC_OK);
    assert_int_equal(csv_parse(buf_view(&f.out), &csv, &fault), RC_OK);
    at = csv_column(&csv, "cost_usd");
    assert_true(at < csv.n_columns);
    for (size_t i = 0; i < csv.n_rows; i++) {
        struct money m;

        if (csv_field(&csv, i, at).n == 0)
            continue;
        assert_int_equal(money_parse(csv_field(&csv, i, at), &m), RC_OK);
        sum += m.atto;
    }
    if (sum != want)
        print_error("%s?%s\n", report, query);
    assert_true(sum == want);
    csv_release(&csv);
}

/* Text of the cell of a line of a page, which is one row; false where it has so many not. */
static bool cell_of(struct strv line, const char *tag, size_t at, struct strv *out)
{
    const char *p = line.p, *end = line.p + line.n, *stop;

    for (size_t i = 0; i <= at; i++) {
        p = memmem(p, (size_t)(end - p), tag, strlen(tag));
        if (!p)
            return false;
        p += strlen(tag);
    }
    while (p < end) { /* behind the tags that open it */
        p = memchr(p, '>', (size_t)(end - p));
        if (!p)
            return false;
        if (++p < end && *p != '<')
            break;
    }
    stop = p < end ? memchr(p, '<', (size_t)(end - p)) : NULL;
    *out = stop ? strv_make(p, (size_t)(stop - p)) : STRV("");
    return true;
}

/* The foot of a page's table is its total; what is shown above must sum to it. */
static void check_page(const char *name, const char *by, const char *title, unsigned precision)
{
    char report[32], query[QUERY_MAX];
    const char *more;
    struct strv text, line, cell;
    money_int sum = 0, last = 0;
    size_t at = SIZE_MAX, lines = 0;

    split_name(name, report, sizeof(report), &more);
    (void)snprintf(query, sizeof(query), "month=2026-11%s%s%s&format=html&precision=%u", more,
                   *by ? "&by=" : "", by, precision);
    assert_int_equal(fixture_run(&f, report, query), RC_OK);
    text = buf_view(&f.out);
    while (strv_split(&text, '\n', &line)) {
        struct money m;

        for (size_t i = 0; at == SIZE_MAX && cell_of(line, "<th", i, &cell); i++) {
            if (strv_eq(cell, strv_z(title)))
                at = i - 1; /* "<thead>" is the first */
        }
        if (at == SIZE_MAX || !cell_of(line, "<td", at, &cell) || money_parse(cell, &m) != RC_OK)
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

/* The last line of a table is its total; the column of that title must sum to it as shown. */
static void check_shown(const char *name, const char *by, const char *column, unsigned precision)
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

        title = end ? NULL : memmem(line.p, line.n, column, strlen(column));
        if (title) {
            end = (size_t)(title - line.p) + strlen(column);
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
        any_ledger(&f, 1000003 * (l + 1), RECORDS);
        for (size_t w = 0; w < sizeof(wheres) / sizeof(*wheres); w++) {
            money_int want = ledger_cost(wheres[w]);

            assert_true(want > 0);
            for (size_t i = 0; i < sizeof(reports) / sizeof(*reports); i++) {
                for (size_t k = 0; k < 4 && (k == 0 || reports[i].by[k][0]); k++) {
                    check(reports[i].name, reports[i].by[k], wheres[w], want);
                    check_csv(reports[i].name, reports[i].by[k], wheres[w], want);
                }
            }
        }
        fixture_close(&f);
    }
}

/* None, and one of which nothing is known but that it was. */
static void test_few_lines(void **state)
{
    (void)state;
    for (int n = 0; n < 2; n++) {
        fixture_open(&f);
        f.sources.state_dir = f.dir;
        if (n) {
            struct record r = fixture_record(at("2026-11-20T23:59:59.999999Z"));

            r.usage = (struct usage){.has = 0};
            r.usage_source = USAGE_NONE;
            r.price_status = PRICE_NONE;
            r.outcome = OUTCOME_TIMEOUT;
            r.status = 0;
            r.first_byte_us = -1;
            fixture_add(&f, &r);
        }
        fixture_flush(&f);
        for (size_t i = 0; i < sizeof(reports) / sizeof(*reports); i++) {
            for (size_t k = 0; k < 4 && (k == 0 || reports[i].by[k][0]); k++) {
                check(reports[i].name, reports[i].by[k], "", 0);
                check_csv(reports[i].name, reports[i].by[k], "", 0);
            }
        }
        fixture_close(&f);
    }
}

static void test_every_precision(void **state)
{
    /* Plain ASCII values only: columns are found by their place in the line. */
    static const struct {
        const char *name, *by, *column;
    } names[] = {
        {"spend", "model", "cost USD"},
        {"requests", "model", "cost USD"},
        {"models", "model", "cost USD"},
        {"waste", "model", "cost USD"},
        {"token-bands", "model", "cost USD"},
        {"spend&against=2026-10", "model", "cost USD"},
        {"tasks", "model", "cost USD"},
        {"rate-card", "", "cost USD"},
        {"untagged&where=team=search,billing", "", "cost USD"},
        {"lines", "", "cost USD"},
        {"statement&where=team=search,billing", "", "metered USD"},
        {"statement&where=team=search,billing", "", "amount USD"},
        {"allocation&where=team=search,billing", "", "metered USD"},
        {"variance", "model", "actual USD"},
        {"variance", "model", "variance USD"},
        {"variance", "model", "volume USD"},
        {"spend&against=2026-10", "model", "before USD"},
        {"spend&against=2026-10", "model", "change USD"},
        {"spend", "model", "list USD"},
    };

    (void)state;
    any_ledger(&f, 77, RECORDS);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        for (unsigned precision = 0; precision <= 12; precision++) {
            check_shown(names[i].name, names[i].by, names[i].column, precision);
            check_page(names[i].name, names[i].by, names[i].column, precision);
        }
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
    any_ledger(&f, 5, RECORDS);
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

/* All numbers of a row are those of another; and whether its key is. */
static void same_numbers(const cJSON *row, const cJSON *as)
{
    static const char *const names[] = {"base_requests", "requests",       "base_cost_usd",
                                        "cost_usd",      "variance_usd",   "variance_ratio",
                                        "volume_usd",    "mix_usd",        "efficiency_usd",
                                        "price_usd",     "unexplained_usd"};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (!cJSON_Compare(member(row, names[i]), member(as, names[i]), true))
            print_error("%s: %s\n", names[i], cJSON_PrintUnformatted(row));
        assert_true(cJSON_Compare(member(row, names[i]), member(as, names[i]), true));
    }
}

/* A value as a condition of a query has it; returns where it ends. */
static int put_value(char *query, int at_n, const cJSON *value)
{
    if (!cJSON_IsString(value))
        return at_n + snprintf(query + at_n, QUERY_MAX - (size_t)at_n, "(untagged)");
    for (const char *c = value->valuestring; *c; c++) {
        at_n += snprintf(query + at_n, QUERY_MAX - (size_t)at_n, "%s%%%02X",
                         *c == ',' || *c == '\\' ? "%5C" : "", (unsigned char)*c);
        assert_true(at_n < QUERY_MAX);
    }
    return at_n;
}

/* Of more scopes than are all explained, what a variance with `top` leaves out is one: all else. */
static void check_variance_top(const char *by, const char *more, int top)
{
    char query[QUERY_MAX], others[QUERY_MAX];
    cJSON *all, *some, *rest;
    const cJSON *row;
    int n = 0, at_n;

    (void)snprintf(query, sizeof(query), "month=2026-11&by=%s%s", by, more);
    all = fixture_json(&f, "variance", query);
    (void)snprintf(query, sizeof(query), "month=2026-11&by=%s%s&top=%d", by, more, top);
    some = fixture_json(&f, "variance", query);
    at_n = snprintf(others, sizeof(others), "month=2026-11%s&where=%s!=", more, by);
    assert_int_equal(cJSON_GetArraySize(rows_of(some)),
                     cJSON_GetArraySize(rows_of(all)) > top ? top + 1
                                                            : cJSON_GetArraySize(rows_of(all)));
    assert_true(cJSON_Compare(member(all, "data_quality"), member(some, "data_quality"), true));
    cJSON_ArrayForEach(row, rows_of(some))
    {
        const cJSON *own = member(row, by), *as = cJSON_GetArrayItem(rows_of(all), n);

        if (n++ == top)
            break;
        assert_true(cJSON_Compare(own, member(as, by), true));
        same_numbers(row, as);
        if (n > 1)
            at_n += snprintf(others + at_n, sizeof(others) - (size_t)at_n, ",");
        at_n = put_value(others, at_n, own);
    }
    if (cJSON_GetArraySize(rows_of(all)) > top) {
        rest = fixture_json(&f, "variance", others);
        assert_int_equal(cJSON_GetArraySize(rows_of(rest)), 1);
        same_numbers(row, cJSON_GetArrayItem(rows_of(rest), 0));
        cJSON_Delete(rest);
    }
    sum_of_lines(some, "cost_usd");
    sum_of_lines(some, "variance_usd");
    sum_of_lines(some, "volume_usd");
    sum_of_lines(some, "mix_usd");
    sum_of_lines(some, "efficiency_usd");
    sum_of_lines(some, "price_usd");
    assert_true(cJSON_Compare(member(member(all, "total"), "variance_usd"),
                              member(member(some, "total"), "variance_usd"), true));
    cJSON_Delete(all);
    cJSON_Delete(some);
}

static const char *const effects[] = {"volume_usd", "mix_usd", "efficiency_usd", "price_usd",
                                      "unexplained_usd"};
enum { EFFECTS = sizeof(effects) / sizeof(*effects) };

/* A variance of so many rows (0: of all, without `top`), where at most scopes_max scopes are all explained. */
static cJSON *variance_by(const char *by, int top, int scopes_max)
{
    char query[QUERY_MAX];

    (void)snprintf(query, sizeof(query), top ? "month=2026-11&by=%s&top=%d" : "month=2026-11&by=%s",
                   by, top);
    f.sources.variance_scopes = (size_t)scopes_max;
    return fixture_json(&f, "variance", query);
}

/* Of as many scopes as are all explained, `top` changes neither the total nor what the rest sums to. */
static void check_explained(const char *by, int top, int scopes_max, const cJSON *all)
{
    int n = cJSON_GetArraySize(rows_of(all)), at_n = 0;
    cJSON *some = variance_by(by, top, scopes_max);
    money_int other[EFFECTS] = {0};
    const cJSON *row;

    same_numbers(member(some, "total"), member(all, "total"));
    assert_int_equal(cJSON_GetArraySize(rows_of(some)), n > top ? top + 1 : n);
    cJSON_ArrayForEach(row, rows_of(all))
    {
        if (at_n++ < top)
            same_numbers(cJSON_GetArrayItem(rows_of(some), at_n - 1), row);
        for (size_t e = 0; at_n > top && e < EFFECTS; e++)
            other[e] += amount(row, effects[e]);
    }
    for (size_t e = 0; n > top && e < EFFECTS; e++)
        assert_true(amount(cJSON_GetArrayItem(rows_of(some), top), effects[e]) == other[e]);
    cJSON_Delete(some);
}

static void test_variance_scopes(void **state)
{
    static const char *const bys[] = {"team", "customer", "task", "feature", "team,model"};
    size_t differ = 0;

    (void)state;
    any_ledger(&f, 23, RECORDS);
    f.sources.now_us = at("2026-12-05T00:00:00Z");
    for (size_t i = 0; i < sizeof(bys) / sizeof(*bys); i++) {
        cJSON *all = variance_by(bys[i], 0, 1), *more;
        int n = cJSON_GetArraySize(rows_of(all));

        assert_true(n > 1);
        for (int top = 1; top <= n + 1; top++) {
            check_explained(bys[i], top, n, all);
            check_explained(bys[i], top, 0, all);
        }
        check_explained(bys[i], n, n - 1, all); /* nothing is left out */
        more = variance_by(bys[i], 1, n - 1);
        for (size_t e = 0; e < EFFECTS; e++)
            differ += amount(member(more, "total"), effects[e]) !=
                      amount(member(all, "total"), effects[e]);
        cJSON_Delete(more);
        cJSON_Delete(all);
    }
    assert_true(differ > 0); /* one more scope than are all explained: (other) is one */
    fixture_close(&f);
}

static void test_variance_top(void **state)
{
    static const char *const bys[] = {"team", "task", "customer", "model", "user", "feature"};
    static const char *const mores[] = {"", "&where=team!=nobody"};
    char conditions[LEDGER_CONDITIONS_MAX * 32] = "";

    (void)state;
    any_ledger(&f, 23, RECORDS);
    f.sources.now_us = at("2026-12-05T00:00:00Z");
    f.sources.variance_scopes = 1;
    /* One fewer than there may be: the question for all others has its own. */
    for (int i = 1; i < LEDGER_CONDITIONS_MAX; i++)
        (void)snprintf(conditions + strlen(conditions), sizeof(conditions) - strlen(conditions), "%s",
                       "&where=team!=nobody");
    for (size_t i = 0; i < sizeof(bys) / sizeof(*bys); i++) {
        for (int top = 1; top <= 3; top++) {
            for (size_t k = 0; k < sizeof(mores) / sizeof(*mores); k++)
                check_variance_top(bys[i], mores[k], top);
        }
        check_variance_top(bys[i], conditions, 1);
    }
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pivots),
        cmocka_unit_test(test_few_lines),
        cmocka_unit_test(test_every_precision),
        cmocka_unit_test(test_against),
        cmocka_unit_test(test_variance_top),
        cmocka_unit_test(test_variance_scopes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
