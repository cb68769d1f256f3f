#include "proxy/learnt.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"

enum {
    OCTAVE_PARTS = 4,
    BUCKETS = 32 * OCTAVE_PARTS, /* up to 2^32 tokens */
    MANY = 4096,                 /* calls at which the counts are halved */
    BESIDE = 4,                  /* slots that a model may have */
    NAME_MAX_BYTES = 96,         /* of a longer name, its end */
    RARE = 100,                  /* one call in so many may take more */
};

struct model {
    char name[NAME_MAX_BYTES];
    unsigned n_name;
    uint32_t n;
    uint32_t counts[BUCKETS];
};

struct learnt {
    struct model *models[LEARNT_MODELS_MAX];
};

struct learnt *learnt_new(void)
{
    return xcalloc(1, sizeof(struct learnt));
}

void learnt_free(struct learnt *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < LEARNT_MODELS_MAX; i++)
        free(l->models[i]);
    free(l);
}

/* Names are the clients': whoever makes them collide only loses what was learnt. */
static size_t slot_of(struct strv name)
{
    uint32_t hash = 2166136261U; /* FNV-1a */

    for (size_t i = 0; i < name.n; i++)
        hash = (hash ^ (unsigned char)name.p[i]) * 16777619U;
    return hash % LEARNT_MODELS_MAX;
}

static struct strv name_of(struct strv model)
{
    return model.n > NAME_MAX_BYTES ? strv_skip(model, model.n - NAME_MAX_BYTES) : model;
}

static bool is_named(const struct model *m, struct strv name)
{
    return strv_eq(strv_make(m->name, m->n_name), name);
}

/* The octave of tokens, and which part of it. */
static unsigned bucket_of(uint64_t tokens)
{
    unsigned octave, part;

    if (tokens < OCTAVE_PARTS)
        return (unsigned)tokens;
    if (tokens > UINT32_MAX)
        return BUCKETS - 1;
    octave = 63U - (unsigned)__builtin_clzll(tokens);
    part = (unsigned)(tokens >> (octave - 2)) & (OCTAVE_PARTS - 1);
    return octave * OCTAVE_PARTS + part;
}

/* The most that a bucket's calls took. */
static uint64_t bucket_top(unsigned bucket)
{
    unsigned octave = bucket / OCTAVE_PARTS, part = bucket % OCTAVE_PARTS;

    if (bucket < OCTAVE_PARTS)
        return bucket;
    return (((uint64_t)OCTAVE_PARTS + part + 1) << (octave - 2)) - 1;
}

static struct model *model_find(const struct learnt *l, struct strv name)
{
    for (size_t i = 0, at = slot_of(name); i < BESIDE; i++) {
        struct model *m = l->models[(at + i) % LEARNT_MODELS_MAX];

        if (m && is_named(m, name))
            return m;
    }
    return NULL;
}

/* A free slot, or that of whoever was called least. */
static struct model *model_make(struct learnt *l, struct strv name)
{
    size_t at = slot_of(name), best = at;
    struct model *m;

    for (size_t i = 0; i < BESIDE; i++) {
        size_t k = (at + i) % LEARNT_MODELS_MAX;

        if (!l->models[k]) {
            best = k;
            break;
        }
        if (l->models[k]->n < l->models[best]->n)
            best = k;
    }
    free(l->models[best]);
    m = l->models[best] = xcalloc(1, sizeof(*m));
    memcpy(m->name, name.p, name.n);
    m->n_name = (unsigned)name.n;
    return m;
}

void learnt_note(struct learnt *l, struct strv model, uint64_t output_tokens)
{
    struct strv name = name_of(model);
    struct model *m;

    if (name.n == 0)
        return;
    m = model_find(l, name);
    if (!m)
        m = model_make(l, name);
    m->counts[bucket_of(output_tokens)]++;
    if (++m->n < MANY)
        return;
    m->n = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        m->counts[i] /= 2;
        m->n += m->counts[i];
    }
}

uint64_t learnt_output(const struct learnt *l, struct strv model)
{
    const struct model *m = model_find(l, name_of(model));
    uint32_t above = 0;

    if (!m || m->n < LEARNT_LEAST)
        return 0;
    for (unsigned i = BUCKETS; i-- > 0;) {
        above += m->counts[i];
        if (above > m->n / RARE)
            return bucket_top(i);
    }
    return 0;
}
