/*
 * freeze.c - a sheet as text, and back; see closed.h.
 *
 * Every value is written as a string, exact: amounts and counts in decimal, ratios as
 * numerator and denominator.
 */
#include <cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/jsonw.h"
#include "reports/closed.h"

enum { WHOLE_TEXT = 48 };

static size_t whole_text(money_int n, char out[WHOLE_TEXT])
{
    char digits[WHOLE_TEXT];
    money_int size = n < 0 ? -n : n;
    size_t k = 0, at = 0;

    do {
        digits[k++] = (char)('0' + (int)(size % 10));
        size /= 10;
    } while (size);
    if (n < 0)
        out[at++] = '-';
    while (k > 0)
        out[at++] = digits[--k];
    return at;
}

static bool whole_parse(struct strv text, money_int *out)
{
    bool negative = strv_starts(text, STRV("-"));
    money_int n = 0;

    text = strv_skip(text, negative);
    if (text.n == 0)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9' ||
            __builtin_mul_overflow(n, (money_int)10, &n) ||
            __builtin_add_overflow(n, (money_int)(text.p[i] - '0'), &n))
            return false;
    }
    *out = negative ? -n : n;
    return true;
}

static void put_whole(struct jsonw *w, money_int n)
{
    char text[WHOLE_TEXT];

    jsonw_string(w, strv_make(text, whole_text(n, text)));
}

static void put_cell(struct jsonw *w, enum column_type type, const struct cell *cell)
{
    char text[2 * WHOLE_TEXT + 1];
    size_t n;

    if (!cell->known) {
        jsonw_null(w);
        return;
    }
    switch (type) {
    case COLUMN_TEXT:
        jsonw_string(w, cell->text);
        return;
    case COLUMN_TIME:
        put_whole(w, cell->time_us);
        return;
    case COLUMN_COUNT:
        put_whole(w, (money_int)cell->count);
        return;
    case COLUMN_MONEY:
        put_whole(w, cell->money.atto);
        return;
    case COLUMN_RATIO:
    case COLUMN_SHARE:
        n = whole_text(cell->ratio.num, text);
        text[n++] = '/';
        n += whole_text(cell->ratio.den, text + n);
        jsonw_string(w, strv_make(text, n));
        return;
    case COLUMN_BOOL:
        put_whole(w, cell->yes);
        return;
    }
}

static void put_cells(struct jsonw *w, const struct sheet *t, const struct cell *cells)
{
    jsonw_array(w);
    for (size_t c = 0; c < t->n_columns; c++)
        put_cell(w, t->columns[c].type, &cells[c]);
    jsonw_end(w);
}

enum rc sheet_freeze(const struct sheet *t, struct buf *out)
{
    struct jsonw w;
    enum rc rc;

    jsonw_start(&w, out);
    jsonw_object(&w);
    jsonw_key(&w, STRV("columns"));
    jsonw_array(&w);
    for (size_t c = 0; c < t->n_columns; c++) {
        jsonw_array(&w);
        jsonw_string(&w, strv_z(t->columns[c].name));
        jsonw_string(&w, strv_z(t->columns[c].title));
        jsonw_uint(&w, (uint64_t)t->columns[c].type);
        jsonw_uint(&w, t->columns[c].flags);
        jsonw_uint(&w, t->columns[c].of);
        jsonw_end(&w);
    }
    jsonw_end(&w);
    jsonw_key(&w, STRV("rows"));
    jsonw_array(&w);
    for (size_t i = 0; i < t->n_rows; i++)
        put_cells(&w, t, sheet_cells(t, i));
    jsonw_end(&w);
    jsonw_key(&w, STRV("total"));
    put_cells(&w, t, t->total);
    jsonw_end(&w);
    rc = jsonw_finish(&w);
    return rc == RC_OK ? buf_append(out, "\n", 1) : rc;
}

/* ---- back ---------------------------------------------------------------------------------- */

static enum rc get_ratio(struct strv text, struct cell *out)
{
    size_t slash = strv_find(text, '/');
    money_int num, den;

    if (slash == text.n || !whole_parse(strv_head(text, slash), &num) ||
        !whole_parse(strv_skip(text, slash + 1), &den) || den == 0)
        return RC_BAD;
    *out = cell_ratio(num, den);
    return RC_OK;
}

static enum rc get_cell(struct sheet *t, enum column_type type, const cJSON *value,
                        struct cell *out)
{
    struct strv text;
    money_int n = 0;

    *out = cell_null();
    if (cJSON_IsNull(value))
        return RC_OK;
    if (!cJSON_IsString(value))
        return RC_BAD;
    text = strv_z(value->valuestring);
    if (type == COLUMN_TEXT)
        return sheet_text(t, text, out);
    if (type == COLUMN_RATIO || type == COLUMN_SHARE)
        return get_ratio(text, out);
    if (!whole_parse(text, &n))
        return RC_BAD;
    switch (type) {
    case COLUMN_TIME:
        *out = cell_time((int64_t)n);
        break;
    case COLUMN_COUNT:
        *out = cell_count((uint64_t)n);
        break;
    case COLUMN_MONEY:
        *out = cell_money((struct money){n});
        break;
    case COLUMN_BOOL:
        *out = cell_bool(n != 0);
        break;
    case COLUMN_TEXT:
    case COLUMN_RATIO:
    case COLUMN_SHARE:
        break;
    }
    return RC_OK;
}

static enum rc get_cells(struct sheet *t, const cJSON *values, struct cell *out)
{
    const cJSON *value = values && cJSON_IsArray(values) ? values->child : NULL;
    enum rc rc = RC_OK;

    for (size_t c = 0; rc == RC_OK && c < t->n_columns; c++, value = value->next) {
        if (!value)
            return RC_BAD;
        rc = get_cell(t, t->columns[c].type, value, &out[c]);
    }
    return rc;
}

static bool get_number(const cJSON *value, double max, unsigned *out)
{
    if (!cJSON_IsNumber(value) || value->valuedouble < 0 || value->valuedouble > max)
        return false;
    *out = (unsigned)value->valueint;
    return true;
}

static enum rc get_column(struct sheet *t, const cJSON *column)
{
    const cJSON *name = cJSON_GetArrayItem(column, 0), *title = cJSON_GetArrayItem(column, 1);
    unsigned type, flags, of;
    struct strv texts[2];
    size_t c;

    if (t->n_columns == SHEET_COLUMNS_MAX || !cJSON_IsString(name) || !cJSON_IsString(title) ||
        !get_number(cJSON_GetArrayItem(column, 2), COLUMN_BOOL, &type) ||
        !get_number(cJSON_GetArrayItem(column, 3), UINT16_MAX, &flags) ||
        !get_number(cJSON_GetArrayItem(column, 4), SHEET_COLUMNS_MAX - 1, &of))
        return RC_BAD;
    texts[0] = arena_strv(&t->arena, strv_z(name->valuestring));
    texts[1] = arena_strv(&t->arena, strv_z(title->valuestring));
    if (!texts[0].p || !texts[1].p)
        return RC_LIMIT;
    c = sheet_column(t, texts[0].p, texts[1].p, (enum column_type)type, flags);
    t->columns[c].of = of;
    return of < c || of == 0 ? RC_OK : RC_BAD;
}

static enum rc thaw(struct sheet *t, const cJSON *json)
{
    const cJSON *item;
    enum rc rc = RC_OK;

    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "columns"))
    {
        if (rc == RC_OK)
            rc = get_column(t, item);
    }
    if (rc == RC_OK && t->n_columns == 0)
        return RC_BAD;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "rows"))
    {
        struct cell *row;
        if (rc == RC_OK)
            rc = sheet_row(t, &row);
        if (rc == RC_OK)
            rc = get_cells(t, item, row);
    }
    return rc == RC_OK ? get_cells(t, cJSON_GetObjectItemCaseSensitive(json, "total"), t->total)
                       : rc;
}

enum rc sheet_thaw(struct strv text, struct sheet *out)
{
    cJSON *json = cJSON_ParseWithLength(text.p, text.n);
    enum rc rc = json ? thaw(out, json) : RC_BAD;

    cJSON_Delete(json);
    return rc;
}
