/*
 * admin.c - threads, listener and TLS of the admin listener; see admin.h.
 *
 * libevent's HTTP server over its OpenSSL bufferevents: convenience counts here, not
 * speed.  Answers are buffered and written as the client reads, so that a slow one
 * holds its answer and no thread; idle and slow ones are cut after ADMIN_IDLE_S.
 */
#include "proxy/admin.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/bufferevent_ssl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "base/log.h"
#include "base/thread.h"
#include "base/xalloc.h"
#include "proxy/admin_int.h"
#include "reports/page.h"

static void fail_errno(struct fail *fail, enum rc rc, const char *doing)
{
    *fail = (struct fail){.rc = rc, .sys = errno, .doing = doing};
}

static void fail_tls(struct fail *fail, const char *doing)
{
    *fail = (struct fail){.rc = RC_TLS, .tls = ERR_get_error(), .doing = doing};
    ERR_clear_error();
}

void admin_policy(char *out, size_t size)
{
    unsigned char digest[SHA256_BYTES];
    char coded[4 * ((SHA256_BYTES + 2) / 3) + 1];

    digest_sha256(page_style(), digest);
    (void)EVP_EncodeBlock((unsigned char *)coded, digest, SHA256_BYTES);
    (void)snprintf(out, size,
                   "default-src 'none'; style-src 'sha256-%s'; frame-ancestors 'none'; "
                   "base-uri 'none'; form-action 'none'",
                   coded);
}

/* ---- TLS ----------------------------------------------------------------------------------
 */

static SSL_CTX *tls_new(const struct config *config, struct fail *fail)
{
    const struct listen_config *from =
        config->admin.certificate ? &config->admin : &config->proxy;
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());

    ERR_clear_error();
    if (tls && SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION) == 1 &&
        SSL_CTX_use_certificate_chain_file(tls, from->certificate) == 1 &&
        SSL_CTX_use_PrivateKey_file(tls, from->private_key, SSL_FILETYPE_PEM) == 1 &&
        SSL_CTX_check_private_key(tls) == 1) {
        SSL_CTX_set_options(tls, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
        SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
        return tls;
    }
    fail_tls(fail, "load the admin listener's certificate and key");
    SSL_CTX_free(tls);
    return NULL;
}

/* ---- connections
 * ------------------------------------------------------------------------------ */

/* A connection has gone with its SSL object: there is room for another. */
static void on_ssl_free(void *parent, void *pointer, CRYPTO_EX_DATA *data, int index, long argl,
                        void *argp)
{
    struct admin *a = pointer;

    (void)parent;
    (void)data;
    (void)index;
    (void)argl;
    (void)argp;
    if (!a)
        return;
    a->connections--;
    if (a->listener)
        (void)evconnlistener_enable(a->listener);
}

static int ssl_index(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static int index = -1;
    int got;

    pthread_mutex_lock(&lock);
    if (index < 0)
        index = SSL_get_ex_new_index(0, NULL, NULL, NULL, on_ssl_free);
    got = index;
    pthread_mutex_unlock(&lock);
    return got;
}

static struct bufferevent *on_connection(struct event_base *base, void *arg)
{
    struct admin *a = arg;
    struct bufferevent *bev;
    SSL *ssl;

    pthread_mutex_lock(&a->lock);
    ssl = SSL_new(a->tls);
    pthread_mutex_unlock(&a->lock);
    /* Without it libevent would speak plain HTTP: sizes we choose do not fail. */
    if (!ssl)
        abort();
    (void)SSL_set_ex_data(ssl, ssl_index(), a);
    if (++a->connections >= ADMIN_CONNECTIONS_MAX)
        (void)evconnlistener_disable(a->listener);
    bev = bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING,
                                         BEV_OPT_CLOSE_ON_FREE);
    if (!bev)
        abort();
    bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
    return bev;
}

static bool start_http(struct admin *a, const struct config *config, struct fail *fail)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    struct evhttp_bound_socket *bound;
    int one = 1;

    a->http = evhttp_new(a->base);
    if (!a->http) {
        fail_errno(fail, RC_IO, "make the admin listener");
        return false;
    }
    evhttp_set_bevcb(a->http, on_connection, a);
    evhttp_set_gencb(a->http, admin_on_request, a);
    evhttp_set_timeout(a->http, ADMIN_IDLE_S);
    evhttp_set_max_headers_size(a->http, ADMIN_HEAD_MAX_BYTES);
    evhttp_set_max_body_size(a->http, ADMIN_BODY_MAX_BYTES);
    evhttp_set_default_content_type(a->http, NULL);
    evhttp_set_allowed_methods(a->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST |
                                            EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |
                                            EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH |
                                            EVHTTP_REQ_TRACE | EVHTTP_REQ_CONNECT);
    bound = evhttp_bind_socket_with_handle(a->http, config->admin.address,
                                           (uint16_t)config->admin.port);
    if (!bound ||
        getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&address, &size)) {
        fail_errno(fail, RC_IO, "bind the admin listener");
        return false;
    }
    /* Connections inherit it: else a first answer waits 40 ms for the tickets before it. */
    setsockopt(evhttp_bound_socket_get_fd(bound), IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    a->listener = evhttp_bound_socket_get_listener(bound);
    a->port = address.ss_family == AF_INET6
                  ? ntohs(((const struct sockaddr_in6 *)(const void *)&address)->sin6_port)
                  : ntohs(((const struct sockaddr_in *)(const void *)&address)->sin_port);
    return true;
}

/* ---- admin thread
 * --------------------------------------------------------------------------------- */

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct admin *a = arg;
    struct list_node done;
    uint64_t count;
    bool stopping;
    ssize_t n = read(fd, &count, sizeof(count));

    (void)n;
    (void)what;
    list_init(&done);
    pthread_mutex_lock(&a->lock);
    stopping = a->stopping;
    while (!stopping && !list_is_empty(&a->done)) {
        struct list_node *node = a->done.next;
        list_remove(node);
        list_push_back(&done, node);
        a->n_jobs--;
    }
    pthread_mutex_unlock(&a->lock);
    while (!list_is_empty(&done)) {
        struct admin_job *job = LIST_OBJECT(done.next, struct admin_job, node);
        list_remove(&job->node);
        admin_answer_job(a, job);
    }
    if (stopping)
        (void)event_base_loopbreak(a->base);
}

static void on_counters_due(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    admin_jobs_add_counters(arg);
}

static void *admin_run(void *arg)
{
    struct admin *a = arg;

    (void)event_base_dispatch(a->base);
    return NULL;
}

/* ---- start and stop
 * --------------------------------------------------------------------------------- */

static bool start_events(struct admin *a, struct fail *fail)
{
    const struct timeval often = {.tv_sec = ADMIN_COUNTERS_S};
    struct event_config *options = event_config_new();

    a->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (options) {
        /* Other threads reach this loop through wake_fd alone. */
        (void)event_config_set_flag(options, EVENT_BASE_FLAG_NOLOCK);
        a->base = event_base_new_with_config(options);
        event_config_free(options);
    }
    if (a->wake_fd < 0 || !a->base) {
        fail_errno(fail, RC_IO, "make the admin event loop");
        return false;
    }
    a->wake = event_new(a->base, a->wake_fd, EV_READ | EV_PERSIST, on_wake, a);
    a->counters_timer = event_new(a->base, -1, EV_PERSIST, on_counters_due, a);
    if (!a->wake || !a->counters_timer || event_add(a->wake, NULL) != 0 ||
        event_add(a->counters_timer, &often) != 0) {
        fail_errno(fail, RC_IO, "make the admin events");
        return false;
    }
    return true;
}

/* Signals are for the thread that main chose: these two block all. */
static bool start_threads(struct admin *a, struct fail *fail)
{
    sigset_t all, before;
    int error;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    error = pthread_create(&a->jobs_thread, NULL, admin_jobs_run, a);
    if (error == 0) {
        error = pthread_create(&a->thread, NULL, admin_run, a);
        if (error != 0) {
            pthread_mutex_lock(&a->lock);
            a->stopping = true;
            pthread_cond_signal(&a->jobs_wake);
            pthread_mutex_unlock(&a->lock);
            (void)pthread_join(a->jobs_thread, NULL);
        }
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0) {
        (void)pthread_setname_np(a->thread, "admin");
        (void)pthread_setname_np(a->jobs_thread, "reports");
        return true;
    }
    *fail = (struct fail){.rc = RC_IO, .sys = error, .doing = "start the admin threads"};
    return false;
}

static void free_jobs(struct list_node *list)
{
    while (!list_is_empty(list)) {
        struct admin_job *job = LIST_OBJECT(list->next, struct admin_job, node);
        list_remove(&job->node);
        admin_job_free(job);
    }
}

/* After the threads have ended, or where they never started. */
static void admin_release(struct admin *a)
{
    a->listener = NULL;
    if (a->http)
        evhttp_free(
            a->http); /* requests that wait are told by on_close, before their jobs go */
    free_jobs(&a->queue);
    free_jobs(&a->done);
    if (a->wake)
        event_free(a->wake);
    if (a->counters_timer)
        event_free(a->counters_timer);
    if (a->base) {
        /* Bufferevents are freed in a turn of the loop that follows. */
        (void)event_base_loop(a->base, EVLOOP_NONBLOCK);
        event_base_free(a->base);
    }
    if (a->wake_fd >= 0)
        (void)close(a->wake_fd);
    admin_gauges_release(a, &a->gauges);
    SSL_CTX_free(a->tls);
    (void)pthread_cond_destroy(&a->jobs_wake);
    (void)pthread_mutex_destroy(&a->lock);
    free(a);
}

struct admin *admin_start(const struct admin_sources *sources, struct fail *fail)
{
    struct admin *a = xcalloc(1, sizeof(*a));
    const struct config *config;
    void *held = NULL;
    bool good;

    *fail = (struct fail){0};
    a->sources = *sources;
    a->wake_fd = -1;
    list_init(&a->queue);
    list_init(&a->done);
    (void)pthread_mutex_init(&a->lock, NULL);
    thread_cond_init(&a->jobs_wake);
    admin_policy(a->policy, sizeof(a->policy));
    config = sources->config_ref(&held, sources->arg);
    a->tls = tls_new(config, fail);
    good = a->tls && admin_token_load(config->admin.token_file, a->token, fail) == RC_OK &&
           start_events(a, fail) && start_http(a, config, fail);
    sources->config_unref(held, sources->arg);
    if (good) {
        admin_jobs_add_counters(a);
        good = start_threads(a, fail);
    }
    if (good)
        return a;
    admin_release(a);
    return NULL;
}

int admin_port(const struct admin *a)
{
    return a->port;
}

enum rc admin_reload(struct admin *a, struct fail *fail)
{
    unsigned char token[SHA256_BYTES];
    const struct config *config;
    void *held = NULL;
    SSL_CTX *tls, *old = NULL;
    enum rc rc = RC_TLS;

    config = a->sources.config_ref(&held, a->sources.arg);
    tls = tls_new(config, fail);
    if (tls)
        rc = admin_token_load(config->admin.token_file, token, fail);
    a->sources.config_unref(held, a->sources.arg);
    if (rc == RC_OK) {
        pthread_mutex_lock(&a->lock);
        old = a->tls;
        a->tls = tls;
        tls = NULL;
        memcpy(a->token, token, sizeof(token));
        pthread_mutex_unlock(&a->lock);
    }
    SSL_CTX_free(tls);
    SSL_CTX_free(old);
    return rc;
}

void admin_stop(struct admin *a)
{
    const uint64_t one = 1;
    ssize_t n;

    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    a->stopping = true;
    pthread_cond_signal(&a->jobs_wake);
    pthread_mutex_unlock(&a->lock);
    (void)pthread_join(a->jobs_thread, NULL);
    n = write(a->wake_fd, &one, sizeof(one));
    (void)n;
    (void)pthread_join(a->thread, NULL);
    admin_release(a);
}
