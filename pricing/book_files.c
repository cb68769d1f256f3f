/* The files of a price book: from paths to texts. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/xalloc.h"
#include "pricing/book_int.h"

struct loaded {
    struct book_text texts[BOOK_FILES_MAX];
    struct buf bytes[BOOK_FILES_MAX];
    char *names[BOOK_FILES_MAX];
    size_t n;
    size_t total;
    struct problems *problems;
};

static void load_problem(struct loaded *l, const char *path, int error)
{
    problems_add(l->problems, path, 0, "could not read: %s", strerror(error));
}

/* All of the open file into a buffer; a problem and false where that is not possible. */
static bool read_all(struct loaded *l, const char *path, FILE *file, struct buf *bytes)
{
    for (;;) {
        size_t n;

        if (buf_reserve(bytes, 1 << 16) != RC_OK) {
            problems_add(l->problems, path, 0, "is over %d MiB; split it", BOOK_FILE_MAX >> 20);
            return false;
        }
        n = fread(buf_tail(bytes), 1, 1 << 16, file);
        buf_commit(bytes, n);
        if (n == 0)
            break;
    }
    if (ferror(file)) {
        load_problem(l, path, errno);
        return false;
    }
    return true;
}

static void load_file(struct loaded *l, const char *path)
{
    struct buf bytes;
    struct stat st;
    FILE *file;

    if (l->n == BOOK_FILES_MAX) {
        if (l->total <= BOOK_TOTAL_MAX)
            problems_add(l->problems, path, 0, "more than %d price files", BOOK_FILES_MAX);
        l->total = (size_t)BOOK_TOTAL_MAX + 1;
        return;
    }
    file = fopen(path, "re");
    if (!file) {
        load_problem(l, path, errno);
        return;
    }
    buf_init(&bytes, BOOK_FILE_MAX + (1 << 17));
    if (fstat(fileno(file), &st) != 0) {
        load_problem(l, path, errno);
    } else if (!S_ISREG(st.st_mode)) {
        problems_add(l->problems, path, 0, "is not a file or folder");
    } else if (st.st_size > BOOK_FILE_MAX || l->total + (size_t)st.st_size > BOOK_TOTAL_MAX) {
        problems_add(l->problems, path, 0, "price files over %d MiB, or %d MiB in all",
                     BOOK_FILE_MAX >> 20, BOOK_TOTAL_MAX >> 20);
    } else if (read_all(l, path, file, &bytes)) {
        l->names[l->n] = xstrdup(path);
        l->bytes[l->n] = bytes;
        l->texts[l->n] = (struct book_text){.name = l->names[l->n], .text = buf_view(&bytes)};
        l->total += buf_len(&bytes);
        l->n++;
        bytes = (struct buf){.data = NULL};
    }
    buf_release(&bytes);
    (void)fclose(file);
}

static int is_json(const struct dirent *entry)
{
    struct strv name = strv_z(entry->d_name);

    return name.p[0] != '.' && strv_ends(name, STRV(".json"));
}

/* Order of bytes, so that it does not depend on a locale. */
static int entry_order(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void load_folder(struct loaded *l, const char *path)
{
    struct dirent **entries = NULL;
    int n = scandir(path, &entries, is_json, entry_order);

    if (n < 0) {
        load_problem(l, path, errno);
        return;
    }
    if (n == 0)
        problems_add(l->problems, path, 0, "holds no *.json");
    for (int i = 0; i < n; i++) {
        char *file = xasprintf("%s/%s", path, entries[i]->d_name);

        load_file(l, file);
        free(file);
        free(entries[i]);
    }
    free(entries);
}

struct book *book_load(const char *const *paths, size_t n_paths, const struct price_rule *rules,
                       size_t n_rules, struct problems *problems)
{
    struct loaded *l = xcalloc(1, sizeof(*l));
    size_t before = problems->total;
    struct book *book = NULL;

    l->problems = problems;
    for (size_t i = 0; i < n_paths; i++) {
        struct stat st;

        if (stat(paths[i], &st) != 0)
            load_problem(l, paths[i], errno);
        else if (S_ISDIR(st.st_mode))
            load_folder(l, paths[i]);
        else
            load_file(l, paths[i]);
    }
    if (problems->total == before)
        book = book_parse(l->texts, l->n, rules, n_rules, problems);
    for (size_t i = 0; i < l->n; i++) {
        buf_release(&l->bytes[i]);
        free(l->names[i]);
    }
    free(l);
    return book;
}
