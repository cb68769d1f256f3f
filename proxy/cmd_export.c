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
#include "proxy/cmd_export.h"

enum { LINE_MAX_BYTES = 1 << 20, ERROR_MAX_BYTES = 4096 };

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
    puts("      --bom           csv: begin with a byte order mark, for Excel");
    puts("      --grain G       focus: a row per day (default), hour or request");
    puts("      --allocated     focus 1.4: pools' metered spend split among who bears it");
    puts(
        "  -o, --output FILE   instead of standard output; with focus, FILE.metadata.json too");
    puts("  -h, --help          this text");
    puts("\nexit status: 0 good, 2 bad usage, configuration or ledger");
}

bool export_text(struct strv text, void *arg)
{
    struct export_run *e = arg;

    return fwrite(text.p, 1, text.n, e->to) == text.n;
}

static bool give_line(uint64_t seq, const struct record *record, void *arg)
{
    struct export_run *e = arg;

    if (!long_job_at(&e->job, ++e->done))
        return false;
    buf_clear(&e->line);
    if (e->format == EXPORT_FOCUS) {
        e->rc = focus_add(e->focus, seq, record);
        return e->rc == RC_OK;
    }
    if (e->format == EXPORT_CSV) {
        e->rc = record_csv(record, &e->line);
    } else {
        e->rc = record_json(record, &e->line);
        if (e->rc == RC_OK)
            e->rc = buf_append(&e->line, "\n", 1);
    }
    if (e->rc == RC_OK && !export_text(buf_view(&e->line), e))
        e->rc = RC_IO;
    return e->rc == RC_OK;
}

static bool give_header(struct export_run *e)
{
    buf_clear(&e->line);
    if (e->format == EXPORT_JSONL)
        return true;
    if (e->has_bom)
        e->rc = buf_append_strv(&e->line, STRV("\xef\xbb\xbf"));
    if (e->rc == RC_OK)
        e->rc = record_csv_header(&e->line);
    if (e->rc == RC_OK && !export_text(buf_view(&e->line), e))
        e->rc = RC_IO;
    return e->rc == RC_OK;
}

int export_complain(const struct fail *fail, const char *path)
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

static int say_error(struct export_run *e)
{
    struct strv text = buf_view(&e->error);

    fprintf(stderr, "tollgate export: " STRV_FMT "\n", STRV_ARG(text));
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

static enum rc read_lines(struct export_run *e, struct ledger_reader *reader,
                          struct ledger_filter *filter, struct fail *fail)
{
    enum rc rc = RC_OK;

    long_job_start(&e->job, "tollgate export", most_lines(reader));
    leave_out_deleted(reader, filter);
    if (e->format == EXPORT_FOCUS)
        rc = export_focus_begin(e, reader, filter, fail);
    else if (!give_header(e))
        return RC_OK;
    if (rc == RC_OK && e->rc == RC_OK)
        rc = ledger_read_lines(reader, filter, LEDGER_OLDEST, 0, 0, give_line, e, fail);
    if (rc == RC_OK && e->rc == RC_OK && e->format == EXPORT_FOCUS && !long_job_stopped())
        rc = export_focus_total(e, reader, filter, fail);
    return rc;
}

static int export_lines(struct export_run *e, const char *path, struct ledger_filter *filter)
{
    struct fail fail = {0};
    struct ledger_reader *reader = ledger_read_open(path, &fail);
    enum rc rc;

    if (!reader)
        return export_complain(&fail, path);
    rc = ledger_read_begin(reader, &fail);
    if (rc == RC_OK)
        rc = read_lines(e, reader, filter, &fail);
    ledger_read_end(reader);
    ledger_read_close(reader);
    if (rc != RC_OK)
        return buf_len(&e->error) ? say_error(e) : export_complain(&fail, path);
    if (e->rc == RC_OK && e->focus && !long_job_stopped())
        e->rc = export_focus_end(e, filter);
    if (e->rc == RC_LIMIT) {
        fprintf(stderr, "tollgate export: a charge period has too many rows, or an amount is "
                        "too large: ask for a shorter period or --grain hour\n");
        return EXIT_USAGE;
    }
    if (long_job_stopped())
        return EXIT_USAGE;
    if (buf_len(&e->error))
        return say_error(e);
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

static int close_output(struct export_run *e, int status)
{
    bool good = status == EXIT_GOOD && !long_job_stopped();

    if (!e->output || !e->to)
        return status;
    if (!good)
        __fpurge(e->to); /* nobody wants the rest */
    good = fclose(e->to) == 0 && good;
    if (good && e->focus)
        good = export_focus_metadata(e);
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

static int export_to_output(struct export_run *e, struct ledger_filter *filter)
{
    int status = EXIT_USAGE;

    if (open_output(e)) {
        if (e->format != EXPORT_FOCUS || export_focus_open(e))
            status = export_lines(e, e->config->ledger_path, filter);
        if (status == EXIT_GOOD && e->focus && !long_job_stopped())
            export_focus_say(e);
        status = close_output(e, status);
        export_focus_close(e);
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
        (void)say_error(e);
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
    if (params_set(&e->params, strv_z(word), strv_z(value), &e->error) == RC_OK)
        return true;
    (void)say_error(e);
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
    OPTION_GRAIN,
    OPTION_ALLOCATED,
    OPTION_BOM
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
        {"allocated", no_argument, NULL, OPTION_ALLOCATED},
        {"bom", no_argument, NULL, OPTION_BOM},
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
        } else if (c == OPTION_ALLOCATED) {
            e->is_allocated = e->has_focus_words = true;
        } else if (c == OPTION_BOM) {
            e->has_bom = true;
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
        fprintf(stderr, "tollgate export: --grain, --focus-version and --allocated are for "
                        "--format focus\n");
        return EXIT_USAGE;
    }
    if (e->has_bom && e->format != EXPORT_CSV) {
        fprintf(stderr, "tollgate export: --bom is for --format csv\n");
        return EXIT_USAGE;
    }
    if (e->is_allocated && e->focus_version == FOCUS_1_2) {
        fprintf(stderr, "tollgate export: FOCUS 1.2 has no columns for --allocated: "
                        "--focus-version 1.4\n");
        return EXIT_USAGE;
    }
    if (e->is_allocated && (!e->has_period || e->params.n_where)) {
        fprintf(stderr, "tollgate export: --allocated wants a period (--month) and no --where: "
                        "who bears a pool depends on what all used in it\n");
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
