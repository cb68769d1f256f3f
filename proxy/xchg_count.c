/*
 * xchg_count.c - what an exchange took: usage from what the tap saw, and its price.
 *
 * Most answers are one usage at one model's rates.  Some have parts by other models, some
 * are batches of answers, each priced by itself; and some can be fetched again, which must
 * not count again.
 */
#include <string.h>

#include "base/check.h"
#include "metering/ledger/record_part.h"
#include "pricing/price_memo.h"
#include "proxy/collected.h"
#include "proxy/server.h"
#include "proxy/xchg_socket.h"

enum { STATUS_PARTIAL_CONTENT = 206 };

/* The answers of a batch, as far as they were counted. */
struct batch {
    uint64_t from, to; /* to be counted: all after from, up to to; to 0: none */
    bool is_billed;    /* some of them are */
    char region[32];   /* of the first of those */
    struct cost cost;
};

const struct tap_result *settle_seen(const struct xchg *x)
{
    static const struct tap_result nothing;

    if (x->turn)
        return &x->turn->seen;
    return x->tap ? tap_result(x->tap) : &nothing;
}

/*
 * The name to price an answer by first: what the operator says is deployed (where Azure was short
 * of capacity, under the name that it took instead), what the path says where that holds more than
 * the answer (regions and profiles of Bedrock; a router's answer says what it chose), else the
 * served one.
 */
struct strv settle_model(const struct xchg *x, struct strv served)
{
    if (x->deployed.n > 0)
        return x->deployed;
    if (x->model.n > 0 && x->model.p != x->facts.model.p)
        return x->model;
    if (protocol_prices_path(x->upstream->protocol) && x->route.path_model.n > 0 &&
        !strv_starts(served, STRV("arn:")))
        return x->facts.model;
    return served;
}

/* Where it was served: by the answer's word, the configuration's or the path's. */
struct strv settle_region(const struct xchg *x)
{
    const struct tap_result *seen = settle_seen(x);

    if (seen->region[0])
        return strv_z(seen->region);
    if (x->session && session_region(x).n > 0)
        return session_region(x);
    return x->upstream->region.n > 0 ? x->upstream->region : x->route.region;
}

void settle_details(const struct xchg *x, struct strv out[DETAIL_COUNT])
{
    const struct tap_result *seen = settle_seen(x);

    out[DETAIL_SEARCH_CTX] =
        seen->search_ctx[0] ? strv_z(seen->search_ctx) : x->facts.search_ctx;
    out[DETAIL_QUALITY] = x->facts.quality;
    out[DETAIL_SIZE] = seen->size[0] ? strv_z(seen->size) : x->facts.size;
    out[DETAIL_STEPS] = STRV_NONE;
}

/* What asks the price of one usage; empty names fall to the request's. */
static void make_query(const struct xchg *x, struct strv model, struct strv tier,
                       const struct usage *usage, struct price_query *out)
{
    *out = (struct price_query){
        .provider = x->upstream->provider,
        .upstream = strv_z(x->upstream->name),
        .model = model,
        .model_requested = x->facts.model,
        .tier = usage_priced_tier(tier),
        .region = settle_region(x),
        .at_us = x->start_wall_us,
        .input_total = usage_context(usage),
        .counted = true};
    settle_details(x, out->detail);
    (void)usage_to_quantities(usage, &out->quantities);
    out->quantities.n[METER_REQUEST] = usage->has ? 1 : 0; /* some models have a fee a call */
    price_count_pixels(out);
}

/* What one usage costs. */
static void price(const struct xchg *x, struct strv model, struct strv tier,
                  const struct usage *usage, struct cost *out)
{
    struct price_query query UNCLEARED;

    make_query(x, model, tier, usage, &query);
    price_memo_find(x->pools->prices, &query);
    price_usage(x->config->book, &query, out);
}

/* Remembers what was priced by itself: only so can the sum be priced again. */
static void keep_part(struct xchg *x, const struct tap_part *told, bool is_answer)
{
    const struct usage *usage = told->usage;
    struct record_part part = {.model = told->model,
                               .is_answer = is_answer,
                               .is_share = told->is_share,
                               .answers = 1,
                               .input_least = usage->n[USAGE_INPUT],
                               .input_most = usage->n[USAGE_INPUT],
                               .usage = *usage};

    if (!x->parts) {
        x->parts = arena_alloc(&x->arena, sizeof(*x->parts));
        if (!x->parts)
            return;
        x->parts->n = 0;
        x->parts->is_too_much = false;
    }
    record_parts_add(x->parts, &part, &x->arena);
}

/* Parts by other models, each at rates of its own; of an answer of a batch, at its tier. */
static void add_parts(struct xchg *x, struct strv tier, bool is_answer, struct cost *sum)
{
    struct tap_part part;
    struct cost cost UNCLEARED;

    for (size_t i = 0; x->tap && tap_part(x->tap, i, &part); i++) {
        price(x, part.model, tier, part.usage, &cost);
        cost_add(sum, &cost);
        keep_part(x, &part, is_answer);
    }
}

/* The answer's usage is what several models took together. */
static bool is_shared(const struct xchg *x)
{
    struct tap_part part;

    return x->tap && x->usage_source == USAGE_PROVIDER && tap_part(x->tap, 0, &part) &&
           part.is_share;
}

struct strv settle_tier(const struct xchg *x)
{
    return x->has_asked_tier ? x->facts.service_tier
                             : session_tier(x, strv_z(settle_seen(x)->service_tier));
}

/* The answer broke off before it said in which tier it was served: the dearer of the one that was
 * asked for and the ordinary one. */
static void price_untold_tier(struct xchg *x, struct strv model)
{
    struct strv asked = usage_priced_tier(x->facts.service_tier);
    struct cost cost;

    if (asked.n == 0 || x->session || settle_seen(x)->service_tier[0] != '\0' ||
        (x->usage_source != USAGE_ESTIMATED && x->usage_source != USAGE_PARTIAL))
        return;
    price(x, model, asked, &x->usage, &cost);
    if (money_cmp(cost.contracted, x->cost->contracted) <= 0)
        return;
    *x->cost = cost;
    x->has_asked_tier = true;
}

/* One answer: its usage at its model's rates, or at those of the models that share it, and what
 * others took beside it. */
static void price_answer(struct xchg *x, const struct tap_result *seen)
{
    struct strv model = settle_model(x, strv_z(seen->model)), tier = settle_tier(x);

    cost_clear(x->cost);
    if (!is_shared(x)) {
        price(x, model, tier, &x->usage, x->cost);
        price_untold_tier(x, model);
        tier = settle_tier(x);
    }
    add_parts(x, tier, false, x->cost);
    if (is_shared(x))
        x->cost->flags |= PRICE_FLAG_COMPOUND;
    if (seen->is_rough && x->cost->status == PRICE_OK)
        x->cost->status = PRICE_PARTIAL;
}

/* By the provider's own word it charges nothing for an answer that said nothing. */
static bool is_spared(const struct xchg *x, bool said_nothing)
{
    return said_nothing && protocol_spares_refusals(x->upstream->provider);
}

/* ---- batches -------------------------------------------------------------------- */

/* A record has one region: of answers from several, none can be priced again. */
static void keep_region(struct xchg *x)
{
    struct batch *batch = x->batch;
    const char *region = settle_seen(x)->region;

    if (!batch->is_billed)
        memcpy(batch->region, region, sizeof(batch->region));
    else if (x->parts && strcmp(batch->region, region) != 0)
        x->parts->is_too_much = true;
}

void count_line(struct xchg *x, const struct counted_line *line, struct counted_lines *sum)
{
    const struct tap_part whole = {.model = line->model, .usage = line->usage};
    struct cost cost;

    sum->n++;
    usage_add(&sum->usage, line->usage);
    if (line->has_cost)
        sum->provider_cost = money_add(sum->provider_cost, line->cost);
    sum->has_cost = sum->has_cost || line->has_cost;
    if (is_spared(x, line->said_nothing))
        return; /* what it counted stays on record */
    sum->is_billed = true;
    price(x, line->model, STRV("batch"), line->usage, &cost);
    cost_add(&sum->cost, &cost);
    keep_part(x, &whole, true);
}

static bool on_answer(void *arg, const struct tap_answer *answer)
{
    struct xchg *x = arg;
    struct batch *batch = x->batch;
    const struct tap_part whole = {.model = answer->model, .usage = answer->usage};
    const struct strv tier = STRV("batch");
    struct cost cost;

    if (answer->n < batch->from)
        return false;
    batch->to = answer->n + 1;
    if (is_spared(x, answer->said_nothing))
        return true; /* what it counted stays on record */
    keep_region(x);
    batch->is_billed = true;
    price(x, answer->model, tier, answer->usage, &cost);
    cost_add(&batch->cost, &cost);
    keep_part(x, &whole, true);
    add_parts(x, tier, true, &batch->cost);
    return true;
}

void count_answers(struct xchg *x)
{
    struct batch *batch;

    /* A part of a file does not say which of its lines it holds. */
    if (x->route.endpoint->kind != ENDPOINT_FETCHED ||
        x->answer.head.status == STATUS_PARTIAL_CONTENT)
        return;
    if (x->route.is_by_name) {
        pages_start(x);
        tap_on_answer(x->tap, pages_on_answer, x);
        return;
    }
    batch = arena_alloc(&x->arena, sizeof(*batch));
    if (!batch)
        return;
    batch->from = collected_known(server_collected(x->worker->server),
                                  collected_key(strv_z(x->upstream->name), x->route.path_id));
    batch->to = 0;
    batch->is_billed = false;
    cost_clear(&batch->cost);
    x->batch = batch;
    tap_on_answer(x->tap, on_answer, x);
}

bool count_claimed(const struct xchg *x, uint64_t *from, uint64_t *to)
{
    if (!x->batch || x->batch->to == 0)
        return false;
    *from = x->batch->from;
    *to = x->batch->to;
    return true;
}

/* ---- generated text ---------------------------------------------------------------- */

void count_text(struct xchg *x)
{
    enum token_encoding encoding;

    if (x->route.endpoint->kind != ENDPOINT_METERED || x->facts.embeds ||
        !token_encoding_of_model(x->model, &encoding))
        return;
    /* What a model thinks is billed and not shown: experience knows more than the text. */
    if (token_model_thinks(x->model) && x->factors.output > 0)
        return;
    tap_count_text(x->tap, worker_tokenizer(x->worker), encoding);
}

/* ---- the whole ------------------------------------------------------------------- */

static void free_of_charge(struct xchg *x)
{
    x->usage = (struct usage){.has = 0};
    x->usage_source = USAGE_NONE;
    cost_clear(x->cost);
    x->cost->status = PRICE_OK; /* nothing was taken: free, not unknown */
}

static void not_billed(struct xchg *x)
{
    cost_clear(x->cost);
    x->cost->status = PRICE_OK;
    x->cost->flags = PRICE_FLAG_NOT_BILLED;
}

/* The provider charges nothing for this call, or somebody else: what it counted stays on record,
 * at no cost. */
static void spare(struct xchg *x, const struct tap_result *seen)
{
    if (is_spared(x, seen->said_nothing) ||
        (x->facts.bills_others && protocol_bills_others(x->upstream->provider)))
        not_billed(x);
}

/* How long each video is that an operation made: as was asked for when it was begun. */
static void count_videos(struct xchg *x, const struct tap_result *seen)
{
    uint64_t ms = collect_noted(x, strv_z(seen->kept_id), "ms");

    if (seen->videos == 0)
        return;
    if (ms > 0)
        usage_set(&x->usage, USAGE_VIDEO_MS, seen->videos * ms);
    else
        x->usage_source = USAGE_PARTIAL;
}

/* The answers of a page that nobody counted before. */
static void count_page(struct xchg *x)
{
    const struct counted_lines *lines = pages_count(x);

    if (lines->n == 0)
        return;
    x->usage = lines->usage;
    x->usage_source = USAGE_PROVIDER;
    *x->cost = lines->cost;
    if (lines->is_billed)
        x->cost->flags |= PRICE_FLAG_COMPOUND;
    else
        not_billed(x);
}

/* The model costs more where a call is long: of the calls of a session nobody tells how long. */
static bool has_lengths(const struct xchg *x, const struct tap_result *seen)
{
    struct price_query query UNCLEARED;
    struct cost cost;

    make_query(x, settle_model(x, strv_z(seen->model)),
               session_tier(x, strv_z(seen->service_tier)), &x->usage, &query);
    query.input_total = USAGE_MAX_COUNT;
    price_usage(x->config->book, &query, &cost);
    return money_cmp(cost.list, x->cost->list) != 0;
}

/* What a session took since it was looked at last. */
static void count_session(struct xchg *x, const struct tap_result *seen)
{
    session_note(x);
    if (session_count(x, &x->usage)) {
        x->usage_source = USAGE_PROVIDER;
        price_answer(x, seen);
        if (x->cost->status == PRICE_OK &&
            (session_is_mixed(x) || has_lengths(x, seen)))
            x->cost->status = PRICE_PARTIAL;
    }
    session_rests(x);
}

/* What a fetched answer tells of, the first time. */
static void count_fetched(struct xchg *x, const struct tap_result *seen)
{
    struct batch *batch = x->batch;

    free_of_charge(x);
    if (x->session) {
        count_session(x, seen);
        return;
    }
    upload_kept(x, seen);
    if (seen->work_over && x->upstream_status / 100 == 2)
        collect_failed(x);
    if (x->pages) {
        count_page(x);
    } else if (x->upstream_status == STATUS_PARTIAL_CONTENT) {
        x->cost->status = PRICE_NONE;
    } else if (x->collecting.is_counted) {
        return;
    } else if (seen->has_usage && batch && batch->to > 0) {
        x->usage = seen->usage;
        x->usage_source = USAGE_PROVIDER;
        *x->cost = batch->cost;
        if (batch->is_billed)
            x->cost->flags |= PRICE_FLAG_COMPOUND; /* each answer by its own length and model */
        else
            not_billed(x);
        collect_done(x, x->answer.body_done);
    } else if (x->collecting.key != 0) {
        x->usage = seen->usage;
        x->usage_source = USAGE_PROVIDER;
        count_videos(x, seen);
        price_answer(x, seen);
        spare(x, seen);
        collect_done(x, true);
    } else if (!seen->has_usage && seen->end == TAP_END_ERROR && x->upstream_status < 400) {
        collect_failed(x);
    }
}

/* What the request alone tells of what the answer counts. */
static void tell_apart(struct xchg *x)
{
    struct usage *u = &x->usage;

    if (x->facts.annotates && usage_has(u, USAGE_PAGES))
        usage_set(u, USAGE_ANNOTATED, u->n[USAGE_PAGES]);
    if (x->facts.enterprise_search && usage_has(u, USAGE_WEB_SEARCH)) {
        usage_set(u, USAGE_ENTERPRISE, u->n[USAGE_WEB_SEARCH]);
        usage_set(u, USAGE_WEB_SEARCH, 0);
    }
}

/* A guardrail is charged beside the model, and only a trace tells what it took. */
static bool is_guarded(const struct xchg *x)
{
    return x->facts.guarded ||
           (protocol_prices_path(x->upstream->protocol) && !x->turn &&
            http1_value(&x->head, STRV("x-amzn-bedrock-guardrailidentifier")).n > 0);
}

static void count_metered(struct xchg *x, const struct tap_result *seen)
{
    if (x->session) { /* mostly what it takes is told of the session, later */
        if (!x->facts.sets_to_work || x->upstream_status >= 400)
            free_of_charge(x);
        count_session(x, seen);
        return;
    }
    if (x->brought && x->brought->is_empty) {
        free_of_charge(x);
        return;
    }
    x->usage_source = estimate_complete(
        &x->facts, seen, x->upstream_status, x->model_max, &x->factors, &x->usage);
    if (x->usage_source == USAGE_NONE &&
        (x->upstream_status >= 400 ||
         (seen->end == TAP_END_ERROR && !seen->pending && !x->facts.later))) {
        x->cost->status = PRICE_OK; /* an error answer is not billed, whatever its status */
        return;
    }
    if (x->turn && x->usage_source != USAGE_PROVIDER && x->usage_source != USAGE_NONE)
        turn_add_sound(x);
    if (x->collecting.is_counted) {
        free_of_charge(x);
        return;
    }
    collect_done(x, true);
    if (!x->turn) /* what a connection carries is not in the message */
        calibration_learn(x->worker->calibration, strv_z(x->upstream->name), x->model, &x->facts,
                          x->estimated, seen);
    tell_apart(x);
    price_answer(x, seen);
    /* What the provider kept of earlier turns is in no request: the estimate is a floor. */
    if (x->facts.server_state && x->usage_source != USAGE_PROVIDER &&
        estimate_lacks_input(&x->facts, seen) && x->cost->status == PRICE_OK)
        x->cost->status = PRICE_PARTIAL;
    if (((is_guarded(x) && !seen->guard_told) || x->facts.has_extras) &&
        x->cost->status == PRICE_OK)
        x->cost->status = PRICE_PARTIAL;
    spare(x, seen);
}

void settle_count(struct xchg *x)
{
    const struct tap_result *seen = settle_seen(x);

    if (x->counted)
        return;
    x->counted = true;
    cost_clear(xchg_cost(x));
    if (!x->upstream || !x->route.endpoint)
        return;
    if (collect_claim(x)) /* nobody waits: what is known here decides */
        collect_cancel(x);
    if (!x->upstream_tried) {
        free_of_charge(x);
        return;
    }
    switch (x->route.endpoint->kind) {
    case ENDPOINT_FREE:
    case ENDPOINT_SOCKET: /* its calls are counted, each on its own */
        free_of_charge(x);
        break;
    case ENDPOINT_FETCHED:
        count_fetched(x, seen);
        break;
    case ENDPOINT_METERED:
        count_metered(x, seen);
        break;
    case ENDPOINT_UNTOLD:
        if (x->upstream_status >= 400)
            free_of_charge(x);
        break;
    case ENDPOINT_UNKNOWN:
        break; /* unknown it stays */
    }
}
