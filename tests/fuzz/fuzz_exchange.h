/*
 * fuzz_exchange.h - what the target of whole exchanges knows beforehand: its configurations, and
 * well-formed pieces of what clients and upstreams say, so that an input need not find them.
 */
#ifndef TESTS_FUZZ_FUZZ_EXCHANGE_H
#define TESTS_FUZZ_FUZZ_EXCHANGE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"

#define FUZZ_KEY          "tg_fuzz_key_of_all_runs"
#define FUZZ_PROVIDER_KEY "provider-key-of-all-runs"

/* Answers pass as they are (no inject_usage), so that they can be compared. */
#define FUZZ_UPSTREAM(name, protocol, more)                                                    \
    "{\"name\":\"" name "\",\"protocol\":\"" protocol                                         \
    "\",\"base_url\":\"http://127.0.0.1:9/" name "\",\"api_key\":\"" FUZZ_PROVIDER_KEY "\"" more "}"
#define FUZZ_CONFIG                                                                            \
    "{\"listen\":{\"proxy\":{\"port\":0,\"certificate\":\"c\",\"private_key\":\"k\"}},"        \
    "\"state_dir\":\"var\",\"counters\":{\"backend\":\"memory\"},%s,"                          \
    "\"upstreams\":[" FUZZ_UPSTREAM("openai", "openai", ",\"inject_usage\":false") ","         \
    FUZZ_UPSTREAM("asks", "openai", ",\"provider\":\"openai\",\"max_connections\":1") ","      \
    FUZZ_UPSTREAM("anthropic", "anthropic", "") "," FUZZ_UPSTREAM("gemini", "gemini", "")      \
    "],\"keys\":[{\"name\":\"k\",\"secret\":\"" FUZZ_KEY "\",\"tags\":{\"team\":\"t\"}}],"     \
    "\"limits\":[{\"name\":\"usd\",\"match\":{\"team\":\"t\"},\"unit\":\"usd\","               \
    "\"limit\":\"0.5\",\"window\":\"day\"},"                                                   \
    "{\"name\":\"running\",\"unit\":\"concurrent\",\"limit\":3},"                              \
    "{\"name\":\"tokens\",\"per\":[\"key\"],\"unit\":\"tokens\",\"limit\":200000,"             \
    "\"window\":\"60s\",\"on_exhausted\":\"cut\"}],"                                           \
    "\"prices\":{\"book\":[\"pricing/book\"]}}"
#define FUZZ_WIDE "\"bounds\":{\"http2_streams\":8}"
#define FUZZ_NARROW                                                                            \
    "\"bounds\":{\"head_bytes\":1024,\"headers\":16,\"body_bytes\":1024,\"http2_streams\":2,"  \
    "\"hold_bytes\":256,\"write_timeout_ms\":5000,\"head_timeout_ms\":500,"                    \
    "\"memory_bytes\":16777216}"

/* n 0: the answer to the handshake that was asked. */
struct fuzz_piece {
    const char *text;
    size_t n;
};
struct fuzz_pieces {
    const struct fuzz_piece *at;
    size_t n;
};

#define FUZZ_PIECE(text)                                                                       \
    {                                                                                          \
        text, sizeof(text) - 1                                                                 \
    }
#define FUZZ_PIECES(array)                                                                     \
    {                                                                                          \
        array, sizeof(array) / sizeof((array)[0])                                              \
    }
#define FUZZ_WHO "Host: g\r\nAuthorization: Bearer " FUZZ_KEY "\r\n"
#define FUZZ_UPGRADE                                                                           \
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"               \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

static const struct fuzz_piece fuzz_client_array[] = {
    FUZZ_PIECE("POST /openai/chat/completions HTTP/1.1\r\n" FUZZ_WHO
               "Content-Length: 38\r\n\r\n{\"model\":\"m\",\"max_tokens\":9,\"n\":1    }"),
    FUZZ_PIECE("POST /openai/chat/completions HTTP/1.1\r\n" FUZZ_WHO
               "Content-Length: 30\r\n\r\n{\"model\":\"m\",\"stream\":true   }"),
    FUZZ_PIECE("POST /asks/chat/completions HTTP/1.1\r\n" FUZZ_WHO
               "Content-Length: 30\r\n\r\n{\"model\":\"m\",\"stream\":true   }"),
    FUZZ_PIECE("POST /anthropic/messages HTTP/1.1\r\nHost: g\r\nx-api-key: " FUZZ_KEY
               "\r\nTransfer-Encoding: chunked\r\n\r\n"
               "1e\r\n{\"model\":\"m\",\"max_tokens\":9  }\r\n0\r\n\r\n"),
    FUZZ_PIECE("POST /gemini/models/g:streamGenerateContent?alt=sse&key=" FUZZ_KEY
               " HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\n\r\n{}"),
    FUZZ_PIECE("GET /openai/models HTTP/1.1\r\n" FUZZ_WHO "\r\n"),
    FUZZ_PIECE("HEAD /openai/models HTTP/1.1\r\n" FUZZ_WHO "\r\n"),
    FUZZ_PIECE("POST /openai/files HTTP/1.1\r\n" FUZZ_WHO
               "Expect: 100-continue\r\nContent-Length: 8\r\n\r\n"),
    FUZZ_PIECE("POST /openai/responses HTTP/1.1\r\n" FUZZ_WHO
               "X-Tollgate-Tags: feature=a\r\nContent-Length: 32\r\n\r\n"
               "{\"model\":\"m\",\"background\":true }"),
    FUZZ_PIECE("GET /_tollgate/health HTTP/1.1\r\nHost: g\r\n\r\n"),
    FUZZ_PIECE("GET /_tollgate/budget HTTP/1.1\r\n" FUZZ_WHO "\r\n"),
    FUZZ_PIECE("PUT /_tollgate/tasks/t1/outcome HTTP/1.1\r\n" FUZZ_WHO
               "Content-Length: 23\r\n\r\n{\"outcome\":\"completed\"}"),
    FUZZ_PIECE("GET /openai/realtime?model=m HTTP/1.1\r\n" FUZZ_WHO FUZZ_UPGRADE),
    FUZZ_PIECE("GET /openai/responses HTTP/1.1\r\n" FUZZ_WHO FUZZ_UPGRADE),
    FUZZ_PIECE("\x81\x9a\0\0\0\0{\"type\":\"response.create\"}"),
    FUZZ_PIECE("\x81\xa6\0\0\0\0{\"type\":\"response.create\",\"model\":\"m\"}"),
    FUZZ_PIECE("\x81\xb8\0\0\0\0{\"type\":\"input_audio_buffer.append\",\"audio\":\"AAAAAAAAA\"}"),
    FUZZ_PIECE("\x88\x82\0\0\0\0\x03\xe8"),
    FUZZ_PIECE("\x89\x80\0\0\0\0"),
    FUZZ_PIECE("01234567"),
};
static const struct fuzz_pieces fuzz_client_pieces = FUZZ_PIECES(fuzz_client_array);

#define FUZZ_USAGE "\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":7,\"total_tokens\":12}"
static const struct fuzz_piece fuzz_upstream_array[] = {
    {"", 0},
    FUZZ_PIECE("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n"
               "{\"model\":\"m\",\"id\":\"c\"," FUZZ_USAGE "}"),
    FUZZ_PIECE("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
               "Transfer-Encoding: chunked\r\nX-Tollgate-Cost-Usd: 1\r\nKeep-Alive: a\r\n\r\n"),
    FUZZ_PIECE("2f\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n\r\n"),
    FUZZ_PIECE("5a\r\ndata: {\"choices\":[]," FUZZ_USAGE "}\n\n\r\n"),
    FUZZ_PIECE("e\r\ndata: [DONE]\n\n\r\n"),
    FUZZ_PIECE("0\r\n\r\n"),
    FUZZ_PIECE("HTTP/1.1 429 No\r\nContent-Length: 2\r\nRetry-After: 1\r\n\r\n{}"),
    FUZZ_PIECE("HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    FUZZ_PIECE("HTTP/1.1 200 OK\r\n\r\n"),
    FUZZ_PIECE("HTTP/1.1 204 No\r\n\r\n"),
    FUZZ_PIECE("HTTP/1.1 100 Continue\r\n\r\n"),
    FUZZ_PIECE("HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n"),
    FUZZ_PIECE("HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\n"),
    FUZZ_PIECE("event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"m\","
               "\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n"),
    FUZZ_PIECE("\x81\x31{\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}"),
    FUZZ_PIECE("\x81\x70{\"type\":\"response.done\",\"response\":{\"id\":\"r\",\"status\":"
               "\"completed\",\"usage\":{\"input_tokens\":3,\"output_tokens\":4}}}"),
    FUZZ_PIECE("\x81\x4d{\"type\":\"response.output_text.delta\",\"response_id\":\"r\",\"delta\":"
               "\"aaaaaaaaaaa\"}"),
    FUZZ_PIECE("\x81\x30{\"type\":\"error\",\"error\":{\"code\":\"x\",\"type\":\"y\"}}"),
    FUZZ_PIECE("\x88\x02\x03\xe8"),
    FUZZ_PIECE("\x8a\x00"),
};
static const struct fuzz_pieces fuzz_upstream_pieces = FUZZ_PIECES(fuzz_upstream_array);

/* ---- HTTP/2: frames, made once ------------------------------------------------------------- */

enum { FUZZ_H2_PIECES = 14, FUZZ_H2_BYTES = 4096 };
static struct fuzz_piece fuzz_h2_array[FUZZ_H2_PIECES];
static struct fuzz_pieces fuzz_h2_pieces = {fuzz_h2_array, 0};
static char fuzz_h2_bytes[FUZZ_H2_BYTES];
static size_t fuzz_h2_n;

static void fuzz_h2_put(const char *bytes, size_t n)
{
    ASSERT(fuzz_h2_n + n <= sizeof(fuzz_h2_bytes));
    if (n > 0)
        memcpy(fuzz_h2_bytes + fuzz_h2_n, bytes, n);
    fuzz_h2_n += n;
}

/* Ends the piece that began at from. */
static void fuzz_h2_piece(size_t from)
{
    ASSERT(fuzz_h2_pieces.n < FUZZ_H2_PIECES);
    fuzz_h2_array[fuzz_h2_pieces.n++] =
        (struct fuzz_piece){fuzz_h2_bytes + from, fuzz_h2_n - from};
}

static void fuzz_h2_frame(char type, char flags, char stream, const char *payload, size_t n)
{
    const char head[9] = {0, (char)(n >> 8), (char)n, type, flags, 0, 0, 0, stream};

    fuzz_h2_put(head, sizeof(head));
    fuzz_h2_put(payload, n);
}

/* A head of fields spelled out (RFC 7541 6.2.2), and its body. */
static void fuzz_h2_request(char stream, const char *const *fields, size_t n, const char *body)
{
    char block[1024];
    size_t at = 0, from = fuzz_h2_n;

    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(fields[i]);

        if (i % 2 == 0)
            block[at++] = 0;
        ASSERT(length < 127 && at + length + 2 < sizeof(block));
        block[at++] = (char)length;
        memcpy(block + at, fields[i], length);
        at += length;
    }
    fuzz_h2_frame(1, body ? 4 : 5, stream, block, at);
    if (body)
        fuzz_h2_frame(0, 1, stream, body, strlen(body));
    fuzz_h2_piece(from);
}

static void fuzz_h2_make(void)
{
#define AUTHORITY ":scheme", "https", ":authority", "g", "authorization", "Bearer " FUZZ_KEY
    static const char *const chat[] = {":method", "POST", ":path", "/openai/chat/completions",
                                       AUTHORITY};
    static const char *const asks[] = {":method", "POST", ":path", "/asks/chat/completions",
                                       AUTHORITY, "content-length", "30"};
    static const char *const models[] = {":method", "GET", ":path", "/openai/models", AUTHORITY};
    static const char *const health[] = {":method", "GET", ":path", "/_tollgate/health",
                                         AUTHORITY};
    static const char body[] = "{\"model\":\"m\",\"stream\":true   }";
    size_t from = fuzz_h2_n;

    fuzz_h2_put("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    fuzz_h2_frame(4, 0, 0, NULL, 0);
    fuzz_h2_piece(from);
    for (char stream = 1; stream <= 3; stream += 2) {
        fuzz_h2_request(stream, chat, sizeof(chat) / sizeof(chat[0]), body);
        fuzz_h2_request(stream, models, sizeof(models) / sizeof(models[0]), NULL);
        fuzz_h2_request(stream, asks, sizeof(asks) / sizeof(asks[0]), body);
    }
    fuzz_h2_request(5, health, sizeof(health) / sizeof(health[0]), NULL);
    fuzz_h2_request(5, chat, sizeof(chat) / sizeof(chat[0]), "{}");
    from = fuzz_h2_n;
    fuzz_h2_frame(3, 0, 1, "\0\0\0\x08", 4); /* RST_STREAM */
    fuzz_h2_piece(from);
    from = fuzz_h2_n;
    fuzz_h2_frame(8, 0, 0, "\0\1\0\0", 4); /* WINDOW_UPDATE */
    fuzz_h2_piece(from);
    from = fuzz_h2_n;
    fuzz_h2_frame(4, 0, 0, "\0\4\0\0\0\1", 6); /* SETTINGS: windows of one byte */
    fuzz_h2_piece(from);
    from = fuzz_h2_n;
    fuzz_h2_frame(4, 1, 0, NULL, 0); /* and an acknowledgement */
    fuzz_h2_piece(from);
    from = fuzz_h2_n;
    fuzz_h2_frame(7, 0, 0, "\0\0\0\0\0\0\0\0", 8); /* GOAWAY */
    fuzz_h2_piece(from);
}

#endif
