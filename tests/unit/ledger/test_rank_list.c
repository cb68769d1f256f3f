/*
 * test_rank_list.c - counts of days in order: what is written is read again, by chunk and in
 * steps; hostile bytes are refused, or lead to no values beyond what is said.
 */
#include "tests/unit/ledger/kit.h"

#include "metering/ledger/rank_list.h"

enum { ROWS = 60000, STEP = 1000 };

static const struct rank_asked all = {NULL, 0};
static int64_t team[STEP], bucket[STEP], customer[STEP], n[STEP];

/* Ascending: near each other mostly, as on a day with customers, or far apart. */
static struct rank_row *make_rows(uint64_t *seed, bool has_teams, uint64_t apart)
{
    struct rank_row *rows = xcalloc(ROWS, sizeof(*rows));
    struct rank_row at = {.team = has_teams ? 3 : 0, .bucket = 1, .customer = -1};

    for (int i = 0; i < ROWS; i++) {
        if (has_teams && kit_below(seed, 5000) == 0)
            at = (struct rank_row){.team = at.team + 1 + (int64_t)kit_below(seed, 900),
                                   .bucket = 1, .customer = -1};
        if (kit_below(seed, 200) == 0) {
            at.bucket += 1 + (int64_t)kit_below(seed, 3);
            at.customer = -1;
        }
        at.customer += 1 + (int64_t)kit_below(seed, apart);
        at.n = 1 + (int64_t)kit_below(seed, kit_below(seed, 50) ? 3 : 100000);
        rows[i] = at;
    }
    return rows;
}

static void check_chunk(const struct rank_list *l, size_t chunk, const struct rank_row *rows,
                        size_t *at)
{
    struct strv bytes = rank_list_chunk(l, chunk);
    struct rank_reading r;
    size_t got = 1, step = 1;

    assert_true(bytes.n > 0 && bytes.n < RANK_CHUNK_BYTES + RANK_ROW_BYTES_MAX);
    assert_int_equal(l->chunks[chunk].first_team, rows[*at].team);
    rank_read_begin(&r, bytes);
    for (; got > 0; step = step % STEP + 1) {
        assert_true(rank_read(&r, &all, step, team, bucket, customer, n, &got));
        for (size_t i = 0; i < got; i++) {
            const struct rank_row *row = &rows[(*at)++];

            assert_int_equal(team[i], row->team);
            assert_int_equal(bucket[i], row->bucket);
            assert_int_equal(customer[i], row->customer);
            assert_int_equal(n[i], row->n);
        }
    }
    assert_int_equal(l->chunks[chunk].last_team, rows[*at - 1].team);
}

static void what_is_written_is_read(void **state)
{
    uint64_t seed = 5;

    (void)state;
    for (int round = 0; round < 4; round++) {
        struct rank_row *rows = make_rows(&seed, round % 2, round < 2 ? 20 : 5000);
        struct rank_list l = {0};
        size_t at = 0;

        for (int i = 0; i < ROWS; i++) {
            struct rank_row part = rows[i];

            /* In two parts, which are one row. */
            part.n -= rows[i].n > 1;
            rank_list_add(&l, &part);
            part.n = 1;
            if (rows[i].n > 1)
                rank_list_add(&l, &part);
        }
        rank_list_end(&l);
        assert_true(l.n_chunks > 1);
        if (round == 0)
            assert_true(l.n < ROWS * 5 / 4);
        for (size_t i = 0; i < l.n_chunks; i++)
            check_chunk(&l, i, rows, &at);
        assert_int_equal(at, ROWS);
        rank_list_free(&l);
        free(rows);
    }
}

/* As rows say, but for customers that are left out; those that are new are asked for, once each. */
static void counts_are_those_of_rows(void **state)
{
    enum { BUCKETS = 1024, CUSTOMERS = 1 << 16, PLACES = 100 };
    static int32_t row_of[CUSTOMERS];
    static uint32_t counted[BUCKETS * PLACES], summed[BUCKETS * PLACES];
    uint64_t seed = 6, seen = 0, asked = 0;
    struct rank_row *rows = make_rows(&seed, false, 20);
    struct rank_counts c = {.rows = PLACES, .buckets = BUCKETS, .count = counted};
    struct rank_list l = {0};

    (void)state;
    for (int i = 0; i < CUSTOMERS; i++)
        row_of[i] = RANK_ROW_NEW;
    for (int i = 0; i < ROWS; i++) {
        rank_list_add(&l, &rows[i]);
        if (rows[i].customer % 101 < PLACES)
            summed[(rows[i].bucket - 1) * PLACES + rows[i].customer % 101] += (uint32_t)rows[i].n;
    }
    rank_list_end(&l);
    for (size_t i = 0; i < l.n_chunks; i++) {
        struct rank_reading r;
        bool more = true;

        rank_read_begin(&r, rank_list_chunk(&l, i));
        while (more) {
            int64_t of;

            assert_true(rank_read_counts(&r, &c, row_of, CUSTOMERS, &more, &of, &seen));
            if (!more)
                continue;
            assert_int_equal(row_of[of], RANK_ROW_NEW);
            row_of[of] = of % 101 < PLACES ? (int32_t)(of % 101) : RANK_ROW_NONE;
            asked++;
        }
    }
    assert_int_equal(seen, ROWS);
    assert_true(asked > 100);
    assert_memory_equal(counted, summed, sizeof(summed));
    rank_list_free(&l);
    free(rows);
}

static void what_nobody_asks_for_is_left_out(void **state)
{
    enum { ASKED = 64 };
    uint64_t seed = 7;
    struct rank_row *rows = make_rows(&seed, true, 20);
    const int32_t asked[ASKED] = {[3] = 1, [40] = -1};
    const struct rank_asked of = {asked, ASKED};
    struct rank_list l = {0};
    size_t at = 0;

    (void)state;
    for (int i = 0; i < ROWS; i++)
        rank_list_add(&l, &rows[i]);
    rank_list_end(&l);
    for (size_t i = 0; i < l.n_chunks; i++) {
        struct rank_reading r;
        size_t got = 1;

        rank_read_begin(&r, rank_list_chunk(&l, i));
        while (got > 0) {
            assert_true(rank_read(&r, &of, STEP, team, bucket, customer, n, &got));
            for (size_t k = 0; k < got; k++, at++) {
                while (rows[at].customer < ASKED && asked[rows[at].customer] == 0)
                    at++;
                assert_int_equal(customer[k], rows[at].customer);
                assert_int_equal(n[k], rows[at].n);
            }
        }
    }
    while (at < ROWS && rows[at].customer < ASKED && asked[rows[at].customer] == 0)
        at++;
    assert_int_equal(at, ROWS);
    rank_list_free(&l);
    free(rows);
}

static void nothing_is_no_chunk(void **state)
{
    struct rank_list l = {0};

    (void)state;
    rank_list_end(&l);
    assert_int_equal(l.n_chunks, 0);
    rank_list_free(&l);
}

/* Nothing is written beyond what is there. */
static void read_counts(struct strv bytes)
{
    enum { BUCKETS = 8, PLACES = 4 };
    uint32_t *count = xcalloc(BUCKETS * PLACES, sizeof(*count));
    const int32_t row_of[6] = {0, RANK_ROW_NONE, 3, 1, PLACES, RANK_ROW_NEW};
    struct rank_counts c = {.rows = PLACES, .buckets = BUCKETS, .count = count};
    struct rank_reading r;
    uint64_t seen = 0;
    int64_t of;
    bool more;

    rank_read_begin(&r, bytes);
    if (rank_read_counts(&r, &c, row_of, 6, &more, &of, &seen) && more)
        assert_true(of >= 5 && of <= INT32_MAX);
    free(count);
}

static bool read_all(struct strv bytes, size_t *rows)
{
    struct rank_reading r;
    size_t got = 1;

    rank_read_begin(&r, bytes);
    read_counts(bytes);
    for (*rows = 0; got > 0; *rows += got) {
        if (!rank_read(&r, &all, STEP, team, bucket, customer, n, &got))
            return false;
        for (size_t i = 0; i < got; i++)
            assert_true(n[i] > 0 && n[i] <= INT32_MAX && bucket[i] >= 0 && bucket[i] <= INT32_MAX &&
                        customer[i] >= 0 && customer[i] <= INT32_MAX && team[i] >= 0 &&
                        team[i] <= INT32_MAX);
    }
    return true;
}

static void other_bytes_are_refused(void **state)
{
    static const struct strv bad[] = {
        {"\3", 1},                     /* no step */
        {"\10", 1},                    /* no number */
        {"\0\1", 2},                   /* cut */
        {"\0\1\0", 3},                 /* none */
        {"\0\0\1", 3},                 /* no step */
        {"\1\0", 2},                   /* the same bucket */
        {"\2\0", 2},                   /* no team */
        {"\1\377\377\377\377\10", 6},  /* a bucket beyond all */
        {"\0\1\377\377\377\377\10", 7}, /* a number */
        {"\0\200\200\200\200\10\1\11", 8}, /* a customer */
    };
    uint64_t seed = 9;
    size_t rows;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(read_all(bad[i], &rows));
    for (int i = 0; i < 20000; i++) {
        char bytes[64];

        for (size_t k = 0; k < sizeof(bytes); k++)
            bytes[k] = (char)(kit_below(&seed, 4) ? kit_below(&seed, 4) : kit_below(&seed, 256));
        (void)read_all(strv_make(bytes, kit_below(&seed, sizeof(bytes))), &rows);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(counts_are_those_of_rows),
        cmocka_unit_test(what_nobody_asks_for_is_left_out),
        cmocka_unit_test(nothing_is_no_chunk),
        cmocka_unit_test(other_bytes_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
