/*
 * render_json.c - the contract's JSON; see render.h.
 */
#include "base/datetime.h"
#include "base/jsonw.h"
#include "base/zone.h"
#include "reports/period.h"
#include "reports/render.h"

static void put_cell(struct jsonw *w, const struct column *c, const struct cell *cell)
{
    char text[CELL_TEXT];

    if (!cell->known) {
        jsonw_null(w);
        return;
    }
    switch (c->type) {
    case COLUMN_TEXT:
        jsonw_string(w, cell->text);
        return;
    case COLUMN_TIME:
        datetime_format_us(cell->time_us, text);
        jsonw_string(w, strv_z(text));
        return;
    case COLUMN_COUNT:
        jsonw_uint(w, cell->count);
        return;
    case COLUMN_MONEY:
        money_format(cell->money, text);
        jsonw_string(w, strv_z(text));
        return;
    case COLUMN_RATIO:
    case COLUMN_SHARE:
        jsonw_raw(w, strv_make(text, ratio_format(cell->ratio, ratio_decimals(c), text)));
        return;
    case COLUMN_BOOL:
        jsonw_bool(w, cell->yes);
        return;
    }
}

static void put_row(struct jsonw *w, const struct sheet *t, const struct cell *cells,
                    unsigned without)
{
    jsonw_object(w);
    for (size_t c = 0; c < t->n_columns; c++) {
        if (t->columns[c].flags & without)
            continue;
        jsonw_key(w, strv_z(t->columns[c].name));
        put_cell(w, &t->columns[c], &cells[c]);
    }
    jsonw_end(w);
}

static void put_head(struct jsonw *w, const struct sheet_head *head)
{
    char text[DATETIME_TEXT];

    jsonw_key(w, STRV("report"));
    jsonw_string(w, strv_z(head->report));
    jsonw_key(w, STRV("from"));
    period_format(head->zone, head->from_us, text);
    jsonw_string(w, strv_z(text));
    jsonw_key(w, STRV("to"));
    period_format(head->zone, head->to_us, text);
    jsonw_string(w, strv_z(text));
    jsonw_key(w, STRV("timezone"));
    jsonw_string(w, strv_z(zone_name(head->zone)));
    jsonw_key(w, STRV("as_of"));
    if (head->as_of_us) {
        datetime_format_us(head->as_of_us, text);
        jsonw_string(w, strv_z(text));
    } else {
        jsonw_null(w);
    }
    if (head->has_against) {
        jsonw_key(w, STRV("against"));
        jsonw_object(w);
        period_format(head->zone, head->against_from_us, text);
        jsonw_key(w, STRV("from"));
        jsonw_string(w, strv_z(text));
        period_format(head->zone, head->against_to_us, text);
        jsonw_key(w, STRV("to"));
        jsonw_string(w, strv_z(text));
        jsonw_end(w);
    }
    jsonw_key(w, STRV("by"));
    jsonw_array(w);
    for (size_t i = 0; i < head->n_by; i++)
        jsonw_string(w, head->by[i]);
    jsonw_end(w);
}

static void put_text(struct jsonw *w, struct strv name, const char *text)
{
    jsonw_key(w, name);
    if (text)
        jsonw_string(w, strv_z(text));
    else
        jsonw_null(w);
}

static void put_quality(struct jsonw *w, const struct sheet_quality *q)
{
    const struct {
        struct strv name;
        uint64_t n;
    } counts[] = {{STRV("unpriced_requests"), q->unpriced},
                  {STRV("partly_priced_requests"), q->partly_priced},
                  {STRV("unknown_usage_requests"), q->unknown_usage},
                  {STRV("estimated_requests"), q->estimated}};

    jsonw_object(w);
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
        jsonw_key(w, counts[i].name);
        jsonw_uint(w, counts[i].n);
    }
    jsonw_end(w);
}

static void put_currency(struct jsonw *w, const struct sheet_currency *c)
{
    const struct strv members[][2] = {{STRV("code"), c->code},
                                      {STRV("rate"), c->rate},
                                      {STRV("date"), c->date},
                                      {STRV("source"), c->source}};

    jsonw_key(w, STRV("currency"));
    jsonw_object(w);
    for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++) {
        jsonw_key(w, members[i][0]);
        jsonw_string(w, members[i][1]);
    }
    jsonw_end(w);
}

static void put_about(struct jsonw *w, const struct sheet_about *about, size_t n_rows)
{
    put_text(w, STRV("grain"), about->grain);
    jsonw_key(w, STRV("where"));
    jsonw_array(w);
    for (size_t i = 0; i < about->n_where; i++)
        jsonw_string(w, about->where[i]);
    jsonw_end(w);
    for (size_t i = 0; i < about->n_words; i++) {
        jsonw_key(w, about->words[i][0]);
        jsonw_string(w, about->words[i][1]);
    }
    put_text(w, STRV("cost_basis"), about->cost_basis);
    jsonw_key(w, STRV("ledger_seq"));
    jsonw_uint(w, about->ledger_seq);
    put_text(w, STRV("book"), about->book);
    put_text(w, STRV("period_status"), about->period_status);
    if (about->currency)
        put_currency(w, about->currency);
    jsonw_key(w, STRV("data_quality"));
    if (about->quality)
        put_quality(w, about->quality);
    else
        jsonw_null(w);
    jsonw_key(w, STRV("row_count"));
    jsonw_uint(w, n_rows);
}

enum rc render_json(const struct sheet *t, const struct sheet_head *head, struct buf *out)
{
    struct jsonw w;
    enum rc rc;

    jsonw_start(&w, out);
    jsonw_object(&w);
    put_head(&w, head);
    if (head->about)
        put_about(&w, head->about, t->n_rows);
    jsonw_key(&w, STRV("rows"));
    jsonw_array(&w);
    for (size_t i = 0; i < t->n_rows; i++)
        put_row(&w, t, sheet_cells(t, i), 0);
    jsonw_end(&w);
    jsonw_key(&w, STRV("total"));
    if (t->has_total) {
        put_row(&w, t, t->total, COLUMN_KEY);
    } else {
        jsonw_object(&w);
        jsonw_end(&w);
    }
    jsonw_end(&w);
    rc = jsonw_finish(&w);
    return rc == RC_OK ? buf_append(out, "\n", 1) : rc;
}
