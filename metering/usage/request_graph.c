#include "metering/usage/request_graph.h"

static const struct jscan_edge ROOT_EDGES[] = {
    JSCAN_EDGE("model", N_MODEL),
    JSCAN_EDGE("stream", N_STREAM),
    JSCAN_EDGE("stream_options", N_OPTIONS),
    JSCAN_EDGE("messages", N_MESSAGES),
    JSCAN_EDGE("contents", N_MESSAGES),
    JSCAN_EDGE("content", N_MESSAGES),
    JSCAN_EDGE("input", N_PROMPT),
    JSCAN_EDGE("prompt", N_PROMPT),
    JSCAN_EDGE("system", N_CONTENT),
    JSCAN_EDGE("systemInstruction", N_CONTENT),
    JSCAN_EDGE("system_instruction", N_CONTENT),
    JSCAN_EDGE("instructions", N_TEXT),
    JSCAN_EDGE("suffix", N_TEXT),
    JSCAN_EDGE("tools", N_TOOLS),
    JSCAN_EDGE("functions", N_TOOLS),
    JSCAN_EDGE("response_format", N_TEXT),
    JSCAN_EDGE("text", N_SPOKEN),
    JSCAN_EDGE("requests", N_REQUESTS),
    JSCAN_EDGE("max_tokens", N_CAP),
    JSCAN_EDGE("max_completion_tokens", N_CAP),
    JSCAN_EDGE("max_output_tokens", N_CAP),
    JSCAN_EDGE("max_tokens_to_sample", N_CAP),
    JSCAN_EDGE("max_gen_len", N_CAP),
    JSCAN_EDGE("enable_thinking", N_THINKS), /* Alibaba */
    JSCAN_EDGE("thinking_budget", N_THINKING_BUDGET),
    JSCAN_EDGE("maxTokens", N_CAP),
    JSCAN_EDGE("inferenceConfig", N_CONFIG),
    JSCAN_EDGE("textGenerationConfig", N_CONFIG),
    JSCAN_EDGE("inputText", N_PROMPT),
    JSCAN_EDGE("texts", N_PROMPT),
    JSCAN_EDGE("message", N_PROMPT),
    JSCAN_EDGE("chat_history", N_MESSAGES),
    JSCAN_EDGE("toolConfig", N_TOOL_CONFIG),
    JSCAN_EDGE("promptVariables", N_TEXT),
    JSCAN_EDGE("instances", N_MESSAGES),
    JSCAN_EDGE("n", N_CHOICES),
    JSCAN_EDGE("best_of", N_CHOICES),
    JSCAN_EDGE("generationConfig", N_CONFIG),
    JSCAN_EDGE("generation_config", N_CONFIG),
    JSCAN_EDGE("service_tier", N_TIER),
    JSCAN_EDGE("serviceTier", N_TIER_OBJECT),
    JSCAN_EDGE("previous_response_id", N_STATE),
    JSCAN_EDGE("conversation", N_STATE),
    JSCAN_EDGE("thread", N_STATE),
    JSCAN_EDGE("cachedContent", N_STATE),
    JSCAN_EDGE("cached_content", N_STATE),
    JSCAN_EDGE("background", N_BACKGROUND),
    JSCAN_EDGE("deferred", N_BACKGROUND), /* xAI */
    JSCAN_EDGE("billing_policy", N_BILLING),
    JSCAN_EDGE("speed", N_SPEED), /* Anthropic */
    JSCAN_EDGE("fallbacks", N_FALLBACKS),
    JSCAN_EDGE("models", N_MODELS), /* OpenRouter */
    JSCAN_EDGE("max_tool_calls", N_TOOL_CALLS),
    JSCAN_EDGE("previous_interaction_id", N_STATE),
    JSCAN_EDGE("agent", N_AGENT),
    JSCAN_EDGE("guardrailConfig", N_GUARDRAIL), /* Converse */
    JSCAN_EDGE("agent_id", N_AGENT_NAME), /* of a session, as all until its events */
    JSCAN_EDGE("spend_control", N_SPEND),
    JSCAN_EDGE("budget", N_BUDGET),
    JSCAN_EDGE("events", N_MESSAGES),
    JSCAN_EDGE("initial_events", N_MESSAGES),
    JSCAN_EDGE("model_id", N_MODEL_ID),
    JSCAN_EDGE("modelId", N_JOB_MODEL), /* a job of Bedrock */
    JSCAN_EDGE("modelInput", N_MODEL_INPUT),
    /* Cohere */
    JSCAN_EDGE("preamble", N_TEXT),
    JSCAN_EDGE("documents", N_CONTENT),
    JSCAN_EDGE("images", N_IMAGES),
    JSCAN_EDGE("query", N_CONTENT),
    /* servers of open models */
    JSCAN_EDGE("inputs", N_PROMPT),
    JSCAN_EDGE("options", N_CONFIG),
    JSCAN_EDGE("parameters", N_CONFIG),
    JSCAN_EDGE("sampling_params", N_CONFIG),
    JSCAN_EDGE("n_predict", N_CAP),
    JSCAN_EDGE("maximum_tokens", N_CAP),
    /* images */
    JSCAN_EDGE("size", N_SIZE),
    JSCAN_EDGE("width", N_WIDTH), /* Together */
    JSCAN_EDGE("height", N_HEIGHT),
    JSCAN_EDGE("quality", N_QUALITY),
    JSCAN_EDGE("num_images", N_CHOICES),
    /* batches: OpenAI, Mistral */
    JSCAN_EDGE("input_file_id", N_INPUT_FILE),
    JSCAN_EDGE("input_files", N_INPUT_FILES),
    JSCAN_EDGE("batch_requests", N_REQUESTS), /* xAI */
    JSCAN_EDGE("batch", N_BATCH),
    /* videos */
    JSCAN_EDGE("seconds", N_SECONDS),
    JSCAN_EDGE("duration", N_SECONDS),
    /* who speak and listen: AssemblyAI, ElevenLabs */
    JSCAN_EDGE("audio_url", N_SOUND),
    JSCAN_EDGE("speech_model", N_MODEL_ID),
    JSCAN_EDGE("speech_models", N_LISTENERS),
    JSCAN_EDGE("voice_description", N_PROMPT),
    JSCAN_EDGE("music_length_ms", N_LENGTH),
    JSCAN_EDGE("composition_plan", N_PLAN),
    /* what a search is to take in: Perplexity, OpenAI */
    JSCAN_EDGE("web_search_options", N_SEARCH_OPTIONS),
    /* what documents are to be read with: Mistral */
    JSCAN_EDGE("bbox_annotation_format", N_ANNOTATION),
    JSCAN_EDGE("document_annotation_format", N_ANNOTATION),
};
static const struct jscan_edge PLAN_EDGES[] = {JSCAN_EDGE("sections", N_SECTION)};
static const struct jscan_edge SECTION_EDGES[] = {JSCAN_EDGE("duration_ms", N_SECTION_LENGTH)};
static const struct jscan_edge SEARCH_EDGES[] = {
    JSCAN_EDGE("search_context_size", N_SEARCH_CTX)};
/* Google's search for enterprises, which has its own price. */
static const struct jscan_edge TOOLS_EDGES[] = {
    JSCAN_EDGE("type", N_TOOL_TYPE),
    JSCAN_EDGE("max_uses", N_TOOL_USES),
    JSCAN_EDGE("model", N_TOOL_MODEL),
    JSCAN_EDGE("googleSearch", N_SEARCHES),
    JSCAN_EDGE("google_search", N_SEARCHES),
    JSCAN_EDGE("googleSearchRetrieval", N_SEARCHES),
    JSCAN_EDGE("google_search_retrieval", N_SEARCHES),
    JSCAN_EDGE("enterpriseWebSearch", N_ENTERPRISE),
    JSCAN_EDGE("enterprise_web_search", N_ENTERPRISE),
};
static const struct jscan_edge TOOL_CONFIG_EDGES[] = {JSCAN_EDGE("tools", N_TOOLS)};
/* Managed agents: whose session it is to be, and what it may cost. */
static const struct jscan_edge AGENT_EDGES[] = {JSCAN_EDGE("id", N_MODEL_ID),
                                                JSCAN_EDGE("model", N_AGENT_MODEL),
                                                JSCAN_EDGE("service_tier", N_AGENT_TIER),
                                                JSCAN_EDGE("multi_agent", N_TEAM)};
static const struct jscan_edge TEAM_EDGES[] = {JSCAN_EDGE("enabled", N_TEAM_ON)};
static const struct jscan_edge FALLBACK_EDGES[] = {JSCAN_EDGE("model", N_FALLBACKS)};
static const struct jscan_edge SPEND_EDGES[] = {JSCAN_EDGE("limit", N_BUDGET_AMOUNT)};
static const struct jscan_edge MODEL_EDGES[] = {JSCAN_EDGE("id", N_MODEL_OF)};
static const struct jscan_edge AGENT_MODEL_EDGES[] = {JSCAN_EDGE("id", N_AGENT_MODEL)};
static const struct jscan_edge BUDGET_EDGES[] = {JSCAN_EDGE("max_list_cost", N_BUDGET_LIMIT)};
static const struct jscan_edge BUDGET_LIMIT_EDGES[] = {JSCAN_EDGE("amount", N_BUDGET_AMOUNT)};
/* Amazon's models of videos, and Luma's. */
static const struct jscan_edge MODEL_INPUT_EDGES[] = {
    JSCAN_EDGE("videoGenerationConfig", N_CONFIG), JSCAN_EDGE("duration", N_SECONDS)};
static const struct jscan_edge WRAPPED_EDGES[] = {JSCAN_EDGE("request", N_ROOT)};
static const struct jscan_edge BILLING_EDGES[] = {JSCAN_EDGE("bill_to", N_BILL_TO)};
/* Of one request of a batch: what its own body would say. */
static const struct jscan_edge PARAMS_EDGES[] = {
    JSCAN_EDGE("model", N_PARAMS_MODEL),      JSCAN_EDGE("messages", N_MESSAGES),
    JSCAN_EDGE("system", N_CONTENT),          JSCAN_EDGE("tools", N_TEXT),
    JSCAN_EDGE("max_tokens", N_PARAMS_CAP),   JSCAN_EDGE("input", N_MESSAGES),
    JSCAN_EDGE("prompt", N_CONTENT),          JSCAN_EDGE("fallbacks", N_FALLBACKS),
};
/* Gemini: the list stands in an object of the same name. */
static const struct jscan_edge BATCH_EDGES[] = {
    JSCAN_EDGE("inputConfig", N_BATCH),
    JSCAN_EDGE("input_config", N_BATCH),
    JSCAN_EDGE("requests", N_REQUESTS),
};
static const struct jscan_edge OPTIONS_EDGES[] = {JSCAN_EDGE("include_usage", N_INCLUDE)};
static const struct jscan_edge CONFIG_EDGES[] = {
    JSCAN_EDGE("maxOutputTokens", N_CAP),     JSCAN_EDGE("max_output_tokens", N_CAP),
    JSCAN_EDGE("maxTokens", N_CAP),           JSCAN_EDGE("max_new_tokens", N_CAP),
    JSCAN_EDGE("maxTokenCount", N_CAP),       JSCAN_EDGE("candidateCount", N_CHOICES),
    JSCAN_EDGE("candidate_count", N_CHOICES), JSCAN_EDGE("responseSchema", N_TEXT),
    JSCAN_EDGE("response_schema", N_TEXT),    JSCAN_EDGE("responseJsonSchema", N_TEXT),
    JSCAN_EDGE("num_predict", N_CAP),         JSCAN_EDGE("sampleCount", N_CHOICES),
    JSCAN_EDGE("durationSeconds", N_SECONDS),
    /* Alibaba's */
    JSCAN_EDGE("max_tokens", N_CAP),          JSCAN_EDGE("n", N_CHOICES),
    JSCAN_EDGE("size", N_SIZE),               JSCAN_EDGE("duration", N_SECONDS),
    JSCAN_EDGE("tools", N_TOOLS),             JSCAN_EDGE("enable_thinking", N_THINKS),
    JSCAN_EDGE("thinking_budget", N_THINKING_BUDGET),
};
/* Parts of messages.  What an application made itself (arguments, inputs) is text throughout.
 */
static const struct jscan_edge CONTENT_EDGES[] = {
    JSCAN_EDGE("image_url", N_MEDIA),     JSCAN_EDGE("input_audio", N_MEDIA),
    JSCAN_EDGE("file", N_MEDIA),          JSCAN_EDGE("file_data", N_MEDIA),
    JSCAN_EDGE("file_id", N_MEDIA),       JSCAN_EDGE("file_url", N_MEDIA),
    JSCAN_EDGE("inlineData", N_MEDIA),    JSCAN_EDGE("inline_data", N_MEDIA),
    JSCAN_EDGE("fileData", N_MEDIA),      JSCAN_EDGE("video_url", N_MEDIA),
    JSCAN_EDGE("audio_url", N_MEDIA),     JSCAN_EDGE("audio", N_MEDIA),
    JSCAN_EDGE("source", N_SOURCE),       JSCAN_EDGE("arguments", N_TEXT),
    JSCAN_EDGE("functionCall", N_TEXT),   JSCAN_EDGE("functionResponse", N_TEXT),
    JSCAN_EDGE("function_call", N_TEXT),  JSCAN_EDGE("function_response", N_TEXT),
    JSCAN_EDGE("cache_control", N_ASIDE), JSCAN_EDGE("input", N_TEXT),
    JSCAN_EDGE("cachePoint", N_ASIDE),    JSCAN_EDGE("bytesBase64Encoded", N_MEDIA),
    JSCAN_EDGE("gcsUri", N_MEDIA),        JSCAN_EDGE("image_base64", N_MEDIA),
    JSCAN_EDGE("video_base64", N_MEDIA),  JSCAN_EDGE("image", N_MEDIA),
};
static const struct jscan_edge SOURCE_EDGES[] = {
    JSCAN_EDGE("type", N_SOURCE_TYPE),
    JSCAN_EDGE("data", N_SOURCE_DATA),
    JSCAN_EDGE("content", N_CONTENT),
};
/* A word, or Bedrock's object around it. */
static const struct jscan_edge TIER_EDGES[] = {JSCAN_EDGE("type", N_TIER)};
/* Of batchEmbedContents. */
static const struct jscan_edge REQUEST_EDGES[] = {JSCAN_EDGE("content", N_MESSAGES),
                                                  JSCAN_EDGE("params", N_PARAMS),
                                                  JSCAN_EDGE("body", N_PARAMS),
                                                  JSCAN_EDGE("request", N_CONTENT),
                                                  JSCAN_EDGE("batch_request", N_ONE)};

const struct jscan_node REQUEST_NODES[N_COUNT] = {
    [N_ROOT] = {JSCAN_EDGES(ROOT_EDGES), 0, 0, JSCAN_WANT | JSCAN_ENTER | JSCAN_FOLD},
    [N_MODEL] = {JSCAN_EDGES(MODEL_EDGES), 0, 0, JSCAN_WANT | JSCAN_ENTER},
    [N_STREAM] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_OPTIONS] = {JSCAN_EDGES(OPTIONS_EDGES), N_OPTIONS_REST, 0,
                   JSCAN_WANT | JSCAN_ENTER | JSCAN_FOLD},
    [N_INCLUDE] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_OPTIONS_REST] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_CAP] = {.flags = JSCAN_WANT},
    [N_CHOICES] = {.flags = JSCAN_WANT},
    [N_CONFIG] = {JSCAN_EDGES(CONFIG_EDGES), 0, 0, 0},
    [N_MESSAGES] = {JSCAN_EDGES(CONTENT_EDGES), N_CONTENT, N_MESSAGES,
                    JSCAN_COUNT | JSCAN_ENTER},
    [N_PROMPT] = {JSCAN_EDGES(CONTENT_EDGES), N_CONTENT, N_PROMPT,
                  JSCAN_COUNT | JSCAN_WANT | JSCAN_ENTER},
    [N_CONTENT] = {JSCAN_EDGES(CONTENT_EDGES), N_CONTENT, N_CONTENT, JSCAN_COUNT},
    [N_TEXT] = {NULL, 0, N_TEXT, N_TEXT, JSCAN_COUNT},
    [N_MEDIA] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_SOURCE] = {JSCAN_EDGES(SOURCE_EDGES), 0, 0, JSCAN_ENTER},
    [N_SOURCE_TYPE] = {.flags = JSCAN_WANT},
    [N_SOURCE_DATA] = {.flags = JSCAN_WANT},
    [N_TIER] = {.flags = JSCAN_WANT},
    [N_STATE] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_BACKGROUND] = {.flags = JSCAN_WANT},
    [N_REQUESTS] = {JSCAN_EDGES(BATCH_EDGES), 0, N_REQUEST, 0},
    [N_BATCH] = {JSCAN_EDGES(BATCH_EDGES), 0, 0, 0},
    [N_ONE] = {NULL, 0, N_PARAMS, 0, 0},
    [N_REQUEST] = {JSCAN_EDGES(REQUEST_EDGES), 0, 0, JSCAN_ENTER},
    [N_TIER_OBJECT] = {JSCAN_EDGES(TIER_EDGES), 0, 0, JSCAN_WANT},
    [N_PARAMS] = {JSCAN_EDGES(PARAMS_EDGES), 0, 0, 0},
    [N_PARAMS_MODEL] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_PARAMS_CAP] = {.flags = JSCAN_WANT},
    [N_IMAGES] = {.item = N_MEDIA},
    [N_SIZE] = {.flags = JSCAN_WANT},
    [N_QUALITY] = {.flags = JSCAN_WANT},
    [N_WIDTH] = {.flags = JSCAN_WANT},
    [N_HEIGHT] = {.flags = JSCAN_WANT},
    [N_SEARCH_OPTIONS] = {JSCAN_EDGES(SEARCH_EDGES), 0, 0, 0},
    [N_SEARCH_CTX] = {.flags = JSCAN_WANT},
    [N_MODEL_ID] = {.flags = JSCAN_WANT},
    [N_SECONDS] = {.flags = JSCAN_WANT},
    [N_JOB_MODEL] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_MODEL_INPUT] = {JSCAN_EDGES(MODEL_INPUT_EDGES), 0, 0, 0},
    [N_INPUT_FILE] = {.flags = JSCAN_WANT},
    [N_INPUT_FILES] = {.item = N_INPUT_FILE},
    [N_TOOLS] = {JSCAN_EDGES(TOOLS_EDGES), N_TEXT, N_TOOLS, JSCAN_COUNT | JSCAN_ENTER},
    [N_TOOL_TYPE] = {.flags = JSCAN_WANT | JSCAN_COUNT},
    [N_TOOL_CONFIG] = {JSCAN_EDGES(TOOL_CONFIG_EDGES), N_TEXT, 0, JSCAN_COUNT},
    [N_ENTERPRISE] = {.flags = JSCAN_ENTER},
    [N_ANNOTATION] = {.flags = JSCAN_ENTER},
    [N_WRAPPED] = {JSCAN_EDGES(WRAPPED_EDGES), 0, 0, JSCAN_ENTER | JSCAN_FOLD},
    [N_AGENT] = {JSCAN_EDGES(AGENT_EDGES), 0, 0, JSCAN_WANT | JSCAN_ENTER},
    [N_AGENT_MODEL] = {JSCAN_EDGES(AGENT_MODEL_EDGES), 0, 0, JSCAN_WANT},
    [N_BUDGET] = {JSCAN_EDGES(BUDGET_EDGES), 0, 0, 0},
    [N_BUDGET_LIMIT] = {JSCAN_EDGES(BUDGET_LIMIT_EDGES), 0, 0, 0},
    [N_BUDGET_AMOUNT] = {.flags = JSCAN_WANT},
    [N_GUARDRAIL] = {.flags = JSCAN_ENTER},
    [N_AGENT_NAME] = {.flags = JSCAN_WANT},
    [N_AGENT_TIER] = {.flags = JSCAN_WANT},
    [N_TEAM] = {JSCAN_EDGES(TEAM_EDGES), 0, 0, JSCAN_ENTER},
    [N_TEAM_ON] = {.flags = JSCAN_WANT},
    [N_SPEND] = {JSCAN_EDGES(SPEND_EDGES), 0, 0, 0},
    [N_MODEL_OF] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_SPEED] = {.flags = JSCAN_WANT},
    [N_SPOKEN] = {NULL, 0, N_TEXT, N_TEXT, JSCAN_WANT | JSCAN_COUNT},
    [N_SOUND] = {.flags = JSCAN_WANT},
    [N_LENGTH] = {.flags = JSCAN_WANT},
    [N_PLAN] = {JSCAN_EDGES(PLAN_EDGES), 0, 0, JSCAN_WANT | JSCAN_ENTER},
    [N_SECTION] = {JSCAN_EDGES(SECTION_EDGES), 0, N_SECTION, 0},
    [N_SECTION_LENGTH] = {.flags = JSCAN_WANT},
    [N_LISTENERS] = {.item = N_LISTENERS, .flags = JSCAN_WANT},
    [N_SEARCHES] = {.flags = JSCAN_ENTER},
    [N_TOOL_USES] = {.flags = JSCAN_WANT},
    [N_TOOL_CALLS] = {.flags = JSCAN_WANT},
    [N_TOOL_MODEL] = {.flags = JSCAN_WANT | JSCAN_COUNT},
    [N_MODELS] = {.item = N_MODELS, .flags = JSCAN_WANT},
    [N_FALLBACKS] = {JSCAN_EDGES(FALLBACK_EDGES), 0, N_FALLBACKS, JSCAN_WANT},
    [N_THINKS] = {.flags = JSCAN_WANT},
    [N_THINKING_BUDGET] = {.flags = JSCAN_WANT},
    [N_BILLING] = {JSCAN_EDGES(BILLING_EDGES), 0, 0, JSCAN_ENTER},
    [N_BILL_TO] = {.flags = JSCAN_WANT | JSCAN_ENTER},
};
