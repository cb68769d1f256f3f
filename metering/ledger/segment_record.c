#include "metering/ledger/segment_record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "metering/ledger/wire.h"

/* One that an entry has named. */
struct segment_common {
    uint64_t at; /* where its entry starts; 0: a free place */
    size_t n;
    char *bytes;
};

struct segment_commons {
    size_t n;
    struct segment_common places[SEGMENT_COMMONS];
};

void segment_commons_free(struct segment_commons *c)
{
    for (size_t i = 0; c && i < SEGMENT_COMMONS; i++)
        free(c->places[i].bytes);
    free(c);
}

/* Where it is, or belongs. */
static struct segment_common *place_of(struct segment_commons *c, uint64_t at)
{
    size_t i = (size_t)(at * UINT64_C(0x9e3779b97f4a7c15) >> 54);

    _Static_assert(SEGMENT_COMMONS == 1 << 10, "ten bits are a place");
    while (c->places[i].at != 0 && c->places[i].at != at)
        i = (i + 1) % SEGMENT_COMMONS;
    return &c->places[i];
}

static enum rc read_common(struct segment *s, uint64_t at, struct strv *out, struct fail *fail)
{
    struct segment_common *place;
    struct segment_commons *c = s->commons;
    char bytes[SEGMENT_COMMON_ENTRY_BYTES] UNCLEARED;
    enum rc rc = segment_read_common(s, at, bytes, out, fail);

    if (rc != RC_OK)
        return rc;
    if (!c || c->n == SEGMENT_COMMONS_FULL) {
        segment_commons_free(c);
        c = s->commons = xcalloc(1, sizeof(*c));
    }
    place = place_of(c, at);
    *place = (struct segment_common){at, out->n, xmemdupz(out->p, out->n)};
    c->n++;
    out->p = place->bytes;
    return RC_OK;
}

static enum rc common_at(struct segment *s, uint64_t at, struct strv *out, struct fail *fail)
{
    const struct segment_common *place = s->commons ? place_of(s->commons, at) : NULL;

    if (!place || place->at == 0)
        return read_common(s, at, out, fail);
    *out = strv_make(place->bytes, place->n);
    return RC_OK;
}

/* *distance: 0 where it is whole. */
static enum rc parts_of(const struct segment_entry *entry, struct stored_record *out,
                        uint64_t *distance)
{
    struct strv payload = entry->payload;
    struct wire_in in;

    *distance = 0;
    *out = (struct stored_record){.own = payload};
    if (payload.n == 0 || payload.p[0] != JOURNAL_FORM_PARTS)
        return RC_OK;
    in = wire_in(strv_skip(payload, 1));
    *distance = wire_get_u64(&in);
    out->id = wire_get_bytes(&in, UUID_BYTES);
    out->own = strv_make((const char *)in.p, (size_t)(in.end - in.p));
    /* Fields that follow are not the id again: one form for one record. */
    if (in.bad || *distance == 0 || out->own.n == 0)
        return RC_BAD;
    return RC_OK;
}

enum rc segment_record_own(const struct segment_entry *entry, struct stored_record *out)
{
    uint64_t distance;

    return parts_of(entry, out, &distance);
}

enum rc segment_record(struct segment *s, const struct segment_entry *entry,
                       struct stored_record *out, struct fail *fail)
{
    uint64_t distance;
    enum rc rc = parts_of(entry, out, &distance);

    if (rc != RC_OK || distance == 0)
        return rc;
    if (distance > JOURNAL_COMMON_REACH || distance > entry->at - JOURNAL_HEADER_BYTES)
        return RC_BAD;
    return common_at(s, entry->at - distance, &out->common, fail);
}
