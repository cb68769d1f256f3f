/*
 * read_fact_pick.c - see read_fact_pick.h.
 *
 * Texts are compared once for each value that occurs, not for each request: of a request
 * there are numbers, which are folded into one, and that one has a row.
 */
#include "metering/ledger/read_fact_pick.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/xalloc.h"

enum { ROWS_FIRST = 1024, CLASS_KEY_BYTES = 64 << 10 };

/* ---- combinations ---------------------------------------------------------------------------
 */

static enum rc class_key(const struct answer *a, const struct combo *c, struct buf *key)
{
    enum rc rc = RC_OK;

    buf_clear(key);
    for (size_t i = 0; i < a->q->n_by && rc == RC_OK; i++) {
        struct strv value;

        if (!field_is_of_combo(&a->q->by[i]))
            continue;
        value = combo_value(c, a->q->by[i].id);
        rc = buf_append(key, (const char *)&value.n, sizeof(value.n));
        if (rc == RC_OK)
            rc = buf_append_strv(key, value);
    }
    return rc;
}

static enum rc classify(struct fact_pick *p)
{
    struct answer *a = p->answer;
    const struct ledger_reader *r = a->reader;
    struct dict classes;
    struct buf key;
    size_t n_of_class = 0; /* of the first */
    enum rc rc = RC_OK;

    p->n_combos = r->n_combos ? (size_t)r->combos[r->n_combos - 1].id + 1 : 1;
    p->class_of = xmalloc(p->n_combos * sizeof(*p->class_of));
    memset(p->class_of, 0xff, p->n_combos * sizeof(*p->class_of));
    p->combo_of = xcalloc_wide(p->n_combos, sizeof(*p->combo_of));
    p->combo_of_class = xcalloc_wide(r->n_combos + 1, sizeof(*p->combo_of_class));
    dict_init(&classes);
    buf_init(&key, CLASS_KEY_BYTES);
    for (size_t i = 0; i < r->n_combos && rc == RC_OK; i++) {
        const struct combo *c = &r->combos[i];
        const int64_t *at;

        p->combo_of[c->id] = c;
        if (!combo_matches(&a->q->filter, c))
            continue;
        rc = class_key(a, c, &key);
        at = dict_get(&classes, buf_view(&key));
        p->class_of[c->id] = at ? (int32_t)*at : (int32_t)classes.n;
        if (!at) {
            p->combo_of_class[classes.n] = c;
            dict_put(&classes, buf_view(&key), p->class_of[c->id]);
        }
        n_of_class += p->class_of[c->id] == 0;
    }
    p->is_one_class = n_of_class == r->n_combos;
    p->n_classes = classes.n;
    buf_release(&key);
    dict_release(&classes);
    return rc;
}

/* ---- one block
 * -------------------------------------------------------------------------------- */

static void fail_with(struct fact_pick *p, enum rc rc)
{
    p->facts.rc = rc;
}

/* is_narrow: some are picked no more. */
static void pick_by_combo(struct fact_pick *p, bool is_narrow)
{
    bool is_bad = false;

    if (!facts_ids(&p->facts, FACT_COMBO, p->id))
        return;
    for (size_t i = 0; i < p->facts.n; i++) {
        uint32_t id = p->id[i];

        if (id >= p->n_combos) {
            is_bad = true;
            id = 0;
        }
        if (is_narrow && p->row[i] == PICK_NONE)
            continue;
        p->row[i] = p->class_of[id];
        is_bad |= p->row[i] == PICK_NONE && !p->combo_of[id];
    }
    if (is_bad)
        fail_with(p, read_damaged(&p->facts.fail));
}

/* The column's value where it is no id: what is said of it is said there. */
static int64_t raw_of(struct fact_pick *p, const struct pick_field *f, size_t i)
{
    const int64_t *raw = p->id[i] == UINT32_MAX ? facts_number(&p->facts, f->column) : NULL;

    return raw ? raw[i] : (int64_t)p->id[i];
}

static void pick_by_condition(struct fact_pick *p, struct pick_field *f)
{
    if (!facts_ids(&p->facts, f->column, p->id))
        return;
    for (size_t i = 0; f->is_any && i < p->facts.n; i++)
        p->row[i] = (p->id[i] != 0) == f->any_holds ? p->row[i] : PICK_NONE;
    if (f->is_any)
        return;
    for (size_t i = 0; i < p->facts.n; i++) {
        bool holds;

        if (p->row[i] == PICK_NONE)
            continue;
        if (p->id[i] < f->cap && f->known[p->id[i]] >= 0) {
            holds = f->known[p->id[i]] != 0;
        } else {
            enum rc rc = pick_holds(p->facts.reader, f, raw_of(p, f, i), &holds, &p->facts.fail);

            if (rc != RC_OK) {
                fail_with(p, rc);
                return;
            }
        }
        if (!holds)
            p->row[i] = PICK_NONE;
    }
}

/* Whether nothing is left of the block: the columns of what it is told apart by need no look. */
static bool is_none_left(const struct fact_pick *p)
{
    int32_t any = PICK_NONE;

    for (size_t i = 0; i < p->facts.n; i++)
        any &= p->row[i];
    return any == PICK_NONE;
}

/* Looked at once a block. */
static bool is_too_many(struct fact_pick *p, const struct pick_pairs *pairs)
{
    if (pairs->n < PICK_NUMBERS_MAX)
        return false;
    fail_with(p, read_too_many(&p->facts.fail, "answer with that many rows"));
    return true;
}

/* Of few customers or users most blocks have none, whose other columns need no look. False: so it is. */
static bool pick_by_narrow(struct fact_pick *p)
{
    for (size_t i = 0; i < p->facts.n; i++)
        p->row[i] = 0;
    pick_by_condition(p, &p->fields[p->narrow]);
    if (p->facts.rc != RC_OK || is_none_left(p))
        return false;
    pick_by_combo(p, true);
    return true;
}

/* to: p->row, or p->last where nobody looks at that of what is in no row. */
static inline void fold_field(struct fact_pick *p, struct pick_field *f, struct pick_pairs *pairs,
                              int32_t *to)
{
    bool is_word = pick_is_word(f);

    if (is_too_many(p, pairs) || !facts_ids(&p->facts, f->column, p->id))
        return;
    for (size_t i = 0; i < p->facts.n; i++) {
        uint32_t id = p->id[i];

        if (p->row[i] == PICK_NONE)
            continue;
        if (!is_word && id < f->cap && f->known[id] >= 0) {
            id = (uint32_t)f->known[id];
        } else if (!is_word || id >= PICK_DIRECT_MAX) {
            enum rc rc =
                pick_number(p->facts.reader, f, raw_of(p, f, i), &id, &p->facts.fail);

            if (rc != RC_OK) {
                fail_with(p, rc);
                return;
            }
        }
        to[i] = (int32_t)pick_fold(pairs, (uint32_t)to[i], id);
    }
}

static void fold_last(struct fact_pick *p)
{
    memset(p->last, 0, sizeof(p->last));
    for (size_t k = p->n_fields - p->n_kept; p->facts.rc == RC_OK && k < p->n_fields; k++)
        fold_field(p, &p->fields[k], &p->pairs[k - p->n_where], p->last);
}

/* ---- rows
 * -------------------------------------------------------------------------------------- */

/* The row of request i, by its texts. */
static enum rc row_of(struct fact_pick *p, size_t i, int64_t *row, struct fail *fail)
{
    struct answer *a = p->answer;
    struct facts *f = &p->facts;
    const int64_t *combo = facts_number(f, FACT_COMBO), *end = facts_number(f, FACT_END);
    const int64_t *start = a->q->filter.by_start ? facts_number(f, FACT_START) : NULL;
    int64_t us = (int64_t)((uint64_t)(end ? end[i] : 0) + (uint64_t)(start ? start[i] : 0));
    struct strv values[LEDGER_GROUP_MAX];

    if (f->place->is_cube)
        us = f->place->first_us;
    for (size_t k = 0; k < a->q->n_by; k++) {
        const struct ledger_field *by = &a->q->by[k];
        const int64_t *raw;
        enum rc rc;

        if (field_is_of_combo(by)) {
            uint64_t id = combo ? (uint64_t)combo[i] : 0;

            if (id >= p->n_combos || !p->combo_of[id])
                return read_damaged(fail);
            values[k] = combo_value(p->combo_of[id], by->id);
            continue;
        }
        raw = facts_number(f, pick_column(by));
        rc = pick_value(a->reader, by, raw ? raw[i] : 0, &values[k], fail);
        if (rc != RC_OK)
            return rc;
    }
    return answer_row_at(a, values, answer_period_at(a, us), p->make, row, fail);
}

static void grow_rows(struct fact_pick *p, int32_t number)
{
    size_t cap = p->cap_rows ? p->cap_rows : ROWS_FIRST;

    if ((size_t)number < p->cap_rows)
        return;
    while (cap <= (size_t)number)
        cap *= 2;
    p->row_of = xrealloc_table(p->row_of, cap * sizeof(*p->row_of));
    for (size_t i = p->cap_rows; i < cap; i++)
        p->row_of[i] = PICK_NEW;
    p->cap_rows = cap;
}

static void find_rows(struct fact_pick *p)
{
    p->n_picked = 0;
    for (size_t i = 0; i < p->facts.n; i++) {
        int32_t number = p->row[i];
        int64_t row;

        if (number == PICK_NONE)
            continue;
        if ((size_t)number >= p->cap_rows)
            grow_rows(p, number);
        if (p->row_of[number] == PICK_NEW) {
            enum rc rc = row_of(p, i, &row, &p->facts.fail);

            if (rc != RC_OK) {
                fail_with(p, rc);
                return;
            }
            p->row_of[number] = row < 0 ? PICK_NONE : (int32_t)row;
        }
        p->row[i] = p->row_of[number];
        p->n_picked += p->row[i] != PICK_NONE;
    }
}

static void make_room_to_meet(struct fact_pick *p)
{
    size_t n = pick_numbers(p), cap = p->cap_met ? p->cap_met : ROWS_FIRST;

    while (cap < n)
        cap *= 2;
    if (cap > p->cap_met) {
        p->is_met = xrealloc_table(p->is_met, cap * sizeof(*p->is_met));
        memset(p->is_met + p->cap_met, 0, (cap - p->cap_met) * sizeof(*p->is_met));
        p->cap_met = cap;
    }
}

void pick_meet(struct fact_pick *p, const struct fact_pick *from, const uint32_t *to, size_t n)
{
    make_room_to_meet(p);
    for (size_t i = 0; i < n; i++)
        p->is_met[to[i]] |= from->is_met[i];
}

static void count_picked(struct fact_pick *p)
{
    make_room_to_meet(p);
    p->n_picked = 0;
    for (size_t i = 0; i < p->facts.n; i++) {
        if (p->row[i] == PICK_NONE)
            continue;
        p->is_met[p->row[i]] = true;
        p->n_picked++;
    }
}

/* All of the block are in the row of its first. */
static void pick_alike(struct fact_pick *p)
{
    int64_t row;
    enum rc rc = row_of(p, 0, &row, &p->facts.fail);

    if (rc != RC_OK) {
        fail_with(p, rc);
        return;
    }
    for (size_t i = 0; i < p->facts.n; i++)
        p->row[i] = row < 0 ? PICK_NONE : (int32_t)row;
    p->n_picked = row < 0 ? 0 : p->facts.n;
}

/*
 * The class of all combinations of the block at hand, where it is one, as it is in blocks of cubes
 * mostly: their combinations need no look then.
 */
static bool is_of_one_class(struct fact_pick *p, int32_t *class)
{
    const int64_t *combo;

    *class = 0;
    if (p->is_one_class)
        return p->spares_combo || p->facts.place->is_cube;
    if (!p->facts.place->is_cube)
        return false;
    combo = facts_number(&p->facts, FACT_COMBO);
    if (!combo || memcmp(combo, combo + 1, (p->facts.n - 1) * sizeof(*combo)) != 0 || (uint64_t)combo[0] >= p->n_combos || !p->combo_of[combo[0]])
        return false;
    *class = p->class_of[combo[0]];
    return true;
}

/* Rows of requests of one class that are told apart by one word alone. */
static bool is_of_one_word(const struct fact_pick *p)
{
    return p->n_where == 0 && p->n_fields == 1 && p->answer->q->n_by == 1 &&
           p->answer->n_periods == 1 &&
           (p->fields[0].column == FACT_CUSTOMER || p->fields[0].column == FACT_USER);
}

static bool make_room_for_word(struct fact_pick *p, int64_t word)
{
    size_t cap = p->cap_words ? p->cap_words : ROWS_FIRST;

    if (word < 0 || word >= READ_TEXTS_MAX) {
        fail_with(p, read_damaged(&p->facts.fail));
        return false;
    }
    while (cap <= (size_t)word)
        cap *= 2;
    if (cap > p->cap_words) {
        p->row_of_word = xrealloc_table(p->row_of_word, cap * sizeof(*p->row_of_word));
        for (size_t i = p->cap_words; i < cap; i++)
            p->row_of_word[i] = PICK_NEW;
        p->cap_words = cap;
    }
    return true;
}

static void pick_by_word(struct fact_pick *p)
{
    const int64_t *word = facts_number(&p->facts, p->fields[0].column);

    p->n_picked = 0;
    for (size_t i = 0; p->facts.rc == RC_OK && i < p->facts.n; i++) {
        int64_t at = word ? word[i] : 0;

        if ((uint64_t)at >= p->cap_words && !make_room_for_word(p, at))
            return;
        if (p->row_of_word[at] == PICK_NEW) {
            int64_t row;
            enum rc rc = row_of(p, i, &row, &p->facts.fail);

            if (rc != RC_OK) {
                fail_with(p, rc);
                return;
            }
            p->row_of_word[at] = row < 0 ? PICK_NONE : (int32_t)row;
        }
        p->row[i] = p->row_of_word[at];
        p->n_picked += p->row[i] != PICK_NONE;
    }
}

static void pick_block(struct fact_pick *p)
{
    bool is_of_one = pick_is_of_one_period(p), is_alike;
    int32_t class;

    is_alike = is_of_one_class(p, &class);
    if (is_alike && class == PICK_NONE) {
        p->n_picked = 0;
        return;
    }
    if (is_alike && is_of_one && is_of_one_word(p) && !p->by_number) {
        pick_by_word(p);
        return;
    }
    if (is_alike && is_of_one && p->n_fields == 0 && p->facts.place->is_cube && !p->by_number) {
        pick_alike(p);
        return;
    }
    if (is_alike) {
        for (size_t i = 0; i < p->facts.n; i++)
            p->row[i] = class;
    } else if (p->narrow == p->n_where) {
        pick_by_combo(p, false);
    } else if (!pick_by_narrow(p)) {
        p->n_picked = 0;
        return;
    }
    for (size_t k = 0; p->facts.rc == RC_OK && k < p->n_where; k++) {
        if (is_alike || k != p->narrow)
            pick_by_condition(p, &p->fields[k]);
    }
    if (p->facts.rc == RC_OK && p->n_where > 0 && is_none_left(p)) {
        p->n_picked = 0;
        return;
    }
    for (size_t k = p->n_where; p->facts.rc == RC_OK && k < p->n_fields - p->n_kept; k++)
        fold_field(p, &p->fields[k], &p->pairs[k - p->n_where], p->row);
    if (p->facts.rc == RC_OK && p->only && !pick_only(p)) {
        p->n_picked = 0;
        return;
    }
    if (p->facts.rc == RC_OK && p->n_kept > 0)
        fold_last(p);
    if (p->facts.rc == RC_OK && is_of_one)
        pick_fold_period(p);
    else if (p->facts.rc == RC_OK)
        pick_by_time(p);
    if (p->facts.rc == RC_OK && p->n_kept > 0)
        p->n_picked = p->facts.n;
    else if (p->facts.rc == RC_OK && p->by_number)
        count_picked(p);
    else if (p->facts.rc == RC_OK)
        find_rows(p);
}

bool pick_is_by_word(struct fact_pick *p)
{
    return is_of_one_word(p) && pick_is_of_one_period(p);
}

bool pick_here(struct fact_pick *p)
{
    pick_block(p);
    return p->facts.rc == RC_OK && p->n_picked > 0;
}

/* By start, whether any request of the block is of the time: at a window's edge few are. */
static bool has_any_start(struct fact_pick *p)
{
    const struct ledger_filter *f = &p->answer->q->filter;
    const int64_t *end = facts_number(&p->facts, FACT_END);
    const int64_t *start = facts_number(&p->facts, FACT_START);
    bool any = false;

    for (size_t i = 0; i < p->facts.n; i++) {
        int64_t us = end ? end[i] : 0;
        int64_t began = (int64_t)((uint64_t)us + (uint64_t)(start ? start[i] : 0));

        any |= (us >= p->facts.from_us) & (us < p->facts.to_us) & (began >= f->from_us) &
               (began < f->to_us);
    }
    return any || p->facts.rc != RC_OK;
}

bool pick_next(struct fact_pick *p)
{
    while (facts_next(&p->facts)) {
        if (pick_is_left_out(p))
            continue;
        if (p->answer->q->filter.by_start && !has_any_start(p))
            continue;
        if (pick_here(p))
            return true;
        if (p->facts.rc != RC_OK)
            return false;
    }
    return false;
}

/* ---- the question --------------------------------------------------------------------------
 */

/* The filter's list, where it is by the fields of the question. */
static const struct ledger_tuples *only_of(const struct ledger_question *q)
{
    const struct ledger_tuples *t = q->filter.only;
    bool is = t && t->n_by == q->n_by && !t->is_except && !t->passes_tasks;

    for (size_t i = 0; is && i < q->n_by; i++)
        is = t->by[i].id == q->by[i].id && strv_eq(t->by[i].tag, q->by[i].tag);
    return is ? t : NULL;
}

struct fact_pick *pick_open(struct answer *a, int64_t from_us, int64_t to_us, bool make,
                            struct fail *fail)
{
    const struct ledger_question *q = a->q;
    struct fact_pick *p = xcalloc(1, sizeof(*p));

    p->answer = a;
    p->make = make;
    p->only = only_of(q);
    p->period_at = -1;
    facts_open(&p->facts, a->reader, from_us, to_us);
    p->fields = xcalloc_wide(q->filter.n_where + q->n_by + 1, sizeof(*p->fields));
    for (size_t i = 0; i < q->filter.n_where; i++) {
        const struct ledger_condition *c = &q->filter.where[i];

        if (!field_is_of_combo(&c->field))
            pick_field_init(&p->fields[p->n_where++], &c->field, c);
    }
    while (p->narrow < p->n_where && !pick_is_of_words(&p->fields[p->narrow]))
        p->narrow++;
    p->n_fields = p->n_where;
    for (size_t i = 0; i < q->n_by; i++) {
        if (!field_is_of_combo(&q->by[i]))
            pick_field_init(&p->fields[p->n_fields++], &q->by[i], NULL);
    }
    if (classify(p) != RC_OK) {
        *fail = (struct fail){.rc = RC_LIMIT, .doing = "answer with that many rows"};
        pick_close(p);
        return NULL;
    }
    return p;
}

enum rc pick_finish(struct fact_pick *p, enum rc rc, struct fail *fail)
{
    if (rc == RC_OK && p->facts.rc != RC_OK) {
        rc = p->facts.rc;
        *fail = p->facts.fail;
    }
    pick_close(p);
    return rc;
}

void pick_close(struct fact_pick *p)
{
    facts_close(&p->facts);
    for (size_t i = 0; i < p->n_fields; i++)
        pick_field_release(&p->fields[i]);
    for (size_t i = 0; i <= LEDGER_GROUP_MAX; i++)
        pick_pairs_release(&p->pairs[i]);
    free(p->fields);
    if (!p->is_beside) {
        free(p->class_of);
        free(p->combo_of);
        free(p->combo_of_class);
        free(p->left_out);
    }
    free(p->row_of);
    free(p->is_met);
    free(p->is_only);
    free(p->row_of_word);
    free(p->marks);
    free(p);
}
