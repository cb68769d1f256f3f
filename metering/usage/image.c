#include "metering/usage/image.h"

#include <string.h>

enum {
    TILE_FIT = 2048,  /* tiled images are first scaled to fit into a square of this */
    TILE_SHORT = 768, /* and then until their shorter side is no longer than this */
    TILE_SIDE = 512,
    TILES_MAX = 8, /* 768 x 2048 */
    PATCH_SIDE = 32,
    PATCHES_MAX = 1536,
    FACTOR_ONE = 100,
    HEAD_BYTES = 32, /* every form but JPEG says its size in these */
};

/* patch_factor in hundredths, 0: tiled.  First match; "" matches anything. */
static const struct rule {
    const char *model;
    uint32_t base, tile, patch_factor;
} RULES[] = {
    {"gpt-4o-mini", 2833, 5667, 0},    {"gpt-5-mini", 0, 0, 120},
    {"gpt-5-nano", 0, 0, 246},         {"gpt-4.1-mini", 0, 0, 162},
    {"gpt-4.1-nano", 0, 0, 246},       {"o4-mini", 0, 0, 172},
    {"gpt-5", 70, 140, 0},             {"", 85, 170, 0},
};

/* ---- base64 ------------------------------------------------------------------ */

/* Decodes as it is read. */
struct bits {
    struct strv rest;
    uint32_t held;
    unsigned n;
    uint32_t read; /* bytes */
};

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

/* The next byte, -1 at the end. */
static int next_byte(struct bits *b)
{
    while (b->n < 8) {
        int value;

        if (b->rest.n == 0 || b->read == IMAGE_HEAD_MAX_BYTES)
            return -1;
        value = digit(*b->rest.p);
        if (value < 0 && *b->rest.p != '\\')
            return -1;
        b->rest = strv_skip(b->rest, 1);
        if (value < 0)
            continue; /* of "\/" */
        b->held = (b->held << 6 | (uint32_t)value) & 0xffff;
        b->n += 6;
    }
    b->n -= 8;
    b->read++;
    return (int)(b->held >> b->n & 0xff);
}

static bool skip_bytes(struct bits *b, uint32_t n)
{
    while (n-- > 0) {
        if (next_byte(b) < 0)
            return false;
    }
    return true;
}

/* Big-endian; -1 at the end. */
static int next_pair(struct bits *b)
{
    int high = next_byte(b), low = next_byte(b);

    return high < 0 || low < 0 ? -1 : high << 8 | low;
}

/* ---- forms -------------------------------------------------------------------- */

static bool give(struct image_size *out, uint32_t width, uint32_t height)
{
    *out = (struct image_size){width, height};
    return width > 0 && height > 0 && width <= IMAGE_SIDE_MAX && height <= IMAGE_SIDE_MAX;
}

/* ISO 10918-1: segments until a frame header, SOF0 to SOF15 but DHT, JPG and DAC. */
static bool size_of_jpeg(struct bits *b, struct image_size *out)
{
    if (!skip_bytes(b, 2))
        return false;
    for (;;) {
        int mark = next_byte(b), kind, length, height, width;

        if (mark != 0xff)
            return false;
        do
            kind = next_byte(b);
        while (kind == 0xff);
        if (kind < 0 || kind == 0xd9 || kind == 0xda)
            return false;
        if (kind == 0x01 || (kind >= 0xd0 && kind <= 0xd7))
            continue;
        length = next_pair(b);
        if (length < 2)
            return false;
        if (kind >= 0xc0 && kind <= 0xcf && kind != 0xc4 && kind != 0xc8 && kind != 0xcc) {
            if (!skip_bytes(b, 1))
                return false;
            height = next_pair(b);
            width = next_pair(b);
            return height >= 0 && width >= 0 && give(out, (uint32_t)width, (uint32_t)height);
        }
        if (!skip_bytes(b, (uint32_t)length - 2))
            return false;
    }
}

static uint32_t little(const unsigned char *p, unsigned n)
{
    uint32_t value = 0;

    while (n-- > 0)
        value = value << 8 | p[n];
    return value;
}

/* RFC 9649: lossy, lossless, extended. */
static bool size_of_webp(const unsigned char *head, struct image_size *out)
{
    if (memcmp(head + 12, "VP8 ", 4) == 0)
        return give(out, little(head + 26, 2) & 0x3fff, little(head + 28, 2) & 0x3fff);
    if (memcmp(head + 12, "VP8L", 4) == 0) {
        uint32_t bits = little(head + 21, 4);

        return give(out, (bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1);
    }
    if (memcmp(head + 12, "VP8X", 4) == 0)
        return give(out, little(head + 24, 3) + 1, little(head + 27, 3) + 1);
    return false;
}

static bool size_of_file(struct strv base64, struct image_size *out)
{
    struct bits b = {.rest = base64}, whole = b;
    unsigned char head[HEAD_BYTES] = {0};
    unsigned n = 0;
    int c;

    while (n < HEAD_BYTES && (c = next_byte(&b)) >= 0)
        head[n++] = (unsigned char)c;
    if (n >= 24 && memcmp(head, "\x89PNG\r\n\x1a\n", 8) == 0)
        return give(out,
                    (uint32_t)head[16] << 24 | (uint32_t)head[17] << 16 |
                        (uint32_t)head[18] << 8 | head[19],
                    (uint32_t)head[20] << 24 | (uint32_t)head[21] << 16 |
                        (uint32_t)head[22] << 8 | head[23]);
    if (n >= 10 && memcmp(head, "GIF8", 4) == 0)
        return give(out, little(head + 6, 2), little(head + 8, 2));
    if (n >= 30 && memcmp(head, "RIFF", 4) == 0 && memcmp(head + 8, "WEBP", 4) == 0)
        return size_of_webp(head, out);
    if (n >= 4 && head[0] == 0xff && head[1] == 0xd8)
        return size_of_jpeg(&whole, out);
    return false;
}

bool image_size_of_url(struct strv url, struct image_size *out)
{
    static const char mark[] = ";base64,";
    struct strv head = strv_head(url, 128);

    if (url.n < 5 || memcmp(url.p, "data:", 5) != 0)
        return false;
    for (size_t at = 5; at + sizeof(mark) - 1 <= head.n; at++) {
        if (memcmp(head.p + at, mark, sizeof(mark) - 1) == 0)
            return size_of_file(strv_skip(url, at + sizeof(mark) - 1), out);
    }
    return false;
}

/* ---- tokens ------------------------------------------------------------------- */

static uint64_t parts(uint64_t length, uint64_t part)
{
    return (length + part - 1) / part;
}

static uint64_t tiles(const struct image_size *size)
{
    uint64_t w = size->width, h = size->height, longer, shorter;

    longer = w > h ? w : h;
    if (longer > TILE_FIT) {
        w = w * TILE_FIT / longer;
        h = h * TILE_FIT / longer;
    }
    shorter = w < h ? w : h;
    if (shorter > TILE_SHORT) {
        w = w * TILE_SHORT / shorter;
        h = h * TILE_SHORT / shorter;
    }
    w = w > 0 ? w : 1;
    h = h > 0 ? h : 1;
    return parts(w, TILE_SIDE) * parts(h, TILE_SIDE);
}

uint64_t image_tokens(struct strv model, const struct image_size *size, bool low)
{
    const struct rule *rule = RULES;
    uint64_t patches;

    while (strlen(rule->model) > model.n ||
           memcmp(rule->model, model.n ? model.p : "", strlen(rule->model)) != 0)
        rule++;
    if (rule->patch_factor == 0)
        return low ? rule->base : rule->base + rule->tile * (size ? tiles(size) : TILES_MAX);
    patches = size ? parts(size->width, PATCH_SIDE) * parts(size->height, PATCH_SIDE) : PATCHES_MAX;
    patches = patches < PATCHES_MAX ? patches : PATCHES_MAX;
    return (patches * rule->patch_factor + FACTOR_ONE - 1) / FACTOR_ONE;
}
