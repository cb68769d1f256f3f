/*
 * segment.h - reads what a journal writer appends: entries in order, checked.
 *
 * A segment whose writer lives may end in part of an entry: more will come.  One
 * whose writer is gone ends there: the tail is torn.  An entry that does not check
 * is passed over where the next one shows that its length is right.
 */
#ifndef METERING_LEDGER_SEGMENT_H
#define METERING_LEDGER_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/rc.h"
#include "base/strv.h"
#include "metering/ledger/journal.h"

enum { SEGMENT_NAME_BYTES = 64, SEGMENT_WINDOW_BYTES = 1 << 20, SEGMENTS_MAX = 100000 };

struct segment {
    struct list_node link;
    char name[SEGMENT_NAME_BYTES];
    int fd;
    uint64_t position;    /* read up to here */
    uint64_t committed;   /* of that, in the database */
    uint64_t taken;       /* so far it was in the database before it was set aside, and put back */
    bool is_live;         /* its writer holds the lock */
    bool is_ended;        /* its writer is gone and all has been read */
    bool is_gone;         /* its file is no more there: to be closed */
    bool has_bad;         /* an entry's content was not understood: the file is kept */
    unsigned open;        /* BEGINs whose END has not been read */
    int64_t last_us;      /* time of its last entry */
    int64_t bad_since_us; /* the entry at position does not check since; 0: it does */
    struct segment_commons *commons; /* what its records share, as far as they have named it */
};

/* Opens a segment of the folder; NULL with fail. Never creates. */
struct segment *segment_open(int dir_fd, const char *name, struct fail *fail);
void segment_close(struct segment *s);
/*
 * Looks whether the writer is still there; once gone it does not come back.  0, or the errno that
 * says why it could not be told: then it is taken to be there.
 */
int segment_look(struct segment *s);
/* Bytes in the file now; 0 where that cannot be told. */
uint64_t segment_size(const struct segment *s);
/* The same; RC_IO where it cannot be told. */
enum rc segment_find_size(const struct segment *s, uint64_t *size, struct fail *fail) RC_MUST;
enum { SEGMENT_WORKER_BYTES = 6 }; /* "w0001-": which worker's */
/* "w0001-....tgj": a name that a writer gives. */
bool segment_name_is_valid(const char *name);

struct segment_entry {
    enum journal_kind kind; /* of a newer version: another number */
    struct strv payload;
    uint64_t at; /* where it starts */
};

/* Bytes read ahead, of one segment at a time. */
struct segment_window {
    char *bytes; /* SEGMENT_WINDOW_BYTES */
    const struct segment *of;
    uint64_t start;
    size_t n;
};
void segment_window_init(struct segment_window *w);
void segment_window_release(struct segment_window *w);
/* What was read ahead is read again. */
void segment_window_drop(struct segment_window *w);

/*
 * The entry at position, which moves behind it; what records share is passed over.  RC_EOF:
 * nothing whole is there; RC_BAD: what is there does not check.  The payload lives until the
 * next call.
 */
enum rc segment_next(struct segment *s, struct segment_window *w, struct segment_entry *out,
                     struct fail *fail) RC_MUST;
/*
 * After RC_BAD: passes over one entry, if the one behind it checks.  *bytes: of it; 0: it does
 * not.  RC_IO: that could not be read.
 */
enum rc segment_pass(struct segment *s, struct segment_window *w, uint64_t *bytes,
                     struct fail *fail) RC_MUST;

enum { SEGMENT_COMMON_ENTRY_BYTES = JOURNAL_ENTRY_OVERHEAD + 1 + JOURNAL_COMMON_MAX_BYTES };
/*
 * What records share, as the entry that starts at this place says it; out is a view of bytes,
 * which are SEGMENT_COMMON_ENTRY_BYTES.  RC_BAD: no such entry is there; RC_IO with fail.
 */
enum rc segment_read_common(const struct segment *s, uint64_t at, char *bytes, struct strv *out,
                            struct fail *fail) RC_MUST;
/* Legal on NULL. */
void segment_commons_free(struct segment_commons *c);

#endif
