/*
 * A request's body that is an event stream: bare messages, and those in envelopes; and the
 * coding itself, by messages that AWS's SDKs test theirs with.
 */
#include "metering/usage/eventstream_body.h"

#include "metering/usage/eventstream_write.h"
#include "tests/unit/unit.h"

enum { MESSAGE_MAX = 256, BODY_MAX = 8 << 10 };

static void put(struct buf *out, struct strv headers, struct strv payload)
{
    assert_int_equal(eventstream_put_message(out, headers, payload), RC_OK);
}

/* The message of that text, in an envelope or bare. */
static void put_text(struct buf *out, const char *text, bool is_signed)
{
    struct buf headers, inner;

    buf_init(&headers, BODY_MAX);
    buf_init(&inner, BODY_MAX);
    assert_int_equal(
        eventstream_put_string(&headers, STRV(":event-type"), STRV("chunk")), RC_OK);
    put(&inner, buf_view(&headers), strv_z(text));
    if (is_signed) {
        buf_clear(&headers);
        assert_int_equal(eventstream_put_time(&headers, STRV(":date"), 1), RC_OK);
        assert_int_equal(
            eventstream_put_bytes(&headers, STRV(":chunk-signature"), STRV("s")), RC_OK);
        put(out, buf_view(&headers), buf_view(&inner));
    } else {
        assert_int_equal(buf_append_strv(out, buf_view(&inner)), RC_OK);
    }
    buf_release(&inner);
    buf_release(&headers);
}

static void put_signed(struct buf *out, struct strv payload)
{
    struct buf headers;

    buf_init(&headers, BODY_MAX);
    assert_int_equal(eventstream_put_bytes(&headers, STRV(":chunk-signature"), STRV("s")),
                     RC_OK);
    put(out, buf_view(&headers), payload);
    buf_release(&headers);
}

/* All messages of a body, read in pieces of that size, into out; how it ended. */
static enum rc take(struct strv body, size_t step, struct buf *out)
{
    struct eventstream_body b;
    enum rc rc = RC_AGAIN;

    buf_clear(out);
    eventstream_body_init(&b, MESSAGE_MAX);
    for (size_t at = 0; at < body.n && rc == RC_AGAIN; at += step) {
        struct strv piece = strv_head(strv_skip(body, at), step), message;

        while ((rc = eventstream_body_next(&b, &piece, &message)) == RC_OK)
            assert_int_equal(buf_append_strv(out, message), RC_OK);
    }
    if (rc == RC_AGAIN && !eventstream_body_may_end(&b))
        rc = RC_STATE;
    eventstream_body_release(&b);
    return rc;
}

static void check(struct strv body, enum rc want, struct strv messages)
{
    struct buf out;

    buf_init(&out, BODY_MAX);
    for (size_t step = 1; step <= body.n; step++) {
        assert_int_equal(take(body, step, &out), want);
        assert_true(strv_eq(buf_view(&out), messages));
    }
    buf_release(&out);
}

static void test_coding(void **state)
{
    static const char BYTES[] = "\0\0\0\x1d\0\0\0\r\x83\xe3\xf0\xe7\x05"
                                "bytes\x06\0\x04\xde\xad\xbe\xef\x9a\xabK ";
    static const char TEXT[] = "\0\0\0 \0\0\0\x10\xb9T\xe0\t\x06string\x07\0\x06"
                               "foobarL\xc5"
                               "3(";
    static const char WHEN[] = "\0\0\0#\0\0\0\x13g\xfd\xcb"
                               "c\ttimestamp\x08\0\0\x01r\xee\xbc'\xa6\xd4"
                               "D^\x11";
    static const char BARE[] = "\0\0\0\x1c\0\0\0\0\xc0"
                               "2\xa5\xeatest payload\x07"
                               "6E\xf9";
    struct buf headers, out;

    (void)state;
    buf_init(&headers, BODY_MAX);
    buf_init(&out, BODY_MAX);
    assert_int_equal(eventstream_put_bytes(&headers, STRV("bytes"), STRV("\xde\xad\xbe\xef")),
                     RC_OK);
    put(&out, buf_view(&headers), STRV_NONE);
    assert_true(strv_eq(buf_view(&out), strv_make(BYTES, sizeof(BYTES) - 1)));
    buf_clear(&headers);
    buf_clear(&out);
    assert_int_equal(eventstream_put_string(&headers, STRV("string"), STRV("foobar")), RC_OK);
    put(&out, buf_view(&headers), STRV_NONE);
    assert_true(strv_eq(buf_view(&out), strv_make(TEXT, sizeof(TEXT) - 1)));
    buf_clear(&headers);
    buf_clear(&out);
    assert_int_equal(
        eventstream_put_time(&headers, STRV("timestamp"), INT64_C(1593143207846)), RC_OK);
    put(&out, buf_view(&headers), STRV_NONE);
    assert_true(strv_eq(buf_view(&out), strv_make(WHEN, sizeof(WHEN) - 1)));
    buf_clear(&out);
    put(&out, STRV_NONE, STRV("test payload"));
    assert_true(strv_eq(buf_view(&out), strv_make(BARE, sizeof(BARE) - 1)));
    buf_release(&out);
    buf_release(&headers);
}

static void test_messages(void **state)
{
    struct buf body, bare;

    (void)state;
    buf_init(&body, BODY_MAX);
    buf_init(&bare, BODY_MAX);
    for (int i = 0; i < 3; i++) { /* also after another, and mixed */
        put_text(&body, "one", i != 1);
        put_text(&bare, "one", false);
    }
    check(buf_view(&body), RC_AGAIN, buf_view(&bare));
    check(strv_head(buf_view(&body), buf_len(&body) - 1), RC_STATE,
          strv_head(buf_view(&bare), 2 * buf_len(&bare) / 3));
    put_signed(&body, STRV_NONE);
    check(buf_view(&body), RC_AGAIN, buf_view(&bare));
    put_text(&body, "behind the end", false);
    check(buf_view(&body), RC_BAD, buf_view(&bare));
    buf_release(&bare);
    buf_release(&body);
}

static void test_what_is_none(void **state)
{
    static char large[MESSAGE_MAX];
    static const char BROKEN[] = "\0\0\0\x1c\0\0\0\0\xc0" /* the last byte of its checksum */
                                 "2\xa5\xeatest payload\x07"
                                 "6E\xf8";
    struct buf body, inner;

    (void)state;
    buf_init(&body, BODY_MAX);
    buf_init(&inner, BODY_MAX);
    check(STRV("this is no event stream, whatever it is"), RC_BAD, STRV_NONE);
    put_text(&inner, "a", false);
    put_text(&inner, "b", false);
    put_signed(&body, buf_view(&inner)); /* two in one envelope */
    check(buf_view(&body), RC_BAD, STRV_NONE);
    buf_clear(&body);
    buf_clear(&inner);
    put_text(&inner, "a", true);
    put_signed(&body, buf_view(&inner)); /* an envelope in another */
    check(buf_view(&body), RC_BAD, STRV_NONE);
    buf_clear(&body);
    put_signed(&body, strv_head(buf_view(&inner), buf_len(&inner) - 1));
    check(buf_view(&body), RC_BAD, STRV_NONE);
    buf_clear(&body);
    put(&body, STRV_NONE, strv_make(large, MESSAGE_MAX - EVENTSTREAM_FRAME_BYTES));
    check(buf_view(&body), RC_AGAIN, buf_view(&body));
    buf_clear(&body);
    put(&body, STRV_NONE, strv_make(large, MESSAGE_MAX - EVENTSTREAM_FRAME_BYTES + 1));
    check(buf_view(&body), RC_LIMIT, STRV_NONE);
    check(strv_make(BROKEN, sizeof(BROKEN) - 1), RC_BAD, STRV_NONE);
    buf_release(&inner);
    buf_release(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_coding),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_what_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
