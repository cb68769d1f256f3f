#include "metering/usage/protocol.h"

#include "metering/usage/protocol_int.h"

/* Segments that OpenAI-compatible hosts put before the version. */
#define OPENAI_PREFIXES                                                                        \
    "openai api api-task inference compatible-mode compatibility paas beta anthropic coding cortex "    \
    "inference-proxy hf-inference proxy"

#define BEARER .credential_header = "authorization", .credential_prefix = "Bearer "

/* In the order in which messages list them. */
static const struct protocol PROTOCOLS[] = {
    {.name = "openai",
     BEARER,
     .shape = SHAPE_OPENAI,
     .tables = ENTRIES_AGENTS | ENTRIES_OPENAI | ENTRIES_HOSTS,
     .prefixes = OPENAI_PREFIXES},
    {.name = "anthropic",
     .credential_header = "x-api-key",
     .credential_prefix = "",
     .shape = SHAPE_ANTHROPIC,
     .tables = ENTRIES_ANTHROPIC,
     .prefixes = ""},
    {.name = "gemini",
     .credential_header = "x-goog-api-key",
     .credential_prefix = "",
     .shape = SHAPE_GOOGLE,
     .tables = ENTRIES_GOOGLE | ENTRIES_OPENAI,
     .prefixes = "openai upload download",
     .google_paths = true,
     .goes_on = true}, /* ending a call is the client's affair alone, says its SDK */
    {.name = "vertex",
     BEARER,
     .tier_header = "x-vertex-ai-llm-shared-request-type",
     .shape = SHAPE_GOOGLE,
     .tables = ENTRIES_OPENAI,
     .prefixes = "",
     .google_paths = true,
     .goes_on = true},
    {.name = "azure-openai",
     .book = "azure",
     .credential_header = "api-key",
     .credential_prefix = "",
     .shape = SHAPE_OPENAI,
     .tables = ENTRIES_OPENAI,
     .prefixes = "openai",
     .deployments = true},
    {.name = "bedrock",
     BEARER,
     .tier_header = "x-amzn-bedrock-service-tier",
     .shape = SHAPE_BEDROCK,
     .tables = ENTRIES_BEDROCK,
     .prefixes = "openai",
     .prices_path = true,
     .goes_on = true},
    {.name = "cohere", BEARER, .shape = SHAPE_COHERE, .tables = ENTRIES_COHERE, .prefixes = ""},
    {.name = "mistral",
     BEARER,
     .shape = SHAPE_MISTRAL,
     .tables = ENTRIES_MISTRAL | ENTRIES_OPENAI,
     .prefixes = "",
     .usage_unasked = true},
    {.name = "ollama", BEARER, .shape = SHAPE_OLLAMA, .tables = ENTRIES_OLLAMA, .prefixes = ""},
    {.name = "elevenlabs",
     .credential_header = "xi-api-key",
     .credential_prefix = "",
     .shape = SHAPE_ELEVENLABS,
     .tables = ENTRIES_ELEVENLABS,
     .prefixes = ""},
    {.name = "deepgram",
     .credential_header = "authorization",
     .credential_prefix = "Token ",
     .shape = SHAPE_DEEPGRAM,
     .tables = ENTRIES_DEEPGRAM,
     .prefixes = ""},
    {.name = "assemblyai",
     .credential_header = "authorization",
     .credential_prefix = "",
     .shape = SHAPE_ASSEMBLYAI,
     .tables = ENTRIES_ASSEMBLYAI,
     .prefixes = ""},
    {.name = "raw", BEARER, .shape = SHAPE_OPENAI, .prefixes = ""},
};

static const size_t PROTOCOLS_N = sizeof(PROTOCOLS) / sizeof(PROTOCOLS[0]);

const struct protocol *protocol_find(struct strv name)
{
    for (size_t i = 0; i < PROTOCOLS_N; i++) {
        if (strv_eq(name, strv_z(PROTOCOLS[i].name)))
            return &PROTOCOLS[i];
    }
    return NULL;
}

const char *protocol_name(const struct protocol *p)
{
    return p->name;
}

const char *protocol_name_at(size_t n)
{
    return n < PROTOCOLS_N ? PROTOCOLS[n].name : NULL;
}

void protocol_credential(const struct protocol *p, struct strv *header, struct strv *prefix)
{
    *header = strv_z(p->credential_header);
    *prefix = strv_z(p->credential_prefix);
}

struct strv protocol_tier_header(const struct protocol *p)
{
    return p->tier_header != NULL ? strv_z(p->tier_header) : STRV_NONE;
}

bool protocol_goes_on(const struct protocol *p, struct strv provider)
{
    /* Hosts of other protocols that do: a router some of whose providers cannot be stopped. */
    static const char *const PROVIDERS[] = {"openrouter"};

    for (size_t i = 0; i < sizeof(PROVIDERS) / sizeof(PROVIDERS[0]); i++) {
        if (strv_eq(provider, strv_z(PROVIDERS[i])))
            return true;
    }
    return p->goes_on;
}

bool protocol_spares_refusals(struct strv provider)
{
    return strv_eq(provider, STRV("anthropic"));
}

bool protocol_bills_others(struct strv provider)
{
    return strv_eq(provider, STRV("anthropic"));
}

bool protocol_prices_path(const struct protocol *p)
{
    return p->prices_path;
}

/* Whose errors a dialect's SDKs read; the protocol's own where it has one of its own. */
static enum error_shape dialect_shape(const struct protocol *p, enum dialect dialect,
                                      bool stream)
{
    switch (dialect) {
    case DIALECT_NONE:
    case DIALECT_SERVER:
    case DIALECT_CONVERSE:
    case DIALECT_INVOKE:
    case DIALECT_GUARD:
    case DIALECT_CREDITS:
    case DIALECT_SCRIBE:
    case DIALECT_DEEPGRAM:
    case DIALECT_AURA:
    case DIALECT_ASSEMBLYAI:
        break;
    case DIALECT_OPENAI:
        return (p->shape == SHAPE_MISTRAL || p->shape == SHAPE_ASSEMBLYAI) && !stream
                   ? p->shape
                   : SHAPE_OPENAI;
    case DIALECT_RESPONSES:
        return stream ? SHAPE_RESPONSES : SHAPE_OPENAI;
    case DIALECT_AGENTS: /* whose events are named, and hold an error as Anthropic's do */
        return stream ? SHAPE_ANTHROPIC : SHAPE_OPENAI;
    case DIALECT_ANTHROPIC:
    case DIALECT_SESSION:
        return SHAPE_ANTHROPIC;
    case DIALECT_GEMINI:
    case DIALECT_PREDICT:
        return SHAPE_GOOGLE;
    case DIALECT_COHERE:
        return stream ? SHAPE_COHERE_EVENT : SHAPE_COHERE;
    case DIALECT_OLLAMA:
        return SHAPE_OLLAMA;
    case DIALECT_DASHSCOPE:
        return SHAPE_DASHSCOPE;
    }
    return p->shape;
}

enum error_shape shape_of(const struct protocol *p, const struct route *route, bool stream)
{
    if (p == NULL)
        return SHAPE_OPENAI;
    if (route == NULL || route->endpoint == NULL)
        return p->shape;
    if (route->openai_path && entry_of(route->endpoint)->dialect == DIALECT_NONE)
        return SHAPE_OPENAI;
    return dialect_shape(p, entry_of(route->endpoint)->dialect, stream);
}

const char *protocol_book(const struct protocol *p)
{
    return p->book != NULL ? p->book : p->name;
}
