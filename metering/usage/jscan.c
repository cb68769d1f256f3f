#include "metering/usage/jscan.h"

#include <string.h>

#include "metering/usage/jscan_int.h"

enum state {
    ST_VALUE = 0,     /* a value must come */
    ST_ITEM_OR_END,   /* just after [ */
    ST_MEMBER_OR_END, /* just after { */
    ST_MEMBER,        /* a member's name must come */
    ST_COLON,
    ST_AFTER, /* a value ended */
    ST_STRING,
    ST_ESCAPE,
    ST_UNICODE,
    ST_NUMBER,
    ST_LITERAL,
    ST_SKIP, /* loose: inside a container that nobody wants */
    ST_SKIP_STRING,
    ST_SKIP_ESCAPE,
    ST_DONE,
};

enum { LITERAL_TRUE = 0, LITERAL_FALSE, LITERAL_NULL };

static const struct {
    const char *text;
    uint8_t n;
    enum jscan_type type;
} LITERALS[] = {{"true", 4, JSCAN_TRUE}, {"false", 5, JSCAN_FALSE}, {"null", 4, JSCAN_NULL}};

void jscan_start(struct jscan *s, const struct jscan_node *nodes, uint8_t root, bool loose,
                 jscan_fn *fn, void *arg)
{
    s->nodes = nodes;
    s->fn = fn;
    s->arg = arg;
    s->loose = loose;
    s->counted_bytes = 0;
    s->gaps = NULL;
    jscan_again(s, root);
}

void jscan_again(struct jscan *s, uint8_t root)
{
    s->folded = false;
    s->empty = true;
    s->rc = RC_OK;
    s->at = 0;
    s->depth = 0;
    s->state = ST_VALUE;
    s->target = root;
    s->text_n = 0;
    s->capture = false;
    s->is_key = false;
}

static bool in_array(const struct jscan *s)
{
    return (s->arrays[s->depth / 64] >> (s->depth % 64) & 1u) != 0;
}

/* Opens a container of the value now expected. */
static enum rc push(struct jscan *s, bool array, uint64_t begin)
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

static void pop(struct jscan *s, uint64_t end)
{
    uint8_t node = s->node_at[s->depth];

    if (s->nodes[node].flags & JSCAN_ENTER) {
        struct jscan_event event = {.what = JSCAN_AT_LEAVE,
                                    .type = in_array(s) ? JSCAN_ARRAY : JSCAN_OBJECT,
                                    .node = node,
                                    .end = end};
        s->fn(s->arg, &event);
    }
    s->depth--;
    s->state = s->depth ? ST_AFTER : ST_DONE;
}

static void keep_text(struct jscan *s, const char *p, size_t n)
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
    keep_text(s, p, (size_t)(end - p));
    return strv_make(s->text, s->text_n);
}

static void start_token(struct jscan *s, enum state state, bool capture, uint64_t begin)
{
    s->state = (uint8_t)state;
    s->begin = begin;
    s->capture = capture;
    s->text_n = 0;
    s->cut = false;
    s->escaped = false;
    s->saved = 0;
}

/* Where the member of this plain name leads. */
static inline uint8_t find_plain(struct jscan *s, const struct jscan_node *node,
                                 struct strv key)
{
    uint8_t found;

    if (key.n > JSCAN_KEY_MAX)
        return node->any;
    found = find_edge(node, key);
    if (found != JSCAN_SKIP)
        return found;
    if ((node->flags & JSCAN_FOLD) && jscan_is_folded_edge(node, key))
        s->folded = true;
    return node->any;
}

/* The same of a name that was just read, with its escapes. */
static uint8_t find_member(struct jscan *s, struct strv key)
{
    const struct jscan_node *node = &s->nodes[s->node_at[s->depth]];
    char decoded[JSCAN_KEY_MAX];
    size_t n;

    if (s->cut)
        return node->any;
    if (!s->escaped)
        return find_plain(s, node, key);
    if (!jscan_unescape(key, decoded, sizeof(decoded), &n))
        return node->any;
    return find_plain(s, node, strv_make(decoded, n));
}

/* Notes a scalar of which nobody is told. */
static void note_gap(struct jscan *s, uint64_t begin, uint64_t end, uint64_t text_bytes,
                     enum jscan_gap_kind kind)
{
    struct jscan_gaps *gaps = s->gaps;

    if (gaps == NULL || gaps->n == JSCAN_GAPS_MAX)
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

/* The closing quote was read; p..end is the last piece of the text before it. */
static void end_string(struct jscan *s, const char *p, const char *end, uint64_t at_end)
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
    if (node->flags & JSCAN_COUNT)
        s->counted_bytes += raw - s->saved;
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

static enum rc end_number(struct jscan *s, const char *p, const char *end, uint64_t at_end)
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

/* The same of a number that is whole in this feed, of digits alone and short: value. */
static void end_count(struct jscan *s, struct strv text, uint64_t value, uint64_t begin)
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

static void end_literal(struct jscan *s, uint64_t at_end)
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

/* The first byte of a value, c, at place `at`.  Numbers do not consume it. */
static enum rc begin_value(struct jscan *s, char c, uint64_t at, bool *consumed)
{
    *consumed = true;
    s->empty = false;
    switch (c) {
    case '"':
        start_token(s, ST_STRING, (s->nodes[s->target].flags & JSCAN_WANT) != 0, at);
        return RC_OK;
    case '{':
        return push(s, false, at);
    case '[':
        return push(s, true, at);
    case 't':
    case 'f':
    case 'n':
        start_token(s, ST_LITERAL, false, at);
        s->literal = (uint8_t)(c == 't'   ? LITERAL_TRUE
                               : c == 'f' ? LITERAL_FALSE
                                          : LITERAL_NULL);
        s->literal_n = 1;
        return RC_OK;
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        start_token(s, ST_NUMBER, true, at);
        *consumed = false;
        return RC_OK;
    default:
        return RC_BAD;
    }
}

static void begin_key(struct jscan *s, uint64_t at)
{
    const struct jscan_node *node = &s->nodes[s->node_at[s->depth]];

    start_token(s, ST_STRING, node->n_edges > 0, at);
    s->is_key = true;
    s->target = node->any;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum rc step_escape(struct jscan *s, char c)
{
    if (c == 'u') {
        s->state = ST_UNICODE;
        s->literal_n = 0;
        s->unit = 0;
        return RC_OK;
    }
    s->saved++;
    s->state = ST_STRING;
    return memchr("\"\\/bfnrt", c, 8) != NULL ? RC_OK : RC_BAD;
}

static enum rc step_unicode(struct jscan *s, char c)
{
    int digit = hex_digit(c);

    if (digit < 0)
        return RC_BAD;
    s->unit = s->unit << 4 | (uint32_t)digit;
    if (++s->literal_n == 4) {
        s->saved += unicode_saves(s->unit);
        s->state = ST_STRING;
    }
    return RC_OK;
}

/* Loose, inside a container that nobody wants: brackets and strings alone. */
static const char *step_skip(struct jscan *s, const char *p, const char *end, uint64_t at0,
                             const char *first, enum rc *rc)
{
    p = bracket_run(p, end);
    if (p == end)
        return p;
    if (*p == '"') {
        s->state = ST_SKIP_STRING;
    } else if (*p == '{' || *p == '[') {
        uint16_t outer = s->skip_depth;

        s->target = JSCAN_SKIP;
        *rc = push(s, *p == '[', at0 + (uint64_t)(p - first));
        s->skip_depth = outer;
        s->state = ST_SKIP;
    } else {
        if (in_array(s) != (*p == ']')) {
            *rc = RC_BAD;
            return p;
        }
        pop(s, 0);
        if (s->depth > s->skip_depth)
            s->state = ST_SKIP;
    }
    return p + 1;
}

/* Everything between values: names, colons, commas, brackets. */
static enum rc step_structure(struct jscan *s, char c, uint64_t at, bool *consumed)
{
    *consumed = true;
    switch ((enum state)s->state) {
    case ST_ITEM_OR_END:
        if (c == ']') {
            pop(s, at + 1);
            return RC_OK;
        }
        return begin_value(s, c, at, consumed);
    case ST_VALUE:
        return begin_value(s, c, at, consumed);
    case ST_MEMBER_OR_END:
        if (c == '}') {
            pop(s, at + 1);
            return RC_OK;
        }
        if (c != '"')
            return RC_BAD;
        begin_key(s, at);
        return RC_OK;
    case ST_MEMBER:
        if (c != '"')
            return RC_BAD;
        begin_key(s, at);
        return RC_OK;
    case ST_COLON:
        s->state = ST_VALUE;
        return c == ':' ? RC_OK : RC_BAD;
    case ST_AFTER:
        if (c == ',') {
            if (in_array(s)) {
                s->state = ST_VALUE;
                s->target = s->nodes[s->node_at[s->depth]].item;
            } else {
                s->state = ST_MEMBER;
            }
            return RC_OK;
        }
        if (c != (in_array(s) ? ']' : '}'))
            return RC_BAD;
        pop(s, at + 1);
        return RC_OK;
    case ST_STRING:
    case ST_ESCAPE:
    case ST_UNICODE:
    case ST_NUMBER:
    case ST_LITERAL:
    case ST_SKIP:
    case ST_SKIP_STRING:
    case ST_SKIP_ESCAPE:
    case ST_DONE:
        break;
    }
    return RC_BAD;
}

/* Literals, escapes: one byte of a token. */
static enum rc step_literal(struct jscan *s, char c, uint64_t at)
{
    if (c != LITERALS[s->literal].text[s->literal_n])
        return RC_BAD;
    if (++s->literal_n == LITERALS[s->literal].n)
        end_literal(s, at + 1);
    return RC_OK;
}

/* A string's body up to its quote, an escape, or the end of the feed. */
static const char *step_string(struct jscan *s, const char *p, const char *end,
                               const char **piece, const char *first, enum rc *rc)
{
    p = string_run(p, end, s->loose);
    if (p == end)
        return p;
    if (*p == '"') {
        end_string(s, *piece, p, s->at + (uint64_t)(p + 1 - first));
        return p + 1;
    }
    if (*p != '\\') {
        *rc = RC_BAD; /* a bare control character */
        return p;
    }
    s->escaped = true;
    s->state = ST_ESCAPE;
    return p + 1;
}

/* The next byte that is no white space; most often there is none. */
static inline const char *next_byte(const char *p, const char *end)
{
    return p < end && (unsigned char)*p <= ' ' ? skip_space(p, end) : p;
}

/* A plain member's value at q; behind it where it was taken, else q and ST_VALUE. */
static inline const char *run_value(struct jscan *s, const char *q, const char *end,
                                    const char *first, enum rc *rc)
{
    uint64_t at = s->at + (uint64_t)(q - first);
    const char *p;

    s->state = ST_VALUE;
    if (*q == '"') {
        p = string_run(q + 1, end, s->loose);
        if (p == end || *p != '"')
            return q;
        start_token(s, ST_STRING, (s->nodes[s->target].flags & JSCAN_WANT) != 0, at);
        end_string(s, q + 1, p, s->at + (uint64_t)(p + 1 - first));
        return p + 1;
    }
    if ((*q >= '0' && *q <= '9') || *q == '-') {
        uint64_t value = 0;

        for (p = q; p < end && *p >= '0' && *p <= '9' && p - q < JSCAN_SHORT_DIGITS; p++)
            value = value * 10 + (uint64_t)(*p - '0');
        if (p < end && p > q && !is_number_byte(*p) && !(*q == '0' && p - q > 1)) {
            end_count(s, strv_make(q, (size_t)(p - q)), value, at);
            return p;
        }
        while (p < end && is_number_byte(*p))
            p++;
        if (p == end)
            return q;
        start_token(s, ST_NUMBER, true, at);
        *rc = end_number(s, q, p, s->at + (uint64_t)(p - first));
        return p;
    }
    if (*q == 'n' && end - q > 4 && memcmp(q, "null", 4) == 0) {
        start_token(s, ST_LITERAL, false, at);
        s->literal = LITERAL_NULL;
        end_literal(s, at + 4);
        return q + 4;
    }
    if (*q == '{') {
        *rc = push(s, false, at);
        return q + 1;
    }
    return q;
}

/* Behind a member's value: to the name of the next one, whose object may be one further out.
 * Else the place from which the state machine goes on. */
static inline const char *run_after(struct jscan *s, const char *p, const char *end,
                                    const char *first)
{
    const char *comma;

    p = next_byte(p, end);
    while (p < end && *p == '}') {
        pop(s, s->at + (uint64_t)(p + 1 - first));
        p++;
        if (s->state == ST_DONE || in_array(s))
            return p;
        p = next_byte(p, end);
    }
    if (p == end || *p != ',')
        return p;
    comma = p;
    p = next_byte(p + 1, end);
    if (p == end || *p != '"')
        return comma;
    s->state = ST_MEMBER;
    return p;
}

/*
 * Members that lie whole and plain in this feed ("name": value, one after another, objects
 * in each other, no escapes), without a turn of the state machine for each of their
 * pieces.  Stops in front of whatever is otherwise, in a state that can go on there; at
 * p itself where that is the very name.
 */
static const char *run_members(struct jscan *s, const char *p, const char *end,
                               const char *first, enum rc *rc)
{
    do {
        const struct jscan_node *container = &s->nodes[s->node_at[s->depth]];
        const char *name_end = string_run(p + 1, end, s->loose), *q;
        struct strv name = strv_make(p + 1, (size_t)(name_end - p - 1));

        if (end - name_end < 3 || *name_end != '"' || name.n > JSCAN_KEY_MAX)
            return p;
        q = next_byte(name_end + 1, end);
        if (q == end || *q != ':')
            return p;
        q = next_byte(q + 1, end);
        if (q == end)
            return p;
        s->target = container->n_edges > 0 ? find_plain(s, container, name) : container->any;
        p = run_value(s, q, end, first, rc);
        if (s->state == ST_MEMBER_OR_END)
            p = next_byte(p, end); /* into the object that begins here */
        else if (s->state == ST_AFTER)
            p = run_after(s, p, end, first);
    } while (*rc == RC_OK && p < end && *p == '"' &&
             (s->state == ST_MEMBER || s->state == ST_MEMBER_OR_END));
    return p;
}

enum rc jscan_feed(struct jscan *s, struct strv bytes)
{
    const char *first = bytes.p, *p = bytes.p, *end = bytes.p + bytes.n;
    const char *piece = p; /* where this feed's part of the token begins */
    enum rc rc = s->rc;

    while (rc == RC_OK && p < end) {
        bool consumed;

        switch ((enum state)s->state) {
        case ST_STRING:
            p = step_string(s, p, end, &piece, first, &rc);
            break;
        case ST_ESCAPE:
            rc = step_escape(s, *p++);
            break;
        case ST_UNICODE:
            rc = step_unicode(s, *p++);
            break;
        case ST_NUMBER:
            while (p < end && is_number_byte(*p))
                p++;
            if (p < end)
                rc = end_number(s, piece, p, s->at + (uint64_t)(p - first));
            break;
        case ST_LITERAL:
            rc = step_literal(s, *p, s->at + (uint64_t)(p - first));
            p++;
            break;
        case ST_SKIP:
            p = step_skip(s, p, end, s->at, first, &rc);
            break;
        case ST_SKIP_STRING:
            p = string_run(p, end, true);
            if (p < end)
                s->state = *p++ == '"' ? ST_SKIP : ST_SKIP_ESCAPE;
            break;
        case ST_SKIP_ESCAPE:
            p++;
            s->state = ST_SKIP_STRING;
            break;
        case ST_DONE:
            p = skip_space(p, end);
            if (p < end)
                rc = RC_BAD;
            break;
        case ST_VALUE:
        case ST_ITEM_OR_END:
        case ST_MEMBER_OR_END:
        case ST_MEMBER:
        case ST_COLON:
        case ST_AFTER:
            p = skip_space(p, end);
            if (p == end)
                break;
            if (*p == '"' && (s->state == ST_MEMBER || s->state == ST_MEMBER_OR_END)) {
                const char *before = p;

                p = run_members(s, p, end, first, &rc);
                if (p != before)
                    break;
            }
            rc = step_structure(s, *p, s->at + (uint64_t)(p - first), &consumed);
            if (consumed)
                p++;
            piece = p;
            break;
        }
    }
    if (rc == RC_OK && s->capture && piece < end &&
        (s->state == ST_STRING || s->state == ST_ESCAPE || s->state == ST_UNICODE ||
         s->state == ST_NUMBER))
        keep_text(s, piece, (size_t)(end - piece));
    s->at += bytes.n;
    s->rc = rc;
    return rc;
}

uint64_t jscan_counted(const struct jscan *s)
{
    bool open = s->state == ST_STRING || s->state == ST_ESCAPE || s->state == ST_UNICODE;

    if (!open || s->is_key || !(s->nodes[s->target].flags & JSCAN_COUNT))
        return s->counted_bytes;
    return s->counted_bytes + (s->at - s->begin - 1 - s->saved);
}

bool jscan_is_open(const struct jscan *s)
{
    return s->rc == RC_OK && s->depth > 0;
}

enum rc jscan_finish(struct jscan *s)
{
    if (s->rc == RC_OK && s->state == ST_NUMBER && s->depth == 0)
        s->rc = end_number(s, "", "", s->at);
    if (s->rc == RC_OK && s->state != ST_DONE)
        s->rc = RC_BAD;
    return s->rc;
}

enum rc jscan_whole(struct jscan *s, struct strv document)
{
    enum rc rc = jscan_feed(s, document);

    (void)rc; /* it sticks */
    return jscan_finish(s);
}
