/*
 * audio.h - how long a piece of sound lasts, from its first bytes.
 *
 * WAV, FLAC and MP3 say it, or their rate, in their head; of anything else the size tells
 * it roughly.  An estimate: what is charged is what the provider measures.
 */
#ifndef METERING_USAGE_AUDIO_H
#define METERING_USAGE_AUDIO_H

#include <stdint.h>

#include "base/strv.h"

enum { AUDIO_HEAD_BYTES = 64 << 10 }; /* in which a file tells what it has to tell */

/* Milliseconds that a file lasts, at least 1 for one that is not empty. */
uint64_t audio_length_ms(struct strv file);
/* The same of a file of which only the beginning is here, and its length in bytes. */
uint64_t audio_part_ms(struct strv head, uint64_t bytes);

#endif
