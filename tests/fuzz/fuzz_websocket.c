/*
 * fuzz_websocket.c - frames and handshakes of WebSockets.
 *
 * Holds for frames: the pieces are those of a plain reader that has all bytes at once, however
 * they are split; no message is larger than its maximum, no control frame than 125 bytes; what
 * was read, written as frames of ours, reads the same; a mask taken off twice is on again.
 * For handshakes: what is offered upstream was offered by the client and is no credential; an
 * answer that is taken answers our key and chooses what was offered.
 *
 * The input's first byte chooses: a client's frames, a server's, or a handshake.  The second
 * one is the size of pieces, the third the maximum of a message.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/xalloc.h"
#include "proxy/auth.h"
#include "proxy/ws_frame.h"
#include "proxy/ws_handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { LOG_MAX_BYTES = 1 << 20, INPUT_MAX_BYTES = 8192, ARENA_BYTES = 64 << 10 };

/* What was found: messages joined, so that neither frames' pieces nor splits show. */
struct found {
    struct buf log;
    enum ws_fault fault;
    bool between_frames, between_messages;
};

static void put(struct buf *log, const void *p, size_t n)
{
    ASSERT(buf_append(log, p, n) == RC_OK);
}

static void put_mark(struct buf *log, char what, unsigned opcode)
{
    char mark[2] = {what, (char)opcode};

    put(log, mark, sizeof(mark));
}

/* ---- the plain reader ------------------------------------------------------------------ */

/* One code point of UTF-8, by its definition; 0: none. */
static size_t plain_utf8(const unsigned char *p, size_t n)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc0 ? 2 : 0;
    uint32_t code = p[0];

    if (length == 0 || length > n || p[0] > 0xf7)
        return 0;
    if (length == 1)
        return 1;
    code &= 0xffu >> (length + 1);
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3fu);
    }
    return code < least[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0
                                                                                          : length;
}

static bool plain_close_is_good(const unsigned char *p, size_t n)
{
    unsigned code;

    if (n == 0)
        return true;
    if (n == 1)
        return false;
    code = (unsigned)p[0] << 8 | p[1];
    if (!((code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
          (code >= 3000 && code <= 4999)))
        return false;
    for (size_t at = 2; at < n;) {
        size_t length = plain_utf8(p + at, n - at);

        if (length == 0)
            return false;
        at += length;
    }
    return true;
}

struct plain_head {
    bool final, masked, control;
    unsigned opcode;
    uint64_t length;
    size_t bytes; /* of the head; 0: not whole */
    const unsigned char *mask;
};

static enum ws_fault plain_head(const unsigned char *p, size_t n, bool client, bool in_message,
                                struct plain_head *h)
{
    size_t extra;

    *h = (struct plain_head){.bytes = 0};
    if (n < 2)
        return WS_OK;
    h->final = p[0] & 0x80;
    h->opcode = p[0] & 15;
    h->masked = p[1] & 0x80;
    h->control = h->opcode >= 8;
    h->length = p[1] & 0x7f;
    if (p[0] & 0x70)
        return WS_BAD_RESERVED;
    if (h->opcode != 0 && h->opcode != 1 && h->opcode != 2 && h->opcode != 8 && h->opcode != 9 &&
        h->opcode != 10)
        return WS_BAD_OPCODE;
    if (h->masked != client)
        return WS_BAD_MASK;
    if (h->control && (!h->final || h->length > 125))
        return WS_BAD_CONTROL;
    if (!h->control && (h->opcode == 0) != in_message)
        return WS_BAD_ORDER;
    extra = h->length == 126 ? 2 : h->length == 127 ? 8 : 0;
    if (n < 2 + extra + (client ? 4 : 0))
        return WS_OK;
    if (extra > 0) {
        h->length = 0;
        for (size_t i = 0; i < extra; i++)
            h->length = h->length << 8 | p[2 + i];
        if (h->length < 126 || (extra == 8 && h->length < 65536) || h->length >> 63)
            return WS_BAD_LENGTH;
    }
    h->bytes = 2 + extra + (client ? 4 : 0);
    h->mask = p + 2 + extra;
    return WS_OK;
}

static void plain_payload(const struct plain_head *h, const unsigned char *p, size_t n,
                          struct buf *log)
{
    for (size_t i = 0; i < n; i++) {
        char c = (char)(h->masked ? p[i] ^ h->mask[i % 4] : p[i]);

        put(log, &c, 1);
    }
}

static void read_plainly(const unsigned char *p, size_t n, bool client, uint64_t max,
                         struct found *out)
{
    bool in_message = false;
    uint64_t message = 0;
    unsigned opcode = 0;

    *out = (struct found){.between_frames = true};
    buf_init(&out->log, LOG_MAX_BYTES);
    while (n > 0) {
        struct plain_head h;
        size_t here, log_n = buf_len(&out->log);

        out->fault = plain_head(p, n, client, in_message, &h);
        if (out->fault != WS_OK || h.bytes == 0)
            break;
        p += h.bytes;
        n -= h.bytes;
        here = h.length < n ? (size_t)h.length : n;
        if (h.control) {
            if (here < h.length)
                break;
            put_mark(&out->log, 'c', h.opcode);
            plain_payload(&h, p, here, &out->log);
            if (h.opcode == 8 &&
                !plain_close_is_good((const unsigned char *)buf_view(&out->log).p + log_n + 2,
                                     here)) {
                out->log.tail = out->log.head + log_n;
                out->fault = WS_BAD_CLOSE;
                break;
            }
        } else {
            opcode = h.opcode ? h.opcode : opcode;
            message = h.opcode ? 0 : message;
            if (h.length > max || message > max - h.length) {
                out->fault = WS_TOO_LARGE;
                break;
            }
            message += h.length;
            if (h.opcode)
                put_mark(&out->log, 'm', opcode);
            plain_payload(&h, p, here, &out->log);
            out->between_frames = here == h.length;
            in_message = !out->between_frames || !h.final;
            if (here == h.length && h.final)
                put_mark(&out->log, 'e', opcode);
        }
        p += here;
        n -= here;
    }
    out->between_frames = out->between_frames || out->fault != WS_OK;
    out->between_messages = out->between_frames && !in_message;
}

/* ---- the reader, in pieces --------------------------------------------------------------- */

static void note(struct found *out, enum ws_found found, const struct ws_piece *piece,
                 uint64_t *message, uint64_t max)
{
    switch (found) {
    case WS_FRAME:
        ASSERT(piece->bytes.n >= 2 && piece->bytes.n <= WS_HEAD_MAX_BYTES);
        if (!piece->begins_message)
            break;
        *message = 0;
        put_mark(&out->log, 'm', piece->opcode);
        break;
    case WS_DATA:
        put(&out->log, piece->bytes.p, piece->bytes.n);
        *message += piece->bytes.n;
        ASSERT(*message <= max && (!piece->ends_message || piece->ends_frame));
        if (piece->ends_message)
            put_mark(&out->log, 'e', piece->opcode);
        break;
    case WS_CONTROL:
        ASSERT(piece->bytes.n <= WS_CONTROL_MAX_BYTES);
        put_mark(&out->log, 'c', piece->opcode);
        put(&out->log, piece->bytes.p, piece->bytes.n);
        break;
    case WS_MORE:
    case WS_FAULTY:
        break;
    }
}

/* first: the length of the first piece; 0: like the others. */
static void read_in_pieces(struct strv bytes, size_t first, size_t step, bool client,
                           uint64_t max, struct found *out)
{
    struct ws_reader r;
    enum ws_found found = WS_MORE;
    uint64_t message = 0;

    *out = (struct found){.fault = WS_OK};
    buf_init(&out->log, LOG_MAX_BYTES);
    ws_reader_init(&r, client, max);
    for (size_t at = 0, n; at < bytes.n && found != WS_FAULTY; at += n) {
        char *copy, *p;
        size_t left;

        n = at == 0 && first > 0 ? first : step;
        n = left = n < bytes.n - at ? n : bytes.n - at;
        copy = p = xmalloc(n); /* a block of its own: reads past it are seen */
        memcpy(copy, bytes.p + at, n);
        do {
            struct ws_piece piece = {.ends_frame = false};

            found = ws_read(&r, &p, &left, &piece);
            note(out, found, &piece, &message, max);
        } while (found != WS_MORE && found != WS_FAULTY);
        ASSERT(found == WS_FAULTY || left == 0);
        free(copy);
    }
    ASSERT((found == WS_FAULTY) == (r.fault != WS_OK));
    out->fault = r.fault;
    out->between_frames = ws_is_between_frames(&r);
    out->between_messages = ws_is_between_messages(&r);
}

static void check_same(const struct found *a, const struct found *b)
{
    ASSERT(a->fault == b->fault && strv_eq(buf_view(&a->log), buf_view(&b->log)));
    ASSERT(a->fault != WS_OK || (a->between_frames == b->between_frames &&
                                 a->between_messages == b->between_messages));
}

/* The payload as one frame of ours: read, it is the same message. */
static void check_written(struct strv payload, enum ws_opcode opcode, bool masked)
{
    static const unsigned char mask[WS_MASK_BYTES] = {0x37, 0xfa, 0x21, 0x3d};
    struct found read;
    struct buf frame, twice;
    char head[WS_HEAD_MAX_BYTES];
    size_t n = ws_head(opcode, payload.n, masked ? mask : NULL, head);

    buf_init(&frame, LOG_MAX_BYTES);
    buf_init(&twice, LOG_MAX_BYTES);
    ASSERT(n <= WS_HEAD_MAX_BYTES);
    put(&frame, head, n);
    put(&frame, payload.p, payload.n);
    if (masked)
        ws_mask(frame.data + frame.head + n, payload.n, mask, 0);
    read_in_pieces(buf_view(&frame), 0, buf_len(&frame), masked, payload.n, &read);
    ASSERT(read.fault == WS_OK && read.between_messages);
    put(&twice, buf_view(&read.log).p, buf_len(&read.log));
    ASSERT(buf_len(&twice) == payload.n + 4 &&
           strv_eq(strv_head(strv_skip(buf_view(&twice), 2), payload.n), payload));
    /* Taken off in two parts, each from its own place in the mask. */
    for (unsigned at = 0; at < 6 && at <= payload.n; at++) {
        buf_clear(&twice);
        put(&twice, payload.p, payload.n);
        ws_mask(twice.data, at, mask, 0);
        ws_mask(twice.data + at, payload.n - at, mask, at % WS_MASK_BYTES);
        ws_mask(twice.data, payload.n, mask, 0);
        ASSERT(strv_eq(buf_view(&twice), payload));
    }
    buf_release(&read.log);
    buf_release(&frame);
    buf_release(&twice);
}

static void check_frames(struct strv bytes, bool client, size_t step, uint64_t max)
{
    struct found plain, pieces;

    read_plainly((const unsigned char *)bytes.p, bytes.n, client, max, &plain);
    read_in_pieces(bytes, 0, bytes.n, client, max, &pieces);
    check_same(&plain, &pieces);
    buf_release(&pieces.log);
    for (size_t first = 1; first <= bytes.n && first <= 160; first++) {
        read_in_pieces(bytes, first, bytes.n, client, max, &pieces);
        check_same(&plain, &pieces);
        buf_release(&pieces.log);
    }
    read_in_pieces(bytes, 0, 1, client, max, &pieces);
    check_same(&plain, &pieces);
    buf_release(&pieces.log);
    read_in_pieces(bytes, 0, step, client, max, &pieces);
    check_same(&plain, &pieces);
    buf_release(&pieces.log);
    buf_release(&plain.log);
    check_written(bytes, WS_TEXT, client);
    check_written(strv_head(bytes, WS_CONTROL_MAX_BYTES + 1), WS_BINARY, client);
}

/* ---- handshakes ----------------------------------------------------------------------------- */

static void check_offer(const struct http1_head *head, enum credentials credentials,
                        struct arena *arena, struct strv *offered)
{
    struct strv rest, part;
    size_t n = 0;

    if (ws_offer(head, credentials, arena, offered) != RC_OK) {
        ASSERT(offered->n == 0);
        return;
    }
    rest = *offered;
    while (offered->n > 0 && strv_split(&rest, ',', &part)) {
        part = strv_trim(part);
        ASSERT(part.n > 0 && ++n <= WS_SUBPROTOCOLS_MAX);
        ASSERT(!auth_subprotocol_stays(part, credentials));
        for (size_t i = 0; i < part.n; i++)
            ASSERT(part.p[i] > ' ' && part.p[i] < 127 && part.p[i] != '"');
    }
}

/* Request and response, divided by an empty line. */
static void check_handshake(struct strv bytes)
{
    struct http1_header asked[HTTP1_HEADERS_MAX], told[HTTP1_HEADERS_MAX];
    struct http1_head request = {.headers = asked}, response = {.headers = told};
    struct strv offered = STRV_NONE, chosen;
    char accept[WS_ACCEPT_TEXT], key[WS_KEY_TEXT];
    struct arena arena;
    const char *fault;

    if (http1_parse_request(bytes, bytes.n, HTTP1_HEADERS_MAX, &request) != PARSE_DONE)
        return;
    ws_accept_make(STRV("dGhlIHNhbXBsZSBub25jZQ=="), accept);
    ASSERT(strcmp(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") == 0); /* RFC 6455 section 1.3 */
    arena_init(&arena, ARENA_BYTES);
    if (ws_is_upgrade(&request) && !ws_request_fault(&request)) {
        struct strv its = strv_trim(http1_value(&request, STRV("sec-websocket-key")));

        ASSERT(its.n == WS_KEY_TEXT - 1);
        ws_accept_make(its, key);
    }
    check_offer(&request, CREDENTIALS_CLIENT, &arena, &offered);
    check_offer(&request, CREDENTIALS_PROXY, &arena, &offered);
    bytes = strv_skip(bytes, request.bytes);
    if (http1_parse_response(bytes, bytes.n, HTTP1_HEADERS_MAX, &response) == PARSE_DONE) {
        fault = ws_response_fault(&response, accept, offered, &chosen);
        ASSERT(!fault || chosen.n == 0);
        if (!fault) {
            ASSERT(strv_eq(strv_trim(http1_value(&response, STRV("sec-websocket-accept"))),
                           strv_z(accept)));
            ASSERT(chosen.n == 0 ||
                   memmem(offered.p, offered.n, chosen.p, chosen.n) != NULL);
        }
    }
    arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct strv input;
    uint64_t max;

    if (n < 4 || n > INPUT_MAX_BYTES)
        return 0;
    input = strv_make((const char *)bytes + 3, n - 3);
    max = bytes[2] < 200 ? bytes[2] : bytes[2] < 250 ? 65536 : INT64_MAX;
    if (bytes[0] % 4 == 3)
        check_handshake(input);
    else
        check_frames(input, bytes[0] & 1, 1u + bytes[1] % 24, max);
    return 0;
}
