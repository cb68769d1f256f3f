/*
 * test_denied.c - refusals are added up, bounded, and none is lost on the way to the journal.
 */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "proxy/denied.h"

static char dir[64];

static struct journal *open_journal(void)
{
    struct fail fail;
    struct journal *j;

    snprintf(dir, sizeof(dir), "/tmp/tollgate-denied-XXXXXX");
    assert_non_null(mkdtemp(dir));
    j = journal_open(dir, 0, &fail);
    assert_non_null(j);
    return j;
}

/* What the journal holds: number of notes and the sum of their counts, for one code or all. */
static void read_back(const char *code, uint64_t *notes, uint64_t *sum)
{
    DIR *folder = opendir(dir);
    struct dirent *entry;

    *notes = *sum = 0;
    assert_non_null(folder);
    while ((entry = readdir(folder))) {
        char *path = xasprintf("%s/%s", dir, entry->d_name);
        static char bytes[4 << 20];
        int fd = open(path, O_RDONLY);
        ssize_t n = fd >= 0 ? read(fd, bytes, sizeof(bytes)) : -1;

        for (ssize_t at = 16; n > 16 && at + 9 <= n;) { /* see the format in journal.h */
            uint32_t length;
            struct denied_note note;

            memcpy(&length, bytes + at, sizeof(length));
            assert_int_equal(bytes[at + 8], JOURNAL_DENIED);
            assert_int_equal(denied_note_decode(strv_make(bytes + at + 9, length), &note), RC_OK);
            if (!code || strv_eq(note.code, strv_z(code))) {
                (*notes)++;
                *sum += note.count;
            }
            at += 9 + (ssize_t)length;
        }
        if (fd >= 0)
            close(fd);
        unlink(path);
        free(path);
    }
    closedir(folder);
    rmdir(dir);
}

static void finish(struct denied *d, struct journal *j)
{
    denied_flush(d, j, 2, true);
    journal_close(j);
    denied_free(d);
}

static void test_adds_up(void **state)
{
    struct subject search = {.dim = {[DIM_TEAM] = STRV("search"), [DIM_KEY] = STRV("k")}};
    struct subject billing = {.dim = {[DIM_TEAM] = STRV("billing"), [DIM_KEY] = STRV("k")}};
    struct journal *j = open_journal();
    struct denied *d = denied_new();
    uint64_t notes, sum;

    (void)state;
    for (int i = 0; i < 10; i++)
        denied_add(d, REFUSE_BUDGET_EXHAUSTED, &search, STRV("month"), 1);
    for (int i = 0; i < 3; i++)
        denied_add(d, REFUSE_BUDGET_EXHAUSTED, &billing, STRV("month"), 1);
    denied_add(d, REFUSE_RATE_LIMITED, &search, STRV("rpm"), 1);
    finish(d, j);
    read_back("budget_exhausted", &notes, &sum);
    assert_int_equal(notes, 2);
    assert_int_equal(sum, 13);
}

static void test_waits_a_minute(void **state)
{
    struct journal *j = open_journal();
    struct denied *d = denied_new();
    uint64_t notes, sum;

    (void)state;
    denied_add(d, REFUSE_INVALID_TAG, NULL, STRV_NONE, 1000);
    denied_flush(d, j, 1000 + DENIED_FLUSH_US - 1, false);
    assert_false(journal_is_dirty(j));
    denied_flush(d, j, 1000 + DENIED_FLUSH_US, false);
    assert_true(journal_is_dirty(j));
    finish(d, j);
    read_back(NULL, &notes, &sum);
    assert_int_equal(notes, 1);
    assert_int_equal(sum, 1);
}

/* A caller that makes every refusal differ costs no more than the bound, and every one counts. */
static void test_bound(void **state)
{
    enum { N = 4 * DENIED_ROWS_MAX };
    struct journal *j = open_journal();
    struct denied *d = denied_new();
    uint64_t notes, sum;

    (void)state;
    for (int i = 0; i < N; i++) {
        char feature[16];
        struct subject s = {.dim = {[DIM_KEY] = STRV("k")}};

        snprintf(feature, sizeof(feature), "f%d", i);
        s.dim[DIM_FEATURE] = strv_z(feature);
        denied_add(d, REFUSE_MODEL_NOT_ALLOWED, &s, STRV_NONE, 1);
    }
    finish(d, j);
    read_back(NULL, &notes, &sum);
    assert_true(notes <= DENIED_ROWS_MAX + REFUSAL_COUNT);
    assert_int_equal(sum, N);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adds_up),
        cmocka_unit_test(test_waits_a_minute),
        cmocka_unit_test(test_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
