/*
 * xchg_collect.c - answers that tell of work which another request began, and that other
 * requests, on other nodes too, may tell of again.
 *
 * Each is counted once, by whoever comes first.  The workers of a process agree through
 * `collected`, the processes through Redis: a fetch asks first what the others have counted
 * (with its admission: no call more), and claims what it then counts; the record waits for
 * the answer, the client only where the cost stands in the head that it waits for.  Where
 * Redis does not answer in time, what is known here decides, and two nodes may count the same
 * answer; that is found when Redis is back, and logged.
 *
 * Until the result is collected the request that began the work has its worst case reserved
 * under the work's id (limiter_hold), at most LIMIT_HOLD_S.
 */
#include <stdio.h>

#include "base/check.h"
#include "proxy/collected.h"
#include "proxy/server.h"
#include "proxy/xchg_int.h"

enum { STATUS_PARTIAL_CONTENT = 206 };

static void on_verdict(void *arg)
{
    xchg_wake(arg, WAKE_LIMIT);
}

static void start(struct xchg *x, struct strv answer, uint64_t from, uint64_t to)
{
    struct collecting *c = &x->collecting;

    c->key = collected_key(strv_z(x->upstream->name), answer);
    collected_work(strv_z(x->upstream->name), answer, &c->claim.work);
    c->claim.from = from;
    c->claim.to = to;
    c->claim.wake = on_verdict;
    c->claim.arg = x;
    c->is_asking = true;
    limiter_claim(x->worker->limiter, &c->claim);
}

/* The verdict, once it stands. */
static void take_verdict(struct xchg *x)
{
    struct collecting *c = &x->collecting;
    struct collected *collected = server_collected(x->worker->server);

    c->is_asking = false;
    if (c->claim.verdict != WORK_OTHERS)
        return;
    if (c->claim.to > 0) {
        c->is_counted = true;
        collected_set(collected, c->key, c->claim.known);
        if (c->claim.known < c->claim.to)
            collected_void(collected, c->key, &x->id);
    } else {
        collected_learn(collected, c->key, c->claim.known);
    }
}

void collect_ask(struct xchg *x)
{
    if (x->route.endpoint->kind == ENDPOINT_FETCHED && x->route.path_id.n > 0 &&
        !x->route.is_by_name && !x->route.is_session)
        start(x, x->route.path_id, 0, 0);
}

bool collect_is_asking(struct xchg *x)
{
    if (x->pages && x->collecting.begun)
        return pages_ask(x);
    if (x->session && x->collecting.begun)
        return session_ask(x);
    if (!x->collecting.is_asking)
        return false;
    if (x->collecting.claim.verdict == WORK_PENDING)
        return true;
    take_verdict(x);
    return false;
}

/* What it is kept under: an answer need not name itself as its path does. */
static struct strv kept_id(const struct xchg *x, const struct tap_result *seen)
{
    if (x->route.is_by_path ||
        (seen->kept_id[0] == '\0' && usage_has(&seen->usage, USAGE_VIDEO_MS)))
        return x->route.path_id;
    return strv_z(seen->kept_id);
}

/* An answer that tells the same usage to whoever fetches it; false: it does not. */
static bool is_kept(const struct xchg *x, const struct tap_result *seen)
{
    if (kept_id(x, seen).n == 0 || !seen->has_usage)
        return false;
    return x->route.endpoint->kind == ENDPOINT_METERED ||
           (seen->usage_is_final && x->upstream_status != STATUS_PARTIAL_CONTENT);
}

/* Of two who are told of it at once one counts it.  What they do is noted first: a process that is
 * killed from here on has counted all of it, or nothing. */
static void claim(struct xchg *x, struct strv answer, uint64_t from, uint64_t to)
{
    struct collected *collected = server_collected(x->worker->server);
    uint64_t key = collected_key(strv_z(x->upstream->name), answer);

    x->collecting.is_counted = !collected_take(collected, key, from, to);
    if (x->collecting.is_counted)
        return;
    /* The record of a call that was itself the work has an estimate at the least, and counts. */
    if (x->route.endpoint->kind == ENDPOINT_METERED)
        collected_keep(collected, key);
    else
        collected_note(collected, key, from, to, &x->id);
    start(x, answer, from, to);
}

bool collect_claim(struct xchg *x)
{
    struct collecting *c = &x->collecting;
    const struct tap_result *seen = settle_seen(x);
    uint64_t from, to;

    if (c->begun)
        return collect_is_asking(x);
    collect_cancel(x);
    c->begun = true;
    c->key = 0;
    if (!x->upstream_tried || !x->tap)
        return false;
    if (x->pages)
        return pages_ask(x);
    if (x->session)
        return session_ask(x);
    if (count_claimed(x, &from, &to))
        claim(x, x->route.path_id, from, to);
    else if (is_kept(x, seen))
        claim(x, kept_id(x, seen), 0, 1);
    return collect_is_asking(x);
}

void collect_cancel(struct xchg *x)
{
    pages_cancel(x);
    session_cancel(x);
    if (x->noted)
        noted_cancel(x->noted);
    if (!x->collecting.is_asking)
        return;
    limiter_claim_cancel(&x->collecting.claim);
    take_verdict(x);
}

void collect_release(struct xchg *x, const struct uuid *work)
{
    static const struct limit_amounts nothing;

    limiter_settle_id(x->worker->limiter, work, &nothing);
}

void collect_done(struct xchg *x, bool all)
{
    struct collecting *c = &x->collecting;

    if (c->key != 0 && all)
        collect_release(x, &c->claim.work);
}

void collect_failed(struct xchg *x)
{
    const struct tap_result *seen = settle_seen(x);
    struct strv answer = x->route.path_id.n ? x->route.path_id : strv_z(seen->work_id);
    struct uuid work;

    if (answer.n == 0)
        return;
    collected_work(strv_z(x->upstream->name), answer, &work);
    collect_release(x, &work);
}

uint64_t collect_note_key(const struct xchg *x, struct strv answer, const char *what)
{
    char text[TAP_ID_MAX_BYTES + 32];
    int n = snprintf(text, sizeof(text), "%.*s~%s", (int)answer.n, answer.p, what);

    return collected_key(strv_z(x->upstream->name), strv_make(text, (size_t)n));
}

void collect_note(struct xchg *x, struct strv work, const char *what, uint64_t n)
{
    struct collected *collected = server_collected(x->worker->server);
    uint64_t key;

    if (work.n == 0 || work.n >= TAP_ID_MAX_BYTES)
        return;
    key = collect_note_key(x, work, what);
    collected_set(collected, key, n);
    collected_keep(collected, key);
}

void collect_note_more(struct xchg *x, struct strv work, const char *what, uint64_t n)
{
    struct collected *collected = server_collected(x->worker->server);
    uint64_t key;

    if (work.n == 0 || work.n >= TAP_ID_MAX_BYTES)
        return;
    key = collect_note_key(x, work, what);
    collected_add(collected, key, n);
    collected_keep(collected, key);
}

uint64_t collect_noted(const struct xchg *x, struct strv work, const char *what)
{
    if (work.n == 0 || work.n >= TAP_ID_MAX_BYTES)
        return 0;
    return collected_known(server_collected(x->worker->server), collect_note_key(x, work, what));
}

/* What a call adds to a work is held by itself: there may be more of them. */
static void work_of_added(const struct xchg *x, struct uuid *work)
{
    struct strv first = x->brought ? x->brought->name : STRV_NONE, text = x->route.path_id;
    char name[PAGES_NAME_BYTES];

    if (first.n > 0)
        pages_name(x->route.path_id, first, name, &text);
    collected_work(strv_z(x->upstream->name), text, work);
}

/* Its answer did not tell what it took, and nobody will. */
static bool is_untold(const struct xchg *x)
{
    return x->facts.audio_is_guess && x->upstream_status / 100 == 2;
}

bool collect_hold(struct xchg *x)
{
    const struct tap_result *seen = settle_seen(x);
    struct strv upstream = strv_z(x->upstream->name);
    struct uuid work;

    if (x->session)
        return session_hold(x);
    if (x->brought && x->brought->is_empty)
        return false;
    if (!(seen->pending || is_untold(x)) || x->route.endpoint->kind != ENDPOINT_METERED ||
        x->usage_source != USAGE_NONE)
        return false;
    /* The answers that tell of videos do not all say how long they are. */
    if (x->facts.films && x->facts.video_ms > 0)
        collect_note(x, strv_z(seen->work_id), "ms", x->facts.video_ms);
    if (x->route.is_unnamed)
        noted_tell(x, strv_z(seen->work_id), noted_number(x->facts.model));
    if (x->route.path_id.n > 0) {
        work_of_added(x, &work);
    } else if (seen->work_id[0] == '\0') {
        work = x->id;
        work.b[6] = (unsigned char)((work.b[6] & 0x0f) | 0x80);
    } else if (collected_known(server_collected(x->worker->server),
                               collected_key(upstream, strv_z(seen->work_id))) > 0) {
        return false; /* it was fetched while this answer still went to its client */
    } else {
        collected_work(upstream, strv_z(seen->work_id), &work);
    }
    limiter_hold(x->worker->limiter, &x->admission, &work);
    return true;
}

/* ---- COLLECT: the whole answer is held, its cost is to stand in the head ------------ */

static enum step st_collect(struct xchg *x)
{
    if (xchg_client_left(x))
        return xchg_end(x, END_CLIENT_GONE);
    if (collect_is_asking(x))
        return STEP_WAIT;
    if (answer_release(x) != RC_OK)
        return xchg_end(x, END_CLIENT_GONE);
    return xchg_go(x, &S_RELAY);
}

/* The limiter bounds it. */
const struct xchg_state S_COLLECT = {"collect", st_collect, WAKE_LIMIT | WAKE_CLIENT_IN,
                                     st_collect};
