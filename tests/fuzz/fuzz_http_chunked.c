/*
 * fuzz_http_chunked.c - the chunked coding.
 *
 * Holds: whole, byte by byte and in pieces give the same data, end and fault; what was
 * read, written as chunks again, reads the same.  The input's first byte is the size of
 * pieces.
 */
#include "tests/fuzz/fuzz_http1.h"

struct outcome {
    enum parse_status status;
    enum http1_fault fault;
    size_t used;
    struct buf data;
};

static void read_in_pieces(struct strv bytes, size_t piece, struct outcome *out)
{
    struct http1_chunked c = {0};

    *out = (struct outcome){.status = PARSE_MORE};
    buf_init(&out->data, FUZZ_OUT_MAX_BYTES);
    ASSERT(buf_reserve(&out->data, 1) == RC_OK);
    for (size_t end = 0; out->status == PARSE_MORE && end < bytes.n;) {
        end = piece < bytes.n - end ? end + piece : bytes.n;
        while (out->status == PARSE_MORE && out->used < end) {
            size_t left = end - out->used, used = 0;
            char *copy = xmalloc(left);
            struct strv data;

            memcpy(copy, bytes.p + out->used, left);
            out->status = http1_chunked_read(&c, strv_make(copy, left), &used, &data);
            ASSERT(used <= left && data.n <= used);
            ASSERT(used > 0 || out->status == PARSE_BAD);
            ASSERT(data.n == 0 || (out->status != PARSE_BAD && data.p >= copy &&
                                   data.p + data.n <= copy + used));
            fuzz_put(&out->data, data);
            out->used += used;
            free(copy);
        }
    }
    out->fault = c.fault;
}

static void check_again(struct strv data, size_t piece)
{
    struct buf text;
    struct outcome again;

    buf_init(&text, FUZZ_OUT_MAX_BYTES);
    for (size_t at = 0; at < data.n; at += piece) {
        struct strv part = strv_head(strv_skip(data, at), piece);
        char head[CHUNK_HEAD_MAX_BYTES];

        fuzz_put(&text, strv_make(head, http1_chunk_head(part.n, head)));
        fuzz_put(&text, part);
        fuzz_put(&text, STRV("\r\n"));
    }
    fuzz_put(&text, STRV("0\r\n\r\n"));
    read_in_pieces(buf_view(&text), buf_len(&text), &again);
    ASSERT(again.status == PARSE_DONE && again.used == buf_len(&text));
    ASSERT(strv_eq(buf_view(&again.data), data));
    buf_release(&again.data);
    buf_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct strv input;
    size_t sizes[3];
    struct outcome whole;

    if (n < 2 || n > 8192)
        return 0;
    input = strv_make((const char *)bytes + 1, n - 1);
    sizes[0] = 1;
    sizes[1] = 2u + bytes[0];
    sizes[2] = 1u + bytes[0] / 32u;
    read_in_pieces(input, input.n, &whole);
    ASSERT((whole.status == PARSE_BAD) == (whole.fault != HTTP1_OK));
    for (size_t i = 0; i < 3; i++) {
        struct outcome pieces;

        read_in_pieces(input, sizes[i], &pieces);
        ASSERT(pieces.status == whole.status && pieces.fault == whole.fault);
        ASSERT(pieces.used == whole.used);
        ASSERT(strv_eq(buf_view(&pieces.data), buf_view(&whole.data)));
        buf_release(&pieces.data);
    }
    if (whole.status == PARSE_DONE)
        check_again(buf_view(&whole.data), sizes[1]);
    buf_release(&whole.data);
    return 0;
}
