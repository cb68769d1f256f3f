/*
 * Vertex AI's predict: embeddings, each with its own count of tokens, and images, which are
 * counted themselves.  Some models are charged by characters, which are told beside the tokens.
 */
#include "metering/usage/reader.h"

enum node {
    N_SKIP = JSCAN_SKIP,
    N_ROOT,
    N_ERROR,
    N_PREDICTIONS,
    N_PREDICTION,
    N_EMBEDDINGS,
    N_STATISTICS,
    N_TOKENS,
    N_IMAGE,
    N_METADATA,
    N_CHARACTERS,
    N_COUNT,
};

static const struct jscan_edge ROOT_EDGES[] = {
    JSCAN_EDGE("predictions", N_PREDICTIONS),
    JSCAN_EDGE("metadata", N_METADATA),
    JSCAN_EDGE("error", N_ERROR),
};
static const struct jscan_edge PREDICTION_EDGES[] = {
    JSCAN_EDGE("embeddings", N_EMBEDDINGS),
    JSCAN_EDGE("bytesBase64Encoded", N_IMAGE),
    JSCAN_EDGE("gcsUri", N_IMAGE),
};
static const struct jscan_edge EMBEDDINGS_EDGES[] = {JSCAN_EDGE("statistics", N_STATISTICS)};
static const struct jscan_edge STATISTICS_EDGES[] = {JSCAN_EDGE("token_count", N_TOKENS)};
static const struct jscan_edge METADATA_EDGES[] = {
    JSCAN_EDGE("billableCharacterCount", N_CHARACTERS)};

static const struct jscan_node NODES[N_COUNT] = {
    [N_ROOT] = {JSCAN_EDGES(ROOT_EDGES), 0, 0, JSCAN_ENTER},
    [N_ERROR] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_PREDICTIONS] = {.item = N_PREDICTION},
    [N_PREDICTION] = {JSCAN_EDGES(PREDICTION_EDGES), 0, 0, 0},
    [N_EMBEDDINGS] = {JSCAN_EDGES(EMBEDDINGS_EDGES), 0, 0, 0},
    [N_STATISTICS] = {JSCAN_EDGES(STATISTICS_EDGES), 0, 0, 0},
    [N_TOKENS] = {.flags = JSCAN_WANT},
    [N_IMAGE] = {.flags = JSCAN_WANT},
    [N_METADATA] = {JSCAN_EDGES(METADATA_EDGES), 0, 0, 0},
    [N_CHARACTERS] = {.flags = JSCAN_WANT},
};

/* Adds one prediction's count to a field. */
static void add(struct reading *r, enum usage_field field, const struct jscan_event *e)
{
    struct raw_counts one = {.odd = false};
    struct usage *u = &r->result.usage;

    reading_count(&one, RAW_INPUT, e);
    if (one.odd || u->n[field] + one.n[RAW_INPUT] > USAGE_MAX_COUNT)
        r->result.inconsistent = true;
    else if (raw_has(&one, RAW_INPUT))
        usage_set(u, field, u->n[field] + one.n[RAW_INPUT]);
}

static void end_document(struct reading *r)
{
    const struct usage *u = &r->result.usage;

    r->result.has_usage = usage_has(u, USAGE_INPUT) || usage_has(u, USAGE_IMAGES);
    r->result.usage_is_final = r->result.has_usage;
}

static void on_tokens(struct reading *r, const struct jscan_event *e)
{
    add(r, USAGE_INPUT, e);
}

static void on_characters(struct reading *r, const struct jscan_event *e)
{
    add(r, USAGE_CHARACTERS, e);
}

static void on_image(struct reading *r, const struct jscan_event *e)
{
    struct usage *u = &r->result.usage;

    if (e->type == JSCAN_STRING && u->n[USAGE_IMAGES] < USAGE_MAX_COUNT)
        usage_set(u, USAGE_IMAGES, u->n[USAGE_IMAGES] + 1);
}

static fact_fn *const FACTS[N_COUNT] = {
    [N_TOKENS] = on_tokens, [N_CHARACTERS] = on_characters, [N_IMAGE] = on_image};

static void on_event(void *arg, const struct jscan_event *e)
{
    struct reading *r = arg;

    if (e->node == N_ROOT)
        reading_root(r, e);
    else if (e->node == N_ERROR)
        reading_error(r, e);
    else
        reading_fact(r, e);
}

const struct reader READER_PREDICT = {
    .nodes = NODES, .root = N_ROOT, .on_event = on_event, .facts = FACTS,
    .end_document = end_document};
