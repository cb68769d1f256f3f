/*
 * config_draft.h - sections as they are read, before they are checked and compiled.
 *
 * A field whose meaning needs other sections (a limit's upstream, a rule's model)
 * is kept as its JSON value and read when those are there.  Shared by the tables
 * (config_table.c) and the readers (config_*.c) only.
 */
#ifndef PROXY_CONFIG_DRAFT_H
#define PROXY_CONFIG_DRAFT_H

#include "proxy/config_fields.h"

/* A whole file: the loader (first, so that it leads to the draft) and what it kept. */
struct config_draft {
    struct config_loader l;
    const cJSON *certificates, *timezone, *tags, *upstreams, *keys, *limits, *prices, *alerts;
};

struct tags_draft {
    enum on_missing on_missing;
    bool aliases;
    const cJSON *required, *defaults, *allowed;
};

struct upstream_draft {
    struct upstream_config up;
    char *protocol;
    char *base_url;
    char *provider;
    char *key_header;
    char *region;
    const cJSON *deployments;
};

struct key_draft {
    struct key_config key;
    char *hash;
    char *secret;
    char *certificate;
    char *expires;
    char *created;
    char *revoked;
    bool enabled;
    const cJSON *tags, *locked, *allowed, *models, *upstreams;
};

struct limit_draft {
    struct limit_def def;
    char *name;
    char *unit;
    char *window;
    enum limit_mode mode;
    int on_failure; /* -1: the counters' own */
    enum on_exhausted on_exhausted;
    enum limit_count count;
    const cJSON *match, *per, *limit, *alerts;
};

struct prices_draft {
    enum on_unpriced on_unpriced;
    const cJSON *book, *rules;
};

struct rule_draft {
    struct price_rule rule;
    char *upstream, *model, *provider, *tier; /* of match */
    char *from, *to, *known_at, *meters;
    const cJSON *match, *multiplier, *rates;
};

struct channel_draft {
    struct alert_channel channel;
    const cJSON *to;
};

struct route_draft {
    struct alert_route route;
    const cJSON *match, *events, *channels;
};

struct mute_draft {
    const cJSON *match, *events;
    enum alert_severity severity;
    char *until, *reason;
};

struct alerts_draft {
    struct alerts_config alerts;
    const cJSON *channels, *routes, *mutes, *fallback, *anomaly_usd;
    char *quiet_hours;
};

extern const struct config_section config_section_alerts;
extern const struct config_section config_section_certificate;
extern const struct config_section config_section_channel;
extern const struct config_section config_section_route;
extern const struct config_section config_section_mute;
extern const struct config_section config_section_tags;
extern const struct config_section config_section_upstream;
extern const struct config_section config_section_key;
extern const struct config_section config_section_limit;
extern const struct config_section config_section_prices;
extern const struct config_section config_section_rule;
extern const struct config_section config_section_rule_match;

/* Each reads its section of the draft into the configuration; faults are problems. */
void config_read_tags(struct config_loader *l, const cJSON *item);
void config_read_upstreams(struct config_loader *l, const cJSON *item);
/* What an upstream's credential is, and what its models are called there. */
void config_read_clouds(struct config_loader *l, const cJSON *item,
                        struct upstream_draft *draft);
/* listen.proxy: its pairs of certificate and key, and what clients must show. */
void config_read_certificates(struct config_loader *l, const cJSON *item);
/* counters: its URL, and TLS to it; item: the section, or NULL. */
void config_read_counters(struct config_loader *l, const cJSON *item);
/* The certificate of a key, as text of its form; empty with a problem where it is none. */
struct strv config_read_identity(struct config_loader *l, const cJSON *item, const char *text);
/* Two keys of one certificate are a problem.  After all lists of keys were read. */
void config_index_identities(struct config_loader *l);
/* Adds to config->keys; also the list of keys.json, with its own loader. */
void config_read_keys(struct config_loader *l, const cJSON *item);
void config_read_limits(struct config_loader *l, const cJSON *item);
/* Text that may match several. */
bool config_is_glob(struct strv text);
/* A match that no request can have is a problem (config_reach.c); item: of limits[].match. */
void config_check_match(struct config_loader *l, const cJSON *item, const struct limit_def *def);
/* So is a free tag that is nearly a dimension, and that nothing else names. */
void config_check_name(struct config_loader *l, const cJSON *item, struct strv name,
                       const char *where);
/* After limits: none may need lines that are deleted before its window ends. */
void config_check_kept(struct config_loader *l);
/* After limits. */
void config_read_alerts(struct config_loader *l, const cJSON *item);
/* Loads the book too; before upstreams, whose providers are looked up in it. */
void config_read_prices(struct config_loader *l, const cJSON *item);
/* Compiles limit_defs; again when the salt that hashes users has changed. */
void config_compile_limits(struct config *config);

/* { tag: value } to a list; names that the gateway sets itself are problems. */
bool config_read_tag_values(struct config_loader *l, const cJSON *item, const char *where,
                            struct tag_value **out, size_t *n);
/* { tag: [globs] } to a list. */
bool config_read_tag_allowed(struct config_loader *l, const cJSON *item, const char *where,
                             struct tag_allowed **out, size_t *n);
/* Reports text as a name of a tag that a caller or key may give. */
bool config_is_tag(struct config_loader *l, const cJSON *item, struct strv name,
                   const char *where);
/* Names and secrets that two keys share are problems. After all lists of keys were read. */
void config_check_keys(struct config_loader *l);
/* A rule for an upstream that is not there is a problem. After upstreams were read. */
void config_check_rules(struct config_loader *l, const cJSON *prices);
/* Is a name of an upstream (or, with globs, does any match)? */
bool config_has_upstream(const struct config *config, struct strv name);
/* The number of an array's elements, and a problem where item is none or has more than max. */
bool config_count_items(struct config_loader *l, const cJSON *item, const char *where,
                        size_t max, size_t *n);

#endif
