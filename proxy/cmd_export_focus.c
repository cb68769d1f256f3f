/*
 * cmd_export_focus.c - `tollgate export --format focus`: what it reads beside the lines, and
 * that its rows sum to the ledger.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/datetime.h"
#include "base/xalloc.h"
#include "proxy/cmd.h"
#include "proxy/cmd_export.h"

enum { METADATA_MAX_BYTES = 1 << 20 };

static void account_of(struct strv upstream, struct focus_account *out, void *arg)
{
    const struct export_run *e = arg;
    const struct upstream_config *up = config_upstream(e->config, upstream);

    if (!up)
        return;
    out->billing_id = strv_z(up->billing_account);
    out->billing_name = strv_z(up->billing_account_name);
    out->sub_id = strv_z(up->sub_account);
    out->sub_name = strv_z(up->sub_account_name);
    out->region = up->region;
}

static struct strv invoice_of(struct strv account, int64_t month_us, void *arg)
{
    const struct export_run *e = arg;
    char month[DATETIME_TEXT];

    datetime_format_s(month_us, month);
    month[sizeof("2026-11") - 1] = '\0';
    for (size_t r = 0; r < e->invoices.csv.n_rows; r++) {
        if (strv_eq(books_field(&e->invoices, BOOKS_INVOICES, r, "month"), strv_z(month)) &&
            strv_eq(books_field(&e->invoices, BOOKS_INVOICES, r, "account"), account))
            return books_field(&e->invoices, BOOKS_INVOICES, r, "invoice_id");
    }
    return STRV_NONE;
}

/* What finance imported for this; false where it cannot be read, which is said. */
static bool read_books(struct export_run *e)
{
    const char *dir = e->config->state_dir;
    struct fail fail;
    bool good = books_read(dir, BOOKS_INVOICES, &e->invoices, &fail) == RC_OK &&
                commitments_read(dir, &e->commitments, &fail) == RC_OK;

    if (!good)
        (void)export_complain(&fail, dir);
    if (good && e->commitments.n && e->params.n_where) {
        fprintf(stderr, "tollgate export: --where does not go with imported commitments: what "
                        "they cover depends on all requests of their account\n");
        good = false;
    }
    return good;
}

/* The book as its sources have it, without this installation's contracts. */
static struct book *list_book(const struct config *config)
{
    struct problems problems;
    struct book *book;

    problems_init(&problems);
    book = book_load(config->book_paths, config->n_book_paths, NULL, 0, &problems);
    problems_release(&problems);
    return book;
}

void export_focus_say(const struct export_run *e)
{
    const struct focus_counts *c = focus_counts(e->focus);

    if (c->unpriced)
        fprintf(stderr, "tollgate export: %llu requests have no price and are in no row\n",
                (unsigned long long)c->unpriced);
    if (c->partly)
        fprintf(stderr, "tollgate export: %llu requests are priced only in part\n",
                (unsigned long long)c->partly);
    if (c->without_line)
        fprintf(stderr,
                "tollgate export: %llu requests cost something else than their meters: the "
                "difference is in rows of category Adjustment\n",
                (unsigned long long)c->without_line);
    if (c->list_unknown)
        fprintf(stderr,
                "tollgate export: %llu charges have no known list price: the contracted one "
                "stands for it (x_ListPriceSource)\n",
                (unsigned long long)c->list_unknown);
}


/* ---- corrections ------------------------------------------------------------------------ */

static bool take_end(uint64_t seq, const struct record *record, void *arg)
{
    (void)seq;
    *(int64_t *)arg = record->end_us;
    return true;
}

/* Records never change, so that another view than the lines' will do. */
static bool origin_of(const struct uuid *id, int64_t *end_us, void *arg)
{
    struct export_run *e = arg;
    struct fail ignored = {0};

    if (!e->origins) {
        e->origins = ledger_read_open(e->config->ledger_path, &ignored);
        if (e->origins && ledger_read_begin(e->origins, &ignored) != RC_OK) {
            ledger_read_close(e->origins);
            e->origins = NULL;
        }
    }
    return e->origins && ledger_read_line(e->origins, id, take_end, end_us, &ignored) == RC_OK;
}

/* ---- the run ---------------------------------------------------------------------------- */

static bool pass_line(uint64_t seq, const struct record *record, void *arg)
{
    struct export_run *e = arg;

    (void)seq;
    focus_pass(e->focus, record);
    return !long_job_stopped();
}

/* What was used of commitments before the period: their terms' requests so far. */
static enum rc pass_commitments(struct export_run *e, struct ledger_reader *reader,
                                const struct ledger_filter *filter, struct fail *fail)
{
    struct ledger_filter before;

    ledger_filter_init(
        &before, commitments_since(e->commitments.at, e->commitments.n, filter->from_us),
        filter->from_us);
    e->rc = focus_purchases(e->focus, filter->from_us, filter->to_us);
    return before.from_us == before.to_us
               ? RC_OK
               : ledger_read_lines(reader, &before, LEDGER_OLDEST, 0, 0, pass_line, e, fail);
}

static bool make_shares(struct export_run *e, struct ledger_reader *reader, struct fail *fail)
{
    const struct report_sources sources = {.ledger_path = e->config->ledger_path,
                                           .zone = e->config->zone,
                                           .state_dir = e->config->state_dir};
    struct run run = {
        .params = &e->params, .sources = &sources, .reader = reader, .error = &e->error};

    if (!e->is_allocated)
        return true;
    e->shares = focus_shares_make(&run);
    *fail = run.fail;
    return e->shares != NULL;
}

bool export_focus_open(struct export_run *e)
{
    e->list = list_book(e->config);
    return read_books(e);
}

enum rc export_focus_begin(struct export_run *e, struct ledger_reader *reader,
                           const struct ledger_filter *filter, struct fail *fail)
{
    struct focus_options options = {.version = e->focus_version,
                                    .grain = e->grain,
                                    .list = e->list,
                                    .account = account_of,
                                    .invoice = invoice_of,
                                    .origin = origin_of,
                                    .write = export_text,
                                    .arg = e,
                                    .commitments = e->commitments.at,
                                    .n_commitments = e->commitments.n};

    if (!make_shares(e, reader, fail))
        return RC_BAD;
    options.shares = e->shares;
    e->focus = focus_new(&options);
    e->rc = focus_header(e->focus);
    return e->rc == RC_OK ? pass_commitments(e, reader, filter, fail) : RC_OK;
}

enum rc export_focus_total(struct export_run *e, struct ledger_reader *reader,
                           const struct ledger_filter *filter, struct fail *fail)
{
    struct ledger_question q = {
        .filter = *filter, .grain = PERIOD_TOTAL, .zone = e->params.zone};
    struct ledger_rows rows;
    enum rc rc = ledger_read_sums(reader, &q, &rows, fail);

    if (rc != RC_OK)
        return rc;
    e->ledger_total = rows.total.sums.cost;
    ledger_rows_release(&rows);
    return RC_OK;
}

enum rc export_focus_end(struct export_run *e, const struct ledger_filter *filter)
{
    int64_t now_us = clock_wall_us(); /* a term that goes on has left nothing yet */
    const struct focus_counts *counts = focus_counts(e->focus);
    char rows[MONEY_TEXT], ledger[MONEY_TEXT];
    enum rc rc = focus_finish(e->focus, filter->from_us,
                              filter->to_us < now_us ? filter->to_us : now_us);

    if (rc != RC_OK || money_cmp(counts->metered, e->ledger_total) == 0)
        return rc;
    money_format(counts->metered, rows);
    money_format(e->ledger_total, ledger);
    return buf_printf(&e->error,
                      "the rows sum to %s USD and the ledger to %s: this file must not be used "
                      "(`tollgate audit` looks for the cause)",
                      rows, ledger);
}

bool export_focus_metadata(const struct export_run *e)
{
    char *path = xasprintf("%s.metadata.json", e->output);
    FILE *file = fopen(path, "w");
    struct strv text;
    struct buf out;
    bool good;

    buf_init(&out, METADATA_MAX_BYTES);
    good = file && focus_metadata(e->focus, clock_wall_us(), TOLLGATE_VERSION, &out) == RC_OK;
    text = buf_view(&out);
    good = good && fwrite(text.p, 1, text.n, file) == text.n;
    if (file)
        good = fclose(file) == 0 && good;
    if (!good)
        fprintf(stderr, "tollgate export: could not write %s\n", path);
    buf_release(&out);
    free(path);
    return good;
}

void export_focus_close(struct export_run *e)
{
    if (e->origins) {
        ledger_read_end(e->origins);
        ledger_read_close(e->origins);
    }
    focus_free(e->focus);
    focus_shares_free(e->shares);
    books_release(&e->invoices);
    commitments_release(&e->commitments);
    book_free(e->list);
}
