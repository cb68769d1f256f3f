/*
 * test_http_msg.c - messages that the gateway writes, and targets that it takes apart.
 */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/datetime.h"
#include "base/xalloc.h"
#include "proxy/http_msg.h"

enum { OUT_MAX_BYTES = 1 << 20 };

static struct http1_header lines[HTTP1_HEADERS_MAX];
static struct http1_head head = {.headers = lines};

static void parse_request(const char *text)
{
    head.looked = 0;
    assert_int_equal(http1_parse_request(strv_z(text), strlen(text), HTTP1_HEADERS_MAX, &head),
                     PARSE_DONE);
}

static void parse_response(const char *text)
{
    head.looked = 0;
    assert_int_equal(http1_parse_response(strv_z(text), strlen(text), HTTP1_HEADERS_MAX, &head),
                     PARSE_DONE);
}

static void assert_text(const struct buf *out, const char *expected)
{
    if (!strv_eq(buf_view(out), strv_z(expected)))
        fail_msg("wrote\n" STRV_FMT "\ninstead of\n%s", STRV_ARG(buf_view(out)), expected);
}

/* ---- targets ----------------------------------------------------------------- */

static void test_split(void **state)
{
    static const struct {
        const char *target, *upstream, *rest, *query; /* query NULL: none */
    } cases[] = {
        {"/openai/v1/chat/completions", "openai", "/v1/chat/completions", NULL},
        {"/openai", "openai", "", NULL},
        {"/openai/", "openai", "/", NULL},
        {"/openai?a", "openai", "", "a"},
        {"/openai/v1?", "openai", "/v1", ""},
        {"/openai/v1?a=/../b?c", "openai", "/v1", "a=/../b?c"},
        {"/_tollgate/healthz", "_tollgate", "/healthz", NULL},
        {"/gemini/v1/models/m:generateContent?key=k", "gemini", "/v1/models/m:generateContent",
         "key=k"},
        {"/bedrock/model/arn%3Aaws%3Abedrock%2Fx/invoke", "bedrock",
         "/model/arn%3Aaws%3Abedrock%2Fx/invoke", NULL},
        {"/a/%C3%A9%20%25%7e", "a", "/%C3%A9%20%25%7e", NULL},
        {"/a//b", "a", "//b", NULL},
        {"/a/...", "a", "/...", NULL},
        {"/a/.well-known", "a", "/.well-known", NULL},
        {"/a/b..", "a", "/b..", NULL},
        {"/a/b;c=..", "a", "/b;c=..", NULL},
        {"/a/b;../c", "a", "/b;../c", NULL},
        {"/", "", "", NULL},
        {"/?a", "", "", "a"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct http_target t;

        if (http_split_target(strv_z(cases[i].target), &t) != RC_OK ||
            !strv_eq(t.upstream, strv_z(cases[i].upstream)) ||
            !strv_eq(t.rest, strv_z(cases[i].rest)) ||
            (t.query.p == NULL) != (cases[i].query == NULL) ||
            !strv_eq(t.query, strv_z(cases[i].query)) ||
            !strv_eq(t.path, strv_head(strv_z(cases[i].target), t.path.n)))
            fail_msg("%s", cases[i].target);
    }
}

static void test_split_refuses(void **state)
{
    static const char *const targets[] = {
        "",
        "*",
        "openai/v1",
        "http://x/a",
        "//",
        "//openai/v1",
        "/../x",
        "/./x",
        "/..",
        "/.",
        "/openai/../x",
        "/openai/./x",
        "/openai/..",
        "/openai/.",
        "/openai/x/..;a/y",
        "/openai/.;/x",
        "/..;/x",
        "/openai/%2e%2e/x",
        "/openai/%2E./x",
        "/openai/.%2e/x",
        "/openai/%2e/x",
        "/openai/..%2fx",
        "/openai/..%2Fx",
        "/openai/x%2f../y",
        "/openai/x%2f..",
        "/openai/..%5cx",
        "/openai/x%5C..",
        "/openai\\x",
        "/openai/a\\..\\b",
        "/openai/..\\x",
        "/open%61i/x",
        "/openai%2fv1/x",
        "/openai%2Fx",
        "/open%20ai/x",
        "/openai%5cx",
        "/openai/%63hat",
        "/openai/%5a",
        "/openai/%30",
        "/openai/a%2db",
        "/openai/a%5fb",
        "/openai/%00",
        "/openai/%0a",
        "/openai/%0D%0aX",
        "/openai/%1f",
        "/openai/%7f",
        "/openai/%",
        "/openai/%2",
        "/openai/%zz",
        "/openai/%2z",
        "/openai/%u0041",
        "/openai/a#b",
        "/openai?a#b",
        "/openai/a b",
        "/openai/a\tb",
        "/openai/\x01",
        "/openai/\x7f",
        "/openai/\xc3\xa9",
        "/openai?\xc3\xa9",
        "/openai?a b",
        "/%2e%2e/x",
    };
    struct http_target t;

    (void)state;
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        if (http_split_target(strv_z(targets[i]), &t) != RC_BAD)
            fail_msg("%s", targets[i]);
    }
    assert_int_equal(http_split_target(strv_make("/openai/\0x", 10), &t), RC_BAD);
}

/* ---- requests ---------------------------------------------------------------- */

static bool drop_internal(void *arg, const struct http1_header *field)
{
    (void)arg;
    return strv_starts_nocase(field->name, STRV("x-tollgate-")) ||
           strv_eq_nocase(field->name, STRV("authorization")) ||
           strv_eq_nocase(field->name, STRV("cookie"));
}

static void test_request(void **state)
{
    const struct http1_header add[] = {
        {.name = STRV("Authorization"), .value = STRV("Bearer sk-real")},
        {.name = STRV("X-Extra"), .value = STRV("1")}};
    struct http_request_rewrite rw = {
        .base_path = STRV("/base"),
        .rest = STRV("/v1/chat/completions"),
        .query = STRV("a=b&c"),
        .host = STRV("api.example.com:8443"),
        .drop = drop_internal,
        .add = add,
        .n_add = 2,
        .identity = true,
        .body = BODY_LENGTH,
        .length = UINT64_MAX,
    };
    struct buf out;

    (void)state;
    buf_init(&out, OUT_MAX_BYTES);
    parse_request("POST /openai/v1/chat/completions?a=b&c HTTP/1.1\r\n"
                  "HOST: gateway\r\n"
                  "authorization: Bearer tg_secret\r\n"
                  "X-MiXed: kept \t as is\r\n"
                  "Connection: keep-alive, X-Nominated, content-type, \r\n"
                  "Keep-Alive: timeout=5\r\n"
                  "X-Nominated: gone\r\n"
                  "TE: trailers\r\n"
                  "Trailer: x\r\n"
                  "Upgrade: h2c\r\n"
                  "HTTP2-Settings: AAA\r\n"
                  "Proxy-Authorization: Basic x\r\n"
                  "Proxy-Authenticate: Basic\r\n"
                  "proxy_authentication_info: x\r\n"
                  "Proxy-Connection: keep-alive\r\n"
                  "Expect: 100-continue\r\n"
                  "Content-Length: 5\r\n"
                  "Content_Length: 6\r\n"
                  "Transfer_Encoding: chunked\r\n"
                  "x-tollgate-team: search\r\n"
                  "Cookie:\r\n"
                  "X-Empty:\r\n"
                  "Content-Type: application/json\r\n"
                  "x-extra: theirs\r\n"
                  "Accept-Encoding: gzip, br\r\n"
                  "X-Mixed: twice\r\n"
                  "\r\n");
    assert_int_equal(http_build_request(&head, &rw, &out), RC_OK);
    assert_text(&out, "POST /base/v1/chat/completions?a=b&c HTTP/1.1\r\n"
                      "Host: api.example.com:8443\r\n"
                      "X-MiXed: kept \t as is\r\n"
                      "X-Empty: \r\n"
                      "Content-Type: application/json\r\n"
                      "X-Mixed: twice\r\n"
                      "Authorization: Bearer sk-real\r\n"
                      "X-Extra: 1\r\n"
                      "Accept-Encoding: identity\r\n"
                      "Content-Length: 18446744073709551615\r\n"
                      "\r\n");
    buf_release(&out);
}

static void test_request_lines(void **state)
{
    static const struct {
        const char *base, *rest, *query, *line;
        enum body_framing body;
        bool close;
        const char *fields;
    } cases[] = {
        {"", "", NULL, "GET / HTTP/1.1\r\n", BODY_NONE, false, ""},
        {"", "/", NULL, "GET / HTTP/1.1\r\n", BODY_NONE, true, "Connection: close\r\n"},
        {"/v1", "", NULL, "GET /v1 HTTP/1.1\r\n", BODY_CHUNKED, false,
         "Transfer-Encoding: chunked\r\n"},
        {"", "", "", "GET /? HTTP/1.1\r\n", BODY_LENGTH, false, "Content-Length: 0\r\n"},
        {"/v1", "/a", "x=%0a", "GET /v1/a?x=%0a HTTP/1.1\r\n", BODY_CHUNKED, true,
         "Connection: close\r\nTransfer-Encoding: chunked\r\n"},
    };

    (void)state;
    parse_request("GET /x HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct http_request_rewrite rw = {.base_path = strv_z(cases[i].base),
                                          .rest = strv_z(cases[i].rest),
                                          .query = strv_z(cases[i].query),
                                          .host = STRV("h"),
                                          .body = cases[i].body,
                                          .close = cases[i].close};
        char *expected = xasprintf("%sHost: h\r\nAccept-Encoding: gzip\r\n%s\r\n",
                                   cases[i].line, cases[i].fields);
        struct buf out;

        buf_init(&out, OUT_MAX_BYTES);
        assert_int_equal(http_build_request(&head, &rw, &out), RC_OK);
        assert_text(&out, expected);
        buf_release(&out);
        free(expected);
    }
}

static void test_request_refuses(void **state)
{
    static const struct http1_header line_break = {.name = {"A", 1}, .value = {"b\r\nC: d", 7}};
    static const struct http1_header bad_name = {.name = {"A b", 3}, .value = {"c", 1}};
    static const struct http_request_rewrite good = {.host = {"h", 1}};
    struct http_request_rewrite cases[9];
    struct buf out;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cases[i] = good;
    cases[0].host = STRV_NONE;
    cases[1].host = STRV("h\r\nA: b");
    cases[2].rest = STRV("/a b");
    cases[3].rest = STRV("a");
    cases[4].base_path = STRV("v1");
    cases[5].query = STRV("a\nb");
    cases[6].add = &line_break;
    cases[6].n_add = 1;
    cases[7].add = &bad_name;
    cases[7].n_add = 1;
    cases[8].body = BODY_CLOSE;
    parse_request("GET /x HTTP/1.1\r\nHost: x\r\n\r\n");
    buf_init(&out, OUT_MAX_BYTES);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(http_build_request(&head, &cases[i], &out), RC_BAD);
        assert_int_equal(buf_len(&out), 0);
    }
    assert_int_equal(http_build_request(&head, &good, &out), RC_OK);
    buf_release(&out);
}

static void test_connection_list_is_bounded(void **state)
{
    const struct http_request_rewrite rw = {.host = STRV("h")};
    const struct http_response_rewrite back = {.body = BODY_LENGTH, .keep_alive = true};

    (void)state;
    for (size_t parts = HTTP_CONNECTION_PARTS_MAX; parts <= HTTP_CONNECTION_PARTS_MAX + 1;
         parts++) {
        enum rc expected = parts <= HTTP_CONNECTION_PARTS_MAX ? RC_OK : RC_BAD;
        char commas[HTTP_CONNECTION_PARTS_MAX + 1] = "";
        char *text;
        struct buf out;

        memset(commas, ',', parts - 2); /* with one part on a line of its own */
        buf_init(&out, OUT_MAX_BYTES);
        text = xasprintf("GET / HTTP/1.1\r\nHost: x\r\nConnection: %s\r\nconnection: a\r\n\r\n",
                         commas);
        parse_request(text);
        assert_int_equal(http_build_request(&head, &rw, &out), expected);
        free(text);
        text = xasprintf("HTTP/1.1 200 OK\r\nConnection: %s\r\nconnection: a\r\n\r\n", commas);
        parse_response(text);
        assert_int_equal(http_build_response(&head, &back, &out), expected);
        free(text);
        buf_release(&out);
    }
}

static void test_full_buffer_is_left_alone(void **state)
{
    const struct http_request_rewrite rw = {.host = STRV("h")};
    const struct http_response_rewrite back = {.body = BODY_LENGTH, .keep_alive = true};
    struct buf out;

    (void)state;
    buf_init(&out, 8);
    assert_int_equal(buf_append(&out, "abc", 3), RC_OK);
    parse_request("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(http_build_request(&head, &rw, &out), RC_LIMIT);
    parse_response("HTTP/1.1 200 OK\r\n\r\n");
    assert_int_equal(http_build_response(&head, &back, &out), RC_LIMIT);
    assert_int_equal(http_build_simple(200, STRV_NONE, STRV_NONE, STRV_NONE, true, false, &out),
                     RC_LIMIT);
    assert_text(&out, "abc");
    buf_release(&out);
}

/* ---- responses --------------------------------------------------------------- */

static bool drop_ratelimit(void *arg, const struct http1_header *field)
{
    return strv_starts_nocase(field->name, strv_z(arg));
}

static void test_response(void **state)
{
    char prefix[] = "x-ratelimit-";
    struct http_response_rewrite rw = {
        .body = BODY_CHUNKED,
        .client_minor = 1,
        .keep_alive = true,
        .drop = drop_ratelimit,
        .drop_arg = prefix,
        .add = STRV("X-Tollgate-Request-Id: id\r\nX-Tollgate-Tokens: in=1, out=2\r\n"),
    };
    struct buf out;

    (void)state;
    buf_init(&out, OUT_MAX_BYTES);
    parse_response("HTTP/1.0 429 Too \xc3\xa9 Many\r\n"
                   "date: today\r\n"
                   "Content-Type: text/event-stream\r\n"
                   "content-length: 7\r\n"
                   "Connection: close, X-Hop\r\n"
                   "X-Hop: 1\r\n"
                   "X-Tollgate-Request-Id: forged\r\n"
                   "x-tollgate-cost-usd: 0\r\n"
                   "X-RateLimit-Remaining: 3\r\n"
                   "Set-Cookie: a=b\r\n"
                   "Set-Cookie: c=d\r\n"
                   "Content-Encoding: gzip\r\n"
                   "Proxy-Authenticate: Basic\r\n"
                   "\r\n");
    assert_int_equal(http_build_response(&head, &rw, &out), RC_OK);
    assert_text(&out, "HTTP/1.1 429 Too \xc3\xa9 Many\r\n"
                      "date: today\r\n"
                      "Content-Type: text/event-stream\r\n"
                      "Set-Cookie: a=b\r\n"
                      "Set-Cookie: c=d\r\n"
                      "Content-Encoding: gzip\r\n"
                      "Transfer-Encoding: chunked\r\n"
                      "X-Tollgate-Request-Id: id\r\n"
                      "X-Tollgate-Tokens: in=1, out=2\r\n"
                      "\r\n");
    buf_release(&out);
}

static void test_response_framing(void **state)
{
    static const struct {
        const char *in;
        enum body_framing body;
        bool to_head;
        int minor;
        bool keep_alive;
        enum rc rc;
        const char *out;
    } cases[] = {
        {"HTTP/1.1 200\r\n\r\n", BODY_LENGTH, false, 1, true, RC_OK,
         "HTTP/1.1 200 \r\nContent-Length: 9\r\n\r\n"},
        {"HTTP/1.1 200 OK\r\n\r\n", BODY_LENGTH, false, 0, true, RC_OK,
         "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: keep-alive\r\n\r\n"},
        {"HTTP/1.1 200 OK\r\n\r\n", BODY_LENGTH, false, 0, false, RC_OK,
         "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n"},
        {"HTTP/1.1 200 OK\r\n\r\n", BODY_CLOSE, false, 0, false, RC_OK,
         "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"},
        {"HTTP/1.1 200 OK\r\n\r\n", BODY_CLOSE, false, 1, true, RC_STATE, ""},
        {"HTTP/1.1 200 OK\r\n\r\n", BODY_CHUNKED, false, 0, false, RC_STATE, ""},
        {"HTTP/1.1 200 OK\r\n\r\n", BODY_NONE, false, 1, true, RC_STATE, ""},
        {"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", BODY_LENGTH, false, 1, true, RC_STATE,
         ""},
        {"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", BODY_NONE, false, 1, true, RC_OK,
         "HTTP/1.1 204 No\r\n\r\n"},
        {"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", BODY_NONE, true, 1, true, RC_OK,
         "HTTP/1.1 204 No\r\n\r\n"},
        {"HTTP/1.1 304 No\r\nContent-length: 5\r\n\r\n", BODY_NONE, false, 1, true, RC_OK,
         "HTTP/1.1 304 No\r\nContent-length: 5\r\n\r\n"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", BODY_NONE, true, 1, false, RC_OK,
         "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", BODY_NONE, true, 1, true,
         RC_OK, "HTTP/1.1 200 OK\r\n\r\n"},
        {"HTTP/1.1 100 Continue\r\n\r\n", BODY_NONE, false, 1, false, RC_OK,
         "HTTP/1.1 100 Continue\r\n\r\n"},
        {"HTTP/1.1 103 Early\r\nLink: a\r\n\r\n", BODY_NONE, false, 0, true, RC_OK,
         "HTTP/1.1 103 Early\r\nLink: a\r\n\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct http_response_rewrite rw = {.body = cases[i].body,
                                           .length = 9,
                                           .to_head = cases[i].to_head,
                                           .client_minor = cases[i].minor,
                                           .keep_alive = cases[i].keep_alive};
        struct buf out;

        buf_init(&out, OUT_MAX_BYTES);
        parse_response(cases[i].in);
        assert_int_equal(http_build_response(&head, &rw, &out), cases[i].rc);
        assert_text(&out, cases[i].out);
        buf_release(&out);
    }
}

static void test_added_lines_are_checked(void **state)
{
    static const char *const bad[] = {
        "A: b", "A: b\n",       "A: b\r",      "A b\r\n",   ": b\r\n",        "A : b\r\n",
        "\r\n", "A: b\r\n\r\n", "A: \x01\r\n", "A: b\r\nC", "A: b\nC: d\r\n", " A: b\r\n",
    };
    struct buf out;

    (void)state;
    buf_init(&out, OUT_MAX_BYTES);
    parse_response("HTTP/1.1 200 OK\r\n\r\n");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct http_response_rewrite rw = {
            .body = BODY_LENGTH, .keep_alive = true, .add = strv_z(bad[i])};

        if (http_build_response(&head, &rw, &out) != RC_BAD ||
            http_build_simple(200, STRV_NONE, strv_z(bad[i]), STRV_NONE, true, false, &out) !=
                RC_BAD)
            fail_msg("%s", bad[i]);
    }
    assert_int_equal(buf_len(&out), 0);
    buf_release(&out);
}

/* ---- own answers ------------------------------------------------------------- */

static int64_t fixed_clock(void)
{
    return INT64_C(784111777) * US_PER_SECOND + 999999; /* RFC 9110 5.6.7's example */
}

static void test_simple(void **state)
{
    static const struct {
        int status;
        const char *type, *lines, *body;
        bool keep_alive, head_only;
        const char *out;
    } cases[] = {
        {402, "application/json", "X-Tollgate-Denied: budget_exhausted\r\n", "{}", true, false,
         "HTTP/1.1 402 Payment Required\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
         "Content-Type: application/json\r\nContent-Length: 2\r\n"
         "X-Tollgate-Denied: budget_exhausted\r\n\r\n{}"},
        {404, "", "", "", false, false,
         "HTTP/1.1 404 Not Found\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
         "Content-Length: 0\r\nConnection: close\r\n\r\n"},
        {200, "text/plain", "", "hello", true, true,
         "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
         "Content-Type: text/plain\r\nContent-Length: 5\r\n\r\n"},
        {204, "text/plain", "A: b\r\n", "hello", true, false,
         "HTTP/1.1 204 No Content\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nA: b\r\n\r\n"},
        {100, "", "", "", false, false, "HTTP/1.1 100 Continue\r\n\r\n"},
        {299, "", "", "", true, false,
         "HTTP/1.1 299 \r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n"},
    };

    (void)state;
    clock_replace(fixed_clock);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf out;

        buf_init(&out, OUT_MAX_BYTES);
        assert_int_equal(http_build_simple(cases[i].status, strv_z(cases[i].type),
                                           strv_z(cases[i].lines), strv_z(cases[i].body),
                                           cases[i].keep_alive, cases[i].head_only, &out),
                         RC_OK);
        assert_text(&out, cases[i].out);
        buf_release(&out);
    }
    clock_replace(NULL);
}

static void test_dates(void **state)
{
    (void)state;
    for (int64_t s = -INT64_C(3) * 366 * 86400; s < INT64_C(4102444800);
         s += INT64_C(86400) * 13 + 12347) {
        char expected[64], out[HTTP_DATE_BYTES];
        time_t t = (time_t)s;
        struct tm tm;

        assert_non_null(gmtime_r(&t, &tm));
        strftime(expected, sizeof(expected), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        http_date(s * US_PER_SECOND, out);
        assert_string_equal(out, expected);
    }
}

static void test_statuses(void **state)
{
    static const int used[] = {100, 200, 400, 401, 402, 403, 404, 408,
                               413, 415, 429, 431, 500, 502, 503, 504};

    (void)state;
    for (size_t i = 0; i < sizeof(used) / sizeof(used[0]); i++)
        assert_true(strlen(http_reason(used[i])) > 0);
    assert_string_equal(http_reason(599), "");
    for (int status = 100; status < 1000; status++)
        assert_int_equal(http_status_has_body(status),
                         !(status < 200 || status == 204 || status == 304));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_split_refuses),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_request_lines),
        cmocka_unit_test(test_request_refuses),
        cmocka_unit_test(test_connection_list_is_bounded),
        cmocka_unit_test(test_full_buffer_is_left_alone),
        cmocka_unit_test(test_response),
        cmocka_unit_test(test_response_framing),
        cmocka_unit_test(test_added_lines_are_checked),
        cmocka_unit_test(test_simple),
        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_statuses),
    };

    return cmocka_run_group_tests_name("http_msg", tests, NULL, NULL);
}
