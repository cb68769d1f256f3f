/* Periods of a model: rates, variants and the conditions under which they hold. */
#include "pricing/book_int.h"

#include <stdio.h>
#include <stdlib.h>

#include "pricing/read_json.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- rates ------------------------------------------------------------------ */

static bool read_rate(const struct place *at, const cJSON *value, money_int *out)
{
    struct money rate;
    enum rc rc;

    if (!cJSON_IsString(value)) {
        place_problem(at, value->string,
                      "the rate of \"%.64s\" must be a decimal string such as \"2.5\", not a "
                      "number",
                      value->string);
        return false;
    }
    rc = money_parse(strv_z(value->valuestring), &rate);
    if (rc == RC_OK && rate.atto >= 0) {
        *out = rate.atto;
        return true;
    }
    place_problem(
        at, value->string,
        "the rate \"%.64s\" of \"%.64s\" must be a decimal, not negative, with at most "
        "18 decimals",
        value->valuestring, value->string);
    return false;
}

void read_written(struct build *b, struct strv provider, struct strv model,
                  const struct cJSON *object, struct written *out)
{
    struct place here = {.b = b, .provider = provider, .model = model, .what = "rates"};
    money_int rates[METER_COUNT];
    const cJSON *child;
    unsigned n = 0;

    *out = (struct written){.mask = 0};
    if (!cJSON_IsObject(object)) {
        place_problem(&here, "rates", "rates must be an object of decimal strings by meter");
        return;
    }
    cJSON_ArrayForEach(child, object)
    {
        enum meter m = read_meter(&here, strv_z(child->string));
        money_int rate;

        if (m == METER_COUNT || !read_rate(&here, child, &rate))
            continue;
        if (out->mask & meter_bit(m))
            place_problem(&here, child->string, "the rate of \"%s\" stands twice",
                          child->string);
        out->mask |= meter_bit(m);
        rates[m] = rate;
    }
    out->rate =
        build_alloc(b, (unsigned)__builtin_popcountll(out->mask) * sizeof(rates[0]) + 1);
    for (unsigned m = 0; m < METER_COUNT && out->rate; m++) {
        if (out->mask >> m & 1)
            out->rate[n++] = rates[m];
    }
    if (!out->rate)
        out->mask = 0;
}

/* ---- windows ---------------------------------------------------------------- */

static const char *const day_names[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

enum { ALL_DAYS = 0x7f, MINUTES_A_DAY = 1440 };

/* "06:30"; 24:00 is the end of a day. */
static bool read_minute(const cJSON *value, int *out)
{
    const char *p = cJSON_IsString(value) ? value->valuestring : "";
    int hours, minutes;

    if (strlen(p) != 5 || p[2] != ':')
        return false;
    for (int i = 0; i < 5; i++) {
        if (i != 2 && (p[i] < '0' || p[i] > '9'))
            return false;
    }
    hours = (p[0] - '0') * 10 + p[1] - '0';
    minutes = (p[3] - '0') * 10 + p[4] - '0';
    *out = hours * 60 + minutes;
    return minutes < 60 && *out <= MINUTES_A_DAY;
}

static void window_hours(const struct place *at, const cJSON *value, void *into)
{
    struct window *w = into;
    const cJSON *child;

    if (!cJSON_IsArray(value) || cJSON_GetArraySize(value) > BOOK_WINDOW_SPANS_MAX) {
        place_problem(at, "hours", "hours must be a list of at most %d pairs",
                      BOOK_WINDOW_SPANS_MAX);
        return;
    }
    cJSON_ArrayForEach(child, value)
    {
        struct span span;

        if (!cJSON_IsArray(child) || cJSON_GetArraySize(child) != 2 ||
            !read_minute(cJSON_GetArrayItem(child, 0), &span.from) ||
            !read_minute(cJSON_GetArrayItem(child, 1), &span.to) || span.from == span.to) {
            place_problem(at, "hours", "hours must hold pairs such as [\"16:30\", \"00:30\"]");
            continue;
        }
        w->span[w->n_spans++] = span;
    }
}

static void window_days(const struct place *at, const cJSON *value, void *into)
{
    struct window *w = into;
    struct strv_list days;

    read_list(at, value, true, &days);
    w->days = 0;
    for (size_t i = 0; i < days.n; i++) {
        unsigned d = 0;

        while (d < COUNT(day_names) && !strv_eq(days.at[i], strv_z(day_names[d])))
            d++;
        if (d == COUNT(day_names))
            place_problem(at, "days",
                          "\"" STRV_FMT "\" is no day; days are mon, tue, wed, thu, "
                          "fri, sat, sun",
                          STRV_ARG(days.at[i]));
        else
            w->days |= 1u << d;
    }
}

static struct zone *find_zone(const struct place *at, const cJSON *value)
{
    struct book *book = at->b->book;
    struct strv name = read_text(at, value);
    struct zone *zone;

    if (name.n == 0 || strv_eq(name, STRV("UTC")))
        return NULL;
    for (size_t i = 0; i < book->n_zones; i++) {
        if (strv_eq(strv_z(zone_name(book->zones[i])), name))
            return book->zones[i];
    }
    zone = zone_open(value->valuestring);
    if (!zone || book->n_zones == BOOK_PROVIDERS_MAX) {
        place_problem(at, value->string, "there is no time zone \"%.64s\" on this system",
                      value->valuestring);
        zone_close(zone);
        return NULL;
    }
    book->zones = build_grow(book->zones, &book->n_zones, &at->b->zones_room, sizeof(zone));
    book->zones[book->n_zones - 1] = zone;
    return zone;
}

static void window_tz(const struct place *at, const cJSON *value, void *into)
{
    ((struct window *)into)->hours_zone = find_zone(at, value);
}

static void window_day_tz(const struct place *at, const cJSON *value, void *into)
{
    ((struct window *)into)->days_zone = find_zone(at, value);
}

static void window_not_on(const struct place *at, const cJSON *value, void *into)
{
    ((struct window *)into)->not_on_name = read_text(at, value);
}

static const struct member window_members[] = {
    {"tz", window_tz},         {"hours", window_hours},   {"days", window_days},
    {"day_tz", window_day_tz}, {"not_on", window_not_on},
};

/* "01:00-04:00 06:00-10:00 UTC mon tue wed thu fri (Asia/Shanghai) not on cn-holidays" */
static struct strv window_text(struct build *b, const struct window *w)
{
    char text[256];
    size_t n = 0;

#define APPEND(...)                                                                            \
    do {                                                                                       \
        int more = snprintf(text + n, sizeof(text) - n, __VA_ARGS__);                          \
        if (more > 0)                                                                          \
            n = n + (size_t)more < sizeof(text) ? n + (size_t)more : sizeof(text) - 1;         \
    } while (0)

    for (size_t i = 0; i < w->n_spans; i++)
        APPEND("%02d:%02d-%02d:%02d ", w->span[i].from / 60, w->span[i].from % 60,
               w->span[i].to / 60, w->span[i].to % 60);
    APPEND("%s", w->hours_zone ? zone_name(w->hours_zone) : "UTC");
    for (unsigned d = 0; d < COUNT(day_names) && w->days != ALL_DAYS; d++) {
        if (w->days >> d & 1)
            APPEND(" %s", day_names[d]);
    }
    if (w->days_zone != w->hours_zone)
        APPEND(" (%s)", w->days_zone ? zone_name(w->days_zone) : "UTC");
    if (w->not_on_name.n > 0)
        APPEND(" not on " STRV_FMT, STRV_ARG(w->not_on_name));
#undef APPEND
    return build_strv(b, strv_make(text, n));
}

/* ---- conditions ------------------------------------------------------------- */

static void when_tier(const struct place *at, const cJSON *value, void *into)
{
    struct card *card = into;

    card->tier = read_text(at, value);
    card->n_keys++;
}

static void when_region(const struct place *at, const cJSON *value, void *into)
{
    struct card *card = into;

    read_list(at, value, false, &card->regions);
    if (card->regions.n == 0)
        place_problem(at, "region", "region of a when must name at least one region");
    card->n_keys++;
}

static void when_ctx_min(const struct place *at, const cJSON *value, void *into)
{
    struct card *card = into;

    card->ctx_min = read_count(at, value);
    card->n_keys++;
}

static void when_window(const struct place *at, const cJSON *value, void *into)
{
    struct place here = *at;
    struct card *card = into;
    struct window *w = build_alloc(at->b, sizeof(*w));

    here.what = "window";
    card->n_keys++;
    if (!w)
        return;
    w->days = ALL_DAYS;
    (void)read_object(&here, value, window_members, COUNT(window_members), w);
    if (!cJSON_GetObjectItemCaseSensitive(value, "day_tz"))
        w->days_zone = w->hours_zone;
    w->text = window_text(at->b, w);
    card->window = w;
}

/* A condition on one of a query's details. */
static void when_detail(const struct place *at, const cJSON *value, void *into)
{
    struct card *card = into;
    char text[512];
    int n;

    for (unsigned d = 0; d < DETAIL_COUNT; d++) {
        if (strcmp(value->string, price_detail_name((enum price_detail)d)) == 0)
            card->detail[d] = read_lower(at, value);
    }
    n = snprintf(text, sizeof(text), STRV_FMT "%s%s=%.64s", STRV_ARG(card->details),
                 card->details.n > 0 ? " " : "", value->string,
                 cJSON_IsString(value) ? value->valuestring : "?");
    card->details = build_strv(at->b, strv_make(text, n < 0 ? 0 : strnlen(text, sizeof(text))));
    card->n_keys++;
}

static const struct member when_members[] = {
    {"tier", when_tier},     {"region", when_region},     {"ctx_min", when_ctx_min},
    {"window", when_window}, {"search_ctx", when_detail}, {"quality", when_detail},
    {"size", when_detail},   {"steps", when_detail},
};

static void card_when(const struct place *at, const cJSON *value, void *into)
{
    struct place here = *at;

    here.what = "when";
    (void)read_object(&here, value, when_members, COUNT(when_members), into);
    if (((struct card *)into)->n_keys == 0)
        place_problem(at, "when", "a variant's when names no condition");
}

static void card_rates(const struct place *at, const cJSON *value, void *into)
{
    read_written(at->b, at->provider, at->model, value, &((struct card *)into)->written);
}

static const struct member variant_members[] = {
    {"when", card_when}, {"rates", card_rates}, {"src", NULL},
    {"derived", NULL},   {"note", NULL},
};

/* ---- periods ---------------------------------------------------------------- */

static void period_from(const struct place *at, const cJSON *value, void *into)
{
    struct price_period *period = into;

    period->from_us = read_time(at, value, INT64_MIN);
    if (cJSON_IsString(value))
        period->from_text = read_text(at, value);
}

static void period_to(const struct place *at, const cJSON *value, void *into)
{
    ((struct price_period *)into)->to_us = read_time(at, value, INT64_MAX);
}

static void period_known(const struct place *at, const cJSON *value, void *into)
{
    ((struct price_period *)into)->known_us = read_time(at, value, INT64_MIN);
}

static void period_src(const struct place *at, const cJSON *value, void *into)
{
    ((struct price_period *)into)->source = read_text(at, value);
}

static void period_rates(const struct place *at, const cJSON *value, void *into)
{
    card_rates(at, value, &((struct price_period *)into)->cards[0]);
}

static void period_variants(const struct place *at, const cJSON *value, void *into)
{
    struct place here = *at;
    struct price_period *period = into;
    const cJSON *child;

    here.what = "variant";
    cJSON_ArrayForEach(child, value)
    {
        struct card *card = &period->cards[period->n_cards];

        if (read_object(&here, child, variant_members, COUNT(variant_members), card) &&
            card->n_keys > 0)
            period->n_cards++;
        else
            *card = (struct card){.n_keys = 0};
    }
}

static const struct member period_members[] = {
    {"from", period_from},   {"to", period_to},
    {"rates", period_rates}, {"variants", period_variants},
    {"src", period_src},     {"known_at", period_known},
    {"note", NULL},
};

static void read_period(const struct place *at, const cJSON *value, struct price_period *period)
{
    const cJSON *variants = cJSON_GetObjectItemCaseSensitive(value, "variants");
    int n = cJSON_GetArraySize(variants);

    *period =
        (struct price_period){.from_us = INT64_MIN, .to_us = INT64_MAX, .known_us = INT64_MIN};
    if (variants && (!cJSON_IsArray(variants) || n >= BOOK_CARDS_MAX)) {
        place_problem(at, "variants", "variants must be a list of fewer than %d",
                      BOOK_CARDS_MAX);
        n = 0;
        value = NULL; /* room for its variants was not made */
    }
    period->cards = build_alloc(at->b, ((size_t)n + 1) * sizeof(period->cards[0]));
    if (!period->cards)
        return;
    period->n_cards = 1;
    if (!value)
        return;
    if (cJSON_IsObject(value) && !cJSON_GetObjectItemCaseSensitive(value, "rates"))
        place_problem(at, "prices", "a price has no rates");
    (void)read_object(at, value, period_members, COUNT(period_members), period);
    if (period->from_us >= period->to_us)
        place_problem(at, "prices", "a price ends before it begins");
}

static int period_order(const void *a, const void *b)
{
    const struct price_period *x = a, *y = b;

    return (x->from_us > y->from_us) - (x->from_us < y->from_us);
}

void read_periods(struct build *b, struct model *model, struct strv provider,
                  const struct cJSON *array)
{
    struct place here = {.b = b, .provider = provider, .model = model->id, .what = "price"};
    int n = cJSON_GetArraySize(array);
    const cJSON *child;

    if (!cJSON_IsArray(array) || n < 1 || n > BOOK_PERIODS_MAX) {
        place_problem(&here, "prices", "prices must be a list of 1 to %d prices",
                      BOOK_PERIODS_MAX);
        return;
    }
    model->periods = build_alloc(b, (size_t)n * sizeof(model->periods[0]));
    if (!model->periods)
        return;
    model->n_periods = 0;
    cJSON_ArrayForEach(child, array)
        read_period(&here, child, &model->periods[model->n_periods++]);
    qsort(model->periods, model->n_periods, sizeof(model->periods[0]), period_order);
    for (size_t i = 1; i < model->n_periods; i++) {
        if (model->periods[i].from_us < model->periods[i - 1].to_us)
            place_problem(&here, "prices",
                          "two prices hold at the same time; end the first "
                          "where the second begins");
    }
}
