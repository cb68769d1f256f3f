/*
 * alert.h - one alert: what happened, to whom it belongs, and how each kind of receiver
 * is told.
 *
 * Plain data of bounded size, so that it can be kept on disk until it is delivered.
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
#include "proxy/config.h"

enum {
    ALERT_KEY_MAX = 256, /* PagerDuty's bound is 255 */
    ALERT_TITLE_MAX = 150,
    ALERT_TEXT_MAX = 1024,
    ALERT_FIELDS_MAX = 10,
    ALERT_TAGS_MAX = 8,
    ALERT_NAME_MAX = 65,
    ALERT_VALUE_MAX = 260,
};

struct alert_pair {
    char name[ALERT_NAME_MAX];
    char value[ALERT_VALUE_MAX];
};

struct alert {
    char id[UUID_TEXT];
    char key[ALERT_KEY_MAX]; /* the same for all that is told of one thing */
    char event[ALERT_NAME_MAX];
    enum alert_severity severity;
    bool resolved;
    int64_t at_us;
    char title[ALERT_TITLE_MAX];
    char text[ALERT_TEXT_MAX];
    struct alert_pair field[ALERT_FIELDS_MAX]; /* for people */
    size_t n_fields;
    struct alert_pair tag[ALERT_TAGS_MAX]; /* for routes */
    size_t n_tags;
};

/* A new one with an id and the time; key and texts are cut to their bounds. */
void alert_init(struct alert *a, const char *event, enum alert_severity severity,
                int64_t at_us);
/* Each cut at a character; what is too much is left out. */
void alert_field(struct alert *a, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void alert_tag(struct alert *a, struct strv name, struct strv value);
void alert_text(char *to, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

const char *alert_severity_name(enum alert_severity severity);
/* True where the route takes it. */
bool alert_matches(const struct alert *a, const struct alert_route *route);

/* As JSON, for the disk; NULL or false where it is none of ours. */
cJSON *alert_to_json(const struct alert *a);
bool alert_from_json(const cJSON *json, struct alert *out);

/* The body that a channel's kind wants; e-mail: the whole message. Appended to out. */
enum rc alert_body(const struct alert *a, const struct alert_channel *channel,
                   struct buf *out) RC_MUST;

#endif
