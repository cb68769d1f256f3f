/*
 * commitments.h - spend that was paid beforehand, and which requests it covers.
 *
 * One rule for the FOCUS export and the report: a commitment covers the requests of its account
 * that end in its term, in that order and each whole, until one does not fit; from then on none.
 * Of several that are open the first in order of id is asked first.
 */
#ifndef REPORTS_COMMITMENTS_H
#define REPORTS_COMMITMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/strv.h"
#include "metering/ledger/record.h"
#include "pricing/money.h"
#include "reports/books.h"

struct commitment {
    struct strv id, name, account, provider; /* name, provider: empty where not said */
    int64_t from_us, to_us;                  /* its term: days of UTC, the provider's */
    struct money amount;
    struct money used; /* so far; from 0 to amount */
    bool is_used_up;   /* something did not fit */
};

struct commitments {
    struct commitment *at; /* in order of id */
    size_t n;
    struct books_table table; /* their texts */
};
/* Those that finance imported; none where state_dir is NULL. RC_IO with fail; release it always. */
enum rc commitments_read(const char *state_dir, struct commitments *out,
                         struct fail *fail) RC_MUST;
void commitments_release(struct commitments *c);

/*
 * From when on requests tell what was used of those whose term is not over at at_us: their terms'
 * begin, or that of an earlier term whose rest they were used beside.  At most at_us.
 */
int64_t commitments_since(const struct commitment *at, size_t n, int64_t at_us);

/* Whether a commitment may cover the record; then *cost is what of it: its cost lines. */
bool commitment_may_cover(const struct record *r, struct money *cost);
/* Whether the account's requests that end at this time are in its term. */
bool commitment_is_for(const struct commitment *c, struct strv account, int64_t end_us);
/* The one that covers such a cost, which has then used it; NULL: none. In order of end. */
struct commitment *commitments_cover(struct commitment *at, size_t n, struct strv account,
                                     int64_t end_us, struct money cost);

#endif
