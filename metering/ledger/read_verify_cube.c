/*
 * read_verify_cube.c - makes every stored cube anew and compares.
 *
 * It is made of the columns, which read_verify_fact.c compares with the records.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "metering/ledger/read_cube.h"

struct comparing {
    struct ledger_reader *r;
    const struct cube_place *place;
    bool differs;
};

static enum rc compare_column(unsigned number, int64_t at, struct strv bytes, void *arg,
                              struct fail *fail)
{
    struct comparing *c = arg;
    sqlite3_stmt *body = c->r->cubes.body;
    struct strv stored = STRV("");
    int code;

    sqlite3_bind_int64(body, 1, cube_row(number, c->place->first + at));
    code = sqlite3_step(body);
    if (code == SQLITE_ROW)
        stored = db_column(body, 0);
    c->differs |= !strv_eq(stored, bytes);
    sqlite3_reset(body);
    return code == SQLITE_ROW || code == SQLITE_DONE ? RC_OK : read_failed(c->r, fail);
}

static enum rc verify_cube(struct ledger_reader *r, enum cube_kind kind,
                           const struct cube_place *place, struct ledger_verdict *v,
                           struct fail *fail)
{
    struct cube_make *m = cube_make_new(kind, place->day, place->through, NULL);
    struct comparing c = {.r = r, .place = place};
    bool done = false;
    enum rc rc = RC_OK;

    while (rc == RC_OK && !done)
        rc = cube_make_step(m, r, 1 << 20, &done, fail);
    c.differs = rc == RC_OK && cube_make_rows(m) != place->n;
    if (rc == RC_OK && !c.differs)
        rc = cube_make_columns(m, compare_column, &c, fail);
    v->cubes++;
    if (c.differs || rc == RC_BAD) {
        v->bad_cubes++;
        if (!v->first[0])
            snprintf(v->first, sizeof(v->first),
                     "the sums of day %" PRId64 " (kind %d) differ from its requests",
                     place->day, (int)cube_stored_kind(kind));
        rc = RC_OK;
    }
    cube_make_free(m);
    return rc;
}

enum rc verify_cubes(struct ledger_reader *r, struct ledger_verdict *v, struct fail *fail)
{
    enum rc rc = cubes_look(r, fail);

    for (int k = 0; k < CUBE_KINDS; k++) {
        for (size_t i = 0; i < r->cubes.n[k] && rc == RC_OK; i++) {
            const struct cube_place *place = &r->cubes.days[k][i];

            if (place->n != CUBE_NONE &&
                place->day * rollup_width_us(LEVEL_DAY) >= r->kept_from_us)
                rc = verify_cube(r, (enum cube_kind)k, place, v, fail);
        }
    }
    return rc;
}
