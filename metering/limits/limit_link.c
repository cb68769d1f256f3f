#include <stdlib.h>
#include <string.h>

#include <hiredis/async.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "metering/limits/limit_redis.h"

/*
 * Works with hiredis 0.14 and 1.x: only what both have in common is used, and an
 * address is always a numeric one, since hiredis would wait for a name server.
 */

/* Pauses grow by round: where there are several hosts, each is tried once in between. */
static void down_until(struct link *l, int64_t now_us)
{
    int64_t most_us = (int64_t)(l->target.kind == REDIS_SINGLE ? RETRY_MAX_MS : LINK_GUIDED_MAX_MS);
    bool is_round = true;
    unsigned char random;

    most_us *= 1000;
    if (l->told.port != 0 && l->target.kind != REDIS_SINGLE) {
        l->told.port = 0; /* who said so is asked again */
    } else if (l->n_places > 0) {
        l->turn = (l->turn + 1) % l->n_places;
        is_round = l->turn == 0;
    }
    digest_random(&random, 1); /* workers do not come back all at once */
    l->state = LINK_DOWN;
    l->retry_us = now_us + (is_round ? l->wait_us : LINK_NEXT_MS * 1000) * (192 + random / 2) / 256;
    if (is_round)
        l->wait_us = l->wait_us * 2 < most_us ? l->wait_us * 2 : most_us;
}

/* Closes what there is; hiredis answers what it still has with nothing, which is ignored. */
static void drop(struct link *l)
{
    struct redisAsyncContext *redis = l->redis;

    l->redis = NULL;
    if (redis)
        redisAsyncFree(redis);
}

void link_fail(struct redis_engine *e, const char *why)
{
    struct link *l = &e->link;
    char quoted[256];

    if (!l->has_failed)
        log_line(LOG_WARN, "limits", "lost the counters in redis", "reason=%s",
                 log_quote(strv_z(why), quoted, sizeof(quoted)));
    l->has_failed = true;
    drop(l);
    down_until(l, clock_mono_us());
    engine_on_down(e);
    engine_on_failed(e);
}

void link_good(struct redis_engine *e)
{
    struct link *l = &e->link;

    if (l->has_failed) {
        log_line(LOG_INFO, "limits", "counters in redis are back", "%s", "");
        l->goods_seen = atomic_fetch_add(memory_goods(e->memory), 1) + 1;
    }
    l->has_failed = false;
    l->redirects = 0;
    l->wait_us = RETRY_FIRST_MS * 1000;
}

void link_up(struct redis_engine *e)
{
    e->link.state = LINK_UP;
    if (e->link.was_up)
        stat_add(&e->reconnects, 1);
    e->link.was_up = true;
    e->heartbeat_us = 0; /* whether it has all that was acknowledged is asked at once */
}

static void check_topology(struct redis_engine *e)
{
    if (!topology_check(e))
        link_fail(e, "could not send");
}

/* Whatever it is: TLS stands. */
static void on_ping(struct redisAsyncContext *redis, void *reply, void *arg)
{
    struct redis_engine *e = arg;

    if (redis != e->link.redis || !reply)
        return;
    e->link.in_handshake = false;
    e->link.has_answered = true;
    check_topology(e);
}

/* Nobody waits for this connection before something was answered on it. */
static void begin_tls(struct redis_engine *e)
{
    struct link *l = &e->link;
    char why[LIMIT_WHY_BYTES];

    l->in_handshake = true;
    if (!secure_begin(&l->redis->c, &l->target.secure, l->at->host, why))
        link_fail(e, why);
    else if (redisAsyncCommand(l->redis, on_ping, e, "PING") != REDIS_OK)
        link_fail(e, "could not send");
}

static void on_connect(const struct redisAsyncContext *redis, int status)
{
    struct redis_engine *e = redis->data;

    if (!e || redis != e->link.redis)
        return;
    if (status == REDIS_OK && e->link.target.is_secure) {
        begin_tls(e);
        return;
    }
    if (status == REDIS_OK) {
        check_topology(e);
        return;
    }
    e->link.redis = NULL; /* hiredis frees it */
    link_fail(e, redis->errstr);
}

static void on_disconnect(const struct redisAsyncContext *redis, int status)
{
    struct redis_engine *e = redis->data;
    char why[LIMIT_WHY_BYTES];

    (void)status;
    if (!e || redis != e->link.redis)
        return;
    e->link.redis = NULL; /* hiredis frees it */
    if (e->link.has_failed || e->link.state != LINK_UP || !e->link.has_answered) {
        redis_reason(&redis->c, e->link.target.is_secure, e->link.has_answered, why);
        link_fail(e, why);
        return;
    }
    /* It answered until now: one more attempt at once, while admissions wait. */
    if (e->link.target.kind == REDIS_SENTINEL)
        e->link.told.port = 0;
    e->link.state = LINK_DOWN;
    e->link.retry_us = clock_mono_us();
    engine_on_down(e);
}

/* Of AUTH and SELECT: for the operator to mend.  The reply may repeat what was sent. */
static void on_login(struct redisAsyncContext *redis, void *reply, void *arg)
{
    struct redis_engine *e = arg;
    const struct redisReply *r = reply;

    if (redis != e->link.redis || !r)
        return;
    if (r->type == REDIS_REPLY_ERROR)
        link_fail(e, "redis refused the login or the database");
}

static bool login(struct redis_engine *e)
{
    const struct redis_target *t = &e->link.target;
    struct redisAsyncContext *redis = e->link.redis;
    bool is_guard = t->kind == REDIS_SENTINEL && e->link.at != &e->link.told;
    const char *user = is_guard ? t->guard_user : t->user;
    const char *password = is_guard ? t->guard_password : t->password;
    int rc = REDIS_OK;

    if (user && password)
        rc = redisAsyncCommand(redis, on_login, e, "AUTH %s %s", user, password);
    else if (password)
        rc = redisAsyncCommand(redis, on_login, e, "AUTH %s", password);
    if (rc == REDIS_OK && t->db != 0 && !is_guard)
        rc = redisAsyncCommand(redis, on_login, e, "SELECT %d", t->db);
    return rc == REDIS_OK;
}

static void connect_now(struct redis_engine *e, int64_t now_us)
{
    struct link *l = &e->link;
    char why[160] = "no memory";

    if (!l->at)
        l->redis = redisAsyncConnectUnix(l->target.path);
    else
        l->redis = redisAsyncConnect(l->at->address, l->at->port);
    if (l->redis && l->redis->err == 0) {
        l->state = LINK_CONNECTING;
        l->in_handshake = l->has_answered = false;
        l->started_us = now_us;
        l->redis->data = e;
        redis_end_unasked(l->redis);
        if (l->attach(l->redis, l->loop) == 0 &&
            redisAsyncSetConnectCallback(l->redis, on_connect) == REDIS_OK &&
            redisAsyncSetDisconnectCallback(l->redis, on_disconnect) == REDIS_OK && login(e))
            return;
        memcpy(why, "could not start", sizeof("could not start"));
    } else if (l->redis) {
        size_t n = strnlen(l->redis->errstr, sizeof(why) - 1);

        memcpy(why, l->redis->errstr, n);
        why[n] = '\0';
    }
    link_fail(e, why);
}

/* A name is looked up again for each attempt after a failed one: Redis may have moved. */
static void attempt(struct redis_engine *e, int64_t now_us)
{
    struct link *l = &e->link;

    l->at = l->target.path ? NULL : l->told.port != 0 ? &l->told : &l->places[l->turn];
    if (l->at && !address_is_numeric(l->at->host) &&
        (l->has_failed || l->at->address[0] == '\0')) {
        l->lookup = lookup_start(l->at->host);
        if (l->lookup)
            l->state = LINK_LOOKUP;
        else
            link_fail(e, "could not start a thread");
        return;
    }
    connect_now(e, now_us);
}

void link_follow(struct redis_engine *e)
{
    drop(&e->link);
    engine_on_down(e);
    attempt(e, clock_mono_us());
}

static void finish_lookup(struct redis_engine *e, int64_t now_us)
{
    struct link *l = &e->link;
    bool is_found;

    if (!lookup_poll(l->lookup, &is_found, l->at->address))
        return;
    lookup_free(l->lookup);
    l->lookup = NULL;
    if (!is_found && l->at->address[0] == '\0')
        link_fail(e, "the host has no address");
    else
        connect_now(e, now_us);
}

void link_open(struct redis_engine *e)
{
    struct link *l = &e->link;

    l->wait_us = RETRY_FIRST_MS * 1000;
    l->n_places = l->target.n_places;
    memcpy(l->places, l->target.places, l->n_places * sizeof(l->places[0]));
    if (l->n_places > 0 && l->places[0].address[0] == '\0' &&
        !address_find(l->places[0].host, l->places[0].address))
        l->places[0].address[0] = '\0';
    attempt(e, clock_mono_us());
}

void link_close(struct redis_engine *e)
{
    drop(&e->link);
    lookup_free(e->link.lookup);
    redis_target_release(&e->link.target);
}

int64_t link_run(struct redis_engine *e, int64_t now_us)
{
    enum { LOOKUP_POLL_US = 50000, OTHERS_POLL_US = 100000 };
    const unsigned goods = atomic_load(memory_goods(e->memory));
    struct link *l = &e->link;

    if (l->state == LINK_LOOKUP)
        finish_lookup(e, now_us);
    if (l->state == LINK_CONNECTING && now_us - l->started_us >= CONNECT_TIMEOUT_MS * 1000)
        link_fail(e, l->in_handshake ? SECURE_SILENCE : "connecting took too long");
    /* Where another worker has just had an answer there is no reason to wait. */
    if (l->state == LINK_DOWN && (now_us >= l->retry_us || goods != l->goods_seen))
        attempt(e, now_us);
    l->goods_seen = goods;
    if (l->state == LINK_UP && l->target.kind == REDIS_CLUSTER && now_us >= l->refresh_us &&
        !topology_refresh(e))
        link_fail(e, "could not send");
    switch (l->state) {
    case LINK_DOWN:
        return l->retry_us < now_us + OTHERS_POLL_US ? l->retry_us : now_us + OTHERS_POLL_US;
    case LINK_LOOKUP:
        return now_us + LOOKUP_POLL_US;
    case LINK_CONNECTING:
        return l->started_us + CONNECT_TIMEOUT_MS * 1000;
    case LINK_UP:
        return l->target.kind == REDIS_CLUSTER ? l->refresh_us : INT64_MAX;
    }
    return INT64_MAX;
}
