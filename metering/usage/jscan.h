/*
 * jscan.h - forward-only JSON scanner that reports the members it was asked for.
 *
 * Push style: bytes are fed as they come, split anywhere; state is this one struct,
 * whatever the size of the document.  What is wanted is drawn as a graph of nodes:
 * an object's member leads to another node, members nobody names are skipped at
 * memory speed.  Values are reported when complete, scalars with their text.
 *
 * It does not build a tree, does not decode strings (jscan_unescape does), does not
 * check UTF-8, and does not look for duplicates: a member that stands twice is
 * reported twice.
 */
#ifndef METERING_USAGE_JSCAN_H
#define METERING_USAGE_JSCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/strv.h"

enum {
    JSCAN_DEPTH_MAX = 512, /* objects and arrays inside each other */
    JSCAN_TEXT_MAX = 512,  /* bytes of a scalar's text that are reported; numbers: at all */
    JSCAN_KEY_MAX = 64,    /* longer member names match nothing */
    JSCAN_SKIP = 0,        /* node 0: not wanted */
};

/* A member name and where it leads. */
struct jscan_edge {
    const char *key;
    uint16_t look; /* JSCAN_LOOK of key: differs for most names that differ */
    uint8_t n;     /* length of key */
    uint8_t node;
};
#define JSCAN_LOOK(first, n) ((uint16_t)((unsigned)(unsigned char)(first) << 8 | (unsigned)(n)))
#define JSCAN_EDGE(literal, to)                                                                \
    {                                                                                          \
        "" literal, JSCAN_LOOK(("" literal)[0], sizeof(literal) - 1), sizeof(literal) - 1,     \
            (to)                                                                               \
    }

enum {
    JSCAN_WANT = 1,  /* report its scalars */
    JSCAN_ENTER = 2, /* report the begin and end of its objects and arrays */
    JSCAN_COUNT = 4, /* add the decoded bytes of its strings to counted_bytes */
    JSCAN_FOLD = 8,  /* a member equal to a wanted one but for case sets `folded` */
};

struct jscan_node {
    const struct jscan_edge *edges;
    uint8_t n_edges;
    uint8_t any;   /* node of members not named, else JSCAN_SKIP */
    uint8_t item;  /* node of an array's elements, else JSCAN_SKIP */
    uint8_t flags; /* JSCAN_WANT ... */
};
#define JSCAN_EDGES(array) (array), (uint8_t)(sizeof(array) / sizeof((array)[0]))

enum jscan_type {
    JSCAN_OBJECT = 0,
    JSCAN_ARRAY,
    JSCAN_STRING,
    JSCAN_NUMBER,
    JSCAN_TRUE,
    JSCAN_FALSE,
    JSCAN_NULL,
};

enum jscan_what {
    JSCAN_AT_VALUE = 0, /* a scalar, complete */
    JSCAN_AT_ENTER,     /* an object or array begins */
    JSCAN_AT_LEAVE,     /* and ends */
};

struct jscan_event {
    enum jscan_what what;
    enum jscan_type type;
    uint8_t node;
    /* Raw text: of a string what stands between the quotes; at most JSCAN_TEXT_MAX bytes.
     * Valid during the call. */
    struct strv text;
    bool escaped;        /* text holds backslashes */
    bool cut;            /* text is only the beginning */
    uint64_t begin, end; /* place in the document, quotes and brackets included; of ENTER: begin
                            alone */
    uint64_t text_bytes; /* of a string: length decoded to UTF-8 */
    bool has_count;      /* of a number: it is `count`, so that jscan_count need not be asked */
    uint64_t count;
};

/* Told of each wanted value, in order. */
typedef void jscan_fn(void *arg, const struct jscan_event *event);

/* Scalars that no event tells of, and of which nothing but their length matters. */
enum jscan_gap_kind {
    JSCAN_GAP_STRING = 0,
    JSCAN_GAP_COUNTED, /* a string of a JSCAN_COUNT node */
    JSCAN_GAP_NUMBER,
};

struct jscan_gap {
    uint64_t begin, end; /* place in the document, of a string without its quotes */
    uint64_t text_bytes; /* as in jscan_event */
    enum jscan_gap_kind kind;
};

/* Where they stand: the first `max` of a document outside what is skipped as a whole. */
struct jscan_gaps {
    unsigned n, max;
    struct jscan_gap *at; /* borrowed */
};

/*
 * Told of the raw text of strings of JSCAN_COUNT nodes, piece by piece as it is fed, escapes as
 * they stand and split anywhere; ends: the string is over.
 */
typedef void jscan_text_fn(void *arg, struct strv piece, bool ends);

struct jscan {
    const struct jscan_node *nodes;
    jscan_fn *fn;
    void *arg;
    bool loose;              /* skipped values: only strings and brackets are looked at */
    bool folded;             /* see JSCAN_FOLD */
    bool empty;              /* nothing but white space so far */
    uint64_t counted_bytes;  /* see JSCAN_COUNT */
    struct jscan_gaps *gaps; /* NULL, as after jscan_start: nobody wants to know */
    jscan_text_fn *text_fn;  /* likewise */
    void *text_arg;
    /* private: */
    enum rc rc;
    uint64_t at;    /* bytes of the document before the current feed */
    uint64_t begin; /* of the token being read */
    uint64_t saved; /* raw minus decoded bytes of the string being read */
    uint32_t unit;  /* \uXXXX being read */
    uint16_t depth;
    uint16_t skip_depth; /* loose: depth at which skipping ends */
    uint16_t text_n;
    uint8_t state;
    uint8_t literal; /* index of the literal being read */
    uint8_t literal_n;
    uint8_t target; /* node of the value that comes next */
    bool is_key;
    bool escaped;
    bool capture;
    bool cut;
    uint8_t node_at[JSCAN_DEPTH_MAX + 1];
    uint64_t arrays[JSCAN_DEPTH_MAX / 64 + 1];
    char text[JSCAN_TEXT_MAX];
};

/*
 * Starts a document whose top value is node `root`.  nodes is a table in which
 * entry 0 is unused.  strict (loose false): the whole of RFC 8259 is checked,
 * skipped parts included.
 */
void jscan_start(struct jscan *s, const struct jscan_node *nodes, uint8_t root, bool loose,
                 jscan_fn *fn, void *arg);
/* Same graph, next document. */
void jscan_again(struct jscan *s, uint8_t root);

/* RC_OK; RC_BAD where it is not JSON, RC_LIMIT where too deep. The first failure sticks. */
enum rc jscan_feed(struct jscan *s, struct strv bytes) RC_MUST;
/* The document ended: RC_OK where it was one complete value. */
enum rc jscan_finish(struct jscan *s) RC_MUST;
/* An object or array is open, and nothing was wrong so far. */
bool jscan_is_open(const struct jscan *s);
/* start, feed, finish over one buffer. */
enum rc jscan_whole(struct jscan *s, struct strv document) RC_MUST;

/* counted_bytes, and what has come of a string that is still open. */
uint64_t jscan_counted(const struct jscan *s);

/* How a number reads as a count. */
enum jscan_number {
    JSCAN_COUNT_OK = 0, /* whole, 0..2^53; also "12.0" and "1e3" */
    JSCAN_COUNT_NEGATIVE,
    JSCAN_COUNT_FRACTION, /* not whole */
    JSCAN_COUNT_HUGE,     /* over 2^53 */
};
/* text is a JSON number. *out is written on JSCAN_COUNT_OK only. */
enum jscan_number jscan_count(struct strv text, uint64_t *out);

/* A decimal number as it stands: mantissa x 10^scale. */
struct jscan_decimal {
    uint64_t mantissa;
    int64_t scale;
    bool negative;
    bool inexact; /* digits beyond the 19th, not all zero, were dropped */
};
/* text is a JSON number. */
struct jscan_decimal jscan_decimal(struct strv text);

/*
 * Decodes a string's raw text to out (size bytes, not terminated).  False where it
 * does not fit or holds a broken escape; lone surrogates become U+FFFD.
 */
bool jscan_unescape(struct strv text, char *out, size_t size, size_t *n);

#endif
