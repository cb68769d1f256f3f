/*
 * gate.c - see gate.h.
 */
#include "reports/gate.h"

#include <cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "base/xalloc.h"
#include "reports/page.h"
#include "reports/sheet.h"

#define SAY(buf, ...)                                                                          \
    do {                                                                                       \
        enum rc say_rc = buf_printf(buf, __VA_ARGS__);                                         \
        (void)say_rc; /* a full buffer only cuts the sentence */                               \
    } while (0)
#define TRY(call)                                                                              \
    do {                                                                                       \
        enum rc try_rc = (call);                                                               \
        if (try_rc != RC_OK)                                                                   \
            return try_rc;                                                                     \
    } while (0)

enum { PPM = 1000000, BEFORE_VALUE = '\x1f', BETWEEN_PAIRS = '\x1e' };

/* The number that a report is about. */
static const char *headline_of(const char *report)
{
    static const struct {
        const char *report, *column;
    } headlines[] = {{"tasks", "cost_per_completed_task_usd"},
                     {"requests", "mean_cost_usd"},
                     {"models", "cost_per_ok_usd"},
                     {"token-bands", "cost_per_request_usd"},
                     {"unit-economics", "unit_cost_usd"},
                     {"variance", "variance_usd"},
                     {"savings", "saving_usd"},
                     {"statement", "amount_usd"},
                     {"allocation", "amount_usd"}};

    for (size_t i = 0; i < sizeof(headlines) / sizeof(*headlines); i++) {
        if (strcmp(report, headlines[i].report) == 0)
            return headlines[i].column;
    }
    return "cost_usd";
}

enum rc gate_bound_parse(struct strv text, struct gate_bound *out, struct buf *error)
{
    size_t colon = strv_find(text, ':');
    struct strv amount = colon < text.n ? strv_skip(text, colon + 1) : text;

    out->column = colon < text.n ? strv_head(text, colon) : STRV("");
    if (money_parse(amount, &out->amount) == RC_OK)
        return RC_OK;
    SAY(error, "fail-over \"" STRV_FMT "\" is neither an amount (0.05) nor a column and an amount "
               "(mean_cost_usd:0.05)",
        STRV_ARG(strv_head(text, 80)));
    return RC_BAD;
}

/* ---- reading a report --------------------------------------------------------------------- */

static cJSON *parse(struct strv text, const char *what, struct buf *error)
{
    cJSON *json = cJSON_ParseWithLength(text.n ? text.p : "", text.n);

    if (json && cJSON_IsString(cJSON_GetObjectItemCaseSensitive(json, "report")) &&
        cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(json, "rows")) &&
        cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(json, "total")))
        return json;
    cJSON_Delete(json);
    SAY(error, "%s is no report (tollgate report ... --format json)", what);
    return NULL;
}

/* The row's texts that name it, in order; the caller's. */
static char *key_of(const cJSON *row)
{
    char between[] = {BETWEEN_PAIRS, '\0'};
    char *key = xstrdup("");
    const cJSON *item;

    cJSON_ArrayForEach(item, row)
    {
        size_t length = strlen(item->string);
        char *more;

        if (!cJSON_IsString(item) || strcmp(item->string, "lines") == 0 ||
            (length > 4 && strcmp(item->string + length - 4, "_usd") == 0))
            continue;
        more = xasprintf("%s%s%s%c%s", key, *key ? between : "", item->string,
                         BEFORE_VALUE, item->valuestring);
        free(key);
        key = more;
    }
    return key;
}

/* False where the row has no such amount at all. */
static bool number_of(const cJSON *row, const char *column, bool *is_known, struct money *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(row, column);

    *out = MONEY_ZERO;
    *is_known = cJSON_IsString(item) && money_parse(strv_z(item->valuestring), out) == RC_OK;
    return cJSON_IsNull(item) || *is_known;
}

/* Spend of no task, in a report on tasks: there is nothing in it that could be too dear. */
static bool is_without_tasks(const cJSON *row)
{
    const cJSON *tasks = cJSON_GetObjectItemCaseSensitive(row, "tasks");

    return cJSON_IsNumber(tasks) && tasks->valuedouble < 1;
}

static enum rc read_cases(const cJSON *json, struct strv column, struct gate *out,
                          struct buf *error)
{
    const cJSON *rows = cJSON_GetObjectItemCaseSensitive(json, "rows"), *row;
    const char *report = cJSON_GetObjectItemCaseSensitive(json, "report")->valuestring;
    size_t n = (size_t)cJSON_GetArraySize(rows);

    *out = (struct gate){0};
    if (n > GATE_CASES_MAX) {
        SAY(error, "a gate looks at 100000 rows at most");
        return RC_LIMIT;
    }
    (void)snprintf(out->report, sizeof(out->report), "%s", report);
    if (column.n)
        (void)snprintf(out->column, sizeof(out->column), STRV_FMT,
                       STRV_ARG(strv_head(column, sizeof(out->column) - 1)));
    else
        (void)snprintf(out->column, sizeof(out->column), "%s", headline_of(report));
    out->at = xcalloc(n + 1, sizeof(*out->at));
    out->is_bare = true;
    row = n ? rows->child : cJSON_GetObjectItemCaseSensitive(json, "total");
    for (; row; row = n ? row->next : NULL) {
        struct gate_case *c = &out->at[out->n];

        if (n && is_without_tasks(row))
            continue;
        out->is_bare = n == 0;
        out->n++;
        c->key = key_of(n ? row : NULL);
        if (!number_of(row, out->column, &c->is_known, &c->value)) {
            SAY(error, "the report %s has no amount \"%s\"", out->report, out->column);
            return RC_BAD;
        }
    }
    return RC_OK;
}

enum rc gate_against_bound(struct strv report_json, const struct gate_bound *bound,
                           struct gate *out, struct buf *error)
{
    cJSON *json = parse(report_json, "the report", error);
    enum rc rc;

    *out = (struct gate){0};
    if (!json)
        return RC_BAD;
    rc = read_cases(json, bound->column, out, error);
    for (size_t i = 0; i < out->n; i++) {
        struct gate_case *c = &out->at[i];

        c->bound = bound->amount;
        if (!c->is_known)
            c->verdict = GATE_UNKNOWN;
        else
            c->verdict = money_cmp(c->value, bound->amount) > 0 ? GATE_FAIL : GATE_PASS;
    }
    cJSON_Delete(json);
    return rc;
}

/* ---- against an earlier report -------------------------------------------------------------- */

/* The cases of a report by their keys. */
struct by_key {
    const struct gate_case **at;
    size_t n;
};

static int compare_keys(const void *a, const void *b)
{
    const struct gate_case *const *x = a, *const *y = b;

    return strcmp((*x)->key, (*y)->key);
}

/* Holds pointers into g, which must stay where it is; free its at. */
static struct by_key sort_by_key(const struct gate *g)
{
    struct by_key index = {xcalloc(g->n + 1, sizeof(*index.at)), g->n};

    for (size_t i = 0; i < g->n; i++)
        index.at[i] = &g->at[i];
    qsort(index.at, index.n, sizeof(*index.at), compare_keys);
    return index;
}

static const struct gate_case *find(const struct by_key *index, const struct gate_case *like)
{
    const struct gate_case **found =
        bsearch(&like, index->at, index->n, sizeof(*index->at), compare_keys);

    return found ? *found : NULL;
}

static void compare(struct gate_case *c, const struct gate_case *before, uint64_t tolerance_ppm)
{
    if (!before) {
        c->verdict = GATE_NEW;
        return;
    }
    c->had_before = before->is_known;
    c->before = before->value;
    if (!before->is_known) {
        c->verdict = GATE_NEW;
        return;
    }
    c->bound.atto = scale_even(before->value.atto, PPM + tolerance_ppm, PPM);
    if (!c->is_known)
        c->verdict = GATE_UNKNOWN;
    else
        c->verdict = money_cmp(c->value, c->bound) > 0 ? GATE_FAIL : GATE_PASS;
}

static void compare_all(struct gate *out, const struct gate *before, uint64_t tolerance_ppm)
{
    struct by_key index = sort_by_key(before);

    for (size_t i = 0; i < out->n; i++)
        compare(&out->at[i], find(&index, &out->at[i]), tolerance_ppm);
    free(index.at);
}

/* What was there and is no more; a run of which nothing is known passes no gate. */
static void tell_gone(struct gate *out, const struct gate *before)
{
    struct gate_case *all;
    struct by_key index;
    size_t n;

    if (before->is_bare)
        return;
    if (out->is_bare) {
        for (size_t i = 0; i < out->n; i++)
            free(out->at[i].key);
        out->n = 1;
        out->at[0] = (struct gate_case){.key = xstrdup(""), .verdict = GATE_UNKNOWN};
    }
    all = xcalloc(out->n + before->n, sizeof(*all));
    memcpy(all, out->at, out->n * sizeof(*all));
    index = sort_by_key(out);
    n = out->n;
    for (size_t i = 0; i < before->n; i++) {
        struct gate_case gone = before->at[i];

        if (find(&index, &gone))
            continue;
        gone.key = xstrdup(gone.key);
        gone.had_before = gone.is_known;
        gone.before = gone.value;
        gone.is_known = false;
        gone.verdict = GATE_GONE;
        all[n++] = gone;
    }
    free(index.at);
    free(out->at);
    out->at = all;
    out->n = n;
}

enum rc gate_against_report(struct strv report_json, struct strv earlier_json,
                            struct strv column, uint64_t tolerance_ppm, struct gate *out,
                            struct buf *error)
{
    struct gate before = {0};
    cJSON *now = parse(report_json, "the report", error), *old = NULL;
    enum rc rc = RC_BAD;

    *out = (struct gate){0};
    if (now)
        old = parse(earlier_json, "the baseline", error);
    if (!old)
        goto out;
    rc = read_cases(now, column, out, error);
    if (rc == RC_OK)
        rc = read_cases(old, strv_z(out->column), &before, error);
    if (rc == RC_OK && strcmp(before.report, out->report) != 0) {
        SAY(error, "the baseline is a report of %s, not of %s", before.report, out->report);
        rc = RC_BAD;
    }
    if (rc == RC_OK) {
        compare_all(out, &before, tolerance_ppm);
        tell_gone(out, &before);
    }
out:
    gate_release(&before);
    cJSON_Delete(now);
    cJSON_Delete(old);
    return rc;
}

void gate_release(struct gate *g)
{
    for (size_t i = 0; i < g->n; i++)
        free(g->at[i].key);
    free(g->at);
    g->at = NULL;
    g->n = 0;
}

bool gate_failed(const struct gate *g)
{
    for (size_t i = 0; i < g->n; i++) {
        if (g->at[i].verdict == GATE_FAIL || g->at[i].verdict == GATE_UNKNOWN)
            return true;
    }
    return false;
}

/* ---- how it looks ---------------------------------------------------------------------------- */

static const char *verdict_name(enum gate_verdict v)
{
    static const char *const names[] = {"pass", "FAIL", "UNKNOWN", "new", "gone"};

    return names[v];
}

static void amount_text(bool is_known, struct money m, char out[MONEY_TEXT])
{
    if (is_known)
        (void)money_format(m, out);
    else
        memcpy(out, "-", 2);
}

/*
 * "team=search task_type=ticket", or "total".  Names come from tags: control characters must
 * not reach a terminal or break XML.
 */
static enum rc put_name(const char *key, bool is_xml, struct buf *out)
{
    struct strv rest = strv_z(*key ? key : "total");

    while (rest.n) {
        size_t n = utf8_sequence(rest);
        struct strv one = strv_head(rest, n ? n : 1);

        if (*rest.p == BEFORE_VALUE)
            TRY(buf_append(out, "=", 1));
        else if (*rest.p == BETWEEN_PAIRS)
            TRY(buf_append(out, " ", 1));
        else if (n == 0 || !utf8_is_printable(one))
            TRY(buf_append(out, "?", 1));
        else if (is_xml)
            TRY(page_text(one, out));
        else
            TRY(buf_append_strv(out, one));
        rest = strv_skip(rest, n ? n : 1);
    }
    return RC_OK;
}

enum rc gate_table(const struct gate *g, struct buf *out)
{
    size_t failed = 0;

    TRY(buf_printf(out, "%s: %s\n\n%-8s  %14s  %14s  %14s  %s\n", g->report, g->column,
                   "verdict", "now USD", "before USD", "bound USD", "of"));
    for (size_t i = 0; i < g->n; i++) {
        const struct gate_case *c = &g->at[i];
        char now[MONEY_TEXT], before[MONEY_TEXT], bound[MONEY_TEXT];

        amount_text(c->is_known, c->value, now);
        amount_text(c->had_before, c->before, before);
        amount_text(c->verdict == GATE_PASS || c->verdict == GATE_FAIL, c->bound, bound);
        TRY(buf_printf(out, "%-8s  %14s  %14s  %14s  ", verdict_name(c->verdict), now, before,
                       bound));
        TRY(put_name(c->key, false, out));
        TRY(buf_append(out, "\n", 1));
        failed += c->verdict == GATE_FAIL || c->verdict == GATE_UNKNOWN;
    }
    return buf_printf(out, "\n%zu of %zu failed\n", failed, g->n);
}

static enum rc put_case(const struct gate *g, const struct gate_case *c, struct buf *out)
{
    char now[MONEY_TEXT], bound[MONEY_TEXT];

    amount_text(c->is_known, c->value, now);
    amount_text(true, c->bound, bound);
    TRY(buf_printf(out, "  <testcase classname=\"tollgate.%s\" name=\"", g->report));
    TRY(put_name(c->key, true, out));
    if (c->verdict == GATE_FAIL)
        return buf_printf(out,
                          "\">\n    <failure message=\"%s is %s USD, more than %s\"/>\n"
                          "  </testcase>\n",
                          g->column, now, bound);
    if (c->verdict == GATE_UNKNOWN)
        return buf_printf(out,
                          "\">\n    <failure message=\"%s is unknown: no request, none with a "
                          "price, or no task completed\"/>\n  </testcase>\n",
                          g->column);
    if (c->verdict == GATE_GONE)
        return buf_append_strv(out, STRV("\">\n    <skipped message=\"it was in the baseline, and "
                                         "is no more\"/>\n  </testcase>\n"));
    return buf_append_strv(out, STRV("\"/>\n"));
}

enum rc gate_junit(const struct gate *g, struct buf *out)
{
    size_t failed = 0, skipped = 0;

    for (size_t i = 0; i < g->n; i++) {
        failed += g->at[i].verdict == GATE_FAIL || g->at[i].verdict == GATE_UNKNOWN;
        skipped += g->at[i].verdict == GATE_GONE;
    }
    TRY(buf_printf(out,
                   "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                   "<testsuite name=\"tollgate %s\" tests=\"%zu\" failures=\"%zu\" errors=\"0\" "
                   "skipped=\"%zu\">\n",
                   g->report, g->n, failed, skipped));
    for (size_t i = 0; i < g->n; i++)
        TRY(put_case(g, &g->at[i], out));
    return buf_append_strv(out, STRV("</testsuite>\n"));
}
