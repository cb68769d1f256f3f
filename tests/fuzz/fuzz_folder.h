/*
 * fuzz_folder.h - a scratch folder for targets that read files: a configuration, a price book
 * of one model (so that the book costs next to nothing), and whatever the target puts there.
 * It is gone when the program ends in good order.
 */
#ifndef TESTS_FUZZ_FUZZ_FOLDER_H
#define TESTS_FUZZ_FUZZ_FOLDER_H

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"

enum { FUZZ_PATH_BYTES = 256 };

static char fuzz_folder[FUZZ_PATH_BYTES];

static const char fuzz_book[] =
    "{\"schema\":\"tollgate-prices/1\",\"version\":\"1\",\"currency\":\"USD\",\"units\":{"
    "\"in\":{\"per\":1000000,\"of\":\"token\",\"dir\":\"in\"},"
    "\"out\":{\"per\":1000000,\"of\":\"token\",\"dir\":\"out\"}},\"providers\":{"
    "\"openai\":{\"hosts\":[\"api.openai.com\"],\"models\":[{\"id\":\"m\",\"kind\":\"chat\","
    "\"ids\":[\"m\"],\"prices\":[{\"from\":null,\"to\":null,\"rates\":{\"in\":\"1\",\"out\":"
    "\"2\"}"
    "}],\"prov\":{\"src\":\"x\",\"confidence\":\"confirmed\"}}]}}}";

/* The path of a file in the folder; valid until the fourth call after this. */
static inline const char *fuzz_path(const char *name)
{
    static char paths[4][FUZZ_PATH_BYTES * 2];
    static unsigned turn;
    char *path = paths[turn++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", fuzz_folder, name);
    return path;
}

static inline void fuzz_write(const char *name, const void *bytes, size_t n)
{
    int fd = open(fuzz_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    ASSERT(fd >= 0);
    ASSERT(write(fd, bytes, n) == (ssize_t)n);
    close(fd);
}

/* Removes what is in the folder at path, and it. */
static inline void fuzz_remove(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;

    while (dir && (entry = readdir(dir)) != NULL) {
        char inner[FUZZ_PATH_BYTES * 2 + 256];

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
        if (unlink(inner) != 0)
            fuzz_remove(inner);
    }
    if (dir)
        closedir(dir);
    (void)rmdir(path);
}

static void fuzz_folder_remove(void)
{
    fuzz_remove(fuzz_folder);
}

/* Makes it, with pricing/book/one.json. */
static inline void fuzz_folder_make(void)
{
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

    snprintf(fuzz_folder, sizeof(fuzz_folder), "%s/tollgate-fuzz-XXXXXX", base);
    ASSERT(mkdtemp(fuzz_folder));
    ASSERT(mkdir(fuzz_path("pricing"), 0700) == 0);
    ASSERT(mkdir(fuzz_path("pricing/book"), 0700) == 0);
    fuzz_write("pricing/book/one.json", fuzz_book, sizeof(fuzz_book) - 1);
    atexit(fuzz_folder_remove);
}

#endif
