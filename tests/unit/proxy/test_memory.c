/*
 * What is held for peers: counted where it is taken and given back, levels against the bound;
 * connections by address.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "proxy/addresses.h"
#include "proxy/hold.h"
#include "proxy/memory.h"
#include "tests/unit/unit.h"

enum { BOUND = 64 << 20 };

static void test_storage_is_counted(void **state)
{
    static const char text[5000];
    struct hold hold = {.data = NULL};
    struct arena arena;
    struct strv out;
    struct buf buf;

    (void)state;
    held_set(0);
    buf_init(&buf, 1 << 20);
    assert_int_equal(held_now(), 0);
    assert_int_equal(buf_append(&buf, text, sizeof(text)), RC_OK);
    assert_int_equal(held_now(), buf.cap);
    buf_consume(&buf, 4000); /* grown into new storage */
    for (int i = 0; i < 10; i++)
        assert_int_equal(buf_append(&buf, text, sizeof(text)), RC_OK);
    assert_int_equal(held_now(), buf.cap);
    buf_release(&buf);
    assert_int_equal(held_now(), 0);

    hold_reserve(&hold, 10, 0);
    hold_reserve(&hold, 100000, 0);
    hold.len = 100000;
    assert_int_equal(held_now(), hold.cap);
    hold_compose(&hold, strv_make(text, sizeof(text)), 0, 0, STRV_NONE, &out); /* a large front */
    assert_int_equal(held_now(), hold.cap);
    hold_release(&hold);
    assert_int_equal(held_now(), 0);

    arena_init(&arena, 1 << 20);
    for (int i = 0; i < 50; i++)
        assert_non_null(arena_alloc(&arena, 1000));
    assert_true(held_now() >= 50000);
    arena_reset(&arena);
    assert_true(held_now() > 0 && held_now() < 5000); /* the block that is kept */
    arena_release(&arena);
    assert_int_equal(held_now(), 0);
}

static void test_levels(void **state)
{
    static const struct {
        int64_t held;
        enum memory_level level;
    } CASES[] = {
        {-5, MEMORY_FREE},
        {0, MEMORY_FREE},
        {BOUND / 4 * 3 - 1, MEMORY_FREE},
        {BOUND / 4 * 3, MEMORY_TIGHT},
        {BOUND / 8 * 7 - 1, MEMORY_TIGHT},
        {BOUND / 8 * 7, MEMORY_SHED},
        {BOUND - 1, MEMORY_SHED},
        {BOUND, MEMORY_FULL},
        {INT64_MAX / 2, MEMORY_FULL},
    };
    struct memory memory = {.told = 0};
    struct memory_share here = {.of = &memory}, there = {.of = &memory};

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        held_set(CASES[i].held);
        assert_int_equal(memory_level(&here, BOUND), CASES[i].level); /* not told: own, exact */
        memory_tell(&here);
        assert_int_equal(memory_level(&here, BOUND), CASES[i].level);
    }
    held_set(BOUND / 4 * 3);
    memory_tell(&here);
    held_set(0); /* as another worker sees it */
    assert_int_equal(memory_level(&there, BOUND), MEMORY_TIGHT);
    memory_leave(&here);
    assert_int_equal(memory_level(&there, BOUND), MEMORY_FREE);
    held_set(MEMORY_STEP_BYTES);
    memory_tell(&there);
    assert_int_equal(there.told, 0); /* too little to tell */
    held_set(0);
    assert_true(memory_preset() >= UINT64_C(64) << 20);
}

enum { SECOND = 1000000, MIB = 1 << 20 };

/* A tick a second after the last, the worker having been at work for used of it, in parts of 100. */
static bool tick(struct memory_share *s, int used)
{
    return memory_due(s, s->ticked_us + SECOND, s->used_us + used * (SECOND / 100));
}

static void hold(struct memory_share *s, int64_t bytes)
{
    held_set(bytes);
    memory_tell(s);
}

/* Begun, and 20 MiB held for a while. */
static void begin(struct memory_share *s)
{
    assert_false(memory_due(s, s->of->trimmed_us + SECOND, 0));
    hold(s, 20 * MIB);
    assert_false(tick(s, 10));
    assert_false(tick(s, 10));
}

static void test_holes_are_due(void **state)
{
    struct memory memory = {.told = 0};
    struct memory_share a = {.of = &memory}, b = {.of = &memory};

    (void)state;
    begin(&a);
    hold(&a, 2 * MIB);
    assert_false(tick(&a, 10)); /* more was held within this second */
    assert_false(tick(&a, 50));
    assert_false(tick(&a, 50));
    assert_true(tick(&a, 50));
    for (int i = 0; i < 20; i++)
        assert_false(tick(&a, 0)); /* once */

    begin(&a);
    hold(&a, 20 * MIB - MEMORY_CROWD_BYTES + MEMORY_STEP_BYTES + 1); /* too little */
    for (int i = 0; i < 20; i++)
        assert_false(tick(&a, 0));
    hold(&a, 2 * MIB);
    assert_false(tick(&a, 0));
    assert_false(tick(&a, 0));
    assert_false(tick(&a, 51)); /* too busy */
    assert_false(tick(&a, 0));
    assert_false(tick(&a, 0));
    hold(&a, 20 * MIB); /* back, for less than a second */
    hold(&a, 2 * MIB);
    assert_false(tick(&a, 0));
    assert_false(tick(&a, 0));
    assert_false(tick(&a, 0));
    assert_true(tick(&a, 0));

    begin(&b); /* right behind the other one: within the pause */
    hold(&b, 0);
    for (int i = 3; i < MEMORY_TRIM_PAUSE_US / SECOND - 1; i++)
        assert_false(tick(&b, 0));
    assert_true(tick(&b, 0));

    memory_ask(&memory);
    a.ticked_us = b.ticked_us + MEMORY_TRIM_PAUSE_US;
    assert_false(tick(&a, 0));
    assert_false(tick(&a, 0));
    assert_true(tick(&a, 0));
    assert_false(atomic_load(&memory.asked));
    held_set(0);
}

static struct sockaddr_storage address(const char *text)
{
    struct sockaddr_storage all = {.ss_family = strchr(text, ':') ? AF_INET6 : AF_INET};
    void *at = all.ss_family == AF_INET
                   ? (void *)&((struct sockaddr_in *)(void *)&all)->sin_addr
                   : (void *)&((struct sockaddr_in6 *)(void *)&all)->sin6_addr;

    assert_int_equal(inet_pton(all.ss_family, text, at), 1);
    return all;
}

static void test_same_address(void **state)
{
    static const struct {
        const char *one, *other;
        bool same;
    } CASES[] = {
        {"10.0.0.1", "10.0.0.1", true},
        {"10.0.0.1", "10.0.0.2", false},
        {"::ffff:10.0.0.1", "10.0.0.1", true},
        {"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true}, /* of one /64 */
        {"2001:db8:1:2::1", "2001:db8:1:3::1", false},
        {"::ffff:10.0.0.1", "::ffff:10.0.0.2", false},
    };
    struct addresses *a = addresses_new();
    struct sockaddr local = {.sa_family = AF_UNIX};

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct sockaddr_storage one = address(CASES[i].one), other = address(CASES[i].other);
        uint64_t p = addresses_of(a, (const struct sockaddr *)&one);
        uint64_t q = addresses_of(a, (const struct sockaddr *)&other);

        assert_true(p != 0 && q != 0);
        assert_int_equal(p == q, CASES[i].same);
    }
    assert_int_equal(addresses_of(a, &local), 0);
    assert_true(addresses_add(a, 0, 0)); /* never counted */
    addresses_sub(a, 0);
    addresses_free(a);
}

static void test_address_bound(void **state)
{
    struct addresses *a = addresses_new();
    const uint64_t who = UINT64_C(7) << 32 | 9, shares_a_row = UINT64_C(7) << 32 | 10;

    (void)state;
    for (int i = 0; i < 5; i++)
        assert_true(addresses_add(a, who, 5));
    assert_false(addresses_add(a, who, 5));
    assert_true(addresses_add(a, shares_a_row, 5)); /* its other row is its own */
    addresses_sub(a, shares_a_row);
    addresses_sub(a, who);
    assert_true(addresses_add(a, who, 5));
    assert_false(addresses_add(a, who, 5)); /* the refused ones left nothing behind */
    addresses_free(a);
}

static void *come_and_go(void *arg)
{
    for (int i = 0; i < 20000; i++) {
        if (addresses_add(arg, 77, 3))
            addresses_sub(arg, 77);
    }
    return NULL;
}

static void test_from_any_thread(void **state)
{
    struct addresses *a = addresses_new();
    pthread_t threads[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, a), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 3; i++)
        assert_true(addresses_add(a, 77, 3));
    assert_false(addresses_add(a, 77, 3));
    addresses_free(a);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_storage_is_counted), cmocka_unit_test(test_levels),
        cmocka_unit_test(test_holes_are_due),
        cmocka_unit_test(test_same_address),       cmocka_unit_test(test_address_bound),
        cmocka_unit_test(test_from_any_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
