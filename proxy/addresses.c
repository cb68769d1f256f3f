#include "proxy/addresses.h"

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/fingerprint.h"
#include "base/xalloc.h"

enum { ROWS = 2, SEED_BYTES = 32, PREFIX_BYTES = 8, MAPPED_BYTES = 12, ROW_BITS = 32 };

struct addresses {
    struct fingerprint_key key;
    atomic_uint rows[ROWS][ADDRESSES_SLOTS];
};

struct addresses *addresses_new(void)
{
    struct addresses *a = xcalloc(1, sizeof(*a));
    unsigned char seed[SEED_BYTES];

    digest_random(seed, sizeof(seed));
    fingerprint_key_make(&a->key, strv_make((const char *)seed, sizeof(seed)));
    return a;
}

void addresses_free(struct addresses *a)
{
    free(a);
}

uint64_t addresses_of(const struct addresses *a, const struct sockaddr *from)
{
    char bytes[PREFIX_BYTES];
    size_t n = 0;
    uint64_t who;

    if (from->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)from;

        n = sizeof(in->sin_addr);
        memcpy(bytes, &in->sin_addr, n);
    } else if (from->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)from;

        if (IN6_IS_ADDR_V4MAPPED(&in->sin6_addr)) {
            n = sizeof(struct in_addr);
            memcpy(bytes, in->sin6_addr.s6_addr + MAPPED_BYTES, n);
        } else {
            n = PREFIX_BYTES;
            memcpy(bytes, &in->sin6_addr, n);
        }
    }
    if (n == 0)
        return 0;
    who = fingerprint(&a->key, strv_make(bytes, n), 0);
    return who ? who : 1;
}

static atomic_uint *slot(struct addresses *a, int row, uint64_t who)
{
    return &a->rows[row][(who >> (row * ROW_BITS)) % ADDRESSES_SLOTS];
}

bool addresses_add(struct addresses *a, uint64_t who, unsigned max)
{
    unsigned least = max;

    if (who == 0)
        return true;
    for (int row = 0; row < ROWS; row++) {
        unsigned before = atomic_fetch_add_explicit(slot(a, row, who), 1, memory_order_relaxed);

        least = before < least ? before : least;
    }
    if (least < max)
        return true;
    addresses_sub(a, who);
    return false;
}

void addresses_sub(struct addresses *a, uint64_t who)
{
    if (who == 0)
        return;
    for (int row = 0; row < ROWS; row++)
        atomic_fetch_sub_explicit(slot(a, row, who), 1, memory_order_relaxed);
}
