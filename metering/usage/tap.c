#include "metering/usage/tap_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/held.h"
#include "base/utf8.h"
#include "base/xalloc.h"

/* Its own storage, and what parts, frames and watch take once they are needed. */
enum { TAP_HELD_BYTES = sizeof(struct tap) + (10 << 10) };

void tap_rest(struct tap *tap)
{
    inflate_free(tap->inflater);
    tap->inflater = NULL;
    buf_release(&tap->hold);
    free(tap->watch);
    tap->watch = NULL;
    free(tap->frames);
    tap->frames = NULL;
    free(tap->reading.parts);
    tap->reading.parts = NULL;
    free(tap->reading.named);
    tap->reading.named = NULL;
    tap_drop_text(tap);
}

static void begin(struct tap *tap, const struct protocol *p, const struct route *route,
                  bool asked_usage)
{
    struct reading *r = &tap->reading;

    memset(tap, 0, offsetof(struct tap, reading.scan.node_at));
    r->iteration_model[0] = r->tool_model[0] = r->name[0] = '\0';
    tap->protocol = p;
    tap->entry = entry_of(route->endpoint);
    tap->path_stream = route->path_stream;
    tap->asked_usage = asked_usage;
    buf_init(&tap->hold, TAP_HOLD_MAX_BYTES);
    sse_init(&tap->sse);
    r->flags = tap->entry->flags;
    r->reader = reader_find(route);
    if (r->reader == NULL)
        memset(&r->scan, 0, sizeof(r->scan));
    else
        jscan_start(&r->scan, r->reader->nodes, r->reader->root, true, r->reader->on_event, r);
}

struct tap *tap_new(const struct protocol *p, const struct route *route, bool asked_usage)
{
    struct tap *tap = xmalloc(sizeof(*tap));

    held_add(TAP_HELD_BYTES);
    begin(tap, p, route, asked_usage);
    return tap;
}

struct tap *tap_renew(struct tap *used, const struct protocol *p, const struct route *route,
                      bool asked_usage)
{
    if (used == NULL)
        return tap_new(p, route, asked_usage);
    begin(used, p, route, asked_usage);
    return used;
}

void tap_free(struct tap *tap)
{
    if (tap == NULL)
        return;
    tap_rest(tap);
    held_sub(TAP_HELD_BYTES);
    free(tap);
}

/* Types by which an answer is known to be a document a line. */
static bool is_lines_type(struct strv type)
{
    static const struct strv TYPES[] = {{"application/x-ndjson", 20},
                                        {"application/jsonl", 17},
                                        {"application/x-jsonl", 19},
                                        {"application/x-jsonlines", 23},
                                        {"application/stream+json", 23}};

    for (size_t i = 0; i < sizeof(TYPES) / sizeof(TYPES[0]); i++) {
        if (strv_eq_nocase(type, TYPES[i]))
            return true;
    }
    return false;
}

static void choose_mode(struct tap *tap, struct strv type)
{
    struct tap_result *result = &tap->reading.result;
    bool json;

    type = strv_trim(strv_head(type, strv_find(type, ';'))); /* without parameters */
    json = strv_eq_nocase(type, STRV("application/json"));
    tap->mode = MODE_SNIFF;
    if (strv_eq_nocase(type, STRV("text/event-stream"))) {
        tap->mode = MODE_SNIFF_SSE;
        result->framing = FRAMING_SSE;
    } else if (is_lines_type(type)) {
        tap->mode = MODE_LINES;
        result->framing = FRAMING_NDJSON;
    } else if (tap->entry->flags & (ENTRY_LINES | ENTRY_BATCH)) {
        tap->mode = MODE_LINES; /* which takes a plain document as well */
    } else if ((tap->entry->flags & ENTRY_AUDIO) && strv_starts(type, STRV("text/"))) {
        tap->mode = MODE_TEXT;
    } else if ((tap->entry->flags & ENTRY_SPEECH) && !json) {
        tap->mode = MODE_IGNORE; /* sound */
    } else if (strv_eq_nocase(type, STRV("application/vnd.amazon.eventstream"))) {
        tap->mode = MODE_EVENTSTREAM;
        result->framing = FRAMING_EVENTSTREAM;
    } else if (tap->path_stream && tap->entry->dialect == DIALECT_GEMINI && tap->status < 300) {
        result->framing = FRAMING_JSON_ARRAY;
    }
    if (tap->reading.reader == NULL) {
        tap->mode = MODE_IGNORE;
    } else if (tap->reading.reader->head_says_all) {
        tap->mode = MODE_IGNORE;
        result->framing = FRAMING_NONE;
    }
}

static void read_tier(struct reading *r, const struct reader_header *h, struct strv value)
{
    if (h->count == HEADER_LATENCY) {
        if (!strv_eq_nocase(value, STRV("optimized")))
            return;
        value = STRV(TIER_OPTIMIZED);
    }
    if (value.n >= sizeof(r->result.service_tier) || !utf8_is_printable(value))
        return;
    memcpy(r->result.service_tier, value.p, value.n);
    r->result.service_tier[value.n] = '\0';
    r->has_head_tier = true;
}

/* What the head alone says of usage. */
static void read_headers(struct tap *tap, const struct tap_response *head)
{
    struct reading *r = &tap->reading;
    const struct reader *reader = r->reader;
    bool any = false;

    if (reader == NULL || head->header == NULL || head->status >= 300)
        return;
    for (size_t i = 0; i < reader->n_headers; i++) {
        const struct reader_header *h = &reader->headers[i];
        struct strv value = head->header(head->header_arg, strv_z(h->name));
        uint64_t n;

        if (value.n == 0)
            continue;
        if (h->count >= RAW_COUNT) {
            read_tier(r, h, value);
        } else if (strv_parse_u64(value, USAGE_MAX_COUNT, &n)) {
            raw_set(&r->metered, (enum raw_count)h->count, n);
            any = true;
        } else {
            r->metered.odd = true;
        }
    }
    if (any && !r->is_stream)
        reader->end_headers(r);
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
    read_headers(tap, head);
    tap->inflater = inflate_new(head->content_encoding, &identity);
    if (!identity && tap->inflater == NULL) {
        result->undecodable = true; /* a coding that nobody here knows */
        tap->mode = MODE_IGNORE;
    }
    tap->rewrites = tap->asked_usage && identity && tap->mode == MODE_SNIFF_SSE &&
                    tap->entry->dialect == DIALECT_OPENAI && head->status >= 200 &&
                    head->status < 300;
}

void tap_know(struct tap *tap, struct shapes *known)
{
    tap->known = known;
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

void tap_feed_json(struct tap *tap, struct strv bytes)
{
    struct jscan *scan = &tap->reading.scan;
    enum rc rc;

    if (tap->json_begun) {
        rc = jscan_feed(scan, bytes);
    } else {
        begin_json(tap);
        rc = shapes_feed(tap->mode == MODE_JSON ? tap->known : NULL, scan, bytes);
    }
    (void)rc; /* it sticks, and the document's end tells it */
}

bool tap_end_json(struct tap *tap)
{
    bool good = !tap->json_begun || jscan_finish(&tap->reading.scan) == RC_OK ||
                tap->reading.scan.empty;

    tap->json_begun = false;
    return good;
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
        result->undecodable = tap->status < 300; /* usage was to be in it */
    }
    tap->reading.is_stream = result->framing != FRAMING_NONE;
}

/* White space and a byte order mark, which says nothing of UTF-8 (RFC 8259, section 8.1). */
static struct strv skip_space(struct tap *tap, struct strv bytes)
{
    static const char MARK[] = "\xef\xbb\xbf";

    while (bytes.n > 0) {
        if (tap->bom < sizeof(MARK) - 1 && *bytes.p == MARK[tap->bom])
            tap->bom++;
        else if (memchr(" \t\r\n", *bytes.p, 4) == NULL)
            break;
        bytes = strv_skip(bytes, 1);
    }
    return bytes;
}

/* Plain bytes of the body, for reading alone. */
static void read_body(struct tap *tap, struct strv bytes)
{
    if (tap->mode == MODE_SNIFF || tap->mode == MODE_SNIFF_SSE) {
        bytes = skip_space(tap, bytes);
        if (bytes.n == 0)
            return;
        settle_mode(tap, *bytes.p);
    }
    switch (tap->mode) {
    case MODE_JSON:
        tap_feed_json(tap, bytes);
        break;
    case MODE_SSE:
        tap_read_sse(tap, bytes);
        break;
    case MODE_LINES:
        tap_read_lines(tap, bytes);
        break;
    case MODE_TEXT:
        tap->reading.whole_text += bytes.n;
        break;
    case MODE_EVENTSTREAM:
        tap_read_eventstream(tap, bytes);
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

static enum rc rewrite_body(struct tap *tap, struct strv bytes, struct buf *pass)
{
    if (tap->mode == MODE_SNIFF_SSE) {
        struct strv rest = skip_space(tap, bytes);
        enum rc rc = buf_append(pass, bytes.p, bytes.n - rest.n);

        if (rc != RC_OK || rest.n == 0)
            return rc;
        settle_mode(tap, *rest.p);
        bytes = rest;
    }
    if (tap->mode == MODE_SSE)
        return tap_rewrite_sse(tap, bytes, pass);
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
    if (tap->reading.whole_text > tap->reading.result.output_bytes)
        tap->reading.result.output_bytes = tap->reading.whole_text;
    return rc;
}

/* The body's last document or event may lack its end. */
static enum rc end_body(struct tap *tap, bool clean, struct buf *pass)
{
    struct reading *r = &tap->reading;
    bool undecodable = r->result.undecodable, drop = false;

    if (tap->mode == MODE_SSE) {
        drop = tap_end_sse(tap) && !tap->committed;
    } else if (tap->mode == MODE_EVENTSTREAM) {
        tap_end_eventstream(tap);
    } else if (tap->mode == MODE_LINES) {
        tap_end_lines(tap);
    } else if (tap->mode == MODE_JSON) {
        if (r->open) /* broken off: what was whole of it counts */
            reading_end(r);
        tap->whole = tap_end_json(tap);
        r->result.undecodable = r->result.undecodable || !tap->whole;
    }
    if (!clean) /* no fault of what came */
        r->result.undecodable = undecodable;
    if (!tap->rewrites || drop)
        return RC_OK;
    return tap_release_hold(tap, pass);
}

static enum tap_end find_end(const struct tap *tap, bool clean)
{
    const struct reading *r = &tap->reading;
    bool complete = clean;

    if (r->error || r->finish == TAP_END_ERROR || tap->status >= 400)
        return TAP_END_ERROR;
    if (r->reader == NULL || tap->mode == MODE_IGNORE || tap->mode == MODE_TEXT)
        return clean ? TAP_END_COMPLETE : TAP_END_NONE;
    if (r->is_stream) {
        complete = r->terminator ||
                   (clean && !r->reader->has_terminator &&
                    r->result.framing != FRAMING_EVENTSTREAM && r->finish != TAP_END_NONE);
    } else {
        complete = r->documents > 0 && tap->whole;
    }
    if (!complete)
        return TAP_END_NONE;
    return r->finish != TAP_END_NONE ? r->finish : TAP_END_COMPLETE;
}

/*
 * The answer only says that work was begun.  A stream that says so as it starts and breaks
 * off is an answer that broke off, unless the provider works on for requests that fetch it.
 */
static bool goes_on(const struct tap *tap)
{
    const struct reading *r = &tap->reading;
    bool is_run = tap->entry->dialect == DIALECT_OPENAI && (r->flags & ENTRY_THREAD);
    bool begun = r->result.pending && (!r->is_stream || r->is_kept || is_run);

    return !r->result.has_usage && tap->status >= 200 && tap->status < 300 &&
           (begun || (r->flags & ENTRY_LATER));
}

/* Dialects whose streams have a last word.  Others' may just end, and OpenAI's paths are also those
 * of hosts whose events are their own: these name no model. */
static bool has_last_word(const struct tap *tap)
{
    if (!tap->reading.is_stream || tap->entry->endpoint.kind != ENDPOINT_METERED)
        return false;
    switch (tap->entry->dialect) {
    case DIALECT_OPENAI:
        return (tap->entry->flags & ENTRY_EDIT) && tap->reading.result.model[0] != '\0';
    case DIALECT_ANTHROPIC:
    case DIALECT_GEMINI:
    case DIALECT_CONVERSE:
    case DIALECT_COHERE:
    case DIALECT_OLLAMA:
    case DIALECT_DASHSCOPE:
        return true;
    case DIALECT_RESPONSES:
        return !tap->reading.result.usage_is_final;
    case DIALECT_NONE:
    case DIALECT_PREDICT:
    case DIALECT_INVOKE:
    case DIALECT_SERVER:
    case DIALECT_SESSION:
    case DIALECT_AGENTS:
    case DIALECT_GUARD:
    case DIALECT_CREDITS:
    case DIALECT_SCRIBE:
    case DIALECT_DEEPGRAM:
    case DIALECT_AURA:
    case DIALECT_ASSEMBLYAI:
        break;
    }
    return false;
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
    if (clean && (r->flags & ENTRY_DUPLEX) && !r->error && tap_is_between(tap))
        r->terminator = true; /* a session is ended by both sides in good order, or broke off */
    parts_check_shares(r);
    if (r->result.has_usage && r->terminator)
        r->result.usage_is_final = true;
    tap_end_text(tap);
    r->result.end = find_end(tap, clean);
    r->result.pending = goes_on(tap);
    r->result.broke_off = clean && r->result.end == TAP_END_NONE && !r->result.undecodable &&
                          !r->result.pending && has_last_word(tap);
    return rc;
}

bool tap_part(const struct tap *tap, size_t i, struct tap_part *out)
{
    const struct reading *r = &tap->reading;

    if (r->parts == NULL || i >= r->parts->n)
        return false;
    *out = (struct tap_part){.model = strv_z(r->parts->at[i].model),
                             .usage = &r->parts->at[i].usage,
                             .is_share = r->parts->at[i].kind == PART_SHARE};
    if (out->model.n == 0 && r->parts->at[i].kind == PART_DRAWING)
        out->model = strv_z(r->tool_model);
    return true;
}

struct strv tap_search(const struct tap *tap, size_t i)
{
    const struct searches *named = tap->reading.named;

    return named != NULL && i < named->n ? strv_z(named->id[i]) : STRV_NONE;
}

const struct tap_result *tap_result(const struct tap *tap)
{
    return &tap->reading.result;
}

bool tap_is_between(const struct tap *tap)
{
    return tap_is_between_frames(tap);
}
