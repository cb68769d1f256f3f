#include "proxy/worker_int.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <event2/thread.h>
#include <hiredis/adapters/libevent.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/datetime.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/urgency.h"
#include "base/xalloc.h"
#include "metering/usage/calibration.h"
#include "metering/usage/route_memo.h"
#include "metering/usage/shape.h"
#include "metering/usage/tokenizer.h"
#include "proxy/addresses.h"
#include "proxy/conn.h"
#include "proxy/counters.h"
#include "proxy/h2.h"
#include "proxy/h2_client.h"
#include "proxy/http1_lines.h"
#include "proxy/learnt.h"
#include "proxy/rebuild.h"
#include "proxy/server.h"
#include "proxy/xchg.h"

enum {
    TURN_ROUNDS = 8,        /* of exchanges that make each other ready */
    LAST_WORDS_US = 2000000, /* how long settlements may take once all else is over */
    ACCEPT_PAUSE_MS = 100,
};

/* ---- listener ------------------------------------------------------------------------------------ */

void worker_stop_listening(struct worker *w)
{
    if (w->listener)
        evconnlistener_free(w->listener); /* closes the socket */
    w->listener = NULL;
}

/* The backlog keeps who comes meanwhile. */
static void pause_accepting(struct worker *w)
{
    struct timeval pause = {.tv_usec = ACCEPT_PAUSE_MS * 1000};

    evconnlistener_disable(w->listener);
    event_add(w->accept_again, &pause);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from,
                      int len, void *arg)
{
    struct worker *w = arg;
    const struct bounds_config *bounds = &w->pools->generation->config->bounds;
    uint64_t who = addresses_of(server_addresses(w->server), from);

    (void)listener;
    (void)len;
    if (!addresses_add(server_addresses(w->server), who, (unsigned)bounds->address_connections)) {
        stat_add(&w->stats.abuse_address, 1);
        close(fd);
        return;
    }
    if (!server_connections_add(w->server, bounds->connections) &&
        !(conn_make_room(w, false) && server_connections_add(w->server, bounds->connections))) {
        stat_add(&w->stats.abuse_connections, 1);
        addresses_sub(server_addresses(w->server), who);
        close(fd);
        return;
    }
    conn_accept(w, fd, who);
    if (worker_memory(w) >= MEMORY_SHED)
        pause_accepting(w);
}

static void on_accept_again(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;

    (void)fd;
    (void)what;
    if (w->listener && worker_memory(w) >= MEMORY_SHED)
        pause_accepting(w);
    else if (w->listener)
        evconnlistener_enable(w->listener);
}

/* Out of descriptors: pausing lets others end. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
    struct worker *w = arg;
    (void)listener;
    log_line(LOG_WARN, "worker", "could not accept a connection", "errno=%d", errno);
    pause_accepting(w);
}

/* ---- the loop ------------------------------------------------------------------------------------------ */

static void on_synced(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;
    uint64_t count;

    (void)what;
    if (read(fd, &count, sizeof(count)) > 0)
        xchg_journal_synced(w);
}

static void on_limiter_timer(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;

    (void)fd;
    (void)what;
    w->limiter_due_us = INT64_MAX; /* the turn's end runs the limiter */
}

/* The limiter wants to be run at that time.  A timer that is due sooner will do. */
static void expect_limiter(struct worker *w, int64_t at_us)
{
    struct timeval wait = {.tv_sec = 0};
    int64_t left_us;

    if (at_us >= w->limiter_due_us)
        return;
    w->limiter_due_us = at_us;
    left_us = at_us - clock_mono_us();
    if (left_us > 0)
        wait = (struct timeval){.tv_sec = left_us / US_PER_SECOND,
                                .tv_usec = left_us % US_PER_SECOND};
    event_add(w->limiter_timer, &wait);
}

void worker_expect(struct worker *w)
{
    struct timeval wait = {.tv_usec = DEADLINE_TICK_MS * 1000};

    if (!w->expecting)
        event_add(w->deadline_tick, &wait);
    w->expecting = true;
}

/* The counters of the shared Redis are gone. */
static void look_for_empty(struct worker *w, const struct limiter_stats *now)
{
    if (now->empty)
        rebuild_soon(server_rebuild(w->server));
}

static void on_deadline_tick(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;
    struct limiter_stats now;

    (void)fd;
    (void)what;
    w->expecting = false;
    limiter_stats(w->limiter, &now);
    look_for_empty(w, &now);
    if (xchg_check_deadlines(w))
        worker_expect(w);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;
    struct limiter_stats now;

    (void)fd;
    (void)what;
    xchg_tick(w);
    conn_tick(w);
    for (size_t i = 0; i < w->pools->generation->config->n_upstreams; i++)
        upstream_pool_tick(w->pools->at[i], worker_memory(w) >= MEMORY_TIGHT);
    stat_set(&w->stats.memory_held, held_now());
    memory_tick(&w->memory);
    denied_flush(w->denied, w->journal, clock_wall_us(), false);
    limiter_stats(w->limiter, &now);
    look_for_empty(w, &now);
    pthread_mutex_lock(&w->mailbox_lock);
    w->limiter_view = now;
    pthread_mutex_unlock(&w->mailbox_lock);
}

static void write_journal(struct worker *w)
{
    bool well = true;
    struct fail fail;

    w->taken = 0;
    if (!journal_is_dirty(w->journal)) {
        /* Nothing to write: whoever waits has been written before. */
    } else if (journal_flush(w->journal, &fail) == RC_OK) {
        stat_add(&w->stats.journal_writes, 1);
    } else {
        char why[256];

        well = false;
        stat_add(&w->stats.journal_flush_failures, 1);
        fail_text(&fail, why, sizeof(why));
        log_line(LOG_ERROR, "journal", "write failed; nothing new is admitted", "reason=\"%s\"",
                 why);
    }
    if (well && w->mark > 0)
        atomic_store(&w->marked, w->mark);
    xchg_journal_written(w, well);
}

static void end_turn(struct worker *w)
{
    int64_t next = INT64_MAX;

    xchg_count_prompts(w);
    for (int round = 0; round < TURN_ROUNDS; round++) {
        h2_tell(w);
        conn_run_ready(w);
        xchg_run_ready(w);
        /* First: a process that is killed must not have settled what it did not record. */
        write_journal(w);
        next = limiter_run(w->limiter);
        h2_flush(w);
        h2_client_flush(w);
        if (list_is_empty(&w->ready) && list_is_empty(&w->conns_ready) &&
            list_is_empty(&w->journal_waiters) &&
            !journal_is_dirty(w->journal) && list_is_empty(&w->h2_told) &&
            list_is_empty(&w->h2_dirty) && list_is_empty(&w->h2_clients))
            break;
    }
    expect_limiter(w, next);
    upstream_reap(&w->later);
    xchg_reap(w);
    conn_reap(w);
    memory_tell(&w->memory);
}

static bool has_work(const struct worker *w)
{
    return !w->draining || w->n_running > 0 || !list_is_empty(&w->conns);
}

/* All exchanges are over: what they took is told to the counters, what was refused is kept. */
static void say_last_words(struct worker *w)
{
    int64_t until = clock_mono_us() + LAST_WORDS_US;
    struct limiter_stats stats;

    denied_flush(w->denied, w->journal, clock_wall_us(), true);
    limiter_drain(w->limiter);
    for (;;) {
        struct timeval turn = {.tv_usec = 2000};

        end_turn(w);
        limiter_stats(w->limiter, &stats);
        if ((stats.unsettled == 0 && !journal_is_dirty(w->journal)) || clock_mono_us() > until)
            break;
        event_base_loopexit(w->base, &turn);
        event_base_loop(w->base, 0);
    }
    if (stats.unsettled > 0)
        log_line(LOG_WARN, "limits", "settlements left to the deadline rule", "count=%llu",
                 (unsigned long long)stats.unsettled);
}

void worker_turn(struct worker *w, bool wait)
{
    bool busy = !list_is_empty(&w->ready) || !list_is_empty(&w->conns_ready) || !list_is_empty(&w->h2_told) ||
                !list_is_empty(&w->h2_dirty) || !list_is_empty(&w->h2_clients) ||
                !list_is_empty(&w->counting);

    event_base_loop(w->base, EVLOOP_ONCE | (busy || !wait ? EVLOOP_NONBLOCK : 0));
    end_turn(w);
}

static void *run(void *arg)
{
    struct worker *w = arg;

    urgency_prompt();
    while (has_work(w))
        worker_turn(w, true);
    say_last_words(w);
    memory_leave(&w->memory);
    server_worker_done(w->server);
    return NULL;
}

/* ---- beginning and end -------------------------------------------------------------------------------------- */

static int attach_redis(struct redisAsyncContext *redis, void *loop)
{
    return redisLibeventAttach(redis, loop) == REDIS_OK ? 0 : -1;
}

static struct limiter *make_limiter(struct worker *w)
{
    const struct config *config = w->pools->generation->config;
    int64_t start = 0;
    const char *owner = server_owner(w->server, &start);
    struct limiter_options options = counters_options(config);

    options.timeout_ms = config->counters_timeout_ms;
    options.on_failure = config->counters_on_failure;
    options.attach = attach_redis;
    options.loop = w->base;
    options.await_rebuild = true;
    options.leases = config->counters_leases;
    options.batch = (unsigned)config->counters_batch;
    options.owner = owner;
    options.start = start;
    options.await_owner = !owner;
    if (config->counters_tls)
        w->counters_tls = counters_tls_ref(config->counters_tls);
    return limiter_new(&options, server_limit_memory(w->server));
}

static struct event_base *make_base(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base;

    ASSERT(config != NULL);
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    /* An event added and removed in one turn costs no system call. We duplicate no descriptor. */
    event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
    base = event_base_new_with_config(config);
    event_config_free(config);
    ASSERT(base != NULL);
    return base;
}

static struct evdns_base *make_dns(struct event_base *base)
{
    struct evdns_base *dns = evdns_base_new(
        base, EVDNS_BASE_INITIALIZE_NAMESERVERS | EVDNS_BASE_DISABLE_WHEN_INACTIVE);

    if (!dns) /* no resolv.conf: numeric addresses and the hosts file still work */
        dns = evdns_base_new(base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    ASSERT(dns != NULL);
    evdns_base_set_option(dns, "randomize-case:", "0"); /* some resolvers fold case */
    return dns;
}

static void make_events(struct worker *w)
{
    struct timeval second = {.tv_sec = 1};

    w->mailbox_event = event_new(w->base, w->mailbox_fd, EV_READ | EV_PERSIST, worker_on_mail, w);
    w->limiter_timer = event_new(w->base, -1, 0, on_limiter_timer, w);
    w->limiter_due_us = INT64_MAX;
    w->deadline_tick = event_new(w->base, -1, 0, on_deadline_tick, w);
    w->tick = event_new(w->base, -1, EV_PERSIST, on_tick, w);
    w->accept_again = event_new(w->base, -1, 0, on_accept_again, w);
    w->sync_event = event_new(w->base, journal_sync_event(w->journal), EV_READ | EV_PERSIST,
                              on_synced, w);
    ASSERT(w->mailbox_event && w->limiter_timer && w->deadline_tick && w->tick &&
           w->accept_again && w->sync_event);
    ASSERT(event_add(w->sync_event, NULL) == 0 && event_add(w->mailbox_event, NULL) == 0 &&
           event_add(w->tick, &second) == 0);
    w->listener = evconnlistener_new(w->base, on_accept, w,
                                     LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, -1,
                                     w->listen_fd);
    ASSERT(w->listener != NULL);
    evconnlistener_set_error_cb(w->listener, on_accept_error);
}

struct worker *worker_new(struct server *server, unsigned number, evutil_socket_t listen_fd,
                          struct generation *generation, const char *journal_dir)
{
    struct worker *w = xcalloc(1, sizeof(*w));
    struct list_node *lists[] = {&w->conns, &w->live, &w->ready, &w->journal_waiters, &w->later,
                                 &w->dead_conns, &w->dead_xchgs, &w->free_xchgs, &w->mailbox,
                                 &w->sync_waiters, &w->conns_ready, &w->h2_told, &w->h2_dirty, &w->h2_clients, &w->counting};
    struct fail fail;

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        list_init(lists[i]);
    w->server = server;
    w->memory.of = server_memory(server);
    w->number = number;
    w->listen_fd = listen_fd;
    w->mailbox_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (w->mailbox_fd < 0) {
        log_line(LOG_ERROR, "worker", "could not open what wakes a worker", "errno=%d", errno);
        free(w);
        return NULL;
    }
    w->journal = journal_open(journal_dir, number, &fail);
    if (!w->journal) {
        char why[256];

        fail_text(&fail, why, sizeof(why));
        log_line(LOG_ERROR, "journal", "could not open a journal", "dir=%s reason=\"%s\"",
                 journal_dir, why);
        close(w->mailbox_fd);
        free(w);
        return NULL;
    }
    w->sync_always = generation->config->ledger_sync == SYNC_ALWAYS;
    ledger_attach(server_ledger(server), w->journal);
    w->base = make_base();
    w->dns = make_dns(w->base);
    w->scratch = xmalloc(SCRATCH_BYTES);
    buf_init(&w->spare_out, SPARE_OUT_BYTES);
    w->lines = xcalloc(HTTP1_HEADERS_MAX, sizeof(*w->lines));
    w->known_lines = http1_lines_new();
    w->denied = denied_new();
    w->learnt = learnt_new();
    w->calibration = calibration_new();
    w->shapes = shapes_new();
    w->routes = route_memo_new();
    w->pools = pools_new(w, generation_ref(generation));
    w->limiter = make_limiter(w);
    pthread_mutex_init(&w->mailbox_lock, NULL);
    make_events(w);
    return w;
}

bool worker_start(struct worker *w)
{
    char name[16];

    snprintf(name, sizeof(name), "worker-%u", w->number);
    return thread_start(&w->thread, name, run, w);
}

void worker_join(struct worker *w)
{
    pthread_join(w->thread, NULL);
}

void worker_free(struct worker *w)
{
    worker_drop_mail(w);
    worker_stop_listening(w);
    limiter_free(w->limiter);
    counters_tls_unref(w->counters_tls);
    xchg_pool_free(w);
    pools_unref(w->pools);
    generation_unref(w->coming);
    upstream_reap(&w->later);
    ledger_detach(server_ledger(w->server), w->journal);
    journal_close(w->journal);
    denied_free(w->denied);
    learnt_free(w->learnt);
    calibration_free(w->calibration);
    shapes_free(w->shapes);
    route_memo_free(w->routes);
    tokenizer_free(w->tokenizer);
    event_free(w->mailbox_event);
    event_free(w->sync_event);
    event_free(w->limiter_timer);
    event_free(w->deadline_tick);
    event_free(w->tick);
    event_free(w->accept_again);
    evdns_base_free(w->dns, 0);
    event_base_free(w->base);
    close(w->mailbox_fd);
    pthread_mutex_destroy(&w->mailbox_lock);
    free(w->scratch);
    buf_release(&w->spare_out);
    free(w->lines);
    http1_lines_free(w->known_lines);
    free(w);
}
