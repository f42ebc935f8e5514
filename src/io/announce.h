#ifndef VIPD_IO_ANNOUNCE_H
#define VIPD_IO_ANNOUNCE_H

/* Tells the neighbours where a VIP is: gratuitous ARP, request and reply form, and unsolicited neighbour
 * advertisements, in a burst and then again from time to time. What it is told to announce it announces; whether it may
 * is asked each time. */

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/addr.h"
#include "base/err.h"
#include "core/limits.h"

struct announce;

/* Repeats and refreshes of all VIPs together, of two frames at most; more of them wait for their turn. 8,000 small
 * frames a second are half a percent of a gigabit link. */
#define ANNOUNCE_REPEATS_PER_MS 4
/* The same while VIPs are announced for the first time. */
#define ANNOUNCE_REPEATS_BESIDE_FIRSTS_PER_MS 1

struct announce_ops
{
    /* Asked immediately before each frame goes out (the lease gate). A no drops this announcement: it does not count
     * as one of the burst and is tried again after the interval. Must not call announce_ functions. */
    bool (*may)(void *ud, uint16_t key);
};

struct announce_burst
{
    uint16_t count;       /* announcements, 1.. ; each is both forms of ARP, or one advertisement */
    uint32_t interval_ms; /* between them, 1.. ; longer where there are more than can go */
    uint32_t refresh_ms;  /* and then for ever, 0 = never */
};

struct announce_stats
{
    uint64_t sent;    /* announcements */
    uint64_t refused; /* by may */
    uint64_t failed;  /* no such interface, or the kernel did not take it */
    uint32_t active;  /* VIPs announced now */
};

/* Positive outcome of announce_start: the first announcement did not go out (may said no, or the interface is not
 * there or not able); it is tried again as if it had. */
#define ANNOUNCE_LATER 1

/* -EPERM without CAP_NET_RAW, other -errno. */
NODISCARD int announce_init(struct announce **ret, uv_loop_t *loop, const struct announce_ops *ops, void *ud);

/* Announces nothing more; cb, if not NULL, is called from the loop when nothing is left. Takes NULL (calls nothing). */
void announce_close(struct announce *announce, void (*cb)(void *ud), void *ud);

/* Announces addr on dev under key (0..VIPS_MAX - 1), instead of what the key announced before. The first announcement
 * has been sent when this returns. 0, ANNOUNCE_LATER, or -EINVAL for arguments out of range. Interfaces that have no
 * Ethernet address have no neighbours to tell: 0, and nothing is sent. */
NODISCARD int announce_start(struct announce *announce, uint16_t key, const char *dev, const struct addr *addr,
                             const struct announce_burst *burst);

/* Ends it; nothing happens when there is none. */
void announce_stop(struct announce *announce, uint16_t key);

/* A new burst for every VIP on that interface, for it or its hardware address came anew. The first announcements go
 * out in the coming loop turns. */
void announce_again(struct announce *announce, const char *dev);

void announce_stats(const struct announce *announce, struct announce_stats *ret);

#endif
