/*
 * render_text.c - tables on a terminal; see render.h.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/datetime.h"
#include "base/xalloc.h"
#include "base/zone.h"
#include "reports/render.h"

#define TRY(call)                                                                              \
    do {                                                                                       \
        enum rc try_rc = (call);                                                               \
        if (try_rc != RC_OK)                                                                   \
            return try_rc;                                                                     \
    } while (0)

static const char BOLD[] = "\033[1m", DIM[] = "\033[2m", PLAIN[] = "\033[0m";

/* Characters, not bytes; cells hold well-formed UTF-8 only. */
static size_t width_of(struct strv text)
{
    size_t width = 0;

    for (size_t i = 0; i < text.n; i++)
        width += ((unsigned char)text.p[i] & 0xc0) != 0x80;
    return width;
}

static enum rc pad(struct buf *out, size_t n, char c)
{
    while (n-- > 0)
        TRY(buf_append(out, &c, 1));
    return RC_OK;
}

static enum rc put_cell(struct buf *out, struct strv text, size_t width, bool right, bool last)
{
    size_t gap = width - width_of(text);

    if (right)
        TRY(pad(out, gap, ' '));
    TRY(buf_append_strv(out, text));
    if (!right && !last)
        TRY(pad(out, gap, ' '));
    return last ? RC_OK : buf_append(out, "  ", 2);
}

struct layout {
    const struct shown *s;
    size_t width[SHEET_COLUMNS_MAX];
    size_t last, total; /* last column shown; width of all */
};

static void measure(struct layout *l, const struct shown *s)
{
    const struct sheet *t = s->t;

    *l = (struct layout){.s = s};
    for (size_t c = 0; c < t->n_columns; c++) {
        if (s->hide[c])
            continue;
        l->width[c] = width_of(strv_z(t->columns[c].title));
        for (size_t i = 0; i <= t->n_rows; i++) {
            size_t width = width_of(s->text[i * t->n_columns + c]);
            l->width[c] = width > l->width[c] ? width : l->width[c];
        }
        l->total += l->width[c] + (l->total ? 2 : 0);
        l->last = c;
    }
    if (l->width[0] < sizeof("total") - 1 && !s->hide[0]) {
        l->total += sizeof("total") - 1 - l->width[0];
        l->width[0] = sizeof("total") - 1;
    }
}

static enum rc put_titles(const struct layout *l, bool colour, struct buf *out)
{
    const struct sheet *t = l->s->t;

    if (colour)
        TRY(buf_append_strv(out, strv_z(BOLD)));
    for (size_t c = 0; c < t->n_columns; c++) {
        if (!l->s->hide[c])
            TRY(put_cell(out, strv_z(t->columns[c].title), l->width[c],
                         column_is_right(&t->columns[c]), c == l->last));
    }
    if (colour)
        TRY(buf_append_strv(out, strv_z(PLAIN)));
    return buf_append(out, "\n", 1);
}

static enum rc put_row(const struct layout *l, size_t row, struct buf *out)
{
    const struct sheet *t = l->s->t;

    for (size_t c = 0; c < t->n_columns; c++) {
        struct strv text = l->s->text[row * t->n_columns + c];
        if (l->s->hide[c])
            continue;
        if (row == t->n_rows && c == 0 && text.n == 0)
            text = STRV("total");
        TRY(put_cell(out, text, l->width[c], column_is_right(&t->columns[c]), c == l->last));
    }
    return buf_append(out, "\n", 1);
}

static enum rc put_head(const struct sheet_head *head, bool colour, struct buf *out)
{
    char period[4 * DATETIME_TEXT], as_of[DATETIME_TEXT];

    shown_period(head, period);
    TRY(buf_printf(out, "%s%s%s  %s", colour ? BOLD : "", head->title, colour ? PLAIN : "",
                   period));
    if (head->as_of_us) {
        datetime_format_s(head->as_of_us, as_of);
        TRY(buf_printf(out, "%s  as of %s", colour ? DIM : "", as_of));
        if (head->about)
            TRY(buf_printf(out, ", ledger %" PRIu64, head->about->ledger_seq));
        TRY(buf_append_strv(out, strv_z(colour ? PLAIN : "")));
    }
    for (size_t i = 0; head->about && i < head->about->n_where; i++) {
        char clean[SHOWN_TEXT];

        TRY(buf_printf(out, "%s" STRV_FMT, i ? ", " : "\nwhere ",
                       STRV_ARG(shown_clean(head->about->where[i], clean))));
    }
    return buf_append(out, "\n\n", 2);
}

enum rc render_table(const struct sheet *t, const struct sheet_head *head, bool colour,
                     struct buf *out)
{
    struct layout *l = xmalloc(sizeof(*l));
    struct shown s;
    enum rc rc = shown_init(&s, t, head);

    if (rc == RC_OK) {
        measure(l, &s);
        rc = put_head(head, colour, out);
    }
    if (rc == RC_OK)
        rc = put_titles(l, colour, out);
    for (size_t i = 0; rc == RC_OK && i < t->n_rows; i++)
        rc = put_row(l, i, out);
    if (rc == RC_OK && t->has_total) {
        rc = pad(out, l->total, '-');
        if (rc == RC_OK)
            rc = buf_append(out, "\n", 1);
        if (rc == RC_OK)
            rc = put_row(l, t->n_rows, out);
    }
    if (rc == RC_OK && t->n_rows == 0 && !t->has_total)
        rc = buf_append_strv(out, STRV("(nothing to show)\n"));
    if (rc == RC_OK && head->note)
        rc = buf_printf(out, "\n%s\n", head->note);
    shown_fini(&s);
    free(l);
    return rc;
}
