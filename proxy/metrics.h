/*
 * metrics.h - counters of the workers, and their text for Prometheus.
 *
 * Each worker owns one struct worker_stats and is its only writer; any thread may
 * read.  What is shown is the sum over the workers: one process, one view, and
 * counters that never go back.  Adding a counter is adding a line to a table here.
 *
 * Text: Prometheus exposition format 0.0.4.  Counters are whole numbers or exact
 * decimals, never in scientific notation; no label takes a value from a client
 * but limit scopes, whose number is capped.
 *
 * This module neither listens nor reads a clock: see admin.h.
 */
#ifndef PROXY_METRICS_H
#define PROXY_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "metering/ledger/ledger.h"
#include "metering/ledger/record.h"
#include "metering/limits/limit.h"
#include "metering/usage/protocol.h"
#include "metering/usage/usage.h"
#include "pricing/money.h"
#include "proxy/http1.h"

/* Relaxed, one writer. */
typedef _Atomic uint64_t stat_value;

/*
 * Single counters.  Lines of one metric stand together: they differ in labels.
 *   field                     type     metric                        labels    help
 */
#define WORKER_STATS(X)                                                                        \
    X(connections_accepted, "counter", "tollgate_connections_accepted_total", "",              \
      "Client connections accepted.")                                                          \
    X(connections_open, "gauge", "tollgate_connections_open", "",                              \
      "Client connections open now.")                                                          \
    X(memory_held, "gauge", "tollgate_memory_held_bytes", "",                                  \
      "Held for clients and upstreams, as bounds.memory_bytes counts it.")                     \
    X(abuse_connections, "counter", "tollgate_abuse_total", "kind=\"connections\"",            \
      "Peers that met a bound; see docs/threat-model.md.")                                     \
    X(abuse_address, "counter", "tollgate_abuse_total", "kind=\"connections_per_address\"", "") \
    X(abuse_idle_closed, "counter", "tollgate_abuse_total", "kind=\"idle_closed\"", "")        \
    X(abuse_silent, "counter", "tollgate_abuse_total", "kind=\"silent\"", "")                  \
    X(abuse_slow_head, "counter", "tollgate_abuse_total", "kind=\"slow_head\"", "")            \
    X(abuse_slow_body, "counter", "tollgate_abuse_total", "kind=\"slow_body\"", "")            \
    X(abuse_slow_reader, "counter", "tollgate_abuse_total", "kind=\"slow_reader\"", "")        \
    X(abuse_headers, "counter", "tollgate_abuse_total", "kind=\"header_flood\"", "")           \
    X(abuse_body, "counter", "tollgate_abuse_total", "kind=\"large_body\"", "")                \
    X(abuse_bomb, "counter", "tollgate_abuse_total", "kind=\"compression_bomb\"", "")          \
    X(abuse_frames, "counter", "tollgate_abuse_total", "kind=\"http2_frames\"", "")            \
    X(abuse_socket, "counter", "tollgate_abuse_total", "kind=\"websocket_frames\"", "")        \
    X(abuse_memory, "counter", "tollgate_abuse_total", "kind=\"memory\"", "")                  \
    X(requests, "counter", "tollgate_requests_total", "",                                      \
      "Requests whose head was read, refused ones included.")                                  \
    X(requests_running, "gauge", "tollgate_requests_running", "",                              \
      "Requests that have begun and not ended.")                                               \
    X(bytes_in_client, "counter", "tollgate_bytes_total", "side=\"client\",direction=\"in\"",  \
      "Bytes of HTTP, before TLS.")                                                            \
    X(bytes_out_client, "counter", "tollgate_bytes_total",                                     \
      "side=\"client\",direction=\"out\"", "")                                                 \
    X(bytes_in_upstream, "counter", "tollgate_bytes_total",                                    \
      "side=\"upstream\",direction=\"in\"", "")                                                \
    X(bytes_out_upstream, "counter", "tollgate_bytes_total",                                   \
      "side=\"upstream\",direction=\"out\"", "")                                               \
    X(tokens_input, "counter", "tollgate_tokens_total", "type=\"input\"",                      \
      "Tokens of ended requests; input holds cached, output holds reasoning tokens.")          \
    X(tokens_output, "counter", "tollgate_tokens_total", "type=\"output\"", "")                \
    X(unpriced, "counter", "tollgate_price_missing_total", "",                                 \
      "Ended requests with usage and no price.")                                               \
    X(upstream_connects, "counter", "tollgate_upstream_connects_total", "",                    \
      "Connections opened to upstreams.")                                                      \
    X(upstream_connect_failures, "counter", "tollgate_upstream_connect_failures_total", "",    \
      "Connections to upstreams that could not be opened.")                                    \
    X(upstream_reused, "counter", "tollgate_upstream_reused_total", "",                        \
      "Requests sent on a kept-alive upstream connection.")                                    \
    X(tls_handshakes, "counter", "tollgate_tls_handshakes_total", "",                          \
      "TLS handshakes completed with clients.")                                                \
    X(http2_connections, "counter", "tollgate_http2_connections_total", "",                    \
      "Client connections that speak HTTP/2.")                                                 \
    X(http2_streams, "counter", "tollgate_http2_streams_total", "",                            \
      "Requests begun on them, taken back ones included.")                                     \
    X(websockets, "counter", "tollgate_websockets_total", "",                                  \
      "WebSockets opened.")                                                                    \
    X(websockets_open, "gauge", "tollgate_websockets_open", "", "WebSockets open now.")        \
    X(websocket_faults, "counter", "tollgate_websocket_faults_total", "",                      \
      "WebSockets ended because a side broke the rules of the protocol.")                      \
    X(tls_failures, "counter", "tollgate_tls_failures_total", "",                              \
      "TLS handshakes with clients that failed.")                                              \
    X(tap_undecodable, "counter", "tollgate_tap_undecodable_total", "",                        \
      "Responses whose usage could not be read.")                                              \
    X(tap_inconsistent, "counter", "tollgate_tap_inconsistent_total", "",                      \
      "Responses whose usage contradicts itself: a part larger than its whole.")               \
    X(journal_writes, "counter", "tollgate_journal_writes_total", "",                          \
      "Writes of the journal: all that came together in a turn of a worker's loop is one.")    \
    X(journal_flush_failures, "counter", "tollgate_journal_flush_failures_total", "",          \
      "Writes of the journal that failed; the bytes are kept and tried again.")

/* Names of HTTP1_FAULTS have no count of their own. */
#define STAT_ONE(...) +1
enum {
    STAT_HTTP1_FAULTS = 0 HTTP1_FAULTS(STAT_ONE),
    STAT_USAGE_SOURCES = USAGE_ESTIMATED + 1,
    STAT_CLASSES = 6, /* 1xx..5xx at their digit; 0: no response was sent */
};
#undef STAT_ONE

/*
 * Durations, in buckets that double: bucket k counts base << k microseconds or
 * less, the last has no bound.
 */
enum { STAT_BUCKETS = 21, STAT_BUCKET_BASE_US = 1000 }; /* 1 ms .. 1048.576 s */

struct stat_histogram {
    stat_value bucket[STAT_BUCKETS + 1]; /* each alone, not cumulative */
    stat_value sum_us;
};

struct worker_stats {
#define STAT_FIELD(field, type, metric, labels, help) stat_value field;
    WORKER_STATS(STAT_FIELD)
#undef STAT_FIELD
    stat_value responses[STAT_CLASSES]; /* to clients, own refusals included: stat_response */
    stat_value refused[REFUSAL_COUNT];  /* by the gateway itself, by enum refusal */
    stat_value outcomes[OUTCOME_COUNT]; /* ended requests, by enum outcome */
    stat_value usage_source[STAT_USAGE_SOURCES]; /* ended requests, by enum usage_source */
    stat_value http_faults[STAT_HTTP1_FAULTS];   /* by enum http1_fault, both sides */
    stat_value cost_nano_usd;                    /* with cost_rest_atto: stat_cost */
    stat_value cost_rest_atto;        /* below a nano-USD; 18e9 records before it wraps */
    struct stat_histogram duration;   /* head read .. response ended */
    struct stat_histogram first_byte; /* head read .. first byte of the response sent */
};

/* The only writer adds; n may wrap no counter in a process's life. */
static inline void stat_add(stat_value *v, uint64_t n)
{
    atomic_store_explicit(v, atomic_load_explicit(v, memory_order_relaxed) + n,
                          memory_order_relaxed);
}
/* Gauges only. */
static inline void stat_sub(stat_value *v, uint64_t n)
{
    atomic_store_explicit(v, atomic_load_explicit(v, memory_order_relaxed) - n,
                          memory_order_relaxed);
}
/* Gauges only; what is below zero counts as nothing. */
static inline void stat_set(stat_value *v, int64_t n)
{
    atomic_store_explicit(v, n > 0 ? (uint64_t)n : 0, memory_order_relaxed);
}
static inline uint64_t stat_get(const stat_value *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}

/* A response head with this status went to a client; 0: the client got none. */
static inline void stat_response(struct worker_stats *s, int status)
{
    stat_add(&s->responses[status >= 100 && status < 600 ? status / 100 : 0], 1);
}

/* Cost of an ended request, exact; negative amounts are not counted. */
void stat_cost(struct worker_stats *s, struct money cost);
/* One duration; a negative one (a clock that is not monotonic) counts as 0. */
void stat_observe(struct stat_histogram *h, int64_t us);

/* ---- text --------------------------------------------------------------------- */

/* What a scrape shows; members that are NULL or 0 are left out. */
struct metrics_view {
    const struct worker_stats *const *workers;
    size_t n_workers;
    const struct limiter_stats *limiters; /* one a worker, summed */
    size_t n_limiters;
    const struct ledger_stats *ledger;
    const struct alert_stats *alerts;
    const char *version; /* of the program, for tollgate_build_info */
    int64_t started_us;  /* wall time at which the process started; 0: not shown */
    uint64_t reloads, reload_failures; /* of the configuration */
    uint64_t heap_used, heap_kept;     /* bytes: see memory_heap */
    bool draining;
};

/* Appends the whole view. RC_LIMIT where out is full; out is then as before. */
enum rc metrics_render(const struct metrics_view *view, struct buf *out) RC_MUST;

/* One counter of a limit, for its gauges. */
struct metrics_limit {
    const struct limit_def *def;
    struct strv scope; /* as limit_counter has it; empty: the limit has no `per` */
    uint64_t spent, reserved;
    int64_t end_us; /* when the window ends; 0: rolling */
};

enum { METRICS_LIMITS_MAX = 1000 }; /* series a gauge may have; the rest is told as dropped */

/*
 * Appends tollgate_limit_{limit,spent,reserved,reset_timestamp_seconds} gauges in the limit's
 * unit (USD as dollars) with labels limit, scope, unit: the first METRICS_LIMITS_MAX of
 * n, and how many of total are not shown.  RC_LIMIT where out is full; out is then as
 * before.
 */
enum rc metrics_limits(const struct metrics_limit *limits, size_t n, size_t total,
                       struct buf *out) RC_MUST;

/*
 * Pieces, for what else is measured.  A family's HELP and TYPE come once, before its
 * samples.  labels: text between the braces, values escaped by metrics_label; may be empty.
 */
enum rc metrics_family(struct buf *out, const char *name, const char *type,
                       const char *help) RC_MUST;
enum rc metrics_uint(struct buf *out, const char *name, const char *labels,
                     uint64_t value) RC_MUST;
/* value x 10^-decimals, as a plain decimal; decimals 0..18. */
enum rc metrics_decimal(struct buf *out, const char *name, const char *labels, uint64_t value,
                        unsigned decimals) RC_MUST;
/* Appends name="value" with backslash, quote and newline escaped; bytes that are not UTF-8
 * become '?'. */
enum rc metrics_label(struct buf *out, const char *name, struct strv value) RC_MUST;

#endif
