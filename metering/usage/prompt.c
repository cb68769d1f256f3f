#include "metering/usage/prompt.h"

#include <string.h>

#include "metering/usage/estimate.h"
#include "metering/usage/protocol_int.h"

enum node {
    N_SKIP = JSCAN_SKIP,
    N_ROOT,
    N_MESSAGES,
    N_MESSAGE,
    N_CONTENT,
    N_PART,
    N_TEXT,
    N_NAME,
    N_IMAGE,
    N_DETAIL,
    N_MEDIA,
    N_CALLS,
    N_CALL,
    N_TOOLS,
    N_PROMPT,
    N_IDS,
    N_INPUT,
    N_INSTRUCTIONS,
    N_STATE,
    N_COUNT,
};

static const struct jscan_edge ROOT_EDGES[] = {
    JSCAN_EDGE("messages", N_MESSAGES),       JSCAN_EDGE("prompt", N_PROMPT),
    JSCAN_EDGE("input", N_PROMPT),            JSCAN_EDGE("suffix", N_TEXT),
    JSCAN_EDGE("tools", N_TOOLS),             JSCAN_EDGE("functions", N_TOOLS),
    JSCAN_EDGE("response_format", N_TOOLS),
};
static const struct jscan_edge RESPONSES_EDGES[] = {
    JSCAN_EDGE("input", N_INPUT),
    JSCAN_EDGE("instructions", N_INSTRUCTIONS),
    JSCAN_EDGE("tools", N_TOOLS),
    JSCAN_EDGE("text", N_TOOLS),
    JSCAN_EDGE("previous_response_id", N_STATE),
    JSCAN_EDGE("conversation", N_STATE),
    JSCAN_EDGE("prompt", N_STATE),
};
static const struct jscan_edge MESSAGE_EDGES[] = {
    JSCAN_EDGE("role", N_TEXT),        JSCAN_EDGE("content", N_CONTENT),
    JSCAN_EDGE("name", N_NAME),        JSCAN_EDGE("tool_calls", N_CALLS),
    JSCAN_EDGE("refusal", N_TEXT),     JSCAN_EDGE("function_call", N_CALL),
    JSCAN_EDGE("arguments", N_TEXT),   JSCAN_EDGE("output", N_CONTENT),
    JSCAN_EDGE("audio", N_MEDIA),      JSCAN_EDGE("encrypted_content", N_STATE),
};
static const struct jscan_edge PART_EDGES[] = {
    JSCAN_EDGE("text", N_TEXT),        JSCAN_EDGE("refusal", N_TEXT),
    JSCAN_EDGE("image_url", N_IMAGE),  JSCAN_EDGE("detail", N_DETAIL),
    JSCAN_EDGE("input_audio", N_MEDIA), JSCAN_EDGE("file", N_MEDIA),
    JSCAN_EDGE("file_id", N_MEDIA),    JSCAN_EDGE("file_data", N_MEDIA),
    JSCAN_EDGE("file_url", N_MEDIA),
};
static const struct jscan_edge IMAGE_EDGES[] = {
    JSCAN_EDGE("url", N_IMAGE),
    JSCAN_EDGE("detail", N_DETAIL),
};
static const struct jscan_edge CALL_EDGES[] = {
    JSCAN_EDGE("function", N_CALL),
    JSCAN_EDGE("name", N_TEXT),
    JSCAN_EDGE("arguments", N_TEXT),
};

#define COMMON_NODES                                                                           \
    [N_MESSAGES] = {.item = N_MESSAGE},                                                        \
    [N_MESSAGE] = {JSCAN_EDGES(MESSAGE_EDGES), 0, 0, JSCAN_ENTER},                             \
    [N_CONTENT] = {.item = N_PART, .flags = JSCAN_WANT},                                       \
    [N_PART] = {JSCAN_EDGES(PART_EDGES), 0, 0, JSCAN_ENTER}, [N_TEXT] = {.flags = JSCAN_WANT}, \
    [N_NAME] = {.flags = JSCAN_WANT},                                                          \
    [N_IMAGE] = {JSCAN_EDGES(IMAGE_EDGES), 0, 0, JSCAN_WANT},                                  \
    [N_DETAIL] = {.flags = JSCAN_WANT}, [N_MEDIA] = {.flags = JSCAN_WANT | JSCAN_ENTER},       \
    [N_CALLS] = {.item = N_CALL, .flags = JSCAN_ENTER},                                        \
    [N_CALL] = {JSCAN_EDGES(CALL_EDGES), 0, 0, 0}, [N_TOOLS] = {.flags = JSCAN_ENTER},         \
    [N_PROMPT] = {.item = N_IDS, .flags = JSCAN_WANT},                                         \
    [N_IDS] = {.item = N_IDS, .flags = JSCAN_WANT},                                            \
    [N_INPUT] = {.item = N_MESSAGE, .flags = JSCAN_WANT},                                      \
    [N_INSTRUCTIONS] = {.flags = JSCAN_WANT},                                                  \
    [N_STATE] = {.flags = JSCAN_WANT | JSCAN_ENTER}

static const struct jscan_node NODES[N_COUNT] = {
    [N_ROOT] = {JSCAN_EDGES(ROOT_EDGES), 0, 0, 0}, COMMON_NODES};
static const struct jscan_node RESPONSES_NODES[N_COUNT] = {
    [N_ROOT] = {JSCAN_EDGES(RESPONSES_EDGES), 0, 0, 0}, COMMON_NODES};

/* What a conversation takes besides its text: documents and measurements, November 2026. */
enum {
    CHAT_MESSAGE = 3,
    CHAT_ANSWER = 3, /* the beginning of the answer */
    CHAT_NAME = 1,
    REASONING_MESSAGE = 4,
    REASONING_BASE = 5,
    CALLS_TOKENS = 9, /* around what tools were called with */
    TOOLS_TOKENS = 24, /* around the tools, of the models that take most */
};

static void add(struct prompt_counter *p, uint64_t n)
{
    if (__builtin_add_overflow(p->tokens, n, &p->tokens) || p->tokens > USAGE_MAX_COUNT)
        p->tokens = USAGE_MAX_COUNT;
}

/* ---- strings ------------------------------------------------------------------- */

/* Counts about so many bytes of a string's raw text; returns where it stopped. */
static const char *feed_string(struct prompt_counter *p, const char *at, const char *end,
                               size_t bytes)
{
    size_t n = (size_t)(end - at) < bytes ? (size_t)(end - at) : bytes;

    token_json_feed(&p->raw, &p->text, strv_make(at, n));
    return at + n;
}

static void end_string(struct prompt_counter *p)
{
    token_json_end(&p->raw, &p->text);
    add(p, token_counter_finish(&p->text));
}

/* A text of the prompt, raw between begin and end of the body. */
static void count_text(struct prompt_counter *p, size_t begin, size_t end)
{
    const char *at = p->body.p + begin;

    if (end - begin > PROMPT_SLICE_BYTES && p->long_at == p->long_end) {
        p->long_at = begin; /* it began in a slice before: at most one ends in each */
        p->long_end = end;
        return;
    }
    (void)feed_string(p, at, at + (end - begin), end - begin);
    end_string(p);
}

static void count_event(struct prompt_counter *p, const struct jscan_event *e)
{
    if (e->what == JSCAN_AT_VALUE && e->type == JSCAN_STRING)
        count_text(p, (size_t)e->begin + 1, (size_t)e->end - 1);
}

/* ---- members --------------------------------------------------------------------- */

static void on_part(struct prompt_counter *p, const struct jscan_event *e)
{
    if (e->what == JSCAN_AT_ENTER) {
        p->has_image = p->image_low = p->image_known = false;
    } else if (p->has_image) {
        add(p, image_tokens(p->model, p->image_known ? &p->image : NULL, p->image_low));
        if (!p->image_known)
            p->exact = false;
    }
}

static void on_image(struct prompt_counter *p, const struct jscan_event *e)
{
    if (e->what != JSCAN_AT_VALUE || e->type != JSCAN_STRING)
        return;
    p->has_image = true;
    p->image_known = image_size_of_url(
        strv_make(p->body.p + e->begin + 1, (size_t)(e->end - e->begin) - 2), &p->image);
}

/* Tools, and forms that the answer is to have: as they stand. */
static void on_tools(struct prompt_counter *p, const struct jscan_event *e)
{
    if (e->what == JSCAN_AT_ENTER) {
        p->tools_at = (size_t)e->begin;
    } else if (e->what == JSCAN_AT_LEAVE) {
        p->exact = false;
        add(p, TOOLS_TOKENS);
        count_text(p, p->tools_at, (size_t)e->end);
    }
}

static void on_event(void *arg, const struct jscan_event *e)
{
    struct prompt_counter *p = arg;
    bool is_value = e->what == JSCAN_AT_VALUE;

    switch ((enum node)e->node) {
    case N_MESSAGE:
        if (e->what == JSCAN_AT_ENTER)
            add(p, p->per_message);
        break;
    case N_PART:
        on_part(p, e);
        break;
    case N_NAME:
        add(p, p->per_name);
        count_event(p, e);
        break;
    case N_INPUT: /* a message of the user's */
    case N_INSTRUCTIONS:
        if (is_value && e->type == JSCAN_STRING)
            add(p, p->per_message + 1);
        count_event(p, e);
        break;
    case N_PROMPT:
    case N_IDS:
        if (is_value && e->type == JSCAN_NUMBER)
            add(p, 1); /* a token by its id */
        count_event(p, e);
        break;
    case N_CONTENT:
    case N_TEXT:
        count_event(p, e);
        break;
    case N_IMAGE:
        on_image(p, e);
        break;
    case N_DETAIL:
        p->image_low = is_value && e->type == JSCAN_STRING && strv_eq(e->text, STRV("low"));
        break;
    case N_MEDIA:
        if (e->what == JSCAN_AT_ENTER || (is_value && e->type == JSCAN_STRING)) {
            p->exact = false;
            add(p, ESTIMATE_MEDIA_TOKENS);
        }
        break;
    case N_CALLS:
        if (e->what == JSCAN_AT_ENTER) {
            p->exact = false;
            add(p, CALLS_TOKENS);
        }
        break;
    case N_TOOLS:
        on_tools(p, e);
        break;
    case N_STATE:
        if (e->type != JSCAN_NULL)
            p->exact = false;
        break;
    case N_SKIP:
    case N_ROOT:
    case N_MESSAGES:
    case N_CALL:
    case N_COUNT:
        break;
    }
}

/* ---- the whole -------------------------------------------------------------------- */

bool prompt_counter_init(struct prompt_counter *p, struct tokenizer *t,
                         const struct route *route, struct strv model, struct strv body)
{
    const struct entry *entry = entry_of(route->endpoint);
    bool responses = entry->dialect == DIALECT_RESPONSES;
    enum token_encoding encoding;

    if ((entry->dialect != DIALECT_OPENAI && !responses) ||
        (entry->flags & (ENTRY_IMAGES | ENTRY_SPEECH | ENTRY_AUDIO | ENTRY_RERANK | ENTRY_BATCH)))
        return false;
    *p = (struct prompt_counter){.body = body, .model = model};
    p->exact = token_encoding_of_model(model, &encoding);
    p->is_chat = responses || strstr(entry->endpoint.name, "chat") != NULL;
    token_counter_init(&p->text, t, encoding, 0);
    if (p->is_chat && (responses || token_model_thinks(model))) {
        p->exact = false;
        p->per_message = REASONING_MESSAGE;
        p->tokens = REASONING_BASE;
    } else if (p->is_chat) {
        p->per_message = CHAT_MESSAGE;
        p->tokens = CHAT_ANSWER;
    }
    p->per_name = CHAT_NAME;
    jscan_start(&p->scan, responses ? RESPONSES_NODES : NODES, N_ROOT, false, on_event, p);
    return true;
}

void prompt_counter_fini(struct prompt_counter *p)
{
    token_counter_fini(&p->text);
}

bool prompt_counter_step(struct prompt_counter *p, size_t bytes)
{
    size_t done = 0;

    while (done < bytes) {
        if (p->long_at < p->long_end) {
            const char *at = p->body.p + p->long_at, *end = p->body.p + p->long_end;
            const char *to = feed_string(p, at, end, bytes - done);

            done += (size_t)(to - at);
            p->long_at += (size_t)(to - at);
            if (to == end)
                end_string(p);
        } else if (p->fed < p->body.n && !p->broken) {
            struct strv slice = strv_head(strv_skip(p->body, p->fed), PROMPT_SLICE_BYTES);

            p->fed += slice.n;
            done += slice.n;
            if (jscan_feed(&p->scan, slice) != RC_OK)
                p->broken = true; /* it was read before: cannot be */
        } else {
            p->exact = p->exact && p->text.exact && !p->broken;
            return true;
        }
    }
    return false;
}

uint64_t prompt_counter_tokens(const struct prompt_counter *p)
{
    return p->tokens;
}
