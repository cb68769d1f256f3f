/*
 * xchg_prompt.c - PROMPT: the prompt is counted by its tokens, for limits that ask for that.
 *
 * Whoever counts stands in worker->counting.  A turn of the loop counts PROMPT_STEP_BYTES in
 * all, whose-ever they are, first come first served: a stream waits for one step, however many
 * large prompts there are.
 */
#include "metering/usage/prompt.h"
#include "proxy/server.h"
#include "proxy/xchg_int.h"

enum {
    PROMPT_LEAST_BYTES = 512, /* what a prompt counts for in a turn, however short */
    PROMPT_MARGIN = 8,        /* part of a sum that is not the provider's own: what it may add */
};

struct prompt {
    struct prompt_counter counter;
    struct buf unpacked;
    bool counting;
    uint64_t tokens;
};

struct tokenizer *worker_tokenizer(struct worker *w)
{
    if (!w->tokenizer)
        w->tokenizer = tokenizer_new();
    return w->tokenizer;
}

bool prompt_begin(struct xchg *x)
{
    struct strv body;
    struct prompt *p;
    bool packed;

    if (x->prompt || x->route.endpoint->kind != ENDPOINT_METERED || x->body.len == 0 ||
        protocol_is_form(http1_value(&x->head, STRV("content-type"))))
        return false;
    p = arena_alloc(&x->arena, sizeof(*p));
    if (!p)
        return false;
    *p = (struct prompt){.counting = true};
    buf_init(&p->unpacked, REQUEST_UNPACKED_MAX_BYTES);
    if (request_unpack(x, &p->unpacked, &body, &packed) != RC_OK ||
        !prompt_counter_init(&p->counter, worker_tokenizer(x->worker), &x->route, x->model,
                             body)) {
        buf_release(&p->unpacked);
        return false;
    }
    x->prompt = p;
    return true;
}

void prompt_end(struct xchg *x)
{
    struct prompt *p = x->prompt;

    if (!p || !p->counting)
        return;
    p->counting = false;
    list_remove(&x->ready);
    prompt_counter_fini(&p->counter);
    buf_release(&p->unpacked);
}

uint64_t prompt_tokens(const struct xchg *x, uint64_t estimate)
{
    return x->prompt ? x->prompt->tokens : estimate;
}

static enum step st_prompt(struct xchg *x)
{
    struct prompt *p = x->prompt;

    if (xchg_client_left(x))
        return xchg_end(x, END_CLIENT_GONE);
    if (!(x->woken & WAKE_RUN)) {
        if (list_is_empty(&x->ready)) /* a wake of the client's may come between */
            list_push_back(&x->worker->counting, &x->ready);
        return STEP_WAIT;
    }
    if (!prompt_counter_step(&p->counter, PROMPT_STEP_BYTES))
        return STEP_WAIT;
    p->tokens = prompt_counter_tokens(&p->counter);
    if (!p->counter.exact)
        p->tokens += p->tokens / PROMPT_MARGIN;
    prompt_end(x);
    return xchg_go(x, &S_ADMIT);
}

void xchg_count_prompts(struct worker *w)
{
    size_t room = PROMPT_STEP_BYTES;

    while (room > 0 && !list_is_empty(&w->counting)) {
        struct xchg *x = LIST_OBJECT(w->counting.next, struct xchg, ready);
        size_t some = x->body.len + PROMPT_LEAST_BYTES;

        room -= some < room ? some : room;
        xchg_wake(x, WAKE_RUN);
    }
}

/* No deadline of its own: each turn of the loop counts some. */
const struct xchg_state S_PROMPT = {"count-prompt", st_prompt, WAKE_RUN | WAKE_CLIENT_IN,
                                    st_prompt};
