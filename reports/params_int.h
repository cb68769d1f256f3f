/*
 * params_int.h - what the readers of a report's words share.
 */
#ifndef REPORTS_PARAMS_INT_H
#define REPORTS_PARAMS_INT_H

#include "reports/params.h"

/* A field by its name; RC_BAD with a sentence that begins with the word. */
enum rc params_field(struct report_params *p, const char *word, struct strv name,
                     struct ledger_field *out, struct buf *error) RC_MUST;
/*
 * Combinations of the values of some fields, put in order.  Values are escaped as those of
 * `where`; ';' ends a combination.  RC_BAD with a sentence.
 */
enum rc params_tuples(struct report_params *p, const char *word, struct strv value,
                      struct ledger_tuples *out, struct buf *error) RC_MUST;

#endif
