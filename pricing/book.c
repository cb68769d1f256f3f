/* Loading a price book, its memory, and the questions about its providers. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/xalloc.h"
#include "pricing/book_int.h"

/* ---- making ----------------------------------------------------------------- */

void *build_alloc(struct build *b, size_t n)
{
    void *p = arena_alloc(&b->book->arena, n);

    if (!p && !b->is_full) {
        b->is_full = true;
        build_problem(b, STRV_NONE, STRV_NONE, NULL, "price book over %d MiB; make it smaller",
                      BOOK_ARENA_MAX >> 20);
    }
    return p;
}

void *build_grow(void *array, size_t *n, size_t *room, size_t size)
{
    if (*n == *room) {
        *room = *room ? *room * 2 : 16;
        array = xrealloc(array, *room * size);
    }
    memset((char *)array + *n * size, 0, size);
    ++*n;
    return array;
}

static const char *text_find(struct strv text, const char *from, const char *word)
{
    char quoted[MODEL_ID_MAX_BYTES + 3];
    size_t left = text.n - (size_t)(from - text.p);
    int n = snprintf(quoted, sizeof(quoted), "\"%s\"", word);

    if (n < 0 || (size_t)n >= sizeof(quoted))
        return NULL;
    return memmem(from, left, quoted, (size_t)n);
}

int text_line(struct strv text, struct strv provider, struct strv model, const char *word)
{
    const char *at = text.p, *found;
    char *name;
    int line = 1;

    if (text.n == 0)
        return 0;
    if (provider.n > 0) {
        name = xmemdupz(provider.p, provider.n);
        found = text_find(text, at, name);
        free(name);
        at = found ? found : at;
    }
    if (model.n > 0) {
        const char *next = at;

        name = xmemdupz(model.p, model.n);
        found = NULL;
        /* An entry's own id stands behind "id"; other places may name the model too. */
        while ((next = text_find(text, next, name)) != NULL && !found) {
            const char *before = next;

            while (before > text.p && strchr(" \t:", before[-1]))
                before--;
            if (before - text.p >= 4 && memcmp(before - 4, "\"id\"", 4) == 0)
                found = next;
            next += model.n;
        }
        free(name);
        at = found ? found : at;
    }
    if (word) {
        found = text_find(text, at, word);
        at = found ? found : at;
    }
    for (const char *p = text.p; p < at; p++)
        line += *p == '\n';
    return line;
}

void build_problem(struct build *b, struct strv provider, struct strv model, const char *word,
                   const char *format, ...)
{
    const char *name = b->file ? b->file->name : "price book";
    char text[640];
    int line = 0;
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    /* Looking for a line reads the file again: only for those that are kept. */
    if (b->file && b->problems->n < PROBLEMS_MAX && (provider.n > 0 || word))
        line = text_line(b->file->text, provider, model, word);
    problems_add(b->problems, name, line, "%s", text);
}

/* ---- hash ------------------------------------------------------------------- */

static void hash_field(struct buf *all, const char *text)
{
    /* Length first, so that no two lists of fields give the same bytes. */
    if (text)
        (void)!buf_printf(all, "%zu:%s", strlen(text), text);
    else
        (void)!buf_printf(all, "-:");
}

static void book_make_hash(struct book *book, const struct book_source *files, size_t n_files,
                           const struct price_rule *rules, size_t n_rules)
{
    unsigned char digest[SHA256_BYTES];
    char hex[SHA256_HEX];
    struct buf all;

    buf_init(&all, BOOK_TOTAL_MAX);
    for (size_t i = 0; i < n_files; i++) {
        digest_sha256(files[i].text, digest);
        digest_hex(digest, SHA256_BYTES, hex);
        hash_field(&all, hex);
    }
    for (size_t i = 0; i < n_rules; i++) {
        const struct price_rule *rule = &rules[i];

        hash_field(&all, rule->upstream);
        hash_field(&all, rule->model);
        hash_field(&all, rule->provider);
        hash_field(&all, rule->tier);
        hash_field(&all, rule->multiplier);
        hash_field(&all, rule->meters);
        hash_field(&all, rule->from);
        hash_field(&all, rule->to);
        for (size_t k = 0; k < rule->n_rates; k++) {
            hash_field(&all, rule->rate_meters[k]);
            hash_field(&all, rule->rate_values[k]);
        }
        hash_field(&all, NULL);
    }
    digest_sha256(buf_view(&all), digest);
    digest_hex(digest, SHA256_BYTES, book->hash);
    buf_release(&all);
}

/* ---- loading ---------------------------------------------------------------- */

struct book *book_parse(const struct book_text *texts, size_t n_texts,
                        const struct price_rule *rules, size_t n_rules,
                        struct problems *problems)
{
    struct book *book = xcalloc(1, sizeof(*book));
    struct build b = {.book = book, .problems = problems};
    size_t before = problems->total;
    struct book_source *files = xcalloc(n_texts + 1, sizeof(files[0]));

    arena_init(&book->arena, BOOK_ARENA_MAX);
    for (unsigned m = 0; m < METER_COUNT; m++)
        book->units[m].falls_to = METER_COUNT;
    book->files = xcalloc(n_texts + 1, sizeof(book->files[0]));
    b.files = files;
    for (size_t i = 0; i < n_texts && !b.is_full; i++) {
        files[i] = (struct book_source){.name = texts[i].name, .text = texts[i].text};
        book->files[book->n_files++] = build_strv(&b, strv_z(texts[i].name));
        book_read(&b, &files[i], (uint32_t)i);
    }
    if (n_texts == 0)
        problems_add(problems, "price book", 0, "no file; name at least one under prices.book");
    else if (problems->total == before)
        book_compile(&b, rules, n_rules);
    if (problems->total == before) {
        book_make_hash(book, files, n_texts, rules, n_rules);
    } else {
        book_free(book);
        book = NULL;
    }
    build_share_release(&b);
    free(files);
    return book;
}

void book_free(struct book *book)
{
    if (!book)
        return;
    for (size_t i = 0; i < book->n_zones; i++)
        zone_close(book->zones[i]);
    free(book->zones);
    free(book->files);
    free(book->sources);
    free(book->providers);
    free(book->models);
    free(book->rules);
    free(book->adjustments);
    free(book->aliases);
    free(book->slots);
    free(book->sets);
    free(book->pool);
    arena_release(&book->arena);
    free(book);
}

/* ---- questions -------------------------------------------------------------- */

const char *book_hash(const struct book *book)
{
    return book->hash;
}

size_t book_model_count(const struct book *book)
{
    size_t n = 0;

    for (size_t i = 0; i < book->n_models; i++)
        n += !book->models[i].gone;
    return n;
}

size_t book_provider_index(const struct book *book, struct strv name)
{
    size_t i = 0;

    while (i < book->n_providers && book->providers[i].name.p != name.p) /* of book_provider */
        i++;
    if (i < book->n_providers && book->providers[i].name.n == name.n)
        return i;
    for (i = 0; i < book->n_providers && !strv_eq(book->providers[i].name, name);)
        i++;
    return i;
}

struct strv book_provider(const struct book *book, struct strv name, struct strv host)
{
    char lower[MODEL_ID_MAX_BYTES];

    for (size_t i = 0; i < book->n_providers; i++) {
        if (name.n > 0 && strv_eq_nocase(book->providers[i].name, name))
            return book->providers[i].name;
    }
    if (host.n == 0 || host.n > sizeof(lower))
        return STRV_NONE;
    for (size_t i = 0; i < host.n; i++)
        lower[i] =
            (char)(host.p[i] >= 'A' && host.p[i] <= 'Z' ? host.p[i] + 'a' - 'A' : host.p[i]);
    for (size_t i = 0; i < book->n_providers; i++) {
        for (size_t k = 0; k < book->providers[i].hosts.n; k++) {
            if (strv_glob(book->providers[i].hosts.at[k], strv_make(lower, host.n)))
                return book->providers[i].name;
        }
    }
    return STRV_NONE;
}

const struct source *book_source_find(const struct book *book, struct strv name)
{
    for (size_t i = 0; i < book->n_sources; i++) {
        if (strv_eq(book->sources[i].name, name))
            return &book->sources[i];
    }
    return NULL;
}
