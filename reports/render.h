/*
 * render.h - a sheet as text for people, CSV, JSON, HTML.
 *
 * CSV and JSON carry exact values; text and HTML carry amounts rounded by largest
 * remainder, so that the rows shown sum to the total shown.  The same sheet
 * gives the same bytes.
 */
#ifndef REPORTS_RENDER_H
#define REPORTS_RENDER_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/datetime.h"
#include "base/rc.h"
#include "reports/sheet.h"

/* RC_LIMIT where out is full, in all of these. */

/* Aligned columns, then the total; colour only where asked. */
enum rc render_table(const struct sheet *t, const struct sheet_head *head, bool colour,
                     struct buf *out) RC_MUST;
/*
 * RFC 4180, UTF-8, CRLF, one header line, no total (a pivot would count it twice).  With one,
 * the first column row_type tells it ("total") from the others ("row").
 * Text that a spreadsheet would take for a formula gets a leading '.
 */
enum rc render_csv(const struct sheet *t, bool with_total, struct buf *out) RC_MUST;
/* {"report","from","to","timezone","as_of","by","rows","total"}, and what head->about says */
enum rc render_json(const struct sheet *t, const struct sheet_head *head,
                    struct buf *out) RC_MUST;
/* A whole page, without scripts. */
enum rc render_html(const struct sheet *t, const struct sheet_head *head,
                    struct buf *out) RC_MUST;

/* ---- shared by the renderers ------------------------------------------------------ */

enum {
    CELL_TEXT = 96,     /* any cell but text, terminator included */
    RATIO_DECIMALS = 6, /* of machine formats */
    RATIO_FINE_DECIMALS = 12,
};

/* Decimals of a column's ratios in machine formats. */
unsigned ratio_decimals(const struct column *c);
/* num / den with so many decimals (0..18), rounded half to even; den != 0. */
size_t ratio_format(struct ratio r, unsigned decimals, char out[CELL_TEXT]);
/* An amount rounded half to even to so many decimals (0..18), all of them shown. */
size_t money_format_fixed(struct money m, unsigned decimals, char out[CELL_TEXT]);

/*
 * What people see of a sheet: the text of every cell and of the total, rounded.
 * Row i, column c is text[i * n_columns + c]; the total is row n_rows.
 */
struct shown {
    const struct sheet *t;
    struct strv *text;
    bool *hide; /* columns */
    struct arena arena;
};
enum rc shown_init(struct shown *s, const struct sheet *t,
                   const struct sheet_head *head) RC_MUST;
void shown_fini(struct shown *s);
/* "2026-11-01 .. 2026-12-01 UTC": dates where both ends are midnights, else times. */
void shown_period(const struct sheet_head *head, char out[4 * DATETIME_TEXT]);
/* Text as people may see it: control characters replaced, and cut where it is long. */
enum { SHOWN_TEXT = 88 };
struct strv shown_clean(struct strv text, char clean[SHOWN_TEXT]);
/* Numbers stand to the right. */
bool column_is_right(const struct column *c);

#endif
