#include "metering/usage/tap.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "base/xalloc.h"
#include "metering/usage/inflate.h"
#include "metering/usage/protocol_int.h"
#include "metering/usage/reader.h"
#include "metering/usage/repeat.h"
#include "metering/usage/sse.h"

/* What the body is taken for. */
enum mode {
    MODE_IGNORE = 0, /* nothing here is read */
    MODE_SNIFF,      /* the first byte that is no white space tells */
    MODE_SNIFF_SSE,  /* labelled as events: only a bare JSON document would change that */
    MODE_JSON,       /* one document, or an array of them */
    MODE_SSE,
    MODE_LINES, /* a document a line */
};

enum { SENTINEL_MAX = 8, READING_SAME_BYTES = offsetof(struct reading, documents) };

/* An event that is being read as a whole, so that others like it need not be. */
struct watch {
    struct repeat known;
    struct jscan_gaps gaps;
    bool open;          /* the event has begun and not ended */
    const char *from;   /* where it begins in this feed, NULL: earlier, or nothing is watched */
    const char *data;   /* its first piece of data */
    unsigned pieces;    /* of data */
    uint64_t counted;   /* by the scanner before it */
    uint64_t documents; /* likewise */
    uint64_t known_documents;        /* in an event that is known */
    char before[READING_SAME_BYTES]; /* the reading before it */
};

struct tap {
    const struct protocol *protocol;
    const struct entry *entry;
    bool path_stream;
    bool asked_usage;
    bool finished;
    bool whole; /* the JSON document came to its end */
    bool rewrites;
    int status;
    enum mode mode;
    struct inflater *inflater; /* NULL: identity, or given up */
    struct watch *watch;       /* NULL until a stream's first event ended */
    bool json_begun;           /* bytes of the current document were read */

    struct sse sse;
    bool data_begun;             /* the current event has data */
    char sentinel[SENTINEL_MAX]; /* its first bytes: "[DONE]" is no JSON */
    size_t sentinel_n;

    /* While rewriting: bytes of an event whose end has not come, from its first field on. */
    struct buf hold;
    bool holding;   /* the event's first field was in an earlier feed */
    bool committed; /* it grew too large to hold: the client has its beginning */
    bool drop_tail; /* the LF that belongs to the event just dropped */

    struct reading reading; /* last: the scanner's memory at its end is not cleared */
};

struct tap *tap_new(const struct protocol *p, const struct route *route, bool asked_usage)
{
    struct tap *tap = xmalloc(sizeof(*tap));
    struct reading *r = &tap->reading;

    memset(tap, 0, offsetof(struct tap, reading.scan.node_at));
    tap->protocol = p;
    tap->entry = entry_of(route->endpoint);
    tap->path_stream = route->path_stream;
    tap->asked_usage = asked_usage;
    buf_init(&tap->hold, TAP_HOLD_MAX_BYTES);
    sse_init(&tap->sse);
    r->reader = reader_find(tap->entry->dialect);
    if (r->reader == NULL)
        memset(&r->scan, 0, sizeof(r->scan));
    else
        jscan_start(&r->scan, r->reader->nodes, r->reader->root, true, r->reader->on_event, r);
    return tap;
}

void tap_free(struct tap *tap)
{
    if (tap == NULL)
        return;
    inflate_free(tap->inflater);
    buf_release(&tap->hold);
    free(tap->watch);
    free(tap);
}

static void choose_mode(struct tap *tap, struct strv type)
{
    struct tap_result *result = &tap->reading.result;

    type = strv_trim(strv_head(type, strv_find(type, ';'))); /* without parameters */
    tap->mode = MODE_SNIFF;
    if (strv_eq_nocase(type, STRV("text/event-stream"))) {
        tap->mode = MODE_SNIFF_SSE;
        result->framing = FRAMING_SSE;
    } else if (strv_eq_nocase(type, STRV("application/x-ndjson")) ||
               strv_eq_nocase(type, STRV("application/jsonl")) ||
               strv_eq_nocase(type, STRV("application/x-jsonlines"))) {
        tap->mode = MODE_LINES;
        result->framing = FRAMING_NDJSON;
    } else if (strv_eq_nocase(type, STRV("application/vnd.amazon.eventstream"))) {
        tap->mode = MODE_IGNORE;
        result->framing = FRAMING_EVENTSTREAM;
    } else if (tap->path_stream && tap->entry->dialect == DIALECT_GEMINI && tap->status < 300) {
        result->framing = FRAMING_JSON_ARRAY;
    }
    if (tap->reading.reader == NULL)
        tap->mode = MODE_IGNORE;
}

void tap_head(struct tap *tap, const struct tap_response *head)
{
    struct tap_result *result = &tap->reading.result;
    bool identity;

    tap->status = head->status;
    choose_mode(tap, head->content_type);
    tap->reading.is_stream = result->framing != FRAMING_NONE;
    if (head->request_id.n > 0 && head->request_id.n < sizeof(result->request_id) &&
        (strv_ascii_run(head->request_id) == head->request_id.n ||
         utf8_is_printable(head->request_id))) {
        memcpy(result->request_id, head->request_id.p, head->request_id.n);
        result->request_id[head->request_id.n] = '\0';
    }
    tap->inflater = inflate_new(head->content_encoding, &identity);
    if (!identity && tap->inflater == NULL) {
        result->undecodable = true; /* a coding that nobody here knows */
        tap->mode = MODE_IGNORE;
    }
    tap->rewrites = tap->asked_usage && identity && tap->mode == MODE_SNIFF_SSE &&
                    tap->entry->dialect == DIALECT_OPENAI && head->status >= 200 &&
                    head->status < 300;
}

bool tap_rewrites(const struct tap *tap)
{
    return tap->rewrites;
}

/* ---- documents ------------------------------------------------------------- */

static void begin_json(struct tap *tap)
{
    jscan_again(&tap->reading.scan, tap->reading.reader->root);
    tap->json_begun = true;
}

/* Bytes of the document; a broken one is told by its end. */
static void feed_json(struct tap *tap, struct strv bytes)
{
    if (!tap->json_begun)
        begin_json(tap);
    if (jscan_feed(&tap->reading.scan, bytes) != RC_OK)
        return;
}

/* False where what was fed is no document. */
static bool end_json(struct tap *tap)
{
    bool good = !tap->json_begun || jscan_finish(&tap->reading.scan) == RC_OK ||
                tap->reading.scan.empty;

    tap->json_begun = false;
    return good;
}

/* ---- events ---------------------------------------------------------------- */

static void feed_data(struct tap *tap, struct strv data)
{
    struct strv head = strv_head(data, SENTINEL_MAX - tap->sentinel_n);

    if (!tap->data_begun) {
        tap->data_begun = true;
        tap->sentinel_n = 0;
        tap->reading.is_usage_event = false;
        head = strv_head(data, SENTINEL_MAX);
    }
    memcpy(tap->sentinel + tap->sentinel_n, head.p, head.n);
    tap->sentinel_n += head.n;
    if (tap->watch != NULL && tap->watch->pieces++ == 0)
        tap->watch->data = data.p;
    feed_json(tap, data);
}

static bool is_sentinel(const struct tap *tap)
{
    return strv_eq(strv_trim(strv_make(tap->sentinel, tap->sentinel_n)), STRV("[DONE]"));
}

/* An event begins at from, of which all is in this feed if its end is. */
static void watch_event(struct tap *tap, const char *from)
{
    struct watch *w = tap->watch;

    if (w == NULL) {
        w = tap->watch = xmalloc(sizeof(*w));
        w->known.n = 0;
        tap->reading.scan.gaps = &w->gaps;
    }
    w->open = true;
    w->from = from;
    w->pieces = 0;
    w->gaps.n = 0;
    w->counted = tap->reading.scan.counted_bytes;
    w->documents = tap->reading.documents;
    memcpy(w->before, &tap->reading, sizeof(w->before));
}

/*
 * An event ended, at end where that is known.  Where it changed nothing that was read so far,
 * whatever reads the same changes nothing either, until something else does.
 */
static void review_event(struct tap *tap, bool good, const char *end)
{
    struct watch *w = tap->watch;
    struct reading *r = &tap->reading;

    if (w == NULL)
        return;
    if (!w->open || memcmp(w->before, r, sizeof(w->before)) != 0) {
        w->known.n = 0;
    } else if (good && end != NULL && end[-1] == '\n' && w->from != NULL && w->pieces == 1 &&
               !r->scan.empty && !r->is_usage_event) {
        repeat_learn(&w->known, strv_make(w->from, (size_t)(end - w->from)),
                     (size_t)(w->data - w->from), &w->gaps, r->scan.counted_bytes - w->counted);
        w->known_documents = r->documents - w->documents;
    }
    w->open = false;
}

/* Passes over the known events that bytes begin with; returns their length. */
static size_t skip_known(struct tap *tap, struct strv bytes)
{
    struct reading *r = &tap->reading;
    size_t at = 0, used;
    uint64_t counted;

    if (!sse_is_between(&tap->sse))
        return 0;
    if (tap->watch != NULL) {
        while (repeat_match(&tap->watch->known, strv_skip(bytes, at), &used, &counted)) {
            at += used;
            r->scan.counted_bytes += counted;
            r->documents += tap->watch->known_documents;
        }
        if (at > 0) /* what an event before left unfinished in the scanner is over */
            jscan_again(&r->scan, r->reader->root);
    }
    if (at < bytes.n)
        watch_event(tap, bytes.p + at);
    return at;
}

/* An event is complete, its last byte before end (NULL: unknown).  True where it is the one
 * to drop. */
static bool end_event(struct tap *tap, const char *end)
{
    struct reading *r = &tap->reading;
    bool good;

    if (!tap->data_begun)
        return false;
    tap->data_begun = false;
    good = end_json(tap);
    if (is_sentinel(tap)) {
        r->terminator = true;
        good = false;
    } else {
        if (strv_eq(sse_name(&tap->sse), STRV("error")))
            r->error = true;
        if (!good)
            r->result.undecodable = true;
    }
    review_event(tap, good, end);
    return good && r->is_usage_event;
}

static void forget_feed(struct tap *tap)
{
    if (tap->watch != NULL)
        tap->watch->from = NULL;
}

static void read_sse(struct tap *tap, struct strv bytes)
{
    enum sse_what what;
    struct strv data;
    size_t used;

    forget_feed(tap);
    bytes = strv_skip(bytes, skip_known(tap, bytes));
    while ((what = sse_next(&tap->sse, bytes, &used, &data)) != SSE_MORE) {
        bytes = strv_skip(bytes, used);
        switch (what) {
        case SSE_DATA:
            feed_data(tap, data);
            break;
        case SSE_EVENT:
            (void)end_event(tap, bytes.p);
            bytes = strv_skip(bytes, skip_known(tap, bytes));
            break;
        case SSE_FIELD:
        case SSE_TAIL:
        case SSE_MORE:
            break;
        }
    }
}

static void read_lines(struct tap *tap, struct strv bytes)
{
    while (bytes.n > 0) {
        size_t end = strv_find(bytes, '\n');

        feed_json(tap, strv_head(bytes, end));
        if (end == bytes.n)
            break;
        if (!end_json(tap))
            tap->reading.result.undecodable = true;
        bytes = strv_skip(bytes, end + 1);
    }
}

/* What the first byte that is no white space says of the body. */
static void settle_mode(struct tap *tap, char first)
{
    struct tap_result *result = &tap->reading.result;
    bool labelled = tap->mode == MODE_SNIFF_SSE;

    if (first == '{' || (first == '[' && !labelled)) {
        tap->mode = MODE_JSON;
        result->framing = first == '[' ? result->framing : FRAMING_NONE;
    } else if (labelled || memchr("dei:r", first, 5) != NULL) {
        tap->mode = MODE_SSE;
        result->framing = FRAMING_SSE;
    } else {
        tap->mode = MODE_IGNORE;
        result->framing = FRAMING_NONE;
    }
    tap->reading.is_stream = result->framing != FRAMING_NONE;
}

static struct strv skip_space(struct strv bytes)
{
    while (bytes.n > 0 &&
           (*bytes.p == ' ' || *bytes.p == '\t' || *bytes.p == '\r' || *bytes.p == '\n'))
        bytes = strv_skip(bytes, 1);
    return bytes;
}

/* Plain bytes of the body, for reading alone. */
static void read_body(struct tap *tap, struct strv bytes)
{
    if (tap->mode == MODE_SNIFF || tap->mode == MODE_SNIFF_SSE) {
        bytes = skip_space(bytes);
        if (bytes.n == 0)
            return;
        settle_mode(tap, *bytes.p);
    }
    switch (tap->mode) {
    case MODE_JSON:
        feed_json(tap, bytes);
        break;
    case MODE_SSE:
        read_sse(tap, bytes);
        break;
    case MODE_LINES:
        read_lines(tap, bytes);
        break;
    case MODE_IGNORE:
    case MODE_SNIFF:
    case MODE_SNIFF_SSE:
        break;
    }
}

static void on_piece(void *arg, struct strv piece)
{
    read_body(arg, piece);
}

/* ---- rewriting ------------------------------------------------------------- */

/* What is held goes to the client after all. */
static enum rc release_hold(struct tap *tap, struct buf *pass)
{
    enum rc rc = buf_append_strv(pass, buf_view(&tap->hold));

    if (rc == RC_OK) {
        buf_clear(&tap->hold);
        tap->holding = false;
    }
    return rc;
}

/* The bytes of an unfinished event stay here, or go where they are too many. */
static enum rc hold_rest(struct tap *tap, struct strv rest, struct buf *pass)
{
    enum rc rc;

    if (rest.n == 0)
        return RC_OK;
    tap->holding = true;
    if (rest.n <= TAP_HOLD_MAX_BYTES - buf_len(&tap->hold))
        return buf_append_strv(&tap->hold, rest);
    tap->committed = true;
    rc = release_hold(tap, pass);
    return rc == RC_OK ? buf_append_strv(pass, rest) : rc;
}

/*
 * The end of an event at `at`, whose first field stands at `field` of this feed (or
 * in the hold).  Passes what comes before it and, unless dropped, itself.
 */
static enum rc pass_event(struct tap *tap, struct strv bytes, size_t *sent, size_t field,
                          size_t at, struct buf *pass)
{
    bool drop = end_event(tap, bytes.p + at) && !tap->committed;
    enum rc rc;

    tap->drop_tail = drop;
    tap->committed = false;
    if (!drop) { /* joins the run of bytes that goes in one piece */
        if (!tap->holding)
            return RC_OK;
        rc = release_hold(tap, pass);
        tap->holding = false;
        return rc;
    }
    if (tap->holding) {
        buf_clear(&tap->hold);
        tap->holding = false;
        rc = RC_OK;
    } else {
        rc = buf_append(pass, bytes.p + *sent, field - *sent);
    }
    *sent = at;
    return rc;
}

static enum rc rewrite_sse(struct tap *tap, struct strv bytes, struct buf *pass)
{
    size_t at = 0, sent = 0, field = 0, used;
    bool open = tap->holding || tap->committed; /* in an event, past its first field */
    enum sse_what what;
    struct strv data;
    enum rc rc = RC_OK;

    forget_feed(tap);
    at += skip_known(tap, bytes);
    while (rc == RC_OK &&
           (what = sse_next(&tap->sse, strv_skip(bytes, at), &used, &data)) != SSE_MORE) {
        at += used;
        switch (what) {
        case SSE_FIELD:
            field = at;
            open = true;
            break;
        case SSE_DATA:
            feed_data(tap, data);
            break;
        case SSE_EVENT:
            rc = pass_event(tap, bytes, &sent, field, at, pass);
            open = false;
            at += skip_known(tap, strv_skip(bytes, at));
            break;
        case SSE_TAIL:
            sent = tap->drop_tail ? at : sent;
            break;
        case SSE_MORE:
            break;
        }
    }
    if (rc != RC_OK)
        return rc;
    if (!open || tap->committed)
        return buf_append(pass, bytes.p + sent, bytes.n - sent);
    if (!tap->holding) {
        rc = buf_append(pass, bytes.p + sent, field - sent);
        sent = field;
    }
    return rc == RC_OK ? hold_rest(tap, strv_skip(bytes, sent), pass) : rc;
}

static enum rc rewrite_body(struct tap *tap, struct strv bytes, struct buf *pass)
{
    if (tap->mode == MODE_SNIFF_SSE) {
        struct strv rest = skip_space(bytes);
        enum rc rc = buf_append(pass, bytes.p, bytes.n - rest.n);

        if (rc != RC_OK || rest.n == 0)
            return rc;
        settle_mode(tap, *rest.p);
        bytes = rest;
    }
    if (tap->mode == MODE_SSE)
        return rewrite_sse(tap, bytes, pass);
    read_body(tap, bytes);
    return buf_append_strv(pass, bytes);
}

/* ---- the whole -------------------------------------------------------------- */

enum rc tap_feed(struct tap *tap, struct strv bytes, struct buf *pass)
{
    enum rc rc = RC_OK;

    if (bytes.n == 0 || tap->finished || (tap->mode == MODE_IGNORE && !tap->rewrites))
        return RC_OK;
    tap->reading.result.output_bytes = 0; /* so that no two events differ in it */
    if (tap->rewrites) {
        rc = rewrite_body(tap, bytes, pass);
    } else if (tap->inflater == NULL) {
        read_body(tap, bytes);
    } else if (inflate_feed(tap->inflater, bytes, on_piece, tap) != RC_OK) {
        tap->reading.result.undecodable = true;
        inflate_free(tap->inflater);
        tap->inflater = NULL;
        tap->mode = MODE_IGNORE;
    }
    tap->reading.result.output_bytes = jscan_counted(&tap->reading.scan);
    return rc;
}

/* The body's last document or event may lack its end. */
static enum rc end_body(struct tap *tap, bool clean, struct buf *pass)
{
    struct reading *r = &tap->reading;
    bool undecodable = r->result.undecodable, drop = false;

    if (tap->mode == MODE_SSE) {
        drop = end_event(tap, NULL) && !tap->committed;
    } else if (tap->mode == MODE_LINES || tap->mode == MODE_JSON) {
        if (r->open) /* broken off: what was whole of it counts */
            r->reader->end_document(r);
        tap->whole = end_json(tap);
        r->result.undecodable = r->result.undecodable || !tap->whole;
    }
    if (!clean) /* no fault of what came */
        r->result.undecodable = undecodable;
    if (!tap->rewrites || drop)
        return RC_OK;
    return release_hold(tap, pass);
}

static enum tap_end find_end(const struct tap *tap, bool clean)
{
    const struct reading *r = &tap->reading;
    bool complete = clean;

    if (r->error || r->finish == TAP_END_ERROR || tap->status >= 400)
        return TAP_END_ERROR;
    if (r->reader == NULL || tap->mode == MODE_IGNORE)
        return clean ? TAP_END_COMPLETE : TAP_END_NONE;
    if (r->is_stream) {
        bool needs_terminator = tap->entry->dialect == DIALECT_RESPONSES ||
                                tap->entry->dialect == DIALECT_ANTHROPIC;

        complete = r->terminator || (clean && !needs_terminator && r->finish != TAP_END_NONE);
    } else {
        complete = r->documents > 0 && tap->whole;
    }
    if (!complete)
        return TAP_END_NONE;
    return r->finish != TAP_END_NONE ? r->finish : TAP_END_COMPLETE;
}

enum rc tap_finish(struct tap *tap, bool clean, struct buf *pass)
{
    struct reading *r = &tap->reading;
    enum rc rc = RC_OK;

    if (tap->finished)
        return RC_OK;
    if (r->reader != NULL)
        rc = end_body(tap, clean, pass);
    tap->finished = true;
    if (r->result.has_usage && r->terminator)
        r->result.usage_is_final = true;
    r->result.end = find_end(tap, clean);
    return rc;
}

const struct tap_result *tap_result(const struct tap *tap)
{
    return &tap->reading.result;
}
