#include "reports/task_sums.h"

#include "tests/unit/unit.h"

static struct money units(int64_t n)
{
    return (struct money){n};
}

static void add(struct task_sums *s, enum task_outcome outcome, int64_t cost, int64_t retry,
                uint64_t requests)
{
    struct money each = units(cost);
    const struct ledger_task_sums task = {.outcome = outcome,
                                          .tasks = 1,
                                          .requests = requests,
                                          .priced = requests,
                                          .cost = each,
                                          .retry_cost = units(retry),
                                          .each = &each,
                                          .n_each = outcome == TASK_COMPLETED};

    task_sums_add(s, &task);
}

/* Nearest rank: a value that a task really had, never between two. */
static void test_percentiles_are_nearest_rank(void **state)
{
    static const int values[] = {12, 5, 7, 3, 100, 8, 9, 4, 6, 11};
    static const struct {
        unsigned percent;
        int want;
    } cases[] = {{50, 7}, {90, 12}, {95, 100}, {99, 100}, {100, 100}, {1, 3}, {10, 3}, {11, 4}};
    enum { CASES = sizeof(cases) / sizeof(cases[0]) };
    unsigned percents[CASES];
    struct money at[CASES];
    struct task_sums s = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        add(&s, TASK_COMPLETED, values[i], 0, 1);
    for (size_t i = 0; i < CASES; i++)
        percents[i] = cases[i].percent;
    task_sums_percentiles(&s, percents, CASES, at);
    for (size_t i = 0; i < CASES; i++)
        assert_int_equal((int)at[i].atto, cases[i].want);
    task_sums_release(&s);
}

static void test_split(void **state)
{
    struct task_sums s = {0}, other = {0};
    struct task_split split;

    (void)state;
    add(&s, TASK_COMPLETED, 10, 0, 1);
    add(&s, TASK_COMPLETED, 30, 20, 3); /* two retries, then success */
    add(&s, TASK_FAILED, 7, 3, 2);
    add(&other, TASK_ABANDONED, 5, 0, 1);
    add(&other, TASK_OPEN, 4, 2, 2);
    add(&other, TASK_COMPLETED, 0, 0, 1); /* all cache hits: a cost, and it is 0 */
    task_sums_merge(&s, &other);
    split = task_sums_split(&s);
    assert_int_equal((int)split.useful.atto, 20);
    assert_int_equal((int)split.retry.atto, 23);
    assert_int_equal((int)split.failure.atto, 9);
    assert_int_equal((int)split.open.atto, 4);
    assert_int_equal((int)split.total.atto, 56);
    assert_int_equal(s.n_completed, 3);
    assert_int_equal(task_sums_all(&s).tasks, 6);
    task_sums_release(&s);
    task_sums_release(&other);
}

/* A task none of whose requests has a price has no known cost: it is in no percentile. */
static void test_unpriced_tasks_are_unknown(void **state)
{
    struct task_sums s = {0};
    const struct ledger_task_sums task = {
        .outcome = TASK_COMPLETED, .tasks = 1, .requests = 2, .unpriced = 2};

    (void)state;
    task_sums_add(&s, &task);
    assert_int_equal(s.n_completed, 0);
    assert_int_equal(s.part[TASK_COMPLETED].tasks, 1);
    assert_int_equal(s.unpriced, 2);
    task_sums_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percentiles_are_nearest_rank),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_unpriced_tasks_are_unknown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
