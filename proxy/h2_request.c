/*
 * h2_request.c - a request's fields and data, written as HTTP/1.1 (RFC 9113 8.3.1).
 *
 * nghttp2 has checked that names and values hold nothing that could end a line, that the
 * pseudo fields are there once and first, and that the data is as long as Content-Length
 * says; the HTTP/1.1 reader behind this checks the text again, as it does anybody's.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "proxy/h2_int.h"

static enum rc put(struct buf *to, struct strv s)
{
    return buf_append_strv(to, s);
}

static enum rc put_field(struct buf *to, struct strv name, struct strv value)
{
    enum rc rc = buf_reserve(to, name.n + value.n + 4);

    if (rc == RC_OK)
        rc = put(to, name);
    if (rc == RC_OK)
        rc = put(to, STRV(": "));
    if (rc == RC_OK)
        rc = put(to, value);
    return rc == RC_OK ? put(to, STRV("\r\n")) : rc;
}

static void keep(char **at, struct strv value)
{
    free(*at);
    *at = xmemdupz(value.p, value.n);
}

enum rc h2_request_field(struct h2_stream *s, struct strv name, struct strv value)
{
    enum rc rc = RC_OK;

    /* Bounded as a whole: pseudo fields count like others. */
    if (s->too_large || buf_len(&s->fields) + buf_len(&s->cookies) + name.n + value.n >
                            h2_head_bytes_max(s)) {
        s->too_large = true;
        return RC_LIMIT;
    }
    if (strv_eq(name, STRV(":method"))) {
        keep(&s->method, value);
        s->is_head = strv_eq(value, STRV("HEAD"));
    } else if (strv_eq(name, STRV(":path"))) {
        keep(&s->path, value);
    } else if (strv_eq(name, STRV(":authority"))) {
        keep(&s->authority, value);
    } else if (strv_eq(name, STRV(":scheme"))) {
        return strv_eq_nocase(value, STRV("https")) || strv_eq_nocase(value, STRV("http")) ? RC_OK
                                                                                           : RC_BAD;
    } else if (name.n > 0 && name.p[0] == ':') {
        return RC_BAD;
    } else if (strv_eq(name, STRV("host"))) { /* RFC 9113 8.3.1: another one is an attack */
        if (s->authority)
            return strv_eq_nocase(value, strv_z(s->authority)) ? RC_OK : RC_BAD;
        keep(&s->authority, value);
    } else if (strv_eq(name, STRV("cookie"))) { /* RFC 9113 8.2.3: one field again */
        if (buf_len(&s->cookies) > 0)
            rc = put(&s->cookies, STRV("; "));
        if (rc == RC_OK)
            rc = put(&s->cookies, value);
    } else {
        s->has_length = s->has_length || strv_eq(name, STRV("content-length"));
        rc = put_field(&s->fields, name, value);
    }
    return rc;
}

/* What the HTTP/1.1 reader refuses with 431: a head that goes on beyond its bound. */
static enum rc put_too_large(struct h2_stream *s)
{
    static const char filler[] = "x-too-large: 0123456789abcdef0123456789abcdef\r\n";
    size_t most = h2_head_bytes_max(s);
    enum rc rc = put(&s->in, STRV("POST / HTTP/1.1\r\nHost: localhost\r\n"));

    while (rc == RC_OK && buf_len(&s->in) <= most)
        rc = buf_append(&s->in, filler, sizeof(filler) - 1);
    return rc;
}

static enum rc put_head(struct h2_stream *s, bool ended)
{
    const char *target = s->path ? s->path : s->authority; /* CONNECT: refused by the reader */
    enum rc rc = put(&s->in, strv_z(s->method));

    if (rc == RC_OK)
        rc = put(&s->in, STRV(" "));
    if (rc == RC_OK)
        rc = put(&s->in, strv_z(target));
    if (rc == RC_OK)
        rc = put(&s->in, STRV(" HTTP/1.1\r\n"));
    if (rc == RC_OK)
        rc = put_field(&s->in, STRV("Host"), strv_z(s->authority));
    if (rc == RC_OK)
        rc = put(&s->in, buf_view(&s->fields));
    if (rc == RC_OK && buf_len(&s->cookies) > 0)
        rc = put_field(&s->in, STRV("Cookie"), buf_view(&s->cookies));
    s->chunked = !ended && !s->has_length;
    if (rc == RC_OK && s->chunked)
        rc = put(&s->in, STRV("Transfer-Encoding: chunked\r\n"));
    return rc == RC_OK ? put(&s->in, STRV("\r\n")) : rc;
}

enum rc h2_request_head(struct h2_stream *s, bool ended)
{
    enum rc rc = s->too_large ? put_too_large(s) : put_head(s, ended);

    s->has_request = true;
    s->all_in = ended;
    h2_request_release(s);
    return rc;
}

enum rc h2_request_data(struct h2_stream *s, struct strv data)
{
    char head[CHUNK_HEAD_MAX_BYTES];
    enum rc rc = RC_OK;

    if (data.n == 0)
        return RC_OK;
    if (data.n + sizeof(head) > buf_room(&s->in) && worker_memory(s->worker) == MEMORY_FULL)
        return RC_LIMIT;
    if (s->chunked)
        rc = buf_append(&s->in, head, http1_chunk_head(data.n, head));
    if (rc == RC_OK)
        rc = put(&s->in, data);
    if (rc == RC_OK && s->chunked)
        rc = put(&s->in, STRV("\r\n"));
    if (rc == RC_OK)
        s->owed += data.n;
    h2_stream_tell(s);
    return rc;
}

enum rc h2_request_end(struct h2_stream *s)
{
    if (s->all_in)
        return RC_OK;
    s->all_in = true;
    h2_stream_tell(s);
    return s->chunked ? put(&s->in, STRV("0\r\n\r\n")) : RC_OK;
}

void h2_request_release(struct h2_stream *s)
{
    buf_release(&s->fields);
    buf_release(&s->cookies);
    free(s->method);
    free(s->path);
    free(s->authority);
    s->method = s->path = s->authority = NULL;
}
