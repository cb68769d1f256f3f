/*
 * The life of a connection, state by state; its bytes are conn_io.c's.
 */
#include "tests/provider/conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "tests/provider/books.h"
#include "tests/provider/conn_int.h"

enum {
    INPUT_MAX = 8 << 20, /* held unread: pipelined requests, or a body still arriving */
    WRITE_BYTES = 16384, /* of one TLS record */
    LINGER_MS = 1000,
    SLOW_TICK_MS = 10,
    INPUT_BATCH = 256 << 10,
};

static void conn_run(struct conn *c);

static void conn_free(struct conn *c)
{
    list_remove(&c->node);
    event_free(c->readable);
    event_free(c->writable);
    event_free(c->timer);
    SSL_free(c->ssl);
    if (c->fd >= 0)
        close(c->fd);
    buf_release(&c->in);
    request_free(&c->request);
    reply_free(&c->reply);
    wire_free(&c->wire);
    socket_free(c->session);
    buf_release(&c->out);
    free(c);
}

/* The answer has ended, one way or another: into the books with it. */
static void answer_ended(struct conn *c, const char *end)
{
    bool all = c->written == buf_len(&c->wire.bytes) && c->wire.whole;
    books_bill_end(c->reply.bill, c->written, all);
    books_request_end(c->number, c->reply.status, end);
    c->reply.bill = NO_BILL;
    c->number = 0;
}

static void reset_and_free(struct conn *c)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    conn_free(c);
}

/* ---- states: each returns true where the next one may run at once --------------------- */

static bool end_of_answer(struct conn *c)
{
    static const char *const names[] = {"keep", "close", "cut", "reset", "stall"};
    answer_ended(c, names[c->wire.end]);
    switch (c->wire.end) {
    case WIRE_KEEP:
        request_clear(&c->request);
        c->state = HEAD;
        c->slow = false;
        return true;
    case WIRE_CLOSE:
        if (c->ssl != NULL)
            (void)SSL_shutdown(c->ssl);
        shutdown(c->fd, SHUT_WR);
        c->state = LINGER;
        arm_timer(c, LINGER_MS);
        return true;
    case WIRE_CUT:
        shutdown(c->fd, SHUT_WR);
        c->state = LINGER;
        arm_timer(c, LINGER_MS);
        return true;
    case WIRE_RESET:
        reset_and_free(c);
        return false;
    case WIRE_STALL:
        c->state = STALLED;
        return false;
    }
    return false;
}

static void begin_write(struct conn *c)
{
    wire_stamp(&c->wire, c->written, c->wire.steps[c->step].end);
    c->state = WRITE;
}

/* Starts the next step, or ends the answer. */
static bool next_step(struct conn *c)
{
    if (c->step == c->wire.n_steps)
        return end_of_answer(c);
    const struct wire_step *step = &c->wire.steps[c->step];
    if (step->delay_ms > 0) {
        arm_timer(c, step->delay_ms);
        c->state = WAIT;
        return false;
    }
    begin_write(c);
    return true;
}

static bool run_write(struct conn *c)
{
    const struct wire_step *step = &c->wire.steps[c->step];
    size_t from = c->written;
    while (c->written < step->end) {
        size_t n = step->end - c->written;
        struct strv bytes = strv_make(buf_view(&c->wire.bytes).p + c->written,
                                      n < WRITE_BYTES ? n : WRITE_BYTES);
        enum io io = write_some(c, bytes, &n);
        if (io != IO_DONE) {
            books_sent(c->number,
                       strv_make(buf_view(&c->wire.bytes).p + from, c->written - from));
            if (io == IO_BLOCKED)
                return false;
            answer_ended(c, "client_gone");
            conn_free(c);
            return false;
        }
        c->written += n;
    }
    books_sent(c->number, strv_make(buf_view(&c->wire.bytes).p + from, c->written - from));
    books_bill_output(c->reply.bill, step->output);
    c->step++;
    return next_step(c);
}

static bool start_answer(struct conn *c, bool close)
{
    wire_make(&c->wire, &c->request, &c->reply, close);
    c->step = 0;
    c->written = 0;
    return next_step(c);
}

static bool wants_close(const struct request *r)
{
    struct strv value = request_header(r, STRV("connection"));
    if (r->minor == 0)
        return !strv_eq_nocase(value, STRV("keep-alive"));
    return strv_eq_nocase(value, STRV("close"));
}

static bool refuse_malformed(struct conn *c)
{
    books_bad_request(c->request.problem);
    reply_clear(&c->reply);
    c->reply.status = 400;
    c->reply.content_type = STRV("text/plain");
    ASSERT(buf_append_strv(&c->reply.body, strv_z(c->request.problem)) == RC_OK);
    reply_piece(&c->reply, 0, true);
    c->request.n_headers = 0;
    c->request.has_sim = false;
    c->request.minor = 1;
    c->request.method = STRV("GET");
    return start_answer(c, true);
}

/* early: before the body was read; the connection cannot be used again. */
static bool answer(struct conn *c, bool early)
{
    reply_clear(&c->reply);
    c->nth++;
    if (endpoint_is_control(&c->request)) {
        endpoint_control(&c->request, &c->reply);
    } else {
        c->number = books_request(&c->request, c->id, c->nth);
        endpoint_answer(c->worker->settings, c->worker->memo, &c->request, &c->reply);
    }
    return start_answer(c, early || wants_close(&c->request));
}

/* "Expect: 100-continue" is granted unless the request asks otherwise. */
static void grant_continue(struct conn *c)
{
    struct strv how = sim_text(&c->request, "Expect");
    struct strv line = STRV("HTTP/1.1 100 Continue\r\n\r\n");
    size_t n;
    if (!strv_eq_nocase(request_header(&c->request, STRV("expect")), STRV("100-continue")) ||
        strv_eq(how, STRV("ignore")) || buf_len(&c->in) > 0)
        return;
    (void)write_some(c, line, &n); /* a few bytes on an idle connection: they fit */
}

static bool run_head(struct conn *c)
{
    switch (request_read_head(&c->request, &c->in)) {
    case REQUEST_MORE:
        if (c->gone)
            conn_free(c);
        return false;
    case REQUEST_BAD:
        return refuse_malformed(c);
    case REQUEST_DONE:
        break;
    }
    if (sim_has(&c->request, "Early") || strv_eq(sim_text(&c->request, "Expect"), STRV("417")))
        return answer(c, true);
    if (socket_is_asked(c->worker->settings, &c->request)) {
        c->nth++;
        c->number = books_request(&c->request, c->id, c->nth);
        c->session = socket_open(c->worker->settings, &c->request, c->number, &c->out);
        c->state = SOCKET;
        return true;
    }
    uint64_t pause = sim_number(&c->request, "Read-Pause-Ms", 0);
    c->slow = sim_number(&c->request, "Read-Rate", 0) > 0;
    if (pause > 0) {
        c->paused = true;
        set_reading(c, false);
        arm_timer(c, pause);
    }
    grant_continue(c);
    c->state = BODY;
    return !c->paused;
}

static void end_socket(struct conn *c, const char *end)
{
    books_request_end(c->number, 101, end);
    if (c->ssl != NULL && strcmp(end, "close") == 0)
        (void)SSL_shutdown(c->ssl);
    conn_free(c);
}

/* Frames in, events out, each at its time. */
static bool run_socket(struct conn *c)
{
    uint64_t delay = 0;
    for (;;) {
        if (!c->waiting)
            (void)socket_take(c->session, &c->in, &c->out);
        while (buf_len(&c->out) > 0) {
            struct strv bytes = buf_view(&c->out);
            size_t n = bytes.n < WRITE_BYTES ? bytes.n : WRITE_BYTES;
            enum io io = write_some(c, strv_make(bytes.p, n), &n);
            if (io == IO_BLOCKED)
                return false;
            if (io == IO_END) {
                end_socket(c, "client_gone");
                return false;
            }
            books_sent(c->number, strv_make(bytes.p, n));
            buf_consume(&c->out, n);
        }
        if (socket_end(c->session) != NULL) {
            end_socket(c, socket_end(c->session));
            return false;
        }
        if (c->waiting || !socket_next(c->session, &c->out, &delay))
            break;
        if (delay > 0) {
            c->waiting = true; /* what stands in out goes when the timer says so */
            arm_timer(c, delay);
            break;
        }
    }
    if (c->gone && !c->waiting)
        end_socket(c, "client_gone");
    return false;
}

static bool run_body(struct conn *c)
{
    switch (request_read_body(&c->request, &c->in)) {
    case REQUEST_MORE:
        if (c->gone) {
            books_bad_request("body ended early");
            conn_free(c);
        }
        return false;
    case REQUEST_BAD:
        return refuse_malformed(c);
    case REQUEST_DONE:
        break;
    }
    return answer(c, false);
}

static bool run_handshake(struct conn *c)
{
    int rc = SSL_accept(c->ssl);
    if (rc == 1) {
        c->state = HEAD;
        if (SSL_has_pending(c->ssl)) /* read ahead, behind the handshake's last message */
            event_active(c->readable, EV_READ, 0);
        return false;
    }
    if (tls_result(c, rc) == IO_END)
        conn_free(c);
    return false;
}

/* Runs states until one has to wait. */
static void conn_run(struct conn *c)
{
    bool more = true;
    while (more) {
        switch (c->state) {
        case HANDSHAKE:
            more = run_handshake(c);
            break;
        case HEAD:
            more = run_head(c);
            break;
        case BODY:
            more = run_body(c);
            break;
        case WRITE:
            more = run_write(c);
            break;
        case LINGER:
            if (c->gone)
                conn_free(c);
            more = false;
            break;
        case SOCKET:
            more = run_socket(c);
            break;
        case WAIT:
        case STALLED:
            more = false;
            break;
        }
    }
}

/* The peer has ended: what is being answered has no reader. */
static void peer_gone(struct conn *c)
{
    set_reading(c, false);
    c->gone = true;
    switch (c->state) {
    case WAIT:
    case WRITE:
        answer_ended(c, "client_gone");
        conn_free(c);
        break;
    case SOCKET:
        end_socket(c, "client_gone");
        break;
    case HANDSHAKE:
    case STALLED:
        conn_free(c);
        break;
    case HEAD:
    case BODY:
    case LINGER:
        conn_run(c);
        break;
    }
}

/* How many bytes may be read now; paces the reading of a body where it was asked for. */
static size_t read_allowance(struct conn *c)
{
    if (c->state == BODY && c->slow) {
        uint64_t rate = sim_number(&c->request, "Read-Rate", 0);
        uint64_t tick = rate * SLOW_TICK_MS / 1000;
        c->paused = true;
        set_reading(c, false);
        arm_timer(c, SLOW_TICK_MS);
        return (size_t)(tick > 0 ? tick : 1);
    }
    return READ_BYTES;
}

/* Takes in what has arrived; false where the peer has ended. */
static bool read_all(struct conn *c)
{
    for (;;) {
        size_t n = 0;
        size_t most = read_allowance(c);
        enum io io = read_some(c, most, &n);
        if (io == IO_END)
            return false;
        if (buf_len(&c->in) > INPUT_MAX - READ_BYTES)
            set_reading(c, false); /* more than anybody pipelines: no longer listened to */
        if (io == IO_BLOCKED || c->paused || c->ssl == NULL || !SSL_has_pending(c->ssl))
            return true;
        if (c->state == HEAD || (c->state == BODY && buf_len(&c->in) >= INPUT_BATCH))
            return true; /* the head may ask for slow reading of what follows */
    }
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    (void)fd;
    (void)what;
    if (c->state == HANDSHAKE) {
        conn_run(c);
        return;
    }
    bool open = read_all(c);
    if (c->state == LINGER)
        buf_clear(&c->in);
    if (!open) {
        peer_gone(c);
        return;
    }
    if (c->state == SOCKET) {
        if (c->ssl != NULL && SSL_has_pending(c->ssl))
            event_active(c->readable, EV_READ, 0);
        if (!c->waiting)
            conn_run(c);
        return;
    }
    if (c->state == HEAD || c->state == BODY) {
        if (c->ssl != NULL && !c->paused && SSL_has_pending(c->ssl))
            event_active(c->readable, EV_READ, 0);
        conn_run(c);
    }
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    conn_run(arg);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    (void)fd;
    (void)what;
    if (c->state == LINGER) {
        conn_free(c);
        return;
    }
    if (c->state == SOCKET) {
        c->waiting = false;
        conn_run(c);
        return;
    }
    if (c->state == WAIT) {
        begin_write(c);
        conn_run(c);
        return;
    }
    if (c->paused) {
        c->paused = false;
        set_reading(c, true);
        if (c->ssl != NULL && SSL_has_pending(c->ssl))
            event_active(c->readable, EV_READ, 0);
        if (buf_len(&c->in) > 0 || c->request.framing == REQUEST_NO_BODY)
            conn_run(c);
    }
}

void conn_open(struct worker *worker, int fd)
{
    struct conn *c = xcalloc(1, sizeof(*c));
    c->worker = worker;
    c->fd = fd;
    c->id = books_next();
    c->state = worker->tls ? HANDSHAKE : HEAD;
    if (worker->tls != NULL) {
        c->ssl = SSL_new(worker->tls);
        ASSERT(c->ssl != NULL && SSL_set_fd(c->ssl, fd) == 1);
    }
    buf_init(&c->in, INPUT_MAX);
    request_init(&c->request);
    reply_init(&c->reply);
    wire_init(&c->wire);
    buf_init(&c->out, SOCKET_OUT_MAX_BYTES);
    c->readable = event_new(worker->base, fd, EV_READ | EV_PERSIST, on_readable, c);
    c->writable = event_new(worker->base, fd, EV_WRITE, on_writable, c);
    c->timer = event_new(worker->base, -1, 0, on_timer, c);
    ASSERT(c->readable != NULL && c->writable != NULL && c->timer != NULL);
    list_push_back(&worker->conns, &c->node);
    set_reading(c, true);
}

void conn_close_all(struct worker *worker)
{
    LIST_FOREACH_SAFE (node, &worker->conns)
        conn_free(LIST_OBJECT(node, struct conn, node));
}
