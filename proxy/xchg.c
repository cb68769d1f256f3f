/*
 * xchg.c - the life of one exchange: start here.
 *
 *   HEAD     the request head: who (key, tags), where (upstream, endpoint)
 *   BODY     the body, kept whole where the meter needs it; what (model, stream, bounds)
 *   ADMIT    the worst case is priced and reserved in every limit it touches, or refused
 *   PROMPT   where one of those asks for it, the prompt is counted by its tokens first
 *   BEGIN    the journal has it on disk before a provider can bill it
 *   CONNECT  a connection to the upstream, idle or new
 *   RELAY    request up, answer down, both at once; the tap reads usage as it passes
 *   DRAIN    the client has left: the rest of the answer is read for its usage
 *   DESK     budget and usage of a key, read by a thread of their own
 *   REPLY    an answer of our own: a refusal, or a route below /_tollgate/
 *   SOCKET   the connection became a WebSocket: frames both ways
 *   TURN     one call on it, as an exchange of its own, from its message to its answer's end
 *   SETTLE   usage, price, journal END, limits settled, log line: once, whatever happened
 *
 *   HEAD -> BODY -> ADMIT -> BEGIN -> CONNECT -> RELAY -> SETTLE
 *     \________\_______\_______\________\_______/ \-> DRAIN -> SETTLE
 *                 REPLY -> SETTLE          BODY -> DESK -> REPLY     ADMIT -> PROMPT -> ADMIT
 *   HEAD -> BEGIN -> CONNECT -> RELAY -> SOCKET -> SETTLE
 *                 TURN_START -> ADMIT -> BEGIN -> TURN -> SETTLE
 *
 * Each state is one function; a transition is a return statement.  Callbacks only
 * wake; a wake is a hint and the state looks for itself, so that an early, late or
 * doubled one does no harm.  Every exchange passes SETTLE exactly once.
 *
 * This file is the driver.  The states are in xchg_request.c (HEAD, BODY), xchg_admit.c
 * (ADMIT, BEGIN), xchg_prompt.c (PROMPT), xchg_relay.c (CONNECT, RELAY, DRAIN), xchg_reply.c (REPLY),
 * xchg_desk.c (DESK), xchg_socket.c (SOCKET), xchg_turn.c (TURN_START, TURN) and xchg_settle.c
 * (SETTLE).
 */
#include <stddef.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "proxy/xchg_socket.h"

static const char *const end_names[] = {
#define END_NAME(id, name) [id] = name,
    END_REASONS(END_NAME)
#undef END_NAME
};

const char *end_reason_name(enum end_reason reason)
{
    return end_names[reason];
}

enum step xchg_go(struct xchg *x, const struct xchg_state *state)
{
    if (log_wants(LOG_DEBUG))
        log_line(LOG_DEBUG, "xchg", "state", "id=%s from=%s to=%s", x->id_text, x->state->name,
                 state->name);
    x->state = state;
    x->fresh = true;
    x->deadline_us = INT64_MAX;
    return STEP_AGAIN;
}

/*
 * The state wants none of what has woken it, which a socket would tell in each turn from now on.  It
 * is asked for again where it is wanted: by a state that is entered, by the next read or write.
 */
static void hush(struct xchg *x)
{
    if (x->conn && (x->pending & WAKE_CLIENT_IN)) {
        io_want_read(&x->conn->io, false);
        x->is_hushed = true;
    }
    if (x->conn && (x->pending & WAKE_CLIENT_OUT))
        io_write_done(&x->conn->io);
    if (x->up && (x->pending & WAKE_UPSTREAM_IN))
        io_want_read(&x->up->io, false);
    if (x->up && (x->pending & WAKE_UPSTREAM_OUT))
        io_write_done(&x->up->io);
}

COLD static void listen_again(struct xchg *x)
{
    if (!(x->state->wakes & WAKE_CLIENT_IN) || !x->conn || x->client_gone)
        return;
    x->is_hushed = false;
    io_want_read(&x->conn->io, true);
}

bool xchg_minds_client(const struct xchg *x)
{
    return (x->state->wakes & WAKE_CLIENT_IN) && x->state != &S_SOCKET;
}

enum step xchg_end(struct xchg *x, enum end_reason reason)
{
    if (x->end == END_NONE)
        x->end = reason;
    return xchg_go(x, &S_SETTLE);
}

void xchg_again(struct xchg *x)
{
    list_remove(&x->ready);
    list_push_back(&x->worker->ready, &x->ready);
    x->is_ready = true;
}

bool xchg_client_left(struct xchg *x)
{
    if (x->turn)
        return x->client_gone;
    if (!x->conn || x->client_gone)
        return true;
    if ((x->woken & WAKE_CLIENT_IN) && conn_is_gone(x->conn))
        x->client_gone = true;
    return x->client_gone;
}

/* The process ends now: whoever still runs is told, recorded and let go. */
static enum step stop_now(struct xchg *x)
{
    bool can_say = x->conn && !x->client_gone && x->state != &S_HEAD && x->state != &S_REPLY;

    if (x->end == END_NONE)
        x->end = END_STOPPED;
    x->close_client = true;
    if (x->state == &S_SOCKET)
        return socket_stop(x);
    upstream_cancel(&x->wait);
    if (can_say && !x->answer.head_sent)
        return xchg_refuse(x, REFUSE_DRAINING, "the gateway is shutting down");
    if (x->state == &S_RELAY)
        answer_cut(x, REFUSE_DRAINING, "the gateway is shutting down");
    if (client_flush(x) == RC_EOF)
        x->client_gone = true;
    return xchg_end(x, END_STOPPED);
}

static void retire(struct xchg *x)
{
    struct conn *c = x->conn;
    struct worker *w = x->worker;
    bool keep = c && !x->close_client && x->body_done && !x->client_gone;

    x->conn = NULL;
    x->is_ready = false;
    list_remove(&x->ready);
    list_remove(&x->live);
    list_push_back(&w->dead_xchgs, &x->ready);
    w->n_running--;
    stat_sub(&w->stats.requests_running, 1);
    if (c)
        conn_exchange_done(c, keep);
}

/* now_us: just read (clock_mono_us). */
static void run(struct xchg *x, int64_t now_us)
{
    enum step step = STEP_WAIT;

    if (x->is_ready) { /* this is its run: where it waits next, it stands in no other list */
        list_remove(&x->ready);
        x->is_ready = false;
        x->pending |= WAKE_RUN;
    }
    x->running = true;
    x->worker->now_us = now_us;
    for (;;) {
        unsigned stop = x->pending & (WAKE_TIMEOUT | WAKE_STOP);

        if (stop && x->state != &S_SETTLE) {
            x->pending &= ~(unsigned)(WAKE_TIMEOUT | WAKE_STOP);
            if (!(stop & WAKE_STOP) && x->fresh) { /* that deadline was the last state's */
                step = STEP_AGAIN;
                continue;
            }
            step = (stop & WAKE_STOP) ? stop_now(x) : x->state->timeout(x);
        } else if (!x->fresh && step == STEP_WAIT && !(x->pending & x->state->wakes)) {
            hush(x);
            x->pending = 0; /* stale: the state that wanted it is gone */
            break;
        } else {
            x->woken = x->pending & x->state->wakes;
            x->pending &= ~x->state->wakes;
            x->fresh = false;
            if (x->is_hushed)
                listen_again(x);
            step = x->state->run(x);
        }
        if (step == STEP_DONE)
            break;
    }
    x->running = false;
    worker_took(x->worker, 1);
    if (step == STEP_DONE)
        retire(x);
}

void xchg_within(struct xchg *x, int64_t ms)
{
    x->deadline_us = x->worker->now_us + ms * 1000;
    worker_expect(x->worker);
}

/* ---- beginning and end of the object ------------------------------------------------- */

struct spare_cost {
    struct spare_cost *next; /* of worker->spare_costs */
    struct cost cost;
};

struct cost *xchg_cost(struct xchg *x)
{
    struct worker *w = x->worker;
    struct spare_cost *spare = w->spare_costs;

    if (x->cost)
        return x->cost;
    if (spare) {
        w->spare_costs = spare->next;
        w->n_spare_costs--;
    } else {
        spare = xmalloc(sizeof(*spare));
        held_add(sizeof(*spare));
    }
    x->cost = &spare->cost;
    return x->cost;
}

static void free_spare_cost(struct spare_cost *spare)
{
    held_sub(sizeof(*spare));
    free(spare);
}

void xchg_cost_rest(struct xchg *x)
{
    struct worker *w = x->worker;
    struct spare_cost *spare;

    if (!x->cost)
        return;
    spare = LIST_OBJECT(x->cost, struct spare_cost, cost);
    x->cost = NULL;
    if (w->n_spare_costs == XCHG_POOL_MAX) {
        free_spare_cost(spare);
        return;
    }
    spare->next = w->spare_costs;
    w->spare_costs = spare;
    w->n_spare_costs++;
}

/*
 * As new, but for the memory that it keeps from one exchange to the next, and for the
 * array at the end, which says how much of it is meant.
 */
static void clear(struct xchg *x)
{
    struct arena arena = x->arena;
    struct hold body = x->body;
    struct buf out = x->out, up_buf = x->up_buf, held = x->answer.held;
    struct tap *used_tap = x->used_tap;

    memset(x, 0, offsetof(struct xchg, admission));
    x->arena = arena;
    x->body = body;
    x->out = out;
    x->up_buf = up_buf;
    x->answer.held = held;
    x->used_tap = used_tap;
    x->admission.n_claims = 0;
    x->admission.denial = (struct limit_denial){.def = NULL};
    x->admission.verdict = LIMIT_PENDING;
}

static struct xchg *take(struct worker *w)
{
    struct xchg *x;

    if (!list_is_empty(&w->free_xchgs)) {
        x = LIST_OBJECT(w->free_xchgs.next, struct xchg, ready);
        list_remove(&x->ready);
        w->n_free_xchgs--;
        clear(x);
    } else {
        x = xcalloc(1, sizeof(*x));
        held_add(sizeof(*x));
        arena_init(&x->arena, XCHG_ARENA_BYTES);
    }
    return x;
}

void xchg_wake(struct xchg *x, unsigned why)
{
    ASSERT(x->magic == XCHG_MAGIC);
    x->pending |= why;
    if (!x->running) /* else the loop that runs will see it */
        run(x, clock_mono_us());
}

static struct xchg *start(struct worker *w, const struct xchg_state *state)
{
    struct xchg *x = take(w);

    x->magic = XCHG_MAGIC;
    x->worker = w;
    x->pools = pools_ref(w->pools);
    x->config = x->pools->generation->config;
    list_init(&x->ready);
    x->deadline_us = INT64_MAX;
    x->arena.max = XCHG_ARENA_BYTES + 2 * x->config->bounds.head_bytes;
    buf_init(&x->answer.head_in, RESPONSE_HEAD_BYTES + SCRATCH_BYTES);
    buf_init(&x->answer.pass, OUT_SLACK_BYTES);
    x->answer.held.max = x->config->bounds.hold_bytes + OUT_SLACK_BYTES;
    x->out.max = x->config->bounds.hold_bytes + 2 * OUT_SLACK_BYTES;
    x->up_buf.max = OUT_SLACK_BYTES + x->config->bounds.head_bytes;
    x->start_us = clock_mono_us();
    x->start_wall_us = clock_steady_us();
    x->first_byte_us = -1;
    x->state = state;
    x->fresh = true;
    uuid7_make(&x->id, x->start_wall_us);
    uuid_format(&x->id, x->id_text);
    w->n_running++;
    stat_add(&w->stats.requests_running, 1);
    return x;
}

struct xchg *xchg_start_turn(struct xchg *parent)
{
    struct xchg *x = start(parent->worker, &S_TURN_START);

    /* Before its socket: see xchg_socket.h. */
    list_push_front(&parent->worker->live, &x->live);
    return x;
}

void xchg_start(struct conn *c, bool now)
{
    struct worker *w = c->worker;
    struct xchg *x = start(w, &S_HEAD);

    x->conn = c;
    c->xchg = x;
    list_push_back(&w->live, &x->live);
    if (now)
        run(x, x->start_us);
    else
        xchg_again(x);
}

/* Small buffers serve the next exchange; large ones are given back. */
static void keep_or_release(struct buf *b)
{
    if (b->cap > KEEP_BYTES)
        buf_release(b);
    else
        buf_clear(b);
}

static void release_memory(struct xchg *x)
{
    hold_release(&x->body);
    buf_release(&x->out);
    buf_release(&x->up_buf);
    buf_release(&x->answer.held);
    tap_free(x->used_tap);
    arena_release(&x->arena);
}

static void release(struct xchg *x)
{
    if (x->body.cap > KEEP_BYTES + HOLD_FRONT_BYTES)
        hold_release(&x->body);
    else
        hold_clear(&x->body);
    xchg_cost_rest(x);
    duplex_release(x);
    upload_release(x);
    pages_release(x);
    links_free(x->links);
    x->links = NULL;
    buf_release(&x->answer.head_in);
    buf_release(&x->answer.pass);
    keep_or_release(&x->answer.held);
    keep_or_release(&x->out);
    keep_or_release(&x->up_buf);
    if (x->tap) {
        tap_rest(x->tap);
        x->used_tap = x->tap;
        x->tap = NULL;
    }
    socket_free(x->socket);
    x->socket = NULL;
    pools_unref(x->pools);
    x->pools = NULL;
    arena_reset(&x->arena);
    x->magic = 0;
}

void xchg_reap(struct worker *w)
{
    LIST_FOREACH_SAFE (at, &w->dead_xchgs) {
        struct xchg *x = LIST_OBJECT(at, struct xchg, ready);

        list_remove(at);
        release(x);
        if (w->n_free_xchgs < XCHG_POOL_MAX) {
            list_push_front(&w->free_xchgs, &x->ready);
            w->n_free_xchgs++;
        } else {
            release_memory(x);
            held_sub(sizeof(*x));
            free(x);
        }
    }
}

void xchg_pool_free(struct worker *w)
{
    LIST_FOREACH_SAFE (at, &w->free_xchgs) {
        struct xchg *x = LIST_OBJECT(at, struct xchg, ready);

        list_remove(at);
        release_memory(x);
        held_sub(sizeof(*x));
        free(x);
    }
    w->n_free_xchgs = 0;
    w->n_spare_costs = 0;
    while (w->spare_costs) {
        struct spare_cost *spare = w->spare_costs;

        w->spare_costs = spare->next;
        free_spare_cost(spare);
    }
}

/* ---- for the worker's loop -------------------------------------------------------------- */

/* Empties a list and wakes all that were on it; one that asks again waits for the next turn. */
static void wake_list(struct list_node *list, unsigned why)
{
    struct list_node now;

    list_move(list, &now);
    while (!list_is_empty(&now)) {
        struct xchg *x = LIST_OBJECT(now.next, struct xchg, ready);

        list_remove(&x->ready);
        xchg_wake(x, why);
    }
}

void xchg_run_ready(struct worker *w)
{
    struct list_node now;

    list_move(&w->ready, &now);
    while (!list_is_empty(&now) && !worker_turn_is_full(w)) {
        struct xchg *x = LIST_OBJECT(now.next, struct xchg, ready);

        list_remove(&x->ready);
        xchg_wake(x, WAKE_RUN);
    }
    /* The rest comes first in the next round: those that asked again stand behind it. */
    while (!list_is_empty(&now)) {
        struct list_node *last = now.prev;

        list_remove(last);
        list_push_front(&w->ready, last);
    }
}

void xchg_journal_written(struct worker *w, bool well)
{
    wake_list(&w->journal_waiters, well ? WAKE_JOURNAL : WAKE_NO_JOURNAL);
}

void xchg_journal_synced(struct worker *w)
{
    wake_list(&w->sync_waiters, WAKE_JOURNAL);
}

/*
 * What comes behind one that was woken, which may have ended others: a pool's queue moves on.  Where the
 * next has ended too, from the front again; its memory is there until the turn ends.
 */
static struct list_node *after_wake(struct worker *w, struct list_node *next)
{
    return next == &w->live || next->next != next ? next : w->live.next;
}

void xchg_stop_all(struct worker *w)
{
    struct list_node *next;

    w->stops++;
    for (struct list_node *at = w->live.next; at != &w->live; at = after_wake(w, next)) {
        struct xchg *x = LIST_OBJECT(at, struct xchg, live);

        next = at->next;
        if (x->stops == w->stops)
            continue;
        x->stops = w->stops;
        xchg_wake(x, WAKE_STOP);
    }
}

void xchg_look_at_sockets(struct worker *w)
{
    LIST_FOREACH (at, &w->live) {
        struct xchg *x = LIST_OBJECT(at, struct xchg, live);

        if (x->state == &S_SOCKET) {
            x->socket->is_checked = false;
            xchg_again(x);
        } else if (x->duplex && x->state == &S_RELAY) {
            duplex_look(x);
            xchg_again(x);
        }
    }
}

bool xchg_check_deadlines(struct worker *w)
{
    int64_t now_us = clock_mono_us();
    struct list_node *next;

    for (struct list_node *at = w->live.next; at != &w->live; at = after_wake(w, next)) {
        struct xchg *x = LIST_OBJECT(at, struct xchg, live);

        next = at->next;
        if (x->deadline_us <= now_us) {
            x->deadline_us = INT64_MAX;
            xchg_wake(x, WAKE_TIMEOUT);
        }
    }
    return !list_is_empty(&w->live);
}

/* Longer than Redis may take to answer. */
enum { RESTORE_AGAIN_US = 5000000 };

void xchg_tick(struct worker *w)
{
    int64_t now_us = clock_mono_us();

    LIST_FOREACH (at, &w->live) {
        struct xchg *x = LIST_OBJECT(at, struct xchg, live);

        if (x->reserved && now_us >= x->extend_us) {
            x->extend_us = now_us + LIMIT_DEADLINE_S * US_PER_SECOND / 3;
            if (x->is_in_doubt) {
                limiter_restore(w->limiter, &x->admission);
                grow_restore(x);
            }
            x->is_in_doubt = false;
            limiter_extend(w->limiter, &x->admission);
            grow_extend(x);
        }
    }
}

/*
 * What is admitted now was perhaps reserved before, and is told only now: it is looked at once
 * more, when every such answer has come.
 */
void xchg_restore(struct worker *w)
{
    int64_t now_us = clock_mono_us();

    LIST_FOREACH (at, &w->live) {
        struct xchg *x = LIST_OBJECT(at, struct xchg, live);

        x->is_in_doubt = true;
        x->extend_us = now_us + RESTORE_AGAIN_US;
        if (x->reserved) {
            limiter_restore(w->limiter, &x->admission);
            grow_restore(x);
        }
    }
}
