/* Every coding whole, byte for byte, in several members, cut short, broken, and as a bomb. */
#include "metering/usage/inflate.h"

#include <stdlib.h>
#include <string.h>

#include <brotli/encode.h>
#include <zlib.h>
#include <zstd.h>

#include "base/xalloc.h"
#include "tests/unit/unit.h"

enum { TEXT_BYTES = 100000, PACKED_MAX = 1 << 20, BOMB_BYTES = 64 << 20 };

static const char *const CODINGS[] = {"gzip", "deflate", "br", "zstd"};
enum { N_CODINGS = sizeof(CODINGS) / sizeof(CODINGS[0]) };

static size_t pack(const char *coding, struct strv text, char *out)
{
    size_t n = PACKED_MAX;

    if (strcmp(coding, "br") == 0) {
        assert_true(BrotliEncoderCompress(5, 22, BROTLI_MODE_GENERIC, text.n,
                                          (const uint8_t *)text.p, &n, (uint8_t *)out));
    } else if (strcmp(coding, "zstd") == 0) {
        n = ZSTD_compress(out, PACKED_MAX, text.p, text.n, 3);
        assert_false(ZSTD_isError(n));
    } else {
        z_stream z = {0};

        assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, coding[0] == 'g' ? 31 : 15, 8, 0), Z_OK);
        z.next_in = (unsigned char *)(uintptr_t)text.p;
        z.avail_in = (uInt)text.n;
        z.next_out = (unsigned char *)out;
        z.avail_out = PACKED_MAX;
        assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
        n = z.total_out;
        deflateEnd(&z);
    }
    return n;
}

static char *make_text(void)
{
    char *text = xmalloc(TEXT_BYTES);
    uint32_t random = 1;

    for (size_t i = 0; i < TEXT_BYTES; i++) {
        random = random * 1664525u + 1013904223u;
        text[i] = (char)('a' + (random >> 24) % 20);
    }
    return text;
}

static void keep(void *arg, struct strv piece)
{
    assert_in_range(piece.n, 1, INFLATE_PIECE);
    assert_int_equal(buf_append_strv(arg, piece), RC_OK);
}

static void test_parts(void **state)
{
    static const size_t steps[] = {1, 7, 4096, PACKED_MAX};
    char *text = make_text(), *packed = xmalloc(PACKED_MAX);

    (void)state;
    for (size_t c = 0; c < N_CODINGS; c++) {
        size_t n = pack(CODINGS[c], strv_make(text, TEXT_BYTES), packed);

        for (size_t s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
            bool identity;
            struct inflater *z = inflate_new(strv_z(CODINGS[c]), &identity);
            struct buf out;

            buf_init(&out, TEXT_BYTES);
            for (size_t at = 0; at < n; at += steps[s]) {
                assert_false(inflate_is_whole(z));
                assert_int_equal(
                    inflate_feed(z, strv_head(strv_make(packed + at, n - at), steps[s]), keep, &out),
                    RC_OK);
            }
            assert_true(inflate_is_whole(z));
            assert_int_equal(buf_len(&out), TEXT_BYTES);
            assert_memory_equal(buf_view(&out).p, text, TEXT_BYTES);
            buf_release(&out);
            inflate_free(z);
        }
    }
    free(text);
    free(packed);
}

/* Members of gzip and frames of zstd may follow each other, empty ones too. */
static void test_members(void **state)
{
    static const char *const coding[] = {"gzip", "zstd"};
    char *packed = xmalloc(3 * PACKED_MAX);

    (void)state;
    for (size_t c = 0; c < 2; c++) {
        size_t n = pack(coding[c], STRV("one "), packed);
        struct buf out;

        n += pack(coding[c], STRV(""), packed + n);
        n += pack(coding[c], STRV("two"), packed + n);
        buf_init(&out, 100);
        assert_int_equal(inflate_body(strv_z(coding[c]), strv_make(packed, n), &out), RC_OK);
        assert_true(strv_eq(buf_view(&out), STRV("one two")));
        buf_release(&out);
    }
    free(packed);
}

static enum rc body(const char *coding, struct strv packed, size_t max)
{
    struct buf out;
    enum rc rc;

    buf_init(&out, max);
    rc = inflate_body(strv_z(coding), packed, &out);
    buf_release(&out);
    return rc;
}

static void test_broken(void **state)
{
    char *text = make_text(), *packed = xmalloc(PACKED_MAX);

    (void)state;
    for (size_t c = 0; c < N_CODINGS; c++) {
        size_t n = pack(CODINGS[c], strv_make(text, 1000), packed);

        assert_int_equal(body(CODINGS[c], strv_make(packed, n), 1000), RC_OK);
        assert_int_equal(body(CODINGS[c], strv_make(packed, n), 999), RC_LIMIT);
        for (size_t cut = 0; cut < n; cut++)
            assert_int_equal(body(CODINGS[c], strv_make(packed, cut), 1000), RC_BAD);
        packed[n] = 'x';
        assert_int_equal(body(CODINGS[c], strv_make(packed, n + 1), 1000), RC_BAD);
        assert_int_equal(body(CODINGS[c], STRV("{\"model\":\"m\"}"), 1000), RC_BAD);
    }
    assert_int_equal(body("compress", STRV("x"), 1000), RC_STATE);
    assert_int_equal(body("gzip, br", STRV("x"), 1000), RC_STATE);
    assert_int_equal(body("identity", STRV("x"), 1000), RC_OK);
    free(text);
    free(packed);
}

/* 64 MiB in a few hundred KiB or less: given up, not unpacked. */
static void test_bombs(void **state)
{
    char *zeros = xcalloc(1, BOMB_BYTES), *packed = xmalloc(PACKED_MAX);

    (void)state;
    for (size_t c = 0; c < N_CODINGS; c++) {
        size_t n = pack(CODINGS[c], strv_make(zeros, BOMB_BYTES), packed);

        assert_int_equal(body(CODINGS[c], strv_make(packed, n), BOMB_BYTES), RC_LIMIT);
    }
    free(zeros);
    free(packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_bombs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
