/*
 * params_value.c - escaped values, for conditions and combinations; see params_int.h.
 */
#include <string.h>

#include "reports/params_int.h"

/* Whether the byte at i stands for the one behind it. */
static bool is_escape(struct strv text, size_t i)
{
    return text.p[i] == '\\' && i + 1 < text.n;
}

enum rc params_value(struct report_params *p, struct strv *rest, struct strv ends, struct strv *out,
                     char *end)
{
    struct strv raw;
    char *text;
    size_t n = 0;

    while (n < rest->n && !memchr(ends.p, rest->p[n], ends.n))
        n += is_escape(*rest, n) ? 2 : 1;
    raw = strv_head(*rest, n);
    *end = n < rest->n ? rest->p[n] : '\0';
    *rest = strv_skip(*rest, *end != '\0' ? n + 1 : n);
    text = arena_alloc(&p->arena, raw.n + 1);
    if (!text)
        return RC_LIMIT;
    n = 0;
    for (size_t i = 0; i < raw.n; i++) {
        i += is_escape(raw, i);
        text[n++] = raw.p[i];
    }
    *out = strv_make(text, strv_eq(raw, STRV("(untagged)")) ? 0 : n);
    return RC_OK;
}
