#include "metering/limits/limit_redis.h"

#include <stdlib.h>
#include <string.h>

#include <hiredis/async.h>
#include <openssl/evp.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/xalloc.h"

#include <limits.lua.h>

/* ---- answers --------------------------------------------------------------------- */

/* The admission leaves the engine; what was sent for it is returned. */
static void detach(struct redis_engine *e, struct admission *a)
{
    struct limit_op *op = a->op;

    list_remove(&a->queued);
    if (!op)
        return;
    a->op = NULL;
    op->a = NULL;
    if (op->is_sent)
        op_push_return(e, &a->id);
    else
        op_free(e, op);
}

static void answer_away(struct redis_engine *e, struct admission *a)
{
    detach(e, a);
    e->answer(e->arg, a, REDIS_AWAY, 0, NULL);
}

static void answer_all_away(struct redis_engine *e)
{
    while (!list_is_empty(&e->waiting))
        answer_away(e, LIST_OBJECT(e->waiting.next, struct admission, queued));
    work_all_away(e);
}

static void publish_state(struct redis_engine *e)
{
    atomic_store_explicit(&e->is_up, redis_engine_is_up(e), memory_order_relaxed);
}

/* ---- replies ---------------------------------------------------------------------- */

/* The script fails with this batch again and again: the others must go on. */
static void lose(struct redis_engine *e, struct batch *b, const char *why)
{
    uint64_t lost = 0;
    char quoted[256];

    LIST_FOREACH (at, &b->ops) {
        struct limit_op *op = LIST_OBJECT(at, struct limit_op, node);

        lost += op->type == OP_SETTLE || op->type == OP_FORCE ? 1 : op->order.n_spent;
        op_unkeep(e, op);
        if (op->a)
            answer_away(e, op->a);
    }
    stat_add(&e->lost, lost);
    log_line(LOG_ERROR, "limits", "redis cannot take settlements: rebuild the counters",
             "lost=%llu reason=%s", (unsigned long long)lost,
             log_quote(strv_z(why), quoted, sizeof(quoted)));
    batch_free(e, b);
}

/*
 * The script's, not a state that Redis is in and will leave.  Redis before 7 tells what a
 * command in a script was answered within a text of its own.
 */
static bool is_fault(struct strv error)
{
    static const char *const states[] = {"READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN",
                                         "NOREPLICAS", "MISCONF", "OOM", "BUSY"};

    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        if (memmem(error.p, error.n, states[i], strlen(states[i])))
            return false;
    }
    return strv_starts(error, STRV("ERR")) || strv_starts(error, STRV("WRONGTYPE"));
}

static void on_error(struct redis_engine *e, struct batch *b, const char *text)
{
    struct strv error = strv_z(text);

    if (strv_starts(error, STRV("NOSCRIPT"))) {
        e->wants_eval = true;
        e->must_replay = true;
        return;
    }
    if (topology_moved(e, error))
        return;
    if (topology_is_moving(e, error)) {
        e->must_replay = true;
        e->hold_us = clock_mono_us() + MOVING_POLL_MS * 1000;
        if (e->moving_us == 0)
            e->moving_us = clock_mono_us();
        return;
    }
    if (is_fault(error))
        b->faults++;
    if (b->faults >= BATCH_FAULTS_MAX)
        lose(e, b, text);
    link_fail(e, text);
}

static void on_empty(struct redis_engine *e)
{
    if (!atomic_load(&e->is_empty))
        log_line(LOG_WARN, "limits", "redis has no counters: waiting for them to be rebuilt",
                 "%s", "");
    atomic_store(&e->is_empty, true);
    e->must_replay = true;
    e->moving_us = 0;
    e->hold_us = clock_mono_us() + AWAIT_POLL_MS * 1000;
    e->heartbeat_us = 0; /* it was not heard */
    lease_itemize(e);
    answer_all_away(e);
}

static void on_applied(struct redis_engine *e, struct batch *b, struct reply_numbers *n)
{
    int64_t nodes = reply_number(n), at_us = reply_number(n);

    if (nodes > 0)
        atomic_store(&e->nodes, (unsigned)nodes);
    atomic_store(&e->is_empty, false);
    e->moving_us = 0;
    if (b->seq >= e->itemize_seq)
        e->itemize_seq = 0;
    link_good(e);
    reply_finish(e, b, n, at_us);
    if (n->is_bad)
        log_line(LOG_ERROR, "limits", "redis gave a reply that the script cannot give", "%s",
                 "");
}

static struct batch *first_on_wire(struct redis_engine *e)
{
    LIST_FOREACH (at, &e->batches) {
        struct batch *b = LIST_OBJECT(at, struct batch, node);

        if (b->on_wire)
            return b;
    }
    return NULL;
}

static void on_reply(struct redisAsyncContext *redis, void *reply, void *arg)
{
    struct redis_engine *e = arg;
    struct reply_numbers n = {.reply = reply};
    struct batch *b;

    if (redis != e->link.redis || !reply)
        return; /* the link's end is told by the link */
    e->link.has_answered = true;
    b = first_on_wire(e);
    ASSERT(b != NULL);
    b->on_wire = false;
    e->on_wire--;
    e->is_stalled = false;
    e->replied_us = clock_mono_us();
    if (n.reply->type == REDIS_REPLY_ERROR) {
        on_error(e, b, n.reply->str);
    } else if (n.reply->type != REDIS_REPLY_ARRAY) {
        on_error(e, b, "ERR not an array");
    } else {
        switch (reply_number(&n)) {
        case 0: /* applied */
        case 1: /* applied before */
            on_applied(e, b, &n);
            break;
        case 2: /* one before it is missing */
            e->must_replay = true;
            break;
        case 3:
            on_empty(e);
            break;
        default:
            on_error(e, b, "ERR not a status");
            break;
        }
    }
    publish_state(e);
}

/* ---- what the link tells ------------------------------------------------------------ */

void engine_on_down(struct redis_engine *e)
{
    e->on_wire = 0;
    e->moving_us = 0;
    e->must_replay = true;
    LIST_FOREACH (at, &e->batches) {
        struct batch *b = LIST_OBJECT(at, struct batch, node);

        b->on_wire = false;
        LIST_FOREACH_SAFE (op_at, &b->ops) {
            struct limit_op *op = LIST_OBJECT(op_at, struct limit_op, node);

            if (op->type == OP_RESERVE && !op->a) {
                op_free(e, op); /* it was given up, and its return is queued */
                b->n_ops--;
            }
        }
    }
    publish_state(e);
}

void engine_on_failed(struct redis_engine *e)
{
    answer_all_away(e);
}

/* ---- sending ------------------------------------------------------------------------- */

static bool send_batch(struct redis_engine *e, struct batch *b, int64_t now_us)
{
    const struct batch *first = LIST_OBJECT(e->batches.next, struct batch, node);
    struct wire_header header = {
        .instance = e->instance,
        .node = e->owner ? e->owner : memory_node(e->memory),
        .owner = e->owner ? e->owner : OWNER_NONE,
        .start = e->start,
        .seq = b->seq,
        .base = first->seq,
        .now_us = e->clock ? e->clock() : 0,
    };
    const char *argv[5] = {"EVALSHA", e->sha, "1", e->prefix, NULL};
    size_t lengths[5] = {7, sizeof(e->sha) - 1, 1, strlen(e->prefix), 0};
    enum rc rc;

    if (e->await_rebuild)
        header.flags |= WIRE_AWAIT;
    if (atomic_load(&e->is_empty))
        header.flags |= WIRE_AWAITED;
    if (now_us >= e->heartbeat_us) {
        header.flags |= WIRE_HEARTBEAT;
        e->heartbeat_us = now_us + LIMIT_HEARTBEAT_S * US_PER_SECOND;
    }
    if (e->wants_eval) {
        argv[0] = "EVAL";
        lengths[0] = 4;
        argv[1] = limits_lua;
        lengths[1] = sizeof(limits_lua) - 1;
        e->wants_eval = false;
    }
    buf_clear(&e->wire);
    rc = wire_encode(&header, b, &e->wire);
    ASSERT(rc == RC_OK); /* a batch's maxima are below the buffer's */
    argv[4] = buf_view(&e->wire).p;
    lengths[4] = buf_len(&e->wire);
    if (redisAsyncCommandArgv(e->link.redis, on_reply, e, 5, argv, lengths) != REDIS_OK) {
        link_fail(e, "could not send");
        return false;
    }
    if (e->on_wire++ == 0)
        e->sent_us = now_us;
    b->on_wire = true;
    stat_add(&e->script_calls, 1);
    return true;
}

static void send_all(struct redis_engine *e, int64_t now_us)
{
    bool has_sent = false;

    if (e->link.state != LINK_UP || e->is_unowned || e->hold_us != 0 ||
        (e->must_replay && e->on_wire > 0))
        return;
    e->must_replay = false;
    LIST_FOREACH (at, &e->batches) {
        struct batch *b = LIST_OBJECT(at, struct batch, node);

        if (e->on_wire >= BATCHES_ON_WIRE_MAX)
            break;
        if (b->on_wire)
            continue;
        if (!send_batch(e, b, now_us))
            return;
        has_sent = true;
    }
    while (e->on_wire < BATCHES_ON_WIRE_MAX &&
           (!list_is_empty(&e->queue) || (now_us >= e->heartbeat_us && e->on_wire == 0))) {
        if (!send_batch(e, batch_new(e), now_us))
            return;
        has_sent = true;
    }
    /* At once, not after the loop's next turn; may find the connection closed. */
    if (has_sent)
        redisAsyncHandleWrite(e->link.redis);
}

static void end_waits(struct redis_engine *e, int64_t now_us)
{
    while (!list_is_empty(&e->waiting)) {
        struct admission *a = LIST_OBJECT(e->waiting.next, struct admission, queued);

        if (now_us - a->started_us < e->timeout_us)
            return;
        if (e->link.state == LINK_UP && e->replied_us < a->started_us &&
            !(a->op && a->op->is_parked))
            e->is_stalled = true;
        stat_add(&e->timeouts, 1);
        answer_away(e, a);
    }
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t redis_engine_run(struct redis_engine *e)
{
    int64_t now_us = clock_mono_us(), next, lease_us, parked_us;

    link_run(e, now_us);
    end_waits(e, now_us);
    (void)work_end_waits(e, now_us);
    if (e->link.state == LINK_UP && e->on_wire > 0) {
        int64_t silent_us = e->sent_us > e->replied_us ? e->sent_us : e->replied_us;

        if (now_us - silent_us >= STALL_CLOSE_MS * 1000) {
            e->is_stalled = true;
            link_fail(e, "no answer");
        }
    }
    if (e->hold_us != 0 && now_us >= e->hold_us)
        e->hold_us = 0;
    parked_us = untold_run(e, now_us);
    lease_us = lease_run(e, now_us);
    send_all(e, now_us);
    publish_state(e);
    next = earlier(earlier(link_run(e, now_us), lease_us), parked_us);
    next = earlier(next, work_end_waits(e, now_us));
    if (!list_is_empty(&e->waiting)) {
        const struct admission *a = LIST_OBJECT(e->waiting.next, struct admission, queued);

        next = earlier(next, a->started_us + e->timeout_us);
    }
    if (e->hold_us != 0)
        next = earlier(next, e->hold_us);
    if (e->link.state == LINK_UP && !e->is_unowned)
        next = earlier(next, e->on_wire > 0 ? now_us + STALL_CLOSE_MS * 1000
                             : e->hold_us   ? e->hold_us
                                            : e->heartbeat_us);
    return next;
}

/* ---- the calls ------------------------------------------------------------------------- */

bool redis_engine_can_wait(const struct redis_engine *e)
{
    bool is_held = e->hold_us != 0;

    /* A slot is moved in milliseconds, as a rule. */
    if (e->moving_us != 0)
        is_held = clock_mono_us() - e->moving_us >= e->timeout_us;
    return !e->is_stalled && !is_held && !e->is_unowned && !atomic_load(&e->is_empty) &&
           (e->link.state == LINK_UP || !e->link.has_failed);
}

bool redis_engine_reserve(struct redis_engine *e, struct admission *a,
                          const struct claim_ref *claims, size_t n)
{
    struct limit_op *op;

    if (!redis_engine_can_wait(e))
        return false;
    op = op_new(e, OP_RESERVE, &a->id, claims, n);
    op->a = a;
    op->started_us = a->started_us;
    a->op = op;
    if (!untold_park(e, op))
        list_push_back(&e->queue, &op->node);
    list_push_back(&e->waiting, &a->queued);
    return true;
}

void redis_engine_cancel(struct redis_engine *e, struct admission *a)
{
    detach(e, a);
}

/* Of what Redis does not know: until it is answered, other workers wait. */
static void tells_anew(struct redis_engine *e, struct limit_op *op)
{
    op->is_untold = true;
    untold_begin(e);
}

void redis_engine_force(struct redis_engine *e, struct admission *a,
                        const struct claim_ref *claims, size_t n)
{
    struct limit_op *op = op_new(e, OP_FORCE, &a->id, claims, n);

    op->a = a;
    op->started_us = a->started_us;
    op->lasts_us = LIMIT_DEADLINE_S * US_PER_SECOND;
    a->op = op;
    tells_anew(e, op);
    op_keep(e, op);
}

void redis_engine_restore(struct redis_engine *e, const struct admission *a,
                          const struct claim_ref *claims, size_t n)
{
    struct limit_op *op = op_new(e, OP_FORCE, &a->id, claims, n);

    op->started_us = a->started_us;
    op->lasts_us = LIMIT_DEADLINE_S * US_PER_SECOND;
    tells_anew(e, op);
    op_keep(e, op);
}

void redis_engine_hold(struct redis_engine *e, const struct uuid *work,
                       const struct claim_ref *claims, size_t n, int64_t started_us)
{
    struct limit_op *op = op_new(e, OP_FORCE, work, claims, n);

    op->started_us = started_us;
    op->lasts_us = LIMIT_HOLD_S * US_PER_SECOND;
    if (!redis_engine_is_up(e))
        tells_anew(e, op);
    op_keep(e, op);
}

void redis_engine_settle(struct redis_engine *e, struct admission *a,
                         const struct claim_ref *claims, size_t n,
                         const struct limit_amounts *actual, bool is_local)
{
    struct limit_op *op = a->op;
    bool is_untold = op != NULL;

    if (op) { /* Redis never heard of it, nor need it */
        op_unkeep(e, op);
        op_free(e, op);
    }
    op = op_new(e, OP_SETTLE, &a->id, claims, n);
    op->is_local = is_local;
    if (is_untold)
        tells_anew(e, op);
    op->started_us = a->started_us;
    op->settled_us = a->ended_us > 0 ? a->ended_us : clock_steady_us();
    op->actual = *actual;
    op_keep(e, op);
}

void redis_engine_settle_id(struct redis_engine *e, const struct uuid *id,
                            const struct limit_amounts *actual)
{
    struct limit_op *op = op_new(e, OP_SETTLE, id, NULL, 0);

    op->settled_us = clock_steady_us();
    op->actual = *actual;
    op_keep(e, op);
}

void redis_engine_extend(struct redis_engine *e, const struct uuid *id)
{
    if (redis_engine_is_up(e))
        list_push_back(&e->queue, &op_new(e, OP_EXTEND, id, NULL, 0)->node);
}

bool redis_engine_is_up(const struct redis_engine *e)
{
    return e->link.state == LINK_UP && !e->is_stalled && e->hold_us == 0 && !e->is_unowned;
}

struct redis_engine *redis_engine_new(const struct limiter_options *options,
                                      const struct redis_target *target,
                                      struct limit_memory *memory, redis_answer_fn *answer,
                                      void *arg)
{
    struct redis_engine *e = xcalloc(1, sizeof(*e));
    unsigned char random[(INSTANCE_TEXT - 1) / 2], digest[20];
    unsigned n = 0;

    e->link.target = *target;
    e->link.attach = options->attach;
    e->link.loop = options->loop;
    e->prefix = xasprintf("{%.*s}:", LIMIT_NAME_SPACE_MAX_BYTES, options->name_space);
    e->owner = options->owner ? xstrdup(options->owner) : NULL;
    e->is_unowned = options->await_owner;
    e->start = options->start;
    e->timeout_us = (int64_t)options->timeout_ms * 1000;
    e->await_rebuild = options->await_rebuild;
    e->with_leases = options->leases;
    e->batch_max = options->batch > 0 && options->batch < LIMIT_BATCH_MAX ? options->batch
                                                                         : LIMIT_BATCH_MAX;
    e->lease_us = INT64_MAX;
    e->memory = memory;
    e->answer = answer;
    e->arg = arg;
    e->next_seq = 1;
    atomic_init(&e->nodes, 1);
    list_init(&e->queue);
    list_init(&e->parked);
    list_init(&e->batches);
    list_init(&e->waiting);
    list_init(&e->asking);
    list_init(&e->leases);
    buf_init(&e->wire, BATCH_MAX_BYTES);
    digest_random(random, sizeof(random));
    digest_hex(random, sizeof(random), e->instance);
    ASSERT(EVP_Digest(limits_lua, sizeof(limits_lua) - 1, digest, &n, EVP_sha1(), NULL) == 1 &&
           n == sizeof(digest));
    digest_hex(digest, sizeof(digest), e->sha);
    link_open(e);
    return e;
}

void redis_engine_own(struct redis_engine *e, const char *owner, int64_t start)
{
    if (!e->is_unowned)
        return;
    e->owner = xstrdup(owner);
    e->start = start;
    e->is_unowned = false;
}

void redis_engine_free(struct redis_engine *e)
{
    if (!e)
        return;
    answer_all_away(e);
    link_close(e);
    LIST_FOREACH_SAFE (at, &e->batches)
        batch_free(e, LIST_OBJECT(at, struct batch, node));
    LIST_FOREACH_SAFE (at, &e->queue)
        op_free(e, LIST_OBJECT(at, struct limit_op, node));
    lease_free_all(e);
    buf_release(&e->wire);
    free(e->keys);
    free(e->owner);
    free(e->prefix);
    free(e);
}
