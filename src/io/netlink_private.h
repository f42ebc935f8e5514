#ifndef VIPD_IO_NETLINK_PRIVATE_H
#define VIPD_IO_NETLINK_PRIVATE_H

/* Between netlink.c (mirror and loop) and netlink_address.c (operations). */

#include "io/mirror.h"
#include "io/netlink.h"
#include "io/rtsock.h"

struct change
{
    struct addr addr;
    bool marked;
};

struct netlink
{
    uv_poll_t poll;
    uv_timer_t timer; /* delivers what operations have queued; retries a failed dump */
    int handles;      /* open ones */
    bool closing;
    bool sealed; /* no additions any more */
    struct rtsock *monitor, *requests;
    struct mirror *mirror;
    struct netlink_ops ops;
    void *ud;
    char interfaces[LINKS_MAX][DEV_SIZE];
    int n_interfaces;
    struct change *changes; /* queued for ops.address */
    int changes_n, changes_size;
    bool links_dirty;    /* something that netlink_links depends on */
    bool links_new;      /* an interface is new, or has another name */
    bool macs_dirty;     /* a link of the mirror has mac_changed */
    bool resynced;       /* ops.resync is due */
    bool stale;          /* a dump failed */
    struct link last[LINKS_MAX]; /* as delivered */
    int last_n;
    void (*close_cb)(void *ud);
    void *close_ud;
};

/* Puts what the kernel said of an address into the mirror and queues the change, if it is one. */
void netlink_take_address(struct netlink *nl, const struct mirror_address *address, bool gone);

/* The mirror anew from the kernel; differences are queued. 0 or -errno, then it cannot be trusted (stale). */
NODISCARD int netlink_dump(struct netlink *nl);

/* Sees to it that the loop comes back for what is queued. */
void netlink_arm(struct netlink *nl);

#endif
