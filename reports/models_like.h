/*
 * models_like.h - smaller models of the same provider that may do the same work.
 */
#ifndef REPORTS_MODELS_LIKE_H
#define REPORTS_MODELS_LIKE_H

#include <stddef.h>

#include "base/strv.h"
#include "pricing/price.h"

enum { MODELS_LIKE_MAX = 32, MODELS_LIKE_BYTES = 128 };

struct models_like {
    char at[MODELS_LIKE_MAX][MODELS_LIKE_BYTES];
    size_t n;
};

/*
 * Those that the caller names (comma-separated, where the provider has them); where it names
 * none, the next sizes down by the provider's naming: -mini, -nano, haiku for sonnet, flash
 * for pro.  Only names that the book has a model for, never the model itself.
 */
void models_like(const struct book *book, struct strv provider, struct strv model,
                 struct strv named, struct models_like *out);

#endif
