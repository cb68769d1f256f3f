/*
 * admin_int.h - what the files of the admin listener share.
 *
 * admin.c: threads, listener, TLS.  admin_http.c: routes and answers.  admin_jobs.c:
 * the report thread and its queue.  admin_token.c: the token.  admin_session.c: the
 * cookie of who has given it.  admin_web.c: the dashboard's pages and files.
 */
#ifndef PROXY_ADMIN_INT_H
#define PROXY_ADMIN_INT_H

#include <pthread.h>
#include <stdint.h>

#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <openssl/ssl.h>

#include "base/digest.h"
#include "base/list.h"
#include "metering/ledger/ledger_read.h"
#include "proxy/admin.h"
#include "proxy/metrics.h"
#include "reports/params.h"

/* A report under way.  The admin thread owns it but while it is queued or runs. */
struct admin_job {
    struct list_node node;
    struct evhttp_request *request; /* NULL: the client has left */
    bool is_counters;               /* no report: the gauges of limits */
    struct strv name;               /* in params.arena */
    struct report_params params;
    struct buf out, error;
    enum rc rc;
};

struct admin_gauge {
    size_t limit;
    char *scope;
    uint64_t spent, reserved;
    int64_t end_us;
};

/* The limits' counters as last read, with the configuration they belong to. */
struct admin_gauges {
    void *held;
    const struct config *config;
    struct admin_gauge *at;
    size_t n, total; /* kept, seen */
    int64_t at_us;   /* clock_mono_us of the reading; 0: none yet */
};

struct admin {
    struct admin_sources sources;
    int port;

    /* admin thread */
    pthread_t thread;
    struct event_base *base;
    struct evhttp *http;
    struct evconnlistener *listener;
    struct event *wake, *counters_timer;
    size_t connections;
    char policy[160]; /* content security policy */

    /* report thread */
    pthread_t jobs_thread;
    pthread_cond_t jobs_wake;
    /* Kept from report to report: texts and what else never changes is read once. Or NULL. */
    struct ledger_reader *reader;
    char *reader_path;
    int64_t reader_used_us;

    int wake_fd;

    pthread_mutex_t lock; /* of all below; held for no I/O */
    struct list_node queue, done;
    size_t n_jobs; /* reports queued, running or done and not answered */
    bool counters_queued;
    bool stopping;
    struct admin_gauges gauges;
    SSL_CTX *tls;
    unsigned char token[SHA256_BYTES]; /* SHA-256 of it */
};

/* How long an answer may be kept: not at all, or as long as its ETag is the same. */
enum admin_keep { ADMIN_NO_STORE = 0, ADMIN_KEEP };

enum {
    ADMIN_SESSION_S = 12 * 3600, /* from signing in to having to again */
    ADMIN_COOKIE_TEXT = 256,
};

/*
 * Sends body (taken: it is empty after) with the headers that every answer has.  The head
 * says its length also where it is not sent (HEAD).
 */
void admin_answer(struct evhttp_request *request, int code, const char *reason,
                  const char *type, const char *policy, enum admin_keep keep, struct buf *body);
/* Sends {"error":{"code":..,"message":..}}. */
void admin_answer_error(const struct admin *a, struct evhttp_request *request, int status,
                        const char *reason, const char *code, struct strv message);
/* Does the request carry the token, or a session's cookie? */
bool admin_is_authorized(struct admin *a, struct evhttp_request *request);

/* ---- the dashboard; false: the path is not of it, and nothing was answered */
bool admin_web_get(struct admin *a, struct evhttp_request *request, struct strv path);
bool admin_web_post(struct admin *a, struct evhttp_request *request, struct strv path,
                    const char *query);
/* Sends a browser to the sign-in page, and from there to what it asked for. */
void admin_web_ask(struct evhttp_request *request);

/* Routes; arg is the admin. */
void admin_on_request(struct evhttp_request *request, void *arg);
/* A report ended: answers its request, frees the job. */
void admin_answer_job(struct admin *a, struct admin_job *job);
/* The content security policy of pages. */
void admin_policy(char *out, size_t size);

/* Queues a report; false where the queue is full (the job is still the caller's). */
bool admin_jobs_add(struct admin *a, struct admin_job *job);
/* Queues a reading of the limits' counters, where none is queued. */
void admin_jobs_add_counters(struct admin *a);
/* The report thread. */
void *admin_jobs_run(void *admin);
void admin_job_free(struct admin_job *job);
void admin_gauges_release(struct admin *a, struct admin_gauges *g);
/* Appends the gauges as last read. */
enum rc admin_gauges_render(struct admin *a, struct buf *out) RC_MUST;

/* Reads the token of path, or makes the file (mode 0600); gives its SHA-256. */
enum rc admin_token_load(const char *path, unsigned char out[SHA256_BYTES],
                         struct fail *fail) RC_MUST;
/* The SHA-256 of the token of now. Any thread. */
void admin_token_now(struct admin *a, unsigned char out[SHA256_BYTES]);
/* Is given the token? In a time that tells nothing of it. */
bool admin_token_is(const unsigned char token[SHA256_BYTES], struct strv given);
/* Does the value of an Authorization header carry the token? */
bool admin_token_matches(const unsigned char token[SHA256_BYTES], struct strv authorization);

/* A Set-Cookie value that begins a session at now, and one that ends any. */
void admin_session_cookie(const unsigned char token[SHA256_BYTES], int64_t now_us,
                          char out[ADMIN_COOKIE_TEXT]);
const char *admin_session_end(void);
/* Does the value of a Cookie header carry a session that goes on at now? */
bool admin_session_matches(const unsigned char token[SHA256_BYTES], int64_t now_us,
                           struct strv cookies);

#endif
