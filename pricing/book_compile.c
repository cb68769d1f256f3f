/* From what was read to what is asked: names to models, rates to integers. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "pricing/book_int.h"

/* ---- names ------------------------------------------------------------------ */

static uint64_t alias_hash(uint32_t provider, struct strv id)
{
    return strv_hash(id) ^ (provider * UINT64_C(0x9e3779b97f4a7c15));
}

static uint32_t *alias_slot(const struct book *book, uint32_t provider, struct strv id)
{
    uint64_t hash = alias_hash(provider, id);

    for (size_t i = (hash ^ hash >> 32) & (book->n_slots - 1);;
         i = (i + 1) & (book->n_slots - 1)) {
        const struct alias *alias;

        if (book->slots[i] == 0)
            return &book->slots[i];
        alias = &book->aliases[book->slots[i] - 1];
        if (alias->provider == provider && strv_eq(alias->id, id))
            return &book->slots[i];
    }
}

const struct alias *book_alias(const struct book *book, uint32_t provider, struct strv id)
{
    uint32_t at = *alias_slot(book, provider, id);

    return at ? &book->aliases[at - 1] : NULL;
}

static struct alias *alias_make(struct book *book, uint32_t provider, struct strv id)
{
    uint32_t *slot = alias_slot(book, provider, id);

    if (*slot == 0) {
        book->aliases[book->n_aliases] = (struct alias){.id = id, .provider = provider};
        *slot = (uint32_t)++book->n_aliases;
    }
    return &book->aliases[*slot - 1];
}

static void alias_table_new(struct book *book, size_t names)
{
    free(book->slots);
    free(book->aliases);
    for (book->n_slots = 16; book->n_slots < names * 2;)
        book->n_slots *= 2;
    book->slots = xcalloc(book->n_slots, sizeof(book->slots[0]));
    book->aliases = xcalloc(names + 1, sizeof(book->aliases[0]));
    book->n_aliases = 0;
}

static void twice(struct build *b, const struct model *model, const struct model *other,
                  struct strv id)
{
    const struct strv provider = b->book->providers[model->provider].name;

    b->file = &b->files[model->file];
    build_problem(b, provider, model->id, id.p,
                  "provider \"" STRV_FMT "\": id \"" STRV_FMT "\" belongs to \"" STRV_FMT
                  "\" and \"" STRV_FMT "\"; leave it at one",
                  STRV_ARG(provider), STRV_ARG(id), STRV_ARG(other->id), STRV_ARG(model->id));
}

/* Of two entries of one id the later file's stays; in one file that is a fault. */
static void drop_replaced(struct build *b)
{
    struct book *book = b->book;

    alias_table_new(book, book->n_models);
    for (size_t i = 0; i < book->n_models; i++) {
        struct model *model = &book->models[i];
        struct alias *alias = alias_make(book, model->provider, model->id);

        if (alias->model != 0) {
            struct model *other = &book->models[alias->model - 1];

            if (other->file == model->file)
                twice(b, model, other, model->id);
            other->gone = true;
        }
        alias->model = (uint32_t)i + 1;
    }
}

static void name_model(struct build *b, size_t index)
{
    struct book *book = b->book;
    const struct model *model = &book->models[index];

    for (size_t i = 0; i < model->ids.n; i++) {
        struct alias *alias = alias_make(book, model->provider, model->ids.at[i]);

        if (alias->model != 0 && alias->model != index + 1 &&
            book->models[alias->model - 1].file == model->file)
            twice(b, model, &book->models[alias->model - 1], alias->id);
        alias->model = (uint32_t)index + 1;
    }
    for (size_t i = 0; i < model->dated.n; i++)
        alias_make(book, model->provider, model->dated.at[i])->dated_model =
            (uint32_t)index + 1;
}

static void name_models(struct build *b)
{
    struct book *book = b->book;
    size_t names = 0;

    drop_replaced(b);
    for (size_t i = 0; i < book->n_models; i++)
        names += book->models[i].gone ? 0 : book->models[i].ids.n + book->models[i].dated.n;
    alias_table_new(book, names);
    for (size_t i = 0; i < book->n_models; i++) {
        if (!book->models[i].gone)
            name_model(b, i);
    }
}

/* ---- units, modifiers, calendars -------------------------------------------- */

static void check_units(struct build *b)
{
    struct book *book = b->book;

    for (unsigned m = 0; m < METER_COUNT; m++) {
        enum meter at = (enum meter)m;
        unsigned steps = 0;

        if (book->units[m].is_token)
            book->token_mask |= meter_bit((enum meter)m);
        while (at != METER_COUNT && book->units[at].known && steps++ <= METER_COUNT)
            at = book->units[at].falls_to;
        if (steps > METER_COUNT) {
            build_problem(b, STRV_NONE, STRV_NONE, meter_name((enum meter)m),
                          "unit \"%s\" falls to itself", meter_name((enum meter)m));
            book->units[m].falls_to = METER_COUNT;
        }
        if (!book->units[m].known)
            book->units[m].falls_to = METER_COUNT;
    }
}

static void model_add_modifier(struct build *b, struct model *model, size_t modifier)
{
    const struct strv provider = b->book->providers[model->provider].name;

    for (size_t i = 0; i < model->n_modifiers; i++) {
        if (model->modifier[i] == modifier)
            return;
    }
    if (model->n_modifiers == BOOK_MODEL_MODIFIERS_MAX) {
        build_problem(b, provider, STRV_NONE, "modifiers",
                      "provider \"" STRV_FMT "\": more than %d modifiers fit model \"" STRV_FMT
                      "\"",
                      STRV_ARG(provider), BOOK_MODEL_MODIFIERS_MAX, STRV_ARG(model->id));
        return;
    }
    model->modifier[model->n_modifiers++] = (uint8_t)modifier;
}

static void assign_modifiers(struct build *b)
{
    struct book *book = b->book;

    for (size_t p = 0; p < book->n_providers; p++) {
        for (size_t i = 0; i < book->providers[p].n_modifiers; i++) {
            const struct modifier *modifier = &book->providers[p].modifiers[i];

            for (size_t k = 0; k < modifier->only.n; k++) {
                const struct alias *alias = book_alias(book, (uint32_t)p, modifier->only.at[k]);

                if (alias && alias->model != 0)
                    model_add_modifier(b, &book->models[alias->model - 1], i);
            }
        }
    }
    for (size_t k = 0; k < book->n_models; k++) {
        const struct provider *provider = &book->providers[book->models[k].provider];

        for (size_t i = 0; i < provider->n_modifiers; i++) {
            if (!provider->modifiers[i].has_only)
                model_add_modifier(b, &book->models[k], i);
        }
    }
}

static void resolve_calendar(struct build *b, const struct model *model, struct window *w)
{
    const struct provider *provider = &b->book->providers[model->provider];

    for (size_t i = 0; i < provider->n_calendars && w->not_on_name.n > 0; i++) {
        if (strv_eq(provider->calendars[i].name, w->not_on_name))
            w->not_on = &provider->calendars[i];
    }
    if (w->not_on_name.n > 0 && !w->not_on)
        build_problem(b, provider->name, model->id, "not_on",
                      "provider \"" STRV_FMT "\", model \"" STRV_FMT
                      "\": there is no calendar \"" STRV_FMT "\"; add it to calendars",
                      STRV_ARG(provider->name), STRV_ARG(model->id), STRV_ARG(w->not_on_name));
}

/* ---- rates ------------------------------------------------------------------ */

/* One card's way from written rates to sets. */
struct compile {
    struct build *b;
    const struct model *model;
    const struct provider *provider;
    uint64_t mask;
    money_int rate[METER_COUNT]; /* of a single unit; of time meters of `per` seconds */
    bool failed;                 /* said once a card */
    size_t sets_room;
};

static void rate_problem(struct compile *c, enum meter m, const char *what)
{
    if (c->failed)
        return;
    c->failed = true;
    build_problem(c->b, c->provider->name, c->model->id, meter_name(m),
                  "provider \"" STRV_FMT "\", model \"" STRV_FMT "\": the rate of \"%s\" %s",
                  STRV_ARG(c->provider->name), STRV_ARG(c->model->id), meter_name(m), what);
}

/* The rate of one unit from the rate of `per` units; false (and a problem) where not whole. */
static bool single_rate(struct compile *c, enum meter m, money_int written, money_int *out)
{
    static const money_int max = (money_int)RATE_MAX_USD * NANO_PER_USD * ATTO_PER_NANO;
    const struct unit *unit = &c->b->book->units[m];

    if (!unit->known) {
        rate_problem(c, m, "has no unit; add it to units");
        return false;
    }
    if (!meter_is_time(m) && written % (money_int)unit->per != 0) {
        rate_problem(c, m,
                     "is not a whole number of 10^-18 dollars for one unit; write fewer "
                     "decimals");
        return false;
    }
    *out = meter_is_time(m) ? written : written / (money_int)unit->per;
    if (*out > max) {
        rate_problem(c, m, "is over 10,000 dollars for one unit; is it meant per million?");
        return false;
    }
    return true;
}

static void take_written(struct compile *c, const struct written *w, uint64_t which)
{
    for (unsigned m = 0, slot = 0; m < METER_COUNT; m++) {
        if ((w->mask >> m & 1) == 0)
            continue;
        if ((which >> m & 1) && single_rate(c, (enum meter)m, w->rate[slot], &c->rate[m]))
            c->mask |= UINT64_C(1) << m;
        slot++;
    }
}

/*
 * A variant's token rates replace all of the base; meters of other kinds that it
 * lacks come from the base, those that no card has from the provider's fees.
 */
static void gather_rates(struct compile *c, const struct card *base, const struct card *card)
{
    uint64_t tokens = c->b->book->token_mask;

    c->mask = 0;
    take_written(c, &card->written, ~UINT64_C(0));
    if (card != base) {
        uint64_t hidden = card->written.mask & tokens ? tokens : 0;

        take_written(c, &base->written, ~(hidden | c->mask));
    }
    take_written(c, &c->provider->fees, ~(c->mask | tokens));
}

static bool set_factor(const struct compile *c, const struct card *card, size_t tier,
                       unsigned modifiers, enum meter m, struct factor *out)
{
    bool is_token = (c->b->book->token_mask >> (unsigned)m & 1) != 0;

    *out = FACTOR_ONE;
    if (tier > 0 && is_token && (c->provider->tier_keeps >> (unsigned)m & 1) == 0)
        *out = c->provider->tiers[tier - 1].factor;
    for (unsigned i = 0; i < card->n_modifiers; i++) {
        const struct modifier *modifier = &c->provider->modifiers[card->modifier[i]];

        if ((modifiers >> i & 1) && (is_token || !modifier->token_only) &&
            !factor_mul(*out, modifier->factor, out))
            return false;
    }
    return true;
}

static bool adjusted_rate(struct compile *c, const struct adjustment *adjustment,
                          struct factor factor, enum meter m, money_int *out)
{
    if (adjustment && (adjustment->rates.mask & meter_bit(m)))
        return single_rate(c, m, adjustment->rates.rate[mask_slot(adjustment->rates.mask, m)],
                           out);
    if (adjustment && adjustment->rates.mask == 0 &&
        (!adjustment->token_only || (c->b->book->token_mask & meter_bit(m))) &&
        !factor_mul(factor, adjustment->factor, &factor))
        return false;
    return factor_apply(c->rate[m], factor, out) &&
           *out <= (money_int)RATE_MAX_USD * FACTOR_MAX * NANO_PER_USD * ATTO_PER_NANO;
}

static bool sets_are_full(struct compile *c)
{
    struct book *book = c->b->book;

    if (book->n_sets < BOOK_SETS_MAX && book->n_pool + METER_COUNT < BOOK_POOL_MAX)
        return false;
    if (!c->b->is_full)
        build_problem(c->b, STRV_NONE, STRV_NONE, NULL,
                      "prices times contract rules are more than this program holds; use fewer "
                      "or narrower rules");
    c->b->is_full = true;
    return true;
}

static void add_set(struct compile *c, const struct card *card, size_t tier, unsigned modifiers,
                    const struct adjustment *adjustment)
{
    struct book *book = c->b->book;
    uint64_t mask = c->mask | (adjustment ? adjustment->rates.mask : 0);
    money_int rates[METER_COUNT];
    size_t n = 0;

    if (sets_are_full(c))
        return;
    for (unsigned m = 0; m < METER_COUNT; m++) {
        struct factor factor = FACTOR_ONE;
        money_int rate = 0;

        if ((mask >> m & 1) == 0)
            continue;
        if (!set_factor(c, card, tier, modifiers, (enum meter)m, &factor) ||
            !adjusted_rate(c, adjustment, factor, (enum meter)m, &rate))
            rate_problem(
                c, (enum meter)m,
                "times its tier, region or contract multiplier is too large or not a whole "
                "number of 10^-18 dollars; write a multiplier with fewer decimals");
        rates[n++] = rate;
    }
    book->sets = build_grow(book->sets, &book->n_sets, &c->sets_room, sizeof(book->sets[0]));
    book->sets[book->n_sets - 1] =
        (struct rate_set){.mask = mask, .at = build_rates(c->b, rates, n)};
}

static void compile_card(struct compile *c, const struct card *base, struct card *card)
{
    const struct book *book = c->b->book;
    size_t tiers = card->tier.n > 0 ? 0 : c->provider->n_tiers;

    c->failed = false;
    for (size_t i = 0; i < c->model->n_modifiers; i++) {
        const struct modifier *modifier = &c->provider->modifiers[c->model->modifier[i]];

        if (card->regions.n == 0 || modifier->regions.n == 0)
            card->modifier[card->n_modifiers++] = c->model->modifier[i];
    }
    gather_rates(c, base, card);
    card->sets = (uint32_t)book->n_sets;
    for (size_t t = 0; t <= tiers; t++) {
        for (unsigned s = 0; s < 1u << card->n_modifiers; s++) {
            add_set(c, card, t, s, NULL);
            for (size_t a = 0; a < c->model->n_adjustments; a++)
                add_set(c, card, t, s, &book->adjustments[c->model->adjustments[a]]);
        }
    }
}

static void compile_model(struct compile *c, const struct model *model)
{
    struct build *b = c->b;

    b->file = &b->files[model->file];
    c->model = model;
    c->provider = &b->book->providers[model->provider];
    for (size_t i = 0; i < model->n_periods && !b->is_full; i++) {
        struct price_period *period = &model->periods[i];
        struct strv from = period->from_text.n > 0 ? period->from_text : STRV("start");
        char *id = xasprintf(STRV_FMT "/" STRV_FMT "@" STRV_FMT, STRV_ARG(c->provider->name),
                             STRV_ARG(model->id), STRV_ARG(from));

        period->price_id = build_strv(b, strv_z(id));
        free(id);
        for (size_t k = 0; k < period->n_cards && !b->is_full; k++) {
            if (period->cards[k].window)
                resolve_calendar(b, model, period->cards[k].window);
            compile_card(c, &period->cards[0], &period->cards[k]);
        }
    }
}

void book_compile(struct build *b, const struct price_rule *rules, size_t n_rules)
{
    struct book *book = b->book;
    struct compile c = {.b = b};

    b->file = b->files;
    check_units(b);
    name_models(b);
    assign_modifiers(b);
    rules_read(b, rules, n_rules);
    rules_assign(b);
    for (size_t i = 0; i < book->n_models; i++) {
        if (!book->models[i].gone)
            compile_model(&c, &book->models[i]);
    }
}
