#ifndef VIPD_IO_MIRROR_H
#define VIPD_IO_MIRROR_H

/* What the kernel has by its own account: interfaces, and the addresses on those that are not loopback. A plain
 * container without I/O; io/netlink keeps it true. */

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"

#define MIRROR_ADDRESSES_MAX 131072 /* eight times VIPS_MAX: beyond it the host is no host for VIPs */
#define MIRROR_LINKS_MAX 16384

struct mirror_link
{
    int ifindex;
    char name[IFNAMSIZ];
    bool up; /* administratively, operationally (up or unknown) and with a carrier */
    bool loopback;
    uint8_t mac[6]; /* zero where it has none of six bytes */
    bool mac_changed; /* for the owner of the mirror; no part of "just so" */
    bool seen; /* by mirror_sweep */
};

/* One address of one interface. Its key is address, interface and length: the kernel allows an IPv4 address several
 * times on an interface with different lengths. */
struct mirror_address
{
    struct addr addr;
    struct addr peer; /* IFA_ADDRESS of IPv4: the same, but on point-to-point addresses; with it a deletion is exact */
    int ifindex;
    uint8_t len;
    bool marked;    /* carries our mark */
    bool secondary; /* IPv4: goes when its primary goes */
    bool temporary; /* IPv6 privacy address */
    bool seen;      /* by mirror_sweep */
};

struct mirror;

NODISCARD int mirror_init(struct mirror **ret); /* 0 or -ENOMEM */
void mirror_free(struct mirror *mirror);

/* Outcome of a put that changed something. */
#define MIRROR_CHANGED 1

/* Inserts or updates; 0 when it was just so before, MIRROR_CHANGED, -ENOMEM, or -ENOSPC beyond the limit. A put marks
 * the entry as seen. */
NODISCARD int mirror_put_link(struct mirror *mirror, const struct mirror_link *link);
NODISCARD int mirror_put_address(struct mirror *mirror, const struct mirror_address *address);

/* False: there was none. */
bool mirror_remove_link(struct mirror *mirror, int ifindex);
bool mirror_remove_address(struct mirror *mirror, const struct mirror_address *address);

const struct mirror_link *mirror_link(const struct mirror *mirror, int ifindex);
const struct mirror_link *mirror_link_named(const struct mirror *mirror, const char *name);

/* The entries of one address, in no stated order: i = 0, 1, ... until NULL. Any put or removal ends the pointers. */
const struct mirror_address *mirror_find(const struct mirror *mirror, const struct addr *addr, int i);

/* All entries by position; position p of 0..mirror_links_n or mirror_addresses_end. An address position may be empty
 * (NULL). Links come in the order of ifindex. Removing while walking addresses is allowed, links not. */
int mirror_links_n(const struct mirror *mirror);
const struct mirror_link *mirror_link_at(const struct mirror *mirror, int p);
int mirror_addresses_end(const struct mirror *mirror);
const struct mirror_address *mirror_address_at(const struct mirror *mirror, int p);

/* Mark and sweep around a dump: mirror_unsee clears every `seen`; what stays without is for the caller to remove. */
void mirror_unsee(struct mirror *mirror);

#endif
