/*
 * xchg_grow.c - a stream that outgrows its reservation reserves more as it goes.
 *
 * Only where the request bounds its answer nowhere: a bound of its own was reserved whole.
 * Each step is a reservation of its own, of as much again as there is; all go back when the
 * exchange settles with what it really took.  A call whose request goes on grows on both sides.
 * What is reserved by then is journalled with each step, also where no limit is touched.
 */
#include <stdio.h>

#include "base/log.h"
#include "proxy/xchg_socket.h"

enum {
    GROWTHS_MAX = 20,     /* steps, each as large as all before it */
    GROW_AT_PERCENT = 75, /* of what is reserved: then more is asked for, in time */
};

/* One step; in the exchange's arena. */
struct growth_step {
    struct growth_step *next;
    uint64_t tokens;
    struct admission admission;
};

struct growth {
    struct growth_step *steps; /* admitted, or not decided yet: then the first */
    unsigned n;
    bool is_asking;
    bool no_room;     /* the last step was refused */
    bool asked_again; /* when all was used up */
    uint64_t output;  /* tokens reserved in all */
    struct limit_denial denial;
};

static void on_verdict(void *arg)
{
    xchg_wake(arg, WAKE_LIMIT);
}

/* Output so far: as the provider counts where it tells as it goes, else by its tokens or bytes. */
static uint64_t output_so_far(const struct xchg *x)
{
    const struct tap_result *seen = settle_seen(x);
    uint64_t tokens;

    if (x->duplex) /* as much in as out was reserved */
        return seen->usage.n[USAGE_INPUT] > seen->usage.n[USAGE_OUTPUT]
                   ? seen->usage.n[USAGE_INPUT]
                   : seen->usage.n[USAGE_OUTPUT];
    if (x->turn)
        tokens = turn_output(x);
    else if (!tap_text_so_far(x->tap, &tokens))
        tokens = estimate_output_tokens(seen->output_bytes, x->factors.output, USAGE_MAX_COUNT);
    return seen->usage.n[USAGE_OUTPUT] > tokens ? seen->usage.n[USAGE_OUTPUT] : tokens;
}

/* As many times what was reserved at first. */
static void multiply(const struct xchg *x, uint64_t times, struct limit_amounts *extra)
{
    static const enum limit_unit GROW[] = {UNIT_USD, UNIT_TOKENS, UNIT_INPUT_TOKENS,
                                           UNIT_OUTPUT_TOKENS};

    for (size_t i = 0; i < sizeof(GROW) / sizeof(GROW[0]); i++) {
        uint64_t *n = &extra->n[GROW[i]];

        if (__builtin_mul_overflow(x->admission.amounts.n[GROW[i]], times, n) ||
            *n > LIMIT_VALUE_MAX)
            *n = LIMIT_VALUE_MAX;
    }
}

static void price_extra(const struct xchg *x, uint64_t tokens, struct limit_amounts *extra)
{
    extra->n[UNIT_USD] = (uint64_t)money_ceil_nano(admit_price_output(x, tokens));
    extra->n[UNIT_TOKENS] = extra->n[UNIT_OUTPUT_TOKENS] = tokens;
}

static void grown(struct xchg *x, struct growth *g, uint64_t tokens)
{
    g->output += tokens;
    g->no_room = false;
    admit_begin_again(x, g->output);
}

/* Asks for as much again. False: it cannot be asked for. */
static bool ask(struct xchg *x, struct growth *g)
{
    struct growth_step *step;
    struct limit_amounts extra = {.n = {0}};
    struct uuid id;

    if (g->n == GROWTHS_MAX)
        return false;
    if (x->admission.n_claims == 0) { /* nobody is to be asked */
        g->n++;
        grown(x, g, g->output);
        return true;
    }
    step = arena_alloc(&x->arena, sizeof(*step));
    if (!step)
        return false;
    step->tokens = g->output;
    if (x->duplex)
        multiply(x, step->tokens / x->max_output, &extra);
    else
        price_extra(x, step->tokens, &extra);
    uuid7_make(&id, x->start_wall_us);
    admission_grow(&step->admission, &x->admission, &extra, &id);
    step->admission.wake = on_verdict;
    step->admission.arg = x;
    step->next = g->steps;
    g->steps = step;
    g->n++;
    g->is_asking = true;
    limiter_reserve(x->worker->limiter, &step->admission);
    return true;
}

/* Takes the verdict of the step that was asked for; false: there is none yet. */
static bool take_verdict(struct xchg *x, struct growth *g)
{
    struct growth_step *step = g->steps;

    switch (step->admission.verdict) {
    case LIMIT_PENDING:
        return false;
    case LIMIT_DENIED:
        g->denial = step->admission.denial;
        g->steps = step->next;
        g->no_room = true;
        break;
    case LIMIT_UNAVAILABLE: /* traffic first: what runs is not ended for that */
        g->steps = step->next;
        grown(x, g, step->tokens);
        break;
    case LIMIT_OK:
        grown(x, g, step->tokens);
        break;
    }
    g->is_asking = false;
    return true;
}

static struct growth *growth_of(struct xchg *x)
{
    if (!x->growth) {
        x->growth = arena_alloc(&x->arena, sizeof(*x->growth));
        if (x->growth)
            *x->growth = (struct growth){.output = x->max_output};
    }
    return x->growth;
}

bool grow_check(struct xchg *x)
{
    struct growth *g;
    uint64_t used;

    if (((!x->answer.is_stream || !x->tap) && !x->turn) || !x->reserved ||
        x->facts.has_max_output || x->facts.embeds || x->max_output == 0)
        return true;
    used = output_so_far(x);
    if (!x->growth && used < x->max_output / 100 * GROW_AT_PERCENT)
        return true;
    g = growth_of(x);
    if (!g)
        return true;
    for (int round = 0; round < GROWTHS_MAX; round++) {
        if (g->is_asking && !take_verdict(x, g))
            return true;
        if (used < g->output / 100 * GROW_AT_PERCENT)
            return true;
        if (g->no_room && used < g->output)
            return true;
        if (g->no_room && g->asked_again)
            return !x->turn && !tap_is_between(x->tap); /* not within a frame: no error could follow */
        g->asked_again = g->no_room;
        if (!ask(x, g))
            return true;
    }
    return true;
}

enum step grow_cut(struct xchg *x)
{
    const struct limit_denial *d = &x->growth->denial;
    bool is_rate = d->def->rolling;
    char message[512];

    snprintf(message, sizeof(message),
             "%s \"%s\" has no room for the rest of this answer: it was cut",
             is_rate ? "rate cap" : "budget", d->def->name);
    if (x->turn) {
        turn_cut(x, message, is_rate ? REFUSE_RATE_LIMITED : REFUSE_BUDGET_EXHAUSTED);
        return STEP_WAIT;
    }
    x->end = END_CUT;
    x->up_reusable = false;
    answer_abandon(x);
    log_line(LOG_INFO, "limits", "a stream was cut", "id=%s limit=\"%s\"", x->id_text,
             d->def->name);
    answer_cut(x, is_rate ? REFUSE_RATE_LIMITED : REFUSE_BUDGET_EXHAUSTED, message);
    return xchg_go(x, &S_REPLY);
}

void grow_extend(struct xchg *x)
{
    for (struct growth_step *s = x->growth ? x->growth->steps : NULL; s; s = s->next)
        limiter_extend(x->worker->limiter, &s->admission);
}

void grow_restore(struct xchg *x)
{
    for (struct growth_step *s = x->growth ? x->growth->steps : NULL; s; s = s->next)
        limiter_restore(x->worker->limiter, &s->admission);
}

void grow_settle(struct xchg *x)
{
    static const struct limit_amounts nothing;

    for (struct growth_step *s = x->growth ? x->growth->steps : NULL; s; s = s->next)
        limiter_settle(x->worker->limiter, &s->admission, &nothing);
    x->growth = NULL;
}
