#include "metering/usage/estimate.h"

#include <string.h>

enum {
    /* Text of any language, code and JSON: few tokens are shorter on the average. */
    INPUT_BYTES_PER_TOKEN = 3,
    /* Generated text is prose and code: 7 bytes to 2 tokens. */
    OUTPUT_BYTES = 7,
    OUTPUT_TOKENS = 2,
    MESSAGE_TOKENS = 4, /* role and delimiters */
    REQUEST_TOKENS = 16,
    /* Of the largest image at the best quality that a model of images has. */
    IMAGE_TOKENS = 6240,
    /* Spoken at some 15 characters and 20 tokens a second. */
    SPOKEN_CHARACTERS = 3,
    GUARD_CHARACTERS = 1000, /* of a guardrail's unit of text */
    SPOKEN_TOKENS = 4,
    HEARD_TOKENS = 10,  /* a second of audio, in */
    WRITTEN_TOKENS = 8, /* of its transcript, at the most */
    MS_PER_SECOND = 1000,
};

static uint64_t add(uint64_t a, uint64_t b)
{
    uint64_t sum;

    return __builtin_add_overflow(a, b, &sum) || sum > USAGE_MAX_COUNT ? USAGE_MAX_COUNT : sum;
}

static uint64_t times(uint64_t a, uint64_t b)
{
    uint64_t product;

    return __builtin_mul_overflow(a, b, &product) || product > USAGE_MAX_COUNT ? USAGE_MAX_COUNT
                                                                               : product;
}

static uint64_t divide_up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

/* Speech and sound that no tokens are told of. */
static bool is_sound_alone(const struct request_facts *facts)
{
    return facts->embeds && (facts->speaks || facts->listens);
}

static uint64_t spoken_tokens(const struct request_facts *facts)
{
    return divide_up(times(facts->characters, SPOKEN_TOKENS), SPOKEN_CHARACTERS);
}

static uint64_t heard_tokens(const struct request_facts *facts)
{
    return times(divide_up(facts->audio_ms, MS_PER_SECOND), HEARD_TOKENS);
}

bool estimate_units(const struct request_facts *facts, struct usage *out)
{
    *out = (struct usage){.has = 0};
    if (facts->draws)
        usage_set(out, USAGE_IMAGES, facts->choices);
    if (facts->speaks)
        usage_set(out, USAGE_CHARACTERS, facts->characters);
    if (facts->listens && facts->audio_ms > 0)
        usage_set(out, USAGE_AUDIO_MS, facts->audio_ms);
    if (facts->films)
        usage_set(out, USAGE_VIDEO_MS,
                  times(facts->video_ms ? facts->video_ms : ESTIMATE_VIDEO_MS, facts->choices));
    if (facts->ranks)
        usage_set(out, USAGE_SEARCH_UNITS, 1);
    if (facts->guards)
        usage_set(out, USAGE_GUARD,
                  divide_up(facts->text_bytes, GUARD_CHARACTERS) + facts->media_parts);
    return out->has != 0;
}

uint64_t estimate_scaled(uint64_t tokens, uint32_t factor)
{
    return add(times(tokens / ESTIMATE_ONE, factor),
               divide_up(tokens % ESTIMATE_ONE * factor, ESTIMATE_ONE));
}

/*
 * What models are told that stands in no request, and what an image may be to them: as measured
 * and documented, November 2026.  The first whose name is part of the model's holds.
 */
#define NAME(text) {text, sizeof(text) - 1}
static const struct family {
    struct strv name;
    uint16_t base, tools; /* of any call; of one that has tools */
    uint16_t media;       /* of an image at its largest */
} FAMILIES[] = {
    {NAME("claude-3"), 0, 549, 1600},
    {NAME("claude-opus-4-7"), 0, 549, 4784},
    {NAME("claude-opus-4-8"), 0, 549, 4784},
    {NAME("claude-opus-4"), 0, 549, 1600},
    {NAME("claude-sonnet-4"), 0, 549, 1600},
    {NAME("claude-haiku-4"), 0, 549, 1600},
    {NAME("claude"), 0, 549, 4784},
    /* By the pixel, at most 2 million, 560 of which are a token of an image. */
    {NAME("voyage-multimodal"), 0, 0, 3572},
    {NAME("grok-4"), 683, 0, ESTIMATE_MEDIA_TOKENS},
    {NAME("deepseek"), 0, 142, ESTIMATE_MEDIA_TOKENS},
    {NAME("qwen"), 0, 245, ESTIMATE_MEDIA_TOKENS},
    {NAME("mistral"), 0, 60, ESTIMATE_MEDIA_TOKENS},
    {NAME("gpt-5.1"), 0, 103, ESTIMATE_MEDIA_TOKENS},
};
#undef NAME

static const struct family OTHERS = {.tools = 24, .media = ESTIMATE_MEDIA_TOKENS};

static uint32_t letter(char c)
{
    return UINT32_C(1) << (c & 31);
}

/* Most models lack one of the two letters that most families begin with. */
static const struct family *family_of(struct strv model)
{
    uint32_t letters = 0;

    for (size_t i = 0; i < model.n; i++)
        letters |= letter(model.p[i]);
    for (size_t i = 0; i < sizeof(FAMILIES) / sizeof(*FAMILIES); i++) {
        const struct family *f = &FAMILIES[i];
        uint32_t needed = letter(f->name.p[0]) | letter(f->name.p[1]);

        if ((needed & ~letters) == 0 && memmem(model.p, model.n, f->name.p, f->name.n))
            return f;
    }
    return &OTHERS;
}

uint64_t estimate_input_tokens(const struct request_facts *facts)
{
    const struct family *family = family_of(facts->model);
    uint64_t tokens = divide_up(facts->text_bytes, INPUT_BYTES_PER_TOKEN);

    if (is_sound_alone(facts))
        return 0;
    tokens = add(tokens, times(facts->messages, MESSAGE_TOKENS));
    tokens = add(tokens, facts->listens && facts->audio_ms > 0
                             ? heard_tokens(facts)
                             : times(facts->media_parts, family->media));
    tokens = add(tokens, add(family->base, facts->tool_tokens));
    if (facts->has_tools)
        tokens = add(tokens, family->tools);
    tokens = add(tokens, facts->carried_tokens);
    return add(tokens, REQUEST_TOKENS);
}

uint64_t estimate_max_output_tokens(const struct request_facts *facts, uint64_t model_max)
{
    uint64_t each = model_max > 0 ? model_max : ESTIMATE_DEFAULT_OUTPUT;

    if (facts->embeds)
        return 0;
    if (facts->draws)
        return times(IMAGE_TOKENS, facts->choices);
    if (facts->speaks)
        return spoken_tokens(facts);
    if (facts->listens && facts->audio_ms > 0)
        return times(divide_up(facts->audio_ms, MS_PER_SECOND), WRITTEN_TOKENS);
    if (facts->later && facts->has_max_output)
        return facts->max_output_tokens;
    if (facts->has_max_output)
        each = facts->max_output_tokens;
    return times(each, facts->choices > 0 ? facts->choices : 1);
}

uint64_t estimate_output_tokens(uint64_t text_bytes, uint32_t per_byte, uint64_t bound)
{
    uint64_t tokens = per_byte > 0
                          ? estimate_scaled(text_bytes, per_byte)
                          : divide_up(times(text_bytes, OUTPUT_TOKENS), OUTPUT_BYTES);

    return tokens < bound ? tokens : bound;
}

/* Output of which so much text was seen, by its tokens where they were counted, bounded as the
 * request was. */
static uint64_t seen_output(const struct request_facts *facts, const struct tap_result *seen,
                            uint64_t model_max, const struct estimate_factors *factors)
{
    bool is_bounded = facts->has_max_output || model_max > 0;
    uint64_t bound =
        is_bounded ? estimate_max_output_tokens(facts, model_max) : USAGE_MAX_COUNT;

    if (seen->text_counted)
        return seen->text_tokens < bound ? seen->text_tokens : bound;
    return estimate_output_tokens(seen->output_bytes, factors->output, bound);
}

/* Nothing but the tokens of text is charged, and what is generated has a prompt. */
static bool is_text_alone(const struct request_facts *facts)
{
    return !facts->embeds && !facts->draws && !facts->films && !facts->speaks &&
           !facts->listens && !facts->ranks && !facts->guards;
}

bool estimate_lacks_input(const struct request_facts *facts, const struct tap_result *seen)
{
    const struct usage *u = &seen->usage;
    bool is_generated = seen->output_bytes > 0 || u->n[USAGE_OUTPUT] > 0;

    if (!usage_has(u, USAGE_INPUT))
        return true;
    return u->n[USAGE_INPUT] == 0 && is_text_alone(facts) &&
           (is_generated || !seen->usage_is_final);
}

/* A side that is told as zero beside text is not counted, where the other is not either. */
static bool lacks_output(const struct request_facts *facts, const struct tap_result *seen)
{
    const struct usage *u = &seen->usage;

    if (!usage_has(u, USAGE_OUTPUT))
        return true;
    return u->n[USAGE_OUTPUT] == 0 && usage_has(u, USAGE_INPUT) && u->n[USAGE_INPUT] == 0 &&
           is_text_alone(facts) && seen->output_bytes > 0;
}

/* What the provider gave, completed where it is not its last word or lacks a side. */
static enum usage_source complete_given(const struct request_facts *facts,
                                        const struct tap_result *seen, uint64_t model_max,
                                        const struct estimate_factors *factors,
                                        struct usage *out)
{
    bool wants_output = !facts->embeds && (!seen->usage_is_final || seen->output_bytes > 0);
    bool estimated = !seen->usage_is_final;
    uint64_t output = seen_output(facts, seen, model_max, factors);

    *out = seen->usage;
    if (!usage_has(out, USAGE_INPUT) && !usage_has(out, USAGE_OUTPUT))
        return estimated ? USAGE_PARTIAL : USAGE_PROVIDER; /* charged by another measure */
    if (estimate_lacks_input(facts, seen)) {
        usage_set(out, USAGE_INPUT,
                  estimate_scaled(estimate_input_tokens(facts), factors->input));
        estimated = true;
    }
    if (wants_output && lacks_output(facts, seen)) {
        usage_set(out, USAGE_OUTPUT, output);
        estimated = true;
    } else if (!seen->usage_is_final && output > out->n[USAGE_OUTPUT]) {
        usage_set(out, USAGE_OUTPUT, output); /* a placeholder, or a count that fell behind */
    }
    return estimated ? USAGE_PARTIAL : USAGE_PROVIDER;
}

/* What is charged by other measures than text alone. */
static enum usage_source estimate_media(const struct request_facts *facts,
                                        const struct tap_result *seen, uint64_t model_max,
                                        const struct estimate_factors *factors,
                                        struct usage *out)
{
    if (facts->audio_is_guess) /* what was reserved tells nothing of what was heard */
        return USAGE_NONE;
    (void)estimate_units(facts, out);
    if (facts->films || facts->guards || is_sound_alone(facts))
        return out->has != 0 ? USAGE_ESTIMATED : USAGE_NONE;
    if (facts->draws) {
        /* Those that came, where all came. */
        if (seen->end == TAP_END_COMPLETE)
            *out = seen->usage;
        return out->has != 0 ? USAGE_ESTIMATED : USAGE_NONE;
    }
    usage_set(out, USAGE_INPUT, estimate_input_tokens(facts));
    if (facts->listens && facts->audio_ms > 0)
        usage_set(out, USAGE_INPUT_AUDIO, heard_tokens(facts));
    if (facts->listens) {
        usage_set(out, USAGE_OUTPUT, seen_output(facts, seen, model_max, factors));
    } else if (facts->speaks) {
        usage_set(out, USAGE_OUTPUT, spoken_tokens(facts));
        usage_set(out, USAGE_OUTPUT_AUDIO, spoken_tokens(facts));
    }
    return USAGE_ESTIMATED;
}

enum usage_source estimate_complete(const struct request_facts *facts,
                                    const struct tap_result *seen, int status,
                                    uint64_t model_max, const struct estimate_factors *factors,
                                    struct usage *out)
{
    bool failed = status >= 400 || (seen->end == TAP_END_ERROR && seen->output_bytes == 0);

    *out = (struct usage){.has = 0};
    if (seen->has_usage)
        return complete_given(facts, seen, model_max, factors, out);
    if (seen->pending || facts->later) /* what it took is told elsewhere, or never */
        return USAGE_NONE;
    if (failed || facts->choices == 0) /* choices 0: the request was never read as a call */
        return USAGE_NONE;
    if (facts->draws || facts->films || facts->speaks || facts->listens || facts->ranks ||
        facts->guards)
        return estimate_media(facts, seen, model_max, factors, out);
    usage_set(out, USAGE_INPUT,
                  estimate_scaled(estimate_input_tokens(facts), factors->input));
    if (facts->background)
        usage_set(out, USAGE_OUTPUT, estimate_max_output_tokens(facts, model_max));
    else if (!facts->embeds)
        usage_set(out, USAGE_OUTPUT, seen_output(facts, seen, model_max, factors));
    return USAGE_ESTIMATED;
}
