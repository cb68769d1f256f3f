/*
 * test_http1.c - what the vectors do not show of http1: character classes over all bytes,
 * the incremental contract, limits, field lookup, chunk heads, reading chunks piecemeal.
 */
#include "tests/unit/unit.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "proxy/field_traits.h"
#include "proxy/http1_chars.h"
#include "proxy/http1_lines.h"

static struct http1_header lines[HTTP1_HEADERS_MAX];
static struct http1_head head = {.headers = lines};

static void parse(const char *text)
{
    head.looked = 0;
    assert_int_equal(http1_parse_request(strv_z(text), strlen(text), HTTP1_HEADERS_MAX, &head),
                     PARSE_DONE);
}

static bool rfc_tchar(int c)
{
    return isalnum(c) || (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool rfc_value(int c)
{
    return c == '\t' || (c >= 0x20 && c <= 0x7e) || c >= 0x80;
}

static bool rfc_target(int c)
{
    return c >= 0x21 && c <= 0x7e && c != '#';
}

static void test_classes(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        bool unreserved = (c < 0x80 && isalnum(c)) || (c != 0 && strchr("-._~", c) != NULL);

        assert_int_equal(http1_is_token((char)c), c < 0x80 && rfc_tchar(c));
        assert_int_equal(http1_is_unreserved((char)c), unreserved);
        assert_int_equal(http1_is_value((char)c), rfc_value(c));
        assert_int_equal(http1_is_target((char)c), rfc_target(c));
        assert_int_equal(http1_hex((char)c) >= 0, c < 0x80 && isxdigit(c));
    }
}

/* Each byte at each place of runs of each length: the wide scan stops where the narrow one
 * does. */
static void test_scans(void **state)
{
    enum { LONGEST = 50 };

    (void)state;
    for (size_t n = 0; n <= LONGEST; n++) {
        for (int c = 0; c < 256; c++) {
            for (size_t at = 0; at < n; at++) {
                char *exact = xmalloc(n); /* of exact size: no byte is read behind it */

                memset(exact, 'a', n);
                exact[at] = (char)c;
                assert_ptr_equal(http1_skip_value(exact, exact + n),
                                 exact + (rfc_value(c) ? n : at));
                assert_ptr_equal(http1_skip_target(exact, exact + n),
                                 exact + (rfc_target(c) ? n : at));
                assert_ptr_equal(http1_skip_unreserved(exact, exact + n),
                                 exact + (http1_is_unreserved((char)c) ? n : at));
                free(exact);
            }
        }
    }
}

static void test_more_publishes_nothing(void **state)
{
    const char text[] = "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n";
    struct http1_header h_lines[HTTP1_HEADERS_MAX];
    struct http1_head h = {.headers = h_lines};

    (void)state;
    for (size_t n = 0; n < sizeof(text) - 1; n++) {
        assert_int_equal(http1_parse_request(strv_make(text, n), 1000, 10, &h), PARSE_MORE);
        assert_int_equal(h.looked, n);
        assert_int_equal(h.n_headers, 0);
        assert_int_equal(h.fault, HTTP1_OK);
    }
    assert_int_equal(http1_parse_request(strv_z(text), 1000, 10, &h), PARSE_DONE);
    assert_int_equal(h.bytes, sizeof(text) - 1);
    assert_int_equal(h.n_headers, 2);
}

/* Nor does a fault in a later line leave a view of the first, whose bytes may have moved. */
static void test_bad_leaves_no_views(void **state)
{
    static const char *const texts[] = {"HEAD /a HTTP/1.1\r\nHost: x\r\n",
                                        "HEAD /a HTTP/1.1\r\nHost: x\r\nA : b\r\n"};
    struct http1_header h_lines[HTTP1_HEADERS_MAX];
    struct http1_head h = {.headers = h_lines};
    enum parse_status status = PARSE_MORE;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        char *copy = xstrdup(texts[i]);

        status = http1_parse_request(strv_z(copy), 1000, 10, &h);
        free(copy);
        assert_true(!h.method.p && !h.target.p && !h.origin.p && !h.authority.p);
        assert_int_equal(h.n_headers, 0);
    }
    assert_int_equal(status, PARSE_BAD);
    assert_int_equal(h.fault, HTTP1_BAD_NAME);
}

/* A head of the maximum, byte by byte: what was searched is not searched again. */
static void test_byte_by_byte_is_linear(void **state)
{
    enum { BYTES = 65536 };
    char *text = xmalloc(BYTES);
    struct http1_header h_lines[HTTP1_HEADERS_MAX];
    struct http1_head h = {.headers = h_lines};
    size_t n;

    (void)state;
    memset(text, 'a', BYTES);
    n = (size_t)snprintf(text, BYTES, "GET / HTTP/1.1\r\nHost: x\r\nA: ");
    text[n] = 'a';
    memcpy(text + BYTES - 4, "\r\n\r\n", 4);
    for (n = 1; n < BYTES; n++) {
        assert_int_equal(http1_parse_request(strv_make(text, n), BYTES, 10, &h), PARSE_MORE);
        assert_int_equal(h.looked, n);
    }
    assert_int_equal(http1_parse_request(strv_make(text, BYTES), BYTES, 10, &h), PARSE_DONE);
    free(text);
}

static void test_head_limits(void **state)
{
    const char text[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    const size_t n = sizeof(text) - 1;

    (void)state;
    for (size_t max = 0; max <= n + 1; max++) {
        struct http1_header h_lines[HTTP1_HEADERS_MAX];
        struct http1_head h = {.headers = h_lines};
        enum parse_status status = http1_parse_request(strv_z(text), max, 10, &h);

        assert_int_equal(status, max < n ? PARSE_BAD : PARSE_DONE);
        assert_int_equal(h.fault, max < n ? HTTP1_TOO_LARGE : HTTP1_OK);
    }
    head.looked = 0;
    assert_int_equal(http1_parse_request(strv_z(text), n, 0, &head), PARSE_BAD);
    assert_int_equal(head.fault, HTTP1_TOO_MANY_HEADERS);
    head.looked = 0;
    assert_int_equal(http1_parse_request(strv_z(text), n, SIZE_MAX, &head), PARSE_DONE);
}

static void test_lookup(void **state)
{
    (void)state;
    parse("GET / HTTP/1.1\r\nHost: x\r\nAccept: a , B\r\nx-empty:\r\nACCEPT:c,\r\n\r\n");
    assert_ptr_equal(http1_find(&head, STRV("aCCept")), &head.headers[1]);
    assert_null(http1_find(&head, STRV("accep")));
    assert_true(strv_eq(http1_value(&head, STRV("Accept")), STRV("a , B")));
    assert_int_equal(http1_value(&head, STRV("x-empty")).n, 0);
    assert_int_equal(http1_value(&head, STRV("none")).n, 0);
    assert_true(http1_has_token(&head, STRV("accept"), STRV("A")));
    assert_true(http1_has_token(&head, STRV("accept"), STRV("b")));
    assert_true(http1_has_token(&head, STRV("accept"), STRV("c")));
    assert_false(http1_has_token(&head, STRV("accept"), STRV("a , b")));
    assert_false(http1_has_token(&head, STRV("accept"), STRV("d")));
    assert_false(http1_has_token(&head, STRV("none"), STRV("a")));
}

/* What the head says of its names beforehand never hides one, and is no answer by itself. */
static void test_names(void **state)
{
    static const char *const names[] = {"Host",   "accept", "ACCEPT", "x-a",      "X-A", "x-b",
                                        "TE",     "via",    "age",    "x-amzn-a", "a",   "zz",
                                        "accepu", "bccept", "accep",  "n0",       "n_",  "!a"};
    enum { N = sizeof(names) / sizeof(names[0]) };
    char text[128];

    (void)state;
    for (size_t i = 0; i < N; i++) {
        snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nDate: d\r\n%s: v\r\n\r\n",
                 names[i]);
        head.looked = 0;
        assert_int_equal(http1_parse_response(strv_z(text), sizeof(text), 10, &head),
                         PARSE_DONE);
        assert_true(http1_may_have(&head, strv_z(names[i])));
        for (size_t k = 0; k < N; k++)
            assert_int_equal(http1_find(&head, strv_z(names[k])) != NULL,
                             strv_eq_nocase(strv_z(names[i]), strv_z(names[k])));
        assert_false(http1_may_have(&head, STRV("content-encoding")));
        head.names = 0; /* of a head that nobody parsed: each line is looked at */
        assert_ptr_equal(http1_find(&head, strv_z(names[i])), &head.headers[1]);
    }
}

static void test_moved(void **state)
{
    static const char text[] = "POST http://h/p?q HTTP/1.1\r\nHost: h\r\nx-empty:\r\n\r\n";
    static const char whole[] = "OPTIONS http://h HTTP/1.1\r\nHost: h\r\n\r\n";
    char copy[sizeof(text)];

    (void)state;
    parse(text);
    memcpy(copy, text, sizeof(text));
    http1_rebase(&head, text, copy, lines);
    assert_ptr_equal(head.method.p, copy);
    assert_ptr_equal(head.target.p, copy + 5);
    assert_ptr_equal(head.origin.p, strchr(copy, '/') + 3);
    assert_ptr_equal(head.authority.p, strchr(copy, '/') + 2);
    assert_ptr_equal(head.headers[0].name.p, strstr(copy, "Host"));
    assert_ptr_equal(head.headers[0].value.p, strstr(copy, "Host") + 6);
    assert_ptr_equal(head.headers[1].value.p, strstr(copy, "x-empty") + 8);
    parse(whole);
    memcpy(copy, whole, sizeof(whole));
    http1_rebase(&head, whole, copy, lines);
    assert_true(strv_eq(head.origin, STRV("*"))); /* no view of the head */
    assert_ptr_equal(head.target.p, copy + 8);
}

static void test_hop_by_hop(void **state)
{
    static const struct {
        const char *name;
        bool is;
    } cases[] = {
        {"Connection", true},
        {"KEEP-ALIVE", true},
        {"te", true},
        {"Trailer", true},
        {"Transfer-Encoding", true},
        {"Upgrade", true},
        {"Proxy-Connection", true},
        {"Proxy-Authorization", true},
        {"X-Mine", true},
        {"other", true},
        {"X-Min", false},
        {"Accept", false},
        {"Content-Type", false},
        {"Content-Length", false},
        {"Authorization", false},
        {"Host", false},
        {"Cache-Control", false},
    };

    (void)state;
    parse(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: x-mine, Content-Type, authorization,host\r\n"
        "Connection: OTHER, content-length, cache-control\r\n\r\n");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (http1_is_hop_by_hop(&head, strv_z(cases[i].name)) != cases[i].is)
            fail_msg("%s", cases[i].name);
    }
}

static void test_chunk_heads(void **state)
{
    uint64_t n = 0;

    (void)state;
    for (int bit = -1; bit < 64; bit++) {
        char expected[32], out[CHUNK_HEAD_MAX_BYTES];
        size_t length;

        n = bit < 0 ? 0 : n << 1 | 1;
        snprintf(expected, sizeof(expected), "%llx\r\n", (unsigned long long)n);
        length = http1_chunk_head(n, out);
        assert_true(length <= sizeof(out));
        assert_true(strv_eq(strv_make(out, length), strv_z(expected)));
    }
}

static void test_chunked_is_sticky(void **state)
{
    struct http1_chunked c = {0};
    struct strv data;
    size_t used;

    (void)state;
    assert_int_equal(http1_chunked_read(&c, STRV("2\r\nhi\r\n0\r\n\r\nGET"), &used, &data),
                     PARSE_DONE);
    assert_int_equal(used, 12);
    assert_true(strv_eq(data, STRV("hi")));
    assert_int_equal(http1_chunked_read(&c, STRV("GET"), &used, &data), PARSE_DONE);
    assert_int_equal(used, 0);

    c = (struct http1_chunked){0};
    assert_int_equal(http1_chunked_read(&c, STRV("2\r\nhi\r\nx"), &used, &data), PARSE_MORE);
    assert_int_equal(used, 7);
    assert_true(strv_eq(data, STRV("hi")));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(http1_chunked_read(&c, STRV("x"), &used, &data), PARSE_BAD);
        assert_int_equal(used, 0);
        assert_int_equal(c.fault, HTTP1_BAD_CHUNK);
    }
}

/* One run of data a call, and the framing behind it with it. */
/* Reads a chunk of one byte whose extension has a name of n bytes. */
static enum parse_status read_extended(struct http1_chunked *c, int n)
{
    char text[64];
    struct strv rest =
        strv_make(text, (size_t)snprintf(text, sizeof(text), "1;%.*s\r\nx\r\n", n, "aaaaaaaa"));
    enum parse_status status = PARSE_MORE;

    while (rest.n > 0 && status == PARSE_MORE) {
        struct strv data;
        size_t used;

        status = http1_chunked_read(c, rest, &used, &data);
        rest = strv_skip(rest, used);
    }
    return status;
}

/* A name of four bytes, and the end of the line in it, are five that say nothing. */
static void test_extensions_of_all_chunks(void **state)
{
    struct http1_chunked c = {0};

    (void)state;
    for (int i = 0; i < CHUNK_IDLE_MAX_BYTES / 5; i++)
        assert_int_equal(read_extended(&c, 4), PARSE_MORE);
    assert_int_equal(read_extended(&c, CHUNK_IDLE_MAX_BYTES % 5 - 1), PARSE_MORE);
    assert_int_equal(read_extended(&c, 1), PARSE_BAD);
    assert_int_equal(c.fault, HTTP1_BAD_CHUNK);
}

static void test_chunked_runs(void **state)
{
    struct strv rest = STRV("1\r\na\r\n2\r\nbc\r\n0\r\n\r\n");
    static const char *const runs[] = {"a", "bc"};
    struct http1_chunked c = {0};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct strv data;
        size_t used;

        assert_int_equal(http1_chunked_read(&c, rest, &used, &data),
                         i == 0 ? PARSE_MORE : PARSE_DONE);
        assert_true(strv_eq(data, strv_z(runs[i])));
        rest = strv_skip(rest, used);
    }
    assert_int_equal(rest.n, 0);
}

static void test_fault_texts(void **state)
{
    (void)state;
    for (int i = HTTP1_OK; i <= HTTP1_BAD_TRAILER; i++)
        assert_true(strlen(http1_fault_text((enum http1_fault)i)) > 0);
    assert_string_equal(http1_fault_text(HTTP1_OK), "ok");
    assert_string_equal(http1_fault_text(HTTP1_BAD_TRAILER), "malformed trailer");
}

/* Sixteen at a time and one by one must tell the same. */
static void test_token_runs(void **state)
{
    enum { LONGEST = 35 };
    char text[LONGEST];

    (void)state;
    for (size_t n = 0; n <= LONGEST; n++) {
        memset(text, 'x', sizeof(text));
        assert_ptr_equal(http1_skip_token(text, text + n), text + n);
        for (size_t at = 0; at < n; at++) {
            for (unsigned c = 0; c < 256; c++) {
                text[at] = (char)c;
                assert_ptr_equal(http1_skip_token(text, text + n),
                                 http1_is_token((char)c) ? text + n : text + at);
            }
            text[at] = 'x';
        }
    }
}

/* Each request reads the same after any other as with nothing known; what is kept, and what not. */
static void test_known_lines(void **state)
{
    static const char *const fields[] = {
        "X-Same-Length: one\r\n", "X-Same-Length: two\r\n", "x-same-length: one\r\n",
        "X-Same-Longer-Name: one\r\n", "X-Same-Length:one \t\r\n", "X-Same-Length:      \r\n",
        "A: b\r\n", "Authorization: Bearer tg_secret\r\n", "Content-Length: 12\r\n",
        "Content_Length: 13456\r\n", "X-Any-Name: (tg_hidden)\r\n", "X-Tollgate-Team: search\r\n", "Baggage: tollgate.team=a\r\n",
    };
    enum { FIELDS = sizeof(fields) / sizeof(fields[0]) };
    struct http1_lines *known = http1_lines_new();
    struct http1_header plain_lines[HTTP1_HEADERS_MAX];
    char text[512];

    (void)state;
    for (unsigned i = 0; i < 3 * FIELDS * FIELDS; i++) {
        struct http1_head plain = {.headers = plain_lines};
        int n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n%s%sHost: a\r\n\r\n",
                         fields[i / FIELDS % FIELDS], fields[i % FIELDS]);
        struct strv bytes = strv_make(text, (size_t)n);

        head.known = known;
        parse(text);
        assert_int_equal(http1_parse_request(bytes, bytes.n, HTTP1_HEADERS_MAX, &plain),
                         PARSE_DONE);
        assert_int_equal(head.n_headers, 3);
        assert_int_equal(head.bytes, plain.bytes);
        assert_true(head.names == plain.names);
        for (size_t h = 0; h < head.n_headers; h++) {
            assert_ptr_equal(head.headers[h].name.p, plain.headers[h].name.p);
            assert_int_equal(head.headers[h].name.n, plain.headers[h].name.n);
            assert_ptr_equal(head.headers[h].value.p, plain.headers[h].value.p);
            assert_int_equal(head.headers[h].value.n, plain.headers[h].value.n);
            assert_int_equal(plain.headers[h].traits, 0);
            assert_int_equal(head.headers[h].traits, field_traits(&plain.headers[h]));
        }
    }
    head.known = NULL;
    assert_null(memmem(known, sizeof(*known), "tg_secret", 9));
    assert_null(memmem(known, sizeof(*known), "tg_hidden", 9));
    assert_non_null(memmem(known, sizeof(*known), "tollgate.team=a", 15));
    http1_lines_free(known);
}

/* A line at the edges of what is kept, known to its last byte: then each other byte for one of it. */
static void test_known_lengths(void **state)
{
    static const char start[] = "GET / HTTP/1.1\r\nHost: a\r\n";
    char text[512];

    (void)state;
    for (int n = 1; n <= HTTP1_LINE_MAX_BYTES + 2; n++) {
        struct http1_lines *known = http1_lines_new();
        int all = snprintf(text, sizeof(text), "%sX-Length: %0*d\r\n\r\n", start, n, 0);
        bool kept = n + 12 >= HTTP1_LINE_MIN_BYTES && n + 12 <= HTTP1_LINE_MAX_BYTES;

        head.known = known;
        parse(text);
        assert_int_equal(
            http1_line_find(known, text + sizeof(start) - 1, (size_t)all - sizeof(start) + 1,
                            http1_line_index(true, 1)) !=
                NULL,
            kept);
        for (int at = all - 4 - n; at < all - 4; at++) {
            text[at] = '\n';
            head.looked = 0;
            assert_int_equal(http1_parse_request(strv_make(text, (size_t)all), sizeof(text),
                                                 HTTP1_HEADERS_MAX, &head), PARSE_BAD);
            text[at] = '0';
        }
        parse(text);
        assert_int_equal(head.headers[1].value.n, n);
        http1_lines_free(known);
    }
    head.known = NULL;
}

/* However many lines the caller would take. */
static void test_most_lines(void **state)
{
    struct http1_header most[HTTP1_LINES_MAX];
    struct http1_head h = {.headers = most};
    char text[64 + (HTTP1_LINES_MAX + 1) * 16];

    (void)state;
    for (int n = HTTP1_LINES_MAX; n <= HTTP1_LINES_MAX + 1; n++) {
        int at = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\n");

        for (int i = 0; i < n; i++)
            at += snprintf(text + at, sizeof(text) - (size_t)at, "X-%d: v\r\n", i);
        (void)snprintf(text + at, sizeof(text) - (size_t)at, "\r\n");
        h.looked = 0;
        assert_int_equal(http1_parse_response(strv_z(text), sizeof(text), SIZE_MAX, &h),
                         n == HTTP1_LINES_MAX ? PARSE_DONE : PARSE_BAD);
        assert_int_equal(h.n_headers, n == HTTP1_LINES_MAX ? n : 0);
    }
    assert_int_equal(h.fault, HTTP1_TOO_MANY_HEADERS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_scans),
        cmocka_unit_test(test_more_publishes_nothing),
        cmocka_unit_test(test_bad_leaves_no_views),
        cmocka_unit_test(test_byte_by_byte_is_linear),
        cmocka_unit_test(test_head_limits),
        cmocka_unit_test(test_lookup),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_moved),
        cmocka_unit_test(test_hop_by_hop),
        cmocka_unit_test(test_chunk_heads),
        cmocka_unit_test(test_chunked_is_sticky),
        cmocka_unit_test(test_extensions_of_all_chunks),
        cmocka_unit_test(test_chunked_runs),
        cmocka_unit_test(test_fault_texts),
        cmocka_unit_test(test_token_runs),
        cmocka_unit_test(test_known_lines),
        cmocka_unit_test(test_known_lengths),
        cmocka_unit_test(test_most_lines),
    };

    return cmocka_run_group_tests_name("http1", tests, NULL, NULL);
}
