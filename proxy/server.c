#include "proxy/server.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "proxy/addresses.h"
#include "proxy/alerts.h"
#include "proxy/cmd.h"
#include "proxy/collected.h"
#include "proxy/config_trail.h"
#include "proxy/desk.h"
#include "proxy/observe.h"
#include "proxy/rebuild.h"
#include "proxy/reload.h"
#include "proxy/repeats.h"
#include "proxy/server_int.h"
#include "proxy/tokens.h"
#include "proxy/worker.h"

enum {
    LISTEN_BACKLOG = 4096,
    CHECK_MS = 20,
    LEDGER_PATIENCE_MS = 1000, /* that a start waits for a ledger that somebody holds */
};

/* ---- what workers share ------------------------------------------------------------------- */

bool server_connections_add(struct server *server, size_t max)
{
    size_t before = atomic_fetch_add_explicit(&server->connections, 1, memory_order_relaxed);

    if (before < max)
        return true;
    atomic_fetch_sub_explicit(&server->connections, 1, memory_order_relaxed);
    return false;
}

void server_connections_sub(struct server *server)
{
    atomic_fetch_sub_explicit(&server->connections, 1, memory_order_relaxed);
}

struct addresses *server_addresses(struct server *server)
{
    return server->addresses;
}

struct memory *server_memory(struct server *server)
{
    return &server->memory;
}

void server_worker_done(struct server *server)
{
    atomic_fetch_add(&server->workers_done, 1);
}

struct collected *server_collected(struct server *server)
{
    return server->collected;
}

struct ledger *server_ledger(struct server *server)
{
    return server->ledger;
}

struct limit_memory *server_limit_memory(struct server *server)
{
    return server->limit_memory;
}

struct desk *server_desk(struct server *server)
{
    return server->desk;
}

const char *server_owner(const struct server *s, int64_t *start)
{
    if (!atomic_load(&s->has_owner))
        return NULL;
    *start = s->start;
    return s->owner;
}

struct rebuild *server_rebuild(struct server *server)
{
    return server->rebuild;
}

struct generation *server_generation(struct server *server)
{
    struct generation *g;

    pthread_mutex_lock(&server->lock);
    g = generation_ref(server->current);
    pthread_mutex_unlock(&server->lock);
    return g;
}

/* ---- listeners --------------------------------------------------------------------------------- */

static int listen_on(const struct listen_config *config, int port, struct fail *fail)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char service[8];
    int one = 1, fd = -1;

    snprintf(service, sizeof(service), "%d", port);
    if (getaddrinfo(config->address, service, &hints, &found) != 0) {
        *fail = (struct fail){.rc = RC_BAD, .doing = "read the listen address"};
        return -1;
    }
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0 ||
        bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, LISTEN_BACKLOG) != 0) {
        *fail = (struct fail){.rc = RC_IO, .sys = errno, .doing = "listen"};
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

static int port_of(int fd)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof(addr);
    uint64_t number = 0;
    char port[8];

    if (getsockname(fd, (struct sockaddr *)&addr, &len) != 0 ||
        getnameinfo((struct sockaddr *)&addr, len, NULL, 0, port, sizeof(port),
                    NI_NUMERICSERV) != 0 ||
        !strv_parse_u64(strv_z(port), 65535, &number))
        return 0;
    return (int)number;
}

/* ---- recovery ------------------------------------------------------------------------------------- */

struct limit_amounts server_taken(const struct record *r)
{
    struct limit_amounts taken = {.n = {[UNIT_REQUESTS] = 1}};
    int64_t nano = money_ceil_nano(r->cost);

    taken.n[UNIT_USD] = nano > 0 ? (uint64_t)nano : 0;
    taken.n[UNIT_INPUT_TOKENS] = r->usage.n[USAGE_INPUT];
    taken.n[UNIT_OUTPUT_TOKENS] = r->usage.n[USAGE_OUTPUT];
    taken.n[UNIT_TOKENS] = r->usage.n[USAGE_INPUT] + r->usage.n[USAGE_OUTPUT];
    return taken;
}

/* What stands in its record as an estimate is counted; else what it was told of answers is not. */
static void on_recovered(const struct record *r, void *arg)
{
    struct server *s = arg;
    char id[UUID_TEXT];

    if (!r->usage.has)
        collected_take_back(s->collected, &r->id);
    uuid_format(&r->id, id);
    log_line(LOG_WARN, "ledger", "interrupted request recovered", "id=%s", id);
}

static bool open_collected(struct server *s)
{
    struct fail fail;
    char why[256];

    if (collected_open(s->current->config->state_dir, &s->collected, &fail) == RC_OK)
        return true;
    fail_text(&fail, why, sizeof(why));
    log_line(LOG_ERROR, "collected", "could not start", "reason=\"%s\"", why);
    return false;
}

bool server_adopt_ledger(struct server *s)
{
    struct generation *g;
    struct ledger_stats stats;
    int64_t installation;

    if (atomic_load(&s->has_owner))
        return true;
    if (!ledger_is_open(s->ledger))
        return false;
    g = server_generation(s);
    ledger_identity(s->ledger, &installation, &s->start);
    owner_name(g->config->node, installation, s->owner);
    generation_unref(g);
    atomic_store(&s->has_owner, true);
    ledger_stats(s->ledger, &stats);
    if (stats.interrupted > 0 || stats.torn_tails > 0)
        log_line(LOG_WARN, "ledger", "recovered what an earlier process left",
                 "interrupted=%" PRIu64 " torn_tails=%" PRIu64 " torn_bytes=%" PRIu64,
                 stats.interrupted, stats.torn_tails, stats.torn_bytes);
    return true;
}

static bool start_ledger(struct server *s)
{
    const struct config *config = s->current->config;
    struct ledger_options options = {.path = config->ledger_path,
                                     .journal_dir = s->journal_dir,
                                     .sync = config->ledger_sync,
                                     .sync_interval_ms = config->ledger_sync_interval_ms,
                                     .ingest_interval_ms = 50,
                                     .keep_days = config->ledger_keep_days,
                                     .patience_ms = LEDGER_PATIENCE_MS};
    struct fail fail;

    s->ledger = ledger_start(&options, on_recovered, s, &fail);
    if (!s->ledger) {
        char why[256];

        fail_text(&fail, why, sizeof(why));
        log_line(LOG_ERROR, "ledger", "could not start the ledger", "path=%s reason=\"%s\"",
                 config->ledger_path, why);
        return false;
    }
    if (server_adopt_ledger(s))
        collected_stand(s->collected);
    else
        log_line(LOG_WARN, "ledger",
                 "held by another program: serving; limits wait for what it says was spent",
                 "path=%s", config->ledger_path);
    return true;
}

/* ---- signals ------------------------------------------------------------------------------------------ */

static void on_hup(evutil_socket_t fd, short what, void *arg)
{
    struct server *s = arg;

    (void)fd;
    (void)what;
    if (!atomic_load(&s->draining))
        reload_begin(s);
}

static void post_all(struct server *s, enum letter_kind kind)
{
    for (unsigned i = 0; i < s->n_workers; i++)
        worker_post(s->workers[i], kind, NULL);
}

static void on_drain_over(evutil_socket_t fd, short what, void *arg)
{
    struct server *s = arg;

    (void)fd;
    (void)what;
    log_line(LOG_WARN, "server", "drain time is over; what runs is cut", "seconds=%d",
             s->current->config->drain_seconds);
    post_all(s, LETTER_STOP);
}

static void on_term(evutil_socket_t fd, short what, void *arg)
{
    struct server *s = arg;
    struct timeval wait = {.tv_sec = s->current->config->drain_seconds};

    (void)fd;
    (void)what;
    if (atomic_exchange(&s->draining, true)) {
        log_line(LOG_INFO, "server", "stopping at once", "signals=2");
        post_all(s, LETTER_STOP);
        return;
    }
    log_line(LOG_INFO, "server", "draining", "seconds=%d", s->current->config->drain_seconds);
    reload_abandon(s);
    post_all(s, LETTER_DRAIN);
    event_add(s->drain_over, &wait);
}

static void on_check(evutil_socket_t fd, short what, void *arg)
{
    struct server *s = arg;

    (void)fd;
    (void)what;
    reload_check(s);
    if (atomic_load(&s->workers_done) == s->n_workers)
        event_base_loopbreak(s->base);
}

/* An address that a program on this machine can reach. */
static const char *reachable(const char *address)
{
    if (strcmp(address, "0.0.0.0") == 0)
        return "127.0.0.1";
    return strcmp(address, "::") == 0 ? "::1" : address;
}

static void say_ready(const struct server *s)
{
    const struct config *config = s->current->config;
    const char *proxy = reachable(config->proxy.address);
    const char *admin = reachable(config->admin.address);

    printf(strchr(proxy, ':') ? "ready proxy=https://[%s]:%d " : "ready proxy=https://%s:%d ",
           proxy, s->proxy_port);
    printf(strchr(admin, ':') ? "admin=https://[%s]:%d\n" : "admin=https://%s:%d\n", admin,
           observe_port(s->observe));
    fflush(stdout);
}

static void on_rotate(evutil_socket_t fd, short what, void *arg)
{
    struct server *s = arg;

    (void)fd;
    (void)what;
    tls_tickets_rotate(s->current->tickets);
}

/* False: a signal would not be heard, and the process could not be stopped in order. */
static bool make_events(struct server *s)
{
    const struct timeval every = {.tv_usec = CHECK_MS * 1000};
    const struct timeval rotate = {.tv_sec = TICKET_ROTATE_S};
    const struct timeval *after[MAIN_EVENTS] = {NULL, NULL, NULL, &every, &rotate};

    s->events[0] = evsignal_new(s->base, SIGHUP, on_hup, s);
    s->events[1] = evsignal_new(s->base, SIGTERM, on_term, s);
    s->events[2] = evsignal_new(s->base, SIGINT, on_term, s);
    s->events[3] = event_new(s->base, -1, EV_PERSIST, on_check, s);
    s->events[4] = event_new(s->base, -1, EV_PERSIST, on_rotate, s);
    s->drain_over = event_new(s->base, -1, 0, on_drain_over, s);
    for (size_t i = 0; i < MAIN_EVENTS; i++) {
        if (!s->events[i] || !s->drain_over || event_add(s->events[i], after[i]) != 0) {
            log_line(LOG_ERROR, "server", "cannot start", "reason=\"signals cannot be heard: %s\"",
                     strerror(errno));
            return false;
        }
    }
    return true;
}

static void free_events(struct server *s)
{
    for (size_t i = 0; i < MAIN_EVENTS; i++) {
        if (s->events[i])
            event_free(s->events[i]);
    }
    if (s->drain_over)
        event_free(s->drain_over);
}

/* ---- from start to end ------------------------------------------------------------------------------------ */

static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            log_line(LOG_WARN, "server", "could not raise the limit of open files", "errno=%d",
                     errno);
    }
}

static bool make_workers(struct server *s)
{
    const struct config *config = s->current->config;
    struct fail fail;

    s->n_workers = 0;
    s->workers = xcalloc((size_t)config->workers, sizeof(s->workers[0]));
    for (int i = 0; i < config->workers; i++) {
        int fd = listen_on(&config->proxy, s->proxy_port ? s->proxy_port : config->proxy.port,
                           &fail);

        if (fd < 0) {
            char why[256];

            fail_text(&fail, why, sizeof(why));
            log_line(LOG_ERROR, "server", "no listener", "address=%s port=%d reason=\"%s\"",
                     config->proxy.address, config->proxy.port, why);
            return false;
        }
        s->proxy_port = port_of(fd);
        s->workers[i] = worker_new(s, (unsigned)i, fd, s->current, s->journal_dir);
        if (!s->workers[i])
            return false;
        s->n_workers++;
    }
    return true;
}

/*
 * Signals belong to the main thread: workers start with all of them blocked.  False where one
 * cannot start; then none runs.
 */
static bool start_workers(struct server *s)
{
    sigset_t all, before;
    unsigned n = 0;
    bool good;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (n < s->n_workers && worker_start(s->workers[n]))
        n++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    good = n == s->n_workers;
    for (unsigned i = 0; !good && i < n; i++) {
        worker_post(s->workers[i], LETTER_STOP, NULL);
        worker_join(s->workers[i]);
    }
    return good;
}

/* The threads beside the workers, but for admin's; false where one cannot start. */
static bool start_helpers(struct server *s)
{
    s->rebuild = rebuild_start(s);
    s->desk = s->rebuild ? desk_start(s) : NULL;
    s->alerts = s->desk ? alerts_start(s) : NULL;
    if (!s->alerts)
        return false;
    s->tokens = tokens_start(s);
    if (!tokens_adopt(s->tokens, s->current))
        return false;
    tokens_publish(s->tokens);
    return true;
}

static void free_server(struct server *s)
{
    reload_abandon(s);
    rebuild_stop(s->rebuild); /* all three write to workers */
    alerts_stop(s->alerts);
    desk_stop(s->desk);
    tokens_stop(s->tokens);
    for (unsigned i = 0; i < s->n_workers; i++)
        worker_free(s->workers[i]);
    free(s->workers);
    if (s->ledger)
        ledger_stop(s->ledger);
    collected_close(s->collected);
    limit_memory_free(s->limit_memory);
    repeats_free(s->repeats);
    addresses_free(s->addresses);
    generation_unref(s->current);
    free_events(s);
    if (s->base)
        event_base_free(s->base);
    pthread_mutex_destroy(&s->lock);
    free(s->journal_dir);
    free(s);
}

int server_run(struct generation *generation)
{
    struct server *s = xcalloc(1, sizeof(*s));
    int status = EXIT_NO;

    s->current = generation;
    generation->memory = &s->memory;
    s->started_us = clock_wall_us();
    s->journal_dir = xasprintf("%s/journal", generation->config->state_dir);
    pthread_mutex_init(&s->lock, NULL);
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    memory_setup();
    s->base = event_base_new();
    s->limit_memory = limit_memory_new();
    s->repeats = repeats_new();
    s->addresses = addresses_new();
    if (!open_collected(s) || !start_ledger(s) || !make_workers(s) || !start_helpers(s) ||
        !make_events(s))
        goto out;
    s->observe = observe_start(s);
    if (!s->observe)
        goto out;
    memory_trim();
    if (!start_workers(s)) {
        observe_stop(s->observe);
        goto out;
    }
    config_note(s->current->config, "start");
    say_ready(s);
    event_base_dispatch(s->base);
    for (unsigned i = 0; i < s->n_workers; i++)
        worker_join(s->workers[i]);
    observe_stop(s->observe);
    log_line(LOG_INFO, "server", "stopped", "uptime_s=%" PRId64,
             (clock_wall_us() - s->started_us) / 1000000);
    status = EXIT_GOOD;
out:
    free_server(s);
    return status;
}
