/*
 * desk_answer.c - the desk's two answers as JSON.
 *
 * Names and amounts are those of the reports: USD as decimal text, counts as numbers,
 * unknown as null.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/jsonw.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "proxy/counters.h"
#include "proxy/desk.h"
#include "proxy/server_int.h"
#include "reports/limit_spent.h"

enum {
    CATCH_UP_MS = 500,
    RATIO_DIGITS = 10000, /* used_ratio has four places */
    RATIO_TEXT = 32,
};

static void put_text(struct jsonw *w, const char *name, const char *text)
{
    jsonw_key(w, strv_z(name));
    jsonw_string(w, strv_z(text));
}

static void put_time(struct jsonw *w, const char *name, int64_t us)
{
    char text[DATETIME_TEXT];

    datetime_format_us(us, text);
    put_text(w, name, text);
}

static void put_money(struct jsonw *w, struct money m)
{
    char text[MONEY_TEXT];

    (void)money_format(m, text);
    jsonw_string(w, strv_z(text));
}

/* ---- budget ---------------------------------------------------------------------------------- */

/* "limit_usd": "5" or "limit_count": 5 */
static void put_amount(struct jsonw *w, const struct limit_def *def, const char *name, uint64_t n)
{
    char key[32];

    (void)snprintf(key, sizeof(key), "%s_%s", name, def->unit == UNIT_USD ? "usd" : "count");
    jsonw_key(w, strv_z(key));
    if (def->unit == UNIT_USD)
        put_money(w, (struct money){(money_int)n * ATTO_PER_NANO});
    else
        jsonw_uint(w, n);
}

/* Spent and reserved together, which the limit is compared with. */
static uint64_t taken(const struct limit_counter *c)
{
    return c->spent > UINT64_MAX - c->reserved ? UINT64_MAX : c->spent + c->reserved;
}

/* a is nearer to its limit than b: nothing is nearer than a limit of nothing. */
static bool is_nearer(const struct limit_set *set, const struct limit_counter *a,
                      const struct limit_counter *b)
{
    uint64_t limit_a = limit_set_at(set, a->limit)->limit;
    uint64_t limit_b = limit_set_at(set, b->limit)->limit;

    if (limit_a == 0 || limit_b == 0)
        return limit_a == 0 && limit_b != 0;
    return (money_int)taken(a) * (money_int)limit_b > (money_int)taken(b) * (money_int)limit_a;
}

static void put_ratio(struct jsonw *w, uint64_t n, uint64_t of)
{
    money_int parts = of > 0 ? (money_int)n * RATIO_DIGITS / (money_int)of : RATIO_DIGITS;
    char text[RATIO_TEXT];
    /* Many times its limit is as good as any other many times. */
    uint64_t shown = parts > INT64_MAX ? INT64_MAX : (uint64_t)parts;

    (void)snprintf(text, sizeof(text), "%" PRIu64 ".%04" PRIu64, shown / RATIO_DIGITS,
                   shown % RATIO_DIGITS);
    jsonw_key(w, STRV("used_ratio"));
    jsonw_raw(w, strv_z(text));
}

static void put_limit(struct jsonw *w, const struct limit_set *set, const struct limit_counter *c)
{
    const struct limit_def *def = limit_set_at(set, c->limit);
    uint64_t limit = limit_at(def, clock_wall_us());
    uint64_t used = taken(c);
    char window[DATETIME_TEXT];

    limit_window_text(def, window);
    jsonw_object(w);
    put_text(w, "budget", def->name);
    jsonw_key(w, STRV("scope"));
    if (c->scope.n > 0)
        jsonw_string(w, c->scope);
    else
        jsonw_null(w);
    put_text(w, "unit", limit_unit_name(def->unit));
    put_text(w, "window", window);
    put_text(w, "mode", def->mode == LIMIT_ENFORCE ? "enforce" : "warn");
    /* Rolling windows have no end, and that of all time has none that can be written. */
    if (c->end_us > 0 && c->end_us < INT64_MAX) {
        put_time(w, "window_start", c->start_us);
        put_time(w, "window_end", c->end_us);
    } else {
        jsonw_key(w, STRV("window_start"));
        jsonw_null(w);
        jsonw_key(w, STRV("window_end"));
        jsonw_null(w);
    }
    put_amount(w, def, "limit", limit);
    put_amount(w, def, "spent", c->spent);
    put_amount(w, def, "reserved", c->reserved);
    put_amount(w, def, "remaining", used < limit ? limit - used : 0);
    put_ratio(w, used, limit);
    jsonw_end(w);
}

static bool names(const struct limit_def *def, enum dimension d)
{
    struct strv name = dimension_view(d);

    for (size_t i = 0; i < def->n_match; i++) {
        if (strv_eq(def->match[i].name, name))
            return true;
    }
    for (size_t i = 0; i < def->n_per; i++) {
        if (strv_eq(def->per[i], name))
            return true;
    }
    return false;
}

/* Looks at something of a call that the question does not name. */
static bool is_open(const struct limit_def *def, const struct subject *subject)
{
    return (subject->dim[DIM_MODEL].n == 0 && names(def, DIM_MODEL)) ||
           (subject->dim[DIM_UPSTREAM].n == 0 && names(def, DIM_UPSTREAM));
}

static enum rc counters_of(struct server *server, const struct config *config,
                           const struct subject *subject, int64_t now_us, struct arena *arena,
                           struct limit_counter out[LIMIT_CLAIMS_MAX], size_t *n)
{
    static const struct limit_amounts nothing;
    static const struct uuid id;
    struct limiter_options options = counters_options(config);
    struct admission *a = xcalloc(1, sizeof(*a));
    enum rc rc = admission_init(a, config->limits, subject, &nothing, &id, now_us, arena);

    *n = 0;
    for (size_t i = 0; rc == RC_OK && i < a->n_claims; i++) {
        const struct limit_claim *claim = &a->claims[i];

        if (is_open(limit_set_at(config->limits, claim->limit), subject))
            continue;
        out[(*n)++] = (struct limit_counter){.limit = claim->limit,
                                             .scope = claim->scope,
                                             .start_us = claim->start_us,
                                             .end_us = claim->end_us};
    }
    free(a);
    if (rc == RC_OK && *n > 0)
        rc = limit_look(&options, server->limit_memory, config->limits, out, *n);
    return rc;
}

/* Limits that may hold too, depending on the call's model or upstream. */
static void put_open(struct jsonw *w, const struct limit_set *set, const struct subject *subject)
{
    jsonw_key(w, STRV("depends_on_call"));
    jsonw_array(w);
    for (size_t i = 0; i < limit_set_count(set); i++) {
        if (is_open(limit_set_at(set, i), subject))
            jsonw_string(w, strv_z(limit_set_at(set, i)->name));
    }
    jsonw_end(w);
}

enum rc desk_budget(struct server *server, const struct generation *generation,
                    const struct subject *subject, int64_t now_us, struct arena *arena,
                    struct buf *out)
{
    const struct limit_set *set = generation->config->limits;
    struct limit_counter at[LIMIT_CLAIMS_MAX];
    const struct limit_counter *nearest = NULL;
    struct jsonw w;
    size_t n;
    enum rc rc = counters_of(server, generation->config, subject, now_us, arena, at, &n);

    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; i < n; i++) {
        bool enforced = limit_set_at(set, at[i].limit)->mode == LIMIT_ENFORCE;

        if (enforced && (!nearest || is_nearer(set, &at[i], nearest)))
            nearest = &at[i];
    }
    jsonw_start(&w, out);
    jsonw_object(&w);
    jsonw_key(&w, STRV("key"));
    jsonw_string(&w, subject->dim[DIM_KEY]);
    put_time(&w, "at", now_us);
    jsonw_key(&w, STRV("nearest"));
    if (nearest)
        put_limit(&w, set, nearest);
    else
        jsonw_null(&w);
    jsonw_key(&w, STRV("budgets"));
    jsonw_array(&w);
    for (size_t i = 0; i < n; i++)
        put_limit(&w, set, &at[i]);
    jsonw_end(&w);
    put_open(&w, set, subject);
    jsonw_end(&w);
    return jsonw_finish(&w);
}

/* ---- usage ------------------------------------------------------------------------------------- */

static void put_tokens(struct jsonw *w, const char *name, const struct ledger_sums *s,
                       enum usage_field field)
{
    jsonw_key(w, strv_z(name));
    if (s->requests > 0 && s->by_usage_source[USAGE_NONE] == s->requests)
        jsonw_null(w);
    else
        jsonw_uint(w, s->tokens[field]);
}

static void put_sums(struct jsonw *w, int64_t from_us, int64_t to_us, const struct ledger_sums *s)
{
    put_time(w, "from", from_us);
    put_time(w, "to", to_us);
    jsonw_key(w, STRV("requests"));
    jsonw_uint(w, s->requests);
    jsonw_key(w, STRV("errors"));
    jsonw_uint(w, s->errors);
    put_tokens(w, "input_tokens", s, USAGE_INPUT);
    put_tokens(w, "output_tokens", s, USAGE_OUTPUT);
    jsonw_key(w, STRV("cost_usd"));
    if (s->requests > 0 && s->priced == 0)
        jsonw_null(w);
    else
        put_money(w, s->cost);
    jsonw_key(w, STRV("unpriced_requests"));
    jsonw_uint(w, s->unpriced);
}

static enum rc put_period(struct ledger_reader *reader, const struct config *config,
                          struct strv key, enum period period, int64_t now_us, struct jsonw *w,
                          struct fail *fail)
{
    static const struct ledger_field field = {.id = FIELD_KEY};
    struct ledger_question *q = xcalloc(1, sizeof(*q));
    struct ledger_rows rows;
    int64_t from_us, to_us;
    enum rc rc;

    zone_period(config->zone, period, now_us, &from_us, &to_us);
    q->grain = PERIOD_TOTAL;
    q->zone = config->zone;
    ledger_filter_init(&q->filter, from_us, to_us);
    rc = ledger_filter_add(&q->filter, field, LEDGER_EQ, &key, 1);
    if (rc == RC_OK)
        rc = ledger_read_sums(reader, q, &rows, fail);
    free(q);
    if (rc != RC_OK)
        return rc;
    jsonw_key(w, period == PERIOD_DAY ? STRV("today") : STRV("month"));
    jsonw_object(w);
    put_sums(w, from_us, to_us, &rows.total.sums);
    jsonw_end(w);
    ledger_rows_release(&rows);
    return RC_OK;
}

/* Within a view of the ledger. */
static enum rc put_usage(struct ledger_reader *reader, const struct config *config,
                         struct strv key, int64_t now_us, struct buf *out, struct fail *fail)
{
    struct ledger_as_of as_of;
    struct jsonw w;
    enum rc rc = ledger_read_as_of(reader, &as_of, fail);

    jsonw_start(&w, out);
    jsonw_object(&w);
    jsonw_key(&w, STRV("key"));
    jsonw_string(&w, key);
    if (rc == RC_OK && as_of.us > 0)
        put_time(&w, "as_of", as_of.us);
    if (rc == RC_OK)
        rc = put_period(reader, config, key, PERIOD_DAY, now_us, &w, fail);
    if (rc == RC_OK)
        rc = put_period(reader, config, key, PERIOD_MONTH, now_us, &w, fail);
    if (rc != RC_OK)
        return rc;
    jsonw_end(&w);
    return jsonw_finish(&w);
}

enum rc desk_usage(struct server *server, const struct generation *generation,
                   const struct subject *subject, int64_t now_us, struct buf *out)
{
    const struct config *config = generation->config;
    struct fail fail = {0};
    struct ledger_reader *reader;
    enum rc rc;

    if (ledger_catch_up_within(server->ledger, CATCH_UP_MS) != RC_OK)
        log_line(LOG_DEBUG, "desk", "the ledger lags", "ms=%d", CATCH_UP_MS); /* as_of says so */
    reader = ledger_read_open(config->ledger_path, &fail);
    if (!reader)
        return RC_IO;
    rc = ledger_read_begin(reader, &fail);
    if (rc == RC_OK) {
        rc = put_usage(reader, config, subject->dim[DIM_KEY], now_us, out, &fail);
        ledger_read_end(reader);
    }
    ledger_read_close(reader);
    return rc;
}
