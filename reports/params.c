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
#include "reports/currency.h"
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

enum rc params_keep(struct report_params *p, struct strv *to, struct strv value,
                    struct buf *error)
{
    *to = arena_strv(&p->arena, value);
    return to->p ? RC_OK
                 : words_bad(error, "value", value, "is too much: the words are too long");
}

/* ---- the words -------------------------------------------------------------------- */

static enum rc set_from(struct report_params *p, struct strv value, struct buf *error)
{
    return params_keep(p, &p->from, value, error);
}

static enum rc set_to(struct report_params *p, struct strv value, struct buf *error)
{
    return params_keep(p, &p->to, value, error);
}

static enum rc set_month(struct report_params *p, struct strv value, struct buf *error)
{
    return params_keep(p, &p->month, value, error);
}

static enum rc set_last(struct report_params *p, struct strv value, struct buf *error)
{
    return params_keep(p, &p->last, value, error);
}

static enum rc set_tz(struct report_params *p, struct strv value, struct buf *error)
{
    return params_keep(p, &p->tz, value, error);
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
    return params_keep(p, &p->sort, value, error);
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
    return params_keep(p, &p->against, value, error);
}

static enum rc set_import(struct report_params *p, struct strv value, struct buf *error)
{
    if (p->n_imports == PARAMS_IMPORTS_MAX)
        return words_bad(error, "import", value, "is one file too many: at most 64");
    return params_keep(p, &p->imports[p->n_imports++], value, error);
}

static enum rc set_models(struct report_params *p, struct strv value, struct buf *error)
{
    return params_keep(p, &p->models, value, error);
}

static enum rc set_only(struct report_params *p, struct strv value, struct buf *error)
{
    enum rc rc = params_keep(p, &p->only_text, value, error);

    return rc == RC_OK ? params_tuples(p, "only", value, &p->only, error) : rc;
}

static enum rc set_except(struct report_params *p, struct strv value, struct buf *error)
{
    enum rc rc = params_keep(p, &p->except_text, value, error);

    p->except.is_except = true;
    return rc == RC_OK ? params_tuples(p, "except", value, &p->except, error) : rc;
}

static enum rc set_waste(struct report_params *p, struct strv value, struct buf *error)
{
    return params_keep(p, &p->waste, value, error);
}

static enum rc set_charge(struct report_params *p, struct strv value, struct buf *error)
{
    return params_keep(p, &p->charge, value, error);
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

/* "yes", "no" and the like; without a value: yes. */
static enum rc set_flag(const char *word, struct strv value, bool *out, struct buf *error)
{
    static const char *const names[] = {"yes", "no", "true", "false", "1", "0"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strv_eq(value, strv_z(names[i]))) {
            *out = i % 2 == 0;
            return RC_OK;
        }
    }
    *out = value.n == 0;
    return *out ? RC_OK : bad_choice(error, word, value, names, 2);
}

static enum rc set_bom(struct report_params *p, struct strv value, struct buf *error)
{
    return set_flag("bom", value, &p->has_bom, error);
}

static enum rc set_total_row(struct report_params *p, struct strv value, struct buf *error)
{
    return set_flag("total-row", value, &p->total_row, error);
}

static enum rc set_strict(struct report_params *p, struct strv value, struct buf *error)
{
    return set_flag("strict", value, &p->is_strict, error);
}

static enum rc set_currency(struct report_params *p, struct strv value, struct buf *error)
{
    char code[CURRENCY_CODE] = "";
    const char *nearest;
    unsigned exponent;
    enum rc rc;

    for (size_t i = 0; i < value.n && i < sizeof(code) - 1; i++)
        code[i] = (char)(value.p[i] >= 'a' && value.p[i] <= 'z' ? value.p[i] - 'a' + 'A'
                                                                : value.p[i]);
    if (value.n == sizeof(code) - 1 && currency_exponent(strv_z(code), &exponent))
        return strv_eq(strv_z(code), STRV("USD"))
                   ? RC_OK
                   : params_keep(p, &p->currency, strv_z(code), error);
    nearest = currency_nearest(strv_z(code));
    rc = words_bad(error, "currency", value, "is no currency of ISO 4217");
    if (nearest && buf_printf(error, ": the nearest is \"%s\"", nearest) != RC_OK)
        return RC_BAD;
    return rc;
}

/* The condition traffic_class=VALUES. */
static enum rc set_traffic_class(struct report_params *p, struct strv value, struct buf *error)
{
    static const char name[] = "traffic_class=";
    char *text = arena_alloc(&p->arena, sizeof(name) + value.n);

    if (!text)
        return words_bad(error, "traffic-class", value, "is too much: the words are too long");
    memcpy(text, name, sizeof(name) - 1);
    memcpy(text + sizeof(name) - 1, value.p, value.n);
    return params_where(p, strv_make(text, sizeof(name) - 1 + value.n), error);
}

static const char *const bases[] = {[BASIS_EFFECTIVE] = "effective",
                                    [BASIS_CONTRACTED] = "contracted",
                                    [BASIS_LIST] = "list",
                                    [BASIS_BILLED] = "billed"};

const char *cost_basis_name(enum cost_basis basis)
{
    return bases[basis];
}

static enum rc set_cost_basis(struct report_params *p, struct strv value, struct buf *error)
{
    const size_t n = sizeof(bases) / sizeof(*bases);

    for (size_t i = 0; i < n; i++) {
        if (strv_eq(value, strv_z(bases[i]))) {
            p->basis = (enum cost_basis)i;
            return RC_OK;
        }
    }
    return bad_choice(error, "cost-basis", value, bases, n);
}

static const struct word {
    const char *name;
    char letter; /* 0: none */
    bool repeats;
    enum rc (*set)(struct report_params *p, struct strv value, struct buf *error);
    const char *value, *help; /* value NULL: a word that stands alone, or with yes or no */
} words[] = {
    {"from", 'f', false, set_from, "T", "first instant: a date or an RFC 3339 time"},
    {"to", 't', false, set_to, "T", "first instant after the period (default: now)"},
    {"month", 'm', false, set_month, "YYYY-MM",
     "one calendar month (default: the current one)"},
    {"last", 'l', false, set_last, "N[mhdw]", "the minutes, hours, days or weeks before now"},
    {"by", 'b', true, params_by, "FIELDS",
     "group by: team, feature, model, key, outcome, any tag"},
    {"grain", 'g', false, set_grain, "PERIOD",
     "a row per hour, day, week, month, quarter or year (default: total)"},
    {"where", 'w', true, params_where, "CONDITION",
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
    {"cost-basis", 0, false, set_cost_basis, "BASIS",
     "effective (default), contracted, list (spend, untagged, lines) or billed"},
    {"traffic-class", 0, false, set_traffic_class, "CLASSES",
     "of live, evaluation, test, load, internal, other alone: as --where traffic_class=..."},
    {"currency", 0, false, set_currency, "CODE",
     "statement, journal: also in another currency, at the rate recorded (import rates)"},
    {"bom", 0, false, set_bom, NULL, "csv: begin with a byte order mark, for Excel"},
    {"total-row", 0, false, set_total_row, NULL,
     "csv: the total as a last row, told from the others by the column row_type"},
    {"strict", 0, false, set_strict, NULL,
     "fail where a price is unknown, or usage unknown or estimated"},
};
enum { WORDS = sizeof(words) / sizeof(words[0]) };
_Static_assert(WORDS <= 64, "a bit of params.given each");

/* '_' is as good as '-'. */
static bool is_named(const struct word *word, struct strv name)
{
    size_t n = strlen(word->name);

    if (name.n != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        if ((name.p[i] == '_' ? '-' : name.p[i]) != word->name[i])
            return false;
    }
    return true;
}

enum rc params_help(struct buf *out)
{
    for (size_t i = 0; i < WORDS; i++) {
        char left[64];
        char letter[8] = "    ";
        enum rc rc;
        if (words[i].letter)
            (void)snprintf(letter, sizeof(letter), "-%c, ", words[i].letter);
        (void)snprintf(left, sizeof(left), "%s--%s %s", letter, words[i].name,
                       words[i].value ? words[i].value : "");
        rc = buf_printf(out, "  %-26s %s\n", left, words[i].help);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

static enum rc set_word(struct report_params *p, const struct word *word, struct strv value,
                        struct buf *error)
{
    const uint64_t bit = UINT64_C(1) << (word - words);

    if (value.n == 0 && word->value)
        return words_bad(error, word->name, value, "needs a value");
    if (!word->repeats && (p->given & bit))
        return words_bad(error, word->name, value, "stands twice");
    p->given |= bit;
    return word->set(p, value, error);
}

enum rc params_set(struct report_params *p, struct strv word, struct strv value,
                   struct buf *error)
{
    const char *names[WORDS];

    for (size_t i = 0; i < WORDS; i++) {
        names[i] = words[i].name;
        if (is_named(&words[i], word))
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
        const struct word *known = NULL;
        for (size_t i = 0; i < WORDS; i++) {
            names[i] = words[i].name;
            known = is_named(&words[i], word) ? &words[i] : known;
        }
        if (!known)
            return bad_choice(error, "there is no option", word, names, WORDS);
        value = STRV("");
        if (known->value && after >= argc)
            return missing_value(error, text);
        if (known->value)
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
