#include "metering/usage/unwrap.h"

#include <string.h>

enum { BITS_OF_DIGIT = 6, BITS_OF_BYTE = 8, DEPTH_MAX = 1 << 20 };

void unwrap_init(struct unwrap *u)
{
    memset(u, 0, sizeof(*u));
}

/* RFC 4648 section 4; -1 for anything else. */
static int digit_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* One character of the member's value. */
static size_t decode(struct unwrap *u, char c, char *out)
{
    int digit = digit_of(c);

    if (c == '=') {
        u->padded = true;
        return 0;
    }
    if (digit < 0 || u->padded) {
        u->bad = true;
        return 0;
    }
    u->bits = u->bits << BITS_OF_DIGIT | (uint32_t)digit;
    u->bits_n += BITS_OF_DIGIT;
    if (u->bits_n < BITS_OF_BYTE)
        return 0;
    u->bits_n -= BITS_OF_BYTE;
    *out = (char)(u->bits >> u->bits_n);
    return 1;
}

static void begin_string(struct unwrap *u)
{
    u->in_string = true;
    u->is_key = u->depth == 1 && u->wants_key;
    u->in_value =
        u->depth == 1 && u->wants_value && u->key_n == 5 && memcmp(u->key, "bytes", 5) == 0;
    if (u->is_key)
        u->key_n = 0;
    u->wants_key = u->wants_value = false;
}

static void between_strings(struct unwrap *u, char c)
{
    switch (c) {
    case '"':
        begin_string(u);
        return;
    case '{':
    case '[':
        u->depth += u->depth < DEPTH_MAX;
        u->wants_key = u->depth == 1 && c == '{';
        break;
    case '}':
    case ']':
        u->depth -= u->depth > 0;
        break;
    case ',':
        u->wants_key = u->depth == 1;
        break;
    case ':':
        u->wants_value = u->depth == 1;
        return;
    default:
        break;
    }
    if (c != ' ' && c != '\t' && c != '\r' && c != '\n')
        u->wants_value = false;
}

/* A character within a string. */
static size_t inside_string(struct unwrap *u, char c, char *out)
{
    bool escaped = u->escaped;

    u->escaped = !escaped && c == '\\';
    if (u->escaped)
        return 0;
    if (c == '"' && !escaped) {
        u->in_string = false;
        u->in_value = false;
        return 0;
    }
    if (u->is_key) {
        if (u->key_n < sizeof(u->key))
            u->key[u->key_n++] = escaped ? '\0' : c;
        return 0;
    }
    if (!u->in_value)
        return 0;
    if (escaped && c != '/') { /* the only escape that base64 may be spelt with */
        u->bad = true;
        return 0;
    }
    return decode(u, c, out);
}

size_t unwrap_feed(struct unwrap *u, struct strv bytes, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < bytes.n; i++) {
        if (u->in_string)
            n += inside_string(u, bytes.p[i], out + n);
        else
            between_strings(u, bytes.p[i]);
    }
    return n;
}
