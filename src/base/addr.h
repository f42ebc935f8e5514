#ifndef VIPD_BASE_ADDR_H
#define VIPD_BASE_ADDR_H

/* IP addresses, prefixes and endpoints as plain values: compared with memcmp, printed in one canonical form. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define ADDR_TEXT_MAX 46     /* "ffff:...:255.255.255.255" and the NUL */
#define PREFIX_TEXT_MAX 50   /* address, '/', "128", NUL */
#define ENDPOINT_TEXT_MAX 54 /* "[" address "]:65535" NUL */

/* family is 4, 6 or 0 (no address); an IPv4 address fills bytes[0..3], the rest is zero. IPv4-mapped IPv6 addresses
 * are normalised to IPv4 when parsed. */
struct addr
{
    uint8_t family;
    uint8_t bytes[16];
};

struct prefix
{
    struct addr addr; /* as written, host bits kept */
    uint8_t len;      /* 0..32 or 0..128 */
};

struct endpoint
{
    struct addr addr;
    uint16_t port;
};

/* Each parses the whole of text; 0, or -EINVAL with *ret untouched. prefix_parse takes "ADDR/LEN" or "ADDR" (then a
 * host prefix: 32 or 128, and *ret_explicit, if not NULL, is false). endpoint_parse takes "A.B.C.D:PORT" or
 * "[v6]:PORT", port 1..65535. */
NODISCARD int addr_parse(const char *text, struct addr *ret);
NODISCARD int prefix_parse(const char *text, struct prefix *ret, bool *ret_explicit);
NODISCARD int endpoint_parse(const char *text, struct endpoint *ret);

/* Each writes canonical text (RFC 5952 for IPv6) and returns buf. family 0 prints "none". */
const char *addr_format(const struct addr *addr, char buf[ADDR_TEXT_MAX]);
const char *prefix_format(const struct prefix *prefix, char buf[PREFIX_TEXT_MAX]);
const char *endpoint_format(const struct endpoint *endpoint, char buf[ENDPOINT_TEXT_MAX]);

bool addr_equal(const struct addr *a, const struct addr *b);
int addr_compare(const struct addr *a, const struct addr *b); /* family first, then bytes: a total order */

/* Whether addr lies within the network of prefix (same family, equal in its first len bits). */
bool prefix_contains(const struct prefix *prefix, const struct addr *addr);

/* Whether one host can be given the address: neither unspecified, loopback, multicast, limited broadcast nor IPv6
 * link-local (which would need a zone). */
bool addr_is_unicast(const struct addr *addr);

/* Whether the address, with that length, is one that a host of its network can be given: addr_is_unicast(), and neither the first
 * nor the last address of an IPv4 network (RFC 919; RFC 3021 for /31), nor the first one of an IPv6 network, which is every
 * router's (RFC 4291 2.6.1; RFC 6164 for /127). A length of 0 is no network. */
bool prefix_is_host(const struct prefix *prefix);

/* 32 or 128. */
static inline uint8_t addr_bits(const struct addr *addr)
{
    return addr->family == 4 ? 32 : 128;
}

#endif
