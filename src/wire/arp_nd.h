#ifndef VIPD_WIRE_ARP_ND_H
#define VIPD_WIRE_ARP_ND_H

/* ARP and IPv6 neighbour discovery inside Ethernet frames: the announcements that a VIP has moved, and a parser for
 * those of others. Bytes to structs and back, nothing else. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"

#define ARP_ND_MAC_SIZE 6
#define ARP_ND_FRAME_MAX 86 /* bytes of the longest frame built here: Ethernet, IPv6, NA, one option */

enum arp_nd_kind
{
    ARP_ND_ARP_REQUEST = 1,
    ARP_ND_ARP_REPLY,
    ARP_ND_SOLICITATION,  /* ICMPv6 135 */
    ARP_ND_ADVERTISEMENT, /* ICMPv6 136 */
};

struct arp_nd
{
    enum arp_nd_kind kind;
    uint16_t vlan; /* id of the innermost tag found in the frame, 0 = none */
    uint8_t from[ARP_ND_MAC_SIZE]; /* Ethernet source */
    uint8_t to[ARP_ND_MAC_SIZE];   /* Ethernet destination */
    uint8_t mac[ARP_ND_MAC_SIZE];  /* the hardware address that the frame binds: ARP's sender hardware address, the
                                    * link-layer option of an NA or NS; without one the Ethernet source */
    struct addr sender; /* ARP sender protocol address, IPv6 source; family 0 where unspecified (a probe, DAD) */
    struct addr target; /* ARP target protocol address, ND target */
    bool router, solicited, override; /* of an NA */
};

/* Positive outcome of arp_nd_parse: a frame of another kind. */
#define ARP_ND_OTHER 1

/* Parses one Ethernet frame of any origin; up to two VLAN tags (802.1Q, 802.1ad) are stepped over. 0; ARP_ND_OTHER when
 * it is neither ARP for IPv4 over Ethernet nor an NS or NA; -EBADMSG when it is one of those, but truncated or breaks a
 * rule of RFC 4861 7.1.1 / 7.1.2 (hop limit 255, checksum, code, option lengths ...). An ND message behind IPv6
 * extension headers is ARP_ND_OTHER. *ret is untouched unless 0 is returned. */
NODISCARD int arp_nd_parse(const uint8_t *frame, size_t size, struct arp_nd *ret);

/* The address that the frame's sender claims to hold: ARP's sender address, the target of an NA, the source of an NS.
 * False: it claims none (an ARP probe, a DAD solicitation). */
bool arp_nd_claim(const struct arp_nd *message, struct addr *ret);

/* The address that the frame's sender is about to take, and asks for first: an ARP probe (RFC 5227 1.1: a request from nobody), or
 * a solicitation of duplicate address detection (RFC 4862 5.4). */
bool arp_nd_probes(const struct arp_nd *message, struct addr *ret);

/* Gratuitous ARP to the broadcast address: request form (RFC 5227 3, an ARP announcement) or reply form (RFC 5944 4.6).
 * addr must be IPv4. Returns the frame's size in bytes, padded to Ethernet's minimum. */
size_t arp_nd_build_arp(uint8_t ret[ARP_ND_FRAME_MAX], const uint8_t mac[ARP_ND_MAC_SIZE], const struct addr *addr,
                        bool reply);

/* ARP probe (RFC 5227 1.1): a broadcast request for addr, IPv4, from nobody. Duplicate address detection (RFC 4862 5.4.2):
 * a solicitation of addr, IPv6, from the unspecified address, to its solicited-node group. */
size_t arp_nd_build_probe(uint8_t ret[ARP_ND_FRAME_MAX], const uint8_t mac[ARP_ND_MAC_SIZE], const struct addr *addr);

/* Unsolicited neighbour advertisement to all nodes (RFC 4861 7.2.6): override set, target link-layer option, sent from
 * the address itself. addr must be IPv6. router: whether the host forwards IPv6 on that link (a host that says no would
 * be struck from default router lists). Returns the frame's size in bytes. */
size_t arp_nd_build_na(uint8_t ret[ARP_ND_FRAME_MAX], const uint8_t mac[ARP_ND_MAC_SIZE], const struct addr *addr,
                       bool router);

#endif
