/*
 * Numbers that jscan came across: whether they are any, and what they say as counts and
 * decimals.  No floating point: a count above 2^53 must not read as its neighbour.
 */
#include "metering/usage/jscan.h"
#include "metering/usage/jscan_int.h"

enum {
    MANTISSA_DIGITS = 19, /* fit in 64 bits */
    EXPONENT_MAX = 100000,
};

static const uint64_t COUNT_MAX = UINT64_C(1) << 53;

/* All of t are digits, few enough for 64 bits, and no zero leads: what most numbers are. */
static bool is_short_count(struct strv t, uint64_t *value)
{
    uint64_t sum = 0;

    if (t.n == 0 || t.n > JSCAN_SHORT_DIGITS || (t.p[0] == '0' && t.n > 1))
        return false;
    for (size_t i = 0; i < t.n; i++) {
        if (t.p[i] < '0' || t.p[i] > '9')
            return false;
        sum = sum * 10 + (uint64_t)(t.p[i] - '0');
    }
    *value = sum;
    return true;
}

bool jscan_number_is_valid(struct strv t)
{
    size_t i = 0, digits;
    uint64_t value;

    if (is_short_count(t, &value))
        return true;

    if (i < t.n && t.p[i] == '-')
        i++;
    digits = i;
    while (i < t.n && t.p[i] >= '0' && t.p[i] <= '9')
        i++;
    if (i == digits || (t.p[digits] == '0' && i - digits > 1))
        return false;
    if (i < t.n && t.p[i] == '.') {
        digits = ++i;
        while (i < t.n && t.p[i] >= '0' && t.p[i] <= '9')
            i++;
        if (i == digits)
            return false;
    }
    if (i < t.n && (t.p[i] == 'e' || t.p[i] == 'E')) {
        i++;
        if (i < t.n && (t.p[i] == '+' || t.p[i] == '-'))
            i++;
        digits = i;
        while (i < t.n && t.p[i] >= '0' && t.p[i] <= '9')
            i++;
        if (i == digits)
            return false;
    }
    return i == t.n;
}

struct jscan_decimal jscan_decimal(struct strv t)
{
    struct jscan_decimal d = {0, 0, false, false};
    bool fraction = false, exponent_negative = false;
    unsigned digits = 0;
    int64_t exponent = 0;
    size_t i = 0;

    if (i < t.n && t.p[i] == '-') {
        d.negative = true;
        i++;
    }
    for (; i < t.n && t.p[i] != 'e' && t.p[i] != 'E'; i++) {
        if (t.p[i] == '.') {
            fraction = true;
            continue;
        }
        if (digits < MANTISSA_DIGITS) {
            d.mantissa = d.mantissa * 10 + (uint64_t)(t.p[i] - '0');
            if (d.mantissa != 0)
                digits++;
            d.scale -= fraction;
        } else {
            d.inexact = d.inexact || t.p[i] != '0';
            d.scale += !fraction;
        }
    }
    for (i++; i < t.n; i++) {
        if (t.p[i] == '-')
            exponent_negative = true;
        else if (t.p[i] != '+' && exponent < EXPONENT_MAX)
            exponent = exponent * 10 + (t.p[i] - '0');
    }
    d.scale += exponent_negative ? -exponent : exponent;
    return d;
}

enum jscan_number jscan_count(struct strv text, uint64_t *out)
{
    struct jscan_decimal d;

    if (is_short_count(text, out))
        return JSCAN_COUNT_OK;
    d = jscan_decimal(text);
    if (d.mantissa == 0 && !d.inexact) {
        *out = 0;
        return JSCAN_COUNT_OK;
    }
    if (d.negative)
        return JSCAN_COUNT_NEGATIVE;
    while (d.scale < 0 && d.mantissa % 10 == 0) {
        d.mantissa /= 10;
        d.scale++;
    }
    if (d.scale < 0)
        return JSCAN_COUNT_FRACTION;
    for (; d.scale > 0; d.scale--) {
        if (__builtin_mul_overflow(d.mantissa, UINT64_C(10), &d.mantissa))
            return JSCAN_COUNT_HUGE;
    }
    if (d.mantissa > COUNT_MAX)
        return JSCAN_COUNT_HUGE;
    if (d.inexact)
        return JSCAN_COUNT_FRACTION;
    *out = d.mantissa;
    return JSCAN_COUNT_OK;
}
