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

static redisContext *open_place(const struct redis_target *t, const struct redis_place *place,
                                bool is_guard, struct timeval timeout)
{
    redisContext *redis = place ? redisConnectWithTimeout(place->host, place->port, timeout)
                                : redisConnectUnixWithTimeout(t->path, timeout);

    return keep(redis, redis && redis->err == 0 && redisSetTimeout(redis, timeout) == REDIS_OK &&
                           (is_guard ? login(redis, t->guard_user, t->guard_password, 0)
                                     : login(redis, t->user, t->password, t->db)));
}

/* ---- Sentinel ------------------------------------------------------------------------ */

static bool ask_guard(const struct redis_target *t, const struct redis_place *guard,
                      struct timeval timeout, struct redis_place *out)
{
    redisContext *redis = open_place(t, guard, true, timeout);
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

static redisContext *find_by_sentinel(const struct redis_target *t, struct timeval timeout)
{
    for (unsigned i = 0; i < t->n_places; i++) {
        struct redis_place master;
        redisContext *redis = NULL;

        if (ask_guard(t, &t->places[i], timeout, &master))
            redis = open_place(t, &master, false, timeout);
        redis = keep(redis, redis && is_master(redis));
        if (redis)
            return redis;
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
                                     struct timeval timeout)
{
    for (unsigned i = 0; i < t->n_places; i++) {
        struct redis_place at = t->places[i], next;
        enum answer answer = ELSEWHERE;

        for (int hop = 0; hop < FIND_REDIRECTS_MAX && answer == ELSEWHERE; hop++) {
            redisContext *redis = open_place(t, &at, false, timeout);

            answer = redis ? ask_node(redis, prefix, &at, &next) : NOWHERE;
            if (answer == HERE)
                return redis;
            if (redis)
                redisFree(redis);
            if (answer == ELSEWHERE)
                at = next;
        }
    }
    return NULL;
}

struct redisContext *redis_find(const struct redis_target *t, const char *prefix,
                                struct timeval timeout)
{
    switch (t->kind) {
    case REDIS_SINGLE:
        break;
    case REDIS_CLUSTER:
        return find_in_cluster(t, prefix, timeout);
    case REDIS_SENTINEL:
        return find_by_sentinel(t, timeout);
    }
    return open_place(t, t->path ? NULL : &t->places[0], false, timeout);
}
