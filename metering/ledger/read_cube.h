/*
 * read_cube.h - of the reader: days that are added up already (cube.h), in answers.
 */
#ifndef METERING_LEDGER_READ_CUBE_H
#define METERING_LEDGER_READ_CUBE_H

#include "metering/ledger/cube.h"
#include "metering/ledger/read_crew.h"
#include "metering/ledger/read_fact_pick.h"

/* Within a view: which cubes there are. */
enum rc cubes_look(struct ledger_reader *r, struct fail *fail) RC_MUST;
/*
 * RC_STATE where `of` has looked at its days and the view of r has others; else r has them, by a
 * statement of its own.
 */
enum rc cubes_share(struct ledger_reader *r, const struct ledger_reader *of,
                    struct fail *fail) RC_MUST;
/* The cube of a day, also where it says that there is none; NULL: not looked at yet. */
const struct cube_place *cube_find(const struct cube_index *x, enum cube_kind kind,
                                   int64_t day);

/* The kind that answers the question as far as it goes; CUBE_KINDS: none does. */
enum rc answer_cube_kind(const struct answer *a, enum cube_kind *out,
                         struct fail *fail) RC_MUST;
/* Whether a day that has a cube is still kept, and lies within one of the answer's periods. */
bool cube_is_usable(const struct answer *a, const struct cube_place *c);
/* Whether the answer has a cube for the day of UTC that lies in one of its periods. */
bool answer_has_cube(const struct answer *a, int64_t day);
/*
 * Notes in p which requests are in cubes of the kind, of the days that lie within [from, to) and
 * within a period each: pick_next gives the others.  Returns how many days there are to cut into
 * pieces, of whatever time; CUBE_KINDS has none.
 */
size_t answer_leave_cubes_out(struct fact_pick *p, enum cube_kind kind, int64_t from_us,
                              int64_t to_us);
/*
 * Blocks of rows of the same days, of the pieces that nobody has taken, where p picks any row: fn
 * looks at p, whose block at hand it is.  What fails is noted in p->facts.
 */
typedef void cube_block_fn(struct fact_pick *p, void *arg);
void answer_each_cube(struct fact_pick *p, enum cube_kind kind, struct crew_pieces *days,
                      int64_t from_us, int64_t to_us, cube_block_fn *fn, void *arg);
/*
 * A column of sums of the block at hand, a cube's; false where it is zero throughout, and after a
 * failure.  out: FACT_BLOCK values.
 */
bool cube_numbers(struct facts *f, unsigned number, int64_t *out);
bool cube_amounts(struct facts *f, unsigned number, money_int *out);
/* The bytes themselves, copied; false where there are none, or more than out takes. */
bool cube_bytes(struct facts *f, unsigned number, struct buf *out);
/* Number of the column of a count, by its offset in struct ledger_sums. */
unsigned cube_number(size_t offset);
/*
 * Adds these blocks of the kind that answers the question; returns how many of their rows are of the
 * answer.  What fails is noted in p->facts.  meters NULL: not wanted.
 */
struct meter_sums;
uint64_t answer_add_cubes(struct fact_pick *p, struct row_sums *sums, struct meter_sums *meters,
                          struct crew_pieces *days, int64_t from_us, int64_t to_us);

#endif
