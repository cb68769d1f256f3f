/*
 * Many alerts at once: who gets each, and what the message of the others says.
 */
#include "proxy/alert_burst.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

#define MORE "\n- and "

static struct alert make(unsigned i, const char *event, enum alert_severity severity)
{
    struct alert a;

    alert_init(&a, event, severity, 1000000);
    alert_text(a.title, sizeof(a.title), "budget %u", i);
    return a;
}

/* Puts n alerts of one look; the store is the caller's to free. */
static void put(struct alert_store *s, enum alert_kind kind, unsigned n, const char *event)
{
    char name[] = "channel";
    struct alert_channel channel = {.name = name, .kind = kind};
    struct alert_burst burst = {.n = 0};

    for (unsigned i = 0; i < n; i++) {
        struct alert a = make(i, event, i == n - 1 ? SEVERITY_CRITICAL : SEVERITY_INFO);

        a.resolved = i % 2;
        alert_burst_put(&burst, s, &channel, &a, false, i == n - 1 ? 0 : 5000000, 1000000);
    }
}

static void test_programs_and_digests_get_each(void **state)
{
    static const struct {
        enum alert_kind kind;
        const char *event;
    } cases[] = {{ALERT_WEBHOOK, "budget.threshold"},
                 {ALERT_PAGERDUTY, "budget.threshold"},
                 {ALERT_SLACK, "digest.weekly"},
                 {ALERT_EMAIL, "digest.weekly"}};

    (void)state;
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        struct alert_store s = {.path = NULL};

        put(&s, cases[c].kind, 500, cases[c].event);
        assert_true(s.n_waiting == 500);
        for (unsigned i = 0; i < 500; i++) {
            char title[32];

            (void)snprintf(title, sizeof(title), "budget %u", i);
            assert_string_equal(s.waiting[i].alert.title, title);
        }
        free(s.waiting);
    }
}

static void test_people_get_the_others_as_one(void **state)
{
    static const enum alert_kind kinds[] = {ALERT_SLACK, ALERT_EMAIL};

    (void)state;
    for (size_t k = 0; k < 2; k++) {
        for (unsigned n = 1; n <= 400; n++) {
            struct alert_store s = {.path = NULL};
            const struct alert_waiting *others;
            unsigned listed = 0, more = 0;
            char title[32];

            put(&s, kinds[k], n, "budget.threshold");
            assert_true(s.n_waiting == (n <= ALERT_BURST_MAX ? n : ALERT_BURST_MAX + 1));
            if (n <= ALERT_BURST_MAX) {
                free(s.waiting);
                continue;
            }
            others = &s.waiting[ALERT_BURST_MAX];
            (void)snprintf(title, sizeof(title), "%u more alert%s at once", n - ALERT_BURST_MAX,
                           n - ALERT_BURST_MAX == 1 ? "" : "s");
            assert_string_equal(others->alert.title, title);
            /* Each is named once, in order, or counted in the last line. */
            for (const char *at = others->alert.text; (at = strstr(at, "\n- ")); at++) {
                if (strncmp(at, MORE, strlen(MORE)) == 0) {
                    more = (unsigned)strtoul(at + strlen(MORE), NULL, 10);
                    continue;
                }
                assert_true(more == 0);
                (void)snprintf(title, sizeof(title), "\n- %sbudget %u",
                               (listed + ALERT_BURST_MAX) % 2 ? "resolved: " : "",
                               listed + ALERT_BURST_MAX);
                assert_memory_equal(at, title, strlen(title));
                listed++;
            }
            assert_true(listed + more == n - ALERT_BURST_MAX && (more == 0 || listed > 20));
            assert_true(strlen(others->alert.text) < sizeof(others->alert.text));
            /* As urgent as the most urgent, as soon as the soonest. */
            assert_true(others->alert.severity == SEVERITY_CRITICAL && others->next_us == 0);
            free(s.waiting);
        }
    }
}

static void test_a_full_outbox_takes_no_more(void **state)
{
    struct alert_store s = {.path = NULL};

    (void)state;
    put(&s, ALERT_WEBHOOK, ALERT_OUTBOX_MAX, "budget.threshold");
    assert_true(s.n_waiting == ALERT_OUTBOX_MAX);
    put(&s, ALERT_SLACK, 30, "budget.threshold");
    assert_true(s.n_waiting == ALERT_OUTBOX_MAX);
    free(s.waiting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_programs_and_digests_get_each),
        cmocka_unit_test(test_people_get_the_others_as_one),
        cmocka_unit_test(test_a_full_outbox_takes_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
