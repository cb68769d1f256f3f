/*
 * oddity_causes.h - which dimensions an anomaly is made of; see oddities.h.
 */
#ifndef REPORTS_ODDITY_CAUSES_H
#define REPORTS_ODDITY_CAUSES_H

#include "reports/series.h"

enum { ODDITY_CAUSES_TEXT = 1024 };

/*
 * Writes the values that moved most in steps [first, last] of a series against the mean
 * of the same steps up to four weeks before: "model gpt-x +12.3, feature chat +4".
 * up: those that rose, else those that fell.  Dollars are rounded to cents, or to six
 * places below one; long values are cut.
 */
enum rc oddity_causes(const struct series_question *q, const struct series_set *set,
                      const struct series *series, size_t first, size_t last, bool up,
                      char out[ODDITY_CAUSES_TEXT], struct fail *fail) RC_MUST;

#endif
