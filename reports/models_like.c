#include "reports/models_like.h"

#include <stdio.h>
#include <string.h>

static bool is_model(const struct book_model *model, void *arg)
{
    (void)model;
    *(bool *)arg = true;
    return false;
}

static void offer(const struct book *book, struct strv provider, struct strv model,
                  const char *name, struct models_like *out)
{
    enum price_match match = MATCH_NONE;
    bool there = false;

    if (strv_eq(model, strv_z(name)) || out->n == MODELS_LIKE_MAX)
        return;
    for (size_t i = 0; i < out->n; i++) {
        if (strcmp(out->at[i], name) == 0)
            return;
    }
    if (book_find_model(book, provider, strv_z(name), &match, is_model, &there) && there &&
        match == MATCH_EXACT)
        (void)snprintf(out->at[out->n++], MODELS_LIKE_BYTES, "%s", name);
}

static void offer_named(const struct book *book, struct strv provider, struct strv model,
                        struct strv named, struct models_like *out)
{
    struct strv name;

    while (strv_split(&named, ',', &name)) {
        char text[MODELS_LIKE_BYTES];

        name = strv_trim(name);
        if (name.n == 0 || name.n >= sizeof(text))
            continue;
        (void)snprintf(text, sizeof(text), STRV_FMT, STRV_ARG(name));
        offer(book, provider, model, text, out);
    }
}

/* The name with one part of it replaced. */
static void offer_changed(const struct book *book, struct strv provider, struct strv model,
                          const char *from, const char *to, struct models_like *out)
{
    const char *at = memmem(model.p, model.n, from, strlen(from));
    char text[MODELS_LIKE_BYTES];
    size_t before;
    int n;

    if (!at)
        return;
    before = (size_t)(at - model.p);
    n = snprintf(text, sizeof(text), "%.*s%s%.*s", (int)before, model.p, to,
                 (int)(model.n - before - strlen(from)), at + strlen(from));
    if (n > 0 && n < (int)sizeof(text))
        offer(book, provider, model, text, out);
}

void models_like(const struct book *book, struct strv provider, struct strv model,
                 struct strv named, struct models_like *out)
{
    static const struct {
        const char *from, *to;
    } smaller[] = {{"opus", "sonnet"},      {"opus", "haiku"},     {"sonnet", "haiku"},
                   {"-pro", "-flash"},      {"-pro", "-mini"},     {"-pro", "-flash-lite"},
                   {"-flash", "-flash-lite"}, {"-mini", "-nano"},  {"-large", "-medium"},
                   {"-large", "-small"},    {"-medium", "-small"}, {"-pro", ""}};
    static const char *const endings[] = {"-mini", "-nano", "-lite"};
    char text[MODELS_LIKE_BYTES];

    out->n = 0;
    if (model.n == 0 || model.n >= MODELS_LIKE_BYTES - 16)
        return;
    if (named.n) {
        offer_named(book, provider, model, named, out);
        return;
    }
    for (size_t i = 0; i < sizeof(smaller) / sizeof(*smaller); i++)
        offer_changed(book, provider, model, smaller[i].from, smaller[i].to, out);
    for (size_t i = 0; i < sizeof(endings) / sizeof(*endings); i++) {
        (void)snprintf(text, sizeof(text), STRV_FMT "%s", STRV_ARG(model), endings[i]);
        offer(book, provider, model, text, out);
    }
}
