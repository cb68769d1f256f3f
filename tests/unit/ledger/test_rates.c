/*
 * test_rates.c - what was charged at which rate: columns, and the records that they do not tell,
 * say what all lines say one by one.
 */
#include "tests/unit/ledger/kit.h"

#include "metering/ledger/fact.h"
#include "metering/ledger/read_crew.h"

enum { RECORDS = 3 * FACT_BLOCK + 500, BY = 4, NAME = 256 };

static const struct ledger_field by[BY] = {{.id = FIELD_MODEL},
                                           {.id = FIELD_PRICE_ID},
                                           {.id = FIELD_SERVICE_TIER},
                                           {.id = FIELD_PRICE_STATUS}};

struct sum {
    char name[NAME];
    uint64_t requests, quantity;
    struct money amount;
};

struct sums {
    struct sum *at;
    size_t n, cap;
    uint64_t records;
};

static void add(struct sums *s, const char *name, uint64_t requests, uint64_t quantity,
                struct money amount)
{
    size_t i = 0;

    while (i < s->n && strcmp(s->at[i].name, name) != 0)
        i++;
    if (i == s->n) {
        if (s->n == s->cap) {
            s->cap = s->cap ? 2 * s->cap : 64;
            s->at = xrealloc(s->at, s->cap * sizeof(*s->at));
        }
        s->at[s->n] = (struct sum){.requests = 0};
        snprintf(s->at[s->n++].name, NAME, "%s", name);
    }
    s->at[i].requests += requests;
    s->at[i].quantity += quantity;
    s->at[i].amount = money_add(s->at[i].amount, amount);
}

static void name_of(const struct strv *value, bool is_correction, const char *meter,
                    struct money rate, char out[NAME])
{
    char text[MONEY_TEXT];
    size_t n = money_format(rate, text);

    snprintf(out, NAME, STRV_FMT "|" STRV_FMT "|" STRV_FMT "|" STRV_FMT "|%d|%s|%.*s",
             STRV_ARG(value[0]), STRV_ARG(value[1]), STRV_ARG(value[2]), STRV_ARG(value[3]),
             is_correction, meter, (int)n, text);
}

static bool on_rate(const struct ledger_rate *r, void *arg)
{
    char name[NAME];

    name_of(r->value, r->is_correction, r->has_meter ? meter_name(r->meter) : "", r->rate, name);
    add(arg, name, r->requests, r->quantity, r->amount);
    return true;
}

static bool on_line(uint64_t seq, const struct record *r, void *arg)
{
    const struct strv value[BY] = {r->subject.dim[DIM_MODEL], r->price_id, r->service_tier,
                                   strv_z(price_status_name(r->price_status))};
    struct money rest = r->cost;
    struct sums *s = arg;
    char name[NAME];

    (void)seq;
    s->records++;
    for (size_t i = 0; i < r->n_lines; i++) {
        const struct record_line *line = &r->lines[i];

        name_of(value, r->is_correction, meter_name(line->meter), line->rate, name);
        add(s, name, 1, line->quantity, line->amount);
        rest = money_sub(rest, line->amount);
    }
    name_of(value, r->is_correction, "", MONEY_ZERO, name);
    if (r->n_lines == 0 || !money_is_zero(rest))
        add(s, name, r->n_lines == 0, 0, rest);
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct sum *)a)->name, ((const struct sum *)b)->name);
}

/* Records that were read; the sums are those of the lines. */
static uint64_t compare_with(struct ledger_reader *r, const struct ledger_filter *filter,
                             const struct sums *slow)
{
    struct sums fast = {.n = 0};
    bool known = false;
    struct fail fail;

    assert_int_equal(ledger_read_rates(r, filter, by, BY, on_rate, on_line, &fast, &known, &fail),
                     RC_OK);
    assert_true(known);
    assert_int_equal(fast.n, slow->n);
    if (fast.n)
        qsort(fast.at, fast.n, sizeof(*fast.at), by_name);
    for (size_t i = 0; i < fast.n; i++) {
        assert_string_equal(fast.at[i].name, slow->at[i].name);
        assert_int_equal(fast.at[i].requests, slow->at[i].requests);
        assert_int_equal(fast.at[i].quantity, slow->at[i].quantity);
        assert_true(fast.at[i].amount.atto == slow->at[i].amount.atto);
    }
    free(fast.at);
    return fast.records;
}

/* The same by one thread and by three. */
static uint64_t compare(struct ledger_reader *r, const struct ledger_filter *filter)
{
    struct sums slow = {.n = 0};
    struct fail fail;
    uint64_t n;

    assert_int_equal(
        ledger_read_lines(r, filter, LEDGER_OLDEST, 0, 0, on_line, &slow, &fail), RC_OK);
    if (slow.n)
        qsort(slow.at, slow.n, sizeof(*slow.at), by_name);
    ledger_read_crew(r, 1, 1);
    n = compare_with(r, filter, &slow);
    ledger_read_crew(r, 3, 1);
    assert_int_equal(compare_with(r, filter, &slow), n);
    free(slow.at);
    return n;
}

static void write_correction(struct journal *j, const struct record *r, uint64_t *seed)
{
    struct record c = kit_correction(seed, r);

    if (kit_below(seed, 2)) { /* with or without lines of its own */
        c.n_lines = 0;
        c.cost.atto = (money_int)kit_below(seed, 1000) * 1000003;
    }
    c.list_cost = c.cost;
    assert_int_equal(journal_end(j, &c), RC_OK);
}

static void write_records(struct kit_dir *d, int n, uint64_t seed)
{
    struct ledger *l = kit_start(d, NULL, NULL);
    struct journal *j = kit_journal(d, 0);

    for (int i = 0; i < n; i++) {
        struct record r;

        kit_record(&seed, KIT_START_US, 2 * US_PER_DAY, &r);
        assert_int_equal(journal_end(j, &r), RC_OK);
        if (i % 50 == 0)
            write_correction(j, &r, &seed);
        if (i % 500 == 0) {
            kit_flush(j);
            ledger_catch_up(l);
        }
    }
    kit_flush(j);
    journal_close(j);
    ledger_stop(l);
}

static void check(const struct kit_dir *d, uint64_t *of_all)
{
    const struct strv values[] = {STRV("acme"), STRV("gpt-4o"), STRV("u1")};
    static const enum ledger_field_id fields[] = {FIELD_CUSTOMER, FIELD_MODEL, FIELD_USER};
    struct ledger_reader *r = kit_read(d);
    struct ledger_filter filter;
    uint64_t seed = 3;

    ledger_filter_init(&filter, INT64_MIN, INT64_MAX);
    *of_all = compare(r, &filter);
    for (size_t i = 0; i < 3; i++) {
        ledger_filter_init(&filter, INT64_MIN, INT64_MAX);
        assert_int_equal(ledger_filter_add(&filter, (struct ledger_field){.id = fields[i]},
                                           i == 1 ? LEDGER_NE : LEDGER_EQ, &values[i], 1),
                         RC_OK);
        (void)compare(r, &filter);
    }
    for (int i = 0; i < 6; i++) {
        int64_t from_us = KIT_START_US + (int64_t)kit_below(&seed, (uint64_t)US_PER_DAY);

        ledger_filter_init(&filter, from_us,
                           from_us + (int64_t)kit_below(&seed, (uint64_t)US_PER_DAY));
        (void)compare(r, &filter);
    }
    kit_read_end(r);
}

static void rates_are_those_of_the_lines(void **state)
{
    struct kit_dir d;
    uint64_t some, all;

    (void)state;
    kit_dir_make(&d);
    write_records(&d, RECORDS, 51);
    check(&d, &some);
    assert_true(some > 0 && some < RECORDS / 2);
    /* As an earlier version left two of the blocks. */
    kit_sql(&d, "DELETE FROM fact WHERE (id>>40=18 OR id>>40>=127) AND id&3<>1");
    check(&d, &all);
    assert_true(all > some + FACT_BLOCK);
    kit_dir_remove(&d);
}

static void damage_is_no_answer(void **state)
{
    bool known;
    struct sums s = {.n = 0};
    struct ledger_filter filter;
    struct ledger_reader *r;
    struct kit_dir d;
    struct fail fail;

    (void)state;
    kit_dir_make(&d);
    write_records(&d, RECORDS, 52);
    kit_sql(&d, "UPDATE fact SET body=x'09' WHERE id>>40=(SELECT max(id)>>40 FROM fact)");
    r = kit_read(&d);
    ledger_filter_init(&filter, INT64_MIN, INT64_MAX);
    assert_int_not_equal(
        ledger_read_rates(r, &filter, by, BY, on_rate, on_line, &s, &known, &fail), RC_OK);
    free(s.at);
    kit_read_end(r);
    kit_dir_remove(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_those_of_the_lines),
        cmocka_unit_test(damage_is_no_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
