/*
 * report.c - see report.h: the register of reports, and the frame around each.
 */
#include "reports/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/datetime.h"
#include "base/jsonw.h"
#include "base/xalloc.h"
#include "reports/render.h"
#include "reports/report_int.h"
#include "reports/words.h"

static const struct entry {
    struct report_info info;
    report_fn *fill;
} entries[] = {
    {{"spend", "Spend"}, report_spend},
    {{"requests", "Cost per request"}, report_requests},
    {{"tasks", "Cost per task"}, report_tasks},
    {{"budgets", "Budgets and limits"}, report_budgets},
    {{"forecast", "Forecast"}, report_forecast},
    {{"variance", "Variance"}, report_variance},
    {{"anomalies", "Anomalies"}, report_anomalies},
    {{"models", "Models"}, report_models},
    {{"token-bands", "Token bands"}, report_token_bands},
    {{"waste", "Waste"}, report_waste},
    {{"savings", "Savings"}, report_savings},
    {{"untagged", "Untagged spend"}, report_untagged},
    {{"unit-economics", "Unit economics"}, report_unit_economics},
    {{"allocation", "Allocation"}, report_allocation},
    {{"statement", "Statement"}, report_statement},
    {{"journal", "Journal"}, report_journal},
    {{"reconcile", "Reconciliation"}, report_reconcile},
    {{"rate-card", "Rate card"}, report_rate_card},
    {{"commitments", "Commitments"}, report_commitments},
    {{"digest", "Weekly digest"}, report_digest},
    {{"maturity", "Maturity"}, report_maturity},
    {{"changes", "Changes"}, report_changes},
    {{"lines", "Lines"}, report_lines},
};
enum { ENTRIES = sizeof(entries) / sizeof(entries[0]) };

const struct report_info *report_at(size_t i)
{
    return i < ENTRIES ? &entries[i].info : NULL;
}

enum rc report_list_json(struct buf *out)
{
    struct jsonw w;
    enum rc rc;

    jsonw_start(&w, out);
    jsonw_object(&w);
    jsonw_key(&w, STRV("reports"));
    jsonw_array(&w);
    for (size_t i = 0; i < ENTRIES; i++) {
        jsonw_object(&w);
        jsonw_key(&w, STRV("name"));
        jsonw_string(&w, strv_z(entries[i].info.name));
        jsonw_key(&w, STRV("title"));
        jsonw_string(&w, strv_z(entries[i].info.title));
        jsonw_end(&w);
    }
    jsonw_end(&w);
    jsonw_end(&w);
    rc = jsonw_finish(&w);
    return rc == RC_OK ? buf_append(out, "\n", 1) : rc;
}

/* What it tells is not of a period's requests. */
static bool is_without_requests(const struct entry *entry)
{
    return entry->fill == report_budgets || entry->fill == report_digest ||
           entry->fill == report_changes;
}

/* A sentence for the caller; a full buffer only cuts it. */
#define SAY(buf, ...)                                                                          \
    do {                                                                                       \
        enum rc say_rc = buf_printf(buf, __VA_ARGS__);                                         \
        (void)say_rc;                                                                          \
    } while (0)

/* ---- which report ----------------------------------------------------------------------- */

static enum rc find_entry(struct strv name, const struct entry **out, struct buf *error)
{
    const char *names[ENTRIES];
    const char *nearest;

    for (size_t i = 0; i < ENTRIES; i++) {
        names[i] = entries[i].info.name;
        if (!strv_eq(name, strv_z(names[i])))
            continue;
        *out = &entries[i];
        return RC_OK;
    }
    SAY(error, "there is no report \"" STRV_FMT "\"", STRV_ARG(strv_head(name, 80)));
    nearest = words_nearest(name, names, ENTRIES);
    if (nearest)
        SAY(error, ": the nearest is \"%s\"", nearest);
    SAY(error, "; there are");
    for (size_t i = 0; i < ENTRIES; i++)
        SAY(error, "%s %s", i ? "," : "", names[i]);
    return RC_BAD;
}

enum rc run_refuses(struct run *run, const char *word, const char *why)
{
    SAY(run->error, "%s does not go with this report: %s", word, why);
    return RC_BAD;
}

/* ---- order ----------------------------------------------------------------------------------
 */

static enum rc sort_rows(struct run *run)
{
    struct report_params *p = run->params;
    struct sheet *t = &run->sheet;
    size_t column = sheet_find(t, p->sort);
    const char *names[SHEET_COLUMNS_MAX], *nearest;
    enum column_type type;

    if (!p->sort.n)
        return RC_OK;
    if (column == t->n_columns) {
        for (size_t c = 0; c < t->n_columns; c++)
            names[c] = t->columns[c].name;
        nearest = words_nearest(p->sort, names, t->n_columns);
        SAY(run->error,
            "sort: there is no column \"" STRV_FMT "\": ", STRV_ARG(strv_head(p->sort, 80)));
        if (nearest)
            SAY(run->error, "the nearest is \"%s\"", nearest);
        for (size_t c = 0; !nearest && c < t->n_columns; c++)
            SAY(run->error, "%s%s", c ? ", " : "it is one of ", names[c]);
        return RC_BAD;
    }
    type = t->columns[column].type;
    sheet_sort(t, t->n_rows - run->n_others, column,
               p->has_order ? p->ascending : type == COLUMN_TEXT || type == COLUMN_TIME);
    return RC_OK;
}

/* A free tag may have the name of a column: it is then written "tag:NAME". */
static enum rc rename_tags(struct sheet *t)
{
    for (size_t c = 0; c < t->n_columns; c++) {
        size_t same = 0;
        char *name;
        if (!(t->columns[c].flags & COLUMN_KEY))
            continue;
        for (size_t d = 0; d < t->n_columns; d++)
            same += strcmp(t->columns[c].name, t->columns[d].name) == 0;
        if (same < 2)
            continue;
        name = arena_alloc(&t->arena, strlen(t->columns[c].name) + sizeof("tag:"));
        if (!name)
            return RC_LIMIT;
        memcpy(name, "tag:", sizeof("tag:") - 1);
        memcpy(name + sizeof("tag:") - 1, t->columns[c].name, strlen(t->columns[c].name));
        t->columns[c].name = name;
    }
    return RC_OK;
}

/* ---- running
 * ----------------------------------------------------------------------------------- */

enum rc run_render(struct run *run, const char *name, const char *title,
                   enum report_format format, struct buf *out)
{
    const struct report_params *p = run->params;
    struct strv by[PARAMS_BY_MAX];
    struct run_about about;
    struct sheet_head head = {
        .report = name,
        .title = title,
        .from_us = p->from_us,
        .to_us = p->to_us,
        .zone = p->zone,
        .as_of_us = run->as_of.us,
        .by = by,
        .n_by = p->n_by,
        .has_precision = p->has_precision,
        .precision = p->precision,
        .note = run->note,
        .has_against = run->has_against,
        .against_from_us = run->against_from_us,
        .against_to_us = run->against_to_us,
        .about = &about.about,
    };
    enum rc rc = run_about(run, &about);

    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; i < p->n_by; i++)
        by[i] = ledger_field_name(&p->by[i]);
    switch (format) {
    case FORMAT_TABLE:
        return render_table(&run->sheet, &head, run->sources->colour, out);
    case FORMAT_CSV:
        return render_csv(&run->sheet, p->total_row, out);
    case FORMAT_JSON:
        return render_json(&run->sheet, &head, out);
    case FORMAT_HTML:
        return render_html(&run->sheet, &head, out);
    case FORMAT_COUNT:
        break;
    }
    return RC_BAD;
}

enum rc run_finish(struct run *run)
{
    const char *wrong = "";
    enum rc rc = rename_tags(&run->sheet);

    if (rc == RC_OK)
        rc = sheet_finish(&run->sheet, &wrong);
    if (rc == RC_STATE) {
        SAY(run->error, "column %s does not add up to its total: run tollgate audit", wrong);
        return RC_IO;
    }
    return rc;
}

static enum rc finish(struct run *run, const struct entry *entry, struct buf *out)
{
    enum rc rc;

    if (run->params->has_bom && run->params->format == FORMAT_CSV) {
        rc = buf_append_strv(out, STRV("\xef\xbb\xbf"));
        if (rc != RC_OK)
            return rc;
    }
    if (run->frozen)
        return buf_append(out, run->frozen, run->n_frozen);
    rc = run_finish(run);
    if (rc == RC_OK)
        rc = sort_rows(run);
    return rc == RC_OK
               ? run_render(run, entry->info.name, entry->info.title, run->params->format, out)
               : rc;
}

/* Whatever the report could not say itself. */
static enum rc explain(struct run *run, const char *path, enum rc rc)
{
    char text[256];

    if (buf_len(run->error) > 0)
        return rc;
    if (rc == RC_LIMIT) {
        SAY(run->error, "the answer is too large: ask for a shorter period, %s",
            run->params->top ? "fewer fields, or less of it by where" : "fewer fields or top");
        return RC_LIMIT;
    }
    if (ledger_lines_are_gone(&run->fail)) {
        datetime_format_us(run->as_of.kept_from_us, text);
        SAY(run->error,
            "single requests are kept from %s on, only sums of those before, and these do not "
            "answer this: ask from there on, or by team, feature, environment, task_type, "
            "key, model, upstream and whole hours alone",
            text);
        return RC_BAD;
    }
    fail_text(&run->fail, text, sizeof(text));
    if (run->fail.rc == RC_OK)
        (void)snprintf(text, sizeof(text), "could not answer: %s", rc_name(rc));
    SAY(run->error, "ledger %s: %s", path, text);
    return RC_IO;
}

static enum rc run_entry(struct run *run, const struct entry *entry, struct buf *out)
{
    enum rc rc;

    run->reader = run->sources->reader;
    if (!run->reader)
        run->reader = ledger_read_open(run->sources->ledger_path, &run->fail);
    if (!run->reader)
        return RC_IO;
    rc = ledger_read_begin(run->reader, &run->fail);
    if (rc == RC_OK) {
        rc = ledger_read_as_of(run->reader, &run->as_of, &run->fail);
        if (rc == RC_OK)
            rc = run_check_basis(run);
        if (rc == RC_OK)
            rc = entry->fill(run);
        if (rc == RC_OK && run->params->is_strict)
            rc = run_check_strict(run);
        else if (rc == RC_OK && run->params->format == FORMAT_JSON && !is_without_requests(entry) &&
                 !run->is_frozen)
            rc = run_find_quality(run);
        ledger_read_end(run->reader);
    }
    if (run->reader != run->sources->reader)
        ledger_read_close(run->reader);
    run->reader = NULL;
    return rc == RC_OK ? finish(run, entry, out) : rc;
}

/* Words that only some reports know. */
static enum rc check_words(const struct entry *entry, const struct report_params *params,
                           struct buf *error)
{
    if (params->against.n && entry->fill != report_variance && entry->fill != report_spend &&
        entry->fill != report_unit_economics) {
        SAY(error, "against does not go with this report: it is a word of spend, variance and "
                   "unit-economics");
        return RC_BAD;
    }
    if ((params->only.n || params->except.n || params->waste.n || params->charge.n ||
         params->has_time) &&
        entry->fill != report_lines) {
        SAY(error, "only, except, waste, charge and time are words of lines");
        return RC_BAD;
    }
    if ((params->has_bom || params->total_row) && params->format != FORMAT_CSV) {
        SAY(error, "%s is a word of csv: other formats %s",
            params->has_bom ? "bom" : "total-row",
            params->has_bom ? "need no mark" : "have their total");
        return RC_BAD;
    }
    if (params->basis == BASIS_LIST && entry->fill != report_spend &&
        entry->fill != report_untagged && entry->fill != report_lines) {
        SAY(error, "cost-basis=list does not go with this report: the ledger knows list prices of "
                   "sums and of lines (spend, untagged, lines), not of percentiles, tasks, bands "
                   "or bills; rate-card has them beside what was charged");
        return RC_BAD;
    }
    if (params->is_strict && is_without_requests(entry)) {
        SAY(error, "strict does not go with this report: it is not of a period's requests");
        return RC_BAD;
    }
    if (params->currency.n && entry->fill != report_statement && entry->fill != report_journal) {
        SAY(error, "currency does not go with this report: it is a word of statement and "
                   "journal, whose totals are converted; all else is in dollars");
        return RC_BAD;
    }
    if (params->models.n && entry->fill != report_savings) {
        SAY(error, "models does not go with this report: it is a word of savings");
        return RC_BAD;
    }
    return RC_OK;
}

enum rc report_run(struct strv name, struct report_params *params,
                   const struct report_sources *sources, struct buf *out, struct buf *error)
{
    size_t before = buf_len(out);
    const struct entry *entry;
    struct run *run;
    enum rc rc = find_entry(name, &entry, error);

    if (rc != RC_OK)
        return rc;
    rc = check_words(entry, params, error);
    if (rc != RC_OK)
        return rc;
    rc = params_resolve(params, sources->zone,
                        sources->now_us ? sources->now_us : clock_wall_us(), error);
    if (rc != RC_OK)
        return rc;
    if (params->has_scope && entry->fill != report_forecast && entry->fill != report_anomalies) {
        SAY(error, "scope does not go with this report: it is a word of forecast and anomalies");
        return RC_BAD;
    }
    if (params->n_imports && entry->fill != report_reconcile) {
        SAY(error, "import does not go with this report: it is a word of reconcile");
        return RC_BAD;
    }
    if (sources->catch_up)
        sources->catch_up(sources->arg);
    run = xcalloc(1, sizeof(*run));
    *run = (struct run){.params = params, .sources = sources, .error = error};
    sheet_init(&run->sheet);
    rc = run_entry(run, entry, out);
    if (rc != RC_OK) {
        out->tail = out->head + before;
        rc = explain(run, sources->ledger_path, rc);
    }
    sheet_release(&run->sheet);
    free(run->frozen);
    free(run);
    return rc;
}
