/*
 * load_reader.h - where an answer ends, and the times that are written into its events.
 *
 * Reads the framing alone (Content-Length, chunked), of answers with status 200; nothing
 * of the body is kept.
 */
#ifndef BENCH_LOAD_READER_H
#define BENCH_LOAD_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { READER_LINE_BYTES = 16384 };

/* Where in an answer the next byte belongs. */
enum reader_state { READ_HEAD, READ_LENGTH, READ_SIZE, READ_CHUNK, READ_CHUNK_END, READ_TRAILER };

enum read_result { READ_MORE, READ_DONE, READ_BAD };

/* Called for each stamp ("@ns=" and 19 digits) in a body: nanoseconds of CLOCK_MONOTONIC. */
typedef void reader_stamp_fn(int64_t stamp_ns, void *arg);

struct reader {
    reader_stamp_fn *on_stamp; /* set by the owner, with arg, before the first answer */
    void *arg;
    enum reader_state state;
    bool in_body; /* a byte of the body has come */
    char line[READER_LINE_BYTES]; /* the head, then the lines between chunks */
    size_t n;                     /* of line */
    uint64_t left;                /* of the body, or of the chunk */
    size_t matched;               /* bytes of "@ns=" seen */
    size_t digits;                /* of the stamp */
    int64_t stamp_ns;             /* so far */
};

/* Ready for an answer's first byte. */
void reader_start(struct reader *r);

/* The next bytes; what follows the answer's end is dropped. */
enum read_result reader_feed(struct reader *r, const char *p, size_t n);

#endif
