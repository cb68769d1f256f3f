/*
 * period.h - the stretch of time a report covers, from the words of its caller.
 *
 * All periods are half-open, in microseconds since 1970 UTC.  Dates and months are
 * those of a zone: a day of a daylight saving change has 23 or 25 hours.
 */
#ifndef REPORTS_PERIOD_H
#define REPORTS_PERIOD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/strv.h"
#include "base/zone.h"

enum { PERIOD_LAST_MAX_S = 366 * 86400 * 20 }; /* longest --last */

/*
 * "2026-11-21" (the date's first instant in the zone) or RFC 3339 with an offset.
 * False for anything else.
 */
bool period_parse_instant(const struct zone *zone, struct strv text, int64_t *us);

/* "2026-11": that month in the zone. False for anything else. */
bool period_parse_month(const struct zone *zone, struct strv text, int64_t *from_us,
                        int64_t *to_us);

/*
 * "<n>m", "<n>h", "<n>d", "<n>w": so many minutes, hours, 24 hours or 7 x 24 hours
 * before now, 1 s to PERIOD_LAST_MAX_S.  False for anything else.
 */
bool period_parse_last(struct strv text, int64_t now_us, int64_t *from_us, int64_t *to_us);

/* The words that a caller gave; empty where absent. */
struct period_words {
    struct strv from, to, month, last;
};

/*
 * The period that the words mean: from/to, or month, or last; from alone ends
 * now, to alone begins with the month that holds the instant before it; nothing is
 * the current month.  Returns NULL, or what is wrong and with which word (static
 * texts).
 */
const char *period_resolve(const struct zone *zone, const struct period_words *words,
                           int64_t now_us, int64_t *from_us, int64_t *to_us, const char **word);

/* Appends the local time with its offset, to the second: "2026-11-01T00:00:00+01:00". */
void period_format(const struct zone *zone, int64_t us, char out[DATETIME_TEXT]);

#endif
