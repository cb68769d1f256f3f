/*
 * report_commitments.c - whether what was committed, and paid, beforehand is used.
 *
 * A row is a commitment whose term and the period have a day in common.  What it covers is told
 * by days' sums where a day's requests all fit, or none can: then no order matters.  Of the day
 * in which something does not fit, and of days with corrections, the hours are asked, and such an
 * hour is read request by request, by the rule of the FOCUS export (commitments.h).
 */
#include <stdlib.h>

#include "base/xalloc.h"
#include "reports/commitments.h"
#include "reports/report_int.h"

enum commitment_column {
    COMMITTED_ID = 0,
    COMMITTED_NAME,
    COMMITTED_ACCOUNT,
    COMMITTED_PROVIDER,
    COMMITTED_FROM,
    COMMITTED_TO,
    COMMITTED_AMOUNT,
    COMMITTED_BEFORE,
    COMMITTED_USED,
    COMMITTED_LEFT,
    COMMITTED_UNUSED,
    COMMITTED_UTILISATION,
    COMMITTED_ELAPSED,
    COMMITTED_COVERABLE,
    COMMITTED_COVERAGE,
};

/* What the period tells of one commitment. */
struct tally {
    struct money before;     /* used before the period */
    struct money coverable;  /* of its account, within its term and the period */
    int64_t from_us, to_us;  /* all it covers in the period ended within; equal: nothing */
};

struct work {
    struct run *run;
    struct commitment *at;
    struct tally *tally;
    size_t n;
    bool is_period;         /* false: before it */
    struct money coverable; /* of any of them, once */
    const struct zone *utc;
    /* Of the day, or the hour, that is read. */
    enum period grain;
    const struct ledger_row *rows;
    size_t n_rows;
    struct strv account;
};

static void commitment_columns(struct sheet *t)
{
    const unsigned rare = COLUMN_KEY | COLUMN_SPARSE;

    sheet_column(t, "id", "id", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "name", "name", COLUMN_TEXT, rare);
    sheet_column(t, "account", "account", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "provider", "provider", COLUMN_TEXT, rare);
    sheet_column(t, "term_from", "from", COLUMN_TIME, COLUMN_KEY);
    sheet_column(t, "term_to", "to", COLUMN_TIME, COLUMN_KEY);
    sheet_column(t, "committed_usd", "committed USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "used_before_usd", "used before USD", COLUMN_MONEY,
                 COLUMN_ADDS | COLUMN_SPARSE);
    sheet_column(t, "used_usd", "used USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "left_usd", "left USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "unused_usd", "unused USD", COLUMN_MONEY, COLUMN_ADDS | COLUMN_SPARSE);
    sheet_column(t, "utilisation", "utilisation", COLUMN_RATIO, COLUMN_PER_CENT);
    sheet_column(t, "elapsed", "elapsed", COLUMN_RATIO, COLUMN_PER_CENT);
    sheet_column(t, "coverable_usd", "coverable USD", COLUMN_MONEY, 0);
    sheet_column(t, "coverage", "coverage", COLUMN_RATIO, COLUMN_PER_CENT);
}

/* ---- what is covered ---------------------------------------------------------------------- */

static struct strv account_of(const struct run *run, struct strv upstream)
{
    struct reconcile_upstream up = {.provider = STRV_NONE};

    if (run->sources->upstream)
        run->sources->upstream(upstream, &up, run->sources->arg);
    return up.billing.n ? up.billing : upstream;
}

/* Usage of an account that ended then: it could be covered by each whose term that is. */
static void add_coverable(struct work *w, struct strv account, int64_t end_us, struct money cost)
{
    bool any = false;

    if (!w->is_period)
        return;
    for (size_t i = 0; i < w->n; i++) {
        if (!commitment_is_for(&w->at[i], account, end_us))
            continue;
        w->tally[i].coverable = money_add(w->tally[i].coverable, cost);
        any = true;
    }
    if (any)
        w->coverable = money_add(w->coverable, cost);
}

/* The commitment covers something that ended within [from, to). */
static void note_covered(struct work *w, const struct commitment *c, int64_t from_us, int64_t to_us)
{
    struct tally *t = &w->tally[c - w->at];

    if (!w->is_period)
        return;
    if (t->from_us == t->to_us)
        t->from_us = from_us;
    t->to_us = to_us;
}

/*
 * A day's requests as one; false where only one by one tells: the one that is asked first has
 * room for some of them.
 */
static bool cover_whole(struct work *w, int64_t from_us, int64_t to_us, struct money cost)
{
    for (size_t i = 0; i < w->n; i++) {
        struct commitment *c = &w->at[i];
        struct money used = money_add(c->used, cost);

        if (c->is_used_up || !commitment_is_for(c, w->account, from_us))
            continue;
        if (money_cmp(used, c->amount) > 0)
            return false;
        c->used = used;
        if (!money_is_zero(cost))
            note_covered(w, c, from_us, to_us);
        break;
    }
    add_coverable(w, w->account, from_us, cost);
    return true;
}

static bool cover_line(uint64_t seq, const struct record *record, void *arg)
{
    struct work *w = arg;
    const struct commitment *c;
    struct money cost;

    (void)seq;
    if (!commitment_may_cover(record, &cost))
        return true;
    add_coverable(w, w->account, record->end_us, cost);
    c = commitments_cover(w->at, w->n, w->account, record->end_us, cost);
    if (c && !money_is_zero(cost))
        note_covered(w, c, record->end_us, record->end_us + 1);
    return true;
}

static enum rc cover_hours(struct work *w, const struct ledger_filter *filter);

/* One account's part of a day or an hour: the rows of its upstreams. */
static enum rc cover_account(struct work *w, const struct ledger_filter *period)
{
    const int64_t from_us =
        w->rows->start_us > period->from_us ? w->rows->start_us : period->from_us;
    const int64_t to_us = w->rows->end_us < period->to_us ? w->rows->end_us : period->to_us;
    struct strv *upstreams = xcalloc(w->n_rows, sizeof(*upstreams));
    struct money cost = MONEY_ZERO;
    struct ledger_filter filter;
    bool whole = true;
    size_t n = 0;
    enum rc rc = RC_OK;

    for (size_t i = 0; i < w->n_rows; i++) {
        const struct ledger_row *row = &w->rows[i];

        if (!strv_eq(account_of(w->run, row->value[0]), w->account))
            continue;
        upstreams[n++] = row->value[0];
        whole = whole && row->sums.corrections == 0;
        for (unsigned m = 0; m < METER_COUNT; m++)
            cost = money_add(cost, row->meters[m].amount);
    }
    if (!whole || !cover_whole(w, from_us, to_us, cost)) {
        ledger_filter_init(&filter, from_us, to_us);
        rc = ledger_filter_add(&filter, (struct ledger_field){.id = FIELD_UPSTREAM}, LEDGER_EQ,
                               upstreams, n);
        if (rc == RC_OK && w->grain == PERIOD_DAY)
            rc = cover_hours(w, &filter);
        else if (rc == RC_OK)
            rc = ledger_read_lines(w->run->reader, &filter, LEDGER_OLDEST, 0, 0, cover_line, w,
                                   &w->run->fail);
    }
    free(upstreams);
    return rc;
}

/* Each account that one of the commitments is of, once. */
static enum rc cover_day(struct work *w, const struct ledger_filter *period)
{
    enum rc rc = RC_OK;

    for (size_t i = 0; rc == RC_OK && i < w->n_rows; i++) {
        bool wanted = false;

        w->account = account_of(w->run, w->rows[i].value[0]);
        for (size_t c = 0; !wanted && c < w->n; c++)
            wanted = strv_eq(w->at[c].account, w->account);
        for (size_t k = 0; wanted && k < i; k++)
            wanted = !strv_eq(account_of(w->run, w->rows[k].value[0]), w->account);
        if (wanted)
            rc = cover_account(w, period);
    }
    return rc;
}

typedef enum rc cover_fn(struct work *w, const struct ledger_filter *period);

/* Sums of what the filter holds, by upstream: fn for each day or hour of UTC, as the terms are. */
static enum rc cover_by(struct work *w, const struct ledger_filter *filter, enum period grain,
                        cover_fn *fn)
{
    const struct ledger_question q = {.filter = *filter,
                                      .by = {{.id = FIELD_UPSTREAM}},
                                      .n_by = 1,
                                      .grain = grain,
                                      .zone = w->utc,
                                      .want = LEDGER_WANT_METERS | LEDGER_SPARE_TOKENS |
                                              LEDGER_SPARE_TRANSPORT};
    struct ledger_rows rows;
    enum rc rc = ledger_read_sums(w->run->reader, &q, &rows, &w->run->fail);

    if (rc != RC_OK)
        return rc;
    w->grain = grain;
    for (size_t i = 0, end; rc == RC_OK && i < rows.n; i = end) {
        for (end = i; end < rows.n && rows.at[end].start_us == rows.at[i].start_us; end++)
            ;
        w->rows = &rows.at[i];
        w->n_rows = end - i;
        rc = fn(w, &q.filter);
    }
    ledger_rows_release(&rows);
    return rc;
}

/* The day's rows are in hand again afterwards. */
static enum rc cover_hours(struct work *w, const struct ledger_filter *filter)
{
    const struct ledger_row *rows = w->rows;
    const size_t n_rows = w->n_rows;
    enum rc rc = cover_by(w, filter, PERIOD_HOUR, cover_account);

    w->grain = PERIOD_DAY;
    w->rows = rows;
    w->n_rows = n_rows;
    return rc;
}

/* Requests that ended in [from, to). */
static enum rc cover(struct work *w, int64_t from_us, int64_t to_us)
{
    struct ledger_filter filter;
    struct zone *utc;
    enum rc rc;

    if (from_us >= to_us)
        return RC_OK;
    utc = zone_open("UTC");
    w->utc = utc;
    ledger_filter_init(&filter, from_us, to_us);
    rc = cover_by(w, &filter, PERIOD_DAY, cover_day);
    zone_close(utc);
    return rc;
}

/* ---- rows --------------------------------------------------------------------------------- */

/*
 * The lines between the first and the last that it covers, where they are just these; there is
 * none where others stand among them (another commitment's, corrections, what has no meter).
 */
static enum rc put_link(struct work *w, const struct commitment *c, struct money used,
                        struct cell *out)
{
    const struct tally *t = &w->tally[c - w->at];
    static const struct ledger_field by = {.id = FIELD_UPSTREAM};
    struct ledger_question q = {
        .by = {by}, .n_by = 1, .grain = PERIOD_TOTAL, .want = LEDGER_COST_ALONE};
    const struct strv **upstreams;
    struct money cost = MONEY_ZERO;
    struct ledger_rows rows;
    struct drill d;
    enum rc rc;

    if (t->from_us == t->to_us)
        return RC_OK;
    ledger_filter_init(&q.filter, t->from_us, t->to_us);
    rc = ledger_read_sums(w->run->reader, &q, &rows, &w->run->fail);
    if (rc != RC_OK)
        return rc;
    drill_start(&d, w->run);
    drill_period(&d, t->from_us, t->to_us);
    d.only = (struct drill_tuples){.by = &by, .n_by = 1};
    upstreams = xcalloc(rows.n + 1, sizeof(*upstreams));
    d.only.value = upstreams;
    for (size_t i = 0; i < rows.n; i++) {
        if (!strv_eq(account_of(w->run, rows.at[i].value[0]), c->account))
            continue;
        upstreams[d.only.n++] = rows.at[i].value;
        cost = money_add(cost, rows.at[i].sums.cost);
    }
    d.is_exact = money_cmp(cost, used) == 0;
    if (d.only.n == 1) { /* which is said as a condition */
        drill_add(&d, by, LEDGER_EQ, upstreams[0][0]);
        d.only.n = 0;
    }
    rc = drill_cell(w->run, &d, out);
    free(upstreams);
    ledger_rows_release(&rows);
    return rc;
}

/* Sums of the rows. */
struct whole {
    struct money amount, before, used, unused;
    bool has_unused;
};

static enum rc put_names(struct run *run, const struct commitment *c, struct cell *cells)
{
    enum rc rc = sheet_text(&run->sheet, c->id, &cells[COMMITTED_ID]);

    if (rc == RC_OK && c->name.n)
        rc = sheet_text(&run->sheet, c->name, &cells[COMMITTED_NAME]);
    if (rc == RC_OK)
        rc = sheet_text(&run->sheet, c->account, &cells[COMMITTED_ACCOUNT]);
    if (rc == RC_OK && c->provider.n)
        rc = sheet_text(&run->sheet, c->provider, &cells[COMMITTED_PROVIDER]);
    cells[COMMITTED_FROM] = cell_time(c->from_us);
    cells[COMMITTED_TO] = cell_time(c->to_us);
    return rc;
}

static void put_amounts(const struct whole *s, struct money coverable, struct cell *cells)
{
    const struct money gone = money_add(s->before, s->used);

    cells[COMMITTED_AMOUNT] = cell_money(s->amount);
    cells[COMMITTED_BEFORE] = cell_money(s->before);
    cells[COMMITTED_USED] = cell_money(s->used);
    cells[COMMITTED_LEFT] = cell_money(money_sub(s->amount, gone));
    if (s->has_unused)
        cells[COMMITTED_UNUSED] = cell_money(s->unused);
    cells[COMMITTED_UTILISATION] = cell_ratio(gone.atto, s->amount.atto);
    cells[COMMITTED_COVERABLE] = cell_money(coverable);
    cells[COMMITTED_COVERAGE] = cell_ratio(s->used.atto, coverable.atto);
}

static enum rc put_row(struct work *w, size_t i, struct whole *sum)
{
    const struct report_params *p = w->run->params;
    const struct commitment *c = &w->at[i];
    int64_t known_us = run_known_until(w->run);
    struct whole s = {.amount = c->amount, .before = w->tally[i].before};
    struct cell *cells;
    enum rc rc;

    if (p->to_us < known_us)
        known_us = p->to_us;
    s.used = money_sub(c->used, s.before);
    s.has_unused = c->to_us <= known_us; /* a term that goes on has left nothing yet */
    if (s.has_unused)
        s.unused = money_sub(c->amount, c->used);
    rc = sheet_row(&w->run->sheet, &cells);
    if (rc == RC_OK)
        rc = put_names(w->run, c, cells);
    if (rc != RC_OK)
        return rc;
    put_amounts(&s, w->tally[i].coverable, cells);
    if (known_us > c->to_us)
        known_us = c->to_us;
    cells[COMMITTED_ELAPSED] =
        cell_ratio(known_us > c->from_us ? known_us - c->from_us : 0, c->to_us - c->from_us);
    sum->amount = money_add(sum->amount, s.amount);
    sum->before = money_add(sum->before, s.before);
    sum->used = money_add(sum->used, s.used);
    sum->unused = money_add(sum->unused, s.unused);
    sum->has_unused |= s.has_unused;
    return put_link(w, c, s.used, &cells[w->run->lines]);
}

static enum rc check_words(struct run *run)
{
    const struct report_params *p = run->params;

    if (p->n_by)
        return run_refuses(run, "by", "it has a row for each commitment");
    if (p->grain != PERIOD_TOTAL)
        return run_refuses(run, "grain", "it is about the period as a whole");
    if (p->top)
        return run_refuses(run, "top", "it has all commitments");
    if (p->has_cohort)
        return run_refuses(run, "cohort", "it is a word of tasks");
    if (p->n_where)
        return run_refuses(run, "where",
                           "what a commitment covers depends on all requests of its account");
    return RC_OK;
}

enum rc report_commitments(struct run *run)
{
    const struct report_params *p = run->params;
    struct work w = {.run = run};
    struct commitments c;
    struct whole sum = {.has_unused = false};
    enum rc rc = check_words(run);

    if (rc != RC_OK)
        return rc;
    commitment_columns(&run->sheet);
    drill_column(run);
    rc = commitments_read(run->sources->state_dir, &c, &run->fail);
    w.at = c.at;
    w.n = c.n;
    w.tally = xcalloc(c.n + 1, sizeof(*w.tally));
    if (rc == RC_OK)
        rc = cover(&w, commitments_since(c.at, c.n, p->from_us), p->from_us);
    for (size_t i = 0; i < c.n; i++)
        w.tally[i].before = c.at[i].used;
    w.is_period = true;
    if (rc == RC_OK && c.n)
        rc = cover(&w, p->from_us, p->to_us);
    for (size_t i = 0; rc == RC_OK && i < c.n; i++) {
        if (c.at[i].from_us < p->to_us && c.at[i].to_us > p->from_us)
            rc = put_row(&w, i, &sum);
    }
    put_amounts(&sum, w.coverable, run->sheet.total);
    run->note = "Used as the FOCUS export counts it; utilisation is of the term up to the "
                "period's end, coverage of the account's usage in term and period.";
    free(w.tally);
    commitments_release(&c);
    return rc;
}
