/*
 * load_options.h - the command line of the load generator, and the request that it sends.
 */
#ifndef BENCH_LOAD_OPTIONS_H
#define BENCH_LOAD_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum mode { MODE_OPEN = 0, MODE_CLOSED, MODE_STREAMS, MODE_HANDSHAKES, MODE_IDLE };

struct options {
    enum mode mode;
    int port;
    char *host; /* for SNI and Host; it connects to 127.0.0.1 */
    const char *path;
    struct buf headers;  /* lines with CRLF */
    struct buf request;  /* head and body; empty for MODE_HANDSHAKES */
    size_t n_clients;    /* connections */
    uint64_t rate;       /* of MODE_OPEN, requests a second */
    uint64_t seconds;    /* as long as it measures; at most an hour */
    bool resume;         /* of MODE_HANDSHAKES */
    bool hold;           /* of MODE_IDLE and MODE_STREAMS */
};

/*
 * Reads them over what options holds already (host and path).  False where something is
 * missing or out of range, or the body's file cannot be read.
 */
bool options_parse(struct options *o, int argc, char **argv);

void options_free(struct options *o);

#endif
