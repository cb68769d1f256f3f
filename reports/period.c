/*
 * period.c - see period.h.
 */
#include "reports/period.h"

#include <stdio.h>

bool period_parse_instant(const struct zone *zone, struct strv text, int64_t *us)
{
    int year, month, day;

    if (date_parse(text, &year, &month, &day)) {
        *us = zone_date_start(zone, year, month, day);
        return true;
    }
    return datetime_parse(text, us);
}

bool period_parse_month(const struct zone *zone, struct strv text, int64_t *from_us,
                        int64_t *to_us)
{
    char date[sizeof("2026-11-01")];
    int year, month, day;

    if (text.n != sizeof("2026-11") - 1)
        return false;
    (void)snprintf(date, sizeof(date), STRV_FMT "-01", STRV_ARG(text));
    if (!date_parse(strv_z(date), &year, &month, &day))
        return false;
    *from_us = zone_date_start(zone, year, month, 1);
    *to_us = zone_date_start(zone, month == 12 ? year + 1 : year, month % 12 + 1, 1);
    return true;
}

bool period_parse_last(struct strv text, int64_t now_us, int64_t *from_us, int64_t *to_us)
{
    static const struct {
        char letter;
        uint64_t seconds;
    } units[] = {{'m', 60}, {'h', 3600}, {'d', 86400}, {'w', UINT64_C(7) * 86400}};
    uint64_t n;

    if (text.n < 2)
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (text.p[text.n - 1] != units[i].letter)
            continue;
        if (!strv_parse_u64(strv_head(text, text.n - 1), PERIOD_LAST_MAX_S / units[i].seconds,
                            &n) ||
            n == 0)
            return false;
        *from_us = now_us - (int64_t)(n * units[i].seconds) * US_PER_SECOND;
        *to_us = now_us;
        return true;
    }
    return false;
}

static const char *resolve_from_to(const struct zone *zone, const struct period_words *words,
                                   int64_t now_us, int64_t *from_us, int64_t *to_us,
                                   const char **word)
{
    static const char not_instant[] =
        "is neither a date (2026-11-21) nor an RFC 3339 time (2026-11-21T09:30:00Z)";
    int64_t from = 0, to = now_us, end;

    *word = "to";
    if (words->to.n && !period_parse_instant(zone, words->to, &to))
        return not_instant;
    *word = "from";
    if (words->from.n && !period_parse_instant(zone, words->from, &from))
        return not_instant;
    if (!words->from.n)
        zone_period(zone, PERIOD_MONTH, to - 1, &from, &end);
    *word = words->from.n && !words->to.n ? "from" : "to";
    if (from >= to)
        return words->to.n ? "must be later than from" : "must be earlier than now";
    *from_us = from;
    *to_us = to;
    return NULL;
}

const char *period_resolve(const struct zone *zone, const struct period_words *words,
                           int64_t now_us, int64_t *from_us, int64_t *to_us, const char **word)
{
    bool range = words->from.n || words->to.n;

    if (words->month.n && (range || words->last.n)) {
        *word = "month";
        return "cannot stand beside from, to or last";
    }
    *word = "last";
    if (words->last.n && range)
        return "cannot stand beside from or to";
    if (words->last.n)
        return period_parse_last(words->last, now_us, from_us, to_us)
                   ? NULL
                   : "is not a number of minutes, hours, days or weeks (90m, 24h, 7d, 4w)";
    *word = "month";
    if (words->month.n)
        return period_parse_month(zone, words->month, from_us, to_us) ? NULL
                                                                      : "is no month (2026-11)";
    if (range)
        return resolve_from_to(zone, words, now_us, from_us, to_us, word);
    zone_period(zone, PERIOD_MONTH, now_us, from_us, to_us);
    return NULL;
}

/* The zone's own hour label carries its offset: "2026-11-21T09:00+01:00". */
static int64_t offset_us(const struct zone *zone, int64_t us)
{
    char label[DATETIME_TEXT];
    int64_t start, end, local;
    char text[DATETIME_TEXT];

    zone_period(zone, PERIOD_HOUR, us, &start, &end);
    zone_period_label(zone, PERIOD_HOUR, start, label);
    (void)snprintf(text, sizeof(text), "%.16s:00Z", label);
    return datetime_parse(strv_z(text), &local) ? local - start : 0;
}

void period_format(const struct zone *zone, int64_t us, char out[DATETIME_TEXT])
{
    char text[DATETIME_TEXT];
    int64_t offset = offset_us(zone, us);
    int minutes = (int)(offset / (60 * US_PER_SECOND));
    int size = minutes < 0 ? -minutes : minutes;

    datetime_format_s(us + offset, text);
    if (minutes == 0)
        (void)snprintf(out, DATETIME_TEXT, "%.19sZ", text);
    else
        (void)snprintf(out, DATETIME_TEXT, "%.19s%c%02d:%02d", text, minutes < 0 ? '-' : '+',
                       size / 60 % 100, size % 60);
}
