/*
 * Requests: what admission must know of a body, read in one forward pass, and
 * where a member goes in that asks for usage.
 */
#include <string.h>

#include "base/utf8.h"
#include "metering/usage/jscan.h"
#include "metering/usage/protocol.h"
#include "metering/usage/protocol_int.h"

enum node {
    N_SKIP = JSCAN_SKIP,
    N_ROOT,
    N_MODEL,
    N_STREAM,
    N_OPTIONS,
    N_INCLUDE,
    N_OPTIONS_REST,
    N_CAP,
    N_CHOICES,
    N_CONFIG,
    N_MESSAGES,
    N_PROMPT,
    N_CONTENT,
    N_TEXT,
    N_MEDIA,
    N_SOURCE,
    N_SOURCE_TYPE,
    N_SOURCE_DATA,
    N_TIER,
    N_STATE,
    N_BACKGROUND,
    N_REQUESTS,
    N_REQUEST,
    N_TIER_OBJECT,
    N_ASIDE, /* no text of the prompt, whatever it holds */
    N_PARAMS,
    N_PARAMS_MODEL,
    N_PARAMS_CAP,
    N_IMAGES,
    N_SIZE,
    N_QUALITY,
    N_SEARCH_OPTIONS,
    N_SEARCH_CTX,
    N_MODEL_ID,
    N_COUNT,
};

static const struct jscan_edge ROOT_EDGES[] = {
    JSCAN_EDGE("model", N_MODEL),
    JSCAN_EDGE("stream", N_STREAM),
    JSCAN_EDGE("stream_options", N_OPTIONS),
    JSCAN_EDGE("messages", N_MESSAGES),
    JSCAN_EDGE("contents", N_MESSAGES),
    JSCAN_EDGE("content", N_MESSAGES),
    JSCAN_EDGE("input", N_PROMPT),
    JSCAN_EDGE("prompt", N_PROMPT),
    JSCAN_EDGE("system", N_CONTENT),
    JSCAN_EDGE("systemInstruction", N_CONTENT),
    JSCAN_EDGE("system_instruction", N_CONTENT),
    JSCAN_EDGE("instructions", N_TEXT),
    JSCAN_EDGE("suffix", N_TEXT),
    JSCAN_EDGE("tools", N_TEXT),
    JSCAN_EDGE("functions", N_TEXT),
    JSCAN_EDGE("response_format", N_TEXT),
    JSCAN_EDGE("text", N_TEXT),
    JSCAN_EDGE("requests", N_REQUESTS),
    JSCAN_EDGE("max_tokens", N_CAP),
    JSCAN_EDGE("max_completion_tokens", N_CAP),
    JSCAN_EDGE("max_output_tokens", N_CAP),
    JSCAN_EDGE("max_tokens_to_sample", N_CAP),
    JSCAN_EDGE("max_gen_len", N_CAP),
    JSCAN_EDGE("maxTokens", N_CAP),
    JSCAN_EDGE("inferenceConfig", N_CONFIG),
    JSCAN_EDGE("textGenerationConfig", N_CONFIG),
    JSCAN_EDGE("inputText", N_PROMPT),
    JSCAN_EDGE("texts", N_PROMPT),
    JSCAN_EDGE("message", N_PROMPT),
    JSCAN_EDGE("chat_history", N_MESSAGES),
    JSCAN_EDGE("toolConfig", N_TEXT),
    JSCAN_EDGE("promptVariables", N_TEXT),
    JSCAN_EDGE("instances", N_MESSAGES),
    JSCAN_EDGE("n", N_CHOICES),
    JSCAN_EDGE("best_of", N_CHOICES),
    JSCAN_EDGE("generationConfig", N_CONFIG),
    JSCAN_EDGE("generation_config", N_CONFIG),
    JSCAN_EDGE("service_tier", N_TIER),
    JSCAN_EDGE("serviceTier", N_TIER_OBJECT),
    JSCAN_EDGE("previous_response_id", N_STATE),
    JSCAN_EDGE("conversation", N_STATE),
    JSCAN_EDGE("thread", N_STATE),
    JSCAN_EDGE("cachedContent", N_STATE),
    JSCAN_EDGE("cached_content", N_STATE),
    JSCAN_EDGE("background", N_BACKGROUND),
    JSCAN_EDGE("previous_interaction_id", N_STATE),
    JSCAN_EDGE("agent", N_MODEL_ID),
    JSCAN_EDGE("model_id", N_MODEL_ID),
    /* Cohere */
    JSCAN_EDGE("message", N_PROMPT),
    JSCAN_EDGE("chat_history", N_MESSAGES),
    JSCAN_EDGE("preamble", N_TEXT),
    JSCAN_EDGE("documents", N_CONTENT),
    JSCAN_EDGE("texts", N_PROMPT),
    JSCAN_EDGE("images", N_IMAGES),
    JSCAN_EDGE("query", N_CONTENT),
    /* servers of open models */
    JSCAN_EDGE("inputs", N_PROMPT),
    JSCAN_EDGE("options", N_CONFIG),
    JSCAN_EDGE("parameters", N_CONFIG),
    JSCAN_EDGE("sampling_params", N_CONFIG),
    JSCAN_EDGE("n_predict", N_CAP),
    JSCAN_EDGE("maximum_tokens", N_CAP),
    JSCAN_EDGE("instances", N_MESSAGES),
    /* images */
    JSCAN_EDGE("size", N_SIZE),
    JSCAN_EDGE("quality", N_QUALITY),
    JSCAN_EDGE("num_images", N_CHOICES),
    /* what a search is to take in: Perplexity, OpenAI */
    JSCAN_EDGE("web_search_options", N_SEARCH_OPTIONS),
};
static const struct jscan_edge SEARCH_EDGES[] = {
    JSCAN_EDGE("search_context_size", N_SEARCH_CTX)};
/* Of one request of a batch: what its own body would say. */
static const struct jscan_edge PARAMS_EDGES[] = {
    JSCAN_EDGE("model", N_PARAMS_MODEL),      JSCAN_EDGE("messages", N_MESSAGES),
    JSCAN_EDGE("system", N_CONTENT),          JSCAN_EDGE("tools", N_TEXT),
    JSCAN_EDGE("max_tokens", N_PARAMS_CAP),
};
static const struct jscan_edge OPTIONS_EDGES[] = {JSCAN_EDGE("include_usage", N_INCLUDE)};
static const struct jscan_edge CONFIG_EDGES[] = {
    JSCAN_EDGE("maxOutputTokens", N_CAP),     JSCAN_EDGE("max_output_tokens", N_CAP),
    JSCAN_EDGE("maxTokens", N_CAP),           JSCAN_EDGE("max_new_tokens", N_CAP),
    JSCAN_EDGE("maxTokenCount", N_CAP),       JSCAN_EDGE("candidateCount", N_CHOICES),
    JSCAN_EDGE("candidate_count", N_CHOICES), JSCAN_EDGE("responseSchema", N_TEXT),
    JSCAN_EDGE("response_schema", N_TEXT),    JSCAN_EDGE("responseJsonSchema", N_TEXT),
    JSCAN_EDGE("num_predict", N_CAP),         JSCAN_EDGE("sampleCount", N_CHOICES),
};
/* Parts of messages.  What an application made itself (arguments, inputs) is text throughout.
 */
static const struct jscan_edge CONTENT_EDGES[] = {
    JSCAN_EDGE("image_url", N_MEDIA),     JSCAN_EDGE("input_audio", N_MEDIA),
    JSCAN_EDGE("file", N_MEDIA),          JSCAN_EDGE("file_data", N_MEDIA),
    JSCAN_EDGE("file_id", N_MEDIA),       JSCAN_EDGE("file_url", N_MEDIA),
    JSCAN_EDGE("inlineData", N_MEDIA),    JSCAN_EDGE("inline_data", N_MEDIA),
    JSCAN_EDGE("fileData", N_MEDIA),      JSCAN_EDGE("video_url", N_MEDIA),
    JSCAN_EDGE("audio_url", N_MEDIA),     JSCAN_EDGE("audio", N_MEDIA),
    JSCAN_EDGE("source", N_SOURCE),       JSCAN_EDGE("arguments", N_TEXT),
    JSCAN_EDGE("functionCall", N_TEXT),   JSCAN_EDGE("functionResponse", N_TEXT),
    JSCAN_EDGE("function_call", N_TEXT),  JSCAN_EDGE("function_response", N_TEXT),
    JSCAN_EDGE("cache_control", N_ASIDE), JSCAN_EDGE("input", N_TEXT),
    JSCAN_EDGE("cachePoint", N_ASIDE),    JSCAN_EDGE("bytesBase64Encoded", N_MEDIA),
    JSCAN_EDGE("gcsUri", N_MEDIA),
};
static const struct jscan_edge SOURCE_EDGES[] = {
    JSCAN_EDGE("type", N_SOURCE_TYPE),
    JSCAN_EDGE("data", N_SOURCE_DATA),
    JSCAN_EDGE("content", N_CONTENT),
};
/* A word, or Bedrock's object around it. */
static const struct jscan_edge TIER_EDGES[] = {JSCAN_EDGE("type", N_TIER)};
/* Of batchEmbedContents. */
static const struct jscan_edge REQUEST_EDGES[] = {JSCAN_EDGE("content", N_MESSAGES),
                                                  JSCAN_EDGE("params", N_PARAMS)};

static const struct jscan_node NODES[N_COUNT] = {
    [N_ROOT] = {JSCAN_EDGES(ROOT_EDGES), 0, 0, JSCAN_WANT | JSCAN_ENTER | JSCAN_FOLD},
    [N_MODEL] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_STREAM] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_OPTIONS] = {JSCAN_EDGES(OPTIONS_EDGES), N_OPTIONS_REST, 0,
                   JSCAN_WANT | JSCAN_ENTER | JSCAN_FOLD},
    [N_INCLUDE] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_OPTIONS_REST] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_CAP] = {.flags = JSCAN_WANT},
    [N_CHOICES] = {.flags = JSCAN_WANT},
    [N_CONFIG] = {JSCAN_EDGES(CONFIG_EDGES), 0, 0, 0},
    [N_MESSAGES] = {JSCAN_EDGES(CONTENT_EDGES), N_CONTENT, N_MESSAGES,
                    JSCAN_COUNT | JSCAN_ENTER},
    [N_PROMPT] = {JSCAN_EDGES(CONTENT_EDGES), N_CONTENT, N_PROMPT,
                  JSCAN_COUNT | JSCAN_WANT | JSCAN_ENTER},
    [N_CONTENT] = {JSCAN_EDGES(CONTENT_EDGES), N_CONTENT, N_CONTENT, JSCAN_COUNT},
    [N_TEXT] = {NULL, 0, N_TEXT, N_TEXT, JSCAN_COUNT},
    [N_MEDIA] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_SOURCE] = {JSCAN_EDGES(SOURCE_EDGES), 0, 0, JSCAN_ENTER},
    [N_SOURCE_TYPE] = {.flags = JSCAN_WANT},
    [N_SOURCE_DATA] = {.flags = JSCAN_WANT},
    [N_TIER] = {.flags = JSCAN_WANT},
    [N_STATE] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_BACKGROUND] = {.flags = JSCAN_WANT},
    [N_REQUESTS] = {.item = N_REQUEST},
    [N_REQUEST] = {JSCAN_EDGES(REQUEST_EDGES), 0, 0, JSCAN_ENTER},
    [N_TIER_OBJECT] = {JSCAN_EDGES(TIER_EDGES), 0, 0, JSCAN_WANT},
    [N_PARAMS] = {JSCAN_EDGES(PARAMS_EDGES), 0, 0, 0},
    [N_PARAMS_MODEL] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_PARAMS_CAP] = {.flags = JSCAN_WANT},
    [N_IMAGES] = {.item = N_MEDIA},
    [N_SIZE] = {.flags = JSCAN_WANT},
    [N_QUALITY] = {.flags = JSCAN_WANT},
    [N_SEARCH_OPTIONS] = {JSCAN_EDGES(SEARCH_EDGES), 0, 0, 0},
    [N_SEARCH_CTX] = {.flags = JSCAN_WANT},
    [N_MODEL_ID] = {.flags = JSCAN_WANT},
};

enum {
    TOKEN_ID_BYTES = 3, /* text that a prompt's ready-made token id stands for */
    CAP_OF_COMPLETIONS = 16,
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
    bool mixed_models;    /* a batch has requests to several */
    uint64_t batch_cap;   /* bounds of its requests, added up */
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

static void on_model(struct reading *r, const struct jscan_event *e)
{
    struct request_facts *f = r->facts;
    size_t n;

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

/* The requests of a batch name their models themselves; of several, none is the batch's. */
static void on_batch_model(struct reading *r, const struct jscan_event *e)
{
    struct strv model = word_of(e);

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

static void on_event(void *arg, const struct jscan_event *e)
{
    struct reading *r = arg;
    struct request_facts *f = r->facts;

    switch ((enum node)e->node) {
    case N_ROOT:
        if (e->what == JSCAN_AT_ENTER && e->type == JSCAN_OBJECT)
            r->root_open = (size_t)e->begin + 1;
        else if (e->what != JSCAN_AT_LEAVE)
            r->bad = true; /* not an object */
        break;
    case N_MODEL:
        if (e->what != JSCAN_AT_LEAVE)
            on_model(r, e);
        break;
    case N_STREAM:
        if (e->what != JSCAN_AT_LEAVE)
            on_stream(r, e);
        break;
    case N_OPTIONS:
        on_options(r, e);
        break;
    case N_INCLUDE:
        if (e->what != JSCAN_AT_LEAVE)
            on_include(r, e);
        break;
    case N_OPTIONS_REST:
        r->options_filled = true;
        break;
    case N_CAP:
        on_cap(r, e);
        break;
    case N_CHOICES:
        on_choices(r, e);
        break;
    case N_MESSAGES:
        f->messages += e->what == JSCAN_AT_ENTER && e->type == JSCAN_OBJECT;
        break;
    case N_PROMPT:
        on_prompt(r, e);
        break;
    case N_MEDIA:
        f->media_parts +=
            e->what == JSCAN_AT_ENTER || (e->what == JSCAN_AT_VALUE && e->type == JSCAN_STRING);
        break;
    case N_SOURCE:
        on_source(r, e);
        break;
    case N_SOURCE_TYPE:
        r->source_is_text = e->type == JSCAN_STRING && strv_eq(e->text, STRV("text"));
        break;
    case N_SOURCE_DATA:
        r->source_bytes = e->text_bytes;
        break;
    case N_TIER:
    case N_TIER_OBJECT:
        f->service_tier = word_of(e);
        break;
    case N_SIZE:
        f->size = word_of(e);
        break;
    case N_QUALITY:
        f->quality = word_of(e);
        break;
    case N_SEARCH_CTX:
        f->search_ctx = word_of(e);
        break;
    case N_MODEL_ID:
        r->model_id = word_of(e);
        break;
    case N_PARAMS_MODEL:
        if (e->what != JSCAN_AT_LEAVE)
            on_batch_model(r, e);
        break;
    case N_PARAMS_CAP:
        on_batch_cap(r, e);
        break;
    case N_STATE:
        f->server_state = f->server_state || e->type != JSCAN_NULL;
        break;
    case N_BACKGROUND:
        f->background = e->type == JSCAN_TRUE;
        break;
    case N_REQUEST:
        f->messages += e->what == JSCAN_AT_ENTER;
        break;
    case N_SKIP:
    case N_ASIDE:
    case N_CONFIG:
    case N_CONTENT:
    case N_TEXT:
    case N_REQUESTS:
    case N_PARAMS:
    case N_IMAGES:
    case N_SEARCH_OPTIONS:
    case N_COUNT:
        break;
    }
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

void request_set_kind(struct request_facts *f, const struct entry *entry)
{
    f->embeds = (entry->flags & ENTRY_EMBEDS) != 0;
    f->draws = (entry->flags & ENTRY_IMAGES) != 0;
    f->speaks = (entry->flags & ENTRY_SPEECH) != 0;
    f->listens = (entry->flags & ENTRY_AUDIO) != 0;
    f->ranks = (entry->flags & ENTRY_RERANK) != 0;
    f->later = (entry->flags & ENTRY_LATER) != 0;
    f->server_state = f->server_state || (entry->flags & ENTRY_THREAD) != 0;
}

static void conclude_batch(struct reading *r)
{
    struct request_facts *f = r->facts;

    if (r->mixed_models)
        f->model = STRV_NONE;
    if (r->batch_cap > 0) {
        f->has_max_output = true;
        f->max_output_tokens = r->batch_cap;
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
    conclude_batch(r);
    if (f->speaks)
        f->characters = count_characters(r->spoken);
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
                              struct strv body, struct request_facts *out)
{
    struct reading r = {.facts = out, .body = body};
    enum rc rc;

    memset(out, 0, sizeof(*out));
    out->choices = 1;
    jscan_start(&r.scan, NODES, N_ROOT, false, on_event, &r);
    rc = jscan_whole(&r.scan, body);
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
