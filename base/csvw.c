#include "base/csvw.h"

#include <string.h>

bool csvw_is_formula(struct strv text)
{
    return text.n > 0 && memchr("=+-@\t\r", text.p[0], 6) != NULL;
}

static bool wants_quotes(struct strv text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (memchr(",\"\r\n", text.p[i], 4))
            return true;
    }
    return false;
}

static enum rc put(struct buf *out, struct strv text, bool is_defused)
{
    bool is_quoted = wants_quotes(text);
    enum rc rc = is_quoted ? buf_append(out, "\"", 1) : RC_OK;

    if (rc == RC_OK && is_defused)
        rc = buf_append(out, "'", 1);
    while (rc == RC_OK && is_quoted && text.n > 0) {
        size_t n = strv_find(text, '"');

        rc = buf_append_strv(out, strv_head(text, n));
        if (rc == RC_OK && n < text.n)
            rc = buf_append(out, "\"\"", 2);
        text = strv_skip(text, n + 1);
    }
    if (rc == RC_OK)
        rc = buf_append_strv(out, text);
    return rc == RC_OK && is_quoted ? buf_append(out, "\"", 1) : rc;
}

enum rc csvw_raw(struct buf *out, struct strv text)
{
    return put(out, text, false);
}

enum rc csvw_text(struct buf *out, struct strv text)
{
    return put(out, text, csvw_is_formula(text));
}
