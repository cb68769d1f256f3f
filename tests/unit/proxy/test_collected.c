/*
 * What was counted of answers that can be fetched again: once, by whoever comes first, also
 * after a restart; and bounded.
 */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/collected.h"
#include "tests/unit/proxy/scratch_dir.h"

static int setup(void **state)
{
    static struct scratch_dir dir;

    scratch_make(&dir);
    *state = &dir;
    return 0;
}

static int teardown(void **state)
{
    scratch_remove(*state);
    return 0;
}

static struct collected *open_in(void **state)
{
    const struct scratch_dir *dir = *state;
    struct collected *c;
    struct fail fail;

    assert_int_equal(collected_open(dir->path, &c, &fail), RC_OK);
    return c;
}

static void test_once_and_in_order(void **state)
{
    struct collected *c = open_in(state);
    uint64_t key = collected_key(STRV("openai"), STRV("resp_1"));

    assert_true(collected_claim(c, key, 1));
    assert_false(collected_claim(c, key, 1));
    assert_true(collected_claim(c, key, 2));
    assert_false(collected_claim(c, key, 1));
    assert_true(collected_claim(c, collected_key(STRV("other"), STRV("resp_1")), 1));
    collected_close(c);
}

static void test_sums_that_rise(void **state)
{
    static const struct {
        uint64_t n, from;
        bool rises;
    } STEPS[] = {{0, 0, false}, {5, 0, true},  {5, 5, false}, {3, 5, false},
                 {9, 5, true},  {10, 9, true}, {10, 10, false}};
    struct collected *c = open_in(state);
    uint64_t key = collected_key(STRV("anthropic"), STRV("sesn_1~output")), from;

    for (size_t i = 0; i < sizeof(STEPS) / sizeof(STEPS[0]); i++) {
        assert_int_equal(collected_rise(c, key, STEPS[i].n, &from), STEPS[i].rises);
        assert_int_equal(from, STEPS[i].from);
    }
    collected_close(c);
}

static void test_a_restart_remembers(void **state)
{
    struct collected *c = open_in(state);
    uint64_t kept = collected_key(STRV("a"), STRV("kept"));
    uint64_t lost = collected_key(STRV("a"), STRV("lost"));
    char path[256];
    int fd;

    for (uint64_t n = 1; n <= 7; n++)
        assert_true(collected_claim(c, kept, n));
    assert_true(collected_claim(c, lost, 1));
    collected_keep(c, kept);
    collected_close(c);
    fd = open(scratch_path(*state, "collected", path), O_WRONLY | O_APPEND);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "torn", 4), 4);
    close(fd);
    c = open_in(state);
    assert_false(collected_claim(c, kept, 7));
    assert_true(collected_claim(c, kept, 8));
    assert_true(collected_claim(c, lost, 1)); /* never settled */
    collected_keep(c, kept);
    collected_close(c);
    c = open_in(state);
    assert_false(collected_claim(c, kept, 8));
    collected_close(c);
}

static struct collected *again(void **state, struct collected *c)
{
    collected_close(c);
    return open_in(state);
}

/* What a record noted that never ended goes back, whichever is told of first; the rest stands. */
static void test_what_was_never_told(void **state)
{
    struct collected *c = open_in(state);
    const struct uuid ended = {{1}}, first = {{2}}, second = {{3}};
    uint64_t lines = collected_key(STRV("a"), STRV("lines"));
    uint64_t other = collected_key(STRV("a"), STRV("other"));

    assert_true(collected_take(c, lines, 0, 10));
    assert_false(collected_take(c, lines, 0, 10)); /* of two at once one */
    assert_false(collected_take(c, lines, 5, 20));
    collected_note(c, lines, 0, 10, &ended);
    assert_true(collected_take(c, lines, 10, 20));
    collected_note(c, lines, 10, 20, &first);
    assert_true(collected_take(c, lines, 20, 30));
    collected_note(c, lines, 20, 30, &second);
    assert_true(collected_take(c, other, 0, 7));
    collected_note(c, other, 0, 7, &second);
    c = again(state, c);
    assert_int_equal(collected_known(c, lines), 30);
    collected_take_back(c, &first);
    assert_int_equal(collected_known(c, lines), 30); /* what came after it is told */
    collected_take_back(c, &(const struct uuid){{9}});
    collected_take_back(c, &second);
    collected_take_back(c, &second);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(collected_known(c, lines), 10);
        assert_int_equal(collected_known(c, other), 0);
        /* Others know of what went back from this gateway alone. */
        collected_learn(c, lines, 30);
        assert_int_equal(collected_known(c, lines), 10);
        c = again(state, c); /* before or after it stands */
        collected_stand(c);
        c = again(state, c);
    }
    collected_learn(c, lines, 31);
    assert_int_equal(collected_known(c, lines), 31);
    assert_true(collected_take(c, other, 0, 8));
    collected_note(c, other, 0, 8, &first);
    c = again(state, c);
    collected_stand(c);
    collected_take_back(c, &first); /* it stands */
    c = again(state, c);
    assert_int_equal(collected_known(c, other), 8);
    collected_close(c);
}

/* A record that found that others had counted more says so. */
static void test_what_is_not_told_after_all(void **state)
{
    struct collected *c = open_in(state);
    const struct uuid record = {{1}};
    uint64_t key = collected_key(STRV("a"), STRV("lines"));

    collected_note(c, key, 0, 20, &record);
    collected_void(c, key, &record);
    c = again(state, c);
    assert_int_equal(collected_known(c, key), 0);
    collected_learn(c, key, 10);
    assert_int_equal(collected_known(c, key), 10);
    collected_close(c);
}

/* What is left of a note that was cut short is none, and spoils nothing behind it. */
static void test_notes_that_were_cut_short(void **state)
{
    const struct uuid record = {{1}};
    uint64_t key = collected_key(STRV("a"), STRV("lines"));
    uint64_t next = collected_key(STRV("a"), STRV("next"));
    char path[256];

    for (off_t cut = 1; cut <= 80; cut++) {
        struct collected *c = open_in(state);

        collected_note(c, key, 0, 20, &record);
        assert_int_equal(truncate(scratch_path(*state, "collected", path), 80 - cut), 0);
        c = again(state, c);
        assert_int_equal(collected_known(c, key), 0);
        assert_true(collected_take(c, next, 0, 5));
        collected_keep(c, next);
        c = again(state, c);
        assert_int_equal(collected_known(c, next), 5);
        collected_close(c);
        assert_int_equal(unlink(path), 0);
    }
}

static void test_memory_is_bounded(void **state)
{
    const uint64_t spread = UINT64_C(0x9e3779b97f4a7c15), most = 3 * (uint64_t)COLLECTED_MAX;
    struct collected *c = open_in(state);

    for (uint64_t i = 1; i <= most; i++)
        assert_true(collected_claim(c, i * spread, 1));
    assert_false(collected_claim(c, most * spread, 1)); /* the latest are kept */
    collected_close(c);
}

enum { THREADS = 4, LINES = 20000 };

struct racer {
    struct collected *c;
    atomic_uint *won;
};

static void *race(void *arg)
{
    struct racer *r = arg;

    for (uint64_t n = 1; n <= LINES; n++) {
        if (collected_claim(r->c, 42, n))
            atomic_fetch_add(r->won, 1);
    }
    return NULL;
}

/* Several downloads of one file at once: each line is counted by at most one of them. */
static void test_threads_share_a_file(void **state)
{
    struct collected *c = open_in(state);
    pthread_t threads[THREADS];
    atomic_uint won = 0;
    struct racer racer = {c, &won};

    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racer), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&won), LINES);
    collected_close(c);
}

static void test_a_folder_that_is_none(void **state)
{
    struct collected *c;
    struct fail fail;

    (void)state;
    assert_int_equal(collected_open("/nonexistent", &c, &fail), RC_IO);
}

int main(void)
{
#define WITH_DIR(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_DIR(test_once_and_in_order),
        WITH_DIR(test_sums_that_rise),
        WITH_DIR(test_a_restart_remembers),
        WITH_DIR(test_what_was_never_told),
        WITH_DIR(test_what_is_not_told_after_all),
        WITH_DIR(test_notes_that_were_cut_short),
        WITH_DIR(test_memory_is_bounded),
        WITH_DIR(test_threads_share_a_file),
        cmocka_unit_test(test_a_folder_that_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
