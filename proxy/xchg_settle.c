/*
 * xchg_settle.c - SETTLE: journal, limits, log.  The only way out.
 */
#include <inttypes.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "metering/ledger/record_part.h"
#include "proxy/learnt.h"
#include "proxy/repeats.h"
#include "proxy/server_int.h"
#include "proxy/xchg_socket.h"

enum {
    REPEAT_WITHIN_S = 86400, /* how long an answer might have been kept */
    CACHE_WITHIN_S = 300,    /* how long providers keep a prompt's beginning at least */
};

enum outcome settle_outcome(const struct xchg *x)
{
    const struct tap_result *seen = settle_seen(x);

    switch (x->end) {
    case END_CLIENT_GONE:
    case END_CLIENT_SLOW:
        /* After its terminator a stream is whole: clients hang up there. */
        if (seen->end == TAP_END_COMPLETE && x->client_had_all)
            return OUTCOME_OK;
        return OUTCOME_CLIENT_ABORT;
    case END_CONNECT_FAILED:
    case END_UPSTREAM_GONE:
    case END_UPSTREAM_BAD:
        return OUTCOME_UPSTREAM_ABORT;
    case END_UPSTREAM_TIMEOUT:
        return OUTCOME_TIMEOUT;
    case END_CUT:
        return OUTCOME_CUT;
    case END_STOPPED:
        return OUTCOME_INTERRUPTED;
    case END_REFUSED: /* by us, after BEGIN: what the client sent could not be passed on */
        return x->upstream_tried ? OUTCOME_CLIENT_ABORT : OUTCOME_INTERRUPTED;
    case END_NONE:
    case END_OK:
    case END_OWN_REPLY:
        break;
    }
    if (x->upstream_status >= 400 || seen->end == TAP_END_ERROR)
        return OUTCOME_PROVIDER_ERROR;
    if (seen->end == TAP_END_TRUNCATED)
        return OUTCOME_TRUNCATED;
    /* A stream that stops in good order, but without the word that ends it, is not whole. */
    if (seen->broke_off)
        return OUTCOME_UPSTREAM_ABORT;
    return seen->end == TAP_END_REFUSED ? OUTCOME_REFUSED : OUTCOME_OK;
}

/* As the provider states it, of what is counted here. */
static bool settle_provider_cost(const struct xchg *x, struct money *out)
{
    const struct tap_result *seen = settle_seen(x);

    if (x->pages)
        return pages_provider_cost(x, out);
    if (x->session)
        return session_provider_cost(x, out);
    if (seen->has_provider_cost)
        *out = money_join(seen->provider_cost_atto_hi, seen->provider_cost_atto_lo);
    return seen->has_provider_cost;
}

/* What it costs where nothing was priced: that the call takes nothing, or that nobody knows. */
static const struct cost *unpriced(const struct xchg *x)
{
    static const struct cost nothing = {.status = PRICE_OK}, unknown = {.status = PRICE_NONE};

    switch (x->route.endpoint->kind) {
    case ENDPOINT_FREE:
    case ENDPOINT_FETCHED:
    case ENDPOINT_SOCKET:
        return &nothing;
    case ENDPOINT_METERED:
    case ENDPOINT_UNTOLD:
    case ENDPOINT_UNKNOWN:
        break;
    }
    return &unknown;
}

void settle_record(struct xchg *x, struct record *r, enum outcome outcome)
{
    const struct tap_result *seen = settle_seen(x);
    bool ended = x->counted;
    int64_t now_us = x->worker->now_us;

    record_clear(r);
    r->id = x->id;
    r->start_us = x->start_wall_us;
    r->end_us = clock_steady_at(now_us);
    if (r->end_us < r->start_us) /* the clock was set far back meanwhile */
        r->end_us = r->start_us;
    subject_copy(&r->subject, &x->tags.subject);
    r->attempt = x->tags.attempt;
    r->protocol = strv_z(protocol_name(x->upstream->protocol));
    r->endpoint = strv_z(x->route.endpoint->name);
    r->method = x->head.method;
    r->model_requested = x->facts.model;
    r->model = seen->model[0] ? strv_z(seen->model) : x->model;
    /* Before there is an answer, what was asked for. */
    r->service_tier = ended ? settle_tier(x) : x->facts.service_tier;
    r->provider_request_id =
        strv_z(x->provider_request_id[0] ? x->provider_request_id : seen->request_id);
    r->priced_model = settle_model(x, strv_z(seen->model));
    if (strv_eq(r->priced_model, r->model))
        r->priced_model = STRV_NONE;
    r->region = settle_region(x);
    settle_details(x, r->detail);
    r->stream = x->facts.stream || x->route.path_stream || x->answer.is_stream;
    r->status = x->upstream_status;
    r->outcome = outcome;
    r->usage = ended ? x->usage : x->assumed;
    r->usage_source = ended ? x->usage_source : (x->assumed.has ? USAGE_ESTIMATED : USAGE_NONE);
    r->has_provider_cost = settle_provider_cost(x, &r->provider_cost);
    r->latency_us = now_us - x->start_us;
    r->first_byte_us = x->first_byte_us < 0 ? -1 : x->first_byte_us - x->start_us;
    r->bytes_in = x->bytes_in;
    r->bytes_out = x->bytes_out;
    r->node = strv_z(x->config->node);
    r->subject.dim[DIM_MODEL] = r->model;
    record_set_cost(r, x->cost ? x->cost : unpriced(x), strv_z(book_hash(x->config->book)));
    if (x->parts && (r->price_flags & PRICE_FLAG_COMPOUND))
        r->parts = record_parts_encode(x->parts, &x->arena);
}

static void count(struct xchg *x, enum outcome outcome)
{
    struct worker_stats *stats = &x->worker->stats;
    const struct tap_result *seen = settle_seen(x);

    stat_add(&stats->outcomes[outcome], 1);
    stat_add(&stats->usage_source[x->usage_source], 1);
    stat_add(&stats->tokens_input, x->usage.n[USAGE_INPUT]);
    stat_add(&stats->tokens_output, x->usage.n[USAGE_OUTPUT]);
    stat_cost(stats, x->cost->contracted);
    if (x->usage.has && x->cost->status == PRICE_NONE)
        stat_add(&stats->unpriced, 1);
    if (seen->undecodable)
        stat_add(&stats->tap_undecodable, 1);
    if (seen->inconsistent)
        stat_add(&stats->tap_inconsistent, 1);
    stat_observe(&stats->duration, x->worker->now_us - x->start_us);
    if (x->first_byte_us >= 0)
        stat_observe(&stats->first_byte, x->first_byte_us - x->start_us);
}

static void write_log(struct xchg *x, const char *outcome)
{
    char cost[MONEY_TEXT] UNCLEARED, team[300] UNCLEARED, feature[300] UNCLEARED;
    char model[300] UNCLEARED;

    if (!log_wants(LOG_ACCESS))
        return;
    money_format(x->cost->contracted, cost);
    log_line(
        LOG_ACCESS, "xchg", "request",
        "id=%s upstream=%s endpoint=%s status=%d end=%s outcome=%s team=%s feature=%s model=%s "
        "in=%" PRIu64 " out=%" PRIu64 " usage=%s cost_usd=%s ms=%" PRId64 " bytes_in=%" PRIu64
        " bytes_out=%" PRIu64,
        x->id_text, x->upstream ? x->upstream->name : "-",
        x->route.endpoint ? x->route.endpoint->name : "-", x->status, end_reason_name(x->end),
        outcome, log_quote(x->tags.subject.dim[DIM_TEAM], team, sizeof(team)),
        log_quote(x->tags.subject.dim[DIM_FEATURE], feature, sizeof(feature)),
        log_quote(x->facts.model, model, sizeof(model)), x->usage.n[USAGE_INPUT],
        x->usage.n[USAGE_OUTPUT], usage_source_name(x->usage_source),
        x->cost->status == PRICE_NONE ? "unpriced" : cost,
        (x->worker->now_us - x->start_us) / 1000, x->bytes_in, x->bytes_out);
}

/* What the limits are told that the call really took. */
static struct limit_amounts really_taken(const struct xchg *x)
{
    /* As many as the ledger has of it: what has no record is none, nor what is beside one
     * (protocol_beside). */
    struct limit_amounts taken = {
        .n = {[UNIT_REQUESTS] = x->begun && !(x->turn && x->turn->heard)}};
    int64_t nano = money_ceil_nano(x->cost->contracted);

    taken.n[UNIT_USD] = nano > 0 ? (uint64_t)nano : 0;
    taken.n[UNIT_INPUT_TOKENS] = x->usage.n[USAGE_INPUT];
    taken.n[UNIT_OUTPUT_TOKENS] = x->usage.n[USAGE_OUTPUT];
    taken.n[UNIT_TOKENS] = x->usage.n[USAGE_INPUT] + x->usage.n[USAGE_OUTPUT];
    return taken;
}

/* Was the answer, or the prompt's beginning, there a short while ago? */
static void note_repeats(struct xchg *x, struct record *r)
{
    struct repeats *repeats = x->worker->server->repeats;
    int64_t now_s = r->end_us / 1000000;

    r->prompt_hash = x->prompt_hash;
    r->prefix_hash = x->prefix_hash;
    if (r->outcome != OUTCOME_OK)
        return;
    if (r->prompt_hash)
        r->is_repeat =
            repeats_seen(repeats, r->prompt_hash ^ strv_hash(r->subject.dim[DIM_TEAM]), now_s,
                         REPEAT_WITHIN_S);
    if (r->prefix_hash)
        r->is_cacheable = repeats_seen(repeats, r->prefix_hash, now_s, CACHE_WITHIN_S) &&
                          r->usage.n[USAGE_CACHE_READ] == 0 &&
                          r->usage.n[USAGE_INPUT] >= RECORD_PREFIX_TOKENS;
}

static void write_record(struct xchg *x)
{
    enum outcome outcome = settle_outcome(x);
    struct record r UNCLEARED;

    settle_record(x, &r, outcome);
    x->admission.ended_us = r.end_us;
    note_repeats(x, &r);
    if (journal_end(x->worker->journal, &r) != RC_OK)
        log_line(LOG_ERROR, "journal", "could not keep a record", "id=%s", x->id_text);
    count(x, outcome);
    write_log(x, outcome_name(outcome));
    if (outcome == OUTCOME_OK && x->usage_source == USAGE_PROVIDER && !x->session &&
        !x->facts.has_max_output &&
        x->usage.n[USAGE_OUTPUT] > 0)
        learnt_note(x->worker->learnt, x->facts.model,
                    x->usage.n[USAGE_OUTPUT] / (x->facts.choices > 1 ? x->facts.choices : 1));
}

static enum step st_settle(struct xchg *x)
{
    struct worker *w = x->worker;

    ASSERT(x->end != END_NONE);
    if (x->socket)
        socket_settle(x);
    if (x->reserving)
        limiter_cancel(w->limiter, &x->admission);
    x->reserving = false;
    prompt_end(x);
    if (x->desk_job)
        desk_job_leave(x->desk_job);
    x->desk_job = NULL;
    upstream_cancel(&x->wait);
    if (x->answer.is_stream && x->conn)
        io_save_memory(&x->conn->io, false);
    if (x->up) {
        io_save_memory(&x->up->io, false);
        upstream_release(x->up, x->up_reusable && x->up_done && x->answer.body_done);
        x->up = NULL;
    }
    answer_abandon(x);
    if (x->drain_until_us != 0)
        w->n_draining--;
    x->drain_until_us = 0;
    /* A turn's is counted without asking: its socket, which has the tap, does not wait. */
    if (x->begun && !x->counted && !x->turn && !w->stopping && collect_claim(x))
        return STEP_WAIT;
    settle_count(x);
    collect_cancel(x);
    if (x->begun) {
        struct limit_amounts taken = really_taken(x);

        write_record(x);
        late_settle(x, x->admission.ended_us, &taken);
    } else {
        write_log(x, "-");
    }
    if (x->reserved) {
        struct limit_amounts taken = really_taken(x);

        if (!collect_hold(x))
            limiter_settle(w->limiter, &x->admission, &taken);
        grow_settle(x);
    }
    if (x->turn)
        turn_settled(x);
    return STEP_DONE;
}

/* It waits for one thing, and not long: who counts an answer that others may fetch. */
const struct xchg_state S_SETTLE = {"settle", st_settle, WAKE_LIMIT | WAKE_STOP, st_settle};
