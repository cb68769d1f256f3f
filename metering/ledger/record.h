/*
 * record.h - the record of a request: one per attempt, written once, never changed.
 *
 * Views are borrowed from the exchange, or from the bytes that were decoded.
 */
#ifndef METERING_LEDGER_RECORD_H
#define METERING_LEDGER_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/tag.h"
#include "base/uuid7.h"
#include "metering/usage/usage.h"
#include "pricing/price.h"

/* Stored by number: the list only ever grows at its end.
 *      id                       word of the record   */
#define OUTCOMES(X)                                                                            \
    X(OUTCOME_OK, "ok")                                                                        \
    X(OUTCOME_TRUNCATED, "truncated")                                                          \
    X(OUTCOME_REFUSED, "refused")                                                              \
    X(OUTCOME_PROVIDER_ERROR, "provider_error")                                                \
    X(OUTCOME_CLIENT_ABORT, "client_abort")                                                    \
    X(OUTCOME_UPSTREAM_ABORT, "upstream_abort")                                                \
    X(OUTCOME_TIMEOUT, "timeout")                                                              \
    X(OUTCOME_CUT, "cut")                                                                      \
    X(OUTCOME_INTERRUPTED, "interrupted")

enum outcome {
#define OUTCOME_ID(id, name) id,
    OUTCOMES(OUTCOME_ID)
#undef OUTCOME_ID
        OUTCOME_COUNT
};

/* The word of the record. */
const char *outcome_name(enum outcome o);
/* False where no outcome has that name. */
bool outcome_parse(struct strv name, enum outcome *o);

/* The first bytes of a body that prefix_hash is of: some 1,024 tokens, the least that a provider
 * caches. */
enum { PROMPT_PREFIX_BYTES = 4096, RECORD_PREFIX_TOKENS = 1024 };
/* Longer bodies have no prompt_hash: hashing them whole would cost more than it is worth. */
enum { PROMPT_HASHED_BYTES = 32 << 10 };

/* Longer texts are cut when they are stored, so that every record fits a journal entry. */
enum { RECORD_TEXT_MAX_BYTES = 1024 };

struct record_line {
    enum meter meter;
    uint64_t quantity;
    struct money rate; /* per 1,000,000 */
    struct money amount;
};

struct record {
    struct uuid id;
    int64_t start_us, end_us;
    uint32_t attempt;       /* 0: not said */

    struct strv protocol, endpoint, method;
    struct strv model_requested, model;
    struct strv service_tier, provider_request_id;
    struct strv priced_model;         /* the name that was priced, where it is not model */
    struct strv region;               /* as served, where it has a price of its own */
    struct strv detail[DETAIL_COUNT]; /* what the price may depend on; empty: not known */
    bool stream;
    int status; /* 0: the provider never answered */
    enum outcome outcome;

    struct usage usage;
    enum usage_source usage_source;

    bool has_provider_cost;
    struct money provider_cost;

    enum price_status price_status; /* PRICE_NONE: cost_usd is null */
    struct money cost, list_cost;
    size_t n_lines;
    struct strv price_id, price_confidence, book;
    enum price_match price_match;
    unsigned price_flags;

    int64_t latency_us, first_byte_us; /* first_byte_us < 0: none came */
    uint64_t bytes_in, bytes_out;
    struct strv parts; /* of a cost that is a sum: see record_part.h; empty: not kept */
    /*
     * Keyed hashes of the request's body and of its first PROMPT_PREFIX_BYTES, to find
     * repetitions; 0: not taken.  Nothing of the body can be had from them.
     */
    uint64_t prompt_hash, prefix_hash;
    bool is_repeat;    /* the same team had an answer to the very same request a day ago at most */
    bool is_cacheable; /* its prefix was sent within the last minutes, and no token was cached */
    struct strv node;
    /*
     * A correction: a line of its own that adds to the cost of an earlier one, which
     * stays as it is.  It counts as no request and as no tokens; cost, list_cost and
     * the lines' amounts are what is to be added (correction.h).
     */
    bool is_correction;
    bool was_unpriced; /* of a record that had no price: cost is its whole price */
    struct uuid corrects;
    struct strv reason, corrected_by;
    struct subject subject; /* model is the one priced: the response's, else the request's */
    struct record_line lines[METER_COUNT]; /* n_lines of them; the others are never looked at */
};

/* All empty.  Dear enough, once a request, to leave unused free tags and lines as they are. */
static inline void record_clear(struct record *r)
{
    memset(r, 0, offsetof(struct record, subject.free));
}

/* Takes the cost into the record; its views are borrowed on. */
void record_set_cost(struct record *r, const struct cost *cost, struct strv book);

/*
 * Compact binary form (tag, length, value; unknown tags are skipped, so older
 * readers read newer records).  Appends to out.  Numbers that cannot be (a negative
 * latency) are stored as the nearest that can.  RC_LIMIT where out has no room,
 * RC_BAD for more lines or free tags than a record has, or one without a name.
 */
enum rc record_encode(const struct record *r, struct buf *out) RC_MUST;
/*
 * Views look into bytes.  RC_BAD for anything that record_encode, of this or a newer
 * version, does not write; out is not to be used then.
 */
enum rc record_decode(struct strv bytes, struct record *out) RC_MUST;
/* The same for id and start_us alone: nothing else of out is set, what follows is not read. */
enum rc record_decode_id(struct strv bytes, struct record *out) RC_MUST;
/* The record as one JSON object with the contract's fields, absent where they do not apply. */
enum rc record_json(const struct record *r, struct buf *out) RC_MUST;
/*
 * The record as a line of CSV (RFC 4180, CRLF), and the line of its columns' names.
 * Text that a spreadsheet would take for a formula gets a leading '; what does not
 * apply is empty.
 */
enum rc record_csv(const struct record *r, struct buf *out) RC_MUST;
enum rc record_csv_header(struct buf *out) RC_MUST;

#endif
