#include "metering/usage/protocol.h"

#include <string.h>

#include "tests/unit/unit.h"

static void test_names(void **state)
{
    static const char *const NAMES[] = {"openai",       "anthropic", "gemini", "vertex",
                                        "azure-openai", "bedrock",   "cohere", "mistral",
                                        "ollama",       "elevenlabs",   "deepgram",  "assemblyai", "raw"};
    size_t n = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        const struct protocol *p = protocol_find(strv_z(NAMES[i]));

        assert_non_null(p);
        assert_string_equal(protocol_name(p), NAMES[i]);
    }
    while (protocol_name_at(n) != NULL)
        n++;
    assert_int_equal(n, sizeof(NAMES) / sizeof(NAMES[0]));
    assert_null(protocol_find(STRV("OpenAI")));
    assert_null(protocol_find(STRV("")));
}

static void test_credentials(void **state)
{
    static const struct {
        const char *protocol, *header, *prefix;
    } CASES[] = {
        {"openai", "authorization", "Bearer "}, {"anthropic", "x-api-key", ""},
        {"gemini", "x-goog-api-key", ""},       {"azure-openai", "api-key", ""},
        {"elevenlabs", "xi-api-key", ""},       {"deepgram", "authorization", "Token "},
        {"assemblyai", "authorization", ""},    {"raw", "authorization", "Bearer "},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct strv header, prefix;

        protocol_credential(protocol_find(strv_z(CASES[i].protocol)), &header, &prefix);
        assert_true(strv_eq(header, strv_z(CASES[i].header)));
        assert_true(strv_eq(prefix, strv_z(CASES[i].prefix)));
    }
}

static void test_routes(void **state)
{
    enum {
        M = ENDPOINT_METERED,
        F = ENDPOINT_FREE,
        G = ENDPOINT_FETCHED,
        S = ENDPOINT_SOCKET,
        U = ENDPOINT_UNKNOWN,
        N = ENDPOINT_UNTOLD
    };
    static const struct {
        const char *protocol, *method, *path;
        int kind;
        const char *name, *model;
        bool stream;
    } CASES[] = {
        {"openai", "POST", "/v1/chat/completions", M, "chat.completions", "", false},
        {"openai", "POST", "/chat/completions/", M, "chat.completions", "", false},
        {"openai", "POST", "/openai/v1/chat/completions", M, "chat.completions", "", false},
        {"openai", "POST", "/api/v1/responses", M, "responses", "", false},
        {"openai", "POST", "/inference/v1/completions", M, "completions", "", false},
        {"openai", "POST", "/api/paas/v4/chat/completions", M, "chat.completions", "", false},
        {"openai", "POST", "/v1/embeddings", M, "embeddings", "", false},
        {"openai", "POST", "/v1/messages", M, "messages", "", false},
        {"openai", "POST", "/v1/responses/compact", M, "responses.compact", "", false},
        {"openai", "POST", "/v1/responses/input_tokens", F, "responses.input_tokens", "",
         false},
        {"openai", "POST", "/v1/responses/resp_1/cancel", G, "responses.cancel", "", false},
        {"openai", "GET", "/v1/responses/resp_1", G, "responses.fetched", "", false},
        {"openai", "DELETE", "/v1/responses/resp_1", F, "responses.stored", "", false},
        {"openai", "GET", "/v1/chat/completions/x", F, "chat.completions.stored", "", false},
        {"openai", "GET", "/v1/models", F, "models", "", false},
        {"openai", "GET", "/v1/models/gpt-x", F, "models", "", false},
        {"openai", "HEAD", "/v1/whatever", F, "read", "", false},
        {"openai", "GET", "/v1/tcp_warming", F, "tcp_warming", "", false},
        {"openai", "POST", "/v1/moderations", F, "moderations", "", false},
        {"openai", "POST", "/v1/images/generations", M, "images.generations", "", false},
        {"openai", "POST", "/v1/audio/transcriptions", M, "audio.transcriptions", "", false},
        {"openai", "POST", "/v1/files", G, "files", "", false},
        {"openai", "GET", "/v1/batches/b", G, "batches.fetched", "", false},
        {"mistral", "GET", "/v1/batch/jobs/b", G, "batches.fetched", "", false},
        {"openai", "POST", "/v1/videos", M, "videos", "", false},
        {"openai", "POST", "/v1/videos/v/remix", M, "videos", "", false},
        {"openai", "POST", "/v1/videos/generations", M, "videos", "", false},
        {"openai", "GET", "/v1/videos/v", G, "videos.fetched", "", false},
        {"openai", "GET", "/v1/videos/v/content", F, "read", "", false},
        {"openai", "GET", "/v1/videos", F, "read", "", false},
        {"openai", "DELETE", "/v1/videos/v", F, "videos.delete", "", false},
        {"gemini", "POST", "/v1beta/models/v:predictLongRunning", M, "predictLongRunning", "v",
         false},
        {"gemini", "GET", "/v1beta/models/v/operations/o", G, "predictLongRunning.fetched", "v",
         false},
        {"vertex", "POST",
         "/v1/projects/p/locations/l/publishers/google/models/v:fetchPredictOperation", G,
         "predictLongRunning.fetched", "v", false},
        {"openai", "POST", "/v1/batches", M, "batches", "", false},
        {"openai", "POST", "/v1/batches/b/requests", M, "batches.requests", "", false},
        {"openai", "GET", "/v1/batches/b/requests", F, "read", "", false},
        {"openai", "GET", "/v1/batches/b/results", G, "batches.results", "", false},
        {"openai", "POST", "/v1/batches/b:cancel", F, "batches.cancel", "", false},
        {"openai", "GET", "/v1/chat/deferred-completion/d", G, "chat.completions.deferred", "",
         false},
        {"openai", "POST", "/async/chat/completions", M, "chat.completions.async", "", false},
        {"openai", "GET", "/async/chat/completions/a", G, "chat.completions.async.fetched", "",
         false},
        {"openai", "POST", "/v1/async/sonar", M, "chat.completions.async", "", false},
        {"openai", "POST", "/v1/sonar", M, "chat.completions", "", false},
        {"openai", "POST", "/v1/agent", M, "responses", "", false},
        {"openai", "POST", "/v1/vector_stores", N, "vector_stores", "", false},
        {"openai", "POST", "/v1/vector_stores/vs/search", N, "vector_stores.search", "", false},
        {"openai", "POST", "/v1/vector_stores/vs", F, "vector_stores.update", "", false},
        {"openai", "POST", "/v1/containers", N, "containers", "", false},
        {"openai", "POST", "/v1/containers/c/files", F, "containers.files", "", false},
        {"openai", "POST", "/v1/skills/s/versions", F, "skills", "", false},
        {"anthropic", "POST", "/v1/skills", F, "skills", "", false},
        {"openai", "GET", "/v1/realtime", S, "realtime.connect", "", false},
        {"openai", "POST", "/v1/realtime", U, "realtime", "", false},
        {"openai", "POST", "/v1/realtime/client_secrets", U, "realtime", "", false},
        {"azure-openai", "GET", "/openai/v1/realtime", S, "realtime.connect", "", false},
        {"openai", "GET", "/v1/responses", S, "responses.connect", "", false},
        {"openai", "PUT", "/v1/chat/completions", U, "unknown", "", false},
        {"openai", "post", "/v1/chat/completions", U, "unknown", "", false},
        {"openai", "POST", "/v1/files/chat/completions", U, "unknown", "", false},
        {"openai", "POST", "/v1//chat/completions", U, "unknown", "", false},
        {"openai", "POST", "/v1/./chat/completions", U, "unknown", "", false},
        {"openai", "POST", "/v1/x/../moderations", U, "unknown", "", false},
        {"openai", "POST", "/v1/chat%2Fcompletions", U, "unknown", "", false},
        /* What a provider may resolve to a call must not pass for one that is free. */
        {"openai", "POST", "/v1/chat/completions/.", U, "unknown", "", false},
        {"openai", "POST", "/v1/chat/completions/..", U, "unknown", "", false},
        {"openai", "POST", "/v1/chat/completions/%2e", U, "unknown", "", false},
        {"openai", "POST", "/v1/chat/completions/;x", U, "unknown", "", false},
        {"openai", "POST", "/v1/responses/../cancel", U, "unknown", "", false},
        {"gemini", "POST", "/v1/models/g%3AgenerateContent%3F:countTokens", U, "unknown", "",
         false},
        {"openai", "POST", "", U, "unknown", "", false},
        {"openai", "POST", "/", U, "unknown", "", false},
        {"openai", "POST", "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r", U, "unknown", "", false},
        {"openai", "POST", "/deployments/d/chat/completions", U, "unknown", "", false},
        {"azure-openai", "POST", "/openai/deployments/gpt%2Dx/chat/completions", M,
         "chat.completions", "gpt%2Dx", false},
        {"azure-openai", "POST", "/openai/v1/responses", M, "responses", "", false},
        {"azure-openai", "POST", "/openai/deployments/d/images/generations", M,
         "images.generations", "d", false},
        {"anthropic", "POST", "/v1/messages", M, "messages", "", false},
        {"openai", "POST", "/v1/agents/sessions", M, "agents.sessions", "", false},
        {"openai", "POST", "/v1/agents/sessions/s/events", M, "agents.sessions.events", "", false},
        {"openai", "POST", "/v1/agents/sessions/s", M, "agents.sessions.update", "", false},
        {"openai", "GET", "/v1/agents/sessions/s", G, "agents.sessions.fetched", "", false},
        {"openai", "GET", "/v1/agents/sessions/s/events", G, "agents.sessions.stream", "", false},
        {"openai", "GET", "/v1/agents/sessions/s/turns", G, "agents.sessions.turns", "", false},
        {"openai", "GET", "/v1/agents/sessions/s/turns/t", G, "agents.sessions.turns", "", false},
        {"openai", "GET", "/v1/agents/sessions/s/subagents/a/turns", G, "agents.sessions.turns",
         "", false},
        {"openai", "GET", "/v1/agents/sessions/s/subagents/a/turns/t", G,
         "agents.sessions.turns", "", false},
        {"openai", "GET", "/v1/agents/sessions/s/items", G, "agents.sessions.items", "", false},
        {"openai", "GET", "/v1/agents/sessions/s/subagents/a/turns/t/items", G,
         "agents.sessions.items", "", false},
        {"openai", "GET", "/v1/agents/sessions/s/artifacts", F, "read", "", false},
        {"openai", "GET", "/v1/agents/sessions", F, "read", "", false},
        {"openai", "DELETE", "/v1/agents/sessions/s", F, "agents.sessions.delete", "", false},
        {"openai", "POST", "/v1/agents", G, "agents", "", false},
        {"openai", "POST", "/v1/agents/a", G, "agents", "", false},
        {"openai", "GET", "/v1/agents/a", G, "agents", "", false},
        {"openai", "POST", "/v1/agents/environments/templates", F, "agents.environments", "",
         false},
        {"openai", "POST", "/v1/vaults/v/credentials", F, "agents.vaults", "", false},
        {"openai", "POST", "/v1/agents/automations/a/pause", F, "agents.automations", "", false},
        {"openai", "POST", "/v1/agents/automations", U, "agents.automations", "", false},
        {"openai", "POST", "/v1/agents/completions", U, "agents.completions", "", false},
        {"mistral", "POST", "/v1/agents/completions", M, "agents.completions", "", false},
        {"azure-openai", "POST", "/openai/v1/agents/sessions", U, "unknown", "", false},
        {"anthropic", "POST", "/v1/sessions", M, "sessions", "", false},
        {"anthropic", "POST", "/v1/sessions/s/events", M, "sessions.events", "", false},
        {"anthropic", "POST", "/v1/dreams", M, "dreams", "", false},
        {"anthropic", "GET", "/v1/dreams/d", G, "dreams.fetched", "", false},
        {"anthropic", "POST", "/v1/dreams/d/cancel", G, "dreams.cancel", "", false},
        {"anthropic", "POST", "/v1/deployments/d/pause", F, "deployments", "", false},
        {"anthropic", "GET", "/v1/sessions/s", G, "sessions.fetched", "", false},
        {"anthropic", "POST", "/v1/sessions/s", G, "sessions.update", "", false},
        {"anthropic", "POST", "/v1/sessions/s/archive", G, "sessions.archive", "", false},
        {"anthropic", "GET", "/v1/sessions/s/events/stream", G, "sessions.stream", "", false},
        {"anthropic", "GET", "/v1/sessions/s/events", F, "read", "", false},
        {"anthropic", "GET", "/v1/sessions", F, "read", "", false},
        {"anthropic", "GET", "/v1/sessions/s/threads/t", F, "read", "", false},
        {"anthropic", "DELETE", "/v1/sessions/s", F, "sessions.delete", "", false},
        {"anthropic", "POST", "/v1/agents", G, "agents", "", false},
        {"anthropic", "POST", "/v1/agents/a", G, "agents", "", false},
        {"anthropic", "POST", "/v1/environments/e/work/w/ack", F, "environments.work", "",
         false},
        {"anthropic", "POST", "/v1/deployments", U, "deployments", "", false},
        {"anthropic", "POST", "/v1/deployments/d/run", U, "unknown", "", false},
        {"anthropic", "POST", "/messages", M, "messages", "", false},
        {"anthropic", "POST", "/v1/complete", M, "complete", "", false},
        {"anthropic", "POST", "/v1/messages/count_tokens", F, "messages.count_tokens", "",
         false},
        {"anthropic", "POST", "/v1/messages/batches", M, "messages.batches", "", false},
        {"anthropic", "GET", "/v1/messages/batches", F, "messages.batches.read", "", false},
        {"anthropic", "GET", "/v1/messages/batches/b", F, "messages.batches.read", "", false},
        {"openai", "GET", "/v1/predictions", F, "predictions.read", "", false},
        {"anthropic", "GET", "/v1/messages/batches/b/results", G, "messages.batches.results",
         "", false},
        {"gemini", "POST", "/v1beta/models/g-2.5:generateContent", M, "generateContent",
         "g-2.5", false},
        {"gemini", "POST", "/v1/models/g:streamGenerateContent", M, "streamGenerateContent",
         "g", true},
        {"gemini", "POST", "/models/g:batchEmbedContents", M, "batchEmbedContents", "g", false},
        {"gemini", "POST", "/v1alpha/tunedModels/t:generateContent", M, "generateContent", "t",
         false},
        {"gemini", "POST", "/v1beta/models/g:countTokens", F, "countTokens", "g", false},
        {"gemini", "POST", "/v1beta/models/g:predict", M, "predict", "g", false},
        {"gemini", "POST", "/v1beta/models/g:nothing", U, "unknown", "", false},
        {"gemini", "POST", "/v1beta/openai/chat/completions", M, "chat.completions", "", false},
        {"gemini", "GET", "/v1beta/models", F, "models", "", false},
        {"gemini", "GET", "/ws/google.ai.x.BidiGenerateContent", S, "live.connect", "", false},
        {"gemini", "POST", "/ws/google.ai.x.BidiGenerateContent", U, "live", "", false},
        {"gemini", "GET", "/ws/google.ai.x.BidiGenerateMusic", U, "live", "", false},
        {"gemini", "POST", "/v1beta/interactions", M, "interactions", "", false},
        {"gemini", "GET", "/v1beta/interactions/i", G, "interactions.fetched", "", false},
        {"gemini", "POST", "/v1beta/cachedContents", N, "cachedContents", "", false},
        {"gemini", "POST", "/upload/v1beta/files", F, "files", "", false},
        {"gemini", "GET", "/download/v1beta/files/f:download", G, "files.content", "", false},
        {"gemini", "GET", "/v1beta/files/:download", F, "read", "", false},
        {"gemini", "GET", "/v1beta/batches/b", G, "batches.fetched", "", false},
        {"gemini", "POST", "/v1beta/openai/batches", M, "batches", "", false},
        {"gemini", "POST", "/v1beta/models/g:batchGenerateContent", M, "batchGenerateContent",
         "g", false},
        {"openai", "GET", "/v1/files/file-1/content", G, "files.content", "", false},
        {"openai", "GET", "/v1/files/file-1", F, "read", "", false},
        {"openai", "POST", "/v1/threads/t/runs", M, "threads.runs", "", false},
        {"openai", "GET", "/v1/threads/t/runs/r", G, "threads.runs.fetched", "", false},
        {"openai", "POST", "/hf-inference/models/meta/llama", M, "inference", "meta/llama",
         false},
        {"openai", "POST", "/v1/models/a/b/predictions", M, "predictions", "a/b", false},
        {"openai", "POST", "/api/v1/services/aigc/text-generation/generation", M, "generation", "",
         false},
        {"openai", "POST", "/api/v1/services/embeddings/text-embedding/text-embedding", M,
         "embeddings", "", false},
        {"openai", "GET", "/api/v1/tasks/t-1", G, "tasks.fetched", "", false},
        {"openai", "GET", "/api-task/v1/tasks/t-1", G, "tasks.fetched", "", false},
        {"openai", "POST", "/api/v1/tasks/t-1/cancel", F, "tasks.cancel", "", false},
        {"openai", "POST", "/generate_stream", M, "generate", "", false},
        {"openai", "POST", "/v1/rerank", M, "rerank", "", false},
        {"mistral", "POST", "/v1/ocr", M, "ocr", "", false},
        {"mistral", "POST", "/v1/audio/speech", M, "audio.speech", "", false},
        {"vertex", "POST",
         "/v1/projects/p/locations/l/publishers/google/models/g:streamGenerateContent", M,
         "streamGenerateContent", "g", true},
        {"vertex", "POST",
         "/v1/projects/p/locations/l/publishers/anthropic/models/c:rawPredict", M, "rawPredict",
         "c", false},
        {"vertex", "POST", "/v1/publishers/anthropic/models/c:streamRawPredict", M,
         "streamRawPredict", "c", true},
        {"vertex", "POST", "/v1/publishers/anthropic/models/count-tokens:rawPredict", F,
         "messages.count_tokens", "", false},
        {"vertex", "POST", "/v1/publishers/mistralai/models/m:rawPredict", M, "rawPredict", "m",
         false},
        {"vertex", "POST", "/v1/projects/p/locations/l/endpoints/openapi/chat/completions", M,
         "chat.completions", "", false},
        {"mistral", "POST", "/v1/fim/completions", M, "fim.completions", "", false},
        {"cohere", "POST", "/v2/chat", M, "chat", "", false},
        {"cohere", "POST", "/compatibility/v1/chat/completions", M, "chat.completions", "",
         false},
        {"ollama", "POST", "/v1/chat/completions", M, "chat.completions", "", false},
        {"ollama", "POST", "/api/chat", M, "chat", "", false},
        {"vertex", "POST", "/v1/publishers/mistralai/models/m@2:streamRawPredict", M,
         "streamRawPredict", "m@2", true},
        {"vertex", "POST", "/v1/projects/p/locations/l/endpoints/77/chat/completions", M,
         "chat.completions", "", false},
        {"vertex", "POST", "/v1/projects/p/locations/l/endpoints/77:predict", M, "predict",
         "77", false},
        {"azure-openai", "POST", "//openai/deployments/d/chat/completions", M,
         "chat.completions", "d", false},
        {"bedrock", "POST", "/model/m/converse", M, "converse", "m", false},
        {"bedrock", "POST", "/model/us.m-v1%3A0/converse-stream", M, "converse-stream",
         "us.m-v1%3A0", true},
        {"bedrock", "POST", "/model/us.m-v1:0/invoke", M, "invoke", "us.m-v1:0", false},
        {"bedrock", "POST", "/model/arn%3Aaws%3abedrock%3Ar%3A1%3Ap%2Fx/invoke", M, "invoke",
         "arn%3Aaws%3abedrock%3Ar%3A1%3Ap%2Fx", false},
        {"bedrock", "POST", "/model/m/invoke-with-response-stream", M,
         "invoke-with-response-stream", "m", true},
        {"bedrock", "POST", "/model/m%2e%2E/converse", U, "unknown", "", false},
        {"bedrock", "POST", "/model/m%00/converse", U, "unknown", "", false},
        {"bedrock", "POST", "/model//converse", U, "unknown", "", false},
        {"bedrock", "POST", "/model/m/x/converse", U, "unknown", "", false},
        {"bedrock", "POST", "/model/m/invoke-with-bidirectional-stream", M,
         "invoke-with-bidirectional-stream", "m", true},
        {"bedrock", "POST", "/model/m/count-tokens", F, "count-tokens", "m", false},
        {"bedrock", "POST", "/openai/v1/chat/completions", M, "chat.completions", "", false},
        {"bedrock", "POST", "/v1/responses", M, "responses", "", false},
        {"bedrock", "POST", "/anthropic/v1/messages", M, "messages", "", false},
        {"bedrock", "POST", "/async-invoke", M, "async-invoke", "", false},
        {"bedrock", "GET", "/async-invoke/a", F, "read", "", false},
        {"bedrock", "GET", "/foundation-models", F, "read", "", false},
        {"elevenlabs", "POST", "/v1/text-to-speech/v0ice", M, "text-to-speech", "", false},
        {"elevenlabs", "POST", "/v1/text-to-speech/v0ice/stream/with-timestamps", M,
         "text-to-speech", "", false},
        {"elevenlabs", "POST", "/v1/text-to-speech/v%2f/stream", U, "unknown", "", false},
        {"elevenlabs", "GET", "/v1/text-to-speech/v/stream-input", U, "text-to-speech.connect",
         "", false},
        {"elevenlabs", "GET", "/v1/speech-to-text/transcripts/t", G, "speech-to-text.fetched",
         "", false},
        {"elevenlabs", "POST", "/v1/convai/agents/create", U, "unknown", "", false},
        {"elevenlabs", "POST", "/v1/single-use-token/tts", U, "unknown", "", false},
        {"elevenlabs", "GET", "/v1/voices", F, "read", "", false},
        /* answers in which keys stand, and what may be read as their paths */
        {"elevenlabs", "GET", "/v1/user", U, "user", "", false},
        {"elevenlabs", "GET", "/v1/us%65r", U, "unknown", "", false},
        {"elevenlabs", "GET", "/v1//user", U, "unknown", "", false},
        {"elevenlabs", "GET", "/v1/voices/../user", U, "unknown", "", false},
        {"elevenlabs", "GET", "/v1/user/subscription", F, "read", "", false},
        {"elevenlabs", "GET", "/v1/convai/agents/a/link", U, "convai.connect", "", false},
        {"assemblyai", "GET", "/v3/%74oken", U, "unknown", "", false},
        {"openai", "GET", "/v1/models/a%2fb", F, "read", "", false},
        {"deepgram", "POST", "/v1/listen", M, "listen", "", false},
        {"deepgram", "POST", "/v2/speak", M, "speak", "", false},
        {"deepgram", "GET", "/v2/listen", U, "listen.connect", "", false},
        {"deepgram", "POST", "/v1/auth/grant", U, "unknown", "", false},
        {"deepgram", "POST", "/v1/projects/p/keys", U, "unknown", "", false},
        {"assemblyai", "POST", "/v2/upload", G, "upload", "", false},
        {"assemblyai", "POST", "/v2/transcript", M, "transcript", "", false},
        {"assemblyai", "GET", "/v2/transcript/t", G, "transcript.fetched", "", false},
        {"assemblyai", "GET", "/v2/transcript/t/srt", F, "read", "", false},
        {"assemblyai", "GET", "/v2/transcript", F, "read", "", false},
        {"assemblyai", "GET", "/v3/ws", U, "connect", "", false},
        {"openai", "POST", "/v1/contextualizedembeddings", M, "embeddings", "", false},
        {"openai", "POST", "/v1/multi-vector", M, "embeddings", "", false},
        {"raw", "POST", "/v1/chat/completions", U, "unknown", "", false},
        {"raw", "GET", "/anything", F, "read", "", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        const struct protocol *p = protocol_find(strv_z(CASES[i].protocol));
        struct route route;

        protocol_route(p, strv_z(CASES[i].method), strv_z(CASES[i].path), STRV_NONE, &route);
        if ((int)route.endpoint->kind != CASES[i].kind ||
            strcmp(route.endpoint->name, CASES[i].name) != 0 ||
            !strv_eq(route.path_model, strv_z(CASES[i].model)) ||
            route.path_stream != CASES[i].stream) {
            print_error("%s %s %s: %d %s " STRV_FMT "\n", CASES[i].protocol, CASES[i].method,
                        CASES[i].path, (int)route.endpoint->kind, route.endpoint->name,
                        STRV_ARG(route.path_model));
            fail();
        }
    }
}

/* Where a path says that the model is served, prices may depend on it. */
static void test_regions(void **state)
{
    static const struct {
        const char *path, *region;
    } CASES[] = {
        {"/v1/projects/p/locations/us-east5/publishers/anthropic/models/c:rawPredict",
         "us-east5"},
        {"/v1beta1/projects/p/locations/global/publishers/google/models/g:generateContent",
         "global"},
        {"/v1/publishers/google/models/g:generateContent", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct route route;

        protocol_route(protocol_find(STRV("vertex")), STRV("POST"), strv_z(CASES[i].path),
                       STRV_NONE, &route);
        assert_true(strv_eq(route.region, strv_z(CASES[i].region)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_credentials),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_regions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
