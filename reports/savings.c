#include "reports/savings.h"

#include <stdlib.h>

#include "base/xalloc.h"
#include "reports/sheet.h"

static const struct savings_rule rules[] = {
    {"model", "low", "try the other model on this feature and compare completed tasks"},
    {"batch", "medium", "send what can wait through the provider's batch interface"},
    {"flex", "medium", "ask for the flex tier where answers may take longer"},
    {"cache", "medium", "keep the prompt's beginning unchanged and mark it for caching"},
    {"truncated", "low", "raise the output bound or ask for shorter answers"},
    {"duplicate", "high", "keep answers for repeated requests"},
    {"retry", "medium", "find why attempts are repeated"},
    {"error", "medium", "find why billed requests end in errors"},
};

const struct savings_rule *savings_rule_at(size_t i)
{
    return i < sizeof(rules) / sizeof(rules[0]) ? &rules[i] : NULL;
}

const struct savings_rule *savings_rule(struct strv name)
{
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (strv_eq(name, strv_z(rules[i].name)))
            return &rules[i];
    }
    return NULL;
}

/* ---- decisions -------------------------------------------------------------------------- */

enum { SCOPES_MAX_BYTES = 64 << 20, SCOPE_MAX_BYTES = 4096 };

/* One more field and value; "(untagged)" is the absent one. False: too many, or one twice. */
static bool add_scope(struct savings_decision *d, struct strv name, struct strv value)
{
    struct ledger_field field;

    if (d->n_scope == SAVINGS_SCOPE_MAX || !ledger_field_parse(name, &field))
        return false;
    for (size_t i = 0; i < d->n_scope; i++) {
        if (strv_eq(ledger_field_name(&d->scope[i].field), ledger_field_name(&field)))
            return false;
    }
    d->scope[d->n_scope].field = field;
    d->scope[d->n_scope++].value = strv_eq(value, STRV("(untagged)")) ? STRV("") : value;
    return true;
}

static bool read_scope(struct strv text, struct savings_decision *d, struct arena *arena)
{
    while (text.n) {
        size_t equals = strv_find(text, '='), i = equals + 1, n = 0;
        char *value = equals < text.n ? arena_alloc(arena, text.n) : NULL;

        if (!value)
            return false;
        for (; i < text.n && text.p[i] != ','; i++) {
            i += text.p[i] == '\\' && i + 1 < text.n;
            value[n++] = text.p[i];
        }
        if (n == 0 || !add_scope(d, strv_head(text, equals), strv_make(value, n)))
            return false;
        text = strv_skip(text, i < text.n ? i + 1 : i);
    }
    return true;
}

bool savings_scope_is_valid(struct strv text)
{
    struct savings_decision *d = xcalloc(1, sizeof(*d));
    struct arena arena;
    bool good;

    arena_init(&arena, SCOPE_MAX_BYTES);
    good = read_scope(text, d, &arena) && d->n_scope > 0;
    arena_release(&arena);
    free(d);
    return good;
}

enum rc savings_decisions_read(const char *state_dir, const struct zone *zone,
                               struct savings_decisions *out, struct fail *fail)
{
    static const char *const names[SAVING_KEYS] = {"rule", "upstream", "model", "alternative",
                                                   "environment"};
    enum rc rc;

    *out = (struct savings_decisions){.n = 0};
    rc = books_read(state_dir, BOOKS_DECISIONS, &out->table, fail);
    if (rc != RC_OK)
        return rc;
    arena_init(&out->arena, SCOPES_MAX_BYTES);
    out->at = xcalloc(out->table.csv.n_rows + 1, sizeof(*out->at));
    for (size_t r = 0; r < out->table.csv.n_rows; r++) {
        struct savings_decision *d = &out->at[out->n];
        struct strv team = books_field(&out->table, BOOKS_DECISIONS, r, "team");
        int64_t end_us;

        *d = (struct savings_decision){.n_scope = 0};
        if (team.n && !add_scope(d, STRV("team"), team))
            continue;
        if (!read_scope(books_field(&out->table, BOOKS_DECISIONS, r, "scope"), d, &out->arena))
            continue;

        for (unsigned k = 0; k < SAVING_KEYS; k++)
            d->key[k] = books_field(&out->table, BOOKS_DECISIONS, r, names[k]);
        d->state = books_field(&out->table, BOOKS_DECISIONS, r, "state");
        d->owner = books_field(&out->table, BOOKS_DECISIONS, r, "owner");
        d->note = books_field(&out->table, BOOKS_DECISIONS, r, "note");
        d->is_done = strv_eq(d->state, STRV("done"));
        if (books_when(zone, books_field(&out->table, BOOKS_DECISIONS, r, "since"),
                       &d->since_us, &end_us))
            out->n++;
    }
    return RC_OK;
}

void savings_decisions_release(struct savings_decisions *d)
{
    free(d->at);
    if (d->at)
        arena_release(&d->arena);
    books_release(&d->table);
}

bool savings_realised(struct money before, uint64_t requests_before, struct money after,
                      uint64_t requests_after, struct money *out)
{
    if (requests_before == 0)
        return false;
    *out = money_sub(
        (struct money){scale_even(before.atto, requests_after, requests_before)}, after);
    return true;
}
