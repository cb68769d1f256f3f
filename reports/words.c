/*
 * words.c - see words.h.
 */
#include "reports/words.h"

#include "base/check.h"

size_t words_distance(struct strv a, struct strv b)
{
    size_t rows[3][WORDS_MAX_BYTES + 1];

    ASSERT(a.n <= WORDS_MAX_BYTES && b.n <= WORDS_MAX_BYTES);
    for (size_t j = 0; j <= b.n; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        size_t *row = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            size_t best = last[j - 1] + (a.p[i - 1] != b.p[j - 1]);
            if (last[j] + 1 < best)
                best = last[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1] &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[a.n % 3][b.n];
}

const char *words_nearest(struct strv word, const char *const *candidates, size_t n)
{
    const char *best = NULL;
    size_t least = word.n < 6 ? 1 : word.n / 3;

    if (word.n == 0 || word.n > WORDS_MAX_BYTES)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        struct strv c = strv_z(candidates[i]);
        size_t d;
        if (c.n > WORDS_MAX_BYTES)
            continue;
        d = words_distance(word, c);
        if (d < least || (d == least && !best)) {
            best = candidates[i];
            least = d;
        }
    }
    return best;
}

struct strv words_shown(struct strv value)
{
    return strv_head(value, 80);
}

enum rc words_bad(struct buf *error, const char *word, struct strv value, const char *why)
{
    enum rc rc =
        buf_printf(error, "%s \"" STRV_FMT "\" %s", word, STRV_ARG(words_shown(value)), why);

    (void)rc;
    return RC_BAD;
}
