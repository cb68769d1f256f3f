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

void cost_add(struct cost *sum, const struct cost *part)
{
    if (!sum->begun) {
        *sum = *part;
        sum->begun = true;
        return;
    }
    for (size_t i = 0; i < part->n_lines; i++) {
        struct cost_line *line = line_for(sum, &part->lines[i]);

        line->quantity += part->lines[i].quantity;
        line->amount = money_add(line->amount, part->lines[i].amount);
    }
    sum->contracted = money_add(sum->contracted, part->contracted);
    sum->list = money_add(sum->list, part->list);
    sum->flags |= part->flags | PRICE_FLAG_COMPOUND;
    if (sum->status != part->status)
        sum->status = PRICE_PARTIAL;
    if (sum->price_id.n == 0)
        sum->price_id = part->price_id;
}
