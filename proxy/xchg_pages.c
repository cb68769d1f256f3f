/*
 * xchg_pages.c - answers of a batch that are told page by page (xAI).
 *
 * A page may hold any of a batch's answers, in any order, and more of them than it held
 * before: each is known by the name that the client gave its request, and is counted once by
 * whoever comes first.  Workers agree through `collected`, processes through a claim for each
 * (xchg_collect.c); so what a page told is kept until the verdicts stand, and is priced then.
 * Beyond PAGE_MAX answers in one response nobody is asked: what is known here decides.
 *
 * Requests are added to such a batch call by call.  Each call's worst case is held under the
 * name of its first request, and given back by whoever is told of that one's answer.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "proxy/collected.h"
#include "proxy/server.h"
#include "proxy/xchg_int.h"

enum { PAGE_MAX = 1024, PAGE_FIRST = 16 };

struct page_answer {
    struct work_claim claim;
    uint64_t key; /* in what is collected */
    struct strv model;
    struct usage usage;
    bool said_nothing, has_cost;
    struct money cost; /* as the provider states it */
};

struct pages {
    size_t n, room;
    struct page_answer *at;
    bool asked;
    struct counted_lines counted;
};

void pages_name(struct strv batch, struct strv name, char out[PAGES_NAME_BYTES],
                struct strv *text)
{
    size_t n = 0;

    for (size_t i = 0; i < batch.n && n < PAGES_NAME_BYTES; i++)
        out[n++] = batch.p[i];
    if (n < PAGES_NAME_BYTES)
        out[n++] = '~';
    for (size_t i = 0; i < name.n && n < PAGES_NAME_BYTES; i++)
        out[n++] = name.p[i] == '/' ? ':' : name.p[i]; /* of a path only the end would count */
    *text = strv_make(out, n);
}

void pages_start(struct xchg *x)
{
    x->pages = xcalloc(1, sizeof(*x->pages));
    cost_clear(&x->pages->counted.cost);
}

static struct page_answer *next(struct pages *p)
{
    if (p->n == p->room) {
        p->room = p->room > 0 ? 2 * p->room : PAGE_FIRST;
        p->at = xrealloc(p->at, p->room * sizeof(*p->at));
    }
    return &p->at[p->n++];
}

bool pages_on_answer(void *arg, const struct tap_answer *answer)
{
    struct xchg *x = arg;
    struct collected *collected = server_collected(x->worker->server);
    struct strv upstream = strv_z(x->upstream->name), text;
    struct counted_line line = {.model = answer->model,
                                .usage = answer->usage,
                                .said_nothing = answer->said_nothing,
                                .has_cost = answer->has_cost,
                                .cost = answer->cost};
    char name[PAGES_NAME_BYTES];
    struct page_answer *kept;
    struct uuid work;
    uint64_t key;

    if (answer->name.n == 0) { /* no request is without one: nothing tells it from others */
        count_line(x, &line, &x->pages->counted);
        return true;
    }
    pages_name(x->route.path_id, answer->name, name, &text);
    key = collected_key(upstream, text);
    if (!collected_claim(collected, key, 1))
        return false;
    collected_work(upstream, text, &work);
    collect_release(x, &work);
    if (answer->usage == NULL) { /* it came to nothing */
        collected_keep(collected, key);
        return false;
    }
    line.model = arena_strv(&x->arena, answer->model);
    if (x->pages->n == PAGE_MAX) {
        collected_note(collected, key, 0, 1, &x->id);
        count_line(x, &line, &x->pages->counted);
        return true;
    }
    kept = next(x->pages);
    memset(kept, 0, sizeof(*kept));
    kept->claim.work = work;
    kept->key = key;
    kept->model = line.model;
    kept->usage = *answer->usage;
    kept->said_nothing = line.said_nothing;
    kept->has_cost = line.has_cost;
    kept->cost = line.cost;
    return true;
}

static void on_verdict(void *arg)
{
    xchg_wake(arg, WAKE_LIMIT);
}

bool pages_ask(struct xchg *x)
{
    struct collected *collected = server_collected(x->worker->server);
    struct pages *p = x->pages;

    for (size_t i = 0; !p->asked && i < p->n; i++) {
        collected_note(collected, p->at[i].key, 0, 1, &x->id);
        p->at[i].claim.to = 1;
        p->at[i].claim.wake = on_verdict;
        p->at[i].claim.arg = x;
        limiter_claim(x->worker->limiter, &p->at[i].claim);
    }
    p->asked = true;
    for (size_t i = 0; i < p->n; i++) {
        if (p->at[i].claim.verdict == WORK_PENDING)
            return true;
    }
    return false;
}

void pages_cancel(struct xchg *x)
{
    for (size_t i = 0; x->pages && x->pages->asked && i < x->pages->n; i++)
        limiter_claim_cancel(&x->pages->at[i].claim);
}

const struct counted_lines *pages_count(struct xchg *x)
{
    struct pages *p = x->pages;

    for (size_t i = 0; i < p->n; i++) {
        struct page_answer *a = &p->at[i];
        struct counted_line line = {.model = a->model,
                                    .usage = &a->usage,
                                    .said_nothing = a->said_nothing,
                                    .has_cost = a->has_cost,
                                    .cost = a->cost};

        if (a->claim.verdict != WORK_OTHERS)
            count_line(x, &line, &p->counted);
    }
    return &p->counted;
}

bool pages_provider_cost(const struct xchg *x, struct money *out)
{
    const struct counted_lines *lines = &x->pages->counted;

    if (lines->has_cost)
        *out = lines->provider_cost;
    return lines->has_cost;
}

void pages_release(struct xchg *x)
{
    if (!x->pages)
        return;
    pages_cancel(x);
    free(x->pages->at);
    free(x->pages);
    x->pages = NULL;
}
