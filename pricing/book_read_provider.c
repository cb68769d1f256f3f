/* A provider of a file: how its names and prices are to be read, and its models. */
#include "pricing/book_int.h"

#include "base/datetime.h"
#include "pricing/read_json.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void provider_hosts(const struct place *at, const cJSON *value, void *into)
{
    read_list(at, value, true, &((struct provider *)into)->hosts);
}

static void provider_strip(const struct place *at, const cJSON *value, void *into)
{
    read_list(at, value, true, &((struct provider *)into)->strip);
}

static void provider_suffixes(const struct place *at, const cJSON *value, void *into)
{
    read_list(at, value, true, &((struct provider *)into)->suffixes);
}

static void provider_geo(const struct place *at, const cJSON *value, void *into)
{
    struct strv_list *prefixes = &((struct provider *)into)->geo_prefixes;

    read_list(at, value, true, prefixes);
    for (size_t i = 0; i < prefixes->n; i++) {
        if (prefixes->at[i].n < 2 || !strv_ends(prefixes->at[i], STRV(".")))
            place_problem(at, "geo_prefixes",
                          "a region's prefix must end in a dot, as \"eu.\"");
    }
}

static void provider_tiers(const struct place *at, const cJSON *value, void *into)
{
    struct provider *p = into;
    const cJSON *child;

    p->n_tiers = 0;
    if (!cJSON_IsObject(value)) {
        place_problem(at, "tier_multipliers",
                      "tier_multipliers must be an object of decimals by tier");
        return;
    }
    cJSON_ArrayForEach(child, value)
    {
        if (p->n_tiers == BOOK_TIERS_MAX) {
            place_problem(at, child->string, "more than %d tier_multipliers", BOOK_TIERS_MAX);
            return;
        }
        p->tiers[p->n_tiers].name = build_strv(at->b, strv_z(child->string));
        p->tiers[p->n_tiers++].factor = read_factor(at, child);
    }
}

static void provider_keeps(const struct place *at, const cJSON *value, void *into)
{
    struct provider *p = into;
    struct strv_list names;

    read_list(at, value, false, &names);
    p->tier_keeps = 0;
    for (size_t i = 0; i < names.n; i++) {
        enum meter m = read_meter(at, names.at[i]);

        if (m != METER_COUNT)
            p->tier_keeps |= meter_bit(m);
    }
}

static void modifier_id(const struct place *at, const cJSON *value, void *into)
{
    ((struct modifier *)into)->id = read_text(at, value);
}

static void modifier_multiply(const struct place *at, const cJSON *value, void *into)
{
    ((struct modifier *)into)->factor = read_factor(at, value);
}

static void modifier_meters(const struct place *at, const cJSON *value, void *into)
{
    struct strv meters = read_text(at, value);

    ((struct modifier *)into)->token_only = strv_eq(meters, STRV("token"));
    if (!strv_eq(meters, STRV("token")) && !strv_eq(meters, STRV("all")))
        place_problem(at, "meters", "meters of a modifier must be \"token\" or \"all\"");
}

static void modifier_only(const struct place *at, const cJSON *value, void *into)
{
    struct modifier *modifier = into;

    modifier->has_only = true;
    read_list(at, value, true, &modifier->only);
}

static void modifier_region(const struct place *at, const cJSON *value, void *into)
{
    read_list(at, value, false, &((struct modifier *)into)->regions);
}

static void modifier_tier(const struct place *at, const cJSON *value, void *into)
{
    ((struct modifier *)into)->tier = read_text(at, value);
}

static const struct member modifier_when_members[] = {
    {"region", modifier_region},
    {"tier", modifier_tier},
};

static void modifier_when(const struct place *at, const cJSON *value, void *into)
{
    struct place here = *at;

    here.what = "modifier's when";
    (void)read_object(&here, value, modifier_when_members, COUNT(modifier_when_members), into);
}

static const struct member modifier_members[] = {
    {"id", modifier_id},
    {"when", modifier_when},
    {"multiply", modifier_multiply},
    {"meters", modifier_meters},
    {"only", modifier_only},
    {"from_model", NULL},
    {"note", NULL},
};

static void provider_modifiers(const struct place *at, const cJSON *value, void *into)
{
    struct place here = {.b = at->b, .provider = at->provider, .what = "modifier"};
    struct provider *p = into;
    const cJSON *child;

    p->n_modifiers = 0;
    if (!cJSON_IsArray(value) || cJSON_GetArraySize(value) > BOOK_MODIFIERS_MAX) {
        place_problem(at, "modifiers", "modifiers must be a list of at most %d",
                      BOOK_MODIFIERS_MAX);
        return;
    }
    p->modifiers = build_alloc(at->b, BOOK_MODIFIERS_MAX * sizeof(p->modifiers[0]));
    if (!p->modifiers)
        return;
    cJSON_ArrayForEach(child, value)
    {
        struct modifier modifier = {.factor = FACTOR_ONE};

        if (!read_object(&here, child, modifier_members, COUNT(modifier_members), &modifier))
            continue;
        if (modifier.regions.n == 0 && modifier.tier.n == 0)
            place_problem(&here, "modifiers", "a modifier's when names no region and no tier");
        p->modifiers[p->n_modifiers++] = modifier;
    }
}

static void provider_fees(const struct place *at, const cJSON *value, void *into)
{
    struct place here = *at;
    cJSON *rates;

    here.what = "fees";
    if (!cJSON_IsObject(value)) {
        place_problem(&here, "fees", "fees must be an object of rates by meter");
        return;
    }
    rates = cJSON_Duplicate(value, 1);
    if (!rates)
        return;
    cJSON_DeleteItemFromObjectCaseSensitive(rates, "note");
    read_written(at->b, at->provider, STRV_NONE, rates, &((struct provider *)into)->fees);
    cJSON_Delete(rates);
}

/* A quantity of units, or seconds of time meters, in quantities' own measure. */
static uint64_t read_quantity(const struct place *at, const cJSON *value, enum meter m)
{
    uint64_t n = read_count(at, value);

    if (n == 0 || n > BOOK_MINIMUM_MAX) {
        place_problem(at, value->string, "a quantity here must be from 1 to %d",
                      BOOK_MINIMUM_MAX);
        return 0;
    }
    return m != METER_COUNT && meter_is_time(m) ? n * MS_PER_SECOND : n;
}

static void provider_minimums(const struct place *at, const cJSON *value, void *into)
{
    struct provider *p = into;
    const cJSON *child;

    p->has_minimum = 0;
    if (!cJSON_IsObject(value)) {
        place_problem(at, "minimums", "minimums must be an object of quantities by meter");
        return;
    }
    cJSON_ArrayForEach(child, value)
    {
        enum meter m = read_meter(at, strv_z(child->string));
        uint64_t n = read_quantity(at, child, m);

        if (m == METER_COUNT || n == 0)
            continue;
        p->has_minimum |= meter_bit(m);
        p->minimum[m] = n;
    }
}

static void stand_in_used(const struct place *at, const cJSON *value, void *into)
{
    ((struct stand_in *)into)->used = read_meter(at, read_text(at, value));
}

static void stand_in_charge(const struct place *at, const cJSON *value, void *into)
{
    ((struct stand_in *)into)->charged = read_meter(at, read_text(at, value));
}

static const struct member stand_in_members[] = {
    {"used", stand_in_used},
    {"charge", stand_in_charge},
    {"quantity", NULL}, /* read last, by its meter */
    {"note", NULL},
};

static void provider_stand_ins(const struct place *at, const cJSON *value, void *into)
{
    struct place here = {.b = at->b, .provider = at->provider, .what = "stand-in"};
    struct provider *p = into;
    const cJSON *child;

    p->n_stand_ins = 0;
    if (!cJSON_IsArray(value) || cJSON_GetArraySize(value) > BOOK_STAND_INS_MAX) {
        place_problem(at, "stand_ins", "stand_ins must be a list of at most %d",
                      BOOK_STAND_INS_MAX);
        return;
    }
    cJSON_ArrayForEach(child, value)
    {
        const cJSON *quantity = cJSON_GetObjectItemCaseSensitive(child, "quantity");
        struct stand_in s = {.used = METER_COUNT, .charged = METER_COUNT};

        if (!read_object(&here, child, stand_in_members, COUNT(stand_in_members), &s))
            continue;
        if (s.used == METER_COUNT || s.charged == METER_COUNT || !quantity) {
            place_problem(&here, "stand_ins",
                          "a stand-in has \"used\", \"charge\" (meters) and "
                          "\"quantity\"");
            continue;
        }
        s.quantity = read_quantity(&here, quantity, s.charged);
        if (s.quantity > 0)
            p->stand_ins[p->n_stand_ins++] = s;
    }
}

/* "2026-10-01..2026-10-07" or one date. */
static bool read_holiday(struct strv text, struct holiday *out)
{
    size_t dots = 0;
    int year, month, day;

    while (dots + 1 < text.n && !(text.p[dots] == '.' && text.p[dots + 1] == '.'))
        dots++;
    if (dots + 1 >= text.n)
        dots = text.n;
    if (!date_parse(strv_head(text, dots), &year, &month, &day))
        return false;
    out->first = date_to_days(year, month, day);
    out->last = out->first;
    if (dots < text.n) {
        if (!date_parse(strv_skip(text, dots + 2), &year, &month, &day))
            return false;
        out->last = date_to_days(year, month, day);
    }
    return out->last >= out->first;
}

static void read_calendar(const struct place *at, const cJSON *value, struct calendar *calendar)
{
    struct strv_list days;

    calendar->name = build_strv(at->b, strv_z(value->string));
    read_list(at, value, false, &days);
    calendar->at = build_alloc(at->b, (days.n + 1) * sizeof(calendar->at[0]));
    for (size_t i = 0; i < days.n && calendar->at; i++) {
        if (read_holiday(days.at[i], &calendar->at[calendar->n]))
            calendar->n++;
        else
            place_problem(at, value->string,
                          "\"" STRV_FMT "\" of a calendar must be a date or a range "
                          "2026-10-01..2026-10-07",
                          STRV_ARG(days.at[i]));
    }
}

static void provider_calendars(const struct place *at, const cJSON *value, void *into)
{
    struct provider *p = into;
    const cJSON *child;

    p->n_calendars = 0;
    if (!cJSON_IsObject(value) || cJSON_GetArraySize(value) > BOOK_MODIFIERS_MAX) {
        place_problem(at, "calendars", "calendars must be an object of at most %d calendars",
                      BOOK_MODIFIERS_MAX);
        return;
    }
    p->calendars = build_alloc(at->b, BOOK_MODIFIERS_MAX * sizeof(p->calendars[0]));
    if (!p->calendars)
        return;
    cJSON_ArrayForEach(child, value) read_calendar(at, child, &p->calendars[p->n_calendars++]);
}

static void provider_models(const struct place *at, const cJSON *value, void *into)
{
    uint32_t index = (uint32_t)((struct provider *)into - at->b->book->providers);
    const cJSON *child;

    if (!cJSON_IsArray(value)) {
        place_problem(at, "models", "models must be a list");
        return;
    }
    cJSON_ArrayForEach(child, value)
    {
        read_model(at, child, index);
        if (at->b->is_full)
            return;
    }
}

static const struct member provider_members[] = {
    {"hosts", provider_hosts},
    {"usage", NULL},
    {"strip", provider_strip},
    {"suffixes", provider_suffixes},
    {"geo_prefixes", provider_geo},
    {"tier_src", NULL},
    {"tier_multipliers", provider_tiers},
    {"tier_keeps", provider_keeps},
    {"modifiers", provider_modifiers},
    {"fees", provider_fees},
    {"calendars", provider_calendars},
    {"minimums", provider_minimums},
    {"stand_ins", provider_stand_ins},
    {"note", NULL},
    {"models", provider_models},
};

void read_provider(const struct place *at, const cJSON *value)
{
    struct book *book = at->b->book;
    struct place here = {.b = at->b, .what = "provider"};
    struct cJSON name = {.type = cJSON_String};
    size_t index;

    name.valuestring = value->string;
    here.provider = read_lower(at, &name);
    if (here.provider.n == 0 || here.provider.n > PROVIDER_NAME_MAX_BYTES) {
        place_problem(at, "providers", "a provider's name must have 1 to %d bytes",
                      PROVIDER_NAME_MAX_BYTES);
        return;
    }
    index = book_provider_index(book, here.provider);
    if (index == book->n_providers) {
        if (index == BOOK_PROVIDERS_MAX) {
            place_problem(at, "providers", "more than %d providers", BOOK_PROVIDERS_MAX);
            return;
        }
        book->providers = build_grow(book->providers, &book->n_providers,
                                     &at->b->providers_room, sizeof(struct provider));
        book->providers[index].name = here.provider;
    }
    (void)read_object(&here, value, provider_members, COUNT(provider_members),
                      &book->providers[index]);
}
