#include "metering/usage/calibration.h"

#include <stdlib.h>

#include "base/xalloc.h"

enum {
    PROBES = 8,        /* places that a model may have */
    AVERAGE_SHIFT = 3, /* a new sample counts for an eighth */
    DEVIATIONS = 4,    /* a reservation covers the mean and so many mean deviations */
    /* Bounds of what can be learnt, as parts of ESTIMATE_ONE. */
    MEAN_MIN = ESTIMATE_ONE / 8,
    MEAN_MAX = ESTIMATE_ONE * 8,
    HIGH_MIN = ESTIMATE_ONE * 3 / 4, /* four bytes a token: no history reserves less */
    OUTPUT_MIN = ESTIMATE_ONE / 64,  /* tokens a byte */
    OUTPUT_MAX = ESTIMATE_ONE * 16,  /* most of them thought and not shown */
};

/* n: samples, which stop at CALIBRATION_LEAST x 2^16. */
struct average {
    uint32_t n, mean, deviation;
};

struct known {
    uint64_t key; /* 0: free */
    struct average input, output;
};

struct calibration {
    struct known at[CALIBRATION_MODELS];
};

struct calibration *calibration_new(void)
{
    return xcalloc(1, sizeof(struct calibration));
}

void calibration_free(struct calibration *c)
{
    free(c);
}

static uint64_t key_of(struct strv upstream, struct strv model)
{
    uint64_t key = strv_hash(upstream) * UINT64_C(0x9e3779b97f4a7c15) ^ strv_hash(model);

    return key != 0 ? key : 1;
}

static size_t place(uint64_t key, size_t probe)
{
    return (key + probe) % CALIBRATION_MODELS;
}

static const struct known *find(const struct calibration *c, uint64_t key)
{
    for (size_t i = 0; i < PROBES; i++) {
        if (c->at[place(key, i)].key == key)
            return &c->at[place(key, i)];
    }
    return NULL;
}

/* The model's own place, or the least used one. */
static struct known *claim(struct calibration *c, uint64_t key)
{
    struct known *least = &c->at[place(key, 0)];

    for (size_t i = 0; i < PROBES; i++) {
        struct known *k = &c->at[place(key, i)];

        if (k->key == key)
            return k;
        if (k->input.n + k->output.n < least->input.n + least->output.n)
            least = k;
    }
    *least = (struct known){.key = key};
    return least;
}

static uint32_t clamp(uint64_t n, uint32_t min, uint32_t max)
{
    return n < min ? min : n > max ? max : (uint32_t)n;
}

struct estimate_factors calibration_look(const struct calibration *c, struct strv upstream,
                                         struct strv model)
{
    struct estimate_factors f = ESTIMATE_PLAIN;
    const struct known *k = find(c, key_of(upstream, model));

    if (k == NULL)
        return f;
    if (k->input.n >= CALIBRATION_LEAST) {
        f.input = k->input.mean;
        f.input_high = clamp((uint64_t)k->input.mean + DEVIATIONS * (uint64_t)k->input.deviation,
                             HIGH_MIN, MEAN_MAX);
    }
    if (k->output.n >= CALIBRATION_LEAST)
        f.output = k->output.mean;
    return f;
}

/* billed over estimated joins the average; the first ones count alike. */
static void add_sample(struct average *a, uint64_t billed, uint64_t estimated, uint32_t min,
                       uint32_t max)
{
    uint32_t sample, away, part;

    if (billed > USAGE_MAX_COUNT >> 8)
        return;
    sample = clamp(billed * ESTIMATE_ONE / estimated, min, max);
    if (a->n == 0) {
        *a = (struct average){.n = 1, .mean = sample, .deviation = sample / 4};
        return;
    }
    part = a->n < 1u << AVERAGE_SHIFT ? a->n + 1 : 1u << AVERAGE_SHIFT;
    away = sample > a->mean ? sample - a->mean : a->mean - sample;
    a->mean = sample > a->mean ? a->mean + away / part : a->mean - away / part;
    a->deviation = away > a->deviation ? a->deviation + (away - a->deviation) / part
                                       : a->deviation - (a->deviation - away) / part;
    if (a->n < (uint32_t)CALIBRATION_LEAST << 16)
        a->n++;
}

void calibration_learn(struct calibration *c, struct strv upstream, struct strv model,
                       const struct request_facts *facts, uint64_t estimated,
                       const struct tap_result *seen)
{
    const struct usage *u = &seen->usage;
    bool all_text = facts->media_parts == 0 && !facts->server_state && !facts->background &&
                    !facts->draws && !facts->speaks && !facts->listens && !facts->ranks;
    struct known *k;

    if (!seen->has_usage || !seen->usage_is_final || seen->inconsistent || !all_text ||
        seen->end == TAP_END_ERROR || seen->end == TAP_END_NONE)
        return;
    k = claim(c, key_of(upstream, model));
    if (u->n[USAGE_INPUT] > 0 && estimated >= CALIBRATION_MIN_TOKENS)
        add_sample(&k->input, u->n[USAGE_INPUT], estimated, MEAN_MIN, MEAN_MAX);
    if (u->n[USAGE_OUTPUT] > 0 && seen->output_bytes >= CALIBRATION_MIN_BYTES)
        add_sample(&k->output, u->n[USAGE_OUTPUT], seen->output_bytes, OUTPUT_MIN, OUTPUT_MAX);
}
