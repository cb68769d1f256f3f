#include "metering/usage/repeat.h"

#include <string.h>

#include "metering/usage/jscan_int.h"

enum { NUMBER_MAX = 64 }; /* bytes of a number in a gap; longer ones match nothing */

void repeat_learn(struct repeat *r, struct strv event, size_t document,
                  const struct jscan_gaps *gaps, uint64_t counted)
{
    if (event.n > sizeof(r->text))
        return;
    memcpy(r->text, event.p, event.n);
    r->n = (uint16_t)event.n;
    r->n_gaps = gaps->n;
    r->narrowed = false;
    for (unsigned i = 0; i < gaps->n; i++) {
        const struct jscan_gap *gap = &gaps->at[i];

        r->gap[i] = (struct repeat_gap){.begin = (uint16_t)(document + gap->begin),
                                        .end = (uint16_t)(document + gap->end),
                                        .kind = gap->kind};
        if (gap->kind == JSCAN_GAP_COUNTED)
            counted -= gap->text_bytes;
    }
    r->counted = counted;
}

/* The end of the number at p, which must not reach the end of what is there; NULL: none. */
static const char *number_end(const char *p, const char *end)
{
    const char *from = p;

    while (p < end && is_number_byte(*p))
        p++;
    if (p == end || p - from > NUMBER_MAX ||
        !jscan_number_is_valid(strv_make(from, (size_t)(p - from))))
        return NULL;
    return p;
}

/*
 * Names and dates stay the same in a stream, but it takes two events to see which: what did
 * not change is compared with the rest from now on.  Generated text stays a gap.  kept (or NULL) is
 * what stands in those that are left.
 */
static void narrow(struct repeat *r, const struct strv found[REPEAT_GAPS_MAX], struct strv *kept)
{
    unsigned n = 0;

    for (unsigned i = 0; i < r->n_gaps; i++) {
        struct repeat_gap gap = r->gap[i];
        struct strv before = strv_make(r->text + gap.begin, (size_t)gap.end - gap.begin);

        if (gap.kind != JSCAN_GAP_COUNTED && strv_eq(before, found[i]))
            continue;
        if (kept != NULL)
            kept[n] = found[i];
        r->gap[n++] = gap;
    }
    r->n_gaps = n;
    r->narrowed = true;
}

/* As repeat_match; found (NULL: nobody asks) is given what bytes have in place of each gap. */
static bool match(const struct repeat *r, struct strv bytes, size_t *used, uint64_t *counted,
                  struct strv *found)
{
    const char *p = bytes.p, *end = bytes.p + bytes.n;
    uint64_t sum = r->counted, n = 0;
    size_t at = 0;

    for (unsigned i = 0; i < r->n_gaps; i++) {
        const struct repeat_gap *gap = &r->gap[i];
        size_t same = gap->begin - at;
        const char *from;

        if ((size_t)(end - p) < same || memcmp(p, r->text + at, same) != 0)
            return false;
        from = p + same;
        at = gap->end;
        if (gap->kind == JSCAN_GAP_NUMBER)
            p = number_end(from, end);
        else
            p = jscan_string_end(from, end, &n);
        if (p == NULL)
            return false;
        if (gap->kind == JSCAN_GAP_COUNTED)
            sum += n;
        if (found != NULL)
            found[i] = strv_make(from, (size_t)(p - from));
    }
    if ((size_t)(end - p) < r->n - at || memcmp(p, r->text + at, r->n - at) != 0)
        return false;
    *used = (size_t)(p - bytes.p) + r->n - at;
    *counted = sum;
    return true;
}

bool repeat_match(struct repeat *r, struct strv bytes, size_t *used, uint64_t *counted,
                  struct strv found[REPEAT_GAPS_MAX])
{
    struct strv first[REPEAT_GAPS_MAX];

    if (r->n == 0 || bytes.n == 0)
        return false;
    if (r->narrowed)
        return match(r, bytes, used, counted, found);
    if (!match(r, bytes, used, counted, first))
        return false;
    narrow(r, first, found);
    return true;
}
