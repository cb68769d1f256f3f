#include "proxy/http1_lines.h"

#include <stdlib.h>

#include "base/xalloc.h"
#include "proxy/field_traits.h"

struct http1_lines *http1_lines_new(void)
{
    return xcalloc(1, sizeof(struct http1_lines));
}

void http1_lines_free(struct http1_lines *known)
{
    free(known);
}

/* False where the line there had another name, or none. */
static bool has_name(const struct http1_line *line, struct strv name)
{
    return line->name_n == name.n && memcmp(line->bytes, name.p, name.n) == 0;
}

/* An answer's fields go to who has the key. */
static unsigned judge_text(struct strv line, size_t index)
{
    return index % 2 == http1_line_index(true, 0) && field_holds_key(line) ? FIELD_KEY : 0;
}

uint64_t http1_line_keep(struct http1_lines *known, const char *p, size_t n, size_t index,
                         struct http1_header *h)
{
    struct http1_line *line;

    if (n < HTTP1_LINE_MIN_BYTES || h->name.n > HTTP1_LINE_MAX_BYTES) {
        h->traits = field_judge(h->name) | judge_text(strv_make(p, n), index);
        return http1_name_bit(h->name);
    }
    line = &known->at[http1_line_place(p, index)];
    if (!has_name(line, h->name)) {
        line->name_n = (uint8_t)h->name.n;
        line->name_bit = http1_name_bit(h->name);
        line->traits = (uint16_t)field_judge(h->name);
        memcpy(line->bytes, h->name.p, h->name.n);
    }
    h->traits = line->traits;
    line->n = 0; /* what comes behind the name is another's */
    if (!(h->traits & FIELD_CREDENTIAL))
        h->traits |= judge_text(strv_make(p, n), index);
    if (n <= HTTP1_LINE_MAX_BYTES && !(h->traits & (FIELD_CREDENTIAL | FIELD_KEY))) {
        line->n = (uint8_t)n;
        line->value_at = (uint8_t)(h->value.p - p);
        line->value_n = (uint8_t)h->value.n;
        memcpy(line->bytes, p, n);
    }
    return line->name_bit;
}
