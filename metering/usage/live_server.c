/*
 * What a server's message tells on a WebSocket: whose answer it is of, and what that took.  The
 * counts are read by the reader of the protocol's other answers; this one reads what stands
 * around them.
 */
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "base/xalloc.h"
#include "metering/usage/jscan.h"
#include "metering/usage/live.h"

enum node {
    N_SKIP = JSCAN_SKIP,
    N_ROOT,
    N_TYPE,
    N_RESPONSE,
    N_RESPONSE_ID,
    N_LANE,
    N_STATUS,
    N_ERROR,
    N_EVENT_ID,
    N_SESSION,
    N_MODEL,
    N_AUDIO,
    N_INPUT,
    N_TRANSCRIPTION,
    N_TRANSCRIBER,
    N_DELTA,
    N_CONTENT,
    N_TURN_ENDS,
    N_TURN,
    N_SAID,
    N_TEXT,
    N_DATA,
    N_TOOL_CALL,
    N_USAGE,
    N_SPEECH,
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
    JSCAN_EDGE("response", N_RESPONSE),
    JSCAN_EDGE("response_id", N_RESPONSE_ID),
    JSCAN_EDGE("stream_id", N_LANE),
    JSCAN_EDGE("status", N_STATUS),
    JSCAN_EDGE("error", N_ERROR),
    JSCAN_EDGE("session", N_SESSION),
    JSCAN_EDGE("delta", N_DELTA),
    /* Google's */
    JSCAN_EDGE("serverContent", N_CONTENT),
    JSCAN_EDGE("toolCall", N_TOOL_CALL),
    JSCAN_EDGE("usageMetadata", N_USAGE),
};
static const struct jscan_edge RESPONSE_EDGES[] = {JSCAN_EDGE("id", N_RESPONSE_ID)};
static const struct jscan_edge ERROR_EDGES[] = {JSCAN_EDGE("event_id", N_EVENT_ID)};
static const struct jscan_edge SESSION_EDGES[] = {
    JSCAN_EDGE("model", N_MODEL), JSCAN_EDGE("input_audio_transcription", N_TRANSCRIPTION),
    JSCAN_EDGE("audio", N_AUDIO), JSCAN_EDGE("input_audio_format", N_HEARS),
    JSCAN_EDGE("output_audio_format", N_SPEAKS)};
static const struct jscan_edge AUDIO_EDGES[] = {JSCAN_EDGE("input", N_INPUT),
                                                JSCAN_EDGE("output", N_SPEECH)};
static const struct jscan_edge INPUT_EDGES[] = {JSCAN_EDGE("transcription", N_TRANSCRIPTION),
                                                JSCAN_EDGE("format", N_HEARD_AS)};
static const struct jscan_edge SPEECH_EDGES[] = {JSCAN_EDGE("format", N_SPOKEN_AS)};
static const struct jscan_edge HEARD_AS_EDGES[] = {JSCAN_EDGE("type", N_HEARS),
                                                   JSCAN_EDGE("rate", N_HEARS_RATE)};
static const struct jscan_edge SPOKEN_AS_EDGES[] = {JSCAN_EDGE("type", N_SPEAKS),
                                                    JSCAN_EDGE("rate", N_SPEAKS_RATE)};
static const struct jscan_edge TRANSCRIPTION_EDGES[] = {JSCAN_EDGE("model", N_TRANSCRIBER)};
static const struct jscan_edge CONTENT_EDGES[] = {
    JSCAN_EDGE("turnComplete", N_TURN_ENDS), JSCAN_EDGE("modelTurn", N_TURN),
    JSCAN_EDGE("outputTranscription", N_SAID)};
static const struct jscan_edge TURN_EDGES[] = {JSCAN_EDGE("text", N_TEXT),
                                               JSCAN_EDGE("data", N_DATA)};
static const struct jscan_edge SAID_EDGES[] = {JSCAN_EDGE("text", N_TEXT)};

static const struct jscan_node NODES[N_COUNT] = {
    [N_ROOT] = {JSCAN_EDGES(ROOT_EDGES), 0, 0, 0},
    [N_TYPE] = {.flags = JSCAN_WANT},
    [N_RESPONSE] = {JSCAN_EDGES(RESPONSE_EDGES), 0, 0, 0},
    [N_RESPONSE_ID] = {.flags = JSCAN_WANT},
    [N_LANE] = {.flags = JSCAN_WANT},
    [N_STATUS] = {.flags = JSCAN_WANT},
    [N_ERROR] = {JSCAN_EDGES(ERROR_EDGES), 0, 0, 0},
    [N_EVENT_ID] = {.flags = JSCAN_WANT},
    [N_SESSION] = {JSCAN_EDGES(SESSION_EDGES), 0, 0, 0},
    [N_MODEL] = {.flags = JSCAN_WANT},
    [N_AUDIO] = {JSCAN_EDGES(AUDIO_EDGES), 0, 0, 0},
    [N_INPUT] = {JSCAN_EDGES(INPUT_EDGES), 0, 0, 0},
    [N_TRANSCRIPTION] = {JSCAN_EDGES(TRANSCRIPTION_EDGES), 0, 0, 0},
    [N_TRANSCRIBER] = {.flags = JSCAN_WANT},
    [N_DELTA] = {.flags = JSCAN_WANT},
    [N_CONTENT] = {JSCAN_EDGES(CONTENT_EDGES), 0, 0, 0},
    [N_TURN_ENDS] = {.flags = JSCAN_WANT},
    [N_TURN] = {JSCAN_EDGES(TURN_EDGES), N_TURN, N_TURN, JSCAN_ENTER},
    [N_SAID] = {JSCAN_EDGES(SAID_EDGES), 0, 0, JSCAN_ENTER},
    [N_TEXT] = {.flags = JSCAN_COUNT | JSCAN_WANT},
    [N_DATA] = {.flags = JSCAN_WANT},
    [N_TOOL_CALL] = {.flags = JSCAN_ENTER},
    [N_USAGE] = {.flags = JSCAN_ENTER},
    [N_SPEECH] = {JSCAN_EDGES(SPEECH_EDGES), 0, 0, 0},
    [N_HEARD_AS] = {JSCAN_EDGES(HEARD_AS_EDGES), 0, 0, 0},
    [N_SPOKEN_AS] = {JSCAN_EDGES(SPOKEN_AS_EDGES), 0, 0, 0},
    [N_HEARS] = {.flags = JSCAN_WANT},
    [N_SPEAKS] = {.flags = JSCAN_WANT},
    [N_HEARS_RATE] = {.flags = JSCAN_WANT},
    [N_SPEAKS_RATE] = {.flags = JSCAN_WANT},
};

struct live {
    enum live_kind kind;
    const struct protocol *protocol;
    const struct route *route;
    struct tap *tap;
    bool tap_open;
    struct live_word word;
    /* of the message being read */
    char type[LIVE_ID_MAX_BYTES];
    uint64_t delta_bytes;
    bool turn_ends, is_turn, has_usage;
    struct jscan scan;
};

struct live *live_new(enum live_kind kind, const struct protocol *p, const struct route *route)
{
    struct live *l = xcalloc(1, sizeof(*l));

    l->kind = kind;
    l->protocol = p;
    l->route = route;
    return l;
}

void live_free(struct live *l)
{
    if (!l)
        return;
    tap_free(l->tap);
    free(l);
}

static void take_text(const struct jscan_event *e, char *out, size_t size)
{
    size_t n;

    out[0] = '\0';
    if (e->type != JSCAN_STRING || e->cut || !jscan_unescape(e->text, out, size - 1, &n) ||
        !utf8_is_printable(strv_make(out, n)))
        n = 0;
    out[n] = '\0';
}

static void take_sound(const struct jscan_event *e, struct live_sound *sound)
{
    char name[LIVE_ID_MAX_BYTES];

    take_text(e, name, sizeof(name));
    (void)live_sound_parse(name, sound);
}

static void take_rate(const struct jscan_event *e, struct live_sound *sound)
{
    uint64_t n;

    if (e->type == JSCAN_NUMBER && jscan_count(e->text, &n) == JSCAN_COUNT_OK && n <= UINT32_MAX)
        sound->rate = (uint32_t)n;
}

static void on_value(struct live *l, const struct jscan_event *e)
{
    struct live_word *w = &l->word;
    uint64_t n;

    switch ((enum node)e->node) {
    case N_TYPE:
        take_text(e, l->type, sizeof(l->type));
        break;
    case N_RESPONSE_ID:
        take_text(e, w->response_id, sizeof(w->response_id));
        break;
    case N_LANE:
        take_text(e, w->lane, sizeof(w->lane));
        break;
    case N_STATUS:
        if (e->type == JSCAN_NUMBER && jscan_count(e->text, &n) == JSCAN_COUNT_OK && n < 600)
            w->status = (int)n;
        break;
    case N_EVENT_ID:
        take_text(e, w->event_id, sizeof(w->event_id));
        break;
    case N_MODEL:
        take_text(e, w->model, sizeof(w->model));
        break;
    case N_TRANSCRIBER:
        take_text(e, w->transcriber, sizeof(w->transcriber));
        break;
    case N_DELTA:
        if (e->type == JSCAN_STRING)
            l->delta_bytes += e->text_bytes;
        break;
    case N_DATA:
        if (e->type == JSCAN_STRING)
            w->audio_bytes += e->text_bytes;
        break;
    case N_TURN_ENDS:
        l->turn_ends = l->turn_ends || e->type == JSCAN_TRUE;
        break;
    case N_HEARS:
        take_sound(e, &w->hears);
        break;
    case N_SPEAKS:
        take_sound(e, &w->speaks);
        break;
    case N_HEARS_RATE:
        take_rate(e, &w->hears);
        break;
    case N_SPEAKS_RATE:
        take_rate(e, &w->speaks);
        break;
    case N_SPEECH:
    case N_HEARD_AS:
    case N_SPOKEN_AS:
    case N_SKIP:
    case N_ROOT:
    case N_RESPONSE:
    case N_ERROR:
    case N_SESSION:
    case N_AUDIO:
    case N_INPUT:
    case N_TRANSCRIPTION:
    case N_CONTENT:
    case N_TURN:
    case N_SAID:
    case N_TEXT:
    case N_TOOL_CALL:
    case N_USAGE:
    case N_COUNT:
        break;
    }
}

static void on_event(void *arg, const struct jscan_event *e)
{
    struct live *l = arg;

    if (e->what == JSCAN_AT_VALUE)
        on_value(l, e);
    else if (e->what == JSCAN_AT_ENTER && e->node == N_USAGE)
        l->has_usage = true;
    else if (e->what == JSCAN_AT_ENTER)
        l->is_turn = true;
}

void live_begin(struct live *l)
{
    l->word = (struct live_word){.kind = LIVE_NOTHING};
    l->type[0] = '\0';
    l->delta_bytes = 0;
    l->turn_ends = l->is_turn = l->has_usage = false;
    jscan_start(&l->scan, NODES, N_ROOT, true, on_event, l);
    if (l->tap)
        tap_rest(l->tap);
    l->tap = tap_renew(l->tap, l->protocol, l->route, false);
    tap_head(l->tap, &(struct tap_response){.status = 200,
                                            .content_type = STRV("application/json")});
    l->tap_open = true;
}

void live_feed(struct live *l, struct strv bytes)
{
    struct buf none;

    buf_init(&none, 0);
    if (jscan_feed(&l->scan, bytes) != RC_OK || tap_feed(l->tap, bytes, &none) != RC_OK)
        return; /* told at the end */
}

static bool ends_with(const char *type, const char *end)
{
    return strv_ends(strv_z(type), strv_z(end));
}

/* OpenAI's: the type says it all. */
static void read_type(struct live *l)
{
    struct live_word *w = &l->word;
    const char *t = l->type;

    if (strcmp(t, "response.created") == 0) {
        w->kind = LIVE_BEGINS;
    } else if (strcmp(t, "response.done") == 0 || strcmp(t, "response.completed") == 0 ||
               strcmp(t, "response.incomplete") == 0 || strcmp(t, "response.failed") == 0) {
        w->kind = LIVE_ENDS;
    } else if (strcmp(t, "conversation.item.input_audio_transcription.completed") == 0) {
        w->kind = LIVE_HEARD;
    } else if (strcmp(t, "error") == 0) {
        w->kind = LIVE_FAILS;
    } else if (strv_starts(strv_z(t), STRV("response.")) && ends_with(t, ".delta")) {
        w->kind = LIVE_ADDS;
        if (ends_with(t, "audio.delta"))
            w->audio_bytes = l->delta_bytes;
        else
            w->text_bytes = l->delta_bytes;
    }
}

static void read_google(struct live *l)
{
    struct live_word *w = &l->word;

    w->text_bytes = jscan_counted(&l->scan);
    if (l->turn_ends)
        w->kind = LIVE_ENDS;
    else if (l->is_turn || l->has_usage)
        w->kind = LIVE_ADDS;
}

const struct live_word *live_end(struct live *l)
{
    struct buf none;
    bool good = jscan_finish(&l->scan) == RC_OK;

    buf_init(&none, 0);
    good = tap_finish(l->tap, good, &none) == RC_OK && good;
    l->tap_open = false;
    l->word.tap = l->tap;
    if (good && l->kind == LIVE_GOOGLE)
        read_google(l);
    else if (good)
        read_type(l);
    return &l->word;
}
