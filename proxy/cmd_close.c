/*
 * cmd_close.c - `tollgate close`: months that are billed are frozen; see reports/closed.h.
 */
#include "proxy/cmd.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "proxy/cmd_config.h"
#include "reports/closed.h"

enum { SAID_MAX_BYTES = 1 << 20, CLOSE_VERIFY = 256, CLOSE_FORCE };

struct close_options {
    const char *file, *month;
    bool verify, force;
};

static void print_usage(void)
{
    puts("usage: tollgate close --month 2026-10 -c FILE [--force]\n"
         "       tollgate close --verify -c FILE\n");
    puts("Freezes statement, journal and allocation of a month that has ended, with the SHA-256\n"
         "of each file, chained from month to month. Reports of a closed month print what was\n"
         "frozen; what the ledger learns of it later is a correction in the first open month.\n");
    puts("  -m, --month M       the month, in the configuration's time zone");
    puts("      --force         although the ledger may not have taken in all of it");
    puts("      --verify        recomputes every hash of every closed month");
    puts("  -c, --config FILE   the configuration");
    puts("  -h, --help          this text");
    puts("\nexit status: 0 good, 1 the month cannot be closed or a hash differs, 2 bad usage");
}

static int tell(enum rc rc, const struct buf *said, const struct buf *error)
{
    struct strv text = buf_view(said), why = buf_view(error);

    if (text.n)
        (void)fwrite(text.p, 1, text.n, stdout);
    if (why.n)
        (void)fprintf(stderr, "tollgate close: " STRV_FMT "\n", STRV_ARG(why));
    return rc == RC_OK ? EXIT_GOOD : rc == RC_BAD ? EXIT_NO : EXIT_USAGE;
}

static int run(const struct close_options *o)
{
    struct config *config = cmd_load(o->file);
    struct report_sources sources;
    struct buf said, error;
    struct fail fail = {0};
    char why[256];
    enum rc rc;
    int status;

    if (!config)
        return EXIT_USAGE;
    sources = (struct report_sources){.ledger_path = config->ledger_path,
                                      .state_dir = config->state_dir,
                                      .zone = config->zone,
                                      .book = config->book};
    buf_init(&said, SAID_MAX_BYTES);
    buf_init(&error, REPORT_ERROR_MAX_BYTES);
    if (o->verify) {
        rc = closed_verify(config->state_dir, &said, &fail);
        if (rc == RC_IO) {
            fail_text(&fail, why, sizeof(why));
            (void)fprintf(stderr, "tollgate close: %s\n", why);
        }
    } else {
        rc = closed_close(&sources, strv_z(o->month), o->force, &said, &error);
    }
    status = tell(rc, &said, &error);
    buf_release(&said);
    buf_release(&error);
    config_free(config);
    return status;
}

int cmd_close(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"month", required_argument, NULL, 'm'},
                                            {"verify", no_argument, NULL, CLOSE_VERIFY},
                                            {"force", no_argument, NULL, CLOSE_FORCE},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct close_options o = {0};
    int c;

    while ((c = getopt_long(argc, argv, "c:m:h", options, NULL)) != -1) {
        if (c == 'h') {
            print_usage();
            return EXIT_GOOD;
        }
        if (c == '?')
            return EXIT_USAGE;
        if (c == 'c')
            o.file = optarg;
        if (c == 'm')
            o.month = optarg;
        o.verify |= c == CLOSE_VERIFY;
        o.force |= c == CLOSE_FORCE;
    }
    if (optind < argc || (!o.verify && !o.month) || (o.verify && o.month)) {
        (void)fprintf(stderr, "tollgate close: give --month or --verify; see --help\n");
        return EXIT_USAGE;
    }
    return o.file ? run(&o) : cmd_no_file("close");
}
