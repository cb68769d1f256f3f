#include "pricing/money.h"

#include <string.h>

#include "base/check.h"
#include "pricing/exact.h"

#define ATTO_PER_USD ((exact_uint)ATTO_PER_NANO * (exact_uint)NANO_PER_USD)
#define USD_MAX_ATTO ((exact_uint)10 * ATTO_PER_USD * ATTO_PER_USD) /* 10^19 dollars */

enum { DECIMALS = 18 };

static exact_uint magnitude(money_int atto)
{
    return atto < 0 ? (exact_uint)0 - (exact_uint)atto : (exact_uint)atto;
}

enum rc money_mul(struct money rate, uint64_t n, struct money *out)
{
    exact_uint product;

    if (!exact_mul(magnitude(rate.atto), n, &product))
        return RC_LIMIT;
    out->atto = rate.atto < 0 ? -(money_int)product : (money_int)product;
    return RC_OK;
}

/* The digits of text as a number, which stops growing once it is above 10^37. */
static bool digits_value(struct strv text, exact_uint *value)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        if (*value <= USD_MAX_ATTO)
            *value = *value * 10 + (unsigned)(text.p[i] - '0');
    }
    return true;
}

enum rc money_parse(struct strv text, struct money *out)
{
    bool negative = text.n > 0 && text.p[0] == '-';
    struct strv number = strv_skip(text, negative || (text.n > 0 && text.p[0] == '+') ? 1 : 0);
    size_t point = strv_find(number, '.');
    struct strv whole = strv_head(number, point);
    struct strv fraction = STRV_NONE;
    exact_uint dollars = 0, atto = 0;

    if (point < number.n) {
        fraction = strv_skip(number, point + 1);
        if (fraction.n == 0)
            return RC_BAD;
        while (fraction.n > 0 && fraction.p[fraction.n - 1] == '0')
            fraction.n--;
    }
    if (whole.n == 0 || fraction.n > DECIMALS)
        return RC_BAD;
    if (!digits_value(whole, &dollars) || !digits_value(fraction, &atto))
        return RC_BAD;
    for (size_t i = fraction.n; i < DECIMALS; i++)
        atto *= 10;
    if (!exact_mul(dollars, ATTO_PER_USD, &dollars) || dollars + atto > USD_MAX_ATTO)
        return RC_LIMIT;
    out->atto = (money_int)(dollars + atto);
    if (negative)
        out->atto = -out->atto;
    return RC_OK;
}

size_t money_format(struct money m, char out[MONEY_TEXT])
{
    exact_uint value = magnitude(m.atto);
    exact_uint dollars = value / ATTO_PER_USD;
    uint64_t fraction = (uint64_t)(value % ATTO_PER_USD);
    char text[MONEY_TEXT];
    size_t at = sizeof(text);
    int decimals = DECIMALS;

    while (decimals > 0 && fraction % 10 == 0) {
        fraction /= 10;
        decimals--;
    }
    for (int i = 0; i < decimals; i++) {
        text[--at] = (char)('0' + fraction % 10);
        fraction /= 10;
    }
    if (decimals > 0)
        text[--at] = '.';
    do {
        text[--at] = (char)('0' + (int)(dollars % 10));
        dollars /= 10;
    } while (dollars != 0);
    if (m.atto < 0)
        text[--at] = '-';
    ASSERT(sizeof(text) - at < MONEY_TEXT);
    memcpy(out, text + at, sizeof(text) - at);
    out[sizeof(text) - at] = '\0';
    return sizeof(text) - at;
}

/* Floor of atto / 10^9. */
static money_int nano_floor(money_int atto)
{
    money_int nano;

    /* Up to nine dollars: a division that the processor has. */
    if (atto >= 0 && atto <= INT64_MAX)
        return (int64_t)atto / ATTO_PER_NANO;
    nano = atto / ATTO_PER_NANO;
    return atto % ATTO_PER_NANO < 0 ? nano - 1 : nano;
}

void money_split(struct money m, int64_t *nano, int64_t *rest)
{
    money_int whole = nano_floor(m.atto);

    if (whole > INT64_MAX) {
        *nano = INT64_MAX;
        *rest = ATTO_PER_NANO - 1;
    } else if (whole < INT64_MIN) {
        *nano = INT64_MIN;
        *rest = 0;
    } else {
        *nano = (int64_t)whole;
        *rest = (int64_t)(m.atto - whole * ATTO_PER_NANO);
    }
}

struct money money_join(int64_t nano, int64_t rest)
{
    return (struct money){(money_int)nano * ATTO_PER_NANO + rest};
}

int64_t money_ceil_nano(struct money m)
{
    money_int nano = nano_floor(m.atto);

    if (nano < INT64_MIN)
        return INT64_MIN;
    if (nano >= INT64_MAX)
        return INT64_MAX;
    if (m.atto - nano * ATTO_PER_NANO > 0)
        nano++;
    return (int64_t)nano;
}
