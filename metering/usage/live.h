/*
 * live.h - what the messages of a WebSocket say on which calls are made: OpenAI's responses and
 * realtime (and all who speak them), Google's Live.
 *
 * A connection carries many calls.  Here a client's message is read for what it asks (before it
 * goes on), and a server's, as it passes, for which answer it belongs to and what that took.
 * Whose answer it is, the proxy decides; nothing here keeps more than one message's worth.
 *
 * Client messages are read whole and strictly: what a provider could read as another message
 * than the gateway does is refused.  Server messages are read as they come, split anywhere.
 */
#ifndef METERING_USAGE_LIVE_H
#define METERING_USAGE_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "metering/usage/protocol.h"
#include "metering/usage/tap.h"

enum live_kind {
    LIVE_NONE = 0,
    LIVE_RESPONSES, /* OpenAI's responses: one request body a message */
    LIVE_REALTIME,
    LIVE_GOOGLE,
};

/* What an endpoint of kind ENDPOINT_SOCKET opens. */
struct live_protocol {
    enum live_kind kind;
    const struct endpoint *answer;        /* of its calls */
    const struct endpoint *transcription; /* of what is heard beside them; NULL: nothing is */
};
const struct live_protocol *live_protocol(const struct endpoint *endpoint);
/* The model in the query ("model=", Azure's "deployment="), decoded to out; false: not plain
 * text, or too long. Empty where the query names none. */
bool live_query_model(struct strv query, char out[REQUEST_MODEL_MAX_BYTES], struct strv *model);

/*
 * What base64 of sound comes to as PCM of 24,000 samples a second, in which tokens are told: 16
 * bits a sample of what OpenAI's "pcm16" and "audio/pcm" are unless a rate is given, 8 bits and
 * 8,000 samples of G.711 ("g711_ulaw", "g711_alaw", "audio/pcmu", "audio/pcma"), so that a byte
 * of it is as long as six.
 */
struct live_sound {
    bool is_said;   /* otherwise the preset: PCM */
    bool is_g711;
    uint32_t rate;  /* of PCM, samples a second; 0: 24,000 */
};
uint64_t live_sound_bytes(const struct live_sound *s, uint64_t base64_bytes);

enum { LIVE_ID_MAX_BYTES = 128, LIVE_LANE_MAX_BYTES = 64 };

/* ---- from the client ----------------------------------------------------------------- */

enum live_ask_kind {
    LIVE_PASSES = 0, /* asks for no answer */
    LIVE_CREATES,    /* asks for one */
    LIVE_FEEDS,      /* sound or pictures, which the server may answer by itself */
    LIVE_STRANGE,    /* no such message, or one that could be read in two ways */
};

struct live_ask {
    enum live_ask_kind kind;
    char event_id[LIVE_ID_MAX_BYTES]; /* the client's own, "" where it gave none */
    char lane[LIVE_LANE_MAX_BYTES];   /* stream_id */
    char model[REQUEST_MODEL_MAX_BYTES];       /* "" where the message names none */
    char transcriber[REQUEST_MODEL_MAX_BYTES]; /* model that is to write down what is said */
    bool has_max_output;  /* bounds the answer */
    bool has_session_max; /* bounds all answers from now on; 0: none does */
    uint64_t max_output, session_max;
    struct live_sound hears, speaks; /* of the session; of one answer with LIVE_CREATES */
    uint64_t text_bytes;  /* that the conversation has more of */
    uint64_t audio_bytes; /* likewise, in base64 */
    bool has_state;       /* names an answer or conversation that the provider keeps */
};

/* Reads a whole message. */
void live_read_ask(enum live_kind kind, struct strv message, struct live_ask *out);

/* ---- from the server ----------------------------------------------------------------- */

enum live_word_kind {
    LIVE_NOTHING = 0,
    LIVE_BEGINS,  /* an answer */
    LIVE_ADDS,    /* to it */
    LIVE_ENDS,    /* it; with its usage */
    LIVE_HEARD,   /* what the client said was written down; with its usage */
    LIVE_FAILS,   /* an error: of a message of the client's, or of an answer */
};

struct live_word {
    enum live_word_kind kind;
    char response_id[LIVE_ID_MAX_BYTES];
    char lane[LIVE_LANE_MAX_BYTES];
    char event_id[LIVE_ID_MAX_BYTES]; /* LIVE_FAILS: of the client's message, as it gave it */
    int status;                       /* LIVE_FAILS: as HTTP has it; 0: not said */
    char model[REQUEST_MODEL_MAX_BYTES];       /* of the session; "": not said */
    char transcriber[REQUEST_MODEL_MAX_BYTES]; /* likewise */
    struct live_sound hears, speaks;           /* likewise */
    uint64_t text_bytes;  /* generated */
    uint64_t audio_bytes; /* likewise, in base64 */
    /* Counts, model, tier and end as far as the message tells; valid until the next. */
    const struct tap *tap;
};

struct live;

/* The reader of one connection's server messages; route: of one of its answers. */
struct live *live_new(enum live_kind kind, const struct protocol *p, const struct route *route);
void live_free(struct live *l); /* NULL is legal */
/* A message begins; some of it; its end. What is no JSON says nothing. */
void live_begin(struct live *l);
void live_feed(struct live *l, struct strv bytes);
const struct live_word *live_end(struct live *l);

/* ---- our own words -------------------------------------------------------------------- */

/*
 * Appends the error event that refuses a message: event_id and lane are the client's.
 * RC_STATE where the protocol has none (Google's Live): the connection is closed instead.
 */
enum rc live_refusal(enum live_kind kind, enum refusal r, struct strv message,
                     struct strv request_id, const char *event_id, const char *lane,
                     struct buf *out) RC_MUST;
/* Appends the message that ends an answer early. RC_STATE where there is none. */
enum rc live_cancel(enum live_kind kind, const char *response_id, struct buf *out) RC_MUST;

/* The format that a member of a message names; true where it is one of sound. */
bool live_sound_parse(const char *name, struct live_sound *out);

/* Tokens that so much sound has at the most, by the base64 that carries it (OpenAI's:
 * live_sound_bytes of it). */
uint64_t live_input_audio_tokens(enum live_kind kind, uint64_t base64_bytes);
uint64_t live_output_audio_tokens(enum live_kind kind, uint64_t base64_bytes);

#endif
