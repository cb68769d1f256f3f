/*
 * request_head.h - request heads for tests, from "name: value" lines.
 */
#ifndef TESTS_UNIT_PROXY_REQUEST_HEAD_H
#define TESTS_UNIT_PROXY_REQUEST_HEAD_H

#include "base/strv.h"
#include "proxy/http1.h"

/* Fills head from lines that each end with '\n'; views look into lines. One head at a time. */
static inline void request_head(struct http1_head *head, const char *lines)
{
    static struct http1_header table[HTTP1_HEADERS_MAX];
    struct strv rest = strv_z(lines);
    struct strv line;

    *head = (struct http1_head){.headers = table};
    while (strv_split(&rest, '\n', &line) && head->n_headers < HTTP1_HEADERS_MAX) {
        size_t colon = strv_find(line, ':');

        if (line.n == 0)
            continue;
        head->headers[head->n_headers++] = (struct http1_header){
            .name = strv_head(line, colon), .value = strv_trim(strv_skip(line, colon + 1))};
    }
}

#endif
