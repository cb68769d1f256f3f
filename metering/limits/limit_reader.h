/*
 * limit_reader.h - a blocking connection to Redis for what is done outside the request path;
 * internal.  Neither admits nor settles by itself.
 */
#ifndef METERING_LIMITS_LIMIT_READER_H
#define METERING_LIMITS_LIMIT_READER_H

#include <hiredis/hiredis.h>

#include "metering/limits/limit_int.h"

/* A connection of its own, blocking; each answer is waited for at most timeout_ms. */
struct reader {
    redisContext *redis;
    char *prefix;
    int64_t now_us; /* Redis' clock */
    const struct limit_set *set;
    int64_t window_us; /* whose windows are current */
    limit_counter_fn *fn;
    void *arg;
    const char *owner; /* never NULL once open */
};

enum {
    SCAN_COUNT = 500, /* counters asked for at once */
};

/* Fills redis, prefix, now_us and owner; close it even where it failed.  RC_BAD: the URL. */
enum rc reader_open(struct reader *r, const struct limiter_options *options) RC_MUST;
void reader_close(struct reader *r);
/* One whole answer of the expected type, for freeReplyObject; NULL for anything else. */
redisReply *reader_take(struct reader *r, int type);
/* A string, or none. */
struct strv reply_text(const redisReply *reply);
/* A number in decimal; 0 where it is none. */
uint64_t reply_value(struct strv text);

typedef void element_fn(struct reader *r, struct strv element, void *arg);
/* The elements of a hash or sorted set, some perhaps twice: command is HSCAN or ZSCAN. */
enum rc reader_scan(struct reader *r, const char *command, const char *key, element_fn *fn,
                    void *arg) RC_MUST;

#endif
