/*
 * load_int.h - the load's connections; for load.c (what is asked when, and the figures) and load_io.c
 * (bytes in and out).
 */
#ifndef BENCH_LOAD_INT_H
#define BENCH_LOAD_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <event2/event.h>
#include <openssl/ssl.h>

#include "tests/bench/load_options.h"
#include "tests/bench/load_reader.h"
#include "tests/bench/load_samples.h"
#include "tests/bench/load_tls.h"

enum { READ_BYTES = 65536 };
#define NS_PER_S INT64_C(1000000000)

enum client_state {
    CLIENT_NONE = 0,
    CLIENT_CONNECT,
    CLIENT_HANDSHAKE,
    CLIENT_TICKET, /* the session's ticket shows that the server has finished too */
    CLIENT_REST,
    CLIENT_SEND,
    CLIENT_READ,
};

struct load;

struct client {
    struct load *load;
    enum client_state state;
    int fd;
    SSL *ssl;
    struct tls_stream *tls; /* NULL: ssl reads and writes */
    struct event *readable; /* armed as long as there is a connection */
    struct event *writable;
    size_t sent;
    int64_t due_ns; /* when what it does now was to begin */
    struct reader reader;
    struct client *next_resting;
};

struct load {
    struct options options;

    struct event_base *base;
    struct event *timer;
    struct event *input;
    SSL_CTX *tls;
    SSL_SESSION *session;
    struct client *clients;
    struct client *resting;
    size_t opened; /* clients that were begun */
    size_t ready;  /* clients that have got where --hold wants them */
    bool said_counting;
    int64_t start_ns; /* of the first request; 0: not yet */
    int64_t count_ns; /* from then on events are counted */
    int64_t end_ns;
    uint64_t total; /* requests to start; UINT64_MAX: until the end */
    uint64_t started;
    uint64_t finished;
    uint64_t failed;
    uint64_t resumed;
    struct samples whole; /* from due to the last byte, or to the end of the handshake */
    struct samples first; /* from due to the first byte of the body */
    struct samples event;
};

/* CLOCK_MONOTONIC. */
static inline int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

/* ---- load_io.c ---- */
/* Connects a client that is not connected, whose handshake follows. */
void client_connect(struct client *c);
/* Goes on with what the client is at until it has to wait. */
void client_run(struct client *c);
/* Closes it with a reset; nothing where it is not connected. */
void client_close(struct client *c);

/* ---- load.c: what comes of it ---- */
/* The handshake is done. */
void client_opened(struct client *c);
/* The first byte of an answer's body has come. */
void client_first_byte(struct client *c);
/* An answer has been read whole. */
void client_answered(struct client *c);
/* It went wrong: closed and connected anew; doing: what it was at. */
void client_failed(struct client *c, const char *doing);

#endif
