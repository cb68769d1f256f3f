/*
 * shown.c - the rounding of what people see; see render.h.
 *
 * An amount that adds up is never rounded alone: the total is rounded half to even,
 * then shared out to the rows by largest remainder.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/datetime.h"
#include "base/utf8.h"
#include "base/xalloc.h"
#include "base/zone.h"
#include "reports/period.h"
#include "reports/render.h"

enum {
    SHOWN_MAX_BYTES = 512 << 20,
    MONEY_DECIMALS = 18,
    PER_CENT_UNITS = 10000, /* hundredths of a per cent */
    TEXT_MAX_BYTES = SHOWN_TEXT - 8, /* longer text is cut */
};

static money_int power_of_ten(unsigned n)
{
    money_int power = 1;

    while (n-- > 0)
        power *= 10;
    return power;
}

/* Whole units of 10^-decimals as text. */
static size_t fixed_text(money_int units, unsigned decimals, char out[CELL_TEXT])
{
    char digits[48];
    money_int size = units < 0 ? -units : units;
    size_t n = 0, at = 0;

    do {
        digits[n++] = (char)('0' + (int)(size % 10));
        size /= 10;
    } while (size || n <= decimals);
    if (units < 0)
        out[at++] = '-';
    while (n > 0) {
        if (n == decimals)
            out[at++] = '.';
        out[at++] = digits[--n];
    }
    out[at] = '\0';
    return at;
}

size_t money_format_fixed(struct money m, unsigned decimals, char out[CELL_TEXT])
{
    return fixed_text(divide_even(m.atto, power_of_ten(MONEY_DECIMALS - decimals)), decimals,
                      out);
}

size_t ratio_format(struct ratio r, unsigned decimals, char out[CELL_TEXT])
{
    bool negative = (r.num < 0) != (r.den < 0) && r.num != 0;
    money_int num = r.num < 0 ? -r.num : r.num, den = r.den < 0 ? -r.den : r.den;
    money_int units = num / den, rest = num % den;

    /* A digit at a time: num x 10^decimals would not fit. */
    for (unsigned i = 0; i < decimals; i++) {
        units = units * 10 + rest * 10 / den;
        rest = rest * 10 % den;
    }
    if (rest > den - rest || (rest == den - rest && (units & 1)))
        units++;
    return fixed_text(negative ? -units : units, decimals, out);
}

/* ---- decimals of a column --------------------------------------------------------------- */

static money_int largest(const struct sheet *t, size_t column)
{
    money_int most = 0;

    for (size_t i = 0; i < t->n_rows; i++) {
        const struct cell *cell = sheet_cells(t, i) + column;
        money_int size = cell->money.atto < 0 ? -cell->money.atto : cell->money.atto;
        if (cell->known && size > most)
            most = size;
    }
    return most;
}

/* Small amounts need more decimals to be seen at all. */
static unsigned decimals_for(const struct sheet *t, const struct sheet_head *head,
                             size_t column)
{
    const money_int dollar = power_of_ten(MONEY_DECIMALS);
    money_int most = largest(t, column);

    if (t->columns[column].has_decimals)
        return t->columns[column].decimals;
    if (head->has_precision)
        return head->precision;
    if (most >= 1000 * dollar)
        return 2;
    if (most >= dollar)
        return 4;
    return most == 0 || most >= dollar / 1000 ? 6 : 9;
}

/* ---- cells --------------------------------------------------------------------------------
 */

static enum rc keep(struct shown *s, size_t row, size_t column, struct strv text)
{
    struct strv *to = &s->text[row * s->t->n_columns + column];

    *to = arena_strv(&s->arena, text);
    return to->p ? RC_OK : RC_LIMIT;
}

struct strv shown_clean(struct strv text, char clean[SHOWN_TEXT])
{
    size_t n = 0;

    while (text.n) {
        size_t len = utf8_sequence(text);
        if (n + len > TEXT_MAX_BYTES) {
            memcpy(clean + n, "\xe2\x80\xa6", 3);
            n += 3;
            break;
        }
        if (len == 0 || !utf8_is_printable(strv_head(text, len))) {
            clean[n++] = '?';
            len = len ? len : 1;
        } else {
            memcpy(clean + n, text.p, len);
            n += len;
        }
        text = strv_skip(text, len);
    }
    return strv_make(clean, n);
}

/* Text of records may hold anything: control characters must not reach a terminal. */
static enum rc keep_clean(struct shown *s, size_t row, size_t column, struct strv text)
{
    char clean[SHOWN_TEXT];

    return keep(s, row, column, shown_clean(text, clean));
}

static enum rc show_ratio(struct shown *s, const struct column *c, size_t row, size_t column,
                          struct ratio r)
{
    char text[CELL_TEXT + 2];
    size_t n;

    if (!(c->flags & COLUMN_PER_CENT)) {
        n = ratio_format(r, c->flags & COLUMN_WHOLE ? 0 : 2, text);
    } else {
        r.num *= 100;
        n = ratio_format(r, 2, text);
        text[n++] = ' ';
        text[n++] = '%';
    }
    return keep(s, row, column, strv_make(text, n));
}

static enum rc show_cell(struct shown *s, size_t row, size_t column, const struct cell *cell,
                         unsigned decimals, const struct sheet_head *head)
{
    const struct column *c = &s->t->columns[column];
    char text[CELL_TEXT];

    if (!cell->known)
        return keep(s, row, column, row == s->t->n_rows ? STRV("") : STRV("-"));
    switch (c->type) {
    case COLUMN_TEXT:
        return keep_clean(s, row, column, cell->text);
    case COLUMN_TIME:
        period_format(head->zone, cell->time_us, text);
        return keep(s, row, column, strv_z(text));
    case COLUMN_COUNT:
        (void)fixed_text((money_int)cell->count, 0, text);
        return keep(s, row, column, strv_z(text));
    case COLUMN_MONEY:
        (void)money_format_fixed(cell->money, decimals, text);
        return keep(s, row, column, strv_z(text));
    case COLUMN_RATIO:
    case COLUMN_SHARE:
        return show_ratio(s, c, row, column, cell->ratio);
    case COLUMN_BOOL:
        return keep(s, row, column, cell->yes ? STRV("yes") : STRV("no"));
    }
    return RC_OK;
}

/* Portions in units of 10^-decimals as text, the total last. */
static enum rc show_portions(struct shown *s, size_t column, const money_int *portions,
                             unsigned decimals, const char *suffix)
{
    const struct sheet *t = s->t;
    enum rc rc = RC_OK;
    char text[CELL_TEXT];

    for (size_t i = 0; rc == RC_OK && i <= t->n_rows; i++) {
        bool is_total = i == t->n_rows;
        const struct cell *cell = is_total ? &t->total[column] : sheet_cells(t, i) + column;
        size_t n = fixed_text(portions[i], decimals, text);
        (void)snprintf(text + n, sizeof(text) - n, "%s", suffix);
        if (!cell->known)
            rc = keep(s, i, column, is_total ? STRV("") : STRV("-"));
        else
            rc = keep(s, i, column, strv_z(text));
    }
    return rc;
}

/* What the cells of a column add; the total last. */
static money_int *amounts_of(const struct sheet *t, size_t column)
{
    bool is_money = t->columns[column].type == COLUMN_MONEY;
    money_int *amounts = xcalloc(t->n_rows + 1, sizeof(*amounts));

    for (size_t i = 0; i <= t->n_rows; i++) {
        const struct cell *cell =
            i < t->n_rows ? sheet_cells(t, i) + column : &t->total[column];
        if (cell->known)
            amounts[i] = is_money ? cell->money.atto : (money_int)cell->count;
    }
    return amounts;
}

static enum rc show_sum(struct shown *s, size_t column, unsigned decimals)
{
    const size_t n = s->t->n_rows;
    money_int unit = power_of_ten(MONEY_DECIMALS - decimals);
    money_int *amounts = amounts_of(s->t, column);
    money_int *portions = xcalloc(n + 1, sizeof(*portions));
    enum rc rc;

    portions[n] = divide_even(amounts[n], unit);
    round_to_sum(amounts, n, unit, portions[n], portions);
    rc = show_portions(s, column, portions, decimals, "");
    free(portions);
    free(amounts);
    return rc;
}

/* Shares are shared out afresh: millionths that are rounded again need not sum to 100 %. */
static enum rc show_share(struct shown *s, size_t column)
{
    const size_t n = s->t->n_rows;
    money_int *amounts = amounts_of(s->t, s->t->columns[column].of);
    money_int *portions = xcalloc(n + 1, sizeof(*portions));
    enum rc rc;

    portions[n] = PER_CENT_UNITS;
    apportion(amounts, n, amounts[n], PER_CENT_UNITS, portions);
    rc = show_portions(s, column, portions, 2, " %");
    free(portions);
    free(amounts);
    return rc;
}

static enum rc show_column(struct shown *s, size_t column, const struct sheet_head *head)
{
    const struct sheet *t = s->t;
    const struct column *c = &t->columns[column];
    unsigned decimals = 0;
    enum rc rc = RC_OK;

    if (c->type == COLUMN_MONEY)
        decimals = decimals_for(t, head, column);
    if (c->type == COLUMN_MONEY && (c->flags & COLUMN_ADDS) && t->has_total)
        return show_sum(s, column, decimals);
    if (c->type == COLUMN_SHARE && t->has_total)
        return show_share(s, column);
    for (size_t i = 0; rc == RC_OK && i < t->n_rows; i++)
        rc = show_cell(s, i, column, sheet_cells(t, i) + column, decimals, head);
    if (rc == RC_OK)
        rc = show_cell(s, t->n_rows, column, &t->total[column], decimals, head);
    return rc;
}

static bool cell_says(const struct column *c, const struct cell *cell)
{
    if (!cell->known)
        return false;
    switch (c->type) {
    case COLUMN_TEXT:
        return cell->text.n > 0;
    case COLUMN_COUNT:
        return cell->count > 0;
    case COLUMN_MONEY:
        return cell->money.atto != 0;
    case COLUMN_TIME:
    case COLUMN_RATIO:
    case COLUMN_SHARE:
    case COLUMN_BOOL:
        return true;
    }
    return true;
}

static bool is_hidden(const struct sheet *t, size_t column)
{
    const struct column *c = &t->columns[column];

    if (c->flags & (COLUMN_MACHINE | COLUMN_LINK))
        return true;
    if (!(c->flags & COLUMN_SPARSE) || cell_says(c, &t->total[column]))
        return false;
    for (size_t i = 0; i < t->n_rows; i++) {
        if (cell_says(c, sheet_cells(t, i) + column))
            return false;
    }
    return true;
}

enum rc shown_init(struct shown *s, const struct sheet *t, const struct sheet_head *head)
{
    enum rc rc = RC_OK;

    s->t = t;
    arena_init(&s->arena, SHOWN_MAX_BYTES);
    s->text = xcalloc((t->n_rows + 1) * t->n_columns + 1, sizeof(*s->text));
    s->hide = xcalloc(t->n_columns + 1, sizeof(*s->hide));
    for (size_t c = 0; rc == RC_OK && c < t->n_columns; c++) {
        s->hide[c] = is_hidden(t, c);
        rc = show_column(s, c, head);
    }
    return rc;
}

void shown_fini(struct shown *s)
{
    free(s->text);
    free(s->hide);
    s->text = NULL;
    s->hide = NULL;
    arena_release(&s->arena);
}

unsigned ratio_decimals(const struct column *c)
{
    return c->flags & COLUMN_WHOLE  ? 0
           : c->flags & COLUMN_FINE ? RATIO_FINE_DECIMALS
                                    : RATIO_DECIMALS;
}

bool column_is_right(const struct column *c)
{
    return c->type != COLUMN_TEXT && c->type != COLUMN_TIME && c->type != COLUMN_BOOL;
}

static bool is_midnight(const struct zone *zone, int64_t us)
{
    int64_t start, end;

    zone_period(zone, PERIOD_DAY, us, &start, &end);
    return start == us;
}

void shown_period(const struct sheet_head *head, char out[4 * DATETIME_TEXT])
{
    char from[DATETIME_TEXT], to[DATETIME_TEXT];
    int digits = is_midnight(head->zone, head->from_us) && is_midnight(head->zone, head->to_us)
                     ? (int)sizeof("2026-11-01") - 1
                     : DATETIME_TEXT;

    period_format(head->zone, head->from_us, from);
    period_format(head->zone, head->to_us, to);
    (void)snprintf(out, 4 * DATETIME_TEXT, "%.*s .. %.*s %s", digits, from, digits, to,
                   zone_name(head->zone));
}
