/*
 * Files of batches: whatever the bytes, each line is told once and the same however they are
 * split, and no more than one line is ever held.  The first byte says how long the pieces are,
 * its lowest bits whose protocol reads the lines and whether they are a part of a file.  The same
 * bytes as the body of a batch: each request is told within them.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "metering/usage/batch_body.h"
#include "metering/usage/batch_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* Adds up so much of each line that two readings with the same sum read the same. */
struct sum {
    uint64_t lines, text, bounds, models;
};

static void on_line(void *arg, const struct request_facts *facts)
{
    struct sum *sum = arg;

    ASSERT(facts->choices >= 1 && facts->model.n <= REQUEST_MODEL_MAX_BYTES);
    sum->lines++;
    sum->text += facts->text_bytes * sum->lines;
    sum->bounds += (facts->max_output_tokens + facts->choices) * sum->lines;
    for (size_t i = 0; i < facts->model.n; i++)
        sum->models = sum->models * 31 + (unsigned char)facts->model.p[i];
}

static struct sum read_file(const struct protocol *p, bool is_part, struct strv text,
                            size_t step)
{
    struct sum sum = {.lines = 0};
    struct batch_file file;

    batch_file_start(&file, p, is_part, on_line, &sum);
    while (text.n > 0) {
        struct strv piece = strv_head(text, step);
        char *copy = malloc(piece.n); /* of its own: a read past its end is seen */

        ASSERT(copy != NULL);
        memcpy(copy, piece.p, piece.n);
        batch_file_feed(&file, strv_make(copy, piece.n));
        ASSERT(buf_len(&file.line) <= BATCH_LINE_MAX_BYTES);
        free(copy);
        text = strv_skip(text, piece.n);
    }
    batch_file_finish(&file);
    batch_file_release(&file);
    return sum;
}

static void on_request(void *arg, const struct request_facts *facts, struct strv id)
{
    const struct strv *body = arg;

    ASSERT(facts->choices >= 1 && facts->model.n <= REQUEST_MODEL_MAX_BYTES);
    ASSERT(id.n == 0 || (id.p > body->p && id.p + id.n < body->p + body->n));
}

static void read_body(struct strv body)
{
    static const char *const PATHS[][2] = {
        {"anthropic", "/v1/messages/batches"},
        {"gemini", "/v1beta/models/g:batchGenerateContent"},
        {"openai", "/v1/batches"},
        {"openai", "/v1/batches/b/requests"},
    };

    for (size_t i = 0; i < sizeof(PATHS) / sizeof(PATHS[0]); i++) {
        const struct protocol *p = protocol_find(strv_z(PATHS[i][0]));
        struct route route;

        protocol_route(p, STRV("POST"), strv_z(PATHS[i][1]), STRV_NONE, &route);
        (void)batch_body_read(p, &route, body, on_request, &body);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const struct protocol *p;
    struct sum whole, pieces;
    struct strv text;

    if (n == 0)
        return 0;
    p = protocol_find(bytes[0] & 1u ? STRV("mistral") : STRV("openai"));
    text = strv_make((const char *)bytes + 1, n - 1);
    whole = read_file(p, bytes[0] & 2u, text, n);
    pieces = read_file(p, bytes[0] & 2u, text, bytes[0] / 4u + 1);
    ASSERT(memcmp(&whole, &pieces, sizeof(whole)) == 0);
    read_body(text);
    return 0;
}
