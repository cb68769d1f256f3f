/*
 * log.h - one line a record on standard error, logfmt or JSON.
 *
 *   log_line(LOG_WARN, "upstream", "could not connect", "host=%s port=%d", host, port);
 *
 * The detail is a printf of key=value pairs; a value that holds blanks or quotes
 * is quoted by LOG_QUOTED ("%s" of log_quote).  Bodies, keys and credentials are
 * never given to this module.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"
#include "base/strv.h"

enum log_level {
    LOG_ERROR = 0, /* someone must act */
    LOG_WARN,
    LOG_INFO,   /* life of the process */
    LOG_ACCESS, /* one line an exchange */
    LOG_DEBUG,
};

enum log_format { LOG_LOGFMT = 0, LOG_JSON };

/* Process-wide; called by main before threads start. */
void log_setup(enum log_level level, enum log_format format);
bool log_wants(enum log_level level);

/* One record; lines over 4 KiB are cut. Safe from any thread, one write each. */
COLD void log_line(enum log_level level, const char *component, const char *message,
              const char *detail, ...) __attribute__((format(printf, 4, 5)));

/* s in quotes with escapes, cut to fit size; returns out. For values of key=value. */
const char *log_quote(struct strv s, char *out, size_t size);

#endif
