/*
 * Guardrails of Bedrock: what each of their policies looked at, in units of text or images, at
 * rates of its own.  Applied by itself a guardrail's answer says so in its usage; beside a
 * model's call the trace says it, where one was asked for.
 */
#include "metering/usage/reader.h"

#include <string.h>

static const char *const GUARD_MODELS[GUARD_COUNT] = {
#define GUARD_MODEL(id, member, model) [id] = model,
    GUARD_POLICIES(GUARD_MODEL)
#undef GUARD_MODEL
};

void reading_guard(struct reading *r, enum guard_policy policy, const struct jscan_event *e)
{
    struct raw_counts one = {.odd = false};

    reading_count(&one, RAW_INPUT, e);
    if (one.odd || r->guard[policy] + one.n[RAW_INPUT] > USAGE_MAX_COUNT)
        r->result.inconsistent = true;
    else
        r->guard[policy] += one.n[RAW_INPUT];
    r->is_guarded = r->result.guard_told = true;
}

uint64_t reading_guard_parts(struct reading *r, enum part_kind kind)
{
    uint64_t sum = 0;

    parts_drop(r, kind);
    for (unsigned i = 0; i < GUARD_COUNT; i++) {
        struct usage u = {.has = 0};

        if (r->guard[i] == 0)
            continue;
        usage_set(&u, USAGE_GUARD, r->guard[i]);
        parts_add(r, kind, GUARD_MODELS[i], &u);
        sum += r->guard[i]; /* each at most USAGE_MAX_COUNT */
    }
    return sum < USAGE_MAX_COUNT ? sum : USAGE_MAX_COUNT;
}

enum node {
    N_SKIP = JSCAN_SKIP,
    N_ROOT,
    N_USAGE,
    N_ACTION,
    N_RAW,
    N_COUNT = N_RAW + GUARD_COUNT,
};

static const struct jscan_edge ROOT_EDGES[] = {JSCAN_EDGE("usage", N_USAGE),
                                               JSCAN_EDGE("action", N_ACTION)};
static const struct jscan_edge USAGE_EDGES[] = {
#define GUARD_EDGE(id, member, model) JSCAN_EDGE(member, N_RAW + (id)),
    GUARD_POLICIES(GUARD_EDGE)
#undef GUARD_EDGE
};

static const struct jscan_node NODES[N_COUNT] = {
    [N_ROOT] = {JSCAN_EDGES(ROOT_EDGES), 0, 0, JSCAN_ENTER},
    [N_USAGE] = {JSCAN_EDGES(USAGE_EDGES), 0, 0, 0},
    [N_ACTION] = {.flags = JSCAN_WANT},
#define GUARD_NODE(id, member, model) [N_RAW + (id)] = {.flags = JSCAN_WANT},
    GUARD_POLICIES(GUARD_NODE)
#undef GUARD_NODE
};

static void begin_document(struct reading *r)
{
    memset(r->guard, 0, sizeof(r->guard));
    r->is_guarded = false;
}

static void end_document(struct reading *r)
{
    if (!r->is_guarded)
        return;
    r->result.usage = (struct usage){.has = 0};
    usage_set(&r->result.usage, USAGE_GUARD, reading_guard_parts(r, PART_SHARE));
    r->result.has_usage = true;
    r->result.usage_is_final = true;
}

static void on_event(void *arg, const struct jscan_event *e)
{
    struct reading *r = arg;

    if (e->node >= N_RAW)
        reading_guard(r, (enum guard_policy)(e->node - N_RAW), e);
    else if (e->node == N_ROOT)
        reading_root(r, e);
    else if (e->node == N_ACTION && reading_is(e, "GUARDRAIL_INTERVENED"))
        reading_finish(r, TAP_END_REFUSED);
}

const struct reader READER_GUARD = {.nodes = NODES,
                                    .root = N_ROOT,
                                    .on_event = on_event,
                                    .begin_document = begin_document,
                                    .end_document = end_document};
