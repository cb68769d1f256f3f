/*
 * fuzz_params.c - the words of a report, as a URL has them.
 *
 * Holds: a query is read or refused with one sentence; what is read lies within its bounds; a
 * period that is found ends after it begins.
 */
#include <stdint.h>

#include "base/check.h"
#include "reports/params.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { ERROR_BYTES = 4096, INPUT_MAX_BYTES = 16 << 10 };

static struct zone *utc;

static void check(struct report_params *p, struct buf *error)
{
    struct ledger_filter filter;

    ASSERT(p->n_by <= PARAMS_BY_MAX && p->n_where <= LEDGER_CONDITIONS_MAX);
    ASSERT(p->top <= PARAMS_TOP_MAX && p->n_imports <= PARAMS_IMPORTS_MAX);
    ASSERT(p->precision <= PARAMS_PRECISION_EXACT && p->format < FORMAT_COUNT);
    buf_clear(error);
    if (params_resolve(p, utc, INT64_C(1795262400000000), error) != RC_OK) {
        ASSERT(buf_len(error) > 0);
        return;
    }
    ASSERT(p->zone && p->to_us > p->from_us);
    params_filter(p, &filter);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct report_params p;
    struct buf error;

    if (n > INPUT_MAX_BYTES)
        return 0;
    if (!utc)
        utc = zone_open("UTC");
    ASSERT(utc != NULL);
    params_init(&p);
    buf_init(&error, ERROR_BYTES);
    if (params_query(&p, strv_make((const char *)bytes, n), &error) == RC_OK)
        check(&p, &error);
    else
        ASSERT(buf_len(&error) > 0);
    params_release(&p);
    buf_release(&error);
    return 0;
}
