/*
 * The endpoints that are known, by protocol: method and path, how they are charged, and
 * how their answers are read.  How a path is looked up in them is route.c's business.
 */
#include "metering/usage/route_table.h"

#include "metering/usage/live.h"

static const struct entry OPENAI[] = {
    METERED("chat.completions", "POST", "chat/completions", DIALECT_OPENAI, ENTRY_EDIT),
    METERED("chat.completions", "POST", "models/chat/completions", DIALECT_OPENAI, ENTRY_EDIT),
    FETCHED("chat.completions.deferred", "GET", "chat/deferred-completion/*", DIALECT_OPENAI,
            ENTRY_BY_PATH), /* xAI */
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
    METERED("embeddings", "POST", "multimodalembeddings", DIALECT_OPENAI, ENTRY_EMBEDS), /* Voyage */
    METERED("embeddings", "POST", "contextualizedembeddings", DIALECT_OPENAI, ENTRY_EMBEDS),
    METERED("embeddings", "POST", "multi-vector", DIALECT_OPENAI, ENTRY_EMBEDS), /* Jina */
    METERED("batches", "POST", "batches", DIALECT_OPENAI, ENTRY_LATER | ENTRY_REQUESTS),
    FETCHED("batches.fetched", "GET", "batches/*", DIALECT_OPENAI, ENTRY_JOB | ENTRY_BATCH),
    /* xAI: requests are added to a batch, and results come in pages */
    METERED("batches.requests", "POST", "batches/*/requests", DIALECT_OPENAI,
            ENTRY_LATER | ENTRY_REQUESTS | ENTRY_ADDS),
    FETCHED("batches.results", "GET", "batches/*/results", DIALECT_OPENAI,
            ENTRY_BATCH | ENTRY_BY_NAME),
    METERED("videos", "POST", "videos", DIALECT_OPENAI, ENTRY_VIDEO | ENTRY_EMBEDS),
    METERED("videos", "POST", "videos/generations", DIALECT_OPENAI,
            ENTRY_VIDEO | ENTRY_EMBEDS | ENTRY_LATER), /* xAI: answers an id and no state */
    METERED("videos", "POST", "videos/edits", DIALECT_OPENAI, ENTRY_VIDEO | ENTRY_EMBEDS),
    METERED("videos", "POST", "videos/extensions", DIALECT_OPENAI, ENTRY_VIDEO | ENTRY_EMBEDS),
    METERED("videos", "POST", "videos/*/remix", DIALECT_OPENAI, ENTRY_VIDEO | ENTRY_EMBEDS),
    FETCHED("videos.fetched", "GET", "videos/*", DIALECT_OPENAI, ENTRY_VIDEO),
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
    FREE("videos.delete", "DELETE", "videos/*"),
    FETCHED("files", "POST", "files", DIALECT_OPENAI, ENTRY_FILE),
    FREE("files", "DELETE", "files/*"),
    FREE("uploads", "POST", "uploads"),
    FETCHED("uploads.parts", "POST", "uploads/*/parts", DIALECT_OPENAI, ENTRY_PART),
    FETCHED("uploads.complete", "POST", "uploads/*/complete", DIALECT_OPENAI, ENTRY_JOINED),
    FREE("uploads", "POST", "uploads/*/cancel"),
    FREE("batches.cancel", "POST", "batches/*/cancel"),
    FREE("batches.cancel", "POST", "batches/*:cancel"), /* xAI */
    FREE("threads", "POST", "threads"),
    FREE("threads", "POST", "threads/*"),
    FREE("threads", "DELETE", "threads/*"),
    FREE("threads.messages", "POST", "threads/*/messages"),
    FREE("threads.messages", "DELETE", "threads/*/messages/*"),
    FREE("threads.runs.cancel", "POST", "threads/*/runs/*/cancel"),
    FREE("assistants", "POST", "assistants"),
    FREE("assistants", "POST", "assistants/*"),
    FREE("assistants", "DELETE", "assistants/*"),
    /* Charged by the day, the gigabyte or the session. */
    UNTOLD("vector_stores", "POST", "vector_stores"),
    UNTOLD("vector_stores.search", "POST", "vector_stores/*/search"),
    UNTOLD("vector_stores.files", "POST", "vector_stores/*/files"),
    UNTOLD("vector_stores.files", "POST", "vector_stores/*/file_batches"),
    FREE("vector_stores.cancel", "POST", "vector_stores/*/file_batches/*/cancel"),
    FREE("vector_stores.update", "POST", "vector_stores/*"),
    FREE("vector_stores.update", "POST", "vector_stores/*/files/*"),
    FREE("vector_stores.delete", "DELETE", "vector_stores/*"),
    FREE("vector_stores.delete", "DELETE", "vector_stores/*/files/*"),
    UNTOLD("containers", "POST", "containers"),
    FREE("containers.files", "POST", "containers/*/files"),
    FREE("containers.delete", "DELETE", "containers/*"),
    FREE("containers.delete", "DELETE", "containers/*/files/*"),
    FREE("skills", "POST", "skills"),
    FREE("skills", "POST", "skills/*"),
    FREE("skills", "POST", "skills/*/versions"),
    FREE("skills.delete", "DELETE", "skills/*"),
    FREE("skills.delete", "DELETE", "skills/*/versions/*"),
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
};

/* OpenAI's agents: a session runs by itself, and answers tell what it took so far. */
static const struct entry AGENTS[] = {
    METERED("agents.sessions", "POST", "agents/sessions", DIALECT_AGENTS,
            ENTRY_SESSION | ENTRY_LATER),
    METERED("agents.sessions.events", "POST", "agents/sessions/*/events", DIALECT_AGENTS,
            ENTRY_SESSION | ENTRY_LATER | ENTRY_ADDS),
    /* It may change the model: of the turns that follow. */
    METERED("agents.sessions.update", "POST", "agents/sessions/*", DIALECT_AGENTS,
            ENTRY_SESSION | ENTRY_ADDS),
    FETCHED("agents.sessions.fetched", "GET", "agents/sessions/*", DIALECT_AGENTS,
            ENTRY_SESSION),
    FETCHED("agents.sessions.stream", "GET", "agents/sessions/*/events", DIALECT_AGENTS,
            ENTRY_SESSION),
    FETCHED("agents.sessions.turns", "GET", "agents/sessions/*/turns", DIALECT_AGENTS,
            ENTRY_SESSION),
    FETCHED("agents.sessions.turns", "GET", "agents/sessions/*/turns/*", DIALECT_AGENTS,
            ENTRY_SESSION),
    FETCHED("agents.sessions.turns", "GET", "agents/sessions/*/subagents/*/turns",
            DIALECT_AGENTS, ENTRY_SESSION),
    FETCHED("agents.sessions.turns", "GET", "agents/sessions/*/subagents/*/turns/*",
            DIALECT_AGENTS, ENTRY_SESSION),
    FETCHED("agents.sessions.items", "GET", "agents/sessions/*/items", DIALECT_AGENTS,
            ENTRY_SESSION),
    FETCHED("agents.sessions.items", "GET", "agents/sessions/*/turns/*/items", DIALECT_AGENTS,
            ENTRY_SESSION),
    FETCHED("agents.sessions.items", "GET", "agents/sessions/*/subagents/*/items",
            DIALECT_AGENTS, ENTRY_SESSION),
    FETCHED("agents.sessions.items", "GET", "agents/sessions/*/subagents/*/turns/*/items",
            DIALECT_AGENTS, ENTRY_SESSION),
    FREE("agents.sessions.delete", "DELETE", "agents/sessions/*"),
    FREE("agents.sessions.artifacts", "DELETE", "agents/sessions/*/artifacts/*"),
    /* A container may be paid for from then on. */
    UNTOLD("agents.environments", "POST", "agents/environments"),
    FREE("agents.environments", "POST", "agents/environments/*/files"),
    FREE("agents.environments", "POST", "agents/environments/templates"),
    FREE("agents.environments", "POST", "agents/environments/templates/*"),
    FREE("agents.environments", "DELETE", "agents/environments/templates/*"),
    FREE("agents.vaults", "POST", "vaults"),
    FREE("agents.vaults", "POST", "vaults/*"),
    FREE("agents.vaults", "DELETE", "vaults/*"),
    FREE("agents.vaults", "POST", "vaults/*/credentials"),
    FREE("agents.vaults", "POST", "vaults/*/credentials/*"),
    FREE("agents.vaults", "DELETE", "vaults/*/credentials/*"),
    /* What begins sessions without a call may be stopped. */
    FREE("agents.automations", "POST", "agents/automations/*/pause"),
    FREE("agents.automations", "DELETE", "agents/automations/*"),
    UNKNOWN("agents.automations", "POST", "agents/automations"),
    FREE("read", "GET", "agents/automations"),
    FREE("read", "GET", "agents/environments"),
    FREE("read", "GET", "vaults"),
    FREE("read", "GET", "agents/sessions"),
    UNKNOWN("agents.completions", "POST", "agents/completions"), /* Mistral's */
    FETCHED("agents", "POST", "agents", DIALECT_AGENTS, ENTRY_SESSION),
    FETCHED("agents", "POST", "agents/*", DIALECT_AGENTS, ENTRY_SESSION),
    FETCHED("agents", "GET", "agents/*", DIALECT_AGENTS, ENTRY_SESSION),
    FREE("agents.delete", "DELETE", "agents/*"),
};

static const struct entry HOSTS[] = {
    /* Perplexity */
    METERED("chat.completions", "POST", "sonar", DIALECT_OPENAI, 0),
    METERED("responses", "POST", "agent", DIALECT_RESPONSES, 0),
    FETCHED("responses.fetched", "GET", "agent/*", DIALECT_RESPONSES, 0),
    METERED("chat.completions.async", "POST", "async/chat/completions", DIALECT_OPENAI,
            ENTRY_LATER | ENTRY_WRAPPED),
    METERED("chat.completions.async", "POST", "async/sonar", DIALECT_OPENAI,
            ENTRY_LATER | ENTRY_WRAPPED),
    FETCHED("chat.completions.async.fetched", "GET", "async/chat/completions/*", DIALECT_OPENAI,
            ENTRY_BY_PATH),
    FETCHED("chat.completions.async.fetched", "GET", "async/sonar/*", DIALECT_OPENAI,
            ENTRY_BY_PATH),
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
    METERED("predictions", "POST", "predictions", DIALECT_SERVER, ENTRY_LINKS), /* Replicate */
    METERED("predictions", "POST", "models/*/*/predictions", DIALECT_SERVER,
            ENTRY_PATH_MODEL | ENTRY_LINKS),
    METERED("predictions", "POST", "deployments/*/*/predictions", DIALECT_SERVER,
            ENTRY_PATH_MODEL | ENTRY_LINKS),
    LINKED("predictions.read", "GET", "predictions", DIALECT_SERVER),
    FETCHED("predictions.fetched", "GET", "predictions/*", DIALECT_SERVER, ENTRY_LINKS),
    LINKED("predictions.cancel", "POST", "predictions/*/cancel", DIALECT_SERVER),
    /* Alibaba's own paths; a task's result is asked for by its id. */
    METERED("generation", "POST", "services/aigc/text-generation/generation",
            DIALECT_DASHSCOPE, 0),
    METERED("generation", "POST", "services/aigc/multimodal-generation/generation",
            DIALECT_DASHSCOPE, 0),
    METERED("images", "POST", "services/aigc/image-generation/generation", DIALECT_DASHSCOPE,
            ENTRY_IMAGES | ENTRY_LATER | ENTRY_UNNAMED),
    METERED("images", "POST", "services/aigc/*/image-synthesis", DIALECT_DASHSCOPE,
            ENTRY_IMAGES | ENTRY_LATER | ENTRY_UNNAMED),
    METERED("videos", "POST", "services/aigc/*/video-synthesis", DIALECT_DASHSCOPE,
            ENTRY_VIDEO | ENTRY_LATER | ENTRY_UNNAMED),
    METERED("embeddings", "POST", "services/embeddings/*/*", DIALECT_DASHSCOPE, ENTRY_EMBEDS),
    METERED("rerank", "POST", "services/rerank/*/*", DIALECT_DASHSCOPE, ENTRY_EMBEDS),
    METERED("audio.transcriptions", "POST", "services/audio/asr/transcription",
            DIALECT_DASHSCOPE, ENTRY_LATER | ENTRY_UNNAMED),
    FETCHED("tasks.fetched", "GET", "tasks/*", DIALECT_DASHSCOPE,
            ENTRY_BY_PATH | ENTRY_UNNAMED),
    FREE("tasks.cancel", "POST", "tasks/*/cancel"),
    FREE("tokenize", "POST", "tokenizer"),
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
    METERED("batches", "POST", "batch/jobs", DIALECT_OPENAI, ENTRY_LATER | ENTRY_REQUESTS),
    FETCHED("batches.fetched", "GET", "batch/jobs/*", DIALECT_OPENAI, ENTRY_JOB),
    FREE("batches.cancel", "POST", "batch/jobs/*/cancel"),
    FREE("moderations", "POST", "moderations"),
    FREE("classifications", "POST", "classifications"),
};

static const struct entry ANTHROPIC[] = {
    METERED("messages", "POST", "messages", DIALECT_ANTHROPIC, 0),
    METERED("complete", "POST", "complete", DIALECT_ANTHROPIC, 0),
    /* The provider's OpenAI-compatible form. */
    METERED("chat.completions", "POST", "chat/completions", DIALECT_OPENAI, ENTRY_EDIT),
    METERED("messages.batches", "POST", "messages/batches", DIALECT_ANTHROPIC,
            ENTRY_LATER | ENTRY_REQUESTS | ENTRY_LINKS),
    LINKED("messages.batches.read", "GET", "messages/batches", DIALECT_ANTHROPIC),
    LINKED("messages.batches.read", "GET", "messages/batches/*", DIALECT_ANTHROPIC),
    FETCHED("messages.batches.results", "GET", "messages/batches/*/results", DIALECT_ANTHROPIC,
            ENTRY_BATCH),
    LINKED("messages.batches.cancel", "POST", "messages/batches/*/cancel", DIALECT_ANTHROPIC),
    FREE("messages.batches.delete", "DELETE", "messages/batches/*"),
    FREE("messages.count_tokens", "POST", "messages/count_tokens"),
    FREE("models", "GET", "models"),
    FREE("models", "GET", "models/*"),
    FREE("files", "POST", "files"),
    FREE("files", "DELETE", "files/*"),
    FREE("skills", "POST", "skills"),
    FREE("skills", "POST", "skills/*/versions"),
    FREE("skills.delete", "DELETE", "skills/*"),
    FREE("skills.delete", "DELETE", "skills/*/versions/*"),
    /* Managed agents: a session runs by itself, and answers tell what it took so far. */
    METERED("sessions", "POST", "sessions", DIALECT_SESSION, ENTRY_SESSION | ENTRY_LATER),
    METERED("sessions.events", "POST", "sessions/*/events", DIALECT_SESSION,
            ENTRY_SESSION | ENTRY_LATER | ENTRY_ADDS),
    FETCHED("sessions.fetched", "GET", "sessions/*", DIALECT_SESSION, ENTRY_SESSION),
    FETCHED("sessions.stream", "GET", "sessions/*/events/stream", DIALECT_SESSION,
            ENTRY_SESSION),
    FETCHED("sessions.update", "POST", "sessions/*", DIALECT_SESSION, ENTRY_SESSION),
    FETCHED("sessions.archive", "POST", "sessions/*/archive", DIALECT_SESSION, ENTRY_SESSION),
    FREE("sessions.delete", "DELETE", "sessions/*"),
    FREE("sessions.resources", "POST", "sessions/*/resources"),
    FREE("sessions.resources", "POST", "sessions/*/resources/*"),
    FREE("sessions.resources", "DELETE", "sessions/*/resources/*"),
    FREE("sessions.threads", "POST", "sessions/*/threads/*/archive"),
    /* Dreams: each runs in a session of its own, and tells what that took. */
    METERED("dreams", "POST", "dreams", DIALECT_SESSION,
            ENTRY_SESSION | ENTRY_LATER | ENTRY_DREAM),
    FETCHED("dreams.fetched", "GET", "dreams/*", DIALECT_SESSION, ENTRY_SESSION),
    FETCHED("dreams.cancel", "POST", "dreams/*/cancel", DIALECT_SESSION, ENTRY_SESSION),
    FETCHED("dreams.archive", "POST", "dreams/*/archive", DIALECT_SESSION, ENTRY_SESSION),
    /* What begins sessions without a call may be stopped. */
    UNKNOWN("deployments", "POST", "deployments"),
    FREE("deployments", "POST", "deployments/*/pause"),
    FREE("deployments", "POST", "deployments/*/archive"),
    FETCHED("agents", "POST", "agents", DIALECT_SESSION, ENTRY_SESSION),
    FETCHED("agents", "POST", "agents/*", DIALECT_SESSION, ENTRY_SESSION),
    FETCHED("agents", "GET", "agents/*", DIALECT_SESSION, ENTRY_SESSION),
    FREE("agents", "POST", "agents/*/archive"),
    FREE("environments", "POST", "environments"),
    FREE("environments", "POST", "environments/*"),
    FREE("environments", "POST", "environments/*/archive"),
    FREE("environments", "DELETE", "environments/*"),
    FREE("environments.work", "POST", "environments/*/work/*"),
    FREE("environments.work", "POST", "environments/*/work/*/ack"),
    FREE("environments.work", "POST", "environments/*/work/*/heartbeat"),
    FREE("environments.work", "POST", "environments/*/work/*/stop"),
    FREE("vaults", "POST", "vaults"),
    FREE("vaults", "POST", "vaults/*"),
    FREE("vaults", "POST", "vaults/*/archive"),
    FREE("vaults", "DELETE", "vaults/*"),
    FREE("vaults.credentials", "POST", "vaults/*/credentials"),
    FREE("vaults.credentials", "POST", "vaults/*/credentials/*"),
    FREE("vaults.credentials", "POST", "vaults/*/credentials/*/archive"),
    FREE("vaults.credentials", "POST", "vaults/*/credentials/*/mcp_oauth_validate"),
    FREE("vaults.credentials", "DELETE", "vaults/*/credentials/*"),
    FREE("memory_stores", "POST", "memory_stores"),
    FREE("memory_stores", "POST", "memory_stores/*"),
    FREE("memory_stores", "POST", "memory_stores/*/archive"),
    FREE("memory_stores", "DELETE", "memory_stores/*"),
    FREE("memory_stores.memories", "POST", "memory_stores/*/memories"),
    FREE("memory_stores.memories", "POST", "memory_stores/*/memories/*"),
    FREE("memory_stores.memories", "DELETE", "memory_stores/*/memories/*"),
    FREE("memory_stores.versions", "POST", "memory_stores/*/memory_versions/*/redact"),
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
    METERED("invoke-with-bidirectional-stream", "POST",
            "model/{model}/invoke-with-bidirectional-stream", DIALECT_INVOKE,
            ENTRY_STREAM | ENTRY_DUPLEX),
    METERED("apply-guardrail", "POST", "guardrail/{model}/version/*/apply", DIALECT_GUARD,
            ENTRY_EMBEDS | ENTRY_GUARD),
    METERED("async-invoke", "POST", "async-invoke", DIALECT_INVOKE,
            ENTRY_VIDEO | ENTRY_EMBEDS),
};

/* After models/MODEL: in Google's paths; the pattern is the method's name. */
static const struct entry GOOGLE[] = {
    METERED("generateContent", "POST", "generateContent", DIALECT_GEMINI, 0),
    METERED("streamGenerateContent", "POST", "streamGenerateContent", DIALECT_GEMINI,
            ENTRY_STREAM),
    METERED("embedContent", "POST", "embedContent", DIALECT_GEMINI, ENTRY_EMBEDS),
    METERED("batchEmbedContents", "POST", "batchEmbedContents", DIALECT_GEMINI, ENTRY_EMBEDS),
    METERED("predictLongRunning", "POST", "predictLongRunning", DIALECT_GEMINI,
            ENTRY_LATER | ENTRY_VIDEO | ENTRY_EMBEDS),
    FETCHED("predictLongRunning.fetched", "POST", "fetchPredictOperation", DIALECT_GEMINI,
            ENTRY_VIDEO),
    METERED("batchGenerateContent", "POST", "batchGenerateContent", DIALECT_GEMINI,
            ENTRY_LATER | ENTRY_REQUESTS),
    METERED("asyncBatchEmbedContent", "POST", "asyncBatchEmbedContent", DIALECT_GEMINI,
            ENTRY_LATER | ENTRY_REQUESTS),
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
    UNTOLD("cachedContents", "POST", "cachedContents"),
    UNTOLD("cachedContents", "PATCH", "cachedContents/*"),
    FREE("cachedContents", "DELETE", "cachedContents/*"),
    FREE("files", "POST", "files"),
    FREE("files", "DELETE", "files/*"),
    FETCHED("predictLongRunning.fetched", "GET", "models/{model}/operations/*", DIALECT_GEMINI,
            ENTRY_VIDEO),
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

const struct entry ROUTE_READ = FREE("read", "", "");
const struct entry ROUTE_OTHER = UNKNOWN("unknown", "", "");
const struct entry ROUTE_COUNT_TOKENS = FREE("messages.count_tokens", "POST", "");
const struct entry ROUTE_GOOGLE_OTHER_SOCKET = UNKNOWN("live", "", "");
const struct entry ROUTE_GOOGLE_LIVE = SOCKET("live.connect", "GET", "", DIALECT_GEMINI);

/* The calls that are made on WebSockets. */
static const struct entry LIVE_CALLS[] = {
    METERED("responses", "", "", DIALECT_RESPONSES, 0),
    METERED("realtime", "", "", DIALECT_RESPONSES, 0),
    METERED("realtime.transcription", "", "", DIALECT_RESPONSES, 0),
    METERED("live", "", "", DIALECT_GEMINI, 0),
};

const struct strv *protocol_beside(size_t *n)
{
    static const struct strv NAMES[] = {
        {"responses.connect", sizeof("responses.connect") - 1},
        {"realtime.connect", sizeof("realtime.connect") - 1},
        {"live.connect", sizeof("live.connect") - 1},
        {"realtime.transcription", sizeof("realtime.transcription") - 1},
    };

    *n = sizeof(NAMES) / sizeof(NAMES[0]);
    return NAMES;
}

const struct route_list ROUTE_GOOGLE = LIST(GOOGLE);
const struct route_list ROUTE_GOOGLE_ANTHROPIC = LIST(GOOGLE_ANTHROPIC);
const struct route_list ROUTE_GOOGLE_OTHERS = LIST(GOOGLE_OTHERS);

const struct route_table ROUTE_TABLES[ROUTE_TABLES_N] = {
    {ENTRIES_GOOGLE, LIST(GOOGLE_PLAIN)}, {ENTRIES_MISTRAL, LIST(MISTRAL)},
    {ENTRIES_OPENAI, LIST(OPENAI)},       {ENTRIES_HOSTS, LIST(HOSTS)},
    {ENTRIES_ANTHROPIC, LIST(ANTHROPIC)}, {ENTRIES_COHERE, LIST(COHERE)},
    {ENTRIES_OLLAMA, LIST(OLLAMA)},       {ENTRIES_BEDROCK, LIST(BEDROCK)},
    {ENTRIES_AGENTS, LIST(AGENTS)},
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
