/*
 * any.h - numbers that look random and are the same each time, and ledgers of them.
 */
#ifndef TESTS_UNIT_REPORTS_ANY_H
#define TESTS_UNIT_REPORTS_ANY_H

#include "tests/unit/reports/fixture.h"

static uint64_t any_seed = 1;

/* TOLLGATE_SEED, a number, makes others of all that follows. */
static inline void any_start(uint64_t seed)
{
    const char *other = getenv("TOLLGATE_SEED");

    any_seed = seed + (other ? strtoull(other, NULL, 10) * 1000003 : 0);
}

static inline uint64_t any(void)
{
    any_seed ^= any_seed << 13;
    any_seed ^= any_seed >> 7;
    any_seed ^= any_seed << 17;
    return any_seed;
}

#define PICK(list) strv_z((list)[any() % (sizeof(list) / sizeof((list)[0]))])
static const char *const any_teams[] = {"search", "a,b\\c", "=1+1", "(untagged)", "", "t&x=1"};
static const char *const any_features[] = {"chat", "sum mary", ""};
static const char *const any_models[] = {"gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5"};
static const char *const any_tasks[] = {"t1", "t2", "t3", "t4", "t5", ""};
static const char *const any_customers[] = {"acme", "globex", ""};
static const char *const any_environments[] = {"prod", "eval", ""};

static inline void any_record(struct record *r)
{
    *r = fixture_record(at("2026-10-25T00:00:00Z") +
                        (int64_t)(any() % (uint64_t)(20 * US_PER_DAY)));
    r->subject.dim[DIM_TEAM] = PICK(any_teams);
    r->subject.dim[DIM_FEATURE] = PICK(any_features);
    r->subject.dim[DIM_ENVIRONMENT] = PICK(any_environments);
    r->subject.dim[DIM_MODEL] = r->model = PICK(any_models);
    r->subject.dim[DIM_TASK] = PICK(any_tasks);
    r->subject.dim[DIM_CUSTOMER] = PICK(any_customers);
    r->attempt = (uint32_t)(any() % 3);
    r->outcome = (enum outcome)(any() % OUTCOME_COUNT);
    r->is_repeat = r->outcome == OUTCOME_OK && any() % 4 == 0;
    r->is_cacheable = any() % 5 == 0;
    usage_set(&r->usage, USAGE_INPUT, any() % 5000);
    usage_set(&r->usage, USAGE_OUTPUT, any() % 400000);
    if (any() % 12 == 0) {
        r->usage = (struct usage){.has = 0};
        r->usage_source = USAGE_NONE;
        r->price_status = PRICE_NONE;
        return;
    }
    fixture_set_cost(r, (money_int)(any() >> 20) * (money_int)(any() % 1000003));
    r->n_lines = 2;
    r->lines[0] = (struct record_line){METER_IN, any() % 5000, {1}, {r->cost.atto / 3}};
    r->lines[1] = (struct record_line){
        METER_OUT, 1 + any() % 999, {1}, {r->cost.atto - r->cost.atto / 3}};
}

/* What price changes add to a record: in its own time, or in that of the books that are open. */
static inline void any_correction(struct record *r)
{
    r->was_unpriced = r->price_status == PRICE_NONE;
    r->is_correction = true;
    r->corrects = r->id;
    r->price_status = PRICE_OK;
    r->reason = STRV("a new book");
    r->corrected_by = STRV("=finance");
    if (any() % 2 && r->end_us < at("2026-11-01T00:00:00Z"))
        r->start_us = r->end_us = at("2026-11-01T00:00:00Z");
    uuid7_make(&r->id, r->start_us + 1);
    fixture_set_cost(r, r->was_unpriced ? (money_int)(any() % 1000003)
                                        : (any() % 2 ? 1 : -1) * r->cost.atto / 7);
    r->n_lines = 1;
    r->lines[0] = (struct record_line){METER_OUT, 0, {1}, {r->cost.atto}};
}

static inline void any_ledger(struct fixture *f, uint64_t start, size_t records)
{
    any_start(start);
    fixture_open(f);
    f->sources.state_dir = f->dir;
    for (size_t i = 0; i < records; i++) {
        struct record r;

        any_record(&r);
        fixture_add(f, &r);
        if (any() % 8)
            continue;
        any_correction(&r);
        assert_int_equal(journal_end(f->journal, &r), RC_OK);
    }
    for (int i = 0; i < 12; i++)
        fixture_close_task(f, any_teams[any() % 6], any_tasks[any() % 5],
                           (enum task_outcome)(1 + any() % 3),
                           at("2026-11-01T00:00:00Z") + (int64_t)(any() % (uint64_t)US_PER_DAY));
    fixture_flush(f);
}

#endif
