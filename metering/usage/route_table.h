/*
 * route_table.h - the known endpoints as route.c looks them up, and how they are written down.
 * Nothing else includes it.
 */
#ifndef METERING_USAGE_ROUTE_TABLE_H
#define METERING_USAGE_ROUTE_TABLE_H

#include <stddef.h>

#include "metering/usage/protocol_int.h"

#define ENTRY(name, kind, method, pattern, dialect, flags)                                     \
    {                                                                                          \
        {name, kind}, method, pattern, dialect, flags, NULL, 0, false                          \
    }
#define METERED(name, method, pattern, dialect, flags)                                         \
    ENTRY(name, ENDPOINT_METERED, method, pattern, dialect, flags)
/* The same; model and most_ms: see struct entry. */
#define VOICED(name, pattern, dialect, flags, model, most_ms)                                  \
    {                                                                                          \
        {name, ENDPOINT_METERED}, "POST", pattern, dialect, flags, model, most_ms, false       \
    }
/* The same, with no other model than that. */
#define VOICED_BY(name, pattern, dialect, flags, model)                                        \
    {                                                                                          \
        {name, ENDPOINT_METERED}, "POST", pattern, dialect, flags, model, 0, true              \
    }
#define FETCHED(name, method, pattern, dialect, flags)                                         \
    ENTRY(name, ENDPOINT_FETCHED, method, pattern, dialect, flags)
#define FREE(name, method, pattern)                                                            \
    ENTRY(name, ENDPOINT_FREE, method, pattern, DIALECT_NONE, 0)
/* Free as well; answers have addresses of the provider in them. */
#define LINKED(name, method, pattern, dialect)                                                 \
    ENTRY(name, ENDPOINT_FREE, method, pattern, dialect, ENTRY_LINKS)
#define UNTOLD(name, method, pattern)                                                          \
    ENTRY(name, ENDPOINT_UNTOLD, method, pattern, DIALECT_NONE, 0)
#define UNKNOWN(name, method, pattern)                                                         \
    ENTRY(name, ENDPOINT_UNKNOWN, method, pattern, DIALECT_NONE, 0)
#define SOCKET(name, method, pattern, dialect)                                                 \
    ENTRY(name, ENDPOINT_SOCKET, method, pattern, dialect, 0)
#define LIST(array)                                                                            \
    {                                                                                          \
        (array), sizeof(array) / sizeof((array)[0])                                            \
    }

struct route_list {
    const struct entry *entries; /* the first that matches holds */
    size_t n;
};

/* What a protocol has where its bit (ENTRIES_...) is set. */
struct route_table {
    unsigned bit;
    struct route_list list;
};

enum { ROUTE_TABLES_N = 9, ROUTE_VOICES_N = 3 };

/* Those of one protocol are looked through in this order. */
extern const struct route_table ROUTE_TABLES[ROUTE_TABLES_N];
/* Of those who speak and listen (route_voice.c); looked through behind the others. */
extern const struct route_table ROUTE_VOICES[ROUTE_VOICES_N];

/* Google's models/MODEL:method, the pattern being the method; those of other publishers. */
extern const struct route_list ROUTE_GOOGLE, ROUTE_GOOGLE_ANTHROPIC, ROUTE_GOOGLE_OTHERS;

/* Where nothing matches. */
extern const struct entry ROUTE_READ, ROUTE_OTHER;
/* Where Google's paths do not follow a pattern. */
extern const struct entry ROUTE_COUNT_TOKENS, ROUTE_GOOGLE_LIVE, ROUTE_GOOGLE_OTHER_SOCKET;

#endif
