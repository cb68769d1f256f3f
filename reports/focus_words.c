/*
 * focus_words.c - what FOCUS calls meters and those who sell.
 */
#include "reports/focus_int.h"

static const struct focus_meter meters[METER_COUNT] = {
    [METER_IN] = {"Tokens", "Input Tokens", "Input", "Uncached", NULL},
    [METER_OUT] = {"Tokens", "Output Tokens", "Output", NULL, NULL},
    [METER_CACHE_READ] = {"Tokens", "Cache Read Input Tokens", "Input", "Read", NULL},
    [METER_CACHE_WRITE] = {"Tokens", "Cache Write Input Tokens", "Input", "Write", "5m"},
    [METER_CACHE_WRITE_1H] = {"Tokens", "Cache Write 1h Input Tokens", "Input", "Write", "1h"},
    [METER_IN_AUDIO] = {"Tokens", "Audio Input Tokens", "Input", "Uncached", NULL},
    [METER_IN_IMAGE] = {"Tokens", "Image Input Tokens", "Input", "Uncached", NULL},
    [METER_IN_VIDEO] = {"Tokens", "Video Input Tokens", "Input", "Uncached", NULL},
    [METER_CACHE_READ_AUDIO] = {"Tokens", "Cache Read Audio Tokens", "Input", "Read", NULL},
    [METER_CACHE_READ_IMAGE] = {"Tokens", "Cache Read Image Tokens", "Input", "Read", NULL},
    [METER_OUT_AUDIO] = {"Tokens", "Audio Output Tokens", "Output", NULL, NULL},
    [METER_OUT_IMAGE] = {"Tokens", "Image Output Tokens", "Output", NULL, NULL},
    [METER_OUT_VIDEO] = {"Tokens", "Video Output Tokens", "Output", NULL, NULL},
    [METER_OUT_REASONING] = {"Tokens", "Reasoning Output Tokens", "Output", NULL, NULL},
    [METER_OUT_CITATION] = {"Tokens", "Citation Output Tokens", "Output", NULL, NULL},
    [METER_IN_CHAR] = {"Characters", "Input Characters", "Input", NULL, NULL},
    [METER_OUT_CHAR] = {"Characters", "Output Characters", "Output", NULL, NULL},
    [METER_AUDIO_SEC] = {"Seconds", "Audio Seconds", NULL, NULL, NULL},
    [METER_VIDEO_SEC] = {"Seconds", "Video Seconds", NULL, NULL, NULL},
    [METER_IN_VIDEO_SEC] = {"Seconds", "Video Input Seconds", "Input", NULL, NULL},
    [METER_IMAGE] = {"Images", "Images", NULL, NULL, NULL},
    [METER_IN_IMAGE_COUNT] = {"Images", "Input Images", "Input", NULL, NULL},
    [METER_IMAGE_MEGAPIXEL] = {"Pixels", "Image Pixels", NULL, NULL, NULL},
    [METER_OUT_GPIXEL] = {"Pixels", "Output Pixels", "Output", NULL, NULL},
    [METER_IN_GPIXEL] = {"Pixels", "Input Pixels", "Input", NULL, NULL},
    [METER_PAGE] = {"Pages", "Pages", NULL, NULL, NULL},
    [METER_PAGE_ANNOTATED] = {"Pages", "Annotated Pages", NULL, NULL, NULL},
    [METER_RERANK_SEARCH] = {"Searches", "Rerank Searches", NULL, NULL, NULL},
    [METER_REQUEST] = {"Requests", "Requests", NULL, NULL, NULL},
    [METER_WEB_SEARCH] = {"Searches", "Web Searches", NULL, NULL, NULL},
    [METER_ENTERPRISE_WEB_SEARCH] = {"Searches", "Enterprise Web Searches", NULL, NULL, NULL},
    [METER_MAPS_SEARCH] = {"Searches", "Maps Searches", NULL, NULL, NULL},
    [METER_X_SEARCH] = {"Searches", "X Searches", NULL, NULL, NULL},
    [METER_FILE_SEARCH] = {"Searches", "File Searches", NULL, NULL, NULL},
    [METER_ATTACHMENT_SEARCH] = {"Searches", "Attachment Searches", NULL, NULL, NULL},
    [METER_CODE_CALL] = {"Calls", "Code Execution Calls", NULL, NULL, NULL},
    [METER_CODE_SESSION] = {"Sessions", "Code Execution Sessions", NULL, NULL, NULL},
    [METER_CODE_SEC] = {"Seconds", "Code Execution Seconds", NULL, NULL, NULL},
    [METER_TEXT_MESSAGE] = {"Messages", "Text Messages", NULL, NULL, NULL},
    [METER_CACHE_STORAGE] = {"Token Hours", "Cache Storage Token Hours", NULL, NULL, NULL},
    [METER_VECTOR_STORAGE] = {"Gigabyte Days", "Vector Storage Gigabyte Days", NULL, NULL,
                              NULL},
};

const struct focus_meter *focus_meter(enum meter meter)
{
    return &meters[meter];
}

const char *focus_unit(enum meter meter)
{
    return meters[meter].unit ? meters[meter].unit : "Units";
}

const char *focus_meter_words(enum meter meter)
{
    return meters[meter].words ? meters[meter].words : meter_name(meter);
}

/* Names of those who sell; others are called by the price book's name. */
static const struct {
    const char *provider, *name, *service;
} sellers[] = {
    {"openai", "OpenAI", "OpenAI API"},
    {"anthropic", "Anthropic", "Anthropic API"},
    {"gemini", "Google", "Gemini API"},
    {"google", "Google", "Gemini API"},
    {"vertex", "Google Cloud", "Vertex AI"},
    {"vertex_ai", "Google Cloud", "Vertex AI"},
    {"azure", "Microsoft", "Azure OpenAI Service"},
    {"azure-openai", "Microsoft", "Azure OpenAI Service"},
    {"bedrock", "AWS", "Amazon Bedrock"},
    {"mistral", "Mistral AI", "Mistral API"},
    {"cohere", "Cohere", "Cohere API"},
    {"elevenlabs", "ElevenLabs", "ElevenAPI"},
    {"deepgram", "Deepgram", "Deepgram API"},
    {"assemblyai", "AssemblyAI", "AssemblyAI API"},
    {"voyage", "Voyage AI", "Voyage API"},
    {"jina", "Jina AI", "Jina API"},
    {"groq", "Groq", "GroqCloud API"},
    {"xai", "xAI", "xAI API"},
    {"deepseek", "DeepSeek", "DeepSeek API"},
    {"perplexity", "Perplexity", "Perplexity API"},
    {"together", "Together AI", "Together API"},
    {"fireworks", "Fireworks AI", "Fireworks API"},
};

struct strv focus_seller(struct strv provider, bool service)
{
    for (size_t i = 0; i < sizeof(sellers) / sizeof(sellers[0]); i++) {
        if (strv_eq(provider, strv_z(sellers[i].provider)))
            return strv_z(service ? sellers[i].service : sellers[i].name);
    }
    return provider.n ? provider : STRV("unknown");
}
