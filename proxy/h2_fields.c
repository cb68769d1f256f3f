#include "proxy/h2_fields.h"

static bool stays_here(struct strv name)
{
    return strv_eq_nocase(name, STRV("connection")) ||
           strv_eq_nocase(name, STRV("transfer-encoding")) ||
           strv_eq_nocase(name, STRV("keep-alive")) ||
           strv_eq_nocase(name, STRV("proxy-connection")) ||
           strv_eq_nocase(name, STRV("upgrade"));
}

nghttp2_nv h2_field(struct strv name, struct strv value)
{
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name.p,
                        .namelen = name.n,
                        .value = (uint8_t *)(uintptr_t)value.p,
                        .valuelen = value.n,
                        .flags = NGHTTP2_NV_FLAG_NONE};
}

/* nghttp2 takes names in lower case alone. */
static struct strv lower(struct strv name, char *to)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];

        to[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    return strv_make(to, name.n);
}

size_t h2_fields(const struct http1_head *head, struct strv without, char *names,
                 nghttp2_nv *out)
{
    size_t n = 0;

    for (size_t i = 0; i < head->n_headers; i++) {
        const struct http1_header *h = &head->headers[i];

        if (stays_here(h->name) || (without.n > 0 && strv_eq_nocase(h->name, without)))
            continue;
        out[n++] = h2_field(lower(h->name, names), h->value);
        names += h->name.n;
    }
    return n;
}
