#include "metering/usage/protocol.h"

#include "metering/usage/protocol_int.h"

/* Segments that OpenAI-compatible hosts put before the version. */
#define OPENAI_PREFIXES                                                                        \
    "openai api inference compatible-mode compatibility paas beta anthropic coding cortex"

#define BEARER .credential_header = "authorization", .credential_prefix = "Bearer "

/* In the order in which messages list them. */
static const struct protocol PROTOCOLS[] = {
    {.name = "openai",
     BEARER,
     .shape = SHAPE_OPENAI,
     .table = ENTRIES_OPENAI,
     .prefixes = OPENAI_PREFIXES},
    {.name = "anthropic",
     .credential_header = "x-api-key",
     .credential_prefix = "",
     .shape = SHAPE_ANTHROPIC,
     .table = ENTRIES_ANTHROPIC,
     .prefixes = ""},
    {.name = "gemini",
     .credential_header = "x-goog-api-key",
     .credential_prefix = "",
     .shape = SHAPE_GOOGLE,
     .table = ENTRIES_OPENAI,
     .prefixes = "openai",
     .google_paths = true},
    {.name = "vertex",
     BEARER,
     .shape = SHAPE_GOOGLE,
     .table = ENTRIES_OPENAI,
     .prefixes = "",
     .google_paths = true},
    {.name = "azure-openai",
     .credential_header = "api-key",
     .credential_prefix = "",
     .shape = SHAPE_OPENAI,
     .table = ENTRIES_OPENAI,
     .prefixes = "openai",
     .deployments = true},
    {.name = "bedrock",
     BEARER,
     .shape = SHAPE_BEDROCK,
     .table = ENTRIES_BEDROCK,
     .prefixes = "openai",
     .prices_path = true},
    {.name = "cohere", BEARER, .shape = SHAPE_COHERE, .table = ENTRIES_COHERE, .prefixes = ""},
    {.name = "mistral",
     BEARER,
     .shape = SHAPE_MISTRAL,
     .table = ENTRIES_OPENAI,
     .prefixes = "",
     .usage_unasked = true},
    {.name = "ollama", BEARER, .shape = SHAPE_OLLAMA, .table = ENTRIES_OLLAMA, .prefixes = ""},
    {.name = "raw", BEARER, .shape = SHAPE_OPENAI, .table = ENTRIES_NONE, .prefixes = ""},
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

bool protocol_prices_path(const struct protocol *p)
{
    return p->prices_path;
}
