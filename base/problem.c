#include "base/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/xalloc.h"

void problems_init(struct problems *list)
{
    *list = (struct problems){.at = NULL};
}

void problems_release(struct problems *list)
{
    for (size_t i = 0; i < list->n; i++) {
        free(list->at[i].file);
        free(list->at[i].text);
    }
    free(list->at);
    problems_init(list);
}

void problems_add(struct problems *list, const char *file, int line, const char *format, ...)
{
    va_list args;
    char *text = NULL;
    int n;

    list->total++;
    if (list->n == PROBLEMS_MAX)
        return;
    va_start(args, format);
    n = vasprintf(&text, format, args);
    va_end(args);
    ASSERT(n >= 0);
    if (list->n % 16 == 0)
        list->at = xrealloc(list->at, (list->n + 16) * sizeof(list->at[0]));
    list->at[list->n++] = (struct problem){.file = xstrdup(file), .line = line, .text = text};
}

char *problem_text(const struct problem *p)
{
    if (p->line > 0)
        return xasprintf("%s:%d: %s", p->file, p->line, p->text);
    return xasprintf("%s: %s", p->file, p->text);
}
