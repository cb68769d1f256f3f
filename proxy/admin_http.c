/*
 * admin_http.c - routes and answers of the admin listener; see admin_int.h.
 *
 * Everything here runs on the admin thread and waits for nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>

#include "base/clock.h"
#include "base/jsonw.h"
#include "base/xalloc.h"
#include "proxy/admin_int.h"
#include "reports/report.h"

enum { SMALL_MAX_BYTES = 256 << 10 };

static const char REPORTS_PATH[] = "/api/v1/reports";

/* ---- answers ---------------------------------------------------------------------------- */

static void header(struct evhttp_request *request, const char *name, const char *value)
{
    (void)evhttp_add_header(evhttp_request_get_output_headers(request), name, value);
}

static void free_block(const void *data, size_t n, void *arg)
{
    struct buf *body = arg;

    (void)data;
    (void)n;
    buf_release(body);
    free(body);
}

void admin_answer(struct evhttp_request *request, int code, const char *reason,
                  const char *type, const char *policy, enum admin_keep keep, struct buf *body)
{
    struct evbuffer *out = evbuffer_new();
    struct buf *kept;
    char length[32];

    (void)snprintf(length, sizeof(length), "%zu", buf_len(body));
    header(request, "Content-Type", type);
    /* That of a 304 would be its file's. */
    if (code != 304)
        header(request, "Content-Length", length);
    header(request, "Cache-Control", keep == ADMIN_KEEP ? "no-cache" : "no-store");
    header(request, "X-Content-Type-Options", "nosniff");
    header(request, "X-Frame-Options", "DENY");
    header(request, "Referrer-Policy", "no-referrer");
    header(request, "Cross-Origin-Opener-Policy", "same-origin");
    header(request, "Cross-Origin-Resource-Policy", "same-origin");
    header(request, "Content-Security-Policy", policy);
    if (out && evhttp_request_get_command(request) != EVHTTP_REQ_HEAD && buf_len(body) > 0) {
        kept = xmalloc(sizeof(*kept));
        *kept = *body;
        buf_init(body, kept->max);
        if (evbuffer_add_reference(out, buf_view(kept).p, buf_len(kept), free_block, kept) != 0)
            free_block(NULL, 0, kept);
    }
    evhttp_send_reply(request, code, reason, out);
    if (out)
        evbuffer_free(out);
    buf_release(body);
}

/* Answers that no page is made of: text, JSON, reports. */
static void answer(const struct admin *a, struct evhttp_request *request, int code,
                   const char *reason, const char *type, struct buf *body)
{
    admin_answer(request, code, reason, type, a->policy, ADMIN_NO_STORE, body);
}

static void answer_text(const struct admin *a, struct evhttp_request *request, int code,
                        const char *reason, struct strv text)
{
    struct buf body;
    enum rc rc;

    buf_init(&body, SMALL_MAX_BYTES);
    rc = buf_append_strv(&body, text);
    if (rc == RC_OK)
        rc = buf_append(&body, "\n", 1);
    (void)rc; /* cut */
    answer(a, request, code, reason, "text/plain; charset=utf-8", &body);
}

void admin_answer_error(const struct admin *a, struct evhttp_request *request, int status,
                        const char *reason, const char *code, struct strv message)
{
    struct buf body;
    struct jsonw w;
    enum rc rc;

    buf_init(&body, SMALL_MAX_BYTES);
    jsonw_start(&w, &body);
    jsonw_object(&w);
    jsonw_key(&w, STRV("error"));
    jsonw_object(&w);
    jsonw_key(&w, STRV("code"));
    jsonw_string(&w, strv_z(code));
    jsonw_key(&w, STRV("message"));
    jsonw_string(&w, message);
    jsonw_end(&w);
    jsonw_end(&w);
    rc = jsonw_finish(&w);
    if (rc != RC_OK)
        buf_clear(&body);
    answer(a, request, status, reason, "application/json", &body);
}

static void answer_internal(const struct admin *a, struct evhttp_request *request)
{
    admin_answer_error(a, request, 500, "Internal Server Error", "internal",
                       STRV("the answer is larger than this listener gives"));
}

/* ---- health and metrics -------------------------------------------------------------------
 */

static void on_healthz(struct admin *a, struct evhttp_request *request)
{
    answer_text(a, request, 200, "OK", STRV("ok"));
}

static void on_readyz(struct admin *a, struct evhttp_request *request)
{
    struct buf why;
    bool ready;

    buf_init(&why, SMALL_MAX_BYTES);
    ready = a->sources.ready(&why, a->sources.arg);
    if (ready)
        answer_text(a, request, 200, "OK", STRV("ready"));
    else
        answer_text(a, request, 503, "Service Unavailable",
                    buf_len(&why) ? buf_view(&why) : STRV("not ready"));
    buf_release(&why);
}

static void on_metrics(struct admin *a, struct evhttp_request *request)
{
    struct buf body;

    buf_init(&body, ADMIN_METRICS_MAX_BYTES);
    a->sources.metrics(&body, a->sources.arg);
    if (admin_gauges_render(a, &body) == RC_OK)
        answer(a, request, 200, "OK", "text/plain; version=0.0.4; charset=utf-8", &body);
    else
        answer_internal(a, request);
    buf_release(&body);
}

/* ---- lists ------------------------------------------------------------------------
 */

static void on_report_list(struct admin *a, struct evhttp_request *request)
{
    struct buf body;

    buf_init(&body, SMALL_MAX_BYTES);
    if (report_list_json(&body) == RC_OK)
        answer(a, request, 200, "OK", "application/json", &body);
    else
        answer_internal(a, request);
    buf_release(&body);
}

/* ---- reports
 * ----------------------------------------------------------------------------------- */

/* The client has left before its report was done: whoever runs it finds no request. */
static void on_close(struct evhttp_connection *connection, void *arg)
{
    struct admin_job *job = arg;

    (void)connection;
    job->request = NULL;
}

void admin_answer_job(struct admin *a, struct admin_job *job)
{
    struct evhttp_request *request = job->request;
    struct strv error = buf_view(&job->error);

    if (request) {
        evhttp_connection_set_closecb(evhttp_request_get_connection(request), NULL, NULL);
        switch (job->rc) {
        case RC_OK:
            answer(a, request, 200, "OK", report_format_type(job->params.format), &job->out);
            break;
        case RC_BAD:
            admin_answer_error(a, request, 400, "Bad Request", "bad_request", error);
            break;
        case RC_DENIED:
            admin_answer_error(a, request, 409, "Conflict", "not_strict", error);
            break;
        case RC_LIMIT:
            admin_answer_error(a, request, 422, "Unprocessable Content", "too_large", error);
            break;
        case RC_AGAIN:
        case RC_EOF:
        case RC_IO:
        case RC_STATE:
        case RC_TLS:
        case RC_TIMEOUT:
            admin_answer_error(a, request, 503, "Service Unavailable", "ledger_unavailable",
                               error);
            break;
        }
    }
    admin_job_free(job);
}

static bool is_report(struct strv name)
{
    const struct report_info *info;

    for (size_t i = 0; (info = report_at(i)); i++) {
        if (strv_eq(name, strv_z(info->name)))
            return true;
    }
    return false;
}

static void on_report(struct admin *a, struct evhttp_request *request, struct strv name,
                      struct strv query)
{
    struct admin_job *job;

    if (!is_report(name)) {
        admin_answer_error(
            a, request, 404, "Not Found", "unknown_report",
            STRV("there is no report of that name: GET /api/v1/reports lists them"));
        return;
    }
    job = xcalloc(1, sizeof(*job));
    buf_init(&job->out, ADMIN_REPORT_MAX_BYTES);
    buf_init(&job->error, REPORT_ERROR_MAX_BYTES);
    params_init(&job->params);
    job->params.format = FORMAT_JSON;
    job->name = arena_strv(&job->params.arena, name);
    job->request = request;
    job->rc = params_query(&job->params, query, &job->error);
    if (job->rc != RC_OK) {
        admin_answer_job(a, job);
        return;
    }
    evhttp_connection_set_closecb(evhttp_request_get_connection(request), on_close, job);
    if (admin_jobs_add(a, job))
        return;
    evhttp_connection_set_closecb(evhttp_request_get_connection(request), NULL, NULL);
    header(request, "Retry-After", "1");
    admin_answer_error(a, request, 503, "Service Unavailable", "overloaded",
                       STRV("too many reports are waiting: try again"));
    admin_job_free(job);
}

/* ---- routes
 * ---------------------------------------------------------------------------------------- */

static const struct open_route {
    const char *path;
    void (*handle)(struct admin *a, struct evhttp_request *request);
    bool open; /* no token */
} routes[] = {
    {"/healthz", on_healthz, true},
    {"/readyz", on_readyz, true},
    {"/metrics", on_metrics, true},
    {REPORTS_PATH, on_report_list, false},
};

bool admin_is_authorized(struct admin *a, struct evhttp_request *request)
{
    struct evkeyvalq *headers = evhttp_request_get_input_headers(request);
    const char *value = evhttp_find_header(headers, "Authorization");
    const char *cookies = evhttp_find_header(headers, "Cookie");
    unsigned char token[SHA256_BYTES];

    admin_token_now(a, token);
    if (value)
        return admin_token_matches(token, strv_z(value));
    return cookies && admin_session_matches(token, clock_wall_us(), strv_z(cookies));
}

/*
 * Browsers tell what a request is for (Sec-Fetch-Mode): they are sent to the sign-in page,
 * and the dashboard's own fetches are spared the dialogue that a Basic challenge opens.
 */
static void refuse_stranger(struct admin *a, struct evhttp_request *request)
{
    const char *mode =
        evhttp_find_header(evhttp_request_get_input_headers(request), "Sec-Fetch-Mode");

    if (mode && strcmp(mode, "navigate") == 0) {
        admin_web_ask(request);
        return;
    }
    header(request, "WWW-Authenticate",
           mode ? "Bearer realm=\"tollgate\"" : "Basic realm=\"tollgate\", charset=\"UTF-8\"");
    admin_answer_error(a, request, 401, "Unauthorized", "unauthorized",
                       STRV("send the admin token as bearer, or as the password of basic"));
}

static void route(struct admin *a, struct evhttp_request *request, struct strv path,
                  struct strv query)
{
    static const struct strv prefix = {"/api/v1/reports/", sizeof("/api/v1/reports/") - 1};
    const struct open_route *at = NULL;

    for (size_t i = 0; !at && i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (strv_eq(path, strv_z(routes[i].path)))
            at = &routes[i];
    }
    if (at && at->open) {
        at->handle(a, request);
        return;
    }
    if (admin_web_get(a, request, path))
        return;
    /* What does not exist is not told to strangers either. */
    if (!admin_is_authorized(a, request)) {
        refuse_stranger(a, request);
        return;
    }
    if (at)
        at->handle(a, request);
    else if (strv_starts(path, prefix))
        on_report(a, request, strv_skip(path, prefix.n), query);
    else
        admin_answer_error(a, request, 404, "Not Found", "not_found",
                           STRV("there is no such page"));
}

void admin_on_request(struct evhttp_request *request, void *arg)
{
    struct admin *a = arg;
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
    enum evhttp_cmd_type command = evhttp_request_get_command(request);
    const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
    const char *query = uri ? evhttp_uri_get_query(uri) : NULL;

    if (command == EVHTTP_REQ_POST && admin_web_post(a, request, strv_z(path), query))
        return;
    if (command != EVHTTP_REQ_GET && command != EVHTTP_REQ_HEAD) {
        header(request, "Allow", "GET, HEAD");
        admin_answer_error(a, request, 405, "Method Not Allowed", "method_not_allowed",
                           STRV("only GET and HEAD are answered here"));
        return;
    }
    route(a, request, strv_z(path && path[0] ? path : "/"), strv_z(query));
}
