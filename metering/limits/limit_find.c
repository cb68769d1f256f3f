#include <stdio.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "base/xalloc.h"
#include "metering/limits/limit_int.h"

/* The way to the counters for whoever may block: Sentinels and clusters are asked each time. */

enum { FIND_REDIRECTS_MAX = 4 };

static bool is_ok(redisReply *reply)
{
    bool ok = reply && reply->type == REDIS_REPLY_STATUS;

    if (reply)
        freeReplyObject(reply);
    return ok;
}

static bool login(redisContext *redis, const char *user, const char *password, int db)
{
    if (password && user && !is_ok(redisCommand(redis, "AUTH %s %s", user, password)))
        return false;
    if (password && !user && !is_ok(redisCommand(redis, "AUTH %s", password)))
        return false;
    return db == 0 || is_ok(redisCommand(redis, "SELECT %d", db));
}

/* Closes what is no good. */
static redisContext *keep(redisContext *redis, bool is_good)
{
    if (redis && !is_good) {
        redisFree(redis);
        return NULL;
    }
    return redis;
}

static void say(char why[LIMIT_WHY_BYTES], const char *text)
{
    (void)snprintf(why, LIMIT_WHY_BYTES, "%s", text);
}

static redisContext *open_place(const struct redis_target *t, const struct redis_place *place,
                                bool is_guard, struct timeval timeout, char why[LIMIT_WHY_BYTES])
{
    redisContext *redis = place ? redisConnectWithTimeout(place->host, place->port, timeout)
                                : redisConnectUnixWithTimeout(t->path, timeout);

    if (!redis) {
        say(why, "no memory");
        return NULL;
    }
    if (redis->err != 0 || redisSetTimeout(redis, timeout) != REDIS_OK) {
        redis_reason(redis, t->is_secure, true, why);
        return keep(redis, false);
    }
    if (t->is_secure && !secure_wait(redis, &t->secure, place->host, why))
        return keep(redis, false);
    if (is_guard ? login(redis, t->guard_user, t->guard_password, 0)
                 : login(redis, t->user, t->password, t->db))
        return redis;
    if (redis->err != 0)
        redis_reason(redis, t->is_secure, false, why);
    else
        say(why, "redis refused the login or the database");
    return keep(redis, false);
}

/* ---- Sentinel ------------------------------------------------------------------------ */

static bool ask_guard(const struct redis_target *t, const struct redis_place *guard,
                      struct timeval timeout, struct redis_place *out, char why[LIMIT_WHY_BYTES])
{
    redisContext *redis = open_place(t, guard, true, timeout, why);
    redisReply *reply = NULL;
    bool is_known = false;
    uint64_t port;

    if (redis)
        reply = redisCommand(redis, "SENTINEL get-master-addr-by-name %s", t->master);
    if (reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
        reply->element[0]->type == REDIS_REPLY_STRING &&
        reply->element[1]->type == REDIS_REPLY_STRING &&
        strv_parse_u64(strv_make(reply->element[1]->str, reply->element[1]->len), UINT16_MAX,
                       &port))
        is_known = redis_place_set(
            out, strv_make(reply->element[0]->str, reply->element[0]->len), (int64_t)port);
    if (redis && !is_known && redis->err != 0)
        redis_reason(redis, t->is_secure, false, why);
    else if (redis && !is_known)
        say(why, "the sentinel does not know this master");
    if (reply)
        freeReplyObject(reply);
    if (redis)
        redisFree(redis);
    return is_known;
}

static bool is_master(redisContext *redis)
{
    redisReply *reply = redisCommand(redis, "ROLE");
    bool is = reply && reply->type == REDIS_REPLY_ARRAY && reply->elements > 0 &&
              reply->element[0]->type == REDIS_REPLY_STRING &&
              strcmp(reply->element[0]->str, "master") == 0;

    if (reply)
        freeReplyObject(reply);
    return is;
}

static redisContext *find_by_sentinel(const struct redis_target *t, struct timeval timeout,
                                      char why[LIMIT_WHY_BYTES])
{
    for (unsigned i = 0; i < t->n_places; i++) {
        struct redis_place master;
        redisContext *redis = NULL;

        if (ask_guard(t, &t->places[i], timeout, &master, why))
            redis = open_place(t, &master, false, timeout, why);
        if (redis && is_master(redis))
            return redis;
        if (redis)
            say(why, "whom the sentinel named is not the master");
        (void)keep(redis, false);
    }
    return NULL;
}

/* ---- cluster ------------------------------------------------------------------------- */

enum answer { HERE = 0, ELSEWHERE, NOWHERE };

static enum answer ask_node(redisContext *redis, const char *prefix,
                            const struct redis_place *asked, struct redis_place *out)
{
    redisReply *reply = redisCommand(redis, "EXISTS %su", prefix);
    enum answer answer = NOWHERE;

    if (reply && reply->type == REDIS_REPLY_INTEGER)
        answer = HERE;
    else if (reply && reply->type == REDIS_REPLY_ERROR &&
             redis_moved_parse(strv_make(reply->str, reply->len), asked, out))
        answer = ELSEWHERE;
    if (reply)
        freeReplyObject(reply);
    return answer;
}

static redisContext *find_in_cluster(const struct redis_target *t, const char *prefix,
                                     struct timeval timeout, char why[LIMIT_WHY_BYTES])
{
    for (unsigned i = 0; i < t->n_places; i++) {
        struct redis_place at = t->places[i], next;
        enum answer answer = ELSEWHERE;

        for (int hop = 0; hop < FIND_REDIRECTS_MAX && answer == ELSEWHERE; hop++) {
            redisContext *redis = open_place(t, &at, false, timeout, why);

            answer = redis ? ask_node(redis, prefix, &at, &next) : NOWHERE;
            if (answer == HERE)
                return redis;
            if (redis && redis->err != 0)
                redis_reason(redis, t->is_secure, false, why);
            else if (redis)
                say(why, "no node of the cluster has the keys");
            if (redis)
                redisFree(redis);
            if (answer == ELSEWHERE)
                at = next;
        }
    }
    return NULL;
}

struct redisContext *redis_find(const struct redis_target *t, const char *prefix,
                                struct timeval timeout, char why[LIMIT_WHY_BYTES])
{
    switch (t->kind) {
    case REDIS_SINGLE:
        break;
    case REDIS_CLUSTER:
        return find_in_cluster(t, prefix, timeout, why);
    case REDIS_SENTINEL:
        return find_by_sentinel(t, timeout, why);
    }
    return open_place(t, t->path ? NULL : &t->places[0], false, timeout, why);
}
