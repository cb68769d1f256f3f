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

enum rc render_csv(const struct sheet *t, struct buf *out)
{
    for (size_t c = 0; c < t->n_columns; c++) {
        if (!(t->columns[c].flags & COLUMN_LINK))
            TRY(buf_printf(out, "%s%s", c ? "," : "", t->columns[c].name));
    }
    TRY(buf_append(out, "\r\n", 2));
    for (size_t i = 0; i < t->n_rows; i++) {
        for (size_t c = 0; c < t->n_columns; c++) {
            if (t->columns[c].flags & COLUMN_LINK)
                continue;
            if (c)
                TRY(buf_append(out, ",", 1));
            TRY(put_cell(&t->columns[c], sheet_cells(t, i) + c, out));
        }
        TRY(buf_append(out, "\r\n", 2));
    }
    return RC_OK;
}
