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
    DIALECT_COHERE,
    DIALECT_OLLAMA,
    DIALECT_SERVER, /* what servers of open models have of their own */
    DIALECT_SESSION, /* Anthropic's managed agents */
    DIALECT_AGENTS,  /* OpenAI's */
    DIALECT_GUARD,   /* Bedrock's guardrails by themselves */
    DIALECT_DASHSCOPE, /* Alibaba's own */
    DIALECT_CREDITS, /* ElevenLabs: a field of the head tells what was charged */
    DIALECT_SCRIBE,  /* ElevenLabs: transcripts */
    DIALECT_DEEPGRAM,
    DIALECT_AURA, /* Deepgram's speech, of which the head tells */
    DIALECT_ASSEMBLYAI,
};

enum {
    ENTRY_EDIT = 1,   /* a stream has usage only where stream_options asks for it */
    ENTRY_EMBEDS = 2, /* nothing is generated */
    ENTRY_CAP_16 = 4, /* without a bound of its own a request stops after 16 tokens */
    ENTRY_STREAM = 8, /* its answer is a stream, whatever the request says */
    ENTRY_STREAMS = 16,      /* a request that does not say otherwise asks for a stream */
    ENTRY_LINES = 32,        /* a stream is a document a line, however it is labelled */
    ENTRY_IMAGES = 64,       /* images are generated, and counted */
    ENTRY_SPEECH = 128,      /* the request's text is spoken */
    ENTRY_AUDIO = 256,       /* audio in the request is written down */
    ENTRY_RERANK = 512,      /* charged by the search */
    ENTRY_LATER = 1024,      /* only accepted: the work is done, and told of, later */
    ENTRY_BATCH = 2048,      /* answers to many requests, a line each, at the price of batches */
    ENTRY_THREAD = 4096,     /* the provider keeps what went before; the answer can be fetched */
    ENTRY_PATH_MODEL = 8192, /* the pattern's wild segments name the model */
    ENTRY_FILE = 32768,      /* takes files, also of batches */
    ENTRY_JOB = 65536,       /* tells how far a batch is */
    ENTRY_VIDEO = 16384,     /* videos are generated, charged by their seconds, when done */
    ENTRY_BY_PATH = 131072,  /* what is fetched is known by the id in its path, not its own */
    ENTRY_PART = 524288,     /* takes a file piece by piece */
    ENTRY_JOINED = 1048576,  /* makes a file of such pieces */
    ENTRY_WRAPPED = 262144,  /* the call is the body's member `request` */
    ENTRY_REQUESTS = 1 << 21, /* the requests of a batch may stand in the body */
    ENTRY_ADDS = 1 << 22,     /* to a work that was begun before, which the path names */
    ENTRY_GUARD = 1 << 25,    /* text is looked at by policies, charged by its length */
    ENTRY_SESSION = 1 << 24,  /* of an agent that the provider lets run by itself */
    ENTRY_LINKS = 1 << 26,    /* addresses of the provider stand in the answer (links.h) */
    ENTRY_DUPLEX = 1 << 27,   /* both sides speak at once: the request is no document */
    ENTRY_DREAM = 1 << 28,    /* of a session that names its model as any call does */
    ENTRY_UNNAMED = 1 << 29,  /* what tells of the work later does not name its model */
    ENTRY_QUERY = 1 << 30,    /* model and options stand in the query, the body may be sound */
    ENTRY_BY_NAME = 1 << 23,  /* answers come in pages of any order: known by requests' names */
};

/* An endpoint as the table has it; `endpoint` first, so that a route leads back to it. */
struct entry {
    struct endpoint endpoint;
    const char *method;  /* "": any */
    const char *pattern; /* segments after prefixes and version; "*" is one segment, "{model}"
                            one that names the model and may be encoded */
    enum dialect dialect;
    unsigned flags;    /* ENTRY_... */
    const char *model; /* of a request that names none; NULL: it has none */
    uint32_t most_ms;  /* reserved for sound whose length nobody tells; 0: none */
    bool is_only;      /* whatever model a request names there */
};

/* Tables of endpoints (route_table.c), as bits; a path is looked for in their order. */
enum {
    ENTRIES_GOOGLE = 1, /* below the version; its models/MODEL:method are google_paths */
    ENTRIES_MISTRAL = 2,
    ENTRIES_OPENAI = 4,
    ENTRIES_HOSTS = 8, /* servers and hosts that speak OpenAI's and have paths of their own */
    ENTRIES_ANTHROPIC = 16,
    ENTRIES_COHERE = 32,
    ENTRIES_OLLAMA = 64,
    ENTRIES_BEDROCK = 128,
    ENTRIES_AGENTS = 256, /* OpenAI's own, which no other that speaks like it has */
    ENTRIES_ELEVENLABS = 512,
    ENTRIES_DEEPGRAM = 1024,
    ENTRIES_ASSEMBLYAI = 2048,
    ENTRIES_VOICES = ENTRIES_ELEVENLABS | ENTRIES_DEEPGRAM | ENTRIES_ASSEMBLYAI,
};

/* The shape of errors. */
enum error_shape {
    SHAPE_OPENAI = 0,
    SHAPE_RESPONSES, /* as OpenAI; an event of its streams is typed */
    SHAPE_ANTHROPIC,
    SHAPE_GOOGLE,
    SHAPE_BEDROCK,
    SHAPE_COHERE,
    SHAPE_COHERE_EVENT, /* the last event of its streams */
    SHAPE_MISTRAL,
    SHAPE_OLLAMA,
    SHAPE_DASHSCOPE,
    SHAPE_ELEVENLABS,
    SHAPE_DEEPGRAM,
    SHAPE_ASSEMBLYAI,
};

struct protocol {
    const char *name;
    const char *book; /* see protocol_book; NULL: name */
    const char *credential_header;
    const char *credential_prefix;
    const char *tier_header; /* see protocol_tier_header; NULL: none */
    enum error_shape shape;
    unsigned tables; /* ENTRIES_... */
    const char *prefixes; /* segments that may stand before the version, separated by spaces */
    bool google_paths;    /* models/MODEL:method */
    bool deployments;     /* deployments/NAME/... */
    bool prices_path;     /* see protocol_prices_path */
    bool goes_on;         /* see protocol_goes_on */
    bool usage_unasked;   /* streams always carry usage, and stream_options may be refused */
};

/* The table's entry that route_find took endpoint from. */
const struct entry *entry_of(const struct endpoint *endpoint);
/* What an endpoint is charged by (request_conclude.c). */
void request_set_kind(struct request_facts *f, const struct entry *entry);
/* How long a video is to be, as the request spells it ("8", "8.5"); what is none is nothing. */
void request_set_seconds(struct request_facts *f, struct strv text);
/*
 * What the path, its query and the table say of a request beside its body: the model where that
 * names none, what is charged beside it, and how much is reserved for sound whose length nobody
 * tells.  RC_BAD where the query could be read in more than one way.
 */
enum rc request_conclude_sound(struct request_facts *f, const struct route *route) RC_MUST;
/* Its requests name their model `model_id` or the like: what is called `model` says nothing. */
bool protocol_names_ids(const struct protocol *p, const struct route *route);
/* The model of a video whose request names none. */
void request_conclude_video(struct request_facts *f);
/* The model that the path names, decoded; RC_BAD where it cannot be. */
enum rc request_path_model(struct request_facts *f, struct strv path) RC_MUST;
/* The shape of errors there (p and route may be NULL): of a plain answer, and of the event that
 * ends a stream. */
enum error_shape shape_of(const struct protocol *p, const struct route *route, bool stream);

#endif
