#ifndef VIPD_IO_INTERFACES_H
#define VIPD_IO_INTERFACES_H

/* The mirror's interfaces as the table wants them. */

#include "core/table.h"
#include "io/mirror.h"

/* See netlink_links; names and n are the configured interfaces, n = 0: all. Returns how many were filled, at most
 * LINKS_MAX; every byte of those is set, so that two answers can be compared with memcmp. -ENOMEM. */
NODISCARD int interfaces_fill(const struct mirror *mirror, const char (*names)[DEV_SIZE], int n, struct link *ret,
                              int max);

#endif
