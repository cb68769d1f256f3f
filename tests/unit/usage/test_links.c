/* Addresses in answers: at every split, with escapes, too long, too many, and what stays. */
#include "metering/usage/links.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "tests/unit/unit.h"

#define FROM "https://api.example/v"
#define TO "https://gate:8443/p"

static const struct endpoint *endpoint_of(const char *protocol, const char *path)
{
    struct route route;

    protocol_route(protocol_find(strv_z(protocol)), STRV("GET"), strv_z(path), STRV_NONE, &route);
    return route.endpoint;
}

/* In pieces of `piece` bytes, the first of `first`. */
static void run(const struct endpoint *endpoint, struct strv in, size_t first, size_t piece,
                struct strv want)
{
    struct links *l = links_new(endpoint, STRV(FROM), STRV(TO));
    struct buf out;

    buf_init(&out, 1 << 20);
    assert_non_null(l);
    for (size_t n = first; in.n > 0; n = piece) {
        struct strv part = strv_head(in, n);
        char *block = xmalloc(part.n + (part.n == 0)); /* so that reads past its end are seen */

        memcpy(block, part.p, part.n);
        assert_int_equal(links_feed(l, strv_make(block, part.n), &out), RC_OK);
        free(block);
        in = strv_skip(in, part.n);
    }
    assert_int_equal(links_finish(l, &out), RC_OK);
    assert_int_equal(buf_len(&out), want.n);
    assert_memory_equal(buf_view(&out).p, want.p, want.n);
    buf_release(&out);
    links_free(l);
}

static void test_members(void **state)
{
    static const struct {
        const char *path, *in, *out;
    } CASES[] = {
        {"messages/batches/x", "{\"results_url\":\"" FROM "/a?b=c\",\"id\":\"" FROM "/a\"}",
         "{\"results_url\":\"" TO "/a?b=c\",\"id\":\"" FROM "/a\"}"},
        {"messages/batches/x", " {\"results_url\" : \"https:\\/\\/api.example\\/v\\/\\u0061\" } ",
         " {\"results_url\" : \"" TO "/a\" } "},
        {"messages/batches",
         "{\"data\":[{\"results_url\":\"" FROM "/a\"},{\"results_url\":\"" FROM "/b\"}],"
         "\"x\":{\"results_url\":\"" FROM "/c\"}}",
         "{\"data\":[{\"results_url\":\"" TO "/a\"},{\"results_url\":\"" TO "/b\"}],"
         "\"x\":{\"results_url\":\"" FROM "/c\"}}"},
        {"predictions/x", "{\"urls\":{\"get\":\"" FROM "/a\",\"web\":\"" FROM "/a\"}}",
         "{\"urls\":{\"get\":\"" TO "/a\",\"web\":\"" FROM "/a\"}}"},
        /* these stay */
        {"messages/batches/x", "{\"results_url\":\"" FROM "\"}", NULL},
        {"messages/batches/x", "{\"results_url\":\"" FROM "x/a\"}", NULL},
        {"messages/batches/x", "{\"results_url\":\"" FROM ".evil.example/a\"}", NULL},
        {"messages/batches/x", "{\"results_url\":\"" FROM "@evil.example/a\"}", NULL},
        {"messages/batches/x", "{\"results_url\":\"http://api.example/v/a\"}", NULL},
        {"messages/batches/x", "{\"results_url\":\"" FROM "/\\\"\"}", NULL},
        {"messages/batches/x", "{\"results_url\":\"" FROM "/\\u00e9\"}", NULL},
        {"messages/batches/x", "{\"results_url\":\"" FROM "/\\ud800\"}", NULL},
        {"messages/batches/x", "{\"results_url\":[\"" FROM "/a\"]}", NULL},
        {"messages/batches/x", "{\"results_url\":null}", NULL},
        {"messages/batches/x", "nonsense \"results_url\":\"" FROM "/a\"", NULL},
        {"messages/batches/x", "{} {\"results_url\":\"" FROM "/a\"}", NULL},
        {"messages/batches/x", "", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        bool anthropic = CASES[i].path[0] == 'm';
        const struct endpoint *e = endpoint_of(anthropic ? "anthropic" : "openai", CASES[i].path);
        struct strv in = strv_z(CASES[i].in);
        struct strv out = CASES[i].out ? strv_z(CASES[i].out) : in;

        assert_true(links_are_in(e));
        run(e, in, 1, 1, out);
        for (size_t n = 0; n <= in.n; n++)
            run(e, in, n, in.n, out);
    }
    assert_false(links_are_in(endpoint_of("anthropic", "models")));
    assert_false(links_are_in(endpoint_of("anthropic", "messages/batches/x/results")));
    assert_false(links_are_in(endpoint_of("openai", "batches/x")));
}

/* Lengths around what the scanner tells whole, and documents longer than what is looked at. */
static void test_lengths(void **state)
{
    const struct endpoint *e = endpoint_of("anthropic", "messages/batches/x");
    struct buf in, out;

    (void)state;
    buf_init(&in, 1 << 20);
    buf_init(&out, 1 << 20);
    for (size_t text = 505; text <= 520; text++) {
        /* its closing quote around the end of what is looked at in one go */
        for (size_t before = (16 << 10) - 23 - text - 4; before <= (16 << 10) - 23 - text + 4;
             before++) {
            buf_clear(&in);
            buf_clear(&out);
            assert_int_equal(buf_append_strv(&in, STRV("{\"x\":\"")), RC_OK);
            for (size_t i = 0; i < before; i++)
                assert_int_equal(buf_append(&in, "y", 1), RC_OK);
            assert_int_equal(buf_append_strv(&in, STRV("\",\"results_url\":\"")), RC_OK);
            assert_int_equal(buf_append_strv(&out, buf_view(&in)), RC_OK);
            assert_int_equal(buf_append_strv(&in, STRV(FROM "/")), RC_OK);
            assert_int_equal(
                buf_append_strv(&out, text <= 512 ? STRV(TO "/") : STRV(FROM "/")), RC_OK);
            for (size_t i = sizeof(FROM "/") - 1; i < text; i++) {
                assert_int_equal(buf_append(&in, "z", 1), RC_OK);
                assert_int_equal(buf_append(&out, "z", 1), RC_OK);
            }
            assert_int_equal(buf_append_strv(&in, STRV("\"}")), RC_OK);
            assert_int_equal(buf_append_strv(&out, STRV("\"}")), RC_OK);
            run(e, buf_view(&in), 1 << 20, 1, buf_view(&out));
            run(e, buf_view(&in), 1000, 997, buf_view(&out));
        }
    }
    buf_release(&in);
    buf_release(&out);
}

static void test_bounds(void **state)
{
    const struct endpoint *e = endpoint_of("anthropic", "messages/batches");
    char to[LINKS_TO_MAX_BYTES + 1];
    struct buf in, out;
    struct links *l;

    (void)state;
    buf_init(&in, 1 << 20);
    buf_init(&out, 1 << 20);
    assert_int_equal(buf_append_strv(&in, STRV("{\"data\":[{}")), RC_OK);
    assert_int_equal(buf_append_strv(&out, STRV("{\"data\":[{}")), RC_OK);
    for (unsigned i = 0; i < LINKS_MAX + 5; i++) {
        assert_int_equal(buf_append_strv(&in, STRV(",{\"results_url\":\"" FROM "/a\"}")), RC_OK);
        assert_int_equal(
            buf_append_strv(&out, i < LINKS_MAX ? STRV(",{\"results_url\":\"" TO "/a\"}")
                                                : STRV(",{\"results_url\":\"" FROM "/a\"}")),
            RC_OK);
    }
    run(e, buf_view(&in), 1 << 20, 1, buf_view(&out));
    run(e, buf_view(&in), 100, 100, buf_view(&out));
    memset(to, 'x', sizeof(to));
    assert_null(links_new(e, STRV(FROM), strv_make(to, sizeof(to))));
    /* what has no room says so, and goes on saying it */
    buf_release(&out);
    buf_init(&out, 100);
    l = links_new(e, STRV(FROM), STRV(TO));
    assert_int_equal(links_feed(l, buf_view(&in), &out), RC_LIMIT);
    assert_int_equal(links_feed(l, STRV("x"), &out), RC_LIMIT);
    assert_int_equal(links_finish(l, &out), RC_LIMIT);
    links_free(l);
    links_free(NULL);
    buf_release(&in);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_members),
                                       cmocka_unit_test(test_lengths),
                                       cmocka_unit_test(test_bounds)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
