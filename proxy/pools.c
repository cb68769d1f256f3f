#include "proxy/pools.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "pricing/price_memo.h"
#include "proxy/keys.h"
#include "proxy/server.h"
#include "proxy/upstream.h"
#include "proxy/worker.h"

struct pools *pools_new(struct worker *w, struct generation *generation)
{
    const struct config *config = generation->config;
    struct upstream_env env = {
        .base = w->base, .dns = w->dns, .stats = &w->stats, .later = &w->later};
    struct pools *pools = xcalloc(1, sizeof(*pools));

    pools->refs = 1;
    pools->worker = w;
    pools->generation = generation;
    pools->keys = key_memo_new(config->key_table);
    pools->prices = price_memo_new(config->book);
    pools->at = xcalloc(config->n_upstreams, sizeof(pools->at[0]));
    pools->tokens = xcalloc(config->n_upstreams, sizeof(pools->tokens[0]));
    for (size_t i = 0; i < config->n_upstreams; i++)
        pools->at[i] = upstream_pool_new(&config->upstreams[i], generation->clients[i], &env);
    return pools;
}

void upstream_token_fini(struct upstream_token *token)
{
    if (token->text)
        explicit_bzero(token->text, strlen(token->text));
    free(token->text);
    token->text = NULL;
}

void pools_unref(struct pools *pools)
{
    if (!pools || --pools->refs > 0)
        return;
    for (size_t i = 0; i < pools->generation->config->n_upstreams; i++) {
        upstream_pool_free(pools->at[i]);
        upstream_token_fini(&pools->tokens[i]);
    }
    free(pools->at);
    free(pools->tokens);
    key_memo_free(pools->keys);
    price_memo_free(pools->prices);
    generation_unref(pools->generation);
    free(pools);
}
