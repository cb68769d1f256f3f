#include "metering/usage/inflate.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <brotli/decode.h>
#include <zlib.h>
#include <zstd.h>

#include "base/held.h"
#include "base/xalloc.h"

enum kind { KIND_GZIP = 0, KIND_DEFLATE, KIND_BROTLI, KIND_ZSTD };

/*
 * What the libraries hold is not told: a state, and of the output as much as may be looked back
 * to (RFC 1951 section 2, RFC 7932 section 9.1, RFC 9659).
 */
enum {
    STATE_BYTES = 64 << 10,
    LOOK_BACK_MAX_BYTES = 16 << 20,
    HELD_STEP_BYTES = 64 << 10,
};

enum { GZIP_WINDOW = 15 + 16, ZLIB_WINDOW = 15, RAW_WINDOW = -15 };

struct inflater {
    enum kind kind;
    enum rc rc;
    bool ended; /* a member or frame is complete: another may follow */
    uint64_t in, out;
    size_t held; /* what its library is taken to hold */
    unsigned char head[2]; /* deflate: tells whether there is a zlib wrapper */
    size_t head_n;
    z_stream z;
    bool z_open;
    BrotliDecoderState *brotli;
    ZSTD_DStream *zstd;
    inflate_fn *fn;
    void *arg;
};

static bool find_kind(struct strv coding, enum kind *kind)
{
    static const struct {
        struct strv name;
        enum kind kind;
    } NAMES[] = {{{"gzip", 4}, KIND_GZIP},
                 {{"x-gzip", 6}, KIND_GZIP},
                 {{"deflate", 7}, KIND_DEFLATE},
                 {{"br", 2}, KIND_BROTLI},
                 {{"zstd", 4}, KIND_ZSTD}};

    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        if (strv_eq_nocase(coding, NAMES[i].name)) {
            *kind = NAMES[i].kind;
            return true;
        }
    }
    return false;
}

struct inflater *inflate_new(struct strv coding, bool *identity)
{
    struct inflater *z;
    enum kind kind;

    coding = strv_trim(coding);
    *identity = coding.n == 0 || strv_eq_nocase(coding, STRV("identity"));
    if (*identity || !find_kind(coding, &kind))
        return NULL;
    z = xcalloc(1, sizeof(*z));
    z->kind = kind;
    z->held = STATE_BYTES;
    held_add(z->held);
    if (kind == KIND_GZIP) {
        z->z_open = inflateInit2(&z->z, GZIP_WINDOW) == Z_OK;
        z->rc = z->z_open ? RC_OK : RC_LIMIT;
    } else if (kind == KIND_BROTLI) {
        z->brotli = BrotliDecoderCreateInstance(NULL, NULL, NULL);
        z->rc = z->brotli ? RC_OK : RC_LIMIT;
    } else if (kind == KIND_ZSTD) {
        z->zstd = ZSTD_createDStream();
        if (z->zstd == NULL || ZSTD_isError(ZSTD_DCtx_setParameter(z->zstd, ZSTD_d_windowLogMax,
                                                                   INFLATE_ZSTD_WINDOW_LOG)))
            z->rc = RC_LIMIT;
    }
    return z;
}

void inflate_free(struct inflater *z)
{
    if (z == NULL)
        return;
    if (z->z_open)
        inflateEnd(&z->z);
    if (z->brotli != NULL)
        BrotliDecoderDestroyInstance(z->brotli);
    ZSTD_freeDStream(z->zstd);
    held_sub(z->held);
    free(z);
}

/* Tells a piece of output; RC_LIMIT where it is too much for so much input. */
static enum rc tell(struct inflater *z, const char *p, size_t n)
{
    if (n == 0)
        return RC_OK;
    z->out += n;
    if (z->kind >= KIND_BROTLI && z->out > z->held && z->held < LOOK_BACK_MAX_BYTES) {
        z->held += HELD_STEP_BYTES;
        held_add(HELD_STEP_BYTES);
    }
    if (z->out > INFLATE_FREE_BYTES + z->in * INFLATE_RATIO_MAX)
        return RC_LIMIT;
    z->fn(z->arg, strv_make(p, n));
    return RC_OK;
}

static enum rc feed_zlib(struct inflater *z, const unsigned char *p, size_t n)
{
    char piece[INFLATE_PIECE];
    enum rc rc = RC_OK;
    int status = Z_OK;

    z->z.next_in = (unsigned char *)(uintptr_t)p; /* zlib only reads it */
    z->z.avail_in = (uInt)n;
    do {
        if (z->ended) { /* RFC 1952 section 2.2: members may follow each other */
            if (z->z.avail_in == 0)
                return RC_OK;
            if (z->kind != KIND_GZIP || inflateReset(&z->z) != Z_OK)
                return RC_BAD;
            z->ended = false;
        }
        z->z.next_out = (unsigned char *)piece;
        z->z.avail_out = sizeof(piece);
        status = inflate(&z->z, Z_NO_FLUSH);
        if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
            return RC_BAD;
        z->ended = status == Z_STREAM_END;
        rc = tell(z, piece, sizeof(piece) - z->z.avail_out);
    } while (rc == RC_OK && (z->z.avail_out == 0 || z->z.avail_in > 0) &&
             status != Z_BUF_ERROR);
    return rc;
}

/*
 * "deflate" is the zlib format (RFC 9110 section 8.4.1.2), yet some servers send
 * it bare: the first two bytes tell.
 */
static enum rc feed_deflate(struct inflater *z, const unsigned char *p, size_t n)
{
    enum rc rc;

    while (!z->z_open) {
        unsigned first, second;

        if (n == 0)
            return RC_OK;
        z->head[z->head_n++] = *p++;
        n--;
        if (z->head_n < sizeof(z->head))
            continue;
        first = z->head[0];
        second = z->head[1];
        z->z_open = inflateInit2(&z->z, (first & 0x0f) == 8 && (first << 8 | second) % 31 == 0
                                            ? ZLIB_WINDOW
                                            : RAW_WINDOW) == Z_OK;
        if (!z->z_open)
            return RC_LIMIT;
        rc = feed_zlib(z, z->head, sizeof(z->head));
        if (rc != RC_OK)
            return rc;
    }
    return n > 0 ? feed_zlib(z, p, n) : RC_OK;
}

static enum rc feed_brotli(struct inflater *z, const unsigned char *p, size_t n)
{
    unsigned char piece[INFLATE_PIECE];
    BrotliDecoderResult result = BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT;
    enum rc rc = RC_OK;

    if (z->ended)
        return n > 0 ? RC_BAD : RC_OK;
    while (rc == RC_OK && result == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT) {
        unsigned char *out = piece;
        size_t room = sizeof(piece);

        result = BrotliDecoderDecompressStream(z->brotli, &n, &p, &room, &out, NULL);
        if (result == BROTLI_DECODER_RESULT_ERROR)
            return RC_BAD;
        rc = tell(z, (const char *)piece, sizeof(piece) - room);
    }
    z->ended = result == BROTLI_DECODER_RESULT_SUCCESS;
    return rc == RC_OK && z->ended && n > 0 ? RC_BAD : rc;
}

static enum rc feed_zstd(struct inflater *z, const unsigned char *p, size_t n)
{
    ZSTD_inBuffer in = {p, n, 0};
    char piece[INFLATE_PIECE];
    ZSTD_outBuffer out;
    size_t left;
    enum rc rc;

    do {
        out = (ZSTD_outBuffer){piece, sizeof(piece), 0};
        left = ZSTD_decompressStream(z->zstd, &out, &in);
        if (ZSTD_isError(left))
            return RC_BAD;
        z->ended = left == 0;
        rc = tell(z, piece, out.pos);
    } while (rc == RC_OK && (in.pos < in.size || out.pos == out.size));
    return rc;
}

static enum rc feed_some(struct inflater *z, const unsigned char *p, size_t n)
{
    z->in += n;
    switch (z->kind) {
    case KIND_GZIP:
        return feed_zlib(z, p, n);
    case KIND_DEFLATE:
        return feed_deflate(z, p, n);
    case KIND_BROTLI:
        return feed_brotli(z, p, n);
    case KIND_ZSTD:
        return feed_zstd(z, p, n);
    }
    return RC_BAD;
}

enum rc inflate_feed(struct inflater *z, struct strv bytes, inflate_fn *fn, void *arg)
{
    enum { STEP = 1 << 20 }; /* zlib counts in 32 bits */

    z->fn = fn;
    z->arg = arg;
    while (z->rc == RC_OK && bytes.n > 0) {
        struct strv now = strv_head(bytes, STEP);

        z->rc = feed_some(z, (const unsigned char *)now.p, now.n);
        bytes = strv_skip(bytes, now.n);
    }
    return z->rc;
}

bool inflate_is_whole(const struct inflater *z)
{
    return z->rc == RC_OK && z->ended;
}

struct unpacking {
    struct buf *out;
    enum rc rc;
};

static void keep_piece(void *arg, struct strv piece)
{
    struct unpacking *u = arg;

    if (u->rc == RC_OK)
        u->rc = buf_append_strv(u->out, piece);
}

enum rc inflate_body(struct strv coding, struct strv packed, struct buf *out)
{
    enum { STEP = 64 << 10 }; /* so that what does not fit stops it soon */
    struct unpacking u = {.out = out, .rc = RC_OK};
    bool identity;
    struct inflater *z = inflate_new(coding, &identity);
    enum rc rc = RC_OK;

    if (identity)
        return buf_append_strv(out, packed);
    if (z == NULL)
        return RC_STATE;
    for (size_t at = 0; at < packed.n && rc == RC_OK; at += STEP) {
        rc = inflate_feed(z, strv_head(strv_skip(packed, at), STEP), keep_piece, &u);
        rc = rc == RC_OK ? u.rc : rc;
    }
    if (rc == RC_OK && !inflate_is_whole(z))
        rc = RC_BAD;
    inflate_free(z);
    return rc;
}
