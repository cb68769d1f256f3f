#include "metering/usage/sse.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum state {
    ST_START = 0, /* of the stream: a byte order mark may stand here */
    ST_LINE,      /* at the start of a line */
    ST_COMMENT,
    ST_NAME,  /* in a field's name */
    ST_SPACE, /* behind its colon: one space may follow */
    ST_VALUE,
};

static const char BOM[] = "\xef\xbb\xbf";

void sse_init(struct sse *s)
{
    *s = (struct sse){.state = ST_START};
}

/* First CR or LF. */
static const char *line_run(const char *p, const char *end)
{
#ifdef __SSE2__
    const __m128i cr = _mm_set1_epi8('\r'), lf = _mm_set1_epi8('\n');

    for (; end - p >= 16; p += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        int mask =
            _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(x, cr), _mm_cmpeq_epi8(x, lf)));

        if (mask != 0)
            return p + __builtin_ctz((unsigned)mask);
    }
#endif
    while (p < end && *p != '\r' && *p != '\n')
        p++;
    return p;
}

static bool field_is(const struct sse *s, const char *name, size_t n)
{
    return s->field_n == n && memcmp(s->field, name, n) == 0;
}

/* Takes the line end at p; true where it was a CR that may have an LF to come. */
static const char *take_line_end(struct sse *s, const char *p, const char *end)
{
    bool cr = *p++ == '\r';

    s->state = ST_LINE;
    if (cr && p < end && *p == '\n')
        return p + 1;
    s->after_cr = cr && p == end;
    return p;
}

static void add_name(struct sse *s, const char *p, size_t n)
{
    size_t room = sizeof(s->name) - s->name_n;

    if (n > room)
        n = room;
    memcpy(s->name + s->name_n, p, n);
    s->name_n = (uint8_t)(s->name_n + n);
}

static void begin_field(struct sse *s)
{
    s->field_n = 0;
    s->has_field = true;
    s->state = ST_NAME;
}

/* The field's name is complete; its value, maybe empty, follows. */
static void begin_value(struct sse *s)
{
    s->state = ST_SPACE;
    if (field_is(s, "data", 4)) {
        s->join = s->has_data;
        s->has_data = true;
    } else if (field_is(s, "event", 5)) {
        s->name_n = 0;
    }
}

/* One byte of the start of the stream.  True where a line of no known field begins there. */
static bool step_start(struct sse *s, const char **p)
{
    if (**p == BOM[s->bom]) {
        (*p)++;
        if (++s->bom == 3)
            s->state = ST_LINE;
        return false;
    }
    s->state = ST_LINE;
    if (s->bom == 0)
        return false;
    begin_field(s); /* what looked like a mark is the beginning of a line */
    s->field_n = sizeof(s->field);
    return true;
}

static const char *step_name(struct sse *s, const char *p, const char *end)
{
    if (*p == ':') {
        begin_value(s);
        return p + 1;
    }
    if (*p == '\r' || *p == '\n') {
        begin_value(s);
        return take_line_end(s, p, end);
    }
    if (s->field_n < sizeof(s->field))
        s->field[s->field_n++] = *p;
    return p + 1;
}

/* The value of a field up to its line's end.  True where *data is a piece to tell. */
static bool step_value(struct sse *s, const char **at, const char *end, struct strv *data)
{
    const char *p = *at, *line_end;

    if (s->join) { /* the line end between two data lines is told first, as a piece of its own
                    */
        s->join = false;
        *data = STRV("\n");
        return true;
    }
    if (s->state == ST_SPACE) {
        s->state = ST_VALUE;
        if (*p == ' ') {
            *at = p + 1;
            return false;
        }
    }
    line_end = line_run(p, end);
    *at = line_end < end ? take_line_end(s, line_end, end) : line_end;
    if (field_is(s, "event", 5))
        add_name(s, p, (size_t)(line_end - p));
    *data = strv_make(p, (size_t)(line_end - p));
    return field_is(s, "data", 4) && line_end > p;
}

/* A CR ended the feed before: an LF now belongs to it. */
static bool take_tail(struct sse *s, const char **p)
{
    bool of_event = s->cr_ended_event;

    s->after_cr = false;
    s->cr_ended_event = false;
    if (**p != '\n')
        return false;
    (*p)++;
    return of_event;
}

enum sse_what sse_next(struct sse *s, struct strv bytes, size_t *used, struct strv *data)
{
    const char *p = bytes.p, *end = bytes.p + bytes.n;

    if (p < end && s->after_cr && take_tail(s, &p)) {
        *used = 1;
        return SSE_TAIL;
    }
    if (p < end && s->ended) {
        s->ended = s->has_data = s->has_field = false;
        s->name_n = 0;
    }
    while (p < end) {
        switch ((enum state)s->state) {
        case ST_START:
            if (!step_start(s, &p))
                break;
            *used = (size_t)(p - bytes.p);
            return SSE_FIELD;
        case ST_LINE:
            if (*p == '\r' || *p == '\n') {
                p = take_line_end(s, p, end);
                s->cr_ended_event = s->after_cr;
                s->ended = true;
                *used = (size_t)(p - bytes.p);
                return SSE_EVENT;
            }
            if (*p == ':') {
                s->state = ST_COMMENT;
                break;
            }
            if (!s->has_field) {
                begin_field(s);
                *used = (size_t)(p - bytes.p);
                return SSE_FIELD;
            }
            begin_field(s);
            break;
        case ST_COMMENT:
            p = line_run(p, end);
            if (p < end)
                p = take_line_end(s, p, end);
            break;
        case ST_NAME:
            p = step_name(s, p, end);
            break;
        case ST_SPACE:
        case ST_VALUE:
            if (step_value(s, &p, end, data)) {
                *used = (size_t)(p - bytes.p);
                return SSE_DATA;
            }
            break;
        }
    }
    *used = bytes.n;
    return SSE_MORE;
}
