/* What a record has been charged, and the line that makes it right. */
#include "metering/ledger/correction.h"

#include <string.h>

#include "base/check.h"
#include "base/digest.h"
#include "metering/ledger/read_int.h"

/* ---- what was charged ---------------------------------------------------------------- */

static void add_charge(struct charged *c, const struct record *r)
{
    if (r->price_status == PRICE_NONE)
        return;
    c->is_priced = true;
    c->cost = ledger_money_add(c->cost, r->cost);
    c->list = ledger_money_add(c->list, r->list_cost);
    for (size_t i = 0; i < r->n_lines; i++) {
        struct money *m = &c->by_meter[r->lines[i].meter];

        *m = ledger_money_add(*m, r->lines[i].amount);
    }
}

enum rc ledger_read_charged(struct ledger_reader *r, const struct record *record,
                            struct charged *out, struct fail *fail)
{
    sqlite3_stmt *of = r->corrections;
    enum rc rc = RC_OK;
    int code = SQLITE_DONE;

    ASSERT(r->in_view && !record->is_correction);
    *out = (struct charged){.is_priced = false};
    add_charge(out, record);
    db_bind_blob(of, 1, strv_make((const char *)record->id.b, UUID_BYTES));
    while (rc == RC_OK && (code = sqlite3_step(of)) == SQLITE_ROW) {
        struct record correction;

        /* The caller's record looks into the bytes of the other statement. */
        rc = read_value_body(r, sqlite3_column_int64(of, 0), &correction, fail);
        if (rc == RC_OK)
            add_charge(out, &correction);
        out->corrections++;
    }
    if (rc == RC_OK && code != SQLITE_DONE)
        rc = read_failed(r, fail);
    sqlite3_reset(of);
    return rc;
}

/* ---- the line that makes it right ------------------------------------------------------ */

/* Time of the record, so that ids of one time stand together; the rest from what it says. */
static void make_id(const struct record *record, uint64_t corrections, struct uuid *id)
{
    unsigned char digest[SHA256_BYTES];
    char bytes[UUID_BYTES + sizeof(corrections)];

    memcpy(bytes, record->id.b, UUID_BYTES);
    memcpy(bytes + UUID_BYTES, &corrections, sizeof(corrections));
    digest_sha256(strv_make(bytes, sizeof(bytes)), digest);
    memcpy(id->b, record->id.b, 6);
    memcpy(id->b + 6, digest, UUID_BYTES - 6);
    id->b[6] = (unsigned char)((id->b[6] & 0x0f) | 0x80); /* version 8, RFC 9562 section 5.8 */
    id->b[8] = (unsigned char)((id->b[8] & 0x3f) | 0x80);
}

/* Each meter's new amount less what it was charged; meters that are no more give all back. */
static void make_lines(const struct charged *charged, const struct cost *cost,
                       struct record *out)
{
    bool is_told[METER_COUNT] = {false};

    out->n_lines = 0;
    for (size_t i = 0; i < cost->n_lines; i++) {
        const struct cost_line *line = &cost->lines[i];
        struct record_line made = {.meter = line->meter, .rate = line->rate};

        made.amount = money_sub(
            line->amount, is_told[line->meter] ? MONEY_ZERO : charged->by_meter[line->meter]);
        made.quantity = charged->is_priced ? 0 : line->quantity;
        is_told[line->meter] = true;
        if (!money_is_zero(made.amount) || made.quantity)
            out->lines[out->n_lines++] = made;
    }
    for (unsigned m = 0; m < METER_COUNT && out->n_lines < METER_COUNT; m++) {
        if (!is_told[m] && !money_is_zero(charged->by_meter[m]))
            out->lines[out->n_lines++] = (struct record_line){
                .meter = (enum meter)m,
                .amount = money_sub(MONEY_ZERO, charged->by_meter[m]),
            };
    }
}

bool correction_make(const struct record *record, const struct charged *charged,
                     const struct cost *cost, struct strv book, struct strv reason,
                     struct strv by, int64_t closed_us, struct record *out)
{
    if (cost->status == PRICE_NONE)
        return false;
    if (charged->is_priced && money_cmp(charged->cost, cost->contracted) == 0 &&
        money_cmp(charged->list, cost->list) == 0)
        return false;
    *out = *record;
    record_set_cost(out, cost, book);
    out->cost = money_sub(cost->contracted, charged->cost);
    out->list_cost = money_sub(cost->list, charged->list);
    make_lines(charged, cost, out);
    out->is_correction = true;
    out->was_unpriced = !charged->is_priced;
    out->corrects = record->id;
    make_id(record, charged->corrections, &out->id);
    out->reason = reason;
    out->corrected_by = by;
    if (out->end_us < closed_us)
        out->start_us = out->end_us = closed_us;
    /* What tells of the request itself is told by its own line. */
    out->has_provider_cost = false;
    out->provider_cost = MONEY_ZERO;
    out->prompt_hash = out->prefix_hash = 0;
    out->latency_us = 0;
    out->first_byte_us = -1;
    out->bytes_in = out->bytes_out = 0;
    return true;
}
