/*
 * cmd.h - the commands of the program; each gets its own arguments, argv[0] its name.
 *
 * Every one returns the exit status: 0 good, 1 the answer is no, 2 bad usage or
 * configuration.
 */
#ifndef PROXY_CMD_H
#define PROXY_CMD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/problem.h"

#define TOLLGATE_VERSION "0.1.0"

enum { EXIT_GOOD = 0, EXIT_NO = 1, EXIT_USAGE = 2 };

typedef int command_fn(int argc, char **argv);

struct command {
    const char *name;
    const char *usage; /* what follows the name */
    const char *help;  /* one line */
    command_fn *run;
};

/* The nth command, NULL past the last. */
const struct command *command_at(size_t n);
/* NULL where there is none of that name. */
const struct command *command_find(const char *name);
/* Tells on standard error that there is no such command, and the nearest; returns EXIT_USAGE.
 */
int command_unknown(const char *name);

/* `serve -c FILE`: runs the proxy until a signal ends it. */
command_fn cmd_serve;
/* `audit -c FILE`: journal, ledger, rollups, counters and reports agree, or which does not. */
command_fn cmd_audit;
/* `check -c FILE`: every fault of configuration, prices and certificates. */
command_fn cmd_check;
/* `key create|list|revoke`: virtual keys in the state folder. */
command_fn cmd_key;
/* `report NAME`: a report over the ledger. */
command_fn cmd_report;
/* `export`: ledger lines. */
command_fn cmd_export;
/* `import KIND FILE`: what reports take from finance. */
command_fn cmd_import;
/* `close --month M`: freezes a month that is billed. */
command_fn cmd_close;
/* `gate --baseline FILE`: costs of this branch against the last. */
command_fn cmd_gate;
/* `budget status|reset|rebuild|raise`: counters against the ledger, and changes of limits. */
command_fn cmd_budget;
/* `price show|cost|lint|reprice`: the price book. */
command_fn cmd_price;
/* `count [-m MODEL] [FILE]`: tokens of a text. */
command_fn cmd_count;
/* `help [COMMAND|configuration]`. */
command_fn cmd_help;

/* Prints each problem as "file:line: text" on standard error, after the word if there is one.
 */
void cmd_print_problems(const struct problems *problems, const char *word);
/* Says that -c FILE is missing; returns EXIT_USAGE. */
int cmd_no_file(const char *command);

#endif
