/*
 * files.h - small files of the state folder that are replaced whole and kept for good.
 *
 * <state_dir>/<folder>/<name><suffix>, folders 0700, files 0600.  A reader sees the old
 * file or the new one; what was written is on disk on return.  What root writes beside a
 * gateway of another user belongs to that user (base/state_file.h).
 */
#ifndef REPORTS_FILES_H
#define REPORTS_FILES_H

#include <stddef.h>

#include "base/rc.h"
#include "base/strv.h"

enum { FILES_MAX_BYTES = 512 << 20 };

/* The whole file, terminated; *text is the caller's to free. RC_STATE where there is none. */
enum rc files_read(const char *state_dir, const char *folder, const char *name,
                   const char *suffix, char **text, size_t *n, struct fail *fail) RC_MUST;
/* Writes it anew; the folder is made where it is missing. */
enum rc files_replace(const char *state_dir, const char *folder, const char *name,
                      const char *suffix, struct strv text, struct fail *fail) RC_MUST;
/* Gives a folder its final name within the parent; the parent is synced. */
enum rc files_rename(const char *state_dir, const char *parent, const char *from,
                     const char *to, struct fail *fail) RC_MUST;
/* Keeps a copy in books/history under its time, kind and SHA-256. */
enum rc files_keep_history(const char *state_dir, const char *kind, struct strv text,
                           struct fail *fail) RC_MUST;
/* Waits until nobody else changes the folder; the lock ends with close(*lock). */
enum rc files_lock(const char *state_dir, const char *folder, int *lock,
                   struct fail *fail) RC_MUST;

#endif
