/*
 * bench_tokenizer ENCODING FILE OTHER: tokens of the file, and the CPU seconds of counting it the
 * first time (nothing is in memory); the best after it, each with a tokenizer that has just
 * met OTHER, and never the file; and the best of counting it at once again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/xalloc.h"
#include "metering/usage/tokenizer.h"

enum { FILE_MAX_BYTES = 64 << 20, ROUNDS = 7 };

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static char *read_file(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    char *text = xmalloc(FILE_MAX_BYTES);

    if (file == NULL)
        exit(2);
    *n = fread(text, 1, FILE_MAX_BYTES, file);
    fclose(file);
    return text;
}

int main(int argc, char **argv)
{
    double first = 0, best = 1e9, again = 1e9;
    enum token_encoding e;
    uint64_t tokens = 0;
    char *text, *other;
    size_t n, n_other;

    if (argc != 4 || !token_encoding_find(strv_z(argv[1]), &e))
        return 2;
    text = read_file(argv[2], &n);
    other = read_file(argv[3], &n_other);
    for (int i = 0; i < ROUNDS; i++) {
        struct tokenizer *t = tokenizer_new();
        double from, seconds;

        if (i > 0)
            (void)tokenizer_count(t, e, strv_make(other, n_other));
        from = now();
        tokens = tokenizer_count(t, e, strv_make(text, n));
        seconds = now() - from;
        if (i == 0)
            first = seconds;
        else
            best = seconds < best ? seconds : best;
        from = now();
        (void)tokenizer_count(t, e, strv_make(text, n));
        seconds = now() - from;
        again = seconds < again ? seconds : again;
        tokenizer_free(t);
    }
    printf("%" PRIu64 " %.9f %.9f %.9f\n", tokens, first, best, again);
    free(text);
    free(other);
    return 0;
}
