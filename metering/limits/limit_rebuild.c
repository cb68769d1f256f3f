#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/xalloc.h"
#include "metering/limits/limit_reader.h"
#include "metering/limits/limit_redis.h"

#include <limits.lua.h>

/*
 * What is set goes through the script that counts, as batches of a sender that comes once:
 * there is one place that knows how counters are kept.  The short scripts here look at the
 * owner's mark and at who is waited for (limits.lua says what they are).
 */

enum { ARGS_MAX = 5, NUMBER_TEXT = 24 };

/* A script's one number; n arguments behind the prefix. RC_IO where none came. */
static enum rc ask(struct reader *r, const char *script, const char *const *args, size_t n,
                   long long *out)
{
    const char *argv[4 + ARGS_MAX] = {"EVAL", script, "1", r->prefix};
    redisReply *reply;

    for (size_t i = 0; i < n; i++)
        argv[4 + i] = args[i];
    if (redisAppendCommandArgv(r->redis, (int)(4 + n), argv, NULL) != REDIS_OK)
        return RC_IO;
    reply = reader_take(r, REDIS_REPLY_INTEGER);
    if (!reply)
        return RC_IO;
    *out = reply->integer;
    freeReplyObject(reply);
    return RC_OK;
}

static const char *number(char out[NUMBER_TEXT], int64_t n)
{
    (void)snprintf(out, NUMBER_TEXT, "%lld", (long long)n);
    return out;
}

/* ---- batches of one's own ------------------------------------------------------------- */

struct sender {
    struct reader reader;
    char instance[INSTANCE_TEXT];
    int64_t start;
    struct batch batch;
    struct buf wire;
    struct limit_memory *told; /* of the counters as they are then; NULL: nobody */
};

static enum rc sender_open(struct sender *s, const struct limiter_options *options)
{
    unsigned char random[(INSTANCE_TEXT - 1) / 2];

    *s = (struct sender){.start = options->start};
    list_init(&s->batch.ops);
    buf_init(&s->wire, BATCH_MAX_BYTES);
    digest_random(random, sizeof(random));
    digest_hex(random, sizeof(random), s->instance);
    return reader_open(&s->reader, options);
}

static void sender_clear(struct sender *s)
{
    LIST_FOREACH_SAFE (at, &s->batch.ops) {
        op_alone_free(LIST_OBJECT(at, struct limit_op, node));
    }
    free(s->batch.keys);
    s->batch.keys = NULL;
    s->batch.n_ops = s->batch.keys_max = 0;
}

static void sender_close(struct sender *s)
{
    sender_clear(s);
    buf_release(&s->wire);
    reader_close(&s->reader);
}

static enum rc sender_flush(struct sender *s)
{
    struct wire_header header = {.instance = s->instance,
                                 .node = s->reader.owner,
                                 .owner = s->reader.owner,
                                 .start = s->start,
                                 .seq = ++s->batch.seq,
                                 .base = s->batch.seq};
    struct reply_numbers n = {0};
    redisReply *reply = NULL;
    int64_t at_us;
    enum rc rc;

    if (s->batch.n_ops == 0)
        return RC_OK;
    s->batch.keys = xcalloc(s->batch.keys_max, sizeof(struct counter_key *));
    buf_clear(&s->wire);
    rc = wire_encode(&header, &s->batch, &s->wire);
    if (rc == RC_OK &&
        redisAppendCommand(s->reader.redis, "EVAL %b 1 %s %b", limits_lua,
                           sizeof(limits_lua) - 1, s->reader.prefix, buf_view(&s->wire).p,
                           buf_len(&s->wire)) != REDIS_OK)
        rc = RC_IO;
    if (rc == RC_OK)
        reply = reader_take(&s->reader, REDIS_REPLY_ARRAY);
    n.reply = reply;
    if (rc == RC_OK && (!reply || reply_number(&n) != 0 || n.is_bad))
        rc = RC_IO;
    if (rc == RC_OK && s->told) {
        (void)reply_number(&n); /* live processes: at a heartbeat alone */
        at_us = reply_number(&n);
        reply_counters(s->told, &s->batch, &n, at_us, memory_mirror_whole);
    }
    if (reply)
        freeReplyObject(reply);
    sender_clear(s);
    return rc;
}

static enum rc sender_add(struct sender *s, struct limit_op *op)
{
    list_push_back(&s->batch.ops, &op->node);
    s->batch.keys_max += op->n;
    return ++s->batch.n_ops == LIMIT_BATCH_MAX ? sender_flush(s) : RC_OK;
}

/* ---- what is spent ----------------------------------------------------------------------- */

static struct limit_op *set_of(const struct claim_ref *claim, uint64_t spent, bool is_reset)
{
    static const struct uuid nobody;
    struct limit_op *op = op_alone(OP_SET, &nobody, claim, 1);

    op->claims[0].amount = spent;
    op->claims[0].limit = 0;
    op->claims[0].enforce = is_reset;
    return op;
}

/* All that workers left of what runs is reserved. */
static enum rc restore_running(struct sender *s, struct limit_memory *memory)
{
    struct list_node ops;
    enum rc rc = RC_OK;

    rescue_take(memory_rescue(memory), &ops);
    LIST_FOREACH_SAFE (at, &ops) {
        struct limit_op *op = LIST_OBJECT(at, struct limit_op, node);

        list_remove(&op->node);
        if (rc == RC_OK)
            rc = sender_add(s, op);
        else
            op_alone_free(op);
    }
    return rc == RC_OK ? sender_flush(s) : rc;
}

/* The owner's part is in order. Whoever is the first to say so waits for those it knows of. */
static enum rc finish(struct reader *r, const struct limiter_options *options, int64_t as_of_us)
{
    static const char script[] =
        "local P, owner, start, as_of, expected = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]\n"
        "local old, rolling = redis.call('GET', P .. 'u:' .. owner), '-1'\n"
        "if old then\n"
        "    rolling = string.match(old, '^%d+:%d:%-?%d+:(%-?%d+)$')\n"
        "end\n"
        "if rolling == '-1' then rolling = as_of end\n"
        "redis.call('SET', P .. 'u:' .. owner, start .. ':1:' .. as_of .. ':' .. rolling)\n"
        "redis.call('SADD', P .. 'o', owner)\n"
        "redis.call('ZADD', P .. 'n', redis.call('TIME')[1] .. '000000', owner)\n"
        "local here = redis.call('SCARD', P .. 'o')\n"
        "local wait = tonumber(redis.call('GET', P .. 'w') or '0')\n"
        "expected = tonumber(expected)\n"
        "if expected > here and (here == 1 or (wait > 0 and expected > wait)) then\n"
        "    redis.call('SET', P .. 'w', expected, 'PX', ARGV[5])\n"
        "elseif wait > 0 and here >= wait then\n"
        "    redis.call('DEL', P .. 'w')\n"
        "end\n"
        "return 0\n";
    char numbers[4][NUMBER_TEXT];
    const char *args[] = {r->owner, number(numbers[0], options->start),
                          number(numbers[1], as_of_us), number(numbers[2], options->nodes),
                          number(numbers[3], LIMIT_REBUILD_MS)};
    long long n;

    return ask(r, script, args, 5, &n);
}

static enum rc write_redis(const struct limiter_options *options, struct limit_memory *memory,
                           const struct limit_set *set, const struct limit_counter *counters,
                           size_t n, int64_t as_of_us)
{
    struct sender s;
    enum rc rc = sender_open(&s, options);

    for (size_t i = 0; rc == RC_OK && i < n; i++) {
        char key[LIMIT_KEY_MAX_BYTES];
        struct claim_ref claim;

        if (!limit_counter_ref(set, &counters[i], key, &claim))
            rc = RC_BAD;
        else if (claim.shape.kind != COUNTER_RUNNING)
            rc = sender_add(&s, set_of(&claim, counters[i].spent, as_of_us == 0));
    }
    if (rc == RC_OK)
        rc = sender_flush(&s);
    if (rc == RC_OK && as_of_us > 0 && memory)
        rc = restore_running(&s, memory);
    if (rc == RC_OK && as_of_us > 0)
        rc = finish(&s.reader, options, as_of_us);
    sender_close(&s);
    return rc;
}

void limit_forget_running(struct limit_memory *memory)
{
    rescue_clear(memory_rescue(memory));
}

enum rc limit_note(struct limit_memory *memory, const struct limit_set *set,
                   const struct limit_counter *counters, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char key[LIMIT_KEY_MAX_BYTES];
        struct claim_ref claim;
        uint64_t taken = value_add(counters[i].spent, counters[i].reserved);

        if (!limit_counter_ref(set, &counters[i], key, &claim))
            return RC_BAD;
        if (claim.shape.kind != COUNTER_RUNNING && taken > 0)
            memory_note(memory, &claim, taken);
    }
    return RC_OK;
}

typedef bool put_fn(struct limit_memory *m, const struct claim_ref *claim, uint64_t spent);

static enum rc write_memory(struct limit_memory *memory, const struct limit_set *set,
                            const struct limit_counter *counters, size_t n, put_fn *put)
{
    enum rc rc = RC_OK;

    for (size_t i = 0; rc == RC_OK && i < n; i++) {
        char key[LIMIT_KEY_MAX_BYTES];
        struct claim_ref claim;
        uint64_t spent =
            counters[i].spent < LIMIT_VALUE_MAX ? counters[i].spent : LIMIT_VALUE_MAX;

        if (!limit_counter_ref(set, &counters[i], key, &claim))
            rc = RC_BAD;
        else if (claim.shape.kind != COUNTER_RUNNING)
            rc = put(memory, &claim, spent) ? RC_OK : RC_LIMIT;
    }
    return rc;
}

enum rc limit_write(const struct limiter_options *options, struct limit_memory *memory,
                    const struct limit_set *set, const struct limit_counter *counters, size_t n,
                    int64_t as_of_us)
{
    if (options->redis_url)
        return write_redis(options, memory, set, counters, n, as_of_us);
    return memory ? write_memory(memory, set, counters, n, memory_write) : RC_STATE;
}

/* ---- limits that are new ------------------------------------------------------------------ */

/* An operation a counter; its claim's limit is the time. */
static enum rc send_parts(const struct limiter_options *options, struct limit_memory *told,
                          const struct limit_set *set, const struct limit_counter *counters,
                          size_t n, enum op_type type, int64_t since_us)
{
    static const struct uuid nobody;
    struct sender s;
    enum rc rc = sender_open(&s, options);

    s.told = told;
    for (size_t i = 0; rc == RC_OK && i < n; i++) {
        char key[LIMIT_KEY_MAX_BYTES];
        struct claim_ref claim;
        struct limit_op *op;

        if (!limit_counter_ref(set, &counters[i], key, &claim)) {
            rc = RC_BAD;
        } else if (claim.shape.kind != COUNTER_RUNNING) {
            op = op_alone(type, &nobody, &claim, 1);
            op->claims[0].amount = counters[i].spent;
            op->claims[0].limit = (uint64_t)since_us;
            rc = sender_add(&s, op);
        }
    }
    if (rc == RC_OK)
        rc = sender_flush(&s);
    sender_close(&s);
    return rc;
}

enum rc limit_part_since(const struct limiter_options *options, const struct limit_set *set,
                         int64_t since_us)
{
    static const char script[] =
        "redis.call('HSET', KEYS[1] .. 'a:' .. ARGV[1], ARGV[2], ARGV[3])\n"
        "return redis.call('EXPIRE', KEYS[1] .. 'a:' .. ARGV[1], ARGV[4])\n";
    char since[NUMBER_TEXT], keep[NUMBER_TEXT];
    struct reader r = {0};
    long long n;
    enum rc rc;

    if (!options->redis_url)
        return RC_STATE;
    rc = reader_open(&r, options);
    for (size_t i = 0; rc == RC_OK && i < limit_set_count(set); i++) {
        const char *args[] = {r.owner, limit_set_prefix(set, i).p, number(since, since_us),
                              number(keep, LIMIT_SINCE_KEEP_S)};

        if (limit_set_is_new(set, i))
            rc = ask(&r, script, args, 4, &n);
    }
    reader_close(&r);
    return rc;
}

enum rc limit_part_from(const struct limiter_options *options, const struct limit_set *set,
                        const struct limit_counter *counters, size_t n, int64_t since_us)
{
    if (!options->redis_url)
        return RC_STATE;
    return send_parts(options, NULL, set, counters, n, OP_FROM, since_us);
}

enum rc limit_part_add(const struct limiter_options *options, struct limit_memory *memory,
                       const struct limit_set *set, const struct limit_counter *counters, size_t n,
                       int64_t since_us)
{
    if (options->redis_url)
        return send_parts(options, memory, set, counters, n, OP_ADD, since_us);
    return memory ? write_memory(memory, set, counters, n, memory_add) : RC_STATE;
}

/* ---- whose turn --------------------------------------------------------------------------- */

/* Asks a script of its own connection: the owner's name, then n numbers. */
static enum rc ask_as_owner(const struct limiter_options *options, const char *script,
                            const int64_t *numbers, size_t n, long long *out)
{
    struct reader r = {0};
    char texts[ARGS_MAX][NUMBER_TEXT];
    const char *args[ARGS_MAX];
    enum rc rc;

    *out = 0;
    if (!options->redis_url)
        return RC_STATE;
    rc = reader_open(&r, options);
    args[0] = r.owner;
    for (size_t i = 0; i < n; i++)
        args[1 + i] = number(texts[i], numbers[i]);
    if (rc == RC_OK)
        rc = ask(&r, script, args, 1 + n, out);
    reader_close(&r);
    return rc;
}

enum rc limit_part_turn(const struct limiter_options *options, enum limit_part *part)
{
    static const char script[] =
        "local key, start = KEYS[1] .. 'u:' .. ARGV[1], tonumber(ARGV[2])\n"
        "local old, as_of, rolling = redis.call('GET', key), '-1', '-1'\n"
        "if old then\n"
        "    local begun, done\n"
        "    begun, done, as_of, rolling =\n"
        "        string.match(old, '^(%d+):(%d):(%-?%d+):(%-?%d+)$')\n"
        "    if tonumber(begun) > start or (tonumber(begun) == start and done == '1') then\n"
        "        return 0\n"
        "    end\n"
        "    if tonumber(begun) < start then\n" /* what this one settles was before no time of those */
        "        as_of, rolling = '0', rolling == '-1' and rolling or '0'\n"
        "    end\n"
        "end\n"
        "redis.call('SET', key, ARGV[2] .. ':0:' .. as_of .. ':' .. rolling)\n"
        "return rolling == '-1' and 2 or 1\n";
    static const enum limit_part parts[] = {LIMIT_PART_READY, LIMIT_PART_BEHIND,
                                            LIMIT_PART_MISSING};
    long long n;
    enum rc rc = ask_as_owner(options, script, &options->start, 1, &n);

    *part = rc == RC_OK && n >= 0 && n <= 2 ? parts[n] : LIMIT_PART_READY;
    return rc;
}

enum rc limit_rebuild_ask(const struct limiter_options *options, unsigned *nodes)
{
    static const char script[] =
        "local P, time = KEYS[1], redis.call('TIME')\n"
        "local since = tonumber(time[1]) * 1000000 - ARGV[2]\n"
        "local live = redis.call('ZRANGEBYSCORE', P .. 'n', string.format('%.0f', since),\n"
        "                        '+inf')\n"
        "for _, owner in ipairs(live) do\n"
        "    redis.call('DEL', P .. 'u:' .. owner)\n"
        "end\n"
        "redis.call('DEL', P .. 'u:' .. ARGV[1], P .. 'o', P .. 'w')\n"
        "redis.call('INCR', P .. 'e')\n"
        "if #live > 1 then\n"
        "    redis.call('SET', P .. 'w', #live, 'PX', ARGV[3])\n"
        "end\n"
        "return #live\n";
    const int64_t numbers[] = {LIMIT_NODE_LIVE_S * US_PER_SECOND, LIMIT_REBUILD_MS};
    long long n;
    enum rc rc = ask_as_owner(options, script, numbers, 2, &n);

    *nodes = rc == RC_OK ? (unsigned)n : 0;
    return rc;
}

enum rc limit_nodes(const struct limiter_options *options, unsigned *nodes)
{
    long long n;
    enum rc rc = ask_as_owner(options, "return redis.call('ZCARD', KEYS[1] .. 'n')", NULL, 0, &n);

    *nodes = rc == RC_OK ? (unsigned)n : 0;
    return rc;
}

enum rc limit_is_ready(const struct limiter_options *options, bool *ready)
{
    static const char script[] =
        "if redis.call('EXISTS', KEYS[1] .. 'w') == 1 then\n"
        "    return 0\n"
        "end\n"
        "return redis.call('EXISTS', KEYS[1] .. 'o')\n";
    long long n;
    enum rc rc = ask_as_owner(options, script, NULL, 0, &n);

    *ready = rc == RC_OK && n == 1;
    return rc;
}

/* ---- reservations that are the owner's ---------------------------------------------------- */

struct held {
    struct uuid *at;
    size_t n, max;
};

static void take_held(struct reader *r, struct strv key, void *arg)
{
    struct held *held = arg;

    (void)r;
    if (key.n != UUID_BYTES || held->n == LIMIT_HELD_MAX)
        return;
    if (held->n == held->max) {
        held->max = held->max ? 2 * held->max : 64;
        held->at = xrealloc(held->at, held->max * sizeof(held->at[0]));
    }
    memcpy(held->at[held->n++].b, key.p, UUID_BYTES);
}

/* Of each id: 0 another's or nobody's, 1 of an earlier start, 2 of this one. */
static redisReply *classify(struct sender *s, const struct uuid *ids, size_t n)
{
    static const char script[] =
        "local v, out = redis.call('HMGET', KEYS[1] .. 'r', unpack(ARGV, 3)), {}\n"
        "for i = 1, #ARGV - 2 do\n"
        "    local r = v[i] and cmsgpack.unpack(v[i])\n"
        "    out[i] = 0\n"
        "    if r and r[4] == ARGV[1] then\n"
        "        out[i] = r[5] == tonumber(ARGV[2]) and 2 or 1\n"
        "    end\n"
        "end\n"
        "return out\n";
    const char *argv[6 + LIMIT_BATCH_MAX] = {"EVAL", script, "1", s->reader.prefix,
                                             s->reader.owner};
    size_t lengths[6 + LIMIT_BATCH_MAX];
    char text[NUMBER_TEXT];
    redisReply *reply;

    argv[5] = number(text, s->start);
    for (size_t i = 0; i < 6; i++)
        lengths[i] = strlen(argv[i]);
    for (size_t i = 0; i < n; i++) {
        argv[6 + i] = (const char *)ids[i].b;
        lengths[6 + i] = UUID_BYTES;
    }
    if (redisAppendCommandArgv(s->reader.redis, (int)(6 + n), argv, lengths) != REDIS_OK)
        return NULL;
    reply = reader_take(&s->reader, REDIS_REPLY_ARRAY);
    if (reply && reply->elements != n) {
        freeReplyObject(reply);
        return NULL;
    }
    return reply;
}

static enum rc adopt_run(struct sender *s, const struct uuid *ids, size_t n,
                         limit_taken_fn *fn, void *arg)
{
    redisReply *whose = classify(s, ids, n);
    enum rc rc = whose ? RC_OK : RC_IO;

    for (size_t i = 0; rc == RC_OK && i < n; i++) {
        struct limit_op *op;

        if (whose->element[i]->integer == 0)
            continue;
        op = op_alone(OP_ADOPT, &ids[i], NULL, 0);
        if (whose->element[i]->integer == 1)
            rc = fn(&ids[i], &op->actual, arg);
        if (rc == RC_OK)
            rc = sender_add(s, op);
        else
            op_alone_free(op);
    }
    if (rc == RC_OK)
        rc = sender_flush(s);
    if (whose)
        freeReplyObject(whose);
    return rc;
}

enum rc limit_adopt(const struct limiter_options *options, limit_taken_fn *fn, void *arg)
{
    struct held held = {0};
    struct sender s;
    enum rc rc;

    if (!options->redis_url)
        return RC_STATE;
    rc = sender_open(&s, options);
    if (rc == RC_OK)
        rc = reader_scan(&s.reader, "HSCAN", "r", take_held, &held);
    for (size_t i = 0; rc == RC_OK && i < held.n; i += LIMIT_BATCH_MAX)
        rc = adopt_run(&s, held.at + i,
                       held.n - i < LIMIT_BATCH_MAX ? held.n - i : LIMIT_BATCH_MAX, fn, arg);
    free(held.at);
    sender_close(&s);
    return rc;
}
