#ifndef VIPD_IO_DATAGRAM_H
#define VIPD_IO_DATAGRAM_H

/* The UDP socket of a node, for heartbeats and their answers. Nothing that the network or a packet filter does to a
 * datagram is an error here: it is counted, and the next one is sent. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/addr.h"
#include "base/err.h"

#define PACKET_MAX 1400 /* bytes; with the headers it fits an Ethernet frame and a tunnel around it */

struct datagram;

struct datagram_out
{
    struct endpoint to;
    const void *data;
    size_t len;
};

struct datagram_counters
{
    uint64_t received, sent;
    uint64_t oversize;    /* received, longer than PACKET_MAX: dropped */
    uint64_t dropped;     /* by the kernel: not allowed by datagram_allow(), or this process did not read in time */
    uint64_t denied;      /* not sent: a packet filter's verdict (EPERM) */
    uint64_t no_buffer;   /* not sent: the kernel's queues are full (ENOBUFS, EAGAIN, ENOMEM) */
    uint64_t unreachable; /* not sent: no route, no such address, network down, ... */
    uint64_t failed;      /* not sent, or not read, for another reason */
};

/* One datagram; data is aligned to 8 bytes and valid during the call, which may call any function below. */
typedef void datagram_received(void *ud, const struct endpoint *from, const void *data, size_t len);

/* Binds to `at`; port 0: the kernel chooses. -errno of the socket. */
NODISCARD int datagram_init(struct datagram **ret, uv_loop_t *loop, const struct endpoint *at,
                            datagram_received *received, void *ud);

/* received() is not called after this; closed (may be NULL) comes from the loop. NULL: calls closed at once. */
void datagram_close(struct datagram *datagram, void (*closed)(void *ud), void *ud);

/* Gives datagrams to the kernel, as many as there are in as few calls as possible. How many it took; the others are
 * counted and lost. Each has at most PACKET_MAX bytes and goes to an address of the socket's family, else it is
 * counted as failed. */
size_t datagram_send_all(struct datagram *datagram, const struct datagram_out *list, size_t n);
/* The same with one; whether the kernel took it. */
bool datagram_send(struct datagram *datagram, const struct endpoint *to, const void *data, size_t len);

/* From now on the kernel drops what does not have one of these at `offset` (4 bytes, big endian), before it takes up room in
 * the queue: so a flood of what nobody wants does not crowd out the rest. n = 0: drops all. n at most
 * DATAGRAM_ALLOW_MAX. -errno of setsockopt(2); what was allowed before stays. */
#define DATAGRAM_ALLOW_MAX 1024
NODISCARD int datagram_allow(struct datagram *datagram, uint32_t offset, const uint32_t *words, size_t n);

const struct datagram_counters *datagram_counters(const struct datagram *datagram);
struct endpoint datagram_at(const struct datagram *datagram);

#endif
