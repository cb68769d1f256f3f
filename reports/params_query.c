/*
 * params_query.c - the words of a report in the query of a URL; see params.h.
 */
#include "reports/params.h"
#include "reports/words.h"

enum {
    QUERY_WORDS_MAX = 200,
};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* application/x-www-form-urlencoded; a broken escape or a NUL is refused. */
static bool form_decode(struct report_params *p, struct strv text, struct strv *out)
{
    char *to = arena_alloc(&p->arena, text.n + 1);
    size_t n = 0;

    if (!to)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            int high = i + 1 < text.n ? hex_digit(text.p[i + 1]) : -1;
            int low = i + 2 < text.n ? hex_digit(text.p[i + 2]) : -1;
            if (high < 0 || low < 0 || high + low == 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        to[n++] = c;
    }
    *out = strv_make(to, n);
    return true;
}

enum rc params_query(struct report_params *p, struct strv query, struct buf *error)
{
    struct strv pair;
    unsigned count = 0;

    while (strv_split(&query, '&', &pair)) {
        size_t equals = strv_find(pair, '=');
        struct strv word, value;
        enum rc rc;
        if (pair.n == 0)
            continue;
        if (++count > QUERY_WORDS_MAX)
            return words_bad(error, "query", pair, "is one word too many");
        if (!form_decode(p, strv_head(pair, equals), &word) ||
            !form_decode(p, strv_skip(pair, equals + 1), &value))
            return words_bad(error, "query", pair, "is not form-encoded, or too long");
        /* A URL names no file of this machine. */
        if (strv_eq(word, STRV("import")))
            return words_bad(error, "word", word, "is for the command line alone");
        rc = params_set(p, word, value, error);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}
