#include "proxy/alert_calm.h"

#include "base/datetime.h"

#define US_PER_MINUTE (60 * US_PER_SECOND)

bool alert_is_muted(const struct config *config, const struct alert *a, int64_t now_us)
{
    for (size_t i = 0; i < config->alerts.n_mutes; i++) {
        const struct alert_mute *mute = &config->alerts.mutes[i];

        if (now_us < mute->until_us && alert_matches(a, &mute->what))
            return true;
    }
    return false;
}

int64_t alert_quiet_until(const struct config *config, const struct alert *a, int64_t now_us)
{
    int64_t from = config->alerts.quiet_from_min * US_PER_MINUTE;
    int64_t to = config->alerts.quiet_to_min * US_PER_MINUTE;
    int64_t day, next, next_end;

    if (from == to || a->severity != SEVERITY_INFO)
        return 0;
    zone_period(config->zone, PERIOD_DAY, now_us, &day, &next);
    /* Of the night that began yesterday, or of the one that begins today. */
    if (from > to && now_us < day + to)
        return day + to;
    if (now_us < day + from || (from < to && now_us >= day + to))
        return 0;
    if (from < to)
        return day + to;
    zone_period(config->zone, PERIOD_DAY, next, &next, &next_end);
    return next + to;
}
