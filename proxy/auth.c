#include "proxy/auth.h"

#include <string.h>

#include <openssl/crypto.h>

#include "proxy/field_traits.h"
#include "proxy/percent.h"

/* What every secret made by `tollgate key create` begins with. */
static const struct strv virtual_prefix = {"tg_", 3};

bool auth_is_virtual(struct strv text)
{
    return strv_starts(text, virtual_prefix);
}

const char *auth_result_name(enum auth_result result)
{
    switch (result) {
    case AUTH_OK:
        return "ok";
    case AUTH_MISSING:
        return "missing";
    case AUTH_UNKNOWN:
        return "unknown";
    case AUTH_EXPIRED:
        return "expired";
    case AUTH_REVOKED:
        return "revoked";
    case AUTH_NO_CERTIFICATE:
        return "no_certificate";
    }
    return "unknown";
}

struct strv auth_message(void)
{
    return STRV(
        "the virtual key is missing or not valid; send a tollgate key where the SDK puts "
        "its API key");
}

/*
 * The access key id of a signature: AWS4-HMAC-SHA256 Credential=ID/20150830/... (the clients
 * of AWS give a virtual key as their id; see docs/configuration.md).
 */
static struct strv signer(struct strv value)
{
    static const struct strv mark = {"Credential=", 11};
    const char *found = memmem(value.p, value.n, mark.p, mark.n);
    struct strv id;

    if (!found)
        return STRV_NONE;
    id = strv_skip(value, (size_t)(found - value.p) + mark.n);
    return strv_head(id, strv_find(id, '/'));
}

/* The rest of "Bearer x" or "Token x" (Deepgram, older clients of Replicate), or who signed; the
 * value itself where optional, or where it is one word (AssemblyAI), else empty. */
static struct strv after_bearer(struct strv value, bool optional)
{
    if (strv_starts_nocase(value, STRV("bearer ")))
        return strv_trim(strv_skip(value, sizeof("bearer ") - 1));
    if (strv_starts_nocase(value, STRV("token ")))
        return strv_trim(strv_skip(value, sizeof("token ") - 1));
    if (strv_starts(value, STRV("AWS4-HMAC-SHA256")))
        return signer(value);
    return optional || strv_find(value, ' ') == value.n ? value : STRV_NONE;
}

static enum auth_result standing(const struct key_config *key, int64_t now_us)
{
    if (key->disabled)
        return AUTH_REVOKED;
    return key->expires_us <= now_us ? AUTH_EXPIRED : AUTH_OK;
}

/* Looks one credential up; true where it decides. */
static bool decide(struct key_memo *keys, struct strv secret, int64_t now_us,
                   enum auth_result *result, const struct key_config **key)
{
    const struct key_config *found;

    if (secret.n == 0)
        return false;
    *result = AUTH_UNKNOWN;
    if (secret.n > AUTH_SECRET_MAX_BYTES)
        return false;
    found = key_memo_find(keys, secret);
    if (!found)
        return false;
    *key = found;
    *result = standing(found, now_us);
    return true;
}

/*
 * Where clients that can set no header put a key: Google's (key, access_token), Azure's in browsers
 * (api-key, Authorization), ElevenLabs' (xi-api-key, xi_api_key, authorization, single_use_token, token),
 * AssemblyAI's (token).  No provider of docs/providers.md has one of these mean anything else.
 */
bool auth_is_credential_parameter(struct strv encoded)
{
    static const struct strv names[] = {
        {"key", 3},        {"access_token", 12}, {"api-key", 7},
        {"xi-api-key", 10}, {"xi_api_key", 10},   {"authorization", 13},
        {"token", 5},      {"single_use_token", 16},
    };
    char text[32];
    size_t n = 0;

    if (percent_decode(encoded, text, sizeof(text), &n) != RC_OK)
        return false;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strv_eq_nocase(strv_make(text, n), names[i]))
            return true;
    }
    return false;
}

static void split_parameter(struct strv part, struct strv *name, struct strv *value)
{
    size_t at = strv_find(part, '=');

    *name = strv_head(part, at);
    *value = strv_skip(part, at + 1);
}

/* The credential in a decoded value: forms write the space of "Bearer x" as '+'. */
static struct strv credential_in(char *text, size_t n)
{
    size_t plus = strv_find(strv_make(text, n), '+');
    struct strv scheme = strv_make(text, plus);

    if (plus < n && (strv_eq_nocase(scheme, STRV("bearer")) || strv_eq_nocase(scheme, STRV("token"))))
        text[plus] = ' ';
    return after_bearer(strv_make(text, n), true);
}

/* The first parameter that names a key decides, whatever stands beside it. */
static bool decide_query(struct key_memo *keys, struct strv query, int64_t now_us,
                         enum auth_result *result, const struct key_config **key)
{
    char text[AUTH_SECRET_MAX_BYTES];
    struct strv rest = query;
    struct strv part, name, value;
    bool decided = false;
    size_t n = 0;

    while (!decided && strv_split(&rest, '&', &part)) {
        split_parameter(part, &name, &value);
        if (value.n == 0 || !auth_is_credential_parameter(name))
            continue;
        *result = AUTH_UNKNOWN;
        if (percent_decode(value, text, sizeof(text), &n) != RC_OK)
            continue;
        decided = decide(keys, credential_in(text, n), now_us, result, key);
        OPENSSL_cleanse(text, n);
    }
    return decided;
}

/* Every field of that name, in case an empty one stands before the real one. */
static bool decide_header(struct key_memo *keys, const struct http1_head *head,
                          struct strv name, int64_t now_us, enum auth_result *result,
                          const struct key_config **key)
{
    bool authorization = strv_eq(name, STRV("authorization"));

    if (!http1_may_have(head, name))
        return false;
    for (size_t i = 0; i < head->n_headers; i++) {
        const struct http1_header *h = &head->headers[i];

        if (strv_eq_nocase(h->name, name) &&
            decide(keys, after_bearer(h->value, !authorization), now_us, result, key))
            return true;
    }
    return false;
}

static const struct strv subprotocol_prefix = {"openai-insecure-api-key.", 24};

/* The key in a member of Sec-WebSocket-Protocol; empty where it holds none. */
static struct strv subprotocol_key(struct strv member)
{
    return strv_starts(member, subprotocol_prefix) ? strv_skip(member, subprotocol_prefix.n)
                                                   : STRV_NONE;
}

bool auth_subprotocol_stays(struct strv member, enum credentials credentials)
{
    struct strv key = subprotocol_key(member);

    return auth_is_virtual(member) || auth_is_virtual(key) ||
           (key.n > 0 && credentials == CREDENTIALS_PROXY);
}

static bool decide_subprotocol(struct key_memo *keys, const struct http1_head *head,
                               int64_t now_us, enum auth_result *result,
                               const struct key_config **key)
{
    if (!http1_may_have(head, STRV("sec-websocket-protocol")))
        return false;
    for (size_t i = 0; i < head->n_headers; i++) {
        struct strv rest = head->headers[i].value, member;

        if (!strv_eq_nocase(head->headers[i].name, STRV("sec-websocket-protocol")))
            continue;
        while (strv_split(&rest, ',', &member)) {
            if (decide(keys, subprotocol_key(strv_trim(member)), now_us, result, key))
                return true;
        }
    }
    return false;
}

enum auth_result auth_find(struct key_memo *keys, enum credentials credentials,
                           const struct http1_head *head, struct strv query, int64_t now_us,
                           const struct key_config **key)
{
    enum auth_result result = AUTH_MISSING;

    *key = NULL;
    if (credentials == CREDENTIALS_PROXY) {
        if (decide_header(keys, head, STRV("authorization"), now_us, &result, key) ||
            decide_header(keys, head, STRV("x-api-key"), now_us, &result, key) ||
            decide_header(keys, head, STRV("api-key"), now_us, &result, key) ||
            decide_header(keys, head, STRV("x-goog-api-key"), now_us, &result, key) ||
            decide_header(keys, head, STRV("xi-api-key"), now_us, &result, key) ||
            decide_query(keys, query, now_us, &result, key) ||
            decide_subprotocol(keys, head, now_us, &result, key))
            return result;
    }
    (void)decide_header(keys, head, STRV("x-tollgate-key"), now_us, &result, key);
    return result;
}

/*
 * A name's first letter in lower case.  Each header field of each request is judged
 * here, so few names are compared as a whole.
 */
static char first_letter(struct strv name)
{
    return name.n > 0 ? (char)(name.p[0] | 0x20) : '\0';
}

bool auth_is_credential_header(struct strv name)
{
    switch (first_letter(name)) {
    case 'a':
        return field_is_named(name, STRV("authorization")) ||
               field_is_named(name, STRV("api-key"));
    case 'c':
        return field_is_named(name, STRV("cookie")) ||
               field_is_named(name, STRV("cf-aig-authorization"));
    case 'h':
        return field_is_named(name, STRV("helicone-auth"));
    case 'o':
        return field_is_named(name, STRV("ocp-apim-subscription-key"));
    case 'p':
        return field_is_named(name, STRV("proxy-authorization"));
    case 'x':
        return field_is_named(name, STRV("x-api-key")) ||
               field_is_named(name, STRV("x-goog-api-key")) ||
               field_is_named(name, STRV("xi-api-key")) ||
               field_is_named(name, STRV("x-tollgate-key")) ||
               field_is_named(name, STRV("x-amz-security-token")) ||
               field_is_named(name, STRV("x-amz-date")) ||
               field_is_named(name, STRV("x-amz-content-sha256")) ||
               field_is_named(name, STRV("x-litellm-api-key")) ||
               field_is_named(name, STRV("x-portkey-api-key")) ||
               field_is_named(name, STRV("x-portkey-virtual-key")) ||
               field_is_named(name, STRV("x-auth-token"));
    }
    return false;
}

/* Some servers take these for another method or path than those that were admitted. */
static bool rewrites_request(struct strv name)
{
    return field_name_starts(name, STRV("x-http-method")) ||
           field_is_named(name, STRV("x-method-override")) ||
           field_is_named(name, STRV("x-original-url")) ||
           field_is_named(name, STRV("x-original-uri")) ||
           field_is_named(name, STRV("x-rewrite-url"));
}

bool auth_is_internal_header(struct strv name)
{
    switch (first_letter(name)) {
    case 'c':
        return field_name_starts(name, STRV("cf-aig-")) ||
               field_is_named(name, STRV("cf-connecting-ip")) ||
               field_is_named(name, STRV("cookie"));
    case 'f':
        return field_is_named(name, STRV("forwarded"));
    case 'h':
        return field_name_starts(name, STRV("helicone-"));
    case 'p':
        return field_name_starts(name, STRV("proxy-"));
    case 's': /* of this hop's handshake, and may carry a key */
        return field_name_starts(name, STRV("sec-websocket-"));
    case 't':
        return field_is_named(name, STRV("true-client-ip"));
    case 'x':
        return field_name_starts(name, STRV("x-tollgate-")) ||
               field_name_starts(name, STRV("x-forwarded-")) ||
               field_name_starts(name, STRV("x-portkey-")) ||
               field_name_starts(name, STRV("x-litellm-")) ||
               field_is_named(name, STRV("x-stainless-retry-count")) ||
               field_is_named(name, STRV("x-real-ip")) ||
               field_is_named(name, STRV("x-client-ip")) || rewrites_request(name);
    }
    return false;
}

bool auth_header_travels(const struct http1_header *header, enum credentials credentials)
{
    unsigned traits = field_traits(header);

    if (traits & (FIELD_INTERNAL | FIELD_KEY))
        return false;
    if (!(traits & FIELD_CREDENTIAL))
        return true;
    return credentials == CREDENTIALS_CLIENT && !auth_is_virtual(after_bearer(header->value, true)) &&
           !field_holds_key(header->value);
}

/*
 * Has a parameter's value the form of a virtual key?  Only its beginning tells; an escape that is
 * none stands for itself, so that nothing hides behind it.
 */
static bool value_is_virtual(struct strv value)
{
    char start[32];
    size_t n = 0, blank = 0, one;

    while (n < sizeof(start) && value.n > 0) {
        if (percent_decode(strv_head(value, 3), start + n, 1, &one) == RC_OK && one == 1 &&
            value.p[0] == '%') {
            value = strv_skip(value, 3);
        } else {
            start[n] = value.p[0];
            value = strv_skip(value, 1);
        }
        n++;
    }
    while (blank < n && (start[blank] == '+' || start[blank] == ' '))
        blank++;
    return auth_is_virtual(strv_trim(credential_in(start + blank, n - blank)));
}

/* Must this query parameter stay here? */
static bool parameter_stays(struct strv part, enum credentials credentials)
{
    struct strv name, value;

    split_parameter(part, &name, &value);
    return value_is_virtual(value) ||
           (credentials == CREDENTIALS_PROXY && auth_is_credential_parameter(name));
}

static bool shows_virtual_subprotocol(const struct http1_head *head)
{
    for (size_t i = 0; i < head->n_headers; i++) {
        struct strv rest = head->headers[i].value, member;

        if (!strv_eq_nocase(head->headers[i].name, STRV("sec-websocket-protocol")))
            continue;
        while (strv_split(&rest, ',', &member)) {
            if (auth_subprotocol_stays(strv_trim(member), CREDENTIALS_CLIENT))
                return true;
        }
    }
    return false;
}

/* Is there anything that has the form of a virtual key, wherever a credential may be? */
static bool shows_virtual(const struct http1_head *head, struct strv query)
{
    struct strv rest = query;
    struct strv part;

    for (size_t i = 0; i < head->n_headers; i++) {
        const struct http1_header *h = &head->headers[i];

        if (auth_is_credential_header(h->name) &&
            strv_starts(after_bearer(h->value, true), virtual_prefix))
            return true;
    }
    while (strv_split(&rest, '&', &part)) {
        if (parameter_stays(part, CREDENTIALS_CLIENT))
            return true;
    }
    return shows_virtual_subprotocol(head);
}

enum auth_result auth_certificate(const struct config *config, enum auth_result found,
                                  const struct http1_head *head, struct strv query,
                                  const struct peer *peer, int64_t now_us,
                                  const struct key_config **key)
{
    const struct key_config *its;

    if ((found != AUTH_MISSING && found != AUTH_UNKNOWN) || shows_virtual(head, query))
        return found;
    its = config_peer_key(config, peer);
    if (!its)
        return found;
    *key = its;
    return standing(its, now_us);
}

enum rc auth_clean_query(struct strv query, enum credentials credentials, struct arena *arena,
                         struct strv *out)
{
    struct strv rest = query;
    struct strv part;
    bool any = false;
    bool first = true;
    char *copy;
    size_t n = 0;

    while (strv_split(&rest, '&', &part))
        any = any || parameter_stays(part, credentials);
    if (!any) {
        *out = query;
        return RC_OK;
    }
    copy = arena_alloc(arena, query.n + 1);
    if (!copy)
        return RC_LIMIT;
    rest = query;
    while (strv_split(&rest, '&', &part)) {
        if (parameter_stays(part, credentials))
            continue;
        if (!first)
            copy[n++] = '&';
        first = false;
        if (part.n > 0)
            memcpy(copy + n, part.p, part.n);
        n += part.n;
    }
    *out = strv_make(copy, n);
    return RC_OK;
}

enum rc auth_clean_baggage(struct strv value, struct arena *arena, struct strv *out)
{
    struct strv rest = value;
    struct strv part;
    char *copy = arena_alloc(arena, value.n + 1);
    size_t n = 0;

    if (!copy)
        return RC_LIMIT;
    while (strv_split(&rest, ',', &part)) {
        part = strv_trim(part);
        if (part.n == 0 || strv_starts_nocase(part, STRV("tollgate.")))
            continue;
        if (n > 0)
            copy[n++] = ',';
        memcpy(copy + n, part.p, part.n);
        n += part.n;
    }
    *out = strv_make(copy, n);
    return RC_OK;
}
