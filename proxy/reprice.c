/* From records to what they cost by the book of today, and what differs. */
#include "proxy/reprice.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/ledger/record_part.h"

enum { PROGRESS_EVERY = 64, GROUPS_BYTES = 64 << 20 };

void reprice_init(struct reprice *r)
{
    *r = (struct reprice){.closed_us = INT64_MIN};
    arena_init(&r->arena, GROUPS_BYTES);
}

void reprice_release(struct reprice *r)
{
    free(r->groups);
    arena_release(&r->arena);
}

/* The upstream's provider; where it is configured no more, that of the price it had. */
static struct strv provider_of(const struct config *config, const struct record *record)
{
    const struct upstream_config *up =
        config_upstream(config, record->subject.dim[DIM_UPSTREAM]);
    struct strv id = record->price_id;

    if (up)
        return up->provider;
    return book_provider(config->book, strv_head(id, strv_find(id, '/')), STRV_NONE);
}

/* All that a record says beside its counts. */
static void common_query(const struct config *config, const struct record *record,
                         struct price_query *out)
{
    *out = (struct price_query){
        .provider = provider_of(config, record),
        .upstream = record->subject.dim[DIM_UPSTREAM],
        .model = record->priced_model.n ? record->priced_model : record->model,
        .model_requested = record->model_requested,
        .tier = usage_priced_tier(record->service_tier),
        .region = record->region,
        .at_us = record->start_us,
        .counted = true,
    };
    memcpy(out->detail, record->detail, sizeof(out->detail));
}

bool reprice_query(const struct config *config, const struct record *record,
                   struct price_query *out)
{
    if (record->usage.has == 0)
        return false;
    common_query(config, record, out);
    out->input_total = usage_context(&record->usage);
    (void)usage_to_quantities(&record->usage, &out->quantities);
    out->quantities.n[METER_REQUEST] = 1;
    price_count_pixels(out);
    return true;
}

/*
 * A group of answers. False where the book of today has different prices for its shortest and
 * its longest: how many there are of either is not known.
 */
static bool price_part(const struct config *config, const struct record *record,
                       const struct record_part *part, struct cost *out)
{
    struct price_query query;
    struct cost longest;

    common_query(config, record, &query);
    query.model = part->model;
    if (part->is_answer)
        query.tier = STRV("batch");
    query.input_total = part->input_least;
    (void)usage_to_quantities(&part->usage, &query.quantities);
    query.quantities.n[METER_REQUEST] = part->answers;
    price_count_pixels(&query);
    price_usage(config->book, &query, out);
    if (part->input_most == part->input_least)
        return true;
    query.input_total = part->input_most;
    price_usage(config->book, &query, &longest);
    return money_cmp(out->contracted, longest.contracted) == 0 &&
           money_cmp(out->list, longest.list) == 0;
}

/* False where the record does not hold enough to tell. */
static bool price_parts(const struct config *config, const struct record *record,
                        struct cost *out)
{
    struct strv rest = record->parts;
    struct price_query query;
    struct record_part part;
    struct cost cost;
    bool is_first = true;

    if (rest.n == 0)
        return false;
    while (rest.n > 0) {
        if (record_parts_next(&rest, &part) != RC_OK ||
            !price_part(config, record, &part, &cost))
            return false;
        /* What stands beside the record's own usage comes after it. */
        if (is_first && !part.is_answer && !part.is_share && reprice_query(config, record, &query))
            price_usage(config->book, &query, out);
        is_first = false;
        cost_add(out, &cost);
    }
    return true;
}

/* ---- groups ------------------------------------------------------------------------- */

static int group_order(const struct reprice_group *g, struct strv team, struct strv model)
{
    int by = strv_cmp(g->team, team);

    return by != 0 ? by : strv_cmp(g->model, model);
}

/* Place of the group, or where it would stand. */
static size_t group_place(const struct reprice *r, struct strv team, struct strv model)
{
    size_t low = 0, high = r->n_groups;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (group_order(&r->groups[middle], team, model) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* NULL with fail where there are too many. */
static struct reprice_group *group_of(struct reprice *r, const struct record *record)
{
    struct strv team = record->subject.dim[DIM_TEAM], model = record->subject.dim[DIM_MODEL];
    size_t at = group_place(r, team, model);
    struct reprice_group *g;

    if (at < r->n_groups && group_order(&r->groups[at], team, model) == 0)
        return &r->groups[at];
    if (r->n_groups == REPRICE_GROUPS_MAX) {
        r->fail = (struct fail){.rc = RC_LIMIT,
                                .doing = "add up that many teams and models: ask for fewer"};
        return NULL;
    }
    if ((r->n_groups & (r->n_groups - 1)) == 0)
        r->groups =
            xrealloc(r->groups, (r->n_groups ? r->n_groups * 2 : 1) * sizeof(r->groups[0]));
    g = &r->groups[at];
    memmove(g + 1, g, (r->n_groups - at) * sizeof(*g));
    r->n_groups++;
    *g = (struct reprice_group){.team = arena_strv(&r->arena, team),
                                .model = arena_strv(&r->arena, model)};
    return g;
}

/* ---- one line ------------------------------------------------------------------------ */

static enum rc correct(struct reprice *r, const struct record *record,
                       const struct charged *charged, const struct cost *cost)
{
    struct record *made = xmalloc(sizeof(*made));
    enum rc rc = RC_OK;

    if (correction_make(record, charged, cost, strv_z(book_hash(r->config->book)), r->reason,
                        r->by, r->closed_us, made)) {
        r->last = made->id;
        rc = corrector_add(r->corrector, made, &r->fail);
        r->corrections += rc == RC_OK;
    }
    free(made);
    return rc;
}

static enum rc one_line(struct reprice *r, const struct record *record)
{
    struct reprice_group *g = group_of(r, record);
    struct price_query query;
    struct charged charged;
    struct cost cost;
    enum rc rc;

    if (!g)
        return RC_LIMIT;
    g->requests++;
    rc = ledger_read_charged(r->reader, record, &charged, &r->fail);
    if (rc != RC_OK)
        return rc;
    g->before = ledger_money_add(g->before, charged.cost);
    cost_clear(&cost);
    if (record->price_flags & PRICE_FLAG_NOT_BILLED) {
        g->after = ledger_money_add(g->after, charged.cost);
        return RC_OK;
    }
    if (record->price_flags & PRICE_FLAG_COMPOUND) {
        if (!price_parts(r->config, record, &cost)) {
            cost_clear(&cost);
            r->compound++;
        }
    } else if (reprice_query(r->config, record, &query)) {
        price_usage(r->config->book, &query, &cost);
    }
    if (cost.status == PRICE_NONE) {
        g->unpriced += record->usage.has != 0;
        g->after = ledger_money_add(g->after, charged.cost);
        return RC_OK;
    }
    g->after = ledger_money_add(g->after, cost.contracted);
    if (charged.is_priced && money_cmp(charged.cost, cost.contracted) == 0 &&
        money_cmp(charged.list, cost.list) == 0)
        return RC_OK;
    g->changed++;
    g->late_priced += !charged.is_priced;
    return r->corrector ? correct(r, record, &charged, &cost) : RC_OK;
}

static bool on_line(uint64_t seq, const struct record *record, void *arg)
{
    struct reprice *r = arg;

    (void)seq;
    if (record->is_correction)
        return true;
    r->looked_at++;
    if (r->progress && r->looked_at % PROGRESS_EVERY == 0 &&
        !r->progress(r->looked_at, r->arg)) {
        r->is_stopped = true;
        return false;
    }
    return one_line(r, record) == RC_OK;
}

enum rc reprice_run(struct reprice *r, const struct ledger_filter *filter)
{
    struct fail fail = {0};
    enum rc rc = ledger_read_lines(r->reader, filter, LEDGER_OLDEST, 0, 0, on_line, r, &fail);

    if (rc != RC_OK)
        r->fail = fail;
    if (r->fail.rc != RC_OK)
        return r->fail.rc;
    return r->corrector ? corrector_flush(r->corrector, &r->fail) : RC_OK;
}
