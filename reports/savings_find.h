/*
 * savings_find.h - what could have cost less in a period, for the report of that name and the
 * digest.
 */
#ifndef REPORTS_SAVINGS_FIND_H
#define REPORTS_SAVINGS_FIND_H

#include "base/arena.h"
#include "pricing/price.h"
#include "reports/by_value.h"
#include "reports/savings.h"

struct savings_question {
    struct ledger_reader *reader;       /* within a view */
    const struct book *book;            /* NULL: what other prices would save is not looked for */
    const struct ledger_filter *filter; /* with the period */
    const struct ledger_field *by;
    size_t n_by;
    struct strv models; /* as models_like */
    int64_t now_us;
    size_t parts_bytes; /* which parts may take; 0: SAVING_PARTS_BYTES */
    /* Of these groups alone: n_scopes times n_by values.  NULL: of all. */
    const struct strv *scope;
    size_t n_scopes;
    /* With scope: retries of other groups too, as far as they may be among the first so many. */
    size_t first;
};

/*
 * What the question groups by, behind the fields asked for: what makes a price, and who waits.  Not by
 * outcome: most groups would be of a request or two, and some ten times as many.
 */
enum saving_field { Q_UPSTREAM = 0, Q_MODEL, Q_TIER, Q_PRICE, Q_ENVIRONMENT, Q_FIELDS };
extern const enum ledger_field_id saving_fields[Q_FIELDS];

enum { SAVING_PARTS_BYTES = 128 << 20 }; /* of parts; more is RC_LIMIT */

/* The question's fields of a row that a finding is made of. */
struct saving_part {
    const struct strv *value; /* Q_FIELDS */
    struct saving_part *next;
};

struct saving {
    struct valued valued; /* of the fields asked for, then SAVING_KEYS */
    uint64_t requests;
    struct money cost, saved;
    const struct savings_decision *decision; /* NULL: nobody has said anything */
    bool has_realised;
    struct money realised;
    struct saving_part *parts;
    size_t n_parts;
};

/* The requests of one combination of the fields asked for. */
struct saving_scope {
    struct valued valued;
    uint64_t requests;
    struct money cost;
};

/* Behind the fields asked for: what every finding but of retries is keyed by. */
enum { PAIR_UPSTREAM = 0, PAIR_MODEL, PAIR_FIELDS };

struct savings {
    struct savings_question q;
    struct by_value found, scopes; /* of struct saving, of struct saving_scope */
    struct by_value pairs;         /* the same by PAIR_FIELDS too, where q.scope is given */
    struct by_value tuples;        /* values of Q_FIELDS that parts have */
    struct arena parts;
    struct savings_narrow *narrow; /* where q.scope is given */
    struct money least;            /* below this, a retry is not among the first */
    enum rc rc;
};

/* RC_LIMIT: more findings than BY_VALUE_MAX, or parts than their bytes. Release in any case. */
enum rc savings_find(const struct savings_question *q, struct savings *out,
                     struct fail *fail) RC_MUST;
/* What the last of the first `top` findings so far saves; zero where there are fewer. */
struct money savings_least_of_first(const struct savings *s, size_t top);

/*
 * Where the first findings alone are asked for, the dearest pairs of a group and a model are looked at:
 * no finding saves more than its pair costs.  First few, then many, then all.
 */
enum { SAVINGS_PAIRS_FEW = 512, SAVINGS_PAIRS_MANY = 8192 };

/*
 * savings_find, of which the first `top` findings alone are looked at (0: all), and those of the
 * groups of q->scope, whatever they cost.  *is_part: groups without any of the SAVINGS_PAIRS_MANY
 * dearest pairs were not looked at, since all are more than savings_find takes, and might have one of
 * the first.
 */
enum rc savings_find_first(const struct savings_question *q, size_t top, struct savings *out,
                           bool *is_part, struct fail *fail) RC_MUST;
/*
 * Largest first; what saves nothing, and was not decided on, goes, as do those behind the first
 * `top` (0: none).
 */
void savings_sort(struct savings *s, size_t top);
void savings_release(struct savings *s);
/* What it comes to in a month at the pace of [from, to); to > from. */
struct money savings_monthly(const struct saving *saving, int64_t from_us, int64_t to_us);

#endif
