/*
 * zone.h - time zones and calendar periods (IANA names), by GLib's GTimeZone.
 *
 * Budgets' and reports' days, weeks, months are those of a zone; a day of a
 * daylight saving change has 23 or 25 hours.  A zone is immutable after
 * zone_open and may be read by many threads.
 */
#ifndef BASE_ZONE_H
#define BASE_ZONE_H

#include <stdint.h>

#include "base/datetime.h"

enum period {
    PERIOD_HOUR = 0,
    PERIOD_DAY,
    PERIOD_WEEK, /* starts on Monday */
    PERIOD_MONTH,
    PERIOD_QUARTER,
    PERIOD_YEAR,
    PERIOD_TOTAL, /* all time: one period, [INT64_MIN, INT64_MAX) */
};

struct zone;

/* NULL where the system has no such zone. "UTC" always exists. */
struct zone *zone_open(const char *name);
void zone_close(struct zone *z);
/* The name it was opened with. */
const char *zone_name(const struct zone *z);

/*
 * The half-open period [*start_us, *end_us) that holds us.  Hours are those of
 * UTC shifted by the zone's offset, so that a repeated local hour is two periods.
 */
void zone_period(const struct zone *z, enum period period, int64_t us, int64_t *start_us,
                 int64_t *end_us);
/* Local midnight at which a date begins (the first instant after it where midnight is skipped). */
int64_t zone_date_start(const struct zone *z, int year, int month, int day);
/* When clocks show so many minutes after midnight (0..1439) of the day that starts at day_us:
 * the first time where clocks show it twice, where they skip it the moment of the skip. */
int64_t zone_time_of_day(const struct zone *z, int64_t day_us, int minutes);
/* Short label of the period that starts at start_us: "2026-11-21", "2026-W47", "2026-11",
 * "2026-Q4", "2026", "2026-11-21T09:00+01:00", "total". */
void zone_period_label(const struct zone *z, enum period period, int64_t start_us,
                       char out[DATETIME_TEXT]);

#endif
