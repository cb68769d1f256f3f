/*
 * h2_client.c - the connection: nghttp2's session between a socket and an exchange's stream.
 */
#include "proxy/h2_client.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/xalloc.h"
#include "proxy/h2.h"
#include "proxy/h2_client_int.h"
#include "proxy/worker.h"

enum {
    READ_TURNS = 4, /* reads in one turn; then others have theirs */
    OUT_BATCH_BYTES = 48 << 10, /* frames are collected for one write up to here */
    OUT_MAX_BYTES = 128 << 10,
    /* What arrives at most before the exchange reads it: heads, and what the window allows in
     * chunks that may be as small as one byte. */
    IN_SLACK_BYTES = 256 << 10,
    CHUNK_OVERHEAD = 8,
};

void h2_client_soon(struct h2_client *c)
{
    list_remove(&c->soon);
    list_push_back(&c->worker->h2_clients, &c->soon);
}

/* ---- what nghttp2 tells --------------------------------------------------------------------- */

static int reset(struct h2_client *c, uint32_t why)
{
    nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, c->stream, why);
    c->malformed = true;
    return 0;
}

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *arg)
{
    struct h2_client *c = arg;

    (void)session;
    if (hd->type == NGHTTP2_HEADERS || (hd->type == NGHTTP2_DATA && hd->length > 0))
        idle_frames_pay(&c->idle);
    return 0;
}

/* An upstream that is sent a body sends window updates. */
static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct h2_client *c = arg;

    (void)session;
    if (frame->hd.type == NGHTTP2_DATA)
        idle_frames_pay(&c->idle);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags,
                     void *arg)
{
    struct h2_client *c = arg;

    (void)session;
    (void)flags;
    if (frame->hd.stream_id != c->stream || c->malformed || c->answered != H2_PART_HEAD)
        return 0; /* trailers say nothing here */
    if (!h2_client_field(c, strv_make((const char *)name, name_n),
                         strv_make((const char *)value, value_n)))
        return reset(c, NGHTTP2_PROTOCOL_ERROR);
    return 0;
}

static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
                             const uint8_t *name, size_t name_n, const uint8_t *value,
                             size_t value_n, uint8_t flags, void *arg)
{
    struct h2_client *c = arg;

    (void)session;
    (void)name;
    (void)name_n;
    (void)value;
    (void)value_n;
    (void)flags;
    if (frame->hd.stream_id == c->stream && !c->malformed)
        return reset(c, NGHTTP2_PROTOCOL_ERROR);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    bool ended = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    struct h2_client *c = arg;
    bool good = true;

    (void)session;
    if (frame->hd.stream_id != c->stream || c->stream == 0 || c->malformed)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && c->answered == H2_PART_HEAD)
        good = h2_client_head(c, ended);
    else if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) && ended)
        good = h2_client_end(c);
    return good ? 0 : reset(c, NGHTTP2_PROTOCOL_ERROR);
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t n, void *arg)
{
    struct h2_client *c = arg;

    (void)flags;
    if (!c->malformed && h2_client_data(c, strv_make((const char *)data, n)))
        return 0;
    nghttp2_session_consume(session, id, n); /* nobody reads it */
    return c->malformed ? 0 : reset(c, NGHTTP2_INTERNAL_ERROR);
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
    struct h2_client *c = arg;

    (void)session;
    (void)error;
    if (id == c->stream)
        c->closed = true;
    return 0;
}

static nghttp2_session *new_session(struct h2_client *c)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    nghttp2_session *session;

    ASSERT(nghttp2_session_callbacks_new(&callbacks) == 0);
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    ASSERT(nghttp2_option_new(&option) == 0);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_max_settings(option, H2_SETTINGS_MAX);
    nghttp2_option_set_max_outbound_ack(option, H2_ACKS_MAX);
    ASSERT(nghttp2_session_client_new2(&session, callbacks, c, option) == 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return session;
}

/* ---- the socket -------------------------------------------------------------------------- */

/* The stream can come to no good end any more. */
static bool is_over(const struct h2_client *c)
{
    return c->gone || c->closed || c->malformed;
}

/* False where the connection cannot go on: too many frames, or no HTTP/2 at all. */
static bool feed(struct h2_client *c, const char *bytes, size_t n)
{
    idle_frames_count(&c->idle, h2_walk(&c->walk, strv_make(bytes, n)));
    if (nghttp2_session_mem_recv(c->session, (const uint8_t *)bytes, n) == (ssize_t)n &&
        idle_frames_good(&c->idle, clock_mono_us()))
        return true;
    stat_add(&c->worker->stats.abuse_frames, 1);
    return false;
}

static void read_socket(struct h2_client *c)
{
    char *scratch = c->worker->scratch;

    for (int turn = 0; turn < READ_TURNS && !c->gone; turn++) {
        size_t got = 0;
        enum rc rc = io_read(&c->socket, scratch, SCRATCH_BYTES, &got);

        if (rc == RC_AGAIN)
            return;
        if (rc != RC_OK || !feed(c, scratch, got))
            c->gone = true;
    }
}

static void on_socket(void *arg, unsigned ready)
{
    struct h2_client *c = arg;

    if (ready & IO_READABLE)
        read_socket(c);
    h2_client_soon(c);
}

/* Frames into the buffer, up to a batch. False where the session is broken. */
static bool collect(struct h2_client *c)
{
    while (buf_len(&c->frames) < OUT_BATCH_BYTES) {
        const uint8_t *frames;
        ssize_t n = nghttp2_session_mem_send(c->session, &frames);

        if (n == 0)
            return true;
        if (n < 0 || buf_append(&c->frames, (const char *)frames, (size_t)n) != RC_OK)
            return false;
    }
    return true;
}

/* An upstream that reads nothing is read all the same: both sides may be waiting for that, and
 * the answers that its frames ask for are few (H2_ACKS_MAX). */
static void write_socket(struct h2_client *c)
{
    while (!c->gone) {
        size_t put = 0;
        enum rc rc;

        if (buf_len(&c->frames) == 0 && !collect(c)) {
            c->gone = true;
            return;
        }
        if (buf_len(&c->frames) == 0) {
            buf_release(&c->frames);
            break;
        }
        rc = io_write(&c->socket, buf_view(&c->frames).p, buf_len(&c->frames), &put);
        buf_consume(&c->frames, put);
        if (rc == RC_AGAIN)
            break;
        if (rc != RC_OK)
            c->gone = true;
    }
}

/* ---- towards the exchange ---------------------------------------------------------------- */

static bool is_readable(const struct h2_client *c)
{
    return buf_len(&c->in) > 0 || is_over(c);
}

static bool is_writable(const struct h2_client *c)
{
    return buf_len(&c->out) < H2_CLIENT_OUT_BYTES || is_over(c);
}

/* The upstream may send as much again as was read. */
static void pay(struct h2_client *c, size_t read)
{
    size_t n = buf_len(&c->in) == 0 || c->owed < read ? c->owed : read;

    c->owed -= n;
    if (n > 0 && !c->gone) {
        nghttp2_session_consume(c->session, c->stream, n);
        h2_client_soon(c);
    }
}

static enum rc inner_read(void *inner, char *to, size_t size, size_t *got)
{
    struct h2_client *c = inner;
    struct strv bytes = strv_head(buf_view(&c->in), size);

    if (bytes.n == 0) {
        if (!is_over(c))
            return RC_AGAIN;
        c->io->broken = true;
        c->io->fail = (struct fail){.rc = RC_IO, .doing = "read"};
        return RC_IO;
    }
    memcpy(to, bytes.p, bytes.n);
    buf_consume(&c->in, bytes.n);
    if (buf_len(&c->in) == 0)
        buf_release(&c->in);
    *got = bytes.n;
    pay(c, bytes.n);
    if (is_readable(c)) /* whoever has not read all is told again */
        h2_client_soon(c);
    return RC_OK;
}

static enum rc inner_write(void *inner, const char *from, size_t size, size_t *put)
{
    struct h2_client *c = inner;
    enum rc rc = h2_client_ask(c, from, size, put);

    if (rc != RC_OK && rc != RC_AGAIN) {
        c->io->fail = (struct fail){.rc = RC_IO, .doing = "write"};
        return RC_IO;
    }
    return rc;
}

static void inner_wants(void *inner)
{
    struct h2_client *c = inner;

    if ((c->io->want_read && is_readable(c)) || (c->io->want_write && is_writable(c)))
        h2_client_soon(c);
}

/* The exchange is over: the upstream is told, as far as the socket takes it. */
static void inner_close(void *inner)
{
    struct h2_client *c = inner;

    if (!c->gone) {
        if (c->stream > 0 && !c->closed)
            nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, c->stream, NGHTTP2_CANCEL);
        nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, NULL, 0);
        write_socket(c);
    }
    list_remove(&c->soon);
    io_close(&c->socket);
    nghttp2_session_del(c->session);
    buf_release(&c->frames);
    buf_release(&c->head);
    buf_release(&c->out);
    buf_release(&c->fields);
    buf_release(&c->in);
    held_sub(sizeof(*c) + MEMORY_H2_SESSION_BYTES + MEMORY_H2_STREAM_BYTES);
    free(c);
}

static const struct io_inner_ops INNER = {
    .read = inner_read, .write = inner_write, .wants = inner_wants, .close = inner_close};

void h2_client_open(struct worker *w, struct io *io)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_CLIENT_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_CLIENT_HEAD_MAX_BYTES},
    };
    struct h2_client *c = xcalloc(1, sizeof(*c));
    io_ready_fn *on_ready = io->on_ready;
    void *arg = io->arg;

    held_add(sizeof(*c) + MEMORY_H2_SESSION_BYTES + MEMORY_H2_STREAM_BYTES);
    c->worker = w;
    c->io = io;
    list_init(&c->soon);
    buf_init(&c->frames, OUT_MAX_BYTES);
    buf_init(&c->head, H2_CLIENT_REQUEST_HEAD_BYTES + SCRATCH_BYTES);
    buf_init(&c->out, 2 * (size_t)H2_CLIENT_OUT_BYTES);
    buf_init(&c->fields, H2_CLIENT_HEAD_MAX_BYTES);
    buf_init(&c->in, IN_SLACK_BYTES + (1 + CHUNK_OVERHEAD) * (size_t)H2_CLIENT_WINDOW_BYTES);
    io_move(&c->socket, io, on_socket, c);
    io_open_inner(io, &INNER, c, on_ready, arg);
    idle_frames_init(&c->idle, clock_mono_us());
    c->session = new_session(c);
    c->gone = nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings,
                                      sizeof(settings) / sizeof(settings[0])) != 0 ||
              nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0,
                                                    H2_CLIENT_WINDOW_BYTES) != 0;
    io_want_read(&c->socket, true);
    h2_client_soon(c);
}

void h2_client_flush(struct worker *w)
{
    struct list_node now;

    list_move(&w->h2_clients, &now); /* what they cause is for the next round */
    while (!list_is_empty(&now)) {
        struct h2_client *c = LIST_OBJECT(now.next, struct h2_client, soon);
        struct io *io = c->io;
        unsigned ready = 0;

        list_remove(&c->soon);
        write_socket(c);
        if (!c->gone && io_has_buffered(&c->socket)) {
            read_socket(c); /* no event will tell of these bytes */
            h2_client_soon(c);
        }
        if (io->want_read && is_readable(c))
            ready |= IO_READABLE;
        if (io->want_write && is_writable(c))
            ready |= IO_WRITABLE;
        if (ready)
            io->on_ready(io->arg, ready); /* which may close it */
    }
}
