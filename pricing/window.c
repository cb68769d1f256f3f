/* When a time-of-day price holds. */
#include "base/datetime.h"
#include "pricing/book_int.h"

/* Minutes east of UTC, from "2026-11-21T09:00+08:00"; 0 where the text has no offset. */
static int64_t label_offset(const char *label)
{
    struct strv text = strv_z(label);
    struct strv offset = strv_skip(text, 16);
    int64_t minutes;

    if (offset.n < 6 || (offset.p[0] != '+' && offset.p[0] != '-'))
        return 0;
    minutes = ((offset.p[1] - '0') * 10 + offset.p[2] - '0') * 60 + (offset.p[4] - '0') * 10 +
              offset.p[5] - '0';
    return offset.p[0] == '-' ? -minutes : minutes;
}

/* Day since 1970-01-01 and minute of the day there. */
static void local_time(const struct zone *zone, int64_t at_us, int64_t *day, int *minute)
{
    static const int64_t us_per_minute = 60 * US_PER_SECOND;
    int64_t rest;

    if (zone) {
        char label[DATETIME_TEXT];
        int64_t start_us, end_us;

        zone_period(zone, PERIOD_HOUR, at_us, &start_us, &end_us);
        zone_period_label(zone, PERIOD_HOUR, start_us, label);
        at_us += label_offset(label) * us_per_minute;
    }
    *day = at_us / US_PER_DAY;
    rest = at_us % US_PER_DAY;
    if (rest < 0) {
        rest += US_PER_DAY;
        --*day;
    }
    *minute = (int)(rest / us_per_minute);
}

static bool span_holds(const struct span *span, int minute)
{
    if (span->from < span->to)
        return minute >= span->from && minute < span->to;
    return minute >= span->from || minute < span->to;
}

bool window_holds(const struct window *w, int64_t at_us)
{
    static const int64_t year_9999_us = INT64_C(253402300800) * US_PER_SECOND;
    bool in_hours = w->n_spans == 0;
    int64_t day;
    int minute, weekday;

    if (at_us < -year_9999_us || at_us > year_9999_us)
        return false;
    local_time(w->hours_zone, at_us, &day, &minute);
    for (size_t i = 0; i < w->n_spans && !in_hours; i++)
        in_hours = span_holds(&w->span[i], minute);
    if (!in_hours)
        return false;
    if (w->days_zone != w->hours_zone)
        local_time(w->days_zone, at_us, &day, &minute);
    weekday = (int)((day % 7 + 7 + 3) % 7); /* 1970-01-01 was a Thursday */
    if ((w->days >> weekday & 1) == 0)
        return false;
    for (size_t i = 0; w->not_on && i < w->not_on->n; i++) {
        if (day >= w->not_on->at[i].first && day <= w->not_on->at[i].last)
            return false;
    }
    return true;
}
