#include "proxy/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/siphash.h"
#include "base/state_file.h"
#include "base/xalloc.h"
#include "proxy/config.h"
#include "proxy/config_json.h"
#include "reports/trail.h"

/* ---- look-up ---------------------------------------------------------------------- */

struct key_table {
    size_t mask;
    const struct key_config *slots[]; /* open addressing, at most half full */
};

/* Hashes of secrets are uniform: their first bytes spread as well as any. */
static size_t slot_of(const struct key_table *table, const unsigned char hash[SHA256_BYTES])
{
    uint64_t start;

    memcpy(&start, hash, sizeof(start));
    return (size_t)start & table->mask;
}

struct key_table *key_table_new(const struct key_config *keys, size_t n)
{
    struct key_table *table;
    size_t size = 8;

    while (size < 2 * n)
        size *= 2;
    table = xcalloc(1, sizeof(*table) + size * sizeof(table->slots[0]));
    table->mask = size - 1;
    for (size_t i = 0; i < n; i++) {
        size_t at = slot_of(table, keys[i].hash);

        while (table->slots[at])
            at = (at + 1) & table->mask;
        table->slots[at] = &keys[i];
    }
    return table;
}

void key_table_free(struct key_table *table)
{
    free(table);
}

const struct key_config *key_table_find(const struct key_table *table, struct strv secret)
{
    unsigned char hash[SHA256_BYTES];
    size_t at;

    digest_sha256(secret, hash);
    for (at = slot_of(table, hash); table->slots[at]; at = (at + 1) & table->mask) {
        if (digest_equal(table->slots[at]->hash, hash, SHA256_BYTES))
            return table->slots[at];
    }
    return NULL;
}

struct memo_slot {
    uint64_t tag[2];
    const struct key_config *key; /* NULL: free */
};

struct key_memo {
    const struct key_table *table;
    struct siphash_key sip;
    struct memo_slot slots[KEY_MEMO_SLOTS];
};

struct key_memo *key_memo_new(const struct key_table *table)
{
    struct key_memo *memo = xcalloc(1, sizeof(*memo));

    memo->table = table;
    memo->sip = siphash_key_random();
    return memo;
}

void key_memo_free(struct key_memo *memo)
{
    free(memo);
}

const struct key_config *key_memo_find(struct key_memo *memo, struct strv secret)
{
    const struct key_config *found;
    struct memo_slot *slot;
    uint64_t tag[2];

    siphash_128(&memo->sip, secret, tag);
    slot = &memo->slots[tag[0] % KEY_MEMO_SLOTS];
    if (slot->key && digest_equal(slot->tag, tag, sizeof(tag)))
        return slot->key;
    found = key_table_find(memo->table, secret);
    if (found)
        *slot = (struct memo_slot){{tag[0], tag[1]}, found};
    return found;
}

/* ---- secrets ---------------------------------------------------------------------- */

void key_secret_make(char out[KEY_SECRET_TEXT])
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned char bytes[SHA256_BYTES + 1] = {0}; /* 43 digits reach 2 bits past the last byte */
    size_t n = 3;

    digest_random(bytes, SHA256_BYTES);
    memcpy(out, "tg_", 3);
    for (size_t bit = 0; n < KEY_SECRET_TEXT - 1; bit += 6) {
        unsigned pair = (unsigned)bytes[bit / 8] << 8 | bytes[bit / 8 + 1];

        out[n++] = digits[pair >> (10 - bit % 8) & 63];
    }
    out[n] = '\0';
    explicit_bzero(bytes, sizeof(bytes));
}

void key_hash_text(struct strv secret, char out[KEY_HASH_TEXT])
{
    unsigned char hash[SHA256_BYTES];

    digest_sha256(secret, hash);
    memcpy(out, "sha256:", 7);
    digest_hex(hash, SHA256_BYTES, out + 7);
}

/* ---- the files -------------------------------------------------------------------- */

char *keys_path(const char *state_dir)
{
    return xasprintf("%s/keys.json", state_dir);
}

bool keys_make_folder(const char *folder, struct problems *problems)
{
    char *path = xstrdup(folder);
    struct stat status;
    bool good = true;

    for (char *p = path + 1; good && *path; p++) {
        char c = *p;

        if (c != '/' && c != '\0')
            continue;
        *p = '\0';
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            good = false;
        *p = c;
        if (c == '\0')
            break;
    }
    if (good && (stat(folder, &status) != 0 || !S_ISDIR(status.st_mode))) {
        errno = ENOTDIR;
        good = false;
    }
    if (!good)
        problems_add(problems, folder, 0, "could not make the folder: %s", strerror(errno));
    free(path);
    return good;
}

static bool write_all(int fd, const void *bytes, size_t n)
{
    const char *p = bytes;

    while (n > 0) {
        ssize_t done = write(fd, p, n);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        p += done;
        n -= (size_t)done;
    }
    return true;
}

/* 0 and the salt, SALT_WRONG where the file is none, else the errno of what failed. */
enum { SALT_WRONG = -1 };
static int read_salt(const char *path, unsigned char salt[SHA256_BYTES])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int result = fd < 0 ? errno : 0;
    size_t n = 0;

    while (result == 0 && n < SHA256_BYTES) {
        ssize_t got = read(fd, salt + n, SHA256_BYTES - n);

        if (got > 0)
            n += (size_t)got;
        else if (got == 0)
            result = SALT_WRONG;
        else if (errno != EINTR)
            result = errno;
    }
    if (fd >= 0)
        close(fd);
    if (result != 0)
        memset(salt, 0, SHA256_BYTES);
    return result;
}

bool keys_read_salt(const char *state_dir, unsigned char salt[SHA256_BYTES])
{
    char *path = xasprintf("%s/user.salt", state_dir);
    bool good = read_salt(path, salt) == 0;

    free(path);
    return good;
}

/* Writes a new file beside path and puts it in its place; *linked: only if path is not there.
 */
static bool replace_file(const char *state_dir, const char *path, const void *bytes, size_t n,
                         bool only_new)
{
    char *temporary = xasprintf("%s.%ld.new", path, (long)getpid());
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int folder = -1;
    int saved;
    bool good = false;

    if (fd < 0)
        goto out;
    state_file_own(fd, state_dir);
    if (!write_all(fd, bytes, n) || fsync(fd) != 0)
        goto out;
    /* link fails where another process was first; rename would take its place */
    if (only_new ? link(temporary, path) != 0 && errno != EEXIST : rename(temporary, path) != 0)
        goto out;
    folder = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    good = folder >= 0 && fsync(folder) == 0;
out:
    saved = errno;
    if (folder >= 0)
        close(folder);
    if (fd >= 0) {
        close(fd);
        if (only_new || !good)
            unlink(temporary);
    }
    free(temporary);
    errno = saved;
    return good;
}

bool keys_make_salt(const char *state_dir, unsigned char salt[SHA256_BYTES],
                    struct problems *problems)
{
    char *path = xasprintf("%s/user.salt", state_dir);
    bool good = true;

    if (access(path, F_OK) != 0) {
        digest_random(salt, SHA256_BYTES);
        good = replace_file(state_dir, path, salt, SHA256_BYTES, true);
        if (!good)
            problems_add(problems, path, 0, "could not write the file: %s", strerror(errno));
    }
    if (good) {
        int wrong = read_salt(path, salt);

        if (wrong == SALT_WRONG)
            problems_add(problems, path, 0,
                         "not a file of %d bytes: restore it from a backup, or remove it "
                         "(users then count as new ones)",
                         SHA256_BYTES);
        else if (wrong != 0)
            problems_add(problems, path, 0, "could not read: %s", strerror(wrong));
        good = wrong == 0;
    }
    free(path);
    return good;
}

/* The document of keys.json, or a new one; false with problems. */
static bool open_document(const char *path, struct config_json *doc, struct problems *problems)
{
    if (access(path, F_OK) == 0) {
        if (!config_json_read(doc, path, problems))
            return false;
    } else {
        doc->root = cJSON_CreateObject();
        cJSON_AddNumberToObject(doc->root, "version", 1);
        cJSON_AddArrayToObject(doc->root, "keys");
    }
    if (cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(doc->root, "keys")))
        return true;
    problems_add(problems, path, 0, "has no list \"keys\": restore it from a backup");
    return false;
}

static void note_change(const char *state_dir, const char *action, const char *name,
                        const char *before, const char *text)
{
    char after[SHA256_HEX];

    trail_hash(strv_z(text), after);
    trail_note(state_dir, &(struct trail_change){.action = action,
                                                 .object = "keys",
                                                 .detail = name,
                                                 .before = *before ? before : NULL,
                                                 .after = after});
}

bool keys_change(const char *state_dir, const char *action, const char *name,
                 keys_change_fn *change, void *arg, struct problems *problems)
{
    char *path = keys_path(state_dir);
    char *lock_path = xasprintf("%s/keys.lock", state_dir);
    struct config_json doc = {.root = NULL};
    char *text = NULL;
    int lock = -1;
    bool good = false;

    if (!keys_make_folder(state_dir, problems))
        goto out;
    lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock >= 0)
        state_file_own(lock, state_dir);
    if (lock < 0 || flock(lock, LOCK_EX) != 0) {
        problems_add(problems, lock_path, 0, "could not lock: %s", strerror(errno));
        goto out;
    }
    if (!open_document(path, &doc, problems))
        goto out;
    if (!change(cJSON_GetObjectItemCaseSensitive(doc.root, "keys"), arg, problems))
        goto out;
    text = cJSON_Print(doc.root);
    good = text && replace_file(state_dir, path, text, strlen(text), false);
    if (good)
        note_change(state_dir, action, name, doc.sha256, text);
    else
        problems_add(problems, path, 0, "could not write the file: %s", strerror(errno));
out:
    cJSON_free(text);
    config_json_release(&doc);
    if (lock >= 0)
        close(lock);
    free(lock_path);
    free(path);
    return good;
}
