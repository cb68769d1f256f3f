#include "metering/usage/shape.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/usage/jscan_int.h"

enum { NUMBER_MAX = 64 }; /* bytes of a number; documents with longer ones match nothing */

/* What comes behind some bytes that never change. */
enum step_kind {
    STEP_ENTER = 0, /* an object or array begins */
    STEP_LEAVE,     /* and has ended */
    STEP_LITERAL,   /* true, false or null, which belongs to the next bytes that never change */
    STEP_STRING,
    STEP_NUMBER,
};

struct step {
    uint16_t same; /* bytes before it that never change, behind the step before */
    uint8_t kind;
    uint8_t type; /* enum jscan_type */
    uint8_t node; /* of what is told */
    bool told;
    bool counted; /* a string of a JSCAN_COUNT node */
};

/* What a document is compared by: the strings and numbers among its steps. */
struct gate {
    uint16_t same; /* bytes before it that never change, behind the gate before */
    bool is_string;
    bool told;
};

struct shape {
    const struct jscan_node *nodes;
    uint8_t root;
    bool loose, folded;
    uint16_t n_steps, n_gates;
    uint16_t rest; /* bytes behind the last gate */
    uint64_t used; /* when it was of use */
    struct gate gates[SHAPE_STEPS_MAX];
    struct step steps[SHAPE_STEPS_MAX];
    char same[SHAPE_BYTES_MAX]; /* all that never changes, one behind the other */
};

/* What a gate has found. */
struct found {
    uint64_t n;     /* bytes of it */
    uint64_t value; /* of a string: bytes decoded; of a number: its count */
    bool has_count;
};

struct shapes {
    unsigned n, strange;
    uint64_t now, hits;
    struct shape *at[SHAPES_MAX];
    struct found found[SHAPE_STEPS_MAX]; /* in the document that is being compared */
};

struct shapes *shapes_new(void)
{
    struct shapes *known = xmalloc(sizeof(*known));

    memset(known, 0, sizeof(*known));
    return known;
}

void shapes_free(struct shapes *known)
{
    if (known == NULL)
        return;
    for (unsigned i = 0; i < known->n; i++)
        free(known->at[i]);
    free(known);
}

uint64_t shapes_hits(const struct shapes *known)
{
    return known->hits;
}

/* ---- a document that is like an earlier one ------------------------------------ */

/* The digits at p, eight at most: their value, and how many there are. */
static inline uint64_t eight_digits(const char *p, unsigned *n)
{
    uint64_t word, strange;

    memcpy(&word, p, sizeof(word));
    word = le64toh(word) ^ UINT64_C(0x3030303030303030); /* a digit is below ten */
    strange = (word | (word + UINT64_C(0x7676767676767676))) & UINT64_C(0x8080808080808080);
    *n = strange == 0 ? 8 : (unsigned)__builtin_ctzll(strange) / 8;
    if (*n == 0)
        return 0;
    word <<= 64 - *n * 8; /* before them zeros; then pairs, fours and all become numbers */
    word = (word * 10 + (word >> 8)) & UINT64_C(0x00ff00ff00ff00ff);
    word = (word * 100 + (word >> 16)) & UINT64_C(0x0000ffff0000ffff);
    return (word * 10000 + (word >> 32)) & UINT64_C(0xffffffff);
}

/* The number at p, which must end before `end`.  Behind it; NULL: there is none. */
static inline const char *match_number(const char *p, const char *end, struct found *f)
{
    const char *from = p;
    uint64_t value = 0;
    unsigned n = 0;

    if (end - p >= 8) {
        value = eight_digits(p, &n);
        p += n;
    }
    if (n == 0 || n == 8) {
        while (p < end && *p >= '0' && *p <= '9' && p - from < JSCAN_SHORT_DIGITS)
            value = value * 10 + (uint64_t)(*p++ - '0');
    }
    if (p == end)
        return NULL;
    f->has_count = p > from && !is_number_byte(*p) && (*from != '0' || p - from == 1);
    f->value = value;
    if (!f->has_count) {
        while (p < end && is_number_byte(*p))
            p++;
        if (p == end || p - from > NUMBER_MAX ||
            !jscan_number_is_valid(strv_make(from, (size_t)(p - from))))
            return NULL;
    }
    f->n = (uint64_t)(p - from);
    return p;
}

/* Behind the document that bytes begin with, where it has this shape; NULL: it has not. */
static const char *match(const struct shape *shape, struct strv bytes, struct found *found)
{
    const char *p = bytes.p, *end = bytes.p + bytes.n, *same = shape->same;

    for (unsigned i = 0; i < shape->n_gates; i++) {
        const struct gate *gate = &shape->gates[i];
        struct found *f = &found[i];
        const char *from;

        if ((size_t)(end - p) < gate->same || !strv_same(p, same, gate->same))
            return NULL;
        from = p + gate->same;
        same += gate->same;
        if (!gate->is_string) {
            p = match_number(from, end, f);
            if (p == NULL)
                return NULL;
            continue;
        }
        p = jscan_string_end(from, end, &f->value);
        if (p == NULL)
            return NULL;
        f->n = (uint64_t)(p - from);
        if (gate->told && f->n > JSCAN_TEXT_MAX)
            return NULL;
    }
    return (size_t)(end - p) >= shape->rest && strv_same(p, same, shape->rest) ? p + shape->rest
                                                                               : NULL;
}

static struct strv literal_text(enum jscan_type type)
{
    return type == JSCAN_TRUE ? STRV("true") : type == JSCAN_FALSE ? STRV("false") : STRV("null");
}

/* Tells s of all that was found in a document that begins at first. */
static void tell(struct jscan *s, const struct shape *shape, const struct found *found,
                 const char *first)
{
    const char *p = first;

    for (unsigned i = 0; i < shape->n_steps; i++) {
        const struct step *step = &shape->steps[i];
        struct jscan_event e = {.type = (enum jscan_type)step->type, .node = step->node};
        uint64_t at;

        p += step->same;
        at = (uint64_t)(p - first);
        switch ((enum step_kind)step->kind) {
        case STEP_ENTER:
            e.what = JSCAN_AT_ENTER;
            e.begin = at;
            break;
        case STEP_LEAVE:
            e.what = JSCAN_AT_LEAVE;
            e.end = at;
            break;
        case STEP_LITERAL:
            e.text = literal_text(e.type);
            e.begin = at;
            e.end = at + e.text.n;
            break;
        case STEP_STRING:
            e.text = strv_make(p, (size_t)found->n);
            e.text_bytes = found->value;
            found++;
            p += e.text.n;
            if (step->counted) {
                s->counted_bytes += e.text_bytes;
                if (s->text_fn != NULL)
                    s->text_fn(s->text_arg, e.text, true);
            }
            if (!step->told)
                continue;
            e.escaped = e.text_bytes != e.text.n; /* no escape is as short as what it stands for */
            e.begin = at - 1;
            e.end = at + e.text.n + 1;
            break;
        case STEP_NUMBER:
            e.text = strv_make(p, (size_t)found->n);
            e.has_count = found->has_count;
            e.count = found->has_count ? found->value : 0;
            found++;
            p += e.text.n;
            if (!step->told)
                continue;
            e.begin = at;
            e.end = at + e.text.n;
            break;
        }
        s->fn(s->arg, &e);
    }
}

/* ---- one that is not ------------------------------------------------------------ */

/* Notes what the scanner tells of while it reads a document. */
struct learner {
    jscan_fn *fn;
    void *arg;
    const struct jscan_node *nodes;
    unsigned n; /* over SHAPE_STEPS_MAX: too many */
    struct {
        uint64_t begin, end; /* the bytes that may change */
        struct step step;
    } at[SHAPE_STEPS_MAX];
};

static void learn_event(void *arg, const struct jscan_event *e)
{
    struct learner *l = arg;
    struct step step = {.type = (uint8_t)e->type, .node = e->node, .told = true};
    uint64_t begin = e->what == JSCAN_AT_LEAVE ? e->end : e->begin, end = begin;

    if (e->what == JSCAN_AT_ENTER) {
        step.kind = STEP_ENTER;
    } else if (e->what == JSCAN_AT_LEAVE) {
        step.kind = STEP_LEAVE;
    } else if (e->type == JSCAN_STRING) {
        step.kind = STEP_STRING;
        step.counted = (l->nodes[e->node].flags & JSCAN_COUNT) != 0;
        begin = e->begin + 1;
        end = e->end - 1;
    } else if (e->type == JSCAN_NUMBER) {
        step.kind = STEP_NUMBER;
        end = e->end;
    } else {
        step.kind = STEP_LITERAL;
    }
    if (l->n < SHAPE_STEPS_MAX) {
        l->at[l->n].begin = begin;
        l->at[l->n].end = end;
        l->at[l->n].step = step;
    }
    l->n++;
    l->fn(l->arg, e);
}

/* The next of the values that nobody was told of, and of those that somebody was. */
static struct step next_step(const struct learner *l, unsigned *told, const struct jscan_gaps *gaps,
                             unsigned *silent, uint64_t *begin, uint64_t *end)
{
    const struct jscan_gap *gap = &gaps->at[*silent];

    if (*silent == gaps->n || (*told < l->n && l->at[*told].begin <= gap->begin)) {
        *begin = l->at[*told].begin;
        *end = l->at[*told].end;
        return l->at[(*told)++].step;
    }
    *begin = gap->begin;
    *end = gap->end;
    (*silent)++;
    return (struct step){.kind = gap->kind == JSCAN_GAP_NUMBER ? STEP_NUMBER : STEP_STRING,
                         .counted = gap->kind == JSCAN_GAP_COUNTED};
}

/* Makes the shape of a document; false where it is too large for one. */
static bool draw(struct shape *shape, struct strv document, const struct learner *l,
                 const struct jscan_gaps *gaps)
{
    unsigned told = 0, silent = 0;
    uint64_t at = 0, gate_at = 0, begin, end;
    size_t n = 0;

    if (l->n + gaps->n > SHAPE_STEPS_MAX)
        return false;
    shape->n_gates = 0;
    for (shape->n_steps = 0; told < l->n || silent < gaps->n; shape->n_steps++) {
        struct step step = next_step(l, &told, gaps, &silent, &begin, &end);

        if (begin - at > SHAPE_BYTES_MAX - n)
            return false;
        step.same = (uint16_t)(begin - at);
        memcpy(shape->same + n, document.p + at, step.same);
        n += step.same;
        at = end;
        shape->steps[shape->n_steps] = step;
        if (step.kind != STEP_STRING && step.kind != STEP_NUMBER)
            continue;
        shape->gates[shape->n_gates++] = (struct gate){.same = (uint16_t)(begin - gate_at),
                                                       .is_string = step.kind == STEP_STRING,
                                                       .told = step.told};
        gate_at = end;
    }
    if (document.n - at > SHAPE_BYTES_MAX - n)
        return false;
    memcpy(shape->same + n, document.p + at, document.n - at);
    shape->rest = (uint16_t)(document.n - gate_at);
    return true;
}

/* Where a new shape goes: what was of no use for longest is forgotten. */
static struct shape *new_place(struct shapes *known)
{
    unsigned oldest = 0;

    if (known->n < SHAPES_MAX) {
        known->at[known->n] = xmalloc(sizeof(struct shape));
        return known->at[known->n++];
    }
    for (unsigned i = 1; i < known->n; i++) {
        if (known->at[i]->used < known->at[oldest]->used)
            oldest = i;
    }
    return known->at[oldest];
}

/* The document that bytes begin with was read to its end; spaces may follow. */
static void keep(struct shapes *known, const struct jscan *s, uint8_t root, struct strv bytes,
                 const struct learner *l, const struct jscan_gaps *gaps)
{
    struct shape *shape;

    while (bytes.n > 0 && is_space(bytes.p[bytes.n - 1]))
        bytes.n--;
    shape = new_place(known);
    shape->nodes = s->nodes;
    shape->root = root;
    shape->loose = s->loose;
    shape->folded = s->folded;
    shape->used = known->now;
    if (!draw(shape, bytes, l, gaps)) {
        shape->nodes = NULL; /* matches nothing */
        shape->used = 0;     /* and is the next to go */
    }
}

static enum rc learn(struct shapes *known, struct jscan *s, struct strv bytes)
{
    struct jscan_gap at[SHAPE_STEPS_MAX];
    struct jscan_gaps gaps = {.at = at, .max = SHAPE_STEPS_MAX};
    struct learner l = {.fn = s->fn, .arg = s->arg, .nodes = s->nodes};
    uint8_t root = s->target;
    enum rc rc;

    s->fn = learn_event;
    s->arg = &l;
    s->gaps = &gaps;
    rc = jscan_feed(s, bytes);
    s->fn = l.fn;
    s->arg = l.arg;
    s->gaps = NULL;
    if (rc == RC_OK && s->state == ST_DONE && gaps.n < gaps.max && l.n <= SHAPE_STEPS_MAX &&
        bytes.p[0] == '{')
        keep(known, s, root, bytes, &l, &gaps);
    return rc;
}

static enum rc feed_known(struct shapes *known, struct shape *shape, struct jscan *s,
                          struct strv bytes, const char *rest)
{
    shape->used = known->now;
    known->strange = 0;
    known->hits++;
    s->empty = false;
    tell(s, shape, known->found, bytes.p);
    s->folded = shape->folded;
    s->state = ST_DONE;
    s->at = (uint64_t)(rest - bytes.p);
    return jscan_feed(s, strv_skip(bytes, (size_t)(rest - bytes.p)));
}

enum rc shapes_feed(struct shapes *known, struct jscan *s, struct strv bytes)
{
    if (known == NULL || s->gaps != NULL || bytes.n == 0)
        return jscan_feed(s, bytes);
    known->now++;
    for (unsigned i = 0; i < known->n; i++) {
        struct shape *shape = known->at[i];
        const char *rest;

        if (shape->nodes != s->nodes || shape->root != s->target || shape->loose != s->loose)
            continue;
        rest = match(shape, bytes, known->found);
        if (rest != NULL)
            return feed_known(known, shape, s, bytes, rest);
    }
    if (++known->strange > SHAPE_STRANGE_MAX && known->strange % SHAPE_STRANGE_MAX != 0)
        return jscan_feed(s, bytes);
    return learn(known, s, bytes);
}
