/*
 * problem.h - faults found in a file: all of them, each with its place and its mend.
 *
 * Loading a configuration or a price book collects problems; the load is good
 * when there are none.
 */
#ifndef BASE_PROBLEM_H
#define BASE_PROBLEM_H

#include <stddef.h>

#include "base/check.h"

enum { PROBLEMS_MAX = 200 }; /* more are counted, not kept */

struct problem {
    char *file;
    int line; /* from 1; 0 where the file as a whole is meant */
    char *text;
};

struct problems {
    struct problem *at;
    size_t n;     /* kept in at */
    size_t total; /* found */
};

void problems_init(struct problems *list);
void problems_release(struct problems *list);
/* Text: what is wrong, then what to do. Lower case, no full stop. */
COLD void problems_add(struct problems *list, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* "file:line: text" of problem i, to a string that the caller frees. */
char *problem_text(const struct problem *p);

#endif
