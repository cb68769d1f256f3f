/*
 * auth.h - who calls: the virtual key of a request, and what of the caller stays here.
 *
 * Finds the key where SDKs put theirs and says which header fields and query
 * parameters must not travel to a provider: credentials, the gateway's own words,
 * what proxies say of a connection.  Does not decide what the key may do (tags.h)
 * and adds no provider credential (the proxy does, by protocol_credential).
 */
#ifndef PROXY_AUTH_H
#define PROXY_AUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/strv.h"
#include "proxy/config.h"
#include "proxy/http1.h"
#include "proxy/keys.h"

/* Why a caller is or is not known; for the log and counters, the caller only learns 401. */
enum auth_result {
    AUTH_OK = 0,
    AUTH_MISSING, /* no credential anywhere */
    AUTH_UNKNOWN, /* no key has that secret */
    AUTH_EXPIRED,
    AUTH_REVOKED,
    AUTH_NO_CERTIFICATE, /* demanded since, expired since, or of authorities trusted no more */
};

struct peer;

enum {
    AUTH_SECRET_MAX_BYTES = 4096, /* longer credentials are not looked at */
};

/* "ok", "missing", ... */
const char *auth_result_name(enum auth_result result);
/* The one sentence that any refused caller gets, whatever the reason. */
struct strv auth_message(void);

/*
 * The key of a request head and query ("a=b&c=d", without '?').  Places in order:
 * Authorization: Bearer, Token or the key alone (or there the access key id of an AWS signature),
 * x-api-key, api-key, x-goog-api-key, xi-api-key, query parameters that carry credentials in their order
 * (percent-decoded; "Bearer x" too), a subprotocol "openai-insecure-api-key.KEY", X-Tollgate-Key; the
 * first that names a key of the configuration decides, be it valid or not.  With CREDENTIALS_CLIENT only X-Tollgate-Key is
 * looked at.  now_us is wall time.  *key is set with AUTH_OK, and with AUTH_EXPIRED
 * and AUTH_REVOKED for the log; else NULL.  It lives as long as the memo's table.
 */
enum auth_result auth_find(struct key_memo *keys, enum credentials credentials,
                           const struct http1_head *head, struct strv query, int64_t now_us,
                           const struct key_config **key);

/*
 * Whom a client certificate may stand for, given what auth_find said of the same head: no
 * key is named, and no credential has the form of a virtual key (what SDKs must have where
 * they want a key, such as "unused", does not count).  peer: verified and in date.
 */
enum auth_result auth_certificate(const struct config *config, enum auth_result found,
                                  const struct http1_head *head, struct strv query,
                                  const struct peer *peer, int64_t now_us,
                                  const struct key_config **key);

/*
 * Must this member of Sec-WebSocket-Protocol stay here?  Browsers cannot set headers on a
 * WebSocket, and send their key as "openai-insecure-api-key.KEY" (OpenAI's realtime).  A virtual
 * key alone (as Deepgram's clients send theirs) stays too.
 */
bool auth_subprotocol_stays(struct strv member, enum credentials credentials);
/* Has the text the form of a virtual key?  It is then repeated to nobody. */
bool auth_is_virtual(struct strv text);
/* Does a field of this name carry a credential (Authorization, x-api-key, cookie, ...)?  As field_judge
 * takes names, here and below. */
bool auth_is_credential_header(struct strv name);
/* Does a query parameter of this name (as it stands in the query) carry a credential (key, access_token,
 * api-key, xi-api-key, xi_api_key, authorization, token, single_use_token; in any case)? */
bool auth_is_credential_parameter(struct strv encoded);
/* Is it a word for this gateway, or of another proxy: X-Tollgate-*, the names of other
 * gateways, X-Stainless-Retry-Count, Forwarded, X-Forwarded-*, X-Real-IP, Proxy-*, or one that would make
 * another method or path of the request? */
bool auth_is_internal_header(struct strv name);
/*
 * True where a request's header field may go to an upstream with these
 * credentials: none in which a virtual key stands, whatever its name.  With
 * CREDENTIALS_CLIENT the caller's own credential passes, but no cookie.  Hop-by-hop fields, Host and
 * framing are the proxy's business and not judged here.
 */
bool auth_header_travels(const struct http1_header *header, enum credentials credentials);
/*
 * The query to send: with CREDENTIALS_PROXY without parameters that carry credentials, whosoever's
 * they are, and in any case without those, of any name, whose value has the form of a virtual key;
 * all else byte for byte.  Gives query itself where nothing was to remove.  RC_LIMIT where the
 * arena is full.
 */
enum rc auth_clean_query(struct strv query, enum credentials credentials, struct arena *arena,
                         struct strv *out) RC_MUST;
/*
 * A `baggage` field (W3C) without its tollgate.* members; empty where none is
 * left (the field is then dropped).  RC_LIMIT where the arena is full.
 */
enum rc auth_clean_baggage(struct strv value, struct arena *arena, struct strv *out) RC_MUST;

#endif
