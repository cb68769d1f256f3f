/*
 * token_block.h - cuts ASCII text into pieces, 64 bytes at once.
 *
 * Both patterns (vocab/README.md) ask of ASCII little more than what a character and its two
 * neighbours are.  So the places at which pieces begin are worked out for all bytes of a block
 * together, as bits: no branch for a byte or a piece, where guessing the branches wrong was most
 * of the time.  What needs a longer look (what is not ASCII, an apostrophe in a word, blank
 * lines with blanks in them) ends the block: token_split.c takes that by the character.
 */
#ifndef METERING_USAGE_TOKEN_BLOCK_H
#define METERING_USAGE_TOKEN_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TOKEN_BLOCK_BYTES = 64 };

/*
 * A piece begins at p, of which n bytes are there and TOKEN_BLOCK_BYTES may be read.  Bit i is set
 * where one piece ends and the next begins at p + i, i > 0; none is left out before the last
 * of these.  0 where the first piece has to be cut in another way.
 */
uint64_t token_block_cuts(const char *p, size_t n, bool o200k);

#endif
