/*
 * test_journal_common.c - entries that say once what follows them all: what is read back is
 * what was written, to the byte, whatever is cut, damaged, rotated or made up.
 */
#include "tests/unit/ledger/kit.h"

#include <signal.h>
#include <sys/resource.h>

#include "base/crc32c.h"
#include "metering/ledger/journal_common.h"
#include "metering/ledger/segment_record.h"
#include "metering/ledger/wire.h"

enum { MOST = 20000, ENCODED_BYTES = 64 << 10 };

/* What was journalled, in order: a kind, and the record as bytes. */
struct written {
    unsigned n;
    struct {
        enum journal_kind kind;
        size_t n;
        char *bytes;
    } at[MOST];
};

static void written_free(struct written *w)
{
    for (unsigned i = 0; i < w->n; i++)
        free(w->at[i].bytes);
    free(w);
}

static void put(struct journal *j, struct written *w, enum journal_kind kind,
                const struct record *r)
{
    struct buf bytes;

    buf_init(&bytes, ENCODED_BYTES);
    assert_int_equal(record_encode(r, &bytes), RC_OK);
    assert_int_equal(kind == JOURNAL_BEGIN ? journal_begin(j, r) : journal_end(j, r), RC_OK);
    assert_true(w->n < MOST);
    w->at[w->n].kind = kind;
    w->at[w->n].n = buf_len(&bytes);
    w->at[w->n++].bytes = xmemdupz(buf_view(&bytes).p, buf_len(&bytes));
    buf_release(&bytes);
}

static void put_traffic(struct journal *j, struct written *w, uint64_t *seed, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct record r;

        if (i % 50 == 49)
            kit_fat_traffic(seed, &r);
        else
            kit_traffic(seed, &r);
        put(j, w, i % 2 ? JOURNAL_END : JOURNAL_BEGIN, &r);
    }
    kit_flush(j);
}

/* One kind of record, with ids and times of their own. */
static void put_alike(struct journal *j, struct written *w, uint64_t *seed, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint64_t kind = 7;
        struct record r;

        kit_record(&kind, KIT_START_US, 1, &r);
        kit_random_id(seed, &r);
        r.start_us += i;
        r.end_us += i;
        put(j, w, JOURNAL_END, &r);
    }
    kit_flush(j);
}

static struct segment *open_segment(const struct kit_dir *d, const char *path)
{
    int dir = open(d->journal, O_RDONLY | O_DIRECTORY);
    struct fail fail;
    struct segment *s = segment_open(dir, strrchr(path, '/') + 1, &fail);

    assert_non_null(s);
    close(dir);
    return s;
}

static bool is_written(const struct written *w, unsigned i, enum journal_kind kind,
                       const struct stored_record *stored)
{
    struct buf joined;
    bool is;

    buf_init(&joined, ENCODED_BYTES);
    is = i < w->n && w->at[i].kind == kind && record_join(stored, &joined) == RC_OK &&
         strv_eq(buf_view(&joined), strv_make(w->at[i].bytes, w->at[i].n));
    buf_release(&joined);
    return is;
}

/*
 * Reads a segment from its start: its entries are those written from `from` on, to the byte.
 * Those that are in no form that is understood are counted, those that do not check passed over.
 */
static unsigned read_back(const struct kit_dir *d, const char *path, const struct written *w,
                          unsigned from, unsigned *bad)
{
    struct segment *s = open_segment(d, path);
    struct segment_window window;
    struct segment_entry entry;
    struct fail fail;
    uint64_t passed;
    unsigned n = from;
    enum rc rc;

    *bad = 0;
    segment_window_init(&window);
    for (;;) {
        struct stored_record stored;

        rc = segment_next(s, &window, &entry, &fail);
        if (rc == RC_BAD && segment_pass(s, &window, &passed, &fail) == RC_OK && passed > 0)
            continue;
        if (rc != RC_OK)
            break;
        rc = segment_record(s, &entry, &stored, &fail);
        *bad += rc != RC_OK;
        if (rc == RC_OK)
            assert_true(is_written(w, n, entry.kind, &stored));
        n++;
    }
    assert_int_equal(rc, RC_EOF);
    segment_window_release(&window);
    segment_close(s);
    return n - from;
}

/* ---- the file itself ------------------------------------------------------------------ */

struct file {
    char *bytes;
    size_t n;
};

static struct file read_file(const char *path)
{
    FILE *f = fopen(path, "rbe");
    struct file file;
    struct stat st;

    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    file.n = (size_t)st.st_size;
    file.bytes = xmalloc(file.n + 1);
    assert_int_equal(fread(file.bytes, 1, file.n, f), file.n);
    fclose(f);
    return file;
}

static void write_file(const char *path, const char *bytes, size_t n)
{
    FILE *f = fopen(path, "wbe");

    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

/* The payload of the entry at *at, which moves on; false at the end. */
static bool next_entry(const struct file *file, size_t *at, enum journal_kind *kind,
                       struct strv *payload)
{
    uint32_t length;

    if (*at + JOURNAL_ENTRY_OVERHEAD > file->n)
        return false;
    memcpy(&length, file->bytes + *at, sizeof(length));
    *kind = (enum journal_kind)file->bytes[*at + 8];
    *payload = strv_make(file->bytes + *at + JOURNAL_ENTRY_OVERHEAD, length);
    *at += JOURNAL_ENTRY_OVERHEAD + length;
    return *at <= file->n;
}

struct forms {
    unsigned whole, commons, parts;
};

/* Nothing that versions before these forms could take for a record of theirs. */
static void refused_by_others(struct strv payload)
{
    struct record r;

    assert_int_equal(record_decode(payload, &r), RC_BAD);
    assert_int_equal(record_decode_id(payload, &r), RC_BAD);
}

static struct forms count_forms(const struct file *file)
{
    size_t at = JOURNAL_HEADER_BYTES;
    struct forms forms = {0};
    enum journal_kind kind;
    struct strv payload;

    while (next_entry(file, &at, &kind, &payload)) {
        bool is_common = payload.p[0] == JOURNAL_FORM_COMMON;
        bool is_parts = payload.p[0] == JOURNAL_FORM_PARTS;

        forms.commons += is_common;
        forms.parts += is_parts;
        forms.whole += !is_common && !is_parts;
        if (is_common)
            assert_int_equal(kind, JOURNAL_BEGIN);
        if (is_common || is_parts)
            refused_by_others(payload);
    }
    return forms;
}

/* ---- tests ------------------------------------------------------------------------------ */

static void said_once_and_read_back(void **state)
{
    struct written *w = xcalloc(1, sizeof(*w));
    uint64_t seed = 81, whole = 0;
    struct kit_dir d;
    struct journal *j;
    struct forms forms;
    struct file file;
    char path[512];
    unsigned bad;

    (void)state;
    kit_dir_make(&d);
    j = kit_journal(&d, 1);
    put_alike(j, w, &seed, 1000);
    kit_segments(&d, path, sizeof(path));
    file = read_file(path);
    forms = count_forms(&file);
    assert_int_equal(forms.whole, 1);
    assert_int_equal(forms.commons, 1);
    assert_int_equal(forms.parts, 999);
    for (unsigned i = 0; i < w->n; i++)
        whole += w->at[i].n + JOURNAL_ENTRY_OVERHEAD;
    assert_true(file.n < whole * 7 / 10);
    assert_int_equal(read_back(&d, path, w, 0, &bad), 1000);
    assert_int_equal(bad, 0);
    put_traffic(j, w, &seed, 4000);
    assert_int_equal(read_back(&d, path, w, 0, &bad), 5000);
    assert_int_equal(bad, 0);
    free(file.bytes);
    journal_close(j);
    written_free(w);
    kit_dir_remove(&d);
}

/* Nothing in it is named that stands in another. */
static void each_segment_is_read_by_itself(void **state)
{
    struct written *w = xcalloc(1, sizeof(*w));
    uint64_t seed = 82;
    struct kit_dir d;
    struct journal *j;
    struct forms forms;
    struct file file;
    char path[512];
    unsigned bad, before;

    (void)state;
    kit_dir_make(&d);
    j = kit_journal(&d, 1);
    put_alike(j, w, &seed, 10);
    kit_segments(&d, path, sizeof(path));
    while (kit_segments(&d, NULL, 0) == 1) { /* what fills it is not looked at */
        for (int i = 0; i < 500; i++) {
            struct record r;

            kit_fat_traffic(&seed, &r);
            assert_int_equal(journal_end(j, &r), RC_OK);
        }
        kit_flush(j);
    }
    assert_int_equal(unlink(path), 0);
    before = w->n;
    put_alike(j, w, &seed, 10);
    kit_segments(&d, path, sizeof(path));
    assert_int_equal(read_back(&d, path, w, before, &bad), 10);
    assert_int_equal(bad, 0);
    file = read_file(path);
    forms = count_forms(&file);
    assert_int_equal(forms.commons, 1); /* known, and said anew */
    assert_int_equal(forms.whole, 0);
    free(file.bytes);
    journal_close(j);
    written_free(w);
    kit_dir_remove(&d);
}

/* It is said again before those that name it are further away than a reader looks. */
static void said_again_within_reach(void **state)
{
    struct written *w = xcalloc(1, sizeof(*w));
    uint64_t seed = 83;
    struct kit_dir d;
    struct journal *j;
    struct forms forms;
    struct file file;
    char path[512];
    unsigned bad;

    (void)state;
    kit_dir_make(&d);
    j = kit_journal(&d, 1);
    put_alike(j, w, &seed, MOST);
    kit_segments(&d, path, sizeof(path));
    file = read_file(path);
    assert_true(file.n > 2 * JOURNAL_COMMON_REACH);
    forms = count_forms(&file);
    assert_int_equal(forms.commons, 1 + (file.n - JOURNAL_HEADER_BYTES) / JOURNAL_COMMON_REACH);
    assert_int_equal(read_back(&d, path, w, 0, &bad), MOST);
    assert_int_equal(bad, 0);
    free(file.bytes);
    journal_close(j);
    written_free(w);
    kit_dir_remove(&d);
}

/* Whose shared part is new each time goes whole, and pushes out what was said long ago only. */
static void what_is_not_shared_goes_whole(void **state)
{
    struct written *w = xcalloc(1, sizeof(*w));
    uint64_t seed = 84;
    struct kit_dir d;
    struct journal *j;
    struct forms forms;
    struct file file;
    char path[512];
    unsigned bad;

    (void)state;
    kit_dir_make(&d);
    j = kit_journal(&d, 1);
    put_alike(j, w, &seed, 2);
    for (int i = 0; i < 4 * JOURNAL_COMMONS; i++) {
        char text[32];
        struct record r;

        kit_traffic(&seed, &r);
        snprintf(text, sizeof(text), "made-up-%d", i);
        r.model_requested = strv_z(text);
        put(j, w, JOURNAL_END, &r);
    }
    put_alike(j, w, &seed, 2);
    kit_segments(&d, path, sizeof(path));
    file = read_file(path);
    forms = count_forms(&file);
    assert_int_equal(forms.whole, 1 + 4 * JOURNAL_COMMONS);
    assert_int_equal(forms.parts, 3);
    assert_true(file.n > JOURNAL_COMMON_REACH);
    assert_int_equal(forms.commons, 2);
    assert_int_equal(read_back(&d, path, w, 0, &bad), w->n);
    assert_int_equal(bad, 0);
    free(file.bytes);
    journal_close(j);
    written_free(w);
    kit_dir_remove(&d);
}

/* More kinds than are remembered, in turns: each is whole or in parts, and none is another. */
static void more_kinds_than_are_remembered(void **state)
{
    enum { KINDS = JOURNAL_COMMONS * 3 / 2, TURNS = 6 };
    struct written *w = xcalloc(1, sizeof(*w));
    uint64_t seed = 85;
    struct kit_dir d;
    struct journal *j;
    char path[512];
    unsigned bad;

    (void)state;
    kit_dir_make(&d);
    j = kit_journal(&d, 1);
    for (int i = 0; i < KINDS * TURNS; i++) {
        char text[32];
        struct record r;

        kit_traffic(&seed, &r);
        snprintf(text, sizeof(text), "kind-%d", i % KINDS);
        r.model_requested = strv_z(text);
        put(j, w, JOURNAL_END, &r);
    }
    kit_flush(j);
    kit_segments(&d, path, sizeof(path));
    assert_int_equal(read_back(&d, path, w, 0, &bad), w->n);
    assert_int_equal(bad, 0);
    journal_close(j);
    written_free(w);
    kit_dir_remove(&d);
}

/* Cut anywhere, what is left says what it said. */
static void every_head_is_read(void **state)
{
    struct written *w = xcalloc(1, sizeof(*w));
    uint64_t seed = 86;
    struct kit_dir d;
    struct journal *j;
    struct file file;
    char path[512];
    unsigned bad, last = 0;

    (void)state;
    kit_dir_make(&d);
    j = kit_journal(&d, 1);
    put_alike(j, w, &seed, 6);
    kit_segments(&d, path, sizeof(path));
    journal_close(j);
    file = read_file(path);
    for (size_t n = JOURNAL_HEADER_BYTES; n <= file.n; n++) {
        unsigned got;

        write_file(path, file.bytes, n);
        got = read_back(&d, path, w, 0, &bad);
        assert_int_equal(bad, 0);
        assert_in_range(got, last, last + 1);
        last = got;
    }
    assert_int_equal(last, 6);
    free(file.bytes);
    written_free(w);
    kit_dir_remove(&d);
}

/* A disk that is full cuts writes short; what was collected meanwhile stands where it says. */
static void writes_that_are_cut_short(void **state)
{
    struct written *w = xcalloc(1, sizeof(*w));
    struct rlimit limit;
    uint64_t seed = 87;
    struct kit_dir d;
    struct journal *j;
    struct fail fail;
    char path[512];
    unsigned bad;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    kit_dir_make(&d);
    j = kit_journal(&d, 1);
    kit_segments(&d, path, sizeof(path));
    getrlimit(RLIMIT_FSIZE, &limit);
    for (unsigned i = 0; i < 60; i++) {
        struct rlimit little = {journal_written(j) + 1 + i * 7, limit.rlim_max};
        struct record r;

        assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
        for (int k = 0; k < 3; k++) {
            kit_traffic(&seed, &r);
            put(j, w, JOURNAL_END, &r);
        }
        (void)!journal_flush(j, &fail);
        kit_traffic(&seed, &r);
        put(j, w, JOURNAL_END, &r);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        while (journal_flush(j, &fail) != RC_OK)
            usleep(JOURNAL_RETRY_MS * 1000);
    }
    assert_int_equal(read_back(&d, path, w, 0, &bad), w->n);
    assert_int_equal(bad, 0);
    journal_close(j);
    written_free(w);
    kit_dir_remove(&d);
}

/* A place within what the first entry that others name says. */
static size_t in_first_common(const struct file *file)
{
    size_t at = JOURNAL_HEADER_BYTES;
    enum journal_kind kind;
    struct strv payload;

    while (next_entry(file, &at, &kind, &payload)) {
        if (payload.p[0] == JOURNAL_FORM_COMMON)
            return (size_t)(payload.p - file->bytes) + 5;
    }
    fail_msg("nothing is shared");
    return 0;
}

/* What was said damaged: those that name it are kept in their file, none is made another. */
static void damage_is_told_and_kept(void **state)
{
    struct written *w = xcalloc(1, sizeof(*w));
    size_t hit;
    struct ledger_stats stats;
    uint64_t seed = 88;
    char path[512], kept[600];
    struct kit_dir d;
    struct journal *j;
    struct ledger *l;
    struct file file;
    unsigned bad;

    (void)state;
    kit_dir_make(&d);
    j = kit_journal(&d, 1);
    put_alike(j, w, &seed, 20);
    put_traffic(j, w, &seed, 400);
    kit_segments(&d, path, sizeof(path));
    journal_close(j);
    file = read_file(path);
    hit = in_first_common(&file);
    file.bytes[hit] ^= 1;
    write_file(path, file.bytes, file.n);
    assert_int_equal(read_back(&d, path, w, 0, &bad), w->n);
    assert_true(bad >= 19);
    l = kit_start(&d, NULL, NULL);
    ledger_stats(l, &stats);
    assert_int_equal(stats.bad_entries, bad);
    assert_int_equal(stats.torn_tails, 1);
    ledger_stop(l);
    assert_int_equal(kit_segments(&d, NULL, 0), 0);
    snprintf(kept, sizeof(kept), "%s.bad", path);
    assert_int_equal(access(kept, F_OK), 0);
    /* Mended and put back, it says the rest. */
    file.bytes[hit] ^= 1;
    write_file(path, file.bytes, file.n);
    ledger_stop(kit_start(&d, NULL, NULL));
    for (unsigned i = 0; i < w->n; i++) {
        struct ledger_reader *reader = kit_read(&d);
        uint64_t n = 0;
        struct fail fail;
        struct record r;

        assert_int_equal(record_decode(strv_make(w->at[i].bytes, w->at[i].n), &r), RC_OK);
        assert_int_equal(ledger_read_line(reader, &r.id, kit_count_line, &n, &fail), RC_OK);
        assert_int_equal(n, 1);
        kit_read_end(reader);
    }
    kit_verify(&d);
    free(file.bytes);
    written_free(w);
    kit_dir_remove(&d);
}

/* A payload after two records alike and what they share, and what reading it gives. */
static enum rc read_made_up(const char *payload, size_t n)
{
    struct written *w = xcalloc(1, sizeof(*w));
    char path[512], entry[128] = {0};
    struct segment_window window;
    struct segment_entry found;
    struct stored_record stored;
    uint64_t seed = 89;
    struct segment *s;
    struct kit_dir d;
    struct journal *j;
    struct fail fail;
    uint32_t length = (uint32_t)n, crc;
    FILE *f;
    enum rc rc;

    kit_dir_make(&d);
    j = kit_journal(&d, 1);
    put_alike(j, w, &seed, 2);
    kit_segments(&d, path, sizeof(path));
    journal_close(j);
    memcpy(entry, &length, sizeof(length));
    entry[8] = JOURNAL_END;
    memcpy(entry + JOURNAL_ENTRY_OVERHEAD, payload, n);
    crc = crc32c(0, entry + 8, n + 1);
    memcpy(entry + 4, &crc, sizeof(crc));
    f = fopen(path, "abe");
    assert_non_null(f);
    assert_int_equal(fwrite(entry, 1, n + JOURNAL_ENTRY_OVERHEAD, f),
                     n + JOURNAL_ENTRY_OVERHEAD);
    fclose(f);
    s = open_segment(&d, path);
    segment_window_init(&window);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(segment_next(s, &window, &found, &fail), RC_OK);
    rc = segment_record(s, &found, &stored, &fail);
    segment_window_release(&window);
    segment_close(s);
    written_free(w);
    kit_dir_remove(&d);
    return rc;
}

static void what_names_nothing_is_refused(void **state)
{
    static const uint64_t distances[] = {
        0, 1, 50, 100000, JOURNAL_COMMON_REACH, JOURNAL_COMMON_REACH + 1, UINT64_MAX,
    };
    char payload[64];

    (void)state;
    for (size_t i = 0; i < sizeof(distances) / sizeof(distances[0]); i++) {
        size_t n = 1 + wire_make_u64(payload + 1, distances[i]);

        payload[0] = JOURNAL_FORM_PARTS;
        memset(payload + n, 3, UUID_BYTES);
        memcpy(payload + n + UUID_BYTES, "\0\0", 2);
        assert_int_equal(read_made_up(payload, n + UUID_BYTES + 2), RC_BAD);
        for (size_t cut = 1; cut < n + UUID_BYTES; cut++)
            assert_int_equal(read_made_up(payload, cut), RC_BAD);
    }
}

/* A BEGIN in parts is written as interrupted, with all that it said. */
static void recovery_knows_what_a_begin_shares(void **state)
{
    struct written *w = xcalloc(1, sizeof(*w));
    uint64_t seed = 90;
    struct kit_dir d;
    struct journal *j;

    (void)state;
    kit_dir_make(&d);
    j = kit_journal(&d, 1);
    for (int i = 0; i < 40; i++) {
        struct record r;
        uint64_t kind = 7;

        kit_record(&kind, KIT_START_US, 1, &r);
        kit_random_id(&seed, &r);
        put(j, w, JOURNAL_BEGIN, &r);
    }
    kit_flush(j);
    journal_close(j);
    ledger_stop(kit_start(&d, NULL, NULL));
    for (unsigned i = 0; i < w->n; i++) {
        struct ledger_reader *reader = kit_read(&d);
        struct record r, got = {0};
        struct fail fail;

        assert_int_equal(record_decode(strv_make(w->at[i].bytes, w->at[i].n), &r), RC_OK);
        assert_int_equal(ledger_read_line(reader, &r.id, kit_take_line, &got, &fail), RC_OK);
        assert_int_equal(got.outcome, OUTCOME_INTERRUPTED);
        assert_int_equal(money_cmp(got.cost, r.cost), 0);
        assert_memory_equal(&got.usage, &r.usage, sizeof(r.usage));
        assert_int_equal(got.status, r.status);
        assert_int_equal(got.start_us, r.start_us);
        kit_read_end(reader);
    }
    assert_int_equal(kit_lines(&d), 40);
    kit_verify(&d);
    written_free(w);
    kit_dir_remove(&d);
}

/* Taken in while it was whole, damaged before anybody asks what it shares: told, and kept. */
static void a_begin_that_cannot_be_recovered_is_told(void **state)
{
    struct written *w = xcalloc(1, sizeof(*w));
    size_t hit;
    struct ledger_stats stats;
    char path[512], kept[600];
    uint64_t seed = 91;
    struct kit_dir d;
    struct journal *j;
    struct ledger *l;
    struct file file;

    (void)state;
    kit_dir_make(&d);
    l = kit_start(&d, NULL, NULL);
    j = kit_journal(&d, 1);
    for (int i = 0; i < 5; i++) {
        struct record r;
        uint64_t alike = 7;

        kit_record(&alike, KIT_START_US, 1, &r);
        kit_random_id(&seed, &r);
        put(j, w, JOURNAL_BEGIN, &r);
    }
    kit_flush(j);
    ledger_catch_up(l);
    ledger_stop(l);
    kit_segments(&d, path, sizeof(path));
    journal_close(j);
    file = read_file(path);
    hit = in_first_common(&file);
    file.bytes[hit] ^= 1;
    write_file(path, file.bytes, file.n);
    l = kit_start(&d, NULL, NULL);
    ledger_stats(l, &stats);
    ledger_stop(l);
    assert_int_equal(stats.bad_entries, 4); /* the first went whole */
    assert_int_equal(stats.interrupted, 1);
    assert_int_equal(kit_lines(&d), 1);
    snprintf(kept, sizeof(kept), "%s.bad", path);
    assert_int_equal(access(kept, F_OK), 0);
    free(file.bytes);
    written_free(w);
    kit_dir_remove(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(said_once_and_read_back),
        cmocka_unit_test(each_segment_is_read_by_itself),
        cmocka_unit_test(said_again_within_reach),
        cmocka_unit_test(what_is_not_shared_goes_whole),
        cmocka_unit_test(more_kinds_than_are_remembered),
        cmocka_unit_test(every_head_is_read),
        cmocka_unit_test(writes_that_are_cut_short),
        cmocka_unit_test(damage_is_told_and_kept),
        cmocka_unit_test(what_names_nothing_is_refused),
        cmocka_unit_test(recovery_knows_what_a_begin_shares),
        cmocka_unit_test(a_begin_that_cannot_be_recovered_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
