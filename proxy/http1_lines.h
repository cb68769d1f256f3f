/*
 * http1_lines.h - header lines that were read before, found by their bytes.
 *
 * Clients and providers send nearly the same head each time.  What a line means (where its name
 * and value lie, what the name is to the gateway) depends on its bytes alone, up to and with its
 * CRLF; so a line whose bytes are those of an earlier one is not read again.  What differs from
 * the one before, such as a length or an id of a request, is read as ever, but if it has the same
 * name nobody judges that anew.
 *
 * One thread's.  Of lines that carry a credential, or a virtual key under any name, the name alone is kept.
 */
#ifndef PROXY_HTTP1_LINES_H
#define PROXY_HTTP1_LINES_H

#include <stdint.h>
#include <string.h>

#include "proxy/http1.h"

enum {
    HTTP1_LINES = 128,          /* places; a line has one, which the next one may take */
    HTTP1_LINE_MIN_BYTES = 16,  /* CRLF included; shorter lines are not kept */
    HTTP1_LINE_MAX_BYTES = 112, /* nor are longer ones, but for their names */
};

struct http1_line {
    uint64_t name_bit; /* http1_name_bit */
    uint16_t traits;
    uint8_t n; /* with its CRLF; 0: there is only a name, or with name_n 0 nothing */
    uint8_t name_n, value_at, value_n;
    char bytes[HTTP1_LINE_MAX_BYTES];
};

struct http1_lines {
    struct http1_line at[HTTP1_LINES];
};

struct http1_lines *http1_lines_new(void);
void http1_lines_free(struct http1_lines *known); /* NULL is none */

/* Which line of its head, of requests and of responses apart. */
static inline size_t http1_line_index(bool is_request, size_t n)
{
    return 2 * n + is_request;
}

/*
 * The place of the line at p, of HTTP1_LINE_MIN_BYTES at least: one of four by its first bytes,
 * which no other of the first sixteen lines of its head and of the other direction's has.
 */
static inline unsigned http1_line_place(const char *p, size_t index)
{
    uint64_t head;

    memcpy(&head, p, sizeof(head));
    return (unsigned)(index * 4 % HTTP1_LINES) |
           (unsigned)(head * UINT64_C(0x9e3779b97f4a7c15) >> 62);
}

/* The line that the n bytes at p begin with, where it is known; else NULL. */
static inline const struct http1_line *http1_line_find(const struct http1_lines *known,
                                                       const char *p, size_t n, size_t index)
{
    const struct http1_line *line;

    if (n < HTTP1_LINE_MIN_BYTES)
        return NULL;
    line = &known->at[http1_line_place(p, index)];
    return line->n != 0 && line->n <= n && strv_same(p, line->bytes, line->n) ? line : NULL;
}

/*
 * Keeps the line of n bytes at p, CRLF included, that was read as h; index: http1_line_index.
 * Gives h->traits, and the bit of its name.
 */
uint64_t http1_line_keep(struct http1_lines *known, const char *p, size_t n, size_t index,
                         struct http1_header *h);

#endif
