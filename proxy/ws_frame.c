#include "proxy/ws_frame.h"

#include <string.h>

#include "base/check.h"
#include "base/utf8.h"

enum {
    BIT_FINAL = 0x80,
    BITS_RESERVED = 0x70,
    BITS_OPCODE = 0x0f,
    BIT_MASK = 0x80,
    BITS_LENGTH = 0x7f,
    LENGTH_16 = 126, /* the length is in the next two bytes */
    LENGTH_64 = 127, /* or eight */
};

const char *ws_fault_text(enum ws_fault fault)
{
    static const char *const texts[] = {
#define WS_FAULT_TEXT(id, text) [id] = text,
        WS_FAULTS(WS_FAULT_TEXT)
#undef WS_FAULT_TEXT
    };

    return texts[fault];
}

void ws_reader_init(struct ws_reader *r, bool from_client, uint64_t message_max)
{
    memset(r, 0, sizeof(*r));
    r->masked = from_client;
    r->message_max = message_max;
}

static bool is_control(enum ws_opcode opcode)
{
    return ((unsigned)opcode & 8) != 0;
}

bool ws_is_between_frames(const struct ws_reader *r)
{
    return !r->in_payload || is_control(r->opcode) || r->fault != WS_OK;
}

bool ws_is_between_messages(const struct ws_reader *r)
{
    return ws_is_between_frames(r) && !r->in_message;
}

/* How long the head is, as far as its second byte tells. */
static size_t head_length(const char *head)
{
    unsigned second = (unsigned char)head[1];
    size_t n = 2;

    if ((second & BITS_LENGTH) == LENGTH_16)
        n += 2;
    if ((second & BITS_LENGTH) == LENGTH_64)
        n += 8;
    return n + (second & BIT_MASK ? WS_MASK_BYTES : 0);
}

/* What the first two bytes alone tell. */
static enum ws_fault check_start(const struct ws_reader *r)
{
    unsigned first = (unsigned char)r->head[0], second = (unsigned char)r->head[1];
    unsigned opcode = first & BITS_OPCODE;

    if (first & BITS_RESERVED)
        return WS_BAD_RESERVED;
    if ((opcode > WS_BINARY && opcode < WS_CLOSE) || opcode > WS_PONG)
        return WS_BAD_OPCODE;
    if (((second & BIT_MASK) != 0) != r->masked)
        return WS_BAD_MASK;
    if (opcode & 8)
        return (first & BIT_FINAL) && (second & BITS_LENGTH) <= WS_CONTROL_MAX_BYTES
                   ? WS_OK
                   : WS_BAD_CONTROL;
    return (opcode == WS_CONTINUATION) == r->in_message ? WS_OK : WS_BAD_ORDER;
}

static enum ws_fault read_length(const char *head, uint64_t *length)
{
    unsigned second = (unsigned char)head[1] & BITS_LENGTH;
    size_t n = second == LENGTH_16 ? 2 : second == LENGTH_64 ? 8 : 0;

    *length = n == 0 ? second : 0;
    for (size_t i = 0; i < n; i++)
        *length = *length << 8 | (unsigned char)head[2 + i];
    if ((n == 2 && *length < LENGTH_16) || (n == 8 && *length <= UINT16_MAX) ||
        *length > INT64_MAX)
        return WS_BAD_LENGTH;
    return WS_OK;
}

/* The head is here whole. */
static enum ws_fault begin_frame(struct ws_reader *r)
{
    unsigned first = (unsigned char)r->head[0];
    enum ws_fault fault = read_length(r->head, &r->left);

    if (fault != WS_OK)
        return fault;
    r->opcode = (enum ws_opcode)(first & BITS_OPCODE);
    r->final = (first & BIT_FINAL) != 0;
    r->at = 0;
    if (r->masked)
        memcpy(r->mask, r->head + r->head_n - WS_MASK_BYTES, WS_MASK_BYTES);
    r->in_payload = true;
    r->control_n = 0;
    if (is_control(r->opcode))
        return WS_OK;
    if (r->opcode != WS_CONTINUATION) {
        r->message_opcode = r->opcode;
        r->message = 0;
    }
    if (r->left > r->message_max || r->message > r->message_max - r->left)
        return WS_TOO_LARGE;
    r->message += r->left;
    return WS_OK;
}

/* Takes bytes of the head; false where more are needed. */
static bool take_head(struct ws_reader *r, char **bytes, size_t *n)
{
    while (*n > 0) {
        size_t want = r->head_n < 2 ? 2 : head_length(r->head);
        size_t take = want - r->head_n < *n ? want - r->head_n : *n;

        memcpy(r->head + r->head_n, *bytes, take);
        r->head_n += take;
        *bytes += take;
        *n -= take;
        if (r->head_n < want)
            return false;
        if (want == 2) {
            r->fault = check_start(r);
            if (r->fault != WS_OK)
                return true;
        }
        if (r->head_n == head_length(r->head)) {
            r->fault = begin_frame(r);
            return true;
        }
    }
    return false;
}

static void unmask(struct ws_reader *r, char *p, size_t n)
{
    if (r->masked)
        ws_mask(p, n, r->mask, r->at);
    r->at = (r->at + (unsigned)(n % WS_MASK_BYTES)) % WS_MASK_BYTES;
}

static enum ws_found end_control(struct ws_reader *r, struct ws_piece *piece)
{
    unsigned code;

    r->in_payload = false;
    r->head_n = 0;
    *piece = (struct ws_piece){.opcode = r->opcode, .bytes = strv_make(r->control, r->control_n)};
    if (r->opcode == WS_CLOSE && !ws_close_code(piece->bytes, &code)) {
        r->fault = WS_BAD_CLOSE;
        return WS_FAULTY;
    }
    return WS_CONTROL;
}

static enum ws_found read_payload(struct ws_reader *r, char **bytes, size_t *n,
                                  struct ws_piece *piece)
{
    size_t take = r->left < *n ? (size_t)r->left : *n;

    unmask(r, *bytes, take);
    r->left -= take;
    if (is_control(r->opcode)) {
        if (take > 0)
            memcpy(r->control + r->control_n, *bytes, take);
        r->control_n += take;
        *bytes += take;
        *n -= take;
        return r->left == 0 ? end_control(r, piece) : WS_MORE;
    }
    if (take == 0 && r->left > 0)
        return WS_MORE;
    *piece = (struct ws_piece){.opcode = r->message_opcode,
                               .bytes = strv_make(*bytes, take),
                               .ends_frame = r->left == 0,
                               .ends_message = r->left == 0 && r->final};
    *bytes += take;
    *n -= take;
    if (r->left == 0) {
        r->in_payload = false;
        r->in_message = !r->final;
        r->head_n = 0;
    }
    return WS_DATA;
}

enum ws_found ws_read(struct ws_reader *r, char **bytes, size_t *n, struct ws_piece *piece)
{
    if (r->fault != WS_OK)
        return WS_FAULTY;
    if (r->in_payload)
        return read_payload(r, bytes, n, piece);
    if (!take_head(r, bytes, n))
        return WS_MORE;
    if (r->fault != WS_OK)
        return WS_FAULTY;
    if (is_control(r->opcode))
        return read_payload(r, bytes, n, piece);
    *piece = (struct ws_piece){.opcode = r->message_opcode,
                               .bytes = strv_make(r->head, r->head_n),
                               .begins_message = r->opcode != WS_CONTINUATION};
    return WS_FRAME;
}

bool ws_close_code(struct strv payload, unsigned *code)
{
    *code = 0;
    if (payload.n == 0)
        return true;
    if (payload.n == 1)
        return false;
    *code = (unsigned)(unsigned char)payload.p[0] << 8 | (unsigned char)payload.p[1];
    if (*code < 1000 || (*code >= 1004 && *code <= 1006) || (*code >= 1015 && *code < 3000) ||
        *code > 4999)
        return false;
    return utf8_is_text(strv_skip(payload, 2));
}

size_t ws_head(enum ws_opcode opcode, uint64_t n, const unsigned char mask[WS_MASK_BYTES],
               char out[WS_HEAD_MAX_BYTES])
{
    size_t bytes = n < LENGTH_16 ? 0 : n <= UINT16_MAX ? 2 : 8;
    unsigned second = bytes == 0 ? (unsigned)n : bytes == 2 ? LENGTH_16 : LENGTH_64;

    ASSERT(n <= INT64_MAX);
    out[0] = (char)(BIT_FINAL | (unsigned)opcode);
    out[1] = (char)(second | (mask ? BIT_MASK : 0));
    for (size_t i = 0; i < bytes; i++)
        out[2 + i] = (char)(n >> (8 * (bytes - 1 - i)) & 0xff);
    bytes += 2;
    if (mask) {
        memcpy(out + bytes, mask, WS_MASK_BYTES);
        bytes += WS_MASK_BYTES;
    }
    return bytes;
}

void ws_mask(char *p, size_t n, const unsigned char mask[WS_MASK_BYTES], unsigned at)
{
    unsigned char turned[8];
    uint64_t word, wide;
    size_t i = 0;

    for (unsigned k = 0; k < sizeof(turned); k++)
        turned[k] = mask[(at + k) % WS_MASK_BYTES];
    memcpy(&wide, turned, sizeof(wide));
    for (; i + sizeof(word) <= n; i += sizeof(word)) {
        memcpy(&word, p + i, sizeof(word));
        word ^= wide;
        memcpy(p + i, &word, sizeof(word));
    }
    for (; i < n; i++)
        p[i] = (char)((unsigned char)p[i] ^ turned[i % sizeof(turned)]);
}
