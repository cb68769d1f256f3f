/*
 * batch_file.h - the requests of a batch, read while the file that holds them goes by.
 *
 * A file of a batch is a request a line (JSONL), uploaded in a form or by itself.  Lines that
 * are objects are read, all else (the form's heads) is passed over; what is no request to an
 * endpoint that is metered counts for nothing.  Holds at most one line, of
 * BATCH_LINE_MAX_BYTES; of a longer one only its length is known.  Hostile bytes are read
 * like any: the counts reserve, they charge nothing.
 */
#ifndef METERING_USAGE_BATCH_FILE_H
#define METERING_USAGE_BATCH_FILE_H

#include "base/buf.h"
#include "metering/usage/protocol.h"

enum { BATCH_LINE_MAX_BYTES = 1 << 20 };

/* One request: views live for the call. */
typedef void batch_line_fn(void *arg, const struct request_facts *facts);

struct batch_file {
    const struct protocol *protocol;
    batch_line_fn *fn;
    void *arg;
    struct buf line;     /* of which some has come */
    uint64_t line_bytes; /* all of it, also what was not kept */
    bool in_line;        /* it began with {, or may have begun in the part before */
    bool between;        /* the next byte begins a line */
    bool is_part, in_heads; /* a part of a file; of the form that it is in */
};

/*
 * Borrows protocol and arg.  is_part: the file goes on before or behind, so that its first and
 * last line may be cut: of such a piece its length is told, as of a line that is too long.
 */
void batch_file_start(struct batch_file *f, const struct protocol *protocol, bool is_part,
                      batch_line_fn *fn, void *arg);
/* The next bytes of the file, split anywhere. */
void batch_file_feed(struct batch_file *f, struct strv bytes);
/* The file has ended: a last line may have no end of its own. */
void batch_file_finish(struct batch_file *f);
/* Gives back what is held; legal after all else. */
void batch_file_release(struct batch_file *f);

#endif
