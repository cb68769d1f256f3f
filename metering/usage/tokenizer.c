#include "metering/usage/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/held.h"
#include "base/xalloc.h"
#include "metering/usage/token_count.h"
#include "metering/usage/token_merge.h"
#include "metering/usage/token_split.h"

enum {
    REPLACEMENT_BYTES = 3,
    SEQUENCE_MAX_BYTES = 4,
    COUNT_LONG_BYTES = 6, /* pieces beyond this are looked through for places to cut them */
};

/* vocab/tables.S; each begins with a struct token_tables. */
extern const char token_tables_o200k[] __attribute__((visibility("hidden")));
extern const char token_tables_cl100k[] __attribute__((visibility("hidden")));

static const struct {
    const char *name;
    const char *tables;
} ENCODINGS[ENCODING_COUNT] = {
    [ENCODING_O200K] = {"o200k_base", token_tables_o200k},
    [ENCODING_CL100K] = {"cl100k_base", token_tables_cl100k},
};

struct tokenizer {
    struct count *count[ENCODING_COUNT]; /* NULL: not used so far */
};

const char *token_encoding_name(enum token_encoding e)
{
    return ENCODINGS[e].name;
}

bool token_encoding_find(struct strv name, enum token_encoding *e)
{
    for (size_t i = 0; i < ENCODING_COUNT; i++) {
        if (strv_eq(name, strv_z(ENCODINGS[i].name))) {
            *e = (enum token_encoding)i;
            return true;
        }
    }
    return false;
}

/* First match. A final '*' stands for anything. */
#define MODEL(text) {text, sizeof(text) - 1}
static const struct {
    struct strv model;
    enum token_encoding encoding;
    bool known;
} MODELS[] = {
    {MODEL("gpt-5.6*"), ENCODING_O200K, false}, /* not confirmed for these */
    {MODEL("gpt-5*"), ENCODING_O200K, true},
    {MODEL("gpt-4o*"), ENCODING_O200K, true},
    {MODEL("chatgpt-4o*"), ENCODING_O200K, true},
    {MODEL("gpt-4.1*"), ENCODING_O200K, true},
    {MODEL("gpt-4.5*"), ENCODING_O200K, true},
    {MODEL("gpt-oss*"), ENCODING_O200K, true}, /* the same merges, other special tokens */
    {MODEL("o1*"), ENCODING_O200K, true},
    {MODEL("o3*"), ENCODING_O200K, true},
    {MODEL("o4-*"), ENCODING_O200K, true},
    {MODEL("gpt-4"), ENCODING_CL100K, true},
    {MODEL("gpt-4-*"), ENCODING_CL100K, true},
    {MODEL("gpt-3.5*"), ENCODING_CL100K, true},
    {MODEL("gpt-35*"), ENCODING_CL100K, true}, /* as Azure spells it */
    {MODEL("text-embedding-ada-002*"), ENCODING_CL100K, true},
    {MODEL("text-embedding-3-*"), ENCODING_CL100K, true},
};
#undef MODEL

static bool matches(struct strv pattern, struct strv text)
{
    if (pattern.p[pattern.n - 1] != '*')
        return strv_eq(text, pattern);
    return text.n >= pattern.n - 1 && strv_same(text.p, pattern.p, pattern.n - 1);
}

/* Without publisher, fine-tuning, and what a router appends. */
static struct strv base_model(struct strv model)
{
    for (size_t at; (at = strv_find(model, '/')) < model.n;)
        model = strv_skip(model, at + 1);
    if (model.n > 3 && memcmp(model.p, "ft:", 3) == 0)
        model = strv_skip(model, 3);
    return strv_head(model, strv_find(model, ':'));
}

bool token_model_thinks(struct strv model)
{
    model = base_model(model);
    return (model.n > 1 && model.p[0] == 'o' && model.p[1] >= '1' && model.p[1] <= '9') ||
           strv_starts(model, STRV("gpt-5")) || strv_starts(model, STRV("gpt-oss"));
}

bool token_encoding_of_model(struct strv model, enum token_encoding *e)
{
    model = base_model(model);
    for (size_t i = 0; i < sizeof(MODELS) / sizeof(MODELS[0]); i++) {
        if (matches(MODELS[i].model, model)) {
            *e = MODELS[i].encoding;
            return MODELS[i].known;
        }
    }
    *e = ENCODING_O200K;
    return false;
}

struct tokenizer *tokenizer_new(void)
{
    return xcalloc(1, sizeof(struct tokenizer));
}

void tokenizer_free(struct tokenizer *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < ENCODING_COUNT; i++)
        free(t->count[i]);
    free(t);
}

static struct count *count_of(struct tokenizer *t, enum token_encoding e)
{
    if (t->count[e] == NULL) {
        t->count[e] = xcalloc(1, sizeof(*t->count[e]));
        t->count[e]->merge.tables =
            (const struct token_tables *)(const void *)ENCODINGS[e].tables;
    }
    return t->count[e];
}

/* ---- well-formed text ---------------------------------------------------------- */

enum sequence {
    SEQUENCE_GOOD = 0,
    SEQUENCE_BAD, /* *n bytes that count as one U+FFFD */
    SEQUENCE_MORE,
};

/* What the second byte of a sequence may be (RFC 3629 section 4), by its first. */
static bool is_second(unsigned char first, unsigned char c)
{
    switch (first) {
    case 0xe0:
        return c >= 0xa0 && c <= 0xbf;
    case 0xed:
        return c >= 0x80 && c <= 0x9f;
    case 0xf0:
        return c >= 0x90 && c <= 0xbf;
    case 0xf4:
        return c >= 0x80 && c <= 0x8f;
    default:
        return c >= 0x80 && c <= 0xbf;
    }
}

/* The sequence at p, of which `left` bytes are there. */
static enum sequence look_at_sequence(const char *p, size_t left, size_t *n)
{
    const unsigned char *c = (const unsigned char *)p;
    size_t want = c[0] < 0x80 ? 1 : c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : 4;

    *n = 1;
    if (want == 1)
        return SEQUENCE_GOOD;
    if (c[0] < 0xc2 || c[0] > 0xf4)
        return SEQUENCE_BAD;
    for (; *n < want; ++*n) {
        if (*n == left)
            return SEQUENCE_MORE;
        if (!(*n == 1 ? is_second(c[0], c[1]) : (c[*n] & 0xc0) == 0x80))
            return SEQUENCE_BAD;
    }
    return SEQUENCE_GOOD;
}

static size_t ascii_run(const char *p, size_t n)
{
    size_t at = 0;

    while (n - at >= sizeof(uint64_t) &&
           (token_load8(p + at) & UINT64_C(0x8080808080808080)) == 0)
        at += sizeof(uint64_t);
    while (at < n && (unsigned char)p[at] < 0x80)
        at++;
    return at;
}

enum { EIGHT_OF_THREE = 24 };

/* Whether eight sequences of three bytes are at p, of whose second bytes each may be any. */
static inline bool are_eight_of_three(const char *p)
{
    static const uint64_t LEAD[] = {UINT64_C(0x00ff0000ff0000ff), UINT64_C(0xff0000ff0000ff00),
                                    UINT64_C(0x0000ff0000ff0000)};
    const uint64_t each = UINT64_C(0x0101010101010101);
    uint64_t bad = 0;

    for (size_t i = 0; i < sizeof(LEAD) / sizeof(LEAD[0]); i++) {
        uint64_t word = token_load8(p + i * sizeof(word)), low = word & LEAD[i] & each * 0xf;

        bad |= (word ^ ((LEAD[i] & each * 0xe0) | (~LEAD[i] & each * 0x80))) &
               ((LEAD[i] & each * 0xf0) | (~LEAD[i] & each * 0xc0));
        /* Bit 4 of what is neither 0 nor 0xd, of those that follow 0xe. */
        bad |= ~((low + each * 0xf) & ((low ^ each * 0xd) + each * 0xf)) & LEAD[i] & each * 0x10;
    }
    return bad == 0;
}

/* The same of sequences of three bytes but for those whose second byte is not any. */
static size_t three_byte_run(const char *p, size_t n)
{
    const unsigned char *c = (const unsigned char *)p;
    size_t at = 0;

    while (n - at >= EIGHT_OF_THREE && are_eight_of_three(p + at))
        at += EIGHT_OF_THREE;
    while (n - at >= 3 && c[at] > 0xe0 && c[at] < 0xf0 && c[at] != 0xed &&
           (c[at + 1] & 0xc0) == 0x80 && (c[at + 2] & 0xc0) == 0x80)
        at += 3;
    return at;
}

/* Length of the well-formed text at p; *what is what comes behind it, of *bad bytes. */
static size_t good_run(const char *p, size_t n, enum sequence *what, size_t *bad)
{
    size_t at = 0, length;

    *what = SEQUENCE_GOOD;
    while (at < n) {
        if ((unsigned char)p[at] < 0x80) {
            at += ascii_run(p + at, n - at);
            continue;
        }
        length = three_byte_run(p + at, n - at);
        if (length > 0) {
            at += length;
            continue;
        }
        *what = look_at_sequence(p + at, n - at, &length);
        if (*what != SEQUENCE_GOOD) {
            *bad = length;
            break;
        }
        at += length;
    }
    return at;
}

/* ---- a text in parts ------------------------------------------------------------ */

void token_counter_init(struct token_counter *c, struct tokenizer *t, enum token_encoding e,
                        size_t piece_max)
{
    *c = (struct token_counter){.tokenizer = t,
                                .encoding = e,
                                .exact = true,
                                .piece_max = piece_max ? piece_max : TOKEN_PIECE_MAX_BYTES};
}

void token_counter_fini(struct token_counter *c)
{
    if (c->text)
        held_sub(c->size + TOKEN_SPLIT_PAD);
    free(c->text);
    c->text = NULL;
}

static size_t room(const struct token_counter *c)
{
    return c->size - c->n;
}

static void grow(struct token_counter *c, size_t size)
{
    held_add(size + TOKEN_SPLIT_PAD - (c->text ? c->size + TOKEN_SPLIT_PAD : 0));
    c->text = xrealloc(c->text, size + TOKEN_SPLIT_PAD);
    c->size = size;
}

/* What was cut is counted, and told by its ids where these are wanted. */
static inline void count_cut(struct token_counter *c, struct count *count, const char *p,
                             const char *const *ends, size_t n)
{
    if (c->ids == NULL) {
        c->tokens += count_pieces(count, p, ends, n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        size_t some = merge_piece(&count->merge, p, (size_t)(ends[i] - p), c->ids);

        c->tokens += some;
        c->ids += some;
        p = ends[i];
    }
}

/* Pieces that were cut and are not counted so far: they follow each other. */
struct cut {
    const char *from;
    const char *ends[TOKEN_ROW_MAX];
    size_t n;
};

static inline void count_row(struct token_counter *c, struct count *count, struct cut *cut)
{
    if (cut->n == 0)
        return;
    count_cut(c, count, cut->from, cut->ends, cut->n);
    cut->from = cut->ends[cut->n - 1];
    cut->n = 0;
}

/* There is room for what is cut at once. */
static inline void make_room(struct token_counter *c, struct count *count, struct cut *cut)
{
    if (TOKEN_ROW_MAX - cut->n < TOKEN_SPLIT_MAX)
        count_row(c, count, cut);
}

/* Of the last piece, which may be long and begins at p, its parts. */
static inline void cut_parts(struct token_counter *c, struct count *count, struct cut *cut,
                             const char *p)
{
    const char *end = cut->ends[--cut->n];

    while (p < end) {
        make_room(c, count, cut);
        cut->n += merge_parts(count->merge.tables, p, end, cut->ends + cut->n, TOKEN_SPLIT_MAX);
        p = cut->ends[cut->n - 1];
    }
}

/* Counts the pieces that nothing to come can change; all of them where it is the end. */
static inline const char *count_text(struct token_counter *c, token_split_fn *split, bool last)
{
    struct count *count = count_of(c->tokenizer, c->encoding);
    const char *p = c->text, *end = c->text + c->n;
    struct cut cut = {.from = p};

    while (p < end) {
        bool open = false;
        const char *to;
        size_t n;

        make_room(c, count, &cut);
        n = split(p, end, cut.ends + cut.n, &open);
        to = cut.ends[cut.n + n - 1];
        if (open && !last) {
            if (p > c->text || c->size < c->piece_max)
                break;
            c->exact = false; /* no room for the piece to end in: it ends here */
        }
        cut.n += n;
        if (n == 1 && to - p > COUNT_LONG_BYTES)
            cut_parts(c, count, &cut, p);
        p = to;
    }
    count_row(c, count, &cut);
    c->tokens += count_rest(count);
    return p;
}

static void drain(struct token_counter *c, bool last)
{
    const char *p = NULL;

    memset(c->text + c->n, 0, TOKEN_SPLIT_PAD);
    switch (c->encoding) { /* two loops, each with its own patterns in it */
    case ENCODING_O200K:
        p = count_text(c, token_split_o200k, last);
        break;
    case ENCODING_CL100K:
    case ENCODING_COUNT:
        p = count_text(c, token_split_cl100k, last);
        break;
    }
    c->n -= (size_t)(p - c->text);
    memmove(c->text, p, c->n);
    c->left = c->n;
    if (!last && c->n > c->size / 2 && c->size < c->piece_max)
        grow(c, c->size * 2 < c->piece_max ? c->size * 2 : c->piece_max);
}

/* Up to here the buffer grows without a look at what is in it. */
static size_t first_stop(const struct token_counter *c)
{
    return TOKEN_BUFFER_BYTES < c->piece_max ? TOKEN_BUFFER_BYTES : c->piece_max;
}

static void append(struct token_counter *c, const char *p, size_t n)
{
    while (n > 0) {
        size_t some;

        if (room(c) < SEQUENCE_MAX_BYTES && c->size < first_stop(c))
            grow(c, c->size * 2 < first_stop(c) ? c->size * 2 : first_stop(c));
        else if (room(c) < SEQUENCE_MAX_BYTES)
            drain(c, false);
        some = n < room(c) ? n : room(c);
        /* Never a part of a character. */
        while (some < n && some > 0 && ((unsigned char)p[some] & 0xc0) == 0x80)
            some--;
        memcpy(c->text + c->n, p, some);
        c->n += some;
        p += some;
        n -= some;
    }
}

static void append_replacement(struct token_counter *c)
{
    append(c, "\xef\xbf\xbd", REPLACEMENT_BYTES);
}

/* Bytes of `part` that end the sequence begun before, or show that nothing does. */
static size_t end_partial(struct token_counter *c, struct strv part)
{
    size_t used = 0, n;

    while (c->partial_n > 0 && used < part.n) {
        enum sequence what;

        c->partial[c->partial_n++] = part.p[used++];
        what = look_at_sequence(c->partial, c->partial_n, &n);
        if (what == SEQUENCE_MORE)
            continue;
        if (what == SEQUENCE_GOOD) {
            append(c, c->partial, n);
        } else {
            append_replacement(c);
            used--; /* the byte that does not belong to it */
        }
        c->partial_n = 0;
    }
    return used;
}

void token_counter_feed(struct token_counter *c, struct strv part)
{
    if (c->text == NULL)
        grow(c, part.n > TOKEN_BUFFER_FIRST_BYTES || c->piece_max < TOKEN_BUFFER_FIRST_BYTES
                    ? first_stop(c)
                    : TOKEN_BUFFER_FIRST_BYTES);
    part = strv_skip(part, end_partial(c, part));
    while (part.n > 0) {
        enum sequence what;
        size_t bad = 0, good = good_run(part.p, part.n, &what, &bad);

        append(c, part.p, good);
        part = strv_skip(part, good);
        if (what == SEQUENCE_MORE) {
            memcpy(c->partial, part.p, part.n);
            c->partial_n = (uint8_t)part.n;
            return;
        }
        if (what == SEQUENCE_BAD) {
            append_replacement(c);
            part = strv_skip(part, bad);
        }
    }
}

uint64_t token_counter_so_far(struct token_counter *c, size_t held_max, size_t *held)
{
    if (c->n > held_max && c->n / 2 >= c->left) /* a long word is not looked at for each byte */
        drain(c, false);
    *held = c->n;
    return c->tokens;
}

uint64_t token_counter_finish(struct token_counter *c)
{
    uint64_t tokens;

    if (c->partial_n > 0)
        append_replacement(c);
    c->partial_n = 0;
    if (c->n > 0)
        drain(c, true);
    tokens = c->tokens;
    c->tokens = 0;
    return tokens;
}

static uint64_t count_all(struct tokenizer *t, enum token_encoding e, struct strv text,
                          uint32_t *ids)
{
    struct token_counter c;
    uint64_t tokens;

    token_counter_init(&c, t, e, SIZE_MAX / 4);
    c.ids = ids;
    token_counter_feed(&c, text);
    tokens = token_counter_finish(&c);
    token_counter_fini(&c);
    return tokens;
}

uint64_t tokenizer_count(struct tokenizer *t, enum token_encoding e, struct strv text)
{
    return count_all(t, e, text, NULL);
}

size_t tokenizer_encode(struct tokenizer *t, enum token_encoding e, struct strv text,
                        uint32_t *ids)
{
    return (size_t)count_all(t, e, text, ids);
}
