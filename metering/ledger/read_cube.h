/*
 * read_cube.h - of the reader: days that are added up already (cube.h), in answers.
 */
#ifndef METERING_LEDGER_READ_CUBE_H
#define METERING_LEDGER_READ_CUBE_H

#include "metering/ledger/cube.h"
#include "metering/ledger/read_fact_pick.h"

/* Within a view: which cubes there are. */
enum rc cubes_look(struct ledger_reader *r, struct fail *fail) RC_MUST;
/* The cube of a day, also where it says that there is none; NULL: not looked at yet. */
const struct cube_place *cube_find(const struct cube_index *x, enum cube_kind kind,
                                   int64_t day);

/* The kind that answers the question as far as it goes; CUBE_KINDS: none does. */
enum rc answer_cube_kind(const struct answer *a, enum cube_kind *out,
                         struct fail *fail) RC_MUST;
/* Whether the answer has a cube for the day of UTC that lies in one of its periods. */
bool answer_has_cube(const struct answer *a, int64_t day);
/*
 * Adds the cubes of the days that lie within [from, to) and within a period each, and notes
 * in p which requests are in them.  What fails is noted in p->facts.
 */
void answer_add_cubes(struct fact_pick *p, struct row_sums *sums, int64_t from_us,
                      int64_t to_us);

#endif
