/*
 * read_match.c - fields by name, values of a line, conditions.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "metering/ledger/read_int.h"
#include "metering/ledger/traffic.h"
#include "metering/ledger/wire.h"

static const char *const names[LEDGER_FIELDS] = {
    [FIELD_ENDPOINT] = "endpoint",
    [FIELD_PROTOCOL] = "protocol",
    [FIELD_SERVICE_TIER] = "service_tier",
    [FIELD_PRICE_ID] = "price_id",
    [FIELD_OUTCOME] = "outcome",
    [FIELD_USAGE_SOURCE] = "usage_source",
    [FIELD_PRICE_STATUS] = "price_status",
    [FIELD_TEAM_SOURCE] = "team_source",
    [FIELD_FEATURE_SOURCE] = "feature_source",
    [FIELD_ENVIRONMENT_SOURCE] = "environment_source",
    [FIELD_TOKEN_BAND] = "token_band",
    [FIELD_PROMPT] = "prompt",
    [FIELD_REPEAT] = "repeat",
    [FIELD_CACHEABLE] = "cacheable",
    [FIELD_TASK_OUTCOME] = "task_outcome",
    [FIELD_TRAFFIC_CLASS] = "traffic_class",
};

bool ledger_field_parse(struct strv name, struct ledger_field *out)
{
    enum dimension d;

    *out = (struct ledger_field){FIELD_TAG, STRV_NONE};
    if (strv_starts(name, STRV("tag:"))) {
        out->tag = strv_skip(name, 4);
        return tag_name_is_valid(out->tag);
    }
    if (dimension_parse(name, &d)) {
        out->id = (enum ledger_field_id)(unsigned)d;
        return true;
    }
    for (unsigned i = DIM_COUNT; i < LEDGER_FIELDS; i++) {
        if (names[i] && strv_eq(name, strv_z(names[i]))) {
            out->id = (enum ledger_field_id)i;
            return true;
        }
    }
    out->tag = name;
    return tag_name_is_valid(name);
}

struct strv ledger_field_name(const struct ledger_field *field)
{
    if (field->id == FIELD_TAG)
        return field->tag;
    if ((unsigned)field->id < DIM_COUNT)
        return dimension_view((enum dimension)(unsigned)field->id);
    return strv_z(names[field->id]);
}

void ledger_filter_init(struct ledger_filter *f, int64_t from_us, int64_t to_us)
{
    *f = (struct ledger_filter){.from_us = from_us, .to_us = to_us};
}

enum rc ledger_filter_add(struct ledger_filter *f, struct ledger_field field, enum ledger_op op,
                          const struct strv *values, size_t n_values)
{
    if (f->n_where == LEDGER_CONDITIONS_MAX)
        return RC_LIMIT;
    f->where[f->n_where++] = (struct ledger_condition){field, op, values, n_values};
    return RC_OK;
}

bool field_is_of_combo(const struct ledger_field *field)
{
    switch (field->id) {
    case FIELD_CUSTOMER:
    case FIELD_USER:
    case FIELD_TASK:
    case FIELD_TOKEN_BAND:
    case FIELD_PROMPT:
    case FIELD_REPEAT:
    case FIELD_CACHEABLE:
    case FIELD_TASK_OUTCOME:
    case FIELD_TAG:
        return false;
    case FIELD_TEAM:
    case FIELD_FEATURE:
    case FIELD_ENVIRONMENT:
    case FIELD_TASK_TYPE:
    case FIELD_KEY:
    case FIELD_MODEL:
    case FIELD_UPSTREAM:
    case FIELD_ENDPOINT:
    case FIELD_PROTOCOL:
    case FIELD_SERVICE_TIER:
    case FIELD_PRICE_ID:
    case FIELD_OUTCOME:
    case FIELD_USAGE_SOURCE:
    case FIELD_PRICE_STATUS:
    case FIELD_TEAM_SOURCE:
    case FIELD_FEATURE_SOURCE:
    case FIELD_ENVIRONMENT_SOURCE:
    case FIELD_TRAFFIC_CLASS:
    case LEDGER_FIELDS:
        break;
    }
    return true;
}

bool filter_is_of_combo(const struct ledger_filter *f)
{
    for (size_t i = 0; i < f->n_where; i++) {
        if (!field_is_of_combo(&f->where[i].field))
            return false;
    }
    return true;
}

static struct strv source_value(const struct combo *c, enum dimension d)
{
    return strv_z(tag_source_name((enum tag_source)(c->sources >> (2 * (unsigned)d) & 3)));
}

struct strv combo_value(const struct combo *c, enum ledger_field_id id)
{
    switch (id) {
    case FIELD_TEAM:
        return c->text[COMBO_TEAM];
    case FIELD_FEATURE:
        return c->text[COMBO_FEATURE];
    case FIELD_ENVIRONMENT:
        return c->text[COMBO_ENVIRONMENT];
    case FIELD_TASK_TYPE:
        return c->text[COMBO_TASK_TYPE];
    case FIELD_KEY:
        return c->text[COMBO_KEY];
    case FIELD_MODEL:
        return c->text[COMBO_MODEL];
    case FIELD_UPSTREAM:
        return c->text[COMBO_UPSTREAM];
    case FIELD_ENDPOINT:
        return c->text[COMBO_ENDPOINT];
    case FIELD_PROTOCOL:
        return c->text[COMBO_PROTOCOL];
    case FIELD_SERVICE_TIER:
        return c->text[COMBO_SERVICE_TIER];
    case FIELD_PRICE_ID:
        return c->text[COMBO_PRICE_ID];
    case FIELD_OUTCOME:
        return strv_z(outcome_name(c->outcome));
    case FIELD_USAGE_SOURCE:
        return strv_z(usage_source_name(c->usage_source));
    case FIELD_PRICE_STATUS:
        return strv_z(price_status_name(c->price_status));
    case FIELD_TEAM_SOURCE:
        return source_value(c, DIM_TEAM);
    case FIELD_FEATURE_SOURCE:
        return source_value(c, DIM_FEATURE);
    case FIELD_ENVIRONMENT_SOURCE:
        return source_value(c, DIM_ENVIRONMENT);
    case FIELD_TRAFFIC_CLASS:
        return traffic_class(c->text[COMBO_ENVIRONMENT]);
    case LEDGER_FIELDS:
    case FIELD_CUSTOMER:
    case FIELD_USER:
    case FIELD_TASK:
    case FIELD_TOKEN_BAND:
    case FIELD_PROMPT:
    case FIELD_REPEAT:
    case FIELD_CACHEABLE:
    case FIELD_TASK_OUTCOME:
    case FIELD_TAG:
        break;
    }
    return STRV("");
}

/* The tag's value in a stored set: name and value, each with its length before it. */
static struct strv tag_in(struct strv set, struct strv name)
{
    struct wire_in in = wire_in(set);

    while (!wire_at_end(&in)) {
        struct strv tag = wire_get_bytes(&in, wire_get_u64(&in));
        struct strv value = wire_get_bytes(&in, wire_get_u64(&in));

        if (!in.bad && strv_eq(tag, name))
            return value;
    }
    return STRV("");
}

/* What only the record says. */
static enum rc body_value(struct ledger_reader *r, int64_t seq, enum ledger_field_id id,
                          struct strv *out, struct fail *fail)
{
    struct record record;
    enum rc rc = read_value_body(r, seq, &record, fail);

    *out = STRV("");
    if (rc != RC_OK)
        return rc;
    if (id == FIELD_TOKEN_BAND) {
        *out = strv_z(ledger_band_name(ledger_band_of(&record.usage)));
    } else if (id == FIELD_REPEAT || id == FIELD_CACHEABLE) {
        *out = (id == FIELD_REPEAT ? record.is_repeat : record.is_cacheable) ? STRV("yes")
                                                                             : STRV("no");
    } else if (record.prompt_hash) {
        (void)snprintf(r->prompt_text, sizeof(r->prompt_text), "%016" PRIx64,
                       record.prompt_hash);
        *out = strv_z(r->prompt_text);
    }
    return RC_OK;
}

static enum rc task_outcome_value(struct ledger_reader *r, int64_t task, struct strv *out,
                                  struct fail *fail)
{
    int64_t outcome;
    enum rc rc;

    *out = STRV("");
    if (task == 0)
        return RC_OK;
    sqlite3_bind_int64(r->task_outcome, 1, task);
    rc = db_int(r->task_outcome, &outcome, fail, "read a task");
    if (rc == RC_OK && outcome >= TASK_OPEN && outcome <= TASK_ABANDONED)
        *out = strv_z(task_outcome_name((enum task_outcome)outcome));
    return rc;
}

enum rc line_value(struct ledger_reader *r, const struct line *line, const struct combo *c,
                   const struct ledger_field *field, struct strv *out, struct fail *fail)
{
    enum rc rc;

    if (field_is_of_combo(field)) {
        *out = combo_value(c, field->id);
        return RC_OK;
    }
    if (field->id == FIELD_CUSTOMER)
        return texts_get(r, &r->words, line->customer, out, fail);
    if (field->id == FIELD_USER)
        return texts_get(r, &r->words, line->user, out, fail);
    if (field->id == FIELD_TASK)
        return texts_get(r, &r->tasks, line->task, out, fail);
    if (field->id == FIELD_TOKEN_BAND || field->id == FIELD_PROMPT ||
        field->id == FIELD_REPEAT || field->id == FIELD_CACHEABLE)
        return body_value(r, line->seq, field->id, out, fail);
    if (field->id == FIELD_TASK_OUTCOME)
        return task_outcome_value(r, line->task, out, fail);
    rc = texts_get(r, &r->tagsets, line->tagset, out, fail);
    if (rc == RC_OK)
        *out = tag_in(*out, field->tag);
    return rc;
}

bool condition_holds(const struct ledger_condition *c, struct strv value)
{
    for (size_t i = 0; i < c->n_values; i++) {
        switch (c->op) {
        case LEDGER_EQ:
            if (strv_eq(value, c->values[i]))
                return true;
            break;
        case LEDGER_NE:
            if (strv_eq(value, c->values[i]))
                return false;
            break;
        case LEDGER_GLOB:
            if (strv_glob(c->values[i], value))
                return true;
            break;
        }
    }
    return c->op == LEDGER_NE;
}

bool condition_is_of_none(const struct ledger_condition *c)
{
    for (size_t i = 0; i < c->n_values; i++) {
        if (c->values[i].n > 0)
            return false;
    }
    return c->n_values > 0 && (c->op == LEDGER_EQ || c->op == LEDGER_NE);
}

bool combo_matches(const struct ledger_filter *f, const struct combo *c)
{
    for (size_t i = 0; i < f->n_where; i++) {
        if (field_is_of_combo(&f->where[i].field) &&
            !condition_holds(&f->where[i], combo_value(c, f->where[i].field.id)))
            return false;
    }
    return true;
}

bool tuples_have(const struct ledger_tuples *t, const struct strv *value)
{
    size_t low = 0, high = t->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int c = 0;

        for (size_t i = 0; c == 0 && i < t->n_by; i++)
            c = strv_cmp(value[i], t->value[middle * t->n_by + i]);
        if (c == 0)
            return true;
        if (c < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}

static enum rc tuples_hold(struct ledger_reader *r, const struct ledger_tuples *t,
                           const struct line *line, const struct combo *c, bool *out,
                           struct fail *fail)
{
    struct strv value[LEDGER_GROUP_MAX];
    enum rc rc = RC_OK;

    *out = true;
    if (!t || (t->passes_tasks && line->task != 0))
        return RC_OK;
    for (size_t i = 0; rc == RC_OK && i < t->n_by; i++)
        rc = line_value(r, line, c, &t->by[i], &value[i], fail);
    *out = rc == RC_OK && tuples_have(t, value) != t->is_except;
    return rc;
}

enum rc line_matches(struct ledger_reader *r, const struct ledger_filter *f,
                     const struct line *line, const struct combo *c, bool *out,
                     struct fail *fail)
{
    enum rc rc;

    *out = false;
    for (size_t i = 0; i < f->n_where; i++) {
        struct strv value;

        if (field_is_of_combo(&f->where[i].field))
            continue;
        rc = line_value(r, line, c, &f->where[i].field, &value, fail);
        if (rc != RC_OK)
            return rc;
        if (!condition_holds(&f->where[i], value))
            return RC_OK;
    }
    rc = tuples_hold(r, f->only, line, c, out, fail);
    return rc == RC_OK && *out ? tuples_hold(r, f->but, line, c, out, fail) : rc;
}
