#include "metering/ledger/record_common.h"

#include "metering/ledger/record_int.h"
#include "metering/ledger/wire.h"

/*
 * What many requests share: all that a combination is of, and what goes with it.  Stored
 * parts are joined whatever stands where, so the list may change.
 */
static const bool is_common[TAG_LIMIT] = {
    [TAG_DIM + DIM_TEAM] = true,
    [TAG_DIM + DIM_FEATURE] = true,
    [TAG_DIM + DIM_ENVIRONMENT] = true,
    [TAG_DIM + DIM_TASK_TYPE] = true,
    [TAG_DIM + DIM_KEY] = true,
    [TAG_DIM + DIM_MODEL] = true,
    [TAG_DIM + DIM_UPSTREAM] = true,
    [TAG_SOURCES] = true,
    [TAG_PROTOCOL] = true,
    [TAG_ENDPOINT] = true,
    [TAG_METHOD] = true,
    [TAG_MODEL_REQUESTED] = true,
    [TAG_MODEL] = true,
    [TAG_SERVICE_TIER] = true,
    [TAG_STREAM] = true,
    [TAG_STATUS] = true,
    [TAG_OUTCOME] = true,
    [TAG_USAGE_SOURCE] = true,
    [TAG_PRICE_STATUS] = true,
    [TAG_PRICE_ID] = true,
    [TAG_PRICE_CONFIDENCE] = true,
    [TAG_BOOK] = true,
    [TAG_PRICE_MATCH] = true,
    [TAG_PRICE_FLAGS] = true,
    [TAG_NODE] = true,
    [TAG_REGION] = true,
    [TAG_PRICED_MODEL] = true,
};

static inline char *copy(char *to, const unsigned char *from, const unsigned char *end)
{
    return strv_copy(to, strv_make((const char *)from, (size_t)(end - from)));
}

/* Fields of one kind stand in runs, which are copied as they are. */
enum rc record_split(struct strv bytes, struct buf *common, struct buf *own,
                     struct stored_record *out)
{
    struct wire_in in = wire_in(bytes);
    uint64_t last = TAG_ID, tag;
    const unsigned char *run;
    char *to[2], *start[2];
    bool kind = false;

    if (wire_at_end(&in) || !record_next_field(&in, &tag, &out->id) || tag != TAG_ID ||
        out->id.n != UUID_BYTES)
        return RC_BAD;
    buf_clear(common);
    buf_clear(own);
    if (buf_reserve(common, bytes.n) != RC_OK || buf_reserve(own, bytes.n) != RC_OK)
        return RC_LIMIT;
    to[false] = start[false] = buf_tail(own);
    to[true] = start[true] = buf_tail(common);
    run = in.p;
    while (!wire_at_end(&in)) {
        const unsigned char *at = in.p;
        struct strv value;
        bool is;

        if (!record_next_field(&in, &tag, &value) ||
            (tag == TAG_END ? in.p != in.end : tag < last))
            return RC_BAD;
        last = tag;
        is = tag < TAG_LIMIT && is_common[tag];
        if (is == kind)
            continue;
        to[kind] = copy(to[kind], run, at);
        run = at;
        kind = is;
    }
    if (last != TAG_END)
        return RC_BAD;
    to[kind] = copy(to[kind], run, in.p);
    buf_commit(own, (size_t)(to[false] - start[false]));
    buf_commit(common, (size_t)(to[true] - start[true]));
    out->common = buf_view(common);
    out->own = buf_view(own);
    return RC_OK;
}

/* A field of a part, as its bytes. */
struct field {
    uint64_t tag;
    struct strv bytes;
};

/* False at the end, and where there is no field: in->bad then. */
static bool next(struct wire_in *in, struct field *out)
{
    const char *at = (const char *)in->p;
    struct strv value;

    if (wire_at_end(in) || !record_next_field(in, &out->tag, &value))
        return false;
    out->bytes = strv_make(at, (size_t)((const char *)in->p - at));
    return true;
}

static enum rc put_id(struct strv id, struct buf *out)
{
    static const char head[] = {TAG_ID, UUID_BYTES};
    enum rc rc;

    if (id.n == 0)
        return RC_OK;
    rc = buf_append(out, head, sizeof(head));
    return rc == RC_OK ? buf_append_strv(out, id) : rc;
}

enum rc record_join(const struct stored_record *s, struct buf *out)
{
    struct wire_in shared = wire_in(s->common), rest = wire_in(s->own);
    enum rc rc = put_id(s->id, out);
    struct field a, b;
    bool has = next(&shared, &a);

    while (rc == RC_OK && next(&rest, &b)) {
        while (rc == RC_OK && has && (a.tag < b.tag || b.tag == TAG_END)) {
            rc = buf_append_strv(out, a.bytes);
            has = next(&shared, &a);
        }
        if (rc == RC_OK)
            rc = buf_append_strv(out, b.bytes);
    }
    if (rc == RC_OK && (has || shared.bad || rest.bad))
        rc = RC_BAD;
    return rc;
}

struct stored_record stored_record(struct strv id, struct strv common, struct strv own)
{
    bool is_whole = own.n > 0 && own.p[0] == TAG_ID;

    return (struct stored_record){is_whole ? STRV_NONE : id, common, own};
}

/* False: it names what is not there. */
static bool parts_of(sqlite3_stmt *row, int at, struct stored_record *out)
{
    *out = stored_record(db_column(row, at), db_column(row, at + 2), db_column(row, at + 1));
    return sqlite3_column_type(row, at + 2) != SQLITE_NULL;
}

enum rc record_of_row(sqlite3_stmt *row, int at, struct record *out)
{
    struct stored_record s;

    return parts_of(row, at, &s) ? record_decode_stored(&s, out) : RC_BAD;
}

enum rc record_bytes_of_row(sqlite3_stmt *row, int at, struct buf *out)
{
    struct stored_record s;

    return parts_of(row, at, &s) ? record_join(&s, out) : RC_BAD;
}
