/*
 * repeat.h - knows an event again that differs from an earlier one in its text alone.
 *
 * Most events of a stream say nothing but the next few words.  Once one was read in
 * full and left everything as it was, others of the same bytes, but for strings and
 * numbers that nobody asked for, would do so as well: they need not be scanned, only
 * their text be counted.  It only compares; what may be learnt is the tap's decision.
 * Nothing outside metering/usage includes it.
 */
#ifndef METERING_USAGE_REPEAT_H
#define METERING_USAGE_REPEAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strv.h"
#include "metering/usage/jscan.h"

enum {
    REPEAT_TEXT_MAX = 1024, /* longer events are not learnt */
    REPEAT_GAPS_MAX = 8,    /* places in an event that may change; what follows them must not */
};

/* A place in the event that may hold something else the next time. */
struct repeat_gap {
    uint16_t begin, end;
    enum jscan_gap_kind kind;
};

struct repeat {
    unsigned n_gaps;
    struct repeat_gap gap[REPEAT_GAPS_MAX];
    bool narrowed;    /* gaps that did not change from this event to the next are none any more */
    uint16_t n;       /* bytes of the event; 0: nothing was learnt */
    uint64_t counted; /* bytes of generated text in it outside the gaps */
    char text[REPEAT_TEXT_MAX];
};

/*
 * Learns a whole event, its last line end included.  gaps are places in its document, whose
 * first byte stands at document, at most REPEAT_GAPS_MAX; counted is what the scanner counted in it.  What is too
 * long is not learnt, and what was learnt before stays.
 */
void repeat_learn(struct repeat *r, struct strv event, size_t document,
                  const struct jscan_gaps *gaps, uint64_t counted);
/*
 * True where bytes begin with the event that was learnt, its gaps aside; *used is its
 * length then, and *counted the bytes of generated text that the scanner would count in it.
 * found (NULL: nobody asks) is given what stands in place of each gap.
 */
bool repeat_match(struct repeat *r, struct strv bytes, size_t *used, uint64_t *counted,
                  struct strv found[REPEAT_GAPS_MAX]);

#endif
