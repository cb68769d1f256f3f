/* The cost of one usage: find the model, its period, its card; multiply and add. */
#include "pricing/price.h"

#include <string.h>

#include "base/check.h"
#include "pricing/book_int.h"

/* A line above it is left out and flagged; 64 lines still fit in 127 bits. */
#define AMOUNT_MAX ((exact_uint)NANO_PER_USD * NANO_PER_USD * NANO_PER_USD * NANO_PER_USD)

const char *price_match_name(enum price_match match)
{
    switch (match) {
    case MATCH_NONE:
        return "none";
    case MATCH_EXACT:
        return "exact";
    case MATCH_FINE_TUNE:
        return "fine-tune";
    case MATCH_STRIPPED:
        return "stripped";
    case MATCH_DATED:
        return "dated";
    case MATCH_REQUESTED:
        return "requested";
    }
    return "none";
}

const char *price_status_name(enum price_status status)
{
    switch (status) {
    case PRICE_OK:
        return "ok";
    case PRICE_PARTIAL:
        return "partial";
    case PRICE_NONE:
        return "unpriced";
    }
    return "unpriced";
}

const char *price_flag_name(unsigned flag)
{
    static const char *const names[] = {
        "rounded-1e-18", "tier-derived",   "no-tier",   "no-rate",
        "ambiguous",     "unseen-variant", "no-period", "too-large",
    };

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (flag == 1u << i)
            return names[i];
    }
    return NULL;
}

/* ---- card ------------------------------------------------------------------- */

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

static const struct price_period *find_period(const struct model *model, int64_t at_us)
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

/* What a request brings to the choice of a card. */
struct asked {
    struct strv tier; /* empty: standard */
    struct strv region;
    uint64_t input_total;
    int64_t at_us;
};

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

/* `used` has a bit for each meter with a quantity. */
static const struct card *choose_card(const struct price_period *period,
                                      const struct asked *asked, uint64_t used, unsigned *flags)
{
    const struct card *best = &period->cards[0];
    bool ambiguous = false;

    for (size_t i = 1; i < period->n_cards; i++) {
        const struct card *card = &period->cards[i];
        int better;

        if (!card_holds(card, asked))
            continue;
        if (card->unseen.n > 0) {
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

static unsigned modifiers_of(const struct provider *provider, const struct card *card,
                             const struct asked *asked)
{
    unsigned bits = 0;

    for (unsigned i = 0; i < card->n_modifiers; i++) {
        if (modifier_holds(&provider->modifiers[card->modifier[i]], asked))
            bits |= 1u << i;
    }
    return bits;
}

/* The multiplier's number, from 1, for a tier that the card does not name; 0: none. */
static size_t tier_of(const struct provider *provider, const struct card *card,
                      struct strv tier)
{
    if (tier.n == 0 || card->tier.n > 0)
        return 0;
    for (size_t i = 0; i < provider->n_tiers; i++) {
        if (strv_eq_nocase(provider->tiers[i].name, tier))
            return i + 1;
    }
    return 0;
}

/* Set of the card at that tier and those modifiers; adjustment 0 is the list. */
static const struct rate_set *card_set(const struct book *book, const struct model *model,
                                       const struct card *card, size_t tier, unsigned modifiers,
                                       uint32_t adjustment)
{
    size_t row = tier << card->n_modifiers | modifiers;

    return &book->sets[card->sets + row * (model->n_adjustments + 1) + adjustment];
}

/* The contract's adjustment for this request, 0 where no rule holds. */
static uint32_t contract_of(const struct book *book, const struct model *model,
                            struct strv upstream, int64_t at_us)
{
    for (size_t i = 0; i < model->n_candidates; i++) {
        const struct rule *rule = &book->rules[model->candidates[i].rule];

        if (at_us >= rule->from_us && at_us < rule->to_us &&
            (rule->upstream.n == 0 || strv_glob(rule->upstream, upstream)))
            return model->candidates[i].adjustment;
    }
    return 0;
}

static bool set_rate(const struct book *book, const struct rate_set *set, enum meter m,
                     exact_uint *rate)
{
    enum meter found = mask_find(book, set->mask, m);

    if (found == METER_COUNT)
        return false;
    *rate = (exact_uint)book->pool[set->at + mask_slot(set->mask, found)];
    return true;
}

/* ---- lines ------------------------------------------------------------------ */

static bool line_amount(const struct book *book, enum meter m, exact_uint rate, uint64_t n,
                        struct money *amount, unsigned *flags)
{
    exact_uint product;
    bool inexact = false;

    if (rate <= UINT64_MAX) /* two words cannot overflow four */
        product = rate * n;
    else if (!exact_mul(rate, n, &product))
        return false;
    if (meter_is_time(m))
        product =
            exact_div_round(product, (exact_uint)book->units[m].per * MS_PER_SECOND, &inexact);
    if (product > AMOUNT_MAX)
        return false;
    if (inexact)
        *flags |= PRICE_FLAG_ROUNDED;
    amount->atto = (money_int)product;
    return true;
}

/* What a million units cost, for people. */
static struct money rate_per_million(const struct book *book, enum meter m, exact_uint rate)
{
    bool inexact;

    rate *= MILLION; /* at most 10^31: rates are bounded at load */
    if (meter_is_time(m))
        rate = exact_div_round(rate, book->units[m].per, &inexact);
    return (struct money){(money_int)rate};
}

/*
 * Measures of one and the same thing: where a provider tells two of them, the one
 * that has a rate is charged and the other is not missing.
 */
static const uint64_t same_thing[] = {
    UINT64_C(1) << METER_IN | UINT64_C(1) << METER_IN_AUDIO | UINT64_C(1) << METER_AUDIO_SEC,
    UINT64_C(1) << METER_IN | UINT64_C(1) << METER_IN_CHAR | UINT64_C(1) << METER_PAGE |
        UINT64_C(1) << METER_RERANK_SEARCH,
    UINT64_C(1) << METER_OUT | UINT64_C(1) << METER_OUT_IMAGE | UINT64_C(1) << METER_IMAGE |
        UINT64_C(1) << METER_IMAGE_MEGAPIXEL | UINT64_C(1) << METER_OUT_GPIXEL,
};

/* Of the meters that have no rate, those that nothing priced stands for. */
static uint64_t really_missing(uint64_t missing, uint64_t priced)
{
    for (size_t i = 0; i < sizeof(same_thing) / sizeof(same_thing[0]); i++) {
        if (priced & same_thing[i])
            missing &= ~same_thing[i];
    }
    return missing & ~meter_bit(METER_REQUEST);
}

/* False where the meter has no rate. */
static bool add_line(const struct book *book, const struct rate_set *list,
                     const struct rate_set *contracted, enum meter m, uint64_t n,
                     struct cost *out)
{
    struct cost_line *line = &out->lines[out->n_lines];
    struct money list_amount;
    unsigned list_flags = 0;
    exact_uint rate, list_rate;

    if (!set_rate(book, contracted, m, &rate))
        return false;
    if (list == contracted || !set_rate(book, list, m, &list_rate))
        list_rate = rate;
    if (!line_amount(book, m, rate, n, &line->amount, &out->flags)) {
        out->flags |= PRICE_FLAG_TOO_LARGE;
        return true;
    }
    list_amount = line->amount;
    if (list_rate != rate && !line_amount(book, m, list_rate, n, &list_amount, &list_flags)) {
        out->flags |= PRICE_FLAG_TOO_LARGE;
        return true;
    }
    line->meter = m;
    line->quantity = n;
    line->rate = rate_per_million(book, m, rate);
    out->contracted = money_add(out->contracted, line->amount);
    out->list = money_add(out->list, list_amount);
    out->n_lines++;
    return true;
}

static uint64_t used_meters(const struct quantities *q)
{
    uint64_t used = 0;

    for (unsigned m = 0; m < METER_COUNT; m++) {
        if (q->n[m] != 0)
            used |= meter_bit((enum meter)m);
    }
    return used;
}

/* ---- finding ---------------------------------------------------------------- */

void cost_clear(struct cost *out)
{
    out->status = PRICE_NONE;
    out->contracted = MONEY_ZERO;
    out->list = MONEY_ZERO;
    out->n_lines = 0;
    out->price_id = STRV_NONE;
    out->confidence = STRV_NONE;
    out->match = MATCH_NONE;
    out->flags = 0;
}

static const struct model *find_asked(const struct book *book, const struct price_query *query,
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
        *match = model ? MATCH_REQUESTED : MATCH_NONE;
    }
    return model;
}

static struct asked asked_of(const struct price_query *query)
{
    return (struct asked){
        .tier = is_standard(query->tier) ? STRV_NONE : query->tier,
        .region = query->region,
        .input_total = query->input_total,
        .at_us = query->at_us,
    };
}

void price_usage(const struct book *book, const struct price_query *query, struct cost *out)
{
    const struct asked asked = asked_of(query);
    uint64_t used = used_meters(&query->quantities), missing = 0;
    const struct rate_set *list, *contracted;
    const struct provider *provider;
    const struct price_period *period;
    const struct model *model;
    const struct card *card;
    size_t tier;
    unsigned modifiers;

    cost_clear(out);
    model = find_asked(book, query, &out->match);
    if (!model)
        return;
    out->confidence = model->confidence;
    period = find_period(model, query->at_us);
    if (!period) {
        out->flags |= PRICE_FLAG_NO_PERIOD;
        return;
    }
    out->price_id = period->price_id;
    if (used == 0)
        return;
    provider = &book->providers[model->provider];
    card = choose_card(period, &asked, used, &out->flags);
    tier = tier_of(provider, card, asked.tier);
    if (tier > 0)
        out->flags |= PRICE_FLAG_TIER_DERIVED;
    else if (asked.tier.n > 0 && card->tier.n == 0)
        out->flags |= PRICE_FLAG_NO_TIER;
    modifiers = modifiers_of(provider, card, &asked);
    list = card_set(book, model, card, tier, modifiers, 0);
    contracted = card_set(book, model, card, tier, modifiers,
                          contract_of(book, model, query->upstream, query->at_us));
    for (uint64_t left = used; left != 0; left &= left - 1) {
        enum meter m = (enum meter)__builtin_ctzll(left);
        uint64_t n = query->quantities.n[m];

        if (m == METER_WEB_SEARCH && model->per_grounded_prompt)
            n = 1;
        if (!add_line(book, list, contracted, m, n, out))
            missing |= meter_bit(m);
    }
    if (really_missing(missing, used & ~missing))
        out->flags |= PRICE_FLAG_NO_METER;
    if (out->n_lines == 0)
        return;
    out->status = PRICE_OK;
    if (out->flags & (PRICE_FLAG_NO_METER | PRICE_FLAG_NO_TIER | PRICE_FLAG_TOO_LARGE))
        out->status = PRICE_PARTIAL;
}

/* ---- worst case ------------------------------------------------------------- */

/* The dearest own rate of these meters; false where the set has none. */
static bool dearest(const struct book *book, const struct rate_set *set, uint64_t meters,
                    exact_uint *rate)
{
    uint64_t left = set->mask & meters;
    bool any = left != 0;

    *rate = 0;
    for (; left != 0; left &= left - 1) {
        unsigned slot = mask_slot(set->mask, (unsigned)__builtin_ctzll(left));
        exact_uint at = (exact_uint)book->pool[set->at + slot];

        if (at > *rate)
            *rate = at;
    }
    return any;
}

static bool set_worst(const struct book *book, const struct rate_set *set, uint64_t input,
                      uint64_t output, struct money *worst)
{
    const uint64_t in =
        meter_bit(METER_IN) | meter_bit(METER_CACHE_WRITE) | meter_bit(METER_CACHE_WRITE_1H);
    const uint64_t out = meter_bit(METER_OUT) | meter_bit(METER_OUT_REASONING) |
                         meter_bit(METER_OUT_AUDIO) | meter_bit(METER_OUT_IMAGE) |
                         meter_bit(METER_OUT_VIDEO);
    exact_uint in_rate, out_rate, fee, in_cost, out_cost;
    bool has_in = dearest(book, set, in, &in_rate);
    bool has_out = dearest(book, set, out, &out_rate);

    if (!has_in && !has_out)
        return false;
    (void)dearest(book, set, meter_bit(METER_REQUEST), &fee);
    if (!exact_mul(in_rate, input, &in_cost) || in_cost > AMOUNT_MAX)
        in_cost = AMOUNT_MAX;
    if (!exact_mul(out_rate, output, &out_cost) || out_cost > AMOUNT_MAX)
        out_cost = AMOUNT_MAX;
    in_cost += out_cost + fee;
    if ((money_int)in_cost > worst->atto)
        worst->atto = (money_int)in_cost;
    return true;
}

/* Whether a card may come to apply, where tier may fall to standard and region is open. */
static bool card_may_hold(const struct card *card, const struct asked *asked, bool tier_is_open)
{
    return (card->tier.n == 0 || tier_is_open || strv_eq_nocase(card->tier, asked->tier)) &&
           asked->input_total >= card->ctx_min &&
           (card->regions.n == 0 || asked->region.n == 0 ||
            list_has_nocase(&card->regions, asked->region)) &&
           (!card->window || window_holds(card->window, asked->at_us));
}

static bool card_worst(const struct book *book, const struct model *model,
                       const struct card *card, const struct asked *asked, uint32_t adjustment,
                       uint64_t input, uint64_t output, struct money *worst)
{
    const struct provider *provider = &book->providers[model->provider];
    size_t tier = tier_of(provider, card, asked->tier);
    bool any = false;

    for (unsigned s = 0; s < 1u << card->n_modifiers; s++) {
        unsigned holding = modifiers_of(provider, card, asked);

        if (asked->region.n > 0 && s != holding)
            continue;
        any |= set_worst(book, card_set(book, model, card, 0, s, adjustment), input, output,
                         worst);
        if (tier > 0)
            any |= set_worst(book, card_set(book, model, card, tier, s, adjustment), input,
                             output, worst);
    }
    return any;
}

bool price_worst_case(const struct book *book, const struct price_query *query,
                      uint64_t input_tokens, uint64_t output_tokens, struct money *out)
{
    struct asked asked = asked_of(query);
    bool tier_is_open = asked.tier.n > 0, any = false;
    struct money worst = MONEY_ZERO;
    const struct price_period *period;
    enum price_match match;
    const struct model *model = find_asked(book, query, &match);
    uint32_t adjustment;

    period = model ? find_period(model, query->at_us) : NULL;
    if (!period)
        return false;
    if (input_tokens > asked.input_total)
        asked.input_total = input_tokens;
    adjustment = contract_of(book, model, query->upstream, query->at_us);
    /* A tier that nothing prices may be served as any that has a card. */
    for (size_t i = 0; i < period->n_cards; i++) {
        if (tier_of(&book->providers[model->provider], &period->cards[i], asked.tier) > 0 ||
            strv_eq_nocase(period->cards[i].tier, asked.tier))
            tier_is_open = false;
    }
    for (size_t i = 0; i < period->n_cards; i++) {
        if (card_may_hold(&period->cards[i], &asked, tier_is_open))
            any |= card_worst(book, model, &period->cards[i], &asked, adjustment, input_tokens,
                              output_tokens, &worst);
    }
    if (any)
        *out = worst;
    return any;
}

uint64_t price_max_output(const struct book *book, struct strv provider, struct strv model)
{
    size_t index = book_provider_index(book, provider);
    enum price_match match;
    const struct model *found;

    if (index == book->n_providers)
        return 0;
    found = match_model(book, (uint32_t)index, model, &match);
    return found ? found->max_output : 0;
}
