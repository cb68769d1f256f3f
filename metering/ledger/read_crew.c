#include "metering/ledger/read_crew.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "base/check.h"
#include "metering/ledger/read_cube.h"
#include "metering/ledger/read_fact.h"

enum { PIECE_MOST = 16, PIECES_EACH = 8 };

/* ---- pieces ------------------------------------------------------------------------------- */

void crew_cut(struct crew_pieces *c, size_t n, size_t members)
{
    size_t piece = n / (members * PIECES_EACH);

    c->n = n;
    c->piece = piece > PIECE_MOST ? PIECE_MOST : piece > 0 ? piece : 1;
    atomic_init(&c->next, 0);
}

bool crew_take(struct crew_pieces *c, size_t *from, size_t *to)
{
    size_t at = atomic_fetch_add_explicit(&c->next, c->piece, memory_order_relaxed);

    if (at >= c->n)
        return false;
    *from = at;
    *to = c->n - at < c->piece ? c->n : at + c->piece;
    return true;
}

/* ---- members ------------------------------------------------------------------------------ */

static size_t cores(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;

    return n > 0 ? (size_t)n : 1;
}

size_t crew_size(const struct ledger_reader *r, size_t blocks)
{
    size_t most = r->crew_most ? r->crew_most : cores();
    size_t n = blocks / (r->crew_least ? r->crew_least : CREW_BLOCKS_LEAST);

    n = n < most ? n : most;
    return n < 1 ? 1 : n < CREW_MAX ? n : CREW_MAX;
}

void ledger_read_crew(struct ledger_reader *r, size_t most, size_t blocks_least)
{
    r->crew_most = most;
    r->crew_least = blocks_least;
}

struct member {
    struct ledger_reader *of;
    size_t number;
    crew_work_fn *work;
    void *arg;
    pthread_t thread;
    bool is_started;
};

static void *run(void *arg)
{
    const struct member *m = arg;
    const char *path = sqlite3_db_filename(m->of->db, "main");
    struct fail fail;
    struct ledger_reader *r = path ? ledger_read_open(path, &fail) : NULL;

    if (r && ledger_read_begin(r, &fail) == RC_OK) {
        if (r->kept_from_us == m->of->kept_from_us && facts_share(r, m->of, &fail) == RC_OK &&
            cubes_share(r, m->of, &fail) == RC_OK)
            m->work(r, m->number, m->arg);
        ledger_read_end(r);
    }
    ledger_read_close(r);
    return NULL;
}

void crew_run(struct ledger_reader *r, size_t n, crew_work_fn *work, void *arg)
{
    struct member members[CREW_MAX] = {{0}};

    ASSERT(n >= 1 && n <= CREW_MAX && r->in_view);
    for (size_t i = 1; i < n; i++) {
        members[i] = (struct member){.of = r, .number = i, .work = work, .arg = arg};
        members[i].is_started = pthread_create(&members[i].thread, NULL, run, &members[i]) == 0;
    }
    work(r, 0, arg);
    for (size_t i = 1; i < n; i++) {
        if (members[i].is_started)
            pthread_join(members[i].thread, NULL);
    }
}
