#include "metering/ledger/dict.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/xalloc.h"

enum { DICT_FIRST_SLOTS = 64 };

enum { SECRET_WORDS = 4 };

__extension__ typedef unsigned __int128 product;

static uint64_t secret[SECRET_WORDS];
static pthread_once_t secret_once = PTHREAD_ONCE_INIT;

static void make_secret(void)
{
    digest_random((unsigned char *)secret, sizeof(secret));
}

static inline uint64_t fold(uint64_t a, uint64_t b)
{
    product p = (product)a * b;

    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static inline uint64_t word_at(const char *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
    return word;
}

static inline uint64_t half_at(const char *p)
{
    uint32_t half;

    memcpy(&half, p, sizeof(half));
    return half;
}

/* Sixteen bytes a step, the last ones perhaps twice; both factors hold a secret. Never 0. */
static uint64_t hash_of(struct strv key)
{
    uint64_t h = secret[0] ^ key.n, a = 0, b = 0;
    const char *p = key.p;
    size_t n = key.n;

    for (; n > 16; n -= 16, p += 16)
        h = fold(word_at(p) ^ secret[1], word_at(p + 8) ^ h);
    if (n >= 8) {
        a = word_at(p);
        b = word_at(p + n - 8);
    } else if (n >= 4) {
        a = half_at(p);
        b = half_at(p + n - 4);
    } else if (n > 0) {
        a = (uint64_t)(unsigned char)p[0] << 16 | (uint64_t)(unsigned char)p[n / 2] << 8 |
            (unsigned char)p[n - 1];
    }
    h = fold(a ^ secret[1], b ^ h);
    h = fold(h ^ secret[2], key.n ^ secret[3]);
    return h ? h : 1;
}

void dict_init(struct dict *d)
{
    pthread_once(&secret_once, make_secret);
    *d = (struct dict){0};
}

static inline bool is_near(const struct dict_slot *s)
{
    return s->key_n <= DICT_SHORT_BYTES;
}

static inline const char *key_of(const struct dict_slot *s)
{
    return is_near(s) ? s->key.near : s->key.far;
}

static void empty(struct dict_slot *s)
{
    if (s->hash && !is_near(s))
        free(s->key.far);
    *s = (struct dict_slot){0};
}

void dict_clear(struct dict *d)
{
    for (size_t i = 0; i < d->cap && d->n > 0; i++)
        empty(&d->slots[i]);
    d->n = d->far_bytes = 0;
}

size_t dict_bytes(const struct dict *d)
{
    return d->cap * sizeof(*d->slots) + d->far_bytes;
}

void dict_release(struct dict *d)
{
    dict_clear(d);
    free(d->slots);
    *d = (struct dict){0};
}

/* The slot of the key, or the free one where it would go. */
static size_t find(const struct dict *d, struct strv key, uint64_t hash)
{
    size_t mask = d->cap - 1, at = hash & mask;

    for (;; at = (at + 1) & mask) {
        const struct dict_slot *s = &d->slots[at];

        if (s->hash == 0 || (s->hash == hash && s->key_n == key.n &&
                             (key.n == 0 || memcmp(key_of(s), key.p, key.n) == 0)))
            return at;
    }
}

int64_t *dict_get(const struct dict *d, struct strv key)
{
    size_t at;

    if (d->cap == 0)
        return NULL;
    at = find(d, key, hash_of(key));
    return d->slots[at].hash ? &d->slots[at].value : NULL;
}

static void grow(struct dict *d)
{
    struct dict wide = {
        .cap = d->cap ? d->cap * 2 : DICT_FIRST_SLOTS, .n = d->n, .far_bytes = d->far_bytes};

    wide.slots = xcalloc_table(wide.cap, sizeof(*wide.slots));
    for (size_t i = 0; i < d->cap; i++) {
        const struct dict_slot *s = &d->slots[i];

        if (s->hash)
            wide.slots[find(&wide, strv_make(key_of(s), s->key_n), s->hash)] = *s;
    }
    free(d->slots);
    *d = wide;
}

/* The slot of the key; a new one's value is to be set. */
static struct dict_slot *slot_for(struct dict *d, struct strv key, bool *is_new)
{
    uint64_t hash = hash_of(key);
    struct dict_slot *s;

    if (d->n >= d->cap / 2)
        grow(d);
    s = &d->slots[find(d, key, hash)];
    *is_new = s->hash == 0;
    if (!*is_new)
        return s;
    s->hash = hash;
    s->key_n = key.n;
    if (!is_near(s)) {
        s->key.far = xmemdupz(key.p, key.n);
        d->far_bytes += key.n;
    } else if (key.n) {
        memcpy(s->key.near, key.p, key.n);
    }
    s->value = 0;
    d->n++;
    return s;
}

int64_t *dict_at(struct dict *d, struct strv key, bool *is_new)
{
    return &slot_for(d, key, is_new)->value;
}

void dict_put(struct dict *d, struct strv key, int64_t value)
{
    bool is_new;

    slot_for(d, key, &is_new)->value = value;
}

bool dict_add(struct dict *d, struct strv key, int64_t value)
{
    bool is_new;
    struct dict_slot *s = slot_for(d, key, &is_new);

    if (is_new)
        s->value = value;
    return is_new;
}

/* Closes the gap, so that no later key of the same run is cut off (Knuth 6.4, algorithm R). */
bool dict_take(struct dict *d, struct strv key, int64_t *value)
{
    size_t mask = d->cap - 1, gap, at;

    if (d->cap == 0)
        return false;
    gap = find(d, key, hash_of(key));
    if (d->slots[gap].hash == 0)
        return false;
    *value = d->slots[gap].value;
    if (!is_near(&d->slots[gap]))
        d->far_bytes -= d->slots[gap].key_n;
    empty(&d->slots[gap]);
    for (at = (gap + 1) & mask; d->slots[at].hash; at = (at + 1) & mask) {
        size_t home = d->slots[at].hash & mask;

        if (((at - home) & mask) < ((at - gap) & mask))
            continue;
        d->slots[gap] = d->slots[at];
        gap = at;
    }
    d->slots[gap] = (struct dict_slot){0};
    d->n--;
    return true;
}

bool dict_remove(struct dict *d, struct strv key)
{
    int64_t value;

    return dict_take(d, key, &value);
}

bool dict_next(const struct dict *d, size_t *at, struct strv *key, int64_t *value)
{
    while (*at < d->cap) {
        const struct dict_slot *s = &d->slots[(*at)++];

        if (s->hash) {
            *key = strv_make(key_of(s), s->key_n);
            *value = s->value;
            return true;
        }
    }
    return false;
}
