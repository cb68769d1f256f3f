/*
 * admin_web.c - the dashboard: its pages and files, signing in and out; see admin_int.h.
 *
 * Pages and files hold nothing of the ledger's, so that all may have them; what the pages
 * show their scripts fetch from the reports, with the session's cookie.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>
#include <openssl/crypto.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "proxy/admin_int.h"
#include "reports/web.h"

/* Scripts and styles are files of this origin; none is inline, none is made of text. */
static const char PAGE_POLICY[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "require-trusted-types-for 'script'";

/* Views of the one page, which its script tells apart. */
static const char *const views[] = {"/",        "/spend",  "/requests",  "/tasks",
                                    "/budgets", "/models", "/anomalies", "/statement",
                                    "/lines",   "/reports"};

/* What the sign-in page carries where the token was wrong. */
static const char MESSAGE_AT[] = "<!--message-->";
static const char WRONG_TOKEN[] =
    "<p class=\"problem\" role=\"alert\">That is not the token of this gateway. "
    "It is in the file that <code>token_file</code> names.</p>";

static const char *in_header(struct evhttp_request *request, const char *name)
{
    return evhttp_find_header(evhttp_request_get_input_headers(request), name);
}

static void out_header(struct evhttp_request *request, const char *name, const char *value)
{
    (void)evhttp_add_header(evhttp_request_get_output_headers(request), name, value);
}

/* ---- files ------------------------------------------------------------------------------ */

static void answer_file(struct evhttp_request *request, const struct web_asset *file)
{
    const char *known = in_header(request, "If-None-Match");
    struct buf body;
    enum rc rc;

    buf_init(&body, file->content.n + 1);
    out_header(request, "ETag", file->tag);
    if (known && strstr(known, file->tag)) {
        admin_answer(request, 304, "Not Modified", file->type, PAGE_POLICY, ADMIN_KEEP, &body);
        return;
    }
    rc = buf_append_strv(&body, file->content);
    (void)rc; /* of its own size */
    admin_answer(request, 200, "OK", file->type, PAGE_POLICY, ADMIN_KEEP, &body);
}

/* ---- signing in and out -------------------------------------------------------------------
 */

/* Where to go after signing in: a path of this origin, else the overview. */
static bool is_local(const char *target)
{
    if (target[0] != '/' || target[1] == '/' || target[1] == '\\')
        return false;
    for (const char *p = target; *p; p++) {
        if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f)
            return false;
    }
    return true;
}

static void see_other(struct evhttp_request *request, const char *target)
{
    struct buf none;

    buf_init(&none, 1);
    out_header(request, "Location", target);
    admin_answer(request, 303, "See Other", "text/plain; charset=utf-8", PAGE_POLICY,
                 ADMIN_NO_STORE, &none);
}

void admin_web_ask(struct evhttp_request *request)
{
    const char *wanted = evhttp_request_get_uri(request);
    char *coded, *target;

    if (!is_local(wanted) || strcmp(wanted, "/") == 0) {
        see_other(request, "/login");
        return;
    }
    coded = evhttp_encode_uri(wanted);
    target = xasprintf("/login?next=%s", coded ? coded : "/");
    see_other(request, target);
    free(target);
    free(coded);
}

static void answer_login(struct evhttp_request *request, bool wrong)
{
    const struct web_asset *page = web_find(STRV("/web/login.html"));
    const char *mark = strstr(page->content.p, MESSAGE_AT);
    size_t at = mark ? (size_t)(mark - page->content.p) : page->content.n;
    struct buf body;
    enum rc rc;

    buf_init(&body, page->content.n + sizeof(WRONG_TOKEN));
    rc = buf_append_strv(&body, strv_head(page->content, at));
    if (rc == RC_OK && wrong)
        rc = buf_append_strv(&body, strv_z(WRONG_TOKEN));
    if (rc == RC_OK)
        rc = buf_append_strv(&body, strv_skip(page->content, at));
    (void)rc; /* of its own size */
    /* A challenge that no browser has a dialogue for: the page is the dialogue. */
    if (wrong)
        out_header(request, "WWW-Authenticate", "Bearer realm=\"tollgate\"");
    admin_answer(request, wrong ? 401 : 200, wrong ? "Unauthorized" : "OK", page->type,
                 PAGE_POLICY, ADMIN_NO_STORE, &body);
}

/* A member of a form-encoded text, decoded; NULL where there is none. Free it. */
static char *form_value(const char *form, const char *name)
{
    struct evkeyvalq members = {0};
    const char *value;
    char *copy = NULL;

    if (evhttp_parse_query_str(form, &members) != 0)
        return NULL;
    value = evhttp_find_header(&members, name);
    if (value)
        copy = xstrdup(value);
    for (struct evkeyval *at = members.tqh_first; at; at = at->next.tqe_next)
        OPENSSL_cleanse(at->value, strlen(at->value));
    evhttp_clear_headers(&members);
    return copy;
}

static bool is_token(struct admin *a, struct evhttp_request *request)
{
    struct evbuffer *in = evhttp_request_get_input_buffer(request);
    size_t n = evbuffer_get_length(in);
    char *form = xcalloc(1, n + 1), *token;
    bool same = false;

    (void)evbuffer_remove(in, form, n);
    token = form_value(form, "token");
    if (token) {
        unsigned char digest[SHA256_BYTES];
        admin_token_now(a, digest);
        same = admin_token_is(digest, strv_trim(strv_z(token)));
        OPENSSL_cleanse(token, strlen(token));
    }
    OPENSSL_cleanse(form, n);
    free(token);
    free(form);
    return same;
}

/* Another site's page must not sign anyone in or out. */
static bool is_foreign(struct evhttp_request *request)
{
    const char *site = in_header(request, "Sec-Fetch-Site");

    return site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0;
}

static void log_in(struct admin *a, struct evhttp_request *request, const char *query)
{
    char cookie[ADMIN_COOKIE_TEXT];
    unsigned char digest[SHA256_BYTES];
    char *next;

    if (!is_token(a, request)) {
        log_line(LOG_WARN, "admin", "sign-in refused: wrong token", "%s", "page=login");
        answer_login(request, true);
        return;
    }
    admin_token_now(a, digest);
    admin_session_cookie(digest, clock_wall_us(), cookie);
    out_header(request, "Set-Cookie", cookie);
    next = form_value(query ? query : "", "next");
    see_other(request, next && is_local(next) ? next : "/");
    free(next);
}

bool admin_web_post(struct admin *a, struct evhttp_request *request, struct strv path,
                    const char *query)
{
    bool in = strv_eq(path, STRV("/login"));

    if (!in && !strv_eq(path, STRV("/logout")))
        return false;
    if (is_foreign(request)) {
        admin_answer_error(a, request, 403, "Forbidden", "forbidden",
                           STRV("this form belongs to the dashboard's own pages"));
    } else if (in) {
        log_in(a, request, query);
    } else {
        out_header(request, "Set-Cookie", admin_session_end());
        out_header(request, "Clear-Site-Data", "\"cache\"");
        see_other(request, "/login");
    }
    return true;
}

/* ---- routes -------------------------------------------------------------------------------
 */

static bool is_view(struct strv path)
{
    for (size_t i = 0; i < sizeof(views) / sizeof(views[0]); i++) {
        if (strv_eq(path, strv_z(views[i])))
            return true;
    }
    return false;
}

/* For the sign-in page: tells only what whoever asks knows of himself. */
static void answer_session(struct admin *a, struct evhttp_request *request)
{
    struct buf body;
    enum rc rc;

    buf_init(&body, 64);
    rc = buf_printf(&body, "{\"signed_in\":%s}\n",
                    admin_is_authorized(a, request) ? "true" : "false");
    (void)rc; /* fits */
    admin_answer(request, 200, "OK", "application/json", PAGE_POLICY, ADMIN_NO_STORE, &body);
}

bool admin_web_get(struct admin *a, struct evhttp_request *request, struct strv path)
{
    const struct web_asset *file = web_find(path);

    if (strv_eq(path, STRV("/login"))) {
        answer_login(request, false);
        return true;
    }
    if (strv_eq(path, STRV("/login/session"))) {
        answer_session(a, request);
        return true;
    }
    if (is_view(path)) {
        if (admin_is_authorized(a, request))
            answer_file(request, web_find(STRV("/web/index.html")));
        else
            admin_web_ask(request);
        return true;
    }
    if (!file)
        return false;
    answer_file(request, file);
    return true;
}
