#include "reports/sheet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <cJSON.h>

#include "base/zone.h"
#include "reports/render.h"
#include "tests/unit/unit.h"

enum { ROUNDS = 400, ROWS_MAX = 40 };

/* A generator of our own: the same cases on every machine. */
static uint64_t seed = 1;

static uint64_t next(void)
{
    seed += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Credits too: of some tables all, of others one among many. */
static money_int any_amount(int round)
{
    money_int atto = (money_int)(next() % 1000000000000) * (money_int)(next() % 1000000000 + 1);
    bool is_credit = round % 7 == 3 || (round % 7 == 5 && next() % 9 == 0);

    atto = next() % 8 == 0 ? 0 : atto >> (next() % 60);
    return is_credit ? -atto : atto;
}

static void test_divide_even(void **state)
{
    static const struct {
        int num, den, want;
    } cases[] = {{1, 2, 0},   {3, 2, 2}, {5, 2, 2}, {7, 2, 4},   {-1, 2, 0}, {-3, 2, -2},
                 {-5, 2, -2}, {1, 3, 0}, {2, 3, 1}, {-2, 3, -1}, {9, 3, 3},  {0, 7, 0}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal((int)divide_even(cases[i].num, cases[i].den), cases[i].want);
}

/* Portions sum to the units, and each is its exact share rounded down or up. */
static void test_apportion(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        money_int weights[ROWS_MAX], out[ROWS_MAX], total = 0, sum = 0;
        size_t n = 1 + next() % ROWS_MAX;
        money_int units = (money_int)(next() % 1000000);

        for (size_t i = 0; i < n; i++)
            total += weights[i] = (money_int)(next() % 100000);
        apportion(weights, n, total, units, out);
        for (size_t i = 0; i < n; i++) {
            money_int low = total ? weights[i] * units / total : 0;
            assert_true(out[i] == low || out[i] == low + 1);
            assert_true(out[i] == low || weights[i] * units % total != 0);
            sum += out[i];
        }
        assert_true(sum == (total ? units : 0));
    }
}

static void test_apportion_ties_and_sizes(void **state)
{
    const money_int equal[3] = {1, 1, 1}, large[2] = {1, 3};
    money_int huge[3], out[3];
    money_int ten37 = 1;

    (void)state;
    apportion(equal, 3, 3, 10, out); /* ties: the earlier */
    assert_true(out[0] == 4 && out[1] == 3 && out[2] == 3);
    apportion(large, 2, 4, 2, out); /* remainders are equal: the larger */
    assert_true(out[0] == 0 && out[1] == 2);
    for (int i = 0; i < 36; i++)
        ten37 *= 10;
    huge[0] = ten37;
    huge[1] = ten37;
    huge[2] = 2 * ten37;
    apportion(huge, 3, 4 * ten37, 1000000, out);
    assert_true(out[0] == 250000 && out[1] == 250000 && out[2] == 500000);
}

static void test_ratio_format(void **state)
{
    static const struct {
        int num, den;
        unsigned decimals;
        const char *want;
    } cases[] = {{1, 3, 6, "0.333333"}, {2, 3, 6, "0.666667"}, {1, 1, 2, "1.00"},
                 {1, 8, 2, "0.12"},     {3, 8, 2, "0.38"},     {0, 5, 3, "0.000"},
                 {-1, 3, 2, "-0.33"},   {199, 100, 0, "2"},    {1999, 1000, 2, "2.00"}};
    char text[CELL_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ratio_format((struct ratio){cases[i].num, cases[i].den}, cases[i].decimals, text);
        assert_string_equal(text, cases[i].want);
    }
}

static void test_money_format_fixed(void **state)
{
    static const struct {
        const char *amount;
        unsigned decimals;
        const char *want;
    } cases[] = {{"1.005", 2, "1.00"},  {"1.015", 2, "1.02"},
                 {"0.5", 0, "0"},       {"1.5", 0, "2"},
                 {"-0.005", 2, "0.00"}, {"-0.015", 2, "-0.02"},
                 {"12", 4, "12.0000"},  {"0.000000000000000001", 18, "0.000000000000000001"}};
    struct money m;
    char text[CELL_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(money_parse(strv_z(cases[i].amount), &m), RC_OK);
        money_format_fixed(m, cases[i].decimals, text);
        assert_string_equal(text, cases[i].want);
    }
}

/* ---- tables --------------------------------------------------------------------------- */

static struct zone *utc;

static struct sheet_head head_of(bool has_precision, unsigned precision)
{
    static const struct strv by[1] = {{"team", 4}};

    return (struct sheet_head){.report = "spend",
                               .title = "Spend",
                               .from_us = INT64_C(1793491200) * 1000000,
                               .to_us = INT64_C(1796083200) * 1000000,
                               .zone = utc,
                               .as_of_us = INT64_C(1793500000) * 1000000,
                               .by = by,
                               .n_by = 1,
                               .has_precision = has_precision,
                               .precision = precision};
}

enum { T_TEAM, T_COUNT, T_COST, T_SHARE, T_RATIO };

static void random_table(struct sheet *t)
{
    static int round;
    size_t n = next() % ROWS_MAX;
    struct money cost = {0};
    uint64_t count = 0;

    round++;
    sheet_init(t);
    sheet_column(t, "team", "team", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "requests", "requests", COLUMN_COUNT, COLUMN_ADDS);
    sheet_column(t, "cost_usd", "cost USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_share(t, "share", "share", T_COST);
    sheet_column(t, "error_ratio", "error", COLUMN_RATIO, COLUMN_PER_CENT);
    for (size_t i = 0; i < n; i++) {
        char name[32];
        struct cell *row;
        uint64_t requests = next() % 1000;
        struct money amount = {any_amount(round)};
        assert_int_equal(sheet_row(t, &row), RC_OK);
        (void)snprintf(name, sizeof(name), "team %zu", i);
        assert_int_equal(sheet_text(t, strv_z(name), &row[T_TEAM]), RC_OK);
        row[T_COUNT] = cell_count(requests);
        row[T_RATIO] = cell_ratio(next() % 10, (money_int)(next() % 10));
        count += requests;
        if (next() % 10 == 0)
            continue; /* cost unknown */
        row[T_COST] = cell_money(amount);
        cost = money_add(cost, amount);
    }
    t->total[T_COUNT] = cell_count(count);
    t->total[T_COST] = cell_money(cost);
    t->total[T_RATIO] = cell_ratio(0, 0);
}

static struct money parse(struct strv text)
{
    struct money m;

    assert_int_equal(money_parse(text, &m), RC_OK);
    return m;
}

/* "12.34 %" as hundredths; "-" and "" as 0. */
static money_int per_cent(struct strv text)
{
    struct money m;

    if (!strv_ends(text, STRV(" %")))
        return 0;
    m = parse(strv_head(text, text.n - 2));
    return m.atto / 10000000000000000;
}

/* Whatever the precision: the rows shown sum to the total shown. */
static void test_shown_rows_sum_to_the_shown_total(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct sheet_head head = head_of(round % 8 != 0, (unsigned)(next() % 19));
        const char *wrong;
        struct sheet t;
        struct shown s;
        struct money sum = {0};
        money_int shares = 0;

        random_table(&t);
        assert_int_equal(sheet_finish(&t, &wrong), RC_OK);
        assert_int_equal(shown_init(&s, &t, &head), RC_OK);
        for (size_t i = 0; i < t.n_rows; i++) {
            struct strv text = s.text[i * t.n_columns + T_COST];
            if (sheet_cells(&t, i)[T_COST].known)
                sum = money_add(sum, parse(text));
            else
                assert_true(strv_eq(text, STRV("-")));
            shares += per_cent(s.text[i * t.n_columns + T_SHARE]);
        }
        assert_true(money_cmp(sum, parse(s.text[t.n_rows * t.n_columns + T_COST])) == 0);
        if (t.total[T_COST].money.atto)
            assert_true(shares == 10000);
        shown_fini(&s);
        sheet_release(&t);
    }
}

static void test_a_wrong_total_is_found(void **state)
{
    const char *wrong = "";
    struct sheet t;

    (void)state;
    do {
        random_table(&t);
        if (t.n_rows == 0)
            sheet_release(&t);
    } while (t.n_rows == 0);
    t.total[T_COST].money.atto++;
    assert_int_equal(sheet_finish(&t, &wrong), RC_STATE);
    assert_string_equal(wrong, "cost_usd");
    sheet_release(&t);
}

static const cJSON *member(const cJSON *object, const char *name)
{
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(object, name);

    assert_non_null(found);
    return found;
}

/* What is written reads back as what the table holds. */
static void test_json_reads_back(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        struct sheet_head head = head_of(false, 0);
        const char *wrong;
        struct sheet t;
        struct buf out;
        cJSON *json;
        const cJSON *rows;
        int64_t millionths = 0;

        buf_init(&out, 1 << 20);
        random_table(&t);
        assert_int_equal(sheet_finish(&t, &wrong), RC_OK);
        assert_int_equal(render_json(&t, &head, &out), RC_OK);
        json = cJSON_ParseWithLength(buf_view(&out).p, buf_len(&out));
        assert_non_null(json);
        assert_string_equal(member(json, "report")->valuestring, "spend");
        assert_string_equal(member(json, "from")->valuestring, "2026-11-01T00:00:00Z");
        assert_string_equal(member(json, "to")->valuestring, "2026-12-01T00:00:00Z");
        assert_string_equal(member(json, "timezone")->valuestring, "UTC");
        assert_true(cJSON_IsString(member(json, "as_of")));
        assert_string_equal(cJSON_GetArrayItem(member(json, "by"), 0)->valuestring, "team");
        rows = member(json, "rows");
        assert_int_equal(cJSON_GetArraySize(rows), t.n_rows);
        for (size_t i = 0; i < t.n_rows; i++) {
            const cJSON *row = cJSON_GetArrayItem(rows, (int)i);
            const struct cell *cells = sheet_cells(&t, i);
            const cJSON *cost = member(row, "cost_usd"), *ratio = member(row, "error_ratio");
            assert_true(strv_eq(strv_z(member(row, "team")->valuestring), cells[T_TEAM].text));
            assert_true(member(row, "requests")->valueint == (int)cells[T_COUNT].count);
            assert_int_equal(cJSON_IsNull(cost), !cells[T_COST].known);
            if (cells[T_COST].known)
                assert_true(money_cmp(parse(strv_z(cost->valuestring)), cells[T_COST].money) ==
                            0);
            assert_int_equal(cJSON_IsNull(ratio), cells[T_RATIO].ratio.den == 0);
            if (cJSON_IsNumber(member(row, "share")))
                millionths += llround(member(row, "share")->valuedouble * 1e6);
        }
        if (t.total[T_COST].money.atto)
            assert_int_equal(millionths, 1000000);
        assert_false(cJSON_HasObjectItem(member(json, "total"), "team"));
        cJSON_Delete(json);
        buf_release(&out);
        sheet_release(&t);
    }
}

static void test_csv(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"plain", "plain"},
        {"a,b", "\"a,b\""},
        {"say \"hi\"", "\"say \"\"hi\"\"\""},
        {"=1+1", "'=1+1"},
        {"+1", "'+1"},
        {"-1", "'-1"},
        {"@SUM(A1)", "'@SUM(A1)"},
        {"\tx", "'\tx"},
        {"\rx", "\"'\rx\""},
        {"=1,\"2\"", "\"'=1,\"\"2\"\"\""},
        {"a\nb", "\"a\nb\""},
        {"\xc3\xa9", "\xc3\xa9"},
        {"a=b", "a=b"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char want[128];
        struct sheet t;
        struct cell *row;
        struct buf out;
        buf_init(&out, 4096);
        sheet_init(&t);
        sheet_column(&t, "team", "team", COLUMN_TEXT, COLUMN_KEY);
        sheet_column(&t, "cost_usd", "cost", COLUMN_MONEY, COLUMN_ADDS);
        assert_int_equal(sheet_row(&t, &row), RC_OK);
        assert_int_equal(sheet_text(&t, strv_z(cases[i].text), &row[0]), RC_OK);
        row[1] = cell_money((struct money){-1});
        assert_int_equal(render_csv(&t, false, &out), RC_OK);
        (void)snprintf(want, sizeof(want), "team,cost_usd\r\n%s,-0.000000000000000001\r\n",
                       cases[i].want);
        assert_true(strv_eq(buf_view(&out), strv_z(want)));
        buf_release(&out);
        sheet_release(&t);
    }
}

static void text_table(struct sheet *t, const char *name)
{
    struct cell *row;

    sheet_init(t);
    sheet_column(t, "team", "team", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "requests", "requests", COLUMN_COUNT, COLUMN_ADDS);
    sheet_column(t, "cost_usd", "cost USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "rare", "rare", COLUMN_COUNT, COLUMN_ADDS | COLUMN_SPARSE);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(sheet_row(t, &row), RC_OK);
        assert_int_equal(sheet_text(t, strv_z(name), &row[0]), RC_OK);
        row[1] = cell_count(5);
        row[2] = cell_money((struct money){(money_int)1000000000000000000 / 3});
    }
    t->total[1] = cell_count(15);
    t->total[2] = cell_money((struct money){3 * ((money_int)1000000000000000000 / 3)});
}

static void test_table_for_people(void **state)
{
    static const char want[] =
        "Spend  2026-11-01 .. 2026-12-01 UTC  as of 2026-11-01T02:26:40Z\n"
        "\n"
        "team   requests  cost USD\n"
        "\xc3\xa9?[1m         5      0.34\n"
        "\xc3\xa9?[1m         5      0.33\n"
        "\xc3\xa9?[1m         5      0.33\n"
        "-------------------------\n"
        "total        15      1.00\n";
    struct sheet_head head = head_of(true, 2);
    struct sheet t;
    struct buf out;

    (void)state;
    text_table(&t, "\xc3\xa9\033[1m");
    buf_init(&out, 4096);
    assert_int_equal(render_table(&t, &head, false, &out), RC_OK);
    if (!strv_eq(buf_view(&out), strv_z(want)))
        print_error("%.*s", STRV_ARG(buf_view(&out)));
    assert_true(strv_eq(buf_view(&out), strv_z(want)));
    buf_clear(&out);
    assert_int_equal(render_table(&t, &head, true, &out), RC_OK);
    assert_non_null(memmem(buf_view(&out).p, buf_len(&out), "\033[1mSpend\033[0m", 13));
    buf_release(&out);
    sheet_release(&t);
}

static void test_html_is_escaped(void **state)
{
    struct sheet_head head = head_of(true, 2);
    struct sheet t;
    struct buf out;
    struct strv page;

    (void)state;
    text_table(&t, "<script>alert('1')&\"");
    buf_init(&out, 1 << 16);
    assert_int_equal(render_html(&t, &head, &out), RC_OK);
    page = buf_view(&out);
    assert_null(memmem(page.p, page.n, "<script", 7));
    assert_non_null(memmem(page.p, page.n, "&lt;script&gt;alert(&#39;1&#39;)&amp;&quot;", 43));
    buf_release(&out);
    sheet_release(&t);
}

static void test_sort(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        bool ascending = round & 1;
        struct sheet t;
        random_table(&t);
        sheet_sort(&t, t.n_rows, T_COST, ascending);
        for (size_t i = 1; i < t.n_rows; i++) {
            const struct cell *a = sheet_cells(&t, i - 1) + T_COST;
            const struct cell *b = sheet_cells(&t, i) + T_COST;
            assert_true(a->known || !b->known);
            if (a->known && b->known)
                assert_true(ascending ? money_cmp(a->money, b->money) <= 0
                                      : money_cmp(a->money, b->money) >= 0);
        }
        sheet_release(&t);
    }
}

static int setup(void **state)
{
    (void)state;
    utc = zone_open("UTC");
    return utc ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    zone_close(utc);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_divide_even),
        cmocka_unit_test(test_apportion),
        cmocka_unit_test(test_apportion_ties_and_sizes),
        cmocka_unit_test(test_ratio_format),
        cmocka_unit_test(test_money_format_fixed),
        cmocka_unit_test(test_shown_rows_sum_to_the_shown_total),
        cmocka_unit_test(test_a_wrong_total_is_found),
        cmocka_unit_test(test_json_reads_back),
        cmocka_unit_test(test_csv),
        cmocka_unit_test(test_table_for_people),
        cmocka_unit_test(test_html_is_escaped),
        cmocka_unit_test(test_sort),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
