#include "proxy/alert_burst.h"

#include <stdio.h>
#include <string.h>

/* For "and 4294967295 more" and its line. */
enum { MORE_BYTES = 32 };

static bool is_collected(const struct alert_channel *channel, const struct alert *a)
{
    return (channel->kind == ALERT_SLACK || channel->kind == ALERT_EMAIL) &&
           strcmp(a->event, "digest.weekly") != 0;
}

/* The message of others: where it waits, or NULL where the outbox was full. */
static struct alert_waiting *find(const struct alert_burst *b, struct alert_store *s)
{
    for (size_t i = s->n_waiting; i-- > 0;) {
        if (strcmp(s->waiting[i].alert.id, b->id) == 0)
            return &s->waiting[i];
    }
    return NULL;
}

static void begin(struct alert_burst *b, struct alert_store *s,
                  const struct alert_channel *channel, const struct alert *a, bool is_fallback,
                  int64_t due_us, int64_t now_us)
{
    struct alert others;

    alert_init(&others, "alerts.collapsed", a->severity, now_us);
    memcpy(b->id, others.id, sizeof(b->id));
    alert_text(others.key, sizeof(others.key), "tollgate:collapsed:%s", others.id);
    alert_text(others.text, sizeof(others.text), "Besides the %d alerts that came one by one:",
               ALERT_BURST_MAX);
    b->list_bytes = strlen(others.text);
    alert_store_put(s, channel->name, &others, is_fallback, due_us);
}

/* Names one more; what the text has no room for is counted. */
static void name(struct alert_burst *b, struct alert *others, const struct alert *a)
{
    char line[ALERT_TITLE_MAX + MORE_BYTES];
    size_t n;

    b->n_others++;
    alert_text(others->title, sizeof(others->title), "%u more alert%s at once", b->n_others,
               b->n_others == 1 ? "" : "s");
    alert_text(line, sizeof(line), "\n- %s%s", a->resolved ? "resolved: " : "", a->title);
    n = strlen(line);
    if (b->n_listed + 1 == b->n_others && b->list_bytes + n + MORE_BYTES <= sizeof(others->text)) {
        memcpy(others->text + b->list_bytes, line, n + 1);
        b->list_bytes += n;
        b->n_listed++;
    } else {
        (void)snprintf(others->text + b->list_bytes, MORE_BYTES, "\n- and %u more",
                       b->n_others - b->n_listed);
    }
}

void alert_burst_put(struct alert_burst *b, struct alert_store *s,
                     const struct alert_channel *channel, const struct alert *a,
                     bool is_fallback, int64_t due_us, int64_t now_us)
{
    struct alert_waiting *waiting;

    if (!is_collected(channel, a) || b->n < ALERT_BURST_MAX) {
        b->n += is_collected(channel, a);
        alert_store_put(s, channel->name, a, is_fallback, due_us);
        return;
    }
    if (b->n_others == 0)
        begin(b, s, channel, a, is_fallback, due_us, now_us);
    waiting = find(b, s);
    if (!waiting)
        return;
    if (a->severity > waiting->alert.severity)
        waiting->alert.severity = a->severity;
    if (due_us < waiting->next_us)
        waiting->next_us = due_us;
    name(b, &waiting->alert, a);
}
