#include "tests/provider/books.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/check.h"
#include "base/jsonw.h"
#include "base/xalloc.h"

enum { PROBLEM_BYTES = 80 };

struct bill {
    char request_id[BOOKS_ID_BYTES];
    char response_id[BOOKS_ID_BYTES];
    char endpoint[24];
    uint16_t model; /* of books.models */
    bool stream;
    bool ended;
    bool complete;
    struct counts counts;
    uint64_t bytes_sent;
};

struct model_total {
    char name[BOOKS_MODEL_BYTES];
    uint64_t requests;
    struct counts counts;
};

struct kept_request {
    uint64_t number;
    uint64_t connection;
    uint64_t nth; /* on its connection */
    char *head;
    size_t head_bytes;
    char *body;
    size_t body_kept;
    size_t body_bytes;
    enum request_body framing;
    struct buf sent;
    uint64_t sent_bytes;
    int status;
    const char *end;
};

static struct {
    pthread_mutex_t lock;
    uint64_t next;       /* numbers of ids */
    uint64_t first_bill; /* number of bills[0] */
    struct bill *bills;
    size_t n_bills;
    size_t cap_bills;
    size_t keep;
    struct kept_request *ring; /* number % keep */
    uint64_t next_request;
    struct model_total models[BOOKS_MODELS_MAX];
    size_t n_models;
    uint64_t requests; /* that reached an endpoint */
    uint64_t bad;
    uint64_t denied;
    uint64_t leaks; /* heads that hold what belongs to the gateway */
    char problem[PROBLEM_BYTES];
} books = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void kept_free(struct kept_request *k)
{
    free(k->head);
    free(k->body);
    buf_release(&k->sent);
    memset(k, 0, sizeof(*k));
}

void books_init(size_t keep)
{
    books.keep = keep;
    books.ring = keep ? xcalloc(keep, sizeof(*books.ring)) : NULL;
    books.next = 1;
    books.next_request = 1;
    books.first_bill = 1;
}

void books_reset(void)
{
    pthread_mutex_lock(&books.lock);
    for (size_t i = 0; i < books.keep; i++)
        kept_free(&books.ring[i]);
    books.first_bill += books.n_bills;
    books.n_bills = 0;
    books.n_models = 0;
    books.requests = 0;
    books.bad = 0;
    books.denied = 0;
    books.leaks = 0;
    books.problem[0] = 0;
    pthread_mutex_unlock(&books.lock);
}

void books_free(void)
{
    books_reset();
    free(books.ring);
    free(books.bills);
    books.ring = NULL;
    books.bills = NULL;
    books.keep = 0;
}

uint64_t books_next(void)
{
    return __atomic_fetch_add(&books.next, 1, __ATOMIC_RELAXED);
}

static void copy_text(char *to, size_t size, struct strv from)
{
    size_t n = from.n < size - 1 ? from.n : size - 1;
    if (n > 0)
        memcpy(to, from.p, n);
    to[n] = 0;
}

/* Place of a model among the totals; the last place collects what does not fit. */
static uint16_t model_of(struct strv name)
{
    for (size_t i = 0; i < books.n_models; i++)
        if (strv_eq(strv_z(books.models[i].name), strv_head(name, BOOKS_MODEL_BYTES - 1)))
            return (uint16_t)i;
    if (books.n_models < BOOKS_MODELS_MAX) {
        struct model_total *m = &books.models[books.n_models];
        memset(m, 0, sizeof(*m));
        copy_text(m->name, sizeof(m->name), name);
        return (uint16_t)books.n_models++;
    }
    return BOOKS_MODELS_MAX - 1;
}

static void add_counts(struct counts *to, const struct counts *from)
{
    to->input += from->input;
    to->cache_read += from->cache_read;
    to->cache_write_5m += from->cache_write_5m;
    to->cache_write_1h += from->cache_write_1h;
    to->output += from->output;
    to->reasoning += from->reasoning;
}

/* A new bill at the end; NULL where single bills are not kept. */
static struct bill *new_bill(void)
{
    if (books.keep == 0)
        return NULL;
    if (books.n_bills == BOOKS_BILLS_MAX) {
        size_t drop = BOOKS_BILLS_MAX / 2;
        memmove(books.bills, books.bills + drop, drop * sizeof(*books.bills));
        books.first_bill += drop;
        books.n_bills -= drop;
    }
    if (books.n_bills == books.cap_bills) {
        books.cap_bills = books.cap_bills ? books.cap_bills * 2 : 1024;
        books.bills = xrealloc(books.bills, books.cap_bills * sizeof(*books.bills));
    }
    struct bill *b = &books.bills[books.n_bills++];
    memset(b, 0, sizeof(*b));
    return b;
}

uint64_t books_bill(struct strv request_id, struct strv response_id, struct strv endpoint,
                    struct strv model, bool stream, const struct counts *counts)
{
    uint64_t number = NO_BILL;
    pthread_mutex_lock(&books.lock);
    uint16_t at = model_of(model);
    books.models[at].requests++;
    add_counts(&books.models[at].counts, counts);
    struct bill *b = new_bill();
    if (b != NULL) {
        copy_text(b->request_id, sizeof(b->request_id), request_id);
        copy_text(b->response_id, sizeof(b->response_id), response_id);
        copy_text(b->endpoint, sizeof(b->endpoint), endpoint);
        b->model = at;
        b->stream = stream;
        b->counts = *counts;
        number = books.first_bill + books.n_bills - 1;
    }
    pthread_mutex_unlock(&books.lock);
    return number;
}

/* NULL for a bill that is no longer kept. */
static struct bill *bill_of(uint64_t number)
{
    if (number < books.first_bill || number >= books.first_bill + books.n_bills)
        return NULL;
    return &books.bills[number - books.first_bill];
}

void books_bill_output(uint64_t number, uint64_t output)
{
    if (number == NO_BILL || output == 0)
        return;
    pthread_mutex_lock(&books.lock);
    struct bill *b = bill_of(number);
    if (b != NULL) {
        b->counts.output += output;
        books.models[b->model].counts.output += output;
    }
    pthread_mutex_unlock(&books.lock);
}

void books_bill_end(uint64_t number, uint64_t bytes_sent, bool complete)
{
    if (number == NO_BILL)
        return;
    pthread_mutex_lock(&books.lock);
    struct bill *b = bill_of(number);
    if (b != NULL) {
        b->bytes_sent = bytes_sent;
        b->complete = complete;
        b->ended = true;
    }
    pthread_mutex_unlock(&books.lock);
}

uint64_t books_request(const struct request *r, uint64_t connection, uint64_t nth)
{
    uint64_t number = 0;
    bool leak = books.keep > 0 &&
                (request_mentions(r, STRV("x-tollgate-")) || request_mentions(r, STRV("tg_")));
    pthread_mutex_lock(&books.lock);
    books.requests++;
    books.leaks += leak;
    if (books.keep > 0) {
        number = books.next_request++;
        struct kept_request *k = &books.ring[number % books.keep];
        kept_free(k);
        struct strv head = buf_view(&r->head);
        struct strv body = buf_view(&r->body);
        k->number = number;
        k->connection = connection;
        k->nth = nth;
        k->head = xmemdupz(head.p, head.n);
        k->head_bytes = head.n;
        k->body_bytes = body.n;
        k->body_kept = body.n < BOOKS_KEPT_BODY_BYTES ? body.n : BOOKS_KEPT_BODY_BYTES;
        k->body = xmemdupz(body.n ? body.p : "", k->body_kept);
        k->framing = r->framing;
        buf_init(&k->sent, BOOKS_KEPT_BODY_BYTES);
        k->end = "open";
    }
    pthread_mutex_unlock(&books.lock);
    return number;
}

static struct kept_request *kept_of(uint64_t number)
{
    if (number == 0 || books.keep == 0)
        return NULL;
    struct kept_request *k = &books.ring[number % books.keep];
    return k->number == number ? k : NULL;
}

void books_sent(uint64_t number, struct strv bytes)
{
    if (number == 0)
        return;
    pthread_mutex_lock(&books.lock);
    struct kept_request *k = kept_of(number);
    if (k != NULL) {
        size_t room = BOOKS_KEPT_BODY_BYTES - buf_len(&k->sent);
        size_t n = bytes.n < room ? bytes.n : room;
        if (n > 0)
            ASSERT(buf_append(&k->sent, bytes.p, n) == RC_OK);
        k->sent_bytes += bytes.n;
    }
    pthread_mutex_unlock(&books.lock);
}

void books_received(uint64_t number, struct strv message)
{
    if (number == 0)
        return;
    pthread_mutex_lock(&books.lock);
    struct kept_request *k = kept_of(number);
    if (k != NULL && k->body_kept + message.n + 1 <= BOOKS_KEPT_BODY_BYTES) {
        k->body = xrealloc(k->body, k->body_kept + message.n + 2);
        if (message.n > 0)
            memcpy(k->body + k->body_kept, message.p, message.n);
        k->body_kept += message.n;
        k->body[k->body_kept++] = '\n';
        k->body[k->body_kept] = 0;
        k->body_bytes = k->body_kept;
    }
    pthread_mutex_unlock(&books.lock);
}

void books_request_end(uint64_t number, int status, const char *end)
{
    if (number == 0)
        return;
    pthread_mutex_lock(&books.lock);
    struct kept_request *k = kept_of(number);
    if (k != NULL) {
        k->status = status;
        k->end = end;
    }
    pthread_mutex_unlock(&books.lock);
}

void books_bad_request(const char *problem)
{
    pthread_mutex_lock(&books.lock);
    books.bad++;
    copy_text(books.problem, sizeof(books.problem), strv_z(problem));
    pthread_mutex_unlock(&books.lock);
}

void books_denied(void)
{
    pthread_mutex_lock(&books.lock);
    books.denied++;
    pthread_mutex_unlock(&books.lock);
}

static void write_number(struct jsonw *w, const char *name, uint64_t value)
{
    jsonw_key(w, strv_z(name));
    jsonw_uint(w, value);
}

static void write_text(struct jsonw *w, const char *name, struct strv value)
{
    jsonw_key(w, strv_z(name));
    jsonw_string(w, value);
}

static void write_counts(struct jsonw *w, const struct counts *c)
{
    write_number(w, "input_tokens", c->input);
    write_number(w, "cache_read_tokens", c->cache_read);
    write_number(w, "cache_write_5m_tokens", c->cache_write_5m);
    write_number(w, "cache_write_1h_tokens", c->cache_write_1h);
    write_number(w, "output_tokens", c->output);
    write_number(w, "reasoning_tokens", c->reasoning);
}

void books_write_totals(struct buf *out)
{
    struct jsonw w;
    struct counts sum = {0};
    uint64_t billed = 0;
    jsonw_start(&w, out);
    jsonw_object(&w);
    pthread_mutex_lock(&books.lock);
    jsonw_key(&w, STRV("models"));
    jsonw_object(&w);
    for (size_t i = 0; i < books.n_models; i++) {
        const struct model_total *m = &books.models[i];
        jsonw_key(&w, strv_z(m->name));
        jsonw_object(&w);
        write_number(&w, "requests", m->requests);
        write_counts(&w, &m->counts);
        jsonw_end(&w);
        add_counts(&sum, &m->counts);
        billed += m->requests;
    }
    jsonw_end(&w);
    write_number(&w, "requests", books.requests);
    write_number(&w, "billed", billed);
    write_counts(&w, &sum);
    write_number(&w, "denied", books.denied);
    write_number(&w, "malformed", books.bad);
    write_text(&w, "malformed_why", strv_z(books.problem));
    write_number(&w, "leaks", books.leaks);
    pthread_mutex_unlock(&books.lock);
    jsonw_end(&w);
    ASSERT(jsonw_finish(&w) == RC_OK);
}

void books_write_billed(struct buf *out)
{
    pthread_mutex_lock(&books.lock);
    for (size_t i = 0; i < books.n_bills; i++) {
        const struct bill *b = &books.bills[i];
        struct jsonw w;
        jsonw_start(&w, out);
        jsonw_object(&w);
        write_text(&w, "request_id", strv_z(b->request_id));
        write_text(&w, "response_id", strv_z(b->response_id));
        write_text(&w, "endpoint", strv_z(b->endpoint));
        write_text(&w, "model", strv_z(books.models[b->model].name));
        jsonw_key(&w, STRV("stream"));
        jsonw_bool(&w, b->stream);
        write_counts(&w, &b->counts);
        write_number(&w, "bytes_sent", b->bytes_sent);
        jsonw_key(&w, STRV("ended"));
        jsonw_bool(&w, b->ended);
        jsonw_key(&w, STRV("complete"));
        jsonw_bool(&w, b->complete);
        jsonw_end(&w);
        ASSERT(jsonw_finish(&w) == RC_OK);
        ASSERT(buf_append(out, "\n", 1) == RC_OK);
    }
    pthread_mutex_unlock(&books.lock);
}

static void write_base64(struct jsonw *w, const char *name, struct strv bytes)
{
    char *text = xmalloc(bytes.n / 3 * 4 + 8);
    int n = EVP_EncodeBlock((unsigned char *)text,
                            (const unsigned char *)(bytes.n ? bytes.p : ""), (int)bytes.n);
    write_text(w, name, strv_make(text, (size_t)n));
    free(text);
}

static void write_kept(struct jsonw *w, const struct kept_request *k)
{
    static const char *const framing[] = {"none", "length", "chunked"};
    jsonw_object(w);
    write_number(w, "number", k->number);
    write_number(w, "connection", k->connection);
    write_number(w, "nth", k->nth);
    write_base64(w, "head_base64", strv_make(k->head, k->head_bytes));
    write_base64(w, "body_base64", strv_make(k->body, k->body_kept));
    write_number(w, "body_bytes", k->body_bytes);
    write_text(w, "framing", strv_z(framing[k->framing]));
    write_number(w, "status", (uint64_t)k->status);
    write_base64(w, "sent_base64", buf_view(&k->sent));
    write_number(w, "sent_bytes", k->sent_bytes);
    write_text(w, "end", strv_z(k->end));
    jsonw_end(w);
}

void books_write_requests(struct buf *out, uint64_t last)
{
    struct jsonw w;
    jsonw_start(&w, out);
    jsonw_array(&w);
    pthread_mutex_lock(&books.lock);
    if (last > books.keep)
        last = books.keep;
    uint64_t first = books.next_request > last ? books.next_request - last : 1;
    for (uint64_t n = first; n < books.next_request; n++) {
        const struct kept_request *k = kept_of(n);
        if (k != NULL)
            write_kept(&w, k);
    }
    pthread_mutex_unlock(&books.lock);
    jsonw_end(&w);
    ASSERT(jsonw_finish(&w) == RC_OK);
}
