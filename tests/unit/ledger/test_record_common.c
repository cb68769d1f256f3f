/*
 * test_record_common.c - a record in two parts is the record, to the byte; what is shared is
 * found again, and its loss is named.
 */
#include "tests/unit/ledger/kit.h"

enum { RECORDS = 3000, RECORD_BYTES = 64 << 10, OF_A_LEDGER = 600, ID_BYTES = 2 + UUID_BYTES };

struct parts {
    struct buf bytes, common, own, joined;
    struct stored_record s;
};

static void parts_init(struct parts *p)
{
    buf_init(&p->bytes, RECORD_BYTES);
    buf_init(&p->common, RECORD_BYTES);
    buf_init(&p->own, RECORD_BYTES);
    buf_init(&p->joined, RECORD_BYTES);
}

static void parts_release(struct parts *p)
{
    buf_release(&p->bytes);
    buf_release(&p->common);
    buf_release(&p->own);
    buf_release(&p->joined);
}

static void split(struct parts *p)
{
    assert_int_equal(record_split(buf_view(&p->bytes), &p->common, &p->own, &p->s), RC_OK);
}

static void make(struct parts *p, const struct record *r)
{
    buf_clear(&p->bytes);
    assert_int_equal(record_encode(r, &p->bytes), RC_OK);
    split(p);
}

static enum rc join(struct parts *p)
{
    buf_clear(&p->joined);
    return record_join(&p->s, &p->joined);
}

static void assert_whole(struct parts *p)
{
    assert_int_equal(join(p), RC_OK);
    assert_true(strv_eq(buf_view(&p->joined), buf_view(&p->bytes)));
    assert_int_equal(p->s.common.n + p->s.own.n + ID_BYTES, buf_len(&p->bytes));
}

static void parts_are_the_record(void **state)
{
    uint64_t seed = 71;
    struct parts p;

    (void)state;
    parts_init(&p);
    for (int i = 0; i < RECORDS; i++) {
        struct record a, b;

        if (i % 50 == 0)
            kit_fat_traffic(&seed, &a);
        else
            kit_record(&seed, KIT_START_US, US_PER_DAY, &a);
        make(&p, &a);
        assert_whole(&p);
        /* Decoded from where they are, they say what the whole says. */
        memset(&b, 0xff, sizeof(b));
        assert_int_equal(record_decode_stored(&p.s, &b), RC_OK);
        buf_clear(&p.joined);
        assert_int_equal(record_encode(&b, &p.joined), RC_OK);
        assert_true(strv_eq(buf_view(&p.joined), buf_view(&p.bytes)));
    }
    parts_release(&p);
}

/* Fields of a newer version stay with the record. */
static void unknown_fields_come_back(void **state)
{
    static const char field[] = "\x7f\x03new\xff\x01\x02xx"; /* tags 127 and 255, ascending */
    uint64_t seed = 72;
    struct parts p;

    (void)state;
    parts_init(&p);
    for (int i = 0; i < RECORDS / 10; i++) {
        struct record a, b;

        kit_record(&seed, KIT_START_US, US_PER_DAY, &a);
        make(&p, &a);
        p.bytes.tail -= 2; /* END */
        assert_int_equal(buf_append(&p.bytes, field, sizeof(field) - 1), RC_OK);
        assert_int_equal(buf_append(&p.bytes, "\0\0", 2), RC_OK);
        assert_int_equal(record_decode(buf_view(&p.bytes), &b), RC_OK);
        split(&p);
        assert_whole(&p);
    }
    parts_release(&p);
}

/* Of one combination are those with the same common part, and times and counts are in none. */
static void what_differs_by_request_is_not_shared(void **state)
{
    uint64_t seed = 73;
    struct record a;
    struct parts p, q;

    (void)state;
    parts_init(&p);
    parts_init(&q);
    kit_record(&seed, KIT_START_US, US_PER_DAY, &a);
    make(&p, &a);
    a.id.b[3] ^= 1;
    a.start_us += 77;
    a.end_us += 1234;
    a.latency_us += 5;
    a.bytes_in++;
    a.bytes_out++;
    a.cost.atto += 17;
    a.provider_request_id = STRV("req_other");
    a.subject.dim[DIM_CUSTOMER] = STRV("other");
    a.subject.dim[DIM_USER] = STRV("other");
    a.subject.dim[DIM_TASK] = STRV("other");
    usage_set(&a.usage, USAGE_OUTPUT, 4242);
    make(&q, &a);
    assert_true(strv_eq(p.s.common, q.s.common));
    assert_false(strv_eq(p.s.own, q.s.own));
    a.outcome = (enum outcome)((a.outcome + 1) % OUTCOME_COUNT);
    make(&q, &a);
    assert_false(strv_eq(p.s.common, q.s.common));
    parts_release(&p);
    parts_release(&q);
}

/* Cut, or bytes of chance: refused or decoded, never read beyond. */
static void damage_is_harmless(void **state)
{
    uint64_t seed = 74;
    struct parts p;

    (void)state;
    parts_init(&p);
    for (int i = 0; i < RECORDS; i++) {
        struct record a;
        enum rc rc;

        kit_record(&seed, KIT_START_US, US_PER_DAY, &a);
        make(&p, &a);
        if (i % 2)
            p.own.data[p.own.head + kit_below(&seed, p.s.own.n)] = (char)kit_random(&seed);
        else if (p.s.common.n)
            p.common.data[p.common.head + kit_below(&seed, p.s.common.n)] =
                (char)kit_random(&seed);
        rc = record_decode_stored(&p.s, &a);
        assert_true(rc == RC_OK || rc == RC_BAD);
        rc = join(&p);
        assert_true(rc == RC_OK || rc == RC_BAD);
        p.s.own.n = (size_t)kit_below(&seed, p.s.own.n); /* END is gone */
        assert_int_equal(record_decode_stored(&p.s, &a), RC_BAD);
    }
    parts_release(&p);
}

static void write_records(const struct kit_dir *d, uint64_t seed)
{
    struct ledger *l = kit_start(d, NULL, NULL);
    struct journal *j = kit_journal(d, 0);

    for (int i = 0; i < OF_A_LEDGER; i++) {
        struct record r;

        kit_traffic(&seed, &r);
        assert_int_equal(journal_end(j, &r), RC_OK);
    }
    kit_flush(j);
    journal_close(j);
    ledger_stop(l);
}

/* Sixty-four kinds of records share as many parts, in this process and the next. */
static void what_is_shared_stands_once(void **state)
{
    struct ledger_verdict v;
    struct ledger_reader *r;
    struct kit_dir d;
    struct fail fail;
    int64_t n;

    (void)state;
    kit_dir_make(&d);
    write_records(&d, 75);
    n = kit_ask(&d, "SELECT count(*) FROM common");
    assert_in_range(n, 1, 64);
    write_records(&d, 76);
    assert_in_range(kit_ask(&d, "SELECT count(*) FROM common"), n, 64);
    assert_int_equal(kit_ask(&d, "SELECT count(DISTINCT body) FROM common"),
                     kit_ask(&d, "SELECT count(*) FROM common"));
    assert_int_equal(kit_ask(&d, "SELECT count(*) FROM record WHERE common IS NULL"), 0);
    kit_verify(&d);
    assert_int_equal(kit_lines(&d), 2 * OF_A_LEDGER);
    n = kit_ask(&d, "SELECT count(*) FROM record WHERE common=2");
    assert_true(n > 0);
    kit_sql(&d, "DELETE FROM common WHERE id=2");
    r = kit_read(&d);
    assert_int_equal(ledger_read_verify(r, NULL, NULL, &v, &fail), RC_OK);
    assert_int_equal(v.bad_lines, n);
    assert_non_null(strstr(v.first, "its record cannot be read"));
    kit_read_end(r);
    kit_dir_remove(&d);
}

/* Whole records and those in parts, one ledger: the same journal again changes neither. */
static void an_older_ledger_goes_on(void **state)
{
    struct kit_dir d;

    (void)state;
    kit_dir_make(&d);
    write_records(&d, 77);
    kit_make_version_7(&d);
    write_records(&d, 77);
    assert_int_equal(kit_lines(&d), OF_A_LEDGER);
    write_records(&d, 78);
    assert_int_equal(kit_lines(&d), 2 * OF_A_LEDGER);
    assert_int_equal(kit_ask(&d, "SELECT count(*) FROM record WHERE common IS NULL"),
                     OF_A_LEDGER);
    kit_verify(&d);
    kit_dir_remove(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_the_record),
        cmocka_unit_test(unknown_fields_come_back),
        cmocka_unit_test(what_differs_by_request_is_not_shared),
        cmocka_unit_test(damage_is_harmless),
        cmocka_unit_test(what_is_shared_stands_once),
        cmocka_unit_test(an_older_ledger_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
