#include "tests/provider/reply.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/xalloc.h"

void reply_init(struct reply *reply)
{
    memset(reply, 0, sizeof(*reply));
    buf_init(&reply->headers, REPLY_HEAD_MAX_BYTES);
    buf_init(&reply->body, REPLY_BODY_MAX_BYTES);
    buf_init(&reply->error_event, REPLY_HEAD_MAX_BYTES);
    reply_clear(reply);
}

void reply_clear(struct reply *reply)
{
    buf_clear(&reply->headers);
    if (reply->body.cap > 1U << 20)
        buf_release(&reply->body);
    else
        buf_clear(&reply->body);
    buf_clear(&reply->error_event);
    reply->n_pieces = 0;
    reply->status = 200;
    reply->stream = false;
    reply->content_type = STRV("application/json");
    reply->newline = STRV("\n");
    reply->bill = NO_BILL;
}

void reply_free(struct reply *reply)
{
    buf_release(&reply->headers);
    buf_release(&reply->body);
    buf_release(&reply->error_event);
    free(reply->pieces);
}

void reply_piece(struct reply *reply, uint32_t output, bool is_event)
{
    if (reply->n_pieces == reply->cap_pieces) {
        reply->cap_pieces = reply->cap_pieces ? reply->cap_pieces * 2 : 16;
        reply->pieces = xrealloc(reply->pieces, reply->cap_pieces * sizeof(*reply->pieces));
    }
    reply->pieces[reply->n_pieces++] =
        (struct piece){.end = buf_len(&reply->body), .output = output, .is_event = is_event};
}

void reply_header(struct reply *reply, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    ASSERT(n >= 0 && (size_t)n < sizeof(line));
    ASSERT(buf_append(&reply->headers, line, (size_t)n) == RC_OK);
    ASSERT(buf_append(&reply->headers, "\r\n", 2) == RC_OK);
}

static void put(struct buf *out, struct strv s)
{
    ASSERT(buf_append_strv(out, s) == RC_OK);
}

void reply_sse(struct reply *reply, struct buf *out, struct strv name, struct strv json)
{
    if (name.n > 0) {
        put(out, STRV("event: "));
        put(out, name);
        put(out, reply->newline);
    }
    put(out, STRV("data: "));
    put(out, json);
    put(out, reply->newline);
    put(out, reply->newline);
}
