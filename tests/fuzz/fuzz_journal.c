/*
 * fuzz_journal.c - everything that is read back from the journal and the ledger, from
 * hostile bytes: segments, records, notes, rollups.
 *
 * A record that decodes must encode, and then decode to the same bytes again.
 */
#include <endian.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "metering/ledger/journal.h"
#include "metering/ledger/record_common.h"
#include "metering/ledger/segment_record.h"
#include "metering/ledger/sums.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT_BYTES = 1 << 20 };

/* What decodes is split, and comes back to the byte; as parts the bytes are whatever they are. */
static void try_parts(struct strv bytes)
{
    struct buf common, own, joined;
    struct stored_record s;
    struct record r;

    buf_init(&common, OUT_BYTES);
    buf_init(&own, OUT_BYTES);
    buf_init(&joined, OUT_BYTES);
    ASSERT(record_split(bytes, &common, &own, &s) == RC_OK);
    ASSERT(record_join(&s, &joined) == RC_OK);
    ASSERT(strv_eq(buf_view(&joined), bytes));
    ASSERT(record_decode_stored(&s, &r) == RC_OK);
    s.common = bytes;
    (void)record_decode_stored(&s, &r);
    buf_release(&common);
    buf_release(&own);
    buf_release(&joined);
}

/* Encoded in parts it is the record, to the byte. */
static void try_encoded_parts(const struct record *r, struct strv whole)
{
    struct buf common, own, joined;
    struct stored_record s;

    buf_init(&common, OUT_BYTES);
    buf_init(&own, OUT_BYTES);
    buf_init(&joined, OUT_BYTES);
    ASSERT(record_encode_common(r, &common) == RC_OK);
    ASSERT(record_encode_own(r, &own) == RC_OK);
    s = (struct stored_record){strv_make((const char *)r->id.b, UUID_BYTES), buf_view(&common),
                               buf_view(&own)};
    ASSERT(record_join(&s, &joined) == RC_OK);
    ASSERT(strv_eq(buf_view(&joined), whole));
    buf_release(&common);
    buf_release(&own);
    buf_release(&joined);
}

static void try_record(struct strv bytes)
{
    struct record a, b;
    struct buf first, second, text;

    if (record_decode(bytes, &a) != RC_OK)
        return;
    buf_init(&first, OUT_BYTES);
    buf_init(&second, OUT_BYTES);
    buf_init(&text, OUT_BYTES);
    ASSERT(record_encode(&a, &first) == RC_OK);
    ASSERT(record_decode(buf_view(&first), &b) == RC_OK);
    ASSERT(record_encode(&b, &second) == RC_OK);
    ASSERT(strv_eq(buf_view(&first), buf_view(&second)));
    try_parts(bytes);
    try_encoded_parts(&a, buf_view(&first));
    ASSERT(record_json(&a, &text) == RC_OK);
    ASSERT(record_csv(&a, &text) == RC_OK);
    buf_release(&first);
    buf_release(&second);
    buf_release(&text);
}

static void try_notes(struct strv bytes)
{
    struct task_note task;
    struct denied_note denied;
    struct buf out;

    buf_init(&out, OUT_BYTES);
    if (task_note_decode(bytes, &task) == RC_OK) {
        ASSERT(task_note_encode(&task, &out) == RC_OK);
        ASSERT(strv_eq(buf_view(&out), bytes));
    }
    buf_clear(&out);
    if (denied_note_decode(bytes, &denied) == RC_OK) {
        ASSERT(denied_note_encode(&denied, &out) == RC_OK);
        ASSERT(strv_eq(buf_view(&out), bytes));
    }
    buf_release(&out);
}

static void try_rollup(struct strv bytes)
{
    static struct cost_histogram histogram;
    static struct ledger_band bands[LEDGER_BANDS];
    static struct ledger_meter_sum meters[METER_COUNT];
    struct rollup r = {{0}, &histogram, bands, meters};
    struct buf out;

    memset(&histogram, 0, sizeof(histogram));
    memset(bands, 0, sizeof(bands));
    memset(meters, 0, sizeof(meters));
    buf_init(&out, OUT_BYTES);
    if (rollup_add_encoded(&r, bytes) == RC_OK)
        ASSERT(rollup_encode(&r, &out) == RC_OK);
    buf_release(&out);
}

/* Whole, or in parts of which the file says one: what decodes is joined to what decodes. */
static void try_entry(struct segment *s, const struct segment_entry *entry)
{
    struct stored_record stored, own;
    struct record r;
    struct buf joined;
    struct fail fail;
    enum rc rc = segment_record(s, entry, &stored, &fail);

    ASSERT(rc == RC_OK || rc == RC_BAD);
    if (segment_record_own(entry, &own) == RC_OK)
        (void)record_decode_id_own(&own, &r);
    else
        ASSERT(rc == RC_BAD);
    if (rc != RC_OK || record_decode_stored(&stored, &r) != RC_OK)
        return;
    buf_init(&joined, OUT_BYTES);
    ASSERT(record_join(&stored, &joined) == RC_OK);
    try_record(buf_view(&joined));
    buf_release(&joined);
}

/* The input as a segment whose writer is gone: reading ends, and moves only forwards. */
static void try_segment(const uint8_t *data, size_t size)
{
    struct segment s = {.fd = memfd_create("segment", MFD_CLOEXEC)};
    struct segment_window window;
    struct segment_entry entry;
    struct fail fail;
    uint64_t before = 0, passed;

    if (s.fd < 0)
        return;
    if (write(s.fd, data, size) == (ssize_t)size) {
        segment_window_init(&window);
        for (;;) {
            enum rc rc = segment_next(&s, &window, &entry, &fail);

            if (rc == RC_BAD &&
                (segment_pass(&s, &window, &passed, &fail) != RC_OK || passed == 0))
                break;
            if (rc != RC_OK && rc != RC_BAD)
                break;
            ASSERT(s.position > before && s.position <= size);
            before = s.position;
            if (rc == RC_OK)
                try_entry(&s, &entry);
        }
        segment_window_release(&window);
    }
    segment_commons_free(s.commons);
    close(s.fd);
}

/* The input as entries that check: kind, length in two bytes, payload. */
static void try_entries(const uint8_t *data, size_t size)
{
    static const char header[JOURNAL_HEADER_BYTES] = "TGJ1\1";
    struct buf segment;

    buf_init(&segment, OUT_BYTES);
    ASSERT(buf_append(&segment, header, sizeof(header)) == RC_OK);
    while (size >= 3) {
        size_t n = data[1] | (size_t)data[2] << 8, at = buf_len(&segment);
        char head[JOURNAL_ENTRY_OVERHEAD] = {0};
        uint32_t crc;

        n = n < size - 3 ? n : size - 3;
        head[0] = (char)n;
        head[1] = (char)(n >> 8);
        head[8] = (char)data[0];
        ASSERT(buf_append(&segment, head, sizeof(head)) == RC_OK);
        ASSERT(buf_append(&segment, (const char *)data + 3, n) == RC_OK);
        crc = htole32(crc32c(0, segment.data + segment.head + at + 8, n + 1));
        memcpy(segment.data + segment.head + at + 4, &crc, sizeof(crc));
        data += 3 + n;
        size -= 3 + n;
    }
    try_segment((const uint8_t *)buf_view(&segment).p, buf_len(&segment));
    buf_release(&segment);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct strv bytes;

    if (size == 0 || size > JOURNAL_ENTRY_MAX_BYTES)
        return 0;
    bytes = strv_make((const char *)data + 1, size - 1);
    switch (data[0] % 4) {
    case 0:
        try_record(bytes);
        break;
    case 1:
        try_notes(bytes);
        break;
    case 2:
        try_rollup(bytes);
        break;
    case 3:
        if (data[0] & 4)
            try_entries(data + 1, size - 1);
        else
            try_segment(data + 1, size - 1);
        break;
    }
    return 0;
}
