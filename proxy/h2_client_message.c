/*
 * h2_client_message.c - a request's HTTP/1.1 as frames, and an answer's frames as HTTP/1.1.
 */
#include <string.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "proxy/h2_client_int.h"
#include "proxy/h2_fields.h"

/* ---- the request ------------------------------------------------------------------------ */

static ssize_t give(nghttp2_session *session, int32_t id, uint8_t *to, size_t size,
                    uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct h2_client *c = source->ptr;
    struct strv waiting = strv_head(buf_view(&c->out), size);

    (void)session;
    (void)id;
    (void)arg;
    if (waiting.n > 0)
        memcpy(to, waiting.p, waiting.n);
    buf_consume(&c->out, waiting.n);
    if (buf_len(&c->out) == 0 && c->asked == H2_PART_DONE) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    } else if (waiting.n == 0) {
        c->paused = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)waiting.n;
}

static enum rc submit(struct h2_client *c, const struct http1_head *head)
{
    enum { PSEUDO_FIELDS = 4 };
    nghttp2_nv fields[HTTP1_LINES_MAX + PSEUDO_FIELDS];
    nghttp2_data_provider body = {.source = {.ptr = c}, .read_callback = give};
    char *names = xmalloc(head->bytes);
    size_t n = 0;

    fields[n++] = h2_field(STRV(":method"), head->method);
    fields[n++] = h2_field(STRV(":scheme"), io_is_tls(&c->socket) ? STRV("https") : STRV("http"));
    fields[n++] = h2_field(STRV(":authority"), head->authority);
    fields[n++] = h2_field(STRV(":path"), head->target);
    n += h2_fields(head, STRV("host"), names, fields + n);
    c->stream = nghttp2_submit_request(c->session, NULL, fields, n,
                                       c->asked == H2_PART_DONE ? NULL : &body, c);
    free(names);
    return c->stream > 0 ? RC_OK : RC_IO;
}

/* Reads on in the head, which nearly always comes in one piece; *used of the bytes. */
static enum rc ask_head(struct h2_client *c, struct strv bytes, size_t *used)
{
    struct http1_header lines[HTTP1_LINES_MAX] UNCLEARED;
    struct http1_head head = {.headers = lines};
    size_t before = buf_len(&c->head);
    enum parse_status status;
    enum rc rc = buf_append_strv(&c->head, bytes);

    if (rc != RC_OK)
        return RC_IO;
    *used = bytes.n;
    status = http1_parse_request(buf_view(&c->head), H2_CLIENT_REQUEST_HEAD_BYTES,
                                 HTTP1_LINES_MAX, &head);
    if (status == PARSE_MORE)
        return RC_OK;
    if (status == PARSE_BAD || http1_frame(&head, true, STRV_NONE, &c->framing) != HTTP1_OK)
        return RC_IO;
    *used = head.bytes - before;
    c->left = c->framing.length;
    c->asked = c->framing.body == BODY_NONE || (c->framing.body == BODY_LENGTH && c->left == 0)
                   ? H2_PART_DONE
                   : H2_PART_BODY;
    rc = submit(c, &head);
    buf_release(&c->head);
    return rc;
}

static enum rc ask_body(struct h2_client *c, struct strv bytes, size_t *used)
{
    struct strv data = STRV_NONE;

    bytes = strv_head(bytes, H2_CLIENT_OUT_BYTES - buf_len(&c->out));
    if (c->framing.body == BODY_CHUNKED) {
        enum parse_status status = http1_chunked_read(&c->chunks, bytes, used, &data);

        if (status == PARSE_BAD)
            return RC_IO;
        if (status == PARSE_DONE)
            c->asked = H2_PART_DONE;
    } else {
        data = strv_head(bytes, c->left < bytes.n ? (size_t)c->left : bytes.n);
        *used = data.n;
        c->left -= data.n;
        if (c->left == 0)
            c->asked = H2_PART_DONE;
    }
    return buf_append_strv(&c->out, data);
}

enum rc h2_client_ask(struct h2_client *c, const char *from, size_t size, size_t *put)
{
    enum rc rc = RC_OK;

    while (rc == RC_OK && *put < size) {
        struct strv rest = strv_make(from + *put, size - *put);
        size_t used = 0;

        if (c->gone || c->closed || c->asked == H2_PART_DONE)
            return RC_IO;
        if (c->asked == H2_PART_HEAD)
            rc = ask_head(c, rest, &used);
        else if (buf_len(&c->out) >= H2_CLIENT_OUT_BYTES)
            rc = RC_AGAIN;
        else
            rc = ask_body(c, rest, &used);
        *put += used;
    }
    if (c->paused && (buf_len(&c->out) > 0 || c->asked == H2_PART_DONE)) {
        c->paused = false;
        nghttp2_session_resume_data(c->session, c->stream);
    }
    h2_client_soon(c);
    return rc;
}

/* ---- the answer ------------------------------------------------------------------------- */

enum { STATUS_DIGITS = 3 };

static bool put(struct buf *to, struct strv s)
{
    return buf_append_strv(to, s) == RC_OK;
}

bool h2_client_field(struct h2_client *c, struct strv name, struct strv value)
{
    if (strv_eq(name, STRV(":status"))) {
        if (value.n != STATUS_DIGITS) /* nghttp2 has seen to the digits */
            return false;
        memcpy(c->status, value.p, STATUS_DIGITS);
        return true;
    }
    if (buf_len(&c->fields) + name.n + value.n + 4 > H2_CLIENT_HEAD_MAX_BYTES)
        return false;
    c->has_length = c->has_length || strv_eq(name, STRV("content-length"));
    return put(&c->fields, name) && put(&c->fields, STRV(": ")) && put(&c->fields, value) &&
           put(&c->fields, STRV("\r\n"));
}

bool h2_client_head(struct h2_client *c, bool ended)
{
    bool interim = c->status[0] == '1';
    bool good;

    if (c->status[0] == '\0' || (interim && ended))
        return false;
    c->chunked = !interim && !c->has_length && !ended && strcmp(c->status, "204") != 0 &&
                 strcmp(c->status, "304") != 0;
    good = put(&c->in, STRV("HTTP/1.1 ")) && put(&c->in, strv_z(c->status)) &&
           put(&c->in, STRV(" \r\n")) && put(&c->in, buf_view(&c->fields));
    if (good && c->chunked)
        good = put(&c->in, STRV("Transfer-Encoding: chunked\r\n"));
    else if (good && ended && !c->has_length)
        good = put(&c->in, STRV("Content-Length: 0\r\n"));
    good = good && put(&c->in, STRV("\r\n"));
    buf_release(&c->fields);
    memset(c->status, 0, sizeof(c->status));
    c->has_length = false;
    if (!interim)
        c->answered = ended ? H2_PART_DONE : H2_PART_BODY;
    return good;
}

bool h2_client_data(struct h2_client *c, struct strv data)
{
    char head[CHUNK_HEAD_MAX_BYTES];

    if (c->answered != H2_PART_BODY)
        return false;
    if (data.n == 0)
        return true;
    c->owed += data.n;
    if (!c->chunked)
        return put(&c->in, data);
    return put(&c->in, strv_make(head, http1_chunk_head(data.n, head))) && put(&c->in, data) &&
           put(&c->in, STRV("\r\n"));
}

bool h2_client_end(struct h2_client *c)
{
    if (c->answered == H2_PART_DONE)
        return true;
    if (c->answered == H2_PART_HEAD)
        return false;
    c->answered = H2_PART_DONE;
    return !c->chunked || put(&c->in, STRV("0\r\n\r\n"));
}
