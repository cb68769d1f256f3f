/*
 * conn_int.h - a connection of the provider's; for conn.c and conn_io.c.
 */
#ifndef PROVIDER_CONN_INT_H
#define PROVIDER_CONN_INT_H

#include "base/buf.h"
#include "tests/provider/conn.h"
#include "tests/provider/socket.h"
#include "tests/provider/wire.h"

enum { READ_BYTES = 32768 };

enum state {
    HANDSHAKE,
    HEAD,
    BODY,
    WAIT,  /* for the delay of the next step */
    WRITE, /* a step is going out */
    STALLED,
    SOCKET, /* frames both ways */
    LINGER, /* all said; waiting for the peer's end */
};

struct conn {
    struct list_node node;
    struct worker *worker;
    int fd;
    SSL *ssl; /* NULL: clear text */
    struct event *readable;
    struct event *writable;
    struct event *timer;
    enum state state;
    bool reading; /* the read event is armed */
    bool slow;    /* reads are paced, see "Read-Rate" */
    bool paused;  /* no reading until the timer */
    bool close_after;
    bool gone; /* the peer has ended */
    uint64_t id;
    uint64_t nth;    /* request of this connection */
    uint64_t number; /* in the books */
    struct buf in;
    struct request request;
    struct reply reply;
    struct wire wire;
    struct session *session; /* SOCKET */
    struct buf out;          /* likewise: to be written */
    bool waiting;            /* likewise: for the next event's time */
    size_t step;
    size_t written; /* of wire.bytes */
};

/* ---- conn_io.c ---- */
enum io { IO_DONE, IO_BLOCKED, IO_END };

/* The timer's event comes after so long. */
void arm_timer(struct conn *c, uint64_t ms);
/* Whether what arrives is read. */
void set_reading(struct conn *c, bool on);
/* What a call of OpenSSL that gave rc comes to. */
enum io tls_result(struct conn *c, int rc);
/* At most so many bytes into c->in, or out of bytes; *n: how many. IO_BLOCKED: none now. */
enum io read_some(struct conn *c, size_t most, size_t *n);
enum io write_some(struct conn *c, struct strv bytes, size_t *n);

#endif
