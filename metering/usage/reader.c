#include "metering/usage/reader.h"

#include <string.h>

#include "base/utf8.h"
#include "base/xalloc.h"

enum { ATTO_PLACES = 18, COST_USD_MAX = 1000000000 };

#define COST_ATTO_MAX ((money_int)COST_USD_MAX * NANO_PER_USD * ATTO_PER_NANO)

/* Claude on Bedrock, under whatever region, profile or ARN, answers as at home. */
static bool is_claude(struct strv model)
{
    return model.n > 0 && memmem(model.p, model.n, "anthropic.", 10) != NULL;
}

const struct reader *reader_find(const struct route *route)
{
    switch (entry_of(route->endpoint)->dialect) {
    case DIALECT_NONE:
        return NULL;
    case DIALECT_OPENAI:
        return &READER_OPENAI;
    case DIALECT_RESPONSES:
        return &READER_RESPONSES;
    case DIALECT_ANTHROPIC:
        return &READER_ANTHROPIC;
    case DIALECT_GEMINI:
        return &READER_GEMINI;
    case DIALECT_PREDICT:
        return &READER_PREDICT;
    case DIALECT_CONVERSE:
        return &READER_BEDROCK;
    case DIALECT_INVOKE:
        return is_claude(route->path_model) ? &READER_ANTHROPIC : &READER_BEDROCK;
    case DIALECT_COHERE:
        return &READER_COHERE;
    case DIALECT_OLLAMA:
        return &READER_OLLAMA;
    case DIALECT_SERVER:
        return &READER_SERVER;
    case DIALECT_SESSION:
        return &READER_SESSION;
    case DIALECT_AGENTS:
        return &READER_AGENTS;
    case DIALECT_GUARD:
        return &READER_GUARD;
    case DIALECT_DASHSCOPE:
        return &READER_DASHSCOPE;
    case DIALECT_CREDITS:
        return &READER_CREDITS;
    case DIALECT_SCRIBE:
        return &READER_SCRIBE;
    case DIALECT_DEEPGRAM:
        return &READER_DEEPGRAM;
    case DIALECT_AURA:
        return &READER_AURA;
    case DIALECT_ASSEMBLYAI:
        return &READER_ASSEMBLYAI;
    }
    return NULL;
}

void reading_count(struct raw_counts *counts, enum raw_count id, const struct jscan_event *e)
{
    uint64_t n;

    if (e->type == JSCAN_NULL || e->what != JSCAN_AT_VALUE)
        return;
    if (e->has_count)
        raw_set(counts, id, e->count);
    else if (e->type == JSCAN_NUMBER && jscan_count(e->text, &n) == JSCAN_COUNT_OK)
        raw_set(counts, id, n);
    else
        counts->odd = true;
}

/* "12.034": what some providers put in quotes. */
static bool is_plain_decimal(struct strv t)
{
    size_t dots = 0;

    for (size_t i = 0; i < t.n; i++) {
        if (t.p[i] == '.')
            dots++;
        else if (t.p[i] < '0' || t.p[i] > '9')
            return false;
    }
    return t.n > dots && dots <= 1;
}

void reading_seconds(struct raw_counts *counts, enum raw_count id, const struct jscan_event *e)
{
    enum { MILLI_PLACES = 3 };
    struct jscan_decimal d;
    uint64_t n, unit = 1;

    if (e->what != JSCAN_AT_VALUE || e->type == JSCAN_NULL)
        return;
    if (e->cut ||
        !(e->type == JSCAN_NUMBER || (e->type == JSCAN_STRING && is_plain_decimal(e->text)))) {
        counts->odd = true;
        return;
    }
    d = jscan_decimal(e->text);
    n = d.mantissa;
    for (d.scale += MILLI_PLACES; d.scale > 0 && n <= USAGE_MAX_COUNT; d.scale--)
        n *= 10;
    for (; d.scale < 0 && unit <= UINT64_MAX / 10; d.scale++)
        unit *= 10;
    n = n / unit + (n % unit != 0);
    if (d.negative || n > USAGE_MAX_COUNT)
        counts->odd = true;
    else
        raw_set(counts, id, n);
}

static bool keep_text(struct strv text, char *out, size_t size)
{
    if (text.n >= size || !(strv_ascii_run(text) == text.n || utf8_is_printable(text)))
        return false;
    memcpy(out, text.p, text.n);
    out[text.n] = '\0';
    return true;
}

static bool keep_escaped(struct strv text, char *out, size_t size)
{
    char decoded[JSCAN_TEXT_MAX];
    size_t n;

    return jscan_unescape(text, decoded, sizeof(decoded), &n) &&
           keep_text(strv_make(decoded, n), out, size);
}

bool reading_text(const struct jscan_event *e, char *out, size_t size)
{
    struct strv text = e->text;

    if (e->what != JSCAN_AT_VALUE || e->type != JSCAN_STRING || e->cut || text.n == 0)
        return false;
    if (e->escaped)
        return keep_escaped(text, out, size);
    if (text.n < size && out[text.n] == '\0' && memcmp(out, text.p, text.n) == 0)
        return true; /* as in the event before */
    return keep_text(text, out, size);
}

void reading_finish(struct reading *r, enum tap_end finish)
{
    if (finish > r->finish)
        r->finish = finish;
}

/* Dollars x 10^-scale as atto-USD, halves to even; false beyond COST_ATTO_MAX. */
static bool to_atto(struct jscan_decimal d, int scale, money_int *out)
{
    money_int atto = (money_int)d.mantissa, unit = 1, rest;
    int64_t shift = d.scale + ATTO_PLACES - scale;

    if (d.mantissa == 0 || shift < -2 * ATTO_PLACES) {
        *out = 0;
        return true;
    }
    for (; shift > 0; shift--) {
        atto *= 10;
        if (atto > COST_ATTO_MAX)
            return false;
    }
    for (; shift < 0; shift++)
        unit *= 10;
    rest = atto % unit;
    atto /= unit;
    if (rest * 2 > unit || (rest * 2 == unit && (d.inexact || atto % 2 != 0)))
        atto++;
    *out = atto;
    return atto <= COST_ATTO_MAX;
}

void reading_cost(struct reading *r, const struct jscan_event *e, int scale)
{
    money_int atto;

    if (e->what != JSCAN_AT_VALUE || e->cut ||
        !(e->type == JSCAN_NUMBER || (e->type == JSCAN_STRING && is_plain_decimal(e->text))))
        return;
    if (e->text.p[0] == '-' || !to_atto(jscan_decimal(e->text), scale, &atto))
        return;
    r->has_cost = true;
    r->cost_atto = atto;
}

void reading_keep_id(struct reading *r)
{
    if (r->is_kept || (r->flags & (ENTRY_THREAD | ENTRY_VIDEO)))
        memcpy(r->result.kept_id, r->id, sizeof(r->id));
}

void reading_keep_cost(struct reading *r)
{
    if (!r->has_cost)
        return;
    r->result.has_provider_cost = true;
    money_split((struct money){r->cost_atto}, &r->result.provider_cost_atto_hi,
                &r->result.provider_cost_atto_lo);
}

void parts_add(struct reading *r, enum part_kind kind, const char *model,
               const struct usage *usage)
{
    if (r->parts == NULL) {
        r->parts = xmalloc(sizeof(*r->parts));
        r->parts->n = 0;
    }
    if (r->parts->n == PARTS_MAX) {
        r->result.inconsistent = true;
        return;
    }
    r->parts->at[r->parts->n].kind = kind;
    memcpy(r->parts->at[r->parts->n].model, model, strlen(model) + 1);
    r->parts->at[r->parts->n].usage = *usage;
    r->parts->n++;
}

void parts_check_shares(struct reading *r)
{
    const struct usage *u = &r->result.usage;
    uint64_t input = 0, output = 0;
    bool any = false;

    for (size_t i = 0; r->parts != NULL && i < r->parts->n; i++) {
        if (r->parts->at[i].kind != PART_SHARE)
            continue;
        any = true; /* each count is at most USAGE_MAX_COUNT */
        input += r->parts->at[i].usage.n[USAGE_INPUT];
        output += r->parts->at[i].usage.n[USAGE_OUTPUT];
    }
    if (!any || (input == u->n[USAGE_INPUT] && output == u->n[USAGE_OUTPUT]))
        return;
    parts_drop(r, PART_SHARE);
    r->result.inconsistent = true;
}

void parts_drop(struct reading *r, enum part_kind kind)
{
    size_t kept = 0;

    if (r->parts == NULL)
        return;
    for (size_t i = 0; i < r->parts->n; i++) {
        if (r->parts->at[i].kind != kind)
            r->parts->at[kept++] = r->parts->at[i];
    }
    r->parts->n = kept;
}

bool usage_set_part(struct usage *u, enum usage_field field, uint64_t part, uint64_t *room)
{
    bool fits = part <= *room;

    if (!fits)
        part = *room;
    *room -= part;
    usage_set(u, field, part);
    return fits;
}

/* The writes, by how long they live. */
static bool set_writes(const struct raw_counts *c, struct usage *u)
{
    uint64_t long_lived = c->n[RAW_WRITE_1H], short_lived = c->n[RAW_WRITE_5M];
    uint64_t total = c->n[RAW_WRITE];
    bool fits = true;

    if (!raw_has(c, RAW_WRITE)) {
        total = long_lived + short_lived;
    } else if (long_lived + short_lived > total) {
        /* Totals grow during a stream and the split may lag, never the other way round. */
        fits = false;
        long_lived = long_lived < total ? long_lived : total;
    }
    if (raw_has(c, RAW_WRITE_1H))
        usage_set(u, USAGE_CACHE_WRITE_1H, long_lived);
    if (raw_has(c, RAW_WRITE) || raw_has(c, RAW_WRITE_5M))
        usage_set(u, USAGE_CACHE_WRITE_5M, total - long_lived);
    return fits;
}

bool usage_from_disjoint(const struct raw_counts *c, struct usage *u)
{
    bool fits = !c->odd;

    fits &= set_writes(c, u);
    if (raw_has(c, RAW_CACHED))
        usage_set(u, USAGE_CACHE_READ, c->n[RAW_CACHED]);
    if (raw_has(c, RAW_INPUT)) {
        uint64_t total = c->n[RAW_INPUT] + u->n[USAGE_CACHE_READ] + u->n[USAGE_CACHE_WRITE_5M] +
                         u->n[USAGE_CACHE_WRITE_1H];

        if (total <= USAGE_MAX_COUNT)
            usage_set(u, USAGE_INPUT, total);
        else
            fits = false;
    }
    if (raw_has(c, RAW_OUTPUT))
        usage_set(u, USAGE_OUTPUT, c->n[RAW_OUTPUT]);
    fits &= usage_set_modalities(u, c, u->n[USAGE_INPUT], c->n[RAW_OUTPUT]);
    return fits;
}

bool usage_set_modalities(struct usage *u, const struct raw_counts *c, uint64_t input,
                          uint64_t output)
{
    static const struct {
        enum raw_count raw;
        enum usage_field field;
        uint8_t room; /* shared by those that exclude each other */
    } PARTS[] = {
        {RAW_IN_AUDIO, USAGE_INPUT_AUDIO, 0},   {RAW_IN_IMAGE, USAGE_INPUT_IMAGE, 0},
        {RAW_IN_VIDEO, USAGE_INPUT_VIDEO, 0},   {RAW_REASONING, USAGE_REASONING, 1},
        {RAW_OUT_AUDIO, USAGE_OUTPUT_AUDIO, 2}, {RAW_OUT_IMAGE, USAGE_OUTPUT_IMAGE, 2},
        {RAW_OUT_VIDEO, USAGE_OUTPUT_VIDEO, 2},
        {RAW_CACHED_AUDIO, USAGE_CACHE_AUDIO, 3}, {RAW_CACHED_IMAGE, USAGE_CACHE_IMAGE, 3},
    };
    uint64_t rooms[] = {input, output, output, u->n[USAGE_CACHE_READ]};
    bool fits = true;

    for (size_t i = 0; i < sizeof(PARTS) / sizeof(PARTS[0]); i++) {
        if (raw_has(c, PARTS[i].raw))
            fits &= usage_set_part(u, PARTS[i].field, c->n[PARTS[i].raw],
                                   &rooms[PARTS[i].room]);
    }
    return fits;
}

static const struct {
    enum raw_count raw;
    enum usage_field field;
    bool is_amount;
} UNITS[] = {
    {RAW_WEB_SEARCH, USAGE_WEB_SEARCH, false}, {RAW_FILE_SEARCH, USAGE_FILE_SEARCH, false},
    {RAW_CODE, USAGE_CODE, false},             {RAW_X_SEARCH, USAGE_X_SEARCH, false},
    {RAW_MAPS, USAGE_MAPS, false},             {RAW_CITATION, USAGE_CITATION, false},
    {RAW_IMAGES, USAGE_IMAGES, true},          {RAW_AUDIO_MS, USAGE_AUDIO_MS, true},
    {RAW_VIDEO_MS, USAGE_VIDEO_MS, true},
    {RAW_PAGES, USAGE_PAGES, true},            {RAW_SEARCH_UNITS, USAGE_SEARCH_UNITS, true},
    {RAW_IN_IMAGES, USAGE_INPUT_IMAGES, true}, {RAW_ATTACHMENT, USAGE_ATTACHMENT, false},
    {RAW_SESSION_MS, USAGE_SESSION_MS, true},  {RAW_CHARACTERS, USAGE_CHARACTERS, true},
};

void usage_set_units(struct usage *u, const struct raw_counts *c)
{
    for (size_t i = 0; i < sizeof(UNITS) / sizeof(UNITS[0]); i++) {
        if (raw_has(c, UNITS[i].raw))
            usage_set(u, UNITS[i].field, c->n[UNITS[i].raw]);
    }
}

bool usage_says_amount(const struct usage *u)
{
    bool says = usage_has(u, USAGE_INPUT) || usage_has(u, USAGE_OUTPUT);

    for (size_t i = 0; i < sizeof(UNITS) / sizeof(UNITS[0]); i++)
        says = says || (UNITS[i].is_amount && usage_has(u, UNITS[i].field));
    return says;
}
