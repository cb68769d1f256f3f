/*
 * crc32c.h - CRC-32C (Castagnoli, RFC 3720 appendix B.4), by SSE 4.2 where the processor has it.
 */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* CRC of n bytes that follow others whose CRC was crc; start with 0. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t n);

#endif
