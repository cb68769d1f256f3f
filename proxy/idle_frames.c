/*
 * idle_frames.c - counting frames, and finding them in bytes.
 */
#include "proxy/idle_frames.h"

#include "base/datetime.h"

enum {
    HEAD_BYTES = 9,   /* RFC 9113 4.1 */
    LENGTH_BYTES = 3, /* its first ones */
};

void idle_frames_init(struct idle_frames *f, int64_t now_us)
{
    *f = (struct idle_frames){.since_us = now_us};
}

void idle_frames_count(struct idle_frames *f, size_t n)
{
    f->n += n;
}

void idle_frames_pay(struct idle_frames *f)
{
    size_t paid = IDLE_FRAMES_PAID + 1;

    f->n -= f->n < paid ? f->n : paid;
}

bool idle_frames_good(struct idle_frames *f, int64_t now_us)
{
    if (f->n < IDLE_FRAMES_MAX)
        return true;
    if (now_us - f->since_us < IDLE_FRAMES_SECONDS * US_PER_SECOND)
        return false;
    idle_frames_init(f, now_us);
    return true;
}

size_t h2_walk(struct h2_walk *w, struct strv bytes)
{
    size_t frames = 0;

    while (bytes.n > 0) {
        size_t n = w->skip < bytes.n ? w->skip : bytes.n;

        w->skip -= n;
        bytes = strv_skip(bytes, n);
        if (bytes.n == 0)
            break;
        if (w->head_n < LENGTH_BYTES)
            w->length = w->length << 8 | (unsigned char)bytes.p[0];
        bytes = strv_skip(bytes, 1);
        if (++w->head_n == HEAD_BYTES) {
            *w = (struct h2_walk){.skip = w->length};
            frames++;
        }
    }
    return frames;
}
