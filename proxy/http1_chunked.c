/*
 * http1_chunked.c - the chunked coding (RFC 9112 section 7.1), read and written.
 *
 * Reads byte by byte outside of chunk data and a run at a time inside; everything it
 * remembers is struct http1_chunked.  A gateway writes chunks anew, so extensions and
 * trailers end here; they are checked all the same, since what is malformed is a
 * sign that two readers of the body do not agree.
 */
#include "proxy/http1.h"

#include "proxy/http1_chars.h"

enum chunk_state {
    CHUNK_SIZE_FIRST = 0, /* at least one digit must come */
    CHUNK_SIZE,
    CHUNK_EXTENSION_FIRST, /* behind ';': its name must come */
    CHUNK_EXTENSION,
    CHUNK_EXTENSION_NAMED, /* blanks behind its name */
    CHUNK_EXTENSION_IS,    /* behind '=': its value must come */
    CHUNK_EXTENSION_VALUE,
    CHUNK_EXTENSION_QUOTED,
    CHUNK_EXTENSION_ESCAPED,
    CHUNK_EXTENSION_OVER, /* behind a quoted value, or blanks behind one */
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILER_FIRST, /* a trailer, or the empty line */
    CHUNK_TRAILER_NAME,
    CHUNK_TRAILER_VALUE,
    CHUNK_TRAILER_LF,
    CHUNK_END_LF,
    CHUNK_ENDED,
    CHUNK_BROKEN,
};

/* Fields that may not be trailers (RFC 9110 6.5.1) because a reader that merges them is led
 * astray. */
static const struct strv forbidden[] = {
    {"content-length", 14}, {"transfer-encoding", 17}, {"host", 4},
    {"connection", 10},     {"content-encoding", 16},  {"authorization", 13},
};
enum {
    FORBIDDEN = sizeof(forbidden) / sizeof(forbidden[0]),
    FORBIDDEN_ALL = (1 << FORBIDDEN) - 1
};

/* Strikes out the forbidden names that do not have c at that place. */
static uint32_t still_forbidden(uint32_t names, size_t at, char c)
{
    for (size_t i = 0; i < FORBIDDEN; i++) {
        if (at >= forbidden[i].n ||
            !strv_eq_nocase(strv_make(forbidden[i].p + at, 1), strv_make(&c, 1)))
            names &= ~(UINT32_C(1) << i);
    }
    return names;
}

/* True where the name of that length is one of those that are left. */
static bool is_forbidden(uint32_t names, size_t n)
{
    for (size_t i = 0; i < FORBIDDEN; i++) {
        if ((names >> i & 1) != 0 && forbidden[i].n == n)
            return true;
    }
    return false;
}

static int broken(struct http1_chunked *c, enum http1_fault fault)
{
    c->fault = fault;
    return CHUNK_BROKEN;
}

static int after_size_line(const struct http1_chunked *c)
{
    return c->left > 0 ? CHUNK_DATA : CHUNK_TRAILER_FIRST;
}

/* A byte of the size line. */
static int on_size(struct http1_chunked *c, char byte)
{
    int digit = http1_hex(byte);

    if (digit >= 0) {
        if (c->left > (uint64_t)INT64_MAX >> 4)
            return broken(c, HTTP1_BAD_CHUNK);
        c->left = c->left << 4 | (uint64_t)digit;
        return CHUNK_SIZE;
    }
    if (c->state == CHUNK_SIZE && byte == '\r')
        return CHUNK_SIZE_LF;
    if (c->state == CHUNK_SIZE && byte == ';')
        return CHUNK_EXTENSION_FIRST;
    return broken(c, HTTP1_BAD_CHUNK);
}

/* Behind a name or value: the next extension, blanks, which another ';' or, behind a name, '=' must
 * follow, or the end. */
static int after_extension(struct http1_chunked *c, char byte, bool is_name)
{
    bool blanks = c->state == CHUNK_EXTENSION_NAMED || c->state == CHUNK_EXTENSION_OVER;

    if (byte == ';')
        return CHUNK_EXTENSION_FIRST;
    if (byte == '=' && is_name)
        return CHUNK_EXTENSION_IS;
    if (byte == ' ' || byte == '\t')
        return is_name ? CHUNK_EXTENSION_NAMED : CHUNK_EXTENSION_OVER;
    if (byte == '\r' && (!blanks || !is_name))
        return CHUNK_SIZE_LF;
    return broken(c, HTTP1_BAD_CHUNK);
}

/* RFC 9112 7.1.1, to the letter: who reads quotes otherwise sees another end of the line. */
static int on_extension(struct http1_chunked *c, char byte)
{
    bool is_blank = byte == ' ' || byte == '\t';

    switch (c->state) {
    case CHUNK_EXTENSION_FIRST:
        if (is_blank)
            return CHUNK_EXTENSION_FIRST;
        return http1_is_token(byte) ? CHUNK_EXTENSION : broken(c, HTTP1_BAD_CHUNK);
    case CHUNK_EXTENSION_IS:
        if (is_blank)
            return CHUNK_EXTENSION_IS;
        if (byte == '"')
            return CHUNK_EXTENSION_QUOTED;
        return http1_is_token(byte) ? CHUNK_EXTENSION_VALUE : broken(c, HTTP1_BAD_CHUNK);
    case CHUNK_EXTENSION_QUOTED:
        if (byte == '"')
            return CHUNK_EXTENSION_OVER;
        if (byte == '\\')
            return CHUNK_EXTENSION_ESCAPED;
        return http1_is_value(byte) ? CHUNK_EXTENSION_QUOTED : broken(c, HTTP1_BAD_CHUNK);
    case CHUNK_EXTENSION_ESCAPED:
        return http1_is_value(byte) ? CHUNK_EXTENSION_QUOTED : broken(c, HTTP1_BAD_CHUNK);
    case CHUNK_EXTENSION:
        return http1_is_token(byte) ? CHUNK_EXTENSION : after_extension(c, byte, true);
    case CHUNK_EXTENSION_VALUE:
        return http1_is_token(byte) ? CHUNK_EXTENSION_VALUE : after_extension(c, byte, false);
    case CHUNK_EXTENSION_NAMED:
        return after_extension(c, byte, true);
    default:
        return after_extension(c, byte, false);
    }
}

static int on_trailer(struct http1_chunked *c, char byte)
{
    if (c->state == CHUNK_TRAILER_FIRST) {
        if (byte == '\r')
            return CHUNK_END_LF;
        c->line = 1;
        c->names = still_forbidden(FORBIDDEN_ALL, 0, byte);
        return http1_is_token(byte) ? CHUNK_TRAILER_NAME : broken(c, HTTP1_BAD_TRAILER);
    }
    if (c->state == CHUNK_TRAILER_NAME) {
        if (byte == ':' && !is_forbidden(c->names, c->line))
            return CHUNK_TRAILER_VALUE;
        if (!http1_is_token(byte))
            return broken(c, HTTP1_BAD_TRAILER);
        c->names = still_forbidden(c->names, c->line, byte);
        c->line++;
        return CHUNK_TRAILER_NAME;
    }
    if (byte == '\r')
        return CHUNK_TRAILER_LF;
    return http1_is_value(byte) ? CHUNK_TRAILER_VALUE : broken(c, HTTP1_BAD_TRAILER);
}

static int on_byte(struct http1_chunked *c, char byte)
{
    enum chunk_state state = (enum chunk_state)c->state;

    switch (state) {
    case CHUNK_SIZE_FIRST:
    case CHUNK_SIZE:
        return on_size(c, byte);
    case CHUNK_EXTENSION_FIRST:
    case CHUNK_EXTENSION:
    case CHUNK_EXTENSION_NAMED:
    case CHUNK_EXTENSION_IS:
    case CHUNK_EXTENSION_VALUE:
    case CHUNK_EXTENSION_QUOTED:
    case CHUNK_EXTENSION_ESCAPED:
    case CHUNK_EXTENSION_OVER:
        return on_extension(c, byte);
    case CHUNK_SIZE_LF:
        return byte == '\n' ? after_size_line(c) : broken(c, HTTP1_BAD_CHUNK);
    case CHUNK_DATA_CR:
        return byte == '\r' ? CHUNK_DATA_LF : broken(c, HTTP1_BAD_CHUNK);
    case CHUNK_DATA_LF:
        c->line = 0;
        return byte == '\n' ? CHUNK_SIZE_FIRST : broken(c, HTTP1_BAD_CHUNK);
    case CHUNK_TRAILER_FIRST:
    case CHUNK_TRAILER_NAME:
    case CHUNK_TRAILER_VALUE:
        return on_trailer(c, byte);
    case CHUNK_TRAILER_LF:
        return byte == '\n' ? CHUNK_TRAILER_FIRST : broken(c, HTTP1_BAD_TRAILER);
    case CHUNK_END_LF:
        return byte == '\n' ? CHUNK_ENDED : broken(c, HTTP1_BAD_TRAILER);
    case CHUNK_DATA:
    case CHUNK_ENDED:
    case CHUNK_BROKEN:
        break;
    }
    return c->state;
}

/* Counts the byte against the maxima of its line, of all that size lines say beside sizes, or of all trailers. */
static bool fits(struct http1_chunked *c)
{
    switch ((enum chunk_state)c->state) {
    case CHUNK_SIZE_FIRST:
    case CHUNK_SIZE:
    case CHUNK_SIZE_LF:
        if (c->line++ < CHUNK_DIGITS + 2 ||
            (c->line <= CHUNK_LINE_MAX_BYTES && c->idle++ < CHUNK_IDLE_MAX_BYTES))
            return true;
        c->fault = HTTP1_BAD_CHUNK;
        return false;
    case CHUNK_EXTENSION_FIRST:
    case CHUNK_EXTENSION:
    case CHUNK_EXTENSION_NAMED:
    case CHUNK_EXTENSION_IS:
    case CHUNK_EXTENSION_VALUE:
    case CHUNK_EXTENSION_QUOTED:
    case CHUNK_EXTENSION_ESCAPED:
    case CHUNK_EXTENSION_OVER:
        if (c->line++ < CHUNK_LINE_MAX_BYTES && c->idle++ < CHUNK_IDLE_MAX_BYTES)
            return true;
        c->fault = HTTP1_BAD_CHUNK;
        return false;
    case CHUNK_TRAILER_FIRST:
    case CHUNK_TRAILER_NAME:
    case CHUNK_TRAILER_VALUE:
    case CHUNK_TRAILER_LF:
    case CHUNK_END_LF:
        if (c->trailer++ < CHUNK_TRAILER_MAX_BYTES)
            return true;
        c->fault = HTTP1_BAD_TRAILER;
        return false;
    case CHUNK_DATA:
    case CHUNK_DATA_CR:
    case CHUNK_DATA_LF:
    case CHUNK_ENDED:
    case CHUNK_BROKEN:
        break;
    }
    return true;
}

enum parse_status http1_chunked_read(struct http1_chunked *c, struct strv bytes, size_t *used,
                                     struct strv *data)
{
    size_t at = 0;

    *data = STRV_NONE;
    while (at < bytes.n && c->state != CHUNK_ENDED && c->state != CHUNK_BROKEN) {
        if (c->state == CHUNK_DATA) {
            if (data->n > 0)
                break;
            *data = strv_head(strv_skip(bytes, at),
                              c->left < bytes.n - at ? (size_t)c->left : bytes.n - at);
            c->left -= data->n;
            at += data->n;
            if (c->left == 0)
                c->state = CHUNK_DATA_CR;
            continue;
        }
        c->state = fits(c) ? on_byte(c, bytes.p[at]) : CHUNK_BROKEN;
        if (c->state != CHUNK_BROKEN)
            at++;
    }
    *used = at;
    if (c->state == CHUNK_ENDED)
        return PARSE_DONE;
    /* Data that came before the fault is given first; the next call says PARSE_BAD. */
    return c->state == CHUNK_BROKEN && data->n == 0 ? PARSE_BAD : PARSE_MORE;
}

size_t http1_chunk_head(uint64_t n, char out[CHUNK_HEAD_MAX_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    size_t length = 1;

    while (length < 16 && n >> (4 * length) != 0)
        length++;
    for (size_t i = 0; i < length; i++)
        out[i] = digits[n >> (4 * (length - 1 - i)) & 15];
    out[length] = '\r';
    out[length + 1] = '\n';
    return length + 2;
}
