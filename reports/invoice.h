/*
 * invoice.h - what a provider says was used and what it costs, from its own files.
 *
 * Read: pages of OpenAI's usage and costs, of Anthropic's usage and cost reports (one or
 * many, as JSON values one after the other or in an array), AWS CUR 2.0, Azure cost
 * exports, any FOCUS file, and plain CSV (date, model, token_class, quantity, cost_usd).
 * A file is taken whole or refused whole with FILE:LINE:COLUMN.  Amounts are exact;
 * those given to more than 18 places are rounded there, half to even.
 */
#ifndef REPORTS_INVOICE_H
#define REPORTS_INVOICE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/rc.h"
#include "pricing/money.h"

enum {
    INVOICE_FILE_MAX_BYTES = 256 << 20,
    INVOICE_LINES_MAX = 4 << 20,
    INVOICE_TEXT_MAX_BYTES = 1 << 30,
};

enum invoice_class {
    INVOICE_ALL = 0, /* the file does not tell */
    INVOICE_INPUT,   /* uncached */
    INVOICE_CACHE_READ,
    INVOICE_CACHE_WRITE,
    INVOICE_CACHE_WRITE_1H,
    INVOICE_OUTPUT,
    INVOICE_OTHER, /* no tokens: searches, storage, sessions */
    INVOICE_CLASSES,
};
/* "", "input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "other" */
const char *invoice_class_name(enum invoice_class c);

enum invoice_kind { INVOICE_USAGE = 0, INVOICE_UNMETERED, INVOICE_CREDIT_TAX };

struct invoice_line {
    int64_t from_us, to_us;
    struct strv account, model, tier, what; /* what: of no tokens, for people */
    enum invoice_class class;
    enum invoice_kind kind;
    bool has_quantity, has_cost;
    uint64_t quantity; /* tokens, or units */
    struct money cost;
};

struct invoice {
    struct arena arena;
    struct strv provider; /* "openai", "anthropic", "bedrock", "azure"; empty: any */
    struct invoice_line *at;
    size_t n, cap;
    unsigned decimals; /* most that an amount of dollars has: the provider's unit */
    struct strv text;  /* of the file being read */
    const char *file;
    struct buf *error;
    uint64_t rounded; /* amounts with more than 18 places */
};

void invoice_init(struct invoice *v, struct buf *error);
void invoice_release(struct invoice *v);
/* Adds a file's lines. RC_BAD with one sentence in error; the invoice is then of no use. */
enum rc invoice_read(struct invoice *v, const char *path) RC_MUST;
/* The same of a text in memory; file names it in messages. */
enum rc invoice_parse(struct invoice *v, const char *file, struct strv text) RC_MUST;

/* ---- for its readers ------------------------------------------------------------------- */

/* RC_BAD, "FILE:LINE:COLUMN: WHAT WHY". */
enum rc invoice_fault(struct invoice *v, size_t at, struct strv what, const char *why) RC_MUST;
/* A line with those texts copied; RC_LIMIT where there are too many. */
enum rc invoice_add(struct invoice *v, const struct invoice_line *line) RC_MUST;
/* "12.5", "-3e-05": dollars, times 10^scale. False where it is no number or too large. */
bool invoice_money(struct invoice *v, struct strv text, int scale, struct money *out);
/* "1234", "1234.0", "1.234e3", times 10^scale: a whole number from 0. */
bool invoice_quantity(struct strv text, int scale, uint64_t *out);
/* Class by the words of a text such as "cached input tokens"; INVOICE_ALL: none. */
enum invoice_class invoice_class_of(struct strv text);
/* Text holds word, but for case. */
bool invoice_holds(struct strv text, const char *word);
enum rc invoice_json(struct invoice *v) RC_MUST;
enum rc invoice_csv(struct invoice *v) RC_MUST;

#endif
