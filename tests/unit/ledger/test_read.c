/*
 * test_read.c - questions: sums from rollups equal sums over lines, to the last digit.
 */
#include "tests/unit/ledger/kit.h"

#include <sqlite3.h>

#include "metering/ledger/traffic.h"

/* Two blocks of facts, and some behind them. */
enum { LINES = 9000, QUESTIONS = 100 };

static struct kit_dir shared;
static struct record *lines; /* what was written: the oracle */
static char small_tasks[LINES][16];

/* Most small tasks and some large ones; and tasks that nobody ever had. */
static void close_some(struct journal *j)
{
    uint64_t seed = 12;

    for (int i = 0; i < LINES; i += 5) {
        struct task_note note = {
            .at_us = KIT_START_US + (int64_t)kit_below(&seed, 40 * US_PER_DAY),
            .team = i % 100 ? STRV("search") : STRV("billing"),
            .task = i % 10 ? lines[i].subject.dim[DIM_TASK] : STRV("t1"),
            .key = STRV("k1"),
            .outcome = (enum task_outcome)(1 + kit_below(&seed, 3))};

        if (note.task.n)
            assert_int_equal(journal_task(j, &note), RC_OK);
    }
    for (int i = 0; i < 5; i++) {
        struct task_note note = {KIT_START_US + i * US_PER_DAY, STRV("search"),
                                 strv_z((const char *[]){"x1", "x2", "x3", "x4", "x5"}[i]),
                                 STRV("k1"), TASK_FAILED};

        assert_int_equal(journal_task(j, &note), RC_OK);
    }
}

static int make_shared(void **state)
{
    struct ledger *l;
    struct journal *j;
    uint64_t seed = 11;

    (void)state;
    kit_dir_make(&shared);
    lines = xcalloc(LINES, sizeof(*lines));
    l = kit_start(&shared, NULL, NULL);
    j = kit_journal(&shared, 0);
    for (int i = 0; i < LINES; i++) {
        kit_record(&seed, KIT_START_US, 40 * US_PER_DAY, &lines[i]);
        if (i % 3) /* many in little time, so that buckets hold several */
            lines[i].start_us = KIT_START_US + (lines[i].start_us - KIT_START_US) / 400;
        lines[i].end_us = lines[i].start_us + lines[i].latency_us;
        if (i % 2) { /* tasks of few lines, beside those of hundreds */
            snprintf(small_tasks[i], sizeof(small_tasks[i]), "t-%d", i / 16);
            lines[i].subject.dim[DIM_TASK] = strv_z(small_tasks[i]);
            lines[i].subject.dim[DIM_TEAM] = STRV("search");
        }
        assert_int_equal(journal_end(j, &lines[i]), RC_OK);
        if (i % 100 == 0) {
            kit_flush(j);
            ledger_catch_up(l);
        }
    }
    close_some(j);
    kit_flush(j);
    journal_close(j);
    ledger_stop(l);
    return 0;
}

static int remove_shared(void **state)
{
    (void)state;
    kit_dir_remove(&shared);
    free(lines);
    return 0;
}

static struct ledger_field field(const char *name)
{
    struct ledger_field f;

    assert_true(ledger_field_parse(strv_z(name), &f));
    return f;
}

static void assert_same_row(const struct ledger_row *a, const struct ledger_row *b, size_t n_by)
{
    assert_int_equal(a->start_us, b->start_us);
    assert_int_equal(a->end_us, b->end_us);
    for (size_t i = 0; i < n_by; i++)
        assert_true(strv_eq(a->value[i], b->value[i]));
    assert_true(ledger_sums_equal(&a->sums, &b->sums));
    assert_memory_equal(a->histogram, b->histogram, sizeof(*a->histogram));
    for (int i = 0; i < LEDGER_BANDS; i++) {
        assert_int_equal(a->bands[i].requests, b->bands[i].requests);
        assert_int_equal(money_cmp(a->bands[i].cost, b->bands[i].cost), 0);
        assert_int_equal(a->bands[i].input_tokens, b->bands[i].input_tokens);
    }
    for (int i = 0; a->meters && i < METER_COUNT; i++) {
        assert_int_equal(a->meters[i].quantity, b->meters[i].quantity);
        assert_int_equal(money_cmp(a->meters[i].amount, b->meters[i].amount), 0);
    }
}

static const char *const combo_fields[] = {
    "team",         "feature",      "environment", "task_type",    "key",
    "model",        "upstream",     "endpoint",    "protocol",     "outcome",
    "usage_source", "price_status", "price_id",    "service_tier", "team_source",
    "traffic_class"};
static const char *const other_fields[] = {"customer", "user", "task", "cell", "tag:zone"};
static const char *const zones[] = {"UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu",
                                    "America/St_Johns"};
static const enum period grains[] = {PERIOD_HOUR, PERIOD_DAY, PERIOD_WEEK, PERIOD_MONTH,
                                     PERIOD_TOTAL};

static const struct strv teams[] = {{"search", 6}, {"", 0}};
static const struct strv globs[] = {{"gpt*", 4}};

static void random_question(uint64_t *seed, const struct zone *zone, bool rollups_fit,
                            struct ledger_question *q)
{
    int64_t from = KIT_START_US - US_PER_DAY + (int64_t)kit_below(seed, 20 * US_PER_DAY);
    int64_t to = from + (int64_t)kit_below(seed, 40 * US_PER_DAY);

    *q = (struct ledger_question){.zone = zone};
    if (kit_below(seed, 2)) { /* whole days of the zone */
        int64_t ignored;

        zone_period(zone, PERIOD_DAY, from, &from, &ignored);
        zone_period(zone, PERIOD_DAY, to, &to, &ignored);
    }
    if (kit_below(seed, 10) == 0) {
        from = INT64_MIN;
        to = INT64_MAX;
    }
    ledger_filter_init(&q->filter, from, to);
    q->filter.by_start = kit_below(seed, 4) == 0;
    q->grain = grains[kit_below(seed, 5)];
    q->n_by = (size_t)kit_below(seed, 4);
    for (size_t i = 0; i < q->n_by; i++)
        q->by[i] = rollups_fit || kit_below(seed, 2) ? field(combo_fields[kit_below(seed, 16)])
                                                     : field(other_fields[kit_below(seed, 5)]);
    if (kit_below(seed, 3) == 0)
        assert_int_equal(ledger_filter_add(&q->filter, field("team"),
                                           kit_below(seed, 2) ? LEDGER_EQ : LEDGER_NE, teams,
                                           2),
                         RC_OK);
    if (kit_below(seed, 4) == 0)
        assert_int_equal(ledger_filter_add(&q->filter, field("model"), LEDGER_GLOB, globs, 1),
                         RC_OK);
    q->want = LEDGER_WANT_HISTOGRAM | LEDGER_WANT_BANDS | LEDGER_WANT_METERS;
}

static void rollups_equal_lines(void **state)
{
    struct ledger_reader *r = kit_read(&shared);
    uint64_t seed = 21, from_rollups = 0;

    (void)state;
    for (int i = 0; i < QUESTIONS; i++) {
        struct zone *zone = zone_open(zones[kit_below(&seed, 5)]);
        struct ledger_rows fast, slow;
        struct ledger_question q;
        struct fail fail;

        assert_non_null(zone);
        random_question(&seed, zone, true, &q);
        assert_int_equal(ledger_read_sums(r, &q, &fast, &fail), RC_OK);
        q.want |= LEDGER_WANT_LINES;
        assert_int_equal(ledger_read_sums(r, &q, &slow, &fail), RC_OK);
        assert_int_equal(slow.rollup_rows, 0);
        assert_int_equal(fast.n, slow.n);
        for (size_t k = 0; k < fast.n; k++)
            assert_same_row(&fast.at[k], &slow.at[k], q.n_by);
        assert_same_row(&fast.total, &slow.total, 0);
        from_rollups += fast.rollup_rows;
        ledger_rows_release(&fast);
        ledger_rows_release(&slow);
        zone_close(zone);
    }
    assert_true(from_rollups > 0);
    kit_read_end(r);
}

static const char *const body_fields[] = {"token_band", "repeat", "cacheable", "task_outcome"};

/* The same of fields that rollups do not tell apart, from columns and from lines. */
static void facts_equal_lines(void **state)
{
    static const struct strv customers[] = {{"acme", 4}, {"", 0}}, tasks[] = {{"t*", 2}};
    struct ledger_reader *r = kit_read(&shared);
    uint64_t seed = 22, from_facts = 0;

    (void)state;
    for (int i = 0; i < QUESTIONS / 2; i++) {
        struct zone *zone = zone_open(zones[kit_below(&seed, 5)]);
        struct ledger_rows fast, slow;
        struct ledger_question q;
        struct fail fail;

        random_question(&seed, zone, false, &q);
        q.want = LEDGER_WANT_HISTOGRAM | LEDGER_WANT_BANDS | LEDGER_WANT_PERCENTILES;
        if (kit_below(&seed, 3) == 0)
            q.by[q.n_by++] = field(body_fields[kit_below(&seed, 4)]);
        if (kit_below(&seed, 4) == 0)
            assert_int_equal(ledger_filter_add(&q.filter, field("customer"),
                                               kit_below(&seed, 2) ? LEDGER_EQ : LEDGER_NE,
                                               customers, 2),
                             RC_OK);
        if (kit_below(&seed, 4) == 0)
            assert_int_equal(
                ledger_filter_add(&q.filter, field("task"), LEDGER_GLOB, tasks, 1), RC_OK);
        assert_int_equal(ledger_read_sums(r, &q, &fast, &fail), RC_OK);
        assert_int_equal(fast.line_rows, 0);
        q.want |= LEDGER_WANT_LINES;
        assert_int_equal(ledger_read_sums(r, &q, &slow, &fail), RC_OK);
        assert_int_equal(slow.fact_rows, 0);
        assert_int_equal(fast.n, slow.n);
        for (size_t k = 0; k <= fast.n; k++) {
            const struct ledger_row *a = k < fast.n ? &fast.at[k] : &fast.total;
            const struct ledger_row *b = k < fast.n ? &slow.at[k] : &slow.total;

            assert_same_row(a, b, k < fast.n ? q.n_by : 0);
            if (a->sums.priced)
                assert_memory_equal(a->percentile, b->percentile, sizeof(a->percentile));
        }
        from_facts += fast.fact_rows;
        ledger_rows_release(&fast);
        ledger_rows_release(&slow);
        zone_close(zone);
    }
    assert_true(from_facts > LINES);
    kit_read_end(r);
}

/* ---- the oracle: the same over an array ------------------------------------------ */

static struct strv value_of(const struct record *r, const struct ledger_field *f)
{
    switch (f->id) {
    case FIELD_ENDPOINT:
        return r->endpoint;
    case FIELD_PROTOCOL:
        return r->protocol;
    case FIELD_SERVICE_TIER:
        return r->service_tier;
    case FIELD_PRICE_ID:
        return r->price_id;
    case FIELD_OUTCOME:
        return strv_z(outcome_name(r->outcome));
    case FIELD_USAGE_SOURCE:
        return strv_z(usage_source_name(r->usage_source));
    case FIELD_PRICE_STATUS:
        return strv_z(price_status_name(r->price_status));
    case FIELD_TEAM_SOURCE:
        return strv_z(tag_source_name(r->subject.source[DIM_TEAM]));
    case FIELD_FEATURE_SOURCE:
        return strv_z(tag_source_name(r->subject.source[DIM_FEATURE]));
    case FIELD_ENVIRONMENT_SOURCE:
        return strv_z(tag_source_name(r->subject.source[DIM_ENVIRONMENT]));
    case FIELD_TOKEN_BAND:
        return strv_z(ledger_band_name(ledger_band_of(&r->usage)));
    case FIELD_REPEAT:
    case FIELD_CACHEABLE:
        return STRV("no");
    case FIELD_PROMPT: /* none of these records has one */
    case FIELD_TASK_OUTCOME:
    case LEDGER_FIELDS:
        return STRV("");
    case FIELD_TRAFFIC_CLASS:
        return traffic_class(r->subject.dim[DIM_ENVIRONMENT]);
    case FIELD_TAG:
        return subject_value(&r->subject, f->tag);
    case FIELD_TEAM:
    case FIELD_FEATURE:
    case FIELD_ENVIRONMENT:
    case FIELD_CUSTOMER:
    case FIELD_USER:
    case FIELD_TASK:
    case FIELD_TASK_TYPE:
    case FIELD_KEY:
    case FIELD_MODEL:
    case FIELD_UPSTREAM:
        break;
    }
    return r->subject.dim[f->id];
}

static bool in_filter(const struct record *r, const struct ledger_filter *f)
{
    int64_t us = f->by_start ? r->start_us : r->end_us;

    if (us < f->from_us || us >= f->to_us)
        return false;
    for (size_t i = 0; i < f->n_where; i++) {
        const struct ledger_condition *c = &f->where[i];
        struct strv value = value_of(r, &c->field);
        bool any = false;

        for (size_t j = 0; j < c->n_values; j++)
            any |= c->op == LEDGER_GLOB ? strv_glob(c->values[j], value)
                                        : strv_eq(c->values[j], value);
        if (any == (c->op == LEDGER_NE))
            return false;
    }
    return true;
}

static bool in_row(const struct record *r, const struct ledger_question *q,
                   const struct ledger_row *row)
{
    int64_t us = q->filter.by_start ? r->start_us : r->end_us;

    if (!in_filter(r, &q->filter) ||
        (q->grain != PERIOD_TOTAL && (us < row->start_us || us >= row->end_us)))
        return false;
    for (size_t i = 0; i < q->n_by; i++) {
        if (!strv_eq(value_of(r, &q->by[i]), row->value[i]))
            return false;
    }
    return true;
}

static int by_money(const void *a, const void *b)
{
    return money_cmp(*(const struct money *)a, *(const struct money *)b);
}

static void check_percentiles(const struct ledger_row *row, struct money *costs, size_t n)
{
    static const unsigned percents[] = {50, 90, 95, 99};

    assert_int_equal(row->sums.priced, n);
    if (n == 0)
        return;
    qsort(costs, n, sizeof(*costs), by_money);
    for (int p = 0; p < LEDGER_PERCENTILES; p++) {
        size_t rank = (n * percents[p] + 99) / 100;

        assert_int_equal(money_cmp(row->percentile[p], costs[rank - 1]), 0);
    }
    assert_int_equal(money_cmp(row->sums.cost_min, costs[0]), 0);
    assert_int_equal(money_cmp(row->sums.cost_max, costs[n - 1]), 0);
}

static int by_time(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void check_latency(const struct ledger_row *row, int64_t *us, size_t n)
{
    assert_int_equal(row->sums.requests, n);
    assert_int_equal(row->has_latency, n > 0);
    if (n == 0)
        return;
    qsort(us, n, sizeof(*us), by_time);
    assert_int_equal(row->p95_latency_ms, us[(n * 95 + 99) / 100 - 1] / 1000);
}

static void check_row(const struct ledger_question *q, const struct ledger_row *row, bool total)
{
    struct money *costs = xcalloc(LINES, sizeof(*costs));
    int64_t *times = xcalloc(LINES, sizeof(*times));
    struct ledger_sums want = {0};
    size_t n = 0, n_times = 0;

    for (int i = 0; i < LINES; i++) {
        struct ledger_sums one;

        if (total ? !in_filter(&lines[i], &q->filter) : !in_row(&lines[i], q, row))
            continue;
        ledger_sums_of(&lines[i], &one);
        ledger_sums_add(&want, &one);
        if (lines[i].price_status != PRICE_NONE)
            costs[n++] = lines[i].cost;
        times[n_times++] = lines[i].latency_us;
    }
    assert_true(ledger_sums_equal(&want, &row->sums));
    check_percentiles(row, costs, n);
    check_latency(row, times, n_times);
    free(times);
    free(costs);
}

static void answers_equal_the_oracle(void **state)
{
    struct ledger_reader *r = kit_read(&shared);
    uint64_t seed = 31;

    (void)state;
    for (int i = 0; i < 60; i++) {
        struct zone *zone = zone_open(zones[kit_below(&seed, 5)]);
        struct ledger_question q;
        struct ledger_rows rows;
        struct fail fail;

        random_question(&seed, zone, i % 2, &q);
        q.want = LEDGER_WANT_PERCENTILES | LEDGER_WANT_LATENCY;
        assert_int_equal(ledger_read_sums(r, &q, &rows, &fail), RC_OK);
        for (size_t k = 0; k < rows.n && k < 50; k++)
            check_row(&q, &rows.at[k], false);
        check_row(&q, &rows.total, true);
        ledger_rows_release(&rows);
        zone_close(zone);
    }
    kit_read_end(r);
}

struct collected {
    const struct ledger_filter *filter;
    uint64_t n, seq;
    int64_t end_us;
    struct money cost;
    bool ordered;
};

static bool collect(uint64_t seq, const struct record *record, void *arg)
{
    struct collected *c = arg;

    assert_true(in_filter(record, c->filter));
    if (c->n > 0 &&
        (record->end_us < c->end_us || (record->end_us == c->end_us && seq <= c->seq)))
        c->ordered = false;
    c->n++;
    c->seq = seq;
    c->end_us = record->end_us;
    return true;
}

static bool dearer_first(uint64_t seq, const struct record *record, void *arg)
{
    struct collected *c = arg;

    (void)seq;
    if (record->price_status != PRICE_NONE && c->n > 0 && money_cmp(record->cost, c->cost) > 0)
        c->ordered = false;
    c->n++;
    c->cost = record->price_status == PRICE_NONE ? (struct money){-1} : record->cost;
    return true;
}

static void lines_are_chosen_and_ordered(void **state)
{
    static const struct strv tasks[] = {{"t1", 2}, {"t4", 2}};
    static const struct strv cells[] = {{"a", 1}};
    struct ledger_reader *r = kit_read(&shared);
    struct ledger_filter f;
    struct fail fail;
    uint64_t want = 0;

    (void)state;
    for (int variant = 0; variant < 6; variant++) {
        struct collected c = {.filter = &f, .ordered = true};

        ledger_filter_init(&f, KIT_START_US + 3600 * US_PER_SECOND, KIT_START_US + US_PER_DAY);
        f.by_start = variant % 2;
        if (variant >= 2)
            assert_int_equal(ledger_filter_add(&f, field("task"), LEDGER_EQ, tasks, 2), RC_OK);
        if (variant >= 4)
            assert_int_equal(ledger_filter_add(&f, field("cell"), LEDGER_NE, cells, 1), RC_OK);
        want = 0;
        for (int i = 0; i < LINES; i++)
            want += in_filter(&lines[i], &f);
        assert_true(want > 20);
        assert_int_equal(ledger_read_lines(r, &f, LEDGER_OLDEST, 0, 0, collect, &c, &fail),
                         RC_OK);
        assert_int_equal(c.n, want);
        assert_true(c.ordered);
        c = (struct collected){.filter = &f, .ordered = true};
        assert_int_equal(
            ledger_read_lines(r, &f, LEDGER_OLDEST, 7, want - 5, collect, &c, &fail), RC_OK);
        assert_int_equal(c.n, 5);
        c = (struct collected){.ordered = true};
        assert_int_equal(
            ledger_read_lines(r, &f, LEDGER_DEAREST, 9, 0, dearer_first, &c, &fail), RC_OK);
        assert_int_equal(c.n, 9);
        assert_true(c.ordered);
    }
    kit_read_end(r);
}

struct dear {
    uint64_t seq[40];
    size_t n;
};

static bool note_seq(uint64_t seq, const struct record *record, void *arg)
{
    struct dear *d = arg;

    (void)record;
    d->seq[d->n++] = seq;
    return d->n < 40;
}

/* Sorted, and found by columns: in parts, by conditions, within a time. */
static void the_dearest_are_the_same_by_columns(void **state)
{
    static const struct strv customers[] = {{"acme", 4}}, cells[] = {{"", 0}};
    struct ledger_reader *r = kit_read(&shared);

    (void)state;
    for (int variant = 0; variant < 3; variant++) {
        struct dear sorted = {.n = 0}, found = {.n = 0}, rest = {.n = 0};
        struct ledger_filter f;
        struct fail fail;

        ledger_filter_init(&f, variant ? KIT_START_US + 7200 * US_PER_SECOND : INT64_MIN,
                           variant ? KIT_START_US + US_PER_DAY / 2 : INT64_MAX);
        if (variant == 2) {
            assert_int_equal(ledger_filter_add(&f, field("customer"), LEDGER_EQ, customers, 1),
                             RC_OK);
            assert_int_equal(ledger_filter_add(&f, field("cell"), LEDGER_NE, cells, 1), RC_OK);
        }
        assert_int_equal(
            ledger_read_lines(r, &f, LEDGER_DEAREST, 0, 0, note_seq, &sorted, &fail), RC_OK);
        assert_int_equal(
            ledger_read_lines(r, &f, LEDGER_DEAREST, 40, 0, note_seq, &found, &fail), RC_OK);
        assert_int_equal(
            ledger_read_lines(r, &f, LEDGER_DEAREST, 10, 17, note_seq, &rest, &fail), RC_OK);
        assert_int_equal(sorted.n, 40);
        assert_int_equal(found.n, 40);
        assert_memory_equal(found.seq, sorted.seq, sizeof(sorted.seq));
        assert_int_equal(rest.n, 10);
        assert_memory_equal(rest.seq, sorted.seq + 17, 10 * sizeof(rest.seq[0]));
    }
    kit_read_end(r);
}

static void as_of_and_verify(void **state)
{
    struct ledger_reader *r = kit_read(&shared);
    struct ledger_as_of as_of;
    struct fail fail;

    (void)state;
    assert_int_equal(ledger_read_as_of(r, &as_of, &fail), RC_OK);
    assert_int_equal(as_of.seq, LINES);
    assert_true(as_of.us > 0);
    assert_true(as_of.first_us >= KIT_START_US && as_of.last_us > as_of.first_us);
    kit_read_end(r);
    kit_verify(&shared);
}

/* A reader keeps its view while the ledger grows. */
static void a_view_is_consistent(void **state)
{
    struct ledger_question q = {.grain = PERIOD_TOTAL};
    struct ledger_rows rows;
    struct ledger_reader *r;
    struct kit_dir d;
    struct ledger *l;
    struct journal *j;
    struct fail fail;
    uint64_t seed = 5;
    struct record one;

    (void)state;
    kit_dir_make(&d);
    l = kit_start(&d, NULL, NULL);
    j = kit_journal(&d, 0);
    ledger_filter_init(&q.filter, INT64_MIN, INT64_MAX);
    r = kit_read(&d);
    for (int i = 0; i < 2; i++) {
        kit_traffic(&seed, &one);
        assert_int_equal(journal_end(j, &one), RC_OK);
        kit_flush(j);
        ledger_catch_up(l);
        assert_int_equal(ledger_read_sums(r, &q, &rows, &fail), RC_OK);
        assert_int_equal(rows.total.sums.requests, i);
        ledger_rows_release(&rows);
        ledger_read_end(r);
        assert_int_equal(ledger_read_begin(r, &fail), RC_OK);
        assert_int_equal(ledger_read_sums(r, &q, &rows, &fail), RC_OK);
        assert_int_equal(rows.total.sums.requests, i + 1);
        ledger_rows_release(&rows);
    }
    kit_read_end(r);
    journal_close(j);
    ledger_stop(l);
    kit_dir_remove(&d);
}

static void audit_sees_what_was_changed(void **state)
{
    static const char *const changes[] = {
        "UPDATE line SET cost_nano=cost_nano+1 WHERE cost_nano IS NOT NULL AND seq<200",
        ("UPDATE rollup SET requests=requests+1 WHERE bucket=(SELECT max(bucket) FROM rollup "
         "WHERE level=0)"),
        "DELETE FROM rollup WHERE level=1",
        "UPDATE task SET body=x'0101'",
    };
    uint64_t seed = 6;

    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
        struct ledger_verdict v;
        struct ledger_reader *r;
        struct kit_dir d;
        struct ledger *l;
        struct journal *j;
        struct fail fail;
        sqlite3 *db;

        kit_dir_make(&d);
        l = kit_start(&d, NULL, NULL);
        j = kit_journal(&d, 0);
        for (int k = 0; k < 50; k++) {
            struct record one;

            kit_traffic(&seed, &one);
            assert_int_equal(journal_end(j, &one), RC_OK);
        }
        kit_flush(j);
        journal_close(j);
        ledger_stop(l);
        assert_int_equal(sqlite3_open(d.db, &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, changes[i], NULL, NULL, NULL), SQLITE_OK);
        assert_true(sqlite3_changes(db) > 0);
        sqlite3_close(db);
        r = kit_read(&d);
        assert_int_equal(ledger_read_verify(r, NULL, NULL, &v, &fail), RC_OK);
        assert_true(v.bad_lines + v.bad_rollups + v.bad_tasks > 0);
        kit_read_end(r);
        kit_dir_remove(&d);
    }
}

/* ---- tasks ------------------------------------------------------------------------- */

struct step {
    const char *team, *task;
    unsigned attempt;
    enum outcome outcome;
    unsigned minute, cents; /* ends then */
};

/* The set of finops: clean, retried, failed, abandoned, open, late, over the month's end. */
static const struct step steps[] = {
    {"a", "clean", 1, OUTCOME_OK, 10, 5},
    {"a", "retried", 1, OUTCOME_PROVIDER_ERROR, 10, 1},
    {"a", "retried", 2, OUTCOME_OK, 11, 2}, /* superseded all the same */
    {"a", "retried", 3, OUTCOME_OK, 12, 4},
    {"a", "failed", 1, OUTCOME_OK, 10, 7},
    {"a", "failed", 0, OUTCOME_TIMEOUT, 12, 3},
    {"a", "abandoned", 1, OUTCOME_OK, 10, 9},
    {"a", "open", 1, OUTCOME_OK, 10, 11},
    {"a", "late", 1, OUTCOME_OK, 10, 13},
    {"a", "late", 1, OUTCOME_OK, 200, 17}, /* after it was closed */
    {"b", "clean", 1, OUTCOME_OK, 10, 19}, /* another team's of the same name */
    {"a", "free", 1, OUTCOME_OK, 10, 0},
    {"a", "woven", 1, OUTCOME_OK, 10, 1}, /* two pieces of work at once */
    {"a", "woven", 1, OUTCOME_OK, 11, 2},
    {"a", "woven", 2, OUTCOME_OK, 12, 4},
    {"a", "woven", 2, OUTCOME_OK, 13, 8},
    {"a", "woven", 2, OUTCOME_OK, 14, 16}, /* supersedes nothing */
};

static const struct {
    const char *team, *task;
    enum task_outcome outcome;
} closes[] = {
    {"a", "clean", TASK_COMPLETED},         {"a", "retried", TASK_COMPLETED},
    {"a", "failed", TASK_FAILED},           {"a", "abandoned", TASK_ABANDONED},
    {"a", "late", TASK_COMPLETED},          {"b", "clean", TASK_FAILED},
    {"a", "woven", TASK_COMPLETED},         {"a", "free", TASK_COMPLETED},
    {"a", "without-lines", TASK_ABANDONED},
};

static const int64_t cent = INT64_C(10000000000000000);

struct task_view {
    unsigned n;
    struct {
        char name[32];
        enum task_outcome outcome;
        uint64_t requests, late, superseded;
        int64_t cost, retry; /* cents */
        char feature[8];
    } at[32];
};

static bool take_task(const struct ledger_task *t, void *arg)
{
    struct task_view *v = arg;

    assert_true(v->n < 32);
    snprintf(v->at[v->n].name, sizeof(v->at[0].name), STRV_FMT "/" STRV_FMT, STRV_ARG(t->team),
             STRV_ARG(t->task));
    snprintf(v->at[v->n].feature, sizeof(v->at[0].feature), STRV_FMT, STRV_ARG(t->value[0]));
    v->at[v->n].outcome = t->outcome;
    v->at[v->n].requests = t->sums.requests;
    v->at[v->n].late = t->late;
    v->at[v->n].superseded = t->superseded;
    v->at[v->n].cost = (int64_t)(t->sums.cost.atto / cent);
    v->at[v->n++].retry = (int64_t)(t->retry_cost.atto / cent);
    return true;
}

static void write_tasks(struct kit_dir *d)
{
    struct ledger *l = kit_start(d, NULL, NULL);
    struct journal *j = kit_journal(d, 0);

    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        struct record r = {.attempt = steps[i].attempt, .outcome = steps[i].outcome};

        r.id.b[0] = (unsigned char)(i + 1);
        r.end_us = KIT_START_US + steps[i].minute * INT64_C(60000000);
        r.start_us = r.end_us - 1000000;
        r.first_byte_us = -1;
        r.subject.dim[DIM_TEAM] = strv_z(steps[i].team);
        r.subject.dim[DIM_TASK] = strv_z(steps[i].task);
        r.subject.dim[DIM_TASK_TYPE] = STRV("answer");
        r.subject.dim[DIM_FEATURE] = i % 2 ? STRV("odd") : STRV("even");
        r.cost.atto = (money_int)steps[i].cents * cent;
        /* Out of order, as workers' segments are. */
        assert_int_equal(journal_end(j, &r), RC_OK);
    }
    for (size_t i = 0; i < sizeof(closes) / sizeof(*closes); i++) {
        struct task_note note = {KIT_START_US + 100 * INT64_C(60000000), strv_z(closes[i].team),
                                 strv_z(closes[i].task), STRV("key"), closes[i].outcome};

        assert_int_equal(journal_task(j, &note), RC_OK);
    }
    kit_flush(j);
    journal_close(j);
    ledger_stop(l);
}

static void read_cohort(struct kit_dir *d, enum ledger_cohort cohort, int64_t from, int64_t to,
                        const char *by, const char *where, struct task_view *v)
{
    struct ledger_reader *r = kit_read(d);
    struct ledger_field fields[1] = {field(by)};
    struct strv value = strv_z(where);
    struct ledger_filter f;
    struct fail fail;

    *v = (struct task_view){0};
    ledger_filter_init(&f, KIT_START_US + from * 60000000, KIT_START_US + to * 60000000);
    if (where)
        assert_int_equal(ledger_filter_add(&f, field("feature"), LEDGER_EQ, &value, 1), RC_OK);
    assert_int_equal(ledger_read_tasks(r, &f, cohort, fields, 1, 0, take_task, v, &fail), RC_OK);
    kit_read_end(r);
}

static int find_task(const struct task_view *v, const char *name)
{
    for (unsigned i = 0; i < v->n; i++) {
        if (strcmp(v->at[i].name, name) == 0)
            return (int)i;
    }
    return -1;
}

static void tasks_by_cohort(void **state)
{
    struct kit_dir d;
    struct task_view v;
    int i;

    (void)state;
    kit_dir_make(&d);
    write_tasks(&d);
    for (int with_lines = 0; with_lines < 2; with_lines++) {
        /* Grouping by a line's field makes the reader go to the lines. */
        read_cohort(&d, COHORT_CLOSED, 90, 110, with_lines ? "feature" : "team", NULL, &v);
        assert_int_equal(v.n, 9);
        assert_int_equal(find_task(&v, "a/open"), -1);
        i = find_task(&v, "a/woven");
        assert_int_equal(v.at[i].superseded, 2);
        assert_int_equal(v.at[i].retry, 3);
        i = find_task(&v, "a/retried");
        assert_true(i >= 0);
        assert_int_equal(v.at[i].requests, 3);
        assert_int_equal(v.at[i].superseded, 2);
        assert_int_equal(v.at[i].cost, 7);
        assert_int_equal(v.at[i].retry, 3);
        i = find_task(&v, "a/failed");
        assert_int_equal(v.at[i].outcome, TASK_FAILED);
        assert_int_equal(v.at[i].cost, 10);
        assert_int_equal(v.at[i].retry, 3);
        assert_int_equal(v.at[i].superseded, 0);
        i = find_task(&v, "a/late");
        assert_int_equal(v.at[i].late, 1);
        assert_int_equal(v.at[i].cost, 30); /* all its lines, whenever */
        i = find_task(&v, "b/clean");
        assert_int_equal(v.at[i].cost, 19);
        assert_string_equal(v.at[i].feature, with_lines ? "even" : "b");
        i = find_task(&v, "a/without-lines");
        assert_true(i >= 0);
        assert_int_equal(v.at[i].requests, 0);
    }
    read_cohort(&d, COHORT_CLOSED, 90, 100, "team", NULL, &v);
    assert_int_equal(v.n, 0);
    read_cohort(&d, COHORT_OPEN, 0, 20, "team", NULL, &v);
    assert_int_equal(v.n, 1);
    assert_string_equal(v.at[0].name, "a/open");
    assert_int_equal(v.at[0].cost, 11);
    read_cohort(&d, COHORT_SPEND, 0, 20, "feature", NULL, &v);
    assert_int_equal(v.n, 9);
    i = find_task(&v, "a/late");
    assert_int_equal(v.at[i].cost, 13); /* the lines of the period only */
    read_cohort(&d, COHORT_CLOSED, 90, 110, "team", "odd", &v);
    assert_int_equal(find_task(&v, "a/without-lines"), -1);
    i = find_task(&v, "a/retried");
    assert_int_equal(v.at[i].requests, 2);
    kit_verify(&d);
    kit_dir_remove(&d);
}

/* ---- tasks by column --------------------------------------------------------------- */

/* All that LEDGER_TASK_COSTS promises, as one number, and the values. */
struct told {
    size_t n_tasks, n_lines;
    uint64_t sum;
    size_t n_by;
    bool parts;
};

static void mix(struct told *t, const void *p, size_t n)
{
    const unsigned char *bytes = p;

    for (size_t i = 0; i < n; i++)
        t->sum = (t->sum ^ bytes[i]) * UINT64_C(1099511628211);
}

static bool tell_task(const struct ledger_task *task, void *arg)
{
    struct told *t = arg;
    const struct ledger_sums *s = &task->sums;
    const uint64_t counts[] = {task->outcome,    (uint64_t)task->closed_us, task->superseded,
                               task->late,       s->requests,               s->errors,
                               s->priced,        s->unpriced};

    mix(t, counts, sizeof(counts));
    mix(t, &s->cost, sizeof(s->cost));
    mix(t, &task->retry_cost, sizeof(task->retry_cost));
    mix(t, &task->late_cost, sizeof(task->late_cost));
    for (size_t i = 0; s->requests && i < t->n_by; i++)
        mix(t, task->value[i].p, task->value[i].n);
    for (unsigned k = 0; t->parts && k < LEDGER_PARTS; k++) {
        mix(t, &task->part[k].requests, sizeof(task->part[k].requests));
        mix(t, &task->part[k].priced, sizeof(task->part[k].priced));
        mix(t, &task->part[k].cost, sizeof(task->part[k].cost));
    }
    t->n_tasks++;
    t->n_lines += s->requests;
    return true;
}

static void task_costs_equal_lines(void **state)
{
    static const char *const by[] = {"team", "feature", "customer", "task", "tag:zone", "user"};
    struct ledger_reader *r = kit_read(&shared);
    uint64_t seed = 51, lines_told = 0;

    (void)state;
    for (int i = 0; i < QUESTIONS; i++) {
        struct told *fast = xcalloc(1, sizeof(*fast)), *slow = xcalloc(1, sizeof(*slow));
        struct zone *zone = zone_open("UTC");
        struct ledger_field fields[2] = {field(by[kit_below(&seed, 6)]),
                                         field(by[kit_below(&seed, 6)])};
        enum ledger_cohort cohort = (enum ledger_cohort)kit_below(&seed, 3);
        struct ledger_question q;
        struct fail fail;

        random_question(&seed, zone, true, &q);
        q.filter.by_start = false;
        fast->n_by = slow->n_by = (size_t)kit_below(&seed, 3);
        fast->parts = slow->parts = cohort == COHORT_SPEND;
        if (kit_below(&seed, 3) == 0)
            assert_int_equal(
                ledger_filter_add(&q.filter, field("customer"), LEDGER_NE, teams, 1), RC_OK);
        assert_int_equal(ledger_read_tasks(r, &q.filter, cohort, fields, fast->n_by,
                                           LEDGER_TASK_COSTS, tell_task, fast, &fail),
                         RC_OK);
        assert_int_equal(ledger_read_tasks(r, &q.filter, cohort, fields, slow->n_by, 0,
                                           tell_task, slow, &fail),
                         RC_OK);
        assert_int_equal(fast->n_tasks, slow->n_tasks);
        assert_int_equal(fast->n_lines, slow->n_lines);
        assert_true(fast->sum == slow->sum);
        lines_told += fast->n_lines;
        zone_close(zone);
        free(fast);
        free(slow);
    }
    assert_true(lines_told > LINES);
    kit_read_end(r);
}

/* ---- how many there are -------------------------------------------------------------- */

/* Groups as rows by the field say them, one after the other. */
struct counted {
    const struct ledger_rows *rows;
    size_t n_by, at, groups;
};

static bool in_group(const struct counted *c, size_t i, const struct strv *value)
{
    for (size_t k = 0; k < c->n_by; k++) {
        if (!strv_eq(c->rows->at[i].value[k], value[k]))
            return false;
    }
    return true;
}

static bool compare_group(const struct ledger_distinct *d, void *arg)
{
    struct counted *c = arg;
    uint64_t n = 0, priced = 0;
    struct money cost = MONEY_ZERO;

    while (c->at < c->rows->n && !in_group(c, c->at, d->value))
        assert_int_equal(c->rows->at[c->at++].value[c->n_by].n, 0); /* of nobody */
    for (; c->at < c->rows->n && in_group(c, c->at, d->value); c->at++) {
        const struct ledger_row *row = &c->rows->at[c->at];

        if (row->value[c->n_by].n == 0)
            continue;
        n++;
        priced += row->sums.priced;
        cost = money_add(cost, row->sums.cost);
    }
    assert_int_equal(d->n, n);
    assert_int_equal(d->priced, priced);
    assert_int_equal(money_cmp(d->cost, cost), 0);
    c->groups++;
    return true;
}

static void distinct_values_equal_rows(void **state)
{
    static const char *const by[] = {"team", "feature", "model", "customer", "zone", "prompt"};
    struct ledger_reader *r = kit_read(&shared);
    uint64_t seed = 61;
    size_t groups = 0;

    (void)state;
    for (int i = 0; i < QUESTIONS; i++) {
        struct ledger_field of = field(i % 4 ? "user" : "customer");
        struct zone *zone = zone_open("UTC");
        struct ledger_question q;
        struct ledger_rows rows;
        struct counted c;
        struct fail fail;

        random_question(&seed, zone, true, &q);
        q.grain = PERIOD_TOTAL;
        q.want = 0;
        q.n_by = (size_t)kit_below(&seed, 3);
        for (size_t k = 0; k < q.n_by; k++)
            q.by[k] = field(by[(kit_below(&seed, 3) + 3 * k) % (i % 10 ? 5 : 6)]);
        q.by[q.n_by] = of;
        q.n_by++;
        assert_int_equal(ledger_read_sums(r, &q, &rows, &fail), RC_OK);
        q.n_by--;
        c = (struct counted){.rows = &rows, .n_by = q.n_by};
        assert_int_equal(ledger_read_distinct(r, &q, &of, compare_group, &c, &fail), RC_OK);
        for (; c.at < rows.n; c.at++)
            assert_int_equal(rows.at[c.at].value[c.n_by].n, 0);
        groups += c.groups;
        ledger_rows_release(&rows);
        zone_close(zone);
    }
    assert_true(groups > QUESTIONS);
    kit_read_end(r);
}

static void classes_of_traffic(void **state)
{
    static const char *const cases[][2] = {
        {"prod", "live"}, {"Production", "live"}, {"eval", "evaluation"}, {"staging", "test"},
        {"CI", "test"}, {"load-test", "load"}, {"dev", "internal"}, {"prod-eu", "other"},
        {"pro", "other"}, {"e", "other"}, {"prod production", "other"}, {"", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_true(strv_eq(traffic_class(strv_z(cases[i][0])), strv_z(cases[i][1])));
}

static void fields_by_name(void **state)
{
    struct ledger_field f;

    (void)state;
    for (unsigned i = 0; i < LEDGER_FIELDS; i++) {
        if (i == FIELD_TAG)
            continue;
        f.id = (enum ledger_field_id)i;
        assert_true(ledger_field_parse(ledger_field_name(&f), &f));
        assert_int_equal(f.id, i);
    }
    assert_true(ledger_field_parse(STRV("cost-centre"), &f));
    assert_int_equal(f.id, FIELD_TAG);
    assert_true(ledger_field_parse(STRV("tag:team"), &f));
    assert_int_equal(f.id, FIELD_TAG);
    assert_true(strv_eq(ledger_field_name(&f), STRV("team")));
    assert_false(ledger_field_parse(STRV("No Tag"), &f));
    assert_false(ledger_field_parse(STRV(""), &f));
    assert_false(ledger_field_parse(STRV("tag:"), &f));
}

static void too_many_conditions_are_refused(void **state)
{
    struct ledger_filter f;

    (void)state;
    ledger_filter_init(&f, 0, 1);
    for (int i = 0; i < LEDGER_CONDITIONS_MAX; i++)
        assert_int_equal(ledger_filter_add(&f, field("team"), LEDGER_EQ, teams, 1), RC_OK);
    assert_int_equal(ledger_filter_add(&f, field("team"), LEDGER_EQ, teams, 1), RC_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rollups_equal_lines),
        cmocka_unit_test(facts_equal_lines),
        cmocka_unit_test(task_costs_equal_lines),
        cmocka_unit_test(distinct_values_equal_rows),
        cmocka_unit_test(answers_equal_the_oracle),
        cmocka_unit_test(lines_are_chosen_and_ordered),
        cmocka_unit_test(the_dearest_are_the_same_by_columns),
        cmocka_unit_test(as_of_and_verify),
        cmocka_unit_test(a_view_is_consistent),
        cmocka_unit_test(audit_sees_what_was_changed),
        cmocka_unit_test(tasks_by_cohort),
        cmocka_unit_test(fields_by_name),
        cmocka_unit_test(classes_of_traffic),
        cmocka_unit_test(too_many_conditions_are_refused),
    };

    return cmocka_run_group_tests(tests, make_shared, remove_shared);
}
