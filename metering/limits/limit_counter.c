#include "metering/limits/limit_counter.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"

static size_t ring_size(const struct counter *c)
{
    return (size_t)c->shape.buckets + 1;
}

static int64_t bucket_number(const struct counter *c, int64_t us)
{
    return us / c->shape.bucket_us;
}

/* NULL where the time's bucket has left the window. */
static struct bucket *bucket_at(const struct counter *c, int64_t us)
{
    int64_t number = bucket_number(c, us);

    if (number > c->head)
        number = c->head;
    if (number < 0 || number < c->head - (int64_t)c->shape.buckets)
        return NULL;
    return &c->ring[(size_t)number % ring_size(c)];
}

/* When it will be over if no clock is set meanwhile; what is late is kept as long as any. */
static int64_t due(const struct counter_shape *shape, int64_t now_us, int64_t wall_us)
{
    int64_t left_us = shape->end_us > wall_us ? shape->end_us - wall_us : 0;

    return now_us + left_us + LIMIT_WINDOW_KEEP_S * US_PER_SECOND;
}

struct counter *counter_new(struct strv key, uint64_t hash, const struct counter_shape *shape,
                            int64_t now_us, int64_t wall_us)
{
    struct counter *c = xcalloc(1, sizeof(*c) + key.n);

    list_init(&c->place);
    c->hash = hash;
    c->shape = *shape;
    c->n = key.n;
    memcpy(c->key, key.p, key.n);
    if (shape->kind == COUNTER_WINDOW && shape->end_us != INT64_MAX)
        c->due_us = due(shape, now_us, wall_us);
    if (shape->kind == COUNTER_ROLLING) {
        c->ring = xcalloc(ring_size(c), sizeof(*c->ring));
        c->head = bucket_number(c, now_us);
    }
    return c;
}

void counter_free(struct counter *c)
{
    if (!c)
        return;
    free(c->ring);
    free(c);
}

void counter_roll(struct counter *c, int64_t now_us)
{
    int64_t head;

    if (c->shape.kind != COUNTER_ROLLING)
        return;
    head = bucket_number(c, now_us);
    if (head - c->head > (int64_t)ring_size(c))
        c->head = head - (int64_t)ring_size(c); /* all that was has left */
    while (c->head < head) {
        struct bucket *b = &c->ring[(size_t)++c->head % ring_size(c)];

        c->spent = value_sub(c->spent, b->spent);
        c->reserved = value_sub(c->reserved, b->reserved);
        *b = (struct bucket){0};
    }
}

/* The bucket that a change goes to; false where it goes nowhere. */
static bool target(struct counter *c, int64_t started_us, struct bucket **b)
{
    *b = NULL;
    if (c->shape.kind != COUNTER_ROLLING)
        return true;
    *b = bucket_at(c, started_us);
    return *b != NULL;
}

void counter_reserve(struct counter *c, uint64_t amount, int64_t started_us)
{
    struct bucket *b;

    if (!target(c, started_us, &b))
        return;
    c->reserved = value_add(c->reserved, amount);
    if (b)
        b->reserved = value_add(b->reserved, amount);
}

void counter_release(struct counter *c, uint64_t amount, int64_t started_us)
{
    struct bucket *b;

    if (!target(c, started_us, &b))
        return;
    c->reserved = value_sub(c->reserved, amount);
    if (b)
        b->reserved = value_sub(b->reserved, amount);
}

void counter_spend(struct counter *c, uint64_t amount, int64_t started_us)
{
    struct bucket *b;

    if (!target(c, started_us, &b))
        return;
    c->spent = value_add(c->spent, amount);
    if (b)
        b->spent = value_add(b->spent, amount);
}

void counter_unspend(struct counter *c, uint64_t amount, int64_t started_us)
{
    struct bucket *b;

    if (!target(c, started_us, &b))
        return;
    c->spent = value_sub(c->spent, amount);
    if (b)
        b->spent = value_sub(b->spent, amount);
}

void counter_set_spent(struct counter *c, uint64_t spent, int64_t now_us)
{
    c->spent = 0;
    for (size_t i = 0; c->ring && i < ring_size(c); i++)
        c->ring[i].spent = 0;
    counter_spend(c, spent, now_us);
}

int64_t counter_resets_in(const struct counter *c, uint64_t amount, uint64_t limit,
                          int64_t now_us)
{
    uint64_t spent = c->spent, reserved = c->reserved;

    if (c->shape.kind != COUNTER_ROLLING || amount > limit)
        return 0;
    for (int64_t i = c->head - (int64_t)c->shape.buckets; i <= c->head; i++) {
        const struct bucket *b;

        if (i < 0)
            continue;
        b = &c->ring[(size_t)i % ring_size(c)];
        spent = value_sub(spent, b->spent);
        reserved = value_sub(reserved, b->reserved);
        if (value_fits(spent, reserved, amount, limit))
            return (i + (int64_t)c->shape.buckets + 1) * c->shape.bucket_us - now_us;
    }
    return 0;
}

uint64_t counter_mirror(const struct counter *c, int64_t now_us)
{
    if (c->shape.kind == COUNTER_ROLLING &&
        now_us - c->mirror_us >= c->shape.bucket_us * (int64_t)ring_size(c))
        return 0;
    return c->mirror;
}

bool counter_is_over(struct counter *c, int64_t mono_us, int64_t wall_us)
{
    if (c->refs > 0)
        return false;
    switch (c->shape.kind) {
    case COUNTER_WINDOW:
        if (c->shape.end_us != INT64_MAX &&
            c->shape.end_us + LIMIT_WINDOW_KEEP_S * US_PER_SECOND < wall_us && c->due_us < mono_us)
            return true;
        break;
    case COUNTER_ROLLING:
        counter_roll(c, mono_us);
        break;
    case COUNTER_RUNNING:
        break;
    }
    return c->spent == 0 && c->reserved == 0 && counter_mirror(c, mono_us) == 0;
}
