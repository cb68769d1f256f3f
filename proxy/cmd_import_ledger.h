/*
 * cmd_import_ledger.h - `tollgate import ledger PATH...`: one set of books for several gateways.
 */
#ifndef PROXY_CMD_IMPORT_LEDGER_H
#define PROXY_CMD_IMPORT_LEDGER_H

#include <stdbool.h>

/* flags as taker_take's (metering/ledger/take.h); n > 0 paths. The exit status. */
int import_ledgers(const char *file, char **paths, int n, unsigned flags);

#endif
