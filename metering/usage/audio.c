#include "metering/usage/audio.h"

#include <string.h>

#define AUDIO_BYTES_MAX (UINT64_C(1) << 48) /* of a file: any more is taken for so much */

enum {
    MS_PER_SECOND = 1000,
    /* Voice, as recorders and messengers code it: so few bytes a second that the length is
     * rather too large than too small. */
    OTHER_BYTES_PER_SECOND = 4000,
    WAV_HEAD = 44,
    FLAC_HEAD = 26,
    ID3_HEAD = 10,
};

static uint32_t le32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t at_rate(uint64_t bytes, uint64_t bytes_per_second)
{
    uint64_t ms = bytes * MS_PER_SECOND / bytes_per_second;

    return ms > 0 ? ms : 1;
}

static uint32_t le16(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

/*
 * RIFF, whose first chunk is its format.  Of samples as they are, bytes a second follow from the
 * rest, whatever is said of them; of others the file's word is all there is.
 */
static uint64_t wav_ms(struct strv file, uint64_t bytes)
{
    enum { PCM = 1, FLOATS = 3, EXTENSIBLE = 0xfffe };
    const unsigned char *p = (const unsigned char *)file.p;
    uint64_t rate, exact;
    uint32_t format;

    if (file.n < WAV_HEAD || memcmp(p, "RIFF", 4) != 0 || memcmp(p + 8, "WAVEfmt ", 8) != 0)
        return 0;
    rate = le32(p + 28);
    format = le16(p + 20);
    exact = (uint64_t)le32(p + 24) * le16(p + 22) * ((le16(p + 34) + 7) / 8);
    if (exact > 0 && (format == PCM || format == FLOATS || format == EXTENSIBLE))
        rate = exact;
    return rate > 0 ? at_rate(bytes - WAV_HEAD, rate) : 0;
}

/*
 * RFC 9639 8.2, the block that comes first: 20 bits of sample rate, 3 of channels and 5 of bits a
 * sample, less one each, and 36 of samples.  No fewer than the file would hold unpacked.
 */
static uint64_t flac_ms(struct strv file, uint64_t bytes)
{
    const unsigned char *p = (const unsigned char *)file.p;
    uint64_t rate, samples, sample_bits, least;

    if (file.n < FLAC_HEAD || memcmp(p, "fLaC", 4) != 0)
        return 0;
    rate = (uint64_t)p[18] << 12 | (uint64_t)p[19] << 4 | p[20] >> 4;
    samples = (uint64_t)(p[21] & 0x0f) << 32 | (uint64_t)p[22] << 24 | (uint64_t)p[23] << 16 |
              (uint64_t)p[24] << 8 | p[25];
    sample_bits = (uint64_t)((p[20] >> 1 & 7) + 1) * ((uint64_t)((p[20] & 1) << 4 | p[21] >> 4) + 1);
    least = bytes * 8 / sample_bits;
    if (samples > 0 && samples < least)
        samples = least;
    return rate > 0 && samples > 0 ? at_rate(samples, rate) : 0;
}

/* The rate of the first frame of layer III, behind a tag where there is one. */
static uint64_t mp3_ms(struct strv file, uint64_t bytes)
{
    static const uint16_t KBITS[2][16] = {
        {0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0},
        {0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0}};
    const unsigned char *p = (const unsigned char *)file.p;
    uint64_t at = 0, kbits;

    if (file.n >= ID3_HEAD && memcmp(p, "ID3", 3) == 0)
        at = ID3_HEAD + ((uint64_t)(p[6] & 0x7f) << 21 | (uint64_t)(p[7] & 0x7f) << 14 |
                         (uint64_t)(p[8] & 0x7f) << 7 | (p[9] & 0x7f));
    if (at + 4 > file.n || p[at] != 0xff || (p[at + 1] & 0xe6) != 0xe2)
        return 0;
    kbits = KBITS[(p[at + 1] & 0x18) == 0x18 ? 0 : 1][p[at + 2] >> 4];
    return kbits > 0 ? at_rate(bytes - at, kbits * 125) : 0;
}

uint64_t audio_part_ms(struct strv head, uint64_t bytes)
{
    uint64_t ms;

    if (bytes < head.n) /* no file is shorter than its beginning */
        bytes = head.n;
    if (bytes > AUDIO_BYTES_MAX)
        bytes = AUDIO_BYTES_MAX;
    if (head.n == 0)
        return 0;
    ms = wav_ms(head, bytes);
    ms = ms ? ms : flac_ms(head, bytes);
    ms = ms ? ms : mp3_ms(head, bytes);
    return ms ? ms : at_rate(bytes, OTHER_BYTES_PER_SECOND);
}

uint64_t audio_length_ms(struct strv file)
{
    return audio_part_ms(file, file.n);
}
