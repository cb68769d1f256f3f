#include "tests/provider/encode.h"

#include <stdlib.h>

#include <brotli/encode.h>
#include <zlib.h>
#include <zstd.h>

#include "base/check.h"
#include "base/xalloc.h"

enum { STEP_BYTES = 16384, GZIP_WINDOW = 15 + 16, ZLIB_WINDOW = 15, ZLIB_MEMORY = 8 };

struct encoder {
    enum { CODING_ZLIB, CODING_BROTLI, CODING_ZSTD } coding;
    z_stream z;
    BrotliEncoderState *brotli;
    ZSTD_CCtx *zstd;
};

struct encoder *encoder_new(struct strv coding)
{
    struct encoder *e = xcalloc(1, sizeof(*e));
    if (strv_eq(coding, STRV("gzip")) || strv_eq(coding, STRV("deflate"))) {
        int window = strv_eq(coding, STRV("gzip")) ? GZIP_WINDOW : ZLIB_WINDOW;
        e->coding = CODING_ZLIB;
        ASSERT(deflateInit2(&e->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, window, ZLIB_MEMORY,
                            Z_DEFAULT_STRATEGY) == Z_OK);
        return e;
    }
    if (strv_eq(coding, STRV("br"))) {
        e->coding = CODING_BROTLI;
        e->brotli = BrotliEncoderCreateInstance(NULL, NULL, NULL);
        ASSERT(e->brotli != NULL);
        BrotliEncoderSetParameter(e->brotli, BROTLI_PARAM_QUALITY, 4);
        return e;
    }
    if (strv_eq(coding, STRV("zstd"))) {
        e->coding = CODING_ZSTD;
        e->zstd = ZSTD_createCCtx();
        ASSERT(e->zstd != NULL);
        return e;
    }
    free(e);
    return NULL;
}

void encoder_free(struct encoder *e)
{
    if (e == NULL)
        return;
    if (e->coding == CODING_ZLIB)
        deflateEnd(&e->z);
    BrotliEncoderDestroyInstance(e->brotli);
    ZSTD_freeCCtx(e->zstd);
    free(e);
}

static void put_zlib(struct encoder *e, struct strv bytes, bool last, struct buf *out)
{
    unsigned char step[STEP_BYTES];
    char *input = bytes.n ? xmemdupz(bytes.p, bytes.n) : NULL; /* next_in is not const */
    e->z.next_in = (Bytef *)input;
    e->z.avail_in = (uInt)bytes.n;
    do {
        e->z.next_out = step;
        e->z.avail_out = sizeof(step);
        int rc = deflate(&e->z, last ? Z_FINISH : Z_SYNC_FLUSH);
        ASSERT(rc == Z_OK || rc == Z_STREAM_END || rc == Z_BUF_ERROR);
        size_t n = sizeof(step) - e->z.avail_out;
        ASSERT(buf_append(out, (char *)step, n) == RC_OK);
    } while (e->z.avail_out == 0);
    free(input);
}

static void put_brotli(struct encoder *e, struct strv bytes, bool last, struct buf *out)
{
    const uint8_t *in = (const uint8_t *)bytes.p;
    size_t in_left = bytes.n;
    BrotliEncoderOperation op = last ? BROTLI_OPERATION_FINISH : BROTLI_OPERATION_FLUSH;
    do {
        size_t out_left = 0;
        ASSERT(
            BrotliEncoderCompressStream(e->brotli, op, &in_left, &in, &out_left, NULL, NULL));
        size_t n = 0;
        const uint8_t *made = BrotliEncoderTakeOutput(e->brotli, &n);
        ASSERT(n == 0 || buf_append(out, (const char *)made, n) == RC_OK);
    } while (in_left > 0 || BrotliEncoderHasMoreOutput(e->brotli));
}

static void put_zstd(struct encoder *e, struct strv bytes, bool last, struct buf *out)
{
    char step[STEP_BYTES];
    ZSTD_inBuffer in = {bytes.p, bytes.n, 0};
    size_t left;
    do {
        ZSTD_outBuffer o = {step, sizeof(step), 0};
        left = ZSTD_compressStream2(e->zstd, &o, &in, last ? ZSTD_e_end : ZSTD_e_flush);
        ASSERT(!ZSTD_isError(left));
        ASSERT(buf_append(out, step, o.pos) == RC_OK);
    } while (left > 0 || in.pos < in.size);
}

void encoder_put(struct encoder *e, struct strv bytes, bool last, struct buf *out)
{
    switch (e->coding) {
    case CODING_ZLIB:
        put_zlib(e, bytes, last, out);
        break;
    case CODING_BROTLI:
        put_brotli(e, bytes, last, out);
        break;
    case CODING_ZSTD:
        put_zstd(e, bytes, last, out);
        break;
    }
}
