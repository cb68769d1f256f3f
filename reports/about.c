/*
 * about.c - what a report says of itself: the conditions it was asked with, the state of the
 * ledger and of the books, and how many requests are not wholly known; see report_int.h.
 */
#include <string.h>

#include "reports/closed.h"
#include "reports/commitments.h"
#include "reports/report_int.h"

/* Months looked at to tell whether a period is closed; a longer one is open. */
enum { STATUS_MONTHS_MAX = CLOSED_MONTHS_MAX, CONDITION_MAX_BYTES = PARAMS_TEXT_MAX_BYTES };

#define SAY(buf, ...)                                                                          \
    do {                                                                                       \
        enum rc say_rc = buf_printf(buf, __VA_ARGS__);                                         \
        (void)say_rc;                                                                          \
    } while (0)

/* ---- the words ------------------------------------------------------------------------- */

static enum rc put_value(struct buf *out, struct strv value)
{
    enum rc rc = RC_OK;

    if (value.n == 0)
        return buf_append_strv(out, STRV("(untagged)"));
    if (strv_eq(value, STRV("(untagged)")))
        rc = buf_append(out, "\\", 1);
    for (size_t i = 0; rc == RC_OK && i < value.n; i++) {
        if (value.p[i] == ',' || value.p[i] == '\\')
            rc = buf_append(out, "\\", 1);
        if (rc == RC_OK)
            rc = buf_append(out, &value.p[i], 1);
    }
    return rc;
}

static enum rc put_condition(struct buf *out, const struct ledger_condition *c)
{
    static const char *const ops[] = {[LEDGER_EQ] = "=", [LEDGER_NE] = "!=", [LEDGER_GLOB] = "~"};
    enum rc rc = buf_printf(out, "%s" STRV_FMT "%s", c->field.id == FIELD_TAG ? "tag:" : "",
                            STRV_ARG(ledger_field_name(&c->field)), ops[c->op]);

    for (size_t i = 0; rc == RC_OK && i < c->n_values; i++) {
        if (i)
            rc = buf_append(out, ",", 1);
        if (rc == RC_OK)
            rc = put_value(out, c->values[i]);
    }
    return rc;
}

/* Conditions as `where` reads them, so that who has the answer can ask again. */
static enum rc put_conditions(struct run *run, struct run_about *out)
{
    const struct report_params *p = run->params;
    enum rc rc = RC_OK;
    struct buf text;

    buf_init(&text, CONDITION_MAX_BYTES);
    for (size_t i = 0; rc == RC_OK && i < p->n_where; i++) {
        buf_clear(&text);
        rc = put_condition(&text, &p->where[i]);
        if (rc == RC_OK) {
            out->where[i] = arena_strv(&run->sheet.arena, buf_view(&text));
            rc = out->where[i].p ? RC_OK : RC_LIMIT;
        }
    }
    buf_release(&text);
    out->about.where = out->where;
    out->about.n_where = p->n_where;
    return rc;
}

static void put_word(struct run_about *out, struct strv name, struct strv value)
{
    if (value.n == 0)
        return;
    out->words[out->about.n_words][0] = name;
    out->words[out->about.n_words++][1] = value;
}

static void put_words(const struct report_params *p, struct run_about *out)
{
    out->about.words = out->words;
    put_word(out, STRV("only"), p->only_text);
    put_word(out, STRV("except"), p->except_text);
    put_word(out, STRV("waste"), p->waste);
    put_word(out, STRV("charge"), p->charge);
    put_word(out, STRV("cohort"),
             !p->has_cohort              ? STRV("")
             : p->cohort == COHORT_SPEND ? STRV("spend")
                                         : STRV("closed"));
    put_word(out, STRV("time"), !p->has_time ? STRV("") : p->by_start ? STRV("start") : STRV("end"));
}

/* ---- closed or open --------------------------------------------------------------------- */

/* Closed where every month of the books that the period touches is. */
static const char *period_status(const struct run *run)
{
    const struct report_params *p = run->params;
    const struct zone *zone = run->sources->zone;
    struct closed_months closed;
    struct fail fail;
    int64_t at = p->from_us, start, end;

    if (run->is_closing)
        return "closed";
    if (closed_list(run->sources->state_dir, &closed, &fail) != RC_OK)
        return NULL;
    for (unsigned n = 0; at < p->to_us; n++, at = end) {
        char label[DATETIME_TEXT];

        if (n == STATUS_MONTHS_MAX)
            return "open";
        zone_period(zone, PERIOD_MONTH, at, &start, &end);
        zone_period_label(zone, PERIOD_MONTH, start, label);
        label[CLOSED_MONTH_TEXT - 1] = '\0';
        if (!closed_has(&closed, label))
            return "open";
    }
    return "closed";
}

enum rc run_about(struct run *run, struct run_about *out)
{
    const struct book *book = run->sources->book;

    *out = (struct run_about){
        .about = {.grain = grain_name(run->params->grain),
                  .cost_basis = cost_basis_name(run->params->basis),
                  .ledger_seq = run->as_of.seq,
                  .book = book && !run->is_frozen ? book_hash(book) : NULL,
                  .period_status = period_status(run),
                  .currency = run->currency.code.n ? &run->currency : NULL,
                  .quality = run->has_quality ? &run->quality : NULL},
    };
    put_words(run->params, out);
    return put_conditions(run, out);
}

/* ---- what a cost is ------------------------------------------------------------------------ */

void run_basis(const struct run *run, struct ledger_sums *s)
{
    if (run->params->basis == BASIS_LIST)
        s->cost = s->list;
}

enum rc run_check_basis(struct run *run)
{
    struct commitments c;
    bool any = false;
    enum rc rc;

    if (run->params->basis != BASIS_BILLED)
        return RC_OK;
    rc = commitments_read(run->sources->state_dir, &c, &run->fail);
    for (size_t i = 0; i < c.n; i++)
        any |= c.at[i].from_us < run->params->to_us && c.at[i].to_us > run->params->from_us;
    commitments_release(&c);
    if (rc != RC_OK || !any)
        return rc;
    return run_refuses(run, "cost-basis=billed",
                       "a commitment covers requests of this period, and which of them is known "
                       "request by request alone: tollgate export --format focus has BilledCost");
}

/* ---- what is not known -------------------------------------------------------------------- */

void run_take_quality(struct run *run, const struct ledger_sums *s)
{
    run->has_quality = true;
    run->quality = (struct sheet_quality){
        .requests = s->requests,
        .unpriced = s->unpriced,
        .partly_priced = s->price_partial,
        .unknown_usage = s->by_usage_source[USAGE_NONE],
        .estimated = s->by_usage_source[USAGE_PARTIAL] + s->by_usage_source[USAGE_ESTIMATED]};
}

static enum rc ask_quality(struct run *run, int64_t from_us, int64_t to_us)
{
    struct ledger_question q = {.grain = PERIOD_TOTAL,
                                .zone = run->params->zone,
                                .want = LEDGER_SPARE | LEDGER_SPARE_CEILING};
    struct ledger_rows rows;
    enum rc rc;

    params_filter(run->params, &q.filter);
    q.filter.from_us = from_us;
    q.filter.to_us = to_us;
    rc = ledger_read_sums(run->reader, &q, &rows, &run->fail);
    if (rc != RC_OK)
        return rc;
    run_take_quality(run, &rows.total.sums);
    ledger_rows_release(&rows);
    return RC_OK;
}

enum rc run_find_quality(struct run *run)
{
    const struct report_params *p = run->params;

    if (run->has_quality)
        return RC_OK;
    return ask_quality(run, p->from_us, p->to_us);
}

/* "strict: of 12 requests ..."; RC_DENIED where any is not wholly known. */
static enum rc refuse_unknown(struct run *run, const char *which)
{
    const struct sheet_quality *q = &run->quality;
    const struct {
        uint64_t n;
        const char *what;
    } faults[] = {{q->unpriced, "without a price"},
                  {q->partly_priced, "priced in part"},
                  {q->unknown_usage, "of unknown usage"},
                  {q->estimated, "of estimated usage"}};
    bool any = false;

    for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
        if (faults[i].n == 0)
            continue;
        if (!any)
            SAY(run->error, "strict: of %llu requests of the %s there are",
                (unsigned long long)q->requests, which);
        SAY(run->error, "%s %llu %s", any ? "," : "", (unsigned long long)faults[i].n,
            faults[i].what);
        any = true;
    }
    if (any)
        SAY(run->error, "; --by price_status,usage_source tells which");
    return any ? RC_DENIED : RC_OK;
}

enum rc run_check_strict(struct run *run)
{
    const struct sheet_quality own = run->quality;
    enum rc rc = run_find_quality(run);

    if (rc == RC_OK)
        rc = refuse_unknown(run, "period");
    if (rc != RC_OK || !run->has_against)
        return rc;
    rc = ask_quality(run, run->against_from_us, run->against_to_us);
    if (rc == RC_OK)
        rc = refuse_unknown(run, "period compared with");
    run->quality = own;
    return rc;
}
