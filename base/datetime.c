#include "base/datetime.h"

#include <stdio.h>

/* Days from civil: era of 400 years, year that starts in March (H. Hinnant's method). */
int64_t date_to_days(int year, int month, int day)
{
    int64_t y = month <= 2 ? (int64_t)year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * 146097 + day_of_era - 719468;
}

void date_from_days(int64_t days, int *year, int *month, int *day)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;

    *day = (int)(doy - (153 * mp + 2) / 5 + 1);
    *month = (int)(mp < 10 ? mp + 3 : mp - 9);
    *year = (int)(yoe + era * 400 + (*month <= 2 ? 1 : 0));
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0 ? 1 : 0);
}

/* What is left of floor_div, of any a. */
static int64_t floor_rest(int64_t a, int64_t b)
{
    return a % b + (a % b < 0 ? b : 0);
}

static int format(int64_t us, char *out)
{
    int64_t days = floor_div(us, US_PER_DAY);
    int64_t second = floor_rest(us, US_PER_DAY) / US_PER_SECOND;
    int year, month, day;

    date_from_days(days, &year, &month, &day);
    return snprintf(out, DATETIME_TEXT, "%04d-%02d-%02dT%02d:%02d:%02d", year, month, day,
                    (int)(second / 3600), (int)(second / 60 % 60), (int)(second % 60));
}

void datetime_format_us(int64_t us, char out[DATETIME_TEXT])
{
    int n = format(us, out);
    int64_t fraction = floor_rest(us, US_PER_SECOND);

    snprintf(out + n, DATETIME_TEXT - (size_t)n, ".%06dZ", (int)fraction);
}

void datetime_format_s(int64_t us, char out[DATETIME_TEXT])
{
    int n = format(us, out);

    snprintf(out + n, DATETIME_TEXT - (size_t)n, "Z");
}

static bool digits(struct strv text, size_t at, size_t n, int *out)
{
    int value = 0;

    if (at + n > text.n)
        return false;
    for (size_t i = at; i < at + n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        value = value * 10 + (text.p[i] - '0');
    }
    *out = value;
    return true;
}

bool date_parse(struct strv text, int *year, int *month, int *day)
{
    static const int length[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int y, m, d, last;

    if (text.n != 10 || text.p[4] != '-' || text.p[7] != '-' || !digits(text, 0, 4, &y) ||
        !digits(text, 5, 2, &m) || !digits(text, 8, 2, &d) || m < 1 || m > 12)
        return false;
    last = length[m - 1] + (m == 2 && y % 4 == 0 && (y % 100 != 0 || y % 400 == 0) ? 1 : 0);
    if (d < 1 || d > last)
        return false;
    *year = y;
    *month = m;
    *day = d;
    return true;
}

bool datetime_parse(struct strv text, int64_t *us)
{
    int year, month, day, hour, minute, second, oh, om;
    int64_t fraction = 0, offset = 0, scale = US_PER_SECOND;
    size_t at = 19;

    if (text.n < 20 || !date_parse(strv_head(text, 10), &year, &month, &day) ||
        (text.p[10] != 'T' && text.p[10] != 't' && text.p[10] != ' ') || text.p[13] != ':' ||
        text.p[16] != ':' || !digits(text, 11, 2, &hour) || !digits(text, 14, 2, &minute) ||
        !digits(text, 17, 2, &second) || hour > 23 || minute > 59 || second > 60)
        return false;
    if (text.p[at] == '.') {
        size_t from = ++at;

        while (at < text.n && text.p[at] >= '0' && text.p[at] <= '9' && at - from < 9) {
            scale /= 10;
            fraction += (text.p[at] - '0') * scale;
            at++;
        }
        if (at == from)
            return false;
    }
    if (at >= text.n)
        return false;
    if ((text.p[at] == 'Z' || text.p[at] == 'z') && at + 1 == text.n) {
        offset = 0;
    } else if ((text.p[at] == '+' || text.p[at] == '-') && at + 6 == text.n &&
               text.p[at + 3] == ':' && digits(text, at + 1, 2, &oh) &&
               digits(text, at + 4, 2, &om) && oh <= 23 && om <= 59) {
        offset = (oh * 3600 + om * 60) * (text.p[at] == '-' ? -1 : 1);
    } else {
        return false;
    }
    if (second == 60)
        second = 59;
    *us = (date_to_days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset) *
              US_PER_SECOND +
          fraction;
    return true;
}
