/*
 * read_crew.h - of the reader: a walk over blocks that several threads share.
 *
 * Blocks never change once they are written, so a walk over thousands of them is cut into pieces:
 * each thread takes the next piece that nobody has, reads it by a connection of its own, and adds
 * it to sums of its own.  These are merged when all are done; sums are whole numbers, so it does
 * not matter who took which piece.
 *
 * Threads live as long as the call, with the priority of the caller.  Each holds a connection (at
 * most some 5 MiB of pages) and what its part of the walk gathers.
 */
#ifndef METERING_LEDGER_READ_CREW_H
#define METERING_LEDGER_READ_CREW_H

#include <stdatomic.h>
#include <stddef.h>

#include "metering/ledger/read_int.h"

enum {
    CREW_MAX = 4,           /* threads, the caller's among them */
    CREW_BLOCKS_LEAST = 96, /* blocks for each; a smaller walk is not worth a thread */
};

/*
 * How many may share a walk over so many blocks: 1 (the caller alone) to CREW_MAX, not more than
 * there are cores.
 */
size_t crew_size(const struct ledger_reader *r, size_t blocks);

/*
 * Calls work at once by up to n threads (1 to CREW_MAX) and returns when all have returned.  Member
 * 0 is the caller, with r; the others have a reader each, in a view that has the same blocks of
 * facts and the same days in cubes, where r has looked at these (facts_look, cubes_look).  Its
 * facts have no tail.  A member whose thread does not start, or that cannot have such a view, is
 * not called: the others take what it would have taken.
 *
 * Meanwhile nothing may change what r's indexes hold.
 */
typedef void crew_work_fn(struct ledger_reader *r, size_t member, void *arg);
void crew_run(struct ledger_reader *r, size_t n, crew_work_fn *work, void *arg);

/* Pieces of [0, n) that nobody has taken. */
struct crew_pieces {
    size_t n, piece;
    atomic_size_t next;
};
void crew_cut(struct crew_pieces *c, size_t n, size_t members);
/* False: all are taken. */
bool crew_take(struct crew_pieces *c, size_t *from, size_t *to);

#endif
