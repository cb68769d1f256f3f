/*
 * xchg_word.c - what a server says on a WebSocket, and whose word it is.
 *
 * A server names the answer it speaks of where it can; where not, answers of a lane come in the
 * order in which they were asked for.  Turns themselves are xchg_turn.c.
 */
#include <string.h>

#include "base/clock.h"
#include "proxy/xchg_socket.h"

enum stage { STAGE_ASKED = 1, STAGE_BEGUN = 2 };

static bool is_at(const struct turn *t, unsigned stages)
{
    return !t->over && !t->spare && !t->heard && t->sent &&
           (stages & (t->begun ? STAGE_BEGUN : STAGE_ASKED));
}

/* By the answer's name. */
static struct turn *find_named(struct socket *s, const char *response_id)
{
    if (response_id[0] == '\0')
        return NULL;
    LIST_FOREACH (at, &s->turns) {
        struct turn *t = LIST_OBJECT(at, struct turn, node);

        if (!t->over && strcmp(t->response_id, response_id) == 0)
            return t;
    }
    return NULL;
}

/* The oldest of a lane at one of the stages. */
static struct turn *find_oldest(struct socket *s, const char *lane, unsigned stages)
{
    LIST_FOREACH (at, &s->turns) {
        struct turn *t = LIST_OBJECT(at, struct turn, node);

        if (is_at(t, stages) && strcmp(t->lane, lane) == 0)
            return t;
    }
    return NULL;
}

/* By the message that asked for it. */
static struct turn *find_asked(struct socket *s, const char *event_id)
{
    LIST_FOREACH (at, &s->turns) {
        struct turn *t = LIST_OBJECT(at, struct turn, node);

        if (is_at(t, STAGE_ASKED) && strcmp(t->event_id, event_id) == 0)
            return t;
    }
    return NULL;
}

/* What was reserved ahead serves an answer that begins at now_us: one of another day counts there. */
static bool serves(const struct turn *t, int64_t now_us)
{
    return t && t->admitted && !t->over && admission_is_of(&t->x->admission, now_us);
}

/* The server begins an answer that nobody asked for. */
static struct turn *unasked(struct socket *s, const struct live_word *word)
{
    struct turn *t = s->spare;
    int64_t now_us = clock_steady_us();

    if (!serves(t, now_us)) {
        t = turn_open_owed(s, word);
        if (t)
            xchg_wake(t->x, WAKE_RUN);
        if (s->spare && s->spare->admitted && !s->spare->over)
            turn_end_spare(s);
        return t;
    }
    s->spare = NULL;
    t->spare = false;
    t->sent = true;
    t->x->upstream_tried = true;
    t->x->start_us = clock_mono_us();
    t->x->start_wall_us = now_us;
    t->x->deadline_us = INT64_MAX;
    turn_keep_text(t->lane, sizeof(t->lane), word->lane);
    t->x->facts.carried_tokens = s->context_tokens +
                                 live_input_audio_tokens(s->protocol->kind, s->audio_bytes);
    xchg_wake(t->x, WAKE_RUN);
    return t;
}

static struct turn *turn_of(struct socket *s, const struct live_word *word)
{
    struct turn *t = find_named(s, word->response_id);

    if (!t)
        t = find_oldest(s, word->lane, STAGE_BEGUN);
    if (!t || (word->response_id[0] != '\0' && t->response_id[0] != '\0' &&
               strcmp(word->response_id, t->response_id) != 0))
        t = find_oldest(s, word->lane, STAGE_ASKED);
    return t ? t : unasked(s, word);
}

static void note_begun(struct turn *t, const struct live_word *word)
{
    if (t->begun)
        return;
    t->begun = true;
    t->x->first_byte_us = clock_mono_us();
    turn_keep_text(t->response_id, sizeof(t->response_id), word->response_id);
    turn_keep_text(t->x->provider_request_id, sizeof(t->x->provider_request_id), word->response_id);
}

/* The word's counts are the turn's; what was said before is not forgotten. */
static void take_counts(struct turn *t, const struct live_word *word)
{
    const struct tap_result *seen = tap_result(word->tap);
    uint64_t output = t->seen.output_bytes;

    t->seen = *seen;
    t->seen.output_bytes = output;
    turn_take_served(t);
}

static void add(struct turn *t, const struct live_word *word)
{
    if (!t)
        return;
    note_begun(t, word);
    t->x->bytes_out += t->socket->message_bytes;
    t->seen.output_bytes += word->text_bytes;
    t->audio_out += live_sound_bytes(&t->speaks, word->audio_bytes);
    if (tap_result(word->tap)->has_usage) {
        take_counts(t, word);
        t->seen.usage_is_final = false; /* the answer goes on */
    }
    if (t->x->state == &S_TURN)
        xchg_within(t->x, t->x->upstream->idle_timeout_ms);
    xchg_wake(t->x, WAKE_RUN);
}

/* It ends now; tap: of the word that says so, where there is one. */
static void end(struct turn *t, enum end_reason reason, const struct tap *tap)
{
    struct xchg *x = t->x;

    t->over = true;
    t->end = t->cut ? END_CUT : reason;
    if (tap && x->state == &S_TURN) {
        x->tap = (struct tap *)(uintptr_t)tap; /* borrowed for its parts, until it is settled */
        x->tap_done = true;
    }
    xchg_wake(x, WAKE_RUN);
}

static void end_answer(struct socket *s, const struct live_word *word)
{
    struct turn *t = turn_of(s, word);
    const struct usage *usage;

    if (!t)
        return;
    note_begun(t, word);
    t->x->bytes_out += s->message_bytes;
    t->seen.output_bytes += word->text_bytes;
    t->audio_out += live_sound_bytes(&t->speaks, word->audio_bytes);
    if (tap_result(word->tap)->has_usage || !t->seen.has_usage) {
        take_counts(t, word);
    } else { /* told before: that was the last */
        t->seen.usage_is_final = true;
        t->seen.end = TAP_END_COMPLETE;
    }
    usage = &t->seen.usage;
    if (usage_has(usage, USAGE_INPUT) || usage_has(usage, USAGE_OUTPUT)) {
        s->context_tokens = usage->n[USAGE_INPUT] + usage->n[USAGE_OUTPUT];
        s->text_bytes = s->audio_bytes = 0;
    }
    end(t, END_OK, word->tap);
}

/* Sound was written down by a model of its own, at a price of its own. */
static void heard(struct socket *s, const struct live_word *word)
{
    const struct tap_result *seen = tap_result(word->tap);
    struct turn *t;
    struct xchg *x;

    if (!seen->has_usage || !s->protocol->transcription || !turn_may_owe(s))
        return;
    t = turn_make(s);
    x = t->x;
    t->owed = t->sent = t->begun = t->heard = true;
    x->upstream_tried = true;
    x->route.endpoint = s->protocol->transcription;
    x->bytes_out = s->message_bytes;
    x->facts.model = strv_z(s->transcriber);
    x->facts.carried_tokens = seen->usage.n[USAGE_INPUT];
    x->facts.has_max_output = true;
    x->facts.max_output_tokens = seen->usage.n[USAGE_OUTPUT];
    request_keep_facts(x);
    t->seen = *seen;
    t->over = true;
    t->end = END_OK;
    xchg_wake(x, WAKE_RUN);
}

/* An error: of a message that asked for an answer, of one under way, or of something else. */
static void fails(struct socket *s, const struct live_word *word)
{
    struct turn *t = find_named(s, word->response_id);

    if (!t && (word->event_id[0] != '\0' || s->protocol->kind == LIVE_REALTIME))
        t = find_asked(s, word->event_id);
    if (!t && s->protocol->kind == LIVE_RESPONSES)
        t = find_oldest(s, word->lane, STAGE_ASKED);
    if (!t && s->protocol->kind == LIVE_RESPONSES)
        t = find_oldest(s, word->lane, STAGE_BEGUN);
    if (!t)
        return;
    t->x->bytes_out += s->message_bytes;
    t->seen.end = TAP_END_ERROR;
    if (!t->begun)
        t->x->upstream_status = word->status >= 400 ? word->status : 400;
    end(t, END_OK, NULL);
}

/* What the client has asked for itself stands: this may have been said before it was heard. */
static void keep_session(struct socket *s, const struct live_word *word)
{
    if (word->model[0] != '\0')
        turn_keep_text(s->served, sizeof(s->served), word->model);
    if (word->transcriber[0] != '\0')
        turn_keep_text(s->transcriber, sizeof(s->transcriber), word->transcriber);
    if (word->hears.is_said && !s->hears.is_said)
        s->hears = word->hears;
    if (word->speaks.is_said && !s->speaks.is_said)
        s->speaks = word->speaks;
}

void turn_word(struct socket *s, const struct live_word *word)
{
    struct turn *t;

    keep_session(s, word);
    switch (word->kind) {
    case LIVE_NOTHING:
        break;
    case LIVE_BEGINS:
        t = find_oldest(s, word->lane, STAGE_ASKED);
        if (!t)
            t = unasked(s, word);
        if (!t)
            break;
        t->x->bytes_out += s->message_bytes;
        note_begun(t, word);
        break;
    case LIVE_ADDS:
        add(turn_of(s, word), word);
        break;
    case LIVE_ENDS:
        end_answer(s, word);
        break;
    case LIVE_HEARD:
        heard(s, word);
        break;
    case LIVE_FAILS:
        fails(s, word);
        break;
    }
}
