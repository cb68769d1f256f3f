/*
 * call.h - one call to a model: what it asks, what it will cost, and helpers that the
 * protocols share.
 *
 * Counts are made from the request alone, so that a test can say beforehand what they
 * will be: a token is a word (a run of bytes without blanks), the answer has 16 of them
 * unless the request's own bound or X-Sim-Output-Tokens says otherwise.
 */
#ifndef PROVIDER_CALL_H
#define PROVIDER_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "base/jsonw.h"
#include "tests/provider/books.h"
#include "tests/provider/reply.h"
#include "tests/provider/request.h"

enum {
    OUTPUT_DEFAULT = 16,
    OUTPUT_MAX = 10000000,
    PAD_MAX_BYTES = 128 << 20,
    CALL_MODEL_BYTES = 96,
    CALL_ID_DIGITS = 12, /* at the end of both ids of an answer */
    EVENT_MAX_BYTES = 256 << 20,
};

struct call {
    struct request *r;
    struct reply *reply;
    const cJSON *json;
    char model[CALL_MODEL_BYTES]; /* as answered */
    char request_id[BOOKS_ID_BYTES];
    char response_id[BOOKS_ID_BYTES];
    struct strv endpoint; /* for the bill */
    bool stream;
    struct counts counts;
    uint64_t visible; /* output that is text */
    bool limited;     /* the request's bound cut the output short */
    int64_t created;  /* seconds */
    struct buf text;  /* of the current event */
    struct buf event; /* JSON of the current event */
};

/* Words of a text; bytes without blanks. */
uint64_t count_words(struct strv text);
/* The same of a JSON string; 0 for anything else. */
uint64_t count_json_words(const cJSON *string);
/* Of a string, or of the "text" members of an array of parts. */
uint64_t count_parts(const cJSON *content);

struct strv json_text(const cJSON *object, const char *name);
bool json_true(const cJSON *object, const char *name);
/* A whole number of 0..2^40, or otherwise. */
uint64_t json_number(const cJSON *object, const char *name, uint64_t otherwise);

void call_init(struct call *c, struct request *r, struct reply *reply);
void call_free(struct call *c);
/* Sets the model answered: X-Sim-Served-Model, or as asked. */
void call_model(struct call *c, struct strv asked);
/* The number of an answer as its ids have it: so many hexadecimal digits, no NUL. */
void call_id_digits(uint64_t number, char digits[CALL_ID_DIGITS]);
/* Makes the ids: "req_..." and prefix plus number. */
void call_ids(struct call *c, const char *request_prefix, const char *response_prefix);
/*
 * Fixes the counts: input from the words counted, output under the request's bound
 * (UINT64_MAX: none), each overruled by its X-Sim header.
 */
void call_plan(struct call *c, uint64_t input_words, uint64_t output_bound);
/* Opens the bill. At once for a plain reply; a stream's output is added as it is sent. */
void call_bill(struct call *c, bool output_now);

/* Text of visible tokens from..to, with X-Sim-Pad-Bytes of padding; valid until the next. */
struct strv call_text(struct call *c, uint64_t from, uint64_t to);
/* Tokens carried by one event of a stream. */
uint64_t call_step(const struct call *c);

/* Writers for the event being made. */
void put_text(struct jsonw *w, const char *name, struct strv value);
void put_number(struct jsonw *w, const char *name, uint64_t value);
void put_null(struct jsonw *w, const char *name);
/* Starts an object in c->event, or appended to out. */
void event_start(struct call *c, struct jsonw *w);
/* Ends it; view of the JSON, valid until the next start. */
struct strv event_end(struct call *c, struct jsonw *w);
/* Ends it as the whole body of a plain reply, one piece. */
void document_end(struct call *c, struct jsonw *w);
/* Appends an SSE event as a piece of the reply. */
void send_sse(struct call *c, struct strv name, struct strv json, uint64_t output);

#endif
