/*
 * load - the load generator of the benchmarks: HTTP/1.1 over TLS, one thread, libevent.
 *
 *     load open        so many requests a second, whether or not answers come
 *     load closed      each connection asks again once it has its answer, as fast as they come;
 *                      says "ready" once all stand, and begins when its input ends
 *     load streams     so many event streams at once; each is followed by another
 *     load handshakes  connections that are opened and closed again
 *     load idle        so many connections that have had one answer and rest
 *
 * Open loop: request i is due at start + i / rate and its time is counted from there, so
 * that what a slow answer holds up is counted too (no coordinated omission).  The delay of
 * an event is counted from the time that the simulated provider wrote into it
 * (X-Sim-Stamp).  With --hold the load stays, having said "ready", until its input ends, so
 * that the memory of who serves it can be read.  Open and streams say "counting" when
 * figures begin to be taken: all connections stand, all streams run.  The last line is the
 * result, as JSON; times are microseconds.
 *
 * Does not verify certificates, and does not follow, retry or decode anything: what is no
 * 200 has failed.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>
#include <openssl/ssl.h>

#include "base/check.h"
#include "base/strv.h"
#include "base/xalloc.h"
#include "tests/bench/load_int.h"

enum {
    OPENING_MAX = 32,   /* connections being opened at the same time */
    RAMP_RATE = 400,    /* streams begun in a second: each costs two handshakes */
    FAILURES_MAX = 100, /* then it gives up */
    GRACE_SECONDS = 10, /* for answers that are due and late */
    EXIT_USAGE = 2,
};
#define SETTLE_NS (NS_PER_S / 20) /* from the last connection to the first request */

/* ---- figures ------------------------------------------------------------------------- */

static void print_result(struct load *l, int64_t from_ns)
{
    printf("{\"requests\": %" PRIu64 ", \"failed\": %" PRIu64 ", \"unfinished\": %" PRIu64
           ", \"resumed\": %" PRIu64 ", \"events\": %zu, \"us\": %" PRId64,
           l->finished, l->failed, l->options.mode == MODE_OPEN ? l->total - l->finished : 0,
           l->resumed, l->event.n, (now_ns() - from_ns) / 1000);
    samples_print("", &l->whole);
    samples_print("first_", &l->first);
    samples_print("event_", &l->event);
    if (l->options.mode == MODE_OPEN)
        samples_print_each(&l->whole);
    printf("}\n");
    fflush(stdout);
}

/* ---- connections ------------------------------------------------------------------------ */

static void stop(struct load *l)
{
    event_base_loopbreak(l->base);
}

void client_failed(struct client *c, const char *doing)
{
    struct load *l = c->load;
    if (l->failed++ == 0)
        fprintf(stderr, "load: %s failed: %.100s\n", doing,
                c->state == CLIENT_READ && c->reader.line[0] ? c->reader.line
                                                             : strerror(errno));
    for (struct client **at = &l->resting; *at != NULL; at = &(*at)->next_resting)
        if (*at == c) {
            *at = c->next_resting;
            break;
        }
    client_close(c);
    if (l->failed >= FAILURES_MAX)
        stop(l);
    else
        client_connect(c);
}

static void say_ready(struct load *l)
{
    if (!l->options.hold && l->options.mode != MODE_CLOSED)
        return;
    printf("ready\n");
    fflush(stdout);
}

static void client_send(struct client *c, int64_t due_ns)
{
    c->due_ns = due_ns;
    c->sent = 0;
    reader_start(&c->reader);
    c->state = CLIENT_SEND;
    c->load->started++;
    client_run(c);
}

/* From here on times are taken and events counted: all connections stand. */
static void say_counting(struct load *l)
{
    if (l->said_counting || now_ns() < l->count_ns)
        return;
    l->said_counting = true;
    if (l->options.hold || l->options.mode == MODE_HANDSHAKES || l->options.mode == MODE_CLOSED)
        return;
    printf("counting\n");
    fflush(stdout);
}

static int64_t due_of(const struct load *l, uint64_t i)
{
    return l->start_ns + (int64_t)(i * (uint64_t)NS_PER_S / l->options.rate);
}

/* Starts what is due and can be; the timer comes back for the next. */
static void start_due(struct load *l)
{
    int64_t now = now_ns();
    while (l->resting != NULL && l->started < l->total && due_of(l, l->started) <= now) {
        struct client *c = l->resting;
        l->resting = c->next_resting;
        client_send(c, due_of(l, l->started));
    }
}

/* MODE_CLOSED: whoever rests begins, and goes on by itself from then on. */
static void start_resting(struct load *l)
{
    int64_t now = now_ns();
    while (l->resting != NULL && l->start_ns <= now) {
        struct client *c = l->resting;
        l->resting = c->next_resting;
        client_send(c, now);
    }
}

static void arm_timer(struct load *l)
{
    int64_t now = now_ns();
    int64_t next = l->end_ns;
    if (l->options.mode == MODE_CLOSED && l->resting != NULL)
        next = l->start_ns;
    else if (l->resting != NULL && l->started < l->total)
        next = due_of(l, l->started);
    if (!l->said_counting && next > l->count_ns)
        next = l->count_ns;
    int64_t ns = next > now ? next - now : 0;
    struct timeval tv = {.tv_sec = (time_t)(ns / NS_PER_S),
                         .tv_usec = (suseconds_t)(ns % NS_PER_S / 1000)};
    event_add(l->timer, &tv);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct load *l = arg;
    (void)fd;
    (void)what;
    if (now_ns() >= l->end_ns && !l->options.hold) {
        stop(l);
        return;
    }
    say_counting(l);
    if (l->options.mode == MODE_CLOSED)
        start_resting(l);
    else
        start_due(l);
    arm_timer(l);
}

/* All connections stand: the clock starts. */
static void begin(struct load *l)
{
    int64_t length = (int64_t)l->options.seconds * NS_PER_S;
    l->start_ns = now_ns() + SETTLE_NS;
    if (l->options.mode == MODE_STREAMS) {
        l->options.rate = RAMP_RATE;
        l->total = l->options.n_clients;
        l->count_ns = INT64_MAX; /* see client_first_byte */
        l->end_ns = INT64_MAX;
    } else if (l->options.mode == MODE_CLOSED) {
        l->count_ns = l->start_ns;
        l->end_ns = l->start_ns + length;
    } else {
        l->total = l->options.rate * l->options.seconds;
        l->count_ns = l->start_ns - SETTLE_NS / 2;
        l->end_ns = l->start_ns + length + GRACE_SECONDS * NS_PER_S;
    }
    arm_timer(l);
}

/* MODE_CLOSED begins when it is told to, once who measures has taken down what it needs. */
static void await_input(struct load *l)
{
    if (event_add(l->input, NULL) != 0) {
        fputs("load: wants a pipe as its input\n", stderr);
        exit(EXIT_USAGE);
    }
    say_ready(l);
}

static void client_rests(struct client *c)
{
    struct load *l = c->load;
    c->state = CLIENT_REST;
    c->next_resting = l->resting;
    l->resting = c;
}

static void open_next(struct load *l)
{
    if (l->opened < l->options.n_clients)
        client_connect(&l->clients[l->opened++]);
}

/* The handshake is done. */
void client_opened(struct client *c)
{
    struct load *l = c->load;
    int64_t now = now_ns();
    switch (l->options.mode) {
    case MODE_HANDSHAKES:
        sample_add(&l->whole, now - c->due_ns);
        c->state = CLIENT_TICKET;
        break;
    case MODE_IDLE:
        client_send(c, now);
        break;
    case MODE_OPEN:
    case MODE_CLOSED:
    case MODE_STREAMS:
        client_rests(c);
        if (l->start_ns != 0) { /* in place of one that failed */
            arm_timer(l);
            break;
        }
        if (++l->ready == l->options.n_clients) {
            l->ready = 0;
            if (l->options.mode == MODE_CLOSED)
                await_input(l);
            else
                begin(l);
        }
        open_next(l);
        break;
    }
}

void client_first_byte(struct client *c)
{
    struct load *l = c->load;
    if (c->due_ns >= l->count_ns)
        sample_add(&l->first, now_ns() - c->due_ns);
    if (l->options.mode != MODE_STREAMS || l->ready == l->options.n_clients || ++l->ready < l->options.n_clients)
        return;
    /* All streams run, over upstream connections that stand: from here on it counts. */
    l->count_ns = now_ns();
    l->end_ns = l->count_ns + (int64_t)l->options.seconds * NS_PER_S;
    say_ready(l);
    say_counting(l);
    arm_timer(l);
}

static void on_stamp(int64_t stamp_ns, void *arg)
{
    struct load *l = arg;
    if (stamp_ns >= l->count_ns)
        sample_add(&l->event, now_ns() - stamp_ns);
}

/* An answer has been read whole. */
void client_answered(struct client *c)
{
    struct load *l = c->load;
    int64_t now = now_ns();
    l->finished++;
    switch (l->options.mode) {
    case MODE_OPEN:
        sample_add(&l->whole, now - c->due_ns);
        client_rests(c);
        if (l->finished == l->total)
            stop(l);
        start_due(l);
        arm_timer(l);
        break;
    case MODE_CLOSED:
        sample_add(&l->whole, now - c->due_ns);
        client_send(c, now); /* also when it is over: the timer stops all */
        break;
    case MODE_STREAMS:
        client_send(c, now);
        break;
    case MODE_IDLE:
        c->state = CLIENT_REST;
        if (++l->ready == l->options.n_clients)
            say_ready(l);
        open_next(l);
        break;
    case MODE_HANDSHAKES:
        break;
    }
}

/* The server has sent a ticket, so it has finished its side of the handshake. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct client *c = SSL_get_app_data(ssl);
    struct load *l = c->load;
    if (l->options.mode != MODE_HANDSHAKES || c->state != CLIENT_TICKET)
        return 0;
    l->finished++;
    l->resumed += SSL_session_reused(ssl) == 1;
    c->state = CLIENT_REST; /* closed, and opened again, once OpenSSL has returned */
    /* A copy: OpenSSL forbids the session of a connection that ends without goodbye. */
    if (l->options.resume && l->session == NULL)
        l->session = SSL_SESSION_dup(session);
    return 0;
}

static void on_input(evutil_socket_t fd, short what, void *arg)
{
    struct load *l = arg;
    char byte;
    (void)what;
    if (read(fd, &byte, 1) > 0)
        return;
    if (l->options.mode != MODE_CLOSED) {
        stop(l);
        return;
    }
    event_del(l->input);
    begin(l);
}

/* ---- the whole ---------------------------------------------------------------------- */

static void make_base(struct load *l)
{
    struct event_config *config = event_config_new();
    ASSERT(config != NULL && event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER) == 0);
    l->base = event_base_new_with_config(config);
    event_config_free(config);
    ASSERT(l->base != NULL);
    l->timer = event_new(l->base, -1, 0, on_timer, l);
    l->input = event_new(l->base, STDIN_FILENO, EV_READ | EV_PERSIST, on_input, l);
    ASSERT(l->timer != NULL && l->input != NULL);
    if (l->options.hold && event_add(l->input, NULL) != 0) {
        fputs("load: --hold wants a pipe as its input\n", stderr);
        exit(EXIT_USAGE);
    }
}

static void make_tls(struct load *l)
{
    l->tls = SSL_CTX_new(TLS_client_method());
    ASSERT(l->tls != NULL && SSL_CTX_set_min_proto_version(l->tls, TLS1_3_VERSION) == 1);
    SSL_CTX_set_mode(l->tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS);
    if (l->options.mode == MODE_CLOSED) /* as cheap as it can be: it is the proxy that is to be busy */
        load_tls_watch(l->tls);
    SSL_CTX_set_session_cache_mode(l->tls,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(l->tls, on_session);
}

int main(int argc, char **argv)
{
    static char host[] = "localhost";
    static struct load load = {.options = {.host = host, .path = "/"}};
    struct load *l = &load;
    struct rlimit files;
    if (!options_parse(&l->options, argc, argv)) {
        fputs("usage: load open|closed|streams|handshakes|idle --port N --connections N --path P\n"
              "            --body FILE [--header 'Name: value']... [--rate N] [--seconds N]\n"
              "            [--hold] [--resume]\n",
              stderr);
        return EXIT_USAGE;
    }
    signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    make_base(l);
    make_tls(l);
    l->clients = xcalloc(l->options.n_clients, sizeof(*l->clients));
    for (size_t i = 0; i < l->options.n_clients; i++)
        l->clients[i] = (struct client){
            .load = l, .reader = {.on_stamp = on_stamp, .arg = l}};
    int64_t from = now_ns();
    if (l->options.mode == MODE_HANDSHAKES) {
        l->end_ns = from + (int64_t)l->options.seconds * NS_PER_S;
        arm_timer(l);
    }
    for (size_t i = 0; i < OPENING_MAX; i++)
        open_next(l);
    event_base_dispatch(l->base);
    print_result(l, l->count_ns != 0 && l->count_ns < INT64_MAX ? l->count_ns : from);
    for (size_t i = 0; i < l->options.n_clients; i++)
        client_close(&l->clients[i]);
    SSL_SESSION_free(l->session);
    SSL_CTX_free(l->tls);
    event_free(l->timer);
    event_free(l->input);
    event_base_free(l->base);
    free(l->clients);
    free(l->whole.ns);
    free(l->first.ns);
    free(l->event.ns);
    options_free(&l->options);
    return l->failed >= FAILURES_MAX ? EXIT_FAILURE : EXIT_SUCCESS;
}
