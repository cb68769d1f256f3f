/*
 * cmd_config.h - the configuration of a command that works on an installation.
 */
#ifndef PROXY_CMD_CONFIG_H
#define PROXY_CMD_CONFIG_H

#include "proxy/config.h"

/* Loads it, with each fault on standard error; NULL where there is any. */
struct config *cmd_load(const char *file);

#endif
