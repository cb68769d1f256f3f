/*
 * The admin listener over real TLS on loopback, with a small ledger behind it.
 */
#include "proxy/admin.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/clock.h"
#include "proxy/admin_int.h"
#include "tests/unit/reports/fixture.h"

enum { RESPONSE_MAX = 1 << 20 };

static struct fixture f;
static struct config config;
static struct admin *admin;
static SSL_CTX *client;
static char token[128], token_path[128], certificate[128], private_key[128];
static char response[RESPONSE_MAX];
static bool is_ready = true;
static atomic_int held;         /* configurations that are out */
static sem_t entered, released; /* of reports, while hold_reports */
static atomic_bool hold_reports;

/* ---- what the rest of the process would give ----------------------------------------------
 */

static void give_metrics(struct buf *out, void *arg)
{
    struct worker_stats stats = {0};
    const struct worker_stats *worker = &stats;
    struct metrics_view view = {.workers = &worker, .n_workers = 1};

    assert_ptr_equal(arg, &config);
    assert_int_equal(metrics_render(&view, out), RC_OK);
}

static bool give_ready(struct buf *why, void *arg)
{
    (void)arg;
    if (!is_ready)
        assert_int_equal(buf_append_strv(why, STRV("draining")), RC_OK);
    return is_ready;
}

static const struct config *ref(void **to, void *arg)
{
    (void)arg;
    *to = &held;
    held++;
    return &config;
}

static void unref(void *what, void *arg)
{
    (void)arg;
    assert_ptr_equal(what, &held);
    held--;
}

static enum rc read_counters(const struct config *c, limit_counter_fn *fn, void *fn_arg,
                             void *arg)
{
    const struct limit_counter counter = {
        .limit = 0, .scope = STRV("team=search"), .spent = 1500000000, .reserved = 1};

    (void)c;
    (void)arg;
    fn(&counter, fn_arg);
    return RC_OK;
}

static void catch_up(void *arg)
{
    (void)arg;
    if (!hold_reports)
        return;
    (void)sem_post(&entered);
    (void)sem_wait(&released);
}

/* ---- certificate and client
 * ------------------------------------------------------------------ */

static void make_certificate(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x509 = X509_new();
    X509_NAME *name = X509_get_subject_name(x509);
    FILE *file;

    assert_true(X509_set_version(x509, 2) && ASN1_INTEGER_set(X509_get_serialNumber(x509), 1));
    X509_gmtime_adj(X509_getm_notBefore(x509), 0);
    X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
    assert_true(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                           (const unsigned char *)"localhost", -1, -1, 0));
    assert_true(X509_set_issuer_name(x509, name) && X509_set_pubkey(x509, key));
    assert_true(X509_sign(x509, key, EVP_sha256()) > 0);
    file = fopen(certificate, "w");
    assert_true(file && PEM_write_X509(file, x509) == 1 && fclose(file) == 0);
    file = fopen(private_key, "w");
    assert_true(file && PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1 &&
                fclose(file) == 0);
    X509_free(x509);
    EVP_PKEY_free(key);
}

struct connection {
    int fd;
    SSL *ssl;
};

/* No handshake yet; what is waited for takes so long at most. */
static struct connection open_to(int port, int patience_ms)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    const struct timeval patience = {.tv_sec = patience_ms / 1000,
                                     .tv_usec = patience_ms % 1000 * 1000};
    struct connection c = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(setsockopt(c.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    assert_int_equal(connect(c.fd, (const struct sockaddr *)(const void *)&to, sizeof(to)), 0);
    c.ssl = SSL_new(client);
    assert_int_equal(SSL_set_fd(c.ssl, c.fd), 1);
    return c;
}

static struct connection connect_to(int port)
{
    struct connection c = open_to(port, 20000);

    assert_int_equal(SSL_connect(c.ssl), 1);
    return c;
}

static void send_text(struct connection *c, const char *text)
{
    assert_true(SSL_write(c->ssl, text, (int)strlen(text)) > 0);
}

static void disconnect(struct connection *c)
{
    SSL_free(c->ssl);
    (void)close(c->fd);
}

/* Reads until the server closes; the status, 0 where it said nothing. */
static int read_response(struct connection *c)
{
    size_t n = 0;
    uint64_t status;
    int got;

    while (n < RESPONSE_MAX - 1 &&
           (got = SSL_read(c->ssl, response + n, (int)(RESPONSE_MAX - 1 - n))) > 0)
        n += (size_t)got;
    response[n] = '\0';
    if (n < 12 || !strv_parse_u64(strv_make(response + 9, 3), 999, &status))
        return 0;
    return (int)status;
}

static void write_request(struct connection *c, const char *method, const char *path,
                          const char *headers)
{
    char *request =
        xasprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n", method,
                  path, headers);

    send_text(c, request);
    free(request);
}

static int fetch(const char *method, const char *path, const char *headers)
{
    struct connection c = connect_to(admin_port(admin));
    int status;

    write_request(&c, method, path, headers);
    status = read_response(&c);
    disconnect(&c);
    return status;
}

static const char *bearer(void)
{
    static char header[256];

    (void)snprintf(header, sizeof(header), "Authorization: Bearer %s\r\n", token);
    return header;
}

static const char *body(void)
{
    const char *end = strstr(response, "\r\n\r\n");

    assert_non_null(end);
    return end + 4;
}

/* ---- set-up
 * --------------------------------------------------------------------------------------- */

static void read_token(void)
{
    FILE *file = fopen(token_path, "r");

    assert_non_null(file);
    assert_non_null(fgets(token, sizeof(token), file));
    token[strcspn(token, "\n")] = '\0';
    (void)fclose(file);
}

static const struct admin_sources sources = {
    .metrics = give_metrics,
    .ready = give_ready,
    .config_ref = ref,
    .config_unref = unref,
    .counters = read_counters,
    .catch_up = catch_up,
    .arg = &config,
};

static int setup(void **state)
{
    static const struct limit_def def = {.name = "month",
                                         .per = {{"team", 4}},
                                         .n_per = 1,
                                         .unit = UNIT_USD,
                                         .limit = 2000000000,
                                         .period = PERIOD_MONTH};
    static char address[] = "127.0.0.1";
    struct record r;
    struct fail fail;

    (void)state;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)alarm(300); /* a failed test may leave a report held */
    (void)sem_init(&entered, 0, 0);
    (void)sem_init(&released, 0, 0);
    fixture_open(&f);
    r = fixture_record(clock_wall_us());
    r.subject.dim[DIM_TEAM] = STRV("search<b>");
    fixture_set_cost(&r, (money_int)1500000000 * ATTO_PER_NANO);
    fixture_add(&f, &r);
    fixture_flush(&f);
    (void)snprintf(certificate, sizeof(certificate), "%s/server.pem", f.dir);
    (void)snprintf(private_key, sizeof(private_key), "%s/server.key", f.dir);
    (void)snprintf(token_path, sizeof(token_path), "%s/made/admin.token", f.dir);
    make_certificate();
    config.proxy.certificate = certificate;
    config.proxy.private_key = private_key;
    config.admin.address = address;
    config.admin.token_file = token_path;
    config.ledger_path = f.path;
    config.zone = f.utc;
    config.limits = limit_set_new(&def, 1, f.utc);
    client = SSL_CTX_new(TLS_client_method());
    admin = admin_start(&sources, &fail);
    assert_non_null(admin);
    read_token();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    admin_stop(admin);
    assert_int_equal(held, 0);
    SSL_CTX_free(client);
    limit_set_free(config.limits);
    fixture_close(&f);
    return 0;
}

/* ---- tests
 * ------------------------------------------------------------------------------------------ */

static void test_token_is_made_secret(void **state)
{
    struct stat st;

    (void)state;
    assert_int_equal(stat(token_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(strlen(token), 64);
}

static void test_open_routes(void **state)
{
    (void)state;
    assert_int_equal(fetch("GET", "/healthz", ""), 200);
    assert_string_equal(body(), "ok\n");
    assert_int_equal(fetch("GET", "/readyz", ""), 200);
    is_ready = false;
    assert_int_equal(fetch("GET", "/readyz", ""), 503);
    assert_string_equal(body(), "draining\n");
    is_ready = true;
    assert_int_equal(fetch("GET", "/metrics", ""), 200);
    assert_non_null(strstr(body(), "# TYPE tollgate_requests_total counter\n"));
    assert_non_null(strstr(response, "Content-Type: text/plain; version=0.0.4"));
}

static void test_gauges_of_limits(void **state)
{
    (void)state;
    /* They are read by the other thread: soon after the start. */
    for (int i = 0; i < 100; i++) {
        assert_int_equal(fetch("GET", "/metrics", ""), 200);
        if (strstr(body(), "tollgate_limit_spent{limit=\"month\",scope=\"team=search\","
                           "unit=\"usd\"} 1.5\n"))
            return;
    }
    fail();
}

static void test_token_is_asked_for(void **state)
{
    static const char *const paths[] = {"/api/v1/reports",
                                        "/api/v1/reports/spend",
                                        "/api/v1/reports/none",
                                        "/none",
                                        "/metrics/",
                                        "/spend/"};
    char basic[512], plain[256], coded[400];

    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        assert_int_equal(fetch("GET", paths[i], ""), 401);
        assert_non_null(strstr(response, "WWW-Authenticate: Basic realm=\"tollgate\""));
        assert_int_equal(fetch("GET", paths[i], "Authorization: Bearer x\r\n"), 401);
        assert_int_equal(fetch("GET", paths[i], "Authorization: Bearer \r\n"), 401);
        assert_int_equal(fetch("GET", paths[i], "Authorization: Basic !!!!\r\n"), 401);
        assert_int_equal(fetch("GET", paths[i], "Authorization: Basic Og==\r\n"), 401);
        assert_null(strstr(response, token));
    }
    assert_int_equal(fetch("GET", "/api/v1/reports", bearer()), 200);
    (void)snprintf(plain, sizeof(plain), "anyone:%s", token);
    (void)EVP_EncodeBlock((unsigned char *)coded, (const unsigned char *)plain,
                          (int)strlen(plain));
    (void)snprintf(basic, sizeof(basic), "Authorization: Basic %s\r\n", coded);
    assert_int_equal(fetch("GET", "/api/v1/reports", basic), 200);
    (void)snprintf(basic, sizeof(basic), "Authorization: bearer  %s\r\n", token);
    assert_int_equal(fetch("GET", "/api/v1/reports", basic), 200);
    token[0] ^= 1;
    assert_int_equal(fetch("GET", "/api/v1/reports", bearer()), 401);
    token[0] ^= 1;
}

static void test_reports_as_pages_allow_no_script(void **state)
{
    (void)state;
    assert_int_equal(fetch("GET", "/api/v1/reports/spend?format=html&by=team", bearer()), 200);
    assert_non_null(strstr(response, "Content-Security-Policy: default-src 'none'; style-src "
                                     "'sha256-"));
    assert_non_null(strstr(response, "X-Content-Type-Options: nosniff\r\n"));
    assert_non_null(strstr(response, "Cache-Control: no-store\r\n"));
    assert_null(strstr(body(), "<script"));
    assert_non_null(strstr(body(), "search&lt;b&gt;"));
}

/* ---- the dashboard: pages, signing in, sessions ---- */

static int post(const char *path, const char *headers, const char *form)
{
    struct connection c = connect_to(admin_port(admin));
    char *request = xasprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                              "Content-Type: application/x-www-form-urlencoded\r\n"
                              "Content-Length: %zu\r\n%s\r\n%s",
                              path, strlen(form), headers, form);
    int status;

    send_text(&c, request);
    free(request);
    status = read_response(&c);
    disconnect(&c);
    return status;
}

/* The Cookie header of who has just signed in. */
static const char *cookie(void)
{
    static char header[512];
    const char *set = strstr(response, "Set-Cookie: __Host-tollgate=");

    assert_non_null(set);
    set += sizeof("Set-Cookie: ") - 1;
    (void)snprintf(header, sizeof(header), "Cookie: a=b; %.*s\r\n", (int)strcspn(set, ";"),
                   set);
    return header;
}

static int sign_in(const char *path)
{
    char form[256];

    (void)snprintf(form, sizeof(form), "token=%s", token);
    return post(path, "", form);
}

static void test_pages_and_files(void **state)
{
    static const char policy[] =
        "Content-Security-Policy: default-src 'none'; script-src 'self'; "
        "style-src 'self'; ";
    char *tag, *end, *header;

    (void)state;
    assert_int_equal(fetch("GET", "/spend?by=team", ""), 303);
    assert_non_null(strstr(response, "Location: /login?next=%2Fspend%3Fby%3Dteam\r\n"));
    assert_int_equal(fetch("GET", "/", bearer()), 200);
    assert_non_null(strstr(response, policy));
    assert_null(strstr(response, "unsafe"));
    assert_non_null(strstr(body(), "/web/main.js"));
    assert_int_equal(fetch("GET", "/login", ""), 200);
    assert_non_null(strstr(response, policy));
    assert_null(strstr(body(), "role=\"alert\""));
    assert_int_equal(fetch("GET", "/web/chart.js", ""), 200);
    assert_int_equal(fetch("GET", "/web/style.css", ""), 200);
    assert_non_null(strstr(response, "Content-Type: text/css; charset=utf-8\r\n"));
    assert_non_null(strstr(response, "Cache-Control: no-cache\r\n"));
    tag = strstr(response, "ETag: ");
    assert_non_null(tag);
    end = strstr(tag, "\r\n");
    header = xasprintf("If-None-Match: %.*s\r\n", (int)(end - tag) - 6, tag + 6);
    assert_int_equal(fetch("GET", "/web/style.css", header), 304);
    assert_string_equal(body(), "");
    free(header);
    assert_int_equal(fetch("GET", "/web/none.js", ""), 401);
    assert_int_equal(fetch("GET", "/web/none.js", bearer()), 404);
    assert_int_equal(fetch("GET", "/web/../etc/passwd", bearer()), 404);
}

static void test_signing_in(void **state)
{
    static const char *const wrong[] = {"", "token=", "token=x", "tokn=y", "token", "=&=&%zz"};
    static const char *const away[] = {"//evil.example/",    "https://evil.example/",
                                       "/\\evil.example",    "/a%0d%0aSet-Cookie:%20b=c",
                                       "%2F%2Fevil.example", ""};
    char *path, *session;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(post("/login", "", wrong[i]), 401);
        assert_null(strstr(response, "Set-Cookie"));
        assert_null(strstr(response, "Basic"));
        assert_non_null(strstr(body(), "role=\"alert\""));
    }
    assert_int_equal(sign_in("/login?next=%2Fspend%3Fby%3Dteam"), 303);
    assert_non_null(strstr(response, "Location: /spend?by=team\r\n"));
    assert_non_null(strstr(response, "; Path=/; Secure; HttpOnly; SameSite=Strict\r\n"));
    assert_null(strstr(response, token));
    session = xstrdup(cookie());
    assert_int_equal(fetch("GET", "/", session), 200);
    assert_int_equal(fetch("GET", "/api/v1/reports/spend", session), 200);
    assert_int_equal(fetch("GET", "/login/session", session), 200);
    assert_string_equal(body(), "{\"signed_in\":true}\n");
    assert_int_equal(fetch("GET", "/login/session", ""), 200);
    assert_string_equal(body(), "{\"signed_in\":false}\n");
    for (size_t i = 0; i < sizeof(away) / sizeof(away[0]); i++) {
        path = xasprintf("/login?next=%s", away[i]);
        assert_int_equal(sign_in(path), 303);
        assert_non_null(strstr(response, "Location: /\r\n"));
        assert_null(strstr(response, "b=c"));
        free(path);
    }
    /* Another site's form is refused, whatever it knows. */
    assert_int_equal(post("/login", "Sec-Fetch-Site: cross-site\r\n", "token=x"), 403);
    assert_int_equal(post("/logout", "Sec-Fetch-Site: same-site\r\n", ""), 403);
    assert_int_equal(post("/logout", session, ""), 303);
    assert_non_null(strstr(response, "Set-Cookie: __Host-tollgate=; Max-Age=0"));
    free(session);
}

static void test_sessions_are_not_forged(void **state)
{
    char *session, *digit;

    (void)state;
    assert_int_equal(sign_in("/login"), 303);
    session = xstrdup(cookie());
    digit = strchr(strstr(session, "tollgate="), '=') + 1;
    *digit = *digit == '9' ? '8' : (char)(*digit + 1); /* a later end */
    assert_int_equal(fetch("GET", "/api/v1/reports", session), 401);
    free(session);
    assert_int_equal(sign_in("/login"), 303);
    session = xstrdup(cookie());
    digit = strchr(session, '.') + 1;
    *digit = *digit == 'a' ? 'b' : 'a';
    assert_int_equal(fetch("GET", "/api/v1/reports", session), 401);
    free(session);
    assert_int_equal(fetch("GET", "/api/v1/reports", "Cookie: __Host-tollgate=\r\n"), 401);
    assert_int_equal(fetch("GET", "/api/v1/reports", "Cookie: __Host-tollgate=.\r\n"), 401);
    assert_int_equal(fetch("GET", "/api/v1/reports", "Cookie: ;;=; __Host-tollgate\r\n"), 401);
}

static void test_sessions_end(void **state)
{
    static const unsigned char key[SHA256_BYTES] = {1}, other[SHA256_BYTES] = {2};
    const int64_t now = INT64_C(1795000000) * 1000000, day = INT64_C(86400) * 1000000;
    const int64_t length = (int64_t)ADMIN_SESSION_S * 1000000;
    char set[ADMIN_COOKIE_TEXT];
    struct strv value;

    (void)state;
    admin_session_cookie(key, now, set);
    value = strv_head(strv_z(set), strv_find(strv_z(set), ';'));
    assert_true(admin_session_matches(key, now, value));
    assert_true(admin_session_matches(key, now + length - 1000000, value));
    assert_false(admin_session_matches(key, now + length, value));
    assert_false(admin_session_matches(key, now + day, value));
    assert_false(admin_session_matches(other, now, value));
}

/* Browsers are sent to the sign-in page; the dashboard's own fetches get no dialogue. */
static void test_strangers_with_a_browser(void **state)
{
    (void)state;
    assert_int_equal(
        fetch("GET", "/api/v1/reports/spend?format=html", "Sec-Fetch-Mode: navigate\r\n"), 303);
    assert_non_null(strstr(
        response, "Location: /login?next=%2Fapi%2Fv1%2Freports%2Fspend%3Fformat%3Dhtml\r\n"));
    assert_int_equal(fetch("GET", "/api/v1/reports/spend", "Sec-Fetch-Mode: cors\r\n"), 401);
    assert_null(strstr(response, "Basic"));
    assert_non_null(strstr(response, "WWW-Authenticate: Bearer realm=\"tollgate\"\r\n"));
}

static void test_methods(void **state)
{
    static const char *const methods[] = {"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"};

    (void)state;
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        assert_int_equal(fetch(methods[i], "/healthz", "Content-Length: 0\r\n"), 405);
        assert_non_null(strstr(response, "Allow: GET, HEAD\r\n"));
    }
    assert_int_equal(fetch("HEAD", "/healthz", ""), 200);
    assert_non_null(strstr(response, "Content-Length: 3\r\n"));
    assert_string_equal(body(), "");
    assert_int_equal(fetch("HEAD", "/api/v1/reports/spend", bearer()), 200);
    assert_string_equal(body(), "");
}

static void test_reports(void **state)
{
    cJSON *json;

    (void)state;
    assert_int_equal(fetch("GET", "/api/v1/reports/spend?by=team&last=7d", bearer()), 200);
    assert_non_null(strstr(response, "Content-Type: application/json\r\n"));
    json = cJSON_Parse(body());
    assert_non_null(json);
    assert_string_equal(member(member(json, "total"), "cost_usd")->valuestring, "1.5");
    assert_string_equal(
        member(cJSON_GetArrayItem(member(json, "rows"), 0), "team")->valuestring, "search<b>");
    cJSON_Delete(json);
    assert_int_equal(fetch("GET", "/api/v1/reports/spend?format=csv", bearer()), 200);
    assert_non_null(strstr(response, "Content-Type: text/csv"));
    assert_int_equal(fetch("GET", "/api/v1/reports/budgets", bearer()), 200);
    assert_non_null(strstr(body(), "\"scope\":\"team=search\""));
    assert_int_equal(fetch("GET", "/api/v1/reports", bearer()), 200);
    assert_non_null(
        strstr(body(), "{\"name\":\"spend\",\"title\":\"Spend\"}"));
    assert_int_equal(fetch("GET", "/api/v1/reports/spned", bearer()), 404);
    assert_int_equal(fetch("GET", "/api/v1/reports/", bearer()), 404);
    assert_int_equal(fetch("GET", "/api/v1/reports/rate-card", bearer()), 200);
    assert_int_equal(fetch("GET", "/api/v1/reports/spend?grian=day", bearer()), 400);
    assert_non_null(strstr(body(), "the nearest is \\\"grain\\\""));
    assert_int_equal(fetch("GET", "/api/v1/reports/spend?sort=nothing", bearer()), 400);
}

static void test_large_requests_are_refused(void **state)
{
    char *large = xmalloc(ADMIN_HEAD_MAX_BYTES + 64);
    int status;

    (void)state;
    memcpy(large, "X: ", 3);
    memset(large + 3, 'x', ADMIN_HEAD_MAX_BYTES);
    memcpy(large + 3 + ADMIN_HEAD_MAX_BYTES, "\r\n", 3);
    status = fetch("GET", "/healthz", large);
    assert_true(status == 0 || (status >= 400 && status < 500));
    status = fetch("POST", "/healthz", "Content-Length: 100000000\r\n");
    assert_true(status == 0 || (status >= 400 && status < 500));
    free(large);
}

/* While a report hangs, health and metrics answer, and what is over the queue's length is
 * refused. */
static void test_reports_hold_up_nothing_else(void **state)
{
    struct connection waiting[ADMIN_QUEUE_MAX];

    (void)state;
    hold_reports = true;
    for (size_t i = 0; i < ADMIN_QUEUE_MAX; i++) {
        waiting[i] = connect_to(admin_port(admin));
        write_request(&waiting[i], "GET", "/api/v1/reports/spend", bearer());
        if (i == 0)
            (void)sem_wait(&entered);
        /* One is answered on this thread behind it: the request above is in the queue by then.
         */
        assert_int_equal(fetch("GET", "/healthz", ""), 200);
    }
    assert_int_equal(fetch("GET", "/metrics", ""), 200);
    assert_int_equal(fetch("GET", "/api/v1/reports/spend", bearer()), 503);
    assert_non_null(strstr(response, "Retry-After: 1\r\n"));
    disconnect(&waiting[3]); /* leaves while its report waits */
    hold_reports = false;
    (void)sem_post(&released);
    for (size_t i = 0; i < ADMIN_QUEUE_MAX; i++) {
        if (i == 3)
            continue;
        assert_int_equal(read_response(&waiting[i]), 200);
        disconnect(&waiting[i]);
    }
    assert_int_equal(fetch("GET", "/api/v1/reports/spend", bearer()), 200);
}

static void test_reload_takes_a_new_token(void **state)
{
    char old[128];
    FILE *file;
    struct fail fail;

    (void)state;
    memcpy(old, token, sizeof(old));
    file = fopen(token_path, "w");
    assert_true(file && fputs("  0123456789abcdefXYZ \n", file) >= 0 && fclose(file) == 0);
    assert_int_equal(admin_reload(admin, &fail), RC_OK);
    assert_int_equal(fetch("GET", "/api/v1/reports", bearer()), 401);
    read_token();
    memcpy(token, "0123456789abcdefXYZ", 20);
    assert_int_equal(fetch("GET", "/api/v1/reports", bearer()), 200);
    /* A faulty one is refused, and the last good one stays. */
    file = fopen(token_path, "w");
    assert_true(file && fputs("short\n", file) >= 0 && fclose(file) == 0);
    assert_int_equal(admin_reload(admin, &fail), RC_BAD);
    assert_int_equal(fetch("GET", "/api/v1/reports", bearer()), 200);
    config.proxy.certificate = token_path;
    assert_int_equal(admin_reload(admin, &fail), RC_TLS);
    config.proxy.certificate = certificate;
    assert_int_equal(fetch("GET", "/api/v1/reports", bearer()), 200);
    file = fopen(token_path, "w");
    assert_true(file && fprintf(file, "%s\n", old) > 0 && fclose(file) == 0);
    assert_int_equal(admin_reload(admin, &fail), RC_OK);
    memcpy(token, old, sizeof(old));
    assert_int_equal(fetch("GET", "/api/v1/reports", bearer()), 200);
}

/* More connections than are served wait, and are served when others go. */
static void test_connections_are_bounded(void **state)
{
    enum { WAITS_MS = 500 };
    struct connection *many = xcalloc(ADMIN_CONNECTIONS_MAX, sizeof(*many)), waits;

    (void)state;
    for (size_t i = 0; i < ADMIN_CONNECTIONS_MAX - 1; i++)
        many[i] = connect_to(admin_port(admin));
    assert_int_equal(fetch("GET", "/healthz", ""), 200);
    many[ADMIN_CONNECTIONS_MAX - 1] = connect_to(admin_port(admin));
    waits = open_to(admin_port(admin), WAITS_MS);
    assert_int_not_equal(SSL_connect(waits.ssl), 1);
    disconnect(&waits);
    for (size_t i = 0; i < ADMIN_CONNECTIONS_MAX; i++)
        disconnect(&many[i]);
    assert_int_equal(fetch("GET", "/healthz", ""), 200);
    free(many);
}

/* Stopping while reports wait leaves nothing behind (the sanitizer looks). */
static void test_stop_with_reports_waiting(void **state)
{
    struct connection c[3];
    struct fail fail;
    pthread_t thread;

    (void)state;
    hold_reports = true;
    for (size_t i = 0; i < 3; i++) {
        c[i] = connect_to(admin_port(admin));
        write_request(&c[i], "GET", "/api/v1/reports/spend", bearer());
        if (i == 0)
            (void)sem_wait(&entered);
    }
    assert_int_equal(fetch("GET", "/healthz", ""), 200);
    hold_reports = false;
    assert_int_equal(
        pthread_create(&thread, NULL, (void *(*)(void *))(void (*)(void))admin_stop, admin), 0);
    (void)sem_post(&released);
    assert_int_equal(pthread_join(thread, NULL), 0);
    for (size_t i = 0; i < 3; i++)
        disconnect(&c[i]);
    admin = admin_start(&sources, &fail);
    assert_non_null(admin);
    assert_int_equal(fetch("GET", "/api/v1/reports", bearer()), 200); /* the token was kept */
}

static void test_start_fails_with_a_reason(void **state)
{
    struct config before = config;
    struct fail fail;
    char text[256];

    (void)state;
    config.admin.port = admin_port(admin); /* taken */
    assert_null(admin_start(&sources, &fail));
    fail_text(&fail, text, sizeof(text));
    assert_non_null(strstr(text, "bind the admin listener"));
    config = before;
    config.proxy.private_key = token_path;
    assert_null(admin_start(&sources, &fail));
    assert_int_equal(fail.rc, RC_TLS);
    config = before;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token_is_made_secret),
        cmocka_unit_test(test_open_routes),
        cmocka_unit_test(test_gauges_of_limits),
        cmocka_unit_test(test_token_is_asked_for),
        cmocka_unit_test(test_reports_as_pages_allow_no_script),
        cmocka_unit_test(test_pages_and_files),
        cmocka_unit_test(test_signing_in),
        cmocka_unit_test(test_sessions_are_not_forged),
        cmocka_unit_test(test_sessions_end),
        cmocka_unit_test(test_strangers_with_a_browser),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_reports),
        cmocka_unit_test(test_large_requests_are_refused),
        cmocka_unit_test(test_reports_hold_up_nothing_else),
        cmocka_unit_test(test_reload_takes_a_new_token),
        cmocka_unit_test(test_connections_are_bounded),
        cmocka_unit_test(test_stop_with_reports_waiting),
        cmocka_unit_test(test_start_fails_with_a_reason),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
