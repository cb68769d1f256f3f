/*
 * folder_lock.h - the lock of a journal folder: whoever holds it is the ledger's one writer.
 */
#ifndef METERING_LEDGER_FOLDER_LOCK_H
#define METERING_LEDGER_FOLDER_LOCK_H

#include "base/rc.h"

/*
 * Holds it until *fd is closed; RC_OK with *fd -1 where somebody else does.  The folder must be
 * there.
 */
enum rc folder_lock(const char *journal_dir, int *fd, struct fail *fail) RC_MUST;

#endif
