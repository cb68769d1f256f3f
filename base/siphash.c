#include "base/siphash.h"

#include <string.h>

#include "base/digest.h"

struct sip {
    uint64_t a, b, c, d;
};

static uint64_t rotate(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

static inline void sip_rounds(struct sip *s, unsigned n)
{
    for (; n > 0; n--) {
        s->a += s->b;
        s->c += s->d;
        s->b = rotate(s->b, 13) ^ s->a;
        s->d = rotate(s->d, 16) ^ s->c;
        s->a = rotate(s->a, 32);
        s->c += s->b;
        s->a += s->d;
        s->b = rotate(s->b, 17) ^ s->c;
        s->d = rotate(s->d, 21) ^ s->a;
        s->c = rotate(s->c, 32);
    }
}

static inline struct sip sip_begin(const struct siphash_key *key)
{
    return (struct sip){key->k[0] ^ UINT64_C(0x736f6d6570736575),
                        key->k[1] ^ UINT64_C(0x646f72616e646f6d),
                        key->k[0] ^ UINT64_C(0x6c7967656e657261),
                        key->k[1] ^ UINT64_C(0x7465646279746573)};
}

/* The words of the text, little-endian, the last with the text's length on top. */
static inline void sip_text(struct sip *s, struct strv text, unsigned rounds)
{
    uint64_t word = 0;
    size_t i = 0;

    for (;; i += sizeof(word)) {
        bool last = text.n - i < sizeof(word);

        if (last) {
            word = 0;
            if (text.n > i)
                memcpy(&word, text.p + i, text.n - i);
            word |= (uint64_t)text.n << 56;
        } else {
            memcpy(&word, text.p + i, sizeof(word));
        }
        s->d ^= word;
        sip_rounds(s, rounds);
        s->a ^= word;
        if (last)
            return;
    }
}

struct siphash_key siphash_key_random(void)
{
    struct siphash_key key = {{0, 0}};

    digest_random((unsigned char *)key.k, sizeof(key.k));
    return key;
}

uint64_t siphash(const struct siphash_key *key, struct strv text)
{
    struct sip s = sip_begin(key);

    sip_text(&s, text, 2);
    s.c ^= 0xff;
    sip_rounds(&s, 4);
    return s.a ^ s.b ^ s.c ^ s.d;
}

void siphash_128(const struct siphash_key *key, struct strv text, uint64_t out[2])
{
    struct sip s = sip_begin(key);

    s.b ^= 0xee;
    sip_text(&s, text, 2);
    s.c ^= 0xee;
    sip_rounds(&s, 4);
    out[0] = s.a ^ s.b ^ s.c ^ s.d;
    s.b ^= 0xdd;
    sip_rounds(&s, 4);
    out[1] = s.a ^ s.b ^ s.c ^ s.d;
}

uint64_t siphash_table(const struct siphash_key *key, struct strv text)
{
    struct sip s = sip_begin(key);

    sip_text(&s, text, 1);
    s.c ^= 0xff;
    sip_rounds(&s, 3);
    return s.a ^ s.b ^ s.c ^ s.d;
}
