/*
 * read_bands.c - see read_bands.h.
 *
 * Rows by the question's fields and band are answered as all rows are: by several threads, from
 * days that are added up by band, and of requests from the few columns that bands need.
 */
#include "metering/ledger/read_bands.h"

#include <stdlib.h>

#include "base/xalloc.h"

bool bands_are_rows(const struct ledger_question *q)
{
    const unsigned more = LEDGER_WANT_HISTOGRAM | LEDGER_WANT_METERS | LEDGER_WANT_PERCENTILES |
                          LEDGER_WANT_LINES;
    bool by_combo = filter_is_of_combo(&q->filter);

    for (size_t i = 0; i < q->n_by; i++)
        by_combo &= field_is_of_combo(&q->by[i]);
    return q->want & LEDGER_WANT_BANDS && !(q->want & more) && !q->filter.by_start &&
           q->n_by < LEDGER_GROUP_MAX && (!by_combo || q->want & LEDGER_WANT_REQUESTS);
}

static bool is_same(const struct ledger_row *a, const struct ledger_row *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!strv_eq(a->value[i], b->value[i]))
            return false;
    }
    return true;
}

/* By place of a row with its band: the place without. */
static size_t *places(const struct ledger_rows *rows, size_t n_by)
{
    const struct ledger_row **at, *last = NULL;
    size_t n = 0, place = 0, *out;

    for (size_t i = 0; i < rows->n; i++)
        n = rows->at[i].place >= n ? rows->at[i].place + 1 : n;
    at = xcalloc_wide(n + 1, sizeof(*at));
    out = xcalloc_wide(n + 1, sizeof(*out));
    for (size_t i = 0; i < rows->n; i++)
        at[rows->at[i].place] = &rows->at[i];
    for (size_t k = 0; k < n; k++) {
        if (!at[k])
            continue;
        place += last && !is_same(last, at[k], n_by);
        out[k] = place;
        last = at[k];
    }
    free(at);
    return out;
}

static struct ledger_band *band_of(struct ledger_band *bands, struct strv name)
{
    unsigned b = 0;

    while (b < LEDGER_BANDS && !strv_eq(name, strv_z(ledger_band_name(b))))
        b++;
    return b < LEDGER_BANDS ? &bands[b] : NULL;
}

static bool add(struct ledger_rows *rows, struct ledger_row *to, const struct ledger_sums *sums,
                struct strv name)
{
    const struct ledger_band one = {.requests = sums->requests,
                                    .priced = sums->priced,
                                    .input_tokens = sums->tokens[USAGE_INPUT],
                                    .output_tokens = sums->tokens[USAGE_OUTPUT],
                                    .cost = sums->cost};
    struct ledger_band *band = band_of(to->bands, name), *all = band_of(rows->total.bands, name);

    if (!band || !all)
        return false;
    ledger_band_add(band, &one);
    ledger_band_add(all, &one);
    return true;
}

static struct ledger_band *new_bands(struct ledger_rows *rows)
{
    return rows_memory(rows, LEDGER_BANDS * sizeof(struct ledger_band));
}

/* Rows of one period and the same values but for the last, the band, stand one after the other. */
static enum rc fold(struct ledger_rows *rows, size_t n_by, struct fail *fail)
{
    size_t *place = places(rows, n_by), n = 0;
    enum rc rc = RC_OK;

    rows->total.bands = new_bands(rows);
    if (!rows->total.bands)
        rc = read_too_many(fail, "answer with that many rows");
    for (size_t i = 0; rc == RC_OK && i < rows->n; i++) {
        const struct ledger_row from = rows->at[i];
        struct ledger_row *to = n > 0 ? &rows->at[n - 1] : NULL;

        if (!to || to->start_us != from.start_us || to->place != place[from.place]) {
            to = &rows->at[n++];
            *to = from;
            to->place = place[from.place];
            to->bands = new_bands(rows);
        } else {
            ledger_sums_add(&to->sums, &from.sums);
        }
        if (!to->bands)
            rc = read_too_many(fail, "answer with that many rows");
        else if (!add(rows, to, &from.sums, from.value[n_by]))
            rc = read_damaged(fail);
    }
    rows->n = n;
    free(place);
    return rc;
}

enum rc bands_read(struct ledger_reader *r, const struct ledger_question *q,
                   struct ledger_rows *out, struct fail *fail)
{
    struct ledger_question *by = xmalloc(sizeof(*by));
    enum rc rc;

    *by = *q;
    by->want &= ~(unsigned)(LEDGER_WANT_BANDS | LEDGER_SPARE_TOKENS | LEDGER_ALONE);
    by->top = 0;
    by->by[by->n_by++] = (struct ledger_field){.id = FIELD_TOKEN_BAND};
    rc = ledger_read_sums(r, by, out, fail);
    free(by);
    if (rc != RC_OK)
        return rc;
    rc = fold(out, q->n_by, fail);
    if (rc != RC_OK)
        ledger_rows_release(out);
    return rc;
}
