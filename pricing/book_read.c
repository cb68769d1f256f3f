/* Top of a file: sources, units, providers, models. */
#include <errno.h>

#include "pricing/book_int.h"

#include "pricing/read_json.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- sources ---------------------------------------------------------------- */

static void source_what(const struct place *at, const cJSON *value, void *into)
{
    ((struct source *)into)->what = read_text(at, value);
}

static void source_published(const struct place *at, const cJSON *value, void *into)
{
    ((struct source *)into)->published = read_text(at, value);
}

static void source_retrieved(const struct place *at, const cJSON *value, void *into)
{
    ((struct source *)into)->retrieved = read_text(at, value);
}

static const struct member source_members[] = {
    {"what", source_what},
    {"published", source_published},
    {"retrieved", source_retrieved},
    {"licence", NULL},
    {"url", NULL},
    {"note", NULL},
};

static void top_sources(const struct place *at, const cJSON *value, void *into)
{
    struct place here = {.b = at->b, .what = "source"};
    struct book *book = at->b->book;
    const cJSON *child;

    (void)into;
    if (!cJSON_IsObject(value)) {
        place_problem(at, "sources", "sources must be an object of sources by name");
        return;
    }
    cJSON_ArrayForEach(child, value)
    {
        struct source source = {.name = build_strv(at->b, strv_z(child->string))};
        struct source *known = NULL;

        (void)read_object(&here, child, source_members, COUNT(source_members), &source);
        for (size_t i = 0; i < book->n_sources && !known; i++)
            known = strv_eq(book->sources[i].name, source.name) ? &book->sources[i] : NULL;
        if (!known) {
            if (book->n_sources == LIST_MAX) {
                place_problem(at, child->string, "more than %d sources", LIST_MAX);
                return;
            }
            book->sources = build_grow(book->sources, &book->n_sources, &at->b->sources_room,
                                       sizeof(source));
            known = &book->sources[book->n_sources - 1];
        }
        *known = source;
    }
}

/* ---- units ------------------------------------------------------------------ */

static void unit_per(const struct place *at, const cJSON *value, void *into)
{
    struct unit *unit = into;
    static const uint64_t max = UINT64_C(1000000000000);

    unit->per = read_count(at, value);
    if (unit->per == 0 || unit->per > max) {
        place_problem(at, "per", "per must be a whole number from 1 to 10^12");
        unit->per = 1;
    }
}

static void unit_of(const struct place *at, const cJSON *value, void *into)
{
    struct unit *unit = into;

    unit->of = read_text(at, value);
    unit->is_token = strv_eq(unit->of, STRV("token"));
}

static void unit_dir(const struct place *at, const cJSON *value, void *into)
{
    struct unit *unit = into;

    unit->dir = read_text(at, value);
    if (!strv_eq(unit->dir, STRV("in")) && !strv_eq(unit->dir, STRV("out")) &&
        !strv_eq(unit->dir, STRV("none")))
        place_problem(at, "dir", "dir must be \"in\", \"out\" or \"none\"");
}

static void unit_falls_to(const struct place *at, const cJSON *value, void *into)
{
    struct strv name = read_text(at, value);

    if (name.n > 0)
        ((struct unit *)into)->falls_to = read_meter(at, strv_z(value->valuestring));
}

static const struct member unit_members[] = {
    {"per", unit_per},
    {"of", unit_of},
    {"dir", unit_dir},
    {"falls_to", unit_falls_to},
};

static bool unit_eq(const struct unit *a, const struct unit *b)
{
    return a->per == b->per && a->is_token == b->is_token && a->falls_to == b->falls_to;
}

static void top_units(const struct place *at, const cJSON *value, void *into)
{
    struct place here = {.b = at->b, .what = "unit"};
    const cJSON *child;

    (void)into;
    if (!cJSON_IsObject(value)) {
        place_problem(at, "units", "units must be an object of units by meter");
        return;
    }
    cJSON_ArrayForEach(child, value)
    {
        struct unit unit = {.known = true, .falls_to = METER_COUNT};
        enum meter m = read_meter(at, strv_z(child->string));
        struct unit *known;

        (void)read_object(&here, child, unit_members, COUNT(unit_members), &unit);
        if (m == METER_COUNT)
            continue;
        known = &at->b->book->units[m];
        if (unit.per == 0)
            place_problem(&here, child->string, "unit \"%s\" has no per", meter_name(m));
        else if (known->known && !unit_eq(known, &unit))
            place_problem(&here, child->string,
                          "unit \"%s\" differs from an earlier file's; the meaning of a unit "
                          "cannot change",
                          meter_name(m));
        else
            *known = unit;
    }
}

/* ---- file ------------------------------------------------------------------- */

static void top_providers(const struct place *at, const cJSON *value, void *into)
{
    const cJSON *child;

    (void)into;
    if (!cJSON_IsObject(value)) {
        place_problem(at, "providers", "providers must be an object of providers by name");
        return;
    }
    cJSON_ArrayForEach(child, value) read_provider(at, child);
}

static void top_schema(const struct place *at, const cJSON *value, void *into)
{
    *(bool *)into = true;
    if (!strv_eq(read_text(at, value), STRV("tollgate-prices/1")))
        place_problem(at, "schema", "schema must be \"tollgate-prices/1\"");
}

static void top_currency(const struct place *at, const cJSON *value, void *into)
{
    (void)into;
    if (!strv_eq(read_text(at, value), STRV("USD")))
        place_problem(at, "currency", "currency must be \"USD\"");
}

static const struct member top_members[] = {
    {"schema", top_schema}, {"version", NULL},        {"currency", top_currency},
    {"retrieved", NULL},    {"sources", top_sources}, {"rules", NULL},
    {"units", top_units},   {"note", NULL},           {"providers", top_providers},
};

/* The rest after the JSON value must be blank. */
static bool is_blank(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n'))
        at++;
    return at == end;
}

static int line_at(struct strv text, const char *at)
{
    int line = 1;

    for (const char *p = text.p; p < at && p < text.p + text.n; p++)
        line += *p == '\n';
    return line;
}

void book_read(struct build *b, const struct book_source *file, uint32_t index)
{
    struct place top = {.b = b, .what = "price book"};
    const char *end = NULL;
    bool has_schema = false;
    cJSON *json;

    b->file = file;
    b->file_index = index;
    errno = 0;
    json = cJSON_ParseWithLengthOpts(file->text.p, file->text.n, &end, 0);
    if (!json && errno == ENOMEM) {
        problems_add(b->problems, file->name, 0, "could not read: out of memory");
        return;
    }
    if (!json) {
        problems_add(b->problems, file->name, end ? line_at(file->text, end) : 1,
                     "is not JSON from here on; mend the syntax");
        return;
    }
    if (!is_blank(end, file->text.p + file->text.n))
        problems_add(b->problems, file->name, line_at(file->text, end),
                     "something follows the end of the price book; remove it");
    if (read_object(&top, json, top_members, COUNT(top_members), &has_schema) && !has_schema)
        problems_add(b->problems, file->name, 1,
                     "has no \"schema\": \"tollgate-prices/1\"; add it");
    cJSON_Delete(json);
}
