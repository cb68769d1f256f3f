/*
 * config.h - the configuration: one JSON file, parsed to one immutable structure.
 *
 * Loaded whole or refused whole, every fault with file, line and mend.  Replaced as
 * a whole on reload (generation.h counts who holds it).  Described for users in
 * docs/configuration.md.
 */
#ifndef PROXY_CONFIG_H
#define PROXY_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/digest.h"
#include "base/problem.h"
#include "base/tag.h"
#include "base/fingerprint.h"
#include "base/zone.h"
#include "metering/ledger/ledger.h"
#include "metering/limits/limit.h"
#include "metering/usage/protocol.h"
#include "pricing/price.h"

/* Paths, resolved against the configuration file's folder. */
struct certificate_pair {
    char *certificate;
    char *private_key;
};

enum client_certificates {
    CLIENT_CERTIFICATES_OFF = 0, /* none is asked for */
    CLIENT_CERTIFICATES_OPTIONAL,
    CLIENT_CERTIFICATES_REQUIRED, /* without one there is no connection */
};

struct listen_config {
    char *address;
    int port;          /* 0: any free one */
    char *certificate; /* paths, resolved against the configuration file's folder */
    char *private_key;
    char *token_file; /* admin only */
    /* proxy only */
    struct certificate_pair *pairs; /* all, at least one; the first is who asks for no other */
    size_t n_pairs;
    char *client_ca; /* NULL: no client is asked for a certificate */
    enum client_certificates client_certificates; /* OFF where client_ca is NULL */
};

enum credentials { CREDENTIALS_PROXY = 0, CREDENTIALS_CLIENT };
/* AUTO: DRAIN where the provider bills all the same, else ABORT. */
enum client_gone { CLIENT_GONE_AUTO = 0, CLIENT_GONE_ABORT, CLIENT_GONE_DRAIN };

/* Requests are signed for AWS (sigv4.h). */
struct aws_config {
    char *access_key_id; /* NULL: they are not */
    char *secret_access_key;
    char *session_token; /* NULL: the key is no temporary one */
    char *region;
    char *service;
};

/* Access tokens of Google, got with a key file (tokens.h). */
struct google_config {
    char *credentials; /* path; NULL: none are */
    char *scope;
    char *ca_file; /* for where they are got; NULL: the system's */
};

/* Access tokens of Microsoft Entra, got with a client's secret (tokens.h). */
struct entra_config {
    char *tenant_id; /* NULL: none are */
    char *client_id;
    char *client_secret;
    char *scope;
    char *authority;
    char *ca_file;
};

/* What requests call a model and what it is: an Azure deployment, an ARN, an endpoint. */
struct deployment {
    struct strv name, model;
};

struct upstream_config {
    char *name;
    const struct protocol *protocol;
    char *scheme_host; /* "https://api.openai.com", for messages */
    bool tls;
    char *host; /* for DNS, SNI, name check and Host */
    int port;
    char *host_header; /* host, or host:port where the port is not the scheme's */
    char *base_path;   /* "" or "/v1": no slash at the end */
    char *api_key;     /* NULL: none is added */
    struct strv key_header; /* where the provider takes it; empty: as its protocol says */
    struct strv key_prefix;
    struct aws_config aws;
    struct google_config google;
    struct entra_config entra;
    struct strv region;             /* where models are served, for prices; empty: not known */
    struct deployment *deployments; /* in order of name */
    size_t n_deployments;
    enum credentials credentials;
    char *ca_file;   /* NULL: the system's */
    bool tls_verify; /* true; only `"tls_verify": false` turns it off, and check warns */
    int connect_timeout_ms, first_byte_timeout_ms, idle_timeout_ms;
    bool inject_usage;
    bool rewrite_urls; /* the provider's own addresses in answers lead to the gateway */
    enum client_gone on_client_gone;
    int drain_ms;             /* bound of a drain; 30000 */
    uint64_t drain_max_bytes; /* 16 MiB */
    bool allow_unknown_endpoints;
    struct strv provider; /* of the book, for prices */
    int max_connections;  /* per worker; 0: no bound */
    /* the provider's names for who pays, for exports and reconciliation; NULL: not told */
    char *billing_account, *billing_account_name, *sub_account, *sub_account_name;
};

/* A tag that a key or the configuration gives. */
struct tag_value {
    struct strv name; /* standing or free; valid */
    struct strv value;
    bool locked; /* keys only: no header changes it */
};

/* The only values that a tag may have. */
struct tag_allowed {
    struct strv name;
    struct strv *values; /* globs */
    size_t n_values;
};

struct key_config {
    char *name;
    unsigned char hash[SHA256_BYTES]; /* SHA-256 of the secret */
    struct strv certificate; /* a client certificate that stands for it; empty: none does */
    struct tag_value *tags;
    size_t n_tags;
    struct tag_allowed *allowed;
    size_t n_allowed;
    struct strv *models; /* globs; 0: any */
    size_t n_models;
    struct strv *upstreams; /* names; 0: any */
    size_t n_upstreams;
    int64_t expires_us; /* INT64_MAX: never */
    bool disabled;      /* revoked, or "enabled": false */
    const char *file;   /* where it stands: for messages, and to tell whose it is */
    int line;
};

enum on_missing { ON_MISSING_ACCEPT = 0, ON_MISSING_REJECT };
enum { KEEP_DAYS_MIN = 2, KEEP_DAYS_MAX = 36500 };
enum ledger_backend { LEDGER_SQLITE = 0 };
enum on_unpriced { ON_UNPRICED_FLAG = 0, ON_UNPRICED_REFUSE };

struct tags_config {
    enum on_missing on_missing; /* for the tags in required */
    struct strv *required;
    size_t n_required;
    struct tag_value *defaults;
    size_t n_defaults;
    struct tag_allowed *allowed;
    size_t n_allowed;
    bool aliases; /* the names of other gateways are understood */
};

enum { BOUNDS_MEMORY_MIN_BYTES = 8 << 20 };

struct bounds_config {        /* "bounds": named maxima of what peers may send */
    size_t head_bytes;        /* request head, 64 KiB */
    size_t headers;           /* header lines, 128 */
    uint64_t body_bytes;      /* held bodies, 64 MiB */
    size_t connections;       /* per process, 20000 */
    size_t address_connections; /* of one client address; preset: half of connections */
    uint64_t memory_bytes;    /* what all of them may make us hold; preset: half the machine's */
    size_t http2_streams;     /* open at once in a connection; 0: HTTP/2 is not offered. 100 */
    int head_timeout_ms;      /* 15000 */
    int body_timeout_ms;      /* between reads of a request body, 60000 */
    int write_timeout_ms;     /* a client that does not read, 120000 */
    int keepalive_timeout_ms; /* idle client connection, 75000 */
    int websocket_idle_ms;    /* a WebSocket on which nothing passes, 600000 */
    size_t hold_bytes;        /* responses held whole for the cost header, 256 KiB */
};

enum alert_kind { ALERT_SLACK = 0, ALERT_PAGERDUTY, ALERT_WEBHOOK, ALERT_EMAIL };
enum alert_severity { SEVERITY_INFO = 0, SEVERITY_WARNING, SEVERITY_CRITICAL };

/* Where alerts go. What is secret: url (Slack's is a credential), keys, secrets, password. */
struct alert_channel {
    char *name;
    enum alert_kind kind;
    char *url;
    char *routing_key;         /* PagerDuty */
    char *secret, *old_secret; /* webhook: signs; both while one replaces the other */
    char *from;                /* e-mail */
    struct strv *to;
    size_t n_to;
    char *user, *password;
    bool require_tls;   /* e-mail over smtp://: STARTTLS or nothing */
    bool allow_private; /* its address may be this machine's or network's own */
    char *ca_file;      /* NULL: the system's */
};

/* Which alerts go where: all conditions must hold. */
struct alert_route {
    struct tag_value *match;
    size_t n_match;
    struct strv *events; /* globs, "budget.*"; 0: all */
    size_t n_events;
    enum alert_severity severity; /* at least */
    struct strv *channels;
    size_t n_channels;
};

/* What nobody is to be told of for a while: maintenance. */
struct alert_mute {
    struct alert_route what; /* match, events and severity of it; no channels */
    int64_t until_us;
};

struct alerts_config {
    int every_s;
    struct alert_channel *channels;
    size_t n_channels;
    struct alert_route *routes;
    size_t n_routes;
    struct alert_mute *mutes;
    size_t n_mutes;
    int quiet_from_min, quiet_to_min; /* of the day; equal: no quiet hours */
    struct strv *fallback; /* channels of what no route takes, and of routes that fail */
    size_t n_fallback;
    int forecast_percent;    /* of a budget; 0: no such alert */
    int untagged_percent;    /* of a day's cost without a team; 0: no such alert */
    struct money anomaly_usd; /* least impact */
    int anomaly_percent;     /* and this of what was expected */
    int digest_day;          /* 0: none; 1 Monday .. 7 Sunday */
    int digest_hour;
    bool unpriced, trouble; /* such alerts */
};

struct config {
    char *file; /* as given */
    char file_sha256[SHA256_HEX];
    char keys_sha256[SHA256_HEX]; /* of state_dir/keys.json; empty: there is none */
    char *dir;  /* its folder: relative paths start here */
    struct listen_config proxy, admin;
    int workers; /* resolved: at least 1 */
    char *state_dir;
    char *node; /* name of this node in records: host name by default */
    int drain_seconds;

    bool counters_redis;
    char *redis_url;
    char *counters_ca_file;     /* NULL: the system's authorities */
    struct certificate_pair counters_pair; /* shown to Redis; NULL, NULL: none */
    char *counters_server_name; /* NULL: each host's own */
    bool counters_tls_verify;
    struct counters_tls *counters_tls; /* NULL: the URL wants none */
    char *counters_namespace;
    bool counters_leases;
    int counters_batch;
    size_t output_floor; /* tokens */
    int counters_timeout_ms;
    enum on_failure counters_on_failure;

    enum ledger_backend ledger_backend;
    char *ledger_path;
    enum ledger_sync ledger_sync;
    int ledger_sync_interval_ms;
    int ledger_keep_days; /* 0: for ever */

    struct zone *zone;
    struct tags_config tags;
    struct bounds_config bounds;
    struct fingerprint_key prompt_key;     /* of the fingerprints of request bodies */
    unsigned char user_salt[SHA256_BYTES]; /* keys the hash of `user`; state_dir/user.salt */

    struct upstream_config *upstreams;
    size_t n_upstreams;
    struct key_config *keys;
    size_t n_keys; /* of the file and of state_dir/keys.json */
    struct limit_set *limits;
    struct book *book;
    const char **book_paths; /* that it was made from */
    size_t n_book_paths;
    enum on_unpriced on_unpriced;

    struct alerts_config alerts;

    int log_level;  /* enum log_level */
    int log_format; /* enum log_format */

    /* the module's own */
    struct arena arena; /* every string and list above */
    struct limit_def *limit_defs;
    size_t n_limit_defs;
    struct key_table *key_table; /* keys by hash */
    const struct key_config **by_certificate; /* those that have one, in order of it */
    size_t n_by_certificate;
};

struct peer;

enum {
    CONFIG_MAX_BYTES = 64 << 20,
    CONFIG_KEYS_MAX = 1000000,
    CONFIG_UPSTREAMS_MAX = 1000,
    CONFIG_LIMITS_MAX = 10000,
    CONFIG_CERTIFICATES_MAX = 1000,
    CONFIG_DEPTH_MAX = 16,   /* nesting of the file */
    CONFIG_LIST_MAX = 10000, /* values of any other list */
};

/*
 * Reads file, and the keys of state_dir; NULL with problems where anything is
 * wrong.  Writes nothing.  What only `check` and `serve` need (certificates
 * readable and matching) is checked by config_check_files.
 */
struct config *config_load(const char *file, struct problems *problems);
/*
 * The same for commands that call no provider (`key`, `report`, `export`, ...): an
 * environment variable that is not set is no fault in an upstream's api_key or a
 * key's secret.
 */
struct config *config_load_without_secrets(const char *file, struct problems *problems);
/* NULL is legal. */
void config_free(struct config *config);
/*
 * Where limits are counted and where the ledger is stay as they were when the process began: what
 * a reload found is replaced by what runs.  False: it was the same.
 */
bool config_keep_started(struct config *config, const struct config *running);

/*
 * Called by `serve` after config_load, before anything uses the configuration:
 * makes state_dir (0700) and the ledger's folder where missing, and reads or makes
 * state_dir/user.salt (0600), which keys the hash of `user`.  False with problems.
 */
bool config_prepare_state(struct config *config, struct problems *problems);
/*
 * Looks at what is outside the file: certificates and keys readable, of one pair,
 * in date; CA files; state_dir writable.  Writes nothing.
 */
void config_check_files(const struct config *config, struct problems *problems);
/* What works but is unwise: verification off, a certificate near its end, a base_url without
 * TLS. */
void config_check_wisdom(const struct config *config, struct problems *warnings);

/* NULL where there is none of that name. */
const struct upstream_config *config_upstream(const struct config *config, struct strv name);
/* What is deployed there under that name; empty where that is not told. */
struct strv config_deployment(const struct upstream_config *up, struct strv name);
/* Its credential is a token that is got and renewed while the program runs. */
static inline bool upstream_takes_token(const struct upstream_config *up)
{
    return up->google.credentials != NULL || up->entra.tenant_id != NULL;
}
/*
 * The key that a client's verified certificate stands for: by its fingerprint, else by its
 * names, all of which must mean the same key.  NULL: none, or two.  Expired or disabled as above.
 */
const struct key_config *config_peer_key(const struct config *config, const struct peer *peer);

#endif
