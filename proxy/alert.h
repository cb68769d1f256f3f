/*
 * alert.h - one alert: what happened, to whom it belongs, and how each kind of receiver
 * is told.
 *
 * Texts and fields are for people, facts for programs.  Plain data of bounded size, so that it can be kept on disk until it is delivered.
 * Holds no prompt, key or URL.
 */
#ifndef PROXY_ALERT_H
#define PROXY_ALERT_H

#include <stdbool.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "base/buf.h"
#include "base/rc.h"
#include "base/uuid7.h"
#include "pricing/money.h"
#include "proxy/config.h"
#include "reports/render.h"

enum {
    ALERT_KEY_MAX = 256, /* PagerDuty's bound is 255 */
    ALERT_TITLE_MAX = 150,
    ALERT_TEXT_MAX = 1024,
    ALERT_FIELDS_MAX = 10, /* Slack's bound of a section's fields */
    ALERT_FACTS_MAX = 12,
    ALERT_TAGS_MAX = 8,
    ALERT_NAME_MAX = 65,
    ALERT_VALUE_MAX = 260,
    ALERT_SHOWN_BYTES = 60, /* of a name in a title */
};

struct alert_pair {
    char name[ALERT_NAME_MAX];
    char value[ALERT_VALUE_MAX];
};

struct alert {
    char id[UUID_TEXT];
    char opened[UUID_TEXT]; /* of what is over: the id under which it was told; else empty */
    char key[ALERT_KEY_MAX]; /* the same for all that is told of one thing */
    char event[ALERT_NAME_MAX];
    enum alert_severity severity;
    bool resolved;
    int64_t at_us;
    char title[ALERT_TITLE_MAX];
    char text[ALERT_TEXT_MAX];
    struct alert_pair field[ALERT_FIELDS_MAX]; /* for people */
    size_t n_fields;
    /* For webhooks. Of a name that ends in "_percent" or "_count" a whole number; "_usd": a decimal. */
    struct alert_pair fact[ALERT_FACTS_MAX];
    size_t n_facts;
    struct alert_pair tag[ALERT_TAGS_MAX]; /* for routes */
    size_t n_tags;
};

/* A new one with an id and the time; key and texts are cut to their bounds. */
void alert_init(struct alert *a, const char *event, enum alert_severity severity,
                int64_t at_us);
/* Each cut at a character; what is too much is left out. */
void alert_field(struct alert *a, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void alert_fact(struct alert *a, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void alert_tag(struct alert *a, struct strv name, struct strv value);
/* "$12.30"; less than a cent to six places. */
void alert_dollars(money_int atto, char out[CELL_TEXT]);
/* The exact decimal. */
void alert_dollars_fact(struct alert *a, const char *name, money_int atto);
/* The first n bytes at most, and no half of a character. */
struct strv alert_head(struct strv text, size_t n);
/* As much of a name as titles have. */
static inline struct strv alert_shown(struct strv name)
{
    return alert_head(name, ALERT_SHOWN_BYTES);
}
void alert_text(char *to, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

const char *alert_severity_name(enum alert_severity severity);
/* True where the route takes it. */
bool alert_matches(const struct alert *a, const struct alert_route *route);

/* Whether a route, or the fallback, tells some channel of an anomaly of this team. */
bool alert_reaches(const struct alerts_config *c, struct strv team);

/* As JSON, for the disk; NULL or false where it is none of ours. */
cJSON *alert_to_json(const struct alert *a);
bool alert_from_json(const cJSON *json, struct alert *out);

/*
 * The body that a channel's kind wants; e-mail: the whole message.  node: who tells it, for people
 * with several gateways.  Appended to out.
 */
enum rc alert_body(const struct alert *a, const struct alert_channel *channel,
                   const char *node, struct buf *out) RC_MUST;

#endif
