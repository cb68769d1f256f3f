#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/digest.h"
#include "base/xalloc.h"
#include "metering/limits/limit_set.h"

enum {
    VALUE_MAX_BYTES = 256, /* of a dimension in a scope; a longer one is hashed */
    NAMES_MAX = DIM_COUNT + FREE_TAGS_MAX,
    SCOPE_RAW_BYTES = NAMES_MAX * (3 * (TAG_NAME_MAX_BYTES + VALUE_MAX_BYTES) + 2),
    MATCH_RAW_BYTES = NAMES_MAX * (3 * TAG_NAME_MAX_BYTES + 1 + SHA256_BYTES),
    MATCH_HASH_BYTES = 8, /* a limit's name is of one configuration: matches that differ, do */
    WINDOW_LOOKS = 4, /* periods tried before GLib is asked: workers differ near a boundary */
};

static const char *const unit_names[UNIT_COUNT] = {
    [UNIT_USD] = "usd",
    [UNIT_TOKENS] = "tokens",
    [UNIT_INPUT_TOKENS] = "input_tokens",
    [UNIT_OUTPUT_TOKENS] = "output_tokens",
    [UNIT_REQUESTS] = "requests",
    [UNIT_CONCURRENT] = "concurrent",
};

static const char *const period_names[PERIOD_TOTAL + 1] = {
    [PERIOD_HOUR] = "hour",   [PERIOD_DAY] = "day",         [PERIOD_WEEK] = "week",
    [PERIOD_MONTH] = "month", [PERIOD_QUARTER] = "quarter", [PERIOD_YEAR] = "year",
    [PERIOD_TOTAL] = "total",
};

const char *limit_unit_name(enum limit_unit unit)
{
    return unit_names[unit];
}

bool limit_unit_parse(struct strv name, enum limit_unit *unit)
{
    for (int i = 0; i < UNIT_COUNT; i++) {
        if (strv_eq(name, strv_z(unit_names[i]))) {
            *unit = (enum limit_unit)i;
            return true;
        }
    }
    return false;
}

bool limit_window_parse(struct strv text, bool *rolling, enum period *period, int64_t *seconds)
{
    uint64_t n;

    for (int i = 0; i <= PERIOD_TOTAL; i++) {
        if (strv_eq(text, strv_z(period_names[i]))) {
            *rolling = false;
            *period = (enum period)i;
            *seconds = 0;
            return true;
        }
    }
    if (!strv_ends(text, STRV("s")) ||
        !strv_parse_u64(strv_head(text, text.n - 1), LIMIT_ROLLING_MAX_S, &n) || n == 0)
        return false;
    *rolling = true;
    *period = PERIOD_TOTAL;
    *seconds = (int64_t)n;
    return true;
}

/* ---- text of scopes and keys ------------------------------------------------ */

struct text {
    char *p;
    size_t n, max;
    bool is_cut; /* more was added than there was room for */
};

static void text_add(struct text *t, struct strv s)
{
    size_t n = s.n;

    if (n > t->max - t->n) {
        n = t->max - t->n;
        t->is_cut = true;
    }
    if (n > 0)
        memcpy(t->p + t->n, s.p, n);
    t->n += n;
}

static void text_escape(struct text *t, struct strv s)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c < 0x20 || c == 0x7f || c == '%' || c == ',' || c == '=' || c == '(' || c == ':') {
            char coded[3] = {'%', hex[c >> 4], hex[c & 15]};

            text_add(t, strv_make(coded, sizeof(coded)));
        } else {
            text_add(t, strv_make(s.p + i, 1));
        }
    }
}

static void text_hash(struct text *t, struct strv s)
{
    unsigned char digest[SHA256_BYTES];
    char hex[SHA256_HEX];

    digest_sha256(s, digest);
    digest_hex(digest, sizeof(digest), hex);
    text_add(t, STRV("sha256="));
    text_add(t, strv_make(hex, SHA256_HEX - 1));
}

static struct strv field_value(const struct subject_field *f, const struct subject *subject)
{
    return f->dim >= 0 ? subject->dim[f->dim] : subject_value(subject, f->name);
}

static void scope_write(const struct limit_rule *r, const struct subject *subject,
                        struct text *t)
{
    for (size_t i = 0; i < r->def.n_per; i++) {
        struct strv value = field_value(&r->per[i], subject);

        if (i > 0)
            text_add(t, STRV(","));
        text_escape(t, r->per[i].name);
        text_add(t, STRV("="));
        if (value.n == 0) {
            text_add(t, STRV("(none)"));
        } else if (value.n > VALUE_MAX_BYTES) {
            text_add(t, STRV("("));
            text_hash(t, value);
            text_add(t, STRV(")"));
        } else {
            text_escape(t, value);
        }
    }
}

static void start_write(const struct limit_rule *r, int64_t start_us, struct text *t)
{
    char digits[LIMIT_START_MAX_BYTES], *p = digits;
    int64_t s = start_us / US_PER_SECOND;

    if (!r->has_window || r->def.period == PERIOD_TOTAL) {
        *p++ = '-';
    } else {
        if (s < 0)
            *p++ = '-';
        p = strv_put_u64(p, s < 0 ? (uint64_t)-s : (uint64_t)s);
    }
    *p++ = ':';
    text_add(t, strv_make(digits, (size_t)(p - digits)));
}

/* ---- the set ----------------------------------------------------------------- */

struct strv set_keep(struct limit_set *set, struct strv s)
{
    struct strv copy = arena_strv(&set->texts, s);

    ASSERT(copy.p != NULL);
    return copy;
}

static struct subject_field field_make(struct limit_set *set, struct strv name)
{
    struct subject_field f = {.name = set_keep(set, name), .dim = -1};
    enum dimension d;

    if (dimension_parse(name, &d))
        f.dim = (int)d;
    return f;
}

static int match_order(const void *a, const void *b)
{
    const struct tag *x = a, *y = b;
    int order = strv_cmp(x->name, y->name);

    return order != 0 ? order : strv_cmp(x->value, y->value);
}

/* What is counted under another match is another figure: "=m<hex>", whatever the matches' order. */
static void match_hash(const struct limit_rule *r, struct text *t)
{
    char raw[MATCH_RAW_BYTES], hex[2 * MATCH_HASH_BYTES + 1];
    struct text all = {.p = raw, .max = sizeof(raw)};
    struct tag sorted[NAMES_MAX];
    unsigned char digest[SHA256_BYTES];

    memcpy(sorted, r->def.match, r->def.n_match * sizeof(sorted[0]));
    qsort(sorted, r->def.n_match, sizeof(sorted[0]), match_order);
    for (size_t i = 0; i < r->def.n_match; i++) {
        digest_sha256(sorted[i].value, digest);
        text_escape(&all, sorted[i].name);
        text_add(&all, STRV("="));
        text_add(&all, strv_make((const char *)digest, sizeof(digest)));
    }
    ASSERT(!all.is_cut);
    digest_sha256(strv_make(all.p, all.n), digest);
    digest_hex(digest, MATCH_HASH_BYTES, hex);
    text_add(t, STRV("=m"));
    text_add(t, strv_make(hex, sizeof(hex) - 1));
}

static void prefix_make(struct limit_set *set, struct limit_rule *r, unsigned twin)
{
    char buffer[LIMIT_PREFIX_MAX_BYTES], rest[64];
    struct text t = {.p = buffer, .max = sizeof(buffer)};
    struct strv name = strv_z(r->def.name);
    int n;

    if (!r->has_window && !r->def.rolling)
        n = snprintf(rest, sizeof(rest), ":%s:-:", unit_names[r->def.unit]);
    else if (r->def.rolling)
        n = snprintf(rest, sizeof(rest), ":%s:%" PRId64 "s:", unit_names[r->def.unit],
                     r->def.rolling_s);
    else
        n = snprintf(rest, sizeof(rest), ":%s:%s:", unit_names[r->def.unit],
                     period_names[r->def.period]);
    if (3 * name.n + (size_t)n + 16 > LIMIT_PREFIX_MAX_BYTES - LIMIT_MARKS_MAX_BYTES)
        text_hash(&t, name);
    else
        text_escape(&t, name);
    if (twin > 0) {
        char number[16];

        text_add(&t, strv_make(number, (size_t)snprintf(number, sizeof(number), "=%u", twin)));
    }
    if (r->def.n_match > 0)
        match_hash(r, &t);
    r->base_name = t.n;
    text_add(&t, strv_make(rest, (size_t)n));
    ASSERT(!t.is_cut);
    r->base = r->prefix = set_keep(set, strv_make(t.p, t.n));
}

static void rule_make(struct limit_set *set, struct limit_rule *r, const struct limit_def *def)
{
    r->def = *def;
    r->def.name = set_keep(set, strv_z(def->name)).p;
    if (r->def.limit > LIMIT_VALUE_MAX)
        r->def.limit = LIMIT_VALUE_MAX;
    if (r->def.raised > LIMIT_VALUE_MAX)
        r->def.raised = LIMIT_VALUE_MAX;
    r->match = xcalloc(def->n_match, sizeof(*r->match));
    for (size_t i = 0; i < def->n_match; i++) {
        struct strv glob = def->match[i].value;

        r->match[i].field = field_make(set, def->match[i].name);
        r->match[i].glob = set_keep(set, glob);
        r->match[i].is_exact = strv_find(glob, '*') == glob.n && strv_find(glob, '?') == glob.n;
        r->def.match[i] = (struct tag){r->match[i].field.name, r->match[i].glob};
    }
    r->per = xcalloc(def->n_per, sizeof(*r->per));
    for (size_t i = 0; i < def->n_per; i++) {
        r->per[i] = field_make(set, def->per[i]);
        r->def.per[i] = r->per[i].name;
    }
    if (def->unit == UNIT_CONCURRENT) {
        r->def.rolling = false;
        r->shape.kind = COUNTER_RUNNING;
    } else if (def->rolling) {
        int64_t window_us = def->rolling_s * US_PER_SECOND;

        ASSERT(def->rolling_s >= 1 && def->rolling_s <= LIMIT_ROLLING_MAX_S);
        r->shape.kind = COUNTER_ROLLING;
        r->shape.bucket_us = (window_us + LIMIT_BUCKETS - 1) / LIMIT_BUCKETS;
        r->shape.buckets =
            (unsigned)((window_us + r->shape.bucket_us - 1) / r->shape.bucket_us);
    } else {
        r->shape.kind = COUNTER_WINDOW;
        r->has_window = true;
    }
}

struct limit_set *limit_set_new(const struct limit_def *defs, size_t n, const struct zone *zone)
{
    struct limit_set *set = xcalloc(1, sizeof(*set));

    set->zone = zone;
    set->n = n;
    arena_init(&set->texts, SIZE_MAX); /* of the configuration's size */
    set->windows = xcalloc(PERIOD_TOTAL + 1, sizeof(*set->windows));
    set->rules = xcalloc(n, sizeof(*set->rules));
    for (size_t i = 0; i < n; i++) {
        unsigned twins = 0;

        rule_make(set, &set->rules[i], &defs[i]);
        for (size_t k = 0; k < i; k++)
            twins += strcmp(defs[k].name, defs[i].name) == 0;
        prefix_make(set, &set->rules[i], twins);
    }
    return set;
}

void limit_set_free(struct limit_set *set)
{
    if (!set)
        return;
    for (size_t i = 0; i < set->n; i++) {
        free(set->rules[i].match);
        free(set->rules[i].per);
    }
    for (int p = 0; p <= PERIOD_TOTAL; p++) {
        struct window *w = atomic_load(&set->windows[p]);

        while (w) {
            struct window *next = w->next;

            free(w);
            w = next;
        }
    }
    free(set->windows);
    free(set->rules);
    arena_release(&set->texts);
    free(set);
}

size_t limit_set_count(const struct limit_set *set)
{
    return set->n;
}

const struct limit_def *limit_set_at(const struct limit_set *set, size_t i)
{
    return &set->rules[i].def;
}

const struct counter_shape *limit_set_shape(const struct limit_set *set, unsigned i)
{
    return &set->rules[i].shape;
}

/* ---- windows ------------------------------------------------------------------ */

/*
 * The set is immutable but for this cache, whose entries are only ever added, by
 * whichever worker first meets a period.
 */
static const struct window *window_at(const struct limit_set *set, enum period period,
                                      int64_t now_us)
{
    _Atomic(struct window *) *head = &set->windows[period];
    struct window *w, *first;
    int looks = 0;

    first = atomic_load_explicit(head, memory_order_acquire);
    for (w = first; w && looks < WINDOW_LOOKS; w = w->next, looks++) {
        if (now_us >= w->start_us && now_us < w->end_us)
            return w;
    }
    w = xmalloc(sizeof(*w));
    zone_period(set->zone, period, now_us, &w->start_us, &w->end_us);
    w->next = first;
    while (!atomic_compare_exchange_weak_explicit(head, &w->next, w, memory_order_release,
                                                  memory_order_relaxed))
        ;
    return w;
}

void set_window(const struct limit_set *set, const struct limit_rule *r, int64_t now_us,
                int64_t *start_us, int64_t *end_us)
{
    *start_us = 0;
    *end_us = 0;
    if (r->has_window) {
        const struct window *w = window_at(set, r->def.period, now_us);

        *start_us = w->start_us;
        *end_us = w->end_us;
    }
}

/* ---- admissions ---------------------------------------------------------------- */

static bool rule_matches(const struct limit_rule *r, const struct subject *subject)
{
    for (size_t i = 0; i < r->def.n_match; i++) {
        const struct field_match *m = &r->match[i];
        struct strv value = field_value(&m->field, subject);

        if (m->is_exact ? !strv_eq(m->glob, value) : value.n == 0 || !strv_glob(m->glob, value))
            return false;
    }
    return true;
}

/* The scope of a request with many and long values, which no key can hold. */
static void scope_hash(const struct limit_rule *r, const struct subject *subject,
                       struct text *out)
{
    struct text raw = {.p = xmalloc(SCOPE_RAW_BYTES), .max = SCOPE_RAW_BYTES};

    scope_write(r, subject, &raw);
    text_hash(out, strv_make(raw.p, raw.n));
    free(raw.p);
}

static bool claim_make(const struct limit_set *set, unsigned limit,
                       const struct subject *subject, int64_t now_us, struct arena *arena,
                       struct limit_claim *claim)
{
    const struct limit_rule *r = &set->rules[limit];
    char key[LIMIT_KEY_MAX_BYTES] UNCLEARED;
    struct text t = {.p = key, .max = sizeof(key)};
    size_t scope_at;

    claim->limit = limit;
    claim->lease = NULL;
    set_window(set, r, now_us, &claim->start_us, &claim->end_us);
    text_add(&t, r->prefix);
    start_write(r, claim->start_us, &t);
    scope_at = t.n;
    scope_write(r, subject, &t);
    if (t.is_cut || t.n - scope_at > LIMIT_SCOPE_MAX_BYTES) {
        t.n = scope_at;
        scope_hash(r, subject, &t);
    }
    claim->key = arena_strv(arena, strv_make(t.p, t.n));
    if (!claim->key.p)
        return false;
    claim->scope = strv_skip(claim->key, scope_at);
    return true;
}

enum rc admission_init(struct admission *a, const struct limit_set *set,
                       const struct subject *subject, const struct limit_amounts *worst,
                       const struct uuid *id, int64_t now_us, struct arena *arena)
{
    a->id = *id;
    a->n_claims = 0;
    a->at_us = now_us;
    a->amounts = *worst;
    a->set = set;
    a->verdict = LIMIT_PENDING;
    a->denial = (struct limit_denial){0};
    a->warned = 0;
    a->local = false;
    a->leased = a->is_growth = a->is_owed = a->is_endless = false;
    a->settled = false;
    a->started_us = a->ended_us = 0;
    a->op = NULL;
    list_init(&a->queued);
    for (unsigned i = 0; i < set->n; i++) {
        if (!rule_matches(&set->rules[i], subject))
            continue;
        if (a->n_claims == LIMIT_CLAIMS_MAX ||
            !claim_make(set, i, subject, now_us, arena, &a->claims[a->n_claims]))
            return RC_LIMIT;
        a->n_claims++;
    }
    return RC_OK;
}

bool admission_wants_count(const struct admission *a)
{
    for (size_t i = 0; i < a->n_claims; i++) {
        if (a->set->rules[a->claims[i].limit].def.count == LIMIT_COUNT_EXACT)
            return true;
    }
    return false;
}

bool admission_is_of(const struct admission *a, int64_t now_us)
{
    for (size_t i = 0; i < a->n_claims; i++) {
        const struct limit_claim *c = &a->claims[i];

        if (c->end_us != 0 && (now_us < c->start_us || now_us >= c->end_us))
            return false;
    }
    return true;
}

void admission_grow(struct admission *more, const struct admission *a,
                    const struct limit_amounts *extra, const struct uuid *id)
{
    more->id = *id;
    more->n_claims = a->n_claims;
    for (size_t i = 0; i < a->n_claims; i++) {
        more->claims[i] = a->claims[i];
        more->claims[i].lease = NULL;
    }
    more->at_us = a->at_us;
    more->amounts = *extra;
    more->set = a->set;
    more->verdict = LIMIT_PENDING;
    more->denial = (struct limit_denial){0};
    more->warned = 0;
    more->local = more->leased = more->settled = false;
    more->is_growth = true;
    more->is_endless = a->is_endless;
    more->is_owed = a->is_owed;
    more->started_us = more->ended_us = 0;
    more->op = NULL;
    list_init(&more->queued);
}

bool limit_enforces(const struct admission *a, const struct limit_def *def)
{
    return def->mode == LIMIT_ENFORCE && !a->is_owed &&
           (!a->is_growth || def->on_exhausted == ON_EXHAUSTED_CUT ||
            (a->is_endless && !def->rolling));
}

void limit_claims(const struct admission *a, struct claim_ref out[LIMIT_CLAIMS_MAX])
{
    for (size_t i = 0; i < a->n_claims; i++) {
        const struct limit_claim *c = &a->claims[i];
        const struct limit_rule *r = &a->set->rules[c->limit];
        uint64_t amount = a->amounts.n[r->def.unit];

        out[i] = (struct claim_ref){
            .key = c->key,
            .shape = r->shape,
            .unit = r->def.unit,
            .enforce = limit_enforces(a, &r->def) && rule_state(r) != LIMIT_UNKNOWN,
            .is_new = rule_state(r) != LIMIT_KNOWN,
            .amount = amount,
            .limit = limit_at(&r->def, a->at_us),
        };
        if (r->has_window)
            out[i].shape.end_us = c->end_us;
    }
}

bool limit_counter_ref(const struct limit_set *set, const struct limit_counter *c,
                       char key[LIMIT_KEY_MAX_BYTES], struct claim_ref *out)
{
    struct text t = {.p = key, .max = LIMIT_KEY_MAX_BYTES};
    const struct limit_rule *r;

    if (c->limit >= set->n || c->scope.n > LIMIT_SCOPE_MAX_BYTES)
        return false;
    r = &set->rules[c->limit];
    text_add(&t, r->prefix);
    start_write(r, c->start_us, &t);
    text_add(&t, c->scope);
    *out = (struct claim_ref){
        .key = strv_make(t.p, t.n),
        .shape = r->shape,
        .unit = r->def.unit,
        .enforce = r->def.mode == LIMIT_ENFORCE,
        .is_new = rule_state(r) != LIMIT_KNOWN,
        .limit = r->def.limit,
    };
    if (r->has_window)
        out->shape.end_us = c->end_us;
    return true;
}

bool limit_key_is_of(const struct limit_set *set, struct strv key)
{
    for (size_t i = 0; i < set->n; i++) {
        if (strv_starts(key, set->rules[i].prefix))
            return true;
    }
    return false;
}

bool limit_key_match(const struct limit_set *set, struct strv key, int64_t now_us,
                     struct limit_counter *out)
{
    for (unsigned i = 0; i < set->n; i++) {
        const struct limit_rule *r = &set->rules[i];
        char start[LIMIT_START_MAX_BYTES + 1];
        struct text t = {.p = start, .max = sizeof(start)};
        struct strv rest;

        if (!strv_starts(key, r->prefix))
            continue;
        *out = (struct limit_counter){.limit = i};
        set_window(set, r, now_us, &out->start_us, &out->end_us);
        start_write(r, out->start_us, &t);
        rest = strv_skip(key, r->prefix.n);
        if (!strv_starts(rest, strv_make(t.p, t.n)))
            return false;
        out->scope = strv_skip(rest, t.n);
        return true;
    }
    return false;
}
