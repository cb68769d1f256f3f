#include "base/jsonw.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"
#include "base/utf8.h"

static void put(struct jsonw *w, const char *p, size_t n)
{
    if (w->rc == RC_OK)
        w->rc = buf_append(w->out, p, n);
}

/* The comma before a value or key, where one is due. */
static void separate(struct jsonw *w)
{
    if (w->after_key) {
        w->after_key = false;
        return;
    }
    if (w->comma[w->depth])
        put(w, ",", 1);
    w->comma[w->depth] = true;
}

void jsonw_start(struct jsonw *w, struct buf *out)
{
    *w = (struct jsonw){.out = out, .rc = RC_OK};
}

static void open_level(struct jsonw *w, char open, char close)
{
    separate(w);
    if (w->depth == JSONW_DEPTH) {
        w->rc = RC_LIMIT;
        return;
    }
    put(w, &open, 1);
    w->close[w->depth++] = close;
    w->comma[w->depth] = false;
}

void jsonw_object(struct jsonw *w)
{
    open_level(w, '{', '}');
}

void jsonw_array(struct jsonw *w)
{
    open_level(w, '[', ']');
}

void jsonw_end(struct jsonw *w)
{
    if (w->rc != RC_OK)
        return;
    ASSERT(w->depth > 0);
    w->depth--;
    put(w, &w->close[w->depth], 1);
}

static void put_text(struct jsonw *w, struct strv s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t done = 0, at = 0;

    put(w, "\"", 1);
    while (at < s.n) {
        size_t len;
        char escape[8];

        if (p[at] >= 0x20 && p[at] != '"' && p[at] != '\\' && p[at] != 0x7f &&
            (len = utf8_sequence(strv_skip(s, at))) > 0) {
            at += len;
            continue;
        }
        put(w, s.p + done, at - done);
        if (p[at] == '"' || p[at] == '\\')
            snprintf(escape, sizeof(escape), "\\%c", p[at]);
        else if (p[at] < 0x80)
            snprintf(escape, sizeof(escape), "\\u%04x", p[at]);
        else
            snprintf(escape, sizeof(escape), "\xef\xbf\xbd");
        put(w, escape, strlen(escape));
        done = ++at;
    }
    put(w, s.p + done, at - done);
    put(w, "\"", 1);
}

void jsonw_key(struct jsonw *w, struct strv key)
{
    separate(w);
    put_text(w, key);
    put(w, ":", 1);
    w->after_key = true;
}

void jsonw_string(struct jsonw *w, struct strv s)
{
    separate(w);
    put_text(w, s);
}

void jsonw_int(struct jsonw *w, int64_t value)
{
    char text[24];
    int n = snprintf(text, sizeof(text), "%" PRId64, value);

    jsonw_raw(w, strv_make(text, (size_t)n));
}

void jsonw_uint(struct jsonw *w, uint64_t value)
{
    char text[24];
    int n = snprintf(text, sizeof(text), "%" PRIu64, value);

    jsonw_raw(w, strv_make(text, (size_t)n));
}

void jsonw_bool(struct jsonw *w, bool value)
{
    jsonw_raw(w, value ? STRV("true") : STRV("false"));
}

void jsonw_null(struct jsonw *w)
{
    jsonw_raw(w, STRV("null"));
}

void jsonw_raw(struct jsonw *w, struct strv json)
{
    separate(w);
    put(w, json.p, json.n);
}

enum rc jsonw_finish(struct jsonw *w)
{
    if (w->rc == RC_OK)
        ASSERT(w->depth == 0);
    return w->rc;
}
