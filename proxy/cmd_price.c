/* `tollgate price`: shows the price book, prices a usage by hand, looks for doubtful rates. */
#include "proxy/cmd_price.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/xalloc.h"
#include "proxy/cmd.h"

static void print_usage(void)
{
    puts("usage: tollgate price show [-c FILE | --book PATH...] [MODEL] [options]");
    puts("       tollgate price cost [-c FILE | --book PATH...] --provider P --model M "
         "METER=N...");
    puts("       tollgate price cost [-c FILE | --book PATH...] --input FILE");
    puts("       tollgate price lint [-c FILE | --book PATH...] [--strict]");
    puts("       tollgate price reprice -c FILE [--apply --reason TEXT] (see its --help)\n");
    puts("show prints the prices in force; MODEL is a model as a request or an answer names it");
    puts("(an alias, with a date, with a region: found as a request's would be), or a glob.");
    puts("cost prices quantities exactly: in=1000 out=50 cache_read=200, audio_sec=1.5. "
         "--input");
    puts("takes one query a line, as JSON (docs/prices.md), and prints one cost a line.");
    puts("lint tells doubtful rates; it fails on a book that does not load, with --strict on");
    puts("any doubt. Without -c and --book it is the book that comes with the program.\n");
    puts("  -c, --config FILE     the configuration: its book and its contract rules");
    puts("  -b, --book PATH       a file or folder; may be repeated, later ones win");
    puts("  -p, --provider NAME   of the book, such as openai");
    puts("  -m, --model NAME      the model, or a glob for show");
    puts("  -u, --upstream NAME   of the configuration: its provider, its contract");
    puts("      --at TIME         date or RFC 3339 time; now by default");
    puts("      --all             show: all periods, not only the one in force");
    puts("      --unit METER      show: what has a rate for it, such as video_sec");
    puts("      --tier NAME       cost: service tier as served, such as batch or priority");
    puts("      --region NAME     cost: serving region");
    puts("      --detail K=V      cost: what a price may depend on: search_ctx, quality, size,");
    puts("                        steps");
    puts("      --counted         cost: raise quantities to the provider's minimums");
    puts("      --input FILE      cost: queries, one a line; - is standard input");
    puts("      --input-total N   cost: all input tokens, for context steps; the sum of the");
    puts("                        input meters by default");
    puts("      --strict          lint: doubts fail too");
    puts("  -o, --format FORMAT   of show and cost: table or json; of show also csv");
    puts("  -h, --help            this text");
    puts("\nexit status: 0 good, 1 the answer is no (nothing fits, not wholly priced, doubts), 2");
    puts("bad usage, book or configuration");
}

/* ---- where the book is ----------------------------------------------------------- */

/* The book beside the current folder, where it was installed, or beside the program. */
static char *own_book(void)
{
    static const char *const below[] = {"../share/tollgate/book", "../pricing/book",
                                        "../../pricing/book"};
    char path[PATH_MAX];
    ssize_t n;
    char *slash;

    if (access("pricing/book", R_OK) == 0)
        return xstrdup("pricing/book");
#ifdef TOLLGATE_BOOK_DIR
    if (access(TOLLGATE_BOOK_DIR, R_OK) == 0)
        return xstrdup(TOLLGATE_BOOK_DIR);
#endif
    n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    path[n > 0 ? n : 0] = '\0';
    slash = strrchr(path, '/');
    for (size_t i = 0; slash && i < sizeof(below) / sizeof(below[0]); i++) {
        char *found = xasprintf("%.*s/%s", (int)(slash - path), path, below[i]);

        if (access(found, R_OK) == 0)
            return found;
        free(found);
    }
    return NULL;
}

/* Opens what the options name; gives EXIT_GOOD, or another status after telling why not. */
static int open_source(const struct price_options *options, struct price_source *source,
                       int bad_book)
{
    const char *const *paths = options->books;
    size_t n_paths = options->n_books;
    const char *path;
    char *own = NULL;
    struct problems problems;
    int status = EXIT_GOOD;

    *source = (struct price_source){.config = NULL};
    problems_init(&problems);
    if (options->file) {
        source->config = config_load_without_secrets(options->file, &problems);
        source->book = source->config ? source->config->book : NULL;
        for (size_t i = 0; i < problems.n && !source->book; i++) {
            if (strcmp(problems.at[i].file, options->file) == 0)
                bad_book = EXIT_USAGE; /* the configuration's own fault */
        }
    } else {
        if (n_paths == 0) {
            own = own_book();
            path = own ? own : "pricing/book";
            paths = &path;
            n_paths = 1;
        }
        source->own = book_load(paths, n_paths, NULL, 0, &problems);
        source->book = source->own;
    }
    if (!source->book) {
        cmd_print_problems(&problems, NULL);
        status = bad_book;
    }
    problems_release(&problems);
    free(own);
    return status;
}

static void close_source(struct price_source *source)
{
    config_free(source->config);
    book_free(source->own);
}

/* ---- lint ------------------------------------------------------------------------- */

static int price_lint(const struct book *book, const struct price_options *options)
{
    struct problems warnings;
    size_t n;

    problems_init(&warnings);
    book_lint(book, &warnings);
    cmd_print_problems(&warnings, "warning: ");
    n = warnings.total;
    problems_release(&warnings);
    printf("%zu models, %zu warnings, book %s\n", book_model_count(book), n, book_hash(book));
    return options->strict && n > 0 ? EXIT_NO : EXIT_GOOD;
}

/* ---- the command ------------------------------------------------------------------ */

enum option_id {
    OPTION_AT = 256,
    OPTION_ALL,
    OPTION_TIER,
    OPTION_REGION,
    OPTION_DETAIL,
    OPTION_INPUT,
    OPTION_COUNTED,
    OPTION_INPUT_TOTAL,
    OPTION_STRICT,
    OPTION_UNIT
};

void price_no_meter(const char *verb, struct strv name)
{
    fprintf(stderr, "tollgate price %s: no meter \"%.*s\"; meters:", verb,
            (int)(name.n < 64 ? name.n : 64), name.p);
    for (unsigned i = 0; i < METER_COUNT; i++)
        fprintf(stderr, " %s", meter_name((enum meter)i));
    fputc('\n', stderr);
}

bool price_time(const char *text, int64_t *us)
{
    int year, month, day;

    if (datetime_parse(strv_z(text), us))
        return true;
    if (!date_parse(strv_z(text), &year, &month, &day))
        return false;
    *us = date_to_days(year, month, day) * US_PER_DAY;
    return true;
}

/* "size=1024x1024" */
static bool take_detail(struct price_options *options, struct strv text)
{
    size_t equals = strv_find(text, '=');

    for (unsigned d = 0; d < DETAIL_COUNT && equals < text.n; d++) {
        if (strv_eq(strv_head(text, equals), strv_z(price_detail_name((enum price_detail)d)))) {
            options->detail[d] = strv_skip(text, equals + 1);
            return true;
        }
    }
    fprintf(stderr, "tollgate price: --detail is search_ctx, quality, size or steps = value\n");
    return false;
}

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"book", required_argument, NULL, 'b'},
    {"provider", required_argument, NULL, 'p'},
    {"model", required_argument, NULL, 'm'},
    {"upstream", required_argument, NULL, 'u'},
    {"at", required_argument, NULL, OPTION_AT},
    {"all", no_argument, NULL, OPTION_ALL},
    {"tier", required_argument, NULL, OPTION_TIER},
    {"region", required_argument, NULL, OPTION_REGION},
    {"detail", required_argument, NULL, OPTION_DETAIL},
    {"input", required_argument, NULL, OPTION_INPUT},
    {"counted", no_argument, NULL, OPTION_COUNTED},
    {"input-total", required_argument, NULL, OPTION_INPUT_TOTAL},
    {"strict", no_argument, NULL, OPTION_STRICT},
    {"unit", required_argument, NULL, OPTION_UNIT},
    {"format", required_argument, NULL, 'o'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static bool take_format(struct price_options *options, const char *word)
{
    static const char *const formats[] = {
        [PRICE_TABLE] = "table", [PRICE_JSON] = "json", [PRICE_CSV] = "csv"};

    for (unsigned f = 0; f < sizeof(formats) / sizeof(formats[0]); f++) {
        if (strcmp(word, formats[f]) == 0) {
            options->format = (enum price_format)f;
            return true;
        }
    }
    fprintf(stderr, "tollgate price: --format is table, json or csv\n");
    return false;
}

/* Which verbs an option is for; what is not listed is for all of them. */
static bool is_of_verb(const char *verb, const struct option *option)
{
    static const struct {
        const char *name, *verbs;
    } own[] = {
        {"provider", "show cost"}, {"model", "show cost"},  {"upstream", "show cost"},
        {"at", "show cost"},       {"format", "show cost"}, {"all", "show"},
        {"unit", "show"},          {"tier", "cost"},        {"region", "cost"},
        {"detail", "cost"},        {"input", "cost"},       {"counted", "cost"},
        {"input-total", "cost"},   {"strict", "lint"},
    };

    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        if (strcmp(own[i].name, option->name) != 0)
            continue;
        if (strstr(own[i].verbs, verb))
            return true;
        fprintf(stderr, "tollgate price: --%s is of price %s\n", option->name,
                strcmp(own[i].verbs, "show cost") == 0 ? "show and cost" : own[i].verbs);
        return false;
    }
    return true;
}

/* False where the option is not one, or is misused; told already. */
static bool take_option(struct price_options *options, int c)
{
    switch (c) {
    case 'c':
        options->file = optarg;
        return true;
    case 'b':
        if (options->n_books == PRICE_BOOKS_MAX) {
            fprintf(stderr, "tollgate price: at most %d books\n", PRICE_BOOKS_MAX);
            return false;
        }
        options->books[options->n_books++] = optarg;
        return true;
    case 'p':
        options->provider = optarg;
        return true;
    case 'm':
        options->model = optarg;
        return true;
    case 'u':
        options->upstream = optarg;
        return true;
    case OPTION_AT:
        if (price_time(optarg, &options->at_us))
            return true;
        fprintf(stderr, "tollgate price: --at is a date or an RFC 3339 time\n");
        return false;
    case OPTION_ALL:
        options->all = true;
        return true;
    case OPTION_TIER:
        options->tier = optarg;
        return true;
    case OPTION_REGION:
        options->region = optarg;
        return true;
    case OPTION_DETAIL:
        return take_detail(options, strv_z(optarg));
    case OPTION_COUNTED:
        options->counted = true;
        return true;
    case OPTION_INPUT:
        options->input = optarg;
        return true;
    case OPTION_INPUT_TOTAL:
        options->input_total = optarg;
        return true;
    case OPTION_STRICT:
        options->strict = true;
        return true;
    case OPTION_UNIT:
        if (meter_parse(strv_z(optarg), &options->unit))
            return true;
        price_no_meter("show", strv_z(optarg));
        return false;
    case 'o':
        return take_format(options, optarg);
    default:
        return false;
    }
}

static int run(const char *verb, const struct price_options *options)
{
    bool is_lint = strcmp(verb, "lint") == 0;
    struct price_source source;
    /* Of lint a book that does not load is the answer; of the others it is bad input. */
    int status = open_source(options, &source, is_lint ? EXIT_NO : EXIT_USAGE);

    if (status == EXIT_GOOD && is_lint)
        status = price_lint(source.book, options);
    else if (status == EXIT_GOOD && strcmp(verb, "cost") == 0)
        status = price_cost(&source, options);
    else if (status == EXIT_GOOD)
        status = price_show(&source, options);
    close_source(&source);
    return status;
}

static bool check_words(const char *verb, struct price_options *options)
{
    if (options->file && options->n_books > 0) {
        fprintf(stderr, "tollgate price: give -c or --book, not both\n");
        return false;
    }
    if (strcmp(verb, "cost") == 0 && options->format == PRICE_CSV) {
        fprintf(stderr, "tollgate price cost: --format is table or json\n");
        return false;
    }
    if (strcmp(verb, "show") == 0 && options->n_words == 1 && !options->model) {
        options->model = options->words[0];
        options->n_words = 0;
    }
    if (strcmp(verb, "cost") != 0 && options->n_words > 0) {
        fprintf(stderr, "tollgate price %s: what is \"%.64s\"? (tollgate price --help)\n", verb,
                options->words[0]);
        return false;
    }
    return true;
}

int cmd_price(int argc, char **argv)
{
    struct price_options options = {.at_us = clock_wall_us(), .unit = METER_COUNT};
    const char *verb = argc > 1 ? argv[1] : "";
    int c;

    if (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0) {
        print_usage();
        return EXIT_GOOD;
    }
    if (strcmp(verb, "reprice") == 0)
        return price_reprice(argc - 1, argv + 1);
    if (strcmp(verb, "show") != 0 && strcmp(verb, "cost") != 0 && strcmp(verb, "lint") != 0) {
        fprintf(stderr,
                "tollgate price: show, cost, lint or reprice? (tollgate price --help)\n");
        return EXIT_USAGE;
    }
    optind = 1;
    while ((c = getopt_long(argc - 1, argv + 1, "c:b:p:m:u:o:h", long_options, NULL)) != -1) {
        if (c == 'h') {
            print_usage();
            return EXIT_GOOD;
        }
        for (const struct option *o = long_options; o->name; o++) {
            if (o->val == c && !is_of_verb(verb, o))
                return EXIT_USAGE;
        }
        if (!take_option(&options, c))
            return EXIT_USAGE;
    }
    options.words = argv + 1 + optind;
    options.n_words = argc - 1 - optind;
    return check_words(verb, &options) ? run(verb, &options) : EXIT_USAGE;
}
