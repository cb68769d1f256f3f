#include "proxy/collected.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/log.h"
#include "base/xalloc.h"

enum { BUCKET = 16, FILE_MODE = 0600 };

/* Of the table, and (in this machine's byte order) of the file. */
struct entry {
    uint64_t key, n;
};

struct slot {
    _Atomic uint64_t key; /* 0: free */
    _Atomic uint64_t n;
};

struct collected {
    int fd;
    atomic_uint victim; /* whose turn it is in a bucket that is full */
    struct slot slots[COLLECTED_MAX];
};

/* Of an answer that is named by a path, the last segment counts. */
static void name_digest(struct strv upstream, struct strv answer,
                        unsigned char out[SHA256_BYTES])
{
    size_t at;

    while ((at = strv_find(answer, '/')) < answer.n)
        answer = strv_skip(answer, at + 1);
    digest_hmac_sha256(upstream, answer, out);
}

uint64_t collected_key(struct strv upstream, struct strv answer)
{
    unsigned char digest[SHA256_BYTES];
    uint64_t key;

    name_digest(upstream, answer, digest);
    memcpy(&key, digest, sizeof(key));
    return key != 0 ? key : 1;
}

void collected_work(struct strv upstream, struct strv answer, struct uuid *work)
{
    unsigned char digest[SHA256_BYTES];

    name_digest(upstream, answer, digest);
    memcpy(work->b, digest, UUID_BYTES);
    work->b[6] = (unsigned char)((work->b[6] & 0x0f) | 0x80);
    work->b[8] = (unsigned char)((work->b[8] & 0x3f) | 0x80);
}

/* The key's slot, made where there is none. */
static struct slot *slot_of(struct collected *c, uint64_t key)
{
    struct slot *bucket = &c->slots[key % (COLLECTED_MAX / BUCKET) * BUCKET];
    struct slot *victim;

    for (unsigned i = 0; i < BUCKET; i++) {
        uint64_t found = 0;

        if (atomic_compare_exchange_strong(&bucket[i].key, &found, key) || found == key)
            return &bucket[i];
    }
    victim = &bucket[atomic_fetch_add(&c->victim, 1) % BUCKET];
    atomic_store(&victim->key, key);
    atomic_store(&victim->n, 0);
    return victim;
}

uint64_t collected_known(struct collected *c, uint64_t key)
{
    return atomic_load(&slot_of(c, key)->n);
}

void collected_set(struct collected *c, uint64_t key, uint64_t n)
{
    atomic_store(&slot_of(c, key)->n, n);
}

void collected_add(struct collected *c, uint64_t key, uint64_t n)
{
    struct slot *slot = slot_of(c, key);
    uint64_t before = atomic_load(&slot->n), sum;

    do {
        if (__builtin_add_overflow(before, n, &sum))
            sum = UINT64_MAX;
    } while (!atomic_compare_exchange_weak(&slot->n, &before, sum));
}

bool collected_rise(struct collected *c, uint64_t key, uint64_t n, uint64_t *from)
{
    struct slot *slot = slot_of(c, key);

    *from = atomic_load(&slot->n);
    while (*from < n) {
        if (atomic_compare_exchange_weak(&slot->n, from, n))
            return true;
    }
    return false;
}

bool collected_claim(struct collected *c, uint64_t key, uint64_t n)
{
    uint64_t before;

    return collected_rise(c, key, n, &before);
}

void collected_keep(struct collected *c, uint64_t key)
{
    struct entry entry = {.key = key, .n = atomic_load(&slot_of(c, key)->n)};

    /* Whole or not at all in practice; a torn tail is cut when the file is read. */
    if (write(c->fd, &entry, sizeof(entry)) != (ssize_t)sizeof(entry))
        log_line(LOG_ERROR, "collected", "could not note what was counted", "reason=\"%s\"",
                 strerror(errno));
}

/* Reads the file from its start; false where the system says no. */
static bool load(struct collected *c)
{
    struct entry entries[256];
    ssize_t got;

    while ((got = read(c->fd, entries, sizeof(entries))) > 0) {
        for (size_t i = 0; i < (size_t)got / sizeof(entries[0]); i++) {
            if (entries[i].key != 0)
                (void)collected_claim(c, entries[i].key, entries[i].n);
        }
        if ((size_t)got % sizeof(entries[0]) != 0)
            break;
    }
    return got >= 0;
}

/* Writes what is remembered to a file that then takes the place of the old one. */
static bool rewrite(struct collected *c, const char *path)
{
    char *other = xasprintf("%s.new", path);
    int fd = open(other, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, FILE_MODE);
    bool good = fd >= 0;

    for (size_t i = 0; good && i < COLLECTED_MAX; i++) {
        struct entry entry = {.key = atomic_load(&c->slots[i].key),
                              .n = atomic_load(&c->slots[i].n)};

        if (entry.key != 0)
            good = write(fd, &entry, sizeof(entry)) == (ssize_t)sizeof(entry);
    }
    good = good && rename(other, path) == 0;
    if (good) {
        if (c->fd >= 0)
            close(c->fd);
        c->fd = fd;
    } else if (fd >= 0) {
        close(fd);
    }
    free(other);
    return good;
}

enum rc collected_open(const char *state_dir, struct collected **out, struct fail *fail)
{
    struct collected *c = xcalloc(1, sizeof(*c)); /* mostly never touched */
    char *path = xasprintf("%s/collected", state_dir);
    bool good;

    c->fd = open(path, O_RDONLY | O_CLOEXEC);
    good = c->fd >= 0 ? load(c) : errno == ENOENT;
    good = good && rewrite(c, path);
    free(path);
    if (!good) {
        *fail = (struct fail){
            .rc = RC_IO, .sys = errno, .doing = "open the list of what was counted"};
        collected_close(c);
        return RC_IO;
    }
    *out = c;
    return RC_OK;
}

void collected_close(struct collected *c)
{
    if (c == NULL)
        return;
    if (c->fd >= 0)
        close(c->fd);
    free(c);
}
