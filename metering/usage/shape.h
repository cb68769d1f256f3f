/*
 * shape.h - reads a JSON document like an earlier one by comparing the two.
 *
 * Programs write what a gateway reads, so a document mostly is like one before it in all
 * but its values.  Of documents that came in one piece the bytes between the values are
 * kept; one that has the same bytes there is told of from them, without a turn of the
 * scanner for each name and bracket.  What is told does not differ in anything from what
 * jscan_feed tells, which reads whatever is like nothing before.
 *
 * One thread's; it keeps no value that the scanner told of or passed by, but for those
 * inside containers that a loose scanner skips.  Nothing outside metering/usage looks into it.
 */
#ifndef METERING_USAGE_SHAPE_H
#define METERING_USAGE_SHAPE_H

#include "base/rc.h"
#include "base/strv.h"
#include "metering/usage/jscan.h"

enum {
    SHAPES_MAX = 6,         /* kept; the one that was of use longest ago goes first */
    SHAPE_BYTES_MAX = 2048, /* between the values; documents with more are not learnt */
    SHAPE_STEPS_MAX = 96,   /* values and wanted brackets; likewise */
    SHAPE_STRANGE_MAX = 16, /* documents like none before, in a row, that are all learnt; then
                               one in so many is, as what comes seems to repeat nothing */
};

struct shapes;

struct shapes *shapes_new(void);
void shapes_free(struct shapes *known); /* NULL is none */

/*
 * As jscan_feed, of the first bytes of a document: s was just started, by jscan_start or
 * jscan_again.  known (NULL: none) learns from it, and may be fed from any number of scanners,
 * whatever they look for.
 */
enum rc shapes_feed(struct shapes *known, struct jscan *s, struct strv bytes) RC_MUST;

/* Documents that were read by comparing, since shapes_new. */
uint64_t shapes_hits(const struct shapes *known);

#endif
