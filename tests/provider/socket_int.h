/*
 * socket_int.h - a WebSocket of the provider's; for socket.c (frames, the handshake) and speech.c
 * (what is said in them).
 */
#ifndef PROVIDER_SOCKET_INT_H
#define PROVIDER_SOCKET_INT_H

#include "tests/provider/call.h"
#include "tests/provider/socket.h"

enum { MESSAGE_MAX_BYTES = 64 << 20 };

enum speech { RESPONSES, REALTIME, GOOGLE, RECORDED };

/* One message that waits to be sent. */
struct waiting {
    char *text;
    size_t n;
    uint64_t bill, output; /* tokens billed once it is sent */
    bool ends_bill;
};

struct session {
    enum speech speech;
    const struct settings *settings;
    struct request *request;
    uint64_t number;
    struct buf message;
    struct waiting *queue;
    size_t n_queue, at_queue;
    size_t sent_events;
    const char *end;
    bool close_sent;
    uint64_t words;   /* said so far */
    uint64_t appends; /* of sound */
    char transcriber[CALL_MODEL_BYTES];
    char model[CALL_MODEL_BYTES];
    struct strv script; /* RECORDED: the lines still to come */
    struct reply recording;
};

/* ---- speech.c ---- */
/* The connection is open: what is said unasked. */
void speech_begin(struct session *s);
/* The message in s->message is whole. */
void speech_take(struct session *s);

#endif
