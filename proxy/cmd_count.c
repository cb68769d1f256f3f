/*
 * cmd_count.c - `tollgate count`: tokens of a text, as the model's vocabulary counts them.
 *
 * Text alone: what chat messages, tools and images take besides is no part of it.
 */
#include "proxy/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "metering/usage/tokenizer.h"

enum {
    READ_BYTES = 256 << 10,
    PIECE_MAX_BYTES = 1 << 30, /* of one "word": a count is exact whatever the text */
};

static void print_usage(void)
{
    puts("usage: tollgate count [-m MODEL] [FILE]\n");
    puts("Prints how many tokens a text has (FILE, or standard input), exactly as tiktoken "
         "counts;\nthe number comes first. Bytes that are no UTF-8 count as U+FFFD.\n");
    puts("  -m, --model MODEL   whose vocabulary: a model, o200k_base (default) or "
         "cl100k_base");
    puts("  -h, --help          this text");
    puts("\nexit status: 0 good, 2 bad usage, or a file that cannot be read");
}

static int complain(const char *path)
{
    fprintf(stderr, "tollgate count: could not read %s: %s\n", path, strerror(errno));
    return EXIT_USAGE;
}

static int count_file(FILE *file, const char *path, enum token_encoding encoding)
{
    static char bytes[READ_BYTES];
    struct tokenizer *t = tokenizer_new();
    struct token_counter c;
    int status = EXIT_GOOD;
    size_t n;

    token_counter_init(&c, t, encoding, PIECE_MAX_BYTES);
    while ((n = fread(bytes, 1, sizeof(bytes), file)) > 0)
        token_counter_feed(&c, strv_make(bytes, n));
    if (ferror(file))
        status = complain(path);
    else
        printf("%" PRIu64 " tokens (%s)\n", token_counter_finish(&c),
               token_encoding_name(encoding));
    if (status == EXIT_GOOD && !c.exact)
        fprintf(stderr, "tollgate count: a word is longer than %d bytes: it was cut\n",
                PIECE_MAX_BYTES);
    token_counter_fini(&c);
    tokenizer_free(t);
    if (status == EXIT_GOOD && fflush(stdout) != 0)
        status = EXIT_USAGE;
    return status;
}

static enum token_encoding choose(const char *model)
{
    enum token_encoding encoding = ENCODING_O200K;

    if (model && !token_encoding_find(strv_z(model), &encoding) &&
        !token_encoding_of_model(strv_z(model), &encoding))
        fprintf(stderr,
                "tollgate count: the vocabulary of \"%s\" is not known here; counted with %s\n",
                model, token_encoding_name(encoding));
    return encoding;
}

int cmd_count(int argc, char **argv)
{
    static const struct option options[] = {
        {"model", required_argument, NULL, 'm'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *model = NULL, *path;
    enum token_encoding encoding;
    FILE *file;
    int c, status;

    while ((c = getopt_long(argc, argv, "m:h", options, NULL)) != -1) {
        if (c == 'h') {
            print_usage();
            return EXIT_GOOD;
        }
        if (c != 'm')
            return EXIT_USAGE; /* getopt has said why */
        model = optarg;
    }
    if (argc - optind > 1) {
        fprintf(stderr, "tollgate count: \"%s\" is one word too many (--help)\n",
                argv[optind + 1]);
        return EXIT_USAGE;
    }
    path = optind < argc ? argv[optind] : "-";
    encoding = choose(model);
    if (strcmp(path, "-") == 0)
        return count_file(stdin, "standard input", encoding);
    file = fopen(path, "rb");
    if (!file)
        return complain(path);
    status = count_file(file, path, encoding);
    fclose(file);
    return status;
}
