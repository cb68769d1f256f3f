/*
 * alert_burst.h - of many alerts that come at once for one channel, people get the first ones
 * and one message that names the others.
 *
 * Programs (webhooks) and PagerDuty, which opens and closes an incident for each, get all.
 * Digests are never put together: each is what its receiver asked for.
 */
#ifndef PROXY_ALERT_BURST_H
#define PROXY_ALERT_BURST_H

#include "proxy/alert_store.h"

enum { ALERT_BURST_MAX = 20 }; /* told one by one, of a look, for a channel of people */

/* Of one channel and one look; starts zeroed. */
struct alert_burst {
    unsigned n;                   /* told one by one */
    unsigned n_others, n_listed;  /* in the message of others; those of them that it names */
    size_t list_bytes;            /* of its text, with the names */
    char id[UUID_TEXT];           /* the message's */
};

/*
 * Puts the alert into the store's outbox, or into the message of others that is there since
 * this look.  due_us: when it may be told (0: at once); the message is due when the first of
 * its alerts is.  No delivery may be taken out of the store between two calls of one look.
 */
void alert_burst_put(struct alert_burst *b, struct alert_store *s,
                     const struct alert_channel *channel, const struct alert *a,
                     bool is_fallback, int64_t due_us, int64_t now_us);

#endif
