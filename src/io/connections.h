#ifndef VIPD_IO_CONNECTIONS_H
#define VIPD_IO_CONNECTIONS_H

/* Resets the TCP connections of local addresses: sockets whose own end is there are aborted by the kernel (sock_diag's
 * SOCK_DESTROY), which sends a RST to the other end and tells the program ECONNABORTED. Sockets that listen stay. A reset is one
 * sweep over the sockets of this network namespace, a part of it in each turn of the loop. */

#include <stdint.h>
#include <uv.h>

#include "base/addr.h"
#include "base/err.h"

#define CONNECTIONS_MAX 65536 /* sockets that one sweep resets; a sweep that meets more says so */

struct connections_result
{
    uint32_t reset;
    uint32_t failed; /* the kernel refused these */
    uint32_t left;   /* beyond CONNECTIONS_MAX */
    int err;         /* 0, or -errno: the sockets could not even be listed */
};

struct connections_ops
{
    void (*done)(void *ud, const struct connections_result *result); /* once for each connections_reset() */
};

struct connections;

/* 0; -EOPNOTSUPP: this kernel cannot (CONFIG_INET_DIAG_DESTROY), -EPERM: this process may not (CAP_NET_ADMIN), or another -errno. */
NODISCARD int connections_open(struct connections **ret, uv_loop_t *loop, const struct connections_ops *ops, void *ud);

/* Begins a sweep for addrs[n], n at least 1, unless one is at work: -EBUSY; -ENOMEM. */
NODISCARD int connections_reset(struct connections *connections, const struct addr *addrs, uint32_t n);

/* A sweep at work is given up. NULL is fine. */
void connections_close(struct connections *connections);

#endif
