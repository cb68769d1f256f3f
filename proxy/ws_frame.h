/*
 * ws_frame.h - frames of a WebSocket (RFC 6455 section 5): strict, incremental, without
 * allocation.
 *
 * One reader a direction.  What one end may read otherwise than the other is refused: reserved
 * bits and opcodes, a mask where none may be or none where one must, lengths spelled longer
 * than they need, control frames that are long or in pieces, data frames out of order, close
 * codes that may not be sent.  No extension is ever agreed on, so no reserved bit has a meaning.
 *
 * Text is not checked for UTF-8 here: that takes whole messages (xchg_message.c does it for a client's).  Nor are frames
 * counted: that takes a clock (socket_frame_good).
 */
#ifndef PROXY_WS_FRAME_H
#define PROXY_WS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strv.h"

enum {
    WS_HEAD_MAX_BYTES = 14,    /* two, a length of eight, a mask of four */
    WS_CONTROL_MAX_BYTES = 125, /* of a control frame's payload (5.5) */
    WS_MASK_BYTES = 4,
};

enum ws_opcode {
    WS_CONTINUATION = 0,
    WS_TEXT = 1,
    WS_BINARY = 2,
    WS_CLOSE = 8,
    WS_PING = 9,
    WS_PONG = 10,
};

/* Close codes that the gateway itself sends (7.4.1; 1012 to 1014 are registered with IANA). */
enum ws_code {
    WS_CODE_NORMAL = 1000,
    WS_CODE_GOING_AWAY = 1001,
    WS_CODE_PROTOCOL = 1002,
    WS_CODE_NO_TEXT = 1007,
    WS_CODE_POLICY = 1008,
    WS_CODE_TOO_LARGE = 1009,
    WS_CODE_BAD_GATEWAY = 1014,
};

#define WS_FAULTS(X)                                                                           \
    X(WS_OK, "ok")                                                                             \
    X(WS_BAD_RESERVED, "a reserved bit is set, and no extension was agreed on")               \
    X(WS_BAD_OPCODE, "a reserved opcode")                                                      \
    X(WS_BAD_MASK, "masked where it must not be, or not where it must")                        \
    X(WS_BAD_LENGTH, "a length that is not spelled as short as it can be")                     \
    X(WS_BAD_CONTROL, "a control frame that is in pieces or too long")                         \
    X(WS_BAD_ORDER, "a data frame out of order")                                               \
    X(WS_BAD_CLOSE, "a close frame with a code that may not be sent, or half of one")          \
    X(WS_BAD_TEXT, "text that is no UTF-8")                                                    \
    X(WS_TOO_MANY, "frames that do nothing, without end")                                      \
    X(WS_TOO_LARGE, "a message larger than may pass")

enum ws_fault {
#define WS_FAULT_ID(id, text) id,
    WS_FAULTS(WS_FAULT_ID)
#undef WS_FAULT_ID
};
const char *ws_fault_text(enum ws_fault fault);

/* What ws_read has found. */
enum ws_found {
    WS_MORE = 0, /* all bytes are read, and nothing more is whole */
    WS_FRAME,    /* a data frame begins */
    WS_DATA,     /* some of its payload, or its end */
    WS_CONTROL,  /* a control frame, whole */
    WS_FAULTY,   /* see fault; nothing after it is read */
};

struct ws_piece {
    enum ws_opcode opcode; /* WS_TEXT or WS_BINARY: of the message, also in its later frames */
    /*
     * WS_FRAME: the frame's head as it came.  WS_DATA: payload without its mask, in the bytes
     * given; may be empty where something ends.  WS_CONTROL: payload without its mask.
     */
    struct strv bytes;
    bool ends_frame;   /* WS_DATA */
    bool ends_message; /* WS_DATA */
    bool begins_message; /* WS_FRAME */
};

struct ws_reader {
    bool masked;           /* frames of a client are, those of a server are not (5.1) */
    uint64_t message_max;  /* bytes of one message */
    enum ws_fault fault;
    /* private: */
    bool in_message, in_payload, final;
    enum ws_opcode opcode, message_opcode;
    uint64_t left;    /* of the frame's payload */
    uint64_t message; /* bytes of the message, with this frame */
    size_t head_n, control_n;
    unsigned at; /* place in the mask */
    unsigned char mask[WS_MASK_BYTES];
    char head[WS_HEAD_MAX_BYTES];
    char control[WS_CONTROL_MAX_BYTES];
};

/* from_client: whose frames are read. */
void ws_reader_init(struct ws_reader *r, bool from_client, uint64_t message_max);
/*
 * Reads from *bytes, which moves behind what was read, and unmasks there.  To be called until
 * it gives WS_MORE or WS_FAULTY; a piece is valid until the next call.
 */
enum ws_found ws_read(struct ws_reader *r, char **bytes, size_t *n, struct ws_piece *piece);
/* Of what ws_read gave, no frame is under way: a frame of another's may stand behind it. */
bool ws_is_between_frames(const struct ws_reader *r);
/* Likewise of a message: also data may. */
bool ws_is_between_messages(const struct ws_reader *r);

/*
 * The code of a close frame's payload; 0 where it has none.  False where that may not be sent
 * (5.5.1, 7.4): half a code, one that is reserved, or a reason that is no UTF-8.
 */
bool ws_close_code(struct strv payload, unsigned *code);

/*
 * Writes the head of a final frame; mask NULL: a server's.  Returns its length.
 */
size_t ws_head(enum ws_opcode opcode, uint64_t n, const unsigned char mask[WS_MASK_BYTES],
               char out[WS_HEAD_MAX_BYTES]);
/* Puts on, or takes off, a mask from its byte `at` (0 to 3) on. */
void ws_mask(char *p, size_t n, const unsigned char mask[WS_MASK_BYTES], unsigned at);

#endif
