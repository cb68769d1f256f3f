/*
 * cmd_import.c - `tollgate import KIND FILE`: business counts, outside costs and the rest of
 * what reports take from finance; other gateways' ledgers (cmd_import_ledger.h).
 *
 * A file with any fault is refused whole; see reports/books.h.
 */
#include "proxy/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "metering/ledger/take.h"
#include "proxy/cmd_config.h"
#include "proxy/cmd_import_ledger.h"
#include "reports/books.h"

static void print_usage(void)
{
    puts("usage: tollgate import KIND FILE -c FILE [--check]\n"
         "       tollgate import ledger PATH... -c FILE [--again] [--kept]\n");
    puts("Takes a CSV file with a header line into the books that reports read; rows of a key\n"
         "that is there replace it. A file with any fault changes nothing.\n");
    for (unsigned k = 0; k < BOOKS_KINDS; k++) {
        const struct books_column *c;
        printf("%s\n", books_kind_name((enum books_kind)k));
        for (size_t i = 0; (c = books_column_at((enum books_kind)k, i)); i++)
            printf("    %-12s %s%s\n", c->name, c->help, c->is_required ? "" : " (optional)");
    }
    puts("ledger\n"
         "    other gateways' ledgers, live or copies: what these books do not have of them yet is\n"
         "    taken in, once; run it again for what is new. May be stopped at any time.");
    puts("\n  -c, --config FILE   the configuration");
    puts("      --check         only says whether the file is good");
    puts("      --again         of ledgers: from the first record on, whatever was taken before");
    puts("      --kept          of ledgers: also one that has deleted requests which these books\n"
         "                      never had (ledger.keep_days): what it has kept");
    puts("  -h, --help          this text");
    puts("\nFILE may be - for standard input. exit status: 0 taken, 1 a file has faults, 2 bad "
         "usage");
}

/* The whole file, bounded; false with a message. */
static bool read_all(const char *name, struct buf *out)
{
    bool is_stdin = strcmp(name, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(name, "rb");
    char bytes[1 << 16];
    size_t n;
    bool good = file != NULL;

    while (good && (n = fread(bytes, 1, sizeof(bytes), file)) > 0)
        good = buf_append(out, bytes, n) == RC_OK;
    if (!file || ferror(file)) {
        (void)fprintf(stderr, "tollgate import: could not read %s: %s\n", name, strerror(errno));
        good = false;
    } else if (!good) {
        (void)fprintf(stderr, "tollgate import: %s is longer than %d bytes\n", name,
                      CSV_MAX_BYTES);
    }
    if (file && !is_stdin)
        (void)fclose(file);
    return good;
}

static int take(const struct config *config, enum books_kind kind, const char *name,
                struct strv text, bool is_dry)
{
    struct books_taken taken;
    struct problems problems;
    struct fail fail;
    char why[256];
    int status = EXIT_GOOD;

    problems_init(&problems);
    if (books_import(config->state_dir, kind, name, text, is_dry, &problems, &taken, &fail) ==
        RC_OK) {
        printf("%s: %zu lines added, %zu replaced, %zu the same; %zu %s in all%s\n", name,
               taken.added, taken.replaced, taken.same, taken.rows, books_kind_name(kind),
               is_dry ? " (only checked)" : "");
    } else if (problems.total) {
        cmd_print_problems(&problems, NULL);
        (void)fprintf(stderr, "%s: refused, nothing was changed\n", name);
        status = EXIT_NO;
    } else {
        fail_text(&fail, why, sizeof(why));
        (void)fprintf(stderr, "tollgate import: %s\n", why);
        status = EXIT_USAGE;
    }
    problems_release(&problems);
    return status;
}

static int run(const char *file, const char *kind_name, const char *name, bool is_dry)
{
    struct config *config;
    enum books_kind kind;
    struct buf text;
    int status = EXIT_USAGE;

    if (!books_kind_parse(strv_z(kind_name), &kind)) {
        (void)fprintf(stderr, "tollgate import: no kind \"%.64s\": it is one of", kind_name);
        for (unsigned k = 0; k < BOOKS_KINDS; k++)
            (void)fprintf(stderr, " %s,", books_kind_name((enum books_kind)k));
        (void)fputs(" ledger\n", stderr);
        return EXIT_USAGE;
    }
    config = cmd_load(file);
    if (!config)
        return EXIT_USAGE;
    buf_init(&text, CSV_MAX_BYTES);
    if (read_all(name, &text))
        status = take(config, kind, name, buf_view(&text), is_dry);
    buf_release(&text);
    config_free(config);
    return status;
}

static int wrong(const char *what)
{
    (void)fprintf(stderr, "tollgate import: %s; see --help\n", what);
    return EXIT_USAGE;
}

int cmd_import(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"check", no_argument, NULL, 'n'},
                                            {"again", no_argument, NULL, 'a'},
                                            {"kept", no_argument, NULL, 'k'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *file = NULL;
    bool is_dry = false;
    unsigned flags = 0;
    int c;

    while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        if (c == 'h') {
            print_usage();
            return EXIT_GOOD;
        }
        if (c == '?')
            return EXIT_USAGE;
        if (c == 'c')
            file = optarg;
        is_dry |= c == 'n';
        flags |= c == 'a' ? TAKE_AGAIN : c == 'k' ? TAKE_KEPT : 0U;
    }
    if (argc - optind >= 1 && strcmp(argv[optind], "ledger") == 0) {
        if (argc - optind < 2)
            return wrong("which ledgers?");
        if (is_dry)
            return wrong("--check does not go with ledgers");
        return file ? import_ledgers(file, argv + optind + 1, argc - optind - 1, flags)
                    : cmd_no_file("import");
    }
    if (argc - optind != 2)
        return wrong("which kind, and which file?");
    if (flags)
        return wrong("--again and --kept go with ledgers");
    return file ? run(file, argv[optind], argv[optind + 1], is_dry) : cmd_no_file("import");
}
