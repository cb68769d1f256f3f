/*
 * test_http1_vectors.c - runs tests/vectors/http1: whole, byte by byte, and at every split.
 *
 * Each vector's bytes are read as one side of a connection would be read, message by
 * message, and what is read is written down as a log; the log must be the expected
 * one however the bytes are cut.  Each parser call gets a copy of exact size at a new
 * place, so that AddressSanitizer sees a read beyond the end and a view that was kept.
 * The format of the files is described in tests/vectors/http1/README.md.
 */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/strv.h"
#include "base/xalloc.h"
#include "proxy/field_traits.h"
#include "proxy/http1_lines.h"

enum {
    FILE_MAX_BYTES = 1 << 20,
    INPUT_MAX_BYTES = 1 << 18,
    LOG_MAX_BYTES = 1 << 20,
    SPLITS_MAX = 4096, /* longer inputs are split at this many places, evenly spread */
    FILES_MAX = 64,
};

struct vector {
    const char *file;
    struct strv name, why, kind;
    uint64_t max_bytes, max_headers;
    struct buf input, log;
};

struct session {
    const struct vector *v;
    struct strv methods; /* responses: of the requests that are answered, in order */
    struct strv method;
    struct http1_header lines[HTTP1_HEADERS_MAX];
    struct http1_head head;
    struct http1_framing framing;
    struct http1_chunked chunked;
    uint64_t left;
    bool in_body, in_data, stopped, bad;
    size_t consumed;
    struct buf pending, log;
};

static size_t n_vectors, n_runs;
static struct http1_lines *known_lines;

#define MUST(call) assert_int_equal((call), RC_OK)

static void put_escaped(struct buf *out, struct strv s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c == '\r')
            MUST(buf_append(out, "\\r", 2));
        else if (c == '\n')
            MUST(buf_append(out, "\\n", 2));
        else if (c < 0x20 || c >= 0x7f || c == '\\' || c == '"')
            MUST(buf_printf(out, "\\x%02x", c));
        else
            MUST(buf_append(out, s.p + i, 1));
    }
}

/* ---- reading a connection ---------------------------------------------------- */

static void end_data(struct session *s)
{
    if (s->in_data)
        MUST(buf_append(&s->log, "\"\n", 2));
    s->in_data = false;
}

static void on_data(struct session *s, struct strv data)
{
    if (data.n == 0)
        return;
    if (!s->in_data)
        MUST(buf_append(&s->log, "data \"", 6));
    s->in_data = true;
    put_escaped(&s->log, data);
}

static void on_bad(struct session *s, enum http1_fault fault)
{
    end_data(s);
    MUST(buf_printf(&s->log, "bad %s\n", http1_fault_text(fault)));
    s->stopped = s->bad = true;
}

static void on_end(struct session *s)
{
    end_data(s);
    MUST(buf_printf(&s->log, "end @%zu\n", s->consumed));
    s->in_body = false;
    s->head.looked = 0;
    if (!s->framing.keep_alive)
        s->stopped = true;
}

static void log_head(struct session *s, bool is_request)
{
    const struct http1_head *h = &s->head;

    if (is_request) {
        MUST(buf_printf(&s->log, "request " STRV_FMT " " STRV_FMT " 1.%d", STRV_ARG(h->method),
                        STRV_ARG(h->target), h->minor));
        if (!strv_eq(h->origin, h->target))
            MUST(buf_printf(&s->log, " origin=" STRV_FMT, STRV_ARG(h->origin)));
        MUST(buf_printf(&s->log, " authority=" STRV_FMT "\n", STRV_ARG(h->authority)));
    } else {
        MUST(buf_printf(&s->log, "response %d 1.%d \"", h->status, h->minor));
        put_escaped(&s->log, h->reason);
        MUST(buf_append(&s->log, "\"\n", 2));
    }
    for (size_t i = 0; i < h->n_headers; i++) {
        MUST(buf_printf(&s->log, "field " STRV_FMT ": \"", STRV_ARG(h->headers[i].name)));
        put_escaped(&s->log, h->headers[i].value);
        MUST(buf_append(&s->log, "\"\n", 2));
        assert_int_equal(field_traits(&h->headers[i]) & ~(unsigned)FIELD_KEY, field_judge(h->headers[i].name));
    }
}

static void on_head(struct session *s, bool is_request)
{
    static const char *const body[] = {[BODY_NONE] = "none",
                                       [BODY_LENGTH] = "length",
                                       [BODY_CHUNKED] = "chunked",
                                       [BODY_CLOSE] = "close"};
    enum http1_fault fault;

    log_head(s, is_request);
    fault = http1_frame(&s->head, is_request, s->method, &s->framing);
    if (fault != HTTP1_OK) {
        on_bad(s, fault);
        return;
    }
    MUST(buf_printf(&s->log, "body %s", body[s->framing.body]));
    if (s->framing.body == BODY_LENGTH)
        MUST(buf_printf(&s->log, " %llu", (unsigned long long)s->framing.length));
    MUST(buf_printf(&s->log, ", %s\n", s->framing.keep_alive ? "keep-alive" : "close"));
    s->left = s->framing.length;
    s->chunked = (struct http1_chunked){0};
    s->in_body = true;
}

/* Reads what it can of bytes; gives how much was used. */
static size_t read_head(struct session *s, struct strv bytes)
{
    bool is_request = strv_eq(s->v->kind, STRV("request"));
    enum parse_status status;

    if (!is_request && s->head.looked == 0 && !strv_split(&s->methods, ' ', &s->method))
        s->method = STRV("GET");
    status = is_request
                 ? http1_parse_request(bytes, s->v->max_bytes, s->v->max_headers, &s->head)
                 : http1_parse_response(bytes, s->v->max_bytes, s->v->max_headers, &s->head);
    if (status == PARSE_BAD)
        on_bad(s, s->head.fault);
    if (status == PARSE_MORE) {
        assert_int_equal(s->head.looked, bytes.n);
        assert_int_equal(s->head.n_headers, 0);
    }
    if (status != PARSE_DONE)
        return 0;
    on_head(s, is_request);
    return s->head.bytes;
}

static size_t read_body(struct session *s, struct strv bytes)
{
    size_t used = 0;
    struct strv data;
    enum parse_status status;

    switch (s->framing.body) {
    case BODY_NONE:
    case BODY_LENGTH:
        data = strv_head(bytes, s->left < bytes.n ? (size_t)s->left : bytes.n);
        on_data(s, data);
        s->left -= data.n;
        s->consumed += data.n;
        if (s->left == 0)
            on_end(s);
        return data.n;
    case BODY_CHUNKED:
        status = http1_chunked_read(&s->chunked, bytes, &used, &data);
        assert_true(used <= bytes.n && data.n <= used);
        s->consumed += used;
        on_data(s, data);
        if (status == PARSE_BAD) {
            assert_int_equal(data.n, 0);
            on_bad(s, s->chunked.fault);
        } else if (status == PARSE_DONE) {
            on_end(s);
        }
        return used;
    case BODY_CLOSE:
        on_data(s, bytes);
        s->consumed += bytes.n;
        return bytes.n;
    }
    return 0;
}

static void feed(struct session *s, struct strv piece)
{
    MUST(buf_append_strv(&s->pending, piece));
    for (;;) {
        struct strv pending = buf_view(&s->pending);
        char *copy;
        size_t used;
        bool in_body = s->in_body;

        if (s->stopped ||
            (pending.n == 0 && !(in_body && s->left == 0 && s->framing.body <= BODY_LENGTH)))
            return;
        copy = xmalloc(pending.n > 0 ? pending.n : 1);
        if (pending.n > 0)
            memcpy(copy, pending.p, pending.n);
        if (in_body) {
            used = read_body(s, strv_make(copy, pending.n));
        } else {
            used = read_head(s, strv_make(copy, pending.n));
            s->consumed += used;
        }
        free(copy);
        buf_consume(&s->pending, used);
        if (used == 0 && in_body == s->in_body)
            return;
    }
}

static void session_init(struct session *s, const struct vector *v, struct http1_lines *known)
{
    *s = (struct session){.v = v};
    s->head.headers = s->lines;
    s->head.known = known;
    buf_init(&s->pending, INPUT_MAX_BYTES);
    buf_init(&s->log, LOG_MAX_BYTES);
    if (!strv_eq(v->kind, STRV("request"))) {
        s->methods = v->kind;
        assert_true(strv_split(&s->methods, ' ', &s->method));
        assert_true(strv_eq(s->method, STRV("response")));
    }
}

/* The peer has closed: writes down what that means, and compares. */
static void session_finish(struct session *s, const char *how, size_t at)
{
    if (!s->stopped && s->in_body && s->framing.body == BODY_CLOSE)
        on_end(s);
    else if (!s->stopped && (s->in_body || buf_len(&s->pending) > 0)) {
        end_data(s);
        MUST(buf_append_strv(&s->log, STRV("incomplete\n")));
    }
    if (s->stopped && !s->bad && buf_len(&s->pending) > 0)
        MUST(buf_append_strv(&s->log, STRV("left\n")));
    n_runs++;
    if (!strv_eq(buf_view(&s->log), buf_view(&s->v->log)))
        fail_msg("%s: \"" STRV_FMT "\" read %s %zu gives\n" STRV_FMT "instead of\n" STRV_FMT,
                 s->v->file, STRV_ARG(s->v->name), how, at, STRV_ARG(buf_view(&s->log)),
                 STRV_ARG(buf_view(&s->v->log)));
    buf_release(&s->pending);
    buf_release(&s->log);
}

static void run_vector(const struct vector *v, struct http1_lines *known)
{
    struct strv input = buf_view(&v->input);
    size_t step = 1 + input.n / SPLITS_MAX;
    struct session s;

    session_init(&s, v, known);
    feed(&s, input);
    session_finish(&s, "whole", 0);

    session_init(&s, v, known);
    for (size_t i = 0; i < input.n; i++)
        feed(&s, strv_make(input.p + i, 1));
    session_finish(&s, "byte by byte", 0);

    for (size_t at = 1; at < input.n; at += step) {
        session_init(&s, v, known);
        feed(&s, strv_head(input, at));
        feed(&s, strv_skip(input, at));
        session_finish(&s, "in two at", at);
    }
}

/* ---- reading the files ------------------------------------------------------- */

static unsigned hex(char c)
{
    const char *digits = "0123456789abcdef", *at = strchr(digits, c);

    assert_true(c != '\0' && at != NULL);
    return (unsigned)(at - digits);
}

static void unescape(struct buf *out, struct strv text)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];

        if (c != '\\') {
            MUST(buf_append(out, &c, 1));
            continue;
        }
        assert_true(++i < text.n);
        c = text.p[i];
        if (c == 'r' || c == 'n' || c == 't' || c == '0' || c == '\\') {
            c = c == 'r' ? '\r' : c == 'n' ? '\n' : c == 't' ? '\t' : c == '0' ? '\0' : '\\';
            MUST(buf_append(out, &c, 1));
        } else if (c == 'x') {
            assert_true(i + 2 < text.n);
            c = (char)(hex(text.p[i + 1]) << 4 | hex(text.p[i + 2]));
            i += 2;
            MUST(buf_append(out, &c, 1));
        } else if (c == '*') { /* \*N(text): N times */
            size_t open = i + strv_find(strv_skip(text, i), '(');
            size_t close = i + strv_find(strv_skip(text, i), ')');
            uint64_t n;

            assert_true(open < close && close < text.n);
            assert_true(
                strv_parse_u64(strv_make(text.p + i + 1, open - i - 1), INPUT_MAX_BYTES, &n));
            for (uint64_t k = 0; k < n; k++)
                unescape(out, strv_make(text.p + open + 1, close - open - 1));
            i = close;
        } else {
            fail_msg("unknown escape \\%c", c);
        }
    }
}

static void setting(struct vector *v, struct strv line)
{
    struct strv key = strv_head(line, strv_find(line, ':'));
    struct strv value = strv_trim(strv_skip(line, key.n + 1));

    if (strv_eq(key, STRV("why")))
        v->why = value;
    else if (strv_eq(key, STRV("kind")))
        v->kind = value;
    else if (strv_eq(key, STRV("max_bytes")))
        assert_true(strv_parse_u64(value, INPUT_MAX_BYTES, &v->max_bytes));
    else if (strv_eq(key, STRV("max_headers")))
        assert_true(strv_parse_u64(value, HTTP1_HEADERS_MAX, &v->max_headers));
    else if (line.n > 0 && line.p[0] != '#')
        fail_msg("%s: unknown line " STRV_FMT, v->file, STRV_ARG(line));
}

static void finish_vector(struct vector *v)
{
    if (v->name.n > 0) {
        if (v->kind.n == 0 || v->why.n == 0)
            fail_msg("%s: \"" STRV_FMT "\" lacks kind or why", v->file, STRV_ARG(v->name));
        run_vector(v, NULL);
        run_vector(v, known_lines); /* with the lines of all vectors before */
        n_vectors++;
    }
    buf_release(&v->input);
    buf_release(&v->log);
}

static void start_vector(struct vector *v, const char *file, struct strv name)
{
    *v = (struct vector){
        .file = file, .name = name, .max_bytes = 65536, .max_headers = HTTP1_HEADERS_MAX};
    buf_init(&v->input, INPUT_MAX_BYTES);
    buf_init(&v->log, LOG_MAX_BYTES);
}

static void run_file(const char *path)
{
    enum { SETTINGS, INPUT, LOG } part = SETTINGS;
    char *text = xmalloc(FILE_MAX_BYTES);
    FILE *f = fopen(path, "r");
    struct strv rest, line;
    struct vector v;

    assert_non_null(f);
    rest = strv_make(text, fread(text, 1, FILE_MAX_BYTES, f));
    assert_true(rest.n < FILE_MAX_BYTES);
    fclose(f);
    start_vector(&v, path, STRV_NONE);
    while (strv_split(&rest, '\n', &line)) {
        if (strv_starts(line, STRV("=== "))) {
            finish_vector(&v);
            start_vector(&v, path, strv_skip(line, 4));
            part = SETTINGS;
        } else if (strv_eq(line, STRV("--- in"))) {
            part = INPUT;
        } else if (strv_eq(line, STRV("--- log"))) {
            part = LOG;
        } else if (part == SETTINGS) {
            setting(&v, line);
        } else if (part == INPUT) {
            unescape(&v.input, line);
        } else if (line.n > 0) {
            MUST(buf_append_strv(&v.log, line));
            MUST(buf_append(&v.log, "\n", 1));
        }
    }
    finish_vector(&v);
    free(text);
}

static int is_vector_file(const struct dirent *entry)
{
    return strv_ends(strv_z(entry->d_name), STRV(".txt"));
}

static void test_vectors(void **state)
{
    const char *dir = "tests/vectors/http1";
    struct dirent **files;
    int n = scandir(dir, &files, is_vector_file, alphasort);

    (void)state;
    assert_true(n > 0 && n <= FILES_MAX);
    known_lines = http1_lines_new();
    for (int i = 0; i < n; i++) {
        char *path = xasprintf("%s/%s", dir, files[i]->d_name);

        run_file(path);
        free(path);
        free(files[i]);
    }
    free(files);
    http1_lines_free(known_lines);
    print_message("http1: %zu vectors executed in %zu cuts\n", n_vectors, n_runs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors)};

    return cmocka_run_group_tests_name("http1 vectors", tests, NULL, NULL);
}
