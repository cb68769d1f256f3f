/*
 * Forms: whatever the bytes, the reading stays in bounds and says the same twice.  The first
 * byte is the length of a boundary that the next ones are; the rest is the body.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "metering/usage/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const struct protocol *p = protocol_find(STRV("openai"));
    struct request_facts f, again;
    char type[128] = "multipart/form-data; boundary=";
    size_t mark = n > 0 ? bytes[0] % 72u : 0, at = strlen(type);
    struct route route;
    struct strv body;

    if (n == 0 || n - 1 < mark)
        return 0;
    memcpy(type + at, bytes + 1, mark);
    body = strv_make((const char *)bytes + 1 + mark, n - 1 - mark);
    protocol_route(p, STRV("POST"), STRV("/v1/audio/transcriptions"), STRV_NONE, &route);
    if (protocol_scan_form(p, &route, strv_make(type, at + mark), body, &f) != RC_OK) {
        ASSERT(f.choices == 0);
        return 0;
    }
    ASSERT(f.model.n <= REQUEST_MODEL_MAX_BYTES && f.choices >= 1 && f.listens);
    ASSERT(protocol_scan_form(p, &route, strv_make(type, at + mark), body, &again) == RC_OK);
    ASSERT(strv_eq(f.model, again.model) && f.audio_ms == again.audio_ms);
    return 0;
}
