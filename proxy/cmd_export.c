/*
 * cmd_export.c - `tollgate export`: the ledger's lines, one record each, oldest first.
 *
 * Reads beside a running gateway, or without one, in one consistent view; holds one
 * line in memory.
 */
#include "proxy/cmd.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "metering/ledger/ledger_read.h"
#include "proxy/config.h"
#include "reports/params.h"

enum { LINE_MAX_BYTES = 1 << 20, ERROR_MAX_BYTES = 4096 };

enum export_format { EXPORT_JSONL = 0, EXPORT_CSV };

struct export_run {
    const char *file;
    enum export_format format;
    bool has_period;
    struct report_params params;
    struct buf error, line;
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
    puts("      --format F      jsonl (default) or csv");
    puts("  -h, --help          this text");
    puts("\nexit status: 0 good, 2 bad usage, configuration or ledger");
}

static bool give_line(uint64_t seq, const struct record *record, void *arg)
{
    struct export_run *e = arg;
    struct strv text;

    (void)seq;
    buf_clear(&e->line);
    if (e->format == EXPORT_CSV) {
        e->rc = record_csv(record, &e->line);
    } else {
        e->rc = record_json(record, &e->line);
        if (e->rc == RC_OK)
            e->rc = buf_append(&e->line, "\n", 1);
    }
    text = buf_view(&e->line);
    if (e->rc == RC_OK && fwrite(text.p, 1, text.n, stdout) != text.n)
        e->rc = RC_IO;
    return e->rc == RC_OK;
}

static bool give_header(struct export_run *e)
{
    struct strv text;

    buf_clear(&e->line);
    if (e->format != EXPORT_CSV)
        return true;
    e->rc = record_csv_header(&e->line);
    text = buf_view(&e->line);
    if (e->rc == RC_OK && fwrite(text.p, 1, text.n, stdout) != text.n)
        e->rc = RC_IO;
    return e->rc == RC_OK;
}

static int complain(const struct fail *fail, const char *path)
{
    char text[256];

    fail_text(fail, text, sizeof(text));
    fprintf(stderr, "tollgate export: %s: %s\n", path, text);
    return EXIT_USAGE;
}

static int export_lines(struct export_run *e, const char *path,
                        const struct ledger_filter *filter)
{
    struct fail fail = {0};
    struct ledger_reader *reader = ledger_read_open(path, &fail);
    enum rc rc;

    if (!reader)
        return complain(&fail, path);
    rc = ledger_read_begin(reader, &fail);
    if (rc == RC_OK && give_header(e))
        rc = ledger_read_lines(reader, filter, LEDGER_OLDEST, 0, 0, give_line, e, &fail);
    ledger_read_end(reader);
    ledger_read_close(reader);
    if (rc != RC_OK)
        return complain(&fail, path);
    if (e->rc != RC_OK || fflush(stdout) != 0) {
        fprintf(stderr, "tollgate export: could not write the lines\n");
        return EXIT_USAGE;
    }
    return EXIT_GOOD;
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
    status = export_lines(e, config->ledger_path, &filter);
out:
    config_free(config);
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
    if (strcmp(name, "focus") == 0)
        fprintf(stderr, "tollgate export: the FOCUS format is not available in this version\n");
    else
        fprintf(stderr, "tollgate export: no format \"%s\": jsonl or csv\n", name);
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
    OPTION_FORMAT
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
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int c, at = 0;

    while ((c = getopt_long(argc, argv, "c:h", options, &at)) != -1) {
        if (c == 'h') {
            print_usage();
            return EXIT_GOOD;
        }
        if (c == 'c') {
            e->file = optarg;
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
