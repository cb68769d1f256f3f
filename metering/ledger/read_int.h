/*
 * read_int.h - the parts of the reader: texts and combinations (ledger_read.c), what a
 * question chooses (read_match.c), scans over lines (read_lines.c), sums
 * (read_sums.c, read_percentile.c), tasks (read_tasks.c), audit (read_verify.c).
 */
#ifndef METERING_LEDGER_READ_INT_H
#define METERING_LEDGER_READ_INT_H

#include "base/arena.h"
#include "metering/ledger/cube.h"
#include "metering/ledger/db.h"
#include "metering/ledger/dict.h"
#include "metering/ledger/fact_source.h"
#include "metering/ledger/ledger_read.h"
#include "metering/ledger/schema.h"

enum {
    READ_BUSY_MS = 5000,      /* the longest wait for a lock; readers hardly meet one */
    READ_TEXTS_MAX = 1 << 24, /* texts of one table */
    READ_TEXTS_BYTES = 1 << 30,
    READ_TEXTS_KEPT_BYTES = 64 << 20, /* kept from one view to the next */
    READ_COMMONS_KEPT = 1 << 16,       /* of what records share */
    READ_COMMONS_KEPT_BYTES = 32 << 20,
    COMBO_TEXTS = 11,
};

/* Texts of one table by id, read when they are first asked for. */
struct texts {
    sqlite3_stmt *find;
    struct strv *at; /* p NULL: not read yet */
    size_t cap, n_loads;
    struct arena arena;
};

/* In the order of the table's columns. */
enum combo_text {
    COMBO_TEAM = 0,
    COMBO_FEATURE,
    COMBO_ENVIRONMENT,
    COMBO_TASK_TYPE,
    COMBO_KEY,
    COMBO_MODEL,
    COMBO_UPSTREAM,
    COMBO_ENDPOINT,
    COMBO_PROTOCOL,
    COMBO_SERVICE_TIER,
    COMBO_PRICE_ID,
};

struct combo {
    int64_t id;
    struct strv text[COMBO_TEXTS];
    enum outcome outcome;
    enum usage_source usage_source;
    enum price_status price_status;
    unsigned sources;
};

/* A block of facts, by its row in fact_block. */
struct fact_place {
    int64_t block; /* 0: those after the last one, made from their records */
    size_t n;
    int64_t first_us, last_us;
    int64_t first_task, last_task;
    bool is_cube; /* rows of a cube: `block` is of those */
};

/* A day that is added up (cube.h). */
struct cube_place {
    int64_t day, through, first;
    int64_t n; /* rows, or CUBE_NONE */
};

/* What the view has of them, in order of day. */
struct cube_index {
    sqlite3_stmt *body;
    bool is_read;
    struct cube_place *days[CUBE_KINDS];
    size_t n[CUBE_KINDS];
};

/* A block of what tasks came to (tally.h). */
struct tally_place {
    int64_t block, through;
    int64_t first_us, last_us;
    bool is_none;
};

/* What the view has of them, in order of block; and tasks with an outcome since. */
struct tally_index {
    sqlite3_stmt *body;
    bool is_read;
    struct tally_place *at;
    size_t n;
    int64_t *again;
    size_t n_again;
};

/* What the view has of them; statements and tail are kept from view to view. */
struct fact_index {
    sqlite3_stmt *body;
    struct fact_source source;
    struct fact_place *blocks;
    size_t n;
    bool is_read, is_whole; /* is_whole: every record is in a block or in the tail */
    int64_t last_seq;       /* of the last block */
    struct fact_block *tail;
    int64_t tail_after, tail_seq; /* the tail holds the records from behind one to the other */
};

struct ledger_reader {
    sqlite3 *db;
    struct fact_index facts;
    struct cube_index cubes;
    struct tally_index tallies;
    sqlite3_stmt *body, *line_of_id, *state;
    sqlite3_stmt *value_body, *task_outcome, *corrections;
    sqlite3_stmt *body_common, *value_common; /* what their records share, where it is not kept */
    char prompt_text[2 * sizeof(uint64_t) + 1]; /* the last FIELD_PROMPT asked for */
    struct texts words, tagsets, tasks, commons;
    struct combo *combos; /* in order of id */
    size_t n_combos;
    bool in_view;
    size_t crew_most, crew_least; /* of read_crew.h: 0: as it says */
    int64_t kept_from_us; /* lines that ended before are deleted; INT64_MIN: none are */
    uint64_t held_max;    /* ledger_read_hold */
    uint64_t counted_max; /* ledger_read_count */
    size_t costs_bytes;   /* ledger_read_costs */
};

/* The columns of a line. */
struct line {
    int64_t end_us, seq, start_us, combo, customer, user, task, tagset, attempt;
    bool is_priced;
    bool is_correction; /* adds to the cost of another; no request */
    bool is_late_price; /* ... which had none */
    struct money cost; /* NANO_FAR: beyond the column, see the record */
    bool is_far;
};
#define LINE_COLUMNS                                                                           \
    "l.end_us, l.seq, l.start_us, l.combo, l.customer, l.user, l.task, l.tagset, l.attempt, "  \
    "l.cost_nano, l.cost_rest"
enum { LINE_COLUMN_COUNT = 11 };

/* ledger_read.c */
enum rc read_failed(struct ledger_reader *r, struct fail *fail);
/* 0 gives the empty text. */
enum rc texts_get(struct ledger_reader *r, struct texts *t, int64_t id, struct strv *out,
                  struct fail *fail) RC_MUST;
enum rc read_combos(struct ledger_reader *r, struct fail *fail) RC_MUST;
/* NULL: there is none (a damaged database). */
const struct combo *read_combo(const struct ledger_reader *r, int64_t id);
void read_line_columns(sqlite3_stmt *stmt, struct line *out);
/* Decodes the record of a line; views live until the next call. */
enum rc read_body(struct ledger_reader *r, int64_t seq, struct record *out,
                  struct fail *fail) RC_MUST;
/* The same with views of its own, for values of fields. */
enum rc read_value_body(struct ledger_reader *r, int64_t seq, struct record *out,
                        struct fail *fail) RC_MUST;
enum rc read_damaged(struct fail *fail);

/* read_match.c */
bool field_is_of_combo(const struct ledger_field *field);
bool filter_is_of_combo(const struct ledger_filter *f);
struct strv combo_value(const struct combo *c, enum ledger_field_id id);
bool condition_holds(const struct ledger_condition *c, struct strv value);
/* Whether it asks for no value, or for any: which value there is does not matter. */
bool condition_is_of_none(const struct ledger_condition *c);
/* All conditions on fields of the combination hold. */
bool combo_matches(const struct ledger_filter *f, const struct combo *c);
enum rc line_value(struct ledger_reader *r, const struct line *line, const struct combo *c,
                   const struct ledger_field *field, struct strv *out,
                   struct fail *fail) RC_MUST;
/* Whether the values of a list in order have these among them. */
bool tuples_have(const struct ledger_tuples *t, const struct strv *value);
/* Conditions on all other fields, given that combo_matches. */
enum rc line_matches(struct ledger_reader *r, const struct ledger_filter *f,
                     const struct line *line, const struct combo *c, bool *out,
                     struct fail *fail) RC_MUST;

/*
 * read_lines.c: lines with end in [from, to) that match; the filter's own times hold too.
 * Where some of them may be deleted: see read_kept.
 */
typedef enum rc line_fn(const struct line *line, const struct combo *combo, void *arg,
                        struct fail *fail);
enum line_order { LINES_BY_END = 0, LINES_BY_END_DOWN, LINES_BY_COST_DOWN, LINES_BY_TASK };
/* fn ends the scan by RC_EOF, which becomes RC_OK. */
enum rc scan_lines(struct ledger_reader *r, const struct ledger_filter *f, int64_t from_us,
                   int64_t to_us, enum line_order order, line_fn *fn, void *arg,
                   struct fail *fail) RC_MUST;
/* Bounds of the ends that lines of the filter may have. */
void filter_end_bounds(const struct ledger_filter *f, int64_t *from_us, int64_t *to_us);
/* scan_lines where deleted lines are no gap (audit). */
enum rc scan_kept_lines(struct ledger_reader *r, const struct ledger_filter *f, int64_t from_us,
                        int64_t to_us, enum line_order order, line_fn *fn, void *arg,
                        struct fail *fail) RC_MUST;
/* The cost of a line, exact also where the columns cannot hold it. */
enum rc line_cost(struct ledger_reader *r, const struct line *line, struct money *out,
                  struct fail *fail) RC_MUST;

/* read_cube.c */
void cube_index_release(struct cube_index *x);
/* read_tally.c */
void tally_index_release(struct tally_index *x);
/* read_fact.c */
void fact_index_release(struct fact_index *x);
/* read_verify_fact.c: counts facts that differ from their records. */
enum rc verify_facts(struct ledger_reader *r, struct ledger_verdict *v,
                     struct fail *fail) RC_MUST;
/* read_verify_cube.c: counts days whose sums differ from their facts. */
enum rc verify_cubes(struct ledger_reader *r, struct ledger_verdict *v,
                     struct fail *fail) RC_MUST;

/* read_verify_tally.c: counts tasks whose tallies differ from their lines and outcomes. */
enum rc verify_tallies(struct ledger_reader *r, struct ledger_verdict *v,
                       struct fail *fail) RC_MUST;

/* read_crossing.c: counts thresholds that cannot have been reached. */
enum rc verify_crossings(struct ledger_reader *r, struct ledger_verdict *v,
                         struct fail *fail) RC_MUST;

/* read_kept.c, within a view: what is known of deleted lines. */
enum rc read_kept_from(struct ledger_reader *r, struct fail *fail) RC_MUST;
/*
 * RC_STATE, and ledger_lines_are_gone, where lines that ended in [from, to) and may match
 * are deleted: the rollups say whether there were any.
 */
enum rc read_kept(struct ledger_reader *r, const struct ledger_filter *f, int64_t from_us,
                  int64_t to_us, struct fail *fail) RC_MUST;
enum rc read_gone(struct fail *fail);
/* As first_us and last_us of struct ledger_as_of. */
enum rc read_bounds(struct ledger_reader *r, int64_t *first_us, int64_t *last_us,
                    struct fail *fail) RC_MUST;
/* read_percentile.c: fills the percentiles of rows and total, whose histograms are there. */
struct answer;
enum rc answer_percentiles(struct answer *a, struct fail *fail) RC_MUST;
/*
 * The same where ranks_later: rows have sums alone, and some may be left out.  Those of the total
 * are found then by answer_and_total.
 */
enum rc answer_later_percentiles(struct answer *a, struct fail *fail) RC_MUST;
/*
 * read_total.c: runs make, which makes the answer; and where its percentiles come later and rows are
 * left out, finds those of the total, by another thread if days in order tell them.  Called when
 * what make will ask of the reader's indexes is there.
 */
typedef enum rc answer_fn(struct answer *a, void *arg, struct fail *fail);
enum rc answer_and_total(struct answer *a, answer_fn *make, void *arg, struct fail *fail) RC_MUST;

/* read_sums.c */
struct answer_period {
    int64_t start_us, end_us; /* whole */
    int64_t from_us, to_us;   /* cut by the filter */
};
struct answer {
    struct ledger_reader *reader;
    const struct ledger_question *q;
    unsigned want; /* the question's, and what percentiles need */
    struct answer_period *periods;
    size_t n_periods;
    struct arena arena;
    struct dict groups; /* values: number */
    struct strv **group_values;
    size_t n_groups;
    int32_t *combo_group; /* by place in reader->combos: number, -1 not chosen, -2 not known */
    struct dict row_of;   /* group and period: place in rows */
    struct ledger_row *rows;
    size_t n_rows, cap_rows;
    struct ledger_row total;
    struct ledger_sums given; /* to the rows by answer_add_requests */
    size_t top;               /* of the question, where answer_add_requests may leave out rows */
    struct ledger_rest *rest;
    size_t n_rest;
    struct ledger_meter_sum *rest_meters; /* METER_COUNT of them; NULL: of no such rows */
    uint64_t rollup_rows, fact_rows, line_rows, cube_rows;
    uint64_t record_rows; /* requests whose records say what columns do not */
    bool can_use_facts;
    bool has_histograms; /* of the time at hand: they are not added again */
    bool ranks_later;    /* percentiles are found when the sums are there */
    enum cube_kind cube_kind; /* CUBE_KINDS: no kind answers the question */
    struct near_row *near;    /* by group: the row that was found last */
    size_t cap_near;
};
struct near_row {
    int64_t period; /* plus one; 0: none */
    size_t row;
};
static inline bool want_is_cost_alone(unsigned want)
{
    const unsigned more = LEDGER_WANT_HISTOGRAM | LEDGER_WANT_BANDS | LEDGER_WANT_METERS |
                          LEDGER_WANT_PERCENTILES;

    return (want & LEDGER_COST_ALONE) == LEDGER_COST_ALONE && !(want & more);
}
/* An answer without rows; periods are those of the question within what there is. */
void answer_init(struct answer *a, struct ledger_reader *r, const struct ledger_question *q);
enum rc answer_make_periods(struct answer *a, struct fail *fail) RC_MUST;
void answer_free(struct answer *a);
/*
 * read_dearest.c: as ledger_read_lines in LEDGER_DEAREST, from columns; where it can, and
 * facts_look knows them.
 */
bool read_dearest_can(const struct ledger_filter *f, uint64_t limit, uint64_t offset);
enum rc read_dearest(struct ledger_reader *r, const struct ledger_filter *f, uint64_t limit,
                     uint64_t offset, ledger_line_fn *fn, void *arg, struct fail *fail) RC_MUST;
/*
 * read_by_start.c: a window of a limit by the ends of its requests: what can be told from whole
 * buckets, and then what of it began before, or ended after, the window.  answer_is_by_ends: it
 * may be answered so.  answer_by_end: the question by ends; free() it.
 */
bool answer_is_by_ends(const struct answer *a);
struct ledger_question *answer_by_end(const struct answer *a);
enum rc answer_mend_ends(struct answer *a, struct fail *fail) RC_MUST;
/* read_sums.c: zeroed memory that goes with the rows; NULL: there is too much. */
void *rows_memory(struct ledger_rows *rows, size_t bytes);
/* read_rows.c: what a row has beside its sums, as the answer wants. */
enum rc answer_init_row(struct answer *a, struct ledger_row *row, struct fail *fail) RC_MUST;
enum rc read_too_many(struct fail *fail, const char *doing);
/* Rows in order of period, then of their values, which get their places. */
void answer_put_in_order(struct answer *a);
/*
 * read_kept.c: takes out of the answer what deleted lines that began before from_us added
 * to rollups from there on; made of sums alone.
 */
enum rc answer_take_carried(struct answer *a, int64_t from_us, struct fail *fail) RC_MUST;
/* Row of a combination in a period (-1: none), like answer_row; NULL: the filter leaves it out. */
enum rc answer_combo_row(struct answer *a, int64_t period, const struct combo *c, bool make,
                         struct ledger_row **out, struct fail *fail) RC_MUST;
/* Row of a line, made where make says so; NULL where the line is in no period, or has none. */
enum rc answer_row(struct answer *a, const struct line *line, const struct combo *c, bool make,
                   struct ledger_row **out, struct fail *fail) RC_MUST;
/* Place of the period that holds a time, or -1. */
int64_t answer_period_at(const struct answer *a, int64_t us);
/* Place in a->rows of the row with these values in a period, or -1; threads may ask at once. */
int64_t answer_find_row(const struct answer *a, const struct strv *values, int64_t period);
/* The same, made where make says so. */
enum rc answer_row_at(struct answer *a, const struct strv *values, int64_t period, bool make,
                      int64_t *out, struct fail *fail) RC_MUST;

/*
 * read_fact_sums.c: adds up requests that ended in [from, to) from facts, as scan_lines would.
 * answer_can_use_facts: notes whether they say all that the question asks.
 */
enum rc answer_can_use_facts(struct answer *a, struct fail *fail) RC_MUST;
enum rc answer_add_facts(struct answer *a, int64_t from_us, int64_t to_us,
                         struct fail *fail) RC_MUST;
/* Adds the histograms of the same requests to the rows that there are. */
enum rc answer_add_histograms(struct answer *a, int64_t from_us, int64_t to_us,
                              struct fail *fail) RC_MUST;
/* answer_add_facts without a look at what is deleted, or at histograms of days in cubes. */
enum rc answer_add_requests(struct answer *a, int64_t from_us, int64_t to_us,
                            struct fail *fail) RC_MUST;
/*
 * The row and cost of each request in whose bucket (plus one) a percentile of its row, or of
 * the total, is wanted: LEDGER_PERCENTILES a row, the total last (read_fact_costs.c).  latencies,
 * where it is not NULL, takes those of all requests in the same pass.
 */
struct latencies;
typedef enum rc answer_cost_fn(size_t row, struct money cost, unsigned bucket, void *arg,
                               struct fail *fail);
enum rc answer_each_cost(struct answer *a, const uint16_t *wanted,
                         struct latencies *latencies, int64_t from_us, int64_t to_us,
                         answer_cost_fn *fn, void *arg, struct fail *fail) RC_MUST;

/*
 * read_rank_time.c: whether days whose requests stand in order (cube.h) tell times of the rows: there
 * are such days, and not too many rows.
 */
enum rc answer_can_rank_times(struct answer *a, int64_t from_us, int64_t to_us, bool *can,
                              struct fail *fail) RC_MUST;
/* Fills p95_latency_ms of rows and total from these days, and from columns of the rest. */
enum rc answer_ranked_times(struct answer *a, int64_t from_us, int64_t to_us,
                            struct fail *fail) RC_MUST;

#endif
