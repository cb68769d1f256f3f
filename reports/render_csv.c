/*
 * render_csv.c - RFC 4180; see render.h.
 */
#include <inttypes.h>
#include <string.h>

#include "base/csvw.h"
#include "base/datetime.h"
#include "reports/render.h"

#define TRY(call)                                                                              \
    do {                                                                                       \
        enum rc try_rc = (call);                                                               \
        if (try_rc != RC_OK)                                                                   \
            return try_rc;                                                                     \
    } while (0)

static enum rc put_cell(const struct column *c, const struct cell *cell, struct buf *out)
{
    char text[CELL_TEXT];

    if (!cell->known)
        return RC_OK;
    switch (c->type) {
    case COLUMN_TEXT:
        return csvw_text(out, cell->text);
    case COLUMN_TIME:
        datetime_format_us(cell->time_us, text);
        return buf_append_strv(out, strv_z(text));
    case COLUMN_COUNT:
        return buf_printf(out, "%" PRIu64, cell->count);
    case COLUMN_MONEY:
        money_format(cell->money, text);
        return buf_append_strv(out, strv_z(text));
    case COLUMN_RATIO:
    case COLUMN_SHARE:
        return buf_append(out, text, ratio_format(cell->ratio, ratio_decimals(c), text));
    case COLUMN_BOOL:
        return buf_append_strv(out, cell->yes ? STRV("true") : STRV("false"));
    }
    return RC_OK;
}

/* row_type NULL: without that column. */
static enum rc put_row(const struct sheet *t, const struct cell *cells, const char *row_type,
                       struct buf *out)
{
    if (row_type)
        TRY(buf_append_strv(out, strv_z(row_type)));
    for (size_t c = 0; c < t->n_columns; c++) {
        if (t->columns[c].flags & COLUMN_LINK)
            continue;
        if (c || row_type)
            TRY(buf_append(out, ",", 1));
        TRY(put_cell(&t->columns[c], &cells[c], out));
    }
    return buf_append(out, "\r\n", 2);
}

enum rc render_csv(const struct sheet *t, bool with_total, struct buf *out)
{
    if (with_total)
        TRY(buf_append_strv(out, STRV("row_type")));
    for (size_t c = 0; c < t->n_columns; c++) {
        if (!(t->columns[c].flags & COLUMN_LINK))
            TRY(buf_printf(out, "%s%s", c || with_total ? "," : "", t->columns[c].name));
    }
    TRY(buf_append(out, "\r\n", 2));
    for (size_t i = 0; i < t->n_rows; i++)
        TRY(put_row(t, sheet_cells(t, i), with_total ? "row" : NULL, out));
    return with_total && t->has_total ? put_row(t, t->total, "total", out) : RC_OK;
}
