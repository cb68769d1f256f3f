/* `tollgate price`: shows the price book, prices a usage by hand, looks for doubtful rates. */
#include "proxy/cmd_price.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/jsonw.h"
#include "base/xalloc.h"
#include "proxy/cmd.h"

enum { COST_MAX_BYTES = 1 << 20, ATTO_PER_MS_DIGITS = 15 };

static void print_usage(void)
{
    puts("usage: tollgate price show [-c FILE | --book PATH...] [MODEL] [options]");
    puts("       tollgate price cost [-c FILE | --book PATH...] --provider P --model M "
         "METER=N...");
    puts("       tollgate price lint [-c FILE | --book PATH...] [--strict]\n");
    puts(
        "show prints the prices in force; MODEL is a model as a response names it, or a glob.");
    puts("cost prices quantities exactly: in=1000 out=50 cache_read=200, audio_sec=1.5.");
    puts("lint tells doubtful rates; it fails on a book that does not load, with --strict on");
    puts("any doubt. Without -c and --book it is the book that comes with the program.\n");
    puts("  -c, --config FILE     the configuration: its book and its contract rules");
    puts("  -b, --book PATH       a file or folder; may be repeated, later ones win");
    puts("  -p, --provider NAME   of the book, such as openai");
    puts("  -m, --model NAME      the model, or a glob for show");
    puts("  -u, --upstream NAME   of the configuration: its provider, its contract");
    puts("      --at TIME         date or RFC 3339 time; now by default");
    puts("      --all             show: all periods, not only the one in force");
    puts("      --tier NAME       service tier as served, such as batch or priority");
    puts("      --region NAME     serving region");
    puts("      --input-total N   all input tokens, for context steps; the sum of the input");
    puts("                        meters by default");
    puts("      --strict          lint: doubts fail too");
    puts("      --format FORMAT   of show and cost: table or json");
    puts("  -h, --help            this text");
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

/* ---- cost ------------------------------------------------------------------------- */

/* "1.5" seconds to milliseconds; others are whole. */
static bool parse_quantity(enum meter m, struct strv text, uint64_t *out)
{
    money_int one_ms = 1;
    struct money seconds;

    if (!meter_is_time(m))
        return strv_parse_u64(text, UINT64_MAX, out);
    for (int i = 0; i < ATTO_PER_MS_DIGITS; i++)
        one_ms *= 10;
    if (money_parse(text, &seconds) != RC_OK || seconds.atto < 0 ||
        seconds.atto % one_ms != 0 || seconds.atto / one_ms > INT64_MAX)
        return false;
    *out = (uint64_t)(seconds.atto / one_ms);
    return true;
}

/* METER=N of the command line; false after telling what is wrong. */
static bool take_word(const char *word, struct quantities *quantities)
{
    struct strv text = strv_z(word);
    size_t equals = strv_find(text, '=');
    uint64_t n;
    enum meter m;

    if (equals == text.n) {
        fprintf(stderr, "tollgate price cost: \"%.64s\" is not METER=N\n", word);
        return false;
    }
    if (!meter_parse(strv_head(text, equals), &m)) {
        fprintf(stderr, "tollgate price cost: no meter \"%.*s\"; meters:", (int)equals, word);
        for (unsigned i = 0; i < METER_COUNT; i++)
            fprintf(stderr, " %s", meter_name((enum meter)i));
        fputc('\n', stderr);
        return false;
    }
    if (!parse_quantity(m, strv_skip(text, equals + 1), &n) ||
        __builtin_add_overflow(quantities->n[m], n, &quantities->n[m])) {
        fprintf(stderr, "tollgate price cost: \"%.64s\" is no quantity\n", word);
        return false;
    }
    return true;
}

static uint64_t input_sum(const struct quantities *q)
{
    static const enum meter inputs[] = {
        METER_IN,
        METER_CACHE_READ,
        METER_CACHE_WRITE,
        METER_CACHE_WRITE_1H,
        METER_IN_AUDIO,
        METER_IN_IMAGE,
        METER_IN_VIDEO,
        METER_CACHE_READ_AUDIO,
        METER_CACHE_READ_IMAGE,
    };
    uint64_t sum = 0;

    for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++) {
        if (__builtin_add_overflow(sum, q->n[inputs[i]], &sum))
            return UINT64_MAX;
    }
    return sum;
}

static bool make_query(const struct price_options *options, const struct price_source *source,
                       struct price_query *query)
{
    struct strv provider = strv_z(options->provider);

    *query = (struct price_query){
        .upstream = strv_z(options->upstream),
        .model = strv_z(options->model),
        .tier = strv_z(options->tier),
        .region = strv_z(options->region),
        .at_us = options->at_us,
    };
    if (options->upstream && source->config) {
        const struct upstream_config *up = config_upstream(source->config, query->upstream);

        if (!up) {
            fprintf(stderr, "tollgate price cost: no upstream \"%.64s\"\n", options->upstream);
            return false;
        }
        provider = provider.n > 0 ? provider : up->provider;
    }
    query->provider = book_provider(source->book, provider, STRV_NONE);
    if (query->provider.n == 0 || query->model.n == 0) {
        fprintf(stderr, "tollgate price cost: give --provider (one of the book) and --model\n");
        return false;
    }
    for (int i = 0; i < options->n_words; i++) {
        if (!take_word(options->words[i], &query->quantities))
            return false;
    }
    query->input_total = input_sum(&query->quantities);
    if (options->input_total &&
        !strv_parse_u64(strv_z(options->input_total), UINT64_MAX, &query->input_total)) {
        fprintf(stderr, "tollgate price cost: --input-total is a whole number\n");
        return false;
    }
    return true;
}

/* Milliseconds as seconds, others as they are. */
static void quantity_text(const struct cost_line *line, char out[MONEY_TEXT])
{
    money_int atto = (money_int)line->quantity * NANO_PER_USD * ATTO_PER_NANO;

    money_format((struct money){meter_is_time(line->meter) ? atto / 1000 : atto}, out);
}

static void print_cost(const struct book *book, const struct cost *cost)
{
    char text[MONEY_TEXT], rate[MONEY_TEXT], amount[MONEY_TEXT];

    printf("%-22s  %16s  %24s  %24s\n", "METER", "QUANTITY", "USD PER MILLION", "USD");
    for (size_t i = 0; i < cost->n_lines; i++) {
        quantity_text(&cost->lines[i], text);
        money_format(cost->lines[i].rate, rate);
        money_format(cost->lines[i].amount, amount);
        printf("%-22s  %16s  %24s  %24s\n", meter_name(cost->lines[i].meter), text, rate,
               amount);
    }
    money_format(cost->contracted, amount);
    printf("%-22s  %16s  %24s  %24s\n", "total", "", "",
           cost->status == PRICE_NONE ? "unknown" : amount);
    if (money_cmp(cost->contracted, cost->list) != 0) {
        money_format(cost->list, amount);
        printf("%-22s  %16s  %24s  %24s\n", "at list prices", "", "", amount);
    }
    printf("\nstatus %s, match %s, price " STRV_FMT ", confidence " STRV_FMT "\n",
           price_status_name(cost->status), price_match_name(cost->match),
           STRV_ARG(cost->price_id.n ? cost->price_id : STRV("none")),
           STRV_ARG(cost->confidence.n ? cost->confidence : STRV("unknown")));
    for (unsigned flag = 1; flag != 0; flag <<= 1) {
        if (cost->flags & flag)
            printf("flag %s\n", price_flag_name(flag));
    }
    printf("book %s\n", book_hash(book));
}

static void json_money(struct jsonw *w, struct strv key, struct money m, bool known)
{
    char text[MONEY_TEXT];
    size_t n = money_format(m, text);

    jsonw_key(w, key);
    if (known)
        jsonw_string(w, strv_make(text, n));
    else
        jsonw_null(w);
}

static void json_string(struct jsonw *w, struct strv key, struct strv text)
{
    jsonw_key(w, key);
    if (text.n > 0)
        jsonw_string(w, text);
    else
        jsonw_null(w);
}

static void print_cost_json(const struct book *book, const struct cost *cost)
{
    char quantity[MONEY_TEXT];
    struct buf out;
    struct jsonw w;

    buf_init(&out, COST_MAX_BYTES);
    jsonw_start(&w, &out);
    jsonw_object(&w);
    json_money(&w, STRV("cost_usd"), cost->contracted, cost->status != PRICE_NONE);
    json_money(&w, STRV("list_cost_usd"), cost->list, cost->status != PRICE_NONE);
    json_string(&w, STRV("status"), strv_z(price_status_name(cost->status)));
    json_string(&w, STRV("price_match"), strv_z(price_match_name(cost->match)));
    json_string(&w, STRV("price_id"), cost->price_id);
    json_string(&w, STRV("price_confidence"), cost->confidence);
    jsonw_key(&w, STRV("flags"));
    jsonw_array(&w);
    for (unsigned flag = 1; flag != 0; flag <<= 1) {
        if (cost->flags & flag)
            jsonw_string(&w, strv_z(price_flag_name(flag)));
    }
    jsonw_end(&w);
    jsonw_key(&w, STRV("cost_lines"));
    jsonw_array(&w);
    for (size_t i = 0; i < cost->n_lines; i++) {
        jsonw_object(&w);
        json_string(&w, STRV("unit"), strv_z(meter_name(cost->lines[i].meter)));
        quantity_text(&cost->lines[i], quantity);
        jsonw_key(&w, STRV("quantity"));
        jsonw_raw(&w, strv_z(quantity));
        json_money(&w, STRV("rate_usd_per_million"), cost->lines[i].rate, true);
        json_money(&w, STRV("cost_usd"), cost->lines[i].amount, true);
        jsonw_end(&w);
    }
    jsonw_end(&w);
    json_string(&w, STRV("book"), strv_z(book_hash(book)));
    jsonw_end(&w);
    if (jsonw_finish(&w) == RC_OK)
        printf(STRV_FMT "\n", STRV_ARG(buf_view(&out)));
    buf_release(&out);
}

static int price_cost(const struct price_source *source, const struct price_options *options)
{
    struct price_query query;
    struct cost cost;

    if (!make_query(options, source, &query))
        return EXIT_USAGE;
    price_usage(source->book, &query, &cost);
    if (options->json)
        print_cost_json(source->book, &cost);
    else
        print_cost(source->book, &cost);
    return cost.status == PRICE_OK ? EXIT_GOOD : EXIT_NO;
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
    OPTION_INPUT_TOTAL,
    OPTION_STRICT,
    OPTION_FORMAT
};

static bool take_time(const char *text, int64_t *us)
{
    int year, month, day;

    if (datetime_parse(strv_z(text), us))
        return true;
    if (!date_parse(strv_z(text), &year, &month, &day)) {
        fprintf(stderr, "tollgate price: --at is a date or an RFC 3339 time\n");
        return false;
    }
    *us = date_to_days(year, month, day) * US_PER_DAY;
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
        if (options->n_books < PRICE_BOOKS_MAX)
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
        return take_time(optarg, &options->at_us);
    case OPTION_ALL:
        options->all = true;
        return true;
    case OPTION_TIER:
        options->tier = optarg;
        return true;
    case OPTION_REGION:
        options->region = optarg;
        return true;
    case OPTION_INPUT_TOTAL:
        options->input_total = optarg;
        return true;
    case OPTION_STRICT:
        options->strict = true;
        return true;
    case OPTION_FORMAT:
        options->json = strcmp(optarg, "json") == 0;
        if (options->json || strcmp(optarg, "table") == 0)
            return true;
        fprintf(stderr, "tollgate price: --format is table or json\n");
        return false;
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
        status = price_show(source.book, options);
    close_source(&source);
    return status;
}

static bool check_words(const char *verb, struct price_options *options)
{
    if (options->file && options->n_books > 0) {
        fprintf(stderr, "tollgate price: give -c or --book, not both\n");
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
        {"input-total", required_argument, NULL, OPTION_INPUT_TOTAL},
        {"strict", no_argument, NULL, OPTION_STRICT},
        {"format", required_argument, NULL, OPTION_FORMAT},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct price_options options = {.at_us = clock_wall_us()};
    const char *verb = argc > 1 ? argv[1] : "";
    int c;

    if (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0) {
        print_usage();
        return EXIT_GOOD;
    }
    if (strcmp(verb, "show") != 0 && strcmp(verb, "cost") != 0 && strcmp(verb, "lint") != 0) {
        if (strcmp(verb, "reprice") == 0)
            fprintf(stderr, "tollgate: price reprice is not available in this version\n");
        else
            fprintf(stderr, "tollgate price: show, cost or lint? (tollgate price --help)\n");
        return EXIT_USAGE;
    }
    optind = 1;
    while ((c = getopt_long(argc - 1, argv + 1, "c:b:p:m:u:h", long_options, NULL)) != -1) {
        if (c == 'h') {
            print_usage();
            return EXIT_GOOD;
        }
        if (!take_option(&options, c))
            return EXIT_USAGE;
    }
    options.words = argv + 1 + optind;
    options.n_words = argc - 1 - optind;
    return check_words(verb, &options) ? run(verb, &options) : EXIT_USAGE;
}
