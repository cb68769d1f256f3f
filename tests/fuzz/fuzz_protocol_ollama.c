/* Requests and answers of the protocol "ollama": see fuzz_protocol.h. */
#include "tests/fuzz/fuzz_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char *const PATHS[] = {"/api/chat", "/api/generate", "/api/embed"};

    fuzz_protocol("ollama", PATHS, sizeof(PATHS) / sizeof(PATHS[0]), bytes, n);
    return 0;
}
