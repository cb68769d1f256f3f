/* The cost of one usage: find the model, its period, its card; multiply and add. */
#include "pricing/price.h"

#include <string.h>

#include "base/check.h"
#include "pricing/price_int.h"

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
    case MATCH_REGIONAL:
        return "regional";
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

const char *price_detail_name(enum price_detail detail)
{
    static const char *const names[DETAIL_COUNT] = {
#define DETAIL_NAME(id, name) [id] = (name),
        PRICE_DETAILS(DETAIL_NAME)
#undef DETAIL_NAME
    };

    ASSERT((unsigned)detail < DETAIL_COUNT);
    return names[detail];
}

const char *price_flag_name(unsigned flag)
{
    static const char *const names[] = {
        "rounded-1e-18", "tier-derived", "no-tier",  "no-rate",   "ambiguous", "unseen-variant",
        "no-period",     "too-large",    "stand-in", "no-region", "compound",
        "not-billed",
    };

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (flag == 1u << i)
            return names[i];
    }
    return NULL;
}

/* ---- lines ------------------------------------------------------------------ */

static bool set_rate(const struct book *book, const struct rate_set *set, enum meter m,
                     exact_uint *rate)
{
    enum meter found = mask_find(book, set->mask, m);

    if (found == METER_COUNT)
        return false;
    *rate = (exact_uint)book->pool[set->at + mask_slot(set->mask, found)];
    return true;
}

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
    UINT64_C(1) << METER_CODE_CALL | UINT64_C(1) << METER_CODE_SESSION |
        UINT64_C(1) << METER_CODE_SEC,
    UINT64_C(1) << METER_PAGE | UINT64_C(1) << METER_PAGE_ANNOTATED,
};

/*
 * Of the meters that have no rate, those that nothing priced stands for.  Where the
 * card has no rate by tokens at all and something else was priced (seconds, images,
 * searches), tokens are told but not charged.
 */
static uint64_t really_missing(const struct book *book, uint64_t missing, uint64_t priced,
                               uint64_t rated)
{
    if ((rated & book->token_mask) == 0 && (priced & ~meter_bit(METER_REQUEST)))
        missing &= ~book->token_mask;
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
    enum { AT_ONCE = 4 };
    uint64_t used = 0;
    unsigned m = 0;

    for (; m + AT_ONCE <= METER_COUNT; m += AT_ONCE) { /* nearly all are not used */
        if ((q->n[m] | q->n[m + 1] | q->n[m + 2] | q->n[m + 3]) == 0)
            continue;
        for (unsigned i = m; i < m + AT_ONCE; i++)
            used |= (uint64_t)(q->n[i] != 0) << i;
    }
    for (; m < METER_COUNT; m++)
        used |= (uint64_t)(q->n[m] != 0) << m;
    return used;
}

/* ---- the whole --------------------------------------------------------------- */

void price_count_pixels(struct price_query *query)
{
    enum { SIDE_MAX = 1 << 16, SIDE_OF_MOST = 1024 };
    struct strv size = query->detail[DETAIL_SIZE];
    struct strv width = strv_head(size, strv_find(size, 'x'));
    uint64_t images = query->quantities.n[METER_IMAGE];
    uint64_t w = SIDE_OF_MOST, h = SIDE_OF_MOST, pixels;

    if (images == 0 ||
        (size.n > 0 && (!strv_parse_u64(width, SIDE_MAX, &w) ||
                        !strv_parse_u64(strv_skip(size, width.n + 1), SIDE_MAX, &h))))
        return;
    if (!__builtin_mul_overflow(images, w * h, &pixels))
        query->quantities.n[METER_IMAGE_MEGAPIXEL] = pixels;
}

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
    out->begun = false;
}

/* Whether something names the region: the card, or a modifier that holds in it. */
static bool region_is_priced(const struct provider *provider, const struct card *card,
                             unsigned modifiers)
{
    bool named = card->regions.n > 0;

    for (unsigned i = 0; i < card->n_modifiers; i++)
        named |= (modifiers >> i & 1) && provider->modifiers[card->modifier[i]].regions.n > 0;
    return named;
}

/* Flags that tell how the card fits what was asked. */
static unsigned card_flags(const struct book *book, const struct card *card,
                           const struct provider *provider, const struct asked *asked,
                           const struct candidate *rule, enum price_match match)
{
    bool in_contract =
        rule && book->rules[rule->rule].tier.n > 0; /* says what the tier costs */
    unsigned flags = 0;

    if (card_tier(provider, card, asked->tier) > 0)
        flags |= PRICE_FLAG_TIER_DERIVED;
    else if (asked->tier.n > 0 && card->tier.n == 0 && !in_contract)
        flags |= PRICE_FLAG_NO_TIER;
    if (match == MATCH_REGIONAL &&
        !region_is_priced(provider, card, card_modifiers(provider, card, asked)))
        flags |= PRICE_FLAG_NO_REGION;
    return flags;
}

/* The quantity as it is charged: searches by prompt as one, what is below a minimum as that. */
static uint64_t charged_quantity(const struct model *model, const struct provider *provider,
                                 const struct price_query *query, enum meter m)
{
    const uint64_t by_prompt =
        meter_bit(METER_ENTERPRISE_WEB_SEARCH) | meter_bit(METER_MAPS_SEARCH) |
        (model->per_grounded_prompt ? meter_bit(METER_WEB_SEARCH) : 0);
    uint64_t n = query->quantities.n[m];

    if (n > 1 && (by_prompt & meter_bit(m)))
        n = 1;
    if (n > 0 && query->counted && (provider->has_minimum & meter_bit(m)) &&
        n < provider->minimum[m])
        n = provider->minimum[m];
    return n;
}

/*
 * Audio told in seconds that have a rate: its tokens, without one of their own, are the same.
 * Text told in characters that have a rate is charged by them, whatever its tokens would cost.
 */
static bool is_told_twice(const struct rate_set *set, const struct quantities *q, enum meter m)
{
    if (m == METER_IN && q->n[METER_IN_CHAR] > 0 && (set->mask & meter_bit(METER_IN_CHAR)))
        return true;
    return m == METER_IN_AUDIO && q->n[METER_AUDIO_SEC] > 0 &&
           (set->mask & meter_bit(METER_AUDIO_SEC)) && !(set->mask & meter_bit(METER_IN_AUDIO));
}

/* For what was used and has no rate, the provider's stand-in; gives what is still missing. */
static uint64_t add_stand_ins(const struct book *book, const struct provider *provider,
                              const struct rate_set *list, const struct rate_set *contracted,
                              uint64_t missing, struct cost *out)
{
    for (size_t i = 0; i < provider->n_stand_ins; i++) {
        const struct stand_in *s = &provider->stand_ins[i];

        if ((missing & meter_bit(s->used)) == 0 || out->n_lines == METER_COUNT ||
            !add_line(book, list, contracted, s->charged, s->quantity, out))
            continue;
        out->flags |= PRICE_FLAG_STAND_IN;
        missing &= ~meter_bit(s->used);
    }
    return missing;
}

void price_usage(const struct book *book, const struct price_query *query, struct cost *out)
{
    uint64_t used = used_meters(&query->quantities), missing = 0;
    const struct rate_set *list, *contracted;
    const struct provider *provider;
    const struct price_period *period;
    const struct candidate *rule;
    const struct model *model;
    const struct card *card;
    struct asked asked;
    size_t tier;
    unsigned modifiers;

    cost_clear(out);
    out->begun = true;
    model = card_find_model(book, query, &out->match);
    if (!model)
        return;
    out->confidence = model->confidence;
    period = card_period(model, query->at_us);
    if (!period) {
        out->flags |= PRICE_FLAG_NO_PERIOD;
        return;
    }
    out->price_id = period->price_id;
    if (used == 0)
        return;
    provider = &book->providers[model->provider];
    asked = card_asked(book, model, query, out->match);
    card = card_choose(period, &asked, used, &out->flags);
    rule = card_contract(book, model, query->upstream, &asked);
    out->flags |= card_flags(book, card, provider, &asked, rule, out->match);
    tier = card_tier(provider, card, asked.tier);
    modifiers = card_modifiers(provider, card, &asked);
    list = card_set(book, model, card, tier, modifiers, 0);
    contracted = card_set(book, model, card, tier, modifiers, rule ? rule->adjustment : 0);
    for (uint64_t left = used; left != 0; left &= left - 1) {
        enum meter m = (enum meter)__builtin_ctzll(left);

        if (!is_told_twice(contracted, &query->quantities, m) &&
            !add_line(book, list, contracted, m, charged_quantity(model, provider, query, m),
                      out))
            missing |= meter_bit(m);
    }
    missing = really_missing(book, missing, used & ~missing, contracted->mask);
    missing = add_stand_ins(book, provider, list, contracted, missing, out);
    if (missing)
        out->flags |= PRICE_FLAG_NO_METER;
    /* All counts are zero and a request costs nothing: that is known. */
    if (out->n_lines == 0 && used != meter_bit(METER_REQUEST))
        return;
    out->status = PRICE_OK;
    if (out->flags & (PRICE_FLAG_NO_METER | PRICE_FLAG_NO_TIER | PRICE_FLAG_TOO_LARGE |
                      PRICE_FLAG_NO_REGION))
        out->status = PRICE_PARTIAL;
}
