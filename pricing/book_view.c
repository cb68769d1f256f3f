/* The book as people see it: models with their periods, cards and rates. */
#include <stdlib.h>

#include "base/xalloc.h"
#include "pricing/book_int.h"

/* Rates of all cards of one model, shared by the views of a walk. */
struct view {
    const struct book *book;
    struct book_rate *rates;
    struct book_card *cards;
    struct book_period *periods;
    size_t n_rates, n_cards;
    size_t rates_room, cards_room, periods_room;
};

static void reserve(struct view *v, const struct model *model)
{
    size_t cards = 0;

    for (size_t i = 0; i < model->n_periods; i++)
        cards += model->periods[i].n_cards;
    if (cards > v->cards_room) {
        v->cards = xrealloc(v->cards, cards * sizeof(v->cards[0]));
        v->rates = xrealloc(v->rates, cards * METER_COUNT * sizeof(v->rates[0]));
        v->cards_room = cards;
    }
    if (model->n_periods > v->periods_room) {
        v->periods = xrealloc(v->periods, model->n_periods * sizeof(v->periods[0]));
        v->periods_room = model->n_periods;
    }
    v->n_cards = 0;
    v->n_rates = 0;
}

static void view_card(struct view *v, const struct card *card)
{
    const struct rate_set *set = &v->book->sets[card->sets];
    struct book_card *out = &v->cards[v->n_cards++];

    *out = (struct book_card){
        .tier = card->tier,
        .regions = card->regions.at,
        .n_regions = card->regions.n,
        .ctx_min = card->ctx_min,
        .window = card->window ? card->window->text : STRV_NONE,
        .other = card->details,
        .rates = &v->rates[v->n_rates],
    };
    for (unsigned m = 0; m < METER_COUNT; m++) {
        uint64_t per = v->book->units[m].per;
        money_int rate;

        if ((set->mask >> m & 1) == 0)
            continue;
        rate = v->book->pool[set->at + mask_slot(set->mask, m)];
        if (!meter_is_time((enum meter)m))
            rate *= (money_int)per; /* as it was written, so it fits */
        v->rates[v->n_rates++] =
            (struct book_rate){.meter = (enum meter)m, .rate = {rate}, .per = per};
        out->n_rates++;
    }
}

static bool view_model(struct view *v, const struct model *model, book_model_fn *fn, void *arg)
{
    const struct book *book = v->book;
    const struct source *source = book_source_find(book, model->source);
    struct book_model out = {
        .provider = book->providers[model->provider].name,
        .id = model->id,
        .kind = model->kind,
        .ids = model->ids.at,
        .n_ids = model->ids.n,
        .source = model->source,
        .confidence = model->confidence,
        .is_deprecated = model->deprecated,
        .max_output = model->max_output,
        .n_periods = model->n_periods,
    };

    if (source) {
        out.source_what = source->what;
        out.published = source->published;
        out.retrieved = source->retrieved;
    }
    if (model->source_date.n > 0)
        out.published = model->source_date;
    reserve(v, model);
    for (size_t i = 0; i < model->n_periods; i++) {
        const struct price_period *period = &model->periods[i];

        v->periods[i] = (struct book_period){
            .from_us = period->from_us,
            .to_us = period->to_us,
            .known_us = period->known_us,
            .source = period->source,
            .cards = &v->cards[v->n_cards],
            .n_cards = period->n_cards,
        };
        for (size_t k = 0; k < period->n_cards; k++)
            view_card(v, &period->cards[k]);
    }
    out.periods = v->periods;
    return fn(&out, arg);
}

static void view_release(struct view *v)
{
    free(v->rates);
    free(v->cards);
    free(v->periods);
}

void book_each_model(const struct book *book, book_model_fn *fn, void *arg)
{
    struct view v = {.book = book};

    for (size_t i = 0; i < book->n_models; i++) {
        if (!book->models[i].gone && !view_model(&v, &book->models[i], fn, arg))
            break;
    }
    view_release(&v);
}

bool book_find_model(const struct book *book, struct strv provider, struct strv model,
                     enum price_match *match, book_model_fn *fn, void *arg)
{
    size_t index = book_provider_index(book, provider);
    struct view v = {.book = book};
    const struct model *found;

    *match = MATCH_NONE;
    if (index == book->n_providers)
        return false;
    found = match_model(book, (uint32_t)index, model, match);
    if (found)
        (void)view_model(&v, found, fn, arg);
    view_release(&v);
    return found != NULL;
}
