#include "metering/ledger/record_part.h"

#include <string.h>

#include "metering/ledger/wire.h"

enum {
    IS_ANSWER = 1,
    IS_SHARE = 2,
    PART_BYTES = 5 * WIRE_U64_BYTES + RECORD_PART_MODEL_MAX_BYTES + WIRE_USAGE_BYTES,
};

/* Which of the lengths that some provider's prices change at lie below n.  Others may come:
 * a group also keeps the shortest and the longest of its answers. */
static unsigned length_class(uint64_t n)
{
    static const uint64_t steps[] = {100001, 128001, 200000, 200001,
                                     256000, 256001, 272000, 272001};
    unsigned below = 0;

    while (below < sizeof(steps) / sizeof(steps[0]) && n >= steps[below])
        below++;
    return below;
}

/* Its counts are charged as they are: no fee, no least quantity, no part beyond its whole. */
static bool is_additive(const struct usage *u)
{
    static const enum usage_field charged_once[] = {
        USAGE_WEB_SEARCH, USAGE_ENTERPRISE, USAGE_MAPS, USAGE_AUDIO_MS,
        USAGE_VIDEO_MS,   USAGE_IMAGES};
    const uint64_t *n = u->n;
    uint64_t input = n[USAGE_CACHE_READ] + n[USAGE_CACHE_WRITE_5M] + n[USAGE_CACHE_WRITE_1H] +
                     n[USAGE_INPUT_AUDIO] + n[USAGE_INPUT_IMAGE] + n[USAGE_INPUT_VIDEO];

    for (size_t i = 0; i < sizeof(charged_once) / sizeof(charged_once[0]); i++) {
        if (n[charged_once[i]] > 0)
            return false;
    }
    return input <= n[USAGE_INPUT] &&
           n[USAGE_REASONING] + n[USAGE_OUTPUT_AUDIO] + n[USAGE_OUTPUT_IMAGE] +
                   n[USAGE_OUTPUT_VIDEO] <=
               n[USAGE_OUTPUT] &&
           n[USAGE_ANNOTATED] <= n[USAGE_PAGES];
}

/* Which counts it has that are not zero: a card may be chosen by what is used. */
static uint64_t used_fields(const struct usage *u)
{
    uint64_t used = 0;

    for (unsigned f = 0; f < USAGE_COUNT; f++)
        used |= (uint64_t)(u->n[f] > 0) << f;
    return used;
}

static bool add_up(struct usage *sum, const struct usage *one)
{
    struct usage made = *sum;

    for (unsigned f = 0; f < USAGE_COUNT; f++) {
        made.n[f] += one->n[f];
        if (made.n[f] > USAGE_MAX_COUNT)
            return false;
    }
    *sum = made;
    return true;
}

static bool are_alike(const struct record_part *a, const struct record_part *b)
{
    return a->is_answer && b->is_answer && strv_eq(a->model, b->model) &&
           a->usage.has == b->usage.has && used_fields(&a->usage) == used_fields(&b->usage) &&
           length_class(a->input_least) == length_class(b->input_least) &&
           is_additive(&a->usage) && is_additive(&b->usage);
}

void record_parts_add(struct record_parts *parts, const struct record_part *one,
                      struct arena *arena)
{
    if (one->usage.has == 0)
        return;
    for (size_t i = 0; i < parts->n; i++) {
        struct record_part *group = &parts->at[i];

        if (!are_alike(group, one) || !add_up(&group->usage, &one->usage))
            continue;
        group->answers++;
        if (one->input_least < group->input_least)
            group->input_least = one->input_least;
        if (one->input_most > group->input_most)
            group->input_most = one->input_most;
        return;
    }
    if (parts->n == RECORD_PARTS_MAX || one->model.n > RECORD_PART_MODEL_MAX_BYTES) {
        parts->is_too_much = true;
        return;
    }
    parts->at[parts->n] = *one;
    parts->at[parts->n].model = arena_strv(arena, one->model);
    if (one->model.n > 0 && parts->at[parts->n].model.n == 0)
        parts->is_too_much = true;
    parts->n++;
}

static size_t make_part(char *p, const struct record_part *part)
{
    size_t n = wire_make_u64(p, part->is_answer ? IS_ANSWER : part->is_share ? IS_SHARE : 0);

    n += wire_make_u64(p + n, part->model.n);
    if (part->model.n > 0)
        memcpy(p + n, part->model.p, part->model.n);
    n += part->model.n;
    n += wire_make_u64(p + n, part->answers);
    n += wire_make_u64(p + n, part->input_least);
    n += wire_make_u64(p + n, part->input_most);
    return n + wire_make_usage(p + n, &part->usage);
}

struct strv record_parts_encode(const struct record_parts *parts, struct arena *arena)
{
    char *p, one[PART_BYTES];
    size_t n = 0;

    if (parts->is_too_much || parts->n == 0)
        return STRV_NONE;
    for (size_t i = 0; i < parts->n; i++)
        n += make_part(one, &parts->at[i]);
    p = arena_alloc(arena, n);
    if (!p)
        return STRV_NONE;
    n = 0;
    for (size_t i = 0; i < parts->n; i++) {
        size_t length = make_part(one, &parts->at[i]);

        memcpy(p + n, one, length);
        n += length;
    }
    return strv_make(p, n);
}

enum rc record_parts_next(struct strv *bytes, struct record_part *out)
{
    struct wire_in in = wire_in(*bytes);
    uint64_t kind;

    if (bytes->n == 0)
        return RC_STATE;
    *out = (struct record_part){.answers = 0};
    kind = wire_get_u64(&in);
    out->is_answer = kind == IS_ANSWER;
    out->is_share = kind == IS_SHARE;
    out->model = wire_get_bytes(&in, wire_get_u64(&in));
    out->answers = wire_get_u64(&in);
    out->input_least = wire_get_u64(&in);
    out->input_most = wire_get_u64(&in);
    wire_get_usage(&in, &out->usage);
    if (in.bad || kind > IS_SHARE || out->answers == 0 || out->input_least > out->input_most ||
        out->input_most > USAGE_MAX_COUNT || out->model.n > RECORD_PART_MODEL_MAX_BYTES)
        return RC_BAD;
    *bytes = strv_skip(*bytes, (size_t)((const char *)in.p - bytes->p));
    return RC_OK;
}
