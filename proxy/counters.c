#include "proxy/counters.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/xalloc.h"
#include "proxy/tls_context.h"

struct counters_tls {
    atomic_uint refs;
    char *ca_file, *server_name;
    struct certificate_pair pair;
    bool verify;
    pthread_mutex_t lock; /* held while the files are read; else for one SSL_new */
    SSL_CTX *ctx;         /* NULL: they were not */
};

static char *copy(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

struct counters_tls *counters_tls_new(const struct config *config)
{
    struct counters_tls *t = xcalloc(1, sizeof(*t));

    atomic_init(&t->refs, 1);
    t->ca_file = copy(config->counters_ca_file);
    t->server_name = copy(config->counters_server_name);
    t->pair.certificate = copy(config->counters_pair.certificate);
    t->pair.private_key = copy(config->counters_pair.private_key);
    t->verify = config->counters_tls_verify;
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

struct counters_tls *counters_tls_ref(struct counters_tls *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void counters_tls_unref(struct counters_tls *t)
{
    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(t->ctx);
    pthread_mutex_destroy(&t->lock);
    free(t->ca_file);
    free(t->server_name);
    free(t->pair.certificate);
    free(t->pair.private_key);
    free(t);
}

static bool load_locked(struct counters_tls *t, char *why, size_t size)
{
    if (!t->ctx)
        t->ctx = tls_redis_context(t->ca_file, t->verify, t->pair.certificate ? &t->pair : NULL,
                                   why, size);
    return t->ctx != NULL;
}

bool counters_tls_load(struct counters_tls *t, char *why, size_t size)
{
    bool good;

    pthread_mutex_lock(&t->lock);
    good = load_locked(t, why, size);
    pthread_mutex_unlock(&t->lock);
    return good;
}

static SSL *secure(void *arg, const char *host, char why[LIMIT_WHY_BYTES])
{
    struct counters_tls *t = arg;
    const char *name = t->server_name ? t->server_name : host;
    SSL *ssl = NULL;

    pthread_mutex_lock(&t->lock);
    if (load_locked(t, why, LIMIT_WHY_BYTES)) {
        ssl = SSL_new(t->ctx);
        if (!ssl)
            (void)snprintf(why, LIMIT_WHY_BYTES, "no memory");
    }
    pthread_mutex_unlock(&t->lock);
    if (ssl && tls_client_prepare(ssl, name, t->verify) != RC_OK) {
        (void)snprintf(why, LIMIT_WHY_BYTES, "could not verify redis: \"%.100s\" is no host's name",
                       name);
        SSL_free(ssl);
        return NULL;
    }
    return ssl;
}

struct limiter_options counters_options(const struct config *config)
{
    struct limiter_options options = {.name_space = config->counters_namespace};

    if (!config->counters_redis)
        return options;
    options.redis_url = config->redis_url;
    if (config->counters_tls) {
        options.secure = secure;
        options.secure_arg = config->counters_tls;
    }
    return options;
}

struct limiter_options counters_options_of_command(const struct config *config)
{
    (void)signal(SIGPIPE, SIG_IGN);
    return counters_options(config);
}
