/*
 * alert_store.h - what has been told and what waits to be delivered, on disk.
 *
 * One file, written whole under another name, synced, and renamed: a crash leaves the
 * state before or after a change.  A delivery is in it before it is tried and leaves it
 * when it arrived, so that a restart loses none; what was told is in it, so that none is
 * repeated.  One thread.
 */
#ifndef PROXY_ALERT_STORE_H
#define PROXY_ALERT_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/alert.h"

enum {
    ALERT_FIRING_MAX = 10000,
    ALERT_OUTBOX_MAX = 10000, /* beyond it new deliveries are dropped, and logged */
    ALERT_STORE_MAX_BYTES = 64 << 20,
};

/* Something that was told and is not over. */
struct alert_firing {
    char group[ALERT_KEY_MAX]; /* one thing, at whatever level */
    unsigned level;            /* thresholds: per cent; else 1 */
    int64_t expires_us;        /* then it is over without a word; 0: never */
    struct alert told;
    bool seen; /* by this look; not kept */
};

struct alert_waiting {
    char channel[ALERT_VALUE_MAX];
    struct alert alert;
    unsigned attempts;
    int64_t next_us;
    bool without_refused; /* e-mail: one of its addresses was refused; not kept */
    bool is_fallback; /* the channel is told because another one failed */
};

struct alert_store {
    char *path;
    struct alert_firing *firing;
    size_t n_firing, cap_firing;
    struct alert_waiting *waiting;
    size_t n_waiting, cap_waiting;
    int64_t digest_us; /* the last weekly digest's hour; 0: none was ever due */
    bool was_lost; /* there was none when it was opened, or it could not be read */
    bool dirty;
};

/* Reads the file; one that is no state of ours is set aside as .bad (and logged). */
void alert_store_open(struct alert_store *s, const char *path);
/* Writes it where anything changed. RC_IO: it stays dirty. */
enum rc alert_store_save(struct alert_store *s) RC_MUST;
void alert_store_close(struct alert_store *s);

struct alert_firing *alert_store_find(struct alert_store *s, const char *group);
/* A new one, or NULL where there are too many. */
struct alert_firing *alert_store_add(struct alert_store *s, const char *group);
void alert_store_drop(struct alert_store *s, size_t i);
/* Puts a delivery into the outbox, due at that time; 0: at once. */
void alert_store_put(struct alert_store *s, const char *channel, const struct alert *a,
                     bool is_fallback, int64_t due_us);
void alert_store_take(struct alert_store *s, size_t i);

#endif
