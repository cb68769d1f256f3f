#include "proxy/tags_int.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/field_traits.h"
#include "proxy/percent.h"

/* The header of each standing tag, as messages show it. */
#define NAME(text) {(text), sizeof(text) - 1}
static const struct strv own_headers[STANDING_TAGS] = {
    [DIM_TEAM] = NAME("X-Tollgate-Team"),
    [DIM_FEATURE] = NAME("X-Tollgate-Feature"),
    [DIM_ENVIRONMENT] = NAME("X-Tollgate-Environment"),
    [DIM_CUSTOMER] = NAME("X-Tollgate-Customer"),
    [DIM_USER] = NAME("X-Tollgate-User"),
    [DIM_TASK] = NAME("X-Tollgate-Task"),
    [DIM_TASK_TYPE] = NAME("X-Tollgate-Task-Type"),
};
#undef NAME

bool tags_refuse(struct tags_refusal *refusal, enum refusal code, const char *format, ...)
{
    va_list args;

    refusal->code = code;
    va_start(args, format);
    vsnprintf(refusal->message, sizeof(refusal->message), format, args);
    va_end(args);
    return false;
}

bool tags_refuse_full(struct tags_refusal *refusal)
{
    return tags_refuse(refusal, REFUSE_INVALID_TAG,
                  "the tags of this request are too many or too long");
}

/* A caller's name is shown only where it is harmless: printable ASCII, cut short. */
static const char *shown(struct strv name, char out[TAG_NAME_MAX_BYTES + 1])
{
    size_t n = 0;

    while (n < name.n && n < TAG_NAME_MAX_BYTES) {
        out[n] = name.p[n];
        if (out[n] < ' ' || out[n] > '~' || out[n] == '"' || out[n] == '\\')
            out[n] = '?';
        n++;
    }
    out[n] = '\0';
    return out;
}

static bool refuse_twice(struct tags_reading *r, struct strv name)
{
    char text[TAG_NAME_MAX_BYTES + 1];

    return tags_refuse(r->refusal, REFUSE_INVALID_TAG,
                  "tag \"%s\" is given twice with different values: send it once",
                  shown(name, text));
}

static bool say_attempt(struct tags_reading *r, struct strv value, enum rank rank)
{
    uint64_t n = 0;

    if (!strv_parse_u64(value, TAGS_ATTEMPT_MAX, &n) || n == 0)
        return tags_refuse(r->refusal, REFUSE_INVALID_TAG,
                      "tag \"attempt\" is not valid: send a whole number from 1 to %d",
                      TAGS_ATTEMPT_MAX);
    if (rank == r->attempt_rank && r->attempt != n)
        return refuse_twice(r, STRV("attempt"));
    if (rank < r->attempt_rank) {
        r->attempt = (uint32_t)n;
        r->attempt_rank = rank;
    }
    return true;
}

/* Puts value in *place unless something better stands there. */
static bool place_value(struct tags_reading *r, struct strv name, struct strv value, enum rank rank,
                        struct strv *place, enum rank *place_rank)
{
    if (rank == *place_rank && !strv_eq(*place, value))
        return refuse_twice(r, name);
    if (rank >= *place_rank)
        return true;
    *place = arena_strv(r->arena, value);
    *place_rank = rank;
    return place->p || tags_refuse_full(r->refusal);
}

static bool say_free(struct tags_reading *r, struct strv name, struct strv value, enum rank rank)
{
    unsigned i = 0;

    while (i < r->n_free && !strv_eq(r->free[i].name, name))
        i++;
    if (i == r->n_free) {
        if (i == FREE_TAGS_MAX)
            return tags_refuse(r->refusal, REFUSE_INVALID_TAG,
                          "more than %d free tags: send fewer in X-Tollgate-Tags",
                          FREE_TAGS_MAX);
        r->free[i] = (struct tag){.name = arena_strv(r->arena, name)};
        r->free_rank[i] = RANK_NONE;
        if (!r->free[i].name.p)
            return tags_refuse_full(r->refusal);
        r->n_free++;
    }
    return place_value(r, name, value, rank, &r->free[i].value, &r->free_rank[i]);
}

/* tag_value_is_valid of a value that is not empty; nearly all are ASCII. */
static bool value_is_valid(struct strv value)
{
    return (value.n <= TAG_VALUE_MAX_BYTES && strv_ascii_run(value) == value.n) ||
           tag_value_is_valid(value);
}

static bool refuse_name(struct tags_reading *r, struct strv name)
{
    char text[TAG_NAME_MAX_BYTES + 1];

    return tags_refuse(r->refusal, REFUSE_INVALID_TAG,
                  "tag name \"%s\" is not valid: use 1 to %d of a-z 0-9 _ . -",
                  shown(name, text), TAG_NAME_MAX_BYTES);
}

static bool refuse_value(struct tags_reading *r, struct strv name)
{
    char text[TAG_NAME_MAX_BYTES + 1];

    return tags_refuse(r->refusal, REFUSE_INVALID_TAG,
                  "the value of tag \"%s\" is not valid: use at most %d bytes of printable "
                  "UTF-8",
                  shown(name, text), TAG_VALUE_MAX_BYTES);
}

/* A standing tag from the caller.  An empty value is no value. */
static bool say_standing(struct tags_reading *r, enum dimension d, struct strv value, enum rank rank)
{
    struct strv name;

    value = strv_trim(value);
    if (value.n == 0)
        return true;
    name = dimension_view(d);
    if (!value_is_valid(value))
        return refuse_value(r, name);
    return place_value(r, name, value, rank, &r->said[d], &r->rank[d]);
}

bool tags_say(struct tags_reading *r, struct strv name, struct strv value, enum rank rank)
{
    char text[TAG_NAME_MAX_BYTES + 1];
    enum dimension d;

    name = strv_trim(name);
    value = strv_trim(value);
    if (!tag_name_is_valid(name))
        return refuse_name(r, name);
    if (value.n == 0)
        return true;
    if (!value_is_valid(value))
        return refuse_value(r, name);
    if (strv_eq(name, STRV("attempt")))
        return say_attempt(r, value, rank);
    if (!dimension_parse(name, &d))
        return say_free(r, name, value, rank);
    if ((int)d >= STANDING_TAGS)
        return tags_refuse(r->refusal, REFUSE_INVALID_TAG,
                      "tag \"%s\" is set by the gateway: choose another name",
                      shown(name, text));
    return place_value(r, name, value, rank, &r->said[d], &r->rank[d]);
}

/* "k=v, k2=v2": X-Tollgate-Tags, and of baggage the members that are for us. */
static bool read_list(struct tags_reading *r, struct strv list, bool baggage)
{
    struct strv rest = list;
    struct strv part;

    if (list.n > TAGS_HEADER_MAX_BYTES) {
        if (baggage)
            return true; /* over W3C's own bound: not ours to judge */
        return tags_refuse(r->refusal, REFUSE_INVALID_TAG,
                      "X-Tollgate-Tags is longer than %d bytes: send fewer tags",
                      TAGS_HEADER_MAX_BYTES);
    }
    while (strv_split(&rest, ',', &part)) {
        struct strv name, value;
        char text[TAG_NAME_MAX_BYTES + 1];
        size_t equals;
        enum rc rc;

        part = strv_trim(part);
        if (baggage) {
            if (!strv_starts_nocase(part, STRV("tollgate.")))
                continue;
            part = strv_skip(part, sizeof("tollgate.") - 1);
            part = strv_head(part, strv_find(part, ';')); /* properties say nothing here */
        }
        if (part.n == 0)
            continue;
        equals = strv_find(part, '=');
        name = strv_trim(strv_head(part, equals));
        value = strv_trim(strv_skip(part, equals + 1));
        if (equals == part.n)
            return tags_refuse(r->refusal, REFUSE_INVALID_TAG,
                          "tag \"%s\" has no value: write name=value", shown(name, text));
        rc = percent_decode_arena(value, r->arena, &value);
        if (rc == RC_LIMIT)
            return tags_refuse_full(r->refusal);
        if (rc != RC_OK)
            return tags_refuse(r->refusal, REFUSE_INVALID_TAG,
                          "the value of tag \"%s\" is not percent-encoded: write %% as %%25",
                          shown(name, text));
        if (!tags_say(r, name, value, baggage ? RANK_BAGGAGE : RANK_LIST))
            return false;
    }
    return true;
}

/* ---- the caller's headers ------------------------------------------------------- */

static bool is_hex(struct strv s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
            return false;
    }
    return true;
}

/*
 * W3C Trace Context section 3.2: version "-" 32 hex "-" 16 hex "-" 2 hex; a trace id
 * of zeros or version ff is invalid, and what is invalid is as if not sent.
 */
static bool read_traceparent(struct tags_reading *r, struct strv value)
{
    enum { VERSION = 2, TRACE = 32, PARENT = 16, FLAGS = 2 };
    enum { WHOLE = VERSION + 1 + TRACE + 1 + PARENT + 1 + FLAGS };
    struct strv trace;

    if (value.n < WHOLE || value.p[VERSION] != '-' || value.p[VERSION + 1 + TRACE] != '-' ||
        value.p[VERSION + 1 + TRACE + 1 + PARENT] != '-')
        return true;
    trace = strv_make(value.p + VERSION + 1, TRACE);
    if (!is_hex(strv_head(value, VERSION)) || strv_starts(value, STRV("ff")) ||
        !is_hex(trace) || strv_eq(trace, STRV("00000000000000000000000000000000")))
        return true;
    if (strv_starts(value, STRV("00")) && value.n != WHOLE)
        return true;
    if (r->rank[DIM_TASK] == RANK_TRACE)
        return true; /* sent twice: the first counts */
    return tags_say(r, STRV("task"), trace, RANK_TRACE);
}

/* A field whose name begins with "x-tollgate-". */
static bool read_own(struct tags_reading *r, const struct http1_header *h)
{
    struct strv rest = strv_skip(h->name, sizeof("x-tollgate-") - 1);

    if (strv_eq_nocase(rest, STRV("tags")))
        return read_list(r, h->value, false);
    if (strv_eq_nocase(rest, STRV("attempt")))
        return tags_say(r, STRV("attempt"), h->value, RANK_OWN);
    for (int d = 0; d < STANDING_TAGS; d++) {
        if (strv_eq_nocase(h->name, own_headers[d]))
            return say_standing(r, (enum dimension)d, h->value, RANK_OWN);
    }
    return true;
}

/* Written by SDKs, not by the app: what is not a number says nothing. */
static bool read_retries(struct tags_reading *r, struct strv value)
{
    uint64_t retries;

    if (strv_parse_u64(value, TAGS_ATTEMPT_MAX - 1, &retries) && r->attempt_rank > RANK_ALIAS) {
        r->attempt = (uint32_t)retries + 1;
        r->attempt_rank = RANK_ALIAS;
    }
    return true;
}

/* amz-sdk-request of AWS's SDKs: "attempt=2; max=3". */
static bool read_aws_attempt(struct tags_reading *r, struct strv value)
{
    struct strv part;
    uint64_t attempt;

    while (strv_split(&value, ';', &part)) {
        part = strv_trim(part);
        if (strv_starts(part, STRV("attempt=")) && r->attempt_rank > RANK_ALIAS &&
            strv_parse_u64(strv_skip(part, sizeof("attempt=") - 1), TAGS_ATTEMPT_MAX, &attempt) &&
            attempt > 0) {
            r->attempt = (uint32_t)attempt;
            r->attempt_rank = RANK_ALIAS;
        }
    }
    return true;
}

bool tags_is_said_by(struct strv name)
{
    return strv_starts_nocase(name, STRV("x-tollgate-")) ||
           strv_eq_nocase(name, STRV("x-stainless-retry-count")) ||
           strv_eq_nocase(name, STRV("amz-sdk-request")) ||
           strv_eq_nocase(name, STRV("baggage")) || strv_eq_nocase(name, STRV("traceparent")) ||
           tags_is_alias(name);
}

static bool read_header(struct tags_reading *r, const struct http1_header *h, bool aliases)
{
    switch (h->name.p[0] | 0x20) {
    case 'x':
        if (strv_starts_nocase(h->name, STRV("x-tollgate-")))
            return read_own(r, h);
        if (strv_eq_nocase(h->name, STRV("x-stainless-retry-count")))
            return read_retries(r, h->value);
        return !aliases || tags_read_alias(r, h);
    case 'a':
        return !strv_eq_nocase(h->name, STRV("amz-sdk-request")) || read_aws_attempt(r, h->value);
    case 'b':
        return !strv_eq_nocase(h->name, STRV("baggage")) || read_list(r, h->value, true);
    case 't':
        return !strv_eq_nocase(h->name, STRV("traceparent")) || read_traceparent(r, h->value);
    case 'c':
    case 'h':
        return !aliases || tags_read_alias(r, h);
    }
    return true;
}

/* ---- which value wins ------------------------------------------------------------ */

static const struct tag_value *find_value(const struct tag_value *values, size_t n,
                                          struct strv name)
{
    for (size_t i = 0; i < n; i++) {
        if (strv_eq(values[i].name, name))
            return &values[i];
    }
    return NULL;
}

static void resolve_standing(const struct tags_reading *r, const struct config *config,
                             const struct key_config *key, struct subject *out)
{
    for (int d = 0; d < STANDING_TAGS; d++) {
        struct strv name = dimension_view((enum dimension)d);
        const struct tag_value *of_key = find_value(key->tags, key->n_tags, name);
        const struct tag_value *fallback =
            find_value(config->tags.defaults, config->tags.n_defaults, name);

        if (of_key && of_key->locked) {
            out->dim[d] = of_key->value;
            out->source[d] = TAG_SOURCE_KEY;
        } else if (r->said[d].n > 0) {
            out->dim[d] = r->said[d];
            out->source[d] = TAG_SOURCE_HEADER;
        } else if (of_key) {
            out->dim[d] = of_key->value;
            out->source[d] = TAG_SOURCE_KEY;
        } else if (fallback) {
            out->dim[d] = fallback->value;
            out->source[d] = TAG_SOURCE_DEFAULT;
        }
    }
}

/* Puts a free tag in its place by name, unless one of that name is there. */
static bool put_free(struct subject *out, struct strv name, struct strv value)
{
    unsigned at = 0;

    while (at < out->n_free && strv_cmp(out->free[at].name, name) < 0)
        at++;
    if (at < out->n_free && strv_eq(out->free[at].name, name))
        return true;
    if (out->n_free == FREE_TAGS_MAX)
        return false;
    memmove(&out->free[at + 1], &out->free[at], (out->n_free - at) * sizeof(out->free[0]));
    out->free[at] = (struct tag){.name = name, .value = value};
    out->n_free++;
    return true;
}

static bool put_values(struct subject *out, const struct tag_value *values, size_t n,
                       bool locked)
{
    enum dimension d;

    for (size_t i = 0; i < n; i++) {
        if (values[i].locked == locked && !dimension_parse(values[i].name, &d) &&
            !put_free(out, values[i].name, values[i].value))
            return false;
    }
    return true;
}

static bool resolve_free(struct tags_reading *r, const struct config *config,
                         const struct key_config *key, struct subject *out)
{
    bool fits = put_values(out, key->tags, key->n_tags, true);

    for (unsigned i = 0; fits && i < r->n_free; i++)
        fits = put_free(out, r->free[i].name, r->free[i].value);
    if (!fits)
        return tags_refuse(
            r->refusal, REFUSE_INVALID_TAG,
            "more than %d free tags, the key's included: send fewer in X-Tollgate-Tags",
            FREE_TAGS_MAX);
    /* defaults give way where there is no room: the caller cannot see them */
    (void)(put_values(out, key->tags, key->n_tags, false) &&
           put_values(out, config->tags.defaults, config->tags.n_defaults, false));
    return true;
}

static bool is_allowed(const struct tag_allowed *lists, size_t n, const struct subject *subject,
                       struct tags_refusal *refusal)
{
    char text[TAG_NAME_MAX_BYTES + 1];

    for (size_t i = 0; i < n; i++) {
        struct strv value = subject_value(subject, lists[i].name);
        bool found = value.n == 0;

        for (size_t v = 0; v < lists[i].n_values && !found; v++)
            found = strv_glob(lists[i].values[v], value);
        if (!found)
            return tags_refuse(refusal, REFUSE_TAG_NOT_ALLOWED,
                          "the value of tag \"%s\" is not one that this key may use",
                          shown(lists[i].name, text));
    }
    return true;
}

static bool has_required(const struct tags_config *tags, const struct subject *subject,
                         struct tags_refusal *refusal)
{
    char text[TAG_NAME_MAX_BYTES + 1];
    enum dimension d;

    if (tags->on_missing == ON_MISSING_ACCEPT)
        return true;
    for (size_t i = 0; i < tags->n_required; i++) {
        if (subject_value(subject, tags->required[i]).n > 0)
            continue;
        shown(tags->required[i], text);
        if (dimension_parse(tags->required[i], &d) && (int)d < STANDING_TAGS)
            return tags_refuse(refusal, REFUSE_MISSING_TAG,
                          "tag \"%s\" is required: send the header %s", text, own_headers[d].p);
        return tags_refuse(refusal, REFUSE_MISSING_TAG,
                      "tag \"%s\" is required: send the header X-Tollgate-Tags: %s=...", text,
                      text);
    }
    return true;
}

void tags_hash_user(const unsigned char salt[SHA256_BYTES], struct strv user,
                    char out[TAGS_USER_HEX_BYTES + 1])
{
    unsigned char mac[SHA256_BYTES];

    digest_hmac_sha256(strv_make((const char *)salt, SHA256_BYTES), user, mac);
    digest_hex(mac, TAGS_USER_HEX_BYTES / 2, out);
}

bool tags_read(const struct config *config, const struct key_config *key,
               const struct http1_head *head, struct arena *arena, struct request_tags *out,
               struct tags_refusal *refusal)
{
    struct tags_reading r = {
        .arena = arena,
        .refusal = refusal,
        .attempt_rank = RANK_NONE,
    };
    struct subject *subject = &out->subject;
    char user[TAGS_USER_HEX_BYTES + 1];

    for (int d = 0; d < STANDING_TAGS; d++)
        r.rank[d] = RANK_NONE;
    for (size_t i = 0; i < head->n_headers; i++) {
        if ((field_traits(&head->headers[i]) & FIELD_TAG) &&
            !read_header(&r, &head->headers[i], config->tags.aliases))
            return false;
    }
    memset(out, 0, offsetof(struct request_tags, subject.free));
    out->attempt = r.attempt;
    subject->dim[DIM_KEY] = strv_z(key->name);
    resolve_standing(&r, config, key, subject);
    if (!resolve_free(&r, config, key, subject) ||
        !is_allowed(key->allowed, key->n_allowed, subject, refusal) ||
        !is_allowed(config->tags.allowed, config->tags.n_allowed, subject, refusal) ||
        !has_required(&config->tags, subject, refusal))
        return false;
    if (subject->dim[DIM_USER].n > 0) {
        tags_hash_user(config->user_salt, subject->dim[DIM_USER], user);
        subject->dim[DIM_USER] = arena_strv(arena, strv_make(user, TAGS_USER_HEX_BYTES));
        if (!subject->dim[DIM_USER].p)
            return tags_refuse_full(refusal);
    }
    return true;
}

bool key_allows_model(const struct key_config *key, struct strv model)
{
    for (size_t i = 0; i < key->n_models; i++) {
        if (model.n > 0 && strv_glob(key->models[i], model))
            return true;
    }
    return key->n_models == 0;
}

bool key_allows_upstream(const struct key_config *key, struct strv name)
{
    for (size_t i = 0; i < key->n_upstreams; i++) {
        if (strv_eq(key->upstreams[i], name))
            return true;
    }
    return key->n_upstreams == 0;
}
