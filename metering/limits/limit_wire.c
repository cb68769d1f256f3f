#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "metering/limits/limit_redis.h"

/*
 * A batch as limits.lua reads it: one flat MessagePack array (of the format's
 * specification: unsigned integers, strings, one array32).  Amounts are two
 * numbers, billions and rest, since Lua's are exact to 2^53 only.
 */
#define WIRE_BILLION UINT64_C(1000000000)

struct wire {
    struct buf *out;
    enum rc rc;
    uint32_t n; /* elements written */
};

static void put(struct wire *w, const void *bytes, size_t n)
{
    if (w->rc == RC_OK)
        w->rc = buf_append(w->out, (const char *)bytes, n);
}

static void put_big_endian(struct wire *w, unsigned char type, uint64_t value, int bytes)
{
    unsigned char coded[9] = {type};

    for (int i = 0; i < bytes; i++)
        coded[1 + i] = (unsigned char)(value >> (8 * (bytes - 1 - i)));
    put(w, coded, (size_t)bytes + 1);
}

static void put_uint(struct wire *w, uint64_t value)
{
    w->n++;
    if (value < 128) {
        unsigned char small = (unsigned char)value;

        put(w, &small, 1);
    } else if (value <= UINT16_MAX) {
        put_big_endian(w, 0xcd, value, 2);
    } else if (value <= UINT32_MAX) {
        put_big_endian(w, 0xce, value, 4);
    } else {
        put_big_endian(w, 0xcf, value, 8);
    }
}

/* Times and ages: never below zero. */
static void put_time(struct wire *w, int64_t us)
{
    put_uint(w, us > 0 ? (uint64_t)us : 0);
}

static void put_text(struct wire *w, struct strv s)
{
    w->n++;
    if (s.n < 32) {
        unsigned char head = (unsigned char)(0xa0 | s.n);

        put(w, &head, 1);
    } else if (s.n <= UINT8_MAX) {
        put_big_endian(w, 0xd9, s.n, 1);
    } else {
        ASSERT(s.n <= UINT16_MAX);
        put_big_endian(w, 0xda, s.n, 2);
    }
    put(w, s.p, s.n);
}

static void put_amount(struct wire *w, uint64_t value)
{
    put_uint(w, value / WIRE_BILLION);
    put_uint(w, value % WIRE_BILLION);
}

static bool has_claims(const struct limit_op *op)
{
    return op->type != OP_EXTEND && op->type != OP_ADOPT && op->type != OP_CLAIM;
}

/* Each counter that the batch names, once, in the order met. */
static void number_keys(struct batch *b)
{
    b->n_keys = 0;
    LIST_FOREACH (at, &b->ops) {
        const struct limit_op *op = LIST_OBJECT(at, struct limit_op, node);

        for (unsigned i = 0; has_claims(op) && i < op->n; i++) {
            struct counter_key *key = op->claims[i].key;

            if (key->batch == b->seq && key->index < b->n_keys && b->keys[key->index] == key)
                continue;
            key->batch = b->seq;
            key->index = b->n_keys;
            b->keys[b->n_keys++] = key;
        }
    }
}

static void put_key(struct wire *w, const struct counter_key *key)
{
    int64_t x = 0;

    switch (key->shape.kind) {
    case COUNTER_WINDOW:
        x = counter_expiry_s(&key->shape);
        break;
    case COUNTER_ROLLING:
        x = key->shape.bucket_us;
        break;
    case COUNTER_RUNNING:
        break;
    }
    put_text(w, strv_make(key->text, key->n));
    put_uint(w, (uint64_t)key->shape.kind);
    put_time(w, x);
    put_uint(w, key->shape.buckets);
}

static void put_claims(struct wire *w, const struct limit_op *op)
{
    for (unsigned i = 0; i < op->n; i++) {
        const struct op_claim *c = &op->claims[i];

        put_uint(w, c->key->index);
        put_uint(w, (uint64_t)c->unit);
        put_amount(w, c->amount);
        put_amount(w, c->limit);
        put_uint(w, c->enforce);
    }
}

static void put_actual(struct wire *w, const struct limit_op *op)
{
    for (int u = 0; u < UNIT_COUNT; u++)
        put_amount(w, value_settled(&op->actual, (enum limit_unit)u));
}

static void put_op(struct wire *w, const struct limit_op *op)
{
    int64_t age = clock_mono_us() - op->started_us;

    put_uint(w, (uint64_t)op->type);
    put_uint(w, has_claims(op) ? op->n : 0);
    switch (op->type) {
    case OP_RESERVE:
        put_claims(w, op);
        break;
    case OP_FORCE:
        put_time(w, age);
        put_time(w, op->lasts_us);
        put_claims(w, op);
        break;
    case OP_SETTLE:
        put_time(w, age);
        put_time(w, op->settled_us);
        put_actual(w, op);
        for (unsigned i = 0; i < op->n; i++) {
            put_uint(w, op->claims[i].key->index);
            put_uint(w, (uint64_t)op->claims[i].unit);
        }
        break;
    case OP_LEASE:
        put_claims(w, op);
        put_amount(w, op->order.want);
        put_amount(w, op->order.keep);
        put_amount(w, op->order.least);
        put_amount(w, op->order.spent);
        put_time(w, op->settled_us);
        break;
    case OP_ADOPT:
        put_actual(w, op);
        break;
    case OP_SET:
    case OP_FROM:
    case OP_ADD:
        put_claims(w, op);
        break;
    case OP_CLAIM:
        put_uint(w, op->from);
        put_uint(w, op->to);
        break;
    case OP_EXTEND:
        break;
    }
}

static void put_header(struct wire *w, const struct wire_header *h, const struct batch *b)
{
    put_uint(w, 1);
    put_text(w, strv_z(h->instance));
    put_text(w, strv_z(h->node));
    put_uint(w, h->seq);
    put_uint(w, h->base);
    put_uint(w, (h->flags & WIRE_HEARTBEAT) != 0);
    put_uint(w, (h->flags & WIRE_AWAIT) == 0 ? 0 : (h->flags & WIRE_AWAITED) == 0 ? 1 : 2);
    put_time(w, h->now_us);
    put_uint(w, (uint64_t)LIMIT_DEADLINE_S * US_PER_SECOND);
    put_uint(w, (uint64_t)LIMIT_EXPIRED_KEEP_S * US_PER_SECOND);
    put_uint(w, LIMIT_SWEEP_MAX);
    put_uint(w, (uint64_t)LIMIT_NODE_LIVE_S * US_PER_SECOND);
    put_uint(w, (uint64_t)LEASE_DEADLINE_S * US_PER_SECOND);
    put_uint(w, LEASE_SHARE);
    put_text(w, strv_z(h->owner));
    put_time(w, h->start);
    put_uint(w, LIMIT_COUNTED_KEEP_S);
    put_uint(w, (uint64_t)LIMIT_DOUBT_S * US_PER_SECOND);
    put_uint(w, LIMIT_REBUILD_MS);
    put_uint(w, b->n_keys);
    put_uint(w, b->n_ops);
}

enum rc wire_encode(const struct wire_header *header, struct batch *b, struct buf *out)
{
    struct wire w = {.out = out, .rc = RC_OK};
    size_t at = buf_len(out);

    number_keys(b);
    put_big_endian(&w, 0xdd, 0, 4); /* array32: its length is known at the end */
    put_header(&w, header, b);
    for (unsigned i = 0; i < b->n_keys; i++)
        put_key(&w, b->keys[i]);
    LIST_FOREACH (node, &b->ops) {
        const struct limit_op *op = LIST_OBJECT(node, struct limit_op, node);

        put_text(&w, strv_make((const char *)op->id.b, UUID_BYTES));
    }
    LIST_FOREACH (node, &b->ops)
        put_op(&w, LIST_OBJECT(node, struct limit_op, node));
    if (w.rc == RC_OK) {
        char *length = out->data + out->head + at + 1;

        for (int i = 0; i < 4; i++)
            length[i] = (char)(w.n >> (8 * (3 - i)));
    }
    return w.rc;
}
