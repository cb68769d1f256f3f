#include "metering/usage/route_memo.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/usage/protocol_int.h"

struct known {
    const struct protocol *protocol;
    uint8_t path_n, method_n;
    char path[ROUTE_MEMO_PATH_BYTES];
    char method[ROUTE_MEMO_METHOD_BYTES];
    struct route route; /* without a view */
};

struct route_memo {
    unsigned n;    /* in use */
    unsigned next; /* to be forgotten, once all are */
    uint64_t hits;
    struct known at[ROUTE_MEMO_MAX];
};

struct route_memo *route_memo_new(void)
{
    return xcalloc(1, sizeof(struct route_memo));
}

void route_memo_free(struct route_memo *memo)
{
    free(memo);
}

uint64_t route_memo_hits(const struct route_memo *memo)
{
    return memo->hits;
}

static bool is(const struct known *k, const struct protocol *p, struct strv method,
               struct strv path)
{
    return k->protocol == p && strv_eq(strv_make(k->path, k->path_n), path) &&
           strv_eq(strv_make(k->method, k->method_n), method);
}

static void keep(struct route_memo *memo, const struct protocol *p, struct strv method,
                 struct strv path, const struct route *route)
{
    struct known *k;

    if (path.n > ROUTE_MEMO_PATH_BYTES || method.n > ROUTE_MEMO_METHOD_BYTES ||
        route->path_model.n > 0 || route->region.n > 0 || route->path_id.n > 0 ||
        (entry_of(route->endpoint)->flags & ENTRY_QUERY) != 0)
        return;
    if (memo->n < ROUTE_MEMO_MAX) {
        k = &memo->at[memo->n++];
    } else {
        k = &memo->at[memo->next];
        memo->next = (memo->next + 1) % ROUTE_MEMO_MAX;
    }
    k->protocol = p;
    k->path_n = (uint8_t)path.n;
    k->method_n = (uint8_t)method.n;
    (void)strv_copy(k->path, path);
    (void)strv_copy(k->method, method);
    k->route = *route;
    k->route.path_model = k->route.region = k->route.path_id = STRV_NONE;
}

void route_memo_find(struct route_memo *memo, const struct protocol *p, struct strv method,
                     struct strv path, struct strv query, struct route *out)
{
    for (unsigned i = 0; i < memo->n; i++) {
        if (is(&memo->at[i], p, method, path)) {
            memo->hits++;
            *out = memo->at[i].route;
            return;
        }
    }
    protocol_route(p, method, path, query, out);
    keep(memo, p, method, path, out);
}
