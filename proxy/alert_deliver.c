/*
 * alert_deliver.c - what waits is tried until it arrives, or somebody else hears of it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/datetime.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "proxy/alert_send.h"
#include "proxy/alerts_int.h"

enum {
    ATTEMPTS_MAX = 6,   /* of a delivery: five more after the first, 5.7 minutes in all */
    THROTTLED_MAX = 20, /* where the receiver says when to come again */
    FIRST_PAUSE_S = 1,
    PAUSE_FACTOR = 4,
    LONGEST_PAUSE_S = 300, /* reached by the fifth, with what is random */
};

const struct alert_channel *alerts_channel(const struct config *config, struct strv name)
{
    for (size_t i = 0; i < config->alerts.n_channels; i++) {
        if (strv_eq(strv_z(config->alerts.channels[i].name), name))
            return &config->alerts.channels[i];
    }
    return NULL;
}

/* 1 s, 4 s, ... 5 min, a quarter more or less, so that many do not come back together. */
static int64_t pause_us(unsigned attempts)
{
    int64_t s = FIRST_PAUSE_S;
    unsigned char random;

    for (unsigned i = 1; i < attempts && s < LONGEST_PAUSE_S; i++)
        s *= PAUSE_FACTOR;
    s = s < LONGEST_PAUSE_S ? s : LONGEST_PAUSE_S;
    digest_random(&random, 1);
    return s * US_PER_SECOND * (192 + random / 2) / 256;
}

static void give_up(struct alerts *a, size_t at, const char *why)
{
    const struct alerts_config *c = &a->config->alerts;
    struct alert_waiting lost = a->store.waiting[at];
    struct alert told;

    alert_store_take(&a->store, at);
    log_line(LOG_ERROR, "alerts", "could not be delivered", "channel=%s event=%s reason=\"%s\"",
             lost.channel, lost.alert.event, why);
    if (lost.is_fallback)
        return;
    /* Somebody else hears of it, and that the channel is deaf. */
    alert_init(&told, "alerting.failed", SEVERITY_WARNING, a->now_us);
    alert_text(told.key, sizeof(told.key), "tollgate:channel:%.200s", lost.channel);
    alert_text(told.title, sizeof(told.title), "Channel %.60s cannot be reached", lost.channel);
    alert_text(told.text, sizeof(told.text), "%s. What was not delivered: %s", why,
               lost.alert.title);
    for (size_t i = 0; i < c->n_fallback; i++) {
        if (strv_eq(c->fallback[i], strv_z(lost.channel)))
            continue;
        alert_store_put(&a->store, c->fallback[i].p, &told, true, 0);
        alert_store_put(&a->store, c->fallback[i].p, &lost.alert, true, 0);
    }
}

static void settle_delivery(struct alerts *a, size_t at, const struct alert_delivery *d)
{
    struct alert_waiting *w = &a->store.waiting[at];
    uint64_t *counts = a->counts.by[d->channel->kind];

    if (d->verdict == ALERT_SENT) {
        counts[ALERT_COUNT_SENT]++;
        alert_store_take(&a->store, at);
        return;
    }
    w->attempts++;
    w->without_refused = w->without_refused || d->some_refused;
    a->store.dirty = true;
    if (d->verdict == ALERT_REFUSED ||
        w->attempts >= (d->retry_after_s ? (unsigned)THROTTLED_MAX : (unsigned)ATTEMPTS_MAX)) {
        counts[ALERT_COUNT_LOST]++;
        give_up(a, at, d->why);
        return;
    }
    counts[ALERT_COUNT_RETRIED]++;
    w->next_us = clock_wall_us() +
                 (d->retry_after_s ? d->retry_after_s * US_PER_SECOND : pause_us(w->attempts));
    log_line(LOG_WARN, "alerts", "not delivered yet",
             "channel=%s event=%s attempts=%u reason=\"%s\"", w->channel, w->alert.event,
             w->attempts, d->why);
}

/* It waits for the end of quiet hours: what comes later need not wait with it. */
static bool is_held_back(const struct alerts *a, const struct alert_waiting *w)
{
    return w->attempts == 0 && w->next_us > a->now_us;
}

/* One of each channel at a time, so that what is told stays in order. */
void alerts_deliver(struct alerts *a)
{
    struct alert_delivery due[ALERT_SEND_MOST];
    struct alert *copies = NULL;
    size_t place[ALERT_SEND_MOST], n = 0;

    for (size_t i = 0; i < a->store.n_waiting && n < ALERT_SEND_MOST; i++) {
        const struct alert_waiting *w = &a->store.waiting[i];
        const struct alert_channel *channel = alerts_channel(a->config, strv_z(w->channel));
        bool taken = false;
        for (size_t k = 0; k < i && !taken; k++)
            taken = strcmp(a->store.waiting[k].channel, w->channel) == 0 &&
                    !is_held_back(a, &a->store.waiting[k]);
        if (taken || w->next_us > a->now_us)
            continue;
        if (!channel) {
            log_line(LOG_WARN, "alerts", "dropped: its channel is no more", "channel=%s",
                     w->channel);
            alert_store_take(&a->store, i--);
            continue;
        }
        place[n] = i;
        due[n++] = (struct alert_delivery){.alert = &w->alert,
                                           .channel = channel,
                                           .node = a->config->node,
                                           .without_refused = w->without_refused};
    }
    if (n == 0)
        return;
    copies = xcalloc(n, sizeof(*copies));
    for (size_t i = 0; i < n; i++) {
        copies[i] = *due[i].alert;
        due[i].alert = &copies[i];
    }
    /* What is about to be tried is on the disk: a crash delivers it again, under its id. */
    if (alert_store_save(&a->store) != RC_OK)
        log_line(LOG_ERROR, "alerts", "could not keep what waits", "path=%s", a->store.path);
    if (alert_send(due, n)) {
        for (size_t i = n; i-- > 0;)
            settle_delivery(a, place[i], &due[i]);
    } /* else nothing could be tried, which is no receiver's fault: all of it waits */
    free(copies);
}
