/*
 * h2_response.c - the exchange's HTTP/1.1 answer, read and sent as frames.
 *
 * The payload goes on byte for byte; its framing becomes that of HTTP/2, and fields that
 * speak of a connection stay here (RFC 9113 8.2.2).  An answer that ends before its length
 * or last chunk ends in RST_STREAM, never in a clean end.
 */
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/xalloc.h"
#include "proxy/h2_fields.h"
#include "proxy/h2_int.h"

enum { STATUS_DIGITS = 3 };

/* ---- the head ----------------------------------------------------------------------- */

static ssize_t give(nghttp2_session *session, int32_t id, uint8_t *to, size_t size,
                    uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct h2_stream *s = source->ptr;
    struct strv waiting = buf_view(&s->out);
    size_t n = waiting.n < size ? waiting.n : size;

    (void)session;
    (void)id;
    (void)arg;
    if (n > 0)
        memcpy(to, waiting.p, n);
    buf_consume(&s->out, n);
    if (!s->conn && n > 0)
        s->rest_us = clock_mono_us();
    if (buf_len(&s->out) == 0 && s->answer == H2_ANSWER_DONE) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        buf_release(&s->out);
    } else if (n == 0) {
        s->paused = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (s->conn && s->conn->io.want_write)
        h2_stream_tell(s);
    return (ssize_t)n;
}

static enum rc submit(struct h2_stream *s, const struct http1_head *head, bool interim)
{
    nghttp2_nv fields[HTTP1_LINES_MAX + 1];
    char status[STATUS_DIGITS + 1], *names = xmalloc(head->bytes);
    size_t n;
    int failed;

    status[0] = (char)('0' + head->status / 100 % 10);
    status[1] = (char)('0' + head->status / 10 % 10);
    status[2] = (char)('0' + head->status % 10);
    fields[0] = h2_field(STRV(":status"), strv_make(status, STATUS_DIGITS));
    n = 1 + h2_fields(head, STRV_NONE, names, fields + 1);
    if (interim) {
        failed = nghttp2_submit_headers(s->h2->session, NGHTTP2_FLAG_NONE, s->id, NULL, fields, n,
                                        NULL);
    } else {
        nghttp2_data_provider body = {.source = {.ptr = s}, .read_callback = give};

        failed = nghttp2_submit_response(s->h2->session, s->id, fields, n,
                                         s->answer == H2_ANSWER_DONE ? NULL : &body);
    }
    free(names);
    return failed == 0 ? RC_OK : RC_IO;
}

/* The head in s->head is complete. */
static enum rc take_head(struct h2_stream *s, struct http1_head *head)
{
    bool interim = head->status < 200;

    if (interim)
        return head->status == 101 ? RC_BAD : submit(s, head, true);
    if (http1_frame(head, false, s->is_head ? STRV("HEAD") : STRV_NONE, &s->framing) != HTTP1_OK)
        return RC_BAD;
    s->left = s->framing.length;
    s->answer = H2_ANSWER_BODY;
    if (s->framing.body == BODY_NONE || (s->framing.body == BODY_LENGTH && s->left == 0))
        s->answer = H2_ANSWER_DONE;
    return submit(s, head, false);
}

/* Reads on in the head, which nearly always comes in one piece; *used of the bytes. */
static enum rc read_head(struct h2_stream *s, struct strv bytes, size_t *used)
{
    struct http1_header head_lines[HTTP1_LINES_MAX] UNCLEARED;
    struct http1_head head = {.headers = head_lines};
    size_t before = buf_len(&s->head);
    enum parse_status status;
    enum rc rc = RC_OK;

    bytes = strv_head(bytes, HEAD_MAX_BYTES + 1 - before);
    if (before > 0)
        rc = buf_append_strv(&s->head, bytes);
    if (rc != RC_OK)
        return RC_BAD;
    status = http1_parse_response(before > 0 ? buf_view(&s->head) : bytes, HEAD_MAX_BYTES,
                                  HTTP1_LINES_MAX, &head);
    *used = bytes.n;
    if (status == PARSE_MORE)
        return before > 0 ? RC_OK : buf_append_strv(&s->head, bytes);
    if (status == PARSE_BAD)
        return RC_BAD;
    ASSERT(head.bytes > before);
    *used = head.bytes - before;
    rc = take_head(s, &head);
    buf_release(&s->head);
    return rc;
}

/* ---- the body ----------------------------------------------------------------------- */

static enum rc read_body(struct h2_stream *s, struct strv bytes, size_t *used)
{
    struct strv data = bytes;
    size_t room = H2_STREAM_OUT_BYTES - buf_len(&s->out);

    bytes = strv_head(bytes, room);
    switch (s->framing.body) {
    case BODY_CHUNKED:
        switch (http1_chunked_read(&s->chunks, bytes, used, &data)) {
        case PARSE_DONE:
            s->answer = H2_ANSWER_DONE;
            break;
        case PARSE_MORE:
            break;
        case PARSE_BAD:
            return RC_BAD;
        }
        break;
    case BODY_LENGTH:
        data = strv_head(bytes, s->left < bytes.n ? (size_t)s->left : bytes.n);
        *used = data.n;
        s->left -= data.n;
        if (s->left == 0)
            s->answer = H2_ANSWER_DONE;
        break;
    case BODY_CLOSE:
        data = bytes;
        *used = data.n;
        break;
    case BODY_NONE:
        return RC_BAD;
    }
    return buf_append_strv(&s->out, data);
}

enum rc h2_response_write(struct h2_stream *s, const char *from, size_t size, size_t *put)
{
    enum rc rc = RC_OK;

    while (rc == RC_OK && *put < size && s->answer != H2_ANSWER_DONE) {
        struct strv rest = strv_make(from + *put, size - *put);
        size_t used = 0;

        if (!s->h2 || s->closed)
            return RC_IO;
        if (s->answer == H2_ANSWER_HEAD)
            rc = read_head(s, rest, &used);
        else if (buf_len(&s->out) >= H2_STREAM_OUT_BYTES)
            rc = RC_AGAIN;
        else
            rc = read_body(s, rest, &used);
        *put += used;
    }
    if (s->answer == H2_ANSWER_DONE)
        *put = size; /* nothing stands behind an answer */
    if (s->h2) {
        if (s->paused && (buf_len(&s->out) > 0 || s->answer == H2_ANSWER_DONE)) {
            s->paused = false;
            nghttp2_session_resume_data(s->h2->session, s->id);
        }
        h2_is_dirty(s->h2);
    }
    return rc;
}
