/*
 * fetch.h - one small HTTP exchange that may block: for threads that fetch tokens, never for
 * a worker.  By libcurl: TLS verified, no redirects, bounded in time and size.
 */
#ifndef PROXY_FETCH_H
#define PROXY_FETCH_H

#include <stdatomic.h>

#include "base/buf.h"
#include "base/rc.h"
#include "base/strv.h"

enum {
    FETCH_TIMEOUT_MS = 10000,
    FETCH_ANSWER_BYTES = 64 << 10,
    FETCH_WHY_BYTES = 256,
};

struct fetch {
    const char *url;         /* https:// alone */
    const char *ca_file;     /* NULL: the system's */
    struct strv form;        /* posted, application/x-www-form-urlencoded */
    const atomic_bool *stop; /* gives up when it becomes true */
};

/*
 * Posts the form and appends the answer's body to out.  RC_OK with any *status; RC_IO,
 * RC_TIMEOUT, RC_TLS or RC_LIMIT with a reason in why, which holds nothing of the form.
 */
enum rc fetch_post(const struct fetch *f, int *status, struct buf *out,
                   char why[FETCH_WHY_BYTES]) RC_MUST;

#endif
