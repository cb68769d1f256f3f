/*
 * cmd_budget.c - `tollgate budget`: counters against the ledger, and changes of limits.
 *
 * Each change is a line of budget-changes.jsonl (changes.h) before it is done.
 */
#include "proxy/cmd.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/xalloc.h"
#include "pricing/money.h"
#include "proxy/changes.h"
#include "proxy/cmd_config.h"
#include "proxy/config.h"
#include "proxy/counters.h"
#include "proxy/owner.h"
#include "proxy/rebuild.h"
#include "reports/period.h"
#include "reports/report.h"

enum { BUDGET_WHY = 256, BUDGET_WHO, BUDGET_TO, BUDGET_UNTIL, BUDGET_SCOPE };
enum { REBUILD_WAIT_MS = 30000, REBUILD_POLL_MS = 100, COUNTER_TIMEOUT_MS = 2000 };

struct budget_options {
    const char *file, *limit, *scope, *to, *until, *who, *why, *format;
    bool list;
};

static void print_usage(void)
{
    puts("usage: tollgate budget status  -c FILE [--format table|csv|json]\n"
         "       tollgate budget reset   -c FILE --limit NAME [--scope SCOPE] --why TEXT\n"
         "       tollgate budget rebuild -c FILE [--why TEXT]\n"
         "       tollgate budget raise   -c FILE --limit NAME --to AMOUNT --until T --why TEXT\n"
         "       tollgate budget raise   -c FILE --list\n");
    puts("status   the budgets report: what the counters hold, and the ledger beside it\n"
         "reset    what is spent in the current windows becomes zero; a rebuild undoes it\n"
         "rebuild  counters are set from the ledger; running gateways do it themselves\n"
         "raise    another amount for a limit until T; the gateway takes it with a SIGHUP\n");
    puts("  -l, --limit NAME    the limit");
    puts("      --scope SCOPE   of one counter alone, as status shows it (team=search)");
    puts("      --to AMOUNT     dollars, or a whole number of the limit's unit");
    puts("      --until T       date or RFC 3339 time");
    puts("      --who NAME      who does it; by default the user");
    puts("      --why TEXT      kept in budget-changes.jsonl of the state folder");
    puts("      --list          prints that file");
    puts("  -f, --format F      of status");
    puts("  -c, --config FILE   the configuration");
    puts("  -h, --help          this text");
    puts("\nexit status: 0 good, 1 it could not be done, 2 bad usage or configuration");
}

static int complain(const char *text)
{
    (void)fprintf(stderr, "tollgate budget: %s\n", text);
    return EXIT_USAGE;
}

static struct limiter_options options_of(const struct config *config, char why[LIMIT_WHY_BYTES])
{
    struct limiter_options options = counters_options_of_command(config);

    why[0] = '\0';
    options.timeout_ms = COUNTER_TIMEOUT_MS;
    options.why = why;
    return options;
}

static void complain_away(const char *why)
{
    (void)fprintf(stderr, "tollgate budget: Redis cannot be reached%s%s\n", why[0] ? ": " : "", why);
}

static const char *who_of(const struct budget_options *o)
{
    const char *user = getenv("SUDO_USER");

    if (o->who)
        return o->who;
    if (!user)
        user = getenv("USER");
    return user ? user : "unknown";
}

/* The trail comes first: nothing is done that is not in it. */
static bool note(const struct config *config, const struct budget_options *o,
                 struct change *change)
{
    struct fail fail;
    char why[256];

    change->at_us = clock_wall_us();
    change->who = who_of(o);
    change->why = o->why;
    if (changes_append(config->state_dir, change, &fail) == RC_OK)
        return true;
    fail_text(&fail, why, sizeof(why));
    (void)fprintf(stderr, "tollgate budget: %s\n", why);
    return false;
}

static const struct limit_def *limit_named(const struct config *config, const char *name)
{
    for (size_t i = 0; name && i < limit_set_count(config->limits); i++) {
        if (strcmp(limit_set_at(config->limits, i)->name, name) == 0)
            return limit_set_at(config->limits, i);
    }
    (void)fprintf(stderr, "tollgate budget: there is no limit \"%s\": give --limit NAME\n",
                  name ? name : "");
    return NULL;
}

/* ---- status ----------------------------------------------------------------------- */

static int status(const struct budget_options *o, const struct config *config)
{
    char *argv[] = {xstrdup("report"), xstrdup("budgets"), xstrdup("-c"), xstrdup(o->file),
                    xstrdup("--format"), xstrdup(o->format ? o->format : "table"), NULL};
    int result;

    (void)config;
    optind = 0; /* getopt starts anew */
    result = cmd_report(6, argv);
    for (size_t i = 0; argv[i]; i++)
        free(argv[i]);
    return result;
}

/* ---- reset ------------------------------------------------------------------------ */

struct reset {
    const struct config *config;
    const struct limit_def *def;
    const char *scope;
    struct limit_counter *at;
    size_t n;
    struct arena scopes;
};

static void on_counter(const struct limit_counter *c, void *arg)
{
    struct reset *r = arg;

    if (limit_set_at(r->config->limits, c->limit) != r->def ||
        (r->scope && !strv_eq(c->scope, strv_z(r->scope))))
        return;
    r->at = xrealloc(r->at, (r->n + 1) * sizeof(r->at[0]));
    r->at[r->n] = *c;
    r->at[r->n].scope = arena_strv(&r->scopes, c->scope);
    r->at[r->n++].spent = 0;
}

static int reset(const struct budget_options *o, const struct config *config)
{
    char why[LIMIT_WHY_BYTES];
    struct limiter_options options = options_of(config, why);
    struct change change = {.action = "reset", .limit = o->limit, .scope = o->scope};
    struct reset r = {.config = config, .scope = o->scope};
    int result = EXIT_NO;
    enum rc rc;

    r.def = limit_named(config, o->limit);
    if (!r.def)
        return EXIT_USAGE;
    if (!o->why)
        return complain("say --why");
    if (!config->counters_redis)
        return complain("these counters are in the gateway's memory: start it again");
    arena_init(&r.scopes, SIZE_MAX);
    rc = limit_read(&options, NULL, config->limits, clock_wall_us(), on_counter, &r);
    if (rc == RC_OK && r.n == 0) {
        puts("nothing is spent there");
        result = EXIT_GOOD;
    } else if (rc == RC_OK && note(config, o, &change)) {
        rc = limit_write(&options, NULL, config->limits, r.at, r.n, 0);
        if (rc == RC_OK) {
            printf("%zu counters of \"%s\" are at zero; what is reserved stays\n", r.n, o->limit);
            result = EXIT_GOOD;
        }
    }
    if (rc != RC_OK)
        complain_away(why);
    arena_release(&r.scopes);
    free(r.at);
    return result;
}

/* ---- rebuild ----------------------------------------------------------------------- */

static int wait_until_ready(const struct limiter_options *options, unsigned nodes)
{
    int64_t until = clock_mono_us() + REBUILD_WAIT_MS * 1000;
    struct timespec pause = {.tv_nsec = REBUILD_POLL_MS * 1000000L};
    bool ready = false;

    while (!ready && clock_mono_us() < until) {
        (void)nanosleep(&pause, NULL);
        if (limit_is_ready(options, &ready) != RC_OK)
            ready = false;
    }
    if (!ready) {
        complain("not every gateway has set its part of the counters; see their logs");
        return EXIT_NO;
    }
    printf("the counters were rebuilt, each part by a running gateway (%u alive)\n", nodes);
    return EXIT_GOOD;
}

static int rebuild(const struct budget_options *o, const struct config *config)
{
    char why[LIMIT_WHY_BYTES];
    struct limiter_options options = options_of(config, why);
    struct change change = {.action = "rebuild"};
    struct fail fail = {0};
    char owner[OWNER_TEXT];
    unsigned nodes = 0;
    size_t n = 0;

    if (!config->counters_redis)
        return complain("these counters are in the gateway's memory: start it again");
    if (!note(config, o, &change))
        return EXIT_NO;
    if (owner_find(config, owner, &options.start, &fail) != RC_OK) {
        fail_text(&fail, why, sizeof(why));
        (void)fprintf(stderr, "tollgate budget: %s\n", why);
        return EXIT_NO;
    }
    options.owner = owner;
    if (limit_rebuild_ask(&options, &nodes) != RC_OK) {
        complain_away(why);
        return EXIT_NO;
    }
    if (nodes > 0)
        return wait_until_ready(&options, nodes);
    if (rebuild_offline(config, &n, &fail) != RC_OK) {
        if (fail.rc != RC_OK)
            fail_text(&fail, why, sizeof(why));
        (void)fprintf(stderr, "tollgate budget: could not rebuild the counters: %s\n", why);
        return EXIT_NO;
    }
    printf("%zu counters were set from the ledger; no gateway runs\n", n);
    return EXIT_GOOD;
}

/* ---- raise -------------------------------------------------------------------------- */

static bool read_amount(const struct limit_def *def, const char *text, uint64_t *out)
{
    struct money amount;
    int64_t nano, rest;

    if (!text)
        return false;
    if (def->unit != UNIT_USD)
        return strv_parse_u64(strv_z(text), LIMIT_VALUE_MAX, out);
    if (money_parse(strv_z(text), &amount) != RC_OK || amount.atto < 0 ||
        money_cmp(amount, money_join((int64_t)(LIMIT_VALUE_MAX / 1000 * 1000), 0)) > 0)
        return false;
    money_split(amount, &nano, &rest);
    *out = (uint64_t)nano;
    return rest == 0;
}

static int raise_limit(const struct budget_options *o, const struct config *config)
{
    struct change change = {.action = "raise", .limit = o->limit, .amount = o->to};
    const struct limit_def *def;

    if (o->list) {
        changes_print(config->state_dir);
        return EXIT_GOOD;
    }
    def = limit_named(config, o->limit);
    if (!def)
        return EXIT_USAGE;
    if (!read_amount(def, o->to, &change.raised))
        return complain("--to must be an amount in the limit's unit");
    if (!o->until || !period_parse_instant(config->zone, strv_z(o->until), &change.until_us))
        return complain("--until must be a date or an RFC 3339 time");
    if (change.until_us <= clock_wall_us())
        return complain("--until is over already");
    if (!o->why || strlen(o->why) > CHANGE_WHY_MAX_BYTES)
        return complain("say --why, in at most 1000 bytes");
    if (!note(config, o, &change))
        return EXIT_NO;
    printf("\"%s\" is %s until %s; send the gateway a SIGHUP\n", o->limit, o->to, o->until);
    return EXIT_GOOD;
}

/* ---- the command ----------------------------------------------------------------------- */

static const struct option long_options[] = {{"config", required_argument, NULL, 'c'},
                                             {"limit", required_argument, NULL, 'l'},
                                             {"format", required_argument, NULL, 'f'},
                                             {"scope", required_argument, NULL, BUDGET_SCOPE},
                                             {"to", required_argument, NULL, BUDGET_TO},
                                             {"until", required_argument, NULL, BUDGET_UNTIL},
                                             {"who", required_argument, NULL, BUDGET_WHO},
                                             {"why", required_argument, NULL, BUDGET_WHY},
                                             {"list", no_argument, NULL, 'L'},
                                             {"help", no_argument, NULL, 'h'},
                                             {NULL, 0, NULL, 0}};

/* False where --help was asked for, or something is wrong: *result says which. */
static bool parse(struct budget_options *o, int argc, char **argv, int *result)
{
    int c;

    *result = EXIT_USAGE;
    while ((c = getopt_long(argc, argv, "c:l:f:h", long_options, NULL)) != -1) {
        const char **to = c == 'c'            ? &o->file
                          : c == 'l'          ? &o->limit
                          : c == 'f'          ? &o->format
                          : c == BUDGET_SCOPE ? &o->scope
                          : c == BUDGET_TO    ? &o->to
                          : c == BUDGET_UNTIL ? &o->until
                          : c == BUDGET_WHO   ? &o->who
                          : c == BUDGET_WHY   ? &o->why
                                              : NULL;

        if (c == 'h') {
            print_usage();
            *result = EXIT_GOOD;
            return false;
        }
        if (c == '?')
            return false;
        if (to)
            *to = optarg;
        o->list |= c == 'L';
    }
    return true;
}

int cmd_budget(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(const struct budget_options *o, const struct config *config);
    } actions[] = {
        {"status", status}, {"reset", reset}, {"rebuild", rebuild}, {"raise", raise_limit}};
    struct budget_options o = {0};
    struct config *config;
    int result;

    if (!parse(&o, argc, argv, &result))
        return result;
    for (size_t i = 0; optind == argc - 1 && i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (strcmp(argv[optind], actions[i].name) != 0)
            continue;
        if (!o.file)
            return cmd_no_file("budget");
        config = cmd_load(o.file);
        if (!config)
            return EXIT_USAGE;
        result = actions[i].run(&o, config);
        config_free(config);
        return result;
    }
    return complain("write status, reset, rebuild or raise; see --help");
}
