/*
 * rank_make.h - puts the requests of a day in order (cube.h: a day in order).
 */
#ifndef METERING_LEDGER_RANK_MAKE_H
#define METERING_LEDGER_RANK_MAKE_H

#include "metering/ledger/cube_give.h"
#include "metering/ledger/read_fact_pick.h"

struct rank_make;

/* kind: CUBE_COSTS or CUBE_TIMES; max: requests, at most. */
struct rank_make *rank_make_new(enum cube_kind kind, int64_t max);
/* NULL is nothing. */
void rank_make_free(struct rank_make *m);
/*
 * Takes those of the block at hand that ended in [from, to); false where they are more than max, or
 * have numbers that no order has room for.  What fails is noted in f.
 */
bool rank_make_take(struct rank_make *m, struct facts *f, int64_t from_us, int64_t to_us);
/*
 * When all are taken: puts them in order.  team_combo: by id of a combination, n_combos of them,
 * the first one of the same team.  False where there is a combination beyond these.
 */
bool rank_make_order(struct rank_make *m, const int64_t *team_combo, size_t n_combos);
/* When they are in order: rows that the day's blocks have room for. */
int64_t rank_make_rows(const struct rank_make *m);
enum rc rank_make_columns(const struct rank_make *m, struct cube_giving *g,
                          struct fail *fail) RC_MUST;

#endif
