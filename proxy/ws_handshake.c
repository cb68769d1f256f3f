#include "proxy/ws_handshake.h"

#include <string.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "base/check.h"
#include "proxy/auth.h"
#include "proxy/http1_chars.h"

enum { NONCE_BYTES = 16, SHA1_BYTES = 20, KEY_CHARS = WS_KEY_TEXT - 1 };

/* RFC 6455 1.3 */
static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

bool ws_is_handshake_header(struct strv name)
{
    return strv_starts_nocase(name, STRV("sec-websocket-"));
}

bool ws_is_upgrade(const struct http1_head *head)
{
    return strv_eq(head->method, STRV("GET")) && head->minor >= 1 &&
           http1_has_token(head, STRV("upgrade"), STRV("websocket")) &&
           http1_has_token(head, STRV("connection"), STRV("upgrade"));
}

/* The one field of that name; false where there are several, *value empty where there is none. */
static bool single(const struct http1_head *head, struct strv name, struct strv *value)
{
    unsigned n = 0;

    *value = STRV_NONE;
    for (size_t i = 0; i < head->n_headers; i++) {
        if (!strv_eq_nocase(head->headers[i].name, name))
            continue;
        *value = strv_trim(head->headers[i].value);
        n++;
    }
    return n <= 1;
}

/* Base64 of 16 bytes: 22 characters, the last of which has 4 bits to spare, and two fillers. */
static bool is_key(struct strv key)
{
    if (key.n != KEY_CHARS || key.p[22] != '=' || key.p[23] != '=' || !strchr("AQgw", key.p[21]))
        return false;
    for (size_t i = 0; i < 22; i++) {
        char c = key.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '+' || c == '/'))
            return false;
    }
    return true;
}

const char *ws_request_fault(const struct http1_head *head)
{
    struct strv version, key;

    if (!single(head, STRV("sec-websocket-version"), &version) ||
        !strv_eq(version, STRV("13")))
        return "Sec-WebSocket-Version is not 13";
    if (!single(head, STRV("sec-websocket-key"), &key) || !is_key(key))
        return "Sec-WebSocket-Key is not 16 bytes in base64";
    return NULL;
}

void ws_key_make(char out[WS_KEY_TEXT])
{
    unsigned char nonce[NONCE_BYTES];

    ASSERT(RAND_bytes(nonce, sizeof(nonce)) == 1);
    EVP_EncodeBlock((unsigned char *)out, nonce, sizeof(nonce));
}

void ws_accept_make(struct strv key, char out[WS_ACCEPT_TEXT])
{
    unsigned char text[KEY_CHARS + sizeof(guid)], sum[SHA1_BYTES];
    unsigned int n = 0;

    ASSERT(key.n == KEY_CHARS);
    memcpy(text, key.p, KEY_CHARS);
    memcpy(text + KEY_CHARS, guid, sizeof(guid));
    ASSERT(EVP_Digest(text, sizeof(text) - 1, sum, &n, EVP_sha1(), NULL) == 1);
    ASSERT(n == sizeof(sum));
    EVP_EncodeBlock((unsigned char *)out, sum, sizeof(sum));
}

enum rc ws_offer(const struct http1_head *head, enum credentials credentials,
                 struct arena *arena, struct strv *out)
{
    size_t room = 0, n = 0, parts = 0;
    char *text;

    *out = STRV_NONE;
    for (size_t i = 0; i < head->n_headers; i++) {
        if (strv_eq_nocase(head->headers[i].name, STRV("sec-websocket-protocol")))
            room += head->headers[i].value.n + 2;
    }
    if (room == 0)
        return RC_OK;
    text = arena_alloc(arena, room);
    if (!text)
        return RC_LIMIT;
    for (size_t i = 0; i < head->n_headers; i++) {
        struct strv rest = head->headers[i].value, part;

        if (!strv_eq_nocase(head->headers[i].name, STRV("sec-websocket-protocol")))
            continue;
        while (strv_split(&rest, ',', &part)) {
            part = strv_trim(part);
            if (++parts > WS_SUBPROTOCOLS_MAX || !http1_is_name(part))
                return RC_BAD;
            if (auth_subprotocol_stays(part, credentials))
                continue;
            if (n > 0) {
                memcpy(text + n, ", ", 2);
                n += 2;
            }
            memcpy(text + n, part.p, part.n);
            n += part.n;
        }
    }
    *out = strv_make(text, n);
    return RC_OK;
}

static bool is_offered(struct strv offered, struct strv chosen)
{
    struct strv part;

    while (strv_split(&offered, ',', &part)) {
        if (strv_eq(strv_trim(part), chosen))
            return true;
    }
    return false;
}

const char *ws_response_fault(const struct http1_head *head, const char *accept,
                              struct strv offered, struct strv *chosen)
{
    struct strv value;

    *chosen = STRV_NONE;
    if (!http1_has_token(head, STRV("upgrade"), STRV("websocket")) ||
        !http1_has_token(head, STRV("connection"), STRV("upgrade")))
        return "it switches to something that is no WebSocket";
    if (!single(head, STRV("sec-websocket-accept"), &value) || !strv_eq(value, strv_z(accept)))
        return "it does not answer the key of the handshake";
    if (http1_find(head, STRV("sec-websocket-extensions")))
        return "it takes an extension that was not offered";
    if (!single(head, STRV("sec-websocket-protocol"), &value) ||
        (http1_find(head, STRV("sec-websocket-protocol")) && !is_offered(offered, value)))
        return "it takes a subprotocol that was not offered";
    *chosen = value;
    return NULL;
}
