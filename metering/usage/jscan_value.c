/*
 * What jscan has read: containers that open and close, names that lead somewhere, scalars that
 * are whole and are told of.
 */
#include <string.h>

#include "metering/usage/jscan.h"
#include "metering/usage/jscan_int.h"

static const struct {
    const char *text;
    uint8_t n;
    enum jscan_type type;
} LITERALS[] = {[JSCAN_LITERAL_TRUE] = {"true", 4, JSCAN_TRUE},
                [JSCAN_LITERAL_FALSE] = {"false", 5, JSCAN_FALSE},
                [JSCAN_LITERAL_NULL] = {"null", 4, JSCAN_NULL}};

enum rc jscan_push(struct jscan *s, bool array, uint64_t begin)
{
    uint64_t bit;
    uint8_t node = s->target;

    if (s->depth == JSCAN_DEPTH_MAX)
        return RC_LIMIT;
    s->depth++;
    bit = UINT64_C(1) << (s->depth % 64);
    if (array)
        s->arrays[s->depth / 64] |= bit;
    else
        s->arrays[s->depth / 64] &= ~bit;
    s->node_at[s->depth] = node;
    if (s->nodes[node].flags & JSCAN_ENTER) {
        struct jscan_event event = {.what = JSCAN_AT_ENTER,
                                    .type = array ? JSCAN_ARRAY : JSCAN_OBJECT,
                                    .node = node,
                                    .begin = begin};
        s->fn(s->arg, &event);
    }
    if (node == JSCAN_SKIP && s->loose) {
        s->skip_depth = (uint16_t)(s->depth - 1);
        s->state = ST_SKIP;
    } else if (array) {
        s->target = s->nodes[node].item;
        s->state = ST_ITEM_OR_END;
    } else {
        s->state = ST_MEMBER_OR_END;
    }
    return RC_OK;
}

void jscan_pop(struct jscan *s, uint64_t end)
{
    uint8_t node = s->node_at[s->depth];

    if (s->nodes[node].flags & JSCAN_ENTER) {
        struct jscan_event event = {.what = JSCAN_AT_LEAVE,
                                    .type = jscan_in_array(s) ? JSCAN_ARRAY : JSCAN_OBJECT,
                                    .node = node,
                                    .end = end};
        s->fn(s->arg, &event);
    }
    s->depth--;
    s->state = s->depth ? ST_AFTER : ST_DONE;
}

void jscan_keep_text(struct jscan *s, const char *p, size_t n)
{
    size_t room = sizeof(s->text) - s->text_n;

    if (n > room) {
        n = room;
        s->cut = true;
    }
    memcpy(s->text + s->text_n, p, n);
    s->text_n = (uint16_t)(s->text_n + n);
}

/* The token's text, whose last piece is p..end: a view of the feed where it came in one piece.
 */
static struct strv token_text(struct jscan *s, const char *p, const char *end)
{
    if (s->text_n == 0) {
        struct strv text = strv_make(p, (size_t)(end - p));

        if (text.n > sizeof(s->text)) {
            s->cut = true;
            text.n = sizeof(s->text);
        }
        return text;
    }
    jscan_keep_text(s, p, (size_t)(end - p));
    return strv_make(s->text, s->text_n);
}

void jscan_start_token(struct jscan *s, enum jscan_state state, bool capture, uint64_t begin)
{
    s->state = (uint8_t)state;
    s->begin = begin;
    s->capture = capture;
    s->text_n = 0;
    s->cut = false;
    s->escaped = false;
    s->saved = 0;
}

/* Where the member of the name that was just read leads, its escapes decoded. */
static uint8_t find_member(struct jscan *s, struct strv key)
{
    const struct jscan_node *node = &s->nodes[s->node_at[s->depth]];
    char decoded[JSCAN_KEY_MAX];
    size_t n;

    if (s->cut)
        return node->any;
    if (!s->escaped)
        return jscan_find_plain(s, node, key);
    if (!jscan_unescape(key, decoded, sizeof(decoded), &n))
        return node->any;
    return jscan_find_plain(s, node, strv_make(decoded, n));
}

/* Notes a scalar of which nobody is told. */
static void note_gap(struct jscan *s, uint64_t begin, uint64_t end, uint64_t text_bytes,
                     enum jscan_gap_kind kind)
{
    struct jscan_gaps *gaps = s->gaps;

    if (gaps == NULL || gaps->n == gaps->max)
        return;
    gaps->at[gaps->n].begin = begin;
    gaps->at[gaps->n].end = end;
    gaps->at[gaps->n].text_bytes = text_bytes;
    gaps->at[gaps->n].kind = kind;
    gaps->n++;
}

static void after_value(struct jscan *s)
{
    s->state = s->depth ? ST_AFTER : ST_DONE;
}

void jscan_end_string(struct jscan *s, const char *p, const char *end, uint64_t at_end)
{
    const struct jscan_node *node;
    uint64_t raw = at_end - 1 - (s->begin + 1);

    if (s->is_key) {
        s->is_key = false;
        s->state = ST_COLON;
        if (s->capture) /* else target is the container's `any` already */
            s->target = find_member(s, token_text(s, p, end));
        return;
    }
    node = &s->nodes[s->target];
    after_value(s);
    if (node->flags & JSCAN_COUNT) {
        s->counted_bytes += raw - s->saved;
        if (s->text_fn != NULL)
            s->text_fn(s->text_arg, strv_make(p, (size_t)(end - p)), true);
    }
    if (s->capture) {
        struct jscan_event event = {.what = JSCAN_AT_VALUE,
                                    .type = JSCAN_STRING,
                                    .node = s->target,
                                    .text = token_text(s, p, end),
                                    .escaped = s->escaped,
                                    .begin = s->begin,
                                    .end = at_end,
                                    .text_bytes = raw - s->saved};
        event.cut = s->cut;
        s->fn(s->arg, &event);
    } else {
        note_gap(s, s->begin + 1, at_end - 1, raw - s->saved,
                 node->flags & JSCAN_COUNT ? JSCAN_GAP_COUNTED : JSCAN_GAP_STRING);
    }
}

enum rc jscan_end_number(struct jscan *s, const char *p, const char *end, uint64_t at_end)
{
    struct strv text = token_text(s, p, end);

    if (s->cut || !jscan_number_is_valid(text))
        return RC_BAD;
    after_value(s);
    if (s->nodes[s->target].flags & JSCAN_WANT) {
        struct jscan_event event = {.what = JSCAN_AT_VALUE,
                                    .type = JSCAN_NUMBER,
                                    .node = s->target,
                                    .text = text,
                                    .begin = s->begin,
                                    .end = at_end};
        s->fn(s->arg, &event);
    } else {
        note_gap(s, s->begin, at_end, 0, JSCAN_GAP_NUMBER);
    }
    return RC_OK;
}

void jscan_end_count(struct jscan *s, struct strv text, uint64_t value, uint64_t begin)
{
    after_value(s);
    if (s->nodes[s->target].flags & JSCAN_WANT) {
        struct jscan_event event = {.what = JSCAN_AT_VALUE,
                                    .type = JSCAN_NUMBER,
                                    .node = s->target,
                                    .text = text,
                                    .begin = begin,
                                    .end = begin + text.n,
                                    .has_count = true,
                                    .count = value};
        s->fn(s->arg, &event);
    } else {
        note_gap(s, begin, begin + text.n, 0, JSCAN_GAP_NUMBER);
    }
}

void jscan_end_literal(struct jscan *s, uint64_t at_end)
{
    after_value(s);
    if (s->nodes[s->target].flags & JSCAN_WANT) {
        struct jscan_event event = {
            .what = JSCAN_AT_VALUE,
            .type = LITERALS[s->literal].type,
            .node = s->target,
            .text = strv_make(LITERALS[s->literal].text, LITERALS[s->literal].n),
            .begin = s->begin,
            .end = at_end};
        s->fn(s->arg, &event);
    }
}

enum rc jscan_step_literal(struct jscan *s, char c, uint64_t at)
{
    if (c != LITERALS[s->literal].text[s->literal_n])
        return RC_BAD;
    if (++s->literal_n == LITERALS[s->literal].n)
        jscan_end_literal(s, at + 1);
    return RC_OK;
}
