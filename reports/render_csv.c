/*
 * render_csv.c - RFC 4180; see render.h.
 */
#include <inttypes.h>
#include <string.h>

#include "base/datetime.h"
#include "reports/render.h"

#define TRY(call)                                                                              \
    do {                                                                                       \
        enum rc try_rc = (call);                                                               \
        if (try_rc != RC_OK)                                                                   \
            return try_rc;                                                                     \
    } while (0)

/*
 * Tags come from clients, and a spreadsheet runs what begins like a formula (CWE-1236):
 * such text gets a quote mark in front, which spreadsheets take for "this is text".
 */
static enum rc put_text(struct strv text, struct buf *out)
{
    bool formula = text.n > 0 && memchr("=+-@\t\r", text.p[0], 6) != NULL;
    bool quoted = false;

    for (size_t i = 0; !quoted && i < text.n; i++)
        quoted = memchr(",\"\r\n", text.p[i], 4) != NULL;
    if (!quoted)
        return formula ? buf_printf(out, "'" STRV_FMT, STRV_ARG(text))
                       : buf_append_strv(out, text);
    TRY(buf_append_strv(out, formula ? STRV("\"'") : STRV("\"")));
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '"')
            TRY(buf_append(out, "\"", 1));
        TRY(buf_append(out, &text.p[i], 1));
    }
    return buf_append(out, "\"", 1);
}

static enum rc put_cell(const struct column *c, const struct cell *cell, struct buf *out)
{
    char text[CELL_TEXT];

    if (!cell->known)
        return RC_OK;
    switch (c->type) {
    case COLUMN_TEXT:
        return put_text(cell->text, out);
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
