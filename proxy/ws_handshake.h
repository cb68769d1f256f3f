/*
 * ws_handshake.h - how a WebSocket is opened (RFC 6455 section 4), on both sides of a gateway.
 *
 * Each hop has a handshake of its own: the key that the upstream answers is the gateway's, the
 * one that the client is answered is its own.  No extension is offered nor taken, so frames
 * are what they seem.  Pure: reads heads, makes values.
 */
#ifndef PROXY_WS_HANDSHAKE_H
#define PROXY_WS_HANDSHAKE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/rc.h"
#include "proxy/config.h"
#include "proxy/http1.h"

enum {
    WS_KEY_TEXT = 25,    /* 16 random bytes in base64, terminated */
    WS_ACCEPT_TEXT = 29, /* a SHA-1 in base64, terminated */
    WS_SUBPROTOCOLS_MAX = 32, /* that a client may offer */
};

/* A request that asks for a WebSocket; whether it does so well is ws_request_fault's question. */
bool ws_is_upgrade(const struct http1_head *head);
/* What is wrong with the handshake of such a request, in words; NULL: nothing. */
const char *ws_request_fault(const struct http1_head *head);

/* A key for one connection to an upstream. */
void ws_key_make(char out[WS_KEY_TEXT]);
/* What answers a key. */
void ws_accept_make(struct strv key, char out[WS_ACCEPT_TEXT]);

/*
 * The subprotocols to offer upstream: the client's, less those that carry a credential (see
 * auth_subprotocol); empty where none is left.  RC_BAD for what is no list of tokens or too
 * long; RC_LIMIT where the arena is full.
 */
enum rc ws_offer(const struct http1_head *head, enum credentials credentials,
                 struct arena *arena, struct strv *out) RC_MUST;

/*
 * What is wrong with an upstream's answer 101, in words; NULL: nothing, and *chosen is the
 * subprotocol that it took, empty for none.  accept: what our key is to be answered by;
 * offered: what ws_offer gave.
 */
const char *ws_response_fault(const struct http1_head *head, const char *accept,
                              struct strv offered, struct strv *chosen);

/* Is the field of the handshake, which each hop says anew? */
bool ws_is_handshake_header(struct strv name);

#endif
