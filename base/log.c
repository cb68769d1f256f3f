#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/datetime.h"

enum { LINE_MAX_BYTES = 4096 };

static enum log_level max_level = LOG_INFO;
static enum log_format line_format = LOG_LOGFMT;

static const char *const level_names[] = {"error", "warn", "info", "access", "debug"};

void log_setup(enum log_level level, enum log_format format)
{
    max_level = level;
    line_format = format;
}

bool log_wants(enum log_level level)
{
    return level <= max_level;
}

const char *log_quote(struct strv s, char *out, size_t size)
{
    size_t n = 0;

    out[n++] = '"';
    for (size_t i = 0; i < s.n && n + 8 < size; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c == '"' || c == '\\') {
            out[n++] = '\\';
            out[n++] = (char)c;
        } else if (c < 0x20 || c == 0x7f) {
            n += (size_t)snprintf(out + n, size - n, "\\u%04x", c);
        } else {
            out[n++] = (char)c;
        }
    }
    out[n++] = '"';
    out[n] = '\0';
    return out;
}

/* key=value pairs of logfmt as members of a JSON object: ,"key":"value" */
static size_t detail_to_json(const char *detail, char *out, size_t size)
{
    const char *p = detail;
    size_t n = 0;

    while (*p && n + 16 < size) {
        const char *key = p;
        size_t key_len = strcspn(p, "= ");

        p += key_len;
        if (*p != '=') {
            p += strspn(p, " ");
            continue;
        }
        p++;
        n += (size_t)snprintf(out + n, size - n, ",\"%.*s\":", (int)key_len, key);
        if (n >= size)
            return size - 1;
        if (*p == '"') {
            const char *start = p++;

            while (*p && *p != '"')
                p += (*p == '\\' && p[1]) ? 2 : 1;
            if (*p == '"')
                p++;
            n += (size_t)snprintf(out + n, size - n, "%.*s", (int)(p - start), start);
        } else {
            size_t len = strcspn(p, " ");
            char quoted[512];

            n += (size_t)snprintf(out + n, size - n, "%s",
                                  log_quote(strv_make(p, len), quoted, sizeof(quoted)));
            p += len;
        }
        if (n >= size)
            return size - 1;
        p += strspn(p, " ");
    }
    out[n] = '\0';
    return n;
}

void log_line(enum log_level level, const char *component, const char *message,
              const char *detail, ...)
{
    char text[LINE_MAX_BYTES - 512];
    char line[LINE_MAX_BYTES];
    char quoted[256];
    char when[DATETIME_TEXT];
    va_list args;
    int n;

    if (!log_wants(level))
        return;
    va_start(args, detail);
    vsnprintf(text, sizeof(text), detail, args);
    va_end(args);
    datetime_format_us(clock_wall_us(), when);
    log_quote(strv_z(message), quoted, sizeof(quoted));
    if (line_format == LOG_JSON) {
        char members[LINE_MAX_BYTES - 512];

        detail_to_json(text, members, sizeof(members));
        n = snprintf(line, sizeof(line),
                     "{\"time\":\"%s\",\"level\":\"%s\",\"component\":\"%s\",\"msg\":%s%s}\n", when,
                     level_names[level], component, quoted, members);
    } else {
        n = snprintf(line, sizeof(line), "time=%s level=%s component=%s msg=%s%s%s\n", when,
                     level_names[level], component, quoted, *text ? " " : "", text);
    }
    if (n >= (int)sizeof(line)) {
        n = (int)sizeof(line);
        line[n - 1] = '\n';
    }
    if (write(STDERR_FILENO, line, (size_t)n) < 0)
        return; /* standard error is gone: there is nobody to tell */
}
