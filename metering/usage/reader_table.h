/*
 * reader_table.h - readers that are tables alone: a graph in these node numbers, and
 * the words that end an answer.  For dialects whose counts are all inside input and
 * output.  Nothing outside metering/usage includes it.
 *
 * A dialect names its own containers from NODE_OWN on; what a value means is said by
 * the number of its node.  Usage is the last document's that had counts, whole.
 */
#ifndef METERING_USAGE_READER_TABLE_H
#define METERING_USAGE_READER_TABLE_H

#include "metering/usage/reader.h"

enum reader_node {
    NODE_SKIP = JSCAN_SKIP,
    NODE_ROOT,
    NODE_MODEL,
    NODE_TIER,
    NODE_TYPE,   /* of a document, by the reader's words */
    NODE_FINISH, /* why it ended, by the reader's words */
    NODE_ERROR,  /* not null: a document of error */
    NODE_DONE,   /* true: the stream's last document */
    NODE_USAGE,  /* an object of counts: those before it are forgotten */
    NODE_COST,   /* in dollars */
    NODE_TEXT,   /* generated text, and all inside it */
    NODE_WHOLE_TEXT, /* the same, which each event of a stream repeats from its beginning */
    NODE_INPUT_ITEM, /* its objects are input tokens */
    NODE_SECONDS,    /* of audio */
    NODE_ID,         /* of an answer that can be fetched again */
    NODE_STATUS,     /* of work that goes on after the answer */
    NODE_ROUGH,      /* true, or an item: what the counts and rates here do not tell costs extra */
    NODE_OWN,
    NODE_OWN_MAX = NODE_OWN + 24,
    NODE_RAW = NODE_OWN_MAX, /* and RAW_COUNT - 1 more */
    NODE_COUNT = NODE_RAW + RAW_COUNT,
};

/* What every such graph has; the rest of its nodes follow. */
#define READER_TABLE_NODES                                                                     \
    [NODE_MODEL] = {.flags = JSCAN_WANT}, [NODE_TIER] = {.flags = JSCAN_WANT},                 \
    [NODE_TYPE] = {.flags = JSCAN_WANT}, [NODE_FINISH] = {.flags = JSCAN_WANT},                \
    [NODE_ERROR] = {.flags = JSCAN_WANT | JSCAN_ENTER}, [NODE_DONE] = {.flags = JSCAN_WANT},   \
    [NODE_COST] = {.flags = JSCAN_WANT}, [NODE_SECONDS] = {.flags = JSCAN_WANT},               \
    [NODE_TEXT] = {NULL, 0, NODE_TEXT, NODE_TEXT, JSCAN_COUNT},                                \
    [NODE_ID] = {.flags = JSCAN_WANT}, [NODE_STATUS] = {.flags = JSCAN_WANT},                  \
    [NODE_ROUGH] = {.item = NODE_ROUGH, .flags = JSCAN_WANT},                                  \
    [NODE_WHOLE_TEXT] = {NULL, 0, 0, NODE_WHOLE_TEXT, JSCAN_WANT | JSCAN_COUNT},               \
    [NODE_INPUT_ITEM] = {.flags = JSCAN_ENTER}, RAW_COUNTS(READER_TABLE_RAW)
#define READER_TABLE_RAW(id) [NODE_RAW + (id)] = {.flags = JSCAN_WANT},

void reader_table_on_event(void *arg, const struct jscan_event *e);
void reader_table_end_document(struct reading *r);
extern fact_fn *const READER_TABLE_FACTS[NODE_RAW];

/* What every such reader begins with; its graph, words and peculiarities follow. */
#define READER_TABLE                                                                           \
    .nodes = NODES, .root = NODE_ROOT, .on_event = reader_table_on_event,                      \
    .facts = READER_TABLE_FACTS, .end_document = reader_table_end_document,                    \
    .finishes = FINISHES, .types = TYPES

#endif
