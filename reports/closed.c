/*
 * closed.c - the folder of closed months: reading, checking; see closed.h.
 */
#include "reports/closed.h"

#include <cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/datetime.h"
#include "reports/files.h"

enum { FOLDER_BYTES = 64 };

static bool is_month(const char *name)
{
    size_t n = strlen(name);

    if (n != CLOSED_MONTH_TEXT - 1 || name[4] != '-')
        return false;
    for (size_t i = 0; i < n; i++) {
        if (i != 4 && (name[i] < '0' || name[i] > '9'))
            return false;
    }
    return true;
}

static int by_month(const void *a, const void *b)
{
    return strcmp(a, b);
}

enum rc closed_list(const char *state_dir, struct closed_months *out, struct fail *fail)
{
    char path[4096];
    struct dirent *entry;
    enum rc rc = RC_OK;
    DIR *dir;

    out->n = 0;
    *fail = (struct fail){0};
    if (!state_dir)
        return RC_OK;
    if (snprintf(path, sizeof(path), "%s/closed", state_dir) >= (int)sizeof(path))
        return RC_OK;
    dir = opendir(path);
    if (!dir && errno == ENOENT)
        return RC_OK;
    if (!dir) {
        *fail = (struct fail){.rc = RC_IO, .sys = errno, .doing = "read the closed months"};
        return RC_IO;
    }
    while (rc == RC_OK && (errno = 0, entry = readdir(dir))) {
        if (!is_month(entry->d_name))
            continue;
        if (out->n == CLOSED_MONTHS_MAX)
            rc = RC_LIMIT;
        else
            memcpy(out->at[out->n++], entry->d_name, CLOSED_MONTH_TEXT);
    }
    if (rc == RC_OK && errno != 0) { /* one that is not seen would be open again */
        *fail = (struct fail){.rc = RC_IO, .sys = errno, .doing = "read the closed months"};
        rc = RC_IO;
    } else if (rc == RC_LIMIT) {
        *fail = (struct fail){.rc = RC_LIMIT, .doing = "list that many closed months"};
    }
    (void)closedir(dir);
    if (out->n)
        qsort(out->at, out->n, sizeof(out->at[0]), by_month);
    return rc;
}

bool closed_has(const struct closed_months *months, const char *month)
{
    for (size_t i = 0; i < months->n; i++) {
        if (strcmp(months->at[i], month) == 0)
            return true;
    }
    return false;
}

enum rc closed_read(const char *state_dir, const char *month, const char *name, char **text,
                    size_t *n, struct fail *fail)
{
    char folder[FOLDER_BYTES];

    (void)snprintf(folder, sizeof(folder), "closed/%s", month);
    return files_read(state_dir, folder, name, "", text, n, fail);
}

enum rc closed_sheet(const char *state_dir, const char *month, const char *name,
                     struct sheet *out, struct fail *fail)
{
    char file[FOLDER_BYTES], *text;
    size_t n;
    enum rc rc;

    (void)snprintf(file, sizeof(file), "%s.sheet", name);
    rc = closed_read(state_dir, month, file, &text, &n, fail);
    if (rc != RC_OK)
        return rc == RC_STATE ? RC_STATE : RC_IO;
    rc = sheet_thaw(strv_make(text, n), out);
    free(text);
    if (rc == RC_OK)
        return RC_OK;
    *fail = (struct fail){.rc = RC_IO, .doing = "read a closed month: it is damaged"};
    return RC_IO;
}

enum rc closed_as_of(const char *state_dir, const char *month, int64_t *us, uint64_t *seq,
                     struct fail *fail)
{
    const cJSON *as_of, *line;
    enum rc rc = RC_IO;
    cJSON *json;
    char *text;
    size_t n;

    if (closed_read(state_dir, month, "manifest.json", &text, &n, fail) != RC_OK)
        return RC_IO;
    json = cJSON_ParseWithLength(text, n);
    as_of = cJSON_GetObjectItemCaseSensitive(json, "as_of");
    line = cJSON_GetObjectItemCaseSensitive(json, "ledger_seq");
    if (cJSON_IsString(as_of) && cJSON_IsNumber(line) && line->valuedouble >= 0 &&
        line->valuedouble < (double)(UINT64_C(1) << 53) &&
        datetime_parse(strv_z(as_of->valuestring), us)) {
        *seq = (uint64_t)line->valuedouble;
        rc = RC_OK;
    } else {
        *fail = (struct fail){.rc = RC_IO, .doing = "read a closed month: it is damaged"};
    }
    cJSON_Delete(json);
    free(text);
    return rc;
}

/* ---- checking ------------------------------------------------------------------------------ */

static void hash_of(struct strv text, char hex[SHA256_HEX])
{
    unsigned char hash[SHA256_BYTES];

    digest_sha256(text, hash);
    digest_hex(hash, sizeof(hash), hex);
}

/* What is wrong with the file that a member of the manifest names; NULL: it has the hash that is given. */
static enum rc check_file(const char *state_dir, const char *month, const cJSON *file,
                          const char **wrong, struct fail *fail)
{
    char hex[SHA256_HEX], *text;
    size_t n;
    enum rc rc;

    *wrong = "manifest.json is damaged";
    if (!cJSON_IsString(file) || !file->string || strchr(file->string, '/'))
        return RC_OK;
    rc = closed_read(state_dir, month, file->string, &text, &n, fail);
    *wrong = "a file is missing";
    if (rc != RC_OK)
        return rc == RC_STATE ? RC_OK : rc;
    hash_of(strv_make(text, n), hex);
    *wrong = strcmp(hex, file->valuestring) == 0 ? NULL : "a file was changed since it was closed";
    free(text);
    return RC_OK;
}

/*
 * The first thing wrong with a month, or NULL; hash becomes that of its manifest.  A failure is of
 * the system, and says nothing of the month.
 */
static enum rc check_month(const char *state_dir, const char *month, const char *before,
                           char hash[SHA256_HEX], const char **wrong, struct fail *fail)
{
    const cJSON *file, *files, *previous;
    cJSON *json;
    char *text;
    size_t n;
    enum rc rc = closed_read(state_dir, month, "manifest.json", &text, &n, fail);

    *wrong = "manifest.json is missing";
    if (rc != RC_OK)
        return rc == RC_STATE ? RC_OK : rc;
    *wrong = NULL;
    hash_of(strv_make(text, n), hash);
    errno = 0;
    json = cJSON_ParseWithLength(text, n);
    free(text);
    if (!json && errno == ENOMEM) {
        *fail = (struct fail){.rc = RC_IO, .sys = ENOMEM, .doing = "read a closed month"};
        return RC_IO;
    }
    previous = cJSON_GetObjectItemCaseSensitive(json, "previous_sha256");
    files = cJSON_GetObjectItemCaseSensitive(json, "files");
    if (!cJSON_IsObject(files) || !files->child)
        *wrong = "manifest.json is damaged";
    else if (strcmp(cJSON_IsString(previous) ? previous->valuestring : "", before) != 0)
        *wrong = "the manifest of the month before it was changed";
    cJSON_ArrayForEach(file, files)
    {
        if (rc == RC_OK && !*wrong)
            rc = check_file(state_dir, month, file, wrong, fail);
    }
    cJSON_Delete(json);
    return rc;
}

enum rc closed_verify(const char *state_dir, struct buf *said, struct fail *fail)
{
    struct closed_months months;
    char before[SHA256_HEX] = "", hash[SHA256_HEX] = "";
    bool good = true;
    enum rc rc = closed_list(state_dir, &months, fail);

    for (size_t i = 0; rc == RC_OK && i < months.n; i++) {
        const char *wrong;

        rc = check_month(state_dir, months.at[i], before, hash, &wrong, fail);
        if (rc != RC_OK)
            break;
        good &= wrong == NULL;
        rc = buf_printf(said, "%s  %s  sha256 %s\n", months.at[i], wrong ? wrong : "good", hash);
        memcpy(before, hash, sizeof(before));
    }
    return rc == RC_OK && !good ? RC_BAD : rc;
}
