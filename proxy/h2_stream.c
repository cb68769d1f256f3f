/*
 * h2_stream.c - one stream, as the connection that an exchange believes it has.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/xalloc.h"
#include "proxy/h2_int.h"

/* What arrives at most before the exchange reads it: a head, and what the window allows in
 * chunks that may be as small as one byte. */
enum { IN_SLACK_BYTES = 64 << 10, CHUNK_OVERHEAD = 8 };

struct h2_stream *h2_stream_new(struct h2 *h2, int32_t id)
{
    struct h2_stream *s = xcalloc(1, sizeof(*s));

    held_add(sizeof(*s) + MEMORY_H2_STREAM_BYTES);
    s->h2 = h2;
    s->worker = h2->conn->worker;
    s->id = id;
    list_init(&s->told);
    list_init(&s->node);
    list_push_back(&h2->streams, &s->node);
    buf_init(&s->fields, 2 * h2_head_bytes_max(s) + IN_SLACK_BYTES);
    buf_init(&s->cookies, 2 * h2_head_bytes_max(s));
    buf_init(&s->in, 2 * h2_head_bytes_max(s) + IN_SLACK_BYTES +
                         CHUNK_OVERHEAD * (size_t)H2_STREAM_WINDOW_BYTES);
    buf_init(&s->head, HEAD_MAX_BYTES + 1);
    buf_init(&s->out, 2 * (size_t)H2_STREAM_OUT_BYTES);
    return s;
}

static void free_when_over(struct h2_stream *s)
{
    if (s->conn || !s->closed)
        return;
    list_remove(&s->node);
    list_remove(&s->told);
    h2_request_release(s);
    buf_release(&s->in);
    buf_release(&s->head);
    buf_release(&s->out);
    held_sub(sizeof(*s) + MEMORY_H2_STREAM_BYTES);
    free(s);
}

void h2_stream_tell(struct h2_stream *s)
{
    if (!s->conn)
        return;
    list_remove(&s->told);
    list_push_back(&s->worker->h2_told, &s->told);
}

void h2_stream_close(struct h2_stream *s)
{
    /* The connection's window is all streams' own: what this one leaves unread would be lost to the others. */
    nghttp2_session_consume_connection(s->h2->session, s->owed);
    s->owed = 0;
    s->closed = true;
    s->h2 = NULL;
    list_remove(&s->node);
    if (s->conn)
        s->conn->io.broken = true; /* for the exchange the client is gone */
    h2_stream_tell(s);
    free_when_over(s);
}

/* ---- towards the exchange --------------------------------------------------------------- */

/* The client may send as much again as was read. */
static void pay(struct h2_stream *s, size_t read)
{
    size_t n = buf_len(&s->in) == 0 || s->owed < read ? s->owed : read;

    s->owed -= n;
    if (n > 0 && s->h2) {
        nghttp2_session_consume(s->h2->session, s->id, n);
        h2_is_dirty(s->h2);
    }
}

static enum rc inner_read(void *inner, char *to, size_t size, size_t *got)
{
    struct h2_stream *s = inner;
    struct strv bytes = strv_head(buf_view(&s->in), size);

    if (bytes.n == 0)
        return s->closed ? RC_EOF : RC_AGAIN;
    memcpy(to, bytes.p, bytes.n);
    buf_consume(&s->in, bytes.n);
    if (buf_len(&s->in) == 0)
        buf_release(&s->in);
    *got = bytes.n;
    pay(s, bytes.n);
    return RC_OK;
}

static enum rc inner_write(void *inner, const char *from, size_t size, size_t *put)
{
    struct h2_stream *s = inner;
    enum rc rc = h2_response_write(s, from, size, put);

    if (rc == RC_IO || rc == RC_BAD) {
        s->conn->io.broken = true;
        s->conn->io.fail = (struct fail){.rc = RC_IO, .doing = "write"};
        return RC_IO;
    }
    return rc;
}

static void inner_wants(void *inner)
{
    struct h2_stream *s = inner;

    if (!s->conn)
        return;
    if ((s->conn->io.want_read && (buf_len(&s->in) > 0 || s->closed)) ||
        (s->conn->io.want_write && buf_len(&s->out) < H2_STREAM_OUT_BYTES))
        h2_stream_tell(s);
}

/* The exchange is over: with its answer whole, or not. */
static void inner_close(void *inner)
{
    struct h2_stream *s = inner;

    s->conn = NULL;
    s->rest_us = clock_mono_us();
    list_remove(&s->told);
    if (s->h2 && s->answer != H2_ANSWER_DONE) {
        nghttp2_submit_rst_stream(s->h2->session, NGHTTP2_FLAG_NONE, s->id,
                                  NGHTTP2_INTERNAL_ERROR);
        h2_is_dirty(s->h2);
    } else if (s->h2) {
        size_t owed = s->owed; /* what nobody will read any more */

        s->owed = 0;
        nghttp2_session_consume(s->h2->session, s->id, owed);
        h2_is_dirty(s->h2);
    }
    free_when_over(s);
}

static const struct io_inner_ops inner_ops = {
    .read = inner_read, .write = inner_write, .wants = inner_wants, .close = inner_close};

void h2_stream_begin(struct h2_stream *s)
{
    s->conn = conn_open_inner(s->h2->conn, &inner_ops, s);
    h2_stream_tell(s);
}

void h2_tell(struct worker *w)
{
    struct list_node now;

    list_move(&w->h2_told, &now); /* what they cause is for the next round */
    while (!list_is_empty(&now)) {
        struct h2_stream *s = LIST_OBJECT(now.next, struct h2_stream, told);
        struct io *io = &s->conn->io;
        unsigned ready = 0;

        list_remove(&s->told);
        if (io->want_read && (buf_len(&s->in) > 0 || s->closed))
            ready |= IO_READABLE;
        if (io->want_write && (buf_len(&s->out) < H2_STREAM_OUT_BYTES || s->closed))
            ready |= IO_WRITABLE;
        if (s->closed)
            ready |= IO_READABLE | IO_WRITABLE; /* gone: whatever it waits for */
        if (ready)
            io->on_ready(io->arg, ready);
    }
}
