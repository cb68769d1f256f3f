/*
 * What a client's message asks of a WebSocket.
 */
#include <string.h>

#include "base/utf8.h"
#include "metering/usage/jscan.h"
#include "metering/usage/live.h"

enum node {
    N_SKIP = JSCAN_SKIP,
    N_ROOT,
    N_TYPE,
    N_EVENT_ID,
    N_LANE,
    N_MODEL,
    N_RESPONSE,
    N_SESSION,
    N_SESSION_AUDIO,
    N_SESSION_INPUT,
    N_TRANSCRIPTION,
    N_TRANSCRIBER,
    N_CAP,
    N_SESSION_CAP,
    N_STATE,
    N_TEXT,
    N_SOUND,
    N_SETUP,
    N_CONFIG,
    N_CONTENT,
    N_TURN_ENDS,
    N_INPUT,
    N_MEDIA,
    N_TOOLS,
    N_SESSION_OUTPUT,
    N_HEARD_AS,
    N_SPOKEN_AS,
    N_HEARS,
    N_SPEAKS,
    N_HEARS_RATE,
    N_SPEAKS_RATE,
    N_COUNT,
};

static const struct jscan_edge ROOT_EDGES[] = {
    JSCAN_EDGE("type", N_TYPE),
    JSCAN_EDGE("event_id", N_EVENT_ID),
    JSCAN_EDGE("stream_id", N_LANE),
    JSCAN_EDGE("model", N_MODEL),
    JSCAN_EDGE("response", N_RESPONSE),
    JSCAN_EDGE("session", N_SESSION),
    JSCAN_EDGE("audio", N_SOUND),
    JSCAN_EDGE("item", N_TEXT),
    JSCAN_EDGE("previous_response_id", N_STATE),
    JSCAN_EDGE("conversation", N_STATE),
    /* Google's: the member's name is the message's type. */
    JSCAN_EDGE("setup", N_SETUP),
    JSCAN_EDGE("clientContent", N_CONTENT),
    JSCAN_EDGE("client_content", N_CONTENT),
    JSCAN_EDGE("realtimeInput", N_INPUT),
    JSCAN_EDGE("realtime_input", N_INPUT),
    JSCAN_EDGE("toolResponse", N_TOOLS),
    JSCAN_EDGE("tool_response", N_TOOLS),
};
static const struct jscan_edge RESPONSE_EDGES[] = {
    JSCAN_EDGE("model", N_MODEL),
    JSCAN_EDGE("max_output_tokens", N_CAP),
    JSCAN_EDGE("max_response_output_tokens", N_CAP),
    JSCAN_EDGE("instructions", N_TEXT),
    JSCAN_EDGE("input", N_TEXT),
    JSCAN_EDGE("tools", N_TEXT),
    JSCAN_EDGE("output_audio_format", N_SPEAKS),
    JSCAN_EDGE("audio", N_SESSION_AUDIO),
};
static const struct jscan_edge SESSION_EDGES[] = {
    JSCAN_EDGE("model", N_MODEL),
    JSCAN_EDGE("max_output_tokens", N_SESSION_CAP),
    JSCAN_EDGE("max_response_output_tokens", N_SESSION_CAP),
    JSCAN_EDGE("instructions", N_TEXT),
    JSCAN_EDGE("tools", N_TEXT),
    JSCAN_EDGE("input_audio_transcription", N_TRANSCRIPTION),
    JSCAN_EDGE("input_audio_format", N_HEARS),
    JSCAN_EDGE("output_audio_format", N_SPEAKS),
    JSCAN_EDGE("audio", N_SESSION_AUDIO),
};
static const struct jscan_edge SESSION_AUDIO_EDGES[] = {
    JSCAN_EDGE("input", N_SESSION_INPUT), JSCAN_EDGE("output", N_SESSION_OUTPUT)};
static const struct jscan_edge SESSION_INPUT_EDGES[] = {
    JSCAN_EDGE("transcription", N_TRANSCRIPTION), JSCAN_EDGE("format", N_HEARD_AS)};
static const struct jscan_edge SESSION_OUTPUT_EDGES[] = {JSCAN_EDGE("format", N_SPOKEN_AS)};
static const struct jscan_edge HEARD_AS_EDGES[] = {JSCAN_EDGE("type", N_HEARS),
                                                   JSCAN_EDGE("rate", N_HEARS_RATE)};
static const struct jscan_edge SPOKEN_AS_EDGES[] = {JSCAN_EDGE("type", N_SPEAKS),
                                                    JSCAN_EDGE("rate", N_SPEAKS_RATE)};
static const struct jscan_edge TRANSCRIPTION_EDGES[] = {JSCAN_EDGE("model", N_TRANSCRIBER)};
static const struct jscan_edge SETUP_EDGES[] = {
    JSCAN_EDGE("model", N_MODEL),
    JSCAN_EDGE("generationConfig", N_CONFIG),
    JSCAN_EDGE("generation_config", N_CONFIG),
    JSCAN_EDGE("systemInstruction", N_TEXT),
    JSCAN_EDGE("system_instruction", N_TEXT),
    JSCAN_EDGE("tools", N_TEXT),
};
static const struct jscan_edge CONFIG_EDGES[] = {
    JSCAN_EDGE("maxOutputTokens", N_SESSION_CAP),
    JSCAN_EDGE("max_output_tokens", N_SESSION_CAP)};
static const struct jscan_edge CONTENT_EDGES[] = {
    JSCAN_EDGE("turns", N_TEXT), JSCAN_EDGE("turnComplete", N_TURN_ENDS),
    JSCAN_EDGE("turn_complete", N_TURN_ENDS)};
/* A part of any message's text; sound in it is told apart. */
static const struct jscan_edge TEXT_EDGES[] = {
    JSCAN_EDGE("audio", N_SOUND), JSCAN_EDGE("data", N_SOUND),
    JSCAN_EDGE("image_url", N_MEDIA)};
static const struct jscan_edge INPUT_EDGES[] = {JSCAN_EDGE("text", N_TEXT)};

static const struct jscan_node NODES[N_COUNT] = {
    [N_ROOT] = {JSCAN_EDGES(ROOT_EDGES), 0, 0, JSCAN_WANT | JSCAN_ENTER | JSCAN_FOLD},
    [N_TYPE] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_EVENT_ID] = {.flags = JSCAN_WANT},
    [N_LANE] = {.flags = JSCAN_WANT},
    [N_MODEL] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_RESPONSE] = {JSCAN_EDGES(RESPONSE_EDGES), 0, 0, JSCAN_ENTER | JSCAN_FOLD},
    [N_SESSION] = {JSCAN_EDGES(SESSION_EDGES), 0, 0, JSCAN_ENTER | JSCAN_FOLD},
    [N_SESSION_AUDIO] = {JSCAN_EDGES(SESSION_AUDIO_EDGES), 0, 0, JSCAN_ENTER | JSCAN_FOLD},
    [N_SESSION_INPUT] = {JSCAN_EDGES(SESSION_INPUT_EDGES), 0, 0, JSCAN_ENTER | JSCAN_FOLD},
    [N_TRANSCRIPTION] = {JSCAN_EDGES(TRANSCRIPTION_EDGES), 0, 0, JSCAN_ENTER | JSCAN_FOLD},
    [N_TRANSCRIBER] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_CAP] = {.flags = JSCAN_WANT},
    [N_SESSION_CAP] = {.flags = JSCAN_WANT},
    [N_STATE] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_TEXT] = {JSCAN_EDGES(TEXT_EDGES), N_TEXT, N_TEXT, JSCAN_COUNT},
    [N_SOUND] = {NULL, 0, 0, N_SOUND, JSCAN_WANT},
    [N_SETUP] = {JSCAN_EDGES(SETUP_EDGES), 0, 0, JSCAN_ENTER | JSCAN_FOLD},
    [N_CONFIG] = {JSCAN_EDGES(CONFIG_EDGES), 0, 0, 0},
    [N_CONTENT] = {JSCAN_EDGES(CONTENT_EDGES), 0, 0, JSCAN_ENTER | JSCAN_FOLD},
    [N_TURN_ENDS] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_INPUT] = {JSCAN_EDGES(INPUT_EDGES), N_TEXT, 0, JSCAN_ENTER},
    [N_MEDIA] = {.flags = 0},
    [N_TOOLS] = {NULL, 0, N_TEXT, N_TEXT, JSCAN_ENTER | JSCAN_COUNT},
    [N_SESSION_OUTPUT] = {JSCAN_EDGES(SESSION_OUTPUT_EDGES), 0, 0, 0},
    [N_HEARD_AS] = {JSCAN_EDGES(HEARD_AS_EDGES), 0, 0, 0},
    [N_SPOKEN_AS] = {JSCAN_EDGES(SPOKEN_AS_EDGES), 0, 0, 0},
    [N_HEARS] = {.flags = JSCAN_WANT},
    [N_SPEAKS] = {.flags = JSCAN_WANT},
    [N_HEARS_RATE] = {.flags = JSCAN_WANT},
    [N_SPEAKS_RATE] = {.flags = JSCAN_WANT},
};

struct reading {
    struct jscan scan;
    struct live_ask *ask;
    enum live_kind kind;
    uint64_t seen; /* bit per node that may stand only once */
    bool bad;
    bool has_type, creates, feeds;
    bool turn_ends;
};

static void once(struct reading *r, uint8_t node)
{
    if (r->seen & UINT64_C(1) << node)
        r->bad = true;
    r->seen |= UINT64_C(1) << node;
}

/* A string's text, terminated; false where it is none, or does not fit. */
static bool take_text(const struct jscan_event *e, char *out, size_t size)
{
    size_t n;

    if (e->what != JSCAN_AT_VALUE || e->type != JSCAN_STRING || e->cut ||
        !jscan_unescape(e->text, out, size - 1, &n)) {
        out[0] = '\0';
        return false;
    }
    out[n] = '\0';
    if (!utf8_is_printable(strv_make(out, n))) {
        out[0] = '\0';
        return false;
    }
    return true;
}

static void take_model(struct reading *r, const struct jscan_event *e, char *out)
{
    once(r, e->node);
    if (e->what == JSCAN_AT_VALUE && e->type == JSCAN_NULL)
        return;
    if (!take_text(e, out, REQUEST_MODEL_MAX_BYTES))
        r->bad = true;
}

static void take_type(struct reading *r, const struct jscan_event *e)
{
    static const struct strv feeds[] = {{"input_audio_buffer.append", 25},
                                        {"input_audio_buffer.commit", 25},
                                        {"input_image_buffer.append", 25}};
    char type[LIVE_ID_MAX_BYTES];

    once(r, N_TYPE);
    if (!take_text(e, type, sizeof(type))) {
        r->bad = true;
        return;
    }
    r->has_type = true;
    r->creates = strcmp(type, "response.create") == 0;
    for (size_t i = 0; i < sizeof(feeds) / sizeof(feeds[0]); i++)
        r->feeds = r->feeds || strv_eq(strv_z(type), feeds[i]);
}

static void take_cap(const struct jscan_event *e, bool *has, uint64_t *most)
{
    uint64_t n;

    if (e->type == JSCAN_NUMBER && jscan_count(e->text, &n) == JSCAN_COUNT_OK && n > 0 &&
        (!*has || n > *most)) {
        *has = true;
        *most = n;
    } else if (e->type == JSCAN_STRING || e->type == JSCAN_NULL) { /* "inf" */
        *has = true;
        *most = 0;
    }
}

static void take_sound(const struct jscan_event *e, struct live_sound *sound)
{
    char name[LIVE_ID_MAX_BYTES];

    if (take_text(e, name, sizeof(name)))
        (void)live_sound_parse(name, sound);
}

static void take_rate(const struct jscan_event *e, struct live_sound *sound)
{
    uint64_t n;

    if (e->type == JSCAN_NUMBER && jscan_count(e->text, &n) == JSCAN_COUNT_OK && n <= UINT32_MAX)
        sound->rate = (uint32_t)n;
}

static void on_value(struct reading *r, const struct jscan_event *e)
{
    struct live_ask *a = r->ask;

    switch ((enum node)e->node) {
    case N_TYPE:
        take_type(r, e);
        break;
    case N_EVENT_ID:
        once(r, N_EVENT_ID);
        (void)take_text(e, a->event_id, sizeof(a->event_id));
        break;
    case N_LANE:
        once(r, N_LANE);
        r->bad = r->bad || !take_text(e, a->lane, sizeof(a->lane));
        break;
    case N_MODEL:
        take_model(r, e, a->model);
        break;
    case N_TRANSCRIBER:
        take_model(r, e, a->transcriber);
        break;
    case N_CAP:
        take_cap(e, &a->has_max_output, &a->max_output);
        break;
    case N_SESSION_CAP:
        take_cap(e, &a->has_session_max, &a->session_max);
        break;
    case N_STATE:
        a->has_state = a->has_state || e->type != JSCAN_NULL;
        break;
    case N_SOUND:
        if (e->type == JSCAN_STRING)
            a->audio_bytes += e->text_bytes;
        break;
    case N_TURN_ENDS:
        once(r, N_TURN_ENDS);
        r->turn_ends = e->type == JSCAN_TRUE;
        break;
    case N_HEARS:
        take_sound(e, &a->hears);
        break;
    case N_SPEAKS:
        take_sound(e, &a->speaks);
        break;
    case N_HEARS_RATE:
        take_rate(e, &a->hears);
        break;
    case N_SPEAKS_RATE:
        take_rate(e, &a->speaks);
        break;
    case N_SKIP:
    case N_ROOT:
    case N_RESPONSE:
    case N_SESSION_OUTPUT:
    case N_HEARD_AS:
    case N_SPOKEN_AS:
    case N_SESSION:
    case N_SESSION_AUDIO:
    case N_SESSION_INPUT:
    case N_TRANSCRIPTION:
    case N_TEXT:
    case N_SETUP:
    case N_CONFIG:
    case N_CONTENT:
    case N_INPUT:
    case N_MEDIA:
    case N_TOOLS:
    case N_COUNT:
        break;
    }
}

static void on_event(void *arg, const struct jscan_event *e)
{
    struct reading *r = arg;

    if (e->what == JSCAN_AT_LEAVE)
        return;
    if (e->what == JSCAN_AT_VALUE) {
        r->bad = r->bad || e->node == N_ROOT; /* not an object */
        on_value(r, e);
        return;
    }
    if (e->node == N_ROOT && e->type != JSCAN_OBJECT) {
        r->bad = true;
    } else if (e->node == N_STATE) {
        r->ask->has_state = true;
    } else if (e->node == N_TYPE || e->node == N_MODEL || e->node == N_TRANSCRIBER ||
               e->node == N_TURN_ENDS) {
        r->bad = true; /* an object or list where a word is to stand */
    } else if (e->node != N_SOUND) {
        once(r, e->node);
        r->creates = r->creates && e->node != N_SETUP;
        r->feeds = r->feeds || e->node == N_INPUT;
    }
}

/* One of the members that name Google's messages; several are no message. */
static bool is_google(const struct reading *r)
{
    const uint64_t all = 1U << N_SETUP | 1U << N_CONTENT | 1U << N_INPUT | 1U << N_TOOLS;
    uint64_t seen = r->seen & all;

    return seen != 0 && (seen & (seen - 1)) == 0;
}

void live_read_ask(enum live_kind kind, struct strv message, struct live_ask *out)
{
    struct reading r = {.ask = out, .kind = kind};

    *out = (struct live_ask){.kind = LIVE_STRANGE};
    jscan_start(&r.scan, NODES, N_ROOT, false, on_event, &r);
    if (jscan_whole(&r.scan, message) != RC_OK || r.scan.folded || r.bad)
        return;
    out->text_bytes = jscan_counted(&r.scan);
    if (kind == LIVE_GOOGLE) {
        if (!is_google(&r))
            return;
        out->kind = r.feeds ? LIVE_FEEDS : r.turn_ends ? LIVE_CREATES : LIVE_PASSES;
        return;
    }
    if (!r.has_type)
        return;
    out->kind = r.creates ? LIVE_CREATES : r.feeds ? LIVE_FEEDS : LIVE_PASSES;
}
