#include "metering/usage/eventstream.h"

#include <string.h>

#include <zlib.h>

enum state {
    AT_PRELUDE = 0, /* both lengths and their checksum */
    AT_KEY_LENGTH,
    AT_KEY,
    AT_VALUE_TYPE,
    AT_VALUE_LENGTH,
    AT_VALUE,
    AT_BEGIN, /* all headers are read, nobody was told */
    AT_PAYLOAD,
    AT_CHECKSUM,
    AT_BAD,
};

enum { LENGTHS_BYTES = 8, PRELUDE_BYTES = 12, CHECKSUM_BYTES = 4, LENGTH_BYTES = 2 };

/* Which of the kept headers a value belongs to. */
enum { HEADER_OTHER = 0, HEADER_TYPE, HEADER_NAME };

/* Types of header values; the sizes of those that have one. */
enum { VALUE_BYTES = 6, VALUE_STRING = 7, VALUE_TYPES = 10 };
static const uint8_t VALUE_SIZE[VALUE_TYPES] = {0, 0, 1, 2, 4, 8, 0, 0, 8, 16};

void eventstream_init(struct eventstream *s)
{
    memset(s, 0, sizeof(*s));
}

bool eventstream_is_between(const struct eventstream *s)
{
    return s->state == AT_PRELUDE && s->word_n == 0;
}

static uint32_t read_u32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void add_crc(struct eventstream *s, struct strv bytes)
{
    s->crc = (uint32_t)crc32(s->crc, (const unsigned char *)bytes.p, (uInt)bytes.n);
}

/* Collects a word of n bytes from the start of bytes; true once it is whole. */
static bool take_word(struct eventstream *s, size_t n, struct strv bytes, size_t *used)
{
    struct strv part = strv_head(bytes, n - s->word_n);

    memcpy(s->word + s->word_n, part.p, part.n);
    s->word_n = (uint8_t)(s->word_n + part.n);
    *used = part.n;
    if (s->word_n < n)
        return false;
    s->word_n = 0;
    return true;
}

/* The state behind a header: another one, or the payload. */
static enum state behind_header(const struct eventstream *s)
{
    return s->headers_left > 0 ? AT_KEY_LENGTH : AT_BEGIN;
}

static enum state on_prelude(struct eventstream *s)
{
    uint32_t total = read_u32(s->word), headers = read_u32(s->word + 4);

    s->crc = (uint32_t)crc32(0, s->word, LENGTHS_BYTES);
    if (s->crc != read_u32(s->word + LENGTHS_BYTES) || headers > EVENTSTREAM_HEADERS_MAX ||
        total < PRELUDE_BYTES + CHECKSUM_BYTES + headers ||
        total - PRELUDE_BYTES - CHECKSUM_BYTES - headers > EVENTSTREAM_PAYLOAD_MAX)
        return AT_BAD;
    s->crc = (uint32_t)crc32(0, s->word, PRELUDE_BYTES);
    s->headers_left = headers;
    s->payload_left = total - PRELUDE_BYTES - CHECKSUM_BYTES - headers;
    s->type_n = s->name_n = 0;
    s->is_signed = false;
    return behind_header(s);
}

static uint8_t header_of(struct strv key)
{
    if (strv_eq(key, STRV(":message-type")))
        return HEADER_TYPE;
    if (strv_eq(key, STRV(":event-type")) || strv_eq(key, STRV(":exception-type")) ||
        strv_eq(key, STRV(":error-code")))
        return HEADER_NAME;
    return HEADER_OTHER;
}

/* left bytes of the next part are to come, which the headers must have room for. */
static enum state expect(struct eventstream *s, uint32_t left, enum state part)
{
    s->left = left;
    if (left > s->headers_left)
        return AT_BAD;
    if (left == 0)
        return part == AT_VALUE ? behind_header(s) : AT_BAD;
    return part;
}

static enum state on_value_type(struct eventstream *s, unsigned char type)
{
    if (type >= VALUE_TYPES)
        return AT_BAD;
    if (type != VALUE_STRING)
        s->header = HEADER_OTHER;
    if ((s->header == HEADER_TYPE && s->type_n > 0) ||
        (s->header == HEADER_NAME && s->name_n > 0))
        return AT_BAD; /* said twice: others may read the other one */
    if (type == VALUE_STRING || type == VALUE_BYTES)
        return AT_VALUE_LENGTH;
    return expect(s, VALUE_SIZE[type], AT_VALUE);
}

static void keep(char *text, uint8_t *n, struct strv part)
{
    part = strv_head(part, (size_t)EVENTSTREAM_TEXT_MAX - *n);
    memcpy(text + *n, part.p, part.n);
    *n = (uint8_t)(*n + part.n);
}

static void take_key(struct eventstream *s, struct strv part)
{
    struct strv head = strv_head(part, sizeof(s->key) - s->key_n);

    memcpy(s->key + s->key_n, head.p, head.n);
    s->key_n += head.n;
    if (head.n < part.n) /* as long as none that is kept */
        s->key[0] = '\0';
}

static void take_value(struct eventstream *s, struct strv part)
{
    if (s->header == HEADER_TYPE)
        keep(s->type, &s->type_n, part);
    else if (s->header == HEADER_NAME)
        keep(s->name, &s->name_n, part);
}

/* One step within the headers; at least one byte is there. */
static void read_header(struct eventstream *s, struct strv bytes, size_t *used)
{
    struct strv part = strv_head(bytes, s->left);

    *used = 1;
    switch ((enum state)s->state) {
    case AT_KEY_LENGTH:
        s->headers_left--;
        s->key_n = 0;
        s->state = (uint8_t)expect(s, (unsigned char)*bytes.p, AT_KEY);
        break;
    case AT_KEY:
        take_key(s, part);
        *used = part.n;
        s->left -= (uint32_t)part.n;
        s->headers_left -= (uint32_t)part.n;
        if (s->left == 0)
            s->state = s->headers_left > 0 ? AT_VALUE_TYPE : AT_BAD;
        break;
    case AT_VALUE_TYPE:
        s->headers_left--;
        s->header = header_of(strv_make(s->key, s->key_n));
        if (strv_eq(strv_make(s->key, s->key_n), STRV(":chunk-signature")))
            s->is_signed = true;
        s->state = (uint8_t)on_value_type(s, (unsigned char)*bytes.p);
        if (s->state == AT_VALUE_LENGTH && s->headers_left < LENGTH_BYTES)
            s->state = AT_BAD;
        break;
    case AT_VALUE_LENGTH:
        if (take_word(s, LENGTH_BYTES, bytes, used)) {
            s->headers_left -= LENGTH_BYTES;
            s->state = (uint8_t)expect(s, (uint32_t)s->word[0] << 8 | s->word[1], AT_VALUE);
        }
        break;
    case AT_VALUE:
        take_value(s, part);
        *used = part.n;
        s->left -= (uint32_t)part.n;
        s->headers_left -= (uint32_t)part.n;
        if (s->left == 0)
            s->state = (uint8_t)behind_header(s);
        break;
    case AT_PRELUDE:
    case AT_BEGIN:
    case AT_PAYLOAD:
    case AT_CHECKSUM:
    case AT_BAD:
        break;
    }
    add_crc(s, strv_head(bytes, *used));
}

/* One step; what it tells, or EVENTSTREAM_MORE where there is nothing to tell. */
static enum eventstream_what step(struct eventstream *s, struct strv bytes, size_t *used,
                                  struct strv *data)
{
    *used = 0;
    switch ((enum state)s->state) {
    case AT_PRELUDE:
        if (take_word(s, PRELUDE_BYTES, bytes, used))
            s->state = (uint8_t)on_prelude(s);
        return EVENTSTREAM_MORE;
    case AT_KEY_LENGTH:
    case AT_KEY:
    case AT_VALUE_TYPE:
    case AT_VALUE_LENGTH:
    case AT_VALUE:
        read_header(s, bytes, used);
        return EVENTSTREAM_MORE;
    case AT_BEGIN:
        s->state = s->payload_left > 0 ? AT_PAYLOAD : AT_CHECKSUM;
        return EVENTSTREAM_BEGIN;
    case AT_PAYLOAD:
        *data = strv_head(bytes, s->payload_left);
        *used = data->n;
        add_crc(s, *data);
        s->payload_left -= (uint32_t)data->n;
        if (s->payload_left == 0)
            s->state = AT_CHECKSUM;
        return EVENTSTREAM_DATA;
    case AT_CHECKSUM:
        if (!take_word(s, CHECKSUM_BYTES, bytes, used))
            return EVENTSTREAM_MORE;
        s->state = read_u32(s->word) == s->crc ? AT_PRELUDE : AT_BAD;
        return s->state == AT_PRELUDE ? EVENTSTREAM_END : EVENTSTREAM_MORE;
    case AT_BAD:
        break;
    }
    return EVENTSTREAM_BAD;
}

enum eventstream_what eventstream_next(struct eventstream *s, struct strv bytes, size_t *used,
                                       struct strv *data)
{
    *used = 0;
    while (*used < bytes.n || s->state == AT_BAD || s->state == AT_BEGIN) {
        size_t took;
        enum eventstream_what what = step(s, strv_skip(bytes, *used), &took, data);

        *used += took;
        if (what != EVENTSTREAM_MORE)
            return what;
    }
    return EVENTSTREAM_MORE;
}
