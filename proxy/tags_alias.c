/*
 * Tags under the names that other gateways have for them, so that a client may change over
 * without a change of its own ("aliases": true).
 */
#include "proxy/tags_int.h"

#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

/* Their names know capitals, and the standing tags in other spellings. */
static bool say_alias(struct tags_reading *r, struct strv name, struct strv value)
{
    char text[TAG_NAME_MAX_BYTES + 1];
    struct strv lower;

    if (name.n <= TAG_NAME_MAX_BYTES) {
        for (size_t i = 0; i < name.n; i++) {
            char c = name.p[i];

            text[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
        }
        lower = strv_make(text, name.n);
    } else {
        lower = name;
    }
    if (strv_eq(lower, STRV("task-type")))
        lower = STRV("task_type");
    else if (strv_eq(lower, STRV("_user")))
        lower = STRV("user");
    return tags_say(r, lower, value, RANK_ALIAS);
}

static bool say_json(struct tags_reading *r, const cJSON *member, const char *header)
{
    char *text;
    bool good;

    if (cJSON_IsString(member))
        return say_alias(r, strv_z(member->string), strv_z(member->valuestring));
    if (cJSON_IsNull(member))
        return true;
    if (!cJSON_IsNumber(member) && !cJSON_IsBool(member))
        return tags_refuse(r->refusal, REFUSE_INVALID_TAG,
                      "a value in %s is neither text, number nor boolean", header);
    text = cJSON_PrintUnformatted(member);
    if (!text)
        return tags_refuse_full(r->refusal);
    good = say_alias(r, strv_z(member->string), strv_z(text));
    cJSON_free(text);
    return good;
}

static bool read_json(struct tags_reading *r, struct strv value, const char *header)
{
    cJSON *root = NULL;
    const cJSON *member;
    const char *end = NULL;
    bool good = true;

    if (value.n == 0)
        return true;
    if (value.n <= TAGS_HEADER_MAX_BYTES)
        root = cJSON_ParseWithLengthOpts(value.p, value.n, &end, false);
    if (!cJSON_IsObject(root) || end != value.p + value.n) {
        good =
            tags_refuse(r->refusal, REFUSE_INVALID_TAG, "%s is not a JSON object of tags", header);
        goto out;
    }
    cJSON_ArrayForEach(member, root)
    {
        good = say_json(r, member, header);
        if (!good)
            goto out;
    }
out:
    cJSON_Delete(root);
    return good;
}

/* "a,b:c,d=e": a bare word is a tag of that name that is true. */
static bool read_words(struct tags_reading *r, struct strv list)
{
    struct strv rest = list;
    struct strv part;

    if (list.n > TAGS_HEADER_MAX_BYTES)
        return tags_refuse_full(r->refusal);
    while (strv_split(&rest, ',', &part)) {
        size_t colon, equals, at;

        part = strv_trim(part);
        if (part.n == 0)
            continue;
        colon = strv_find(part, ':');
        equals = strv_find(part, '=');
        at = colon < equals ? colon : equals;
        if (!say_alias(r, strv_trim(strv_head(part, at)),
                       at == part.n ? STRV("true") : strv_skip(part, at + 1)))
            return false;
    }
    return true;
}

bool tags_is_alias(struct strv name)
{
    return strv_starts_nocase(name, STRV("helicone-property-")) ||
           strv_eq_nocase(name, STRV("helicone-session-id")) ||
           strv_eq_nocase(name, STRV("x-portkey-metadata")) ||
           strv_eq_nocase(name, STRV("cf-aig-metadata")) ||
           strv_eq_nocase(name, STRV("x-litellm-tags"));
}

bool tags_read_alias(struct tags_reading *r, const struct http1_header *h)
{
    const struct strv property = STRV("helicone-property-");

    if (strv_starts_nocase(h->name, property))
        return say_alias(r, strv_skip(h->name, property.n), h->value);
    if (strv_eq_nocase(h->name, STRV("helicone-session-id")))
        return tags_say(r, STRV("task"), h->value, RANK_ALIAS);
    if (strv_eq_nocase(h->name, STRV("x-portkey-metadata")))
        return read_json(r, h->value, "x-portkey-metadata");
    if (strv_eq_nocase(h->name, STRV("cf-aig-metadata")))
        return read_json(r, h->value, "cf-aig-metadata");
    if (strv_eq_nocase(h->name, STRV("x-litellm-tags")))
        return read_words(r, h->value);
    return true;
}
