/*
 * ingest_word.c - numbers instead of texts: words, tag sets, combinations, tasks.
 *
 * Each has a table where it stands once and a cache before it.  A cache that is
 * full is emptied: it refills from what is in use.
 */
#include <string.h>

#include "base/check.h"
#include "metering/ledger/ingest_int.h"
#include "metering/ledger/wire.h"

static void keep(struct dict *cache, size_t max, struct strv key, int64_t id)
{
    if (cache->n >= max || cache->far_bytes + key.n > INGEST_NAMES_BYTES)
        dict_clear(cache);
    dict_put(cache, key, id);
}

void ingest_forget_words(struct ingest *in)
{
    dict_clear(&in->words);
    dict_clear(&in->tagsets);
    dict_clear(&in->combos);
    ingest_forget_commons(in);
    dict_clear(&in->tasks);
}

/* Finds by the bound statement, or adds by the other. */
static enum rc find_or_add(struct ingest *in, enum statement find, enum statement add,
                           int64_t *id, struct fail *fail)
{
    enum rc rc = db_int(in->sql[find], id, fail, "look up a text");

    if (rc != RC_STATE)
        return rc;
    rc = db_run(in->sql[add], fail, "store a text");
    if (rc == RC_OK)
        *id = sqlite3_last_insert_rowid(in->db);
    return rc;
}

enum rc ingest_word(struct ingest *in, struct strv text, int64_t *id, struct fail *fail)
{
    const int64_t *known;
    enum rc rc;

    *id = 0;
    if (text.n == 0)
        return RC_OK;
    known = dict_get(&in->words, text);
    if (known) {
        *id = *known;
        return RC_OK;
    }
    db_bind_text(in->sql[SQL_WORD_FIND], 1, text);
    db_bind_text(in->sql[SQL_WORD_ADD], 1, text);
    rc = find_or_add(in, SQL_WORD_FIND, SQL_WORD_ADD, id, fail);
    if (rc == RC_OK)
        keep(&in->words, INGEST_WORDS_MAX, text, *id);
    return rc;
}

static enum rc put_text(struct buf *out, struct strv text)
{
    char n[WIRE_U64_BYTES];
    enum rc rc = buf_append(out, n, wire_make_u64(n, text.n));

    return rc == RC_OK ? buf_append_strv(out, text) : rc;
}

static unsigned sources_of(const struct subject *s)
{
    unsigned packed = 0;

    for (unsigned i = 0; i < STANDING_TAGS; i++)
        packed |= (unsigned)s->source[i] << (2 * i);
    return packed;
}

/* The texts of a combination, in the order of its columns, then its numbers. */
enum { COMBO_TEXTS = 11, COMBO_NUMBERS = 4 };

struct combo_parts {
    struct strv text[COMBO_TEXTS];
    unsigned number[COMBO_NUMBERS];
};

static struct combo_parts parts_of(const struct record *r)
{
    const struct strv *dim = r->subject.dim;

    return (struct combo_parts){
        .text = {dim[DIM_TEAM], dim[DIM_FEATURE], dim[DIM_ENVIRONMENT], dim[DIM_TASK_TYPE],
                 dim[DIM_KEY], dim[DIM_MODEL], dim[DIM_UPSTREAM], r->endpoint, r->protocol,
                 r->service_tier, r->price_id},
        .number = {r->outcome, r->usage_source, r->price_status, sources_of(&r->subject)},
    };
}

/* The parts one behind the other, texts with their lengths. */
static enum rc join_parts(const struct combo_parts *parts, struct buf *out)
{
    size_t most = sizeof(parts->number);
    char *start, *p;
    enum rc rc;

    for (int i = 0; i < COMBO_TEXTS; i++)
        most += WIRE_U64_BYTES + parts->text[i].n;
    rc = buf_reserve(out, most);
    if (rc != RC_OK)
        return rc;
    start = buf_tail(out);
    ASSERT(start != NULL);
    memcpy(start, parts->number, sizeof(parts->number));
    p = start + sizeof(parts->number);
    for (int i = 0; i < COMBO_TEXTS; i++) {
        p += wire_make_u64(p, parts->text[i].n);
        p = strv_copy(p, parts->text[i]);
    }
    buf_commit(out, (size_t)(p - start));
    return RC_OK;
}

enum rc ingest_combo(struct ingest *in, const struct record *r, int64_t *id, struct fail *fail)
{
    struct combo_parts parts = parts_of(r);
    const int64_t *known;
    enum rc rc;

    buf_clear(&in->scratch);
    rc = join_parts(&parts, &in->scratch);
    if (rc != RC_OK) {
        *fail = (struct fail){.rc = rc, .doing = "store a record of this size"};
        return rc;
    }
    known = dict_get(&in->combos, buf_view(&in->scratch));
    if (known) {
        *id = *known;
        return RC_OK;
    }
    for (int i = 0; i < COMBO_TEXTS; i++) {
        int64_t word;

        rc = ingest_word(in, parts.text[i], &word, fail);
        if (rc != RC_OK)
            return rc;
        sqlite3_bind_int64(in->sql[SQL_COMBO_FIND], 1 + i, word);
        sqlite3_bind_int64(in->sql[SQL_COMBO_ADD], 1 + i, word);
    }
    for (int i = 0; i < COMBO_NUMBERS; i++) {
        sqlite3_bind_int64(in->sql[SQL_COMBO_FIND], 1 + COMBO_TEXTS + i, parts.number[i]);
        sqlite3_bind_int64(in->sql[SQL_COMBO_ADD], 1 + COMBO_TEXTS + i, parts.number[i]);
    }
    rc = find_or_add(in, SQL_COMBO_FIND, SQL_COMBO_ADD, id, fail);
    if (rc == RC_OK)
        keep(&in->combos, INGEST_COMBOS_MAX, buf_view(&in->scratch), *id);
    return rc;
}

enum rc ingest_tagset(struct ingest *in, const struct subject *s, int64_t *id,
                      struct fail *fail)
{
    const int64_t *known;
    struct strv body;
    enum rc rc = RC_OK;

    *id = 0;
    if (s->n_free == 0)
        return RC_OK;
    buf_clear(&in->scratch);
    for (unsigned i = 0; i < s->n_free && rc == RC_OK; i++) {
        rc = put_text(&in->scratch, s->free[i].name);
        if (rc == RC_OK)
            rc = put_text(&in->scratch, s->free[i].value);
    }
    if (rc != RC_OK) {
        *fail = (struct fail){.rc = rc, .doing = "store tags of this size"};
        return rc;
    }
    body = buf_view(&in->scratch);
    known = dict_get(&in->tagsets, body);
    if (known) {
        *id = *known;
        return RC_OK;
    }
    db_bind_blob(in->sql[SQL_TAGSET_FIND], 1, body);
    db_bind_blob(in->sql[SQL_TAGSET_ADD], 1, body);
    rc = find_or_add(in, SQL_TAGSET_FIND, SQL_TAGSET_ADD, id, fail);
    if (rc == RC_OK)
        keep(&in->tagsets, INGEST_TAGSETS_MAX, body, *id);
    return rc;
}

enum rc ingest_task_id(struct ingest *in, struct strv team, struct strv task, int64_t *id,
                       struct fail *fail)
{
    const int64_t *known;
    int64_t word;
    enum rc rc;

    *id = 0;
    if (task.n == 0)
        return RC_OK;
    rc = ingest_word(in, team, &word, fail);
    if (rc != RC_OK)
        return rc;
    buf_clear(&in->scratch);
    rc = buf_append(&in->scratch, (const char *)&word, sizeof(word));
    if (rc == RC_OK)
        rc = buf_append_strv(&in->scratch, task);
    if (rc != RC_OK) {
        *fail = (struct fail){.rc = rc, .doing = "store a task of this name"};
        return rc;
    }
    known = dict_get(&in->tasks, buf_view(&in->scratch));
    if (known) {
        *id = *known;
        return RC_OK;
    }
    sqlite3_bind_int64(in->sql[SQL_TASK_FIND], 1, word);
    db_bind_text(in->sql[SQL_TASK_FIND], 2, task);
    sqlite3_bind_int64(in->sql[SQL_TASK_ADD], 1, word);
    db_bind_text(in->sql[SQL_TASK_ADD], 2, task);
    rc = find_or_add(in, SQL_TASK_FIND, SQL_TASK_ADD, id, fail);
    if (rc == RC_OK)
        keep(&in->tasks, INGEST_TASKS_MAX, buf_view(&in->scratch), *id);
    return rc;
}
