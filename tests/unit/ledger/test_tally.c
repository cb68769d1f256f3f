/*
 * test_tally.c - what tasks came to: told from tallies it is what their lines say, also of what
 * came later; older ledgers get tallies; those of deleted lines go; damage is named.
 */
#include "tests/unit/ledger/kit.h"

#include "metering/ledger/read_tally.h"

#define US_PER_HOUR (INT64_C(3600) * US_PER_SECOND)

/* Tasks of two blocks and some of a third, of two lines and some more. */
enum { LINES = 25000, BLOCKS = 2, SPAN_DAYS = 10, LATE = 400, QUESTIONS = 24, SLOW_STEP = 12 };

static struct kit_dir shared;
static struct record kept[64]; /* of lines that are corrected later; of static texts */
static char kept_tasks[64][16];
static size_t n_kept;

/* ---- the ledger -------------------------------------------------------------------------- */

/* A line of a task; of most tasks all lines are alike but for outcome, cost and times. */
static void make_line(uint64_t *seed, int64_t us, int task, char *name, struct record *r)
{
    static const char *const teams[] = {"search", "billing", "h\xc3\xa9las"};
    uint64_t kind = 1 + (uint64_t)task % 64;
    struct record other;

    kit_record(seed, us, US_PER_HOUR, &other);
    if (task % 10 < 3) {
        *r = other;
    } else {
        kit_record(&kind, us, US_PER_HOUR, r);
        memcpy(r->id.b, other.id.b, UUID_BYTES);
        r->start_us = other.start_us;
        r->end_us = other.end_us;
        r->outcome = other.outcome;
        r->attempt = other.attempt;
        r->cost.atto += r->price_status == PRICE_NONE ? 0 : (money_int)kit_below(seed, 1000000);
    }
    r->is_repeat = kit_below(seed, 5) == 0;
    snprintf(name, 16, "task-%d", task);
    r->subject.dim[DIM_TASK] = kit_below(seed, 12) ? strv_z(name) : STRV_NONE;
    r->subject.dim[DIM_TEAM] = strv_z(teams[task % 3]);
}

static void close_task(struct journal *j, uint64_t *seed, const struct record *r, int64_t span_us)
{
    struct task_note note = {.at_us = r->start_us + (int64_t)kit_below(seed, (uint64_t)span_us),
                             .team = r->subject.dim[DIM_TEAM],
                             .task = r->subject.dim[DIM_TASK],
                             .key = STRV("k1"),
                             .outcome = (enum task_outcome)(1 + kit_below(seed, 3))};

    if (note.task.n)
        assert_int_equal(journal_task(j, &note), RC_OK);
}

static void keep(const struct record *r)
{
    struct record *to = &kept[n_kept];

    if (n_kept == 64 || r->subject.dim[DIM_TASK].n == 0)
        return;
    *to = *r;
    snprintf(kept_tasks[n_kept], 16, STRV_FMT, STRV_ARG(r->subject.dim[DIM_TASK]));
    to->subject.dim[DIM_TASK] = strv_z(kept_tasks[n_kept++]);
}

/* Some tasks never had a line. */
static void close_strangers(struct journal *j, int from)
{
    for (int i = from; i < from + 5; i++) {
        char name[16];
        struct task_note note = {KIT_START_US + i * US_PER_DAY, STRV("search"), {0}, STRV("k1"),
                                 TASK_FAILED};

        snprintf(name, sizeof(name), "none-%d", i);
        note.task = strv_z(name);
        assert_int_equal(journal_task(j, &note), RC_OK);
    }
}

static void write_lines(struct journal *j, struct ledger *l)
{
    int64_t step_us = SPAN_DAYS * US_PER_DAY / LINES;
    uint64_t seed = 31;

    for (int i = 0; i < LINES; i++) {
        int newest = i / 2, task = newest - (int)kit_below(&seed, 8);
        char name[16];
        struct record r;

        if (kit_below(&seed, 50) == 0) /* long after */
            task = (int)kit_below(&seed, (uint64_t)newest + 1);
        make_line(&seed, KIT_START_US + i * step_us, task < 0 ? 0 : task, name, &r);
        assert_int_equal(journal_end(j, &r), RC_OK);
        if (kit_below(&seed, 3) == 0)
            close_task(j, &seed, &r, 2 * US_PER_HOUR);
        if (i % 300 == 7)
            keep(&r);
        if (i == 5000)
            close_strangers(j, 0);
        if (i % 1000 == 0) {
            kit_flush(j);
            ledger_catch_up(l);
        }
    }
    kit_flush(j);
    ledger_catch_up(l);
}

static void wait_until(const char *sql, int64_t n)
{
    int64_t until = clock_mono_us() + 600 * US_PER_SECOND;

    while (kit_ask(&shared, sql) != n && clock_mono_us() < until)
        usleep(20000);
    assert_int_equal(kit_ask(&shared, sql), n);
}

/* Takes what is journalled already, and looks for tasks at once. */
static void add_up(const char *sql, int64_t n)
{
    struct ledger *l = kit_start(&shared, NULL, NULL);

    wait_until(sql, n);
    ledger_stop(l);
}

static const char count_blocks[] = "SELECT count(*) FROM tally_block";

static int make_shared(void **state)
{
    struct ledger *l;
    struct journal *j;

    (void)state;
    kit_dir_make(&shared);
    l = kit_start(&shared, NULL, NULL);
    j = kit_journal(&shared, 0);
    write_lines(j, l);
    journal_close(j);
    ledger_stop(l);
    add_up(count_blocks, BLOCKS);
    return 0;
}

static int remove_shared(void **state)
{
    (void)state;
    kit_dir_remove(&shared);
    return 0;
}

/* ---- questions ---------------------------------------------------------------------------- */

enum { WANTS = 6 };
static const unsigned wants[WANTS] = {
    LEDGER_TASK_EACH | LEDGER_TASK_COUNTS | LEDGER_TASK_PARTS, 0, LEDGER_TASK_EACH,
    LEDGER_TASK_COUNTS, LEDGER_TASK_AGAIN, LEDGER_TASK_PARTS};

/* All that LEDGER_TASK_COSTS promises, as one number. */
struct told {
    size_t n_tasks, n_lines, n_by;
    uint64_t sum;
    uint64_t added[WANTS]; /* of what is added up by values and outcome: in any order */
    uint64_t again; /* what was superseded, whatever the task's outcome */
    enum rc rc;
    bool parts;
};

static void mix(struct told *t, const void *p, size_t n)
{
    const unsigned char *bytes = p;

    for (size_t i = 0; i < n; i++)
        t->sum = (t->sum ^ bytes[i]) * UINT64_C(1099511628211);
}

/* Some number that differs for other numbers. */
static uint64_t mixed(uint64_t n)
{
    n = (n ^ n >> 31) * UINT64_C(0x9e3779b97f4a7c15);
    return (n ^ n >> 29) * UINT64_C(0xd6e8feb86659fd93);
}

static bool wants_part(unsigned want, unsigned part)
{
    return want & LEDGER_TASK_PARTS || (want & LEDGER_TASK_AGAIN && part == PART_SUPERSEDED);
}

/* A number of the group times what it comes to: of sums it is the sum. */
static uint64_t added_up(const struct told *t, const struct ledger_task_sums *s)
{
    const uint64_t n[] = {s->tasks,      s->requests, s->errors,
                          s->priced,     s->unpriced, s->superseded,
                          s->late,       (uint64_t)s->cost.atto,
                          (uint64_t)s->retry_cost.atto, (uint64_t)s->late_cost.atto};
    struct told group = {.sum = 1 + s->outcome};
    uint64_t sum = 0;

    for (size_t i = 0; s->value && i < t->n_by; i++) {
        mix(&group, &s->value[i].n, sizeof(s->value[i].n));
        mix(&group, s->value[i].p, s->value[i].n);
    }
    for (size_t i = 0; i < sizeof(n) / sizeof(*n); i++)
        sum += n[i] * mixed(i);
    for (unsigned k = 0; t->parts && k < LEDGER_PARTS; k++)
        sum += s->part[k].requests * mixed(100 + k) + s->part[k].priced * mixed(200 + k) +
               (uint64_t)s->part[k].cost.atto * mixed(300 + k);
    for (size_t i = 0; i < s->n_each; i++)
        sum += mixed((uint64_t)s->each[i].atto);
    return sum * mixed(group.sum);
}

/* As a want tells of it. */
static uint64_t added_of(const struct told *t, const struct ledger_task *task, unsigned want)
{
    const struct ledger_sums *s = &task->sums;
    struct money each = s->cost;
    struct ledger_task_sums one = {.value = task->value,
                                   .outcome = task->outcome,
                                   .tasks = 1,
                                   .cost = s->cost,
                                   .each = &each,
                                   .n_each = want & LEDGER_TASK_EACH &&
                                             task->outcome == TASK_COMPLETED &&
                                             (s->priced > 0 || s->requests == 0)};

    if (want & LEDGER_TASK_COUNTS) {
        one.requests = s->requests;
        one.errors = s->errors;
        one.priced = s->priced;
        one.unpriced = s->unpriced;
        one.superseded = task->superseded;
        one.late = task->late;
        one.retry_cost = task->retry_cost;
        one.late_cost = task->late_cost;
    }
    for (unsigned k = 0; k < LEDGER_PARTS; k++) {
        if (wants_part(want, k))
            one.part[k] = task->part[k];
    }
    return added_up(t, &one);
}

/* Of what was superseded alone: a number of the values times what it comes to. */
static uint64_t again_of(const struct told *t, const struct strv *value,
                         const struct ledger_part_sum *part)
{
    const struct ledger_task_sums one = {.value = value,
                                         .requests = part->requests,
                                         .priced = part->priced,
                                         .cost = part->cost};

    return added_up(t, &one);
}

static bool tell_again(const struct ledger_task_sums *sums, void *arg)
{
    struct told *t = arg;

    t->again += again_of(t, sums->value, &sums->part[PART_SUPERSEDED]);
    t->n_tasks += sums->tasks;
    return true;
}

static bool tell_sums(const struct ledger_task_sums *sums, void *arg)
{
    struct told *t = arg;

    t->added[0] += added_up(t, sums);
    t->n_tasks += sums->tasks;
    return true;
}

static bool tell_task(const struct ledger_task *task, void *arg)
{
    struct told *t = arg;
    const struct ledger_sums *s = &task->sums;
    const uint64_t counts[] = {task->outcome, (uint64_t)task->closed_us, task->superseded,
                               task->late,    s->requests,               s->errors,
                               s->priced,     s->unpriced};

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
    for (size_t i = 0; i < WANTS; i++)
        t->added[i] += added_of(t, task, wants[i]);
    t->again += again_of(t, task->value, &task->part[PART_SUPERSEDED]);
    t->n_tasks++;
    t->n_lines += s->requests;
    return true;
}

static struct ledger_field field(const char *name)
{
    struct ledger_field f;

    assert_true(ledger_field_parse(strv_z(name), &f));
    return f;
}

static const struct {
    const char *field;
    enum ledger_op op;
    struct strv value;
} conditions[] = {
    {"team", LEDGER_EQ, {"search", 6}},     {"team", LEDGER_NE, {"search", 6}},
    {"feature", LEDGER_EQ, {"rank", 4}},    {"model", LEDGER_GLOB, {"gpt*", 4}},
    {"customer", LEDGER_EQ, {"acme", 4}},   {"user", LEDGER_NE, {"u1", 2}},
    {"zone", LEDGER_EQ, {"a", 1}},          {"task", LEDGER_GLOB, {"task-1*", 7}},
    {"token_band", LEDGER_EQ, {"1-4k", 4}}, {"task_outcome", LEDGER_NE, {"failed", 6}},
    {"outcome", LEDGER_EQ, {"ok", 2}},      {"traffic_class", LEDGER_EQ, {"live", 4}},
    {"traffic_class", LEDGER_NE, {"internal", 8}},
};

static const char *const groups[] = {"team", "feature", "customer",     "task",
                                     "zone", "user",    "task_outcome", "token_band",
                                     "traffic_class"};

static size_t n_left_out, n_again; /* of questions on retries: tasks; that found any */

struct question {
    struct ledger_filter filter;
    enum ledger_cohort cohort;
    struct ledger_field by[2];
    size_t n_by;
};

/* Every third over all time. */
static void make_question(int i, struct question *q)
{
    uint64_t seed = 900 + (uint64_t)i;
    int64_t from = KIT_START_US + (int64_t)kit_below(&seed, SPAN_DAYS * US_PER_DAY);
    int64_t to = from + (int64_t)kit_below(&seed, SPAN_DAYS * US_PER_DAY / 2);

    *q = (struct question){.cohort = (enum ledger_cohort)kit_below(&seed, 3),
                           .by = {field(groups[kit_below(&seed, 9)]),
                                  field(groups[kit_below(&seed, 9)])},
                           .n_by = (size_t)kit_below(&seed, 3)};
    ledger_filter_init(&q->filter, i % 3 ? from : INT64_MIN, i % 3 ? to : INT64_MAX);
    for (uint64_t n = kit_below(&seed, 5); n >= 3; n--) {
        size_t k = (size_t)kit_below(&seed, sizeof(conditions) / sizeof(*conditions));

        assert_int_equal(ledger_filter_add(&q->filter, field(conditions[k].field),
                                           conditions[k].op, &conditions[k].value, 1),
                         RC_OK);
    }
}

/* The same added up is the same, and nothing is told that is not wanted. */
static void assert_added_as(struct ledger_reader *r, const struct question *q,
                            const struct told *t, size_t want)
{
    struct told sums = {.n_by = q->n_by, .parts = t->parts};
    struct fail fail;

    assert_int_equal(ledger_read_task_sums(r, &q->filter, q->cohort, q->by, q->n_by,
                                           wants[want], tell_sums, &sums, &fail),
                     t->rc);
    if (t->rc != RC_OK)
        return;
    assert_int_equal(sums.n_tasks, t->n_tasks);
    assert_true(sums.added[0] == t->added[want]);
}

/* Where retries are all that is looked at, tasks without any may be left out. */
static void assert_retried(struct ledger_reader *r, const struct question *q, const struct told *t)
{
    struct told sums = {.n_by = q->n_by};
    struct fail fail;

    if (!t->parts)
        return;
    assert_int_equal(ledger_read_task_sums(r, &q->filter, q->cohort, q->by, q->n_by,
                                           LEDGER_TASK_AGAIN | LEDGER_TASK_RETRIED, tell_again,
                                           &sums, &fail),
                     t->rc);
    if (t->rc != RC_OK)
        return;
    assert_true(sums.n_tasks <= t->n_tasks);
    assert_true(sums.again == t->again);
    n_left_out += t->n_tasks - sums.n_tasks;
    n_again += t->again != 0;
}

/* Closed and open ones in one go are those of the one cohort and of the other. */
static void assert_with_open(struct ledger_reader *r, const struct question *q,
                             const struct told *closed)
{
    struct told open = {.n_by = q->n_by}, both = {.n_by = q->n_by};
    struct fail fail;
    enum rc rc;

    if (q->cohort != COHORT_CLOSED)
        return;
    open.rc = ledger_read_tasks(r, &q->filter, COHORT_OPEN, q->by, q->n_by, LEDGER_TASK_COSTS,
                                tell_task, &open, &fail);
    rc = ledger_read_task_sums(r, &q->filter, COHORT_CLOSED, q->by, q->n_by,
                               wants[0] | LEDGER_TASK_OPEN, tell_sums, &both, &fail);
    assert_int_equal(rc, closed->rc);
    if (rc != RC_OK)
        return;
    assert_int_equal(open.rc, RC_OK);
    assert_int_equal(both.n_tasks, closed->n_tasks + open.n_tasks);
    assert_true(both.added[0] == closed->added[0] + open.added[0]);
}

/* All of it, and one of its parts after the other. */
static void assert_added_up(struct ledger_reader *r, const struct question *q,
                            const struct told *t)
{
    static size_t asked;

    assert_added_as(r, q, t, 0);
    assert_with_open(r, q, t);
    assert_retried(r, q, t);
    assert_added_as(r, q, t, 1 + asked++ % (WANTS - 1));
}

static struct told ask(struct ledger_reader *r, const struct question *q, unsigned want)
{
    struct told t = {.n_by = q->n_by, .parts = q->cohort == COHORT_SPEND};
    struct fail fail;

    t.rc = ledger_read_tasks(r, &q->filter, q->cohort, q->by, q->n_by, want, tell_task, &t,
                             &fail);
    assert_true(t.rc == RC_OK || (t.rc == RC_STATE && ledger_lines_are_gone(&fail)));
    assert_added_up(r, q, &t);
    return t;
}

static void assert_same(const struct told *a, const struct told *b)
{
    assert_int_equal(a->rc, b->rc);
    if (a->rc != RC_OK)
        return;
    assert_int_equal(a->n_tasks, b->n_tasks);
    assert_int_equal(a->n_lines, b->n_lines);
    assert_true(a->sum == b->sum);
}

static void ask_all(struct told *out)
{
    struct ledger_reader *r = kit_read(&shared);

    for (int i = 0; i < QUESTIONS; i++) {
        struct question q;

        make_question(i, &q);
        out[i] = ask(r, &q, LEDGER_TASK_COSTS);
    }
    kit_read_end(r);
}

static void put_aside(void)
{
    kit_sql(&shared, "CREATE TABLE aside AS SELECT * FROM tally_block; DELETE FROM tally_block");
}

static void put_back(void)
{
    kit_sql(&shared, "DELETE FROM tally_block; INSERT INTO tally_block SELECT * FROM aside;"
                     "DROP TABLE aside");
}

/* Tasks as tallies tell them are those of their lines by column, and of the lines themselves. */
static void compare(void)
{
    struct told *fast = xcalloc(QUESTIONS, sizeof(*fast)),
                *slow = xcalloc(QUESTIONS, sizeof(*slow));
    struct ledger_reader *r;
    size_t n = 0;

    ask_all(fast);
    put_aside();
    ask_all(slow);
    put_back();
    for (int i = 0; i < QUESTIONS; i++) {
        assert_same(&fast[i], &slow[i]);
        n += fast[i].n_tasks;
    }
    assert_true(n > LINES / 2);
    r = kit_read(&shared);
    for (int i = 1; i < QUESTIONS; i += SLOW_STEP) {
        struct question q;
        struct told lines;

        make_question(i, &q);
        lines = ask(r, &q, 0);
        assert_same(&fast[i], &lines);
    }
    kit_read_end(r);
    free(fast);
    free(slow);
    assert_true(n_left_out > 0 && n_again > 0);
}

/* As the audit looks at tallies, and at them alone. */
static struct ledger_verdict verify(void)
{
    struct ledger_reader *r = kit_read(&shared);
    struct ledger_verdict v = {0};
    struct fail fail;

    assert_int_equal(verify_tallies(r, &v, &fail), RC_OK);
    assert_int_equal(v.tallies, BLOCKS);
    kit_read_end(r);
    return v;
}

/* ---- tests ------------------------------------------------------------------------------- */

static void tallies_equal_lines(void **state)
{
    (void)state;
    assert_int_equal(kit_ask(&shared, "SELECT count(*) FROM tally_block WHERE is_none"), 0);
    compare();
    assert_int_equal(verify().bad_tallies, 0);
}

static void correct(struct journal *j)
{
    uint64_t seed = 77;

    for (size_t i = 0; i < n_kept; i++) {
        struct record r = kept[i];

        for (int b = 0; b < UUID_BYTES; b++)
            r.id.b[b] = (unsigned char)kit_random(&seed);
        r.is_correction = true;
        r.corrects = kept[i].id;
        r.was_unpriced = r.price_status == PRICE_NONE;
        r.price_status = PRICE_OK;
        r.n_lines = 0;
        r.cost.atto = r.list_cost.atto = (money_int)kit_below(&seed, 1000000000) * 1000003;
        r.reason = STRV("why");
        r.corrected_by = STRV("who");
        assert_int_equal(journal_end(j, &r), RC_OK);
    }
}

/* Behind the block of facts up to which a tally looked: lines, corrections, outcomes. */
static void what_comes_late_is_told(void **state)
{
    struct ledger *l = kit_start(&shared, NULL, NULL);
    struct journal *j = kit_journal(&shared, 0);
    uint64_t seed = 47;

    (void)state;
    for (int i = 0; i < LATE; i++) {
        int64_t us = KIT_START_US + (int64_t)kit_below(&seed, SPAN_DAYS * US_PER_DAY);
        char name[16];
        struct record r;

        make_line(&seed, us, (int)kit_below(&seed, LINES / 2), name, &r);
        if (i % 2 == 0)
            assert_int_equal(journal_end(j, &r), RC_OK);
        if (i % 3 == 0)
            close_task(j, &seed, &r, US_PER_DAY);
    }
    correct(j);
    close_strangers(j, 3);
    kit_flush(j);
    ledger_catch_up(l);
    journal_close(j);
    ledger_stop(l);
    assert_true(kit_ask(&shared, "SELECT count(*) FROM tally_again") > 5);
    compare();
    kit_verify(&shared);
}

/* Once there are lines of hours later, blocks are made anew; nothing is open then. */
static void they_are_made_anew(void **state)
{
    int64_t through = kit_ask(&shared, "SELECT min(through) FROM tally_block");
    struct ledger *l = kit_start(&shared, NULL, NULL);
    struct journal *j = kit_journal(&shared, 0);
    uint64_t seed = 59;

    (void)state;
    for (int i = 0; i < 2 * FACT_BLOCK; i++) {
        int64_t us = KIT_START_US + SPAN_DAYS * US_PER_DAY + i * US_PER_HOUR / 1000;
        char name[16];
        struct record r;

        make_line(&seed, us, LINES / 2 - 1 - i % 100, name, &r);
        assert_int_equal(journal_end(j, &r), RC_OK);
        if (i % 1000 == 0) {
            kit_flush(j);
            ledger_catch_up(l);
        }
    }
    kit_flush(j);
    ledger_catch_up(l);
    journal_close(j);
    ledger_stop(l);
    add_up("SELECT count(*) FROM tally_again", 0);
    assert_true(kit_ask(&shared, "SELECT min(through) FROM tally_block") > through);
    compare();
    assert_int_equal(verify().bad_tallies, 0);
}

static void an_older_ledger_gets_them(void **state)
{
    (void)state;
    kit_make_version_7(&shared);
    kit_sql(&shared, "DROP TABLE tally; DROP TABLE tally_block; DROP TABLE tally_again;"
                     "PRAGMA user_version=6");
    add_up(count_blocks, BLOCKS);
    assert_int_equal(kit_ask(&shared, "SELECT count(*) FROM tally WHERE id>>40=64"), BLOCKS);
    compare();
    assert_int_equal(verify().bad_tallies, 0);
}

/* Of a count, of bytes, of what is not said. */
static const char *const damages[] = {
    "UPDATE tally SET body=(SELECT max(body) FROM tally WHERE id>>40=0) WHERE id>>40=10",
    "UPDATE tally SET body=x'ff' WHERE id>>40=64",
    "DELETE FROM tally WHERE id>>40=1",
    "UPDATE tally_block SET through=1",
};

static void damage_is_named(void **state)
{
    (void)state;
    kit_sql(&shared, "CREATE TABLE t AS SELECT * FROM tally;"
                     "CREATE TABLE b AS SELECT * FROM tally_block");
    for (size_t i = 0; i < sizeof(damages) / sizeof(*damages); i++) {
        struct ledger_verdict v;

        kit_sql(&shared, damages[i]);
        v = verify();
        assert_true(v.bad_tallies > 0);
        assert_non_null(strstr(v.first, "what tasks from "));
        kit_sql(&shared, "DELETE FROM tally; INSERT INTO tally SELECT * FROM t;"
                         "DELETE FROM tally_block; INSERT INTO tally_block SELECT * FROM b");
    }
    assert_int_equal(verify().bad_tallies, 0);
}

/* So tallies are what answers. */
static void a_wrong_tally_shows(void **state)
{
    struct question q = {.cohort = COHORT_CLOSED};
    struct ledger_reader *r = kit_read(&shared);
    struct told was, is;

    (void)state;
    ledger_filter_init(&q.filter, INT64_MIN, INT64_MAX);
    was = ask(r, &q, LEDGER_TASK_COSTS);
    kit_read_end(r);
    kit_sql(&shared, "DELETE FROM tally WHERE id>>40=64");
    r = kit_read(&shared);
    is = ask(r, &q, LEDGER_TASK_COSTS);
    kit_read_end(r);
    assert_int_equal(was.n_tasks, is.n_tasks);
    assert_true(was.sum != is.sum);
    kit_sql(&shared, "DELETE FROM tally; INSERT INTO tally SELECT * FROM t");
}

static void those_of_deleted_lines_go(void **state)
{
    int64_t day = KIT_START_US / US_PER_DAY + SPAN_DAYS / 2;
    struct ledger_options options = {.path = shared.db,
                                     .journal_dir = shared.journal,
                                     .sync = SYNC_NEVER,
                                     .ingest_interval_ms = 2,
                                     .keep_days = (int)(clock_wall_us() / US_PER_DAY - day)};
    struct told *fast = xcalloc(QUESTIONS, sizeof(*fast)),
                *slow = xcalloc(QUESTIONS, sizeof(*slow));
    char sql[160];
    struct ledger *l;
    struct fail fail;

    (void)state;
    snprintf(sql, sizeof(sql),
             "SELECT count(*) FROM tally_block WHERE first_us<%lld OR through=0",
             (long long)(day * US_PER_DAY));
    assert_true(kit_ask(&shared, sql) > 0);
    kit_kept_until(&shared, clock_wall_us());
    l = ledger_start(&options, NULL, NULL, &fail);
    assert_non_null(l);
    wait_until(sql, 0);
    wait_until(count_blocks, BLOCKS);
    ledger_stop(l);
    kit_verify(&shared);
    for (int pass = 0; pass < 2; pass++) {
        struct ledger_reader *r = kit_read(&shared);

        for (int i = 0; i < QUESTIONS; i++) {
            struct question q;

            make_question(i, &q);
            if (q.filter.from_us < day * US_PER_DAY)
                q.filter.from_us = day * US_PER_DAY;
            if (q.filter.to_us > q.filter.from_us)
                (pass ? slow : fast)[i] = ask(r, &q, LEDGER_TASK_COSTS);
        }
        kit_read_end(r);
        if (pass == 0)
            put_aside();
    }
    put_back();
    for (int i = 0; i < QUESTIONS; i++)
        assert_same(&fast[i], &slow[i]);
    free(fast);
    free(slow);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tallies_equal_lines),    cmocka_unit_test(what_comes_late_is_told),
        cmocka_unit_test(they_are_made_anew),     cmocka_unit_test(an_older_ledger_gets_them),
        cmocka_unit_test(damage_is_named),        cmocka_unit_test(a_wrong_tally_shows),
        cmocka_unit_test(those_of_deleted_lines_go),
    };

    return cmocka_run_group_tests(tests, make_shared, remove_shared);
}
