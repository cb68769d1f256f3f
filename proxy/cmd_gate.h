/*
 * cmd_gate.h - the verdict of a gate, told to people and to pipelines.
 */
#ifndef PROXY_CMD_GATE_H
#define PROXY_CMD_GATE_H

#include <stdio.h>

#include "reports/gate.h"

/* Prints the table to `to` and writes the JUnit file (NULL: none); returns the exit status: 0,
 * 1 where a case failed, 2 where the file cannot be written. */
int cmd_gate_tell(const struct gate *gate, const char *junit, FILE *to);

#endif
