#include "proxy/cmd.h"

#include <getopt.h>
#include <stdio.h>

#include "proxy/config.h"

static void print_usage(void)
{
    puts("usage: tollgate check -c FILE\n");
    puts("Validates the configuration, the price book and the certificates, and says each "
         "fault");
    puts("with file, line and mend. Nothing is written and no provider is called.\n");
    puts("  -c, --config FILE   the configuration");
    puts("  -q, --quiet         no summary and no warnings");
    puts("  -h, --help          this text");
    puts("\nexit status: 0 no fault, 2 faults");
}

static int check(const char *file, bool quiet)
{
    struct problems problems, warnings;
    struct config *config;
    int status;

    problems_init(&problems);
    problems_init(&warnings);
    config = config_load(file, &problems);
    if (config) {
        config_check_files(config, &problems);
        config_check_wisdom(config, &warnings);
    }
    cmd_print_problems(&problems, NULL);
    if (!quiet)
        cmd_print_problems(&warnings, "warning: ");
    if (problems.total > 0)
        fprintf(stderr, "%zu fault%s\n", problems.total, problems.total == 1 ? "" : "s");
    else if (!quiet)
        printf("good: %zu upstreams, %zu keys, %zu limits, %zu models in the price book\n",
               config->n_upstreams, config->n_keys, limit_set_count(config->limits),
               book_model_count(config->book));
    config_free(config);
    problems_release(&warnings);
    status = problems.total > 0 ? EXIT_USAGE : EXIT_GOOD;
    problems_release(&problems);
    return status;
}

int cmd_check(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *file = NULL;
    bool quiet = false;
    int c;

    while ((c = getopt_long(argc, argv, "c:qh", options, NULL)) != -1) {
        switch (c) {
        case 'c':
            file = optarg;
            break;
        case 'q':
            quiet = true;
            break;
        case 'h':
            print_usage();
            return EXIT_GOOD;
        default:
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "tollgate check: unexpected argument \"%s\"\n", argv[optind]);
        return EXIT_USAGE;
    }
    if (!file)
        return cmd_no_file("check");
    return check(file, quiet);
}
