/*
 * config_trail.h - what a gateway runs with, noted in the trail (reports/trail.h).
 */
#ifndef PROXY_CONFIG_TRAIL_H
#define PROXY_CONFIG_TRAIL_H

struct config;

/*
 * Notes the configuration's file, its price book and state_dir/keys.json where they are not what
 * the trail says of them.  action: "start" or "reload".  What cannot be noted is logged.  Waits
 * for the disk: not for an event loop of requests.
 */
void config_note(const struct config *config, const char *action);

#endif
