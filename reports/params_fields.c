/*
 * params_fields.c - fields by name, and conditions on them; see params.h.
 */
#include <string.h>

#include "reports/params_int.h"
#include "reports/words.h"

/* Fields that are no free tags, for messages. */
static size_t known_fields(const char *names[DIM_COUNT + 16])
{
    static const char *const more[] = {
        "endpoint",     "protocol",     "service_tier", "price_id",       "outcome",
        "usage_source", "price_status", "team_source",  "feature_source", "environment_source",
        "token_band",   "prompt",       "repeat",       "cacheable",      "task_outcome",
        "traffic_class"};
    size_t n = 0;

    for (unsigned d = 0; d < DIM_COUNT; d++)
        names[n++] = dimension_name((enum dimension)d);
    for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++)
        names[n++] = more[i];
    return n;
}

/* The known name that this one is a slip of: one edit away, two where it is long. */
static const char *slip_of(struct strv name, const char *const *names, size_t n)
{
    const char *nearest = name.n >= 4 ? words_nearest(name, names, n) : NULL;

    if (!nearest || words_distance(name, strv_z(nearest)) > (name.n >= 6 ? 2 : 1))
        return NULL;
    return nearest;
}

/*
 * Any name may be a free tag's, so a slip in a known name would quietly group by a
 * tag that nobody has: what is one or two edits from a known name must be written
 * "tag:" where it is meant.
 */
enum rc params_field(struct report_params *p, const char *word, struct strv name,
                     struct ledger_field *out, struct buf *error)
{
    const char *names[DIM_COUNT + 16];
    const char *nearest;
    struct strv kept;
    enum rc rc = params_keep(p, &kept, strv_trim(name), error);

    if (rc != RC_OK)
        return rc;
    if (!ledger_field_parse(kept, out))
        return words_bad(error, word, kept, "is no name of a field or tag ([a-z0-9_.-]{1,64})");
    if (out->id != FIELD_TAG || strv_starts(kept, STRV("tag:")))
        return RC_OK;
    nearest = slip_of(kept, names, known_fields(names));
    if (!nearest)
        return RC_OK;
    rc = buf_printf(error,
                    "%s \"" STRV_FMT
                    "\" is not known: the nearest is \"%s\" (write \"tag:" STRV_FMT
                    "\" for a free tag of that name)",
                    word, STRV_ARG(words_shown(kept)), nearest, STRV_ARG(words_shown(kept)));
    return RC_BAD;
}

enum rc params_by(struct report_params *p, struct strv value, struct buf *error)
{
    struct strv name;

    while (strv_split(&value, ',', &name)) {
        struct ledger_field field;
        enum rc rc;
        if (p->n_by == PARAMS_BY_MAX)
            return words_bad(error, "by", name, "is one field too many: at most 8");
        rc = params_field(p, "by", name, &field, error);
        if (rc != RC_OK)
            return rc;
        for (size_t i = 0; i < p->n_by; i++) {
            if (strv_eq(ledger_field_name(&p->by[i]), ledger_field_name(&field)))
                return words_bad(error, "by", name, "stands twice");
        }
        p->by[p->n_by++] = field;
    }
    return RC_OK;
}

enum rc params_where(struct report_params *p, struct strv value, struct buf *error)
{
    struct ledger_condition *c = &p->where[p->n_where];
    struct strv *values, rest;
    size_t n_name = 0;
    char end = ',';
    enum rc rc;

    if (p->n_where == LEDGER_CONDITIONS_MAX)
        return words_bad(error, "where", value, "is one condition too many");
    while (n_name < value.n && !memchr("=!~", value.p[n_name], 3))
        n_name++;
    rest = strv_skip(value, n_name);
    if (strv_starts(rest, STRV("!="))) {
        c->op = LEDGER_NE;
        rest = strv_skip(rest, 2);
    } else if (strv_starts(rest, STRV("=")) || strv_starts(rest, STRV("~"))) {
        c->op = rest.p[0] == '=' ? LEDGER_EQ : LEDGER_GLOB;
        rest = strv_skip(rest, 1);
    } else {
        return words_bad(error, "where", value,
                   "is no condition (team=search,billing or environment!=dev or model~gpt-*)");
    }
    rc = params_field(p, "where", strv_head(value, n_name), &c->field, error);
    if (rc != RC_OK)
        return rc;
    values = arena_alloc(&p->arena, PARAMS_WHERE_VALUES_MAX * sizeof(*values));
    if (!values)
        return words_bad(error, "where", value, "is too much: the words are too long");
    c->n_values = 0;
    while (end != '\0') {
        if (c->n_values == PARAMS_WHERE_VALUES_MAX)
            return words_bad(error, "where", value, "has too many values");
        if (params_value(p, &rest, STRV(","), &values[c->n_values++], &end) != RC_OK)
            return words_bad(error, "where", value, "is too much: the words are too long");
    }
    c->values = values;
    p->n_where++;
    return RC_OK;
}
