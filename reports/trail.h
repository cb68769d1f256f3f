/*
 * trail.h - who changed what: a line for each change of what bills and budgets are made of.
 *
 * <state_dir>/trail.jsonl, only ever appended to, each line on disk when trail_append returns.
 * A line holds the SHA-256 of the line before it: who alters one, or takes one out, breaks the
 * chain.  It holds the SHA-256 of its object before and after the change as well: where what was
 * found is not what the last change left, somebody else's hand was in between.  One process
 * writes at a time (a lock on the file).  Whatever was written of a line when the power went is
 * taken out by the next.
 */
#ifndef REPORTS_TRAIL_H
#define REPORTS_TRAIL_H

#include <stdint.h>

#include "base/rc.h"
#include "base/strv.h"

enum {
    TRAIL_MAX_BYTES = 64 << 20,    /* then nothing more is noted: move the file away */
    TRAIL_TEXT_MAX_BYTES = 1000,   /* of each text of a line; longer ones are cut */
    TRAIL_LINE_MAX_BYTES = 48 << 10, /* six texts in which each byte is escaped, and the rest */
    TRAIL_LOCK_WAIT_MS = 2000,
    TRAIL_ACTOR_TEXT = 256,
};

struct trail_change {
    int64_t at_us;      /* 0: now */
    const char *actor;  /* NULL: the user of this process (trail_actor) */
    const char *action; /* "import", "close", "key create", "reload", ... */
    const char *object; /* "books/plan", "closed/2026-10", "keys", "configuration", ... */
    const char *detail; /* which file, which name, why; NULL: nothing */
    const char *before, *after; /* SHA-256 of the object in hex; NULL: there was none, or no one */
};

/*
 * Who runs this process: the user who called sudo, else the user it runs as, by /etc/passwd;
 * "uid 1000" where that does not name it.
 */
void trail_actor(char out[TRAIL_ACTOR_TEXT]);

/*
 * Nothing is written where before and after are the same.  RC_LIMIT at TRAIL_MAX_BYTES,
 * RC_TIMEOUT where another holds the lock, RC_IO with fail.
 */
enum rc trail_append(const char *state_dir, const struct trail_change *change,
                     struct fail *fail) RC_MUST;
/*
 * The same, but before is what the last line about the object left of it, whatever the change
 * says.
 */
enum rc trail_observe(const char *state_dir, const struct trail_change *change,
                      struct fail *fail) RC_MUST;
/* The same as trail_append; says on standard error where it fails: what was done stays done. */
void trail_note(const char *state_dir, const struct trail_change *change);

enum trail_status {
    TRAIL_GOOD = 0,
    TRAIL_ALTERED, /* it does not follow the line before it, or cannot be read */
    TRAIL_GAP,     /* its object had been changed since the trail's last line about it */
};
/* Texts live for the call; of a line that cannot be read they are NULL, and at_us 0. */
typedef enum rc trail_fn(const struct trail_change *change, enum trail_status status, void *arg);
/*
 * Each line, oldest first; what fn returns ends it unless it is RC_OK.  Nothing where there is no
 * file.  head: the SHA-256 of the last line in hex (SHA256_HEX bytes), empty where there is none;
 * who keeps it elsewhere can tell that nothing was cut off.  May be NULL.
 */
enum rc trail_read(const char *state_dir, trail_fn *fn, void *arg, char *head,
                   struct fail *fail) RC_MUST;

/* The SHA-256 of bytes in hex: SHA256_HEX bytes. */
void trail_hash(struct strv bytes, char *out);

#endif
