#include "reports/limit_spent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "metering/usage/protocol.h"
#include "reports/params.h"

enum { CLAIM_ARENA_BYTES = 64 << 10 };
#define QUARTER_US (900 * US_PER_SECOND)

/* What a row or a line adds to a counter, or takes from it. */
struct part {
    struct strv scope;
    uint64_t more, less;
};

struct spent {
    const struct limit_spent_question *q;
    const struct limit_def *def;
    struct limit_set *one; /* of this limit alone */
    int64_t start_us, end_us;
    int64_t kept_from_us; /* of the ledger */
    struct arena arena; /* scopes */
    struct arena claims;
    struct admission *admission; /* large: kept off the stack */
    struct part *at;
    size_t n, cap;
    enum rc rc; /* of reading lines, which has no other way to tell */
};

void limit_window_at(const struct limit_def *def, const struct zone *zone, int64_t now_us,
                     int64_t *start_us, int64_t *end_us)
{
    *start_us = *end_us = 0;
    if (!def->rolling && def->unit != UNIT_CONCURRENT)
        zone_period(zone, def->period, now_us, start_us, end_us);
}

void limit_window_text(const struct limit_def *def, char out[DATETIME_TEXT])
{
    if (def->unit == UNIT_CONCURRENT)
        (void)snprintf(out, DATETIME_TEXT, "running");
    else if (def->rolling)
        (void)snprintf(out, DATETIME_TEXT, "%llds", (long long)def->rolling_s);
    else
        (void)snprintf(out, DATETIME_TEXT, "%s", grain_name(def->period));
}

static uint64_t capped_add(uint64_t a, uint64_t b)
{
    return b > LIMIT_VALUE_MAX || a > LIMIT_VALUE_MAX - b ? LIMIT_VALUE_MAX : a + b;
}

uint64_t limit_taken(const struct limit_def *def, const struct ledger_sums *s)
{
    switch (def->unit) {
    case UNIT_USD:
        return s->cost_ceil_nano;
    case UNIT_TOKENS:
        return capped_add(s->tokens[USAGE_INPUT], s->tokens[USAGE_OUTPUT]);
    case UNIT_INPUT_TOKENS:
        return s->tokens[USAGE_INPUT];
    case UNIT_OUTPUT_TOKENS:
        return s->tokens[USAGE_OUTPUT];
    case UNIT_REQUESTS:
        return s->requests;
    case UNIT_CONCURRENT:
    case UNIT_COUNT:
        break;
    }
    return 0;
}

static enum rc part_add(struct spent *s, struct strv scope, uint64_t more, uint64_t less)
{
    struct strv kept = arena_strv(&s->arena, scope);

    if ((scope.n && !kept.p) || s->n == 2 * (size_t)LIMIT_SPENT_COUNTERS_MAX)
        return RC_LIMIT;
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 64;
        s->at = xrealloc(s->at, s->cap * sizeof(*s->at));
    }
    s->at[s->n++] = (struct part){kept, more, less};
    return RC_OK;
}

/*
 * The counters that requests of this subject touched are found by the limiter's own
 * rules: scope texts are then the same.  at_us: when they started.
 */
static enum rc subject_add(struct spent *s, const struct subject *subject, int64_t at_us,
                           uint64_t more, uint64_t less)
{
    static const struct limit_amounts nothing;
    static const struct uuid id;
    struct admission *a = s->admission;
    enum rc rc;

    memset(a, 0, sizeof(*a));
    arena_reset(&s->claims);
    rc = admission_init(a, s->one, subject, &nothing, &id, at_us, &s->claims);
    for (size_t i = 0; rc == RC_OK && i < a->n_claims; i++) {
        if (a->claims[i].start_us == s->start_us) /* else of another window */
            rc = part_add(s, a->claims[i].scope, more, less);
    }
    return rc;
}

/* ---- the question ------------------------------------------------------------------------ */

/* Adds name to the fields asked for; false where there are too many. */
static bool want_field(struct ledger_question *q, struct strv name)
{
    struct ledger_field field;

    if (!ledger_field_parse(name, &field))
        return false;
    for (size_t i = 0; i < q->n_by; i++) {
        if (strv_eq(ledger_field_name(&q->by[i]), ledger_field_name(&field)))
            return true;
    }
    if (q->n_by == LEDGER_GROUP_MAX)
        return false;
    q->by[q->n_by++] = field;
    return true;
}

/* Where lines are deleted only whole quarters of an hour are known: rather more than less. */
static int64_t rolling_start_us(const struct spent *s)
{
    int64_t start_us = s->q->now_us - s->def->rolling_s * US_PER_SECOND;

    return start_us < s->kept_from_us ? start_us - start_us % QUARTER_US : start_us;
}

/* What limit_taken does not look at. */
static unsigned spares(const struct limit_def *def)
{
    const unsigned always = LEDGER_SPARE_TRANSPORT | LEDGER_SPARE_DETAILS;

    return def->unit == UNIT_USD || def->unit == UNIT_REQUESTS ? always | LEDGER_SPARE_TOKENS
                                                               : always;
}

/* Records that are no requests to a limit. */
static bool leave_beside(struct ledger_filter *f)
{
    const struct ledger_field endpoint = {.id = FIELD_ENDPOINT};
    size_t n;
    const struct strv *names = protocol_beside(&n);

    return ledger_filter_add(f, endpoint, LEDGER_NE, names, n) == RC_OK;
}

bool limit_question(const struct limit_def *def, int64_t from_us, int64_t to_us,
                    struct ledger_question *q)
{
    *q = (struct ledger_question){.grain = PERIOD_TOTAL, .want = spares(def)};
    if (def->unit == UNIT_CONCURRENT || def->unit == UNIT_COUNT)
        return false;
    ledger_filter_init(&q->filter, from_us, to_us);
    if (def->unit == UNIT_REQUESTS && !leave_beside(&q->filter))
        return false;
    for (size_t i = 0; i < def->n_match; i++) {
        struct ledger_field field;

        if (!want_field(q, def->match[i].name) ||
            !ledger_field_parse(def->match[i].name, &field) ||
            ledger_filter_add(&q->filter, field, LEDGER_GLOB, &def->match[i].value, 1) != RC_OK)
            return false;
    }
    for (size_t i = 0; i < def->n_per; i++) {
        if (!want_field(q, def->per[i]))
            return false;
    }
    return true;
}

/* False where the ledger cannot be asked for this limit. */
static bool question_of(const struct spent *s, struct ledger_question *q)
{
    bool known = s->def->rolling
                     ? limit_question(s->def, rolling_start_us(s), INT64_MAX, q)
                     : limit_question(s->def, s->start_us, s->end_us, q);

    q->zone = s->q->zone;
    q->filter.by_start = true;
    return known;
}

/* ---- the answer ----------------------------------------------------------------------------
 */

static int by_tag_name(const void *a, const void *b)
{
    return strv_cmp(((const struct tag *)a)->name, ((const struct tag *)b)->name);
}

void limit_subject(const struct ledger_question *q, const struct ledger_row *row,
                   struct subject *out)
{
    memset(out, 0, sizeof(*out));
    for (size_t i = 0; i < q->n_by; i++) {
        if ((unsigned)q->by[i].id < DIM_COUNT)
            out->dim[q->by[i].id] = row->value[i];
        else if (row->value[i].n && out->n_free < FREE_TAGS_MAX)
            out->free[out->n_free++] =
                (struct tag){ledger_field_name(&q->by[i]), row->value[i]};
    }
    qsort(out->free, out->n_free, sizeof(out->free[0]), by_tag_name);
}

static bool line_takes(uint64_t seq, const struct record *record, void *arg)
{
    struct spent *s = arg;
    struct ledger_sums sums;

    (void)seq;
    if (s->def->rolling && record->start_us < rolling_start_us(s))
        return true; /* it was not counted */
    ledger_sums_of(record, &sums);
    s->rc = subject_add(s, &record->subject, record->start_us, 0, limit_taken(s->def, &sums));
    return s->rc == RC_OK;
}

/* Takes away what ended too late. */
static enum rc leave_out(struct spent *s, const struct ledger_question *asked,
                         struct fail *fail)
{
    struct ledger_filter filter = asked->filter;
    enum rc rc;

    if (s->q->until_us == INT64_MAX)
        return RC_OK;
    filter.by_start = false;
    filter.from_us = s->q->until_us;
    filter.to_us = INT64_MAX;
    rc = ledger_read_lines(s->q->reader, &filter, LEDGER_OLDEST, 0, 0, line_takes, s, fail);
    return rc != RC_OK ? rc : s->rc;
}

static int by_scope(const void *a, const void *b)
{
    return strv_cmp(((const struct part *)a)->scope, ((const struct part *)b)->scope);
}

/* One part a counter: rows differ by more than its scope where a match names a dimension. */
static enum rc merge(struct spent *s)
{
    size_t n = 0;

    if (s->n == 0)
        return RC_OK;
    qsort(s->at, s->n, sizeof(*s->at), by_scope);
    for (size_t i = 1; i < s->n; i++) {
        if (strv_eq(s->at[n].scope, s->at[i].scope)) {
            s->at[n].more = capped_add(s->at[n].more, s->at[i].more);
            s->at[n].less = capped_add(s->at[n].less, s->at[i].less);
        } else {
            s->at[++n] = s->at[i];
        }
    }
    s->n = n + 1;
    return s->n > LIMIT_SPENT_COUNTERS_MAX ? RC_LIMIT : RC_OK;
}

static enum rc ask(struct spent *s, const struct ledger_question *q, struct fail *fail)
{
    struct ledger_rows rows;
    enum rc rc = ledger_read_sums(s->q->reader, q, &rows, fail);

    if (rc == RC_STATE && ledger_lines_are_gone(fail)) {
        struct ledger_question kept = *q;

        log_line(LOG_ERROR, "ledger", "a limit is counted from the lines that are kept alone",
                 "limit=%s", s->def->name);
        kept.filter.from_us = s->kept_from_us;
        rc = ledger_read_sums(s->q->reader, &kept, &rows, fail);
    }
    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; rc == RC_OK && i < rows.n; i++) {
        struct subject subject;

        limit_subject(q, &rows.at[i], &subject);
        rc = subject_add(s, &subject, s->q->now_us, limit_taken(s->def, &rows.at[i].sums), 0);
    }
    ledger_rows_release(&rows);
    if (rc == RC_OK)
        rc = leave_out(s, q, fail);
    return rc == RC_OK ? merge(s) : rc;
}

enum rc limit_spent(const struct limit_spent_question *q, size_t i, limit_counter_fn *fn,
                    void *arg, bool *known, struct fail *fail)
{
    struct spent s = {.q = q, .def = limit_set_at(q->set, i), .rc = RC_OK};
    struct ledger_question *asked = xmalloc(sizeof(*asked));
    struct ledger_as_of as_of;
    enum rc rc;

    *known = false;
    limit_window_at(s.def, q->zone, q->now_us, &s.start_us, &s.end_us);
    rc = ledger_read_as_of(q->reader, &as_of, fail);
    if (rc != RC_OK)
        goto out;
    s.kept_from_us = as_of.kept_from_us;
    *known = question_of(&s, asked);
    if (!*known)
        goto out;
    arena_init(&s.arena, LIMIT_SPENT_ARENA_BYTES);
    arena_init(&s.claims, CLAIM_ARENA_BYTES);
    s.admission = xmalloc(sizeof(*s.admission));
    s.one = limit_set_new(s.def, 1, q->zone);
    rc = ask(&s, asked, fail);
    for (size_t k = 0; rc == RC_OK && k < s.n; k++) {
        const struct part *p = &s.at[k];
        struct limit_counter c = {.limit = (unsigned)i,
                                  .scope = p->scope,
                                  .start_us = s.start_us,
                                  .end_us = s.end_us,
                                  .spent = p->more > p->less ? p->more - p->less : 0};

        fn(&c, arg);
    }
    limit_set_free(s.one);
    free(s.admission);
    free(s.at);
    arena_release(&s.claims);
    arena_release(&s.arena);
out:
    free(asked);
    return rc;
}
