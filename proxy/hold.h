/*
 * hold.h - a request body kept whole, with room in front for the head that will precede it.
 *
 *        0 ..... start ............ start + len ....... cap
 *         front       body
 *
 * So that head and body leave in one write without being copied together.
 */
#ifndef PROXY_HOLD_H
#define PROXY_HOLD_H

#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/strv.h"

enum { HOLD_FRONT_BYTES = 4096, HOLD_STEP_BYTES = 16 << 10 };

struct hold {
    char *data;
    size_t start, len, cap;
};

static inline struct strv hold_view(const struct hold *h)
{
    return h->data ? strv_make(h->data + h->start, h->len) : STRV_NONE;
}

/* Room for n more bytes; doubles. expected: the whole length where known, else 0. */
void hold_reserve(struct hold *h, size_t n, uint64_t expected);
static inline char *hold_tail(struct hold *h)
{
    return h->data + h->start + h->len;
}
static inline size_t hold_room(const struct hold *h)
{
    return h->cap - h->start - h->len;
}
/*
 * Replaces [at, at + cut) of the body by text and puts head before it all; the view
 * of head + edited body is left in *out.
 */
void hold_compose(struct hold *h, struct strv head, size_t at, size_t cut, struct strv text,
                  struct strv *out);
/* Forgets the body, keeps the storage. */
void hold_clear(struct hold *h);
void hold_release(struct hold *h);

#endif
