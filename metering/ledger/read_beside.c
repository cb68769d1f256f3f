/*
 * read_beside.c - a question that another thread answers, while the asker reads on.
 *
 * Walks over columns are shared as it is (read_crew.h), but what follows them is not: groups are merged,
 * named and put in order by one thread.  So where there are two questions, each has half of the threads.
 *
 * The other thread's view may be later.  It has the asker's blocks, days and last requests, so an answer
 * that is made of these alone is one of the asker's view; any other is asked again.
 */
#include <pthread.h>
#include <stdlib.h>

#include "base/xalloc.h"
#include "metering/ledger/read_crew.h"
#include "metering/ledger/read_cube.h"
#include "metering/ledger/read_fact.h"

struct beside {
    struct ledger_reader *reader; /* the asker's */
    const struct ledger_question *q;
    size_t threads; /* for each */
    struct ledger_rows rows; /* of q */
    bool is_found;
    ledger_work_fn *work;
    void *arg;
    enum rc rc; /* of work */
    struct fail *fail;
};

/*
 * Rollups, lines and outcomes of tasks are those of the view in which they are read.  What is asked of
 * the dearest alone may ask rollups for the others.
 */
static bool is_of_columns(const struct ledger_question *q)
{
    bool is_of_combo = filter_is_of_combo(&q->filter), is_of_tasks = false;

    for (size_t i = 0; i < q->n_by; i++) {
        is_of_combo &= field_is_of_combo(&q->by[i]);
        is_of_tasks |= q->by[i].id == FIELD_TASK_OUTCOME;
    }
    for (size_t i = 0; i < q->filter.n_where; i++)
        is_of_tasks |= q->filter.where[i].field.id == FIELD_TASK_OUTCOME;
    return !is_of_combo && !is_of_tasks && !q->filter.by_start && q->top == 0;
}

/* How many threads may read; 1: nothing is gained by another. All that they share is there then. */
static enum rc count_threads(struct ledger_reader *r, const struct ledger_question *q, size_t *out,
                             struct fail *fail)
{
    struct answer a;
    struct facts f;
    enum rc rc;

    *out = 1;
    answer_init(&a, r, q);
    rc = is_of_columns(q) ? answer_can_use_facts(&a, fail) : RC_OK;
    if (rc == RC_OK && a.can_use_facts) {
        facts_open(&f, r, q->filter.from_us, q->filter.to_us);
        *out = crew_size(r, facts_within(&f));
        facts_close(&f);
        rc = cubes_look(r, fail);
    }
    answer_free(&a);
    return rc;
}

/* What fails is asked again by the asker. */
static void ask_beside(struct beside *b, struct ledger_reader *r)
{
    struct fail ignored;

    ledger_read_hold(r, b->reader->held_max);
    ledger_read_count(r, b->reader->counted_max);
    ledger_read_crew(r, b->threads, b->reader->crew_least);
    facts_borrow_tail(r, b->reader);
    b->is_found = ledger_read_sums(r, b->q, &b->rows, &ignored) == RC_OK;
    facts_return_tail(r);
    if (b->is_found && b->rows.rollup_rows > 0) {
        ledger_rows_release(&b->rows);
        b->is_found = false;
    }
}

static void work_as(struct ledger_reader *r, size_t member, void *arg)
{
    struct beside *b = arg;

    if (member == 0)
        b->rc = b->work(b->arg, b->fail);
    else
        ask_beside(b, r);
}

enum rc ledger_read_sums_beside(struct ledger_reader *r, const struct ledger_question *q,
                                struct ledger_rows *out, ledger_work_fn *work, void *arg,
                                struct fail *fail)
{
    struct beside b = {.reader = r, .q = q, .work = work, .arg = arg, .fail = fail};
    size_t most = r->crew_most, threads;
    enum rc rc = count_threads(r, q, &threads, fail);

    if (rc != RC_OK)
        return rc;
    b.threads = threads > 1 ? threads / 2 : 1;
    if (threads > 1)
        r->crew_most = b.threads;
    crew_run(r, threads > 1 ? 2 : 1, work_as, &b);
    r->crew_most = most;
    if (b.rc == RC_OK && !b.is_found) {
        b.rc = ledger_read_sums(r, q, &b.rows, fail);
        b.is_found = b.rc == RC_OK;
    }
    if (b.rc == RC_OK)
        *out = b.rows;
    else if (b.is_found)
        ledger_rows_release(&b.rows);
    return b.rc;
}

/* ---- many questions ---------------------------------------------------------------------- */

enum { MANY_EACH_LEAST = 8 }; /* questions; for fewer a thread is not worth it */

struct many {
    struct ledger_reader *reader; /* the asker's */
    const struct ledger_many *of;
    size_t next;
    bool *is_left; /* for the asker: what was not of columns alone */
    enum rc rc;
    struct fail *fail;
    pthread_mutex_t lock; /* of all above, and of make and take */
};

/* Under the lock. */
static void many_fail(struct many *m, enum rc rc, const struct fail *fail)
{
    if (m->rc != RC_OK)
        return;
    m->rc = rc;
    *m->fail = *fail;
}

/* The next that nobody has; false: there is none. */
static bool many_next(struct many *m, size_t *i, struct ledger_question *q)
{
    struct fail fail = {.rc = RC_LIMIT, .doing = "make a question"};
    bool is_there;
    enum rc rc;

    pthread_mutex_lock(&m->lock);
    is_there = m->rc == RC_OK && m->next < m->of->n;
    if (is_there) {
        *i = m->next++;
        rc = m->of->make(*i, q, m->of->arg);
        is_there = rc == RC_OK;
        if (!is_there)
            many_fail(m, rc, &fail);
    }
    pthread_mutex_unlock(&m->lock);
    return is_there;
}

static void many_take(struct many *m, size_t i, struct ledger_rows *rows)
{
    struct fail fail = {.rc = RC_LIMIT, .doing = "hold what was answered"};
    enum rc rc;

    pthread_mutex_lock(&m->lock);
    if (m->rc == RC_OK) {
        rc = m->of->take(i, rows, m->of->arg);
        if (rc != RC_OK)
            many_fail(m, rc, &fail);
    }
    pthread_mutex_unlock(&m->lock);
    ledger_rows_release(rows);
}

static void many_answer(struct many *m, struct ledger_reader *r, struct ledger_question *q)
{
    struct ledger_rows rows;
    struct fail fail = {0};
    size_t i;

    while (many_next(m, &i, q)) {
        enum rc rc = ledger_read_sums(r, q, &rows, &fail);

        if (rc == RC_OK && (r == m->reader || rows.rollup_rows == 0)) {
            many_take(m, i, &rows);
            continue;
        }
        if (rc == RC_OK)
            ledger_rows_release(&rows);
        pthread_mutex_lock(&m->lock);
        if (r == m->reader)
            many_fail(m, rc, &fail);
        else
            m->is_left[i] = true;
        pthread_mutex_unlock(&m->lock);
    }
}

static void many_work(struct ledger_reader *r, size_t member, void *arg)
{
    struct many *m = arg;
    struct ledger_question *q = xmalloc(sizeof(*q));

    if (member != 0) {
        ledger_read_hold(r, m->reader->held_max);
        ledger_read_count(r, m->reader->counted_max);
        ledger_read_crew(r, 1, 0);
        facts_borrow_tail(r, m->reader);
    }
    many_answer(m, r, q);
    if (member != 0)
        facts_return_tail(r);
    free(q);
}

/* By the asker, whose view it is. */
static void many_left(struct many *m)
{
    struct ledger_question *q = xmalloc(sizeof(*q));
    struct ledger_rows rows;

    for (size_t i = 0; m->rc == RC_OK && i < m->of->n; i++) {
        if (!m->is_left[i])
            continue;
        m->rc = m->of->make(i, q, m->of->arg);
        if (m->rc == RC_OK)
            m->rc = ledger_read_sums(m->reader, q, &rows, m->fail);
        if (m->rc == RC_OK)
            many_take(m, i, &rows);
    }
    free(q);
}

enum rc ledger_read_many(struct ledger_reader *r, const struct ledger_many *of, struct fail *fail)
{
    struct many m = {.reader = r, .of = of, .fail = fail, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct ledger_question *q = xmalloc(sizeof(*q));
    size_t most = r->crew_most, threads = 1, shared = 1;

    if (of->n >= 2 * (size_t)MANY_EACH_LEAST) {
        m.rc = of->make(0, q, of->arg);
        if (m.rc == RC_OK) /* all that they share is there then */
            m.rc = count_threads(r, q, &shared, fail);
        if (m.rc == RC_OK && is_of_columns(q))
            threads = crew_size(r, of->n / MANY_EACH_LEAST *
                                       (r->crew_least ? r->crew_least : CREW_BLOCKS_LEAST));
    }
    m.is_left = xcalloc_wide(of->n + 1, sizeof(*m.is_left));
    if (threads > 1)
        r->crew_most = 1;
    if (m.rc == RC_OK)
        crew_run(r, threads, many_work, &m);
    r->crew_most = most;
    many_left(&m);
    free(m.is_left);
    free(q);
    return m.rc;
}
