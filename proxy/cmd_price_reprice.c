/*
 * `tollgate price reprice`: what the ledger's requests would cost by the book of today,
 * and with --apply the corrections that make it so.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/xalloc.h"
#include "proxy/cmd.h"
#include "proxy/cmd_price.h"
#include "proxy/long_job.h"
#include "proxy/reprice.h"
#include "reports/closed.h"
#include "reports/params.h"
#include "reports/period.h"
#include "reports/render.h"
#include "reports/trail.h"

enum {
    ERROR_MAX_BYTES = 4096,
    OUT_MAX_BYTES = 256 << 20,
    TAKEN_WITHIN_MS = 10000,
    POLL_MS = 50
};

struct run {
    const char *file, *reason, *by;
    bool apply, all, has_period;
    struct report_params params;
    struct buf error;
    struct config *config;
    struct long_job job;
};

static void print_usage(void)
{
    puts("usage: tollgate price reprice -c FILE [options]\n");
    puts("Prices the requests of the ledger again, by the configuration's book and contract");
    puts("rules, each at its own time, and prints old, new and difference by team and model.");
    puts("Nothing is written without --apply; with it each difference becomes a correction, a");
    puts("line of its own that names its reason. No line ever changes; the same again changes");
    puts("nothing.\n");
    puts("  -c, --config FILE   the configuration");
    puts("      --apply         write the corrections");
    puts("      --reason TEXT   why; asked for by --apply");
    puts("      --by NAME       who; the user's name by default");
    puts("      --from T        requests that ended at or after T: a date or RFC 3339");
    puts("      --to T          requests that ended before T");
    puts("      --month M       a month: 2026-11");
    puts("      --last D        the last 90m, 24h, 7d, 4w");
    puts("      --where C       field=value,value or field!=value; may be repeated");
    puts("      --tz ZONE       of dates and months; the configuration's by default");
    puts("      --all           also teams and models where nothing differs");
    puts("      --format F      table (default), csv or json");
    puts("  -h, --help          this text");
    puts("\nexit status: 0 good, 1 stopped before the end, 2 bad usage, configuration or "
         "ledger");
}

static int complain(const struct fail *fail)
{
    char text[256];

    fail_text(fail, text, sizeof(text));
    fprintf(stderr, "tollgate price reprice: %s\n", text);
    return EXIT_USAGE;
}

static bool on_progress(uint64_t looked_at, void *arg)
{
    struct run *run = arg;

    return long_job_at(&run->job, looked_at);
}

/* ---- what came out ------------------------------------------------------------------- */

enum reprice_column {
    TEAM = 0,
    MODEL,
    REQUESTS,
    CHANGED,
    LATE_PRICED,
    UNPRICED,
    OLD,
    NEW,
    DIFFERENCE,
};

static void make_columns(struct sheet *t)
{
    sheet_column(t, "team", "team", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "model", "model", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "requests", "requests", COLUMN_COUNT, COLUMN_ADDS);
    sheet_column(t, "changed", "changed", COLUMN_COUNT, COLUMN_ADDS);
    sheet_column(t, "late_priced", "priced now", COLUMN_COUNT, COLUMN_ADDS | COLUMN_SPARSE);
    sheet_column(t, "unpriced", "no price", COLUMN_COUNT, COLUMN_ADDS | COLUMN_SPARSE);
    sheet_column(t, "old_usd", "old USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "new_usd", "new USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "difference_usd", "difference USD", COLUMN_MONEY, COLUMN_ADDS);
}

static void group_cells(const struct reprice_group *g, struct cell *c)
{
    c[REQUESTS] = cell_count(g->requests);
    c[CHANGED] = cell_count(g->changed);
    c[LATE_PRICED] = cell_count(g->late_priced);
    c[UNPRICED] = cell_count(g->unpriced);
    c[OLD] = cell_money(g->before);
    c[NEW] = cell_money(g->after);
    c[DIFFERENCE] = cell_money(money_sub(g->after, g->before));
}

static enum rc make_sheet(const struct run *run, const struct reprice *r, struct sheet *t)
{
    struct reprice_group total = {.requests = 0};
    const char *wrong;
    struct cell *c;

    make_columns(t);
    t->has_total = true;
    for (size_t i = 0; i < r->n_groups; i++) {
        const struct reprice_group *g = &r->groups[i];

        if (!run->all && g->changed == 0 && g->unpriced == 0)
            continue;
        if (sheet_row(t, &c) != RC_OK ||
            sheet_text(t, g->team.n ? g->team : STRV("(untagged)"), &c[TEAM]) != RC_OK ||
            sheet_text(t, g->model.n ? g->model : STRV("(unknown)"), &c[MODEL]) != RC_OK)
            return RC_LIMIT;
        group_cells(g, c);
        total.requests += g->requests;
        total.changed += g->changed;
        total.late_priced += g->late_priced;
        total.unpriced += g->unpriced;
        total.before = ledger_money_add(total.before, g->before);
        total.after = ledger_money_add(total.after, g->after);
    }
    group_cells(&total, t->total);
    return sheet_finish(t, &wrong);
}

static int print_sheet(const struct run *run, const struct reprice *r,
                       const struct ledger_filter *filter, int64_t as_of_us)
{
    const struct strv by[] = {STRV("team"), STRV("model")};
    const struct sheet_head head = {
        .report = "reprice",
        .title = "Prices of today against what was charged",
        .from_us = filter->from_us,
        .to_us = filter->to_us,
        .zone = run->params.zone,
        .as_of_us = as_of_us,
        .by = by,
        .n_by = 2,
    };
    struct sheet t;
    struct buf out;
    enum rc rc;

    sheet_init(&t);
    buf_init(&out, OUT_MAX_BYTES);
    rc = make_sheet(run, r, &t);
    if (rc == RC_OK && run->params.format == FORMAT_CSV)
        rc = render_csv(&t, false, &out);
    else if (rc == RC_OK && run->params.format == FORMAT_JSON)
        rc = render_json(&t, &head, &out);
    else if (rc == RC_OK)
        rc = render_table(&t, &head, isatty(STDOUT_FILENO) && !getenv("NO_COLOR"), &out);
    if (rc == RC_OK && (fwrite(buf_view(&out).p, 1, buf_len(&out), stdout) != buf_len(&out) ||
                        fflush(stdout) != 0))
        rc = RC_IO;
    sheet_release(&t);
    buf_release(&out);
    if (rc == RC_OK)
        return EXIT_GOOD;
    fprintf(stderr, "tollgate price reprice: could not print the result\n");
    return EXIT_USAGE;
}

/* ---- applying -------------------------------------------------------------------------- */

/* The running gateway takes what was journalled within a moment. */
static bool is_taken(const struct run *run, const struct uuid *last)
{
    for (int waited = 0; waited < TAKEN_WITHIN_MS; waited += POLL_MS) {
        struct fail fail = {0};
        struct ledger_reader *reader = ledger_read_open(run->config->ledger_path, &fail);
        bool is_there = false;

        if (reader && ledger_read_begin(reader, &fail) == RC_OK) {
            is_there = ledger_read_has(reader, last);
            ledger_read_end(reader);
        }
        ledger_read_close(reader);
        if (is_there)
            return true;
        usleep(POLL_MS * 1000);
    }
    return false;
}

/* What was done stays done where this fails. */
static void note(const struct run *run, const struct reprice *r)
{
    char *detail = xasprintf("%" PRIu64 " corrections by %s, book %s: %s", r->corrections, run->by,
                             book_hash(run->config->book), run->reason);

    if (run->apply && r->corrections)
        trail_note(run->config->state_dir, &(struct trail_change){.action = "price reprice",
                                                                  .object = "ledger",
                                                                  .detail = detail});
    free(detail);
}

static void tell(const struct run *run, const struct reprice *r, bool is_journal)
{
    if (r->compound)
        fprintf(stderr,
                "%" PRIu64 " that were priced in parts (several models, batches) are left as "
                "they are: their records do not hold enough of the parts\n",
                r->compound);
    if (r->is_stopped)
        fprintf(stderr,
                "stopped after %" PRIu64 " of %" PRIu64 " requests; run it again for "
                "the rest\n",
                r->looked_at, run->job.total);
    if (!run->apply) {
        fprintf(stderr, "nothing was written: --apply --reason TEXT writes corrections\n");
        return;
    }
    fprintf(stderr, "%" PRIu64 " corrections written\n", r->corrections);
    if (is_journal && r->corrections && !is_taken(run, &r->last))
        fprintf(stderr, "they are in the journal; the gateway has not taken them yet\n");
}

/* The end of the last month that was closed; INT64_MIN where none was. */
static enum rc find_closed(const struct config *config, int64_t *until_us, struct fail *fail)
{
    struct closed_months *months = xcalloc(1, sizeof(*months));
    enum rc rc = closed_list(config->state_dir, months, fail);
    int64_t from_us, to_us;

    *until_us = INT64_MIN;
    if (rc == RC_OK && months->n > 0 &&
        period_parse_month(config->zone, strv_z(months->at[months->n - 1]), &from_us, &to_us))
        *until_us = to_us;
    free(months);
    return rc;
}

static int with_reader(struct run *run, struct ledger_reader *reader,
                       struct ledger_filter *filter)
{
    struct ledger_question q = {.grain = PERIOD_TOTAL};
    char *journal_dir = xasprintf("%s/journal", run->config->state_dir);
    struct ledger_as_of as_of;
    struct ledger_rows rows;
    struct reprice r;
    struct fail fail = {0};
    bool is_journal;
    int status;

    reprice_init(&r);
    r.config = run->config;
    r.reader = reader;
    r.reason = strv_z(run->reason);
    r.by = strv_z(run->by);
    r.progress = on_progress;
    r.arg = run;
    if (ledger_read_as_of(reader, &as_of, &r.fail) != RC_OK ||
        find_closed(run->config, &r.closed_us, &r.fail) != RC_OK) {
        status = complain(&r.fail);
        goto out;
    }
    if (!run->has_period) { /* all that there is */
        filter->from_us =
            as_of.first_us > as_of.kept_from_us ? as_of.first_us : as_of.kept_from_us;
        filter->to_us = as_of.last_us + 1;
    }
    q.filter = *filter;
    if (ledger_read_sums(reader, &q, &rows, &r.fail) != RC_OK) {
        status = complain(&r.fail);
        goto out;
    }
    long_job_start(&run->job, "tollgate price reprice", rows.total.sums.requests);
    ledger_rows_release(&rows);
    if (run->apply) {
        r.corrector = corrector_open(run->config->ledger_path, journal_dir, &fail);
        if (!r.corrector) {
            status = complain(&fail);
            goto out;
        }
    }
    if (reprice_run(&r, filter) != RC_OK) {
        long_job_done(&run->job);
        status = complain(&r.fail);
        goto out;
    }
    long_job_done(&run->job);
    is_journal = r.corrector && corrector_is_journal(r.corrector);
    corrector_close(r.corrector);
    r.corrector = NULL;
    status = print_sheet(run, &r, filter, as_of.us);
    tell(run, &r, is_journal);
    note(run, &r);
    if (status == EXIT_GOOD && r.is_stopped)
        status = EXIT_NO;
out:
    corrector_close(r.corrector);
    reprice_release(&r);
    free(journal_dir);
    return status;
}

static int reprice(struct run *run)
{
    struct problems problems;
    struct ledger_filter filter;
    struct ledger_reader *reader;
    struct fail fail = {0};
    int status = EXIT_USAGE;

    problems_init(&problems);
    run->config = config_load_without_secrets(run->file, &problems);
    cmd_print_problems(&problems, NULL);
    problems_release(&problems);
    if (!run->config)
        return EXIT_USAGE;
    if (params_resolve(&run->params, run->config->zone, clock_wall_us(), &run->error) !=
        RC_OK) {
        fprintf(stderr, "tollgate price reprice: " STRV_FMT "\n",
                STRV_ARG(buf_view(&run->error)));
        goto out;
    }
    params_filter(&run->params, &filter);
    reader = ledger_read_open(run->config->ledger_path, &fail);
    if (!reader || ledger_read_begin(reader, &fail) != RC_OK) {
        status = complain(&fail);
    } else {
        status = with_reader(run, reader, &filter);
        ledger_read_end(reader);
    }
    ledger_read_close(reader);
out:
    config_free(run->config);
    return status;
}

/* ---- the command ------------------------------------------------------------------------ */

enum {
    OPTION_FROM = 256,
    OPTION_TO,
    OPTION_MONTH,
    OPTION_LAST,
    OPTION_WHERE,
    OPTION_TZ,
    OPTION_APPLY,
    OPTION_ALL,
    OPTION_REASON,
    OPTION_BY
};

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"from", required_argument, NULL, OPTION_FROM},
    {"to", required_argument, NULL, OPTION_TO},
    {"month", required_argument, NULL, OPTION_MONTH},
    {"last", required_argument, NULL, OPTION_LAST},
    {"where", required_argument, NULL, OPTION_WHERE},
    {"tz", required_argument, NULL, OPTION_TZ},
    {"format", required_argument, NULL, 'o'},
    {"apply", no_argument, NULL, OPTION_APPLY},
    {"all", no_argument, NULL, OPTION_ALL},
    {"reason", required_argument, NULL, OPTION_REASON},
    {"by", required_argument, NULL, OPTION_BY},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* False after telling what is wrong. */
static bool take_option(struct run *run, int c, int at)
{
    switch (c) {
    case 'c':
        run->file = optarg;
        return true;
    case OPTION_APPLY:
        run->apply = true;
        return true;
    case OPTION_ALL:
        run->all = true;
        return true;
    case OPTION_REASON:
        run->reason = optarg;
        return true;
    case OPTION_BY:
        run->by = optarg;
        return true;
    default:
        break;
    }
    if (c != 'o' && (c < OPTION_FROM || c > OPTION_TZ))
        return false; /* getopt has said why */
    run->has_period |= c >= OPTION_FROM && c <= OPTION_LAST;
    if (params_set(&run->params, c == 'o' ? STRV("format") : strv_z(long_options[at].name),
                   strv_z(optarg), &run->error) == RC_OK)
        return true;
    fprintf(stderr, "tollgate price reprice: " STRV_FMT "\n", STRV_ARG(buf_view(&run->error)));
    return false;
}

static int read_options(struct run *run, int argc, char **argv)
{
    int c, at = 0;

    optind = 1;
    while ((c = getopt_long(argc, argv, "c:o:h", long_options, &at)) != -1) {
        if (c == 'h') {
            print_usage();
            return EXIT_GOOD;
        }
        if (!take_option(run, c, at))
            return EXIT_USAGE;
    }
    if (optind < argc) {
        fprintf(stderr, "tollgate price reprice: what is \"%.64s\"? (--help)\n", argv[optind]);
        return EXIT_USAGE;
    }
    if (!run->file)
        return cmd_no_file("price reprice");
    if (run->params.format == FORMAT_HTML) {
        fprintf(stderr, "tollgate price reprice: --format is table, csv or json\n");
        return EXIT_USAGE;
    }
    if (run->apply && (!run->reason || !run->reason[0])) {
        fprintf(stderr, "tollgate price reprice: say why: --apply --reason TEXT\n");
        return EXIT_USAGE;
    }
    if (!run->by)
        run->by = getenv("USER") ? getenv("USER") : "unknown";
    return -1;
}

int price_reprice(int argc, char **argv)
{
    struct run run = {.file = NULL};
    int status;

    params_init(&run.params);
    buf_init(&run.error, ERROR_MAX_BYTES);
    status = read_options(&run, argc, argv);
    if (status < 0)
        status = reprice(&run);
    buf_release(&run.error);
    params_release(&run.params);
    return status;
}
