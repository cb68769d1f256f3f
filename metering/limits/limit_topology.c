#include <string.h>

#include <hiredis/async.h>

#include "base/clock.h"
#include "base/log.h"
#include "metering/limits/limit_redis.h"

/*
 * All counters of a name space are in one slot of a cluster, so that one script sees them: who
 * has them is one node, which any other names when it is asked by mistake ("MOVED").  The list
 * of nodes is only for when that one is gone.
 *
 * While a slot is moved, half of its keys may be here and half there.  A script that was sent
 * on ("ASK") would count from zero what is still on the way; so it waits until the slot is
 * somewhere again.
 */

static struct strv text_of(const struct redisReply *r)
{
    return r && r->type == REDIS_REPLY_STRING ? strv_make(r->str, r->len) : STRV_NONE;
}

/* ---- Sentinel -------------------------------------------------------------------------- */

static void on_master(struct redisAsyncContext *redis, void *reply, void *arg)
{
    struct redis_engine *e = arg;
    const struct redisReply *r = reply;
    uint64_t port;

    if (redis != e->link.redis || !r)
        return;
    if (r->type == REDIS_REPLY_ARRAY && r->elements == 2 &&
        strv_parse_u64(text_of(r->element[1]), UINT16_MAX, &port) &&
        redis_place_set(&e->link.told, text_of(r->element[0]), (int64_t)port))
        link_follow(e);
    else
        link_fail(e, "the sentinel does not know this master");
}

/* A Sentinel may name one that has not taken over yet, or has just been replaced. */
static void on_role(struct redisAsyncContext *redis, void *reply, void *arg)
{
    struct redis_engine *e = arg;
    const struct redisReply *r = reply;

    if (redis != e->link.redis || !r)
        return;
    e->link.has_answered = true;
    if (r->type == REDIS_REPLY_ARRAY && r->elements > 0 &&
        strv_eq(text_of(r->element[0]), STRV("master")))
        link_up(e);
    else
        link_fail(e, "whom the sentinel named is not the master");
}

/* ---- cluster --------------------------------------------------------------------------- */

static void learn(struct link *l, struct strv host, int64_t port)
{
    struct redis_place place;

    /* Of a node that does not know its own address it is the one that was asked. */
    if (host.n == 0 || strv_eq(host, STRV("?")) || !redis_place_set(&place, host, port))
        return;
    for (unsigned i = 0; i < l->n_places; i++) {
        if (l->places[i].port == place.port &&
            strv_eq(strv_z(l->places[i].host), strv_z(place.host)))
            return;
    }
    if (l->n_places < LINK_PLACES_MAX)
        l->places[l->n_places++] = place;
}

/* Slots: [from, to, [host, port, ...], ...] each.  What was learnt before is forgotten. */
static void on_slots(struct redisAsyncContext *redis, void *reply, void *arg)
{
    struct redis_engine *e = arg;
    struct link *l = &e->link;
    const struct redisReply *r = reply;

    if (redis != l->redis || !r)
        return;
    l->has_answered = true;
    if (r->type != REDIS_REPLY_ARRAY)
        return;
    l->n_places = l->target.n_places;
    if (l->at >= l->places && l->at < l->places + LINK_PLACES_MAX) {
        l->told = *l->at;
        l->at = &l->told;
    }
    for (size_t i = 0; i < r->elements; i++) {
        const struct redisReply *range = r->element[i];

        for (size_t k = 2; range->type == REDIS_REPLY_ARRAY && k < range->elements; k++) {
            const struct redisReply *node = range->element[k];

            if (node->type == REDIS_REPLY_ARRAY && node->elements >= 2 &&
                node->element[1]->type == REDIS_REPLY_INTEGER)
                learn(l, text_of(node->element[0]), node->element[1]->integer);
        }
    }
    l->turn %= l->n_places;
}

bool topology_refresh(struct redis_engine *e)
{
    e->link.refresh_us = clock_mono_us() + LINK_REFRESH_S * US_PER_SECOND;
    return redisAsyncCommand(e->link.redis, on_slots, e, "CLUSTER SLOTS") == REDIS_OK;
}

bool topology_moved(struct redis_engine *e, struct strv error)
{
    struct link *l = &e->link;
    struct redis_place place;

    if (l->target.kind != REDIS_CLUSTER || !l->at || !redis_moved_parse(error, l->at, &place))
        return false;
    l->told = place;
    if (++l->redirects > LINK_REDIRECTS_MAX) {
        l->redirects = 0;
        link_fail(e, "the nodes of the cluster send each other the slot");
    } else {
        link_follow(e);
    }
    return true;
}

bool topology_is_moving(const struct redis_engine *e, struct strv error)
{
    return e->link.target.kind == REDIS_CLUSTER &&
           (strv_starts(error, STRV("ASK ")) || strv_starts(error, STRV("TRYAGAIN")) ||
            memmem(error.p, error.n, "non local key", 13));
}

/* ---- first of all ------------------------------------------------------------------------ */

bool topology_check(struct redis_engine *e)
{
    struct link *l = &e->link;

    switch (l->target.kind) {
    case REDIS_SINGLE:
        link_up(e);
        return true;
    case REDIS_CLUSTER:
        link_up(e);
        return topology_refresh(e);
    case REDIS_SENTINEL:
        break;
    }
    if (l->at != &l->told)
        return redisAsyncCommand(l->redis, on_master, e, "SENTINEL get-master-addr-by-name %s",
                                 l->target.master) == REDIS_OK;
    return redisAsyncCommand(l->redis, on_role, e, "ROLE") == REDIS_OK;
}
