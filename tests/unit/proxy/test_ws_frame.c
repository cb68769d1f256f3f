/*
 * test_ws_frame.c - WebSocket frames: every vector whole, byte by byte and at every split gives
 * the same pieces, the same end and the same fault.
 */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/xalloc.h"
#include "proxy/ws_frame.h"

enum { MESSAGE_MAX = 70000, LOG_MAX = 1 << 20 };

/* Appends what was found, payload joined: splits must not show. */
static void note(struct buf *log, enum ws_found found, const struct ws_piece *p)
{
    if (found == WS_FRAME) {
        ASSERT(buf_printf(log, "[%d%s:", (int)p->opcode, p->begins_message ? "" : "+") == RC_OK);
    } else if (found == WS_DATA) {
        ASSERT(buf_append_strv(log, p->bytes) == RC_OK);
        if (p->ends_frame)
            ASSERT(buf_printf(log, p->ends_message ? "]!" : "]") == RC_OK);
    } else if (found == WS_CONTROL) {
        ASSERT(buf_printf(log, "(%d " STRV_FMT ")", (int)p->opcode, STRV_ARG(p->bytes)) == RC_OK);
    }
}

static enum ws_fault feed(struct ws_reader *r, const char *bytes, size_t n, struct buf *log)
{
    char *copy = xmalloc(n), *p = copy;
    size_t left = n;
    struct ws_piece piece;
    enum ws_found found;

    memcpy(copy, bytes, n);
    while ((found = ws_read(r, &p, &left, &piece)) != WS_MORE && found != WS_FAULTY)
        note(log, found, &piece);
    assert_true(found == WS_FAULTY || left == 0);
    free(copy);
    return r->fault;
}

struct vector {
    const char *name;
    const char *bytes;
    size_t n;
    bool from_client;
    const char *log;
    enum ws_fault fault;
};
#define V(name, bytes, from_client, log, fault)                                                \
    {                                                                                          \
        name, bytes, sizeof(bytes) - 1, from_client, log, fault                                \
    }
#define MASK "\x37\xfa\x21\x3d"

static const struct vector VECTORS[] = {
    /* RFC 6455 section 5.7 */
    V("text", "\x81\x05Hello", false, "[1:Hello]!", WS_OK),
    V("masked text", "\x81\x85" MASK "\x7f\x9f\x4d\x51\x58", true, "[1:Hello]!", WS_OK),
    V("pieces", "\x01\x03Hel\x80\x02lo", false, "[1:Hel][1+:lo]!", WS_OK),
    V("ping", "\x89\x05Hello", false, "(9 Hello)", WS_OK),
    V("masked pong", "\x8a\x85" MASK "\x7f\x9f\x4d\x51\x58", true, "(10 Hello)", WS_OK),
    V("empty", "\x82\x00", false, "[2:]!", WS_OK),
    V("empty pieces", "\x02\x00\x00\x00\x80\x00", false, "[2:][2+:][2+:]!", WS_OK),
    V("ping between", "\x01\x01" "a\x89\x00\x80\x01" "b", false, "[1:a](9 )[1+:b]!", WS_OK),
    V("close", "\x88\x02\x03\xe8", false, "(8 \x03\xe8)", WS_OK),
    V("close without code", "\x88\x00", false, "(8 )", WS_OK),
    V("close with reason", "\x88\x05\x03\xe9" "bye", false, "(8 \x03\xe9" "bye)", WS_OK),
    V("two", "\x81\x01" "a\x81\x01" "b", false, "[1:a]![1:b]!", WS_OK),
    /* what is refused */
    V("mask of a server", "\x81\x85" MASK, false, "", WS_BAD_MASK),
    V("no mask of a client", "\x81\x05Hello", true, "", WS_BAD_MASK),
    V("rsv1", "\xc1\x00", false, "", WS_BAD_RESERVED),
    V("rsv2", "\xa1\x00", false, "", WS_BAD_RESERVED),
    V("rsv3", "\x91\x00", false, "", WS_BAD_RESERVED),
    V("opcode 3", "\x83\x00", false, "", WS_BAD_OPCODE),
    V("opcode 7", "\x87\x00", false, "", WS_BAD_OPCODE),
    V("opcode 11", "\x8b\x00", false, "", WS_BAD_OPCODE),
    V("opcode 15", "\x8f\x00", false, "", WS_BAD_OPCODE),
    V("ping in pieces", "\x09\x00", false, "", WS_BAD_CONTROL),
    V("long ping", "\x89\x7e\x00\x7e", false, "", WS_BAD_CONTROL),
    V("rest of nothing", "\x80\x00", false, "", WS_BAD_ORDER),
    V("text in text", "\x01\x00\x81\x00", false, "[1:]", WS_BAD_ORDER),
    V("short in two", "\x81\x7e\x00\x7d", false, "", WS_BAD_LENGTH),
    V("short in eight", "\x81\x7f\x00\x00\x00\x00\x00\x00\xff\xff", false, "", WS_BAD_LENGTH),
    V("top bit", "\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00", false, "", WS_BAD_LENGTH),
    V("half a code", "\x88\x01\x03", false, "", WS_BAD_CLOSE),
    V("code 999", "\x88\x02\x03\xe7", false, "", WS_BAD_CLOSE),
    V("code 1004", "\x88\x02\x03\xec", false, "", WS_BAD_CLOSE),
    V("code 1005", "\x88\x02\x03\xed", false, "", WS_BAD_CLOSE),
    V("code 1006", "\x88\x02\x03\xee", false, "", WS_BAD_CLOSE),
    V("code 1015", "\x88\x02\x03\xf7", false, "", WS_BAD_CLOSE),
    V("code 2999", "\x88\x02\x0b\xb7", false, "", WS_BAD_CLOSE),
    V("code 3000", "\x88\x02\x0b\xb8", false, "(8 \x0b\xb8)", WS_OK),
    V("code 5000", "\x88\x02\x13\x88", false, "", WS_BAD_CLOSE),
    V("reason no UTF-8", "\x88\x03\x03\xe8\xff", false, "", WS_BAD_CLOSE),
    V("too large", "\x81\x7f\x00\x00\x00\x00\x00\x01\x11\x71", false, "", WS_TOO_LARGE),
};

static void check(const struct vector *v, size_t first, size_t step)
{
    struct ws_reader r;
    struct buf log;
    enum ws_fault fault = WS_OK;

    buf_init(&log, LOG_MAX);
    ws_reader_init(&r, v->from_client, MESSAGE_MAX);
    if (first > 0)
        fault = feed(&r, v->bytes, first, &log);
    for (size_t at = first; at < v->n && fault == WS_OK; at += step)
        fault = feed(&r, v->bytes + at, v->n - at < step ? v->n - at : step, &log);
    if (fault != v->fault || !strv_eq(buf_view(&log), strv_z(v->log)))
        fail_msg("%s: split at %zu by %zu: \"" STRV_FMT "\", %s", v->name, first, step,
                 STRV_ARG(buf_view(&log)), ws_fault_text(fault));
    if (v->fault == WS_OK)
        assert_true(ws_is_between_messages(&r));
    buf_release(&log);
}

static void test_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(VECTORS) / sizeof(VECTORS[0]); i++) {
        const struct vector *v = &VECTORS[i];

        check(v, 0, v->n);
        check(v, 0, 1);
        for (size_t at = 1; at < v->n; at++)
            check(v, at, v->n);
    }
}

/* What ws_head and ws_mask write is what ws_read reads, at every length where the head changes. */
static void test_round(void **state)
{
    static const unsigned char mask[WS_MASK_BYTES] = {1, 0x80, 0x7f, 0xff};
    static const size_t sizes[] = {0, 1, 7, 8, 9, 124, 125, 126, 127, 65535, 65536, MESSAGE_MAX};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (int masked = 0; masked < 2; masked++) {
            char *frame = xmalloc(WS_HEAD_MAX_BYTES + sizes[i]), *p = frame;
            size_t n = ws_head(WS_BINARY, sizes[i], masked ? mask : NULL, frame), all, got = 0;
            struct ws_reader r;
            struct ws_piece piece;
            enum ws_found found;

            for (size_t k = 0; k < sizes[i]; k++)
                frame[n + k] = (char)(k * 7);
            if (masked)
                ws_mask(frame + n, sizes[i], mask, 0);
            all = n + sizes[i];
            ws_reader_init(&r, masked, MESSAGE_MAX);
            assert_int_equal(ws_read(&r, &p, &all, &piece), WS_FRAME);
            assert_int_equal(piece.bytes.n, n);
            assert_false(ws_is_between_frames(&r));
            while ((found = ws_read(&r, &p, &all, &piece)) == WS_DATA) {
                for (size_t k = 0; k < piece.bytes.n; k++, got++)
                    assert_int_equal((unsigned char)piece.bytes.p[k], (got * 7) & 0xff);
            }
            assert_int_equal(found, WS_MORE);
            assert_int_equal(got, sizes[i]);
            assert_true(ws_is_between_messages(&r));
            free(frame);
        }
    }
}

/* The maximum is of a message, in however many frames it comes. */
static void test_message_max(void **state)
{
    struct ws_reader r;
    struct buf log;

    (void)state;
    buf_init(&log, LOG_MAX);
    ws_reader_init(&r, false, 4);
    assert_int_equal(feed(&r, "\x01\x02" "ab\x00\x02" "cd\x80\x00\x81\x04" "abcd", 15, &log),
                     WS_OK);
    assert_int_equal(feed(&r, "\x01\x02" "ab\x80\x03" "cde", 9, &log), WS_TOO_LARGE);
    assert_true(ws_is_between_frames(&r)); /* of what was passed on */
    buf_release(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors),
                                       cmocka_unit_test(test_round),
                                       cmocka_unit_test(test_message_max)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
