/*
 * Paths: which endpoint a request goes to.  Only what is spelled plainly matches;
 * whatever a provider might normalise otherwise (escapes, empty or dot segments)
 * stays unknown.
 */
#include <string.h>

#include "metering/usage/live.h"
#include "metering/usage/protocol.h"
#include "metering/usage/protocol_int.h"

enum { SEGMENTS_MAX = 16 };

#define METERED(name, method, pattern, dialect, flags)                                         \
    {                                                                                          \
        {name, ENDPOINT_METERED}, method, pattern, dialect, flags                              \
    }
#define FETCHED(name, method, pattern, dialect, flags)                                         \
    {                                                                                          \
        {name, ENDPOINT_FETCHED}, method, pattern, dialect, flags                              \
    }
#define FREE(name, method, pattern)                                                            \
    {                                                                                          \
        {name, ENDPOINT_FREE}, method, pattern, DIALECT_NONE, 0                                \
    }
#define UNKNOWN(name, method, pattern)                                                         \
    {                                                                                          \
        {name, ENDPOINT_UNKNOWN}, method, pattern, DIALECT_NONE, 0                             \
    }
#define SOCKET(name, method, pattern, dialect)                                                 \
    {                                                                                          \
        {name, ENDPOINT_SOCKET}, method, pattern, dialect, 0                                   \
    }

static const struct entry OPENAI[] = {
    METERED("chat.completions", "POST", "chat/completions", DIALECT_OPENAI, ENTRY_EDIT),
    METERED("chat.completions", "POST", "models/chat/completions", DIALECT_OPENAI, ENTRY_EDIT),
    METERED("responses", "POST", "responses", DIALECT_RESPONSES, 0),
    METERED("completions", "POST", "completions", DIALECT_OPENAI, ENTRY_EDIT | ENTRY_CAP_16),
    METERED("embeddings", "POST", "embeddings", DIALECT_OPENAI, ENTRY_EMBEDS),
    METERED("fim.completions", "POST", "fim/completions", DIALECT_OPENAI, 0),
    METERED("responses.compact", "POST", "responses/compact", DIALECT_RESPONSES, 0),
    METERED("messages", "POST", "messages", DIALECT_ANTHROPIC, 0),
    METERED("images.generations", "POST", "images/generations", DIALECT_OPENAI, ENTRY_IMAGES),
    METERED("images.edits", "POST", "images/edits", DIALECT_OPENAI, ENTRY_IMAGES),
    METERED("images.variations", "POST", "images/variations", DIALECT_OPENAI, ENTRY_IMAGES),
    METERED("images.generations", "POST", "images", DIALECT_OPENAI, ENTRY_IMAGES),
    METERED("audio.speech", "POST", "audio/speech", DIALECT_OPENAI, ENTRY_SPEECH),
    METERED("audio.transcriptions", "POST", "audio/transcriptions", DIALECT_OPENAI,
            ENTRY_AUDIO),
    METERED("audio.translations", "POST", "audio/translations", DIALECT_OPENAI, ENTRY_AUDIO),
    METERED("decisions", "POST", "decisions", DIALECT_RESPONSES, ENTRY_EMBEDS),
    METERED("rerank", "POST", "rerank", DIALECT_OPENAI, ENTRY_EMBEDS | ENTRY_RERANK),
    METERED("score", "POST", "score", DIALECT_OPENAI, ENTRY_EMBEDS),
    METERED("pooling", "POST", "pooling", DIALECT_OPENAI, ENTRY_EMBEDS),
    METERED("classify", "POST", "classify", DIALECT_OPENAI, ENTRY_EMBEDS),
    METERED("embeddings", "POST", "multimodalembeddings", DIALECT_OPENAI, ENTRY_EMBEDS),
    METERED("batches", "POST", "batches", DIALECT_OPENAI, ENTRY_LATER),
    METERED("threads.runs", "POST", "threads/*/runs", DIALECT_OPENAI, ENTRY_THREAD),
    METERED("threads.runs", "POST", "threads/runs", DIALECT_OPENAI, ENTRY_THREAD),
    METERED("threads.runs", "POST", "threads/*/runs/*/submit_tool_outputs", DIALECT_OPENAI,
            ENTRY_THREAD),
    FETCHED("threads.runs.fetched", "GET", "threads/*/runs/*", DIALECT_OPENAI, ENTRY_THREAD),
    FETCHED("responses.fetched", "GET", "responses/*", DIALECT_RESPONSES, 0),
    FETCHED("responses.cancel", "POST", "responses/*/cancel", DIALECT_RESPONSES, 0),
    FETCHED("files.content", "GET", "files/*/content", DIALECT_OPENAI, ENTRY_BATCH),
    FREE("messages.count_tokens", "POST", "messages/count_tokens"),
    FREE("responses.input_tokens", "POST", "responses/input_tokens"),
    FREE("moderations", "POST", "moderations"),
    FREE("moderations", "POST", "chat/moderations"),
    FREE("tokenize", "POST", "tokenize"),
    FREE("tokenize", "POST", "tokenize-text"),
    FREE("detokenize", "POST", "detokenize"),
    FREE("models", "GET", "models"),
    FREE("models", "GET", "models/*"),
    FREE("chat.completions.stored", "GET", "chat/completions/*"),
    FREE("chat.completions.stored", "POST", "chat/completions/*"),
    FREE("chat.completions.stored", "DELETE", "chat/completions/*"),
    FREE("responses.stored", "DELETE", "responses/*"),
    FREE("files", "POST", "files"),
    FREE("files", "DELETE", "files/*"),
    FREE("uploads", "POST", "uploads"),
    FREE("uploads", "POST", "uploads/*/parts"),
    FREE("uploads", "POST", "uploads/*/complete"),
    FREE("uploads", "POST", "uploads/*/cancel"),
    FREE("batches.cancel", "POST", "batches/*/cancel"),
    FREE("threads", "POST", "threads"),
    FREE("threads", "POST", "threads/*"),
    FREE("threads", "DELETE", "threads/*"),
    FREE("threads.messages", "POST", "threads/*/messages"),
    FREE("threads.messages", "DELETE", "threads/*/messages/*"),
    FREE("threads.runs.cancel", "POST", "threads/*/runs/*/cancel"),
    FREE("assistants", "POST", "assistants"),
    FREE("assistants", "POST", "assistants/*"),
    FREE("assistants", "DELETE", "assistants/*"),
    FREE("conversations", "POST", "conversations"),
    FREE("conversations", "POST", "conversations/*"),
    FREE("conversations", "POST", "conversations/*/items"),
    FREE("conversations", "DELETE", "conversations/*"),
    FREE("conversations", "DELETE", "conversations/*/items/*"),
    /* A client of Cerebras opens its connection with this. */
    FREE("tcp_warming", "GET", "tcp_warming"),
    SOCKET("responses.connect", "GET", "responses", DIALECT_RESPONSES),
    SOCKET("realtime.connect", "GET", "realtime", DIALECT_RESPONSES),
    /* What is beside them carries media past the gateway. */
    UNKNOWN("realtime", "", "realtime"),
    UNKNOWN("realtime", "", "realtime/*"),
    UNKNOWN("live", "", "live/*"),
    UNKNOWN("videos", "POST", "videos"),
};

static const struct entry HOSTS[] = {
    /* Servers of open models, on paths of their own. */
    METERED("generate", "POST", "generate", DIALECT_SERVER, 0),
    METERED("generate", "POST", "generate_stream", DIALECT_SERVER, ENTRY_STREAMS),
    METERED("completion", "POST", "completion", DIALECT_SERVER, 0),
    METERED("infill", "POST", "infill", DIALECT_SERVER, 0),
    METERED("embedding", "POST", "embedding", DIALECT_SERVER, ENTRY_EMBEDS),
    /* Hosts with paths of their own. */
    METERED("chat.completions", "POST", "chat", DIALECT_OPENAI, 0), /* Writer */
    METERED("chat.completions", "POST", "*/v1/chat/completions", DIALECT_OPENAI,
            ENTRY_EDIT), /* Hugging Face's router */
    METERED("chat.completions", "POST", "*/v3/openai/chat/completions", DIALECT_OPENAI,
            ENTRY_EDIT),
    METERED("chat.completions", "POST", "models/*/*/v1/chat/completions", DIALECT_OPENAI,
            ENTRY_EDIT),
    METERED("chat.completions", "POST", "prompts/*/completions", DIALECT_OPENAI, 0), /* Portkey */
    METERED("generation", "POST", "ml/*/generation/text", DIALECT_SERVER, 0), /* watsonx */
    METERED("generation", "POST", "ml/*/generation/text_stream", DIALECT_SERVER, ENTRY_STREAMS),
    METERED("complete", "POST", "complete", DIALECT_SERVER, 0), /* Aleph Alpha */
    METERED("predictions", "POST", "predictions", DIALECT_SERVER, 0), /* Replicate */
    METERED("predictions", "POST", "models/*/*/predictions", DIALECT_SERVER,
            ENTRY_PATH_MODEL),
    METERED("predictions", "POST", "deployments/*/*/predictions", DIALECT_SERVER,
            ENTRY_PATH_MODEL),
    FETCHED("predictions.fetched", "GET", "predictions/*", DIALECT_SERVER, 0),
    FREE("predictions.cancel", "POST", "predictions/*/cancel"),
    METERED("inference", "POST", "models/*", DIALECT_SERVER,
            ENTRY_PATH_MODEL), /* Hugging Face */
    METERED("inference", "POST", "models/*/*", DIALECT_SERVER,
            ENTRY_PATH_MODEL),
    METERED("inference", "POST", "pipeline/*/*/*", DIALECT_SERVER, ENTRY_EMBEDS),
};

/* What Mistral has that OpenAI has not; the rest is OpenAI's table. */
static const struct entry MISTRAL[] = {
    METERED("agents.completions", "POST", "agents/completions", DIALECT_OPENAI, 0),
    METERED("ocr", "POST", "ocr", DIALECT_OPENAI, ENTRY_EMBEDS),
    METERED("conversations", "POST", "conversations", DIALECT_OPENAI, ENTRY_THREAD),
    METERED("conversations", "POST", "conversations/*", DIALECT_OPENAI, ENTRY_THREAD),
    METERED("conversations", "POST", "conversations/*/restart", DIALECT_OPENAI, ENTRY_THREAD),
    METERED("batches", "POST", "batch/jobs", DIALECT_OPENAI, ENTRY_LATER),
    FREE("batches.cancel", "POST", "batch/jobs/*/cancel"),
    FREE("moderations", "POST", "moderations"),
    FREE("classifications", "POST", "classifications"),
};

static const struct entry ANTHROPIC[] = {
    METERED("messages", "POST", "messages", DIALECT_ANTHROPIC, 0),
    METERED("complete", "POST", "complete", DIALECT_ANTHROPIC, 0),
    /* The provider's OpenAI-compatible form. */
    METERED("chat.completions", "POST", "chat/completions", DIALECT_OPENAI, ENTRY_EDIT),
    METERED("messages.batches", "POST", "messages/batches", DIALECT_ANTHROPIC, ENTRY_LATER),
    FETCHED("messages.batches.results", "GET", "messages/batches/*/results", DIALECT_ANTHROPIC,
            ENTRY_BATCH),
    FREE("messages.batches.cancel", "POST", "messages/batches/*/cancel"),
    FREE("messages.batches.delete", "DELETE", "messages/batches/*"),
    FREE("messages.count_tokens", "POST", "messages/count_tokens"),
    FREE("models", "GET", "models"),
    FREE("models", "GET", "models/*"),
    FREE("files", "POST", "files"),
    FREE("files", "DELETE", "files/*"),
    UNKNOWN("sessions", "POST", "sessions"),
};

static const struct entry COHERE[] = {
    METERED("chat.completions", "POST", "compatibility/v1/chat/completions", DIALECT_OPENAI,
            ENTRY_EDIT),
    METERED("embeddings", "POST", "compatibility/v1/embeddings", DIALECT_OPENAI, ENTRY_EMBEDS),
    METERED("chat", "POST", "chat", DIALECT_COHERE, ENTRY_LINES),
    METERED("generate", "POST", "generate", DIALECT_COHERE, ENTRY_LINES),
    METERED("embed", "POST", "embed", DIALECT_COHERE, ENTRY_EMBEDS),
    METERED("rerank", "POST", "rerank", DIALECT_COHERE, ENTRY_EMBEDS | ENTRY_RERANK),
    METERED("classify", "POST", "classify", DIALECT_COHERE, ENTRY_EMBEDS),
    METERED("summarize", "POST", "summarize", DIALECT_COHERE, 0),
    FREE("check-api-key", "POST", "check-api-key"),
    FREE("tokenize", "POST", "tokenize"),
    FREE("detokenize", "POST", "detokenize"),
};

static const struct entry OLLAMA[] = {
    METERED("chat.completions", "POST", "chat/completions", DIALECT_OPENAI, ENTRY_EDIT),
    METERED("completions", "POST", "completions", DIALECT_OPENAI, ENTRY_EDIT),
    METERED("embeddings", "POST", "embeddings", DIALECT_OPENAI, ENTRY_EMBEDS),
    METERED("responses", "POST", "responses", DIALECT_RESPONSES, 0),
    METERED("messages", "POST", "messages", DIALECT_ANTHROPIC, 0),
    METERED("chat", "POST", "api/chat", DIALECT_OLLAMA, ENTRY_LINES | ENTRY_STREAMS),
    METERED("generate", "POST", "api/generate", DIALECT_OLLAMA, ENTRY_LINES | ENTRY_STREAMS),
    METERED("embed", "POST", "api/embed", DIALECT_OLLAMA, ENTRY_EMBEDS),
    METERED("embeddings", "POST", "api/embeddings", DIALECT_OLLAMA, ENTRY_EMBEDS),
    FREE("show", "POST", "api/show"),
};

/*
 * Amazon Bedrock's runtime, and the endpoint where it speaks OpenAI's and Anthropic's (their
 * paths are theirs).
 */
static const struct entry BEDROCK[] = {
    METERED("converse", "POST", "model/{model}/converse", DIALECT_CONVERSE, 0),
    METERED("converse-stream", "POST", "model/{model}/converse-stream", DIALECT_CONVERSE,
            ENTRY_STREAM),
    METERED("invoke", "POST", "model/{model}/invoke", DIALECT_INVOKE, 0),
    METERED("invoke-with-response-stream", "POST", "model/{model}/invoke-with-response-stream",
            DIALECT_INVOKE, ENTRY_STREAM),
    METERED("chat.completions", "POST", "chat/completions", DIALECT_OPENAI, ENTRY_EDIT),
    METERED("responses", "POST", "responses", DIALECT_RESPONSES, 0),
    METERED("messages", "POST", "messages", DIALECT_ANTHROPIC, 0),
    METERED("messages", "POST", "anthropic/v1/messages", DIALECT_ANTHROPIC, 0),
    FREE("count-tokens", "POST", "model/{model}/count-tokens"),
    FREE("messages.count_tokens", "POST", "messages/count_tokens"),
    FREE("models", "GET", "models"),
    FREE("models", "GET", "models/*"),
    FETCHED("responses.fetched", "GET", "responses/*", DIALECT_RESPONSES, 0),
    FETCHED("responses.cancel", "POST", "responses/*/cancel", DIALECT_RESPONSES, 0),
    FREE("responses.stored", "DELETE", "responses/*"),
    UNKNOWN("invoke-with-bidirectional-stream", "POST",
            "model/{model}/invoke-with-bidirectional-stream"),
    UNKNOWN("apply-guardrail", "POST", "guardrail/*/version/*/apply"),
    UNKNOWN("async-invoke", "POST", "async-invoke"),
};

/* After models/MODEL: in Google's paths; the pattern is the method's name. */
static const struct entry GOOGLE[] = {
    METERED("generateContent", "POST", "generateContent", DIALECT_GEMINI, 0),
    METERED("streamGenerateContent", "POST", "streamGenerateContent", DIALECT_GEMINI,
            ENTRY_STREAM),
    METERED("embedContent", "POST", "embedContent", DIALECT_GEMINI, ENTRY_EMBEDS),
    METERED("batchEmbedContents", "POST", "batchEmbedContents", DIALECT_GEMINI, ENTRY_EMBEDS),
    METERED("predictLongRunning", "POST", "predictLongRunning", DIALECT_GEMINI, ENTRY_LATER),
    METERED("batchGenerateContent", "POST", "batchGenerateContent", DIALECT_GEMINI,
            ENTRY_LATER),
    METERED("asyncBatchEmbedContent", "POST", "asyncBatchEmbedContent", DIALECT_GEMINI,
            ENTRY_LATER),
    FREE("countTokens", "POST", "countTokens"),
    METERED("predict", "POST", "predict", DIALECT_PREDICT, ENTRY_EMBEDS),
};

/* Google's other paths, below the version. */
static const struct entry GOOGLE_PLAIN[] = {
    METERED("interactions", "POST", "interactions", DIALECT_GEMINI, ENTRY_THREAD),
    FETCHED("interactions.fetched", "GET", "interactions/*", DIALECT_GEMINI, ENTRY_THREAD),
    FREE("interactions.cancel", "POST", "interactions/*/cancel"),
    FREE("interactions.delete", "DELETE", "interactions/*"),
    /* Kept tokens are billed by the hour, which no answer tells. */
    FREE("cachedContents", "POST", "cachedContents"),
    FREE("cachedContents", "PATCH", "cachedContents/*"),
    FREE("cachedContents", "DELETE", "cachedContents/*"),
    FREE("files", "POST", "files"),
    FREE("files", "DELETE", "files/*"),
    FETCHED("batches.fetched", "GET", "batches/*", DIALECT_GEMINI, ENTRY_BATCH),
    FETCHED("files.content", "GET", "files/*:download", DIALECT_GEMINI, ENTRY_BATCH),
};

/* publishers/anthropic/models/MODEL: on Vertex. */
static const struct entry GOOGLE_ANTHROPIC[] = {
    METERED("rawPredict", "POST", "rawPredict", DIALECT_ANTHROPIC, 0),
    METERED("streamRawPredict", "POST", "streamRawPredict", DIALECT_ANTHROPIC, ENTRY_STREAM),
};

/* publishers/PUBLISHER/models/MODEL: of others there, who speak OpenAI's. */
static const struct entry GOOGLE_OTHERS[] = {
    METERED("rawPredict", "POST", "rawPredict", DIALECT_OPENAI, 0),
    METERED("streamRawPredict", "POST", "streamRawPredict", DIALECT_OPENAI, ENTRY_STREAM),
};

static const struct entry ANY_READ = FREE("read", "", "");
static const struct entry ANY_OTHER = UNKNOWN("unknown", "", "");
static const struct entry COUNT_TOKENS = FREE("messages.count_tokens", "POST", "");
static const struct entry GOOGLE_WEBSOCKET = UNKNOWN("live", "", "");
static const struct entry GOOGLE_LIVE = SOCKET("live.connect", "GET", "", DIALECT_GEMINI);

/* The calls that are made on WebSockets. */
static const struct entry LIVE_CALLS[] = {
    METERED("responses", "", "", DIALECT_RESPONSES, 0),
    METERED("realtime", "", "", DIALECT_RESPONSES, 0),
    METERED("realtime.transcription", "", "", DIALECT_RESPONSES, 0),
    METERED("live", "", "", DIALECT_GEMINI, 0),
};

#define TABLE(bit, array)                                                                      \
    {                                                                                          \
        (bit), (array), sizeof(array) / sizeof((array)[0])                                     \
    }

/* Those of one protocol are looked through in this order. */
static const struct {
    unsigned bit;
    const struct entry *entries;
    size_t n;
} TABLES[] = {
    TABLE(ENTRIES_GOOGLE, GOOGLE_PLAIN), TABLE(ENTRIES_MISTRAL, MISTRAL),
    TABLE(ENTRIES_OPENAI, OPENAI),       TABLE(ENTRIES_HOSTS, HOSTS),
    TABLE(ENTRIES_ANTHROPIC, ANTHROPIC), TABLE(ENTRIES_COHERE, COHERE),
    TABLE(ENTRIES_OLLAMA, OLLAMA),       TABLE(ENTRIES_BEDROCK, BEDROCK),
};

const struct live_protocol *live_protocol(const struct endpoint *endpoint)
{
    static const struct live_protocol responses = {LIVE_RESPONSES, &LIVE_CALLS[0].endpoint, NULL};
    static const struct live_protocol realtime = {LIVE_REALTIME, &LIVE_CALLS[1].endpoint,
                                                  &LIVE_CALLS[2].endpoint};
    static const struct live_protocol google = {LIVE_GOOGLE, &LIVE_CALLS[3].endpoint, NULL};

    if (entry_of(endpoint)->dialect == DIALECT_GEMINI)
        return &google;
    return strv_starts(strv_z(endpoint->name), STRV("responses")) ? &responses : &realtime;
}

const struct entry *entry_of(const struct endpoint *endpoint)
{
    return (const struct entry *)(const void *)endpoint;
}

/* A path cut at its slashes. */
struct path {
    struct strv at[SEGMENTS_MAX];
    size_t n;
};

/* False where the path is one that could be read in more than one way. */
static bool split_path(struct strv path, struct path *out)
{
    struct strv part;

    out->n = 0;
    if (path.n > 0 && path.p[0] == '/')
        path = strv_skip(path, 1);
    if (path.n > 0 && path.p[path.n - 1] == '/')
        path.n--;
    while (strv_split(&path, '/', &part)) {
        if (out->n == SEGMENTS_MAX || part.n == 0 || strv_eq(part, STRV(".")) ||
            strv_eq(part, STRV("..")))
            return false;
        out->at[out->n++] = part;
    }
    return true;
}

/* "v1", "v1beta", "v1alpha2": of any API here. */
static bool is_version(struct strv s)
{
    size_t i = 1;

    if (s.n < 2 || s.n > 12 || s.p[0] != 'v' || s.p[1] < '0' || s.p[1] > '9')
        return false;
    while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9')
        i++;
    s = strv_skip(s, i);
    if (strv_starts(s, STRV("alpha")))
        s = strv_skip(s, 5);
    else if (strv_starts(s, STRV("beta")))
        s = strv_skip(s, 4);
    for (i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    }
    return true;
}

/* s is one of the words, which single spaces separate. */
static bool is_listed(const char *words, struct strv s)
{
    struct strv rest = strv_z(words), word;

    while (strv_split(&rest, ' ', &word)) {
        if (s.n > 0 && strv_eq(word, s))
            return true;
    }
    return false;
}

/* How many segments stand before the endpoint's own. */
static size_t skip_prefix(const struct protocol *p, const struct path *path, struct route *out)
{
    size_t i = 0;

    while (i < path->n) {
        if (p->deployments && strv_eq(path->at[i], STRV("deployments")) && i + 1 < path->n) {
            out->path_model = path->at[i + 1];
            i += 2;
        } else if (is_version(path->at[i]) || is_listed(p->prefixes, path->at[i])) {
            out->openai_path =
                out->openai_path || (p->google_paths && strv_eq(path->at[i], STRV("openai")));
            i++;
        } else {
            break;
        }
    }
    return i;
}

/* Nothing that a provider might decode or cut: an id stands where it is and as it is. */
static bool is_plain_id(struct strv s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              memchr("-_.~:@+", c, 7) != NULL))
            return false;
    }
    return s.n > 0;
}

/* A model's name: the same, and the encoded colons and slashes of an ARN. */
static bool is_model_segment(struct strv s)
{
    char plain[REQUEST_MODEL_MAX_BYTES];
    size_t n = 0;

    for (size_t i = 0; i < s.n && n < sizeof(plain); i++, n++) {
        struct strv code = strv_head(strv_skip(s, i), 3);

        plain[n] = s.p[i];
        if (strv_eq_nocase(code, STRV("%3a")) || strv_eq_nocase(code, STRV("%2f"))) {
            plain[n] = ':';
            i += 2;
        }
    }
    return n < sizeof(plain) && is_plain_id(strv_make(plain, n));
}

/* A wild segment is a plain id, which ends on what follows the star. */
static bool segment_matches(struct strv want, struct strv segment)
{
    if (want.n == 0 || want.p[0] != '*')
        return strv_eq(want, segment);
    want = strv_skip(want, 1);
    return is_plain_id(segment) && segment.n > want.n &&
           strv_eq(strv_skip(segment, segment.n - want.n), want);
}

static bool matches(const struct entry *entry, struct strv method, const struct path *path,
                    size_t from)
{
    struct strv rest = strv_z(entry->pattern), want;

    if (entry->method[0] != '\0' && !strv_eq(method, strv_z(entry->method)))
        return false;
    while (strv_split(&rest, '/', &want)) {
        if (from == path->n)
            return false;
        if (strv_eq(want, STRV("{model}")) ? !is_model_segment(path->at[from])
                                           : !segment_matches(want, path->at[from]))
            return false;
        from++;
    }
    return from == path->n;
}

static const struct entry *find_entry(const struct entry *entries, size_t n, struct strv method,
                                      const struct path *path, size_t from)
{
    for (size_t i = 0; i < n; i++) {
        if (matches(&entries[i], method, path, from))
            return &entries[i];
    }
    return NULL;
}

/* The segment that an entry's pattern calls {model}; empty where it has none. */
static struct strv model_segment(const struct entry *entry, const struct path *path,
                                 size_t from)
{
    struct strv rest = strv_z(entry->pattern), want;

    for (; strv_split(&rest, '/', &want); from++) {
        if (strv_eq(want, STRV("{model}")))
            return path->at[from];
    }
    return STRV_NONE;
}

/* The segment behind one of that name. */
static struct strv segment_behind(const struct path *path, struct strv name)
{
    for (size_t i = 0; i + 1 < path->n; i++) {
        if (strv_eq(path->at[i], name))
            return path->at[i + 1];
    }
    return STRV_NONE;
}

static const struct entry *find_verb(struct strv publisher, struct strv method,
                                     const struct path *verb)
{
    const struct entry *found = NULL;

    if (strv_eq(publisher, STRV("anthropic")))
        return find_entry(GOOGLE_ANTHROPIC,
                          sizeof(GOOGLE_ANTHROPIC) / sizeof(GOOGLE_ANTHROPIC[0]), method, verb,
                          0);
    if (publisher.n > 0 && !strv_eq(publisher, STRV("google")))
        found = find_entry(GOOGLE_OTHERS, sizeof(GOOGLE_OTHERS) / sizeof(GOOGLE_OTHERS[0]),
                           method, verb, 0);
    return found != NULL
               ? found
               : find_entry(GOOGLE, sizeof(GOOGLE) / sizeof(GOOGLE[0]), method, verb, 0);
}

static const struct entry *find_table(unsigned tables, struct strv method,
                                      const struct path *path, size_t from)
{
    const struct entry *found = NULL;

    for (size_t i = 0; i < sizeof(TABLES) / sizeof(TABLES[0]) && found == NULL; i++) {
        if (tables & TABLES[i].bit)
            found = find_entry(TABLES[i].entries, TABLES[i].n, method, path, from);
    }
    return found;
}

/* What the pattern's wild segments, one behind the other, stand for. */
static struct strv wild_part(const struct entry *entry, const struct path *path, size_t from)
{
    struct strv rest = strv_z(entry->pattern), want, part = STRV_NONE;

    for (; strv_split(&rest, '/', &want) && from < path->n; from++) {
        if (want.p[0] != '*')
            continue;
        if (part.n == 0)
            part = path->at[from];
        else
            part.n = (size_t)(path->at[from].p + path->at[from].n - part.p);
    }
    return part;
}

/* .../models/MODEL:method, also tunedModels/, endpoints/ (a deployed model of Vertex). */
static const struct entry *find_google(const struct path *path, struct strv method,
                                       struct route *out)
{
    const struct strv last = path->n ? path->at[path->n - 1] : STRV_NONE;
    struct strv publisher = segment_behind(path, STRV("publishers")), model;
    size_t colon = strv_find(last, ':');
    struct path verb = {.n = 1};
    const struct entry *found;

    if (path->n > 0 && strv_eq(path->at[0], STRV("ws")))
        return strv_eq(method, STRV("GET")) && strv_ends(last, STRV("BidiGenerateContent"))
                   ? &GOOGLE_LIVE
                   : &GOOGLE_WEBSOCKET;
    if (path->n < 2 || colon == last.n ||
        !(strv_eq(path->at[path->n - 2], STRV("models")) ||
          strv_eq(path->at[path->n - 2], STRV("tunedModels")) ||
          strv_eq(path->at[path->n - 2], STRV("endpoints"))))
        return NULL;
    verb.at[0] = strv_skip(last, colon + 1);
    model = strv_head(last, colon);
    if (strv_eq(publisher, STRV("anthropic")) && strv_eq(model, STRV("count-tokens")))
        return strv_eq(method, STRV("POST")) ? &COUNT_TOKENS : NULL;
    found = find_verb(publisher, method, &verb);
    if (found != NULL && found->endpoint.kind == ENDPOINT_FREE && !is_plain_id(model))
        return NULL;
    if (found != NULL)
        out->path_model = model;
    return found;
}

/* projects/P/locations/L/endpoints/openapi/...: Vertex's OpenAI-compatible form; a deployed
 * model's id may stand in its place. */
static size_t skip_endpoint(const struct path *path, size_t from)
{
    for (size_t i = from; i + 1 < path->n; i++) {
        if (strv_eq(path->at[i], STRV("endpoints")) && is_plain_id(path->at[i + 1]))
            return i + 2;
    }
    return from;
}

static const struct entry *find_route(const struct protocol *p, struct strv method,
                                      const struct path *path, struct route *out)
{
    const struct entry *found = NULL;
    size_t from = skip_prefix(p, path, out);
    unsigned tables = p->tables;

    if (p->google_paths) {
        out->region = segment_behind(path, STRV("locations"));
        found = find_google(path, method, out);
        from = skip_endpoint(path, from);
    }
    if (found != NULL)
        return found;
    if (out->openai_path)
        tables &= ~(unsigned)ENTRIES_GOOGLE;
    found = find_table(tables, method, path, from);
    if (found == NULL)
        return NULL;
    if (found->flags & ENTRY_PATH_MODEL)
        out->path_model = wild_part(found, path, from);
    else if (out->path_model.n == 0)
        out->path_model = model_segment(found, path, from);
    if (found->endpoint.kind == ENDPOINT_FETCHED)
        out->path_id = wild_part(found, path, from);
    return found;
}

void protocol_route(const struct protocol *p, struct strv method, struct strv path,
                    struct strv query, struct route *out)
{
    const struct entry *found = NULL;
    struct path parts;

    (void)query; /* no protocol so far says anything there that the path does not */
    *out = (struct route){.endpoint = NULL};
    /* Azure takes "//openai/...", which clients of its SDKs send whose endpoint ends in "/". */
    while (p->deployments && strv_starts(path, STRV("//")))
        path = strv_skip(path, 1);
    if (split_path(path, &parts))
        found = find_route(p, method, &parts, out);
    if (found == NULL) {
        bool read = strv_eq(method, STRV("GET")) || strv_eq(method, STRV("HEAD"));

        found = read ? &ANY_READ : &ANY_OTHER;
        out->path_model = STRV_NONE;
    }
    out->path_stream = (found->flags & ENTRY_STREAM) != 0;
    out->endpoint = &found->endpoint;
}
