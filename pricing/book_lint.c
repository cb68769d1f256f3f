/* Doubts about a book that loads. Every one is a warning: the data may be right. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "pricing/book_int.h"

/* Dollars for a million tokens between which a real price lies. */
enum { TOKEN_USD_MAX = 1000 };
#define TOKEN_NANO_MIN INT64_C(500000) /* $0.0005 */

struct lint {
    const struct book *book;
    struct problems *warnings;
    uint32_t file; /* the one whose text is held */
    char *text;
    size_t n;
    size_t model; /* index that the walk has reached */
};

/* Text of the model's file, for lines; the empty view where it cannot be read again. */
static struct strv file_text(struct lint *l, uint32_t file)
{
    struct strv name = l->book->files[file];
    FILE *in;

    if (l->file == file && l->text)
        return strv_make(l->text, l->n);
    free(l->text);
    l->text = NULL;
    l->n = 0;
    l->file = file;
    in = fopen(name.p ? name.p : "", "re");
    if (!in)
        return STRV_NONE;
    l->text = xmalloc(BOOK_FILE_MAX);
    l->n = fread(l->text, 1, BOOK_FILE_MAX, in);
    (void)fclose(in);
    return strv_make(l->text, l->n);
}

static void warn(struct lint *l, const struct book_model *model, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void warn(struct lint *l, const struct book_model *model, const char *format, ...)
{
    uint32_t file = l->book->models[l->model].file;
    struct strv name = l->book->files[file];
    char text[512];
    int line = 0;
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (l->warnings->n < PROBLEMS_MAX)
        line = text_line(file_text(l, file), model->provider, model->id, NULL);
    problems_add(l->warnings, name.n ? name.p : "price book", line,
                 STRV_FMT "/" STRV_FMT ": %s", STRV_ARG(model->provider), STRV_ARG(model->id),
                 text);
}

static const struct book_rate *rate_of(const struct book_card *card, enum meter m)
{
    for (size_t i = 0; i < card->n_rates; i++) {
        if (card->rates[i].meter == m)
            return &card->rates[i];
    }
    return NULL;
}

static bool dearer(const struct book_card *card, enum meter a, enum meter b)
{
    const struct book_rate *x = rate_of(card, a), *y = rate_of(card, b);

    return x && y && money_cmp(x->rate, y->rate) > 0;
}

static void lint_bands(struct lint *l, const struct book_model *model,
                       const struct book_card *card)
{
    static const money_int max = (money_int)TOKEN_USD_MAX * NANO_PER_USD * ATTO_PER_NANO;
    static const money_int min = (money_int)TOKEN_NANO_MIN * ATTO_PER_NANO;

    for (size_t i = 0; i < card->n_rates; i++) {
        const struct book_rate *rate = &card->rates[i];
        char text[MONEY_TEXT];

        if ((l->book->token_mask >> (unsigned)rate->meter & 1) == 0 || rate->per != MILLION)
            continue;
        money_format(rate->rate, text);
        if (rate->rate.atto > max)
            warn(l, model, "\"%s\" costs %s dollars per million, over %d; is it per token?",
                 meter_name(rate->meter), text, TOKEN_USD_MAX);
        else if (rate->rate.atto > 0 && rate->rate.atto < min)
            warn(l, model,
                 "\"%s\" costs %s dollars per million, under 0.0005; is it per "
                 "thousand?",
                 meter_name(rate->meter), text);
    }
    if (dearer(card, METER_CACHE_READ, METER_IN))
        warn(l, model, "a cached token costs more than an uncached one");
    if (dearer(card, METER_IN, METER_OUT) && strv_eq(model->kind, STRV("chat")))
        warn(l, model, "a token in costs more than a token out");
}

/* Conditions apart from the tier are the same. */
static bool same_but_tier(const struct book_card *a, const struct book_card *b)
{
    if (a->ctx_min != b->ctx_min || !strv_eq(a->window, b->window) ||
        !strv_eq(a->other, b->other) || a->n_regions != b->n_regions)
        return false;
    for (size_t i = 0; i < a->n_regions; i++) {
        if (!strv_eq(a->regions[i], b->regions[i]))
            return false;
    }
    return true;
}

static void lint_discounts(struct lint *l, const struct book_model *model,
                           const struct book_period *period)
{
    for (size_t i = 1; i < period->n_cards; i++) {
        const struct book_card *card = &period->cards[i];

        if (!strv_eq(card->tier, STRV("batch")) && !strv_eq(card->tier, STRV("flex")))
            continue;
        for (size_t k = 0; k < period->n_cards; k++) {
            const struct book_card *standard = &period->cards[k];

            if (standard->tier.n > 0 || !same_but_tier(card, standard))
                continue;
            for (size_t r = 0; r < card->n_rates; r++) {
                const struct book_rate *full = rate_of(standard, card->rates[r].meter);

                if (full && money_cmp(card->rates[r].rate, full->rate) > 0)
                    warn(l, model, "\"%s\" costs more in tier " STRV_FMT " than standard",
                         meter_name(full->meter), STRV_ARG(card->tier));
            }
        }
    }
}

static int keys_of(const struct book_card *card)
{
    return (card->tier.n > 0) + (card->n_regions > 0) + (card->ctx_min > 0) +
           (card->window.n > 0);
}

static bool has_region(const struct book_card *card, struct strv region)
{
    bool has = card->n_regions == 0;

    for (size_t i = 0; i < card->n_regions && !has; i++)
        has = strv_eq_nocase(card->regions[i], region);
    return has;
}

/* Some card with more conditions holds in that region wherever both do, and so decides. */
static bool is_decided(const struct book_period *period, const struct book_card *a,
                       const struct book_card *b, struct strv region)
{
    uint64_t ctx_min = a->ctx_min > b->ctx_min ? a->ctx_min : b->ctx_min;

    for (size_t i = 1; i < period->n_cards; i++) {
        const struct book_card *c = &period->cards[i];

        if (c->other.n == 0 && keys_of(c) > keys_of(a) && c->ctx_min <= ctx_min &&
            has_region(c, region) &&
            (c->tier.n == 0 || strv_eq_nocase(c->tier, a->tier) ||
             strv_eq_nocase(c->tier, b->tier)) &&
            (c->window.n == 0 || strv_eq(c->window, a->window) ||
             strv_eq(c->window, b->window)))
            return true;
    }
    return false;
}

/* Whether in some region both hold and nothing decides between them. */
static bool regions_clash(const struct book_period *period, const struct book_card *a,
                          const struct book_card *b)
{
    const struct book_card *named = a->n_regions > 0 ? a : b;

    if (named->n_regions == 0)
        return !is_decided(period, a, b, STRV_NONE);
    for (size_t i = 0; i < named->n_regions; i++) {
        struct strv region = named->regions[i];

        if (has_region(a, region) && has_region(b, region) && !is_decided(period, a, b, region))
            return true;
    }
    return false;
}

static bool same_rates(const struct book_card *a, const struct book_card *b)
{
    if (a->n_rates != b->n_rates)
        return false;
    for (size_t i = 0; i < a->n_rates; i++) {
        if (a->rates[i].meter != b->rates[i].meter ||
            money_cmp(a->rates[i].rate, b->rates[i].rate) != 0)
            return false;
    }
    return true;
}

static void lint_ambiguous(struct lint *l, const struct book_model *model,
                           const struct book_period *period)
{
    for (size_t i = 1; i < period->n_cards; i++) {
        const struct book_card *a = &period->cards[i];

        for (size_t k = i + 1; k < period->n_cards; k++) {
            const struct book_card *b = &period->cards[k];

            if (a->other.n == 0 && b->other.n == 0 && keys_of(a) == keys_of(b) &&
                a->ctx_min == b->ctx_min && !same_rates(a, b) &&
                (a->tier.n == 0 || b->tier.n == 0 || strv_eq_nocase(a->tier, b->tier)) &&
                (a->window.n == 0 || b->window.n == 0 || strv_eq(a->window, b->window)) &&
                regions_clash(period, a, b))
                warn(l, model,
                     "variants %zu and %zu can fit equally well; add one for both conditions",
                     i, k);
        }
    }
}

static void lint_source(struct lint *l, const struct book_model *model)
{
    static const char *const confidences[] = {"confirmed", "one-witness", "disputed",
                                              "single-source"};
    bool known = false;

    if (model->source.n == 0)
        warn(l, model, "no source; add \"prov\": {\"src\": ...}");
    else if (!book_source_find(l->book, model->source))
        warn(l, model, "source \"" STRV_FMT "\" is not among the sources",
             STRV_ARG(model->source));
    if (model->source.n > 0 && model->published.n == 0)
        warn(l, model, "no date; add \"date\" to prov, or \"published\" to its source");
    for (size_t i = 0; i < sizeof(confidences) / sizeof(confidences[0]); i++)
        known |= strv_eq(model->confidence, strv_z(confidences[i]));
    if (!known)
        warn(l, model, "confidence is none of confirmed, one-witness, disputed, single-source");
}

static bool lint_model(const struct book_model *model, void *arg)
{
    struct lint *l = arg;

    while (l->book->models[l->model].gone)
        l->model++;
    lint_source(l, model);
    for (size_t i = 0; i < model->n_periods; i++) {
        const struct book_period *period = &model->periods[i];

        if (i > 0 && period[-1].to_us != period->from_us)
            warn(l, model, "no price between two periods");
        for (size_t k = 0; k < period->n_cards; k++)
            lint_bands(l, model, &period->cards[k]);
        lint_discounts(l, model, period);
        lint_ambiguous(l, model, period);
    }
    l->model++;
    return true;
}

static void lint_rules(struct lint *l)
{
    const struct book *book = l->book;

    for (size_t r = 0; r < book->n_rules; r++) {
        bool fits = false;

        for (size_t i = 0; i < book->n_models && !fits; i++) {
            for (size_t k = 0; k < book->models[i].n_candidates && !fits; k++)
                fits = book->models[i].candidates[k].rule == r;
        }
        if (!fits)
            problems_add(l->warnings, book->rules[r].file.n ? book->rules[r].file.p : "rules",
                         book->rules[r].line, "price rule fits no model of the book");
    }
}

void book_lint(const struct book *book, struct problems *warnings)
{
    struct lint l = {.book = book, .warnings = warnings};

    book_each_model(book, lint_model, &l);
    lint_rules(&l);
    free(l.text);
}
