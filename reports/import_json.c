#include "reports/import_json.h"

#include <string.h>

struct reader {
    struct strv text;
    size_t at;
    struct arena *arena;
    const char *why;
};

static void skip_space(struct reader *r)
{
    while (r->at < r->text.n && memchr(" \t\r\n", r->text.p[r->at], 4))
        r->at++;
}

static char here(const struct reader *r)
{
    return r->at < r->text.n ? r->text.p[r->at] : '\0';
}

static bool fault(struct reader *r, const char *why)
{
    r->why = why;
    return false;
}

static bool read_word(struct reader *r, const char *word)
{
    struct strv w = strv_z(word);

    if (!strv_starts(strv_skip(r->text, r->at), w))
        return fault(r, "is no JSON value");
    r->at += w.n;
    return true;
}

static bool digits(struct reader *r)
{
    size_t before = r->at;

    while (here(r) >= '0' && here(r) <= '9')
        r->at++;
    return r->at > before;
}

static bool read_number(struct reader *r, struct import_value *v)
{
    size_t start = r->at;

    v->type = IMPORT_NUMBER;
    if (here(r) == '-')
        r->at++;
    if (!digits(r))
        return fault(r, "is no JSON value");
    if (here(r) == '.') {
        r->at++;
        if (!digits(r))
            return fault(r, "is no number");
    }
    if (here(r) == 'e' || here(r) == 'E') {
        r->at++;
        if (here(r) == '+' || here(r) == '-')
            r->at++;
        if (!digits(r))
            return fault(r, "is no number");
    }
    v->text = strv_make(r->text.p + start, r->at - start);
    return true;
}

static bool read_hex(struct reader *r, unsigned *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++, r->at++) {
        char c = here(r);
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
                                                : 16;
        if (digit == 16)
            return fault(r, "is no \\u escape");
        *out = *out * 16 + digit;
    }
    return true;
}

static size_t put_utf8(char *to, unsigned c)
{
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        to[0] = (char)(0xc0 | c >> 6);
        to[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    to[0] = (char)(0xe0 | c >> 12);
    to[1] = (char)(0x80 | (c >> 6 & 0x3f));
    to[2] = (char)(0x80 | (c & 0x3f));
    return 3;
}

/* Behind the backslash; what is written is never longer than what is read. */
static bool read_escape(struct reader *r, char *to, size_t *n)
{
    static const char from[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *found = here(r) ? strchr(from, here(r)) : NULL;
    unsigned c;

    if (found) {
        to[(*n)++] = meant[found - from];
        r->at++;
        return true;
    }
    if (here(r) != 'u')
        return fault(r, "is no escape");
    r->at++;
    if (!read_hex(r, &c))
        return false;
    /* Halves of a pair are no names of models or accounts: each becomes U+FFFD. */
    *n += put_utf8(to + *n, c >= 0xd800 && c < 0xe000 ? 0xfffd : c);
    return true;
}

static bool read_string(struct reader *r, struct strv *out)
{
    size_t start = ++r->at, n = 0;
    char *to;

    while (r->at < r->text.n && here(r) != '"' && here(r) != '\\' &&
           (unsigned char)here(r) >= ' ')
        r->at++;
    if (here(r) == '"') {
        *out = strv_make(r->text.p + start, r->at++ - start);
        return true;
    }
    /* An escape: a copy, no longer than what is left of the string. */
    for (n = r->at; n < r->text.n && r->text.p[n] != '"'; n++)
        n += r->text.p[n] == '\\' ? 1 : 0;
    to = arena_alloc(r->arena, (n < r->text.n ? n : r->text.n) - start + 4);
    if (!to)
        return fault(r, "is more than can be read");
    n = r->at - start;
    memcpy(to, r->text.p + start, n);
    while (r->at < r->text.n && here(r) != '"') {
        if ((unsigned char)here(r) < ' ')
            return fault(r, "has a control character");
        if (here(r) != '\\') {
            to[n++] = r->text.p[r->at++];
            continue;
        }
        r->at++;
        if (!read_escape(r, to, &n))
            return false;
    }
    if (r->at >= r->text.n)
        return fault(r, "ends within a string");
    r->at++;
    *out = strv_make(to, n);
    return true;
}

static bool read_value(struct reader *r, int depth, struct import_value **out);

/* Members of an object or elements of an array, up to the closing bracket. */
static bool read_items(struct reader *r, int depth, struct import_value *v)
{
    bool object = v->type == IMPORT_OBJECT;
    char end = object ? '}' : ']';
    struct import_value **next = &v->child;

    r->at++;
    skip_space(r);
    if (here(r) == end) {
        r->at++;
        return true;
    }
    for (;;) {
        struct strv key = STRV_NONE;
        skip_space(r);
        if (object) {
            if (here(r) != '"')
                return fault(r, "is no name of a member");
            if (!read_string(r, &key))
                return false;
            skip_space(r);
            if (here(r) != ':')
                return fault(r, "should be a colon");
            r->at++;
        }
        if (!read_value(r, depth + 1, next))
            return false;
        (*next)->key = key;
        next = &(*next)->next;
        skip_space(r);
        if (here(r) == end) {
            r->at++;
            return true;
        }
        if (here(r) != ',')
            return fault(r, "should be a comma or the end");
        r->at++;
    }
}

static bool read_value(struct reader *r, int depth, struct import_value **out)
{
    struct import_value *v = arena_alloc(r->arena, sizeof(*v));

    if (!v)
        return fault(r, "is more than can be read");
    if (depth > IMPORT_JSON_DEPTH_MAX)
        return fault(r, "is nested too deeply");
    skip_space(r);
    v->at = r->at;
    *out = v;
    switch (here(r)) {
    case '{':
        v->type = IMPORT_OBJECT;
        return read_items(r, depth, v);
    case '[':
        v->type = IMPORT_ARRAY;
        return read_items(r, depth, v);
    case '"':
        v->type = IMPORT_STRING;
        return read_string(r, &v->text);
    case 't':
        v->type = IMPORT_TRUE;
        return read_word(r, "true");
    case 'f':
        v->type = IMPORT_FALSE;
        return read_word(r, "false");
    case 'n':
        return read_word(r, "null");
    default:
        return read_number(r, v);
    }
}

bool import_json(struct strv text, size_t *at, struct arena *arena, struct import_value **out,
                 const char **why)
{
    struct reader r = {text, *at, arena, NULL};
    bool good = true;

    *out = NULL;
    skip_space(&r);
    if (r.at < text.n)
        good = read_value(&r, 0, out);
    *at = r.at;
    *why = r.why;
    return good;
}

const struct import_value *import_member(const struct import_value *object, const char *name)
{
    if (!object || object->type != IMPORT_OBJECT)
        return NULL;
    for (const struct import_value *v = object->child; v; v = v->next) {
        if (strv_eq(v->key, strv_z(name)))
            return v;
    }
    return NULL;
}

void import_place(struct strv text, size_t at, unsigned long *line, unsigned long *column)
{
    *line = *column = 1;
    for (size_t i = 0; i < at && i < text.n; i++) {
        ++*column;
        if (text.p[i] == '\n') {
            ++*line;
            *column = 1;
        }
    }
}
