/*
 * Documents that are read by comparing them with earlier ones (metering/usage/shape.h):
 * whatever passes, and whatever passed before, jscan_feed and shapes_feed must tell the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "metering/usage/shape.h"
#include "tests/unit/unit.h"

enum { DOCUMENT_MAX = 8192, ROUNDS = 20000, TOLD_MAX = 1 << 16 };

enum node { N_SKIP, N_ROOT, N_ID, N_COUNT_OF, N_TEXT, N_LIST, N_ITEM, N_BOTH, N_NODES };

static const struct jscan_edge ROOT_EDGES[] = {
    JSCAN_EDGE("id", N_ID),      JSCAN_EDGE("count", N_COUNT_OF), JSCAN_EDGE("text", N_TEXT),
    JSCAN_EDGE("list", N_LIST),  JSCAN_EDGE("more", N_ROOT),      JSCAN_EDGE("both", N_BOTH),
};
static const struct jscan_node NODES[N_NODES] = {
    [N_ROOT] = {JSCAN_EDGES(ROOT_EDGES), 0, 0, JSCAN_ENTER | JSCAN_FOLD},
    [N_ID] = {.flags = JSCAN_WANT},
    [N_COUNT_OF] = {.flags = JSCAN_WANT},
    [N_TEXT] = {NULL, 0, N_TEXT, N_TEXT, JSCAN_COUNT},
    [N_LIST] = {.item = N_ITEM, .flags = JSCAN_ENTER},
    [N_ITEM] = {JSCAN_EDGES(ROOT_EDGES), 0, 0, JSCAN_ENTER | JSCAN_WANT},
    [N_BOTH] = {.flags = JSCAN_WANT | JSCAN_COUNT},
};

static uint64_t seed = 7;

static unsigned pick(unsigned n)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(seed >> 33) % n;
}

/* All that a scanner told, in words. */
struct told {
    size_t n;
    char words[TOLD_MAX];
};

static void say(struct told *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct told *t, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    t->n += (size_t)vsnprintf(t->words + t->n, sizeof(t->words) - t->n, format, args);
    va_end(args);
    ASSERT(t->n < sizeof(t->words));
}

static void on_event(void *arg, const struct jscan_event *e)
{
    uint64_t count = 0;

    if (e->what == JSCAN_AT_VALUE && e->type == JSCAN_NUMBER &&
        jscan_count(e->text, &count) != JSCAN_COUNT_OK)
        count = UINT64_MAX;
    ASSERT(!e->has_count || e->count == count); /* the scanner says so where it is no trouble */
    say(arg, "%d %d n%u [%.*s]%s%s %llu-%llu t%llu c%llu\n", e->what, e->type, e->node,
        (int)e->text.n, e->text.n ? e->text.p : "", e->escaped ? " escaped" : "",
        e->cut ? " cut" : "", (unsigned long long)e->begin, (unsigned long long)e->end,
        (unsigned long long)e->text_bytes, (unsigned long long)count);
}

static void on_text(void *arg, struct strv piece, bool ends)
{
    say(arg, "text [%.*s]%s\n", (int)piece.n, piece.p, ends ? "." : "");
}

static void start(struct jscan *s, bool loose, struct told *t)
{
    t->n = 0;
    t->words[0] = '\0';
    jscan_start(s, NODES, N_ROOT, loose, on_event, t);
    s->text_fn = on_text;
    s->text_arg = t;
}

/* Reads a document both ways. */
static void check(struct shapes *known, bool loose, struct strv document)
{
    static struct told plain, compared;
    static struct jscan a, b;
    char *copy = malloc(document.n + 1); /* a block of its own: reads past it are seen */
    enum rc first, second;

    ASSERT(copy != NULL);
    memcpy(copy, document.p, document.n);
    document.p = copy;
    start(&a, loose, &plain);
    start(&b, loose, &compared);
    first = jscan_feed(&a, document);
    second = shapes_feed(known, &b, document);
    if (first != second || strcmp(plain.words, compared.words) != 0)
        fail_msg("of %.*s\n%s---\n%s", (int)document.n, document.p, plain.words,
                 compared.words);
    assert_int_equal(a.counted_bytes, b.counted_bytes);
    assert_int_equal(a.empty, b.empty);
    assert_int_equal(a.at, b.at);
    if (first == RC_OK)
        assert_int_equal(a.folded, b.folded);
    assert_int_equal(jscan_is_open(&a), jscan_is_open(&b));
    assert_int_equal(jscan_feed(&a, STRV("\n ")), jscan_feed(&b, STRV("\n ")));
    assert_int_equal(jscan_finish(&a), jscan_finish(&b));
    free(copy);
}

static const char *const VALUES[] = {
    "\"a\"", "\"\"",        "\"it\\\"s\"", "\"\\u00e9\\ud83d\\ude00\"", "12",   "0",     "7000000",
    "-3",    "1.5e3",       "9007199254740993000", "1234567890123456",  "null", "true",  "false",
    "[]",    "{}",          "[1,\"b\"]",   "{\"x\":[{}]}",
};
static const char *const BROKEN[] = {"01",   "1.", "\"\\x\"", "\"a\nb\"", "nul", "\"", "",
                                     "12 3", "[}", "-",       "\"\\u12\""};

/* %v: any value, %s: a string's text, %n: a number, of one digit to eighteen. */
static const char *const TEMPLATES[] = {
    "{\"id\":\"%s\",\"object\":\"x\",\"count\":%n,\"text\":\"%s\"}",
    "{\"id\":\"%s\",\"object\":\"x\",\"count\":%n,\"text\":\"%s\"}\n",
    "{\"id\":%v,\"count\":%v,\"list\":[{\"text\":\"%s\",\"both\":\"%s\"},%n],\"x\":%v}",
    " {\"more\":{\"id\":null,\"list\":[true,\"%s\"]},\"both\":\"%s\",\"text\":[\"%s\",%n]}",
    "{\"ID\":\"%s\",\"other\":{\"deep\":[1,2,\"%s\"]},\"count\":%n}",
    "{\"count\":%n,\"more\":{\"more\":{\"count\":%n}},\"id\":false}",
    "[{\"id\":\"%s\"}]",
    "{\"text\":%v}",
};

static const char DIGITS[] = "192837465192837465102938475";

static struct strv make(const char *template, char out[DOCUMENT_MAX])
{
    size_t n = 0;

    for (const char *p = template; *p != '\0'; p++) {
        char value[32];
        const char *text = value;

        if (*p != '%') {
            out[n++] = *p;
            continue;
        }
        if (*++p == 'v') {
            text = pick(40) == 0 ? BROKEN[pick(sizeof(BROKEN) / sizeof(BROKEN[0]))]
                                 : VALUES[pick(sizeof(VALUES) / sizeof(VALUES[0]))];
        } else if (*p == 'n') {
            snprintf(value, sizeof(value), "%.*s", 1 + (int)pick(18), DIGITS + pick(9));
        } else if (pick(30) == 0) { /* longer than what is told of */
            memset(out + n, 'y', JSCAN_TEXT_MAX + 1);
            n += JSCAN_TEXT_MAX + 1;
            text = "";
        } else {
            snprintf(value, sizeof(value), "%x%s", pick(1 << 20), pick(5) == 0 ? "\\n" : "");
        }
        memcpy(out + n, text, strlen(text));
        n += strlen(text);
    }
    return strv_make(out, n);
}

static void test_tells_the_same(void **state)
{
    static char document[DOCUMENT_MAX];
    struct shapes *known = shapes_new();

    (void)state;
    for (unsigned i = 0; i < ROUNDS; i++) {
        const char *template = TEMPLATES[pick(sizeof(TEMPLATES) / sizeof(TEMPLATES[0]))];
        struct strv bytes = make(template, document);

        if (pick(10) == 0)
            bytes.n = pick((unsigned)bytes.n + 1);
        if (pick(10) == 0 && bytes.n > 0)
            document[pick((unsigned)bytes.n)] = (char)pick(256);
        check(known, pick(2) == 0, bytes);
    }
    print_message("%u documents, %llu of them read by comparing\n", (unsigned)ROUNDS,
                  (unsigned long long)shapes_hits(known));
    assert_true(shapes_hits(known) > ROUNDS / 10);
    shapes_free(known);
}

static const char ANSWER[] = "{\"id\":\"%s\",\"object\":\"x\",\"count\":%n,\"text\":\"%s\"}";

/* Different values are no different documents; other graphs have shapes of their own. */
static void test_knows_again(void **state)
{
    static char document[DOCUMENT_MAX];
    struct shapes *known = shapes_new();

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        check(known, false, make(ANSWER, document));
        check(known, true, make(ANSWER, document));
    }
    assert_in_range(shapes_hits(known), 180, 198); /* 2 learnt; a text may be too long */
    shapes_free(known);
}

static void test_forgets_the_oldest(void **state)
{
    struct shapes *known = shapes_new();
    char document[64];

    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < SHAPES_MAX; i++) {
            snprintf(document, sizeof(document), "{\"k%u\":1}", i);
            check(known, false, strv_z(document));
        }
    }
    assert_int_equal(shapes_hits(known), SHAPES_MAX);
    check(known, false, STRV("{\"new\":1}")); /* in place of k0 */
    check(known, false, STRV("{\"k1\":1}"));
    assert_int_equal(shapes_hits(known), SHAPES_MAX + 1);
    check(known, false, STRV("{\"k0\":1}"));
    assert_int_equal(shapes_hits(known), SHAPES_MAX + 1);
    shapes_free(known);
}

/* What never comes again is not learnt each time, and what comes again is still seen. */
static void test_strange_documents(void **state)
{
    struct shapes *known = shapes_new();
    char document[64];
    unsigned at = 0;

    (void)state;
    for (unsigned i = 0; i < 10 * SHAPE_STRANGE_MAX; i++) {
        snprintf(document, sizeof(document), "{\"k%u\":1}", i);
        check(known, false, strv_z(document));
    }
    assert_int_equal(shapes_hits(known), 0);
    while (at < 2 * SHAPE_STRANGE_MAX && shapes_hits(known) == 0) {
        check(known, false, STRV("{\"id\":1}"));
        at++;
    }
    assert_in_range(at, 2, SHAPE_STRANGE_MAX + 1);
    shapes_free(known);
}

/* A document with `bytes` bytes between its values and `steps` values is read twice. */
static uint64_t hits_of(unsigned bytes, unsigned steps)
{
    static char document[DOCUMENT_MAX];
    struct shapes *known = shapes_new();
    uint64_t hits;
    size_t n = 0;

    document[n++] = '{';
    for (unsigned i = 0; i < steps; i++)
        n += (size_t)snprintf(document + n, sizeof(document) - n, "%s\"%u\":1", i ? "," : "", i);
    n -= 1; /* the last value is no byte between */
    while (n < bytes - 1 + steps - 1)
        document[n++] = ' ';
    document[n++] = '1';
    document[n++] = '}';
    for (unsigned i = 0; i < 2; i++)
        check(known, false, strv_make(document, n));
    hits = shapes_hits(known);
    shapes_free(known);
    return hits;
}

static void test_bounds(void **state)
{
    (void)state;
    assert_int_equal(hits_of(SHAPE_BYTES_MAX, 1), 1);
    assert_int_equal(hits_of(SHAPE_BYTES_MAX + 1, 1), 0);
    assert_int_equal(hits_of(1000, SHAPE_STEPS_MAX - 3), 1);
    assert_int_equal(hits_of(1000, SHAPE_STEPS_MAX + 1), 0);
}

int main(void)
{
    static const struct CMUnitTest TESTS[] = {
        cmocka_unit_test(test_tells_the_same),     cmocka_unit_test(test_knows_again),
        cmocka_unit_test(test_forgets_the_oldest), cmocka_unit_test(test_strange_documents),
        cmocka_unit_test(test_bounds),
    };

    return cmocka_run_group_tests(TESTS, NULL, NULL);
}
