#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/held.h"
#include "base/xalloc.h"

enum { BUF_FIRST_BYTES = 512 };

static void check(const struct buf *b)
{
    ASSERT(b->head <= b->tail && b->tail <= b->cap && b->cap <= b->max);
}

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_release(struct buf *b)
{
    ASSERT(!b->pinned);
    held_sub(b->cap);
    free(b->data);
    buf_init(b, b->max);
}

enum rc buf_reserve(struct buf *b, size_t n)
{
    size_t len = buf_len(b);
    size_t cap;

    check(b);
    if (n <= b->cap - b->tail)
        return RC_OK;
    if (n > b->max - len)
        return RC_LIMIT;
    if (b->pinned)
        return RC_STATE;
    if (b->head > 0 && (len + n <= b->cap / 2 || b->cap == b->max)) {
        memmove(b->data, b->data + b->head, len);
        b->head = 0;
        b->tail = len;
        if (n <= b->cap - b->tail)
            return RC_OK;
    }
    cap = b->cap ? b->cap : BUF_FIRST_BYTES;
    while (cap < len + n)
        cap *= 2;
    if (cap > b->max)
        cap = b->max;
    if (b->head > 0) {
        char *data = xmalloc(cap);

        memcpy(data, b->data + b->head, len);
        free(b->data);
        b->data = data;
        b->head = 0;
        b->tail = len;
    } else {
        b->data = xrealloc(b->data, cap);
    }
    held_add(cap - b->cap);
    b->cap = cap;
    check(b);
    return RC_OK;
}

void buf_commit(struct buf *b, size_t n)
{
    ASSERT(n <= b->cap - b->tail);
    b->tail += n;
}

void buf_consume(struct buf *b, size_t n)
{
    ASSERT(n <= buf_len(b));
    b->head += n;
    if (b->head == b->tail && !b->pinned)
        b->head = b->tail = 0;
}

enum rc buf_append_grown(struct buf *b, const char *p, size_t n)
{
    enum rc rc = buf_reserve(b, n);

    if (rc != RC_OK)
        return rc;
    memcpy(b->data + b->tail, p, n);
    b->tail += n;
    return RC_OK;
}

enum rc buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    int n;
    enum rc rc;

    va_start(args, format);
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    ASSERT(n >= 0);
    rc = buf_reserve(b, (size_t)n + 1); /* vsnprintf wants room for its terminator */
    if (rc != RC_OK)
        return rc;
    va_start(args, format);
    vsnprintf(b->data + b->tail, (size_t)n + 1, format, args);
    va_end(args);
    b->tail += (size_t)n;
    return RC_OK;
}

bool buf_lend(struct buf *from, struct buf *to)
{
    ASSERT(!from->pinned && from->head == from->tail && to->cap == 0);
    if (from->cap > to->max)
        return false;
    to->data = from->data;
    to->cap = from->cap;
    buf_init(from, from->max);
    return true;
}

void buf_clear(struct buf *b)
{
    ASSERT(!b->pinned);
    b->head = b->tail = 0;
}

void buf_pin(struct buf *b)
{
    b->pinned = true;
}

void buf_unpin(struct buf *b)
{
    b->pinned = false;
    if (b->head == b->tail)
        b->head = b->tail = 0;
}
