#include "proxy/alert.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Half a character at a cut end is left out. */
static void cut(char *text, size_t size, int wanted)
{
    size_t n = strlen(text);

    if (wanted < 0 || (size_t)wanted < size)
        return;
    while (n > 0 && ((unsigned char)text[n - 1] & 0xc0) == 0x80)
        text[--n] = '\0';
    if (n > 0 && ((unsigned char)text[n - 1] & 0x80))
        text[n - 1] = '\0';
}

void alert_text(char *to, size_t size, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(to, size, format, args);
    va_end(args);
    cut(to, size, n);
}

void alert_init(struct alert *a, const char *event, enum alert_severity severity, int64_t at_us)
{
    struct uuid id;

    memset(a, 0, sizeof(*a));
    uuid7_make(&id, at_us);
    uuid_format(&id, a->id);
    a->severity = severity;
    a->at_us = at_us;
    alert_text(a->event, sizeof(a->event), "%s", event);
}

static void __attribute__((format(printf, 3, 0)))
pair_set(struct alert_pair *pair, const char *name, const char *format, va_list args)
{
    int n;

    alert_text(pair->name, sizeof(pair->name), "%s", name);
    n = vsnprintf(pair->value, sizeof(pair->value), format, args);
    cut(pair->value, sizeof(pair->value), n);
}

void alert_field(struct alert *a, const char *name, const char *format, ...)
{
    va_list args;

    if (a->n_fields == ALERT_FIELDS_MAX)
        return;
    va_start(args, format);
    pair_set(&a->field[a->n_fields++], name, format, args);
    va_end(args);
}

void alert_fact(struct alert *a, const char *name, const char *format, ...)
{
    va_list args;

    if (a->n_facts == ALERT_FACTS_MAX)
        return;
    va_start(args, format);
    pair_set(&a->fact[a->n_facts++], name, format, args);
    va_end(args);
}

void alert_dollars(money_int atto, char out[CELL_TEXT])
{
    const money_int cent = (money_int)NANO_PER_USD * ATTO_PER_NANO / 100;
    char digits[CELL_TEXT];

    (void)money_format_fixed((struct money){atto}, atto < cent && atto > -cent ? 6 : 2, digits);
    (void)snprintf(out, CELL_TEXT, "$%.90s", digits);
}

void alert_dollars_fact(struct alert *a, const char *name, money_int atto)
{
    char digits[MONEY_TEXT];

    money_format((struct money){atto}, digits);
    alert_fact(a, name, "%s", digits);
}

struct strv alert_head(struct strv text, size_t n)
{
    if (n >= text.n)
        return text;
    while (n > 0 && ((unsigned char)text.p[n] & 0xc0) == 0x80)
        n--;
    return strv_head(text, n);
}

void alert_tag(struct alert *a, struct strv name, struct strv value)
{
    struct alert_pair *pair = &a->tag[a->n_tags];

    if (a->n_tags == ALERT_TAGS_MAX || value.n == 0)
        return;
    for (size_t i = 0; i < a->n_tags; i++) {
        if (strv_eq(strv_z(a->tag[i].name), name))
            return;
    }
    a->n_tags++;
    alert_text(pair->name, sizeof(pair->name), STRV_FMT, STRV_ARG(name));
    alert_text(pair->value, sizeof(pair->value), STRV_FMT, STRV_ARG(value));
}

const char *alert_severity_name(enum alert_severity severity)
{
    static const char *const names[] = {"info", "warning", "critical"};

    return names[severity];
}

bool alert_matches(const struct alert *a, const struct alert_route *route)
{
    bool wanted = route->n_events == 0;

    if (a->severity < route->severity)
        return false;
    for (size_t i = 0; !wanted && i < route->n_events; i++)
        wanted = strv_glob(route->events[i], strv_z(a->event));
    for (size_t i = 0; wanted && i < route->n_match; i++) {
        struct strv value = STRV_NONE;
        for (size_t k = 0; k < a->n_tags; k++) {
            if (strv_eq(strv_z(a->tag[k].name), route->match[i].name))
                value = strv_z(a->tag[k].value);
        }
        wanted = value.n > 0 && strv_glob(route->match[i].value, value);
    }
    return wanted;
}

bool alert_reaches(const struct alerts_config *c, struct strv team)
{
    struct alert a = {.event = "anomaly.detected", .severity = SEVERITY_WARNING};

    alert_tag(&a, STRV("team"), team);
    for (size_t i = 0; i < c->n_routes; i++) {
        if (alert_matches(&a, &c->routes[i]))
            return true;
    }
    return c->n_fallback > 0;
}

/* ---- on disk -------------------------------------------------------------------------------
 */

static cJSON *pairs_to_json(const struct alert_pair *pair, size_t n)
{
    cJSON *list = cJSON_CreateArray();

    for (size_t i = 0; i < n; i++) {
        cJSON *item = cJSON_CreateArray();
        cJSON_AddItemToArray(item, cJSON_CreateString(pair[i].name));
        cJSON_AddItemToArray(item, cJSON_CreateString(pair[i].value));
        cJSON_AddItemToArray(list, item);
    }
    return list;
}

cJSON *alert_to_json(const struct alert *a)
{
    cJSON *json = cJSON_CreateObject();
    char at[32];

    /* As text: a double does not hold every microsecond for ever. */
    (void)snprintf(at, sizeof(at), "%lld", (long long)a->at_us);
    cJSON_AddStringToObject(json, "id", a->id);
    cJSON_AddStringToObject(json, "opened", a->opened);
    cJSON_AddStringToObject(json, "key", a->key);
    cJSON_AddStringToObject(json, "event", a->event);
    cJSON_AddNumberToObject(json, "severity", (double)a->severity);
    cJSON_AddBoolToObject(json, "resolved", a->resolved);
    cJSON_AddStringToObject(json, "at_us", at);
    cJSON_AddStringToObject(json, "title", a->title);
    cJSON_AddStringToObject(json, "text", a->text);
    cJSON_AddItemToObject(json, "fields", pairs_to_json(a->field, a->n_fields));
    cJSON_AddItemToObject(json, "facts", pairs_to_json(a->fact, a->n_facts));
    cJSON_AddItemToObject(json, "tags", pairs_to_json(a->tag, a->n_tags));
    return json;
}

static void take_text(const cJSON *json, const char *name, char *to, size_t size)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);

    if (cJSON_IsString(item))
        alert_text(to, size, "%s", item->valuestring);
}

static size_t take_pairs(const cJSON *json, const char *name, struct alert_pair *to, size_t max)
{
    const cJSON *item;
    size_t n = 0;

    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, name))
    {
        const cJSON *left = cJSON_GetArrayItem(item, 0), *right = cJSON_GetArrayItem(item, 1);
        if (n == max || !cJSON_IsString(left) || !cJSON_IsString(right))
            break;
        alert_text(to[n].name, sizeof(to[n].name), "%s", left->valuestring);
        alert_text(to[n].value, sizeof(to[n].value), "%s", right->valuestring);
        n++;
    }
    return n;
}

bool alert_from_json(const cJSON *json, struct alert *out)
{
    const cJSON *severity = cJSON_GetObjectItemCaseSensitive(json, "severity");
    char at[32] = "";
    uint64_t us = 0;

    memset(out, 0, sizeof(*out));
    take_text(json, "id", out->id, sizeof(out->id));
    take_text(json, "opened", out->opened, sizeof(out->opened));
    take_text(json, "key", out->key, sizeof(out->key));
    take_text(json, "event", out->event, sizeof(out->event));
    take_text(json, "at_us", at, sizeof(at));
    take_text(json, "title", out->title, sizeof(out->title));
    take_text(json, "text", out->text, sizeof(out->text));
    out->n_fields = take_pairs(json, "fields", out->field, ALERT_FIELDS_MAX);
    out->n_facts = take_pairs(json, "facts", out->fact, ALERT_FACTS_MAX);
    out->n_tags = take_pairs(json, "tags", out->tag, ALERT_TAGS_MAX);
    out->resolved = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "resolved"));
    if (!cJSON_IsNumber(severity) || severity->valueint < SEVERITY_INFO ||
        severity->valueint > SEVERITY_CRITICAL || !strv_parse_u64(strv_z(at), INT64_MAX, &us))
        return false;
    out->severity = (enum alert_severity)severity->valueint;
    out->at_us = (int64_t)us;
    return out->id[0] && out->key[0] && out->event[0];
}
