#include "base/tag.h"

#include "base/utf8.h"

#define NAME(text) {(text), sizeof(text) - 1}
static const struct strv names[DIM_COUNT] = {
    [DIM_TEAM] = NAME("team"),
    [DIM_FEATURE] = NAME("feature"),
    [DIM_ENVIRONMENT] = NAME("environment"),
    [DIM_CUSTOMER] = NAME("customer"),
    [DIM_USER] = NAME("user"),
    [DIM_TASK] = NAME("task"),
    [DIM_TASK_TYPE] = NAME("task_type"),
    [DIM_KEY] = NAME("key"),
    [DIM_MODEL] = NAME("model"),
    [DIM_UPSTREAM] = NAME("upstream"),
};
#undef NAME

const char *dimension_name(enum dimension d)
{
    return names[d].p;
}

struct strv dimension_view(enum dimension d)
{
    return names[d];
}

bool dimension_parse(struct strv name, enum dimension *d)
{
    for (int i = 0; i < DIM_COUNT; i++) {
        if (strv_eq(name, names[i])) {
            *d = (enum dimension)i;
            return true;
        }
    }
    return false;
}

const char *tag_source_name(enum tag_source source)
{
    switch (source) {
    case TAG_SOURCE_NONE:
        return "none";
    case TAG_SOURCE_KEY:
        return "key";
    case TAG_SOURCE_HEADER:
        return "header";
    case TAG_SOURCE_DEFAULT:
        return "default";
    }
    return "none";
}

bool tag_name_is_valid(struct strv name)
{
    if (name.n == 0 || name.n > TAG_NAME_MAX_BYTES)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
              c == '-'))
            return false;
    }
    return true;
}

bool tag_value_is_valid(struct strv value)
{
    return value.n > 0 && value.n <= TAG_VALUE_MAX_BYTES && utf8_is_printable(value);
}

struct strv subject_value(const struct subject *s, struct strv name)
{
    enum dimension d;

    if (dimension_parse(name, &d))
        return s->dim[d];
    for (unsigned i = 0; i < s->n_free; i++) {
        if (strv_eq(s->free[i].name, name))
            return s->free[i].value;
    }
    return STRV_NONE;
}
