/*
 * xchg_admit.c - ADMIT and BEGIN: the worst case, reserved or refused, then on disk.
 */
#include "base/check.h"
#include "base/log.h"
#include "pricing/price_memo.h"
#include "proxy/learnt.h"
#include "proxy/server.h"
#include "proxy/xchg_socket.h"

static void on_verdict(void *arg)
{
    xchg_wake(arg, WAKE_LIMIT);
}

/* The same by other measures than tokens, where the call has any: the dearer of both is kept in
 * *most. False where they have no price. */
static bool price_units(struct xchg *x, const struct price_query *tokens,
                        const struct usage *units, bool priced, struct money *most)
{
    struct price_query query UNCLEARED;
    struct cost cost UNCLEARED;

    if (units->has == 0)
        return false;
    query = *tokens;
    (void)usage_to_quantities(units, &query.quantities);
    query.quantities.n[METER_REQUEST] = 1;
    query.counted = true;
    settle_details(x, query.detail);
    price_count_pixels(&query);
    price_usage(x->config->book, &query, &cost);
    if (cost.status == PRICE_NONE)
        return false;
    if (!priced || money_cmp(cost.contracted, *most) > 0)
        *most = cost.contracted;
    return true;
}

static void price_assumed(struct xchg *x, struct price_query *query)
{
    query->region = settle_region(x);
    settle_details(x, query->detail);
    query->counted = true;
    query->input_total = x->assumed.n[USAGE_INPUT];
    (void)usage_to_quantities(&x->assumed, &query->quantities);
    query->quantities.n[METER_REQUEST] = 1;
    price_count_pixels(query);
    price_usage(x->config->book, query, xchg_cost(x));
}

/*
 * What the record says if the gateway dies before it knows more: the bounds of the request, at
 * the price that these would have as an answer, so that they can be priced again like one.  The
 * query is of use to nobody else afterwards.
 */
static void assume(struct xchg *x, struct price_query *query, const struct usage *units,
                   bool tokens_priced)
{
    x->assumed = x->worst_usage;
    if ((x->facts.draws || x->facts.films || x->facts.guards ||
         (x->facts.embeds && (x->facts.speaks || x->facts.listens))) &&
        !tokens_priced)
        x->assumed = (struct usage){.has = 0};
    for (uint32_t rest = units->has; rest; rest &= rest - 1) {
        enum usage_field f = (enum usage_field)__builtin_ctz(rest);

        usage_set(&x->assumed, f, units->n[f]);
    }
    price_assumed(x, query);
}

/*
 * Output tokens to reserve.  Where the request has no bound of its own, the model's is far
 * above what calls take, and small budgets would refuse them all: then what nearly all of
 * the model's calls took of late; a stream that outgrows it reserves more (xchg_grow.c).
 */
static uint64_t output_bound(const struct xchg *x, uint64_t model_max)
{
    uint64_t most = estimate_max_output_tokens(&x->facts, model_max);
    uint64_t each;

    if (x->facts.has_max_output || x->facts.embeds)
        return most;
    each = learnt_output(x->worker->learnt, x->facts.model);
    if (each == 0)
        return most;
    if (each < x->config->output_floor)
        each = x->config->output_floor;
    if (x->facts.choices > 1 && each <= UINT32_MAX)
        each *= x->facts.choices;
    return each < most ? each : most;
}

static struct price_query worst_query(const struct xchg *x)
{
    return (struct price_query){.provider = x->upstream->provider,
                                .upstream = strv_z(x->upstream->name),
                                .model = x->model,
                                .model_requested = x->facts.model,
                                .tier = usage_priced_tier(x->facts.service_tier),
                                .at_us = x->start_wall_us,
                                .has_media = x->facts.media_parts > 0};
}

/*
 * The most that so many tokens cost, of whichever model the request lets answer.  False where
 * one of them has no price; *most is that of the others then.
 */
static bool price_tokens(const struct xchg *x, const struct price_query *own, uint64_t input,
                         uint64_t output, struct money *most)
{
    const struct book *book = x->config->book;
    bool all = price_worst_case(book, own, input, output, most);

    if (!all)
        *most = MONEY_ZERO;
    for (size_t i = 0; i < x->facts.n_others; i++) {
        const struct request_other *other = &x->facts.others[i];
        struct price_query query = worst_query(x);
        struct money cost;

        query.model = query.model_requested = other->text;
        query.input_total = own->input_total;
        if (other->kind == OTHER_TOOL)
            continue; /* how much it is asked is the model's affair */
        if (!price_worst_case(book, &query, input, output, &cost))
            all = false;
        else if (other->kind == OTHER_AFTER)
            *most = money_add(*most, cost);
        else if (money_cmp(cost, *most) > 0)
            *most = cost;
    }
    return all;
}

struct money admit_price_output(const struct xchg *x, uint64_t output)
{
    struct price_query query = worst_query(x);
    struct money most;

    query.input_total = x->worst_usage.n[USAGE_INPUT];
    (void)price_tokens(x, &query, 0, output, &most);
    return most;
}

/* What the provider asks for searches that the request's tools may make. */
static struct money price_searches(struct xchg *x, const struct price_query *own)
{
    struct price_query query UNCLEARED;
    struct cost cost UNCLEARED;

    if (x->facts.searches == 0)
        return MONEY_ZERO;
    query = *own;
    query.quantities = (struct quantities){.n = {[METER_WEB_SEARCH] = x->facts.searches}};
    query.counted = true;
    settle_details(x, query.detail);
    price_usage(x->config->book, &query, &cost);
    return cost.status == PRICE_NONE ? MONEY_ZERO : cost.contracted;
}

/*
 * What the call may take at the most, in every unit, and its price: from the request's
 * own bounds, else the defaults of estimate.h, and what this model's calls took before.
 */
static bool price_worst(struct xchg *x, struct limit_amounts *worst)
{
    const bool sound = turn_has_sound(x) || x->duplex;
    const struct book *book = x->config->book;
    struct price_query query = worst_query(x);
    uint64_t input, output;
    struct upload_bounds batch;
    struct usage units;
    struct money most;
    bool priced, tokens_priced, brought = x->brought != NULL, is_known = true;

    /* What is added to it is reserved then. */
    if ((brought && x->brought->is_empty) || (x->session && !x->facts.sets_to_work)) {
        cost_clear(xchg_cost(x));
        x->cost->status = PRICE_OK;
        return true;
    }
    upload_recall_sound(x);
    x->factors = calibration_look(x->worker->calibration, strv_z(x->upstream->name), x->model);
    x->estimated = estimate_input_tokens(&x->facts);
    input = prompt_tokens(x, estimate_scaled(x->estimated, x->factors.input_high));
    price_memo_find(x->pools->prices, &query);
    x->model_max = price_max_output(book, &query);
    x->max_output = output_bound(x, x->model_max);
    if (brought)
        batch = x->brought->bounds;
    if (brought || upload_recall(x, &batch)) {
        input = batch.input;
        x->max_output = batch.output;
    } else if (strv_eq(x->facts.service_tier, STRV("batch")) && x->facts.later) {
        is_known = false; /* what is reserved is of one request, and there may be many */
    }
    output = x->max_output;
    if (x->duplex) /* nothing of it is known: as much in as out */
        input = output;
    usage_set(&x->worst_usage, USAGE_INPUT, input);
    usage_set(&x->worst_usage, USAGE_OUTPUT, output);
    if (sound) { /* all of it may be */
        usage_set(&x->worst_usage, USAGE_INPUT_AUDIO, input);
        usage_set(&x->worst_usage, USAGE_OUTPUT_AUDIO, output);
    }
    query.input_total = input;
    tokens_priced = price_tokens(x, &query, input, output, &most);
    if (brought || (!tokens_priced && batch.usd_nano > 0)) { /* each request by itself */
        most = money_join((int64_t)batch.usd_nano, 0);
        tokens_priced = batch.usd_nano > 0 || batch.unpriced == 0;
    }
    (void)estimate_units(&x->facts, &units);
    priced = price_units(x, &query, &units, tokens_priced, &most) || tokens_priced;
    if (x->session)
        priced = session_worst(x, &query, priced, &most);
    if (priced)
        most = money_add(most, price_searches(x, &query));
    assume(x, &query, &units, tokens_priced);
    if (priced) {
        if (sound && money_cmp(x->cost->contracted, most) > 0)
            most = x->cost->contracted;
        worst->n[UNIT_USD] = (uint64_t)money_ceil_nano(most);
    }
    worst->n[UNIT_TOKENS] = input + output;
    worst->n[UNIT_INPUT_TOKENS] = input;
    worst->n[UNIT_OUTPUT_TOKENS] = output;
    return priced && is_known;
}

/* What so much output makes of the worst case, in nano-USD; dearest where it has no price. */
static uint64_t worst_nano(struct xchg *x, uint64_t output)
{
    struct price_query query = worst_query(x);
    uint64_t input = x->worst_usage.n[USAGE_INPUT];
    struct money most;

    query.input_total = input;
    if (!price_tokens(x, &query, input, output, &most))
        return LIMIT_VALUE_MAX;
    return (uint64_t)money_ceil_nano(most);
}

/* The rest of the price, such as of images, stays as it is. */
static uint64_t output_for(struct xchg *x, uint64_t room, uint64_t wanted)
{
    uint64_t whole = worst_nano(x, x->max_output), rest = wanted > whole ? wanted - whole : 0;
    uint64_t fits = 0, none = x->max_output;

    if (rest > room)
        return 0;
    while (none - fits > 1) {
        uint64_t middle = fits + (none - fits) / 2;

        if (worst_nano(x, middle) <= room - rest)
            fits = middle;
        else
            none = middle;
    }
    return fits;
}

uint64_t xchg_output_that_fits(struct xchg *x)
{
    const struct limit_denial *d = &x->admission.denial;
    uint64_t taken = d->spent > UINT64_MAX - d->reserved ? UINT64_MAX : d->spent + d->reserved;
    uint64_t room = taken < d->limit ? d->limit - taken : 0;
    uint64_t input = x->worst_usage.n[USAGE_INPUT];

    if (x->route.endpoint->kind != ENDPOINT_METERED || x->max_output == 0)
        return 0;
    switch (d->def->unit) {
    case UNIT_USD:
        return output_for(x, room, d->wanted);
    case UNIT_TOKENS:
        return room > input ? room - input : 0;
    case UNIT_OUTPUT_TOKENS:
        return room;
    case UNIT_INPUT_TOKENS:
    case UNIT_REQUESTS:
    case UNIT_CONCURRENT:
    case UNIT_COUNT:
        break;
    }
    return 0;
}

static enum step start_reservation(struct xchg *x)
{
    struct limit_amounts worst = {.n = {[UNIT_REQUESTS] = 1, [UNIT_CONCURRENT] = 1}};

    const bool owed = turn_is_owed(x);

    if (!journal_is_writable(x->worker->journal, x->worker->now_us) && !owed)
        return xchg_refuse(x, REFUSE_OVERLOADED,
                           "the gateway cannot record requests now (its disk is full or failing)");
    if (x->route.endpoint->kind == ENDPOINT_METERED && !price_worst(x, &worst) &&
        x->config->on_unpriced == ON_UNPRICED_REFUSE && !owed)
        return xchg_refuse(x, REFUSE_MODEL_NOT_PRICED, "the model \"%.*s\" has no price",
                           (int)(x->facts.model.n < 128 ? x->facts.model.n : 128),
                           x->facts.model.n ? x->facts.model.p : "");
    if (admission_init(&x->admission, x->config->limits, &x->tags.subject, &worst, &x->id,
                       x->start_wall_us, &x->arena) != RC_OK)
        return owed ? xchg_go(x, &S_BEGIN)
                    : xchg_refuse(x, REFUSE_BAD_REQUEST, "the request touches too many limits");
    if (admission_wants_count(&x->admission) && prompt_begin(x))
        return xchg_go(x, &S_PROMPT);
    x->admission.is_owed = owed;
    x->admission.is_endless = x->duplex != NULL;
    x->admission.wake = on_verdict;
    x->admission.arg = x;
    x->reserving = true;
    collect_ask(x);
    limiter_reserve_at(x->worker->limiter, &x->admission, x->worker->now_us);
    return STEP_WAIT;
}

/* Whose model is another's to say; *step is what to do where false. */
static bool has_learnt(struct xchg *x, enum step *step)
{
    bool waits = false;

    if (x->route.is_session)
        waits = session_learn(x);
    else if (x->route.is_unnamed && x->route.endpoint->kind == ENDPOINT_FETCHED)
        waits = noted_learn(x);
    if (waits) {
        *step = xchg_client_left(x) ? xchg_end(x, END_CLIENT_GONE) : STEP_WAIT;
        return false;
    }
    if (!x->route.is_session || session_allows(x))
        return true;
    *step = xchg_refuse(x, REFUSE_MODEL_NOT_ALLOWED, "%s",
                        x->facts.model.n > 0
                            ? "this key may not use what this session's agent uses"
                            : "this key may use some models, and that of this session is not "
                              "known here: look at the session first");
    return false;
}

static enum step st_admit(struct xchg *x)
{
    if (!x->reserving) {
        enum step step;

        if (!has_learnt(x, &step))
            return step;
        step = start_reservation(x);
        if (!x->reserving)
            return step;
    }
    if (x->admission.verdict == LIMIT_PENDING || collect_is_asking(x)) {
        if (!xchg_client_left(x))
            return STEP_WAIT;
        limiter_cancel(x->worker->limiter, &x->admission);
        collect_cancel(x);
        x->reserving = false;
        return xchg_end(x, END_CLIENT_GONE);
    }
    x->reserving = false;
    switch (x->admission.verdict) {
    case LIMIT_DENIED:
        return xchg_refuse_limit(x);
    case LIMIT_UNAVAILABLE:
        if (turn_is_owed(x)) /* it happens, counted or not: the record must be */
            return xchg_go(x, &S_BEGIN);
        return xchg_refuse(x, REFUSE_COUNTERS_UNAVAILABLE,
                           "the counters that limits are kept in cannot be reached");
    case LIMIT_PENDING:
    case LIMIT_OK:
        break;
    }
    x->reserved = true;
    if (!x->is_in_doubt)
        x->extend_us = x->worker->now_us + LIMIT_DEADLINE_S * US_PER_SECOND / 3;
    return xchg_go(x, x->turn && x->turn->spare ? &S_TURN : &S_BEGIN);
}

/* Waits for the write of this loop turn: nothing is forwarded that could be forgotten. */
static enum step st_begin(struct xchg *x)
{
    struct worker *w = x->worker;

    if (!x->begun) {
        struct record r UNCLEARED;

        settle_record(x, &r, OUTCOME_INTERRUPTED);
        if (journal_begin(w->journal, &r) != RC_OK)
            return xchg_refuse(x, REFUSE_OVERLOADED, "the gateway cannot record requests now");
        x->begun = true;
        xchg_cost_rest(x);
        list_push_back(&w->journal_waiters, &x->ready);
        return STEP_WAIT;
    }
    if (xchg_client_left(x)) {
        list_remove(&x->ready);
        return xchg_end(x, END_CLIENT_GONE);
    }
    if (!(x->woken & (WAKE_JOURNAL | WAKE_NO_JOURNAL)))
        return STEP_WAIT;
    if (x->woken & WAKE_NO_JOURNAL) /* refused before the call, not after */
        return xchg_refuse(x, REFUSE_OVERLOADED, "the gateway cannot record requests now");
    if (w->sync_always) {
        if (x->sync_note == 0) {
            x->sync_note = journal_written(w->journal);
            ledger_sync_soon(server_ledger(w->server));
        }
        if (journal_synced(w->journal) < x->sync_note) {
            list_push_back(&w->sync_waiters, &x->ready);
            return STEP_WAIT;
        }
    }
    return xchg_go(x, x->turn ? &S_TURN : &S_CONNECT);
}

void admit_begin_again(struct xchg *x, uint64_t output)
{
    static const enum usage_field SIDES[][2] = {{USAGE_OUTPUT, USAGE_OUTPUT_AUDIO},
                                                {USAGE_INPUT, USAGE_INPUT_AUDIO}};
    struct price_query query = worst_query(x);
    struct record r UNCLEARED;

    if (!x->begun || !usage_has(&x->assumed, USAGE_OUTPUT))
        return;
    for (int side = 0; side < (x->duplex ? 2 : 1); side++) {
        for (int i = 0; i < 2; i++) {
            if (usage_has(&x->assumed, SIDES[side][i]))
                usage_set(&x->assumed, SIDES[side][i], output);
        }
    }
    price_memo_find(x->pools->prices, &query);
    price_assumed(x, &query);
    settle_record(x, &r, OUTCOME_INTERRUPTED);
    r.has_provider_cost = false; /* what it told so far is not what was reserved */
    if (journal_begin(x->worker->journal, &r) != RC_OK) /* what is there holds */
        log_line(LOG_WARN, "journal", "could not note how far a stream has grown", "id=%s",
                 x->id_text);
    xchg_cost_rest(x);
}

/* Neither has a deadline of its own: the limiter and the loop turn bound them. */
const struct xchg_state S_ADMIT = {"admit", st_admit, WAKE_LIMIT | WAKE_CLIENT_IN, st_admit};
const struct xchg_state S_BEGIN = {"begin", st_begin, WAKE_JOURNAL | WAKE_NO_JOURNAL | WAKE_CLIENT_IN,
                                   st_begin};
