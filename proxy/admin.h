/*
 * admin.h - the admin listener: health, metrics, reports, over HTTPS.
 *
 *   GET /healthz, /readyz, /metrics    no token
 *   GET /, /spend, /budgets, ...       the dashboard; GET /web/NAME its files
 *   GET, POST /login; POST /logout     signing in with the token, and out
 *   GET /api/v1/reports                names
 *   GET /api/v1/reports/NAME?words     one report
 *
 * Reports and the dashboard need the token of token_file: as `Authorization: Bearer`, as
 * the password of HTTP Basic, or by the cookie of who signed in.  One thread serves connections; another runs reports,
 * from a bounded queue, so that health and metrics wait for none.  Nothing here is on
 * the path of a proxied request.
 */
#ifndef PROXY_ADMIN_H
#define PROXY_ADMIN_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/rc.h"
#include "metering/limits/limit.h"
#include "proxy/config.h"

enum {
    ADMIN_CONNECTIONS_MAX = 256,
    ADMIN_QUEUE_MAX = 16,            /* reports waiting or running; more get 503 */
    ADMIN_HEAD_MAX_BYTES = 64 << 10, /* of a request: links to lines may be long */
    ADMIN_BODY_MAX_BYTES = 8 << 10,  /* the sign-in form alone has one */
    ADMIN_METRICS_MAX_BYTES = 8 << 20,
    ADMIN_REPORT_MAX_BYTES = 64 << 20,
    ADMIN_IDLE_S = 30,     /* a client that neither sends nor reads */
    ADMIN_COUNTERS_S = 10, /* how often the gauges of limits are read anew */
    ADMIN_TOKEN_MIN_BYTES = 16,
};

/* What the listener shows, from the rest of the process; arg is handed to each. */
struct admin_sources {
    /* Appends metrics_render's text. Admin thread: quick, no I/O. */
    void (*metrics)(struct buf *out, void *arg);
    /* May requests be sent here? If not, appends why. Admin thread: quick, no I/O. */
    bool (*ready)(struct buf *why, void *arg);
    /*
     * The configuration of now, which stays until config_unref is given *held (a
     * generation, a counted object).  Any thread of this module.
     */
    const struct config *(*config_ref)(void **held, void *arg);
    void (*config_unref)(void *held, void *arg);
    /* limit_read for config->limits; may block a bounded time. Report thread. NULL: none. */
    enum rc (*counters)(const struct config *config, limit_counter_fn *fn, void *fn_arg,
                        void *arg);
    /* ledger_catch_up; may block. Report thread. NULL: none. */
    void (*catch_up)(void *arg);
    void *arg;
};

struct admin;

/*
 * Binds, makes or reads the token, starts both threads.  Address, port,
 * certificate (the proxy's where the admin has none) and token file are those of the
 * configuration at start.  NULL with fail.
 */
struct admin *admin_start(const struct admin_sources *sources, struct fail *fail);
/* The real port. */
int admin_port(const struct admin *a);
/*
 * Takes certificate and token of the configuration of now for new connections.  On
 * failure the old ones stay.
 */
enum rc admin_reload(struct admin *a, struct fail *fail) RC_MUST;
/* Ends both threads; waits for a running report. NULL is legal. */
void admin_stop(struct admin *a);

#endif
