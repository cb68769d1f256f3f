#include "tests/provider/memo.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/xalloc.h"

struct memo {
    bool full;
    int64_t second; /* the answer says when it was created */
    struct buf target, body;
    struct buf headers, document; /* of the answer */
    size_t header_digits;         /* where the number stands in them */
    size_t document_digits;
    char model[CALL_MODEL_BYTES];
    char request_id[BOOKS_ID_BYTES], response_id[BOOKS_ID_BYTES];
    struct strv endpoint;
    struct counts counts;
};

struct memo *memo_new(void)
{
    struct memo *m = xcalloc(1, sizeof(*m));
    buf_init(&m->target, MEMO_MAX_BYTES);
    buf_init(&m->body, MEMO_MAX_BYTES);
    buf_init(&m->headers, MEMO_MAX_BYTES);
    buf_init(&m->document, MEMO_MAX_BYTES);
    return m;
}

void memo_free(struct memo *m)
{
    if (!m)
        return;
    buf_release(&m->target);
    buf_release(&m->body);
    buf_release(&m->headers);
    buf_release(&m->document);
    free(m);
}

static bool can_be_kept(const struct request *r)
{
    return !r->has_sim && strv_eq(r->method, STRV("POST")) && buf_len(&r->body) > 0;
}

/* Where the id's digits end up in text that begins with before and the id; 0: it does not. */
static size_t digits_in(struct strv text, struct strv before, struct strv id)
{
    if (!strv_starts(text, before) || !strv_starts(strv_skip(text, before.n), id) ||
        id.n < CALL_ID_DIGITS)
        return 0;
    return before.n + id.n - CALL_ID_DIGITS;
}

static bool set(struct buf *to, struct strv bytes)
{
    buf_clear(to);
    return buf_append_strv(to, bytes) == RC_OK;
}

void memo_keep(struct memo *m, const struct call *c)
{
    const struct request *r = c->r;
    struct strv headers = buf_view(&c->reply->headers), body = buf_view(&c->reply->body);
    if (!can_be_kept(r) || c->stream || c->reply->status != 200 ||
        !strv_eq(c->endpoint, STRV("chat/completions")))
        return;
    m->header_digits = digits_in(headers, STRV("x-request-id: "), strv_z(c->request_id));
    m->document_digits = digits_in(body, STRV("{\"id\":\""), strv_z(c->response_id));
    m->full = m->header_digits > 0 && m->document_digits > 0 && set(&m->target, r->target) &&
              set(&m->body, buf_view(&r->body)) && set(&m->headers, headers) &&
              set(&m->document, body);
    m->second = c->created;
    m->endpoint = c->endpoint;
    m->counts = c->counts;
    memcpy(m->model, c->model, sizeof(m->model));
    memcpy(m->request_id, c->request_id, sizeof(m->request_id));
    memcpy(m->response_id, c->response_id, sizeof(m->response_id));
}

/* Appends the bytes, the digits at their place. */
static void put(struct buf *to, const struct buf *bytes, size_t at, const char *digits)
{
    ASSERT(buf_append_strv(to, buf_view(bytes)) == RC_OK);
    memcpy(to->data + to->head + at, digits, CALL_ID_DIGITS);
}

/* The id of the answer that was kept, with other digits. */
static struct strv id_with(char out[BOOKS_ID_BYTES], const char *id, const char *digits)
{
    size_t n = strlen(id);
    memcpy(out, id, n - CALL_ID_DIGITS);
    memcpy(out + n - CALL_ID_DIGITS, digits, CALL_ID_DIGITS);
    return strv_make(out, n);
}

bool memo_answer(const struct memo *m, const struct request *r, struct reply *reply)
{
    char digits[CALL_ID_DIGITS], request_id[BOOKS_ID_BYTES], response_id[BOOKS_ID_BYTES];
    if (!m->full || !can_be_kept(r) || (int64_t)time(NULL) != m->second ||
        !strv_eq(r->target, buf_view(&m->target)) ||
        !strv_eq(buf_view(&r->body), buf_view(&m->body)))
        return false;
    call_id_digits(books_next(), digits);
    put(&reply->headers, &m->headers, m->header_digits, digits);
    put(&reply->body, &m->document, m->document_digits, digits);
    reply->bill = books_bill(id_with(request_id, m->request_id, digits),
                             id_with(response_id, m->response_id, digits), m->endpoint,
                             strv_z(m->model), false, &m->counts);
    reply_piece(reply, 0, true);
    return true;
}
