#include "tests/bench/load_reader.h"

#include <stdlib.h>
#include <string.h>

static const char STAMP[] = "@ns=";
enum { STAMP_DIGITS = 19 };

void reader_start(struct reader *r)
{
    r->state = READ_HEAD;
    r->in_body = false;
    r->line[0] = 0;
    r->n = 0;
    r->left = 0;
    r->matched = 0;
    r->digits = 0;
    r->stamp_ns = 0;
}

/* Looks for stamps in bytes of the body. */
static void find_stamps(struct reader *r, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (r->matched == 0) {
            const char *at = memchr(p + i, STAMP[0], n - i);
            if (at == NULL)
                return;
            i = (size_t)(at - p);
            r->matched = 1;
        } else if (r->matched < sizeof(STAMP) - 1) {
            r->matched = p[i] == STAMP[r->matched] ? r->matched + 1 : 0;
            r->digits = 0;
            r->stamp_ns = 0;
        } else if (p[i] < '0' || p[i] > '9') {
            r->matched = 0;
        } else {
            r->stamp_ns = r->stamp_ns * 10 + (p[i] - '0');
            if (++r->digits < STAMP_DIGITS)
                continue;
            r->matched = 0;
            if (r->stamp_ns > 0)
                r->on_stamp(r->stamp_ns, r->arg);
        }
    }
}

/* A line or head up to and with mark; true once it is whole, in r->line, with a NUL. */
static bool take_until(struct reader *r, const char *mark, const char **p, size_t *n)
{
    size_t length = strlen(mark);
    size_t near = *n < sizeof(r->line) - 1 ? *n : sizeof(r->line) - 1;
    const char *whole = r->n == 0 ? memmem(*p, near, mark, length) : NULL;
    if (whole != NULL) { /* as nearly always; else byte by byte, since the mark may come in parts */
        size_t take = (size_t)(whole - *p) + length;
        memcpy(r->line, *p, take);
        r->line[take] = 0;
        *p += take;
        *n -= take;
        return true;
    }
    while (*n > 0 && r->n < sizeof(r->line) - 1) {
        r->line[r->n++] = **p;
        (*p)++;
        (*n)--;
        if (r->n >= length && memcmp(r->line + r->n - length, mark, length) == 0) {
            r->line[r->n] = 0;
            r->n = 0;
            return true;
        }
    }
    return false;
}

/* What stands behind so named a field of the head in r->line; NULL: there is none. */
static const char *field_value(const struct reader *r, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = strchr(r->line, '\n'); at != NULL; at = strchr(at, '\n'))
        if (strncasecmp(++at, name, length) == 0)
            return at + length;
    return NULL;
}

static enum read_result read_head(struct reader *r)
{
    const char *length = field_value(r, "content-length:");
    if (strncmp(r->line, "HTTP/1.1 200 ", 13) != 0)
        return READ_BAD;
    if (length == NULL && field_value(r, "transfer-encoding: chunked")) {
        r->state = READ_SIZE;
        return READ_MORE;
    }
    if (length == NULL)
        return READ_BAD;
    r->left = strtoull(length, NULL, 10);
    r->state = READ_LENGTH;
    return r->left == 0 ? READ_DONE : READ_MORE;
}

/* Bytes of the body, or of one chunk; returns how many were taken. */
static size_t read_data(struct reader *r, const char *p, size_t n)
{
    size_t take = n < r->left ? n : (size_t)r->left;
    r->in_body = true;
    find_stamps(r, p, take);
    r->left -= take;
    return take;
}

enum read_result reader_feed(struct reader *r, const char *p, size_t n)
{
    while (n > 0) {
        enum read_result result = READ_MORE;
        size_t taken = 0;
        switch (r->state) {
        case READ_HEAD:
            if (take_until(r, "\r\n\r\n", &p, &n))
                result = read_head(r);
            break;
        case READ_LENGTH:
        case READ_CHUNK:
            taken = read_data(r, p, n);
            p += taken;
            n -= taken;
            if (r->left == 0 && r->state == READ_LENGTH)
                result = READ_DONE;
            else if (r->left == 0)
                r->state = READ_CHUNK_END;
            break;
        case READ_SIZE:
            if (take_until(r, "\r\n", &p, &n)) {
                r->left = strtoull(r->line, NULL, 16);
                r->state = r->left ? READ_CHUNK : READ_TRAILER;
            }
            break;
        case READ_CHUNK_END:
            if (take_until(r, "\r\n", &p, &n))
                r->state = READ_SIZE;
            break;
        case READ_TRAILER:
            if (take_until(r, "\r\n", &p, &n) && strcmp(r->line, "\r\n") == 0)
                result = READ_DONE;
            break;
        }
        if (r->n == sizeof(r->line) - 1)
            result = READ_BAD;
        if (result != READ_MORE)
            return result;
    }
    return READ_MORE;
}
