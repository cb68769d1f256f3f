/*
 * sheet.c - see sheet.h.
 */
#include "reports/sheet.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/xalloc.h"

/* Shares are whole millionths. */
enum { SHARE_UNITS = 1000000, FIRST_ROWS = 64 };

void sheet_init(struct sheet *t)
{
    memset(t, 0, sizeof(*t));
    arena_init(&t->arena, SHEET_TEXT_MAX_BYTES);
    t->has_total = true;
}

void sheet_clear(struct sheet *t)
{
    free(t->cells);
    t->cells = NULL;
    t->n_rows = t->cap_rows = t->n_columns = 0;
    memset(t->total, 0, sizeof(t->total));
}

void sheet_release(struct sheet *t)
{
    sheet_clear(t);
    arena_release(&t->arena);
}

size_t sheet_column(struct sheet *t, const char *name, const char *title, enum column_type type,
                    unsigned flags)
{
    ASSERT(t->n_columns < SHEET_COLUMNS_MAX && t->n_rows == 0);
    t->columns[t->n_columns] =
        (struct column){.name = name, .title = title, .type = type, .flags = flags};
    return t->n_columns++;
}

size_t sheet_append(struct sheet *t, const char *name, const char *title, enum column_type type,
                    unsigned flags)
{
    const size_t old = t->n_columns, rows = t->n_rows;
    struct cell *cells = xcalloc((rows + 1) * (old + 1), sizeof(*cells));

    for (size_t i = 0; i < rows; i++)
        memcpy(cells + i * (old + 1), sheet_cells(t, i), old * sizeof(*cells));
    free(t->cells);
    t->cells = cells;
    t->n_rows = 0;
    t->cap_rows = rows + 1;
    (void)sheet_column(t, name, title, type, flags);
    t->n_rows = rows;
    t->total[old] = cell_null();
    return old;
}

size_t sheet_share(struct sheet *t, const char *name, const char *title, size_t of)
{
    size_t i = sheet_column(t, name, title, COLUMN_SHARE, COLUMN_PER_CENT);

    ASSERT(of < i);
    t->columns[i].of = of;
    return i;
}

enum rc sheet_row(struct sheet *t, struct cell **out)
{
    if (t->n_rows == SHEET_ROWS_MAX)
        return RC_LIMIT;
    if (t->n_rows == t->cap_rows) {
        t->cap_rows = t->cap_rows ? t->cap_rows * 2 : FIRST_ROWS;
        t->cells = xrealloc(t->cells, t->cap_rows * t->n_columns * sizeof(*t->cells));
    }
    *out = sheet_cells(t, t->n_rows++);
    memset(*out, 0, t->n_columns * sizeof(**out));
    return RC_OK;
}

size_t sheet_find(const struct sheet *t, struct strv name)
{
    size_t i = 0;

    while (i < t->n_columns && !strv_eq(name, strv_z(t->columns[i].name)))
        i++;
    return i;
}

/* ---- cells ---------------------------------------------------------------------- */

struct cell cell_null(void)
{
    return (struct cell){.known = false};
}

enum rc sheet_text(struct sheet *t, struct strv text, struct cell *out)
{
    struct strv kept = arena_strv(&t->arena, text);

    if (!kept.p)
        return RC_LIMIT;
    *out = (struct cell){.known = true, .text = kept};
    return RC_OK;
}

struct cell cell_count(uint64_t n)
{
    return (struct cell){.known = true, .count = n};
}

struct cell cell_money(struct money m)
{
    return (struct cell){.known = true, .money = m};
}

struct cell cell_time(int64_t us)
{
    return (struct cell){.known = true, .time_us = us};
}

struct cell cell_bool(bool yes)
{
    return (struct cell){.known = true, .yes = yes};
}

struct cell cell_ratio(money_int num, money_int den)
{
    /* 10^30 leaves room to multiply by 10^8 in 128 bits. */
    const money_int max = (money_int)1000000000000000 * 1000000000000000;

    while (num > max || num < -max || den > max || den < -max) {
        num /= 10;
        den /= 10;
    }
    return (struct cell){.known = den != 0, .ratio = {num, den}};
}

/* ---- arithmetic ------------------------------------------------------------------ */

money_int divide_even(money_int num, money_int den)
{
    money_int q, r;

    ASSERT(den > 0);
    q = num / den;
    r = num % den;
    if (r < 0) { /* floor, so that 0 <= r < den */
        r += den;
        q--;
    }
    /* r against den - r, which cannot overflow as 2 r can. */
    if (r > den - r || (r == den - r && (q & 1) != 0))
        q++;
    return q;
}

__extension__ typedef unsigned __int128 wide;
#define MONEY_INT_MAX ((money_int)(~(wide)0 >> 1))

/* size x num / den rounded down; false where 127 bits do not hold it. */
static bool scale_down(wide size, uint64_t num, uint64_t den, wide *out, uint64_t *left)
{
    /* The product in three limbs of 64 bits, lowest first; then divided limb by limb. */
    wide low = (wide)(uint64_t)size * num, high = (wide)(uint64_t)(size >> 64) * num + (low >> 64);
    uint64_t limbs[3] = {(uint64_t)low, (uint64_t)high, (uint64_t)(high >> 64)};
    wide rest = 0, quotient = 0;

    ASSERT(den > 0);
    for (int i = 2; i >= 0; i--) {
        wide part = rest << 64 | limbs[i];

        if (quotient >> 63)
            return false;
        quotient = quotient << 64 | (uint64_t)(part / den);
        rest = part % den;
    }
    *out = quotient;
    *left = (uint64_t)rest;
    return true;
}

money_int scale_floor(money_int a, uint64_t num, uint64_t den, uint64_t *rest)
{
    wide quotient;

    ASSERT(a >= 0);
    *rest = 0;
    if (!scale_down((wide)a, num, den, &quotient, rest) || quotient > (wide)MONEY_INT_MAX)
        return MONEY_INT_MAX;
    return (money_int)quotient;
}

money_int scale_even(money_int a, uint64_t num, uint64_t den)
{
    uint64_t rest = 0;
    wide quotient;

    if (!scale_down(a < 0 ? -(wide)a : (wide)a, num, den, &quotient, &rest))
        return a < 0 ? -MONEY_INT_MAX : MONEY_INT_MAX;
    if (rest > den - rest || (rest == den - rest && (quotient & 1)))
        quotient++;
    if (quotient > (wide)MONEY_INT_MAX)
        quotient = (wide)MONEY_INT_MAX;
    return a < 0 ? -(money_int)quotient : (money_int)quotient;
}

struct portion {
    money_int remainder, weight;
    size_t i;
};

static int by_remainder(const void *a, const void *b)
{
    const struct portion *x = a, *y = b;

    if (x->remainder != y->remainder)
        return x->remainder < y->remainder ? 1 : -1;
    if (x->weight != y->weight)
        return x->weight < y->weight ? 1 : -1;
    return x->i < y->i ? -1 : 1;
}

/* out holds what each got, rounded down; what is left goes to the largest remainders. */
static void share_out(struct portion *portions, size_t n, money_int left, money_int *out)
{
    qsort(portions, n, sizeof(*portions), by_remainder);
    for (size_t i = 0; left > 0; i = (i + 1) % n, left--)
        out[portions[i].i]++;
    for (size_t i = n - 1; left < 0; i = i ? i - 1 : n - 1, left++)
        out[portions[i].i]--;
}

/* Quotient rounded down; den > 0. */
static money_int floor_divide(money_int num, money_int den, money_int *remainder)
{
    money_int q = num / den;

    *remainder = num % den;
    if (*remainder < 0) {
        *remainder += den;
        q--;
    }
    return q;
}

void round_to_sum(const money_int *weights, size_t n, money_int unit, money_int units,
                  money_int *out)
{
    struct portion *portions = xcalloc(n + 1, sizeof(*portions));
    money_int left = units;

    ASSERT(unit > 0);
    for (size_t i = 0; i < n; i++) {
        portions[i] = (struct portion){0, weights[i], i};
        out[i] = floor_divide(weights[i], unit, &portions[i].remainder);
        left -= out[i];
    }
    if (n)
        share_out(portions, n, left, out);
    free(portions);
}

/* weight x amount / total, rounded down: a bit of the amount at a time, so nothing overflows. */
static money_int floor_share(money_int weight, money_int amount, money_int total,
                             money_int *remainder)
{
    money_int quotient = 0, rest = 0;

    for (int bit = 126; bit >= 0; bit--) {
        quotient *= 2;
        rest *= 2;
        if (rest >= total) {
            rest -= total;
            quotient++;
        }
        if (!(amount >> bit & 1))
            continue;
        rest += weight;
        if (rest >= total) {
            rest -= total;
            quotient++;
        }
    }
    *remainder = rest;
    return quotient;
}

void share_exactly(const money_int *weights, size_t n, money_int total, money_int amount,
                   money_int *out, bool *extra)
{
    struct portion *portions = xcalloc(n + 1, sizeof(*portions));
    money_int size = amount < 0 ? -amount : amount, left = size;

    ASSERT(n == 0 || (total > 0 && total >> 126 == 0));
    for (size_t i = 0; i < n; i++) {
        portions[i] = (struct portion){0, weights[i], i};
        out[i] = floor_share(weights[i], size, total, &portions[i].remainder);
        left -= out[i];
    }
    if (n)
        qsort(portions, n, sizeof(*portions), by_remainder);
    for (size_t i = 0; i < n; i++) {
        size_t at = portions[i].i;
        bool more = (money_int)i < left;

        out[at] += more;
        if (amount < 0)
            out[at] = -out[at];
        if (extra)
            extra[at] = more;
    }
    free(portions);
}

/* The power of ten by which weights must shrink for weight x units to fit. */
static money_int scale_for(const money_int *weights, size_t n, money_int units)
{
    money_int scale = 1, product;

    for (size_t i = 0; i < n; i++) {
        while (__builtin_mul_overflow(weights[i] / scale, units, &product))
            scale *= 10;
    }
    return scale;
}

void apportion(const money_int *weights, size_t n, money_int total, money_int units,
               money_int *out)
{
    const money_int sign = total < 0 ? -1 : 1; /* of credits alone: each has its part of them */
    money_int scale = scale_for(weights, n, units), divisor = sign * total / scale, left = units;
    struct portion *portions;

    memset(out, 0, n * sizeof(*out));
    if (n == 0 || divisor <= 0)
        return;
    portions = xcalloc(n, sizeof(*portions));
    for (size_t i = 0; i < n; i++) {
        portions[i] = (struct portion){0, sign * weights[i], i};
        out[i] = floor_divide(portions[i].weight / scale * units, divisor,
                              &portions[i].remainder);
        left -= out[i];
    }
    share_out(portions, n, left, out);
    free(portions);
}

/* ---- order ------------------------------------------------------------------------- */

struct order {
    const struct sheet *t;
    size_t column;
    bool ascending;
};

static int sign(money_int a, money_int b)
{
    return (a > b) - (a < b);
}

/* a.num / a.den against b.num / b.den, both dens positive; by quotients, then by remainders. */
static int ratio_cmp(struct ratio a, struct ratio b)
{
    for (int digit = 0; digit < 40; digit++) {
        int c = sign(a.num / a.den, b.num / b.den);
        if (c)
            return c;
        a.num = a.num % a.den * 10;
        b.num = b.num % b.den * 10;
    }
    return 0;
}

static int cell_cmp(enum column_type type, const struct cell *a, const struct cell *b)
{
    switch (type) {
    case COLUMN_TEXT:
        return strv_cmp(a->text, b->text);
    case COLUMN_TIME:
        return sign(a->time_us, b->time_us);
    case COLUMN_COUNT:
        return sign(a->count, b->count);
    case COLUMN_MONEY:
        return money_cmp(a->money, b->money);
    case COLUMN_RATIO:
    case COLUMN_SHARE:
        return ratio_cmp(a->ratio, b->ratio);
    case COLUMN_BOOL:
        return a->yes - b->yes;
    }
    return 0;
}

static int row_cmp(const void *a, const void *b, void *arg)
{
    const struct order *o = arg;
    size_t i = *(const size_t *)a, j = *(const size_t *)b;
    const struct cell *x = sheet_cells(o->t, i) + o->column;
    const struct cell *y = sheet_cells(o->t, j) + o->column;
    int c = 0;

    if (x->known != y->known)
        return x->known ? -1 : 1;
    if (x->known)
        c = cell_cmp(o->t->columns[o->column].type, x, y);
    if (c)
        return o->ascending ? c : -c;
    return i < j ? -1 : i > j;
}

void sheet_sort(struct sheet *t, size_t n, size_t column, bool ascending)
{
    struct order o = {t, column, ascending};
    size_t row_bytes = t->n_columns * sizeof(*t->cells);
    struct cell *sorted;
    size_t *index;

    ASSERT(column < t->n_columns);
    ASSERT(n <= t->n_rows);
    if (n < 2)
        return;
    /* A share sorts as what it is a share of. */
    if (t->columns[column].type == COLUMN_SHARE)
        o.column = t->columns[column].of;
    index = xmalloc(n * sizeof(*index));
    sorted = xmalloc(n * row_bytes);
    for (size_t i = 0; i < n; i++)
        index[i] = i;
    qsort_r(index, n, sizeof(*index), row_cmp, &o);
    for (size_t i = 0; i < n; i++)
        memcpy(sorted + i * t->n_columns, sheet_cells(t, index[i]), row_bytes);
    memcpy(t->cells, sorted, n * row_bytes);
    free(index);
    free(sorted);
}

/* ---- sums --------------------------------------------------------------------------- */

/* What a cell adds; null adds nothing. */
static money_int cell_amount(const struct column *c, const struct cell *cell)
{
    if (!cell->known)
        return 0;
    return c->type == COLUMN_MONEY ? cell->money.atto : (money_int)cell->count;
}

static bool adds_up(const struct sheet *t, size_t column)
{
    const struct column *c = &t->columns[column];
    money_int sum = 0;

    for (size_t i = 0; i < t->n_rows; i++) {
        if (__builtin_add_overflow(sum, cell_amount(c, sheet_cells(t, i) + column), &sum))
            return false;
    }
    return sum == cell_amount(c, &t->total[column]);
}

/* Shares as whole millionths of 1, which they add up to; null where the total is 0 or null. */
static void fill_share(struct sheet *t, size_t column)
{
    const struct column *of = &t->columns[t->columns[column].of];
    size_t from = t->columns[column].of;
    money_int total = cell_amount(of, &t->total[from]);
    money_int *weights = xcalloc(t->n_rows + 1, sizeof(*weights));
    money_int *shares = xcalloc(t->n_rows + 1, sizeof(*shares));

    for (size_t i = 0; i < t->n_rows; i++)
        weights[i] = cell_amount(of, sheet_cells(t, i) + from);
    apportion(weights, t->n_rows, total, SHARE_UNITS, shares);
    for (size_t i = 0; i < t->n_rows; i++)
        sheet_cells(t, i)[column] =
            cell_ratio(shares[i], total && sheet_cells(t, i)[from].known ? SHARE_UNITS : 0);
    t->total[column] = cell_ratio(SHARE_UNITS, total ? SHARE_UNITS : 0);
    free(weights);
    free(shares);
}

enum rc sheet_finish(struct sheet *t, const char **wrong)
{
    if (!t->has_total)
        return RC_OK;
    for (size_t c = 0; c < t->n_columns; c++) {
        if ((t->columns[c].flags & COLUMN_ADDS) && !adds_up(t, c)) {
            *wrong = t->columns[c].name;
            return RC_STATE;
        }
    }
    for (size_t c = 0; c < t->n_columns; c++) {
        if (t->columns[c].type == COLUMN_SHARE)
            fill_share(t, c);
    }
    return RC_OK;
}
