#include "proxy/config_draft.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/datetime.h"
#include "base/xalloc.h"
#include "proxy/auth.h"

enum { SECRET_MIN_BYTES = 4 }; /* shorter ones are typing errors */

/* ---- tags ------------------------------------------------------------------------ */

bool config_is_tag(struct config_loader *l, const cJSON *item, struct strv name,
                   const char *where)
{
    enum dimension d;

    if (!tag_name_is_valid(name)) {
        config_problem(l, item, "%s: a tag's name is 1 to %d of a-z 0-9 _ . -", where,
                       TAG_NAME_MAX_BYTES);
        return false;
    }
    if (strv_eq(name, STRV("attempt")) ||
        (dimension_parse(name, &d) && (int)d >= STANDING_TAGS)) {
        config_problem(l, item,
                       "%s: \"" STRV_FMT "\" is set by the gateway: choose another tag", where,
                       STRV_ARG(name));
        return false;
    }
    return true;
}

bool config_count_items(struct config_loader *l, const cJSON *item, const char *where,
                        size_t max, size_t *n)
{
    const cJSON *each;

    *n = 0;
    if (!cJSON_IsArray(item)) {
        config_problem(l, item, "\"%s\" must be a list [ ... ]", where);
        return false;
    }
    cJSON_ArrayForEach(each, item)(*n)++;
    if (*n > max) {
        config_problem(l, item, "\"%s\" has more than %zu entries", where, max);
        return false;
    }
    return true;
}

/* Members of an object of tags, at most all standing and free ones. */
static bool count_members(struct config_loader *l, const cJSON *item, const char *where,
                          size_t *n)
{
    enum { MOST = STANDING_TAGS + FREE_TAGS_MAX };
    const cJSON *each;

    *n = 0;
    if (!cJSON_IsObject(item)) {
        config_problem(l, item, "%s must be an object { tag: ... }", where);
        return false;
    }
    cJSON_ArrayForEach(each, item)(*n)++;
    if (*n > MOST) {
        config_problem(l, item, "%s has more than %d tags", where, MOST);
        return false;
    }
    return config_unique_members(l, item);
}

bool config_read_tag_values(struct config_loader *l, const cJSON *item, const char *where,
                            struct tag_value **out, size_t *n)
{
    const cJSON *each;
    size_t most, free_tags = 0;

    *out = NULL;
    *n = 0;
    if (!item)
        return true;
    if (!count_members(l, item, where, &most))
        return false;
    *out = config_alloc(l->config, most * sizeof(**out));
    cJSON_ArrayForEach(each, item)
    {
        struct strv name = strv_z(each->string);
        enum dimension d;
        char *value;

        if (!config_is_tag(l, each, name, where))
            continue;
        value = config_read_text(l, each, where);
        if (!value)
            continue;
        if (!tag_value_is_valid(strv_z(value))) {
            config_problem(l, each, "%s: a tag's value is 1 to %d bytes of printable UTF-8",
                           where, TAG_VALUE_MAX_BYTES);
            continue;
        }
        free_tags += !dimension_parse(name, &d);
        (*out)[(*n)++] = (struct tag_value){.name = strv_z(config_strdup(l->config, name)),
                                            .value = strv_z(value)};
    }
    if (free_tags > FREE_TAGS_MAX)
        config_problem(l, item, "%s has more than %d free tags", where, FREE_TAGS_MAX);
    return true;
}

bool config_read_tag_allowed(struct config_loader *l, const cJSON *item, const char *where,
                             struct tag_allowed **out, size_t *n)
{
    const cJSON *each;
    size_t most;

    *out = NULL;
    *n = 0;
    if (!item)
        return true;
    if (!count_members(l, item, where, &most))
        return false;
    *out = config_alloc(l->config, most * sizeof(**out));
    cJSON_ArrayForEach(each, item)
    {
        struct tag_allowed list = {.n_values = 0};

        if (!config_is_tag(l, each, strv_z(each->string), where) ||
            !config_read_list(l, each, where, &list.values, &list.n_values))
            continue;
        list.name = strv_z(config_strdup(l->config, strv_z(each->string)));
        (*out)[(*n)++] = list;
    }
    return true;
}

/* May the value stand beside these lists? */
static bool fits_allowed(const struct tag_value *value, const struct tag_allowed *lists,
                         size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool found = false;

        if (!strv_eq(lists[i].name, value->name))
            continue;
        for (size_t v = 0; v < lists[i].n_values && !found; v++)
            found = strv_glob(lists[i].values[v], value->value);
        if (!found)
            return false;
    }
    return true;
}

static void check_allowed(struct config_loader *l, const cJSON *item, const char *where,
                          const struct tag_value *values, size_t n_values,
                          const struct tag_allowed *lists, size_t n_lists)
{
    for (size_t i = 0; i < n_values; i++) {
        if (!fits_allowed(&values[i], lists, n_lists))
            config_problem(l, item,
                           "%s: the value of \"" STRV_FMT "\" is not in its list of allowed "
                           "values: add it there, or change it",
                           where, STRV_ARG(values[i].name));
    }
}

void config_read_tags(struct config_loader *l, const cJSON *item)
{
    struct tags_draft draft = {.required = NULL};
    struct tags_config *tags = &l->config->tags;

    config_preset_section(l, &config_section_tags, &draft);
    if (item)
        config_read_section(l, &config_section_tags, item, &draft);
    tags->on_missing = draft.on_missing;
    tags->aliases = draft.aliases;
    if (draft.required && config_read_list(l, draft.required, "tags.required", &tags->required,
                                           &tags->n_required)) {
        for (size_t i = 0; i < tags->n_required; i++)
            (void)config_is_tag(l, draft.required, tags->required[i], "tags.required");
    }
    (void)config_read_tag_values(l, draft.defaults, "tags.defaults", &tags->defaults,
                                 &tags->n_defaults);
    (void)config_read_tag_allowed(l, draft.allowed, "tags.allowed", &tags->allowed,
                                  &tags->n_allowed);
    check_allowed(l, draft.defaults, "tags.defaults", tags->defaults, tags->n_defaults,
                  tags->allowed, tags->n_allowed);
}

/* ---- keys ------------------------------------------------------------------------ */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool parse_hash(struct strv text, unsigned char out[SHA256_BYTES])
{
    if (!strv_starts(text, STRV("sha256:")))
        return false;
    text = strv_skip(text, sizeof("sha256:") - 1);
    if (text.n != SHA256_HEX - 1)
        return false;
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        int high = hex_digit(text.p[2 * i]);
        int low = hex_digit(text.p[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        out[i] = (unsigned char)(high * 16 + low);
    }
    return true;
}

static bool is_given(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    return item && !cJSON_IsNull(item);
}

static void read_secret(struct config_loader *l, const cJSON *item, struct key_draft *draft)
{
    bool has_hash = is_given(item, "hash");
    bool has_secret = is_given(item, "secret");

    if (!has_hash && !has_secret && draft->key.certificate.n > 0) {
        digest_random(draft->key.hash, SHA256_BYTES); /* nothing has this hash */
        return;
    }
    if (has_hash == has_secret) {
        config_problem(l, item,
                       "a key has either \"hash\" or \"secret\"; `tollgate key create` "
                       "makes one");
        return;
    }
    if (draft->hash) {
        if (!parse_hash(strv_z(draft->hash), draft->key.hash))
            config_problem(l, item, "keys[].hash must be sha256: and 64 hex digits");
        return;
    }
    if (!draft->secret)
        return; /* told already */
    if (!*draft->secret) {
        digest_random(draft->key.hash,
                      SHA256_BYTES); /* not known here: nothing has this hash */
        return;
    }
    if (strlen(draft->secret) < SECRET_MIN_BYTES ||
        strlen(draft->secret) > AUTH_SECRET_MAX_BYTES)
        config_problem(l, item, "keys[].secret must have %d to %d bytes", SECRET_MIN_BYTES,
                       AUTH_SECRET_MAX_BYTES);
    digest_sha256(strv_z(draft->secret), draft->key.hash);
    explicit_bzero(draft->secret, strlen(draft->secret));
}

static bool read_time(struct config_loader *l, const cJSON *item, const char *name,
                      const char *text, int64_t *us)
{
    if (datetime_parse(strv_z(text), us))
        return true;
    config_problem(l, item, "keys[].%s must be a time such as \"2027-01-01T00:00:00Z\"", name);
    return false;
}

static void read_locked(struct config_loader *l, const cJSON *item, struct key_config *key)
{
    struct strv *names;
    size_t n;

    if (!item || !config_read_list(l, item, "keys[].locked", &names, &n))
        return;
    for (size_t i = 0; i < n; i++) {
        size_t t = 0;

        while (t < key->n_tags && !strv_eq(key->tags[t].name, names[i]))
            t++;
        if (t < key->n_tags)
            key->tags[t].locked = true;
        else
            config_problem(l, item,
                           "keys[].locked names a tag that has no value in \"tags\": "
                           "give it one");
    }
}

static void read_lists(struct config_loader *l, const struct key_draft *draft,
                       struct key_config *key)
{
    if (draft->models)
        (void)config_read_list(l, draft->models, "keys[].models", &key->models, &key->n_models);
    if (!draft->upstreams || !config_read_list(l, draft->upstreams, "keys[].upstreams",
                                               &key->upstreams, &key->n_upstreams))
        return;
    for (size_t i = 0; i < key->n_upstreams; i++) {
        if (!config_upstream(l->config, key->upstreams[i]))
            config_problem(l, draft->upstreams,
                           "keys[].upstreams: there is no upstream \"" STRV_FMT "\"",
                           STRV_ARG(key->upstreams[i]));
    }
}

static void read_key(struct config_loader *l, const cJSON *item, struct key_config *key)
{
    struct key_draft draft = {.key.expires_us = INT64_MAX};
    int64_t ignored;

    config_preset_section(l, &config_section_key, &draft);
    config_read_section(l, &config_section_key, item, &draft);
    if (draft.key.name && !tag_value_is_valid(strv_z(draft.key.name)))
        config_problem(l, item, "keys[].name must be 1 to %d bytes", TAG_VALUE_MAX_BYTES);
    if (draft.certificate)
        draft.key.certificate =
            config_read_identity(l, config_member_or(item, "certificate"), draft.certificate);
    read_secret(l, item, &draft);
    *key = draft.key;
    key->file = l->file;
    key->line = config_json_line(item);
    key->disabled = !draft.enabled || draft.revoked;
    if (draft.expires)
        (void)read_time(l, item, "expires", draft.expires, &key->expires_us);
    if (draft.created)
        (void)read_time(l, item, "created", draft.created, &ignored);
    if (draft.revoked)
        (void)read_time(l, item, "revoked", draft.revoked, &ignored);
    (void)config_read_tag_values(l, draft.tags, "keys[].tags", &key->tags, &key->n_tags);
    (void)config_read_tag_allowed(l, draft.allowed, "keys[].allowed", &key->allowed,
                                  &key->n_allowed);
    check_allowed(l, item, "keys[].tags", key->tags, key->n_tags, key->allowed, key->n_allowed);
    check_allowed(l, item, "keys[].tags", key->tags, key->n_tags, l->config->tags.allowed,
                  l->config->tags.n_allowed);
    read_locked(l, draft.locked, key);
    read_lists(l, &draft, key);
}

void config_read_keys(struct config_loader *l, const cJSON *item)
{
    struct config *config = l->config;
    struct key_config *keys;
    const cJSON *each;
    size_t n;

    if (!item || !config_count_items(l, item, "keys", CONFIG_KEYS_MAX - config->n_keys, &n))
        return;
    keys = config_alloc(config, (config->n_keys + n) * sizeof(*keys));
    if (config->n_keys > 0)
        memcpy(keys, config->keys, config->n_keys * sizeof(*keys));
    config->keys = keys;
    cJSON_ArrayForEach(each, item) read_key(l, each, &keys[config->n_keys++]);
}

static int order_names(const void *a, const void *b)
{
    const struct key_config *x = *(const struct key_config *const *)a;
    const struct key_config *y = *(const struct key_config *const *)b;
    int order = strcmp(x->name, y->name);

    return order ? order : (x > y) - (x < y);
}

static int order_hashes(const void *a, const void *b)
{
    const struct key_config *x = *(const struct key_config *const *)a;
    const struct key_config *y = *(const struct key_config *const *)b;
    int order = memcmp(x->hash, y->hash, SHA256_BYTES);

    return order ? order : (x > y) - (x < y);
}

void config_check_keys(struct config_loader *l)
{
    const struct config *config = l->config;
    const struct key_config **all;
    size_t n = config->n_keys;

    if (n < 2 || l->problems->total > 0)
        return; /* names may be missing */
    all = xmalloc(n * sizeof(*all));
    for (size_t i = 0; i < n; i++)
        all[i] = &config->keys[i];
    qsort(all, n, sizeof(*all), order_names);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(all[i]->name, all[i - 1]->name) == 0)
            problems_add(l->problems, all[i]->file, all[i]->line,
                         "key \"%s\" is there twice (also %s:%d): rename or remove one",
                         all[i]->name, all[i - 1]->file, all[i - 1]->line);
    }
    qsort(all, n, sizeof(*all), order_hashes);
    for (size_t i = 1; i < n; i++) {
        if (memcmp(all[i]->hash, all[i - 1]->hash, SHA256_BYTES) == 0)
            problems_add(l->problems, all[i]->file, all[i]->line,
                         "keys \"%s\" and \"%s\" have the same secret: make a new one",
                         all[i - 1]->name, all[i]->name);
    }
    free(all);
}
