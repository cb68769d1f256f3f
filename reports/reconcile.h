/*
 * reconcile.h - the ledger beside what a provider says, each difference in one class.
 *
 * Both sides are laid out in cells of day (UTC), account, model and token class, as fine
 * as the files tell.  A cell's whole difference goes to exactly one class, so the classes
 * sum to the total difference, and what is left unexplained is a number.
 */
#ifndef REPORTS_RECONCILE_H
#define REPORTS_RECONCILE_H

#include "metering/ledger/ledger_read.h"
#include "reports/invoice.h"

enum reconcile_class {
    RECONCILE_MATCHED = 0,
    RECONCILE_ROUNDING,          /* below half the provider's unit a line */
    RECONCILE_BOUNDARY,          /* on the other side of midnight: days next to it cancel it */
    RECONCILE_MISSING_IN_LEDGER, /* the provider has more: calls that went past the gateway */
    RECONCILE_MISSING_AT_PROVIDER, /* the ledger has more: cancelled or late */
    RECONCILE_PRICE,               /* the same quantity at another price */
    RECONCILE_TIER,                /* the same quantity of another tier */
    RECONCILE_UNMETERED_TYPE, /* searches, storage, sessions that the ledger does not meter */
    RECONCILE_CREDIT_TAX,
    RECONCILE_UNEXPLAINED,
    RECONCILE_CLASSES,
};
/* "matched", "rounding", ... */
const char *reconcile_class_name(enum reconcile_class c);

/* What the configuration knows of an upstream; views, empty where nothing. */
struct reconcile_upstream {
    struct strv provider, account;
    struct strv billing; /* the account that is billed, where it is not the upstream's name */
};
typedef void reconcile_upstream_fn(struct strv upstream, struct reconcile_upstream *out,
                                   void *arg);

struct reconcile_cell {
    bool has_day;
    int64_t day_us; /* midnight, UTC */
    struct strv account, model;
    enum invoice_class token_class;
    enum invoice_kind kind;
    struct strv what;            /* of what is no tokens */
    bool has_quantity, has_cost; /* the provider's */
    money_int metered, invoiced; /* quantities */
    struct money metered_cost, invoiced_cost;
    uint64_t lines;                          /* of the provider */
    uint64_t unpriced;                       /* requests of the ledger */
    struct strv metered_tier, invoiced_tier; /* "(several)" */
    enum reconcile_class class;
};

/* Requests of one model and upstream of the ledger, and in which cells they are. */
struct reconcile_source {
    struct strv account, model;     /* as in a cell */
    struct strv own_model, upstream; /* as in the ledger */
};

struct reconcile {
    struct arena arena;
    struct reconcile_source *sources; /* each once */
    size_t n_sources, cap_sources;
    struct reconcile_cell *at; /* by day, account, model, class */
    size_t n, cap;
    bool by_day, by_account, by_model, by_class; /* what the files tell */
    struct money by[RECONCILE_CLASSES];          /* differences: invoiced less metered */
    struct money unit;                           /* the smallest that the provider writes */
};

struct reconcile_question {
    struct ledger_reader *reader;       /* within a view */
    const struct ledger_filter *filter; /* period and conditions of the ledger's side */
    const struct invoice *invoice;      /* lines outside the period are left out */
    reconcile_upstream_fn *upstream;    /* NULL: nothing is known */
    void *arg;
};

/* Release with reconcile_release, whatever it returned. */
enum rc reconcile_run(const struct reconcile_question *q, struct reconcile *out,
                      struct fail *fail) RC_MUST;
void reconcile_release(struct reconcile *r);

/* ---- for reconcile.c ------------------------------------------------------------------- */

/* Gives every cell its class and adds up the classes. */
void reconcile_classify(struct reconcile *r);
/* A model's name without provider, date and version, in lower-case letters and digits. */
struct strv reconcile_model(struct arena *arena, struct strv model);

#endif
