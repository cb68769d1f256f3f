#include "reports/params.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/unit.h"

static struct zone *utc;
static struct buf error;

static int setup(void **state)
{
    (void)state;
    utc = zone_open("UTC");
    buf_init(&error, 4096);
    return utc ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    zone_close(utc);
    buf_release(&error);
    return 0;
}

static bool error_says(const char *text)
{
    struct strv said = buf_view(&error);

    return said.n && memmem(said.p, said.n, text, strlen(text)) != NULL;
}

/* Reads argv as the command line does. */
static enum rc read_arguments(struct report_params *p, int argc, const char *const *argv)
{
    char *copy[32];
    enum rc rc = RC_OK;
    int at = 0;

    buf_clear(&error);
    params_init(p);
    memcpy(copy, argv, (size_t)argc * sizeof(copy[0]));
    while (rc == RC_OK && at < argc)
        rc = params_argument(p, argc, copy, &at, &error);
    return rc;
}

static enum rc read_query(struct report_params *p, const char *query)
{
    buf_clear(&error);
    params_init(p);
    return params_query(p, strv_z(query), &error);
}

static bool conditions_equal(const struct ledger_condition *a, const struct ledger_condition *b)
{
    if (a->field.id != b->field.id || !strv_eq(a->field.tag, b->field.tag) || a->op != b->op ||
        a->n_values != b->n_values)
        return false;
    for (size_t i = 0; i < a->n_values; i++) {
        if (!strv_eq(a->values[i], b->values[i]))
            return false;
    }
    return true;
}

static void assert_same(const struct report_params *a, const struct report_params *b)
{
    assert_true(strv_eq(a->from, b->from) && strv_eq(a->to, b->to));
    assert_true(strv_eq(a->month, b->month) && strv_eq(a->last, b->last));
    assert_true(strv_eq(a->tz, b->tz) && strv_eq(a->sort, b->sort));
    assert_int_equal(a->grain, b->grain);
    assert_int_equal(a->format, b->format);
    assert_int_equal(a->top, b->top);
    assert_int_equal(a->ascending, b->ascending);
    assert_int_equal(a->precision, b->precision);
    assert_int_equal(a->cohort, b->cohort);
    assert_int_equal(a->n_by, b->n_by);
    for (size_t i = 0; i < a->n_by; i++)
        assert_true(strv_eq(ledger_field_name(&a->by[i]), ledger_field_name(&b->by[i])));
    assert_int_equal(a->n_where, b->n_where);
    for (size_t i = 0; i < a->n_where; i++)
        assert_true(conditions_equal(&a->where[i], &b->where[i]));
}

/* One table reads both: the same words mean the same. */
static void test_command_line_and_query_agree(void **state)
{
    static const struct {
        const char *argv[12];
        int argc;
        const char *query;
    } cases[] = {
        {{"--from", "2026-11-01", "--to", "2026-11-02"}, 4, "from=2026-11-01&to=2026-11-02"},
        {{"-f", "2026-11-01T00:00:00+01:00"}, 2, "from=2026-11-01T00%3A00%3A00%2B01:00"},
        {{"--month=2026-11", "--tz=Europe/Berlin"}, 2, "month=2026-11&tz=Europe/Berlin"},
        {{"-l7d", "-by"}, 1, "last=7d"},
        {{"--by", "team,feature", "-b", "model"}, 4, "by=team%2Cfeature&by=model"},
        {{"--where", "team=search,billing", "--where", "environment!=dev"},
         4,
         "where=team=search,billing&where=environment!%3Ddev"},
        {{"--where", "model~gpt-*"}, 2, "where=model~gpt-*"},
        {{"--where", "team=a\\,b,c"}, 2, "where=team%3Da%5C%2Cb%2Cc"},
        {{"--where", "feature=two words"}, 2, "where=feature=two+words"},
        {{"--grain", "week", "--format", "csv", "--top", "5", "--sort", "cost_usd:asc"},
         8,
         "grain=week&format=csv&top=5&sort=cost_usd:asc"},
        {{"--precision", "exact", "--cohort", "closed"}, 4, "precision=exact&cohort=closed"},
        {{"-o", "json", "-n", "3", "-s", "team", "-p", "2", "-g", "day", "-z", "UTC"},
         12,
         "format=json&top=3&sort=team&precision=2&grain=day&tz=UTC"},
        {{NULL}, 0, ""},
        {{NULL}, 0, "&&"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct report_params a, b;
        assert_int_equal(read_arguments(&a, cases[i].argc, cases[i].argv), RC_OK);
        assert_int_equal(read_query(&b, cases[i].query), RC_OK);
        assert_same(&a, &b);
        params_release(&a);
        params_release(&b);
    }
}

static void test_values(void **state)
{
    struct report_params p;

    (void)state;
    assert_int_equal(read_query(&p, "where=team=a\\,b,(untagged),"), RC_OK);
    assert_int_equal(p.n_where, 1);
    assert_int_equal(p.where[0].field.id, FIELD_TEAM);
    assert_int_equal(p.where[0].n_values, 3);
    assert_true(strv_eq(p.where[0].values[0], STRV("a,b")));
    assert_int_equal(p.where[0].values[1].n, 0);
    assert_int_equal(p.where[0].values[2].n, 0);
    params_release(&p);
    /* What is escaped is meant as it is; a lone backslash at the end too. */
    assert_int_equal(read_query(&p, "where=team=\\(untagged),\\\\,x;y,\\"), RC_OK);
    assert_int_equal(p.where[0].n_values, 4);
    assert_true(strv_eq(p.where[0].values[0], STRV("(untagged)")));
    assert_true(strv_eq(p.where[0].values[1], STRV("\\")));
    assert_true(strv_eq(p.where[0].values[2], STRV("x;y")));
    assert_true(strv_eq(p.where[0].values[3], STRV("\\")));
    params_release(&p);
    assert_int_equal(read_query(&p, "only=team,model=b\\;c,(untagged);a\\,b,\\(untagged)"), RC_OK);
    assert_int_equal(p.only.n, 2);
    assert_true(strv_eq(p.only.value[0], STRV("a,b")));
    assert_true(strv_eq(p.only.value[1], STRV("(untagged)")));
    assert_true(strv_eq(p.only.value[2], STRV("b;c")));
    assert_int_equal(p.only.value[3].n, 0);
    params_release(&p);
    assert_int_equal(read_query(&p, "only=team,model=a,b,c"), RC_BAD);
    params_release(&p);
    assert_int_equal(read_query(&p, "where=squad!=x&by=tag:temas,squad"), RC_OK);
    assert_int_equal(p.where[0].op, LEDGER_NE);
    assert_int_equal(p.where[0].field.id, FIELD_TAG);
    assert_int_equal(p.by[0].id, FIELD_TAG);
    assert_true(strv_eq(ledger_field_name(&p.by[0]), STRV("temas")));
    params_release(&p);
}

/* What is wrong is named, with the nearest that is known. */
static void test_errors(void **state)
{
    static const struct {
        const char *query, *says[3];
    } cases[] = {
        {"form=json", {"form", "\"from\""}},
        {"formatt=json", {"formatt", "\"format\""}},
        {"nothing=1", {"nothing", "grain"}},
        {"format=jsn", {"jsn", "\"json\""}},
        {"format=yaml", {"yaml", "table, csv, json, html"}},
        {"grain=dya", {"dya", "\"day\""}},
        {"grain=minute", {"minute", "hour"}},
        {"by=teem", {"teem", "\"team\"", "tag:teem"}},
        {"by=environmnt", {"environmnt", "\"environment\""}},
        {"by=team,team", {"team", "twice"}},
        {"by=Team", {"Team", "no name"}},
        {"by=a,b,c,d,e,f,g,h,i", {"too many"}},
        {"where=team", {"team", "no condition"}},
        {"where=teem=a", {"teem", "\"team\""}},
        {"where==a", {"no name"}},
        {"top=0", {"top", "0"}},
        {"top=-1", {"top", "-1"}},
        {"top=99999999999999999999", {"top"}},
        {"top=1&top=2", {"top", "twice"}},
        {"month=2026-11&month=2026-10", {"month", "twice"}},
        {"from=", {"from", "needs a value"}},
        {"precision=19", {"precision", "19"}},
        {"cohort=open", {"cohort", "open"}},
        {"from=%zz", {"form-encoded"}},
        {"from=%00", {"form-encoded"}},
        {"from=%2", {"form-encoded"}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct report_params p;
        assert_int_equal(read_query(&p, cases[i].query), RC_BAD);
        for (size_t k = 0; k < 3 && cases[i].says[k]; k++) {
            if (!error_says(cases[i].says[k]))
                print_error("%s: %.*s\n", cases[i].query, STRV_ARG(buf_view(&error)));
            assert_true(error_says(cases[i].says[k]));
        }
        params_release(&p);
    }
}

static void test_argument_errors(void **state)
{
    static const struct {
        const char *argv[2];
        int argc;
        const char *says;
    } cases[] = {
        {{"--form", "x"}, 2, "\"from\""},  {{"--from"}, 1, "needs a value"},
        {{"-f"}, 1, "needs a value"},      {{"-x", "1"}, 2, "-x"},
        {{"--from="}, 1, "needs a value"}, {{"--"}, 1, "no option"},
    };
    char *word[] = {NULL};
    struct report_params p;
    int at = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(read_arguments(&p, cases[i].argc, cases[i].argv), RC_BAD);
        assert_true(error_says(cases[i].says));
        params_release(&p);
    }
    /* No option at all is left to the caller. */
    params_init(&p);
    char spend[] = "spend";
    word[0] = spend;
    assert_int_equal(params_argument(&p, 1, word, &at, &error), RC_STATE);
    assert_int_equal(at, 0);
    params_release(&p);
}

static void test_bounds(void **state)
{
    static char query[600000];
    struct report_params p;
    size_t n;

    (void)state;
    /* More values than one condition may have. */
    n = (size_t)snprintf(query, sizeof(query), "where=team=x");
    for (int i = 0; i < PARAMS_WHERE_VALUES_MAX; i++)
        n += (size_t)snprintf(query + n, sizeof(query) - n, ",v%d", i);
    assert_int_equal(read_query(&p, query), RC_BAD);
    params_release(&p);
    /* As many as there may be, each of them long. */
    n = (size_t)snprintf(query, sizeof(query), "where=team=%0200d", 1);
    for (int i = 1; i < PARAMS_WHERE_VALUES_MAX; i++)
        n += (size_t)snprintf(query + n, sizeof(query) - n, ",%0200d", i);
    assert_int_equal(read_query(&p, query), RC_OK);
    assert_int_equal(p.where[0].n_values, PARAMS_WHERE_VALUES_MAX);
    params_release(&p);
    n = (size_t)snprintf(query, sizeof(query), "only=team,model=%0200d,a", 1);
    for (int i = 1; i < PARAMS_WHERE_VALUES_MAX; i++)
        n += (size_t)snprintf(query + n, sizeof(query) - n, ";%0200d,a", i);
    assert_int_equal(read_query(&p, query), RC_OK);
    assert_int_equal(p.only.n, PARAMS_WHERE_VALUES_MAX);
    params_release(&p);
    /* More conditions than a filter takes. */
    n = 0;
    for (int i = 0; i <= LEDGER_CONDITIONS_MAX; i++)
        n += (size_t)snprintf(query + n, sizeof(query) - n, "where=team!=v%d&", i);
    assert_int_equal(read_query(&p, query), RC_BAD);
    params_release(&p);
    /* More text than all words together may have. */
    memset(query, 'a', sizeof(query) - 1);
    memcpy(query, "from=", 5);
    assert_int_equal(read_query(&p, query), RC_BAD);
    params_release(&p);
}

static void test_resolve(void **state)
{
    struct report_params p;
    int64_t now;

    (void)state;
    assert_true(datetime_parse(STRV("2026-11-21T09:30:00Z"), &now));
    assert_int_equal(read_query(&p, "month=2026-03&tz=Europe/Berlin"), RC_OK);
    assert_int_equal(params_resolve(&p, utc, now, &error), RC_OK);
    assert_int_equal((p.to_us - p.from_us) / US_PER_SECOND, 743 * 3600);
    params_release(&p);
    assert_int_equal(read_query(&p, "tz=Europe/Berlln"), RC_OK);
    assert_int_equal(params_resolve(&p, utc, now, &error), RC_BAD);
    assert_true(error_says("Europe/Berlln"));
    params_release(&p);
    assert_int_equal(read_query(&p, "from=2026-11-31"), RC_OK);
    assert_int_equal(params_resolve(&p, utc, now, &error), RC_BAD);
    assert_true(error_says("from \"2026-11-31\""));
    params_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command_line_and_query_agree),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_argument_errors),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_resolve),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
