/*
 * fixture.h - a ledger with records of a test, and reports asked of it.
 *
 * Records go through the journal and the ingest, as those of a gateway do.
 */
#ifndef TESTS_UNIT_REPORTS_FIXTURE_H
#define TESTS_UNIT_REPORTS_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cJSON.h>

#include "base/xalloc.h"
#include "base/zone.h"
#include "metering/ledger/journal.h"
#include "metering/ledger/ledger.h"
#include "reports/report.h"
#include "tests/unit/unit.h"

enum { FIXTURE_OUT_MAX = 64 << 20 };

struct fixture {
    char dir[64], path[96], journal_dir[96];
    struct journal *journal;
    struct ledger *ledger;
    struct zone *utc;
    struct report_sources sources;
    struct buf out, error;
};

static inline int64_t at(const char *rfc3339)
{
    int64_t us;

    assert_true(datetime_parse(strv_z(rfc3339), &us));
    return us;
}

static inline void fixture_open(struct fixture *f)
{
    struct ledger_options options = {
        .sync = SYNC_NEVER, .sync_interval_ms = 200, .ingest_interval_ms = 5};
    struct fail fail = {0};

    memset(f, 0, sizeof(*f));
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/tollgate-reports-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof(f->path), "%s/ledger.db", f->dir);
    (void)snprintf(f->journal_dir, sizeof(f->journal_dir), "%s/journal", f->dir);
    options.path = f->path;
    options.journal_dir = f->journal_dir;
    f->ledger = ledger_start(&options, NULL, NULL, &fail);
    assert_non_null(f->ledger);
    f->journal = journal_open(f->journal_dir, 0, &fail);
    assert_non_null(f->journal);
    f->utc = zone_open("UTC");
    f->sources = (struct report_sources){.ledger_path = f->path, .zone = f->utc};
    f->sources.now_us = at("2026-11-21T09:30:00Z");
    buf_init(&f->out, FIXTURE_OUT_MAX);
    buf_init(&f->error, REPORT_ERROR_MAX_BYTES);
}

static inline void fixture_flush(struct fixture *f)
{
    struct fail fail;

    assert_int_equal(journal_flush(f->journal, &fail), RC_OK);
    ledger_catch_up(f->ledger);
}

static inline void fixture_close(struct fixture *f)
{
    char command[128];

    journal_close(f->journal);
    ledger_stop(f->ledger);
    zone_close(f->utc);
    buf_release(&f->out);
    buf_release(&f->error);
    (void)snprintf(command, sizeof(command), "rm -r %s", f->dir);
    assert_int_equal(system(command), 0);
}

/* A record with the usual in it; the caller changes what its test is about. */
static inline struct record fixture_record(int64_t end_us)
{
    struct record r = {.start_us = end_us - 1500000, .end_us = end_us};

    uuid7_make(&r.id, r.start_us);
    r.subject.dim[DIM_KEY] = STRV("key");
    r.subject.dim[DIM_MODEL] = STRV("model-1");
    r.subject.dim[DIM_UPSTREAM] = STRV("openai");
    r.protocol = STRV("openai");
    r.endpoint = STRV("chat.completions");
    r.method = STRV("POST");
    r.model = r.model_requested = STRV("model-1");
    r.status = 200;
    r.outcome = OUTCOME_OK;
    usage_set(&r.usage, USAGE_INPUT, 100);
    usage_set(&r.usage, USAGE_OUTPUT, 10);
    r.usage_source = USAGE_PROVIDER;
    r.price_status = PRICE_OK;
    r.price_match = MATCH_EXACT;
    r.price_id = STRV("openai/model-1@2026-01-01");
    r.book = STRV("0123");
    r.node = STRV("node");
    r.latency_us = 1500000;
    r.first_byte_us = 300000;
    return r;
}

static inline void fixture_set_cost(struct record *r, money_int atto)
{
    r->cost.atto = r->list_cost.atto = atto;
}

static inline void fixture_add(struct fixture *f, const struct record *r)
{
    assert_int_equal(journal_begin(f->journal, r), RC_OK);
    assert_int_equal(journal_end(f->journal, r), RC_OK);
}

static inline void fixture_close_task(struct fixture *f, const char *team, const char *task,
                                      enum task_outcome outcome, int64_t at_us)
{
    const struct task_note note = {at_us, strv_z(team), strv_z(task), STRV("key"), outcome};

    assert_int_equal(journal_task(f->journal, &note), RC_OK);
}

/* Runs `NAME?QUERY`; what it says is in f->out or f->error. */
static inline enum rc fixture_run(struct fixture *f, const char *name, const char *query)
{
    struct report_params params;
    enum rc rc;

    buf_clear(&f->out);
    buf_clear(&f->error);
    params_init(&params);
    params.format = FORMAT_JSON;
    rc = params_query(&params, strv_z(query), &f->error);
    if (rc == RC_OK)
        rc = report_run(strv_z(name), &params, &f->sources, &f->out, &f->error);
    params_release(&params);
    return rc;
}

/* The same, as JSON that the caller deletes. */
static inline cJSON *fixture_json(struct fixture *f, const char *name, const char *query)
{
    enum rc rc = fixture_run(f, name, query);
    cJSON *json;

    if (rc != RC_OK)
        print_error("%s?%s: %.*s\n", name, query, STRV_ARG(buf_view(&f->error)));
    assert_int_equal(rc, RC_OK);
    json = cJSON_ParseWithLength(buf_view(&f->out).p, buf_len(&f->out));
    assert_non_null(json);
    return json;
}

static inline bool fixture_error_says(const struct fixture *f, const char *text)
{
    struct strv said = buf_view(&f->error);

    return said.n && memmem(said.p, said.n, text, strlen(text)) != NULL;
}

static inline const cJSON *member(const cJSON *object, const char *name)
{
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(object, name);

    if (!found)
        print_error("no member %s\n", name);
    assert_non_null(found);
    return found;
}

/* An amount as atto-USD, a count as it is, null as 0. */
static inline money_int amount(const cJSON *row, const char *name)
{
    const cJSON *value = member(row, name);
    struct money m;

    if (cJSON_IsNull(value))
        return 0;
    if (cJSON_IsNumber(value))
        return (money_int)value->valuedouble; /* counts of tests are below 2^53 */
    assert_true(cJSON_IsString(value));
    assert_int_equal(money_parse(strv_z(value->valuestring), &m), RC_OK);
    return m.atto;
}

static inline const cJSON *rows_of(const cJSON *json)
{
    return member(json, "rows");
}

/* The row whose member has this text. */
static inline const cJSON *row_with(const cJSON *json, const char *name, const char *text)
{
    const cJSON *row;

    cJSON_ArrayForEach(row, rows_of(json))
    {
        if (strcmp(member(row, name)->valuestring, text) == 0)
            return row;
    }
    print_error("no row with %s = %s\n", name, text);
    fail();
    return NULL;
}

#endif
