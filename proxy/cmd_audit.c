/*
 * cmd_audit.c - `tollgate audit`: journal, ledger, rollups, counters and reports agree, or
 * what the first thing is that does not.
 *
 * Only reads, in views of the ledger, so it may be stopped at any time and disturbs no
 * gateway that runs.  Counters are looked at between two readings of the ledger: what
 * they call spent was recorded before, so the later reading holds it; and what the
 * earlier reading holds is either spent or still reserved.  At rest the three are equal.
 */
#include "proxy/cmd.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/datetime.h"
#include "base/xalloc.h"
#include "metering/ledger/ledger_read.h"
#include "metering/ledger/repair.h"
#include "proxy/cmd_config.h"
#include "proxy/counters.h"
#include "proxy/long_job.h"
#include "proxy/owner.h"
#include "reports/limit_spent.h"
#include "reports/trail.h"

enum {
    AS_OF_WAIT_MS = 15000, /* for the ledger of a gateway that runs to reach now */
    AS_OF_POLL_MS = 100,
};

struct audit {
    const struct config *config;
    char *journal_dir;
    struct ledger_reader *reader;
    bool is_tty, is_live;
    uint64_t total; /* lines, for the progress */
    int64_t kept_from_us; /* lines that ended before are deleted; INT64_MIN: none are */
    unsigned bad;
};

static void clear_progress(const struct audit *a)
{
    if (a->is_tty)
        (void)fputs("\r\033[K", stderr);
}

static void on_progress(uint64_t lines, void *arg)
{
    const struct audit *a = arg;

    if (a->is_tty)
        (void)fprintf(stderr, "\raudit: %" PRIu64 " of %" PRIu64 " lines", lines, a->total);
}

/* One line of the answer; why is empty where all agrees. */
static void tell(struct audit *a, const char *what, const char *found, const char *why)
{
    clear_progress(a);
    printf("%-9s %s%s\n", what, why[0] ? "DISAGREES: " : "agrees: ", why[0] ? why : found);
    (void)fflush(stdout);
    a->bad += why[0] != '\0';
}

/* ---- journal, lines, rollups, tasks --------------------------------------------------- */

static enum rc audit_journal(struct audit *a, struct fail *fail)
{
    struct ledger_journal_verdict v;
    char found[256];
    enum rc rc = ledger_read_journal(a->reader, a->journal_dir, &v, fail);

    if (rc != RC_OK)
        return rc;
    a->is_live = v.live > 0;
    snprintf(found, sizeof(found),
             "%" PRIu64 " segments, %" PRIu64 " records of them in the ledger, %" PRIu64
             " entries waiting, %" PRIu64 " bytes torn",
             v.segments, v.compared, v.waiting, v.torn_bytes);
    tell(a, "journal", found, v.first);
    return RC_OK;
}

static enum rc audit_derived(struct audit *a, struct ledger_verdict *v, struct fail *fail)
{
    char found[256], cost[MONEY_TEXT], rollups[MONEY_TEXT];
    enum rc rc = ledger_read_verify(a->reader, on_progress, a, v, fail);

    if (rc != RC_OK)
        return rc;
    money_format(v->lines_cost, cost);
    money_format(v->rollups_cost, rollups);
    if (!v->first[0] && money_cmp(v->lines_cost, v->rollups_cost) != 0)
        snprintf(v->first, sizeof(v->first), "lines cost %s USD, rollups %s USD", cost,
                 rollups);
    snprintf(found, sizeof(found),
             "%" PRIu64 " lines for %s USD, %" PRIu64 " rollups, %" PRIu64
             " tasks, %" PRIu64 " requests by column, %" PRIu64 " sums of days, %" PRIu64
             " of tasks, %" PRIu64 " thresholds reached",
             v->lines, cost, v->rollups, v->tasks, v->facts, v->cubes, v->tallies,
             v->crossings);
    tell(a, "ledger", found, v->first);
    return RC_OK;
}

/* ---- the trail of changes -------------------------------------------------------------------- */

struct trail_verdict {
    uint64_t lines, altered, gaps, first; /* first: the first altered line, from 1 */
};

static enum rc on_change(const struct trail_change *change, enum trail_status status, void *arg)
{
    struct trail_verdict *v = arg;

    (void)change;
    v->lines++;
    v->gaps += status == TRAIL_GAP;
    v->altered += status == TRAIL_ALTERED;
    if (v->altered == 1 && status == TRAIL_ALTERED)
        v->first = v->lines;
    return RC_OK;
}

/* The last line's hash is said: who keeps it can tell that no line was cut off since. */
static enum rc audit_trail(struct audit *a, struct fail *fail)
{
    struct trail_verdict v = {0};
    char head[SHA256_HEX], found[256], why[256] = "";
    enum rc rc = trail_read(a->config->state_dir, on_change, &v, head, fail);

    if (rc != RC_OK)
        return rc;
    snprintf(found, sizeof(found), "%" PRIu64 " changes, %" PRIu64 " of what had been changed "
             "without one, the last line's sha256 %s", v.lines, v.gaps, *head ? head : "none");
    if (v.altered)
        snprintf(why, sizeof(why), "line %" PRIu64 " of trail.jsonl does not follow the one before "
                 "it, %" PRIu64 " in all: it was altered, or a line taken out", v.first, v.altered);
    tell(a, "trail", found, why);
    return RC_OK;
}

/* ---- reports --------------------------------------------------------------------------- */

static const enum ledger_field_id report_fields[] = {
    FIELD_TEAM,  FIELD_FEATURE,  FIELD_ENVIRONMENT, FIELD_TASK_TYPE,    FIELD_KEY,
    FIELD_MODEL, FIELD_UPSTREAM, FIELD_OUTCOME,     FIELD_PRICE_STATUS,
};
enum { REPORT_FIELDS = sizeof(report_fields) / sizeof(report_fields[0]) };

/* Rows from rollups against rows from lines, one by one; what differs goes to why. */
static void compare_rows(const struct ledger_rows *a, const struct ledger_rows *b, char *why,
                         size_t size)
{
    struct ledger_sums sum = {0};

    for (size_t i = 0; i < a->n; i++) {
        const struct ledger_row *row = &a->at[i];
        bool same = i < b->n && ledger_sums_equal(&row->sums, &b->at[i].sums);

        for (size_t k = 0; same && k < REPORT_FIELDS; k++)
            same = strv_eq(row->value[k], b->at[i].value[k]);
        if (!same) {
            snprintf(why, size,
                     "spend of team \"" STRV_FMT "\", feature \"" STRV_FMT
                     "\", model \"" STRV_FMT "\": rollups and lines differ",
                     STRV_ARG(row->value[0]), STRV_ARG(row->value[1]), STRV_ARG(row->value[5]));
            return;
        }
        ledger_sums_add(&sum, &row->sums);
    }
    if (a->n != b->n || !ledger_sums_equal(&sum, &a->total.sums) ||
        !ledger_sums_equal(&sum, &b->total.sums))
        snprintf(why, size, "rows do not add up to their total");
}

/* What every report is made of, both ways: from rollups and from lines. */
static enum rc audit_reports(struct audit *a, const struct ledger_verdict *v, struct fail *fail)
{
    struct ledger_question q = {
        .n_by = REPORT_FIELDS, .grain = PERIOD_MONTH, .zone = a->config->zone};
    struct ledger_rows rollups, lines;
    char why[LEDGER_FIRST_BYTES] = "", found[128];
    enum rc rc;

    for (size_t i = 0; i < REPORT_FIELDS; i++)
        q.by[i].id = report_fields[i];
    ledger_filter_init(&q.filter, a->kept_from_us, INT64_MAX);
    rc = ledger_read_sums(a->reader, &q, &rollups, fail);
    if (rc != RC_OK)
        return rc;
    q.want = LEDGER_WANT_LINES;
    rc = ledger_read_sums(a->reader, &q, &lines, fail);
    if (rc == RC_OK) {
        compare_rows(&rollups, &lines, why, sizeof(why));
        if (!why[0] && money_cmp(lines.total.sums.cost, v->lines_cost) != 0)
            snprintf(why, sizeof(why), "their total is not that of the ledger");
        snprintf(found, sizeof(found), "%zu rows by month, each from rollups and from lines",
                 rollups.n);
        tell(a, "reports", found, why);
        ledger_rows_release(&lines);
    }
    ledger_rows_release(&rollups);
    return rc;
}

/* ---- counters --------------------------------------------------------------------------- */

struct counted {
    unsigned limit;
    char *scope;
    uint64_t early, spent, reserved, late;
};

struct table {
    struct counted *at;
    size_t n;
};

/* Few to some thousands: found by looking through, unless it is the one asked for last. */
static struct counted *counted_of(struct table *t, const struct limit_counter *c)
{
    for (size_t i = 0; i < t->n; i++) {
        if (t->at[i].limit == c->limit && strv_eq(strv_z(t->at[i].scope), c->scope))
            return &t->at[i];
    }
    if ((t->n & (t->n - 1)) == 0)
        t->at = xrealloc(t->at, (t->n ? 2 * t->n : 1) * sizeof(t->at[0]));
    t->at[t->n] =
        (struct counted){.limit = c->limit, .scope = xmemdupz(c->scope.p, c->scope.n)};
    return &t->at[t->n++];
}

static void on_early(const struct limit_counter *c, void *arg)
{
    counted_of(arg, c)->early += c->spent;
}

static void on_late(const struct limit_counter *c, void *arg)
{
    counted_of(arg, c)->late += c->spent;
}

static void on_counter(const struct limit_counter *c, void *arg)
{
    struct counted *to = counted_of(arg, c);

    to->spent += c->own;
    to->reserved += c->reserved;
}

/* What changes as time passes, or has nothing that is spent, cannot be held still to compare.
 */
static bool is_compared(const struct audit *a, size_t i, int64_t now_us)
{
    const struct limit_def *def = limit_set_at(a->config->limits, i);
    int64_t start_us, end_us;

    limit_window_at(def, a->config->zone, now_us, &start_us, &end_us);
    return end_us > start_us;
}

static enum rc ask_ledger(struct audit *a, int64_t now_us, limit_counter_fn *fn,
                          struct table *t, struct fail *fail)
{
    struct limit_spent_question q = {.reader = a->reader,
                                     .set = a->config->limits,
                                     .zone = a->config->zone,
                                     .now_us = now_us,
                                     .until_us = INT64_MAX};
    enum rc rc = RC_OK;
    bool known;

    for (size_t i = 0; i < limit_set_count(q.set) && rc == RC_OK; i++) {
        if (is_compared(a, i, now_us))
            rc = limit_spent(&q, i, fn, t, &known, fail);
    }
    return rc;
}

/* A view in which all that was journalled before us is. */
static enum rc view_after(struct audit *a, int64_t us, struct fail *fail)
{
    int64_t until = clock_mono_us() + AS_OF_WAIT_MS * INT64_C(1000);

    for (;;) {
        struct ledger_as_of as_of = {0};
        enum rc rc = ledger_read_begin(a->reader, fail);

        if (rc == RC_OK)
            rc = ledger_read_as_of(a->reader, &as_of, fail);
        if (rc != RC_OK || !a->is_live || as_of.us > us)
            return rc;
        if (clock_mono_us() > until) {
            *fail = (struct fail){.rc = RC_TIMEOUT,
                                  .doing = "wait for the ledger to take in the journal"};
            return RC_TIMEOUT;
        }
        ledger_read_end(a->reader);
        (void)nanosleep(&(struct timespec){.tv_nsec = AS_OF_POLL_MS * 1000000L}, NULL);
    }
}

static void compare_counters(struct audit *a, const struct table *t, int64_t now_us)
{
    char why[LEDGER_FIRST_BYTES] = "", found[128];
    size_t compared = 0;

    for (size_t i = 0; i < t->n; i++) {
        const struct counted *c = &t->at[i];
        const struct limit_def *def = limit_set_at(a->config->limits, c->limit);
        const char *unit = def->unit == UNIT_USD ? "nano-USD" : "in its unit";

        if (!is_compared(a, c->limit, now_us))
            continue;
        compared++;
        if (!why[0] &&
            (c->spent + c->reserved < c->early || c->spent > c->late))
            snprintf(why, sizeof(why),
                     "limit \"%s\" of \"%s\" has spent %" PRIu64 " and reserved %" PRIu64
                     " (%s), the ledger says %" PRIu64,
                     def->name, c->scope, c->spent, c->reserved, unit,
                     c->spent > c->late ? c->late : c->early);
    }
    snprintf(found, sizeof(found), "%zu of calendar windows and totals", compared);
    tell(a, "counters", found, why);
}

/* The first view is open; ends with another one open. */
static enum rc audit_counters(struct audit *a, struct fail *fail)
{
    struct limiter_options options = counters_options_of_command(a->config);
    char why[LIMIT_WHY_BYTES] = "";
    char owner[OWNER_TEXT];
    int64_t now_us = clock_wall_us();
    struct table t = {0};
    bool is_books;
    enum rc rc = ledger_read_is_books(a->reader, &is_books, fail);

    if (rc != RC_OK)
        return rc;
    if (is_books) {
        tell(a, "counters", "none are of these books: each gateway's own audit compares its part",
             "");
        return RC_OK;
    }
    if (!a->config->counters_redis || limit_set_count(a->config->limits) == 0) {
        tell(a, "counters",
             a->config->counters_redis ? "no limits" : "made from the ledger at each start",
             "");
        return RC_OK;
    }
    rc = owner_find(a->config, owner, &options.start, fail);
    options.owner = owner;
    options.why = why;
    if (rc == RC_OK)
        rc = ask_ledger(a, now_us, on_early, &t, fail);
    ledger_read_end(a->reader);
    if (rc == RC_OK) {
        rc = limit_read(&options, NULL, a->config->limits, now_us, on_counter, &t);
        if (rc != RC_OK)
            *fail = (struct fail){.rc = rc, .doing = "read the counters of Redis"};
        if (why[0])
            (void)fprintf(stderr, "tollgate audit: Redis cannot be reached: %s\n", why);
    }
    if (rc == RC_OK)
        rc = view_after(a, clock_wall_us(), fail);
    if (rc == RC_OK)
        rc = ask_ledger(a, now_us, on_late, &t, fail);
    if (rc == RC_OK)
        compare_counters(a, &t, now_us);
    for (size_t i = 0; i < t.n; i++)
        free(t.at[i].scope);
    free(t.at);
    return rc;
}

/* ---- repair ------------------------------------------------------------------------------ */

static bool on_record(uint64_t records, void *arg)
{
    return long_job_at(arg, records);
}

/* Lines that there are, for the progress; 0: so damaged that it cannot be said. */
static uint64_t lines_of(const struct audit *a)
{
    struct ledger_as_of as_of = {0};
    struct fail ignored;
    struct ledger_reader *r = ledger_read_open(a->config->ledger_path, &ignored);

    if (r && ledger_read_begin(r, &ignored) == RC_OK) {
        if (ledger_read_as_of(r, &as_of, &ignored) != RC_OK)
            as_of.seq = 0;
        ledger_read_end(r);
    }
    ledger_read_close(r);
    return as_of.seq;
}

/* Makes anew what is derived; what it is made of is told. */
static enum rc repair(const struct audit *a, struct fail *fail)
{
    struct ledger_repair made;
    struct long_job job;
    enum rc rc;

    long_job_start(&job, "repair", lines_of(a));
    rc = ledger_repair(a->config->ledger_path, a->journal_dir, on_record, &job, &made, fail);
    long_job_end(&job);
    if (rc != RC_OK)
        return rc;
    trail_note(a->config->state_dir,
               &(struct trail_change){.action = "audit --repair", .object = "ledger"});
    printf("%-9s lines, rollups, tasks and columns were made anew of %" PRIu64 " records\n",
           "repair", made.records);
    if (made.unreadable > 0)
        printf("%-9s %" PRIu64 " records cannot be read and are in no sum: restore a backup\n",
               "repair", made.unreadable);
    return RC_OK;
}

/* ---- the command --------------------------------------------------------------------------
 */

/* What is not looked at. */
static void tell_kept(const struct audit *a)
{
    char from[DATETIME_TEXT];

    if (a->kept_from_us == INT64_MIN)
        return;
    datetime_format_us(a->kept_from_us, from);
    printf("%-9s lines that ended before %s are deleted: rollups and reports are checked "
           "from there on\n",
           "kept", from);
}

static enum rc audit_all(struct audit *a, struct fail *fail)
{
    struct ledger_verdict verdict;
    struct ledger_as_of as_of;
    enum rc rc = ledger_read_begin(a->reader, fail);

    if (rc == RC_OK)
        rc = ledger_read_as_of(a->reader, &as_of, fail);
    if (rc != RC_OK)
        return rc;
    a->total = as_of.seq;
    a->kept_from_us = as_of.kept_from_us ? as_of.kept_from_us : INT64_MIN;
    tell_kept(a);
    rc = audit_journal(a, fail);
    if (rc == RC_OK)
        rc = audit_derived(a, &verdict, fail);
    if (rc == RC_OK)
        rc = audit_reports(a, &verdict, fail);
    if (rc == RC_OK)
        rc = audit_trail(a, fail);
    ledger_read_end(a->reader);
    /* Of now: the counters went on while the ledger was read. */
    if (rc == RC_OK)
        rc = ledger_read_begin(a->reader, fail);
    if (rc == RC_OK)
        rc = audit_counters(a, fail);
    ledger_read_end(a->reader);
    return rc;
}

static int run(const char *file, bool wants_repair)
{
    struct config *config = cmd_load(file);
    struct audit a = {.config = config, .is_tty = isatty(STDERR_FILENO)};
    struct fail fail = {0};
    char why[256];
    enum rc rc;
    int status = EXIT_USAGE;

    if (!config)
        return EXIT_USAGE;
    a.journal_dir = xasprintf("%s/journal", config->state_dir);
    rc = wants_repair ? repair(&a, &fail) : RC_OK;
    if (rc == RC_OK)
        a.reader = ledger_read_open(config->ledger_path, &fail);
    if (rc == RC_OK)
        rc = a.reader ? audit_all(&a, &fail) : fail.rc;
    clear_progress(&a);
    if (rc != RC_OK) {
        fail_text(&fail, why, sizeof(why));
        (void)fprintf(stderr, "tollgate audit: %s\n", why);
    }
    /* A database that cannot be read as what it is does not agree either. */
    if (rc == RC_OK || rc == RC_BAD) {
        status = a.bad > 0 || rc == RC_BAD ? EXIT_NO : EXIT_GOOD;
        puts(status == EXIT_NO ? "the installation does not agree with itself"
                               : "everything agrees");
    }
    ledger_read_close(a.reader);
    free(a.journal_dir);
    config_free(config);
    return status;
}

static void print_usage(void)
{
    puts("usage: tollgate audit -c FILE\n");
    puts(
        "Proves that journal, ledger, rollups, tasks, counters and reports agree, on a "
        "gateway\n"
        "that runs or one that does not, and names the first thing that does not. Only reads,\n"
        "unless told to repair; may be stopped at any time.\n");
    puts("  -c, --config FILE      the configuration");
    puts("      --repair           with no gateway running: makes lines, rollups, tasks and columns\n"
         "                         anew of the records first; stopped, it leaves all as it was");
    puts("  -h, --help             this text");
    puts("\nexit status: 0 all agrees, 1 something does not, 2 bad usage or nothing to read");
}

int cmd_audit(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
        {"repair", no_argument, NULL, 'R'},
        {NULL, 0, NULL, 0}};
    const char *file = NULL;
    bool wants_repair = false;
    int c;

    while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        if (c == 'h') {
            print_usage();
            return EXIT_GOOD;
        }
        if (c == '?')
            return EXIT_USAGE;
        if (c == 'c')
            file = optarg;
        if (c == 'R')
            wants_repair = true;
    }
    if (optind < argc) {
        (void)fprintf(stderr, "tollgate audit: takes no arguments; see --help\n");
        return EXIT_USAGE;
    }
    return file ? run(file, wants_repair) : cmd_no_file("audit");
}
