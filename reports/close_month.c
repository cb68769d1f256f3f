/*
 * close_month.c - closing a month: everything that bills it is rendered, hashed and
 * written; see closed.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/datetime.h"
#include "base/jsonw.h"
#include "base/xalloc.h"
#include "reports/currency.h"
#include "reports/files.h"
#include "reports/period.h"
#include "reports/statement.h"
#include "reports/trail.h"

#define SAY(buf, ...)                                                                          \
    do {                                                                                       \
        enum rc say_rc = buf_printf(buf, __VA_ARGS__);                                         \
        (void)say_rc;                                                                          \
    } while (0)

enum { FILES_MAX = 16, NAME_BYTES = 32, MANIFEST_MAX = 64 << 10 };

struct closing {
    const struct report_sources *sources;
    struct report_params params;
    struct run *run;
    char month[CLOSED_MONTH_TEXT], previous[SHA256_HEX];
    struct {
        char name[NAME_BYTES];
        struct buf text;
    } file[FILES_MAX];
    size_t n_files;
    char folder[64]; /* written under this name, then renamed */
};

static struct buf *new_file(struct closing *g, const char *name, const char *suffix)
{
    (void)snprintf(g->file[g->n_files].name, NAME_BYTES, "%s.%s", name, suffix);
    buf_init(&g->file[g->n_files].text, REPORT_OUT_MAX_BYTES);
    return &g->file[g->n_files++].text;
}

/* ---- may it be closed? ------------------------------------------------------------------- */

static enum rc refuse(struct closing *g, const char *why)
{
    SAY(g->run->error, "%s cannot be closed: %s", g->month, why);
    return RC_BAD;
}

/* No month with spend before it may be open: corrections go forward only. */
static enum rc check_order(struct closing *g, const struct closed_months *closed)
{
    const struct zone *zone = g->sources->zone;
    int64_t first_us = g->run->as_of.first_us, start, end;
    char label[DATETIME_TEXT];

    if (closed->n && strcmp(closed->at[closed->n - 1], g->month) > 0)
        return refuse(g, "a later month is closed already");
    if (closed->n && period_parse_month(zone, strv_z(closed->at[closed->n - 1]), &start, &end))
        first_us = end;
    if (first_us == 0 || first_us >= g->params.from_us)
        return RC_OK;
    zone_period(zone, PERIOD_MONTH, first_us, &start, &end);
    zone_period_label(zone, PERIOD_MONTH, start, label);
    SAY(g->run->error, "%s cannot be closed: %.7s is open still, close it first", g->month,
        label);
    return RC_BAD;
}

static enum rc check(struct closing *g, const struct closed_months *closed, bool force)
{
    if (closed_has(closed, g->month))
        return refuse(g, "it is closed already");
    if (g->params.now_us < g->params.to_us)
        return refuse(g, "it has not ended yet");
    if (!force && g->run->as_of.us < g->params.to_us)
        return refuse(g, "the ledger has not taken in all of it yet; where no gateway runs any "
                         "more, --force says so");
    return check_order(g, closed);
}

/* ---- what is written ---------------------------------------------------------------------- */

static enum rc render_all(struct closing *g, const char *name, const char *title,
                          report_fn *fill)
{
    struct run *run = g->run;
    enum rc rc;

    sheet_init(&run->sheet);
    run->note = NULL;
    run->n_others = 0;
    rc = fill(run);
    if (rc == RC_OK)
        rc = run_finish(run);
    if (rc == RC_OK)
        rc = run_render(run, name, title, FORMAT_CSV, new_file(g, name, "csv"));
    if (rc == RC_OK)
        rc = run_render(run, name, title, FORMAT_JSON, new_file(g, name, "json"));
    if (rc == RC_OK)
        rc = sheet_freeze(&run->sheet, new_file(g, name, "sheet"));
    sheet_release(&run->sheet);
    return rc;
}

/* So that a view in another currency stays what it was, whatever rates are recorded later. */
static enum rc freeze_rates(struct closing *g)
{
    struct sheet t;
    enum rc rc;

    sheet_init(&t);
    rc = currency_rates_sheet(g->run, &t);
    if (rc == RC_OK)
        rc = sheet_freeze(&t, new_file(g, "rates", "sheet"));
    sheet_release(&t);
    return rc;
}

static enum rc freeze_sums(struct closing *g)
{
    struct statement s = {0};
    struct sheet t;
    enum rc rc;

    sheet_init(&t);
    rc = statement_usage_sheet(g->run, &t);
    if (rc == RC_OK)
        rc = sheet_freeze(&t, new_file(g, "usage", "sheet"));
    sheet_release(&t);
    if (rc != RC_OK)
        return rc;
    sheet_init(&t);
    rc = statement_make(g->run, &s);
    if (rc == RC_OK)
        rc = statement_corrections_sheet(&s, &t);
    if (rc == RC_OK)
        rc = sheet_freeze(&t, new_file(g, "corrections", "sheet"));
    sheet_release(&t);
    sheet_init(&t);
    if (rc == RC_OK)
        rc = journal_bills_sheet(&s, &t);
    if (rc == RC_OK)
        rc = sheet_freeze(&t, new_file(g, "bills", "sheet"));
    sheet_release(&t);
    statement_release(&s);
    return rc == RC_OK ? freeze_rates(g) : rc;
}

static enum rc put_manifest(const struct closing *g, struct buf *out)
{
    unsigned char hash[SHA256_BYTES];
    char hex[SHA256_HEX], time[DATETIME_TEXT], actor[TRAIL_ACTOR_TEXT];
    struct jsonw w;
    enum rc rc;

    trail_actor(actor);
    jsonw_start(&w, out);
    jsonw_object(&w);
    jsonw_key(&w, STRV("month"));
    jsonw_string(&w, strv_z(g->month));
    jsonw_key(&w, STRV("timezone"));
    jsonw_string(&w, strv_z(zone_name(g->sources->zone)));
    jsonw_key(&w, STRV("closed_at"));
    datetime_format_us(g->params.now_us, time);
    jsonw_string(&w, strv_z(time));
    jsonw_key(&w, STRV("closed_by"));
    jsonw_string(&w, strv_z(actor));
    jsonw_key(&w, STRV("as_of"));
    datetime_format_us(g->run->as_of.us, time);
    jsonw_string(&w, strv_z(time));
    jsonw_key(&w, STRV("ledger_seq"));
    jsonw_uint(&w, g->run->as_of.seq);
    jsonw_key(&w, STRV("previous_sha256"));
    jsonw_string(&w, strv_z(g->previous));
    jsonw_key(&w, STRV("files"));
    jsonw_object(&w);
    for (size_t i = 0; i < g->n_files; i++) {
        digest_sha256(buf_view(&g->file[i].text), hash);
        digest_hex(hash, sizeof(hash), hex);
        jsonw_key(&w, strv_z(g->file[i].name));
        jsonw_string(&w, strv_z(hex));
    }
    jsonw_end(&w);
    jsonw_end(&w);
    rc = jsonw_finish(&w);
    return rc == RC_OK ? buf_append(out, "\n", 1) : rc;
}

/* All files under a name of their own, then the folder gets the month's: all or nothing. */
static enum rc write_all(struct closing *g, struct strv manifest)
{
    char final[64];
    enum rc rc = RC_OK;

    (void)snprintf(g->folder, sizeof(g->folder), "closed/%s.new", g->month);
    (void)snprintf(final, sizeof(final), "closed/%s", g->month);
    for (size_t i = 0; rc == RC_OK && i < g->n_files; i++)
        rc = files_replace(g->sources->state_dir, g->folder, g->file[i].name, "",
                           buf_view(&g->file[i].text), &g->run->fail);
    if (rc == RC_OK)
        rc = files_replace(g->sources->state_dir, g->folder, "manifest.json", "", manifest,
                           &g->run->fail);
    if (rc == RC_OK)
        rc = files_rename(g->sources->state_dir, "closed", g->folder, final, &g->run->fail);
    return rc;
}

static enum rc find_previous(struct closing *g, const struct closed_months *closed)
{
    unsigned char hash[SHA256_BYTES];
    char *text;
    size_t n;
    enum rc rc;

    if (closed->n == 0)
        return RC_OK;
    rc = closed_read(g->sources->state_dir, closed->at[closed->n - 1], "manifest.json", &text, &n,
                     &g->run->fail);
    if (rc != RC_OK)
        return RC_IO;
    digest_sha256(strv_make(text, n), hash);
    digest_hex(hash, sizeof(hash), g->previous);
    free(text);
    return RC_OK;
}

static void note_close(const struct closing *g, bool force, const char *manifest)
{
    char object[64];

    (void)snprintf(object, sizeof(object), "closed/%s", g->month);
    trail_note(g->sources->state_dir, &(struct trail_change){.action = "close",
                                                             .object = object,
                                                             .detail = force ? "forced" : NULL,
                                                             .after = manifest});
}

static enum rc close_in_view(struct closing *g, bool force, struct buf *said)
{
    char hex[SHA256_HEX];
    struct closed_months closed;
    struct buf manifest;
    enum rc rc = closed_list(g->sources->state_dir, &closed, &g->run->fail);

    buf_init(&manifest, MANIFEST_MAX);
    if (rc == RC_OK)
        rc = check(g, &closed, force);
    if (rc == RC_OK)
        rc = find_previous(g, &closed);
    if (rc == RC_OK)
        rc = freeze_sums(g);
    if (rc == RC_OK)
        rc = render_all(g, "statement", "Statement", report_statement);
    if (rc == RC_OK)
        rc = render_all(g, "journal", "Journal", report_journal);
    if (rc == RC_OK)
        rc = render_all(g, "allocation", "Allocation", report_allocation);
    if (rc == RC_OK)
        rc = put_manifest(g, &manifest);
    if (rc == RC_OK)
        rc = write_all(g, buf_view(&manifest));
    if (rc == RC_OK) {
        trail_hash(buf_view(&manifest), hex);
        note_close(g, force, hex);
        rc = buf_printf(said, "%s is closed: %zu files, manifest sha256 %s\n", g->month,
                        g->n_files + 1, hex);
    }
    buf_release(&manifest);
    return rc;
}

static enum rc run_closing(struct closing *g, bool force, struct buf *said)
{
    struct run *run = g->run;
    int lock = -1;
    enum rc rc = files_lock(g->sources->state_dir, "closed", &lock, &run->fail);

    if (rc != RC_OK)
        return rc;
    run->reader = ledger_read_open(g->sources->ledger_path, &run->fail);
    rc = run->reader ? ledger_read_begin(run->reader, &run->fail) : RC_IO;
    if (rc == RC_OK) {
        rc = ledger_read_as_of(run->reader, &run->as_of, &run->fail);
        if (rc == RC_OK)
            rc = close_in_view(g, force, said);
        ledger_read_end(run->reader);
    }
    if (run->reader)
        ledger_read_close(run->reader);
    (void)close(lock);
    return rc;
}

enum rc closed_close(const struct report_sources *sources, struct strv month, bool force,
                     struct buf *said, struct buf *error)
{
    struct closing *g = xcalloc(1, sizeof(*g));
    char why[256];
    enum rc rc;

    g->sources = sources;
    g->run = xcalloc(1, sizeof(*g->run));
    *g->run = (struct run){
        .params = &g->params, .sources = sources, .error = error, .is_closing = true};
    params_init(&g->params);
    rc = params_set(&g->params, STRV("month"), month, error);
    if (rc == RC_OK)
        rc = params_resolve(&g->params, sources->zone,
                            sources->now_us ? sources->now_us : clock_wall_us(), error);
    if (rc == RC_OK) {
        (void)snprintf(g->month, sizeof(g->month), STRV_FMT, STRV_ARG(strv_head(month, 7)));
        if (sources->catch_up)
            sources->catch_up(sources->arg);
        rc = run_closing(g, force, said);
    }
    if (rc != RC_OK && buf_len(error) == 0) {
        fail_text(&g->run->fail, why, sizeof(why));
        SAY(error, "%s", g->run->fail.rc == RC_OK ? rc_name(rc) : why);
        rc = RC_IO;
    }
    for (size_t i = 0; i < g->n_files; i++)
        buf_release(&g->file[i].text);
    params_release(&g->params);
    free(g->run);
    free(g);
    return rc;
}
