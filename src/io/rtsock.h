#ifndef VIPD_IO_RTSOCK_H
#define VIPD_IO_RTSOCK_H

/* rtnetlink messages to structs and back; the only user of libnl. One object is one socket, either a monitor (never
 * blocks, receives what changes) or for requests (blocks for the kernel's answer, two seconds at most). */

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "io/mirror.h"

#define RTSOCK_MARK 0x76      /* IFA_PROTO of our addresses: 'v' */
#define RTSOCK_TIMEOUT_MS 2000 /* for an answer; the kernel answers before sendmsg returns, so it never passes */

/* Positive outcomes. */
#define RTSOCK_INTERRUPTED 1 /* of a dump: something changed meanwhile, entries may be missing or double */
#define RTSOCK_NONE 1        /* of a lookup: the kernel has no such address */

/* gone: the kernel removed it. */
struct rtsock_ops
{
    void (*link)(void *ud, const struct mirror_link *link, bool gone);
    void (*address)(void *ud, const struct mirror_address *address, bool gone);
};

enum rtsock_act
{
    RTSOCK_ADD,     /* -EEXIST when the address is there with that length */
    RTSOCK_REPLACE, /* add, or set lifetime and mark of what is there */
    RTSOCK_DELETE,  /* exactly this entry, by address, peer, length and interface */
};

struct rtsock_request
{
    enum rtsock_act act;
    struct mirror_address address;
    uint32_t valid_s; /* lifetime, 1..; of add and replace */
    int result;       /* out: 0 or the kernel's -errno; -ETIMEDOUT: not answered */
};

struct rtsock;

NODISCARD int rtsock_open(struct rtsock **ret, bool monitor);
void rtsock_close(struct rtsock *sock);
int rtsock_fd(const struct rtsock *sock);

/* Monitor: takes one datagram and calls ops for what is in it. 0, -EAGAIN: nothing there, -ENOBUFS: the kernel dropped
 * some, only a dump tells the truth again; or another -errno. */
NODISCARD int rtsock_read(struct rtsock *sock, const struct rtsock_ops *ops, void *ud);

/* Request socket: everything the kernel has now, links first. 0, RTSOCK_INTERRUPTED or -errno. */
NODISCARD int rtsock_dump(struct rtsock *sock, const struct rtsock_ops *ops, void *ud);

/* Request socket: submits up to RTSOCK_BATCH requests with one system call and collects the answers. 0 when each was
 * answered (see result), or -errno, those without an answer then having -ETIMEDOUT. */
#define RTSOCK_BATCH 256
NODISCARD int rtsock_submit(struct rtsock *sock, struct rtsock_request *requests, int n);

/* Request socket: whether and where the kernel has an IPv6 address. 0, RTSOCK_NONE or -errno. (For IPv4 the kernel has
 * no such question.) */
NODISCARD int rtsock_lookup6(struct rtsock *sock, const struct addr *addr, struct mirror_address *ret);

#endif
