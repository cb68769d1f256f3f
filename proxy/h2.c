/*
 * h2.c - the connection: nghttp2's session over the socket.
 */
#include "proxy/h2.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/xalloc.h"
#include "proxy/h2_int.h"
#include "proxy/worker.h"

enum {
    READ_TURNS = 4,          /* reads in one turn; then others have theirs */
    OUT_BATCH_BYTES = 48 << 10, /* frames are collected for one write up to here */
    OUT_MAX_BYTES = 128 << 10,
    FIELD_BYTES = 32, /* that RFC 9113 6.5.2 counts beside a field's name and value */
};

static const struct bounds_config *bounds_of(const struct conn *c)
{
    return &c->worker->pools->generation->config->bounds;
}

size_t h2_head_bytes_max(const struct h2_stream *s)
{
    return s->worker->pools->generation->config->bounds.head_bytes;
}

void h2_is_dirty(struct h2 *h2)
{
    list_remove(&h2->dirty);
    list_push_back(&h2->conn->worker->h2_dirty, &h2->dirty);
}

/* ---- what nghttp2 tells ------------------------------------------------------------------- */

static struct h2_stream *stream_of(nghttp2_session *session, int32_t id)
{
    return id > 0 ? nghttp2_session_get_stream_user_data(session, id) : NULL;
}

static bool is_request(const nghttp2_frame *frame)
{
    return frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST;
}

/* A stream that cannot be served: its text did not fit, which the windows should prevent. */
static int refuse_stream(nghttp2_session *session, int32_t id)
{
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_INTERNAL_ERROR);
    return 0;
}

/* Once a connection, however many words of nghttp2 tell of it. */
static void blame(struct h2 *h2)
{
    if (!h2->blamed)
        stat_add(&h2->conn->worker->stats.abuse_frames, 1);
    h2->blamed = true;
}

/*
 * A stream that the client took back, or made us take back (RFC 9113 10.5): each costs us a request
 * and him a few bytes, and none counts among those that are open.  False: too many.
 */
static bool stream_is_lost(struct h2 *h2)
{
    int64_t now_us = clock_mono_us();
    int64_t back = (now_us - h2->lost_since_us) * H2_RESETS_A_SECOND / US_PER_SECOND;

    if (back > 0) {
        h2->lost -= h2->lost < back ? h2->lost : (unsigned)back;
        h2->lost_since_us = now_us;
    }
    return ++h2->lost <= H2_RESETS_BURST;
}

/* A client that reads an answer sends window updates, which the frames that we send pay for. */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *arg)
{
    struct h2 *h2 = arg;

    (void)session;
    if (hd->type == NGHTTP2_HEADERS || (hd->type == NGHTTP2_DATA && hd->length > 0))
        idle_frames_pay(&h2->idle);
    return 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct h2 *h2 = arg;

    h2->block_bytes = 0;
    if (!is_request(frame))
        return 0;
    stat_add(&h2->conn->worker->stats.http2_streams, 1);
    if (worker_memory(h2->conn->worker) == MEMORY_FULL) {
        stat_add(&h2->conn->worker->stats.abuse_memory, 1);
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                  NGHTTP2_REFUSED_STREAM);
        return 0; /* its fields and data find no stream */
    }
    h2->in_head = true;
    h2->head_since_us = clock_mono_us();
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id,
                                         h2_stream_new(h2, frame->hd.stream_id));
    return 0;
}

/* A few bytes may name a field of the table over and over (RFC 7541 7.3).  False: too much of it. */
static bool count_field(struct h2 *h2, size_t name_n, size_t value_n)
{
    h2->block_bytes += name_n + value_n + FIELD_BYTES;
    return h2->block_bytes <= H2_BLOCK_FACTOR * bounds_of(h2->conn)->head_bytes;
}

static int malformed(nghttp2_session *session, struct h2_stream *s)
{
    if (s->malformed)
        return 0;
    s->malformed = true;
    blame(s->h2);
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_PROTOCOL_ERROR);
    return stream_is_lost(s->h2) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags,
                     void *arg)
{
    struct h2_stream *s = stream_of(session, frame->hd.stream_id);

    (void)flags;
    if (!count_field(arg, name_n, value_n))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (!s || !is_request(frame)) /* trailers say nothing here */
        return 0;
    return h2_request_field(s, strv_make((const char *)name, name_n),
                            strv_make((const char *)value, value_n)) == RC_BAD
               ? malformed(session, s)
               : 0;
}

/* nghttp2 answers it as RFC 9113 says. */
static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error,
                            void *arg)
{
    struct h2 *h2 = arg;

    (void)session;
    (void)frame;
    (void)error;
    blame(h2);
    return stream_is_lost(h2) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* A field that nghttp2 would only leave out: to the provider it would be another request. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
                             const uint8_t *name, size_t name_n, const uint8_t *value,
                             size_t value_n, uint8_t flags, void *arg)
{
    struct h2_stream *s = stream_of(session, frame->hd.stream_id);

    (void)name;
    (void)value;
    (void)flags;
    if (!count_field(arg, name_n, value_n))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    return s ? malformed(session, s) : 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct h2_stream *s = stream_of(session, frame->hd.stream_id);
    bool ended = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    struct h2 *h2 = arg;
    enum rc rc = RC_OK;

    if (is_request(frame))
        h2->in_head = false;
    if (frame->hd.type == NGHTTP2_RST_STREAM && !stream_is_lost(h2))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (!s || s->malformed)
        return 0;
    if (is_request(frame)) {
        rc = h2_request_head(s, ended);
        if (rc == RC_OK)
            h2_stream_begin(s);
    } else if ((frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) && ended) {
        rc = h2_request_end(s);
    }
    return rc == RC_OK ? 0 : refuse_stream(session, frame->hd.stream_id);
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t n, void *arg)
{
    struct h2_stream *s = stream_of(session, id);

    (void)flags;
    (void)arg;
    if (s && s->conn && h2_request_data(s, strv_make((const char *)data, n)) == RC_OK)
        return 0;
    nghttp2_session_consume(session, id, n); /* nobody reads it */
    return s && s->conn ? refuse_stream(session, id) : 0;
}

/* An answer that ended before the request did: the rest need not come (RFC 9113 8.1). */
static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct h2_stream *s = stream_of(session, frame->hd.stream_id);
    struct h2 *h2 = arg;

    if (frame->hd.type == NGHTTP2_DATA)
        idle_frames_pay(&h2->idle);
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR)
        blame(h2);
    if (s && !s->all_in && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) &&
        (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS))
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
    struct h2_stream *s = stream_of(session, id);
    struct h2 *h2 = arg;

    (void)error;
    if (!s)
        return 0;
    nghttp2_session_set_stream_user_data(session, id, NULL);
    if (!s->has_request)
        h2->in_head = false;
    h2_stream_close(s);
    return 0;
}

/* ---- the session ----------------------------------------------------------------------------- */

static nghttp2_session *new_session(struct h2 *h2)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    nghttp2_session *session;

    ASSERT(nghttp2_session_callbacks_new(&callbacks) == 0);
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    ASSERT(nghttp2_option_new(&option) == 0);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_settings(option, H2_SETTINGS_MAX);
    nghttp2_option_set_max_outbound_ack(option, H2_ACKS_MAX);
    nghttp2_option_set_max_send_header_block_length(option, HEAD_BLOCK_MAX_BYTES); /* else 64 KiB */
    ASSERT(nghttp2_session_server_new2(&session, callbacks, h2, option) == 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return session;
}

static void set_deadline(struct h2 *h2)
{
    struct conn *c = h2->conn;
    const struct bounds_config *bounds = bounds_of(c);
    int64_t from_us = clock_mono_us();
    int64_t ms = 0;

    if (buf_len(&h2->out) > 0)
        ms = bounds->write_timeout_ms;
    else if (h2->in_head)
        from_us = h2->head_since_us, ms = bounds->head_timeout_ms;
    else if (list_is_empty(&h2->streams))
        ms = bounds->keepalive_timeout_ms;
    deadline_set(&c->deadline, from_us, ms);
}

/* Frames into out, up to a batch. False where the session is broken. */
static bool collect(struct h2 *h2)
{
    while (buf_len(&h2->out) < OUT_BATCH_BYTES) {
        const uint8_t *frames;
        ssize_t n = nghttp2_session_mem_send(h2->session, &frames);

        if (n < 0)
            return false;
        if (n == 0)
            return true;
        if (buf_append(&h2->out, (const char *)frames, (size_t)n) != RC_OK)
            return false;
    }
    return true;
}

/* False where the connection is over. */
static bool flush(struct h2 *h2)
{
    struct conn *c = h2->conn;

    for (;;) {
        size_t put = 0;
        enum rc rc;

        if (buf_len(&h2->out) == 0 && !collect(h2))
            return false;
        if (buf_len(&h2->out) == 0)
            break;
        rc = io_write(&c->io, buf_view(&h2->out).p, buf_len(&h2->out), &put);
        stat_add(&c->worker->stats.bytes_out_client, put);
        buf_consume(&h2->out, put);
        if (rc == RC_AGAIN)
            break;
        if (rc != RC_OK)
            return false;
    }
    /* A client that does not read is not read either: its frames would be answered. */
    io_want_read(&c->io, buf_len(&h2->out) == 0);
    if (buf_len(&h2->out) == 0)
        buf_release(&h2->out);
    set_deadline(h2);
    return buf_len(&h2->out) > 0 || nghttp2_session_want_read(h2->session) ||
           nghttp2_session_want_write(h2->session);
}

/* False where the connection cannot go on: too many frames, or no HTTP/2 at all. */
static bool feed(struct h2 *h2, const char *bytes, size_t n)
{
    ssize_t used;

    idle_frames_count(&h2->idle, h2_walk(&h2->walk, strv_make(bytes, n)));
    h2->reading = true;
    used = nghttp2_session_mem_recv(h2->session, (const uint8_t *)bytes, n);
    h2->reading = false;
    return used == (ssize_t)n && idle_frames_good(&h2->idle, clock_mono_us());
}

/* Says GOAWAY, as far as the socket takes it, and closes. */
static void end(struct conn *c, uint32_t why)
{
    nghttp2_session_terminate_session(c->h2->session, why);
    (void)flush(c->h2);
    conn_close(c);
}

void h2_open(struct conn *c, unsigned streams)
{
    struct h2 *h2 = xcalloc(1, sizeof(*h2));
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)bounds_of(c)->head_bytes},
    };
    struct strv first = buf_view(&c->in);
    bool good;

    held_add(sizeof(*h2) + MEMORY_H2_SESSION_BYTES);
    c->h2 = h2;
    h2->conn = c;
    h2->lost_since_us = clock_mono_us();
    h2->walk.skip = NGHTTP2_CLIENT_MAGIC_LEN;
    idle_frames_init(&h2->idle, h2->lost_since_us);
    list_init(&h2->streams);
    list_init(&h2->dirty);
    buf_init(&h2->out, OUT_MAX_BYTES);
    h2->session = new_session(h2);
    stat_add(&c->worker->stats.http2_connections, 1);
    good = nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings,
                                   sizeof(settings) / sizeof(settings[0])) == 0 &&
           nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0,
                                                 H2_CONNECTION_WINDOW_BYTES) == 0 &&
           feed(h2, first.p, first.n);
    buf_release(&c->in);
    h2_is_dirty(h2);
    if (!good) {
        blame(h2);
        end(c, NGHTTP2_PROTOCOL_ERROR);
    }
}

void h2_ready(struct conn *c, unsigned ready)
{
    struct h2 *h2 = c->h2;

    for (int turn = 0; (ready & IO_READABLE) && turn < READ_TURNS; turn++) {
        size_t got = 0;
        enum rc rc = io_read(&c->io, c->worker->scratch, SCRATCH_BYTES, &got);

        if (rc == RC_AGAIN)
            break;
        if (rc != RC_OK) {
            conn_close(c);
            return;
        }
        stat_add(&c->worker->stats.bytes_in_client, got);
        if (!feed(h2, c->worker->scratch, got)) {
            blame(h2);
            end(c, NGHTTP2_ENHANCE_YOUR_CALM);
            return;
        }
        if (got < SCRATCH_BYTES && !io_has_buffered(&c->io))
            break; /* once more just to see EAGAIN would be dear */
    }
    h2_is_dirty(h2);
}

void h2_deadline(struct conn *c)
{
    struct worker_stats *stats = &c->worker->stats;

    if (buf_len(&c->h2->out) > 0) {
        stat_add(&stats->abuse_slow_reader, 1);
        conn_close(c);
        return;
    }
    if (c->h2->in_head)
        stat_add(&stats->abuse_slow_head, 1);
    end(c, NGHTTP2_NO_ERROR);
}

void h2_tick(struct conn *c)
{
    int64_t before_us = clock_mono_us() - bounds_of(c)->write_timeout_ms * INT64_C(1000);

    LIST_FOREACH (at, &c->h2->streams) {
        struct h2_stream *s = LIST_OBJECT(at, struct h2_stream, node);

        if (s->conn || s->rest_us == 0 || s->rest_us > before_us)
            continue;
        s->rest_us = INT64_MAX; /* once */
        stat_add(&c->worker->stats.abuse_slow_reader, 1);
        nghttp2_submit_rst_stream(c->h2->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_CANCEL);
        h2_is_dirty(c->h2);
    }
}

void h2_drain(struct conn *c)
{
    c->h2->draining = true;
    h2_is_dirty(c->h2);
}

bool h2_is_idle(const struct conn *c)
{
    return list_is_empty(&c->h2->streams);
}

void h2_close(struct conn *c)
{
    struct h2 *h2 = c->h2;

    ASSERT(!h2->reading);
    c->h2 = NULL;
    list_remove(&h2->dirty);
    LIST_FOREACH_SAFE (at, &h2->streams)
        h2_stream_close(LIST_OBJECT(at, struct h2_stream, node));
    nghttp2_session_del(h2->session);
    buf_release(&h2->out);
    held_sub(sizeof(*h2) + MEMORY_H2_SESSION_BYTES);
    free(h2);
}

/* Nothing is left to be done; when the process ends, also not what a client does not take. */
static bool is_over(const struct h2 *h2)
{
    if (!h2->conn->worker->stopping)
        return list_is_empty(&h2->streams);
    LIST_FOREACH (at, &h2->streams) {
        if (LIST_OBJECT(at, struct h2_stream, node)->conn)
            return false;
    }
    return true;
}

void h2_flush(struct worker *w)
{
    struct list_node now;

    list_move(&w->h2_dirty, &now); /* what they cause is for the next round */
    while (!list_is_empty(&now)) {
        struct h2 *h2 = LIST_OBJECT(now.next, struct h2, dirty);
        struct conn *c = h2->conn;

        list_remove(&h2->dirty);
        if (!flush(h2))
            conn_close(c);
        else if (h2->draining && is_over(h2))
            end(c, NGHTTP2_NO_ERROR);
        else if (c->io.want_read && io_has_buffered(&c->io))
            h2_ready(c, IO_READABLE); /* no event will tell of these bytes */
    }
}
