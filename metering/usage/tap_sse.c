/*
 * tap_sse.c - the tap on server-sent events: reads them, knows those again that say nothing
 * but more text, and takes out the one usage event that the proxy itself asked for.
 */
#include "metering/usage/tap_int.h"

#include <string.h>

#include "base/xalloc.h"

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
    tap_feed_json(tap, data);
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
        w->gaps = (struct jscan_gaps){.at = w->gap, .max = REPEAT_GAPS_MAX};
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
    struct strv found[REPEAT_GAPS_MAX], *text = tap->text.wanted ? found : NULL;
    struct reading *r = &tap->reading;
    size_t at = 0, used;
    uint64_t counted;

    if (!sse_is_between(&tap->sse))
        return 0;
    if (tap->watch != NULL) {
        while (repeat_match(&tap->watch->known, strv_skip(bytes, at), &used, &counted, text)) {
            at += used;
            if (text != NULL)
                tap_take_text(tap, text, &tap->watch->known);
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
    good = tap_end_json(tap);
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

void tap_read_sse(struct tap *tap, struct strv bytes)
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

/* ---- rewriting ------------------------------------------------------------- */

enum rc tap_release_hold(struct tap *tap, struct buf *pass)
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
    rc = tap_release_hold(tap, pass);
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
        rc = tap_release_hold(tap, pass);
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

enum rc tap_rewrite_sse(struct tap *tap, struct strv bytes, struct buf *pass)
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

bool tap_end_sse(struct tap *tap)
{
    return end_event(tap, NULL);
}
