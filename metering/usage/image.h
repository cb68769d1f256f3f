/*
 * image.h - what an image in a prompt of OpenAI's is billed, from its size.
 *
 * The size is read from the head of the file inside a data URL; nothing is decoded further.
 * Rules: providers' documents and what users measured, November 2026.
 */
#ifndef METERING_USAGE_IMAGE_H
#define METERING_USAGE_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/strv.h"

enum {
    IMAGE_HEAD_MAX_BYTES = 64 << 10, /* of a file, in which its size must show */
    IMAGE_SIDE_MAX = 1 << 20,
};

struct image_size {
    uint32_t width, height; /* 1..IMAGE_SIDE_MAX */
};

/*
 * The size of a PNG, GIF, WebP or JPEG whose base64 stands in a data URL (as JSON has it:
 * "\/" is understood).  False where it does not show: another form, a link, a broken file.
 */
bool image_size_of_url(struct strv url, struct image_size *out);

/*
 * Tokens of an image.  size NULL: not known, the most that an image of this model takes.  low:
 * "detail": "low".
 */
uint64_t image_tokens(struct strv model, const struct image_size *size, bool low);

#endif
