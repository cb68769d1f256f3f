#include "reports/lines_pick.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "reports/by_value.h"
#include "reports/waste.h"

enum { SLOTS_LEAST = 1024 };

/* A price, as the rate card tells prices apart. */
struct charge {
    bool is_asked, has_meter;
    enum meter meter;
    bool has_rate;
    struct money rate;
    struct strv tier;
    bool is_correction;
};

/* An attempt of a task: slots of an open hash table, by id. */
struct attempt {
    struct uuid id;
    bool is_used, is_chosen;
};

struct lines_pick {
    const struct ledger_tuples *only;
    struct charge charge;
    bool by_class, is_superseded; /* the word `waste` */
    enum waste_class class;
    struct attempt *at;
    size_t n, slots;
    struct by_value tasks; /* team and task: what corrects unseen attempts of these is chosen */
    enum rc rc;
};

bool lines_pick_is_asked(const struct report_params *p)
{
    return p->waste.n > 0 || p->charge.n > 0;
}

/* ---- attempts --------------------------------------------------------------------------- */

/* Ids are random from their ninth byte on. */
static size_t slot_of(const struct lines_pick *pick, const struct uuid *id)
{
    uint64_t low;
    size_t slot;

    memcpy(&low, id->b + UUID_BYTES - sizeof(low), sizeof(low));
    slot = (size_t)low & (pick->slots - 1);
    while (pick->at[slot].is_used && memcmp(pick->at[slot].id.b, id->b, UUID_BYTES) != 0)
        slot = (slot + 1) & (pick->slots - 1);
    return slot;
}

static void grow(struct lines_pick *pick)
{
    struct attempt *before = pick->at;
    size_t n = pick->slots;

    pick->slots = n ? n * 2 : SLOTS_LEAST;
    pick->at = xcalloc(pick->slots, sizeof(*pick->at));
    for (size_t i = 0; i < n; i++) {
        if (before[i].is_used)
            pick->at[slot_of(pick, &before[i].id)] = before[i];
    }
    free(before);
}

static bool add_attempt(struct lines_pick *pick, const struct uuid *id, bool is_chosen)
{
    size_t slot;

    if (pick->n == LINES_PICK_MAX)
        return false;
    if (2 * pick->n >= pick->slots)
        grow(pick);
    slot = slot_of(pick, id);
    pick->n += !pick->at[slot].is_used;
    pick->at[slot] = (struct attempt){*id, true, is_chosen};
    return true;
}

static bool is_among(const struct ledger_tuples *t, const struct strv *value)
{
    for (size_t k = 0; k < t->n; k++) {
        bool same = true;

        for (size_t i = 0; same && i < t->n_by; i++)
            same = strv_eq(value[i], t->value[k * t->n_by + i]);
        if (same)
            return true;
    }
    return t->n == 0;
}

static bool is_of_class(const struct lines_pick *pick, const struct ledger_attempt *a,
                        enum task_outcome task)
{
    enum ledger_part part = ledger_attempt_part(a);

    return pick->is_superseded ? part == PART_SUPERSEDED
                               : waste_in_task(part, task) == pick->class;
}

static bool on_task(const struct ledger_task *task, void *arg)
{
    struct lines_pick *pick = arg;
    const struct strv key[] = {task->team, task->task};
    bool is_asked = is_among(pick->only, task->value);
    struct money left = task->sums.cost;

    for (size_t i = 0; pick->rc == RC_OK && i < task->n_attempts; i++) {
        const struct ledger_attempt *a = &task->attempt[i];

        left = money_sub(left, a->cost);
        if (!add_attempt(pick, &a->id, is_asked && is_of_class(pick, a, task->outcome)))
            pick->rc = RC_LIMIT;
    }
    if (!money_is_zero(left) && is_asked && !pick->is_superseded &&
        waste_rest(task->outcome) == pick->class && !by_value_at(&pick->tasks, key))
        pick->rc = RC_LIMIT;
    return pick->rc == RC_OK;
}

static enum rc read_tasks(struct run *run, struct lines_pick *pick)
{
    const struct ledger_tuples *only = pick->only;
    struct ledger_filter filter;
    enum rc rc;

    params_filter(run->params, &filter);
    grow(pick);
    rc = ledger_read_tasks(run->reader, &filter, COHORT_SPEND, only->by, only->n_by, 0, on_task,
                           pick, &run->fail);
    return pick->rc != RC_OK ? pick->rc : rc;
}

/* ---- words ------------------------------------------------------------------------------ */

static enum rc wrong(struct run *run, const char *word, struct strv value, const char *why)
{
    enum rc rc = buf_printf(run->error, "%s \"" STRV_FMT "\" %s", word,
                            STRV_ARG(strv_head(value, 80)), why);

    (void)rc; /* a full buffer only cuts the sentence */
    return RC_BAD;
}

static enum rc read_class(struct run *run, struct lines_pick *pick)
{
    struct strv name = run->params->waste;

    if (name.n == 0)
        return RC_OK;
    pick->by_class = true;
    pick->is_superseded = strv_eq(name, STRV("superseded"));
    if (!pick->is_superseded && !waste_class_parse(name, &pick->class))
        return wrong(run, "waste", name, "is neither a class of the report waste nor superseded");
    return read_tasks(run, pick);
}

static enum rc read_charge(struct run *run, struct charge *c)
{
    struct strv rest = run->params->charge, pair;
    bool good = true;

    c->is_asked = rest.n > 0;
    while (good && rest.n && strv_split(&rest, ',', &pair)) {
        size_t equals = strv_find(pair, '=');
        struct strv name = strv_head(pair, equals), value = strv_skip(pair, equals + 1);

        if (strv_eq(name, STRV("meter")))
            good = (c->has_meter = value.n > 0) ? meter_parse(value, &c->meter) : true;
        else if (strv_eq(name, STRV("rate")))
            good = c->has_rate = money_parse(value, &c->rate) == RC_OK;
        else if (strv_eq(name, STRV("tier")))
            c->tier = value;
        else
            good = c->is_correction = strv_eq(pair, STRV("class=correction"));
    }
    return good ? RC_OK
                : wrong(run, "charge", run->params->charge,
                        "is no price (meter=in,rate=2.5,tier=batch,class=correction)");
}

enum rc lines_pick_new(struct run *run, struct lines_pick **out)
{
    struct lines_pick *pick;
    enum rc rc;

    *out = NULL;
    if (!lines_pick_is_asked(run->params))
        return RC_OK;
    pick = *out = xcalloc(1, sizeof(*pick));
    pick->only = &run->params->only;
    by_value_init(&pick->tasks, 2, sizeof(struct valued));
    rc = read_charge(run, &pick->charge);
    return rc == RC_OK ? read_class(run, pick) : rc;
}

void lines_pick_free(struct lines_pick *pick)
{
    if (!pick)
        return;
    by_value_release(&pick->tasks);
    free(pick->at);
    free(pick);
}

/* ---- lines ------------------------------------------------------------------------------ */

static bool is_in_class(const struct lines_pick *pick, const struct record *r)
{
    const struct strv key[] = {r->subject.dim[DIM_TEAM], r->subject.dim[DIM_TASK]};
    const struct attempt *a;
    enum waste_class class = waste_of(r->outcome);

    if (r->subject.dim[DIM_TASK].n == 0) {
        if (class == WASTE_USEFUL && r->is_repeat)
            class = WASTE_DUPLICATE;
        return !pick->is_superseded && class == pick->class;
    }
    a = &pick->at[slot_of(pick, r->is_correction ? &r->corrects : &r->id)];
    if (a->is_used)
        return a->is_chosen;
    return by_value_find(&pick->tasks, key) != NULL;
}

/* Its lines of that price; of no meter: what its lines leave of its cost. */
static bool is_charged(const struct charge *c, const struct record *r, struct charged *out)
{
    struct money rest = r->cost;
    bool holds = false;

    *out = (struct charged){0, MONEY_ZERO};
    if (r->price_status == PRICE_NONE || r->is_correction != c->is_correction ||
        !strv_eq(usage_priced_tier(r->service_tier), c->tier))
        return false;
    for (size_t i = 0; i < r->n_lines; i++) {
        const struct record_line *line = &r->lines[i];
        bool has_rate = !r->is_correction || !money_is_zero(line->rate);

        rest = money_sub(rest, line->amount);
        if (!c->has_meter || line->meter != c->meter || has_rate != c->has_rate ||
            (has_rate && money_cmp(line->rate, c->rate) != 0))
            continue;
        holds = true;
        out->amount = money_add(out->amount, line->amount);
        out->quantity += line->quantity;
    }
    if (c->has_meter)
        return holds;
    out->amount = rest;
    return r->n_lines == 0 || !money_is_zero(rest);
}

bool lines_pick_holds(struct lines_pick *pick, const struct record *r,
                      struct charged *charged)
{
    if (pick->by_class && !is_in_class(pick, r))
        return false;
    return !pick->charge.is_asked || is_charged(&pick->charge, r, charged);
}
