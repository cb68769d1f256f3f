#include "proxy/owner.h"

#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/log.h"
#include "proxy/server_int.h"

enum { NAME_BYTES = 512 };

void owner_name(const char *node, int64_t installation, char out[OWNER_TEXT])
{
    unsigned char hash[SHA256_BYTES];
    struct buf name;

    buf_init(&name, NAME_BYTES);
    if (buf_append(&name, (const char *)&installation, sizeof(installation)) == RC_OK &&
        buf_append_strv(&name, strv_head(strv_z(node), NAME_BYTES - sizeof(installation))) ==
            RC_OK)
        digest_sha256(buf_view(&name), hash);
    else
        memset(hash, 0, sizeof(hash));
    buf_release(&name);
    digest_hex(hash, (OWNER_TEXT - 1) / 2, out);
}

enum rc owner_find(const struct config *config, char out[OWNER_TEXT], int64_t *start,
                   struct fail *fail)
{
    struct ledger_reader *reader = ledger_read_open(config->ledger_path, fail);
    int64_t installation = 0;
    bool is_books = false;
    enum rc rc = reader ? ledger_read_begin(reader, fail) : RC_IO;

    if (rc == RC_OK) {
        rc = ledger_read_identity(reader, &installation, start, fail);
        if (rc == RC_OK)
            rc = ledger_read_is_books(reader, &is_books, fail);
        ledger_read_end(reader);
    }
    ledger_read_close(reader);
    if (rc == RC_OK && is_books) {
        *fail = (struct fail){.rc = RC_STATE,
                              .doing = "say which part of the shared counters is this ledger's: it "
                                       "is a set of books, each gateway has its own"};
        rc = RC_STATE;
    }
    if (rc == RC_OK)
        owner_name(config->node, installation, out);
    return rc;
}

struct left {
    struct ledger_reader *reader;
    struct fail *fail;
    size_t settled, returned;
};

static bool take_amounts(uint64_t seq, const struct record *r, void *arg)
{
    struct limit_amounts *taken = arg;

    (void)seq;
    *taken = server_taken(r);
    return true;
}

static enum rc taken_by(const struct uuid *id, struct limit_amounts *taken, void *arg)
{
    struct left *left = arg;
    enum rc rc = ledger_read_line(left->reader, id, take_amounts, taken, left->fail);

    if (rc == RC_OK)
        left->settled++;
    if (rc != RC_STATE)
        return rc;
    left->returned++; /* never begun, or a lease */
    return RC_OK;
}

enum rc owner_adopt(const struct config *config, const struct limiter_options *options,
                    struct fail *fail)
{
    struct left left = {.reader = ledger_read_open(config->ledger_path, fail), .fail = fail};
    enum rc rc = left.reader ? ledger_read_begin(left.reader, fail) : RC_IO;

    if (rc == RC_OK) {
        rc = limit_adopt(options, taken_by, &left);
        ledger_read_end(left.reader);
    }
    ledger_read_close(left.reader);
    if (left.settled + left.returned > 0)
        log_line(LOG_INFO, "server", "settled what an earlier process had reserved",
                 "settled=%zu returned=%zu", left.settled, left.returned);
    return rc;
}
