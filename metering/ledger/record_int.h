/*
 * record_int.h - the stored form of a record, as record.c writes and record_decode.c reads it.
 */
#ifndef METERING_LEDGER_RECORD_INT_H
#define METERING_LEDGER_RECORD_INT_H

#include "metering/ledger/wire.h"

/*
 * Tags ascend; the last is END.  A field of its empty value is left out.  Once
 * shipped, a tag keeps its meaning; new ones take new numbers.
 */
enum record_tag {
    TAG_END = 0,
    TAG_ID = 1,
    TAG_START = 2,
    TAG_DURATION = 3, /* end - start */
    TAG_ATTEMPT = 4,
    TAG_DIM = 10, /* ..19: enum dimension */
    TAG_SOURCES = 20,
    TAG_FREE = 21, /* repeated */
    TAG_PROTOCOL = 30,
    TAG_ENDPOINT = 31,
    TAG_METHOD = 32,
    TAG_MODEL_REQUESTED = 33,
    TAG_MODEL = 34,
    TAG_SERVICE_TIER = 35,
    TAG_PROVIDER_REQUEST_ID = 36,
    TAG_STREAM = 37,
    TAG_STATUS = 38,
    TAG_OUTCOME = 39,
    TAG_USAGE = 40,
    TAG_USAGE_SOURCE = 41,
    TAG_PROVIDER_COST = 42, /* there means stated, also where it is 0 */
    TAG_PRICE_STATUS = 43,
    TAG_COST = 44,
    TAG_LIST_COST = 45,
    TAG_LINE = 46, /* repeated */
    TAG_PRICE_ID = 47,
    TAG_PRICE_CONFIDENCE = 48,
    TAG_BOOK = 49,
    TAG_PRICE_MATCH = 50,
    TAG_PRICE_FLAGS = 51,
    TAG_LATENCY = 60,
    TAG_FIRST_BYTE = 61, /* there means that one came, also at 0 */
    TAG_BYTES_IN = 62,
    TAG_BYTES_OUT = 63,
    TAG_NODE = 64,
    TAG_PROMPT = 65,
    TAG_PREFIX = 66,
    TAG_REPEATS = 67, /* bit 0: repeat, bit 1: cacheable */
    TAG_REGION = 70,
    TAG_DETAIL = 71, /* ..74: enum price_detail */
    TAG_PRICED_MODEL = 75,
    TAG_PARTS = 76,
    TAG_CORRECTS = 80,
    TAG_WAS_UNPRICED = 81,
    TAG_REASON = 82,
    TAG_CORRECTED_BY = 83,
    TAG_LIMIT, /* above all */
};

/* Tag and value of the next field; not at the end. False: there is none that is whole. */
static inline bool record_next_field(struct wire_in *in, uint64_t *tag, struct strv *value)
{
    const unsigned char *p = in->p;

    /* Nearly all: a byte each for tag and length. */
    if (in->end - p >= 2 && (p[0] | p[1]) < 0x80 && in->end - p - 2 >= p[1]) {
        *tag = p[0];
        *value = strv_make((const char *)p + 2, p[1]);
        in->p = p + 2 + p[1];
        return true;
    }
    *tag = wire_get_u64(in);
    *value = wire_get_bytes(in, wire_get_u64(in));
    return !in->bad;
}

enum { RECORD_STATUS_MAX = 999 };

#endif
