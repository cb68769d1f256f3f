/*
 * A price book from anywhere: it loads or is refused with problems, and what loads
 * prices any usage without a crash, an overflow or a cost that differs from its lines.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/check.h"
#include "pricing/price.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void price_one(const struct book *book, const struct book_model *model,
                      uint64_t quantity)
{
    struct price_query query = {
        .provider = model->provider,
        .model = model->ids[0],
        .model_requested = STRV("m-20260101"),
        .upstream = STRV("up"),
        .tier = model->periods[0].cards[model->periods[0].n_cards - 1].tier,
        .region = STRV("eu"),
        .at_us = INT64_C(1795262400000000),
        .input_total = quantity,
    };
    struct money sum = MONEY_ZERO, worst;
    struct cost cost;

    for (unsigned m = 0; m < METER_COUNT; m++)
        query.quantities.n[m] = quantity;
    price_usage(book, &query, &cost);
    for (size_t i = 0; i < cost.n_lines; i++)
        sum = money_add(sum, cost.lines[i].amount);
    ASSERT(money_cmp(sum, cost.contracted) == 0);
    ASSERT(cost.status != PRICE_NONE || cost.n_lines == 0);
    (void)price_worst_case(book, &query, quantity, quantity, &worst);
}

static bool try_model(const struct book_model *model, void *arg)
{
    ASSERT(model->n_ids > 0);
    if (model->n_periods == 0)
        return true;
    price_one(arg, model, 1);
    price_one(arg, model, UINT64_C(1) << 53);
    price_one(arg, model, UINT64_MAX);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const struct price_rule rules[] = {
        {.model = "m*", .multiplier = "0.5"},
        {.upstream = "up", .multiplier = "1"},
    };
    struct book_text text = {.name = "fuzz.json"};
    struct problems problems;
    char *copy = malloc(n + 1); /* exactly as long as it is: a read behind it is seen */
    struct book *book;

    ASSERT(copy != NULL);
    if (n > 0)
        memcpy(copy, bytes, n);
    text.text = strv_make(copy, n);
    problems_init(&problems);
    book = book_parse(&text, 1, rules, n > 0 && (bytes[0] & 1) ? 2 : 0, &problems);
    ASSERT((book == NULL) == (problems.total > 0));
    free(copy);
    if (book) {
        struct problems warnings;

        book_each_model(book, try_model, book);
        problems_init(&warnings);
        book_lint(book, &warnings);
        problems_release(&warnings);
    }
    book_free(book);
    problems_release(&problems);
    return 0;
}
