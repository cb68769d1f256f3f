/*
 * trail.c - see trail.h.
 */
#include "reports/trail.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/datetime.h"
#include "base/digest.h"
#include "base/jsonw.h"
#include "base/state_file.h"
#include "base/utf8.h"
#include "base/xalloc.h"
#include "reports/by_value.h"

enum { PATH_BYTES = 4096, LOCK_STEP_MS = 10 };

static const char *const doing_append = "append to trail.jsonl";
static const char *const doing_read = "read trail.jsonl";

static enum rc failed(struct fail *fail, enum rc rc, const char *doing)
{
    *fail = (struct fail){.rc = rc, .sys = rc == RC_IO ? errno : 0, .doing = doing};
    return rc;
}

void trail_hash(struct strv bytes, char *out)
{
    unsigned char hash[SHA256_BYTES];

    digest_sha256(bytes, hash);
    digest_hex(hash, sizeof(hash), out);
}

/* Of /etc/passwd alone: no directory service is waited for. */
static bool find_user(uid_t uid, char *out, size_t n)
{
    FILE *file = fopen("/etc/passwd", "re");
    struct passwd entry, *found = NULL;
    char text[4096];

    while (file && fgetpwent_r(file, &entry, text, sizeof(text), &found) == 0) {
        if (found->pw_uid != uid)
            continue;
        (void)snprintf(out, n, "%s", found->pw_name);
        (void)fclose(file);
        return true;
    }
    if (file)
        (void)fclose(file);
    return false;
}

void trail_actor(char out[TRAIL_ACTOR_TEXT])
{
    const char *caller = geteuid() == 0 ? getenv("SUDO_USER") : NULL;

    if (caller && *caller)
        (void)snprintf(out, TRAIL_ACTOR_TEXT, "%s", caller);
    else if (!find_user(geteuid(), out, TRAIL_ACTOR_TEXT))
        (void)snprintf(out, TRAIL_ACTOR_TEXT, "uid %u", (unsigned)geteuid());
}

/* ---- lines --------------------------------------------------------------------------------- */

/* The most of a text that fits, without half a character. */
static struct strv shortened(struct strv text)
{
    size_t n = 0;

    if (text.n <= TRAIL_TEXT_MAX_BYTES)
        return text;
    while (n < TRAIL_TEXT_MAX_BYTES) {
        size_t step = utf8_sequence(strv_skip(text, n));

        step = step ? step : 1;
        if (n + step > TRAIL_TEXT_MAX_BYTES)
            break;
        n += step;
    }
    return strv_head(text, n);
}

static void put_text(struct jsonw *w, const char *name, const char *value)
{
    if (!value)
        return;
    jsonw_key(w, strv_z(name));
    jsonw_string(w, shortened(strv_z(value)));
}

static enum rc put_line(struct buf *out, const struct trail_change *c, const char *previous)
{
    char time[DATETIME_TEXT], actor[TRAIL_ACTOR_TEXT];
    struct jsonw w;

    trail_actor(actor);
    datetime_format_us(c->at_us ? c->at_us : clock_wall_us(), time);
    jsonw_start(&w, out);
    jsonw_object(&w);
    put_text(&w, "at", time);
    put_text(&w, "actor", c->actor ? c->actor : actor);
    put_text(&w, "action", c->action);
    put_text(&w, "object", c->object);
    put_text(&w, "detail", c->detail);
    put_text(&w, "before", c->before);
    put_text(&w, "after", c->after);
    put_text(&w, "previous", *previous ? previous : NULL);
    jsonw_end(&w);
    if (jsonw_finish(&w) != RC_OK)
        return RC_LIMIT;
    return buf_append(out, "\n", 1);
}

static const char *member(const cJSON *line, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(line, name);

    return cJSON_IsString(item) ? item->valuestring : NULL;
}

/* What the last line about an object left. */
struct object {
    struct valued valued;
    char after[SHA256_HEX]; /* empty: nothing */
};

/* A walk over the text of the trail. */
struct walk {
    struct strv rest;
    struct by_value objects; /* struct object, by name */
    char head[SHA256_HEX];   /* of the line before; empty: none */
};

/* An object that was changed by somebody else since; notes what this change leaves. */
static bool is_gap(struct walk *w, const struct trail_change *c)
{
    struct strv name = strv_z(c->object);
    struct object *object = by_value_find(&w->objects, &name);
    bool gap;

    if (!c->before && !c->after)
        return false;
    gap = object && strcmp(object->after, c->before ? c->before : "") != 0;
    if (!object)
        object = by_value_at(&w->objects, &name);
    if (object)
        (void)snprintf(object->after, sizeof(object->after), "%s", c->after ? c->after : "");
    return gap;
}

static enum rc tell(struct walk *w, const cJSON *line, trail_fn *fn, void *arg)
{
    const char *at = member(line, "at"), *previous = member(line, "previous");
    struct trail_change c = {.actor = member(line, "actor"),
                             .action = member(line, "action"),
                             .object = member(line, "object"),
                             .detail = member(line, "detail"),
                             .before = member(line, "before"),
                             .after = member(line, "after")};
    enum trail_status status = TRAIL_GOOD;

    if (!at || !datetime_parse(strv_z(at), &c.at_us) || !c.actor || !c.action || !c.object) {
        c = (struct trail_change){0};
        return fn(&c, TRAIL_ALTERED, arg);
    }
    if (is_gap(w, &c))
        status = TRAIL_GAP;
    if (strcmp(previous ? previous : "", w->head) != 0)
        status = TRAIL_ALTERED;
    return fn(&c, status, arg);
}

/* All lines of w->rest; a last one without an end was never noted, and is none. */
static enum rc walk_lines(struct walk *w, trail_fn *fn, void *arg)
{
    enum rc rc = RC_OK;

    while (rc == RC_OK && strv_find(w->rest, '\n') < w->rest.n) {
        struct strv text = strv_head(w->rest, strv_find(w->rest, '\n'));
        cJSON *line = cJSON_ParseWithLength(text.p, text.n);

        w->rest = strv_skip(w->rest, text.n + 1);
        rc = tell(w, line, fn, arg);
        trail_hash(text, w->head);
        cJSON_Delete(line);
    }
    return rc;
}

/* ---- the file ------------------------------------------------------------------------------ */

static bool path_of(char out[PATH_BYTES], const char *state_dir)
{
    int n = snprintf(out, PATH_BYTES, "%s/trail.jsonl", state_dir);

    if (n > 0 && n < PATH_BYTES)
        return true;
    errno = ENAMETOOLONG;
    return false;
}

/* Up to the file's maximum; the caller frees *text. */
static enum rc read_all(int fd, char **text, size_t *n, struct fail *fail, const char *doing)
{
    struct stat st;
    size_t got = 0;
    ssize_t more = 0;
    char *bytes;

    *text = NULL;
    *n = 0;
    if (fstat(fd, &st) != 0)
        return failed(fail, RC_IO, doing);
    if (st.st_size > TRAIL_MAX_BYTES + TRAIL_LINE_MAX_BYTES)
        return failed(fail, RC_LIMIT, doing);
    bytes = xmalloc((size_t)st.st_size + 1);
    while (got < (size_t)st.st_size) {
        more = pread(fd, bytes + got, (size_t)st.st_size - got, (off_t)got);
        if (more < 0 && errno == EINTR)
            continue;
        if (more <= 0)
            break;
        got += (size_t)more;
    }
    if (more < 0) {
        free(bytes);
        return failed(fail, RC_IO, doing);
    }
    *text = bytes;
    *n = got;
    return RC_OK;
}

static enum rc lock_file(int fd, struct fail *fail)
{
    for (int waited = 0;; waited += LOCK_STEP_MS) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return RC_OK;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return failed(fail, RC_IO, "lock trail.jsonl");
        if (waited >= TRAIL_LOCK_WAIT_MS)
            return failed(fail, RC_TIMEOUT, "lock trail.jsonl");
        (void)usleep(LOCK_STEP_MS * 1000);
    }
}

/* Open, locked; a last line without an end is taken out: nobody was told that it was there. */
static enum rc open_trail(const char *state_dir, int *out, char **text, size_t *n,
                          struct fail *fail)
{
    char path[PATH_BYTES];
    int fd = path_of(path, state_dir)
                 ? open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)
                 : -1;
    size_t whole;
    enum rc rc;

    *text = NULL;
    if (fd < 0)
        return failed(fail, RC_IO, doing_append);
    state_file_own(fd, state_dir);
    rc = lock_file(fd, fail);
    if (rc == RC_OK)
        rc = read_all(fd, text, n, fail, doing_append);
    if (rc == RC_OK) {
        for (whole = *n; whole > 0 && (*text)[whole - 1] != '\n';)
            whole--;
        if (whole < *n && ftruncate(fd, (off_t)whole) != 0)
            rc = failed(fail, RC_IO, doing_append);
        *n = whole;
    }
    if (rc != RC_OK) {
        free(*text);
        *text = NULL;
        (void)close(fd);
        return rc;
    }
    *out = fd;
    return RC_OK;
}

/* On disk, or not there at all. */
static enum rc write_line(int fd, size_t before, struct strv line, struct fail *fail)
{
    ssize_t n;

    if (before + line.n > TRAIL_MAX_BYTES)
        return failed(fail, RC_LIMIT, doing_append);
    do
        n = write(fd, line.p, line.n);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)line.n && fdatasync(fd) == 0)
        return RC_OK;
    if (n >= 0 && (size_t)n < line.n)
        errno = ENOSPC;
    (void)failed(fail, RC_IO, doing_append);
    if (n > 0 && ftruncate(fd, (off_t)before) != 0)
        fail->doing = "take half a line out of trail.jsonl";
    return RC_IO;
}

/* ---- noting -------------------------------------------------------------------------------- */

static enum rc pass(const struct trail_change *change, enum trail_status status, void *arg)
{
    (void)change;
    (void)status;
    (void)arg;
    return RC_OK;
}

/* False where before and after are the same; what is observed is its before and after alone. */
static bool is_change(const struct trail_change *c, bool is_observed)
{
    if (c->before && c->after)
        return strcmp(c->before, c->after) != 0;
    return !is_observed || c->before || c->after;
}

static enum rc note(const char *state_dir, const struct trail_change *change, bool is_observed,
                    struct fail *fail)
{
    struct trail_change c = *change;
    struct walk w = {.rest = STRV_NONE};
    struct strv name = strv_z(c.object);
    const struct object *object;
    struct buf line;
    char *text;
    size_t n;
    int fd;
    enum rc rc = open_trail(state_dir, &fd, &text, &n, fail);

    if (rc != RC_OK)
        return rc;
    by_value_init(&w.objects, 1, sizeof(struct object));
    w.rest = strv_make(text, n);
    (void)walk_lines(&w, pass, NULL); /* pass never ends it */
    object = by_value_find(&w.objects, &name);
    buf_init(&line, TRAIL_LINE_MAX_BYTES);
    if (is_observed)
        c.before = object && *object->after ? object->after : NULL;
    if (is_change(&c, is_observed)) {
        rc = put_line(&line, &c, w.head);
        if (rc == RC_OK)
            rc = write_line(fd, n, buf_view(&line), fail);
        else
            (void)failed(fail, rc, "write a line of trail.jsonl");
    }
    buf_release(&line);
    by_value_release(&w.objects);
    free(text);
    (void)close(fd);
    return rc;
}

enum rc trail_append(const char *state_dir, const struct trail_change *change, struct fail *fail)
{
    return note(state_dir, change, false, fail);
}

enum rc trail_observe(const char *state_dir, const struct trail_change *change, struct fail *fail)
{
    return note(state_dir, change, true, fail);
}

void trail_note(const char *state_dir, const struct trail_change *change)
{
    struct fail fail;
    char why[256];

    if (trail_append(state_dir, change, &fail) == RC_OK)
        return;
    fail_text(&fail, why, sizeof(why));
    (void)fprintf(stderr, "tollgate: it is done, but the report \"changes\" will not tell of it: %s\n",
                  why);
}

/* ---- reading ------------------------------------------------------------------------------- */

enum rc trail_read(const char *state_dir, trail_fn *fn, void *arg, char *head, struct fail *fail)
{
    char path[PATH_BYTES];
    struct walk w = {.rest = STRV_NONE};
    char *text = NULL;
    size_t n = 0;
    enum rc rc;
    int fd;

    if (head)
        *head = '\0';
    fd = path_of(path, state_dir) ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    if (fd < 0)
        return errno == ENOENT ? RC_OK : failed(fail, RC_IO, doing_read);
    rc = read_all(fd, &text, &n, fail, doing_read);
    (void)close(fd);
    if (rc != RC_OK)
        return rc;
    by_value_init(&w.objects, 1, sizeof(struct object));
    w.rest = strv_make(text, n);
    rc = walk_lines(&w, fn, arg);
    if (head)
        memcpy(head, w.head, sizeof(w.head));
    by_value_release(&w.objects);
    free(text);
    return rc;
}
