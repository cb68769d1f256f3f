#include "proxy/orphans.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "metering/ledger/ledger_read.h"
#include "proxy/server_int.h"

enum { START_BITS = 4, NAME_BYTES = 512, ORPHANS_MAX = 1 << 20 };

uint32_t orphans_mark(const char *node, int64_t installation, int64_t start)
{
    unsigned char hash[SHA256_BYTES];
    struct buf name;
    uint32_t whose;

    buf_init(&name, NAME_BYTES);
    if (buf_append(&name, (const char *)&installation, sizeof(installation)) == RC_OK &&
        buf_append_strv(&name, strv_head(strv_z(node), NAME_BYTES - sizeof(installation))) ==
            RC_OK)
        digest_sha256(buf_view(&name), hash);
    else
        memset(hash, 0, sizeof(hash));
    buf_release(&name);
    whose = (uint32_t)hash[0] << 12 | (uint32_t)hash[1] << 4 | hash[2] >> 4;
    return whose << START_BITS | (uint32_t)(start & ((1 << START_BITS) - 1));
}

struct orphans {
    uint32_t mark;
    struct uuid *at;
    size_t n;
};

/* Of this ledger, and of another start than this one. */
static void take(const struct uuid *id, void *arg)
{
    struct orphans *o = arg;
    uint32_t mark = uuid_mark(id);

    if (mark == o->mark || mark >> START_BITS != o->mark >> START_BITS || o->n == ORPHANS_MAX)
        return;
    if ((o->n & (o->n - 1)) == 0) /* grown at powers of two */
        o->at = xrealloc(o->at, (o->n ? 2 * o->n : 1) * sizeof(o->at[0]));
    o->at[o->n++] = *id;
}

static bool take_amounts(uint64_t seq, const struct record *r, void *arg)
{
    struct limit_amounts *taken = arg;

    (void)seq;
    *taken = server_taken(r);
    return true;
}

static enum rc settle_each(struct server *s, const struct config *config,
                           const struct orphans *o, struct fail *fail)
{
    struct ledger_reader *reader = ledger_read_open(config->ledger_path, fail);
    enum rc rc = reader ? ledger_read_begin(reader, fail) : RC_IO;
    size_t returned = 0;

    for (size_t i = 0; i < o->n && rc == RC_OK; i++) {
        struct limit_amounts taken = {0};

        rc = ledger_read_line(reader, &o->at[i], take_amounts, &taken, fail);
        if (rc == RC_STATE) { /* never begun */
            returned++;
            rc = RC_OK;
        }
        if (rc == RC_OK)
            worker_post_settle(s->workers[0], &o->at[i], &taken);
    }
    if (rc == RC_OK)
        log_line(LOG_INFO, "server", "settled what an earlier process had reserved",
                 "settled=%zu returned=%zu", o->n - returned, returned);
    if (reader)
        ledger_read_end(reader);
    ledger_read_close(reader);
    return rc;
}

enum rc orphans_settle(struct server *s)
{
    struct generation *g = server_generation(s);
    const struct config *config = g->config;
    struct limiter_options options = {.redis_url = config->redis_url,
                                      .name_space = config->counters_namespace};
    struct orphans o = {.mark = s->id_mark};
    struct fail fail = {0};
    enum rc rc = limit_read_held(&options, take, &o);

    if (rc == RC_OK && o.n > 0)
        rc = settle_each(s, config, &o, &fail);
    if (rc != RC_OK)
        log_line(LOG_WARN, "server", "what an earlier process reserved cannot be settled yet",
                 "rc=%s", rc_name(rc));
    free(o.at);
    generation_unref(g);
    return rc == RC_OK ? RC_OK : RC_IO;
}
