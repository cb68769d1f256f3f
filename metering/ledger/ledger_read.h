/*
 * ledger_read.h - questions to the ledger: sums, lines, tasks, refusals.
 *
 * Opens the database for reading only; works in the gateway's process and in any
 * other while the gateway writes (WAL).  Between ledger_read_begin and _end every
 * question sees one and the same state, that of ledger_read_as_of.  A reader
 * belongs to one thread.
 *
 * A line belongs to the time at which it ended (struct record's end_us); periods
 * are half-open.  Sums are integers and exact: those from rollups equal those over
 * the lines to the last digit, and rows always add up to their total.  Nothing is
 * written here, rounded or divided.
 */
#ifndef METERING_LEDGER_LEDGER_READ_H
#define METERING_LEDGER_LEDGER_READ_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/strv.h"
#include "base/tag.h"
#include "base/zone.h"
#include "metering/ledger/journal.h"
#include "metering/ledger/record.h"
#include "metering/ledger/sums.h"
#include "pricing/money.h"

enum {
    LEDGER_CONDITIONS_MAX = 32,  /* conditions of a filter */
    LEDGER_GROUP_MAX = 16,       /* fields of a grouping */
    LEDGER_ROWS_MAX = 2000000,   /* rows of one answer; more is RC_LIMIT */
    LEDGER_VALUES_MAX = 1 << 25, /* costs held to find percentiles; more is RC_LIMIT */
    LEDGER_HELD_MAX = 1 << 19,   /* requests held whole for percentiles where there is another way */
    LEDGER_COSTS_BYTES = 128 << 20, /* costs of groups, of which the dearest are found */
    LEDGER_COUNTED_MAX = 1 << 22, /* values taken for percentiles of few rows, costs or times alone */
    LEDGER_LATENCIES_MAX = 1 << 27, /* times held for the same; of more they stay unknown */
};
/* The longest that a request lasts: how far past a window lines are read by their start. */
#define LEDGER_LONGEST_US (INT64_C(24) * 3600 * 1000000)

/* What can be filtered and grouped by. The first DIM_COUNT are enum dimension, value for value.
 */
enum ledger_field_id {
    FIELD_TEAM = DIM_TEAM,
    FIELD_FEATURE = DIM_FEATURE,
    FIELD_ENVIRONMENT = DIM_ENVIRONMENT,
    FIELD_CUSTOMER = DIM_CUSTOMER,
    FIELD_USER = DIM_USER,
    FIELD_TASK = DIM_TASK,
    FIELD_TASK_TYPE = DIM_TASK_TYPE,
    FIELD_KEY = DIM_KEY,
    FIELD_MODEL = DIM_MODEL,
    FIELD_UPSTREAM = DIM_UPSTREAM,
    FIELD_ENDPOINT = DIM_COUNT,
    FIELD_PROTOCOL,
    FIELD_SERVICE_TIER,
    FIELD_PRICE_ID,
    FIELD_OUTCOME,            /* "ok", "truncated", ... */
    FIELD_USAGE_SOURCE,       /* "none", "provider", "partial", "estimated" */
    FIELD_PRICE_STATUS,       /* "ok", "partial", "none": as price_status_name */
    FIELD_TEAM_SOURCE,        /* "none", "key", "header", "default" */
    FIELD_FEATURE_SOURCE,     /* (the same) */
    FIELD_ENVIRONMENT_SOURCE, /* (the same) */
    FIELD_TOKEN_BAND,         /* ledger_band_name */
    FIELD_PROMPT,             /* keyed hash of the request's body, 16 hex digits */
    FIELD_REPEAT,             /* "yes" or "no": the record's is_repeat */
    FIELD_CACHEABLE,          /* "yes" or "no": its is_cacheable */
    FIELD_TASK_OUTCOME,       /* of its task as it stands now: task_outcome_name; absent without */
    FIELD_TAG,                /* the free tag named `tag` */
    FIELD_TRAFFIC_CLASS,      /* traffic_class of its environment */
    LEDGER_FIELDS,
};

struct ledger_field {
    enum ledger_field_id id;
    struct strv tag; /* FIELD_TAG: its name */
};

/*
 * A name as users write it: a dimension, "endpoint", "protocol", "service_tier",
 * "price_id", "outcome", "usage_source", "price_status", "team_source",
 * "feature_source", "environment_source", "token_band", "prompt", "repeat",
 * "cacheable", "task_outcome", "traffic_class", else a free tag ("tag:" before it is
 * allowed and makes any name a free tag's).  False where it is no valid tag name.
 * The view of a free tag looks into name.
 */
bool ledger_field_parse(struct strv name, struct ledger_field *out);
/* The name; for a free tag the tag's own. */
struct strv ledger_field_name(const struct ledger_field *field);

/* One of the values (op EQ), none of them (NE), or one of them as a glob (GLOB, strv_glob). */
enum ledger_op { LEDGER_EQ = 0, LEDGER_NE, LEDGER_GLOB };

/* An absent value is the empty string: NE "x" holds for it, EQ "" asks for it. */
struct ledger_condition {
    struct ledger_field field;
    enum ledger_op op;
    const struct strv *values; /* borrowed for the call */
    size_t n_values;
};

/* Combinations of values, of which a line must have one, or none. */
struct ledger_tuples {
    struct ledger_field by[LEDGER_GROUP_MAX];
    size_t n_by;
    const struct strv *value; /* n times n_by, in order (strv_cmp, the first field first) */
    size_t n;
    bool is_except;    /* none of them */
    bool passes_tasks; /* lines of a task are not looked at: all pass */
};

/* All conditions must hold. */
struct ledger_filter {
    int64_t from_us, to_us; /* [from, to); INT64_MIN and INT64_MAX: unbounded */
    bool by_start;          /* windows of limits: a line belongs to when it started */
    struct ledger_condition where[LEDGER_CONDITIONS_MAX];
    size_t n_where;
    /*
     * NULL: any; ledger_read_lines alone knows them.  Of a question of sums `only`, by its fields, says
     * of which rows none is looked at: they may be missing.
     */
    const struct ledger_tuples *only, *but;
};

/* Starts with no condition. */
void ledger_filter_init(struct ledger_filter *f, int64_t from_us, int64_t to_us);
/* Adds one; RC_LIMIT where there are LEDGER_CONDITIONS_MAX. Values are borrowed. */
enum rc ledger_filter_add(struct ledger_filter *f, struct ledger_field field, enum ledger_op op,
                          const struct strv *values, size_t n_values) RC_MUST;

struct ledger_reader;

/*
 * Opens the database at path; NULL with fail where it is missing, no ledger, or of
 * a newer schema than this program knows (fail->rc RC_STATE then).
 */
struct ledger_reader *ledger_read_open(const char *path, struct fail *fail);
void ledger_read_close(struct ledger_reader *r);
/*
 * How long questions are shared by threads (read_crew.h): at most so many, of at least so many
 * blocks each; 0: as it comes. For tests.
 */
void ledger_read_crew(struct ledger_reader *r, size_t most, size_t blocks_least);
/*
 * Percentiles of rows that have at most n requests in all may be found by holding these (default:
 * LEDGER_HELD_MAX).
 */
void ledger_read_hold(struct ledger_reader *r, uint64_t n);
/*
 * Those of few rows with more may be found by counting, where the buckets that hold a rank have at
 * most n costs and n times (default: LEDGER_COUNTED_MAX).
 */
void ledger_read_count(struct ledger_reader *r, uint64_t n);
/*
 * Which groups are the dearest may be found by holding one cost each, in at most so many bytes of each
 * thread (default: LEDGER_COSTS_BYTES); where these are too few, with all sums of every group.
 */
void ledger_read_costs(struct ledger_reader *r, size_t bytes);

/* Begins one consistent view, until ledger_read_end. Not nested. */
enum rc ledger_read_begin(struct ledger_reader *r, struct fail *fail) RC_MUST;
void ledger_read_end(struct ledger_reader *r);

struct ledger_as_of {
    uint64_t seq;     /* of the newest line; 0: none */
    int64_t us;       /* everything that was journalled before this is in; 0: nothing yet */
    int64_t first_us; /* end of the earliest and of the latest line; 0 where there is none.
                         The earliest deleted: the day of UTC that it ended on */
    int64_t last_us;
    int64_t kept_from_us; /* lines that ended before are deleted, their sums stay; 0: none */
    uint64_t torn_tails, torn_bytes; /* journal tails cut, ever */
    uint64_t interrupted;            /* records completed after a crash, ever */
};
/*
 * True where an answer failed (RC_STATE) because it needs lines that are deleted: rollups do
 * not tell apart what it asks for, or not at these times.
 */
bool ledger_lines_are_gone(const struct fail *fail);
/* Whether sums by this field are known where the lines are deleted. */
bool ledger_field_outlives_lines(const struct ledger_field *field);
/* Within a view. */
enum rc ledger_read_as_of(struct ledger_reader *r, struct ledger_as_of *out,
                          struct fail *fail) RC_MUST;
/* Within a view. A set of books that took in gateways' ledgers (take.h): no gateway's own. */
enum rc ledger_read_is_books(struct ledger_reader *r, bool *is_books, struct fail *fail) RC_MUST;
/* Within a view. As ledger_identity says of the last process; 0 and 0 before the first. */
enum rc ledger_read_identity(struct ledger_reader *r, int64_t *installation, int64_t *start,
                             struct fail *fail) RC_MUST;

/* ---- sums ---------------------------------------------------------------- */

enum ledger_want {
    LEDGER_WANT_HISTOGRAM = 1,   /* row.histogram */
    LEDGER_WANT_BANDS = 2,       /* row.bands */
    LEDGER_WANT_METERS = 4,      /* row.meters */
    LEDGER_WANT_PERCENTILES = 8, /* row.percentile: exact, reads the lines */
    LEDGER_WANT_LINES = 16,      /* never use rollups or facts (audit, tests) */
    LEDGER_WANT_REQUESTS = 128,  /* no rollups, but facts: those of old lack the bands */
    LEDGER_WANT_LATENCY = 256,   /* with PERCENTILES: row.p95_latency_ms */
    /* Parts of the sums that are not looked at, and may be zero: an answer may come sooner. */
    LEDGER_SPARE_TOKENS = 32,    /* tokens, reported */
    LEDGER_SPARE_TRANSPORT = 64, /* provider's costs, times, bytes */
    /*
     * Outcomes, errors, retries, streams, repeats, cacheable, late_priced, and what these cost;
     * reported; the least and the most cost.
     */
    LEDGER_SPARE_DETAILS = 512,
    LEDGER_SPARE_CEILING = 2048, /* cost_ceil_nano */
    /*
     * Of details and transport all but errors, retries, the least and the most cost, and
     * latency_us: what `requests` does not show.
     */
    LEDGER_SPARE_FINE = 4096,
    /*
     * Retries, streams, repeats, cacheable, late_priced, costs of errors, repeats and corrections,
     * the provider's costs, bytes, the longest first byte, the least and the most cost: what
     * `models` does not show.
     */
    LEDGER_SPARE_RARE = 8192,
    /*
     * Of all sums but meters: what is none of requests, corrections, those with and without a price,
     * truncated ones, errors, repeats, cacheable; cost, costs of errors and repeats; input tokens.
     * What `savings` does not look at.
     */
    LEDGER_SPARE_UNSAVED = 16384,
    LEDGER_SPARE =
        LEDGER_SPARE_TOKENS | LEDGER_SPARE_TRANSPORT | LEDGER_SPARE_DETAILS,
    /* requests, unpriced and cost are all that is looked at. */
    LEDGER_ALONE = 1024, /* of this */
    LEDGER_COST_ALONE = LEDGER_ALONE | LEDGER_SPARE | LEDGER_SPARE_CEILING,
    /*
     * With top, of one period: the values of the dearest are all that is looked at.  Rows may have no
     * sums, and there may be no rest.
     */
    LEDGER_VALUES_ALONE = 32768,
};

enum ledger_percentile {
    LEDGER_P50 = 0,
    LEDGER_P90,
    LEDGER_P95,
    LEDGER_P99,
    LEDGER_PERCENTILES,
};

struct ledger_question {
    struct ledger_filter filter;
    struct ledger_field by[LEDGER_GROUP_MAX];
    size_t n_by;
    enum period grain;       /* PERIOD_TOTAL: one period, [from, to) */
    const struct zone *zone; /* of the grain's periods; may be NULL for PERIOD_TOTAL */
    unsigned want;           /* of enum ledger_want */
    /*
     * Not 0: of the combinations of values only so many are looked at, those that cost most over
     * all periods; others may be left out of the rows, their sums then stand in the rest.  What
     * costs as much as the last of them stays.
     */
    size_t top;
};

/* What the rows that are left out of a period come to. */
struct ledger_rest {
    int64_t start_us, end_us; /* as of a row */
    struct ledger_sums sums;
};

struct ledger_row {
    int64_t start_us, end_us; /* the whole period, also where [from, to) cuts it;
                                 PERIOD_TOTAL: the filter's from and to */
    struct strv *value;       /* n_by values; empty: absent */
    size_t place;             /* of the values in their order: equal ones have one place */
    struct ledger_sums sums;
    struct cost_histogram *histogram; /* NULL where not wanted, mostly */
    struct ledger_band *bands;        /* LEDGER_BANDS of them, or NULL */
    struct ledger_meter_sum *meters;  /* METER_COUNT of them, or NULL */
    struct money
        percentile[LEDGER_PERCENTILES]; /* of priced requests; valid if sums.priced > 0 */
    bool has_latency;
    uint32_t p95_latency_ms; /* of all requests, in whole milliseconds, rounded down */
};

/* Rows in order of period, then of values (by bytes). Only rows with requests exist. */
struct ledger_rows {
    struct ledger_row *at;
    size_t n;
    struct ledger_row total; /* all rows as one: start and end are the filter's, no values */
    struct ledger_rest *rest; /* in order of period; only those of which rows are left out */
    size_t n_rest;
    uint64_t rollup_rows;    /* read to answer */
    uint64_t cube_rows;      /* rows of days that were added up before */
    uint64_t fact_rows;      /* requests that were added up from columns */
    uint64_t line_rows;
    void *memory; /* owned */
};

/* Answers; release with ledger_rows_release, on failure there is nothing to release. */
enum rc ledger_read_sums(struct ledger_reader *r, const struct ledger_question *q,
                         struct ledger_rows *out, struct fail *fail) RC_MUST;
void ledger_rows_release(struct ledger_rows *rows);
/*
 * The same, by a thread of its own where there are cores for it and much to read, while work asks the
 * reader other questions; else after work.  What work returns, and says in fail, is returned where it
 * is not RC_OK.
 */
typedef enum rc ledger_work_fn(void *arg, struct fail *fail);
enum rc ledger_read_sums_beside(struct ledger_reader *r, const struct ledger_question *q,
                                struct ledger_rows *out, ledger_work_fn *work, void *arg,
                                struct fail *fail) RC_MUST;

/* Of a group of a question that is of one period. */
struct ledger_distinct {
    const struct strv *value; /* n_by values; valid during the call */
    uint64_t n;               /* customers, or users, that occur */
    uint64_t priced;          /* of the requests that name one: those with a cost, and that */
    struct money cost;
};
/* False ends the reading. */
typedef bool ledger_distinct_fn(const struct ledger_distinct *d, void *arg);
/*
 * Many questions that differ in their time and values alone, of some thousand requests each: several
 * are answered at once where there are cores for it.  make says the i-th, whose views live until it
 * was taken; take is given its rows.  Neither is called by two threads at once; in no order.
 */
struct ledger_many {
    size_t n;
    enum rc (*make)(size_t i, struct ledger_question *q, void *arg);
    enum rc (*take)(size_t i, const struct ledger_rows *rows, void *arg);
    void *arg;
};
/* The first failure ends it. */
enum rc ledger_read_many(struct ledger_reader *r, const struct ledger_many *m,
                         struct fail *fail) RC_MUST;

/*
 * How many customers or users (field) each group has, in order of values; groups without any
 * are not told.  grain is PERIOD_TOTAL, and one more field than n_by fits.  As rows by that
 * field would say it, in a fraction of their time and memory.
 */
enum rc ledger_read_distinct(struct ledger_reader *r, const struct ledger_question *q,
                             const struct ledger_field *field, ledger_distinct_fn *fn,
                             void *arg, struct fail *fail) RC_MUST;

/* ---- rates --------------------------------------------------------------- */

/* What was charged of one meter at one rate, of one group. */
struct ledger_rate {
    const struct strv *value; /* n_by values; valid during the call */
    bool is_correction;
    bool has_meter;    /* false: requests without any line */
    enum meter meter;
    struct money rate; /* of a million units, as record_line says */
    uint64_t requests;
    uint64_t quantity; /* time meters: milliseconds */
    struct money amount;
};
/* False ends the reading. */
typedef bool ledger_rate_fn(const struct ledger_rate *rate, void *arg);
/* One line; views of the record live during the call. False ends the reading. */
typedef bool ledger_line_fn(uint64_t seq, const struct record *record, void *arg);
/*
 * What requests and corrections were charged, by fields of the combination, meter and rate: as
 * their lines would say it one by one, in a fraction of the time.  fn is told what columns know;
 * all others are told to on_line, each as a record.  Several rates may be the same.  *known false:
 * columns do not know the filter's fields, or not all lines; nobody was told anything.
 */
enum rc ledger_read_rates(struct ledger_reader *r, const struct ledger_filter *filter,
                          const struct ledger_field *by, size_t n_by, ledger_rate_fn *fn,
                          ledger_line_fn *on_line, void *arg, bool *known,
                          struct fail *fail) RC_MUST;

/* ---- lines --------------------------------------------------------------- */

enum ledger_order { LEDGER_OLDEST = 0, LEDGER_NEWEST, LEDGER_DEAREST };

/* limit 0: all. In order of end (then seq), or of cost (unpriced last). */
enum rc ledger_read_lines(struct ledger_reader *r, const struct ledger_filter *filter,
                          enum ledger_order order, uint64_t limit, uint64_t offset,
                          ledger_line_fn *fn, void *arg, struct fail *fail) RC_MUST;
/* The line of one request; RC_STATE where there is none. */
enum rc ledger_read_line(struct ledger_reader *r, const struct uuid *id, ledger_line_fn *fn,
                         void *arg, struct fail *fail) RC_MUST;

/* Whether there is a line of that id. */
bool ledger_read_has(struct ledger_reader *r, const struct uuid *id);

/* ---- tasks --------------------------------------------------------------- */

/* Which tasks, and which of their lines. */
enum ledger_cohort {
    COHORT_CLOSED = 0, /* given an outcome within [from, to): all their lines, whenever */
    COHORT_SPEND,      /* with lines within [from, to): those lines */
    COHORT_OPEN,       /* without outcome, with lines within [from, to): all their lines */
};

/* One line of a task. */
struct ledger_attempt {
    struct uuid id;
    uint32_t number;
    uint32_t below; /* of the reader */
    enum outcome outcome;
    bool is_priced, is_superseded, is_repeat;
    struct money cost; /* with its corrections; zero where it is not priced */
};

/*
 * What of a task an attempt is: the first that fits.  By numbers of their own, which are
 * stored.
 */
enum ledger_part {
    PART_SUPERSEDED_ERROR = 0, /* a later attempt superseded it, and it ended in an error */
    PART_SUPERSEDED,
    PART_ERROR,     /* outcome_is_error */
    PART_CUT,       /* the client left, or a limit cut it */
    PART_TRUNCATED, /* as the outcomes of these names */
    PART_REFUSED,
    PART_REPEAT, /* its answer had been given before */
    PART_OK,
    LEDGER_PARTS,
};
enum ledger_part ledger_attempt_part(const struct ledger_attempt *a);

/* Attempts of one part; those whose cost is known, and that cost, with its corrections. */
struct ledger_part_sum {
    uint64_t requests, priced;
    struct money cost;
};

struct ledger_task {
    struct strv team, task, task_type; /* task_type of the first line that has one */
    enum task_outcome outcome;
    int64_t closed_us;         /* 0: open */
    struct strv closed_by;     /* key; empty: open */
    int64_t first_us, last_us; /* first start, last end, of the lines counted; 0: none */
    struct ledger_sums sums;
    /*
     * Of the cost: attempts that a later attempt of the same work superseded, and
     * attempts that ended in an error.  The lines of a task are paired in order of
     * start: attempt k + 1 supersedes the latest attempt k before it that nothing
     * has superseded yet (attempt 0, not said, is 1).
     */
    struct money retry_cost;
    uint64_t superseded; /* attempts, error or not */
    uint64_t late;       /* lines that ended after closed_us */
    struct money late_cost;
    const struct strv *value; /* of the fields asked for, from the task's first line */
    /*
     * The lines counted.  With COHORT_SPEND alone: with the others the task's own sums may
     * have told it all.
     */
    struct ledger_part_sum part[LEDGER_PARTS];
    /* The same one by one, in order of start; never with LEDGER_TASK_COSTS. */
    const struct ledger_attempt *attempt;
    size_t n_attempts;
};

typedef bool ledger_task_fn(const struct ledger_task *task, void *arg);

/*
 * Tasks in order of their first appearance in the ledger.  Conditions choose the
 * lines counted (in CLOSED and OPEN too); a task without such a line is left out,
 * unless there is no condition but on team, task and task_type: a closed task of
 * no line is told then.
 */
enum ledger_task_want {
    /*
     * What tasks cost is all that is looked at: outcome, closed_us, value, retry_cost,
     * superseded, late, late_cost, part; of the sums requests, errors, priced, unpriced and
     * cost.  All else may be empty, and the answer comes sooner.
     */
    LEDGER_TASK_COSTS = 1,
};
enum rc ledger_read_tasks(struct ledger_reader *r, const struct ledger_filter *filter,
                          enum ledger_cohort cohort, const struct ledger_field *by, size_t n_by,
                          unsigned want, ledger_task_fn *fn, void *arg, struct fail *fail) RC_MUST;

/* Tasks with one outcome and one combination of values, added up. */
struct ledger_task_sums {
    const struct strv *value; /* of the fields asked for, from each task's first line */
    enum task_outcome outcome;
    uint64_t tasks;
    /* As those of struct ledger_task; zero where they are not wanted. */
    struct money cost;
    uint64_t requests, errors, priced, unpriced, superseded, late;
    struct money retry_cost, late_cost;
    struct ledger_part_sum part[LEDGER_PARTS];
    /*
     * Of completed ones: the cost of each that has a request with a price, or none at all; in
     * no order.
     */
    struct money *each;
    size_t n_each;
};
/* Beside tasks and cost, which are always told.  What is not wanted is not read. */
enum ledger_task_sums_want {
    LEDGER_TASK_EACH = 1,
    LEDGER_TASK_COUNTS = 2, /* requests to late, retry_cost, late_cost */
    LEDGER_TASK_AGAIN = 4,  /* part[PART_SUPERSEDED] */
    LEDGER_TASK_PARTS = 8,  /* all of part */
    LEDGER_TASK_OPEN = 16,  /* with COHORT_CLOSED: the tasks of COHORT_OPEN too */
    /*
     * With COHORT_SPEND and LEDGER_TASK_AGAIN, which is all that is looked at then: tasks that
     * nothing was superseded of may be left out, and all be told as open.
     */
    LEDGER_TASK_RETRIED = 32,
};
/* Valid during the call, in which amounts may be moved about. False ends the reading. */
typedef bool ledger_task_sums_fn(const struct ledger_task_sums *sums, void *arg);
/*
 * What ledger_read_tasks would tell one by one, with LEDGER_TASK_COSTS, added up; in no order,
 * in a fraction of its time.  want: of enum ledger_task_sums_want.  RC_LIMIT for a million combinations and more.
 */
enum rc ledger_read_task_sums(struct ledger_reader *r, const struct ledger_filter *filter,
                              enum ledger_cohort cohort, const struct ledger_field *by,
                              size_t n_by, unsigned want, ledger_task_sums_fn *fn, void *arg,
                              struct fail *fail) RC_MUST;

/* ---- refusals ------------------------------------------------------------ */

struct ledger_denied {
    int64_t start_us; /* of a quarter of an hour */
    struct strv code, key, team, feature, environment, limit;
    uint64_t count;
};
typedef bool ledger_denied_fn(const struct ledger_denied *denied, void *arg);

/*
 * Counts by quarter of an hour that begins in [from, to).  Conditions on key, team,
 * feature and environment hold; others make the answer RC_BAD.
 */
enum rc ledger_read_denied(struct ledger_reader *r, const struct ledger_filter *filter,
                           ledger_denied_fn *fn, void *arg, struct fail *fail) RC_MUST;

/* ---- thresholds of budgets ------------------------------------------------ */

/* As struct crossing_note says; views live during the call. */
struct ledger_crossing {
    struct strv limit, scope, teller;
    int64_t start_us, end_us, at_us;
    unsigned percent;
    uint64_t amount, spent;
};
/* False ends the reading. */
typedef bool ledger_crossing_fn(const struct ledger_crossing *c, void *arg);

/*
 * The thresholds that were reached in one window of a limit (start_us and end_us as
 * limit_window_at gives them), of all its scopes.  limit empty: of all limits and windows.
 * Those of windows that ended before kept_from_us are deleted.
 */
enum rc ledger_read_crossings(struct ledger_reader *r, struct strv limit, int64_t start_us,
                              int64_t end_us, ledger_crossing_fn *fn, void *arg,
                              struct fail *fail) RC_MUST;
/*
 * The one that was reached last in one scope's window; *found: false where none was.  Of those
 * reached at one moment the highest.  Texts of out live as long as the reader.
 */
enum rc ledger_read_crossed(struct ledger_reader *r, struct strv limit, struct strv scope,
                            int64_t start_us, int64_t end_us, struct ledger_crossing *out,
                            bool *found, struct fail *fail) RC_MUST;

/* ---- audit --------------------------------------------------------------- */

enum { LEDGER_FIRST_BYTES = 400 };

struct ledger_verdict {
    uint64_t lines, rollups, tasks; /* looked at */
    uint64_t facts;                 /* requests in columns */
    uint64_t
        bad_lines; /* columns that disagree with the record, or records that do not decode */
    uint64_t bad_rollups; /* rollups that differ from the sums over the lines */
    uint64_t bad_tasks;
    uint64_t cubes;     /* sums of days by customer, user, tags, class */
    uint64_t bad_cubes; /* of those: differ from what the columns add up to */
    uint64_t tallies, bad_tallies; /* blocks of what tasks came to; those that differ */
    uint64_t bad_facts; /* requests whose columns differ from their records */
    uint64_t crossings, bad_crossings; /* thresholds reached; those that cannot have been */
    struct money lines_cost, rollups_cost;
    char first[LEDGER_FIRST_BYTES]; /* what the first of them is; empty: none */
};
/* Now and then, for whoever waits; may be NULL. */
typedef void ledger_progress_fn(uint64_t lines, void *arg);
/*
 * Recomputes everything that is derived from the records. RC_OK also where it disagrees.
 * Where lines are deleted: the rollups, sums and costs of kept_from_us and later, and the
 * tasks that began then.
 */
enum rc ledger_read_verify(struct ledger_reader *r, ledger_progress_fn *progress, void *arg,
                           struct ledger_verdict *out, struct fail *fail) RC_MUST;

struct ledger_journal_verdict {
    uint64_t segments, entries; /* looked at */
    uint64_t live;              /* segments whose writer runs: so does the gateway */
    uint64_t compared;          /* records that must be in the ledger */
    uint64_t waiting;           /* entries that the view does not hold yet */
    uint64_t torn_bytes;        /* half written at the end by a process that is gone */
    uint64_t bad;
    char first[LEDGER_FIRST_BYTES];
};
/*
 * Compares the segments in journal_dir with the ledger as the view sees it; the gateway
 * may write on.  RC_OK also where they disagree, and where there is no journal.
 */
enum rc ledger_read_journal(struct ledger_reader *r, const char *journal_dir,
                            struct ledger_journal_verdict *out, struct fail *fail) RC_MUST;

#endif
