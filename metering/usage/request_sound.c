/*
 * Requests of those who speak and listen: bodies that are sound, options that stand in the
 * query, models that the endpoint has where the request names none.
 */
#include <string.h>

#include "base/utf8.h"
#include "metering/usage/audio.h"
#include "metering/usage/protocol_int.h"

enum {
    SOUND = ENTRY_QUERY | ENTRY_AUDIO,
    STEREO = 2, /* channels that are reserved where each is charged */
    CREDIT_CHARACTERS = 2, /* of ElevenLabs' fast models */
};

bool protocol_is_sound(const struct route *route, struct strv content_type)
{
    struct strv type = strv_trim(strv_head(content_type, strv_find(content_type, ';')));

    /* Also what says that it is a form: it is none there, and its bytes are heard. */
    return (entry_of(route->endpoint)->flags & SOUND) == SOUND &&
           !strv_eq_nocase(type, STRV("application/json"));
}

/* A switch that is on. */
static bool is_on(struct strv value)
{
    return !strv_eq_nocase(value, STRV("false")) && !strv_eq(value, STRV("0"));
}

struct query {
    bool has_model, is_split;
    struct strv model;
};

/* Parameters that cost something of their own, and no answer tells how much. */
static bool is_extra(struct strv name, struct strv value)
{
    static const struct strv SWITCHES[] = {{"diarize", 7}, {"mip_opt_out", 11},
                                           {"detect_entities", 15}};
    static const struct strv TEXTS[] = {{"diarize_model", 13}, {"keyterm", 7}, {"redact", 6}};

    for (size_t i = 0; i < sizeof(SWITCHES) / sizeof(SWITCHES[0]); i++) {
        if (strv_eq(name, SWITCHES[i]))
            return is_on(value);
    }
    for (size_t i = 0; i < sizeof(TEXTS) / sizeof(TEXTS[0]); i++) {
        if (strv_eq(name, TEXTS[i]))
            return is_on(value);
    }
    return false;
}

/* False where another reader might take the parameter for another one. */
static bool take_parameter(struct request_facts *f, struct query *q, struct strv part)
{
    size_t at = strv_find(part, '=');
    struct strv name = strv_head(part, at), value = strv_skip(part, at + 1);

    if (memchr(name.p, '%', name.n) != NULL || memchr(name.p, '+', name.n) != NULL)
        return false;
    if (strv_eq(name, STRV("language")) && memchr(value.p, '%', value.n) != NULL)
        return false;
    if (strv_eq(name, STRV("model"))) {
        if (q->has_model)
            return false;
        q->has_model = true;
        q->model = value;
    } else if (strv_eq(name, STRV("language")) && strv_eq_nocase(value, STRV("multi"))) {
        f->quality = STRV("multilingual");
    } else if (strv_eq(name, STRV("multichannel"))) {
        q->is_split = q->is_split || is_on(value);
    } else {
        f->has_extras = f->has_extras || is_extra(name, value);
    }
    return true;
}

static enum rc read_query(struct request_facts *f, struct strv query)
{
    struct query q = {.has_model = false};
    struct strv part;

    f->model = STRV_NONE;
    f->quality = STRV("monolingual");
    while (strv_split(&query, '&', &part)) {
        if (part.n > 0 && !take_parameter(f, &q, part))
            return RC_BAD;
    }
    if (q.is_split && f->audio_ms <= UINT64_MAX / STEREO)
        f->audio_ms *= STEREO;
    return q.model.n > 0 ? request_path_model(f, q.model) : RC_OK;
}

/* Characters that ElevenLabs charges for as one, by the model. */
static bool is_half_charged(struct strv model)
{
    return strv_starts(model, STRV("eleven_flash_v2")) ||
           strv_starts(model, STRV("eleven_turbo_v2"));
}

enum rc request_conclude_sound(struct request_facts *f, const struct route *route)
{
    const struct entry *entry = entry_of(route->endpoint);

    if ((entry->flags & ENTRY_QUERY) && read_query(f, route->query) != RC_OK)
        return RC_BAD;
    if (entry->is_only)
        f->model = STRV_NONE;
    if (f->model.n == 0 && entry->model != NULL)
        f->model = strv_z(entry->model);
    if (entry->dialect == DIALECT_CREDITS && is_half_charged(f->model))
        f->characters = f->characters / CREDIT_CHARACTERS + f->characters % CREDIT_CHARACTERS;
    if (f->listens && f->audio_ms == 0 && entry->most_ms > 0) {
        f->audio_ms = entry->most_ms;
        f->audio_is_guess = true;
    }
    return RC_OK;
}

bool protocol_sound_name(struct strv address, char *text, size_t size, struct strv *name)
{
    if (address.n == 0 || address.n >= size)
        return false;
    for (size_t i = 0; i < address.n; i++)
        text[i] = address.p[i] == '/' ? '|' : address.p[i];
    *name = strv_make(text, address.n);
    return true;
}

bool protocol_names_ids(const struct protocol *p, const struct route *route)
{
    return p->shape == SHAPE_ELEVENLABS ||
           entry_of(route->endpoint)->dialect == DIALECT_ASSEMBLYAI;
}

static bool is_document(struct strv body)
{
    size_t i = 0;

    while (i < body.n && memchr(" \t\r\n", body.p[i], 4) != NULL)
        i++;
    return i < body.n && body.p[i] == '{';
}

enum rc protocol_scan_sound(const struct route *route, struct strv body,
                            struct request_facts *out)
{
    enum rc rc;

    memset(out, 0, sizeof(*out));
    out->choices = 1;
    request_set_kind(out, entry_of(route->endpoint));
    out->media_parts = 1;
    if (!is_document(body)) /* whatever its type says; then it is what names the sound */
        out->audio_ms = audio_length_ms(body);
    rc = body.n > 0 ? request_conclude_sound(out, route) : RC_BAD;
    if (rc != RC_OK)
        memset(out, 0, sizeof(*out));
    return rc;
}
