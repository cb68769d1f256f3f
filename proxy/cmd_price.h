/*
 * cmd_price.h - what the parts of `tollgate price` share.
 */
#ifndef PROXY_CMD_PRICE_H
#define PROXY_CMD_PRICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/config.h"

enum { PRICE_BOOKS_MAX = 64 };

enum price_format { PRICE_TABLE = 0, PRICE_JSON, PRICE_CSV };

struct price_options {
    const char *file; /* -c */
    const char *books[PRICE_BOOKS_MAX];
    size_t n_books;
    const char *provider, *model, *upstream, *tier, *region;
    const char *input_total, *input;
    struct strv detail[DETAIL_COUNT];
    int64_t at_us;
    enum price_format format;
    enum meter unit; /* of show; METER_COUNT: all */
    bool all, strict, counted;
    char **words; /* what is no option */
    int n_words;
};

/* The book to look at, and whose it is: of the configuration, or loaded here. */
struct price_source {
    struct config *config; /* NULL: none was named */
    const struct book *book;
    struct book *own;
};

/* A date (its midnight, UTC) or an RFC 3339 time; false for other text. */
bool price_time(const char *text, int64_t *us);
/* `price cost`: of the command line's quantities, or of each query of a file. */
int price_cost(const struct price_source *source, const struct price_options *options);
/* `price reprice`, whose words are its own; argv[0] is the verb. */
int price_reprice(int argc, char **argv);
/* `price show`: the models that fit, with their rates; EXIT_NO where there is none. */
int price_show(const struct price_source *source, const struct price_options *options);
/* Tells on standard error that there is no such meter, and which there are. */
void price_no_meter(const char *verb, struct strv name);

#endif
