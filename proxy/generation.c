#include "proxy/generation.h"

#include <stdlib.h>

#include "base/xalloc.h"
#include "proxy/counters.h"
#include "proxy/memory.h"
#include "proxy/tls_context.h"
#include "proxy/upstream.h"

static bool make_contexts(struct generation *g, struct problems *problems)
{
    const struct config *config = g->config;
    char why[512];

    g->server = tls_server_context(&config->proxy, config->bounds.http2_streams > 0, g->tickets,
                                   why, sizeof(why));
    if (!g->server)
        problems_add(problems, config->file, 0, "listen.proxy: %s", why);
    g->clients = xcalloc(config->n_upstreams, sizeof(SSL_CTX *));
    for (size_t i = 0; i < config->n_upstreams; i++) {
        const struct upstream_config *upstream = &config->upstreams[i];

        if (!upstream->tls)
            continue;
        g->clients[i] =
            tls_client_context(upstream->ca_file, upstream->tls_verify, why, sizeof(why));
        if (g->clients[i])
            upstream_context(g->clients[i]);
        else
            problems_add(problems, config->file, 0, "upstream \"%s\": %s", upstream->name, why);
    }
    if (config->counters_tls && !counters_tls_load(config->counters_tls, why, sizeof(why)))
        problems_add(problems, config->file, 0, "counters: %s", why);
    return problems->total == 0;
}

struct generation *generation_load(const char *file, const struct generation *before,
                                   struct problems *problems)
{
    struct generation *g = xcalloc(1, sizeof(*g));

    atomic_init(&g->refs, 1);
    g->tickets = before ? tls_tickets_ref(before->tickets) : tls_tickets_new();
    g->config = config_load(file, problems);
    if (g->config && config_prepare_state(g->config, problems))
        config_check_files(g->config, problems);
    if (!g->config || problems->total > 0 || !make_contexts(g, problems)) {
        generation_unref(g);
        return NULL;
    }
    return g;
}

struct generation *generation_ref(struct generation *g)
{
    atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed);
    return g;
}

void generation_unref(struct generation *g)
{
    if (!g || atomic_fetch_sub_explicit(&g->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (g->clients) {
        for (size_t i = 0; i < g->config->n_upstreams; i++)
            SSL_CTX_free(g->clients[i]);
        free(g->clients);
    }
    SSL_CTX_free(g->server);
    tls_tickets_unref(g->tickets);
    config_free(g->config);
    if (g->memory)
        memory_ask(g->memory);
    free(g);
}
