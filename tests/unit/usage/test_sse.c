#include "metering/usage/sse.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/unit.h"

/* Events as text: name{data}, "-" for an event without data. */
static void frame(struct strv bytes, size_t step, char *out, size_t room)
{
    struct sse s;
    size_t n = 0, data_n = 0;
    char data[256];

    sse_init(&s);
    out[0] = '\0';
    for (size_t at = 0; at < bytes.n; at += step) {
        struct strv piece = strv_head(strv_skip(bytes, at), step), text;
        enum sse_what what;
        size_t used;

        while ((what = sse_next(&s, piece, &used, &text)) != SSE_MORE) {
            piece = strv_skip(piece, used);
            if (what == SSE_DATA) {
                assert_true(data_n + text.n < sizeof(data));
                memcpy(data + data_n, text.p, text.n);
                data_n += text.n;
            } else if (what == SSE_EVENT) {
                struct strv name = sse_name(&s);

                n += (size_t)snprintf(out + n, room - n, s.has_data ? STRV_FMT "{%.*s}" : "-",
                                      STRV_ARG(name), (int)data_n, data);
                data_n = 0;
            }
        }
    }
}

static void test_frames(void **state)
{
    static const struct {
        const char *bytes, *events;
    } CASES[] = {
        {"data: a\n\n", "{a}"},
        {"data: a\r\n\r\n", "{a}"},
        {"data: a\r\r", "{a}"},
        {"data: a\r\n\ndata: b\n\r\n", "{a}{b}"},
        {"data:a\n\n", "{a}"},
        {"data:  a\n\n", "{ a}"},
        {"data: a\ndata: b\n\n", "{a\nb}"},
        {"data\ndata: b\n\n", "{\nb}"},
        {"data:\n\n", "{}"},
        {"event: e\ndata: a\n\n", "e{a}"},
        {"data: a\nevent: e\nid: 1\nretry: 3\n\n", "e{a}"},
        {"event: e\nevent: f\ndata: a\n\n", "f{a}"},
        {"event: e\n\ndata: a\n\n", "-{a}"},
        {": comment\n\n", "-"},
        {": c\ndata: a\n: d\n\n", "{a}"},
        {"\n\n", "--"},
        {"\xef\xbb\xbf"
         "data: a\n\n",
         "{a}"},
        {"\xef\xbb"
         "data: a\n\ndata: b\n\n",
         "-{b}"},
        {"data : a\n\n", "-"},
        {"datax: a\n\n", "-"},
        {"dat: a\n\n", "-"},
        {"averylongfieldname: a\ndata: b\n\n", "{b}"},
        {"data: a", ""},
        {"data: a\n", ""},
        {"data: {\"x\":\"0123456789012345678901234567890123456789\"}\n\n",
         "{{\"x\":\"0123456789012345678901234567890123456789\"}}"},
    };
    char out[512];

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct strv bytes = strv_z(CASES[i].bytes);

        for (size_t step = 1; step <= bytes.n; step++) {
            frame(bytes, step, out, sizeof(out));
            assert_string_equal(out, CASES[i].events);
        }
    }
}

static void test_long_names_are_cut(void **state)
{
    char bytes[128], out[256];
    int n = snprintf(bytes, sizeof(bytes), "event: %0*d\ndata: a\n\n", SSE_NAME_MAX + 20, 0);

    (void)state;
    for (size_t step = 1; step <= (size_t)n; step++) {
        frame(strv_make(bytes, (size_t)n), step, out, sizeof(out));
        assert_int_equal(strlen(out), SSE_NAME_MAX + 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_long_names_are_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
