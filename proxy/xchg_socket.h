/*
 * xchg_socket.h - a connection that became a WebSocket, and the calls on it; for the files
 * named xchg*.c alone.
 *
 *   client  --messages, whole-->  gate  -->  upstream      xchg_message.c
 *   client  <--frames, as they come--------  upstream      xchg_socket.c, xchg_word.c
 *
 * The exchange of the handshake becomes the connection: it relays frames until one side ends,
 * and its record says that it cost nothing.  Each call is an exchange of its own without a
 * client connection, a turn (xchg_turn.c): it is admitted before its message goes upstream,
 * journalled, counted by what the server says of it, and settled, like any other.
 *
 * A turn lives no longer than its socket.  Turns stand before their socket in the worker's list
 * of running exchanges, so that whoever walks through it may end a socket with all its turns.
 */
#ifndef PROXY_XCHG_SOCKET_H
#define PROXY_XCHG_SOCKET_H

#include "metering/usage/live.h"
#include "proxy/idle_frames.h"
#include "proxy/ws_frame.h"
#include "proxy/ws_handshake.h"
#include "proxy/xchg_int.h"

enum {
    SOCKET_TURNS_MAX = 64,       /* under way at once; a further one is refused */
    SOCKET_NOTES_BYTES = 64 << 10, /* error events that wait for the end of a server's message */
    SOCKET_CLOSE_MS = 5000,      /* from one side's close to the other's */
    SOCKET_SPARE_MS = 60000,     /* a reservation made ahead, since the last sound */
    SOCKET_SHUT_MS = 1000,       /* sound is dropped so long after it was refused */
};
/* Bytes of one message of a server's; a client's has the maximum of bodies. */
#define SOCKET_MESSAGE_MAX_BYTES (UINT64_C(1) << 30)

#define SOCKET_STALE "the key of this connection is valid no more"

/* What becomes of the message that waits in x->body. */
enum gate {
    GATE_NONE = 0, /* none waits */
    GATE_WAITS,    /* its turn is being admitted */
    GATE_OPEN,     /* it may go */
    GATE_SHUT,     /* it was refused */
    GATE_SENDING,  /* it is on its way */
};

struct turn {
    struct xchg *x; /* its exchange; it is in that one's arena */
    struct socket *socket;
    struct list_node node; /* of socket->turns */
    char event_id[LIVE_ID_MAX_BYTES]; /* of the message that asked for it */
    char lane[LIVE_LANE_MAX_BYTES];
    char response_id[LIVE_ID_MAX_BYTES]; /* "" until the server says it */
    bool stale;    /* its key or upstream is no more */
    bool spare;    /* reserved ahead, for an answer that the server may begin by itself */
    bool owed;     /* begun by the server: whatever limits say, it is counted */
    bool heard;    /* no answer: what was written down of the client's sound */
    bool admitted; /* S_TURN was reached */
    bool sent;     /* its message is on its way */
    bool begun;    /* the server says so */
    bool over;
    bool cut;      /* told to end early */
    enum end_reason end; /* with over */
    uint64_t audio_in;   /* tokens of sound that it hears, about */
    uint64_t audio_out;  /* sound that it has said, as live_sound_bytes has it */
    struct live_sound speaks;
    struct tap_result seen;
};

struct socket {
    struct xchg *x;
    const struct live_protocol *protocol;
    struct route call; /* of the calls made on it */
    struct live *live;
    struct strv key;             /* ours, to the upstream */
    char accept[WS_ACCEPT_TEXT]; /* that it must answer */
    struct strv offered, chosen; /* subprotocols */
    bool is_open;
    struct ws_reader from_client, from_upstream;
    struct idle_frames idle_client, idle_upstream; /* their frames that did nothing */
    struct buf in;    /* of the client: read, not looked at yet */
    struct buf notes; /* our own frames for the client */
    enum ws_opcode opcode; /* of the message in x->body */
    enum gate gate;
    struct turn *gated; /* that the gate waits for; NULL: it has been decided */
    struct list_node turns;
    unsigned n_turns;
    struct turn *spare;
    int64_t shut_until_us; /* sound is dropped */
    bool client_closes, upstream_closes; /* its close frame has passed */
    bool ending;           /* only what waits for the client is still written */
    bool hopeless;         /* a refusal that the protocol has no words for: close */
    char why[WS_CONTROL_MAX_BYTES - 1]; /* with hopeless: the reason, terminated */
    uint64_t message_bytes; /* of the server's message that passes */

    /* what the session has said of itself */
    char model[REQUEST_MODEL_MAX_BYTES];  /* asked for */
    char served[REQUEST_MODEL_MAX_BYTES]; /* as the server names it */
    char transcriber[REQUEST_MODEL_MAX_BYTES];
    uint64_t session_max;    /* bound of each answer; 0: none */
    uint64_t context_tokens; /* that the last answer has read and added */
    uint64_t text_bytes, audio_bytes; /* said since; sound as live_sound_bytes has it */
    struct live_sound hears, speaks;
    /* Its key, by the configuration in force: looked up once after each reload, and when it
     * expires. A stale one gets no further message through, and is closed once no answer runs. */
    bool is_checked, stale;
    int64_t good_until_us;
};

/* ---- the handshake (xchg_upgrade.c) ---- */
/* The request asks for a WebSocket where there is one: x->socket is made, or it is refused. */
enum step socket_begin(struct xchg *x);
/* Appends the handshake's fields, at most SOCKET_HEADERS_MAX. */
enum { SOCKET_HEADERS_MAX = 5 };
void socket_headers(const struct socket *s, struct http1_header *add, size_t *n);
/* The upstream answered 101 with the head in x->answer. RC_BAD where it may not. */
enum rc socket_accept(struct xchg *x) RC_MUST;
/* Its memory. */
void socket_free(struct socket *s);

/* ---- the connection (xchg_socket.c) ---- */
/* What followed that head. */
enum rc socket_take_early(struct xchg *x, char *bytes, size_t n) RC_MUST;
/* The process ends now. */
enum step socket_stop(struct xchg *x);
/* The exchange has ended, and all calls with it. */
void socket_settle(struct xchg *x);
/* An error event for the client, at the next place where one may stand. */
void socket_refuse(struct socket *s, enum refusal refusal, struct strv message,
                   const char *request_id, const char *event_id, const char *lane);
/* A message of our own to the upstream. */
void socket_say(struct socket *s, struct strv message);

/* A final frame for the upstream, masked. */
enum rc socket_put_up(struct xchg *x, enum ws_opcode opcode, struct strv payload) RC_MUST;

/* What ws_read has found is counted as a frame, or pays for some.  False, and the reader's fault is
 * set: too many did nothing.  No frame of the other side's need pay: 10,000 a minute are many. */
bool socket_frame_good(struct idle_frames *f, struct ws_reader *r, enum ws_found found,
                       const struct ws_piece *piece);

/* What a round of one direction came to. */
enum side { SIDE_WAITS = 0, SIDE_MORE, SIDE_GONE, SIDE_BAD, SIDE_OTHER_GONE };

/* ---- the client's messages (xchg_message.c) ---- */
/* A round from the client to the upstream. */
enum side socket_pump_up(struct xchg *x);

/* ---- its calls (xchg_turn.c) ---- */
/* The key and upstream of a WebSocket, or of a two-way stream, as the newest configuration has them,
 * or NULL: no more, or not for each other. */
const struct key_config *socket_key(const struct xchg *x, const struct config *config,
                                    int64_t now_us, const struct upstream_config **upstream);
/* A new one, of nobody's asking yet. */
struct turn *turn_make(struct socket *s);
/* One more that the server began may be counted; false where that is abuse: the connection then
 * ends. */
bool turn_may_owe(struct socket *s);
/* One that the server began with word; NULL: see turn_may_owe. */
struct turn *turn_open_owed(struct socket *s, const struct live_word *word);
/* Copies text that is known to fit. */
void turn_keep_text(char *to, size_t size, const char *from);
/* Its model is the session's, unless its answer named one. */
void turn_take_served(struct turn *t);
/* A message asks for an answer (facts from ask, or from the message itself), or sound may: the
 * gate waits for its admission. */
void turn_open(struct socket *s, const struct live_ask *ask, struct strv message);
void turn_open_spare(struct socket *s);
/* What was reserved ahead is not needed, and goes back now. */
void turn_end_spare(struct socket *s);
/* Its message goes upstream now. */
void turn_sent(struct turn *t);
/* A message of the server's has passed (xchg_word.c). */
void turn_word(struct socket *s, const struct live_word *word);
/* All end, for that reason. */
void turns_end(struct socket *s, enum end_reason end);
/* Answers are under way or asked for. */
bool turns_run(const struct socket *s);
/* For the states that turns share with other exchanges. */
bool turn_is_owed(const struct xchg *x);
bool turn_has_sound(const struct xchg *x);
uint64_t turn_output(const struct xchg *x);
enum step turn_refused(struct xchg *x, enum refusal refusal, struct strv message);
void turn_cut(struct xchg *x, const char *message, enum refusal refusal);
/* Adds what was said to an estimate. */
void turn_add_sound(struct xchg *x);
/* It was settled. */
void turn_settled(struct xchg *x);

extern const struct xchg_state S_SOCKET, S_TURN_START, S_TURN;

#endif
