#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/limits/limit_reader.h"

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
    struct strv owner = strv_z(r->owner);
    uint64_t others = 0, eased = 0;

    c->spent = c->reserved = c->own = 0;
    if (shape->kind == COUNTER_ROLLING) {
        rolling_read(value, shape, r->now_us, c);
        return;
    }
    for (size_t i = 0; i + 1 < value->elements; i += 2) {
        struct strv field = reply_text(value->element[i]), whose = strv_skip(field, 1);
        uint64_t n = reply_value(reply_text(value->element[i + 1]));

        if (strv_eq(field, STRV("s")))
            c->spent = n;
        else if (strv_eq(field, STRV("r")))
            c->reserved = n;
        else if (strv_starts(field, STRV("o")) && !strv_eq(whose, owner))
            others = value_add(others, n);
        else if (strv_starts(field, STRV("x")) && strv_eq(whose, owner))
            eased = n;
    }
    c->own = value_add(value_sub(c->spent, others), eased);
}

static void counter_tell(struct reader *r, struct strv key, const redisReply *value)
{
    struct limit_counter c;

    if (!limit_key_match(r->set, key, r->window_us, &c))
        return;
    counter_fill(r, value, &c);
    if (c.spent > 0 || c.reserved > 0 || c.own > 0)
        r->fn(&c, r->arg);
}

/*
 * A scan may name a key twice, rarely: each is told once.  The texts are one block: there may be
 * many, and a large block is given back to the system when they have been read.
 */
struct names {
    char *text;
    size_t text_n, text_max;
    size_t *at; /* in text */
    size_t n, max;
};

static void name_add(struct names *names, struct strv key)
{
    if (names->text_max - names->text_n <= key.n) {
        names->text_max = 2 * names->text_max + key.n + 1;
        names->text = xrealloc(names->text, names->text_max);
    }
    if (names->n == names->max) {
        names->max = names->max ? names->max * 2 : 64;
        names->at = xrealloc(names->at, names->max * sizeof(names->at[0]));
    }
    names->at[names->n++] = names->text_n;
    memcpy(names->text + names->text_n, key.p, key.n);
    names->text[names->text_n + key.n] = '\0';
    names->text_n += key.n + 1;
}

static void take_name(struct reader *r, struct strv key, void *arg)
{
    struct names *names = arg;
    struct limit_counter c;

    if (names->n < LIMIT_COUNTERS_MAX && limit_key_match(r->set, key, r->window_us, &c))
        name_add(names, key);
}

static int name_order(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Each once, in order; *n of them, which look into names. */
static const char **names_sorted(const struct names *names, size_t *n)
{
    const char **sorted = xcalloc(names->n + 1, sizeof(*sorted));
    size_t unique = 0;

    for (size_t i = 0; i < names->n; i++)
        sorted[i] = names->text + names->at[i];
    qsort(sorted, names->n, sizeof(*sorted), name_order);
    for (size_t i = 0; i < names->n; i++) {
        if (unique == 0 || strcmp(sorted[unique - 1], sorted[i]) != 0)
            sorted[unique++] = sorted[i];
    }
    *n = unique;
    return sorted;
}

/* Asks for a run of counters in one go. */
static bool read_run(struct reader *r, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (redisAppendCommand(r->redis, "HGETALL %sc:%s", r->prefix, names[i]) != REDIS_OK)
            return false;
    }
    for (size_t i = 0; i < n; i++) {
        redisReply *value = reader_take(r, REDIS_REPLY_ARRAY);

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
    const char **sorted = NULL;
    size_t n = 0;
    enum rc rc;

    if (!options->redis_url) {
        if (!memory)
            return RC_STATE;
        if (memory_is_blind(memory))
            return RC_AGAIN;
        memory_read(memory, set, now_us, fn, arg);
        return RC_OK;
    }
    rc = reader_open(&r, options);
    if (rc == RC_OK)
        rc = reader_scan(&r, "ZSCAN", "i", take_name, &names);
    if (rc == RC_OK)
        sorted = names_sorted(&names, &n);
    for (size_t i = 0; rc == RC_OK && i < n; i += SCAN_COUNT) {
        if (!read_run(&r, sorted + i, n - i < SCAN_COUNT ? n - i : SCAN_COUNT))
            rc = RC_IO;
    }
    free(sorted);
    free(names.at);
    free(names.text);
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
    value = reader_take(r, REDIS_REPLY_ARRAY);
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
    if (!options->redis_url && memory_is_blind(memory))
        return RC_AGAIN;
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
