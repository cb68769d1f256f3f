#include "proxy/alert_calm.h"

#include "base/zone.h"

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
    const struct alerts_config *c = &config->alerts;
    int64_t day, next, from, to;

    if (c->quiet_from_min == c->quiet_to_min || a->severity != SEVERITY_INFO)
        return 0;
    zone_period(config->zone, PERIOD_DAY, now_us, &day, &next);
    from = zone_time_of_day(config->zone, day, c->quiet_from_min);
    to = zone_time_of_day(config->zone, day, c->quiet_to_min);
    if (c->quiet_from_min < c->quiet_to_min)
        return now_us >= from && now_us < to ? to : 0;
    /* Of the night that began yesterday, or of the one that begins today. */
    if (now_us < to)
        return to;
    return now_us >= from ? zone_time_of_day(config->zone, next, c->quiet_to_min) : 0;
}
