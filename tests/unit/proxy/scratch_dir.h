/*
 * scratch_dir.h - a folder for one test, removed after it.
 */
#ifndef TESTS_UNIT_PROXY_SCRATCH_DIR_H
#define TESTS_UNIT_PROXY_SCRATCH_DIR_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

struct scratch_dir {
    char path[64];
};

static inline void scratch_make(struct scratch_dir *dir)
{
    snprintf(dir->path, sizeof(dir->path), "/tmp/tollgate-test-XXXXXX");
    ASSERT(mkdtemp(dir->path));
}

static inline int scratch_remove_one(const char *path, const struct stat *status, int kind,
                                     struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

static inline void scratch_remove(struct scratch_dir *dir)
{
    (void)nftw(dir->path, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* path of name in the folder, in out. */
static inline const char *scratch_path(const struct scratch_dir *dir, const char *name,
                                       char out[256])
{
    snprintf(out, 256, "%s/%s", dir->path, name);
    return out;
}

static inline void scratch_write(const struct scratch_dir *dir, const char *name,
                                 const char *bytes, size_t n)
{
    char path[256];
    FILE *file = fopen(scratch_path(dir, name, path), "we");

    ASSERT(file && fwrite(bytes, 1, n, file) == n && fclose(file) == 0);
}

#endif
