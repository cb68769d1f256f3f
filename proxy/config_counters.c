/*
 * config_counters.c - where the shared counters are, and what TLS to them takes.
 */
#include "proxy/config_draft.h"

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
