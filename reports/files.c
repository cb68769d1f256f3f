/*
 * files.c - see files.h.
 */
#include "reports/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/datetime.h"
#include "base/digest.h"
#include "base/state_file.h"
#include "base/xalloc.h"

enum { PATH_BYTES = 4096, HASH_SHOWN = 16 };

static enum rc failed(struct fail *fail, const char *doing)
{
    *fail = (struct fail){.rc = RC_IO, .sys = errno, .doing = doing};
    return RC_IO;
}

/* False where the path is longer than the system takes. */
static bool path_of(char out[PATH_BYTES], const char *state_dir, const char *folder,
                    const char *name, const char *suffix)
{
    int n = snprintf(out, PATH_BYTES, "%s/%s%s%s%s", state_dir, folder, *name ? "/" : "", name,
                     suffix);

    if (n > 0 && n < PATH_BYTES)
        return true;
    errno = ENAMETOOLONG;
    return false;
}

/* Its owner is that of the folder around it. RC_IO with errno where it cannot be opened. */
static enum rc own_folder(const char *path, const char *around)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return RC_IO;
    state_file_own(fd, around);
    (void)close(fd);
    return RC_OK;
}

static enum rc make_folder(const char *state_dir, const char *folder, struct fail *fail)
{
    char path[PATH_BYTES], around[PATH_BYTES];

    if (!path_of(path, state_dir, folder, "", "") ||
        !path_of(around, state_dir, folder, "..", ""))
        return failed(fail, "name a folder of the state");
    if (mkdir(state_dir, 0700) != 0 && errno != EEXIST)
        return failed(fail, "make the state's folder");
    if ((mkdir(path, 0700) != 0 && errno != EEXIST) || own_folder(path, around) != RC_OK)
        return failed(fail, "make a folder of the state");
    return RC_OK;
}

/* False with errno where it ends before its size, or cannot be read. */
static bool read_whole(int fd, char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t got = read(fd, bytes, n);

        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0)
            errno = EIO;
        if (got <= 0)
            return false;
        bytes += got;
        n -= (size_t)got;
    }
    return true;
}

enum rc files_read(const char *state_dir, const char *folder, const char *name,
                   const char *suffix, char **text, size_t *n, struct fail *fail)
{
    char path[PATH_BYTES], *bytes;
    struct stat st;
    bool good;
    int fd;

    *text = NULL;
    if (!path_of(path, state_dir, folder, name, suffix))
        return failed(fail, "read a file of the state");
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        (void)failed(fail, "read a file of the state");
        return errno == ENOENT ? RC_STATE : RC_IO;
    }
    good = fstat(fd, &st) == 0;
    if (good && st.st_size > FILES_MAX_BYTES) {
        errno = EFBIG;
        good = false;
    }
    if (!good) {
        (void)failed(fail, "read a file of the state");
        (void)close(fd);
        return RC_IO;
    }
    bytes = xmalloc((size_t)st.st_size + 1);
    if (!read_whole(fd, bytes, (size_t)st.st_size)) {
        (void)failed(fail, "read a file of the state");
        (void)close(fd);
        free(bytes);
        return RC_IO;
    }
    (void)close(fd);
    bytes[st.st_size] = '\0';
    *text = bytes;
    *n = (size_t)st.st_size;
    return RC_OK;
}

static enum rc write_all(int fd, struct strv text)
{
    while (text.n) {
        ssize_t n = write(fd, text.p, text.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return RC_IO;
        text = strv_skip(text, (size_t)n);
    }
    return RC_OK;
}

static enum rc sync_folder(const char *state_dir, const char *folder)
{
    char path[PATH_BYTES];
    int fd = path_of(path, state_dir, folder, "", "")
                 ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                 : -1;
    int code = fd < 0 ? -1 : fsync(fd);

    if (fd >= 0)
        (void)close(fd);
    return code == 0 ? RC_OK : RC_IO;
}

enum rc files_replace(const char *state_dir, const char *folder, const char *name,
                      const char *suffix, struct strv text, struct fail *fail)
{
    char path[PATH_BYTES], fresh[PATH_BYTES], in[PATH_BYTES];
    enum rc rc = make_folder(state_dir, folder, fail);
    int fd;

    if (rc != RC_OK)
        return rc;
    if (!path_of(path, state_dir, folder, name, suffix) ||
        !path_of(fresh, state_dir, folder, name, ".new") || !path_of(in, state_dir, folder, "", ""))
        return failed(fail, "write a file of the state");
    fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return failed(fail, "write a file of the state");
    state_file_own(fd, in);
    if (write_all(fd, text) != RC_OK || fsync(fd) != 0) {
        rc = failed(fail, "write a file of the state");
        (void)close(fd);
        (void)unlink(fresh);
        return rc;
    }
    (void)close(fd);
    if (rename(fresh, path) != 0 || sync_folder(state_dir, folder) != RC_OK)
        return failed(fail, "write a file of the state");
    return RC_OK;
}

enum rc files_keep_history(const char *state_dir, const char *kind, struct strv text,
                           struct fail *fail)
{
    unsigned char hash[SHA256_BYTES];
    char hex[SHA256_HEX], name[128], now[DATETIME_TEXT];
    enum rc rc = make_folder(state_dir, "books", fail);

    if (rc != RC_OK)
        return rc;
    digest_sha256(text, hash);
    digest_hex(hash, sizeof(hash), hex);
    datetime_format_us(clock_wall_us(), now);
    (void)snprintf(name, sizeof(name), "%s-%s-%.*s", now, kind, HASH_SHOWN, hex);
    return files_replace(state_dir, "books/history", name, ".csv", text, fail);
}

enum rc files_lock(const char *state_dir, const char *folder, int *lock, struct fail *fail)
{
    char path[PATH_BYTES], in[PATH_BYTES];
    enum rc rc = make_folder(state_dir, folder, fail);
    int fd;

    *lock = -1;
    if (rc != RC_OK)
        return rc;
    if (!path_of(path, state_dir, folder, "lock", "") || !path_of(in, state_dir, folder, "", ""))
        return failed(fail, "lock a folder of the state");
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return failed(fail, "lock a folder of the state");
    state_file_own(fd, in);
    while (flock(fd, LOCK_EX) != 0) {
        if (errno != EINTR) {
            rc = failed(fail, "lock a folder of the state");
            (void)close(fd);
            return rc;
        }
    }
    *lock = fd;
    return RC_OK;
}

enum rc files_rename(const char *state_dir, const char *parent, const char *from,
                     const char *to, struct fail *fail)
{
    char old[PATH_BYTES], fresh[PATH_BYTES];

    if (!path_of(old, state_dir, from, "", "") || !path_of(fresh, state_dir, to, "", "") ||
        rename(old, fresh) != 0 || sync_folder(state_dir, parent) != RC_OK)
        return failed(fail, "name a folder of the state");
    return RC_OK;
}
