#include "metering/usage/usage.h"

static const char *const FIELD_NAMES[USAGE_COUNT] = {
#define FIELD_NAME(id, name) [id] = name,
    USAGE_FIELDS(FIELD_NAME)
#undef FIELD_NAME
};

void usage_add(struct usage *sum, const struct usage *part)
{
    for (unsigned f = 0; f < USAGE_COUNT; f++) {
        if (usage_has(part, f) && sum->n[f] + part->n[f] <= USAGE_MAX_COUNT)
            usage_set(sum, f, sum->n[f] + part->n[f]);
    }
}

const char *usage_field_name(enum usage_field f)
{
    return FIELD_NAMES[f];
}

bool usage_is_time(enum usage_field f)
{
    return f == USAGE_AUDIO_MS || f == USAGE_VIDEO_MS || f == USAGE_SESSION_MS;
}

const char *usage_source_name(enum usage_source s)
{
    switch (s) {
    case USAGE_NONE:
        return "none";
    case USAGE_PROVIDER:
        return "provider";
    case USAGE_PARTIAL:
        return "partial";
    case USAGE_ESTIMATED:
        return "estimated";
    }
    return "none";
}

struct strv usage_priced_tier(struct strv served)
{
    static const struct strv STANDARD[] = {{"default", 7}, {"standard", 8}, {"on_demand", 9},
                                           {"auto", 4},    {"none", 4},     {"regular", 7},
                                           {"standard_only", 13}};

    for (size_t i = 0; i < sizeof(STANDARD) / sizeof(STANDARD[0]); i++) {
        if (strv_eq_nocase(served, STANDARD[i]))
            return STRV_NONE;
    }
    return served;
}

uint64_t usage_context(const struct usage *u)
{
    return usage_has(u, USAGE_SESSION_MS) ? 0 : u->n[USAGE_INPUT];
}

/* Takes part out of *whole; false where it exceeds what is left, which is then all taken. */
static bool take(uint64_t *whole, uint64_t part, uint64_t *meter)
{
    bool fits = part <= *whole;

    if (!fits)
        part = *whole;
    *whole -= part;
    *meter += part;
    return fits;
}

/* What of a part was not read from the cache. */
static uint64_t fresh(const struct usage *u, enum usage_field part, enum usage_field cached)
{
    return u->n[part] > u->n[cached] ? u->n[part] - u->n[cached] : 0;
}

bool usage_to_quantities(const struct usage *u, struct quantities *out)
{
    uint64_t input = u->n[USAGE_INPUT], output = u->n[USAGE_OUTPUT], cached = 0;
    uint64_t audio = fresh(u, USAGE_INPUT_AUDIO, USAGE_CACHE_AUDIO);
    uint64_t image = fresh(u, USAGE_INPUT_IMAGE, USAGE_CACHE_IMAGE);
    uint64_t *q = out->n, pages;
    bool fits = true;

    *out = (struct quantities){{0}};
    /* A part without its whole is the whole. */
    if (!usage_has(u, USAGE_INPUT))
        input = u->n[USAGE_CACHE_READ] + u->n[USAGE_CACHE_WRITE_5M] +
                u->n[USAGE_CACHE_WRITE_1H] + audio + image + u->n[USAGE_INPUT_VIDEO];
    if (!usage_has(u, USAGE_OUTPUT))
        output = u->n[USAGE_REASONING] + u->n[USAGE_OUTPUT_AUDIO] + u->n[USAGE_OUTPUT_IMAGE] +
                 u->n[USAGE_OUTPUT_VIDEO];
    fits &= take(&input, u->n[USAGE_CACHE_READ], &cached);
    fits &= take(&cached, u->n[USAGE_CACHE_AUDIO], &q[METER_CACHE_READ_AUDIO]);
    fits &= take(&cached, u->n[USAGE_CACHE_IMAGE], &q[METER_CACHE_READ_IMAGE]);
    q[METER_CACHE_READ] = cached;
    fits &= take(&input, u->n[USAGE_CACHE_WRITE_5M], &q[METER_CACHE_WRITE]);
    fits &= take(&input, u->n[USAGE_CACHE_WRITE_1H], &q[METER_CACHE_WRITE_1H]);
    /* Where no field says how large the cached share of audio and images is, what does not fit
     * beside the cache was read from it, and that is no fault. */
    (void)take(&input, audio, &q[METER_IN_AUDIO]);
    (void)take(&input, image, &q[METER_IN_IMAGE]);
    (void)take(&input, u->n[USAGE_INPUT_VIDEO], &q[METER_IN_VIDEO]);
    fits &= u->n[USAGE_INPUT_AUDIO] + u->n[USAGE_INPUT_IMAGE] + u->n[USAGE_INPUT_VIDEO] <=
                u->n[USAGE_INPUT] ||
            !usage_has(u, USAGE_INPUT);
    q[METER_IN] = input;
    fits &= take(&output, u->n[USAGE_OUTPUT_AUDIO], &q[METER_OUT_AUDIO]);
    fits &= take(&output, u->n[USAGE_OUTPUT_IMAGE], &q[METER_OUT_IMAGE]);
    fits &= take(&output, u->n[USAGE_OUTPUT_VIDEO], &q[METER_OUT_VIDEO]);
    fits &= take(&output, u->n[USAGE_REASONING], &q[METER_OUT_REASONING]);
    q[METER_OUT] = output;
    q[METER_WEB_SEARCH] = u->n[USAGE_WEB_SEARCH];
    q[METER_FILE_SEARCH] = u->n[USAGE_FILE_SEARCH];
    q[METER_CODE_CALL] = u->n[USAGE_CODE];
    /* Images are charged by the piece only where no tokens are told of them. */
    q[METER_IMAGE] = u->n[USAGE_OUTPUT] > 0 ? 0 : u->n[USAGE_IMAGES];
    q[METER_AUDIO_SEC] = u->n[USAGE_AUDIO_MS];
    q[METER_IN_CHAR] = u->n[USAGE_CHARACTERS];
    q[METER_RERANK_SEARCH] = u->n[USAGE_SEARCH_UNITS];
    q[METER_OUT_CITATION] = u->n[USAGE_CITATION];
    pages = u->n[USAGE_PAGES];
    fits &= take(&pages, u->n[USAGE_ANNOTATED], &q[METER_PAGE_ANNOTATED]);
    q[METER_PAGE] = pages;
    q[METER_IN_IMAGE_COUNT] = u->n[USAGE_INPUT_IMAGES];
    q[METER_ATTACHMENT_SEARCH] = u->n[USAGE_ATTACHMENT];
    q[METER_ENTERPRISE_WEB_SEARCH] = u->n[USAGE_ENTERPRISE];
    q[METER_X_SEARCH] = u->n[USAGE_X_SEARCH];
    q[METER_MAPS_SEARCH] = u->n[USAGE_MAPS];
    q[METER_VIDEO_SEC] = u->n[USAGE_VIDEO_MS];
    q[METER_SESSION_SEC] = u->n[USAGE_SESSION_MS];
    q[METER_GUARD] = u->n[USAGE_GUARD];
    return fits;
}
