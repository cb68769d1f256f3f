/*
 * Requests: what admission must know of a body, read in one forward pass, and
 * where a member goes in that asks for usage.
 */
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "metering/usage/protocol.h"
#include "metering/usage/protocol_int.h"
#include "metering/usage/request_graph.h"
#include "metering/usage/shape.h"

enum {
    TOKEN_ID_BYTES = 3, /* text that a prompt's ready-made token id stands for */
    CAP_OF_COMPLETIONS = 16,
    SIDE_MAX = 1 << 16, /* of an image */
};

struct reading {
    struct jscan scan;
    struct request_facts *facts;
    bool bad;
    uint64_t seen; /* bit per node that may stand only once */
    bool has_stream_options;
    bool options_filled; /* stream_options has members */
    bool options_fixed;  /* stream_options is of no use to us */
    size_t root_open, options_open;
    size_t include_at, include_n; /* value of include_usage to replace */
    bool source_is_text;
    uint64_t source_bytes;
    unsigned prompt_depth; /* arrays open inside a prompt */
    uint64_t prompts;      /* strings and arrays directly inside a prompt's array */
    struct strv spoken;    /* the text of N_PROMPT as the body has it, where it is a string */
    struct strv body;
    struct strv model_id; /* by another name than `model` */
    struct strv job_model;
    bool job_models; /* it was named more than once */
    bool mixed_models;    /* a batch has requests to several */
    uint64_t batch_cap;   /* bounds of its requests, added up */
    unsigned sides[2];    /* of an image: width, height; 0: not said */
};

static void once(struct reading *r, uint8_t node)
{
    if (r->seen & UINT64_C(1) << node)
        r->bad = true;
    r->seen |= UINT64_C(1) << node;
}

/* A short word as it stands in the body; empty for anything else. */
static struct strv word_of(const struct jscan_event *e)
{
    return e->type == JSCAN_STRING && !e->escaped && !e->cut ? e->text : STRV_NONE;
}

static void on_root(struct reading *r, const struct jscan_event *e)
{
    if (e->what == JSCAN_AT_ENTER && e->type == JSCAN_OBJECT)
        r->root_open = (size_t)e->begin + 1;
    else if (e->what != JSCAN_AT_LEAVE)
        r->bad = true; /* not an object */
}

static void on_model(struct reading *r, const struct jscan_event *e)
{
    struct request_facts *f = r->facts;
    size_t n;

    if (e->what == JSCAN_AT_LEAVE)
        return;
    once(r, N_MODEL);
    f->model = STRV_NONE;
    if (e->type == JSCAN_NULL || (e->type == JSCAN_STRING && e->text.n == 0))
        return; /* as good as absent; see the end */
    if (e->type != JSCAN_STRING || e->cut) {
        r->bad = true;
        return;
    }
    if (e->escaped) {
        if (!jscan_unescape(e->text, f->model_text, sizeof(f->model_text), &n)) {
            r->bad = true;
            return;
        }
        f->model = strv_make(f->model_text, n);
    } else {
        f->model = e->text;
    }
    if (f->model.n > REQUEST_MODEL_MAX_BYTES ||
        !(strv_ascii_run(f->model) == f->model.n || utf8_is_printable(f->model)))
        r->bad = true;
}

static void on_stream(struct reading *r, const struct jscan_event *e)
{
    if (e->what == JSCAN_AT_LEAVE)
        return;
    once(r, N_STREAM);
    if (e->what != JSCAN_AT_VALUE ||
        (e->type != JSCAN_TRUE && e->type != JSCAN_FALSE && e->type != JSCAN_NULL))
        r->bad = true;
    else
        r->facts->stream = e->type == JSCAN_TRUE;
}

static void on_options(struct reading *r, const struct jscan_event *e)
{
    if (e->what == JSCAN_AT_LEAVE)
        return;
    once(r, N_OPTIONS);
    r->has_stream_options = true;
    if (e->what == JSCAN_AT_ENTER && e->type == JSCAN_OBJECT) {
        r->options_open = (size_t)e->begin + 1;
    } else if (e->type == JSCAN_NULL) { /* as good as absent */
        r->include_at = (size_t)e->begin;
        r->include_n = (size_t)(e->end - e->begin);
    } else {
        r->options_fixed = true;
    }
}

static void on_include(struct reading *r, const struct jscan_event *e)
{
    if (e->what == JSCAN_AT_LEAVE)
        return;
    once(r, N_INCLUDE);
    r->options_filled = true;
    if (e->what != JSCAN_AT_VALUE) {
        r->options_fixed = true;
    } else if (e->type == JSCAN_TRUE) {
        r->facts->asks_usage = true;
    } else if (e->type == JSCAN_FALSE || e->type == JSCAN_NULL) {
        r->include_at = (size_t)e->begin;
        r->include_n = (size_t)(e->end - e->begin);
    } else {
        r->options_fixed = true;
    }
}

static void on_options_rest(struct reading *r, const struct jscan_event *e)
{
    (void)e;
    r->options_filled = true;
}

static void on_cap(struct reading *r, const struct jscan_event *e)
{
    struct request_facts *f = r->facts;
    uint64_t n;

    if (e->type != JSCAN_NUMBER || jscan_count(e->text, &n) != JSCAN_COUNT_OK)
        return; /* the provider refuses it, or has no bound */
    /* Of two different bounds the provider may take either: reserve for the larger. */
    if (!f->has_max_output || n > f->max_output_tokens)
        f->max_output_tokens = n;
    f->has_max_output = true;
}

static void on_choices(struct reading *r, const struct jscan_event *e)
{
    uint64_t n;

    if (e->type == JSCAN_NUMBER && jscan_count(e->text, &n) == JSCAN_COUNT_OK &&
        n > r->facts->choices)
        r->facts->choices = n;
}

static void on_prompt(struct reading *r, const struct jscan_event *e)
{
    switch (e->what) {
    case JSCAN_AT_ENTER:
        if (e->type == JSCAN_OBJECT && r->prompt_depth == 0)
            r->facts->server_state = true; /* a prompt kept by the provider */
        else if (e->type == JSCAN_OBJECT)
            r->facts->messages++;
        else if (r->prompt_depth++ == 1)
            r->prompts++;
        break;
    case JSCAN_AT_LEAVE:
        if (e->type == JSCAN_ARRAY)
            r->prompt_depth--;
        break;
    case JSCAN_AT_VALUE:
        if (e->type == JSCAN_STRING && r->prompt_depth <= 1) {
            r->prompts++;
            r->spoken = strv_make(r->body.p + e->begin, (size_t)(e->end - e->begin));
        }
        if (e->type == JSCAN_NUMBER)
            r->facts->text_bytes += TOKEN_ID_BYTES;
        break;
    }
}

static void on_source(struct reading *r, const struct jscan_event *e)
{
    if (e->what == JSCAN_AT_ENTER) {
        r->source_is_text = false;
        r->source_bytes = 0;
    } else if (r->source_is_text) {
        r->facts->text_bytes += r->source_bytes;
    } else {
        r->facts->media_parts++;
    }
}

static void on_source_type(struct reading *r, const struct jscan_event *e)
{
    r->source_is_text = e->type == JSCAN_STRING && strv_eq(e->text, STRV("text"));
}

static void on_source_data(struct reading *r, const struct jscan_event *e)
{
    r->source_bytes = e->text_bytes;
}

static void on_message(struct reading *r, const struct jscan_event *e)
{
    r->facts->messages += e->what == JSCAN_AT_ENTER && e->type == JSCAN_OBJECT;
}

static void on_request(struct reading *r, const struct jscan_event *e)
{
    r->facts->messages += e->what == JSCAN_AT_ENTER;
}

static void on_media(struct reading *r, const struct jscan_event *e)
{
    r->facts->media_parts += e->what == JSCAN_AT_ENTER ||
                             (e->what == JSCAN_AT_VALUE && e->type == JSCAN_STRING);
}

static void on_tier(struct reading *r, const struct jscan_event *e)
{
    r->facts->service_tier = word_of(e);
}

static void on_size(struct reading *r, const struct jscan_event *e)
{
    r->facts->size = word_of(e);
}

/* Of an image, where its size is two numbers. */
static void on_side(struct reading *r, const struct jscan_event *e)
{
    uint64_t n;

    if (e->type == JSCAN_NUMBER && jscan_count(e->text, &n) == JSCAN_COUNT_OK && n > 0 &&
        n <= SIDE_MAX)
        r->sides[e->node == N_HEIGHT] = (unsigned)n;
}

static void on_quality(struct reading *r, const struct jscan_event *e)
{
    r->facts->quality = word_of(e);
}

static void on_search_ctx(struct reading *r, const struct jscan_event *e)
{
    r->facts->search_ctx = word_of(e);
}

static void on_seconds(struct reading *r, const struct jscan_event *e)
{
    request_set_seconds(r->facts, e->type == JSCAN_NUMBER ? e->text : word_of(e));
}

static void on_job_model(struct reading *r, const struct jscan_event *e)
{
    r->job_models = r->job_models || r->job_model.n > 0 || e->what != JSCAN_AT_VALUE;
    r->job_model = word_of(e);
}

static void on_input_file(struct reading *r, const struct jscan_event *e)
{
    r->facts->input_file = word_of(e);
}

static void on_model_id(struct reading *r, const struct jscan_event *e)
{
    r->model_id = word_of(e);
}

static void on_state(struct reading *r, const struct jscan_event *e)
{
    r->facts->server_state = r->facts->server_state || e->type != JSCAN_NULL;
}

static void on_background(struct reading *r, const struct jscan_event *e)
{
    r->facts->background = r->facts->background || e->type == JSCAN_TRUE;
}

static void on_tool(struct reading *r, const struct jscan_event *e)
{
    r->facts->has_tools = r->facts->has_tools || e->type == JSCAN_OBJECT;
}

/* Tools that a provider describes to its model itself, in so many tokens: Anthropic's. */
static void on_tool_type(struct reading *r, const struct jscan_event *e)
{
    static const struct {
        const char *begins;
        uint64_t tokens;
    } OWN[] = {
        {"computer_", 4500}, {"browser_", 6600}, {"text_editor_", 700}, {"bash_", 325}};
    struct strv type = word_of(e);

    for (size_t i = 0; i < sizeof(OWN) / sizeof(OWN[0]); i++) {
        if (strv_starts(type, strv_z(OWN[i].begins)))
            r->facts->tool_tokens += OWN[i].tokens;
    }
}

static void on_enterprise(struct reading *r, const struct jscan_event *e)
{
    r->facts->enterprise_search = r->facts->enterprise_search || e->what == JSCAN_AT_ENTER;
}

static void on_annotation(struct reading *r, const struct jscan_event *e)
{
    r->facts->annotates = r->facts->annotates || e->what == JSCAN_AT_ENTER;
}

static void on_billing(struct reading *r, const struct jscan_event *e)
{
    if (e->what != JSCAN_AT_LEAVE)
        once(r, N_BILLING);
}

static void on_bill_to(struct reading *r, const struct jscan_event *e)
{
    if (e->what != JSCAN_AT_LEAVE)
        once(r, N_BILL_TO);
    r->facts->bills_others = strv_eq(word_of(e), STRV("user_profile"));
}

/* The requests of a batch name their models themselves; of several, none is the batch's. */
static void on_batch_model(struct reading *r, const struct jscan_event *e)
{
    struct strv model = word_of(e);

    if (e->what == JSCAN_AT_LEAVE)
        return;
    if (model.n == 0 || model.n > REQUEST_MODEL_MAX_BYTES || !utf8_is_printable(model))
        r->bad = true;
    else if (r->facts->model.n > 0 && !strv_eq(r->facts->model, model))
        r->mixed_models = true;
    else
        r->facts->model = model;
}

static void on_batch_cap(struct reading *r, const struct jscan_event *e)
{
    uint64_t n;

    if (e->type == JSCAN_NUMBER && jscan_count(e->text, &n) == JSCAN_COUNT_OK &&
        __builtin_add_overflow(r->batch_cap, n, &r->batch_cap))
        r->batch_cap = UINT64_MAX;
}

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

/* By node; NULL: it says nothing itself. */
static void (*const FACTS[N_COUNT])(struct reading *r, const struct jscan_event *e) = {
    [N_ROOT] = on_root,
    [N_MODEL] = on_model,
    [N_STREAM] = on_stream,
    [N_OPTIONS] = on_options,
    [N_INCLUDE] = on_include,
    [N_OPTIONS_REST] = on_options_rest,
    [N_CAP] = on_cap,
    [N_CHOICES] = on_choices,
    [N_MESSAGES] = on_message,
    [N_PROMPT] = on_prompt,
    [N_MEDIA] = on_media,
    [N_SOURCE] = on_source,
    [N_SOURCE_TYPE] = on_source_type,
    [N_SOURCE_DATA] = on_source_data,
    [N_TIER] = on_tier,
    [N_TIER_OBJECT] = on_tier,
    [N_SIZE] = on_size,
    [N_QUALITY] = on_quality,
    [N_WIDTH] = on_side,
    [N_HEIGHT] = on_side,
    [N_SEARCH_CTX] = on_search_ctx,
    [N_MODEL_ID] = on_model_id,
    [N_JOB_MODEL] = on_job_model,
    [N_SECONDS] = on_seconds,
    [N_INPUT_FILE] = on_input_file,
    [N_PARAMS_MODEL] = on_batch_model,
    [N_PARAMS_CAP] = on_batch_cap,
    [N_STATE] = on_state,
    [N_BACKGROUND] = on_background,
    [N_TOOLS] = on_tool,
    [N_TOOL_TYPE] = on_tool_type,
    [N_ENTERPRISE] = on_enterprise,
    [N_ANNOTATION] = on_annotation,
    [N_BILLING] = on_billing,
    [N_BILL_TO] = on_bill_to,
    [N_REQUEST] = on_request,
};

static void on_event(void *arg, const struct jscan_event *e)
{
    if (FACTS[e->node] != NULL)
        FACTS[e->node](arg, e);
}

/* Where and how the body would ask for usage. */
static void plan_edit(const struct reading *r, struct request_facts *f)
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
    f->server_state = f->server_state || (entry->flags & ENTRY_THREAD) != 0;
}

enum upload_kind protocol_upload_kind(const struct route *route)
{
    unsigned flags = entry_of(route->endpoint)->flags;

    if (flags & ENTRY_JOINED)
        return UPLOAD_JOINED;
    if (flags & ENTRY_PART)
        return UPLOAD_PART;
    return flags & ENTRY_FILE ? UPLOAD_FILE : UPLOAD_NONE;
}

enum rc protocol_path_facts(const struct route *route, struct request_facts *out)
{
    memset(out, 0, sizeof(*out));
    return route->path_model.n > 0 ? request_path_model(out, route->path_model) : RC_OK;
}

static void conclude_batch(struct reading *r, bool is_wrapped)
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

/* What a job of Bedrock makes lands in S3, and no answer tells what it took: of a video the request
 * says how long it is to be, of anything else nobody says anything.  It names its model under a name
 * of its own: whatever else looks like one is not read there. */
static void conclude_job(struct reading *r)
{
    struct request_facts *f = r->facts;

    f->model = r->job_model;
    r->bad = r->bad || r->job_models || f->model.n == 0;
    if (f->video_ms == 0) {
        f->films = false;
        f->later = true;
    }
}

/* What follows from the whole. */
static void conclude(struct reading *r, const struct protocol *p, const struct route *route)
{
    const struct entry *entry = entry_of(route->endpoint);
    struct request_facts *f = r->facts;

    f->text_bytes += r->scan.counted_bytes;
    f->messages += r->prompts;
    if (route->path_model.n > 0)
        r->bad = request_path_model(f, route->path_model) != RC_OK || r->bad;
    else if (f->model.n == 0)
        f->model = r->model_id;
    if ((entry->flags & ENTRY_STREAMS) && !(r->seen & UINT64_C(1) << N_STREAM))
        f->stream = true;
    f->stream = f->stream || route->path_stream;
    request_set_kind(f, entry);
    request_conclude_video(f);
    conclude_batch(r, (entry->flags & ENTRY_WRAPPED) != 0);
    if (f->films && entry->dialect == DIALECT_INVOKE)
        conclude_job(r);
    if (f->speaks)
        f->characters = count_characters(r->spoken);
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

enum rc protocol_scan_request(const struct protocol *p, const struct route *route,
                              struct strv body, struct shapes *known,
                              struct request_facts *out)
{
    struct reading r = {.facts = out, .body = body};
    enum rc rc;

    memset(out, 0, sizeof(*out));
    out->choices = 1;
    jscan_start(&r.scan, REQUEST_NODES,
                entry_of(route->endpoint)->flags & ENTRY_WRAPPED ? N_WRAPPED : N_ROOT, false,
                on_event, &r);
    rc = shapes_feed(known, &r.scan, body);
    if (rc == RC_OK)
        rc = jscan_finish(&r.scan);
    if (rc == RC_OK)
        conclude(&r, p, route);
    if (rc == RC_OK && (r.bad || r.scan.folded))
        rc = RC_BAD;
    /* A server of one model takes bodies that name none; one that names it wrongly is refused,
     * but by Cohere, who then takes a model of its own choice. */
    if (rc == RC_OK && out->model.n == 0 && (r.seen & UINT64_C(1) << N_MODEL) &&
        route->endpoint->kind == ENDPOINT_METERED &&
        entry_of(route->endpoint)->dialect != DIALECT_COHERE)
        rc = RC_BAD;
    if (rc != RC_OK)
        memset(out, 0, sizeof(*out));
    return rc;
}
