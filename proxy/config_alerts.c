/*
 * config_alerts.c - channels and routes of alerts.
 */
#include <string.h>

#include "base/datetime.h"
#include "proxy/config_draft.h"

enum { CHANNELS_MAX = 1000, ROUTES_MAX = 1000, MUTES_MAX = 1000, HOUR_MIN = 60 };

#define PAGERDUTY_URL "https://events.pagerduty.com/v2/enqueue"

static bool has_channel(const struct config *config, struct strv name)
{
    for (size_t i = 0; i < config->alerts.n_channels; i++) {
        if (config->alerts.channels[i].name &&
            strv_eq(strv_z(config->alerts.channels[i].name), name))
            return true;
    }
    return false;
}

static bool starts(const char *text, const char *with)
{
    return text && strv_starts(strv_z(text), strv_z(with));
}

/* "name@example.com" and nothing beside it: it stands in commands and headers as it is. */
static bool is_address(struct strv text)
{
    size_t at = strv_find(text, '@');

    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] <= ' ' || text.p[i] >= 0x7f || strchr("<>,;:()\"\\", text.p[i]))
            return false;
    }
    return at > 0 && at + 1 < text.n && strv_find(strv_skip(text, at + 1), '@') == text.n - at - 1;
}

static void check_addresses(struct config_loader *l, const cJSON *item,
                            const struct alert_channel *c)
{
    if (c->from && !is_address(strv_z(c->from)))
        config_problem(l, config_member_or(item, "from"),
                       "alerts.channels[].from is no mail address: write it as name@example.com");
    for (size_t i = 0; i < c->n_to; i++) {
        if (!is_address(c->to[i]))
            config_problem(l, config_member_or(item, "to"),
                           "alerts.channels[].to: \"" STRV_FMT
                           "\" is no mail address: write it as name@example.com",
                           STRV_ARG(c->to[i]));
    }
}

/* What its kind needs. Messages never show a URL: it may be a credential. */
static void check_channel(struct config_loader *l, const cJSON *item, struct alert_channel *c)
{
    bool secretless = l->without_secrets;

    switch (c->kind) {
    case ALERT_PAGERDUTY:
        if (!c->url)
            c->url = config_strdup(l->config, STRV(PAGERDUTY_URL));
        if (!c->routing_key && !secretless)
            config_problem(l, item,
                           "alerts.channels[].routing_key is missing: PagerDuty needs it");
        break;
    case ALERT_WEBHOOK:
        if (!c->secret && !secretless)
            config_problem(l, item,
                           "alerts.channels[].secret is missing: receivers check by it who "
                           "sent the message");
        break;
    case ALERT_EMAIL:
        if (!c->from || c->n_to == 0)
            config_problem(l, item,
                           "alerts.channels[] of type email needs \"from\" and \"to\"");
        check_addresses(l, item, c);
        if (c->url && !starts(c->url, "smtp://") && !starts(c->url, "smtps://"))
            config_problem(l, config_member_or(item, "url"),
                           "alerts.channels[].url of e-mail is smtp://host:port or "
                           "smtps://host:port");
        break;
    case ALERT_SLACK:
        break;
    }
    if (!c->url && !secretless)
        config_problem(l, item, "alerts.channels[].url is missing: say where it is");
    if (c->url && c->url[0] && c->kind != ALERT_EMAIL && !starts(c->url, "https://") &&
        !(starts(c->url, "http://") && c->allow_private))
        config_problem(l, config_member_or(item, "url"),
                       "alerts.channels[].url must be https:// (http:// only with "
                       "\"allow_private\")");
}

static void read_channel(struct config_loader *l, const cJSON *item)
{
    struct channel_draft draft = {.to = NULL};
    struct alerts_config *alerts = &l->config->alerts;

    config_preset_section(l, &config_section_channel, &draft);
    config_read_section(l, &config_section_channel, item, &draft);
    if (draft.to)
        (void)config_read_list(l, draft.to, "alerts.channels[].to", &draft.channel.to,
                               &draft.channel.n_to);
    check_channel(l, item, &draft.channel);
    if (draft.channel.name && has_channel(l->config, strv_z(draft.channel.name)))
        config_problem(l, config_member_or(item, "name"),
                       "alerts.channels[].name \"%s\" is another channel's too",
                       draft.channel.name);
    alerts->channels[alerts->n_channels++] = draft.channel;
}

/* A list of channels that are there. */
static void read_names(struct config_loader *l, const cJSON *item, const char *where,
                       struct strv **out, size_t *n)
{
    if (!item || !config_read_list(l, item, where, out, n))
        return;
    for (size_t i = 0; i < *n; i++) {
        if (!has_channel(l->config, (*out)[i]))
            config_problem(l, item,
                           "%s: there is no channel \"" STRV_FMT "\" in alerts.channels", where,
                           STRV_ARG((*out)[i]));
    }
}

static void read_route(struct config_loader *l, const cJSON *item)
{
    struct route_draft draft = {.match = NULL};
    struct alerts_config *alerts = &l->config->alerts;

    config_preset_section(l, &config_section_route, &draft);
    config_read_section(l, &config_section_route, item, &draft);
    if (draft.match)
        (void)config_read_tag_values(l, draft.match, "alerts.routes[].match",
                                     &draft.route.match, &draft.route.n_match);
    if (draft.events)
        (void)config_read_list(l, draft.events, "alerts.routes[].events", &draft.route.events,
                               &draft.route.n_events);
    if (!draft.channels)
        config_problem(l, item, "alerts.routes[].channels is missing: say where to");
    read_names(l, draft.channels, "alerts.routes[].channels", &draft.route.channels,
               &draft.route.n_channels);
    alerts->routes[alerts->n_routes++] = draft.route;
}

static void read_mute(struct config_loader *l, const cJSON *item)
{
    struct mute_draft draft = {.match = NULL};
    struct alerts_config *alerts = &l->config->alerts;
    struct alert_mute mute = {.until_us = 0};

    config_preset_section(l, &config_section_mute, &draft);
    config_read_section(l, &config_section_mute, item, &draft);
    mute.what.severity = draft.severity;
    if (draft.match)
        (void)config_read_tag_values(l, draft.match, "alerts.mutes[].match", &mute.what.match,
                                     &mute.what.n_match);
    if (draft.events)
        (void)config_read_list(l, draft.events, "alerts.mutes[].events", &mute.what.events,
                               &mute.what.n_events);
    if (draft.until && !datetime_parse(strv_z(draft.until), &mute.until_us))
        config_problem(l, config_member_or(item, "until"),
                       "alerts.mutes[].until is no time (2026-11-21T18:00:00Z)");
    alerts->mutes[alerts->n_mutes++] = mute;
}

/* "22:00": minutes of the day, or -1. */
static int minutes_of(struct strv text)
{
    struct strv hour = strv_head(text, strv_find(text, ':'));
    uint64_t h, m;

    if (text.n != sizeof("22:00") - 1 || hour.n != 2 || !strv_parse_u64(hour, 23, &h) ||
        !strv_parse_u64(strv_skip(text, 3), HOUR_MIN - 1, &m))
        return -1;
    return (int)h * HOUR_MIN + (int)m;
}

static void read_quiet(struct config_loader *l, const cJSON *item, const char *text)
{
    struct alerts_config *alerts = &l->config->alerts;
    struct strv all = text ? strv_z(text) : STRV_NONE;

    if (!text)
        return;
    alerts->quiet_from_min = minutes_of(strv_head(all, strv_find(all, '-')));
    alerts->quiet_to_min = minutes_of(strv_skip(all, strv_find(all, '-') + 1));
    if (alerts->quiet_from_min < 0 || alerts->quiet_to_min < 0 ||
        alerts->quiet_from_min == alerts->quiet_to_min)
        config_problem(l, config_member_or(item, "quiet_hours"),
                       "alerts.quiet_hours is no span of a day (22:00-07:00)");
}

static void read_floor(struct config_loader *l, const cJSON *item)
{
    struct money *to = &l->config->alerts.anomaly_usd;
    char *text;

    to->atto = (money_int)10 * NANO_PER_USD * ATTO_PER_NANO;
    if (!item)
        return;
    text = config_read_decimal(l, item, "alerts.anomaly_usd");
    if (text && (money_parse(strv_z(text), to) != RC_OK || to->atto < 0))
        config_problem(l, item, "alerts.anomaly_usd is no amount of dollars");
}

void config_read_alerts(struct config_loader *l, const cJSON *item)
{
    struct alerts_config *alerts = &l->config->alerts;
    struct alerts_draft draft = {.channels = NULL};
    const cJSON *each;
    size_t n;

    config_preset_section(l, &config_section_alerts, &draft);
    if (item)
        config_read_section(l, &config_section_alerts, item, &draft);
    *alerts = draft.alerts;
    read_floor(l, draft.anomaly_usd);
    if (draft.channels &&
        config_count_items(l, draft.channels, "alerts.channels", CHANNELS_MAX, &n)) {
        alerts->channels = config_alloc(l->config, n * sizeof(alerts->channels[0]));
        cJSON_ArrayForEach(each, draft.channels) read_channel(l, each);
    }
    if (draft.routes && config_count_items(l, draft.routes, "alerts.routes", ROUTES_MAX, &n)) {
        alerts->routes = config_alloc(l->config, n * sizeof(alerts->routes[0]));
        cJSON_ArrayForEach(each, draft.routes) read_route(l, each);
    }
    if (draft.mutes && config_count_items(l, draft.mutes, "alerts.mutes", MUTES_MAX, &n)) {
        alerts->mutes = config_alloc(l->config, n * sizeof(alerts->mutes[0]));
        cJSON_ArrayForEach(each, draft.mutes) read_mute(l, each);
    }
    read_quiet(l, item, draft.quiet_hours);
    read_names(l, draft.fallback, "alerts.fallback", &alerts->fallback, &alerts->n_fallback);
}
