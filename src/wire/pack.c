/* The writing half is msgpack-c's. The reading half is not: msgpack-c builds trees of objects and allocates by what a
 * header claims, while here every value goes straight into the field that it is meant for and is checked on the way. */

#include "wire/pack.h"

#include <errno.h>
#include <msgpack/pack.h>
#include <string.h>

/* ------------------------------------------------------------------ writing */

static int put(void *data, const char *bytes, size_t len)
{
    struct packer *packer = data;

    if (packer->bytes != NULL && packer->used <= packer->size && len <= packer->size - packer->used) {
        memcpy(packer->bytes + packer->used, bytes, len);
    }
    packer->used += len;
    return 0; /* packer_done() tells */
}

static msgpack_packer msgpack_of(struct packer *packer)
{
    return (msgpack_packer){.data = packer, .callback = put};
}

void packer_init(struct packer *packer, void *bytes, size_t size)
{
    *packer = (struct packer){.bytes = bytes, .size = size};
}

int packer_done(const struct packer *packer, size_t *ret_len)
{
    if (packer->bytes != NULL && packer->used > packer->size) {
        return -ENOBUFS;
    }
    *ret_len = packer->used;
    return 0;
}

void pack_uint(struct packer *packer, uint64_t value)
{
    msgpack_packer to = msgpack_of(packer);

    (void)msgpack_pack_uint64(&to, value);
}

void pack_int(struct packer *packer, int64_t value)
{
    msgpack_packer to = msgpack_of(packer);

    (void)msgpack_pack_int64(&to, value);
}

void pack_bool(struct packer *packer, bool value)
{
    msgpack_packer to = msgpack_of(packer);

    (void)(value ? msgpack_pack_true(&to) : msgpack_pack_false(&to));
}

void pack_text(struct packer *packer, const char *text)
{
    msgpack_packer to = msgpack_of(packer);
    size_t len = strlen(text);

    (void)msgpack_pack_str(&to, len);
    (void)msgpack_pack_str_body(&to, text, len);
}

void pack_bytes(struct packer *packer, const void *bytes, size_t len)
{
    msgpack_packer to = msgpack_of(packer);

    (void)msgpack_pack_bin(&to, len);
    (void)msgpack_pack_bin_body(&to, bytes, len);
}

void pack_array(struct packer *packer, size_t n)
{
    msgpack_packer to = msgpack_of(packer);

    (void)msgpack_pack_array(&to, n);
}

void pack_addr(struct packer *packer, const struct addr *addr)
{
    msgpack_packer to = msgpack_of(packer);
    size_t len = addr->family == 4 ? 4 : addr->family == 6 ? 16 : 0;

    (void)msgpack_pack_bin(&to, len);
    (void)msgpack_pack_bin_body(&to, addr->bytes, len);
}

void pack_prefix(struct packer *packer, const struct prefix *prefix)
{
    pack_addr(packer, &prefix->addr);
    pack_uint(packer, prefix->len);
}

void pack_endpoint(struct packer *packer, const struct endpoint *endpoint)
{
    pack_addr(packer, &endpoint->addr);
    pack_uint(packer, endpoint->port);
}

/* ------------------------------------------------------------------ reading */

/* First bytes of the values that are in use; https://github.com/msgpack/msgpack/blob/master/spec.md */
enum
{
    FIXINT_LAST = 0x7f,
    FIXARRAY = 0x90,
    FIXARRAY_LAST = 0x9f,
    FIXSTR = 0xa0,
    FIXSTR_LAST = 0xbf,
    FALSE_BYTE = 0xc2,
    TRUE_BYTE = 0xc3,
    BIN8 = 0xc4,
    BIN32 = 0xc6,
    UINT8 = 0xcc,
    UINT64 = 0xcf,
    INT8 = 0xd0,
    INT64 = 0xd3,
    STR8 = 0xd9,
    STR16 = 0xda,
    ARRAY16 = 0xdc,
    ARRAY32 = 0xdd,
    NEGATIVE_FIXINT = 0xe0,
};

void unpacker_init(struct unpacker *unpacker, const void *bytes, size_t len)
{
    *unpacker = (struct unpacker){.at = bytes, .end = (const uint8_t *)bytes + len};
}

int unpacker_done(const struct unpacker *unpacker)
{
    return unpacker->failed || unpacker->at != unpacker->end ? -EBADMSG : 0;
}

static const uint8_t *take(struct unpacker *unpacker, size_t len)
{
    const uint8_t *at = unpacker->at;

    if (unpacker->failed || (size_t)(unpacker->end - at) < len) {
        unpacker->failed = true;
        return NULL;
    }
    unpacker->at += len;
    return at;
}

/* A byte that no value begins with stands for the end of the bytes. */
static uint8_t take_head(struct unpacker *unpacker)
{
    const uint8_t *at = take(unpacker, 1);

    return at == NULL ? 0xc1 : *at;
}

static uint64_t take_big_endian(struct unpacker *unpacker, size_t len)
{
    const uint8_t *at = take(unpacker, len);
    uint64_t value = 0;

    for (size_t i = 0; at != NULL && i < len; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

/* A number as its magnitude's two halves of the range: negative ones as two's complement with *ret_negative. */
static uint64_t take_number(struct unpacker *unpacker, bool *ret_negative)
{
    uint8_t head = take_head(unpacker);
    uint64_t value = 0;

    *ret_negative = false;
    if (head <= FIXINT_LAST) {
        return head;
    }
    if (head >= UINT8 && head <= UINT64) {
        return take_big_endian(unpacker, (size_t)1 << (head - UINT8));
    }
    if (head >= INT8 && head <= INT64) {
        unsigned bits = 8u << (head - INT8);

        value = take_big_endian(unpacker, bits / 8);
        *ret_negative = (value >> (bits - 1) & 1) != 0;
        return *ret_negative && bits < 64 ? value | ~0ull << bits : value;
    }
    if (head >= NEGATIVE_FIXINT) {
        *ret_negative = true;
        return head | ~0xffull;
    }
    unpacker->failed = true;
    return 0;
}

uint64_t unpack_uint(struct unpacker *unpacker, uint64_t max)
{
    bool negative;
    uint64_t value = take_number(unpacker, &negative);

    if (negative || value > max) {
        unpacker->failed = true;
    }
    return unpacker->failed ? 0 : value;
}

int64_t unpack_int(struct unpacker *unpacker, int64_t min, int64_t max)
{
    bool negative;
    uint64_t value = take_number(unpacker, &negative);

    if ((!negative && value > INT64_MAX) || (int64_t)value < min || (int64_t)value > max) {
        unpacker->failed = true;
    }
    return unpacker->failed ? 0 : (int64_t)value;
}

bool unpack_bool(struct unpacker *unpacker)
{
    uint8_t head = take_head(unpacker);

    if (head != FALSE_BYTE && head != TRUE_BYTE) {
        unpacker->failed = true;
    }
    return !unpacker->failed && head == TRUE_BYTE;
}

void unpack_text(struct unpacker *unpacker, char *ret, size_t size)
{
    uint8_t head = take_head(unpacker);
    const uint8_t *at = NULL;
    size_t len = 0;

    if (head >= FIXSTR && head <= FIXSTR_LAST) {
        len = head - FIXSTR;
    } else if (head == STR8 || head == STR16) {
        len = (size_t)take_big_endian(unpacker, head == STR8 ? 1 : 2);
    } else {
        unpacker->failed = true;
    }
    at = take(unpacker, len);
    memset(ret, 0, size);
    if (at == NULL || len >= size || memchr(at, '\0', len) != NULL) {
        unpacker->failed = true;
        return;
    }
    memcpy(ret, at, len);
}

const void *unpack_bytes(struct unpacker *unpacker, size_t max, uint32_t *ret_len)
{
    uint8_t head = take_head(unpacker);
    uint64_t len = UINT64_MAX;
    const uint8_t *at = NULL;

    if (head >= BIN8 && head <= BIN32) {
        len = take_big_endian(unpacker, (size_t)1 << (head - BIN8));
    }
    if (len <= max) {
        at = take(unpacker, (size_t)len);
    }
    unpacker->failed = unpacker->failed || at == NULL;
    *ret_len = unpacker->failed ? 0 : (uint32_t)len;
    return unpacker->failed ? NULL : at;
}

uint32_t unpack_array(struct unpacker *unpacker, uint32_t min, uint32_t max)
{
    uint8_t head = take_head(unpacker);
    uint64_t n = 0;

    if (head >= FIXARRAY && head <= FIXARRAY_LAST) {
        n = head - FIXARRAY;
    } else if (head == ARRAY16 || head == ARRAY32) {
        n = take_big_endian(unpacker, head == ARRAY16 ? 2 : 4);
    } else {
        unpacker->failed = true;
    }
    if (n < min || n > max || n > (uint64_t)(unpacker->end - unpacker->at)) {
        unpacker->failed = true;
    }
    return unpacker->failed ? 0 : (uint32_t)n;
}

struct addr unpack_addr(struct unpacker *unpacker)
{
    struct addr addr = {0};
    const uint8_t *at = NULL;
    size_t len = 0;

    if (take_head(unpacker) == BIN8) {
        len = (size_t)take_big_endian(unpacker, 1);
        at = take(unpacker, len);
    }
    if (at == NULL || (len != 0 && len != 4 && len != 16)) {
        unpacker->failed = true;
        return addr;
    }
    addr.family = len == 4 ? 4 : len == 16 ? 6 : 0;
    memcpy(addr.bytes, at, len);
    return addr;
}

struct prefix unpack_prefix(struct unpacker *unpacker)
{
    struct prefix prefix = {.addr = unpack_addr(unpacker)};

    prefix.len = (uint8_t)unpack_uint(unpacker, prefix.addr.family == 0 ? 0 : addr_bits(&prefix.addr));
    return prefix;
}

struct endpoint unpack_endpoint(struct unpacker *unpacker)
{
    struct endpoint endpoint = {.addr = unpack_addr(unpacker)};

    endpoint.port = (uint16_t)unpack_uint(unpacker, UINT16_MAX);
    return endpoint;
}
