/*
 * xchg_answer_head.c - the head of an answer: the upstream's, and lines of our own.
 */
#include <string.h>

#include "base/clock.h"
#include "proxy/xchg_int.h"

enum { EXTRA_LINES_BYTES = 512 };

static char *add(char *to, const char *text, size_t n)
{
    memcpy(to, text, n);
    return to + n;
}
#define ADD(to, literal) add((to), (literal), sizeof(literal) - 1)

static char *add_number(char *to, uint64_t value)
{
    char digits[20];
    size_t n = sizeof(digits);

    do
        digits[--n] = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    return add(to, digits + n, sizeof(digits) - n);
}

/*
 * Lines of our own; what it cost, where the answer is whole.  Returns their length: all
 * together are far below EXTRA_LINES_BYTES.
 */
static size_t own_lines(struct xchg *x, bool whole, char out[EXTRA_LINES_BYTES])
{
    char *to = ADD(out, "X-Tollgate-Request-Id: ");

    to = add(to, x->id_text, UUID_TEXT - 1);
    to = ADD(to, "\r\n");
    if (!http1_find(&x->answer.head, STRV("date"))) { /* RFC 9110 6.6.1: who has a clock adds it */
        char date[HTTP_DATE_BYTES];

        http_date(clock_wall_us(), date);
        to = ADD(add(ADD(to, "Date: "), date, sizeof(date) - 1), "\r\n");
    }
    if (!whole)
        return (size_t)(to - out);
    settle_count(x);
    if (x->cost->status != PRICE_NONE) {
        to = ADD(to, "X-Tollgate-Cost-Usd: ");
        to += money_format(x->cost->contracted, to);
        to = ADD(to, "\r\n");
    }
    if (usage_has(&x->usage, USAGE_INPUT) || usage_has(&x->usage, USAGE_OUTPUT)) {
        to = add_number(ADD(to, "X-Tollgate-Tokens: in="), x->usage.n[USAGE_INPUT]);
        to = add_number(ADD(to, ", out="), x->usage.n[USAGE_OUTPUT]);
        to = ADD(to, "\r\n");
    }
    return (size_t)(to - out);
}

enum rc answer_send_head(struct xchg *x, bool whole)
{
    struct answer *a = &x->answer;
    char lines[EXTRA_LINES_BYTES] UNCLEARED;
    struct http_response_rewrite rw = {.length = a->framing.length,
                                       .to_head = strv_eq(x->head.method, STRV("HEAD")),
                                       .client_minor = x->head.minor};

    rw.add = strv_make(lines, own_lines(x, whole, lines));
    switch (a->mode) {
    case OUT_RAW:
        rw.body = a->framing.body;
        break;
    case OUT_CHUNKED:
        rw.body = BODY_CHUNKED;
        break;
    case OUT_PLAIN:
        rw.body = BODY_CLOSE;
        break;
    }
    /* What of the request has not been read now may never be: then nothing may follow it. */
    if (!x->body_done || rw.body == BODY_CLOSE)
        x->close_client = true;
    rw.keep_alive = !x->close_client;
    if (!x->client_gone) {
        /* Once, for what follows too: growing piece by piece is dear. */
        enum rc rc =
            buf_reserve(&x->out, a->head.bytes + EXTRA_LINES_BYTES + buf_len(&a->held));

        if (rc == RC_OK)
            rc = http_build_response(&a->head, &rw, &x->out);
        if (rc != RC_OK)
            return rc; /* nothing was said yet: a refusal still can be */
    }
    x->status = a->head.status;
    a->head_sent = true;
    stat_response(&x->worker->stats, x->status);
    return RC_OK;
}
