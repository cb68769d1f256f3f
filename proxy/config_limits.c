#include "proxy/config_draft.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/ledger/ledger_read.h"
#include "proxy/changes.h"
#include "proxy/tags.h"

#define EXACT_MAX INT64_C(9007199254740992)

/* Dollars of one limit: nano-USD must fit 64 bits. */
#define USD_MAX INT64_C(9000000000)

enum {
    MATCH_MAX = DIM_COUNT + FREE_TAGS_MAX,
    ALERT_MAX_PERCENT = 1000,
};

/* ---- limits ---------------------------------------------------------------------- */

static void read_amount(struct config_loader *l, const cJSON *item, struct limit_def *def)
{
    struct money amount;
    int64_t nano, rest;
    char *text = config_read_decimal(l, item, "limits[].limit");

    if (!text)
        return;
    if (def->unit != UNIT_USD) {
        if (!strv_parse_u64(strv_z(text), (uint64_t)EXACT_MAX, &def->limit))
            config_problem(l, item, "limits[].limit must be a whole number of %s, at most %lld",
                           limit_unit_name(def->unit), (long long)EXACT_MAX);
        return;
    }
    if (money_parse(strv_z(text), &amount) != RC_OK || amount.atto < 0 ||
        money_cmp(amount, money_join(USD_MAX * NANO_PER_USD, 0)) > 0) {
        config_problem(l, item,
                       "limits[].limit must be dollars such as \"500.00\", from 0 to "
                       "%lld",
                       (long long)USD_MAX);
        return;
    }
    money_split(amount, &nano, &rest);
    if (rest != 0)
        config_problem(l, item,
                       "limits[].limit has more than nine decimals: limits count whole "
                       "nano-dollars");
    def->limit = (uint64_t)nano;
}

static void read_window(struct config_loader *l, const cJSON *item, const char *window,
                        struct limit_def *def)
{
    def->period = PERIOD_TOTAL;
    if (def->unit == UNIT_CONCURRENT) {
        if (window)
            config_problem(l, item,
                           "a limit of concurrent requests has no window: take it out");
        return;
    }
    if (!window)
        config_problem(l, item,
                       "limits[].window is missing: write hour, day, week, month, "
                       "quarter, year, total, or \"60s\"");
    else if (!limit_window_parse(strv_z(window), &def->rolling, &def->period, &def->rolling_s))
        config_problem(l, item,
                       "limits[].window must be hour, day, week, month, quarter, year, "
                       "total, or seconds such as \"60s\", at most a year");
}

static bool is_dimension(struct config_loader *l, const cJSON *item, struct strv name,
                         const char *where)
{
    enum dimension d;

    if (!dimension_parse(name, &d) && !config_is_tag(l, item, name, where))
        return false;
    config_check_name(l, item, name, where);
    return true;
}

static void read_match(struct config_loader *l, const cJSON *item, struct limit_def *def)
{
    const cJSON *each;

    if (!item)
        return;
    if (!cJSON_IsObject(item)) {
        config_problem(l, item, "limits[].match must be an object { tag: value }");
        return;
    }
    if (!config_unique_members(l, item))
        return;
    cJSON_ArrayForEach(each, item)
    {
        struct strv name = strv_z(each->string);
        char *value = config_read_text(l, each, "limits[].match");

        if (!value || !is_dimension(l, each, name, "limits[].match"))
            continue;
        if (def->n_match == MATCH_MAX) {
            config_problem(l, item, "limits[].match has more than %d members", MATCH_MAX);
            return;
        }
        def->match[def->n_match++] = (struct tag){
            .name = strv_z(config_strdup(l->config, name)), .value = strv_z(value)};
    }
    config_check_match(l, item, def);
}

static void read_per(struct config_loader *l, const cJSON *item, struct limit_def *def)
{
    struct strv *names;
    size_t n;

    if (!item || !config_read_list(l, item, "limits[].per", &names, &n))
        return;
    if (n > MATCH_MAX) {
        config_problem(l, item, "limits[].per has more than %d names", MATCH_MAX);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (!is_dimension(l, item, names[i], "limits[].per"))
            continue;
        for (size_t j = 0; j < def->n_per; j++) {
            if (strv_eq(def->per[j], names[i]))
                config_problem(l, item, "limits[].per names \"" STRV_FMT "\" twice: keep one",
                               STRV_ARG(names[i]));
        }
        def->per[def->n_per++] = names[i];
    }
}

/* A field that only lines have; none: absent. */
static struct strv needs_lines(const struct limit_def *def)
{
    struct ledger_field field;

    for (size_t i = 0; i < def->n_match; i++) {
        if (ledger_field_parse(def->match[i].name, &field) &&
            !ledger_field_outlives_lines(&field))
            return def->match[i].name;
    }
    for (size_t i = 0; i < def->n_per; i++) {
        if (ledger_field_parse(def->per[i], &field) && !ledger_field_outlives_lines(&field))
            return def->per[i];
    }
    return STRV_NONE;
}

/* What people expect of a budget; not of one for which each look would read single requests. */
static void preset_alerts(const struct config *c, struct limit_def *def)
{
    static const unsigned usual[] = {50, 80, 100};

    if (c->alerts.n_channels == 0 || def->unit != UNIT_USD || def->rolling ||
        needs_lines(def).n > 0)
        return;
    def->n_alerts = sizeof(usual) / sizeof(usual[0]);
    memcpy(def->alerts, usual, sizeof(usual));
}

static void read_alerts(struct config_loader *l, const cJSON *item, struct limit_def *def)
{
    enum { MOST = sizeof(def->alerts) / sizeof(def->alerts[0]) };
    const cJSON *each;
    size_t n;

    if (!item)
        preset_alerts(l->config, def);
    if (!item || !config_count_items(l, item, "limits[].alerts", MOST, &n))
        return;
    cJSON_ArrayForEach(each, item)
    {
        double percent = each->valuedouble;
        unsigned last = def->n_alerts ? def->alerts[def->n_alerts - 1] : 0;

        if (!cJSON_IsNumber(each) || percent != floor(percent) || percent <= last ||
            percent > ALERT_MAX_PERCENT) {
            config_problem(l, each,
                           "limits[].alerts must be rising whole per cents from 1 to %d",
                           ALERT_MAX_PERCENT);
            return;
        }
        def->alerts[def->n_alerts++] = (unsigned)percent;
    }
}

static void check_limit_name(struct config_loader *l, const cJSON *item, const char *name)
{
    if (!tag_value_is_valid(strv_z(name)))
        config_problem(l, item, "limits[].name must be 1 to %d bytes", TAG_VALUE_MAX_BYTES);
    for (size_t i = 0; i < l->config->n_limit_defs; i++) {
        const char *other = l->config->limit_defs[i].name;

        if (other && strcmp(other, name) == 0)
            config_problem(l, item, "limit \"%s\" is there twice: rename one", name);
    }
}

static bool holds_input(enum limit_unit unit)
{
    return unit == UNIT_USD || unit == UNIT_TOKENS || unit == UNIT_INPUT_TOKENS;
}

static void read_limit(struct config_loader *l, const cJSON *item)
{
    struct limit_draft draft = {.name = NULL};
    struct limit_def *def = &draft.def;
    bool has_unit = false;

    config_preset_section(l, &config_section_limit, &draft);
    config_read_section(l, &config_section_limit, item, &draft);
    def->name = draft.name;
    def->mode = draft.mode;
    def->line = config_json_line(item);
    def->on_exhausted = draft.on_exhausted;
    def->count = draft.count;
    def->on_failure = draft.on_failure < 0 ? l->config->counters_on_failure
                                           : (enum on_failure)draft.on_failure;
    if (draft.name)
        check_limit_name(l, config_member_or(item, "name"), draft.name);
    if (draft.unit) {
        has_unit = limit_unit_parse(strv_z(draft.unit), &def->unit);
        if (!has_unit)
            config_problem(l, config_member_or(item, "unit"),
                           "limits[].unit must be usd, tokens, input_tokens, output_tokens, "
                           "requests or concurrent");
    }
    if (!draft.limit)
        config_problem(l, item, "limits[].limit is missing: say how much");
    else if (has_unit)
        read_amount(l, draft.limit, def);
    if (has_unit)
        read_window(l, config_member_or(item, "window"), draft.window, def);
    if (has_unit && def->count == LIMIT_COUNT_EXACT && !holds_input(def->unit))
        config_problem(l, config_member_or(item, "count"),
                       "limits[].count is of prompts, which a limit of %s does not hold: take it "
                       "out",
                       limit_unit_name(def->unit));
    read_match(l, draft.match, def);
    read_per(l, draft.per, def);
    read_alerts(l, draft.alerts, def);
    l->config->limit_defs[l->config->n_limit_defs++] = *def;
}

void config_read_limits(struct config_loader *l, const cJSON *item)
{
    const cJSON *each;
    size_t n;

    if (!item || !config_count_items(l, item, "limits", CONFIG_LIMITS_MAX, &n))
        return;
    l->config->limit_defs = config_alloc(l->config, n * sizeof(l->config->limit_defs[0]));
    cJSON_ArrayForEach(each, item) read_limit(l, each);
}

/* ---- against the age of lines ------------------------------------------------------------ */

/* The longest that a window is, in days; INT_MAX: for ever. */
static int window_days(const struct limit_def *def)
{
    if (def->rolling)
        return (int)(def->rolling_s / 86400) + 1;
    switch (def->period) {
    case PERIOD_HOUR:
    case PERIOD_DAY:
        return 1;
    case PERIOD_WEEK:
        return 7;
    case PERIOD_MONTH:
        return 31;
    case PERIOD_QUARTER:
        return 92;
    case PERIOD_YEAR:
        return 366;
    case PERIOD_TOTAL:
        break;
    }
    return INT_MAX;
}

void config_check_kept(struct config_loader *l)
{
    const struct config *c = l->config;

    if (c->ledger_keep_days == 0)
        return;
    if (c->ledger_keep_days < KEEP_DAYS_MIN)
        problems_add(l->problems, l->file, 0,
                     "ledger.keep_days must be 0 (for ever) or at least %d", KEEP_DAYS_MIN);
    for (size_t i = 0; i < c->n_limit_defs; i++) {
        const struct limit_def *def = &c->limit_defs[i];
        struct strv field = needs_lines(def);

        /* A day more: lines go by days of UTC. */
        if (def->unit != UNIT_CONCURRENT && field.n > 0 &&
            window_days(def) >= c->ledger_keep_days)
            problems_add(l->problems, l->file, def->line,
                         "limit \"%s\" counts by " STRV_FMT
                         " over a window that is not shorter than ledger.keep_days: sums by "
                         "it are gone with the lines, so that it could not be counted anew; "
                         "keep more days, or shorten the window",
                         def->name ? def->name : "", STRV_ARG(field));
    }
}

bool config_is_glob(struct strv text)
{
    return strv_find(text, '*') < text.n || strv_find(text, '?') < text.n;
}

void config_compile_limits(struct config *config)
{
    size_t n = config->n_limit_defs;
    struct limit_def *defs = xcalloc(n ? n : 1, sizeof(*defs));

    if (n > 0)
        memcpy(defs, config->limit_defs, n * sizeof(*defs));
    for (size_t i = 0; i < n; i++) {
        for (size_t m = 0; m < defs[i].n_match; m++) {
            struct tag *match = &defs[i].match[m];
            char user[TAGS_USER_HEX_BYTES + 1];

            /* requests carry a user's hash alone, so a limit for one user must too */
            if (!strv_eq(match->name, STRV("user")) || config_is_glob(match->value))
                continue;
            tags_hash_user(config->user_salt, match->value, user);
            match->value = strv_z(config_strdup(config, strv_z(user)));
        }
    }
    changes_apply(config->state_dir, defs, n);
    limit_set_free(config->limits);
    config->limits = limit_set_new(defs, n, config->zone);
    free(defs);
}
