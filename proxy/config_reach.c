#include "proxy/config_draft.h"

#include <string.h>

#include "proxy/nearest.h"

/*
 * Whether any request can be what a limit matches.  A request is of one key, so a match is
 * possible where some key can carry all of it at once: also a disabled or expired one, or the
 * file could not be loaded again once the last key of a team is revoked.  Only what can be known
 * from the configuration counts: a tag that callers may set freely can have any value.
 */

enum {
    KEY_LOOKS_MAX = 20 * 1000 * 1000, /* keys looked at for all limits; then they are trusted */
    TYPO_DISTANCE = 2,                /* of a free tag's name from a dimension's */
    TYPO_LEAST_BYTES = 5,             /* a shorter name is a typo at a distance of one */
};

/* Is there a text that both globs match?  a and b are at most TAG_VALUE_MAX_BYTES long. */
static bool globs_meet(struct strv a, struct strv b)
{
    bool row[TAG_VALUE_MAX_BYTES + 1], corner, above;

    if (!config_is_glob(a))
        return strv_glob(b, a);
    if (!config_is_glob(b))
        return strv_glob(a, b);
    if (a.n > TAG_VALUE_MAX_BYTES || b.n > TAG_VALUE_MAX_BYTES)
        return true;
    /* row[j]: what a has so far and the first j of b can be the same text */
    row[0] = true;
    for (size_t j = 0; j < b.n; j++)
        row[j + 1] = row[j] && b.p[j] == '*';
    for (size_t i = 0; i < a.n; i++) {
        corner = row[0];
        row[0] = row[0] && a.p[i] == '*';
        for (size_t j = 0; j < b.n; j++) {
            above = row[j + 1];
            if (a.p[i] == '*' || b.p[j] == '*')
                row[j + 1] = above || row[j];
            else
                row[j + 1] = corner && (a.p[i] == '?' || b.p[j] == '?' || a.p[i] == b.p[j]);
            corner = above;
        }
    }
    return row[b.n];
}

/* The known name that the value was perhaps meant to be. */
struct nearest {
    struct strv value, best;
    size_t distance;
};

static void consider(struct nearest *n, struct strv name)
{
    size_t distance = nearest_distance(n->value, name);

    if (n->best.n == 0 || distance < n->distance) {
        n->best = name;
        n->distance = distance;
    }
}

static bool lists_allow(const struct tag_allowed *lists, size_t n, const struct tag *match,
                        struct nearest *near)
{
    for (size_t i = 0; i < n; i++) {
        bool meets = false;

        if (!strv_eq(lists[i].name, match->name))
            continue;
        for (size_t v = 0; v < lists[i].n_values && !meets; v++) {
            meets = globs_meet(lists[i].values[v], match->value);
            consider(near, lists[i].values[v]);
        }
        if (!meets)
            return false;
    }
    return true;
}

static bool names_meet(const struct strv *globs, size_t n, struct strv value,
                       struct nearest *near)
{
    for (size_t i = 0; i < n; i++) {
        if (globs_meet(globs[i], value))
            return true;
        consider(near, globs[i]);
    }
    return n == 0;
}

/* Can a request of this key have that value? */
static bool key_can(const struct key_config *key, const struct tag *match, struct nearest *near)
{
    enum dimension d;

    if (dimension_parse(match->name, &d)) {
        struct strv name = strv_z(key->name);

        if (d == DIM_KEY)
            return names_meet(&name, 1, match->value, near);
        if (d == DIM_UPSTREAM)
            return names_meet(key->upstreams, key->n_upstreams, match->value, near);
        if (d == DIM_MODEL)
            return names_meet(key->models, key->n_models, match->value, near);
    }
    for (size_t i = 0; i < key->n_tags; i++) {
        if (key->tags[i].locked && strv_eq(key->tags[i].name, match->name))
            return names_meet(&key->tags[i].value, 1, match->value, near);
    }
    return lists_allow(key->allowed, key->n_allowed, match, near);
}

static bool any_key_can(struct config_loader *l, const struct tag *match, size_t n,
                        struct nearest *near)
{
    for (size_t k = 0; k < l->config->n_keys; k++) {
        size_t can = 0;

        if (l->key_looks++ >= KEY_LOOKS_MAX)
            return true;
        while (can < n && key_can(&l->config->keys[k], &match[can], near))
            can++;
        if (can == n)
            return true;
    }
    return l->config->n_keys == 0;
}

static bool stop_at_first(const struct book_model *model, void *arg)
{
    (void)model;
    (void)arg;
    return false;
}

/* Under on_unpriced refuse a model without a price is never called. */
static bool may_be_called(const struct config *config, const struct tag *match)
{
    if (config->on_unpriced != ON_UNPRICED_REFUSE || !config->book || config_is_glob(match->value))
        return true;
    for (size_t i = 0; i < config->n_upstreams; i++) {
        const struct upstream_config *up = &config->upstreams[i];
        enum price_match how;

        if (up->n_deployments > 0 || book_find_model(config->book, up->provider, match->value,
                                                     &how, stop_at_first, NULL))
            return true;
    }
    return false;
}

static bool is_declared(const struct config *config, struct strv name)
{
    for (size_t i = 0; i < config->tags.n_required; i++) {
        if (strv_eq(config->tags.required[i], name))
            return true;
    }
    for (size_t i = 0; i < config->tags.n_defaults; i++) {
        if (strv_eq(config->tags.defaults[i].name, name))
            return true;
    }
    for (size_t i = 0; i < config->tags.n_allowed; i++) {
        if (strv_eq(config->tags.allowed[i].name, name))
            return true;
    }
    for (size_t k = 0; k < config->n_keys; k++) {
        for (size_t i = 0; i < config->keys[k].n_tags; i++) {
            if (strv_eq(config->keys[k].tags[i].name, name))
                return true;
        }
    }
    return false;
}

void config_check_name(struct config_loader *l, const cJSON *item, struct strv name,
                       const char *where)
{
    struct nearest near = {.value = name};
    enum dimension d;

    if (dimension_parse(name, &d))
        return;
    for (int i = 0; i < DIM_COUNT; i++)
        consider(&near, strv_z(dimension_name((enum dimension)i)));
    if (near.distance > (name.n < TYPO_LEAST_BYTES ? 1 : TYPO_DISTANCE) ||
        is_declared(l->config, name))
        return;
    config_problem(l, item,
                   "%s: \"" STRV_FMT "\" is a free tag that nothing else here names: write \"" STRV_FMT
                   "\", or list the tag's values in tags.allowed",
                   where, STRV_ARG(name), STRV_ARG(near.best));
}

/* One member by itself. */
static bool check_member(struct config_loader *l, const cJSON *item, const struct tag *match)
{
    const struct config *config = l->config;
    struct nearest near = {.value = match->value};
    const char *why = NULL;
    enum dimension d;

    if (!dimension_parse(match->name, &d))
        d = DIM_COUNT;
    if (d == DIM_UPSTREAM && !config_has_upstream(config, match->value)) {
        why = "there is no upstream";
        for (size_t i = 0; i < config->n_upstreams; i++)
            consider(&near, strv_z(config->upstreams[i].name));
    } else if (d == DIM_MODEL && !may_be_called(config, match)) {
        why = "prices.on_unpriced refuses what has no price, which is so of the model";
    } else if (!lists_allow(config->tags.allowed, config->tags.n_allowed, match, &near)) {
        why = "tags.allowed has no value";
    } else if (!any_key_can(l, match, 1, &near)) {
        why = d == DIM_KEY ? "there is no key" : "no key can carry";
    }
    if (!why)
        return true;
    config_problem(l, item, "limits[].match." STRV_FMT ": %s \"" STRV_FMT
                   "\", so it would match nothing%s" STRV_FMT "%s",
                   STRV_ARG(match->name), why, STRV_ARG(match->value),
                   near.best.n ? "; the nearest is \"" : "", STRV_ARG(near.best),
                   near.best.n ? "\"" : "");
    return false;
}

void config_check_match(struct config_loader *l, const cJSON *item, const struct limit_def *def)
{
    struct nearest near = {.distance = 0};
    bool each = true;

    for (size_t i = 0; i < def->n_match; i++)
        each = check_member(l, config_member_or(item, def->match[i].name.p), &def->match[i]) &&
               each;
    if (each && def->n_match > 1 && !any_key_can(l, def->match, def->n_match, &near))
        config_problem(l, item,
                       "limits[].match: no key can carry all of this at once, so it would match "
                       "nothing: look at the keys' locked and allowed tags, models and upstreams");
}
