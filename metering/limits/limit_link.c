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

static void down_until(struct link *l, int64_t now_us)
{
    unsigned char random;

    digest_random(&random, 1); /* workers do not come back all at once */
    l->state = LINK_DOWN;
    l->retry_us = now_us + l->wait_us * (192 + random / 2) / 256;
    l->wait_us *= 2;
    if (l->wait_us > RETRY_MAX_MS * 1000)
        l->wait_us = RETRY_MAX_MS * 1000;
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

    if (l->has_failed)
        log_line(LOG_INFO, "limits", "counters in redis are back", "%s", "");
    l->has_failed = false;
    l->wait_us = RETRY_FIRST_MS * 1000;
}

static void on_connect(const struct redisAsyncContext *redis, int status)
{
    struct redis_engine *e = redis->data;

    if (!e || redis != e->link.redis)
        return;
    if (status == REDIS_OK) {
        e->link.state = LINK_UP;
        if (e->link.was_up)
            stat_add(&e->reconnects, 1);
        e->link.was_up = true;
        return;
    }
    e->link.redis = NULL; /* hiredis frees it */
    link_fail(e, redis->errstr);
}

static void on_disconnect(const struct redisAsyncContext *redis, int status)
{
    struct redis_engine *e = redis->data;

    (void)status;
    if (!e || redis != e->link.redis)
        return;
    e->link.redis = NULL; /* hiredis frees it */
    if (e->link.has_failed) {
        link_fail(e, "closed");
        return;
    }
    /* It answered until now: one more attempt at once, while admissions wait. */
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
    int rc = REDIS_OK;

    if (t->user && t->password)
        rc = redisAsyncCommand(redis, on_login, e, "AUTH %s %s", t->user, t->password);
    else if (t->password)
        rc = redisAsyncCommand(redis, on_login, e, "AUTH %s", t->password);
    if (rc == REDIS_OK && t->db != 0)
        rc = redisAsyncCommand(redis, on_login, e, "SELECT %d", t->db);
    return rc == REDIS_OK;
}

static void connect_now(struct redis_engine *e, int64_t now_us)
{
    struct link *l = &e->link;
    char why[160] = "no memory";

    if (l->target.path)
        l->redis = redisAsyncConnectUnix(l->target.path);
    else
        l->redis = redisAsyncConnect(l->address, l->target.port);
    if (l->redis && l->redis->err == 0) {
        l->state = LINK_CONNECTING;
        l->started_us = now_us;
        l->redis->data = e;
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

    if (!l->target.path && !address_is_numeric(l->target.host) &&
        (l->has_failed || l->address[0] == '\0')) {
        l->lookup = lookup_start(l->target.host);
        if (l->lookup)
            l->state = LINK_LOOKUP;
        else
            link_fail(e, "could not start a thread");
        return;
    }
    connect_now(e, now_us);
}

static void finish_lookup(struct redis_engine *e, int64_t now_us)
{
    struct link *l = &e->link;
    bool is_found;

    if (!lookup_poll(l->lookup, &is_found, l->address))
        return;
    lookup_free(l->lookup);
    l->lookup = NULL;
    if (!is_found && l->address[0] == '\0')
        link_fail(e, "the host has no address");
    else
        connect_now(e, now_us);
}

void link_open(struct redis_engine *e)
{
    struct link *l = &e->link;

    l->wait_us = RETRY_FIRST_MS * 1000;
    if (!l->target.path && address_is_numeric(l->target.host))
        memcpy(l->address, l->target.host, strnlen(l->target.host, ADDRESS_TEXT - 1));
    else if (!l->target.path && !address_find(l->target.host, l->address))
        l->address[0] = '\0';
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
    enum { LOOKUP_POLL_US = 50000 };
    struct link *l = &e->link;

    if (l->state == LINK_LOOKUP)
        finish_lookup(e, now_us);
    if (l->state == LINK_CONNECTING && now_us - l->started_us >= CONNECT_TIMEOUT_MS * 1000)
        link_fail(e, "connecting took too long");
    if (l->state == LINK_DOWN && now_us >= l->retry_us)
        attempt(e, now_us);
    switch (l->state) {
    case LINK_DOWN:
        return l->retry_us;
    case LINK_LOOKUP:
        return now_us + LOOKUP_POLL_US;
    case LINK_CONNECTING:
        return l->started_us + CONNECT_TIMEOUT_MS * 1000;
    case LINK_UP:
        break;
    }
    return INT64_MAX;
}
