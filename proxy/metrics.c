/*
 * metrics.c - see metrics.h.
 *
 * Text is appended piece by piece; whoever appends several pieces as one view goes
 * back to the start where one did not fit, so that a scrape is whole or fails.
 */
#include "proxy/metrics.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "proxy/alerts.h"
#include "proxy/config.h"

enum {
    LABEL_MAX_BYTES = 32 << 10, /* of one sample: two values of a limit, escaped */
    NUMBER_TEXT = 48,
    NANO_DECIMALS = 9,
    MICRO_DECIMALS = 6,
    COST_DECIMALS = 18,
};

#define TRY(call)                                                                              \
    do {                                                                                       \
        enum rc try_rc = (call);                                                               \
        if (try_rc != RC_OK)                                                                   \
            return try_rc;                                                                     \
    } while (0)

void stat_cost(struct worker_stats *s, struct money cost)
{
    int64_t nano, rest;

    if (cost.atto <= 0)
        return;
    money_split(cost, &nano, &rest);
    stat_add(&s->cost_nano_usd, (uint64_t)nano);
    stat_add(&s->cost_rest_atto, (uint64_t)rest);
}

void stat_observe(struct stat_histogram *h, int64_t us)
{
    uint64_t n = us > 0 ? (uint64_t)us : 0;
    uint64_t bound = STAT_BUCKET_BASE_US;
    unsigned k = 0;

    while (k < STAT_BUCKETS && n > bound) {
        bound <<= 1;
        k++;
    }
    stat_add(&h->bucket[k], 1);
    stat_add(&h->sum_us, n);
}

/* ---- pieces --------------------------------------------------------------------- */

enum rc metrics_family(struct buf *out, const char *name, const char *type, const char *help)
{
    return buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static enum rc sample(struct buf *out, const char *name, const char *suffix, const char *labels,
                      const char *value)
{
    if (!labels[0])
        return buf_printf(out, "%s%s %s\n", name, suffix, value);
    return buf_printf(out, "%s%s{%s} %s\n", name, suffix, labels, value);
}

enum rc metrics_uint(struct buf *out, const char *name, const char *labels, uint64_t value)
{
    char text[NUMBER_TEXT];

    (void)snprintf(text, sizeof(text), "%" PRIu64, value);
    return sample(out, name, "", labels, text);
}

/* 12000 with 3 decimals is "12", 12050 is "12.05". */
static void decimal_text(uint64_t value, unsigned decimals, char out[NUMBER_TEXT])
{
    uint64_t scale = 1;
    int n;

    for (unsigned i = 0; i < decimals; i++)
        scale *= 10;
    n = snprintf(out, NUMBER_TEXT, "%" PRIu64, value / scale);
    if (value % scale == 0)
        return;
    n += snprintf(out + n, (size_t)(NUMBER_TEXT - n), ".%0*" PRIu64, (int)decimals,
                  value % scale);
    while (out[n - 1] == '0')
        out[--n] = '\0';
}

enum rc metrics_decimal(struct buf *out, const char *name, const char *labels, uint64_t value,
                        unsigned decimals)
{
    char text[NUMBER_TEXT];

    if (decimals > COST_DECIMALS)
        return RC_LIMIT;
    decimal_text(value, decimals, text);
    return sample(out, name, "", labels, text);
}

enum rc metrics_label(struct buf *out, const char *name, struct strv value)
{
    TRY(buf_printf(out, "%s=\"", name));
    while (value.n) {
        size_t n = utf8_sequence(value);

        if (n == 0)
            TRY(buf_append(out, "?", 1));
        else if (value.p[0] == '\n')
            TRY(buf_append(out, "\\n", 2));
        else if (value.p[0] == '"' || value.p[0] == '\\')
            TRY(buf_printf(out, "\\%c", value.p[0]));
        else
            TRY(buf_append(out, value.p, n));
        value = strv_skip(value, n ? n : 1);
    }
    return buf_append(out, "\"", 1);
}

/* ---- counters of the workers ------------------------------------------------------ */

/* Adds up a member of all workers that lies at this offset. */
static uint64_t sum_at(const struct metrics_view *view, size_t offset)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < view->n_workers; i++) {
        const char *base = (const char *)view->workers[i];
        sum += stat_get((const stat_value *)(const void *)(base + offset));
    }
    return sum;
}

#define SUM(view, member) sum_at(view, offsetof(struct worker_stats, member))
#define SUM_AT(view, member, i)                                                                \
    sum_at(view, offsetof(struct worker_stats, member) + (i) * sizeof(stat_value))

static enum rc render_single(const struct metrics_view *view, struct buf *out)
{
    static const struct {
        const char *type, *metric, *labels, *help;
        size_t offset;
    } single[] = {
#define STAT_ROW(field, type, metric, labels, help)                                            \
    {type, metric, labels, help, offsetof(struct worker_stats, field)},
        WORKER_STATS(STAT_ROW)
#undef STAT_ROW
    };
    const char *last = "";

    for (size_t i = 0; i < sizeof(single) / sizeof(single[0]); i++) {
        if (strcmp(last, single[i].metric) != 0)
            TRY(metrics_family(out, single[i].metric, single[i].type, single[i].help));
        last = single[i].metric;
        TRY(metrics_uint(out, single[i].metric, single[i].labels,
                         sum_at(view, single[i].offset)));
    }
    return RC_OK;
}

/* A family with one label whose values name the members of an array. */
static enum rc render_array(const struct metrics_view *view, struct buf *out,
                            const char *metric, const char *help, const char *label,
                            size_t offset, size_t n, const char *(*name)(size_t i))
{
    enum rc rc = RC_OK;
    struct buf labels;

    buf_init(&labels, LABEL_MAX_BYTES);
    TRY(metrics_family(out, metric, "counter", help));
    for (size_t i = 0; rc == RC_OK && i < n; i++) {
        if (!name(i))
            continue;
        buf_clear(&labels);
        rc = metrics_label(&labels, label, strv_z(name(i)));
        if (rc == RC_OK)
            rc = buf_append(&labels, "", 1);
        if (rc == RC_OK)
            rc = metrics_uint(out, metric, buf_view(&labels).p,
                              sum_at(view, offset + i * sizeof(stat_value)));
    }
    buf_release(&labels);
    return rc;
}

static const char *class_at(size_t i)
{
    static const char *const names[STAT_CLASSES] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};

    return names[i];
}

static const char *refusal_at(size_t i)
{
    return refusal_code((enum refusal)i);
}

static const char *outcome_at(size_t i)
{
    return outcome_name((enum outcome)i);
}

static const char *source_at(size_t i)
{
    return usage_source_name((enum usage_source)i);
}

/* Label values of the faults: the text of the table. "ok" is no fault. */
static const char *fault_at(size_t i)
{
    return i == HTTP1_OK ? NULL : http1_fault_text((enum http1_fault)i);
}

static enum rc render_arrays(const struct metrics_view *view, struct buf *out)
{
    TRY(render_array(view, out, "tollgate_responses_total",
                     "Responses to clients by class of status; none: the client got none.",
                     "class", offsetof(struct worker_stats, responses), STAT_CLASSES,
                     class_at));
    TRY(render_array(view, out, "tollgate_refused_total",
                     "Requests that the gateway itself refused, by code.", "code",
                     offsetof(struct worker_stats, refused), REFUSAL_COUNT, refusal_at));
    TRY(render_array(view, out, "tollgate_outcomes_total",
                     "Requests that ended, by outcome; each has a record in the ledger.",
                     "outcome", offsetof(struct worker_stats, outcomes), OUTCOME_COUNT,
                     outcome_at));
    TRY(render_array(view, out, "tollgate_usage_source_total",
                     "Requests that ended, by where their usage came from.", "source",
                     offsetof(struct worker_stats, usage_source), STAT_USAGE_SOURCES,
                     source_at));
    return render_array(view, out, "tollgate_http_faults_total",
                        "Messages refused for their syntax, from clients and upstreams.",
                        "fault", offsetof(struct worker_stats, http_faults), STAT_HTTP1_FAULTS,
                        fault_at);
}

static enum rc render_cost(const struct metrics_view *view, struct buf *out)
{
    struct money cost = {0};
    char text[MONEY_TEXT];

    cost.atto = (money_int)SUM(view, cost_nano_usd) * ATTO_PER_NANO +
                (money_int)SUM(view, cost_rest_atto);
    money_format(cost, text);
    TRY(metrics_family(out, "tollgate_cost_usd_total", "counter",
                       "Cost of ended requests, for graphs; the ledger has the exact sums."));
    return sample(out, "tollgate_cost_usd_total", "", "", text);
}

static enum rc render_histogram(const struct metrics_view *view, struct buf *out,
                                const char *metric, const char *help, size_t offset)
{
    char le[NUMBER_TEXT + sizeof("le=\"\"")], text[NUMBER_TEXT];
    uint64_t count = 0, sum;

    TRY(metrics_family(out, metric, "histogram", help));
    for (size_t k = 0; k <= STAT_BUCKETS; k++) {
        count += sum_at(view, offset + offsetof(struct stat_histogram, bucket) +
                                  k * sizeof(stat_value));
        if (k < STAT_BUCKETS)
            decimal_text((uint64_t)STAT_BUCKET_BASE_US << k, MICRO_DECIMALS, text);
        else
            (void)snprintf(text, sizeof(text), "+Inf");
        (void)snprintf(le, sizeof(le), "le=\"%s\"", text);
        (void)snprintf(text, sizeof(text), "%" PRIu64, count);
        TRY(sample(out, metric, "_bucket", le, text));
    }
    sum = sum_at(view, offset + offsetof(struct stat_histogram, sum_us));
    decimal_text(sum, MICRO_DECIMALS, text);
    TRY(sample(out, metric, "_sum", "", text));
    /* The same number as the last bucket, though workers go on while they are read. */
    (void)snprintf(text, sizeof(text), "%" PRIu64, count);
    return sample(out, metric, "_count", "", text);
}

static enum rc render_workers(const struct metrics_view *view, struct buf *out)
{
    TRY(render_single(view, out));
    TRY(render_arrays(view, out));
    TRY(render_cost(view, out));
    TRY(render_histogram(view, out, "tollgate_request_duration_seconds",
                         "From request head to the end of the response.",
                         offsetof(struct worker_stats, duration)));
    return render_histogram(view, out, "tollgate_time_to_first_byte_seconds",
                            "From request head to the first byte of the response.",
                            offsetof(struct worker_stats, first_byte));
}

/* ---- limiter, ledger, process ------------------------------------------------------- */

struct single {
    const char *metric, *type, *help;
    uint64_t value;
};

static enum rc render_list(const struct single *list, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++) {
        TRY(metrics_family(out, list[i].metric, list[i].type, list[i].help));
        TRY(metrics_uint(out, list[i].metric, "", list[i].value));
    }
    return RC_OK;
}

static enum rc render_limiters(const struct metrics_view *view, struct buf *out)
{
    struct limiter_stats sum = {.connected = true};

    for (size_t i = 0; i < view->n_limiters; i++) {
        const struct limiter_stats *l = &view->limiters[i];
        sum.reserves += l->reserves;
        sum.denials += l->denials;
        sum.settles += l->settles;
        sum.timeouts += l->timeouts;
        sum.reconnects += l->reconnects;
        sum.leased += l->leased;
        sum.local_admissions += l->local_admissions;
        sum.script_calls += l->script_calls;
        sum.unsettled += l->unsettled;
        sum.connected = sum.connected && l->connected;
    }
    const struct single list[] = {
        {"tollgate_limiter_reserves_total", "counter", "Reservations asked for.", sum.reserves},
        {"tollgate_limiter_denials_total", "counter", "Reservations that had no room.",
         sum.denials},
        {"tollgate_limiter_settles_total", "counter", "Reservations settled.", sum.settles},
        {"tollgate_limiter_timeouts_total", "counter", "Reservations that waited too long.",
         sum.timeouts},
        {"tollgate_limiter_reconnects_total", "counter",
         "Connections to the counters reopened.", sum.reconnects},
        {"tollgate_limiter_leased_total", "counter",
         "Reservations that were taken from a lease, without asking Redis.", sum.leased},
        {"tollgate_limiter_local_admissions_total", "counter",
         "Requests admitted without the shared counters.", sum.local_admissions},
        {"tollgate_limiter_calls_total", "counter", "Script calls to the counters.",
         sum.script_calls},
        {"tollgate_limiter_unsettled", "gauge", "Settlements not yet acknowledged.",
         sum.unsettled},
        {"tollgate_limiter_connected", "gauge",
         "1 where every worker reaches the shared counters.", sum.connected ? 1 : 0},
    };
    return render_list(list, sizeof(list) / sizeof(list[0]), out);
}

static enum rc render_ledger(const struct ledger_stats *s, struct buf *out)
{
    const struct single list[] = {
        {"tollgate_ledger_ingested_total", "counter", "Records taken from journal to ledger.",
         s->ingested},
        {"tollgate_ledger_interrupted_total", "counter",
         "Records completed for a process that died.", s->interrupted},
        {"tollgate_ledger_torn_tails_total", "counter", "Journal segments whose tail was cut.",
         s->torn_tails},
        {"tollgate_ledger_torn_bytes_total", "counter", "Bytes cut from journal segments.",
         s->torn_bytes},
        {"tollgate_ledger_batches_total", "counter", "Batches committed.", s->batches},
        {"tollgate_ledger_failures_total", "counter", "Batches that failed and were retried.",
         s->failures},
        {"tollgate_ledger_put_off_total", "counter",
         "Steps of work in pauses (adding up, deleting old lines) that failed and are tried again.",
         s->put_off},
        {"tollgate_ledger_chores_left", "gauge",
         "1 while work in pauses (adding up, deleting old lines) is left, 0 once all is done.",
         s->has_chores},
        {"tollgate_journal_syncs_total", "counter", "Journals brought to the disk.", s->syncs},
        {"tollgate_journal_sync_failures_total", "counter",
         "Journals that could not be brought to the disk, and were tried again.",
         s->sync_failures},
        {"tollgate_ledger_deleted_lines_total", "counter", "Lines deleted for their age.",
         s->expired},
        {"tollgate_ledger_waiting_bytes", "gauge", "Journalled, not yet in the ledger.",
         s->waiting_bytes},
        {"tollgate_ledger_page_bytes", "gauge", "Pages of the ledger in its writer's memory.",
         s->page_bytes},
        {"tollgate_ledger_name_bytes", "gauge", "Names that the ledger's writer remembers.",
         s->name_bytes},
    };

    TRY(render_list(list, sizeof(list) / sizeof(list[0]), out));
    TRY(metrics_family(out, "tollgate_ledger_lag_seconds", "gauge",
                       "Age of the oldest journal entry that is not in the ledger."));
    return metrics_decimal(out, "tollgate_ledger_lag_seconds", "",
                           s->lag_us > 0 ? (uint64_t)s->lag_us : 0, MICRO_DECIMALS);
}

static enum rc render_alerts(const struct alert_stats *s, struct buf *out)
{
    static const char *const kinds[ALERT_CHANNEL_KINDS] = {
        [ALERT_SLACK] = "slack",
        [ALERT_PAGERDUTY] = "pagerduty",
        [ALERT_WEBHOOK] = "webhook",
        [ALERT_EMAIL] = "email",
    };
    static const char *const results[ALERT_COUNTS] = {"sent", "retried", "lost"};
    const struct single list[] = {
        {"tollgate_alerts_firing", "gauge", "Alerts that were told and are not over.",
         s->firing},
        {"tollgate_alerts_waiting", "gauge", "Alerts that wait to be delivered.", s->waiting},
    };

    TRY(metrics_family(out, "tollgate_alerts_total", "counter",
                       "Tries to deliver an alert, by kind of channel and what came of it."));
    for (size_t k = 0; k < ALERT_CHANNEL_KINDS; k++) {
        for (size_t r = 0; r < ALERT_COUNTS; r++) {
            char labels[64];

            (void)snprintf(labels, sizeof(labels), "channel=\"%s\",result=\"%s\"", kinds[k],
                           results[r]);
            TRY(metrics_uint(out, "tollgate_alerts_total", labels, s->by[k][r]));
        }
    }
    return render_list(list, sizeof(list) / sizeof(list[0]), out);
}

static enum rc render_process(const struct metrics_view *view, struct buf *out)
{
    const struct single list[] = {
        {"tollgate_workers", "gauge", "Event loops.", view->n_workers},
        {"tollgate_draining", "gauge",
         "1 while the process finishes what runs and takes no more.", view->draining ? 1 : 0},
        {"tollgate_reloads_total", "counter", "Configurations taken over.", view->reloads},
        {"tollgate_reload_failures_total", "counter", "Configurations refused.",
         view->reload_failures},
        {"tollgate_heap_used_bytes", "gauge", "Memory that malloc has given out.",
         view->heap_used},
        {"tollgate_heap_kept_bytes", "gauge", "Memory that malloc keeps for the next who asks.",
         view->heap_kept},
    };
    enum rc rc;
    struct buf labels;

    if (view->version) {
        buf_init(&labels, LABEL_MAX_BYTES);
        rc = metrics_label(&labels, "version", strv_z(view->version));
        if (rc == RC_OK)
            rc = buf_append(&labels, "", 1);
        if (rc == RC_OK)
            rc = metrics_family(out, "tollgate_build_info", "gauge", "Always 1.");
        if (rc == RC_OK)
            rc = metrics_uint(out, "tollgate_build_info", buf_view(&labels).p, 1);
        buf_release(&labels);
        TRY(rc);
    }
    if (view->started_us > 0) {
        TRY(metrics_family(out, "process_start_time_seconds", "gauge",
                           "Start of the process, seconds since 1970."));
        TRY(metrics_decimal(out, "process_start_time_seconds", "", (uint64_t)view->started_us,
                            MICRO_DECIMALS));
    }
    return render_list(list, sizeof(list) / sizeof(list[0]), out);
}

static enum rc render_view(const struct metrics_view *view, struct buf *out)
{
    TRY(render_process(view, out));
    if (view->n_workers)
        TRY(render_workers(view, out));
    if (view->n_limiters)
        TRY(render_limiters(view, out));
    if (view->ledger)
        TRY(render_ledger(view->ledger, out));
    return view->alerts ? render_alerts(view->alerts, out) : RC_OK;
}

enum rc metrics_render(const struct metrics_view *view, struct buf *out)
{
    size_t before = buf_len(out);
    enum rc rc = render_view(view, out);

    if (rc != RC_OK)
        out->tail = out->head + before;
    return rc;
}

/* ---- limits ---------------------------------------------------------------------- */

static enum rc limit_labels(const struct metrics_limit *l, struct buf *labels)
{
    buf_clear(labels);
    TRY(metrics_label(labels, "limit", strv_z(l->def->name)));
    TRY(buf_append(labels, ",", 1));
    TRY(metrics_label(labels, "scope", l->scope));
    TRY(buf_append(labels, ",", 1));
    TRY(metrics_label(labels, "unit", strv_z(limit_unit_name(l->def->unit))));
    return buf_append(labels, "", 1);
}

enum limit_gauge { GAUGE_LIMIT = 0, GAUGE_SPENT, GAUGE_RESERVED, GAUGE_RESET, GAUGE_COUNT };

static enum rc limit_sample(const struct metrics_limit *l, enum limit_gauge gauge,
                            const char *metric, const char *labels, struct buf *out)
{
    unsigned decimals = l->def->unit == UNIT_USD ? NANO_DECIMALS : 0;

    switch (gauge) {
    case GAUGE_LIMIT:
        return metrics_decimal(out, metric, labels, limit_at(l->def, clock_wall_us()), decimals);
    case GAUGE_SPENT:
        return metrics_decimal(out, metric, labels, l->spent, decimals);
    case GAUGE_RESERVED:
        return metrics_decimal(out, metric, labels, l->reserved, decimals);
    case GAUGE_RESET:
        /* Rolling windows and those of all time have no reset. */
        if (l->end_us <= 0 || l->end_us == INT64_MAX)
            return RC_OK;
        return metrics_decimal(out, metric, labels, (uint64_t)l->end_us, MICRO_DECIMALS);
    case GAUGE_COUNT:
        break;
    }
    return RC_OK;
}

static enum rc render_limits(const struct metrics_limit *limits, size_t n, size_t total,
                             struct buf *labels, struct buf *out)
{
    static const char *const family[GAUGE_COUNT][2] = {
        [GAUGE_LIMIT] = {"tollgate_limit_limit", "What the limit allows, in its unit."},
        [GAUGE_SPENT] = {"tollgate_limit_spent", "What was taken in the current window."},
        [GAUGE_RESERVED] = {"tollgate_limit_reserved", "What running requests may still take."},
        [GAUGE_RESET] = {"tollgate_limit_reset_timestamp_seconds", "When the window ends."},
    };
    size_t shown = n < METRICS_LIMITS_MAX ? n : METRICS_LIMITS_MAX;

    for (unsigned g = 0; g < GAUGE_COUNT; g++) {
        if (shown)
            TRY(metrics_family(out, family[g][0], "gauge", family[g][1]));
        for (size_t i = 0; i < shown; i++) {
            TRY(limit_labels(&limits[i], labels));
            TRY(limit_sample(&limits[i], (enum limit_gauge)g, family[g][0], buf_view(labels).p,
                             out));
        }
    }
    TRY(metrics_family(out, "tollgate_series_dropped", "gauge",
                       "Counters of limits that are not shown: too many scopes."));
    return metrics_uint(out, "tollgate_series_dropped", "", total > shown ? total - shown : 0);
}

enum rc metrics_limits(const struct metrics_limit *limits, size_t n, size_t total,
                       struct buf *out)
{
    size_t before = buf_len(out);
    struct buf labels;
    enum rc rc;

    buf_init(&labels, LABEL_MAX_BYTES);
    rc = render_limits(limits, n, total, &labels, out);
    if (rc != RC_OK)
        out->tail = out->head + before;
    buf_release(&labels);
    return rc;
}
