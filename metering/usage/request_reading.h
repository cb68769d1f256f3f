/*
 * request_reading.h - what the members of a request have said so far: request.c takes it from
 * them, request_model.c which models they name, request_conclude.c draws from the whole what
 * follows.  Nothing else includes it.
 */
#ifndef METERING_USAGE_REQUEST_READING_H
#define METERING_USAGE_REQUEST_READING_H

#include "metering/usage/jscan.h"
#include "metering/usage/protocol_int.h"

struct request_reading {
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
    struct strv spoken;    /* the longest text to speak, as the body has it */
    uint64_t length_ms;    /* of music; 0: not said */
    uint64_t plan_ms;      /* the same, of the sections of its plan */
    bool has_plan;
    bool has_lines;        /* the prompt is a list of objects: of a dialogue, its lines */
    struct strv body;
    struct strv model_id; /* by another name than `model` */
    bool model_id_is_odd;
    unsigned listeners; /* in a list of models that listen */
    struct strv job_model;
    bool job_models; /* it was named more than once */
    bool mixed_models;    /* a batch has requests to several */
    uint64_t batch_cap;   /* bounds of its requests, added up */
    bool is_dream;       /* whose model may be an object */
    bool takes_object;   /* its input is one that holds the messages */
    bool thinks;         /* beside the bound of what it says (Alibaba) */
    uint64_t thinking;   /* the bound of that; 0: not said */
    struct strv agent_model, agent_name, agent_tier; /* of a session */
    bool team_told, team_on; /* whether its agent may have others work */
    bool is_fast;          /* Anthropic's speed */
    bool tool_searches;    /* the tool that is being read does */
    uint64_t tool_uses;    /* its bound; 0: not said */
    uint64_t tool_calls;   /* bound of all its provider's tools; 0: not said */
    unsigned sides[2];    /* of an image: width, height; 0: not said */
    struct jscan scan; /* from its memory at the end on nothing is cleared */
};

/* A member that may stand only once: the body is bad where it stands again. node: below 64. */
static inline void reading_once(struct request_reading *r, uint8_t node)
{
    if (r->seen & UINT64_C(1) << node)
        r->bad = true;
    r->seen |= UINT64_C(1) << node;
}

/* A short word as it stands in the body, which owns it; empty for anything else. */
static inline struct strv reading_word(const struct jscan_event *e)
{
    return e->type == JSCAN_STRING && !e->escaped && !e->cut ? e->text : STRV_NONE;
}

/*
 * Members that name a model, by node of REQUEST_NODES: the request's own (`model`, or an object's
 * name of it), what stands under another name, of a job, of a session's agent with its name and
 * tier, of a request of a batch, those that answer after or instead of it, those that listen.
 */
void request_on_model(struct request_reading *r, const struct jscan_event *e);
void request_on_model_of(struct request_reading *r, const struct jscan_event *e);
void request_on_model_id(struct request_reading *r, const struct jscan_event *e);
void request_on_job_model(struct request_reading *r, const struct jscan_event *e);
void request_on_agent(struct request_reading *r, const struct jscan_event *e);
void request_on_agent_model(struct request_reading *r, const struct jscan_event *e);
void request_on_agent_name(struct request_reading *r, const struct jscan_event *e);
void request_on_agent_tier(struct request_reading *r, const struct jscan_event *e);
void request_on_batch_model(struct request_reading *r, const struct jscan_event *e);
void request_on_other(struct request_reading *r, const struct jscan_event *e);
void request_on_listener(struct request_reading *r, const struct jscan_event *e);

/* The body was read to its end: what the endpoint, the path and the members make of each other. */
void request_conclude(struct request_reading *r, const struct protocol *p,
                      const struct route *route);

#endif
