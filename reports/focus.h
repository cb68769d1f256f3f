/*
 * focus.h - the ledger in the FinOps Open Cost and Usage Specification, 1.2 and 1.4.
 *
 * A request is several charges (uncached input, cache reads, output), so a row is one
 * charge of one SKU price in a charge period with one set of tags.  Rows come out in
 * order of period, then of key: the same ledger gives the same bytes.  Costs are the
 * ledger's to the last digit; list and contracted cost are exactly unit price times
 * quantity, where a row has both.  Requests without a price are no rows (a cost cannot be
 * unknown there); they are counted.  What a request cost beyond its cost lines is a row too:
 * an adjustment without a SKU.
 *
 * A correction adds to an amount and to no quantity.  Where its request is of an earlier
 * billing period it has the class Correction, the request's charge period and its own billing
 * period; else it is an adjustment.
 *
 * Columns in order of their names, our own (x_) after them.  Keys of a later FOCUS
 * version carry x_ until then.
 */
#ifndef REPORTS_FOCUS_H
#define REPORTS_FOCUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "metering/ledger/record.h"
#include "pricing/price.h"
#include "reports/commitments.h"

struct focus_shares; /* focus_shares.h */

enum focus_version { FOCUS_1_2 = 0, FOCUS_1_4, FOCUS_VERSIONS };
/* "1.2", "1.4" */
const char *focus_version_name(enum focus_version version);

enum focus_grain { FOCUS_DAY = 0, FOCUS_HOUR, FOCUS_REQUEST };

enum {
    FOCUS_PERIOD_ROWS_MAX = 1 << 20, /* of one charge period; more is RC_LIMIT */
    FOCUS_ROW_MAX_BYTES = 64 << 10,
};

/* The account that a provider bills; views, empty where not configured. */
struct focus_account {
    struct strv billing_id, billing_name, sub_id, sub_name;
    struct strv region; /* where its models are served, for records that do not tell */
};
/* Of an upstream by its name. */
typedef void focus_account_fn(struct strv upstream, struct focus_account *out, void *arg);
/* The invoice of an account and a month (its first instant, UTC); empty: none is known yet. */
typedef struct strv focus_invoice_fn(struct strv account, int64_t month_us, void *arg);
/* When the request of a correction ended; false where its line is not to be had. */
typedef bool focus_origin_fn(const struct uuid *id, int64_t *end_us, void *arg);
/* Takes rows, several at once, with their line ends. False ends the export with RC_IO. */
typedef bool focus_write_fn(struct strv text, void *arg);

struct focus_options {
    enum focus_version version;
    enum focus_grain grain;
    const struct book *list;   /* without contract rules; NULL: list prices are not looked up */
    focus_account_fn *account; /* NULL: the upstream's name is the account */
    focus_invoice_fn *invoice; /* NULL: no invoice is known */
    focus_origin_fn *origin;   /* NULL: told from the id, which has the request's begin */
    focus_write_fn *write;
    void *arg;
    /*
     * What they cover is billed at nothing; the purchase is a row, and so is what the term left
     * unused.  Borrowed; what is used of them is written here.
     */
    struct commitment *commitments;
    size_t n_commitments;
    struct focus_shares *shares; /* 1.4 alone: who bears pools; borrowed; NULL: nothing is split */
};

struct focus_counts {
    uint64_t requests, rows; /* rows: origin charges split among bearers count as their parts */
    uint64_t unpriced; /* requests that are in no row */
    uint64_t without_line; /* records that cost more, or less, than their lines */
    uint64_t partly;   /* requests some of whose quantities have no rate */
    uint64_t
        list_unknown; /* charges whose list price is not known: the contracted one stands */
    struct money billed, effective, list, contracted; /* the last two rounded to 10^-18 */
    struct money metered; /* effective cost of all rows but those of commitments themselves */
};

struct focus;

struct focus *focus_new(const struct focus_options *options);
void focus_free(struct focus *f);
/* The header line. */
enum rc focus_header(struct focus *f) RC_MUST;
/*
 * One record, the ledger's line seq; in order of end. RC_LIMIT: too many rows in a period, or an
 * amount too large.
 */
enum rc focus_add(struct focus *f, uint64_t seq, const struct record *r) RC_MUST;
/* A record of before the export's period: it may use up commitments. In order of end. */
void focus_pass(struct focus *f, const struct record *r);
/* Rows of the commitments whose term begins in [from, to): before all records. */
enum rc focus_purchases(struct focus *f, int64_t from_us, int64_t to_us) RC_MUST;
/* Writes what is held, then what terms that end in (from, to] left unused. */
enum rc focus_finish(struct focus *f, int64_t from_us, int64_t to_us) RC_MUST;
const struct focus_counts *focus_counts(const struct focus *f);
/* The metadata that belongs beside the data: one JSON object. */
enum rc focus_metadata(const struct focus *f, int64_t now_us, const char *version,
                       struct buf *out) RC_MUST;

#endif
