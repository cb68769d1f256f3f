/*
 * The JSON scanner: the same told whole and in pieces, and agreement with cJSON on
 * what the top-level members of a document are; the same told of documents that are read by
 * comparing them with one before (metering/usage/shape.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/check.h"
#include "metering/usage/jscan.h"
#include "metering/usage/shape.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum node { N_SKIP, N_ROOT, N_A, N_B, N_DEEP, N_TEXT, N_COUNT };

static const struct jscan_edge ROOT_EDGES[] = {JSCAN_EDGE("a", N_A), JSCAN_EDGE("model", N_B),
                                               JSCAN_EDGE("d", N_DEEP),
                                               JSCAN_EDGE("text", N_TEXT)};
static const struct jscan_node NODES[N_COUNT] = {
    [N_ROOT] = {JSCAN_EDGES(ROOT_EDGES), 0, 0, JSCAN_ENTER | JSCAN_FOLD},
    [N_A] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_B] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_DEEP] = {JSCAN_EDGES(ROOT_EDGES), N_DEEP, N_DEEP, JSCAN_WANT | JSCAN_ENTER},
    [N_TEXT] = {NULL, 0, N_TEXT, N_TEXT, JSCAN_COUNT},
};

/* All that was told, as a hash, and the last values of two top-level members. */
struct told {
    uint64_t hash;
    unsigned events;
    struct {
        bool given;
        enum jscan_type type;
        bool escaped, cut;
        size_t n;
        char text[JSCAN_TEXT_MAX];
    } last[2];
};

static void mix(struct told *t, uint64_t value)
{
    t->hash = (t->hash ^ value) * UINT64_C(0x100000001b3);
}

static void on_event(void *arg, const struct jscan_event *e)
{
    struct told *t = arg;

    t->events++;
    mix(t, (uint64_t)e->what);
    mix(t, (uint64_t)e->type);
    mix(t, e->node);
    mix(t, e->begin);
    mix(t, e->end);
    mix(t, e->text_bytes);
    mix(t, (uint64_t)(e->escaped * 2 + e->cut));
    mix(t, e->text.n ? strv_hash(e->text) : 0);
    ASSERT(e->text.n <= JSCAN_TEXT_MAX);
    if ((e->node == N_A || e->node == N_B) && e->what != JSCAN_AT_LEAVE) {
        unsigned i = e->node == N_B;

        t->last[i].given = true;
        t->last[i].type = e->type;
        t->last[i].escaped = e->escaped;
        t->last[i].cut = e->cut;
        t->last[i].n = e->text.n;
        if (e->text.n > 0)
            memcpy(t->last[i].text, e->text.p, e->text.n);
    }
}

static enum rc scan(const uint8_t *bytes, size_t n, bool loose, size_t step, struct told *t,
                    struct jscan *s)
{
    memset(t, 0, sizeof(*t));
    jscan_start(s, NODES, N_ROOT, loose, on_event, t);
    for (size_t at = 0; at < n; at += step) {
        size_t piece_n = n - at < step ? n - at : step;
        char *piece = malloc(piece_n); /* a block of its own: reads past it are seen */

        ASSERT(piece != NULL);
        memcpy(piece, bytes + at, piece_n);
        (void)!jscan_feed(s, strv_make(piece, piece_n));
        free(piece);
    }
    return jscan_finish(s);
}

static void check_member(const cJSON *root, const char *name, const struct told *t, unsigned i)
{
    const cJSON *item, *last = NULL;
    char decoded[JSCAN_TEXT_MAX];
    size_t n;

    cJSON_ArrayForEach(item, root)
    {
        if (item->string != NULL && strcmp(item->string, name) == 0)
            last = item;
    }
    ASSERT((last != NULL) == t->last[i].given);
    if (last == NULL)
        return;
    switch (t->last[i].type) {
    case JSCAN_OBJECT:
        ASSERT(cJSON_IsObject(last));
        break;
    case JSCAN_ARRAY:
        ASSERT(cJSON_IsArray(last));
        break;
    case JSCAN_STRING:
        ASSERT(cJSON_IsString(last));
        if (!t->last[i].cut && jscan_unescape(strv_make(t->last[i].text, t->last[i].n), decoded,
                                              sizeof(decoded), &n))
            ASSERT(strncmp(last->valuestring, decoded, strnlen(decoded, n)) == 0);
        break;
    case JSCAN_NUMBER:
        ASSERT(cJSON_IsNumber(last));
        break;
    case JSCAN_TRUE:
        ASSERT(cJSON_IsTrue(last));
        break;
    case JSCAN_FALSE:
        ASSERT(cJSON_IsFalse(last));
        break;
    case JSCAN_NULL:
        ASSERT(cJSON_IsNull(last));
        break;
    }
}

/* cJSON takes more than RFC 8259 allows, but no less (nesting, lone surrogates and NUL aside).
 */
static void compare(const uint8_t *bytes, size_t n, const struct told *t)
{
    cJSON *root;
    bool special = memmem(bytes, n, "\\u", 2) != NULL || memchr(bytes, 0, n) != NULL;

    root = cJSON_ParseWithLength((const char *)bytes, n);
    if (root == NULL) {
        ASSERT(special || n > 60); /* its numbers end at 63 bytes */
        return;
    }
    if (cJSON_IsObject(root) && !special) {
        check_member(root, "a", t, 0);
        check_member(root, "model", t, 1);
    }
    cJSON_Delete(root);
}

static void check_like(struct shapes *known, const uint8_t *bytes, size_t n, bool loose)
{
    static struct told told, like;
    static struct jscan s, t;
    enum rc rc = scan(bytes, n, loose, n + 1, &told, &s);
    char *copy = malloc(n);

    ASSERT(copy != NULL);
    memcpy(copy, bytes, n);
    memset(&like, 0, sizeof(like));
    jscan_start(&t, NODES, N_ROOT, loose, on_event, &like);
    (void)!shapes_feed(known, &t, strv_make(copy, n));
    ASSERT(jscan_finish(&t) == rc);
    ASSERT(like.events == told.events && like.hash == told.hash);
    ASSERT(t.counted_bytes == s.counted_bytes);
    ASSERT(rc != RC_OK || t.folded == s.folded);
    free(copy);
}

/* The document, again, and others that differ from it in one byte each. */
static void check_shapes(const uint8_t *bytes, size_t n, bool loose)
{
    static const char OTHERS[] = "\"\\1x}{\n0";
    struct shapes *known = shapes_new();
    uint8_t *other;

    if (n == 0 || n > 512) {
        shapes_free(known);
        return;
    }
    other = malloc(n);
    ASSERT(other != NULL);
    check_like(known, bytes, n, loose);
    check_like(known, bytes, n, loose);
    for (size_t i = 0; i < n; i++) {
        memcpy(other, bytes, n);
        other[i] = (uint8_t)OTHERS[(i + bytes[0]) % (sizeof(OTHERS) - 1)];
        check_like(known, other, n, loose);
    }
    free(other);
    shapes_free(known);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static struct told whole, pieces;
    static struct jscan s;

    for (int loose = 0; loose < 2; loose++) {
        enum rc rc = scan(bytes, n, loose, n + 1, &whole, &s);
        uint64_t counted = s.counted_bytes;
        bool folded = s.folded;

        ASSERT(counted <= n);
        for (size_t step = 1; step <= 17; step += 4) {
            ASSERT(scan(bytes, n, loose, step, &pieces, &s) == rc);
            ASSERT(pieces.events == whole.events && pieces.hash == whole.hash);
            ASSERT(s.counted_bytes == counted && s.folded == folded);
        }
        if (rc == RC_OK && loose == 0)
            compare(bytes, n, &whole);
        check_shapes(bytes, n, loose);
    }
    return 0;
}
