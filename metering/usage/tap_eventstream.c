/*
 * tap_eventstream.c - the tap on an AWS event stream.  A message is read as it comes and
 * believed once its checksum fits; what a broken one said is forgotten, and nothing after it
 * is read.
 */
#include "metering/usage/tap_int.h"

#include <string.h>

#include "base/xalloc.h"
#include "metering/usage/eventstream.h"
#include "metering/usage/unwrap.h"

enum { PIECE_BYTES = 4 << 10 };

struct frames {
    struct eventstream stream;
    struct unwrap unwrap;
    bool wrapped;                /* the message's payload is an envelope: see unwrap.h */
    bool is_event;               /* neither an exception nor an error */
    uint64_t counted, documents; /* before the message, as is what follows */
    char before[READING_SAME_BYTES];
};

static struct frames *frames_of(struct tap *tap)
{
    if (tap->frames == NULL) {
        tap->frames = xcalloc(1, sizeof(*tap->frames));
        eventstream_init(&tap->frames->stream);
    }
    return tap->frames;
}

static void begin_message(struct tap *tap, struct frames *f)
{
    f->is_event = strv_eq(eventstream_type(&f->stream), STRV("event"));
    f->wrapped = strv_eq(eventstream_name(&f->stream), STRV("chunk"));
    f->counted = tap->reading.scan.counted_bytes;
    f->documents = tap->reading.documents;
    memcpy(f->before, &tap->reading, sizeof(f->before));
    unwrap_init(&f->unwrap);
}

static void read_payload(struct tap *tap, struct frames *f, struct strv data)
{
    char inner[PIECE_BYTES];

    if (!f->is_event)
        return; /* that it came says all */
    if (!f->wrapped) {
        tap_feed_json(tap, data);
        return;
    }
    while (data.n > 0) {
        struct strv piece = strv_head(data, sizeof(inner));
        size_t n = unwrap_feed(&f->unwrap, piece, inner);

        if (n > 0)
            tap_feed_json(tap, strv_make(inner, n));
        data = strv_skip(data, piece.n);
    }
}

static void end_message(struct tap *tap, struct frames *f)
{
    struct reading *r = &tap->reading;

    if (!f->is_event) {
        r->error = true;
        return;
    }
    if (!tap_end_json(tap) || (f->wrapped && f->unwrap.bad))
        r->result.undecodable = true;
}

/* As if the message had never begun. */
static void forget_message(struct tap *tap, struct frames *f, bool begun)
{
    struct reading *r = &tap->reading;

    if (begun) {
        memcpy(r, f->before, sizeof(f->before));
        r->scan.counted_bytes = f->counted;
        r->documents = f->documents;
    }
    tap->json_begun = false;
    r->result.undecodable = true;
}

void tap_read_eventstream(struct tap *tap, struct strv bytes)
{
    struct frames *f = frames_of(tap);
    enum eventstream_what what;
    struct strv data;
    size_t used;

    while (!tap->broken && bytes.n > 0) {
        what = eventstream_next(&f->stream, bytes, &used, &data);
        bytes = strv_skip(bytes, used);
        switch (what) {
        case EVENTSTREAM_MORE:
            return;
        case EVENTSTREAM_BEGIN:
            begin_message(tap, f);
            tap->in_message = true;
            break;
        case EVENTSTREAM_DATA:
            read_payload(tap, f, data);
            break;
        case EVENTSTREAM_END:
            end_message(tap, f);
            tap->in_message = false;
            break;
        case EVENTSTREAM_BAD:
            forget_message(tap, f, tap->in_message);
            tap->broken = true;
            return;
        }
    }
}

void tap_end_eventstream(struct tap *tap)
{
    struct frames *f = frames_of(tap);

    if (tap->broken || eventstream_is_between(&f->stream))
        return;
    forget_message(tap, f, tap->in_message);
}

bool tap_is_between_frames(const struct tap *tap)
{
    return tap->frames == NULL ||
           (!tap->broken && eventstream_is_between(&tap->frames->stream));
}
