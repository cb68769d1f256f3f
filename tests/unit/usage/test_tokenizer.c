/*
 * The tokenizer against texts that the reference implementation has counted, whole
 * and in parts, and its time on texts that are made to take long.
 */
#include "metering/usage/tokenizer.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/xalloc.h"
#include "metering/usage/token_class.h"
#include "metering/usage/token_merge.h"
#include "metering/usage/token_split.h"
#include "tests/unit/unit.h"

enum { LINE_MAX_BYTES = 1 << 20 };

static int setup(void **state)
{
    *state = tokenizer_new();
    return 0;
}

static int teardown(void **state)
{
    tokenizer_free(*state);
    return 0;
}

static int base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = strchr(digits, c);

    return at != NULL && c != '\0' ? (int)(at - digits) : -1;
}

static size_t decode_base64(const char *text, char *out)
{
    unsigned bits = 0, n_bits = 0;
    size_t n = 0;

    for (; base64_value(*text) >= 0; text++) {
        bits = bits << 6 | (unsigned)base64_value(*text);
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            out[n++] = (char)(bits >> n_bits & 0xff);
        }
    }
    return n;
}

/* The text of a line of vectors: see tests/vectors/tokenizer.py. */
static char *text_of(const cJSON *line, size_t *n)
{
    const cJSON *text = cJSON_GetObjectItem(line, "text");
    const cJSON *bytes = cJSON_GetObjectItem(line, "bytes");
    const cJSON *times = cJSON_GetObjectItem(line, "times");
    const cJSON *tail = cJSON_GetObjectItem(line, "tail");
    size_t unit, repeat = times ? (size_t)times->valueint : 1;
    char *out;

    if (bytes != NULL) {
        out = xmalloc(strlen(bytes->valuestring) + 1);
        *n = decode_base64(bytes->valuestring, out);
        return out;
    }
    /* cJSON cannot hold what follows a NUL. */
    unit = strlen(text->valuestring);
    *n = unit * repeat;
    out = xmalloc(*n + (tail ? strlen(tail->valuestring) : 0) + 1);
    for (size_t i = 0; i < repeat; i++)
        memcpy(out + i * unit, text->valuestring, unit);
    if (tail != NULL) {
        memcpy(out + *n, tail->valuestring, strlen(tail->valuestring));
        *n += strlen(tail->valuestring);
    }
    return out;
}

static void check_text(struct tokenizer *t, enum token_encoding e, struct strv text,
                       const cJSON *want, const char *line)
{
    uint32_t *ids = xmalloc((text.n * 3 + 1) * sizeof(*ids));
    size_t n = tokenizer_encode(t, e, text, ids);
    size_t wanted = (size_t)(cJSON_IsArray(want) ? cJSON_GetArraySize(want) : want->valueint);

    if (n != wanted || tokenizer_count(t, e, text) != n)
        fail_msg("%s: %zu tokens, wanted %zu: %.200s", token_encoding_name(e), n, wanted, line);
    for (size_t i = 0; cJSON_IsArray(want) && i < n; i++) {
        if (ids[i] != (uint32_t)cJSON_GetArrayItem(want, (int)i)->valueint)
            fail_msg("%s: token %zu is %u: %.200s", token_encoding_name(e), i, ids[i], line);
    }
    free(ids);
}

/* The same fed in parts of each of these lengths. */
static void check_parts(struct tokenizer *t, enum token_encoding e, struct strv text)
{
    static const size_t steps[] = {1, 2, 3, 7, 100, 16383};
    uint64_t whole = tokenizer_count(t, e, text);
    struct token_counter c;

    token_counter_init(&c, t, e, 0);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        for (size_t at = 0; at < text.n; at += steps[i])
            token_counter_feed(&c, strv_head(strv_skip(text, at), steps[i]));
        assert_int_equal(token_counter_finish(&c), whole);
        assert_true(c.exact);
    }
    token_counter_fini(&c);
}

static size_t check_file(struct tokenizer *t, const char *path)
{
    FILE *file = fopen(path, "rb");
    char *line = xmalloc(LINE_MAX_BYTES);
    size_t lines = 0;

    if (file == NULL) {
        free(line);
        return 0;
    }
    while (fgets(line, LINE_MAX_BYTES, file) != NULL) {
        cJSON *json = cJSON_Parse(line);
        size_t n;
        char *text;

        assert_non_null(json);
        lines++;
        if (strstr(line, "\\u0000") != NULL) {
            cJSON_Delete(json);
            continue;
        }
        text = text_of(json, &n);
        for (unsigned i = 0; i < ENCODING_COUNT; i++) {
            enum token_encoding e = (enum token_encoding)i;
            const cJSON *want = cJSON_GetObjectItem(json, token_encoding_name(e));

            check_text(t, e, strv_make(text, n), want, line);
            check_parts(t, e, strv_make(text, n));
        }
        free(text);
        cJSON_Delete(json);
    }
    fclose(file);
    free(line);
    return lines;
}

static void test_vectors(void **state)
{
    assert_true(check_file(*state, "tests/vectors/tokenizer.jsonl") > 100);
}

/* More of them, where they are. */
static void test_shared_vectors(void **state)
{
    if (check_file(*state, "../shared/vocab/vectors.jsonl") == 0)
        skip();
}

static void test_nul(void **state)
{
    static const char text[] = "\0\1\x7f";
    uint32_t ids[9];

    assert_int_equal(tokenizer_encode(*state, ENCODING_CL100K, strv_make(text, 3), ids), 3);
    assert_int_equal(ids[0], 188);
    assert_int_equal(ids[1], 189);
    assert_int_equal(ids[2], 127 + 94); /* 94 bytes that can be printed come first */
}

/* A word longer than the bound is cut, and said to be. */
static void test_piece_bound(void **state)
{
    struct token_counter c;
    uint64_t exact, cut;
    char text[3000];

    memset(text, 'x', sizeof(text));
    token_counter_init(&c, *state, ENCODING_O200K, 1000);
    token_counter_feed(&c, strv_make(text, sizeof(text)));
    cut = token_counter_finish(&c);
    assert_false(c.exact);
    token_counter_fini(&c);
    exact = tokenizer_count(*state, ENCODING_O200K, strv_make(text, sizeof(text)));
    assert_true(cut >= exact && cut <= exact + 8);
}

static double seconds_for(struct tokenizer *t, struct strv text)
{
    struct timespec from, to;
    double best = 1e9;

    for (int i = 0; i < 3; i++) {
        double seconds;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
        (void)tokenizer_count(t, ENCODING_O200K, text);
        (void)tokenizer_count(t, ENCODING_CL100K, text);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
        seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
        best = seconds < best ? seconds : best;
    }
    return best;
}

/* Twice the text takes about twice the time; squared it would be four times. */
static void test_linear(void **state)
{
    static const char *const units[] = {"a",  " ",   "\n",  "ab", "aaaab", "A",     "aA",   "世", "世A",
                                        "\t", " \n", "'s",  "=",  "=/",    "\u0301", "9", "\U0001f600",
                                        "\xff", "zqxj", "ing", "qz世A"};
    enum { BYTES = 200000 };
    char *text = xmalloc(2 * BYTES);
    uint64_t random = 1;

    for (size_t i = 0; i <= sizeof(units) / sizeof(units[0]); i++) {
        double one, two;

        for (size_t at = 0; at < 2 * BYTES; at++) {
            random = random * UINT64_C(6364136223846793005) + 1;
            text[at] = i < sizeof(units) / sizeof(units[0])
                           ? units[i][at % strlen(units[i])]
                           : (char)('a' + (random >> 40) % 26); /* one giant word */
        }
        one = seconds_for(*state, strv_make(text, BYTES));
        two = seconds_for(*state, strv_make(text, 2 * BYTES));
        if (two > 3 * one + 0.01)
            fail_msg("text %zu: %.4f s, twice as long: %.4f s", i, one, two);
    }
    free(text);
}

/* ---- one way against another ------------------------------------------------------- */

extern const unsigned char token_classes[];

static unsigned class_of(unsigned code)
{
    uint16_t page;

    memcpy(&page, token_classes + (size_t)(code >> CLASS_PAGE_BITS) * 2, sizeof(page));
    return token_classes[CLASS_PAGES * 2 + ((size_t)page << CLASS_PAGE_BITS) +
                         (code & ((1u << CLASS_PAGE_BITS) - 1))];
}

/* What is told from two bytes to be a letter without case is one. */
static void test_caseless(void **state)
{
    static const struct {
        unsigned first, last; /* two bytes each */
    } RUNS[] = {{TOKEN_HAN_FIRST, TOKEN_HAN_LAST}, {TOKEN_HANGUL_FIRST, TOKEN_HANGUL_LAST}};

    (void)state;
    for (size_t i = 0; i < sizeof(RUNS) / sizeof(RUNS[0]); i++) {
        unsigned from = (RUNS[i].first >> 8 & 0xf) << 12 | (RUNS[i].first & 0x3f) << 6;
        unsigned to = (RUNS[i].last >> 8 & 0xf) << 12 | (RUNS[i].last & 0x3f) << 6 | 0x3f;

        for (unsigned code = from; code <= to; code++)
            assert_int_equal(class_of(code), CLASS_CASELESS);
    }
}

static size_t put_code(char *out, unsigned code)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    out[0] = (char)(0xe0 | code >> 12);
    out[1] = (char)(0x80 | (code >> 6 & 0x3f));
    out[2] = (char)(0x80 | (code & 0x3f));
    return 3;
}

/* Where classes, sequences and what tokens hold change. */
static const struct {
    unsigned from, n;
} ALPHABETS[] = {
    {'a', 26},      {'A', 26},      {'0', 10},     {' ', 1},       {'\t', 5},      {'!', 15},
    {0xc0, 64},     {0x400, 64},    {0x5d0, 27},   {0x900, 100},   {0x2010, 32},   {0x3040, 192},
    {0x4dc0, 128},  {0x4e00, 64},   {0x7684, 600}, {0x4e00, 0x51c0}, {0x9f80, 128}, {0xabf0, 32},
    {0xac00, 0x2b80}, {0xd700, 128}, {0xff00, 64},
};
enum { ALPHABETS_N = sizeof(ALPHABETS) / sizeof(ALPHABETS[0]) };

static unsigned next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (unsigned)(*seed >> 33);
}

/* Words of 1 to 48 characters, each of one or two alphabets. */
static size_t random_text(uint64_t *seed, char *out, size_t size)
{
    size_t n = 0;

    while (n + 160 < size) {
        unsigned one = next_random(seed) % ALPHABETS_N, other = next_random(seed) % ALPHABETS_N;
        unsigned length = 1 + next_random(seed) % 48;

        for (unsigned i = 0; i < length; i++) {
            unsigned a = next_random(seed) % 4 ? one : other;

            n += put_code(out + n, ALPHABETS[a].from + next_random(seed) % ALPHABETS[a].n);
        }
    }
    return n;
}

/*
 * What is counted (from memory, side by side, in parts) is what is listed piece by piece from the
 * left; again, when it is remembered; and by a tokenizer that has met nothing else.
 */
static void test_ways_agree(void **state)
{
    enum { TEXTS = 40, BYTES = 20000 };
    static char text[BYTES];
    static uint32_t ids[BYTES];
    uint64_t seed = 1;

    for (int i = 0; i < TEXTS; i++) {
        struct strv whole = strv_make(text, random_text(&seed, text, sizeof(text)));

        for (int e = 0; e < ENCODING_COUNT; e++) {
            struct tokenizer *fresh = tokenizer_new();
            size_t listed = tokenizer_encode(*state, (enum token_encoding)e, whole, ids);

            for (int again = 0; again < 2; again++)
                assert_int_equal(tokenizer_count(*state, (enum token_encoding)e, whole), listed);
            assert_int_equal(tokenizer_count(fresh, (enum token_encoding)e, whole), listed);
            tokenizer_free(fresh);
        }
    }
}

static size_t put(char *out, const char *bytes)
{
    memcpy(out, bytes, strlen(bytes));
    return strlen(bytes);
}

/* Sequences of three bytes are looked at many at once: a bad one counts wherever it stands. */
static void test_bad_sequences(void **state)
{
    static const struct {
        const char *bytes, *means;
    } BAD[] = {
        {"\xe0\x9f\xbf", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* longer than need be */
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* a surrogate */
        {"\xe4\xb8-", "\xef\xbf\xbd-"},
        {"\xe4-\x80", "\xef\xbf\xbd-\xef\xbf\xbd"},
        {"\x80\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf4\x90\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xed\x9f\xbf", "\xed\x9f\xbf"}, /* good ones that look like it */
        {"\xe0\xa0\x80", "\xe0\xa0\x80"},
    };
    enum { CHARS = 40 };
    char bad[CHARS * 3], good[(CHARS + 2) * 3];

    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        for (size_t at = 0; at < CHARS; at++) {
            size_t n_bad = 0, n_good = 0;

            for (size_t c = 0; c < CHARS; c++) {
                n_bad += put(bad + n_bad, c == at ? BAD[i].bytes : "\xe4\xb8\xad");
                n_good += put(good + n_good, c == at ? BAD[i].means : "\xe4\xb8\xad");
            }
            for (int e = 0; e < ENCODING_COUNT; e++)
                assert_int_equal(
                    tokenizer_count(*state, (enum token_encoding)e, strv_make(bad, n_bad)),
                    tokenizer_count(*state, (enum token_encoding)e, strv_make(good, n_good)));
        }
    }
}

static void test_models(void **state)
{
    static const struct {
        const char *model;
        enum token_encoding encoding;
        bool known;
    } CASES[] = {
        {"gpt-4o-mini", ENCODING_O200K, true},
        {"gpt-4", ENCODING_CL100K, true},
        {"gpt-4-turbo-2024-04-09", ENCODING_CL100K, true},
        {"gpt-4.1-nano", ENCODING_O200K, true},
        {"gpt-35-turbo", ENCODING_CL100K, true},
        {"openai/gpt-4o", ENCODING_O200K, true},
        {"ft:gpt-3.5-turbo-0125:acme::x", ENCODING_CL100K, true},
        {"ft:gpt-4o-mini:acme", ENCODING_O200K, true},
        {"text-embedding-3-small", ENCODING_CL100K, true},
        {"o3", ENCODING_O200K, true},
        {"gpt-oss-120b", ENCODING_O200K, true},
        {"gpt-5.6", ENCODING_O200K, false},
        {"claude-sonnet-4-5", ENCODING_O200K, false},
        {"", ENCODING_O200K, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        enum token_encoding e;

        assert_int_equal(token_encoding_of_model(strv_z(CASES[i].model), &e), CASES[i].known);
        assert_int_equal(e, CASES[i].encoding);
        assert_true(token_encoding_find(strv_z(token_encoding_name(e)), &e));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors), cmocka_unit_test(test_shared_vectors),
        cmocka_unit_test(test_nul),     cmocka_unit_test(test_piece_bound),
        cmocka_unit_test(test_linear),  cmocka_unit_test(test_models),
        cmocka_unit_test(test_caseless), cmocka_unit_test(test_ways_agree),
        cmocka_unit_test(test_bad_sequences),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
