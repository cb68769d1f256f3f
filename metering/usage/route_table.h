/*
 * route_table.h - the known endpoints as route.c looks them up.  Nothing else includes it.
 */
#ifndef METERING_USAGE_ROUTE_TABLE_H
#define METERING_USAGE_ROUTE_TABLE_H

#include <stddef.h>

#include "metering/usage/protocol_int.h"

struct route_list {
    const struct entry *entries; /* the first that matches holds */
    size_t n;
};

/* What a protocol has where its bit (ENTRIES_...) is set. */
struct route_table {
    unsigned bit;
    struct route_list list;
};

enum { ROUTE_TABLES_N = 9 };

/* Those of one protocol are looked through in this order. */
extern const struct route_table ROUTE_TABLES[ROUTE_TABLES_N];

/* Google's models/MODEL:method, the pattern being the method; those of other publishers. */
extern const struct route_list ROUTE_GOOGLE, ROUTE_GOOGLE_ANTHROPIC, ROUTE_GOOGLE_OTHERS;

/* Where nothing matches. */
extern const struct entry ROUTE_READ, ROUTE_OTHER;
/* Where Google's paths do not follow a pattern. */
extern const struct entry ROUTE_COUNT_TOKENS, ROUTE_GOOGLE_LIVE, ROUTE_GOOGLE_OTHER_SOCKET;

#endif
