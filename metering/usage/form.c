/*
 * Forms (multipart/form-data, RFC 7578 and RFC 2046 5.1): the fields of a request that
 * uploads files.  One pass over the body finds the parts; of a file only its beginning and
 * its length matter.  Nothing is copied but the model.
 */
#include <string.h>

#include "base/utf8.h"
#include "metering/usage/audio.h"
#include "metering/usage/protocol.h"
#include "metering/usage/protocol_int.h"

enum {
    BOUNDARY_MAX = 70, /* RFC 2046 5.1.1 */
    PARTS_MAX_N = 4096,
    PART_HEAD_MAX = 8 << 10,
    REQUEST_CHOICES_MAX = 1 << 20,
    CHANNELS_MAX = 5, /* that ElevenLabs takes apart */
};

struct part {
    struct strv name;
    struct strv value;
    bool is_file;
};

struct form {
    char mark[BOUNDARY_MAX + 5]; /* CR LF - - boundary */
    size_t mark_n;
    struct strv rest; /* behind the last delimiter line */
    bool ended;
};

bool protocol_is_form(struct strv content_type)
{
    struct strv type = strv_trim(strv_head(content_type, strv_find(content_type, ';')));

    return strv_eq_nocase(type, STRV("multipart/form-data"));
}

/*
 * The value of NAME=value among parameters that semicolons separate; quotes are taken off.
 * A quoted value with a backslash or a semicolon in it is not found: nobody sends one.  *n is how
 * many of that name there are, "NAME*" included: which of two holds, servers do not agree upon.
 */
static struct strv parameter(struct strv header, struct strv name, size_t *n)
{
    struct strv rest = strv_skip(header, strv_find(header, ';')), part, found = STRV_NONE;

    *n = 0;
    while (strv_split(&rest, ';', &part)) {
        size_t equal = strv_find(part, '=');
        struct strv its = strv_trim(strv_head(part, equal)), value;

        if (strv_ends(its, STRV("*")))
            its.n--;
        if (equal == part.n || !strv_eq_nocase(its, name))
            continue;
        (*n)++;
        value = strv_trim(strv_skip(part, equal + 1));
        if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"')
            value = strv_make(value.p + 1, value.n - 2);
        found = memchr(value.p, '\\', value.n) == NULL ? value : STRV_NONE;
    }
    return found;
}

/* Where needle begins in hay, hay.n where nowhere. */
static size_t find(struct strv hay, struct strv needle)
{
    const char *at = hay.n >= needle.n ? memmem(hay.p, hay.n, needle.p, needle.n) : NULL;

    return at != NULL ? (size_t)(at - hay.p) : hay.n;
}

static bool form_start(struct form *f, struct strv content_type, struct strv body)
{
    size_t n;
    struct strv boundary = parameter(content_type, STRV("boundary"), &n);
    struct strv first;

    if (n != 1 || boundary.n == 0 || boundary.n > BOUNDARY_MAX)
        return false;
    memcpy(f->mark, "\r\n--", 4);
    memcpy(f->mark + 4, boundary.p, boundary.n);
    f->mark_n = 4 + boundary.n;
    f->ended = false;
    /* The first delimiter may stand at the very beginning. */
    first = strv_make(f->mark + 2, f->mark_n - 2);
    f->rest = strv_starts(body, first) ? strv_skip(body, first.n)
                                       : strv_skip(body, find(body, strv_make(f->mark, f->mark_n)));
    if (!strv_starts(body, first))
        f->rest = strv_skip(f->rest, f->mark_n);
    return f->rest.n > 0;
}

/* One line of a part's head; the rest is left. */
static struct strv next_line(struct strv *head)
{
    size_t end = find(*head, STRV("\r\n"));
    struct strv line = strv_head(*head, end);

    *head = strv_skip(*head, end == head->n ? end : end + 2);
    return line;
}

static bool read_head(struct strv head, struct part *out)
{
    *out = (struct part){.is_file = false};
    while (head.n > 0) {
        struct strv line = next_line(&head), name;
        size_t colon = strv_find(line, ':'), n;

        name = strv_trim(strv_head(line, colon));
        if (!strv_eq_nocase(name, STRV("content-disposition")))
            continue;
        if (out->name.n > 0)
            return false; /* which of the two would count? */
        line = strv_skip(line, colon + 1);
        out->name = parameter(line, STRV("name"), &n);
        if (n > 1)
            return false;
        (void)parameter(line, STRV("filename"), &n);
        out->is_file = n > 0; /* also one without a name */
    }
    return out->name.n > 0;
}

/* RC_EOF behind the last part; RC_BAD where the form is broken. */
static enum rc next_part(struct form *f, struct part *out)
{
    struct strv mark = strv_make(f->mark, f->mark_n), body, head;
    size_t end;

    if (f->ended || strv_starts(f->rest, STRV("--")))
        return RC_EOF;
    if (!strv_starts(f->rest, STRV("\r\n")))
        return RC_BAD;
    f->rest = strv_skip(f->rest, 2);
    end = find(strv_head(f->rest, PART_HEAD_MAX), STRV("\r\n\r\n"));
    if (end >= PART_HEAD_MAX || end == f->rest.n)
        return RC_BAD;
    head = strv_head(f->rest, end);
    body = strv_skip(f->rest, end + 4);
    end = find(body, mark);
    if (end == body.n || !read_head(head, out))
        return RC_BAD;
    out->value = strv_head(body, end);
    f->rest = strv_skip(body, end + mark.n);
    return RC_OK;
}

/* ---- fields ------------------------------------------------------------------ */

struct fields {
    struct request_facts *facts;
    bool has_model, has_stream;
    struct strv model_id; /* ElevenLabs */
    uint64_t channels;    /* charged each */
    bool is_elsewhere;    /* the sound */
};

static bool is_off(struct strv value)
{
    return value.n == 0 || strv_eq_nocase(value, STRV("false")) || strv_eq(value, STRV("0")) ||
           strv_eq(value, STRV("null"));
}

/* Fields that cost something of their own, and no answer tells how much: ElevenLabs. */
static bool is_extra(const struct part *part)
{
    static const struct strv NAMES[] = {{"keyterms", 8},
                                        {"entity_detection", 16},
                                        {"entity_redaction", 16},
                                        {"transcript_edit", 15},
                                        {"detect_speaker_roles", 20}};

    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        if (strv_eq(part->name, NAMES[i]))
            return !is_off(part->value);
    }
    return false;
}

static bool on_model(struct fields *f, struct strv value)
{
    if (f->has_model || value.n == 0 || value.n > REQUEST_MODEL_MAX_BYTES ||
        !utf8_is_printable(value))
        return false;
    f->has_model = true;
    f->facts->model = value;
    return true;
}

static bool on_stream(struct fields *f, struct strv value)
{
    if (f->has_stream)
        return false;
    f->has_stream = true;
    f->facts->stream = strv_eq_nocase(value, STRV("true")) || strv_eq(value, STRV("1"));
    return true;
}

static void on_file(struct request_facts *facts, struct strv value)
{
    facts->media_parts++;
    if (facts->listens)
        facts->audio_ms += audio_length_ms(value);
}

static bool on_field(struct fields *f, const struct part *part)
{
    struct request_facts *facts = f->facts;
    uint64_t n;

    if (part->is_file) {
        on_file(facts, part->value);
    } else if (strv_eq(part->name, STRV("model"))) {
        return on_model(f, part->value);
    } else if (strv_eq(part->name, STRV("stream"))) {
        return on_stream(f, part->value);
    } else if (strv_eq_nocase(part->name, STRV("model")) ||
               strv_eq_nocase(part->name, STRV("stream"))) {
        return false; /* some servers match names without case */
    } else if (strv_eq(part->name, STRV("model_id"))) {
        if (f->model_id.n > 0 || part->value.n == 0 ||
            part->value.n > REQUEST_MODEL_MAX_BYTES || !utf8_is_printable(part->value))
            return false;
        f->model_id = part->value;
    } else if (strv_eq(part->name, STRV("use_multi_channel"))) {
        if (!is_off(part->value))
            f->channels = CHANNELS_MAX;
    } else if (strv_eq(part->name, STRV("source_url")) ||
               strv_eq(part->name, STRV("cloud_storage_url"))) {
        f->is_elsewhere = f->is_elsewhere || part->value.n > 0;
    } else if (is_extra(part)) {
        facts->has_extras = true;
    } else if (strv_eq(part->name, STRV("n"))) {
        if (strv_parse_u64(part->value, REQUEST_CHOICES_MAX, &n) && n > facts->choices)
            facts->choices = n;
    } else if (strv_eq(part->name, STRV("prompt"))) {
        facts->text_bytes += part->value.n;
    } else if (strv_eq(part->name, STRV("size"))) {
        facts->size = part->value;
    } else if (strv_eq(part->name, STRV("quality"))) {
        facts->quality = part->value;
    } else if (strv_eq(part->name, STRV("seconds"))) {
        request_set_seconds(facts, part->value);
    }
    return true;
}

static enum rc read_fields(struct form *form, struct fields *fields)
{
    struct part part;
    enum rc rc = RC_OK;

    for (int n = 0; rc == RC_OK; n++) {
        if (n == PARTS_MAX_N)
            return RC_LIMIT;
        rc = next_part(form, &part);
        if (rc == RC_OK && !on_field(fields, &part))
            return RC_BAD;
    }
    return rc == RC_EOF ? RC_OK : rc;
}

enum rc protocol_scan_form(const struct protocol *p, const struct route *route,
                           struct strv content_type, struct strv body,
                           struct request_facts *out)
{
    struct fields fields = {.facts = out, .channels = 1};
    struct form form;
    enum rc rc = RC_BAD;

    memset(out, 0, sizeof(*out));
    out->choices = 1;
    request_set_kind(out, entry_of(route->endpoint));
    if (form_start(&form, content_type, body))
        rc = read_fields(&form, &fields);
    if (rc == RC_OK && route->path_model.n > 0)
        rc = request_path_model(out, route->path_model);
    if (rc == RC_OK && route->path_model.n == 0 &&
        (out->model.n == 0 || protocol_names_ids(p, route)))
        out->model = fields.model_id;
    if (rc == RC_OK) {
        request_conclude_video(out);
        if (fields.is_elsewhere && entry_of(route->endpoint)->most_ms > out->audio_ms)
            out->audio_ms = 0;
        out->audio_ms *= fields.channels; /* a file is no longer than USAGE_MAX_COUNT */
        rc = request_conclude_sound(out, route);
    }
    if (rc != RC_OK)
        memset(out, 0, sizeof(*out));
    return rc;
}
