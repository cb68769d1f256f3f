/*
 * books.h - what the provider billed, and the last requests that it saw.
 *
 * The provider's own count, taken from what it was asked and what it sent, is what the
 * gateway's ledger is held against.  Process-wide, behind one lock.
 */
#ifndef PROVIDER_BOOKS_H
#define PROVIDER_BOOKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/strv.h"
#include "tests/provider/request.h"

enum {
    BOOKS_BILLS_MAX = 1 << 20, /* kept one by one; older ones are in the totals only */
    BOOKS_MODELS_MAX = 256,
    BOOKS_ID_BYTES = 64,
    BOOKS_MODEL_BYTES = 96,
    BOOKS_KEPT_BODY_BYTES = 1 << 20, /* of a recorded request, and of what was sent back */
};

/* No bill: nothing was billed, or single bills are not kept. */
#define NO_BILL UINT64_C(0)

/* Tokens of one call. Input is all of it, cached included; output all, thoughts included. */
struct counts {
    uint64_t input;
    uint64_t cache_read;
    uint64_t cache_write_5m;
    uint64_t cache_write_1h;
    uint64_t output;
    uint64_t reasoning;
};

/* keep: how many requests are recorded (0: none, and no bill is kept singly either). */
void books_init(size_t keep);
void books_free(void);
void books_reset(void);

/* A number unique in this process, from 1. */
uint64_t books_next(void);

/*
 * Opens a bill.  request_id is the provider's header, response_id that of the body.
 * Returns its number for the calls below.
 */
uint64_t books_bill(struct strv request_id, struct strv response_id, struct strv endpoint,
                    struct strv model, bool stream, const struct counts *counts);
/* So much more output was sent to the client of this bill. */
void books_bill_output(uint64_t bill, uint64_t output);
/* Its reply has ended: all of it was handed to the network, or not. */
void books_bill_end(uint64_t bill, uint64_t bytes_sent, bool complete);

/* Records a request; returns its number, 0 where none are kept. */
uint64_t books_request(const struct request *r, uint64_t connection, uint64_t nth);
/* Bytes that were written in answer to it. */
void books_sent(uint64_t number, struct strv bytes);
/* A WebSocket's message of the client's: a line of that request's body. */
void books_received(uint64_t number, struct strv message);
/* The answer's end: "keep", "close", "cut", "reset", "stall", "client_gone". */
void books_request_end(uint64_t number, int status, const char *end);
/* A head could not be read. */
void books_bad_request(const char *problem);
void books_denied(void);

/* JSON documents of the control endpoints. */
void books_write_totals(struct buf *out);
void books_write_billed(struct buf *out);
/* The last so many requests, oldest first. */
void books_write_requests(struct buf *out, uint64_t last);

#endif
