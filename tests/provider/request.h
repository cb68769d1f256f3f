/*
 * request.h - one request as the simulated provider reads it.
 *
 * The reader is its own and shares nothing with the proxy's parser: a provider that
 * read messages with the same code would also share its mistakes, and could not tell
 * that the gateway and its upstream understood a message differently.
 *
 * A request header "X-Sim-<Name>" asks for misbehaviour; docs/testing.md lists them.
 */
#ifndef PROVIDER_REQUEST_H
#define PROVIDER_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "base/buf.h"
#include "base/strv.h"

enum {
    REQUEST_HEAD_MAX_BYTES = 256 << 10,
    REQUEST_HEADERS_MAX = 256,
    REQUEST_BODY_MAX_BYTES = 256 << 20,
};

enum request_status {
    REQUEST_MORE, /* more bytes are needed */
    REQUEST_DONE,
    REQUEST_BAD,
};

enum request_body { REQUEST_NO_BODY, REQUEST_LENGTH, REQUEST_CHUNKED };

struct request_header {
    struct strv name;
    struct strv value;
};

struct request {
    struct buf head; /* the head as sent; everything below views into it */
    struct strv method;
    struct strv target;
    struct strv path;
    struct strv query;
    int minor; /* HTTP/1.minor */
    struct request_header headers[REQUEST_HEADERS_MAX];
    size_t n_headers;
    bool has_sim; /* some header is an X-Sim-... */

    enum request_body framing;
    uint64_t left;       /* of the body, or of the current chunk */
    int chunk_state;     /* see request.c */
    struct buf line;     /* size or trailer line of a chunked body being read */
    struct buf body;     /* without its framing */
    const char *problem; /* with REQUEST_BAD: static text */

    cJSON *json; /* the body, once asked for by request_json */
};

void request_init(struct request *r);
/* Ready for the next request of the connection. */
void request_clear(struct request *r);
void request_free(struct request *r);

/*
 * Takes the head from in, which is consumed with REQUEST_DONE alone.  Bare LF, folded
 * lines, blanks before a colon, differing lengths, length beside chunked: REQUEST_BAD.
 */
enum request_status request_read_head(struct request *r, struct buf *in);
/* Takes what in has of the body and consumes it. */
enum request_status request_read_body(struct request *r, struct buf *in);

/* Value of the first header of that name, or the empty view. */
struct strv request_header(const struct request *r, struct strv name);
/* True where the head or target holds the text, any case. */
bool request_mentions(const struct request *r, struct strv text);
/* Value of a query parameter as sent; empty where there is none. */
struct strv request_parameter(const struct request *r, struct strv name);
/* The body as JSON, parsed once; NULL where it is not JSON. Owned by the request. */
const cJSON *request_json(struct request *r);

/* Value of X-Sim-<name>, or the empty view. */
struct strv sim_text(const struct request *r, const char *name);
bool sim_has(const struct request *r, const char *name);
/* The same as a number up to 2^40; what is absent or no number gives otherwise. */
uint64_t sim_number(const struct request *r, const char *name, uint64_t otherwise);

#endif
