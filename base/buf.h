/*
 * buf.h - a byte buffer with a hard maximum.
 *
 *        0 ......... head ............ tail ......... cap   (cap <= max)
 *          consumed        content         room
 *
 * Bytes are appended at the tail and consumed at the head.  Storage is taken on
 * the first append and given back by buf_release, so an idle buffer costs only
 * this struct.  Whatever would go over max is refused with RC_LIMIT and changes
 * nothing.  A pinned buffer neither moves nor shrinks (asserted), so that views
 * into it stay true.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/rc.h"
#include "base/strv.h"

struct buf {
    char *data;
    size_t head;
    size_t tail;
    size_t cap;
    size_t max;
    bool pinned;
};

/* An empty buffer that may hold max bytes. */
void buf_init(struct buf *b, size_t max);
/* Frees the storage; the buffer is as after buf_init. */
void buf_release(struct buf *b);

static inline size_t buf_len(const struct buf *b)
{
    return b->tail - b->head;
}

/* View of the content; valid until the next append, reserve or release. */
static inline struct strv buf_view(const struct buf *b)
{
    return b->data ? (struct strv){b->data + b->head, b->tail - b->head} : STRV_NONE;
}

/* Makes room for n more bytes at the tail, moving or growing the storage. */
enum rc buf_reserve(struct buf *b, size_t n) RC_MUST;
/* Room at the tail right now, and where it starts. */
static inline size_t buf_room(const struct buf *b)
{
    return b->cap - b->tail;
}
static inline char *buf_tail(struct buf *b)
{
    return b->data ? b->data + b->tail : NULL;
}
/* n bytes were written at buf_tail; n is at most buf_room. */
void buf_commit(struct buf *b, size_t n);
/* n bytes of the content are done with; n is at most buf_len. */
void buf_consume(struct buf *b, size_t n);

/* Where the storage must grow or move; not called from elsewhere. */
enum rc buf_append_grown(struct buf *b, const char *p, size_t n) RC_MUST;

/* n bytes more at the tail; p may be NULL where n is 0. */
static inline RC_MUST enum rc buf_append(struct buf *b, const char *p, size_t n)
{
    if (n == 0)
        return RC_OK;
    if (n > buf_room(b))
        return buf_append_grown(b, p, n);
    memcpy(b->data + b->tail, p, n);
    b->tail += n;
    return RC_OK;
}

static inline RC_MUST enum rc buf_append_strv(struct buf *b, struct strv s)
{
    return buf_append(b, s.p, s.n);
}

/* printf to the tail. */
enum rc buf_printf(struct buf *b, const char *format, ...)
    __attribute__((format(printf, 2, 3))) RC_MUST;

/*
 * The storage of an empty buffer becomes that of `to`, which has none: what many need for a moment
 * is taken once.  True where it has; false, and nothing was done, where `to` may not have so much.
 */
bool buf_lend(struct buf *from, struct buf *to);
/* Forget the content, keep the storage. */
void buf_clear(struct buf *b);
void buf_pin(struct buf *b);
void buf_unpin(struct buf *b);

#endif
