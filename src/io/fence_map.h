#ifndef VIPD_IO_FENCE_MAP_H
#define VIPD_IO_FENCE_MAP_H

/* What the kernel's half of the fence (fence.bpf.c) and the daemon's half (fence.c) share: the shapes in the maps. */

#include <linux/types.h>

#define FENCE_VIPS_MAX 16384 /* fence.c checks that it equals VIPS_MAX */

/* Key of the set of VIPs: family 4 or 6, the address in network order, an IPv4 address in the first four bytes and zero
 * behind. In whole words, because the programs build it so (see struct work there). */
struct fence_key
{
    __u64 family;
    __u64 addr[2];
};

/* Why a frame was dropped; index into the map of counters. */
enum fence_drop
{
    FENCE_DROP_ARP_IN = 0,
    FENCE_DROP_ND_IN,
    FENCE_DROP_IP_IN,
    FENCE_DROP_ARP_OUT,
    FENCE_DROP_ND_OUT,
    FENCE_DROP_IP_OUT,
    FENCE_DROP_UNREADABLE,
    FENCE_DROPS_N
};

#endif
