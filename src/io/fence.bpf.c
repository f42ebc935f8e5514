/* The kernel's half of the fence (ownership.md, N5): runs at the tc ingress and egress of every interface that can
 * carry VIPs, and goes on doing so when the daemon is stopped, frozen or gone.
 *
 * While the lease runs, every frame passes. After its end nothing that concerns a VIP of the table does:
 *
 *   in    ARP requests and neighbour solicitations for a VIP (probes of others too: a node without a lease must not
 *         defend an address), and packets to a VIP
 *   out   ARP of any kind whose sender is a VIP, neighbour advertisements of a VIP, and packets from a VIP
 *
 * Always pass: announcements of others (a node must see who took over), packets from a VIP's new owner, packets to it.
 *
 * Loads on Linux 5.8 and later (bpf_ktime_get_boot_ns). Headers are read with bpf_skb_load_bytes(), so it does not
 * matter where in the skb the bytes are. No helper is used that asks for a GPL licence. */

#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "fence_map.h"

/* VLAN tags inside the frame; the outermost one is usually in the skb's metadata and needs no parsing. Linux strips any
 * number of priority tags (VLAN 0), so a frame with more of them than this is dropped instead of guessed at. */
#define TAGS_MAX 4
/* RFC 8200, 4.1: each at most once, destination options twice. */
#define EXTENSIONS_MAX 8

#define ARP_REQUEST 1 /* RFC 826; <linux/if_arp.h> drags libc in */
#define ND_SOLICITATION 135 /* RFC 4861, 4.3 and 4.4; in both the target follows 8 bytes of ICMPv6 */
#define ND_ADVERTISEMENT 136
#define ND_TARGET_OFFSET 8

enum direction
{
    IN,
    OUT
};

struct
{
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, FENCE_VIPS_MAX);
    __type(key, struct fence_key);
    __type(value, __u8);
} vips SEC(".maps");

/* lease_end, CLOCK_BOOTTIME in nanoseconds; the daemon stores it through a mapping of this memory. */
struct
{
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} lease SEC(".maps");

struct
{
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, FENCE_DROPS_N);
    __type(key, __u32);
    __type(value, __u64);
} drops SEC(".maps");

/* RFC 826 for Ethernet and IPv4. */
struct arp_ipv4
{
    __u8 fixed[6];
    __be16 op;
    __u8 sender_hw[6];
    __u8 sender[4];
    __u8 target_hw[6];
    __u8 target[4];
};

/* RFC 8200, 3. */
struct ip6
{
    __be32 flow;
    __be16 len;
    __u8 next;
    __u8 hop_limit;
    __u64 source[2];
    __u64 target[2];
};

struct vlan_tag
{
    __be16 tci;
    __be16 proto;
};

/* All that a program keeps on its stack, as one object, and the key written in whole words only. Without CAP_PERFMON
 * the verifier of older kernels (seen with 6.1) refuses a part of a stack word to be written where a whole one was
 * before, and left alone the compiler does that, in one variable or by giving two the same place. Likewise the loops
 * are unrolled: it follows every branch of a counted loop twice, and gives up. */
struct work
{
    struct fence_key key;
    struct ip6 ip6;
    __u64 target[2];
    struct arp_ipv4 arp;
    __be32 ip4;
    struct vlan_tag tag;
    __be16 proto;
    __u8 extension[2]; /* next header, length */
    __u8 type;
};

static __always_inline int drop(__u32 reason)
{
    __u64 *n = bpf_map_lookup_elem(&drops, &reason);
    if (n) {
        *n += 1;
    }
    return TC_ACT_SHOT;
}

/* The lease is read before the clock, never after it: a late clock can only end the lease earlier. */
static __always_inline bool leased(void)
{
    __u32 zero = 0;
    volatile __u64 *end = bpf_map_lookup_elem(&lease, &zero);
    if (!end) {
        return false;
    }
    __u64 until = *end;
    return bpf_ktime_get_boot_ns() < until;
}

/* A word whose first four bytes in memory are those of `half`. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define FRONT(half) ((__u64)(half))
#else
#define FRONT(half) ((__u64)(half) << 32)
#endif

static __always_inline bool is_vip4(struct work *work, __be32 addr)
{
    work->key.family = 4;
    work->key.addr[0] = FRONT(addr);
    work->key.addr[1] = 0;
    return bpf_map_lookup_elem(&vips, &work->key) != NULL;
}

static __always_inline bool is_vip6(struct work *work, const __u64 addr[2])
{
    work->key.family = 6;
    work->key.addr[0] = addr[0];
    work->key.addr[1] = addr[1];
    return bpf_map_lookup_elem(&vips, &work->key) != NULL;
}

static __always_inline int arp(struct __sk_buff *skb, struct work *work, __u32 offset, enum direction direction)
{
    __be32 sender, target;
    if (bpf_skb_load_bytes(skb, offset, &work->arp, sizeof(work->arp)) != 0) {
        return drop(FENCE_DROP_UNREADABLE);
    }
    __builtin_memcpy(&sender, work->arp.sender, sizeof(sender));
    __builtin_memcpy(&target, work->arp.target, sizeof(target));
    if (direction == OUT) {
        return is_vip4(work, sender) ? drop(FENCE_DROP_ARP_OUT) : TC_ACT_UNSPEC;
    }
    /* Sender and target alike: another host's announcement in the request form (RFC 5227, 3). */
    if (work->arp.op != bpf_htons(ARP_REQUEST) || sender == target) {
        return TC_ACT_UNSPEC;
    }
    return is_vip4(work, target) ? drop(FENCE_DROP_ARP_IN) : TC_ACT_UNSPEC;
}

/* Fragments need no care: every one of them carries both addresses. */
static __always_inline int ipv4(struct __sk_buff *skb, struct work *work, __u32 offset, enum direction direction)
{
    __u32 where = direction == IN ? offsetof(struct iphdr, daddr) : offsetof(struct iphdr, saddr);
    if (bpf_skb_load_bytes(skb, offset + where, &work->ip4, sizeof(work->ip4)) != 0) {
        return drop(FENCE_DROP_UNREADABLE);
    }
    if (!is_vip4(work, work->ip4)) {
        return TC_ACT_UNSPEC;
    }
    return drop(direction == IN ? FENCE_DROP_IP_IN : FENCE_DROP_IP_OUT);
}

static __always_inline int icmpv6(struct __sk_buff *skb, struct work *work, __u32 offset, enum direction direction)
{
    if (bpf_skb_load_bytes(skb, offset, &work->type, sizeof(work->type)) != 0) {
        return TC_ACT_UNSPEC; /* nothing behind the header: not a message */
    }
    if (work->type != (direction == IN ? ND_SOLICITATION : ND_ADVERTISEMENT)) {
        return TC_ACT_UNSPEC;
    }
    if (bpf_skb_load_bytes(skb, offset + ND_TARGET_OFFSET, work->target, sizeof(work->target)) != 0) {
        return drop(FENCE_DROP_UNREADABLE);
    }
    if (!is_vip6(work, work->target)) {
        return TC_ACT_UNSPEC;
    }
    return drop(direction == IN ? FENCE_DROP_ND_IN : FENCE_DROP_ND_OUT);
}

/* Follows the extension headers to ICMPv6. A fragment header ends the search: neighbour discovery is never fragmented
 * (RFC 6980), and the packet's own addresses have been checked. */
static __always_inline int ipv6_payload(struct __sk_buff *skb, struct work *work, __u32 offset,
                                        enum direction direction)
{
    __u8 next = work->ip6.next;
#pragma unroll
    for (int i = 0; i <= EXTENSIONS_MAX; i++) {
        if (next == IPPROTO_ICMPV6) {
            return icmpv6(skb, work, offset, direction);
        }
        if (next != IPPROTO_HOPOPTS && next != IPPROTO_DSTOPTS && next != IPPROTO_ROUTING && next != IPPROTO_AH) {
            return TC_ACT_UNSPEC;
        }
        if (bpf_skb_load_bytes(skb, offset, work->extension, sizeof(work->extension)) != 0) {
            return drop(FENCE_DROP_UNREADABLE);
        }
        /* RFC 4302, 2.2: the length of an authentication header counts in other units. */
        __u32 len = work->extension[1];
        offset += next == IPPROTO_AH ? (len + 2) * 4 : (len + 1) * 8;
        next = work->extension[0];
    }
    return drop(FENCE_DROP_UNREADABLE);
}

static __always_inline int ipv6(struct __sk_buff *skb, struct work *work, __u32 offset, enum direction direction)
{
    if (bpf_skb_load_bytes(skb, offset, &work->ip6, sizeof(work->ip6)) != 0) {
        return drop(FENCE_DROP_UNREADABLE);
    }
    if (is_vip6(work, direction == IN ? work->ip6.target : work->ip6.source)) {
        return drop(direction == IN ? FENCE_DROP_IP_IN : FENCE_DROP_IP_OUT);
    }
    return ipv6_payload(skb, work, offset + sizeof(work->ip6), direction);
}

static __always_inline int network(struct __sk_buff *skb, struct work *work, __u32 offset, __be16 proto,
                                   enum direction direction)
{
    if (proto == bpf_htons(ETH_P_IP)) {
        return ipv4(skb, work, offset, direction);
    }
    if (proto == bpf_htons(ETH_P_IPV6)) {
        return ipv6(skb, work, offset, direction);
    }
    if (proto == bpf_htons(ETH_P_ARP)) {
        return arp(skb, work, offset, direction);
    }
    return TC_ACT_UNSPEC;
}

static __always_inline bool is_tag(__be16 proto)
{
    return proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD);
}

/* The type is taken from the frame and not from skb->protocol, which whoever sends through a packet socket sets as he
 * likes. */
static __always_inline int ethernet(struct __sk_buff *skb, enum direction direction)
{
    struct work work;
    __u32 offset = sizeof(struct ethhdr);
    if (leased()) {
        return TC_ACT_UNSPEC;
    }
    if (bpf_skb_load_bytes(skb, offsetof(struct ethhdr, h_proto), &work.proto, sizeof(work.proto)) != 0) {
        return drop(FENCE_DROP_UNREADABLE);
    }
    __be16 proto = work.proto;
#pragma unroll
    for (int i = 0; i < TAGS_MAX && is_tag(proto); i++) {
        if (bpf_skb_load_bytes(skb, offset, &work.tag, sizeof(work.tag)) != 0) {
            return drop(FENCE_DROP_UNREADABLE);
        }
        offset += sizeof(work.tag);
        proto = work.tag.proto;
    }
    return is_tag(proto) ? drop(FENCE_DROP_UNREADABLE) : network(skb, &work, offset, proto, direction);
}

/* Devices without a link-layer header (tun, WireGuard, IP tunnels): the packet begins with its IP version. */
static __always_inline int bare(struct __sk_buff *skb, enum direction direction)
{
    struct work work;
    if (leased()) {
        return TC_ACT_UNSPEC;
    }
    if (bpf_skb_load_bytes(skb, 0, &work.type, sizeof(work.type)) != 0) {
        return drop(FENCE_DROP_UNREADABLE);
    }
    switch (work.type >> 4) {
    case 4:
        return ipv4(skb, &work, 0, direction);
    case 6:
        return ipv6(skb, &work, 0, direction);
    default:
        return TC_ACT_UNSPEC;
    }
}

/* A run recognises what an earlier run left by these names (FENCE_PROGRAM_PREFIX in fence.c): do not change them. */
SEC("tc")
int vipd_in(struct __sk_buff *skb)
{
    return ethernet(skb, IN);
}

SEC("tc")
int vipd_out(struct __sk_buff *skb)
{
    return ethernet(skb, OUT);
}

SEC("tc")
int vipd_in_bare(struct __sk_buff *skb)
{
    return bare(skb, IN);
}

SEC("tc")
int vipd_out_bare(struct __sk_buff *skb)
{
    return bare(skb, OUT);
}

char licence_text[] SEC("license") = "unspecified";
