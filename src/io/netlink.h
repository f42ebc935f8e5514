#ifndef VIPD_IO_NETLINK_H
#define VIPD_IO_NETLINK_H

/* Interfaces and addresses of this host. Translates between the kernel and the daemon and decides nothing; why
 * addresses look as they do is in docs/decisions/0004-addresses-and-announcements.md. */

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/addr.h"
#include "base/err.h"
#include "core/table.h"

/* Positive outcomes of adding. */
#define NETLINK_FOREIGN 1 /* the host has this address without our mark: not touched; netlink_address_del would */
#define NETLINK_NO_LINK 2 /* there is no interface of that name */

struct netlink;

struct netlink_config
{
    const char (*interfaces)[DEV_SIZE]; /* copied; may be NULL when n is 0 */
    int n;                              /* 0..LINKS_MAX; 0 = every interface that is not loopback */
};

/* Called from the loop only, never from within a netlink_ function. An op may call any netlink_ function. */
struct netlink_ops
{
    /* The set of links, their up state or own prefixes changed: ask netlink_links; or an interface that is none of them is new, or has
     * another name. Once per loop turn at most. */
    void (*links)(void *ud);
    /* The hardware address of an interface changed: neighbours have to learn its addresses anew. May be NULL. */
    void (*hardware)(void *ud, const char *dev);
    /* An address appeared, disappeared or changed its mark on some interface, by our doing or another's. present is
     * the state at the time of the call; marked is the entry's own that changed. */
    void (*address)(void *ud, const struct addr *addr, bool present, bool marked);
    /* Notifications were lost and everything was read anew; look at all of it again. */
    void (*resync)(void *ud);
};

/* One address of a batch; result is 0 or what the single form would return. */
struct netlink_item
{
    char dev[DEV_SIZE];    /* of an addition */
    struct prefix address; /* a deletion looks at address.addr alone */
    int result;
};

/* Reads links and addresses before it returns. -EOPNOTSUPP: kernel before 5.18, which keeps no mark; -EINVAL: more
 * interfaces than LINKS_MAX; other -errno. */
NODISCARD int netlink_init(struct netlink **ret, uv_loop_t *loop, const struct netlink_config *config,
                           const struct netlink_ops *ops, void *ud);

/* Ends it; cb, if not NULL, is called from the loop when nothing of it is left. Takes NULL (then calls nothing).
 * Addresses stay as they are. */
void netlink_close(struct netlink *netlink, void (*cb)(void *ud), void *ud);

/* Fills the configured interfaces in their configured order (one that does not exist is down and has no prefix), or all
 * by name, at most max; where there are more, those with a subnet come first. Prefixes are networks (host bits zero),
 * each once and sorted; left out are our VIPs, IPv6 link-local and temporary addresses and host prefixes. Returns how
 * many. */
int netlink_links(struct netlink *netlink, struct link *ret, int max);

/* Takes in what the kernel has reported until now, so that what follows is as new as a question to the kernel would be.
 * 0, or -errno: the mirror cannot be trusted now; tried again by itself, then ops.resync. */
NODISCARD int netlink_sync(struct netlink *netlink);

/* Adds a VIP as a host prefix with our mark, for valid_s (1..) seconds, and returns when the kernel has it; replace
 * renews one that is there. 0, NETLINK_FOREIGN, NETLINK_NO_LINK, -EEXIST (there, and replace is false), -EINVAL,
 * -ETIMEDOUT, or the kernel's -errno. */
NODISCARD int netlink_address_add(struct netlink *netlink, const char *dev, const struct prefix *address,
                                  uint32_t valid_s, bool replace);
/* The same for many. 0 when every result is 0, else the first result that is not; each item has its own. It blocks for
 * as long as the kernel takes, and the kernel walks a list for each: every IPv4 address of the interface (20 ns each,
 * as measured), and every IPv6 address of the host (0.3 to 0.6 us each, renewals too). So a caller with thousands of
 * them passes few at a time. */
NODISCARD int netlink_address_add_many(struct netlink *netlink, struct netlink_item *items, int n, uint32_t valid_s,
                                       bool replace);

/* Like netlink_address_add_many for as many of the first items as fit into budget_ms, more or less; at least one.
 * Returns how many were worked on: the results of these are set, the others are as before. */
NODISCARD int netlink_address_add_some(struct netlink *netlink, struct netlink_item *items, int n, uint32_t valid_s,
                                       bool replace, uint32_t budget_ms);

/* Removes the address, marked or not, from every interface but loopback. 0: the kernel has it no more; -EBUSY:
 * something else adds it as fast, or it is not ours and holds up others (see the decision); other -errno. */
NODISCARD int netlink_address_del(struct netlink *netlink, const struct addr *addr);
NODISCARD int netlink_address_del_many(struct netlink *netlink, struct netlink_item *items, int n);
NODISCARD int netlink_address_del_some(struct netlink *netlink, struct netlink_item *items, int n, uint32_t budget_ms);

/* Whether an interface other than loopback has the address, with or without our mark; as of the last netlink_sync, of
 * our own operations, or of the loop. */
bool netlink_has(const struct netlink *netlink, const struct addr *addr);

/* Calls cb for every address on every interface but loopback. cb must not call netlink_ functions that change. */
void netlink_each(const struct netlink *netlink,
                  void (*cb)(void *ud, const struct addr *addr, const char *dev, bool marked), void *ud);

/* From now on nothing is added: every addition's result is -ESHUTDOWN. Before the last flush of a node that ends, so that what
 * is still on its way cannot bring an address back behind it. */
void netlink_seal(struct netlink *netlink);

/* Removes every address with our mark, after a fresh dump (rule N4); cb, which may be NULL, hears of each. Returns how
 * many, or -errno: something may be left. */
NODISCARD int netlink_flush_marked(struct netlink *netlink,
                                   void (*cb)(void *ud, const struct addr *addr, const char *dev), void *ud);

#endif
