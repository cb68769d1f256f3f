/* From a name on the wire to a model of the book, in a fixed order, never by a part of a name.
 */
#include <string.h>

#include "pricing/book_int.h"

/* With an ARN's folded parts a prefix pattern may hold '*': any run without ':' and '/'. */
static size_t prefix_length(struct strv pattern, struct strv text)
{
    size_t at = 0;

    for (size_t i = 0; i < pattern.n; i++) {
        if (pattern.p[i] == '*') {
            while (at < text.n && text.p[at] != ':' && text.p[at] != '/')
                at++;
        } else if (at < text.n && text.p[at] == pattern.p[i]) {
            at++;
        } else {
            return 0;
        }
    }
    return at;
}

static bool all_digits(struct strv s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    }
    return true;
}

/* Length of a date at the end: -20260423, -2026-04-23, @20260423, @default; 0: there is none.
 */
static size_t date_suffix(struct strv id)
{
    enum { SHORT = 9, LONG = 11 };

    if (strv_ends(id, STRV("@default")))
        return 8;
    if (id.n > SHORT && (id.p[id.n - SHORT] == '-' || id.p[id.n - SHORT] == '@') &&
        all_digits(strv_skip(id, id.n - SHORT + 1)))
        return SHORT;
    if (id.n > LONG) {
        struct strv tail = strv_skip(id, id.n - LONG);

        if (tail.p[0] == '-' && tail.p[5] == '-' && tail.p[8] == '-' &&
            all_digits(strv_make(tail.p + 1, 4)) && all_digits(strv_make(tail.p + 6, 2)) &&
            all_digits(strv_make(tail.p + 9, 2)))
            return LONG;
    }
    return 0;
}

/* "ft:BASE" of "ft:BASE:org::id"; the empty view for other names. */
static struct strv fine_tune_head(struct strv id)
{
    size_t colon;

    if (!strv_starts(id, STRV("ft:")))
        return STRV_NONE;
    colon = strv_find(strv_skip(id, 3), ':');
    return strv_head(id, 3 + colon);
}

static const struct model *by_id(const struct book *book, uint32_t provider, struct strv id)
{
    const struct alias *alias = book_alias(book, provider, id);

    return alias && alias->model != 0 ? &book->models[alias->model - 1] : NULL;
}

static const struct model *by_date(const struct book *book, uint32_t provider, struct strv id)
{
    size_t suffix = date_suffix(id);
    const struct alias *alias =
        suffix ? book_alias(book, provider, strv_head(id, id.n - suffix)) : NULL;

    return alias && alias->dated_model != 0 ? &book->models[alias->dated_model - 1] : NULL;
}

/* Exact, fine-tune, dated: what is tried of a name as it is and again of what is left of it. */
static const struct model *match_whole(const struct book *book, uint32_t provider,
                                       struct strv id, enum price_match *match)
{
    const struct model *model = by_id(book, provider, id);
    struct strv head;

    *match = MATCH_EXACT;
    if (model)
        return model;
    head = fine_tune_head(id);
    if (head.n > 0) {
        *match = MATCH_FINE_TUNE;
        model = by_id(book, provider, head);
        return model ? model : by_date(book, provider, head);
    }
    *match = MATCH_DATED;
    return by_date(book, provider, id);
}

static struct strv strip_prefix(const struct provider *provider, struct strv id)
{
    for (size_t i = 0; i < provider->strip.n; i++) {
        size_t n = prefix_length(provider->strip.at[i], id);

        if (n > 0 && n < id.n)
            return strv_skip(id, n);
    }
    return id;
}

static struct strv strip_suffix(const struct provider *provider, struct strv id)
{
    for (size_t i = 0; i < provider->suffixes.n; i++) {
        struct strv suffix = provider->suffixes.at[i];

        if (suffix.n > 0 && suffix.n < id.n && strv_ends(id, suffix))
            return strv_head(id, id.n - suffix.n);
    }
    return id;
}

/* The model of a name in lower case. */
static const struct model *match_lower(const struct book *book, uint32_t provider,
                                       struct strv id, enum price_match *match)
{
    const struct provider *p = &book->providers[provider];
    const struct model *model = match_whole(book, provider, id, match);
    struct strv left;

    if (model)
        return model;
    left = strip_prefix(p, id);
    if (left.n < id.n)
        model = match_whole(book, provider, left, match);
    if (!model) {
        struct strv rest = strip_suffix(p, left);

        if (rest.n < left.n)
            model = match_whole(book, provider, rest, match);
    }
    if (model && *match == MATCH_EXACT)
        *match = MATCH_STRIPPED;
    if (!model)
        *match = MATCH_NONE;
    return model;
}

static size_t geo_prefix(const struct provider *provider, struct strv name)
{
    for (size_t i = 0; i < provider->geo_prefixes.n; i++) {
        struct strv prefix = provider->geo_prefixes.at[i];

        if (name.n > prefix.n && strv_eq_nocase(strv_head(name, prefix.n), prefix))
            return prefix.n;
    }
    return 0;
}

struct strv match_region(const struct provider *provider, struct strv name)
{
    struct strv left = strip_prefix(provider, name);
    size_t geo = geo_prefix(provider, left);

    return strv_head(left, geo > 0 ? geo - 1 : 0);
}

/*
 * The same, and where that finds nothing without the region before the id: the
 * region is a part of the price, so it goes last and is told.
 */
static const struct model *match_regional(const struct book *book, uint32_t provider,
                                          struct strv id, enum price_match *match)
{
    const struct model *model = match_lower(book, provider, id, match);
    struct strv left;
    size_t geo;

    if (model)
        return model;
    left = strip_prefix(&book->providers[provider], id);
    geo = geo_prefix(&book->providers[provider], left);
    if (geo > 0)
        model = match_lower(book, provider, strv_skip(left, geo), match);
    if (model)
        *match = MATCH_REGIONAL;
    return model;
}

static const struct model *match_mixed(const struct book *book, uint32_t provider,
                                       struct strv name, enum price_match *match)
{
    char lower[MODEL_ID_MAX_BYTES];

    for (size_t i = 0; i < name.n; i++)
        lower[i] =
            (char)(name.p[i] >= 'A' && name.p[i] <= 'Z' ? name.p[i] + 'a' - 'A' : name.p[i]);
    return match_regional(book, provider, strv_make(lower, name.n), match);
}

static bool has_capitals(struct strv name)
{
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] >= 'A' && name.p[i] <= 'Z')
            return true;
    }
    return false;
}

const struct model *match_model(const struct book *book, uint32_t provider, struct strv name,
                                enum price_match *match)
{
    *match = MATCH_NONE;
    if (name.n == 0 || name.n > MODEL_ID_MAX_BYTES)
        return NULL;
    return has_capitals(name) ? match_mixed(book, provider, name, match)
                              : match_regional(book, provider, name, match);
}
