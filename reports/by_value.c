#include "reports/by_value.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"

enum { FIRST_SLOTS = 64, ALIGN_BYTES = 16 };

void by_value_init(struct by_value *t, size_t n_by, size_t object_bytes)
{
    *t = (struct by_value){.n_by = n_by, .object_bytes = object_bytes};
}

static uint64_t values_hash(const struct strv *value, size_t n)
{
    uint64_t hash = 0;

    for (size_t i = 0; i < n; i++)
        hash = hash * 31 + strv_hash(value[i]);
    return hash;
}

static bool values_equal(const struct strv *a, const struct strv *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!strv_eq(a[i], b[i]))
            return false;
    }
    return true;
}

static size_t slot_of(const struct by_value *t, uint64_t hash, const struct strv *value)
{
    size_t i = hash & (t->n_slots - 1);

    while (t->slot[i] &&
           !(t->slot[i]->hash == hash && values_equal(t->slot[i]->value, value, t->n_by)))
        i = (i + 1) & (t->n_slots - 1);
    return i;
}

static void grow(struct by_value *t)
{
    free(t->slot);
    t->n_slots = t->n_slots ? t->n_slots * 2 : FIRST_SLOTS;
    t->slot = xcalloc_table(t->n_slots, sizeof(struct valued *));
    t->at = xrealloc(t->at, t->n_slots * sizeof(struct valued *));
    for (size_t i = 0; i < t->n; i++)
        t->slot[slot_of(t, t->at[i]->hash, t->at[i]->value)] = t->at[i];
}

/* Zeroed, its values behind it, and their texts behind these. */
static struct valued *new_object(const struct by_value *t, const struct strv *value, uint64_t hash)
{
    size_t own = (t->object_bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES, texts = 0;
    struct valued *object;
    char *at;

    for (size_t k = 0; k < t->n_by; k++)
        texts += value[k].n;
    at = xcalloc(1, own + t->n_by * sizeof(struct strv) + texts);
    object = (struct valued *)(void *)at;
    object->hash = hash;
    object->value = (struct strv *)(void *)(at + own);
    at += own + t->n_by * sizeof(struct strv);
    for (size_t k = 0; k < t->n_by; k++) {
        if (value[k].n)
            memcpy(at, value[k].p, value[k].n);
        object->value[k] = strv_make(value[k].n ? at : "", value[k].n);
        at += value[k].n;
    }
    return object;
}

void *by_value_at(struct by_value *t, const struct strv *value)
{
    uint64_t hash = values_hash(value, t->n_by);
    struct valued *object;
    size_t i;

    if (t->n * 2 >= t->n_slots)
        grow(t);
    i = slot_of(t, hash, value);
    if (t->slot[i])
        return t->slot[i];
    if (t->n == BY_VALUE_MAX)
        return NULL;
    object = new_object(t, value, hash);
    t->slot[i] = object;
    t->at[t->n++] = object;
    return object;
}

void *by_value_find(const struct by_value *t, const struct strv *value)
{
    return t->n_slots ? t->slot[slot_of(t, values_hash(value, t->n_by), value)] : NULL;
}

void by_value_drop(struct by_value *t)
{
    free(t->at[--t->n]);
}

void by_value_release(struct by_value *t)
{
    while (t->n)
        by_value_drop(t);
    free(t->at);
    free(t->slot);
    *t = (struct by_value){0};
}
