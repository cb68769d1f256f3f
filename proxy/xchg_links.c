/*
 * xchg_links.c - which addresses in an answer lead to the gateway instead, and how they read.
 *
 * A client that followed the provider's own would show the provider its virtual key, and
 * would not be metered.
 */
#include <string.h>

#include "proxy/xchg_int.h"

enum { HOST_MAX_BYTES = 300 }; /* of the name that a client calls the gateway by */

/* host[:port], as http1.c has checked it, without what would be strange in a body. */
static bool is_plain_host(struct strv host)
{
    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              memchr("-._~:[]", c, 7) != NULL))
            return false;
    }
    return host.n > 0 && host.n <= HOST_MAX_BYTES;
}

enum rc links_prepare(struct xchg *x)
{
    struct strv host = http1_value(&x->head, STRV("host"));
    struct strv parts[] = {STRV("https://"), host, STRV("/"), x->target.upstream};
    size_t n = 0;
    char *to;

    if (!x->upstream->rewrite_urls || !links_are_in(x->route.endpoint) || !is_plain_host(host))
        return RC_OK;
    to = arena_alloc(&x->arena, parts[0].n + parts[1].n + parts[2].n + parts[3].n);
    if (!to)
        return RC_LIMIT;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        memcpy(to + n, parts[i].p, parts[i].n);
        n += parts[i].n;
    }
    x->link_to = strv_make(to, n);
    return RC_OK;
}

void links_begin(struct xchg *x)
{
    const struct answer *a = &x->answer;
    struct strv from[] = {strv_z(x->upstream->scheme_host), strv_z(x->upstream->base_path)};
    char *text;

    if (x->link_to.n == 0 || a->encoded || a->head.status / 100 != 2 || a->head.status == 206 ||
        a->framing.body == BODY_NONE || a->is_stream)
        return;
    text = arena_alloc(&x->arena, from[0].n + from[1].n);
    if (!text)
        return; /* no room for it: then it stays as it is */
    memcpy(text, from[0].p, from[0].n);
    memcpy(text + from[0].n, from[1].p, from[1].n);
    x->links = links_new(x->route.endpoint, strv_make(text, from[0].n + from[1].n), x->link_to);
}
