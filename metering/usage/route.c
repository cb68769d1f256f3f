/*
 * Paths: which endpoint a request goes to.  Only what is spelled plainly matches;
 * whatever a provider might normalise otherwise (escapes, empty or dot segments)
 * stays unknown.
 */
#include <string.h>

#include "metering/usage/protocol.h"
#include "metering/usage/protocol_int.h"

enum { SEGMENTS_MAX = 16 };

#define METERED(name, method, pattern, dialect, flags)                                         \
    {                                                                                          \
        {name, ENDPOINT_METERED}, method, pattern, dialect, flags                              \
    }
#define FREE(name, method, pattern)                                                            \
    {                                                                                          \
        {name, ENDPOINT_FREE}, method, pattern, DIALECT_NONE, 0                                \
    }
#define UNKNOWN(name, method, pattern)                                                         \
    {                                                                                          \
        {name, ENDPOINT_UNKNOWN}, method, pattern, DIALECT_NONE, 0                             \
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
    FREE("messages.count_tokens", "POST", "messages/count_tokens"),
    FREE("responses.input_tokens", "POST", "responses/input_tokens"),
    FREE("moderations", "POST", "moderations"),
    FREE("tokenize", "POST", "tokenize"),
    FREE("detokenize", "POST", "detokenize"),
    FREE("models", "GET", "models"),
    FREE("models", "GET", "models/*"),
    FREE("chat.completions.stored", "GET", "chat/completions/*"),
    FREE("chat.completions.stored", "POST", "chat/completions/*"),
    FREE("chat.completions.stored", "DELETE", "chat/completions/*"),
    FREE("responses.stored", "GET", "responses/*"),
    FREE("responses.stored", "DELETE", "responses/*"),
    FREE("responses.cancel", "POST", "responses/*/cancel"),
    /* These open a WebSocket, on which calls are made. */
    UNKNOWN("responses.websocket", "GET", "responses"),
    UNKNOWN("realtime", "", "realtime"),
    UNKNOWN("realtime", "", "realtime/*"),
    UNKNOWN("live", "", "live/*"),
    UNKNOWN("images.generations", "POST", "images/generations"),
    UNKNOWN("images.edits", "POST", "images/edits"),
    UNKNOWN("images.variations", "POST", "images/variations"),
    UNKNOWN("audio.speech", "POST", "audio/speech"),
    UNKNOWN("audio.transcriptions", "POST", "audio/transcriptions"),
    UNKNOWN("audio.translations", "POST", "audio/translations"),
    UNKNOWN("files", "POST", "files"),
    UNKNOWN("batches", "POST", "batches"),
    UNKNOWN("decisions", "POST", "decisions"),
    UNKNOWN("videos", "POST", "videos"),
    UNKNOWN("rerank", "POST", "rerank"),
    UNKNOWN("ocr", "POST", "ocr"),
    UNKNOWN("agents.completions", "POST", "agents/completions"),
};

static const struct entry ANTHROPIC[] = {
    METERED("messages", "POST", "messages", DIALECT_ANTHROPIC, 0),
    METERED("complete", "POST", "complete", DIALECT_ANTHROPIC, 0),
    /* The provider's OpenAI-compatible form. */
    METERED("chat.completions", "POST", "chat/completions", DIALECT_OPENAI, ENTRY_EDIT),
    FREE("messages.count_tokens", "POST", "messages/count_tokens"),
    FREE("models", "GET", "models"),
    FREE("models", "GET", "models/*"),
    FREE("messages.batches.cancel", "POST", "messages/batches/*/cancel"),
    UNKNOWN("messages.batches", "POST", "messages/batches"),
    UNKNOWN("files", "POST", "files"),
    UNKNOWN("sessions", "POST", "sessions"),
};

static const struct entry COHERE[] = {
    METERED("chat.completions", "POST", "compatibility/v1/chat/completions", DIALECT_OPENAI,
            ENTRY_EDIT),
    METERED("embeddings", "POST", "compatibility/v1/embeddings", DIALECT_OPENAI, ENTRY_EMBEDS),
    FREE("tokenize", "POST", "tokenize"),
    FREE("detokenize", "POST", "detokenize"),
    UNKNOWN("chat", "POST", "chat"),
    UNKNOWN("generate", "POST", "generate"),
    UNKNOWN("embed", "POST", "embed"),
    UNKNOWN("rerank", "POST", "rerank"),
    UNKNOWN("classify", "POST", "classify"),
};

static const struct entry OLLAMA[] = {
    METERED("chat.completions", "POST", "chat/completions", DIALECT_OPENAI, ENTRY_EDIT),
    METERED("completions", "POST", "completions", DIALECT_OPENAI, ENTRY_EDIT),
    METERED("embeddings", "POST", "embeddings", DIALECT_OPENAI, ENTRY_EMBEDS),
    METERED("responses", "POST", "responses", DIALECT_RESPONSES, 0),
    METERED("messages", "POST", "messages", DIALECT_ANTHROPIC, 0),
    FREE("show", "POST", "api/show"),
    UNKNOWN("chat", "POST", "api/chat"),
    UNKNOWN("generate", "POST", "api/generate"),
    UNKNOWN("embed", "POST", "api/embed"),
    UNKNOWN("embeddings", "POST", "api/embeddings"),
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
    FREE("responses.stored", "GET", "responses/*"),
    FREE("responses.stored", "DELETE", "responses/*"),
    FREE("responses.cancel", "POST", "responses/*/cancel"),
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
    FREE("countTokens", "POST", "countTokens"),
    METERED("predict", "POST", "predict", DIALECT_PREDICT, ENTRY_EMBEDS),
    UNKNOWN("predictLongRunning", "POST", "predictLongRunning"),
    UNKNOWN("batchGenerateContent", "POST", "batchGenerateContent"),
    UNKNOWN("asyncBatchEmbedContent", "POST", "asyncBatchEmbedContent"),
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

#define ENTRIES_OF(array) *n = sizeof(array) / sizeof((array)[0]), (array)

static const struct entry *entries_of(enum entries table, size_t *n)
{
    *n = 0;
    switch (table) {
    case ENTRIES_NONE:
        return NULL;
    case ENTRIES_OPENAI:
        return ENTRIES_OF(OPENAI);
    case ENTRIES_ANTHROPIC:
        return ENTRIES_OF(ANTHROPIC);
    case ENTRIES_COHERE:
        return ENTRIES_OF(COHERE);
    case ENTRIES_OLLAMA:
        return ENTRIES_OF(OLLAMA);
    case ENTRIES_BEDROCK:
        return ENTRIES_OF(BEDROCK);
    }
    return NULL;
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
    const char *p = words, *end = words + strlen(words);

    if (s.n == 0 || strv_find(s, ' ') < s.n)
        return false;
    while ((p = memmem(p, (size_t)(end - p), s.p, s.n)) != NULL) {
        if ((p == words || p[-1] == ' ') && (p + s.n == end || p[s.n] == ' '))
            return true;
        p++;
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

static bool matches(const struct entry *entry, struct strv method, const struct path *path,
                    size_t from)
{
    struct strv rest = strv_z(entry->pattern), want;

    if (entry->method[0] != '\0' && !strv_eq(method, strv_z(entry->method)))
        return false;
    while (strv_split(&rest, '/', &want)) {
        if (from == path->n)
            return false;
        if (strv_eq(want, STRV("{model}"))) {
            if (!is_model_segment(path->at[from]))
                return false;
        } else if (strv_eq(want, STRV("*")) ? !is_plain_id(path->at[from])
                                            : !strv_eq(want, path->at[from])) {
            return false;
        }
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
        return &GOOGLE_WEBSOCKET;
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
    const struct entry *found = NULL, *entries;
    size_t n, from = skip_prefix(p, path, out);

    if (p->google_paths) {
        out->region = segment_behind(path, STRV("locations"));
        found = find_google(path, method, out);
        from = skip_endpoint(path, from);
    }
    if (found == NULL) {
        entries = entries_of(p->table, &n);
        found = find_entry(entries, n, method, path, from);
        if (found != NULL && out->path_model.n == 0)
            out->path_model = model_segment(found, path, from);
    }
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
