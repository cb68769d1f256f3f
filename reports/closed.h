/*
 * closed.h - months that were closed: what was billed, frozen and hashed.
 *
 * <state_dir>/closed/2026-11/ holds each report of the month as a frozen sheet and as the
 * CSV and JSON that were rendered when it was closed, and a manifest with the SHA-256 of
 * every file and of the manifest of the month closed before it: who changes one byte
 * breaks the chain.  A closed month is never written again; what reaches the ledger
 * for it later is billed as a correction in the first open month.
 */
#ifndef REPORTS_CLOSED_H
#define REPORTS_CLOSED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/rc.h"
#include "base/strv.h"
#include "reports/report.h"
#include "reports/sheet.h"

enum { CLOSED_MONTHS_MAX = 1200, CLOSED_MONTH_TEXT = 8 };

struct closed_months {
    char at[CLOSED_MONTHS_MAX][CLOSED_MONTH_TEXT]; /* "2026-11", in order */
    size_t n;
};

/* Which months are closed; none where state_dir is NULL. */
enum rc closed_list(const char *state_dir, struct closed_months *out, struct fail *fail) RC_MUST;
bool closed_has(const struct closed_months *months, const char *month);

/* A file of a closed month: "statement.csv"; the caller frees *text. RC_STATE: there is none. */
enum rc closed_read(const char *state_dir, const char *month, const char *name, char **text,
                    size_t *n, struct fail *fail) RC_MUST;
/* As of when, and of which line on, the ledger was when the month was closed. */
enum rc closed_as_of(const char *state_dir, const char *month, int64_t *us, uint64_t *seq,
                     struct fail *fail) RC_MUST;
/* A frozen sheet: "statement". RC_STATE: there is none. */
enum rc closed_sheet(const char *state_dir, const char *month, const char *name,
                     struct sheet *out, struct fail *fail) RC_MUST;

/* A sheet as text that sheet_thaw reads back to the last digit. */
enum rc sheet_freeze(const struct sheet *t, struct buf *out) RC_MUST;
enum rc sheet_thaw(struct strv text, struct sheet *out) RC_MUST;

/*
 * Closes a month ("2026-11") of the sources' zone: renders and writes all of the above,
 * on disk on return, and appends one line about it to said.  RC_BAD with one sentence
 * in error where it cannot be closed: it has not ended, the ledger has not taken in
 * all of it yet (force passes over that), an earlier month with spend is open, it is
 * closed already.  RC_IO otherwise.
 */
enum rc closed_close(const struct report_sources *sources, struct strv month, bool force,
                     struct buf *said, struct buf *error) RC_MUST;

/*
 * Recomputes every hash of every closed month; appends a line each to said.  RC_BAD where any
 * differs, RC_IO with fail where the system would not let one be read.
 */
enum rc closed_verify(const char *state_dir, struct buf *said, struct fail *fail) RC_MUST;

#endif
