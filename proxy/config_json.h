/*
 * config_json.h - a JSON file with comments, each value with its line.
 *
 * Comments (// and block comments) become blanks, then cJSON parses; a second walk
 * over the text gives every value the line on which it stands, kept in the
 * value's `valueint` (numbers are read from `valuedouble`).  Size and depth are
 * bounded.  Knows nothing of fields.
 */
#ifndef PROXY_CONFIG_JSON_H
#define PROXY_CONFIG_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include <cjson/cJSON.h>

#include "base/digest.h"
#include "base/problem.h"
#include "base/strv.h"

struct config_json {
    const char *file; /* as messages name it; borrowed */
    struct problems *problems;
    cJSON *root;
    char sha256[SHA256_HEX]; /* of the file's bytes; empty where none was read */
};

/*
 * Parses text.  False with a problem where it is not one JSON object; release
 * doc in either case.
 */
bool config_json_parse(struct config_json *doc, const char *file, struct strv text,
                       struct problems *problems);
/* The same for a file, which must be an ordinary one of at most CONFIG_MAX_BYTES. */
bool config_json_read(struct config_json *doc, const char *file, struct problems *problems);
void config_json_release(struct config_json *doc);

/* Line of a value, from 1. */
int config_json_line(const cJSON *item);

#endif
