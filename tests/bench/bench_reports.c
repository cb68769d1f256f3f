/*
 * bench_reports.c - makes a ledger to ask reports of: bench_reports.py asks them.
 *
 *   bench_reports RECORDS FOLDER
 *
 * Makes FOLDER/ledger.db by way of a journal: the thirty days until now, even traffic of ten
 * teams, forty features, six models, 2,000 customers, 50,000 users, a free tag of 24 values.
 * Every third request is of a task of five, as an application makes them: a task is one
 * customer's, one user's, one feature's of the task's team, one environment's and one cell's;
 * models may differ within it.  Most tasks are closed; one in twenty of their requests is a
 * retry.  All other requests are anyone's.  Quantities are log-uniform, so hardly two costs are alike.  Prints how fast the
 * ledger took them in, and its size.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/xalloc.h"
#include "metering/ledger/journal.h"
#include "metering/ledger/ledger.h"

enum {
    PIECE = 500000, /* records journalled before they are taken in */
    DAYS = 30,
    TEAMS = 10,
    FEATURES = 40,
    CUSTOMERS = 2000,
    USERS = 50000,
    CELLS = 24,
    IN_TASK = 3,   /* one request in so many is of a task */
    TASK_SIZE = 5, /* requests of a task */
    FLUSH = 1000,
};

static uint64_t seed = 88172645463325252;

static uint64_t below(uint64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (seed * UINT64_C(2685821657736338717) >> 11) % n;
}

/* From `least` up, each octave as often as any other. */
static uint64_t log_uniform(uint64_t least, unsigned octaves)
{
    uint64_t low = least << below(octaves);

    return low + below(low);
}

static const struct {
    const char *upstream, *model, *price_id;
    int64_t in_nano, cached_nano, out_nano; /* dollars a million tokens, in nano-USD a token */
} models[] = {
    {"openai", "gpt-4o-2024-08-06", "openai/gpt-4o@2024-08-06", 2500, 1250, 10000},
    {"openai", "gpt-4o-mini", "openai/gpt-4o-mini@2024-07-18", 150, 75, 600},
    {"openai", "gpt-4.1", "openai/gpt-4.1@2025-04-14", 2000, 500, 8000},
    {"anthropic", "claude-sonnet-4-5", "anthropic/claude-sonnet-4-5@2025-09-29", 3000, 300,
     15000},
    {"anthropic", "claude-haiku-4-5", "anthropic/claude-haiku-4-5@2025-10-01", 1000, 100, 5000},
    {"google", "gemini-2.5-flash", "google/gemini-2.5-flash@2025-06-17", 300, 75, 2500},
};
enum { MODELS = sizeof(models) / sizeof(*models) };

struct texts {
    char team[16], feature[16], key[16], customer[16], user[16], cell[16], task[24];
};

static void set_line(struct record *r, enum meter meter, uint64_t quantity, int64_t nano)
{
    struct record_line *line = &r->lines[r->n_lines++];

    line->meter = meter;
    line->quantity = quantity;
    line->rate.atto = (money_int)nano * ATTO_PER_NANO / 1000 * 1000000;
    line->amount.atto = (money_int)nano * (ATTO_PER_NANO / 1000) * (money_int)quantity;
    r->cost = money_add(r->cost, line->amount);
}

static void set_usage(struct record *r, size_t model)
{
    uint64_t input = log_uniform(64, 7), output = log_uniform(16, 6);
    uint64_t cached = below(3) ? 0 : input / 2;

    usage_set(&r->usage, USAGE_INPUT, input);
    usage_set(&r->usage, USAGE_CACHE_READ, cached);
    usage_set(&r->usage, USAGE_OUTPUT, output);
    r->usage_source = USAGE_PROVIDER;
    set_line(r, METER_IN, input - cached, models[model].in_nano);
    if (cached)
        set_line(r, METER_CACHE_READ, cached, models[model].cached_nano);
    set_line(r, METER_OUT, output, models[model].out_nano);
    r->list_cost = r->cost;
    r->price_id = strv_z(models[model].price_id);
    r->price_confidence = STRV("confirmed");
    r->price_match = MATCH_EXACT;
}

/* Whose a request is: what the requests of a task have in common. */
struct owner {
    uint64_t team, feature; /* FEATURES / TEAMS features of each team */
    uint64_t customer, user, cell;
};

static struct owner any_owner(void)
{
    uint64_t feature = below(FEATURES), customer = below(CUSTOMERS);

    return (struct owner){.team = feature % TEAMS,
                          .feature = feature,
                          .customer = customer,
                          .user = (customer * 25 + below(25)) % USERS,
                          .cell = below(CELLS)};
}

/* That of request `i`: those of a task, which follow each other, have that of its first. */
static struct owner owner_of(uint64_t i)
{
    static struct owner of_task;

    if (i % IN_TASK)
        return any_owner();
    if (i / IN_TASK % TASK_SIZE == 0)
        of_task = any_owner();
    return of_task;
}

static void set_task(struct record *r, uint64_t i, struct texts *t)
{
    uint64_t of_tasks = i / IN_TASK;

    if (i % IN_TASK)
        return;
    snprintf(t->task, sizeof(t->task), "task-%" PRIu64, of_tasks / TASK_SIZE);
    r->subject.dim[DIM_TASK] = strv_z(t->task);
    r->attempt = of_tasks % 20 == 3 ? 2 : 1;
}

static void make_record(uint64_t i, int64_t start_us, struct texts *t, struct record *r)
{
    struct owner owner = owner_of(i);
    uint64_t kind = owner.feature + FEATURES * below(5), model = kind % MODELS; /* 200 kinds */

    record_clear(r);
    snprintf(t->team, sizeof(t->team), "team-%u", (unsigned)owner.team);
    snprintf(t->feature, sizeof(t->feature), "feature-%u", (unsigned)owner.feature);
    snprintf(t->key, sizeof(t->key), "key-%u", (unsigned)(kind % 20));
    snprintf(t->customer, sizeof(t->customer), "customer-%u", (unsigned)owner.customer);
    snprintf(t->user, sizeof(t->user), "user-%u", (unsigned)owner.user);
    snprintf(t->cell, sizeof(t->cell), "cell-%u", (unsigned)owner.cell);
    r->start_us = start_us;
    r->latency_us = 200000 + (int64_t)below(4000000);
    r->end_us = start_us + r->latency_us;
    r->first_byte_us = r->latency_us / 4;
    uuid7_make(&r->id, start_us);
    r->subject.dim[DIM_FEATURE] = strv_z(t->feature);
    r->subject.dim[DIM_ENVIRONMENT] = kind % 4 ? STRV("prod") : STRV("dev");
    r->subject.dim[DIM_CUSTOMER] = strv_z(t->customer);
    r->subject.dim[DIM_USER] = strv_z(t->user);
    r->subject.dim[DIM_KEY] = strv_z(t->key);
    r->subject.dim[DIM_UPSTREAM] = strv_z(models[model].upstream);
    r->subject.dim[DIM_MODEL] = strv_z(models[model].model);
    r->subject.n_free = 1;
    r->subject.free[0] = (struct tag){STRV("cell"), strv_z(t->cell)};
    set_task(r, i, t);
    r->subject.dim[DIM_TEAM] = strv_z(t->team);
    r->protocol = strv_z(models[model].upstream);
    r->endpoint = STRV("chat.completions");
    r->method = STRV("POST");
    r->model_requested = r->model = r->subject.dim[DIM_MODEL];
    r->provider_request_id = STRV("req_0123456789abcdef0123456789abcdef");
    r->stream = below(2) != 0;
    r->status = 200;
    r->outcome = below(50) ? OUTCOME_OK : (enum outcome)below(OUTCOME_COUNT);
    set_usage(r, model);
    r->book = STRV("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    r->prompt_hash = 1 + below(UINT64_MAX - 1);
    r->is_repeat = below(100) == 0;
    r->is_cacheable = below(20) == 0;
    r->bytes_in = 4 * r->usage.n[USAGE_INPUT];
    r->bytes_out = 4 * r->usage.n[USAGE_OUTPUT];
    r->node = STRV("node-1");
}

static void die(const struct fail *fail)
{
    char text[256];

    fail_text(fail, text, sizeof(text));
    fprintf(stderr, "bench_reports: %s\n", text);
    exit(1);
}

/* The task that ended with this request is closed, mostly well. */
static void close_task(struct journal *j, const struct record *r, uint64_t i)
{
    static const enum task_outcome outcomes[] = {TASK_COMPLETED, TASK_FAILED, TASK_ABANDONED};
    struct task_note note = {.at_us = r->end_us + 1000,
                             .team = r->subject.dim[DIM_TEAM],
                             .task = r->subject.dim[DIM_TASK],
                             .key = r->subject.dim[DIM_KEY]};

    if (i % IN_TASK || i / IN_TASK % TASK_SIZE != TASK_SIZE - 1 || below(20) == 0)
        return;
    note.outcome = outcomes[below(10) ? 0 : 1 + below(2)];
    if (journal_task(j, &note) != RC_OK)
        abort();
}

static void write_journal(const char *dir, uint64_t from, uint64_t to, int64_t first_us,
                          int64_t step_ns)
{
    struct fail fail;
    struct journal *j = journal_open(dir, 0, &fail);

    if (!j)
        die(&fail);
    for (uint64_t i = from; i < to; i++) {
        struct texts texts;
        struct record r;

        make_record(i, first_us + (int64_t)i * step_ns / 1000, &texts, &r);
        if (journal_begin(j, &r) != RC_OK || journal_end(j, &r) != RC_OK)
            die(&fail);
        close_task(j, &r, i);
        if (i % FLUSH == 0 && journal_flush(j, &fail) != RC_OK)
            die(&fail);
    }
    if (journal_flush(j, &fail) != RC_OK)
        die(&fail);
    journal_close(j);
}

static int64_t cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

/* Takes in what is journalled; adds to the times. */
static void ingest(const char *db, const char *dir, int64_t *wall, int64_t *cpu)
{
    struct ledger_options options = {.sync = SYNC_NEVER, .path = db, .journal_dir = dir};
    struct fail fail = {0};
    int64_t start = clock_mono_us(), start_cpu = cpu_us();
    struct ledger *l = ledger_start(&options, NULL, NULL, &fail);

    if (!l)
        die(&fail);
    ledger_catch_up(l);
    ledger_stop(l);
    *wall += clock_mono_us() - start;
    *cpu += cpu_us() - start_cpu;
}

int main(int argc, char **argv)
{
    int64_t span_us = DAYS * INT64_C(86400) * 1000000, first_us, wall = 0, cpu = 0;
    char db[300], journal[300];
    struct stat st;
    uint64_t n;

    if (argc != 3 || strlen(argv[2]) > 200 ||
        !strv_parse_u64(strv_z(argv[1]), UINT64_C(1000000000), &n) || n == 0) {
        fprintf(stderr, "usage: bench_reports RECORDS FOLDER\n");
        return 2;
    }
    snprintf(db, sizeof(db), "%s/ledger.db", argv[2]);
    snprintf(journal, sizeof(journal), "%s/journal", argv[2]);
    first_us = clock_wall_us() - span_us;
    for (uint64_t from = 0; from < n; from += PIECE) {
        uint64_t to = from + PIECE < n ? from + PIECE : n;

        write_journal(journal, from, to, first_us, span_us * 1000 / (int64_t)n);
        ingest(db, journal, &wall, &cpu);
        fprintf(stderr, "\r%" PRIu64 " records", to);
    }
    fprintf(stderr, "\r");
    if (stat(db, &st) != 0)
        return 1;
    printf("ingest, wall time: %" PRIu64 " records/s\n", n * 1000000 / (uint64_t)wall);
    printf("ingest, CPU: %" PRIu64 " ns a record\n", (uint64_t)cpu * 1000 / n);
    printf("ledger: %" PRIu64 " bytes a record\n", (uint64_t)st.st_size / n);
    return 0;
}
