#include "reports/digest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/datetime.h"
#include "base/tag.h"
#include "base/xalloc.h"
#include "reports/by_value.h"
#include "reports/limit_spent.h"
#include "reports/oddities.h"
#include "reports/outlook.h"
#include "reports/render.h"
#include "reports/savings_find.h"

enum { MODEL_SHOWN = 100, KEY_SHOWN = 70 };

struct team {
    struct valued valued;
    struct digest_row row;
};

struct work {
    struct by_value teams;
    enum rc rc;
};

static struct digest_row *row_of(struct work *w, struct strv team)
{
    struct team *found = by_value_at(&w->teams, &team);

    if (!found) {
        w->rc = RC_LIMIT;
        return NULL;
    }
    found->row.team = found->valued.value[0];
    return &found->row;
}

/* ---- weeks ------------------------------------------------------------------------------- */

/* Spend of a team on a model in the week less that in the one before. */
struct move {
    struct strv team, model;
    money_int by;
};

static int by_place(const void *a, const void *b)
{
    const struct move *x = a, *y = b;
    int c = strv_cmp(x->team, y->team);

    return c ? c : strv_cmp(x->model, y->model);
}

static void find_tops(struct work *w, struct move *moves, size_t n)
{
    money_int most = 0;

    qsort(moves, n, sizeof(*moves), by_place);
    for (size_t i = 0; i < n; i++) {
        money_int size;
        char amount[CELL_TEXT];
        struct digest_row *row;
        if (i == 0 || !strv_eq(moves[i - 1].team, moves[i].team))
            most = 0;
        if (i + 1 < n && by_place(&moves[i], &moves[i + 1]) == 0) {
            moves[i + 1].by += moves[i].by;
            continue;
        }
        size = moves[i].by < 0 ? -moves[i].by : moves[i].by;
        row = row_of(w, moves[i].team);
        if (size <= most || !row)
            continue;
        most = size;
        (void)money_format_fixed((struct money){size}, 4, amount);
        (void)snprintf(row->top, sizeof(row->top), STRV_FMT " %c%.60s",
                       STRV_ARG(strv_head(moves[i].model, MODEL_SHOWN)),
                       moves[i].by < 0 ? '-' : '+', amount);
    }
}

static enum rc add_weeks(struct work *w, struct ledger_reader *reader, int64_t now_us,
                         struct fail *fail)
{
    struct ledger_question *q = xcalloc(1, sizeof(*q));
    struct ledger_rows rows[2];
    struct move *moves;
    size_t n = 0;
    enum rc rc;

    q->grain = PERIOD_TOTAL;
    q->want = LEDGER_COST_ALONE;
    q->by[0].id = FIELD_TEAM;
    q->by[1].id = FIELD_MODEL;
    q->n_by = 2;
    ledger_filter_init(&q->filter, now_us - 7 * US_PER_DAY, now_us);
    rc = ledger_read_sums(reader, q, &rows[0], fail);
    if (rc != RC_OK)
        goto out;
    ledger_filter_init(&q->filter, now_us - 14 * US_PER_DAY, now_us - 7 * US_PER_DAY);
    rc = ledger_read_sums(reader, q, &rows[1], fail);
    if (rc != RC_OK) {
        ledger_rows_release(&rows[0]);
        goto out;
    }
    moves = xcalloc(rows[0].n + rows[1].n + 1, sizeof(*moves));
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < rows[k].n && w->rc == RC_OK; i++) {
            const struct ledger_row *at = &rows[k].at[i];
            struct digest_row *row = row_of(w, at->value[0]);
            if (!row)
                break;
            row->week = money_add(row->week, k == 0 ? at->sums.cost : MONEY_ZERO);
            row->before = money_add(row->before, k == 1 ? at->sums.cost : MONEY_ZERO);
            row->requests += k == 0 ? at->sums.requests : 0;
            moves[n++] = (struct move){at->value[0], at->value[1],
                                       k == 0 ? at->sums.cost.atto : -at->sums.cost.atto};
        }
    }
    find_tops(w, moves, n);
    free(moves);
    ledger_rows_release(&rows[0]);
    ledger_rows_release(&rows[1]);
out:
    free(q);
    return rc;
}

/* ---- month and anomalies -------------------------------------------------------------------
 */

static bool on_outlook(const struct outlook *o, void *arg)
{
    struct digest_row *row = row_of(arg, o->value[0]);

    if (!row)
        return false;
    row->month = (struct money){o->spent};
    row->has_forecast = o->has_forecast;
    row->forecast = (struct money){o->has_forecast ? o->forecast : 0};
    return true;
}

static bool on_oddity(const struct oddity *o, void *arg)
{
    struct digest_row *row = row_of(arg, o->value[0]);

    if (row)
        row->anomalies += o->notable;
    return row != NULL;
}

/* ---- budgets ------------------------------------------------------------------------------ */

struct looking {
    struct work *work;
    const struct limit_def *def;
    int64_t now_us;
};

/* The team that a limit names for all its counters; empty: none, or by a glob. */
static struct strv team_of_limit(const struct limit_def *def)
{
    for (size_t i = 0; i < def->n_match; i++) {
        struct strv value = def->match[i].value;

        if (strv_eq(def->match[i].name, STRV("team")) && strv_find(value, '*') == value.n &&
            strv_find(value, '?') == value.n)
            return value;
    }
    return STRV_NONE;
}

/* Value of a hexadecimal digit; 16: it is none. */
static unsigned hex_of(char c)
{
    const char *digits = "0123456789ABCDEF", *at = c ? strchr(digits, c) : NULL;

    return at ? (unsigned)(at - digits) : 16;
}

/* The team of a counter's scope (limit.h), in text; empty: its scope has none. */
static struct strv team_of_scope(struct strv scope, char text[TAG_VALUE_MAX_BYTES])
{
    struct strv part;
    size_t n = 0;

    while (scope.n && strv_split(&scope, ',', &part)) {
        if (!strv_starts(part, STRV("team=")))
            continue;
        part = strv_skip(part, sizeof("team=") - 1);
        for (size_t i = 0; i < part.n && n < TAG_VALUE_MAX_BYTES; i++) {
            unsigned high = i + 2 < part.n ? hex_of(part.p[i + 1]) : 16;
            unsigned low = i + 2 < part.n ? hex_of(part.p[i + 2]) : 16;
            bool is_code = part.p[i] == '%' && high < 16 && low < 16;

            text[n++] = is_code ? (char)(high << 4 | low) : part.p[i];
            i += is_code ? 2 : 0;
        }
        return strv_make(text, n);
    }
    return STRV_NONE;
}

static void on_spent(const struct limit_counter *c, void *arg)
{
    struct looking *l = arg;
    char text[TAG_VALUE_MAX_BYTES];
    struct strv team = team_of_limit(l->def);
    uint64_t limit = limit_at(l->def, l->now_us);
    struct team *found;

    if (team.n == 0)
        team = team_of_scope(c->scope, text);
    found = team.n && limit ? by_value_find(&l->work->teams, &team) : NULL;
    if (!found ||
        (found->row.budget && (money_int)c->spent * (money_int)found->row.budget_limit <=
                                  (money_int)found->row.budget_spent * (money_int)limit))
        return;
    found->row.budget = l->def->name;
    found->row.budget_spent = c->spent;
    found->row.budget_limit = limit;
}

static enum rc add_budgets(struct work *w, struct ledger_reader *reader,
                           const struct limit_set *limits, const struct zone *zone,
                           int64_t now_us, struct fail *fail)
{
    const struct limit_spent_question q = {.reader = reader,
                                           .set = limits,
                                           .zone = zone,
                                           .now_us = now_us,
                                           .until_us = INT64_MAX};
    enum rc rc = RC_OK;

    for (size_t i = 0; limits && rc == RC_OK && i < limit_set_count(limits); i++) {
        const struct limit_def *def = limit_set_at(limits, i);
        struct looking l = {w, def, now_us};
        bool is_of_teams = team_of_limit(def).n > 0, known;

        for (size_t k = 0; k < def->n_per; k++)
            is_of_teams |= strv_eq(def->per[k], STRV("team"));
        if (def->unit == UNIT_USD && !def->rolling && is_of_teams)
            rc = limit_spent(&q, i, on_spent, &l, &known, fail);
    }
    return rc;
}

/* ---- savings ------------------------------------------------------------------------------ */

static bool is_settled(const struct savings_decisions *decisions, struct strv team,
                       const struct strv key[SAVING_KEYS])
{
    for (size_t i = 0; i < decisions->n; i++) {
        const struct savings_decision *d = &decisions->at[i];
        bool same = d->n_scope == 1 && d->scope[0].field.id == FIELD_TEAM &&
                    strv_eq(d->scope[0].value, team);

        for (unsigned k = 0; same && k < SAVING_KEYS; k++)
            same = strv_eq(d->key[k], key[k]);
        if (same && (d->is_done || strv_eq(d->state, STRV("dismissed"))))
            return true;
    }
    return false;
}

/* "model gpt-4o, instead gpt-4o-mini: 120 requests of 3.2100 USD". */
static void say_saving(struct digest_row *row, const struct saving *saving,
                       const struct strv key[SAVING_KEYS], int64_t now_us)
{
    static const struct {
        enum saving_key key;
        const char *says;
    } parts[] = {{KEY_UPSTREAM, " at "}, {KEY_MODEL, ", model "}, {KEY_OTHER, ", instead "},
                 {KEY_ENVIRONMENT, ", environment "}};
    char amount[CELL_TEXT];
    size_t n = 0;

    n += (size_t)snprintf(row->saving, sizeof(row->saving), STRV_FMT, STRV_ARG(key[KEY_RULE]));
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        if (key[parts[i].key].n)
            n += (size_t)snprintf(row->saving + n, sizeof(row->saving) - n, "%s" STRV_FMT,
                                  parts[i].says,
                                  STRV_ARG(strv_head(key[parts[i].key], KEY_SHOWN)));
    }
    (void)money_format_fixed(saving->cost, 4, amount);
    (void)snprintf(row->saving + n, sizeof(row->saving) - n, ": %llu requests of %.60s USD",
                   (unsigned long long)saving->requests, amount);
    row->saved = savings_monthly(saving, now_us - 7 * US_PER_DAY, now_us);
}

static enum rc add_savings(struct work *w, const struct digest_question *q, struct fail *fail)
{
    static const struct ledger_field team = {.id = FIELD_TEAM};
    struct savings_decisions decisions = {.n = 0};
    struct ledger_filter filter;
    struct savings_question sq = {.reader = q->reader,
                                  .book = q->book,
                                  .filter = &filter,
                                  .by = &team,
                                  .n_by = 1,
                                  .now_us = q->now_us};
    struct savings savings = {.rc = RC_OK};
    enum rc rc;

    ledger_filter_init(&filter, q->now_us - 7 * US_PER_DAY, q->now_us);
    rc = savings_decisions_read(q->state_dir, q->zone, &decisions, fail);
    if (rc == RC_OK)
        rc = savings_find(&sq, &savings, fail);
    if (rc == RC_STATE && ledger_lines_are_gone(fail)) { /* all else can be said */
        *fail = (struct fail){0};
        rc = RC_OK;
    }
    savings_sort(&savings, 0);
    for (size_t i = 0; rc == RC_OK && i < savings.found.n; i++) {
        const struct saving *saving = (const struct saving *)savings.found.at[i];
        const struct strv *value = saving->valued.value;
        struct digest_row *row = row_of(w, value[0]);

        if (row && !row->saving[0] && !is_settled(&decisions, value[0], value + 1))
            say_saving(row, saving, value + 1, q->now_us);
    }
    savings_release(&savings);
    savings_decisions_release(&decisions);
    return rc;
}

static int by_week(const void *a, const void *b)
{
    const struct team *x = *(struct team *const *)a, *y = *(struct team *const *)b;
    int c = -money_cmp(x->row.week, y->row.week);

    return c ? c : strv_cmp(x->row.team, y->row.team);
}

enum rc digest_make(const struct digest_question *q, digest_fn *fn, void *arg,
                    struct fail *fail)
{
    static const struct ledger_field team = {.id = FIELD_TEAM};
    struct work w = {.rc = RC_OK};
    struct ledger_filter filter;
    struct oddity_question oq = {.reader = q->reader,
                                 .filter = &filter,
                                 .by = &team,
                                 .n_by = 1,
                                 .step = PERIOD_DAY,
                                 .zone = q->zone,
                                 .now_us = q->now_us,
                                 .floor = ODDITY_FLOOR};
    int64_t start, end;
    size_t waiting;
    enum rc rc;

    by_value_init(&w.teams, 1, sizeof(struct team));
    zone_period(q->zone, PERIOD_MONTH, q->now_us, &start, &end);
    rc = add_weeks(&w, q->reader, q->now_us, fail);
    if (rc == RC_OK) {
        ledger_filter_init(&filter, start, end);
        rc = outlook_tags(q->reader, &filter, &team, 1, q->zone, q->now_us, on_outlook, &w, fail);
    }
    if (rc == RC_OK) {
        ledger_filter_init(&filter, q->now_us - 7 * US_PER_DAY, q->now_us);
        rc = oddities_find(&oq, on_oddity, &w, &waiting, fail);
    }
    if (rc == RC_OK)
        rc = add_budgets(&w, q->reader, q->limits, q->zone, q->now_us, fail);
    if (rc == RC_OK && q->wants_savings)
        rc = add_savings(&w, q, fail);
    if (rc == RC_OK)
        rc = w.rc;
    if (rc == RC_OK && w.teams.n)
        qsort(w.teams.at, w.teams.n, sizeof(struct valued *), by_week);
    for (size_t i = 0; rc == RC_OK && i < w.teams.n; i++) {
        if (!fn(&((const struct team *)w.teams.at[i])->row, arg))
            break;
    }
    by_value_release(&w.teams);
    return rc;
}
