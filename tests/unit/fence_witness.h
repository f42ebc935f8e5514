#ifndef VIPD_TESTS_FENCE_WITNESS_H
#define VIPD_TESTS_FENCE_WITNESS_H

/* The client of the wire tests: asks the node for its addresses by packet sockets and recognises the answers. */

#include <errno.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <sys/socket.h>

#include "fence_bed.h"
#include "fence_frame.h"

#define NODE4 "10.9.0.1"
#define CLIENT4 "10.9.0.9"
#define VIP4 "10.9.0.50"   /* on the node */
#define MOVED4 "10.9.0.60" /* a VIP too, but on the client: it has moved there */
#define NODE6 "fd09::1"
#define CLIENT6 "fd09::9"
#define VIP6 "fd09::50"
#define MOVED6 "fd09::60"
#define SOLICITED_VIP "ff02::1:ff00:50"
#define SOLICITED_NODE "ff02::1:ff00:1"

static const uint8_t NODE_MAC[6] = {0x02, 0, 0, 0, 0, 1};
static const uint8_t CLIENT_MAC[6] = {0x02, 0, 0, 0, 0, 9};
static const uint8_t BROADCAST[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/* A packet socket on dev of the caller's namespace. protocol ETH_P_ALL sees what arrives before tc does; a single
 * protocol sees what tc ingress let pass. */
static inline int packet_socket(const char *dev, unsigned protocol)
{
    struct sockaddr_ll where = {.sll_family = AF_PACKET, .sll_protocol = htons((uint16_t)protocol)};
    where.sll_ifindex = (int)if_nametoindex(dev);
    int on = 1;
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&where, sizeof(where)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) != 0) {
        perror("packet socket");
        abort();
    }
    return fd;
}

/* A frame that tc egress drops comes back to its sender as ENOBUFS. */
static inline void send_frame(int fd, const struct frame_spec *spec)
{
    struct frame frame = frame_make(spec);
    ssize_t sent;
    do {
        sent = send(fd, frame.bytes, frame.len, 0);
    } while (sent < 0 && (errno == EINTR || errno == EAGAIN));
    if (sent != (ssize_t)frame.len && errno != ENOBUFS) {
        perror("send");
        abort();
    }
}

struct arrival
{
    uint8_t bytes[FRAME_MAX];
    size_t len;
    uint64_t at; /* CLOCK_BOOTTIME, ns, from the kernel's own time stamp */
};

static inline uint64_t realtime_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Next arriving frame, false when none waits; frames that left by this interface are passed over. */
static inline bool receive(int fd, struct arrival *ret)
{
    for (;;) {
        struct sockaddr_ll from;
        char control[64] __attribute__((aligned(8)));
        struct iovec part = {.iov_base = ret->bytes, .iov_len = sizeof(ret->bytes)};
        struct msghdr message = {.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &part, .msg_iovlen = 1,
                                 .msg_control = control, .msg_controllen = sizeof(control)};
        ssize_t got = recvmsg(fd, &message, 0);
        if (got < 0) {
            return false;
        }
        struct cmsghdr *stamp = CMSG_FIRSTHDR(&message);
        if (from.sll_pkttype == PACKET_OUTGOING || !stamp) {
            continue;
        }
        struct timespec at;
        memcpy(&at, CMSG_DATA(stamp), sizeof(at));
        uint64_t shift = realtime_ns() - bed_now();
        ret->at = (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec - shift;
        ret->len = (size_t)got;
        return true;
    }
}

static inline bool wait_readable(int fd, int timeout_ms)
{
    struct pollfd wanted = {.fd = fd, .events = POLLIN};
    return poll(&wanted, 1, timeout_ms) == 1;
}

enum question
{
    ASK_ARP,
    ASK_NS,
    ASK_PROBE6, /* duplicate address detection by another */
    ASK_PING4,
    ASK_PING6,
    QUESTIONS_N
};

static const char *const QUESTION_NAMES[QUESTIONS_N] = {"ARP", "NS", "NS probe", "ping", "ping IPv6"};

static inline struct frame_spec question(enum question question, bool vip)
{
    static const struct frame_spec vips[QUESTIONS_N] = {
        [ASK_ARP] = SPEC(FRAME_ARP_REQUEST, CLIENT4, VIP4),
        [ASK_NS] = SPEC(FRAME_NS, CLIENT6, SOLICITED_VIP, .target = VIP6),
        [ASK_PROBE6] = SPEC(FRAME_NS, "::", SOLICITED_VIP, .target = VIP6),
        [ASK_PING4] = SPEC(FRAME_ECHO4, CLIENT4, VIP4),
        [ASK_PING6] = SPEC(FRAME_ECHO6, CLIENT6, VIP6),
    };
    static const struct frame_spec others[QUESTIONS_N] = {
        [ASK_ARP] = SPEC(FRAME_ARP_REQUEST, CLIENT4, NODE4),
        [ASK_NS] = SPEC(FRAME_NS, CLIENT6, SOLICITED_NODE, .target = NODE6),
        [ASK_PROBE6] = SPEC(FRAME_NS, "::", SOLICITED_NODE, .target = NODE6),
        [ASK_PING4] = SPEC(FRAME_ECHO4, CLIENT4, NODE4),
        [ASK_PING6] = SPEC(FRAME_ECHO6, CLIENT6, NODE6),
    };
    struct frame_spec spec = vip ? vips[question] : others[question];
    memcpy(spec.source_mac, CLIENT_MAC, 6);
    memcpy(spec.target_mac, question == ASK_ARP ? BROADCAST : NODE_MAC, 6);
    if (question == ASK_NS || question == ASK_PROBE6) {
        memcpy(spec.target_mac, vip ? "\x33\x33\xff\x00\x00\x50" : "\x33\x33\xff\x00\x00\x01", 6);
    }
    return spec;
}

static inline bool bytes_are(const struct arrival *frame, size_t at, const void *bytes, size_t len)
{
    return frame->len >= at + len && memcmp(frame->bytes + at, bytes, len) == 0;
}

static inline bool addr_is(const struct arrival *frame, size_t at, int family, const char *text)
{
    uint8_t bytes[16];
    return inet_pton(family, text, bytes) == 1 && bytes_are(frame, at, bytes, family == AF_INET ? 4 : 16);
}

/* Whether an untagged frame answers a question about the VIP, or about the node's own address. */
static inline bool answers(const struct arrival *frame, enum question question, bool vip)
{
    const char *v4 = vip ? VIP4 : NODE4, *v6 = vip ? VIP6 : NODE6;
    switch (question) {
    case ASK_ARP:
        return bytes_are(frame, 12, "\x08\x06", 2) && bytes_are(frame, 20, "\0\2", 2) &&
               addr_is(frame, 28, AF_INET, v4);
    case ASK_NS:
        return bytes_are(frame, 12, "\x86\xdd", 2) && bytes_are(frame, 54, "\x88", 1) &&
               addr_is(frame, 38, AF_INET6, CLIENT6) && addr_is(frame, 62, AF_INET6, v6);
    case ASK_PROBE6:
        return bytes_are(frame, 12, "\x86\xdd", 2) && bytes_are(frame, 54, "\x88", 1) &&
               addr_is(frame, 38, AF_INET6, "ff02::1") && addr_is(frame, 62, AF_INET6, v6);
    case ASK_PING4:
        return bytes_are(frame, 12, "\x08\x00", 2) && bytes_are(frame, 23, "\x01", 1) &&
               addr_is(frame, 26, AF_INET, v4) && bytes_are(frame, 34, "\0", 1);
    case ASK_PING6:
        return bytes_are(frame, 12, "\x86\xdd", 2) && bytes_are(frame, 54, "\x81", 1) &&
               addr_is(frame, 22, AF_INET6, v6);
    case QUESTIONS_N:
    default:
        abort();
    }
}

struct tally
{
    unsigned asked[QUESTIONS_N];
    unsigned answered[QUESTIONS_N];
    uint64_t last_answer[QUESTIONS_N];
};

/* One question of each kind, and whatever answers wait. */
static inline void ask_round(int fd, bool vip, struct tally *tally)
{
    for (enum question q = 0; q < QUESTIONS_N; q++) {
        struct frame_spec spec = question(q, vip);
        send_frame(fd, &spec);
        tally->asked[q]++;
    }
    struct arrival frame;
    (void)wait_readable(fd, 1);
    while (receive(fd, &frame)) {
        for (enum question q = 0; q < QUESTIONS_N; q++) {
            if (answers(&frame, q, vip)) {
                tally->answered[q]++;
                tally->last_answer[q] = frame.at;
            }
        }
    }
}

static inline bool all_answered(const struct tally *tally, unsigned times)
{
    for (enum question q = 0; q < QUESTIONS_N; q++) {
        if (tally->answered[q] < times) {
            return false;
        }
    }
    return true;
}

#endif
