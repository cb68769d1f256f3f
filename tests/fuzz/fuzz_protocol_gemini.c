/* Requests and answers of the protocol "gemini": see fuzz_protocol.h. */
#include "tests/fuzz/fuzz_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char *const PATHS[] = {
        "/v1/models/g:generateContent", "/v1/models/g:streamGenerateContent",
        "/v1/models/g:embedContent", "/v1beta/openai/chat/completions"};

    fuzz_protocol("gemini", PATHS, sizeof(PATHS) / sizeof(PATHS[0]), bytes, n);
    return 0;
}
