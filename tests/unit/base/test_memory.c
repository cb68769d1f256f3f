#include "tests/unit/unit.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/crc32c.h"
#include "base/digest.h"
#include "base/held.h"
#include "base/list.h"
#include "base/problem.h"
#include "base/rc.h"
#include "base/xalloc.h"

/* ---- buf --------------------------------------------------------------------------- */

static void test_buf(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 10);
    assert_int_equal(buf_len(&b), 0);
    assert_null(b.data);
    assert_int_equal(buf_append(&b, "abcdef", 6), RC_OK);
    buf_consume(&b, 4);
    assert_true(strv_eq(buf_view(&b), STRV("ef")));
    assert_int_equal(buf_append(&b, "12345678", 8), RC_OK); /* fills it, moving the content */
    assert_true(strv_eq(buf_view(&b), STRV("ef12345678")));
    assert_int_equal(buf_append(&b, "x", 1), RC_LIMIT);
    assert_true(strv_eq(buf_view(&b), STRV("ef12345678")));
    assert_int_equal(buf_append(&b, NULL, 0), RC_OK);
    buf_consume(&b, 10);
    assert_int_equal(buf_len(&b), 0);
    assert_int_equal(buf_append_strv(&b, STRV("0123456789")), RC_OK);
    buf_clear(&b);
    assert_int_equal(buf_printf(&b, "%d-%s", 12, "ab"), RC_OK);
    assert_true(strv_eq(buf_view(&b), STRV("12-ab")));
    assert_int_equal(buf_printf(&b, "%s", "123456"), RC_LIMIT);
    assert_true(strv_eq(buf_view(&b), STRV("12-ab")));
    assert_int_equal(buf_reserve(&b, SIZE_MAX), RC_LIMIT);
    buf_release(&b);
    assert_null(b.data);
    assert_int_equal(b.max, 10);
}

static void test_buf_lend(void **state)
{
    struct buf a, b, narrow;
    const char *place;

    (void)state;
    buf_init(&a, 4096);
    buf_init(&b, 5000);
    buf_init(&narrow, 100);
    assert_int_equal(buf_append(&a, "abc", 3), RC_OK);
    buf_clear(&a);
    place = a.data;
    assert_false(buf_lend(&a, &narrow)); /* it would have more than it may */
    assert_ptr_equal(a.data, place);
    assert_true(buf_lend(&a, &b));
    assert_null(a.data);
    assert_int_equal(a.max, 4096);
    assert_ptr_equal(b.data, place);
    assert_int_equal(b.max, 5000);
    assert_int_equal(buf_append(&b, "def", 3), RC_OK);
    assert_true(strv_eq(buf_view(&b), STRV("def")));
    assert_true(buf_lend(&a, &narrow)); /* nothing of nothing */
    assert_null(narrow.data);
    buf_release(&b);
}

static void test_buf_pinned(void **state)
{
    struct buf b;
    const char *place;

    (void)state;
    buf_init(&b, 1 << 20);
    assert_int_equal(buf_append(&b, "abc", 3), RC_OK);
    buf_pin(&b);
    place = buf_view(&b).p;
    while (buf_room(&b) > 0)
        assert_int_equal(buf_append(&b, "x", 1), RC_OK);
    assert_int_equal(buf_append(&b, "y", 1), RC_STATE);
    assert_ptr_equal(buf_view(&b).p, place);
    buf_unpin(&b);
    assert_int_equal(buf_append(&b, "y", 1), RC_OK);
    buf_release(&b);
}

/* Against the simplest model there is, on many random steps. */
static void test_buf_model(void **state)
{
    enum { MAX = 300, STEPS = 20000 };
    unsigned char model[MAX];
    size_t n = 0;
    uint32_t random = 1;
    unsigned char next = 0;
    struct buf b;

    (void)state;
    buf_init(&b, MAX);
    for (int i = 0; i < STEPS; i++) {
        size_t amount;

        random = random * 1664525u + 1013904223u;
        amount = random >> 16 & 127;
        if (random >> 30 & 1) {
            char bytes[128];

            for (size_t k = 0; k < amount; k++)
                bytes[k] = (char)(next + k);
            if (amount > MAX - n) {
                assert_int_equal(buf_append(&b, bytes, amount), RC_LIMIT);
            } else {
                assert_int_equal(buf_append(&b, bytes, amount), RC_OK);
                memcpy(model + n, bytes, amount);
                n += amount;
                next = (unsigned char)(next + amount);
            }
        } else {
            amount = amount > n ? n : amount;
            buf_consume(&b, amount);
            memmove(model, model + amount, n - amount);
            n -= amount;
        }
        assert_int_equal(buf_len(&b), n);
        assert_true(n == 0 || memcmp(buf_view(&b).p, model, n) == 0);
    }
    buf_release(&b);
}

/* ---- arena ------------------------------------------------------------------------- */

static void test_arena(void **state)
{
    struct arena a;
    struct strv copy;
    char *small, *large;

    (void)state;
    arena_init(&a, 100000);
    small = arena_alloc(&a, 1);
    assert_non_null(small);
    assert_int_equal((uintptr_t)small % _Alignof(max_align_t), 0);
    large = arena_alloc(&a, 50000); /* larger than a block */
    assert_non_null(large);
    for (size_t i = 0; i < 50000; i++)
        assert_int_equal(large[i], 0);
    assert_null(arena_alloc(&a, 50000));
    assert_null(arena_alloc(&a, SIZE_MAX));
    copy = arena_strv(&a, STRV("text"));
    assert_true(strv_eq(copy, STRV("text")));
    assert_int_equal(copy.p[4], '\0');
    copy = arena_strv(&a, STRV_NONE);
    assert_non_null(copy.p);
    assert_int_equal(copy.n, 0);
    arena_reset(&a);
    assert_int_equal(a.used, 0);
    large = arena_alloc(&a, 90000);
    assert_non_null(large);
    memset(large, 1, 90000);
    arena_reset(&a);
    small = arena_alloc(&a, 64);
    for (size_t i = 0; i < 64; i++)
        assert_int_equal(small[i], 0);
    arena_release(&a);
    arena_init(&a, 8);
    assert_null(arena_strv(&a, STRV("does not fit in here")).p);
    arena_release(&a);
}

/* What most need is little; who needed more has it from then on without asking again. */
static void test_arena_blocks(void **state)
{
    int64_t before = held_now(), kept;
    struct arena a;

    (void)state;
    arena_init(&a, 100000);
    assert_non_null(arena_take(&a, 1500));
    assert_in_range(held_now() - before, 1500, 2048);
    assert_non_null(arena_take(&a, 2000));
    arena_reset(&a);
    kept = held_now();
    assert_in_range(kept - before, 3500, 4096);
    assert_non_null(arena_take(&a, 1500));
    assert_non_null(arena_take(&a, 2000));
    assert_int_equal(held_now(), kept);
    arena_release(&a);
    assert_int_equal(held_now(), before);
}

/* ---- list --------------------------------------------------------------------------- */

struct item {
    int value;
    struct list_node node;
};

static void test_list(void **state)
{
    struct list_node list;
    struct item items[3] = {{.value = 1}, {.value = 2}, {.value = 3}};
    int sum = 0;

    (void)state;
    list_init(&list);
    assert_true(list_is_empty(&list));
    for (size_t i = 0; i < 3; i++) {
        list_init(&items[i].node);
        list_push_back(&list, &items[i].node);
    }
    LIST_FOREACH (at, &list) {
        sum = sum * 10 + LIST_OBJECT(at, struct item, node)->value;
    }
    assert_int_equal(sum, 123);
    LIST_FOREACH_SAFE (at, &list) {
        list_remove(at);
        list_remove(at); /* a second time does nothing */
    }
    assert_true(list_is_empty(&list));
}

/* ---- sums and digests ------------------------------------------------------------------ */

static void test_crc32c(void **state)
{
    unsigned char bytes[48];
    static const unsigned char read_command[48] = {
        0x01, 0xc0, 0, 0, 0, 0, 0,    0, 0,    0, 0, 0,    0, 0, 0, 0,
        0x14, 0,    0, 0, 0, 0, 0x04, 0, 0,    0, 0, 0x14, 0, 0, 0, 0x18,
        0x28, 0,    0, 0, 0, 0, 0,    0, 0x02, 0, 0, 0,    0, 0, 0, 0};

    (void)state;
    /* RFC 3720 appendix B.4 */
    memset(bytes, 0, 32);
    assert_true(crc32c(0, bytes, 32) == 0x8a9136aau);
    memset(bytes, 0xff, 32);
    assert_true(crc32c(0, bytes, 32) == 0x62a8ab43u);
    for (size_t i = 0; i < 32; i++)
        bytes[i] = (unsigned char)i;
    assert_true(crc32c(0, bytes, 32) == 0x46dd794eu);
    for (size_t i = 0; i < 32; i++)
        bytes[i] = (unsigned char)(31 - i);
    assert_true(crc32c(0, bytes, 32) == 0x113fdb5cu);
    assert_true(crc32c(0, read_command, 48) == 0xd9963a56u);
    assert_true(crc32c(0, "123456789", 9) == 0xe3069283u);
    assert_true(crc32c(0, "", 0) == 0);
    for (size_t cut = 0; cut <= 48; cut++)
        assert_true(crc32c(crc32c(0, read_command, cut), read_command + cut, 48 - cut) ==
                    0xd9963a56u);
}

static void test_digests(void **state)
{
    unsigned char out[SHA256_BYTES], other[SHA256_BYTES];
    char hex[SHA256_HEX];

    (void)state;
    digest_sha256(STRV("abc"), out); /* FIPS 180-4 */
    digest_hex(out, SHA256_BYTES, hex);
    assert_string_equal(hex,
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    digest_sha256(STRV_NONE, out);
    digest_hex(out, SHA256_BYTES, hex);
    assert_string_equal(hex,
                        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    digest_hmac_sha256(STRV("Jefe"), STRV("what do ya want for nothing?"),
                       out); /* RFC 4231 4.3 */
    digest_hex(out, SHA256_BYTES, hex);
    assert_string_equal(hex,
                        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memcpy(other, out, sizeof(out));
    assert_true(digest_equal(out, other, sizeof(out)));
    other[31] ^= 1;
    assert_false(digest_equal(out, other, sizeof(out)));
    digest_random(out, sizeof(out));
    digest_random(other, sizeof(other));
    assert_memory_not_equal(out, other, sizeof(out));
}

/* ---- problems and results --------------------------------------------------------------- */

static void test_problems(void **state)
{
    struct problems list;
    char *text;

    (void)state;
    problems_init(&list);
    for (int i = 0; i < PROBLEMS_MAX + 3; i++)
        problems_add(&list, "f.json", i, "fault %d", i);
    assert_int_equal(list.n, PROBLEMS_MAX);
    assert_int_equal(list.total, PROBLEMS_MAX + 3);
    text = problem_text(&list.at[0]);
    assert_string_equal(text, "f.json: fault 0");
    free(text);
    text = problem_text(&list.at[7]);
    assert_string_equal(text, "f.json:7: fault 7");
    free(text);
    problems_release(&list);
    assert_int_equal(list.total, 0);
}

static void test_results(void **state)
{
    struct fail fail = {.rc = RC_IO, .sys = 2, .doing = "open the file"}; /* 2: ENOENT */
    char text[128], cut[8];

    (void)state;
    fail_text(&fail, text, sizeof(text));
    assert_string_equal(text, "could not open the file: No such file or directory");
    fail.sys = 0;
    fail_text(&fail, text, sizeof(text));
    assert_string_equal(text, "could not open the file: input/output error");
    fail_text(&fail, cut, sizeof(cut));
    assert_string_equal(cut, "could n");
    for (int rc = RC_OK; rc <= RC_STATE; rc++)
        assert_true(strlen(rc_name((enum rc)rc)) > 0);
}

static void test_xalloc(void **state)
{
    char *text = xasprintf("%s-%d", "a", 5);
    char *copy = xmemdupz("abcdef", 3);
    unsigned char *zeros = xcalloc(3, 5);

    (void)state;
    assert_string_equal(text, "a-5");
    assert_string_equal(copy, "abc");
    for (size_t i = 0; i < 15; i++)
        assert_int_equal(zeros[i], 0);
    zeros = xrealloc(zeros, 100);
    free(zeros);
    free(copy);
    free(text);
}

/* Pages of the block that are here. */
static size_t resident(const void *block, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = 0;
    uintptr_t from = (uintptr_t)block / page * page;
    size_t pages = ((uintptr_t)block + bytes - from + page - 1) / page;
    unsigned char *here = xmalloc(pages);

    assert_int_equal(mincore((void *)from, pages * page, here), 0);
    for (size_t i = 0; i < pages; i++)
        n += here[i] & 1;
    free(here);
    return n;
}

/* A large block is zero and takes nothing until it is used, also where a used one lay before. */
static void test_xcalloc_large(void **state)
{
    static const size_t sizes[] = {64 << 10, (64 << 10) + 1, 100001, 300000, 5 << 20};
    enum { HOLES = 16, HOLE = 100000 };
    char *used[HOLES], *behind;

    (void)state;
    for (size_t i = 0; i < HOLES; i++)
        used[i] = memset(xmalloc(HOLE), 0xff, HOLE);
    behind = xmalloc(16); /* so that malloc keeps what is freed now */
    for (size_t i = 0; i < HOLES; i++)
        free(used[i]);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char *block = xcalloc(1, sizes[i]);

        assert_in_range(resident(block, sizes[i]), 0, 2);
        for (size_t k = 0; k < sizes[i]; k++) {
            if (block[k] != 0)
                fail_msg("byte %zu of %zu is not zero", k, sizes[i]);
        }
        memset(block, 0xff, sizes[i]);
        free(block);
    }
    free(behind);
}

/* Zero whatever lay there before, and as long as it was when it grows. */
static void test_tables(void **state)
{
    static const size_t sizes[] = {0, 1, 100, 100000, 2 << 20, (5 << 20) + 3};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t n = sizes[i];
        unsigned char *table = memset(xmalloc(n), 0xff, n);

        free(table);
        table = xcalloc_table(n, 1);
        for (size_t k = 0; k < n; k++) {
            if (table[k] != 0)
                fail_msg("byte %zu of %zu is not zero", k, n);
            table[k] = (unsigned char)k;
        }
        table = xrealloc_table(table, 3 * n + 1);
        for (size_t k = 0; k < n; k++) {
            if (table[k] != (unsigned char)k)
                fail_msg("byte %zu of %zu was lost", k, n);
        }
        free(table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf),       cmocka_unit_test(test_buf_pinned),
        cmocka_unit_test(test_buf_model), cmocka_unit_test(test_arena),
        cmocka_unit_test(test_buf_lend),  cmocka_unit_test(test_arena_blocks),
        cmocka_unit_test(test_list),      cmocka_unit_test(test_crc32c),
        cmocka_unit_test(test_digests),   cmocka_unit_test(test_problems),
        cmocka_unit_test(test_results),   cmocka_unit_test(test_xalloc),
        cmocka_unit_test(test_xcalloc_large), cmocka_unit_test(test_tables),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
