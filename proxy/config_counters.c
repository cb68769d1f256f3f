/*
 * config_counters.c - where the shared counters are, and what TLS to them takes.
 */
#include "proxy/config_draft.h"

#include <string.h>

#include "metering/limits/limit.h"
#include "proxy/counters.h"

static void check_pair(struct config_loader *l, const cJSON *item)
{
    const struct certificate_pair *pair = &l->config->counters_pair;

    if (!pair->certificate != !pair->private_key)
        config_problem(l, item,
                       "counters has one of certificate and private_key: give both or none");
}

/* What would be passed over in silence is said. */
static void check_plain(struct config_loader *l, const cJSON *item)
{
    static const char *const fields[] = {"ca_file", "certificate", "private_key", "server_name",
                                         "tls_verify"};

    for (size_t i = 0; item && i < sizeof(fields) / sizeof(fields[0]); i++) {
        const cJSON *field = cJSON_GetObjectItemCaseSensitive(item, fields[i]);

        if (field)
            config_problem(l, field,
                           "counters.%s is of TLS, and counters.url does not begin with rediss: "
                           "write rediss://, or leave it out",
                           fields[i]);
    }
}

void config_read_counters(struct config_loader *l, const cJSON *item)
{
    struct config *c = l->config;
    const char *fault;

    if (!c->counters_redis)
        return;
    fault = limiter_url_check(c->redis_url);
    if (fault)
        config_problem(l, item ? config_member_or(item, "url") : NULL,
                       "counters.url: %s; write redis://[user:password@]host[:port][/db], "
                       "redis+cluster://host[:port],..., redis+sentinel://host[:port],.../name, "
                       "rediss in place of redis for TLS, or unix:///path",
                       fault);
    check_pair(l, item);
    if (!limiter_url_is_secure(c->redis_url))
        check_plain(l, item);
    else if (!fault)
        c->counters_tls = counters_tls_new(c);
}

static bool is_same(const struct config *a, const struct config *b)
{
    return a->counters_redis == b->counters_redis &&
           (!a->counters_redis || (strcmp(a->redis_url, b->redis_url) == 0 &&
                                   strcmp(a->counters_namespace, b->counters_namespace) == 0)) &&
           strcmp(a->ledger_path, b->ledger_path) == 0;
}

bool config_keep_started(struct config *config, const struct config *running)
{
    if (is_same(config, running))
        return false;
    explicit_bzero(config->redis_url, strlen(config->redis_url)); /* it may hold a password */
    config->counters_redis = running->counters_redis;
    config->redis_url = config_strdup(config, strv_z(running->redis_url));
    config->counters_namespace = config_strdup(config, strv_z(running->counters_namespace));
    config->ledger_path = config_strdup(config, strv_z(running->ledger_path));
    counters_tls_unref(config->counters_tls);
    config->counters_tls =
        running->counters_tls ? counters_tls_ref(running->counters_tls) : NULL;
    return true;
}
