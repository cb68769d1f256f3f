/*
 * alert_send.h - delivers alerts by HTTPS and SMTP (libcurl), several at once.
 *
 * Blocks its thread for at most ALERT_SEND_MS; never on a worker.  No redirect is
 * followed, and an address of this machine or a private network is refused unless the
 * channel allows it.  What goes wrong is told without URL, key or password.
 */
#ifndef PROXY_ALERT_SEND_H
#define PROXY_ALERT_SEND_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/alert.h"

enum {
    ALERT_SEND_MS = 10000,
    ALERT_CONNECT_MS = 5000,
    ALERT_SEND_MOST = 16,    /* at once */
    ALERT_ANSWER_MAX = 4096, /* of an answer's body is read */
    ALERT_RETRY_AFTER_MAX_S = 3600,
};

enum alert_verdict { ALERT_SENT = 0, ALERT_RETRY, ALERT_REFUSED };

struct alert_delivery {
    const struct alert *alert;
    const struct alert_channel *channel;
    const char *node;     /* who tells it */
    bool without_refused; /* e-mail: addresses that the server refuses are left out */
    /* out */
    enum alert_verdict verdict;
    int retry_after_s; /* as the receiver said; 0: it did not */
    bool some_refused; /* e-mail, ALERT_RETRY: without those it may take it */
    char why[160];     /* of what was not sent */
};

/* At most ALERT_SEND_MOST. False: libcurl cannot be loaded, and nothing was tried. */
bool alert_send(struct alert_delivery *deliveries, size_t n);

/* "t=UNIX,v1=HEX[,v1=HEX]": HMAC-SHA-256 of "UNIX.BODY" by each secret that is there. */
void alert_signature(const struct alert_channel *channel, int64_t unix_s, struct strv body,
                     char out[256]);

#endif
