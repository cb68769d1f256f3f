/*
 * tags_int.h - what the caller says of a request's tags, while its headers are read.  Nothing
 * outside tags*.c includes it.
 */
#ifndef PROXY_TAGS_INT_H
#define PROXY_TAGS_INT_H

#include "proxy/tags.h"

/* Who says a value, best first. */
enum rank {
    RANK_OWN = 0, /* the tag's own header */
    RANK_LIST,    /* X-Tollgate-Tags */
    RANK_BAGGAGE,
    RANK_ALIAS,
    RANK_TRACE,
    RANK_NONE,
};

/* What the caller says, collected over all headers. */
struct tags_reading {
    struct arena *arena;
    struct tags_refusal *refusal;
    struct strv said[STANDING_TAGS];
    enum rank rank[STANDING_TAGS];
    struct tag free[FREE_TAGS_MAX];
    enum rank free_rank[FREE_TAGS_MAX];
    unsigned n_free;
    uint32_t attempt;
    enum rank attempt_rank;
};

/* Sets the refusal; false, for the caller to return. */
bool tags_refuse(struct tags_refusal *refusal, enum refusal code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same where the arena is full. */
bool tags_refuse_full(struct tags_refusal *refusal);
/* One tag from the caller; an empty value is no value.  False: refused. */
bool tags_say(struct tags_reading *r, struct strv name, struct strv value, enum rank rank);
/* Is it one of the names of other gateways? */
bool tags_is_alias(struct strv name);
/* A header that another gateway knows; others are passed over.  False: refused. */
bool tags_read_alias(struct tags_reading *r, const struct http1_header *h);

#endif
