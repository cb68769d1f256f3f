/*
 * tap_int.h - the inside of the tap, for the files named tap*.c alone: what has been read
 * of one response, and the framings' share in it.
 */
#ifndef METERING_USAGE_TAP_INT_H
#define METERING_USAGE_TAP_INT_H

#include <stddef.h>

#include "metering/usage/inflate.h"
#include "metering/usage/protocol_int.h"
#include "metering/usage/reader.h"
#include "metering/usage/repeat.h"
#include "metering/usage/shape.h"
#include "metering/usage/sse.h"
#include "metering/usage/tap.h"
#include "metering/usage/token_json.h"

/* What the body is taken for. */
enum mode {
    MODE_IGNORE = 0, /* nothing here is read */
    MODE_SNIFF,      /* the first byte that is no white space, nor a mark, tells */
    MODE_SNIFF_SSE,  /* labelled as events: only a bare JSON document would change that */
    MODE_JSON,       /* one document, or an array of them */
    MODE_SSE,
    MODE_LINES, /* a document a line */
    MODE_EVENTSTREAM,
    MODE_TEXT,  /* generated text itself */
};

enum { TAP_WAITING_BYTES = 2048 }; /* of generated text that is not looked at yet */
enum { SENTINEL_MAX = 8, READING_SAME_BYTES = offsetof(struct reading, documents) };

/* An event that is being read as a whole, so that others like it need not be. */
struct watch {
    struct repeat known;
    struct jscan_gaps gaps;
    struct jscan_gap gap[REPEAT_GAPS_MAX]; /* of gaps */
    bool open;          /* the event has begun and not ended */
    const char *from;   /* where it begins in this feed, NULL: earlier, or nothing is watched */
    const char *data;   /* its first piece of data */
    unsigned pieces;    /* of data */
    uint64_t counted;   /* by the scanner before it */
    uint64_t documents; /* likewise */
    uint64_t known_documents;        /* in an event that is known */
    char before[READING_SAME_BYTES]; /* the reading before it */
};

/* Generated text that is counted (tap_text.c); in raw bytes of JSON. */
struct tap_text {
    bool wanted;
    uint64_t seen, fed; /* fed: to the counter, at most TAP_TEXT_MAX_BYTES */
    struct token_json raw;
    struct token_counter counter;
    size_t n_waiting; /* of tap->waiting: comes after what raw holds */
};

struct frames; /* of an AWS event stream: tap_eventstream.c */

struct tap {
    const struct protocol *protocol;
    const struct entry *entry;
    bool path_stream;
    bool asked_usage;
    bool finished;
    bool whole; /* the JSON document came to its end */
    bool rewrites;
    uint8_t bom; /* bytes of a byte order mark before the body's first */
    int status;
    enum mode mode;
    struct inflater *inflater; /* NULL: identity, or given up */
    struct watch *watch;       /* NULL until a stream's first event ended */
    struct shapes *known;      /* NULL: every answer is scanned */
    bool json_begun;           /* bytes of the current document were read */

    struct sse sse;
    bool data_begun;             /* the current event has data */
    char sentinel[SENTINEL_MAX]; /* its first bytes: "[DONE]" is no JSON */
    size_t sentinel_n;

    struct frames *frames; /* NULL where there are none */
    bool in_message;       /* the headers of a frame were read, and not its end */
    bool broken;           /* what follows cannot be read */

    /* While rewriting: bytes of an event whose end has not come, from its first field on. */
    struct buf hold;
    bool holding;   /* the event's first field was in an earlier feed */
    bool committed; /* it grew too large to hold: the client has its beginning */
    bool drop_tail; /* the LF that belongs to the event just dropped */

    /* Of a batch. */
    tap_answer_fn *answer_fn;
    void *answer_arg;
    uint64_t answers;   /* read so far */
    struct usage total; /* of those that were not counted before */
    bool has_cost;      /* the provider states some of their costs */
    struct money cost;
    char region[sizeof(((struct tap_result *)0)->region)]; /* of the last that said where it was */

    struct tap_text text;

    struct reading reading; /* from the scanner's memory at its end on nothing is cleared */
    char waiting[TAP_WAITING_BYTES];
};

/* ---- documents (tap.c) ---- */
/* Bytes of the document; a broken one is told by its end. */
void tap_feed_json(struct tap *tap, struct strv bytes);
/* False where what was fed is no document. */
bool tap_end_json(struct tap *tap);

/* ---- lines (tap_lines.c) ---- */
void tap_read_lines(struct tap *tap, struct strv bytes);
/* The last line may lack its end. */
void tap_end_lines(struct tap *tap);

/* ---- server-sent events (tap_sse.c) ---- */
/* Bytes of the stream, for reading alone. */
void tap_read_sse(struct tap *tap, struct strv bytes);
/* The same bytes, less the event to drop, appended to pass. */
enum rc tap_rewrite_sse(struct tap *tap, struct strv bytes, struct buf *pass) RC_MUST;
/* The stream ended without the blank line of its last event. True where that is to be dropped.
 */
bool tap_end_sse(struct tap *tap);
/* What is held goes to the client after all. */
enum rc tap_release_hold(struct tap *tap, struct buf *pass) RC_MUST;

/* ---- generated text (tap_text.c) ---- */
/* An event was known again, with this in place of each gap. */
void tap_take_text(struct tap *tap, const struct strv *found, const struct repeat *event);
/* The answer ended: counts where the provider did not, and forgets the text. */
void tap_end_text(struct tap *tap);
void tap_drop_text(struct tap *tap);

/* ---- AWS event streams (tap_eventstream.c) ---- */
void tap_read_eventstream(struct tap *tap, struct strv bytes);
/* The body ended: what is left of a message is forgotten. */
void tap_end_eventstream(struct tap *tap);
/* No message is under way. */
bool tap_is_between_frames(const struct tap *tap);

#endif
