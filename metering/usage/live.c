/*
 * What the gateway itself says on a WebSocket, and what sound comes to in tokens.
 */
#include "metering/usage/live.h"

#include <string.h>

#include "base/jsonw.h"
#include "base/utf8.h"
#include "metering/usage/refusal.h"

enum {
    /* 24,000 samples a second of two bytes are 64,000 of base64; OpenAI counts 10 tokens a
     * second in and 20 out. */
    REALTIME_IN_BYTES = 6400,
    REALTIME_OUT_BYTES = 3200,
    /* Google takes 16,000 samples a second in and gives 24,000, at 25 to 32 tokens a second. */
    GOOGLE_IN_BYTES = 1333,
    GOOGLE_OUT_BYTES = 2000,
};

enum {
    PCM_RATE = 24000,
    PCM_RATE_MIN = 1000, /* a lower one is taken for this */
    G711_LONGER = 6,     /* 48,000 bytes a second against 8,000 */
};

bool live_sound_parse(const char *name, struct live_sound *out)
{
    static const struct {
        const char *name;
        bool is_g711;
    } NAMES[] = {{"pcm16", false},     {"audio/pcm", false},  {"g711_ulaw", true},
                 {"g711_alaw", true},  {"audio/pcmu", true},  {"audio/pcma", true}};

    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        if (strcmp(name, NAMES[i].name) == 0) {
            out->is_said = true;
            out->is_g711 = NAMES[i].is_g711;
            return true;
        }
    }
    return false;
}

uint64_t live_sound_bytes(const struct live_sound *s, uint64_t base64_bytes)
{
    uint64_t rate = s->rate > PCM_RATE_MIN ? s->rate : PCM_RATE_MIN, out;

    if (s->is_g711)
        return base64_bytes > UINT64_MAX / G711_LONGER ? UINT64_MAX : base64_bytes * G711_LONGER;
    if (s->rate == 0 || s->rate >= PCM_RATE) /* a faster one would make it shorter: not believed */
        return base64_bytes;
    return __builtin_mul_overflow(base64_bytes, PCM_RATE, &out) ? UINT64_MAX : out / rate;
}

static uint64_t divide_up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

uint64_t live_input_audio_tokens(enum live_kind kind, uint64_t base64_bytes)
{
    return divide_up(base64_bytes, kind == LIVE_GOOGLE ? GOOGLE_IN_BYTES : REALTIME_IN_BYTES);
}

uint64_t live_output_audio_tokens(enum live_kind kind, uint64_t base64_bytes)
{
    return divide_up(base64_bytes, kind == LIVE_GOOGLE ? GOOGLE_OUT_BYTES : REALTIME_OUT_BYTES);
}

/* Two hexadecimal digits; -1: they are none. */
static int hex_pair(const char *p)
{
    int value = 0;

    for (int i = 0; i < 2; i++) {
        const char *digits = "0123456789abcdef";
        char c = p[i] >= 'A' && p[i] <= 'F' ? (char)(p[i] | 0x20) : p[i];
        const char *found = c ? strchr(digits, c) : NULL;

        if (!found)
            return -1;
        value = value * 16 + (int)(found - digits);
    }
    return value;
}

bool live_query_model(struct strv query, char out[REQUEST_MODEL_MAX_BYTES], struct strv *model)
{
    struct strv part;
    size_t n = 0;
    bool found = false;

    *model = STRV_NONE;
    while (strv_split(&query, '&', &part)) {
        size_t at = strv_find(part, '=');
        struct strv name = strv_head(part, at), value = strv_skip(part, at + 1);

        if (!strv_eq(name, STRV("model")) && !strv_eq(name, STRV("deployment")))
            continue;
        if (found)
            return false; /* twice: the provider may take either */
        found = true;
        for (size_t i = 0; i < value.n; i++) {
            int c = (unsigned char)value.p[i];

            if (c == '%') {
                c = i + 2 < value.n ? hex_pair(value.p + i + 1) : -1;
                i += 2;
            }
            if (c < 0 || n == REQUEST_MODEL_MAX_BYTES)
                return false;
            out[n++] = (char)c;
        }
    }
    *model = strv_make(out, n);
    return n == 0 || utf8_is_printable(*model);
}

static void member(struct jsonw *w, struct strv key, struct strv value)
{
    jsonw_key(w, key);
    jsonw_string(w, value);
}

enum rc live_refusal(enum live_kind kind, enum refusal r, struct strv message,
                     struct strv request_id, const char *event_id, const char *lane,
                     struct buf *out)
{
    struct jsonw w;

    if (kind != LIVE_RESPONSES && kind != LIVE_REALTIME)
        return RC_STATE;
    jsonw_start(&w, out);
    jsonw_object(&w);
    member(&w, STRV("type"), STRV("error"));
    member(&w, STRV("event_id"), request_id);
    if (kind == LIVE_RESPONSES) {
        jsonw_key(&w, STRV("status"));
        jsonw_int(&w, refusal_status(r));
        if (lane[0] != '\0')
            member(&w, STRV("stream_id"), strv_z(lane));
    }
    jsonw_key(&w, STRV("error"));
    jsonw_object(&w);
    member(&w, STRV("type"), strv_z(refusal_class(r)->openai));
    member(&w, STRV("code"), strv_z(refusal_code(r)));
    member(&w, STRV("message"), message);
    jsonw_key(&w, STRV("param"));
    jsonw_null(&w);
    if (event_id[0] != '\0')
        member(&w, STRV("event_id"), strv_z(event_id));
    jsonw_end(&w);
    jsonw_end(&w);
    return jsonw_finish(&w);
}

enum rc live_cancel(enum live_kind kind, const char *response_id, struct buf *out)
{
    struct jsonw w;

    if (kind != LIVE_REALTIME)
        return RC_STATE;
    jsonw_start(&w, out);
    jsonw_object(&w);
    member(&w, STRV("type"), STRV("response.cancel"));
    if (response_id[0] != '\0')
        member(&w, STRV("response_id"), strv_z(response_id));
    jsonw_end(&w);
    return jsonw_finish(&w);
}
