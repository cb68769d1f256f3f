/*
 * What a book says more than once stands in it once: texts (names of regions, sources, dates),
 * and the rates of a card, which other providers of a model, and its tiers, have too.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "pricing/book_int.h"

enum {
    SLOTS_FIRST = 1024,     /* a power of two */
    TEXTS_ROOM_BYTES = 4096, /* texts side by side */
    TEXT_SHORT_BYTES = 512, /* a longer one has an allocation of its own */
};

/* Places of an open table, half of them free at least. */
static bool has_room(size_t n, size_t n_slots)
{
    return n * 2 < n_slots;
}

/* ---- texts ------------------------------------------------------------------ */

static struct strv *text_slot(struct strv *slots, size_t n_slots, struct strv s)
{
    size_t i = (size_t)strv_hash(s) & (n_slots - 1);

    while (slots[i].p && !strv_eq(slots[i], s))
        i = (i + 1) & (n_slots - 1);
    return &slots[i];
}

static void more_texts(struct build_share *share)
{
    size_t n_slots = share->n_text_slots ? share->n_text_slots * 2 : SLOTS_FIRST;
    struct strv *slots = xcalloc(n_slots, sizeof(slots[0]));

    for (size_t i = 0; i < share->n_text_slots; i++) {
        if (share->texts[i].p)
            *text_slot(slots, n_slots, share->texts[i]) = share->texts[i];
    }
    free(share->texts);
    share->texts = slots;
    share->n_text_slots = n_slots;
}

/* n bytes for a text, not aligned; NULL where the arena is full. */
static char *text_room(struct build *b, size_t n)
{
    struct build_share *share = &b->share;
    char *p;

    if (n > TEXT_SHORT_BYTES)
        return build_alloc(b, n);
    if (n > share->left) {
        share->room = build_alloc(b, TEXTS_ROOM_BYTES);
        share->left = share->room ? TEXTS_ROOM_BYTES : 0;
        if (!share->room)
            return NULL;
    }
    p = share->room;
    share->room += n;
    share->left -= n;
    return p;
}

struct strv build_strv(struct build *b, struct strv s)
{
    struct build_share *share = &b->share;
    struct strv *slot;
    char *p;

    if (s.n == 0)
        return STRV_NONE;
    if (!has_room(share->n_texts, share->n_text_slots))
        more_texts(share);
    slot = text_slot(share->texts, share->n_text_slots, s);
    if (slot->p)
        return *slot;
    p = text_room(b, s.n + 1);
    if (!p)
        return STRV_NONE;
    *strv_copy(p, s) = '\0';
    share->n_texts++;
    return *slot = strv_make(p, s.n);
}

/* ---- rates ------------------------------------------------------------------ */

static struct strv bytes_of(const money_int *rates, size_t n)
{
    return strv_make((const char *)rates, n * sizeof(rates[0]));
}

static struct rate_run *run_slot(struct rate_run *slots, size_t n_slots, const money_int *pool,
                                 struct strv bytes)
{
    size_t i = (size_t)strv_hash(bytes) & (n_slots - 1);

    while (slots[i].n > 0 && !strv_eq(bytes_of(pool + slots[i].at, slots[i].n), bytes))
        i = (i + 1) & (n_slots - 1);
    return &slots[i];
}

static void more_runs(struct build_share *share, const money_int *pool)
{
    size_t n_slots = share->n_run_slots ? share->n_run_slots * 2 : SLOTS_FIRST;
    struct rate_run *slots = xcalloc(n_slots, sizeof(slots[0]));

    for (size_t i = 0; i < share->n_run_slots; i++) {
        const struct rate_run *run = &share->runs[i];

        if (run->n > 0)
            *run_slot(slots, n_slots, pool, bytes_of(pool + run->at, run->n)) = *run;
    }
    free(share->runs);
    share->runs = slots;
    share->n_run_slots = n_slots;
}

uint32_t build_rates(struct build *b, const money_int *rates, size_t n)
{
    struct build_share *share = &b->share;
    struct book *book = b->book;
    struct rate_run *run;

    if (n == 0)
        return 0;
    if (!has_room(share->n_runs, share->n_run_slots))
        more_runs(share, book->pool);
    run = run_slot(share->runs, share->n_run_slots, book->pool, bytes_of(rates, n));
    if (run->n > 0)
        return run->at;
    *run = (struct rate_run){.at = (uint32_t)book->n_pool, .n = (uint32_t)n};
    share->n_runs++;
    for (size_t i = 0; i < n; i++) {
        book->pool = build_grow(book->pool, &book->n_pool, &share->pool_room, sizeof(rates[0]));
        book->pool[book->n_pool - 1] = rates[i];
    }
    return run->at;
}

void build_share_release(struct build *b)
{
    free(b->share.texts);
    free(b->share.runs);
    b->share = (struct build_share){.texts = NULL};
}
