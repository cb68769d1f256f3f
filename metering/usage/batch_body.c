#include "metering/usage/batch_body.h"

#include <string.h>

#include "metering/usage/jscan.h"
#include "metering/usage/protocol_int.h"

enum node {
    N_SKIP = JSCAN_SKIP,
    N_ROOT,
    N_LIST,
    N_ITEM,
    N_BODY,
    N_WRAPPED,
    N_RESPONSES,
    N_URL,
    N_ENDPOINT,
    N_ID,
    N_NAME,
    N_FILE,
    N_COUNT,
};

static const struct jscan_edge ROOT_EDGES[] = {
    JSCAN_EDGE("requests", N_LIST),
    JSCAN_EDGE("endpoint", N_ENDPOINT), /* OpenRouter: of all of them */
    JSCAN_EDGE("batch_requests", N_LIST), /* xAI */
    JSCAN_EDGE("name", N_NAME),
    JSCAN_EDGE("input_file_id", N_FILE),
    JSCAN_EDGE("input_files", N_FILE),
    /* Gemini: the list stands in an object of the same name */
    JSCAN_EDGE("batch", N_ROOT),
    JSCAN_EDGE("inputConfig", N_ROOT),
    JSCAN_EDGE("input_config", N_ROOT),
};
static const struct jscan_edge LIST_EDGES[] = {JSCAN_EDGE("requests", N_LIST)};
static const struct jscan_edge ITEM_EDGES[] = {
    JSCAN_EDGE("params", N_BODY),     JSCAN_EDGE("body", N_BODY),
    JSCAN_EDGE("request", N_BODY),    JSCAN_EDGE("batch_request", N_WRAPPED),
    JSCAN_EDGE("url", N_URL),         JSCAN_EDGE("custom_id", N_ID),
    JSCAN_EDGE("batch_request_id", N_ID),
};
/* One member, whose name says where the request would have gone. */
static const struct jscan_edge WRAPPED_EDGES[] = {JSCAN_EDGE("responses", N_RESPONSES)};

static const struct jscan_node NODES[N_COUNT] = {
    [N_ROOT] = {JSCAN_EDGES(ROOT_EDGES), 0, 0, 0},
    [N_LIST] = {JSCAN_EDGES(LIST_EDGES), 0, N_ITEM, 0},
    [N_ITEM] = {JSCAN_EDGES(ITEM_EDGES), 0, 0, JSCAN_ENTER},
    [N_BODY] = {.flags = JSCAN_ENTER},
    [N_WRAPPED] = {JSCAN_EDGES(WRAPPED_EDGES), N_BODY, 0, 0},
    [N_RESPONSES] = {.flags = JSCAN_ENTER},
    [N_URL] = {.flags = JSCAN_WANT},
    [N_ENDPOINT] = {.flags = JSCAN_WANT},
    [N_ID] = {.flags = JSCAN_WANT},
    [N_NAME] = {.flags = JSCAN_WANT},
    [N_FILE] = {.flags = JSCAN_WANT | JSCAN_ENTER},
};

enum { PATH_MAX_BYTES = 64 };

struct reader {
    const struct protocol *protocol;
    const struct route *route;
    struct strv body;
    batch_request_fn *fn;
    void *arg;
    uint64_t told, rest, rest_bytes; /* requests; those that are told as one */
    char endpoint[PATH_MAX_BYTES];   /* of all; "": not said */
    bool has_name, has_file;
    /* of the request that is being read */
    uint64_t begin, from, to; /* the item; its body, as it stands */
    bool is_responses;
    char url[PATH_MAX_BYTES];
    struct strv id;
};

static void keep_path(const struct jscan_event *e, char out[PATH_MAX_BYTES])
{
    if (e->type != JSCAN_STRING || e->escaped || e->cut || e->text.n >= PATH_MAX_BYTES)
        return;
    memcpy(out, e->text.p, e->text.n);
    out[e->text.n] = '\0';
}

/* Where a path leads; false where nothing there is metered. */
static bool find(const struct reader *r, const char *path, struct route *out)
{
    if (path[0] == '\0')
        return false;
    protocol_route(r->protocol, STRV("POST"), strv_z(path), STRV_NONE, out);
    return out->endpoint->kind == ENDPOINT_METERED;
}

/* Where the request would have gone by itself. */
static bool find_route(const struct reader *r, struct route *out)
{
    const struct entry *entry = entry_of(r->route->endpoint);

    if (entry->dialect == DIALECT_ANTHROPIC)
        return find(r, "/v1/messages", out);
    if (entry->dialect == DIALECT_GEMINI) {
        bool embeds = strcmp(entry->endpoint.name, "asyncBatchEmbedContent") == 0;
        bool found = find(r, embeds ? "/v1beta/models/m:embedContent"
                                    : "/v1beta/models/m:generateContent", out);

        out->path_model = r->route->path_model;
        return found;
    }
    if (r->is_responses)
        return find(r, "/v1/responses", out);
    return find(r, r->url, out) || find(r, r->endpoint, out) ||
           find(r, "/v1/chat/completions", out);
}

static void tell_length(struct reader *r, uint64_t requests, uint64_t bytes)
{
    struct request_facts facts;

    memset(&facts, 0, sizeof(facts));
    facts.choices = requests;
    facts.text_bytes = bytes;
    r->fn(r->arg, &facts, r->id);
}

static void tell(struct reader *r, uint64_t end)
{
    struct request_facts facts;
    struct route route;

    if (r->told == BATCH_BODY_REQUESTS_MAX) {
        r->rest++;
        r->rest_bytes += end - r->begin;
        return;
    }
    r->told++;
    if (r->to > r->from && r->to <= r->body.n && find_route(r, &route) &&
        protocol_scan_request(r->protocol, &route,
                              strv_make(r->body.p + r->from, (size_t)(r->to - r->from)), NULL,
                              &facts) == RC_OK)
        r->fn(r->arg, &facts, r->id);
    else
        tell_length(r, 1, end - r->begin);
}

static void on_item(struct reader *r, const struct jscan_event *e)
{
    if (e->what == JSCAN_AT_LEAVE) {
        tell(r, e->end);
        return;
    }
    r->begin = e->begin;
    r->from = r->to = 0;
    r->is_responses = false;
    r->url[0] = '\0';
    r->id = STRV_NONE;
}

static void on_event(void *arg, const struct jscan_event *e)
{
    struct reader *r = arg;

    switch ((enum node)e->node) {
    case N_ITEM:
        on_item(r, e);
        break;
    case N_RESPONSES:
    case N_BODY:
        r->is_responses = e->node == N_RESPONSES;
        if (e->what == JSCAN_AT_ENTER)
            r->from = e->begin;
        else if (e->what == JSCAN_AT_LEAVE)
            r->to = e->end;
        break;
    case N_URL:
        keep_path(e, r->url);
        break;
    case N_ENDPOINT:
        keep_path(e, r->endpoint);
        break;
    case N_ID:
        if (e->type == JSCAN_STRING && !e->cut)
            r->id = strv_make(r->body.p + e->begin + 1, (size_t)(e->end - e->begin) - 2);
        break;
    case N_NAME:
        r->has_name = e->type == JSCAN_STRING;
        break;
    case N_FILE:
        r->has_file = r->has_file || e->type != JSCAN_NULL;
        break;
    case N_SKIP:
    case N_ROOT:
    case N_LIST:
    case N_WRAPPED:
    case N_COUNT:
        break;
    }
}

enum batch_body batch_body_read(const struct protocol *p, const struct route *route,
                                struct strv body, batch_request_fn *fn, void *arg)
{
    struct reader r = {.protocol = p, .route = route, .body = body, .fn = fn, .arg = arg};
    struct jscan scan;

    if (!(entry_of(route->endpoint)->flags & ENTRY_REQUESTS))
        return BATCH_BODY_OTHER;
    jscan_start(&scan, NODES, N_ROOT, true, on_event, &r);
    if (jscan_whole(&scan, body) != RC_OK) /* it was read before: cannot be */
        return BATCH_BODY_OTHER;
    r.id = STRV_NONE;
    if (r.rest > 0)
        tell_length(&r, r.rest, r.rest_bytes);
    if (r.told > 0)
        return BATCH_BODY_REQUESTS;
    return r.has_name && r.endpoint[0] == '\0' && !r.has_file &&
                   entry_of(route->endpoint)->dialect == DIALECT_OPENAI
               ? BATCH_BODY_EMPTY
               : BATCH_BODY_OTHER;
}
