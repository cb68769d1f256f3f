#include "proxy/config_draft.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/xalloc.h"

/* The book that comes with the program, as the configuration names it. */
#define OWN_BOOK "pricing/book"

enum {
    BOOK_PATHS_MAX = 64,
    RULES_MAX = 10000,
};

/* ---- where the book is ----------------------------------------------------------- */

/* "<folder of the program>/<below>" where that is there, else NULL; to be freed. */
static char *beside_program(const char *below)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    char *slash;
    char *joined;

    if (n <= 0)
        return NULL;
    path[n] = '\0';
    slash = strrchr(path, '/');
    if (!slash)
        return NULL;
    *slash = '\0';
    joined = xasprintf("%s/%s", path, below);
    if (access(joined, R_OK) == 0)
        return joined;
    free(joined);
    return NULL;
}

/*
 * The program's own book is found beside the configuration file, in the current
 * folder, where it was installed, or in the source tree that the program was
 * built in; any other path only beside the file.
 */
static char *find_book(struct config *config, const char *path)
{
    static const char *const below[] = {"../share/tollgate/book", "../" OWN_BOOK,
                                        "../../" OWN_BOOK, NULL};
    char *beside_file = config_resolve(config, path);

    if (strcmp(path, OWN_BOOK) != 0 || access(beside_file, R_OK) == 0)
        return beside_file;
    if (access(path, R_OK) == 0)
        return config_strdup(config, strv_z(path));
#ifdef TOLLGATE_BOOK_DIR
    if (access(TOLLGATE_BOOK_DIR, R_OK) == 0)
        return config_strdup(config, STRV(TOLLGATE_BOOK_DIR));
#endif
    for (size_t i = 0; below[i]; i++) {
        char *found = beside_program(below[i]);
        char *copy;

        if (!found)
            continue;
        copy = config_strdup(config, strv_z(found));
        free(found);
        return copy;
    }
    return beside_file;
}

/* ---- rules ------------------------------------------------------------------------ */

static void read_rates(struct config_loader *l, const cJSON *item, struct price_rule *rule)
{
    const cJSON *each;
    const char **meters;
    const char **values;
    size_t n = 0;

    if (!cJSON_IsObject(item)) {
        config_problem(l, item,
                       "prices.rules[].rates must be an object { meter: \"dollars\" }");
        return;
    }
    if (!config_unique_members(l, item))
        return;
    cJSON_ArrayForEach(each, item) n++;
    meters = config_alloc(l->config, n * sizeof(*meters));
    values = config_alloc(l->config, n * sizeof(*values));
    n = 0;
    cJSON_ArrayForEach(each, item)
    {
        enum meter meter;
        char *value = config_read_decimal(l, each, "prices.rules[].rates");

        if (!value)
            continue;
        if (!meter_parse(strv_z(each->string), &meter)) {
            config_problem(l, each, "prices.rules[].rates: no such meter: see docs/prices.md");
            continue;
        }
        meters[n] = meter_name(meter);
        values[n++] = value;
    }
    rule->rate_meters = meters;
    rule->rate_values = values;
    rule->n_rates = n;
}

static void read_rule(struct config_loader *l, const cJSON *item, struct price_rule *out)
{
    struct rule_draft draft = {.from = NULL};

    config_preset_section(l, &config_section_rule, &draft);
    config_read_section(l, &config_section_rule, item, &draft);
    if (draft.match)
        config_read_section(l, &config_section_rule_match, draft.match, &draft);
    if (draft.rates)
        read_rates(l, draft.rates, &draft.rule);
    if (draft.multiplier)
        draft.rule.multiplier =
            config_read_decimal(l, draft.multiplier, "prices.rules[].multiplier");
    if (!draft.multiplier && !draft.rates)
        config_problem(l, item, "a price rule has neither \"multiplier\" nor \"rates\"");
    draft.rule.upstream = draft.upstream;
    draft.rule.model = draft.model;
    draft.rule.provider = draft.provider;
    draft.rule.tier = draft.tier;
    draft.rule.meters = draft.meters;
    draft.rule.known_at = draft.known_at;
    draft.rule.from = draft.from;
    draft.rule.to = draft.to;
    draft.rule.file = l->file;
    draft.rule.line = config_json_line(item);
    *out = draft.rule;
}

void config_check_rules(struct config_loader *l, const cJSON *prices)
{
    const cJSON *rules = cJSON_GetObjectItemCaseSensitive(prices, "rules");
    const cJSON *each;

    cJSON_ArrayForEach(each, rules)
    {
        const cJSON *match = cJSON_GetObjectItemCaseSensitive(each, "match");
        const cJSON *upstream = cJSON_GetObjectItemCaseSensitive(match, "upstream");

        if (cJSON_IsString(upstream) && !strstr(upstream->valuestring, "${") &&
            !config_has_upstream(l->config, strv_z(upstream->valuestring)))
            config_problem(l, upstream,
                           "prices.rules[].match.upstream is no upstream's name, so the rule "
                           "would price nothing");
    }
}

/* ---- the section ------------------------------------------------------------------ */

void config_read_prices(struct config_loader *l, const cJSON *item)
{
    struct prices_draft draft = {.book = NULL};
    struct strv own = STRV(OWN_BOOK);
    struct strv *names = &own;
    size_t n_names = 1, n_rules = 0;
    const char *paths[BOOK_PATHS_MAX];
    struct price_rule *rules = NULL;
    size_t before = l->problems->total;
    const cJSON *each;

    config_preset_section(l, &config_section_prices, &draft);
    if (item)
        config_read_section(l, &config_section_prices, item, &draft);
    l->config->on_unpriced = draft.on_unpriced;
    if (draft.book && !config_read_list(l, draft.book, "prices.book", &names, &n_names))
        return;
    if (n_names > BOOK_PATHS_MAX) {
        config_problem(l, draft.book, "prices.book has more than %d entries", BOOK_PATHS_MAX);
        return;
    }
    for (size_t i = 0; i < n_names; i++)
        paths[i] = find_book(l->config, names[i].p);
    if (draft.rules) {
        if (!config_count_items(l, draft.rules, "prices.rules", RULES_MAX, &n_rules))
            return;
        rules = config_alloc(l->config, n_rules * sizeof(*rules));
        n_rules = 0;
        cJSON_ArrayForEach(each, draft.rules) read_rule(l, each, &rules[n_rules++]);
    }
    l->config->n_book_paths = n_names;
    l->config->book_paths = config_alloc(l->config, n_names * sizeof(paths[0]));
    memcpy(l->config->book_paths, paths, n_names * sizeof(paths[0]));
    if (l->problems->total == before)
        l->config->book = book_load(paths, n_names, rules, n_rules, l->problems);
}
