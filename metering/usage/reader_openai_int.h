/*
 * reader_openai_int.h - what the reader of OpenAI's documents and its arithmetic share.
 * Nothing but those two files includes it.
 */
#ifndef METERING_USAGE_READER_OPENAI_INT_H
#define METERING_USAGE_READER_OPENAI_INT_H

#include "metering/usage/reader.h"

/* llama.cpp's timings, where the document has no usage: they count the same tokens. */
void openai_take_timings(struct reading *r);
/* The usage of the document that ended, as far as it says any. */
void openai_to_usage(struct reading *r);
/* Tools that the provider ran: its own count, else what lies in the output. */
void openai_add_tools(struct reading *r);
/* What another model did, whose counts are in r->iteration; nothing where all are zero. */
void openai_add_side(struct reading *r, enum part_kind kind);

#endif
