#include "pricing/read_json.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/datetime.h"
#include "base/utf8.h"

enum { NEAR_MAX = 3, NAME_COMPARED = 40 };

/* Edits (insert, remove, replace) from a to b; both cut to NAME_COMPARED bytes. */
static size_t edit_distance(struct strv a, struct strv b)
{
    size_t row[NAME_COMPARED + 1];

    a = strv_head(a, NAME_COMPARED);
    b = strv_head(b, NAME_COMPARED);
    for (size_t j = 0; j <= b.n; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            size_t cost = diagonal + (a.p[i - 1] != b.p[j - 1]);
            size_t add = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;

            diagonal = row[j];
            row[j] = cost < add ? cost : add;
        }
    }
    return row[b.n];
}

const char *nearest_name(struct strv s, const char *const *names, size_t n)
{
    const char *best = NULL;
    size_t best_distance = NEAR_MAX + 1;

    for (size_t i = 0; i < n; i++) {
        struct strv name = strv_z(names[i]);
        size_t distance = edit_distance(s, name);

        /* Half a name changed is another name. */
        if (distance < best_distance && distance * 2 <= name.n + 1) {
            best = names[i];
            best_distance = distance;
        }
    }
    return best;
}

void place_problem(const struct place *at, const char *word, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (at->model.n > 0)
        build_problem(at->b, at->provider, at->model, word,
                      "provider \"" STRV_FMT "\", model \"" STRV_FMT "\": %s",
                      STRV_ARG(at->provider), STRV_ARG(at->model), text);
    else if (at->provider.n > 0)
        build_problem(at->b, at->provider, STRV_NONE, word, "provider \"" STRV_FMT "\": %s",
                      STRV_ARG(at->provider), text);
    else
        build_problem(at->b, STRV_NONE, STRV_NONE, word, "%s", text);
}

static void unknown_member(const struct place *at, const char *name,
                           const struct member *members, size_t n)
{
    const char *names[MEMBERS_MAX];
    const char *near;
    size_t m = 0;

    for (; m < n && m < MEMBERS_MAX; m++)
        names[m] = members[m].name;
    near = nearest_name(strv_z(name), names, m);
    if (near)
        place_problem(at, name, "unknown member \"%.64s\" of a %s; did you mean \"%s\"?", name,
                      at->what, near);
    else
        place_problem(at, name, "unknown member \"%.64s\" of a %s; remove it", name, at->what);
}

bool read_object(const struct place *at, const cJSON *json, const struct member *members,
                 size_t n, void *into)
{
    const cJSON *child;
    uint32_t seen = 0;

    ASSERT(n <= MEMBERS_MAX);
    if (!cJSON_IsObject(json)) {
        place_problem(at, json->string, "a %s must be an object", at->what);
        return false;
    }
    cJSON_ArrayForEach(child, json)
    {
        size_t i = 0;

        while (i < n && strcmp(members[i].name, child->string) != 0)
            i++;
        if (i == n)
            unknown_member(at, child->string, members, n);
        else if (seen >> i & 1)
            place_problem(at, child->string, "member \"%s\" of a %s stands twice",
                          child->string, at->what);
        else if (members[i].read)
            members[i].read(at, child, into);
        if (i < n)
            seen |= UINT32_C(1) << i;
    }
    return true;
}

static const char *label(const cJSON *value)
{
    return value->string ? value->string : "an element";
}

struct strv read_text(const struct place *at, const cJSON *value)
{
    struct strv text;

    if (cJSON_IsNull(value))
        return STRV_NONE;
    if (!cJSON_IsString(value)) {
        place_problem(at, value->string, "%.64s must be a string", label(value));
        return STRV_NONE;
    }
    text = strv_z(value->valuestring);
    if (text.n > TEXT_MAX_BYTES || !utf8_is_printable(text)) {
        place_problem(at, value->string, "%.64s must be printable UTF-8 of at most %d bytes",
                      label(value), TEXT_MAX_BYTES);
        return STRV_NONE;
    }
    return build_strv(at->b, text);
}

struct strv read_lower(const struct place *at, const cJSON *value)
{
    struct strv text = read_text(at, value);
    char *p = (char *)(uintptr_t)text.p; /* ours: read_text made it */

    for (size_t i = 0; i < text.n; i++)
        p[i] = (char)tolower((unsigned char)p[i]);
    return text;
}

void read_list(const struct place *at, const cJSON *value, bool lower, struct strv_list *out)
{
    struct strv (*read)(const struct place *, const cJSON *) = lower ? read_lower : read_text;
    const cJSON *child;
    size_t n = 0;

    *out = (struct strv_list){.at = NULL};
    if (cJSON_IsString(value)) {
        out->at = build_alloc(at->b, sizeof(out->at[0]));
        if (out->at)
            out->at[out->n++] = read(at, value);
        return;
    }
    if (!cJSON_IsArray(value)) {
        place_problem(at, value->string, "%.64s must be a list of strings", label(value));
        return;
    }
    cJSON_ArrayForEach(child, value) n++;
    if (n == 0)
        return;
    if (n > LIST_MAX) {
        place_problem(at, value->string, "%.64s has more than %d elements", label(value),
                      LIST_MAX);
        return;
    }
    out->at = build_alloc(at->b, n * sizeof(out->at[0]));
    if (!out->at)
        return;
    cJSON_ArrayForEach(child, value)
    {
        struct strv s = read(at, child);

        if (s.n > 0)
            out->at[out->n++] = s;
    }
}

uint64_t read_count(const struct place *at, const cJSON *value)
{
    static const double max = 9007199254740992.0; /* 2^53: where doubles stop being exact */

    if (!cJSON_IsNumber(value) || !(value->valuedouble >= 0 && value->valuedouble <= max) ||
        value->valuedouble != (double)(uint64_t)value->valuedouble) {
        place_problem(at, value->string, "%.64s must be a whole number", label(value));
        return 0;
    }
    return (uint64_t)value->valuedouble;
}

int64_t read_time(const struct place *at, const cJSON *value, int64_t unbounded)
{
    int year, month, day;
    int64_t us;

    if (cJSON_IsNull(value))
        return unbounded;
    if (cJSON_IsString(value)) {
        struct strv text = strv_z(value->valuestring);

        if (datetime_parse(text, &us))
            return us;
        if (date_parse(text, &year, &month, &day))
            return date_to_days(year, month, day) * US_PER_DAY;
    }
    place_problem(at, value->string,
                  "%.64s must be a date (2026-11-21), a time (2026-11-21T09:00:00Z) or null",
                  label(value));
    return unbounded;
}

struct factor read_factor(const struct place *at, const cJSON *value)
{
    struct factor f = FACTOR_ONE;

    if (!cJSON_IsString(value)) {
        place_problem(at, value->string,
                      "%.64s must be a decimal string such as \"0.5\", not a number",
                      label(value));
        return FACTOR_ONE;
    }
    if (factor_parse(strv_z(value->valuestring), &f) != RC_OK) {
        place_problem(at, value->string,
                      "%.64s \"%.64s\" must be a decimal of 0 to %d with at most %d decimals",
                      label(value), value->valuestring, FACTOR_MAX, FACTOR_DECIMALS_MAX);
        return FACTOR_ONE;
    }
    return f;
}

enum meter read_meter(const struct place *at, struct strv name)
{
    const char *names[METER_COUNT];
    enum meter m;
    const char *near;

    if (meter_parse(name, &m))
        return m;
    for (unsigned i = 0; i < METER_COUNT; i++)
        names[i] = meter_name((enum meter)i);
    near = nearest_name(name, names, METER_COUNT);
    place_problem(at, name.p, "unknown meter \"%.64s\"%s%s%s", name.p,
                  near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    return METER_COUNT;
}
