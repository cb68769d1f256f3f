/*
 * csv.c - see csv.h.
 */
#include "reports/csv.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "base/xalloc.h"

struct reading {
    struct csv *csv;
    struct strv rest;
    size_t line, column; /* of the field at hand */
    size_t cap_rows;
    struct csv_fault *fault;
};

static enum rc wrong(struct reading *g, const char *why)
{
    *g->fault = (struct csv_fault){g->line, g->column, why};
    return RC_BAD;
}

static enum rc too_large(struct reading *g, const char *why)
{
    *g->fault = (struct csv_fault){g->line, g->column, why};
    return RC_LIMIT;
}

/* Text for people and for spreadsheets alike: no control characters but, quoted, line ends. */
static enum rc check_text(struct reading *g, struct strv text)
{
    if (text.n > CSV_FIELD_MAX_BYTES)
        return too_large(g, "is longer than 65536 bytes");
    while (text.n) {
        size_t n = utf8_sequence(text);
        unsigned char c = (unsigned char)text.p[0];

        if (n == 0)
            return wrong(g, "is not UTF-8");
        if ((c < 0x20 && c != '\n' && c != '\r' && c != '\t') || c == 0x7f)
            return wrong(g, "holds a control character");
        text = strv_skip(text, n);
    }
    return RC_OK;
}

/* A field without quotes: up to a comma or the line's end. */
static enum rc plain_field(struct reading *g, struct strv *out)
{
    size_t n = 0;

    while (n < g->rest.n && !memchr(",\r\n", g->rest.p[n], 3)) {
        if (g->rest.p[n] == '"')
            return wrong(g, "has a quote within: quote the whole field and double the quotes");
        n++;
    }
    *out = strv_head(g->rest, n);
    g->rest = strv_skip(g->rest, n);
    return check_text(g, *out);
}

/* Index of the closing quote of text, which begins with one; text.n where there is none. */
static size_t closing_quote(struct strv text, size_t *n_doubled)
{
    size_t at = 1;

    *n_doubled = 0;
    for (; at < text.n; at++) {
        if (text.p[at] != '"')
            continue;
        if (at + 1 >= text.n || text.p[at + 1] != '"')
            break;
        ++*n_doubled;
        at++;
    }
    return at;
}

static enum rc undouble(struct reading *g, struct strv *text, size_t n_doubled)
{
    char *to = arena_alloc(&g->csv->arena, text->n - n_doubled + 1);
    size_t n = 0;

    if (!to)
        return too_large(g, "is too much: the table is too large");
    for (size_t i = 0; i < text->n; i++) {
        to[n++] = text->p[i];
        i += text->p[i] == '"';
    }
    *text = strv_make(to, n);
    return RC_OK;
}

static enum rc quoted_field(struct reading *g, struct strv *out)
{
    size_t n_doubled, end = closing_quote(g->rest, &n_doubled);
    enum rc rc = RC_OK;

    if (end >= g->rest.n)
        return wrong(g, "opens a quote that nothing closes");
    *out = strv_make(g->rest.p + 1, end - 1);
    g->rest = strv_skip(g->rest, end + 1);
    if (g->rest.n && !memchr(",\r\n", g->rest.p[0], 3))
        return wrong(g, "has text behind its closing quote");
    if (n_doubled)
        rc = undouble(g, out, n_doubled);
    if (rc == RC_OK)
        rc = check_text(g, *out);
    for (size_t i = 0; rc == RC_OK && i < out->n; i++)
        g->line += out->p[i] == '\n';
    return rc;
}

/* The fields of one line into out; past its end. */
static enum rc read_line(struct reading *g, struct strv *out, size_t *n)
{
    *n = 0;
    for (g->column = 1;; g->column++) {
        enum rc rc;

        if (*n == CSV_COLUMNS_MAX)
            return too_large(g, "is one field too many");
        rc = strv_starts(g->rest, STRV("\"")) ? quoted_field(g, &out[*n])
                                              : plain_field(g, &out[*n]);
        if (rc != RC_OK)
            return rc;
        ++*n;
        if (!strv_starts(g->rest, STRV(",")))
            break;
        g->rest = strv_skip(g->rest, 1);
    }
    if (strv_starts(g->rest, STRV("\r\n")))
        g->rest = strv_skip(g->rest, 2);
    else if (strv_starts(g->rest, STRV("\n")))
        g->rest = strv_skip(g->rest, 1);
    else if (g->rest.n)
        return wrong(g, "ends in a carriage return alone");
    return RC_OK;
}

static enum rc read_header(struct reading *g)
{
    struct strv names[CSV_COLUMNS_MAX];
    struct csv *c = g->csv;
    size_t n;
    enum rc rc = read_line(g, names, &n);

    if (rc != RC_OK)
        return rc;
    c->names = arena_alloc(&c->arena, n * sizeof(*c->names));
    if (!c->names)
        return too_large(g, "is too much: the table is too large");
    for (size_t i = 0; i < n; i++) {
        g->column = i + 1;
        c->names[i] = strv_trim(names[i]);
        if (c->names[i].n == 0)
            return wrong(g, "has no name in the header");
        for (size_t k = 0; k < i; k++) {
            if (strv_eq(c->names[i], c->names[k]))
                return wrong(g, "has a name that stands twice in the header");
        }
    }
    c->n_columns = n;
    return RC_OK;
}

static enum rc read_row(struct reading *g)
{
    struct strv fields[CSV_COLUMNS_MAX];
    struct csv *c = g->csv;
    size_t line = g->line, n;
    enum rc rc = read_line(g, fields, &n);

    if (rc != RC_OK)
        return rc;
    if (n == 1 && fields[0].n == 0) /* an empty line */
        return RC_OK;
    g->column = n < c->n_columns ? n + 1 : c->n_columns + 1;
    if (n < c->n_columns)
        return wrong(g, "is missing: the line has fewer fields than the header");
    if (n > c->n_columns)
        return wrong(g, "is one too many: the line has more fields than the header");
    if (c->n_rows == CSV_ROWS_MAX)
        return too_large(g, "is one line too many");
    if (c->n_rows == g->cap_rows) {
        g->cap_rows = g->cap_rows ? g->cap_rows * 2 : 64;
        c->fields = xrealloc(c->fields, g->cap_rows * c->n_columns * sizeof(*c->fields));
        c->lines = xrealloc(c->lines, g->cap_rows * sizeof(*c->lines));
    }
    memcpy(c->fields + c->n_rows * c->n_columns, fields, n * sizeof(*fields));
    c->lines[c->n_rows++] = line;
    return RC_OK;
}

enum rc csv_parse(struct strv text, struct csv *out, struct csv_fault *fault)
{
    struct reading g = {.csv = out, .rest = text, .line = 1, .fault = fault};
    enum rc rc;

    *out = (struct csv){0};
    *fault = (struct csv_fault){0};
    arena_init(&out->arena, (size_t)2 * CSV_MAX_BYTES);
    if (text.n > CSV_MAX_BYTES)
        return too_large(&g, "is longer than 64 MB");
    if (strv_starts(g.rest, STRV("\xef\xbb\xbf")))
        g.rest = strv_skip(g.rest, 3);
    if (g.rest.n == 0)
        return wrong(&g, "is empty: the header is missing");
    rc = read_header(&g);
    for (g.line++; rc == RC_OK && g.rest.n; g.line++)
        rc = read_row(&g);
    return rc;
}

void csv_release(struct csv *c)
{
    free(c->fields);
    free(c->lines);
    c->fields = NULL;
    c->lines = NULL;
    c->n_rows = 0;
    arena_release(&c->arena);
}

size_t csv_column(const struct csv *c, const char *name)
{
    size_t i = 0;

    while (i < c->n_columns && !strv_eq(c->names[i], strv_z(name)))
        i++;
    return i;
}
