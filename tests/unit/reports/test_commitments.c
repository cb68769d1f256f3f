/*
 * Commitments: what is used of them is what one walk over all requests, one by one, says, however
 * it was read, and in whichever periods it is asked for.
 */
#include "reports/books.h"
#include "tests/unit/reports/any.h"

enum { RECORDS = 1500, ROUNDS = 4, TERMS = 6 };

/* Amounts are whole cents. */
#define CENT ((money_int)10000000000000000)
#define DOLLAR (100 * CENT)

static struct fixture f;
static struct record all[2 * RECORDS];
static size_t n_all;

/* Terms that overlap, follow each other, are used up, and are of several accounts. */
static const struct term {
    const char *id, *account, *from, *to;
    money_int dollars;
} terms[TERMS] = {
    {"A1", "org", "2026-11-02", "2026-11-09", 300},
    {"A2", "org", "2026-11-05", "2026-11-12", 400},
    {"A3", "org", "2026-11-11", "2026-11-15", 50000},
    {"B1", "anthropic", "2026-11-01", "2026-11-10", 300},
    {"C1", "nobody", "2026-11-03", "2026-11-04", 5},
    {"Z1", "org", "2027-01-01", "2027-02-01", 5},
};

static const char *account_of(const struct record *r)
{
    return strv_eq(r->subject.dim[DIM_UPSTREAM], STRV("anthropic")) ? "anthropic" : "org";
}

static void tell_account(struct strv upstream, struct reconcile_upstream *out, void *arg)
{
    (void)arg;
    if (!strv_eq(upstream, STRV("anthropic")))
        out->billing = STRV("org");
}

static int by_end(const void *a, const void *b)
{
    const struct record *x = a, *y = b;

    return x->end_us < y->end_us ? -1 : x->end_us > y->end_us;
}

static void add(struct record *r, money_int cents, bool is_odd)
{
    fixture_set_cost(r, cents * CENT);
    r->n_lines = 1;
    r->lines[0] = (struct record_line){METER_IN, 100, {cents * CENT * 10000}, {cents * CENT}};
    if (is_odd && any() % 20 == 0)
        r->cost.atto += CENT; /* beyond its lines: no meter's */
    all[n_all++] = *r;
}

static void make(uint64_t seed, bool with_corrections)
{
    static const char *const upstreams[] = {"openai", "azure", "anthropic"};

    any_start(seed);
    n_all = 0;
    for (size_t i = 0; i < RECORDS; i++) {
        struct record r = fixture_record(at("2026-11-01T00:00:00Z") + (int64_t)i * 997 * 1000003);

        r.subject.dim[DIM_UPSTREAM] = PICK(upstreams);
        if (any() % 15 == 0)
            r.price_status = PRICE_NONE;
        else
            add(&r, (money_int)(any() % 300), with_corrections);
        if (r.price_status == PRICE_NONE)
            all[n_all++] = r;
        if (with_corrections && any() % 9 == 0) {
            any_correction(&r);
            all[n_all++] = r;
        }
    }
    qsort(all, n_all, sizeof(*all), by_end);
    for (size_t i = 0; i < n_all; i++)
        fixture_add(&f, &all[i]);
    fixture_flush(&f);
}

static void import(void)
{
    char text[1024] = "id,account,from,to,amount_usd\n";
    struct books_taken taken;
    struct problems problems;
    struct fail fail;

    for (size_t i = 0; i < TERMS; i++)
        (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s,%s,%s,%s,%d\n",
                       terms[i].id, terms[i].account, terms[i].from, terms[i].to,
                       (int)terms[i].dollars);
    problems_init(&problems);
    assert_int_equal(books_import(f.dir, BOOKS_COMMITMENTS, "f.csv", strv_z(text), false,
                                  &problems, &taken, &fail),
                     RC_OK);
    problems_release(&problems);
}

/* ---- what it must be ---------------------------------------------------------------------- */

static int64_t day(const char *date)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%sT00:00:00Z", date);
    return at(text);
}

struct expected {
    money_int before, used, coverable;
};

/* The rule, word by word. */
static money_int expect(int64_t from_us, int64_t to_us, struct expected *out)
{
    bool is_over[TERMS] = {false};
    money_int once = 0;

    memset(out, 0, TERMS * sizeof(*out));
    for (size_t i = 0; i < n_all && all[i].end_us < to_us; i++) {
        const struct record *r = &all[i];
        bool is_within = r->end_us >= from_us, is_covered = false, any_term = false;
        money_int cost = 0;

        if (r->is_correction || r->price_status == PRICE_NONE)
            continue;
        for (size_t k = 0; k < r->n_lines; k++)
            cost += r->lines[k].amount.atto;
        for (size_t t = 0; t < TERMS; t++) {
            struct expected *e = &out[t];

            if (strcmp(terms[t].account, account_of(r)) != 0 || r->end_us < day(terms[t].from) ||
                r->end_us >= day(terms[t].to))
                continue;
            any_term = true;
            e->coverable += is_within ? cost : 0;
            if (is_covered || is_over[t])
                continue;
            if (e->before + e->used + cost > terms[t].dollars * DOLLAR) {
                is_over[t] = true;
                continue;
            }
            *(is_within ? &e->used : &e->before) += cost;
            is_covered = true;
        }
        once += is_within && any_term ? cost : 0;
    }
    return once;
}

/* ---- what it is --------------------------------------------------------------------------- */

/* The lines behind a row have what was used; returns whether there are any. */
static bool follow(const cJSON *row, money_int used)
{
    const cJSON *link = member(row, "lines");
    cJSON *json;

    if (!cJSON_IsString(link))
        return false;
    json = fixture_json(&f, "lines", strchr(link->valuestring, '?') + 1);
    assert_true(amount(member(json, "total"), "cost_usd") == used);
    cJSON_Delete(json);
    return true;
}

static void check(const char *from, const char *to, size_t *links)
{
    char query[128];
    struct expected want[TERMS];
    money_int once = expect(at(from), at(to), want), used = 0;
    cJSON *json;
    int rows = 0;

    (void)snprintf(query, sizeof(query), "from=%s&to=%s", from, to);
    json = fixture_json(&f, "commitments", query);
    for (size_t t = 0; t < TERMS; t++) {
        bool is_known = day(terms[t].to) <= at(to) && day(terms[t].to) <= f.sources.now_us;
        money_int left = terms[t].dollars * DOLLAR - want[t].before - want[t].used;
        const cJSON *row;

        if (day(terms[t].from) >= at(to) || day(terms[t].to) <= at(from))
            continue;
        row = row_with(json, "id", terms[t].id);
        rows++;
        assert_true(amount(row, "committed_usd") == terms[t].dollars * DOLLAR);
        assert_true(amount(row, "used_before_usd") == want[t].before);
        assert_true(amount(row, "used_usd") == want[t].used);
        assert_true(amount(row, "left_usd") == left);
        assert_true(amount(row, "coverable_usd") == want[t].coverable);
        assert_true(cJSON_IsNull(member(row, "unused_usd")) == !is_known);
        assert_true(!is_known || amount(row, "unused_usd") == left);
        assert_true(cJSON_IsNull(member(row, "coverage")) == (want[t].coverable == 0));
        *links += follow(row, want[t].used);
        used += want[t].used;
    }
    assert_int_equal(cJSON_GetArraySize(rows_of(json)), rows);
    assert_true(amount(member(json, "total"), "used_usd") == used);
    assert_true(amount(member(json, "total"), "coverable_usd") == once);
    cJSON_Delete(json);
}

static void test_by_the_rule(void **state)
{
    static const char *const periods[][2] = {
        {"2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"},
        {"2026-11-06T07:12:13.456789Z", "2026-11-14T22:00:01Z"},
        {"2026-11-10T00:00:00Z", "2026-11-11T00:00:00Z"},
        {"2026-11-03T05:45:00Z", "2026-11-03T18:00:00Z"},
        {"2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z"},
        {"2026-12-05T00:00:00Z", "2027-03-01T00:00:00Z"},
    };
    size_t links = 0;

    (void)state;
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        fixture_open(&f);
        f.sources.state_dir = f.dir;
        f.sources.upstream = tell_account;
        make(round, round % 2 == 0);
        import();
        for (size_t i = 0; i < sizeof(periods) / sizeof(*periods); i++)
            check(periods[i][0], periods[i][1], &links);
        fixture_close(&f);
    }
    assert_true(links > 10);
}

/* Two periods next to each other use what both use as one. */
static void test_parts_of_a_term(void **state)
{
    static const char *const queries[] = {"from=2026-11-01&to=2026-11-07T13:00:00Z",
                                          "from=2026-11-07T13:00:00Z&to=2026-11-20",
                                          "from=2026-11-01&to=2026-11-20"};
    money_int used[3];

    (void)state;
    fixture_open(&f);
    f.sources.state_dir = f.dir;
    f.sources.upstream = tell_account;
    make(77, true);
    import();
    for (size_t i = 0; i < 3; i++) {
        cJSON *json = fixture_json(&f, "commitments", queries[i]);
        used[i] = amount(member(json, "total"), "used_usd");
        cJSON_Delete(json);
    }
    assert_true(used[0] > 0 && used[1] > 0 && used[0] + used[1] == used[2]);
    fixture_close(&f);
}

static void test_words(void **state)
{
    static const char *const words[] = {"by=team", "grain=day", "top=3", "cohort=spend",
                                        "where=team=search", "cost-basis=list"};
    cJSON *json;

    (void)state;
    fixture_open(&f);
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        assert_int_equal(fixture_run(&f, "commitments", words[i]), RC_BAD);
    /* Nothing was imported: no row, and no ratio of nothing. */
    json = fixture_json(&f, "commitments", "month=2026-11");
    assert_int_equal(cJSON_GetArraySize(rows_of(json)), 0);
    assert_true(cJSON_IsNull(member(member(json, "total"), "utilisation")));
    assert_true(cJSON_IsNull(member(member(json, "total"), "coverage")));
    cJSON_Delete(json);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_the_rule),
        cmocka_unit_test(test_parts_of_a_term),
        cmocka_unit_test(test_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
