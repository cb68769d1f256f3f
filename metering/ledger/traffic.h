/*
 * traffic.h - what a request was for, by the name of its environment.
 *
 * Evaluation, tests and load are no live use: what a customer costs is of live traffic alone.
 */
#ifndef METERING_LEDGER_TRAFFIC_H
#define METERING_LEDGER_TRAFFIC_H

#include "base/strv.h"

/*
 * "live", "evaluation", "test", "load", "internal" for the names that usually mean these (in any
 * case of letters), "other" for any other, empty for none.  Static text.
 */
struct strv traffic_class(struct strv environment);

#endif
