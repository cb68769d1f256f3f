/*
 * Who speaks and listens: ElevenLabs and Deepgram, whose speech is told of by a field of the
 * answer's head, and the transcripts of these and of AssemblyAI, which tell how long the sound
 * was.  Where each channel is charged by itself, the seconds are those of all.
 */
#include "metering/usage/reader_table.h"

static const struct reader_word FINISHES[] = {{NULL, 0}};
static const struct reader_word TYPES[] = {{NULL, 0}};

/* ---- speech ------------------------------------------------------------------------------ */

static const struct jscan_node HEAD_NODES[NODE_COUNT] = {
    READER_TABLE_NODES
    [NODE_ROOT] = {NULL, 0, 0, NODE_ROOT, JSCAN_ENTER},
};

static void end_headers(struct reading *r)
{
    usage_set_units(&r->result.usage, &r->metered);
    r->result.inconsistent = r->metered.odd;
    r->result.has_usage = r->result.usage_is_final = true;
}

static const struct reader_header CREDITS[] = {{"character-cost", RAW_CHARACTERS}};
static const struct reader_header CHARACTERS[] = {{"dg-char-count", RAW_CHARACTERS}};

#define HEAD_READER(fields)                                                                    \
    .nodes = HEAD_NODES, .root = NODE_ROOT, .on_event = reader_table_on_event,                 \
    .facts = READER_TABLE_FACTS, .end_document = reader_table_end_document,                    \
    .finishes = FINISHES, .types = TYPES, .headers = (fields),                                 \
    .n_headers = sizeof(fields) / sizeof((fields)[0]), .end_headers = end_headers,             \
    .head_says_all = true

const struct reader READER_CREDITS = {HEAD_READER(CREDITS)};
const struct reader READER_AURA = {HEAD_READER(CHARACTERS)};

/* ---- transcripts ------------------------------------------------------------------------- */

enum { CHANNELS_MAX = 256 }; /* more are not believed */

enum {
    OWN_METADATA = NODE_OWN,
    OWN_INFO,
    OWN_INFO_IN,
    OWN_INFO_OUT,
    OWN_EXTRA,
    OWN_RESULTS,
    OWN_CHANNELS,
    OWN_CHANNEL,
    OWN_WORDS,
    OWN_WORD,
    OWN_WORD_CHANNEL,
    OWN_BEGUN,
};

static void begin_transcript(struct reading *r)
{
    r->data = 0;
    r->iteration = (struct raw_counts){.odd = false};
}

static void add_tokens(struct reading *r, enum raw_count id, const struct jscan_event *e)
{
    struct raw_counts one = {.odd = false};

    reading_count(&one, id, e);
    r->counts.odd = r->counts.odd || one.odd;
    r->has_counts = r->has_counts || e->type != JSCAN_NULL;
    if (raw_has(&one, id) && one.n[id] <= USAGE_MAX_COUNT - r->counts.n[id])
        raw_set(&r->counts, id, r->counts.n[id] + one.n[id]);
}

static void on_channel_of_word(struct reading *r, const struct jscan_event *e)
{
    struct raw_counts one = {.odd = false};

    reading_count(&one, RAW_TOTAL, e);
    if (raw_has(&one, RAW_TOTAL) && one.n[RAW_TOTAL] >= r->data && one.n[RAW_TOTAL] < CHANNELS_MAX)
        r->data = one.n[RAW_TOTAL] + 1;
}

static void on_event(void *arg, const struct jscan_event *e)
{
    struct reading *r = arg;

    switch (e->node) {
    case OWN_INFO_IN:
        add_tokens(r, RAW_INPUT, e);
        break;
    case OWN_INFO_OUT:
        add_tokens(r, RAW_OUTPUT, e);
        break;
    case OWN_INFO:
    case OWN_EXTRA:
        r->result.is_rough = r->result.is_rough || e->what == JSCAN_AT_ENTER;
        break;
    case OWN_CHANNEL:
        if (e->what == JSCAN_AT_ENTER && r->data < CHANNELS_MAX)
            r->data++;
        break;
    case OWN_WORD_CHANNEL:
        on_channel_of_word(r, e);
        break;
    case OWN_BEGUN:
        r->result.pending = r->result.pending || e->type == JSCAN_STRING;
        break;
    default:
        reader_table_on_event(arg, e);
    }
}

/* Each channel was listened to by itself. */
static void end_transcript(struct reading *r)
{
    uint64_t *ms = &r->counts.n[RAW_AUDIO_MS];

    if (r->data > 1 && *ms <= USAGE_MAX_COUNT / r->data)
        *ms *= r->data;
    reader_table_end_document(r);
}

#define TRANSCRIPT(graph)                                                                      \
    .nodes = (graph), .root = NODE_ROOT, .on_event = on_event, .facts = READER_TABLE_FACTS,    \
    .begin_document = begin_transcript, .end_document = end_transcript,                        \
    .finishes = FINISHES, .types = TYPES

/* Deepgram: its request is known by an id alone where the transcript goes elsewhere.  What it
 * calls its models here is not what they are asked for, and priced, by. */
static const struct jscan_edge DEEPGRAM_ROOT[] = {
    JSCAN_EDGE("metadata", OWN_METADATA),
    JSCAN_EDGE("results", OWN_RESULTS),
    JSCAN_EDGE("request_id", OWN_BEGUN),
    JSCAN_EDGE("err_code", NODE_ERROR),
};
static const struct jscan_edge DEEPGRAM_METADATA[] = {
    JSCAN_EDGE("metadata", OWN_METADATA),    JSCAN_EDGE("duration", NODE_SECONDS),
    JSCAN_EDGE("summary_info", OWN_INFO),    JSCAN_EDGE("sentiment_info", OWN_INFO),
    JSCAN_EDGE("topics_info", OWN_INFO),     JSCAN_EDGE("intents_info", OWN_INFO),
    JSCAN_EDGE("diarize_info", OWN_EXTRA),
};
static const struct jscan_edge DEEPGRAM_INFO[] = {
    JSCAN_EDGE("input_tokens", OWN_INFO_IN),
    JSCAN_EDGE("output_tokens", OWN_INFO_OUT),
};
static const struct jscan_edge DEEPGRAM_RESULTS[] = {JSCAN_EDGE("channels", OWN_CHANNELS)};

static const struct jscan_node DEEPGRAM[NODE_COUNT] = {
    READER_TABLE_NODES
    [NODE_ROOT] = {JSCAN_EDGES(DEEPGRAM_ROOT), 0, NODE_ROOT, JSCAN_ENTER},
    [OWN_METADATA] = {JSCAN_EDGES(DEEPGRAM_METADATA), 0, 0, 0},
    [OWN_INFO] = {JSCAN_EDGES(DEEPGRAM_INFO), 0, 0, JSCAN_ENTER},
    [OWN_INFO_IN] = {.flags = JSCAN_WANT},
    [OWN_INFO_OUT] = {.flags = JSCAN_WANT},
    [OWN_EXTRA] = {.flags = JSCAN_ENTER},
    [OWN_RESULTS] = {JSCAN_EDGES(DEEPGRAM_RESULTS), 0, 0, 0},
    [OWN_CHANNELS] = {.item = OWN_CHANNEL},
    [OWN_CHANNEL] = {.flags = JSCAN_ENTER},
    [OWN_BEGUN] = {.flags = JSCAN_WANT},
};
const struct reader READER_DEEPGRAM = {TRANSCRIPT(DEEPGRAM)};

/* ElevenLabs: a message and an id where the transcript goes elsewhere. */
static const struct jscan_edge SCRIBE_ROOT[] = {
    JSCAN_EDGE("audio_duration_secs", NODE_SECONDS), JSCAN_EDGE("transcription_id", NODE_ID),
    JSCAN_EDGE("transcripts", OWN_CHANNELS),         JSCAN_EDGE("words", OWN_WORDS),
    JSCAN_EDGE("message", OWN_BEGUN),                JSCAN_EDGE("text", NODE_TEXT),
};
static const struct jscan_edge SCRIBE_WORD[] = {JSCAN_EDGE("channel_index", OWN_WORD_CHANNEL)};

static const struct jscan_node SCRIBE[NODE_COUNT] = {
    READER_TABLE_NODES
    [NODE_ROOT] = {JSCAN_EDGES(SCRIBE_ROOT), 0, NODE_ROOT, JSCAN_ENTER},
    [OWN_CHANNELS] = {.item = OWN_CHANNEL},
    [OWN_CHANNEL] = {.flags = JSCAN_ENTER},
    [OWN_WORDS] = {.item = OWN_WORD},
    [OWN_WORD] = {JSCAN_EDGES(SCRIBE_WORD), 0, 0, 0},
    [OWN_WORD_CHANNEL] = {.flags = JSCAN_WANT},
    [OWN_BEGUN] = {.flags = JSCAN_WANT},
};
const struct reader READER_SCRIBE = {TRANSCRIPT(SCRIBE)};

/* AssemblyAI: a transcript says what was asked of it, and what beside it costs extra. */
static const struct jscan_edge ASSEMBLYAI_ROOT[] = {
    JSCAN_EDGE("id", NODE_ID),
    JSCAN_EDGE("status", NODE_STATUS),
    JSCAN_EDGE("error", NODE_ERROR),
    JSCAN_EDGE("audio_duration", NODE_SECONDS),
    JSCAN_EDGE("speech_model_used", NODE_MODEL),
    JSCAN_EDGE("multichannel", NODE_ROUGH),
    JSCAN_EDGE("speaker_labels", NODE_ROUGH),
    JSCAN_EDGE("keyterms_prompt", NODE_ROUGH),
    JSCAN_EDGE("prompt", NODE_ROUGH),
    JSCAN_EDGE("entity_detection", NODE_ROUGH),
    JSCAN_EDGE("sentiment_analysis", NODE_ROUGH),
    JSCAN_EDGE("auto_chapters", NODE_ROUGH),
    JSCAN_EDGE("auto_highlights", NODE_ROUGH),
    JSCAN_EDGE("summarization", NODE_ROUGH),
    JSCAN_EDGE("content_safety", NODE_ROUGH),
    JSCAN_EDGE("iab_categories", NODE_ROUGH),
    JSCAN_EDGE("redact_pii", NODE_ROUGH),
    JSCAN_EDGE("filter_profanity", NODE_ROUGH),
    JSCAN_EDGE("speech_understanding", OWN_EXTRA),
    JSCAN_EDGE("upload_url", OWN_BEGUN),
};

/* The whole address is its name (protocol_sound_name). */
static void on_upload(struct reading *r, const struct jscan_event *e)
{
    struct strv name;
    char text[TAP_ID_MAX_BYTES];
    struct jscan_event id = *e;

    if (!protocol_sound_name(e->text, text, sizeof(text), &name))
        return;
    id.text = name;
    fact_id(r, &id);
}

static void on_uploaded(void *arg, const struct jscan_event *e)
{
    struct reading *r = arg;

    if (e->node == OWN_BEGUN)
        on_upload(r, e);
    else
        on_event(arg, e);
}

static const struct jscan_node ASSEMBLYAI[NODE_COUNT] = {
    READER_TABLE_NODES
    [NODE_ROOT] = {JSCAN_EDGES(ASSEMBLYAI_ROOT), 0, NODE_ROOT, JSCAN_ENTER},
    [OWN_EXTRA] = {.flags = JSCAN_ENTER},
    [OWN_BEGUN] = {.flags = JSCAN_WANT},
};
const struct reader READER_ASSEMBLYAI = {
    .nodes = ASSEMBLYAI, .root = NODE_ROOT, .on_event = on_uploaded,
    .facts = READER_TABLE_FACTS, .begin_document = begin_transcript,
    .end_document = end_transcript, .finishes = FINISHES, .types = TYPES};
