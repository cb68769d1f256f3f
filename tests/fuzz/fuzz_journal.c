/*
 * fuzz_journal.c - everything that is read back from the journal and the ledger, from
 * hostile bytes: segments, records, notes, rollups.
 *
 * A record that decodes must encode, and then decode to the same bytes again.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "metering/ledger/journal.h"
#include "metering/ledger/record_common.h"
#include "metering/ledger/segment.h"
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

/* The input as a segment whose writer is gone: reading ends, and moves only forwards. */
static void try_segment(const uint8_t *data, size_t size)
{
    struct segment s = {.fd = memfd_create("segment", MFD_CLOEXEC)};
    struct segment_window window;
    struct segment_entry entry;
    struct fail fail;
    uint64_t before = 0;

    if (s.fd < 0)
        return;
    if (write(s.fd, data, size) == (ssize_t)size) {
        segment_window_init(&window);
        for (;;) {
            enum rc rc = segment_next(&s, &window, &entry, &fail);

            if (rc == RC_BAD && segment_pass(&s, &window) == 0)
                break;
            if (rc != RC_OK && rc != RC_BAD)
                break;
            ASSERT(s.position > before && s.position <= size);
            before = s.position;
            if (rc == RC_OK)
                try_record(entry.payload);
        }
        segment_window_release(&window);
    }
    close(s.fd);
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
        try_segment(data + 1, size - 1);
        break;
    }
    return 0;
}
