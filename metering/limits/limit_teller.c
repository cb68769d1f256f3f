/*
 * limit_teller.c - which of the processes that share the counters tells of a threshold.
 *
 * The first that asks.  What it decides is kept in Redis beyond the window's end, so that a
 * process that asks again, after a restart too, gets the same answer.
 */
#include <stdio.h>
#include <string.h>

#include "metering/limits/limit_reader.h"

enum { KEEP_PAST_END_S = 86400 };

static int64_t keep_s(const struct limit_counter *c, int64_t now_us)
{
    int64_t left_s;

    if (c->end_us - now_us >= LIMIT_TELLER_KEEP_S * US_PER_SECOND)
        return LIMIT_TELLER_KEEP_S;
    left_s = (c->end_us - now_us) / US_PER_SECOND;
    return (left_s > 0 ? left_s : 0) + KEEP_PAST_END_S;
}

/* Of both commands the answers are taken, so that the connection stays in step. */
static enum rc take_teller(struct reader *r, char out[LIMIT_OWNER_MAX_BYTES + 1])
{
    void *first = NULL;
    redisReply *who;
    enum rc rc = RC_IO;

    if (redisGetReply(r->redis, &first) != REDIS_OK)
        return RC_IO;
    if (first && ((redisReply *)first)->type != REDIS_REPLY_ERROR)
        rc = RC_OK;
    freeReplyObject(first);
    who = reader_take(r, REDIS_REPLY_STRING);
    if (rc == RC_OK && who && who->len > 0 && who->len <= LIMIT_OWNER_MAX_BYTES) {
        memcpy(out, who->str, who->len);
        out[who->len] = '\0';
    } else {
        rc = RC_IO;
    }
    if (who)
        freeReplyObject(who);
    return rc;
}

enum rc limit_teller(const struct limiter_options *options, const struct limit_set *set,
                     const struct limit_counter *counter, uint64_t amount, unsigned percent,
                     int64_t now_us, char out[LIMIT_OWNER_MAX_BYTES + 1])
{
    struct reader r = {.set = set};
    char name[LIMIT_KEY_MAX_BYTES];
    struct claim_ref claim;
    enum rc rc;

    (void)snprintf(out, LIMIT_OWNER_MAX_BYTES + 1, "%s",
                   options->owner ? options->owner : OWNER_NONE);
    if (!options->redis_url)
        return RC_OK;
    if (!limit_counter_ref(set, counter, name, &claim))
        return RC_BAD;
    rc = reader_open(&r, options);
    if (rc == RC_OK &&
        (redisAppendCommand(r.redis, "SET %st:%u:%llu:%b %s NX EX %lld", r.prefix, percent,
                            (unsigned long long)amount, claim.key.p, claim.key.n, r.owner,
                            (long long)keep_s(counter, now_us)) != REDIS_OK ||
         redisAppendCommand(r.redis, "GET %st:%u:%llu:%b", r.prefix, percent,
                            (unsigned long long)amount, claim.key.p, claim.key.n) != REDIS_OK))
        rc = RC_IO;
    if (rc == RC_OK)
        rc = take_teller(&r, out);
    reader_close(&r);
    return rc;
}
