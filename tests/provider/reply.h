/*
 * reply.h - what the provider means to answer: status, headers, and the body in pieces.
 *
 * A piece is what is sent at once: one event of a stream, or a whole JSON document.
 * wire.h turns a reply into bytes and adds what a request asked to go wrong.
 */
#ifndef PROVIDER_REPLY_H
#define PROVIDER_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/jsonw.h"
#include "base/strv.h"
#include "tests/provider/books.h"

enum {
    REPLY_BODY_MAX_BYTES = 512 << 20,
    REPLY_HEAD_MAX_BYTES = 128 << 10,
};

struct piece {
    size_t end;      /* in the body; a piece starts where the last one ended */
    uint32_t output; /* tokens that are billed once it was sent */
    bool is_event;   /* counted by "after n events" */
};

struct reply {
    int status;
    bool stream;
    struct strv content_type;
    struct buf headers; /* whole lines, CRLF included */
    struct buf body;
    struct piece *pieces;
    size_t n_pieces;
    size_t cap_pieces;
    struct buf error_event; /* of the protocol, for an error inside a stream */
    struct strv newline;    /* of SSE lines */
    uint64_t bill;
};

void reply_init(struct reply *reply);
void reply_clear(struct reply *reply);
void reply_free(struct reply *reply);

/* Everything appended to the body since the last piece becomes one. */
void reply_piece(struct reply *reply, uint32_t output, bool is_event);
/* Adds a header line. */
void reply_header(struct reply *reply, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * One SSE event: "event: name" unless name is empty, "data: " json, an empty line, in
 * the reply's own line ends; appended to out.
 */
void reply_sse(struct reply *reply, struct buf *out, struct strv name, struct strv json);

#endif
