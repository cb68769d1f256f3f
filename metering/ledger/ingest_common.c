/*
 * ingest_common.c - records as they come from the journal: what they share is known from
 * earlier ones (record_common.h), and only the rest is decoded.
 *
 * A cache that is full is emptied, as those of ingest_word.c are.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/digest.h"
#include "base/xalloc.h"
#include "metering/ledger/ingest_int.h"

/* Of a decoded common part: what record_clear clears. */
enum { DECODED_BYTES = offsetof(struct record, subject.free) };

void ingest_forget_commons(struct ingest *in)
{
    for (size_t i = 0; i < in->commons.n; i++)
        free(in->known_commons[i].decoded);
    in->common_bytes = 0;
    in->known = NULL;
    dict_clear(&in->commons);
}

/* Into in->known where it shares what others do. */
static void find(struct ingest *in)
{
    const int64_t *at = dict_get(&in->commons, in->stored.common);

    in->known = at ? &in->known_commons[*at] : NULL;
}

/* Into in->stored, and found. */
static enum rc split(struct ingest *in, struct strv bytes)
{
    enum rc rc;

    in->known = NULL;
    rc = record_split(bytes, &in->common, &in->own, &in->stored);
    if (rc == RC_OK)
        find(in);
    return rc;
}

enum rc ingest_decode(struct ingest *in, const struct stored_record *s, struct record *out)
{
    enum rc rc = RC_OK;

    if (s->id.n == 0) {
        rc = split(in, s->own);
    } else {
        in->stored = *s;
        find(in);
    }
    if (rc != RC_OK)
        return rc;
    if (!in->known)
        return record_decode_stored(s, out);
    memcpy(out, in->known->decoded, DECODED_BYTES);
    return record_decode_own(&in->stored, out);
}

enum rc ingest_record(struct ingest *in, const struct record *r, struct strv bytes,
                      bool *is_new, struct fail *fail)
{
    enum rc rc = split(in, bytes);

    if (rc == RC_OK)
        return ingest_decoded(in, r, is_new, fail);
    *fail = (struct fail){.rc = rc, .doing = "store a record of this form"};
    return rc;
}

/* Found by a hash that nobody can make alike for many, and compared. */
static enum rc find_or_add(struct ingest *in, struct strv body, int64_t *id, struct fail *fail)
{
    sqlite3_stmt *find = in->sql[SQL_COMMON_FIND], *add = in->sql[SQL_COMMON_ADD];
    unsigned char digest[SHA256_BYTES];
    int code = SQLITE_ROW;
    int64_t hash;
    enum rc rc;

    digest_sha256(body, digest);
    memcpy(&hash, digest, sizeof(hash));
    sqlite3_bind_int64(find, 1, hash);
    *id = 0;
    while (*id == 0 && (code = sqlite3_step(find)) == SQLITE_ROW) {
        if (strv_eq(db_column(find, 1), body))
            *id = sqlite3_column_int64(find, 0);
    }
    rc = *id != 0 || code == SQLITE_DONE
             ? RC_OK
             : db_failed(in->db, fail, "look up what records share");
    sqlite3_reset(find);
    if (rc != RC_OK || *id != 0)
        return rc;
    sqlite3_bind_int64(add, 1, hash);
    db_bind_blob(add, 2, body);
    rc = db_run(add, fail, "store what records share");
    if (rc == RC_OK)
        *id = sqlite3_last_insert_rowid(in->db);
    return rc;
}

/* Decoded from a copy of its own, behind the record. */
static enum rc keep(struct ingest *in, int64_t id, int64_t combo, struct fail *fail)
{
    struct strv body = in->stored.common;
    size_t bytes = DECODED_BYTES + body.n;
    struct record decoded;
    enum rc rc;
    char *to;

    if (in->commons.n >= INGEST_COMMONS_MAX ||
        in->commons.far_bytes + in->common_bytes + body.n + bytes > INGEST_COMMONS_BYTES)
        ingest_forget_commons(in);
    to = xmalloc(bytes);
    (void)strv_copy(to + DECODED_BYTES, body);
    rc = record_decode_common(strv_make(to + DECODED_BYTES, body.n), &decoded);
    if (rc != RC_OK) {
        free(to);
        *fail = (struct fail){.rc = rc, .doing = "store a record of this form"};
        return rc;
    }
    memcpy(to, &decoded, DECODED_BYTES);
    in->known_commons[in->commons.n] = (struct known_common){id, combo, to};
    in->common_bytes += bytes;
    dict_put(&in->commons, body, (int64_t)in->commons.n);
    return RC_OK;
}

enum rc ingest_common(struct ingest *in, const struct record *r, int64_t *id, int64_t *combo,
                      struct fail *fail)
{
    enum rc rc;

    if (in->known) {
        *id = in->known->id;
        *combo = in->known->combo;
        return RC_OK;
    }
    rc = ingest_combo(in, r, combo, fail);
    if (rc == RC_OK)
        rc = find_or_add(in, in->stored.common, id, fail);
    return rc == RC_OK ? keep(in, *id, *combo, fail) : rc;
}
