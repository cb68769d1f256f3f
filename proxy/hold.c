#include "proxy/hold.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/held.h"
#include "base/xalloc.h"

void hold_reserve(struct hold *h, size_t n, uint64_t expected)
{
    size_t want;

    if (!h->data)
        *h = (struct hold){.start = HOLD_FRONT_BYTES};
    want = h->start + h->len + n;
    if (h->data && want <= h->cap)
        return;
    if (expected > 0 && h->start + expected >= want) {
        want = h->start + (size_t)expected;
    } else {
        size_t twice = h->cap * 2;

        want = twice > want + HOLD_STEP_BYTES ? twice : want + HOLD_STEP_BYTES;
    }
    h->data = xrealloc(h->data, want);
    held_add(want - h->cap);
    h->cap = want;
}

/* Makes at least `front` bytes free before the body. */
static void make_front(struct hold *h, size_t front)
{
    char *data;

    if (h->start >= front)
        return;
    data = xmalloc(front + h->len);
    memcpy(data + front, h->data + h->start, h->len);
    free(h->data);
    held_sub(h->cap);
    held_add(front + h->len);
    h->data = data;
    h->start = front;
    h->cap = front + h->len;
}

void hold_compose(struct hold *h, struct strv head, size_t at, size_t cut, struct strv text,
                  struct strv *out)
{
    char *to;

    ASSERT(at + cut <= h->len);
    if (!h->data)
        hold_reserve(h, 1, 0);
    make_front(h, head.n + text.n);
    /* What stands before the edit moves towards the front; what stands behind it stays. */
    to = h->data + h->start + cut - text.n - head.n;
    if (at > 0)
        memmove(to + head.n, h->data + h->start, at);
    if (text.n > 0)
        memcpy(to + head.n + at, text.p, text.n);
    memcpy(to, head.p, head.n);
    *out = strv_make(to, head.n + h->len - cut + text.n);
}

void hold_clear(struct hold *h)
{
    h->start = HOLD_FRONT_BYTES;
    h->len = 0;
    if (h->cap < HOLD_FRONT_BYTES) /* made for a head alone */
        hold_release(h);
}

void hold_release(struct hold *h)
{
    held_sub(h->cap);
    free(h->data);
    *h = (struct hold){.data = NULL};
}
