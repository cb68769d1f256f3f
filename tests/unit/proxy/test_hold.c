/*
 * test_hold.c - a held body leaves with its head, edited, without a byte lost.
 */
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "proxy/hold.h"

static void fill(struct hold *h, const char *body, size_t n, size_t step, uint64_t expected)
{
    for (size_t at = 0; at < n; at += step) {
        size_t take = n - at < step ? n - at : step;

        hold_reserve(h, take, expected);
        assert_true(hold_room(h) >= take);
        memcpy(hold_tail(h), body + at, take);
        h->len += take;
    }
}

/* Every edit of a small body, with heads that fit before it and heads that do not. */
static void test_compose(void **state)
{
    static const char body[] = "{\"stream\":true,\"x\":1}";
    static const char *const texts[] = {"", "\"y\":2,", "a much longer text than what it replaces"};
    const size_t n = sizeof(body) - 1;
    const size_t heads[] = {0, 1, 100, HOLD_FRONT_BYTES - 1, HOLD_FRONT_BYTES,
                            HOLD_FRONT_BYTES + 1, 3 * HOLD_FRONT_BYTES};

    (void)state;
    for (size_t k = 0; k < sizeof(heads) / sizeof(heads[0]); k++) {
        char *head = xmalloc(heads[k]);

        memset(head, 'H', heads[k]);
        for (size_t t = 0; t < 3; t++) {
            for (size_t at = 0; at <= n; at++) {
                for (size_t cut = 0; at + cut <= n; cut += 3) {
                    struct hold h = {.data = NULL};
                    struct strv text = strv_z(texts[t]), out;
                    char *want = xasprintf("%.*s%s%s", (int)at, body, texts[t], body + at + cut);

                    fill(&h, body, n, 5, 0);
                    hold_compose(&h, strv_make(head, heads[k]), at, cut, text, &out);
                    assert_int_equal(out.n, heads[k] + strlen(want));
                    assert_memory_equal(out.p, head, heads[k]);
                    assert_memory_equal(out.p + heads[k], want, strlen(want));
                    hold_release(&h);
                    free(want);
                }
            }
        }
        free(head);
    }
}

static void test_empty_body(void **state)
{
    struct hold h = {.data = NULL};
    struct strv out;

    (void)state;
    assert_int_equal(hold_view(&h).n, 0);
    hold_compose(&h, STRV("HEAD"), 0, 0, STRV_NONE, &out);
    assert_true(strv_eq(out, STRV("HEAD")));
    hold_release(&h);
}

/* A length that is announced is taken at once; one that lies costs what really came. */
static void test_growth(void **state)
{
    enum { N = 300000 };
    char *body = xmalloc(N);
    struct hold h = {.data = NULL};

    (void)state;
    for (size_t i = 0; i < N; i++)
        body[i] = (char)('a' + i % 26);
    hold_reserve(&h, 100, N);
    assert_int_equal(h.cap, HOLD_FRONT_BYTES + N);
    hold_release(&h);
    fill(&h, body, N, 7000, 10); /* an expectation below what comes is no bound */
    assert_int_equal(h.len, N);
    assert_memory_equal(hold_view(&h).p, body, N);
    assert_true(h.cap < 3 * (N + HOLD_FRONT_BYTES));
    hold_release(&h);
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compose),
        cmocka_unit_test(test_empty_body),
        cmocka_unit_test(test_growth),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
