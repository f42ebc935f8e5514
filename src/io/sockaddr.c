#include "io/sockaddr.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

socklen_t sockaddr_from(const struct endpoint *at, struct sockaddr_storage *ret)
{
    memset(ret, 0, sizeof *ret);
    if (at->addr.family == 6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(at->port);
        memcpy(&in6->sin6_addr, at->addr.bytes, 16);
        return sizeof *in6;
    }
    struct sockaddr_in *in = (struct sockaddr_in *)ret;
    in->sin_family = AF_INET;
    in->sin_port = htons(at->port);
    memcpy(&in->sin_addr, at->addr.bytes, 4);
    return sizeof *in;
}

bool sockaddr_to(const struct sockaddr_storage *from, struct endpoint *ret)
{
    struct endpoint at = {0};

    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)from;
        at.addr.family = 4;
        at.port = ntohs(in->sin_port);
        memcpy(at.addr.bytes, &in->sin_addr, 4);
    } else if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;
        bool mapped = IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);
        at.addr.family = mapped ? 4 : 6;
        at.port = ntohs(in6->sin6_port);
        memcpy(at.addr.bytes, (const uint8_t *)&in6->sin6_addr + (mapped ? 12 : 0), mapped ? 4 : 16);
    } else {
        return false;
    }
    *ret = at;
    return true;
}

int sockaddr_bound(const struct endpoint *at, int type)
{
    struct sockaddr_storage address;
    socklen_t len = sockaddr_from(at, &address);
    int on = 1;
    int fd = socket(address.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -errno;
    }
    int r = 0;
    if (type == SOCK_STREAM) { /* for datagrams it would let a second process take the port over */
        r = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    }
    if (r == 0 && address.ss_family == AF_INET6) {
        r = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    }
    /* A connection's own port is chosen when it is known where to: else every port in use by any of them is taken. */
    if (r == 0 && type == SOCK_STREAM && at->port == 0) {
        r = setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    }
    if (r == 0) {
        r = bind(fd, (const struct sockaddr *)&address, len);
    }
    if (r < 0) {
        r = -errno;
        close(fd);
        return r;
    }
    return fd;
}
