/*
 * strv.h - string views: a pointer and a length, passed by value.
 *
 * Never NUL-terminated.  A view dies with the bytes it looks at; whoever keeps
 * one longer than a call copies it (arena_strv, xmemdupz).
 */
#ifndef BASE_STRV_H
#define BASE_STRV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"

struct strv {
    const char *p;
    size_t n;
};

#define STRV(literal) ((struct strv){"" literal, sizeof(literal) - 1})
#define STRV_NONE     ((struct strv){NULL, 0})
#define STRV_FMT      "%.*s"
#define STRV_ARG(s)   (int)(s).n, (s).n ? (s).p : ""

static inline struct strv strv_make(const char *p, size_t n)
{
    return (struct strv){p, n};
}

/* View of a terminated string; NULL gives the empty view. */
static inline struct strv strv_z(const char *text)
{
    return text ? (struct strv){text, strlen(text)} : STRV_NONE;
}

enum { STRV_BLOCK_BYTES = 16, STRV_SHORT_BYTES = 128 };

/* Copies s to p, which has room for it, and gives the place behind.  Most texts are short: a
 * word or block or two at each end, which may overlap, instead of a call or a loop by bytes. */
static ALWAYS_INLINE char *strv_copy(char *p, struct strv s)
{
    if (s.n > STRV_SHORT_BYTES) {
        memcpy(p, s.p, s.n);
    } else if (s.n > STRV_BLOCK_BYTES) {
        for (size_t i = 0; i < s.n - STRV_BLOCK_BYTES; i += STRV_BLOCK_BYTES)
            memcpy(p + i, s.p + i, STRV_BLOCK_BYTES);
        memcpy(p + s.n - STRV_BLOCK_BYTES, s.p + s.n - STRV_BLOCK_BYTES, STRV_BLOCK_BYTES);
    } else if (s.n >= 8) {
        uint64_t head, tail;

        memcpy(&head, s.p, 8);
        memcpy(&tail, s.p + s.n - 8, 8);
        memcpy(p, &head, 8);
        memcpy(p + s.n - 8, &tail, 8);
    } else if (s.n >= 4) {
        uint32_t head, tail;

        memcpy(&head, s.p, 4);
        memcpy(&tail, s.p + s.n - 4, 4);
        memcpy(p, &head, 4);
        memcpy(p + s.n - 4, &tail, 4);
    } else {
        for (size_t i = 0; i < s.n; i++)
            p[i] = s.p[i];
    }
    return p + s.n;
}

/* The same n bytes: in words or blocks, the last of which may overlap the one before, without a
 * call. For texts that are short and mostly the same. */
static inline bool strv_same(const char *a, const char *b, size_t n)
{
    uint64_t x[2], y[2];

    if (n >= STRV_BLOCK_BYTES) {
        for (size_t i = 0;; i += STRV_BLOCK_BYTES) {
            bool last = n - i <= STRV_BLOCK_BYTES;

            if (last)
                i = n - STRV_BLOCK_BYTES;
            memcpy(x, a + i, sizeof(x));
            memcpy(y, b + i, sizeof(y));
            if (((x[0] ^ y[0]) | (x[1] ^ y[1])) != 0)
                return false;
            if (last)
                return true;
        }
    }
    if (n >= sizeof(x[0])) {
        memcpy(&x[0], a, sizeof(x[0]));
        memcpy(&x[1], a + n - sizeof(x[0]), sizeof(x[0]));
        memcpy(&y[0], b, sizeof(y[0]));
        memcpy(&y[1], b + n - sizeof(y[0]), sizeof(y[0]));
        return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (a[i] != b[i])
            return false;
    }
    return true;
}

static inline bool strv_eq(struct strv a, struct strv b)
{
    return a.n == b.n && (a.n == 0 || (a.p[0] == b.p[0] && memcmp(a.p, b.p, a.n) == 0));
}

static inline bool strv_starts(struct strv s, struct strv prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

/* n bytes, at least one, are equal but for the case of ASCII letters. */
bool strv_same_nocase(const char *a, const char *b, size_t n);

/* Begins with prefix, but for the case of ASCII letters. */
static inline bool strv_starts_nocase(struct strv s, struct strv prefix)
{
    if (s.n < prefix.n || prefix.n == 0)
        return prefix.n == 0;
    /* Most names that are compared differ in their first letter. */
    return ((s.p[0] ^ prefix.p[0]) & ~0x20) == 0 && strv_same_nocase(s.p, prefix.p, prefix.n);
}

/* Equal but for the case of ASCII letters. */
static inline bool strv_eq_nocase(struct strv a, struct strv b)
{
    return a.n == b.n && strv_starts_nocase(a, b);
}

static inline bool strv_ends(struct strv s, struct strv suffix)
{
    return s.n >= suffix.n &&
           (suffix.n == 0 || memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0);
}

/* The rest after n bytes; n beyond the end gives the empty view at the end. */
static inline struct strv strv_skip(struct strv s, size_t n)
{
    if (n < s.n)
        return (struct strv){s.p + n, s.n - n};
    return s.n > 0 ? (struct strv){s.p + s.n, 0} : s;
}

/* The first n bytes at most. */
static inline struct strv strv_head(struct strv s, size_t n)
{
    return (struct strv){s.p, n < s.n ? n : s.n};
}

/* Where c first stands, or s.n. */
size_t strv_find(struct strv s, char c);

/* Bytes at its start that are printable ASCII (0x20 to 0x7e). */
size_t strv_ascii_run(struct strv s);

/* Without leading and trailing spaces and tabs (OWS of RFC 9110 5.6.3). */
static inline struct strv strv_trim(struct strv s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/*
 * Takes the part before the next separator and moves *rest behind it.  Returns
 * false when *rest was exhausted.  "a,,b" gives "a", "", "b".
 */
bool strv_split(struct strv *rest, char separator, struct strv *part);

/* Order of the bytes, shorter first where one is a prefix of the other. */
int strv_cmp(struct strv a, struct strv b);

/*
 * All of s as a decimal number without sign, 0..max.  False for anything else:
 * empty, blanks, overflow, more than max.  The one reader of numbers from the wire.
 */
bool strv_parse_u64(struct strv s, uint64_t max, uint64_t *out);

enum { STRV_U64_BYTES = 20 };
/* n in decimal at p, STRV_U64_BYTES at most, unterminated; gives the place behind. */
char *strv_put_u64(char *p, uint64_t n);

/* Glob with '*' (any run) and '?' (one byte); linear in pattern times text. */
bool strv_glob(struct strv pattern, struct strv text);

/* FNV-1a, for hash tables over trusted or bounded key sets. */
uint64_t strv_hash(struct strv s);

#endif
