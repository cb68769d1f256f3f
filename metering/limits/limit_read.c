#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "base/xalloc.h"
#include "metering/limits/limit_int.h"

#include <limit_write.lua.h>

/* A connection of its own, blocking; each answer is waited for at most timeout_ms. */
struct reader {
    redisContext *redis;
    char *prefix;
    int64_t now_us; /* Redis' clock */
    const struct limit_set *set;
    int64_t window_us; /* whose windows are current */
    limit_counter_fn *fn;
    void *arg;
};

enum {
    SCAN_COUNT = 500, /* counters asked for at once */
};

/* One whole answer of the expected type, or NULL. */
static redisReply *take(struct reader *r, int type)
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

static bool take_ok(struct reader *r)
{
    redisReply *reply = take(r, REDIS_REPLY_STATUS);
    bool is_ok = reply != NULL;

    if (reply)
        freeReplyObject(reply);
    return is_ok;
}

static struct strv reply_text(const redisReply *reply)
{
    return reply && reply->type == REDIS_REPLY_STRING ? strv_make(reply->str, reply->len)
                                                      : STRV_NONE;
}

static uint64_t reply_value(struct strv text)
{
    uint64_t n = 0;

    return strv_parse_u64(text, LIMIT_VALUE_MAX, &n) ? n : 0;
}

static bool login(struct reader *r, const struct redis_target *t)
{
    if (t->password) {
        int rc = t->user ? redisAppendCommand(r->redis, "AUTH %s %s", t->user, t->password)
                         : redisAppendCommand(r->redis, "AUTH %s", t->password);

        if (rc != REDIS_OK || !take_ok(r))
            return false;
    }
    return t->db == 0 ||
           (redisAppendCommand(r->redis, "SELECT %d", t->db) == REDIS_OK && take_ok(r));
}

static bool read_clock(struct reader *r)
{
    redisReply *reply;

    if (redisAppendCommand(r->redis, "TIME") != REDIS_OK)
        return false;
    reply = take(r, REDIS_REPLY_ARRAY);
    if (reply && reply->elements == 2)
        r->now_us = (int64_t)reply_value(reply_text(reply->element[0])) * US_PER_SECOND +
                    (int64_t)reply_value(reply_text(reply->element[1]));
    if (reply)
        freeReplyObject(reply);
    return r->now_us > 0;
}

static enum rc reader_open(struct reader *r, const struct limiter_options *options)
{
    enum { TIMEOUT_MS = 1000 };
    int ms = options->timeout_ms > 0 ? options->timeout_ms : TIMEOUT_MS;
    struct timeval timeout = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    struct redis_target target;
    enum rc rc = RC_IO;

    if (redis_target_parse(options->redis_url, &target))
        return RC_BAD;
    r->prefix = xasprintf("{%.*s}:", LIMIT_NAME_SPACE_MAX_BYTES,
                          options->name_space ? options->name_space : "tollgate");
    r->redis = target.path ? redisConnectUnixWithTimeout(target.path, timeout)
                           : redisConnectWithTimeout(target.host, target.port, timeout);
    if (r->redis && r->redis->err == 0 && redisSetTimeout(r->redis, timeout) == REDIS_OK &&
        login(r, &target) && read_clock(r))
        rc = RC_OK;
    redis_target_release(&target);
    return rc;
}

static void reader_close(struct reader *r)
{
    if (r->redis)
        redisFree(r->redis);
    free(r->prefix);
}

/* ---- counters as the script keeps them -------------------------------------------- */

/* Without what has left the window. */
static void rolling_read(const redisReply *hash, const struct counter_shape *shape,
                         int64_t now_us, struct limit_counter *out)
{
    int64_t oldest = now_us / shape->bucket_us - (int64_t)shape->buckets;

    for (size_t i = 0; i + 1 < hash->elements; i += 2) {
        struct strv field = reply_text(hash->element[i]);
        uint64_t value = reply_value(reply_text(hash->element[i + 1])), number;

        if (field.n < 2 || !strv_parse_u64(strv_skip(field, 1), INT64_MAX, &number) ||
            (int64_t)number < oldest)
            continue;
        if (field.p[0] == 's')
            out->spent = value_add(out->spent, value);
        else if (field.p[0] == 'r')
            out->reserved = value_add(out->reserved, value);
    }
}

static void counter_fill(const struct reader *r, const redisReply *value, struct limit_counter *c)
{
    const struct counter_shape *shape = limit_set_shape(r->set, c->limit);

    c->spent = c->reserved = 0;
    if (shape->kind == COUNTER_ROLLING) {
        rolling_read(value, shape, r->now_us, c);
        return;
    }
    for (size_t i = 0; i + 1 < value->elements; i += 2) {
        struct strv field = reply_text(value->element[i]);

        if (strv_eq(field, STRV("s")))
            c->spent = reply_value(reply_text(value->element[i + 1]));
        if (strv_eq(field, STRV("r")))
            c->reserved = reply_value(reply_text(value->element[i + 1]));
    }
}

static void counter_tell(struct reader *r, struct strv key, const redisReply *value)
{
    struct limit_counter c;

    if (!limit_key_match(r->set, key, r->window_us, &c))
        return;
    counter_fill(r, value, &c);
    if (c.spent > 0 || c.reserved > 0)
        r->fn(&c, r->arg);
}

/* A scan may name a key twice, rarely: each is told once. */
struct names {
    char **at;
    size_t n, max;
};

static int name_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void name_add(struct names *names, struct strv key)
{
    if (names->n == names->max) {
        names->max = names->max ? names->max * 2 : 64;
        names->at = xrealloc(names->at, names->max * sizeof(names->at[0]));
    }
    names->at[names->n++] = xmemdupz(key.p, key.n);
}

typedef void element_fn(struct reader *r, struct strv element, void *arg);

/* The elements of a hash or sorted set: command is HSCAN or ZSCAN. */
static enum rc scan(struct reader *r, const char *command, const char *key, element_fn *fn,
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
        page = take(r, REDIS_REPLY_ARRAY);
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

static void take_name(struct reader *r, struct strv key, void *arg)
{
    struct names *names = arg;
    struct limit_counter c;

    if (names->n < LIMIT_COUNTERS_MAX && limit_key_match(r->set, key, r->window_us, &c))
        name_add(names, key);
}

/* Asks for a run of counters in one go. */
static bool read_run(struct reader *r, char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (redisAppendCommand(r->redis, "HGETALL %sc:%s", r->prefix, names[i]) != REDIS_OK)
            return false;
    }
    for (size_t i = 0; i < n; i++) {
        redisReply *value = take(r, REDIS_REPLY_ARRAY);

        if (!value)
            return false;
        counter_tell(r, strv_z(names[i]), value);
        freeReplyObject(value);
    }
    return true;
}

enum rc limit_read(const struct limiter_options *options, struct limit_memory *memory,
                   const struct limit_set *set, int64_t now_us, limit_counter_fn *fn, void *arg)
{
    struct reader r = {.set = set, .window_us = now_us, .fn = fn, .arg = arg};
    struct names names = {0};
    enum rc rc;

    if (!options->redis_url) {
        if (!memory)
            return RC_STATE;
        memory_read(memory, set, now_us, fn, arg);
        return RC_OK;
    }
    rc = reader_open(&r, options);
    if (rc == RC_OK)
        rc = scan(&r, "ZSCAN", "i", take_name, &names);
    if (rc == RC_OK && names.n > 0) {
        size_t unique = 0;

        qsort(names.at, names.n, sizeof(names.at[0]), name_order);
        for (size_t i = 0; i < names.n; i++) {
            if (unique > 0 && strcmp(names.at[unique - 1], names.at[i]) == 0)
                free(names.at[i]);
            else
                names.at[unique++] = names.at[i];
        }
        names.n = unique;
    }
    for (size_t i = 0; rc == RC_OK && i < names.n; i += SCAN_COUNT) {
        size_t n = names.n - i < SCAN_COUNT ? names.n - i : SCAN_COUNT;

        if (!read_run(&r, names.at + i, n))
            rc = RC_IO;
    }
    for (size_t i = 0; i < names.n; i++)
        free(names.at[i]);
    free(names.at);
    reader_close(&r);
    return rc;
}

struct held {
    limit_held_fn *fn;
    void *arg;
};

static void take_held(struct reader *r, struct strv key, void *arg)
{
    const struct held *held = arg;
    struct uuid id;

    (void)r;
    if (key.n != UUID_BYTES)
        return;
    memcpy(id.b, key.p, UUID_BYTES);
    held->fn(&id, held->arg);
}

enum rc limit_read_held(const struct limiter_options *options, limit_held_fn *fn, void *arg)
{
    struct held held = {fn, arg};
    struct reader r = {0};
    enum rc rc;

    if (!options->redis_url)
        return RC_STATE;
    rc = reader_open(&r, options);
    if (rc == RC_OK)
        rc = scan(&r, "HSCAN", "r", take_held, &held);
    reader_close(&r);
    return rc;
}

static enum rc ask_counter(struct reader *r, struct limit_counter *c)
{
    char key[LIMIT_KEY_MAX_BYTES];
    struct claim_ref claim;
    redisReply *value;

    if (!limit_counter_ref(r->set, c, key, &claim))
        return RC_BAD;
    if (redisAppendCommand(r->redis, "HGETALL %sc:%b", r->prefix, claim.key.p, claim.key.n) !=
        REDIS_OK)
        return RC_IO;
    value = take(r, REDIS_REPLY_ARRAY);
    if (!value)
        return RC_IO;
    counter_fill(r, value, c);
    freeReplyObject(value);
    return RC_OK;
}

enum rc limit_look(const struct limiter_options *options, struct limit_memory *memory,
                   const struct limit_set *set, struct limit_counter *counters, size_t n)
{
    struct reader r = {.set = set};
    enum rc rc = RC_OK;

    if (!options->redis_url && !memory)
        return RC_STATE;
    if (options->redis_url)
        rc = reader_open(&r, options);
    for (size_t i = 0; rc == RC_OK && i < n; i++) {
        char key[LIMIT_KEY_MAX_BYTES];
        struct claim_ref claim;

        if (options->redis_url)
            rc = ask_counter(&r, &counters[i]);
        else if (limit_counter_ref(set, &counters[i], key, &claim))
            memory_look(memory, &claim, &counters[i].spent, &counters[i].reserved);
        else
            rc = RC_BAD;
    }
    if (options->redis_url)
        reader_close(&r);
    return rc;
}

/* ---- setting ---------------------------------------------------------------------------- */

static bool write_counter(struct reader *r, const struct claim_ref *claim, uint64_t spent)
{
    int64_t x = claim->shape.bucket_us;

    if (claim->shape.kind == COUNTER_WINDOW)
        x = counter_expiry_s(&claim->shape);
    return redisAppendCommand(r->redis, "EVAL %b 1 %s %b %d %lld %u %llu 0", limit_write_lua,
                              sizeof(limit_write_lua) - 1, r->prefix, claim->key.p,
                              claim->key.n, (int)claim->shape.kind, (long long)x,
                              claim->shape.buckets, (unsigned long long)spent) == REDIS_OK &&
           take_ok(r);
}

/* The time before which settlements are in the counters only rises. */
static bool write_as_of(struct reader *r, int64_t as_of_us)
{
    static const char script[] = "local now = redis.call('GET', KEYS[1])\n"
                                 "if not now or tonumber(now) < tonumber(ARGV[1]) then\n"
                                 "    redis.call('SET', KEYS[1], ARGV[1])\n"
                                 "end\n"
                                 "return redis.status_reply('OK')\n";

    return redisAppendCommand(r->redis, "EVAL %s 1 %su %lld", script, r->prefix,
                              (long long)as_of_us) == REDIS_OK &&
           take_ok(r);
}

/* "u" is what limits.lua looks for; the turn ends by itself, should its holder die. */
static enum rc ask_turn(struct reader *r, bool *mine)
{
    static const char script[] =
        "if redis.call('EXISTS', KEYS[1] .. 'u') == 1 then\n"
        "    return 0\n"
        "end\n"
        "return redis.call('SET', KEYS[1] .. 'w', '1', 'NX', 'PX', ARGV[1]) and 1 or 0\n";
    redisReply *reply;

    if (redisAppendCommand(r->redis, "EVAL %s 1 %s %d", script, r->prefix, LIMIT_REBUILD_MS) !=
        REDIS_OK)
        return RC_IO;
    reply = take(r, REDIS_REPLY_INTEGER);
    if (!reply)
        return RC_IO;
    *mine = reply->integer == 1;
    freeReplyObject(reply);
    return RC_OK;
}

enum rc limit_rebuild_turn(const struct limiter_options *options, bool *mine)
{
    struct reader r = {0};
    enum rc rc;

    *mine = false;
    if (!options->redis_url)
        return RC_STATE;
    rc = reader_open(&r, options);
    if (rc == RC_OK)
        rc = ask_turn(&r, mine);
    reader_close(&r);
    return rc;
}

enum rc limit_write(const struct limiter_options *options, struct limit_memory *memory,
                    const struct limit_set *set, const struct limit_counter *counters, size_t n,
                    int64_t as_of_us)
{
    struct reader r = {.set = set};
    enum rc rc = RC_OK;

    if (!options->redis_url && !memory)
        return RC_STATE;
    if (options->redis_url)
        rc = reader_open(&r, options);
    for (size_t i = 0; rc == RC_OK && i < n; i++) {
        char key[LIMIT_KEY_MAX_BYTES];
        struct claim_ref claim;
        uint64_t spent =
            counters[i].spent < LIMIT_VALUE_MAX ? counters[i].spent : LIMIT_VALUE_MAX;

        if (!limit_counter_ref(set, &counters[i], key, &claim))
            rc = RC_BAD;
        else if (claim.shape.kind == COUNTER_RUNNING)
            continue;
        else if (!options->redis_url)
            rc = memory_write(memory, &claim, spent) ? RC_OK : RC_LIMIT;
        else
            rc = write_counter(&r, &claim, spent) ? RC_OK : RC_IO;
    }
    if (rc == RC_OK && options->redis_url && !write_as_of(&r, as_of_us))
        rc = RC_IO;
    if (options->redis_url)
        reader_close(&r);
    return rc;
}

/* ---- asking for a rebuild ------------------------------------------------------------------- */

/* The script's one number. */
static enum rc ask_number(const struct limiter_options *options, const char *script, long long arg,
                          long long *out)
{
    struct reader r = {0};
    redisReply *reply;
    enum rc rc;

    if (!options->redis_url)
        return RC_STATE;
    rc = reader_open(&r, options);
    if (rc == RC_OK && redisAppendCommand(r.redis, "EVAL %s 1 %s %lld %lld", script, r.prefix,
                                          arg,
                                          (long long)(r.now_us - LIMIT_NODE_LIVE_S *
                                                                     US_PER_SECOND)) != REDIS_OK)
        rc = RC_IO;
    reply = rc == RC_OK ? take(&r, REDIS_REPLY_INTEGER) : NULL;
    if (rc == RC_OK && !reply)
        rc = RC_IO;
    if (reply) {
        *out = reply->integer;
        freeReplyObject(reply);
    }
    reader_close(&r);
    return rc;
}

enum rc limit_rebuild_ask(const struct limiter_options *options, bool several, unsigned *nodes)
{
    static const char script[] =
        "local n = redis.call('ZCOUNT', KEYS[1] .. 'n', ARGV[2], '+inf')\n"
        "if n == 1 or (n > 1 and ARGV[1] == '1') then\n"
        "    redis.call('DEL', KEYS[1] .. 'u', KEYS[1] .. 'w')\n"
        "end\n"
        "return n\n";
    long long n = 0;
    enum rc rc = ask_number(options, script, several, &n);

    *nodes = (unsigned)n;
    return rc;
}

enum rc limit_is_ready(const struct limiter_options *options, bool *ready)
{
    static const char script[] = "return redis.call('EXISTS', KEYS[1] .. 'u')\n";
    long long n = 0;
    enum rc rc = ask_number(options, script, 0, &n);

    *ready = n == 1;
    return rc;
}
