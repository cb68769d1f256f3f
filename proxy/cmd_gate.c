/*
 * cmd_gate.c - `tollgate gate --baseline FILE`: cost per task of this branch against the last.
 *
 * Takes the words of `report` (--by, --where, --last ...), asks the report as it is now and
 * compares it, row by row, with the one in FILE.
 */
#include "proxy/cmd_gate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/cmd.h"
#include "proxy/cmd_config.h"
#include "reports/report.h"

enum { BASELINE_MAX_BYTES = 64 << 20, TELL_MAX_BYTES = 64 << 20, PPM_PER_UNIT = 1000000 };

struct gate_options {
    const char *file, *baseline, *report, *column, *junit, *tolerance;
    bool save, help;
    struct report_params params;
    struct buf error;
};

static void print_usage(void)
{
    struct buf words;

    puts("usage: tollgate gate --baseline FILE -c FILE [--save] [options]\n");
    puts("Compares a report as it is now with the one in FILE, row by row: exit 1 where a number\n"
         "has grown by more than the tolerance, or is unknown. A row that is new passes.\n");
    puts("  -c, --config FILE          configuration of the installation");
    puts("      --baseline FILE        an earlier report (--format json); with --save it is written");
    puts("      --save                 writes the report of now to FILE instead of comparing");
    puts("      --report NAME          tasks (default), requests, spend ...");
    puts("      --column NAME          the number compared; default: what the report is about");
    puts("      --tolerance RATIO      growth that passes: 0.05 (default) is five per cent");
    puts("      --junit FILE           the verdicts as JUnit");
    buf_init(&words, TELL_MAX_BYTES);
    if (params_help(&words) == RC_OK)
        printf(STRV_FMT, STRV_ARG(buf_view(&words)));
    buf_release(&words);
    puts("\nexit status: 0 passed, 1 failed, 2 bad usage");
}

static bool write_file(const char *name, struct strv text)
{
    FILE *file = fopen(name, "wb");
    bool good = file && fwrite(text.n ? text.p : "", 1, text.n, file) == text.n;

    if (file && fclose(file) != 0)
        good = false;
    if (!good)
        (void)fprintf(stderr, "tollgate gate: could not write %s: %s\n", name, strerror(errno));
    return good;
}

int cmd_gate_tell(const struct gate *gate, const char *junit, FILE *to)
{
    int status = gate_failed(gate) ? EXIT_NO : EXIT_GOOD;
    struct buf text;

    buf_init(&text, TELL_MAX_BYTES);
    if (gate_table(gate, &text) == RC_OK)
        (void)fprintf(to, STRV_FMT, STRV_ARG(buf_view(&text)));
    buf_clear(&text);
    if (junit && (gate_junit(gate, &text) != RC_OK || !write_file(junit, buf_view(&text))))
        status = EXIT_USAGE;
    buf_release(&text);
    return status;
}

static bool read_file(const char *name, struct buf *out)
{
    FILE *file = fopen(name, "rb");
    char bytes[1 << 16];
    bool good = file != NULL;
    size_t n;

    while (good && (n = fread(bytes, 1, sizeof(bytes), file)) > 0)
        good = buf_append(out, bytes, n) == RC_OK;
    good = good && !ferror(file);
    if (!good)
        (void)fprintf(stderr, "tollgate gate: could not read %s: %s\n", name, strerror(errno));
    if (file)
        (void)fclose(file);
    return good;
}

/* 0.05 as millionths; false where it is no ratio from 0 to 1000. */
static bool parse_tolerance(const char *text, uint64_t *ppm)
{
    struct money m;

    if (!text)
        text = "0.05";
    if (money_parse(strv_z(text), &m) != RC_OK || m.atto < 0 ||
        m.atto > (money_int)1000 * ATTO_PER_NANO * NANO_PER_USD)
        return false;
    *ppm = (uint64_t)(m.atto / ((money_int)ATTO_PER_NANO * NANO_PER_USD / PPM_PER_UNIT));
    return true;
}

static int complain(const struct buf *error)
{
    (void)fprintf(stderr, "tollgate gate: " STRV_FMT "\n", STRV_ARG(buf_view(error)));
    return EXIT_USAGE;
}

static int compare(struct gate_options *o, struct strv report, uint64_t ppm)
{
    struct gate gate = {0};
    struct buf earlier;
    int status = EXIT_USAGE;

    buf_init(&earlier, BASELINE_MAX_BYTES);
    if (read_file(o->baseline, &earlier)) {
        if (gate_against_report(report, buf_view(&earlier), strv_z(o->column ? o->column : ""),
                                ppm, &gate, &o->error) == RC_OK)
            status = cmd_gate_tell(&gate, o->junit, stdout);
        else
            status = complain(&o->error);
        gate_release(&gate);
    }
    buf_release(&earlier);
    return status;
}

static int run(struct gate_options *o)
{
    struct config *config = cmd_load(o->file);
    struct report_sources sources;
    uint64_t ppm = 0;
    struct buf out;
    enum rc rc = RC_BAD;
    int status;

    if (!config)
        return EXIT_USAGE;
    sources = (struct report_sources){.ledger_path = config->ledger_path,
                                      .state_dir = config->state_dir,
                                      .zone = config->zone,
                                      .book = config->book,
                                      .limits = config->limits};
    buf_init(&out, REPORT_OUT_MAX_BYTES);
    o->params.format = FORMAT_JSON;
    if (!parse_tolerance(o->tolerance, &ppm)) {
        (void)fprintf(stderr, "tollgate gate: tolerance \"%.40s\" is no ratio (0.05)\n",
                      o->tolerance);
        status = EXIT_USAGE;
    } else if ((rc = report_run(strv_z(o->report ? o->report : "tasks"), &o->params, &sources,
                                &out, &o->error)) != RC_OK) {
        status = complain(&o->error);
        if (rc == RC_DENIED)
            status = EXIT_NO;
    } else if (o->save) {
        status = write_file(o->baseline, buf_view(&out)) ? EXIT_GOOD : EXIT_USAGE;
    } else {
        status = compare(o, buf_view(&out), ppm);
    }
    buf_release(&out);
    config_free(config);
    return status;
}

/* The gate's own options; false where argv[*at] is none of them. */
static bool take_own(struct gate_options *o, int argc, char **argv, int *at)
{
    const struct {
        const char *name;
        const char **to;
    } texts[] = {{"--config", &o->file},     {"-c", &o->file},
                 {"--baseline", &o->baseline}, {"--report", &o->report},
                 {"--column", &o->column},   {"--tolerance", &o->tolerance},
                 {"--junit", &o->junit}};
    const char *text = argv[*at];

    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        size_t n = strlen(texts[i].name);

        if (strncmp(text, texts[i].name, n) != 0 || (text[n] && text[n] != '='))
            continue;
        if (text[n] == '=') {
            *texts[i].to = text + n + 1;
            *at += 1;
        } else if (*at + 1 < argc) {
            *texts[i].to = argv[*at + 1];
            *at += 2;
        } else {
            return false;
        }
        return true;
    }
    o->save |= strcmp(text, "--save") == 0;
    o->help |= strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0;
    if (strcmp(text, "--save") != 0 && !o->help)
        return false;
    *at += 1;
    return true;
}

static enum rc parse(struct gate_options *o, int argc, char **argv)
{
    enum rc rc = RC_OK;

    for (int at = 1; rc == RC_OK && at < argc;) {
        if (!take_own(o, argc, argv, &at))
            rc = params_argument(&o->params, argc, argv, &at, &o->error);
    }
    if (rc == RC_STATE) {
        rc = buf_printf(&o->error, "it takes options alone: see --help");
        return RC_BAD;
    }
    return rc;
}

int cmd_gate(int argc, char **argv)
{
    struct gate_options o = {0};
    int status = EXIT_USAGE;

    params_init(&o.params);
    buf_init(&o.error, REPORT_ERROR_MAX_BYTES);
    if (parse(&o, argc, argv) != RC_OK) {
        status = complain(&o.error);
    } else if (o.help) {
        print_usage();
        status = EXIT_GOOD;
    } else if (!o.file) {
        status = cmd_no_file("gate");
    } else if (!o.baseline) {
        (void)fprintf(stderr, "tollgate gate: --baseline FILE is missing: see --help\n");
    } else {
        status = run(&o);
    }
    buf_release(&o.error);
    params_release(&o.params);
    return status;
}
