/*
 * cmd_export.c - `tollgate export`: the ledger's lines, oldest first, or what they are in
 * FOCUS.
 *
 * Reads beside a running gateway, or without one, in one consistent view; holds one
 * line in memory, of FOCUS a charge period's rows.  A file is written under another name
 * and takes its own when it is whole.
 */
#include "proxy/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/datetime.h"
#include "base/xalloc.h"
#include "metering/ledger/ledger_read.h"
#include "proxy/config.h"
#include "proxy/long_job.h"
#include "reports/books.h"
#include "reports/focus.h"
#include "reports/params.h"

enum { LINE_MAX_BYTES = 1 << 20, ERROR_MAX_BYTES = 4096, METADATA_MAX_BYTES = 1 << 20 };

enum export_format { EXPORT_JSONL = 0, EXPORT_CSV, EXPORT_FOCUS };

struct export_run {
    const char *file, *output;
    enum export_format format;
    enum focus_version focus_version;
    enum focus_grain grain;
    bool has_focus_words; /* that go with no other format */
    bool has_period;
    struct report_params params;
    struct buf error, line;
    FILE *to;
    char *unfinished; /* the name of the file until it is whole */
    const struct config *config;
    struct focus *focus;
    struct long_job job;
    struct books_table invoices; /* imported numbers, for FOCUS */
    struct books_table commitments;
    struct focus_commitment *committed; /* of that table */
    size_t n_committed;
    uint64_t done;
    enum rc rc; /* of the line that could not be written */
};

static void print_usage(void)
{
    puts("usage: tollgate export -c FILE [options]\n");
    puts("Prints the ledger's lines, oldest first: every request once. Without a period, "
         "all.\n");
    puts("  -c, --config FILE   the configuration");
    puts("      --from T        lines that ended at or after T: a date or RFC 3339");
    puts("      --to T          lines that ended before T");
    puts("      --month M       a month: 2026-11");
    puts("      --last D        the last 90m, 24h, 7d, 4w");
    puts("      --where C       field=value,value or field!=value; may be repeated");
    puts("      --tz ZONE       of dates and months; the configuration's by default");
    puts("      --format F      jsonl (default), csv or focus");
    puts("      --focus-version V  1.2 (default) or 1.4");
    puts("      --grain G       focus: a row per day (default), hour or request");
    puts(
        "  -o, --output FILE   instead of standard output; with focus, FILE.metadata.json too");
    puts("  -h, --help          this text");
    puts("\nexit status: 0 good, 2 bad usage, configuration or ledger");
}

static bool write_text(struct strv text, void *arg)
{
    struct export_run *e = arg;

    return fwrite(text.p, 1, text.n, e->to) == text.n;
}

static bool give_line(uint64_t seq, const struct record *record, void *arg)
{
    struct export_run *e = arg;

    (void)seq;
    if (!long_job_at(&e->job, ++e->done))
        return false;
    buf_clear(&e->line);
    if (e->format == EXPORT_FOCUS) {
        e->rc = focus_add(e->focus, record);
        return e->rc == RC_OK;
    }
    if (e->format == EXPORT_CSV) {
        e->rc = record_csv(record, &e->line);
    } else {
        e->rc = record_json(record, &e->line);
        if (e->rc == RC_OK)
            e->rc = buf_append(&e->line, "\n", 1);
    }
    if (e->rc == RC_OK && !write_text(buf_view(&e->line), e))
        e->rc = RC_IO;
    return e->rc == RC_OK;
}

static bool give_header(struct export_run *e)
{
    buf_clear(&e->line);
    if (e->format == EXPORT_JSONL)
        return true;
    if (e->format == EXPORT_FOCUS) {
        e->rc = focus_header(e->focus);
        return e->rc == RC_OK;
    }
    e->rc = record_csv_header(&e->line);
    if (e->rc == RC_OK && !write_text(buf_view(&e->line), e))
        e->rc = RC_IO;
    return e->rc == RC_OK;
}

static int complain(const struct fail *fail, const char *path)
{
    char text[256];

    if (ledger_lines_are_gone(fail)) {
        fprintf(stderr, "tollgate export: lines of that time are deleted (ledger.keep_days): "
                        "ask for a later period; `tollgate report` has their sums\n");
        return EXIT_USAGE;
    }
    fail_text(fail, text, sizeof(text));
    fprintf(stderr, "tollgate export: %s: %s\n", path, text);
    return EXIT_USAGE;
}

/* Lines that a period may hold: so many there are at most. */
static uint64_t most_lines(struct ledger_reader *reader)
{
    struct ledger_as_of as_of = {.seq = 0};
    struct fail fail;

    return ledger_read_as_of(reader, &as_of, &fail) == RC_OK ? as_of.seq : 0;
}

/* All that there is: what is deleted is said, not asked for. */
static void leave_out_deleted(struct ledger_reader *reader, struct ledger_filter *filter)
{
    struct ledger_as_of as_of;
    struct fail ignored;
    char from[DATETIME_TEXT];

    if (filter->from_us != INT64_MIN || ledger_read_as_of(reader, &as_of, &ignored) != RC_OK ||
        as_of.kept_from_us == 0)
        return;
    filter->from_us = as_of.kept_from_us;
    datetime_format_us(as_of.kept_from_us, from);
    fprintf(stderr, "tollgate export: lines that ended before %s are deleted\n", from);
}

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

    ledger_filter_init(&before, filter->from_us, filter->from_us);
    for (size_t i = 0; i < e->n_committed; i++) {
        const struct focus_commitment *c = &e->committed[i];
        if (c->to_us > filter->from_us && c->from_us < before.from_us)
            before.from_us = c->from_us;
    }
    e->rc = e->focus ? focus_purchases(e->focus, filter->from_us, filter->to_us) : RC_OK;
    return before.from_us == before.to_us
               ? RC_OK
               : ledger_read_lines(reader, &before, LEDGER_OLDEST, 0, 0, pass_line, e, fail);
}

static int export_lines(struct export_run *e, const char *path, struct ledger_filter *filter)
{
    struct fail fail = {0};
    struct ledger_reader *reader = ledger_read_open(path, &fail);
    enum rc rc;

    if (!reader)
        return complain(&fail, path);
    rc = ledger_read_begin(reader, &fail);
    if (rc == RC_OK) {
        long_job_start(&e->job, "tollgate export", most_lines(reader));
        leave_out_deleted(reader, filter);
        if (give_header(e))
            rc = pass_commitments(e, reader, filter, &fail);
        if (rc == RC_OK && e->rc == RC_OK)
            rc = ledger_read_lines(reader, filter, LEDGER_OLDEST, 0, 0, give_line, e, &fail);
    }
    ledger_read_end(reader);
    ledger_read_close(reader);
    if (rc != RC_OK)
        return complain(&fail, path);
    if (e->rc == RC_OK && e->focus && !long_job_stopped()) {
        int64_t now_us = clock_wall_us(); /* a term that goes on has left nothing yet */

        e->rc = focus_finish(e->focus, filter->from_us,
                             filter->to_us < now_us ? filter->to_us : now_us);
    }
    if (e->rc == RC_LIMIT) {
        fprintf(stderr, "tollgate export: a charge period has too many rows, or an amount is "
                        "too large: ask for a shorter period or --grain hour\n");
        return EXIT_USAGE;
    }
    if (long_job_stopped())
        return EXIT_USAGE;
    if (e->rc != RC_OK || fflush(e->to) != 0) {
        fprintf(stderr, "tollgate export: could not write the lines\n");
        return EXIT_USAGE;
    }
    return EXIT_GOOD;
}

/* ---- the file -------------------------------------------------------------------------- */

static bool open_output(struct export_run *e)
{
    e->to = stdout;
    if (!e->output)
        return true;
    e->unfinished = xasprintf("%s.unfinished", e->output);
    e->to = fopen(e->unfinished, "w");
    if (e->to)
        return true;
    fprintf(stderr, "tollgate export: could not write %s: %s\n", e->unfinished,
            strerror(errno));
    return false;
}

/* What a reader of the data needs to know of it, beside it. */
static bool write_metadata(const struct export_run *e)
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

static int close_output(struct export_run *e, int status)
{
    bool good = status == EXIT_GOOD && !long_job_stopped();

    if (!e->output || !e->to)
        return status;
    if (!good)
        __fpurge(e->to); /* nobody wants the rest */
    good = fclose(e->to) == 0 && good;
    if (good && e->focus)
        good = write_metadata(e);
    if (good && rename(e->unfinished, e->output) != 0) {
        fprintf(stderr, "tollgate export: could not name %s: %s\n", e->output, strerror(errno));
        good = false;
    }
    if (good)
        long_job_done(&e->job);
    else
        (void)unlink(e->unfinished);
    return good ? EXIT_GOOD : EXIT_USAGE;
}

/* ---- FOCUS ----------------------------------------------------------------------------- */

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

/* Days of commitments are the provider's: UTC. */
static void read_commitments(struct export_run *e, struct zone *utc)
{
    const struct books_table *t = &e->commitments;

    e->committed = xcalloc(t->csv.n_rows + 1, sizeof(*e->committed));
    for (size_t r = 0; r < t->csv.n_rows; r++) {
        struct focus_commitment *c = &e->committed[e->n_committed];
        int64_t end;

        *c = (struct focus_commitment){
            .id = books_field(t, BOOKS_COMMITMENTS, r, "id"),
            .name = books_field(t, BOOKS_COMMITMENTS, r, "name"),
            .provider = books_field(t, BOOKS_COMMITMENTS, r, "provider"),
            .account = books_field(t, BOOKS_COMMITMENTS, r, "account")};
        if (books_when(utc, books_field(t, BOOKS_COMMITMENTS, r, "from"), &c->from_us, &end) &&
            books_when(utc, books_field(t, BOOKS_COMMITMENTS, r, "to"), &c->to_us, &end) &&
            money_parse(books_field(t, BOOKS_COMMITMENTS, r, "amount_usd"), &c->amount) == RC_OK)
            e->n_committed++;
    }
}

/* What finance imported for this; false where it cannot be read, which is said. */
static bool read_books(struct export_run *e)
{
    const char *dir = e->config->state_dir;
    struct zone *utc = zone_open("UTC");
    struct fail fail;
    bool good = books_read(dir, BOOKS_INVOICES, &e->invoices, &fail) == RC_OK &&
                books_read(dir, BOOKS_COMMITMENTS, &e->commitments, &fail) == RC_OK;

    if (good)
        read_commitments(e, utc);
    else
        (void)complain(&fail, dir);
    zone_close(utc);
    if (good && e->n_committed && e->params.n_where) {
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

static void say_counts(const struct focus_counts *c)
{
    if (c->unpriced)
        fprintf(stderr, "tollgate export: %llu requests have no price and are in no row\n",
                (unsigned long long)c->unpriced);
    if (c->partly)
        fprintf(stderr, "tollgate export: %llu requests are priced only in part\n",
                (unsigned long long)c->partly);
    if (c->list_unknown)
        fprintf(stderr,
                "tollgate export: %llu charges have no known list price: the contracted one "
                "stands for it (x_ListPriceSource)\n",
                (unsigned long long)c->list_unknown);
}

static int export_focus(struct export_run *e, const char *path,
                        struct ledger_filter *filter)
{
    struct book *book = list_book(e->config);
    struct focus_options options = {.version = e->focus_version,
                                          .grain = e->grain,
                                          .list = book,
                                          .account = account_of,
                                          .invoice = invoice_of,
                                          .write = write_text,
                                          .arg = e};
    int status = EXIT_USAGE;

    if (!read_books(e)) {
        status = close_output(e, status);
        goto out;
    }
    options.commitments = e->committed;
    options.n_commitments = e->n_committed;
    e->focus = focus_new(&options);
    status = export_lines(e, path, filter);
    if (status == EXIT_GOOD && !long_job_stopped())
        say_counts(focus_counts(e->focus));
    status = close_output(e, status);
    focus_free(e->focus);
out:
    free(e->committed);
    books_release(&e->invoices);
    books_release(&e->commitments);
    book_free(book);
    return status;
}

static int export_to_output(struct export_run *e, struct ledger_filter *filter)
{
    int status = EXIT_USAGE;

    if (open_output(e)) {
        if (e->format == EXPORT_FOCUS)
            status = export_focus(e, e->config->ledger_path, filter);
        else
            status = close_output(e, export_lines(e, e->config->ledger_path, filter));
    }
    free(e->unfinished);
    return status;
}

static int run(struct export_run *e)
{
    struct problems problems;
    struct ledger_filter filter;
    struct config *config;
    int status = EXIT_USAGE;

    problems_init(&problems);
    config = config_load(e->file, &problems);
    cmd_print_problems(&problems, NULL);
    problems_release(&problems);
    if (!config)
        return EXIT_USAGE;
    if (params_resolve(&e->params, config->zone, clock_wall_us(), &e->error) != RC_OK) {
        struct strv text = buf_view(&e->error);

        fprintf(stderr, "tollgate export: " STRV_FMT "\n", STRV_ARG(text));
        goto out;
    }
    params_filter(&e->params, &filter);
    if (!e->has_period) {
        filter.from_us = INT64_MIN;
        filter.to_us = INT64_MAX;
    }
    e->config = config;
    status = export_to_output(e, &filter);
out:
    config_free(config);
    if (e->job.doing)
        long_job_end(&e->job);
    return status;
}

static bool set_format(struct export_run *e, const char *name)
{
    if (strcmp(name, "jsonl") == 0) {
        e->format = EXPORT_JSONL;
        return true;
    }
    if (strcmp(name, "csv") == 0) {
        e->format = EXPORT_CSV;
        return true;
    }
    if (strcmp(name, "focus") == 0) {
        e->format = EXPORT_FOCUS;
        return true;
    }
    fprintf(stderr, "tollgate export: no format \"%s\": jsonl, csv or focus\n", name);
    return false;
}

static bool set_focus_word(struct export_run *e, const char *word, const char *value)
{
    static const char *const grains[] = {"day", "hour", "request"};

    e->has_focus_words = true;
    for (unsigned i = 0; strcmp(word, "grain") == 0 && i < 3; i++) {
        if (strcmp(value, grains[i]) == 0) {
            e->grain = (enum focus_grain)i;
            return true;
        }
    }
    for (unsigned i = 0; strcmp(word, "focus-version") == 0 && i < FOCUS_VERSIONS; i++) {
        if (strcmp(value, focus_version_name((enum focus_version)i)) == 0) {
            e->focus_version = (enum focus_version)i;
            return true;
        }
    }
    fprintf(stderr, "tollgate export: no %s \"%s\": %s\n", word, value,
            strcmp(word, "grain") == 0 ? "day, hour or request" : "1.2 or 1.4");
    return false;
}

static bool set_word(struct export_run *e, const char *word, const char *value)
{
    struct strv text;

    if (params_set(&e->params, strv_z(word), strv_z(value), &e->error) == RC_OK)
        return true;
    text = buf_view(&e->error);
    fprintf(stderr, "tollgate export: " STRV_FMT "\n", STRV_ARG(text));
    return false;
}

/* Words of reports that choose lines; the number is the option's place. */
enum {
    OPTION_FROM = 256,
    OPTION_TO,
    OPTION_MONTH,
    OPTION_LAST,
    OPTION_WHERE,
    OPTION_TZ,
    OPTION_FORMAT,
    OPTION_FOCUS_VERSION,
    OPTION_GRAIN
};

/* -1: go on; else the exit status. */
static int read_options(struct export_run *e, int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"from", required_argument, NULL, OPTION_FROM},
        {"to", required_argument, NULL, OPTION_TO},
        {"month", required_argument, NULL, OPTION_MONTH},
        {"last", required_argument, NULL, OPTION_LAST},
        {"where", required_argument, NULL, OPTION_WHERE},
        {"tz", required_argument, NULL, OPTION_TZ},
        {"format", required_argument, NULL, OPTION_FORMAT},
        {"focus-version", required_argument, NULL, OPTION_FOCUS_VERSION},
        {"grain", required_argument, NULL, OPTION_GRAIN},
        {"output", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int c, at = 0;

    while ((c = getopt_long(argc, argv, "c:o:h", options, &at)) != -1) {
        if (c == 'h') {
            print_usage();
            return EXIT_GOOD;
        }
        if (c == 'c') {
            e->file = optarg;
        } else if (c == 'o') {
            e->output = optarg;
        } else if (c == OPTION_FOCUS_VERSION || c == OPTION_GRAIN) {
            if (!set_focus_word(e, options[at].name, optarg))
                return EXIT_USAGE;
        } else if (c == OPTION_FORMAT) {
            if (!set_format(e, optarg))
                return EXIT_USAGE;
        } else if (c >= OPTION_FROM && c <= OPTION_TZ) {
            if (!set_word(e, options[at].name, optarg))
                return EXIT_USAGE;
            e->has_period |= c <= OPTION_LAST;
        } else {
            return EXIT_USAGE; /* getopt has said why */
        }
    }
    if (optind < argc) {
        fprintf(stderr, "tollgate export: \"%s\" is one word too many (--help)\n",
                argv[optind]);
        return EXIT_USAGE;
    }
    if (e->has_focus_words && e->format != EXPORT_FOCUS) {
        fprintf(stderr,
                "tollgate export: --grain and --focus-version are for --format focus\n");
        return EXIT_USAGE;
    }
    return -1;
}

int cmd_export(int argc, char **argv)
{
    struct export_run e = {.format = EXPORT_JSONL};
    int status;

    params_init(&e.params);
    buf_init(&e.error, ERROR_MAX_BYTES);
    buf_init(&e.line, LINE_MAX_BYTES);
    status = read_options(&e, argc, argv);
    if (status < 0)
        status = e.file ? run(&e) : cmd_no_file("export");
    buf_release(&e.line);
    buf_release(&e.error);
    params_release(&e.params);
    return status;
}
