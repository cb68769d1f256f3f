/*
 * journal_int.h - what the journal's writer and the ledger's sync thread share.
 */
#ifndef METERING_LEDGER_JOURNAL_INT_H
#define METERING_LEDGER_JOURNAL_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metering/ledger/journal.h"

#define JOURNAL_SUFFIX     ".tgj"
#define JOURNAL_TMP_SUFFIX ".tmp"
#define JOURNAL_BAD_SUFFIX ".bad" /* after the name of one that was set aside */

/*
 * The lock is held for a few instructions: by the worker when it rotates, by the
 * sync thread when it takes the descriptors.  Never during a system call that may
 * wait.
 */
struct journal_tail {
    pthread_mutex_t lock;
    int fd;       /* of the current segment; under lock */
    int *retired; /* of rotated ones, not yet synced; under lock */
    size_t n_retired;
    unsigned generation; /* of segments: the folder must be synced when it moved; under lock */
    bool attached;       /* someone syncs; under lock */
    int dir_fd;
    int event_fd;
    _Atomic uint64_t written;   /* by the worker, after write(2) */
    _Atomic uint64_t synced;    /* by the sync thread */
    _Atomic bool sync_failed;   /* the last sync failed */
    unsigned synced_generation; /* sync thread */
    bool is_told;               /* that synced moved; sync thread */
};

struct journal_tail *journal_tail_of(struct journal *j);

#endif
