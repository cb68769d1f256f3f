/*
 * lines_pick.h - which of the lines that conditions choose a drill-down is about, where only
 * the whole of a task, or a line's single charges, can say.
 */
#ifndef REPORTS_LINES_PICK_H
#define REPORTS_LINES_PICK_H

#include "reports/report_int.h"

enum { LINES_PICK_MAX = 4 << 20 }; /* attempts of tasks in the period; more is RC_LIMIT */

struct lines_pick;

/* Whether the report's words ask for any of this. */
bool lines_pick_is_asked(const struct report_params *p);
/*
 * Reads what the words ask for; NULL where they ask for nothing.  RC_BAD with a sentence in
 * run->error where a word has no such value.  Free it also after a failure.
 */
enum rc lines_pick_new(struct run *run, struct lines_pick **out) RC_MUST;
void lines_pick_free(struct lines_pick *pick);

/* What a line was charged of one price. */
struct charged {
    uint64_t quantity;
    struct money amount;
};
/* Whether the line is one of those; charged is told of the word `charge` alone. */
bool lines_pick_holds(struct lines_pick *pick, const struct record *r,
                      struct charged *charged);

#endif
