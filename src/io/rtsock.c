#include "io/rtsock.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define RECEIVE_SIZE 65536           /* the kernel fills dump datagrams up to 32 KiB */
#define REQUEST_RCVBUF (4 * 1024 * 1024) /* RTSOCK_BATCH answers of about 1 KiB each, with room */
#define MONITOR_RCVBUF (8 * 1024 * 1024) /* what happens between two reads of a busy loop */
#define MESSAGE_SIZE 256             /* of one request */
#define OPER_UP 6                    /* RFC 2863, linux/if.h (which clashes with net/if.h) */
#define OPER_UNKNOWN 0
#define ATTR_PROTO 11                /* IFA_PROTO, since Linux 5.18; libnl 3.7 knows it not */
#define ATTRS_MAX 11

struct rtsock
{
    struct nl_sock *sock;
    uint32_t sequence; /* of the newest request */
    uint8_t buffer[RECEIVE_SIZE] __attribute__((aligned(8)));
};

/* Bigger than net.core.rmem_max allows where the capability is there, else as much as it allows. */
static void set_receive_buffer(int fd, int size)
{
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    }
}

static int configure(struct rtsock *rt, bool monitor)
{
    if (nl_connect(rt->sock, NETLINK_ROUTE) < 0) {
        return errno != 0 ? -errno : -EIO;
    }
    int fd = nl_socket_get_fd(rt->sock), on = 1;
    set_receive_buffer(fd, monitor ? MONITOR_RCVBUF : REQUEST_RCVBUF);
    if (!monitor) {
        struct timeval timeout = {.tv_sec = RTSOCK_TIMEOUT_MS / 1000, .tv_usec = RTSOCK_TIMEOUT_MS % 1000 * 1000};
        if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
            setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on)) < 0) {
            return -errno;
        }
        return 0;
    }
    if (nl_socket_add_memberships(rt->sock, RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, 0) < 0 ||
        nl_socket_set_nonblocking(rt->sock) < 0) {
        return errno != 0 ? -errno : -EIO;
    }
    return 0;
}

int rtsock_open(struct rtsock **ret, bool monitor)
{
    struct rtsock *rt = malloc(sizeof(*rt));
    if (rt == NULL) {
        return -ENOMEM;
    }
    rt->sequence = 0;
    rt->sock = nl_socket_alloc();
    int err = rt->sock == NULL ? -ENOMEM : configure(rt, monitor);
    if (err < 0) {
        rtsock_close(rt);
        return err;
    }
    *ret = rt;
    return 0;
}

void rtsock_close(struct rtsock *rt)
{
    if (rt != NULL) {
        if (rt->sock != NULL) {
            nl_socket_free(rt->sock);
        }
        free(rt);
    }
}

int rtsock_fd(const struct rtsock *rt)
{
    return nl_socket_get_fd(rt->sock);
}

/* One datagram from the kernel; what other processes send is skipped. Size, or -errno; -ENOBUFS also when it did not
 * fit, for it is as lost. */
static int receive(struct rtsock *rt)
{
    for (;;) {
        struct sockaddr_nl from = {0};
        struct iovec iov = {.iov_base = rt->buffer, .iov_len = sizeof(rt->buffer)};
        struct msghdr header = {
            .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1};
        ssize_t size = recvmsg(nl_socket_get_fd(rt->sock), &header, 0);
        if (size < 0 && errno == EINTR) {
            continue;
        }
        if (size < 0) {
            return -errno;
        }
        if (from.nl_pid == 0 && (header.msg_flags & MSG_TRUNC) == 0) {
            return (int)size;
        }
        if (from.nl_pid == 0) {
            return -ENOBUFS;
        }
    }
}

static uint32_t attr_u32(struct nlattr *attr, uint32_t otherwise)
{
    return attr != NULL && nla_len(attr) >= 4 ? nla_get_u32(attr) : otherwise;
}

static uint8_t attr_u8(struct nlattr *attr, uint8_t otherwise)
{
    return attr != NULL && nla_len(attr) >= 1 ? nla_get_u8(attr) : otherwise;
}

static void link_message(struct nlmsghdr *message, const struct rtsock_ops *ops, void *ud)
{
    struct nlattr *attrs[IFLA_MAX + 1];
    if (nlmsg_parse(message, sizeof(struct ifinfomsg), attrs, IFLA_MAX, NULL) < 0) {
        return;
    }
    const struct ifinfomsg *info = nlmsg_data(message);
    if (info->ifi_family != AF_UNSPEC) {
        return; /* a bridge tells about its ports in messages of the same type: their DELLINK means "left the bridge" */
    }
    uint8_t oper = attr_u8(attrs[IFLA_OPERSTATE], OPER_UNKNOWN);
    struct mirror_link link = {
        .ifindex = info->ifi_index,
        .up = (info->ifi_flags & IFF_UP) != 0 && (info->ifi_flags & 0x10000u /* IFF_LOWER_UP */) != 0 &&
              (oper == OPER_UP || oper == OPER_UNKNOWN),
        .loopback = (info->ifi_flags & IFF_LOOPBACK) != 0,
    };
    if (attrs[IFLA_IFNAME] != NULL) {
        nla_strlcpy(link.name, attrs[IFLA_IFNAME], sizeof(link.name));
    }
    if (attrs[IFLA_ADDRESS] != NULL && nla_len(attrs[IFLA_ADDRESS]) == (int)sizeof(link.mac)) {
        memcpy(link.mac, nla_data(attrs[IFLA_ADDRESS]), sizeof(link.mac));
    }
    ops->link(ud, &link, message->nlmsg_type == RTM_DELLINK);
}

static bool attr_address(struct nlattr *attr, uint8_t family, struct addr *ret)
{
    int size = family == AF_INET ? 4 : 16;
    if (attr == NULL || nla_len(attr) != size) {
        return false;
    }
    *ret = (struct addr){.family = family == AF_INET ? 4 : 6};
    memcpy(ret->bytes, nla_data(attr), (size_t)size);
    return true;
}

static bool address_parse(struct nlmsghdr *message, struct mirror_address *ret)
{
    struct nlattr *attrs[ATTRS_MAX + 1];
    if (nlmsg_parse(message, sizeof(struct ifaddrmsg), attrs, ATTRS_MAX, NULL) < 0) {
        return false;
    }
    const struct ifaddrmsg *info = nlmsg_data(message);
    if (info->ifa_family != AF_INET && info->ifa_family != AF_INET6) {
        return false;
    }
    uint32_t flags = attr_u32(attrs[IFA_FLAGS], info->ifa_flags);
    struct mirror_address address = {
        .ifindex = (int)info->ifa_index,
        .len = info->ifa_prefixlen,
        .marked = attr_u8(attrs[ATTR_PROTO], 0) == RTSOCK_MARK,
        .secondary = info->ifa_family == AF_INET && (flags & IFA_F_SECONDARY) != 0,
        .temporary = info->ifa_family == AF_INET6 && (flags & IFA_F_TEMPORARY) != 0,
    };
    bool local = attr_address(attrs[IFA_LOCAL], info->ifa_family, &address.addr);
    bool peer = attr_address(attrs[IFA_ADDRESS], info->ifa_family, &address.peer);
    if (!local && !peer) {
        return false;
    }
    if (!local) {
        address.addr = address.peer;
    }
    if (!peer) {
        address.peer = address.addr;
    }
    *ret = address;
    return true;
}

static void any_message(struct nlmsghdr *message, const struct rtsock_ops *ops, void *ud)
{
    struct mirror_address address;
    switch (message->nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
        link_message(message, ops, ud);
        break;
    case RTM_NEWADDR:
    case RTM_DELADDR:
        if (address_parse(message, &address)) {
            ops->address(ud, &address, message->nlmsg_type == RTM_DELADDR);
        }
        break;
    default:
        break;
    }
}

int rtsock_read(struct rtsock *rt, const struct rtsock_ops *ops, void *ud)
{
    int left = receive(rt);
    if (left < 0) {
        return left;
    }
    for (struct nlmsghdr *message = (void *)rt->buffer; nlmsg_ok(message, left); message = nlmsg_next(message, &left)) {
        any_message(message, ops, ud);
    }
    return 0;
}

/* The error in an NLMSG_ERROR or NLMSG_DONE; 0 is success. */
static int message_error(const struct nlmsghdr *message)
{
    if (message->nlmsg_len < NLMSG_HDRLEN + sizeof(int)) {
        return message->nlmsg_type == NLMSG_DONE ? 0 : -EPROTO;
    }
    int err = *(const int *)nlmsg_data(message);
    return err > 0 ? -EPROTO : err;
}

static int dump(struct rtsock *rt, int type, size_t header_size, const struct rtsock_ops *ops, void *ud)
{
    struct
    {
        struct nlmsghdr header;
        uint8_t body[sizeof(struct ifinfomsg)]; /* zero: AF_UNSPEC, everything; the larger of the two kinds */
    } request = {.header = {.nlmsg_len = (uint32_t)(NLMSG_HDRLEN + header_size),
                            .nlmsg_type = (uint16_t)type,
                            .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                            .nlmsg_seq = ++rt->sequence}};
    if (send(nl_socket_get_fd(rt->sock), &request, request.header.nlmsg_len, 0) < 0) {
        return -errno;
    }
    int outcome = 0;
    for (;;) {
        int left = receive(rt);
        if (left < 0) {
            return left == -EAGAIN ? -ETIMEDOUT : left;
        }
        struct nlmsghdr *message = (void *)rt->buffer;
        for (; nlmsg_ok(message, left); message = nlmsg_next(message, &left)) {
            if (message->nlmsg_seq != rt->sequence) {
                continue; /* an answer to a request that was given up */
            }
            if ((message->nlmsg_flags & NLM_F_DUMP_INTR) != 0) {
                outcome = RTSOCK_INTERRUPTED;
            }
            if (message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR) {
                int err = message_error(message);
                return err < 0 ? err : outcome;
            }
            any_message(message, ops, ud);
        }
    }
}

int rtsock_dump(struct rtsock *rt, const struct rtsock_ops *ops, void *ud)
{
    int links = dump(rt, RTM_GETLINK, sizeof(struct ifinfomsg), ops, ud);
    if (links < 0) {
        return links;
    }
    int addresses = dump(rt, RTM_GETADDR, sizeof(struct ifaddrmsg), ops, ud);
    return addresses != 0 ? addresses : links;
}

static struct nl_msg *request_message(const struct rtsock_request *request, uint32_t sequence)
{
    const struct mirror_address *address = &request->address;
    bool v4 = address->addr.family == 4, add = request->act != RTSOCK_DELETE;
    int size = v4 ? 4 : 16;
    int flags = NLM_F_REQUEST | NLM_F_ACK;
    if (add) {
        flags |= NLM_F_CREATE | (request->act == RTSOCK_REPLACE ? NLM_F_REPLACE : NLM_F_EXCL);
    }
    struct ifaddrmsg info = {
        .ifa_family = v4 ? AF_INET : AF_INET6,
        .ifa_prefixlen = address->len,
        .ifa_index = (uint32_t)address->ifindex,
    };
    struct nl_msg *message = nlmsg_alloc_size(MESSAGE_SIZE);
    if (message == NULL) {
        return NULL;
    }
    int err = 0;
    if (nlmsg_put(message, 0, sequence, add ? RTM_NEWADDR : RTM_DELADDR, 0, flags) == NULL ||
        nlmsg_append(message, &info, sizeof(info), NLMSG_ALIGNTO) < 0) {
        err = -ENOMEM;
    }
    if (err == 0 && v4) {
        err = nla_put(message, IFA_LOCAL, size, address->addr.bytes);
    }
    if (err == 0) {
        err = nla_put(message, IFA_ADDRESS, size, v4 ? address->peer.bytes : address->addr.bytes);
    }
    if (err == 0 && add) {
        /* Preferred for no time: "deprecated", so that IPv6 never picks it as a source (RFC 6724 rule 3). */
        struct ifa_cacheinfo lifetime = {.ifa_prefered = 0, .ifa_valid = request->valid_s};
        uint32_t address_flags = v4 ? 0 : IFA_F_NODAD | IFA_F_NOPREFIXROUTE;
        err = nla_put(message, IFA_CACHEINFO, sizeof(lifetime), &lifetime);
        err = err < 0 ? err : nla_put_u32(message, IFA_FLAGS, address_flags);
        err = err < 0 ? err : nla_put_u8(message, ATTR_PROTO, RTSOCK_MARK);
    }
    if (err < 0) {
        nlmsg_free(message);
        return NULL;
    }
    return message;
}

/* Reads answers until each of the n requests numbered from `first` has one. */
static int collect(struct rtsock *rt, uint32_t first, struct rtsock_request *requests, int n)
{
    int open = n;
    while (open > 0) {
        int left = receive(rt);
        if (left < 0) {
            return left == -EAGAIN ? -ETIMEDOUT : left;
        }
        struct nlmsghdr *message = (void *)rt->buffer;
        for (; nlmsg_ok(message, left); message = nlmsg_next(message, &left)) {
            uint32_t i = message->nlmsg_seq - first;
            if (message->nlmsg_type == NLMSG_ERROR && i < (uint32_t)n) {
                requests[i].result = message_error(message);
                open--;
            }
        }
    }
    return 0;
}

int rtsock_submit(struct rtsock *rt, struct rtsock_request *requests, int n)
{
    if (n < 0 || n > RTSOCK_BATCH) {
        abort();
    }
    struct nl_msg *messages[RTSOCK_BATCH];
    struct iovec iov[RTSOCK_BATCH];
    uint32_t first = rt->sequence + 1;
    int made = 0;
    for (; made < n; made++) {
        messages[made] = request_message(&requests[made], first + (uint32_t)made);
        if (messages[made] == NULL) {
            break;
        }
        struct nlmsghdr *header = nlmsg_hdr(messages[made]);
        iov[made] = (struct iovec){.iov_base = header, .iov_len = NLMSG_ALIGN(header->nlmsg_len)};
        requests[made].result = -ETIMEDOUT;
    }
    int err = made < n ? -ENOMEM : 0;
    if (err == 0 && n > 0) {
        rt->sequence += (uint32_t)n;
        struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
        struct msghdr header = {
            .msg_name = &kernel, .msg_namelen = sizeof(kernel), .msg_iov = iov, .msg_iovlen = (size_t)n};
        err = sendmsg(nl_socket_get_fd(rt->sock), &header, 0) < 0 ? -errno : collect(rt, first, requests, n);
    }
    while (made > 0) {
        nlmsg_free(messages[--made]);
    }
    return err;
}

int rtsock_lookup6(struct rtsock *rt, const struct addr *addr, struct mirror_address *ret)
{
    struct
    {
        struct nlmsghdr header;
        struct ifaddrmsg info;
        struct nlattr attr;
        uint8_t address[16];
    } request = {
        .header = {.nlmsg_len = sizeof(request),
                   .nlmsg_type = RTM_GETADDR,
                   .nlmsg_flags = NLM_F_REQUEST,
                   .nlmsg_seq = ++rt->sequence},
        .info = {.ifa_family = AF_INET6, .ifa_prefixlen = 128},
        .attr = {.nla_len = sizeof(struct nlattr) + 16, .nla_type = IFA_ADDRESS},
    };
    memcpy(request.address, addr->bytes, 16);
    if (send(nl_socket_get_fd(rt->sock), &request, sizeof(request), 0) < 0) {
        return -errno;
    }
    for (;;) {
        int left = receive(rt);
        if (left < 0) {
            return left == -EAGAIN ? -ETIMEDOUT : left;
        }
        struct nlmsghdr *message = (void *)rt->buffer;
        for (; nlmsg_ok(message, left); message = nlmsg_next(message, &left)) {
            if (message->nlmsg_seq != rt->sequence) {
                continue;
            }
            if (message->nlmsg_type == NLMSG_ERROR) {
                int err = message_error(message);
                return err == -EADDRNOTAVAIL ? RTSOCK_NONE : err == 0 ? -EPROTO : err;
            }
            if (message->nlmsg_type == RTM_NEWADDR) {
                return address_parse(message, ret) ? 0 : -EPROTO;
            }
        }
    }
}
