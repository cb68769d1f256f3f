/*
 * xchg_desk.c - DESK: a key asks what it may still spend, or what it has used.
 */
#include "base/clock.h"
#include "proxy/auth.h"
#include "proxy/percent.h"
#include "proxy/server.h"
#include "proxy/xchg_int.h"

/*
 * Model and upstream belong to a call that is not made here: who wants to see the
 * limits that look at them names them, "?model=gpt-4o&upstream=openai".
 */
static bool read_query(struct xchg *x)
{
    struct strv rest = x->target.query, part;

    if (!rest.p || rest.n == 0)
        return true;
    while (strv_split(&rest, '&', &part)) {
        struct strv name, value;

        if (!strv_split(&part, '=', &name))
            return false;
        if (auth_is_credential_parameter(name))
            continue; /* who asks: read before */
        if (percent_decode_arena(part, &x->arena, &value) != RC_OK ||
            !tag_value_is_valid(value))
            return false;
        if (strv_eq(name, STRV("model")))
            x->tags.subject.dim[DIM_MODEL] = value;
        else if (strv_eq(name, STRV("upstream")))
            x->tags.subject.dim[DIM_UPSTREAM] = value;
        else
            return false;
    }
    return true;
}

enum step xchg_ask_desk(struct xchg *x)
{
    struct desk_ask ask = {.question = x->own == OWN_BUDGET ? DESK_BUDGET : DESK_USAGE,
                           .worker = x->worker,
                           .xchg = x,
                           .generation = x->pools->generation,
                           .subject = &x->tags.subject,
                           .now_us = clock_wall_us()};

    if (!read_query(x))
        return xchg_refuse(x, REFUSE_BAD_REQUEST,
                           "the query may say model=... and upstream=..., each once");
    x->desk_job = desk_ask(server_desk(x->worker->server), &ask);
    if (!x->desk_job)
        return xchg_refuse(x, REFUSE_OVERLOADED, "too many ask for budgets and usage now");
    return xchg_go(x, &S_DESK);
}

static enum step st_desk(struct xchg *x)
{
    struct strv json;
    enum step step;
    enum rc rc;

    if (x->deadline_us == INT64_MAX)
        xchg_within(x, DESK_WAIT_MS);
    if (xchg_client_left(x))
        return xchg_end(x, END_CLIENT_GONE);
    if (!desk_job_done(x->desk_job, &rc, &json))
        return STEP_WAIT;
    if (rc == RC_OK)
        step = xchg_answer_json(x, 200, json);
    else if (x->own == OWN_BUDGET)
        step = xchg_refuse(x, REFUSE_COUNTERS_UNAVAILABLE,
                           "the counters that limits are kept in cannot be read now");
    else
        step = xchg_refuse(x, REFUSE_OVERLOADED, "the ledger cannot be read now");
    desk_job_leave(x->desk_job);
    x->desk_job = NULL;
    return step;
}

static enum step desk_timeout(struct xchg *x)
{
    return xchg_refuse(x, REFUSE_OVERLOADED, "budgets and usage took too long to read");
}

const struct xchg_state S_DESK = {"desk", st_desk, WAKE_DESK | WAKE_CLIENT_IN, desk_timeout};
