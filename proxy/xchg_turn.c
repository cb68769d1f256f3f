/*
 * xchg_turn.c - TURN_START and TURN: one call on a WebSocket, as an exchange of its own.
 *
 *   TURN_START -> ADMIT -> BEGIN -> TURN -> SETTLE
 *        \__________\________\________/
 *
 * An answer that nobody asked for (the server heard the end of a sentence, or went on by itself)
 * gets a turn too: the one that was reserved ahead when sound went up, else one that is owed,
 * which is counted in every limit whether there is room or not.
 */
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "proxy/xchg_socket.h"

enum {
    OWED_MAX = 2 * SOCKET_TURNS_MAX, /* with those that the server began: then it is abuse */
    ROUNDS_MAX = 8,     /* states that a turn passes at the most */
};

/* ---- making them ------------------------------------------------------------------------------ */

static struct strv last_segment(const char *model)
{
    const char *slash = strrchr(model, '/');

    return strv_z(slash ? slash + 1 : model);
}

/* The key of the same secret in a configuration that may be newer; NULL: it is there no more. */
static const struct key_config *same_key(const struct config *config,
                                         const struct key_config *key)
{
    for (size_t i = 0; i < config->n_keys; i++) {
        if (memcmp(config->keys[i].hash, key->hash, sizeof(key->hash)) == 0)
            return &config->keys[i];
    }
    return NULL;
}

const struct key_config *socket_key(const struct xchg *x, const struct config *config,
                                    int64_t now_us, const struct upstream_config **upstream)
{
    const struct key_config *key = same_key(config, x->key);

    *upstream = config_upstream(config, strv_z(x->upstream->name));
    if (!*upstream || !key || key->disabled || key->expires_us <= now_us ||
        !key_allows_upstream(key, strv_z((*upstream)->name)))
        return NULL;
    return key;
}

struct turn *turn_make(struct socket *s)
{
    struct xchg *parent = s->x;
    struct xchg *x = xchg_start_turn(parent);
    struct turn *t = arena_alloc(&x->arena, sizeof(*t));

    ASSERT(t != NULL); /* the arena is empty */
    *t = (struct turn){.x = x, .socket = s};
    list_push_back(&s->turns, &t->node);
    s->n_turns++;
    x->turn = t;
    x->tags = parent->tags;
    x->target = parent->target;
    x->head.method = parent->head.method;
    x->head.minor = parent->head.minor;
    x->route = s->call;
    t->speaks = s->speaks;
    x->key = socket_key(parent, x->config, x->start_wall_us, &x->upstream);
    if (!x->key) {
        t->stale = true;
        x->upstream = parent->upstream; /* for the record and the words */
        x->key = parent->key;
    }
    x->body_done = true;
    x->status = x->upstream_status = parent->upstream_status;
    x->facts.choices = 1;
    x->facts.stream = true;
    return t;
}

/* What it will read: what has been said so far. */
static void carry(struct turn *t)
{
    struct socket *s = t->socket;
    struct request_facts *f = &t->x->facts;

    t->audio_in = live_input_audio_tokens(s->protocol->kind, s->audio_bytes);
    f->carried_tokens = s->context_tokens + t->audio_in;
    f->text_bytes += s->text_bytes;
    if (!f->has_max_output && s->session_max > 0) {
        f->has_max_output = true;
        f->max_output_tokens = s->session_max;
    }
    f->model = last_segment(s->model);
    if (f->model.n == 0)
        f->model = strv_z(s->served);
    request_keep_facts(t->x);
}

void turn_keep_text(char *to, size_t size, const char *from)
{
    size_t n = strlen(from);

    ASSERT(n < size);
    memcpy(to, from, n + 1);
}

void turn_end_spare(struct socket *s)
{
    s->spare->over = true;
    s->spare->end = END_OK;
    xchg_wake(s->spare->x, WAKE_RUN);
}

void turn_open(struct socket *s, const struct live_ask *ask, struct strv message)
{
    struct turn *t;
    struct xchg *x;

    if (s->spare) /* what was reserved for an unasked answer serves this one */
        turn_end_spare(s);
    t = turn_make(s);
    x = t->x;
    s->gate = GATE_WAITS;
    s->gated = t;
    turn_keep_text(t->event_id, sizeof(t->event_id), ask->event_id);
    turn_keep_text(t->lane, sizeof(t->lane), ask->lane);
    if (ask->speaks.is_said)
        t->speaks = ask->speaks;
    x->bytes_in = message.n;
    if (s->protocol->kind == LIVE_RESPONSES) {
        if (protocol_scan_request(s->x->upstream->protocol, &s->call, message, x->worker->shapes,
                                  &x->facts) != RC_OK)
            t->end = END_REFUSED; /* said where it can be */
        x->facts.stream = true;
        if (x->facts.server_state && s->context_tokens > 0) {
            x->facts.carried_tokens = s->context_tokens;
            x->facts.server_state = false;
        }
        request_keep_facts(x);
    } else {
        x->facts.has_max_output = ask->has_max_output && ask->max_output > 0;
        x->facts.max_output_tokens = ask->max_output;
        x->facts.text_bytes = ask->text_bytes;
        carry(t);
    }
    xchg_wake(x, WAKE_RUN);
}

void turn_open_spare(struct socket *s)
{
    struct turn *t = turn_make(s);

    t->spare = true;
    s->spare = s->gated = t;
    s->gate = GATE_WAITS;
    carry(t);
    xchg_wake(t->x, WAKE_RUN);
}

bool turn_may_owe(struct socket *s)
{
    if (s->n_turns < OWED_MAX)
        return true;
    log_line(LOG_ERROR, "socket", "more answers than can be counted", "id=%s upstream=%s",
             s->x->id_text, s->x->upstream->name);
    s->hopeless = true;
    return false;
}

struct turn *turn_open_owed(struct socket *s, const struct live_word *word)
{
    struct turn *t = turn_may_owe(s) ? turn_make(s) : NULL;

    if (!t)
        return NULL;
    t->owed = t->sent = true;
    t->x->upstream_tried = true;
    turn_keep_text(t->lane, sizeof(t->lane), word->lane);
    carry(t);
    return t;
}

void turn_sent(struct turn *t)
{
    t->sent = true;
    t->x->upstream_tried = true;
    t->x->start_us = t->x->worker->now_us;
    xchg_within(t->x, t->x->upstream->first_byte_timeout_ms);
}

/* ---- TURN_START, TURN ------------------------------------------------------------------------ */

static enum step st_turn_start(struct xchg *x)
{
    struct turn *t = x->turn;

    if (t->owed) /* it happens all the same */
        return xchg_go(x, &S_ADMIT);
    if (t->stale)
        return xchg_refuse(x, REFUSE_INVALID_KEY, SOCKET_STALE);
    if (t->end == END_REFUSED)
        return xchg_refuse(x, REFUSE_BAD_REQUEST, "the message is not what this endpoint takes");
    if (x->worker->draining)
        return xchg_refuse(x, REFUSE_DRAINING, "the gateway is shutting down");
    if (t->socket->n_turns > SOCKET_TURNS_MAX)
        return xchg_refuse(x, REFUSE_RATE_LIMITED, "more than %d answers are under way",
                           SOCKET_TURNS_MAX);
    if (!key_allows_model(x->key, x->model) && !key_allows_model(x->key, x->facts.model))
        return xchg_refuse(x, REFUSE_MODEL_NOT_ALLOWED,
                           "this key may not use the model \"" STRV_FMT "\"",
                           STRV_ARG(strv_head(x->facts.model, 128)));
    return xchg_go(x, &S_ADMIT);
}

/* It may go on: its message, if one waits for that. */
static void open_gate(struct turn *t)
{
    struct socket *s = t->socket;

    t->admitted = true;
    if (s->gated != t)
        return;
    s->gate = GATE_OPEN;
    xchg_again(s->x);
}

static enum step st_turn(struct xchg *x)
{
    struct turn *t = x->turn;

    if (!t->admitted)
        open_gate(t);
    if (t->over)
        return xchg_end(x, t->end);
    if (t->spare) {
        if (x->deadline_us == INT64_MAX)
            xchg_within(x, SOCKET_SPARE_MS);
        return STEP_WAIT;
    }
    if (!x->begun) /* a spare that the server has taken */
        return xchg_go(x, &S_BEGIN);
    if (x->deadline_us == INT64_MAX && t->sent)
        xchg_within(x, t->begun ? x->upstream->idle_timeout_ms
                                : x->upstream->first_byte_timeout_ms);
    if (!t->cut && !grow_check(x))
        return grow_cut(x);
    return STEP_WAIT;
}

static enum step turn_timeout(struct xchg *x)
{
    struct turn *t = x->turn;

    if (t->spare)
        return xchg_end(x, END_OK);
    socket_refuse(t->socket, REFUSE_UPSTREAM_TIMEOUT, STRV("the upstream did not answer in time"),
                  x->id_text, t->event_id, t->lane);
    return xchg_end(x, END_UPSTREAM_TIMEOUT);
}

/* Nothing is waited for in the first. */
const struct xchg_state S_TURN_START = {"turn-start", st_turn_start, WAKE_RUN, st_turn_start};
const struct xchg_state S_TURN = {"turn", st_turn, WAKE_RUN | WAKE_LIMIT | WAKE_CLIENT_IN,
                                  turn_timeout};

void turn_take_served(struct turn *t)
{
    if (t->seen.model[0] == '\0' && !t->heard) {
        struct strv served = last_segment(t->socket->served);

        if (served.n > 0)
            memcpy(t->seen.model, served.p, served.n + 1);
    }
}

/* ---- their ends -------------------------------------------------------------------------------- */

/* What the server began is recorded, however far its admission has come. */
static void record_owed(struct turn *t)
{
    struct xchg *x = t->x;
    struct record r;

    if (x->begun)
        return;
    settle_record(x, &r, OUTCOME_INTERRUPTED);
    x->begun = journal_begin(x->worker->journal, &r) == RC_OK;
}

void turns_end(struct socket *s, enum end_reason reason)
{
    int rounds = 0;

    /* Each wake brings one at least a state further, and none stays where its client has left. */
    while (!list_is_empty(&s->turns)) {
        struct turn *t = LIST_OBJECT(s->turns.next, struct turn, node);

        ASSERT(rounds++ < ROUNDS_MAX * (OWED_MAX + 1));
        turn_take_served(t);
        if (t->owed)
            record_owed(t);
        t->x->client_gone = true;
        if (t->spare)
            t->end = END_OK;
        else if (!t->over)
            t->end = t->cut ? END_CUT : reason;
        t->over = true;
        if (t->x->end == END_NONE)
            t->x->end = t->end;
        xchg_wake(t->x, WAKE_RUN | WAKE_CLIENT_IN);
    }
}

bool turns_run(const struct socket *s)
{
    return s->n_turns > (s->spare ? 1U : 0U);
}

void turn_settled(struct xchg *x)
{
    struct turn *t = x->turn;
    struct socket *s = t->socket;

    x->tap = NULL; /* it was borrowed */
    list_remove(&t->node);
    s->n_turns--;
    if (s->spare == t)
        s->spare = NULL;
    if (s->gated == t) {
        s->gated = NULL;
        s->gate = GATE_SHUT;
    }
    xchg_again(s->x);
}

bool turn_is_owed(const struct xchg *x)
{
    return x->turn && x->turn->owed;
}

bool turn_has_sound(const struct xchg *x)
{
    return x->turn && !x->turn->heard && x->turn->socket->protocol->kind != LIVE_RESPONSES;
}

uint64_t turn_output(const struct xchg *x)
{
    const struct turn *t = x->turn;

    return estimate_output_tokens(t->seen.output_bytes, x->factors.output, USAGE_MAX_COUNT) +
           live_output_audio_tokens(t->socket->protocol->kind, t->audio_out);
}

void turn_add_sound(struct xchg *x)
{
    const struct turn *t = x->turn;
    uint64_t spoken = live_output_audio_tokens(t->socket->protocol->kind, t->audio_out);
    uint64_t room = USAGE_MAX_COUNT;

    if (x->facts.has_max_output)
        room = x->facts.max_output_tokens > x->usage.n[USAGE_OUTPUT]
                   ? x->facts.max_output_tokens - x->usage.n[USAGE_OUTPUT]
                   : 0;
    spoken = spoken < room ? spoken : room;
    if (spoken > 0) {
        usage_set(&x->usage, USAGE_OUTPUT, x->usage.n[USAGE_OUTPUT] + spoken);
        usage_set(&x->usage, USAGE_OUTPUT_AUDIO, spoken);
    }
    if (t->audio_in > 0 && !usage_has(&x->usage, USAGE_INPUT_AUDIO) &&
        t->audio_in <= x->usage.n[USAGE_INPUT])
        usage_set(&x->usage, USAGE_INPUT_AUDIO, t->audio_in);
}

enum step turn_refused(struct xchg *x, enum refusal refusal, struct strv message)
{
    struct turn *t = x->turn;
    struct socket *s = t->socket;

    if (t->spare)
        s->shut_until_us = clock_mono_us() + SOCKET_SHUT_MS * INT64_C(1000);
    if (!x->client_gone)
        socket_refuse(s, refusal, message, x->id_text, t->event_id, t->lane);
    return xchg_go(x, &S_SETTLE);
}

void turn_cut(struct xchg *x, const char *message, enum refusal refusal)
{
    struct turn *t = x->turn;
    struct buf cancel;

    t->cut = true;
    buf_init(&cancel, SOCKET_NOTES_BYTES);
    if (live_cancel(t->socket->protocol->kind, t->response_id, &cancel) == RC_OK)
        socket_say(t->socket, buf_view(&cancel));
    else
        t->socket->hopeless = true; /* the connection's end is its only end */
    buf_release(&cancel);
    socket_refuse(t->socket, refusal, strv_z(message), x->id_text, t->event_id, t->lane);
}
