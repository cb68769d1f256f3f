/*
 * OpenAI's arithmetic, and that of those who speak the same: what the counts of one
 * document come to.  Which members they come from is reader_openai.c's business.
 */
#include "metering/usage/reader_openai_int.h"

#include <string.h>

/*
 * Some providers count a part beside its whole; their own total gives it away.
 * xAI's chat: reasoning beside completion.  Mistral: audio beside the prompt.
 * Google's compatible form: thoughts in the total alone.
 */
static void add_outsiders(const struct raw_counts *c, uint64_t *input, uint64_t *output,
                          bool *odd)
{
    uint64_t extra = 0, reasoning = c->n[RAW_REASONING];

    if (raw_has(c, RAW_TOTAL) && raw_has(c, RAW_INPUT) && raw_has(c, RAW_OUTPUT) &&
        c->n[RAW_TOTAL] > *input + *output)
        extra = c->n[RAW_TOTAL] - *input - *output;
    if (extra > 0 && extra == reasoning) {
        *output += reasoning;
    } else if (extra > 0 &&
               (extra == c->n[RAW_IN_AUDIO] || extra == c->n[RAW_TOOL_INPUT] ||
                (raw_has(c, RAW_AUDIO_MS) && !raw_has(c, RAW_IN_AUDIO)))) {
        *input += extra;
    } else if (extra > 0 && !raw_has(c, RAW_REASONING) && !raw_has(c, RAW_CACHED) &&
               !raw_has(c, RAW_IN_AUDIO)) {
        *output += extra;
    } else if (raw_has(c, RAW_OUTPUT) && reasoning > *output) {
        *output += reasoning; /* a part cannot be the larger: it must stand beside */
        *odd = true;
    }
}

/* Cache writes: by time to live where that is told, else as short ones. */
static bool set_writes(const struct raw_counts *c, struct usage *u, uint64_t *room)
{
    uint64_t rest = c->n[RAW_WRITE];
    bool fits = true;

    if (raw_has(c, RAW_WRITE_1H)) {
        fits &= usage_set_part(u, USAGE_CACHE_WRITE_1H, c->n[RAW_WRITE_1H], room);
        rest -= u->n[USAGE_CACHE_WRITE_1H] < rest ? u->n[USAGE_CACHE_WRITE_1H] : rest;
    }
    if (raw_has(c, RAW_WRITE_5M) && c->n[RAW_WRITE_5M] > rest)
        rest = c->n[RAW_WRITE_5M];
    if (raw_has(c, RAW_WRITE) || raw_has(c, RAW_WRITE_5M))
        fits &= usage_set_part(u, USAGE_CACHE_WRITE_5M, rest, room);
    return fits;
}

static void counts_to_usage(struct reading *r)
{
    const struct raw_counts *c = &r->counts;
    uint64_t input = c->n[RAW_INPUT], output = c->n[RAW_OUTPUT], room;
    struct usage u = {.has = 0};
    bool odd = c->odd, fits = true;

    add_outsiders(c, &input, &output, &odd);
    if (r->is_perplexity && output == c->n[RAW_OUTPUT]) /* told apart, in no total */
        output += c->n[RAW_REASONING];
    if (raw_has(c, RAW_INPUT))
        usage_set(&u, USAGE_INPUT, input);
    else if (raw_has(c, RAW_TOTAL) && !raw_has(c, RAW_OUTPUT)) /* embeddings of some */
        usage_set(&u, USAGE_INPUT, input = c->n[RAW_TOTAL]);
    if (raw_has(c, RAW_OUTPUT))
        usage_set(&u, USAGE_OUTPUT, output);
    room = input;
    if (raw_has(c, RAW_CACHED))
        fits &= usage_set_part(&u, USAGE_CACHE_READ, c->n[RAW_CACHED], &room);
    else if (raw_has(&r->metered, RAW_CACHED))
        fits &= usage_set_part(&u, USAGE_CACHE_READ, r->metered.n[RAW_CACHED], &room);
    fits &= set_writes(c, &u, &room);
    fits &= usage_set_modalities(&u, c, input, output);
    if (input > c->n[RAW_INPUT] && raw_has(c, RAW_AUDIO_MS) && !raw_has(c, RAW_IN_AUDIO) &&
        raw_has(c, RAW_INPUT)) /* what only the total and the seconds tell of */
        usage_set(&u, USAGE_INPUT_AUDIO, input - c->n[RAW_INPUT]);
    usage_set_units(&u, c);
    r->result.usage = u;
    r->result.inconsistent = odd || !fits;
}

void openai_add_tools(struct reading *r)
{
    static const enum usage_field FIELDS[] = {USAGE_WEB_SEARCH, USAGE_FILE_SEARCH, USAGE_CODE};
    struct usage *u = &r->result.usage;

    if (r->has_searches && !usage_has(u, USAGE_WEB_SEARCH))
        usage_set(u, USAGE_WEB_SEARCH, r->searches);
    for (unsigned i = 0; i < 3; i++) {
        if (r->items[i] > 0 && !usage_has(u, FIELDS[i]))
            usage_set(u, FIELDS[i], r->items[i]);
    }
}

/* Images are counted where they are what the endpoint is for: items of a plain answer, last
 * events of a stream.  A price in the same breath says that the provider counted them too. */
static void add_images(struct reading *r)
{
    uint64_t n = r->is_stream ? r->drawn : r->data;

    /* In a batch they are told by their list and their price. */
    if (!(r->flags & ENTRY_IMAGES) &&
        !((r->flags & ENTRY_BATCH) && r->has_cost && !r->has_counts))
        return;
    if (r->error || n == 0)
        return;
    usage_set(&r->result.usage, USAGE_IMAGES, n);
    r->has_counts = r->has_counts || r->has_cost;
}

/* A transcript that has its length and no counts. */
static void add_duration(struct reading *r)
{
    if (!(r->flags & ENTRY_AUDIO) || r->has_counts || !raw_has(&r->beside, RAW_AUDIO_MS))
        return;
    usage_set(&r->result.usage, USAGE_AUDIO_MS, r->beside.n[RAW_AUDIO_MS]);
    r->has_counts = true;
}

/* A video tells its length from the start, and takes it when it is done. */
static void add_video(struct reading *r)
{
    bool is_told = (r->flags & ENTRY_VIDEO) ? r->is_done : r->has_cost;

    if (!(r->flags & (ENTRY_VIDEO | ENTRY_BATCH)) || !is_told || r->error ||
        !raw_has(&r->beside, RAW_VIDEO_MS))
        return;
    usage_set(&r->result.usage, USAGE_VIDEO_MS, r->beside.n[RAW_VIDEO_MS]);
    r->has_counts = true;
}

void openai_take_timings(struct reading *r)
{
    const struct raw_counts *t = &r->beside;

    if (r->has_counts || !raw_has(t, RAW_INPUT) || !raw_has(t, RAW_OUTPUT) ||
        t->n[RAW_INPUT] + t->n[RAW_CACHED] > USAGE_MAX_COUNT)
        return;
    raw_set(&r->counts, RAW_INPUT, t->n[RAW_INPUT] + t->n[RAW_CACHED]);
    raw_set(&r->counts, RAW_OUTPUT, t->n[RAW_OUTPUT]);
    if (raw_has(t, RAW_CACHED))
        raw_set(&r->counts, RAW_CACHED, t->n[RAW_CACHED]);
    r->has_counts = true;
}

void openai_to_usage(struct reading *r)
{
    if (r->has_counts)
        counts_to_usage(r);
    add_images(r);
    add_duration(r);
    add_video(r);
}

/* Several calls of one model are one share: no model of such systems is dearer by its length. */
static bool add_to_share(struct reading *r, const struct usage *u)
{
    for (size_t i = 0; r->parts != NULL && i < r->parts->n; i++) {
        struct usage *sum = &r->parts->at[i].usage;

        if (r->parts->at[i].kind != PART_SHARE ||
            strcmp(r->parts->at[i].model, r->iteration_model) != 0)
            continue;
        for (unsigned f = 0; f < USAGE_COUNT; f++) {
            if (!usage_has(u, f))
                continue;
            if (sum->n[f] + u->n[f] > USAGE_MAX_COUNT)
                return false;
            usage_set(sum, f, sum->n[f] + u->n[f]);
        }
        return true;
    }
    return false;
}

void openai_add_side(struct reading *r, enum part_kind kind)
{
    const struct raw_counts *c = &r->iteration;
    struct usage u = {.has = 0};
    uint64_t room = c->n[RAW_INPUT];

    if (c->n[RAW_INPUT] + c->n[RAW_OUTPUT] == 0)
        return;
    usage_set(&u, USAGE_INPUT, c->n[RAW_INPUT]);
    usage_set(&u, USAGE_OUTPUT, c->n[RAW_OUTPUT]);
    if (raw_has(c, RAW_CACHED))
        (void)usage_set_part(&u, USAGE_CACHE_READ, c->n[RAW_CACHED], &room);
    (void)usage_set_modalities(&u, c, c->n[RAW_INPUT], c->n[RAW_OUTPUT]);
    if (kind == PART_DRAWING && !usage_has(&u, USAGE_OUTPUT_IMAGE))
        usage_set(&u, USAGE_OUTPUT_IMAGE, c->n[RAW_OUTPUT]);
    if (kind != PART_SHARE || !add_to_share(r, &u))
        parts_add(r, kind, r->iteration_model, &u);
}
