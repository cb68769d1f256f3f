/* From a query to the rates that apply: the model, its period, its card, the contract. */
#include "pricing/price_int.h"

static bool is_standard(struct strv tier)
{
    static const struct strv names[] = {
        {"standard", 8},
        {"default", 7},
        {"auto", 4},
        {"on_demand", 9},
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && tier.n > 0; i++) {
        if (strv_eq_nocase(tier, names[i]))
            return true;
    }
    return tier.n == 0;
}

static const struct model *look_up(const struct book *book, const struct price_query *query,
                                   enum price_match *match)
{
    size_t provider = book_provider_index(book, query->provider);
    const struct model *model;

    *match = MATCH_NONE;
    if (provider == book->n_providers)
        return NULL;
    model = match_model(book, (uint32_t)provider, query->model, match);
    if (!model) {
        model = match_model(book, (uint32_t)provider, query->model_requested, match);
        if (model && *match != MATCH_REGIONAL)
            *match = MATCH_REQUESTED;
    }
    return model;
}

void price_find(const struct book *book, struct price_query *query)
{
    query->found.model = look_up(book, query, &query->found.match);
    query->found.is_known = true;
}

const struct model *card_find_model(const struct book *book, const struct price_query *query,
                                    enum price_match *match)
{
    if (!query->found.is_known)
        return look_up(book, query, match);
    *match = query->found.match;
    return query->found.model;
}

struct asked card_asked(const struct book *book, const struct model *model,
                        const struct price_query *query, enum price_match match)
{
    struct asked asked = {
        .tier = is_standard(query->tier) ? STRV_NONE : query->tier,
        .region = query->region,
        .input_total = query->input_total,
        .has_media = query->has_media,
        .at_us = query->at_us,
        .detail = query->detail,
    };

    if (match == MATCH_REGIONAL) { /* what the id says is charged, wherever the request went */
        const struct provider *provider = &book->providers[model->provider];
        struct strv region = match_region(provider, query->model);

        if (region.n == 0)
            region = match_region(provider, query->model_requested);
        if (region.n > 0)
            asked.region = region;
    }
    return asked;
}

/* ---- card ------------------------------------------------------------------- */

const struct price_period *card_period(const struct model *model, int64_t at_us)
{
    size_t low = 0, high = model->n_periods;

    while (low < high) { /* the last that has begun */
        size_t middle = low + (high - low) / 2;

        if (model->periods[middle].from_us <= at_us)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0 || at_us >= model->periods[low - 1].to_us)
        return NULL;
    return &model->periods[low - 1];
}

bool card_details_hold(const struct card *card, const struct asked *asked, bool *unseen)
{
    *unseen = false;
    for (unsigned d = 0; d < DETAIL_COUNT; d++) {
        if (card->detail[d].n == 0)
            continue;
        if (asked->detail[d].n == 0)
            *unseen = true;
        else if (!strv_eq_nocase(card->detail[d], asked->detail[d]))
            return false;
    }
    return true;
}

static bool card_holds(const struct card *card, const struct asked *asked)
{
    return (card->tier.n == 0 || strv_eq_nocase(card->tier, asked->tier)) &&
           asked->input_total >= card->ctx_min &&
           (card->regions.n == 0 || list_has_nocase(&card->regions, asked->region)) &&
           (!card->window || window_holds(card->window, asked->at_us));
}

/* Positive where a is the better of two cards that hold; 0: neither. */
static int card_better(const struct card *a, const struct card *b)
{
    if (a->n_keys != b->n_keys)
        return a->n_keys > b->n_keys ? 1 : -1;
    if (a->ctx_min != b->ctx_min)
        return a->ctx_min > b->ctx_min ? 1 : -1;
    return 0;
}

const struct card *card_choose(const struct price_period *period, const struct asked *asked,
                               uint64_t used, unsigned *flags)
{
    const struct card *best = &period->cards[0];
    bool ambiguous = false;

    for (size_t i = 1; i < period->n_cards; i++) {
        const struct card *card = &period->cards[i];
        bool unseen;
        int better;

        if (!card_holds(card, asked) || !card_details_hold(card, asked, &unseen))
            continue;
        if (unseen) {
            if (card->written.mask & used)
                *flags |= PRICE_FLAG_UNSEEN;
            continue;
        }
        better = card_better(card, best);
        /* Of two that fit equally the one that names the tier is nearer to what was served. */
        if (better > 0 || (better == 0 && card->tier.n > 0 && best->tier.n == 0))
            best = card;
        if (better >= 0)
            ambiguous = better == 0;
    }
    if (ambiguous)
        *flags |= PRICE_FLAG_AMBIGUOUS;
    return best;
}

/* ---- sets ------------------------------------------------------------------- */

static bool modifier_holds(const struct modifier *modifier, const struct asked *asked)
{
    return (modifier->regions.n == 0 || list_has_nocase(&modifier->regions, asked->region)) &&
           (modifier->tier.n == 0 || strv_eq_nocase(modifier->tier, asked->tier));
}

unsigned card_modifiers(const struct provider *provider, const struct card *card,
                        const struct asked *asked)
{
    unsigned bits = 0;

    for (unsigned i = 0; i < card->n_modifiers; i++) {
        if (modifier_holds(&provider->modifiers[card->modifier[i]], asked))
            bits |= 1u << i;
    }
    return bits;
}

size_t card_tier(const struct provider *provider, const struct card *card, struct strv tier)
{
    if (tier.n == 0 || card->tier.n > 0)
        return 0;
    for (size_t i = 0; i < provider->n_tiers; i++) {
        if (strv_eq_nocase(provider->tiers[i].name, tier))
            return i + 1;
    }
    return 0;
}

const struct rate_set *card_set(const struct book *book, const struct model *model,
                                const struct card *card, size_t tier, unsigned modifiers,
                                uint32_t adjustment)
{
    size_t row = tier << card->n_modifiers | modifiers;

    return &book->sets[card->sets + row * (model->n_adjustments + 1) + adjustment];
}

const struct candidate *card_contract(const struct book *book, const struct model *model,
                                      struct strv upstream, const struct asked *asked)
{
    for (size_t i = 0; i < model->n_candidates; i++) {
        const struct rule *rule = &book->rules[model->candidates[i].rule];

        if (asked->at_us >= rule->from_us && asked->at_us < rule->to_us &&
            (rule->tier.n == 0 || strv_eq_nocase(rule->tier, asked->tier)) &&
            (rule->upstream.n == 0 || strv_glob(rule->upstream, upstream)))
            return &model->candidates[i];
    }
    return NULL;
}

bool price_variant_of(const struct book *book, const struct price_query *query,
                      struct price_variant *out)
{
    const struct price_period *period;
    const struct model *model;
    const struct card *card;
    enum price_match match;
    struct asked asked;
    unsigned flags = 0;

    *out = (struct price_variant){.ctx_min = 0};
    model = card_find_model(book, query, &match);
    period = model ? card_period(model, query->at_us) : NULL;
    if (!period)
        return false;
    asked = card_asked(book, model, query, match);
    card = card_choose(period, &asked, 0, &flags);
    out->ctx_min = card->ctx_min;
    out->window = card->window ? card->window->text : STRV_NONE;
    out->other = card->details;
    return true;
}
