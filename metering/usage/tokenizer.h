/*
 * tokenizer.h - counts tokens exactly as the published vocabularies do.
 *
 * Byte-pair encoding with o200k_base or cl100k_base: text is cut into pieces
 * (token_split.h), each piece is one token or a row of them (token_count.h).  What
 * looks like a special token ("<|endoftext|>") is ordinary text, as providers take what
 * users write.  Bytes that are no UTF-8 count as U+FFFD, one for each maximal
 * ill-formed part (as WHATWG decoders and Python's errors="replace" do): so does
 * any JSON library before its provider counts.
 *
 * The tables are ready-made in the binary: pages of it that are read on demand, shared by all
 * threads and written by none.  A struct tokenizer is one thread's own memory of what
 * it has merged; counting takes no lock.
 */
#ifndef METERING_USAGE_TOKENIZER_H
#define METERING_USAGE_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strv.h"

enum token_encoding {
    ENCODING_O200K = 0,
    ENCODING_CL100K,
    ENCODING_COUNT,
};

enum {
    /* Text waits here until whole pieces can be counted; grows for a piece that is longer. */
    TOKEN_BUFFER_BYTES = 16 << 10,
    TOKEN_BUFFER_FIRST_BYTES = 1 << 10, /* and grows so far before anything is counted */
    /* A piece (a "word") beyond this is cut, where the caller gives no bound of its own. */
    TOKEN_PIECE_MAX_BYTES = 1 << 20,
};

const char *token_encoding_name(enum token_encoding e);
/* False where there is none of that name; *e is then left alone. */
bool token_encoding_find(struct strv name, enum token_encoding *e);
/*
 * The vocabulary of a model of OpenAI's by its name, a leading "ft:" and a provider's or
 * publisher's path ("openai/gpt-4o") passed over.  False where the model's vocabulary is
 * not known here; *e is then ENCODING_O200K, the closest that there is.
 */
bool token_encoding_of_model(struct strv model, enum token_encoding *e);
/* A model of OpenAI's that thinks before it answers: tokens that are billed and never shown. */
bool token_model_thinks(struct strv model);

struct tokenizer;

/* One thread's; some 430 KB for each vocabulary, at its first use. */
struct tokenizer *tokenizer_new(void);
void tokenizer_free(struct tokenizer *t);

/* Tokens of a text of any length, in one go. */
uint64_t tokenizer_count(struct tokenizer *t, enum token_encoding e, struct strv text);
/*
 * The same with the tokens' ranks, appended to ids (room for one a byte of text, three a
 * byte where it may be no UTF-8).  For tests: counting is faster.
 */
size_t tokenizer_encode(struct tokenizer *t, enum token_encoding e, struct strv text,
                        uint32_t *ids);

/* A text that comes in parts, split anywhere. */
struct token_counter {
    struct tokenizer *tokenizer;
    enum token_encoding encoding;
    bool exact; /* no piece was cut because it passed piece_max */
    /* private: */
    size_t piece_max, size, n;
    size_t left; /* of n, when pieces were counted last: a word that had no end then */
    char *text;
    uint64_t tokens;
    uint32_t *ids;
    char partial[4]; /* a sequence whose end has not come */
    uint8_t partial_n;
};

/* Borrows t, which may serve several counters in turn.  piece_max 0: TOKEN_PIECE_MAX_BYTES. */
void token_counter_init(struct token_counter *c, struct tokenizer *t, enum token_encoding e,
                        size_t piece_max);
void token_counter_fini(struct token_counter *c);
void token_counter_feed(struct token_counter *c, struct strv part);
/*
 * Tokens of the text so far but for its last bytes, *held of them (at most held_max, or twice a word
 * that has no end yet), which what is to come may still change.
 */
uint64_t token_counter_so_far(struct token_counter *c, size_t held_max, size_t *held);
/* The text ends; returns its tokens.  What is fed next is another text. */
uint64_t token_counter_finish(struct token_counter *c);

#endif
