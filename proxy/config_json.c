#include "proxy/config_json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "proxy/config.h"
#include "reports/trail.h"

static int count_lines(const char *text, size_t n)
{
    int line = 1;

    for (size_t i = 0; i < n; i++)
        line += text[i] == '\n';
    return line;
}

/* ---- comments, depth and what cJSON would let pass ---------------------------------- */

struct scan {
    char *text;
    size_t n;
    size_t at;
    int line;
    int depth;
};

/* at stands on the opening quote; moves behind the closing one. NULL, or what is wrong. */
static const char *scan_string(struct scan *s)
{
    for (s->at++; s->at < s->n; s->at++) {
        char c = s->text[s->at];

        if (c == '"') {
            s->at++;
            return NULL;
        }
        if ((unsigned char)c < ' ')
            return "control character or line end inside a string: close the string with \"";
        if (c != '\\')
            continue;
        if (s->n - s->at > 5 && memcmp(s->text + s->at + 1, "u0000", 5) == 0)
            return "\\u0000 in a string: take it out";
        s->at++;
    }
    return "string without end: close it with \"";
}

/* at stands on a comment: blanks it, line ends apart, and moves behind it. */
static const char *scan_comment(struct scan *s)
{
    bool block = s->text[s->at + 1] == '*';
    const char *from = s->text + s->at + 2;
    size_t left = s->n - s->at - 2;
    const char *end;
    size_t stop;

    end = block ? memmem(from, left, "*/", 2) : memchr(from, '\n', left);
    if (block && !end)
        return "comment without end: close it with */";
    stop = end ? (size_t)(end - s->text) + (block ? 2 : 0) : s->n;
    for (; s->at < stop; s->at++) {
        if (s->text[s->at] == '\n')
            s->line++;
        else
            s->text[s->at] = ' ';
    }
    return NULL;
}

/* Blanks comments and refuses what must not reach the parser. NULL, or what is wrong. */
static const char *scan_text(struct scan *s)
{
    while (s->at < s->n) {
        char c = s->text[s->at];
        const char *fault = NULL;

        if (c == '"') {
            fault = scan_string(s);
        } else if (c == '/' && s->n - s->at > 1 &&
                   (s->text[s->at + 1] == '/' || s->text[s->at + 1] == '*')) {
            fault = scan_comment(s);
        } else {
            if (c == '\0')
                return "NUL byte: this is not a text file";
            if (c == '\n')
                s->line++;
            if (c == '{' || c == '[')
                s->depth++;
            else if ((c == '}' || c == ']') && s->depth > 0)
                s->depth--;
            if (s->depth > CONFIG_DEPTH_MAX)
                return "nested too deeply: no field is that deep";
            s->at++;
        }
        if (fault)
            return fault;
    }
    return NULL;
}

/* ---- lines ---------------------------------------------------------------------- */

/* Walks the text that cJSON has accepted, in step with its tree. */
struct walk {
    const char *at;
    const char *end;
    int line;
};

/* To the next byte that begins or ends a value, or a member's name. */
static void walk_blank(struct walk *w)
{
    while (w->at < w->end && ((unsigned char)*w->at <= ' ' || *w->at == ',' || *w->at == ':')) {
        w->line += *w->at == '\n';
        w->at++;
    }
}

static void walk_string(struct walk *w)
{
    for (w->at++; w->at < w->end && *w->at != '"'; w->at++) {
        if (*w->at == '\\')
            w->at++;
    }
    if (w->at < w->end)
        w->at++;
    else
        w->at = w->end;
}

static void walk_value(struct walk *w, cJSON *item)
{
    walk_blank(w);
    item->valueint = w->line;
    if (cJSON_IsObject(item) || cJSON_IsArray(item)) {
        w->at += w->at < w->end;
        for (cJSON *child = item->child; child; child = child->next) {
            if (cJSON_IsObject(item)) {
                walk_blank(w);
                walk_string(w);
            }
            walk_value(w, child);
        }
        walk_blank(w);
        w->at += w->at < w->end;
    } else if (cJSON_IsString(item)) {
        walk_string(w);
    } else {
        while (w->at < w->end && (unsigned char)*w->at > ' ' && !strchr(",]}", *w->at))
            w->at++;
    }
}

int config_json_line(const cJSON *item)
{
    return item->valueint;
}

/* ---- parsing -------------------------------------------------------------------- */

static bool parse_scanned(struct config_json *doc, const char *text, size_t n)
{
    struct walk walk = {.at = text, .end = text + n, .line = 1};
    const char *end = NULL;

    errno = 0;
    doc->root = cJSON_ParseWithLengthOpts(text, n, &end, false);
    if (!doc->root && errno == ENOMEM) {
        problems_add(doc->problems, doc->file, 0, "could not read: out of memory");
        return false;
    }
    if (!doc->root) {
        size_t at = end && end >= text && end < text + n ? (size_t)(end - text) : n;

        problems_add(doc->problems, doc->file, count_lines(text, at),
                     "not JSON from here on: look for a missing comma, quote or bracket, or a "
                     "comma too many");
        return false;
    }
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        walk.at += 3; /* byte order mark, which cJSON passes over */
    walk_value(&walk, doc->root);
    walk_blank(&walk);
    if (walk.at < walk.end) {
        problems_add(doc->problems, doc->file, walk.line,
                     "something stands behind the end of the object: take it out");
        return false;
    }
    if (!cJSON_IsObject(doc->root)) {
        problems_add(doc->problems, doc->file, config_json_line(doc->root),
                     "not an object: the file must be one { ... }");
        return false;
    }
    return true;
}

bool config_json_parse(struct config_json *doc, const char *file, struct strv text,
                       struct problems *problems)
{
    struct scan scan = {.line = 1};
    const char *fault;
    bool good = false;

    *doc = (struct config_json){.file = file, .problems = problems};
    if (text.n > CONFIG_MAX_BYTES) {
        problems_add(problems, file, 0, "larger than %d bytes: split it", CONFIG_MAX_BYTES);
        return false;
    }
    scan.text = xmemdupz(text.n ? text.p : "", text.n);
    scan.n = text.n;
    fault = scan_text(&scan);
    if (fault)
        problems_add(problems, file, scan.line, "%s", fault);
    else
        good = parse_scanned(doc, scan.text, scan.n);
    explicit_bzero(scan.text, scan.n); /* it may hold secrets */
    free(scan.text);
    return good;
}

bool config_json_read(struct config_json *doc, const char *file, struct problems *problems)
{
    struct stat status;
    char *text = NULL;
    size_t n = 0;
    bool good = false;
    int fd;

    *doc = (struct config_json){.file = file, .problems = problems};
    fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &status) != 0) {
        problems_add(problems, file, 0, "could not open the file: %s", strerror(errno));
        goto out;
    }
    if (!S_ISREG(status.st_mode) || status.st_size > CONFIG_MAX_BYTES) {
        problems_add(problems, file, 0, "not an ordinary file of at most %d bytes",
                     CONFIG_MAX_BYTES);
        goto out;
    }
    text = xmalloc((size_t)status.st_size + 1);
    while (n < (size_t)status.st_size) {
        ssize_t got = read(fd, text + n, (size_t)status.st_size - n);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            problems_add(problems, file, 0, "could not read the file: %s", strerror(errno));
            goto out;
        }
        if (got == 0)
            break; /* it shrank meanwhile */
        n += (size_t)got;
    }
    good = config_json_parse(doc, file, strv_make(text, n), problems);
    trail_hash(strv_make(text, n), doc->sha256);
out:
    if (text)
        explicit_bzero(text, n);
    free(text);
    if (fd >= 0)
        close(fd);
    return good;
}

/* Secrets may stand anywhere: every text is wiped before it is freed. */
static void wipe(cJSON *item)
{
    for (; item; item = item->next) {
        if (cJSON_IsString(item) && item->valuestring)
            explicit_bzero(item->valuestring, strlen(item->valuestring));
        wipe(item->child);
    }
}

void config_json_release(struct config_json *doc)
{
    wipe(doc->root);
    cJSON_Delete(doc->root);
    doc->root = NULL;
}
