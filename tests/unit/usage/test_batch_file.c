/* Files of batches: every line once, however the bytes are split, and bounded memory. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/usage/batch_file.h"

struct seen {
    unsigned n;
    uint64_t bound, text;
    char models[256];
};

static void on_line(void *arg, const struct request_facts *facts)
{
    struct seen *seen = arg;
    size_t n = strlen(seen->models);

    seen->n++;
    seen->bound += facts->max_output_tokens;
    seen->text += facts->text_bytes;
    (void)snprintf(seen->models + n, sizeof(seen->models) - n, "%.*s,", (int)facts->model.n,
                   facts->model.n ? facts->model.p : "");
}

static struct seen feed_part(struct strv bytes, size_t step, bool is_part)
{
    struct seen seen = {.n = 0};
    struct batch_file file;

    batch_file_start(&file, protocol_find(STRV("openai")), is_part, on_line, &seen);
    while (bytes.n > 0) {
        batch_file_feed(&file, strv_head(bytes, step));
        bytes = strv_skip(bytes, step < bytes.n ? step : bytes.n);
    }
    batch_file_finish(&file);
    batch_file_release(&file);
    return seen;
}

static struct seen feed(struct strv bytes, size_t step)
{
    return feed_part(bytes, step, false);
}

#define LINE(model, bound)                                                                     \
    "{\"custom_id\":\"1\",\"url\":\"/v1/chat/completions\",\"body\":{\"model\":\"" model       \
    "\",\"max_tokens\":" #bound ",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}}"

static void test_lines(void **state)
{
    static const char text[] =
        "--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n" LINE(
            "a",
            10) "\r\n"
                "\n{broken\n[]\n{\"custom_id\":\"none\"}\n{\"body\":{}}x\n{\"body\":[1]}\n"
                "{\"url\":\"/v1/embeddings\",\"body\":{\"model\":\"e\",\"input\":\"hello\"}}\n"
                "{\"url\":\"/v1/nothing\",\"body\":{\"model\":\"odd\",\"messages\":[]}}\n"
                " \t" LINE("c", 3) "\n\xef\xbb\xbf" LINE("b", 7);

    (void)state;
    for (size_t step = 1; step <= sizeof(text); step++) {
        struct seen seen = feed(strv_make(text, sizeof(text) - 1), step);

        assert_string_equal(seen.models, "a,e,odd,c,b,");
        assert_int_equal(seen.bound, 20);
    }
    assert_int_equal(feed(STRV(""), 1).n, 0);
}

static void test_a_long_line(void **state)
{
    static const char *const around[] = {
        LINE("a", 10) "\n{\"body\":{\"model\":\"long\",\"x\":\"", "\"}}\n" LINE("b", 7) "\n"};
    const size_t length = 3 * BATCH_LINE_MAX_BYTES, before = strlen(around[0]);
    char *text = xmalloc(before + length + strlen(around[1]) + 1);
    struct seen seen;

    (void)state;
    memcpy(text, around[0], before);
    memset(text + before, 'x', length);
    memcpy(text + before + length, around[1], strlen(around[1]) + 1);
    seen = feed(strv_z(text), 1000);
    assert_string_equal(seen.models, "a,,b,");
    assert_true(seen.text > length && seen.text < length + 1000);
    free(text);
}

/* Lines that are cut between two parts: each piece is told by its length. */
static void test_parts(void **state)
{
    static const char heads[] =
        "--b\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\n";
    static const char end[] = "\r\n--b--\r\n";
    static const char file[] = LINE("a", 10) "\n" LINE("b", 7) "\n" LINE("c", 3) "\n";
    const size_t line = sizeof(LINE("a", 10));

    (void)state;
    for (size_t cut = 1; cut + 1 < sizeof(file); cut++) {
        struct strv halves[] = {strv_make(file, cut),
                                strv_make(file + cut, sizeof(file) - 1 - cut)};
        struct seen sum = {.n = 0}, seen;
        char text[1024];

        for (int i = 0; i < 2; i++) {
            int n = snprintf(text, sizeof(text), "%s%.*s%s", heads, (int)halves[i].n,
                             halves[i].p, end);

            seen = feed_part(strv_make(text, (size_t)n), cut, true);
            sum.n += seen.n;
            sum.bound += seen.bound;
        }
        /* Whole lines as they are; of the one that is cut two pieces, but for an empty one. */
        assert_true(sum.n >= 3 && sum.n <= 4);
        assert_true(sum.bound >= 10 && sum.bound <= 20);
        if (cut == line - 1 || cut == line)
            assert_int_equal(sum.bound, 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_a_long_line),
        cmocka_unit_test(test_parts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
