#include <pthread.h>
#include <string.h>

#include "base/digest.h"
#include "metering/limits/limit_int.h"

/* SipHash (Aumasson, Bernstein 2012) with one round a word and three at the end. */

static uint64_t key0, key1;

static void key_make(void)
{
    unsigned char random[16];

    digest_random(random, sizeof(random));
    memcpy(&key0, random, 8);
    memcpy(&key1, random + 8, 8);
}

static uint64_t rotate(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

struct sip {
    uint64_t a, b, c, d;
};

static void sip_round(struct sip *s)
{
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

static void sip_word(struct sip *s, uint64_t word)
{
    s->d ^= word;
    sip_round(s);
    s->a ^= word;
}

uint64_t limit_hash(struct strv key)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct sip s;
    uint64_t word = 0;
    size_t i = 0;

    pthread_once(&once, key_make);
    s = (struct sip){key0 ^ UINT64_C(0x736f6d6570736575), key1 ^ UINT64_C(0x646f72616e646f6d),
                     key0 ^ UINT64_C(0x6c7967656e657261), key1 ^ UINT64_C(0x7465646279746573)};
    for (; key.n - i >= 8; i += 8) {
        memcpy(&word, key.p + i, 8);
        sip_word(&s, word);
    }
    word = 0;
    memcpy(&word, key.p + i, key.n - i);
    sip_word(&s, word | (uint64_t)key.n << 56);
    s.c ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.a ^ s.b ^ s.c ^ s.d;
}
