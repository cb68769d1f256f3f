/*
 * render_html.c - a report as one page, without scripts or outside parts; see render.h.
 */
#include <inttypes.h>

#include "base/csvw.h"
#include "base/datetime.h"
#include "reports/page.h"
#include "reports/render.h"
#include "reports/web.h"

#define TRY(call)                                                                              \
    do {                                                                                       \
        enum rc try_rc = (call);                                                               \
        if (try_rc != RC_OK)                                                                   \
            return try_rc;                                                                     \
    } while (0)

enum rc page_text(struct strv text, struct buf *out)
{
    for (size_t i = 0; i < text.n; i++) {
        struct strv c = strv_make(text.p + i, 1);

        switch (text.p[i]) {
        case '&':
            c = STRV("&amp;");
            break;
        case '<':
            c = STRV("&lt;");
            break;
        case '>':
            c = STRV("&gt;");
            break;
        case '"':
            c = STRV("&quot;");
            break;
        case '\'':
            c = STRV("&#39;");
            break;
        default:
            break;
        }
        TRY(buf_append_strv(out, c));
    }
    return RC_OK;
}

struct strv page_style(void)
{
    return web_find(STRV("/web/style.css"))->content;
}

enum rc page_begin(struct strv title, struct buf *out)
{
    TRY(buf_append_strv(
        out, STRV("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                  "<meta name=\"viewport\" content=\"width=device-width\"><title>")));
    TRY(page_text(title, out));
    TRY(buf_append_strv(out, STRV(" - tollgate</title><style>")));
    TRY(buf_append_strv(out, page_style()));
    return buf_append_strv(out, STRV("</style></head><body>\n"));
}

enum rc page_end(struct buf *out)
{
    return buf_append_strv(out, STRV("</body></html>\n"));
}

/* Where the lines behind a row are shown; NULL where no query shows just these. */
static const struct cell *link_of(const struct sheet *t, size_t row)
{
    const struct cell *cells = row == t->n_rows ? t->total : sheet_cells(t, row);

    for (size_t c = 0; c < t->n_columns; c++) {
        if ((t->columns[c].flags & COLUMN_LINK) && cells[c].known)
            return &cells[c];
    }
    return NULL;
}

static enum rc put_text(const struct cell *link, struct strv text, struct buf *out)
{
    if (!link)
        return page_text(text, out);
    TRY(buf_append_strv(out, STRV("<a href=\"")));
    TRY(page_text(link->text, out));
    TRY(buf_append_strv(out, STRV("&amp;format=html\">")));
    TRY(page_text(text, out));
    return buf_append_strv(out, STRV("</a>"));
}

static enum rc put_row(const struct shown *s, size_t row, struct buf *out)
{
    const struct sheet *t = s->t;
    const struct cell *link = link_of(t, row);

    TRY(buf_append_strv(out, STRV("<tr>")));
    for (size_t c = 0; c < t->n_columns; c++) {
        struct strv text = s->text[row * t->n_columns + c];
        if (s->hide[c])
            continue;
        if (row == t->n_rows && c == 0 && text.n == 0)
            text = STRV("total");
        TRY(buf_append_strv(out, column_is_right(&t->columns[c]) ? STRV("<td class=\"n\">")
                                                                 : STRV("<td>")));
        /* A spreadsheet opens pages too; a lone minus stands for nothing. */
        if (t->columns[c].type == COLUMN_TEXT && text.n > 1 && csvw_is_formula(text))
            TRY(buf_append(out, "'", 1));
        TRY(put_text(t->columns[c].flags & COLUMN_ADDS ? link : NULL, text, out));
        TRY(buf_append_strv(out, STRV("</td>")));
    }
    return buf_append_strv(out, STRV("</tr>\n"));
}

static enum rc put_head(const struct sheet_head *head, struct buf *out)
{
    char period[4 * DATETIME_TEXT], as_of[DATETIME_TEXT];

    TRY(page_begin(strv_z(head->title), out));
    TRY(buf_append_strv(out, STRV("<h1>")));
    TRY(page_text(strv_z(head->title), out));
    TRY(buf_append_strv(out, STRV("</h1>\n<p class=\"about\">")));
    shown_period(head, period);
    TRY(page_text(strv_z(period), out));
    if (head->as_of_us) {
        datetime_format_s(head->as_of_us, as_of);
        TRY(buf_printf(out, ", as of %s", as_of));
        if (head->about)
            TRY(buf_printf(out, ", ledger %" PRIu64, head->about->ledger_seq));
    }
    for (size_t i = 0; head->about && i < head->about->n_where; i++) {
        char clean[SHOWN_TEXT];

        TRY(buf_append_strv(out, i ? STRV(", ") : STRV("; where ")));
        TRY(page_text(shown_clean(head->about->where[i], clean), out));
    }
    return buf_append_strv(out, STRV("</p>\n<div class=\"wide\"><table>\n<thead><tr>"));
}

static enum rc put_page(const struct shown *s, const struct sheet_head *head, struct buf *out)
{
    const struct sheet *t = s->t;

    TRY(put_head(head, out));
    for (size_t c = 0; c < t->n_columns; c++) {
        if (!s->hide[c])
            TRY(buf_printf(out, "<th%s>%s</th>",
                           column_is_right(&t->columns[c]) ? " class=\"n\"" : "",
                           t->columns[c].title));
    }
    TRY(buf_append_strv(out, STRV("</tr></thead>\n<tbody>\n")));
    for (size_t i = 0; i < t->n_rows; i++)
        TRY(put_row(s, i, out));
    TRY(buf_append_strv(out, STRV("</tbody>\n")));
    if (t->has_total) {
        TRY(buf_append_strv(out, STRV("<tfoot>\n")));
        TRY(put_row(s, t->n_rows, out));
        TRY(buf_append_strv(out, STRV("</tfoot>\n")));
    }
    TRY(buf_append_strv(out, STRV("</table></div>\n")));
    if (head->note) {
        TRY(buf_append_strv(out, STRV("<p class=\"about\">")));
        TRY(page_text(strv_z(head->note), out));
        TRY(buf_append_strv(out, STRV("</p>\n")));
    }
    return page_end(out);
}

enum rc render_html(const struct sheet *t, const struct sheet_head *head, struct buf *out)
{
    struct shown s;
    enum rc rc = shown_init(&s, t, head);

    if (rc == RC_OK)
        rc = put_page(&s, head, out);
    shown_fini(&s);
    return rc;
}
