/*
 * OpenAI's agents: sessions, their turns, and the agents that they are of.  A session is a loop of
 * model calls that the provider makes by itself.  Its usage is the sum since its beginning; a
 * turn's is what one agent took in it.  What a session took is at least what turns of it took
 * together, and of all that is told the largest holds: whoever asks for turns alone learns some of
 * it, and whoever asks for the session the rest.  Whether its sum holds what subagents took nobody
 * says: a list of all turns does.
 *
 * No usage tells of searches.  They are items of their own, each told of by its id.
 *
 * The provider calls all of it "best effort": it is null until it is known, and grows.
 */
#include "metering/usage/reader.h"

#include <string.h>

#include "base/xalloc.h"

enum node {
    N_SKIP = JSCAN_SKIP,
    N_ROOT,
    N_OBJECT,
    N_TYPE,
    N_ID,
    N_STATUS,
    N_AGENT,
    N_AGENT_ID,
    N_MODEL,
    N_TIER,
    N_TEAM,
    N_TEAM_ON,
    N_SPEND,
    N_LIMIT,
    N_SPENT,
    N_SESSION, /* what an event tells of */
    N_TURN,
    N_ITEM,
    N_ITEM_TYPE,
    N_ITEM_ID,
    N_ITEM_STATUS,
    N_ACTION,
    N_ACTION_TYPE,
    N_LIST, /* of turns, or of items */
    N_LISTED,
    N_LISTED_USAGE,
    N_USAGE,
    N_INPUT_DETAILS,
    N_OUTPUT_DETAILS,
    N_RAW,
    N_COUNT = N_RAW + RAW_COUNT,
};

static const struct jscan_edge ROOT_EDGES[] = {
    JSCAN_EDGE("object", N_OBJECT),
    JSCAN_EDGE("type", N_TYPE),
    JSCAN_EDGE("id", N_ID),
    JSCAN_EDGE("status", N_STATUS),
    JSCAN_EDGE("agent", N_AGENT),
    JSCAN_EDGE("usage", N_USAGE),
    JSCAN_EDGE("spend_control", N_SPEND),
    JSCAN_EDGE("session", N_SESSION),
    JSCAN_EDGE("turn", N_TURN),
    JSCAN_EDGE("item", N_ITEM),
    JSCAN_EDGE("data", N_LIST),
    /* of an agent */
    JSCAN_EDGE("model", N_MODEL),
    JSCAN_EDGE("service_tier", N_TIER),
    JSCAN_EDGE("multi_agent", N_TEAM),
};
static const struct jscan_edge SESSION_EDGES[] = {
    JSCAN_EDGE("id", N_ID),       JSCAN_EDGE("status", N_STATUS),
    JSCAN_EDGE("agent", N_AGENT), JSCAN_EDGE("usage", N_USAGE),
    JSCAN_EDGE("spend_control", N_SPEND),
};
static const struct jscan_edge AGENT_EDGES[] = {
    JSCAN_EDGE("id", N_AGENT_ID),
    JSCAN_EDGE("model", N_MODEL),
    JSCAN_EDGE("service_tier", N_TIER),
    JSCAN_EDGE("multi_agent", N_TEAM),
};
static const struct jscan_edge TEAM_EDGES[] = {JSCAN_EDGE("enabled", N_TEAM_ON)};
static const struct jscan_edge SPEND_EDGES[] = {JSCAN_EDGE("limit", N_LIMIT),
                                                JSCAN_EDGE("consumed", N_SPENT)};
static const struct jscan_edge TURN_EDGES[] = {JSCAN_EDGE("usage", N_USAGE)};
#define ITEM_EDGES_                                                                            \
    JSCAN_EDGE("type", N_ITEM_TYPE), JSCAN_EDGE("id", N_ITEM_ID),                              \
        JSCAN_EDGE("status", N_ITEM_STATUS), JSCAN_EDGE("action", N_ACTION)
static const struct jscan_edge ITEM_EDGES[] = {ITEM_EDGES_};
static const struct jscan_edge LISTED_EDGES[] = {ITEM_EDGES_,
                                                 JSCAN_EDGE("usage", N_LISTED_USAGE)};
static const struct jscan_edge ACTION_EDGES[] = {JSCAN_EDGE("type", N_ACTION_TYPE)};
static const struct jscan_edge USAGE_EDGES[] = {
    JSCAN_EDGE("input_tokens", N_RAW + RAW_INPUT),
    JSCAN_EDGE("input_tokens_details", N_INPUT_DETAILS),
    JSCAN_EDGE("output_tokens", N_RAW + RAW_OUTPUT),
    JSCAN_EDGE("output_tokens_details", N_OUTPUT_DETAILS),
};
static const struct jscan_edge INPUT_EDGES[] = {
    JSCAN_EDGE("cached_tokens", N_RAW + RAW_CACHED)};
static const struct jscan_edge OUTPUT_EDGES[] = {
    JSCAN_EDGE("reasoning_tokens", N_RAW + RAW_REASONING)};

static const struct jscan_node NODES[N_COUNT] = {
    [N_ROOT] = {JSCAN_EDGES(ROOT_EDGES), 0, 0, JSCAN_ENTER},
    [N_OBJECT] = {.flags = JSCAN_WANT},
    [N_TYPE] = {.flags = JSCAN_WANT},
    [N_ID] = {.flags = JSCAN_WANT},
    [N_STATUS] = {.flags = JSCAN_WANT},
    [N_AGENT] = {JSCAN_EDGES(AGENT_EDGES), 0, 0, 0},
    [N_AGENT_ID] = {.flags = JSCAN_WANT},
    [N_MODEL] = {.flags = JSCAN_WANT},
    [N_TIER] = {.flags = JSCAN_WANT},
    [N_TEAM] = {JSCAN_EDGES(TEAM_EDGES), 0, 0, 0},
    [N_TEAM_ON] = {.flags = JSCAN_WANT},
    [N_SPEND] = {JSCAN_EDGES(SPEND_EDGES), 0, 0, 0},
    [N_LIMIT] = {.flags = JSCAN_WANT},
    [N_SPENT] = {.flags = JSCAN_WANT},
    [N_SESSION] = {JSCAN_EDGES(SESSION_EDGES), 0, 0, JSCAN_ENTER},
    [N_TURN] = {JSCAN_EDGES(TURN_EDGES), 0, 0, 0},
    [N_LIST] = {.item = N_LISTED},
    [N_LISTED] = {JSCAN_EDGES(LISTED_EDGES), 0, 0, JSCAN_ENTER},
    [N_ITEM] = {JSCAN_EDGES(ITEM_EDGES), 0, 0, JSCAN_ENTER},
    [N_ITEM_TYPE] = {.flags = JSCAN_WANT},
    [N_ITEM_ID] = {.flags = JSCAN_WANT},
    [N_ITEM_STATUS] = {.flags = JSCAN_WANT},
    [N_ACTION] = {JSCAN_EDGES(ACTION_EDGES), 0, 0, 0},
    [N_ACTION_TYPE] = {.flags = JSCAN_WANT},
    [N_LISTED_USAGE] = {JSCAN_EDGES(USAGE_EDGES), 0, 0, JSCAN_ENTER},
    [N_USAGE] = {JSCAN_EDGES(USAGE_EDGES), 0, 0, JSCAN_ENTER},
    [N_INPUT_DETAILS] = {JSCAN_EDGES(INPUT_EDGES), 0, 0, 0},
    [N_OUTPUT_DETAILS] = {JSCAN_EDGES(OUTPUT_EDGES), 0, 0, 0},
#define RAW_NODE(id) [N_RAW + (id)] = {.flags = JSCAN_WANT},
    RAW_COUNTS(RAW_NODE)
#undef RAW_NODE
};

/* What a document is: of what its counts are, and whether something runs from then on. */
enum {
    TELLS_OTHER = 0,
    TELLS_SESSION,
    TELLS_AGENT,
    TELLS_TURN,
    TELLS_TURNS,
    TELLS_END, /* of a turn, once for each */
    TELLS_ITEM,
    TELLS_RUN,
};

static void on_word(struct reading *r, const struct jscan_event *e)
{
    static const struct reader_word WORDS[] = {
        {"agent.session", TELLS_SESSION},
        {"agent", TELLS_AGENT},
        {"agent.session.turn", TELLS_TURN},
        {"list", TELLS_TURNS},
        {"agent.session.turn.completed", TELLS_END},
        {"agent.session.turn.failed", TELLS_END},
        {"agent.session.turn.cancelled", TELLS_END},
        {"agent.session.turn.item.done", TELLS_ITEM},
        {"agent.session.turn.created", TELLS_RUN},
        {"agent.session.turn.in_progress", TELLS_RUN},
    };

    for (size_t i = 0; i < sizeof(WORDS) / sizeof(WORDS[0]); i++) {
        if (reading_is(e, WORDS[i].word))
            r->item_kind = WORDS[i].means;
    }
    if (e->node == N_TYPE && reading_is(e, "error"))
        r->type = DOCUMENT_ERROR;
}

static void on_id(struct reading *r, const struct jscan_event *e)
{
    (void)reading_text(e, r->id, sizeof(r->id));
}

static void on_status(struct reading *r, const struct jscan_event *e)
{
    r->is_done = reading_is(e, "idle") || reading_is(e, "failed") ||
                 reading_is(e, "budget_reached");
}

static void on_agent_id(struct reading *r, const struct jscan_event *e)
{
    (void)reading_text(e, r->result.agent_id, sizeof(r->result.agent_id));
}

/* Subagents choose their models themselves. */
static void on_team(struct reading *r, const struct jscan_event *e)
{
    r->result.is_mixed = e->type == JSCAN_TRUE;
}

static void on_limit(struct reading *r, const struct jscan_event *e)
{
    uint64_t cents;

    if (e->type == JSCAN_NUMBER && jscan_count(e->text, &cents) == JSCAN_COUNT_OK)
        r->result.session_cents = cents;
}

static void on_spent(struct reading *r, const struct jscan_event *e)
{
    reading_cost(r, e, 2); /* cents */
}

/* ---- items ------------------------------------------------------------------------------ */

static void on_item_type(struct reading *r, const struct jscan_event *e)
{
    r->has_searches = reading_is(e, "web_search_call");
}

static void on_item_id(struct reading *r, const struct jscan_event *e)
{
    (void)reading_text(e, r->name, SEARCH_ID_MAX);
}

static void on_item_status(struct reading *r, const struct jscan_event *e)
{
    r->is_step = !reading_is(e, "completed");
}

static void on_action(struct reading *r, const struct jscan_event *e)
{
    r->item_no_search = !reading_is(e, "search");
}

static void begin_item(struct reading *r)
{
    r->has_searches = r->is_step = r->item_no_search = false;
    r->name[0] = '\0';
}

static void end_item(struct reading *r)
{
    if (!r->has_searches || r->is_step || r->item_no_search || r->name[0] == '\0')
        return;
    if (r->named == NULL) {
        r->named = xmalloc(sizeof(*r->named));
        r->named->n = 0;
    }
    if (r->named->n < SEARCHES_MAX)
        memcpy(r->named->id[r->named->n++], r->name, strlen(r->name) + 1);
}

static fact_fn *const FACTS[N_RAW] = {
    [N_OBJECT] = on_word, [N_TYPE] = on_word,         [N_ID] = on_id,
    [N_STATUS] = on_status, [N_AGENT_ID] = on_agent_id, [N_MODEL] = fact_model,
    [N_TIER] = fact_tier, [N_TEAM_ON] = on_team,      [N_LIMIT] = on_limit,
    [N_SPENT] = on_spent, [N_ITEM_TYPE] = on_item_type, [N_ITEM_ID] = on_item_id,
    [N_ITEM_STATUS] = on_item_status, [N_ACTION_TYPE] = on_action,
};

static void begin_document(struct reading *r)
{
    r->item_kind = TELLS_OTHER;
    r->is_done = false;
    begin_item(r);
    r->iteration = (struct raw_counts){.odd = false};
    r->write = (struct raw_counts){.odd = false};
}

/* Of the turns of a list, or of those that ended in a stream. */
static void add(struct raw_counts *sum, const struct raw_counts *part)
{
    for (unsigned i = 0; i < RAW_COUNT; i++) {
        if (raw_has(part, i) && sum->n[i] + part->n[i] <= USAGE_MAX_COUNT)
            raw_set(sum, i, sum->n[i] + part->n[i]);
    }
    sum->odd = sum->odd || part->odd;
}

static void keep_largest(struct raw_counts *kept, const struct raw_counts *told)
{
    for (unsigned i = 0; i < RAW_COUNT; i++) {
        if (raw_has(told, i) && (!raw_has(kept, i) || told->n[i] > kept->n[i]))
            raw_set(kept, i, told->n[i]);
    }
    kept->odd = kept->odd || told->odd;
}

static void take_usage(struct reading *r)
{
    const struct raw_counts *c = &r->counts;
    uint64_t room = c->n[RAW_INPUT];
    struct usage u = {.has = 0};
    bool fits = !c->odd;

    if (raw_has(c, RAW_INPUT))
        usage_set(&u, USAGE_INPUT, c->n[RAW_INPUT]);
    if (raw_has(c, RAW_OUTPUT))
        usage_set(&u, USAGE_OUTPUT, c->n[RAW_OUTPUT]);
    if (raw_has(c, RAW_CACHED))
        fits &= usage_set_part(&u, USAGE_CACHE_READ, c->n[RAW_CACHED], &room);
    fits &= usage_set_modalities(&u, c, c->n[RAW_INPUT], c->n[RAW_OUTPUT]);
    r->result.inconsistent = !fits;
    r->result.usage = u;
    r->result.has_usage = usage_says_amount(&u);
    r->result.usage_is_final = r->result.has_usage;
}

static void take_session(struct reading *r)
{
    /* What has not been told yet may still come. */
    bool is_told = raw_has(&r->iteration, RAW_INPUT) || raw_has(&r->iteration, RAW_OUTPUT);

    memcpy(r->result.work_id, r->id, sizeof(r->id));
    r->result.is_session = true;
    r->result.is_at_rest = r->is_done && is_told;
    r->terminator = r->is_done;
    reading_keep_cost(r);
}

static void end_document(struct reading *r)
{
    r->result.is_rough = true;
    r->error = r->error || (r->type == DOCUMENT_ERROR);
    switch (r->item_kind) {
    case TELLS_SESSION:
        keep_largest(&r->counts, &r->iteration);
        take_session(r);
        break;
    case TELLS_AGENT:
        memcpy(r->result.agent_id, r->id, sizeof(r->id));
        return;
    case TELLS_TURN:
        keep_largest(&r->counts, &r->iteration);
        break;
    case TELLS_TURNS:
        add(&r->write, &r->iteration);
        keep_largest(&r->counts, &r->write);
        break;
    case TELLS_END:
        add(&r->metered, &r->iteration);
        keep_largest(&r->counts, &r->metered);
        break;
    case TELLS_ITEM:
        end_item(r);
        r->result.is_session = true;
        return;
    case TELLS_RUN:
        r->result.is_at_rest = r->terminator = false;
        return;
    default:
        return;
    }
    take_usage(r);
    r->result.is_session = true;
}

static void on_event(void *arg, const struct jscan_event *e)
{
    struct reading *r = arg;

    if (e->node >= N_RAW) {
        reading_count(&r->iteration, (enum raw_count)(e->node - N_RAW), e);
    } else if (e->node == N_ROOT) {
        reading_root(r, e);
    } else if (e->node == N_SESSION) {
        r->item_kind = TELLS_SESSION;
    } else if (e->node == N_LISTED) {
        if (e->what == JSCAN_AT_ENTER)
            begin_item(r);
        else
            end_item(r);
    } else if (e->node == N_ITEM) {
        if (e->what == JSCAN_AT_ENTER)
            begin_item(r);
    } else if (e->node == N_USAGE || e->node == N_LISTED_USAGE) {
        if (e->what == JSCAN_AT_ENTER) { /* of an event's two the last holds */
            if (e->node == N_LISTED_USAGE)
                add(&r->write, &r->iteration);
            r->iteration = (struct raw_counts){.odd = false};
        }
    } else {
        reading_fact(r, e);
    }
}

const struct reader READER_AGENTS = {.nodes = NODES,
                                     .root = N_ROOT,
                                     .on_event = on_event,
                                     .facts = FACTS,
                                     .begin_document = begin_document,
                                     .end_document = end_document,
                                     .has_terminator = true};
