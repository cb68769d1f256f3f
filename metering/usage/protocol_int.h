/*
 * protocol_int.h - what the files of this folder share about protocols: the shape
 * of a table entry.  Nothing outside metering/usage includes it.
 */
#ifndef METERING_USAGE_PROTOCOL_INT_H
#define METERING_USAGE_PROTOCOL_INT_H

#include "metering/usage/protocol.h"

/* How a response is read: see reader.h. */
enum dialect {
    DIALECT_NONE = 0,  /* carries no usage */
    DIALECT_OPENAI,    /* chat, completions, embeddings */
    DIALECT_RESPONSES, /* the same members; its streams end otherwise */
    DIALECT_ANTHROPIC,
    DIALECT_GEMINI,
    DIALECT_PREDICT,  /* Vertex: embeddings and images */
    DIALECT_CONVERSE, /* Bedrock */
    DIALECT_INVOKE,   /* Bedrock: whatever the model's vendor answers */
};

enum {
    ENTRY_EDIT = 1,   /* a stream has usage only where stream_options asks for it */
    ENTRY_EMBEDS = 2, /* nothing is generated */
    ENTRY_CAP_16 = 4, /* without a bound of its own a request stops after 16 tokens */
    ENTRY_STREAM = 8, /* its answer is a stream, whatever the request says */
};

/* An endpoint as the table has it; `endpoint` first, so that a route leads back to it. */
struct entry {
    struct endpoint endpoint;
    const char *method;  /* "": any */
    const char *pattern; /* segments after prefixes and version; "*" is one segment, "{model}"
                            one that names the model and may be encoded */
    enum dialect dialect;
    unsigned flags; /* ENTRY_... */
};

/* Tables of endpoints (route.c). */
enum entries {
    ENTRIES_NONE = 0,
    ENTRIES_OPENAI,
    ENTRIES_ANTHROPIC,
    ENTRIES_COHERE,
    ENTRIES_OLLAMA,
    ENTRIES_BEDROCK,
};

/* The shape of errors. */
enum error_shape {
    SHAPE_OPENAI = 0,
    SHAPE_RESPONSES, /* as OpenAI; an event of its streams is typed */
    SHAPE_ANTHROPIC,
    SHAPE_GOOGLE,
    SHAPE_BEDROCK,
    SHAPE_COHERE,
    SHAPE_MISTRAL,
    SHAPE_OLLAMA,
};

struct protocol {
    const char *name;
    const char *credential_header;
    const char *credential_prefix;
    enum error_shape shape;
    enum entries table;
    const char *prefixes; /* segments that may stand before the version, separated by spaces */
    bool google_paths;    /* models/MODEL:method */
    bool deployments;     /* deployments/NAME/... */
    bool prices_path;     /* see protocol_prices_path */
    bool usage_unasked;   /* streams always carry usage, and stream_options may be refused */
};

/* The shape of errors at an endpoint (stream_error.c); route may be NULL. */
enum error_shape shape_of(const struct protocol *p, const struct route *route);

/* The table's entry that route_find took endpoint from. */
const struct entry *entry_of(const struct endpoint *endpoint);

#endif
