#include "metering/limits/limit_reader.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"

redisReply *reader_take(struct reader *r, int type)
{
    void *reply = NULL;

    if (redisGetReply(r->redis, &reply) != REDIS_OK || !reply)
        return NULL;
    if (((redisReply *)reply)->type != type) {
        freeReplyObject(reply);
        return NULL;
    }
    return reply;
}

struct strv reply_text(const redisReply *reply)
{
    return reply && reply->type == REDIS_REPLY_STRING ? strv_make(reply->str, reply->len)
                                                      : STRV_NONE;
}

uint64_t reply_value(struct strv text)
{
    uint64_t n = 0;

    return strv_parse_u64(text, LIMIT_VALUE_MAX, &n) ? n : 0;
}

static bool read_clock(struct reader *r)
{
    redisReply *reply;

    if (redisAppendCommand(r->redis, "TIME") != REDIS_OK)
        return false;
    reply = reader_take(r, REDIS_REPLY_ARRAY);
    if (reply && reply->elements == 2)
        r->now_us = (int64_t)reply_value(reply_text(reply->element[0])) * US_PER_SECOND +
                    (int64_t)reply_value(reply_text(reply->element[1]));
    if (reply)
        freeReplyObject(reply);
    return r->now_us > 0;
}

enum rc reader_open(struct reader *r, const struct limiter_options *options)
{
    enum { TIMEOUT_MS = 1000 };
    int ms = options->timeout_ms > 0 ? options->timeout_ms : TIMEOUT_MS;
    struct timeval timeout = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    char why[LIMIT_WHY_BYTES] = "";
    struct redis_target target;
    enum rc rc = RC_IO;

    if (options->why)
        options->why[0] = '\0';
    if (redis_target_open(options, &target))
        return RC_BAD;
    r->prefix = xasprintf("{%.*s}:", LIMIT_NAME_SPACE_MAX_BYTES,
                          options->name_space ? options->name_space : "tollgate");
    r->owner = options->owner ? options->owner : OWNER_NONE;
    r->redis = redis_find(&target, r->prefix, timeout, why);
    if (r->redis && read_clock(r))
        rc = RC_OK;
    else if (r->redis)
        redis_reason(r->redis, target.is_secure, false, why);
    if (rc != RC_OK && options->why)
        memcpy(options->why, why, sizeof(why));
    redis_target_release(&target);
    return rc;
}

void reader_close(struct reader *r)
{
    if (r->redis)
        redisFree(r->redis);
    free(r->prefix);
}

enum rc reader_scan(struct reader *r, const char *command, const char *key, element_fn *fn,
                    void *arg)
{
    char cursor[24] = "0";

    do {
        redisReply *page;
        const redisReply *list;
        struct strv next;

        if (redisAppendCommand(r->redis, "%s %s%s %s COUNT %d", command, r->prefix, key, cursor,
                               SCAN_COUNT) != REDIS_OK)
            return RC_IO;
        page = reader_take(r, REDIS_REPLY_ARRAY);
        if (!page)
            return RC_IO;
        next = page->elements == 2 ? reply_text(page->element[0]) : STRV_NONE;
        if (next.n == 0 || next.n >= sizeof(cursor) ||
            page->element[1]->type != REDIS_REPLY_ARRAY) {
            freeReplyObject(page);
            return RC_IO;
        }
        list = page->element[1];
        for (size_t i = 0; i + 1 < list->elements; i += 2)
            fn(r, reply_text(list->element[i]), arg);
        memcpy(cursor, next.p, next.n);
        cursor[next.n] = '\0';
        freeReplyObject(page);
    } while (strcmp(cursor, "0") != 0);
    return RC_OK;
}
