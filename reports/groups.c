/*
 * groups.c - rows of the ledger's answers as rows of a table; see report_int.h.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "reports/report_int.h"

size_t run_key_columns(struct run *run)
{
    const struct report_params *p = run->params;
    size_t n = 0;

    if (p->grain != PERIOD_TOTAL) {
        sheet_column(&run->sheet, "period", "period", COLUMN_TEXT, COLUMN_KEY);
        n++;
    }
    for (size_t i = 0; i < p->n_by; i++, n++) {
        struct strv name = ledger_field_name(&p->by[i]);
        /* Bounded by what ledger_field_parse lets through: it fits the arena. */
        struct strv kept = arena_strv(&run->sheet.arena, name);
        sheet_column(&run->sheet, kept.p, kept.p, COLUMN_TEXT, COLUMN_KEY);
    }
    return n;
}

enum rc run_value(struct run *run, struct strv value, struct cell *out)
{
    return sheet_text(&run->sheet, value.n ? value : STRV("(untagged)"), out);
}

struct cell mean_money(struct money sum, uint64_t n)
{
    if (n == 0)
        return cell_null();
    return cell_money((struct money){divide_even(sum.atto, (money_int)n)});
}

struct cell per_million(struct money sum, uint64_t quantity)
{
    money_int scaled;

    if (quantity == 0 || __builtin_mul_overflow(sum.atto, (money_int)1000000, &scaled))
        return cell_null();
    return mean_money((struct money){scaled}, quantity);
}

struct cell sums_cost(const struct ledger_sums *s, struct money amount)
{
    /* Corrections of requests that are elsewhere have a cost, whatever these have. */
    bool is_unknown = s->requests > 0 && s->priced == 0 && s->corrections == 0;

    return is_unknown ? cell_null() : cell_money(amount);
}

struct cell sums_tokens(const struct ledger_sums *s, enum usage_field field)
{
    if (s->requests > 0 && s->by_usage_source[USAGE_NONE] == s->requests)
        return cell_null();
    return cell_count(s->tokens[field]);
}

/* ---- top ---------------------------------------------------------------------------- */

/* What the largest groups are large in: cost, or the count that rows are sorted by. */
static bool is_by_cost(const struct run *run)
{
    struct strv sort = run->params->sort;

    /* What is chosen from by the ledger is what was charged. */
    return run->params->basis != BASIS_LIST && !strv_eq(sort, STRV("requests")) && !strv_eq(sort, STRV("errors")) &&
           !strv_eq(sort, STRV("input_tokens")) && !strv_eq(sort, STRV("output_tokens"));
}

static money_int measure(const struct run *run, const struct ledger_sums *s)
{
    struct strv sort = run->params->sort;

    if (strv_eq(sort, STRV("requests")))
        return s->requests;
    if (strv_eq(sort, STRV("errors")))
        return s->errors;
    if (strv_eq(sort, STRV("input_tokens")))
        return s->tokens[USAGE_INPUT];
    if (strv_eq(sort, STRV("output_tokens")))
        return s->tokens[USAGE_OUTPUT];
    return s->cost.atto;
}

/* A row, with what of it rows are sorted by: the rows themselves are far apart. */
struct ranked {
    const struct ledger_row *row;
    int64_t start_us;
    money_int cost;
    bool dropped;
};

/* The measure of a key over all periods. */
struct key {
    money_int measure;
    size_t place; /* of its values */
    bool is_there;
};

static int by_measure(const void *a, const void *b)
{
    const struct key *x = a, *y = b;

    if (x->is_there != y->is_there)
        return x->is_there ? -1 : 1;
    if (x->measure != y->measure)
        return x->measure < y->measure ? 1 : -1;
    return (x->place > y->place) - (x->place < y->place);
}

static int by_cost(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;

    if (x->cost != y->cost)
        return x->cost < y->cost ? 1 : -1;
    return (x->row > y->row) - (x->row < y->row);
}

/* Marks the rows whose key, over all periods, is not among the top. */
static void drop_small(const struct run *run, struct ranked *rows, size_t n)
{
    struct key *keys;
    bool *is_kept;
    size_t n_keys = 1;

    for (size_t i = 0; i < n; i++)
        n_keys = rows[i].row->place >= n_keys ? rows[i].row->place + 1 : n_keys;
    keys = xcalloc(n_keys, sizeof(*keys));
    is_kept = xcalloc(n_keys, sizeof(*is_kept));
    for (size_t i = 0; i < n; i++) {
        struct key *key = &keys[rows[i].row->place];

        key->is_there = true;
        key->place = rows[i].row->place;
        key->measure += measure(run, &rows[i].row->sums);
    }
    qsort(keys, n_keys, sizeof(*keys), by_measure);
    for (size_t i = 0; i < n_keys && i < run->params->top; i++)
        is_kept[keys[i].place] = true;
    for (size_t i = 0; i < n; i++)
        rows[i].dropped = !is_kept[rows[i].row->place];
    free(is_kept);
    free(keys);
}

/*
 * The rows of a period: those shown, the dearest first, and what the others come to; rest: of rows
 * that are left out already, or NULL.
 */
static void add_period(struct groups *out, struct ranked *rows, size_t n,
                       const struct ledger_rest *rest, struct ledger_sums *merged)
{
    const struct ledger_row *any = rows[0].row;
    size_t n_shown = 0;

    for (size_t i = 0; i < n; i++) {
        if (rows[i].dropped)
            ledger_sums_add(merged, &rows[i].row->sums);
        else
            rows[n_shown++] = rows[i];
    }
    qsort(rows, n_shown, sizeof(*rows), by_cost);
    for (size_t i = 0; i < n_shown; i++)
        out->at[out->n++] = (struct group){rows[i].row, any->start_us, rows[i].row->end_us,
                                           &rows[i].row->sums};
    if (rest)
        ledger_sums_add(merged, &rest->sums);
    if (n_shown < n || rest)
        out->at[out->n++] = (struct group){NULL, any->start_us, any->end_us, merged};
}

/* A period of which all rows are left out. */
static void add_rest(struct groups *out, const struct ledger_rest *rest,
                     struct ledger_sums *merged)
{
    *merged = rest->sums;
    out->at[out->n++] = (struct group){NULL, rest->start_us, rest->end_us, merged};
}

void groups_of(const struct run *run, const struct ledger_rows *rows, struct groups *out)
{
    struct ranked *ranked = xcalloc(rows->n + 1, sizeof(*ranked));
    size_t n_periods = 0, r = 0;

    for (size_t i = 0; i < rows->n; i++)
        ranked[i] = (struct ranked){
            &rows->at[i], rows->at[i].start_us, rows->at[i].sums.cost.atto, false};
    if (run->params->top)
        drop_small(run, ranked, rows->n);
    /* A period has at most one (other), and a row of its own, or a rest, to stand for it. */
    *out = (struct groups){.at = xcalloc(rows->n + rows->n_rest + 1, sizeof(*out->at))};
    for (size_t i = 0; i < rows->n; i++)
        n_periods += i == 0 || ranked[i].start_us != ranked[i - 1].start_us;
    out->merged = xcalloc(n_periods + rows->n_rest + 1, sizeof(*out->merged));
    n_periods = 0;
    for (size_t i = 0, end; i < rows->n || r < rows->n_rest; i = end) {
        const struct ledger_rest *rest = r < rows->n_rest ? &rows->rest[r] : NULL;

        end = i;
        if (rest && (i == rows->n || rest->start_us < ranked[i].start_us)) {
            add_rest(out, rest, &out->merged[n_periods++]);
            r++;
            continue;
        }
        while (end < rows->n && ranked[end].start_us == ranked[i].start_us)
            end++;
        rest = rest && rest->start_us == ranked[i].start_us ? rest : NULL;
        add_period(out, ranked + i, end - i, rest, &out->merged[n_periods++]);
        r += rest != NULL;
    }
    free(ranked);
}

void groups_release(struct groups *g)
{
    free(g->at);
    free(g->merged);
    *g = (struct groups){0};
}

enum rc group_keys(struct run *run, const struct group *g, struct cell *row)
{
    const struct report_params *p = run->params;
    char label[DATETIME_TEXT];
    enum rc rc = RC_OK;
    size_t c = 0;

    if (p->grain != PERIOD_TOTAL) {
        zone_period_label(p->zone, p->grain, g->start_us, label);
        rc = sheet_text(&run->sheet, strv_z(label), &row[c++]);
    }
    for (size_t i = 0; rc == RC_OK && i < p->n_by; i++, c++)
        rc = g->row ? run_value(run, g->row->value[i], &row[c])
                    : sheet_text(&run->sheet, STRV("(other)"), &row[c]);
    return rc;
}

/* What is left of a period: lines of none of the combinations shown in it. */
static enum rc link_rest(struct run *run, const struct groups *g, const struct group *other,
                         struct cell *row)
{
    const struct report_params *p = run->params;
    const struct strv **value = xcalloc(g->n + 1, sizeof(*value));
    struct drill d;
    enum rc rc;

    drill_start(&d, run);
    drill_period(&d, other->start_us, other->end_us);
    for (size_t i = 0; i < g->n; i++) {
        if (g->at[i].row && g->at[i].start_us == other->start_us)
            value[d.except.n++] = g->at[i].row->value;
    }
    d.except.by = p->by;
    d.except.n_by = p->n_by;
    d.except.value = value;
    rc = drill_cell(run, &d, &row[run->lines]);
    free(value);
    return rc;
}

enum rc group_link(struct run *run, const struct groups *g, size_t i, struct cell *row)
{
    if (g->at[i].row)
        return drill_row(run, g->at[i].row, run->params->by, run->params->n_by, row);
    return link_rest(run, g, &g->at[i], row);
}

/* ---- questions ---------------------------------------------------------------------- */

/* What is noted of quality; costs become those that the report is based on. */
static void take_rows(struct run *run, const struct ledger_question *q, struct ledger_rows *rows)
{
    if (!(q->want & LEDGER_ALONE) && q->filter.from_us == run->params->from_us &&
        q->filter.to_us == run->params->to_us)
        run_take_quality(run, &rows->total.sums);
    for (size_t i = 0; i < rows->n; i++)
        run_basis(run, &rows->at[i].sums);
    for (size_t i = 0; i < rows->n_rest; i++)
        run_basis(run, &rows->rest[i].sums);
    run_basis(run, &rows->total.sums);
}

static enum rc read_sums(struct run *run, const struct ledger_question *q,
                         struct ledger_rows *rows)
{
    enum rc rc = ledger_read_sums(run->reader, q, rows, &run->fail);

    if (rc == RC_OK)
        take_rows(run, q, rows);
    return rc;
}

static struct ledger_question question_of(const struct run *run, unsigned want, int64_t from_us,
                                          int64_t to_us)
{
    const struct report_params *p = run->params;
    struct ledger_question q = {.n_by = p->n_by, .grain = p->grain, .zone = p->zone, .want = want};

    params_filter(p, &q.filter);
    q.filter.from_us = from_us;
    q.filter.to_us = to_us;
    memcpy(q.by, p->by, p->n_by * sizeof(q.by[0]));
    return q;
}

enum rc run_top_sums(struct run *run, unsigned want, struct ledger_rows *rows)
{
    struct ledger_question q =
        question_of(run, want, run->params->from_us, run->params->to_us);

    q.top = is_by_cost(run) ? run->params->top : 0;
    return read_sums(run, &q, rows);
}

enum rc run_sums_of(struct run *run, unsigned want, int64_t from_us, int64_t to_us,
                    struct ledger_rows *rows)
{
    struct ledger_question q = question_of(run, want, from_us, to_us);

    return read_sums(run, &q, rows);
}

enum rc run_sums(struct run *run, unsigned want, struct ledger_rows *rows)
{
    return run_sums_of(run, want, run->params->from_us, run->params->to_us, rows);
}

struct beside {
    struct run *run;
    const struct ledger_question *q;
    struct ledger_rows *rows;
};

static enum rc ask_now(void *arg, struct fail *fail)
{
    const struct beside *b = arg;

    return ledger_read_sums(b->run->reader, b->q, b->rows, fail);
}

enum rc run_both_sums(struct run *run, unsigned want, int64_t from_us, int64_t to_us,
                      struct ledger_rows *then, struct ledger_rows *now)
{
    struct ledger_question of_then = question_of(run, want, from_us, to_us);
    struct ledger_question of_now =
        question_of(run, want, run->params->from_us, run->params->to_us);
    struct beside b = {run, &of_now, now};
    enum rc rc;

    *then = *now = (struct ledger_rows){0};
    rc = ledger_read_sums_beside(run->reader, &of_then, then, ask_now, &b, &run->fail);
    if (rc != RC_OK) {
        ledger_rows_release(now);
        return rc;
    }
    take_rows(run, &of_then, then);
    take_rows(run, &of_now, now);
    return RC_OK;
}

enum rc run_sums_by(struct run *run, const enum ledger_field_id *fields, size_t n, unsigned want,
                    struct ledger_rows *rows)
{
    const struct report_params *p = run->params;
    struct ledger_question q = {
        .n_by = n, .grain = PERIOD_TOTAL, .zone = p->zone, .want = want};

    params_filter(p, &q.filter);
    for (size_t i = 0; i < n; i++)
        q.by[i] = (struct ledger_field){.id = fields[i]};
    return read_sums(run, &q, rows);
}

enum rc run_also_by(struct run *run, const enum ledger_field_id *fields, size_t n)
{
    struct report_params *p = run->params;

    for (size_t i = 0; i < n; i++) {
        bool has = false;
        for (size_t k = 0; k < p->n_by; k++)
            has |= p->by[k].id == fields[i];
        if (has)
            continue;
        if (p->n_by == PARAMS_BY_MAX)
            return run_refuses(run, "by", "it leaves no room for the fields of its own");
        p->by[p->n_by++] = (struct ledger_field){.id = fields[i]};
    }
    return RC_OK;
}
