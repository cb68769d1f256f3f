#include "proxy/rebuild_find.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "proxy/config.h"
#include "reports/limit_spent.h"

enum { SCOPES_BYTES = 1 << 30 }; /* of all counters together */

void found_init(struct found *f)
{
    *f = (struct found){0};
    arena_init(&f->scopes, SCOPES_BYTES);
}

void found_release(struct found *f)
{
    arena_release(&f->scopes);
    free(f->at);
}

void found_add(const struct limit_counter *c, void *arg)
{
    struct found *f = arg;
    struct strv scope = arena_strv(&f->scopes, c->scope);

    if (!scope.p || f->n == LIMIT_COUNTERS_MAX) {
        f->full = true;
        return;
    }
    if (f->n == f->cap) {
        f->cap = f->cap ? f->cap * 2 : 64;
        f->at = xrealloc(f->at, f->cap * sizeof(f->at[0]));
    }
    f->at[f->n] = *c;
    f->at[f->n++].scope = scope;
}

/* ---- what the ledger says -------------------------------------------------------- */

/* A limit whose counters are more than can be kept is passed over: the others still hold. */
static enum rc find_one(const struct limit_spent_question *q, size_t i, struct found *f,
                        struct fail *fail)
{
    bool known;
    enum rc rc = limit_spent(q, i, found_add, f, &known, fail);
    const char *why = NULL;

    if (rc == RC_LIMIT || f->full)
        why = "more counters than can be kept";
    else if (rc == RC_OK && !known && limit_set_at(q->set, i)->unit != UNIT_CONCURRENT)
        why = "the ledger cannot be asked by so many dimensions";
    if (!why)
        return rc;
    log_line(LOG_ERROR, "rebuild", "a limit counts from zero", "limit=%s reason=\"%s\"",
             limit_set_at(q->set, i)->name, why);
    f->full = false;
    return RC_OK;
}

enum rc find_spent(const struct find_question *asked, struct found *found, struct fail *fail)
{
    const struct config *config = asked->config;
    struct limit_spent_question q = {.set = config->limits,
                                     .zone = config->zone,
                                     .now_us = asked->as_of_us,
                                     .until_us = asked->until_us};
    enum rc rc = RC_IO;

    q.reader = ledger_read_open(config->ledger_path, fail);
    if (!q.reader)
        return RC_IO;
    rc = ledger_read_begin(q.reader, fail);
    if (rc == RC_OK) {
        for (size_t i = 0; rc == RC_OK && i < limit_set_count(config->limits); i++) {
            if (asked->wants(asked, i))
                rc = find_one(&q, i, found, fail);
        }
        ledger_read_end(q.reader);
    }
    ledger_read_close(q.reader);
    return rc;
}

/* ---- counters that the ledger knows nothing of ---------------------------------- */

struct strangers {
    const struct find_question *q; /* NULL: all */
    struct found *found;
    size_t n_known; /* of found, sorted */
};

static int counter_order(const void *a, const void *b)
{
    const struct limit_counter *x = a, *y = b;
    size_t n = x->scope.n < y->scope.n ? x->scope.n : y->scope.n;
    int order;

    if (x->limit != y->limit)
        return x->limit < y->limit ? -1 : 1;
    if (x->start_us != y->start_us)
        return x->start_us < y->start_us ? -1 : 1;
    order = n > 0 ? memcmp(x->scope.p, y->scope.p, n) : 0;
    return order != 0 ? order : (x->scope.n > y->scope.n) - (x->scope.n < y->scope.n);
}

static void on_counter(const struct limit_counter *c, void *arg)
{
    struct strangers *s = arg;
    struct limit_counter none = *c;

    if ((s->q && !s->q->wants(s->q, c->limit)) ||
        (s->n_known > 0 && bsearch(c, s->found->at, s->n_known, sizeof(s->found->at[0]),
                                   counter_order)))
        return;
    none.spent = 0;
    found_add(&none, s->found);
}

static struct strangers strangers_of(const struct find_question *q, struct found *found)
{
    if (found->n > 0)
        qsort(found->at, found->n, sizeof(found->at[0]), counter_order);
    return (struct strangers){.q = q, .found = found, .n_known = found->n};
}

enum rc find_strangers(const struct find_question *q, const struct limiter_options *options,
                       struct found *found)
{
    struct strangers strangers = strangers_of(q, found);

    return limit_read(options, NULL, q->config->limits, q->as_of_us, on_counter, &strangers);
}

void find_strangers_among(const struct found *shared, struct found *found)
{
    struct strangers strangers = strangers_of(NULL, found);

    for (size_t i = 0; i < shared->n; i++)
        on_counter(&shared->at[i], &strangers);
}
