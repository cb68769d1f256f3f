/* Requests and answers of the protocol "anthropic": see fuzz_protocol.h. */
#include "tests/fuzz/fuzz_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char *const PATHS[] = {"/v1/messages", "/v1/complete"};

    fuzz_protocol("anthropic", PATHS, sizeof(PATHS) / sizeof(PATHS[0]), bytes, n);
    return 0;
}
