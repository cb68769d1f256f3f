/*
 * page.h - the frame of HTML pages: head, styles, escaped text.  No scripts.
 */
#ifndef REPORTS_PAGE_H
#define REPORTS_PAGE_H

#include "base/buf.h"
#include "base/rc.h"
#include "base/strv.h"

/* RC_LIMIT where out is full, in all of these. */

/* The one style sheet, which every page carries whole: for the hash in a content security
 * policy. */
struct strv page_style(void);
/* Everything up to the open body. */
enum rc page_begin(struct strv title, struct buf *out) RC_MUST;
/* Text of an element or of a quoted attribute. */
enum rc page_text(struct strv text, struct buf *out) RC_MUST;
enum rc page_end(struct buf *out) RC_MUST;

#endif
