#include "wire/arp_nd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ETH_HEADER 14u
#define ETH_MINIMUM 60u /* without the checksum */
#define VLAN_HEADER 4u
#define VLAN_TAGS_MAX 2
#define ETHERTYPE_ARP 0x0806u
#define ETHERTYPE_IPV6 0x86ddu
#define ETHERTYPE_8021Q 0x8100u
#define ETHERTYPE_8021AD 0x88a8u

#define ARP_SIZE 28u /* of IPv4 over Ethernet */
#define ARP_REQUEST 1u
#define ARP_REPLY 2u

#define IPV6_HEADER 40u
#define IPV6_NEXT_ICMP 58u
#define ND_HEADER 24u /* type, code, checksum, flags or reserved, target */
#define ND_SOLICITATION 135u
#define ND_ADVERTISEMENT 136u
#define ND_OPTION_SOURCE 1u
#define ND_OPTION_TARGET 2u
#define ND_OPTION_UNIT 8u
#define ND_ROUTER 0x80u
#define ND_SOLICITED 0x40u
#define ND_OVERRIDE 0x20u
#define ND_HOP_LIMIT 255u

static const uint8_t all_nodes[16] = {0xff, 0x02, [15] = 0x01};
static const uint8_t all_nodes_mac[ARP_ND_MAC_SIZE] = {0x33, 0x33, 0x00, 0x00, 0x00, 0x01};
static const uint8_t solicited_node[13] = {0xff, 0x02, [11] = 0x01, [12] = 0xff};
static const uint8_t unspecified[16];

static unsigned get16(const uint8_t *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

static void put16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static struct addr address_of(uint8_t family, const uint8_t *bytes)
{
    struct addr address = {0};
    size_t size = family == 4 ? 4 : 16;
    if (memcmp(bytes, unspecified, size) != 0) {
        address.family = family;
        memcpy(address.bytes, bytes, size);
    }
    return address;
}

/* The ICMPv6 checksum (RFC 4443 2.3) over the pseudo-header and the message; 0 when a received one is right. */
static unsigned icmp6_checksum(const uint8_t *source, const uint8_t *destination, const uint8_t *message, size_t size)
{
    uint64_t sum = size + IPV6_NEXT_ICMP;
    for (size_t i = 0; i < 16; i += 2) {
        sum += get16(source + i) + get16(destination + i);
    }
    for (size_t i = 0; i + 1 < size; i += 2) {
        sum += get16(message + i);
    }
    if (size % 2 != 0) {
        sum += (unsigned)message[size - 1] << 8;
    }
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (unsigned)(~sum & 0xffff);
}

static int parse_arp(const uint8_t *arp, size_t size, struct arp_nd *message)
{
    if (size < 8) {
        return -EBADMSG;
    }
    unsigned operation = get16(arp + 6);
    if (get16(arp) != 1 || get16(arp + 2) != 0x0800 || arp[4] != ARP_ND_MAC_SIZE || arp[5] != 4 ||
        (operation != ARP_REQUEST && operation != ARP_REPLY)) {
        return ARP_ND_OTHER;
    }
    if (size < ARP_SIZE) {
        return -EBADMSG;
    }
    message->kind = operation == ARP_REQUEST ? ARP_ND_ARP_REQUEST : ARP_ND_ARP_REPLY;
    memcpy(message->mac, arp + 8, ARP_ND_MAC_SIZE);
    message->sender = address_of(4, arp + 14);
    message->target = address_of(4, arp + 24);
    return 0;
}

/* Finds the link-layer option of the wanted type; options of other types are ignored, as RFC 4861 4.6 asks. */
static int parse_options(const uint8_t *options, size_t size, unsigned wanted, struct arp_nd *message, bool *ret_found)
{
    bool found = false;
    while (size > 0) {
        if (size < 2 || options[1] == 0 || (size_t)options[1] * ND_OPTION_UNIT > size) {
            return -EBADMSG;
        }
        if (options[0] == wanted && options[1] == 1 && !found) {
            memcpy(message->mac, options + 2, ARP_ND_MAC_SIZE);
            found = true;
        }
        size -= (size_t)options[1] * ND_OPTION_UNIT;
        options += (size_t)options[1] * ND_OPTION_UNIT;
    }
    *ret_found = found;
    return 0;
}

static int parse_nd_body(const uint8_t *ip, const uint8_t *nd, size_t size, struct arp_nd *message)
{
    const uint8_t *source = ip + 8, *destination = ip + 24, *target = nd + 8;
    if (ip[7] != ND_HOP_LIMIT || size < ND_HEADER || nd[1] != 0 || target[0] == 0xff ||
        icmp6_checksum(source, destination, nd, size) != 0) {
        return -EBADMSG;
    }
    bool solicitation = nd[0] == ND_SOLICITATION;
    message->kind = solicitation ? ARP_ND_SOLICITATION : ARP_ND_ADVERTISEMENT;
    message->sender = address_of(6, source);
    message->target = address_of(6, target);
    memcpy(message->mac, message->from, ARP_ND_MAC_SIZE);
    bool option = false;
    int err = parse_options(nd + ND_HEADER, size - ND_HEADER, solicitation ? ND_OPTION_SOURCE : ND_OPTION_TARGET,
                            message, &option);
    if (err < 0) {
        return err;
    }
    if (solicitation) {
        bool duplicate_detection = message->sender.family == 0;
        bool to_group = memcmp(destination, solicited_node, sizeof(solicited_node)) == 0;
        return duplicate_detection && (option || !to_group) ? -EBADMSG : 0;
    }
    message->router = (nd[4] & ND_ROUTER) != 0;
    message->solicited = (nd[4] & ND_SOLICITED) != 0;
    message->override = (nd[4] & ND_OVERRIDE) != 0;
    return destination[0] == 0xff && message->solicited ? -EBADMSG : 0;
}

static int parse_ipv6(const uint8_t *ip, size_t size, struct arp_nd *message)
{
    if (size < IPV6_HEADER) {
        return -EBADMSG;
    }
    if (ip[0] >> 4 != 6 || ip[6] != IPV6_NEXT_ICMP) {
        return ARP_ND_OTHER;
    }
    size_t payload = get16(ip + 4);
    if (payload > size - IPV6_HEADER || payload == 0) {
        return -EBADMSG;
    }
    const uint8_t *nd = ip + IPV6_HEADER;
    if (nd[0] != ND_SOLICITATION && nd[0] != ND_ADVERTISEMENT) {
        return ARP_ND_OTHER;
    }
    return parse_nd_body(ip, nd, payload, message);
}

int arp_nd_parse(const uint8_t *frame, size_t size, struct arp_nd *ret)
{
    if (size < ETH_HEADER) {
        return -EBADMSG;
    }
    struct arp_nd message = {0};
    memcpy(message.to, frame, ARP_ND_MAC_SIZE);
    memcpy(message.from, frame + 6, ARP_ND_MAC_SIZE);
    size_t at = ETH_HEADER;
    unsigned type = get16(frame + 12);
    for (int tags = 0; type == ETHERTYPE_8021Q || type == ETHERTYPE_8021AD; tags++) {
        if (tags == VLAN_TAGS_MAX) {
            return ARP_ND_OTHER;
        }
        if (size - at < VLAN_HEADER) {
            return -EBADMSG;
        }
        message.vlan = (uint16_t)(get16(frame + at) & 0x0fff);
        type = get16(frame + at + 2);
        at += VLAN_HEADER;
    }
    int err = ARP_ND_OTHER;
    if (type == ETHERTYPE_ARP) {
        err = parse_arp(frame + at, size - at, &message);
    } else if (type == ETHERTYPE_IPV6) {
        err = parse_ipv6(frame + at, size - at, &message);
    }
    if (err == 0) {
        *ret = message;
    }
    return err;
}

bool arp_nd_claim(const struct arp_nd *message, struct addr *ret)
{
    const struct addr *claimed = message->kind == ARP_ND_ADVERTISEMENT ? &message->target : &message->sender;
    if (claimed->family == 0) {
        return false;
    }
    *ret = *claimed;
    return true;
}

bool arp_nd_probes(const struct arp_nd *message, struct addr *ret)
{
    bool asks = message->kind == ARP_ND_ARP_REQUEST || message->kind == ARP_ND_SOLICITATION;
    if (!asks || message->sender.family != 0 || message->target.family == 0) {
        return false;
    }
    *ret = message->target;
    return true;
}

size_t arp_nd_build_arp(uint8_t ret[ARP_ND_FRAME_MAX], const uint8_t mac[ARP_ND_MAC_SIZE], const struct addr *addr,
                        bool reply)
{
    if (addr->family != 4) {
        abort();
    }
    memset(ret, 0, ETH_MINIMUM);
    memset(ret, 0xff, ARP_ND_MAC_SIZE);
    memcpy(ret + 6, mac, ARP_ND_MAC_SIZE);
    put16(ret + 12, ETHERTYPE_ARP);
    uint8_t *arp = ret + ETH_HEADER;
    put16(arp, 1);
    put16(arp + 2, 0x0800);
    arp[4] = ARP_ND_MAC_SIZE;
    arp[5] = 4;
    put16(arp + 6, reply ? ARP_REPLY : ARP_REQUEST);
    memcpy(arp + 8, mac, ARP_ND_MAC_SIZE);
    memcpy(arp + 14, addr->bytes, 4);
    if (reply) {
        /* RFC 5944 4.6: the target hardware address of the reply form is the new binding too. */
        memcpy(arp + 18, mac, ARP_ND_MAC_SIZE);
    }
    memcpy(arp + 24, addr->bytes, 4);
    return ETH_MINIMUM;
}

size_t arp_nd_build_na(uint8_t ret[ARP_ND_FRAME_MAX], const uint8_t mac[ARP_ND_MAC_SIZE], const struct addr *addr,
                       bool router)
{
    if (addr->family != 6) {
        abort();
    }
    const size_t nd_size = ND_HEADER + ND_OPTION_UNIT;
    memset(ret, 0, ARP_ND_FRAME_MAX);
    memcpy(ret, all_nodes_mac, ARP_ND_MAC_SIZE);
    memcpy(ret + 6, mac, ARP_ND_MAC_SIZE);
    put16(ret + 12, ETHERTYPE_IPV6);
    uint8_t *ip = ret + ETH_HEADER;
    ip[0] = 0x60;
    put16(ip + 4, (unsigned)nd_size);
    ip[6] = IPV6_NEXT_ICMP;
    ip[7] = ND_HOP_LIMIT;
    memcpy(ip + 8, addr->bytes, 16);
    memcpy(ip + 24, all_nodes, 16);
    uint8_t *nd = ip + IPV6_HEADER;
    nd[0] = ND_ADVERTISEMENT;
    nd[4] = (uint8_t)(ND_OVERRIDE | (router ? ND_ROUTER : 0));
    memcpy(nd + 8, addr->bytes, 16);
    nd[ND_HEADER] = ND_OPTION_TARGET;
    nd[ND_HEADER + 1] = 1;
    memcpy(nd + ND_HEADER + 2, mac, ARP_ND_MAC_SIZE);
    put16(nd + 2, icmp6_checksum(ip + 8, ip + 24, nd, nd_size));
    return ETH_HEADER + IPV6_HEADER + nd_size;
}

static size_t build_detection(uint8_t ret[ARP_ND_FRAME_MAX], const uint8_t mac[ARP_ND_MAC_SIZE], const struct addr *addr)
{
    const uint8_t *low = addr->bytes + 13; /* the group is made of the last 24 bits */
    const uint8_t group_mac[ARP_ND_MAC_SIZE] = {0x33, 0x33, 0xff, low[0], low[1], low[2]};
    memset(ret, 0, ARP_ND_FRAME_MAX);
    memcpy(ret, group_mac, ARP_ND_MAC_SIZE);
    memcpy(ret + 6, mac, ARP_ND_MAC_SIZE);
    put16(ret + 12, ETHERTYPE_IPV6);
    uint8_t *ip = ret + ETH_HEADER;
    ip[0] = 0x60;
    put16(ip + 4, ND_HEADER);
    ip[6] = IPV6_NEXT_ICMP;
    ip[7] = ND_HOP_LIMIT;
    memcpy(ip + 24, solicited_node, sizeof(solicited_node));
    memcpy(ip + 24 + sizeof(solicited_node), low, 3);
    uint8_t *nd = ip + IPV6_HEADER;
    nd[0] = ND_SOLICITATION;
    memcpy(nd + 8, addr->bytes, 16);
    put16(nd + 2, icmp6_checksum(ip + 8, ip + 24, nd, ND_HEADER));
    return ETH_HEADER + IPV6_HEADER + ND_HEADER;
}

size_t arp_nd_build_probe(uint8_t ret[ARP_ND_FRAME_MAX], const uint8_t mac[ARP_ND_MAC_SIZE], const struct addr *addr)
{
    if (addr->family == 6) {
        return build_detection(ret, mac, addr);
    }
    size_t size = arp_nd_build_arp(ret, mac, addr, false);
    memset(ret + ETH_HEADER + 14, 0, 4); /* whoever hears a probe must not learn anything from it */
    return size;
}
