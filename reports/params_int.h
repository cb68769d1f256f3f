/*
 * params_int.h - what the readers of a report's words share.
 */
#ifndef REPORTS_PARAMS_INT_H
#define REPORTS_PARAMS_INT_H

#include "reports/params.h"

/* Views of callers do not outlive the call: the arena keeps a copy, terminated. */
enum rc params_keep(struct report_params *p, struct strv *to, struct strv value,
                    struct buf *error) RC_MUST;
/* The words `by` and `where`: as params_set. */
enum rc params_by(struct report_params *p, struct strv value, struct buf *error) RC_MUST;
enum rc params_where(struct report_params *p, struct strv value, struct buf *error) RC_MUST;
/* A field by its name; RC_BAD with a sentence that begins with the word. */
enum rc params_field(struct report_params *p, const char *word, struct strv name,
                     struct ledger_field *out, struct buf *error) RC_MUST;
/*
 * The next value of a list such as "a,b\,c;d", without its backslashes, a copy in the arena; rest is
 * left behind its end: *end is the one of `ends` that stood there, or NUL at the end of the list.  A
 * list has one value at least, which may be empty, as is (untagged) where nothing in it is escaped.
 * RC_LIMIT: the arena is full.
 */
enum rc params_value(struct report_params *p, struct strv *rest, struct strv ends, struct strv *out,
                     char *end) RC_MUST;
/*
 * Combinations of the values of some fields, put in order.  Values are escaped as those of
 * `where`; ';' ends a combination.  RC_BAD with a sentence.
 */
enum rc params_tuples(struct report_params *p, const char *word, struct strv value,
                      struct ledger_tuples *out, struct buf *error) RC_MUST;

#endif
