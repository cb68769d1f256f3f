/*
 * fuzz_http1_response.c - status heads, and the responses that are made of them.
 *
 * Holds: whole and in pieces read the same; what goes to the client is exactly one
 * head for our parser, with the provider's status and reason, the framing and the
 * connection that were asked for, and no X-Tollgate field but ours.  The input's first
 * three bytes choose the request that is answered and the client's side.
 */
#include "proxy/http_msg.h"
#include "tests/fuzz/fuzz_http1.h"

static const struct strv methods[] = {{"GET", 3}, {"HEAD", 4}, {"CONNECT", 7}, {"POST", 4}};

static void check_client(const struct http1_head *upstream, const struct http1_framing *framing,
                         struct strv method, unsigned choice)
{
    struct http_response_rewrite rw = {
        .body = framing->body,
        .length = framing->length,
        .to_head = strv_eq(method, STRV("HEAD")),
        .client_minor = (choice & 1) != 0 ? 1 : 0,
        .keep_alive = (choice & 2) != 0,
        .add = STRV("X-Tollgate-Request-Id: ours\r\n"),
    };
    struct http1_header sent_lines[HTTP1_HEADERS_MAX];
    struct http1_head sent = {.headers = sent_lines};
    struct http1_framing sent_framing;
    struct buf out;
    enum rc rc;

    buf_init(&out, FUZZ_OUT_MAX_BYTES);
    rc = http_build_response(upstream, &rw, &out);
    if (rc != RC_OK) {
        ASSERT(buf_len(&out) == 0);
        return;
    }
    ASSERT(http1_parse_response(buf_view(&out), buf_len(&out), HTTP1_HEADERS_MAX, &sent) ==
               PARSE_DONE ||
           upstream->n_headers > HTTP1_HEADERS_MAX - 4);
    if (sent.fault == HTTP1_OK) {
        ASSERT(sent.bytes == buf_len(&out) && sent.status == upstream->status);
        ASSERT(strv_eq(sent.reason, upstream->reason) && sent.minor == 1);
        ASSERT(http1_frame(&sent, false, method, &sent_framing) == HTTP1_OK);
        ASSERT(sent_framing.body == rw.body && sent_framing.length == rw.length);
        ASSERT(sent.status < 200 || sent_framing.keep_alive == rw.keep_alive);
        ASSERT(fuzz_count(&sent, STRV("x-tollgate-request-id")) == 1);
        for (size_t i = 0; i < sent.n_headers; i++)
            ASSERT(!strv_starts_nocase(sent.headers[i].name, STRV("x-tollgate-")) ||
                   strv_eq(sent.headers[i].value, STRV("ours")));
    }
    buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct http1_header head_lines[HTTP1_HEADERS_MAX];
    struct http1_head head = {.headers = head_lines};
    struct http1_framing framing;
    struct strv input, method;

    if (n < 3 || n > 4096)
        return 0;
    input = strv_make((const char *)bytes + 3, n - 3);
    method = methods[bytes[1] % 4];
    if (fuzz_parse(http1_parse_response, input, 1u + bytes[0] % 16,
                   bytes[0] < 128 ? 65536 : (size_t)bytes[0] - 128 + 1, HTTP1_HEADERS_MAX,
                   &head) != PARSE_DONE)
        return 0;
    if (http1_frame(&head, false, method, &framing) != HTTP1_OK)
        return 0;
    ASSERT(framing.body != BODY_CLOSE || !framing.keep_alive);
    ASSERT(framing.body == BODY_LENGTH || framing.length == 0);
    if (!strv_eq(method, STRV("CONNECT")))
        check_client(&head, &framing, method, bytes[2]);
    return 0;
}
