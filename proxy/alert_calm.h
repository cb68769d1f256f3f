/*
 * alert_calm.h - when what could be told is not told yet: maintenance and quiet hours.
 */
#ifndef PROXY_ALERT_CALM_H
#define PROXY_ALERT_CALM_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/alert.h"

/* Whether one of alerts.mutes holds the alert back at that time. */
bool alert_is_muted(const struct config *config, const struct alert *a, int64_t now_us);
/* The end of the quiet hours that the time is in, for what only informs; else 0. */
int64_t alert_quiet_until(const struct config *config, const struct alert *a, int64_t now_us);

#endif
