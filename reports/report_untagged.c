/*
 * report_untagged.c - what has no owner, dearest first, and where to mend it.
 *
 * A request is in one row: that of the tags it lacks, the key it came by and its model.
 * What lacks nothing is one row of its own, so that the report bridges to the ledger.
 * Asked by rollup fields alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "reports/report_int.h"

enum {
    UNTAGGED_TAGS = 3, /* team, feature, environment */
    UNTAGGED_TEXT_MAX = 1024,
    CLEAR_PER_CENT = 90, /* of a key's tagged spend with one value: it may become a default */
};

enum untagged_field { BY_TEAM = 0, BY_FEATURE, BY_ENVIRONMENT, BY_KEY, BY_UPSTREAM, BY_MODEL,
                      BY_TEAM_SOURCE, BY_FEATURE_SOURCE, BY_ENVIRONMENT_SOURCE, UNTAGGED_FIELDS };

static const enum ledger_field_id untagged_fields[UNTAGGED_FIELDS] = {
    [BY_TEAM] = FIELD_TEAM,
    [BY_FEATURE] = FIELD_FEATURE,
    [BY_ENVIRONMENT] = FIELD_ENVIRONMENT,
    [BY_KEY] = FIELD_KEY,
    [BY_UPSTREAM] = FIELD_UPSTREAM,
    [BY_MODEL] = FIELD_MODEL,
    [BY_TEAM_SOURCE] = FIELD_TEAM_SOURCE,
    [BY_FEATURE_SOURCE] = FIELD_FEATURE_SOURCE,
    [BY_ENVIRONMENT_SOURCE] = FIELD_ENVIRONMENT_SOURCE,
};

enum untagged_column {
    UNTAGGED_MISSING = 0,
    UNTAGGED_KEY,
    UNTAGGED_SOURCE,
    UNTAGGED_UPSTREAM,
    UNTAGGED_MODEL,
    UNTAGGED_REQUESTS,
    UNTAGGED_COST,
    UNTAGGED_SHARE,
    UNTAGGED_UNPRICED,
    UNTAGGED_SUGGESTION,
};

/* One row: requests that lack the same tags, by key, sources and model. */
struct owner {
    unsigned missing; /* bit per tag */
    const struct ledger_row *row; /* any of them, for its values; NULL: those that lack none */
    struct ledger_sums sums;
};

static void untagged_columns(struct sheet *t)
{
    sheet_column(t, "missing", "missing", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "key", "key", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "source", "tags from", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "upstream", "upstream", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "model", "model", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "requests", "requests", COLUMN_COUNT, COLUMN_ADDS);
    sheet_column(t, "cost_usd", "cost USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_share(t, "share", "share", UNTAGGED_COST);
    sheet_column(t, "unpriced_requests", "unpriced", COLUMN_COUNT, COLUMN_ADDS | COLUMN_SPARSE);
    sheet_column(t, "suggestion", "suggestion", COLUMN_TEXT, COLUMN_KEY);
}

static unsigned missing_of(const struct ledger_row *row)
{
    unsigned missing = 0;

    for (unsigned i = 0; i < UNTAGGED_TAGS; i++)
        missing |= (unsigned)(row->value[i].n == 0) << i;
    return missing;
}

/* ---- rows ------------------------------------------------------------------------------- */

static int by_owner(const void *a, const void *b)
{
    const struct owner *x = a, *y = b;

    if (x->missing != y->missing)
        return x->missing < y->missing ? -1 : 1;
    for (unsigned i = BY_KEY; x->missing && i < UNTAGGED_FIELDS; i++) {
        int c = strv_cmp(x->row->value[i], y->row->value[i]);
        if (c)
            return c;
    }
    return 0;
}

static int by_cost(const void *a, const void *b)
{
    const struct owner *x = a, *y = b;
    int c = (x->missing == 0) - (y->missing == 0);

    if (c == 0)
        c = money_cmp(y->sums.cost, x->sums.cost);
    return c ? c : by_owner(a, b);
}

static size_t gather(const struct ledger_rows *rows, struct owner *out)
{
    size_t n = 0;

    for (size_t i = 0; i < rows->n; i++)
        out[i] = (struct owner){missing_of(&rows->at[i]), &rows->at[i], rows->at[i].sums};
    if (rows->n)
        qsort(out, rows->n, sizeof(*out), by_owner);
    for (size_t i = 0; i < rows->n; i++) {
        if (n > 0 && by_owner(&out[n - 1], &out[i]) == 0)
            ledger_sums_add(&out[n - 1].sums, &out[i].sums);
        else
            out[n++] = out[i];
    }
    if (n)
        qsort(out, n, sizeof(*out), by_cost);
    return n;
}

/* ---- suggestions -------------------------------------------------------------------------- */

struct usual {
    struct strv key, value;
    money_int requests;
};

static int by_key_and_value(const void *a, const void *b)
{
    const struct usual *x = a, *y = b;
    int c = strv_cmp(x->key, y->key);

    return c ? c : strv_cmp(x->value, y->value);
}

/* What a key's tagged requests nearly all have for a tag; the text is empty where that is
 * nothing. One entry a key, in order of key; returns their number. */
static size_t usual_values(const struct ledger_rows *rows, unsigned tag, struct usual *out)
{
    size_t n = 0, keys = 0;

    for (size_t i = 0; i < rows->n; i++) {
        if (rows->at[i].value[tag].n)
            out[n++] = (struct usual){rows->at[i].value[BY_KEY], rows->at[i].value[tag],
                                      (money_int)rows->at[i].sums.requests};
    }
    if (n)
        qsort(out, n, sizeof(*out), by_key_and_value);
    for (size_t i = 0, end; i < n; i = end) {
        struct usual best = {out[i].key, STRV(""), 0};
        money_int all = 0, sum = 0;

        for (end = i; end < n && strv_eq(out[end].key, out[i].key); end++) {
            bool same = end > i && strv_eq(out[end].value, out[end - 1].value);
            sum = (same ? sum : 0) + out[end].requests;
            all += out[end].requests;
            if (sum > best.requests) {
                best.requests = sum;
                best.value = out[end].value;
            }
        }
        if (best.requests * 100 < all * CLEAR_PER_CENT)
            best.value = STRV("");
        out[keys++] = best;
    }
    return keys;
}

/* Of each tag, by key. */
struct usuals {
    struct usual *at[UNTAGGED_TAGS];
    size_t n[UNTAGGED_TAGS];
};

static int key_cmp(const void *a, const void *b)
{
    return strv_cmp(((const struct usual *)a)->key, ((const struct usual *)b)->key);
}

static struct strv usual_value(const struct usuals *u, struct strv key, unsigned tag)
{
    const struct usual wanted = {key, STRV(""), 0};
    const struct usual *found =
        u->n[tag] ? bsearch(&wanted, u->at[tag], u->n[tag], sizeof(wanted), key_cmp) : NULL;

    return found ? found->value : STRV("");
}

static enum rc put_suggestion(struct run *run, const struct usuals *usuals,
                              const struct owner *o, struct cell *out)
{
    struct strv key = o->row->value[BY_KEY];
    struct buf text;
    enum rc rc;

    buf_init(&text, UNTAGGED_TEXT_MAX);
    if (key.n == 0) {
        rc = buf_append_strv(&text, STRV("give these apps a key of their own with tags"));
    } else {
        rc = buf_printf(&text, "key " STRV_FMT ":", STRV_ARG(strv_head(key, 64)));
        for (unsigned i = 0; rc == RC_OK && i < UNTAGGED_TAGS; i++) {
            struct strv value;
            if (!(o->missing >> i & 1))
                continue;
            value = usual_value(usuals, key, i);
            if (value.n)
                rc = buf_printf(&text, " set %s=" STRV_FMT " as its default;",
                                dimension_name((enum dimension)i),
                                STRV_ARG(strv_head(value, 64)));
            else
                rc = buf_printf(&text, " lock %s on it, or send X-Tollgate-%c%s;",
                                dimension_name((enum dimension)i),
                                dimension_name((enum dimension)i)[0] - 'a' + 'A',
                                dimension_name((enum dimension)i) + 1);
        }
        if (rc == RC_OK)
            text.tail--; /* the last semicolon */
    }
    if (rc == RC_OK)
        rc = sheet_text(&run->sheet, buf_view(&text), out);
    buf_release(&text);
    return rc;
}

static enum rc put_missing(struct run *run, unsigned missing, struct cell *out)
{
    char text[64] = "";
    size_t n = 0;

    for (unsigned i = 0; i < UNTAGGED_TAGS; i++) {
        if (missing >> i & 1)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", n ? "," : "",
                                  dimension_name((enum dimension)i));
    }
    return sheet_text(&run->sheet, missing ? strv_z(text) : STRV("(none)"), out);
}

static enum rc put_source(struct run *run, const struct ledger_row *row, struct cell *out)
{
    char text[128];

    (void)snprintf(text, sizeof(text),
                   "team " STRV_FMT ", feature " STRV_FMT ", environment " STRV_FMT,
                   STRV_ARG(row->value[BY_TEAM_SOURCE]),
                   STRV_ARG(row->value[BY_FEATURE_SOURCE]),
                   STRV_ARG(row->value[BY_ENVIRONMENT_SOURCE]));
    return sheet_text(&run->sheet, strv_z(text), out);
}

static void sums_cells(const struct ledger_sums *s, struct cell *c)
{
    c[UNTAGGED_REQUESTS] = cell_count(s->requests);
    c[UNTAGGED_COST] = sums_cost(s, s->cost);
    c[UNTAGGED_UNPRICED] = cell_count(s->unpriced);
}

static enum rc put_link(struct run *run, const struct owner *o, struct cell *c)
{
    struct drill d;

    drill_start(&d, run);
    for (unsigned i = 0; i < UNTAGGED_TAGS; i++)
        drill_add(&d, (struct ledger_field){.id = untagged_fields[i]},
                  o->missing >> i & 1 ? LEDGER_EQ : LEDGER_NE, STRV(""));
    for (unsigned i = BY_KEY; o->row && i < UNTAGGED_FIELDS; i++)
        drill_add(&d, (struct ledger_field){.id = untagged_fields[i]}, LEDGER_EQ,
                  o->row->value[i]);
    return drill_cell(run, &d, &c[run->lines]);
}

static enum rc put_row(struct run *run, const struct usuals *usuals, struct owner *o)
{
    struct cell *c;
    enum rc rc = sheet_row(&run->sheet, &c);

    if (rc == RC_OK)
        rc = put_missing(run, o->missing, &c[UNTAGGED_MISSING]);
    if (rc != RC_OK)
        return rc;
    sums_cells(&o->sums, c);
    if (o->missing == 0) {
        o->row = NULL;
        return put_link(run, o, c);
    }
    rc = run_value(run, o->row->value[BY_KEY], &c[UNTAGGED_KEY]);
    if (rc == RC_OK)
        rc = put_source(run, o->row, &c[UNTAGGED_SOURCE]);
    if (rc == RC_OK)
        rc = run_value(run, o->row->value[BY_UPSTREAM], &c[UNTAGGED_UPSTREAM]);
    if (rc == RC_OK)
        rc = run_value(run, o->row->value[BY_MODEL], &c[UNTAGGED_MODEL]);
    if (rc == RC_OK)
        rc = put_suggestion(run, usuals, o, &c[UNTAGGED_SUGGESTION]);
    return rc == RC_OK ? put_link(run, o, c) : rc;
}

/* The first top rows; the others as one, before those that lack nothing. */
static enum rc put_rows(struct run *run, const struct ledger_rows *rows)
{
    struct owner *owners = xcalloc(rows->n + 1, sizeof(*owners));
    size_t n = gather(rows, owners), top = run->params->top;
    struct ledger_sums other = {0};
    struct usuals usuals;
    enum rc rc = RC_OK;

    for (unsigned t = 0; t < UNTAGGED_TAGS; t++) {
        usuals.at[t] = xcalloc(rows->n + 1, sizeof(*usuals.at[t]));
        usuals.n[t] = usual_values(rows, t, usuals.at[t]);
    }
    for (size_t i = 0; rc == RC_OK && i < n; i++) {
        if (top && i >= top && owners[i].missing)
            ledger_sums_add(&other, &owners[i].sums);
        else
            rc = put_row(run, &usuals, &owners[i]);
    }
    if (rc == RC_OK && other.requests > 0) {
        struct cell *c;
        rc = sheet_row(&run->sheet, &c);
        if (rc == RC_OK) {
            sums_cells(&other, c);
            rc = sheet_text(&run->sheet, STRV("(other)"), &c[UNTAGGED_MISSING]);
            run->n_others = 1;
        }
    }
    for (unsigned t = 0; t < UNTAGGED_TAGS; t++)
        free(usuals.at[t]);
    free(owners);
    return rc;
}

enum rc report_untagged(struct run *run)
{
    struct report_params *p = run->params;
    struct ledger_rows rows;
    enum rc rc;

    if (p->n_by)
        return run_refuses(run, "by", "it groups by what is missing");
    if (p->grain != PERIOD_TOTAL)
        return run_refuses(run, "grain", "it is about the period as a whole");
    if (p->has_cohort)
        return run_refuses(run, "cohort", "it is a word of tasks");
    rc = run_sums_by(run, untagged_fields, UNTAGGED_FIELDS, 0, &rows);
    if (rc != RC_OK)
        return rc;
    untagged_columns(&run->sheet);
    drill_column(run);
    rc = put_rows(run, &rows);
    sums_cells(&rows.total.sums, run->sheet.total);
    if (rc == RC_OK)
        rc = drill_total(run);
    run->note = "(none): requests that have all three standing tags.";
    ledger_rows_release(&rows);
    return rc;
}
