/*
 * request_graph.h - which members of a request say something, under all the names that
 * providers have for them.  What they say is the business of request.c and request_conclude.c,
 * which alone include it.
 */
#ifndef METERING_USAGE_REQUEST_GRAPH_H
#define METERING_USAGE_REQUEST_GRAPH_H

#include "metering/usage/jscan.h"

enum request_node {
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
    N_SECONDS,
    N_INPUT_FILE,
    N_INPUT_FILES,
    N_TOOLS,
    N_TOOL_TYPE,
    N_TOOL_CONFIG,
    N_ENTERPRISE,
    N_ANNOTATION,
    N_WRAPPED, /* a body whose call is one of its members */
    N_BILLING,
    N_BILL_TO,
    N_JOB_MODEL,
    N_MODEL_INPUT,
    N_WIDTH,
    N_HEIGHT,
    N_BATCH,
    N_ONE, /* an object of one member, by the name of an endpoint */
    N_AGENT, /* an agent's name, or an object with that and more */
    N_AGENT_MODEL,
    N_BUDGET,
    N_BUDGET_LIMIT,
    N_BUDGET_AMOUNT,
    N_GUARDRAIL,
    N_AGENT_NAME,
    N_AGENT_TIER,
    N_TEAM,
    N_TEAM_ON,
    N_SPEND,
    N_MODEL_OF, /* where a model is an object */
    N_SPEED, /* from here on any may stand twice */
    N_SPOKEN,   /* text that may be spoken, or an object of options */
    N_SOUND,    /* the address of sound */
    N_LENGTH,   /* of music, in milliseconds */
    N_PLAN,     /* of music, whose sections have each its own */
    N_SECTION,
    N_SECTION_LENGTH,
    N_LISTENERS, /* models, of which the first that can does the work */
    N_SEARCHES,
    N_TOOL_USES,
    N_TOOL_CALLS,
    N_TOOL_MODEL,
    N_MODELS,
    N_FALLBACKS,
    N_THINKS,
    N_THINKING_BUDGET,
    N_COUNT,
};
_Static_assert((int)N_SPEED <= 64, "a bit each, where one may stand only once");

/* From N_ROOT on, or from N_WRAPPED. */
extern const struct jscan_node REQUEST_NODES[N_COUNT];

#endif
