/*
 * xchg_late.c - an exchange that ends under other limits than it was admitted by is charged to
 * those too: limits that a reload brought count all that ends since they were set.  And so is what
 * a provider began unasked, and ended before there was a verdict: it happened all the same.
 */
#include "base/arena.h"
#include "base/xalloc.h"
#include "proxy/xchg_int.h"
#include "proxy/xchg_socket.h"

enum {
    CLAIM_ARENA_BYTES = 2 * LIMIT_CLAIMS_MAX * LIMIT_KEY_MAX_BYTES, /* both sets' claims */
    LATE_SETS = 3, /* its own, what is in force, and coming */
};

struct late {
    struct admission own[LATE_SETS];
    struct arena arena;
};

static void charge(struct xchg *x, struct late *late, int64_t ended_us,
                   const struct limit_amounts *taken)
{
    const struct worker *w = x->worker;
    const bool owes_all = turn_is_owed(x) && !x->reserved;
    const struct limit_set *sets[LATE_SETS] = {x->config->limits,
                                               w->pools->generation->config->limits,
                                               w->coming ? w->coming->config->limits : NULL};
    const struct admission *charged[1 + LATE_SETS] = {&x->admission};
    struct late_request request = {.start_us = x->start_wall_us,
                                   .ended_us = ended_us,
                                   .started_us = x->start_us,
                                   .charged = charged,
                                   .n_charged = owes_all ? 0 : 1};

    for (size_t i = owes_all ? 0 : 1; i < LATE_SETS; i++) {
        if (!sets[i] || (i > 0 && sets[i] == sets[i - 1]) || (i > 1 && sets[i] == sets[0]))
            continue;
        uuid7_make(&request.id, x->start_wall_us);
        if (admission_late(&late->own[i], sets[i], &x->tags.subject, &request, &late->arena))
            limiter_settle(w->limiter, &late->own[i], taken);
        charged[request.n_charged++] = &late->own[i];
    }
}

void late_settle(struct xchg *x, int64_t ended_us, const struct limit_amounts *taken)
{
    struct late *late;

    if (x->worker->pools->generation->config == x->config && !x->worker->coming &&
        (!turn_is_owed(x) || x->reserved))
        return;
    late = xcalloc(1, sizeof(*late));
    arena_init(&late->arena, CLAIM_ARENA_BYTES);
    charge(x, late, ended_us, taken);
    arena_release(&late->arena);
    free(late);
}
