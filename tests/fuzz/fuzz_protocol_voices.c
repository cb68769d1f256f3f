/* Requests and answers of those who speak and listen, and of Alibaba's own interface; the first
 * byte says whose: see fuzz_protocol.h. */
#include "tests/fuzz/fuzz_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char *const ELEVENLABS[] = {"/v1/speech-to-text", "/v1/text-to-speech/v",
                                             "/v1/music"};
    static const char *const DEEPGRAM[] = {"/v1/listen", "/v1/read", "/v1/speak"};
    static const char *const ASSEMBLYAI[] = {"/v2/transcript", "/v2/upload"};

    static const char *const ALIBABA[] = {
        "/api/v1/services/aigc/text-generation/generation",
        "/api/v1/services/embeddings/text-embedding/text-embedding",
        "/api/v1/services/aigc/video-generation/video-synthesis",
        "/api/v1/services/aigc/text2image/image-synthesis"};

    if (n == 0)
        return 0;
    switch (bytes[0] % 4) {
    case 0:
        fuzz_protocol("elevenlabs", ELEVENLABS, 3, bytes + 1, n - 1);
        break;
    case 1:
        fuzz_protocol("deepgram", DEEPGRAM, 3, bytes + 1, n - 1);
        break;
    case 2:
        fuzz_protocol("assemblyai", ASSEMBLYAI, 2, bytes + 1, n - 1);
        break;
    default:
        fuzz_protocol("openai", ALIBABA, 4, bytes + 1, n - 1);
    }
    return 0;
}
