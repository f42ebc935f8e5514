#ifndef VIPD_IO_WATCH_H
#define VIPD_IO_WATCH_H

/* Sees what other hosts announce on the interfaces that carry VIPs (rule N6): which address they claim, and from where.
 * Whether that address is a VIP is the caller's to know. */

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/addr.h"
#include "base/err.h"
#include "core/limits.h"

struct watch;

struct watch_ops
{
    /* Another host claims addr: an ARP packet with it as the sender, a neighbour advertisement for it, or a neighbour
     * solicitation sent from it. mac, which the claim binds, is none of this host's interfaces. Called for every such frame, VIP or not; may call watch_
     * functions. probes: it claims nothing yet, but is about to, and asks whether somebody has it (ARP from 0.0.0.0, DAD). */
    void (*foreign)(void *ud, const struct addr *addr, const uint8_t mac[6], const char *dev, bool probes);
};

struct watch_stats
{
    uint64_t frames;    /* that passed the kernel's filter */
    uint64_t malformed; /* of these, broke a rule of their protocol */
    uint64_t lost;      /* came faster than they were read */
};

NODISCARD int watch_init(struct watch **ret, uv_loop_t *loop, const struct watch_ops *ops, void *ud);

/* Stops; cb, if not NULL, is called from the loop when nothing is left. Takes NULL (calls nothing). */
void watch_close(struct watch *watch, void (*cb)(void *ud), void *ud);

/* Watches exactly these interfaces, n of 0..LINKS_MAX. To be called again when interfaces came, went or were recreated:
 * those that are watched stay so without a gap. An interface that is not there or has no Ethernet address is skipped.
 * 0, or the first -errno (-EPERM without CAP_NET_RAW); the others are watched all the same. */
NODISCARD int watch_set_links(struct watch *watch, const char (*names)[DEV_SIZE], int n);

void watch_stats(struct watch *watch, struct watch_stats *ret);

#endif
