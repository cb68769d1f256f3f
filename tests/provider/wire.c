#include "tests/provider/wire.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "tests/provider/encode.h"

enum {
    WIRE_MAX_BYTES = 1 << 30,
    SPLIT_PAUSE_DEFAULT_MS = 2,
    SPLITS_MAX = 4096,
    STEPS_KEPT = 4096,
};

void wire_init(struct wire *w)
{
    memset(w, 0, sizeof(*w));
    buf_init(&w->bytes, WIRE_MAX_BYTES);
}

void wire_clear(struct wire *w)
{
    if (w->bytes.cap > 1U << 20)
        buf_release(&w->bytes);
    else
        buf_clear(&w->bytes);
    if (w->cap_steps > STEPS_KEPT) {
        free(w->steps);
        w->steps = NULL;
        w->cap_steps = 0;
    }
    w->n_steps = 0;
    w->end = WIRE_KEEP;
    w->whole = true;
    w->stamped = false;
}

void wire_free(struct wire *w)
{
    buf_release(&w->bytes);
    free(w->steps);
}

static void push_step(struct wire *w, struct wire_step step)
{
    if (w->n_steps == w->cap_steps) {
        w->cap_steps = w->cap_steps ? w->cap_steps * 2 : 16;
        w->steps = xrealloc(w->steps, w->cap_steps * sizeof(*w->steps));
    }
    w->steps[w->n_steps++] = step;
}

void wire_step(struct wire *w, uint32_t delay_ms, uint32_t output)
{
    push_step(w, (struct wire_step){buf_len(&w->bytes), delay_ms, output});
}

void wire_stamp(struct wire *w, size_t from, size_t to)
{
    char text[sizeof(WIRE_STAMP)];
    struct timespec now;
    if (!w->stamped)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int n = snprintf(text, sizeof(text), "@ns=%019" PRIu64,
                     (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec);
    ASSERT(n == (int)sizeof(text) - 1);
    char *at = w->bytes.data + w->bytes.head + from;
    char *end = w->bytes.data + w->bytes.head + to;
    while ((at = memmem(at, (size_t)(end - at), WIRE_STAMP, sizeof(text) - 1)) != NULL) {
        memcpy(at, text, sizeof(text) - 1);
        at += sizeof(text) - 1;
    }
}

static void put(struct buf *out, struct strv s)
{
    ASSERT(buf_append_strv(out, s) == RC_OK);
}

static void put_decimal(struct buf *out, uint64_t n)
{
    char text[20];
    size_t at = sizeof(text);
    do
        text[--at] = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    put(out, strv_make(text + at, sizeof(text) - at));
}

static void put_hexadecimal(struct buf *out, uint64_t n)
{
    char text[16];
    size_t at = sizeof(text);
    do
        text[--at] = "0123456789abcdef"[n & 15];
    while ((n >>= 4) > 0);
    put(out, strv_make(text + at, sizeof(text) - at));
}

static uint32_t milliseconds(const struct request *r, const char *name)
{
    uint64_t ms = sim_number(r, name, 0);
    return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

/* ---- the body: pieces, as cut and encoded ---------------------------------------- */

struct body {
    struct buf made; /* what is not as the reply has it */
    struct strv bytes;
    struct piece *pieces;
    size_t n;
    bool cut;
};

static void body_piece(struct body *b, uint32_t output)
{
    b->pieces[b->n++] = (struct piece){.end = buf_len(&b->made), .output = output};
}

/* How many of the reply's pieces go out, by "Cut-After-Events". */
static size_t pieces_before_cut(const struct request *r, const struct reply *reply,
                                const char *name)
{
    uint64_t events = sim_number(r, name, UINT64_MAX);
    if (events == UINT64_MAX)
        return reply->n_pieces;
    size_t i = 0;
    for (uint64_t seen = 0; i < reply->n_pieces; i++) {
        if (seen == events)
            break;
        seen += reply->pieces[i].is_event;
    }
    return i;
}

/* Blank lines before JSON, or comments before events, as some providers send. */
static void add_padding(const struct reply *reply, uint64_t blanks, uint64_t comments,
                        struct body *b)
{
    for (uint64_t i = 0; i < blanks && b->n < SPLITS_MAX; i++) {
        put(&b->made, STRV("\n"));
        body_piece(b, 0);
    }
    for (uint64_t i = 0; reply->stream && i < comments && b->n < SPLITS_MAX; i++) {
        put(&b->made, STRV(": keep-alive"));
        put(&b->made, reply->newline);
        put(&b->made, reply->newline);
        body_piece(b, 0);
    }
}

static void encode_body(struct strv coding, struct body *b)
{
    struct encoder *e = encoder_new(coding);
    if (e == NULL)
        return;
    struct buf plain = b->made;
    buf_init(&b->made, WIRE_MAX_BYTES);
    size_t from = 0;
    for (size_t i = 0; i < b->n; i++) {
        struct strv piece = strv_make(buf_view(&plain).p + from, b->pieces[i].end - from);
        from = b->pieces[i].end;
        encoder_put(e, piece, i + 1 == b->n, &b->made);
        b->pieces[i].end = buf_len(&b->made);
    }
    encoder_free(e);
    buf_release(&plain);
}

/* The reply's pieces with what comes before, between and instead of them. */
static void make_body(const struct request *r, struct reply *reply, struct body *b)
{
    uint64_t blanks = sim_number(r, "Leading-Whitespace", 0);
    uint64_t comments = sim_number(r, "Comments", 0);
    bool failing = sim_has(r, "Stream-Error") && buf_len(&reply->error_event) > 0;
    size_t n = pieces_before_cut(r, reply, failing ? "Stream-Error" : "Cut-After-Events");
    size_t before = blanks + comments < SPLITS_MAX ? (size_t)(blanks + comments) : SPLITS_MAX;
    b->cut = !failing && n < reply->n_pieces;
    b->pieces = xcalloc(reply->n_pieces + before + 1, sizeof(*b->pieces));
    buf_init(&b->made, WIRE_MAX_BYTES);
    if (before == 0 && !failing && !sim_has(r, "Encoding")) { /* as it is */
        b->bytes = strv_head(buf_view(&reply->body), n > 0 ? reply->pieces[n - 1].end : 0);
        if (n > 0)
            memcpy(b->pieces, reply->pieces, n * sizeof(*b->pieces));
        b->n = n;
        return;
    }
    add_padding(reply, blanks, comments, b);
    size_t from = 0;
    for (size_t i = 0; i < n; i++) {
        put(&b->made, strv_make(buf_view(&reply->body).p + from, reply->pieces[i].end - from));
        from = reply->pieces[i].end;
        body_piece(b, reply->pieces[i].output);
    }
    if (failing) {
        put(&b->made, buf_view(&reply->error_event));
        body_piece(b, 0);
    }
    encode_body(sim_text(r, "Encoding"), b);
    b->bytes = buf_view(&b->made);
}

/* Drops what lies behind so many bytes of the body. */
static void cut_body(struct body *b, uint64_t bytes)
{
    for (size_t i = 0; i < b->n; i++) {
        if (b->pieces[i].end <= bytes)
            continue;
        b->pieces[i].end = (size_t)bytes;
        b->pieces[i].output = 0;
        b->n = i + 1;
        b->cut = true;
        return;
    }
}

/* ---- the head -------------------------------------------------------------------------- */

static struct strv reason_of(int status)
{
    switch (status) {
    case 200:
        return STRV("OK");
    case 400:
        return STRV("Bad Request");
    case 401:
        return STRV("Unauthorized");
    case 402:
        return STRV("Payment Required");
    case 403:
        return STRV("Forbidden");
    case 404:
        return STRV("Not Found");
    case 413:
        return STRV("Payload Too Large");
    case 417:
        return STRV("Expectation Failed");
    case 429:
        return STRV("Too Many Requests");
    case 500:
        return STRV("Internal Server Error");
    case 503:
        return STRV("Service Unavailable");
    case 529:
        return STRV("Overloaded");
    default:
        return STRV("Status");
    }
}

/* "Date: ..." of now, made once a second. */
static struct strv date_line(void)
{
    static _Thread_local char line[64];
    static _Thread_local time_t made;
    static _Thread_local size_t n;
    time_t now = time(NULL);
    if (now != made) {
        struct tm tm;
        ASSERT(gmtime_r(&now, &tm) != NULL);
        n = strftime(line, sizeof(line), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
        made = now;
    }
    return strv_make(line, n);
}

static enum body_frame {
    FRAME_LENGTH,
    FRAME_CHUNKED,
    FRAME_CLOSE
} frame_of(const struct request *r, const struct reply *reply)
{
    struct strv asked = sim_text(r, "Framing");
    if (strv_eq(asked, STRV("length")))
        return FRAME_LENGTH;
    if (strv_eq(asked, STRV("close")) || r->minor == 0)
        return FRAME_CLOSE;
    if (strv_eq(asked, STRV("chunked")))
        return FRAME_CHUNKED;
    return reply->stream ? FRAME_CHUNKED : FRAME_LENGTH;
}

/* Content-Length: the truth, or as far from it as "Length-Delta" says ("+5", "-3"). */
static uint64_t stated_length(const struct request *r, uint64_t length)
{
    struct strv delta = sim_text(r, "Length-Delta");
    uint64_t n;
    if (delta.n < 2 || !strv_parse_u64(strv_skip(delta, 1), WIRE_MAX_BYTES, &n))
        return length;
    if (delta.p[0] == '-')
        return length > n ? length - n : 0;
    return length + n;
}

static void put_sim_headers(const struct request *r, struct buf *out)
{
    for (size_t i = 0; r->has_sim && i < r->n_headers; i++) {
        if (!strv_eq_nocase(r->headers[i].name, STRV("x-sim-header")))
            continue;
        put(out, r->headers[i].value);
        put(out, STRV("\r\n"));
    }
}

static void put_head(struct wire *w, const struct request *r, const struct reply *reply,
                     enum body_frame frame, uint64_t length, bool close)
{
    struct buf *out = &w->bytes;
    struct strv reason = reason_of(reply->status);
    put(out, STRV("HTTP/1.1 "));
    put_decimal(out, (uint64_t)reply->status);
    put(out, STRV(" "));
    put(out, reason);
    put(out, STRV("\r\n"));
    put(out, date_line());
    if (reply->content_type.n > 0) {
        put(out, STRV("Content-Type: "));
        put(out, reply->content_type);
        put(out, STRV("\r\n"));
    }
    put(out, buf_view(&reply->headers));
    put_sim_headers(r, out);
    struct strv coding = sim_text(r, "Encoding");
    if (coding.n > 0)
        ASSERT(buf_printf(out, "Content-Encoding: " STRV_FMT "\r\n", STRV_ARG(coding)) ==
               RC_OK);
    if (frame == FRAME_LENGTH) {
        put(out, STRV("Content-Length: "));
        put_decimal(out, stated_length(r, length));
        put(out, STRV("\r\n"));
    }
    if (frame == FRAME_CHUNKED)
        put(out, STRV("Transfer-Encoding: chunked\r\n"));
    if (close)
        put(out, STRV("Connection: close\r\n"));
    put(out, STRV("\r\n"));
}

/* ---- putting it together ------------------------------------------------------------- */

/* size: of a chunk at most; 0: all of it is one. */
static void put_chunk(struct wire *w, uint64_t size, struct strv extension, struct strv data)
{
    while (data.n > 0) {
        struct strv part = size ? strv_head(data, (size_t)size) : data;
        put_hexadecimal(&w->bytes, part.n);
        if (extension.n > 0)
            ASSERT(buf_printf(&w->bytes, ";" STRV_FMT, STRV_ARG(extension)) == RC_OK);
        put(&w->bytes, STRV("\r\n"));
        put(&w->bytes, part);
        put(&w->bytes, STRV("\r\n"));
        data = strv_skip(data, part.n);
    }
}

/* Head and pieces are written one by one, not as one. */
static bool steps_apart(const struct request *r, const struct reply *reply)
{
    return reply->stream || sim_has(r, "Head-First") || sim_has(r, "Event-Delay-Ms") ||
           sim_has(r, "First-Event-Delay-Ms");
}

static void put_body(struct wire *w, const struct request *r, const struct reply *reply,
                     const struct body *b, enum body_frame frame)
{
    uint32_t delay = milliseconds(r, "Event-Delay-Ms");
    uint32_t first = milliseconds(r, "First-Event-Delay-Ms");
    uint64_t size = sim_number(r, "Chunk-Bytes", 0);
    struct strv extension = sim_text(r, "Chunk-Extension");
    bool apart = steps_apart(r, reply);
    size_t from = 0;
    for (size_t i = 0; i < b->n; i++) {
        struct strv data = strv_make(b->bytes.p + from, b->pieces[i].end - from);
        from = b->pieces[i].end;
        if (frame == FRAME_CHUNKED)
            put_chunk(w, size, extension, data);
        else
            put(&w->bytes, data);
        if (apart)
            wire_step(w, i == 0 ? first : delay, b->pieces[i].output);
    }
    if (frame == FRAME_CHUNKED && (!b->cut || strv_eq(sim_text(r, "Cut"), STRV("clean")))) {
        struct strv trailer = sim_text(r, "Trailer");
        put(&w->bytes, STRV("0\r\n"));
        if (trailer.n > 0)
            ASSERT(buf_printf(&w->bytes, STRV_FMT "\r\n", STRV_ARG(trailer)) == RC_OK);
        put(&w->bytes, STRV("\r\n"));
    }
    /* What is left goes with the last step, or is the only one. */
    size_t n = w->n_steps;
    if (!apart)
        wire_step(w, milliseconds(r, "Delay-Ms"), 0);
    else if (n > 0)
        w->steps[n - 1].end = buf_len(&w->bytes);
}

static void put_informational(struct wire *w, const struct request *r)
{
    struct strv rest = sim_text(r, "Informational");
    struct strv part;
    while (rest.n > 0 && strv_split(&rest, ',', &part)) {
        part = strv_trim(part);
        ASSERT(buf_printf(&w->bytes,
                          "HTTP/1.1 " STRV_FMT " Informational\r\nX-Hint: yes\r\n\r\n",
                          STRV_ARG(part)) == RC_OK);
        wire_step(w, 0, 0);
        if (rest.n == 0)
            break;
    }
}

/* Positions after which the wire is split, ascending; returns how many. */
static size_t split_points(const struct request *r, size_t length, size_t out[SPLITS_MAX])
{
    size_t n = 0;
    uint64_t every = sim_number(r, "Split-Every", 0);
    if (every > 0) {
        for (size_t at = (size_t)every; at < length && n < SPLITS_MAX; at += (size_t)every)
            out[n++] = at;
        return n;
    }
    struct strv rest = sim_text(r, "Split");
    struct strv part;
    while (rest.n > 0 && n < SPLITS_MAX && strv_split(&rest, ',', &part)) {
        uint64_t at;
        if (strv_parse_u64(strv_trim(part), length, &at) && (n == 0 || at > out[n - 1]))
            out[n++] = (size_t)at;
        if (rest.n == 0)
            break;
    }
    return n;
}

static void split_steps(struct wire *w, const struct request *r)
{
    if (!sim_has(r, "Split") && !sim_has(r, "Split-Every"))
        return;
    size_t points[SPLITS_MAX];
    size_t n = split_points(r, buf_len(&w->bytes), points);
    uint32_t pause = (uint32_t)sim_number(r, "Split-Pause-Ms", SPLIT_PAUSE_DEFAULT_MS);
    struct wire_step *old = w->steps;
    size_t n_old = w->n_steps;
    w->steps = NULL;
    w->n_steps = 0;
    w->cap_steps = 0;
    size_t p = 0;
    for (size_t i = 0; i < n_old; i++) {
        uint32_t delay = old[i].delay_ms;
        while (p < n && points[p] < old[i].end) {
            push_step(w, (struct wire_step){points[p++], delay, 0});
            delay = pause;
        }
        push_step(w, (struct wire_step){old[i].end, delay, old[i].output});
        if (p < n && points[p] == old[i].end)
            p++;
    }
    free(old);
}

static enum wire_end cut_end(const struct request *r)
{
    struct strv how = sim_text(r, "Cut");
    if (strv_eq(how, STRV("reset")))
        return WIRE_RESET;
    if (strv_eq(how, STRV("stall")))
        return WIRE_STALL;
    if (strv_eq(how, STRV("notify")))
        return WIRE_CLOSE;
    if (strv_eq(how, STRV("clean")))
        return WIRE_KEEP;
    return WIRE_CUT;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* "Raw": the whole answer, percent-encoded. */
static void put_raw(struct wire *w, struct strv raw)
{
    for (size_t i = 0; i < raw.n; i++) {
        char c = raw.p[i];
        if (c == '%' && i + 2 < raw.n && hex_digit(raw.p[i + 1]) >= 0 &&
            hex_digit(raw.p[i + 2]) >= 0) {
            c = (char)(hex_digit(raw.p[i + 1]) * 16 + hex_digit(raw.p[i + 2]));
            i += 2;
        }
        ASSERT(buf_append(&w->bytes, &c, 1) == RC_OK);
    }
}

/* Answers that are no HTTP reply at all; true where one was asked for. */
static bool make_special(struct wire *w, const struct request *r)
{
    if (!r->has_sim)
        return false;
    struct strv raw = sim_text(r, "Raw");
    struct strv raw_end = sim_text(r, "Raw-End");
    w->whole = false;
    if (sim_has(r, "Hang")) {
        w->end = WIRE_STALL;
        return true;
    }
    if (sim_has(r, "Reset")) {
        w->end = WIRE_RESET;
        return true;
    }
    if (sim_has(r, "Disconnect")) {
        w->end = WIRE_CLOSE;
        return true;
    }
    if (raw.n > 0) {
        put_raw(w, raw);
        wire_step(w, milliseconds(r, "Delay-Ms"), 0);
        w->end = WIRE_CLOSE;
        if (strv_eq(raw_end, STRV("keep")))
            w->end = WIRE_KEEP;
        if (strv_eq(raw_end, STRV("reset")))
            w->end = WIRE_RESET;
        if (strv_eq(raw_end, STRV("cut")))
            w->end = WIRE_CUT;
        if (strv_eq(raw_end, STRV("stall")))
            w->end = WIRE_STALL;
        split_steps(w, r);
        return true;
    }
    w->whole = true;
    return false;
}

/* The common case: no mischief, one document, one write. */
static void make_plain(struct wire *w, const struct request *r, const struct reply *reply,
                       bool close)
{
    struct strv body = buf_view(&reply->body);
    enum body_frame frame = r->minor == 0 ? FRAME_CLOSE : FRAME_LENGTH;
    put_head(w, r, reply, frame, body.n, close);
    if (!strv_eq(r->method, STRV("HEAD")))
        put(&w->bytes, body);
    wire_step(w, 0, 0);
    w->end = close ? WIRE_CLOSE : WIRE_KEEP;
}

void wire_make(struct wire *w, const struct request *r, struct reply *reply, bool close)
{
    wire_clear(w);
    if (make_special(w, r))
        return;
    enum body_frame frame = frame_of(r, reply);
    close = close || frame == FRAME_CLOSE || strv_eq(sim_text(r, "Connection"), STRV("close"));
    if (!r->has_sim && !reply->stream) {
        make_plain(w, r, reply, close);
        return;
    }
    struct body b = {.n = 0};
    make_body(r, reply, &b);
    size_t length = b.bytes.n;
    if (sim_has(r, "Cut-After-Bytes"))
        cut_body(&b, sim_number(r, "Cut-After-Bytes", UINT64_MAX));
    if (strv_eq(sim_text(r, "Cut"), STRV("clean")) && b.n > 0)
        length = b.pieces[b.n - 1].end;
    put_informational(w, r);
    put_head(w, r, reply, frame, length, close);
    if (strv_eq(r->method, STRV("HEAD"))) {
        wire_step(w, milliseconds(r, "Delay-Ms"), 0);
    } else {
        if (steps_apart(r, reply))
            wire_step(w, milliseconds(r, "Delay-Ms"), 0);
        put_body(w, r, reply, &b, frame);
    }
    w->whole = !b.cut;
    w->end = b.cut ? cut_end(r) : close ? WIRE_CLOSE : WIRE_KEEP;
    if (sim_has(r, "Close-After"))
        w->end = WIRE_CLOSE; /* without having said so: a stale kept connection */
    w->stamped = sim_has(r, "Stamp");
    split_steps(w, r);
    buf_release(&b.made);
    free(b.pieces);
}
