/*
 * Files of providers' usage and costs: whatever they hold, they are read or refused with a
 * place; what is read stays within its bounds.
 */
#include <stdlib.h>

#include "base/check.h"
#include "reports/invoice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct invoice invoice;
    struct buf error;
    enum rc rc;

    buf_init(&error, 4096);
    invoice_init(&invoice, &error);
    rc = invoice_parse(&invoice, "file", strv_make((const char *)data, size));
    ASSERT(rc == RC_OK || rc == RC_BAD || rc == RC_LIMIT);
    ASSERT((rc == RC_BAD) == (buf_len(&error) > 0));
    for (size_t i = 0; rc == RC_OK && i < invoice.n; i++)
        ASSERT(invoice.at[i].to_us > invoice.at[i].from_us);
    invoice_release(&invoice);
    buf_release(&error);
    return 0;
}
