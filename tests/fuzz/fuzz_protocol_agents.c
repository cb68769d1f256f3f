/* Sessions of agents that run by themselves, as both providers tell of them: see
 * fuzz_protocol.h. */
#include "tests/fuzz/fuzz_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char *const OPENAI[] = {"/v1/agents/sessions", "/v1/agents/sessions/s"};
    static const char *const ANTHROPIC[] = {"/v1/sessions", "/v1/dreams"};

    fuzz_protocol("openai", OPENAI, sizeof(OPENAI) / sizeof(OPENAI[0]), bytes, n);
    fuzz_protocol("anthropic", ANTHROPIC, sizeof(ANTHROPIC) / sizeof(ANTHROPIC[0]), bytes, n);
    return 0;
}
