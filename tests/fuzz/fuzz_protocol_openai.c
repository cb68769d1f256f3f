/* Requests and answers of the protocol "openai": see fuzz_protocol.h. */
#include "tests/fuzz/fuzz_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char *const PATHS[] = {"/v1/chat/completions", "/v1/responses",
                                        "/v1/completions", "/v1/embeddings",
                                        "/v1/images/generations", "/v1/audio/transcriptions",
                                        "/v1/threads/t/runs", "/generate"};

    fuzz_protocol("openai", PATHS, sizeof(PATHS) / sizeof(PATHS[0]), bytes, n);
    return 0;
}
