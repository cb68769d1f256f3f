/*
 * limit_set.h - a compiled limit as limit_set.c makes it and limit_follow.c compares it; internal.
 */
#ifndef METERING_LIMITS_LIMIT_SET_H
#define METERING_LIMITS_LIMIT_SET_H

#include <stdatomic.h>

#include "metering/limits/limit_int.h"

/* A dimension or a free tag. */
struct subject_field {
    struct strv name;
    int dim; /* -1: free tag */
};

struct field_match {
    struct subject_field field;
    struct strv glob;
    bool is_exact;
};

struct limit_rule {
    struct limit_def def;
    struct field_match *match;
    struct subject_field *per;
    struct strv base;   /* what its keys begin with in every process: "name:unit:window:" */
    size_t base_name;   /* bytes of base before ":unit" */
    struct strv prefix; /* of its keys here: base, or with a number behind the name */
    struct counter_shape shape;
    bool has_window; /* calendar */
    /* See limit_set_follow. */
    bool is_new;
    uint64_t apart;           /* the number in prefix; 0: none */
    _Atomic int64_t since_us; /* what ends from then on is charged; INT64_MAX: nothing yet */
    _Atomic int state;        /* enum limit_state */
};

/* Periods once computed stay until the set is freed: one a period, found by readers without
 * lock. */
struct window {
    int64_t start_us, end_us;
    struct window *next;
};

/* Immutable once workers have it, but for the windows, and the state of what is new. */
struct limit_set {
    const struct zone *zone;
    size_t n;
    struct limit_rule *rules;
    struct arena texts;
    _Atomic(struct window *) *windows; /* one list a period */
    _Atomic unsigned n_unknown;        /* rules that are not LIMIT_KNOWN */
};

static inline enum limit_state rule_state(const struct limit_rule *r)
{
    return (enum limit_state)atomic_load_explicit(&r->state, memory_order_acquire);
}

/* A copy, terminated, that lives as long as the set. */
struct strv set_keep(struct limit_set *set, struct strv s);
/* The rule's calendar window at a time; others: 0 and 0. */
void set_window(const struct limit_set *set, const struct limit_rule *r, int64_t now_us,
                int64_t *start_us, int64_t *end_us);

#endif
