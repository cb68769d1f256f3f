/*
 * cmd_serve.c - `tollgate serve -c FILE`.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/problem.h"
#include "proxy/cmd.h"
#include "proxy/secrecy.h"
#include "proxy/server.h"

static const char usage[] =
    "usage: tollgate serve -c FILE\n"
    "\n"
    "Runs the proxy. One line on standard output says when it accepts connections;\n"
    "logs go to standard error.\n"
    "\n"
    "  -c, --config FILE   the configuration\n"
    "  -h, --help          this text\n"
    "\n"
    "Signals: HUP reloads configuration, keys, prices and certificates; TERM finishes\n"
    "what runs and exits; a second TERM exits at once. Neither loses a record.\n";

int cmd_serve(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'}, {0}};
    struct generation *generation;
    struct problems problems;
    const char *file = NULL;
    int option;

    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            return EXIT_GOOD;
        }
        if (option != 'c') {
            fputs(usage, stderr);
            return EXIT_USAGE;
        }
        file = optarg;
    }
    if (!file || optind != argc) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    secrecy_close();
    problems_init(&problems);
    generation = generation_load(file, NULL, &problems);
    for (size_t i = 0; i < problems.n; i++) {
        char *text = problem_text(&problems.at[i]);

        fprintf(stderr, "%s\n", text);
        free(text);
    }
    problems_release(&problems);
    if (!generation)
        return EXIT_USAGE;
    log_setup((enum log_level)generation->config->log_level,
              (enum log_format)generation->config->log_format);
    return server_run(generation);
}
