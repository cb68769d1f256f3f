/*
 * oddity_causes.h - which dimensions an anomaly is made of; see oddities.h.
 */
#ifndef REPORTS_ODDITY_CAUSES_H
#define REPORTS_ODDITY_CAUSES_H

#include "reports/series.h"

enum { ODDITY_CAUSES_TEXT = 1024 };

/* An anomaly whose causes are sought. */
struct oddity_sought {
    const struct series *series;
    size_t first, last;             /* its steps */
    bool up;                        /* what rose is told, else what fell */
    char causes[ODDITY_CAUSES_TEXT]; /* out */
};

/*
 * Writes the values that moved most in the steps of each of n anomalies of a set against the mean
 * of the same steps up to four weeks before: "model gpt-x +12.3, feature chat +4".
 * Dollars are rounded to cents, or to six places below one; long values are cut.
 */
enum rc oddity_causes(const struct series_question *q, const struct series_set *set,
                      struct oddity_sought *sought, size_t n, struct fail *fail) RC_MUST;

#endif
