#include "tests/provider/memo.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/xalloc.h"

enum { SIM_MAX_BYTES = 4096 };

struct memo {
    bool full;
    int64_t second; /* the answer says when it was created */
    struct buf target, sims, body; /* of the request */
    struct reply answer;           /* its bill is nobody's */
    size_t header_digits;          /* where the number stands in the headers */
    size_t *digits;                /* and in the body */
    size_t n_digits, cap_digits;
    char model[CALL_MODEL_BYTES];
    char request_id[BOOKS_ID_BYTES], response_id[BOOKS_ID_BYTES];
    struct strv endpoint;
    struct counts counts; /* as the bill opens */
};

struct memo *memo_new(void)
{
    struct memo *m = xcalloc(1, sizeof(*m));
    buf_init(&m->target, MEMO_MAX_BYTES);
    buf_init(&m->sims, SIM_MAX_BYTES);
    buf_init(&m->body, MEMO_MAX_BYTES);
    reply_init(&m->answer);
    return m;
}

void memo_free(struct memo *m)
{
    if (!m)
        return;
    buf_release(&m->target);
    buf_release(&m->sims);
    buf_release(&m->body);
    reply_free(&m->answer);
    free(m->digits);
    free(m);
}

static bool is_sim(const struct request_header *h)
{
    return strv_starts_nocase(h->name, STRV("x-sim-"));
}

static bool set(struct buf *to, struct strv bytes)
{
    buf_clear(to);
    return buf_append_strv(to, bytes) == RC_OK;
}

/* The X-Sim- headers one behind the other. */
static bool keep_sims(struct memo *m, const struct request *r)
{
    buf_clear(&m->sims);
    for (size_t i = 0; r->has_sim && i < r->n_headers; i++)
        if (is_sim(&r->headers[i]) &&
            (buf_append_strv(&m->sims, r->headers[i].name) != RC_OK ||
             buf_append(&m->sims, ":", 1) != RC_OK ||
             buf_append_strv(&m->sims, r->headers[i].value) != RC_OK ||
             buf_append(&m->sims, "\n", 1) != RC_OK))
            return false;
    return true;
}

static bool take(struct strv *from, struct strv what)
{
    if (!strv_starts(*from, what))
        return false;
    *from = strv_skip(*from, what.n);
    return true;
}

static bool same_sims(const struct memo *m, const struct request *r)
{
    struct strv kept = buf_view(&m->sims);
    for (size_t i = 0; r->has_sim && i < r->n_headers; i++)
        if (is_sim(&r->headers[i]) &&
            !(take(&kept, r->headers[i].name) && take(&kept, STRV(":")) &&
              take(&kept, r->headers[i].value) && take(&kept, STRV("\n"))))
            return false;
    return kept.n == 0;
}

/* Where the id's digits stand in a text that begins with before and the id; 0: it does not. */
static size_t digits_in(struct strv text, struct strv before, struct strv id)
{
    if (!take(&text, before) || !strv_starts(text, id) || id.n < CALL_ID_DIGITS)
        return 0;
    return before.n + id.n - CALL_ID_DIGITS;
}

/* Notes where the number stands in each piece; false: it stands elsewhere, or nowhere. */
static bool find_digits(struct memo *m, struct strv id)
{
    const struct reply *a = &m->answer;
    struct strv before = a->stream ? STRV("data: {\"id\":\"") : STRV("{\"id\":\"");
    struct strv body = buf_view(&a->body);
    size_t from = 0;
    m->n_digits = 0;
    if (m->cap_digits < a->n_pieces) {
        m->cap_digits = a->n_pieces;
        m->digits = xrealloc(m->digits, m->cap_digits * sizeof(*m->digits));
    }
    for (size_t i = 0; i < a->n_pieces; from = a->pieces[i++].end) {
        struct strv piece = strv_make(body.p + from, a->pieces[i].end - from);
        size_t at = digits_in(piece, before, id);
        if (at > 0)
            m->digits[m->n_digits++] = from + at;
        else if (!strv_starts(piece, STRV("data: [DONE]")))
            return false;
    }
    return m->n_digits > 0;
}

/* Headers, body, pieces: all but the bill. */
static bool copy_answer(struct reply *to, const struct reply *from)
{
    size_t n = from->n_pieces;
    reply_clear(to);
    to->status = from->status;
    to->stream = from->stream;
    to->content_type = from->content_type;
    to->newline = from->newline;
    if (to->cap_pieces < n) {
        to->cap_pieces = n;
        to->pieces = xrealloc(to->pieces, n * sizeof(*to->pieces));
    }
    if (n > 0)
        memcpy(to->pieces, from->pieces, n * sizeof(*to->pieces));
    to->n_pieces = n;
    return buf_append_strv(&to->headers, buf_view(&from->headers)) == RC_OK &&
           buf_append_strv(&to->body, buf_view(&from->body)) == RC_OK &&
           buf_append_strv(&to->error_event, buf_view(&from->error_event)) == RC_OK;
}

void memo_keep(struct memo *m, const struct call *c)
{
    const struct request *r = c->r;
    if (!strv_eq(c->endpoint, STRV("chat/completions")) || c->reply->status != 200)
        return;
    m->full = buf_len(&c->reply->body) <= MEMO_MAX_BYTES && set(&m->target, r->target) &&
              keep_sims(m, r) && set(&m->body, buf_view(&r->body)) &&
              copy_answer(&m->answer, c->reply) && find_digits(m, strv_z(c->response_id));
    m->header_digits = digits_in(buf_view(&m->answer.headers), STRV("x-request-id: "),
                                 strv_z(c->request_id));
    m->full = m->full && m->header_digits > 0;
    m->second = c->created;
    m->endpoint = c->endpoint;
    m->counts = c->counts;
    if (c->stream) /* what is said is billed as it goes out */
        m->counts.output = c->counts.reasoning;
    memcpy(m->model, c->model, sizeof(m->model));
    memcpy(m->request_id, c->request_id, sizeof(m->request_id));
    memcpy(m->response_id, c->response_id, sizeof(m->response_id));
}

static void put_digits(struct buf *to, size_t at, const char *digits)
{
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
    if (!m->full || (int64_t)time(NULL) != m->second || !strv_eq(r->method, STRV("POST")) ||
        !strv_eq(r->target, buf_view(&m->target)) || !same_sims(m, r) ||
        !strv_eq(buf_view(&r->body), buf_view(&m->body)))
        return false;
    call_id_digits(books_next(), digits);
    ASSERT(copy_answer(reply, &m->answer));
    put_digits(&reply->headers, m->header_digits, digits);
    for (size_t i = 0; i < m->n_digits; i++)
        put_digits(&reply->body, m->digits[i], digits);
    reply->bill = books_bill(id_with(request_id, m->request_id, digits),
                             id_with(response_id, m->response_id, digits), m->endpoint,
                             strv_z(m->model), m->answer.stream, &m->counts);
    return true;
}
