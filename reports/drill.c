/*
 * drill.c - the query of `lines` that shows what a row is made of; see report_int.h.
 */
#include <string.h>

#include "base/datetime.h"
#include "reports/report_int.h"

/* Leaves room for the other lines of a head that the admin listener takes. */
enum { DRILL_MAX_BYTES = 48 << 10 };

#define TRY(call)                                                                              \
    do {                                                                                       \
        enum rc try_rc = (call);                                                               \
        if (try_rc != RC_OK)                                                                   \
            return try_rc;                                                                     \
    } while (0)

void drill_start(struct drill *d, const struct run *run)
{
    *d = (struct drill){
        .from_us = run->params->from_us, .to_us = run->params->to_us, .is_exact = true};
}

void drill_period(struct drill *d, int64_t start_us, int64_t end_us)
{
    d->from_us = start_us > d->from_us ? start_us : d->from_us;
    d->to_us = end_us < d->to_us ? end_us : d->to_us;
}

void drill_add(struct drill *d, struct ledger_field field, enum ledger_op op, struct strv value)
{
    if (d->n == DRILL_MAX) {
        d->is_exact = false;
        return;
    }
    d->at[d->n].field = field;
    d->at[d->n].op = op;
    d->at[d->n].n_values = 0;
    d->at[d->n++].value = value;
}

void drill_add_any(struct drill *d, struct ledger_field field, const struct strv *values, size_t n)
{
    if (d->n == DRILL_MAX) {
        d->is_exact = false;
        return;
    }
    d->at[d->n].field = field;
    d->at[d->n].op = LEDGER_EQ;
    d->at[d->n].values = values;
    d->at[d->n++].n_values = n;
}

/* ---- text ------------------------------------------------------------------------------- */

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '-' || c == '.' || c == '_' || c == '~' || c == ':' || c == '*';
}

static enum rc put_encoded(struct buf *out, struct strv text)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        char escape[3] = {'%', hex[c >> 4], hex[c & 15]};

        if (is_plain(text.p[i]))
            TRY(buf_append(out, &text.p[i], 1));
        else
            TRY(buf_append(out, escape, sizeof(escape)));
    }
    return RC_OK;
}

/* A value as `where` reads it: commas and backslashes escaped, the absent one by its name;
 * semicolons too, which end combinations. */
static enum rc put_value(struct buf *out, struct strv value)
{
    if (value.n == 0)
        return put_encoded(out, STRV("(untagged)"));
    if (strv_eq(value, STRV("(untagged)")))
        TRY(put_encoded(out, STRV("\\")));
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] == ',' || value.p[i] == ';' || value.p[i] == '\\')
            TRY(put_encoded(out, STRV("\\")));
        TRY(put_encoded(out, strv_make(&value.p[i], 1)));
    }
    return RC_OK;
}

static enum rc put_name(struct buf *out, const struct ledger_field *field)
{
    if (field->id == FIELD_TAG)
        TRY(put_encoded(out, STRV("tag:")));
    return put_encoded(out, ledger_field_name(field));
}

static enum rc put_condition(struct buf *out, const struct ledger_condition *c)
{
    static const struct strv ops[] = {
        [LEDGER_EQ] = {"=", 1}, [LEDGER_NE] = {"!=", 2}, [LEDGER_GLOB] = {"~", 1}};

    TRY(buf_append_strv(out, STRV("&where=")));
    TRY(put_name(out, &c->field));
    TRY(put_encoded(out, ops[c->op]));
    for (size_t i = 0; i < c->n_values; i++) {
        if (i)
            TRY(buf_append(out, ",", 1));
        TRY(put_value(out, c->values[i]));
    }
    return RC_OK;
}

static enum rc put_tuples(struct buf *out, const char *word, const struct drill_tuples *t)
{
    if (t->n == 0 || t->n_by == 0)
        return RC_OK;
    TRY(buf_printf(out, "&%s=", word));
    for (size_t i = 0; i < t->n_by; i++) {
        if (i)
            TRY(buf_append(out, ",", 1));
        TRY(put_name(out, &t->by[i]));
    }
    TRY(put_encoded(out, STRV("=")));
    for (size_t i = 0; i < t->n * t->n_by; i++) {
        if (i)
            TRY(put_encoded(out, i % t->n_by ? STRV(",") : STRV(";")));
        TRY(put_value(out, t->value[i / t->n_by][i % t->n_by]));
    }
    return RC_OK;
}

static enum rc put_query(const struct run *run, const struct drill *d, struct buf *out)
{
    const struct report_params *p = run->params;
    char from[DATETIME_TEXT], to[DATETIME_TEXT];

    datetime_format_us(d->from_us, from);
    datetime_format_us(d->to_us, to);
    TRY(buf_printf(out, "/api/v1/reports/lines?from=%s&to=%s&tz=", from, to));
    TRY(put_encoded(out, strv_z(zone_name(p->zone))));
    for (size_t i = 0; i < p->n_where; i++)
        TRY(put_condition(out, &p->where[i]));
    for (size_t i = 0; i < d->n; i++) {
        const bool has_many = d->at[i].n_values > 0;
        const struct ledger_condition c = {.field = d->at[i].field,
                                           .op = d->at[i].op,
                                           .values = has_many ? d->at[i].values : &d->at[i].value,
                                           .n_values = has_many ? d->at[i].n_values : 1};
        TRY(put_condition(out, &c));
    }
    TRY(put_tuples(out, "only", &d->only));
    TRY(put_tuples(out, "except", &d->except));
    if (d->waste)
        TRY(buf_printf(out, "&waste=%s", d->waste));
    if (p->basis != BASIS_EFFECTIVE)
        TRY(buf_printf(out, "&cost_basis=%s", cost_basis_name(p->basis)));
    if (d->by_start)
        TRY(buf_append_strv(out, STRV("&time=start")));
    if (d->charge.n) {
        TRY(buf_append_strv(out, STRV("&charge=")));
        TRY(put_encoded(out, d->charge));
    }
    return RC_OK;
}

enum rc drill_cell(struct run *run, const struct drill *d, struct cell *out)
{
    struct buf text;
    enum rc rc;

    *out = cell_null();
    if (!d->is_exact || d->n + run->params->n_where > LEDGER_CONDITIONS_MAX ||
        d->from_us >= d->to_us)
        return RC_OK;
    buf_init(&text, DRILL_MAX_BYTES);
    rc = put_query(run, d, &text);
    if (rc == RC_OK)
        rc = sheet_text(&run->sheet, buf_view(&text), out);
    else if (rc == RC_LIMIT)
        rc = RC_OK; /* longer than any listener takes: no link */
    buf_release(&text);
    return rc;
}

void drill_column(struct run *run)
{
    run->lines = sheet_column(&run->sheet, "lines", "lines", COLUMN_TEXT, COLUMN_LINK);
}

enum rc drill_total(struct run *run)
{
    struct drill d;

    drill_start(&d, run);
    return drill_cell(run, &d, &run->sheet.total[run->lines]);
}

enum rc drill_row(struct run *run, const struct ledger_row *row, const struct ledger_field *by,
                  size_t n_by, struct cell *cells)
{
    struct drill d;

    drill_start(&d, run);
    drill_period(&d, row->start_us, row->end_us);
    for (size_t i = 0; i < n_by; i++)
        drill_add(&d, by[i], LEDGER_EQ, row->value[i]);
    return drill_cell(run, &d, &cells[run->lines]);
}
