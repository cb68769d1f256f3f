/* Combinations of values: "team,model=search,gpt-4o;labs,o3". */
#include <stdlib.h>

#include "reports/params_int.h"
#include "reports/words.h"

/* The next value of a tuple "a,b;c,d", unescaped into the arena; *end: what ended it. */
static bool tuple_value(struct report_params *p, struct strv *rest, struct strv *out, char *end)
{
    char *text = arena_alloc(&p->arena, rest->n + 1);
    bool escaped = false;
    size_t n = 0, i = 0;

    if (!text)
        return false;
    for (; i < rest->n && rest->p[i] != ',' && rest->p[i] != ';'; i++) {
        if (rest->p[i] == '\\' && i + 1 < rest->n) {
            escaped = true;
            i++;
        }
        text[n++] = rest->p[i];
    }
    *end = i < rest->n ? rest->p[i] : '\0';
    *rest = strv_skip(*rest, i < rest->n ? i + 1 : i);
    *out = strv_make(text, n);
    if (!escaped && strv_eq(*out, STRV("(untagged)")))
        out->n = 0;
    return true;
}

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
        if (at == most || !tuple_value(p, &rest, &values[at++], &end))
            return words_bad(error, word, value, form);
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
