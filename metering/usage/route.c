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

/* After models/MODEL: in Google's paths; the pattern is the method's name. */
static const struct entry GOOGLE[] = {
    METERED("generateContent", "POST", "generateContent", DIALECT_GEMINI, 0),
    METERED("streamGenerateContent", "POST", "streamGenerateContent", DIALECT_GEMINI, 0),
    METERED("embedContent", "POST", "embedContent", DIALECT_GEMINI, ENTRY_EMBEDS),
    METERED("batchEmbedContents", "POST", "batchEmbedContents", DIALECT_GEMINI, ENTRY_EMBEDS),
    FREE("countTokens", "POST", "countTokens"),
    UNKNOWN("predict", "POST", "predict"),
    UNKNOWN("predictLongRunning", "POST", "predictLongRunning"),
    UNKNOWN("batchGenerateContent", "POST", "batchGenerateContent"),
    UNKNOWN("asyncBatchEmbedContent", "POST", "asyncBatchEmbedContent"),
};

/* publishers/anthropic/models/MODEL: on Vertex. */
static const struct entry GOOGLE_ANTHROPIC[] = {
    METERED("rawPredict", "POST", "rawPredict", DIALECT_ANTHROPIC, 0),
    METERED("streamRawPredict", "POST", "streamRawPredict", DIALECT_ANTHROPIC, 0),
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

static bool matches(const struct entry *entry, struct strv method, const struct path *path,
                    size_t from)
{
    struct strv rest = strv_z(entry->pattern), want;

    if (entry->method[0] != '\0' && !strv_eq(method, strv_z(entry->method)))
        return false;
    while (strv_split(&rest, '/', &want)) {
        if (from == path->n)
            return false;
        if (strv_eq(want, STRV("*")) ? !is_plain_id(path->at[from])
                                     : !strv_eq(want, path->at[from]))
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

/* .../models/MODEL:method, also tunedModels/, endpoints/ (a deployed model of Vertex). */
static const struct entry *find_google(const struct path *path, struct strv method,
                                       struct route *out)
{
    const struct strv last = path->n ? path->at[path->n - 1] : STRV_NONE;
    size_t colon = strv_find(last, ':');
    struct path verb = {.n = 1};
    const struct entry *found;
    bool anthropic;

    if (path->n > 0 && strv_eq(path->at[0], STRV("ws")))
        return &GOOGLE_WEBSOCKET;
    if (path->n < 2 || colon == last.n ||
        !(strv_eq(path->at[path->n - 2], STRV("models")) ||
          strv_eq(path->at[path->n - 2], STRV("tunedModels")) ||
          strv_eq(path->at[path->n - 2], STRV("endpoints"))))
        return NULL;
    anthropic = path->n >= 4 && strv_eq(path->at[path->n - 3], STRV("anthropic")) &&
                strv_eq(path->at[path->n - 4], STRV("publishers"));
    verb.at[0] = strv_skip(last, colon + 1);
    if (anthropic && strv_eq(strv_head(last, colon), STRV("count-tokens")))
        return strv_eq(method, STRV("POST")) ? &COUNT_TOKENS : NULL;
    found = anthropic
                ? find_entry(GOOGLE_ANTHROPIC,
                             sizeof(GOOGLE_ANTHROPIC) / sizeof(GOOGLE_ANTHROPIC[0]), method,
                             &verb, 0)
                : find_entry(GOOGLE, sizeof(GOOGLE) / sizeof(GOOGLE[0]), method, &verb, 0);
    if (found != NULL && found->endpoint.kind == ENDPOINT_FREE &&
        !is_plain_id(strv_head(last, colon)))
        return NULL;
    if (found != NULL) {
        out->path_model = strv_head(last, colon);
        out->path_stream = strv_starts(verb.at[0], STRV("stream"));
    }
    return found;
}

/* projects/P/locations/L/endpoints/openapi/...: Vertex's OpenAI-compatible form. */
static size_t skip_openapi(const struct path *path, size_t from)
{
    for (size_t i = from; i + 1 < path->n; i++) {
        if (strv_eq(path->at[i], STRV("endpoints")) &&
            strv_eq(path->at[i + 1], STRV("openapi")))
            return i + 2;
    }
    return from;
}

void protocol_route(const struct protocol *p, struct strv method, struct strv path,
                    struct strv query, struct route *out)
{
    const struct entry *found = NULL, *entries;
    struct path parts;
    size_t n, from;

    (void)query; /* no protocol so far says anything there that the path does not */
    *out = (struct route){.endpoint = NULL};
    entries = entries_of(p->table, &n);
    if (split_path(path, &parts)) {
        from = skip_prefix(p, &parts, out);
        if (p->google_paths) {
            found = find_google(&parts, method, out);
            from = skip_openapi(&parts, from);
        }
        if (found == NULL)
            found = find_entry(entries, n, method, &parts, from);
    }
    if (found == NULL) {
        bool read = strv_eq(method, STRV("GET")) || strv_eq(method, STRV("HEAD"));

        found = read ? &ANY_READ : &ANY_OTHER;
        out->path_model = STRV_NONE;
    }
    out->endpoint = &found->endpoint;
}
