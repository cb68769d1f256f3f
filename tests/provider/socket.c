/*
 * Frames and the handshake; what is said in them is speech.c's.
 */
#include "tests/provider/socket.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "tests/provider/socket_int.h"

enum {
    OP_TEXT = 1,
    OP_CLOSE = 8,
    OP_PING = 9,
    OP_PONG = 10,
    KEY_CHARS = 24,
};

/* ---- frames ------------------------------------------------------------------------------ */

static void put_frame(struct buf *out, int first, const char *p, size_t n)
{
    unsigned char head[10] = {(unsigned char)first};
    size_t bytes = 2;
    if (n < 126) {
        head[1] = (unsigned char)n;
    } else if (n < 65536) {
        head[1] = 126;
        head[2] = (unsigned char)(n >> 8);
        head[3] = (unsigned char)n;
        bytes = 4;
    } else {
        head[1] = 127;
        for (int i = 0; i < 8; i++)
            head[2 + i] = (unsigned char)((uint64_t)n >> (56 - 8 * i));
        bytes = 10;
    }
    ASSERT(buf_append(out, (const char *)head, bytes) == RC_OK);
    ASSERT(buf_append(out, p, n) == RC_OK);
}

/* A text message, in as many frames as the handshake asks for. */
static void put_text_frames(struct session *s, struct buf *out, const char *p, size_t n)
{
    uint64_t most = sim_number(s->request, "Frame-Bytes", 0);
    int opcode = sim_has(s->request, "Binary") ? 2 : OP_TEXT;
    if (most == 0 || n <= most) {
        put_frame(out, 0x80 | opcode, p, n);
        return;
    }
    for (size_t at = 0; at < n; at += most) {
        size_t part = n - at < most ? n - at : most;
        bool last = at + part == n;
        put_frame(out, (last ? 0x80 : 0) | (at == 0 ? opcode : 0), p + at, part);
        if (!last && sim_has(s->request, "Ping-Between"))
            put_frame(out, 0x80 | OP_PING, "between", 7);
    }
}

/* One frame at the start of in; false where it is not whole. */
static bool take_frame(struct session *s, struct buf *in, struct buf *out)
{
    struct strv bytes = buf_view(in);
    const unsigned char *p = (const unsigned char *)bytes.p;
    size_t head = 2;
    uint64_t n;
    if (bytes.n < 2)
        return false;
    n = p[1] & 127;
    size_t more = n == 126 ? 2 : n == 127 ? 8 : 0;
    if (bytes.n < head + more + 4)
        return false;
    if (more > 0)
        n = 0;
    for (size_t i = 0; i < more; i++)
        n = n << 8 | p[2 + i];
    head += more;
    if (!(p[1] & 128) || (p[0] & 0x70) || n > MESSAGE_MAX_BYTES) {
        books_bad_request("a frame without mask, or with a reserved bit");
        s->end = "cut";
        return false;
    }
    if (bytes.n < head + 4 + n)
        return false;
    struct strv mask = strv_make(bytes.p + head, 4);
    char *text = xmemdupz(bytes.p + head + 4, n);
    for (size_t i = 0; i < n; i++)
        text[i] = (char)(text[i] ^ mask.p[i % 4]);
    int opcode = p[0] & 15;
    bool final = (p[0] & 128) != 0;
    buf_consume(in, head + 4 + n);
    if (opcode == OP_PING) {
        put_frame(out, 0x80 | OP_PONG, text, n);
    } else if (opcode == OP_CLOSE) {
        books_received(s->number, STRV("close"));
        if (!s->close_sent)
            put_frame(out, 0x80 | OP_CLOSE, text, n);
        s->end = "close";
    } else if (opcode != OP_PONG) {
        ASSERT(buf_append(&s->message, text, n) == RC_OK);
        if (final) {
            speech_take(s);
            buf_clear(&s->message);
        }
    }
    free(text);
    return true;
}

bool socket_take(struct session *s, struct buf *in, struct buf *out)
{
    while (!s->end && take_frame(s, in, out))
        ;
    return s->end == NULL;
}

bool socket_next(struct session *s, struct buf *out, uint64_t *delay_ms)
{
    const struct request *r = s->request;
    if (s->end || s->at_queue == s->n_queue)
        return false;
    *delay_ms = s->sent_events > 0 ? sim_number(r, "Event-Delay-Ms", 0) : 0;
    struct waiting *w = &s->queue[s->at_queue++];
    put_text_frames(s, out, w->text, w->n);
    books_bill_output(w->bill, w->output);
    if (w->ends_bill)
        books_bill_end(w->bill, w->n, true);
    s->sent_events++;
    free(w->text);
    w->text = NULL;
    if (s->sent_events == sim_number(r, "Cut-After-Events", 0))
        s->end = "cut";
    if (s->sent_events == sim_number(r, "Close-After-Events", 0)) {
        put_frame(out, 0x80 | OP_CLOSE, "\x03\xf3gone", 6);
        s->close_sent = true;
    }
    return true;
}

const char *socket_end(const struct session *s)
{
    return s->end;
}

/* ---- the handshake ------------------------------------------------------------------------------ */

static bool find_speech(const struct request *r, enum speech *out)
{
    *out = RECORDED;
    if (sim_text(r, "Replay").n > 0)
        return true;
    *out = REALTIME;
    if (strv_ends(r->path, STRV("/realtime")))
        return true;
    *out = RESPONSES;
    if (strv_ends(r->path, STRV("/responses")))
        return true;
    *out = GOOGLE;
    return strv_ends(r->path, STRV("BidiGenerateContent"));
}

bool socket_is_asked(const struct settings *settings, const struct request *r)
{
    enum speech speech;
    return strv_eq_nocase(request_header(r, STRV("upgrade")), STRV("websocket")) &&
           strv_eq_nocase(request_header(r, STRV("connection")), STRV("upgrade")) &&
           request_header(r, STRV("sec-websocket-key")).n == KEY_CHARS &&
           strv_eq(request_header(r, STRV("sec-websocket-version")), STRV("13")) &&
           find_speech(r, &speech) && sim_number(r, "Status", 0) == 0 &&
           endpoint_lets_in(settings, r);
}

static void put_answer(struct request *r, struct buf *out)
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    char text[128], accept[64];
    unsigned int n = 0;
    struct strv key = request_header(r, STRV("sec-websocket-key"));
    struct strv chosen = sim_text(r, "Subprotocol");
    struct strv offered = request_header(r, STRV("sec-websocket-protocol"));
    if (chosen.n == 0 && strv_starts(offered, STRV("realtime")))
        chosen = STRV("realtime");
    int length = snprintf(text, sizeof(text), STRV_FMT "258EAFA5-E914-47DA-95CA-C5AB0DC85B11",
                          STRV_ARG(key));
    ASSERT(EVP_Digest(text, (size_t)length, sum, &n, EVP_sha1(), NULL) == 1);
    EVP_EncodeBlock((unsigned char *)accept, sum, (int)n);
    if (sim_has(r, "Bad-Accept"))
        accept[0] = accept[0] == 'A' ? 'B' : 'A';
    ASSERT(buf_printf(out,
                      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
                      "Upgrade\r\nSec-WebSocket-Accept: %s\r\nx-request-id: req_ws\r\n",
                      accept) == RC_OK);
    if (chosen.n > 0)
        ASSERT(buf_printf(out, "Sec-WebSocket-Protocol: " STRV_FMT "\r\n", STRV_ARG(chosen)) ==
               RC_OK);
    if (sim_has(r, "Extension"))
        ASSERT(buf_printf(out, "Sec-WebSocket-Extensions: permessage-deflate\r\n") == RC_OK);
    ASSERT(buf_append(out, "\r\n", 2) == RC_OK);
}

/* Bytes in hexadecimal that are sent after the handshake, whatever they mean. */
static void put_raw(const struct request *r, struct buf *out)
{
    struct strv hex = sim_text(r, "Raw-Frames");
    for (size_t i = 0; i + 1 < hex.n; i += 2) {
        char pair[3] = {hex.p[i], hex.p[i + 1], 0};
        char byte = (char)strtoul(pair, NULL, 16);
        ASSERT(buf_append(out, &byte, 1) == RC_OK);
    }
}

struct session *socket_open(const struct settings *settings, struct request *r, uint64_t number,
                            struct buf *out)
{
    struct session *s = xcalloc(1, sizeof(*s));
    s->settings = settings;
    s->request = r;
    s->number = number;
    (void)find_speech(r, &s->speech);
    buf_init(&s->message, MESSAGE_MAX_BYTES);
    reply_init(&s->recording);
    put_answer(r, out);
    put_raw(r, out);
    speech_begin(s);
    return s;
}

void socket_free(struct session *s)
{
    if (!s)
        return;
    while (s->at_queue < s->n_queue) {
        struct waiting *w = &s->queue[s->at_queue++];
        if (w->ends_bill)
            books_bill_end(w->bill, 0, false);
        free(w->text);
    }
    free(s->queue);
    buf_release(&s->message);
    reply_free(&s->recording);
    free(s);
}
