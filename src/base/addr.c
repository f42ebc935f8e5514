#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ::ffff:0:0/96, RFC 4291 section 2.5.5.2 */
static const uint8_t MAPPED[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

#define MAPPED_BITS 96

/* A decimal number without sign, blanks or leading zeros, 0..max, that is the whole of text. */
static int parse_number(const char *text, unsigned max, unsigned *ret)
{
    unsigned value = 0;

    if (text[0] == '\0' || (text[0] == '0' && text[1] != '\0')) {
        return -EINVAL;
    }
    for (const char *c = text; *c != '\0'; c++) {
        if (*c < '0' || *c > '9') {
            return -EINVAL;
        }
        value = value * 10 + (unsigned)(*c - '0');
        if (value > max) {
            return -EINVAL;
        }
    }
    *ret = value;
    return 0;
}

/* *ret_mapped: the text was an IPv4-mapped IPv6 address, so that a prefix length counts from its 96th bit. */
static int parse_address(const char *text, struct addr *ret, bool *ret_mapped)
{
    struct addr addr = {0};
    uint8_t bytes[16];

    *ret_mapped = false;
    if (inet_pton(AF_INET, text, addr.bytes) == 1) {
        addr.family = 4;
    } else if (inet_pton(AF_INET6, text, bytes) != 1) {
        return -EINVAL;
    } else if (memcmp(bytes, MAPPED, sizeof(MAPPED)) == 0) {
        addr.family = 4;
        memcpy(addr.bytes, bytes + sizeof(MAPPED), 4);
        *ret_mapped = true;
    } else {
        addr.family = 6;
        memcpy(addr.bytes, bytes, sizeof(bytes));
    }
    *ret = addr;
    return 0;
}

int addr_parse(const char *text, struct addr *ret)
{
    bool mapped;

    return parse_address(text, ret, &mapped);
}

int prefix_parse(const char *text, struct prefix *ret, bool *ret_explicit)
{
    char part[PREFIX_TEXT_MAX];
    struct addr addr;
    bool mapped;
    unsigned len = 0;
    size_t size = strlen(text);
    char *slash;

    if (size >= sizeof(part)) {
        return -EINVAL;
    }
    memcpy(part, text, size + 1);
    slash = strchr(part, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    if (parse_address(part, &addr, &mapped) != 0) {
        return -EINVAL;
    }
    if (slash == NULL) {
        len = addr_bits(&addr);
    } else if (parse_number(slash + 1, mapped ? 128 : addr_bits(&addr), &len) != 0) {
        return -EINVAL;
    } else if (mapped) {
        if (len < MAPPED_BITS) {
            return -EINVAL;
        }
        len -= MAPPED_BITS;
    }
    ret->addr = addr;
    ret->len = (uint8_t)len;
    if (ret_explicit != NULL) {
        *ret_explicit = slash != NULL;
    }
    return 0;
}

int endpoint_parse(const char *text, struct endpoint *ret)
{
    char part[ENDPOINT_TEXT_MAX];
    struct addr addr;
    unsigned port;
    size_t size = strlen(text);
    bool bracketed = text[0] == '[';
    char *host = bracketed ? part + 1 : part;
    char *colon;

    if (size >= sizeof(part)) {
        return -EINVAL;
    }
    memcpy(part, text, size + 1);
    colon = strrchr(part, ':');
    if (colon == NULL || (bracketed && colon[-1] != ']')) {
        return -EINVAL;
    }
    if (parse_number(colon + 1, UINT16_MAX, &port) != 0 || port == 0) {
        return -EINVAL;
    }
    colon[bracketed ? -1 : 0] = '\0';
    /* Without brackets the last group of an IPv6 address would pass for a port. */
    if ((strchr(host, ':') != NULL) != bracketed || addr_parse(host, &addr) != 0) {
        return -EINVAL;
    }
    memset(ret, 0, sizeof(*ret)); /* the padding too: endpoints are compared with memcmp */
    ret->addr = addr;
    ret->port = (uint16_t)port;
    return 0;
}

/* RFC 5952 section 4: lower case, no leading zeros, the first longest run of at least two zero groups shortened. The
 * mixed notation of section 5 is left out: the only prefix that asks for it is mapped IPv4, which parses to IPv4. */
static void format_ipv6(const uint8_t bytes[16], char *buf, size_t size)
{
    int best = -1, best_len = 1;
    size_t at = 0;

    for (int i = 0; i < 8;) {
        int len = 0;
        while (i + len < 8 && bytes[2 * (i + len)] == 0 && bytes[2 * (i + len) + 1] == 0) {
            len++;
        }
        if (len > best_len) {
            best = i;
            best_len = len;
        }
        i += len + 1;
    }
    for (int i = 0; i < 8; i++) {
        if (i == best) {
            at += (size_t)snprintf(buf + at, size - at, "::");
            i += best_len - 1;
            continue;
        }
        const char *separator = i == 0 || i == best + best_len ? "" : ":";
        unsigned group = (unsigned)bytes[2 * i] << 8 | bytes[2 * i + 1];
        at += (size_t)snprintf(buf + at, size - at, "%s%x", separator, group);
    }
}

const char *addr_format(const struct addr *addr, char buf[ADDR_TEXT_MAX])
{
    const uint8_t *b = addr->bytes;

    if (addr->family == 4) {
        snprintf(buf, ADDR_TEXT_MAX, "%u.%u.%u.%u", b[0], b[1], b[2], b[3]);
    } else if (addr->family == 6) {
        format_ipv6(b, buf, ADDR_TEXT_MAX);
    } else {
        snprintf(buf, ADDR_TEXT_MAX, "none");
    }
    return buf;
}

const char *prefix_format(const struct prefix *prefix, char buf[PREFIX_TEXT_MAX])
{
    char text[ADDR_TEXT_MAX];

    addr_format(&prefix->addr, text);
    if (prefix->addr.family == 0) {
        snprintf(buf, PREFIX_TEXT_MAX, "%s", text);
    } else {
        snprintf(buf, PREFIX_TEXT_MAX, "%s/%u", text, prefix->len);
    }
    return buf;
}

const char *endpoint_format(const struct endpoint *endpoint, char buf[ENDPOINT_TEXT_MAX])
{
    char text[ADDR_TEXT_MAX];

    addr_format(&endpoint->addr, text);
    if (endpoint->addr.family == 6) {
        snprintf(buf, ENDPOINT_TEXT_MAX, "[%s]:%u", text, endpoint->port);
    } else if (endpoint->addr.family == 4) {
        snprintf(buf, ENDPOINT_TEXT_MAX, "%s:%u", text, endpoint->port);
    } else {
        snprintf(buf, ENDPOINT_TEXT_MAX, "%s", text);
    }
    return buf;
}

int addr_compare(const struct addr *a, const struct addr *b)
{
    if (a->family != b->family) {
        return a->family < b->family ? -1 : 1;
    }
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
    return addr_compare(a, b) == 0;
}

bool prefix_contains(const struct prefix *prefix, const struct addr *addr)
{
    const struct addr *network = &prefix->addr;
    size_t whole = prefix->len / 8;
    unsigned rest = prefix->len % 8;

    if (network->family == 0 || network->family != addr->family || prefix->len > addr_bits(network)) {
        return false;
    }
    if (memcmp(network->bytes, addr->bytes, whole) != 0) {
        return false;
    }
    return rest == 0 || ((network->bytes[whole] ^ addr->bytes[whole]) >> (8 - rest)) == 0;
}

static bool is_unicast_ipv4(const uint8_t bytes[4])
{
    static const uint8_t broadcast[4] = {255, 255, 255, 255};

    /* 0.0.0.0/8 is "this network", RFC 1122 section 3.2.1.3: never another host's address. */
    return bytes[0] != 0 && bytes[0] != 127 && (bytes[0] & 0xf0) != 0xe0 && memcmp(bytes, broadcast, 4) != 0;
}

static bool is_unicast_ipv6(const uint8_t bytes[16])
{
    static const uint8_t zero[15] = {0};
    bool unspecified_or_loopback = memcmp(bytes, zero, sizeof(zero)) == 0 && bytes[15] <= 1;
    bool multicast = bytes[0] == 0xff;
    bool link_local = bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
    bool mapped = memcmp(bytes, MAPPED, sizeof(MAPPED)) == 0; /* not normalised, so not from addr_parse */

    return !unspecified_or_loopback && !multicast && !link_local && !mapped;
}

bool addr_is_unicast(const struct addr *addr)
{
    if (addr->family == 4) {
        return is_unicast_ipv4(addr->bytes);
    }
    return addr->family == 6 && is_unicast_ipv6(addr->bytes);
}

/* The bits behind the length: whether all are zero, and whether all are one. */
static void host_bits(const struct prefix *prefix, bool *ret_zero, bool *ret_one)
{
    *ret_zero = *ret_one = true;
    for (unsigned bit = prefix->len; bit < addr_bits(&prefix->addr); bit++) {
        bool on = prefix->addr.bytes[bit / 8] >> (7 - bit % 8) & 1;
        *ret_zero = *ret_zero && !on;
        *ret_one = *ret_one && on;
    }
}

bool prefix_is_host(const struct prefix *prefix)
{
    bool zero, one;

    if (!addr_is_unicast(&prefix->addr) || prefix->len == 0) {
        return false;
    }
    if (prefix->len + 2 > addr_bits(&prefix->addr)) {
        return true;
    }
    host_bits(prefix, &zero, &one);
    return !zero && (prefix->addr.family == 6 || !one);
}
