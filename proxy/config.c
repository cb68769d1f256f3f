#include "proxy/config.h"

#include <arpa/inet.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "proxy/config_draft.h"
#include "proxy/counters.h"
#include "proxy/keys.h"
#include "proxy/memory.h"

/* Strings and lists made from the largest file, with room to spare. */
#define CONFIG_ARENA_BYTES ((size_t)8 << 30)

enum { HOST_NAME_BYTES = 256 };

/* "a/b.json" -> "a"; "b.json" -> "."; "/b.json" -> "/" */
static char *folder_of(const char *file)
{
    const char *slash = strrchr(file, '/');

    if (!slash)
        return xstrdup(".");
    return xmemdupz(file, slash == file ? 1 : (size_t)(slash - file));
}

/* Cores that this process may use. */
static int usable_cores(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
    return 1;
}

static bool is_address(const char *text)
{
    unsigned char bytes[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

static void check_listen(struct config_loader *l, const char *name,
                         struct listen_config *listen)
{
    if (strcmp(listen->address, "localhost") == 0)
        listen->address = config_strdup(l->config, STRV("127.0.0.1"));
    if (!is_address(listen->address))
        problems_add(l->problems, l->file, 0,
                     "listen.%s.address is not an IP address: write one such as 0.0.0.0, "
                     "127.0.0.1 or ::",
                     name);
}

/* What follows from other fields where it is not given. */
static void fill_in(struct config_loader *l)
{
    struct config *c = l->config;
    char host[HOST_NAME_BYTES] = "";
    char *joined;

    if (c->workers == 0)
        c->workers = usable_cores();
    if (c->bounds.address_connections == 0)
        c->bounds.address_connections = (c->bounds.connections + 1) / 2;
    if (c->bounds.memory_bytes == 0)
        c->bounds.memory_bytes = memory_preset();
    if (c->bounds.memory_bytes < BOUNDS_MEMORY_MIN_BYTES)
        problems_add(l->problems, l->file, 0,
                     "bounds.memory_bytes is %llu: at least %d",
                     (unsigned long long)c->bounds.memory_bytes, BOUNDS_MEMORY_MIN_BYTES);
    if (!c->node) {
        if (gethostname(host, sizeof(host) - 1) != 0 || !host[0])
            snprintf(host, sizeof(host), "tollgate");
        c->node = config_strdup(c, strv_z(host));
    }
    if (!c->ledger_path) {
        joined = xasprintf("%s/ledger.db", c->state_dir);
        c->ledger_path = config_strdup(c, strv_z(joined));
        free(joined);
    }
    if (!c->admin.token_file) {
        joined = xasprintf("%s/admin.token", c->state_dir);
        c->admin.token_file = config_strdup(c, strv_z(joined));
        free(joined);
    }
    if (!c->admin.certificate != !c->admin.private_key)
        problems_add(l->problems, l->file, 0,
                     "listen.admin has one of certificate and private_key: give both or none");
    if (!c->admin.certificate) {
        c->admin.certificate = c->proxy.certificate;
        c->admin.private_key = c->proxy.private_key;
    }
    check_listen(l, "proxy", &c->proxy);
    check_listen(l, "admin", &c->admin);
}

static void read_timezone(struct config_loader *l, const cJSON *item)
{
    char *name = item ? config_read_text(l, item, "timezone") : NULL;

    l->config->zone = zone_open(name ? name : "UTC");
    if (!l->config->zone)
        config_problem(l, item,
                       "timezone is not known here: write an IANA name such as "
                       "\"Europe/Berlin\", and install tzdata if it is missing");
}

/* The keys that `tollgate key` keeps; their file need not be there. */
static void read_own_keys(const struct config_loader *l)
{
    struct config *config = l->config;
    char *path = keys_path(config->state_dir);
    struct config_loader own = *l;
    struct config_json doc = {.root = NULL};

    if (access(path, F_OK) == 0) {
        own.file = config_strdup(config, strv_z(path));
        if (config_json_read(&doc, own.file, l->problems))
            config_read_keys(&own, cJSON_GetObjectItemCaseSensitive(doc.root, "keys"));
        memcpy(config->keys_sha256, doc.sha256, sizeof(doc.sha256));
        config_json_release(&doc);
    }
    free(path);
}

/* Sections in the order in which they need each other. */
static void read_all(struct config_draft *draft, const cJSON *root)
{
    struct config_loader *l = &draft->l;
    struct config *config = l->config;

    config_preset_section(l, &config_root, config);
    config_read_section(l, &config_root, root, config);
    config_read_certificates(l, draft->certificates);
    fill_in(l);
    config_read_counters(l, cJSON_GetObjectItemCaseSensitive(root, "counters"));
    read_timezone(l, draft->timezone);
    config_read_tags(l, draft->tags);
    config_read_prices(l, draft->prices);
    config_read_upstreams(l, draft->upstreams);
    config_check_rules(l, draft->prices);
    config_read_keys(l, draft->keys);
    read_own_keys(l);
    config_check_keys(l);
    config_index_identities(l);
    config_read_alerts(l, draft->alerts);
    config_read_limits(l, draft->limits);
    config_check_kept(l);
}

static void make_prompt_key(struct config *config)
{
    fingerprint_key_make(&config->prompt_key,
                         strv_make((const char *)config->user_salt, SHA256_BYTES));
}

static struct config *load(const char *file, bool without_secrets, struct problems *problems)
{
    struct config *config = xcalloc(1, sizeof(*config));
    struct config_draft draft = {.l = {.config = config,
                                       .file = file,
                                       .problems = problems,
                                       .without_secrets = without_secrets}};
    struct config_json doc = {.root = NULL};
    size_t before = problems->total;
    char *folder = folder_of(file);

    arena_init(&config->arena, CONFIG_ARENA_BYTES);
    config->file = config_strdup(config, strv_z(file));
    config->dir = config_strdup(config, strv_z(folder));
    draft.l.file = config->file;
    if (config_json_read(&doc, config->file, problems))
        read_all(&draft, doc.root);
    memcpy(config->file_sha256, doc.sha256, sizeof(doc.sha256));
    if (problems->total == before) {
        (void)keys_read_salt(config->state_dir, config->user_salt);
        make_prompt_key(config);
        config->key_table = key_table_new(config->keys, config->n_keys);
        config_compile_limits(config);
    } else {
        config_free(config);
        config = NULL;
    }
    config_json_release(&doc);
    free(folder);
    return config;
}

struct config *config_load(const char *file, struct problems *problems)
{
    return load(file, false, problems);
}

struct config *config_load_without_secrets(const char *file, struct problems *problems)
{
    return load(file, true, problems);
}

static void wipe(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
}

void config_free(struct config *config)
{
    if (!config)
        return;
    for (size_t i = 0; i < config->n_upstreams; i++) {
        const struct upstream_config *up = &config->upstreams[i];

        wipe(up->api_key);
        wipe(up->aws.secret_access_key);
        wipe(up->aws.session_token);
        wipe(up->entra.client_secret);
    }
    for (size_t i = 0; i < config->alerts.n_channels; i++) {
        const struct alert_channel *channel = &config->alerts.channels[i];

        wipe(channel->url);
        wipe(channel->routing_key);
        wipe(channel->secret);
        wipe(channel->old_secret);
        wipe(channel->password);
    }
    wipe(config->redis_url); /* it may hold a password */
    counters_tls_unref(config->counters_tls);
    explicit_bzero(config->user_salt, sizeof(config->user_salt));
    explicit_bzero(&config->prompt_key, sizeof(config->prompt_key));
    key_table_free(config->key_table);
    limit_set_free(config->limits);
    book_free(config->book);
    zone_close(config->zone);
    arena_release(&config->arena);
    free(config);
}

bool config_prepare_state(struct config *config, struct problems *problems)
{
    unsigned char salt[SHA256_BYTES];
    char *folder = folder_of(config->ledger_path);
    bool good;

    good = keys_make_folder(config->state_dir, problems) &&
           keys_make_folder(folder, problems) &&
           keys_make_salt(config->state_dir, salt, problems);
    if (good && memcmp(salt, config->user_salt, sizeof(salt)) != 0) {
        memcpy(config->user_salt, salt, sizeof(salt));
        make_prompt_key(config);
        config_compile_limits(config);
    }
    explicit_bzero(salt, sizeof(salt));
    free(folder);
    return good;
}
