/*
 * source.h - another installation's ledger, read to be taken into a set of books (take.h).
 *
 * A live ledger in WAL mode, beside its gateway, or a copy.  Whoever could write the file may be
 * hostile: its tables must be made with the very words of schema.c, views, triggers and functions
 * of its own are off, texts and rows are bounded, numbers must ascend, and every record must decode
 * and lie within the years that dates are written with.  What fails any of that is damaged.
 */
#ifndef METERING_LEDGER_SOURCE_H
#define METERING_LEDGER_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/strv.h"
#include "base/uuid7.h"
#include "metering/ledger/journal.h"

enum {
    SOURCE_VALUE_BYTES = 1 << 20, /* of one value of the file; SQLite refuses longer ones */
    SOURCE_LOOK_ROWS = 64,        /* between two looks at whether to go on */
};

struct source;

/* What a ledger says of itself, in the view that source_open took. */
struct source_said {
    int64_t installation; /* the number that was drawn when its gateway first started */
    int64_t as_of_us;     /* all that was journalled before is in it; not later than now */
    int64_t kept_from_us; /* requests that ended before are deleted; 0: none are */
    int64_t last_seq;     /* of its records; 0: it has none */
};

/*
 * NULL with fail: RC_STATE for a ledger of another version, one that no gateway has started on yet,
 * or a set of books; RC_BAD for a file that is no ledger, or a damaged one; RC_IO where it cannot
 * be read, RC_AGAIN where it is locked.
 */
struct source *source_open(const char *path, struct source_said *out, struct fail *fail);
/* Legal on NULL. */
void source_close(struct source *s);

/* The id of the record of that number; *is_there false where there is none. */
enum rc source_find(struct source *s, int64_t seq, struct uuid *id, bool *is_there,
                    struct fail *fail) RC_MUST;

/* A record, whole (record.h), which decodes; bytes until the call returns. */
typedef enum rc source_record_fn(int64_t seq, const struct uuid *id, struct strv bytes, void *arg,
                                 struct fail *fail);
/*
 * Records after number `after`, up to number `to`, at most max of them, in a view of their own,
 * in order.  Ends with what fn returns, unless RC_OK.
 */
enum rc source_records(struct source *s, int64_t after, int64_t to, size_t max,
                       source_record_fn *fn, void *arg, struct fail *fail) RC_MUST;

/* Final outcomes of tasks that were given at since_us or later. */
typedef enum rc source_outcome_fn(const struct task_note *note, void *arg, struct fail *fail);
enum rc source_outcomes(struct source *s, int64_t since_us, source_outcome_fn *fn, void *arg,
                        struct fail *fail) RC_MUST;

/* Counts of refusals of quarters of an hour that hold since_us or begin later, each in all. */
typedef enum rc source_denied_fn(const struct denied_note *note, void *arg, struct fail *fail);
enum rc source_denied(struct source *s, int64_t since_us, source_denied_fn *fn, void *arg,
                      struct fail *fail) RC_MUST;

#endif
