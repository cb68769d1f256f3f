#include "proxy/percent.h"

#include <stdbool.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

enum rc percent_decode(struct strv text, char *out, size_t size, size_t *n)
{
    size_t used = 0;

    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];

        if (c == '%') {
            bool whole = text.n - i > 2;
            int high = whole ? hex_value(text.p[i + 1]) : -1;
            int low = whole ? hex_value(text.p[i + 2]) : -1;

            if (high < 0 || low < 0)
                return RC_BAD;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (used == size)
            return RC_LIMIT;
        out[used++] = c;
    }
    *n = used;
    return RC_OK;
}

enum rc percent_decode_arena(struct strv text, struct arena *arena, struct strv *out)
{
    char *copy;
    size_t n = 0;
    enum rc rc;

    if (strv_find(text, '%') == text.n) {
        *out = text;
        return RC_OK;
    }
    copy = arena_alloc(arena, text.n);
    if (!copy)
        return RC_LIMIT;
    rc = percent_decode(text, copy, text.n, &n);
    if (rc == RC_OK)
        *out = strv_make(copy, n);
    return rc;
}
