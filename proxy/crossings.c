#include "proxy/crossings.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "metering/ledger/journal.h"
#include "metering/limits/limit.h"
#include "proxy/config.h"
#include "proxy/counters.h"

enum {
    CROSSINGS_WORKER = 998, /* in the name of their segments */
    NEW_MAX = 10000,        /* noted by one look; further ones by the next */
};

/* What others spent of a counter. */
struct share {
    unsigned limit;
    char *scope;
    int64_t start_us;
    uint64_t spent;
};

/* A threshold of the limit looked at that was reached before. */
struct known {
    char *scope;
    unsigned percent;
    uint64_t amount;
    enum crossing_told told;
};

struct noted {
    struct crossing_note note;
    char *scope, *teller;
};

struct crossings {
    const struct config *config;
    struct ledger_reader *reader;
    const char *owner;
    int64_t now_us;
    struct limiter_options options;
    bool away; /* Redis did not answer in this look */
    struct share *shares;
    size_t n_shares, cap_shares;
    size_t limit; /* whose are known */
    bool has_known;
    struct known *known;
    size_t n_known, cap_known;
    struct noted *noted;
    size_t n_noted, cap_noted;
};

struct crossings *crossings_new(void)
{
    return xcalloc(1, sizeof(struct crossings));
}

static void forget_known(struct crossings *c)
{
    for (size_t i = 0; i < c->n_known; i++)
        free(c->known[i].scope);
    c->n_known = 0;
    c->has_known = false;
}

static void forget(struct crossings *c)
{
    for (size_t i = 0; i < c->n_shares; i++)
        free(c->shares[i].scope);
    for (size_t i = 0; i < c->n_noted; i++) {
        free(c->noted[i].scope);
        free(c->noted[i].teller);
    }
    c->n_shares = c->n_noted = 0;
    forget_known(c);
}

void crossings_free(struct crossings *c)
{
    if (!c)
        return;
    forget(c);
    free(c->shares);
    free(c->known);
    free(c->noted);
    free(c);
}

/* Room for one more in an array of so many. */
static void *grow(void *at, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return at;
    *cap = *cap ? *cap * 2 : 64;
    return xrealloc(at, *cap * size);
}

/* ---- what others spent ----------------------------------------------------------------- */

static int share_order(const void *a, const void *b)
{
    const struct share *x = a, *y = b;

    if (x->limit != y->limit)
        return x->limit < y->limit ? -1 : 1;
    if (x->start_us != y->start_us)
        return x->start_us < y->start_us ? -1 : 1;
    return strcmp(x->scope, y->scope);
}

static void on_counter(const struct limit_counter *counter, void *arg)
{
    struct crossings *c = arg;

    if (counter->spent <= counter->own)
        return;
    c->shares = grow(c->shares, c->n_shares, &c->cap_shares, sizeof(*c->shares));
    c->shares[c->n_shares++] =
        (struct share){.limit = counter->limit,
                       .scope = xmemdupz(counter->scope.p, counter->scope.n),
                       .start_us = counter->start_us,
                       .spent = counter->spent - counter->own};
}

void crossings_begin(struct crossings *c, const struct config *config, const char *owner,
                     struct ledger_reader *reader, int64_t now_us)
{
    forget(c);
    c->config = config;
    c->owner = owner;
    c->reader = reader;
    c->now_us = now_us;
    c->options = counters_options(config);
    c->options.owner = owner;
    c->away = config->counters_redis && limit_set_count(config->limits) > 0 &&
              limit_read(&c->options, NULL, config->limits, now_us, on_counter, c) != RC_OK;
    if (c->n_shares > 0)
        qsort(c->shares, c->n_shares, sizeof(*c->shares), share_order);
}

static char *text_of(struct strv s)
{
    return xmemdupz(s.n ? s.p : "", s.n);
}

money_int crossings_others(struct crossings *c, const struct outlook *o)
{
    struct share key = {.limit = (unsigned)o->limit, .start_us = o->from_us};
    const struct share *found = NULL;

    if (c->n_shares > 0) {
        key.scope = text_of(o->scope);
        found = bsearch(&key, c->shares, c->n_shares, sizeof(*c->shares), share_order);
        free(key.scope);
    }
    if (!found)
        return 0;
    return o->def->unit == UNIT_USD ? (money_int)found->spent * ATTO_PER_NANO
                                    : (money_int)found->spent;
}

/* ---- which were reached before --------------------------------------------------------- */

static int known_order(const void *a, const void *b)
{
    const struct known *x = a, *y = b;

    if (x->percent != y->percent)
        return x->percent < y->percent ? -1 : 1;
    if (x->amount != y->amount)
        return x->amount < y->amount ? -1 : 1;
    return strcmp(x->scope, y->scope);
}

static bool on_crossing(const struct ledger_crossing *crossing, void *arg)
{
    struct crossings *c = arg;
    enum crossing_told told = CROSSING_ELSEWHERE;

    if (crossing->teller.n == 0)
        told = CROSSING_NEW;
    else if (strv_eq(crossing->teller, strv_z(c->owner)))
        told = CROSSING_NOTED;
    c->known = grow(c->known, c->n_known, &c->cap_known, sizeof(*c->known));
    c->known[c->n_known++] = (struct known){.scope = text_of(crossing->scope),
                                            .percent = crossing->percent,
                                            .amount = crossing->amount,
                                            .told = told};
    return true;
}

/* Of a limit's window at once: outlooks come limit by limit. */
static bool read_known(struct crossings *c, const struct outlook *o)
{
    struct fail fail;

    if (c->has_known && c->limit == o->limit)
        return true;
    forget_known(c);
    if (ledger_read_crossings(c->reader, strv_z(o->def->name), o->from_us, o->to_us,
                              on_crossing, c, &fail) != RC_OK)
        return false;
    if (c->n_known > 0)
        qsort(c->known, c->n_known, sizeof(*c->known), known_order);
    c->has_known = true;
    c->limit = o->limit;
    return true;
}

/* ---- noting ---------------------------------------------------------------------------- */

static uint64_t as_counted(const struct outlook *o, money_int amount)
{
    if (o->def->unit == UNIT_USD)
        amount /= ATTO_PER_NANO;
    return amount > (money_int)LIMIT_VALUE_MAX ? LIMIT_VALUE_MAX : (uint64_t)amount;
}

/* Without channels nobody tells; without Redis everybody does who sees it. */
static void find_teller(struct crossings *c, const struct outlook *o, unsigned percent,
                        uint64_t amount, char out[LIMIT_OWNER_MAX_BYTES + 1])
{
    const struct limit_counter counter = {.limit = (unsigned)o->limit,
                                          .scope = o->scope,
                                          .start_us = o->from_us,
                                          .end_us = o->to_us};

    memset(out, 0, LIMIT_OWNER_MAX_BYTES + 1);
    if (c->config->alerts.n_channels == 0)
        return;
    if (!c->away)
        c->away = limit_teller(&c->options, c->config->limits, &counter, amount, percent,
                               c->now_us, out) != RC_OK;
    if (c->away)
        memcpy(out, c->owner, strlen(c->owner) + 1);
}

enum crossing_told crossings_note(struct crossings *c, const struct outlook *o,
                                  unsigned percent)
{
    struct known key = {.percent = percent, .amount = as_counted(o, o->amount)};
    char teller[LIMIT_OWNER_MAX_BYTES + 1];
    const struct known *before;
    struct noted *to;

    if (!read_known(c, o))
        return CROSSING_NEW;
    key.scope = text_of(o->scope);
    before = c->n_known
                 ? bsearch(&key, c->known, c->n_known, sizeof(*c->known), known_order)
                 : NULL;
    free(key.scope);
    if (before && (before->told != CROSSING_NEW || c->config->alerts.n_channels == 0))
        return before->told;
    find_teller(c, o, percent, key.amount, teller);
    if (c->n_noted < NEW_MAX) {
        c->noted = grow(c->noted, c->n_noted, &c->cap_noted, sizeof(*c->noted));
        to = &c->noted[c->n_noted++];
        *to = (struct noted){.scope = text_of(o->scope), .teller = xstrdup(teller)};
        to->note = (struct crossing_note){.at_us = c->now_us,
                                          .limit = strv_z(o->def->name),
                                          .scope = strv_z(to->scope),
                                          .start_us = o->from_us,
                                          .end_us = o->to_us,
                                          .percent = percent,
                                          .amount = key.amount,
                                          .spent = as_counted(o, o->spent),
                                          .teller = strv_z(to->teller)};
    }
    return teller[0] == '\0' || strcmp(teller, c->owner) == 0 ? CROSSING_NEW
                                                              : CROSSING_ELSEWHERE;
}

/*
 * A segment of its own, that is gone as soon as it is taken in.  It is not synced: what a power
 * cut takes is seen again by the next look, and Redis says again who tells.
 */
static enum rc write_noted(struct crossings *c, struct fail *fail)
{
    char *dir = xasprintf("%s/journal", c->config->state_dir);
    struct journal *j = journal_open(dir, CROSSINGS_WORKER, fail);
    enum rc rc = j ? RC_OK : RC_IO;

    for (size_t i = 0; i < c->n_noted && rc == RC_OK; i++)
        rc = journal_crossed(j, &c->noted[i].note);
    if (rc == RC_OK)
        rc = journal_flush(j, fail);
    journal_close(j);
    free(dir);
    return rc;
}

void crossings_end(struct crossings *c, bool keep)
{
    struct fail fail = {0};

    if (keep && c->n_noted > 0) {
        enum rc rc = write_noted(c, &fail);
        if (rc != RC_OK)
            log_line(LOG_WARN, "alerts", "could not note thresholds", "n=%zu reason=%s",
                     c->n_noted, rc_name(rc));
    }
    forget(c);
}
