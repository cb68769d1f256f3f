/*
 * Sums of costs: the answers of a batch, or the models that took part in one answer.
 */
#include "pricing/price.h"

#include "base/check.h"

/* The line that takes an amount of that meter: of the same rate, a new one, else any. */
static struct cost_line *line_for(struct cost *sum, const struct cost_line *part)
{
    struct cost_line *other = NULL;

    for (size_t i = 0; i < sum->n_lines; i++) {
        struct cost_line *line = &sum->lines[i];

        if (line->meter == part->meter && money_cmp(line->rate, part->rate) == 0)
            return line;
        if (line->meter == part->meter)
            other = line;
    }
    if (sum->n_lines < METER_COUNT) {
        sum->lines[sum->n_lines] = (struct cost_line){.meter = part->meter, .rate = part->rate};
        return &sum->lines[sum->n_lines++];
    }
    return other ? other : &sum->lines[METER_COUNT - 1];
}

/* No line is more than the whole. False where 128 bits do not hold that. */
static bool add_whole(struct cost *sum, const struct cost *part)
{
    struct money contracted, list;

    if (__builtin_add_overflow(sum->contracted.atto, part->contracted.atto, &contracted.atto) ||
        __builtin_add_overflow(sum->list.atto, part->list.atto, &list.atto))
        return false;
    sum->contracted = contracted;
    sum->list = list;
    return true;
}

void cost_add(struct cost *sum, const struct cost *part)
{
    if (!sum->begun) {
        *sum = *part;
        sum->begun = true;
        return;
    }
    sum->flags |= part->flags | PRICE_FLAG_COMPOUND;
    if (sum->status != part->status)
        sum->status = PRICE_PARTIAL;
    if (sum->price_id.n == 0)
        sum->price_id = part->price_id;
    if (!add_whole(sum, part)) {
        sum->flags |= PRICE_FLAG_TOO_LARGE;
        sum->status = PRICE_PARTIAL;
        return;
    }
    for (size_t i = 0; i < part->n_lines; i++) {
        struct cost_line *line = line_for(sum, &part->lines[i]);

        if (__builtin_add_overflow(line->quantity, part->lines[i].quantity, &line->quantity))
            line->quantity = UINT64_MAX;
        line->amount = money_add(line->amount, part->lines[i].amount);
    }
}
