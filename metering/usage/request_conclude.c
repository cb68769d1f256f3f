/*
 * Requests: what follows from the whole of a body and its path, once each member was read.
 */
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "metering/usage/request_graph.h"
#include "metering/usage/request_reading.h"

enum { CAP_OF_COMPLETIONS = 16 };

/* Characters of a string as JSON spells it, quotes included: an escape is one, a pair too. */
static uint64_t count_characters(struct strv text)
{
    uint64_t n = 0;

    for (size_t i = 1; i + 1 < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];

        if (c == '\\' && text.p[i + 1] == 'u' && i + 3 < text.n) {
            bool low = (text.p[i + 2] | 0x20) == 'd' && strchr("cdefCDEF", text.p[i + 3]);

            n += !low;
            i += 5;
        } else {
            n += (c & 0xc0) != 0x80;
            i += c == '\\';
        }
    }
    return n;
}

/* Where and how the body would ask for usage. */
static void plan_edit(const struct request_reading *r, struct request_facts *f)
{
    if (!f->stream || f->asks_usage || r->options_fixed)
        return;
    f->can_ask_usage = true;
    if (!r->has_stream_options) {
        f->edit_at = r->root_open;
        f->edit_text = STRV("\"stream_options\":{\"include_usage\":true},");
    } else if (r->include_n > 0) {
        f->edit_at = r->include_at;
        f->edit_cut = r->include_n;
        f->edit_text = r->options_open > 0 ? STRV("true") : STRV("{\"include_usage\":true}");
    } else {
        f->edit_at = r->options_open;
        f->edit_text = r->options_filled ? STRV("\"include_usage\":true,")
                                         : STRV("\"include_usage\":true");
    }
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum rc request_path_model(struct request_facts *f, struct strv path)
{
    size_t n = 0;

    for (size_t i = 0; i < path.n; i++) {
        char c = path.p[i];

        if (c == '%') {
            int high = path.n - i > 2 ? hex_value(path.p[i + 1]) : -1;
            int low = path.n - i > 2 ? hex_value(path.p[i + 2]) : -1;

            if (high < 0 || low < 0)
                return RC_BAD;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (n == sizeof(f->model_text))
            return RC_BAD;
        f->model_text[n++] = c;
    }
    f->model = strv_make(f->model_text, n);
    return utf8_is_printable(f->model) ? RC_OK : RC_BAD;
}

void request_set_seconds(struct request_facts *f, struct strv text)
{
    enum { MILLI_PLACES = 3, SECONDS_MAX = 86400 };
    struct strv fraction;
    uint64_t whole, ms = 0;

    if (strv_ends(text, STRV("s"))) /* "5s" */
        text.n--;
    fraction = strv_skip(text, strv_find(text, '.'));

    if (!strv_parse_u64(strv_head(text, text.n - fraction.n), SECONDS_MAX, &whole))
        return;
    for (size_t i = 1; i <= MILLI_PLACES; i++) {
        bool is_digit = i < fraction.n && fraction.p[i] >= '0' && fraction.p[i] <= '9';

        ms = ms * 10 + (is_digit ? (uint64_t)(fraction.p[i] - '0') : 0);
    }
    ms += whole * 1000;
    if (ms > f->video_ms)
        f->video_ms = ms;
}

void request_conclude_video(struct request_facts *f)
{
    if (f->films && f->model.n == 0)
        f->model = STRV("sora-2"); /* whose provider is the only one that takes none */
}

void request_set_kind(struct request_facts *f, const struct entry *entry)
{
    f->embeds = (entry->flags & ENTRY_EMBEDS) != 0;
    f->draws = (entry->flags & ENTRY_IMAGES) != 0;
    f->speaks = (entry->flags & ENTRY_SPEECH) != 0;
    f->listens = (entry->flags & ENTRY_AUDIO) != 0;
    f->ranks = (entry->flags & ENTRY_RERANK) != 0;
    f->later = (entry->flags & ENTRY_LATER) != 0;
    f->films = (entry->flags & ENTRY_VIDEO) != 0;
    f->guards = (entry->flags & ENTRY_GUARD) != 0;
    f->server_state = f->server_state || (entry->flags & ENTRY_THREAD) != 0;
}

enum upload_kind protocol_upload_kind(const struct route *route)
{
    unsigned flags = entry_of(route->endpoint)->flags;

    if (flags & ENTRY_JOINED)
        return UPLOAD_JOINED;
    if (flags & ENTRY_PART)
        return UPLOAD_PART;
    if (flags & ENTRY_FILE)
        return flags & ENTRY_AUDIO ? UPLOAD_SOUND : UPLOAD_FILE;
    return UPLOAD_NONE;
}

enum rc protocol_path_facts(const struct route *route, struct request_facts *out)
{
    memset(out, 0, sizeof(*out));
    return route->path_model.n > 0 ? request_path_model(out, route->path_model) : RC_OK;
}

/* Alibaba bounds what is said and what is thought apart. */
static void conclude_thinking(const struct request_reading *r)
{
    struct request_facts *f = r->facts;

    if (!r->thinks && r->thinking == 0)
        return;
    if (r->thinking == 0 || !f->has_max_output ||
        __builtin_add_overflow(f->max_output_tokens, r->thinking, &f->max_output_tokens))
        f->has_max_output = false;
}

static void conclude_batch(struct request_reading *r, bool is_wrapped)
{
    struct request_facts *f = r->facts;

    if (r->mixed_models)
        f->model = STRV_NONE;
    if (f->later && !f->films && !is_wrapped)
        f->service_tier = STRV("batch");
    if (r->batch_cap > 0) {
        f->has_max_output = true;
        f->max_output_tokens = r->batch_cap;
    }
}

/* What a job of Bedrock makes lands in S3, and no answer tells what it took: of a video the
 * request says how long it is to be, of anything else nobody says anything.  It names its model
 * under a name of its own: whatever else looks like one is not read there. */
static void conclude_job(struct request_reading *r)
{
    struct request_facts *f = r->facts;

    f->model = r->job_model;
    r->bad = r->bad || r->job_models || f->model.n == 0;
    if (f->video_ms == 0) {
        f->films = false;
        f->later = true;
    }
}

/* The model is the agent's, which the body names only where it is to be another. */
static void conclude_session(struct request_reading *r, const struct route *route)
{
    struct request_facts *f = r->facts;

    f->agent = r->agent_name.n > 0 ? r->agent_name : r->model_id;
    if (!r->is_dream)
        f->model = r->agent_model;
    f->names_model = f->model.n > 0;
    f->may_mix = r->team_told ? r->team_on : r->agent_name.n > 0;
    f->service_tier = r->agent_tier;
    f->server_state = true;
    f->sets_to_work = r->is_dream || f->messages > 0 || (route->path_id.n > 0 && f->later);
}

/* 0 where nobody says: of a plan whose sections do not. */
static uint64_t music_length(const struct request_reading *r)
{
    if (!r->has_plan)
        return r->length_ms;
    return r->plan_ms == 0 || r->plan_ms > r->length_ms ? r->plan_ms : r->length_ms;
}

void request_conclude(struct request_reading *r, const struct protocol *p,
                      const struct route *route)
{
    const struct entry *entry = entry_of(route->endpoint);
    struct request_facts *f = r->facts;

    f->text_bytes += r->scan.counted_bytes;
    f->messages += r->prompts;
    if (route->path_model.n > 0) {
        r->bad = request_path_model(f, route->path_model) != RC_OK || r->bad;
    } else if (f->model.n == 0 || protocol_names_ids(p, route)) {
        f->model = r->model_id;
        r->bad = r->bad || (r->model_id_is_odd && !route->is_session);
    }
    if ((entry->flags & ENTRY_STREAMS) && !(r->seen & UINT64_C(1) << N_STREAM))
        f->stream = true;
    f->stream = f->stream || route->path_stream;
    request_set_kind(f, entry);
    request_conclude_video(f);
    if (f->guards)
        f->model = STRV("guardrail"); /* whichever it is, its policies have their prices */
    conclude_batch(r, (entry->flags & ENTRY_WRAPPED) != 0 || r->takes_object);
    conclude_thinking(r);
    if (f->films && entry->dialect == DIALECT_INVOKE)
        conclude_job(r);
    if (route->is_session)
        conclude_session(r, route);
    if (r->is_fast)
        f->service_tier = STRV("fast");
    if (f->searches > 0 && r->tool_calls > f->searches)
        f->searches = r->tool_calls;
    if (f->speaks) /* a dialogue's lines are many: their bytes are more than its characters */
        f->characters = r->spoken.n > 0 && !r->has_lines ? count_characters(r->spoken)
                                                         : f->text_bytes;
    if (f->listens && protocol_names_ids(p, route) && entry->dialect == DIALECT_NONE)
        f->audio_ms = music_length(r);
    r->bad = request_conclude_sound(f, route) != RC_OK || r->bad;
    if (f->draws && f->size.n == 0 && r->sides[0] > 0 && r->sides[1] > 0) {
        (void)snprintf(f->size_text, sizeof(f->size_text), "%ux%u", r->sides[0], r->sides[1]);
        f->size = strv_z(f->size_text);
    }
    if (entry->flags & ENTRY_CAP_16) {
        if (!f->has_max_output) {
            f->has_max_output = true;
            f->max_output_tokens = CAP_OF_COMPLETIONS;
        }
        if (r->prompts > 1 && __builtin_mul_overflow(f->choices, r->prompts, &f->choices))
            f->choices = UINT64_MAX;
    }
    if ((entry->flags & ENTRY_EDIT) && !p->usage_unasked)
        plan_edit(r, f);
    if (p->usage_unasked && f->stream)
        f->asks_usage = true;
}
