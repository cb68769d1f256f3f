/*
 * socket.h - the provider's WebSockets: OpenAI's responses and realtime, Google's Live, and
 * recorded sessions.
 *
 * Frames are read and written here with code of its own, which knows nothing of the gateway's.
 * Every answer is billed; what was received is in the books as the request's body, a message a
 * line.  Headers of the handshake ask for misbehaviour (docs/testing.md).
 */
#ifndef PROVIDER_SOCKET_H
#define PROVIDER_SOCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "tests/provider/endpoint.h"

enum { SOCKET_OUT_MAX_BYTES = 64 << 20 };

struct session;

/* The request asks for a WebSocket that is here, with a key that is let in. */
bool socket_is_asked(const struct settings *settings, const struct request *r);
/* Opens it; number: in the books. The handshake's answer is appended to out. */
struct session *socket_open(const struct settings *settings, struct request *r, uint64_t number,
                            struct buf *out);
/* Takes whole frames from in. False: nothing more will be taken. */
bool socket_take(struct session *s, struct buf *in, struct buf *out);
/* The next event that waits goes to out; *delay_ms: after how long it may. False: none waits. */
bool socket_next(struct session *s, struct buf *out, uint64_t *delay_ms);
/* How it is to end now: NULL, "close" (in order) or "cut". */
const char *socket_end(const struct session *s);
void socket_free(struct session *s);

#endif
