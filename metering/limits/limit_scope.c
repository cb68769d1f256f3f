/*
 * limit_scope.c - reads the scope of a counter back into the values it was made of.
 *
 * What writes scopes is limit_set.c.
 */
#include "metering/limits/limit.h"

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* What was written as text, with %XX for some. */
static enum rc unescape(struct strv text, struct arena *arena, struct strv *out)
{
    char *to = arena_alloc(arena, text.n + 1);
    size_t n = 0;

    if (!to)
        return RC_LIMIT;
    for (size_t i = 0; i < text.n; i++) {
        int high, low;

        if (text.p[i] != '%') {
            to[n++] = text.p[i];
            continue;
        }
        high = i + 2 < text.n ? digit(text.p[i + 1]) : -1;
        low = high >= 0 ? digit(text.p[i + 2]) : -1;
        if (low < 0)
            return RC_BAD;
        to[n++] = (char)(high << 4 | low);
        i += 2;
    }
    *out = strv_make(to, n);
    return RC_OK;
}

/* "name=value" of this name; RC_BAD where it is none, or the value is told by its hash. */
static enum rc read_part(struct strv part, struct strv name, struct arena *arena,
                         struct strv *value)
{
    size_t at = strv_find(part, '=');
    struct strv written, own;
    enum rc rc = at < part.n ? unescape(strv_head(part, at), arena, &own) : RC_BAD;

    if (rc != RC_OK || !strv_eq(own, name))
        return rc == RC_OK ? RC_BAD : rc;
    written = strv_skip(part, at + 1);
    *value = STRV_NONE;
    if (strv_eq(written, STRV("(none)")))
        return RC_OK;
    return strv_starts(written, STRV("(")) ? RC_BAD : unescape(written, arena, value);
}

enum rc limit_scope_values(const struct limit_def *def, struct strv scope, struct arena *arena,
                           struct strv *values)
{
    struct strv rest = scope, part;
    enum rc rc = RC_OK;

    for (size_t i = 0; rc == RC_OK && i < def->n_per; i++)
        rc = strv_split(&rest, ',', &part) ? read_part(part, def->per[i], arena, &values[i])
                                           : RC_BAD;
    if (rc == RC_OK && (def->n_per ? strv_split(&rest, ',', &part) : scope.n > 0))
        rc = RC_BAD; /* more than there are */
    return rc;
}
