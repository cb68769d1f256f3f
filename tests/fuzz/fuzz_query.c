/*
 * Sound whose model and options stand in the query: whatever the bytes, the reading stays in
 * bounds, says the same twice, and finds the one model that the query names.  The query ends with
 * the first line; the rest is the body.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "metering/usage/estimate.h"
#include "metering/usage/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static size_t models_in(struct strv query)
{
    struct strv part;
    size_t found = 0;

    while (strv_split(&query, '&', &part))
        found += strv_starts(part, STRV("model=")) || strv_eq(part, STRV("model"));
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct strv input = strv_make((const char *)bytes, n), query, body;
    struct request_facts f, again;
    struct route route;
    struct usage u;
    char *copy;

    query = strv_head(input, strv_find(input, '\n'));
    body = strv_skip(input, query.n + 1);
    copy = malloc(query.n + 1); /* a block of its own: reads past it are seen */
    ASSERT(copy != NULL);
    if (query.n > 0)
        memcpy(copy, query.p, query.n);
    query = strv_make(copy, query.n);
    protocol_route(protocol_find(STRV("deepgram")), STRV("POST"), STRV("/v1/listen"), query,
                   &route);
    if (protocol_scan_sound(&route, body, &f) == RC_OK) {
        ASSERT(f.model.n > 0 && f.model.n <= REQUEST_MODEL_MAX_BYTES && f.listens);
        ASSERT(models_in(query) <= 1 && f.audio_ms > 0);
        ASSERT(estimate_units(&f, &u) && u.n[USAGE_AUDIO_MS] <= USAGE_MAX_COUNT);
        ASSERT(protocol_scan_sound(&route, body, &again) == RC_OK);
        ASSERT(strv_eq(f.model, again.model) && f.audio_ms == again.audio_ms);
    } else {
        ASSERT(f.choices == 0);
    }
    free(copy);
    return 0;
}
