/*
 * focus_meta.c - what stands beside a FOCUS file: see focus_metadata.
 */
#include "base/datetime.h"
#include "base/jsonw.h"
#include "reports/focus_int.h"

static void put_column(struct jsonw *w, const struct focus_column *column)
{
    static const char *const types[] = {"String", "Decimal", "DateTime", "JSON"};

    jsonw_object(w);
    jsonw_key(w, STRV("ColumnName"));
    jsonw_string(w, strv_z(column->name));
    jsonw_key(w, STRV("DataType"));
    jsonw_string(w, strv_z(types[column->type]));
    if (column->type == FOCUS_DECIMAL) {
        jsonw_key(w, STRV("NumericPrecision"));
        jsonw_uint(w, 38);
        jsonw_key(w, STRV("NumberScale"));
        jsonw_uint(w, 27);
    }
    jsonw_end(w);
}

static void put_count(struct jsonw *w, const char *name, uint64_t n)
{
    jsonw_key(w, strv_z(name));
    jsonw_uint(w, n);
}

static void put_money(struct jsonw *w, const char *name, struct money m)
{
    char text[MONEY_TEXT];

    money_format(m, text);
    jsonw_key(w, strv_z(name));
    jsonw_string(w, strv_z(text));
}

enum rc focus_metadata(const struct focus *f, int64_t now_us, const char *version,
                       struct buf *out)
{
    const char *focus = focus_version_name(f->options.version);
    const struct focus_column *column;
    char text[DATETIME_TEXT];
    struct jsonw w;
    enum rc rc;

    datetime_format_s(now_us, text);
    jsonw_start(&w, out);
    jsonw_object(&w);
    jsonw_key(&w, STRV("DataGenerator"));
    jsonw_string(&w, STRV("tollgate"));
    jsonw_key(&w, STRV("DataGeneratorVersion"));
    jsonw_string(&w, strv_z(version));
    jsonw_key(&w, STRV("SchemaId"));
    jsonw_string(&w, f->options.version == FOCUS_1_2 ? STRV("tollgate-focus-1.2-1")
                                                     : STRV("tollgate-focus-1.4-1"));
    jsonw_key(&w, STRV("FocusVersion"));
    jsonw_string(&w, strv_z(focus));
    jsonw_key(&w, STRV("CreationDate"));
    jsonw_string(&w, strv_z(text));
    put_count(&w, "x_Rows", f->counts.rows);
    put_count(&w, "x_Requests", f->counts.requests);
    put_count(&w, "x_UnpricedRequests", f->counts.unpriced);
    put_count(&w, "x_PartlyPricedRequests", f->counts.partly);
    put_count(&w, "x_RecordsBeyondTheirMeters", f->counts.without_line);
    put_count(&w, "x_ChargesWithoutListPrice", f->counts.list_unknown);
    put_money(&w, "x_TotalBilledCost", f->counts.billed);
    put_money(&w, "x_TotalEffectiveCost", f->counts.effective);
    put_money(&w, "x_TotalContractedCost", f->counts.contracted);
    put_money(&w, "x_TotalListCost", f->counts.list);
    jsonw_key(&w, STRV("ColumnDefinition"));
    jsonw_array(&w);
    for (size_t i = 0; (column = focus_column_at(i)); i++) {
        if (focus_column_is_of(column, &f->options))
            put_column(&w, column);
    }
    jsonw_end(&w);
    jsonw_end(&w);
    rc = jsonw_finish(&w);
    return rc == RC_OK ? buf_append(out, "\n", 1) : rc;
}
