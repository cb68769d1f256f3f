#include "metering/usage/links.h"

#include <stdlib.h>

#include "base/held.h"
#include "base/xalloc.h"
#include "metering/usage/jscan.h"
#include "metering/usage/protocol_int.h"

enum {
    PIECE_BYTES = 16 << 10, /* looked at in one go */
    /* A string that is short enough to be told whole has begun so far back at the most. */
    TAIL_BYTES = JSCAN_TEXT_MAX + 1,
};

enum { NODE_BATCH = 1, NODE_BATCHES, NODE_WORK, NODE_WORKS, NODE_URLS, NODE_LINK };

/* Anthropic's batches, one or a list of them. */
static const struct jscan_edge BATCH_EDGES[] = {JSCAN_EDGE("results_url", NODE_LINK),
                                                JSCAN_EDGE("data", NODE_BATCHES)};
/* Replicate's predictions, likewise; a list tells where the next page is. */
static const struct jscan_edge WORK_EDGES[] = {
    JSCAN_EDGE("urls", NODE_URLS), JSCAN_EDGE("results", NODE_WORKS),
    JSCAN_EDGE("next", NODE_LINK), JSCAN_EDGE("previous", NODE_LINK)};
static const struct jscan_edge URLS_EDGES[] = {JSCAN_EDGE("get", NODE_LINK),
                                               JSCAN_EDGE("cancel", NODE_LINK),
                                               JSCAN_EDGE("stream", NODE_LINK)};
static const struct jscan_node NODES[] = {
    [NODE_BATCH] = {JSCAN_EDGES(BATCH_EDGES), 0, 0, 0},
    [NODE_BATCHES] = {NULL, 0, 0, NODE_BATCH, 0},
    [NODE_WORK] = {JSCAN_EDGES(WORK_EDGES), 0, 0, 0},
    [NODE_WORKS] = {NULL, 0, 0, NODE_WORK, 0},
    [NODE_URLS] = {JSCAN_EDGES(URLS_EDGES), 0, 0, 0},
    [NODE_LINK] = {NULL, 0, 0, 0, JSCAN_WANT},
};

struct links {
    struct strv from, to;
    struct buf hold;  /* read, not passed */
    struct buf *pass; /* while bytes are fed */
    uint64_t at;      /* place in the document where hold begins */
    unsigned left;    /* that may still be changed */
    enum rc rc;       /* of pass */
    struct jscan scan;
};

bool links_are_in(const struct endpoint *endpoint)
{
    return (entry_of(endpoint)->flags & ENTRY_LINKS) != 0;
}

/* All of the document that stands before `place`. */
static void pass_until(struct links *l, uint64_t place)
{
    size_t n = (size_t)(place - l->at);

    if (l->rc == RC_OK)
        l->rc = buf_append_strv(l->pass, strv_head(buf_view(&l->hold), n));
    buf_consume(&l->hold, n);
    l->at = place;
}

/* Nothing that would have to be escaped in JSON. */
static bool is_plain(struct strv s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= ' ' || s.p[i] > '~' || s.p[i] == '"' || s.p[i] == '\\')
            return false;
    }
    return true;
}

static void on_value(void *arg, const struct jscan_event *event)
{
    struct links *l = arg;
    char plain[JSCAN_TEXT_MAX];
    struct strv text = event->text, rest;
    size_t n;

    if (event->type != JSCAN_STRING || event->cut || l->left == 0 || l->rc != RC_OK ||
        event->begin < l->at)
        return;
    if (event->escaped) { /* "https:\/\/..." is the same address */
        if (!jscan_unescape(text, plain, sizeof(plain), &n))
            return;
        text = strv_make(plain, n);
    }
    rest = strv_skip(text, l->from.n);
    if (!strv_starts(text, l->from) || rest.n == 0 || rest.p[0] != '/' || !is_plain(rest))
        return;
    l->left--;
    pass_until(l, event->begin + 1);
    buf_consume(&l->hold, (size_t)(event->end - 1 - l->at));
    l->at = event->end - 1;
    if (l->rc == RC_OK)
        l->rc = buf_append_strv(l->pass, l->to);
    if (l->rc == RC_OK)
        l->rc = buf_append_strv(l->pass, rest);
}

struct links *links_new(const struct endpoint *endpoint, struct strv from, struct strv to)
{
    bool batches = entry_of(endpoint)->dialect == DIALECT_ANTHROPIC;
    struct links *l;

    if (to.n > LINKS_TO_MAX_BYTES)
        return NULL;
    l = xcalloc(1, sizeof(*l));
    held_add(sizeof(*l));
    l->from = from;
    l->to = to;
    l->left = LINKS_MAX;
    buf_init(&l->hold, PIECE_BYTES + TAIL_BYTES);
    jscan_start(&l->scan, NODES, batches ? NODE_BATCH : NODE_WORK, true, on_value, l);
    return l;
}

void links_free(struct links *links)
{
    if (links == NULL)
        return;
    buf_release(&links->hold);
    held_sub(sizeof(*links));
    free(links);
}

enum rc links_feed(struct links *l, struct strv bytes, struct buf *pass)
{
    bool good = true;

    l->pass = pass;
    while (bytes.n > 0 && l->rc == RC_OK) {
        struct strv piece = strv_head(bytes, PIECE_BYTES);
        size_t keep = TAIL_BYTES;

        bytes = strv_skip(bytes, piece.n);
        l->rc = buf_append_strv(&l->hold, piece);
        if (l->rc != RC_OK)
            break;
        good = jscan_feed(&l->scan, piece) == RC_OK && good;
        if (!good || l->left == 0)
            keep = 0; /* nothing more will be changed */
        if (buf_len(&l->hold) > keep)
            pass_until(l, l->at + buf_len(&l->hold) - keep);
    }
    return l->rc;
}

enum rc links_finish(struct links *l, struct buf *pass)
{
    l->pass = pass;
    pass_until(l, l->at + buf_len(&l->hold));
    return l->rc;
}
