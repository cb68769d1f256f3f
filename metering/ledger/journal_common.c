#include "metering/ledger/journal_common.h"

#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/xalloc.h"

void journal_commons_release(struct journal_commons *c)
{
    for (size_t i = 0; c->at && i < JOURNAL_COMMONS; i++)
        free(c->at[i].bytes);
    free(c->at);
    c->at = NULL;
}

/* The one that is missed least: free, then seen once, then said longest ago. */
static bool is_less(const struct journal_common *a, const struct journal_common *b)
{
    if (a->n == 0 || b->n == 0)
        return a->n == 0 && b->n != 0;
    if (!a->bytes || !b->bytes)
        return !a->bytes && b->bytes;
    return a->at < b->at;
}

/* Clients may make up texts of one hash: these find few places, and go whole. */
struct journal_common *journal_common_seen(struct journal_commons *c, struct strv bytes)
{
    uint32_t hash = crc32c(0, bytes.p, bytes.n);
    struct journal_common *least = NULL;

    if (!c->at)
        c->at = xcalloc(JOURNAL_COMMONS, sizeof(*c->at));
    for (uint32_t i = 0; i < JOURNAL_COMMON_PROBES; i++) {
        struct journal_common *at = &c->at[(hash + i) % JOURNAL_COMMONS];

        if (at->hash == hash && at->n == bytes.n) {
            if (at->bytes && memcmp(at->bytes, bytes.p, bytes.n) == 0)
                return at;
            if (!at->bytes) {
                at->bytes = xmemdupz(bytes.p, bytes.n);
                return at;
            }
        }
        if (!least || is_less(at, least))
            least = at;
    }
    free(least->bytes);
    *least = (struct journal_common){.hash = hash, .n = (uint32_t)bytes.n};
    return NULL;
}
