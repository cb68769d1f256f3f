/*
 * rc.h - result codes.
 *
 * Functions that may fail return enum rc and are marked RC_MUST.  Results and
 * byte counts go out through pointers and are written only on RC_OK.  errno and
 * the OpenSSL queue are read once, where the call failed, and kept in struct
 * fail; the text is made when it is logged.
 */
#ifndef BASE_RC_H
#define BASE_RC_H

#include <stddef.h>

enum rc {
    RC_OK = 0,
    RC_AGAIN,   /* would block: come back when the descriptor or service is ready */
    RC_EOF,     /* the other side ended in good order */
    RC_LIMIT,   /* a named maximum was reached */
    RC_BAD,     /* input breaks its grammar or its meaning */
    RC_IO,      /* the system said no: see fail.sys */
    RC_TLS,     /* the TLS layer said no */
    RC_TIMEOUT, /* a deadline passed */
    RC_DENIED,  /* not allowed */
    RC_STATE,   /* not possible in this state (closed, full, not found) */
};

#define RC_MUST __attribute__((warn_unused_result))

/* What failed: the first failure wins, later ones are its consequences. */
struct fail {
    enum rc rc;
    int sys;           /* errno, 0 where it says nothing */
    unsigned long tls; /* OpenSSL error code, 0 where there is none */
    const char *doing; /* static text: what could not be done */
};

/* Static name of a code, "ok", "again", ... */
const char *rc_name(enum rc rc);

/* Writes "could not DOING: reason" to out (always terminated), without OpenSSL text. */
void fail_text(const struct fail *fail, char *out, size_t size);

#endif
