/*
 * sse.h - frames a stream of server-sent events (WHATWG HTML, section 9.2.6).
 *
 * Push style, split anywhere; holds no bytes.  Line ends may be LF, CRLF or CR,
 * mixed.  It only frames: what stands in the data is the caller's.
 */
#ifndef METERING_USAGE_SSE_H
#define METERING_USAGE_SSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strv.h"

enum { SSE_NAME_MAX = 48 }; /* longer event names are cut */

enum sse_what {
    SSE_MORE = 0, /* all bytes are used up */
    SSE_FIELD,    /* the first line of an event begins here that is no comment */
    SSE_DATA,     /* a piece of the event's data; lines are joined by "\n" */
    SSE_EVENT,    /* the blank line that ends an event: see has_data, name */
    SSE_TAIL,     /* the LF of a CRLF whose CR was the end of the event before */
};

struct sse {
    bool has_data;  /* of the event so far, or just ended */
    bool has_field; /* a line that is no comment */
    char name[SSE_NAME_MAX];
    uint8_t name_n;
    /* private: */
    uint8_t state;
    uint8_t bom; /* bytes of a byte order mark seen at the very start */
    uint8_t field_n;
    bool ended; /* the next byte begins a new event */
    bool after_cr;
    bool cr_ended_event;
    bool join; /* a line end stands between this data line and the one before */
    char field[8];
};

void sse_init(struct sse *s);
/*
 * Reads on from the start of bytes up to the next thing to tell; *used is how many
 * bytes that took.  *data is set for SSE_DATA.  Call again with the rest, until SSE_MORE.
 */
enum sse_what sse_next(struct sse *s, struct strv bytes, size_t *used, struct strv *data);

/* An event has ended, and the next byte begins another. */
static inline bool sse_is_between(const struct sse *s)
{
    return s->ended && !s->after_cr;
}

static inline struct strv sse_name(const struct sse *s)
{
    return strv_make(s->name, s->name_n);
}

#endif
