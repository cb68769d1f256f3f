/*
 * Anthropic's managed agents: sessions, and the agents that they are of.  A session is a loop of
 * model calls that the provider makes by itself; what it took is told as sums since its
 * beginning, by every answer that holds the session and by the events "session.usage" of its
 * stream, and by nothing else here: an event for each model call tells the same once more.
 * So counts only grow, and of several the largest holds.  A dream runs in a session of its own and
 * tells some of the same.
 */
#include "metering/usage/reader.h"

#include <string.h>

enum node {
    N_SKIP = JSCAN_SKIP,
    N_ROOT,
    N_TYPE,
    N_ID,
    N_STATUS,
    N_AGENT,
    N_AGENT_ID,
    N_MODEL,
    N_MODEL_ID,
    N_SPEED,
    N_GEO,
    N_TEAM, /* other agents that it may let work, and all inside */
    N_TEAM_MODEL,
    N_INLINE,
    N_INLINE_TYPE,
    N_BUDGET,
    N_LIMIT,
    N_LIMIT_AMOUNT,
    N_USAGE,
    N_SESSION_ID,
    N_CREATION,
    N_TOOLS,
    N_ACTIVE,
    N_COST,
    N_COST_AMOUNT,
    N_RAW,
    N_COUNT = N_RAW + RAW_COUNT,
};

static const struct jscan_edge ROOT_EDGES[] = {
    JSCAN_EDGE("type", N_TYPE),     JSCAN_EDGE("id", N_ID),
    JSCAN_EDGE("status", N_STATUS), JSCAN_EDGE("agent", N_AGENT),
    JSCAN_EDGE("model", N_MODEL),   JSCAN_EDGE("usage", N_USAGE),
    JSCAN_EDGE("budget", N_BUDGET), JSCAN_EDGE("session_id", N_SESSION_ID),
};
static const struct jscan_edge AGENT_EDGES[] = {
    JSCAN_EDGE("id", N_AGENT_ID),
    JSCAN_EDGE("model", N_MODEL),
    JSCAN_EDGE("multiagent", N_TEAM),
};
static const struct jscan_edge MODEL_EDGES[] = {
    JSCAN_EDGE("id", N_MODEL_ID),
    JSCAN_EDGE("speed", N_SPEED),
    JSCAN_EDGE("inference_geo", N_GEO),
};
static const struct jscan_edge TEAM_EDGES[] = {JSCAN_EDGE("model", N_TEAM_MODEL),
                                               JSCAN_EDGE("inline_agents", N_INLINE)};
static const struct jscan_edge TEAM_MODEL_EDGES[] = {JSCAN_EDGE("id", N_TEAM_MODEL)};
static const struct jscan_edge INLINE_EDGES[] = {JSCAN_EDGE("type", N_INLINE_TYPE)};
static const struct jscan_edge BUDGET_EDGES[] = {JSCAN_EDGE("max_list_cost", N_LIMIT)};
static const struct jscan_edge LIMIT_EDGES[] = {JSCAN_EDGE("amount", N_LIMIT_AMOUNT)};
static const struct jscan_edge USAGE_EDGES[] = {
    JSCAN_EDGE("input_tokens", N_RAW + RAW_INPUT),
    JSCAN_EDGE("output_tokens", N_RAW + RAW_OUTPUT),
    JSCAN_EDGE("cache_read_input_tokens", N_RAW + RAW_CACHED),
    JSCAN_EDGE("cache_creation", N_CREATION),
    JSCAN_EDGE("cache_creation_input_tokens", N_RAW + RAW_WRITE),
    JSCAN_EDGE("server_tool_use", N_TOOLS),
    JSCAN_EDGE("active_seconds", N_ACTIVE),
    JSCAN_EDGE("list_cost", N_COST),
};
static const struct jscan_edge CREATION_EDGES[] = {
    JSCAN_EDGE("ephemeral_5m_input_tokens", N_RAW + RAW_WRITE_5M),
    JSCAN_EDGE("ephemeral_1h_input_tokens", N_RAW + RAW_WRITE_1H),
};
static const struct jscan_edge TOOLS_EDGES[] = {
    JSCAN_EDGE("web_search_requests", N_RAW + RAW_WEB_SEARCH)};
static const struct jscan_edge COST_EDGES[] = {JSCAN_EDGE("amount", N_COST_AMOUNT)};

static const struct jscan_node NODES[N_COUNT] = {
    [N_ROOT] = {JSCAN_EDGES(ROOT_EDGES), 0, 0, JSCAN_ENTER},
    [N_TYPE] = {.flags = JSCAN_WANT},
    [N_ID] = {.flags = JSCAN_WANT},
    [N_STATUS] = {.flags = JSCAN_WANT},
    [N_AGENT] = {JSCAN_EDGES(AGENT_EDGES), 0, 0, 0},
    [N_AGENT_ID] = {.flags = JSCAN_WANT},
    [N_MODEL] = {JSCAN_EDGES(MODEL_EDGES), 0, 0, JSCAN_WANT},
    [N_MODEL_ID] = {.flags = JSCAN_WANT},
    [N_SPEED] = {.flags = JSCAN_WANT},
    [N_GEO] = {.flags = JSCAN_WANT},
    [N_TEAM] = {JSCAN_EDGES(TEAM_EDGES), N_TEAM, N_TEAM, 0},
    [N_TEAM_MODEL] = {JSCAN_EDGES(TEAM_MODEL_EDGES), 0, 0, JSCAN_WANT},
    [N_INLINE] = {JSCAN_EDGES(INLINE_EDGES), 0, 0, 0},
    [N_INLINE_TYPE] = {.flags = JSCAN_WANT},
    [N_BUDGET] = {JSCAN_EDGES(BUDGET_EDGES), 0, 0, 0},
    [N_LIMIT] = {JSCAN_EDGES(LIMIT_EDGES), 0, 0, 0},
    [N_LIMIT_AMOUNT] = {.flags = JSCAN_WANT},
    [N_USAGE] = {JSCAN_EDGES(USAGE_EDGES), 0, 0, JSCAN_ENTER},
    [N_SESSION_ID] = {.flags = JSCAN_WANT},
    [N_CREATION] = {JSCAN_EDGES(CREATION_EDGES), 0, 0, 0},
    [N_TOOLS] = {JSCAN_EDGES(TOOLS_EDGES), 0, 0, 0},
    [N_ACTIVE] = {.flags = JSCAN_WANT},
    [N_COST] = {JSCAN_EDGES(COST_EDGES), 0, 0, 0},
    [N_COST_AMOUNT] = {.flags = JSCAN_WANT},
#define RAW_NODE(id) [N_RAW + (id)] = {.flags = JSCAN_WANT},
    RAW_COUNTS(RAW_NODE)
#undef RAW_NODE
};

/* What a document is, by its type; a word of the events that say how the session stands. */
enum {
    TYPE_OTHER = 0,
    TYPE_SESSION,
    TYPE_DREAM,
    TYPE_AGENT,
    TYPE_USAGE,
    TYPE_RUNS,
    TYPE_RESTS,
};

static void on_type(struct reading *r, const struct jscan_event *e)
{
    static const struct reader_word TYPES[] = {
        {"session", TYPE_SESSION},
        {"dream", TYPE_DREAM},
        {"agent", TYPE_AGENT},
        {"session.usage", TYPE_USAGE},
        {"session.status_running", TYPE_RUNS},
        {"session.status_rescheduled", TYPE_RUNS},
        {"session.status_idle", TYPE_RESTS},
        {"session.status_terminated", TYPE_RESTS},
        {"session.deleted", TYPE_RESTS},
    };

    r->item_kind = TYPE_OTHER;
    for (size_t i = 0; i < sizeof(TYPES) / sizeof(TYPES[0]); i++) {
        if (reading_is(e, TYPES[i].word))
            r->item_kind = TYPES[i].means;
    }
    if (reading_is(e, "error"))
        r->type = DOCUMENT_ERROR;
}

static void on_status(struct reading *r, const struct jscan_event *e)
{
    static const char *const RESTS[] = {"idle",   "terminated", /* sessions; dreams: */
                                        "failed", "completed",  "canceled"};

    r->is_done = false;
    for (size_t i = 0; i < sizeof(RESTS) / sizeof(RESTS[0]); i++)
        r->is_done = r->is_done || reading_is(e, RESTS[i]);
}

static void on_session_id(struct reading *r, const struct jscan_event *e)
{
    (void)reading_text(e, r->name, TAP_ID_MAX_BYTES);
}

static void on_agent_id(struct reading *r, const struct jscan_event *e)
{
    (void)reading_text(e, r->result.agent_id, sizeof(r->result.agent_id));
}

static void on_speed(struct reading *r, const struct jscan_event *e)
{
    if (reading_is(e, "fast")) /* priced as a tier of its own */
        memcpy(r->result.service_tier, "fast", sizeof("fast"));
}

static void on_geo(struct reading *r, const struct jscan_event *e)
{
    if (reading_is(e, "us")) /* anything else has no price of its own */
        memcpy(r->result.region, "us", sizeof("us"));
}

/* Of the other agents one model is remembered, to be compared with the agent's own. */
static void on_team_model(struct reading *r, const struct jscan_event *e)
{
    char other[TAP_MODEL_MAX_BYTES];

    memcpy(other, r->tool_model, sizeof(other));
    if (!reading_text(e, r->tool_model, sizeof(r->tool_model)) ||
        (other[0] != '\0' && strcmp(other, r->tool_model) != 0))
        r->result.is_mixed = true;
}

static void on_inline(struct reading *r, const struct jscan_event *e)
{
    if (reading_is(e, "enabled")) /* with models that are chosen while it runs */
        r->result.is_mixed = true;
}

static void on_limit(struct reading *r, const struct jscan_event *e)
{
    uint64_t cents;

    if (e->type == JSCAN_STRING && !e->cut && strv_parse_u64(e->text, USAGE_MAX_COUNT, &cents))
        r->result.session_cents = cents;
}

static void on_cost(struct reading *r, const struct jscan_event *e)
{
    reading_cost(r, e, 2); /* cents: dollars are all that the provider has */
}

static fact_fn *const FACTS[N_RAW] = {
    [N_TYPE] = on_type,           [N_ID] = fact_id,
    [N_STATUS] = on_status,       [N_AGENT_ID] = on_agent_id,
    [N_MODEL] = fact_model,       [N_MODEL_ID] = fact_model,
    [N_SPEED] = on_speed,         [N_GEO] = on_geo,
    [N_TEAM_MODEL] = on_team_model, [N_INLINE_TYPE] = on_inline,
    [N_LIMIT_AMOUNT] = on_limit,  [N_COST_AMOUNT] = on_cost,
    [N_SESSION_ID] = on_session_id,
};

static void begin_document(struct reading *r)
{
    r->item_kind = TYPE_OTHER;
    r->is_done = false;
    r->name[0] = '\0';
    r->before = r->counts;
    r->counts = (struct raw_counts){.odd = false};
}

/* Sums only grow: an older one, or one that a document leaves out, takes nothing back. */
static void lay_over(struct raw_counts *counts, const struct raw_counts *before)
{
    for (unsigned i = 0; i < RAW_COUNT; i++) {
        if (raw_has(before, i) && before->n[i] >= counts->n[i])
            raw_set(counts, i, before->n[i]);
    }
    counts->odd = counts->odd || before->odd;
}

static void take_usage(struct reading *r)
{
    struct usage u = {.has = 0};

    lay_over(&r->counts, &r->before);
    r->result.inconsistent = !usage_from_disjoint(&r->counts, &u);
    usage_set_units(&u, &r->counts);
    r->result.usage = u;
    r->result.has_usage = usage_says_amount(&u);
    r->result.usage_is_final = r->result.has_usage;
    reading_keep_cost(r);
}

static void end_document(struct reading *r)
{
    bool is_dream = r->item_kind == TYPE_DREAM;
    bool tells = is_dream || r->item_kind == TYPE_SESSION || r->item_kind == TYPE_USAGE;

    r->error = r->error || (r->type == DOCUMENT_ERROR);
    if (tells)
        take_usage(r);
    else
        r->counts = r->before;
    if (r->item_kind == TYPE_SESSION || is_dream) {
        /* A dream's usage is its session's, but not how long that was at work. */
        if (is_dream)
            memcpy(r->result.kept_id, r->name, strlen(r->name) + 1);
        r->result.is_rough = is_dream;
        r->result.is_session = true;
        r->result.is_at_rest = r->is_done;
    } else if (r->item_kind == TYPE_AGENT) {
        memcpy(r->result.agent_id, r->id, sizeof(r->id));
    } else if (r->item_kind == TYPE_USAGE) {
        r->is_kept = true; /* since it ran last */
        r->result.is_session = true;
        r->result.is_at_rest = r->terminator;
    } else if (r->item_kind == TYPE_RUNS) {
        r->is_kept = false;
        r->terminator = false;
        r->result.is_at_rest = false;
    } else if (r->item_kind == TYPE_RESTS) {
        r->terminator = true;
        r->result.is_at_rest = r->is_kept;
    }
    if (r->tool_model[0] != '\0' && strcmp(r->tool_model, r->result.model) != 0)
        r->result.is_mixed = true;
}

static void on_event(void *arg, const struct jscan_event *e)
{
    struct reading *r = arg;

    if (e->node >= N_RAW)
        reading_count(&r->counts, (enum raw_count)(e->node - N_RAW), e);
    else if (e->node == N_ROOT)
        reading_root(r, e);
    else if (e->node == N_ACTIVE)
        reading_seconds(&r->counts, RAW_SESSION_MS, e);
    else
        reading_fact(r, e);
}

const struct reader READER_SESSION = {.nodes = NODES,
                                      .root = N_ROOT,
                                      .on_event = on_event,
                                      .facts = FACTS,
                                      .begin_document = begin_document,
                                      .end_document = end_document,
                                      .has_terminator = true};
