/*
 * Requests: what admission must know of a body, read in one forward pass.
 */
#include <stddef.h>
#include <string.h>

#include "base/check.h"
#include "metering/usage/request_graph.h"
#include "metering/usage/request_reading.h"
#include "metering/usage/shape.h"

enum {
    TOKEN_ID_BYTES = 3, /* text that a prompt's ready-made token id stands for */
    SIDE_MAX = 1 << 16, /* of an image */
};

static void on_root(struct request_reading *r, const struct jscan_event *e)
{
    if (e->what == JSCAN_AT_ENTER && e->type == JSCAN_OBJECT)
        r->root_open = (size_t)e->begin + 1;
    else if (e->what != JSCAN_AT_LEAVE)
        r->bad = true; /* not an object */
}

static void on_stream(struct request_reading *r, const struct jscan_event *e)
{
    if (e->what == JSCAN_AT_LEAVE)
        return;
    reading_once(r, N_STREAM);
    if (e->what != JSCAN_AT_VALUE ||
        (e->type != JSCAN_TRUE && e->type != JSCAN_FALSE && e->type != JSCAN_NULL))
        r->bad = true;
    else
        r->facts->stream = e->type == JSCAN_TRUE;
}

static void on_options(struct request_reading *r, const struct jscan_event *e)
{
    if (e->what == JSCAN_AT_LEAVE)
        return;
    reading_once(r, N_OPTIONS);
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

static void on_include(struct request_reading *r, const struct jscan_event *e)
{
    if (e->what == JSCAN_AT_LEAVE)
        return;
    reading_once(r, N_INCLUDE);
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

static void on_options_rest(struct request_reading *r, const struct jscan_event *e)
{
    (void)e;
    r->options_filled = true;
}

static void on_cap(struct request_reading *r, const struct jscan_event *e)
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

static void on_thinks(struct request_reading *r, const struct jscan_event *e)
{
    r->thinks = r->thinks || e->type == JSCAN_TRUE;
}

static void on_thinking_budget(struct request_reading *r, const struct jscan_event *e)
{
    uint64_t n;

    if (e->type == JSCAN_NUMBER && jscan_count(e->text, &n) == JSCAN_COUNT_OK &&
        n > r->thinking)
        r->thinking = n;
}

static void on_choices(struct request_reading *r, const struct jscan_event *e)
{
    uint64_t n;

    if (e->type == JSCAN_NUMBER && jscan_count(e->text, &n) == JSCAN_COUNT_OK &&
        n > r->facts->choices)
        r->facts->choices = n;
}

/* Of several the longest, whichever the provider takes. */
static void on_spoken(struct request_reading *r, const struct jscan_event *e)
{
    struct strv text = strv_make(r->body.p + e->begin, (size_t)(e->end - e->begin));

    if (e->type == JSCAN_STRING && text.n > r->spoken.n)
        r->spoken = text;
}

static void on_line(struct request_reading *r)
{
    r->facts->messages++;
    r->has_lines = true;
}

static void on_prompt(struct request_reading *r, const struct jscan_event *e)
{
    switch (e->what) {
    case JSCAN_AT_ENTER:
        if (e->type == JSCAN_OBJECT && r->prompt_depth == 0 && !r->takes_object)
            r->facts->server_state = true; /* a prompt kept by the provider */
        else if (e->type == JSCAN_OBJECT)
            on_line(r);
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
            on_spoken(r, e);
        }
        if (e->type == JSCAN_NUMBER)
            r->facts->text_bytes += TOKEN_ID_BYTES;
        break;
    }
}

static void on_sound(struct request_reading *r, const struct jscan_event *e)
{
    r->facts->sound = reading_word(e);
}

static void on_length(struct request_reading *r, const struct jscan_event *e)
{
    uint64_t ms;

    if (e->type == JSCAN_NUMBER && jscan_count(e->text, &ms) == JSCAN_COUNT_OK &&
        ms > r->length_ms && ms <= USAGE_MAX_COUNT)
        r->length_ms = ms;
}

static void on_plan(struct request_reading *r, const struct jscan_event *e)
{
    r->has_plan = r->has_plan || e->type != JSCAN_NULL;
}

static void on_section(struct request_reading *r, const struct jscan_event *e)
{
    uint64_t ms;

    if (e->type == JSCAN_NUMBER && jscan_count(e->text, &ms) == JSCAN_COUNT_OK &&
        ms <= USAGE_MAX_COUNT - r->plan_ms)
        r->plan_ms += ms;
}

static void on_source(struct request_reading *r, const struct jscan_event *e)
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

static void on_source_type(struct request_reading *r, const struct jscan_event *e)
{
    r->source_is_text = e->type == JSCAN_STRING && strv_eq(e->text, STRV("text"));
}

static void on_source_data(struct request_reading *r, const struct jscan_event *e)
{
    r->source_bytes = e->text_bytes;
}

static void on_message(struct request_reading *r, const struct jscan_event *e)
{
    r->facts->messages += e->what == JSCAN_AT_ENTER && e->type == JSCAN_OBJECT;
}

static void on_request(struct request_reading *r, const struct jscan_event *e)
{
    r->facts->messages += e->what == JSCAN_AT_ENTER;
}

static void on_media(struct request_reading *r, const struct jscan_event *e)
{
    r->facts->media_parts += e->what == JSCAN_AT_ENTER ||
                             (e->what == JSCAN_AT_VALUE && e->type == JSCAN_STRING);
}

static void on_tier(struct request_reading *r, const struct jscan_event *e)
{
    r->facts->service_tier = reading_word(e);
}

static void on_size(struct request_reading *r, const struct jscan_event *e)
{
    r->facts->size = reading_word(e);
}

/* Of an image, where its size is two numbers. */
static void on_side(struct request_reading *r, const struct jscan_event *e)
{
    uint64_t n;

    if (e->type == JSCAN_NUMBER && jscan_count(e->text, &n) == JSCAN_COUNT_OK && n > 0 &&
        n <= SIDE_MAX)
        r->sides[e->node == N_HEIGHT] = (unsigned)n;
}

static void on_quality(struct request_reading *r, const struct jscan_event *e)
{
    r->facts->quality = reading_word(e);
}

static void on_search_ctx(struct request_reading *r, const struct jscan_event *e)
{
    r->facts->search_ctx = reading_word(e);
}

static void on_seconds(struct request_reading *r, const struct jscan_event *e)
{
    request_set_seconds(r->facts, e->type == JSCAN_NUMBER ? e->text : reading_word(e));
}

static void on_input_file(struct request_reading *r, const struct jscan_event *e)
{
    r->facts->input_file = reading_word(e);
}

static void on_team(struct request_reading *r, const struct jscan_event *e)
{
    if (e->what != JSCAN_AT_LEAVE)
        reading_once(r, N_TEAM);
}

static void on_team_on(struct request_reading *r, const struct jscan_event *e)
{
    r->team_told = true;
    r->team_on = r->team_on || e->type != JSCAN_FALSE;
}

/* Cents, as a string or a number. */
static void on_budget(struct request_reading *r, const struct jscan_event *e)
{
    struct strv text = e->type == JSCAN_NUMBER ? e->text : reading_word(e);
    uint64_t cents;

    if (strv_parse_u64(text, USAGE_MAX_COUNT, &cents) && cents > r->facts->session_cents)
        r->facts->session_cents = cents;
}

static void on_state(struct request_reading *r, const struct jscan_event *e)
{
    r->facts->server_state = r->facts->server_state || e->type != JSCAN_NULL;
}

static void on_background(struct request_reading *r, const struct jscan_event *e)
{
    r->facts->background = r->facts->background || e->type == JSCAN_TRUE;
}

/* One that searches does so once at the least, if it is used. */
static void on_tool(struct request_reading *r, const struct jscan_event *e)
{
    struct request_facts *f = r->facts;

    if (e->type != JSCAN_OBJECT)
        return;
    f->has_tools = true;
    if (e->what == JSCAN_AT_LEAVE && r->tool_searches &&
        __builtin_add_overflow(f->searches, r->tool_uses ? r->tool_uses : 1, &f->searches))
        f->searches = UINT64_MAX;
    r->tool_searches = false;
    r->tool_uses = 0;
}

static void on_tool_bound(struct request_reading *r, const struct jscan_event *e)
{
    uint64_t n;

    if (e->type == JSCAN_NUMBER && jscan_count(e->text, &n) == JSCAN_COUNT_OK)
        *(e->node == N_TOOL_USES ? &r->tool_uses : &r->tool_calls) = n;
}

static void on_searches(struct request_reading *r, const struct jscan_event *e)
{
    r->tool_searches = r->tool_searches || e->what == JSCAN_AT_ENTER;
}

static void on_speed(struct request_reading *r, const struct jscan_event *e)
{
    r->is_fast = strv_eq(reading_word(e), STRV("fast"));
}

/* Tools that a provider describes to its model itself, in so many tokens: Anthropic's. */
static void on_tool_type(struct request_reading *r, const struct jscan_event *e)
{
    static const struct {
        const char *begins;
        uint64_t tokens;
    } OWN[] = {
        {"computer_", 4500}, {"browser_", 6600}, {"text_editor_", 700}, {"bash_", 325}};
    struct strv type = reading_word(e);

    for (size_t i = 0; i < sizeof(OWN) / sizeof(OWN[0]); i++) {
        if (strv_starts(type, strv_z(OWN[i].begins)))
            r->facts->tool_tokens += OWN[i].tokens;
    }
    r->tool_searches = r->tool_searches || strv_starts(type, STRV("web_search"));
}

static void on_enterprise(struct request_reading *r, const struct jscan_event *e)
{
    r->facts->enterprise_search = r->facts->enterprise_search || e->what == JSCAN_AT_ENTER;
}

static void on_guardrail(struct request_reading *r, const struct jscan_event *e)
{
    r->facts->guarded = r->facts->guarded || e->what == JSCAN_AT_ENTER;
}

static void on_annotation(struct request_reading *r, const struct jscan_event *e)
{
    r->facts->annotates = r->facts->annotates || e->what == JSCAN_AT_ENTER;
}

static void on_billing(struct request_reading *r, const struct jscan_event *e)
{
    if (e->what != JSCAN_AT_LEAVE)
        reading_once(r, N_BILLING);
}

static void on_bill_to(struct request_reading *r, const struct jscan_event *e)
{
    if (e->what != JSCAN_AT_LEAVE)
        reading_once(r, N_BILL_TO);
    r->facts->bills_others = strv_eq(reading_word(e), STRV("user_profile"));
}

static void on_batch_cap(struct request_reading *r, const struct jscan_event *e)
{
    uint64_t n;

    if (e->type == JSCAN_NUMBER && jscan_count(e->text, &n) == JSCAN_COUNT_OK &&
        __builtin_add_overflow(r->batch_cap, n, &r->batch_cap))
        r->batch_cap = UINT64_MAX;
}

/* By node; NULL: it says nothing itself. */
static void (*const FACTS[N_COUNT])(struct request_reading *r, const struct jscan_event *e) = {
    [N_ROOT] = on_root,
    [N_MODEL] = request_on_model,
    [N_MODEL_OF] = request_on_model_of,
    [N_STREAM] = on_stream,
    [N_OPTIONS] = on_options,
    [N_INCLUDE] = on_include,
    [N_OPTIONS_REST] = on_options_rest,
    [N_CAP] = on_cap,
    [N_CHOICES] = on_choices,
    [N_THINKS] = on_thinks,
    [N_THINKING_BUDGET] = on_thinking_budget,
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
    [N_MODEL_ID] = request_on_model_id,
    [N_JOB_MODEL] = request_on_job_model,
    [N_AGENT] = request_on_agent,
    [N_AGENT_MODEL] = request_on_agent_model,
    [N_BUDGET_AMOUNT] = on_budget,
    [N_AGENT_NAME] = request_on_agent_name,
    [N_AGENT_TIER] = request_on_agent_tier,
    [N_TEAM] = on_team,
    [N_TEAM_ON] = on_team_on,
    [N_GUARDRAIL] = on_guardrail,
    [N_SECONDS] = on_seconds,
    [N_INPUT_FILE] = on_input_file,
    [N_PARAMS_MODEL] = request_on_batch_model,
    [N_PARAMS_CAP] = on_batch_cap,
    [N_STATE] = on_state,
    [N_BACKGROUND] = on_background,
    [N_TOOLS] = on_tool,
    [N_TOOL_TYPE] = on_tool_type,
    [N_ENTERPRISE] = on_enterprise,
    [N_ANNOTATION] = on_annotation,
    [N_SPEED] = on_speed,
    [N_SPOKEN] = on_spoken,
    [N_SOUND] = on_sound,
    [N_LENGTH] = on_length,
    [N_PLAN] = on_plan,
    [N_SECTION_LENGTH] = on_section,
    [N_LISTENERS] = request_on_listener,
    [N_SEARCHES] = on_searches,
    [N_TOOL_USES] = on_tool_bound,
    [N_TOOL_CALLS] = on_tool_bound,
    [N_TOOL_MODEL] = request_on_other,
    [N_MODELS] = request_on_other,
    [N_FALLBACKS] = request_on_other,
    [N_BILLING] = on_billing,
    [N_BILL_TO] = on_bill_to,
    [N_REQUEST] = on_request,
};

static void on_event(void *arg, const struct jscan_event *e)
{
    if (FACTS[e->node] != NULL)
        FACTS[e->node](arg, e);
}

enum rc protocol_scan_request(const struct protocol *p, const struct route *route,
                              struct strv body, struct shapes *known,
                              struct request_facts *out)
{
    struct request_reading r UNCLEARED;
    enum rc rc;

    memset(&r, 0, offsetof(struct request_reading, scan.node_at));
    r.facts = out;
    r.body = body;
    r.is_dream = (entry_of(route->endpoint)->flags & ENTRY_DREAM) != 0;
    r.takes_object = entry_of(route->endpoint)->dialect == DIALECT_DASHSCOPE;
    memset(out, 0, sizeof(*out));
    out->choices = 1;
    jscan_start(&r.scan, REQUEST_NODES,
                entry_of(route->endpoint)->flags & ENTRY_WRAPPED ? N_WRAPPED : N_ROOT, false,
                on_event, &r);
    rc = shapes_feed(known, &r.scan, body);
    if (rc == RC_OK)
        rc = jscan_finish(&r.scan);
    if (rc == RC_OK)
        request_conclude(&r, p, route);
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
