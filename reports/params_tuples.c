/* Combinations of values: "team,model=search,gpt-4o;labs,o3". */
#include <stdlib.h>

#include "base/check.h"
#include "reports/params_int.h"
#include "reports/words.h"

static int tuple_cmp(const void *a, const void *b, void *n_by)
{
    const struct strv *x = a, *y = b;
    int c = 0;

    for (size_t i = 0; c == 0 && i < *(const size_t *)n_by; i++)
        c = strv_cmp(x[i], y[i]);
    return c;
}

enum rc params_tuples(struct report_params *p, const char *word, struct strv value,
                          struct ledger_tuples *out, struct buf *error)
{
    static const char form[] = "is no list of combinations (team,model=search,gpt-4o;labs,o3)";
    size_t equals = strv_find(value, '='), at = 0, most = 1;
    struct strv names = strv_head(value, equals), rest = strv_skip(value, equals + 1), name;
    struct strv *values;
    char end = ';';

    while (strv_split(&names, ',', &name)) {
        enum rc rc = RC_BAD;

        if (out->n_by < LEDGER_GROUP_MAX)
            rc = params_field(p, word, name, &out->by[out->n_by++], error);
        else
            rc = words_bad(error, word, name, "is one field too many");
        if (rc != RC_OK)
            return rc;
    }
    for (size_t i = 0; i < rest.n; i++)
        most += rest.p[i] == ',' || rest.p[i] == ';';
    if (equals == value.n)
        return words_bad(error, word, value, form);
    values = arena_alloc(&p->arena, most * sizeof(*values));
    if (!values)
        return words_bad(error, word, value, "is too much: the words are too long");
    while (end != '\0') {
        ASSERT(at < most); /* a value for each end, and the last */
        if (params_value(p, &rest, STRV(",;"), &values[at++], &end) != RC_OK)
            return words_bad(error, word, value, "is too much: the words are too long");
        if (end != '\0' && (end == ';') != (at % out->n_by == 0))
            return words_bad(error, word, value, form);
    }
    if (at % out->n_by != 0)
        return words_bad(error, word, value, form);
    out->value = values;
    out->n = at / out->n_by;
    qsort_r(values, out->n, out->n_by * sizeof(*values), tuple_cmp, &out->n_by);
    return RC_OK;
}
