/*
 * cmd_export.h - one run of `tollgate export`: cmd_export.c, and for FOCUS cmd_export_focus.c.
 */
#ifndef PROXY_CMD_EXPORT_H
#define PROXY_CMD_EXPORT_H

#include <stdio.h>

#include "metering/ledger/ledger_read.h"
#include "proxy/config.h"
#include "proxy/long_job.h"
#include "reports/books.h"
#include "reports/focus.h"
#include "reports/focus_shares.h"
#include "reports/params.h"

enum export_format { EXPORT_JSONL = 0, EXPORT_CSV, EXPORT_FOCUS };

struct export_run {
    const char *file, *output;
    enum export_format format;
    enum focus_version focus_version;
    enum focus_grain grain;
    bool has_focus_words; /* that go with no other format */
    bool has_period, is_allocated, has_bom;
    struct report_params params;
    struct buf error, line;
    FILE *to;
    char *unfinished; /* the name of the file until it is whole */
    const struct config *config;
    struct focus *focus;
    struct focus_shares *shares;      /* NULL: not asked for */
    struct ledger_reader *origins;    /* opened where a correction's request is asked for */
    struct money ledger_total;        /* what the rows must sum to */
    struct book *list;                /* the book without contracts, for FOCUS */
    struct long_job job;
    struct books_table invoices; /* imported numbers, for FOCUS */
    struct commitments commitments;
    uint64_t done;
    enum rc rc; /* of the line that could not be written */
};

/* Writes to the run's file; arg is the run. */
bool export_text(struct strv text, void *arg);
/* Says on standard error what failed at path; the exit status. */
int export_complain(const struct fail *fail, const char *path);

/*
 * FOCUS: what finance imported is read (false where it cannot be, which is said); then, within
 * the reader's view, before the lines, after them, and when the view is gone.  A sentence in
 * e->error, the ledger's failure in fail, or e->rc say what went wrong.
 */
bool export_focus_open(struct export_run *e);
enum rc export_focus_begin(struct export_run *e, struct ledger_reader *reader,
                           const struct ledger_filter *filter, struct fail *fail) RC_MUST;
enum rc export_focus_total(struct export_run *e, struct ledger_reader *reader,
                           const struct ledger_filter *filter, struct fail *fail) RC_MUST;
/* Writes what is held. Refuses, by a sentence, rows that do not sum to the ledger. */
enum rc export_focus_end(struct export_run *e, const struct ledger_filter *filter) RC_MUST;
/* On standard error: what is in no row, or only in part. */
void export_focus_say(const struct export_run *e);
/* FILE.metadata.json: what a reader of the data needs to know of it. */
bool export_focus_metadata(const struct export_run *e);
void export_focus_close(struct export_run *e);

#endif
