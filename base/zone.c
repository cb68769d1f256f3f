#include "base/zone.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <glib.h>

#include "base/strv.h"
#include "base/xalloc.h"

enum {
    ZONE_NAME_MAX_BYTES = 64,
    HOUR_S = 3600,
    DAY_S = 86400,
    /* Local time is at most this far from UTC, offsets of the 19th century included. */
    OFFSET_MAX_S = 16 * HOUR_S,
    SEGMENTS_MAX = 8, /* changes of offset within two OFFSET_MAX_S, and one more */
};

/* Calendar periods are those of the years 1..9999; earlier and later times count as these. */
static const int64_t first_s = INT64_C(-62135596800);
static const int64_t last_s = INT64_C(253402300799);

struct zone {
    char name[ZONE_NAME_MAX_BYTES];
    GTimeZone *tz;
};

/* GLib also takes offsets and POSIX rules; only names with a file in the zone folder are ours.
 */
static bool name_is_installed(const char *name)
{
    const char *folders[] = {getenv("TZDIR"), "/usr/share/zoneinfo", "/usr/lib/zoneinfo"};
    char path[4096];

    if (strstr(name, "..") || name[0] == '/')
        return false;
    for (const char *p = name; *p; p++) {
        bool is_plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                        (*p >= '0' && *p <= '9') || strchr("_+-/", *p) != NULL;

        if (!is_plain)
            return false;
    }
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        int n = folders[i] ? snprintf(path, sizeof(path), "%s/%s", folders[i], name) : -1;

        if (n > 0 && (size_t)n < sizeof(path) && access(path, R_OK) == 0)
            return true;
    }
    return false;
}

struct zone *zone_open(const char *name)
{
    struct zone *z;
    GTimeZone *tz;

    if (!name || name[0] == '\0' || strlen(name) >= ZONE_NAME_MAX_BYTES)
        return NULL;
    if (strcmp(name, "UTC") == 0)
        tz = g_time_zone_new_utc();
    else if (name_is_installed(name))
        tz = g_time_zone_new_identifier(name);
    else
        tz = NULL;
    if (!tz)
        return NULL;
    z = xcalloc(1, sizeof(*z));
    memcpy(z->name, name, strlen(name) + 1);
    z->tz = tz;
    return z;
}

void zone_close(struct zone *z)
{
    if (!z)
        return;
    g_time_zone_unref(z->tz);
    free(z);
}

const char *zone_name(const struct zone *z)
{
    return z->name;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0 ? 1 : 0);
}

static int64_t floor_to(int64_t a, int64_t b)
{
    return floor_div(a, b) * b;
}

static int interval_at(const struct zone *z, int64_t utc_s)
{
    return g_time_zone_find_interval(z->tz, G_TIME_TYPE_UNIVERSAL, utc_s);
}

static int64_t offset_at(const struct zone *z, int64_t utc_s)
{
    return g_time_zone_get_offset(z->tz, interval_at(z, utc_s));
}

/* The first second in (from, to] whose interval is not that of from; to + 1 where there is
 * none. */
static int64_t next_change(const struct zone *z, int64_t from, int64_t to)
{
    int interval = interval_at(z, from);
    int64_t low = from, high = to;

    if (from >= to || interval_at(z, to) == interval)
        return to + 1;
    while (high - low > 1) { /* low is in the interval, high is not */
        int64_t middle = low + (high - low) / 2;

        if (interval_at(z, middle) == interval)
            low = middle;
        else
            high = middle;
    }
    return high;
}

/*
 * The first second after which local time never again is before local_s.  So
 * days follow each other without gap or overlap even where clocks are turned
 * back over midnight.
 */
static int64_t from_local(const struct zone *z, int64_t local_s)
{
    int64_t starts[SEGMENTS_MAX], offsets[SEGMENTS_MAX];
    int64_t end = local_s + OFFSET_MAX_S, found = end;
    int n = 0;

    for (int64_t at = local_s - OFFSET_MAX_S; at <= end && n < SEGMENTS_MAX; n++) {
        starts[n] = at;
        offsets[n] = offset_at(z, at);
        at = next_change(z, at, end);
    }
    while (n-- > 0) {
        int64_t crosses = local_s - offsets[n];

        if (crosses >= found)
            break;
        if (crosses > starts[n]) {
            found = crosses;
            break;
        }
        found = starts[n];
    }
    return found;
}

static int64_t date_start_s(const struct zone *z, int64_t days)
{
    return from_local(z, days * DAY_S);
}

int64_t zone_date_start(const struct zone *z, int year, int month, int day)
{
    return date_start_s(z, date_to_days(year, month, day)) * US_PER_SECOND;
}

/* The date whose local day holds a second. */
static int64_t days_of(const struct zone *z, int64_t utc_s)
{
    int64_t days = floor_div(utc_s + offset_at(z, utc_s), DAY_S);

    if (utc_s < date_start_s(z, days))
        days--;
    return days;
}

int64_t zone_time_of_day(const struct zone *z, int64_t day_us, int minutes)
{
    int64_t day_s = floor_div(day_us, US_PER_SECOND);
    int64_t local_s = days_of(z, day_s) * DAY_S + (int64_t)minutes * 60;
    int64_t last = day_s + DAY_S + OFFSET_MAX_S;

    /* From one change of offset to the next: local time rises with time. */
    for (int64_t at = day_s, next; at < last; at = next) {
        int64_t shown_at = local_s - offset_at(z, at);

        next = next_change(z, at, last);
        if (shown_at < next)
            return (shown_at > at ? shown_at : at) * US_PER_SECOND;
    }
    return last * US_PER_SECOND;
}

/* Monday is 0; 1970-01-01 was a Thursday. */
static int64_t weekday(int64_t days)
{
    return days + 3 - floor_to(days + 3, 7);
}

static void hour_period(const struct zone *z, int64_t utc_s, int64_t *start, int64_t *end)
{
    int64_t offset = offset_at(z, utc_s);
    int64_t hour = floor_to(utc_s + offset, HOUR_S) - offset;
    int64_t from = hour, change;

    /* An offset may change inside an hour (Lord Howe: by half an hour). */
    while ((change = next_change(z, from, utc_s)) <= utc_s)
        from = change;
    *start = from;
    *end = next_change(z, utc_s, hour + HOUR_S - 1);
}

/* First days of the period that holds a day and of the one after it. */
static void calendar_days(enum period period, int64_t days, int64_t *from, int64_t *to)
{
    int year, month, day, first = 1, months = 12;

    date_from_days(days, &year, &month, &day);
    switch (period) {
    case PERIOD_WEEK:
        *from = days - weekday(days);
        *to = *from + 7;
        return;
    case PERIOD_MONTH:
        first = month;
        months = 1;
        break;
    case PERIOD_QUARTER:
        first = (month - 1) / 3 * 3 + 1;
        months = 3;
        break;
    case PERIOD_YEAR:
        break;
    case PERIOD_HOUR:
    case PERIOD_DAY:
    case PERIOD_TOTAL:
        *from = days;
        *to = days + 1;
        return;
    }
    *from = date_to_days(year, first, 1);
    if (first + months > 12)
        *to = date_to_days(year + 1, 1, 1);
    else
        *to = date_to_days(year, first + months, 1);
}

void zone_period(const struct zone *z, enum period period, int64_t us, int64_t *start_us,
                 int64_t *end_us)
{
    int64_t at = floor_div(us, US_PER_SECOND);
    int64_t start, end;

    at = at < first_s ? first_s : at > last_s ? last_s : at;
    if (period == PERIOD_TOTAL) {
        *start_us = INT64_MIN;
        *end_us = INT64_MAX;
        return;
    }
    if (period == PERIOD_HOUR) {
        hour_period(z, at, &start, &end);
    } else {
        int64_t from, to;

        calendar_days(period, days_of(z, at), &from, &to);
        start = date_start_s(z, from);
        end = date_start_s(z, to);
    }
    *start_us = start * US_PER_SECOND;
    *end_us = end * US_PER_SECOND;
}

/* ISO 8601 week: the one of its Thursday's year. */
static void week_label(int64_t days, char out[DATETIME_TEXT])
{
    int64_t thursday = days - weekday(days) + 3;
    int year, month, day;

    date_from_days(thursday, &year, &month, &day);
    snprintf(out, DATETIME_TEXT, "%04d-W%02d", year,
             (int)((thursday - date_to_days(year, 1, 1)) / 7 + 1));
}

static void hour_label(const struct zone *z, int64_t utc_s, char out[DATETIME_TEXT])
{
    int64_t offset = offset_at(z, utc_s), local = utc_s + offset;
    int minutes = (int)(offset < 0 ? -offset : offset) / 60;
    int second = (int)(local - floor_to(local, DAY_S));
    int year, month, day;

    date_from_days(floor_div(local, DAY_S), &year, &month, &day);
    snprintf(out, DATETIME_TEXT, "%04d-%02d-%02dT%02d:%02d%c%02d:%02d", year, month, day,
             second / HOUR_S, second / 60 % 60, offset < 0 ? '-' : '+', minutes / 60,
             minutes % 60);
}

void zone_period_label(const struct zone *z, enum period period, int64_t start_us,
                       char out[DATETIME_TEXT])
{
    int64_t at = floor_div(start_us, US_PER_SECOND), days;
    int year, month, day;

    at = at < first_s ? first_s : at > last_s ? last_s : at;
    days = period == PERIOD_TOTAL ? 0 : days_of(z, at);
    date_from_days(days, &year, &month, &day);
    switch (period) {
    case PERIOD_HOUR:
        hour_label(z, at, out);
        return;
    case PERIOD_DAY:
        snprintf(out, DATETIME_TEXT, "%04d-%02d-%02d", year, month, day);
        return;
    case PERIOD_WEEK:
        week_label(days, out);
        return;
    case PERIOD_MONTH:
        snprintf(out, DATETIME_TEXT, "%04d-%02d", year, month);
        return;
    case PERIOD_QUARTER:
        snprintf(out, DATETIME_TEXT, "%04d-Q%d", year, (month - 1) / 3 + 1);
        return;
    case PERIOD_YEAR:
        snprintf(out, DATETIME_TEXT, "%04d", year);
        return;
    case PERIOD_TOTAL:
        snprintf(out, DATETIME_TEXT, "total");
        return;
    }
}
