/*
 * token_json.h - counts the tokens of what JSON strings say, from their raw text.
 *
 * The text stands between quotes, with its escapes, and comes in parts that are split anywhere.
 * What is no escape counts as nothing; a half of a surrogate pair alone is a U+FFFD.
 */
#ifndef METERING_USAGE_TOKEN_JSON_H
#define METERING_USAGE_TOKEN_JSON_H

#include <stdint.h>

#include "metering/usage/tokenizer.h"

enum { TOKEN_JSON_ESCAPE_MAX_BYTES = 12 }; /* both halves of a pair */

/* All zero to begin with. */
struct token_json {
    char held[TOKEN_JSON_ESCAPE_MAX_BYTES]; /* an escape whose end has not come */
    uint8_t n;
};

/* Feeds the counter what raw stands for. */
void token_json_feed(struct token_json *j, struct token_counter *c, struct strv raw);
/* The string is over: whatever follows belongs to another one. The counter's text goes on. */
void token_json_end(struct token_json *j, struct token_counter *c);

#endif
