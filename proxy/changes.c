#include "proxy/changes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "base/buf.h"
#include "base/datetime.h"
#include "base/jsonw.h"
#include "base/state_file.h"
#include "base/xalloc.h"
#include "reports/trail.h"

enum { LINE_MAX_BYTES = 16 << 10 };

static char *path_of(const char *state_dir)
{
    return xasprintf("%s/budget-changes.jsonl", state_dir);
}

static void put_text(struct jsonw *w, const char *name, const char *value)
{
    if (!value)
        return;
    jsonw_key(w, strv_z(name));
    jsonw_string(w, strv_z(value));
}

static void put_time(struct jsonw *w, const char *name, int64_t us)
{
    char text[DATETIME_TEXT];

    datetime_format_us(us, text);
    put_text(w, name, text);
}

static enum rc line_of(const struct change *c, struct buf *out)
{
    struct jsonw w;

    jsonw_start(&w, out);
    jsonw_object(&w);
    put_time(&w, "at", c->at_us);
    put_text(&w, "action", c->action);
    put_text(&w, "limit", c->limit);
    put_text(&w, "scope", c->scope);
    if (c->amount) {
        put_text(&w, "to", c->amount);
        jsonw_key(&w, STRV("to_units"));
        jsonw_uint(&w, c->raised);
        put_time(&w, "until", c->until_us);
    }
    put_text(&w, "who", c->who);
    put_text(&w, "why", c->why);
    jsonw_end(&w);
    if (jsonw_finish(&w) != RC_OK)
        return RC_LIMIT;
    return buf_append(out, "\n", 1);
}

/* As a line of the trail of all changes. */
static void note_in_trail(const char *state_dir, const struct change *c)
{
    char *action = xasprintf("budget %s", c->action), *until = NULL;
    char *object = xasprintf("limit%s%s%s%s", c->limit ? "/" : "s", c->limit ? c->limit : "",
                             c->scope ? " of " : "", c->scope ? c->scope : "");
    char time[DATETIME_TEXT], *detail;

    datetime_format_us(c->until_us, time);
    if (c->amount)
        until = xasprintf("to %s until %s", c->amount, time);
    detail = xasprintf("%s%s%s", until ? until : "", until && c->why ? ": " : "",
                       c->why ? c->why : "");
    trail_note(state_dir, &(struct trail_change){.at_us = c->at_us,
                                                 .actor = c->who,
                                                 .action = action,
                                                 .object = object,
                                                 .detail = *detail ? detail : NULL});
    free(detail);
    free(until);
    free(object);
    free(action);
}

enum rc changes_append(const char *state_dir, const struct change *change, struct fail *fail)
{
    char *path = path_of(state_dir);
    struct buf line;
    struct strv text;
    enum rc rc;
    int fd = -1;

    buf_init(&line, LINE_MAX_BYTES);
    rc = line_of(change, &line);
    text = buf_view(&line);
    *fail = (struct fail){.rc = rc, .doing = "write the line of a change"};
    if (rc != RC_OK)
        goto out;
    fail->doing = "append to budget-changes.jsonl";
    rc = RC_IO;
    fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0)
        state_file_own(fd, state_dir);
    if (fd >= 0 && write(fd, text.p, text.n) == (ssize_t)text.n && fdatasync(fd) == 0)
        rc = RC_OK;
    else
        *fail = (struct fail){.rc = RC_IO, .sys = errno, .doing = fail->doing};
    if (rc == RC_OK)
        note_in_trail(state_dir, change);
out:
    if (fd >= 0)
        close(fd);
    buf_release(&line);
    free(path);
    return rc;
}

static const char *member_text(const cJSON *line, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(line, name);

    return cJSON_IsString(item) ? item->valuestring : NULL;
}

/* "to_units" as it was written: cJSON's numbers are doubles. */
static bool units_of(struct strv line, uint64_t *n)
{
    static const char name[] = "\"to_units\":";
    const char *at = memmem(line.p, line.n, name, sizeof(name) - 1);
    struct strv rest;
    size_t digits = 0;

    if (!at)
        return false;
    rest = strv_skip(line, (size_t)(at - line.p) + sizeof(name) - 1);
    while (digits < rest.n && rest.p[digits] >= '0' && rest.p[digits] <= '9')
        digits++;
    return strv_parse_u64(strv_head(rest, digits), LIMIT_VALUE_MAX, n);
}

static void apply_line(struct strv text, struct limit_def *defs, size_t n)
{
    cJSON *line = cJSON_ParseWithLength(text.p, text.n);
    const char *action = member_text(line, "action"), *limit = member_text(line, "limit");
    const char *until = member_text(line, "until");
    int64_t until_us;
    uint64_t raised;

    if (action && limit && until && strcmp(action, "raise") == 0 &&
        datetime_parse(strv_z(until), &until_us) && units_of(text, &raised)) {
        for (size_t i = 0; i < n; i++) {
            if (strcmp(defs[i].name, limit) != 0)
                continue;
            defs[i].raised = raised;
            defs[i].raised_until_us = until_us;
        }
    }
    cJSON_Delete(line);
}

void changes_apply(const char *state_dir, struct limit_def *defs, size_t n)
{
    char *path = path_of(state_dir), *line = NULL;
    FILE *file = fopen(path, "re");
    size_t size = 0, total = 0;
    ssize_t got;

    free(path);
    if (!file)
        return;
    while ((got = getline(&line, &size, file)) > 0 && total < CHANGES_MAX_BYTES) {
        total += (size_t)got;
        if (got < LINE_MAX_BYTES)
            apply_line(strv_make(line, (size_t)got), defs, n);
    }
    free(line);
    (void)fclose(file);
}

void changes_print(const char *state_dir)
{
    char *path = path_of(state_dir), *line = NULL;
    FILE *file = fopen(path, "re");
    size_t size = 0;

    free(path);
    if (!file)
        return;
    while (getline(&line, &size, file) > 0)
        (void)fputs(line, stdout);
    free(line);
    (void)fclose(file);
}
