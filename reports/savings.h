/*
 * savings.h - rules of the report savings, and what people decided about its findings.
 *
 * A decision is a line of the imported books: it names a finding by what the report
 * shows of it.  What it brought is measured: see savings_realised.
 */
#ifndef REPORTS_SAVINGS_H
#define REPORTS_SAVINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/rc.h"
#include "base/strv.h"
#include "base/zone.h"
#include "metering/ledger/ledger_read.h"
#include "pricing/money.h"
#include "reports/books.h"

struct savings_rule {
    const char *name, *confidence, *action;
};
/* The rules there are, NULL past the last. */
const struct savings_rule *savings_rule_at(size_t i);
/* NULL: no such rule. */
const struct savings_rule *savings_rule(struct strv name);

/* What a finding is keyed by, behind the report's fields. */
enum saving_key {
    KEY_RULE = 0,
    KEY_UPSTREAM,
    KEY_MODEL,
    KEY_OTHER,
    KEY_ENVIRONMENT,
    SAVING_KEYS
};

enum { SAVINGS_SCOPE_MAX = 8 };

struct savings_decision {
    struct strv key[SAVING_KEYS]; /* views into the table */
    /* The group that the finding is of: fields and values of the report's `by`; 0: of all. */
    struct {
        struct ledger_field field;
        struct strv value;
    } scope[SAVINGS_SCOPE_MAX];
    size_t n_scope;
    struct strv state, owner, note;
    int64_t since_us;
    bool is_done;
};
struct savings_decisions {
    struct books_table table;
    struct savings_decision *at;
    size_t n;
    struct arena arena; /* values of scopes */
};
/* Whether it is "feature=chat,customer=acme", values escaped as those of `where`. */
bool savings_scope_is_valid(struct strv text);
/* Release in any case. */
enum rc savings_decisions_read(const char *state_dir, const struct zone *zone,
                               struct savings_decisions *out, struct fail *fail) RC_MUST;
void savings_decisions_release(struct savings_decisions *d);

enum { SAVINGS_BEFORE_DAYS = 28 }; /* before a decision, for comparison */

/*
 * What a decision brought: what the finding came to before it, a request, times the
 * requests since, less what it still comes to.  False where there were no requests before.
 */
bool savings_realised(struct money before, uint64_t requests_before, struct money after,
                      uint64_t requests_after, struct money *out);

#endif
