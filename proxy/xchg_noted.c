/*
 * xchg_noted.c - the model of a work that goes on after its answer, where what tells of it later
 * does not name it: sessions of agents, tasks.
 *
 * It is remembered by this gateway (`collected`) and, for the others, in Redis: as the number of
 * its name among the models of the book.
 */
#include <stdio.h>

#include "proxy/collected.h"
#include "proxy/server.h"
#include "proxy/xchg_int.h"

#define NAME_MASK ((UINT64_C(1) << NOTED_NAME_BITS) - 1)
#define NOTES_END (UINT64_C(1) << NOTED_BITS)

static void on_verdict(void *arg)
{
    xchg_wake(arg, WAKE_LIMIT);
}

bool noted_work(const struct xchg *x, struct strv name, const char *what, struct uuid *work)
{
    char text[TAP_ID_MAX_BYTES + 32];
    int n;

    if (name.n == 0 || name.n >= TAP_ID_MAX_BYTES)
        return false;
    n = snprintf(text, sizeof(text), "%.*s~%s", (int)name.n, name.p, what);
    collected_work(strv_z(x->upstream->name), strv_make(text, (size_t)n), work);
    return true;
}

uint64_t noted_number(struct strv model)
{
    uint64_t n = collected_key(STRV("model"), model) & NAME_MASK;

    return n > 0 ? n : 1;
}

struct search {
    struct strv provider;
    uint64_t number;
    struct strv found;
};

static bool look_at_model(const struct book_model *model, void *arg)
{
    struct search *s = arg;

    if (!strv_eq(model->provider, s->provider))
        return true;
    for (size_t i = 0; i < model->n_ids && s->found.n == 0; i++) {
        if (noted_number(model->ids[i]) == s->number)
            s->found = model->ids[i];
    }
    return s->found.n == 0;
}

struct strv noted_model(const struct xchg *x, uint64_t note)
{
    struct search s = {.provider = x->upstream->provider, .number = note & NAME_MASK};

    book_each_model(x->config->book, look_at_model, &s);
    return s.found;
}

void noted_init(struct noted *n)
{
    *n = (struct noted){.ask.verdict = WORK_AWAY};
}

bool noted_ask(struct xchg *x, struct noted *n, struct strv name)
{
    if (!n->asked) {
        n->note = collect_noted(x, name, "model");
        if (n->note > 0)
            return false;
        n->asked = true;
        if (!noted_work(x, name, "model", &n->ask.work))
            return false;
        n->ask.verdict = WORK_PENDING;
        n->ask.wake = on_verdict;
        n->ask.arg = x;
        limiter_claim(x->worker->limiter, &n->ask);
    }
    if (n->ask.verdict == WORK_PENDING)
        return true;
    if (n->ask.verdict == WORK_OTHERS && n->ask.known > 0 && n->ask.known < NOTES_END) {
        collect_note(x, name, "model", n->ask.known);
        n->note = n->ask.known;
    }
    return false;
}

void noted_cancel(struct noted *n)
{
    if (n->ask.verdict == WORK_PENDING)
        limiter_claim_cancel(&n->ask);
}

bool noted_learn(struct xchg *x)
{
    if (!x->noted) {
        x->noted = arena_alloc(&x->arena, sizeof(*x->noted));
        if (!x->noted)
            return false;
        noted_init(x->noted);
    }
    if (x->noted->note > 0)
        return false;
    if (noted_ask(x, x->noted, x->route.path_id))
        return true;
    if (x->noted->note > 0 && x->facts.model.n == 0) {
        x->facts.model = noted_model(x, x->noted->note);
        request_keep_facts(x);
    }
    return false;
}

void noted_tell(struct xchg *x, struct strv name, uint64_t note)
{
    struct work_claim claim = {.from = NOTES_END, .to = note};

    if (name.n == 0 || collect_noted(x, name, "model") == note)
        return;
    collect_note(x, name, "model", note);
    if (!noted_work(x, name, "model", &claim.work))
        return;
    limiter_claim(x->worker->limiter, &claim);
    limiter_claim_cancel(&claim);
}
