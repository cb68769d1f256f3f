#include "proxy/config_fields.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/utf8.h"
#include "base/xalloc.h"
#include "proxy/nearest.h"

/* Integers beyond this are not whole in a JSON number read as a double. */
#define EXACT_MAX INT64_C(9007199254740992)

void config_problem(struct config_loader *l, const cJSON *item, const char *format, ...)
{
    va_list args;
    char *text = NULL;

    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    problems_add(l->problems, l->file, item ? config_json_line(item) : 0, "%s",
                 text ? text : "no memory for the message");
    free(text);
}

void *config_alloc(struct config *config, size_t n)
{
    void *p = arena_alloc(&config->arena, n ? n : 1);

    ASSERT(p); /* the arena's maximum is many times that of the file */
    return p;
}

char *config_strdup(struct config *config, struct strv text)
{
    char *copy = config_alloc(config, text.n + 1);

    if (text.n > 0)
        memcpy(copy, text.p, text.n);
    return copy;
}

char *config_resolve(struct config *config, const char *path)
{
    char *joined;
    char *copy;

    if (path[0] == '/' || strcmp(config->dir, ".") == 0)
        return config_strdup(config, strv_z(path));
    joined = xasprintf("%s/%s", strcmp(config->dir, "/") == 0 ? "" : config->dir, path);
    copy = config_strdup(config, strv_z(joined));
    free(joined);
    return copy;
}

/* ---- names ------------------------------------------------------------------------ */

const char *config_nearest(struct strv word, const char *const *words)
{
    const char *best = words[0];
    size_t best_distance = SIZE_MAX;

    for (size_t i = 0; words[i]; i++) {
        size_t distance = nearest_distance(word, strv_z(words[i]));

        if (distance < best_distance) {
            best_distance = distance;
            best = words[i];
        }
    }
    return best;
}

/* A member's name for messages: harmless bytes only, cut short. */
static const char *shown(const char *name, char out[NEAREST_MAX_BYTES + 1])
{
    size_t n = 0;

    for (; n < NEAREST_MAX_BYTES && name[n]; n++)
        out[n] = (char)(name[n] < ' ' || name[n] > '~' ? '?' : name[n]);
    out[n] = '\0';
    return out;
}

static int order_members(const void *a, const void *b)
{
    const cJSON *x = *(const cJSON *const *)a;
    const cJSON *y = *(const cJSON *const *)b;
    int order = strcmp(x->string, y->string);
    int x_line = config_json_line(x), y_line = config_json_line(y);

    return order ? order : (x_line > y_line) - (x_line < y_line);
}

static void say_repeated(struct config_loader *l, const cJSON *item)
{
    char text[NEAREST_MAX_BYTES + 1];

    config_problem(l, item, "\"%s\" is given twice: keep one", shown(item->string, text));
}

bool config_unique_members(struct config_loader *l, const cJSON *object)
{
    const cJSON **all;
    const cJSON *member;
    size_t n = 0;
    bool unique = true;

    cJSON_ArrayForEach(member, object) n++;
    if (n < 2)
        return true;
    all = xmalloc(n * sizeof(*all)); /* bounded by the file's size */
    n = 0;
    cJSON_ArrayForEach(member, object) all[n++] = member;
    qsort(all, n, sizeof(*all), order_members);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(all[i]->string, all[i - 1]->string) == 0) {
            say_repeated(l, all[i]);
            unique = false;
        }
    }
    free(all);
    return unique;
}

/* ---- texts ------------------------------------------------------------------------ */

static bool is_name_byte(char c, bool first)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
           (!first && c >= '0' && c <= '9');
}

/* text stands behind "${"; gives the variable's value and moves *text behind "}". */
static const char *variable(struct config_loader *l, const cJSON *item, const char *where,
                            bool secret, const char **text)
{
    const char *start = *text;
    const char *value;
    size_t n = 0;
    char *name;

    while (is_name_byte(start[n], n == 0))
        n++;
    if (n == 0 || start[n] != '}') {
        config_problem(l, item,
                       "%s: \"${\" without a variable's name and \"}\": write ${NAME}, or "
                       "$${ for the two characters themselves",
                       where);
        return NULL;
    }
    name = xmemdupz(start, n);
    value = getenv(name);
    if (!value && secret && l->without_secrets)
        value = "";
    else if (!value)
        config_problem(l, item,
                       "%s: environment variable %.*s is not set: set it for the program",
                       where, n > NEAREST_MAX_BYTES ? NEAREST_MAX_BYTES : (int)n, start);
    free(name);
    *text = start + n + 1;
    return value;
}

/* The expansion of text to out; false with a problem. */
static bool expand(struct config_loader *l, const cJSON *item, const char *where, bool secret,
                   const char *text, struct buf *out)
{
    enum rc rc = RC_OK;

    while (*text && rc == RC_OK) {
        if (strncmp(text, "$${", 3) == 0) {
            rc = buf_append(out, "${", 2);
            text += 3;
        } else if (strncmp(text, "${", 2) == 0) {
            const char *value;

            text += 2;
            value = variable(l, item, where, secret, &text);
            if (!value)
                return false;
            rc = buf_append(out, value, strlen(value));
        } else {
            size_t n = 1 + strcspn(text + 1, "$");

            rc = buf_append(out, text, n);
            text += n;
        }
    }
    if (rc != RC_OK)
        config_problem(l, item, "%s is longer than %d bytes", where, CONFIG_TEXT_MAX_BYTES);
    return rc == RC_OK;
}

static char *read_text(struct config_loader *l, const cJSON *item, const char *where,
                       bool secret)
{
    struct buf text;
    char *copy = NULL;

    buf_init(&text, CONFIG_TEXT_MAX_BYTES);
    if (!cJSON_IsString(item)) {
        config_problem(l, item, "%s must be a string", where);
        return NULL;
    }
    if (expand(l, item, where, secret, item->valuestring, &text)) {
        l->expanded += buf_len(&text);
        if (l->expanded > CONFIG_TEXTS_MAX_BYTES)
            config_problem(l, item, "%s: all texts together are longer than %d bytes", where,
                           CONFIG_TEXTS_MAX_BYTES);
        else if (utf8_is_printable(buf_view(&text)))
            copy = config_strdup(l->config, buf_view(&text));
        else
            config_problem(l, item, "%s holds control characters or is not UTF-8", where);
    }
    if (text.data)
        explicit_bzero(text.data, text.cap);
    buf_release(&text);
    return copy;
}

char *config_read_text(struct config_loader *l, const cJSON *item, const char *where)
{
    return read_text(l, item, where, false);
}

bool config_read_list(struct config_loader *l, const cJSON *item, const char *where,
                      struct strv **out, size_t *n)
{
    const cJSON *value;
    size_t count = 0;
    struct strv *list;
    char *text;

    *out = NULL;
    *n = 0;
    if (cJSON_IsString(item)) {
        text = config_read_text(l, item, where);
        if (!text)
            return false;
        *out = config_alloc(l->config, sizeof(**out));
        (*out)[(*n)++] = strv_z(text);
        return true;
    }
    if (!cJSON_IsArray(item)) {
        config_problem(l, item, "%s must be a list of strings", where);
        return false;
    }
    cJSON_ArrayForEach(value, item) count++;
    if (count > CONFIG_LIST_MAX) {
        config_problem(l, item, "%s has more than %d values", where, CONFIG_LIST_MAX);
        return false;
    }
    list = config_alloc(l->config, count * sizeof(*list));
    count = 0;
    cJSON_ArrayForEach(value, item)
    {
        text = config_read_text(l, value, where);
        if (!text)
            return false;
        list[count++] = strv_z(text);
    }
    *out = count ? list : NULL;
    *n = count;
    return true;
}

char *config_read_decimal(struct config_loader *l, const cJSON *item, const char *where)
{
    char text[32];

    if (cJSON_IsString(item))
        return config_read_text(l, item, where);
    if (!cJSON_IsNumber(item)) {
        config_problem(l, item, "%s must be a decimal in a string, such as \"0.5\"", where);
        return NULL;
    }
    if (!(fabs(item->valuedouble) <= (double)EXACT_MAX) ||
        item->valuedouble != floor(item->valuedouble)) {
        config_problem(l, item,
                       "%s is a number with a fraction, which is not exact: write it as "
                       "a string",
                       where);
        return NULL;
    }
    snprintf(text, sizeof(text), "%lld", (long long)item->valuedouble);
    return config_strdup(l->config, strv_z(text));
}

const cJSON *config_member_or(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    return item ? item : object;
}

/* ---- fields ----------------------------------------------------------------------- */

static void store(const struct config_field *f, void *base, int64_t value)
{
    char *place = (char *)base + f->offset;
    uint64_t wide = (uint64_t)value;
    uint32_t narrow = (uint32_t)wide;
    bool truth = value != 0;

    if (f->bytes == sizeof(truth)) {
        memcpy(place, &truth, sizeof(truth));
    } else if (f->bytes == sizeof(narrow)) {
        memcpy(place, &narrow, sizeof(narrow));
    } else {
        ASSERT(f->bytes == sizeof(wide));
        memcpy(place, &wide, sizeof(wide));
    }
}

static void store_text(const struct config_field *f, void *base, char *text)
{
    memcpy((char *)base + f->offset, &text, sizeof(text));
}

void config_preset_section(struct config_loader *l, const struct config_section *section,
                           void *base)
{
    for (size_t i = 0; i < section->n_fields; i++) {
        const struct config_field *f = &section->fields[i];

        switch (f->kind) {
        case FIELD_TEXT:
        case FIELD_SECRET:
            if (f->preset_text)
                store_text(f, base, config_strdup(l->config, strv_z(f->preset_text)));
            break;
        case FIELD_PATH:
            if (f->preset_text)
                store_text(f, base, config_resolve(l->config, f->preset_text));
            break;
        case FIELD_INT:
        case FIELD_SIZE:
        case FIELD_BOOL:
        case FIELD_WORD:
            store(f, base, f->preset);
            break;
        case FIELD_SECTION:
            config_preset_section(l, f->section, (char *)base + f->offset);
            break;
        case FIELD_OWN:
            break; /* presets, if any, are set by whoever owns the struct */
        }
    }
}

static void where_of(const struct config_section *section, const char *name, char out[128])
{
    snprintf(out, 128, "%s%s%s", section->path, section->path[0] ? "." : "", name);
}

static void read_number(struct config_loader *l, const struct config_field *f,
                        const cJSON *item, const char *where, void *base)
{
    double n = item->valuedouble;

    if (!cJSON_IsNumber(item) || !(fabs(n) <= (double)EXACT_MAX) || n != floor(n)) {
        config_problem(l, item, "%s must be a whole number from %lld to %lld", where,
                       (long long)f->min, (long long)f->max);
        return;
    }
    if ((int64_t)n < f->min || (int64_t)n > f->max) {
        config_problem(l, item, "%s is %lld: it must be from %lld to %lld", where, (long long)n,
                       (long long)f->min, (long long)f->max);
        return;
    }
    store(f, base, (int64_t)n);
}

static void read_word(struct config_loader *l, const struct config_field *f, const cJSON *item,
                      const char *where, void *base)
{
    char *text = config_read_text(l, item, where);

    if (!text)
        return;
    for (int i = 0; f->words[i]; i++) {
        if (strcmp(f->words[i], text) == 0) {
            store(f, base, i);
            return;
        }
    }
    {
        char list[256] = "";
        size_t n = 0;

        for (size_t i = 0; f->words[i] && n < sizeof(list); i++)
            n += (size_t)snprintf(list + n, sizeof(list) - n, "%s\"%s\"", i ? ", " : "",
                                  f->words[i]);
        config_problem(l, item, "%s must be one of %s; nearest is \"%s\"", where, list,
                       config_nearest(strv_z(text), f->words));
    }
}

static void read_field(struct config_loader *l, const struct config_section *section,
                       const struct config_field *f, const cJSON *item, void *base)
{
    char where[128];
    char *text;

    where_of(section, f->name, where);
    switch (f->kind) {
    case FIELD_TEXT:
    case FIELD_SECRET:
    case FIELD_PATH:
        text = read_text(l, item, where, f->kind == FIELD_SECRET);
        if (text && !*text && !(f->kind == FIELD_SECRET && l->without_secrets))
            config_problem(l, item, "%s is empty: give a value or leave it out", where);
        else if (text)
            store_text(f, base, f->kind == FIELD_PATH ? config_resolve(l->config, text) : text);
        break;
    case FIELD_INT:
    case FIELD_SIZE:
        read_number(l, f, item, where, base);
        break;
    case FIELD_BOOL:
        if (cJSON_IsBool(item))
            store(f, base, cJSON_IsTrue(item));
        else
            config_problem(l, item, "%s must be true or false", where);
        break;
    case FIELD_WORD:
        read_word(l, f, item, where, base);
        break;
    case FIELD_SECTION:
        config_read_section(l, f->section, item, (char *)base + f->offset);
        break;
    case FIELD_OWN:
        f->read(l, f, item, base);
        break;
    }
}

static void say_unknown(struct config_loader *l, const struct config_section *section,
                        const cJSON *item)
{
    char text[NEAREST_MAX_BYTES + 1];
    const char *words[64];
    size_t n = 0;

    ASSERT(section->n_fields < sizeof(words) / sizeof(words[0]));
    for (; n < section->n_fields; n++)
        words[n] = section->fields[n].name;
    words[n] = NULL;
    config_problem(l, item, "unknown field \"%s\"%s%s: the nearest known one is \"%s\"",
                   shown(item->string, text), section->path[0] ? " in " : "", section->path,
                   config_nearest(strv_z(item->string), words));
}

void config_read_section(struct config_loader *l, const struct config_section *section,
                         const cJSON *object, void *base)
{
    const cJSON *item;
    bool given[64] = {false};

    if (!cJSON_IsObject(object)) {
        config_problem(l, object, "%s must be an object { ... }", section->path);
        return;
    }
    if (!config_unique_members(l, object))
        return;
    cJSON_ArrayForEach(item, object)
    {
        size_t i = 0;

        while (i < section->n_fields && strcmp(section->fields[i].name, item->string) != 0)
            i++;
        if (i == section->n_fields) {
            say_unknown(l, section, item);
            continue;
        }
        if (cJSON_IsNull(item))
            continue;
        given[i] = true;
        read_field(l, section, &section->fields[i], item, base);
    }
    for (size_t i = 0; i < section->n_fields; i++) {
        if (section->fields[i].required && !given[i])
            config_problem(l, object, "%s%s%s is missing: %s", section->path,
                           section->path[0] ? "." : "", section->fields[i].name,
                           section->fields[i].help);
    }
}

static void each_field(const struct config_section *section, config_field_fn *fn, void *arg)
{
    for (size_t i = 0; i < section->n_fields; i++) {
        fn(section, &section->fields[i], arg);
        if (section->fields[i].section)
            each_field(section->fields[i].section, fn, arg);
    }
}

void config_each_field(config_field_fn *fn, void *arg)
{
    each_field(&config_root, fn, arg);
}
