/*
 * held.h - how many bytes this thread holds for its peers.
 *
 * Buffers, held bodies, arenas and whoever else keeps storage whose size a peer drives add it
 * when they take it and subtract it when they give it back; a plain integer of the thread, so
 * that taking and giving cost one instruction.  Storage that passes from one thread to another
 * would leave both counts wrong: who does that restores the count around it (held_now, held_set).
 *
 * This counts; it bounds nothing.
 */
#ifndef BASE_HELD_H
#define BASE_HELD_H

#include <stddef.h>
#include <stdint.h>

extern _Thread_local int64_t held_bytes;

static inline void held_add(size_t n)
{
    held_bytes += (int64_t)n;
}

static inline void held_sub(size_t n)
{
    held_bytes -= (int64_t)n;
}

/* Below zero where more was given back here than was taken. */
static inline int64_t held_now(void)
{
    return held_bytes;
}

static inline void held_set(int64_t n)
{
    held_bytes = n;
}

#endif
