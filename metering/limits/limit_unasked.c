/*
 * limit_unasked.c - a reply that nobody asked for ends a connection to Redis.
 *
 * hiredis ends the process instead: it asserts that only errors come unasked.  What makes
 * its reply objects is therefore asked first; where it makes none, hiredis gives the connection up.
 * Everything else is done by its own functions.
 */
#include <hiredis/async.h>

#include "metering/limits/limit_redis.h"

/* hiredis' own, the same for all of its readers; written once, before any reply is read. */
static _Atomic(const redisReplyObjectFunctions *) made_by;

/* Only parts of a reply have a parent. */
static bool is_unasked(const redisReadTask *task)
{
    const struct redisAsyncContext *redis = task->privdata;

    return !task->parent && !redis->replies.head && task->type != REDIS_REPLY_ERROR;
}

static void *make_string(const redisReadTask *task, char *text, size_t n)
{
    return is_unasked(task) ? NULL : made_by->createString(task, text, n);
}

#if HIREDIS_MAJOR >= 1
typedef size_t element_count;
#else
typedef int element_count;
#endif

static void *make_array(const redisReadTask *task, element_count n)
{
    return is_unasked(task) ? NULL : made_by->createArray(task, n);
}

static void *make_integer(const redisReadTask *task, long long n)
{
    return is_unasked(task) ? NULL : made_by->createInteger(task, n);
}

static void *make_nil(const redisReadTask *task)
{
    return is_unasked(task) ? NULL : made_by->createNil(task);
}

#if HIREDIS_MAJOR >= 1
/* Types of RESP3, which a server may send to whoever never asked for it. */
static void *make_number(const redisReadTask *task, double n, char *text, size_t size) /* allow: double, hiredis' type */
{
    return is_unasked(task) ? NULL : made_by->createDouble(task, n, text, size);
}

static void *make_bool(const redisReadTask *task, int is)
{
    return is_unasked(task) ? NULL : made_by->createBool(task, is);
}
#endif

static void free_object(void *object)
{
    made_by->freeObject(object);
}

void redis_end_unasked(struct redisAsyncContext *redis)
{
    static redisReplyObjectFunctions functions = {
        .createString = make_string,
        .createArray = make_array,
        .createInteger = make_integer,
        .createNil = make_nil,
        .freeObject = free_object,
#if HIREDIS_MAJOR >= 1
        .createDouble = make_number,
        .createBool = make_bool,
#endif
    };

    made_by = redis->c.reader->fn;
    redis->c.reader->fn = &functions;
    redis->c.reader->privdata = redis;
}
