#include "proxy/alert_store.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"

struct alert_firing *alert_store_find(struct alert_store *s, const char *group)
{
    for (size_t i = 0; i < s->n_firing; i++) {
        if (strcmp(s->firing[i].group, group) == 0)
            return &s->firing[i];
    }
    return NULL;
}

struct alert_firing *alert_store_add(struct alert_store *s, const char *group)
{
    struct alert_firing *f;

    if (s->n_firing == ALERT_FIRING_MAX)
        return NULL;
    if (s->n_firing == s->cap_firing) {
        s->cap_firing = s->cap_firing ? s->cap_firing * 2 : 16;
        s->firing = xrealloc(s->firing, s->cap_firing * sizeof(*s->firing));
    }
    f = &s->firing[s->n_firing++];
    memset(f, 0, sizeof(*f));
    alert_text(f->group, sizeof(f->group), "%s", group);
    s->dirty = true;
    return f;
}

void alert_store_drop(struct alert_store *s, size_t i)
{
    memmove(&s->firing[i], &s->firing[i + 1], (s->n_firing - i - 1) * sizeof(*s->firing));
    s->n_firing--;
    s->dirty = true;
}

void alert_store_put(struct alert_store *s, const char *channel, const struct alert *a,
                     bool is_fallback, int64_t due_us)
{
    struct alert_waiting *w;

    if (s->n_waiting == ALERT_OUTBOX_MAX) {
        log_line(LOG_ERROR, "alerts", "too many wait: one is dropped", "channel=%s", channel);
        return;
    }
    if (s->n_waiting == s->cap_waiting) {
        s->cap_waiting = s->cap_waiting ? s->cap_waiting * 2 : 16;
        s->waiting = xrealloc(s->waiting, s->cap_waiting * sizeof(*s->waiting));
    }
    w = &s->waiting[s->n_waiting++];
    memset(w, 0, sizeof(*w));
    alert_text(w->channel, sizeof(w->channel), "%s", channel);
    w->alert = *a;
    w->is_fallback = is_fallback;
    w->next_us = due_us;
    s->dirty = true;
}

void alert_store_take(struct alert_store *s, size_t i)
{
    memmove(&s->waiting[i], &s->waiting[i + 1], (s->n_waiting - i - 1) * sizeof(*s->waiting));
    s->n_waiting--;
    s->dirty = true;
}

/* ---- the file -------------------------------------------------------------------------- */

static void add_time(cJSON *to, const char *name, int64_t us)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%lld", (long long)us);
    cJSON_AddStringToObject(to, name, text);
}

static int64_t take_time(const cJSON *from, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(from, name);
    uint64_t us = 0;

    if (!cJSON_IsString(item) || !strv_parse_u64(strv_z(item->valuestring), INT64_MAX, &us))
        return 0;
    return (int64_t)us;
}

static unsigned take_count(const cJSON *from, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(from, name);

    return cJSON_IsNumber(item) && item->valueint > 0 ? (unsigned)item->valueint : 0;
}

static char *as_text(const struct alert_store *s)
{
    cJSON *json = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(json, "firing");
    char *text;

    for (size_t i = 0; i < s->n_firing; i++) {
        const struct alert_firing *f = &s->firing[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "group", f->group);
        cJSON_AddNumberToObject(item, "level", (double)f->level);
        add_time(item, "expires_us", f->expires_us);
        cJSON_AddItemToObject(item, "told", alert_to_json(&f->told));
        cJSON_AddItemToArray(list, item);
    }
    list = cJSON_AddArrayToObject(json, "waiting");
    for (size_t i = 0; i < s->n_waiting; i++) {
        const struct alert_waiting *w = &s->waiting[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "channel", w->channel);
        cJSON_AddNumberToObject(item, "attempts", (double)w->attempts);
        cJSON_AddBoolToObject(item, "fallback", w->is_fallback);
        add_time(item, "next_us", w->next_us);
        cJSON_AddItemToObject(item, "alert", alert_to_json(&w->alert));
        cJSON_AddItemToArray(list, item);
    }
    add_time(json, "digest_us", s->digest_us);
    text = cJSON_Print(json);
    cJSON_Delete(json);
    return text;
}

static bool take_all(struct alert_store *s, const cJSON *json)
{
    const cJSON *item;
    struct alert told;

    if (!cJSON_IsObject(json))
        return false;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "firing"))
    {
        const cJSON *group = cJSON_GetObjectItemCaseSensitive(item, "group");
        struct alert_firing *f;
        if (!cJSON_IsString(group) ||
            !alert_from_json(cJSON_GetObjectItemCaseSensitive(item, "told"), &told))
            return false;
        f = alert_store_add(s, group->valuestring);
        if (!f)
            break;
        f->level = take_count(item, "level");
        f->expires_us = take_time(item, "expires_us");
        f->told = told;
    }
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "waiting"))
    {
        const cJSON *channel = cJSON_GetObjectItemCaseSensitive(item, "channel");
        if (!cJSON_IsString(channel) ||
            !alert_from_json(cJSON_GetObjectItemCaseSensitive(item, "alert"), &told))
            return false;
        alert_store_put(s, channel->valuestring, &told,
                        cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "fallback")),
                        take_time(item, "next_us"));
        s->waiting[s->n_waiting - 1].attempts = take_count(item, "attempts");
    }
    s->digest_us = take_time(json, "digest_us");
    return true;
}

static char *read_file(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    size_t got = 0;

    if (!file)
        return NULL;
    do {
        text = xrealloc(text, *n + 65536);
        got = fread(text + *n, 1, 65536, file);
        *n += got;
    } while (got > 0 && *n < ALERT_STORE_MAX_BYTES);
    (void)fclose(file);
    return text;
}

void alert_store_open(struct alert_store *s, const char *path)
{
    size_t n = 0;
    char *text = read_file(path, &n);
    cJSON *json = text ? cJSON_ParseWithLength(text, n) : NULL;

    memset(s, 0, sizeof(*s));
    s->path = xstrdup(path);
    if (text && !take_all(s, json)) {
        char *bad = xasprintf("%s.bad", path);
        (void)rename(path, bad);
        log_line(LOG_ERROR, "alerts", "what was told before cannot be read; it is set aside",
                 "file=%s", bad);
        free(bad);
        s->n_firing = s->n_waiting = 0;
        s->was_lost = true;
    }
    s->was_lost = s->was_lost || !text;
    cJSON_Delete(json);
    free(text);
    s->dirty = false;
}

enum rc alert_store_save(struct alert_store *s)
{
    char *unfinished, *text;
    bool good = false;
    int fd;

    if (!s->dirty)
        return RC_OK;
    unfinished = xasprintf("%s.tmp", s->path);
    text = as_text(s);
    fd = open(unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0 && text) {
        size_t n = strlen(text), at = 0;
        ssize_t put = 1;
        while (at < n && put > 0) {
            put = write(fd, text + at, n - at);
            at += put > 0 ? (size_t)put : 0;
        }
        good = at == n && fdatasync(fd) == 0;
    }
    if (fd >= 0)
        good = close(fd) == 0 && good;
    good = good && rename(unfinished, s->path) == 0;
    if (good)
        s->dirty = false;
    cJSON_free(text);
    free(unfinished);
    return good ? RC_OK : RC_IO;
}

void alert_store_close(struct alert_store *s)
{
    free(s->path);
    free(s->firing);
    free(s->waiting);
    memset(s, 0, sizeof(*s));
}
