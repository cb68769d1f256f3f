/*
 * params.c - see params.h.
 *
 * The table `words` is the only place that knows a word: its letter, its help, and
 * the function that takes its value.
 */
#include "reports/params.h"

#include <stdio.h>
#include <string.h>

#include "reports/period.h"
#include "reports/params_int.h"
#include "reports/words.h"

static const char *const formats[FORMAT_COUNT] = {"table", "csv", "json", "html"};

const char *report_format_name(enum report_format format)
{
    return formats[format];
}

const char *report_format_type(enum report_format format)
{
    static const char *const types[FORMAT_COUNT] = {
        "text/plain; charset=utf-8", "text/csv; charset=utf-8; header=present",
        "application/json", "text/html; charset=utf-8"};

    return types[format];
}

static const struct {
    const char *name;
    enum period grain;
} grains[] = {{"hour", PERIOD_HOUR},   {"day", PERIOD_DAY},         {"week", PERIOD_WEEK},
              {"month", PERIOD_MONTH}, {"quarter", PERIOD_QUARTER}, {"year", PERIOD_YEAR},
              {"total", PERIOD_TOTAL}};

const char *grain_name(enum period grain)
{
    for (size_t i = 0; i < sizeof(grains) / sizeof(grains[0]); i++) {
        if (grains[i].grain == grain)
            return grains[i].name;
    }
    return "total";
}

void params_init(struct report_params *p)
{
    *p = (struct report_params){.grain = PERIOD_TOTAL, .cohort = COHORT_CLOSED};
    arena_init(&p->arena, PARAMS_TEXT_MAX_BYTES);
}

void params_release(struct report_params *p)
{
    zone_close(p->own_zone);
    p->own_zone = NULL;
    p->zone = NULL;
    arena_release(&p->arena);
}

/* ---- messages -------------------------------------------------------------------- */

/* RC_BAD, with "what \"value\"" and the nearest candidate, or all of them, in error. */
static enum rc bad_choice(struct buf *error, const char *what, struct strv value,
                          const char *const *candidates, size_t n)
{
    const char *nearest = words_nearest(value, candidates, n);
    enum rc rc = buf_printf(error, "%s \"" STRV_FMT "\"", what, STRV_ARG(words_shown(value)));

    if (nearest) {
        if (rc == RC_OK)
            rc = buf_printf(error, ": the nearest is \"%s\"", nearest);
        return RC_BAD;
    }
    for (size_t i = 0; rc == RC_OK && i < n; i++)
        rc = buf_printf(error, "%s%s", i ? ", " : ": it is one of ", candidates[i]);
    return RC_BAD;
}

/* Views of callers do not outlive the call: the arena keeps a copy. */
static enum rc keep(struct report_params *p, struct strv *to, struct strv value,
                    struct buf *error)
{
    *to = arena_strv(&p->arena, value);
    return to->p ? RC_OK
                 : words_bad(error, "value", value, "is too much: the words are too long");
}

/* ---- the words -------------------------------------------------------------------- */

static enum rc set_from(struct report_params *p, struct strv value, struct buf *error)
{
    return keep(p, &p->from, value, error);
}

static enum rc set_to(struct report_params *p, struct strv value, struct buf *error)
{
    return keep(p, &p->to, value, error);
}

static enum rc set_month(struct report_params *p, struct strv value, struct buf *error)
{
    return keep(p, &p->month, value, error);
}

static enum rc set_last(struct report_params *p, struct strv value, struct buf *error)
{
    return keep(p, &p->last, value, error);
}

static enum rc set_tz(struct report_params *p, struct strv value, struct buf *error)
{
    return keep(p, &p->tz, value, error);
}

/* Fields that are no free tags, for messages. */
static size_t known_fields(const char *names[DIM_COUNT + 16])
{
    static const char *const more[] = {
        "endpoint",     "protocol",     "service_tier", "price_id",       "outcome",
        "usage_source", "price_status", "team_source",  "feature_source", "environment_source",
        "token_band",   "prompt",       "repeat",       "cacheable",      "task_outcome"};
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
    enum rc rc = keep(p, &kept, strv_trim(name), error);

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

static enum rc set_by(struct report_params *p, struct strv value, struct buf *error)
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

static enum rc set_grain(struct report_params *p, struct strv value, struct buf *error)
{
    const char *names[sizeof(grains) / sizeof(grains[0])];
    size_t n = sizeof(grains) / sizeof(grains[0]);

    for (size_t i = 0; i < n; i++) {
        names[i] = grains[i].name;
        if (strv_eq(value, strv_z(names[i]))) {
            p->has_grain = true;
            p->grain = grains[i].grain;
            return RC_OK;
        }
    }
    return bad_choice(error, "grain", value, names, n);
}

/* The next value of "a,b\,c", unescaped into the arena; false at the end. */
static bool next_value(struct report_params *p, struct strv *rest, struct strv *out, bool *full)
{
    char *text;
    bool escaped = false;
    size_t n = 0, i = 0;

    if (!rest->p)
        return false;
    text = arena_alloc(&p->arena, rest->n + 1);
    *full = text == NULL;
    if (!text)
        return false;
    for (; i < rest->n && rest->p[i] != ','; i++) {
        if (rest->p[i] == '\\' && i + 1 < rest->n) {
            escaped = true;
            i++;
        }
        text[n++] = rest->p[i];
    }
    *rest = i < rest->n ? strv_skip(*rest, i + 1) : STRV_NONE;
    *out = strv_make(text, n);
    if (!escaped && strv_eq(*out, STRV("(untagged)")))
        out->n = 0;
    return true;
}

static enum rc set_where(struct report_params *p, struct strv value, struct buf *error)
{
    struct ledger_condition *c = &p->where[p->n_where];
    struct strv *values, rest;
    size_t n_name = 0;
    bool full = false;
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
    while (c->n_values < PARAMS_WHERE_VALUES_MAX &&
           next_value(p, &rest, &values[c->n_values], &full))
        c->n_values++;
    if (full || rest.p)
        return words_bad(error, "where", value, "has too many values");
    c->values = values;
    p->n_where++;
    return RC_OK;
}

static enum rc set_format(struct report_params *p, struct strv value, struct buf *error)
{
    for (unsigned i = 0; i < FORMAT_COUNT; i++) {
        if (strv_eq(value, strv_z(formats[i]))) {
            p->has_format = true;
            p->format = (enum report_format)i;
            return RC_OK;
        }
    }
    return bad_choice(error, "format", value, formats, FORMAT_COUNT);
}

static enum rc set_top(struct report_params *p, struct strv value, struct buf *error)
{
    if (!strv_parse_u64(value, PARAMS_TOP_MAX, &p->top) || p->top == 0)
        return words_bad(error, "top", value, "is no number from 1 to 1000000");
    return RC_OK;
}

static enum rc set_sort(struct report_params *p, struct strv value, struct buf *error)
{
    if (strv_ends(value, STRV(":asc"))) {
        p->has_order = p->ascending = true;
        value.n -= sizeof(":asc") - 1;
    } else if (strv_ends(value, STRV(":desc"))) {
        p->has_order = true;
        value.n -= sizeof(":desc") - 1;
    }
    return keep(p, &p->sort, value, error);
}

static enum rc set_precision(struct report_params *p, struct strv value, struct buf *error)
{
    uint64_t n = PARAMS_PRECISION_EXACT;

    if (!strv_eq(value, STRV("exact")) && !strv_parse_u64(value, PARAMS_PRECISION_EXACT, &n))
        return words_bad(error, "precision", value,
                         "is neither a number from 0 to 18 nor \"exact\"");
    p->has_precision = true;
    p->precision = (unsigned)n;
    return RC_OK;
}

static enum rc set_cohort(struct report_params *p, struct strv value, struct buf *error)
{
    static const char *const names[] = {"spend", "closed"};

    p->has_cohort = true;
    p->cohort = COHORT_SPEND;
    if (strv_eq(value, STRV("closed")))
        p->cohort = COHORT_CLOSED;
    else if (!strv_eq(value, STRV("spend")))
        return bad_choice(error, "cohort", value, names, 2);
    return RC_OK;
}

static enum rc set_scope(struct report_params *p, struct strv value, struct buf *error)
{
    static const char *const names[] = {"tags", "budgets"};

    p->has_scope = true;
    p->scope = SCOPE_TAGS;
    if (strv_eq(value, STRV("budgets")))
        p->scope = SCOPE_BUDGETS;
    else if (!strv_eq(value, STRV("tags")))
        return bad_choice(error, "scope", value, names, 2);
    return RC_OK;
}

static enum rc set_against(struct report_params *p, struct strv value, struct buf *error)
{
    return keep(p, &p->against, value, error);
}

static enum rc set_import(struct report_params *p, struct strv value, struct buf *error)
{
    if (p->n_imports == PARAMS_IMPORTS_MAX)
        return words_bad(error, "import", value, "is one file too many: at most 64");
    return keep(p, &p->imports[p->n_imports++], value, error);
}

static enum rc set_models(struct report_params *p, struct strv value, struct buf *error)
{
    return keep(p, &p->models, value, error);
}

static enum rc set_only(struct report_params *p, struct strv value, struct buf *error)
{
    return params_tuples(p, "only", value, &p->only, error);
}

static enum rc set_except(struct report_params *p, struct strv value, struct buf *error)
{
    p->except.is_except = true;
    return params_tuples(p, "except", value, &p->except, error);
}

static enum rc set_waste(struct report_params *p, struct strv value, struct buf *error)
{
    return keep(p, &p->waste, value, error);
}

static enum rc set_charge(struct report_params *p, struct strv value, struct buf *error)
{
    return keep(p, &p->charge, value, error);
}

static enum rc set_time(struct report_params *p, struct strv value, struct buf *error)
{
    static const char *const names[] = {"end", "start"};

    p->has_time = true;
    p->by_start = strv_eq(value, STRV("start"));
    if (p->by_start || strv_eq(value, STRV("end")))
        return RC_OK;
    return bad_choice(error, "time", value, names, 2);
}

static const struct word {
    const char *name;
    char letter; /* 0: none */
    bool repeats;
    enum rc (*set)(struct report_params *p, struct strv value, struct buf *error);
    const char *value, *help;
} words[] = {
    {"from", 'f', false, set_from, "T", "first instant: a date or an RFC 3339 time"},
    {"to", 't', false, set_to, "T", "first instant after the period (default: now)"},
    {"month", 'm', false, set_month, "YYYY-MM",
     "one calendar month (default: the current one)"},
    {"last", 'l', false, set_last, "N[mhdw]", "the minutes, hours, days or weeks before now"},
    {"by", 'b', true, set_by, "FIELDS",
     "group by: team, feature, model, key, outcome, any tag"},
    {"grain", 'g', false, set_grain, "PERIOD",
     "a row per hour, day, week, month, quarter or year (default: total)"},
    {"where", 'w', true, set_where, "CONDITION",
     "team=search,billing or environment!=dev or model~gpt-*; all must hold"},
    {"format", 'o', false, set_format, "FORMAT", "table, csv, json or html"},
    {"top", 'n', false, set_top, "N", "the first N groups, the rest as (other)"},
    {"sort", 's', false, set_sort, "COLUMN", "order of rows; COLUMN:asc or COLUMN:desc"},
    {"tz", 'z', false, set_tz, "ZONE", "time zone of dates and periods (default: configured)"},
    {"precision", 'p', false, set_precision, "N",
     "decimals of a dollar in tables and pages, or exact"},
    {"cohort", 0, false, set_cohort, "WHICH",
     "tasks: closed in the period (default), or spend: with requests in it"},
    {"import", 0, true, set_import, "FILE",
     "reconcile: a provider's usage or costs (JSON, CSV); may be repeated"},
    {"scope", 0, false, set_scope, "WHICH",
     "forecast, anomalies: of tags (default) or of budgets"},
    {"models", 0, false, set_models, "NAMES",
     "savings: models to compare with (default: the next smaller of each)"},
    {"against", 0, false, set_against, "PERIOD",
     "spend, variance, unit-economics: previous, 2026-10, 2026-10-01..2026-10-15; or plan"},
    {"only", 0, false, set_only, "FIELDS=VALUES",
     "lines: of these combinations: team,model=search,gpt-4o;labs,o3"},
    {"except", 0, false, set_except, "FIELDS=VALUES", "lines: of none of these combinations"},
    {"waste", 0, false, set_waste, "CLASS",
     "lines: of that class of the report waste, or superseded"},
    {"charge", 0, false, set_charge, "PRICE",
     "lines: what one price charged: meter=in,rate=2.5,tier=batch,class=correction"},
    {"time", 0, false, set_time, "WHICH",
     "lines: those that ended in the period (end, default), or began in it (start)"},
};
enum { WORDS = sizeof(words) / sizeof(words[0]) };

enum rc params_help(struct buf *out)
{
    for (size_t i = 0; i < WORDS; i++) {
        char left[64];
        char letter[8] = "    ";
        enum rc rc;
        if (words[i].letter)
            (void)snprintf(letter, sizeof(letter), "-%c, ", words[i].letter);
        (void)snprintf(left, sizeof(left), "%s--%s %s", letter, words[i].name, words[i].value);
        rc = buf_printf(out, "  %-26s %s\n", left, words[i].help);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

static bool is_given(const struct report_params *p, const struct word *word)
{
    return (word->set == set_from && p->from.n) || (word->set == set_to && p->to.n) ||
           (word->set == set_month && p->month.n) || (word->set == set_last && p->last.n) ||
           (word->set == set_tz && p->tz.n) || (word->set == set_grain && p->has_grain) ||
           (word->set == set_format && p->has_format) || (word->set == set_top && p->top) ||
           (word->set == set_sort && p->sort.n) ||
           (word->set == set_precision && p->has_precision) ||
           (word->set == set_cohort && p->has_cohort) ||
           (word->set == set_scope && p->has_scope) ||
           (word->set == set_models && p->models.n) ||
           (word->set == set_only && p->only.n) || (word->set == set_except && p->except.n) ||
           (word->set == set_waste && p->waste.n) || (word->set == set_charge && p->charge.n) ||
           (word->set == set_time && p->has_time) ||
           (word->set == set_against && p->against.n);
}

static enum rc set_word(struct report_params *p, const struct word *word, struct strv value,
                        struct buf *error)
{
    if (value.n == 0)
        return words_bad(error, word->name, value, "needs a value");
    if (!word->repeats && is_given(p, word))
        return words_bad(error, word->name, value, "stands twice");
    return word->set(p, value, error);
}

enum rc params_set(struct report_params *p, struct strv word, struct strv value,
                   struct buf *error)
{
    const char *names[WORDS];

    for (size_t i = 0; i < WORDS; i++) {
        names[i] = words[i].name;
        if (strv_eq(word, strv_z(names[i])))
            return set_word(p, &words[i], value, error);
    }
    return bad_choice(error, "there is no word", word, names, WORDS);
}

/* ---- command line ------------------------------------------------------------------ */

static enum rc missing_value(struct buf *error, struct strv option)
{
    return words_bad(error, "option", option, "needs a value");
}

static enum rc short_argument(struct report_params *p, int argc, char *const *argv, int *at,
                              struct buf *error)
{
    struct strv text = strv_z(argv[*at]);

    for (size_t i = 0; i < WORDS; i++) {
        struct strv value = strv_skip(text, 2);
        int after = *at + 1;
        if (words[i].letter == 0 || words[i].letter != text.p[1])
            continue;
        if (value.n == 0) {
            if (after >= argc)
                return missing_value(error, text);
            value = strv_z(argv[after++]);
        }
        *at = after;
        return set_word(p, &words[i], value, error);
    }
    return words_bad(error, "option", text, "is not known: see --help");
}

enum rc params_argument(struct report_params *p, int argc, char *const *argv, int *at,
                        struct buf *error)
{
    struct strv text = strv_z(argv[*at]), word, value;
    int after = *at + 1;
    size_t equals;

    if (text.n < 2 || text.p[0] != '-')
        return RC_STATE;
    if (text.p[1] != '-')
        return short_argument(p, argc, argv, at, error);
    word = strv_skip(text, 2);
    equals = strv_find(word, '=');
    if (equals < word.n) {
        value = strv_skip(word, equals + 1);
        word.n = equals;
    } else {
        const char *names[WORDS];
        bool known = false;
        for (size_t i = 0; i < WORDS; i++) {
            names[i] = words[i].name;
            known = known || strv_eq(word, strv_z(names[i]));
        }
        if (!known)
            return bad_choice(error, "there is no option", word, names, WORDS);
        if (after >= argc)
            return missing_value(error, text);
        value = strv_z(argv[after++]);
    }
    *at = after;
    return params_set(p, word, value, error);
}

/* ---- meaning -------------------------------------------------------------------------- */

enum rc params_resolve(struct report_params *p, const struct zone *fallback, int64_t now_us,
                       struct buf *error)
{
    const struct period_words given = {p->from, p->to, p->month, p->last};
    const char *word = "", *wrong;
    struct strv value;

    p->zone = fallback;
    if (p->tz.n) {
        /* arena_strv terminates. */
        p->own_zone = zone_open(p->tz.p);
        if (!p->own_zone)
            return words_bad(error, "tz", p->tz,
                             "is no time zone of this system (Europe/Berlin)");
        p->zone = p->own_zone;
    }
    p->now_us = now_us;
    wrong = period_resolve(p->zone, &given, now_us, &p->from_us, &p->to_us, &word);
    if (!wrong)
        return RC_OK;
    value = strcmp(word, "from") == 0    ? p->from
            : strcmp(word, "to") == 0    ? p->to
            : strcmp(word, "month") == 0 ? p->month
                                         : p->last;
    return words_bad(error, word, value, wrong);
}

void params_filter(const struct report_params *p, struct ledger_filter *out)
{
    ledger_filter_init(out, p->from_us, p->to_us);
    for (size_t i = 0; i < p->n_where; i++)
        out->where[out->n_where++] = p->where[i];
}
