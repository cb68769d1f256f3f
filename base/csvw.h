/*
 * csvw.h - text as a cell of CSV (RFC 4180), safe for spreadsheets.
 *
 * Tags come from clients, and a spreadsheet runs what begins like a formula (CWE-1236):
 * such text gets a quote mark in front, which spreadsheets take for "this is text".
 */
#ifndef BASE_CSVW_H
#define BASE_CSVW_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/rc.h"
#include "base/strv.h"

/* Whether a spreadsheet would run it: it begins with = + - @, a tab or a CR. */
bool csvw_is_formula(struct strv text);
/* As it is, quoted where it must be. For tables that are read back. */
enum rc csvw_raw(struct buf *out, struct strv text) RC_MUST;
/* The same, defused. For what people open. */
enum rc csvw_text(struct buf *out, struct strv text) RC_MUST;

#endif
