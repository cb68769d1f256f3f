/*
 * cube.h - the requests of a day of UTC, added up by what rollups do not tell apart.
 *
 * Which customers, users and tags a day had, and what they cost, is a few thousand rows
 * where the requests by column are hundreds of thousands.  A cube is made of the columns of
 * a day that is over, once; it says up to which block of columns it looked.  What came later
 * for its day is read from the blocks behind, so a cube is never wrong, and never changed.
 *
 * Its rows are stored as facts are: by column, in blocks of FACT_BLOCK rows, in order of their
 * keys.  What a row is told apart by stands under the numbers of facts, so that a question
 * chooses rows as it chooses requests.
 */
#ifndef METERING_LEDGER_CUBE_H
#define METERING_LEDGER_CUBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/strv.h"
#include "metering/ledger/ledger_read.h"

/* What a cube's rows tell apart.  Stored by number. */
enum cube_kind {
    CUBE_CLASS = 0, /* combination, token band, repeat, cacheable, whether of a task */
    CUBE_CUSTOMER,  /* team and customer */
    CUBE_USER,
    CUBE_TAGS,      /* team and set of free tags */
    CUBE_TEAM_USER, /* team and user: CUBE_BASIC alone */
    CUBE_KINDS,
};

enum {
    CUBE_ROWS_MAX = 1 << 16, /* of a day; with more there is no cube */
    CUBE_TEAM_USER_ROWS_MAX = 1 << 19,
    CUBE_BLOCKS_LEAST = 2,   /* blocks of columns; a day of fewer is read from them */
    CUBE_NUMBERS = 256, /* numbers of columns: of sums_field, cost_min, cost_max, and keys */
    CUBE_COST_MIN = 40,
    CUBE_COST_MAX = 41,
    CUBE_KEY = 192, /* plus enum fact_number */
    CUBE_NONE = -1, /* rows of a day that is not worth a cube */
};

/* What is in no cube by team and user, whose rows are nearly as many as the requests. */
enum { CUBE_BASIC = LEDGER_SPARE_TRANSPORT | LEDGER_SPARE_DETAILS | LEDGER_SPARE_CEILING };

static inline int64_t cube_rows_max(enum cube_kind kind)
{
    return kind == CUBE_TEAM_USER ? CUBE_TEAM_USER_ROWS_MAX : CUBE_ROWS_MAX;
}

/* Row of table cube that holds a column of a block of rows. */
static inline int64_t cube_row(unsigned number, int64_t block)
{
    return (int64_t)number << 44 | block;
}
static inline int64_t cube_blocks(int64_t rows, int64_t per_block)
{
    return rows > 0 ? (rows + per_block - 1) / per_block : 0;
}

/* ---- making one (cube_make.c) -------------------------------------------------------- */

struct cube_make;

/* The cube of a kind of a day, of the blocks of columns up to number `through`. */
struct cube_make *cube_make_new(enum cube_kind kind, int64_t day, int64_t through);
void cube_make_free(struct cube_make *m);
/* Within a view: adds up `blocks` blocks more; *done: all. Views may differ from call to call.
 */
enum rc cube_make_step(struct cube_make *m, struct ledger_reader *r, unsigned blocks,
                       bool *done, struct fail *fail) RC_MUST;
/* When it is done: rows, or CUBE_NONE. */
int64_t cube_make_rows(const struct cube_make *m);
enum cube_kind cube_make_kind(const struct cube_make *m);
int64_t cube_make_day(const struct cube_make *m);
int64_t cube_make_through(const struct cube_make *m);
/* A column of block `at` (from 0) of the rows; no bytes: zero throughout. */
typedef enum rc cube_column_fn(unsigned number, int64_t at, struct strv bytes, void *arg,
                               struct fail *fail);
/* Every column that there may be, in order of block and number. */
enum rc cube_make_columns(struct cube_make *m, cube_column_fn *fn, void *arg,
                          struct fail *fail) RC_MUST;

/*
 * Within a view: the newest day that is over and has no cube of a kind yet; false where there
 * is none.
 */
enum rc cube_next(struct ledger_reader *r, struct cube_make **out, struct fail *fail) RC_MUST;

#endif
