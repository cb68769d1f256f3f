/* Contract rules: reading them, and which of them fits which model first. */
#include <stdio.h>

#include "base/datetime.h"
#include "base/xalloc.h"
#include "pricing/book_int.h"
#include "pricing/read_json.h"

enum { EXACT_SCORE = 1 << 20 };

/* How narrow a glob is: none 0, then its literal bytes, exact text above all. */
static int glob_score(struct strv glob)
{
    int literals = 0;
    bool is_glob = false;

    for (size_t i = 0; i < glob.n; i++) {
        bool wild = glob.p[i] == '*' || glob.p[i] == '?';

        is_glob |= wild;
        literals += !wild;
    }
    return glob.n > 0 && !is_glob ? EXACT_SCORE : literals;
}

/*
 * Which of two rules that both fit comes first: one for a tier, then the narrower
 * model, then rates before a multiplier, then the narrower upstream, then a named
 * provider, then the one written first.
 */
static int rule_order(const struct book *book, uint32_t a, uint32_t b)
{
    const struct rule *x = &book->rules[a], *y = &book->rules[b];
    bool x_rates = book->adjustments[x->adjustment].rates.mask != 0;
    bool y_rates = book->adjustments[y->adjustment].rates.mask != 0;
    int by = (y->tier.n > 0) - (x->tier.n > 0);

    if (by == 0)
        by = glob_score(y->model) - glob_score(x->model);
    if (by == 0)
        by = y_rates - x_rates;
    if (by == 0)
        by = glob_score(y->upstream) - glob_score(x->upstream);
    if (by == 0)
        by = (y->provider.n > 0) - (x->provider.n > 0);
    return by != 0 ? by : (a > b) - (a < b);
}

static void rule_problem(struct build *b, const struct price_rule *rule, const char *text,
                         const char *value)
{
    problems_add(b->problems, rule->file ? rule->file : "price rule", rule->line,
                 "price rule: %s%s%.64s%s", text, value ? " \"" : "", value ? value : "",
                 value ? "\"" : "");
}

static int64_t rule_time(struct build *b, const struct price_rule *rule, const char *text,
                         int64_t unbounded)
{
    int year, month, day;
    int64_t us;

    if (!text)
        return unbounded;
    if (datetime_parse(strv_z(text), &us))
        return us;
    if (date_parse(strv_z(text), &year, &month, &day))
        return date_to_days(year, month, day) * US_PER_DAY;
    rule_problem(b, rule, "from, to and known_at must be a date or an RFC 3339 time, not",
                 text);
    return unbounded;
}

static void rule_unknown_meter(struct build *b, const struct price_rule *rule, const char *name)
{
    const char *names[METER_COUNT];
    const char *near;
    char text[64];

    for (unsigned m = 0; m < METER_COUNT; m++)
        names[m] = meter_name((enum meter)m);
    near = nearest_name(strv_z(name), names, METER_COUNT);
    (void)snprintf(text, sizeof(text), "%s%s%s", near ? "did you mean " : "", near ? near : "",
                   near ? "? unknown meter" : "unknown meter");
    rule_problem(b, rule, text, name);
}

static void rule_rates(struct build *b, const struct price_rule *rule, struct written *out)
{
    money_int rates[METER_COUNT] = {0};
    unsigned n = 0;

    for (size_t i = 0; i < rule->n_rates; i++) {
        struct money rate;
        enum meter m;

        if (!meter_parse(strv_z(rule->rate_meters[i]), &m)) {
            rule_unknown_meter(b, rule, rule->rate_meters[i]);
            continue;
        }
        if (money_parse(strv_z(rule->rate_values[i]), &rate) != RC_OK || rate.atto < 0) {
            rule_problem(b, rule, "a rate must be a decimal, not negative, not",
                         rule->rate_values[i]);
            continue;
        }
        if (out->mask & meter_bit(m))
            rule_problem(b, rule, "a rate stands twice:", rule->rate_meters[i]);
        out->mask |= meter_bit(m);
        rates[m] = rate.atto;
    }
    out->rate = build_alloc(b, METER_COUNT * sizeof(rates[0]));
    for (unsigned m = 0; m < METER_COUNT && out->rate; m++) {
        if (out->mask >> m & 1)
            out->rate[n++] = rates[m];
    }
    if (!out->rate)
        out->mask = 0;
}

static bool written_eq(const struct written *a, const struct written *b)
{
    size_t n = (size_t)__builtin_popcountll(a->mask) * sizeof(a->rate[0]);

    return a->mask == b->mask && (n == 0 || memcmp(a->rate, b->rate, n) == 0);
}

/* The index of that adjustment, made where there is none equal. */
static uint32_t adjustment_index(struct book *book, const struct adjustment *wanted)
{
    size_t i = 0;

    while (i < book->n_adjustments &&
           (book->adjustments[i].factor.num != wanted->factor.num ||
            book->adjustments[i].factor.den != wanted->factor.den ||
            book->adjustments[i].token_only != wanted->token_only ||
            !written_eq(&book->adjustments[i].rates, &wanted->rates)))
        i++;
    if (i == book->n_adjustments)
        book->adjustments[book->n_adjustments++] = *wanted;
    return (uint32_t)i;
}

static struct strv copy_lower(struct build *b, const char *text)
{
    struct strv s = build_strv(b, strv_z(text));
    char *p = (char *)(uintptr_t)s.p;

    for (size_t i = 0; i < s.n; i++) {
        if (p[i] >= 'A' && p[i] <= 'Z')
            p[i] = (char)(p[i] + 'a' - 'A');
    }
    return s;
}

static void rule_read(struct build *b, const struct price_rule *from, struct rule *rule)
{
    struct adjustment adjustment = {.factor = FACTOR_ONE};
    struct book *book = b->book;

    rule->upstream = build_strv(b, strv_z(from->upstream));
    rule->model = copy_lower(b, from->model);
    rule->provider = copy_lower(b, from->provider);
    rule->tier = copy_lower(b, from->tier);
    rule->file = build_strv(b, strv_z(from->file));
    rule->line = from->line;
    rule->from_us = rule_time(b, from, from->from, INT64_MIN);
    rule->to_us = rule_time(b, from, from->to, INT64_MAX);
    (void)rule_time(b, from, from->known_at, INT64_MIN);
    if (rule->from_us >= rule->to_us)
        rule_problem(b, from, "ends before it begins", NULL);
    if (rule->provider.n > 0 && book_provider_index(book, rule->provider) == book->n_providers)
        rule_problem(b, from, "the price book has no provider", from->provider);
    if ((from->multiplier != NULL) == (from->n_rates > 0))
        rule_problem(b, from, "give either a multiplier or rates", NULL);
    adjustment.token_only = from->meters && strcmp(from->meters, "token") == 0;
    if (from->meters && !adjustment.token_only && strcmp(from->meters, "all") != 0)
        rule_problem(b, from, "meters must be \"token\" or \"all\", not", from->meters);
    if (from->meters && from->n_rates > 0)
        rule_problem(b, from, "meters belongs to a multiplier; rates name their meters", NULL);
    if (from->multiplier && factor_parse(strv_z(from->multiplier), &adjustment.factor) != RC_OK)
        rule_problem(b, from,
                     "multiplier must be a decimal of 0 to 1000 with at most 9 decimals, not",
                     from->multiplier);
    if (from->n_rates > 0)
        rule_rates(b, from, &adjustment.rates);
    rule->adjustment = adjustment_index(book, &adjustment);
}

void rules_read(struct build *b, const struct price_rule *rules, size_t n_rules)
{
    struct book *book = b->book;

    if (n_rules == 0)
        return;
    if (n_rules > BOOK_RULES_MAX) {
        rule_problem(b, &rules[BOOK_RULES_MAX], "there are more than 1000 rules", NULL);
        return;
    }
    book->rules = xcalloc(n_rules, sizeof(book->rules[0]));
    book->adjustments = xcalloc(n_rules, sizeof(book->adjustments[0]));
    for (size_t i = 0; i < n_rules && !b->is_full; i++)
        rule_read(b, &rules[i], &book->rules[book->n_rules++]);
}

static bool rule_fits(const struct book *book, const struct rule *rule,
                      const struct model *model)
{
    if (rule->provider.n > 0 && !strv_eq(rule->provider, book->providers[model->provider].name))
        return false;
    if (rule->model.n == 0 || strv_glob(rule->model, model->id))
        return true;
    for (size_t i = 0; i < model->ids.n; i++) {
        if (strv_glob(rule->model, model->ids.at[i]))
            return true;
    }
    return false;
}

/* The model's own number, from 1, of an adjustment of the book. */
static uint32_t model_adjustment(struct model *model, uint32_t adjustment)
{
    size_t i = 0;

    while (i < model->n_adjustments && model->adjustments[i] != adjustment)
        i++;
    if (i == model->n_adjustments)
        model->adjustments[model->n_adjustments++] = adjustment;
    return (uint32_t)i + 1;
}

static void assign_model(struct build *b, struct model *model, const uint32_t *order)
{
    struct book *book = b->book;
    uint32_t fits[BOOK_RULES_MAX];
    size_t n = 0;

    for (size_t i = 0; i < book->n_rules; i++) {
        if (rule_fits(book, &book->rules[order[i]], model))
            fits[n++] = order[i];
    }
    if (n == 0)
        return;
    model->candidates = build_alloc(b, n * sizeof(model->candidates[0]));
    model->adjustments = build_alloc(b, n * sizeof(model->adjustments[0]));
    if (!model->candidates || !model->adjustments)
        return;
    for (size_t i = 0; i < n; i++)
        model->candidates[model->n_candidates++] = (struct candidate){
            .rule = fits[i],
            .adjustment = model_adjustment(model, book->rules[fits[i]].adjustment),
        };
}

void rules_assign(struct build *b)
{
    struct book *book = b->book;
    uint32_t order[BOOK_RULES_MAX];

    for (size_t i = 0; i < book->n_rules; i++) {
        size_t at = i;

        for (; at > 0 && rule_order(book, order[at - 1], (uint32_t)i) > 0; at--)
            order[at] = order[at - 1];
        order[at] = (uint32_t)i;
    }
    for (size_t i = 0; i < book->n_models && !b->is_full; i++) {
        if (!book->models[i].gone)
            assign_model(b, &book->models[i], order);
    }
}
