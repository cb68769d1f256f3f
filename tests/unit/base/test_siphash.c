/* SipHash against vectors of its authors: key 00..0f, texts 00, 00 01, ... */
#include "base/siphash.h"

#include <string.h>

#include "tests/unit/unit.h"

static struct siphash_key key_of_vectors(void)
{
    unsigned char bytes[16];
    struct siphash_key key;

    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)i;
    memcpy(key.k, bytes, sizeof(bytes));
    return key;
}

static const char TEXT[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};

static void test_64(void **state)
{
    static const struct {
        size_t n;
        uint64_t hash;
    } CASES[] = {
        {0, UINT64_C(0x726fdb47dd0e0e31)}, {1, UINT64_C(0x74f839c593dc67fd)},
        {7, UINT64_C(0xab0200f58b01d137)}, {8, UINT64_C(0x93f5f5799a932462)},
        {15, UINT64_C(0xa129ca6149be45e5)},
    };
    struct siphash_key key = key_of_vectors();

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++)
        assert_int_equal(siphash(&key, strv_make(TEXT, CASES[i].n)), CASES[i].hash);
}

static void test_128(void **state)
{
    static const unsigned char NOTHING[16] = {0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6,
                                              0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93};
    struct siphash_key key = key_of_vectors();
    uint64_t out[2];

    (void)state;
    siphash_128(&key, STRV_NONE, out);
    assert_memory_equal(out, NOTHING, sizeof(out));
}

/* The light one: of every length, never the same, and another with another key. */
static void test_table(void **state)
{
    struct siphash_key key = key_of_vectors(), other = siphash_key_random();
    uint64_t seen[sizeof(TEXT)];

    (void)state;
    for (size_t n = 0; n < sizeof(TEXT); n++) {
        seen[n] = siphash_table(&key, strv_make(TEXT, n));
        assert_int_not_equal(seen[n], siphash_table(&other, strv_make(TEXT, n)));
        for (size_t i = 0; i < n; i++)
            assert_int_not_equal(seen[n], seen[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_64),
        cmocka_unit_test(test_128),
        cmocka_unit_test(test_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
