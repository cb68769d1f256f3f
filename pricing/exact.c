#include "pricing/exact.h"

#define EXACT_MAX ((exact_uint)-1 >> 1)

bool exact_mul(exact_uint a, exact_uint b, exact_uint *out)
{
    if (a != 0 && b > EXACT_MAX / a)
        return false;
    *out = a * b;
    return true;
}

exact_uint exact_div_round(exact_uint a, exact_uint b, bool *inexact)
{
    exact_uint whole = a / b;
    exact_uint rest = a % b;

    *inexact = rest != 0;
    if (rest > b - rest || (rest == b - rest && (whole & 1) != 0))
        whole++;
    return whole;
}

static exact_uint gcd(exact_uint a, exact_uint b)
{
    while (b != 0) {
        exact_uint rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

static struct factor lowest(uint64_t num, uint64_t den)
{
    uint64_t by = (uint64_t)gcd(num, den);

    return (struct factor){num / by, den / by};
}

enum rc factor_parse(struct strv text, struct factor *out)
{
    size_t point = strv_find(text, '.');
    struct strv whole = strv_head(text, point);
    struct strv decimals = STRV_NONE;
    uint64_t num = 0, den = 1;

    if (point < text.n) {
        decimals = strv_skip(text, point + 1);
        if (decimals.n == 0)
            return RC_BAD;
        while (decimals.n > 0 && decimals.p[decimals.n - 1] == '0')
            decimals.n--;
    } else if (whole.n == 0) {
        return RC_BAD;
    }
    if (decimals.n > FACTOR_DECIMALS_MAX)
        return RC_BAD;
    for (size_t i = 0; i < whole.n; i++) {
        if (whole.p[i] < '0' || whole.p[i] > '9')
            return RC_BAD;
        if (num <= FACTOR_MAX)
            num = num * 10 + (uint64_t)(whole.p[i] - '0');
    }
    if (num > FACTOR_MAX)
        return RC_LIMIT;
    for (size_t i = 0; i < decimals.n; i++) {
        if (decimals.p[i] < '0' || decimals.p[i] > '9')
            return RC_BAD;
        num = num * 10 + (uint64_t)(decimals.p[i] - '0');
        den *= 10;
    }
    if (num > FACTOR_MAX * den)
        return RC_LIMIT;
    *out = lowest(num, den);
    return RC_OK;
}

bool factor_mul(struct factor a, struct factor b, struct factor *out)
{
    /* Crosswise first: the products are then in lowest terms and as small as can be. */
    struct factor x = lowest(a.num, b.den);
    struct factor y = lowest(b.num, a.den);
    uint64_t num, den;

    if (__builtin_mul_overflow(x.num, y.num, &num) ||
        __builtin_mul_overflow(x.den, y.den, &den))
        return false;
    *out = lowest(num, den);
    return true;
}

bool factor_apply(money_int amount, struct factor f, money_int *out)
{
    exact_uint value = (exact_uint)amount;

    if (value % f.den != 0) /* num and den share no divisor */
        return false;
    if (!exact_mul(value / f.den, f.num, &value))
        return false;
    *out = (money_int)value;
    return true;
}
