/* The most that a call can cost, for a reservation before it is made. */
#include "pricing/price_int.h"

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

static bool set_worst(const struct book *book, const struct rate_set *set, bool has_media,
                      uint64_t input, uint64_t output, struct money *worst)
{
    const uint64_t text =
        meter_bit(METER_IN) | meter_bit(METER_CACHE_WRITE) | meter_bit(METER_CACHE_WRITE_1H);
    const uint64_t media =
        meter_bit(METER_IN_AUDIO) | meter_bit(METER_IN_IMAGE) | meter_bit(METER_IN_VIDEO);
    const uint64_t in = has_media ? text | media : text;
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
    bool unseen;

    return (card->tier.n == 0 || tier_is_open || strv_eq_nocase(card->tier, asked->tier)) &&
           card_details_hold(card, asked, &unseen) && asked->input_total >= card->ctx_min &&
           (card->regions.n == 0 || asked->region.n == 0 ||
            list_has_nocase(&card->regions, asked->region)) &&
           (!card->window || window_holds(card->window, asked->at_us));
}

/* Other tiers are wishes; what is sent as a batch is served as one. */
static bool tier_is_sure(const struct asked *asked)
{
    return strv_eq_nocase(asked->tier, STRV("batch"));
}

static bool card_worst(const struct book *book, const struct model *model,
                       const struct card *card, const struct asked *asked, uint32_t adjustment,
                       uint64_t input, uint64_t output, struct money *worst)
{
    const struct provider *provider = &book->providers[model->provider];
    size_t tier = card_tier(provider, card, asked->tier);
    bool any = false;

    for (unsigned s = 0; s < 1u << card->n_modifiers; s++) {
        unsigned holding = card_modifiers(provider, card, asked);

        if (asked->region.n > 0 && s != holding)
            continue;
        if (tier == 0 || !tier_is_sure(asked))
            any |= set_worst(book, card_set(book, model, card, 0, s, adjustment), asked->has_media,
                             input, output, worst);
        if (tier > 0)
            any |= set_worst(book, card_set(book, model, card, tier, s, adjustment),
                             asked->has_media, input, output, worst);
    }
    return any;
}

/* The contract in the tier asked for, and in the standard one that may be served instead; how
 * many they are: one where it is the same. */
static size_t contracts_of(const struct book *book, const struct model *model,
                           struct strv upstream, const struct asked *asked, uint32_t out[2])
{
    struct asked standard = *asked;
    const struct candidate *rule = card_contract(book, model, upstream, asked);

    out[0] = rule ? rule->adjustment : 0;
    if (asked->tier.n == 0)
        return 1;
    standard.tier = STRV_NONE;
    rule = card_contract(book, model, upstream, &standard);
    out[1] = rule ? rule->adjustment : 0;
    return out[1] != out[0] ? 2 : 1;
}

bool price_worst_case(const struct book *book, const struct price_query *query,
                      uint64_t input_tokens, uint64_t output_tokens, struct money *out)
{
    struct money worst = MONEY_ZERO;
    const struct price_period *period;
    enum price_match match;
    const struct model *model = card_find_model(book, query, &match);
    bool tier_is_open, any = false, has_own = false;
    uint32_t adjustments[2];
    size_t n_adjustments;
    struct asked asked;

    period = model ? card_period(model, query->at_us) : NULL;
    if (!period)
        return false;
    asked = card_asked(book, model, query, match);
    tier_is_open = asked.tier.n > 0;
    if (input_tokens > asked.input_total)
        asked.input_total = input_tokens;
    n_adjustments = contracts_of(book, model, query->upstream, &asked, adjustments);
    /* A tier that nothing prices may be served as any that has a card. */
    for (size_t i = 0; i < period->n_cards && tier_is_open; i++) {
        if (card_tier(&book->providers[model->provider], &period->cards[i], asked.tier) > 0 ||
            strv_eq_nocase(period->cards[i].tier, asked.tier))
            tier_is_open = false;
    }
    for (size_t i = 0; i < period->n_cards && tier_is_sure(&asked); i++)
        has_own |= period->cards[i].tier.n > 0 && card_may_hold(&period->cards[i], &asked, false);
    for (size_t i = 0; i < period->n_cards; i++) {
        const struct card *card = &period->cards[i];

        /* The batch's own card is the one that will be taken. */
        if ((has_own && card->tier.n == 0) || !card_may_hold(card, &asked, tier_is_open))
            continue;
        for (size_t k = 0; k < n_adjustments; k++)
            any |= card_worst(book, model, card, &asked, adjustments[k], input_tokens,
                              output_tokens, &worst);
    }
    if (any)
        *out = worst;
    return any;
}

uint64_t price_max_output(const struct book *book, const struct price_query *query)
{
    enum price_match match;
    const struct model *model = card_find_model(book, query, &match);

    return model ? model->max_output : 0;
}
