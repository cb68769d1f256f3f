/*
 * wire.h - numbers in the ledger's stored bytes: LEB128 varints, and stable numbers for
 * the enumerations of other floors, whose order may change.
 *
 * Readers take hostile bytes: the first fault sticks, what is read after it is zero.
 */
#ifndef METERING_LEDGER_WIRE_H
#define METERING_LEDGER_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "base/strv.h"
#include "metering/usage/usage.h"
#include "pricing/meter.h"
#include "pricing/money.h"

/* Longest varints of 64 and of 128 bits. */
enum { WIRE_U64_BYTES = 10, WIRE_MONEY_BYTES = 19 };
/* The most that a usage takes. */
enum { WIRE_USAGE_BYTES = (1 + USAGE_COUNT) * WIRE_U64_BYTES };

/* Amounts beyond +-10^37 atto-USD (10^19 dollars) are not believed. */
bool wire_money_is_sane(struct money m);

/* Write to p, all of which may be used that the longest would take; return the length.  Money
 * is cut to what is sane. */
size_t wire_make_u64(char *p, uint64_t v);
size_t wire_make_money(char *p, struct money m);

static inline uint64_t wire_zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0);
}
static inline int64_t wire_unzigzag(uint64_t v)
{
    return (int64_t)((v >> 1) ^ (v & 1 ? UINT64_MAX : 0));
}

struct wire_in {
    const unsigned char *p, *end;
    bool bad;
};

static inline struct wire_in wire_in(struct strv bytes)
{
    const unsigned char *p = (const unsigned char *)bytes.p;

    return (struct wire_in){p, bytes.n ? p + bytes.n : p, false};
}
uint64_t wire_get_long_u64(struct wire_in *in);
/* Shortest forms only. */
static inline uint64_t wire_get_u64(struct wire_in *in)
{
    return in->p < in->end && *in->p < 0x80 ? *in->p++ : wire_get_long_u64(in);
}
struct money wire_get_money(struct wire_in *in);
static inline struct strv wire_get_bytes(struct wire_in *in, uint64_t n)
{
    struct strv bytes = strv_make((const char *)in->p, (size_t)n);

    if (n > (uint64_t)(in->end - in->p)) {
        in->bad = true;
        in->p = in->end;
        return STRV_NONE;
    }
    in->p += n;
    return bytes;
}
static inline bool wire_at_end(const struct wire_in *in)
{
    return in->bad || in->p == in->end;
}

/* A usage that has some count: the mask of them, then the counts in order of their stable
 * numbers.  Those that only a newer version knows are passed over. */
size_t wire_make_usage(char *p, const struct usage *u);
void wire_get_usage(struct wire_in *in, struct usage *u);

/* Stable numbers, 1..127; one that has none yet gets 128 + its place (a test forbids that). */
unsigned wire_meter(enum meter m);
bool wire_meter_parse(uint64_t number, enum meter *m);
/* 0..31 (unnumbered: 32 + place): a bit of the stored mask. */
unsigned wire_usage(enum usage_field f);
bool wire_usage_parse(uint64_t number, enum usage_field *f);

#endif
