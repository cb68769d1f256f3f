#include "tests/bench/load_samples.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/xalloc.h"

enum { SAMPLES_MAX = 1 << 23 };

void sample_add(struct samples *s, int64_t ns)
{
    if (s->n == SAMPLES_MAX)
        return;
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 4096;
        s->ns = xrealloc(s->ns, s->cap * sizeof(*s->ns));
    }
    s->ns[s->n++] = ns;
}

static int compare_ns(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

void samples_print(const char *name, struct samples *s)
{
    if (s->n > 0)
        qsort(s->ns, s->n, sizeof(*s->ns), compare_ns);
    for (size_t i = 0; s->n > 0 && i < 3; i++) {
        static const char *const names[] = {"p50", "p99", "max"};
        static const size_t permille[] = {500, 990, 1000};
        size_t at = s->n * permille[i] / 1000;
        printf(", \"%s%s\": %.1f", name, names[i],
               (double)s->ns[at < s->n ? at : s->n - 1] / 1000.0);
    }
}

void samples_print_each(const struct samples *s)
{
    printf(", \"each\": [");
    for (size_t i = 0; i < s->n; i++)
        printf("%s%.1f", i > 0 ? "," : "", (double)s->ns[i] / 1000.0);
    printf("]");
}
