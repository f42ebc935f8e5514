#ifndef VIPD_IO_CRC32C_H
#define VIPD_IO_CRC32C_H

/* CRC-32C (Castagnoli; RFC 3720, B.4), over several pieces: begin with 0, pass the result on. */

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *data, size_t len);
uint32_t crc32c_u64(uint32_t crc, uint64_t value); /* of its 8 bytes, little endian */

#endif
