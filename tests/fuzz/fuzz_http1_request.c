/*
 * fuzz_http1_request.c - request heads, and the requests that are made of them.
 *
 * Holds: whole and in pieces read the same; what is accepted reads the same when it is
 * written out; what goes upstream is exactly one request for our parser, with the
 * framing that was asked for, one credential, ours, and no internal field; its path
 * passes the check of targets again.  The input's first three bytes choose bounds.
 */
#include "proxy/http_msg.h"
#include "tests/fuzz/fuzz_http1.h"

static const struct http1_header credential = {.name = {"Authorization", 13},
                                              .value = {"Bearer ours", 11}};

static bool drop_internal(void *arg, const struct http1_header *field)
{
    (void)arg;
    return strv_starts_nocase(field->name, STRV("x-tollgate-")) ||
           strv_eq_nocase(field->name, STRV("cookie"));
}

static void check_again(const struct http1_head *head)
{
    struct http1_header again_lines[HTTP1_HEADERS_MAX];
    struct http1_head again = {.headers = again_lines};
    struct buf text;

    buf_init(&text, FUZZ_OUT_MAX_BYTES);
    fuzz_put(&text, head->method);
    fuzz_put(&text, STRV(" "));
    fuzz_put(&text, head->target);
    fuzz_put(&text, head->minor == 1 ? STRV(" HTTP/1.1\r\n") : STRV(" HTTP/1.0\r\n"));
    fuzz_put_fields(&text, head);
    ASSERT(http1_parse_request(buf_view(&text), buf_len(&text), HTTP1_HEADERS_MAX, &again) ==
           PARSE_DONE);
    ASSERT(again.bytes == buf_len(&text) && again.n_headers == head->n_headers);
    ASSERT(strv_eq(again.method, head->method) && strv_eq(again.target, head->target) &&
           strv_eq(again.origin, head->origin) && strv_eq(again.authority, head->authority));
    for (size_t i = 0; i < head->n_headers; i++) {
        ASSERT(strv_eq(again.headers[i].name, head->headers[i].name));
        ASSERT(strv_eq(again.headers[i].value, head->headers[i].value));
    }
    buf_release(&text);
}

static void check_upstream(const struct http1_head *client, const struct http1_framing *framing)
{
    struct http_request_rewrite rw = {.base_path = STRV("/v1"),
                                      .host = STRV("api.example.com"),
                                      .drop = drop_internal,
                                      .add = &credential,
                                      .n_add = 1,
                                      .identity = true,
                                      .body = framing->body,
                                      .length = framing->length};
    struct http_target target;
    struct http1_header sent_lines[HTTP1_HEADERS_MAX];
    struct http1_head sent = {.headers = sent_lines};
    struct http1_framing sent_framing;
    struct buf out;

    if (http_split_target(client->origin, &target) != RC_OK)
        return;
    rw.rest = target.rest;
    rw.query = target.query;
    buf_init(&out, FUZZ_OUT_MAX_BYTES);
    if (http_build_request(client, &rw, &out) != RC_OK) {
        ASSERT(buf_len(&out) == 0);
        return; /* a Connection list that is too long */
    }
    ASSERT(http1_parse_request(buf_view(&out), buf_len(&out), HTTP1_HEADERS_MAX, &sent) ==
               PARSE_DONE ||
           client->n_headers > HTTP1_HEADERS_MAX - 4);
    if (sent.fault == HTTP1_OK) {
        ASSERT(sent.bytes == buf_len(&out) && strv_eq(sent.method, client->method));
        ASSERT(http1_frame(&sent, true, STRV_NONE, &sent_framing) == HTTP1_OK);
        ASSERT(sent_framing.body == framing->body && sent_framing.length == framing->length);
        ASSERT(sent_framing.keep_alive && strv_eq(sent.authority, rw.host));
        ASSERT(strv_eq(http1_value(&sent, credential.name), credential.value));
        ASSERT(fuzz_count(&sent, credential.name) == 1);
        ASSERT(fuzz_count(&sent, STRV("accept-encoding")) == 1);
        for (size_t i = 0; i < sent.n_headers; i++)
            ASSERT(!drop_internal(NULL, &sent.headers[i]));
        ASSERT(http_split_target(sent.origin, &target) == RC_OK);
        ASSERT(strv_eq(target.upstream, STRV("v1")) && strv_eq(target.rest, rw.rest));
        ASSERT(strv_eq(target.query, rw.query));
    }
    buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct http1_header head_lines[HTTP1_HEADERS_MAX];
    struct http1_head head = {.headers = head_lines};
    struct http1_framing framing;
    struct strv input;
    size_t max_bytes;

    if (n < 3 || n > 4096)
        return 0;
    input = strv_make((const char *)bytes + 3, n - 3);
    max_bytes = bytes[0] < 128 ? 65536 : (size_t)bytes[0] - 128 + 1;
    if (fuzz_parse(http1_parse_request, input, 1u + bytes[1] % 16, max_bytes,
                   (size_t)bytes[2] % (HTTP1_HEADERS_MAX + 1), &head) != PARSE_DONE)
        return 0;
    check_again(&head);
    if (http1_frame(&head, true, STRV_NONE, &framing) == HTTP1_OK)
        check_upstream(&head, &framing);
    return 0;
}
