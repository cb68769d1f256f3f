/*
 * history.c - a ledger of some weeks that never were, for pages and their tests.
 *
 *   history STATE_DIR DAYS CALLS_A_DAY [SPIKE_DAYS_AGO]
 *
 * Writes what a company of four teams might have called until now: weekdays and weekends,
 * growth, one team's spike (four days ago where nothing is said), tasks with outcomes, retries, failures, calls
 * without tags.  The same words give the same records but for their time.  Through the
 * journal, as a gateway would: STATE_DIR/journal and STATE_DIR/ledger.db.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "metering/ledger/journal.h"
#include "metering/ledger/ledger.h"

enum { TASK_CALLS = 4, SPIKE_DAYS_AGO = 4, DAYS_MAX = 800, CALLS_MAX = 10000000 };
#define DAY_US (INT64_C(86400) * 1000000)

static const struct model {
    const char *name, *upstream, *protocol, *endpoint;
    unsigned in_nano, out_nano; /* nano-dollars a token */
} models[] = {
    {"gpt-4o", "openai", "openai", "chat.completions", 2500, 10000},
    {"gpt-4o-mini", "openai", "openai", "chat.completions", 150, 600},
    {"claude-sonnet-4-5", "anthropic", "anthropic", "messages", 3000, 15000},
    {"claude-haiku-4-5", "anthropic", "anthropic", "messages", 1000, 5000},
    {"gemini-2.5-flash", "gemini", "gemini", "generateContent", 300, 2500},
};

static const struct app {
    const char *team, *feature, *environment, *kind, *customer;
    unsigned weight, model, model_too, input, output;
} apps[] = {
    {"search", "answer", "prod", "question", "acme", 30, 0, 1, 1800, 420},
    {"search", "rerank", "prod", "question", "globex", 22, 1, 4, 900, 60},
    {"support", "triage", "prod", "ticket", "acme", 16, 3, 1, 1400, 120},
    {"support", "reply", "prod", "ticket", "initech", 12, 2, 0, 2600, 700},
    {"billing", "extract", "prod", "invoice", "globex", 9, 4, 3, 3200, 350},
    {"labs", "experiments", "eval", "experiment", NULL, 5, 2, 0, 2100, 900},
    {"search", NULL, "dev", NULL, NULL, 4, 1, 0, 700, 200},
    {NULL, NULL, NULL, NULL, NULL, 2, 0, 1, 1200, 300},
};
enum { APPS = sizeof(apps) / sizeof(apps[0]) };

static uint64_t dice_state = UINT64_C(20261121);

/* Knuth's MMIX constants: the same everywhere. */
static unsigned dice(unsigned sides)
{
    dice_state = dice_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)((dice_state >> 33) % sides);
}

static void die(const char *doing, const struct fail *fail)
{
    char text[256] = "";

    if (fail)
        fail_text(fail, text, sizeof(text));
    fprintf(stderr, "history: %s %s\n", doing, text);
    exit(1);
}

static struct strv text_or_empty(const char *text)
{
    return text ? strv_z(text) : STRV("");
}

/* One cost line, after a contract that leaves so many per cent. */
static void put_line(struct record *r, enum meter meter, uint64_t n, uint64_t nano, unsigned per_cent)
{
    money_int each = (money_int)nano * ATTO_PER_NANO / 100 * per_cent;

    r->lines[r->n_lines++] =
        (struct record_line){meter, n, {each * 1000000}, {each * (money_int)n}};
    r->cost.atto += each * (money_int)n;
}

static void put_price(struct record *r, const struct model *m, uint64_t in, uint64_t out)
{
    usage_set(&r->usage, USAGE_INPUT, in);
    usage_set(&r->usage, USAGE_OUTPUT, out);
    r->usage_source = USAGE_PROVIDER;
    r->price_status = PRICE_OK;
    r->price_match = MATCH_EXACT;
    r->list_cost.atto =
        ((money_int)in * m->in_nano + (money_int)out * m->out_nano) * ATTO_PER_NANO;
    /* A contract of 7 % off where it is OpenAI's. */
    put_line(r, METER_IN, in, m->in_nano, strcmp(m->upstream, "openai") == 0 ? 93 : 100);
    put_line(r, METER_OUT, out, m->out_nano, strcmp(m->upstream, "openai") == 0 ? 93 : 100);
}

struct texts {
    char task[48];
};

static void make_record(struct record *r, struct texts *t, const struct app *app,
                        int64_t end_us, unsigned day)
{
    const struct model *m = &models[dice(4) ? app->model : app->model_too];
    unsigned spread = 40 + dice(120);

    memset(r, 0, sizeof(*r));
    r->latency_us = 400000 + (int64_t)app->output * 6000 * spread / 100;
    r->first_byte_us = 120000 + dice(300000);
    r->end_us = end_us;
    r->start_us = end_us - r->latency_us;
    uuid7_make(&r->id, r->start_us);
    r->subject.dim[DIM_TEAM] = text_or_empty(app->team);
    r->subject.dim[DIM_FEATURE] = text_or_empty(app->feature);
    r->subject.dim[DIM_ENVIRONMENT] = text_or_empty(app->environment);
    r->subject.dim[DIM_CUSTOMER] = text_or_empty(app->customer);
    r->subject.dim[DIM_KEY] = app->team ? text_or_empty(app->team) : STRV("legacy");
    r->subject.dim[DIM_MODEL] = r->model = r->model_requested = strv_z(m->name);
    r->subject.dim[DIM_UPSTREAM] = strv_z(m->upstream);
    if (app->kind) {
        (void)snprintf(t->task, sizeof(t->task), "%s-%u-%03u", app->kind, day, dice(12));
        r->subject.dim[DIM_TASK] = strv_z(t->task);
        r->subject.dim[DIM_TASK_TYPE] = strv_z(app->kind);
        r->attempt = dice(20) == 0 ? 2 : 1;
    }
    r->protocol = strv_z(m->protocol);
    r->endpoint = strv_z(m->endpoint);
    r->method = STRV("POST");
    r->node = STRV("node-1");
    r->book = STRV("0123456789abcdef");
    r->price_id = strv_z(m->name);
    r->status = 200;
    r->outcome = OUTCOME_OK;
    put_price(r, m, (uint64_t)app->input * spread / 100, (uint64_t)app->output * spread / 100);
    if (dice(60) == 0) {
        r->status = 529;
        r->outcome = OUTCOME_PROVIDER_ERROR;
        r->usage_source = USAGE_ESTIMATED;
        put_price(r, m, 0, 0);
    } else if (dice(50) == 0) {
        r->outcome = OUTCOME_TRUNCATED;
    } else if (dice(90) == 0) {
        r->outcome = OUTCOME_CLIENT_ABORT;
        r->usage_source = USAGE_PARTIAL;
    }
}

static const struct app *pick(unsigned spike)
{
    unsigned all = 0, at;

    for (size_t i = 0; i < APPS; i++)
        all += apps[i].weight;
    at = dice(all + spike);
    for (size_t i = 0; i < APPS; i++) {
        if (at < apps[i].weight)
            return &apps[i];
        at -= apps[i].weight;
    }
    return &apps[5]; /* the spike: a loop that labs forgot */
}

static void close_task(struct journal *j, const struct record *r)
{
    const struct task_note note = {r->end_us + 1000, r->subject.dim[DIM_TEAM],
                                   r->subject.dim[DIM_TASK], r->subject.dim[DIM_KEY],
                                   dice(6) ? TASK_COMPLETED : TASK_FAILED};

    if (r->subject.dim[DIM_TASK].n && dice(TASK_CALLS) == 0 && journal_task(j, &note) != RC_OK)
        die("note a task", NULL);
}

static void write_day(struct journal *j, int64_t start_us, int64_t until_us, unsigned day,
                      unsigned calls, bool is_spike)
{
    bool weekend = ((start_us / DAY_US) + 4) % 7 % 6 == 0;
    unsigned n = (unsigned)((uint64_t)calls * (100 + day) / 100 * (weekend ? 35 : 100) / 100);
    struct fail fail;

    for (unsigned i = 0; i < n; i++) {
        const struct app *app = pick(is_spike ? 150 : 0);
        int64_t end_us = start_us + DAY_US * i / (n + 1) + dice(1000000);
        struct record r;
        struct texts t;
        if (end_us >= until_us)
            break;
        make_record(&r, &t, app, end_us, day);
        if (journal_begin(j, &r) != RC_OK || journal_end(j, &r) != RC_OK)
            die("journal", NULL);
        close_task(j, &r);
        if (i % 64 == 63 && journal_flush(j, &fail) != RC_OK)
            die("write the journal", &fail);
    }
    if (journal_flush(j, &fail) != RC_OK)
        die("write the journal", &fail);
}

int main(int argc, char **argv)
{
    struct ledger_options options = {
        .sync = SYNC_NEVER, .sync_interval_ms = 200, .ingest_interval_ms = 5};
    char path[512], folder[512];
    uint64_t days, calls, spike = SPIKE_DAYS_AGO;
    struct fail fail = {0};
    struct ledger *ledger;
    struct journal *j;
    int64_t now = clock_wall_us(), today = now / DAY_US * DAY_US;

    if (argc < 4 || argc > 5 || (argc == 5 && !strv_parse_u64(strv_z(argv[4]), DAYS_MAX, &spike)) ||
        !strv_parse_u64(strv_z(argv[2]), DAYS_MAX, &days) ||
        !strv_parse_u64(strv_z(argv[3]), CALLS_MAX, &calls)) {
        fprintf(stderr, "usage: history STATE_DIR DAYS CALLS_A_DAY [SPIKE_DAYS_AGO]\n");
        return 2;
    }
    (void)snprintf(path, sizeof(path), "%s/ledger.db", argv[1]);
    (void)snprintf(folder, sizeof(folder), "%s/journal", argv[1]);
    (void)mkdir(argv[1], 0700);
    options.path = path;
    options.journal_dir = folder;
    ledger = ledger_start(&options, NULL, NULL, &fail);
    j = ledger ? journal_open(folder, 0, &fail) : NULL;
    if (!j)
        die("open", &fail);
    for (unsigned ago = (unsigned)days; ago-- > 0;) {
        write_day(j, today - ago * DAY_US, now, (unsigned)days - 1 - ago, (unsigned)calls,
                  ago == spike);
        ledger_catch_up(ledger);
    }
    journal_close(j);
    ledger_stop(ledger);
    return 0;
}
