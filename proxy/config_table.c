#include "proxy/config_draft.h"

#include <string.h>

#include "base/log.h"

/* Keeps the value for a reader that runs when other sections are there. */
static void keep_item(struct config_loader *l, const struct config_field *field,
                      const cJSON *item, void *base)
{
    (void)l;
    memcpy((char *)base + field->offset, &item, sizeof(item));
}

/* The same for the sections of the file, kept beside the configuration. */
static void keep_section(struct config_loader *l, const struct config_field *field,
                         const cJSON *item, void *base)
{
    struct config_draft *draft = (struct config_draft *)(void *)l;

    (void)base;
    memcpy((char *)draft + field->offset, &item, sizeof(item));
}

static const char *const missing_words[] = {
    [ON_MISSING_ACCEPT] = "accept", [ON_MISSING_REJECT] = "reject", NULL};
static const char *const credentials_words[] = {
    [CREDENTIALS_PROXY] = "proxy", [CREDENTIALS_CLIENT] = "client", NULL};
static const char *const client_certificates_words[] = {
    [CLIENT_CERTIFICATES_OFF] = "off",
    [CLIENT_CERTIFICATES_OPTIONAL] = "optional",
    [CLIENT_CERTIFICATES_REQUIRED] = "required",
    NULL};
static const char *const client_gone_words[] = {
    [CLIENT_GONE_AUTO] = "auto", [CLIENT_GONE_ABORT] = "abort", [CLIENT_GONE_DRAIN] = "drain",
    NULL};
static const char *const unknown_words[] = {"refuse", "allow", NULL};
static const char *const backend_words[] = {"memory", "redis", NULL};
static const char *const ledger_words[] = {[LEDGER_SQLITE] = "sqlite", NULL};
static const char *const on_failure_words[] = {[ON_FAILURE_LOCAL] = "local",
                                               [ON_FAILURE_REFUSE] = "refuse",
                                               [ON_FAILURE_ALLOW] = "allow",
                                               NULL};
static const char *const on_exhausted_words[] = {
    [ON_EXHAUSTED_FINISH] = "finish", [ON_EXHAUSTED_CUT] = "cut", NULL};
static const char *const count_words[] = {
    [LIMIT_COUNT_ESTIMATE] = "estimate", [LIMIT_COUNT_EXACT] = "exact", NULL};
static const char *const sync_words[] = {
    [SYNC_ALWAYS] = "always", [SYNC_INTERVAL] = "interval", [SYNC_NEVER] = "never", NULL};
static const char *const mode_words[] = {
    [LIMIT_ENFORCE] = "enforce", [LIMIT_WARN] = "warn", NULL};
static const char *const unpriced_words[] = {
    [ON_UNPRICED_FLAG] = "flag", [ON_UNPRICED_REFUSE] = "refuse", NULL};
static const char *const level_words[] = {
    [LOG_ERROR] = "error",   [LOG_WARN] = "warn",   [LOG_INFO] = "info",
    [LOG_ACCESS] = "access", [LOG_DEBUG] = "debug", NULL};
static const char *const format_words[] = {[LOG_LOGFMT] = "logfmt", [LOG_JSON] = "json", NULL};

static const char *const channel_words[] = {[ALERT_SLACK] = "slack",
                                            [ALERT_PAGERDUTY] = "pagerduty",
                                            [ALERT_WEBHOOK] = "webhook",
                                            [ALERT_EMAIL] = "email",
                                            NULL};
static const char *const severity_words[] = {[SEVERITY_INFO] = "info",
                                             [SEVERITY_WARNING] = "warning",
                                             [SEVERITY_CRITICAL] = "critical",
                                             NULL};
static const char *const day_words[] = {"never",    "monday", "tuesday",  "wednesday", "thursday",
                                        "friday",   "saturday", "sunday", NULL};

/* clang-format off */
#define PLACE(type, member) \
    .offset = offsetof(struct type, member), .bytes = sizeof(((struct type *)0)->member)
#define TEXT(type, member, name_, preset_, help_) \
    {.name = name_, .kind = FIELD_TEXT, PLACE(type, member), .preset_text = preset_, .help = help_}
#define NEEDED(type, member, name_, help_) \
    {.name = name_, .kind = FIELD_TEXT, PLACE(type, member), .required = true, .help = help_}
#define SECRET(type, member, name_, help_) \
    {.name = name_, .kind = FIELD_SECRET, PLACE(type, member), .help = help_}
#define PATH(type, member, name_, preset_, help_) \
    {.name = name_, .kind = FIELD_PATH, PLACE(type, member), .preset_text = preset_, .help = help_}
#define INT(type, member, name_, preset_, min_, max_, help_) \
    {.name = name_, .kind = FIELD_INT, PLACE(type, member), .preset = preset_, .min = min_, \
     .max = max_, .help = help_}
#define SIZE(type, member, name_, preset_, min_, max_, help_) \
    {.name = name_, .kind = FIELD_SIZE, PLACE(type, member), .preset = preset_, .min = min_, \
     .max = max_, .help = help_}
#define BOOL(type, member, name_, preset_, help_) \
    {.name = name_, .kind = FIELD_BOOL, PLACE(type, member), .preset = preset_, .max = 1, \
     .help = help_}
#define WORD(type, member, name_, words_, preset_, help_) \
    {.name = name_, .kind = FIELD_WORD, PLACE(type, member), .words = words_, \
     .preset = preset_, .help = help_}
#define ITEM(type, member, name_, help_) \
    {.name = name_, .kind = FIELD_OWN, PLACE(type, member), .read = keep_item, .help = help_}
#define ITEMS(type, member, name_, section_, help_) \
    {.name = name_, .kind = FIELD_OWN, PLACE(type, member), .read = keep_item, \
     .section = section_, .help = help_}
#define KEPT(member, name_, section_, help_) \
    {.name = name_, .kind = FIELD_OWN, PLACE(config_draft, member), .read = keep_section, \
     .section = section_, .help = help_}
#define SECTION(offset_, name_, section_, help_) \
    {.name = name_, .kind = FIELD_SECTION, .offset = offset_, .section = section_, .help = help_}
#define TABLE(path_, fields_) \
    {.path = path_, .fields = fields_, .n_fields = sizeof(fields_) / sizeof((fields_)[0])}

enum {
    HOUR_MS = 3600 * 1000,
    KIB = 1 << 10,
    MIB = 1 << 20,
    GIB = 1 << 30,
};

static const struct config_field certificate_fields[] = {
    PATH(certificate_pair, certificate, "certificate", NULL,
         "PEM file: certificate, then its intermediates"),
    PATH(certificate_pair, private_key, "private_key", NULL, "PEM file of its key"),
};
const struct config_section config_section_certificate =
    TABLE("listen.proxy.certificates[]", certificate_fields);

static const struct config_field proxy_fields[] = {
    TEXT(listen_config, address, "address", "0.0.0.0", "IP address to listen on"),
    INT(listen_config, port, "port", 8443, 0, 65535, "TCP port; 0: any free one"),
    PATH(listen_config, certificate, "certificate", NULL,
         "PEM file: certificate, then its intermediates; without certificates tls/server.pem"),
    PATH(listen_config, private_key, "private_key", NULL,
         "PEM file of its key; without certificates tls/server.key"),
    KEPT(certificates, "certificates", &config_section_certificate,
         "more such pairs, chosen by the name that a client asks for"),
    PATH(listen_config, client_ca, "client_ca", NULL,
         "PEM file of the authorities of client certificates"),
    WORD(listen_config, client_certificates, "client_certificates", client_certificates_words,
         CLIENT_CERTIFICATES_OPTIONAL,
         "with client_ca: not asked for, verified where a client has one, or demanded"),
};
static const struct config_section proxy_section = TABLE("listen.proxy", proxy_fields);

static const struct config_field admin_fields[] = {
    TEXT(listen_config, address, "address", "127.0.0.1", "IP address to listen on"),
    INT(listen_config, port, "port", 9443, 0, 65535, "TCP port; 0: any free one"),
    PATH(listen_config, certificate, "certificate", NULL,
         "PEM file; by default the proxy listener's"),
    PATH(listen_config, private_key, "private_key", NULL, "by default the proxy listener's"),
    PATH(listen_config, token_file, "token_file", NULL,
         "holds the administrator's token; made, mode 0600, where it is missing; by default "
         "admin.token in state_dir"),
};
static const struct config_section admin_section = TABLE("listen.admin", admin_fields);

static const struct config_field listen_fields[] = {
    SECTION(offsetof(struct config, proxy), "proxy", &proxy_section, "where apps connect"),
    SECTION(offsetof(struct config, admin), "admin", &admin_section, "where operators connect"),
};
static const struct config_section listen_section = TABLE("listen", listen_fields);

static const struct config_field counters_fields[] = {
    WORD(config, counters_redis, "backend", backend_words, 1,
         "where limits are counted: shared by all nodes, or in this process alone"),
    TEXT(config, redis_url, "url", "redis://127.0.0.1:6379/0",
         "redis://[user:password@]host[:port][/db] or unix:///path; rediss:// for TLS"),
    PATH(config, counters_ca_file, "ca_file", NULL,
         "TLS: PEM file of authorities; by default the system's"),
    PATH(config, counters_pair.certificate, "certificate", NULL,
         "TLS: PEM file shown to Redis: certificate, then its intermediates"),
    PATH(config, counters_pair.private_key, "private_key", NULL, "TLS: PEM file of its key"),
    TEXT(config, counters_server_name, "server_name", NULL,
         "TLS: whom every certificate must name; by default the host that is connected to"),
    BOOL(config, counters_tls_verify, "tls_verify", 1, "TLS: verify certificate and host name"),
    INT(config, counters_timeout_ms, "timeout_ms", 50, 1, 60000,
        "the longest that a request waits for the counters, ms"),
    WORD(config, counters_on_failure, "on_failure", on_failure_words, ON_FAILURE_LOCAL,
         "what holds while Redis is away: this node's share, nothing passes, everything passes"),
    TEXT(config, counters_namespace, "namespace", "tollgate",
         "prefix of the keys in Redis; one per installation that shares a Redis"),
    INT(config, counters_batch, "batch", LIMIT_BATCH_MAX, 1, LIMIT_BATCH_MAX,
        "reservations and settlements that go in one call of Redis"),
    SIZE(config, output_floor, "output_floor", 1024, 1, 10000000,
         "output tokens reserved at the least for a call that has no bound of its own"),
    BOOL(config, counters_leases, "leases", true,
         "slices of roomy limits are reserved ahead, so that most requests ask Redis nothing"),
};
static const struct config_section counters_section = TABLE("counters", counters_fields);

static const struct config_field ledger_fields[] = {
    WORD(config, ledger_backend, "backend", ledger_words, LEDGER_SQLITE, "kind of database"),
    PATH(config, ledger_path, "path", NULL, "database file; by default ledger.db in state_dir"),
    WORD(config, ledger_sync, "sync", sync_words, SYNC_INTERVAL,
         "when the journal is forced to disk: what a power cut may lose"),
    INT(config, ledger_sync_interval_ms, "sync_interval_ms", 200, 1, 60000,
        "for \"interval\", ms"),
    INT(config, ledger_keep_days, "keep_days", 0, 0, KEEP_DAYS_MAX,
        "days for which single requests are kept, at least 2; 0: for ever. Sums always are"),
};
static const struct config_section ledger_section = TABLE("ledger", ledger_fields);

static const struct config_field bounds_fields[] = {
    SIZE(bounds_config, head_bytes, "head_bytes", 64 * KIB, 1024, MIB,
         "largest request head, bytes"),
    SIZE(bounds_config, headers, "headers", 128, 16, 128, "most header lines of a message"),
    SIZE(bounds_config, body_bytes, "body_bytes", 64 * MIB, 1024, GIB,
         "largest request body that is held for metering, bytes"),
    SIZE(bounds_config, connections, "connections", 20000, 1, 1000000,
         "client connections of the process"),
    SIZE(bounds_config, address_connections, "connections_per_address", 0, 0, 1000000,
         "of one IPv4 address, or IPv6 /64; 0: half of connections"),
    SIZE(bounds_config, memory_bytes, "memory_bytes", 0, 0, INT64_C(1) << 50,
         "held for all clients together, bytes; 0: half of what the machine or control group has"),
    SIZE(bounds_config, http2_streams, "http2_streams", 100, 0, 1000,
         "requests at once in one HTTP/2 connection; 0: HTTP/2 is not offered"),
    INT(bounds_config, head_timeout_ms, "head_timeout_ms", 15000, 100, HOUR_MS,
        "until a request head is complete, ms"),
    INT(bounds_config, body_timeout_ms, "body_timeout_ms", 60000, 100, HOUR_MS,
        "between two reads of a request body, ms"),
    INT(bounds_config, write_timeout_ms, "write_timeout_ms", 120000, 100, HOUR_MS,
        "a client that does not read, ms"),
    INT(bounds_config, keepalive_timeout_ms, "keepalive_timeout_ms", 75000, 100, HOUR_MS,
        "an idle client connection, ms"),
    INT(bounds_config, websocket_idle_ms, "websocket_idle_ms", 600000, 100, HOUR_MS,
        "a WebSocket on which nothing passes, in milliseconds"),
    SIZE(bounds_config, hold_bytes, "hold_bytes", 256 * KIB, 0, 16 * MIB,
         "responses up to this size are held whole to carry their cost in a header, bytes"),
};
static const struct config_section bounds_section = TABLE("bounds", bounds_fields);

static const struct config_field log_fields[] = {
    WORD(config, log_level, "level", level_words, LOG_INFO,
         "how much is logged; access: a line a request"),
    WORD(config, log_format, "format", format_words, LOG_LOGFMT, "form of a line"),
};
static const struct config_section log_section = TABLE("log", log_fields);

static const struct config_field tags_fields[] = {
    WORD(tags_draft, on_missing, "on_missing", missing_words, ON_MISSING_ACCEPT,
         "a request without a required tag"),
    ITEM(tags_draft, required, "required", "names of tags that every request should have"),
    ITEM(tags_draft, defaults, "defaults", "{ tag: value } where neither caller nor key has one"),
    ITEM(tags_draft, allowed, "allowed", "{ tag: [values, globs] }: others get 403"),
    BOOL(tags_draft, aliases, "aliases", 0,
         "understand the tag headers of Helicone, Portkey, LiteLLM and Cloudflare"),
};
const struct config_section config_section_tags = TABLE("tags", tags_fields);

static const struct config_field aws_fields[] = {
    TEXT(aws_config, access_key_id, "access_key_id", NULL, "of the key that requests are signed with"),
    SECRET(aws_config, secret_access_key, "secret_access_key", "its secret"),
    SECRET(aws_config, session_token, "session_token", "of a temporary key"),
    TEXT(aws_config, region, "region", NULL, "by default the one in base_url's host"),
    TEXT(aws_config, service, "service", "bedrock", "name of the service in signatures"),
};
static const struct config_section aws_section = TABLE("upstreams[].aws", aws_fields);

static const struct config_field google_fields[] = {
    PATH(google_config, credentials, "credentials", NULL,
         "JSON key file of a service account, or of an authorized user"),
    TEXT(google_config, scope, "scope", "https://www.googleapis.com/auth/cloud-platform",
         "what its tokens are for"),
    PATH(google_config, ca_file, "ca_file", NULL,
         "PEM file of authorities of the token's server; by default the system's"),
};
static const struct config_section google_section = TABLE("upstreams[].google", google_fields);

static const struct config_field entra_fields[] = {
    TEXT(entra_config, tenant_id, "tenant_id", NULL, "directory of the application"),
    TEXT(entra_config, client_id, "client_id", NULL, "the application"),
    SECRET(entra_config, client_secret, "client_secret", "its secret"),
    TEXT(entra_config, scope, "scope", "https://cognitiveservices.azure.com/.default",
         "what its tokens are for"),
    TEXT(entra_config, authority, "authority", "https://login.microsoftonline.com",
         "where tokens are got"),
    PATH(entra_config, ca_file, "ca_file", NULL,
         "PEM file of authorities of that server; by default the system's"),
};
static const struct config_section entra_section = TABLE("upstreams[].entra", entra_fields);

static const struct config_field upstream_fields[] = {
    NEEDED(upstream_draft, up.name, "name", "first part of the path: [a-z0-9_.-], at most 64"),
    NEEDED(upstream_draft, protocol, "protocol",
           "openai, anthropic, gemini, vertex, azure-openai, bedrock, cohere, mistral, ollama, raw"),
    NEEDED(upstream_draft, base_url, "base_url", "https://host[:port][/path]"),
    SECRET(upstream_draft, up.api_key, "api_key", "the provider's own credential"),
    TEXT(upstream_draft, key_header, "key_header", NULL,
         "authorization, api-key, x-api-key, x-goog-api-key, xi-api-key: where it is sent; by default the protocol's"),
    SECTION(offsetof(struct upstream_draft, up.aws), "aws", &aws_section,
            "instead of api_key: requests are signed for AWS"),
    SECTION(offsetof(struct upstream_draft, up.google), "google", &google_section,
            "instead of api_key: tokens of Google"),
    SECTION(offsetof(struct upstream_draft, up.entra), "entra", &entra_section,
            "instead of api_key: tokens of Microsoft Entra"),
    ITEM(upstream_draft, deployments, "deployments",
         "{ name in requests: model of the price book }: Azure deployments, ARNs, endpoints"),
    TEXT(upstream_draft, region, "region", NULL,
         "where models are served, for prices; by default what host or path say"),
    WORD(upstream_draft, up.credentials, "credentials", credentials_words, CREDENTIALS_PROXY,
         "whose credential the provider sees; client: identity comes from X-Tollgate-Key"),
    PATH(upstream_draft, up.ca_file, "ca_file", NULL,
         "PEM file of authorities; by default the system's"),
    BOOL(upstream_draft, up.tls_verify, "tls_verify", 1, "verify certificate and host name"),
    INT(upstream_draft, up.connect_timeout_ms, "connect_timeout_ms", 5000, 1, HOUR_MS,
        "until TCP and TLS stand, ms"),
    INT(upstream_draft, up.first_byte_timeout_ms, "first_byte_timeout_ms", 600000, 1, 24 * HOUR_MS,
        "from the request's end to the response's first byte, ms"),
    INT(upstream_draft, up.idle_timeout_ms, "idle_timeout_ms", 120000, 1, 24 * HOUR_MS,
        "between two reads of a response, ms"),
    BOOL(upstream_draft, up.inject_usage, "inject_usage", 1,
         "ask for the usage event of OpenAI streams whose caller did not"),
    BOOL(upstream_draft, up.rewrite_urls, "rewrite_urls", 1,
         "addresses of the provider in answers (a batch's results_url) lead to the gateway"),
    WORD(upstream_draft, up.on_client_gone, "on_client_gone", client_gone_words, CLIENT_GONE_AUTO,
         "a client that leaves early: end the upstream call, or read on to learn its usage"),
    INT(upstream_draft, up.drain_ms, "drain_ms", 30000, 0, HOUR_MS, "bound of reading on, ms"),
    SIZE(upstream_draft, up.drain_max_bytes, "drain_max_bytes", 16 * MIB, 0, GIB,
         "bound of reading on, bytes"),
    WORD(upstream_draft, up.allow_unknown_endpoints, "unknown_endpoints", unknown_words, 0,
         "a path that nothing can meter"),
    TEXT(upstream_draft, provider, "provider", NULL,
         "provider of the price book; by default found by name, host, then protocol"),
    INT(upstream_draft, up.max_connections, "max_connections", 0, 0, 1000000,
        "per worker; 0: no bound"),
    TEXT(upstream_draft, up.billing_account, "billing_account", NULL,
         "the provider's id of who pays (organisation, payer); by default the upstream's name"),
    TEXT(upstream_draft, up.billing_account_name, "billing_account_name", NULL,
         "its name for people"),
    TEXT(upstream_draft, up.sub_account, "sub_account", NULL,
         "the provider's id of the project, workspace or subscription"),
    TEXT(upstream_draft, up.sub_account_name, "sub_account_name", NULL,
         "its name for people"),
};
const struct config_section config_section_upstream = TABLE("upstreams[]", upstream_fields);

static const struct config_field key_fields[] = {
    NEEDED(key_draft, key.name, "name", "what records and limits call it; unique"),
    TEXT(key_draft, hash, "hash", NULL, "sha256: and the 64 hex digits of the secret's SHA-256"),
    SECRET(key_draft, secret, "secret", "the secret itself, instead of its hash"),
    TEXT(key_draft, certificate, "certificate", NULL,
         "client certificate that stands for it: a name in it, CN=name, or sha256: and 64 hex digits"),
    ITEM(key_draft, tags, "tags", "{ tag: value } that its requests have by default"),
    ITEM(key_draft, locked, "locked", "names of those tags that no header changes"),
    ITEM(key_draft, allowed, "allowed", "{ tag: [values, globs] }: others get 403"),
    ITEM(key_draft, models, "models", "globs of the models it may use; by default any"),
    ITEM(key_draft, upstreams, "upstreams", "names of the upstreams it may use; by default any"),
    TEXT(key_draft, expires, "expires", NULL, "RFC 3339 time from which on it is refused"),
    BOOL(key_draft, enabled, "enabled", 1, "false: refused"),
    TEXT(key_draft, created, "created", NULL, "RFC 3339 time, for people; written by `key create`"),
    TEXT(key_draft, revoked, "revoked", NULL, "RFC 3339 time; refused; written by `key revoke`"),
};
const struct config_section config_section_key = TABLE("keys[]", key_fields);

static const struct config_field limit_fields[] = {
    NEEDED(limit_draft, name, "name", "what refusals and reports call it; unique"),
    ITEM(limit_draft, match, "match", "{ tag: value or glob }: requests that it counts; by default all"),
    ITEM(limit_draft, per, "per", "names of tags: one counter for each of their values"),
    NEEDED(limit_draft, unit, "unit",
           "usd, tokens, input_tokens, output_tokens, requests, concurrent"),
    ITEM(limit_draft, limit, "limit", "how much; dollars as a string"),
    TEXT(limit_draft, window, "window", NULL,
         "hour, day, week, month, quarter, year, total, or \"<n>s\" (rolling); not for concurrent"),
    WORD(limit_draft, mode, "mode", mode_words, LIMIT_ENFORCE, "refuse what is over, or only tell"),
    ITEM(limit_draft, alerts, "alerts", "per cents of the limit at which to alert"),
    WORD(limit_draft, count, "count", count_words, LIMIT_COUNT_ESTIMATE,
         "how prompts are measured before the call: by bytes, or by tokens where they are known"),
    WORD(limit_draft, on_exhausted, "on_exhausted", on_exhausted_words, ON_EXHAUSTED_FINISH,
         "a stream that has outgrown what was reserved for it, where no more is left"),
    WORD(limit_draft, on_failure, "on_failure", on_failure_words, -1,
         "while Redis is away; by default the counters' own"),
};
const struct config_section config_section_limit = TABLE("limits[]", limit_fields);

static const struct config_field match_fields[] = {
    TEXT(rule_draft, upstream, "upstream", NULL, "glob on the upstream's name"),
    TEXT(rule_draft, model, "model", NULL, "glob on the priced model"),
    TEXT(rule_draft, provider, "provider", NULL, "provider of the price book"),
    TEXT(rule_draft, tier, "tier", NULL, "service tier as served, such as \"provisioned\""),
};
const struct config_section config_section_rule_match =
    TABLE("prices.rules[].match", match_fields);

static const struct config_field rule_fields[] = {
    ITEMS(rule_draft, match, "match", &config_section_rule_match, "what the rule prices"),
    ITEM(rule_draft, multiplier, "multiplier", "on list rates: decimal string, such as \"0.93\""),
    TEXT(rule_draft, meters, "meters", NULL, "of the multiplier: \"all\" or \"token\""),
    ITEM(rule_draft, rates, "rates", "{ meter: dollars per its unit, as strings } instead of list rates"),
    TEXT(rule_draft, from, "from", NULL, "RFC 3339 time from which on it holds"),
    TEXT(rule_draft, to, "to", NULL, "RFC 3339 time until which it holds"),
    TEXT(rule_draft, known_at, "known_at", NULL, "when it was agreed; for people"),
};
const struct config_section config_section_rule = TABLE("prices.rules[]", rule_fields);

static const struct config_field prices_fields[] = {
    ITEM(prices_draft, book, "book", "files or folders of the price book; later ones win"),
    WORD(prices_draft, on_unpriced, "on_unpriced", unpriced_words, ON_UNPRICED_FLAG,
         "a model that has no price: recorded as unpriced, or refused"),
    ITEMS(prices_draft, rules, "rules", &config_section_rule, "contract prices; later ones win"),
};
const struct config_section config_section_prices = TABLE("prices", prices_fields);

static const struct config_field channel_fields[] = {
    NEEDED(channel_draft, channel.name, "name", "what routes call it; unique"),
    WORD(channel_draft, channel.kind, "type", channel_words, ALERT_SLACK, "how it is spoken to"),
    SECRET(channel_draft, channel.url, "url",
           "https://..., of e-mail smtp://host:port or smtps://host:port; PagerDuty has its own"),
    SECRET(channel_draft, channel.routing_key, "routing_key", "pagerduty: the integration's key"),
    SECRET(channel_draft, channel.secret, "secret", "webhook: signs every message"),
    SECRET(channel_draft, channel.old_secret, "old_secret",
           "webhook: signs too, while receivers change to the new one"),
    TEXT(channel_draft, channel.from, "from", NULL, "email: the sender's address"),
    ITEM(channel_draft, to, "to", "email: the receivers' addresses"),
    TEXT(channel_draft, channel.user, "user", NULL, "email: login"),
    SECRET(channel_draft, channel.password, "password", "email: its password"),
    BOOL(channel_draft, channel.require_tls, "require_tls", 1, "email: STARTTLS or nothing is sent"),
    BOOL(channel_draft, channel.allow_private, "allow_private", 0,
         "its address may be of this machine or a private network"),
    PATH(channel_draft, channel.ca_file, "ca_file", NULL,
         "PEM file of the authorities that may sign its certificate; by default the system's"),
};
const struct config_section config_section_channel = TABLE("alerts.channels[]", channel_fields);

static const struct config_field route_fields[] = {
    ITEM(route_draft, match, "match", "{ tag: value } of the alert, with wildcards"),
    ITEM(route_draft, events, "events", "names such as budget.*; by default all"),
    WORD(route_draft, route.severity, "severity", severity_words, SEVERITY_INFO, "at least"),
    ITEM(route_draft, channels, "channels", "names of channels"),
};
const struct config_section config_section_route = TABLE("alerts.routes[]", route_fields);

static const struct config_field mute_fields[] = {
    ITEM(mute_draft, match, "match", "{ tag: value } of the alert, with wildcards"),
    ITEM(mute_draft, events, "events", "names such as budget.*; by default all"),
    WORD(mute_draft, severity, "severity", severity_words, SEVERITY_INFO, "at least"),
    NEEDED(mute_draft, until, "until", "RFC 3339; what still holds then is told then"),
    TEXT(mute_draft, reason, "reason", NULL, "for people"),
};
const struct config_section config_section_mute = TABLE("alerts.mutes[]", mute_fields);

static const struct config_field alerts_fields[] = {
    INT(alerts_draft, alerts.every_s, "every_seconds", 60, 1, 3600, "between two looks, s"),
    ITEMS(alerts_draft, channels, "channels", &config_section_channel, "where alerts go"),
    ITEMS(alerts_draft, routes, "routes", &config_section_route, "which go where"),
    ITEMS(alerts_draft, mutes, "mutes", &config_section_mute, "what is not told for a while"),
    TEXT(alerts_draft, quiet_hours, "quiet_hours", NULL,
         "22:00-07:00 in timezone: what only informs waits for their end"),
    ITEM(alerts_draft, fallback, "fallback", "channels of what no route takes, or could be sent"),
    INT(alerts_draft, alerts.forecast_percent, "forecast_percent", 100, 0, 1000,
        "forecast of a budget with alerts, in per cent of it; 0: never"),
    INT(alerts_draft, alerts.untagged_percent, "untagged_percent", 0, 0, 100,
        "of the last day's cost without a team; 0: never"),
    ITEM(alerts_draft, anomaly_usd, "anomaly_usd", "least impact of an anomaly; 10 by default"),
    INT(alerts_draft, alerts.anomaly_percent, "anomaly_percent", 20, 0, 100000,
        "and this part of what was expected"),
    BOOL(alerts_draft, alerts.unpriced, "unpriced", 1, "models without a price"),
    BOOL(alerts_draft, alerts.trouble, "trouble", 1, "counters or ledger out of reach"),
    WORD(alerts_draft, alerts.digest_day, "digest_day", day_words, 2,
         "of the weekly digest, at digest_hour in timezone"),
    INT(alerts_draft, alerts.digest_hour, "digest_hour", 8, 0, 23, "hour of the weekly digest"),
};
const struct config_section config_section_alerts = TABLE("alerts", alerts_fields);

static const struct config_field root_fields[] = {
    SECTION(0, "listen", &listen_section, "addresses, ports and certificates"),
    INT(config, workers, "workers", 0, 0, 1024, "event loops; 0: one a core"),
    PATH(config, state_dir, "state_dir", "var", "folder of journal, ledger and keys"),
    TEXT(config, node, "node", NULL, "this node's name in records; by default the host's"),
    INT(config, drain_seconds, "drain_seconds", 30, 0, 86400,
        "what runs when the program is told to stop may take, s"),
    SECTION(0, "counters", &counters_section, "where limits are counted"),
    SECTION(0, "ledger", &ledger_section, "where records are kept"),
    KEPT(timezone, "timezone", NULL, "IANA zone of budgets' and reports' days, weeks and months"),
    KEPT(tags, "tags", &config_section_tags, "what requests must say of their purpose"),
    SECTION(offsetof(struct config, bounds), "bounds", &bounds_section, "most that peers may send and take"),
    KEPT(upstreams, "upstreams", &config_section_upstream, "providers and their servers"),
    KEPT(keys, "keys", &config_section_key, "virtual keys, besides those of `tollgate key`"),
    KEPT(limits, "limits", &config_section_limit, "budgets and rate caps"),
    KEPT(prices, "prices", &config_section_prices, "the price book and contract prices"),
    KEPT(alerts, "alerts", &config_section_alerts, "who is told what, and where"),
    SECTION(0, "log", &log_section, "what is logged, and how"),
};
const struct config_section config_root = TABLE("", root_fields);
/* clang-format on */
