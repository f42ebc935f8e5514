#ifndef VIPD_IO_SOCKADDR_H
#define VIPD_IO_SOCKADDR_H

/* Endpoints to the kernel's socket addresses and back. */

#include <stdbool.h>
#include <sys/socket.h>

#include "base/addr.h"

/* Length of what was written. The endpoint has an address (family 4 or 6). */
socklen_t sockaddr_from(const struct endpoint *at, struct sockaddr_storage *ret);

/* IPv4-mapped addresses become IPv4. False, and *ret untouched, for another family. */
bool sockaddr_to(const struct sockaddr_storage *from, struct endpoint *ret);

/* A socket of `type` that does not block, closed on exec, bound to `at`; a stream's with SO_REUSEADDR, IPv6 without
 * IPv4 in it. Its descriptor, or -errno. */
NODISCARD int sockaddr_bound(const struct endpoint *at, int type);

#endif
