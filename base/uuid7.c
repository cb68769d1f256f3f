#include "base/uuid7.h"

#include <endian.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"

static _Thread_local unsigned char pool[256]; /* what getrandom gives without blocking, whole */
static _Thread_local size_t pool_left;

static void random_take(unsigned char *out, size_t n)
{
    if (pool_left < n) {
        ssize_t got;

        do
            got = getrandom(pool, sizeof(pool), 0);
        while (got < 0);
        ASSERT(got == (ssize_t)sizeof(pool));
        pool_left = sizeof(pool);
    }
    pool_left -= n;
    memcpy(out, pool + pool_left, n);
}

void uuid7_make(struct uuid *id, int64_t us)
{
    uint64_t at = us > 0 ? (uint64_t)us : 0;
    uint64_t ms = at / 1000, part = at % 1000 * 4096 / 1000;

    for (int i = 0; i < 6; i++)
        id->b[i] = (unsigned char)(ms >> (40 - 8 * i));
    id->b[6] = (unsigned char)(part >> 8 | 0x70);
    id->b[7] = (unsigned char)part;
    random_take(id->b + 8, 8);
    id->b[8] = (unsigned char)((id->b[8] & 0x3f) | 0x80);
}

/* A byte repeated. */
#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Eight digits of four bytes, side by side. */
static void put_hex(char *to, const unsigned char *from)
{
    uint64_t x, nibbles;
    uint32_t word;

    memcpy(&word, from, sizeof(word));
    x = le32toh(word);
    x = (x | x << 16) & UINT64_C(0x0000ffff0000ffff);
    x = (x | x << 8) & UINT64_C(0x00ff00ff00ff00ff);
    nibbles = (x >> 4 & UINT64_C(0x000f000f000f000f)) | (x & UINT64_C(0x000f000f000f000f)) << 8;
    x = nibbles + EACH('0') + ((nibbles + EACH(6)) >> 4 & EACH(1)) * ('a' - '0' - 10);
    x = htole64(x);
    memcpy(to, &x, sizeof(x));
}

void uuid_format(const struct uuid *id, char out[UUID_TEXT])
{
    char digits[2 * UUID_BYTES];

    for (size_t i = 0; i < UUID_BYTES; i += 4)
        put_hex(digits + 2 * i, id->b + i);
    memcpy(out, digits, 8);
    memcpy(out + 9, digits + 8, 4);
    memcpy(out + 14, digits + 12, 4);
    memcpy(out + 19, digits + 16, 4);
    memcpy(out + 24, digits + 20, 12);
    out[8] = out[13] = out[18] = out[23] = '-';
    out[UUID_TEXT - 1] = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool uuid_parse(struct strv text, struct uuid *id)
{
    struct uuid parsed;
    size_t at = 0;

    if (text.n != UUID_TEXT - 1)
        return false;
    for (int i = 0; i < UUID_BYTES; i++) {
        int high, low;

        if ((i == 4 || i == 6 || i == 8 || i == 10) && text.p[at++] != '-')
            return false;
        high = hex_value(text.p[at++]);
        low = hex_value(text.p[at++]);
        if (high < 0 || low < 0)
            return false;
        parsed.b[i] = (unsigned char)(high << 4 | low);
    }
    *id = parsed;
    return true;
}
