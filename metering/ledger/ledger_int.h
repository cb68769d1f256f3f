/*
 * ledger_int.h - the ledger's own state: the ingest cycle (cycle.c), recovery
 * (recover.c), threads and the public face (ledger.c).
 */
#ifndef METERING_LEDGER_LEDGER_INT_H
#define METERING_LEDGER_LEDGER_INT_H

#include <pthread.h>

#include "base/list.h"
#include "metering/ledger/chore.h"
#include "metering/ledger/dict.h"
#include "metering/ledger/expire_clock.h"
#include "metering/ledger/ingest.h"
#include "metering/ledger/journal_int.h"
#include "metering/ledger/ledger.h"
#include "metering/ledger/segment.h"
#include "metering/ledger/syncer.h"

enum {
    BATCH_ENTRIES = 50000,     /* of one transaction */
    BATCH_BYTES = 32 << 20,    /* (the same) */
    BAD_PATIENCE_US = 2000000, /* an entry of a living writer may be half written so long */
    AS_OF_IDLE_US = 5000000,   /* while nothing happens the ledger says so that often */
    BACKOFF_MAX_MS = 1000,
    /* From so many entries a batch on, batches are collected so many times as long. */
    LOADED_ENTRIES = 100,
    LOADED_TIMES = 10,
    EXPIRE_LINES = 500, /* deleted in one transaction */
    EXPIRE_SHARE = 2,   /* of the pause between two cycles, one part in so many goes to it */
    EXPIRE_LOOK_US = 60000000, /* while nothing is too old */
    SEAL_SHARE = 2,            /* as EXPIRE_SHARE */
    OPEN_BUSY_MS = 250,        /* the longest that one attempt to open waits for another's lock */
};

struct ledger {
    char *path, *journal_dir;
    enum ledger_sync sync;
    int ingest_interval_ms;
    int dir_fd, lock_fd;
    int64_t installation, start;
    struct syncer *syncer;

    /* Of the ingest thread, or of ledger_start before it runs. */
    struct ingest *in;
    struct list_node segments; /* in order of name: by worker, then by time */
    size_t n_segments;
    struct segment_window window;
    struct dict open; /* id of a BEGIN without END: its segment */
    struct record record; /* that is read now: too large to be made each time */
    bool in_batch;
    size_t batch_entries, batch_bytes;
    size_t last_entries;       /* of the batch that was committed last */
    struct ledger_stats batch; /* counted in the open transaction */
    struct ledger_stats unopened; /* of segments that wait for the database, counted now */
    int64_t as_of_us;          /* as committed last */
    bool is_failing;
    int keep_days;
    struct chore expire;  /* looking for old lines */
    struct expire_clock expire_clock;
    int64_t expire_noted_us; /* what it said, as the database has it */
    uint64_t expired;     /* since that was told last */
    uint64_t sealed;      /* blocks of facts made of old records */
    bool is_sealed;       /* there are no more */
    struct chore seal;
    struct cube_make *cube;            /* being made */
    struct tally_make *tally;          /* the same; one of them at a time */
    struct ledger_reader *cube_reader; /* for both */
    uint64_t cubes, tallies;           /* made since that was told last */
    const struct cube_limits *cube_limits; /* borrowed; NULL: CUBE_..._MAX */
    bool has_no_earlier_cubes;         /* of an earlier version */
    bool is_charged;                   /* every block of columns has its charges */
    uint64_t charged;                  /* blocks that were given them */
    struct chore add_up;               /* looking for days and tasks */
    struct dict *begun; /* while recovering: id: copy of the BEGIN, struct begun */
    struct dict past;   /* until that is done: names of the segments of earlier processes */
    ledger_recovered_fn *recovered;
    void *recovered_arg;
    int64_t started_us;

    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;
    pthread_cond_t wake, told;
    bool is_stopping;     /* the rest under lock */
    bool is_open;         /* the database is, and what earlier processes left is in it */
    uint64_t asked, done; /* catch-ups */
    struct ledger_stats stats;
};

/* While recovering: what the newest BEGIN of an id said, and where it stands. */
struct begun {
    struct segment *segment;
    struct uuid id;
    int64_t at_us; /* when it was said: end_us of its record */
    size_t n_common, n_own;
    char parts[]; /* what it shares, and the rest */
};

/* cycle.c: reads all that is there and commits it. *more: stopped at a batch's end. */
enum rc ledger_cycle(struct ledger *l, bool *more, struct fail *fail) RC_MUST;
/* Each name in the journal's folder; ends with the first that fn refuses. */
typedef enum rc ledger_name_fn(struct ledger *l, const char *name, struct fail *fail);
enum rc ledger_each_name(struct ledger *l, ledger_name_fn *fn, struct fail *fail) RC_MUST;
/* Opens what is new in the folder. */
enum rc ledger_look(struct ledger *l, struct fail *fail) RC_MUST;
/* One segment, as far as it goes or the batch allows. */
enum rc ledger_read_segment(struct ledger *l, struct segment *s, bool *more,
                            struct fail *fail) RC_MUST;
enum rc ledger_commit(struct ledger *l, int64_t as_of_us, struct fail *fail) RC_MUST;
/* The entries since the last commit will be read again. */
void ledger_undo(struct ledger *l);
/* Removes the files of which nothing is needed any more. */
void ledger_remove_done(struct ledger *l);
enum { SEGMENT_BAD_NAME_BYTES = SEGMENT_NAME_BYTES + sizeof(JOURNAL_BAD_SUFFIX) };
/* recover.c: what a file is called that is kept for an entry that was not understood. */
void ledger_bad_name(const char *name, char out[SEGMENT_BAD_NAME_BYTES]);
/*
 * In a transaction: a segment's file is gone.  is_kept: it has the other name now; up to where it was
 * taken stays known for ever, in case it is put back.
 */
enum rc ledger_forget(struct ledger *l, const char *name, bool is_kept, struct fail *fail) RC_MUST;
/* Begins a transaction unless one is open. */
enum rc ledger_open_batch(struct ledger *l, struct fail *fail) RC_MUST;

/*
 * expire.c: deletes lines that are too old, in transactions of EXPIRE_LINES, for part of the
 * pause of pause_ms that the ingest thread has now; the next pause goes on.
 */
void ledger_expire(struct ledger *l, int pause_ms);

/* One of the chores failed: counted, told, put off. */
void ledger_put_off(struct ledger *l, struct chore *c, const char *what, const struct fail *fail);
/* Somebody waits for the thread: what can wait ends. */
bool ledger_is_wanted(struct ledger *l);
/* seal.c: makes blocks of facts of what an older version left, in the same way. */
void ledger_seal(struct ledger *l, int pause_ms);

/* cuber.c: adds up tasks, and days that are over, in the same way. */
void ledger_add_up(struct ledger *l, int pause_ms);
void ledger_forget_cube(struct ledger *l);

/* While the database cannot be opened: how much waits, for ledger_stats. */
void ledger_count_unopened(struct ledger *l);

/*
 * recover.c, while recovering: a BEGIN with all that stored has of it, in place of an earlier one of
 * its id; false: what is kept is newer.
 */
struct stored_record;
bool ledger_keep_begun(struct ledger *l, struct segment *s, const struct record *r,
                       const struct stored_record *stored);
/* recover.c: notes what is there before this process has a journal. */
enum rc ledger_note_past(struct ledger *l, struct fail *fail) RC_MUST;
/* All that earlier processes left, complete and durable; one attempt. */
enum rc ledger_recover(struct ledger *l, struct fail *fail) RC_MUST;

#endif
