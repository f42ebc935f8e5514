#ifndef VIPD_WIRE_PACK_H
#define VIPD_WIRE_PACK_H

/* MessagePack as a plain sequence of values, written into and read from memory that the caller gives: what the log's
 * commands, snapshots and heartbeats are made of. Both sides remember the first failure, so that only the end needs a
 * check. (Trees of values, as the control protocol has them, are in wire/value.h.) */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"

struct packer
{
    uint8_t *bytes; /* NULL: the bytes are only counted */
    size_t size;
    size_t used; /* may exceed size: then the rest was not written */
};

void packer_init(struct packer *packer, void *bytes, size_t size);
/* 0, or -ENOBUFS when it did not fit. */
NODISCARD int packer_done(const struct packer *packer, size_t *ret_len);

void pack_uint(struct packer *packer, uint64_t value);
void pack_int(struct packer *packer, int64_t value);
void pack_bool(struct packer *packer, bool value);
void pack_text(struct packer *packer, const char *text);
/* len bytes, as binary */
void pack_bytes(struct packer *packer, const void *bytes, size_t len);
void pack_array(struct packer *packer, size_t n); /* n values follow */
void pack_addr(struct packer *packer, const struct addr *addr); /* as binary, of 0, 4 or 16 bytes */
void pack_prefix(struct packer *packer, const struct prefix *prefix);       /* two values */
void pack_endpoint(struct packer *packer, const struct endpoint *endpoint); /* two values */

struct unpacker
{
    const uint8_t *at, *end;
    bool failed; /* malformed, cut short, of another type, or out of range; every later read gives zero */
};

void unpacker_init(struct unpacker *unpacker, const void *bytes, size_t len);
/* 0, or -EBADMSG when something failed or bytes are left. */
NODISCARD int unpacker_done(const struct unpacker *unpacker);

uint64_t unpack_uint(struct unpacker *unpacker, uint64_t max);
int64_t unpack_int(struct unpacker *unpacker, int64_t min, int64_t max);
bool unpack_bool(struct unpacker *unpacker);
/* Into size bytes, NUL-terminated and filled up with zeros; a text with a NUL within or too long for them fails. */
void unpack_text(struct unpacker *unpacker, char *ret, size_t size);
/* Up to max bytes, where they are: they live as long as what is read. */
const void *unpack_bytes(struct unpacker *unpacker, size_t max, uint32_t *ret_len);
/* How many values follow: min..max, and never more than there are bytes left. */
uint32_t unpack_array(struct unpacker *unpacker, uint32_t min, uint32_t max);
struct addr unpack_addr(struct unpacker *unpacker);
struct prefix unpack_prefix(struct unpacker *unpacker);
struct endpoint unpack_endpoint(struct unpacker *unpacker);

#endif
