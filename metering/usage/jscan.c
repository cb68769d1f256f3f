#include "metering/usage/jscan.h"

#include <string.h>

#include "metering/usage/jscan_int.h"

void jscan_start(struct jscan *s, const struct jscan_node *nodes, uint8_t root, bool loose,
                 jscan_fn *fn, void *arg)
{
    s->nodes = nodes;
    s->fn = fn;
    s->arg = arg;
    s->loose = loose;
    s->counted_bytes = 0;
    s->gaps = NULL;
    s->text_fn = NULL;
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

/* The first byte of a value, c, at place `at`.  Numbers do not consume it. */
static enum rc begin_value(struct jscan *s, char c, uint64_t at, bool *consumed)
{
    *consumed = true;
    s->empty = false;
    switch (c) {
    case '"':
        jscan_start_token(s, ST_STRING, (s->nodes[s->target].flags & JSCAN_WANT) != 0, at);
        return RC_OK;
    case '{':
        return jscan_push(s, false, at);
    case '[':
        return jscan_push(s, true, at);
    case 't':
    case 'f':
    case 'n':
        jscan_start_token(s, ST_LITERAL, false, at);
        s->literal = (uint8_t)(c == 't'   ? JSCAN_LITERAL_TRUE
                               : c == 'f' ? JSCAN_LITERAL_FALSE
                                          : JSCAN_LITERAL_NULL);
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
        jscan_start_token(s, ST_NUMBER, true, at);
        *consumed = false;
        return RC_OK;
    default:
        return RC_BAD;
    }
}

static void begin_key(struct jscan *s, uint64_t at)
{
    const struct jscan_node *node = &s->nodes[s->node_at[s->depth]];

    jscan_start_token(s, ST_STRING, node->n_edges > 0, at);
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
        *rc = jscan_push(s, *p == '[', at0 + (uint64_t)(p - first));
        s->skip_depth = outer;
        s->state = ST_SKIP;
    } else {
        if (jscan_in_array(s) != (*p == ']')) {
            *rc = RC_BAD;
            return p;
        }
        jscan_pop(s, 0);
        if (s->depth > s->skip_depth)
            s->state = ST_SKIP;
    }
    return p + 1;
}

/* Everything between values: names, colons, commas, brackets. */
static enum rc step_structure(struct jscan *s, char c, uint64_t at, bool *consumed)
{
    *consumed = true;
    switch ((enum jscan_state)s->state) {
    case ST_ITEM_OR_END:
        if (c == ']') {
            jscan_pop(s, at + 1);
            return RC_OK;
        }
        return begin_value(s, c, at, consumed);
    case ST_VALUE:
        return begin_value(s, c, at, consumed);
    case ST_MEMBER_OR_END:
        if (c == '}') {
            jscan_pop(s, at + 1);
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
            if (jscan_in_array(s)) {
                s->state = ST_VALUE;
                s->target = s->nodes[s->node_at[s->depth]].item;
            } else {
                s->state = ST_MEMBER;
            }
            return RC_OK;
        }
        if (c != (jscan_in_array(s) ? ']' : '}'))
            return RC_BAD;
        jscan_pop(s, at + 1);
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

/* A string's body up to its quote, an escape, or the end of the feed. */
static const char *step_string(struct jscan *s, const char *p, const char *end,
                               const char **piece, const char *first, enum rc *rc)
{
    p = string_run(p, end, s->loose);
    if (p == end)
        return p;
    if (*p == '"') {
        jscan_end_string(s, *piece, p, s->at + (uint64_t)(p + 1 - first));
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
        jscan_start_token(s, ST_STRING, (s->nodes[s->target].flags & JSCAN_WANT) != 0, at);
        jscan_end_string(s, q + 1, p, s->at + (uint64_t)(p + 1 - first));
        return p + 1;
    }
    if ((*q >= '0' && *q <= '9') || *q == '-') {
        uint64_t value = 0;

        for (p = q; p < end && *p >= '0' && *p <= '9' && p - q < JSCAN_SHORT_DIGITS; p++)
            value = value * 10 + (uint64_t)(*p - '0');
        if (p < end && p > q && !is_number_byte(*p) && !(*q == '0' && p - q > 1)) {
            jscan_end_count(s, strv_make(q, (size_t)(p - q)), value, at);
            return p;
        }
        while (p < end && is_number_byte(*p))
            p++;
        if (p == end)
            return q;
        jscan_start_token(s, ST_NUMBER, true, at);
        *rc = jscan_end_number(s, q, p, s->at + (uint64_t)(p - first));
        return p;
    }
    if (*q == 'n' && end - q > 4 && memcmp(q, "null", 4) == 0) {
        jscan_start_token(s, ST_LITERAL, false, at);
        s->literal = JSCAN_LITERAL_NULL;
        jscan_end_literal(s, at + 4);
        return q + 4;
    }
    if (*q == '{') {
        *rc = jscan_push(s, false, at);
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
        jscan_pop(s, s->at + (uint64_t)(p + 1 - first));
        p++;
        if (s->state == ST_DONE || jscan_in_array(s))
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
        s->target = container->n_edges > 0 ? jscan_find_plain(s, container, name) : container->any;
        p = run_value(s, q, end, first, rc);
        if (s->state == ST_MEMBER_OR_END)
            p = next_byte(p, end); /* into the object that begins here */
        else if (s->state == ST_AFTER)
            p = run_after(s, p, end, first);
    } while (*rc == RC_OK && p < end && *p == '"' &&
             (s->state == ST_MEMBER || s->state == ST_MEMBER_OR_END));
    return p;
}

static bool is_in_string(const struct jscan *s)
{
    return s->state == ST_STRING || s->state == ST_ESCAPE || s->state == ST_UNICODE;
}

static bool is_counted(const struct jscan *s)
{
    return !s->is_key && (s->nodes[s->target].flags & JSCAN_COUNT);
}

/* The feed ends within a token, of which it had this piece. */
static void keep_piece(struct jscan *s, struct strv piece)
{
    if (!is_in_string(s) && s->state != ST_NUMBER)
        return;
    if (s->capture)
        jscan_keep_text(s, piece.p, piece.n);
    if (s->text_fn != NULL && s->state != ST_NUMBER && is_counted(s))
        s->text_fn(s->text_arg, piece, false);
}

enum rc jscan_feed(struct jscan *s, struct strv bytes)
{
    const char *first = bytes.p, *p = bytes.p, *end = bytes.p + bytes.n;
    const char *piece = p; /* where this feed's part of the token begins */
    enum rc rc = s->rc;

    while (rc == RC_OK && p < end) {
        bool consumed;

        switch ((enum jscan_state)s->state) {
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
                rc = jscan_end_number(s, piece, p, s->at + (uint64_t)(p - first));
            break;
        case ST_LITERAL:
            rc = jscan_step_literal(s, *p, s->at + (uint64_t)(p - first));
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
    if (rc == RC_OK && piece < end)
        keep_piece(s, strv_make(piece, (size_t)(end - piece)));
    s->at += bytes.n;
    s->rc = rc;
    return rc;
}

uint64_t jscan_counted(const struct jscan *s)
{
    if (!is_in_string(s) || !is_counted(s))
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
        s->rc = jscan_end_number(s, "", "", s->at);
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
