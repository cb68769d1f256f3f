/*
 * read_json.h - reads JSON objects of a price book by tables of members.
 *
 * Every member is known or a problem that names the nearest known one; every
 * value has the type that the table says or is a problem.
 */
#ifndef PRICING_READ_JSON_H
#define PRICING_READ_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "pricing/book_int.h"

enum {
    TEXT_MAX_BYTES = 4096, /* of a string that is kept */
    LIST_MAX = 10000,      /* strings in a list */
    MEMBERS_MAX = 32,      /* of a table */
};

/* Where we are, for problems. */
struct place {
    struct build *b;
    struct strv provider; /* empty: above the providers */
    struct strv model;
    const char *what; /* "model", "price", ...: the kind of object */
};

/* Takes one member's value; into is the object being filled. */
typedef void member_read(const struct place *at, const cJSON *value, void *into);

struct member {
    const char *name;
    member_read *read; /* NULL: known, said for people, not used */
};

/* Calls the table's function for each member, once; a second one is a problem. False (and a
 * problem) where json is no object. */
bool read_object(const struct place *at, const cJSON *json, const struct member *members,
                 size_t n, void *into);
/* A problem at this place; word is where the line is looked for, may be NULL. */
void place_problem(const struct place *at, const char *word, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A printable string of the arena; null gives the empty one. Other types are a problem. */
struct strv read_text(const struct place *at, const cJSON *value);
/* The same in lower case. */
struct strv read_lower(const struct place *at, const cJSON *value);
/* A list of strings (one string stands for a list of one), as lower: in lower case. */
void read_list(const struct place *at, const cJSON *value, bool lower, struct strv_list *out);
/* A whole number 0..2^53. */
uint64_t read_count(const struct place *at, const cJSON *value);
/* An RFC 3339 time or a date (its midnight, UTC); null gives unbounded. */
int64_t read_time(const struct place *at, const cJSON *value, int64_t unbounded);
/* A multiplier as a decimal string; FACTOR_ONE after a problem. */
struct factor read_factor(const struct place *at, const cJSON *value);
/* A meter's name; METER_COUNT after a problem. */
enum meter read_meter(const struct place *at, struct strv name);
/* The name of the list that is nearest to s, or NULL where none is near. */
const char *nearest_name(struct strv s, const char *const *names, size_t n);

#endif
