/*
 * test_journal.c - the writer: segments, rotation, a disk that is full, syncing.
 */
#include "tests/unit/ledger/kit.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "metering/ledger/segment.h"

static void put_records(struct journal *j, uint64_t *seed, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct record r;

        kit_record(seed, KIT_START_US, US_PER_DAY, &r);
        assert_int_equal(journal_end(j, &r), RC_OK);
    }
}

/* Entries that a reader finds in the first segment of the folder. */
static unsigned count_entries(const struct kit_dir *d, enum rc *last)
{
    int dir = open(d->journal, O_RDONLY | O_DIRECTORY);
    struct segment_window window;
    struct segment_entry entry;
    char path[512];
    struct segment *s;
    struct fail fail;
    unsigned n = 0;

    assert_true(kit_segments(d, path, sizeof(path)) > 0);
    s = segment_open(dir, strrchr(path, '/') + 1, &fail);
    assert_non_null(s);
    segment_window_init(&window);
    while ((*last = segment_next(s, &window, &entry, &fail)) == RC_OK)
        n++;
    segment_window_release(&window);
    segment_close(s);
    close(dir);
    return n;
}

static void collects_and_writes_once(void **state)
{
    struct kit_dir d;
    struct journal *j;
    uint64_t seed = 1;
    enum rc last;

    (void)state;
    kit_dir_make(&d);
    j = kit_journal(&d, 1);
    assert_false(journal_is_dirty(j));
    assert_int_equal(journal_written(j), JOURNAL_HEADER_BYTES);
    put_records(j, &seed, 100);
    assert_true(journal_is_dirty(j));
    assert_int_equal(count_entries(&d, &last), 0);
    kit_flush(j);
    assert_false(journal_is_dirty(j));
    assert_int_equal(count_entries(&d, &last), 100);
    assert_int_equal(last, RC_EOF);
    assert_true(journal_is_writable(j, clock_mono_us()));
    journal_close(j);
    kit_dir_remove(&d);
}

static void folder_and_segments_are_private(void **state)
{
    struct kit_dir d;
    struct journal *j;
    struct stat st;
    char path[512];

    (void)state;
    kit_dir_make(&d);
    j = kit_journal(&d, 1);
    assert_int_equal(stat(d.journal, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(kit_segments(&d, path, sizeof(path)), 1);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    journal_close(j);
    kit_dir_remove(&d);
}

static void lock_tells_whether_the_writer_lives(void **state)
{
    struct kit_dir d;
    struct journal *j;
    char path[512];
    int fd;

    (void)state;
    kit_dir_make(&d);
    j = kit_journal(&d, 1);
    kit_segments(&d, path, sizeof(path));
    fd = open(path, O_RDONLY);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), -1);
    journal_close(j);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    close(fd);
    kit_dir_remove(&d);
}

static void rotates(void **state)
{
    struct kit_dir d;
    struct journal *j;
    uint64_t seed = 2;

    (void)state;
    kit_dir_make(&d);
    j = kit_journal(&d, 1);
    while (kit_segments(&d, NULL, 0) == 1) {
        assert_true(journal_written(j) < (uint64_t)JOURNAL_SEGMENT_BYTES + (8 << 20));
        for (int i = 0; i < 500; i++) {
            struct record r;

            kit_fat_traffic(&seed, &r);
            assert_int_equal(journal_end(j, &r), RC_OK);
        }
        kit_flush(j);
    }
    assert_true(journal_written(j) >= (uint64_t)JOURNAL_SEGMENT_BYTES);
    put_records(j, &seed, 1);
    kit_flush(j);
    journal_close(j);
    kit_dir_remove(&d);
}

static void set_file_limit(rlim_t bytes)
{
    struct rlimit limit;

    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A file that may not grow stands for a disk that is full: writes are cut short, then fail. */
static void full_disk_keeps_the_bytes(void **state)
{
    struct kit_dir d;
    struct journal *j;
    struct fail fail;
    uint64_t seed = 3, held;
    enum rc last;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    kit_dir_make(&d);
    j = kit_journal(&d, 1);
    put_records(j, &seed, 10);
    kit_flush(j);
    held = journal_written(j);
    set_file_limit(held + 100); /* in the middle of an entry */
    put_records(j, &seed, 10);
    assert_int_equal(journal_flush(j, &fail), RC_IO);
    assert_int_equal(fail.sys, EFBIG);
    assert_false(journal_is_writable(j, clock_mono_us()));
    assert_true(journal_is_dirty(j));
    assert_int_equal(journal_written(j), held + 100);
    assert_int_equal(count_entries(&d, &last), 10);
    assert_int_equal(last, RC_EOF); /* part of an entry: no more than not yet there */
    put_records(j, &seed, 10);
    assert_int_equal(journal_flush(j, &fail), RC_IO);
    set_file_limit(RLIM_INFINITY);
    while (journal_flush(j, &fail) != RC_OK)
        usleep(JOURNAL_RETRY_MS * 1000);
    assert_true(journal_is_writable(j, clock_mono_us()));
    assert_int_equal(count_entries(&d, &last), 30);
    assert_int_equal(last, RC_EOF);
    journal_close(j);
    kit_dir_remove(&d);
}

static void memory_is_bounded_while_the_disk_is_full(void **state)
{
    struct kit_dir d;
    struct journal *j;
    struct fail fail;
    struct record r;
    uint64_t seed = 4;
    unsigned n = 0;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    kit_dir_make(&d);
    j = kit_journal(&d, 1);
    set_file_limit(JOURNAL_HEADER_BYTES);
    kit_record(&seed, KIT_START_US, US_PER_DAY, &r);
    while (journal_end(j, &r) == RC_OK)
        assert_true(++n < 10000000);
    assert_int_equal(journal_end(j, &r), RC_LIMIT);
    assert_int_equal(journal_flush(j, &fail), RC_IO);
    set_file_limit(RLIM_INFINITY);
    while (journal_flush(j, &fail) != RC_OK)
        usleep(JOURNAL_RETRY_MS * 1000);
    assert_true(journal_written(j) <=
                JOURNAL_HEADER_BYTES * 2 + (uint64_t)JOURNAL_PENDING_BYTES);
    assert_int_equal(journal_end(j, &r), RC_OK);
    journal_close(j);
    kit_dir_remove(&d);
}

static void too_large_a_note_is_refused(void **state)
{
    static char text[JOURNAL_ENTRY_MAX_BYTES + 1];
    struct task_note note = {.at_us = KIT_START_US, .task = {text, sizeof(text)}};
    struct kit_dir d;
    struct journal *j;

    (void)state;
    kit_dir_make(&d);
    j = kit_journal(&d, 1);
    assert_int_equal(journal_task(j, &note), RC_LIMIT);
    assert_false(journal_is_dirty(j));
    journal_close(j);
    kit_dir_remove(&d);
}

static void always_tells_when_it_is_durable(void **state)
{
    struct ledger_options options = {.sync = SYNC_ALWAYS, .sync_interval_ms = 60000};
    struct pollfd poll_fd = {.events = POLLIN};
    struct kit_dir d;
    struct journal *j;
    struct ledger *l;
    struct fail fail;
    uint64_t seed = 5;

    (void)state;
    kit_dir_make(&d);
    options.path = d.db;
    options.journal_dir = d.journal;
    l = ledger_start(&options, NULL, NULL, &fail);
    assert_non_null(l);
    j = kit_journal(&d, 1);
    ledger_attach(l, j);
    poll_fd.fd = journal_sync_event(j);
    for (int i = 0; i < 5; i++) {
        uint64_t note, count;

        put_records(j, &seed, 3);
        kit_flush(j);
        note = journal_written(j);
        ledger_sync_soon(l);
        while (journal_synced(j) < note) {
            assert_int_equal(poll(&poll_fd, 1, 10000), 1);
            assert_int_equal(read(poll_fd.fd, &count, sizeof(count)), sizeof(count));
        }
    }
    ledger_detach(l, j);
    journal_close(j);
    ledger_stop(l);
    kit_dir_remove(&d);
}

static void notes_round_trip(void **state)
{
    struct task_note task = {KIT_START_US, STRV("search"), STRV("t-1"), STRV("k"),
                             TASK_COMPLETED};
    struct denied_note denied = {KIT_START_US,  STRV("budget_exhausted"),
                                 STRV("k"),     STRV("search"),
                                 STRV("f"),     STRV("prod"),
                                 STRV("month"), 12345};
    struct task_note task_back;
    struct denied_note denied_back;
    struct crossing_note crossing = {.at_us = KIT_START_US + 1,
                                     .limit = STRV("month"),
                                     .scope = STRV("team=search"),
                                     .start_us = INT64_MIN,
                                     .end_us = INT64_MAX,
                                     .percent = 80,
                                     .amount = INT64_MAX,
                                     .spent = 7,
                                     .teller = STRV("ab12")};
    struct crossing_note crossing_back;
    struct buf out;

    (void)state;
    buf_init(&out, 4096);
    assert_int_equal(task_note_encode(&task, &out), RC_OK);
    assert_int_equal(task_note_decode(buf_view(&out), &task_back), RC_OK);
    assert_int_equal(task_back.at_us, task.at_us);
    assert_int_equal(task_back.outcome, TASK_COMPLETED);
    assert_true(strv_eq(task_back.task, task.task) && strv_eq(task_back.key, task.key));
    for (size_t n = 0; n < buf_len(&out); n++)
        assert_int_equal(task_note_decode(strv_head(buf_view(&out), n), &task_back), RC_BAD);
    buf_clear(&out);
    assert_int_equal(denied_note_encode(&denied, &out), RC_OK);
    assert_int_equal(denied_note_decode(buf_view(&out), &denied_back), RC_OK);
    assert_int_equal(denied_back.count, 12345);
    assert_true(strv_eq(denied_back.limit, denied.limit));
    for (size_t n = 0; n < buf_len(&out); n++)
        assert_int_equal(denied_note_decode(strv_head(buf_view(&out), n), &denied_back),
                         RC_BAD);
    buf_clear(&out);
    assert_int_equal(crossing_note_encode(&crossing, &out), RC_OK);
    assert_int_equal(crossing_note_decode(buf_view(&out), &crossing_back), RC_OK);
    assert_true(crossing_back.start_us == INT64_MIN && crossing_back.end_us == INT64_MAX);
    assert_true(crossing_back.amount == INT64_MAX && crossing_back.spent == 7);
    assert_int_equal(crossing_back.percent, 80);
    assert_true(crossing_back.at_us == crossing.at_us);
    assert_true(strv_eq(crossing_back.scope, crossing.scope) &&
                strv_eq(crossing_back.teller, crossing.teller));
    for (size_t n = 0; n < buf_len(&out); n++)
        assert_int_equal(crossing_note_decode(strv_head(buf_view(&out), n), &crossing_back),
                         RC_BAD);
    buf_clear(&out);
    crossing.amount = (uint64_t)INT64_MAX + 1; /* no column holds it */
    assert_int_equal(crossing_note_encode(&crossing, &out), RC_OK);
    assert_int_equal(crossing_note_decode(buf_view(&out), &crossing_back), RC_BAD);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(collects_and_writes_once),
        cmocka_unit_test(folder_and_segments_are_private),
        cmocka_unit_test(lock_tells_whether_the_writer_lives),
        cmocka_unit_test(rotates),
        cmocka_unit_test(full_disk_keeps_the_bytes),
        cmocka_unit_test(memory_is_bounded_while_the_disk_is_full),
        cmocka_unit_test(too_large_a_note_is_refused),
        cmocka_unit_test(always_tells_when_it_is_durable),
        cmocka_unit_test(notes_round_trip),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
