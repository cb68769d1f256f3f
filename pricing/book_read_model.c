/* A model of a file; its periods are read by book_read_card.c. */
#include "pricing/book_int.h"

#include "pricing/read_json.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void prov_src(const struct place *at, const cJSON *value, void *into)
{
    ((struct model *)into)->source = read_text(at, value);
}

static void prov_date(const struct place *at, const cJSON *value, void *into)
{
    ((struct model *)into)->source_date = read_text(at, value);
}

static void prov_confidence(const struct place *at, const cJSON *value, void *into)
{
    ((struct model *)into)->confidence = read_text(at, value);
}

static const struct member prov_members[] = {
    {"src", prov_src}, {"date", prov_date}, {"confidence", prov_confidence},
    {"agree", NULL},   {"disagree", NULL},  {"added", NULL},
    {"note", NULL},
};

static void model_id(const struct place *at, const cJSON *value, void *into)
{
    (void)at, (void)value, (void)into; /* read first, by read_model */
}

static void model_kind(const struct place *at, const cJSON *value, void *into)
{
    ((struct model *)into)->kind = read_text(at, value);
}

static void read_ids(const struct place *at, const cJSON *value, struct strv_list *out)
{
    read_list(at, value, true, out);
    for (size_t i = 0; i < out->n; i++) {
        if (out->at[i].n > MODEL_ID_MAX_BYTES)
            place_problem(at, value->string, "an id has more than %d bytes",
                          MODEL_ID_MAX_BYTES);
    }
}

static void model_ids(const struct place *at, const cJSON *value, void *into)
{
    read_ids(at, value, &((struct model *)into)->ids);
}

static void model_dated(const struct place *at, const cJSON *value, void *into)
{
    read_ids(at, value, &((struct model *)into)->dated);
}

static void model_deprecated(const struct place *at, const cJSON *value, void *into)
{
    if (!cJSON_IsBool(value))
        place_problem(at, "deprecated", "deprecated must be true or false");
    ((struct model *)into)->deprecated = cJSON_IsTrue(value) != 0;
}

static void model_search_unit(const struct place *at, const cJSON *value, void *into)
{
    struct strv unit = read_text(at, value);

    ((struct model *)into)->per_grounded_prompt = strv_eq(unit, STRV("grounded_prompt"));
    if (unit.n > 0 && !strv_eq(unit, STRV("call")) && !strv_eq(unit, STRV("query")) &&
        !strv_eq(unit, STRV("grounded_prompt")))
        place_problem(at, "web_search_unit",
                      "web_search_unit must be \"call\", \"query\" or \"grounded_prompt\"");
}

static void model_max_output(const struct place *at, const cJSON *value, void *into)
{
    ((struct model *)into)->max_output = read_count(at, value);
}

static void model_prices(const struct place *at, const cJSON *value, void *into)
{
    read_periods(at->b, into, at->provider, value);
}

static void model_prov(const struct place *at, const cJSON *value, void *into)
{
    struct place here = *at;

    here.what = "prov";
    (void)read_object(&here, value, prov_members, COUNT(prov_members), into);
}

static const struct member model_members[] = {
    {"id", model_id},
    {"kind", model_kind},
    {"ids", model_ids},
    {"dated", model_dated},
    {"released", NULL},
    {"deprecated", model_deprecated},
    {"web_search_unit", model_search_unit},
    {"max_output_tokens", model_max_output},
    {"prices", model_prices},
    {"prov", model_prov},
    {"note", NULL},
};

/* One entry; a model without `ids` is known by its id alone. */
void read_model(const struct place *at, const cJSON *value, uint32_t provider)
{
    struct book *book = at->b->book;
    const cJSON *id = cJSON_GetObjectItemCaseSensitive(value, "id");
    struct place here = {.b = at->b, .provider = at->provider, .what = "model"};
    struct model model = {.provider = provider, .file = at->b->file_index};

    if (!cJSON_IsString(id) || id->valuestring[0] == '\0') {
        place_problem(at, "models", "a model has no id");
        return;
    }
    model.id = read_lower(&here, id);
    if (model.id.n == 0 || model.id.n > MODEL_ID_MAX_BYTES) {
        place_problem(at, "models", "a model's id must have 1 to %d bytes", MODEL_ID_MAX_BYTES);
        return;
    }
    here.model = model.id;
    if (!read_object(&here, value, model_members, COUNT(model_members), &model))
        return;
    if (model.ids.n == 0) {
        model.ids.at = build_alloc(at->b, sizeof(model.ids.at[0]));
        if (!model.ids.at)
            return;
        model.ids.at[model.ids.n++] = model.id;
    }
    if (!cJSON_GetObjectItemCaseSensitive(value, "prices"))
        place_problem(&here, "id", "the model has no prices");
    if (book->n_models == BOOK_MODELS_MAX) {
        place_problem(at, "models", "more than %d models", BOOK_MODELS_MAX);
        return;
    }
    book->models =
        build_grow(book->models, &book->n_models, &at->b->models_room, sizeof(model));
    book->models[book->n_models - 1] = model;
}
