/*
 * server_int.h - the process's own objects, for server.c, observe.c, rebuild.c and desk.c.
 */
#ifndef PROXY_SERVER_INT_H
#define PROXY_SERVER_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include <event2/event.h>

#include "metering/ledger/ledger.h"
#include "metering/limits/limit.h"
#include "proxy/generation.h"
#include "proxy/memory.h"
#include "proxy/owner.h"
#include "proxy/reload.h"
#include "proxy/server.h"
#include "proxy/worker.h"

struct alerts;
struct observe;
struct tokens;

enum { MAIN_EVENTS = 5 };

struct server {
    struct generation *current; /* written by the main thread under lock */
    pthread_mutex_t lock;
    struct reload reload;
    struct event_base *base;
    struct event *events[MAIN_EVENTS]; /* of the main loop */
    struct event *drain_over;
    struct worker **workers;
    unsigned n_workers;
    int proxy_port;
    char *journal_dir;
    atomic_bool has_owner;  /* the ledger is open, and with it known: */
    char owner[OWNER_TEXT]; /* of what is counted here (owner.h) */
    int64_t start;          /* of the ledger */
    struct ledger *ledger;
    struct collected *collected;
    struct limit_memory *limit_memory;
    struct observe *observe;
    struct rebuild *rebuild;
    struct desk *desk;
    struct alerts *alerts;
    struct tokens *tokens;
    struct repeats *repeats; /* of requests and of their beginnings, for all workers */
    int64_t started_us;
    atomic_size_t connections;
    struct addresses *addresses; /* that have them */
    struct memory memory;
    atomic_uint workers_done;
    atomic_bool draining;
    atomic_uint_fast64_t reloads, reload_failures;
};

/* Whether the ledger is open; once it is, who owns what is counted here. Not by two at once. */
bool server_adopt_ledger(struct server *s);

/* What a recorded request takes of limits. */
struct limit_amounts server_taken(const struct record *r);

#endif
