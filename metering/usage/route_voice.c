/*
 * The endpoints of providers who speak and listen: ElevenLabs, Deepgram, AssemblyAI.  What opens
 * a WebSocket there is named, so that it is refused as what it is and not taken for a read.
 */
#include "metering/usage/route_table.h"

enum {
    SPOKEN = ENTRY_SPEECH | ENTRY_EMBEDS,
    HEARD = ENTRY_AUDIO | ENTRY_EMBEDS,
    /* Of sound that the provider gets from elsewhere, and of music as long as it may be. */
    ELSEWHERE_MS = 3600000,
    MUSIC_MS = 600000,
};

#define MULTILINGUAL "eleven_multilingual_v2"
#define DIALOGUE "eleven_v3"
#define MUSIC "music_v1"

static const struct entry ELEVENLABS[] = {
    VOICED("text-to-speech", "text-to-speech/*", DIALECT_CREDITS, SPOKEN, MULTILINGUAL, 0),
    VOICED("text-to-speech", "text-to-speech/*/stream", DIALECT_CREDITS, SPOKEN, MULTILINGUAL,
           0),
    VOICED("text-to-speech", "text-to-speech/*/with-timestamps", DIALECT_CREDITS, SPOKEN,
           MULTILINGUAL, 0),
    VOICED("text-to-speech", "text-to-speech/*/stream/with-timestamps", DIALECT_CREDITS, SPOKEN,
           MULTILINGUAL, 0),
    VOICED("text-to-dialogue", "text-to-dialogue", DIALECT_CREDITS, SPOKEN, DIALOGUE, 0),
    VOICED("text-to-dialogue", "text-to-dialogue/stream", DIALECT_CREDITS, SPOKEN, DIALOGUE, 0),
    VOICED("text-to-dialogue", "text-to-dialogue/with-timestamps", DIALECT_CREDITS, SPOKEN,
           DIALOGUE, 0),
    VOICED("text-to-dialogue", "text-to-dialogue/stream/with-timestamps", DIALECT_CREDITS,
           SPOKEN, DIALOGUE, 0),
    VOICED("text-to-voice", "text-to-voice/design", DIALECT_CREDITS, SPOKEN,
           "eleven_multilingual_ttv_v2", 0),
    VOICED("text-to-voice", "text-to-voice/create-previews", DIALECT_CREDITS, SPOKEN,
           "eleven_multilingual_ttv_v2", 0),
    VOICED("sound-generation", "sound-generation", DIALECT_CREDITS, SPOKEN,
           "eleven_text_to_sound_v2", 0),
    /* What follows is charged by its length, which only the request tells. */
    VOICED("music", "music", DIALECT_NONE, HEARD, MUSIC, MUSIC_MS),
    VOICED("music", "music/stream", DIALECT_NONE, HEARD, MUSIC, MUSIC_MS),
    VOICED("music", "music/detailed", DIALECT_NONE, HEARD, MUSIC, MUSIC_MS),
    VOICED("music", "music/detailed/stream", DIALECT_NONE, HEARD, MUSIC, MUSIC_MS),
    VOICED("voice-changer", "voice-changer/*", DIALECT_NONE, HEARD, "eleven_english_sts_v2", 0),
    VOICED("voice-changer", "voice-changer/*/stream", DIALECT_NONE, HEARD,
           "eleven_english_sts_v2", 0),
    VOICED("voice-changer", "speech-to-speech/*", DIALECT_NONE, HEARD, "eleven_english_sts_v2",
           0),
    VOICED("voice-changer", "speech-to-speech/*/stream", DIALECT_NONE, HEARD,
           "eleven_english_sts_v2", 0),
    VOICED_BY("audio-isolation", "audio-isolation", DIALECT_NONE, HEARD, "audio_isolation"),
    VOICED_BY("audio-isolation", "audio-isolation/stream", DIALECT_NONE, HEARD,
              "audio_isolation"),
    VOICED("speech-to-text", "speech-to-text", DIALECT_SCRIBE, HEARD, NULL, ELSEWHERE_MS),
    FETCHED("speech-to-text.fetched", "GET", "speech-to-text/transcripts/*", DIALECT_SCRIBE,
            ENTRY_BY_PATH),
    FREE("speech-to-text.delete", "DELETE", "speech-to-text/transcripts/*"),
    FREE("music.plan", "POST", "music/plan"),
    FREE("voices", "POST", "voices/add"),
    FREE("voices", "POST", "voices/add/*/*"),
    FREE("voices", "POST", "voices/*/edit"),
    FREE("voices", "POST", "voices/*/settings/edit"),
    FREE("voices", "DELETE", "voices/*"),
    FREE("voices", "DELETE", "voices/*/samples/*"),
    FREE("voices", "POST", "similar-voices"),
    FREE("voices", "POST", "text-to-voice"),
    FREE("history", "POST", "history/download"),
    FREE("history", "DELETE", "history/*"),
    FREE("pronunciation-dictionaries", "POST", "pronunciation-dictionaries/add-from-file"),
    FREE("pronunciation-dictionaries", "POST", "pronunciation-dictionaries/add-from-rules"),
    FREE("pronunciation-dictionaries", "POST", "pronunciation-dictionaries/*/add-rules"),
    FREE("pronunciation-dictionaries", "POST", "pronunciation-dictionaries/*/set-rules"),
    FREE("pronunciation-dictionaries", "POST", "pronunciation-dictionaries/*/remove-rules"),
    FREE("pronunciation-dictionaries", "PATCH", "pronunciation-dictionaries/*"),
    UNKNOWN("text-to-speech.connect", "GET", "text-to-speech/*/stream-input"),
    UNKNOWN("text-to-speech.connect", "GET", "text-to-speech/*/multi-stream-input"),
    UNKNOWN("text-to-dialogue.connect", "GET", "text-to-dialogue/stream-input"),
    UNKNOWN("text-to-dialogue.connect", "GET", "text-to-dialogue/multi-stream-input"),
    UNKNOWN("speech-to-text.connect", "GET", "speech-to-text/realtime"),
    UNKNOWN("translation.connect", "GET", "translation/realtime"),
    UNKNOWN("dubbing.connect", "GET", "dubbing/live"),
    UNKNOWN("convai.connect", "GET", "convai/conversation"),
    /* A key of the provider's would leave in its answer, or its audio past the gateway. */
    UNKNOWN("convai.connect", "GET", "convai/conversation/get-signed-url"),
    UNKNOWN("convai.connect", "GET", "convai/conversation/get_signed_url"),
    UNKNOWN("convai.connect", "GET", "convai/conversation/token"),
    UNKNOWN("convai.connect", "GET", "convai/agents/*/link"),
    UNKNOWN("user", "GET", "user"),
};

static const struct entry DEEPGRAM[] = {
    VOICED("listen", "listen", DIALECT_DEEPGRAM, HEARD | ENTRY_QUERY, "base",
           ELSEWHERE_MS),
    VOICED("speak", "speak", DIALECT_AURA, SPOKEN | ENTRY_QUERY, "aura-asteria-en", 0),
    VOICED_BY("read", "read", DIALECT_DEEPGRAM, 0, "text-intelligence"),
    UNKNOWN("listen.connect", "GET", "listen"),
    UNKNOWN("speak.connect", "GET", "speak"),
    UNKNOWN("agent.connect", "GET", "agent/converse"),
};

static const struct entry ASSEMBLYAI[] = {
    VOICED("transcript", "transcript", DIALECT_ASSEMBLYAI, HEARD, "best", ELSEWHERE_MS),
    FETCHED("transcript.fetched", "GET", "transcript/*", DIALECT_ASSEMBLYAI, ENTRY_BY_PATH),
    FETCHED("upload", "POST", "upload", DIALECT_ASSEMBLYAI, ENTRY_FILE | ENTRY_AUDIO),
    FREE("transcript.delete", "DELETE", "transcript/*"),
    /* Its language models, on a host of their own. */
    METERED("chat.completions", "POST", "chat/completions", DIALECT_OPENAI, 0),
    FREE("models", "GET", "models"),
    UNKNOWN("connect", "GET", "ws"),
    UNKNOWN("connect", "GET", "realtime/ws"),
    UNKNOWN("token", "GET", "token"),
};

const struct route_table ROUTE_VOICES[ROUTE_VOICES_N] = {
    {ENTRIES_ELEVENLABS, LIST(ELEVENLABS)},
    {ENTRIES_DEEPGRAM, LIST(DEEPGRAM)},
    {ENTRIES_ASSEMBLYAI, LIST(ASSEMBLYAI)},
};
