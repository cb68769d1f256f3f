/*
 * FOCUS over random records: its rows sum to what the records cost, to the last digit, also where
 * no line of a record says what it cost; and where pools are split, bearer by bearer to what the
 * report on allocation says.
 */
#include "reports/csv.h"
#include "reports/focus.h"
#include "reports/focus_shares.h"
#include "tests/unit/reports/any.h"

enum { LEDGERS = 5, RECORDS = 400, BEARERS_MAX = 16 };

static bool collect(struct strv text, void *arg)
{
    return buf_append_strv(arg, text) == RC_OK;
}

static void shift_cost(struct record *r, money_int by)
{
    r->cost.atto += by;
    r->list_cost.atto += by;
}

/* Of every kind that a ledger may hold: lines that miss something, none at all, corrections. */
static void any_charged(struct record *r)
{
    any_record(r);
    r->price_id = STRV("openai/model-1@2026-01-01");
    switch (any() % 8) {
    case 0:
        r->n_lines = 0;
        break;
    case 1:
        if (r->n_lines)
            r->n_lines--;
        break;
    case 2:
        if (r->price_status != PRICE_NONE)
            shift_cost(r, 1);
        break;
    case 3:
        r->is_correction = r->price_status != PRICE_NONE;
        shift_cost(r, r->is_correction ? -2 * r->cost.atto : 0);
        for (size_t i = 0; r->is_correction && i < r->n_lines; i++)
            r->lines[i].amount.atto = -r->lines[i].amount.atto;
        uuid7_make(&r->corrects, r->end_us - (int64_t)(any() % 40) * US_PER_DAY);
        break;
    case 4: /* the list price alone was wrong */
        r->is_correction = r->price_status != PRICE_NONE;
        r->corrects = r->id;
        r->cost = MONEY_ZERO;
        r->list_cost.atto = r->is_correction ? 7 : 0;
        r->n_lines = 0;
        break;
    default:
        break;
    }
}

static int by_end(const void *a, const void *b)
{
    const struct record *x = a, *y = b;

    return (x->end_us > y->end_us) - (x->end_us < y->end_us);
}

static struct strv cell(const struct csv *c, size_t row, const char *name)
{
    size_t column = csv_column(c, name);

    assert_true(column < c->n_columns);
    return csv_field(c, row, column);
}

static money_int atto(const struct csv *c, size_t row, const char *name)
{
    struct money m;

    assert_int_equal(money_parse(cell(c, row, name), &m), RC_OK);
    return m.atto;
}

static void parse(struct buf *text, struct csv *c)
{
    struct csv_fault fault;

    if (csv_parse(buf_view(text), c, &fault) != RC_OK)
        fail_msg("line %zu, column %zu: %s", fault.line, fault.column, fault.why);
}

static void check_row(const struct csv *c, size_t i, money_int *usage)
{
    struct strv category = cell(c, i, "ChargeCategory");
    bool is_correction = cell(c, i, "ChargeClass").n > 0;
    bool has_quantity = cell(c, i, "PricingQuantity").n > 0;

    assert_true(has_quantity == (cell(c, i, "ConsumedQuantity").n > 0));
    if (strv_eq(category, STRV("Usage")) && !is_correction)
        assert_true(has_quantity);
    if (strv_eq(category, STRV("Adjustment")))
        assert_false(has_quantity);
    if (cell(c, i, "SkuPriceId").n == 0)
        assert_true(strv_eq(category, STRV("Adjustment")) && cell(c, i, "ListUnitPrice").n == 0);
    if (is_correction) /* of an earlier month: charged then, billed now */
        assert_true(strv_cmp(cell(c, i, "ChargePeriodEnd"), cell(c, i, "BillingPeriodStart")) <= 0);
    else
        assert_true(strv_cmp(cell(c, i, "ChargePeriodStart"), cell(c, i, "BillingPeriodStart")) >= 0);
    *usage += atto(c, i, "EffectiveCost");
}

static void check_records(struct record *at, size_t n, enum focus_version version,
                          enum focus_grain grain)
{
    struct buf out;
    struct focus_options options = {
        .version = version, .grain = grain, .write = collect, .arg = &out};
    struct focus *focus = focus_new(&options);
    money_int cost = 0, rows = 0;
    struct csv csv;

    buf_init(&out, FIXTURE_OUT_MAX);
    assert_int_equal(focus_header(focus), RC_OK);
    for (size_t i = 0; i < n; i++) {
        cost += at[i].price_status == PRICE_NONE ? 0 : at[i].cost.atto;
        assert_int_equal(focus_add(focus, i + 1, &at[i]), RC_OK);
    }
    assert_int_equal(focus_finish(focus, INT64_MIN, INT64_MAX), RC_OK);
    parse(&out, &csv);
    for (size_t i = 0; i < csv.n_rows; i++)
        check_row(&csv, i, &rows);
    assert_true(rows == cost);
    assert_true(focus_counts(focus)->metered.atto == cost);
    assert_int_equal(focus_counts(focus)->rows, csv.n_rows);
    assert_true(focus_counts(focus)->without_line > 0);
    csv_release(&csv);
    buf_release(&out);
    focus_free(focus);
}

static void test_rows_sum_to_the_records(void **state)
{
    struct record *at = xcalloc(RECORDS, sizeof(*at));

    (void)state;
    for (uint64_t l = 0; l < LEDGERS; l++) {
        any_start(4242 * (l + 1));
        for (size_t i = 0; i < RECORDS; i++)
            any_charged(&at[i]);
        qsort(at, RECORDS, sizeof(*at), by_end);
        for (unsigned g = FOCUS_DAY; g <= FOCUS_REQUEST; g++) {
            check_records(at, RECORDS, FOCUS_1_2, (enum focus_grain)g);
            check_records(at, RECORDS, FOCUS_1_4, (enum focus_grain)g);
        }
    }
    free(at);
}

/* ---- pools -------------------------------------------------------------------------------- */

struct borne {
    char pool[32], team[32];
    money_int amount;
};

static void import(const char *dir, enum books_kind kind, const char *text)
{
    struct books_taken taken;
    struct problems problems;
    struct fail fail;

    problems_init(&problems);
    assert_int_equal(
        books_import(dir, kind, "b.csv", strv_z(text), false, &problems, &taken, &fail), RC_OK);
    problems_release(&problems);
}

static void make_ledger(struct fixture *f)
{
    fixture_open(f);
    f->sources.state_dir = f->dir;
    for (size_t i = 0; i < RECORDS; i++) {
        struct record r;

        any_record(&r);
        r.end_us = at("2026-10-01T00:00:00Z") + (int64_t)(any() % (uint64_t)(31 * US_PER_DAY));
        r.start_us = r.end_us - 1;
        fixture_add(f, &r);
    }
    fixture_flush(f);
    import(f->dir, BOOKS_POOLS,
           "pool,method,driver,where\nchats,direct,cost,feature=chat\n"
           "evals,proportional,,environment=eval\nrest,direct,tokens,model=gpt-4o\n"
           "nobodys,proportional,,model=gpt-4o-mini\nequal,fixed,,customer=acme\n");
    import(f->dir, BOOKS_WEIGHTS,
           "pool,team,from,to,weight\nevals,search,2026-01-01,,1\nevals,labs,2026-01-01,,2\n"
           "evals,labs,2026-10-11,,5\nevals,zero,2026-01-01,,0\n");
    import(f->dir, BOOKS_COSTS, "date,pool,item,amount_usd\n2026-10,chats,vendor,123.45\n");
}

struct export
{
    struct focus *focus;
    money_int cost;
};

static bool add(uint64_t seq, const struct record *record, void *arg)
{
    struct export *e = arg;

    e->cost += record->price_status == PRICE_NONE ? 0 : record->cost.atto;
    assert_int_equal(focus_add(e->focus, seq, record), RC_OK);
    return true;
}

static money_int write_split(struct fixture *f, struct buf *out, enum focus_grain grain)
{
    struct focus_options options = {
        .version = FOCUS_1_4, .grain = grain, .write = collect, .arg = out};
    struct report_params params;
    struct run run = {.params = &params, .sources = &f->sources, .error = &f->error};
    struct ledger_filter filter;
    struct export e = {.cost = 0};

    params_init(&params);
    assert_int_equal(params_query(&params, STRV("month=2026-10"), &f->error), RC_OK);
    assert_int_equal(params_resolve(&params, f->utc, f->sources.now_us, &f->error), RC_OK);
    params_filter(&params, &filter);
    run.reader = ledger_read_open(f->path, &run.fail);
    assert_non_null(run.reader);
    assert_int_equal(ledger_read_begin(run.reader, &run.fail), RC_OK);
    options.shares = focus_shares_make(&run);
    assert_non_null(options.shares);
    e.focus = focus_new(&options);
    assert_int_equal(focus_header(e.focus), RC_OK);
    assert_int_equal(ledger_read_lines(run.reader, &filter, LEDGER_OLDEST, 0, 0, add, &e, &run.fail),
                     RC_OK);
    assert_int_equal(focus_finish(e.focus, INT64_MIN, INT64_MAX), RC_OK);
    assert_true(focus_counts(e.focus)->metered.atto == e.cost);
    ledger_read_end(run.reader);
    ledger_read_close(run.reader);
    focus_free(e.focus);
    focus_shares_free(options.shares);
    params_release(&params);
    return e.cost;
}

/* What the rows of a file say that a team bears of a pool; team empty: nobody. */
static money_int borne_by(const struct csv *csv, const char *pool, const char *team)
{
    money_int sum = 0;
    char named[64];

    (void)snprintf(named, sizeof(named), "\"x_Pool\":\"%s\"", pool);
    for (size_t i = 0; i < csv->n_rows; i++) {
        struct strv details = cell(csv, i, "AllocatedMethodDetails");
        struct strv name = cell(csv, i, "AllocatedResourceName");

        if (details.n && memmem(details.p, details.n, named, strlen(named)) && strv_eq(name, strv_z(team)))
            sum += atto(csv, i, "EffectiveCost");
    }
    return sum;
}

static size_t check_bearers(struct fixture *f, const struct csv *csv)
{
    cJSON *json = fixture_json(f, "allocation", "month=2026-10");
    const cJSON *row;
    struct borne said[64] = {{.amount = 0}};
    size_t n = 0;

    cJSON_ArrayForEach(row, rows_of(json))
    {
        const char *pool = member(row, "pool")->valuestring;
        const char *team = member(row, "team")->valuestring;
        size_t i = 0;

        if (strcmp(pool, "(own)") == 0)
            continue;
        if (strcmp(team, "(unallocated)") == 0)
            team = "";
        while (i < n && (strcmp(said[i].pool, pool) != 0 || strcmp(said[i].team, team) != 0))
            i++;
        assert_true(i < 64);
        n += i == n;
        (void)snprintf(said[i].pool, sizeof(said[i].pool), "%s", pool);
        (void)snprintf(said[i].team, sizeof(said[i].team), "%s", team);
        said[i].amount += amount(row, "cost_usd");
    }
    for (size_t i = 0; i < n; i++) {
        /* A name that a spreadsheet would run is defused in the file. */
        const char *team = strcmp(said[i].team, "=1+1") == 0 ? "'=1+1" : said[i].team;

        assert_true(borne_by(csv, said[i].pool, team) == said[i].amount);
    }
    cJSON_Delete(json);
    return n;
}

static void test_pools_are_borne_as_the_report_says(void **state)
{
    static struct fixture f;

    (void)state;
    for (uint64_t l = 0; l < LEDGERS; l++) {
        any_start(991 * (l + 1));
        make_ledger(&f);
        for (unsigned g = FOCUS_DAY; g <= FOCUS_REQUEST; g++) {
            struct buf out;
            struct csv csv;
            money_int rows = 0, cost;

            buf_init(&out, FIXTURE_OUT_MAX);
            cost = write_split(&f, &out, (enum focus_grain)g);
            parse(&out, &csv);
            for (size_t i = 0; i < csv.n_rows; i++)
                rows += atto(&csv, i, "EffectiveCost");
            assert_true(rows == cost);
            assert_true(check_bearers(&f, &csv) > 8);
            csv_release(&csv);
            buf_release(&out);
        }
        fixture_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_sum_to_the_records),
        cmocka_unit_test(test_pools_are_borne_as_the_report_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
