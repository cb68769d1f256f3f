#include "metering/usage/token_json.h"

#include <string.h>

#include "metering/usage/jscan.h"

enum {
    PLAIN_BYTES = 2, /* \n */
    UNIT_BYTES = 6,  /* \u000a */
};

/* The unit at p is half of a pair: its first where kind is 0xd8, its second where 0xdc. */
static bool is_half(const char *p, unsigned kind)
{
    unsigned char c = (unsigned char)(p[3] | 0x20);

    if ((p[2] | 0x20) != 'd')
        return false;
    return kind == 0xd8 ? c == '8' || c == '9' || c == 'a' || c == 'b' : c >= 'c' && c <= 'f';
}

/* Bytes of the escape that the n held ones begin with, 0 where more must come. */
static size_t escape_bytes(const char *held, size_t n)
{
    if (n < PLAIN_BYTES)
        return 0;
    if (held[1] != 'u')
        return PLAIN_BYTES;
    if (n < UNIT_BYTES)
        return 0;
    if (!is_half(held, 0xd8))
        return UNIT_BYTES;
    if (n > UNIT_BYTES && held[UNIT_BYTES] != '\\')
        return UNIT_BYTES;
    if (n > UNIT_BYTES + 1 && held[UNIT_BYTES + 1] != 'u')
        return UNIT_BYTES;
    if (n < TOKEN_JSON_ESCAPE_MAX_BYTES)
        return 0;
    return is_half(held + UNIT_BYTES, 0xdc) ? TOKEN_JSON_ESCAPE_MAX_BYTES : UNIT_BYTES;
}

/* Counts the first n held bytes, which are an escape or nothing; the rest stays. */
static void take(struct token_json *j, struct token_counter *c, size_t n)
{
    char text[TOKEN_JSON_ESCAPE_MAX_BYTES];
    size_t text_n = 0;

    if (jscan_unescape(strv_make(j->held, n), text, sizeof(text), &text_n))
        token_counter_feed(c, strv_make(text, text_n));
    j->n = (uint8_t)(j->n - n);
    memmove(j->held, j->held + n, j->n);
}

/* What is held begins with a backslash, or is nothing. */
static void settle(struct token_json *j, struct token_counter *c, bool ends)
{
    while (j->n > 0) {
        size_t n = escape_bytes(j->held, j->n);

        if (j->held[0] != '\\')
            n = 1;
        else if (n == 0 && ends)
            n = j->n < UNIT_BYTES ? j->n : UNIT_BYTES;
        else if (n == 0)
            return;
        take(j, c, n);
    }
}

void token_json_feed(struct token_json *j, struct token_counter *c, struct strv raw)
{
    while (raw.n > 0) {
        const char *slash;
        size_t plain;

        if (j->n > 0) {
            j->held[j->n++] = *raw.p;
            raw = strv_skip(raw, 1);
            settle(j, c, false);
            continue;
        }
        slash = memchr(raw.p, '\\', raw.n);
        plain = slash != NULL ? (size_t)(slash - raw.p) : raw.n;
        token_counter_feed(c, strv_head(raw, plain));
        raw = strv_skip(raw, plain);
        if (raw.n > 0) {
            j->held[j->n++] = '\\';
            raw = strv_skip(raw, 1);
        }
    }
}

void token_json_end(struct token_json *j, struct token_counter *c)
{
    settle(j, c, true);
}
