/*
 * datetime.h - civil dates and RFC 3339 text, UTC, proleptic Gregorian.
 */
#ifndef BASE_DATETIME_H
#define BASE_DATETIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strv.h"

#define US_PER_SECOND INT64_C(1000000)
#define US_PER_DAY    (INT64_C(86400) * US_PER_SECOND)

/* Room for every text made here, terminator included. */
enum { DATETIME_TEXT = 40 };

/* Days since 1970-01-01 of a date; month 1..12, day 1..31 (not checked), years -32768..32767. */
int64_t date_to_days(int year, int month, int day);
void date_from_days(int64_t days, int *year, int *month, int *day);

/* "2026-11-21T09:30:00.123456Z"; always six digits. */
void datetime_format_us(int64_t us, char out[DATETIME_TEXT]);
/* "2026-11-21T09:30:00Z", rounded down to the second. */
void datetime_format_s(int64_t us, char out[DATETIME_TEXT]);

/*
 * RFC 3339 date-time with offset or Z, up to nine digits of fraction (those below
 * a microsecond are dropped).  False for anything else; leap second :60 is read as :59.
 */
bool datetime_parse(struct strv text, int64_t *us);
/* "YYYY-MM-DD", a real date.  Gives its parts. */
bool date_parse(struct strv text, int *year, int *month, int *day);

#endif
