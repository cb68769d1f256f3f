/*
 * cmd_report.c - `tollgate report NAME`.
 *
 * Reads the ledger of an installation beside a running gateway, or without one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "proxy/alert.h"
#include "proxy/cmd.h"
#include "proxy/cmd_config.h"
#include "proxy/cmd_gate.h"
#include "proxy/counters.h"
#include "proxy/long_job.h"
#include "reports/report.h"

enum { HELP_MAX_BYTES = 64 << 10 };

static enum rc help_text(struct buf *out)
{
    const struct report_info *info;
    enum rc rc =
        buf_append_strv(out, STRV("usage: tollgate report NAME -c FILE [options]\n\n"
                                  "Answers a question from the ledger.\n\nreports:\n"));

    for (size_t i = 0; rc == RC_OK && (info = report_at(i)); i++)
        rc = buf_printf(out, "  %-14s %s\n", info->name, info->title);
    if (rc == RC_OK)
        rc = buf_append_strv(out, STRV("\noptions:\n  -c, --config FILE          "
                                       "configuration of the installation\n"
                                       "      --fail-over USD        exit 1 where a row's cost is "
                                       "more; COLUMN:USD names another number\n"
                                       "      --junit FILE           the verdicts of --fail-over "
                                       "as JUnit\n"));
    if (rc == RC_OK)
        rc = params_help(out);
    if (rc == RC_OK)
        rc = buf_append_strv(out, STRV("  -h, --help                 this text\n"));
    return rc;
}

static int print(struct buf *out, FILE *to)
{
    struct strv text = buf_view(out);
    bool good = fwrite(text.p ? text.p : "", 1, text.n, to) == text.n && fflush(to) == 0;

    if (!good)
        (void)fprintf(stderr, "tollgate: could not write the report\n");
    return good ? EXIT_GOOD : EXIT_USAGE;
}

static int show_help(void)
{
    struct buf out;
    int status = EXIT_USAGE;

    buf_init(&out, HELP_MAX_BYTES);
    if (help_text(&out) == RC_OK)
        status = print(&out, stdout);
    buf_release(&out);
    return status;
}

/* What the command line says beside the words of the report. */
struct request {
    const char *name, *config;
    const char *fail_over, *junit; /* of a gate; NULL: none */
    bool help;
    struct report_params params;
    struct buf error;
};

/* "-c FILE", "-cFILE", "--config FILE", "--config=FILE"; false where argv[*at] is none of them.
 */
static bool take_config(struct request *r, int argc, char **argv, int *at)
{
    struct strv text = strv_z(argv[*at]);
    bool is_long = strv_starts(text, STRV("--config"));
    struct strv rest = strv_skip(text, is_long ? sizeof("--config") - 1 : 2);

    if (!is_long && !strv_starts(text, STRV("-c")))
        return false;
    if (is_long && rest.n && rest.p[0] != '=')
        return false;
    if (rest.n) {
        r->config = rest.p + (is_long ? 1 : 0);
        *at += 1;
    } else if (*at + 1 < argc) {
        r->config = argv[*at + 1];
        *at += 2;
    } else {
        return false;
    }
    return true;
}

/* "--NAME VALUE", "--NAME=VALUE"; false where argv[*at] is not that. */
static bool take_text(const char *name, const char **out, int argc, char **argv, int *at)
{
    struct strv text = strv_z(argv[*at]), rest;

    if (!strv_starts(text, strv_z(name)))
        return false;
    rest = strv_skip(text, strlen(name));
    if (rest.n && rest.p[0] == '=') {
        *out = rest.p + 1;
        *at += 1;
        return true;
    }
    if (rest.n || *at + 1 >= argc)
        return false;
    *out = argv[*at + 1];
    *at += 2;
    return true;
}

static enum rc parse(struct request *r, int argc, char **argv)
{
    bool words_end = false;
    enum rc rc = RC_OK;
    int at = 1;

    while (rc == RC_OK && at < argc) {
        struct strv text = strv_z(argv[at]);
        if (!words_end && strv_eq(text, STRV("--"))) {
            words_end = true;
            at++;
        } else if (words_end || text.n == 0 || text.p[0] != '-') {
            if (r->name) {
                rc = buf_printf(&r->error, "one report at a time: \"%s\" is one too many",
                                argv[at]);
                return RC_BAD;
            }
            r->name = argv[at++];
        } else if (strv_eq(text, STRV("-h")) || strv_eq(text, STRV("--help"))) {
            r->help = true;
            at++;
        } else if (!take_text("--fail-over", &r->fail_over, argc, argv, &at) &&
                   !take_text("--junit", &r->junit, argc, argv, &at) &&
                   !take_config(r, argc, argv, &at)) {
            rc = params_argument(&r->params, argc, argv, &at, &r->error);
        }
    }
    return rc;
}

static int complain(const struct buf *error)
{
    struct strv text = buf_view(error);

    (void)fprintf(stderr, "tollgate report: " STRV_FMT "\n", STRV_ARG(text));
    return EXIT_USAGE;
}

static enum rc read_counters(limit_counter_fn *fn, void *fn_arg, void *arg)
{
    const struct config *config = arg;
    struct limiter_options options = counters_options_of_command(config);

    options.timeout_ms = config->counters_timeout_ms;
    /* Counters in another process's memory cannot be read from here. */
    if (!config->counters_redis)
        return RC_STATE;
    return limit_read(&options, NULL, config->limits, clock_wall_us(), fn, fn_arg);
}

static void upstream_of(struct strv name, struct reconcile_upstream *out, void *arg)
{
    const struct upstream_config *up = config_upstream(arg, name);

    if (!up)
        return;
    out->provider = up->provider;
    out->account = strv_z(up->sub_account);
    out->billing = strv_z(up->billing_account);
}

static bool is_told(struct strv team, void *arg)
{
    const struct config *config = arg;

    return alert_reaches(&config->alerts, team);
}

/* The same report as JSON, held against the bound; out is used up. */
static int check_bound(struct request *r, const struct report_sources *sources, struct buf *out)
{
    struct gate_bound bound;
    struct gate gate = {0};
    int status = EXIT_USAGE;

    buf_clear(out);
    r->params.format = FORMAT_JSON;
    r->params.has_bom = r->params.total_row = false;
    if (gate_bound_parse(strv_z(r->fail_over), &bound, &r->error) == RC_OK &&
        report_run(strv_z(r->name), &r->params, sources, out, &r->error) == RC_OK &&
        gate_against_bound(buf_view(out), &bound, &gate, &r->error) == RC_OK)
        status = cmd_gate_tell(&gate, r->junit, stderr);
    else
        status = complain(&r->error);
    gate_release(&gate);
    return status;
}

static int run(struct request *r, struct config *config)
{
    struct report_sources sources = {
        .ledger_path = config->ledger_path,
        .zone = config->zone,
        .state_dir = config->state_dir,
        .book = config->book,
        .limits = config->limits,
        .counters = read_counters,
        .upstream = upstream_of,
        .is_told = is_told,
        .floor = {config->alerts.anomaly_usd.atto, (unsigned)config->alerts.anomaly_percent},
        .arg = config,
        .colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR"),
    };
    struct buf out;
    enum rc rc;
    int status;

    buf_init(&out, REPORT_OUT_MAX_BYTES);
    rc = report_run(strv_z(r->name), &r->params, &sources, &out, &r->error);
    long_job_clock_stop();
    status = rc == RC_OK ? print(&out, stdout) : complain(&r->error);
    if (rc == RC_DENIED)
        status = EXIT_NO;
    if (status == EXIT_GOOD && r->fail_over)
        status = check_bound(r, &sources, &out);
    buf_release(&out);
    return status;
}

static int run_request(struct request *r)
{
    struct config *config;
    int status;

    if (!r->name)
        (void)fprintf(stderr, "tollgate report: which report? see --help\n");
    else if (!r->config)
        (void)fprintf(stderr, "tollgate report: the configuration is missing: -c FILE\n");
    if (!r->name || !r->config)
        return EXIT_USAGE;
    config = cmd_load(r->config);
    if (!config)
        return EXIT_USAGE;
    status = run(r, config);
    config_free(config);
    return status;
}

int cmd_report(int argc, char **argv)
{
    struct request r = {0};
    int status;

    params_init(&r.params);
    buf_init(&r.error, REPORT_ERROR_MAX_BYTES);
    long_job_clock_start("tollgate report");
    if (parse(&r, argc, argv) != RC_OK)
        status = complain(&r.error);
    else if (r.help)
        status = show_help();
    else
        status = run_request(&r);
    long_job_clock_stop();
    buf_release(&r.error);
    params_release(&r.params);
    return status;
}
