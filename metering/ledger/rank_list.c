/*
 * rank_list.c - see rank_list.h.
 */
#include "metering/ledger/rank_list.h"

#include <stdlib.h>

#include "base/xalloc.h"

enum {
    OP_ROW = 0,
    OP_BUCKET = 1,
    OP_TEAM = 2,
    N_BITS = 3,
    N_SHORT = (1 << N_BITS) - 1,
    STEP_SHORT = 31,
    LIST_FIRST = 4096,
    CHUNKS_FIRST = 16,
};

/* ---- making one --------------------------------------------------------------------------- */

static void put(struct rank_list *l, uint64_t value)
{
    l->n += wire_make_u64((char *)l->bytes + l->n, value);
}

static void make_room(struct rank_list *l)
{
    if (l->cap - l->n >= RANK_ROW_BYTES_MAX)
        return;
    l->cap = l->cap ? l->cap * 2 : LIST_FIRST;
    l->bytes = xrealloc(l->bytes, l->cap);
}

static size_t begin_of(const struct rank_list *l, size_t i)
{
    return i ? l->chunks[i - 1].end : 0;
}

/* A chunk that the row of this team is the first of. */
static void open_chunk(struct rank_list *l, int64_t team)
{
    if (l->n_chunks == l->cap_chunks) {
        l->cap_chunks = l->cap_chunks ? l->cap_chunks * 2 : CHUNKS_FIRST;
        l->chunks = xrealloc(l->chunks, l->cap_chunks * sizeof(*l->chunks));
    }
    l->chunks[l->n_chunks++] = (struct rank_chunk){.first_team = team};
    l->last = (struct rank_row){.customer = -1};
    l->is_open = true;
}

static void close_chunk(struct rank_list *l)
{
    l->chunks[l->n_chunks - 1].end = l->n;
    l->chunks[l->n_chunks - 1].last_team = l->last.team;
    l->is_open = false;
}

static void write_next(struct rank_list *l)
{
    const struct rank_row *row = &l->next;
    size_t held = l->is_open ? l->n - begin_of(l, l->n_chunks - 1) : 0;

    if (l->is_open && (held >= RANK_CHUNK_BYTES ||
                       (held >= RANK_TEAM_BYTES && row->team != l->last.team)))
        close_chunk(l);
    if (!l->is_open)
        open_chunk(l, row->team);
    make_room(l);
    if (row->team != l->last.team) {
        put(l, OP_TEAM);
        put(l, (uint64_t)row->team);
        l->last = (struct rank_row){.team = row->team, .customer = -1};
    }
    if (row->bucket != l->last.bucket) {
        put(l, OP_BUCKET);
        put(l, (uint64_t)(row->bucket - l->last.bucket));
        l->last.customer = -1;
    }
    if (row->customer - l->last.customer <= STEP_SHORT && row->n <= N_SHORT) {
        l->bytes[l->n++] = (unsigned char)((row->customer - l->last.customer) << N_BITS | row->n);
    } else {
        put(l, OP_ROW);
        put(l, (uint64_t)(row->customer - l->last.customer));
        put(l, (uint64_t)row->n);
    }
    l->last = *row;
}

void rank_list_add(struct rank_list *l, const struct rank_row *row)
{
    struct rank_row *next = &l->next;

    if (next->n > 0 && next->team == row->team && next->bucket == row->bucket &&
        next->customer == row->customer) {
        next->n += row->n;
        return;
    }
    if (next->n > 0)
        write_next(l);
    *next = *row;
}

void rank_list_end(struct rank_list *l)
{
    if (l->next.n > 0)
        write_next(l);
    if (l->is_open)
        close_chunk(l);
    l->next.n = 0;
}

struct strv rank_list_chunk(const struct rank_list *l, size_t i)
{
    size_t begin = begin_of(l, i);

    return strv_make((const char *)l->bytes + begin, l->chunks[i].end - begin);
}

void rank_list_free(struct rank_list *l)
{
    free(l->bytes);
    free(l->chunks);
}

/* ---- reading one --------------------------------------------------------------------------- */

void rank_read_begin(struct rank_reading *r, struct strv bytes)
{
    *r = (struct rank_reading){.in = wire_in(bytes), .customer = -1};
}

/* One that is not below `least`, nor, with what it is added to, beyond what there is. */
static int64_t get(struct rank_reading *r, int64_t least, int64_t to)
{
    uint64_t value = wire_get_u64(&r->in);
    int64_t room = to < INT32_MAX ? INT32_MAX - (to > 0 ? to : 0) : 0;

    if (value > (uint64_t)room || (int64_t)value < least) {
        r->in.bad = true;
        return least;
    }
    return (int64_t)value;
}

/* False: the chunk ends, or is bad. */
static bool read_long(struct rank_reading *r, unsigned char op, int64_t *n)
{
    if (op == OP_BUCKET) {
        r->bucket += get(r, 1, r->bucket);
        r->customer = -1;
    } else if (op == OP_TEAM) {
        r->team = get(r, 1, 0);
        r->bucket = 0;
        r->customer = -1;
    } else if (op == OP_ROW) {
        r->customer += get(r, 1, r->customer);
        *n = get(r, 1, 0);
    } else {
        r->in.bad = true;
    }
    return !r->in.bad;
}

bool rank_read(struct rank_reading *r, const struct rank_asked *of, size_t max, int64_t *team,
               int64_t *bucket, int64_t *customer, int64_t *n, size_t *rows)
{
    size_t at = 0;

    while (at < max && r->in.p < r->in.end) {
        unsigned char op = *r->in.p++;

        n[at] = op & N_SHORT;
        if (n[at] != 0 && op > N_SHORT) {
            r->customer += op >> N_BITS;
        } else {
            n[at] = 0;
            if (!read_long(r, op, &n[at]))
                break;
            if (n[at] == 0)
                continue;
        }
        if ((uint64_t)r->customer < of->n_asked && of->asked[r->customer] == 0)
            continue;
        team[at] = r->team;
        bucket[at] = r->bucket;
        customer[at++] = r->customer;
    }
    *rows = at;
    return !r->in.bad && r->customer <= INT32_MAX;
}

bool rank_read_counts(struct rank_reading *r, const struct rank_counts *c, const int32_t *row_of,
                      size_t n, bool *more, int64_t *customer, uint64_t *seen)
{
    bool has_bucket = r->bucket > 0 && (uint64_t)r->bucket <= c->buckets;
    uint32_t *count = has_bucket ? c->count + (size_t)(r->bucket - 1) * c->rows : NULL;

    *more = false;
    while (r->in.p < r->in.end) {
        const struct rank_reading was = *r;
        unsigned char op = *r->in.p++;
        int64_t of = op & N_SHORT;
        int32_t row;

        if (of != 0 && op > N_SHORT) {
            r->customer += op >> N_BITS;
        } else {
            of = 0;
            if (!read_long(r, op, &of))
                return false;
            if (of == 0) {
                has_bucket = r->bucket > 0 && (uint64_t)r->bucket <= c->buckets;
                count = has_bucket ? c->count + (size_t)(r->bucket - 1) * c->rows : NULL;
                continue;
            }
        }
        if (!count || of > UINT32_MAX)
            return false;
        row = (uint64_t)r->customer < n ? row_of[r->customer] : RANK_ROW_NEW;
        if (row == RANK_ROW_NEW) {
            *customer = r->customer;
            *more = true;
            *r = was;
            return r->customer <= INT32_MAX;
        }
        ++*seen;
        if (row == RANK_ROW_NONE)
            continue;
        if (row < 0 || (size_t)row >= c->rows)
            return false;
        count[row] += (uint32_t)of;
    }
    return true;
}
